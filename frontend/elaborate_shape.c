/* Axes and types: the shapes that a program writes down, and values as a type wants them. */
#include "frontend/elaborate.h"

#include <string.h>

static const int64_t MOST_ELEMENTS = (int64_t)1 << 40;

/* ---- shapes ---- */

bool shape_push(Elab *el, Shape *shape, Axis axis, Span at)
{
    if (shape_find(shape, axis.label) >= 0) {
        elab_error(el, DIAG_axis_duplicate, at, "the axis %s would stand twice in one tensor", axis.label->name);
        elab_note(el, (Span){0}, "give one of them another name first: rename(x, %s -> %s')", axis.label->name,
                  axis.label->name);
        return false;
    }
    if (shape->rank == IR_MAX_RANK) {
        elab_error(el, DIAG_too_many_axes, at, "a tensor has at most %d axes", IR_MAX_RANK);
        return false;
    }
    shape->axes[shape->rank++] = axis;
    return true;
}

bool shape_check(Elab *el, const Shape *shape, Span at)
{
    int64_t count = 1;
    for (int i = 0; i < shape->rank; i++) {
        int64_t size = shape->axes[i].size;
        if (size > 0 && count > MOST_ELEMENTS / size) {
            Text text = text_new(el->arena);
            shape_print(shape, &text);
            elab_error(el, DIAG_too_large, at, "a tensor of %s has more than 2^40 elements", text.data);
            return false;
        }
        count *= size > 0 ? size : 1;
    }
    return true;
}

const Value *axis_missing(Elab *el, Span at, const char *what, const Shape *shape, const Label *label)
{
    Text have = text_new(el->arena);
    shape_print(shape, &have);
    const char *names[IR_MAX_RANK];
    bool namesake = false;
    for (int i = 0; i < shape->rank; i++) {
        names[i] = shape->axes[i].label->name;
        namesake |= !strcmp(names[i], label->name);
    }
    bool shown = !shape->rank || strstr(what, have.data);
    const char *axes = shown ? "" : arena_printf(el->arena, ": its axes are %s", have.data);
    if (namesake)
        elab_error(el, DIAG_axis_missing, at, "%s has an axis called %s, but it is another one than is meant here%s", what,
                   label->name, axes);
    else
        elab_error(el, DIAG_axis_missing, at, "%s has no axis %s%s", what, label->name,
                   shape->rank ? axes : ": it is a scalar");
    if (namesake)
        elab_note(el, label->span, "the axis that is meant here was introduced here");
    else
        elab_suggest(el, label->name, names, shape->rank);
    return &value_poison;
}

/* ---- axes in brackets ---- */

/* A body gives a label its size where it makes the axis. */
void label_learn_size(Label *label, int64_t size)
{
    if (!label->free || size < 0)
        return;
    if (label->size == SIZE_UNKNOWN)
        label->size = size;
    else if (label->size != size)
        label->size = SIZE_VARIES;
}

static bool elab_axis_name(Elab *el, Env *env, const char *name, Span at, Axis *axis)
{
    const Local *binding = env_find(env, name, NULL);
    if (binding && binding->value->kind != VALUE_axis) {
        if (!is_poison(binding->value)) {
            elab_error(el, DIAG_axis_wanted, at, "`%s` is %s, not an axis", name, value_describe(el->arena, binding->value));
            elab_note(el, binding->span, "it is bound here");
        }
        return false;
    }
    if (binding) {
        axis->label = binding->value->axis.label;
        axis->size = binding->value->axis.size;
    } else {
        axis->label = label_resolve(el, env, name, at);
        axis->size = SIZE_UNKNOWN;
    }
    if (axis->size < 0)
        axis->size = axis->label->size;
    return true;
}

