/* Shaders as a compiler for GPUs takes them: Mesa's driver for AMD makes pipelines for a GPU that is not there, if it is told
 * which.  None is refused, none keeps registers in memory, and tiles are fused multiply-adds.  Where that driver is not
 * installed, nothing is tested. */
#include "tests/api/api_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <vulkan/vulkan.h>

static const char own[] = CM_SOURCE_DIR "/tests/api/vulkan.cm", networks[] = CM_SOURCE_DIR "/bench/networks.cm",
                  kernels[] = CM_SOURCE_DIR "/bench/kernels.cm";
static const struct {
    const char *file, *entry;
} programs[] = {
    {own, "matrices"},     {own, "windows"},          {own, "window_gradient"}, {own, "halves_in_batches"},
    {own, "long_halves"},  {own, "sums_in_pieces"},   {own, "few_long_rows"},   {own, "rows_in_turns"},
    {own, "softmax_rows"}, {own, "halves_in_pieces"}, {networks, "unet_jvp"},   {networks, "dit_forward"},
};
enum { PROGRAMS = sizeof programs / sizeof *programs, MOST_STATISTICS = 64, MOST_TEXTS = 8, BINDINGS = 6 };

/* ---- a GPU that is not there ---- */

static const char *const driver_files[] = {"/usr/share/vulkan/icd.d/radeon_icd.x86_64.json",
                                           "/usr/share/vulkan/icd.d/radeon_icd.json"};

static const char *driver_file(void)
{
    for (size_t i = 0; i < sizeof driver_files / sizeof *driver_files; i++)
        if (access(driver_files[i], R_OK) == 0)
            return driver_files[i];
    return NULL;
}

typedef struct Gpu {
    VkInstance instance;
    VkDevice device;
    VkDescriptorSetLayout set;
    VkPipelineLayout layout;
    PFN_vkGetPipelineExecutableStatisticsKHR statistics;
    PFN_vkGetPipelineExecutableInternalRepresentationsKHR texts;
} Gpu;

static VkPhysicalDevice physical_of(Gpu *gpu)
{
    VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .apiVersion = VK_API_VERSION_1_2};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, .pApplicationInfo = &application};
    VkPhysicalDevice physical = VK_NULL_HANDLE;
    uint32_t count = 1;
    ck_assert_int_eq(vkCreateInstance(&info, NULL, &gpu->instance), VK_SUCCESS);
    ck_assert_int_ge(vkEnumeratePhysicalDevices(gpu->instance, &count, &physical), 0);
    return physical;
}

/* With all that the driver has. */
static void open_device(Gpu *gpu, VkPhysicalDevice physical)
{
    static const char *const extensions[] = {VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME};
    float priority = 1;
    VkPhysicalDeviceVulkan12Features of_1_2 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
    VkPhysicalDeviceVulkan11Features of_1_1 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
                                               .pNext = &of_1_2};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &of_1_1};
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR tells = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
        .pNext = &features,
        .pipelineExecutableInfo = VK_TRUE};
    VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, .queueCount = 1, .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = &tells,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue,
                               .enabledExtensionCount = 1,
                               .ppEnabledExtensionNames = extensions};
    vkGetPhysicalDeviceFeatures2(physical, &features);
    ck_assert_int_eq(vkCreateDevice(physical, &info, NULL, &gpu->device), VK_SUCCESS);
    gpu->statistics =
        (PFN_vkGetPipelineExecutableStatisticsKHR)vkGetDeviceProcAddr(gpu->device, "vkGetPipelineExecutableStatisticsKHR");
    gpu->texts = (PFN_vkGetPipelineExecutableInternalRepresentationsKHR)vkGetDeviceProcAddr(
        gpu->device, "vkGetPipelineExecutableInternalRepresentationsKHR");
}

