/* Makers of views and reductions. */
#include "tests/random/internal.h"

#include <math.h>

/* ---- views ---- */

static IrRef broadcast(Scope *scope, IrRef x)
{
    Gen *gen = scope->gen;
    IrType from = *ir_type_of(scope->func, x), type = {.dtype = from.dtype};
    int64_t dims[IR_MAX_RANK], count = ir_element_count(&from);
    for (int axis = 0; axis <= from.rank; axis++) {
        int64_t size = gen->sizes[draw_below(&gen->draws, SIZE_COUNT)];
        if (draw_chance(&gen->draws, 35) && count * size <= element_limit(scope) && type.rank < 6) {
            type.dim[type.rank++] = size;
            count *= size;
        }
        if (axis < from.rank) {
            dims[axis] = type.rank;
            type.dim[type.rank++] = from.dim[axis];
        }
    }
    return ir_broadcast(scope->func, x, type, dims);
}

/* Two neighbours merged, or an axis cut, or axes of size 1. */
static IrRef reshape(Scope *scope, IrRef x)
{
    Gen *gen = scope->gen;
    IrType from = *ir_type_of(scope->func, x);
    int64_t dim[IR_MAX_RANK];
    int rank = 0;
    for (int axis = 0; axis < from.rank; axis++) {
        int64_t size = from.dim[axis], choice = draw_below(&gen->draws, 4);
        if (choice == 0 && rank) {
            dim[rank - 1] *= size;
        } else if (choice == 1 && size > 1 && from.rank < 6) {
            int64_t factor = size % 2 == 0 ? 2 : size % 3 == 0 ? 3 : 1;
            dim[rank++] = factor;
            dim[rank++] = size / factor;
        } else {
            dim[rank++] = size;
        }
    }
    if (rank < 6 && draw_chance(&gen->draws, 20))
        dim[rank++] = 1;
    return ir_reshape(scope->func, x, rank, dim);
}

static IrRef transpose(Scope *scope, IrRef x)
{
    int64_t perm[IR_MAX_RANK];
    int rank = ir_type_of(scope->func, x)->rank;
    for (int i = 0; i < rank; i++) {
        int64_t at = draw_between(&scope->gen->draws, 0, i);
        perm[i] = perm[at];
        perm[at] = i;
    }
    return ir_transpose(scope->func, x, perm);
}

static IrRef slice(Scope *scope, IrRef x)
{
    Draws *draws = &scope->gen->draws;
    int64_t start[IR_MAX_RANK], stop[IR_MAX_RANK], step[IR_MAX_RANK];
    IrType type = *ir_type_of(scope->func, x);
    for (int i = 0; i < type.rank; i++) {
        start[i] = draw_chance(draws, 50) ? 0 : draw_between(draws, 0, type.dim[i] / 2);
        stop[i] = draw_chance(draws, 50) ? type.dim[i] : draw_between(draws, start[i], type.dim[i]);
        step[i] = draw_chance(draws, 60) ? 1 : draw_between(draws, 1, 3);
        if (stop[i] == start[i] && draw_chance(draws, 95)) /* seldom nothing */
            start[i] = 0, stop[i] = type.dim[i];
    }
    return ir_slice(scope->func, x, start, stop, step);
}

static IrRef pad(Scope *scope, IrRef x)
{
    Draws *draws = &scope->gen->draws;
    int64_t lo[IR_MAX_RANK], hi[IR_MAX_RANK], inner[IR_MAX_RANK], count = 1;
    IrType type = *ir_type_of(scope->func, x);
    for (int i = 0; i < type.rank; i++) {
        lo[i] = draw_chance(draws, 60) ? 0 : draw_between(draws, -2, 3);
        hi[i] = draw_chance(draws, 60) ? 0 : draw_between(draws, -2, 3);
        inner[i] = draw_chance(draws, 70) ? 0 : draw_between(draws, 1, 2);
        int64_t size = type.dim[i] + lo[i] + hi[i] + (type.dim[i] ? type.dim[i] - 1 : 0) * inner[i];
        if (size < 1 || count * size > element_limit(scope)) {
            lo[i] = hi[i] = inner[i] = 0;
            size = type.dim[i];
        }
        count *= size;
    }
    return ir_pad(scope->func, x, lo, hi, inner);
}

static int some_axes(Scope *scope, int rank, int64_t *axes)
{
    int count = 0;
    for (int i = 0; i < rank; i++)
        if (draw_chance(&scope->gen->draws, 50))
            axes[count++] = i;
    if (!count && rank && draw_chance(&scope->gen->draws, 95))
        axes[count++] = draw_below(&scope->gen->draws, rank);
    if (count > 1 && draw_chance(&scope->gen->draws, 20)) {
        int64_t first = axes[0];
        axes[0] = axes[count - 1];
        axes[count - 1] = first;
    }
    return count;
}

