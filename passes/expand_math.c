/* Pointwise functions as polynomials over printable operations: one algorithm for f32 and f64, with coefficients by type.
 *
 * Largest errors against exact values, in units in the last place; tests/unit/math_test.c measures them:
 * see passes/expand_bounds.def.  Subnormal results are right to the last place; sin, cos and tan hold
 * for |x| up to 1e5 (f32) and 1e9 (f64) and stay bounded beyond. */
#include "passes/expand_build.h"

#include <math.h>

/* Constants of the two formats: [0] f32, [1] f64. */
static const int64_t ROUNDER_BITS[2] = {0x4b400000, 0x4338000000000000};
static const double LN2_HIGH[2] = {0x1.62ep-1, 0x1.62e42feep-1}; /* times an exponent it is exact */
static const double LN2_LOW[2] = {0x1.0bfbe8e7bcd5ep-15, 0x1.a39ef35793c76p-33};
static const double EXP_LEAST[2] = {-104, -746}, EXP_MOST[2] = {89, 710};
static const double EXPM1_LEAST[2] = {-18, -38};
static const double TANH_MOST[2] = {9.02, 19.1}, ERF_MOST[2] = {4, 6};

/* pi / 2 in three parts of the format's precision. */
static const double HALF_PI[2][3] = {
    {0x1.921fb4p+0, 0x1.4442dp-24, 0x1.846988p-48},
    {0x1.921fb54442d18p+0, 0x1.1a62633145c06p-54, 0x1.c1cd129024e08p-107},
};

/* ---- exponentials ---- */

typedef struct Reduced {
    KRef rounded; /* the count, in the low bits of its mantissa */
    KRef count;   /* an integer, as a float */
    KRef rest;
} Reduced;

/* x = count * ln 2 + rest; |x| has been bounded. */
static Reduced reduce_by_ln2(E *e, KRef x)
{
    KRef rounder = num(e, ROUNDER[e->wide]);
    KRef rounded = fused(e, x, num(e, 1.4426950408889634), rounder);
    KRef count = sub(e, rounded, rounder), n = negated(e, count);
    double high = e->wide ? 0x1.62e42fefa39efp-1 : 0x1.62e43p-1, low = e->wide ? 0x1.abc9e3b39803fp-56 : -0x1.05c610ca86c39p-29;
    KRef rest = fused(e, n, num(e, low), fused(e, n, num(e, high), x));
    return (Reduced){.rounded = rounded, .count = count, .rest = rest};
}

static KRef count_of(E *e, const Reduced *x)
{
    return int2(e, OP_sub, bits_of(e, x->rounded), expand_bits(e, ROUNDER_BITS[e->wide]));
}

/* exp(r) - 1 for small r. */
static KRef expm1_near(E *e, KRef r)
{
    return fused(e, mul(e, r, r), polynomial(e, SERIES_exp, r), r);
}

/* exp(x + extra), where extra is far smaller than x. */
static KRef exp_with(E *e, KRef x, KRef extra)
{
    Reduced x1 = reduce_by_ln2(e, clamped(e, x, EXP_LEAST[e->wide], EXP_MOST[e->wide]));
    KRef r = extra < 0 ? x1.rest : add(e, x1.rest, extra);
    return expand_op(e, K_scale2, e->real, add(e, expm1_near(e, r), num(e, 1)), x1.count, -1);
}

static KRef expand_exp(E *e, const KRef *x)
{
    return exp_with(e, x[0], -1);
}

/* 2^n p + (2^n - 1), halved and doubled for the largest n. */
static KRef expm1_of(E *e, KRef x)
{
    Reduced x1 = reduce_by_ln2(e, x);
    KRef half = power_of_two(e, int2(e, OP_sub, count_of(e, &x1), expand_bits(e, 1)));
    KRef y = fused(e, half, expm1_near(e, x1.rest), sub(e, half, num(e, 0.5)));
    return add(e, y, y);
}

static KRef expand_expm1(E *e, const KRef *x)
{
    return expm1_of(e, clamped(e, x[0], EXPM1_LEAST[e->wide], EXP_MOST[e->wide]));
}

static KRef expand_tanh(E *e, const KRef *x)
{
    KRef a = real2(e, OP_min, magnitude(e, x[0]), num(e, TANH_MOST[e->wide]));
    KRef t = expm1_of(e, add(e, a, a));
    return with_sign_of(e, quotient(e, t, add(e, t, num(e, 2))), x[0]);
}

