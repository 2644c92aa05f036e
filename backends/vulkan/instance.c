/* Instances: memory, commands, and what goes between the host's memory and the device's.
 *
 * An instance has one block of device memory for all arrays and one command buffer.  Where the host sees that memory, it copies
 * there itself; else there is a second block that both see, and the device copies between them, in the same submission as the
 * work. */
#include "backends/vulkan/vulkan_internal.h"

#include <string.h>

enum {
    MOST_COMMANDS = 4096, /* recorded before they are submitted */
    NUMBER_BYTES = 64,    /* at the start of the block that both see, for a number that the host asks for */
};

/* ---- blocks of memory ---- */

static VkResult block_open(const Device *device, Block *block, int64_t bytes, uint32_t memory_type, bool map)
{
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                               .size = (VkDeviceSize)bytes,
                               .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                        VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    VkResult result = vkCreateBuffer(device->logical, &info, NULL, &block->buffer);
    if (result)
        return result;
    block->bytes = bytes;
    VkMemoryRequirements needs;
    vkGetBufferMemoryRequirements(device->logical, block->buffer, &needs);
    VkMemoryAllocateInfo memory = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .allocationSize = needs.size, .memoryTypeIndex = memory_type};
    result = vkAllocateMemory(device->logical, &memory, NULL, &block->memory);
    if (!result)
        result = vkBindBufferMemory(device->logical, block->buffer, block->memory, 0);
    void *mapped = NULL;
    if (!result && map)
        result = vkMapMemory(device->logical, block->memory, 0, VK_WHOLE_SIZE, 0, &mapped);
    block->mapped = mapped;
    return result;
}

static void block_close(const Device *device, Block *block)
{
    vkDestroyBuffer(device->logical, block->buffer, NULL);
    vkFreeMemory(device->logical, block->memory, NULL);
    *block = (Block){0};
}

/* ---- commands ---- */

static VkResult begin(Instance *instance)
{
    VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    VkResult result = vkBeginCommandBuffer(instance->commands, &info);
    if (result)
        return result;
    instance->recording = true;
    instance->timed_count = 0;
    if (instance->clock)
        vkCmdResetQueryPool(instance->commands, instance->clock, 0, 2 * MOST_COMMANDS);
    vkCmdBindDescriptorSets(instance->commands, VK_PIPELINE_BIND_POINT_COMPUTE, instance->executable->device->pipeline_layout,
                            0, 1, &instance->set, 0, NULL);
    return VK_SUCCESS;
}

/* Notes what the launches took: by the device's clock, which is laid beside the host's where they were submitted. */
static VkResult note_times(Instance *instance, int64_t submitted)
{
    Device *device = instance->executable->device;
    uint64_t first = 0, mask = device->clock_bits < 64 ? ((uint64_t)1 << device->clock_bits) - 1 : UINT64_MAX;
    double period = (double)device->properties.limits.timestampPeriod;
    VkResult result = VK_SUCCESS;
    for (int i = 0; i < instance->timed_count && instance->clock && !result; i++) {
        uint64_t times[2];
        result = vkGetQueryPoolResults(device->logical, instance->clock, 2 * (uint32_t)i, 2, sizeof times, times, sizeof *times,
                                       VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
        if (i == 0)
            first = times[0];
        int64_t begin = (int64_t)(period * (double)((times[0] - first) & mask));
        int64_t end = (int64_t)(period * (double)((times[1] - first) & mask));
        if (!result)
            profile_note(device->options.profile, instance->timed[i], 0, submitted + begin, submitted + end);
    }
    return result;
}

/* Submits the commands and waits for them. */
VkResult instance_submit(Instance *instance)
{
    Device *device = instance->executable->device;
    VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &instance->commands};
    int64_t submitted = instance->clock ? profile_now() : 0;
    instance->submissions++;
    pthread_mutex_lock(&device->queue_lock);
    VkResult result = vkQueueSubmit(device->queue, 1, &info, instance->fence);
    pthread_mutex_unlock(&device->queue_lock);
    if (!result)
        result = vkWaitForFences(device->logical, 1, &instance->fence, VK_TRUE, UINT64_MAX);
    if (!result)
        result = vkResetFences(device->logical, 1, &instance->fence);
    return result ? result : note_times(instance, submitted);
}

