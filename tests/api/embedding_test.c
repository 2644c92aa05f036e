/* What docs/embedding.md shows, run: each function here that the page quotes is code as an application would write it. */
#include "tests/api/api_test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

/* ---- errors as data ---- */

static void list_mistakes(const cm_error *error, FILE *out)
{
    for (size_t i = 0; i < cm_error_count(error); i++) {
        cm_diagnostic mistake, note;
        cm_error_diagnostic(error, i, &mistake);
        fprintf(out, "%d:%d-%d:%d %s: %s\n", mistake.line, mistake.column, mistake.end_line, mistake.end_column,
                mistake.code ? mistake.code : "failure", mistake.message);
        for (size_t k = 0; k < mistake.note_count; k++) {
            cm_error_note(error, i, k, &note);
            fprintf(out, "  %s\n", note.message);
        }
    }
}

START_TEST(mistakes_have_places)
{
    static const char text[] = "fn f(x: f32[B], y: f32[C]) = x + y\n";
    char out[512];
    FILE *file = fmemopen(out, sizeof out, "w");
    cm_context *context = test_context(1);
    cm_program *program;
    cm_error *error;
    ck_assert_int_eq(cm_load_text(context, "f.cm", text, strlen(text), NULL, &program, &error), CM_OK);
    ck_assert_int_eq(cm_check(program, &error), CM_PROGRAM_ERROR);
    list_mistakes(error, file);
    fclose(file);
    ck_assert_msg(!strncmp(out, "1:30-1:35 axis_align: ", 22), "%s", out);
    cm_error_free(error);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* ---- programs that lie elsewhere ---- */

/* Imported files come from the application: here from a table in memory. */
static int read_import(void *state, const char *path, const char **text, size_t *length)
{
    const char *const(*files)[2] = state;
    for (; (*files)[0]; files++) {
        if (!strcmp((*files)[0], path)) {
            *text = (*files)[1];
            *length = strlen(*text);
            return 0;
        }
    }
    return 1;
}

static cm_status load_from_memory(cm_context *context, int times, cm_program **program, cm_error **error)
{
    static const char *const files[][2] = {{"parts.cm", "fn scaled(x, times) = times * x\n"}, {NULL, NULL}};
    static const char text[] = "import \"parts.cm\" as parts\n"
                               "let times = 2\n"
                               "fn grown(x: f32[B]) -> f32[B] = parts.scaled(x, times)\n";
    char value[16];
    snprintf(value, sizeof value, "%d", times);
    cm_setting setting = {"times", value};
    cm_load_options options = {
        .size = sizeof options, .settings = &setting, .setting_count = 1, .read = read_import, .read_state = (void *)files};
    return cm_load_text(context, "main.cm", text, strlen(text), &options, program, error);
}

/* ---- calling a function on the application's arrays ---- */

/* y = f(x) for an entry f(x: f32[B]) -> f32[B]; the size of B follows from the array. */
static cm_status apply(cm_program *program, const char *entry, float *x, float *y, int64_t count, cm_error **error)
{
    cm_input input = {.name = "x", .array = {.dtype = CM_F32, .rank = 1, .dim = {count}, .data = x}};
    cm_array result = {.data = y};
    cm_binding bindings[4];
    size_t binding_count;
    cm_executable *executable;
    cm_status status = cm_infer_bindings(program, entry, &input, 1, bindings, 4, &binding_count, error);
    if (status)
        return status;
    cm_compile_options options = {.size = sizeof options, .bindings = bindings, .binding_count = binding_count};
    status = cm_compile(program, entry, &options, &executable, error); /* the first time for this size; then it is found */
    if (status)
        return status;
    status = cm_run(executable, NULL, &input, 1, &result, 1, error);
    cm_executable_free(executable);
    return status;
}

START_TEST(a_program_in_memory_grows_an_array)
{
    cm_context *context = test_context(1);
    cm_program *program;
    cm_error *error;
    float x[3] = {1, 2, 3}, y[3];
    expect_ok(load_from_memory(context, 5, &program, &error));
    expect_ok(apply(program, "grown", x, y, 3, &error));
    ck_assert(y[0] == 5 && y[1] == 10 && y[2] == 15);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* ---- training ---- */

static const char slope[] = "dim X = 1\n"
                            "fn line[N]() -> f32[N, X] {\n  let u ~ uniform[N, X]\n  u\n}\n"
                            "model Slope() {\n  param a: f32[X] = zeros\n  fn call(x: f32[.., X]) -> f32[.., X] = a * x\n}\n"
                            "loss fit(net: Slope, x: f32[B, X]) -> f32 = mean((net(x) - 3 * x)^2)\n"
                            "data points = { x: generate(N = 256, line) }\n"
                            "train slope { loss = fit, data = points, optimizer = sgd(lr = 0.5), batch = 32, steps = 100 }\n"
                            "sample at_two(net: Slope)[B = 1] -> f32[B, X] = net(full[B, X](2.0))\n";

/* Steps until the loss is small, or the run is over; then the weights. */
static cm_status train_until(cm_program *program, double enough, cm_parameters **weights, cm_error **error)
{
    cm_training *training;
    cm_training_info info;
    cm_step step = {.loss = 1};
    cm_status status = cm_training_create(program, NULL, NULL, &training, error);
    if (status)
        return status;
    cm_training_info_get(training, &info);
    while (!status && info.step < info.steps && step.loss > enough) {
        status = cm_training_step(training, &step, error);
        cm_training_info_get(training, &info);
    }
    if (!status)
        status = cm_training_weights(training, weights, error);
    cm_training_free(training);
    return status;
}

static cm_status sample_once(cm_program *program, cm_parameters *weights, float *out, cm_error **error)
{
    cm_sample_options options = {.size = sizeof options, .parameters = weights, .seed = 1};
    cm_parameters *results;
    cm_array array;
    cm_status status = cm_sample(program, "at_two", &options, &results, error);
    if (status)
        return status;
    status = cm_parameters_get(results, "result", &array, error); /* a view: it belongs to the set */
    if (!status)
        *out = *(float *)array.data;
    cm_parameters_free(results);
    return status;
}

START_TEST(training_reaches_the_slope)
{
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, slope);
    cm_parameters *weights;
    cm_error *error;
    float value = 0;
    expect_ok(train_until(program, 1e-9, &weights, &error));
    expect_ok(sample_once(program, weights, &value, &error));
    ck_assert_float_eq_tol(value, 6, 1e-3f);
    cm_parameters_free(weights);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* ---- a run that can be stopped ---- */

typedef struct Watch {
    cm_training *training;
    int64_t last;
} Watch;

/* Called after each step; a signal handler or a button would call cm_training_stop, too. */
static void watch(void *state, const cm_step *step, const cm_training_report *so_far)
{
    Watch *watched = state;
    if (so_far->step == watched->last)
        cm_training_stop(watched->training);
    (void)step;
}

static cm_status run_some(cm_training *training, int64_t last, cm_training_report *report, cm_error **error)
{
    Watch state = {training, last};
    cm_training_run_options options = {.size = sizeof options, .progress = watch, .progress_state = &state};
    return cm_training_run(training, &options, report, error);
}

START_TEST(a_run_can_be_stopped_and_goes_on)
{
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, slope);
    cm_training *training;
    cm_training_report report;
    cm_error *error;
    expect_ok(cm_training_create(program, "slope", NULL, &training, &error));
    expect_ok(run_some(training, 10, &report, &error));
    ck_assert(report.stopped);
    ck_assert_int_eq(report.step, 10);
    expect_ok(run_some(training, -1, &report, &error));
    ck_assert(!report.stopped);
    ck_assert_int_eq(report.step, 100);
    cm_training_free(training);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* ---- threads ---- */

typedef struct Job {
    cm_executable *executable; /* shared */
    float x[64], y[64];        /* a thread's own */
    cm_status status;
} Job;

static void *run_job(void *state)
{
    Job *job = state;
    cm_input input = {.name = "x", .array = {.dtype = CM_F32, .rank = 1, .dim = {64}, .data = job->x}};
    cm_array result = {.data = job->y};
    job->status = cm_run(job->executable, NULL, &input, 1, &result, 1, NULL);
    return NULL;
}

START_TEST(threads_share_an_executable)
{
    enum { THREADS = 4 };
    static Job jobs[THREADS];
    pthread_t threads[THREADS];
    cm_context *context = test_context(2);
    cm_program *program = test_program(context, "fn square(x: f32[B]) -> f32[B] = x * x\n");
    cm_executable *executable = test_compile(program, "square", "B", 64);
    for (int i = 0; i < THREADS; i++) {
        jobs[i].executable = executable;
        for (int k = 0; k < 64; k++)
            jobs[i].x[k] = (float)(i + k);
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_job, &jobs[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(jobs[i].status, CM_OK);
        for (int k = 0; k < 64; k++)
            ck_assert(jobs[i].y[k] == (float)((i + k) * (i + k)));
    }
    cm_executable_free(executable);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* ---- memory and messages ---- */

typedef struct Host {
    atomic_long blocks; /* that are allocated */
    atomic_long messages;
} Host;

static void *host_allocate(void *state, size_t size)
{
    void *memory = malloc(size);
    if (memory)
        atomic_fetch_add(&((Host *)state)->blocks, 1);
    return memory;
}

static void host_release(void *state, void *memory)
{
    if (memory)
        atomic_fetch_sub(&((Host *)state)->blocks, 1);
    free(memory);
}

static void host_log(void *state, const char *message)
{
    atomic_fetch_add(&((Host *)state)->messages, 1);
    fprintf(stderr, "cm: %s\n", message);
}

static cm_status create_for(Host *host, cm_context **context, cm_error **error)
{
    cm_context_options options = {
        .size = sizeof options,
        .threads = 2,
        .cache_directory = "", /* no file is written */
        .allocator = {host_allocate, host_release, host},
        .log = host_log,
        .log_state = host,
    };
    return cm_context_create(&options, context, error);
}

START_TEST(all_memory_is_the_hosts)
{
    static Host host;
    cm_context *context;
    cm_error *error;
    float x[4] = {1, 2, 3, 4}, y[4];
    expect_ok(create_for(&host, &context, &error));
    cm_program *program = test_program(context, "fn twice(x: f32[B]) -> f32[B] = 2 * x\n");
    expect_ok(apply(program, "twice", x, y, 4, &error));
    ck_assert_int_gt(atomic_load(&host.blocks), 0);
    cm_context_free(context); /* the program keeps what it needs */
    cm_program_free(program);
    ck_assert_int_eq(atomic_load(&host.blocks), 0);
}
END_TEST

static TCase *page(void)
{
    TCase *test = tcase_create("page");
    tcase_add_test(test, mistakes_have_places);
    tcase_add_test(test, a_program_in_memory_grows_an_array);
    tcase_add_test(test, training_reaches_the_slope);
    tcase_add_test(test, a_run_can_be_stopped_and_goes_on);
    tcase_add_test(test, threads_share_an_executable);
    tcase_add_test(test, all_memory_is_the_hosts);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {page, NULL};
    return run_suite("embedding", cases);
}
