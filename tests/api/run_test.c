/* Compiling and running through cm.h: ports, results, wrong arrays, threads, allocators that fail. */
#include "tests/api/api_test.h"

#include <pthread.h>
#include <stdatomic.h>

enum { SIZE = 64 };

static const char text[] = "fn axpy(a: f32, x: f32[B]) -> f32[B] = a * x + 1\n"
                           "fn both(x: f32[B]) -> (f32[B], f32) = (2 * x, sum(x * x))\n"
                           "fn slope(x: f32[B]) -> f32[B] {\n"
                           "  let (y, dy) = jvp(u => sin(u) * u, x, ones[B])\n"
                           "  dy\n"
                           "}\n"
                           "fn noise[B = 64]() -> f32[B] {\n"
                           "  let z ~ normal[B]\n"
                           "  z\n"
                           "}\n"
                           "fn mix(x: f32[A, B], y: f32[B, C]) -> f32[A, C] = dot(x, y, B)\n";

typedef struct Fixture {
    cm_context *context;
    cm_program *program;
} Fixture;

static Fixture open_fixture(int threads)
{
    cm_context *context = test_context(threads);
    return (Fixture){context, test_program(context, text)};
}

static void close_fixture(Fixture fixture)
{
    cm_program_free(fixture.program);
    cm_context_free(fixture.context);
}

static cm_array vector(float *data)
{
    return (cm_array){.dtype = CM_F32, .rank = 1, .dim = {SIZE}, .data = data};
}

static void count_up(float *x)
{
    for (int i = 0; i < SIZE; i++)
        x[i] = (float)i / 8 - 3;
}

START_TEST(a_function_runs)
{
    cm_error *error = NULL;
    Fixture fixture = open_fixture(2);
    cm_executable *executable = test_compile(fixture.program, "axpy", "B", SIZE);
    float a = 2.5f, x[SIZE], y[SIZE];
    count_up(x);
    cm_input inputs[] = {{"x", vector(x)}, {"a", {.dtype = CM_F32, .data = &a}}};
    cm_array result = {.data = y};
    expect_ok(cm_run(executable, NULL, inputs, 2, &result, 1, &error));
    ck_assert_int_eq(result.dtype, CM_F32);
    ck_assert_int_eq(result.rank, 1);
    ck_assert_int_eq(result.dim[0], SIZE);
    for (int i = 0; i < SIZE; i++)
        ck_assert_float_eq_tol(y[i], a * x[i] + 1, 1e-5f);
    cm_executable_free(executable);
    close_fixture(fixture);
}
END_TEST

START_TEST(ports_say_what_a_function_takes)
{
    Fixture fixture = open_fixture(1);
    cm_executable *executable = test_compile(fixture.program, "axpy", "B", SIZE);
    cm_port port;
    ck_assert_uint_eq(cm_executable_input_count(executable), 2);
    ck_assert_uint_eq(cm_executable_output_count(executable), 1);
    ck_assert_int_eq(cm_executable_input(executable, 1, &port), CM_OK);
    ck_assert_str_eq(port.name, "x");
    ck_assert_int_eq(port.role, CM_ROLE_ARGUMENT);
    ck_assert_int_eq(port.rank, 1);
    ck_assert_int_eq(port.dim[0], SIZE);
    ck_assert_str_eq(port.label[0], "B");
    ck_assert_int_eq(cm_executable_output(executable, 0, &port), CM_OK);
    ck_assert_int_eq(port.role, CM_ROLE_RESULT);
    ck_assert_int_eq(cm_executable_output(executable, 1, &port), CM_INVALID_ARGUMENT);
    cm_compile_stats stats;
    ck_assert_int_eq(cm_executable_stats(executable, &stats), CM_OK);
    ck_assert_int_ge(stats.kernels, 1);
    ck_assert_int_ge(stats.peak_bytes, 0);
    ck_assert_double_gt(stats.seconds, 0);
    cm_executable_free(executable);
    close_fixture(fixture);
}
END_TEST

START_TEST(compiled_once_for_each_size)
{
    Fixture fixture = open_fixture(1);
    cm_executable *a = test_compile(fixture.program, "axpy", "B", SIZE), *b = test_compile(fixture.program, "axpy", "B", SIZE);
    cm_executable *c = test_compile(fixture.program, "axpy", "B", SIZE + 1);
    ck_assert_ptr_eq(a, b);
    ck_assert_ptr_ne(a, c);
    cm_executable_free(a);
    cm_executable_free(b);
    cm_executable_free(c);
    close_fixture(fixture);
}
END_TEST