/* Submits what is recorded. */
VkResult instance_finish(Instance *instance)
{
    if (!instance->recording)
        return VK_SUCCESS;
    VkMemoryBarrier to_host = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                               .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                               .dstAccessMask = VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT};
    vkCmdPipelineBarrier(instance->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
                         VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &to_host, 0, NULL, 0, NULL);
    instance->recording = false;
    instance->recorded = 0;
    VkResult result = vkEndCommandBuffer(instance->commands);
    return result ? result : instance_submit(instance);
}

/* What is recorded next sees what was recorded before. */
VkResult instance_next_command(Instance *instance)
{
    VkResult result = VK_SUCCESS;
    if (instance->recorded >= MOST_COMMANDS)
        result = instance_finish(instance);
    if (!result && !instance->recording)
        result = begin(instance);
    if (result || !instance->recorded++)
        return result;
    const VkAccessFlags shader = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT;
    const VkAccessFlags transfer = VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
    const VkPipelineStageFlags stages = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                               .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                               .dstAccessMask = shader | transfer};
    vkCmdPipelineBarrier(instance->commands, stages, stages, 0, 1, &barrier, 0, NULL, 0, NULL);
    return VK_SUCCESS;
}

/* ---- between host and device ---- */

/* The block that both see; what was recorded names the one before. */
static VkResult need_staging(Instance *instance, int64_t bytes)
{
    const Device *device = instance->executable->device;
    if (instance->arrays.mapped || instance->staging.bytes >= bytes)
        return VK_SUCCESS;
    block_close(device, &instance->staging);
    instance->is_whole = false;
    return block_open(device, &instance->staging, bytes, device->host_memory, true);
}

static void add_transfer(Instance *instance, int64_t offset, int64_t bytes, void *host, bool up)
{
    Transfer *transfer = &instance->transfers[instance->transfer_count++];
    *transfer = (Transfer){offset, instance->transfer_end, bytes, host, up};
    instance->transfer_end += (bytes + 63) / 64 * 64;
}

static void clear_transfers(Instance *instance)
{
    instance->transfer_count = 0;
    instance->transfer_end = NUMBER_BYTES;
}

/* Inputs that are not resident go up; outputs come down, and inputs that are not resident and that steps write to. */
static void list_transfers(Instance *instance, void *const *inputs, void *const *outputs, const bool *resident)
{
    const Plan *plan = instance->executable->plan;
    clear_transfers(instance);
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        int64_t offset = instance->layout.offset[i];
        bool input = buffer->place == PLACE_INPUT && !(resident && resident[buffer->offset]);
        if (!buffer->bytes)
            continue;
        if (input)
            add_transfer(instance, offset, buffer->bytes, inputs[buffer->offset], true);
        if (input && instance->layout.written[i])
            add_transfer(instance, offset, buffer->bytes, inputs[buffer->offset], false);
        if (buffer->place == PLACE_OUTPUT)
            add_transfer(instance, offset, buffer->bytes, outputs[buffer->offset], false);
    }
}

/* Whether the present transfers are those that are part of the recorded commands; they are from here on. */
static bool same_transfers(Instance *instance)
{
    bool same = instance->recorded_count == instance->transfer_count;
    for (int i = 0; i < instance->transfer_count; i++) {
        const Transfer *a = &instance->transfers[i], *b = &instance->recorded_transfers[i];
        same = same && a->offset == b->offset && a->bytes == b->bytes && a->up == b->up;
        instance->recorded_transfers[i] = *a;
    }
    instance->recorded_count = instance->transfer_count;
    return same;
}

/* The host's part: copies to or from what both see. */
void instance_move(const Instance *instance, bool up)
{
    for (int i = 0; i < instance->transfer_count; i++) {
        const Transfer *transfer = &instance->transfers[i];
        unsigned char *seen =
            instance->arrays.mapped ? instance->arrays.mapped + transfer->offset : instance->staging.mapped + transfer->staging;
        if (transfer->up != up)
            continue;
        if (up)
            memcpy(seen, transfer->host, (size_t)transfer->bytes);
        else
            memcpy(transfer->host, seen, (size_t)transfer->bytes);
    }
}

