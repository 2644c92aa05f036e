/* The Vulkan instance, a physical device with a queue for compute, and what all of its executables share.
 *
 * CM_VULKAN_DEVICE chooses among several devices by a part of the name; else the first discrete one is taken, then integrated,
 * virtual, and those that are processors.  CM_VULKAN_MINIMUM=1 makes it pretend to have no more than Vulkan 1.1 guarantees: no
 * f64, no i64, no clock, windows of 128 MiB, memory that the host does not see; CM_VULKAN_WINDOW=BYTES, windows of no more than
 * that.  CM_VULKAN_VALIDATE=1 switches the Khronos validation layer on, hazards of memory included; its messages go to the
 * context's log, and each makes the run fail that it came from. */
#include "backends/vulkan/schedule.h"

#include "base/cache.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_DEVICES = 16 }; /* that are looked at */

/* What every device has. */
enum {
    MINIMUM_RANGE = 1 << 27, /* of a storage buffer */
    WINDOW_STEP = 256,       /* bytes: windows are as long as a multiple of it */
    MINIMUM_ALIGNMENT = 256, /* of a uniform buffer */
};

static const char *result_name(VkResult result)
{
    switch (result) {
    case VK_ERROR_OUT_OF_HOST_MEMORY:
        return "out of host memory";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
        return "out of device memory";
    case VK_ERROR_INITIALIZATION_FAILED:
        return "initialisation failed";
    case VK_ERROR_DEVICE_LOST:
        return "the device is lost";
    case VK_ERROR_INCOMPATIBLE_DRIVER:
        return "there is no driver";
    case VK_ERROR_LAYER_NOT_PRESENT:
        return "the validation layer is not installed";
    default:
        return NULL;
    }
}

const char *device_reason(Arena *arena, const char *what, VkResult result)
{
    const char *name = result_name(result);
    if (result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY)
        return arena_printf(arena, "not enough memory: %s: %s", what, name);
    return name ? arena_printf(arena, "%s: %s", what, name) : arena_printf(arena, "%s: VkResult %d", what, (int)result);
}

/* ---- the instance ---- */

static VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                 VkDebugUtilsMessageTypeFlagsEXT types,
                                                 const VkDebugUtilsMessengerCallbackDataEXT *data, void *state)
{
    (void)severity;
    (void)types;
    Device *device = state;
    device->messages++;
    if (device->options.log)
        device->options.log(device->options.log_state, data->pMessage);
    return VK_FALSE;
}

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value && *value && strcmp(value, "0") != 0;
}

/* Of the loader: drivers that lack something of Vulkan, as those on top of another interface, are listed if it is asked for. */
static bool can_list_portable(void)
{
    VkExtensionProperties list[128];
    uint32_t count = sizeof list / sizeof *list;
    if (vkEnumerateInstanceExtensionProperties(NULL, &count, list) < 0)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(list[i].extensionName, VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME) == 0)
            return true;
    return false;
}

static const char *open_instance(Arena *arena, Device *device)
{
    static const char *const layers[] = {"VK_LAYER_KHRONOS_validation"};
    const char *extensions[2];
    uint32_t extension_count = 0;
    bool validate = is_set("CM_VULKAN_VALIDATE"), portable = can_list_portable();
    if (validate)
        extensions[extension_count++] = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
    if (portable)
        extensions[extension_count++] = VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME;
    VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .pEngineName = "cm", .apiVersion = VK_API_VERSION_1_1};
    VkDebugUtilsMessengerCreateInfoEXT messenger = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        .pfnUserCallback = on_message,
        .pUserData = device,
    };
    static const VkValidationFeatureEnableEXT also[] = {VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};
    VkValidationFeaturesEXT features = {.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
                                        .pNext = &messenger,
                                        .enabledValidationFeatureCount = 1,
                                        .pEnabledValidationFeatures = also};
    VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .flags = portable ? VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR : 0,
        .pApplicationInfo = &application,
        .pNext = validate ? &features : NULL,
        .enabledLayerCount = validate,
        .ppEnabledLayerNames = layers,
        .enabledExtensionCount = extension_count,
        .ppEnabledExtensionNames = extensions,
    };
    VkResult result = vkCreateInstance(&info, NULL, &device->instance);
    if (result)
        return device_reason(arena, "Vulkan does not start", result);
    if (!validate)
        return NULL;
    PFN_vkCreateDebugUtilsMessengerEXT create =
        (PFN_vkCreateDebugUtilsMessengerEXT)vkGetInstanceProcAddr(device->instance, "vkCreateDebugUtilsMessengerEXT");
    result = create ? create(device->instance, &messenger, NULL, &device->messenger) : VK_ERROR_EXTENSION_NOT_PRESENT;
    return result ? device_reason(arena, "the validation layer does not answer", result) : NULL;
}

