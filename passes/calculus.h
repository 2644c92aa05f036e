/* Calculus: what the derivative passes share.
 *
 * Forward mode is the one set of rules (jvp.c, jvp_control.c).  It comes in two forms.  `Mixed` is forward mode proper: a
 * loop or branch carries values and tangents together.  `Split` is the first half of reverse mode: every node of the result
 * either computes values without tangents or is linear in the tangents, also inside loops and branches; a loop keeps the
 * state at the start of each turn (its tape) for the linear loop that follows it.  Reverse mode transposes the linear nodes
 * of the split form (transpose.c, transpose_control.c) and so needs rules for linear primitives only.
 *
 * A tangent or cotangent that is zero is NO_REF and costs nothing; it becomes a constant only where a signature asks. */
#ifndef CM_PASSES_CALCULUS_H
#define CM_PASSES_CALCULUS_H

#include "passes/passes.h"

enum { NO_REF = -1 };

typedef struct Dual {
    IrRef primal;
    IrRef tangent; /* NO_REF: zero */
} Dual;

/* ---- forward ---- */

typedef struct Jvp {
    IrFunc *into; /* where nodes are built */
    bool split;
    DiagSink *diags;
} Jvp;

/* False and a diagnostic if a param is marked that cannot have a tangent. */
bool calculus_check_active(const IrFunc *func, const bool *active, DiagSink *diags);

/* Builds `from` and its tangents into jvp->into, params bound to `args`; writes a dual for each result. */
bool jvp_walk(const Jvp *jvp, const IrFunc *from, const Dual *args, Dual *results);

/* One walk in progress: what each node of `from` has become. */
typedef struct Frame {
    Jvp jvp;
    const IrFunc *from;
    IrRef *primal, *tangent; /* by node; of control nodes: unused but for copies */
    Dual **results;          /* by control node: its results */
} Frame;

bool jvp_call(Frame *frame, IrRef at);
bool jvp_for(Frame *frame, IrRef at);
bool jvp_while(Frame *frame, IrRef at);
bool jvp_if(Frame *frame, IrRef at);
bool jvp_custom(Frame *frame, IrRef at);

/* False and a diagnostic unless `rule` is linear in its params from `first` on, taken together. */
bool linear_check(const IrFunc *rule, int first, DiagSink *diags);
bool linear_has_transpose(IrOp op);

/* ---- reverse ---- */

/* One transposition in progress.  `from` is in split form; its linear nodes are those that follow from `linear` params. */
typedef struct Transposer {
    IrFunc *into;
    const IrFunc *from;
    DiagSink *diags;
    bool *linear;       /* by node */
    IrRef *map;         /* by node that is not linear: its copy */
    IrRef *ct;          /* by linear node: its cotangent so far */
    IrRef **results_ct; /* by linear control node: the same for each result */
} Transposer;

/* Copies the nodes of `from` that are not linear (params bound to args) and walks the linear ones backwards.
 * `result_ct`: a cotangent or NO_REF for each result.  `param_ct`, for each param: in, what to add to; out, the sum. */
bool transpose_walk(Transposer *t, const bool *linear_param, const IrRef *args, const IrRef *result_ct, IrRef *param_ct);
void transpose_add(Transposer *t, IrRef node, IrRef cotangent);
bool transpose_for(Transposer *t, IrRef at);
bool transpose_if(Transposer *t, IrRef at);

/* ---- building ---- */

IrRef calculus_zeros(IrFunc *func, const IrType *type);
IrRef calculus_or_zeros(IrFunc *func, IrRef value, const IrType *type);
IrRef calculus_emit_like(IrFunc *func, const IrNode *node, const IrRef *operands);
/* What a rule made of `source`, from node `first` on, belongs to its derivative; of a derivative, to what that is of. */
void calculus_mark(IrFunc *func, int first, const IrNode *source);
const char *calculus_suffixed(Arena *arena, const char *name, const char *suffix); /* null stays null */
IrRef calculus_param_like(IrFunc *func, const IrFunc *from, IrRef param, const char *suffix);
bool *calculus_used_params(const IrFunc *func); /* which params a result depends on, by index */
void calculus_trim(IrFunc *func, const bool *keep); /* drops nodes without use, and params not in `keep` (null: keep all) */
/* Drops functions from `first` on that `keep` does not reach. */
void calculus_sweep(IrModule *module, int first, const IrFunc *keep);

#endif
