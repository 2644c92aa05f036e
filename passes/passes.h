/* Passes: from the graph that the front end built to a plan of kernels.
 *
 *   derive -> inline -> simplify -> cse -> stream -> licm -> dce -> legalise -> remat -> fuse -> expand -> plan
 *
 * Each pass takes a module and leaves a module in which every function still computes the same results; passes/passes.def
 * lists them, and one function runs them all: run, verify, time, dump.  Fusion ends the graph: it makes kernels. */
#ifndef CM_PASSES_PASSES_H
#define CM_PASSES_PASSES_H

#include "ir/plan.h"

typedef enum PassId {
#define PASS(name, what) PASS_##name,
#include "passes/passes.def"
    PASS_COUNT
} PassId;
const char *pass_name(PassId pass);
const char *pass_summary(PassId pass);
bool pass_from_name(const char *name, PassId *pass);

/* ---- the graph passes, each from function to function (callees included) ---- */

/* Expands jvp, vjp and custom nodes, innermost first.  False and diagnostics if something has no derivative. */
bool pass_derive(IrModule *module, DiagSink *diags);
void pass_inline(IrModule *module);   /* calls vanish; bodies of loops and branches stay functions */
void pass_simplify(IrModule *module); /* algebra, constant folding, views of views */
void pass_cse(IrModule *module);      /* equal nodes once; random draws are equal only if their keys are */
void pass_dce(IrModule *module);      /* nodes, loop carries and functions that nothing needs */
void pass_licm(IrModule *module);     /* what does not change in a loop is computed before it */
/* Values over two large axes that are only reduced become loops over blocks of rows; `rows` of a block: 0 chooses. */
void pass_stream(IrModule *module, int64_t rows);
/* No argmax, no convolutions of spread arrays; small constants that have to lie in memory are literals. */
void pass_legalise(IrModule *module);

/* ---- calculus on one function: used by pass_derive and by tests ---- */

/* g(params.., tangent of each active param..) -> results.., tangents of the float results.. */
IrFunc *derive_jvp(IrModule *module, const IrFunc *func, const bool *active, DiagSink *diags);
/* g(params.., cotangent of each seeded result..) -> results.., cotangent of each active param.. */
IrFunc *derive_vjp(IrModule *module, const IrFunc *func, const bool *active, const bool *seeded, DiagSink *diags);

/* As pass_inline, but functions with rules of their own stay nodes: what is left can be differentiated as before. */
void inline_calls(IrModule *module);

/* ---- from graph to kernels to plan ---- */

typedef struct LowerOptions {
    bool no_fuse;         /* one kernel for each node: to bisect */
    bool fast;            /* short polynomials for functions of f32 */
    const int *alias;     /* for each result: the param whose memory it takes over, or -1; may be null */
    int64_t memory_limit; /* bytes that a run may use besides inputs and results; 0: any number */
    int lanes;            /* threads that may take turns of a loop at once; 0: one */
    int64_t block_rows;   /* of a block of streamed values; 0: as many as a cache holds, and only where it pays */
} LowerOptions;

/* Values of `func` (legalised) are computed again instead of being kept, until its plan keeps to the memory limit, or as far
 * as that goes; without a limit, and where the plan keeps to it anyway, nothing changes. */
void pass_remat(IrModule *module, IrFunc *func, const LowerOptions *options);
/* Kernels and steps for `func` (inlined, derived, legalised).  Null after a diagnostic. */
Plan *pass_fuse(Arena *arena, const IrFunc *func, const LowerOptions *options, DiagSink *diags);
void pass_expand(Plan *plan, const LowerOptions *options);                /* transcendentals become polynomials */
bool pass_plan(Plan *plan, const LowerOptions *options, DiagSink *diags); /* places buffers in the arena */
void expand_kernel(Kernel *kernel, bool fast);

/* ---- the pipeline ---- */

typedef struct PipelineOptions {
    LowerOptions lower;
    int stop_after; /* PassId after which to stop and dump, or -1 */
    Text *dump;     /* gets the module or the plan at that point */
    bool timing;    /* and a line a pass with milliseconds */
} PipelineOptions;

/* Runs every pass on the module; the plan is that of `entry`.  Null after a diagnostic or after `stop_after`. */
Plan *pipeline_run(IrModule *module, const char *entry, const PipelineOptions *options, DiagSink *diags);

#endif