/* ---- choosing ---- */

static bool find_family(VkPhysicalDevice physical, uint32_t *family, uint32_t *clock_bits)
{
    VkQueueFamilyProperties families[32];
    uint32_t count = 32;
    vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, families);
    for (uint32_t i = 0; i < count; i++)
        if (families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) {
            *family = i;
            *clock_bits = families[i].timestampValidBits;
            return true;
        }
    return false;
}

static int preference(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return 4;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return 3;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return 2;
    default:
        return 1;
    }
}

/* No window is larger than CM_VULKAN_WINDOW says. */
static const char *limit_window(Arena *arena, Device *device)
{
    const char *said = getenv("CM_VULKAN_WINDOW");
    if (!said || !*said)
        return NULL;
    char *end;
    long long given = strtoll(said, &end, 10);
    if (*end || given < WINDOW_STEP)
        return arena_printf(arena, "CM_VULKAN_WINDOW is a number of bytes, %d at least, and not '%s'", WINDOW_STEP, said);
    if (given < device->window_bytes)
        device->window_bytes = given / WINDOW_STEP * WINDOW_STEP;
    return NULL;
}

static const char *choose_physical(Arena *arena, Device *device)
{
    const char *wanted = getenv("CM_VULKAN_DEVICE");
    VkPhysicalDevice list[MOST_DEVICES];
    uint32_t count = MOST_DEVICES, family, clock_bits;
    int best = 0;
    VkResult result = vkEnumeratePhysicalDevices(device->instance, &count, list);
    if (result && result != VK_INCOMPLETE)
        return device_reason(arena, "Vulkan lists no devices", result);
    for (uint32_t i = 0; i < count; i++) {
        VkPhysicalDeviceProperties properties;
        vkGetPhysicalDeviceProperties(list[i], &properties);
        bool fits = !wanted || !*wanted || strcasestr(properties.deviceName, wanted);
        fits &= properties.apiVersion >= VK_API_VERSION_1_1 && find_family(list[i], &family, &clock_bits);
        if (!fits || preference(properties.deviceType) <= best)
            continue;
        best = preference(properties.deviceType);
        device->physical = list[i];
        device->properties = properties;
        device->family = family;
        device->clock_bits = clock_bits;
    }
    int64_t range = device->properties.limits.maxStorageBufferRange;
    device->window_bytes = (range < INT32_MAX ? range : INT32_MAX) / WINDOW_STEP * WINDOW_STEP; /* shaders count in int */
    device->row_alignment = (int64_t)device->properties.limits.minUniformBufferOffsetAlignment;
    if (device->is_minimal && best) {
        device->window_bytes = device->window_bytes < MINIMUM_RANGE ? device->window_bytes : MINIMUM_RANGE;
        device->row_alignment = MINIMUM_ALIGNMENT;
        device->clock_bits = 0;
    }
    if (best)
        return limit_window(arena, device);
    if (wanted && *wanted)
        return arena_printf(arena, "no Vulkan 1.1 device has '%s' in its name (CM_VULKAN_DEVICE)", wanted);
    return "there is no Vulkan 1.1 device that computes";
}

