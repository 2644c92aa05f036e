/* Instances: memory, and what goes between the host's memory and the device's.
 *
 * An instance has one block of device memory for everything.  Where the host sees that memory, it copies there itself; else
 * there is a second block that both see, and the device copies between them, in the same submission as the work. */
#include "backends/vulkan/vulkan_internal.h"

#include <sched.h>
#include <string.h>

enum { NUMBER_BYTES = 64 }; /* at the start of the block that both see, for a number that the host asks for */

/* ---- blocks of memory ---- */

VkResult block_open(const Device *device, Block *block, int64_t bytes, uint32_t memory_type, bool map)
{
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                               .size = (VkDeviceSize)bytes,
                               .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT |
                                        VK_BUFFER_USAGE_STORAGE_TEXEL_BUFFER_BIT | VK_BUFFER_USAGE_INDIRECT_BUFFER_BIT |
                                        VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT};
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

void block_close(const Device *device, Block *block)
{
    vkDestroyBuffer(device->logical, block->buffer, NULL);
    vkFreeMemory(device->logical, block->memory, NULL);
    *block = (Block){0};
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

static void add_transfer(Instance *instance, int64_t offset, int64_t bytes, void *host, bool up, int input)
{
    Transfer *transfer = &instance->transfers[instance->transfer_count++];
    *transfer = (Transfer){offset, instance->transfer_end, bytes, host, up, input};
    instance->transfer_end += rounded_up(bytes, 64);
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
        int64_t offset = instance->executable->layout.offset[i];
        bool input = buffer->place == PLACE_INPUT && !(resident && resident[buffer->offset]);
        if (!buffer->bytes)
            continue;
        if (input)
            add_transfer(instance, offset, buffer->bytes, inputs[buffer->offset], true, (int)buffer->offset);
        if (input && instance->executable->layout.written[i])
            add_transfer(instance, offset, buffer->bytes, inputs[buffer->offset], false, -1);
        if (buffer->place == PLACE_OUTPUT)
            add_transfer(instance, offset, buffer->bytes, outputs[buffer->offset], false, -1);
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

/* It was taken there while the run before was under way. */
static bool is_there(const Instance *instance, const Transfer *transfer)
{
    return transfer->input >= 0 && instance->staged_number >= 0 && instance->staged[transfer->input] &&
           instance->staged_number == instance->ahead.number(instance->ahead.state);
}

/* The host's part: copies to or from what both see. */
void instance_move(const Instance *instance, bool up)
{
    for (int i = 0; i < instance->transfer_count; i++) {
        const Transfer *transfer = &instance->transfers[i];
        unsigned char *seen =
            instance->arrays.mapped ? instance->arrays.mapped + transfer->offset : instance->staging.mapped + transfer->staging;
        if (transfer->up != up || (up && is_there(instance, transfer)))
            continue;
        if (up)
            memcpy(seen, transfer->host, (size_t)transfer->bytes);
        else
            memcpy(transfer->host, seen, (size_t)transfer->bytes);
    }
}

static VkResult record_transfer(Instance *instance, int64_t offset, int64_t staging, int64_t bytes, bool up)
{
    VkCommandBuffer commands;
    VkResult result = instance_next_command(instance, &commands);
    VkBufferCopy region = {(VkDeviceSize)(up ? staging : offset), (VkDeviceSize)(up ? offset : staging), (VkDeviceSize)bytes};
    VkBuffer arrays = instance->arrays.buffer, both = instance->staging.buffer;
    if (!result)
        vkCmdCopyBuffer(commands, up ? both : arrays, up ? arrays : both, 1, &region);
    return result;
}

static VkResult record_uploaded(Instance *instance)
{
    VkCommandBuffer commands;
    VkResult result = instance_next_command(instance, &commands);
    if (!result)
        vkCmdSetEvent(commands, instance->uploaded, VK_PIPELINE_STAGE_TRANSFER_BIT);
    return result;
}

VkResult instance_record_transfers(Instance *instance, bool up)
{
    VkResult result = VK_SUCCESS;
    bool any = false;
    for (int i = 0; i < instance->transfer_count && !instance->arrays.mapped && !result; i++) {
        const Transfer *transfer = &instance->transfers[i];
        if (transfer->up != up)
            continue;
        result = record_transfer(instance, transfer->offset, transfer->staging, transfer->bytes, up);
        any = true;
    }
    return up && any && !result && instance->uploaded ? record_uploaded(instance) : result;
}

VkResult instance_place(Instance *instance, void *const *inputs, void *const *outputs, const bool *resident)
{
    list_transfers(instance, inputs, outputs, resident);
    VkResult result = need_staging(instance, instance->transfer_end);
    if (!instance->arrays.mapped && !same_transfers(instance))
        instance->is_whole = false;
    if (!instance->is_whole)
        instance->staged_number = -1;
    return result;
}

/* The commands that are recorded no longer are those of a run. */
VkResult instance_fetch(Instance *instance, void *const *inputs, const bool *resident)
{
    const Plan *plan = instance->executable->plan;
    clear_transfers(instance);
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if (buffer->place == PLACE_INPUT && buffer->bytes && instance->executable->layout.written[i] &&
            resident[buffer->offset])
            add_transfer(instance, instance->executable->layout.offset[i], buffer->bytes, inputs[buffer->offset], false, -1);
    }
    instance->staged_number = -1;
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

/* ---- the next run's inputs ---- */

VkResult instance_rewind_ahead(Instance *instance)
{
    instance->staged_number = -1;
    return instance->uploaded ? vkResetEvent(instance->executable->device->logical, instance->uploaded) : VK_SUCCESS;
}

/* False: the device does not get there. */
static bool wait_until_uploaded(const Instance *instance)
{
    VkDevice device = instance->executable->device->logical;
    VkResult result = VK_EVENT_RESET;
    while (result == VK_EVENT_RESET && vkGetFenceStatus(device, instance->fence) == VK_NOT_READY) {
        result = vkGetEventStatus(device, instance->uploaded);
        if (result == VK_EVENT_RESET)
            sched_yield();
    }
    return result == VK_EVENT_SET || vkGetEventStatus(device, instance->uploaded) == VK_EVENT_SET;
}

/* What goes wrong here is left to the run itself, which copies what is not there. */
void instance_read_ahead(Instance *instance)
{
    void *const *inputs = instance->uploaded ? instance->ahead.next(instance->ahead.state) : NULL;
    if (!inputs || !wait_until_uploaded(instance))
        return;
    for (int i = 0; i < instance->transfer_count; i++) {
        const Transfer *transfer = &instance->transfers[i];
        if (!transfer->up || transfer->input < 0)
            continue;
        instance->staged[transfer->input] = inputs[transfer->input] != NULL;
        if (inputs[transfer->input])
            memcpy(instance->staging.mapped + transfer->staging, inputs[transfer->input], (size_t)transfer->bytes);
    }
    instance->staged_number = instance->ahead.number(instance->ahead.state) + 1;
}

/* Where the host sees arrays, the device reads them to the end of a run: nothing can be written there before.  Without the
 * event nothing is read ahead. */
void execute_vulkan_read_ahead(Instance *instance, const ReadAhead *ahead)
{
    VkEventCreateInfo info = {.sType = VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
    instance->ahead = *ahead;
    if (!instance->arrays.mapped && !instance->uploaded &&
        vkCreateEvent(instance->executable->device->logical, &info, NULL, &instance->uploaded))
        instance->uploaded = VK_NULL_HANDLE;
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

/* What the windows show, the table's rows, and where launches say that they begin. */
static void write_set(const Instance *instance, const Windows *windows, VkDescriptorSet set)
{
    const Layout *layout = &instance->executable->layout;
    VkDescriptorBufferInfo shown[MOST_WINDOWS + 1];
    VkWriteDescriptorSet writes[BINDINGS];
    for (int i = 0; i <= MOST_WINDOWS; i++) {
        bool row = i == MOST_WINDOWS;
        int64_t start = row ? layout->table_offset : windows->start[i], most = instance->executable->device->window_bytes;
        int64_t left = layout->bytes - start;
        shown[i] = (VkDescriptorBufferInfo){instance->arrays.buffer, (VkDeviceSize)start,
                                            (VkDeviceSize)(row           ? layout->row_bytes
                                                           : left < most ? left
                                                                         : most)};
        writes[i] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                           .dstSet = set,
                                           .dstBinding = (uint32_t)i,
                                           .descriptorCount = 1,
                                           .descriptorType = row ? VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC
                                                                 : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                           .pBufferInfo = &shown[i]};
    }
    writes[BINDING_BEGUN] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                                   .dstSet = set,
                                                   .dstBinding = BINDING_BEGUN,
                                                   .descriptorCount = 1,
                                                   .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER,
                                                   .pTexelBufferView = &instance->begun_view};
    vkUpdateDescriptorSets(instance->executable->device->logical, BINDINGS, writes, 0, NULL);
}

static VkResult make_sets(Instance *instance)
{
    Device *device = instance->executable->device;
    const Layout *layout = &instance->executable->layout;
    uint32_t count = (uint32_t)layout->windows.count;
    VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, MOST_WINDOWS * count},
                                    {VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC, count},
                                    {VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER, count}};
    VkDescriptorPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, .maxSets = count, .poolSizeCount = 3, .pPoolSizes = sizes};
    VkResult result = vkCreateDescriptorPool(device->logical, &pool, NULL, &instance->descriptors);
    for (uint32_t i = 0; i < count && !result; i++) {
        VkDescriptorSetAllocateInfo set = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                           .descriptorPool = instance->descriptors,
                                           .descriptorSetCount = 1,
                                           .pSetLayouts = &device->set_layout};
        result = vkAllocateDescriptorSets(device->logical, &set, &instance->sets[i]);
        if (!result)
            write_set(instance, &layout->windows.items[i], instance->sets[i]);
    }
    return result;
}

