/* What derivatives and training steps cost: beside the value alone, and beside peers. */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- beside other entries ---- */

/* An entry, value and all, beside another one of the same file; `no_fuse`: in the form that stores everything. */
typedef struct Cost {
    const char *file, *entry, *against; /* against null: by itself */
    int no_fuse;
    double at_most; /* 0: nothing is said */
} Cost;

static const Cost costs[] = {
    {KERNELS, "attention_forward", "attention_forward", 1, 0},
    {KERNELS, "attention_jvp", "attention_forward", 0, 3.2},
    {KERNELS, "attention_jvp", "attention_jvp", 1, 0},
    {KERNELS, "attention_grad", "attention_forward", 0, 0},
    {KERNELS, "long_attention_forward", "long_attention_forward", 1, 0},
    {KERNELS, "long_attention_jvp", "long_attention_forward", 0, 0},
    {KERNELS, "long_attention_grad", "long_attention_forward", 0, 0},
    {KERNELS, "long_attention_grad", "long_attention_grad", 1, 0},
    {NETWORKS, "unet_forward", NULL, 0, 0},
    {NETWORKS, "unet_jvp", "unet_forward", 0, 2.2},
    {NETWORKS, "unet_grad", "unet_forward", 0, 3.5},
    {NETWORKS, "dit_forward", NULL, 0, 0},
    {NETWORKS, "dit_jvp", "dit_forward", 0, 2.2},
    {NETWORKS, "dit_grad", "dit_forward", 0, 3.5},
};
enum { COSTS = sizeof costs / sizeof *costs };

static void bench_cost(const Bench *bench, const Cost *cost)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", cost->entry, cost->no_fuse ? "_unfused" : "");
    if (!is_wanted(bench, name))
        return;
    cm_compile_options options = {.size = sizeof options, .no_fuse = cost->no_fuse};
    Kernel *kernel = open_kernel(bench, cost->file, cost->entry, &options, 0);
    Kernel *other = cost->against ? open_kernel(bench, cost->file, cost->against, NULL, 0) : NULL;
    Pairs pairs = {.at_most = cost->at_most, .peak_bytes = kernel->peak_bytes};
    time_runs(kernel);
    check_finite(kernel);
    for (int i = 0; i < SAMPLES; i++)
        pairs_add(&pairs, time_runs(kernel) * 1e3, other ? time_runs(other) * 1e3 : 1);
    print_pairs(name, "ms", cost->against, &pairs);
    close_kernel(kernel);
    if (other)
        close_kernel(other);
}

/* ---- beside peers ---- */

typedef double Milliseconds(void *state); /* of one turn */

/* What is held against peers. */
typedef struct Own {
    const char *name, *what; /* of the row; what peers call it */
    Milliseconds *turn;
    void *state;
    int64_t weight_count, peak_bytes;
    double at_most;
} Own;

/* The same in another program, in turns. */
static void bench_against(const Bench *bench, const Own *own, const char *peer_name)
{
    char version[64];
    Peer *peer = bench->python ? peer_start(bench->python, peer_name, own->what, bench->threads, own->weight_count, version,
                                            sizeof version)
                               : NULL;
    if (!peer) {
        fprintf(stderr, "cm_bench: %s is not to be had here: nothing to hold %s against\n", peer_name, own->what);
        return;
    }
    Pairs pairs = {.at_most = own->at_most, .peak_bytes = own->peak_bytes};
    for (int i = 0; i < STEP_SAMPLES; i++) {
        double ours = own->turn(own->state), theirs = peer_step(peer);
        if (theirs > 0)
            pairs_add(&pairs, ours, theirs);
    }
    print_pairs(own->name, "ms", peer_name, &pairs);
    fprintf(stderr, "cm_bench: %s is %s\n", peer_name, version);
    peer_stop(peer);
}

static const char *const peers[] = {"pytorch_eager", "pytorch_compile", "jax_jit"};
enum { PEERS = sizeof peers / sizeof *peers };

typedef struct Contest {
    const char *file, *entry;
    double at_most;
} Contest;