static KRef expand_sigmoid(E *e, const KRef *x)
{
    KRef one = num(e, 1);
    return quotient(e, one, add(e, one, exp_with(e, negated(e, x[0]), -1)));
}

/* ---- logarithms ---- */

/* s = f / (2 + f); log(1 + f) = 2 s + s * tail. */
typedef struct LogSeries {
    KRef power, f, s, tail;
} LogSeries;

static LogSeries split_for_log(E *e, KRef x)
{
    Mantissa mantissa = split_mantissa(e, x);
    LogSeries m = {.power = mantissa.power, .f = mantissa.f};
    m.s = quotient(e, m.f, add(e, num(e, 2), m.f));
    KRef z = mul(e, m.s, m.s);
    m.tail = mul(e, z, polynomial(e, SERIES_log, z));
    return m;
}

static KRef log_of(E *e, KRef x)
{
    LogSeries m = split_for_log(e, x);
    KRef half_square = mul(e, mul(e, num(e, 0.5), m.f), m.f);
    KRef inner = mul(e, m.s, add(e, half_square, m.tail));
    KRef low = fused(e, m.power, num(e, LN2_LOW[e->wide]), inner);
    KRef rest = sub(e, sub(e, half_square, low), m.f);
    KRef y = sub(e, mul(e, m.power, num(e, LN2_HIGH[e->wide])), rest);
    return log_or_edge(e, x, y);
}

static KRef expand_log(E *e, const KRef *x)
{
    return log_of(e, x[0]);
}

/* log of u = 1 + x rounded, and what rounding lost. */
static KRef expand_log1p(E *e, const KRef *x)
{
    KRef one = num(e, 1), zero = num(e, 0);
    KRef u = add(e, x[0], one);
    KRef lost = quotient(e, sub(e, x[0], sub(e, u, one)), u);
    KRef positive = test(e, OP_lt, zero, u), finite = test(e, OP_lt, u, num(e, INFINITY));
    lost = either(e, expand_op(e, OP_and, DT_bool, positive, finite, -1), lost, zero);
    return add(e, e->fast ? expand_fast_log(e, u) : log_of(e, u), lost);
}

/* ---- powers ---- */

/* A number as the sum of two, the second far smaller. */
typedef struct Pair {
    KRef high, low;
} Pair;

/* a + b, where |a| >= |b| or a is 0. */
static Pair exact_sum(E *e, KRef a, KRef b)
{
    KRef high = add(e, a, b);
    return (Pair){.high = high, .low = sub(e, b, sub(e, high, a))};
}

static Pair exact_product(E *e, KRef a, KRef b)
{
    KRef high = mul(e, a, b);
    return (Pair){.high = high, .low = fused(e, a, b, negated(e, high))};
}

static Pair pair_product(E *e, Pair a, Pair b)
{
    Pair p = exact_product(e, a.high, b.high);
    p.low = fused(e, a.low, b.high, fused(e, a.high, b.low, p.low));
    return p;
}

/* f / (2 + f) with what rounding lost. */
static Pair pair_ratio(E *e, const LogSeries *m)
{
    Pair below = exact_sum(e, num(e, 2), m->f);
    KRef s = negated(e, m->s);
    KRef remainder = fused(e, s, below.low, fused(e, s, below.high, m->f));
    return (Pair){.high = m->s, .low = quotient(e, remainder, below.high)};
}

/* b * log(a) for a > 0.  The exponential that follows magnifies errors by up to 745, so that even the first terms of the series
 * are needed to twice the precision. */
