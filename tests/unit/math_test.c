/* The errors of generated pointwise functions, against the C library's long doubles: none exceeds passes/expand_bounds.def,
 * neither of exact ones nor of fast ones. */
#include "tests/unit/kernel_run.h"

#include "passes/passes.h"

#include <math.h>
#include <stdio.h>

typedef enum Format { FORMAT_SINGLE, FORMAT_WIDE, FORMAT_FAST, FORMATS } Format; /* f32, f64, and f32 by short polynomials */
static const char *const format_names[] = {"f32", "f64", "fast f32"};

typedef struct Bound {
    IrOp op;
    double most[FORMATS], low, high;
} Bound;
static const Bound bounds[] = {
#define BOUND(op, single, wide, low, high) {OP_##op, {single, wide}, low, high},
#include "passes/expand_bounds.def"
};
static const Bound fast_bounds[] = {
#define FAST(op, fast, low, high) {OP_##op, {0, 0, fast}, low, high},
#include "passes/expand_bounds.def"
};
enum { BOUND_COUNT = sizeof bounds / sizeof *bounds, FAST_COUNT = sizeof fast_bounds / sizeof *fast_bounds, SAMPLES = 1 << 17 };

/* ---- what is right ---- */

static long double exact_erfinv(long double x)
{
    long double side = fabsl(x);
    if (side == 1)
        return copysignl(INFINITY, x);
    if (!(side < 1))
        return NAN;
    long double tail = logl((1 - side) * (1 + side)), middle = 4.3307467508L + tail / 2;
    long double y = sqrtl(sqrtl(middle * middle - tail / 0.147L) - middle);
    if (side < 1e-3L)
        y = side * 0.886226925452758013649L;
    for (int step = 0; step < 4; step++) {
        long double miss = side < 0.5L ? erfl(y) - side : (1 - side) - erfcl(y);
        y -= miss / (1.12837916709551257390L * expl(-y * y) + miss * y);
    }
    return copysignl(y, x);
}

static long double exact(IrOp op, long double a, long double b)
{
    switch (op) {
    case OP_exp:
        return expl(a);
    case OP_expm1:
        return expm1l(a);
    case OP_log:
        return logl(a);
    case OP_log1p:
        return log1pl(a);
    case OP_sin:
        return sinl(a);
    case OP_cos:
        return cosl(a);
    case OP_tan:
        return tanl(a);
    case OP_atan:
        return atanl(a);
    case OP_atan2:
        return atan2l(a, b);
    case OP_tanh:
        return tanhl(a);
    case OP_sigmoid:
        return 1 / (1 + expl(-a));
    case OP_erf:
        return erfl(a);
    case OP_erfinv:
        return exact_erfinv(a);
    case OP_pow:
        return powl(a, b);
    case OP_rsqrt:
        return 1 / sqrtl(a);
    case OP_rem:
        return fmal(-b, floorl(a / b), a);
    default:
        ck_abort_msg("no reference");
    }
}

/* In units in the last place of the format; infinite where only one of them is a number. */
static double error_of(long double want, double got, bool wide)
{
    long double most = wide ? 0x1.fffffffffffffp1023L : 0x1.fffffep127L;
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got) ? 0 : INFINITY;
    if (fabsl(want) > most || isinf(got)) {
        bool both = fabsl(want) >= most && (fabs(got) >= (double)most) && (want > 0) == (got > 0);
        return both ? 0 : INFINITY;
    }
    int exponent, least = wide ? -1074 : -149;
    frexpl(want, &exponent);
    exponent = want == 0 ? least : exponent - (wide ? 53 : 24);
    return (double)(fabsl(got - want) / ldexpl(1, exponent > least ? exponent : least));
}

/* ---- samples ---- */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Half of them any bit pattern, half evenly spread where the function is interesting. */
static double sample(uint64_t *state, const Bound *bound, bool wide)
{
    for (;;) {
        uint64_t random = next_random(state);
        double value;
        if (random & 1) {
            value = ((double)(random >> 11) * 0x1p-53 * 2 - 1) * (random & 2 ? 12 : bound->high < 1e6 ? bound->high : 100);
            value = random & 4 ? fabs(value) : value;
        } else if (wide) {
            memcpy(&value, &random, sizeof value);
        } else {
            uint32_t bits = (uint32_t)(random >> 32);
            float narrow;
            memcpy(&narrow, &bits, sizeof narrow);
            value = narrow;
        }
        value = wide ? value : (double)(float)value;
        if (value >= bound->low && value <= bound->high)
            return value;
    }
}

/* Exponents for which the power is mostly finite, divisors for which the quotient is not too large. */
static double sample_second(uint64_t *state, const Bound *bound, double base, bool wide)
{
    uint64_t random = next_random(state);
    if (bound->op == OP_rem) {
        double divisor = fabs(base) * 1e-4 + 1e-30 + fabs(sample(state, bound, wide));
        divisor = random & 1 ? divisor : -divisor;
        return wide ? divisor : (double)(float)divisor;
    }
    if (bound->op != OP_pow)
        return sample(state, bound, wide);
    double most = (wide ? 720 : 90) / fmax(fabs(log(fabs(base))), 1e-3);
    double value = ((double)(random >> 11) * 0x1p-53 * 2 - 1) * most;
    value = random & 1 ? rint(value) : value;
    return wide ? value : (double)(float)value;
}

