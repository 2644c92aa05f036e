/* Runs whose models start from other runs and from files: the key `start` of a train block. */
#include "tests/api/folder.h"

/* One program, two runs: the second follows what the first has learnt. */
static const char text[] =
    "model Point() {\n"
    "  param x: f32 = 1\n"
    "  param y: f32 = 5\n"
    "}\n"
    "model Line() {\n"
    "  param x: f32[K: 2] = zeros\n"
    "}\n"
    "loss rise(net: Point, other: Line) -> f32 = (net.x - 3)^2 + sum(other.x^2)\n"
    "loss follow(student: Point, teacher: Point) -> f32 = (student.x - teacher.x)^2\n"
    "train first { loss = rise, optimizer = sgd(lr = 0.25), steps = 2 }\n"
    "train second {\n"
    "  loss = follow, optimizer = sgd(lr = 0.5), steps = 1, teacher = frozen,\n"
    "  start = { teacher: \"first:net\" },\n"
    "}\n";

static float number_of(const cm_parameters *set, const char *name)
{
    cm_array array;
    cm_error *error = NULL;
    expect_ok(cm_parameters_get(set, name, &array, &error));
    return *(const float *)array.data;
}

static void run_first(cm_program *program)
{
    cm_training *training;
    cm_training_run_options options = {.size = sizeof options, .directory = "out/first"};
    cm_error *error;
    expect_ok(cm_training_create(program, "first", NULL, &training, &error));
    expect_ok(cm_training_run(training, &options, NULL, &error));
    cm_training_free(training);
}

static cm_parameters *weights_of_second(cm_program *program, const cm_parameters *given)
{
    cm_training *training;
    cm_parameters *weights;
    cm_training_options options = {.size = sizeof options, .weights = given};
    cm_error *error;
    expect_ok(cm_training_create(program, "second", &options, &training, &error));
    expect_ok(cm_training_weights(training, &weights, &error));
    cm_training_free(training);
    return weights;
}

START_TEST(a_model_starts_from_another_run)
{
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, text);
    run_first(program);
    cm_parameters *weights = weights_of_second(program, NULL);
    ck_assert_float_eq(number_of(weights, "teacher.x"), 2.5f); /* 1 -> 2 -> 2.5 */
    ck_assert_float_eq(number_of(weights, "teacher.y"), 5);
    ck_assert_float_eq(number_of(weights, "student.x"), 1);
    cm_parameters_free(weights);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

START_TEST(weights_that_are_given_come_first)
{
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, text);
    cm_parameters *given;
    cm_error *error;
    float seven = 7, eight = 8;
    expect_ok(cm_parameters_create_empty(context, &given, &error));
    expect_ok(cm_parameters_set(given, "teacher.x", &(cm_array){.dtype = CM_F32, .data = &seven}, &error));
    expect_ok(cm_parameters_set(given, "teacher.y", &(cm_array){.dtype = CM_F32, .data = &eight}, &error));
    cm_parameters *weights = weights_of_second(program, given); /* though no run is there to start from */
    ck_assert_float_eq(number_of(weights, "teacher.x"), 7);
    cm_parameters_free(weights);
    cm_parameters_free(given);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

typedef struct Wrong {
    const char *start; /* a setting of second.start */
    cm_status status;
    const char *reason;
} Wrong;

static const Wrong wrong[] = {
    {"{ teacher: \"third\" }", CM_IO_ERROR, "neither in out/third/weights.safetensors nor in third.safetensors: train that first"},
    {"{ teacher: \"absent.safetensors\" }", CM_IO_ERROR, "absent.safetensors"},
    {"{ teacher: \"first\" }", CM_MISMATCH, "out/first/weights.safetensors has no model `teacher`"},
    {"{ teacher: \"first:nut\" }", CM_MISMATCH, "out/first/weights.safetensors has no model `nut`"},
    {"{ teacher: \"first:other\" }", CM_MISMATCH, "`other` of out/first/weights.safetensors is not the model `teacher`"},
    {"{ teacher: \"broken.safetensors\" }", CM_IO_ERROR, "broken.safetensors"},
};

START_TEST(a_wrong_start_is_refused)
{
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, text);
    run_first(program);
    cm_program_free(program);
    ck_assert_int_eq(system("head -c 100 out/first/weights.safetensors >broken.safetensors"), 0);
    cm_setting setting = {"second.start", wrong[_i].start};
    cm_load_options options = {.size = sizeof options, .settings = &setting, .setting_count = 1};
    cm_training *training;
    cm_error *error;
    expect_ok(cm_load_text(context, "test.cm", text, strlen(text), &options, &program, &error));
    expect_failure(wrong[_i].status, wrong[_i].reason, cm_training_create(program, "second", NULL, &training, &error));
    ck_assert_ptr_null(training);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

static TCase *start_case(void)
{
    TCase *tests = tcase_create("start");
    tcase_add_checked_fixture(tests, enter_folder, leave_folder);
    tcase_add_test(tests, a_model_starts_from_another_run);
    tcase_add_test(tests, weights_that_are_given_come_first);
    tcase_add_loop_test(tests, a_wrong_start_is_refused, 0, (int)(sizeof wrong / sizeof *wrong));
    return tests;
}

int main(void)
{
    TCase *(*const cases[])(void) = {start_case, NULL};
    return run_suite("start", cases);
}
