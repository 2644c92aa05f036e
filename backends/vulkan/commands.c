/* Commands: what is recorded, submitted, and submitted again. */
#include "backends/vulkan/schedule.h"

#include <stdlib.h>

enum { MOST_COMMANDS = 4096 }; /* of a command buffer */

/* ---- command buffers ---- */

static VkResult make_clock(const Instance *instance, Recording *recording)
{
    Device *device = instance->executable->device;
    if (!instance->executable->profile || !device->clock_bits)
        return VK_SUCCESS;
    VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                  .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                  .queryCount = 2 * MOST_COMMANDS};
    recording->timed = calloc(MOST_COMMANDS, sizeof *recording->timed);
    return recording->timed ? vkCreateQueryPool(device->logical, &info, NULL, &recording->clock) : VK_ERROR_OUT_OF_HOST_MEMORY;
}

static VkResult add_recording(Instance *instance)
{
    Recording *made = &instance->recordings[instance->recording_count];
    VkCommandBufferAllocateInfo commands = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                            .commandPool = instance->pool,
                                            .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                            .commandBufferCount = 1};
    VkResult result = vkAllocateCommandBuffers(instance->executable->device->logical, &commands, &made->commands);
    if (result)
        return result;
    instance->recording_count++;
    return make_clock(instance, made);
}

void instance_free_recordings(Instance *instance)
{
    for (int i = 0; i < instance->recording_count; i++) {
        vkDestroyQueryPool(instance->executable->device->logical, instance->recordings[i].clock, NULL);
        free(instance->recordings[i].timed);
    }
}

static VkResult begin(Instance *instance)
{
    VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    VkResult result = instance->used < instance->recording_count ? VK_SUCCESS : add_recording(instance);
    if (result)
        return result;
    Recording *recording = &instance->recordings[instance->used];
    result = vkBeginCommandBuffer(recording->commands, &info);
    if (result)
        return result;
    instance->used++;
    instance->is_open = true;
    recording->timed_count = recording->count = 0;
    if (recording->clock)
        vkCmdResetQueryPool(recording->commands, recording->clock, 0, 2 * MOST_COMMANDS);
    return VK_SUCCESS;
}

static Recording *present(Instance *instance)
{
    return &instance->recordings[instance->used - 1];
}

static VkResult end(Instance *instance)
{
    instance->is_open = false;
    return vkEndCommandBuffer(present(instance)->commands);
}

/* A command buffer may be full; what is submitted at once may be, too.  Each command sees what is before it, also of another
 * submission. */
VkResult instance_next_command(Instance *instance, VkCommandBuffer *commands)
{
    bool full = instance->is_open && present(instance)->count >= MOST_COMMANDS;
    VkResult result = VK_SUCCESS;
    if (full)
        result = instance->used == MOST_RECORDINGS ? instance_finish(instance) : end(instance);
    if (instance->is_submitted)
        instance->used = 0;
    instance->is_submitted = false;
    if (!result && !instance->is_open)
        result = begin(instance);
    if (result)
        return result;
    *commands = present(instance)->commands;
    present(instance)->count++;
    const VkPipelineStageFlags works = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                               .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                               .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                                                VK_ACCESS_UNIFORM_READ_BIT | VK_ACCESS_TRANSFER_READ_BIT |
                                                VK_ACCESS_TRANSFER_WRITE_BIT | VK_ACCESS_INDIRECT_COMMAND_READ_BIT};
    vkCmdPipelineBarrier(*commands, works, works | VK_PIPELINE_STAGE_DRAW_INDIRECT_BIT, 0, 1, &barrier, 0, NULL, 0, NULL);
    return VK_SUCCESS;
}

/* ---- submissions ---- */

