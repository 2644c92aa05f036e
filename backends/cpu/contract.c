/* Contractions as register tiles: emits what schedule.c decided.
 *
 *   phase 0 (or the start of a task): columns copied to panels [k][columns of the panel]
 *   task: for each chunk of k, for each tile of the block: sums = 0; for k: sums[row][vector] += row value * column vector;
 *         then the stage's tail for each vector of the tile. */
#include "backends/cpu/schedule.h"

enum { MAX_SUMS = 32, MAX_LANES = 16, PACK_TASK_ELEMENTS = 16384, VECTOR_ALIGN = 64 };

typedef struct Contract {
    Codegen *cg;
    const ContractSchedule *schedule;
    LLVMTypeRef element, vector; /* computed with */
    size_t element_bytes;
    size_t panel_offset; /* of packed columns in shared memory or scratch */
    size_t tile_offset;  /* of stored tiles in scratch */

    LLVMValueRef axis[K_MAX_AXES]; /* the stage's axes at the present place; k: 0 */
    LLVMValueRef first_vector;     /* of the panel */
    LLVMValueRef panel_is_larger;  /* i1; null where all are equal */
    LLVMValueRef tile_is_larger;
    LLVMValueRef panel_data;             /* packed columns of the panel, or null */
    LLVMValueRef tile_data;              /* stored sums of the tile, or null */
    LLVMValueRef chunk_begin, chunk_end; /* of the outermost k axis */
} Contract;

/* ---- small tools ---- */

static LLVMValueRef contract_scale(Codegen *cg, LLVMValueRef value, int64_t factor)
{
    return factor == 1 ? value : LLVMBuildMul(cg->builder, value, codegen_i64(cg, factor), "");
}

static LLVMValueRef contract_step(Codegen *cg, LLVMTypeRef type, LLVMValueRef address, LLVMValueRef elements)
{
    return LLVMBuildGEP2(cg->builder, type, address, &elements, 1, "");
}

static LLVMValueRef contract_min(Codegen *cg, LLVMValueRef a, LLVMValueRef b)
{
    LLVMValueRef less = LLVMBuildICmp(cg->builder, LLVMIntSLT, a, b, "");
    return LLVMBuildSelect(cg->builder, less, a, b, "");
}

/* The least significant digit of `number` in base `base`; what is left goes back to `number`. */
static LLVMValueRef contract_take_digit(Codegen *cg, LLVMValueRef *number, int64_t base)
{
    if (base == 1) {
        return codegen_i64(cg, 0);
    }
    LLVMValueRef divisor = codegen_i64(cg, base);
    LLVMValueRef digit = LLVMBuildURem(cg->builder, *number, divisor, "");
    *number = LLVMBuildUDiv(cg->builder, *number, divisor, "");
    return digit;
}

static void contract_take_axes(Contract *contract, LLVMValueRef *number, const int *axes, int count)
{
    for (int i = count - 1; i >= 0; i--) {
        contract->axis[axes[i]] = contract_take_digit(contract->cg, number, schedule_extent(contract->schedule, axes[i]));
    }
}

static LLVMValueRef contract_split_start(Codegen *cg, const ContractSplit *split, LLVMValueRef part)
{
    LLVMValueRef start = contract_scale(cg, part, split->base);
    if (split->larger > 0) {
        start = LLVMBuildAdd(cg->builder, start, contract_min(cg, part, codegen_i64(cg, split->larger)), "");
    }
    return start;
}

static LLVMValueRef contract_split_is_larger(Codegen *cg, const ContractSplit *split, LLVMValueRef part)
{
    if (split->larger == 0) {
        return NULL;
    }
    return LLVMBuildICmp(cg->builder, LLVMIntULT, part, codegen_i64(cg, split->larger), "");
}

/* How many things the part has: a number known while running. */
static LLVMValueRef contract_split_size(Codegen *cg, const ContractSplit *split, LLVMValueRef is_larger)
{
    LLVMValueRef base = codegen_i64(cg, split->base);
    if (!is_larger) {
        return base;
    }
    return LLVMBuildAdd(cg->builder, base, LLVMBuildZExt(cg->builder, is_larger, cg->i64, ""), "");
}

static void contract_point(Contract *contract, Point *point, int lanes)
{
    const ContractSchedule *schedule = contract->schedule;
    point_init(contract->cg, point, &schedule->stage, lanes);
    for (int i = 0; i < schedule->stage.axes.count; i++) {
        point->axis[schedule->first_axis + i] = contract->axis[schedule->first_axis + i];
    }
}