static Pair scaled_log(E *e, KRef a, KRef b)
{
    LogSeries m = split_for_log(e, a);
    Pair s = pair_ratio(e, &m), z = pair_product(e, s, s);
    double first = expand_series[SERIES_log][e->wide].items[0];
    KRef others = mul(e, z.high, polynomial_from(e, SERIES_log, 1, z.high));
    Pair factor = exact_sum(e, num(e, first), others);
    double lost = e->wide ? 0x1.5555555555555p-55 : first - (double)(float)first; /* in f64 it is 2/3 */
    factor.low = add(e, factor.low, num(e, lost));
    Pair tail = pair_product(e, s, pair_product(e, z, factor));
    Pair mantissa = exact_sum(e, add(e, s.high, s.high), tail.high);
    KRef low = add(e, mantissa.low, add(e, add(e, s.low, s.low), tail.low));
    Pair sum = exact_sum(e, mul(e, m.power, num(e, LN2_HIGH[e->wide])), mantissa.high);
    low = add(e, low, fused(e, m.power, num(e, LN2_LOW[e->wide]), sum.low));
    Pair log = exact_sum(e, sum.high, low);
    Pair product = exact_product(e, b, log.high);
    KRef tame = test(e, OP_lt, magnitude(e, product.high), num(e, 1000));
    product.low = either(e, tame, fused(e, b, log.low, product.low), num(e, 0));
    return product;
}

/* Signs, zeros and infinities of pow as C has them; y is |a|^b. */
static KRef finish_power(E *e, KRef a, KRef b, KRef y)
{
    KRef zero = num(e, 0), one = num(e, 1), infinity = num(e, INFINITY), size = magnitude(e, a);
    KRef falls = test(e, OP_lt, b, zero);
    y = either(e, test(e, OP_eq, size, zero), either(e, falls, infinity, zero), y);
    y = either(e, test(e, OP_eq, size, infinity), either(e, falls, zero, infinity), y);
    y = either(e, test(e, OP_eq, size, one), one, y);
    KRef whole = test(e, OP_eq, real1(e, OP_floor, b), b), half = mul(e, b, num(e, 0.5));
    KRef odd = expand_op(e, OP_and, DT_bool, whole, test(e, OP_ne, real1(e, OP_floor, half), half), -1);
    KRef negative = expand_op(e, OP_lt, DT_bool, bits_of(e, a), expand_bits(e, 0), -1);
    y = either(e, expand_op(e, OP_and, DT_bool, negative, odd, -1), negated(e, y), y);
    KRef below = expand_op(e, OP_and, DT_bool, test(e, OP_lt, a, zero), test(e, OP_lt, num(e, -INFINITY), a), -1);
    KRef no_value = expand_op(e, OP_and, DT_bool, below, expand_op(e, OP_not, DT_bool, whole, -1, -1), -1);
    KRef unordered = expand_op(e, OP_or, DT_bool, test(e, OP_ne, a, a), test(e, OP_ne, b, b), -1);
    y = either(e, expand_op(e, OP_or, DT_bool, no_value, unordered, -1), num(e, NAN), y);
    KRef sure = expand_op(e, OP_or, DT_bool, test(e, OP_eq, b, zero), test(e, OP_eq, a, one), -1);
    return either(e, sure, one, y);
}

/* The exponent, if it is a known number. */
static bool known_number(const E *e, KRef ref, double *value)
{
    const KInst *inst = &e->stage->insts.items[ref];
    *value = inst->value;
    return inst->op == K_value;
}

static KRef whole_power(E *e, KRef a, int exponent)
{
    if (exponent == 1)
        return a;
    KRef half = whole_power(e, a, exponent / 2);
    KRef square = mul(e, half, half);
    return exponent % 2 ? mul(e, square, a) : square;
}

static KRef expand_pow(E *e, const KRef *x)
{
    double known;
    if (known_number(e, x[1], &known)) {
        if (known == 1 || known == 2 || known == 3 || known == 4)
            return whole_power(e, x[0], (int)known);
        if (known == -1 || known == -2)
            return quotient(e, num(e, 1), whole_power(e, x[0], -(int)known));
    }
    KRef a = magnitude(e, x[0]);
    if (e->fast)
        return finish_power(e, x[0], x[1], expand_fast_exp(e, mul(e, x[1], log_of(e, a))));
    Pair product = scaled_log(e, a, x[1]);
    return finish_power(e, x[0], x[1], exp_with(e, product.high, product.low));
}

static KRef expand_rsqrt(E *e, const KRef *x)
{
    return quotient(e, num(e, 1), real1(e, OP_sqrt, x[0]));
}

/* ---- circular functions ---- */

typedef struct Angle {
    KRef quarter;      /* how many quarter turns, in the low bits of an integer */
    KRef sine, cosine; /* of what is left */
} Angle;