/* ---- running ---- */

static Kernel *function_kernel(Arena *arena, IrOp op, Format format, int64_t count)
{
    DType dtype = format == FORMAT_WIDE ? DT_f64 : DT_f32;
    Kernel *kernel = kernel_new(arena, ir_op_info[op].name);
    int arity = ir_op_info[op].arity;
    for (int i = 0; i <= arity; i++)
        kernel_add_buffer(kernel, i < arity ? K_IN : K_OUT, dtype, count, "");
    KStage *stage = kernel_add_stage(kernel);
    list_push(arena, &stage->axes, ((KAxis){.extent = count, .kind = K_MAP}));
    Affine index = {.coef = {1}};
    KInst inst = {.op = op, .dtype = op == OP_is_finite ? DT_bool : dtype, .arg = {-1, -1, -1}};
    for (int i = 0; i < arity; i++)
        inst.arg[i] =
            kstage_push(arena, stage, (KInst){.op = K_load, .dtype = dtype, .arg = {-1, -1, -1}, .buffer = i, .index = index});
    KRef value = kstage_push(arena, stage, inst);
    list_push(arena, &stage->stores, ((KStore){.buffer = arity, .index = index, .dynamic = -1, .guard = -1, .value = value}));
    expand_kernel(kernel, format == FORMAT_FAST);
    return kernel;
}

