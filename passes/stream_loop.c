/* Loops of a family: around all a loop over tasks, whose turns are independent; in it one over blocks of rows, and what is
 * left where the rows are no multiple of a block; sums over rows are carried from block to block.  Results that have rows and
 * columns are not among them (stream_pieces.c). */
#include "passes/stream_internal.h"

#include <string.h>

static int64_t row_count(const StreamLoop *loop)
{
    return loop->family->size[loop->family->row];
}

static const Roles *roles_of(const StreamLoop *loop, int output)
{
    return &loop->family->node[loop->outputs.items[output]].roles;
}

static bool is_summed_over_rows(const StreamLoop *loop, int output)
{
    return stream_axis_of(roles_of(loop, output), loop->family->row) < 0;
}

/* No task has a part of it to itself. */
static bool is_summed_over_tasks(const StreamLoop *loop, int output)
{
    for (int role = 0; role < loop->family->tasks; role++)
        if (stream_axis_of(roles_of(loop, output), role) >= 0)
            return false;
    return true;
}

/* Added up from task to task, which then have to wait for one another. */
static bool is_carried(const StreamLoop *loop, int output)
{
    return loop->tasks_wait && is_summed_over_tasks(loop, output);
}

/* Sums over tasks are better taken behind the loop, of what each task gives, unless that is more than the loop reads. */
static bool tasks_wait(const StreamLoop *loop)
{
    const IrFunc *func = loop->family->func;
    int64_t read = 0, given = 0;
    for (int i = 0; i < loop->inputs.count; i++)
        read += ir_element_count(ir_type_of(func, loop->inputs.items[i].ref));
    for (int i = 0; i < loop->outputs.count; i++)
        if (is_summed_over_tasks(loop, i))
            given += loop->tasks * ir_element_count(ir_type_of(func, loop->outputs.items[i]));
    return given > read;
}

/* ---- one block, and the loop over blocks ---- */

static void cut_rows(const StreamLoop *loop, IrFunc *func, StreamSlices *inputs, int64_t start, int64_t stop)
{
    for (int i = 0; i < inputs->count; i++) {
        int axis = stream_axis_of(&inputs->items[i].roles, loop->family->row);
        if (axis >= 0)
            inputs->items[i].value = stream_cut(func, inputs->items[i].value, axis, start, stop);
    }
}

/* The body of the loop over blocks: (turn, sums.., coordinates of the task.., arrays..) -> (sums.., rows..). */
static IrFunc *block_body(const StreamLoop *loop, const IrFunc *around, const StreamSlices *inputs, const IrRef *coordinate,
                          const IrRef *sums)
{
    const Family *family = loop->family;
    IrFunc *body = ir_func_new(around->module, "rows");
    IrRef turn = ir_param(body, ir_scalar(DT_i32), "block");
    IrRef *carried = arena_array(loop->arena, IrRef, loop->outputs.count + 1);
    IrRef *out = arena_array(loop->arena, IrRef, loop->outputs.count + 1);
    for (int i = 0; i < loop->outputs.count; i++)
        carried[i] = sums[i] >= 0 ? ir_param(body, *ir_type_of(around, sums[i]), "sum") : -1;
    IrRef inner[STREAM_ROLES];
    for (int role = 0; role < family->tasks; role++)
        inner[role] = coordinate[role] >= 0 ? ir_param(body, ir_scalar(DT_i32), "task") : -1;
    StreamSlices parts = stream_copy_slices(loop->arena, inputs);
    stream_take_params(family, around, body, &parts);
    inner[family->row] = ir_binary(body, OP_mul, turn, stream_scalar(body, family->rows));
    stream_pick_rows(family, body, &parts, inner[family->row]);
    stream_pick_tasks(family, body, &parts, inner);
    stream_compute_block(loop, body, &parts, inner, loop->family->rows, out);
    for (int i = 0; i < loop->outputs.count; i++)
        if (carried[i] >= 0)
            ir_result(body, ir_binary(body, OP_add, carried[i], out[i]), NULL);
    for (int i = 0; i < loop->outputs.count; i++)
        if (carried[i] < 0)
            ir_result(body, out[i], NULL);
    return body;
}

/* [blocks, .., rows, ..] -> [.., blocks * rows, ..] */
static IrRef join_blocks(IrFunc *func, IrRef stacked, int axis)
{
    IrType type = *ir_type_of(func, stacked);
    int64_t perm[IR_MAX_RANK], dim[IR_MAX_RANK];
    for (int i = 0; i < type.rank; i++)
        perm[i] = i < axis ? i + 1 : i == axis ? 0 : i;
    IrRef moved = ir_transpose(func, stacked, perm);
    for (int i = 0; i < type.rank - 1; i++)
        dim[i] = i == axis ? type.dim[0] * type.dim[axis + 1] : type.dim[i + 1];
    return ir_reshape(func, moved, type.rank - 1, dim);
}

