/* What a training step costs on a Vulkan device besides the kernels: how often work is handed over, what the host does for it,
 * and how much the kernels move beside what they could not do without.  And kernels, by the device's own clock, beside what it
 * can do. */
#include "bench/bench.h"

#include <stdio.h>
#include <string.h>

enum { STEPS = 7 };

/* The demo's step with few images, so that a processor in a GPU's place gets through it. */
static cm_training *open_step(cm_context *context)
{
    static const cm_setting few[] = {{"train.batch", "4"}};
    cm_load_options loading = {.size = sizeof loading, .settings = few, .setting_count = 1};
    cm_training_options options = {.size = sizeof options, .device = "vulkan"};
    cm_program *program;
    cm_training *training;
    cm_error *error;
    check(cm_load_file(context, ICT, &loading, &program, &error), &error);
    check(cm_training_create(program, NULL, &options, &training, &error), &error);
    cm_program_free(program);
    return training;
}

typedef struct Spent {
    cm_profile_totals totals;
    double launches, bytes; /* of all kernels; bytes that they read and write */
} Spent;

static Spent spent(const cm_context *context)
{
    Spent all = {0};
    cm_profile_row row;
    cm_profile_total(context, &all.totals);
    for (size_t i = 0; cm_profile_get(context, i, &row) == CM_OK; i++) {
        all.launches += (double)row.launches;
        all.bytes += (double)row.launches * (double)row.bytes;
    }
    return all;
}

static void print_steps(cm_context *context, cm_training *training)
{
    Pairs launches = {0}, submissions = {0}, moved = {0}, host = {.at_most = 1};
    for (int i = 0; i < STEPS; i++) {
        Spent before = spent(context);
        step_milliseconds(training);
        Spent after = spent(context);
        pairs_add(&launches, after.launches - before.launches, 1);
        pairs_add(&submissions, (double)(after.totals.submissions - before.totals.submissions), 1);
        pairs_add(&host, 1e6 * (after.totals.host_seconds - before.totals.host_seconds), 200);
        pairs_add(&moved, 1e-6 * (after.bytes - before.bytes),
                  1e-6 * (double)(after.totals.least_bytes - before.totals.least_bytes));
    }
    print_pairs("vulkan_step_launches", "", NULL, &launches);
    print_pairs("vulkan_step_submissions", "", NULL, &submissions);
    print_pairs("vulkan_step_host", "us", "two hundred", &host);
    print_pairs("vulkan_step_moved", "MB", "each array once", &moved);
}

static void bench_step(cm_context *context)
{
    cm_training *training = open_step(context);
    for (int i = 0; i < 2; i++) /* the step is recorded in the first */
        step_milliseconds(training);
    print_steps(context, training);
    cm_training_free(training);
}

/* ---- kernels ---- */

/* Of the one `size` that the entry's work grows with, which is to take long enough at the device's best. */
typedef struct DeviceKernel {
    const char *name, *size;
    int first, most;
    int power;   /* of the size, that the work grows with */
    double work; /* for size 1: operations, or bytes that have to be read and written */
    enum { BOUND_MULTIPLY_ADDS, BOUND_MATRICES, BOUND_TRAFFIC } bound;
    double at_least; /* of what a GPU can do; 0: nothing is said */
} DeviceKernel;

enum { IMAGE = 28 * 28 * 64 }; /* numbers of one */
static const DeviceKernel device_kernels[] = {
    {"vulkan_dot_f32", "S", 1024, 8192, 3, 2, BOUND_MULTIPLY_ADDS, 0.6},
    {"vulkan_dot_f16", "S", 1024, 8192, 3, 2, BOUND_MATRICES, 0.5},
    {"vulkan_conv_f32", "F", 64, 512, 1, 2.0 * 28 * 28 * 9 * 64 * 64, BOUND_MULTIPLY_ADDS, 0.6},
    {"vulkan_pointwise", "M", 64, 512, 1, 3.0 * 4 * 65536, BOUND_TRAFFIC, 0.8},
    {"vulkan_sum", "M", 64, 512, 1, 4.0 * 65536, BOUND_TRAFFIC, 0.8},
    {"vulkan_norm", "M", 64, 512, 1, 2.0 * 4 * IMAGE, BOUND_TRAFFIC, 0},
};
enum { DEVICE_KERNELS = sizeof device_kernels / sizeof *device_kernels };
static const double LONG_ENOUGH = 2e-3;

