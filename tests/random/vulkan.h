/* A Vulkan device for random programs. */
#ifndef CM_TESTS_RANDOM_VULKAN_H
#define CM_TESTS_RANDOM_VULKAN_H

#include "backends/backend.h"

/* Of which a few terms are a long sum and a few points are many, so that small programs meet all that schedules have; null, and
 * the reason: it cannot be had. */
Device *open_small_vulkan(Arena *arena, Pool *pool, const char **reason);

/* So that the leak sanitizer can tell what is the driver's, also when the device is closed. */
void keep_vulkan_driver(void);

#endif