static const KInst *contract_load_inst(const Contract *contract, KRef load)
{
    return &contract->schedule->stage.insts.items[load];
}

static DType contract_memory_dtype(const Contract *contract, KRef load)
{
    return contract->cg->kernel->buffers.items[contract_load_inst(contract, load)->buffer].dtype;
}

/* Where the operand lies at the present place, the first k. */
static LLVMValueRef contract_operand_address(Contract *contract, KRef load)
{
    const KInst *inst = contract_load_inst(contract, load);
    Point point;
    contract_point(contract, &point, 1);
    return emit_address(contract->cg, inst->buffer, emit_affine(contract->cg, &point, &inst->index));
}

static LLVMValueRef contract_vector_mask(Contract *contract, LLVMValueRef vector)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    if (!schedule->masked) {
        return NULL;
    }
    LLVMValueRef first = contract_scale(cg, vector, schedule->lanes);
    LLVMValueRef extent = codegen_i64(cg, schedule_extent(schedule, schedule->column_axis));
    return emit_lane_mask(cg, LLVMBuildSub(cg->builder, extent, first, ""), schedule->lanes);
}

/* ---- packing the columns of a panel: [k][columns.most * lanes], in the type computed with ---- */

typedef struct Pack {
    Contract *contract;
    LLVMValueRef vector; /* the vector of the whole axis that is being packed */
    LLVMValueRef target; /* its place in row k = 0 of the panel */
    LLVMValueRef mask;
    LLVMValueRef columns[MAX_LANES]; /* element offsets of the vector's columns; used if they are apart */
    bool straight;                   /* columns lie one after another */
    DType memory;
    LLVMTypeRef memory_type;
} Pack;

static int64_t pack_k_coef(const Pack *pack, int level)
{
    const ContractSchedule *schedule = pack->contract->schedule;
    return contract_load_inst(pack->contract, schedule->column_load)->index.coef[schedule->k[level]];
}

static void pack_store(Pack *pack, LLVMValueRef row, LLVMValueRef value)
{
    Contract *contract = pack->contract;
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    LLVMValueRef place = contract_scale(cg, row, (int64_t)schedule->columns.most * schedule->lanes);
    LLVMValueRef address = contract_step(cg, contract->element, pack->target, place);
    emit_store(cg, schedule->dtype, address, value, schedule->lanes, NULL);
}

static LLVMValueRef pack_load_apart(Pack *pack, LLVMValueRef source)
{
    Contract *contract = pack->contract;
    Codegen *cg = contract->cg;
    LLVMValueRef value = LLVMGetPoison(contract->vector);
    for (int lane = 0; lane < contract->schedule->lanes; lane++) {
        LLVMValueRef address = contract_step(cg, pack->memory_type, source, pack->columns[lane]);
        LLVMValueRef scalar = emit_load(cg, pack->memory, address, 1, NULL);
        value = LLVMBuildInsertElement(cg->builder, value, scalar, codegen_i64(cg, lane), "");
    }
    return value;
}

/* Swaps bit `bit` of the row number with the same bit of the lane number, for a pair of rows. */
static void pack_swap_bit(Codegen *cg, LLVMValueRef *low, LLVMValueRef *high, int bit, int lanes)
{
    LLVMValueRef low_lanes[MAX_LANES], high_lanes[MAX_LANES];
    for (int lane = 0; lane < lanes; lane++) {
        low_lanes[lane] = LLVMConstInt(cg->i32, (unsigned)(lane & bit ? lanes + lane - bit : lane), false);
        high_lanes[lane] = LLVMConstInt(cg->i32, (unsigned)(lane & bit ? lanes + lane : lane + bit), false);
    }
    LLVMValueRef a = *low, b = *high;
    *low = LLVMBuildShuffleVector(cg->builder, a, b, LLVMConstVector(low_lanes, (unsigned)lanes), "");
    *high = LLVMBuildShuffleVector(cg->builder, a, b, LLVMConstVector(high_lanes, (unsigned)lanes), "");
}

