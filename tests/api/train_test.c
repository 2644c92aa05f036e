/* Training, sampling and evaluating through cm.h, on a fit that takes milliseconds. */
#include "tests/api/api_test.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

static const char text[] =
    "dim D = 2\n"
    "fn three() = 3.0\n"
    "fn cloud[N]() -> f32[N, D] {\n"
    "  let z ~ normal[N, D]\n"
    "  0.1 * z + 0.5\n"
    "}\n"
    "model Net() {\n"
    "  param w: f32[D] = zeros\n"
    "  fn call(x: f32[.., D]) -> f32[.., D] = x + w\n"
    "}\n"
    "loss fit(net: Net, x0: f32[B, D], step: i32) -> f32 {\n"
    "  let z ~ normal[B, D]\n"
    "  let late = select(step >= 1000, -1.0, 1.0)\n"
    "  mean((net(0.1 * z) - x0)^2) + 0.0 * sqrt(late)\n"
    "}\n"
    "sample draw(net: Net)[B = 16] -> f32[B, D] {\n"
    "  let z ~ normal[B, D]\n"
    "  net(0.1 * z)\n"
    "}\n"
    "eval distance(net: Net, x0: f32[B, D])[B = 32] -> f32 = mean(sum((x0 - net(0.0 * x0))^2, D))\n"
    "data points = { x0: generate(N = 100, cloud) }\n"
    "train fitting { loss = fit, data = points, optimizer = sgd(lr = 0.1), batch = 16, steps = 40, ema = 0.9,\n"
    "  seed = 5, log_every = 5, save_every = 10 }\n";

static char directory[] = "/tmp/cm-train-XXXXXX";

