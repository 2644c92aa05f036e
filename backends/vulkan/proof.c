/* Running one kernel, given as text, on a device that has just been opened: what drivers report is not enough to go by. */
#include "backends/vulkan/vulkan_internal.h"

#include <assert.h>
#include <string.h>

static Plan *plan_kernel(Arena *arena, const char *text)
{
    Source *source = arena_new_of(arena, Source);
    *source = (Source){"<proof>", text, strlen(text)};
    DiagSink diags = diag_sink_new(arena);
    Kernel *kernel = kernel_parse(arena, source, &diags);
    assert(kernel && "the text is ours");
    Plan *plan = arena_new_of(arena, Plan);
    *plan = (Plan){.arena = arena, .name = kernel->name, .launch_count = 1};
    list_push(arena, &plan->kernels, kernel);
    PlanStep launch = {.kind = STEP_LAUNCH};
    for (int i = 0; i < kernel->buffers.count; i++) {
        const KBuffer *buffer = &kernel->buffers.items[i];
        bool input = buffer->kind == K_IN;
        list_push(arena, &plan->buffers,
                  ((PlanBuffer){.place = input ? PLACE_INPUT : PLACE_OUTPUT,
                                .type = ir_type(buffer->dtype, 1, &buffer->count),
                                .bytes = buffer->count * dtype_size(buffer->dtype),
                                .offset = input ? plan->input_count++ : plan->output_count++,
                                .name = "argument",
                                .over = -1}));
        list_push(arena, &launch.args, i);
    }
    list_push(arena, &plan->steps.list, launch);
    return plan;
}

const char *proof_run(Arena *arena, Device *device, const char *text, void *const *inputs, void *const *outputs)
{
    Executable *executable = NULL;
    Instance *instance = NULL;
    CompileStats stats;
    const char *reason = backend_vulkan.compile(arena, device, plan_kernel(arena, text), &executable, &stats);
    if (!reason)
        reason = backend_vulkan.instantiate(arena, executable, &instance);
    if (!reason)
        reason = backend_vulkan.run(arena, instance, inputs, outputs, NULL);
    backend_vulkan.discard(instance);
    backend_vulkan.release(executable);
    return reason;
}

/* Proofs are none of the user's runs, and are not timed.  Where there is not enough memory for them, less is used. */
void proof_device(Device *device)
{
    jmp_buf escape;
    Arena *volatile kept = NULL;
    Profile *const profile = device->options.profile;
    device->options.profile = NULL;
    if (setjmp(escape)) {
        device->matrices.form = MATRICES_NONE;
        device->fuses = false;
    } else {
        Arena *arena = kept = arena_new(device->options.allocator, &escape);
        floats_try(arena, device);
        matrices_choose(arena, device);
    }
    device->options.profile = profile;
    arena_free(kept);
}