static float half_exponential(cm_program *program, cm_precision precision)
{
    cm_compile_options options = {.size = sizeof options, .precision = precision};
    cm_executable *executable;
    cm_error *error;
    float x = 0.5f, y = 0;
    cm_input input = {.array = {.dtype = CM_F32, .data = &x}};
    cm_array result = {.data = &y};
    expect_ok(cm_compile(program, "e", &options, &executable, &error));
    expect_ok(cm_run(executable, NULL, &input, 1, &result, 1, &error));
    cm_executable_free(executable);
    return y;
}

/* Fast is near, and has other bits; what is asked for at compiling comes before a setting, and that before the text. */
START_TEST(precision_is_chosen)
{
    cm_context *context = test_context(1);
    cm_setting setting = {"precision", "exact"};
    cm_load_options set = {.size = sizeof set, .settings = &setting, .setting_count = 1};
    const char short_ones[] = "precision = fast\nfn e(x: f32) = exp(x)\n";
    cm_program *plain = test_program(context, "fn e(x: f32) = exp(x)\n"), *fast = test_program(context, short_ones), *reset;
    cm_error *error = NULL;
    expect_ok(cm_load_text(context, "test.cm", short_ones, strlen(short_ones), &set, &reset, &error));
    float exact_value = half_exponential(plain, CM_PRECISION_PROGRAM), fast_value = half_exponential(plain, CM_PRECISION_FAST);
    ck_assert_float_eq_tol(exact_value, 1.6487212707f, 2e-7f);
    ck_assert_float_eq_tol(fast_value, 1.6487212707f, 2e-5f);
    ck_assert_float_ne(exact_value, fast_value);
    ck_assert_float_eq(half_exponential(plain, CM_PRECISION_EXACT), exact_value);
    ck_assert_float_eq(half_exponential(fast, CM_PRECISION_PROGRAM), fast_value);
    ck_assert_float_eq(half_exponential(fast, CM_PRECISION_EXACT), exact_value);
    ck_assert_float_eq(half_exponential(reset, CM_PRECISION_PROGRAM), exact_value);
    ck_assert_float_eq(half_exponential(reset, CM_PRECISION_FAST), fast_value);
    cm_program_free(plain);
    cm_program_free(fast);
    cm_program_free(reset);
    cm_context_free(context);
}
END_TEST

START_TEST(derivatives_run)
{
    cm_error *error = NULL;
    Fixture fixture = open_fixture(1);
    cm_executable *executable = test_compile(fixture.program, "slope", "B", SIZE);
    float x[SIZE], dy[SIZE];
    count_up(x);
    cm_input input = {NULL, vector(x)};
    cm_array result = {.data = dy};
    expect_ok(cm_run(executable, NULL, &input, 1, &result, 1, &error));
    for (int i = 1; i + 1 < SIZE; i++) {
        double h = 1e-4, up = (double)x[i] + h, down = (double)x[i] - h;
        double wanted = (__builtin_sin(up) * up - __builtin_sin(down) * down) / (2 * h);
        ck_assert_double_eq_tol((double)dy[i], wanted, 1e-4);
    }
    cm_executable_free(executable);
    close_fixture(fixture);
}
END_TEST

START_TEST(results_may_be_dropped)
{
    cm_error *error = NULL;
    Fixture fixture = open_fixture(1);
    cm_executable *executable = test_compile(fixture.program, "both", "B", SIZE);
    float x[SIZE], total = -1;
    count_up(x);
    double wanted = 0;
    for (int i = 0; i < SIZE; i++)
        wanted += (double)x[i] * (double)x[i];
    cm_input input = {"x", vector(x)};
    cm_array results[2] = {{.data = NULL}, {.data = &total}};
    expect_ok(cm_run(executable, NULL, &input, 1, results, 2, &error));
    ck_assert_double_eq_tol((double)total, wanted, 1e-3);
    expect_ok(cm_run(executable, NULL, &input, 1, NULL, 0, &error));
    cm_executable_free(executable);
    close_fixture(fixture);
}
END_TEST

