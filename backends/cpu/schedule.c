/* Schedules of contractions: axes are merged, then each way to lay them into vectors and tiles is weighed, the best kept. */
#include "backends/cpu/schedule.h"

#include <stdlib.h>

enum {
    MAX_ROWS = 14, /* more add nothing once loads are hidden, and cost code */
    MAX_VECTORS = 8,
    MIN_CHAINS = 8,             /* independent sums that hide the latency of a fused multiply-add */
    TILE_OVERHEAD = 60,         /* slots spent around a tile */
    PANEL_BYTES = 64 << 10,     /* of columns that every tile of a task reads: more go by in chunks of k */
    SUMS_BYTES = 256 << 10,     /* of the results of a task between chunks */
    LEAST_BLOCK = 8,            /* tiles that a panel meets at least, so that reading it pays */
    CROWDED_STRIDE = 512,       /* bytes between rows of columns from which a copy is read more quickly */
    PAGE_BYTES = 4096,          /* rows that far apart share a set of the first-level cache .. */
    MAX_ROWS_OF_SET = 7,        /* .. which holds that many, and a column */
    RESIDENT_BYTES = 384 << 10, /* of an operand that is to stay in a second-level cache */
    SHARED_LIMIT = 256 << 20,   /* bytes of a packed copy */
    TASK_LIMIT = 4 << 20,       /* bytes of a packed copy in a worker's scratch */
    CHUNK_BYTES = 256 << 10,    /* of both operands in one chunk of k */
    MIN_WORK = 512,             /* multiplications below which plain loops will do */
    UNROLLED_TAIL = 6,          /* instructions */
    WIDE_SHARE = 16,            /* tasks that are enough for even sharing */
    GROUP_COLUMNS = 384,        /* of the panels that a task with long sums computes */
};

/* ---- what tiles can do ---- */

static bool load_is_plain(const KInst *inst)
{
    return inst->op == K_load && inst->arg[0] < 0 && inst->arg[1] < 0;
}

static bool stage_is_fit(const KStage *stage)
{
    if (stage->kind != K_STAGE_CONTRACT || stage->accs.count != 1 || stage->body_count < 2 || stage->stores.count == 0) {
        return false;
    }
    const KAcc *acc = &stage->accs.items[0];
    const KInst *product = &stage->insts.items[acc->value];
    bool wide = acc->wide && acc->dtype != DT_f64;
    if (acc->combine != K_SUM || wide || (acc->dtype == DT_f64) != (product->dtype == DT_f64) || product->op != OP_mul ||
        !dtype_is_float(product->dtype)) {
        return false;
    }
    const KInst *a = &stage->insts.items[product->arg[0]], *b = &stage->insts.items[product->arg[1]];
    if (!load_is_plain(a) || !load_is_plain(b) || a->dtype != product->dtype || b->dtype != product->dtype) {
        return false;
    }
    for (int i = 0; i < stage->stores.count; i++) {
        if (stage->stores.items[i].add) {
            return false;
        }
    }
    for (int i = 0; i < stage->axes.count; i++) {
        if (stage->axes.items[i].kind == K_SCAN || stage->axes.items[i].extent <= 0) {
            return false;
        }
    }
    return true;
}

int64_t schedule_extent(const ContractSchedule *schedule, int axis)
{
    return axis < 0 ? 1 : schedule_axis(schedule, axis)->extent;
}

static int64_t schedule_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static ContractSplit split_evenly(int64_t count, int64_t most)
{
    int64_t parts = (count + most - 1) / most, base = count / parts, larger = count % parts;
    return (ContractSplit){count, parts, base, larger, (int)(base + (larger > 0))};
}

static int64_t load_coef(const ContractSchedule *schedule, KRef load, int axis)
{
    return schedule->stage.insts.items[load].index.coef[axis];
}

