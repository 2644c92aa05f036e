/* Builtins that sum over axes: reductions, contractions, products of disjoint axes. */
#include "frontend/builtins.h"

#include <string.h>

/* ---- reductions ---- */

static bool reduced_axes(Elab *el, Call *call, const Value *x, int index, Shape *axes)
{
    if (positional_count(call) <= index) {
        *axes = x->tensor.shape;
        return true;
    }
    return axes_argument(el, call, index, &x->tensor.shape, value_describe(el->arena, x), axes);
}

static const Value *emit_reduce(Elab *el, Span at, IrOp op, const Value *x, const Shape *axes)
{
    int64_t positions[IR_MAX_RANK];
    for (int i = 0; i < axes->rank; i++)
        positions[i] = shape_find(&x->tensor.shape, axes->axes[i].label);
    Shape left = shape_without(&x->tensor.shape, axes);
    IrRef ref = tensor_ref(el, x, at);
    return tensor_new(el, ir_reduce(el->frame->func, op, ref, positions, axes->rank), &left);
}

static const Value *check_number_tensor(Elab *el, const Call *call, const Value *x)
{
    DType dtype = x->tensor.dtype;
    if (dtype_is_float(dtype) || dtype == DT_i32 || dtype == DT_u32)
        return x;
    elab_error(el, DIAG_dtype_mismatch, call->span, "`%s` of %s: it needs numbers", call->name, value_describe(el->arena, x));
    elab_note(el, (Span){0}, "convert it first: `x as f32`");
    return &value_poison;
}

const Value *reduce_argument(Elab *el, Call *call, IrOp op, int index)
{
    const Value *x = want_tensor(el, call, 0);
    Shape axes;
    if (is_poison(x) || is_poison(check_number_tensor(el, call, x)) || !reduced_axes(el, call, x, index, &axes))
        return &value_poison;
    return axes.rank ? emit_reduce(el, call->span, op, x, &axes) : x;
}

const Value *builtin_sum(Elab *el, Call *call)
{
    return reduce_argument(el, call, OP_sum, 1);
}

const Value *builtin_prod(Elab *el, Call *call)
{
    return reduce_argument(el, call, OP_prod, 1);
}

const Value *builtin_max_over(Elab *el, Call *call)
{
    return reduce_argument(el, call, OP_reduce_max, 1);
}

const Value *builtin_min_over(Elab *el, Call *call)
{
    return reduce_argument(el, call, OP_reduce_min, 1);
}

static int64_t element_count(const Shape *axes)
{
    int64_t count = 1;
    for (int i = 0; i < axes->rank; i++)
        count *= axes->axes[i].size;
    return count;
}

const Value *builtin_count(Elab *el, Call *call)
{
    const Value *x = want_tensor(el, call, 0);
    Shape axes;
    if (is_poison(x) || !reduced_axes(el, call, x, 1, &axes))
        return &value_poison;
    return value_integer(el->arena, element_count(&axes));
}

const Value *builtin_mean(Elab *el, Call *call)
{
    const Value *x = want_tensor(el, call, 0);
    Shape axes;
    if (is_poison(x) || !reduced_axes(el, call, x, 1, &axes))
        return &value_poison;
    if (!dtype_is_float(x->tensor.dtype)) {
        elab_error(el, DIAG_dtype_mismatch, call->span, "the mean of %s: it needs floats", value_describe(el->arena, x));
        elab_note(el, (Span){0}, "convert it first: `mean(x as f32)`");
        return &value_poison;
    }
    const Value *total = axes.rank ? emit_reduce(el, call->span, OP_sum, x, &axes) : x;
    return arithmetic(el, call->span, AST_div, total, value_integer(el->arena, element_count(&axes)));
}

/* Truth values are reduced as numbers. */
static const Value *reduce_truth(Elab *el, Call *call, IrOp op)
{
    const Value *x = want_tensor(el, call, 0);
    Shape axes;
    if (is_poison(x) || !reduced_axes(el, call, x, 1, &axes))
        return &value_poison;
    if (x->tensor.dtype != DT_bool)
        return elab_error(el, DIAG_dtype_mismatch, call->span, "`%s` takes truth values, not %s", call->name,
                          value_describe(el->arena, x));
    const Value *numbers = tensor_cast(el, call->span, x, DT_i32);
    const Value *reduced = axes.rank ? emit_reduce(el, call->span, op, numbers, &axes) : numbers;
    return arithmetic(el, call->span, AST_gt, reduced, value_integer(el->arena, 0));
}

const Value *builtin_any(Elab *el, Call *call)
{
    return reduce_truth(el, call, OP_reduce_max);
}

const Value *builtin_all(Elab *el, Call *call)
{
    return reduce_truth(el, call, OP_reduce_min);
}

static const Value *along_axis(Elab *el, Call *call, IrOp op, bool drops, bool negated)
{
    const Value *x = want_tensor(el, call, 0);
    int at;
    if (is_poison(x) || is_poison(check_number_tensor(el, call, x)) || !want_own_axis(el, call, 1, x, &at))
        return &value_poison;
    Shape shape = x->tensor.shape;
    if (drops && !shape.axes[at].size)
        return elab_error(el, DIAG_axis_size, call->span, "`%s` along %s, which has no elements", call->name,
                          shape.axes[at].label->name);
    if (negated)
        x = negate(el, call->span, x);
    IrRef ref = tensor_ref(el, x, call->span);
    int64_t axis = at;
    IrNode node = {.op = op, .operand_count = 1, .operands = &ref, .attr = {{1, &axis}}};
    if (drops) {
        Shape dropped = {1, {shape.axes[at]}};
        shape = shape_without(&shape, &dropped);
    }
    return tensor_new(el, ir_emit(el->frame->func, node), &shape);
}

