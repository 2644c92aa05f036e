/* Schedule of a contraction: how C[batch, row, column] = sum_k A[batch, row, k] * B[batch, column, k] is cut into register
 * tiles, panels, blocks and tasks.  It is data, computed from the stage and the target alone.
 *
 * Columns are the points of one axis that lies in vector registers; rows are the points of one axis, or of two, of the
 * other operand.  A tile is up to `rows.most` rows times `columns.most` vectors of columns, kept in registers while k goes
 * by.  A panel is a tile's columns over all rows.  A task computes a block of tiles for a group of panels.
 *
 * Where k is long, it goes by in chunks, so that what the tiles of a task read stays in its cache; between chunks the sums
 * lie in memory.  Where such a task would be one of few, k is cut into splits as well, each a task with sums of its own, which
 * a phase of its own adds up in order. */
#ifndef CM_BACKENDS_CPU_SCHEDULE_H
#define CM_BACKENDS_CPU_SCHEDULE_H

#include "backends/cpu/cpu_internal.h"

/* `count` things in `parts` parts as equal as possible: the first `larger` parts have base + 1, the others base. */
typedef struct ContractSplit {
    int64_t count, parts, base, larger;
    int most; /* in one part */
} ContractSplit;

typedef enum ContractPack {
    PACK_NONE,   /* read in place */
    PACK_SHARED, /* copied once for the launch, by a phase of its own */
    PACK_TASK,   /* copied by each task into its scratch */
} ContractPack;

typedef struct ContractSchedule {
    KStage stage;   /* the stage with neighbouring axes merged; kernel's outer axes come before as ever */
    int first_axis; /* number of its first axis */
    KRef column_load, row_load;
    DType dtype; /* computed in: f32 or f64 */
    int lanes;

    int column_axis;
    int row_axis;                       /* none: -1 */
    int row_outer;                      /* rows of two axes: row_axis whole, times a split of row_outer; none: -1 */
    int row_inner;                      /* rows for each point of the axis that is split */
    int batch[K_MAX_AXES], batch_count; /* in both operands or in neither, and column-side axes that are not in a vector */
    int other[K_MAX_AXES], other_count; /* row-side axes that are not in a tile */
    int k[K_MAX_AXES], k_count;         /* outer to inner */
    int64_t batch_points, other_points, k_points;

    ContractSplit rows;    /* of the split row axis; a tile has row_inner times as many rows */
    ContractSplit columns; /* of vectors */
    bool masked;           /* the last vector is not full */
    ContractPack pack_columns, pack_rows;
    bool column_stays; /* the packed columns do not depend on the batch axes: one copy */

    int64_t row_tiles;  /* other_points * rows.parts */
    int64_t block;      /* tiles in a task */
    int64_t blocks;     /* runs of tiles */
    int64_t group;      /* panels in a task */
    int64_t groups;     /* runs of panels */
    int64_t split;      /* points of k[0] in a task */
    int64_t splits;     /* runs of them */
    int64_t chunk;      /* points of k[0] between two visits to the sums in memory */
    bool stored_sums;   /* sums are visited: there are chunks or splits */
    bool unrolled_tail; /* the tail is written out for each vector of the tile instead of looping over them */
    double cost;        /* estimate, in issue slots of fused multiply-adds */
} ContractSchedule;

/* False: plain loops are better, or it is not a contraction that tiles can do.  `nested`: the stage runs inside a task. */
bool schedule_contract(Arena *arena, const CpuTarget *target, const Kernel *kernel, const KStage *stage, bool nested,
                       ContractSchedule *out);
void schedule_print(const ContractSchedule *schedule, Text *out);

static inline const KAxis *schedule_axis(const ContractSchedule *schedule, int axis)
{
    return &schedule->stage.axes.items[axis - schedule->first_axis];
}
int64_t schedule_extent(const ContractSchedule *schedule, int axis); /* of none: 1 */
static inline int64_t schedule_tasks(const ContractSchedule *schedule)
{
    return schedule->batch_points * schedule->splits * schedule->blocks * schedule->groups;
}

/* Sizes of packed operands, in elements. */
int64_t schedule_panel_elements(const ContractSchedule *schedule);
int64_t schedule_row_tile_elements(const ContractSchedule *schedule);
int64_t schedule_tile_vectors(const ContractSchedule *schedule); /* of sums in a tile */

#endif