bool elab_axis(Elab *el, Env *env, const Expr *expr, Axis *axis)
{
    if (expr->kind == EXPR_name)
        return elab_axis_name(el, env, expr->name, expr->span, axis);
    if (expr->kind == EXPR_pair) {
        if (!elab_axis_name(el, env, expr->name, expr->span, axis))
            return false;
        if (!want_size(el, elab_eval(el, env, expr->a), expr->a->span, "the size of an axis", &axis->size))
            return false;
        label_learn_size(axis->label, axis->size);
        return true;
    }
    const Value *value = elab_eval(el, env, expr);
    if (is_poison(value))
        return false;
    if (value->kind != VALUE_axis) {
        elab_error(el, DIAG_axis_wanted, expr->span, "an axis is needed here, not %s", value_describe(el->arena, value));
        elab_note(el, (Span){0}, "an axis is a label, with a size where it is new: `K: 8`");
        return false;
    }
    *axis = value->axis;
    if (axis->size < 0)
        axis->size = axis->label->size;
    return true;
}

bool value_axes(Elab *el, const Value *value, Shape *axes, Span at)
{
    if (value->kind == VALUE_list || value->kind == VALUE_tuple) {
        for (int i = 0; i < value->group.count; i++) {
            if (!value_axes(el, value->group.items[i], axes, at))
                return false;
        }
        return true;
    }
    if (is_poison(value))
        return false;
    if (value->kind != VALUE_axis) {
        elab_error(el, DIAG_axis_wanted, at, "an axis or a list of axes is needed here, not %s",
                   value_describe(el->arena, value));
        return false;
    }
    Axis axis = value->axis;
    if (axis.size < 0)
        axis.size = axis.label->size;
    return shape_push(el, axes, axis, at);
}

/* Names bound to lists of axes, `..` and calls may stand for several axes. */
static bool elab_axes_item(Elab *el, Env *env, const Expr *item, Shape *shape)
{
    const Local *binding = NULL;
    if (item->kind == EXPR_name)
        binding = env_find(env, item->name, NULL);
    else if (item->kind == EXPR_range && !item->a && !item->b)
        binding = env_find(env, "..", NULL);
    if (binding && (binding->value->kind == VALUE_list || binding->value->kind == VALUE_tuple))
        return value_axes(el, binding->value, shape, item->span);
    if (item->kind == EXPR_range) {
        elab_error(el, DIAG_axis_wanted, item->span, "`..` stands for the further axes of a signature that has `..`");
        return false;
    }
    if (item->kind != EXPR_name && item->kind != EXPR_pair) {
        const Value *value = elab_eval(el, env, item);
        return value_axes(el, value, shape, item->span);
    }
    Axis axis;
    return elab_axis(el, env, item, &axis) && shape_push(el, shape, axis, item->span);
}

/* `H/2` is a size of H, as in a type. */
static bool elab_sized_axis(Elab *el, Env *env, const Expr *item, Shape *shape)
{
    const AxisExpr written = {.size = (Expr *)item, .span = item->span};
    Axis axis;
    return type_axis(el, env, &written, &axis) && shape_push(el, shape, axis, item->span);
}

static Span span_of_items(const Expr *const *items, int count)
{
    Span span = items[0]->span;
    span.end = items[count - 1]->span.end;
    return span;
}

bool elab_shape(Elab *el, Env *env, const Expr *const *items, int count, Shape *shape)
{
    *shape = (Shape){0};
    for (int i = 0; i < count; i++) {
        bool sized = items[i]->kind == EXPR_binary;
        if (!(sized ? elab_sized_axis : elab_axes_item)(el, env, items[i], shape))
            return false;
    }
    for (int i = 0; i < shape->rank; i++) {
        const Label *label = shape->axes[i].label;
        if (shape->axes[i].size >= 0)
            continue;
        Span at = count ? items[i < count ? i : count - 1]->span : label->span;
        elab_error(el, DIAG_size_unknown, at, "the size of the axis %s is not known here", label->name);
        elab_note(el, (Span){0}, "write it: `%s: 8`", label->name);
        return false;
    }
    return !count || shape_check(el, shape, span_of_items(items, count));
}

