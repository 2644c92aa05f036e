/* The examples, with few steps: each trains, samples and measures what it says.  gaussian.cm is in tables_test.c. */
#include "tests/api/example.h"

#include <math.h>

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
