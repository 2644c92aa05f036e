/* Nest: how the loops of one plain stage run on this CPU: their order, the vector axis, unrolling, and what tasks share out. */
#ifndef CM_BACKENDS_CPU_NEST_H
#define CM_BACKENDS_CPU_NEST_H

#include "backends/cpu/cpu_internal.h"

enum {
    NEST_VECTOR = -1, /* in `order`: the loop over the flattened vector axis */
    NEST_TAIL = 1000, /* level of what waits for the accumulators */
    NEST_MAX_COPIES = 8,
    NEST_MAX_CHAINS = 8,
};

/* A REDUCE axis cut into pieces of `size` by the MAP axis `chunk`: it runs from chunk * size to at most its extent. */
typedef struct Ragged {
    int axis, chunk; /* axis < 0: none */
    int64_t size;
} Ragged;

/* Loops are numbered from outermost: first MAP loops, then SCAN, then REDUCE.  An instruction's level is the number of loops
 * around it: it is emitted at the start of the innermost loop on whose axis it depends. */
typedef struct Nest {
    const Kernel *kernel;
    const KStage *stage;
    Ragged ragged;
    int order[K_MAX_AXES + 1]; /* axis numbers or NEST_VECTOR */
    int count, map_loops, scan_loops;
    int vector[K_MAX_AXES], vector_count; /* outer to inner */
    int64_t vector_extent;
    bool vector_reduces;
    int lanes;
    int copies;     /* MAP vectors side by side */
    int chains;     /* accumulators a result, along the innermost REDUCE loop */
    int block_axis; /* MAP axis just outside the vector axis, along which transposed loads are contiguous; or -1 */
    int *level;
    bool *varies;  /* along the vector axis */
    double cycles; /* rough cost of the whole stage at one outer point */

    /* What the task's number says: axes by value, and a piece of one loop. */
    int task_axes[K_MAX_AXES], task_axis_count;
    int chunk_loop; /* position in `order`, or -1 */
    int64_t chunk_size, chunks;
    int64_t tasks, wanted;
} Nest;

/* `share`: cut into tasks; else one task does everything. */
Nest nest_choose(Arena *arena, const CpuTarget *target, const Kernel *kernel, const KStage *stage, Ragged ragged, bool share);
int64_t nest_extent(const Nest *nest, int loop);
/* Whether the load lies across the vector axis and along the block axis: `lanes` vectors are loaded and transposed. */
bool nest_is_transposed(const Nest *nest, const KInst *inst);
void nest_print(const Nest *nest, Text *out);

/* Emits the stage at the current outer point: everything, or what `task` stands for. */
void loops_emit(Codegen *cg, const Nest *nest, LLVMValueRef task);

#endif
