/* What the files of the CPU backend share: the target, compiled kernels, and the emitter of LLVM IR.
 *
 *   target.c    what the host can do                     codegen.c   a kernel as a module: phases, functions, buffers
 *   emit.c      types, memory, counted loops             inst.c      scalar and vector instructions at a point
 *   reshape.c   kernels rewritten to suit the CPU        nest.c      a plain stage's loops, vector axis and tasks chosen
 *   loops.c     and emitted                              contract.c  contractions (with schedule.c)
 *   jit.c       modules to machine code                  object.c    machine code kept on disk
 *   execute.c   instances, and running a plan's steps    cpu.c       the backend's table of functions
 *
 * A kernel is compiled to one or a few phases.  A phase is a native function over a range of tasks: tasks of one phase may run
 * in any order and at once, phases follow each other.  How a kernel is cut into phases and tasks, and the order of every
 * sum, are functions of the kernel and the target alone; the number of threads changes nothing. */
#ifndef CM_BACKENDS_CPU_CPU_INTERNAL_H
#define CM_BACKENDS_CPU_CPU_INTERNAL_H

#include "backends/backend.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>
#include <stdatomic.h>

/* ---- target ---- */

typedef struct CpuTarget {
    const char *triple, *cpu, *features;
    int lanes;              /* of f32 in a vector register: 16, 8 or 4 (f64: half of it) */
    int registers;          /* vector registers: 32 or 16 */
    bool has_fma, has_half; /* native fused multiply-add; native f16 conversions */
    uint64_t hash;          /* of everything above: part of every cache key */
} CpuTarget;

/* Fills lanes and the rest from triple, cpu and features (as LLVM spells them). */
void target_complete(CpuTarget *target);
const char *target_detect(Arena *arena, CpuTarget *target); /* the machine this runs on */
/* Each thread that compiles has its own. */
LLVMTargetMachineRef target_machine(const CpuTarget *target);

/* ---- compiled kernels ---- */

/* buffers: the kernel's launch arguments in order (locals are not among them).  scratch: the worker's own memory, 64-aligned,
 * contents undefined at the start of each task.  shared: one block for the whole launch, seen by all phases and workers. */
typedef void CpuEntry(void *const *buffers, int64_t first, int64_t end, void *scratch, void *shared);

enum { CPU_MAX_PHASES = 32 };

typedef struct CpuPhase {
    CpuEntry *entry;
    int64_t tasks;
    double work; /* of all tasks together, in very rough nanoseconds of one core: whether sharing out pays */
} CpuPhase;

typedef struct CpuKernel {
    CpuPhase phases[CPU_MAX_PHASES];
    int phase_count;
    size_t scratch_bytes; /* of each worker */
    size_t shared_bytes;  /* of a launch */
} CpuKernel;

/* ---- the device, executables (cpu.c, execute.c) ---- */

struct Device {
    Arena *arena;
    DeviceOptions options;
    CpuTarget target;
    atomic_bool said_not_kept; /* that the cache cannot be written: once is enough */
};

typedef struct JitCode JitCode; /* machine code in memory */

/* The plan (and the constants it points to) must live as long as the executable. */
struct Executable {
    Arena *arena;
    Device *device;
    const Plan *plan;
    CpuKernel *kernels; /* one for each of plan->kernels */
    JitCode *code;
    ProfilePlan *profile; /* null: launches are not timed */
};

const char *execute_instantiate(Arena *arena, Executable *executable, Instance **instance);
const char *execute_run(Arena *arena, Instance *instance, void *const *inputs, void *const *outputs, const bool *resident);
void execute_discard(Instance *instance);

/* ---- from kernels to code (jit.c, object.c) ---- */

/* Fills compiled[i] for kernels[i] (expanded); compiles on all threads of the device's pool.  `code` is null after an error. */
const char *jit_compile(Arena *arena, Device *device, Kernel *const *kernels, int count, CpuKernel *compiled, JitCode **code,
                        CompileStats *stats);
void jit_release(JitCode *code);
/* "llvm" or "asm" of one kernel. */
const char *jit_dump(Arena *arena, Device *device, const Kernel *kernel, const char *stage, Text *out);

/* A compiled kernel as it lies on disk: what CpuKernel says, but for the addresses, and a relocatable object. */
typedef struct CpuObject {
    CpuKernel shape;
    const void *bytes;
    size_t size;
} CpuObject;
uint64_t object_key(const CpuTarget *target, const Kernel *kernel);
/* False: a miss. */
bool object_read(Arena *arena, const char *directory, uint64_t key, const Kernel *kernel, CpuObject *object);
/* Null, or why it is not kept. */
const char *object_write(Arena *arena, const char *directory, uint64_t key, const Kernel *kernel, const CpuObject *object);

