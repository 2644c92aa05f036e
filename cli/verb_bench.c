/* cmc bench: times an entry on made-up inputs, weights drawn from the seed. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

enum { RUNS = 20, WARM_UP = 3 };

/* Floats between 0 and 1 by a small generator, zeros for everything else: indices stay in range. */
static void make_up(const cm_port *port, cm_array *array, uint32_t *state)
{
    int64_t count = array_count(array);
    memset(array->data, 0, cm_array_bytes(array));
    for (int64_t i = 0; i < count && (port->dtype == CM_F32 || port->dtype == CM_F64); i++) {
        *state = *state * 1664525u + 1013904223u;
        double value = (*state >> 8) / 16777216.0;
        if (port->dtype == CM_F32)
            ((float *)array->data)[i] = (float)value;
        else
            ((double *)array->data)[i] = value;
    }
}

/* A set with an array for every input that the caller has to give; optimiser state is zero, as at a run's start. */
static cm_status make_inputs(const Session *session, const cm_executable *executable, const char *entry, cm_parameters **set,
                             cm_error **error)
{
    uint32_t state = 1;
    int64_t seed = session->options->seed.value;
    cm_status status = entry ? cm_parameters_create_for(session->program, entry, seed, set, error)
                             : cm_parameters_create(session->program, seed, set, error);
    cm_port port;
    for (size_t i = 0; !status && cm_executable_input(executable, i, &port) == CM_OK; i++) {
        cm_array array;
        bool scalar = port.role == CM_ROLE_STEP || port.role == CM_ROLE_STEPS || port.role == CM_ROLE_KEY;
        if (scalar || cm_parameters_get(*set, port.name, &array, NULL) == CM_OK)
            continue;
        array = (cm_array){.dtype = port.dtype, .rank = port.rank};
        memcpy(array.dim, port.dim, sizeof array.dim);
        array.data = calloc(1, cm_array_bytes(&array) + 1);
        if (!array.data)
            return CM_OUT_OF_MEMORY;
        if (port.role == CM_ROLE_ARGUMENT || port.role == CM_ROLE_DATA || port.role == CM_ROLE_PARAMETER)
            make_up(&port, &array, &state);
        status = cm_parameters_set(*set, port.name, &array, error);
        free(array.data);
    }
    return status;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_times(const Options *options, const char *entry, const cm_executable *executable, double *seconds, int count)
{
    cm_compile_stats stats;
    cm_executable_stats(executable, &stats);
    qsort(seconds, (size_t)count, sizeof *seconds, by_size);
    double median = seconds[count / 2];
    char peak[32];
    format_bytes(peak, sizeof peak, stats.peak_bytes);
    if (!options->json) {
        double scale = median < 1e-3 ? 1e6 : 1e3;
        printf("%s: median %.3f %s, fastest %.3f, slowest %.3f of %d runs; %d kernels, %s, compiled in %.2f s\n", entry,
               scale * median, median < 1e-3 ? "us" : "ms", scale * seconds[0], scale * seconds[count - 1], count,
               stats.kernels, peak, stats.seconds);
        return;
    }
    printf("{\"entry\": ");
    print_json_text(stdout, entry);
    printf(", \"median_seconds\": %.9g, \"fastest_seconds\": %.9g, \"slowest_seconds\": %.9g, \"runs\": %d, \"kernels\": %d, "
           "\"compiled\": %d, \"from_cache\": %d, \"peak_bytes\": %lld, \"least_bytes\": %lld, \"compile_seconds\": %.6f}\n",
           median, seconds[0], seconds[count - 1], count, stats.kernels, stats.compiled, stats.from_cache,
           (long long)stats.peak_bytes, (long long)stats.least_bytes, stats.seconds);
}

static cm_status time_runs(cm_executable *executable, const cm_run_options *run, double *seconds, int count, cm_error **error)
{
    cm_status status = CM_OK;
    for (int i = -WARM_UP; !status && i < count; i++) {
        double start = clock_seconds();
        status = cm_run(executable, run, NULL, 0, NULL, 0, error);
        if (i >= 0)
            seconds[i] = clock_seconds() - start;
    }
    return status;
}

static int bench(Session *session, cm_executable *executable, const char *entry)
{
    const Options *options = session->options;
    int count = options->repeat.given ? (int)options->repeat.value : RUNS;
    double *seconds = calloc((size_t)count, sizeof *seconds);
    cm_parameters *set = NULL;
    cm_error *error = NULL;
    cm_status status = seconds ? make_inputs(session, executable, entry, &set, &error) : CM_OUT_OF_MEMORY;
    cm_run_options run = {.size = sizeof run, .parameters = set, .seed = options->seed.value, .steps = 1};
    if (!status)
        status = time_runs(executable, &run, seconds, count, &error);
    int code = STATUS_DONE;
    if (status)
        code = report_failure(options, status, error);
    else
        print_times(options, entry ? entry : session->path, executable, seconds, count);
    cm_parameters_free(set);
    free(seconds);
    return code;
}

int verb_bench(const Options *options)
{
    Session session;
    Arguments arguments = {0};
    cm_executable *executable = NULL;
    int code = session_open(&session, options, true);
    const char *entry = code == STATUS_DONE ? session_entry(&session) : NULL;
    if (code == STATUS_DONE)
        code = arguments_read(&session, entry, &arguments);
    if (code == STATUS_DONE) {
        cm_compile_options compile = session_compile_options(&session);
        compile.bindings = arguments.bindings;
        compile.binding_count = arguments.binding_count;
        cm_error *error;
        cm_status status = cm_compile(session.program, entry, &compile, &executable, &error);
        code = status ? report_failure(options, status, error) : bench(&session, executable, entry);
    }
    cm_executable_free(executable);
    arguments_free(&arguments);
    return session_close(&session, code);
}
