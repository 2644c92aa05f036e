/* From kernels to pipelines: GLSL, SPIR-V from glslang or from the cache, and what the driver makes of it; on all threads. */
#include "backends/vulkan/schedule.h"

#include "base/cache.h"
#include "base/table.h"

#include <stdlib.h>
#include <string.h>

const char *compile_check(Arena *arena, const Device *device, const Kernel *kernel)
{
    const char *lacks = NULL, *name = device->properties.deviceName;
    if (!schedule_is_countable(schedule_kernel(arena, device, kernel)))
        return span_located(arena, kernel->span,
                            arena_printf(arena, "'%s' has more points than shaders count, which is to 2^30", kernel->name));
    if (glsl_uses(kernel, DT_f64) && !device->features.shaderFloat64)
        lacks = "f64";
    if (glsl_uses(kernel, DT_i64) && !device->features.shaderInt64)
        lacks = "i64";
    if (!lacks)
        return NULL;
    return span_located(arena, kernel->span,
                        arena_printf(arena, "%s does not compute with %s, which '%s' needs", name, lacks, kernel->name));
}

/* ---- SPIR-V in the cache: by the shader's text, of which a second hash comes before the words ---- */

static uint64_t text_key(const Text *text)
{
    uint64_t hash = hash_bytes(text->data, text->length, 0);
    return cache_key(&hash, sizeof hash);
}

static bool read_spirv(Arena *arena, const Device *device, const Text *text, Spirv *spirv)
{
    const char *directory = device->options.cache_directory;
    uint64_t second = hash_bytes(text->data, text->length, 1), found;
    Bytes content;
    if (!directory || !cache_read(arena, directory, text_key(text), &content) || content.size < sizeof found ||
        content.size % sizeof *spirv->words)
        return false;
    memcpy(&found, content.data, sizeof found);
    spirv->count = (content.size - sizeof found) / sizeof *spirv->words;
    spirv->words = arena_copy(arena, content.data + sizeof found, content.size - sizeof found);
    return found == second;
}

static void keep_spirv(Arena *arena, Device *device, const Text *text, const Spirv *spirv)
{
    const char *directory = device->options.cache_directory;
    uint64_t second = hash_bytes(text->data, text->length, 1);
    size_t size = sizeof second + spirv->count * sizeof *spirv->words;
    Bytes content = {arena_alloc(arena, size), size};
    memcpy(content.data, &second, sizeof second);
    memcpy(content.data + sizeof second, spirv->words, size - sizeof second);
    const char *reason = directory ? cache_write(arena, directory, text_key(text), content) : NULL;
    if (reason && device->options.log && !atomic_exchange(&device->said_not_kept, true))
        device->options.log(device->options.log_state, arena_printf(arena, "shaders are not kept: %s", reason));
}

/* ---- pipelines ---- */

/* What multiplies matrices counts on the size of its subgroups. */
static const char *make_pipeline(Arena *arena, Device *device, const char *name, const Phase *phase, const Spirv *spirv,
                                 VkPipeline *pipeline)
{
    VkShaderModule module;
    VkShaderModuleCreateInfo code = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = spirv->count * 4, .pCode = spirv->words};
    VkResult result = vkCreateShaderModule(device->logical, &code, NULL, &module);
    if (result)
        return device_reason(arena, name, result);
    bool sized = phase->kind == PHASE_MATRICES && device->matrices.form != MATRICES_BY_HAND;
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfoEXT size = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO_EXT,
        .requiredSubgroupSize = (uint32_t)device->matrices.threads};
    VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .layout = device->pipeline_layout,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .pNext = sized ? &size : NULL,
                  .flags = sized ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT_EXT : 0,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = module,
                  .pName = "main"}};
    result = vkCreateComputePipelines(device->logical, device->pipelines, 1, &info, NULL, pipeline);
    vkDestroyShaderModule(device->logical, module, NULL);
    return result ? device_reason(arena, name, result) : NULL;
}

/* ---- all shaders ---- */

typedef struct Job {
    Executable *made;
    const char **reasons; /* malloc'd, since threads do not share arenas */
    atomic_int next, compiled;
} Job;

