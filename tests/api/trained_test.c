/* Methods trained on a Gaussian learn what the closed forms say: tests/reference/trained.cm.  Offset and slope of samples in
 * their noise, by regression over 4,096 samples. */
#include "tests/api/api_test.h"

#include <math.h>

typedef struct Trained {
    const char *run, *eval;
    double offset, slope, offset_bound, slope_bound;
} Trained;

static const Trained trained[] = {
    {"sct", "sct_line", 0.3, 0.5 * 0.5, 0.006, 0.005}, /* s / sigma_data times noise of deviation sigma_data */
    {"mean_flow", "mean_flow_line", 0.3, 0.25, 0.006, 0.015},
    {"ect_3", "ect_line", 0, 0.4683, 0.012, 0.012},
};

static double number_of(const cm_parameters *set, const char *name)
{
    cm_array array;
    cm_error *error;
    expect_ok(cm_parameters_get(set, name, &array, &error));
    return *(const double *)array.data;
}

START_TEST(learns_the_closed_form)
{
    const Trained *test = &trained[_i];
    cm_context *context = test_context(1);
    cm_program *program = test_file(context, CM_SOURCE_DIR "/tests/reference/trained.cm", NULL);
    cm_training *training;
    cm_parameters *weights, *line;
    cm_error *error;
    expect_ok(cm_training_create(program, test->run, NULL, &training, &error));
    expect_ok(cm_training_run(training, NULL, NULL, &error));
    expect_ok(cm_training_weights(training, &weights, &error));
    cm_sample_options options = {.size = sizeof options, .parameters = weights};
    expect_ok(cm_evaluate(program, test->eval, NULL, &options, &line, &error));
    ck_assert_double_eq_tol(number_of(line, "offset"), test->offset, test->offset_bound);
    ck_assert_double_eq_tol(number_of(line, "slope"), test->slope, test->slope_bound);
    cm_parameters_free(line);
    cm_parameters_free(weights);
    cm_training_free(training);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

static TCase *trained_case(void)
{
    TCase *tests = tcase_create("trained");
    tcase_set_timeout(tests, 300);
    tcase_add_loop_test(tests, learns_the_closed_form, 0, sizeof trained / sizeof *trained);
    return tests;
}

int main(void)
{
    TCase *(*const cases[])(void) = {trained_case, NULL};
    return run_suite("trained", cases);
}
