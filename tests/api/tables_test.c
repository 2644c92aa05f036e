/* The standard library against numbers that papers print or that follow in closed form: tables.cm and method_tables.cm
 * in tests/reference/ and examples/gaussian.cm compute them, the rows here say what they are. */
#include "tests/api/api_test.h"

#include <math.h>
#include <stdio.h>

typedef struct Row {
    const char *program, *entry, *output;
    double tolerance;
    int count; /* of elements, from the first */
    double want[12];
} Row;

#define TABLES "tests/reference/tables.cm"
#define METHODS "tests/reference/method_tables.cm"
#define GAUSSIAN "examples/gaussian.cm"
#define ONE(...)                                                                                                               \
    1,                                                                                                                         \
    {                                                                                                                          \
        __VA_ARGS__                                                                                                            \
    }

/* clang-format off */
static const Row rows[] = {
    /* Karras et al. 2022: slopes of the flow by the number of levels, orders of convergence, levels. */
    {GAUSSIAN, "exact_slope", "result", 1e-8, ONE(0.00624988)},
    {GAUSSIAN, "heun_ratios", "n6", 1e-6, ONE(1.706085)},
    {GAUSSIAN, "heun_ratios", "n10", 1e-6, ONE(1.219620)},
    {GAUSSIAN, "heun_ratios", "n18", 1e-6, ONE(1.055270)},
    {GAUSSIAN, "heun_ratios", "n40", 1e-6, ONE(1.009773)},
    {GAUSSIAN, "euler_ratios", "n6", 1e-6, ONE(0.547814)},
    {GAUSSIAN, "euler_ratios", "n10", 1e-6, ONE(0.730440)},
    {GAUSSIAN, "euler_ratios", "n18", 1e-6, ONE(0.846079)},
    {GAUSSIAN, "euler_ratios", "n40", 1e-6, ONE(0.929720)},
    {GAUSSIAN, "orders", "euler", 0.02, ONE(1)},
    {GAUSSIAN, "orders", "heun", 0.02, ONE(2)},
    {GAUSSIAN, "levels", "edm_18", 1e-6, 12,
     {80, 57.585985, 40.785574, 28.374585, 19.352453, 12.910082, 8.400935, 5.315195, 3.256822, 1.92334, 1.088171, .585348}},
    {GAUSSIAN, "levels", "karras_11", 1e-6, 11,
     {.002, .016721, .085087, .318283, .965417, 2.515219, 5.838948, 12.381576, 24.408342, 45.313734, 80}},
    {TABLES, "edm_flow", "slope", 1e-10, ONE(0.0065953080)},
    {TABLES, "edm_flow", "loss.0", 1e-12, ONE(1)},
    {TABLES, "edm_flow", "loss.1", 1e-12, ONE(1)},
    {TABLES, "edm_flow", "loss.2", 1e-12, ONE(1)},
    {TABLES, "one_step", "heun", 1e-12, ONE(0.25 / 6400.25)},
    {TABLES, "one_step", "euler", 1e-12, ONE(0.25 / 6400.25)},
    {TABLES, "one_step", "stochastic", 1e-12, ONE(0.25 / 6400.25)},
    {TABLES, "one_step", "level", 1e-9, ONE(0.002)},
    {TABLES, "one_step", "pair.0", 1e-9, ONE(0.002)},
    {TABLES, "one_step", "pair.1", 1e-4, ONE(80)},
    {TABLES, "no_churn", "result", 1e-10, ONE(0.0065953080)},
    {TABLES, "churn", "variance", 0.004, ONE(0.25)},
    {TABLES, "resampled", "box", 0, ONE(2.5)},
    {TABLES, "resampled", "down", 1e-7, ONE(1)},
    {TABLES, "resampled", "up", 1e-7, ONE(1)},
    /* Song et al. 2023: the consistency function does not change along the flow; consistency training on a Gaussian. */
    {GAUSSIAN, "tangent_along_flow", "df", 1e-15, ONE(0)},
    {GAUSSIAN, "trained_deviations", "n11", 1e-6, ONE(0.376391)},
    {GAUSSIAN, "trained_deviations", "n18", 1e-6, ONE(0.423046)},
    {GAUSSIAN, "trained_deviations", "n161", 1e-6, ONE(0.491202)},
    {GAUSSIAN, "trained_deviations", "n1281", 1e-6, ONE(0.498895)},
    {TABLES, "boundary", "c_skip", 0, ONE(1)},
    {TABLES, "boundary", "c_out", 0, ONE(0)},
    {TABLES, "boundary", "flow", 1e-12, ONE(1)},
    {TABLES, "multistep", "mean", 0.005, ONE(0)},
    {TABLES, "multistep", "variance", 0.004, ONE(0.25)},
    {TABLES, "ct_levels", "first", 0, ONE(2)},
    {TABLES, "ct_levels", "middle", 0, ONE(76)},
    {TABLES, "ct_levels", "last", 0, ONE(151)},
    /* Song, Dhariwal 2024: 11 levels, their masses and weights; the curriculum; the loss at the optimum; distances; the toy
       model. */
    {TABLES, "ict_grid", "sigma", 1e-6, 11,
     {.002, .016721, .085087, .318283, .965417, 2.515219, 5.838948, 12.381576, 24.408342, 45.313734, 80}},
    {TABLES, "ict_grid", "mass", 1e-6, 10,
     {.062633, .181737, .245501, .213494, .142446, .080605, .041080, .019580, .008944, .003980}},
    {TABLES, "ict_grid", "weight", 1e-6, 10,
     {67.931307, 14.627058, 4.288237, 1.545276, .645244, .300867, .152844, .083148, .047835, .028830}},
    {TABLES, "ict_doubling", "at", 0, 8, {11, 21, 41, 81, 161, 321, 641, 1281}},
    {TABLES, "ict_doubling", "before", 0, ONE(81)},
    {TABLES, "ict_optimum", "loss", 1e-7, ONE(0.0702967)},
    {TABLES, "ict_optimum", "a", 1e-6, ONE(0.004705)},
    {TABLES, "huber", "zero", 0, ONE(0)},
    {TABLES, "huber", "one", 1e-6, ONE(0.414214)},
    {TABLES, "huber", "ten", 1e-6, ONE(9.049876)},
    {TABLES, "huber", "hundred", 1e-5, ONE(99.005)},
    {TABLES, "toy", "same", 1e-11, ONE(3.952554e-5)},
    {TABLES, "toy", "lagging", 1e-6, ONE(0.01996)},
    /* Lu, Song 2025: values and total derivatives along the flow. */
    {GAUSSIAN, "trigflow", "dF_consistency", 1e-7, ONE(-1.1361620505)},
    {GAUSSIAN, "trigflow", "df_consistency", 1e-14, ONE(0)},
    {GAUSSIAN, "trigflow", "dF_diffusion", 1e-7, ONE(-1.0057532290)},
    {GAUSSIAN, "trigflow", "df_diffusion", 1e-7, ONE(-0.1756778120)},
    {TABLES, "trig_1", "V", 1e-7, ONE(0.21142198)},
    {TABLES, "trig_1", "dx", 1e-7, ONE(-0.06519178)},
    {TABLES, "trig_1", "f", 1e-7, ONE(0.60660790)},
    {TABLES, "trig_1", "D", 1e-7, ONE(0.37561668)},
    {TABLES, "trig_1", "F_diffusion", 1e-7, ONE(-0.13038356)},
    {TABLES, "trig_1", "F_consistency", 1e-7, ONE(-0.64876172)},
    {TABLES, "trig_1", "g_diffusion", 1e-9, ONE(-0.0796867741)},
    {TABLES, "trig_1", "g_consistency", 1e-14, ONE(0)},
    {TABLES, "trig_2", "D", 1e-7, ONE(0.31751728)},
    {TABLES, "trig_2", "F_consistency", 1e-7, ONE(-0.85834730)},
    {TABLES, "trig_2", "g_diffusion", 1e-9, ONE(-0.2829737413)},
    {TABLES, "trig_2", "g_consistency", 1e-14, ONE(0)},
    {TABLES, "trig_3", "V", 1e-7, ONE(0.09093375)},
    {TABLES, "trig_3", "dx", 1e-7, ONE(-0.46909760)},
    {TABLES, "trig_3", "f", 1e-7, ONE(-0.09488872)},
    {TABLES, "trig_3", "D", 1e-7, ONE(-0.00153699)},
    {TABLES, "trig_3", "F_consistency", 1e-7, ONE(-0.45875330)},
    /* Cross-entropy of two rows with a masked class, and its gradient. */
    {TABLES, "masked_classes", "loss", 1e-6, ONE(0.81326169)},
    {TABLES, "masked_classes", "first", 1e-6, 3, {-.36552929, 0, .36552929}},
    {TABLES, "masked_classes", "second", 1e-6, 3, {.13447071, 0, -.13447071}},
    /* The tangent of attention, and the gradient of a program that holds it; a row that is all masked. */
    {TABLES, "attention_tangent", "o", 1e-6, 2, {.93879749, 1.21068261}},
    {TABLES, "attention_tangent", "to", 1e-6, 2, {.10705840, .06972110}},
    {TABLES, "attention_tangent", "gq", 1e-6, 2, {-.80414380, .01332867}},
    {TABLES, "attention_tangent", "gk", 1e-6, 6, {-.19758456, -.24157862, -.27567231, -.08233740, .47325687, .32391602}},
    {TABLES, "attention_tangent", "gv", 1e-6, 6, {.52586047, -.40620094, .33187037, -.43476085, .14226917, -.15903822}},
    {TABLES, "attention_tangent", "gtq", 1e-6, 2, {.92029571, -.39657020}},
    {TABLES, "attention_tangent", "gtk", 1e-6, 6, {.57114537, .28557269, -.22199503, -.11099752, -.34915034, -.17457517}},
    {TABLES, "attention_tangent", "gtv", 1e-6, 6, {.25096428, 1.00385712, .17622423, .70489693, .07281149, .29124595}},
    {TABLES, "masked_row", "y", 0, 2, {0}},
    {TABLES, "masked_row", "dy", 0, 2, {0}},
    {TABLES, "masked_row", "gq", 0, 2, {0}},
    {TABLES, "masked_row", "gk", 0, 6, {0}},
    {TABLES, "masked_row", "gv", 0, 6, {0}},
    /* Geng et al. 2025 (ECT): the widening of gaps, partners, what is learnt of a Gaussian in stages 0 to 7. */
    {METHODS, "ect_widened", "result", 1e-6, 7, {5, 4.800167, 4.020325, 3.151531, 2, 1.953623, 1.053543}},
    {METHODS, "ect_partners", "result", 1e-6, 4, {0, 0, 0.046377, 40}},
    {METHODS, "ect_slopes", "result", 1e-8, 8,
     {.00373089, .00423748, .00538453, .00585328, .00605898, .00615612, .00620341, .00622674}},
    {METHODS, "ect_other_base", "result", 1e-8, ONE(.00585328)},
    {METHODS, "ect_gradient", "any", 1e-7, 2, {.3, -.4}},
    {METHODS, "ect_gradient", "none", 0, 2, {0}},
    /* Geng et al. 2025 (mean flows): velocity, mean velocity, its derivative, the identity; samples. */
    {METHODS, "mean_flow_0", "v", 1e-8, ONE(1.15384615)},
    {METHODS, "mean_flow_0", "u", 1e-8, ONE(.74216634)},
    {METHODS, "mean_flow_0", "along", 1e-8, ONE(.68613302)},
    {METHODS, "mean_flow_0", "identity", 1e-14, ONE(0)},
    {METHODS, "mean_flow_3", "v", 1e-8, ONE(.78461538)},
    {METHODS, "mean_flow_3", "u", 1e-8, ONE(.39763636)},
    {METHODS, "mean_flow_3", "along", 1e-8, ONE(.64496504)},
    {METHODS, "mean_flow_3", "identity", 1e-14, ONE(0)},
    {METHODS, "mean_flow_samples", "one", 1e-12, ONE(1.15)},
    {METHODS, "mean_flow_samples", "two", 1e-12, ONE(1.15)},
    /* Zheng et al. 2026: the direction of score distillation, the tangent at r = 1, a student of one parameter. */
    {METHODS, "rcm_direction", "result", 1e-10, ONE(-.3455929984)},
    {METHODS, "rcm_tangent", "value", 1e-15, ONE(0)},
    {METHODS, "rcm_tangent", "tangent", 1e-15, ONE(0)},
    {METHODS, "rcm_descent", "result", 1e-12, ONE(.3)},
    /* Luo et al. 2023: schedule, boundary, times; the DDIM chain against the exact map for variances 1/4, 1, 4. */
    {METHODS, "lcm_products", "result", 1e-8, 4, {.99915, .98224399, .27766965, .00466010}},
    {METHODS, "lcm_skips", "result", 1e-9, 4, {1, .0024937656, 6.925e-6, 2.505e-9}},
    {METHODS, "lcm_times", "one", 0, ONE(999)},
    {METHODS, "lcm_times", "two", 0, 2, {999, 499}},
    {METHODS, "lcm_times", "three", 0, 3, {999, 679, 339}},
    {METHODS, "lcm_times", "four", 0, 4, {999, 759, 499, 259}},
    {METHODS, "lcm_times", "eight", 0, 8, {999, 879, 759, 639, 499, 379, 259, 139}},
    {METHODS, "lcm_chains", "result", 1e-4, 3, {-4.88e-2, -2.71e-2, -2.10e-2}},
    {METHODS, "lcm_guidance", "result", 1e-6, ONE(0)},
    /* Schedules; dropout where nothing is trained. */
    {TABLES, "schedules", "warm_up.0", 1e-6, ONE(0.25)},
    {TABLES, "schedules", "warm_up.1", 1e-6, ONE(0.75)},
    {TABLES, "schedules", "warm_up.2", 1e-6, ONE(1)},
    {TABLES, "schedules", "cosine.0", 1e-6, ONE(1)},
    {TABLES, "schedules", "cosine.1", 1e-6, ONE(0.6)},
    {TABLES, "schedules", "cosine.2", 1e-6, ONE(0.2)},
    {TABLES, "schedules", "linear.0", 1e-6, ONE(1)},
    {TABLES, "schedules", "linear.1", 1e-6, ONE(0.5)},
    {TABLES, "schedules", "linear.2", 1e-6, ONE(0.1)},
    {TABLES, "schedules", "falling.0", 1e-6, ONE(1)},
    {TABLES, "schedules", "falling.1", 1e-6, ONE(0.4)},
    {TABLES, "schedules", "falling.2", 1e-6, ONE(0)},
    {TABLES, "schedules", "inverse_root.0", 1e-6, ONE(1)},
    {TABLES, "schedules", "inverse_root.1", 1e-6, ONE(0.5)},
    {TABLES, "schedules", "ramp.0", 1e-6, ONE(0.1)},
    {TABLES, "schedules", "ramp.1", 1e-6, ONE(0.55)},
    {TABLES, "schedules", "ramp.2", 1e-6, ONE(0.999)},
    {TABLES, "schedules", "half_life.0", 1e-6, ONE(0.70710678)},
    {TABLES, "schedules", "half_life.1", 1e-6, ONE(0.25)},
    {TABLES, "schedules", "trig_warm_up.0", 1e-6, ONE(0.25)},
    {TABLES, "schedules", "trig_warm_up.1", 1e-6, ONE(1)},
    {TABLES, "dropout", "result", 0, ONE(784)},
};
/* clang-format on */
enum { ROWS = sizeof rows / sizeof *rows, MOST_OUTPUTS = 32 };

