/* Profiles: each launch is in the row of its kernel and line, and in the trace. */
#include "tests/api/folder.h"

enum { SIZE = 4096 };

static const char text[] = "fn norms(x: f32[A, B]) -> f32[A] {\n"
                           "  let y = x * exp(x)\n"
                           "  sqrt(sum(y * y, B))\n"
                           "}\n";

static cm_context *profiled_context(int profile)
{
    cm_context_options options = {.size = sizeof options, .threads = 2, .cache_directory = "", .profile = profile};
    cm_context *context;
    cm_error *error;
    expect_ok(cm_context_create(&options, &context, &error));
    return context;
}

static void run_norms(cm_context *context, int times)
{
    cm_error *error = NULL;
    cm_program *program = test_program(context, text);
    cm_binding bindings[] = {{"A", 16}, {"B", SIZE / 16}};
    cm_compile_options options = {.size = sizeof options, .bindings = bindings, .binding_count = 2};
    cm_executable *executable;
    expect_ok(cm_compile(program, "norms", &options, &executable, &error));
    static float x[SIZE];
    cm_input input = {"x", {.dtype = CM_F32, .rank = 2, .dim = {16, SIZE / 16}, .data = x}};
    for (int i = 0; i < times; i++)
        expect_ok(cm_run(executable, NULL, &input, 1, NULL, 0, &error));
    cm_executable_free(executable);
    cm_program_free(program);
}

START_TEST(rows_sum_up_launches)
{
    cm_context *context = profiled_context(1);
    run_norms(context, 3);
    cm_profile_row row;
    size_t count = 0;
    for (; cm_profile_get(context, count, &row) == CM_OK; count++) {
        ck_assert_str_eq(row.device, cm_device_name(context, 0));
        ck_assert_str_eq(row.entry, "norms");
        ck_assert_str_eq(row.file, "test.cm");
        ck_assert(row.line == 2 || row.line == 3);
        ck_assert_int_eq(row.launches, 3);
        ck_assert_double_gt(row.seconds, 0);
        ck_assert_double_lt(row.seconds, 60);
        ck_assert_int_eq(row.bytes % 4, 0);
        ck_assert_int_ge(row.bytes, 4 * 16);
        ck_assert_double_gt(row.flops, 0);
    }
    ck_assert_uint_ge(count, 1);
    ck_assert_ptr_null(row.kernel); /* past the end all is zero */
    cm_context_free(context);
}
END_TEST

/* How often `part` stands in the file. */
static int count_in_file(const char *path, const char *part)
{
    static char content[1 << 20];
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    content[fread(content, 1, sizeof content - 1, file)] = 0;
    fclose(file);
    int count = 0;
    for (const char *at = content; (at = strstr(at, part)); at++)
        count++;
    return count;
}

START_TEST(a_trace_has_each_launch)
{
    cm_error *error = NULL;
    cm_context *context = profiled_context(1);
    enter_folder();
    run_norms(context, 4);
    expect_ok(cm_profile_save(context, "trace.json", &error));
    cm_profile_row row;
    int launches = 0, rows = 0;
    for (; cm_profile_get(context, (size_t)rows, &row) == CM_OK; rows++)
        launches += (int)row.launches;
    ck_assert_int_eq(count_in_file("trace.json", "\"ph\":\"X\""), launches);
    ck_assert_int_eq(count_in_file("trace.json", "\"traceEvents\""), 1);
    ck_assert_int_eq(count_in_file("trace.json", "\"launches\":4"), rows);
    ck_assert_int_ge(count_in_file("trace.json", "\"line\":\"test.cm:"), launches);
    expect_failure(CM_IO_ERROR, "nowhere", cm_profile_save(context, "nowhere/trace.json", &error));
    leave_folder();
    cm_context_free(context);
}
END_TEST

START_TEST(nothing_is_timed_unasked)
{
    cm_error *error = NULL;
    cm_context *context = profiled_context(0);
    run_norms(context, 1);
    cm_profile_row row;
    ck_assert_int_eq(cm_profile_get(context, 0, &row), CM_INVALID_ARGUMENT);
    ck_assert_int_eq(cm_profile_get(context, 0, NULL), CM_INVALID_ARGUMENT);
    ck_assert_int_eq(cm_profile_get(NULL, 0, &row), CM_INVALID_ARGUMENT);
    cm_profile_totals totals;
    ck_assert_int_eq(cm_profile_total(context, &totals), CM_INVALID_ARGUMENT);
    ck_assert_int_eq(cm_profile_total(context, NULL), CM_INVALID_ARGUMENT);
    expect_failure(CM_INVALID_ARGUMENT, "without a profile", cm_profile_save(context, "trace.json", &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_profile_save(NULL, "trace.json", &error));
    cm_context_free(context);
}
END_TEST

static TCase *profile_cases(void)
{
    TCase *tests = tcase_create("profile");
    tcase_add_test(tests, rows_sum_up_launches);
    tcase_add_test(tests, a_trace_has_each_launch);
    tcase_add_test(tests, nothing_is_timed_unasked);
    return tests;
}

int main(void)
{
    TCase *(*const cases[])(void) = {profile_cases, NULL};
    return run_suite("profile", cases);
}
