/* Single elements of the reference interpreter: the EVAL cells of the table, rounding, wrapping and casts. */
#include "ir/eval.h"

#include <math.h>

/* The y with erf(y) = x: a closed form right to three digits, then two Halley steps.  Near the ends the steps measure by
 * erfc, where 1 - erf(y) would have no digits left. */
static double erfinv(double x)
{
    double side = fabs(x);
    if (!(side < 1))
        return side == 1 ? copysign(INFINITY, x) : NAN;
    double tail = log1p(-side * side), middle = 4.3307467508 + tail / 2; /* 2 / (pi 0.147) */
    double y = sqrt(fmax(0, sqrt(middle * middle - tail / 0.147) - middle));
    for (int step = 0; step < 2; step++) {
        double miss = side < 0.5 ? erf(y) - side : (1 - side) - erfc(y);
        double newton = miss / (1.1283791670955126 * exp(-y * y));
        y -= newton / (1 + y * newton);
    }
    return copysign(y, x);
}

double eval_real(IrOp op, double a, double b, double c)
{
    (void)b, (void)c;
    switch (op) {
    default:
#define OP(name, arity, rule, traits)                                                                                          \
    break;                                                                                                                     \
    case OP_##name:
#define EVAL(expr) return expr;
#include "ir/prims.def"
        break;
    }
    return NAN;
}

int64_t eval_integer(IrOp op, int64_t a, int64_t b, int64_t c)
{
    (void)b, (void)c;
    switch (op) {
    default:
#define OP(name, arity, rule, traits)                                                                                          \
    break;                                                                                                                     \
    case OP_##name:
#define EVALI(expr) return expr;
#include "ir/prims.def"
        break;
    }
    return 0;
}

bool eval_has_real(IrOp op)
{
    switch (op) {
    default:
#define OP(name, arity, rule, traits)                                                                                          \
    break;                                                                                                                     \
    case OP_##name:
#define EVAL(expr) return true;
#include "ir/prims.def"
        break;
    }
    return false;
}

bool eval_has_integer(IrOp op)
{
    switch (op) {
    default:
#define OP(name, arity, rule, traits)                                                                                          \
    break;                                                                                                                     \
    case OP_##name:
#define EVALI(expr) return true;
#include "ir/prims.def"
        break;
    }
    return false;
}

int64_t eval_wrap(DType dtype, int64_t value)
{
    switch (dtype) {
    case DT_i32:
        return (int32_t)(uint32_t)value;
    case DT_u32:
        return (uint32_t)value;
    case DT_u8:
        return (uint8_t)value;
    default:
        return value;
    }
}

static double finish(DType dtype, double value, EvalMode mode)
{
    return mode == EVAL_wide && dtype_is_float(dtype) ? value : dtype_round(dtype, value);
}

static int64_t saturated(DType dtype, double value)
{
    double bounded = dtype_round(dtype, value);
    if (dtype == DT_i64 && bounded >= 0x1p63)
        return INT64_MAX;
    return (int64_t)bounded;
}

EvalElement eval_convert(DType from, DType to, EvalElement x, EvalMode mode)
{
    bool from_int = dtype_class(from) == CLASS_int, to_int = dtype_class(to) == CLASS_int;
    if (from_int && to_int)
        return (EvalElement){.integer = eval_wrap(to, x.integer)};
    if (to_int)
        return (EvalElement){.integer = saturated(to, x.real)};
    if (!from_int)
        return (EvalElement){.real = finish(to, x.real, mode)};
    if (to == DT_f32 && mode == EVAL_declared)
        return (EvalElement){.real = (double)(float)x.integer};
    return (EvalElement){.real = finish(to, (double)x.integer, mode)};
}

EvalElement eval_element(IrOp op, DType operand, DType result, const EvalElement x[3], EvalMode mode)
{
    if (op == OP_cast)
        return eval_convert(operand, result, x[0], mode);
    if (op == OP_select)
        return x[0].real != 0 ? x[1] : x[2];
    if (dtype_class(operand) != CLASS_int)
        return (EvalElement){.real = finish(result, eval_real(op, x[0].real, x[1].real, x[2].real), mode)};
    int64_t value = eval_integer(op, x[0].integer, x[1].integer, x[2].integer);
    if (dtype_class(result) == CLASS_int)
        return (EvalElement){.integer = eval_wrap(result, value)};
    return (EvalElement){.real = (double)value};
}
