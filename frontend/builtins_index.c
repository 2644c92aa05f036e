/* Elements, slices and gathers by label; one-hot codes, scatter, sorting by counting ranks. */
#include "frontend/builtins.h"

#include <string.h>

/* ---- slices ---- */

const Value *slice_axis(Elab *el, Span at, const Value *x, int axis, int64_t start, int64_t stop)
{
    int64_t from[IR_MAX_RANK], to[IR_MAX_RANK], step[IR_MAX_RANK];
    Shape shape = x->tensor.shape;
    for (int i = 0; i < shape.rank; i++) {
        from[i] = i == axis ? start : 0;
        to[i] = i == axis ? stop : shape.axes[i].size;
        step[i] = 1;
    }
    shape.axes[axis].size = stop - start;
    IrRef ref = tensor_ref(el, x, at);
    return tensor_new(el, ir_slice(el->frame->func, ref, from, to, step), &shape);
}

static const Value *drop_axis(Elab *el, Span at, const Value *x, int axis)
{
    Shape one = {1, {x->tensor.shape.axes[axis]}};
    Shape shape = shape_without(&x->tensor.shape, &one);
    IrType type = shape_type(&shape, x->tensor.dtype);
    IrRef ref = tensor_ref(el, x, at);
    return tensor_new(el, ir_reshape(el->frame->func, ref, type.rank, type.dim), &shape);
}

/* ---- gathers ---- */

/* x in the order: axes shared with the index, `label`, the others. */
static Shape gather_order(const Shape *x, const Shape *index, const Label *label, int *shared)
{
    Shape order = {0};
    for (int i = 0; i < x->rank; i++) {
        if (x->axes[i].label != label && shape_find(index, x->axes[i].label) >= 0)
            order.axes[order.rank++] = x->axes[i];
    }
    *shared = order.rank;
    if (shape_find(x, label) >= 0)
        order.axes[order.rank++] = x->axes[shape_find(x, label)];
    for (int i = 0; i < x->rank; i++) {
        if (x->axes[i].label != label && shape_find(index, x->axes[i].label) < 0)
            order.axes[order.rank++] = x->axes[i];
    }
    return order;
}

/* The index with its shared axes first, in x's order. */
static Shape index_order(const Shape *index, const Shape *x_order, int shared)
{
    Shape order = {0};
    for (int i = 0; i < shared; i++)
        order.axes[order.rank++] = index->axes[shape_find(index, x_order->axes[i].label)];
    for (int i = 0; i < index->rank; i++) {
        if (shape_find(&order, index->axes[i].label) < 0)
            order.axes[order.rank++] = index->axes[i];
    }
    return order;
}

static bool check_shared(Elab *el, Span at, const Value *x, const Value *index, const Shape *order, int shared)
{
    for (int i = 0; i < shared; i++) {
        const Shape *other = &index->tensor.shape;
        int64_t size = other->axes[shape_find(other, order->axes[i].label)].size;
        if (size == order->axes[i].size)
            continue;
        elab_error(el, DIAG_axis_size, at, "the index has %lld along %s, but the tensor %lld: %s and %s", (long long)size,
                   order->axes[i].label->name, (long long)order->axes[i].size, value_describe(el->arena, index),
                   value_describe(el->arena, x));
        return false;
    }
    return true;
}

static bool check_index(Elab *el, Span at, const Value *index)
{
    if (index->kind == VALUE_tensor && (index->tensor.dtype == DT_i32 || index->tensor.dtype == DT_u32))
        return true;
    if (!is_poison(index)) {
        elab_error(el, DIAG_dtype_mismatch, at, "an index is an integer or an i32 tensor, not %s",
                   value_describe(el->arena, index));
        if (is_float_tensor(index))
            elab_note(el, (Span){0}, "convert it: `i as i32`");
    }
    return false;
}

