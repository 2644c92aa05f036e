/* Which kernel a device had begun last, when it is lost.
 *
 * Each shader of a launch writes the launch's number, as it begins, to a word that the host sees; what a device leaves there is
 * all that it can still tell once it is lost.  The word is a texel buffer of its own, since shaders have no storage buffer to
 * spare, and writing it needs no command. */
#include "backends/vulkan/vulkan_internal.h"

VkResult lost_open(Instance *instance)
{
    const Device *device = instance->executable->device;
    VkResult result = block_open(device, &instance->begun, BEGUN_BYTES, device->host_memory, true);
    VkBufferViewCreateInfo view = {.sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO,
                                   .buffer = instance->begun.buffer,
                                   .format = VK_FORMAT_R32_UINT,
                                   .range = BEGUN_BYTES};
    return result ? result : vkCreateBufferView(device->logical, &view, NULL, &instance->begun_view);
}

void lost_close(Instance *instance)
{
    const Device *device = instance->executable->device;
    vkDestroyBufferView(device->logical, instance->begun_view, NULL);
    block_close(device, &instance->begun);
}

void lost_forget(Instance *instance)
{
    *(volatile uint32_t *)instance->begun.mapped = 0;
}

static const PlanStep *launch_numbered(const PlanSteps *steps, uint32_t number)
{
    const PlanStep *found = NULL;
    for (int i = 0; steps && i < steps->list.count && !found; i++) {
        const PlanStep *step = &steps->list.items[i];
        if (step->kind == STEP_LAUNCH && BEGUN_LAUNCH(step) == number)
            return step;
        const PlanSteps *const inside[] = {step->test, step->body, step->otherwise};
        for (int k = 0; k < 3 && !found; k++)
            found = launch_numbered(inside[k], number);
    }
    return found;
}

const char *lost_reason(Arena *arena, const Instance *instance, VkResult result)
{
    const Plan *plan = instance->executable->plan;
    const char *reason = device_reason(arena, plan->name, result);
    const PlanStep *step = NULL;
    if (result == VK_ERROR_DEVICE_LOST && instance->begun.mapped)
        step = launch_numbered(&plan->steps, *(volatile uint32_t *)instance->begun.mapped);
    if (!step)
        return reason;
    const char *kernel = plan->kernels.items[step->kernel]->name;
    if (!step->span.source)
        return arena_printf(arena, "%s; kernel %s was the last to begin", reason, kernel);
    return arena_printf(arena, "%s:%d: %s; kernel %s, of this line, was the last to begin", step->span.source->name,
                        span_position(step->span).line, reason, kernel);
}
