/* Loops of a family: around all a loop over tasks, whose turns are independent; in it one over blocks of rows, and what is
 * left where the rows are no multiple of a block; sums over rows are carried from block to block. */
#include "passes/stream_internal.h"

#include <string.h>

typedef struct Loop {
    const Family *family;
    Arena *arena;
    int level;
    int64_t tasks; /* how many, all task axes together */
    IrRefs outputs;
    StreamSlices inputs; /* with the values that they have in the function being written */
} Loop;

static int64_t row_count(const Loop *loop)
{
    return loop->family->size[loop->family->row];
}

static const Roles *roles_of(const Loop *loop, int output)
{
    return &loop->family->node[loop->outputs.items[output]].roles;
}

static int axis_of(const Roles *roles, int role)
{
    for (int axis = 0; axis < IR_MAX_RANK; axis++)
        if (roles->axis[axis] == role)
            return axis;
    return -1;
}

static bool is_summed_over_rows(const Loop *loop, int output)
{
    return axis_of(roles_of(loop, output), loop->family->row) < 0;
}

/* No task has a part of it to itself. */
static bool is_summed_over_tasks(const Loop *loop, int output)
{
    for (int role = 0; role < loop->family->tasks; role++)
        if (axis_of(roles_of(loop, output), role) >= 0)
            return false;
    return true;
}

static IrRef scalar(IrFunc *func, int64_t value)
{
    return ir_const(func, ir_scalar(DT_i32), (double)value);
}

static IrRef zeros(IrFunc *func, IrType type)
{
    return ir_const(func, type, 0);
}

/* ---- cutting arrays ---- */

static IrRef cut(IrFunc *func, IrRef x, int axis, int64_t start, int64_t stop)
{
    IrType type = *ir_type_of(func, x);
    int64_t starts[IR_MAX_RANK] = {0}, stops[IR_MAX_RANK], steps[IR_MAX_RANK];
    if (start == 0 && stop == type.dim[axis])
        return x;
    for (int i = 0; i < type.rank; i++) {
        stops[i] = type.dim[i];
        steps[i] = 1;
    }
    starts[axis] = start;
    stops[axis] = stop;
    return ir_slice(func, x, starts, stops, steps);
}

/* The item of an axis that a number known at run time names, as an axis of size 1. */
static IrRef pick(IrFunc *func, IrRef x, int axis, IrRef index)
{
    IrType type = *ir_type_of(func, x);
    if (type.dim[axis] == 1)
        return x;
    IrRef taken = ir_take(func, x, index, axis, 0);
    type.dim[axis] = 1;
    return ir_reshape(func, taken, type.rank, type.dim);
}

/* Items `first`, a number known at run time, to `first + rows` of an axis. */
static IrRef pick_block(IrFunc *func, IrRef x, int axis, int64_t rows, IrRef first)
{
    IrType type = {.dtype = DT_i32, .rank = 1, .dim = {rows}};
    IrRef places = ir_binary(func, OP_add, ir_iota(func, type, 0), ir_broadcast_scalar(func, first, &type));
    return ir_take(func, x, places, axis, 0);
}

/* ---- one block, and the loop over blocks ---- */

static void compute_block(const Loop *loop, IrFunc *func, StreamSlices *inputs, IrRef *coordinate, int64_t rows, IrRef *out)
{
    StreamBlock block = {.family = loop->family,
                         .level = loop->level,
                         .into = func,
                         .value = arena_array(loop->arena, IrRef, loop->family->func->nodes.count + 1),
                         .inputs = inputs,
                         .rows = rows,
                         .coordinate = coordinate};
    for (IrRef ref = 0; ref < loop->family->func->nodes.count; ref++)
        block.value[ref] = -1;
    for (int i = 0; i < loop->outputs.count; i++)
        out[i] = stream_value(&block, loop->outputs.items[i]);
}

static StreamSlices with_values(const Loop *loop, const StreamSlices *inputs)
{
    StreamSlices copy = {0};
    for (int i = 0; i < inputs->count; i++)
        list_push(loop->arena, &copy, inputs->items[i]);
    return copy;
}

static void cut_rows(const Loop *loop, IrFunc *func, StreamSlices *inputs, int64_t start, int64_t stop)
{
    for (int i = 0; i < inputs->count; i++) {
        int axis = axis_of(&inputs->items[i].roles, loop->family->row);
        if (axis >= 0)
            inputs->items[i].value = cut(func, inputs->items[i].value, axis, start, stop);
    }
}