/* How far one step along the axis moves in the operands. */
static int64_t k_reach(const ContractSchedule *schedule, int axis)
{
    return llabs(load_coef(schedule, schedule->row_load, axis)) + llabs(load_coef(schedule, schedule->column_load, axis));
}

int64_t schedule_panel_elements(const ContractSchedule *schedule)
{
    return schedule->k_points * schedule->columns.most * schedule->lanes;
}

int64_t schedule_row_tile_elements(const ContractSchedule *schedule)
{
    return schedule->k_points * schedule->rows.most * schedule->row_inner;
}

int64_t schedule_tile_vectors(const ContractSchedule *schedule)
{
    return (int64_t)schedule->rows.most * schedule->row_inner * schedule->columns.most;
}

/* ---- weighing ---- */

/* Slots for one k of a tile: fused multiply-adds and loads issue side by side; short tiles wait for their own sums. */
static double tile_step_cost(int64_t rows, int64_t vectors)
{
    int64_t most = rows * vectors > rows + vectors ? rows * vectors : rows + vectors;
    return (double)(most > MIN_CHAINS ? most : MIN_CHAINS) + 1;
}

/* Slots for the tail of one vector: accesses that do not follow the columns go lane by lane. */
static double tail_cost(const ContractSchedule *schedule)
{
    const KStage *stage = &schedule->stage;
    double cost = 0.5 * (stage->insts.count - stage->body_count);
    for (int i = 0; i < stage->stores.count; i++) {
        int64_t step = stage->stores.items[i].index.coef[schedule->column_axis];
        cost += step == 1 ? 1 : 2 * schedule->lanes;
    }
    for (int i = stage->body_count; i < stage->insts.count; i++) {
        const KInst *inst = &stage->insts.items[i];
        int64_t step = inst->op == K_load ? inst->index.coef[schedule->column_axis] : 0;
        cost += step == 0 || step == 1 ? 0 : schedule->lanes;
    }
    return cost;
}

static double pack_cost(const ContractSchedule *schedule)
{
    double elements = (double)schedule->k_points * (double)schedule->columns.count * schedule->lanes *
                      (double)(schedule->column_stays ? 1 : schedule->batch_points);
    bool straight = load_coef(schedule, schedule->column_load, schedule->column_axis) == 1;
    return schedule->pack_columns == PACK_NONE ? 0 : elements * (straight ? 0.2 : 0.8);
}

static double schedule_weigh(const ContractSchedule *schedule)
{
    const ContractSplit *rows = &schedule->rows, *columns = &schedule->columns;
    double total = 0, tail = tail_cost(schedule);
    for (int larger_row = 0; larger_row < 2; larger_row++) {
        double row_tiles = (double)(larger_row ? rows->larger : rows->parts - rows->larger);
        int64_t height = (rows->base + larger_row) * schedule->row_inner;
        for (int larger_column = 0; larger_column < 2; larger_column++) {
            double panels = (double)(larger_column ? columns->larger : columns->parts - columns->larger);
            int64_t width = columns->base + larger_column;
            double tile =
                (double)schedule->k_points * tile_step_cost(height, width) + TILE_OVERHEAD + tail * (double)(height * width);
            total += row_tiles * panels * tile;
        }
    }
    total *= (double)(schedule->batch_points * schedule->other_points);
    /* Large work in few tiles is shared out unevenly, unless k can be shared out. */
    double tiles = (double)(rows->parts * columns->parts * schedule->batch_points * schedule->other_points);
    bool is_long = schedule_panel_elements(schedule) * dtype_size(schedule->dtype) > PANEL_BYTES;
    if (total > 1e5 && tiles < WIDE_SHARE && !is_long) {
        total *= 1 + 0.5 / tiles;
    }
    return total + pack_cost(schedule);
}

/* ---- laying out ---- */

static bool axis_is_on_side(const ContractSchedule *schedule, int axis, KRef load, KRef other)
{
    return schedule_axis(schedule, axis)->kind == K_MAP && load_coef(schedule, load, axis) != 0 &&
           load_coef(schedule, other, axis) == 0;
}

