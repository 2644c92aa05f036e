/* What the tests of the examples share: an example opened, trained, sampled and measured. */
#ifndef CM_TESTS_API_EXAMPLE_H
#define CM_TESTS_API_EXAMPLE_H

#include "tests/api/api_test.h"

#include <stdio.h>

typedef struct Example {
    cm_context *context;
    cm_program *program;
    cm_training *training;
} Example;

/* `entry`: the run to train, null: the only one, or none if `steps` is null, too. */
static inline Example open_run(const char *name, const char *entry, const char *steps, const char *batch)
{
    Example example = {0};
    cm_error *error;
    char path[512];
    snprintf(path, sizeof path, CM_SOURCE_DIR "/examples/%s", name);
    cm_setting settings[] = {{"train.steps", steps}, {"train.batch", batch}};
    cm_load_options load = {.size = sizeof load, .settings = settings, .setting_count = (steps != NULL) + (batch != NULL)};
    expect_ok(cm_context_create(NULL, &example.context, &error));
    expect_ok(cm_load_file(example.context, path, &load, &example.program, &error));
    if (steps)
        expect_ok(cm_training_create(example.program, entry, NULL, &example.training, &error));
    return example;
}

static inline Example open_example(const char *name, const char *steps)
{
    return open_run(name, NULL, steps, NULL);
}

static inline void close_example(Example *example)
{
    cm_training_free(example->training);
    cm_program_free(example->program);
    cm_context_free(example->context);
}

/* Runs to the end; the mean loss of the first and of the last `window` steps. */
static inline void train(Example *example, int window, double *first, double *last)
{
    cm_training_info info;
    cm_error *error;
    *first = *last = 0;
    expect_ok(cm_training_info_get(example->training, &info));
    for (int64_t i = 0; i < info.steps; i++) {
        cm_step step;
        expect_ok(cm_training_step(example->training, &step, &error));
        *first += i < window ? step.loss / window : 0;
        *last += i >= info.steps - window ? step.loss / window : 0;
    }
}

static inline cm_parameters *weights_of(Example *example)
{
    cm_parameters *weights;
    cm_error *error;
    expect_ok(cm_training_weights(example->training, &weights, &error));
    return weights;
}

static inline double evaluate(Example *example, const char *entry, const char *data, const char *axis, int64_t size,
                       cm_parameters *weights, const char *result)
{
    cm_binding binding = {axis, size};
    cm_sample_options options = {.size = sizeof options, .parameters = weights, .seed = 3};
    options.compile = (cm_compile_options){.size = sizeof options.compile, .bindings = &binding, .binding_count = axis != NULL};
    cm_parameters *results;
    cm_error *error;
    cm_array array;
    expect_ok(cm_evaluate(example->program, entry, data, &options, &results, &error));
    expect_ok(cm_parameters_get(results, result, &array, &error));
    double value = *(const double *)array.data;
    cm_parameters_free(results);
    return value;
}

/* Ten samples, in the range of images. */
static inline void check_images(Example *example, const char *entry, cm_parameters *weights)
{
    cm_binding binding = {"B", 10};
    cm_sample_options options = {.size = sizeof options, .parameters = weights, .seed = 1};
    options.compile = (cm_compile_options){.size = sizeof options.compile, .bindings = &binding, .binding_count = 1};
    cm_parameters *results;
    cm_error *error;
    cm_array images;
    expect_ok(cm_sample(example->program, entry, &options, &results, &error));
    expect_ok(cm_parameters_get(results, cm_parameters_name(results, 0), &images, &error));
    ck_assert_int_eq(images.rank, 4);
    ck_assert_int_eq(images.dim[0], 10);
    ck_assert_int_eq(images.dim[1], 28);
    for (int i = 0; i < 10 * 28 * 28; i++) {
        float pixel = ((const float *)images.data)[i];
        ck_assert_msg(pixel >= -1 && pixel <= 1, "%s: pixel %d is %g", entry, i, pixel);
    }
    cm_parameters_free(results);
}

#endif