/* The type with most of the wanted properties among those that have all that are needed; -1: there is none. */
static int best_type(const VkPhysicalDeviceMemoryProperties *memory, VkMemoryPropertyFlags needed, VkMemoryPropertyFlags wanted,
                     VkDeviceSize least_heap)
{
    int best = -1, most = -1;
    for (uint32_t i = 0; i < memory->memoryTypeCount; i++) {
        VkMemoryPropertyFlags flags = memory->memoryTypes[i].propertyFlags;
        int worth = __builtin_popcount(flags & wanted);
        if ((flags & needed) != needed || memory->memoryHeaps[memory->memoryTypes[i].heapIndex].size < least_heap ||
            worth <= most)
            continue;
        most = worth;
        best = (int)i;
    }
    return best;
}

/* Of one type that can be had in one piece. */
static int64_t most_memory(VkPhysicalDevice physical, const VkPhysicalDeviceMemoryProperties *memory, uint32_t type)
{
    VkPhysicalDeviceMaintenance3Properties limits = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &limits};
    VkDeviceSize heap = memory->memoryHeaps[memory->memoryTypes[type].heapIndex].size;
    vkGetPhysicalDeviceProperties2(physical, &properties);
    VkDeviceSize most = heap < limits.maxMemoryAllocationSize ? heap : limits.maxMemoryAllocationSize;
    return most < INT64_MAX ? (int64_t)most : INT64_MAX;
}

/* Arrays lie in the device's own memory.  The host sees that, too, where it is the same memory, or a window that is large. */
static const char *choose_memory(Device *device)
{
    const VkMemoryPropertyFlags host = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    const VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    VkPhysicalDeviceMemoryProperties memory;
    VkDeviceSize largest = 0;
    vkGetPhysicalDeviceMemoryProperties(device->physical, &memory);
    for (uint32_t i = 0; i < memory.memoryTypeCount; i++) {
        VkDeviceSize size = memory.memoryHeaps[memory.memoryTypes[i].heapIndex].size;
        if (memory.memoryTypes[i].propertyFlags & local && size > largest)
            largest = size;
    }
    int own = best_type(&memory, local, 0, largest), both = best_type(&memory, host | local, cached, largest / 2);
    int seen = best_type(&memory, host, cached, 0);
    if (own < 0 || seen < 0)
        return "the device has no memory of its own, or none that the host can see";
    device->host_sees_all = both >= 0 && !device->is_minimal;
    device->device_memory = (uint32_t)(device->host_sees_all ? both : own);
    device->host_memory = (uint32_t)seen;
    device->memory_bytes = most_memory(device->physical, &memory, device->device_memory);
    return NULL;
}

/* ---- the logical device ---- */

static bool subgroups_fold(VkPhysicalDevice physical)
{
    const VkSubgroupFeatureFlags needed = VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT;
    VkPhysicalDeviceSubgroupProperties groups = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &groups};
    vkGetPhysicalDeviceProperties2(physical, &properties);
    return (groups.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) && (groups.supportedOperations & needed) == needed;
}

enum { MOST_EXTENSIONS = 9 };
#define PORTABLE_EXTENSION "VK_KHR_portability_subset" /* a device that has it must be opened with it */

