/* cm_bench: one JSON object a line for each benchmark.
 *
 *   cm_bench [--python PYTHON] [NAME]...     without names: all; PYTHON has what bench/peers.py needs */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KERNELS CM_SOURCE_DIR "/bench/kernels.cm"
#define DEMO CM_SOURCE_DIR "/examples/ict.cm"

enum { SAMPLES = 15, STEP_SAMPLES = 9, MOST_INPUTS = 8, MOST_SETS = 64 };

typedef struct Bench {
    const char *python; /* null: no peers */
    cm_context *context;
    int threads;
    char *const *names;
    int name_count;
} Bench;

/* By address: a call that is checked sets the error after its other arguments may have been read. */
static void check(cm_status status, cm_error **error)
{
    if (!status)
        return;
    fprintf(stderr, "cm_bench: %s\n", cm_error_text(*error));
    exit(1);
}

static void *allocate(size_t size)
{
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!memory) {
        fputs("cm_bench: not enough memory\n", stderr);
        exit(1);
    }
    return memory;
}

static bool is_wanted(const Bench *bench, const char *name)
{
    for (int i = 0; i < bench->name_count; i++)
        if (!strcmp(bench->names[i], name))
            return true;
    return bench->name_count == 0;
}

/* ---- kernels ---- */

/* Arguments and result of one run; several sets lie in memory at once where runs are to find nothing in the cache. */
typedef struct Set {
    cm_input inputs[MOST_INPUTS];
    cm_array result;
} Set;

typedef struct Kernel {
    cm_executable *executable;
    size_t input_count;
    int set_count;
    Set sets[MOST_SETS];
} Kernel;

/* Values between -1 and 1: their products neither vanish nor overflow. */
static void fill(cm_array *array)
{
    static uint32_t state = 1;
    for (size_t i = 0; i < cm_array_bytes(array) / sizeof(float); i++) {
        state = state * 1664525u + 1013904223u;
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
    for (size_t i = 0; i < kernel->input_count; i++) {
        cm_executable_input(kernel->executable, i, &port);
        set->inputs[i].array = make_array(&port);
    }
    cm_executable_output(kernel->executable, 0, &port);
    set->result = make_array(&port);
}

static void run_once(Kernel *kernel, int turn)
{
    Set *set = &kernel->sets[turn % kernel->set_count];
    cm_error *error;
    check(cm_run(kernel->executable, NULL, set->inputs, kernel->input_count, &set->result, 1, &error), &error);
}

/* `bytes`: that all sets together have at least; 0: one set. */
static Kernel *open_kernel(const Bench *bench, const char *entry, const cm_compile_options *options, size_t bytes)
{
    Kernel *kernel = calloc(1, sizeof *kernel);
    cm_program *program;
    cm_error *error;
    check(cm_load_file(bench->context, KERNELS, NULL, &program, &error), &error);
    check(cm_compile(program, entry, options, &kernel->executable, &error), &error);
    cm_program_free(program);
    kernel->input_count = cm_executable_input_count(kernel->executable);
    make_set(kernel);
    size_t size = cm_array_bytes(&kernel->sets[0].inputs[0].array) + cm_array_bytes(&kernel->sets[0].result);
    while (kernel->set_count < MOST_SETS && size * (size_t)kernel->set_count < bytes)
        make_set(kernel);
    return kernel;
}

static void close_kernel(Kernel *kernel)
{
    for (int i = 0; i < kernel->set_count; i++) {
        for (size_t k = 0; k < kernel->input_count; k++)
            free(kernel->sets[i].inputs[k].array.data);
        free(kernel->sets[i].result.data);
    }
    cm_executable_free(kernel->executable);
    free(kernel);
}

/* Seconds of a run, over as many runs as take some ten milliseconds, and over each set as often. */
static double time_runs(Kernel *kernel)
{
    double start = clock_seconds(), taken = 0;
    int runs = 0;
    for (; taken < 0.01 || runs % kernel->set_count; taken = clock_seconds() - start)
        run_once(kernel, runs++);
    return taken / runs;
}

static void bench_arithmetic(const Bench *bench, const char *name, double operations)
{
    if (!is_wanted(bench, name))
        return;
    Kernel *kernel = open_kernel(bench, name, NULL, 0);
    Pairs pairs = {0};
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
    Kernel *kernel = open_kernel(bench, name, NULL, 4 * last_level_cache() + (1 << 20));
    size_t size = cm_array_bytes(&kernel->sets[0].result);
    void *to[MOST_SETS], *from[MOST_SETS];
    for (int i = 0; i < kernel->set_count; i++) {
        to[i] = kernel->sets[i].result.data;
        from[i] = kernel->sets[i].inputs[0].array.data;
    }
    Pairs pairs = {0};
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
    Kernel *fast = open_kernel(bench, entry, &options, 0), *exact = open_kernel(bench, entry, NULL, 0);
    Pairs pairs = {0};
    for (int i = 0; i < SAMPLES; i++)
        pairs_add(&pairs, time_runs(fast) * 1e6, time_runs(exact) * 1e6);
    print_pairs(name, "us", "exact", &pairs);
    close_kernel(fast);
    close_kernel(exact);
}

/* ---- peers ---- */

typedef double Milliseconds(void *state); /* of one turn */

/* The same in another program, in turns. */
static void bench_against(const Bench *bench, const char *name, Milliseconds *ours, void *state, const char *peer_name)
{
    char version[64];
    Peer *peer = bench->python ? peer_start(bench->python, peer_name, name, bench->threads, version, sizeof version) : NULL;
    if (!peer) {
        fprintf(stderr, "cm_bench: no %s here: nothing to hold %s against\n", peer_name, name);
        return;
    }
    Pairs pairs = {0};
    for (int i = 0; i < STEP_SAMPLES; i++) {
        double own = ours(state), theirs = peer_step(peer);
        if (theirs > 0)
            pairs_add(&pairs, own, theirs);
    }
    print_pairs(name, "ms", peer_name, &pairs);
    fprintf(stderr, "cm_bench: %s is %s\n", peer_name, version);
    peer_stop(peer);
}

/* ---- derivatives ---- */

/* What a derivative costs, value and all, beside the value alone; and the form that stores everything, beside the one that
 * does not. */
static void bench_cost(const Bench *bench, const char *entry, int no_fuse, const char *against)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", entry, no_fuse ? "_unfused" : "");
    if (!is_wanted(bench, name))
        return;
    cm_compile_options options = {.size = sizeof options, .no_fuse = no_fuse};
    Kernel *kernel = open_kernel(bench, entry, &options, 0), *other = open_kernel(bench, against, NULL, 0);
    Pairs pairs = {0};
    time_runs(kernel);
    for (int i = 0; i < SAMPLES; i++)
        pairs_add(&pairs, time_runs(kernel) * 1e3, time_runs(other) * 1e3);
    print_pairs(name, "ms", against, &pairs);
    close_kernel(kernel);
    close_kernel(other);
}

