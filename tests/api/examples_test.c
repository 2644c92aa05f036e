/* The examples, with few steps: each trains, samples and measures what it says.  gaussian.cm is in tables_test.c. */
#include "tests/api/api_test.h"

#include <math.h>
#include <stdio.h>

static const char directory[] = CM_SOURCE_DIR "/examples/";

typedef struct Example {
    cm_context *context;
    cm_program *program;
    cm_training *training;
} Example;

static Example open_example(const char *name, const char *steps)
{
    Example example = {0};
    cm_error *error;
    char path[512];
    snprintf(path, sizeof path, "%s%s", directory, name);
    cm_setting setting = {"train.steps", steps};
    cm_load_options load = {.size = sizeof load, .settings = &setting, .setting_count = steps != NULL};
    expect_ok(cm_context_create(NULL, &example.context, &error));
    expect_ok(cm_load_file(example.context, path, &load, &example.program, &error));
    if (steps)
        expect_ok(cm_training_create(example.program, NULL, NULL, &example.training, &error));
    return example;
}

static void close_example(Example *example)
{
    cm_training_free(example->training);
    cm_program_free(example->program);
    cm_context_free(example->context);
}

/* Runs to the end; the mean loss of the first and of the last `window` steps. */
static void train(Example *example, int window, double *first, double *last)
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

static cm_parameters *weights_of(Example *example)
{
    cm_parameters *weights;
    cm_error *error;
    expect_ok(cm_training_weights(example->training, &weights, &error));
    return weights;
}

static double evaluate(Example *example, const char *entry, const char *data, const char *axis, int64_t size,
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

/* One-step samples come near the data: the energy distance of untrained samples is some hundred times as large. */
START_TEST(moons)
{
    Example example = open_example("moons.cm", "1500");
    double first, last;
    train(&example, 100, &first, &last);
    cm_parameters *weights = weights_of(&example);
    double distance = evaluate(&example, "distance", NULL, "B", 512, weights, "result");
    ck_assert_msg(distance < 0.08, "energy distance %g", distance);
    cm_parameters_free(weights);
    close_example(&example);
}
END_TEST

START_TEST(fashion_classifier)
{
    Example example = open_example("fashion_classifier.cm", "200");
    double first, last;
    train(&example, 20, &first, &last);
    ck_assert_msg(last < 0.4 * first, "loss from %g to %g", first, last);
    cm_parameters *weights = weights_of(&example);
    double accuracy = evaluate(&example, "accuracy", "test", NULL, 0, weights, "result");
    ck_assert_msg(accuracy > 0.8, "accuracy %g", accuracy);
    cm_parameters_free(weights);
    close_example(&example);
}
END_TEST

/* The weights that ship name over 88 % of the test images right. */
START_TEST(the_judge_that_ships)
{
    Example example = open_example("fashion_classifier.cm", NULL);
    cm_parameters *weights;
    cm_error *error;
    expect_ok(cm_parameters_load(example.context, CM_SOURCE_DIR "/examples/fashion_classifier.safetensors", &weights, &error));
    double accuracy = evaluate(&example, "accuracy", "test", NULL, 0, weights, "result");
    ck_assert_msg(accuracy > 0.88, "accuracy %g", accuracy);
    cm_parameters_free(weights);
    close_example(&example);
}
END_TEST

static void check_images(Example *example, const char *entry, cm_parameters *weights)
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

typedef struct ImageModel {
    const char *name, *samples[2];
} ImageModel;

static const ImageModel image_models[] = {{"ict.cm", {"one_step", "two_step"}},
                                          {"ct.cm", {"one_step", "two_step"}},
                                          {"scm.cm", {"one_step", "two_step"}},
                                          {"edm.cm", {"heun"}}};

static void check_image_model(const ImageModel *model)
{
    const char *name = model->name;
    Example example = open_example(name, "3");
    double first, last;
    train(&example, 1, &first, &last);
    ck_assert_msg(isfinite(first) && isfinite(last) && first > 0, "%s: loss from %g to %g", name, first, last);
    cm_parameters *weights = weights_of(&example);
    for (int i = 0; i < 2 && model->samples[i]; i++)
        check_images(&example, model->samples[i], weights);
    cm_parameters_free(weights);
    close_example(&example);
}

START_TEST(image_model)
{
    check_image_model(&image_models[_i]);
}
END_TEST

/* Test images are far closer to the training images than any model here: the scale of what quality.cm says. */
START_TEST(quality)
{
    Example example = open_example("quality.cm", NULL);
    cm_parameters *judge, *file, *moments[2];
    cm_error *error;
    expect_ok(cm_parameters_load(example.context, CM_SOURCE_DIR "/examples/fashion_classifier.safetensors", &file, &error));
    expect_ok(cm_parameters_create_empty(example.context, &judge, &error));
    for (size_t i = 0; i < cm_parameters_count(file); i++) {
        char name[128];
        cm_array array;
        snprintf(name, sizeof name, "judge%s", strchr(cm_parameters_name(file, i), '.'));
        expect_ok(cm_parameters_get(file, cm_parameters_name(file, i), &array, &error));
        expect_ok(cm_parameters_set(judge, name, &array, &error));
    }
    cm_sample_options options = {.size = sizeof options, .parameters = judge};
    cm_input inputs[8];
    char names[8][32];
    int count = 0;
    for (int set = 0; set < 2; set++) {
        expect_ok(cm_evaluate(example.program, "features", set ? "test" : "fashion", &options, &moments[set], &error));
        for (size_t i = 0; i < cm_parameters_count(moments[set]); i++, count++) {
            const char *field = cm_parameters_name(moments[set], i);
            snprintf(names[count], sizeof names[count], "%s.%s", set ? "test" : "real", field);
            inputs[count].name = names[count];
            expect_ok(cm_parameters_get(moments[set], field, &inputs[count].array, &error));
        }
    }
    ck_assert_int_eq(count, 8);
    options.inputs = inputs;
    options.input_count = 8;
    cm_parameters *results;
    cm_array distance;
    expect_ok(cm_evaluate(example.program, "real_images", NULL, &options, &results, &error));
    expect_ok(cm_parameters_get(results, "frechet_real", &distance, &error));
    ck_assert_msg(*(double *)distance.data > 0 && *(double *)distance.data < 0.1, "frechet_real %g", *(double *)distance.data);
    expect_ok(cm_parameters_get(results, "kernel_real", &distance, &error));
    ck_assert_msg(fabs(*(double *)distance.data) < 0.05, "kernel_real %g", *(double *)distance.data);
    cm_parameters_free(results);
    cm_parameters_free(moments[0]);
    cm_parameters_free(moments[1]);
    cm_parameters_free(judge);
    cm_parameters_free(file);
    close_example(&example);
}
END_TEST

static TCase *examples_case(void)
{
    TCase *tcase = tcase_create("examples");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, moons);
    tcase_add_test(tcase, fashion_classifier);
    tcase_add_test(tcase, the_judge_that_ships);
    tcase_add_loop_test(tcase, image_model, 0, sizeof image_models / sizeof *image_models);
    tcase_add_test(tcase, quality);
    return tcase;
}

int main(void)
{
    return run_suite("examples", (TCase * (*const[])(void)){examples_case, NULL});
}
