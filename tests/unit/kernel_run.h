/* For tests of generated code: opens the CPU backend, compiles one kernel, and runs its phases. */
#ifndef CM_TESTS_KERNEL_RUN_H
#define CM_TESTS_KERNEL_RUN_H

#include "backends/cpu/cpu_internal.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct RunPhase {
    const CpuPhase *phase;
    void *const *buffers;
    char *scratch;
    size_t scratch_bytes;
    void *shared;
} RunPhase;

static void run_range(void *state, int64_t first, int64_t end, int worker)
{
    RunPhase *run = state;
    run->phase->entry(run->buffers, first, end, run->scratch + (size_t)worker * run->scratch_bytes, run->shared);
}

/* Runs with all tasks in one range, or shared out over the pool. */
static void run_compiled(const CpuKernel *kernel, void *const *buffers, Pool *pool)
{
    int threads = pool ? pool_threads(pool) : 1;
    size_t scratch_bytes = (kernel->scratch_bytes + 63) / 64 * 64 + 64,
           shared_bytes = (kernel->shared_bytes + 63) / 64 * 64 + 64;
    RunPhase run = {.buffers = buffers, .scratch_bytes = scratch_bytes};
    run.scratch = aligned_alloc(64, scratch_bytes * (size_t)threads);
    run.shared = aligned_alloc(64, shared_bytes);
    memset(run.scratch, 0x5a, scratch_bytes * (size_t)threads);
    memset(run.shared, 0x5a, shared_bytes);
    for (int p = 0; p < kernel->phase_count; p++) {
        run.phase = &kernel->phases[p];
        if (pool)
            pool_run(pool, run.phase->tasks, run_range, &run);
        else
            run_range(&run, 0, run.phase->tasks, 0);
    }
    free(run.scratch);
    free(run.shared);
}

static inline Device *open_device(Arena *arena, Pool *pool, const char *cpu, const char *features)
{
    Device *device;
    const char *reason = backend_cpu.open(arena, &(DeviceOptions){.pool = pool}, &device);
    ck_assert_msg(!reason, "open: %s", reason);
    if (cpu) {
        device->target.cpu = cpu;
        device->target.features = features;
        target_complete(&device->target);
    }
    return device;
}

/* Runs on `one` without a pool; on `two`, if not null, with it. */
static inline void compile_and_run_both(Device *device, Kernel *kernel, void *const *one, void *const *two, Pool *pool)
{
    Arena *arena = arena_new(NULL, NULL);
    CpuKernel compiled;
    JitCode *code;
    const char *reason = jit_compile(arena, device, &kernel, 1, &compiled, &code, NULL);
    if (reason && getenv("CM_TEST_DUMP")) {
        Text text = text_new(arena);
        jit_dump(arena, device, kernel, "llvm", &text);
        puts(text.data);
    }
    ck_assert_msg(!reason, "%s: %s", kernel->name, reason);
    run_compiled(&compiled, one, NULL);
    if (two)
        run_compiled(&compiled, two, pool);
    jit_release(code);
    arena_free(arena);
}

static inline void compile_and_run(Device *device, Kernel *kernel, void *const *buffers)
{
    compile_and_run_both(device, kernel, buffers, NULL, NULL);
}

#endif