/* The body of the loop over blocks: (turn, sums.., coordinates of the task.., arrays..) -> (sums.., rows..). */
static IrFunc *block_body(const Loop *loop, const IrFunc *around, const StreamSlices *inputs, const IrRef *coordinate,
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
    StreamSlices parts = with_values(loop, inputs);
    for (int i = 0; i < parts.count; i++) {
        IrType type = *ir_type_of(around, inputs->items[i].value);
        parts.items[i].value = ir_param(body, type, ir_node(family->func, parts.items[i].ref)->name);
    }
    inner[family->row] = ir_binary(body, OP_mul, turn, scalar(body, loop->family->rows));
    for (int i = 0; i < parts.count; i++) {
        int axis = axis_of(&parts.items[i].roles, family->row);
        if (axis >= 0)
            parts.items[i].value = pick_block(body, parts.items[i].value, axis, loop->family->rows, inner[family->row]);
    }
    compute_block(loop, body, &parts, inner, loop->family->rows, out);
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

static void loop_over_blocks(const Loop *loop, IrFunc *func, const StreamSlices *inputs, const IrRef *coordinate, int64_t count,
                             IrRef *out)
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
            if (axis_of(roles_of(loop, i), role) >= 0)
                type.dim[axis_of(roles_of(loop, i), role)] = 1;
        list_push(loop->arena, &carries, sums[i] = zeros(func, type));
    }
    for (int role = 0; role < family->tasks; role++)
        if (coordinate[role] >= 0)
            list_push(loop->arena, &captures, coordinate[role]);
    for (int i = 0; i < inputs->count; i++)
        list_push(loop->arena, &captures, inputs->items[i].value);
    IrFunc *body = block_body(loop, func, inputs, coordinate, sums);
    IrRef node = ir_for(func, body, scalar(func, count), count, carries.items, carries.count, captures.items, captures.count);
    int next = 0, row = carries.count;
    for (int i = 0; i < loop->outputs.count; i++) {
        bool sum = sums[i] >= 0;
        out[i] = ir_get(func, node, sum ? next++ : row++);
        if (!sum)
            out[i] = join_blocks(func, out[i], axis_of(roles_of(loop, i), family->row));
    }
}

/* All rows of one task. */
static void compute_task(const Loop *loop, IrFunc *func, StreamSlices *inputs, IrRef *coordinate, IrRef *out)
{
    const Family *family = loop->family;
    int64_t count = row_count(loop) / loop->family->rows, rest = row_count(loop) % loop->family->rows;
    coordinate[family->row] = -1;
    if (count * loop->family->rows == row_count(loop) && count == 1) {
        compute_block(loop, func, inputs, coordinate, loop->family->rows, out);
        return;
    }
    loop_over_blocks(loop, func, inputs, coordinate, count, out);
    if (!rest)
        return;
    StreamSlices parts = with_values(loop, inputs);
    IrRef *last = arena_array(loop->arena, IrRef, loop->outputs.count + 1);
    cut_rows(loop, func, &parts, count * loop->family->rows, row_count(loop));
    coordinate[family->row] = scalar(func, count * loop->family->rows);
    compute_block(loop, func, &parts, coordinate, rest, last);
    for (int i = 0; i < loop->outputs.count; i++) {
        IrRef both[2] = {out[i], last[i]};
        out[i] = is_summed_over_rows(loop, i) ? ir_binary(func, OP_add, out[i], last[i])
                                              : ir_concat(func, both, 2, axis_of(roles_of(loop, i), family->row));
    }
}

/* ---- the loop over tasks ---- */

/* The places of task `turn` along each task axis; -1 where there is one only. */
static void find_coordinates(const Loop *loop, IrFunc *func, IrRef turn, IrRef *coordinate)
{
    const Family *family = loop->family;
    int64_t below = loop->tasks;
    for (int role = 0; role < family->tasks; role++) {
        coordinate[role] = -1;
        below /= family->size[role];
        if (family->size[role] == 1)
            continue;
        IrRef place = below > 1 ? ir_binary(func, OP_div, turn, scalar(func, below)) : turn;
        bool outermost = below * family->size[role] == loop->tasks;
        coordinate[role] = outermost ? place : ir_binary(func, OP_rem, place, scalar(func, family->size[role]));
    }
}