/* A square of `lanes` columns and as many k, which follow each other in memory: loaded along k, turned in registers. */
static void pack_square(Pack *pack, LLVMValueRef source, LLVMValueRef row)
{
    Contract *contract = pack->contract;
    Codegen *cg = contract->cg;
    int lanes = contract->schedule->lanes;
    LLVMValueRef line[MAX_LANES];
    for (int lane = 0; lane < lanes; lane++) {
        line[lane] =
            emit_load(cg, pack->memory, contract_step(cg, pack->memory_type, source, pack->columns[lane]), lanes, NULL);
    }
    for (int bit = 1; bit < lanes; bit *= 2) {
        for (int i = 0; i < lanes; i++) {
            if (!(i & bit)) {
                pack_swap_bit(cg, &line[i], &line[i + bit], bit, lanes);
            }
        }
    }
    for (int i = 0; i < lanes; i++) {
        pack_store(pack, LLVMBuildAdd(cg->builder, row, codegen_i64(cg, i), ""), line[i]);
    }
}

/* The innermost k axis: `row` is the panel's row of its first point. */
static void pack_run(Pack *pack, int level, LLVMValueRef source, LLVMValueRef row, LLVMValueRef begin, LLVMValueRef end)
{
    Contract *contract = pack->contract;
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    int64_t coef = pack_k_coef(pack, level);
    if (!pack->straight && coef == 1 && schedule_extent(schedule, schedule->k[level]) >= schedule->lanes) {
        LLVMValueRef length = LLVMBuildSub(cg->builder, end, begin, "");
        LLVMValueRef whole = LLVMBuildAnd(cg->builder, length, codegen_i64(cg, -(int64_t)schedule->lanes), "");
        LLVMValueRef stop = LLVMBuildAdd(cg->builder, begin, whole, "");
        Loop loop = loop_begin(cg, begin, stop, schedule->lanes, "pack_square");
        pack_square(pack, contract_step(cg, pack->memory_type, source, loop.index),
                    LLVMBuildAdd(cg->builder, row, loop.index, ""));
        loop_end(cg, &loop);
        begin = stop;
    }
    Loop loop = loop_begin(cg, begin, end, 1, "pack_k");
    LLVMValueRef place = contract_step(cg, pack->memory_type, source, contract_scale(cg, loop.index, coef));
    LLVMValueRef value =
        pack->straight ? emit_load(cg, pack->memory, place, schedule->lanes, pack->mask) : pack_load_apart(pack, place);
    pack_store(pack, LLVMBuildAdd(cg->builder, row, loop.index, ""), value);
    loop_end(cg, &loop);
}

static void pack_nest(Pack *pack, int level, LLVMValueRef source, LLVMValueRef row, LLVMValueRef begin, LLVMValueRef end)
{
    const ContractSchedule *schedule = pack->contract->schedule;
    Codegen *cg = pack->contract->cg;
    if (level + 1 >= schedule->k_count) {
        pack_run(pack, level, source, row, begin, end);
        return;
    }
    Loop loop = loop_begin(cg, begin, end, 1, "pack_outer");
    LLVMValueRef next = contract_step(cg, pack->memory_type, source, contract_scale(cg, loop.index, pack_k_coef(pack, level)));
    int64_t extent = schedule_extent(schedule, schedule->k[level + 1]);
    LLVMValueRef next_row = contract_scale(cg, LLVMBuildAdd(cg->builder, row, loop.index, ""), extent);
    pack_nest(pack, level + 1, next, next_row, codegen_i64(cg, 0), codegen_i64(cg, extent));
    loop_end(cg, &loop);
}

/* Offsets of the columns of a vector; those past the end repeat the last one, so that nothing outside is read. */
static void pack_find_columns(Pack *pack)
{
    const ContractSchedule *schedule = pack->contract->schedule;
    Codegen *cg = pack->contract->cg;
    int64_t coef = contract_load_inst(pack->contract, schedule->column_load)->index.coef[schedule->column_axis];
    LLVMValueRef last = codegen_i64(cg, schedule_extent(schedule, schedule->column_axis) - 1);
    for (int lane = 0; lane < schedule->lanes; lane++) {
        LLVMValueRef first = contract_scale(cg, pack->vector, schedule->lanes);
        LLVMValueRef column = LLVMBuildAdd(cg->builder, first, codegen_i64(cg, lane), "");
        column = schedule->masked ? contract_min(cg, column, last) : column;
        pack->columns[lane] = contract_scale(cg, column, coef);
    }
}

