/* Checks of derivatives, all in f64 by the reference interpreter: forward mode against central differences, reverse mode
 * against forward mode, and both of what they made, so that each of the four second derivatives is checked too.
 *
 * Where two differences of unlike steps disagree, the function has a kink near by and another point is drawn. */
#ifndef CM_TESTS_CALCULUS_CHECK_H
#define CM_TESTS_CALCULUS_CHECK_H

#include "passes/passes.h"
#include "tests/unit/draws.h"

#include <check.h>
#include <math.h>
#include <string.h>

typedef struct CalculusCheck {
    Arena *arena;
    const char *name; /* leads every message */
    Draws draws;
    double low, high;        /* where floats are drawn */
    bool ignore_difference;  /* the derivative is not that of the values: it is only checked for its own consistency */
    const EvalTensor *given; /* the first args, where they must be these; null: all are drawn */
    int given_count;
    double slack; /* what the bounds of products are multiplied with, where large terms cancel on the way */
} CalculusCheck;

enum { CHECK_ATTEMPTS = 40 };
#define CHECK_DIFFERENCE 1e-7 /* relative to 1 + the largest element: fourth-order differences have ten digits */
#define CHECK_PRODUCT 1e-10

static inline IrModule *check_parse(Arena *arena, const char *name, const char *text)
{
    Source *source = arena_new_of(arena, Source);
    *source = (Source){name, text, strlen(text)};
    DiagSink diags = diag_sink_new(arena);
    IrModule *module = ir_parse(arena, source, &diags);
    Text messages = text_new(arena);
    diag_render_all(&diags, &messages);
    ck_assert_msg(module != NULL, "%s: %s", name, messages.data);
    return module;
}

/* A derived function is there and its module verifies. */
static inline IrFunc *check_derived(const CalculusCheck *check, IrFunc *derived, IrModule *module, DiagSink *diags)
{
    Text messages = text_new(check->arena);
    bool fine = derived && ir_verify(module, diags);
    diag_render_all(diags, &messages);
    ck_assert_msg(fine, "%s: %s", check->name, messages.data);
    return derived;
}

static inline IrFunc *check_jvp(const CalculusCheck *check, const IrFunc *func, const bool *active)
{
    DiagSink diags = diag_sink_new(check->arena);
    return check_derived(check, derive_jvp(func->module, func, active, &diags), func->module, &diags);
}

static inline IrFunc *check_vjp(const CalculusCheck *check, const IrFunc *func, const bool *active, const bool *seeded)
{
    DiagSink diags = diag_sink_new(check->arena);
    return check_derived(check, derive_vjp(func->module, func, active, seeded, &diags), func->module, &diags);
}

static inline EvalTensor *check_eval(const CalculusCheck *check, const IrFunc *func, const EvalTensor *args)
{
    EvalTensor *results = arena_array(check->arena, EvalTensor, func->results.count + 1);
    ck_assert_msg(ir_eval(check->arena, func, EVAL_wide, args, results), "%s: @%s does not run", check->name, func->name);
    return results;
}

static inline bool check_is_float(const IrFunc *func, IrRef ref)
{
    return dtype_is_float(ir_type_of(func, ref)->dtype);
}

static inline EvalTensor check_draw_float(CalculusCheck *check, IrType type)
{
    return draw_tensor(check->arena, &check->draws, type, check->low, check->high, -1, 4);
}

static inline double check_largest(const EvalTensor *tensor)
{
    double largest = 0;
    for (int64_t i = 0; i < ir_element_count(&tensor->type); i++)
        largest = fmax(largest, fabs(tensor->real[i]));
    return largest;
}

/* The first element that differs by more than the bound allows, or -1. */
static inline int64_t check_disagreement(const EvalTensor *got, const EvalTensor *want, double bound)
{
    double allowed = bound * (1 + check_largest(want));
    for (int64_t i = 0; i < ir_element_count(&want->type); i++) {
        double x = got->real[i], y = want->real[i];
        bool same = x == y || (isnan(x) && isnan(y));
        if (!same && !(fabs(x - y) <= allowed))
            return i;
    }
    return -1;
}

/* ---- forward mode against differences ---- */

