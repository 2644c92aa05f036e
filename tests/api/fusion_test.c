/* Fused and unfused code agree on the examples: what their functions give, what they draw, and how they train. */
#include "tests/api/api_test.h"

#include <math.h>
#include <stdio.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))
#define FILE_OF(name) CM_SOURCE_DIR "/examples/" name

static double element(const cm_array *array, size_t at)
{
    return array->dtype == CM_F64 ? ((double *)array->data)[at] : (double)((float *)array->data)[at];
}

/* max |a - b| / max |b|; what is nothing but rounding in f64 counts as 0. */
static double error_of(const cm_array *a, const cm_array *b)
{
    double largest = 1e-12, error = 0;
    for (size_t i = 0; i < cm_array_bytes(a) / cm_dtype_bytes(a->dtype); i++) {
        double x = element(a, i), y = element(b, i);
        if (x == y || fabs(x - y) < 1e-13)
            continue;
        largest = fmax(largest, fabs(y));
        error = isfinite(x - y) ? fmax(error, fabs(x - y)) : (double)INFINITY;
    }
    return error / largest;
}

enum { MOST_RESULTS = 40 };

typedef struct Results {
    size_t count;
    cm_array array[MOST_RESULTS];
    char name[MOST_RESULTS][64];
} Results;

static Results results_new(const cm_executable *executable)
{
    Results results = {.count = cm_executable_output_count(executable)};
    ck_assert_uint_le(results.count, MOST_RESULTS);
    for (size_t i = 0; i < results.count; i++) {
        cm_port port;
        ck_assert_int_eq(cm_executable_output(executable, i, &port), CM_OK);
        results.array[i] = (cm_array){.dtype = port.dtype, .rank = port.rank};
        memcpy(results.array[i].dim, port.dim, sizeof port.dim);
        results.array[i].data = aligned_alloc(64, (cm_array_bytes(&results.array[i]) + 63) / 64 * 64);
        snprintf(results.name[i], sizeof results.name[i], "%s", port.name);
    }
    return results;
}

static Results run(cm_program *program, const char *entry, int64_t size, cm_parameters *weights, int no_fuse)
{
    cm_error *error;
    cm_binding binding = {"B", size};
    cm_compile_options options = {.size = sizeof options, .bindings = &binding, .binding_count = size > 0, .no_fuse = no_fuse};
    cm_run_options run_options = {.size = sizeof run_options, .parameters = weights, .seed = 4};
    cm_executable *executable;
    expect_ok(cm_compile(program, entry, &options, &executable, &error));
    Results results = results_new(executable);
    expect_ok(cm_run(executable, &run_options, NULL, 0, results.array, results.count, &error));
    cm_executable_free(executable);
    return results;
}

static void check_run(cm_program *program, const char *entry, int64_t size, cm_parameters *weights)
{
    Results fused = run(program, entry, size, weights, 0), unfused = run(program, entry, size, weights, 1);
    for (size_t i = 0; i < fused.count; i++) {
        double difference = error_of(&fused.array[i], &unfused.array[i]);
        ck_assert_msg(difference <= 1e-5, "%s: %s differs by %g", entry, fused.name[i], difference);
        free(fused.array[i].data);
        free(unfused.array[i].data);
    }
}

START_TEST(functions_agree)
{
    cm_context *context = test_context(2);
    cm_program *program = test_file(context, FILE_OF("gaussian.cm"), NULL);
    cm_entry entry;
    int checks = 0;
    for (size_t i = 0; cm_program_entry(program, i, &entry) == CM_OK; i++) {
        if (entry.kind != CM_ENTRY_FN || entry.argument_count || entry.axis_count)
            continue;
        check_run(program, entry.name, 0, NULL);
        checks++;
    }
    ck_assert_int_ge(checks, 8);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

typedef struct Sampling {
    const char *path, *entry;
    int64_t size;
} Sampling;

static const Sampling samplings[] = {
    {FILE_OF("moons.cm"), "one_step", 257}, {FILE_OF("ict.cm"), "one_step", 3}, {FILE_OF("ict.cm"), "two_step", 2}};

START_TEST(samples_agree)
{
    const Sampling *sampling = &samplings[_i];
    cm_error *error;
    cm_context *context = test_context(2);
    cm_program *program = test_file(context, sampling->path, NULL);
    cm_parameters *weights;
    expect_ok(cm_parameters_create(program, 2, &weights, &error));
    check_run(program, sampling->entry, sampling->size, weights);
    cm_parameters_free(weights);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* ---- training ---- */

typedef struct Training {
    const char *path, *batch;
} Training;

static const Training trainings[] = {
    {FILE_OF("moons.cm"), "33"}, {FILE_OF("fashion_classifier.cm"), "9"}, {FILE_OF("ict.cm"), "5"}};

enum { STEPS = 3 };

static void train(const Training *test, int no_fuse, cm_step *steps)
{
    cm_error *error;
    cm_context *context = test_context(2);
    cm_setting setting = {"train.batch", test->batch};
    cm_load_options load_options = {.size = sizeof load_options, .settings = &setting, .setting_count = 1};
    cm_program *program = test_file(context, test->path, &load_options);
    cm_training_options options = {.size = sizeof options, .no_fuse = no_fuse};
    cm_training *training;
    expect_ok(cm_training_create(program, NULL, &options, &training, &error));
    for (int i = 0; i < STEPS; i++)
        expect_ok(cm_training_step(training, &steps[i], &error));
    cm_training_free(training);
    cm_program_free(program);
    cm_context_free(context);
}

/* The later steps also carry what rounding made of the first update. */
START_TEST(training_agrees)
{
    const Training *test = &trainings[_i];
    cm_step fused[STEPS], unfused[STEPS];
    train(test, 0, fused);
    train(test, 1, unfused);
    for (int i = 0; i < STEPS; i++) {
        double bound = i ? 1e-3 : 1e-5;
        ck_assert_msg(fabs(fused[i].loss - unfused[i].loss) <= bound * fabs(unfused[i].loss), "%s: loss %g and %g at step %d",
                      test->path, fused[i].loss, unfused[i].loss, i);
        ck_assert_msg(fabs(fused[i].grad_norm - unfused[i].grad_norm) <= bound * unfused[i].grad_norm,
                      "%s: gradient %g and %g at step %d", test->path, fused[i].grad_norm, unfused[i].grad_norm, i);
    }
}
END_TEST

static TCase *examples(void)
{
    TCase *test = tcase_create("examples");
    tcase_add_test(test, functions_agree);
    tcase_add_loop_test(test, samples_agree, 0, COUNT(samplings));
    tcase_add_loop_test(test, training_agrees, 0, COUNT(trainings));
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {examples, NULL};
    return run_suite("fused and unfused", cases);
}
