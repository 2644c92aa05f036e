/* Algebra of pointwise nodes: neutral elements, signs, casts, conditions. */
#include "passes/simplify.h"

#include <math.h>

static bool is_constant(const IrFunc *func, IrRef ref, double *value)
{
    const IrNode *node = ir_node(func, ref);
    *value = node->value;
    return node->op == OP_const;
}

static bool is_op(const IrFunc *func, IrRef ref, IrOp op)
{
    return ir_node(func, ref)->op == op;
}

static IrRef below(const IrFunc *func, IrRef ref)
{
    return ir_node(func, ref)->operands[0];
}

static IrRef make_unary(IrFunc *func, IrOp op, IrRef x)
{
    return simplify_ref(func, ir_unary(func, op, x));
}

static IrRef make_binary(IrFunc *func, IrOp op, IrRef x, IrRef y)
{
    return simplify_ref(func, ir_binary(func, op, x, y));
}

/* x with a constant that has the other sign. */
static IrRef with_negated(IrFunc *func, IrOp op, IrRef x, const IrNode *constant)
{
    IrType type = constant->type;
    return make_binary(func, op, x, ir_const(func, type, -constant->value));
}

static bool is_exact(const IrNode *node)
{
    return dtype_class(node->type.dtype) == CLASS_int;
}

/* ---- sums ---- */

static IrRef simplify_add(IrFunc *func, const IrNode *node)
{
    double a, b;
    IrRef x = node->operands[0], y = node->operands[1];
    if (is_constant(func, y, &b) && b == 0 && (is_exact(node) || signbit(b)))
        return x;
    if (is_constant(func, x, &a) && a == 0 && (is_exact(node) || signbit(a)))
        return y;
    if (is_op(func, y, OP_neg))
        return make_binary(func, OP_sub, x, below(func, y));
    return is_op(func, x, OP_neg) ? make_binary(func, OP_sub, y, below(func, x)) : -1;
}

static IrRef simplify_sub(IrFunc *func, const IrNode *node)
{
    double a, b;
    IrRef x = node->operands[0], y = node->operands[1];
    if (is_constant(func, y, &b) && b == 0 && (is_exact(node) || !signbit(b)))
        return x;
    if (is_constant(func, x, &a) && a == 0 && (is_exact(node) || signbit(a)))
        return make_unary(func, OP_neg, y);
    if (is_op(func, y, OP_neg))
        return make_binary(func, OP_add, x, below(func, y));
    return is_exact(node) && x == y ? ir_const(func, node->type, 0) : -1;
}

/* ---- products ---- */

static IrRef simplify_mul(IrFunc *func, const IrNode *node)
{
    double value;
    for (int i = 0; i < 2; i++) {
        IrRef x = node->operands[i], y = node->operands[1 - i];
        bool constant = is_constant(func, y, &value);
        if (constant && value == 1)
            return x;
        if (constant && value == -1 && !is_exact(node))
            return make_unary(func, OP_neg, x);
        if (constant && value == 0 && is_exact(node))
            return y;
        if (is_op(func, x, OP_neg) && constant && !is_exact(node))
            return with_negated(func, OP_mul, below(func, x), ir_node(func, y));
        if (is_op(func, x, OP_neg) && !constant)
            return make_unary(func, OP_neg, make_binary(func, OP_mul, below(func, x), y));
    }
    return -1;
}

/* A power of two whose reciprocal is exact: division is multiplication by that. */
static bool has_exact_reciprocal(DType dtype, double value)
{
    int exponent;
    return isfinite(value) && fabs(frexp(value, &exponent)) == 0.5 && dtype_round(dtype, 1 / value) == 1 / value &&
           isfinite(1 / value) && fabs(dtype_round(dtype, 1 / value)) > 0;
}

static IrRef simplify_div(IrFunc *func, const IrNode *node)
{
    double value;
    IrRef x = node->operands[0], y = node->operands[1];
    bool constant = is_constant(func, y, &value);
    if (constant && value == 1)
        return x;
    if (is_exact(node))
        return -1;
    if (constant && has_exact_reciprocal(node->type.dtype, value))
        return make_binary(func, OP_mul, x, ir_const(func, node->type, 1 / value));
    if (is_op(func, x, OP_neg))
        return make_unary(func, OP_neg, make_binary(func, OP_div, below(func, x), y));
    return is_op(func, y, OP_neg) ? make_unary(func, OP_neg, make_binary(func, OP_div, x, below(func, y))) : -1;
}

