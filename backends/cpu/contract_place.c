/* Places in the iteration space of a contraction: batch, panel and tile that code is emitted for, and operands there. */
#include "backends/cpu/contract.h"

/* ---- small tools ---- */

LLVMValueRef contract_scale(Codegen *cg, LLVMValueRef value, int64_t factor)
{
    return factor == 1 ? value : LLVMBuildMul(cg->builder, value, codegen_i64(cg, factor), "");
}

LLVMValueRef contract_step(Codegen *cg, LLVMTypeRef type, LLVMValueRef address, LLVMValueRef elements)
{
    return LLVMBuildGEP2(cg->builder, type, address, &elements, 1, "");
}

LLVMValueRef contract_min(Codegen *cg, LLVMValueRef a, LLVMValueRef b)
{
    LLVMValueRef less = LLVMBuildICmp(cg->builder, LLVMIntSLT, a, b, "");
    return LLVMBuildSelect(cg->builder, less, a, b, "");
}

LLVMValueRef contract_take_digit(Codegen *cg, LLVMValueRef *number, int64_t base)
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

LLVMValueRef contract_split_size(Codegen *cg, const ContractSplit *split, LLVMValueRef is_larger)
{
    LLVMValueRef base = codegen_i64(cg, split->base);
    if (!is_larger) {
        return base;
    }
    return LLVMBuildAdd(cg->builder, base, LLVMBuildZExt(cg->builder, is_larger, cg->i64, ""), "");
}

void contract_point(Contract *contract, Point *point, int lanes)
{
    const ContractSchedule *schedule = contract->schedule;
    point_init(contract->cg, point, &schedule->stage, lanes);
    for (int i = 0; i < schedule->stage.axes.count; i++) {
        point->axis[schedule->first_axis + i] = contract->axis[schedule->first_axis + i];
    }
}

const KInst *contract_load_inst(const Contract *contract, KRef load)
{
    return &contract->schedule->stage.insts.items[load];
}

DType contract_memory_dtype(const Contract *contract, KRef load)
{
    return contract->cg->kernel->buffers.items[contract_load_inst(contract, load)->buffer].dtype;
}

LLVMValueRef contract_operand_address(Contract *contract, KRef load)
{
    const KInst *inst = contract_load_inst(contract, load);
    Point point;
    contract_point(contract, &point, 1);
    return emit_address(contract->cg, inst->buffer, emit_affine(contract->cg, &point, &inst->index));
}

LLVMValueRef contract_vector_mask(Contract *contract, LLVMValueRef vector)
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

int64_t contract_k0(const ContractSchedule *schedule)
{
    return schedule->k_count ? schedule_extent(schedule, schedule->k[0]) : 1;
}

/* ---- going there ---- */

void contract_start(Contract *contract, Codegen *cg, const ContractSchedule *schedule)
{
    *contract = (Contract){.cg = cg, .schedule = schedule};
    contract->element = codegen_value_type(cg, schedule->dtype);
    contract->vector = codegen_vector_type(contract->element, schedule->lanes);
    contract->element_bytes = (size_t)dtype_size(schedule->dtype);
    for (int i = 0; i < K_MAX_AXES; i++) {
        contract->axis[i] = codegen_i64(cg, 0);
    }
}

void contract_enter_batch(Contract *contract, LLVMValueRef batch)
{
    const ContractSchedule *schedule = contract->schedule;
    contract->batch = batch;
    contract_take_axes(contract, &batch, schedule->batch, schedule->batch_count);
}

void contract_enter_panel(Contract *contract, LLVMValueRef panel)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    contract->panel = panel;
    contract->first_vector = contract_split_start(cg, &schedule->columns, panel);
    contract->panel_is_larger = contract_split_is_larger(cg, &schedule->columns, panel);
    if (schedule->pack_columns == PACK_NONE) {
        return;
    }
    LLVMValueRef base = schedule->pack_columns == PACK_SHARED ? cg->shared : cg->scratch;
    base = contract_step(cg, cg->i8, base, codegen_i64(cg, (int64_t)contract->panel_offset));
    if (schedule->pack_columns == PACK_SHARED) {
        LLVMValueRef copy = schedule->column_stays ? codegen_i64(cg, 0) : contract->batch;
        LLVMValueRef number = LLVMBuildAdd(cg->builder, contract_scale(cg, copy, schedule->columns.parts), panel, "");
        base = contract_step(cg, contract->element, base, contract_scale(cg, number, schedule_panel_elements(schedule)));
    }
    contract->panel_data = base;
}

/* Where the sums of the present tile lie: by task in scratch, or by split for the whole launch. */
static LLVMValueRef contract_find_sums(Contract *contract)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    LLVMBuilderRef b = cg->builder;
    LLVMValueRef number = codegen_i64(cg, 0), base = schedule->splits > 1 ? cg->shared : cg->scratch;
    if (schedule->splits > 1) {
        LLVMValueRef split = contract_scale(cg, contract->split, schedule->batch_points);
        number = contract_scale(cg, LLVMBuildAdd(b, split, contract->batch, ""), schedule->columns.parts);
        number = contract_scale(cg, LLVMBuildAdd(b, number, contract->panel, ""), schedule->row_tiles);
        number = LLVMBuildAdd(b, number, contract->tile, "");
    } else if (schedule->stored_sums) {
        number = LLVMBuildSub(b, contract->panel, contract->first_panel, "");
        number = contract_scale(cg, number, schedule->block);
        number = LLVMBuildAdd(b, number, LLVMBuildSub(b, contract->tile, contract->first_tile, ""), "");
    }
    base = contract_step(cg, cg->i8, base, codegen_i64(cg, (int64_t)contract->sums_offset));
    return contract_step(cg, contract->vector, base, contract_scale(cg, number, schedule_tile_vectors(schedule)));
}

void contract_enter_tile(Contract *contract, LLVMValueRef tile)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    contract->tile = tile;
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
    contract->tile_data = schedule->unrolled_tail ? NULL : contract_find_sums(contract);
}