/* What is used of 8- and 16-bit storage: asked, and then asked for. */
static void ask_features(Device *device, VkPhysicalDevice16BitStorageFeatures *sixteen,
                         VkPhysicalDevice8BitStorageFeatures *eight)
{
    *eight = (VkPhysicalDevice8BitStorageFeatures){.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES};
    *sixteen = (VkPhysicalDevice16BitStorageFeatures){.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES};
    if (device_has_extension(device, VK_KHR_8BIT_STORAGE_EXTENSION_NAME))
        sixteen->pNext = eight;
    VkPhysicalDeviceFeatures2 has = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = sixteen};
    vkGetPhysicalDeviceFeatures2(device->physical, &has);
    device->features.shaderFloat64 = has.features.shaderFloat64 && device->may_use[FEATURE_f64];
    device->features.shaderInt64 = has.features.shaderInt64 && device->may_use[FEATURE_i64];
    device->stores_16 = sixteen->storageBuffer16BitAccess && device->may_use[FEATURE_storage16];
    device->stores_8 = eight->storageBuffer8BitAccess && device->may_use[FEATURE_storage8];
    device->subgroups_fold = device->may_use[FEATURE_subgroups] && subgroups_fold(device->physical);
    *eight = (VkPhysicalDevice8BitStorageFeatures){.sType = eight->sType, .storageBuffer8BitAccess = device->stores_8};
    *sixteen = (VkPhysicalDevice16BitStorageFeatures){
        .sType = sixteen->sType, .pNext = device->stores_8 ? eight : NULL, .storageBuffer16BitAccess = device->stores_16};
}

static const char *open_logical(Arena *arena, Device *device)
{
    const char *extensions[MOST_EXTENSIONS];
    uint32_t extension_count = 0;
    VkPhysicalDevice8BitStorageFeatures eight;
    VkPhysicalDevice16BitStorageFeatures sixteen;
    MatrixNeeds matrices;
    ask_features(device, &sixteen, &eight);
    floats_ask(device);
    if (device->stores_8)
        extensions[extension_count++] = VK_KHR_8BIT_STORAGE_EXTENSION_NAME;
    if (device->float_controls)
        extensions[extension_count++] = VK_KHR_SHADER_FLOAT_CONTROLS_EXTENSION_NAME;
    if (device_has_extension(device, PORTABLE_EXTENSION))
        extensions[extension_count++] = PORTABLE_EXTENSION;
    void *chain = matrices_ask(device, &matrices, extensions, &extension_count, &sixteen);
    float priority = 1;
    VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                     .queueFamilyIndex = device->family,
                                     .queueCount = 1,
                                     .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = chain,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue,
                               .enabledExtensionCount = extension_count,
                               .ppEnabledExtensionNames = extensions,
                               .pEnabledFeatures = &device->features};
    VkResult result = vkCreateDevice(device->physical, &info, NULL, &device->logical);
    if (result)
        return device_reason(arena, "the device does not open", result);
    vkGetDeviceQueue(device->logical, device->family, 0, &device->queue);
    return NULL;
}

/* ---- what the driver has made of shaders, from run to run ---- */

/* The driver checks what it gets, too, but some have been known to trust it: the entry is checked, and is one for each driver.
 */
static uint64_t pipelines_key(const Device *device)
{
    const VkPhysicalDeviceProperties *properties = &device->properties;
    uint32_t facts[4 + VK_UUID_SIZE / 4] = {0x766b, properties->vendorID, properties->deviceID, properties->driverVersion};
    memcpy(facts + 4, properties->pipelineCacheUUID, VK_UUID_SIZE);
    return cache_key(facts, sizeof facts);
}

static VkResult open_pipelines(Arena *arena, Device *device)
{
    Bytes content = {0};
    const char *directory = device->options.cache_directory;
    if (!directory || !cache_read(arena, directory, pipelines_key(device), &content))
        content.size = 0;
    VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
                                      .initialDataSize = content.size,
                                      .pInitialData = content.size ? content.data : NULL};
    device->pipelines_size = content.size;
    return vkCreatePipelineCache(device->logical, &info, NULL, &device->pipelines);
}