/* Far steps outside, near ones inside: the innermost loop then walks through lines and pages that it has just touched. */
static void schedule_sort_k(ContractSchedule *schedule)
{
    for (int i = 1; i < schedule->k_count; i++) {
        for (int j = i; j > 0; j--) {
            int *outer = &schedule->k[j - 1], *inner = &schedule->k[j];
            if (k_reach(schedule, *outer) >= k_reach(schedule, *inner)) {
                break;
            }
            int axis = *outer;
            *outer = *inner;
            *inner = axis;
        }
    }
}

static void schedule_assign_axes(ContractSchedule *schedule)
{
    schedule->batch_count = schedule->other_count = schedule->k_count = 0;
    schedule->batch_points = schedule->other_points = schedule->k_points = 1;
    schedule->column_stays = true;
    for (int i = 0; i < schedule->stage.axes.count; i++) {
        int axis = schedule->first_axis + i;
        int64_t extent = schedule->stage.axes.items[i].extent;
        if (schedule->stage.axes.items[i].kind == K_REDUCE) {
            schedule->k[schedule->k_count++] = axis;
            schedule->k_points *= extent;
        } else if (axis == schedule->column_axis || axis == schedule->row_axis || axis == schedule->row_outer) {
            continue;
        } else if (axis_is_on_side(schedule, axis, schedule->row_load, schedule->column_load)) {
            schedule->other[schedule->other_count++] = axis;
            schedule->other_points *= extent;
        } else {
            schedule->batch[schedule->batch_count++] = axis;
            schedule->batch_points *= extent;
            schedule->column_stays &= load_coef(schedule, schedule->column_load, axis) == 0;
        }
    }
    schedule_sort_k(schedule);
}

static DType load_memory_dtype(const Kernel *kernel, const ContractSchedule *schedule, KRef load)
{
    return kernel->buffers.items[schedule->stage.insts.items[load].buffer].dtype;
}

/* Copies pay where reading in place is not possible, or where the panel is read so often that a straight copy is quicker: what
 * lies far apart falls into few cache sets, and into many pages. */
static void schedule_choose_packing(const CpuTarget *target, const Kernel *kernel, ContractSchedule *schedule, bool nested)
{
    int64_t rows = schedule->rows.count * schedule->row_inner * schedule->other_points;
    int64_t step = load_coef(schedule, schedule->column_load, schedule->column_axis);
    DType memory = load_memory_dtype(kernel, schedule, schedule->column_load);
    int64_t stride = schedule->k_count ? load_coef(schedule, schedule->column_load, schedule->k[schedule->k_count - 1]) : 0;
    bool narrow = dtype_size(memory) < dtype_size(schedule->dtype);
    bool clumsy = schedule->masked && target->lanes == 4; /* no masked loads */
    bool crowded = stride * dtype_size(memory) >= CROWDED_STRIDE && schedule->k_points >= 64 && rows >= 64;
    schedule->pack_columns = PACK_NONE;
    if (step != 1 || narrow || clumsy || crowded) {
        bool by_task = nested || (!schedule->column_stays && schedule->batch_points * schedule->columns.parts >= WIDE_SHARE);
        schedule->pack_columns = by_task ? PACK_TASK : PACK_SHARED;
    }
    schedule->pack_rows = PACK_NONE;
}

static int64_t schedule_within(int64_t value, int64_t most)
{
    return value < 1 ? 1 : schedule_least(value, most);
}

/* Bytes of operands that stay in the cache while one panel meets a task's tiles, for one point of k[0].  Tiles may read the
 * same rows again, as the taps of a window do, so there are no more than the operand has. */