/* Axis arguments, as written: the labels may be bound to lists, and each must be an axis of `of`. */
static bool axes_from_expr(Elab *el, Env *env, const Expr *expr, Shape *axes)
{
    if (expr->kind != EXPR_list)
        return elab_axes_item(el, env, expr, axes);
    for (int i = 0; i < expr->items.count; i++) {
        if (!elab_axes_item(el, env, expr->items.items[i], axes))
            return false;
    }
    return true;
}

bool axes_argument(Elab *el, Call *call, int index, const Shape *of, const char *of_what, Shape *axes)
{
    const Argument *arg = positional(call, index);
    *axes = (Shape){0};
    bool ok = arg->value ? value_axes(el, arg->value, axes, arg->span) : axes_from_expr(el, call->env, arg->expr, axes);
    for (int i = 0; ok && i < axes->rank; i++) {
        int at = shape_find(of, axes->axes[i].label);
        if (at < 0) {
            axis_missing(el, arg->span, of_what, of, axes->axes[i].label);
            return false;
        }
        axes->axes[i] = of->axes[at];
    }
    return ok;
}

/* ---- types ---- */

bool type_dtype(Elab *el, const TypeExpr *type, DType *dtype)
{
    if (dtype_from_name(type->name, dtype))
        return true;
    if (type->any_float) {
        elab_error(el, DIAG_type_mismatch, type->span, "`float` stands for any of f32, f64, f16 and bf16; say one here");
        return false;
    }
    static const char *const known[] = {
#define DTYPE(name, bytes, class) #name,
#include "ir/dtypes.def"
    };
    elab_error(el, DIAG_unknown_name, type->span, "there is no element type `%s`", type->name);
    elab_suggest(el, type->name, known, DT_COUNT);
    return false;
}

/* The one identifier of a size expression; "" if there are several. */
static const char *only_name(const Expr *expr, const char *found)
{
    if (!expr)
        return found;
    if (expr->kind == EXPR_name)
        return !found || !strcmp(found, expr->name) ? expr->name : "";
    if (expr->kind == EXPR_call) {
        for (int i = 0; i < expr->args.count; i++)
            found = only_name(expr->args.items[i].value, found);
        return found;
    }
    return only_name(expr->b, only_name(expr->a, found));
}

const char *type_axis_label(const AxisExpr *axis)
{
    const char *name = axis->label ? axis->label : only_name(axis->size, NULL);
    return name && *name ? name : NULL;
}

bool type_axis(Elab *el, Env *env, const AxisExpr *written, Axis *axis)
{
    const char *name = type_axis_label(written);
    if (!name) {
        elab_error(el, DIAG_axis_wanted, written->span, "this axis needs a label: write `C: size`");
        return false;
    }
    if (!elab_axis_name(el, env, name, written->span, axis))
        return false;
    if (!written->size)
        return true;
    if (!want_size(el, elab_eval(el, env, written->size), written->size->span, "the size of an axis", &axis->size))
        return false;
    label_learn_size(axis->label, axis->size);
    return true;
}

bool type_shape(Elab *el, Env *env, const TypeExpr *type, Shape *shape)
{
    *shape = (Shape){0};
    for (int i = 0; i < type->axes.count; i++) {
        const AxisExpr *written = &type->axes.items[i];
        Axis axis;
        if (written->rest) {
            const Local *rest = env_find(env, "..", NULL);
            if (rest && !value_axes(el, rest->value, shape, written->span))
                return false;
            continue;
        }
        if (!type_axis(el, env, written, &axis) || !shape_push(el, shape, axis, written->span))
            return false;
        if (axis.size < 0) {
            elab_error(el, DIAG_size_unknown, written->span, "the size of the axis %s is not known here", axis.label->name);
            elab_note(el, (Span){0}, "write it: `%s: 8`, or declare `dim %s = 8`", axis.label->name, axis.label->name);
            return false;
        }
    }
    return shape_check(el, shape, type->span);
}