/* func(args + step * tangents), where params are active. */
static inline EvalTensor *check_eval_moved(const CalculusCheck *check, const IrFunc *func, const bool *active,
                                           const EvalTensor *args, const EvalTensor *tangents, double step)
{
    EvalTensor *moved = arena_array(check->arena, EvalTensor, func->params.count + 1);
    for (int p = 0; p < func->params.count; p++) {
        moved[p] = args[p];
        if (!active[p])
            continue;
        moved[p] = eval_tensor_new(check->arena, args[p].type);
        for (int64_t i = 0; i < ir_element_count(&args[p].type); i++)
            moved[p].real[i] = args[p].real[i] + step * tangents[p].real[i];
    }
    return check_eval(check, func, moved);
}

static inline EvalTensor *check_difference(const CalculusCheck *check, const IrFunc *func, const bool *active,
                                           const EvalTensor *args, const EvalTensor *tangents, double step)
{
    static const double place[] = {1, -1, 2, -2}, weight[] = {8, -8, -1, 1};
    EvalTensor *sum = arena_array(check->arena, EvalTensor, func->results.count + 1);
    for (int r = 0; r < func->results.count; r++)
        sum[r] = eval_tensor_new(check->arena, *ir_type_of(func, func->results.items[r]));
    for (int k = 0; k < 4; k++) {
        const EvalTensor *results = check_eval_moved(check, func, active, args, tangents, place[k] * step);
        for (int r = 0; r < func->results.count; r++)
            for (int64_t i = 0; sum[r].real && i < ir_element_count(&sum[r].type); i++)
                sum[r].real[i] += weight[k] * results[r].real[i] / (12 * step);
    }
    return sum;
}

static inline bool check_is_smooth(const IrFunc *func, const EvalTensor *coarse, const EvalTensor *fine)
{
    for (int r = 0; r < func->results.count; r++)
        if (check_is_float(func, func->results.items[r]) && check_disagreement(&coarse[r], &fine[r], CHECK_DIFFERENCE / 2) >= 0)
            return false;
    return true;
}

static inline void check_values(const CalculusCheck *check, const IrFunc *func, const EvalTensor *got, const EvalTensor *want,
                                const char *path)
{
    for (int r = 0; r < func->results.count; r++) {
        int64_t at = want[r].real ? check_disagreement(&got[r], &want[r], CHECK_PRODUCT) : -1;
        ck_assert_msg(at < 0, "%s: %s changes result %d at %lld: %.17g, not %.17g", check->name, path, r, (long long)at,
                      got[r].real[at], want[r].real[at]);
        for (int64_t i = 0; want[r].integer && i < ir_element_count(&want[r].type); i++)
            ck_assert_msg(got[r].integer[i] == want[r].integer[i], "%s: %s changes result %d", check->name, path, r);
    }
}

/* False if no difference can be trusted here. */
static inline bool check_forward(CalculusCheck *check, const IrFunc *func, const IrFunc *derived, const bool *active,
                                 const EvalTensor *args, const EvalTensor *tangents, double step, const char *path)
{
    int params = func->params.count;
    EvalTensor *all = arena_array(check->arena, EvalTensor, 2 * params + 1);
    memcpy(all, args, sizeof *all * (size_t)params);
    for (int p = 0, next = params; p < params; p++)
        if (active[p])
            all[next++] = tangents[p];
    const EvalTensor *got = check_eval(check, derived, all);
    check_values(check, func, got, check_eval(check, func, args), path);
    if (check->ignore_difference)
        return true;
    const EvalTensor *want = check_difference(check, func, active, args, tangents, step);
    if (!check_is_smooth(func, want, check_difference(check, func, active, args, tangents, 0.4 * step)))
        return false;
    for (int r = 0, t = func->results.count; r < func->results.count; r++) {
        if (!check_is_float(func, func->results.items[r]))
            continue;
        int64_t at = check_disagreement(&got[t], &want[r], CHECK_DIFFERENCE);
        ck_assert_msg(at < 0, "%s: %s: tangent of result %d at %lld is %.12g, the difference %.12g", check->name, path, r,
                      (long long)at, got[t].real[at], want[r].real[at]);
        t++;
    }
    return true;
}

/* ---- reverse mode against forward mode ---- */

typedef struct CheckSum {
    double value, size; /* size: the sum of magnitudes, which rounding is relative to */
} CheckSum;

static inline void check_add_product(CheckSum *sum, const EvalTensor *a, const EvalTensor *b)
{
    for (int64_t i = 0; i < ir_element_count(&a->type); i++) {
        sum->value += a->real[i] * b->real[i];
        sum->size += fabs(a->real[i] * b->real[i]);
    }
}