const Value *take_along(Elab *el, Span at, const Value *x, Label *label, const Value *index)
{
    int shared;
    if (!check_index(el, at, index))
        return &value_poison;
    Shape x_order = gather_order(&x->tensor.shape, &index->tensor.shape, label, &shared);
    Shape i_order = index_order(&index->tensor.shape, &x_order, shared);
    if (!check_shared(el, at, x, index, &x_order, shared))
        return &value_poison;
    Shape taken = {0}, wanted = {0};
    for (int i = 0; i < i_order.rank; i++) {
        if (!shape_push(el, &taken, i_order.axes[i], at))
            return &value_poison;
    }
    for (int i = shared + 1; i < x_order.rank; i++) {
        if (!shape_push(el, &taken, x_order.axes[i], at))
            return &value_poison;
    }
    if (!shape_check(el, &taken, at))
        return &value_poison;
    for (int i = 0; i < x->tensor.shape.rank; i++) { /* the index's own axes stand in place of the axis */
        if (x->tensor.shape.axes[i].label != label) {
            wanted.axes[wanted.rank++] = x->tensor.shape.axes[i];
            continue;
        }
        for (int j = shared; j < i_order.rank; j++)
            wanted.axes[wanted.rank++] = i_order.axes[j];
    }
    IrRef data = tensor_ref(el, tensor_order(el, at, x, &x_order), at);
    IrRef places = tensor_ref(el, tensor_order(el, at, index, &i_order), at);
    const Value *result = tensor_new(el, ir_take(emit(el, at), data, places, shared, shared), &taken);
    return tensor_order(el, at, result, &wanted);
}

const Value *builtin_gather(Elab *el, Call *call)
{
    const Value *x = want_tensor(el, call, 0), *index = arg_value(el, call, 2);
    int at;
    if (is_poison(x) || is_poison(index) || !want_own_axis(el, call, 1, x, &at))
        return &value_poison;
    if (index->kind == VALUE_number)
        index = tensor_from_number(el, call->span, index, DT_i32);
    return is_poison(index) ? index : take_along(el, call->span, x, x->tensor.shape.axes[at].label, index);
}

/* ---- x[T: ...] ---- */

static const Value *index_range(Elab *el, Env *env, const Expr *range, const Value *x, int axis)
{
    int64_t size = x->tensor.shape.axes[axis].size, start = 0, stop = size;
    if ((range->a && !want_integer(el, elab_eval(el, env, range->a), range->a->span, "the start of a slice", &start)) ||
        (range->b && !want_integer(el, elab_eval(el, env, range->b), range->b->span, "the end of a slice", &stop)))
        return &value_poison;
    if (start < 0 || stop > size || start > stop)
        return elab_error(el, DIAG_index_range, range->span, "the slice %lld..%lld is outside the axis %s of size %lld",
                          (long long)start, (long long)stop, x->tensor.shape.axes[axis].label->name, (long long)size);
    return slice_axis(el, range->span, x, axis, start, stop);
}

static const Value *index_one(Elab *el, Env *env, const Expr *item, const Value *x)
{
    if (item->kind != EXPR_pair) {
        elab_error(el, DIAG_axis_wanted, item->span, "an index of a tensor names its axis");
        elab_note(el, (Span){0}, "write `x[T: 3]`, `x[T: 0..4]` or `x[T: i]`");
        return &value_poison;
    }
    Axis axis;
    Expr name = {.kind = EXPR_name, .span = item->span, .name = item->name};
    if (!elab_axis(el, env, &name, &axis))
        return &value_poison;
    int at = shape_find(&x->tensor.shape, axis.label);
    if (at < 0)
        return axis_missing(el, item->span, value_describe(el->arena, x), &x->tensor.shape, axis.label);
    if (item->a->kind == EXPR_range)
        return index_range(el, env, item->a, x, at);
    const Value *index = elab_eval(el, env, item->a);
    Number number;
    if (is_poison(index))
        return index;
    if (!value_as_number(index, &number))
        return take_along(el, item->span, x, axis.label, index);
    int64_t place, size = x->tensor.shape.axes[at].size;
    if (!want_integer(el, index, item->a->span, "an index", &place))
        return &value_poison;
    if (place < 0 || place >= size) {
        elab_error(el, DIAG_index_range, item->a->span, "index %lld is outside the axis %s of size %lld", (long long)place,
                   axis.label->name, (long long)size);
        if (place < 0 && place >= -size)
            elab_note(el, (Span){0}, "the last elements are at %s - 1, %s - 2, ...", axis.label->name, axis.label->name);
        return &value_poison;
    }
    return drop_axis(el, item->span, slice_axis(el, item->span, x, at, place, place + 1), at);
}

