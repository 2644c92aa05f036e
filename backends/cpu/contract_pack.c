/* Copies of a contraction's columns: panels [k][columns.most * lanes], in the type computed with, each row aligned. */
#include "backends/cpu/contract.h"

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

void contract_pack_panel(Contract *contract, LLVMValueRef begin, LLVMValueRef end)
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