START_TEST(wrong_arrays_are_refused)
{
    cm_error *error = NULL;
    Fixture fixture = open_fixture(1);
    cm_executable *executable = test_compile(fixture.program, "axpy", "B", SIZE);
    float a = 1, x[SIZE + 1] = {0}, y[SIZE];
    cm_input inputs[] = {{"x", vector(x)}, {"a", {.dtype = CM_F32, .data = &a}}};
    cm_array result = {.data = y};
    expect_failure(CM_MISMATCH, "x", cm_run(executable, NULL, inputs + 1, 1, &result, 1, &error));
    inputs[0].array.dim[0] = SIZE + 1;
    expect_failure(CM_MISMATCH, "f32[65]", cm_run(executable, NULL, inputs, 2, &result, 1, &error));
    inputs[0].array = vector(x);
    inputs[0].array.dtype = CM_F64;
    expect_failure(CM_MISMATCH, "f64", cm_run(executable, NULL, inputs, 2, &result, 1, &error));
    inputs[0].array.dtype = (cm_dtype)42;
    expect_failure(CM_INVALID_ARGUMENT, "x", cm_run(executable, NULL, inputs, 2, &result, 1, &error));
    inputs[0].array = vector(NULL);
    expect_failure(CM_INVALID_ARGUMENT, "no data", cm_run(executable, NULL, inputs, 2, &result, 1, &error));
    inputs[0].array = vector((float *)(void *)((char *)x + 1));
    expect_failure(CM_INVALID_ARGUMENT, "multiple", cm_run(executable, NULL, inputs, 2, &result, 1, &error));
    inputs[0] = (cm_input){"xx", vector(x)};
    expect_failure(CM_INVALID_ARGUMENT, "no input xx", cm_run(executable, NULL, inputs, 2, &result, 1, &error));
    inputs[0] = (cm_input){"a", vector(x)};
    expect_status(CM_MISMATCH, cm_run(executable, NULL, inputs, 2, &result, 1, &error));
    cm_error_free(error);
    inputs[0] = inputs[1];
    expect_failure(CM_INVALID_ARGUMENT, "twice", cm_run(executable, NULL, inputs, 2, &result, 1, &error));
    inputs[0] = (cm_input){"x", vector(x)};
    result = vector(x);
    expect_failure(CM_INVALID_ARGUMENT, "memory", cm_run(executable, NULL, inputs, 2, &result, 1, &error));
    result = (cm_array){.dtype = CM_F32, .rank = 1, .dim = {3}, .data = y};
    expect_failure(CM_MISMATCH, "result", cm_run(executable, NULL, inputs, 2, &result, 1, &error));
    cm_array three[3] = {{.data = y}};
    expect_failure(CM_INVALID_ARGUMENT, "results", cm_run(executable, NULL, inputs, 2, three, 3, &error));
    expect_failure(CM_INVALID_ARGUMENT, "inputs", cm_run(executable, NULL, NULL, 2, &result, 1, &error));
    expect_failure(CM_INVALID_ARGUMENT, "results", cm_run(executable, NULL, inputs, 2, NULL, 1, &error));
    cm_executable_free(executable);
    close_fixture(fixture);
}
END_TEST

START_TEST(wrong_compilations_are_refused)
{
    cm_error *error = NULL;
    Fixture fixture = open_fixture(1);
    cm_executable *executable;
    expect_failure(CM_INVALID_ARGUMENT, "did you mean axpy", cm_compile(fixture.program, "axpi", NULL, &executable, &error));
    expect_failure(CM_INVALID_ARGUMENT, "more than one entry", cm_compile(fixture.program, NULL, NULL, &executable, &error));
    expect_status(CM_PROGRAM_ERROR, cm_compile(fixture.program, "axpy", NULL, &executable, &error));
    ck_assert_ptr_null(executable);
    cm_error_free(error);
    cm_compile_options options = {.size = sizeof options, .device = "abacus"};
    expect_failure(CM_INVALID_ARGUMENT, "abacus", cm_compile(fixture.program, "noise", &options, &executable, &error));
    cm_binding binding = {NULL, 3};
    options = (cm_compile_options){.size = sizeof options, .bindings = &binding, .binding_count = 1};
    expect_failure(CM_INVALID_ARGUMENT, "binding", cm_compile(fixture.program, "axpy", &options, &executable, &error));
    options = (cm_compile_options){.size = sizeof options, .precision = 3};
    expect_failure(CM_INVALID_ARGUMENT, "precision 3", cm_compile(fixture.program, "noise", &options, &executable, &error));
    options = (cm_compile_options){.size = sizeof options, .block_rows = -1};
    expect_failure(CM_INVALID_ARGUMENT, "negative block_rows",
                   cm_compile(fixture.program, "noise", &options, &executable, &error));
    options = (cm_compile_options){.size = sizeof options, .bindings = &binding, .binding_count = 1};
    binding = (cm_binding){"B", -4};
    expect_failure(CM_INVALID_ARGUMENT, "binding", cm_compile(fixture.program, "axpy", &options, &executable, &error));
    close_fixture(fixture);
}
END_TEST

