/* The examples on a Vulkan device: losses of training and samples of few steps agree with the CPU's. */
#include "tests/api/api_test.h"
#include "tests/api/folder.h"
#include "tests/api/vulkan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STEPS = 2 };
static const double LEAST = 1e-12; /* of a loss that is said to be something: the first of scd.cm is 0 but for rounding */

typedef struct Example {
    const char *name, *run, *sample; /* run, sample: null: the only run; none */
    const char *teacher;             /* whose weights the run starts from: an example and its run; null: none */
    const char *batch;
    int64_t samples;
    double tolerance; /* of the loss of the second step, relative: Adam's first step has the sign of noise in it */
} Example;

static const Example examples[] = {
    {"moons", NULL, "one_step", NULL, "64", 64, 1e-4},   {"fashion_classifier", NULL, NULL, NULL, "2", 0, 1e-4},
    {"ict", NULL, "two_step", NULL, "2", 10, 1e-3},      {"ct", NULL, "one_step", NULL, "2", 10, 1e-3},
    {"edm", NULL, NULL, NULL, "2", 0, 1e-3},             {"scm", NULL, "two_step", NULL, "2", 10, 1e-3},
    {"meanflow", NULL, "one_step", NULL, "2", 10, 1e-3}, {"dit", NULL, "one_step", NULL, "2", 10, 1e-3},
    {"cd", NULL, "one_step", "edm", "2", 10, 1e-3},      {"scd", NULL, "one_step", "edm", "2", 10, 1e-3},
    {"ect", NULL, "one_step", "edm", "2", 10, 1e-3},     {"lcm", NULL, "one_step", "edm", "2", 10, 1e-3},
    {"rcm", "rcm", "one_step", "rcm teacher", "64", 64, 1e-3},
};
enum { EXAMPLES = sizeof examples / sizeof *examples };

static cm_program *open_file(cm_context *context, const char *name, const char *batch)
{
    char path[256];
    cm_error *error;
    cm_program *program;
    const cm_setting settings[] = {{"train.batch", batch}, {"train.steps", "4"}};
    cm_load_options options = {.size = sizeof options, .settings = settings, .setting_count = 2};
    snprintf(path, sizeof path, CM_SOURCE_DIR "/examples/%s.cm", name);
    expect_ok(cm_load_file(context, path, &options, &program, &error));
    return program;
}

static cm_training *new_training(cm_program *program, const char *run, const char *device)
{
    cm_training_options options = {.size = sizeof options, .device = device};
    cm_training *training;
    cm_error *error;
    expect_ok(cm_training_create(program, run, &options, &training, &error));
    return training;
}

/* Leaves weights of some steps where the student looks for them. */
static void run_teacher(cm_context *context, const Example *example)
{
    char name[64], out[80];
    strcpy(name, example->teacher);
    char *run = strchr(name, ' ');
    if (run)
        *run++ = '\0';
    snprintf(out, sizeof out, "out/%s", run ? run : name);
    cm_program *program = open_file(context, name, example->batch);
    cm_training *training = new_training(program, run, "cpu");
    cm_training_run_options options = {.size = sizeof options, .directory = out};
    cm_error *error;
    expect_ok(cm_training_run(training, &options, NULL, &error));
    cm_training_free(training);
    cm_program_free(program);
}

/* Losses of the first steps, and the weights behind them. */
static cm_parameters *train_on(cm_program *program, const Example *example, const char *device, double *loss)
{
    cm_training *training = new_training(program, example->run, device);
    cm_parameters *weights;
    cm_error *error;
    for (int i = 0; i < STEPS; i++) {
        cm_step step;
        expect_ok(cm_training_step(training, &step, &error));
        loss[i] = step.loss;
    }
    expect_ok(cm_training_weights(training, &weights, &error));
    cm_training_free(training);
    return weights;
}

static cm_parameters *sample_on(cm_program *program, const Example *example, const char *device, cm_parameters *weights)
{
    cm_binding binding = {"B", example->samples};
    cm_sample_options options = {.size = sizeof options, .parameters = weights, .seed = 1};
    options.compile =
        (cm_compile_options){.size = sizeof options.compile, .device = device, .bindings = &binding, .binding_count = 1};
    cm_parameters *results;
    cm_error *error;
    expect_ok(cm_sample(program, example->sample, &options, &results, &error));
    return results;
}

static void compare_samples(cm_program *program, const Example *example, cm_parameters *weights)
{
    cm_parameters *got = sample_on(program, example, "vulkan", weights), *wanted = sample_on(program, example, "cpu", weights);
    cm_array a, b;
    cm_error *error;
    expect_ok(cm_parameters_get(got, cm_parameters_name(got, 0), &a, &error));
    expect_ok(cm_parameters_get(wanted, cm_parameters_name(wanted, 0), &b, &error));
    ck_assert_uint_eq(cm_array_bytes(&a), cm_array_bytes(&b));
    double most = 0, apart = 0;
    for (size_t i = 0; i < cm_array_bytes(&b) / sizeof(float); i++) {
        most = fmax(most, fabs(((float *)b.data)[i]));
        apart = fmax(apart, fabs((double)((float *)a.data)[i] - ((float *)b.data)[i]));
    }
    ck_assert_msg(most > 0 && apart <= 1e-5 * most, "%s: samples are %g apart, of %g", example->name, apart, most);
    cm_parameters_free(got);
    cm_parameters_free(wanted);
}

START_TEST(examples_train_and_sample)
{
    const Example *example = &examples[_i];
    double got[STEPS], wanted[STEPS];
    cm_context *context = test_context(2);
    if (example->teacher)
        run_teacher(context, example);
    cm_program *program = open_file(context, example->name, example->batch);
    cm_parameters_free(train_on(program, example, "vulkan", got));
    cm_parameters *weights = train_on(program, example, "cpu", wanted);
    ck_assert_double_eq_tol(got[0], wanted[0], 1e-5 * fabs(wanted[0]) + LEAST);
    ck_assert_double_eq_tol(got[1], wanted[1], example->tolerance * fabs(wanted[1]) + LEAST);
    if (example->sample)
        compare_samples(program, example, weights);
    cm_parameters_free(weights);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

static TCase *vulkan_examples(void)
{
    TCase *test = tcase_create("vulkan_examples");
    tcase_add_checked_fixture(test, watch_vulkan, NULL);
    tcase_add_checked_fixture(test, enter_folder, leave_folder);
    tcase_set_timeout(test, 400);
    tcase_add_loop_test(test, examples_train_and_sample, 0, EXAMPLES);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {vulkan_examples, NULL};
    return run_suite("vulkan_examples", cases);
}
