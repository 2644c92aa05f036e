/* The CPU backend: its table of functions, its device, and executables. */
#include "backends/cpu/reshape.h"

#include <string.h>

static const char *cpu_open(Arena *arena, const DeviceOptions *options, Device **device)
{
    jmp_buf escape;
    Arena *volatile kept = NULL;
    if (setjmp(escape)) {
        arena_free(kept);
        return "not enough memory";
    }
    Arena *own = kept = arena_new(options->allocator, &escape);
    Device *made = arena_new_of(own, Device);
    *made = (Device){.arena = own, .options = *options};
    if (options->cache_directory)
        made->options.cache_directory = arena_copy_text(own, options->cache_directory, strlen(options->cache_directory));
    const char *reason = target_detect(own, &made->target);
    arena_set_escape(own, NULL);
    if (reason) {
        reason = arena_copy_text(arena, reason, strlen(reason));
        arena_free(own);
        return reason;
    }
    *device = made;
    return NULL;
}

static const char *cpu_describe(Device *device, Arena *arena)
{
    unsigned major, minor, patch;
    LLVMGetVersion(&major, &minor, &patch);
    int threads = device->options.pool ? pool_threads(device->options.pool) : 1;
    return arena_printf(arena, "cpu: %s, %d threads, %d-bit vectors, code by LLVM %u.%u.%u", device->target.cpu, threads,
                        device->target.lanes * 32, major, minor, patch);
}

static void cpu_close(Device *device)
{
    if (device)
        arena_free(device->arena);
}

/* The caller's arena leaves to here, too, so that what was made is unmade whichever arena runs out. */
static const char *cpu_compile(Arena *arena, Device *device, const Plan *plan, Executable **executable, CompileStats *stats)
{
    jmp_buf escape;
    jmp_buf *const outer = arena_set_escape(arena, &escape);
    Arena *volatile kept = NULL;
    if (setjmp(escape)) {
        arena_free(kept);
        arena_set_escape(arena, outer);
        return "not enough memory";
    }
    Arena *own = kept = arena_new(device->options.allocator, &escape);
    Executable *made = arena_new_of(own, Executable);
    int count = plan->kernels.count;
    *made = (Executable){.arena = own, .device = device, .plan = plan, .kernels = arena_array(own, CpuKernel, count + 1)};
    if (device->options.profile && !(made->profile = profile_add(device->options.profile, backend_cpu.name, plan)))
        longjmp(escape, 1);
    arena_set_escape(own, NULL);
    const char *reason = jit_compile(arena, device, plan->kernels.items, count, made->kernels, &made->code, stats);
    arena_set_escape(arena, outer);
    if (reason) {
        arena_free(own);
        return reason;
    }
    *executable = made;
    return NULL;
}

static void cpu_release(Executable *executable)
{
    if (!executable)
        return;
    jit_release(executable->code);
    arena_free(executable->arena);
}

static void dump_schedule(Arena *arena, Device *device, const Kernel *kernel, Text *out)
{
    Reshaped reshaped = reshape_kernel(arena, &device->target, kernel);
    text_printf(out, "%s: %s\n", kernel->name ? kernel->name : "kernel",
                reshaped.by_stage ? "each stage shared out" : "outer points shared out");
    for (int i = 0; i < reshaped.kernel->stages.count; i++) {
        const KStage *stage = &reshaped.kernel->stages.items[i];
        if (stage->kind == K_STAGE_CONTRACT && contract_describe(&device->target, reshaped.kernel, stage, out))
            continue;
        Nest nest = nest_choose(arena, &device->target, reshaped.kernel, stage, reshaped.ragged.items[i], reshaped.by_stage);
        nest_print(&nest, out);
    }
}

static const char *cpu_dump(Arena *arena, Device *device, const Kernel *kernel, const char *stage, Text *out)
{
    if (strcmp(stage, "schedule") == 0) {
        dump_schedule(arena, device, kernel, out);
        return NULL;
    }
    if (strcmp(stage, "llvm") == 0 || strcmp(stage, "asm") == 0)
        return jit_dump(arena, device, kernel, stage, out);
    return arena_printf(arena, "the CPU backend has no stage \"%s\": it has schedule, llvm and asm", stage);
}

const Backend backend_cpu = {
    .name = "cpu",
    .open = cpu_open,
    .describe = cpu_describe,
    .close = cpu_close,
    .compile = cpu_compile,
    .release = cpu_release,
    .dump = cpu_dump,
    .instantiate = execute_instantiate,
    .run = execute_run,
    .discard = execute_discard,
};