static double kernel_milliseconds(void *state)
{
    return time_runs(state) * 1e3;
}

static void bench_peers(const Bench *bench, const char *entry)
{
    if (!is_wanted(bench, entry))
        return;
    Kernel *kernel = open_kernel(bench, entry, NULL, 0);
    bench_against(bench, entry, kernel_milliseconds, kernel, "pytorch_eager");
    bench_against(bench, entry, kernel_milliseconds, kernel, "jax_jit");
    close_kernel(kernel);
}

/* ---- the demo's training step ---- */

static double step_milliseconds(void *training)
{
    cm_step step;
    cm_error *error;
    double start = clock_seconds();
    check(cm_training_step(training, &step, &error), &error);
    return (clock_seconds() - start) * 1e3;
}

static cm_training *open_training(const Bench *bench)
{
    cm_program *program;
    cm_training *training;
    cm_error *error;
    check(cm_load_file(bench->context, DEMO, NULL, &program, &error), &error);
    check(cm_training_create(program, NULL, NULL, &training, &error), &error);
    cm_program_free(program);
    for (int i = 0; i < 2; i++)
        step_milliseconds(training);
    return training;
}

static void bench_training(const Bench *bench)
{
    if (!is_wanted(bench, "train_step_ict"))
        return;
    cm_training *training = open_training(bench);
    if (!bench->python) {
        Pairs alone = {0};
        for (int i = 0; i < STEP_SAMPLES; i++)
            pairs_add(&alone, step_milliseconds(training), 1);
        print_pairs("train_step_ict", "ms", NULL, &alone);
    }
    bench_against(bench, "train_step_ict", step_milliseconds, training, "pytorch_eager");
    bench_against(bench, "train_step_ict", step_milliseconds, training, "jax_jit");
    cm_training_free(training);
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
    check(cm_load_file(context, DEMO, NULL, &program, &error), &error);
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
    bench_cost(&bench, "attention_forward", 1, "attention_forward");
    bench_cost(&bench, "attention_jvp", 0, "attention_forward");
    bench_cost(&bench, "attention_jvp", 1, "attention_jvp");
    bench_cost(&bench, "attention_grad", 0, "attention_forward");
    static const char *const attentions[] = {"attention_forward", "attention_jvp", "attention_grad"};
    for (size_t i = 0; i < sizeof attentions / sizeof *attentions; i++)
        bench_peers(&bench, attentions[i]);
    bench_training(&bench);
    bench_compiling(&bench);
    cm_context_free(bench.context);
    return 0;
}
