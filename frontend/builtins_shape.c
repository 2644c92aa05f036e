/* Builtins that move and make axes: split, merge, rename, transpose, expand, concat, stack, pad; and new tensors. */
#include "frontend/builtins.h"

#include <string.h>

/* ---- axis operations written with -> ---- */

static const Expr *want_arrow(Elab *el, Call *call, int index, const char *example)
{
    Argument *arg = positional(call, index);
    if (arg->expr && arg->expr->kind == EXPR_arrow)
        return arg->expr;
    elab_error(el, DIAG_axis_wanted, arg->span, "`%s` needs to know which axes become which", call->name);
    elab_note(el, (Span){0}, "write it as in `%s`", example);
    return NULL;
}

static bool own_axis(Elab *el, Env *env, const Expr *expr, const Value *x, int *at)
{
    Axis axis;
    if (!elab_axis(el, env, expr, &axis))
        return false;
    *at = shape_find(&x->tensor.shape, axis.label);
    if (*at < 0)
        axis_missing(el, expr->span, value_describe(el->arena, x), &x->tensor.shape, axis.label);
    return *at >= 0;
}

static const Value *reshaped(Elab *el, Span at, const Value *x, const Shape *shape)
{
    IrRef ref = tensor_ref(el, x, at);
    IrType type = shape_type(shape, x->tensor.dtype);
    return tensor_new(el, ir_reshape(el->frame->func, ref, type.rank, type.dim), shape);
}

static const int64_t MOST_PIECES = (int64_t)1 << 60; /* more than any axis has */

/* The pieces of a split: sizes given or known, and at most one that follows from the others. */
static bool split_pieces(Elab *el, Env *env, const Expr *to, Axis whole, Shape *pieces)
{
    int open = -1;
    int64_t product = 1;
    int count = to->kind == EXPR_list ? to->items.count : 1;
    for (int i = 0; i < count; i++) {
        const Expr *item = to->kind == EXPR_list ? to->items.items[i] : to;
        Axis axis;
        if (!elab_axis(el, env, item, &axis))
            return false;
        bool bare = item->kind == EXPR_name && (axis.size < 0 || axis.label->free);
        if (bare && open < 0) {
            open = i;
            axis.size = 1;
        }
        if (axis.size < 0) {
            elab_error(el, DIAG_size_unknown, item->span, "only one piece may be without a size: write `%s: 8`",
                       axis.label->name);
            return false;
        }
        product = axis.size && product > MOST_PIECES / axis.size ? MOST_PIECES : product * axis.size;
        if (!shape_push(el, pieces, axis, item->span))
            return false;
    }
    bool exact = product && whole.size % product == 0 && (open >= 0 || whole.size == product);
    if (!exact) {
        elab_error(el, DIAG_division_exact, to->span, "the axis %s of size %lld does not split into pieces of %s%lld in all",
                   whole.label->name, (long long)whole.size, product == MOST_PIECES ? "more than " : "", (long long)product);
        return false;
    }
    if (open >= 0) {
        pieces->axes[open].size = whole.size / product;
        label_learn_size(pieces->axes[open].label, whole.size / product);
    }
    return true;
}

const Value *builtin_split(Elab *el, Call *call)
{
    const Value *x = want_tensor(el, call, 0);
    const Expr *arrow = want_arrow(el, call, 1, "split(x, C -> [heads: 8, D])");
    int at;
    Shape pieces = {0}, shape = {0};
    if (is_poison(x) || !arrow || !own_axis(el, call->env, arrow->a, x, &at) ||
        !split_pieces(el, call->env, arrow->b, x->tensor.shape.axes[at], &pieces))
        return &value_poison;
    for (int i = 0; i < x->tensor.shape.rank; i++) {
        for (int j = 0; j < (i == at ? pieces.rank : 1); j++) {
            if (!shape_push(el, &shape, i == at ? pieces.axes[j] : x->tensor.shape.axes[i], call->span))
                return &value_poison;
        }
    }
    return reshaped(el, call->span, x, &shape);
}

static bool new_axis(Elab *el, Env *env, const Expr *expr, int64_t size, Axis *axis)
{
    if (!elab_axis(el, env, expr, axis))
        return false;
    if (expr->kind == EXPR_pair && axis->size != size) {
        elab_error(el, DIAG_axis_size, expr->span, "the axis %s has size %lld here, not %lld", axis->label->name,
                   (long long)size, (long long)axis->size);
        return false;
    }
    axis->size = size;
    label_learn_size(axis->label, size);
    return true;
}