static Angle reduce_angle(E *e, KRef x)
{
    KRef rounder = num(e, ROUNDER[e->wide]);
    KRef rounded = fused(e, x, num(e, 0.63661977236758134), rounder);
    KRef n = sub(e, rounded, rounder), r = x;
    for (int part = 0; part < 3; part++)
        r = fused(e, n, num(e, -HALF_PI[e->wide][part]), r);
    r = clamped(e, r, -1, 1);
    KRef z = mul(e, r, r);
    KRef sine = fused(e, mul(e, r, z), polynomial(e, e->fast ? SERIES_sin_fast : SERIES_sin, z), r);
    KRef start = fused(e, z, num(e, -0.5), num(e, 1));
    KRef cosine = fused(e, mul(e, z, z), polynomial(e, e->fast ? SERIES_cos_fast : SERIES_cos, z), start);
    return (Angle){.quarter = bits_of(e, rounded), .sine = sine, .cosine = cosine};
}

/* Negates where bit `bit` of the integer is set. */
static KRef signed_by_bit(E *e, KRef value, KRef integer, int bit)
{
    KRef flag = int2(e, OP_and, integer, expand_bits(e, (int64_t)1 << bit));
    KRef sign = shifted(e, OP_shl, flag, MANTISSA[e->wide] + (e->wide ? 11 : 8) - bit);
    return float_of(e, int2(e, OP_xor, bits_of(e, value), sign));
}

static KRef is_odd(E *e, KRef integer)
{
    KRef bit = int2(e, OP_and, integer, expand_bits(e, 1));
    return test(e, OP_ne, bit, expand_bits(e, 0));
}

static KRef expand_sin(E *e, const KRef *x)
{
    Angle a = reduce_angle(e, x[0]);
    KRef y = signed_by_bit(e, either(e, is_odd(e, a.quarter), a.cosine, a.sine), a.quarter, 1);
    return either(e, test(e, OP_eq, x[0], num(e, 0)), x[0], y); /* -0 would lose its sign */
}

static KRef expand_cos(E *e, const KRef *x)
{
    Angle a = reduce_angle(e, x[0]);
    KRef next = int2(e, OP_add, a.quarter, expand_bits(e, 1));
    return signed_by_bit(e, either(e, is_odd(e, a.quarter), a.sine, a.cosine), next, 1);
}

static KRef expand_tan(E *e, const KRef *x)
{
    Angle a = reduce_angle(e, x[0]);
    KRef odd = is_odd(e, a.quarter);
    KRef y = quotient(e, either(e, odd, a.cosine, a.sine), either(e, odd, a.sine, a.cosine));
    return either(e, test(e, OP_eq, x[0], num(e, 0)), x[0], signed_by_bit(e, y, a.quarter, 0));
}

/* atan(u) for u in [0, 1]. */
static KRef atan_near(E *e, KRef u)
{
    KRef z = mul(e, u, u);
    return fused(e, mul(e, u, z), polynomial(e, SERIES_atan, z), u);
}

/* turns * pi / 2 - angle. */
static KRef complement(E *e, double turns, KRef angle)
{
    KRef low = num(e, turns * HALF_PI[e->wide][1]);
    return sub(e, num(e, turns * HALF_PI[e->wide][0]), sub(e, angle, low));
}

static KRef expand_atan(E *e, const KRef *x)
{
    KRef a = magnitude(e, x[0]), one = num(e, 1), steep = test(e, OP_lt, one, a);
    KRef y = atan_near(e, either(e, steep, quotient(e, one, a), a));
    return with_sign_of(e, either(e, steep, complement(e, 1, y), y), x[0]);
}

static KRef expand_atan2(E *e, const KRef *x)
{
    KRef up = magnitude(e, x[0]), across = magnitude(e, x[1]), zero = num(e, 0), one = num(e, 1);
    KRef most = real2(e, OP_max, up, across), least = real2(e, OP_min, up, across);
    KRef ratio = quotient(e, least, most);
    ratio = either(e, test(e, OP_eq, least, num(e, INFINITY)), one, ratio);
    KRef y = atan_near(e, either(e, test(e, OP_eq, most, zero), zero, ratio));
    y = either(e, test(e, OP_lt, across, up), complement(e, 1, y), y);
    KRef behind = expand_op(e, OP_lt, DT_bool, bits_of(e, x[1]), expand_bits(e, 0), -1);
    return with_sign_of(e, either(e, behind, complement(e, 2, y), y), x[0]);
}