static VkResult make_pool(Instance *instance)
{
    Device *device = instance->executable->device;
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                    .queueFamilyIndex = device->family};
    VkResult result = vkCreateCommandPool(device->logical, &pool, NULL, &instance->pool);
    VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    return result ? result : vkCreateFence(device->logical, &fence, NULL, &instance->fence);
}

static void add_words(Instance *instance, int64_t offset, int count, uint32_t *words)
{
    if (count)
        add_transfer(instance, offset, count * (int64_t)sizeof *words, words, true, -1);
}

/* Constants, the table and the state of control: there from the beginning. */
static VkResult fill_constants(Instance *instance)
{
    const Plan *plan = instance->executable->plan;
    const Layout *layout = &instance->executable->layout;
    clear_transfers(instance);
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if (buffer->place == PLACE_CONSTANT && buffer->bytes)
            add_transfer(instance, layout->offset[i], buffer->bytes, (void *)(uintptr_t)buffer->data, true, -1);
    }
    add_words(instance, layout->control_offset, layout->control.count, layout->control.items);
    add_words(instance, layout->table_offset, layout->table.count, layout->table.items);
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
        block_open(device, &instance->arrays, instance->executable->layout.bytes, device->device_memory, device->host_sees_all);
    if (!result)
        result = lost_open(instance);
    if (!result)
        result = make_sets(instance);
    if (!result)
        result = make_pool(instance);
    return result ? result : fill_constants(instance);
}