const Value *builtin_argmax(Elab *el, Call *call)
{
    return along_axis(el, call, OP_argmax, true, false);
}

const Value *builtin_argmin(Elab *el, Call *call)
{
    return along_axis(el, call, OP_argmax, true, true);
}

const Value *builtin_cumsum(Elab *el, Call *call)
{
    return along_axis(el, call, OP_cumsum, false, false);
}

/* ---- contractions ---- */

typedef struct DotAxes {
    int64_t left[IR_MAX_RANK], right[IR_MAX_RANK];
    int count;
} DotAxes;

static bool dot_add(Elab *el, const Call *call, DotAxes *axes, const Value *a, const Value *b, int i, int j)
{
    const Axis *left = &a->tensor.shape.axes[i], *right = &b->tensor.shape.axes[j];
    if (left->size != right->size) {
        elab_error(el, DIAG_axis_size, call->span, "`dot` meets two sizes of the axis %s: %lld in %s and %lld in %s",
                   left->label->name, (long long)left->size, value_describe(el->arena, a), (long long)right->size,
                   value_describe(el->arena, b));
        note_origin(el, a, call->span);
        note_origin(el, b, call->span);
        return false;
    }
    axes->left[axes->count] = i;
    axes->right[axes->count++] = j;
    return true;
}

static bool dot_summed(Elab *el, Call *call, const Value *a, const Value *b, Shape *axes)
{
    if (!axes_argument(el, call, 2, &a->tensor.shape, "the first operand", axes))
        return false;
    for (int i = 0; i < axes->rank; i++) {
        if (shape_find(&b->tensor.shape, axes->axes[i].label) >= 0)
            continue;
        axis_missing(el, positional(call, 2)->span, "the second operand", &b->tensor.shape, axes->axes[i].label);
        return false;
    }
    return true;
}

static const Value *emit_dot(Elab *el, Call *call, const Value *a, const Value *b, const Shape *summed, DType dtype)
{
    const Shape *left = &a->tensor.shape, *right = &b->tensor.shape;
    DotAxes batch = {0}, sum = {0};
    Shape shape = {0};
    for (int i = 0; i < left->rank; i++) {
        int j = shape_find(right, left->axes[i].label);
        bool is_summed = shape_find(summed, left->axes[i].label) >= 0;
        if (j >= 0 && !dot_add(el, call, is_summed ? &sum : &batch, a, b, i, j))
            return &value_poison;
        if (j >= 0 && !is_summed)
            shape.axes[shape.rank++] = left->axes[i];
    }
    for (int side = 0; side < 2; side++) {
        const Shape *own = side ? right : left, *other = side ? left : right;
        for (int i = 0; i < own->rank; i++) {
            if (shape_find(other, own->axes[i].label) < 0 && !shape_push(el, &shape, own->axes[i], call->span))
                return &value_poison;
        }
    }
    if (!shape_check(el, &shape, call->span))
        return &value_poison;
    IrRef x = tensor_ref(el, tensor_cast(el, call->span, a, dtype), call->span);
    IrRef y = tensor_ref(el, tensor_cast(el, call->span, b, dtype), call->span);
    IrRef ref = ir_dot(emit(el, call->span), x, y, (IrInts){batch.count, batch.left}, (IrInts){batch.count, batch.right},
                       (IrInts){sum.count, sum.left}, (IrInts){sum.count, sum.right});
    return tensor_new(el, ref, &shape);
}

const Value *builtin_dot(Elab *el, Call *call)
{
    const Value *operands[2] = {want_tensor(el, call, 0), want_tensor(el, call, 1)};
    Shape summed;
    DType dtype;
    if (is_poison(operands[0]) || is_poison(operands[1]) || !dot_summed(el, call, operands[0], operands[1], &summed) ||
        !align_dtypes(el, call->span, "dot", operands, 2, &dtype) || is_poison(check_number_tensor(el, call, operands[0])))
        return &value_poison;
    return emit_dot(el, call, operands[0], operands[1], &summed, dtype);
}

const Value *builtin_outer(Elab *el, Call *call)
{
    const Value *operands[2] = {want_tensor(el, call, 0), want_tensor(el, call, 1)};
    DType dtype;
    if (is_poison(operands[0]) || is_poison(operands[1]) || !align_dtypes(el, call->span, "outer", operands, 2, &dtype))
        return &value_poison;
    Shape shape = operands[0]->tensor.shape;
    Shape more = shape_without(&operands[1]->tensor.shape, &shape);
    for (int i = 0; i < more.rank; i++) {
        if (!shape_push(el, &shape, more.axes[i], call->span))
            return &value_poison;
    }
    Shape shared = shape_without(&operands[1]->tensor.shape, &more);
    for (int i = 0; i < shared.rank; i++) {
        int at = shape_find(&shape, shared.axes[i].label);
        if (shape.axes[at].size != shared.axes[i].size)
            return arithmetic(el, call->span, AST_mul, operands[0], operands[1]); /* which says what is wrong */
    }
    if (!shape_check(el, &shape, call->span))
        return &value_poison;
    const Value *left = tensor_expand(el, call->span, operands[0], &shape);
    return arithmetic(el, call->span, AST_mul, left, operands[1]);
}