/* Packs the panel at the present place for [begin, end) of the outermost k axis. */
static void contract_pack_panel(Contract *contract, LLVMValueRef begin, LLVMValueRef end)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    const KInst *inst = contract_load_inst(contract, schedule->column_load);
    Pack pack = {.contract = contract, .memory = contract_memory_dtype(contract, schedule->column_load)};
    pack.memory_type = codegen_memory_type(cg, pack.memory);
    pack.straight = inst->index.coef[schedule->column_axis] == 1;
    LLVMValueRef source = contract_operand_address(contract, schedule->column_load);
    LLVMValueRef vectors = contract_split_size(cg, &schedule->columns, contract->panel_is_larger);
    Loop loop = loop_begin(cg, codegen_i64(cg, 0), vectors, 1, "pack_vector");
    pack.vector = LLVMBuildAdd(cg->builder, contract->first_vector, loop.index, "");
    pack.target = contract_step(cg, contract->vector, contract->panel_data, loop.index);
    if (pack.straight) {
        pack.mask = contract_vector_mask(contract, pack.vector);
        source = contract_step(cg, pack.memory_type, source, contract_scale(cg, pack.vector, schedule->lanes));
    } else {
        pack_find_columns(&pack);
    }
    if (schedule->k_count == 0) {
        pack_store(&pack, codegen_i64(cg, 0),
                   pack.straight ? emit_load(cg, pack.memory, source, schedule->lanes, pack.mask)
                                 : pack_load_apart(&pack, source));
    } else {
        pack_nest(&pack, 0, source, codegen_i64(cg, 0), begin, end);
    }
    loop_end(cg, &loop);
}

/* ---- tiles ---- */

typedef struct Tile {
    Contract *contract;
    int rows, vectors;
    LLVMValueRef mask;            /* of the last vector, or null */
    int64_t row_offset[MAX_SUMS]; /* elements from the tile's first row */
    DType row_memory, column_memory;
    LLVMTypeRef row_type, column_type;
    bool packed;
} Tile;

static int64_t tile_row_coef(const Contract *contract, const Affine *affine, int row)
{
    const ContractSchedule *schedule = contract->schedule;
    if (schedule->row_axis < 0) {
        return 0;
    }
    int64_t offset = row % schedule->row_inner * affine->coef[schedule->row_axis];
    int split = schedule->row_outer >= 0 ? schedule->row_outer : schedule->row_axis;
    return row / schedule->row_inner * affine->coef[split] + (schedule->row_inner > 1 ? offset : 0);
}

/* One k: every row's value times every vector of columns. */
static void tile_multiply(Tile *tile, LLVMValueRef row_address, LLVMValueRef column_address, LLVMValueRef *sums)
{
    Codegen *cg = tile->contract->cg;
    int lanes = tile->contract->schedule->lanes;
    LLVMValueRef columns[MAX_SUMS];
    for (int j = 0; j < tile->vectors; j++) {
        LLVMValueRef address = contract_step(cg, tile->column_type, column_address, codegen_i64(cg, (int64_t)j * lanes));
        bool masked = tile->mask && !tile->packed && j == tile->vectors - 1;
        columns[j] = emit_load(cg, tile->column_memory, address, lanes, masked ? tile->mask : NULL);
    }
    for (int row = 0; row < tile->rows; row++) {
        LLVMValueRef address = contract_step(cg, tile->row_type, row_address, codegen_i64(cg, tile->row_offset[row]));
        LLVMValueRef value = emit_splat(cg, emit_load(cg, tile->row_memory, address, 1, NULL), lanes);
        for (int j = 0; j < tile->vectors; j++) {
            LLVMValueRef *sum = &sums[row * tile->vectors + j];
            *sum = emit_fma(cg, value, columns[j], *sum);
        }
    }
}

static void tile_sum(Tile *tile, int level, LLVMValueRef row_address, LLVMValueRef column_address, LLVMValueRef *sums)
{
    Contract *contract = tile->contract;
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    if (level == schedule->k_count) {
        tile_multiply(tile, row_address, column_address, sums);
        return;
    }
    int axis = schedule->k[level], count = tile->rows * tile->vectors;
    int64_t inner_points = 1;
    for (int i = level + 1; i < schedule->k_count; i++) {
        inner_points *= schedule_extent(schedule, schedule->k[i]);
    }
    int64_t row_coef = contract_load_inst(contract, schedule->row_load)->index.coef[axis];
    int64_t column_coef = tile->packed ? inner_points * schedule->columns.most * schedule->lanes
                                       : contract_load_inst(contract, schedule->column_load)->index.coef[axis];
    bool chunked = level == 0 && contract->chunk_begin;
    Loop loop = loop_begin(cg, chunked ? contract->chunk_begin : codegen_i64(cg, 0),
                           chunked ? contract->chunk_end : codegen_i64(cg, schedule_extent(schedule, axis)), 1, "k");
    LLVMValueRef inner[MAX_SUMS];
    for (int i = 0; i < count; i++) {
        inner[i] = loop_carry(cg, &loop, sums[i]);
    }
    tile_sum(tile, level + 1, contract_step(cg, tile->row_type, row_address, contract_scale(cg, loop.index, row_coef)),
             contract_step(cg, tile->column_type, column_address, contract_scale(cg, loop.index, column_coef)), inner);
    for (int i = 0; i < count; i++) {
        loop_set(&loop, i, inner[i]);
    }
    loop_end(cg, &loop);
    for (int i = 0; i < count; i++) {
        sums[i] = loop.result[i];
    }
}