static int64_t schedule_point_bytes(const Kernel *kernel, const ContractSchedule *schedule)
{
    int64_t size = dtype_size(schedule->dtype), extent = schedule_extent(schedule, schedule->k[0]);
    int64_t rows = schedule_row_tile_elements(schedule) * schedule->block;
    int64_t row_buffer = kernel->buffers.items[schedule->stage.insts.items[schedule->row_load].buffer].count;
    return (schedule_least(rows, row_buffer) + schedule_panel_elements(schedule)) * size / extent + 1;
}

/* Long sums: a task has as many of the results as its cache holds sums for, so that operands are read few times, or fewer
 * where that makes enough tasks; k goes by in chunks, and is shared out where there are still too few. */
static void schedule_choose_long(const Kernel *kernel, ContractSchedule *schedule, bool nested)
{
    int64_t tile_bytes = schedule_tile_vectors(schedule) * schedule->lanes * dtype_size(schedule->dtype);
    int64_t extent = schedule_extent(schedule, schedule->k[0]);
    int64_t panel_columns = (int64_t)schedule->columns.most * schedule->lanes;
    int64_t tasks = schedule->batch_points;
    if (schedule->pack_columns != PACK_TASK) {
        int64_t group = schedule_within(GROUP_COLUMNS / panel_columns, GROUP_COLUMNS);
        schedule->group = split_evenly(schedule->columns.parts, group).most;
        tasks *= split_evenly(schedule->columns.parts, schedule->group).parts;
        int64_t block = SUMS_BYTES / (tile_bytes * schedule->group), enough = schedule->row_tiles * tasks / WIDE_SHARE;
        if (block < schedule->row_tiles) {
            block = schedule_least(block, enough > LEAST_BLOCK ? enough : LEAST_BLOCK);
        }
        schedule->block = split_evenly(schedule->row_tiles, schedule_within(block, schedule->row_tiles)).most;
        tasks *= split_evenly(schedule->row_tiles, schedule->block).parts;
    }
    if (!nested && tasks < WIDE_SHARE) {
        schedule->split = split_evenly(extent, split_evenly(extent, (WIDE_SHARE + tasks - 1) / tasks).parts).most;
    }
    int64_t wanted = schedule_within(CHUNK_BYTES / schedule_point_bytes(kernel, schedule), schedule->split);
    schedule->chunk = split_evenly(schedule->split, wanted).most;
}

/* Which tiles, panels and points of k a task takes. */
static void schedule_choose_blocks(const Kernel *kernel, ContractSchedule *schedule, bool nested)
{
    int64_t size = dtype_size(schedule->dtype), k0 = schedule->k_count ? schedule_extent(schedule, schedule->k[0]) : 1;
    int64_t tile_bytes = schedule_row_tile_elements(schedule) * size, panel_bytes = schedule_panel_elements(schedule) * size;
    schedule->row_tiles = schedule->other_points * schedule->rows.parts;
    schedule->block = schedule->pack_columns == PACK_TASK ? schedule->row_tiles : 1;
    schedule->group = 1;
    schedule->split = schedule->chunk = k0;
    if (panel_bytes > PANEL_BYTES && k0 > 1) {
        schedule_choose_long(kernel, schedule, nested);
    } else if (schedule->pack_columns != PACK_TASK && panel_bytes * schedule->columns.parts > RESIDENT_BYTES) {
        int64_t enough = schedule->row_tiles * schedule->columns.parts * schedule->batch_points / WIDE_SHARE;
        int64_t wanted = schedule_least(RESIDENT_BYTES / (tile_bytes + 1), enough);
        schedule->block = split_evenly(schedule->row_tiles, schedule_within(wanted, schedule->row_tiles)).most;
    }
    schedule->blocks = split_evenly(schedule->row_tiles, schedule->block).parts;
    schedule->groups = split_evenly(schedule->columns.parts, schedule->group).parts;
    schedule->splits = (k0 + schedule->split - 1) / schedule->split;
    schedule->stored_sums = schedule->splits > 1 || schedule->chunk < schedule->split;
}