static IrRef reverse(Scope *scope, IrRef x)
{
    int64_t axes[IR_MAX_RANK];
    int count = some_axes(scope, ir_type_of(scope->func, x)->rank, axes);
    return ir_emit(scope->func, (IrNode){.op = OP_reverse, .operand_count = 1, .operands = &x, .attr = {{count, axes}}});
}

bool make_view(Scope *scope, IrOp op)
{
    IrRef x = any_value(scope), made;
    if (x == NOTHING || (!ir_type_of(scope->func, x)->rank && op != OP_broadcast))
        return false;
    if (op == OP_broadcast)
        made = broadcast(scope, x);
    else if (op == OP_reshape)
        made = reshape(scope, x);
    else if (op == OP_transpose)
        made = transpose(scope, x);
    else if (op == OP_slice)
        made = slice(scope, x);
    else if (op == OP_pad)
        made = pad(scope, x);
    else
        made = reverse(scope, x);
    return keep(scope, made, is_exact(scope, x)) != NOTHING;
}

bool make_concat(Scope *scope, IrOp op)
{
    Gen *gen = scope->gen;
    IrRef part[3] = {any_value(scope)};
    IrType type = part[0] == NOTHING ? ir_scalar(DT_f32) : *ir_type_of(scope->func, part[0]);
    (void)op;
    if (!type.rank)
        return false;
    int axis = (int)draw_below(&gen->draws, type.rank), count = (int)draw_between(&gen->draws, 1, 3);
    if (ir_element_count(&type) * 3 > element_limit(scope))
        return false;
    for (int i = 1; i < count; i++) {
        IrType own = type;
        if (draw_chance(&gen->draws, 60))
            own.dim[axis] = draw_between(&gen->draws, 1, type.dim[axis] + 1);
        part[i] = value_of(scope, own);
        if (part[i] == NOTHING)
            return false;
    }
    return keep(scope, ir_concat(scope->func, part, count, axis), all_exact(scope, part, count)) != NOTHING;
}

/* ---- reductions ---- */

static IrRef any_number(Scope *scope, int least_rank)
{
    for (int i = 0; i < 12; i++) {
        IrRef x = any_value(scope);
        if (x == NOTHING)
            return NOTHING;
        const IrType *type = ir_type_of(scope->func, x);
        bool number = dtype_is_float(type->dtype) || type->dtype == DT_i32 || type->dtype == DT_u32;
        if (number && type->rank >= least_rank)
            return x;
    }
    return NOTHING;
}

/* Whether no two elements come near each other, so that the order along an axis is the same in every mode. */
static bool is_ordered(Scope *scope, IrRef x)
{
    if (!dtype_is_float(ir_type_of(scope->func, x)->dtype) || is_exact(scope, x))
        return true;
    if (scope->depth)
        return false;
    ArenaMark mark = arena_mark(scope->gen->scratch);
    EvalTensor value[MOST_SETS];
    bool ordered = true;
    measure(scope, x, value);
    int64_t count = ir_element_count(&value[0].type);
    for (int64_t i = 0; i < count; i++)
        for (int64_t k = 0; ordered && k < i; k++)
            ordered = is_far(scope, value[0].real[i] - value[0].real[k], fabs(value[0].real[i]));
    arena_rewind(scope->gen->scratch, mark);
    return ordered;
}

bool make_reduction(Scope *scope, IrOp op)
{
    IrRef x = any_number(scope, 1);
    int64_t axes[IR_MAX_RANK];
    if (x == NOTHING)
        return false;
    bool extreme = op == OP_reduce_max || op == OP_reduce_min;
    if (extreme && (!is_ordered(scope, x) || !ir_element_count(ir_type_of(scope->func, x))))
        return false;
    int count = some_axes(scope, ir_type_of(scope->func, x)->rank, axes);
    int64_t factors = 1;
    for (int i = 0; i < count; i++)
        factors *= ir_type_of(scope->func, x)->dim[axes[i]];
    if (op == OP_prod && factors > 12) /* its slope would be steep */
        return false;
    IrRef made = ir_reduce(scope->func, op, x, axes, count);
    bool exact = dtype_class(ir_type_of(scope->func, x)->dtype) == CLASS_int || (extreme && is_exact(scope, x));
    return keep(scope, made, exact) != NOTHING;
}

bool make_line(Scope *scope, IrOp op)
{
    IrRef x = any_number(scope, 1);
    if (x == NOTHING)
        return false;
    IrType type = *ir_type_of(scope->func, x);
    int64_t axis = draw_below(&scope->gen->draws, type.rank);
    if (op == OP_argmax && (!type.dim[axis] || !is_ordered(scope, x)))
        return false;
    IrRef made = ir_emit(scope->func, (IrNode){.op = op, .operand_count = 1, .operands = &x, .attr = {{1, &axis}}});
    return keep(scope, made, op == OP_argmax || dtype_class(type.dtype) == CLASS_int) != NOTHING;
}