static void make_directory(void)
{
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void remove_directory(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", directory);
    ck_assert_int_eq(system(command), 0);
}

static const char *in_directory(const char *name)
{
    static char path[4][256];
    static int next;
    next = (next + 1) % 4;
    snprintf(path[next], sizeof path[next], "%s/%s", directory, name);
    return path[next];
}

typedef struct Fixture {
    cm_context *context;
    cm_program *program;
    cm_training *training;
} Fixture;

static Fixture open_fixture(int threads)
{
    cm_error *error = NULL;
    Fixture fixture = {.context = test_context(threads)};
    fixture.program = test_program(fixture.context, text);
    expect_ok(cm_training_create(fixture.program, NULL, NULL, &fixture.training, &error));
    return fixture;
}

static void close_fixture(Fixture fixture)
{
    cm_training_free(fixture.training);
    cm_program_free(fixture.program);
    cm_context_free(fixture.context);
}

static bool same_files(const char *a, const char *b)
{
    char command[600];
    snprintf(command, sizeof command, "cmp -s %s %s", a, b);
    return system(command) == 0;
}

START_TEST(a_run_has_facts)
{
    Fixture fixture = open_fixture(1);
    cm_training_info info;
    ck_assert_int_eq(cm_training_info_get(fixture.training, &info), CM_OK);
    ck_assert_str_eq(info.name, "fitting");
    ck_assert_int_eq(info.steps, 40);
    ck_assert_int_eq(info.batch, 16);
    ck_assert_int_eq(info.samples, 100);
    ck_assert_int_eq(info.seed, 5);
    ck_assert_int_eq(info.weight_count, 2);
    ck_assert_int_eq(info.save_every, 10);
    close_fixture(fixture);
}
END_TEST

START_TEST(steps_lower_the_loss)
{
    cm_error *error = NULL;
    Fixture fixture = open_fixture(2);
    cm_step first, step;
    expect_ok(cm_training_step(fixture.training, &first, &error));
    ck_assert_int_eq(first.step, 0);
    ck_assert_int_eq(first.finite, 1);
    for (int i = 1; i < 40; i++)
        expect_ok(cm_training_step(fixture.training, &step, &error));
    ck_assert_int_eq(step.step, 39);
    ck_assert_double_lt(step.loss, first.loss / 3);
    ck_assert_double_gt(step.grad_norm, 0);
    close_fixture(fixture);
}
END_TEST

START_TEST(threads_do_not_change_the_bits)
{
    cm_error *error = NULL;
    Fixture one = open_fixture(1), two = open_fixture(2);
    for (int i = 0; i < 20; i++) {
        cm_step a, b;
        expect_ok(cm_training_step(one.training, &a, &error));
        expect_ok(cm_training_step(two.training, &b, &error));
        ck_assert_double_eq(a.loss, b.loss);
    }
    expect_ok(cm_training_save(one.training, in_directory("one.safetensors"), &error));
    expect_ok(cm_training_save(two.training, in_directory("two.safetensors"), &error));
    ck_assert(same_files(in_directory("one.safetensors"), in_directory("two.safetensors")));
    close_fixture(one);
    close_fixture(two);
}
END_TEST

static void stop_at_13(void *state, const cm_step *step, const cm_training_report *so_far)
{
    (void)so_far;
    if (step->step == 13)
        cm_training_stop(state);
}

START_TEST(a_run_that_is_stopped_resumes_to_the_same_bits)
{
    cm_error *error = NULL;
    Fixture whole = open_fixture(1), part = open_fixture(1), rest = open_fixture(1);
    cm_training_report report;
    cm_training_run_options options = {.size = sizeof options, .directory = in_directory("whole")};
    expect_ok(cm_training_run(whole.training, &options, &report, &error));
    ck_assert_int_eq(report.step, 40);
    ck_assert_int_eq(report.stopped, 0);
    ck_assert_double_gt(report.images_per_second, 0);
    options = (cm_training_run_options){
        .size = sizeof options, .directory = in_directory("part"), .progress = stop_at_13, .progress_state = part.training};
    expect_ok(cm_training_run(part.training, &options, &report, &error));
    ck_assert_int_eq(report.step, 14);
    ck_assert_int_eq(report.stopped, 1);
    options.progress = NULL;
    options.resume = 1;
    expect_ok(cm_training_run(rest.training, &options, &report, &error));
    ck_assert_int_eq(report.first_step, 14);
    ck_assert_int_eq(report.step, 40);
    ck_assert(same_files(in_directory("whole/checkpoint.safetensors"), in_directory("part/checkpoint.safetensors")));
    ck_assert(same_files(in_directory("whole/weights.safetensors"), in_directory("part/weights.safetensors")));
    ck_assert_int_eq(access(in_directory("whole/loss.csv"), R_OK), 0);
    ck_assert_int_eq(access(in_directory("whole/loss.svg"), R_OK), 0);
    close_fixture(whole);
    close_fixture(part);
    close_fixture(rest);
}
END_TEST

START_TEST(a_checkpoint_of_another_seed_is_refused)
{
    cm_error *error = NULL;
    Fixture fixture = open_fixture(1);
    expect_ok(cm_training_save(fixture.training, in_directory("a.safetensors"), &error));
    int64_t seed = 6;
    cm_training_options options = {.size = sizeof options, .seed = &seed};
    cm_training *other;
    expect_ok(cm_training_create(fixture.program, "fitting", &options, &other, &error));
    expect_failure(CM_MISMATCH, "seed", cm_training_load(other, in_directory("a.safetensors"), &error));
    expect_failure(CM_IO_ERROR, "none", cm_training_load(other, in_directory("none.safetensors"), &error));
    cm_training_free(other);
    cm_parameters *set;
    expect_ok(cm_training_weights(fixture.training, &set, &error));
    expect_ok(cm_parameters_save(set, in_directory("b.safetensors"), NULL, &error));
    expect_status(CM_IO_ERROR, cm_training_load(fixture.training, in_directory("b.safetensors"), &error));
    cm_error_free(error);
    cm_parameters_free(set);
    close_fixture(fixture);
}
END_TEST

/* Other samples would follow. */
START_TEST(a_checkpoint_of_another_batch_is_refused)
{
    cm_error *error = NULL;
    Fixture fixture = open_fixture(1);
    expect_ok(cm_training_save(fixture.training, in_directory("a.safetensors"), &error));
    cm_setting setting = {"train.batch", "8"};
    cm_load_options options = {.size = sizeof options, .settings = &setting, .setting_count = 1};
    cm_program *program;
    cm_training *other;
    expect_ok(cm_load_text(fixture.context, "test.cm", text, strlen(text), &options, &program, &error));
    expect_ok(cm_training_create(program, "fitting", NULL, &other, &error));
    expect_failure(CM_MISMATCH, "batches of 16, this one of 8", cm_training_load(other, in_directory("a.safetensors"), &error));
    cm_training_free(other);
    cm_program_free(program);
    close_fixture(fixture);
}
END_TEST

START_TEST(a_value_that_is_not_finite_is_named)
{
    static const char bad[] = "model Net() {\n"
                              "  param w: f32 = ones\n"
                              "  fn call(x: f32) -> f32 = w * x\n"
                              "}\n"
                              "loss sinking(net: Net, step: i32) -> f32 {\n"
                              "  let depth = 3 - (step as f32)\n"
                              "  let root = sqrt(depth)\n"
                              "  net(root)\n"
                              "}\n"
                              "train down { loss = sinking, optimizer = sgd(lr = 0.0), batch = 1, steps = 10 }\n";
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, bad);
    cm_training *training;
    cm_step step;
    expect_ok(cm_training_create(program, NULL, NULL, &training, &error));
    for (int i = 0; i < 4; i++)
        expect_ok(cm_training_step(training, &step, &error));
    expect_status(CM_NOT_FINITE, cm_training_step(training, &step, &error));
    ck_assert_int_eq(step.step, 4);
    ck_assert_int_eq(step.finite, 0);
    cm_diagnostic diagnostic;
    ck_assert_int_eq(cm_error_diagnostic(error, 0, &diagnostic), CM_OK);
    ck_assert_str_eq(diagnostic.code, "not_finite");
    ck_assert_int_eq(diagnostic.line, 7);
    ck_assert_msg(strstr(diagnostic.message, "sqrt") != NULL, "%s", diagnostic.message);
    cm_error_free(error);
    cm_training_info info;
    cm_training_info_get(training, &info);
    ck_assert_int_eq(info.step, 4);
    cm_training_free(training);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

START_TEST(samples_use_the_averaged_weights)
{
    cm_error *error = NULL;
    Fixture fixture = open_fixture(1);
    expect_ok(cm_training_run(fixture.training, NULL, NULL, &error));
    cm_parameters *weights, *samples, *again;
    cm_array array, other;
    expect_ok(cm_training_weights(fixture.training, &weights, &error));
    expect_ok(cm_parameters_get(weights, "net.w", &array, &error));
    ck_assert_float_eq_tol(*(float *)array.data, 0.5f, 0.15f);
    cm_sample_options options = {.size = sizeof options, .parameters = weights, .seed = 1};
    expect_ok(cm_sample(fixture.program, NULL, &options, &samples, &error));
    expect_ok(cm_sample(fixture.program, "draw", &options, &again, &error));
    expect_ok(cm_parameters_get(samples, cm_parameters_name(samples, 0), &array, &error));
    expect_ok(cm_parameters_get(again, cm_parameters_name(samples, 0), &other, &error));
    ck_assert_int_eq(array.dim[0], 16);
    ck_assert_mem_eq(array.data, other.data, cm_array_bytes(&array));
    options.parameters = NULL;
    cm_parameters *nothing;
    expect_failure(CM_MISMATCH, "net.w", cm_sample(fixture.program, "draw", &options, &nothing, &error));
    ck_assert_ptr_null(nothing);
    expect_failure(CM_INVALID_ARGUMENT, "train", cm_sample(fixture.program, "fitting", &options, &nothing, &error));
    cm_parameters_free(samples);
    expect_ok(cm_sample(fixture.program, "three", NULL, &samples, &error)); /* a plain function is an entry, too */
    expect_ok(cm_parameters_get(samples, "result", &array, &error));
    ck_assert_float_eq(*(float *)array.data, 3);
    cm_parameters_free(samples);
    cm_parameters_free(again);
    cm_parameters_free(weights);
    close_fixture(fixture);
}
END_TEST

/* 100 samples in batches of 32 leave 4: the mean over batches must be the mean over samples. */
START_TEST(evaluation_covers_every_sample_once)
{
    cm_error *error = NULL;
    Fixture fixture = open_fixture(1);
    cm_parameters *weights, *result, *data;
    cm_array points, value;
    expect_ok(cm_parameters_create(fixture.program, 0, &weights, &error));
    expect_ok(cm_parameters_load_data(fixture.program, NULL, &data, &error));
    expect_ok(cm_parameters_get(data, "x0", &points, &error));
    ck_assert_int_eq(points.dim[0], 100);
    double wanted = 0;
    for (int i = 0; i < 200; i++)
        wanted += pow((double)((float *)points.data)[i], 2) / 100;
    cm_sample_options options = {.size = sizeof options, .parameters = weights};
    expect_ok(cm_evaluate(fixture.program, NULL, NULL, &options, &result, &error));
    expect_ok(cm_parameters_get(result, cm_parameters_name(result, 0), &value, &error));
    ck_assert_int_eq(value.dtype, CM_F64);
    ck_assert_double_eq_tol(*(double *)value.data, wanted, 1e-5);
    cm_parameters_free(result);
    expect_failure(CM_INVALID_ARGUMENT, "nothing", cm_evaluate(fixture.program, NULL, "nothing", &options, &result, &error));
    expect_failure(CM_INVALID_ARGUMENT, "pointz", cm_parameters_load_data(fixture.program, "pointz", &result, &error));
    cm_parameters_free(weights);
    cm_parameters_free(data);
    close_fixture(fixture);
}
END_TEST

/* The functions behind a field are those of the set that is named: here the samples are 1, and twice, thrice and once them. */
START_TEST(each_data_set_has_its_own_functions)
{
    static const char sets[] = "fn one[N]() -> f32[N, D: 1] = ones[N, D: 1]\n"
                               "model Net() { param w: f32 = ones }\n"
                               "loss fit(net: Net, x: f32[B, D: 1]) -> f32 = mean(net.w * x)\n"
                               "data twice = { x: generate(N = 6, one) |> (v => 2 * v) }\n"
                               "data thrice = { x: generate(N = 6, one) |> (v => 3 * v), y: generate(N = 6, one) }\n"
                               "data plain = { x: generate(N = 6, one) }\n"
                               "train { loss = fit, data = twice, optimizer = sgd(lr = 0.1) }\n"
                               "eval middle(x: f32[B, D: 1])[B = 4] -> f32 = mean(x)\n"
                               "eval other(y: f32[B, D: 1])[B = 4] -> f32 = mean(y)\n";
    static const struct {
        const char *entry, *data;
        double mean;
    } cases[] = {
        {"middle", NULL, 2}, {"middle", "twice", 2}, {"middle", "thrice", 3}, {"middle", "plain", 1}, {"other", "thrice", 1}};
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, sets);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cm_parameters *result;
        cm_array value;
        expect_ok(cm_evaluate(program, cases[i].entry, cases[i].data, NULL, &result, &error));
        expect_ok(cm_parameters_get(result, "result", &value, &error));
        ck_assert_double_eq(*(double *)value.data, cases[i].mean);
        cm_parameters_free(result);
    }
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* Two runs and two functions whose models share a name, and the name of a weight. */
START_TEST(one_name_for_two_models)
{
    static const char both[] = "model A() { param w: f32[T: 2] = full(2.0) }\n"
                               "model B() { param w: f32[T: 3] = full(3.0) }\n"
                               "fn of_a(net: A) = net.w\n"
                               "fn of_b(net: B) = net.w\n"
                               "loss fit_a(net: A) -> f32 = sum(net.w)\n"
                               "loss fit_b(net: B) -> f32 = sum(net.w)\n"
                               "train a { loss = fit_a, optimizer = sgd(lr = 1.0, momentum = 0.5), steps = 1 }\n"
                               "train b { loss = fit_b, optimizer = sgd(lr = 1.0, momentum = 0.5), steps = 1 }\n";
    static const char *const functions[] = {"of_a", "of_b"}, *const runs[] = {"a", "b"};
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, both);
    cm_parameters *set;
    cm_array w;
    for (int i = 0; i < 2; i++) {
        cm_training *training;
        expect_ok(cm_parameters_create_for(program, functions[i], 0, &set, &error));
        expect_ok(cm_parameters_get(set, "net.w", &w, &error));
        ck_assert_int_eq(w.dim[0], i + 2);
        cm_parameters_free(set);
        expect_ok(cm_training_create(program, runs[i], NULL, &training, &error));
        expect_ok(cm_training_run(training, NULL, NULL, &error));
        expect_ok(cm_training_weights(training, &set, &error));
        expect_ok(cm_parameters_get(set, "net.w", &w, &error));
        ck_assert_int_eq(w.dim[0], i + 2);
        ck_assert_float_eq(((float *)w.data)[i + 1], (float)i + 1); /* 1 less than at the start */
        cm_parameters_free(set);
        cm_training_free(training);
    }
    expect_failure(CM_INVALID_ARGUMENT, "of_c", cm_parameters_create_for(program, "of_c", 0, &set, &error));
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

