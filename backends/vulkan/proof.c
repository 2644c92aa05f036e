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
        bool input = buffer->kind != K_OUT;
        if (buffer->kind == K_LOCAL)
            continue;
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

/* Also where memory runs out nothing is left open. */
const char *proof_run(Arena *arena, Device *device, const char *text, void *const *inputs, void *const *outputs)
{
    jmp_buf escape;
    jmp_buf *const outer = arena_set_escape(arena, &escape);
    Executable *volatile made = NULL;
    Instance *volatile begun = NULL;
    const char *volatile reason = "not enough memory";
    if (!setjmp(escape)) {
        Executable *executable = NULL;
        Instance *instance = NULL;
        CompileStats stats;
        const char *why = backend_vulkan.compile(arena, device, plan_kernel(arena, text), &executable, &stats);
        made = executable;
        if (!why)
            why = backend_vulkan.instantiate(arena, executable, &instance);
        begun = instance;
        if (!why)
            why = backend_vulkan.run(arena, instance, inputs, outputs, NULL);
        reason = why;
    }
    backend_vulkan.discard(begun);
    backend_vulkan.release(made);
    arena_set_escape(arena, outer);
    return reason;
}

/* Proofs are none of the user's runs, and are not timed.  Without matrices that work a device is used as one that has none. */
const char *proof_device(Arena *arena, Device *device)
{
    jmp_buf escape;
    Arena *volatile kept = NULL;
    const char *volatile reason = "not enough memory";
    Profile *const profile = device->options.profile;
    device->options.profile = NULL;
    if (!setjmp(escape)) {
        Arena *own = kept = arena_new(device->options.allocator, &escape);
        const char *why = floats_try(own, device);
        if (!why)
            matrices_choose(own, device);
        reason = why;
    }
    device->options.profile = profile;
    const char *said = reason ? arena_copy_text(arena, reason, strlen(reason)) : NULL;
    arena_free(kept);
    return said;
}
