/* How a Vulkan device treats floats: what shaders take for fma rounds once, and what is asked for of a device is in its
 * shaders. */
#include "backends/vulkan/vulkan_internal.h"
#include "tests/random/vulkan.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static Arena *arena;
static Device *device;

static void open_device(void)
{
    keep_vulkan_driver();
    arena = arena_new(NULL, NULL);
    const char *reason = backend_vulkan.open(arena, &(DeviceOptions){0}, &device);
    ck_assert_msg(!reason, "no Vulkan: %s", reason);
}

static void close_device(void)
{
    backend_vulkan.close(device);
    arena_free(arena);
}

static const DType types[] = {DT_f32, DT_f64};
enum { TYPES = sizeof types / sizeof *types };

START_TEST(fma_of_split_numbers_rounds_once)
{
    bool fuses;
    ck_assert_ptr_null(floats_fuse(arena, device, types[_i], false, &fuses));
    ck_assert(fuses);
}
END_TEST

/* Mesa's device of 2022 for processors rounds the product.  A device that has been opened knows. */
START_TEST(own_fma_is_tried)
{
    bool known = types[_i] == DT_f64 ? device->fuses_f64 : device->fuses, fuses;
    ck_assert_ptr_null(floats_fuse(arena, device, types[_i], true, &fuses));
    ck_assert_int_eq(known, fuses);
    if (strstr(device->properties.deviceName, "LLVM 15"))
        ck_assert(!known);
}
END_TEST

START_TEST(shaders_ask_for_what_the_device_reports)
{
    Text text = text_new(arena);
    floats_print(device, false, &text);
    ck_assert_int_eq(device->float_controls, text.length > 0);
    for (int i = 0; i < FLOAT_MODES; i++)
        device->float_modes[i] = true;
    device->float_controls = true;
    floats_print(device, true, &text);
    static const char *const modes[] = {"[4466], 4461, 32", "[4464], 4459, 32", "[4467], 4462, 32", "[4466], 4461, 64"};
    for (int i = 0; i < FLOAT_MODES; i++)
        ck_assert_ptr_nonnull(strstr(text.data, modes[i]));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vulkan floats");
    TCase *tests = tcase_create("vulkan floats");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, open_device, close_device);
    tcase_add_loop_test(tests, fma_of_split_numbers_rounds_once, 0, TYPES);
    tcase_add_loop_test(tests, own_fma_is_tried, 0, TYPES);
    tcase_add_test(tests, shaders_ask_for_what_the_device_reports);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