static double work_of(const DeviceKernel *kernel, int size)
{
    double work = kernel->work;
    for (int i = 0; i < kernel->power; i++)
        work *= size;
    return work;
}

static double device_seconds(const cm_context *context)
{
    double seconds = 0;
    cm_profile_row row;
    for (size_t i = 0; cm_profile_get(context, i, &row) == CM_OK; i++)
        seconds += row.seconds;
    return seconds;
}

/* What a device can do at best, that a kernel stands beside. */
typedef struct Best {
    double (*measure)(DeviceProbe *probe); /* a second */
    const char *name;
    double at_least;
} Best;

/* On a processor in a GPU's place nothing is asked of the ratio, nor of f16 where there are no matrices.  A processor has none
 * to measure: its compiler takes what it does instead out of the probe's loop. */
static Best best_for(const DeviceProbe *probe, const DeviceKernel *wanted)
{
    bool processor = device_probe_is_processor(probe);
    double at_least = processor ? 0 : wanted->at_least;
    if (wanted->bound == BOUND_TRAFFIC)
        return (Best){device_probe_copy, "device_copy", at_least};
    if (wanted->bound == BOUND_MATRICES && device_probe_has_matrices(probe) && !processor)
        return (Best){device_probe_matrices, "device_matrix_peak", at_least};
    return (Best){device_probe_multiply_add, "device_fma_peak", wanted->bound == BOUND_MATRICES ? 0 : at_least};
}

static void bench_device_kernel(const Bench *bench, DeviceProbe *probe, const DeviceKernel *wanted)
{
    const Best bound = best_for(probe, wanted);
    double best = bound.measure(probe);
    int size = wanted->first;
    while (work_of(wanted, size) / best < LONG_ENOUGH && size < wanted->most)
        size *= 2;
    char text[16];
    snprintf(text, sizeof text, "%d", size);
    cm_setting setting = {wanted->size, text};
    cm_load_options loading = {.size = sizeof loading, .settings = &setting, .setting_count = 1};
    cm_compile_options options = {.size = sizeof options, .device = "vulkan"};
    Kernel *kernel = open_kernel_set(bench, KERNELS, wanted->name, &loading, &options, 0);
    Pairs pairs = {.at_least = bound.at_least, .peak_bytes = kernel->peak_bytes};
    run_kernel(kernel);
    for (int i = 0; i < SAMPLES; i++) {
        double before = device_seconds(bench->context);
        run_kernel(kernel);
        double taken = device_seconds(bench->context) - before;
        pairs_add(&pairs, 1e-9 * work_of(wanted, size) / taken, 1e-9 * bound.measure(probe));
    }
    print_pairs(wanted->name, wanted->bound == BOUND_TRAFFIC ? "GB/s" : "GFLOP/s", bound.name, &pairs);
    close_kernel(kernel);
}

/* What cm says of the device, as text to free; null: there is none. */
static char *describe_device(cm_context *context)
{
    size_t index = 0;
    while (cm_device_name(context, index) && strcmp(cm_device_name(context, index), "vulkan") != 0)
        index++;
    char *text = NULL;
    cm_error *error = NULL;
    if (cm_device_name(context, index) && cm_device_describe(context, index, &text, &error)) {
        fprintf(stderr, "cm_bench: no Vulkan: %s\n", cm_error_text(error));
        cm_error_free(error);
    }
    return text;
}

static bool any_is_wanted(const Bench *bench)
{
    bool any = is_wanted(bench, "vulkan_step");
    for (int i = 0; i < DEVICE_KERNELS; i++)
        any |= is_wanted(bench, device_kernels[i].name);
    return any;
}

void bench_device(const Bench *bench)
{
    Bench timed = *bench;
    cm_error *error;
    cm_context_options options = {.size = sizeof options, .threads = bench->threads, .profile = 1};
    if (!any_is_wanted(bench))
        return;
    check(cm_context_create(&options, &timed.context, &error), &error);
    char *description = describe_device(timed.context);
    DeviceProbe *probe = NULL;
    if (description) {
        fprintf(stderr, "cm_bench: %s\n", description);
        probe = device_probe_open(description);
    }
    for (int i = 0; i < DEVICE_KERNELS && probe; i++)
        if (is_wanted(bench, device_kernels[i].name))
            bench_device_kernel(&timed, probe, &device_kernels[i]);
    if (probe && is_wanted(bench, "vulkan_step"))
        bench_step(timed.context);
    if (probe)
        device_probe_close(probe);
    cm_text_free(timed.context, description);
    cm_context_free(timed.context);
}