const Value *tensor_index(Elab *el, Env *env, const Expr *expr, const Value *tensor)
{
    for (int i = 0; i < expr->items.count && !is_poison(tensor); i++)
        tensor = index_one(el, env, expr->items.items[i], tensor);
    return tensor;
}

/* ---- scatter ---- */

const Value *builtin_scatter_add(Elab *el, Call *call)
{
    Span at = call->span;
    const Value *x = want_tensor(el, call, 0), *index = arg_value(el, call, 2), *updates = want_tensor(el, call, 3);
    int axis, shared;
    if (is_poison(x) || is_poison(updates) || !check_index(el, at, index) || !want_own_axis(el, call, 1, x, &axis))
        return &value_poison;
    Label *label = x->tensor.shape.axes[axis].label;
    Shape x_order = gather_order(&x->tensor.shape, &index->tensor.shape, label, &shared);
    Shape i_order = index_order(&index->tensor.shape, &x_order, shared), u_order = i_order;
    if (!check_shared(el, at, x, index, &x_order, shared))
        return &value_poison;
    for (int i = shared + 1; i < x_order.rank; i++) {
        if (!shape_push(el, &u_order, x_order.axes[i], at))
            return &value_poison;
    }
    const Value *pair[2] = {x, updates};
    DType dtype;
    if (!align_dtypes(el, at, "scatter_add", pair, 2, &dtype))
        return &value_poison;
    for (int i = 0; i < updates->tensor.shape.rank; i++) {
        const Axis *own = &updates->tensor.shape.axes[i];
        int found = shape_find(&u_order, own->label);
        if (found < 0 || u_order.axes[found].size != own->size) {
            Text want = text_new(el->arena);
            shape_print(&u_order, &want);
            return elab_error(el, DIAG_axis_align, at, "the updates are %s where %s is needed: one for each place of the index",
                              value_describe(el->arena, updates), want.data);
        }
    }
    IrRef base = operand_ref(el, at, x, &x_order, dtype), values = operand_ref(el, at, updates, &u_order, dtype);
    IrRef places = tensor_ref(el, tensor_order(el, at, index, &i_order), at);
    const Value *result = tensor_new(el, ir_put_add(emit(el, at), base, places, values, shared, shared), &x_order);
    return tensor_order(el, at, result, &x->tensor.shape);
}

/* ---- one-hot codes ---- */

static const Value *count_along(Elab *el, Span at, Axis axis)
{
    Shape shape = {1, {axis}};
    return tensor_new(el, ir_iota(emit(el, at), shape_type(&shape, DT_i32), 0), &shape);
}

static const Value *one_hot(Elab *el, Call *call, const Value *index, Axis axis, DType dtype)
{
    Shape shape;
    if (is_poison(index) || !check_index(el, call->span, index))
        return &value_poison;
    shape = index->tensor.shape;
    if (!shape_push(el, &shape, axis, call->span) || !shape_check(el, &shape, call->span))
        return &value_poison;
    const Value *wide = tensor_expand(el, call->span, tensor_cast(el, call->span, index, DT_i32), &shape);
    const Value *hit = arithmetic(el, call->span, AST_eq, wide, count_along(el, call->span, axis));
    return tensor_cast(el, call->span, hit, dtype);
}

const Value *builtin_one_hot(Elab *el, Call *call)
{
    Axis axis;
    DType dtype = DT_f32;
    const Value *index = want_tensor(el, call, 0);
    if (!want_axis(el, call, 1, &axis) || !named_dtype(el, call, &dtype))
        return &value_poison;
    if (axis.size < 0)
        return elab_error(el, DIAG_size_unknown, call->span, "the size of the axis %s is not known here: write `%s: 10`",
                          axis.label->name, axis.label->name);
    return one_hot(el, call, index, axis, dtype);
}

const Value *builtin_one_hot_like(Elab *el, Call *call)
{
    const Value *index = want_tensor(el, call, 0), *like = want_tensor(el, call, 1);
    int at;
    if (is_poison(like) || !want_own_axis(el, call, 2, like, &at))
        return &value_poison;
    return one_hot(el, call, index, like->tensor.shape.axes[at], like->tensor.dtype);
}