START_TEST(sizes_follow_from_arrays)
{
    cm_error *error = NULL;
    Fixture fixture = open_fixture(1);
    cm_input inputs[] = {{"x", {.dtype = CM_F32, .rank = 2, .dim = {3, 4}}},
                         {"y", {.dtype = CM_F32, .rank = 2, .dim = {4, 5}}}};
    cm_binding bindings[8];
    size_t count;
    expect_ok(cm_infer_bindings(fixture.program, "mix", inputs, 2, bindings, 8, &count, &error));
    ck_assert_uint_eq(count, 3);
    ck_assert_str_eq(bindings[2].axis, "C");
    ck_assert_int_eq(bindings[2].size, 5);
    cm_compile_options options = {.size = sizeof options, .bindings = bindings, .binding_count = count};
    cm_executable *executable;
    expect_ok(cm_compile(fixture.program, "mix", &options, &executable, &error));
    cm_executable_free(executable);
    inputs[1].array.dim[0] = 6;
    expect_failure(CM_MISMATCH, "axis B", cm_infer_bindings(fixture.program, "mix", inputs, 2, bindings, 8, &count, &error));
    inputs[1].array.dim[0] = 4;
    expect_failure(CM_INVALID_ARGUMENT, "room",
                   cm_infer_bindings(fixture.program, "mix", inputs, 2, bindings, 1, &count, &error));
    close_fixture(fixture);
}
END_TEST

static void draw(cm_executable *executable, int64_t seed, float *out)
{
    cm_error *error = NULL;
    cm_run_options options = {.size = sizeof options, .seed = seed};
    cm_array result = {.data = out};
    expect_ok(cm_run(executable, &options, NULL, 0, &result, 1, &error));
}

START_TEST(draws_follow_from_the_seed)
{
    Fixture fixture = open_fixture(2);
    cm_executable *executable = test_compile(fixture.program, "noise", NULL, 0);
    float a[SIZE], b[SIZE], c[SIZE];
    draw(executable, 7, a);
    draw(executable, 7, b);
    draw(executable, 8, c);
    ck_assert_mem_eq(a, b, sizeof a);
    ck_assert_mem_ne(a, c, sizeof a);
    cm_executable_free(executable);
    close_fixture(fixture);
}
END_TEST

/* ---- threads ---- */

typedef struct Runner {
    cm_executable *executable;
    float scale;
    int wrong;
} Runner;

static void *run_often(void *state)
{
    Runner *runner = state;
    float x[SIZE], y[SIZE];
    count_up(x);
    cm_input inputs[] = {{"a", {.dtype = CM_F32, .data = &runner->scale}}, {"x", vector(x)}};
    for (int i = 0; i < 200; i++) {
        cm_array result = {.data = y};
        runner->wrong += cm_run(runner->executable, NULL, inputs, 2, &result, 1, NULL) != CM_OK;
        for (int k = 0; k < SIZE; k++) {
            float wanted = runner->scale * x[k] + 1;
            runner->wrong += y[k] < wanted - 1e-4f || y[k] > wanted + 1e-4f;
        }
    }
    return NULL;
}

