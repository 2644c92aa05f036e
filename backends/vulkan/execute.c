/* Runs a plan on a Vulkan device.
 *
 * An instance owns one buffer, mapped into the host's memory, and one command buffer.  Steps are recorded in their order, each
 * behind a barrier; what is recorded is submitted, and waited for, where the host must know a number that the device has
 * computed (the condition of a branch or loop, a count of turns), and at the end.  A run that was one submission decided
 * nothing on the way: those that follow submit the same commands again. */
#include "backends/vulkan/vulkan_internal.h"

#include <string.h>

enum { MOST_COMMANDS = 4096 }; /* recorded before they are submitted */

struct Instance {
    Arena *arena;
    Executable *executable;
    Layout layout;
    VkBuffer buffer;
    VkDeviceMemory memory;
    unsigned char *mapped;
    VkDescriptorPool descriptors;
    VkDescriptorSet set;
    VkCommandPool pool;
    VkCommandBuffer commands;
    VkFence fence;
    int recorded; /* commands since the last submission */
    bool recording;
    int submissions; /* of the present run */
    bool is_whole;   /* the commands are those of a whole run */

    VkQueryPool clock;  /* of launches, if they are timed: a query before and one behind each */
    ProfileRow **timed; /* the rows of the launches that are recorded */
    int timed_count;
};

static Device *device_of(const Instance *instance)
{
    return instance->executable->device;
}

/* ---- instances ---- */

static VkResult make_buffer(Instance *instance)
{
    Device *device = device_of(instance);
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                               .size = (VkDeviceSize)instance->layout.bytes,
                               .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                        VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    VkResult result = vkCreateBuffer(device->logical, &info, NULL, &instance->buffer);
    if (result)
        return result;
    VkMemoryRequirements needs;
    vkGetBufferMemoryRequirements(device->logical, instance->buffer, &needs);
    VkMemoryAllocateInfo memory = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .allocationSize = needs.size, .memoryTypeIndex = device->memory_type};
    result = vkAllocateMemory(device->logical, &memory, NULL, &instance->memory);
    if (!result)
        result = vkBindBufferMemory(device->logical, instance->buffer, instance->memory, 0);
    void *mapped = NULL;
    if (!result)
        result = vkMapMemory(device->logical, instance->memory, 0, VK_WHOLE_SIZE, 0, &mapped);
    instance->mapped = mapped;
    return result;
}

static VkResult make_set(Instance *instance)
{
    Device *device = device_of(instance);
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
    VkDescriptorBufferInfo all = {instance->buffer, 0, (VkDeviceSize)instance->layout.bytes};
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
    Device *device = device_of(instance);
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
    Device *device = device_of(instance);
    if (!instance->executable->profile || !device->clock_bits)
        return VK_SUCCESS;
    VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                  .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                  .queryCount = 2 * MOST_COMMANDS};
    return vkCreateQueryPool(device->logical, &info, NULL, &instance->clock);
}

static void fill_constants(Instance *instance)
{
    const Plan *plan = instance->executable->plan;
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if (buffer->place == PLACE_CONSTANT && buffer->bytes)
            memcpy(instance->mapped + instance->layout.offset[i], buffer->data, (size_t)buffer->bytes);
    }
    if (instance->layout.table.count)
        memcpy(instance->mapped + instance->layout.table_offset, instance->layout.table.items,
               (size_t)instance->layout.table.count * sizeof(uint32_t));
}

void execute_vulkan_discard(Instance *instance)
{
    if (!instance)
        return;
    VkDevice logical = device_of(instance)->logical;
    vkDestroyQueryPool(logical, instance->clock, NULL);
    vkDestroyFence(logical, instance->fence, NULL);
    vkDestroyCommandPool(logical, instance->pool, NULL);
    vkDestroyDescriptorPool(logical, instance->descriptors, NULL);
    vkDestroyBuffer(logical, instance->buffer, NULL);
    vkFreeMemory(logical, instance->memory, NULL);
    arena_free(instance->arena);
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
    Instance *instance = arena_new_of(own, Instance);
    *instance = (Instance){.arena = own, .executable = executable, .layout = layout_plan(own, executable)};
    instance->timed = executable->profile ? arena_array(own, ProfileRow *, MOST_COMMANDS) : NULL;
    arena_set_escape(own, NULL);
    if (instance->layout.bytes > (int64_t)device->properties.limits.maxStorageBufferRange) {
        const char *reason = arena_printf(
            arena, "not enough memory: '%s' needs %lld bytes for all of its arrays, and shaders of %s see %u at once",
            executable->plan->name, (long long)instance->layout.bytes, device->properties.deviceName,
            device->properties.limits.maxStorageBufferRange);
        execute_vulkan_discard(instance);
        return reason;
    }
    VkResult result = make_buffer(instance);
    if (!result)
        result = make_set(instance);
    if (!result)
        result = make_commands(instance);
    if (!result)
        result = make_clock(instance);
    if (result) {
        execute_vulkan_discard(instance);
        return device_reason(arena, executable->plan->name, result);
    }
    fill_constants(instance);
    *out = instance;
    return NULL;
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
    vkCmdBindDescriptorSets(instance->commands, VK_PIPELINE_BIND_POINT_COMPUTE, device_of(instance)->pipeline_layout, 0, 1,
                            &instance->set, 0, NULL);
    return VK_SUCCESS;
}