START_TEST(first_weights_follow_from_the_seed)
{
    static const char drawn[] =
        "model Net() {\n  param w: f32[D: 8] = normal(std = 1.0)\n  fn call(x: f32[D]) -> f32[D] = x + w\n}\n"
        "sample s(net: Net) -> f32[D: 8] = net(zeros[D: 8])\n";
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, drawn);
    cm_parameters *a, *b, *c;
    cm_array x, y, z;
    expect_ok(cm_parameters_create(program, 1, &a, &error));
    expect_ok(cm_parameters_create(program, 1, &b, &error));
    expect_ok(cm_parameters_create(program, 2, &c, &error));
    expect_ok(cm_parameters_get(a, "net.w", &x, &error));
    expect_ok(cm_parameters_get(b, "net.w", &y, &error));
    expect_ok(cm_parameters_get(c, "net.w", &z, &error));
    ck_assert_mem_eq(x.data, y.data, 32);
    ck_assert_mem_ne(x.data, z.data, 32);
    cm_parameters_free(a);
    cm_parameters_free(b);
    cm_parameters_free(c);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

START_TEST(wrong_trainings_are_refused)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, "fn f(x: f32) -> f32 = x\n");
    cm_training *training;
    expect_failure(CM_INVALID_ARGUMENT, "no train", cm_training_create(program, NULL, NULL, &training, &error));
    ck_assert_ptr_null(training);
    expect_failure(CM_INVALID_ARGUMENT, "f is a function, but a train block",
                   cm_training_create(program, "f", NULL, &training, &error));
    cm_program_free(program);
    program = test_program(context, text);
    cm_parameters *weights;
    float w[3] = {0};
    cm_array array = {.dtype = CM_F32, .rank = 1, .dim = {3}, .data = w};
    expect_ok(cm_parameters_create_empty(context, &weights, &error));
    expect_ok(cm_parameters_set(weights, "net.w", &array, &error));
    cm_training_options options = {.size = sizeof options, .weights = weights};
    expect_failure(CM_MISMATCH, "f32[3]", cm_training_create(program, NULL, &options, &training, &error));
    cm_parameters_free(weights);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

static TCase *training_case(void)
{
    TCase *test = tcase_create("training");
    tcase_add_checked_fixture(test, make_directory, remove_directory);
    tcase_add_test(test, a_run_has_facts);
    tcase_add_test(test, steps_lower_the_loss);
    tcase_add_test(test, threads_do_not_change_the_bits);
    tcase_add_test(test, a_run_that_is_stopped_resumes_to_the_same_bits);
    tcase_add_test(test, a_checkpoint_of_another_seed_is_refused);
    tcase_add_test(test, a_checkpoint_of_another_batch_is_refused);
    tcase_add_test(test, a_value_that_is_not_finite_is_named);
    tcase_add_test(test, samples_use_the_averaged_weights);
    tcase_add_test(test, evaluation_covers_every_sample_once);
    tcase_add_test(test, each_data_set_has_its_own_functions);
    tcase_add_test(test, one_name_for_two_models);
    tcase_add_test(test, first_weights_follow_from_the_seed);
    tcase_add_test(test, wrong_trainings_are_refused);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {training_case, NULL};
    return run_suite("training", cases);
}