static double element(const void *data, int i, bool wide)
{
    return wide ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

static void set_element(void *data, int i, bool wide, double value)
{
    if (wide)
        ((double *)data)[i] = value;
    else
        ((float *)data)[i] = (float)value;
}

static void run_function(Device *device, Arena *arena, IrOp op, Format format, int count, void *a, void *b, void *y)
{
    Kernel *kernel = function_kernel(arena, op, format, count);
    void *unary[] = {a, y}, *binary[] = {a, b, y};
    compile_and_run(device, kernel, ir_op_info[op].arity == 1 ? unary : binary);
}

static void measure(const Bound *bound, Format format)
{
    bool wide = format == FORMAT_WIDE;
    Arena *arena = arena_new(NULL, NULL);
    Device *device = open_device(arena, NULL, NULL, "");
    void *a = arena_alloc(arena, SAMPLES * 8), *b = arena_alloc(arena, SAMPLES * 8), *y = arena_alloc(arena, SAMPLES * 8);
    uint64_t state = 88172645463325252ull;
    for (int i = 0; i < SAMPLES; i++) {
        double x = sample(&state, bound, wide);
        set_element(a, i, wide, x);
        set_element(b, i, wide, sample_second(&state, bound, x, wide));
    }
    run_function(device, arena, bound->op, format, SAMPLES, a, b, y);
    double worst = 0, limit = bound->most[format];
    int where = 0;
    for (int i = 0; i < SAMPLES; i++) {
        double error = error_of(exact(bound->op, element(a, i, wide), element(b, i, wide)), element(y, i, wide), wide);
        if (error > worst) {
            worst = error;
            where = i;
        }
    }
    if (getenv("CM_TEST_VERBOSE"))
        printf("%-8s %s %.3f ulp (of %.1f) at %.17g\n", ir_op_info[bound->op].name, format_names[format], worst, limit,
               element(a, where, wide));
    ck_assert_msg(worst <= limit, "%s %s: %g ulp at (%.17g, %.17g): got %.17g, want %.17Lg", ir_op_info[bound->op].name,
                  format_names[format], worst, element(a, where, wide), element(b, where, wide), element(y, where, wide),
                  exact(bound->op, element(a, where, wide), element(b, where, wide)));
    backend_cpu.close(device);
    arena_free(arena);
}

START_TEST(errors_are_bounded_in_f32)
{
    measure(&bounds[_i], FORMAT_SINGLE);
}
END_TEST

START_TEST(errors_are_bounded_in_f64)
{
    measure(&bounds[_i], FORMAT_WIDE);
}
END_TEST

START_TEST(errors_are_bounded_in_fast_f32)
{
    measure(&fast_bounds[_i], FORMAT_FAST);
}
END_TEST

/* ---- special values ---- */

typedef struct Special {
    IrOp op;
    double a, b, want;
} Special;
static const Special specials[] = {
    {OP_exp, -INFINITY, 0, 0},
    {OP_exp, INFINITY, 0, INFINITY},
    {OP_exp, NAN, 0, NAN},
    {OP_exp, 0, 0, 1},
    {OP_expm1, -INFINITY, 0, -1},
    {OP_expm1, INFINITY, 0, INFINITY},
    {OP_expm1, 0, 0, 0},
    {OP_expm1, NAN, 0, NAN},
    {OP_log, 0, 0, -INFINITY},
    {OP_log, -1, 0, NAN},
    {OP_log, INFINITY, 0, INFINITY},
    {OP_log, 1, 0, 0},
    {OP_log, NAN, 0, NAN},
    {OP_log1p, -1, 0, -INFINITY},
    {OP_log1p, INFINITY, 0, INFINITY},
    {OP_log1p, -2, 0, NAN},
    {OP_sin, INFINITY, 0, NAN},
    {OP_cos, 0, 0, 1},
    {OP_sin, -0.0, 0, -0.0},
    {OP_cos, NAN, 0, NAN},
    {OP_tan, 0, 0, 0},
    {OP_atan, 0, 0, 0},
    {OP_atan, NAN, 0, NAN},
    {OP_tanh, INFINITY, 0, 1},
    {OP_tanh, -INFINITY, 0, -1},
    {OP_tanh, NAN, 0, NAN},
    {OP_tanh, -0.0, 0, -0.0},
    {OP_sigmoid, INFINITY, 0, 1},
    {OP_sigmoid, -INFINITY, 0, 0},
    {OP_sigmoid, NAN, 0, NAN},
    {OP_erf, INFINITY, 0, 1},
    {OP_erf, -INFINITY, 0, -1},
    {OP_erf, NAN, 0, NAN},
    {OP_erfinv, 1, 0, INFINITY},
    {OP_erfinv, -1, 0, -INFINITY},
    {OP_erfinv, 2, 0, NAN},
    {OP_erfinv, 0, 0, 0},
    {OP_atan2, 0, 0, 0},
    {OP_atan2, NAN, 1, NAN},
    {OP_atan2, 1, NAN, NAN},
    {OP_pow, 0, 0, 1},
    {OP_pow, 0, -1, INFINITY},
    {OP_pow, -0.0, -1, -INFINITY},
    {OP_pow, 0, 2, 0},
    {OP_pow, -0.0, 3, -0.0},
    {OP_pow, -2, 3, -8},
    {OP_pow, -2, 2, 4},
    {OP_pow, -2, 0.5, NAN},
    {OP_pow, INFINITY, -1, 0},
    {OP_pow, INFINITY, 2, INFINITY},
    {OP_pow, -INFINITY, 3, -INFINITY},
    {OP_pow, NAN, 0, 1},
    {OP_pow, 1, NAN, 1},
    {OP_pow, NAN, 1, NAN},
    {OP_pow, 2, NAN, NAN},
    {OP_pow, 2, INFINITY, INFINITY},
    {OP_pow, 0.5, INFINITY, 0},
    {OP_pow, -1, INFINITY, 1},
    {OP_pow, 2, 10, 1024},
    {OP_pow, 0, NAN, NAN},
    {OP_rem, 5, 3, 2},
    {OP_rem, -5, 3, 1},
    {OP_rem, 5, -3, -1},
    {OP_rem, 1, 0, NAN},
    {OP_sign, NAN, 0, 0},
    {OP_sign, -3, 0, -1},
    {OP_sign, 0, 0, 0},
    {OP_sign, 7, 0, 1},
    {OP_round, 2.5, 0, 2},
    {OP_round, 3.5, 0, 4},
    {OP_round, -0.5, 0, -0.0},
    {OP_rsqrt, 0, 0, INFINITY},
    {OP_atan2, 1, -INFINITY, 3.14159265358979312},
};
enum { SPECIAL_COUNT = sizeof specials / sizeof *specials };

/* Fast ones are exact where the result is 0, 1, infinite or no number. */
static bool same(double a, double b, Format format)
{
    if (format == FORMAT_FAST && isfinite(b) && fabs(b) > 1)
        return fabs(a - b) < 1e-4 * fabs(b);
    return (isnan(a) && isnan(b)) || (a == b && signbit(a) == signbit(b));
}

START_TEST(special_values_are_exact)
{
    const Special *special = &specials[_i];
    for (Format format = 0; format < FORMATS; format++) {
        bool wide = format == FORMAT_WIDE;
        Arena *arena = arena_new(NULL, NULL);
        Device *device = open_device(arena, NULL, NULL, NULL);
        double a[4], b[4], y[4];
        for (int i = 0; i < 4; i++) {
            set_element(a, i, wide, special->a);
            set_element(b, i, wide, special->b);
        }
        run_function(device, arena, special->op, format, 4, a, b, y);
        double want = wide ? special->want : (double)(float)special->want;
        ck_assert_msg(same(element(y, 0, wide), want, format), "%s(%g, %g) in %s: %.17g, not %.17g",
                      ir_op_info[special->op].name, special->a, special->b, format_names[format], element(y, 0, wide), want);
        backend_cpu.close(device);
        arena_free(arena);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("math");
    TCase *errors = tcase_create("errors");
    tcase_add_loop_test(errors, errors_are_bounded_in_f32, 0, BOUND_COUNT);
    tcase_add_loop_test(errors, errors_are_bounded_in_f64, 0, BOUND_COUNT);
    tcase_add_loop_test(errors, errors_are_bounded_in_fast_f32, 0, FAST_COUNT);
    tcase_add_loop_test(errors, special_values_are_exact, 0, SPECIAL_COUNT);
    suite_add_tcase(suite, errors);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
