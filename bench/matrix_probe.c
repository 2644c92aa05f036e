/* What a Vulkan device's cooperative matrices can do: products from registers. */
#include "bench/device_probe.h"
#include "bench/matrix_probe_spirv.h"

#include <stdio.h>
#include <string.h>

enum {
    SUBGROUPS = 4, /* of a workgroup */
    SUMS = 8,      /* of a subgroup, as in matrix_probe.comp */
    MOST_GROUPS = 65535,
};

#ifdef CM_BENCH_MATRICES_KHR
#define MATRICES_EXTENSION VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME
#define MATRICES_FORM "KHR" /* as cm calls it */
enum { MATRICES_FEATURES = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR };
#else
#define MATRICES_EXTENSION VK_NV_COOPERATIVE_MATRIX_EXTENSION_NAME
#define MATRICES_FORM "NV"
enum { MATRICES_FEATURES = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_NV };
#endif

static const char *const extensions[] = {VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME, VK_KHR_VULKAN_MEMORY_MODEL_EXTENSION_NAME,
                                         VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME, MATRICES_EXTENSION};
enum { EXTENSIONS = sizeof extensions / sizeof *extensions };

static bool has_extensions(VkPhysicalDevice device)
{
    VkExtensionProperties list[512];
    uint32_t count = sizeof list / sizeof *list, found = 0;
    if (vkEnumerateDeviceExtensionProperties(device, NULL, &count, list) < 0)
        return false;
    for (uint32_t i = 0; i < count; i++)
        for (int k = 0; k < EXTENSIONS; k++)
            found += strcmp(list[i].extensionName, extensions[k]) == 0;
    return found == EXTENSIONS;
}

void matrix_probe_ask(DeviceProbe *probe, const char *description, VkDeviceCreateInfo *info)
{
    MatrixProbe *matrices = &probe->matrices;
    const char *shape = strstr(description, "matrices of ");
    int m, n, k;
    char form[8];
    if (!shape || !has_extensions(probe->physical) ||
        sscanf(shape, "matrices of %d x %d x %d (%7[A-Z])", &m, &n, &k, form) != 4 || strcmp(form, MATRICES_FORM) != 0)
        return;
    VkPhysicalDeviceSubgroupProperties subgroups = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &subgroups};
    vkGetPhysicalDeviceProperties2(probe->physical, &properties);
    matrices->threads = subgroups.subgroupSize;
    matrices->halves.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES;
    matrices->memory_model.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES;
    matrices->memory_model.pNext = &matrices->halves;
    matrices->sizes.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT;
    matrices->sizes.pNext = &matrices->memory_model;
    matrices->matrices.sType = (VkStructureType)MATRICES_FEATURES;
    matrices->matrices.pNext = &matrices->sizes;
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &matrices->matrices};
    vkGetPhysicalDeviceFeatures2(probe->physical, &features);
    if (!matrices->halves.shaderFloat16 || !matrices->memory_model.vulkanMemoryModel || !matrices->sizes.subgroupSizeControl ||
        !matrices->sizes.computeFullSubgroups || !matrices->matrices.cooperativeMatrix)
        return;
    matrices->m = m;
    matrices->n = n;
    matrices->k = k;
    info->pNext = &matrices->matrices;
    info->ppEnabledExtensionNames = extensions;
    info->enabledExtensionCount = EXTENSIONS;
}

void matrix_probe_open(DeviceProbe *probe)
{
    MatrixProbe *matrices = &probe->matrices;
    if (!matrices->m)
        return;
    const int32_t numbers[] = {matrices->m, matrices->n, matrices->k, (int32_t)(SUBGROUPS * matrices->threads)};
    enum { NUMBERS = sizeof numbers / sizeof *numbers };
    VkSpecializationMapEntry entries[NUMBERS];
    for (uint32_t i = 0; i < NUMBERS; i++)
        entries[i] = (VkSpecializationMapEntry){i, i * (uint32_t)sizeof *numbers, sizeof *numbers};
    VkSpecializationInfo constants = {NUMBERS, entries, sizeof numbers, numbers};
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfoEXT size = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO_EXT,
        .requiredSubgroupSize = matrices->threads};
    VkPipelineShaderStageCreateInfo stage = {.pNext = &size,
                                             .flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT_EXT,
                                             .pSpecializationInfo = &constants};
    matrices->pipeline = probe_pipeline(probe, matrix_probe_spirv, sizeof matrix_probe_spirv, stage);
    matrices->groups = PROBE_FIRST_GROUPS;
}

static double seconds_of_products(DeviceProbe *probe)
{
    return probe_dispatch_seconds(probe, probe->matrices.pipeline, probe->matrices.groups);
}

bool device_probe_has_matrices(const DeviceProbe *probe)
{
    return probe->matrices.pipeline;
}

double device_probe_matrices(DeviceProbe *probe)
{
    MatrixProbe *matrices = &probe->matrices;
    double taken = probe_seconds(probe, seconds_of_products, &matrices->groups, MOST_GROUPS);
    double product = 2.0 * matrices->m * matrices->n * matrices->k;
    return product * SUMS * PROBE_ROUNDS * SUBGROUPS * matrices->groups / taken;
}
