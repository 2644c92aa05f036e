/* Emitting a plain stage as its nest says: loops, instructions at their levels, accumulators, tail and stores. */
#include "backends/cpu/nest.h"

#include <string.h>

typedef struct Emission {
    Codegen *cg;
    const Nest *nest;
    const KStage *stage;
    Point points[NEST_MAX_COPIES];
    int copies;          /* of those that the current loop keeps */
    LLVMValueRef *slots; /* allocas: [acc][copy][chain] */
    LLVMValueRef chunk;  /* which piece of the cut loop this task does */
} Emission;

static LLVMValueRef *slot_of(Emission *e, int acc, int copy, int chain)
{
    return &e->slots[(acc * NEST_MAX_COPIES + copy) * NEST_MAX_CHAINS + chain];
}

static bool folds(const Emission *e)
{
    return e->stage->accs.count > 0;
}

/* ---- instructions ---- */

/* What is the same for all copies is emitted once. */
static void emit_for_copies(Emission *e, int inst)
{
    int copies = e->nest->varies[inst] ? e->copies : 1;
    for (int u = 0; u < copies; u++)
        emit_inst(e->cg, &e->points[u], inst);
    for (int u = copies; u < NEST_MAX_COPIES && e->points[u].values; u++)
        e->points[u].values[inst] = e->points[0].values[inst];
}

static void emit_level(Emission *e, int level)
{
    for (int i = 0; i < e->stage->insts.count; i++)
        if (e->nest->level[i] == level)
            emit_for_copies(e, i);
}

static void set_axis(Emission *e, int axis, LLVMValueRef value)
{
    for (int u = 0; u < e->nest->copies; u++)
        e->points[u].axis[axis] = value;
}

static void set_vector_place(Emission *e, int copy, LLVMValueRef flat)
{
    Point *point = &e->points[copy];
    point->flat = flat;
    if (point->vector_count == 1)
        point->axis[point->vector_axes[0]] = flat;
}

/* ---- accumulators ---- */

static DType state_dtype(const KAcc *acc)
{
    return acc->wide ? DT_f64 : acc->dtype;
}

static LLVMTypeRef state_type(Emission *e, const KAcc *acc)
{
    return codegen_vector_type(codegen_value_type(e->cg, state_dtype(acc)), e->nest->lanes);
}

static LLVMValueRef identity_of(Emission *e, const KAcc *acc)
{
    return emit_splat(e->cg, emit_identity(e->cg, acc->combine, acc->dtype, acc->wide), e->nest->lanes);
}

static void reset_accumulators(Emission *e)
{
    for (int a = 0; a < e->stage->accs.count; a++) {
        const KAcc *acc = &e->stage->accs.items[a];
        for (int u = 0; u < e->copies; u++)
            for (int c = 0; c < e->nest->chains; c++) {
                LLVMValueRef *slot = slot_of(e, a, u, c);
                if (!*slot)
                    *slot = emit_alloca(e->cg, state_type(e, acc), "acc");
                LLVMBuildStore(e->cg->builder, identity_of(e, acc), *slot);
            }
    }
}

/* `mask`: lanes of a vectorised reduction that exist. */
static void fold_one(Emission *e, int a, int copy, int chain, LLVMValueRef mask)
{
    Codegen *cg = e->cg;
    const KAcc *acc = &e->stage->accs.items[a];
    LLVMValueRef value = e->points[copy].values[acc->value];
    value = emit_cast(cg, value, e->stage->insts.items[acc->value].dtype, state_dtype(acc));
    value = emit_splat(cg, value, e->nest->lanes);
    if (mask)
        value = LLVMBuildSelect(cg->builder, mask, value, identity_of(e, acc), "");
    LLVMValueRef slot = *slot_of(e, a, copy, chain);
    LLVMValueRef state = LLVMBuildLoad2(cg->builder, state_type(e, acc), slot, "");
    state = emit_combine(cg, acc->combine, state_dtype(acc), state, value);
    LLVMBuildStore(cg->builder, state, slot);
}

static void fold(Emission *e, int chain, LLVMValueRef mask)
{
    for (int a = 0; a < e->stage->accs.count; a++)
        for (int u = 0; u < e->copies; u++)
            fold_one(e, a, u, chain, mask);
}

