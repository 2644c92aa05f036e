/* What the files of the fusion pass share.
 *
 * Fusion decides for each node of a function whether it is *stored* (gets a buffer) or *virtual* (recomputed inside the
 * kernels that read it), makes groups of stored nodes that one kernel computes, and writes the kernels.
 *
 *   fuse_decide.c   which nodes are stored, which reductions and contractions take the pointwise nodes behind them as epilogue
 *   fuse_keep.c     which others are kept because computing them again would cost more
 *   fuse_group.c    which stored nodes share a kernel, as one loop nest
 *   fuse_rows.c     which of these become stages of one kernel, row by row
 *   fuse_value.c    a virtual expression at an index, as instructions of a stage
 *   fuse_place.c    which results are computed in the memory where they have to be
 *   fuse_emit.c     one group as a kernel
 *   fuse.c          functions, loops and branches as steps of a plan */
#ifndef CM_PASSES_FUSE_INTERNAL_H
#define CM_PASSES_FUSE_INTERNAL_H

#include "passes/passes.h"

/* ---- decisions about one function ---- */

enum { FUSE_PLACES = 4, FUSE_SOURCES = 3 };

typedef struct FuseNode {
    bool needed; /* reached from a result */
    bool stored;
    bool claimed; /* lies on the epilogue chain of a reduction or contraction */
    IrRef chain;  /* claimed: the reduction or contraction whose chain it is */
    IrRef end;    /* of that: the last node of its chain */
    IrRef root;   /* stored: the reduction or contraction whose epilogue it ends, or itself, or none for a plain map */
    int uses;     /* distinct consumers, results counted */
    IrRef first_user, last_user;   /* the first and the last consumer; a result has a negative one */
    int work;                      /* of computing it, virtual operands included, without what is read */
    int reads;                     /* arrays that this reads: at most so many */
    int place_count, source_count; /* fuse_keep.c: different kernels that it is wanted in, large arrays that it is made of */
    IrRef place[FUSE_PLACES], source[FUSE_SOURCES]; /* the first of them */
    bool inner;                                     /* stored: only its own stage reads it, from a register */
    int group;                                      /* stored: which group computes it; -1: none does (params, literals) */
    bool local;                                     /* stored, but for the stages of its own kernel only */
    int buffer;                                     /* stored: of the plan */
} FuseNode;

/* A group is what becomes one kernel (or one control step). */
typedef enum GroupKind {
    GROUP_MAP,      /* stored pointwise nodes over one shape */
    GROUP_REDUCE,   /* sums and the like over one operand shape and one set of axes, with their epilogues */
    GROUP_SCAN,     /* cumsum */
    GROUP_CONTRACT, /* dot or conv with its epilogue */
    GROUP_CONCAT,   /* one kernel a part */
    GROUP_PUT,      /* put_add: a copy of the base, then the additions */
    GROUP_FOLD_IN,
    GROUP_CONTROL, /* for, while, if */
    GROUP_ROWS,    /* maps and reductions, one after the other for each place of common leading axes */
} GroupKind;

enum { SAME_POINT = IR_MAX_RANK + 1 };
typedef struct GroupRead {
    IrRef ref; /* something in memory */
    int lead;  /* how many leading axes of it are read at the very place that is computed; SAME_POINT: all, and nowhere else */
} GroupRead;

typedef struct Group Group;
struct Group {
    GroupKind kind;
    bool again; /* it has a member that is computed again: */
    int epoch;  /* that joins only what was begun since the last run of such nodes began, else it would be early again */
    LIST(IrRef) members; /* stored nodes, in order; control: the node */
    LIST(GroupRead) reads;
    int outer;          /* ROWS: how many leading axes the stages share */
    LIST(Group) stages; /* ROWS */
};

typedef struct ValueMemo ValueMemo;

typedef struct Fuse {
    Arena *arena;
    const IrFunc *func;
    FuseNode *node;
    bool no_fuse;
    unsigned char *seen;  /* scratch of fuse_group: one mark a node */
    LIST(ValueMemo) memo; /* scratch of fuse_value: values of the present part (body or tail) of the kernel being written */
    LIST(Group) groups;
} Fuse;