/* ---- the emitter ---- */

/* Counted loops, tested at the end (and before the first turn unless both bounds are constants that need no test).
 * Carries: call loop_carry right after loop_begin, loop_set before loop_end; then loop.result[i] holds the last value. */
enum { LOOP_MAX_CARRIES = 64 };
typedef struct Loop {
    LLVMValueRef index; /* i64 */
    LLVMValueRef end;
    int64_t step;
    LLVMBasicBlockRef before, body, exit;
    bool tested; /* may run no turn at all */
    bool single; /* runs one turn: no blocks are made */
    int carry_count;
    LLVMValueRef initial[LOOP_MAX_CARRIES], carry[LOOP_MAX_CARRIES], next[LOOP_MAX_CARRIES], result[LOOP_MAX_CARRIES];
} Loop;

typedef struct Codegen {
    Arena *arena; /* lives as long as this code generation */
    const CpuTarget *target;
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef builder;
    LLVMTypeRef i1, i8, i16, i32, i64, half, f32, f64, ptr, nothing;
    const Kernel *kernel; /* what is being emitted: possibly a rewritten copy of the one given */
    const char *symbol;   /* phase p is the function SYMBOL_p */

    /* the phase being emitted */
    LLVMValueRef function, scratch, shared;
    LLVMBasicBlockRef entry;             /* for allocas */
    LLVMValueRef buffers[K_MAX_BUFFERS]; /* base address of each buffer, locals included */
    LLVMValueRef outer[K_MAX_AXES];      /* i64: the outer axes at the current point */
    LLVMValueRef zeros;                  /* a block of zero bytes: where guarded loads read if the guard is false */
    size_t local_offset[K_MAX_BUFFERS];  /* of K_LOCAL buffers, in scratch or shared */
    bool locals_shared;
    int64_t
        ahead[K_MAX_BUFFERS]; /* elements from where a buffer is read to what is fetched into the cache meanwhile; 0: nothing */
    Loop *task_loop;

    CpuKernel shape; /* filled as phases are emitted; entries are null */
} Codegen;

/* Emits the whole kernel into cg->module; cg->shape says what was made. */
void emit_kernel(Codegen *cg, const Kernel *kernel);

/* A phase: a function with a loop over its tasks around what is emitted between begin and end; returns the task (i64). */
LLVMValueRef phase_begin(Codegen *cg, int64_t tasks, double work);
void phase_end(Codegen *cg);
/* Reserve memory, 64-aligned; the result is the byte offset.  Worker scratch is that of the current phase's tasks. */
size_t codegen_reserve_scratch(Codegen *cg, size_t bytes);
size_t codegen_reserve_shared(Codegen *cg, size_t bytes);

/* Counted loops: index = begin, begin + step, ... while index < end. */
Loop loop_begin(Codegen *cg, LLVMValueRef begin, LLVMValueRef end, int64_t step, const char *name);
LLVMValueRef loop_carry(Codegen *cg, Loop *loop, LLVMValueRef initial); /* the value at the start of a turn */
void loop_set(Loop *loop, int carry, LLVMValueRef next);
void loop_end(Codegen *cg, Loop *loop);

/* ---- points: where in its iteration space a stage's instructions are emitted ----
 * A point is one place (lanes == 1) or `lanes` neighbours along the vector axis.  A value is a scalar where it is the same in
 * all lanes, else a vector; instructions splat what they need. */
typedef struct Point {
    const KStage *stage;
    LLVMValueRef axis[K_MAX_AXES]; /* i64, by axis number, outer axes too; of the vector axis: in lane 0 */
    int lanes;
    int vector_axes[K_MAX_AXES]; /* the vector axis: one axis, or several flattened, outer to inner */
    int vector_count;            /* 0: every value is uniform */
    LLVMValueRef flat;           /* i64: index along the flattened vector axis in lane 0 (of one axis: axis[it]) */
    LLVMValueRef mask;           /* <lanes x i1>: lanes that exist, or null for all */
    LLVMValueRef *values;        /* by instruction: what has been emitted */
    LLVMValueRef *accs;          /* results of the accumulators, for the tail */
} Point;