/* What shaders are bound to: four windows, a row of the table, and the word that says which launch began. */
static void open_layout(Gpu *gpu)
{
    VkDescriptorSetLayoutBinding bindings[BINDINGS];
    for (uint32_t i = 0; i < BINDINGS; i++)
        bindings[i] = (VkDescriptorSetLayoutBinding){.binding = i,
                                                     .descriptorType = i < 4    ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
                                                                       : i == 4 ? VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC
                                                                                : VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER,
                                                     .descriptorCount = 1,
                                                     .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    VkDescriptorSetLayoutCreateInfo set = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = BINDINGS, .pBindings = bindings};
    ck_assert_int_eq(vkCreateDescriptorSetLayout(gpu->device, &set, NULL, &gpu->set), VK_SUCCESS);
    VkPushConstantRange turn = {VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(int32_t)};
    VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                         .setLayoutCount = 1,
                                         .pSetLayouts = &gpu->set,
                                         .pushConstantRangeCount = 1,
                                         .pPushConstantRanges = &turn};
    ck_assert_int_eq(vkCreatePipelineLayout(gpu->device, &layout, NULL, &gpu->layout), VK_SUCCESS);
}

/* False: the driver is not there, or knows of no GPU. */
static bool open_gpu(Gpu *gpu)
{
    const char *file = driver_file();
    if (!file)
        return false;
    ck_assert_int_eq(setenv("VK_ICD_FILENAMES", file, 1), 0);
    ck_assert_int_eq(setenv("RADV_FORCE_FAMILY", "navi21", 1), 0);
    VkPhysicalDevice physical = physical_of(gpu);
    if (!physical)
        return false;
    open_device(gpu, physical);
    open_layout(gpu);
    return true;
}

static void close_gpu(const Gpu *gpu)
{
    vkDestroyPipelineLayout(gpu->device, gpu->layout, NULL);
    vkDestroyDescriptorSetLayout(gpu->device, gpu->set, NULL);
    vkDestroyDevice(gpu->device, NULL);
    vkDestroyInstance(gpu->instance, NULL);
}

/* ---- a shader ---- */

static VkPipeline make_pipeline(const Gpu *gpu, const char *name, const uint32_t *words, size_t count)
{
    VkShaderModule module;
    VkPipeline pipeline = VK_NULL_HANDLE;
    VkShaderModuleCreateInfo code = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = 4 * count, .pCode = words};
    ck_assert_int_eq(vkCreateShaderModule(gpu->device, &code, NULL, &module), VK_SUCCESS);
    VkComputePipelineCreateInfo info = {.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
                                        .flags = VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR |
                                                 VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR,
                                        .layout = gpu->layout,
                                        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                                                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                                                  .module = module,
                                                  .pName = "main"}};
    VkResult result = vkCreateComputePipelines(gpu->device, VK_NULL_HANDLE, 1, &info, NULL, &pipeline);
    ck_assert_msg(result == VK_SUCCESS, "%s: the compiler refuses a shader: VkResult %d", name, (int)result);
    vkDestroyShaderModule(gpu->device, module, NULL);
    return pipeline;
}

static void expect_no_spills(const Gpu *gpu, const char *name, VkPipeline pipeline)
{
    VkPipelineExecutableInfoKHR info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, .pipeline = pipeline};
    VkPipelineExecutableStatisticKHR list[MOST_STATISTICS] = {{0}};
    uint32_t count = MOST_STATISTICS;
    int looked_at = 0;
    for (int i = 0; i < MOST_STATISTICS; i++)
        list[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
    ck_assert_int_ge(gpu->statistics(gpu->device, &info, &count, list), 0);
    for (uint32_t i = 0; i < count; i++)
        if (strstr(list[i].name, "Spilled") || strstr(list[i].name, "Scratch")) {
            looked_at++;
            ck_assert_msg(list[i].value.u64 == 0, "%s: %s: %llu", name, list[i].name, (unsigned long long)list[i].value.u64);
        }
    ck_assert_int_ge(looked_at, 2);
}

