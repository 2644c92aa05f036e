/* Runs a plan on a Vulkan device: its steps are recorded in their order, each behind a barrier.
 *
 * What is recorded is submitted, and waited for, where the host must know a number that the device has computed (the condition
 * of a branch or loop, a count of turns), and at the end.  A run that was one submission decided nothing on the way: those that
 * follow submit the same commands again. */
#include "backends/vulkan/vulkan_internal.h"

#include <string.h>

/* ---- steps ---- */

/* The time when all that stands before is done. */
static void record_time(Instance *instance, int behind)
{
    if (instance->clock)
        vkCmdWriteTimestamp(instance->commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, instance->clock,
                            2 * (uint32_t)instance->timed_count + (uint32_t)behind);
}

static VkResult record_launch(Instance *instance, const LaidStep *laid)
{
    const VulkanKernel *kernel = &instance->executable->kernels[laid->step->kernel];
    VkResult result = VK_SUCCESS;
    for (int i = 0; i < kernel->phases.count && !result; i++) {
        int64_t groups = kernel->phases.items[i].groups;
        if (!kernel->phases.items[i].points)
            continue;
        result = instance_next_command(instance);
        if (result)
            break;
        uint32_t x = (uint32_t)(groups < MOST_GROUPS_A_LINE ? groups : MOST_GROUPS_A_LINE);
        uint32_t y = (uint32_t)((groups + MOST_GROUPS_A_LINE - 1) / MOST_GROUPS_A_LINE);
        vkCmdBindPipeline(instance->commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel->pipeline[i]);
        vkCmdPushConstants(instance->commands, instance->executable->device->pipeline_layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                           sizeof laid->row, &laid->row);
        record_time(instance, 0);
        vkCmdDispatch(instance->commands, x, y, 1);
        record_time(instance, 1);
        if (instance->clock)
            instance->timed[instance->timed_count++] = instance->executable->profile->launches[laid->step->launch];
    }
    return result;
}

static VkResult record_copy(Instance *instance, int to, int from)
{
    const Layout *layout = &instance->layout;
    VkBufferCopy region = {(VkDeviceSize)layout->offset[from], (VkDeviceSize)layout->offset[to],
                           (VkDeviceSize)instance->executable->plan->buffers.items[from].bytes};
    if (!region.size || region.srcOffset == region.dstOffset)
        return VK_SUCCESS;
    VkResult result = instance_next_command(instance);
    if (!result)
        vkCmdCopyBuffer(instance->commands, instance->arrays.buffer, instance->arrays.buffer, 1, &region);
    return result;
}

/* Arrays begin at multiples of 64 bytes, so that a word at the end belongs to one alone. */
static VkResult record_zeros(Instance *instance, int buffer)
{
    int64_t bytes = (instance->executable->plan->buffers.items[buffer].bytes + 3) / 4 * 4;
    VkResult result = bytes ? instance_next_command(instance) : VK_SUCCESS;
    if (!result && bytes)
        vkCmdFillBuffer(instance->commands, instance->arrays.buffer, (VkDeviceSize)instance->layout.offset[buffer],
                        (VkDeviceSize)bytes, 0);
    return result;
}

static VkResult record_number(Instance *instance, int buffer, int32_t number)
{
    VkResult result = instance_next_command(instance);
    if (!result)
        vkCmdUpdateBuffer(instance->commands, instance->arrays.buffer, (VkDeviceSize)instance->layout.offset[buffer],
                          sizeof number, &number);
    return result;
}

/* Runs of a piece, as many as a command takes. */
static VkResult record_row(Instance *instance, const PlanRow *row, int64_t turn)
{
    enum { MOST_RUNS = 256 };
    const PlanBuffer *buffers = instance->executable->plan->buffers.items;
    const Layout *layout = &instance->layout;
    int64_t size = dtype_size(buffers[row->whole].type.dtype);
    IrPiece piece = ir_piece(&buffers[row->whole].type, &buffers[row->value].type, turn);
    VkResult result = piece.run ? instance_next_command(instance) : VK_SUCCESS;
    bool more = piece.run != 0;
    while (more && !result) {
        VkBufferCopy regions[MOST_RUNS];
        uint32_t count = 0;
        for (; more && count < MOST_RUNS; more = ir_piece_next(&piece))
            regions[count++] =
                (VkBufferCopy){(VkDeviceSize)(layout->offset[row->value] + piece.from * size),
                               (VkDeviceSize)(layout->offset[row->whole] + piece.to * size), (VkDeviceSize)(piece.run * size)};
        vkCmdCopyBuffer(instance->commands, instance->arrays.buffer, instance->arrays.buffer, count, regions);
    }
    return result;
}

/* ---- control ---- */

static VkResult run_steps(Instance *instance, const LaidSteps *steps);

/* What lies there, known to the host; constants are without asking the device. */
static VkResult read_number(Instance *instance, int buffer, void *number, size_t size)
{
    const PlanBuffer *from = &instance->executable->plan->buffers.items[buffer];
    if (from->place != PLACE_CONSTANT)
        return instance_read_number(instance, instance->layout.offset[buffer], number, size);
    memcpy(number, from->data, size);
    return VK_SUCCESS;
}