/* ---- sorting ---- */

/* How many elements come before each along `axis`: a stable order, rising or falling. */
static const Value *ranks(Elab *el, Span at, const Value *x, int axis, bool falling)
{
    Axis own = x->tensor.shape.axes[axis], other = own;
    other.label = label_new(el, own.label->home, own.label->name, own.size, at);
    Shape renamed = x->tensor.shape, wide = x->tensor.shape;
    renamed.axes[axis] = other;
    if (!shape_push(el, &wide, other, at) || !shape_check(el, &wide, at))
        return &value_poison;
    const Value *mine = tensor_expand(el, at, x, &wide);
    const Value *theirs = tensor_expand(el, at, tensor_relabel(el, x, &renamed), &wide);
    const Value *before = arithmetic(el, at, falling ? AST_gt : AST_lt, theirs, mine);
    Shape places = {2, {own, other}};
    const Value *i = tensor_expand(el, at, count_along(el, at, own), &places);
    const Value *earlier = arithmetic(el, at, AST_lt, count_along(el, at, other), i);
    const Value *tie = arithmetic(el, at, AST_and, arithmetic(el, at, AST_eq, theirs, mine), earlier);
    const Value *counts = tensor_cast(el, at, arithmetic(el, at, AST_or, before, tie), DT_i32);
    int64_t last = wide.rank - 1;
    return tensor_new(el, ir_reduce(emit(el, at), OP_sum, tensor_ref(el, counts, at), &last, 1), &x->tensor.shape);
}

/* The place of the element with each rank. */
static const Value *order_of(Elab *el, Span at, const Value *x, int axis, bool falling)
{
    const Value *rank = ranks(el, at, x, axis, falling);
    if (is_poison(rank))
        return rank;
    Axis own = x->tensor.shape.axes[axis];
    Shape one = {1, {own}}, order = shape_without(&x->tensor.shape, &one);
    int batch = order.rank;
    order.axes[order.rank++] = own;
    IrRef places = tensor_ref(el, tensor_order(el, at, rank, &order), at);
    IrRef zeros = ir_const(emit(el, at), shape_type(&order, DT_i32), 0);
    IrRef numbers = tensor_ref(el, tensor_expand(el, at, count_along(el, at, own), &order), at);
    const Value *result = tensor_new(el, ir_put_add(emit(el, at), zeros, places, numbers, batch, batch), &order);
    return tensor_order(el, at, result, &x->tensor.shape);
}

static const Value *sort_operand(Elab *el, Call *call, int *axis)
{
    const Value *x = want_tensor(el, call, 0);
    if (is_poison(x) || !want_own_axis(el, call, 1, x, axis))
        return &value_poison;
    return x;
}

const Value *builtin_argsort(Elab *el, Call *call)
{
    int axis;
    const Value *x = sort_operand(el, call, &axis);
    return is_poison(x) ? x : order_of(el, call->span, x, axis, false);
}

const Value *builtin_sort(Elab *el, Call *call)
{
    int axis;
    const Value *x = sort_operand(el, call, &axis);
    if (is_poison(x))
        return x;
    const Value *order = order_of(el, call->span, x, axis, false);
    return is_poison(order) ? order : take_along(el, call->span, x, x->tensor.shape.axes[axis].label, order);
}

const Value *builtin_top_k(Elab *el, Call *call)
{
    int axis;
    int64_t k;
    const Value *x = sort_operand(el, call, &axis);
    if (is_poison(x) || !want_size(el, arg_value(el, call, 2), positional(call, 2)->span, "the number of largest elements", &k))
        return &value_poison;
    if (k > x->tensor.shape.axes[axis].size)
        return elab_error(el, DIAG_index_range, call->span, "the largest %lld of an axis of size %lld", (long long)k,
                          (long long)x->tensor.shape.axes[axis].size);
    const Value *order = order_of(el, call->span, x, axis, true);
    if (is_poison(order))
        return order;
    const Value *first = slice_axis(el, call->span, order, axis, 0, k);
    return value_pair(el->arena, take_along(el, call->span, x, x->tensor.shape.axes[axis].label, first), first);
}
