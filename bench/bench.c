/* cm_bench: one JSON object a line for each benchmark.
 *
 *   cm_bench [--python PYTHON] [NAME]...     without names: all; PYTHON has what bench/peers.py needs */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool is_wanted(const Bench *bench, const char *name)
{
    for (int i = 0; i < bench->name_count; i++)
        if (!strcmp(bench->names[i], name))
            return true;
    return bench->name_count == 0;
}

/* ---- kernels ---- */

static void bench_arithmetic(const Bench *bench, const char *name, double operations)
{
    if (!is_wanted(bench, name))
        return;
    Kernel *kernel = open_kernel(bench, KERNELS, name, NULL, 0);
    Pairs pairs = {.peak_bytes = kernel->peak_bytes};
    time_runs(kernel);
    for (int i = 0; i < SAMPLES; i++) {
        double peak = probe_multiply_add(bench->threads);
        pairs_add(&pairs, operations / time_runs(kernel) * 1e-9, peak * 1e-9);
    }
    print_pairs(name, "GFLOP/s", "fma_peak", &pairs);
    close_kernel(kernel);
}

/* Against a copy of arrays of the same size, both over more memory than any cache has. */
static void bench_traffic(const Bench *bench, const char *name)
{
    if (!is_wanted(bench, name))
        return;
    Kernel *kernel = open_kernel(bench, KERNELS, name, NULL, 4 * last_level_cache() + (1 << 20));
    size_t size = cm_array_bytes(&kernel->sets[0].results[0]);
    void *to[MOST_SETS], *from[MOST_SETS];
    for (int i = 0; i < kernel->set_count; i++) {
        to[i] = kernel->sets[i].results[0].data;
        from[i] = kernel->sets[i].inputs[0].array.data;
    }
    Pairs pairs = {.peak_bytes = kernel->peak_bytes};
    time_runs(kernel);
    for (int i = 0; i < SAMPLES; i++) {
        double copy = probe_copy(bench->threads, to, from, kernel->set_count, size);
        pairs_add(&pairs, 2 * (double)size / time_runs(kernel) * 1e-9, copy * 1e-9);
    }
    print_pairs(name, "GB/s", "memory_bandwidth", &pairs);
    close_kernel(kernel);
}

/* Arrays that a cache holds, so that arithmetic counts. */
static void bench_precision(const Bench *bench, const char *entry)
{
    char name[64];
    snprintf(name, sizeof name, "%s_fast", entry);
    if (!is_wanted(bench, name))
        return;
    cm_compile_options options = {.size = sizeof options, .precision = CM_PRECISION_FAST};
    Kernel *fast = open_kernel(bench, KERNELS, entry, &options, 0), *exact = open_kernel(bench, KERNELS, entry, NULL, 0);
    Pairs pairs = {.peak_bytes = fast->peak_bytes};
    for (int i = 0; i < SAMPLES; i++)
        pairs_add(&pairs, time_runs(fast) * 1e6, time_runs(exact) * 1e6);
    print_pairs(name, "us", "exact", &pairs);
    close_kernel(fast);
    close_kernel(exact);
}

/* ---- compiling it ---- */

/* From the file to code that can run, in a context of its own. */
static double compile_seconds(const char *cache)
{
    cm_context_options options = {.cache_directory = cache};
    cm_context *context;
    cm_program *program;
    cm_executable *executable;
    cm_error *error;
    check(cm_context_create(&options, &context, &error), &error);
    double start = clock_seconds();
    check(cm_load_file(context, ICT, NULL, &program, &error), &error);
    check(cm_compile(program, "ict", NULL, &executable, &error), &error);
    double taken = clock_seconds() - start;
    cm_executable_free(executable);
    cm_program_free(program);
    cm_context_free(context);
    return taken;
}

static void bench_compiling(const Bench *bench)
{
    if (!is_wanted(bench, "compile_cold") && !is_wanted(bench, "compile_cached"))
        return;
    char cache[] = "/tmp/cm_bench_XXXXXX", command[64];
    if (!mkdtemp(cache)) {
        perror("cm_bench: /tmp");
        exit(1);
    }
    print_value("compile_cold", "s", compile_seconds(cache));
    Pairs cached = {0};
    for (int i = 0; i < 5; i++)
        pairs_add(&cached, compile_seconds(cache), 1);
    print_pairs("compile_cached", "s", NULL, &cached);
    snprintf(command, sizeof command, "rm -r %s", cache);
    if (system(command))
        fprintf(stderr, "cm_bench: %s is left\n", cache);
}

int main(int count, char **words)
{
    Bench bench = {0};
    int first = 1;
    if (count > 2 && !strcmp(words[1], "--python")) {
        bench.python = words[2];
        first = 3;
    }
    bench.names = words + first;
    bench.name_count = count - first;
    cm_error *error;
    check(cm_context_create(NULL, &bench.context, &error), &error);
    bench.threads = cm_context_threads(bench.context);
    bench_arithmetic(&bench, "dot_512", 2.0 * 512 * 512 * 512);
    bench_arithmetic(&bench, "dot_1024", 2.0 * 1024 * 1024 * 1024);
    double convolution = 2.0 * 64 * 28 * 28 * 9 * 64 * 64;
    bench_arithmetic(&bench, "conv3x3_forward", convolution);
    bench_arithmetic(&bench, "conv3x3_grad_input", convolution);
    bench_arithmetic(&bench, "conv3x3_grad_weight", convolution);
    bench_traffic(&bench, "norm_chain");
    static const char *const functions[] = {"exp_map", "log_map", "silu_map", "tanh_map", "gelu_map", "pow_map", "softmax"};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        bench_precision(&bench, functions[i]);
    bench_derivatives(&bench);
    bench_compiling(&bench);
#ifdef CM_BACKEND_VULKAN
    bench_device(&bench);
#endif
    cm_context_free(bench.context);
    return 0;
}