static VkResult record_transfer(Instance *instance, int64_t offset, int64_t staging, int64_t bytes, bool up)
{
    VkResult result = instance_next_command(instance);
    VkBufferCopy region = {(VkDeviceSize)(up ? staging : offset), (VkDeviceSize)(up ? offset : staging), (VkDeviceSize)bytes};
    VkBuffer arrays = instance->arrays.buffer, both = instance->staging.buffer;
    if (!result)
        vkCmdCopyBuffer(instance->commands, up ? both : arrays, up ? arrays : both, 1, &region);
    return result;
}

VkResult instance_record_transfers(Instance *instance, bool up)
{
    VkResult result = VK_SUCCESS;
    for (int i = 0; i < instance->transfer_count && !instance->arrays.mapped && !result; i++) {
        const Transfer *transfer = &instance->transfers[i];
        if (transfer->up == up)
            result = record_transfer(instance, transfer->offset, transfer->staging, transfer->bytes, up);
    }
    return result;
}

VkResult instance_place(Instance *instance, void *const *inputs, void *const *outputs, const bool *resident)
{
    list_transfers(instance, inputs, outputs, resident);
    VkResult result = need_staging(instance, instance->transfer_end);
    if (!instance->arrays.mapped && !same_transfers(instance))
        instance->is_whole = false;
    return result;
}

/* The commands that are recorded no longer are those of a run. */
VkResult instance_fetch(Instance *instance, void *const *inputs, const bool *resident)
{
    const Plan *plan = instance->executable->plan;
    clear_transfers(instance);
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if (buffer->place == PLACE_INPUT && buffer->bytes && instance->layout.written[i] && resident[buffer->offset])
            add_transfer(instance, instance->layout.offset[i], buffer->bytes, inputs[buffer->offset], false);
    }
    instance->is_whole &= instance->arrays.mapped != NULL;
    VkResult result = need_staging(instance, instance->transfer_end);
    if (!result)
        result = instance_record_transfers(instance, false);
    if (!result)
        result = instance_finish(instance);
    if (!result)
        instance_move(instance, false);
    return result;
}

VkResult instance_read_number(Instance *instance, int64_t offset, void *number, size_t size)
{
    VkResult result = instance->arrays.mapped ? VK_SUCCESS : record_transfer(instance, offset, 0, (int64_t)size, false);
    if (!result)
        result = instance_finish(instance);
    if (!result)
        memcpy(number, instance->arrays.mapped ? instance->arrays.mapped + offset : instance->staging.mapped, size);
    return result;
}

/* ---- life ---- */

static VkResult make_set(Instance *instance)
{
    Device *device = instance->executable->device;
    VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1};
    VkDescriptorPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, .maxSets = 1, .poolSizeCount = 1, .pPoolSizes = &size};
    VkResult result = vkCreateDescriptorPool(device->logical, &pool, NULL, &instance->descriptors);
    if (result)
        return result;
    VkDescriptorSetAllocateInfo set = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                       .descriptorPool = instance->descriptors,
                                       .descriptorSetCount = 1,
                                       .pSetLayouts = &device->set_layout};
    result = vkAllocateDescriptorSets(device->logical, &set, &instance->set);
    if (result)
        return result;
    VkDescriptorBufferInfo all = {instance->arrays.buffer, 0, (VkDeviceSize)instance->layout.bytes};
    VkWriteDescriptorSet write = {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                  .dstSet = instance->set,
                                  .descriptorCount = 1,
                                  .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                  .pBufferInfo = &all};
    vkUpdateDescriptorSets(device->logical, 1, &write, 0, NULL);
    return VK_SUCCESS;
}