const Value *builtin_merge(Elab *el, Call *call)
{
    const Value *x = want_tensor(el, call, 0);
    const Expr *arrow = want_arrow(el, call, 1, "merge(x, [H, W] -> P)");
    if (is_poison(x) || !arrow)
        return &value_poison;
    Shape parts = {0}, order = {0}, shape = {0};
    int64_t size = 1;
    int count = arrow->a->kind == EXPR_list ? arrow->a->items.count : 1, first = IR_MAX_RANK;
    for (int i = 0; i < count; i++) {
        int at;
        if (!own_axis(el, call->env, arrow->a->kind == EXPR_list ? arrow->a->items.items[i] : arrow->a, x, &at) ||
            !shape_push(el, &parts, x->tensor.shape.axes[at], call->span))
            return &value_poison;
        size *= x->tensor.shape.axes[at].size;
        first = at < first ? at : first;
    }
    Axis merged;
    if (!new_axis(el, call->env, arrow->b, size, &merged))
        return &value_poison;
    for (int i = 0; i < x->tensor.shape.rank; i++) {
        Axis axis = x->tensor.shape.axes[i];
        if (i == first) {
            for (int j = 0; j < parts.rank; j++)
                order.axes[order.rank++] = parts.axes[j];
            if (!shape_push(el, &shape, merged, call->span))
                return &value_poison;
        } else if (shape_find(&parts, axis.label) < 0) {
            order.axes[order.rank++] = axis;
            if (!shape_push(el, &shape, axis, call->span))
                return &value_poison;
        }
    }
    return reshaped(el, call->span, tensor_order(el, call->span, x, &order), &shape);
}

static bool rename_one(Elab *el, Call *call, const Expr *arrow, const Value *x, Shape *shape)
{
    int at;
    Axis to;
    if (arrow->kind != EXPR_arrow) {
        elab_error(el, DIAG_axis_wanted, arrow->span, "`rename` needs old and new names, as in `rename(x, T -> S)`");
        return false;
    }
    if (!own_axis(el, call->env, arrow->a, x, &at) || !new_axis(el, call->env, arrow->b, x->tensor.shape.axes[at].size, &to))
        return false;
    shape->axes[at].label = to.label;
    return true;
}

const Value *builtin_rename(Elab *el, Call *call)
{
    const Value *x = want_tensor(el, call, 0);
    if (is_poison(x))
        return x;
    Shape renamed = x->tensor.shape, shape = {0};
    for (int i = 1; i < positional_count(call); i++) {
        const Expr *expr = positional(call, i)->expr;
        if (!expr)
            return elab_error(el, DIAG_axis_wanted, call->span, "`rename` needs old and new names, as in `rename(x, T -> S)`");
        int count = expr->kind == EXPR_list ? expr->items.count : 1;
        for (int j = 0; j < count; j++) {
            if (!rename_one(el, call, expr->kind == EXPR_list ? expr->items.items[j] : expr, x, &renamed))
                return &value_poison;
        }
    }
    for (int i = 0; i < renamed.rank; i++) {
        if (!shape_push(el, &shape, renamed.axes[i], call->span))
            return &value_poison;
    }
    return tensor_relabel(el, x, &shape);
}

/* ---- order and repetition ---- */

const Value *builtin_transpose(Elab *el, Call *call)
{
    const Value *x = want_tensor(el, call, 0);
    Shape order;
    if (is_poison(x) || !axes_argument(el, call, 1, &x->tensor.shape, value_describe(el->arena, x), &order))
        return &value_poison;
    Shape missing = shape_without(&x->tensor.shape, &order);
    if (missing.rank)
        return elab_error(el, DIAG_axis_missing, call->span, "`transpose` must name every axis: %s is left out of %s",
                          missing.axes[0].label->name, value_describe(el->arena, x));
    return tensor_order(el, call->span, x, &order);
}

/* Axes given as arguments `T: 16` or in a list. */
static bool listed_shape(Elab *el, Call *call, int from, Shape *shape)
{
    *shape = (Shape){0};
    for (int i = from; i < positional_count(call); i++) {
        Argument *arg = positional(call, i);
        Shape some = {0};
        if (!arg->expr) {
            if (!value_axes(el, arg->value, &some, arg->span))
                return false;
        } else {
            const Expr *const *items = arg->expr->kind == EXPR_list ? (const Expr *const *)arg->expr->items.items : &arg->expr;
            if (!elab_shape(el, call->env, items, arg->expr->kind == EXPR_list ? arg->expr->items.count : 1, &some))
                return false;
        }
        for (int j = 0; j < some.rank; j++) {
            if (!shape_push(el, shape, some.axes[j], arg->span))
                return false;
        }
    }
    return true;
}

