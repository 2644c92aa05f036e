/* The Vulkan backend: its table of functions, and executables. */
#include "backends/vulkan/schedule.h"

#include <string.h>

static const char *vulkan_open(Arena *arena, const DeviceOptions *options, Device **device)
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
    arena_set_escape(own, NULL);
    pthread_mutex_init(&made->queue_lock, NULL);
    const char *reason = device_open(arena, made);
    if (!reason)
        reason = proof_device(arena, made);
    if (!reason) {
        *device = made;
        return NULL;
    }
    device_close(made);
    pthread_mutex_destroy(&made->queue_lock);
    arena_free(own);
    return reason;
}

static const char *vulkan_describe(Device *device, Arena *arena)
{
    static const char *const forms[] = {[MATRICES_KHR] = "KHR", [MATRICES_NV] = "NV", [MATRICES_BY_HAND] = "by hand"};
    const VkPhysicalDeviceProperties *properties = &device->properties;
    const char *others = device_others(arena, device);
    Text text = text_new(arena);
    text_printf(&text, "vulkan: %s, Vulkan %u.%u", properties->deviceName, VK_API_VERSION_MAJOR(properties->apiVersion),
                VK_API_VERSION_MINOR(properties->apiVersion));
    text_printf(&text, ", %s, %s", device->features.shaderFloat64 ? "f64" : "no f64",
                device->features.shaderInt64 ? "i64" : "no i64");
    text_printf(&text, "%s%s%s", device->stores_16 ? ", 16-bit storage" : "", device->stores_8 ? ", 8-bit storage" : "",
                device->subgroups_fold ? ", subgroups" : "");
    if (device->matrices.form)
        text_printf(&text, ", matrices of %d x %d x %d (%s)", device->matrices.shape.m, device->matrices.shape.n,
                    device->matrices.shape.k, forms[device->matrices.form]);
    text_printf(&text, ", %s, up to %lld MiB, in %d windows of %lld MiB",
                device->host_sees_all ? "memory shared with the host" : "memory of its own",
                (long long)(device->memory_bytes >> 20), MOST_WINDOWS, (long long)(device->window_bytes >> 20));
    if (*others)
        text_printf(&text, "; CM_VULKAN_DEVICE can choose another: %s", others);
    return text.data;
}

static bool vulkan_computes(const Device *device, DType dtype)
{
    return dtype == DT_f64 ? device->features.shaderFloat64 : dtype == DT_i64 ? device->features.shaderInt64 : true;
}

static void vulkan_close(Device *device)
{
    if (!device)
        return;
    device_close(device);
    pthread_mutex_destroy(&device->queue_lock);
    arena_free(device->arena);
}

/* ---- compiling ---- */

static void vulkan_release(Executable *executable)
{
    if (!executable)
        return;
    for (int i = 0; i < executable->layout.shaders.count; i++) {
        const Shaders *shaders = &executable->layout.shaders.items[i];
        for (int k = 0; k < shaders->schedule->phases.count; k++)
            vkDestroyPipeline(executable->device->logical, shaders->pipeline[k], NULL);
    }
    arena_free(executable->arena);
}

/* The caller's arena leaves to here, too, so that what was made is unmade whichever arena runs out. */
static const char *vulkan_compile(Arena *arena, Device *device, const Plan *plan, Executable **executable, CompileStats *stats)
{
    jmp_buf escape;
    jmp_buf *const outer = arena_set_escape(arena, &escape);
    Executable *volatile kept = NULL;
    if (setjmp(escape)) {
        vulkan_release(kept);
        arena_set_escape(arena, outer);
        return "not enough memory";
    }
    Arena *own = arena_new(device->options.allocator, &escape);
    Executable *made = arena_new_of(own, Executable);
    *made = (Executable){.arena = own, .device = device, .plan = plan};
    kept = made;
    if (device->options.profile && !(made->profile = profile_add(device->options.profile, backend_vulkan.name, plan)))
        longjmp(escape, 1);
    const char *reason = compile_shaders(arena, made, stats);
    arena_set_escape(own, NULL);
    arena_set_escape(arena, outer);
    if (reason) {
        vulkan_release(made);
        return reason;
    }
    *executable = made;
    return NULL;
}

/* ---- dumps ---- */

static const char *dump_spirv(Arena *arena, const Device *device, const Schedule *schedule, int phase, Text *out)
{
    Text text = text_new(arena);
    Spirv spirv;
    glsl_print(arena, device, NULL, schedule, phase, &text);
    const char *reason = spirv_compile(arena, text.data, &spirv);
    for (size_t i = 0; !reason && i < spirv.count; i++)
        text_printf(out, "%08x%s", spirv.words[i], i % 8 == 7 || i + 1 == spirv.count ? "\n" : " ");
    return reason;
}

static void dump_phase(const Schedule *schedule, const Phase *phase, Text *out)
{
    static const char *const kinds[] = {"a thread for each point",   "a workgroup for each sum",
                                        "a workgroup for each tile", "a workgroup for each tile, with matrices",
                                        "a thread for each zero",    "a workgroup for each row"};
    static const char *const roles[] = {[ROLE_PIECES] = ", in %lld pieces each",
                                        [ROLE_JOIN] = ", that joins %lld pieces",
                                        [ROLE_BEFORE] = ", that puts what comes before each of %lld pieces in its place",
                                        [ROLE_RESUME] = ", that goes on in %lld pieces each"};
    text_printf(out, "// %s: %s, %lld of them", schedule->kernel->name, kinds[phase->kind], (long long)phase->points);
    if (phase->each > 1)
        text_printf(out, ", %d to a thread", phase->each);
    if (phase->role != ROLE_WHOLE)
        text_printf(out, roles[phase->role], (long long)phase->pieces);
    text_printf(out, ", in %lld workgroups", (long long)phase->groups);
    if (schedule->turns > 1)
        text_printf(out, ", %lld times", (long long)schedule->turns);
    text_puts(out, "\n");
}

static const char *vulkan_dump(Arena *arena, Device *device, const Kernel *kernel, const char *stage, Text *out)
{
    bool only_schedule = strcmp(stage, "schedule") == 0, glsl = strcmp(stage, "glsl") == 0;
    const Schedule *schedule = schedule_kernel(arena, device, kernel);
    const char *reason = compile_check(arena, device, kernel);
    if (!only_schedule && !glsl && strcmp(stage, "spirv") != 0)
        return arena_printf(arena, "the Vulkan backend has no stage \"%s\": it has schedule, glsl and spirv", stage);
    for (int i = 0; i < schedule->phases.count && !reason; i++) {
        dump_phase(schedule, &schedule->phases.items[i], out);
        if (glsl)
            glsl_print(arena, device, NULL, schedule, i, out);
        else if (!only_schedule)
            reason = dump_spirv(arena, device, schedule, i, out);
    }
    return reason;
}

const Backend backend_vulkan = {
    .name = "vulkan",
    .open = vulkan_open,
    .describe = vulkan_describe,
    .close = vulkan_close,
    .computes = vulkan_computes,
    .compile = vulkan_compile,
    .release = vulkan_release,
    .dump = vulkan_dump,
    .instantiate = execute_vulkan_instantiate,
    .run = execute_vulkan_run,
    .read_ahead = execute_vulkan_read_ahead,
    .fetch = execute_vulkan_fetch,
    .discard = execute_vulkan_discard,
};