static double element(const cm_array *array, int i)
{
    if (array->dtype == CM_I32)
        return ((int32_t *)array->data)[i];
    return array->dtype == CM_F64 ? ((double *)array->data)[i] : (double)((float *)array->data)[i];
}

static void check_row(const Row *row, const cm_array *got)
{
    ck_assert_uint_ge(cm_array_bytes(got) / cm_dtype_bytes(got->dtype), row->count);
    for (int i = 0; i < row->count; i++)
        ck_assert_msg(fabs(element(got, i) - row->want[i]) <= row->tolerance, "%s of %s: element %d is %.12g, not %.12g",
                      row->output, row->entry, i, element(got, i), row->want[i]);
}

static bool same_entry(const Row *a, const Row *b)
{
    return !strcmp(a->entry, b->entry) && !strcmp(a->program, b->program);
}

static const Row *find_row(const Row *first, const char *output)
{
    for (const Row *row = first; row < rows + ROWS && same_entry(row, first); row++) {
        if (!strcmp(row->output, output))
            return row;
    }
    return NULL;
}

/* Runs the entry and checks the rows that name its outputs; gives their number. */
static int run_entry(cm_executable *executable, const Row *first)
{
    cm_error *error;
    cm_port port;
    cm_array results[MOST_OUTPUTS] = {0};
    cm_run_options options = {.size = sizeof options, .seed = 1};
    size_t count = cm_executable_output_count(executable);
    int checked = 0;
    ck_assert_uint_le(count, MOST_OUTPUTS);
    for (size_t i = 0; i < count; i++) {
        expect_ok(cm_executable_output(executable, i, &port));
        results[i] = (cm_array){.dtype = port.dtype, .rank = port.rank};
        memcpy(results[i].dim, port.dim, sizeof port.dim);
        results[i].data = malloc(cm_array_bytes(&results[i]));
    }
    expect_ok(cm_run(executable, &options, NULL, 0, results, count, &error));
    for (size_t i = 0; i < count; i++) {
        expect_ok(cm_executable_output(executable, i, &port));
        const Row *row = find_row(first, port.name);
        checked += row != NULL;
        if (row)
            check_row(row, &results[i]);
        free(results[i].data);
    }
    return checked;
}