/* How often the machine code, which is the last text, has the word. */
static int count_in_code(const Gpu *gpu, VkPipeline pipeline, const char *word)
{
    VkPipelineExecutableInfoKHR info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, .pipeline = pipeline};
    VkPipelineExecutableInternalRepresentationKHR list[MOST_TEXTS] = {{0}};
    uint32_t count = MOST_TEXTS;
    int found = 0;
    for (int i = 0; i < MOST_TEXTS; i++)
        list[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR;
    ck_assert_int_ge(gpu->texts(gpu->device, &info, &count, list), 0);
    ck_assert_uint_ge(count, 1);
    for (uint32_t i = 0; i < count; i++)
        list[i].pData = calloc(1, list[i].dataSize + 1);
    ck_assert_int_ge(gpu->texts(gpu->device, &info, &count, list), 0);
    for (const char *at = list[count - 1].pData; (at = strstr(at, word)); at++)
        found++;
    for (uint32_t i = 0; i < count; i++)
        free(list[i].pData);
    return found;
}

/* ---- programs ---- */

typedef void Look(const Gpu *gpu, const char *name, const char *phase, VkPipeline pipeline);

static void look_at_module(const Gpu *gpu, const char *name, const char *phase, const uint32_t *words, size_t count, Look *look)
{
    if (!count)
        return;
    VkPipeline pipeline = make_pipeline(gpu, name, words, count);
    look(gpu, name, phase, pipeline);
    vkDestroyPipeline(gpu->device, pipeline, NULL);
}

/* In the dump a line of // says which phase the words behind it are of. */
static int look_at_text(const Gpu *gpu, const char *name, char *text, Look *look)
{
    uint32_t *words = malloc(strlen(text) / 9 * sizeof *words + 8);
    size_t count = 0;
    int modules = 0;
    const char *phase = "";
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (strncmp(line, "//", 2) == 0) {
            look_at_module(gpu, name, phase, words, count, look);
            modules++;
            phase = line;
            count = 0;
            continue;
        }
        for (char *end = line, *at = line;; at = end) {
            uint32_t word = (uint32_t)strtoul(at, &end, 16);
            if (end == at)
                break;
            words[count++] = word;
        }
    }
    look_at_module(gpu, name, phase, words, count, look);
    free(words);
    return modules;
}

/* The shaders are written for the device that is there, before the other one is opened. */
static void look_at_program(const char *file, const char *entry, Look *look)
{
    cm_context *context = test_context(1);
    cm_program *program = test_file(context, file, NULL);
    cm_compile_options options = {.size = sizeof options, .device = "vulkan"};
    cm_error *error;
    char *text;
    Gpu gpu = {0};
    expect_ok(cm_dump(program, entry, "spirv", &options, &text, &error));
    if (open_gpu(&gpu)) {
        ck_assert_int_ge(look_at_text(&gpu, entry, text, look), 1);
        close_gpu(&gpu);
    } else {
        fprintf(stderr, "note: no compiler for a GPU: %s is not tested\n", entry);
    }
    cm_text_free(context, text);
    cm_program_free(program);
    cm_context_free(context);
}

static void look_for_spills(const Gpu *gpu, const char *name, const char *phase, VkPipeline pipeline)
{
    (void)phase;
    expect_no_spills(gpu, name, pipeline);
}

START_TEST(a_gpu_takes_shaders)
{
    look_at_program(programs[_i].file, programs[_i].entry, look_for_spills);
}
END_TEST

/* A tile of 64 by 64 is 64 sums of each of 64 threads. */
static void look_for_fused(const Gpu *gpu, const char *name, const char *phase, VkPipeline pipeline)
{
    expect_no_spills(gpu, name, pipeline);
    if (!strstr(phase, "for each tile"))
        return;
    ck_assert_int_ge(count_in_code(gpu, pipeline, "v_fma"), 64);
    ck_assert_int_lt(count_in_code(gpu, pipeline, "v_mul_f32"), 8);
    ck_assert_int_ge(count_in_code(gpu, pipeline, "ds_read_b128"), 4);
    ck_assert_int_ge(count_in_code(gpu, pipeline, "load_dwordx4"), 8);
}

START_TEST(tiles_are_fused_multiply_adds)
{
    look_at_program(kernels, "vulkan_dot_f32", look_for_fused);
}
END_TEST

static TCase *gpu(void)
{
    TCase *test = tcase_create("gpu");
    tcase_add_loop_test(test, a_gpu_takes_shaders, 0, PROGRAMS);
    tcase_add_test(test, tiles_are_fused_multiply_adds);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {gpu, NULL};
    return run_suite("vulkan_gpu", cases);
}