static void contract_emit_tail(Contract *contract, Point *point, LLVMValueRef vector, LLVMValueRef mask, LLVMValueRef sum)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    point_set_vector_axis(point, schedule->column_axis, contract_scale(cg, vector, schedule->lanes));
    point->mask = mask;
    point->accs[0] = sum;
    emit_insts(cg, point, schedule->stage.body_count, schedule->stage.insts.count);
    emit_stores(cg, point);
}

/* Moves the point to row `row` of the tile whose first row it is at. */
static void contract_move_row(Contract *contract, Point *point, LLVMValueRef row)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    if (schedule->row_axis < 0) {
        return;
    }
    int split = schedule->row_outer >= 0 ? schedule->row_outer : schedule->row_axis;
    if (schedule->row_outer >= 0) {
        point->axis[schedule->row_axis] = contract_take_digit(cg, &row, schedule->row_inner);
    }
    point->axis[split] = LLVMBuildAdd(cg->builder, contract->axis[split], row, "");
}

static LLVMValueRef contract_stored_sum(Contract *contract, LLVMValueRef row, LLVMValueRef column)
{
    Codegen *cg = contract->cg;
    LLVMValueRef place = LLVMBuildAdd(cg->builder, contract_scale(cg, row, contract->schedule->columns.most), column, "");
    return contract_step(cg, contract->vector, contract->tile_data, place);
}

/* The tail of a tile whose sums lie in scratch: one loop for tiles of every size, so that the code stays small. */
static void contract_emit_stored_tail(Contract *contract)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    LLVMValueRef rows =
        contract_scale(cg, contract_split_size(cg, &schedule->rows, contract->tile_is_larger), schedule->row_inner);
    LLVMValueRef vectors = contract_split_size(cg, &schedule->columns, contract->panel_is_larger);
    Loop row = loop_begin(cg, codegen_i64(cg, 0), rows, 1, "tail_row");
    Loop column = loop_begin(cg, codegen_i64(cg, 0), vectors, 1, "tail_column");
    Point point;
    contract_point(contract, &point, schedule->lanes);
    contract_move_row(contract, &point, row.index);
    LLVMValueRef vector = LLVMBuildAdd(cg->builder, contract->first_vector, column.index, "");
    LLVMValueRef address = contract_stored_sum(contract, row.index, column.index);
    LLVMValueRef sum = emit_load(cg, schedule->dtype, address, schedule->lanes, NULL);
    contract_emit_tail(contract, &point, vector, contract_vector_mask(contract, vector), sum);
    loop_end(cg, &column);
    loop_end(cg, &row);
}

static void tile_finish(Tile *tile, LLVMValueRef *sums)
{
    Contract *contract = tile->contract;
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    for (int i = 0; i < tile->rows * tile->vectors; i++) {
        int row = i / tile->vectors, j = i % tile->vectors;
        LLVMValueRef row_value = codegen_i64(cg, row);
        if (schedule->unrolled_tail) {
            Point point;
            contract_point(contract, &point, schedule->lanes);
            contract_move_row(contract, &point, row_value);
            LLVMValueRef vector = LLVMBuildAdd(cg->builder, contract->first_vector, codegen_i64(cg, j), "");
            contract_emit_tail(contract, &point, vector, j == tile->vectors - 1 ? tile->mask : NULL, sums[i]);
            continue;
        }
        LLVMValueRef address = contract_stored_sum(contract, row_value, codegen_i64(cg, j));
        LLVMValueRef sum = sums[i];
        if (schedule->chunks > 1) {
            LLVMValueRef before = emit_load(cg, schedule->dtype, address, schedule->lanes, NULL);
            sum = LLVMBuildFAdd(cg->builder, before, sum, "");
        }
        emit_store(cg, schedule->dtype, address, sum, schedule->lanes, NULL);
    }
}