static bool schedule_fits(const ContractSchedule *schedule)
{
    int64_t size = dtype_size(schedule->dtype), panel = schedule_panel_elements(schedule) * size;
    int64_t copies = schedule->column_stays ? 1 : schedule->batch_points;
    int64_t rows = schedule->rows.count * schedule->row_inner * schedule->other_points;
    switch (schedule->pack_columns) {
    case PACK_NONE:
        return true;
    case PACK_SHARED:
        return rows >= 8 && panel < SHARED_LIMIT && panel * schedule->columns.parts * copies <= SHARED_LIMIT;
    case PACK_TASK:
        return rows >= 8 && panel <= TASK_LIMIT;
    }
    return false;
}

/* Rows of a tile that the first-level cache can hold a line of each, where k goes along the lines. */
static int64_t schedule_most_rows(const Kernel *kernel, const ContractSchedule *schedule)
{
    if (schedule->row_axis < 0) {
        return MAX_ROWS;
    }
    int64_t bytes = load_coef(schedule, schedule->row_load, schedule->row_axis) *
                    dtype_size(load_memory_dtype(kernel, schedule, schedule->row_load));
    return bytes && bytes % PAGE_BYTES == 0 ? MAX_ROWS_OF_SET : MAX_ROWS;
}

/* Rows that are neighbours in memory share lines and pages. */
static bool rows_are_nearer(const ContractSchedule *a, const ContractSchedule *b)
{
    return a->row_axis >= 0 && b->row_axis >= 0 &&
           llabs(load_coef(a, a->row_load, a->row_axis)) < llabs(load_coef(b, b->row_load, b->row_axis));
}

/* Completes a choice of axes and vectors; keeps it if it is the best so far. */
static void schedule_try(const CpuTarget *target, const Kernel *kernel, ContractSchedule *trial, int vectors, bool nested,
                         ContractSchedule *best)
{
    int64_t column_vectors = (schedule_extent(trial, trial->column_axis) + trial->lanes - 1) / trial->lanes;
    trial->columns = split_evenly(column_vectors, vectors);
    trial->masked = schedule_extent(trial, trial->column_axis) % trial->lanes != 0;
    int most = (target->registers - 1 - trial->columns.most) / trial->columns.most;
    most = (int)schedule_least(most, schedule_most_rows(kernel, trial));
    int split_axis = trial->row_outer >= 0 ? trial->row_outer : trial->row_axis;
    trial->row_inner = trial->row_outer >= 0 ? (int)schedule_extent(trial, trial->row_axis) : 1;
    if (most / trial->row_inner < 1) {
        return;
    }
    trial->rows = split_evenly(schedule_extent(trial, split_axis), most / trial->row_inner);
    schedule_assign_axes(trial);
    schedule_choose_packing(target, kernel, trial, nested);
    trial->cost = schedule_weigh(trial);
    bool better = best->cost < 0 || trial->cost < best->cost || (trial->cost == best->cost && rows_are_nearer(trial, best));
    if (better && schedule_fits(trial)) {
        *best = *trial;
    }
}

static void schedule_try_rows(const CpuTarget *target, const Kernel *kernel, ContractSchedule *trial, bool nested,
                              ContractSchedule *best)
{
    static const int widths[] = {1, 2, 3, 4, 6, MAX_VECTORS};
    int first = trial->first_axis, end = first + trial->stage.axes.count;
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        bool found = false;
        for (int row = first; row < end; row++) {
            if (!axis_is_on_side(trial, row, trial->row_load, trial->column_load)) {
                continue;
            }
            found = true;
            trial->row_axis = row;
            trial->row_outer = -1;
            schedule_try(target, kernel, trial, widths[w], nested, best);
            for (int outer = first; outer < end; outer++) {
                if (outer != row && axis_is_on_side(trial, outer, trial->row_load, trial->column_load)) {
                    trial->row_outer = outer;
                    schedule_try(target, kernel, trial, widths[w], nested, best);
                }
            }
        }
        if (!found) {
            trial->row_axis = trial->row_outer = -1;
            schedule_try(target, kernel, trial, widths[w], nested, best);
        }
    }
}