const Value *builtin_expand(Elab *el, Call *call)
{
    const Value *x = want_tensor(el, call, 0);
    Shape more, shape;
    if (is_poison(x) || !listed_shape(el, call, 1, &more))
        return &value_poison;
    shape = x->tensor.shape;
    for (int i = 0; i < more.rank; i++) {
        if (!shape_push(el, &shape, more.axes[i], call->span))
            return &value_poison;
    }
    return shape_check(el, &shape, call->span) ? tensor_expand(el, call->span, x, &shape) : &value_poison;
}

const Value *builtin_squeeze(Elab *el, Call *call)
{
    const Value *x = want_tensor(el, call, 0);
    Shape axes;
    if (is_poison(x) || !axes_argument(el, call, 1, &x->tensor.shape, value_describe(el->arena, x), &axes))
        return &value_poison;
    for (int i = 0; i < axes.rank; i++) {
        if (axes.axes[i].size != 1)
            return elab_error(el, DIAG_axis_size, call->span, "`squeeze` drops axes of size 1, but %s has size %lld",
                              axes.axes[i].label->name, (long long)axes.axes[i].size);
    }
    Shape shape = shape_without(&x->tensor.shape, &axes);
    return reshaped(el, call->span, x, &shape);
}

/* ---- joining ---- */

/* The tensors to join: a list, or all arguments but the last. */
static bool joined_values(Elab *el, Call *call, ValueList *values)
{
    int count = positional_count(call);
    const Value *first = arg_value(el, call, 0);
    if (is_poison(first))
        return false;
    if (count == 2 && known_items(el, first, values)) {
        if (values->count)
            return true;
        elab_error(el, DIAG_type_mismatch, call->span, "`%s` of an empty list", call->name);
        return false;
    }
    for (int i = 0; i < count - 1; i++) {
        const Value *value = arg_value(el, call, i);
        if (is_poison(value))
            return false;
        list_push(el->arena, values, value);
    }
    return true;
}

static bool concat_part(Elab *el, Call *call, const Value *first, const Value *part, const Label *label, Shape *shape)
{
    if (part->kind != VALUE_tensor) {
        elab_error(el, DIAG_type_mismatch, call->span, "`concat` joins tensors, not %s", value_describe(el->arena, part));
        return false;
    }
    int at = shape_find(&part->tensor.shape, label);
    if (at < 0) {
        axis_missing(el, call->span, value_describe(el->arena, part), &part->tensor.shape, label);
        return false;
    }
    *shape = first->tensor.shape;
    int along = shape_find(shape, label);
    shape->axes[along].size = part->tensor.shape.axes[at].size;
    bool same = part->tensor.shape.rank == shape->rank && shape_has_all(shape, &part->tensor.shape);
    for (int i = 0; same && i < shape->rank; i++)
        same = part->tensor.shape.axes[shape_find(&part->tensor.shape, shape->axes[i].label)].size == shape->axes[i].size;
    if (!same) {
        elab_error(el, DIAG_axis_align, call->span, "`concat` along %s needs equal other axes: %s and %s", label->name,
                   value_describe(el->arena, first), value_describe(el->arena, part));
        note_origin(el, first, call->span);
        note_origin(el, part, call->span);
    }
    return same;
}

const Value *builtin_concat(Elab *el, Call *call)
{
    ValueList parts = {0};
    Axis axis;
    DType dtype;
    if (!joined_values(el, call, &parts) || !want_axis(el, call, positional_count(call) - 1, &axis) ||
        !align_dtypes(el, call->span, "concat", parts.items, parts.count, &dtype))
        return &value_poison;
    const Value *first = parts.items[0];
    if (first->kind != VALUE_tensor)
        return elab_error(el, DIAG_type_mismatch, call->span, "`concat` joins tensors, not %s",
                          value_describe(el->arena, first));
    if (shape_find(&first->tensor.shape, axis.label) < 0) {
        axis_missing(el, call->span, value_describe(el->arena, first), &first->tensor.shape, axis.label);
        elab_note(el, (Span){0}, "`stack` joins along a new axis: stack([a, b], S)");
        return &value_poison;
    }
    IrRef *refs = arena_array(el->arena, IrRef, parts.count);
    Shape shape = first->tensor.shape;
    int along = shape_find(&shape, axis.label);
    shape.axes[along].size = 0;
    for (int i = 0; i < parts.count; i++) {
        Shape own;
        if (!concat_part(el, call, first, parts.items[i], axis.label, &own))
            return &value_poison;
        shape.axes[along].size += own.axes[along].size;
        refs[i] = operand_ref(el, call->span, parts.items[i], &own, dtype);
    }
    if (!shape_check(el, &shape, call->span))
        return &value_poison;
    label_learn_size(axis.label, shape.axes[along].size);
    return tensor_new(el, ir_concat(emit(el, call->span), refs, parts.count, along), &shape);
}