static IrRef simplify_neg(IrFunc *func, const IrNode *node)
{
    IrRef x = node->operands[0];
    const IrNode *inner = ir_node(func, x);
    if (inner->op == OP_neg)
        return inner->operands[0];
    bool product = inner->op == OP_mul && !is_exact(node);
    for (int i = 0; i < 2 && product; i++)
        if (is_op(func, inner->operands[i], OP_const))
            return with_negated(func, OP_mul, inner->operands[1 - i], ir_node(func, inner->operands[i]));
    return -1;
}

static IrRef simplify_pow(IrFunc *func, const IrNode *node)
{
    double value;
    IrRef x = node->operands[0];
    if (!is_constant(func, node->operands[1], &value))
        return -1;
    if (value == 0)
        return ir_const(func, node->type, 1);
    if (value == 1)
        return x;
    return value == 2 ? make_binary(func, OP_mul, x, x) : -1;
}

/* ---- casts ---- */

/* Every value of `from` is a value of `to`, and a cast from there goes on as it would from here. */
static bool passes_through(DType from, DType to, DType on)
{
    DTypeClass a = dtype_class(from), b = dtype_class(to);
    if (a == CLASS_float)
        return b == CLASS_float && (to == DT_f64 || (to == DT_f32 && from != DT_f64));
    if (b == CLASS_float) /* beyond its range a float saturates, where an integer wraps */
        return dtype_is_float(on) && (to == DT_f64 ? from != DT_i64 : from == DT_u8 || from == DT_bool);
    if (a == CLASS_bool)
        return b == CLASS_int;
    return b == CLASS_int && (from == DT_u8 || (to == DT_i64 && from != DT_i64));
}

static IrRef simplify_cast(IrFunc *func, const IrNode *node)
{
    IrRef x = node->operands[0];
    const IrNode *inner = ir_node(func, x);
    if (inner->type.dtype == node->type.dtype)
        return x;
    if (inner->op != OP_cast)
        return -1;
    IrRef source = inner->operands[0];
    DType from = ir_type_of(func, source)->dtype;
    if (!passes_through(from, inner->type.dtype, node->type.dtype))
        return -1;
    return from == node->type.dtype ? source : simplify_ref(func, ir_cast(func, source, node->type.dtype));
}

/* ---- conditions ---- */

static IrRef simplify_select(IrFunc *func, const IrNode *node)
{
    double value;
    IrRef condition = node->operands[0], yes = node->operands[1], no = node->operands[2];
    if (yes == no)
        return yes;
    if (is_constant(func, condition, &value))
        return value != 0 ? yes : no;
    if (is_op(func, condition, OP_not))
        return simplify_ref(func, ir_select(func, below(func, condition), no, yes));
    return -1;
}

static IrRef simplify_not(IrFunc *func, const IrNode *node)
{
    const IrNode *inner = ir_node(func, node->operands[0]);
    if (inner->op == OP_not)
        return inner->operands[0];
    if (inner->op == OP_eq || inner->op == OP_ne)
        return make_binary(func, inner->op == OP_eq ? OP_ne : OP_eq, inner->operands[0], inner->operands[1]);
    return -1;
}

/* and, or of truths */
static IrRef simplify_logic(IrFunc *func, const IrNode *node)
{
    double value;
    if (node->operands[0] == node->operands[1])
        return node->operands[0];
    for (int i = 0; i < 2 && node->type.dtype == DT_bool; i++) {
        IrRef x = node->operands[i], y = node->operands[1 - i];
        if (is_constant(func, y, &value))
            return (value != 0) == (node->op == OP_and) ? x : y;
    }
    return -1;
}

static IrRef simplify_abs(IrFunc *func, const IrNode *node)
{
    IrRef x = node->operands[0];
    if (is_op(func, x, OP_abs))
        return x;
    return is_op(func, x, OP_neg) && !is_exact(node) ? make_unary(func, OP_abs, below(func, x)) : -1;
}

IrRef simplify_algebra(IrFunc *func, const IrNode *node)
{
    switch (node->op) {
    case OP_add:
        return simplify_add(func, node);
    case OP_sub:
        return simplify_sub(func, node);
    case OP_mul:
        return simplify_mul(func, node);
    case OP_div:
        return simplify_div(func, node);
    case OP_pow:
        return simplify_pow(func, node);
    case OP_neg:
        return simplify_neg(func, node);
    case OP_not:
        return simplify_not(func, node);
    case OP_cast:
        return simplify_cast(func, node);
    case OP_select:
        return simplify_select(func, node);
    case OP_and:
    case OP_or:
        return simplify_logic(func, node);
    case OP_abs:
        return simplify_abs(func, node);
    case OP_max:
    case OP_min:
        return node->operands[0] == node->operands[1] ? node->operands[0] : -1;
    case OP_stop_grad:
        return node->operands[0]; /* derivatives have been expanded */
    default:
        return -1;
    }
}
