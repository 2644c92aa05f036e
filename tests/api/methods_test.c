/* The methods in examples/ that distil, tune or regularise: each with few steps, from the weights of its teacher. */
#include "tests/api/example.h"
#include "tests/api/folder.h"

#include <math.h>

/* Leaves the weights where other runs look for them. */
static void run_teacher(const char *name, const char *entry, const char *steps, const char *batch)
{
    Example example = open_run(name, entry, steps, batch);
    char out[64];
    snprintf(out, sizeof out, "out/%s", entry);
    cm_training_run_options options = {.size = sizeof options, .directory = out};
    cm_error *error;
    expect_ok(cm_training_run(example.training, &options, NULL, &error));
    close_example(&example);
}

typedef struct Method {
    const char *name;
    bool has_teacher;
} Method;

static const Method methods[] = {{"cd.cm", true},  {"scd.cm", true},       {"ect.cm", true},
                                 {"lcm.cm", true}, {"meanflow.cm", false}, {"dit.cm", false}};

START_TEST(a_method_of_images)
{
    const Method *method = &methods[_i];
    if (method->has_teacher)
        run_teacher("edm.cm", "edm", "2", "8");
    Example example = open_run(method->name, NULL, "3", "8");
    double first, last;
    train(&example, 1, &first, &last);
    ck_assert_msg(isfinite(first) && isfinite(last), "%s: loss from %g to %g", method->name, first, last);
    cm_parameters *weights = weights_of(&example);
    check_images(&example, "one_step", weights);
    check_images(&example, "two_step", weights);
    cm_parameters_free(weights);
    close_example(&example);
}
END_TEST

static cm_status opened_without_a_teacher(cm_error **error)
{
    cm_context *context = test_context(1);
    cm_program *program = test_file(context, CM_SOURCE_DIR "/examples/cd.cm", NULL);
    cm_training *training;
    cm_status status = cm_training_create(program, NULL, NULL, &training, error);
    cm_training_free(training);
    cm_program_free(program);
    cm_context_free(context);
    return status;
}

START_TEST(a_teacher_that_was_not_trained)
{
    cm_error *error;
    expect_failure(CM_IO_ERROR, "`net` starts from the run `edm`, whose weights are neither in out/edm/weights.safetensors",
                   opened_without_a_teacher(&error));
}
END_TEST

/* A student of a ring of Gaussians comes near it in few steps: untrained, it gives the mean of the data, at a distance of 1. */
START_TEST(rcm)
{
    run_teacher("rcm.cm", "teacher", "800", "512");
    Example example = open_run("rcm.cm", "rcm", "600", "256");
    double first, last;
    train(&example, 10, &first, &last);
    cm_parameters *weights = weights_of(&example);
    double distance = evaluate(&example, "quality", NULL, "B", 1024, weights, "energy");
    ck_assert_msg(distance < 0.5, "energy distance %g", distance);
    cm_parameters_free(weights);
    close_example(&example);
}
END_TEST

static TCase *methods_case(void)
{
    TCase *tests = tcase_create("methods");
    tcase_set_timeout(tests, 300);
    tcase_add_checked_fixture(tests, enter_folder, leave_folder);
    tcase_add_loop_test(tests, a_method_of_images, 0, sizeof methods / sizeof *methods);
    tcase_add_test(tests, a_teacher_that_was_not_trained);
    tcase_add_test(tests, rcm);
    return tests;
}

int main(void)
{
    TCase *(*const cases[])(void) = {methods_case, NULL};
    return run_suite("methods", cases);
}
