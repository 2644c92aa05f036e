/* Entries that are compiled and run on made-up values. */
#include "bench/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 10 };

void fail(const char *reason)
{
    fprintf(stderr, "cm_bench: %s\n", reason);
    exit(1);
}

void check(cm_status status, cm_error **error)
{
    if (status)
        fail(cm_error_text(*error));
}

void *allocate(size_t size)
{
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!memory)
        fail("not enough memory");
    return memory;
}

/* Values between -1 and 1, whose products neither vanish nor overflow; integers are labels of classes. */
static void fill(cm_array *array)
{
    static uint32_t state = 1;
    for (size_t i = 0; i < cm_array_bytes(array) / cm_dtype_bytes(array->dtype); i++) {
        state = state * 1664525u + 1013904223u;
        if (array->dtype == CM_F16) /* of 1/8 and more, by sign, exponent and fraction */
            ((uint16_t *)array->data)[i] = (uint16_t)((state >> 16 & 0x8000u) | (0x3000u + (state >> 8) % 0xc00u));
        else if (array->dtype == CM_I32)
            ((int32_t *)array->data)[i] = (int32_t)(state >> 8) % CLASSES;
        else
            ((float *)array->data)[i] = (float)(int32_t)state * 0x1p-31f;
    }
}

static cm_array make_array(const cm_port *port)
{
    cm_array array = {.dtype = port->dtype, .rank = port->rank};
    memcpy(array.dim, port->dim, sizeof array.dim);
    array.data = allocate(cm_array_bytes(&array));
    fill(&array);
    return array;
}

static void make_set(Kernel *kernel)
{
    Set *set = &kernel->sets[kernel->set_count++];
    cm_port port;
    size_t made = 0;
    for (size_t i = 0; made < kernel->input_count; i++) {
        cm_executable_input(kernel->executable, i, &port);
        if (port.role == CM_ROLE_ARGUMENT)
            set->inputs[made++].array = make_array(&port);
    }
    set->results = allocate(kernel->result_count * sizeof *set->results);
    for (size_t i = 0; i < kernel->result_count; i++) {
        cm_executable_output(kernel->executable, i, &port);
        set->results[i] = make_array(&port);
    }
}

static int64_t element_count(const cm_port *port)
{
    int64_t count = 1;
    for (int i = 0; i < port->rank; i++)
        count *= port->dim[i];
    return count;
}

static void count_ports(Kernel *kernel)
{
    cm_compile_stats stats;
    cm_port port;
    for (size_t i = 0; i < cm_executable_input_count(kernel->executable); i++) {
        cm_executable_input(kernel->executable, i, &port);
        if (port.role == CM_ROLE_PARAMETER)
            kernel->weight_count += element_count(&port);
        else
            kernel->input_count++;
    }
    if (kernel->input_count > MOST_INPUTS)
        fail("an entry has more arguments than a set of inputs holds");
    kernel->result_count = cm_executable_output_count(kernel->executable);
    cm_executable_stats(kernel->executable, &stats);
    kernel->peak_bytes = stats.peak_bytes;
}

Kernel *open_kernel_set(const Bench *bench, const char *file, const char *entry, const cm_load_options *loading,
                        const cm_compile_options *options, size_t bytes)
{
    Kernel *kernel = calloc(1, sizeof *kernel);
    cm_program *program;
    cm_error *error;
    if (!kernel)
        fail("not enough memory");
    check(cm_load_file(bench->context, file, loading, &program, &error), &error);
    check(cm_compile(program, entry, options, &kernel->executable, &error), &error);
    count_ports(kernel);
    if (kernel->weight_count)
        check(cm_parameters_create_for(program, entry, 0, &kernel->weights, &error), &error);
    cm_program_free(program);
    make_set(kernel);
    size_t size = cm_array_bytes(&kernel->sets[0].inputs[0].array) + cm_array_bytes(&kernel->sets[0].results[0]);
    while (kernel->set_count < MOST_SETS && size * (size_t)kernel->set_count < bytes)
        make_set(kernel);
    return kernel;
}

Kernel *open_kernel(const Bench *bench, const char *file, const char *entry, const cm_compile_options *options, size_t bytes)
{
    return open_kernel_set(bench, file, entry, NULL, options, bytes);
}

void close_kernel(Kernel *kernel)
{
    for (int i = 0; i < kernel->set_count; i++) {
        for (size_t k = 0; k < kernel->input_count; k++)
            free(kernel->sets[i].inputs[k].array.data);
        for (size_t k = 0; k < kernel->result_count; k++)
            free(kernel->sets[i].results[k].data);
        free(kernel->sets[i].results);
    }
    cm_parameters_free(kernel->weights);
    cm_executable_free(kernel->executable);
    free(kernel);
}

static void run_once(Kernel *kernel, int turn)
{
    Set *set = &kernel->sets[turn % kernel->set_count];
    cm_run_options options = {.size = sizeof options, .parameters = kernel->weights};
    cm_error *error;
    check(cm_run(kernel->executable, &options, set->inputs, kernel->input_count, set->results, kernel->result_count, &error),
          &error);
}

void run_kernel(Kernel *kernel)
{
    run_once(kernel, 0);
}

double time_runs(Kernel *kernel)
{
    double start = clock_seconds(), taken = 0;
    int runs = 0;
    for (; taken < 0.01 || runs % kernel->set_count; taken = clock_seconds() - start)
        run_once(kernel, runs++);
    return taken / runs;
}

void check_finite(const Kernel *kernel)
{
    for (size_t i = 0; i < kernel->result_count; i++) {
        const cm_array *result = &kernel->sets[0].results[i];
        for (size_t k = 0; k < cm_array_bytes(result) / sizeof(float); k++)
            if (!isfinite(((const float *)result->data)[k])) {
                fprintf(stderr, "cm_bench: result %zu is not finite\n", i);
                exit(1);
            }
    }
}
