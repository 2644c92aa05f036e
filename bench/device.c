/* What a training step costs on a Vulkan device besides the kernels: how often work is handed over, what the host does for it,
 * and how much the kernels move beside what they could not do without. */
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

/* Says which device it is, or why there is none. */
static bool vulkan_answers(cm_context *context)
{
    size_t index = 0;
    while (cm_device_name(context, index) && strcmp(cm_device_name(context, index), "vulkan") != 0)
        index++;
    char *text;
    cm_error *error;
    if (!cm_device_name(context, index))
        return false;
    if (cm_device_describe(context, index, &text, &error)) {
        fprintf(stderr, "cm_bench: no Vulkan: %s\n", cm_error_text(error));
        cm_error_free(error);
        return false;
    }
    fprintf(stderr, "cm_bench: %s\n", text);
    cm_text_free(context, text);
    return true;
}

void bench_device(const Bench *bench)
{
    cm_error *error;
    cm_context *context;
    cm_context_options options = {.size = sizeof options, .threads = bench->threads, .profile = 1};
    if (!is_wanted(bench, "vulkan_step"))
        return;
    check(cm_context_create(&options, &context, &error), &error);
    bool there = vulkan_answers(context);
    if (there) {
        cm_training *training = open_step(context);
        for (int i = 0; i < 2; i++) /* the step is recorded in the first */
            step_milliseconds(training);
        print_steps(context, training);
        cm_training_free(training);
    }
    cm_context_free(context);
}
