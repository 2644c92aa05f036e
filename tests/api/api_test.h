/* What the tests of cm.h share. They see nothing of the library but its header. */
#ifndef CM_TESTS_API_API_TEST_H
#define CM_TESTS_API_API_TEST_H

#include <check.h>
#include <cm.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define expect_status(wanted, call)                                                                                            \
    do {                                                                                                                       \
        cm_status got_status = (call);                                                                                         \
        ck_assert_msg(got_status == (wanted), "%s: wanted \"%s\", got \"%s\"\n%s", #call, cm_status_name(wanted),              \
                      cm_status_name(got_status), cm_error_text(error));                                                       \
    } while (0)
#define expect_ok(call) expect_status(CM_OK, call)
/* The failure has a reason that holds `part`; the error is freed. */
#define expect_failure(wanted, part, call)                                                                                     \
    do {                                                                                                                       \
        expect_status(wanted, call);                                                                                           \
        ck_assert_int_eq(cm_error_status(error), wanted);                                                                      \
        ck_assert_msg(strstr(cm_error_text(error), part) != NULL, "%s: no \"%s\" in: %s", #call, part, cm_error_text(error));  \
        cm_error_free(error);                                                                                                  \
        error = NULL;                                                                                                          \
    } while (0)

static inline cm_context *test_context(int threads)
{
    cm_context_options options = {.size = sizeof options, .threads = threads, .cache_directory = ""};
    cm_context *context;
    cm_error *error;
    expect_ok(cm_context_create(&options, &context, &error));
    return context;
}

static inline cm_program *test_program(cm_context *context, const char *text)
{
    cm_program *program;
    cm_error *error;
    expect_ok(cm_load_text(context, "test.cm", text, strlen(text), NULL, &program, &error));
    return program;
}

static inline cm_program *test_file(cm_context *context, const char *path, const cm_load_options *options)
{
    cm_program *program;
    cm_error *error;
    expect_ok(cm_load_file(context, path, options, &program, &error));
    return program;
}

static inline cm_executable *test_compile(cm_program *program, const char *entry, const char *axis, int64_t size)
{
    cm_binding binding = {axis, size};
    cm_compile_options options = {.size = sizeof options, .bindings = &binding, .binding_count = axis != NULL};
    cm_executable *executable;
    cm_error *error;
    expect_ok(cm_compile(program, entry, &options, &executable, &error));
    return executable;
}

static inline int run_suite(const char *name, TCase *(*const *cases)(void))
{
    Suite *suite = suite_create(name);
    for (; *cases; cases++)
        suite_add_tcase(suite, (*cases)());
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

#endif