/* <ct, J t> = <J' ct, t>, for random cotangents of the seeded results. */
static inline void check_reverse(CalculusCheck *check, const IrFunc *func, const IrFunc *forward, const bool *active,
                                 const bool *seeded, const EvalTensor *args, const EvalTensor *tangents, const char *path)
{
    int params = func->params.count, results = func->results.count;
    const IrFunc *reverse = check_vjp(check, func, active, seeded);
    EvalTensor *all = arena_array(check->arena, EvalTensor, 2 * params + results + 1), *ct = all + params;
    memcpy(all, args, sizeof *all * (size_t)params);
    for (int r = 0, next = 0; r < results; r++)
        if (seeded[r])
            ct[next++] = check_draw_float(check, *ir_type_of(func, func->results.items[r]));
    const EvalTensor *back = check_eval(check, reverse, all);
    check_values(check, func, back, check_eval(check, func, args), path);
    CheckSum left = {0, 0}, right = {0, 0};
    for (int p = 0, next = results; p < params; p++)
        if (active[p])
            check_add_product(&right, &back[next++], &tangents[p]);
    const EvalTensor *seeds = arena_copy(check->arena, ct, sizeof *ct * (size_t)(results + 1));
    for (int p = 0, next = params; p < params; p++)
        if (active[p])
            all[next++] = tangents[p];
    const EvalTensor *ahead = check_eval(check, forward, all);
    for (int r = 0, t = results; r < results; r++) {
        if (!check_is_float(func, func->results.items[r]))
            continue;
        if (seeded[r])
            check_add_product(&left, seeds++, &ahead[t]);
        t++;
    }
    ck_assert_msg(fabs(left.value - right.value) <= (1 + check->slack) * CHECK_PRODUCT * (1 + left.size + right.size),
                  "%s: %s: <ct, J t> is %.12g, <J' ct, t> is %.12g", check->name, path, left.value, right.value);
}

/* ---- first and second derivatives ---- */

/* All floats, or some of them (at least one, if there is any). */
static inline bool *check_choose(CalculusCheck *check, const IrFunc *func, const IrRef *refs, int count, bool all)
{
    bool *chosen = arena_array(check->arena, bool, count + 1), any = false;
    for (int i = 0; i < count; i++)
        any |= chosen[i] = check_is_float(func, refs[i]) && (all || draw_chance(&check->draws, 50));
    for (int i = 0; i < count && !any; i++)
        any |= chosen[i] = check_is_float(func, refs[i]);
    return chosen;
}

static inline void check_first(CalculusCheck *check, const IrFunc *func, bool all, const char *path)
{
    int params = func->params.count;
    const bool *active = check_choose(check, func, func->params.items, params, all);
    const bool *seeded = check_choose(check, func, func->results.items, func->results.count, all);
    const IrFunc *forward = check_jvp(check, func, active);
    EvalTensor *args = arena_array(check->arena, EvalTensor, params + 1);
    EvalTensor *tangents = arena_array(check->arena, EvalTensor, params + 1);
    static const double steps[] = {1e-3, 1e-4, 1e-5};
    bool smooth = false;
    for (int attempt = 0; attempt < CHECK_ATTEMPTS && !smooth; attempt++) {
        for (int p = 0; p < params; p++) {
            args[p] =
                p < check->given_count ? check->given[p] : check_draw_float(check, *ir_type_of(func, func->params.items[p]));
            if (active[p])
                tangents[p] = draw_tensor(check->arena, &check->draws, args[p].type, -1, 1, 0, 0);
        }
        smooth = check_forward(check, func, forward, active, args, tangents, steps[attempt % 3], path);
    }
    ck_assert_msg(smooth, "%s: %s: no point is smooth", check->name, path);
    check_reverse(check, func, forward, active, seeded, args, tangents, path);
}

static inline void check_derivatives(CalculusCheck *check, const IrFunc *func)
{
    const bool *active = check_choose(check, func, func->params.items, func->params.count, true);
    const bool *seeded = check_choose(check, func, func->results.items, func->results.count, true);
    check_first(check, func, true, "first");
    check_first(check, func, false, "first, by some");
    const IrFunc *forward = check_jvp(check, func, active), *reverse = check_vjp(check, func, active, seeded);
    check_first(check, forward, true, "of jvp");
    check_first(check, forward, false, "of jvp, by some");
    check_first(check, reverse, true, "of vjp");
    check_first(check, reverse, false, "of vjp, by some");
}

#endif
