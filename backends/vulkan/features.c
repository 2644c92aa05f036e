/* What of a device may be used beyond what every device has.
 *
 * A feature is used where the device reports it, unless the device pretends to be minimal, the user leaves it out by
 * CM_VULKAN_WITHOUT, a list of names with commas, or the driver is known for it. */
#include "backends/vulkan/vulkan_internal.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[FEATURES] = {
    [FEATURE_f64] = "f64",
    [FEATURE_i64] = "i64",
    [FEATURE_storage16] = "storage16",
    [FEATURE_storage8] = "storage8",
    [FEATURE_subgroups] = "subgroups",
    [FEATURE_matrices] = "matrices",
    [FEATURE_float_controls] = "float_controls",
};

typedef struct Quirk {
    VkDriverId driver;
    Feature feature; /* that must not be used with it, whatever it reports */
} Quirk;

static const Quirk quirks[] = {
    /* They report cooperative matrices on cards without them (llama.cpp, pull request 11074), and the question for their
     * shapes crashes on integrated ones (AMDVLK, issue 422). */
    {VK_DRIVER_ID_AMD_PROPRIETARY, FEATURE_matrices},
    {VK_DRIVER_ID_AMD_OPEN_SOURCE, FEATURE_matrices},
    /* It has failed tests of them (llama.cpp, pull request 10597). */
    {VK_DRIVER_ID_INTEL_PROPRIETARY_WINDOWS, FEATURE_matrices},
};

/* Shaders of these drivers leave their loops, without a word, when a thread has taken so many turns in all of them. */
enum { LLVMPIPE_TURNS = 65535 };

bool device_has_extension(const Device *device, const char *name)
{
    VkExtensionProperties list[512];
    uint32_t count = sizeof list / sizeof *list;
    if (vkEnumerateDeviceExtensionProperties(device->physical, NULL, &count, list) < 0)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(list[i].extensionName, name) == 0)
            return true;
    return false;
}

/* 0: it does not say. */
static VkDriverId driver_of(const Device *device)
{
    VkPhysicalDeviceDriverProperties driver = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &driver};
    if (device_has_extension(device, VK_KHR_DRIVER_PROPERTIES_EXTENSION_NAME))
        vkGetPhysicalDeviceProperties2(device->physical, &properties);
    return driver.driverID;
}

static Feature feature_named(const char *name, size_t length)
{
    Feature feature = 0;
    while (feature < FEATURES && (strlen(names[feature]) != length || strncmp(names[feature], name, length) != 0))
        feature++;
    return feature;
}

static const char *all_names(Arena *arena)
{
    Text text = text_new(arena);
    for (Feature feature = 0; feature < FEATURES; feature++)
        text_printf(&text, "%s%s", feature ? ", " : "", names[feature]);
    return text.data;
}

const char *features_read(Arena *arena, Device *device)
{
    VkDriverId driver = driver_of(device);
    device->most_turns = driver == VK_DRIVER_ID_MESA_LLVMPIPE ? LLVMPIPE_TURNS : 0;
    for (Feature feature = 0; feature < FEATURES; feature++)
        device->may_use[feature] = !device->is_minimal;
    for (size_t i = 0; i < sizeof quirks / sizeof *quirks; i++)
        if (quirks[i].driver == driver)
            device->may_use[quirks[i].feature] = false;
    for (const char *at = getenv("CM_VULKAN_WITHOUT"); at && *at; at += *at == ',') {
        size_t length = strcspn(at, ",");
        Feature feature = feature_named(at, length);
        if (feature == FEATURES)
            return arena_printf(arena, "CM_VULKAN_WITHOUT: no feature '%.*s', but %s", (int)length, at, all_names(arena));
        device->may_use[feature] = false;
        at += length;
    }
    const char *matrices = getenv("CM_VULKAN_MATRICES");
    if (matrices && *matrices && strcmp(matrices, "by_hand") != 0)
        return arena_printf(arena, "CM_VULKAN_MATRICES: by_hand, or nothing, and not '%s'", matrices);
    return NULL;
}