/* A point at the current outer axes; the caller sets the stage's axes, vector_axes, flat, mask and accs. */
void point_init(Codegen *cg, Point *point, const KStage *stage, int lanes);
void point_set_vector_axis(Point *point, int axis, LLVMValueRef first);
void emit_inst(Codegen *cg, Point *point, KRef inst);
void emit_insts(Codegen *cg, Point *point, int first, int end);
void emit_stores(Codegen *cg, Point *point);

/* The affine form at the point's lane 0 (i64), and its step from lane to lane; false: not a fixed step. */
LLVMValueRef emit_affine(Codegen *cg, Point *point, const Affine *affine);
bool point_stride(const Codegen *cg, const Point *point, const Affine *affine, int64_t *stride);

/* Memory, by element type; values are in the type computed with (f16 and bf16: f32; bool: i1).  `address` is that of the
 * first element, elements lie one after another; lanes == 1 gives scalars; mask may be null. */
LLVMValueRef emit_address(Codegen *cg, int buffer, LLVMValueRef element);
LLVMValueRef emit_load(Codegen *cg, DType dtype, LLVMValueRef address, int lanes, LLVMValueRef mask);
void emit_store(Codegen *cg, DType dtype, LLVMValueRef address, LLVMValueRef value, int lanes, LLVMValueRef mask);
/* The same at `addresses`, a vector of pointers. */
LLVMValueRef emit_gather(Codegen *cg, DType dtype, LLVMValueRef addresses, int lanes, LLVMValueRef mask);
void emit_scatter(Codegen *cg, DType dtype, LLVMValueRef addresses, LLVMValueRef value, int lanes, LLVMValueRef mask);
LLVMValueRef emit_alloca(Codegen *cg, LLVMTypeRef type, const char *name); /* in the function's entry block */

LLVMTypeRef codegen_memory_type(Codegen *cg, DType dtype);
LLVMTypeRef codegen_value_type(Codegen *cg, DType dtype);
LLVMTypeRef codegen_vector_type(LLVMTypeRef element, int lanes); /* the element itself for 1 */
LLVMValueRef codegen_i64(Codegen *cg, int64_t value);
LLVMValueRef emit_iota(Codegen *cg, LLVMTypeRef element, int lanes, int64_t step); /* constant 0, step, 2 step .. */
bool value_is_vector(LLVMValueRef value);
LLVMValueRef emit_splat(Codegen *cg, LLVMValueRef value, int lanes);                /* vectors stay as they are */
LLVMValueRef emit_fma(Codegen *cg, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c); /* one rounding; scalars or vectors */
LLVMValueRef emit_least(Codegen *cg, LLVMValueRef a, LLVMValueRef b);               /* of two i64 */
LLVMValueRef emit_lane_mask(Codegen *cg, LLVMValueRef count, int lanes);            /* lane < count (i64) */
LLVMValueRef emit_cast(Codegen *cg, LLVMValueRef value, DType from, DType to);
/* Folds `value` into `state`; both scalars or both vectors. */
LLVMValueRef emit_combine(Codegen *cg, KCombine combine, DType dtype, LLVMValueRef state, LLVMValueRef value);
LLVMValueRef emit_identity(Codegen *cg, KCombine combine, DType dtype, bool wide);
/* A call of an overloaded intrinsic, e.g. ("llvm.sqrt", {type}), and of one that has one type only. */
LLVMValueRef emit_intrinsic(Codegen *cg, const char *name, LLVMTypeRef overload, const LLVMValueRef *args, int count);
LLVMValueRef emit_plain_intrinsic(Codegen *cg, const char *name, const LLVMValueRef *args, int count);
void emit_prefetch(Codegen *cg, LLVMValueRef address); /* what will be read soon; it may lie anywhere */
/* Where there are only 16 vector registers: none keeps its value here, so that what is needed behind, as constants are, takes
 * none from the loop before. */
void emit_forget_vectors(Codegen *cg);

/* ---- contractions (contract.c) ----
 * Both return false, having emitted nothing, where the plain loops of loops.c should do it. */

/* The kernel's only stage, without outer axes (they have become MAP axes): emits all phases. */
bool contract_emit_phases(Codegen *cg, const Kernel *kernel);
/* A stage of a larger kernel, at the current outer point, inside a task: all of it. */
bool contract_emit(Codegen *cg, const Kernel *kernel, const KStage *stage);
/* What the schedule decided, one line for people. False: not taken. */
bool contract_describe(const CpuTarget *target, const Kernel *kernel, const KStage *stage, Text *out);

#endif