static VkResult make_commands(Instance *instance)
{
    Device *device = instance->executable->device;
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                    .queueFamilyIndex = device->family};
    VkResult result = vkCreateCommandPool(device->logical, &pool, NULL, &instance->pool);
    if (result)
        return result;
    VkCommandBufferAllocateInfo commands = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                            .commandPool = instance->pool,
                                            .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                            .commandBufferCount = 1};
    result = vkAllocateCommandBuffers(device->logical, &commands, &instance->commands);
    VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    return result ? result : vkCreateFence(device->logical, &fence, NULL, &instance->fence);
}

static VkResult make_clock(Instance *instance)
{
    Device *device = instance->executable->device;
    if (!instance->executable->profile || !device->clock_bits)
        return VK_SUCCESS;
    VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                  .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                  .queryCount = 2 * MOST_COMMANDS};
    return vkCreateQueryPool(device->logical, &info, NULL, &instance->clock);
}

/* Constants, and the table of arguments: there from the beginning. */
static VkResult fill_constants(Instance *instance)
{
    const Plan *plan = instance->executable->plan;
    const Layout *layout = &instance->layout;
    clear_transfers(instance);
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if (buffer->place == PLACE_CONSTANT && buffer->bytes)
            add_transfer(instance, layout->offset[i], buffer->bytes, (void *)(uintptr_t)buffer->data, true);
    }
    if (layout->table.count)
        add_transfer(instance, layout->table_offset, layout->table.count * (int64_t)sizeof(uint32_t), layout->table.items,
                     true);
    VkResult result = need_staging(instance, instance->transfer_end);
    if (result)
        return result;
    instance_move(instance, true);
    result = instance_record_transfers(instance, true);
    return result ? result : instance_finish(instance);
}

static VkResult fill_instance(Instance *instance)
{
    const Device *device = instance->executable->device;
    VkResult result =
        block_open(device, &instance->arrays, instance->layout.bytes, device->device_memory, device->host_sees_all);
    if (!result)
        result = make_set(instance);
    if (!result)
        result = make_commands(instance);
    if (!result)
        result = make_clock(instance);
    return result ? result : fill_constants(instance);
}

void execute_vulkan_discard(Instance *instance)
{
    if (!instance)
        return;
    const Device *device = instance->executable->device;
    vkDestroyQueryPool(device->logical, instance->clock, NULL);
    vkDestroyFence(device->logical, instance->fence, NULL);
    vkDestroyCommandPool(device->logical, instance->pool, NULL);
    vkDestroyDescriptorPool(device->logical, instance->descriptors, NULL);
    block_close(device, &instance->arrays);
    block_close(device, &instance->staging);
    arena_free(instance->arena);
}

static Instance *new_instance(Arena *own, Executable *executable)
{
    Instance *instance = arena_new_of(own, Instance);
    *instance = (Instance){.arena = own, .executable = executable, .layout = layout_plan(own, executable)};
    int most_transfers = 2 * executable->plan->buffers.count + 2;
    instance->transfers = arena_array(own, Transfer, most_transfers);
    instance->recorded_transfers = arena_array(own, Transfer, most_transfers);
    instance->timed = executable->profile ? arena_array(own, ProfileRow *, MOST_COMMANDS) : NULL;
    return instance;
}

const char *execute_vulkan_instantiate(Arena *arena, Executable *executable, Instance **out)
{
    Device *device = executable->device;
    jmp_buf escape;
    Arena *volatile kept = NULL;
    if (setjmp(escape)) {
        arena_free(kept);
        return "not enough memory";
    }
    Arena *own = kept = arena_new(device->options.allocator, &escape);
    Instance *instance = new_instance(own, executable);
    arena_set_escape(own, NULL);
    const char *reason = NULL;
    if (instance->layout.bytes > device->most_bytes)
        reason = arena_printf(arena,
                              "not enough memory: '%s' needs %lld bytes for all of its arrays, and shaders of %s see %lld "
                              "at once",
                              executable->plan->name, (long long)instance->layout.bytes, device->properties.deviceName,
                              (long long)device->most_bytes);
    VkResult result = reason ? VK_SUCCESS : fill_instance(instance);
    if (result)
        reason = device_reason(arena, executable->plan->name, result);
    if (reason) {
        execute_vulkan_discard(instance);
        return reason;
    }
    *out = instance;
    return NULL;
}