/* Halves onto each other until one lane is left: a fixed tree. */
static LLVMValueRef fold_lanes(Emission *e, const KAcc *acc, LLVMValueRef vector)
{
    Codegen *cg = e->cg;
    for (int width = e->nest->lanes; width > 1; width /= 2) {
        LLVMValueRef low[32], high[32];
        for (int i = 0; i < width / 2; i++) {
            low[i] = LLVMConstInt(cg->i32, (unsigned long long)i, false);
            high[i] = LLVMConstInt(cg->i32, (unsigned long long)(i + width / 2), false);
        }
        LLVMValueRef poison = LLVMGetPoison(LLVMTypeOf(vector));
        unsigned half = (unsigned)width / 2;
        LLVMValueRef a = LLVMBuildShuffleVector(cg->builder, vector, poison, LLVMConstVector(low, half), "");
        LLVMValueRef b = LLVMBuildShuffleVector(cg->builder, vector, poison, LLVMConstVector(high, half), "");
        vector = emit_combine(cg, acc->combine, state_dtype(acc), a, b);
    }
    return LLVMBuildExtractElement(cg->builder, vector, codegen_i64(cg, 0), "");
}

static LLVMValueRef result_of(Emission *e, int a, int copy)
{
    Codegen *cg = e->cg;
    const KAcc *acc = &e->stage->accs.items[a];
    LLVMValueRef state[NEST_MAX_CHAINS];
    int count = e->nest->chains;
    for (int c = 0; c < count; c++)
        state[c] = LLVMBuildLoad2(cg->builder, state_type(e, acc), *slot_of(e, a, copy, c), "");
    for (; count > 1; count = (count + 1) / 2)
        for (int c = 0; c < count / 2; c++)
            state[c] = emit_combine(cg, acc->combine, state_dtype(acc), state[c], state[c + (count + 1) / 2]);
    return e->nest->vector_reduces ? fold_lanes(e, acc, state[0]) : state[0];
}

static void emit_tail(Emission *e)
{
    for (int a = 0; a < e->stage->accs.count; a++)
        for (int u = 0; u < e->copies; u++)
            e->points[u].accs[a] = result_of(e, a, u);
    if (folds(e))
        emit_level(e, NEST_TAIL);
    for (int u = 0; u < e->copies; u++)
        emit_stores(e->cg, &e->points[u]);
}

/* ---- bounds ---- */

typedef struct Bounds {
    LLVMValueRef low, high;
    int64_t extent, piece; /* of the whole axis; of each piece of it, or 0 */
} Bounds;

static Bounds bounds_of_piece(Codegen *cg, LLVMValueRef which, int64_t size, int64_t extent)
{
    LLVMValueRef low = LLVMBuildNSWMul(cg->builder, which, codegen_i64(cg, size), "low");
    LLVMValueRef high = LLVMBuildNSWAdd(cg->builder, low, codegen_i64(cg, size), "");
    if (extent % size)
        high = emit_least(cg, high, codegen_i64(cg, extent));
    return (Bounds){.low = low, .high = high, .extent = extent, .piece = size};
}

static Bounds bounds_of(Emission *e, int loop)
{
    const Nest *nest = e->nest;
    Codegen *cg = e->cg;
    int64_t extent = nest_extent(nest, loop);
    const Ragged *ragged = &nest->ragged;
    int axis = nest->order[loop] == NEST_VECTOR ? nest->vector[0] : nest->order[loop];
    if (ragged->axis >= 0 && axis == ragged->axis)
        return bounds_of_piece(cg, e->points[0].axis[ragged->chunk], ragged->size, extent);
    if (loop == nest->chunk_loop && e->chunk)
        return bounds_of_piece(cg, e->chunk, nest->chunk_size, extent);
    return (Bounds){.low = codegen_i64(cg, 0), .high = codegen_i64(cg, extent), .extent = extent};
}

/* Whether steps of `step` end exactly at the upper bound, whichever the piece. */
static bool fits(const Bounds *bounds, int64_t step)
{
    return bounds->extent % step == 0 && bounds->piece % step == 0;
}