bool schedule_contract(Arena *arena, const CpuTarget *target, const Kernel *kernel, const KStage *stage, bool nested,
                       ContractSchedule *out)
{
    if (!stage_is_fit(stage)) {
        return false;
    }
    ContractSchedule trial = {.first_axis = kernel->outer.count, .row_axis = -1, .row_outer = -1};
    trial.stage = *stage;
    kstage_own(arena, &trial.stage);
    kernel_merge_axes(kernel, &trial.stage);
    const KInst *product = &trial.stage.insts.items[trial.stage.accs.items[0].value];
    trial.dtype = product->dtype == DT_f64 ? DT_f64 : DT_f32;
    trial.lanes = trial.dtype == DT_f64 ? target->lanes / 2 : target->lanes;
    out->cost = -1;
    int64_t work = 1;
    for (int i = 0; i < trial.stage.axes.count; i++) {
        work *= trial.stage.axes.items[i].extent;
    }
    for (int side = 0; side < 2 && work >= MIN_WORK; side++) {
        trial.column_load = product->arg[side];
        trial.row_load = product->arg[1 - side];
        for (int i = 0; i < trial.stage.axes.count; i++) {
            trial.column_axis = trial.first_axis + i;
            if (axis_is_on_side(&trial, trial.column_axis, trial.column_load, trial.row_load)) {
                schedule_try_rows(target, kernel, &trial, nested, out);
            }
        }
    }
    if (out->cost < 0) {
        return false;
    }
    schedule_choose_blocks(kernel, out, nested);
    out->unrolled_tail = !out->stored_sums && out->stage.insts.count - out->stage.body_count <= UNROLLED_TAIL;
    return true;
}

/* ---- for people ---- */

static void print_axes(Text *out, const char *title, const int *axes, int count)
{
    text_puts(out, title);
    for (int i = 0; i < count; i++) {
        text_printf(out, "%sa%d", i ? "," : "", axes[i]);
    }
}

void schedule_print(const ContractSchedule *schedule, Text *out)
{
    static const char *const pack_names[] = {"in place", "packed once", "packed by task"};
    text_printf(out, "contract %s  tile %d x %d  columns a%d:%lld in %lld panels", dtype_name(schedule->dtype),
                schedule->rows.most * schedule->row_inner, schedule->columns.most * schedule->lanes, schedule->column_axis,
                (long long)schedule_extent(schedule, schedule->column_axis), (long long)schedule->columns.parts);
    if (schedule->row_axis >= 0) {
        text_printf(out, "  rows a%d:%lld", schedule->row_axis, (long long)schedule_extent(schedule, schedule->row_axis));
    }
    if (schedule->row_outer >= 0) {
        text_printf(out, " by a%d:%lld", schedule->row_outer, (long long)schedule_extent(schedule, schedule->row_outer));
    }
    print_axes(out, "  k ", schedule->k, schedule->k_count);
    text_printf(out, ":%lld", (long long)schedule->k_points);
    if (schedule->stored_sums) {
        text_printf(out, " in %lld splits by %lld of %lld", (long long)schedule->splits, (long long)schedule->chunk,
                    (long long)schedule_extent(schedule, schedule->k[0]));
    }
    print_axes(out, "  batch ", schedule->batch, schedule->batch_count);
    print_axes(out, "  other ", schedule->other, schedule->other_count);
    text_printf(out, "  columns %s, rows %s  %lld tiles in blocks of %lld, panels in groups of %lld: %lld tasks  tail %s\n",
                pack_names[schedule->pack_columns], pack_names[schedule->pack_rows], (long long)schedule->row_tiles,
                (long long)schedule->block, (long long)schedule->group, (long long)schedule_tasks(schedule),
                schedule->unrolled_tail ? "in registers" : "from memory");
}
