/* The device, with sizes of schedules that programs of some elements reach. */
#include "tests/random/vulkan.h"

#include "backends/vulkan/schedule.h"

#include <dlfcn.h>

static const Sizes small_sizes = {
    .many_lots = 1 << 20,
    .little_work = 4,
    .most_locals = 256,
    .shared_terms = 6,
    .many_groups = 64,
    .group_terms = 2,
    .many_threads = 256,
    .thread_terms = 2,
    .few_points = 2,
    .many_tiles = 16,
    .tile_terms = 2,
    .tile_work = 1,
    .most_copies = 1 << 12,
    .many_points = 8,
};

void keep_vulkan_driver(void)
{
    dlopen("libvulkan_lvp.so", RTLD_NOW | RTLD_NODELETE);
}

Device *open_small_vulkan(Arena *arena, Pool *pool, const char **reason)
{
    Device *device = NULL;
    keep_vulkan_driver();
    *reason = backend_vulkan.open(arena, &(DeviceOptions){.pool = pool}, &device);
    if (*reason)
        return NULL;
    device->sizes = &small_sizes;
    return device;
}