/* Where the last whole step ends. */
static LLVMValueRef whole_steps(Codegen *cg, const Bounds *bounds, int64_t step)
{
    if (fits(bounds, step))
        return bounds->high;
    LLVMValueRef length = LLVMBuildSub(cg->builder, bounds->high, bounds->low, "");
    LLVMValueRef steps = LLVMBuildUDiv(cg->builder, length, codegen_i64(cg, step), "");
    return LLVMBuildAdd(cg->builder, bounds->low, LLVMBuildMul(cg->builder, steps, codegen_i64(cg, step), ""), "middle");
}

static bool is_empty(LLVMValueRef low, LLVMValueRef high)
{
    return LLVMIsAConstantInt(low) && LLVMIsAConstantInt(high) &&
           LLVMConstIntGetSExtValue(low) >= LLVMConstIntGetSExtValue(high);
}

static LLVMValueRef rest_mask(Emission *e, const Bounds *bounds, LLVMValueRef index)
{
    if (fits(bounds, e->nest->lanes))
        return NULL;
    LLVMValueRef rest = LLVMBuildSub(e->cg->builder, bounds->high, index, "");
    return emit_lane_mask(e->cg, rest, e->nest->lanes);
}

/* ---- reductions ---- */

/* One turn of the innermost REDUCE loop at `index`, into the given chain. */
static void emit_turn(Emission *e, LLVMValueRef index, int chain, LLVMValueRef mask)
{
    int axis = e->nest->order[e->nest->count - 1];
    if (axis == NEST_VECTOR)
        set_vector_place(e, 0, index);
    else
        set_axis(e, axis, index);
    if (axis == NEST_VECTOR)
        e->points[0].mask = mask;
    emit_level(e, e->nest->count);
    fold(e, chain, mask);
    if (axis == NEST_VECTOR)
        e->points[0].mask = NULL;
}

static void emit_innermost_reduction(Emission *e)
{
    Codegen *cg = e->cg;
    const Nest *nest = e->nest;
    bool vector = nest->vector_reduces;
    Bounds bounds = bounds_of(e, nest->count - 1);
    int64_t unit = vector ? nest->lanes : 1, step = unit * nest->chains;
    LLVMValueRef middle = whole_steps(cg, &bounds, step);
    if (!is_empty(bounds.low, middle)) {
        Loop loop = loop_begin(cg, bounds.low, middle, step, "reduce");
        for (int c = 0; c < nest->chains; c++) {
            LLVMValueRef index = LLVMBuildNSWAdd(cg->builder, loop.index, codegen_i64(cg, c * unit), "");
            emit_turn(e, index, c, NULL);
        }
        loop_end(cg, &loop);
    }
    if (fits(&bounds, step) || is_empty(middle, bounds.high))
        return;
    Loop rest = loop_begin(cg, middle, bounds.high, unit, "reduce_rest");
    emit_turn(e, rest.index, 0, vector ? rest_mask(e, &bounds, rest.index) : NULL);
    loop_end(cg, &rest);
}

static void emit_reduction(Emission *e, int depth)
{
    Codegen *cg = e->cg;
    if (depth == e->nest->count) {
        fold(e, 0, NULL);
    } else if (depth == e->nest->count - 1) {
        emit_innermost_reduction(e);
    } else {
        Bounds bounds = bounds_of(e, depth);
        if (is_empty(bounds.low, bounds.high))
            return;
        Loop loop = loop_begin(cg, bounds.low, bounds.high, 1, "reduce");
        set_axis(e, e->nest->order[depth], loop.index);
        emit_level(e, depth + 1);
        emit_reduction(e, depth + 1);
        loop_end(cg, &loop);
    }
}

/* ---- maps and scans ---- */

static void emit_nest(Emission *e, int depth);

static void emit_vector_turns(Emission *e, int depth, LLVMValueRef low, LLVMValueRef high, int copies, const Bounds *masked)
{
    Codegen *cg = e->cg;
    if (is_empty(low, high))
        return;
    int lanes = e->nest->lanes;
    Loop loop = loop_begin(cg, low, high, lanes * copies, "vector");
    e->copies = copies;
    for (int u = 0; u < copies; u++)
        set_vector_place(e, u, LLVMBuildNSWAdd(cg->builder, loop.index, codegen_i64(cg, u * lanes), ""));
    e->points[0].mask = masked ? rest_mask(e, masked, loop.index) : NULL;
    emit_nest(e, depth + 1);
    e->points[0].mask = NULL;
    e->copies = e->nest->copies;
    loop_end(cg, &loop);
}

