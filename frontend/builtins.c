/* Builtin functions: the table, and what they share in reading their arguments. */
#include "frontend/builtins.h"

#include <math.h>
#include <string.h>

/* ---- meanings on numbers ---- */

/* Newton's method on erf, from the logarithmic estimate of Winitzki. */
static double erfinv_of(double y)
{
    if (!(fabs(y) < 1))
        return fabs(y) == 1 ? y * INFINITY : NAN;
    double a = 0.147, l = log1p(-y * y), t = 2 / (M_PI * a) + l / 2;
    double x = copysign(sqrt(sqrt(t * t - l / a) - t), y);
    for (int i = 0; i < 4; i++)
        x -= (erf(x) - y) / (2 / sqrt(M_PI) * exp(-x * x));
    return x;
}

#define POINTWISE(name, arity, class, op, known)                                                                               \
    static double known_##name(double a, double b, double c)                                                                   \
    {                                                                                                                          \
        (void)a, (void)b, (void)c;                                                                                             \
        return known;                                                                                                          \
    }
#include "frontend/builtins.def"

static const Builtin builtins[] = {
#define POINTWISE(name, arity, class, op, known) {#name, arity, arity, "", NULL, OP_##op, POINT_##class, known_##name, NULL},
#define BUILTIN(name, least, most, named, function, usage)                                                                     \
    {#name, least, most, named, function, OP_COUNT, POINT_number, NULL, usage},
#include "frontend/builtins.def"
};
enum { BUILTIN_COUNT = sizeof builtins / sizeof builtins[0] };

const Builtin *builtin_find(const char *name)
{
    for (int i = 0; i < BUILTIN_COUNT; i++) {
        if (!strcmp(builtins[i].name, name))
            return &builtins[i];
    }
    return NULL;
}

const char *const *builtin_names(Elab *el, int *count)
{
    const char **names = arena_array(el->arena, const char *, BUILTIN_COUNT);
    for (int i = 0; i < BUILTIN_COUNT; i++)
        names[i] = builtins[i].name;
    *count = BUILTIN_COUNT;
    return names;
}

/* ---- arguments ---- */

int positional_count(const Call *call)
{
    int count = 0;
    for (int i = 0; i < call->count; i++)
        count += !call->args[i].name;
    return count;
}

Argument *positional(Call *call, int index)
{
    for (int i = 0; i < call->count; i++) {
        if (!call->args[i].name && index-- == 0)
            return &call->args[i];
    }
    return NULL;
}

const Value *arg_value(Elab *el, Call *call, int index)
{
    Argument *arg = positional(call, index);
    return arg ? call_arg(el, call, (int)(arg - call->args)) : &value_poison;
}

const Value *named_arg(Elab *el, Call *call, const char *name)
{
    for (int i = 0; i < call->count; i++) {
        if (call->args[i].name && !strcmp(call->args[i].name, name))
            return call_arg(el, call, i);
    }
    return NULL;
}

const Value *want_tensor(Elab *el, Call *call, int index)
{
    const Value *value = arg_value(el, call, index);
    if (is_poison(value))
        return value;
    Span at = positional(call, index)->span;
    Number number;
    if (value->kind == VALUE_tensor)
        return value;
    if (value->kind == VALUE_bool || value_as_number(value, &number))
        return tensor_default(el, at, value);
    return elab_error(el, DIAG_type_mismatch, at, "`%s` works on tensors, not on %s", call->name ? call->name : "this",
                      value_describe(el->arena, value));
}

bool want_axis(Elab *el, Call *call, int index, Axis *axis)
{
    Argument *arg = positional(call, index);
    if (!arg->value)
        return elab_axis(el, call->env, arg->expr, axis);
    Shape one = {0};
    if (!value_axes(el, arg->value, &one, arg->span))
        return false;
    if (one.rank != 1) {
        elab_error(el, DIAG_axis_wanted, arg->span, "one axis is needed here, not %d", one.rank);
        return false;
    }
    *axis = one.axes[0];
    return true;
}

bool want_own_axis(Elab *el, Call *call, int index, const Value *tensor, int *at)
{
    Shape axes;
    const char *what = value_describe(el->arena, tensor);
    if (!axes_argument(el, call, index, &tensor->tensor.shape, what, &axes))
        return false;
    if (axes.rank != 1) {
        elab_error(el, DIAG_axis_wanted, positional(call, index)->span, "`%s` works along one axis, not %d", call->name,
                   axes.rank);
        return false;
    }
    *at = shape_find(&tensor->tensor.shape, axes.axes[0].label);
    return true;
}

bool named_dtype(Elab *el, Call *call, DType *dtype)
{
    const Value *value = named_arg(el, call, "dtype");
    if (!value)
        return true;
    if (value->kind == VALUE_type && value->type->kind == TYPE_tensor)
        return type_dtype(el, value->type, dtype);
    if (!is_poison(value))
        elab_error(el, DIAG_type_mismatch, call->span, "`dtype` is an element type such as f64, not %s",
                   value_describe(el->arena, value));
    return false;
}

bool named_integer(Elab *el, Call *call, const char *name, int64_t *integer)
{
    const Value *value = named_arg(el, call, name);
    return !value || want_integer(el, value, value->span.source ? value->span : call->span, name, integer);
}

/* ---- the call ---- */

/* The arguments that can be given by name, or the one that was meant. */
static void note_named(Elab *el, const Builtin *builtin, const char *name)
{
    WordList known = {0};
    Text list = text_new(el->arena);
    for (const char *word = builtin->named + strspn(builtin->named, " "); *word;) {
        size_t length = strcspn(word, " ");
        list_push(el->arena, &known, arena_copy_text(el->arena, word, length));
        text_printf(&list, "%s%.*s", known.count > 1 ? ", " : "", (int)length, word);
        word += length + strspn(word + length, " ");
    }
    if (known.count && !elab_suggest(el, name, known.items, known.count))
        elab_note(el, (Span){0}, "those that can be given by name are %s", list.data);
}

static const Value *check_arguments(Elab *el, const Builtin *builtin, const Call *call)
{
    int count = positional_count(call);
    if (count < builtin->least || (builtin->most >= 0 && count > builtin->most)) {
        const char *range = builtin->most < 0 ? arena_printf(el->arena, "at least %d", builtin->least)
                            : builtin->least < builtin->most
                                ? arena_printf(el->arena, "%d to %d", builtin->least, builtin->most)
                                : arena_printf(el->arena, "%d", builtin->least);
        elab_error(el, DIAG_arity, call->span, "`%s` takes %s argument%s, not %d", builtin->name, range,
                   builtin->most == 1 ? "" : "s", count);
        if (builtin->usage)
            elab_note(el, (Span){0}, "it is written `%s`", builtin->usage);
        return &value_poison;
    }
    for (int i = 0; i < call->count; i++) {
        const char *name = call->args[i].name;
        if (!name || strstr(builtin->named, arena_printf(el->arena, " %s ", name)))
            continue;
        elab_error(el, DIAG_arity, call->args[i].whole, "`%s` has no argument `%s`", builtin->name, name);
        note_named(el, builtin, name);
        return &value_poison;
    }
    return NULL;
}

static const Value *call_pointwise(Elab *el, const Builtin *builtin, Call *call)
{
    const Value *operands[3];
    for (int i = 0; i < builtin->least; i++) {
        operands[i] = arg_value(el, call, i);
        if (operands[i]->kind == VALUE_tuple || operands[i]->kind == VALUE_record || operands[i]->kind == VALUE_list)
            return elab_error(el, DIAG_type_mismatch, positional(call, i)->span, "`%s` works element by element, not on %s",
                              builtin->name, value_describe(el->arena, operands[i]));
    }
    return pointwise(el, call->span, builtin->name, builtin->op, builtin->class, builtin->known, operands, builtin->least);
}

const Value *call_builtin(Elab *el, const Builtin *builtin, Call *call)
{
    if (!call->name)
        call->name = builtin->name;
    const Value *wrong = check_arguments(el, builtin, call);
    if (wrong)
        return wrong;
    return builtin->function ? builtin->function(el, call) : call_pointwise(el, builtin, call);
}
