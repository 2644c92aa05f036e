/* Register tiles of a contraction: sums over k of rows times vectors of columns, then the stage's tail. */
#include "backends/cpu/contract.h"

enum {
    FAR_STEP = 1024, /* bytes */
    AHEAD = 24,      /* points of k: some hundred cycles */
};

typedef struct Tile {
    Contract *contract;
    int rows, vectors;
    LLVMValueRef mask;            /* of the last vector, or null */
    int64_t row_offset[MAX_SUMS]; /* elements from the tile's first row */
    DType row_memory, column_memory;
    LLVMTypeRef row_type, column_type;
    bool packed;
    int64_t ahead; /* elements from the rows of one k to those fetched for later; 0: the processor finds them itself */
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
    if (tile->ahead) {
        int64_t last = tile->row_offset[tile->rows - 1];
        emit_prefetch(cg, contract_step(cg, tile->row_type, row_address, codegen_i64(cg, tile->ahead)));
        emit_prefetch(cg, contract_step(cg, tile->row_type, row_address, codegen_i64(cg, tile->ahead + last)));
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
    bool chunked = level == 0 && contract->k_begin;
    Loop loop = loop_begin(cg, chunked ? contract->k_begin : codegen_i64(cg, 0),
                           chunked ? contract->k_end : codegen_i64(cg, schedule_extent(schedule, axis)), 1, "k");
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

/* The sums of all splits, added in order. */
static LLVMValueRef contract_fold_splits(Contract *contract, LLVMValueRef address)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    LLVMValueRef sum = emit_load(cg, schedule->dtype, address, schedule->lanes, NULL);
    if (schedule->splits == 1) {
        return sum;
    }
    int64_t step = schedule->batch_points * schedule->columns.parts * schedule->row_tiles * schedule_tile_vectors(schedule);
    Loop loop = loop_begin(cg, codegen_i64(cg, 1), codegen_i64(cg, schedule->splits), 1, "split");
    LLVMValueRef before = loop_carry(cg, &loop, sum);
    LLVMValueRef place = contract_step(cg, contract->vector, address, contract_scale(cg, loop.index, step));
    LLVMValueRef part = emit_load(cg, schedule->dtype, place, schedule->lanes, NULL);
    loop_set(&loop, 0, LLVMBuildFAdd(cg->builder, before, part, ""));
    loop_end(cg, &loop);
    return loop.result[0];
}

/* One loop for tiles of every size, so that the code stays small. */
void contract_finish_tile(Contract *contract)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    LLVMValueRef rows =
        contract_scale(cg, contract_split_size(cg, &schedule->rows, contract->tile_is_larger), schedule->row_inner);
    LLVMValueRef vectors = contract_split_size(cg, &schedule->columns, contract->panel_is_larger);
    emit_forget_vectors(cg);
    Loop row = loop_begin(cg, codegen_i64(cg, 0), rows, 1, "tail_row");
    Loop column = loop_begin(cg, codegen_i64(cg, 0), vectors, 1, "tail_column");
    Point point;
    contract_point(contract, &point, schedule->lanes);
    contract_move_row(contract, &point, row.index);
    LLVMValueRef vector = LLVMBuildAdd(cg->builder, contract->first_vector, column.index, "");
    LLVMValueRef sum = contract_fold_splits(contract, contract_stored_sum(contract, row.index, column.index));
    contract_emit_tail(contract, &point, vector, contract_vector_mask(contract, vector), sum);
    loop_end(cg, &column);
    loop_end(cg, &row);
}

void contract_clear_tile(Contract *contract)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    Loop loop = loop_begin(cg, codegen_i64(cg, 0), codegen_i64(cg, schedule_tile_vectors(schedule)), 1, "clear");
    emit_store(cg, schedule->dtype, contract_step(cg, contract->vector, contract->tile_data, loop.index),
               LLVMConstNull(contract->vector), schedule->lanes, NULL);
    loop_end(cg, &loop);
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
        if (schedule->stored_sums) {
            LLVMValueRef before = emit_load(cg, schedule->dtype, address, schedule->lanes, NULL);
            sum = LLVMBuildFAdd(cg->builder, before, sum, "");
        }
        emit_store(cg, schedule->dtype, address, sum, schedule->lanes, NULL);
    }
}

/* Where the rows of one k lie together and those of the next far off, the processor does not see what comes. */
static int64_t tile_ahead(const Contract *contract, const KInst *row_inst)
{
    const ContractSchedule *schedule = contract->schedule;
    int64_t step = schedule->k_count ? row_inst->index.coef[schedule->k[schedule->k_count - 1]] : 0;
    bool together = schedule->row_axis >= 0 && row_inst->index.coef[schedule->row_axis] == 1;
    return together && step * dtype_size(contract_memory_dtype(contract, schedule->row_load)) >= FAR_STEP ? AHEAD * step : 0;
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
    tile.ahead = tile_ahead(contract, row_inst);
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

void contract_sum_tile(Contract *contract)
{
    const ContractSchedule *schedule = contract->schedule;
    contract_emit_sizes(contract, &schedule->columns, contract->panel_is_larger, contract_emit_columns_sized, 0);
    if (!schedule->stored_sums && !schedule->unrolled_tail) {
        contract_finish_tile(contract);
    }
}