static void contract_emit_tile(Contract *contract, int rows, int vectors)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    Tile tile = {.contract = contract, .rows = rows, .vectors = vectors, .packed = contract->panel_data != NULL};
    const KInst *row_inst = contract_load_inst(contract, schedule->row_load);
    tile.row_memory = contract_memory_dtype(contract, schedule->row_load);
    tile.column_memory = tile.packed ? schedule->dtype : contract_memory_dtype(contract, schedule->column_load);
    tile.row_type = codegen_memory_type(cg, tile.row_memory);
    tile.column_type = codegen_memory_type(cg, tile.column_memory);
    for (int row = 0; row < rows; row++) {
        tile.row_offset[row] = tile_row_coef(contract, &row_inst->index, row);
    }
    tile.mask =
        contract_vector_mask(contract, LLVMBuildAdd(cg->builder, contract->first_vector, codegen_i64(cg, vectors - 1), ""));
    LLVMValueRef row_address = contract_operand_address(contract, schedule->row_load);
    LLVMValueRef column_address = contract->panel_data;
    if (!tile.packed) {
        column_address = contract_operand_address(contract, schedule->column_load);
        column_address =
            contract_step(cg, tile.column_type, column_address, contract_scale(cg, contract->first_vector, schedule->lanes));
    }
    LLVMValueRef sums[MAX_SUMS];
    for (int i = 0; i < rows * vectors; i++) {
        sums[i] = LLVMConstNull(contract->vector);
    }
    tile_sum(&tile, 0, row_address, column_address, sums);
    tile_finish(&tile, sums);
}

/* Code for both sizes of a part, with a branch between them: `emit` is given the size. */
typedef void EmitSized(Contract *contract, int size, int outer_size);

static void contract_emit_sizes(Contract *contract, const ContractSplit *split, LLVMValueRef is_larger, EmitSized *emit,
                                int outer_size)
{
    Codegen *cg = contract->cg;
    if (!is_larger) {
        emit(contract, (int)split->base, outer_size);
        return;
    }
    LLVMBasicBlockRef yes = LLVMAppendBasicBlockInContext(cg->context, cg->function, "larger");
    LLVMBasicBlockRef no = LLVMAppendBasicBlockInContext(cg->context, cg->function, "smaller");
    LLVMBasicBlockRef after = LLVMAppendBasicBlockInContext(cg->context, cg->function, "sized");
    LLVMBuildCondBr(cg->builder, is_larger, yes, no);
    LLVMPositionBuilderAtEnd(cg->builder, yes);
    emit(contract, (int)split->base + 1, outer_size);
    LLVMBuildBr(cg->builder, after);
    LLVMPositionBuilderAtEnd(cg->builder, no);
    emit(contract, (int)split->base, outer_size);
    LLVMBuildBr(cg->builder, after);
    LLVMPositionBuilderAtEnd(cg->builder, after);
}

static void contract_emit_rows_sized(Contract *contract, int rows, int vectors)
{
    contract_emit_tile(contract, rows * contract->schedule->row_inner, vectors);
}

static void contract_emit_columns_sized(Contract *contract, int vectors, int unused)
{
    (void)unused;
    contract_emit_sizes(contract, &contract->schedule->rows, contract->tile_is_larger, contract_emit_rows_sized, vectors);
}

/* ---- blocks and tasks ---- */

/* Goes to tile `tile` of all the row tiles, the `turn`th of its block. */
static void contract_enter_tile(Contract *contract, LLVMValueRef tile, LLVMValueRef turn)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    LLVMValueRef part = contract_take_digit(cg, &tile, schedule->rows.parts);
    contract_take_axes(contract, &tile, schedule->other, schedule->other_count);
    if (schedule->row_outer >= 0) {
        contract->axis[schedule->row_axis] = codegen_i64(cg, 0);
    }
    int split = schedule->row_outer >= 0 ? schedule->row_outer : schedule->row_axis;
    if (split >= 0) {
        contract->axis[split] = contract_split_start(cg, &schedule->rows, part);
    }
    contract->tile_is_larger = contract_split_is_larger(cg, &schedule->rows, part);
    if (!schedule->unrolled_tail) {
        int64_t size = (int64_t)schedule->rows.most * schedule->row_inner * schedule->columns.most;
        LLVMValueRef stored = schedule->chunks > 1 ? contract_scale(cg, turn, size) : codegen_i64(cg, 0);
        LLVMValueRef base = contract_step(cg, cg->i8, cg->scratch, codegen_i64(cg, (int64_t)contract->tile_offset));
        contract->tile_data = contract_step(cg, contract->vector, base, stored);
    }
}

