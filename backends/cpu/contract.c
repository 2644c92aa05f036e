/* Contractions as register tiles: emits what schedule.c decided.
 *
 *   phase 0 (or the start of a task): columns copied to panels [k][columns of the panel]
 *   task: for each chunk of k, for each panel of the group, for each tile of the block: sums = 0;
 *         for k: sums[row][vector] += row value * column vector; then the stage's tail for each vector of the tile
 *   last phase, if k is split: the splits' sums added up, then the tail */
#include "backends/cpu/contract.h"

enum { PACK_TASK_ELEMENTS = 16384 };

/* ---- tasks ---- */

typedef void EmitAtTile(Contract *contract);

/* Calls `emit` at each tile of the task's block and group. */
static void contract_each_tile(Contract *contract, EmitAtTile *emit)
{
    Codegen *cg = contract->cg;
    bool several = contract->schedule->group > 1;
    Loop panels;
    if (several) {
        panels = loop_begin(cg, contract->first_panel, contract->end_panel, 1, "panel");
        contract_enter_panel(contract, panels.index);
    }
    Loop tiles = loop_begin(cg, contract->first_tile, contract->end_tile, 1, "tile");
    contract_enter_tile(contract, tiles.index);
    emit(contract);
    loop_end(cg, &tiles);
    if (several) {
        loop_end(cg, &panels);
    }
}

static void contract_emit_chunks(Contract *contract, LLVMValueRef begin, LLVMValueRef end)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    if (!schedule->stored_sums) {
        contract_each_tile(contract, contract_sum_tile);
        return;
    }
    contract_each_tile(contract, contract_clear_tile);
    Loop chunks = loop_begin(cg, begin, end, schedule->chunk, "chunk");
    LLVMValueRef stop = LLVMBuildAdd(cg->builder, chunks.index, codegen_i64(cg, schedule->chunk), "");
    contract->k_begin = chunks.index;
    contract->k_end = contract_min(cg, stop, end);
    contract_each_tile(contract, contract_sum_tile);
    loop_end(cg, &chunks);
    if (schedule->splits == 1) {
        contract_each_tile(contract, contract_finish_tile);
    }
}

/* The range of `part` where all but the last have `size` things, in all `count`. */
static void contract_find_range(Codegen *cg, LLVMValueRef part, int64_t size, int64_t count, LLVMValueRef *first,
                                LLVMValueRef *end)
{
    *first = contract_scale(cg, part, size);
    *end = LLVMBuildAdd(cg->builder, *first, codegen_i64(cg, size), "");
    if (count % size) {
        *end = contract_min(cg, *end, codegen_i64(cg, count));
    }
}

static void contract_emit_task(Contract *contract, LLVMValueRef task)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    LLVMValueRef group = contract_take_digit(cg, &task, schedule->groups);
    LLVMValueRef block = contract_take_digit(cg, &task, schedule->blocks), begin, end;
    contract->split = contract_take_digit(cg, &task, schedule->splits);
    contract_enter_batch(contract, task);
    contract_find_range(cg, group, schedule->group, schedule->columns.parts, &contract->first_panel, &contract->end_panel);
    contract_find_range(cg, block, schedule->block, schedule->row_tiles, &contract->first_tile, &contract->end_tile);
    contract_find_range(cg, contract->split, schedule->split, contract_k0(schedule), &begin, &end);
    contract_enter_panel(contract, contract->first_panel);
    if (schedule->pack_columns == PACK_TASK) {
        contract_pack_panel(contract, begin, end);
    }
    contract_emit_chunks(contract, begin, end);
}

static void contract_reserve(Contract *contract)
{
    const ContractSchedule *schedule = contract->schedule;
    size_t tile_bytes = (size_t)schedule_tile_vectors(schedule) * (size_t)schedule->lanes * contract->element_bytes;
    size_t results = (size_t)(schedule->batch_points * schedule->row_tiles * schedule->columns.parts);
    if (schedule->pack_columns == PACK_TASK) {
        size_t bytes = (size_t)schedule_panel_elements(schedule) * contract->element_bytes;
        contract->panel_offset = codegen_reserve_scratch(contract->cg, bytes);
    }
    if (schedule->splits > 1) {
        contract->sums_offset = codegen_reserve_shared(contract->cg, tile_bytes * results * (size_t)schedule->splits);
    } else if (!schedule->unrolled_tail) {
        size_t tiles = schedule->stored_sums ? (size_t)(schedule->block * schedule->group) : 1;
        contract->sums_offset = codegen_reserve_scratch(contract->cg, tile_bytes * tiles);
    }
}

/* ---- phases ---- */

/* The phase that copies all panels: a task is some points of the outermost k axis.  Where columns lie one after another it
 * takes all panels, so that memory is read row by row; else one panel, whose columns are then read along k. */
static void contract_emit_pack_phase(Contract *contract)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    int64_t copies = schedule->column_stays ? 1 : schedule->batch_points, k0 = contract_k0(schedule);
    int64_t panels = schedule->columns.parts, panel_elements = schedule_panel_elements(schedule);
    double elements = (double)(copies * panels * panel_elements);
    contract->panel_offset = codegen_reserve_shared(cg, (size_t)(copies * panels * panel_elements) * contract->element_bytes);
    bool by_rows = contract_load_inst(contract, schedule->column_load)->index.coef[schedule->column_axis] == 1;
    int64_t task_panels = by_rows ? panels : 1;
    int64_t wanted = 1 + task_panels * panel_elements / PACK_TASK_ELEMENTS;
    int64_t run = (k0 + wanted - 1) / wanted, runs = (k0 + run - 1) / run;
    LLVMValueRef task = phase_begin(cg, copies * panels / task_panels * runs, elements * 0.2), begin, end;
    LLVMValueRef part = contract_take_digit(cg, &task, runs);
    LLVMValueRef first = contract_take_digit(cg, &task, panels / task_panels);
    contract_enter_batch(contract, task);
    contract_find_range(cg, part, run, k0, &begin, &end);
    Loop loop = loop_begin(cg, first, LLVMBuildAdd(cg->builder, first, codegen_i64(cg, task_panels), ""), 1, "pack_panel");
    contract_enter_panel(contract, loop.index);
    contract_pack_panel(contract, begin, end);
    loop_end(cg, &loop);
    phase_end(cg);
}

/* The phase that adds up what the splits of k have left: a task is a tile. */
static void contract_emit_fold_phase(Contract *contract)
{
    const ContractSchedule *schedule = contract->schedule;
    Codegen *cg = contract->cg;
    int64_t tiles = schedule->batch_points * schedule->columns.parts * schedule->row_tiles;
    double vectors = (double)(tiles * schedule_tile_vectors(schedule) * (schedule->splits + 1));
    LLVMValueRef task = phase_begin(cg, tiles, vectors * 0.5);
    LLVMValueRef tile = contract_take_digit(cg, &task, schedule->row_tiles);
    LLVMValueRef panel = contract_take_digit(cg, &task, schedule->columns.parts);
    contract->split = codegen_i64(cg, 0);
    contract_enter_batch(contract, task);
    contract_enter_panel(contract, panel);
    contract_enter_tile(contract, tile);
    contract_finish_tile(contract);
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
    contract_reserve(&contract);
    contract_emit_task(&contract, task);
    phase_end(cg);
    if (schedule.splits > 1) {
        contract_emit_fold_phase(&contract);
    }
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
    contract_reserve(&contract);
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
