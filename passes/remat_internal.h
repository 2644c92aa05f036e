/* What the files of the recomputation pass share.
 *
 * The pass works on what fusion would store: a model of the function has the steps in which its kernels run, the arrays that
 * they leave, and what each array is computed from, with all that is virtual in between left out.  A *cut* of an array at a
 * step says that what comes later does not read the array as it was, but a copy that is computed anew right before the first
 * step that needs it.  The choice of cuts is made on the model alone; then the function is written anew with them.
 *
 *   remat_model.c    the model of a function
 *   remat_run.c      how many bytes are alive from step to step, with the cuts so far
 *   remat_choose.c   which cuts
 *   remat_write.c    the function with copies
 *   remat.c          the pass: cuts until the plan of what is written keeps to the budget */
#ifndef CM_PASSES_REMAT_INTERNAL_H
#define CM_PASSES_REMAT_INTERNAL_H

#include "passes/fuse_internal.h"

typedef LIST(int) RematInts;

typedef struct RematValue { /* an array that is stored */
    IrRef ref;
    int unit;
    int64_t bytes;
} RematValue;

typedef struct RematUnit { /* a node that computes arrays: a loop or branch several, each with its `get`; others one */
    IrRef ref;
    int step;
    RematInts values, reads; /* values */
    double cost;             /* of computing it, in multiplications */
    int64_t inner;           /* bytes that it needs while it runs, besides */
    bool fixed;              /* computed once: a result is in it */
    RematInts cuts;          /* steps, rising */
} RematUnit;

typedef struct RematStep {
    RematInts reads; /* values */
    RematInts units;
} RematStep;

typedef struct RematModel {
    Arena *arena;
    const LowerOptions *options;
    Fuse fuse;
    int *value_of; /* by node: the value, or -1 */
    LIST(RematValue) values;
    LIST(RematUnit) units;
    LIST(RematStep) steps; /* by group, and the end, which reads the results */
} RematModel;

/* `entry`: results lie in memory of the caller's. */
RematModel *remat_model(Arena *arena, const IrFunc *func, const LowerOptions *options, bool entry);
/* The copy of a unit, 0 being what it computes at first, that a step reads. */
int remat_copy_of(const RematUnit *unit, int step);

/* ---- memory from step to step ---- */

typedef struct RematLife { /* of a copy of a value, in positions */
    int value, born, last;
} RematLife;

typedef struct RematRun { /* scratch and outcome of one walk through the steps */
    LIST(RematLife) lives;
    RematInts step;       /* by position: a position is a step, or a unit that is computed again before it */
    LIST(int64_t) change; /* by position: of the bytes that are alive */
    LIST(int64_t) inner;
    int *born, *last; /* by value, of its present copy; -1: none */
    int *copy;        /* by unit: the present one */
    int64_t peak;
    int place;     /* position of the peak */
    double excess; /* over the target: squares, summed */
    double cost;   /* of all that is computed again */
} RematRun;

RematRun *remat_run_new(const RematModel *model);
void remat_run(const RematModel *model, RematRun *run, int64_t target);

/* ---- choosing and writing ---- */

/* Cuts until the model's peak is at most `target`; false: no cut that is left lowers it. */
bool remat_choose(RematModel *model, int64_t target);
int64_t remat_peak(const RematModel *model);
/* The function with its cuts; it is in no module yet. */
IrFunc *remat_write(const RematModel *model, const IrFunc *func);

#endif