/* ---- the error function ---- */

static KRef expand_erf(E *e, const KRef *x)
{
    KRef a = magnitude(e, x[0]);
    KRef near = fused(e, a, polynomial(e, SERIES_erf_near, mul(e, a, a)), a);
    KRef bounded = real2(e, OP_min, a, num(e, ERF_MOST[e->wide]));
    KRef exponent = polynomial(e, SERIES_erf_far, sub(e, bounded, num(e, 1)));
    Reduced x1 = reduce_by_ln2(e, negated(e, exponent));
    KRef rest = mul(e, add(e, expm1_near(e, x1.rest), num(e, 1)), power_of_two(e, count_of(e, &x1)));
    KRef far = sub(e, num(e, 1), rest);
    return with_sign_of(e, either(e, test(e, OP_lt, a, num(e, 0.925)), near, far), x[0]);
}

static KRef expand_erfinv(E *e, const KRef *x)
{
    KRef one = num(e, 1);
    KRef w = negated(e, log_of(e, fused(e, negated(e, x[0]), x[0], one)));
    KRef root = real1(e, OP_sqrt, w);
    KRef p = polynomial(e, SERIES_erfinv_a, sub(e, w, num(e, e->wide ? 3.125 : 2.5)));
    KRef q = polynomial(e, SERIES_erfinv_b, sub(e, root, num(e, e->wide ? 3.25 : 3)));
    p = either(e, test(e, OP_lt, w, num(e, e->wide ? 6.25 : 5)), p, q);
    if (e->wide) {
        KRef far = polynomial(e, SERIES_erfinv_c, sub(e, root, num(e, 5)));
        p = either(e, test(e, OP_lt, root, num(e, 4)), p, far);
    }
    KRef at_end = test(e, OP_eq, magnitude(e, x[0]), one);
    return mul(e, x[0], either(e, at_end, num(e, INFINITY), p));
}

/* ---- small ones ---- */

static KRef expand_sign(E *e, const KRef *x)
{
    KRef zero = num(e, 0);
    KRef rest = either(e, test(e, OP_lt, zero, x[0]), num(e, 1), zero);
    return either(e, test(e, OP_lt, x[0], zero), num(e, -1), rest);
}

static KRef expand_round(E *e, const KRef *x)
{
    return real1(e, K_rint, x[0]);
}

static KRef expand_is_finite(E *e, const KRef *x)
{
    return test(e, OP_lt, magnitude(e, x[0]), num(e, INFINITY));
}

/* a - b floor(a / b); where the quotient was rounded up to an integer, one b too many has gone. */
static KRef expand_rem(E *e, const KRef *x)
{
    KRef zero = num(e, 0), q = real1(e, OP_floor, quotient(e, x[0], x[1]));
    KRef r = fused(e, negated(e, q), x[1], x[0]);
    KRef differs = test(e, OP_lt, mul(e, with_sign_of(e, num(e, 1), x[1]), r), zero);
    return either(e, differs, add(e, r, x[1]), r);
}

KRef expand_function(Expander *e, int op, const KRef *args)
{
    typedef KRef Expansion(E * e, const KRef *args);
    static Expansion *const expansions[OP_COUNT] = {
        [OP_exp] = expand_exp,
        [OP_expm1] = expand_expm1,
        [OP_log] = expand_log,
        [OP_log1p] = expand_log1p,
        [OP_sin] = expand_sin,
        [OP_cos] = expand_cos,
        [OP_tan] = expand_tan,
        [OP_atan] = expand_atan,
        [OP_atan2] = expand_atan2,
        [OP_tanh] = expand_tanh,
        [OP_sigmoid] = expand_sigmoid,
        [OP_erf] = expand_erf,
        [OP_erfinv] = expand_erfinv,
        [OP_pow] = expand_pow,
        [OP_rsqrt] = expand_rsqrt,
        [OP_round] = expand_round,
        [OP_rem] = expand_rem,
        [OP_sign] = expand_sign,
        [OP_is_finite] = expand_is_finite,
    };
    KRef fast = e->fast ? expand_fast_function(e, op, args) : -1;
    return fast >= 0 ? fast : expansions[op] ? expansions[op](e, args) : -1;
}