static void loop_over_blocks(const StreamLoop *loop, IrFunc *func, const StreamSlices *inputs, const IrRef *coordinate,
                             int64_t count, IrRef *out)
{
    const Family *family = loop->family;
    IrRef *sums = arena_array(loop->arena, IrRef, loop->outputs.count + 1);
    IrRefs carries = {0}, captures = {0};
    for (int i = 0; i < loop->outputs.count; i++) {
        sums[i] = -1;
        if (!is_summed_over_rows(loop, i))
            continue;
        IrType type = *ir_type_of(family->func, loop->outputs.items[i]);
        for (int role = 0; role < family->tasks; role++)
            if (stream_axis_of(roles_of(loop, i), role) >= 0)
                type.dim[stream_axis_of(roles_of(loop, i), role)] = 1;
        list_push(loop->arena, &carries, sums[i] = ir_const(func, type, 0));
    }
    for (int role = 0; role < family->tasks; role++)
        if (coordinate[role] >= 0)
            list_push(loop->arena, &captures, coordinate[role]);
    for (int i = 0; i < inputs->count; i++)
        list_push(loop->arena, &captures, inputs->items[i].value);
    IrFunc *body = block_body(loop, func, inputs, coordinate, sums);
    IrRef node =
        ir_for(func, body, stream_scalar(func, count), count, carries.items, carries.count, captures.items, captures.count);
    int next = 0, row = carries.count;
    for (int i = 0; i < loop->outputs.count; i++) {
        bool sum = sums[i] >= 0;
        out[i] = ir_get(func, node, sum ? next++ : row++);
        if (!sum)
            out[i] = join_blocks(func, out[i], stream_axis_of(roles_of(loop, i), family->row));
    }
}

/* What the loop over blocks reads: the task's part, but the whole of arrays that have rows.  A block is picked of it in one
 * step, so that no array of all rows is made, which may have all columns, too. */
static StreamSlices block_inputs(const StreamLoop *loop, const StreamSlices *all, const StreamSlices *own)
{
    StreamSlices inputs = stream_copy_slices(loop->arena, own);
    for (int i = 0; i < inputs.count; i++)
        if (stream_axis_of(&inputs.items[i].roles, loop->family->row) >= 0)
            inputs.items[i].value = all->items[i].value;
    return inputs;
}

/* All rows of one task. */
static void compute_task(const StreamLoop *loop, IrFunc *func, const StreamSlices *all, IrRef *coordinate, IrRef *out)
{
    const Family *family = loop->family;
    int64_t count = row_count(loop) / family->rows, rest = row_count(loop) % family->rows;
    StreamSlices own = stream_copy_slices(loop->arena, all);
    stream_pick_tasks(family, func, &own, coordinate);
    coordinate[family->row] = -1;
    if (!rest && count == 1) {
        stream_compute_block(loop, func, &own, coordinate, family->rows, out);
        return;
    }
    StreamSlices inputs = block_inputs(loop, all, &own);
    loop_over_blocks(loop, func, &inputs, coordinate, count, out);
    if (!rest)
        return;
    IrRef *last = arena_array(loop->arena, IrRef, loop->outputs.count + 1);
    cut_rows(loop, func, &own, count * loop->family->rows, row_count(loop));
    coordinate[family->row] = stream_scalar(func, count * loop->family->rows);
    stream_compute_block(loop, func, &own, coordinate, rest, last);
    for (int i = 0; i < loop->outputs.count; i++) {
        IrRef both[2] = {out[i], last[i]};
        out[i] = is_summed_over_rows(loop, i) ? ir_binary(func, OP_add, out[i], last[i])
                                              : ir_concat(func, both, 2, stream_axis_of(roles_of(loop, i), family->row));
    }
}

/* ---- the loop over tasks ---- */

/* Without the axes of tasks, which have size 1. */
static IrRef without_tasks(const StreamLoop *loop, IrFunc *func, int output, IrRef value)
{
    IrType type = *ir_type_of(func, value);
    int64_t dim[IR_MAX_RANK];
    int rank = 0;
    for (int axis = 0; axis < type.rank; axis++) {
        int role = roles_of(loop, output)->axis[axis];
        if (role == ROLE_NONE || role >= loop->family->tasks)
            dim[rank++] = type.dim[axis];
    }
    return rank == type.rank ? value : ir_reshape(func, value, rank, dim);
}

