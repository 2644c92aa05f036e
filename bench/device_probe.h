/* What the parts of a device's probe share: device_probe.c opens the device, and measures multiply-adds and copies;
 * matrix_probe.c its cooperative matrices. */
#ifndef CM_BENCH_DEVICE_PROBE_H
#define CM_BENCH_DEVICE_PROBE_H

#include "bench/bench.h"

#include <vulkan/vulkan.h>

enum { PROBE_ROUNDS = 1024, PROBE_FIRST_GROUPS = 64 };

/* Products of m x k by k x n, of f16 with sums of f32, in the shape that cm uses. */
typedef struct MatrixProbe {
    int m, n, k;      /* 0: there are none */
    uint32_t threads; /* of a subgroup */
    VkPhysicalDeviceShaderFloat16Int8Features halves;
    VkPhysicalDeviceVulkanMemoryModelFeatures memory_model;
    VkPhysicalDeviceSubgroupSizeControlFeaturesEXT sizes;
#ifdef CM_BENCH_MATRICES_KHR
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrices;
#else
    VkPhysicalDeviceCooperativeMatrixFeaturesNV matrices;
#endif
    VkPipeline pipeline;
    uint32_t groups; /* that take long enough */
} MatrixProbe;

struct DeviceProbe {
    VkInstance instance;
    VkPhysicalDevice physical;
    VkPhysicalDeviceProperties properties;
    VkDevice device;
    uint32_t family;
    VkQueue queue;
    VkBuffer buffer[2];
    VkDeviceMemory memory[2];
    VkDescriptorSetLayout set_layout;
    VkDescriptorPool descriptors;
    VkDescriptorSet set;
    VkPipelineLayout layout;
    VkPipeline pipeline;
    VkCommandPool pool;
    VkCommandBuffer commands;
    VkFence fence;
    uint32_t groups, copies; /* that take long enough */
    MatrixProbe matrices;
};

/* Of a shader of SPIR-V that sees the first buffer and a number of rounds. */
VkPipeline probe_pipeline(const DeviceProbe *probe, const uint32_t *code, size_t bytes, VkPipelineShaderStageCreateInfo stage);
double probe_dispatch_seconds(DeviceProbe *probe, VkPipeline pipeline, uint32_t groups);
/* With twice the work until it takes long enough. */
double probe_seconds(DeviceProbe *probe, double (*measure)(DeviceProbe *), uint32_t *work, uint32_t most);

/* By what cm says of the device; adds what has to be asked for when it is opened. */
void matrix_probe_ask(DeviceProbe *probe, const char *description, VkDeviceCreateInfo *info);
void matrix_probe_open(DeviceProbe *probe);

#endif