static void emit_vector_loop(Emission *e, int depth)
{
    Bounds bounds = bounds_of(e, depth);
    int64_t step = e->nest->lanes * e->nest->copies;
    LLVMValueRef middle = whole_steps(e->cg, &bounds, step);
    emit_vector_turns(e, depth, bounds.low, middle, e->nest->copies, NULL);
    if (!fits(&bounds, step))
        emit_vector_turns(e, depth, middle, bounds.high, 1, &bounds);
}

/* ---- transposed loads ---- */

/* Rows to columns: each round puts row i and row i + n/2 together like the teeth of a zip. */
static void transpose_square(Codegen *cg, LLVMValueRef *rows, int n)
{
    LLVMValueRef low[64], high[64], next[64];
    for (int i = 0; i < n; i++) {
        int from = i / 2 + (i % 2 ? n : 0);
        low[i] = LLVMConstInt(cg->i32, (unsigned long long)from, false);
        high[i] = LLVMConstInt(cg->i32, (unsigned long long)(from + n / 2), false);
    }
    LLVMValueRef low_half = LLVMConstVector(low, (unsigned)n), high_half = LLVMConstVector(high, (unsigned)n);
    for (int round = n; round > 1; round /= 2) {
        for (int i = 0; i < n / 2; i++) {
            next[2 * i] = LLVMBuildShuffleVector(cg->builder, rows[i], rows[i + n / 2], low_half, "");
            next[2 * i + 1] = LLVMBuildShuffleVector(cg->builder, rows[i], rows[i + n / 2], high_half, "");
        }
        memcpy(rows, next, (size_t)n * sizeof *rows);
    }
}

/* The load's values at `lanes` places of the block axis, each a vector along the vector axis. */
static void load_transposed(Emission *e, const KInst *inst, LLVMValueRef *values)
{
    Codegen *cg = e->cg;
    Point *point = &e->points[0];
    DType dtype = cg->kernel->buffers.items[inst->buffer].dtype;
    int64_t stride = inst->index.coef[e->nest->vector[0]];
    LLVMValueRef first = emit_affine(cg, point, &inst->index);
    for (int lane = 0; lane < e->nest->lanes; lane++) {
        LLVMValueRef place = LLVMBuildNSWAdd(cg->builder, first, codegen_i64(cg, lane * stride), "");
        values[lane] = emit_load(cg, dtype, emit_address(cg, inst->buffer, place), e->nest->lanes, NULL);
    }
    transpose_square(cg, values, e->nest->lanes);
    for (int i = 0; i < e->nest->lanes; i++)
        values[i] = emit_cast(cg, values[i], dtype, inst->dtype);
}

/* A square of `lanes` places along the block axis from `start` by `lanes` along the vector axis: everything unrolled. */
static void emit_square(Emission *e, LLVMValueRef start)
{
    const Nest *nest = e->nest;
    int count = e->stage->insts.count;
    LLVMValueRef *loaded = arena_array(e->cg->arena, LLVMValueRef, count * nest->lanes);
    set_axis(e, nest->block_axis, start);
    for (int i = 0; i < count; i++)
        if (nest_is_transposed(nest, &e->stage->insts.items[i]))
            load_transposed(e, &e->stage->insts.items[i], loaded + i * nest->lanes);
    for (int row = 0; row < nest->lanes; row++) {
        set_axis(e, nest->block_axis, LLVMBuildNSWAdd(e->cg->builder, start, codegen_i64(e->cg, row), ""));
        for (int i = 0; i < count; i++) {
            if (nest_is_transposed(nest, &e->stage->insts.items[i]))
                e->points[0].values[i] = loaded[i * nest->lanes + row];
            else if (nest->level[i] >= nest->count - 1)
                emit_for_copies(e, i);
        }
        emit_stores(e->cg, &e->points[0]);
    }
}

static void emit_rows(Emission *e, int depth, LLVMValueRef low, LLVMValueRef high)
{
    if (is_empty(low, high))
        return;
    Loop loop = loop_begin(e->cg, low, high, 1, "map");
    set_axis(e, e->nest->block_axis, loop.index);
    emit_nest(e, depth + 1);
    loop_end(e->cg, &loop);
}

