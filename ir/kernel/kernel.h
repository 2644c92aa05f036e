/* Kernel IR: what fusion makes and code generators print.
 *
 * A kernel is a nest: `outer` axes, whose points are independent of each other and are what threads or workgroups share
 * out, and inside them a sequence of stages.  A stage is a loop nest of its own axes around a list of scalar
 * instructions.  Memory is reached by affine accesses: offset + sum of coefficient * axis, in elements.
 *
 *   kernel group_norm(in %0: f32[50176], out %1: f32[50176], local %2: f32[32])  outer a0:64
 *     stage  map a1:32  reduce a2:784
 *       %x = load %0[784*32*a0 + a1 + 32*a2]
 *       sum %s = %x
 *     tail
 *       store %2[a1] = %s
 *     stage  map a1:784 a2:32 ...
 *
 * A MAP axis gives one result a point.  A REDUCE axis is folded by the stage's accumulators; a SCAN axis is folded too, but
 * the tail runs at each of its points (cumulative sums).  Instructions before `body_count` run at each point of all axes;
 * those after it (the tail) run at each point of the MAP (and SCAN) axes and see the accumulators' results.  Stores belong
 * to the tail; a stage without accumulators has body_count == 0 and is all tail.
 *
 * The order of a reduction is the code generator's, but must be a function of the kernel alone: never of the thread count.
 * `local` buffers are scratch private to one point of the outer axes, and carry values from stage to stage. */
#ifndef CM_IR_KERNEL_KERNEL_H
#define CM_IR_KERNEL_KERNEL_H

#include "ir/ir.h"

enum { K_MAX_AXES = 16, K_MAX_BUFFERS = 64 };

/* ---- scalar operations ----
 * A body is written in pointwise primitives (op < OP_COUNT) and the operations below.  The pass `expand` rewrites exp, tanh
 * and their kin into polynomials of the operations marked PRINT: afterwards only those are left. */
typedef enum KOp {
    K_FIRST = OP_COUNT - 1,
#define KOP(name, arity) K_##name,
#include "ir/kernel/ops.def"
    K_OP_COUNT
} KOp;
const char *kop_name(int op); /* of a primitive or of a kernel operation */
int kop_arity(int op);

typedef struct Affine {
    int64_t offset;
    int64_t coef[K_MAX_AXES]; /* by axis number: outer axes first, then the stage's */
} Affine;

typedef int32_t KRef; /* index of an instruction in its stage; negative: none */

typedef struct KInst {
    int op;        /* IrOp (pointwise) or KOp */
    DType dtype;   /* of the result */
    KRef arg[3];
    int buffer;    /* load */
    Affine index;  /* load: place; axis: value */
    double value;  /* const */
    int64_t imm;   /* const of an integer type; philox: word; acc: which accumulator */
} KInst;

typedef enum KAxisKind { K_MAP, K_REDUCE, K_SCAN } KAxisKind;
typedef struct KAxis {
    int64_t extent;
    KAxisKind kind;
} KAxis;

typedef enum KCombine { K_SUM, K_PROD, K_MAX, K_MIN } KCombine;
/* `value` is folded over all REDUCE and SCAN axes of the stage.  Sums of f32, f16 and bf16 are kept in f32 (wide: in f64), and
 * rounded to what the tail takes them as. */
typedef struct KAcc {
    KCombine combine;
    KRef value;
    DType dtype;
    bool wide;
} KAcc;

/* buffer[index + dynamic] = value where guard holds; `add` adds to what is there (put_add: sequential along the axes that
 * `index` does not name, so those axes must not be shared out). */
typedef struct KStore {
    int buffer;
    Affine index;
    KRef dynamic; /* i64 element offset added to the index, or none */
    KRef guard;   /* bool, or none */
    KRef value;
    bool add;
} KStore;

typedef enum KStageKind {
    K_STAGE_LOOPS,    /* a plain nest */
    K_STAGE_CONTRACT, /* body is %a = load, %b = load, %p = mul %a %b; one accumulator: sum of %p (see kernel_contraction) */
} KStageKind;

typedef struct KStage {
    KStageKind kind;
    LIST(KAxis) axes; /* numbered from kernel->outer.count */
    LIST(KInst) insts;
    int body_count;
    LIST(KAcc) accs;
    LIST(KStore) stores;
    Span span;
} KStage;

typedef enum KBufferKind { K_IN, K_OUT, K_INOUT, K_LOCAL } KBufferKind;
typedef struct KBuffer {
    KBufferKind kind;
    DType dtype;
    int64_t count; /* elements */
    const char *name;
} KBuffer;

typedef struct Kernel {
    Arena *arena;
    const char *name;   /* after what it computes: "conv_add_silu"; not unique */
    LIST(KBuffer) buffers; /* launch arguments in order; K_LOCAL ones last and not passed */
    LIST(KAxis) outer;  /* all K_MAP */
    LIST(KStage) stages;
    Span span;          /* the .cm place of its last result */
} Kernel;

/* ---- building ---- */
Kernel *kernel_new(Arena *arena, const char *name);
int kernel_add_buffer(Kernel *kernel, KBufferKind kind, DType dtype, int64_t count, const char *name);
KStage *kernel_add_stage(Kernel *kernel); /* pointers to earlier stages become invalid */
KRef kstage_push(Arena *arena, KStage *stage, KInst inst); /* merges an instruction equal to an earlier one of the same part */

/* ---- rewriting ---- */
void kstage_own(Arena *arena, KStage *stage); /* a copy's axes, instructions and stores become its own */
/* Joins axes of the stage, which owns them, that every access steps through as one, and drops those of extent 1. */
void kernel_merge_axes(const Kernel *kernel, KStage *stage);

/* ---- asking ---- */
DType kacc_kept(const KAcc *acc);            /* as what it is kept until all is folded */
int64_t kernel_points(const Kernel *kernel); /* product of the outer extents */
double kernel_flops(const Kernel *kernel);   /* additions and multiplications, transcendentals as one */
int64_t kernel_bytes(const Kernel *kernel);  /* each argument buffer read or written once */
/* Whether the argument `to` may lie where `from` does: an element is read for the last time at the point that writes it, and in
 * stages of several, only at the outer point that does. */
bool kernel_may_overwrite(const Kernel *kernel, int from, int to);
/* The hash of what the kernel computes, names and spans aside: equal kernels are compiled once. */
uint64_t kernel_hash(const Kernel *kernel);
bool kernel_equal(const Kernel *a, const Kernel *b);

/* The roles of the axes of a K_STAGE_CONTRACT: m in load a only, n in load b only, batch in both, k reduced. */
typedef struct Contraction {
    KRef a, b;
    int m[K_MAX_AXES], n[K_MAX_AXES], batch[K_MAX_AXES], k[K_MAX_AXES]; /* axis numbers, outer to inner */
    int m_count, n_count, batch_count, k_count;
} Contraction;
bool kernel_contraction(const Kernel *kernel, const KStage *stage, Contraction *out);

/* ---- text form and verifier: as for the graph IR ---- */
void kernel_print(const Kernel *kernel, Text *out);
Kernel *kernel_parse(Arena *arena, const Source *source, DiagSink *diags);
/* Every access inside its buffer (guards considered), every argument before its use, stores in the tail, types. */
bool kernel_verify(const Kernel *kernel, DiagSink *diags);

/* ---- interpreter: buffers are dense bytes in the declared types; K_LOCAL ones are made here. Pointwise in double. ---- */
void kernel_eval(Arena *scratch, const Kernel *kernel, void *const *buffers);

#endif