static IrFunc *task_body(const StreamLoop *loop, const IrFunc *around)
{
    IrFunc *body = ir_func_new(around->module, "tasks");
    IrRef turn = ir_param(body, ir_scalar(DT_i32), "task"), coordinate[STREAM_ROLES];
    int count = loop->outputs.count;
    IrRef *carried = arena_array(loop->arena, IrRef, count + 1), *out = arena_array(loop->arena, IrRef, count + 1);
    for (int i = 0; i < count; i++) {
        IrType type = *ir_type_of(loop->family->func, loop->outputs.items[i]);
        carried[i] = is_carried(loop, i) ? ir_param(body, type, "sum") : -1;
    }
    StreamSlices inputs = stream_copy_slices(loop->arena, &loop->inputs);
    stream_take_params(loop->family, around, body, &inputs);
    stream_digits(body, turn, loop->family->size, loop->family->tasks, coordinate);
    compute_task(loop, body, &inputs, coordinate, out);
    for (int i = 0; i < count; i++)
        if (carried[i] >= 0)
            ir_result(body, ir_binary(body, OP_add, carried[i], out[i]), NULL);
    for (int i = 0; i < count; i++)
        if (carried[i] < 0)
            ir_result(body, without_tasks(loop, body, i, out[i]), NULL);
    return body;
}

/* [all tasks, ..] -> the axes in the order of the value; tasks that it has no axis of are summed. */
static IrRef place_tasks(const StreamLoop *loop, IrFunc *func, int output, IrRef stacked)
{
    const Family *family = loop->family;
    const Roles *roles = roles_of(loop, output);
    IrType type = *ir_type_of(func, stacked), wanted = *ir_type_of(family->func, loop->outputs.items[output]);
    int64_t dim[IR_MAX_RANK], summed[IR_MAX_RANK], perm[IR_MAX_RANK];
    int rank = 0, sums = 0, place[STREAM_ROLES], kept = 0;
    for (int role = 0; role < family->tasks; role++) {
        if (stream_axis_of(roles, role) < 0)
            summed[sums++] = rank;
        else
            place[role] = kept++;
        dim[rank++] = family->size[role];
    }
    for (int i = 1; i < type.rank; i++)
        dim[rank++] = type.dim[i];
    IrRef value = ir_reshape(func, stacked, rank, dim);
    if (sums)
        value = ir_reduce(func, OP_sum, value, summed, sums);
    for (int axis = 0; axis < wanted.rank; axis++) {
        int role = roles->axis[axis];
        perm[axis] = role != ROLE_NONE && role < family->tasks ? place[role] : kept++;
    }
    return ir_transpose(func, value, perm);
}

static void loop_over_tasks(const StreamLoop *loop, IrFunc *into, IrRef *out)
{
    int count = loop->inputs.count, next = 0;
    IrRef *arrays = arena_array(loop->arena, IrRef, count + 1);
    IrRefs carries = {0};
    for (int i = 0; i < count; i++)
        arrays[i] = loop->inputs.items[i].value;
    for (int i = 0; i < loop->outputs.count; i++)
        if (is_carried(loop, i))
            list_push(loop->arena, &carries, ir_const(into, *ir_type_of(loop->family->func, loop->outputs.items[i]), 0));
    IrFunc *body = task_body(loop, into);
    IrRef node = ir_for(into, body, stream_scalar(into, loop->tasks), loop->tasks, carries.items, carries.count, arrays, count);
    int row = carries.count;
    for (int i = 0; i < loop->outputs.count; i++) {
        bool sum = is_carried(loop, i);
        out[i] = ir_get(into, node, sum ? next++ : row++);
        if (!sum)
            out[i] = place_tasks(loop, into, i, out[i]);
    }
}

/* All tasks of the loop's outputs, which have rows or columns and not both. */
static void compute_tasks(const StreamLoop *loop, IrFunc *into, IrRef *map)
{
    IrRef *out = arena_array(loop->arena, IrRef, loop->outputs.count + 1), coordinate[STREAM_ROLES];
    memset(coordinate, -1, sizeof coordinate);
    if (loop->tasks > 1)
        loop_over_tasks(loop, into, out);
    else
        compute_task(loop, into, &loop->inputs, coordinate, out);
    for (int i = 0; i < loop->outputs.count; i++)
        map[loop->outputs.items[i]] = out[i];
}

void stream_loop(const Family *family, int level, IrFunc *into, IrRef *map)
{
    const StreamPorts *ports = &family->ports[level];
    StreamLoop loop = {
        .family = family, .arena = family->func->module->arena, .level = level, .tasks = stream_task_count(family)};
    IrRefs pieces = {0};
    for (int i = 0; i < ports->outputs.count; i++) {
        IrRef output = ports->outputs.items[i];
        bool large = stream_has_rows_and_columns(family, &family->node[output].roles);
        list_push(loop.arena, large ? &pieces : &loop.outputs, output);
    }
    loop.inputs = stream_copy_slices(loop.arena, &ports->inputs);
    for (int i = 0; i < loop.inputs.count; i++)
        loop.inputs.items[i].value = map[loop.inputs.items[i].ref];
    into->at = ir_node(family->func, ports->outputs.items[0])->span;
    loop.tasks_wait = tasks_wait(&loop);
    if (loop.outputs.count)
        compute_tasks(&loop, into, map);
    stream_pieces(&loop, &pieces, into, map);
}