static Loop contract_begin_tiles(Contract *contract, LLVMValueRef first, LLVMValueRef end)
{
    Loop loop = loop_begin(contract->cg, first, end, 1, "tile");
    contract_enter_tile(contract, loop.index, LLVMBuildSub(contract->cg->builder, loop.index, first, ""));
    return loop;
}

static void contract_clear_tiles(Contract *contract)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    int64_t vectors = (int64_t)schedule->rows.most * schedule->row_inner * schedule->columns.most * schedule->block;
    LLVMValueRef base = contract_step(cg, cg->i8, cg->scratch, codegen_i64(cg, (int64_t)contract->tile_offset));
    Loop loop = loop_begin(cg, codegen_i64(cg, 0), codegen_i64(cg, vectors), 1, "clear");
    emit_store(cg, schedule->dtype, contract_step(cg, contract->vector, base, loop.index), LLVMConstNull(contract->vector),
               schedule->lanes, NULL);
    loop_end(cg, &loop);
}

static void contract_emit_block(Contract *contract, LLVMValueRef first, LLVMValueRef end)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    Loop chunks;
    if (schedule->chunks > 1) {
        contract_clear_tiles(contract);
        LLVMValueRef extent = codegen_i64(cg, schedule_extent(schedule, schedule->k[0]));
        chunks = loop_begin(cg, codegen_i64(cg, 0), extent, schedule->chunk, "chunk");
        contract->chunk_begin = chunks.index;
        LLVMValueRef stop = LLVMBuildAdd(cg->builder, chunks.index, codegen_i64(cg, schedule->chunk), "");
        contract->chunk_end = contract_min(cg, stop, extent);
    }
    Loop tiles = contract_begin_tiles(contract, first, end);
    contract_emit_sizes(contract, &schedule->columns, contract->panel_is_larger, contract_emit_columns_sized, 0);
    if (schedule->chunks == 1 && !schedule->unrolled_tail) {
        contract_emit_stored_tail(contract);
    }
    loop_end(cg, &tiles);
    if (schedule->chunks > 1) {
        loop_end(cg, &chunks);
        tiles = contract_begin_tiles(contract, first, end);
        contract_emit_stored_tail(contract);
        loop_end(cg, &tiles);
    }
}

/* Goes to a panel of the batch point `batch`. */
static void contract_enter_panel(Contract *contract, LLVMValueRef panel, LLVMValueRef batch)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    LLVMValueRef copy = schedule->column_stays ? codegen_i64(cg, 0) : batch;
    contract_take_axes(contract, &batch, schedule->batch, schedule->batch_count);
    contract->first_vector = contract_split_start(cg, &schedule->columns, panel);
    contract->panel_is_larger = contract_split_is_larger(cg, &schedule->columns, panel);
    if (schedule->pack_columns == PACK_NONE) {
        return;
    }
    LLVMValueRef base = schedule->pack_columns == PACK_SHARED ? cg->shared : cg->scratch;
    base = contract_step(cg, cg->i8, base, codegen_i64(cg, (int64_t)contract->panel_offset));
    if (schedule->pack_columns == PACK_SHARED) {
        LLVMValueRef number = LLVMBuildAdd(cg->builder, contract_scale(cg, copy, schedule->columns.parts), panel, "");
        base = contract_step(cg, contract->element, base, contract_scale(cg, number, schedule_panel_elements(schedule)));
    }
    contract->panel_data = base;
}

static int64_t contract_k0(const ContractSchedule *schedule)
{
    return schedule->k_count ? schedule_extent(schedule, schedule->k[0]) : 1;
}

static void contract_emit_task(Contract *contract, LLVMValueRef task)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    LLVMValueRef panel = contract_take_digit(cg, &task, schedule->columns.parts);
    LLVMValueRef block = contract_take_digit(cg, &task, schedule->blocks);
    contract_enter_panel(contract, panel, task);
    if (schedule->pack_columns == PACK_TASK) {
        contract_pack_panel(contract, codegen_i64(cg, 0), codegen_i64(cg, contract_k0(schedule)));
    }
    LLVMValueRef first = contract_scale(cg, block, schedule->block);
    LLVMValueRef end = LLVMBuildAdd(cg->builder, first, codegen_i64(cg, schedule->block), "");
    bool even = schedule->row_tiles == schedule->blocks * schedule->block;
    contract_emit_block(contract, first, even ? end : contract_min(cg, end, codegen_i64(cg, schedule->row_tiles)));
}