/* Only a longer one is written: what is missing costs time, not results. */
static void keep_pipelines(Arena *arena, Device *device)
{
    Bytes content = {0};
    const char *directory = device->options.cache_directory;
    VkResult result = vkGetPipelineCacheData(device->logical, device->pipelines, &content.size, NULL);
    if (result || !directory || content.size <= device->pipelines_size)
        return;
    content.data = arena_alloc(arena, content.size);
    if (!vkGetPipelineCacheData(device->logical, device->pipelines, &content.size, content.data))
        cache_write(arena, directory, pipelines_key(device), content);
}

static void try_to_keep_pipelines(Device *device)
{
    jmp_buf escape;
    Arena *volatile kept = NULL;
    if (!setjmp(escape)) {
        Arena *arena = kept = arena_new(device->options.allocator, &escape);
        keep_pipelines(arena, device);
    }
    arena_free(kept);
}

static const char *make_common(Arena *arena, Device *device)
{
    VkDescriptorSetLayoutBinding bindings[BINDINGS];
    for (uint32_t i = 0; i < BINDINGS; i++)
        bindings[i] =
            (VkDescriptorSetLayoutBinding){.binding = i,
                                           .descriptorType = i == BINDING_ROW     ? VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC
                                                             : i == BINDING_BEGUN ? VK_DESCRIPTOR_TYPE_STORAGE_TEXEL_BUFFER
                                                                                  : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                           .descriptorCount = 1,
                                           .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    VkDescriptorSetLayoutCreateInfo set = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .bindingCount = BINDINGS, .pBindings = bindings};
    VkResult result = vkCreateDescriptorSetLayout(device->logical, &set, NULL, &device->set_layout);
    VkPushConstantRange turn = {VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(int32_t)};
    VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                         .setLayoutCount = 1,
                                         .pSetLayouts = &device->set_layout,
                                         .pushConstantRangeCount = 1,
                                         .pPushConstantRanges = &turn};
    if (!result)
        result = vkCreatePipelineLayout(device->logical, &layout, NULL, &device->pipeline_layout);
    if (!result)
        result = open_pipelines(arena, device);
    return result ? device_reason(arena, "the device does not open", result) : NULL;
}

const char *device_others(Arena *arena, const Device *device)
{
    VkPhysicalDevice list[MOST_DEVICES];
    uint32_t count = MOST_DEVICES;
    Text others = text_new(arena);
    if (vkEnumeratePhysicalDevices(device->instance, &count, list) < 0)
        return "";
    for (uint32_t i = 0; i < count; i++) {
        VkPhysicalDeviceProperties properties;
        vkGetPhysicalDeviceProperties(list[i], &properties);
        if (list[i] != device->physical)
            text_printf(&others, "%s%s", others.length ? ", " : "", properties.deviceName);
    }
    return others.data;
}

const char *device_open(Arena *arena, Device *device)
{
    device->is_minimal = is_set("CM_VULKAN_MINIMUM");
    device->sizes = &device_sizes;
    const char *reason = open_instance(arena, device);
    if (!reason)
        reason = choose_physical(arena, device);
    if (!reason)
        reason = features_read(arena, device);
    if (!reason)
        reason = choose_memory(device);
    if (!reason)
        reason = open_logical(arena, device);
    return reason ? reason : make_common(arena, device);
}

void device_close(Device *device)
{
    if (device->logical) {
        if (device->pipelines)
            try_to_keep_pipelines(device);
        vkDestroyPipelineCache(device->logical, device->pipelines, NULL);
        vkDestroyPipelineLayout(device->logical, device->pipeline_layout, NULL);
        vkDestroyDescriptorSetLayout(device->logical, device->set_layout, NULL);
        vkDestroyDevice(device->logical, NULL);
    }
    if (device->messenger) {
        PFN_vkDestroyDebugUtilsMessengerEXT destroy =
            (PFN_vkDestroyDebugUtilsMessengerEXT)vkGetInstanceProcAddr(device->instance, "vkDestroyDebugUtilsMessengerEXT");
        destroy(device->instance, device->messenger, NULL);
    }
    if (device->instance)
        vkDestroyInstance(device->instance, NULL);
}