const Value *builtin_stack(Elab *el, Call *call)
{
    ValueList parts = {0};
    Axis axis;
    DType dtype;
    Shape shape;
    if (!joined_values(el, call, &parts) || !want_axis(el, call, 1, &axis) ||
        !align_dtypes(el, call->span, "stack", parts.items, parts.count, &dtype) ||
        !align_shapes(el, call->span, "stack", parts.items, parts.count, &shape))
        return &value_poison;
    bool any_tensor = false;
    for (int i = 0; i < parts.count; i++)
        any_tensor |= parts.items[i]->kind == VALUE_tensor;
    if (!any_tensor && !named_dtype(el, call, &dtype))
        return &value_poison;
    if (axis.size >= 0 && !axis.label->free && axis.size != parts.count) {
        elab_error(el, DIAG_axis_size, call->span, "`stack` of %d along %s, which has size %lld", parts.count, axis.label->name,
                   (long long)axis.size);
        elab_note(el, axis.label->span, "the axis is declared here");
        return &value_poison;
    }
    Shape one = shape;
    if (!shape_push(el, &one, (Axis){axis.label, 1}, call->span))
        return &value_poison;
    IrType type = shape_type(&one, dtype);
    IrRef *refs = arena_array(el->arena, IrRef, parts.count);
    for (int i = 0; i < parts.count; i++)
        refs[i] =
            ir_reshape(emit(el, call->span), operand_ref(el, call->span, parts.items[i], &shape, dtype), type.rank, type.dim);
    one.axes[one.rank - 1].size = parts.count;
    label_learn_size(axis.label, parts.count);
    return tensor_new(el, ir_concat(emit(el, call->span), refs, parts.count, one.rank - 1), &one);
}

/* ---- reverse, pad ---- */

const Value *builtin_reverse(Elab *el, Call *call)
{
    const Value *list = arg_value(el, call, 0);
    ValueList items = {0}, turned = {0};
    if (positional_count(call) == 1 && known_items(el, list, &items)) {
        for (int i = items.count; i-- > 0;)
            list_push(el->arena, &turned, items.items[i]);
        return value_group(el->arena, list->kind, turned.count, turned.items, NULL);
    }
    const Value *x = want_tensor(el, call, 0);
    Shape axes;
    if (is_poison(x))
        return x;
    if (positional_count(call) == 1)
        return elab_error(el, DIAG_axis_wanted, call->span, "`reverse` of a tensor needs an axis");
    if (!axes_argument(el, call, 1, &x->tensor.shape, value_describe(el->arena, x), &axes))
        return &value_poison;
    int64_t positions[IR_MAX_RANK];
    for (int i = 0; i < axes.rank; i++)
        positions[i] = shape_find(&x->tensor.shape, axes.axes[i].label);
    IrRef ref = tensor_ref(el, x, call->span);
    IrNode node = {.op = OP_reverse, .operand_count = 1, .operands = &ref, .attr = {{axes.rank, positions}}};
    return tensor_new(el, ir_emit(el->frame->func, node), &x->tensor.shape);
}

static bool pad_amounts(Elab *el, Env *env, const Expr *expr, int64_t *lo, int64_t *hi)
{
    const Value *value = elab_eval(el, env, expr);
    const Value *sides[2] = {value, value};
    if (value->kind == VALUE_tuple && value->group.count == 2) {
        sides[0] = value->group.items[0];
        sides[1] = value->group.items[1];
    }
    return want_size(el, sides[0], expr->span, "padding", lo) && want_size(el, sides[1], expr->span, "padding", hi);
}

