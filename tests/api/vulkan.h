/* How the tests of Vulkan set it up.  Each runs in a process of its own, so that the environment is theirs. */
#ifndef CM_TESTS_API_VULKAN_H
#define CM_TESTS_API_VULKAN_H

#include <check.h>
#include <dlfcn.h>
#include <stdlib.h>

/* Whatever the validation layer says is a failure.  Driver and layer stay loaded, so that the leak sanitizer can tell what is
 * theirs. */
static inline void watch_vulkan(void)
{
    ck_assert_int_eq(setenv("CM_VULKAN_VALIDATE", "1", 1), 0);
    dlopen("libvulkan_lvp.so", RTLD_NOW | RTLD_NODELETE);
    dlopen("libVkLayer_khronos_validation.so", RTLD_NOW | RTLD_NODELETE);
}

/* And the device has no more than Vulkan guarantees. */
static inline void pretend_minimum(void)
{
    watch_vulkan();
    ck_assert_int_eq(setenv("CM_VULKAN_MINIMUM", "1", 1), 0);
}

#endif