/* All decisions about a function.  Results are placed in the buffers `wanted` where that is safe, unless it is null; `params`
 * are those of the function's params. */
Fuse fuse_analyse(Arena *arena, const IrFunc *func, bool no_fuse, const int *params, const int *wanted);
void fuse_decide(Fuse *fuse);
void fuse_keep(Fuse *fuse);            /* its last step */
int fuse_own_cost(const IrNode *node); /* of an element, in operations, without its operands */
void fuse_group(Fuse *fuse);
void fuse_rows(Fuse *fuse);
/* Gives results the buffers in `wanted` where that is safe; `params`: the buffers of the function's params. */
void fuse_place_results(Fuse *fuse, const int *params, const int *wanted);

int fuse_group_of(const Fuse *fuse, IrRef ref);   /* the group that computes it, -1: none */
bool fuse_is_leaf(const IrNode *node);            /* param, const, literal, iota */
bool fuse_is_pointwise(const IrNode *node);       /* and reads nothing but its operands */
bool fuse_in_memory(const Fuse *fuse, IrRef ref); /* stored, or a param, literal or result of a control node */
/* The operand index that a reshape needs is affine in the result's: each operand axis is made of whole result axes. */
bool fuse_reshape_splits(const IrType *operand, const IrType *result);
/* `ref` is only transposed, repeated, cut or renamed memory: an affine access without guards. */
bool fuse_is_affine_view(const Fuse *fuse, IrRef ref);

/* ---- values in a stage ---- */

typedef struct FuseIndex { /* one entry for each axis of a node: affine in the kernel's axes, plus an i64 value or none */
    Affine affine[IR_MAX_RANK];
    KRef dynamic[IR_MAX_RANK];
} FuseIndex;

typedef struct StageBuilder {
    Fuse *fuse;
    Kernel *kernel;
    KStage *stage;
    LIST(IrRef) stored; /* the stored node behind each kernel buffer */
    int outer_count;    /* leading axes of every stage that run outside */
    Affine outer[IR_MAX_RANK];
} StageBuilder;

/* The value of `ref` at `index`; where `guard` (a bool, or none) is false it may be anything, but nothing is read. */
KRef fuse_value(StageBuilder *builder, IrRef ref, const FuseIndex *index, KRef guard);
KRef fuse_load(StageBuilder *builder, IrRef ref, const FuseIndex *index, KRef guard);
/* The value of a stored node as its own kernel computes it; later reads at `index` find it in its register. */
KRef fuse_compute(StageBuilder *builder, IrRef ref, const FuseIndex *index);
/* The same for the end of an epilogue, whose root is in its accumulator. */
KRef fuse_epilogue(StageBuilder *builder, IrRef ref, const FuseIndex *index);
KRef fuse_push(StageBuilder *builder, KInst inst);
void fuse_remember(StageBuilder *builder, IrRef ref, const FuseIndex *index, KRef guard, KRef value);
void fuse_forget(StageBuilder *builder); /* starts a new part */
/* The kernel's buffer for a stored node; `kind` K_IN to read, K_OUT to write (both: K_INOUT). */
int fuse_buffer(StageBuilder *builder, IrRef ref, KBufferKind kind);

Affine affine_axis(int axis, int64_t coefficient, int64_t offset);
void affine_add(Affine *sum, const Affine *term, int64_t factor);
/* Where element `index` of a dense array of this shape lies. */
Affine fuse_linear(const IrType *type, const FuseIndex *index);
/* The same in the memory of a stored node, of which a local one has the rows of one place of the outer axes. */
Affine fuse_place(const StageBuilder *builder, IrRef ref, const IrType *type, const FuseIndex *index);

/* ---- kernels of a group, and the plan buffers of their arguments ---- */
typedef struct FusedKernel {
    Kernel *kernel;
    LIST(int) args;
} FusedKernel;
typedef LIST(FusedKernel) FusedKernels;
void fuse_emit_group(Fuse *fuse, const Group *group, FusedKernels *out);

#endif
