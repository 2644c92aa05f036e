/* What a Vulkan device can do: fused multiply-adds from registers, and copies through its memory.  Spoken to directly, so that
 * nothing of cm stands between. */
#include "bench/device_probe.h"
#include "bench/device_probe_spirv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_DEVICES = 16,
    THREADS = 128, /* of a workgroup, as in device_probe.comp */
    SUMS = 32,     /* of a thread */
    MOST_GROUPS = 65535,
    MOST_COPIES = 4096,
};
static const VkDeviceSize COPIED = 128 << 20;
static const double LONG_ENOUGH = 0.02; /* seconds of a measurement */

static void must(VkResult result, const char *what)
{
    if (result) {
        fprintf(stderr, "cm_bench: %s: VkResult %d\n", what, (int)result);
        exit(1);
    }
}

/* ---- opening ---- */

static void choose_device(DeviceProbe *probe, const char *description)
{
    VkPhysicalDevice list[MOST_DEVICES];
    uint32_t count = MOST_DEVICES;
    must(vkEnumeratePhysicalDevices(probe->instance, &count, list) < 0, "no devices");
    for (uint32_t i = 0; i < count && !probe->physical; i++) {
        char said[VK_MAX_PHYSICAL_DEVICE_NAME_SIZE + 32]; /* others have their names behind it */
        vkGetPhysicalDeviceProperties(list[i], &probe->properties);
        snprintf(said, sizeof said, "vulkan: %s, Vulkan ", probe->properties.deviceName);
        if (strncmp(description, said, strlen(said)) == 0)
            probe->physical = list[i];
    }
    if (!probe->physical)
        fail("the device that cm uses is not listed");
}

static void open_queue(DeviceProbe *probe, const char *description)
{
    VkQueueFamilyProperties families[MOST_DEVICES];
    uint32_t count = MOST_DEVICES;
    vkGetPhysicalDeviceQueueFamilyProperties(probe->physical, &count, families);
    while (probe->family < count && !(families[probe->family].queueFlags & VK_QUEUE_COMPUTE_BIT))
        probe->family++;
    float priority = 1;
    VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                     .queueFamilyIndex = probe->family,
                                     .queueCount = 1,
                                     .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, .queueCreateInfoCount = 1, .pQueueCreateInfos = &queue};
    matrix_probe_ask(probe, description, &info);
    must(vkCreateDevice(probe->physical, &info, NULL, &probe->device), "the device does not open");
    vkGetDeviceQueue(probe->device, probe->family, 0, &probe->queue);
}

static void open_buffer(DeviceProbe *probe, int number)
{
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                               .size = COPIED,
                               .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                        VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    must(vkCreateBuffer(probe->device, &info, NULL, &probe->buffer[number]), "a buffer");
    VkMemoryRequirements needs;
    VkPhysicalDeviceMemoryProperties memory;
    vkGetBufferMemoryRequirements(probe->device, probe->buffer[number], &needs);
    vkGetPhysicalDeviceMemoryProperties(probe->physical, &memory);
    uint32_t type = 0;
    while (type < memory.memoryTypeCount &&
           !(needs.memoryTypeBits >> type & 1 && memory.memoryTypes[type].propertyFlags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT))
        type++;
    VkMemoryAllocateInfo allocation = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .allocationSize = needs.size, .memoryTypeIndex = type};
    must(vkAllocateMemory(probe->device, &allocation, NULL, &probe->memory[number]), "memory");
    must(vkBindBufferMemory(probe->device, probe->buffer[number], probe->memory[number], 0), "memory");
}

static void open_set(DeviceProbe *probe)
{
    VkDescriptorSetLayoutBinding binding = {0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, NULL};
    VkDescriptorSetLayoutCreateInfo layout = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = 1, .pBindings = &binding};
    must(vkCreateDescriptorSetLayout(probe->device, &layout, NULL, &probe->set_layout), "a set");
    VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1};
    VkDescriptorPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, .maxSets = 1, .poolSizeCount = 1, .pPoolSizes = &size};
    must(vkCreateDescriptorPool(probe->device, &pool, NULL, &probe->descriptors), "a set");
    VkDescriptorSetAllocateInfo set = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                       .descriptorPool = probe->descriptors,
                                       .descriptorSetCount = 1,
                                       .pSetLayouts = &probe->set_layout};
    must(vkAllocateDescriptorSets(probe->device, &set, &probe->set), "a set");
    VkDescriptorBufferInfo shown = {probe->buffer[0], 0, COPIED};
    VkWriteDescriptorSet write = {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                  .dstSet = probe->set,
                                  .descriptorCount = 1,
                                  .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                  .pBufferInfo = &shown};
    vkUpdateDescriptorSets(probe->device, 1, &write, 0, NULL);
}

VkPipeline probe_pipeline(const DeviceProbe *probe, const uint32_t *code, size_t bytes, VkPipelineShaderStageCreateInfo stage)
{
    VkPipeline pipeline;
    VkShaderModuleCreateInfo module = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = bytes, .pCode = code};
    stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    stage.pName = "main";
    must(vkCreateShaderModule(probe->device, &module, NULL, &stage.module), "a shader");
    VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO, .stage = stage, .layout = probe->layout};
    must(vkCreateComputePipelines(probe->device, VK_NULL_HANDLE, 1, &info, NULL, &pipeline), "a pipeline");
    vkDestroyShaderModule(probe->device, stage.module, NULL);
    return pipeline;
}