START_TEST(two_threads_run_one_executable)
{
    Fixture fixture = open_fixture(2);
    cm_executable *executable = test_compile(fixture.program, "axpy", "B", SIZE);
    Runner runners[2] = {{executable, 2, 0}, {executable, -3, 0}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_often, &runners[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(runners[0].wrong + runners[1].wrong, 0);
    cm_executable_free(executable);
    close_fixture(fixture);
}
END_TEST

static void *compile_often(void *state)
{
    Fixture *fixture = state;
    for (int64_t size = 1; size < 6; size++)
        cm_executable_free(test_compile(fixture->program, "both", "B", size));
    return NULL;
}

START_TEST(two_threads_compile_one_program)
{
    Fixture fixture = open_fixture(2);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, compile_often, &fixture), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    close_fixture(fixture);
}
END_TEST

/* ---- allocators that fail ---- */

typedef struct Scarce {
    atomic_long left, held;
} Scarce;

static void *scarce_allocate(void *state, size_t size)
{
    Scarce *scarce = state;
    if (atomic_fetch_sub(&scarce->left, 1) <= 0)
        return NULL;
    atomic_fetch_add(&scarce->held, 1);
    return malloc(size);
}

static void scarce_release(void *state, void *memory)
{
    Scarce *scarce = state;
    atomic_fetch_sub(&scarce->held, memory != NULL);
    free(memory);
}

/* All that a small application does; the first failure ends it. */
static cm_status use_everything(Scarce *scarce, cm_error **error)
{
    cm_context_options options = {
        .size = sizeof options, .threads = 1, .cache_directory = "", .allocator = {scarce_allocate, scarce_release, scarce}};
    cm_context *context = NULL;
    cm_program *program = NULL;
    cm_executable *executable = NULL;
    cm_parameters *set = NULL;
    char *dump = NULL;
    float a = 1, x[SIZE] = {0}, y[SIZE];
    cm_input inputs[] = {{"x", vector(x)}, {"a", {.dtype = CM_F32, .data = &a}}};
    cm_array result = {.data = y}, array = vector(x);
    cm_binding binding = {"B", SIZE};
    cm_compile_options compile = {.size = sizeof compile, .bindings = &binding, .binding_count = 1};
    cm_status status = cm_context_create(&options, &context, error);
    if (!status)
        status = cm_load_text(context, "a.cm", text, strlen(text), NULL, &program, error);
    if (!status)
        status = cm_dump(program, "slope", "dce", &compile, &dump, error);
    if (!status)
        status = cm_compile(program, "axpy", &compile, &executable, error);
    if (!status)
        status = cm_run(executable, NULL, inputs, 2, &result, 1, error);
    if (!status)
        status = cm_parameters_create_empty(context, &set, error);
    if (!status)
        status = cm_parameters_set(set, "x", &array, error);
    cm_text_free(context, dump);
    cm_parameters_free(set);
    cm_executable_free(executable);
    cm_program_free(program);
    cm_context_free(context);
    return status;
}

/* However many allocations succeed, the outcome is success or CM_OUT_OF_MEMORY, and nothing is left behind. */
START_TEST(memory_may_run_out_anywhere)
{
    bool done = false;
    for (long limit = 0; !done; limit++) {
        cm_error *error = NULL;
        Scarce scarce = {limit, 0};
        cm_status status = use_everything(&scarce, &error);
        ck_assert_msg(status == CM_OK || status == CM_OUT_OF_MEMORY, "after %ld allocations: %s\n%s", limit,
                      cm_status_name(status), cm_error_text(error));
        cm_error_free(error);
        ck_assert_msg(scarce.held == 0, "after %ld allocations %ld are kept", limit, (long)scarce.held);
        done = status == CM_OK;
        ck_assert_int_lt(limit, 100000);
    }
}
END_TEST

static TCase *running(void)
{
    TCase *test = tcase_create("running");
    tcase_add_test(test, a_function_runs);
    tcase_add_test(test, ports_say_what_a_function_takes);
    tcase_add_test(test, compiled_once_for_each_size);
    tcase_add_test(test, precision_is_chosen);
    tcase_add_test(test, derivatives_run);
    tcase_add_test(test, results_may_be_dropped);
    tcase_add_test(test, wrong_arrays_are_refused);
    tcase_add_test(test, wrong_compilations_are_refused);
    tcase_add_test(test, sizes_follow_from_arrays);
    tcase_add_test(test, draws_follow_from_the_seed);
    return test;
}

static TCase *sharing(void)
{
    TCase *test = tcase_create("sharing");
    tcase_add_test(test, two_threads_run_one_executable);
    tcase_add_test(test, two_threads_compile_one_program);
    return test;
}

static TCase *scarcity(void)
{
    TCase *test = tcase_create("scarcity");
    tcase_set_timeout(test, 300);
    tcase_add_test(test, memory_may_run_out_anywhere);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {running, sharing, scarcity, NULL};
    return run_suite("running", cases);
}