static void contract_start(Contract *contract, Codegen *cg, const ContractSchedule *schedule)
{
    *contract = (Contract){.cg = cg, .schedule = schedule};
    contract->element = codegen_value_type(cg, schedule->dtype);
    contract->vector = codegen_vector_type(contract->element, schedule->lanes);
    contract->element_bytes = (size_t)dtype_size(schedule->dtype);
    for (int i = 0; i < K_MAX_AXES; i++) {
        contract->axis[i] = codegen_i64(cg, 0);
    }
}

static void contract_reserve_scratch(Contract *contract)
{
    const ContractSchedule *schedule = contract->schedule;
    if (schedule->pack_columns == PACK_TASK) {
        size_t bytes = (size_t)schedule_panel_elements(schedule) * contract->element_bytes;
        contract->panel_offset = codegen_reserve_scratch(contract->cg, bytes);
    }
    if (!schedule->unrolled_tail) {
        size_t sums = (size_t)schedule->rows.most * (size_t)schedule->row_inner * (size_t)schedule->columns.most;
        size_t tiles = schedule->chunks > 1 ? (size_t)schedule->block : 1;
        size_t bytes = sums * (size_t)schedule->lanes * contract->element_bytes * tiles;
        contract->tile_offset = codegen_reserve_scratch(contract->cg, bytes);
    }
}

/* The phase that copies all panels: a task is some points of the outermost k axis of one panel. */
static void contract_emit_pack_phase(Contract *contract)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    int64_t copies = schedule->column_stays ? 1 : schedule->batch_points, k0 = contract_k0(schedule);
    int64_t panels = copies * schedule->columns.parts, panel_elements = schedule_panel_elements(schedule);
    contract->panel_offset = codegen_reserve_shared(cg, (size_t)(panels * panel_elements) * contract->element_bytes);
    int64_t wanted = 1 + panel_elements / PACK_TASK_ELEMENTS;
    int64_t run = (k0 + wanted - 1) / wanted, runs = (k0 + run - 1) / run;
    LLVMValueRef task = phase_begin(cg, panels * runs, (double)(panels * panel_elements) * 0.2);
    LLVMValueRef part = contract_take_digit(cg, &task, runs);
    LLVMValueRef panel = contract_take_digit(cg, &task, schedule->columns.parts);
    contract_enter_panel(contract, panel, task);
    LLVMValueRef begin = contract_scale(cg, part, run);
    LLVMValueRef end = contract_min(cg, LLVMBuildAdd(cg->builder, begin, codegen_i64(cg, run), ""), codegen_i64(cg, k0));
    contract_pack_panel(contract, begin, end);
    phase_end(cg);
}

bool contract_emit_phases(Codegen *cg, const Kernel *kernel)
{
    ContractSchedule schedule;
    if (!schedule_contract(cg->arena, cg->target, kernel, &kernel->stages.items[0], false, &schedule)) {
        return false;
    }
    Contract contract;
    contract_start(&contract, cg, &schedule);
    if (schedule.pack_columns == PACK_SHARED) {
        contract_emit_pack_phase(&contract);
    }
    LLVMValueRef task = phase_begin(cg, schedule_tasks(&schedule), schedule.cost * 0.2);
    contract_reserve_scratch(&contract);
    contract_emit_task(&contract, task);
    phase_end(cg);
    return true;
}

bool contract_emit(Codegen *cg, const Kernel *kernel, const KStage *stage)
{
    ContractSchedule schedule;
    if (!schedule_contract(cg->arena, cg->target, kernel, stage, true, &schedule)) {
        return false;
    }
    Contract contract;
    contract_start(&contract, cg, &schedule);
    contract_reserve_scratch(&contract);
    Loop tasks = loop_begin(cg, codegen_i64(cg, 0), codegen_i64(cg, schedule_tasks(&schedule)), 1, "contract");
    contract_emit_task(&contract, tasks.index);
    loop_end(cg, &tasks);
    return true;
}

bool contract_describe(const CpuTarget *target, const Kernel *kernel, const KStage *stage, Text *out)
{
    ContractSchedule schedule;
    if (!schedule_contract(out->arena, target, kernel, stage, kernel->stages.count > 1, &schedule)) {
        return false;
    }
    schedule_print(&schedule, out);
    return true;
}