/* Rows of one entry stand together, from `first` on. */
static void check_entry(const Row *first, int64_t block_rows)
{
    char path[512];
    cm_error *error;
    cm_program *program;
    cm_executable *executable;
    cm_compile_options options = {.size = sizeof options, .block_rows = block_rows};
    int expected = 0;
    while (first + expected < rows + ROWS && same_entry(first + expected, first))
        expected++;
    cm_context *context = test_context(2);
    snprintf(path, sizeof path, "%s/%s", CM_SOURCE_DIR, first->program);
    expect_ok(cm_load_file(context, path, NULL, &program, &error));
    expect_ok(cm_compile(program, first->entry, &options, &executable, &error));
    ck_assert_int_eq(run_entry(executable, first), expected);
    cm_executable_free(executable);
    cm_program_free(program);
    cm_context_free(context);
}

START_TEST(agrees_with_the_papers)
{
    if (!_i || !same_entry(&rows[_i - 1], &rows[_i]))
        check_entry(&rows[_i], 0);
}
END_TEST

/* In blocks of one row, of two, and of three with one left over: four queries are the same one. */
START_TEST(attention_in_blocks_agrees_with_the_papers)
{
    static const char *const entries[] = {"attention_tangent", "masked_row"};
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        const Row *first = rows;
        while (strcmp(first->entry, entries[i]) != 0)
            first++;
        check_entry(first, _i);
    }
}
END_TEST

static TCase *table_cases(void)
{
    TCase *group = tcase_create("tables");
    tcase_set_timeout(group, 60);
    tcase_add_loop_test(group, agrees_with_the_papers, 0, ROWS);
    tcase_add_loop_test(group, attention_in_blocks_agrees_with_the_papers, 1, 4);
    return group;
}

int main(void)
{
    return run_suite("tables", (TCase * (*const[])(void)){table_cases, NULL});
}