/* Notes what the launches took: by the device's clock, which is laid beside the host's where they were submitted. */
static VkResult note_times(Instance *instance, int64_t submitted)
{
    Device *device = device_of(instance);
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
static VkResult submit(Instance *instance)
{
    Device *device = device_of(instance);
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
static VkResult finish(Instance *instance)
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
    return result ? result : submit(instance);
}

/* What is recorded next sees what was recorded before. */
static VkResult next_command(Instance *instance)
{
    VkResult result = VK_SUCCESS;
    if (instance->recorded >= MOST_COMMANDS)
        result = finish(instance);
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
        result = next_command(instance);
        if (result)
            break;
        uint32_t x = (uint32_t)(groups < MOST_GROUPS_A_LINE ? groups : MOST_GROUPS_A_LINE);
        uint32_t y = (uint32_t)((groups + MOST_GROUPS_A_LINE - 1) / MOST_GROUPS_A_LINE);
        vkCmdBindPipeline(instance->commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel->pipeline[i]);
        vkCmdPushConstants(instance->commands, device_of(instance)->pipeline_layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
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
    VkResult result = next_command(instance);
    if (!result)
        vkCmdCopyBuffer(instance->commands, instance->buffer, instance->buffer, 1, &region);
    return result;
}

/* Arrays begin at multiples of 64 bytes, so that a word at the end belongs to one alone. */
static VkResult record_zeros(Instance *instance, int buffer)
{
    int64_t bytes = (instance->executable->plan->buffers.items[buffer].bytes + 3) / 4 * 4;
    VkResult result = bytes ? next_command(instance) : VK_SUCCESS;
    if (!result && bytes)
        vkCmdFillBuffer(instance->commands, instance->buffer, (VkDeviceSize)instance->layout.offset[buffer],
                        (VkDeviceSize)bytes, 0);
    return result;
}

static VkResult record_number(Instance *instance, int buffer, int32_t number)
{
    VkResult result = next_command(instance);
    if (!result)
        vkCmdUpdateBuffer(instance->commands, instance->buffer, (VkDeviceSize)instance->layout.offset[buffer], sizeof number,
                          &number);
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
    VkResult result = piece.run ? next_command(instance) : VK_SUCCESS;
    bool more = piece.run != 0;
    while (more && !result) {
        VkBufferCopy regions[MOST_RUNS];
        uint32_t count = 0;
        for (; more && count < MOST_RUNS; more = ir_piece_next(&piece))
            regions[count++] =
                (VkBufferCopy){(VkDeviceSize)(layout->offset[row->value] + piece.from * size),
                               (VkDeviceSize)(layout->offset[row->whole] + piece.to * size), (VkDeviceSize)(piece.run * size)};
        vkCmdCopyBuffer(instance->commands, instance->buffer, instance->buffer, count, regions);
    }
    return result;
}

/* ---- control ---- */

static VkResult run_steps(Instance *instance, const LaidSteps *steps);

/* What lies there, known to the host; constants are without asking the device. */
static VkResult read_number(Instance *instance, int buffer, void *number, size_t size)
{
    bool constant = instance->executable->plan->buffers.items[buffer].place == PLACE_CONSTANT;
    VkResult result = constant ? VK_SUCCESS : finish(instance);
    if (!result)
        memcpy(number, instance->mapped + instance->layout.offset[buffer], size);
    return result;
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

/* ---- the host's side ---- */

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

static void upload(Instance *instance, void *const *inputs, const bool *resident)
{
    const Plan *plan = instance->executable->plan;
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if (buffer->place == PLACE_INPUT && buffer->bytes && !(resident && resident[buffer->offset]))
            memcpy(instance->mapped + instance->layout.offset[i], inputs[buffer->offset], (size_t)buffer->bytes);
    }
}

/* Inputs that were updated in place: those that are resident, or those that are not. */
static void download_inputs(const Instance *instance, void *const *inputs, const bool *resident, bool wanted)
{
    const Plan *plan = instance->executable->plan;
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if (buffer->place == PLACE_INPUT && buffer->bytes && instance->layout.written[i] &&
            (resident && resident[buffer->offset]) == wanted)
            memcpy(inputs[buffer->offset], instance->mapped + instance->layout.offset[i], (size_t)buffer->bytes);
    }
}

static void download_outputs(const Instance *instance, void *const *outputs)
{
    const Plan *plan = instance->executable->plan;
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if (buffer->place == PLACE_OUTPUT && buffer->bytes)
            memcpy(outputs[buffer->offset], instance->mapped + instance->layout.offset[i], (size_t)buffer->bytes);
    }
}

static VkResult run_plan(Instance *instance)
{
    if (instance->is_whole)
        return submit(instance);
    instance->submissions = 0;
    VkResult result = run_steps(instance, &instance->layout.steps);
    VkResult last = finish(instance);
    instance->is_whole = !result && !last && instance->submissions == 1;
    return result ? result : last;
}

const char *execute_vulkan_run(Arena *arena, Instance *instance, void *const *inputs, void *const *outputs,
                               const bool *resident)
{
    const Plan *plan = instance->executable->plan;
    Device *device = device_of(instance);
    int messages = atomic_load(&device->messages);
    const char *reason = check_memory(arena, plan, inputs, outputs);
    if (reason)
        return reason;
    upload(instance, inputs, resident);
    VkResult result = run_plan(instance);
    if (result)
        return device_reason(arena, plan->name, result);
    if (atomic_load(&device->messages) != messages)
        return arena_printf(arena, "the validation layer had something to say of '%s': the log has it", plan->name);
    download_outputs(instance, outputs);
    download_inputs(instance, inputs, resident, false);
    return NULL;
}

const char *execute_vulkan_fetch(Arena *arena, Instance *instance, void *const *inputs, const bool *resident)
{
    (void)arena; /* all memory is mapped: this cannot fail */
    download_inputs(instance, inputs, resident, true);
    return NULL;
}