static const char *name_of(const Shaders *shaders)
{
    return shaders->kernel ? shaders->kernel->name : shaders->control == CONTROL_GATE ? "gate" : "copy";
}

static const char *compile_phase(Arena *arena, Job *job, const Shaders *shaders, int number, bool *compiled)
{
    Device *device = job->made->device;
    const Phase *phase = &shaders->schedule->phases.items[number];
    Text text = text_new(arena);
    Spirv spirv;
    const char *reason = NULL;
    double turns = 0;
    if (shaders->kernel)
        turns = glsl_print(arena, device, shaders->window, shaders->schedule, number, &text);
    else
        control_print(device, shaders->control, shaders->window, &text);
    if (device->most_turns > 0 && turns > device->most_turns)
        return arena_printf(arena, "a thread would take %.0f turns of loops, and %s leaves them after %.0f", turns,
                            device->properties.deviceName, device->most_turns);
    if (!read_spirv(arena, device, &text, &spirv)) {
        *compiled = true;
        reason = spirv_compile(arena, text.data, &spirv);
        if (!reason)
            keep_spirv(arena, device, &text, &spirv);
    }
    return reason ? reason : make_pipeline(arena, device, name_of(shaders), phase, &spirv, &shaders->pipeline[number]);
}

/* Memory that runs out on a worker is that kernel's reason: a worker cannot leave to where the compilation began. */
static void compile_one(Job *job, int number)
{
    jmp_buf escape;
    Arena *volatile kept = NULL;
    if (setjmp(escape)) {
        arena_free(kept);
        job->reasons[number] = strdup("not enough memory");
        return;
    }
    Arena *arena = kept = arena_new(job->made->device->options.allocator, &escape);
    const Shaders *shaders = &job->made->layout.shaders.items[number];
    const char *reason = NULL;
    bool compiled = false;
    for (int i = 0; i < shaders->schedule->phases.count && !reason; i++)
        if (shaders->schedule->phases.items[i].points)
            reason = compile_phase(arena, job, shaders, i, &compiled);
    if (reason)
        job->reasons[number] = strdup(reason);
    atomic_fetch_add(&job->compiled, compiled);
    arena_free(arena);
}

/* Kernels differ much in size: each thread takes the next one when it is free. */
static void compile_some(void *state, int64_t first, int64_t end, int worker)
{
    Job *job = state;
    (void)first, (void)end, (void)worker;
    for (int i; (i = atomic_fetch_add(&job->next, 1)) < job->made->layout.shaders.count;)
        compile_one(job, i);
}

static const char *first_reason(Job *job, Arena *arena)
{
    const char *first = NULL;
    for (int i = 0; i < job->made->layout.shaders.count; i++) {
        const Shaders *shaders = &job->made->layout.shaders.items[i];
        if (job->reasons[i] && !first)
            first = span_located(arena, shaders->kernel ? shaders->kernel->span : (Span){0},
                                 arena_printf(arena, "kernel %s: %s", name_of(shaders), job->reasons[i]));
        free((void *)job->reasons[i]);
    }
    return first;
}

const char *compile_shaders(Arena *arena, Executable *made, CompileStats *stats)
{
    const Plan *plan = made->plan;
    Pool *pool = made->device->options.pool;
    int64_t start = profile_now();
    const char *reason = NULL;
    for (int i = 0; i < plan->kernels.count && !reason; i++)
        reason = compile_check(arena, made->device, plan->kernels.items[i]);
    if (!reason)
        reason = layout_plan(arena, made->arena, made->device, plan, &made->layout);
    if (reason)
        return reason;
    int count = made->layout.shaders.count;
    Job job = {.made = made, .reasons = arena_array(arena, const char *, count + 1)};
    if (pool && count > 1)
        pool_run(pool, pool_threads(pool), compile_some, &job);
    else
        compile_some(&job, 0, 1, 0);
    reason = first_reason(&job, arena);
    if (job.compiled && made->device->options.cache_directory)
        cache_trim(arena, made->device->options.cache_directory);
    *stats = (CompileStats){.seconds = 1e-9 * (double)(profile_now() - start),
                            .kernels = count,
                            .compiled = job.compiled,
                            .from_cache = count - job.compiled};
    return reason;
}