const Value *builtin_pad(Elab *el, Call *call)
{
    const Value *x = want_tensor(el, call, 0);
    if (is_poison(x))
        return x;
    int64_t lo[IR_MAX_RANK] = {0}, hi[IR_MAX_RANK] = {0}, inner[IR_MAX_RANK] = {0};
    Shape shape = x->tensor.shape;
    for (int a = 1; a < positional_count(call); a++) {
        const Expr *expr = positional(call, a)->expr;
        int count = !expr ? 0 : expr->kind == EXPR_list ? expr->items.count : 1;
        for (int i = 0; i < count; i++) {
            const Expr *item = expr->kind == EXPR_list ? expr->items.items[i] : expr;
            int at;
            Expr name = {.kind = EXPR_name, .span = item->span, .name = item->name};
            if (item->kind != EXPR_pair)
                return elab_error(el, DIAG_axis_wanted, item->span,
                                  "`pad` needs axes and amounts, as in `pad(x, [H: (1, 1)])`");
            if (!own_axis(el, call->env, &name, x, &at) || !pad_amounts(el, call->env, item->a, &lo[at], &hi[at]))
                return &value_poison;
            shape.axes[at].size += lo[at] + hi[at];
        }
    }
    if (!shape_check(el, &shape, call->span))
        return &value_poison;
    IrRef ref = tensor_ref(el, x, call->span);
    return tensor_new(el, ir_pad(el->frame->func, ref, lo, hi, inner), &shape);
}

const Value *builtin_axes(Elab *el, Call *call)
{
    const Value *x = want_tensor(el, call, 0);
    if (is_poison(x))
        return x;
    const Value *axes[IR_MAX_RANK];
    for (int i = 0; i < x->tensor.shape.rank; i++)
        axes[i] = value_axis(el->arena, x->tensor.shape.axes[i].label, x->tensor.shape.axes[i].size);
    return value_group(el->arena, VALUE_list, x->tensor.shape.rank, axes, NULL);
}

/* ---- new tensors ---- */

/* Axes in [ ]; in the initialiser of a parameter, those of the parameter. */
static bool made_shape(Elab *el, Call *call, Shape *shape, DType *dtype)
{
    *shape = (Shape){0};
    if (call->has_items)
        return elab_shape(el, call->env, call->items, call->item_count, shape) && named_dtype(el, call, dtype);
    if (el->init) {
        *shape = el->init->shape;
        *dtype = el->init->dtype;
    }
    return named_dtype(el, call, dtype);
}

static const Value *filled(Elab *el, Call *call, double value)
{
    Shape shape;
    DType dtype = DT_f32;
    return made_shape(el, call, &shape, &dtype) ? tensor_const(el, call->span, dtype, &shape, value) : &value_poison;
}

const Value *builtin_zeros(Elab *el, Call *call)
{
    return filled(el, call, 0);
}

const Value *builtin_ones(Elab *el, Call *call)
{
    return filled(el, call, 1);
}

const Value *builtin_full(Elab *el, Call *call)
{
    const Value *value = arg_value(el, call, 0);
    Shape shape;
    DType dtype = value->kind == VALUE_tensor ? value->tensor.dtype : value->kind == VALUE_bool ? DT_bool : DT_f32;
    if (is_poison(value) || !made_shape(el, call, &shape, &dtype))
        return &value_poison;
    if (value->kind != VALUE_tensor)
        value = tensor_from_number(el, call->span, value, dtype);
    if (is_poison(value))
        return value;
    if (!shape_has_all(&shape, &value->tensor.shape))
        return elab_error(el, DIAG_axis_align, call->span, "`full` repeats a value that has further axes: %s",
                          value_describe(el->arena, value));
    return tensor_expand(el, call->span, tensor_cast(el, call->span, value, dtype), &shape);
}

const Value *builtin_iota(Elab *el, Call *call)
{
    Shape shape;
    DType dtype = DT_i32;
    if (!made_shape(el, call, &shape, &dtype))
        return &value_poison;
    if (shape.rank != 1)
        return elab_error(el, DIAG_axis_wanted, call->span, "`iota` counts along one axis, as in `iota[T]`");
    return tensor_new(el, ir_iota(emit(el, call->span), shape_type(&shape, dtype), 0), &shape);
}

static const Value *filled_like(Elab *el, const Value *part, void *state)
{
    const Call *call = state;
    if (part->kind != VALUE_tensor)
        return part;
    return tensor_const(el, call->span, part->tensor.dtype, &part->tensor.shape, !strcmp(call->name, "ones_like"));
}

const Value *builtin_zeros_like(Elab *el, Call *call)
{
    call->name = "zeros_like";
    return tree_map(el, arg_value(el, call, 0), filled_like, call);
}

const Value *builtin_ones_like(Elab *el, Call *call)
{
    call->name = "ones_like";
    return tree_map(el, arg_value(el, call, 0), filled_like, call);
}
