/* Evaluates the PARTIALS cells of ir/prims.def: a small algebra of factors over the graph builder. */
#include "passes/partials.h"

#include <math.h>

static Partial of_number(double number)
{
    return (Partial){.kind = PARTIAL_number, .negative = number < 0, .number = fabs(number)};
}

static Partial of_value(IrRef ref)
{
    return (Partial){.kind = PARTIAL_value, .ref = ref};
}

static Partial with_sign(Partial partial, bool negative)
{
    partial.negative = negative;
    return partial;
}

/* The factor as a node, its sign left out. */
static IrRef magnitude(const Formula *f, Partial a)
{
    if (a.kind == PARTIAL_number)
        return ir_const(f->into, f->type, a.number);
    if (a.kind == PARTIAL_over)
        return ir_binary(f->into, OP_div, ir_const(f->into, f->type, 1), a.ref);
    return a.ref;
}

static IrRef with_its_sign(const Formula *f, Partial a)
{
    if (a.kind == PARTIAL_number)
        return ir_const(f->into, f->type, a.negative ? -a.number : a.number);
    return a.negative ? ir_unary(f->into, OP_neg, magnitude(f, a)) : magnitude(f, a);
}

static Partial add(const Formula *f, Partial a, Partial b)
{
    IrRef x = magnitude(f, a), y = magnitude(f, b);
    if (a.negative == b.negative)
        return with_sign(of_value(ir_binary(f->into, OP_add, x, y)), a.negative);
    return of_value(a.negative ? ir_binary(f->into, OP_sub, y, x) : ir_binary(f->into, OP_sub, x, y));
}

static Partial negate(Partial a)
{
    return with_sign(a, !a.negative);
}

static bool is_one(Partial a)
{
    return a.kind == PARTIAL_number && a.number == 1;
}

static Partial multiply(const Formula *f, Partial a, Partial b)
{
    bool negative = a.negative != b.negative;
    if (is_one(a))
        return with_sign(b, negative);
    if (is_one(b))
        return with_sign(a, negative);
    return with_sign(of_value(ir_binary(f->into, OP_mul, magnitude(f, a), magnitude(f, b))), negative);
}

static Partial divide(const Formula *f, Partial a, Partial b)
{
    bool negative = a.negative != b.negative;
    if (is_one(a))
        return (Partial){.kind = PARTIAL_over, .negative = negative, .ref = magnitude(f, b)};
    return with_sign(of_value(ir_binary(f->into, OP_div, magnitude(f, a), magnitude(f, b))), negative);
}

static Partial apply1(const Formula *f, IrOp op, Partial a)
{
    return of_value(ir_unary(f->into, op, with_its_sign(f, a)));
}

static Partial apply2(const Formula *f, IrOp op, Partial a, Partial b)
{
    return of_value(ir_binary(f->into, op, with_its_sign(f, a), with_its_sign(f, b)));
}

static Partial mask(Partial condition)
{
    return (Partial){.kind = PARTIAL_mask, .ref = condition.ref};
}

/* `a`, but 0 where `guard` is: there a factor of `a` is 0 and another one may be infinite. */
static Partial unless_zero(const Formula *f, Partial guard, Partial a)
{
    IrRef zero = ir_const(f->into, f->type, 0);
    IrRef vanishes = ir_binary(f->into, OP_eq, magnitude(f, guard), zero);
    return with_sign(of_value(ir_select(f->into, vanishes, zero, magnitude(f, a))), a.negative);
}

/* ---- the words of a cell ---- */

#define X0 of_value(f->x[0])
#define X1 of_value(f->x[1])
#define X2 of_value(f->x[2])
#define Y of_value(f->y)
#define NUM(number) of_number(number)
#define LINEAR(sign) of_number(sign)
#define ZERO ((Partial){PARTIAL_zero, false, 0, 0})
#define ADD(a, b) add(f, a, b)
#define SUB(a, b) add(f, a, negate(b))
#define MUL(a, b) multiply(f, a, b)
#define DIV(a, b) divide(f, a, b)
#define NEG(a) negate(a)
#define EXP(a) apply1(f, OP_exp, a)
#define LOG(a) apply1(f, OP_log, a)
#define SIN(a) apply1(f, OP_sin, a)
#define COS(a) apply1(f, OP_cos, a)
#define FLOOR(a) apply1(f, OP_floor, a)
#define SIGN(a) apply1(f, OP_sign, a)
#define POW(a, b) apply2(f, OP_pow, a, b)
#define UNLESS_0(guard, a) unless_zero(f, guard, a)
#define LE(a, b) apply2(f, OP_le, a, b)
#define LT(a, b) apply2(f, OP_lt, a, b)
#define MASK(condition) mask(condition)

/* One function a row.  An empty cell leaves ZERO as the last item of its list; a row without any cell does not compile. */
#define LAST(...) (((Partial[]){__VA_ARGS__})[sizeof((Partial[]){__VA_ARGS__}) / sizeof(Partial) - 1])
#define OP(name, arity, rule, traits) static Partial partial_##name(const Formula *f, int operand)
#define PARTIALS(d0, d1, d2)                                                                                                   \
    {                                                                                                                          \
        (void)f;                                                                                                               \
        if (operand == 0)                                                                                                      \
            return LAST(ZERO, d0);                                                                                             \
        return operand == 1 ? LAST(ZERO, d1) : LAST(ZERO, d2);                                                                 \
    }
#define NO_PARTIALS                                                                                                            \
    {                                                                                                                          \
        (void)f, (void)operand;                                                                                                \
        return ZERO;                                                                                                           \
    }
#define JVP(rule) NO_PARTIALS
#include "ir/prims.def"

static Partial (*const partial_of_op[OP_COUNT])(const Formula *, int) = {
#define OP(name, arity, rule, traits) [OP_##name] = partial_##name,
#include "ir/prims.def"
};

Partial partial_of(Formula *formula, IrOp op, int operand)
{
    return partial_of_op[op](formula, operand);
}

IrRef partial_times(const Formula *f, Partial partial, IrRef tangent)
{
    switch (partial.kind) {
    case PARTIAL_zero:
        return -1;
    case PARTIAL_over:
        return ir_binary(f->into, OP_div, tangent, partial.ref);
    case PARTIAL_mask:
        return ir_select(f->into, partial.ref, tangent, ir_const(f->into, f->type, 0));
    default:
        return is_one(partial) ? tangent : ir_binary(f->into, OP_mul, magnitude(f, partial), tangent);
    }
}
