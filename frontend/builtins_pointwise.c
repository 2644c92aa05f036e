/* Builtins made of pointwise primitives: powers, extremes, activations, casts by example. */
#include "frontend/builtins.h"

#include <math.h>

static const Value *number(Elab *el, double value)
{
    return value_real(el->arena, value);
}

static const Value *call_row(Elab *el, Span at, const char *name, const Value *const *operands, int count)
{
    const Builtin *row = builtin_find(name);
    return pointwise(el, at, name, row->op, row->class, row->known, operands, count);
}

static const Value *unary(Elab *el, Span at, const char *name, const Value *x)
{
    return call_row(el, at, name, &x, 1);
}

static double known_min(double a, double b, double c)
{
    (void)c;
    return isnan(a) || a <= b ? a : b;
}

static double known_max(double a, double b, double c)
{
    (void)c;
    return isnan(a) || a >= b ? a : b;
}

static const Value *smaller(Elab *el, Span at, const char *name, const Value *a, const Value *b)
{
    return pointwise(el, at, name, OP_min, POINT_number, known_min, (const Value *[]){a, b}, 2);
}

static const Value *larger(Elab *el, Span at, const char *name, const Value *a, const Value *b)
{
    return pointwise(el, at, name, OP_max, POINT_number, known_max, (const Value *[]){a, b}, 2);
}

const Value *builtin_pow(Elab *el, Call *call)
{
    const Value *a = arg_value(el, call, 0), *b = arg_value(el, call, 1);
    return is_poison(a) || is_poison(b) ? &value_poison : arithmetic(el, call->span, AST_pow, a, b);
}

bool argument_names_axes(Elab *el, Call *call, int index, const Value *tensor)
{
    const Argument *arg = positional(call, index);
    const Value *value = arg->value;
    if (!value && arg->expr->kind == EXPR_list)
        return true;
    if (!value && arg->expr->kind == EXPR_name) {
        const Local *binding = env_find(call->env, arg->expr->name, NULL);
        if (binding)
            value = binding->value;
        Label *label = label_existing(el, call->env, arg->expr->name);
        if (!value && label)
            return tensor->kind == VALUE_tensor && shape_find(&tensor->tensor.shape, label) >= 0;
    }
    if (!value)
        return false;
    if (value->kind == VALUE_list)
        return true;
    return value->kind == VALUE_axis && tensor->kind == VALUE_tensor &&
           shape_find(&tensor->tensor.shape, value->axis.label) >= 0;
}

static const Value *extreme(Elab *el, Call *call, IrOp reduction, bool least)
{
    const Value *x = arg_value(el, call, 0);
    if (is_poison(x))
        return x;
    if (positional_count(call) == 1 || argument_names_axes(el, call, 1, x))
        return reduce_argument(el, call, reduction, 1);
    const Value *y = arg_value(el, call, 1);
    return least ? smaller(el, call->span, "min", x, y) : larger(el, call->span, "max", x, y);
}

const Value *builtin_min(Elab *el, Call *call)
{
    return extreme(el, call, OP_reduce_min, true);
}

const Value *builtin_max(Elab *el, Call *call)
{
    return extreme(el, call, OP_reduce_max, false);
}

const Value *builtin_clamp(Elab *el, Call *call)
{
    const Value *x = larger(el, call->span, "clamp", arg_value(el, call, 0), arg_value(el, call, 1));
    return smaller(el, call->span, "clamp", x, arg_value(el, call, 2));
}

const Value *builtin_log2(Elab *el, Call *call)
{
    Number known;
    const Value *x = arg_value(el, call, 0);
    if (value_as_number(x, &known))
        return number(el, log2(known.real));
    return arithmetic(el, call->span, AST_mul, unary(el, call->span, "log", x), number(el, 1 / M_LN2));
}

const Value *builtin_exp2(Elab *el, Call *call)
{
    Number known;
    const Value *x = arg_value(el, call, 0);
    if (value_as_number(x, &known))
        return number(el, exp2(known.real));
    return unary(el, call->span, "exp", arithmetic(el, call->span, AST_mul, x, number(el, M_LN2)));
}

const Value *builtin_silu(Elab *el, Call *call)
{
    const Value *x = arg_value(el, call, 0);
    return arithmetic(el, call->span, AST_mul, x, unary(el, call->span, "sigmoid", x));
}

const Value *builtin_relu(Elab *el, Call *call)
{
    return larger(el, call->span, "relu", arg_value(el, call, 0), number(el, 0));
}

/* x Phi(x), with the exact distribution function. */
const Value *builtin_gelu(Elab *el, Call *call)
{
    const Value *x = arg_value(el, call, 0);
    const Value *e = unary(el, call->span, "erf", arithmetic(el, call->span, AST_mul, x, number(el, M_SQRT1_2)));
    const Value *half = arithmetic(el, call->span, AST_mul, x, number(el, 0.5));
    return arithmetic(el, call->span, AST_mul, half, arithmetic(el, call->span, AST_add, e, number(el, 1)));
}

/* log(1 + e^x) without overflow: max(x, 0) + log1p(e^-|x|). */
const Value *builtin_softplus(Elab *el, Call *call)
{
    Span at = call->span;
    const Value *x = arg_value(el, call, 0);
    const Value *tail = unary(el, at, "log1p", unary(el, at, "exp", negate(el, at, unary(el, at, "abs", x))));
    return arithmetic(el, at, AST_add, larger(el, at, "softplus", x, number(el, 0)), tail);
}

static const Value *stop_part(Elab *el, const Value *part, void *state)
{
    const Span *at = state;
    if (!is_float_tensor(part))
        return part;
    return pointwise(el, *at, "stop_grad", OP_stop_grad, POINT_float, NULL, &part, 1);
}

const Value *builtin_stop_grad(Elab *el, Call *call)
{
    return tree_map(el, arg_value(el, call, 0), stop_part, &call->span);
}

const Value *builtin_cast_like(Elab *el, Call *call)
{
    const Value *x = arg_value(el, call, 0), *like = arg_value(el, call, 1);
    Number known;
    if (is_poison(x) || is_poison(like))
        return &value_poison;
    DType dtype = like->kind == VALUE_tensor ? like->tensor.dtype : DT_f32;
    if (x->kind == VALUE_tensor)
        return like->kind == VALUE_tensor ? tensor_cast(el, call->span, x, dtype) : x;
    if (value_as_number(x, &known) && like->kind == VALUE_tensor)
        return tensor_from_number(el, call->span, x, dtype);
    return x;
}