/* Blocks along the block axis: squares of the vector axis, then what is left of it, row by row; then the rows that are left. */
static void emit_blocks(Emission *e, int depth)
{
    Codegen *cg = e->cg;
    int64_t lanes = e->nest->lanes;
    Bounds bounds = bounds_of(e, depth), across = bounds_of(e, depth + 1);
    LLVMValueRef middle = whole_steps(cg, &bounds, lanes), edge = whole_steps(cg, &across, lanes);
    if (!is_empty(bounds.low, middle)) {
        Loop loop = loop_begin(cg, bounds.low, middle, lanes, "block");
        Loop squares = loop_begin(cg, across.low, edge, lanes, "square");
        set_vector_place(e, 0, squares.index);
        emit_square(e, loop.index);
        loop_end(cg, &squares);
        if (!fits(&across, lanes)) {
            Loop rows =
                loop_begin(cg, loop.index, LLVMBuildNSWAdd(cg->builder, loop.index, codegen_i64(cg, lanes), ""), 1, "row");
            set_axis(e, e->nest->block_axis, rows.index);
            emit_level(e, depth + 1);
            emit_vector_turns(e, depth + 1, edge, across.high, 1, &across);
            loop_end(cg, &rows);
        }
        loop_end(cg, &loop);
    }
    if (!fits(&bounds, lanes))
        emit_rows(e, depth, middle, bounds.high);
}

static void emit_nest(Emission *e, int depth)
{
    const Nest *nest = e->nest;
    int tail = nest->map_loops + nest->scan_loops;
    emit_level(e, depth);
    if (folds(e) && depth == nest->map_loops)
        reset_accumulators(e);
    if (depth == tail) {
        if (folds(e))
            emit_reduction(e, depth);
        emit_tail(e);
    } else if (nest->order[depth] == NEST_VECTOR) {
        emit_vector_loop(e, depth);
    } else if (nest->order[depth] == nest->block_axis) {
        emit_blocks(e, depth);
    } else {
        Bounds bounds = bounds_of(e, depth);
        Loop loop = loop_begin(e->cg, bounds.low, bounds.high, 1, depth < nest->map_loops ? "map" : "scan");
        set_axis(e, nest->order[depth], loop.index);
        emit_nest(e, depth + 1);
        loop_end(e->cg, &loop);
    }
}

/* ---- tasks ---- */

static LLVMValueRef take_digit(Codegen *cg, LLVMValueRef *number, int64_t base)
{
    LLVMValueRef divisor = codegen_i64(cg, base);
    LLVMValueRef digit = LLVMBuildURem(cg->builder, *number, divisor, "");
    *number = LLVMBuildUDiv(cg->builder, *number, divisor, "");
    return digit;
}

static void decode_task(Emission *e, LLVMValueRef task)
{
    const Nest *nest = e->nest;
    if (nest->chunk_loop >= 0)
        e->chunk = take_digit(e->cg, &task, nest->chunks);
    for (int i = nest->task_axis_count - 1; i >= 0; i--) {
        int axis = nest->task_axes[i];
        set_axis(e, axis, take_digit(e->cg, &task, nest->stage->axes.items[axis - nest->kernel->outer.count].extent));
    }
}

void loops_emit(Codegen *cg, const Nest *nest, LLVMValueRef task)
{
    const KStage *stage = nest->stage;
    Emission e = {.cg = cg, .nest = nest, .stage = stage, .copies = nest->copies};
    e.slots = arena_array(cg->arena, LLVMValueRef, (stage->accs.count + 1) * NEST_MAX_COPIES * NEST_MAX_CHAINS);
    for (int u = 0; u < nest->copies; u++) {
        point_init(cg, &e.points[u], stage, nest->lanes);
        e.points[u].vector_count = nest->vector_count;
        memcpy(e.points[u].vector_axes, nest->vector, sizeof nest->vector);
        for (int axis = 0; axis < nest->vector_count; axis++)
            e.points[u].axis[nest->vector[axis]] = codegen_i64(cg, 0);
        e.points[u].flat = codegen_i64(cg, 0);
    }
    if (task)
        decode_task(&e, task);
    emit_nest(&e, 0);
}
