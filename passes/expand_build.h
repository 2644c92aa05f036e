/* The vocabulary of expand_math.c and expand_fast.c: arithmetic on the values of a kernel, polynomials, bits of floats. */
#ifndef CM_PASSES_EXPAND_BUILD_H
#define CM_PASSES_EXPAND_BUILD_H

#include "passes/expand_internal.h"

#include <math.h>

/* ---- coefficients ---- */

typedef struct Row {
    int count;
    const double *items;
} Row;

typedef enum SeriesName {
#define SERIES(name, meaning, ...) SERIES_##name,
#include "passes/expand_series.def"
    SERIES_COUNT
} SeriesName;

extern const Row expand_series[SERIES_COUNT][2]; /* [0] f32, [1] f64 */

/* Constants of the two formats: [0] f32, [1] f64. */
static const int64_t MANTISSA[2] = {23, 52}, BIAS[2] = {127, 1023};
static const double LEAST_NORMAL[2] = {0x1p-126, 0x1p-1022};
static const int64_t SQRT_HALF_BITS[2] = {0x3f3504f3, 0x3fe6a09e667f3bcd};
static const int64_t SIGN_BIT[2] = {INT32_MIN, INT64_MIN};
static const double ROUNDER[2] = {12582912.0, 6755399441055744.0}; /* 1.5 * 2^mantissa: adding it rounds to integers */

/* ---- building ---- */

typedef Expander E;

static inline KRef num(E *e, double value)
{
    return expand_real(e, value);
}

static inline KRef real1(E *e, int op, KRef a)
{
    return expand_op(e, op, e->real, a, -1, -1);
}

static inline KRef real2(E *e, int op, KRef a, KRef b)
{
    return expand_op(e, op, e->real, a, b, -1);
}

static inline KRef add(E *e, KRef a, KRef b)
{
    return real2(e, OP_add, a, b);
}

static inline KRef sub(E *e, KRef a, KRef b)
{
    return real2(e, OP_sub, a, b);
}

static inline KRef mul(E *e, KRef a, KRef b)
{
    return real2(e, OP_mul, a, b);
}

static inline KRef quotient(E *e, KRef a, KRef b)
{
    return real2(e, OP_div, a, b);
}

static inline KRef fused(E *e, KRef a, KRef b, KRef c)
{
    return expand_op(e, K_fma, e->real, a, b, c);
}

static inline KRef negated(E *e, KRef a)
{
    return real1(e, OP_neg, a);
}

static inline KRef magnitude(E *e, KRef a)
{
    return real1(e, OP_abs, a);
}

static inline KRef test(E *e, int op, KRef a, KRef b)
{
    return expand_op(e, op, DT_bool, a, b, -1);
}

static inline KRef either(E *e, KRef condition, KRef yes, KRef no)
{
    return expand_op(e, OP_select, e->real, condition, yes, no);
}

/* NaN stays NaN. */
static inline KRef clamped(E *e, KRef a, double least, double most)
{
    return real2(e, OP_min, real2(e, OP_max, a, num(e, least)), num(e, most));
}

static inline KRef int2(E *e, int op, KRef a, KRef b)
{
    return expand_op(e, op, e->bits, a, b, -1);
}

static inline KRef bits_of(E *e, KRef a)
{
    return expand_op(e, K_bits_of, e->bits, a, -1, -1);
}

static inline KRef float_of(E *e, KRef a)
{
    return expand_op(e, K_float_of, e->real, a, -1, -1);
}

/* Shifts of the table stop at 31. */
static inline KRef shifted(E *e, int op, KRef a, int64_t count)
{
    for (; count > 31; count -= 31)
        a = int2(e, op, a, expand_bits(e, 31));
    return int2(e, op, a, expand_bits(e, count));
}

/* The series from its coefficient `first` on, by Horner's rule. */
static inline KRef polynomial_from(E *e, SeriesName name, int first, KRef x)
{
    const Row *row = &expand_series[name][e->wide];
    KRef sum = num(e, row->items[row->count - 1]);
    for (int i = row->count - 2; i >= first; i--)
        sum = fused(e, sum, x, num(e, row->items[i]));
    return sum;
}

static inline KRef polynomial(E *e, SeriesName name, KRef x)
{
    return polynomial_from(e, name, 0, x);
}

static inline KRef with_sign_of(E *e, KRef value, KRef sign)
{
    KRef bit = int2(e, OP_and, bits_of(e, sign), expand_bits(e, SIGN_BIT[e->wide]));
    return float_of(e, int2(e, OP_or, bits_of(e, value), bit));
}

/* 2^k for k in the range of normal numbers. */
static inline KRef power_of_two(E *e, KRef k)
{
    KRef biased = int2(e, OP_add, k, expand_bits(e, BIAS[e->wide]));
    return float_of(e, shifted(e, OP_shl, biased, MANTISSA[e->wide]));
}

/* ---- logarithms ---- */

typedef struct Mantissa { /* x = 2^power * (1 + f), 1 + f between sqrt(1/2) and sqrt(2) */
    KRef power, f;
} Mantissa;

static inline Mantissa split_mantissa(E *e, KRef x)
{
    KRef small = test(e, OP_lt, x, num(e, LEAST_NORMAL[e->wide]));
    double lift = (double)MANTISSA[e->wide] + 1;
    KRef bits = bits_of(e, either(e, small, mul(e, x, num(e, ldexp(1, (int)lift))), x));
    KRef above = int2(e, OP_sub, bits, expand_bits(e, SQRT_HALF_BITS[e->wide]));
    KRef power = shifted(e, OP_shr, above, MANTISSA[e->wide]);
    KRef one_plus_f = float_of(e, int2(e, OP_sub, bits, shifted(e, OP_shl, power, MANTISSA[e->wide])));
    Mantissa m = {.f = sub(e, one_plus_f, num(e, 1))};
    m.power = sub(e, real1(e, OP_cast, power), either(e, small, num(e, lift), num(e, 0)));
    return m;
}

/* `y` where x has a finite logarithm; else -inf, inf or NaN. */
static inline KRef log_or_edge(E *e, KRef x, KRef y)
{
    KRef zero = num(e, 0), infinity = num(e, INFINITY);
    KRef outside = either(e, test(e, OP_eq, x, zero), num(e, -INFINITY), num(e, NAN));
    y = either(e, test(e, OP_lt, zero, x), y, outside);
    return either(e, test(e, OP_eq, x, infinity), infinity, y);
}

#endif