static VkResult enter_loop(Instance *instance, const PlanStep *step)
{
    VkResult result = VK_SUCCESS;
    for (int i = 0; i < step->carries.count && !result; i++)
        result = record_copy(instance, step->carries.items[i].slot, step->carries.items[i].init);
    return result;
}

static VkResult run_turn(Instance *instance, const LaidStep *laid, int64_t turn)
{
    const PlanStep *step = laid->step;
    VkResult result = run_steps(instance, laid->body);
    for (int i = 0; i < step->rows.count && !result; i++)
        result = record_row(instance, &step->rows.items[i], turn);
    for (int i = 0; i < step->carries.count && !result; i++)
        result = record_copy(instance, step->carries.items[i].slot, step->carries.items[i].next);
    return result;
}

static VkResult run_for(Instance *instance, const LaidStep *laid)
{
    const PlanStep *step = laid->step;
    int32_t trip = 0;
    VkResult result = read_number(instance, step->trip, &trip, sizeof trip);
    if (!result)
        result = enter_loop(instance, step);
    for (int64_t turn = 0; turn < trip && turn < step->bound && !result; turn++) {
        result = record_number(instance, step->counter, (int32_t)turn);
        if (!result)
            result = run_turn(instance, laid, turn);
    }
    return result;
}

static VkResult run_while(Instance *instance, const LaidStep *laid)
{
    const PlanStep *step = laid->step;
    VkResult result = enter_loop(instance, step);
    for (int64_t turn = 0; !result && (step->bound == 0 || turn < step->bound); turn++) {
        unsigned char more = 0;
        result = run_steps(instance, laid->test);
        if (!result)
            result = read_number(instance, step->condition, &more, sizeof more);
        if (result || !more)
            break;
        result = run_turn(instance, laid, turn);
    }
    return result;
}

static VkResult run_if(Instance *instance, const LaidStep *laid)
{
    unsigned char condition = 0;
    VkResult result = read_number(instance, laid->step->condition, &condition, sizeof condition);
    return result ? result : run_steps(instance, condition ? laid->body : laid->otherwise);
}

static VkResult run_step(Instance *instance, const LaidStep *laid)
{
    switch (laid->step->kind) {
    case STEP_LAUNCH:
        return record_launch(instance, laid);
    case STEP_COPY:
        return record_copy(instance, laid->step->args.items[0], laid->step->args.items[1]);
    case STEP_FILL_ZERO:
        return record_zeros(instance, laid->step->args.items[0]);
    case STEP_FOR:
        return run_for(instance, laid);
    case STEP_WHILE:
        return run_while(instance, laid);
    default:
        return run_if(instance, laid);
    }
}

static VkResult run_steps(Instance *instance, const LaidSteps *steps)
{
    VkResult result = VK_SUCCESS;
    for (int i = 0; i < steps->list.count && !result; i++)
        result = run_step(instance, &steps->list.items[i]);
    return result;
}

/* ---- runs ---- */

static const char *check_memory(Arena *arena, const Plan *plan, void *const *inputs, void *const *outputs)
{
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        bool input = buffer->place == PLACE_INPUT;
        if ((!input && buffer->place != PLACE_OUTPUT) || !buffer->bytes || (input ? inputs : outputs)[buffer->offset])
            continue;
        return arena_printf(arena, "%s %lld of '%s' has no memory", input ? "input" : "output", (long long)buffer->offset,
                            plan->name);
    }
    return NULL;
}

static VkResult run_plan(Instance *instance)
{
    instance_move(instance, true);
    if (instance->is_whole)
        return instance_submit(instance);
    instance->submissions = 0;
    VkResult result = instance_record_transfers(instance, true);
    if (!result)
        result = run_steps(instance, &instance->layout.steps);
    if (!result)
        result = instance_record_transfers(instance, false);
    VkResult last = instance_finish(instance);
    instance->is_whole = !result && !last && instance->submissions == 1;
    return result ? result : last;
}

const char *execute_vulkan_run(Arena *arena, Instance *instance, void *const *inputs, void *const *outputs,
                               const bool *resident)
{
    const Plan *plan = instance->executable->plan;
    Device *device = instance->executable->device;
    int messages = atomic_load(&device->messages);
    const char *reason = check_memory(arena, plan, inputs, outputs);
    if (reason)
        return reason;
    VkResult result = instance_place(instance, inputs, outputs, resident);
    if (!result)
        result = run_plan(instance);
    if (result)
        return device_reason(arena, plan->name, result);
    if (atomic_load(&device->messages) != messages)
        return arena_printf(arena, "the validation layer had something to say of '%s': the log has it", plan->name);
    instance_move(instance, false);
    return NULL;
}

const char *execute_vulkan_fetch(Arena *arena, Instance *instance, void *const *inputs, const bool *resident)
{
    VkResult result = instance_fetch(instance, inputs, resident);
    return result ? device_reason(arena, instance->executable->plan->name, result) : NULL;
}