void execute_vulkan_discard(Instance *instance)
{
    if (!instance)
        return;
    const Device *device = instance->executable->device;
    instance_free_recordings(instance);
    vkDestroyFence(device->logical, instance->fence, NULL);
    vkDestroyEvent(device->logical, instance->uploaded, NULL);
    vkDestroyCommandPool(device->logical, instance->pool, NULL);
    vkDestroyDescriptorPool(device->logical, instance->descriptors, NULL);
    lost_close(instance);
    block_close(device, &instance->arrays);
    block_close(device, &instance->staging);
    arena_free(instance->arena);
}

static Instance *new_instance(Arena *own, Executable *executable)
{
    Instance *instance = arena_new_of(own, Instance);
    *instance = (Instance){.arena = own, .executable = executable, .staged_number = -1};
    instance->staged = arena_array(own, bool, executable->plan->input_count + 1);
    int most_transfers = 2 * executable->plan->buffers.count + 2;
    instance->transfers = arena_array(own, Transfer, most_transfers);
    instance->recorded_transfers = arena_array(own, Transfer, most_transfers);
    instance->sets = arena_array(own, VkDescriptorSet, executable->layout.windows.count);
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
    VkResult result = fill_instance(instance);
    if (result)
        reason = lost_reason(arena, instance, result);
    if (reason) {
        execute_vulkan_discard(instance);
        return reason;
    }
    *out = instance;
    return NULL;
}
