/* What a turn of a loop works on: places counted out of its number, and arrays cut to them. */
#include "passes/stream_internal.h"

int stream_axis_of(const Roles *roles, int role)
{
    for (int axis = 0; axis < IR_MAX_RANK; axis++)
        if (roles->axis[axis] == role)
            return axis;
    return -1;
}

IrRef stream_scalar(IrFunc *func, int64_t value)
{
    return ir_const(func, ir_scalar(DT_i32), (double)value);
}

void stream_digits(IrFunc *func, IrRef number, const int64_t *size, int count, IrRef *digit)
{
    int64_t all = 1, below;
    for (int i = 0; i < count; i++)
        all *= size[i];
    below = all;
    for (int i = 0; i < count; i++) {
        digit[i] = -1;
        below /= size[i];
        if (size[i] == 1)
            continue;
        IrRef place = below > 1 ? ir_binary(func, OP_div, number, stream_scalar(func, below)) : number;
        bool outermost = below * size[i] == all;
        digit[i] = outermost ? place : ir_binary(func, OP_rem, place, stream_scalar(func, size[i]));
    }
}

IrRef stream_cut(IrFunc *func, IrRef x, int axis, int64_t start, int64_t stop)
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
static IrRef pick_item(IrFunc *func, IrRef x, int axis, IrRef index)
{
    IrType type = *ir_type_of(func, x);
    if (type.dim[axis] == 1)
        return x;
    IrRef taken = ir_take(func, x, index, axis, 0);
    type.dim[axis] = 1;
    return ir_reshape(func, taken, type.rank, type.dim);
}

void stream_pick_tasks(const Family *family, IrFunc *func, StreamSlices *inputs, const IrRef *coordinate)
{
    for (int i = 0; i < inputs->count; i++) {
        StreamSlice *input = &inputs->items[i];
        for (int role = 0; role < family->tasks; role++) {
            int axis = stream_axis_of(&input->roles, role);
            if (axis >= 0 && coordinate[role] >= 0)
                input->value = pick_item(func, input->value, axis, coordinate[role]);
        }
    }
}

void stream_pick_rows(const Family *family, IrFunc *func, StreamSlices *inputs, IrRef first)
{
    IrType type = {.dtype = DT_i32, .rank = 1, .dim = {family->rows}};
    for (int i = 0; i < inputs->count; i++) {
        StreamSlice *input = &inputs->items[i];
        int axis = stream_axis_of(&input->roles, family->row);
        if (axis < 0)
            continue;
        IrRef places = ir_binary(func, OP_add, ir_iota(func, type, 0), ir_broadcast_scalar(func, first, &type));
        input->value = ir_take(func, input->value, places, axis, 0);
    }
}

StreamSlices stream_copy_slices(Arena *arena, const StreamSlices *slices)
{
    StreamSlices copy = {0};
    for (int i = 0; i < slices->count; i++)
        list_push(arena, &copy, slices->items[i]);
    return copy;
}

void stream_take_params(const Family *family, const IrFunc *around, IrFunc *body, StreamSlices *inputs)
{
    for (int i = 0; i < inputs->count; i++) {
        IrType type = *ir_type_of(around, inputs->items[i].value);
        inputs->items[i].value = ir_param(body, type, ir_node(family->func, inputs->items[i].ref)->name);
    }
}
