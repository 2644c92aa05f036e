/* Devices: std.conformance has every primitive, and each device of the library agrees with the interpreter on all of it. */
#include "tests/api/api_test.h"
#include "tests/api/vulkan.h"

#include <stdio.h>

/* ---- what is tried ---- */

/* Those that the compiler makes of others, and those that are gone when calculus and calls are. */
static const char *const not_tried[] = {"param", "literal",   "call", "get", "custom",   "jvp",
                                        "vjp",   "stop_grad", "shl",  "shr", "random_at"};

static bool is_tried(const char *primitive)
{
    for (size_t i = 0; i < sizeof not_tried / sizeof *not_tried; i++) {
        if (strcmp(primitive, not_tried[i]) == 0)
            return false;
    }
    return true;
}

/* The graphs of all functions, one after the other; freed by the caller. */
static char *graphs(cm_context *context, cm_program *program)
{
    char *all = calloc(1, 1);
    size_t length = 0;
    for (size_t i = 0; i < cm_program_entry_count(program); i++) {
        cm_entry entry;
        char *text;
        cm_error *error;
        ck_assert_int_eq(cm_program_entry(program, i, &entry), CM_OK);
        expect_ok(cm_dump(program, entry.name, "inline", NULL, &text, &error));
        all = realloc(all, length + strlen(text) + 1);
        strcpy(all + length, text);
        length += strlen(text);
        cm_text_free(context, text);
    }
    return all;
}

START_TEST(every_primitive_is_tried)
{
    cm_context *context = test_context(1);
    cm_program *program = test_file(context, CM_SOURCE_DIR "/std/conformance.cm", NULL);
    char *text = graphs(context, program), line[512], name[64], use[80];
    FILE *table = fopen(CM_SOURCE_DIR "/ir/prims.def", "r");
    ck_assert_ptr_nonnull(table);
    int count = 0;
    while (fgets(line, sizeof line, table)) {
        if (sscanf(line, "OP(%63[a-z_0-9]", name) != 1 || !is_tried(name))
            continue;
        snprintf(use, sizeof use, " = %s ", name);
        ck_assert_msg(strstr(text, use) != NULL, "no function of std.conformance has %s", name);
        count++;
    }
    ck_assert_int_ge(count, 50);
    fclose(table);
    free(text);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* ---- what comes of it ---- */

typedef struct Seen {
    int tried, skipped;
} Seen;

static void see(void *state, const cm_device_trial *trial)
{
    Seen *seen = state;
    seen->tried++;
    seen->skipped += trial->skipped;
    ck_assert_msg(trial->agrees || trial->skipped, "%s: off by %g of %g; %s", trial->name, trial->error, trial->most,
                  trial->reason ? trial->reason : "");
    ck_assert(trial->skipped || (trial->error <= trial->most && !trial->reason));
    ck_assert(!trial->skipped || (strstr(trial->name, "_f64") && strstr(trial->reason, "f64")));
}

START_TEST(devices_agree_with_the_interpreter)
{
    cm_context *context = test_context(2);
    for (size_t i = 0; i < cm_device_count(context); i++) {
        Seen seen = {0};
        cm_error *error;
        expect_ok(cm_device_check(context, i, see, &seen, &error));
        ck_assert_int_ge(seen.tried, 100);
        ck_assert_int_eq(seen.skipped, 0);
    }
    cm_context_free(context);
}
END_TEST

/* What needs f64 is left out by name on a device without, and the rest is done. */
START_TEST(the_least_device_lacks_f64)
{
    cm_context *context = test_context(2);
    for (size_t i = 0; i < cm_device_count(context); i++) {
        Seen seen = {0};
        cm_error *error;
        if (strcmp(cm_device_name(context, i), "vulkan") != 0)
            continue;
        expect_ok(cm_device_check(context, i, see, &seen, &error));
        ck_assert_int_ge(seen.tried - seen.skipped, 100);
        ck_assert_int_ge(seen.skipped, 3);
    }
    cm_context_free(context);
}
END_TEST

START_TEST(there_is_no_such_device)
{
    cm_context *context = test_context(1);
    cm_error *error;
    expect_failure(CM_INVALID_ARGUMENT, "no such device", cm_device_check(context, 99, NULL, NULL, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_device_check(NULL, 0, NULL, NULL, &error));
    cm_context_free(context);
}
END_TEST

static TCase *devices(void)
{
    TCase *test = tcase_create("devices");
    tcase_add_test(test, every_primitive_is_tried);
    tcase_add_test(test, devices_agree_with_the_interpreter);
    tcase_add_test(test, there_is_no_such_device);
    return test;
}

static TCase *least(void)
{
    TCase *test = tcase_create("least");
    tcase_add_checked_fixture(test, pretend_minimum, NULL);
    tcase_add_test(test, the_least_device_lacks_f64);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {devices, least, NULL};
    return run_suite("devices", cases);
}