static void pick_task(const Loop *loop, IrFunc *func, StreamSlices *inputs, const IrRef *coordinate)
{
    for (int i = 0; i < inputs->count; i++) {
        StreamSlice *input = &inputs->items[i];
        for (int role = 0; role < loop->family->tasks; role++) {
            int axis = axis_of(&input->roles, role);
            if (axis >= 0 && coordinate[role] >= 0)
                input->value = pick(func, input->value, axis, coordinate[role]);
        }
    }
}

/* Without the axes of tasks, which have size 1. */
static IrRef without_tasks(const Loop *loop, IrFunc *func, int output, IrRef value)
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

static IrFunc *task_body(const Loop *loop, const IrFunc *around, const IrRef *arrays)
{
    IrFunc *body = ir_func_new(around->module, "tasks");
    IrRef turn = ir_param(body, ir_scalar(DT_i32), "task"), coordinate[STREAM_ROLES];
    int count = loop->outputs.count;
    IrRef *carried = arena_array(loop->arena, IrRef, count + 1), *out = arena_array(loop->arena, IrRef, count + 1);
    for (int i = 0; i < count; i++) {
        IrType type = *ir_type_of(loop->family->func, loop->outputs.items[i]);
        carried[i] = is_summed_over_tasks(loop, i) ? ir_param(body, type, "sum") : -1;
    }
    StreamSlices inputs = with_values(loop, &loop->inputs);
    for (int i = 0; i < inputs.count; i++) {
        IrType type = *ir_type_of(around, arrays[i]);
        inputs.items[i].value = ir_param(body, type, ir_node(loop->family->func, inputs.items[i].ref)->name);
    }
    find_coordinates(loop, body, turn, coordinate);
    pick_task(loop, body, &inputs, coordinate);
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
static IrRef place_tasks(const Loop *loop, IrFunc *func, int output, IrRef stacked)
{
    const Family *family = loop->family;
    const Roles *roles = roles_of(loop, output);
    IrType type = *ir_type_of(func, stacked), wanted = *ir_type_of(family->func, loop->outputs.items[output]);
    int64_t dim[IR_MAX_RANK], summed[IR_MAX_RANK], perm[IR_MAX_RANK];
    int rank = 0, sums = 0, place[STREAM_ROLES], kept = 0;
    for (int role = 0; role < family->tasks; role++) {
        if (axis_of(roles, role) < 0)
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

static void loop_over_tasks(const Loop *loop, IrFunc *into, IrRef *out)
{
    int count = loop->inputs.count, next = 0;
    IrRef *arrays = arena_array(loop->arena, IrRef, count + 1);
    IrRefs carries = {0};
    for (int i = 0; i < count; i++)
        arrays[i] = loop->inputs.items[i].value;
    for (int i = 0; i < loop->outputs.count; i++)
        if (is_summed_over_tasks(loop, i))
            list_push(loop->arena, &carries, zeros(into, *ir_type_of(loop->family->func, loop->outputs.items[i])));
    IrFunc *body = task_body(loop, into, arrays);
    IrRef node = ir_for(into, body, scalar(into, loop->tasks), loop->tasks, carries.items, carries.count, arrays, count);
    int row = carries.count;
    for (int i = 0; i < loop->outputs.count; i++) {
        bool sum = is_summed_over_tasks(loop, i);
        out[i] = ir_get(into, node, sum ? next++ : row++);
        if (!sum)
            out[i] = place_tasks(loop, into, i, out[i]);
    }
}

void stream_loop(const Family *family, int level, IrFunc *into, IrRef *map)
{
    Loop loop = {.family = family, .arena = family->func->module->arena, .level = level, .tasks = stream_task_count(family)};
    loop.outputs = family->ports[level].outputs;
    loop.inputs = with_values(&loop, &family->ports[level].inputs);
    for (int i = 0; i < loop.inputs.count; i++)
        loop.inputs.items[i].value = map[loop.inputs.items[i].ref];
    IrRef *out = arena_array(loop.arena, IrRef, loop.outputs.count + 1), coordinate[STREAM_ROLES];
    into->at = ir_node(family->func, loop.outputs.items[0])->span;
    memset(coordinate, -1, sizeof coordinate);
    if (loop.tasks > 1)
        loop_over_tasks(&loop, into, out);
    else
        compute_task(&loop, into, &loop.inputs, coordinate, out);
    for (int i = 0; i < loop.outputs.count; i++)
        map[loop.outputs.items[i]] = out[i];
}