static const Contest contests[] = {
    {KERNELS, "attention_forward", 1}, {KERNELS, "attention_jvp", 1}, {KERNELS, "attention_grad", 0},
    {NETWORKS, "unet_forward", 0},     {NETWORKS, "unet_jvp", 1},     {NETWORKS, "unet_grad", 0},
    {NETWORKS, "dit_forward", 0},      {NETWORKS, "dit_jvp", 1},      {NETWORKS, "dit_grad", 0},
};
enum { CONTESTS = sizeof contests / sizeof *contests };

static double kernel_milliseconds(void *kernel)
{
    return time_runs(kernel) * 1e3;
}

static void bench_contest(const Bench *bench, const Contest *contest)
{
    char name[64];
    snprintf(name, sizeof name, "peer_%s", contest->entry);
    if (!bench->python || !is_wanted(bench, name))
        return;
    Kernel *kernel = open_kernel(bench, contest->file, contest->entry, NULL, 0);
    Own own = {name, contest->entry, kernel_milliseconds, kernel, kernel->weight_count, kernel->peak_bytes, contest->at_most};
    for (int i = 0; i < PEERS; i++)
        bench_against(bench, &own, peers[i]);
    close_kernel(kernel);
}

/* ---- training steps ---- */

double step_milliseconds(void *training)
{
    cm_step step;
    cm_error *error;
    double start = clock_seconds();
    check(cm_training_step(training, &step, &error), &error);
    return (clock_seconds() - start) * 1e3;
}

static cm_training *open_training(const Bench *bench, const char *file, cm_training_info *info)
{
    cm_program *program;
    cm_training *training;
    cm_error *error;
    check(cm_load_file(bench->context, file, NULL, &program, &error), &error);
    check(cm_training_create(program, NULL, NULL, &training, &error), &error);
    check(cm_training_info_get(training, info), &error);
    cm_program_free(program);
    for (int i = 0; i < 2; i++)
        step_milliseconds(training);
    return training;
}

static void bench_training(const Bench *bench)
{
    if (!is_wanted(bench, "train_step_ict"))
        return;
    cm_training_info info;
    cm_training *training = open_training(bench, ICT, &info);
    const char *name = "train_step_ict";
    Own own = {name, name, step_milliseconds, training, info.weight_count, info.compile.peak_bytes, 0};
    if (!bench->python) {
        Pairs alone = {.peak_bytes = own.peak_bytes};
        for (int i = 0; i < STEP_SAMPLES; i++)
            pairs_add(&alone, step_milliseconds(training), 1);
        print_pairs(own.name, "ms", NULL, &alone);
    }
    bench_against(bench, &own, "pytorch_eager");
    bench_against(bench, &own, "jax_jit");
    cm_training_free(training);
}

/* A step with a tangent in it, beside one of diffusion with all else alike. */
static void bench_tangent_step(const Bench *bench)
{
    if (!is_wanted(bench, "scm_step"))
        return;
    cm_training_info info, plain;
    cm_training *training = open_training(bench, SCM, &info), *diffusion = open_training(bench, NETWORKS, &plain);
    if (info.weight_count != plain.weight_count || info.state_bytes != plain.state_bytes || info.batch != plain.batch) {
        fputs("cm_bench: the runs of scm.cm and networks.cm differ in weights, state or batch\n", stderr);
        exit(1);
    }
    Pairs pairs = {.at_most = 1.6, .peak_bytes = info.compile.peak_bytes};
    for (int i = 0; i < STEP_SAMPLES; i++)
        pairs_add(&pairs, step_milliseconds(training), step_milliseconds(diffusion));
    print_pairs("scm_step", "ms", "diffusion_step", &pairs);
    cm_training_free(training);
    cm_training_free(diffusion);
}

void bench_derivatives(const Bench *bench)
{
    for (int i = 0; i < COSTS; i++)
        bench_cost(bench, &costs[i]);
    for (int i = 0; i < CONTESTS; i++)
        bench_contest(bench, &contests[i]);
    bench_tangent_step(bench);
    bench_training(bench);
}