/* Notes what the launches took: by the device's clock, which is laid beside the host's where they were submitted. */
static VkResult note_times(Instance *instance, int64_t submitted)
{
    Device *device = instance->executable->device;
    uint64_t first = 0, mask = device->clock_bits < 64 ? ((uint64_t)1 << device->clock_bits) - 1 : UINT64_MAX;
    double period = (double)device->properties.limits.timestampPeriod;
    bool any = false;
    for (int k = 0; k < instance->used; k++) {
        const Recording *recording = &instance->recordings[k];
        for (int i = 0; i < recording->timed_count; i++) {
            uint64_t times[2];
            VkResult result = vkGetQueryPoolResults(device->logical, recording->clock, 2 * (uint32_t)i, 2, sizeof times, times,
                                                    sizeof *times, VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
            if (result)
                return result;
            first = any ? first : times[0];
            any = true;
            int64_t begun = (int64_t)(period * (double)((times[0] - first) & mask));
            int64_t ended = (int64_t)(period * (double)((times[1] - first) & mask));
            const Timed *timed = &recording->timed[i];
            profile_note(device->options.profile, timed->row, 0, timed->goes_on, submitted + begun, submitted + ended);
        }
    }
    return VK_SUCCESS;
}

/* Reading the clock of launches is part of the wait. */
VkResult instance_wait(Instance *instance)
{
    Device *device = instance->executable->device;
    int64_t begun = instance->submitted ? profile_now() : 0;
    VkResult result = vkWaitForFences(device->logical, 1, &instance->fence, VK_TRUE, UINT64_MAX);
    if (!result)
        result = vkResetFences(device->logical, 1, &instance->fence);
    if (!result)
        result = note_times(instance, instance->submitted);
    instance->waited += instance->submitted ? profile_now() - begun : 0;
    return result;
}

VkResult instance_submit(Instance *instance)
{
    Device *device = instance->executable->device;
    VkCommandBuffer commands[MOST_RECORDINGS];
    for (int i = 0; i < instance->used; i++)
        commands[i] = instance->recordings[i].commands;
    VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = (uint32_t)instance->used, .pCommandBuffers = commands};
    instance->submitted = instance->executable->profile ? profile_now() : 0;
    instance->submissions++;
    lost_forget(instance);
    pthread_mutex_lock(&device->queue_lock);
    VkResult result = vkQueueSubmit(device->queue, 1, &info, instance->fence);
    pthread_mutex_unlock(&device->queue_lock);
    return result;
}

/* What is recorded next takes the place of what is submitted here. */
VkResult instance_finish(Instance *instance)
{
    VkResult result = VK_SUCCESS;
    if (!instance->used || instance->is_submitted)
        return VK_SUCCESS;
    VkMemoryBarrier to_host = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                               .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                               .dstAccessMask = VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT};
    if (instance->is_open) {
        vkCmdPipelineBarrier(present(instance)->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
                             VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &to_host, 0, NULL, 0, NULL);
        result = end(instance);
    }
    instance->is_submitted = true;
    if (!result)
        result = instance_submit(instance);
    return result ? result : instance_wait(instance);
}

/* ---- dispatches ---- */

/* The time when all that stands before is done. */
static void record_time(const Recording *recording, int behind)
{
    vkCmdWriteTimestamp(recording->commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, recording->clock,
                        2 * (uint32_t)recording->timed_count + (uint32_t)behind);
}

static VkResult dispatch_phase(Instance *instance, const Dispatch *dispatch, int phase, int turn, int launch, bool goes_on)
{
    const Executable *executable = instance->executable;
    const Shaders *shaders = &executable->layout.shaders.items[dispatch->shaders];
    Groups groups = dispatch_groups(shaders, dispatch, phase);
    VkPipelineLayout layout = executable->device->pipeline_layout;
    VkCommandBuffer commands;
    VkResult result = groups.x ? instance_next_command(instance, &commands) : VK_SUCCESS;
    if (result || !groups.x)
        return result;
    Recording *recording = present(instance);
    bool timed = recording->clock && launch >= 0;
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, shaders->pipeline[phase]);
    vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, layout, 0, 1, &instance->sets[dispatch->windows], 1,
                            &dispatch->row);
    vkCmdPushConstants(commands, layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof turn, &turn);
    if (timed)
        record_time(recording, 0);
    if (dispatch->slot < 0)
        vkCmdDispatch(commands, groups.x, groups.y, 1);
    else
        vkCmdDispatchIndirect(commands, instance->arrays.buffer,
                              (VkDeviceSize)(executable->layout.control_offset + 4 * (dispatch->slot + SLOT_WORDS * phase)));
    if (timed) {
        record_time(recording, 1);
        recording->timed[recording->timed_count++] = (Timed){executable->profile->launches[launch], goes_on};
    }
    return VK_SUCCESS;
}

/* A kernel's phases follow each other once more for each of its turns. */
VkResult instance_dispatch(Instance *instance, const Dispatch *dispatch, int turn, int launch)
{
    const Shaders *shaders = &instance->executable->layout.shaders.items[dispatch->shaders];
    const Schedule *schedule = shaders->schedule;
    VkResult result = VK_SUCCESS;
    bool goes_on = false;
    for (int64_t own = 0; own < schedule->turns && !result; own++)
        for (int i = 0; i < schedule->phases.count && !result; i++) {
            result = dispatch_phase(instance, dispatch, i, shaders->kernel ? (int)own : turn, launch, goes_on);
            goes_on |= dispatch_groups(shaders, dispatch, i).x > 0;
        }
    return result;
}