static void open_pipelines(DeviceProbe *probe)
{
    VkPushConstantRange rounds = {VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(uint32_t)};
    VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                         .setLayoutCount = 1,
                                         .pSetLayouts = &probe->set_layout,
                                         .pushConstantRangeCount = 1,
                                         .pPushConstantRanges = &rounds};
    must(vkCreatePipelineLayout(probe->device, &layout, NULL, &probe->layout), "a pipeline");
    probe->pipeline =
        probe_pipeline(probe, device_probe_spirv, sizeof device_probe_spirv, (VkPipelineShaderStageCreateInfo){0});
    matrix_probe_open(probe);
}

static void open_commands(DeviceProbe *probe)
{
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                    .queueFamilyIndex = probe->family};
    must(vkCreateCommandPool(probe->device, &pool, NULL, &probe->pool), "commands");
    VkCommandBufferAllocateInfo commands = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                            .commandPool = probe->pool,
                                            .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                            .commandBufferCount = 1};
    must(vkAllocateCommandBuffers(probe->device, &commands, &probe->commands), "commands");
    VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    must(vkCreateFence(probe->device, &fence, NULL, &probe->fence), "a fence");
}

DeviceProbe *device_probe_open(const char *description)
{
    DeviceProbe *probe = calloc(1, sizeof *probe);
    if (!probe)
        fail("not enough memory");
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_1};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &application};
    must(vkCreateInstance(&info, NULL, &probe->instance), "Vulkan does not start");
    choose_device(probe, description);
    open_queue(probe, description);
    open_buffer(probe, 0);
    open_buffer(probe, 1);
    open_set(probe);
    open_pipelines(probe);
    open_commands(probe);
    probe->groups = PROBE_FIRST_GROUPS;
    probe->copies = 1;
    return probe;
}

void device_probe_close(DeviceProbe *probe)
{
    vkDestroyFence(probe->device, probe->fence, NULL);
    vkDestroyCommandPool(probe->device, probe->pool, NULL);
    vkDestroyPipeline(probe->device, probe->pipeline, NULL);
    vkDestroyPipeline(probe->device, probe->matrices.pipeline, NULL);
    vkDestroyPipelineLayout(probe->device, probe->layout, NULL);
    vkDestroyDescriptorPool(probe->device, probe->descriptors, NULL);
    vkDestroyDescriptorSetLayout(probe->device, probe->set_layout, NULL);
    for (int i = 0; i < 2; i++) {
        vkDestroyBuffer(probe->device, probe->buffer[i], NULL);
        vkFreeMemory(probe->device, probe->memory[i], NULL);
    }
    vkDestroyDevice(probe->device, NULL);
    vkDestroyInstance(probe->instance, NULL);
    free(probe);
}

bool device_probe_is_processor(const DeviceProbe *probe)
{
    return probe->properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
}

/* ---- measuring ---- */

static void begin(DeviceProbe *probe)
{
    VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    must(vkBeginCommandBuffer(probe->commands, &info), "commands");
}

/* Of what is recorded, from handing it over to its end. */
static double seconds_of_commands(DeviceProbe *probe)
{
    must(vkEndCommandBuffer(probe->commands), "commands");
    VkSubmitInfo info = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &probe->commands};
    double start = clock_seconds();
    must(vkQueueSubmit(probe->queue, 1, &info, probe->fence), "the device");
    must(vkWaitForFences(probe->device, 1, &probe->fence, VK_TRUE, UINT64_MAX), "the device");
    double taken = clock_seconds() - start;
    must(vkResetFences(probe->device, 1, &probe->fence), "the device");
    return taken;
}

double probe_dispatch_seconds(DeviceProbe *probe, VkPipeline pipeline, uint32_t groups)
{
    const uint32_t rounds = PROBE_ROUNDS;
    begin(probe);
    vkCmdFillBuffer(probe->commands, probe->buffer[0], 0, 64, 0);
    VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                               .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
                               .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT};
    vkCmdPipelineBarrier(probe->commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1, &barrier,
                         0, NULL, 0, NULL);
    vkCmdBindPipeline(probe->commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vkCmdBindDescriptorSets(probe->commands, VK_PIPELINE_BIND_POINT_COMPUTE, probe->layout, 0, 1, &probe->set, 0, NULL);
    vkCmdPushConstants(probe->commands, probe->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof rounds, &rounds);
    vkCmdDispatch(probe->commands, groups, 1, 1);
    return seconds_of_commands(probe);
}

static double seconds_of_multiply_adds(DeviceProbe *probe)
{
    return probe_dispatch_seconds(probe, probe->pipeline, probe->groups);
}

double probe_seconds(DeviceProbe *probe, double (*measure)(DeviceProbe *), uint32_t *work, uint32_t most)
{
    double taken = measure(probe);
    while (taken < LONG_ENOUGH && *work * 2 <= most) {
        *work *= 2;
        taken = measure(probe);
    }
    return taken;
}

double device_probe_multiply_add(DeviceProbe *probe)
{
    double taken = probe_seconds(probe, seconds_of_multiply_adds, &probe->groups, MOST_GROUPS);
    return 2.0 * SUMS * PROBE_ROUNDS * THREADS * probe->groups / taken;
}

static double seconds_of_copies(DeviceProbe *probe)
{
    VkBufferCopy all = {0, 0, COPIED};
    VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                               .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
                               .dstAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT};
    begin(probe);
    for (uint32_t i = 0; i < probe->copies; i++) {
        vkCmdCopyBuffer(probe->commands, probe->buffer[0], probe->buffer[1], 1, &all);
        vkCmdPipelineBarrier(probe->commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 1, &barrier, 0,
                             NULL, 0, NULL);
    }
    return seconds_of_commands(probe);
}

double device_probe_copy(DeviceProbe *probe)
{
    double taken = probe_seconds(probe, seconds_of_copies, &probe->copies, MOST_COPIES);
    return 2.0 * (double)COPIED * probe->copies / taken;
}