/* `float`: what is a tensor of floats already, or adapts to one. */
static const Value *fit_any_float(Elab *el, const TypeExpr *type, const Value *value, Span at, const char *what)
{
    Number number;
    bool tensor = value->kind == VALUE_tensor;
    if (tensor ? value->tensor.weak || dtype_is_float(value->tensor.dtype) : value_as_number(value, &number))
        return value;
    elab_error(el, DIAG_dtype_mismatch, at, "%s is %s, but its type says float", what, value_describe(el->arena, value));
    note_origin(el, value, at);
    elab_note(el, type->span, "the type is here: any of f32, f64, f16 and bf16; `x as f32` converts");
    return &value_poison;
}

const Value *type_fit_dtype(Elab *el, const TypeExpr *type, const Value *value, Span at, const char *what)
{
    DType dtype;
    if (type->any_float)
        return fit_any_float(el, type, value, at, what);
    if (!type_dtype(el, type, &dtype))
        return &value_poison;
    if (value->kind != VALUE_tensor) {
        Number number;
        if (type->scalar && value->kind == VALUE_bool && dtype == DT_bool)
            return value;
        if (value_as_number(value, &number) && dtype != DT_bool)
            return tensor_from_number(el, at, value, dtype);
        return elab_error(el, DIAG_type_mismatch, at, "%s is %s, but its type is %s", what, value_describe(el->arena, value),
                          type->name);
    }
    if (value->tensor.weak)
        return tensor_cast(el, at, value, dtype);
    if (value->tensor.dtype == dtype)
        return value;
    elab_error(el, DIAG_dtype_mismatch, at, "%s is %s, but its type says %s", what, value_describe(el->arena, value),
               type->name);
    note_origin(el, value, at);
    elab_note(el, type->span, "the type is here; `x as %s` converts", type->name);
    return &value_poison;
}

/* The axes of the type in its order; `..` is whatever else the value has. */
static bool fit_order(Elab *el, Env *env, const TypeExpr *type, const Shape *have, Span at, const char *what, Shape *order)
{
    Shape named = {0};
    for (int i = 0; i < type->axes.count; i++) {
        Axis axis;
        if (type->axes.items[i].rest)
            continue;
        if (!type_axis(el, env, &type->axes.items[i], &axis) || !shape_push(el, &named, axis, type->axes.items[i].span))
            return false;
        int found = shape_find(have, axis.label);
        if (found < 0) {
            axis_missing(el, at, what, have, axis.label);
            elab_note(el, type->span, "its type is here");
            return false;
        }
        if (axis.size >= 0 && axis.size != have->axes[found].size) {
            elab_error(el, DIAG_axis_size, at, "%s has %lld along %s where its type says %lld", what,
                       (long long)have->axes[found].size, axis.label->name, (long long)axis.size);
            elab_note(el, type->axes.items[i].span, "the type is here");
            return false;
        }
    }
    Shape further = shape_without(have, &named);
    *order = (Shape){0};
    for (int i = 0, next = 0; i < type->axes.count; i++) {
        if (!type->axes.items[i].rest) {
            order->axes[order->rank++] = named.axes[next++];
            continue;
        }
        for (int j = 0; j < further.rank && order->rank < IR_MAX_RANK; j++)
            order->axes[order->rank++] = further.axes[j];
    }
    return true;
}

static bool has_rest(const TypeExpr *type)
{
    for (int i = 0; i < type->axes.count; i++) {
        if (type->axes.items[i].rest)
            return true;
    }
    return false;
}

