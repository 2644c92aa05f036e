/* precision = fast: functions of f32 by short polynomials, with errors as passes/expand_bounds.def states them.  Those that
 * only take a shorter series or one of these functions do so in expand_math.c: sin, cos, tan, log1p, pow.  The others, which
 * programs call seldom, are exact. */
#include "passes/expand_build.h"

#include <math.h>

/* x = (count + rest) ln 2; |x| has been bounded. */
typedef struct Reduced {
    KRef count, rest;
} Reduced;

static Reduced reduce(E *e, KRef x)
{
    KRef rounder = num(e, ROUNDER[0]), scale = num(e, 1.4426950408889634);
    KRef count = sub(e, fused(e, x, scale, rounder), rounder);
    return (Reduced){.count = count, .rest = fused(e, x, scale, negated(e, count))};
}

static KRef scaled(E *e, KRef x, KRef count)
{
    return expand_op(e, K_scale2, e->real, x, count, -1);
}

KRef expand_fast_exp(Expander *e, KRef x)
{
    Reduced x1 = reduce(e, clamped(e, x, -104, 89));
    return scaled(e, fused(e, x1.rest, polynomial(e, SERIES_exp2_fast, x1.rest), num(e, 1)), x1.count);
}

static KRef fast_exp(E *e, const KRef *x)
{
    return expand_fast_exp(e, x[0]);
}

static KRef fast_sigmoid(E *e, const KRef *x)
{
    KRef one = num(e, 1);
    return quotient(e, one, add(e, one, expand_fast_exp(e, negated(e, x[0]))));
}

/* t / (t + 2), t = exp(2 |x|) - 1 = 2^count f P(f) + (2^count - 1). */
static KRef fast_tanh(E *e, const KRef *x)
{
    KRef a = real2(e, OP_min, magnitude(e, x[0]), num(e, 9.02)), one = num(e, 1);
    Reduced x1 = reduce(e, add(e, a, a));
    KRef power = scaled(e, one, x1.count), near = mul(e, x1.rest, polynomial(e, SERIES_exp2_fast, x1.rest));
    KRef t = fused(e, power, near, sub(e, power, one));
    return with_sign_of(e, quotient(e, t, add(e, t, num(e, 2))), x[0]);
}

/* power ln 2 + f P(f). */
KRef expand_fast_log(Expander *e, KRef x)
{
    Mantissa m = split_mantissa(e, x);
    KRef y = fused(e, m.power, num(e, 0.69314718055994531), mul(e, m.f, polynomial(e, SERIES_log_fast, m.f)));
    return log_or_edge(e, x, y);
}

static KRef fast_log(E *e, const KRef *x)
{
    return expand_fast_log(e, x[0]);
}

/* The polynomial ends a little beyond 1, so that the bounds make it 1 from there on. */
static KRef fast_erf(E *e, const KRef *x)
{
    KRef bounded = clamped(e, x[0], -3.05, 3.05);
    return clamped(e, mul(e, bounded, polynomial(e, SERIES_erf_fast, mul(e, bounded, bounded))), -1, 1);
}

KRef expand_fast_function(Expander *e, int op, const KRef *args)
{
    typedef KRef Expansion(E * e, const KRef *args);
    static Expansion *const expansions[OP_COUNT] = {
        [OP_exp] = fast_exp, [OP_sigmoid] = fast_sigmoid, [OP_tanh] = fast_tanh, [OP_log] = fast_log, [OP_erf] = fast_erf,
    };
    return expansions[op] ? expansions[op](e, args) : -1;
}
