/* What the generator's files share: a function in the making, and the values that it has so far. */
#ifndef CM_TESTS_RANDOM_INTERNAL_H
#define CM_TESTS_RANDOM_INTERNAL_H

#include "passes/passes.h"
#include "tests/random/program.h"

enum { MOST_SETS = 4, SIZE_COUNT = 4, NOTHING = -1 };

typedef struct Gen {
    Arena *arena;
    Arena *scratch; /* what values are looked at with */
    Draws draws;
    bool smooth;
    IrModule *module;
    DType real, other; /* float types of the program */
    double unit;
    int64_t sizes[SIZE_COUNT]; /* of axes: few, so that shapes meet */
} Gen;

typedef struct Pooled {
    IrRef ref;
    bool exact;    /* the same number in every mode and in every order of evaluation */
    bool measured; /* low and high are known */
    double low, high;
} Pooled;

/* A function in the making.  What its values can be is found out by running it on sets of arguments: the entry on those
 * that it is made for, a body on some that it may get. */
typedef struct Scope {
    Gen *gen;
    IrFunc *func;
    LIST(EvalTensor) sets[MOST_SETS];
    int set_count;
    LIST(Pooled) pool;
    int depth; /* 0: the entry */
} Scope;

/* ---- program.c: values ---- */

bool grow(Scope *scope, int steps); /* adds nodes; false if none could be added */
IrType random_type(Gen *gen, DType dtype, int most_rank);
int64_t element_limit(const Scope *scope);
IrRef keep(Scope *scope, IrRef ref, bool exact); /* into the pool; NOTHING if it is not finite */
bool is_exact(const Scope *scope, IrRef ref);
bool all_exact(const Scope *scope, const IrRef *refs, int count);
IrRef any_value(Scope *scope);                               /* NOTHING if there is none yet */
IrRef any_real(Scope *scope, int least_rank, int most_rank); /* of the program's main type; made if there is none */
IrRef value_of(Scope *scope, IrType type);                   /* found or made */
IrRef new_param(Scope *scope, IrType type);                  /* in a body: a literal */
IrRef index_below(Scope *scope, IrType type, int64_t size);  /* whole numbers, some of them outside */
IrRef fit(Scope *scope, IrRef x, double low, double high);   /* brought between the limits */
/* The value for each set of arguments, in the scratch arena: set a mark before. */
void measure(Scope *scope, IrRef ref, EvalTensor *values);
void range_of(Scope *scope, IrRef ref, double *low, double *high);
bool is_far(Scope *scope, double distance, double size); /* far enough from a jump for every mode to be on its side */

/* ---- makers: each adds a node or more; false if nothing in the pool will do ---- */

bool make_leaf(Scope *scope, IrOp op); /* leaf.c */
bool make_chance(Scope *scope, IrOp op);
bool make_pointwise(Scope *scope, IrOp op); /* pointwise.c */
bool make_cast(Scope *scope, IrOp op);
bool make_select(Scope *scope, IrOp op);
IrRef random_cast(Scope *scope, IrRef x, DType dtype); /* NOTHING if it would jump */
bool make_view(Scope *scope, IrOp op);                 /* shape.c */
bool make_concat(Scope *scope, IrOp op);
bool make_reduction(Scope *scope, IrOp op);
bool make_line(Scope *scope, IrOp op); /* argmax, cumsum */
bool make_dot(Scope *scope, IrOp op);  /* contract.c */
bool make_conv(Scope *scope, IrOp op);
bool make_take(Scope *scope, IrOp op);
bool make_put_add(Scope *scope, IrOp op);
bool make_for(Scope *scope, IrOp op); /* control.c */
bool make_while(Scope *scope, IrOp op);
bool make_if(Scope *scope, IrOp op);
bool make_call(Scope *scope, IrOp op);
void add_derivatives(Scope *scope); /* results by jvp and vjp nodes: the last nodes of a program */

#endif