static const Value *fit_tensor(Elab *el, Env *env, const TypeExpr *type, const Value *value, Span at, const char *what)
{
    bool number = value->kind != VALUE_tensor;
    value = type_fit_dtype(el, type, value, at, what);
    if (is_poison(value) || value->kind != VALUE_tensor)
        return value;
    Shape order, have = value->tensor.shape;
    if (number && type->axes.count && !has_rest(type)) {
        elab_error(el, DIAG_type_mismatch, at, "%s is a number, but its type has axes", what);
        elab_note(el, (Span){0}, "full[B, C](value) makes a tensor of one number");
        return &value_poison;
    }
    if (!fit_order(el, env, type, &have, at, what, &order))
        return &value_poison;
    Shape extra = shape_without(&have, &order);
    if (extra.rank) {
        elab_error(el, DIAG_axis_missing, at, "%s has the axis %s, which its type does not", what, extra.axes[0].label->name);
        elab_note(el, type->span, "the type is here; `..` stands for any further axes");
        return &value_poison;
    }
    return tensor_order(el, at, value, &order);
}

static const Value *fit_group(Elab *el, Env *env, const TypeExpr *type, const Value *value, Span at, const char *what)
{
    bool record = type->kind == TYPE_record;
    int count = record ? type->fields.count : type->items.count;
    if (value->kind != (record ? VALUE_record : VALUE_tuple) || value->group.count != count)
        return elab_error(el, DIAG_type_mismatch, at, "%s is %s, but its type is a %s of %d", what,
                          value_describe(el->arena, value), record ? "record" : "tuple", count);
    const Value **items = arena_array(el->arena, const Value *, count + 1);
    const char **names = arena_array(el->arena, const char *, count + 1);
    for (int i = 0; i < count; i++) {
        const TypeExpr *part = record ? type->fields.items[i].type : type->items.items[i];
        const Value *item = value->group.items[i];
        if (record) {
            names[i] = type->fields.items[i].name;
            item = record_get(value, names[i]);
        }
        if (!item)
            return elab_error(el, DIAG_type_mismatch, at, "%s has no field %s, but its type has", what, names[i]);
        items[i] = type_fit(el, env, part, item, at, record ? names[i] : arena_printf(el->arena, "part %d of %s", i, what));
    }
    return value_group(el->arena, value->kind, count, items, record ? names : NULL);
}

static bool is_key_tensor(const Value *value)
{
    return value->kind == VALUE_tensor && value->tensor.dtype == DT_u32 && value->tensor.shape.rank == 1 &&
           value->tensor.shape.axes[0].size == 2;
}

static const Value *fit_named(Elab *el, Env *env, const TypeExpr *type, const Value *value, Span at, const char *what)
{
    if (!strcmp(type->name, "key")) {
        if (value->kind == VALUE_key)
            return value;
        if (is_key_tensor(value))
            return key_value(el, key_given(el, value));
        return elab_error(el, DIAG_type_mismatch, at, "%s is %s, but its type is key", what, value_describe(el->arena, value));
    }
    const Value *model = model_of_type(el, env, type);
    if (!model || is_poison(model))
        return &value_poison;
    if (value->kind != VALUE_instance)
        return elab_error(el, DIAG_type_mismatch, at, "%s is %s, but its type is the model `%s`", what,
                          value_describe(el->arena, value), type->name);
    const Decl *want = model->model.decl, *have = value->instance->model->model.decl;
    if (want != have)
        return elab_error(el, DIAG_type_mismatch, at, "%s is an instance of the model `%s`, but its type is the model `%s`",
                          what, have->name, want->name);
    return value;
}

const Value *type_fit(Elab *el, Env *env, const TypeExpr *type, const Value *value, Span at, const char *what)
{
    if (is_poison(value))
        return value;
    switch (type->kind) {
    case TYPE_tensor:
        return fit_tensor(el, env, type, value, at, what);
    case TYPE_tuple:
    case TYPE_record:
        return fit_group(el, env, type, value, at, what);
    case TYPE_named:
        return fit_named(el, env, type, value, at, what);
    case TYPE_error:
        break;
    }
    return &value_poison;
}
