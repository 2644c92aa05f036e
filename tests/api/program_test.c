/* Contexts, programs, errors, formatting and dumps through cm.h. */
#include "tests/api/api_test.h"

#include <stdio.h>
#include <unistd.h>

static const char axpy[] = "# A line.\n"
                           "fn axpy(a: f32, x: f32[B]) -> f32[B] = a * x + 1\n"
                           "fn twice[B = 4](x: f32[B], times = 2.0) -> f32[B] = times * x\n";

START_TEST(null_handles_are_refused)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *program;
    cm_executable *executable;
    cm_parameters *parameters;
    cm_training *training;
    char *text;
    size_t count;
    cm_array array;
    cm_derivatives derivatives;
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_load_text(NULL, "a", "", 0, NULL, &program, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_load_text(context, "a", NULL, 3, NULL, &program, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_load_text(context, "a", "", 0, NULL, NULL, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_load_file(context, NULL, NULL, &program, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_check(NULL, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_check_derivatives(NULL, NULL, NULL, &derivatives, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_format(context, "a", "", 0, NULL, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_compile(NULL, "f", NULL, &executable, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_run(NULL, NULL, NULL, 0, NULL, 0, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_infer_bindings(NULL, "f", NULL, 0, NULL, 0, &count, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_parameters_create(NULL, 0, &parameters, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_parameters_create_for(NULL, "f", 0, &parameters, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_parameters_create_empty(NULL, &parameters, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_parameters_load(context, NULL, &parameters, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_parameters_load_data(NULL, NULL, &parameters, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_parameters_save(NULL, "a.npy", NULL, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_parameters_get(NULL, "a", &array, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_parameters_set(NULL, "a", &array, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_training_create(NULL, NULL, NULL, &training, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_training_step(NULL, NULL, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_training_run(NULL, NULL, NULL, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_training_save(NULL, "a", &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_training_load(NULL, "a", &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_training_weights(NULL, &parameters, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_sample(NULL, NULL, NULL, &parameters, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_evaluate(NULL, NULL, NULL, NULL, &parameters, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_dump(NULL, NULL, "plan", NULL, &text, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_dump_svg(NULL, NULL, NULL, &text, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_device_describe(NULL, 0, &text, &error));
    expect_failure(CM_INVALID_ARGUMENT, "place", cm_context_create(NULL, NULL, &error));
    ck_assert_int_eq(cm_load_text(NULL, "a", "", 0, NULL, &program, NULL), CM_INVALID_ARGUMENT);
    cm_context_free(context);
}
END_TEST

START_TEST(null_is_harmless_to_free_and_ask)
{
    cm_context_free(NULL);
    cm_program_free(NULL);
    cm_executable_free(NULL);
    cm_parameters_free(NULL);
    cm_training_free(NULL);
    cm_training_stop(NULL);
    cm_error_free(NULL);
    cm_text_free(NULL, NULL);
    cm_entry entry;
    cm_port port;
    cm_compile_stats stats;
    cm_training_info info;
    cm_diagnostic diagnostic;
    ck_assert_uint_eq(cm_program_entry_count(NULL), 0);
    ck_assert_int_eq(cm_program_entry(NULL, 0, &entry), CM_INVALID_ARGUMENT);
    ck_assert_uint_eq(cm_executable_input_count(NULL) + cm_executable_output_count(NULL), 0);
    ck_assert_int_eq(cm_executable_input(NULL, 0, &port), CM_INVALID_ARGUMENT);
    ck_assert_int_eq(cm_executable_output(NULL, 0, &port), CM_INVALID_ARGUMENT);
    ck_assert_int_eq(cm_executable_stats(NULL, &stats), CM_INVALID_ARGUMENT);
    ck_assert_int_eq(cm_training_info_get(NULL, &info), CM_INVALID_ARGUMENT);
    ck_assert_uint_eq(cm_parameters_count(NULL), 0);
    ck_assert_ptr_null(cm_parameters_name(NULL, 0));
    ck_assert_uint_eq(cm_device_count(NULL), 0);
    ck_assert_ptr_null(cm_device_name(NULL, 0));
    ck_assert_int_eq(cm_context_threads(NULL), 0);
    ck_assert_ptr_null(cm_context_cache_directory(NULL));
    ck_assert_int_eq(cm_error_status(NULL), CM_OK);
    ck_assert_str_eq(cm_error_text(NULL), "");
    ck_assert_uint_eq(cm_error_count(NULL), 0);
    ck_assert_int_eq(cm_error_diagnostic(NULL, 0, &diagnostic), CM_INVALID_ARGUMENT);
    ck_assert_int_eq(cm_error_note(NULL, 0, 0, &diagnostic), CM_INVALID_ARGUMENT);
    ck_assert_ptr_null(cm_pass_name(cm_pass_count()));
    ck_assert_ptr_null(cm_pass_summary(cm_pass_count()));
}
END_TEST

START_TEST(types_and_sizes)
{
    ck_assert_str_eq(cm_dtype_name(CM_BF16), "bf16");
    ck_assert_ptr_null(cm_dtype_name((cm_dtype)0));
    ck_assert_uint_eq(cm_dtype_bytes(CM_I64), 8);
    ck_assert_uint_eq(cm_dtype_bytes((cm_dtype)99), 0);
    cm_array array = {.dtype = CM_F32, .rank = 2, .dim = {3, 5}};
    ck_assert_uint_eq(cm_array_bytes(&array), 60);
    array.dim[0] = -1;
    ck_assert_uint_eq(cm_array_bytes(&array), 0);
    array.dim[0] = INT64_MAX;
    array.dim[1] = INT64_MAX;
    ck_assert_uint_eq(cm_array_bytes(&array), 0);
    array.rank = CM_MAX_RANK + 1;
    ck_assert_uint_eq(cm_array_bytes(&array), 0);
    ck_assert_uint_eq(cm_array_bytes(NULL), 0);
    ck_assert_str_eq(cm_status_name(CM_OUT_OF_MEMORY), "out of memory");
    ck_assert_str_eq(cm_status_name((cm_status)77), "unknown status");
    ck_assert_int_eq(strncmp(cm_version(), "0.", 2), 0);
}
END_TEST

START_TEST(context_options_are_checked)
{
    cm_error *error = NULL;
    cm_context *context;
    cm_context_options options = {.size = sizeof options, .threads = -1, .cache_directory = ""};
    expect_failure(CM_INVALID_ARGUMENT, "threads", cm_context_create(&options, &context, &error));
    ck_assert_ptr_null(context);
    options.threads = 100000;
    expect_failure(CM_INVALID_ARGUMENT, "threads", cm_context_create(&options, &context, &error));
    options.threads = 3;
    options.size = 0;
    expect_ok(cm_context_create(&options, &context, &error));
    ck_assert_int_eq(cm_context_threads(context), 3);
    ck_assert_ptr_null(cm_context_cache_directory(context));
    cm_context_free(context);
}
END_TEST

START_TEST(cache_directory_is_made_and_private)
{
    cm_error *error = NULL;
    cm_context *context;
    char directory[] = "/tmp/cm-cache-XXXXXX", path[64], command[128];
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/a/b", directory);
    cm_context_options options = {.size = sizeof options, .threads = 1, .cache_directory = path};
    expect_ok(cm_context_create(&options, &context, &error));
    ck_assert_str_eq(cm_context_cache_directory(context), path);
    snprintf(command, sizeof command, "test \"$(stat -c %%a %s)\" = 700", path);
    ck_assert_int_eq(system(command), 0);
    cm_context_free(context);
    snprintf(command, sizeof command, "rm -r %s", directory);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(entries_are_listed)
{
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, axpy);
    cm_entry entry;
    ck_assert_uint_eq(cm_program_entry_count(program), 2);
    ck_assert_int_eq(cm_program_entry(program, 0, &entry), CM_OK);
    ck_assert_str_eq(entry.name, "axpy");
    ck_assert_int_eq(entry.kind, CM_ENTRY_FN);
    ck_assert_str_eq(entry.signature, "fn axpy(a: f32, x: f32[B]) -> f32[B]");
    ck_assert_ptr_nonnull(strstr(entry.doc, "A line."));
    ck_assert_int_eq(entry.line, 2);
    ck_assert_int_eq(entry.argument_count, 2);
    ck_assert_int_eq(cm_program_entry(program, 1, &entry), CM_OK);
    ck_assert_int_eq(entry.argument_count, 1);
    ck_assert_int_eq(entry.axis_count, 0);
    ck_assert_int_eq(cm_program_entry(program, 2, &entry), CM_INVALID_ARGUMENT);
    ck_assert_ptr_null(entry.name);
    cm_context_free(context);
    cm_program_free(program);
}
END_TEST

START_TEST(an_error_has_a_place)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *program;
    static const char text[] = "fn f(x: f32) -> f32 = x +\n\nfn g(x: f32) -> f32 = )\n";
    expect_status(CM_PROGRAM_ERROR, cm_load_text(context, "bad.cm", text, strlen(text), NULL, &program, &error));
    ck_assert_ptr_null(program);
    ck_assert_uint_ge(cm_error_count(error), 1);
    cm_diagnostic diagnostic;
    ck_assert_int_eq(cm_error_diagnostic(error, 0, &diagnostic), CM_OK);
    ck_assert_str_eq(diagnostic.file, "bad.cm");
    ck_assert_int_ge(diagnostic.line, 1);
    ck_assert_int_ge(diagnostic.column, 1);
    ck_assert_ptr_nonnull(diagnostic.code);
    ck_assert_ptr_nonnull(diagnostic.lesson);
    ck_assert_ptr_nonnull(strstr(cm_error_text(error), "bad.cm:"));
    ck_assert_int_eq(cm_error_diagnostic(error, cm_error_count(error), &diagnostic), CM_INVALID_ARGUMENT);
    cm_context_free(context); /* the error stands by itself */
    ck_assert_ptr_nonnull(strstr(cm_error_text(error), "error"));
    cm_error_free(error);
}
END_TEST

START_TEST(files_that_are_not_there)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *program;
    expect_failure(CM_IO_ERROR, "no-such.cm", cm_load_file(context, "/no-such.cm", NULL, &program, &error));
    ck_assert_ptr_null(program);
    cm_context_free(context);
}
END_TEST

static int read_parts(void *state, const char *path, const char **text, size_t *length)
{
    static const char part[] = "fn half(x: f32) -> f32 = x / 2\n";
    int *asked = state;
    ++*asked;
    if (!strstr(path, "part.cm"))
        return 1;
    *text = part;
    *length = strlen(part);
    return 0;
}

START_TEST(imports_come_from_the_host)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *program;
    int asked = 0;
    cm_load_options options = {.size = sizeof options, .read = read_parts, .read_state = &asked};
    static const char good[] = "import \"part.cm\" as part\nfn f(x: f32) -> f32 = part.half(x)\n";
    static const char bad[] = "import \"other.cm\" as part\nfn f(x: f32) -> f32 = part.half(x)\n";
    expect_ok(cm_load_text(context, "a.cm", good, strlen(good), &options, &program, &error));
    ck_assert_int_eq(asked, 1);
    cm_program_free(program);
    expect_failure(CM_PROGRAM_ERROR, "other.cm", cm_load_text(context, "a.cm", bad, strlen(bad), &options, &program, &error));
    static const char misspelt[] = "import std.emd\n";
    expect_failure(CM_PROGRAM_ERROR, "did you mean std.edm?",
                   cm_load_text(context, "a.cm", misspelt, strlen(misspelt), NULL, &program, &error));
    cm_context_free(context);
}
END_TEST

START_TEST(settings_are_checked)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *program;
    cm_setting setting = {"no_such_key", "3"};
    cm_load_options options = {.size = sizeof options, .settings = &setting, .setting_count = 1};
    expect_failure(CM_PROGRAM_ERROR, "no_such_key",
                   cm_load_text(context, "a.cm", axpy, strlen(axpy), &options, &program, &error));
    setting = (cm_setting){NULL, "3"};
    expect_failure(CM_INVALID_ARGUMENT, "key", cm_load_text(context, "a.cm", axpy, strlen(axpy), &options, &program, &error));
    options.settings = NULL;
    expect_failure(CM_INVALID_ARGUMENT, "settings",
                   cm_load_text(context, "a.cm", axpy, strlen(axpy), &options, &program, &error));
    cm_context_free(context);
}
END_TEST

START_TEST(check_finds_what_nobody_calls)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *good = test_program(context, axpy);
    expect_ok(cm_check(good, &error));
    cm_program *bad = test_program(context, "fn f(x: f32[A, B], y: f32[A, C]) -> f32[A, B] = x + y\n");
    expect_status(CM_PROGRAM_ERROR, cm_check(bad, &error));
    cm_error_free(error);
    cm_program *endless = test_program(context, "fn half(a: f32) -> f32 { var y = a; while y > 1.0 { y = y / 2 }; y }\n"
                                                "fn f(x: f32) -> f32 = grad(half)(x)\n");
    expect_failure(CM_PROGRAM_ERROR, "how many turns", cm_check(endless, &error));
    cm_program_free(endless);
    cm_program_free(good);
    cm_program_free(bad);
    cm_context_free(context);
}
END_TEST

START_TEST(formatting_is_stable)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    static const char text[] = "fn  f( x:f32 )->f32=x+1\n";
    char *once, *twice;
    expect_ok(cm_format(context, "a.cm", text, strlen(text), &once, &error));
    ck_assert_str_ne(once, text);
    expect_ok(cm_format(context, "a.cm", once, strlen(once), &twice, &error));
    ck_assert_str_eq(once, twice);
    cm_text_free(context, once);
    cm_text_free(context, twice);
    expect_status(CM_PROGRAM_ERROR, cm_format(context, "a.cm", "fn (", 4, &once, &error));
    ck_assert_ptr_null(once);
    cm_error_free(error);
    cm_context_free(context);
}
END_TEST

START_TEST(every_stage_dumps)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, axpy);
    cm_binding binding = {"B", 8};
    cm_compile_options options = {.size = sizeof options, .bindings = &binding, .binding_count = 1};
    char *text;
    for (size_t i = 0; i < cm_pass_count(); i++) {
        ck_assert_ptr_nonnull(cm_pass_summary(i));
        if (strstr(cm_pass_summary(i), "(Vulkan)")) { /* tests/api/vulkan_test.c has them */
            expect_failure(CM_DEVICE_ERROR, "has no stage",
                           cm_dump(program, "axpy", cm_pass_name(i), &options, &text, &error));
            continue;
        }
        expect_ok(cm_dump(program, "axpy", cm_pass_name(i), &options, &text, &error));
        ck_assert_msg(strlen(text) > 10, "%s: %s", cm_pass_name(i), text);
        cm_text_free(context, text);
    }
    expect_ok(cm_dump_svg(program, "axpy", &options, &text, &error));
    ck_assert_ptr_nonnull(strstr(text, "<svg"));
    cm_text_free(context, text);
    expect_failure(CM_INVALID_ARGUMENT, "plan", cm_dump(program, "axpy", "plam", &options, &text, &error));
    expect_failure(CM_INVALID_ARGUMENT, "axpy", cm_dump(program, "axpi", "plan", &options, &text, &error));
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

START_TEST(devices_are_described)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    char *text;
    ck_assert_uint_ge(cm_device_count(context), 1);
    ck_assert_str_eq(cm_device_name(context, 0), "cpu");
    expect_ok(cm_device_describe(context, 0, &text, &error));
    ck_assert_uint_gt(strlen(text), 0);
    cm_text_free(context, text);
    expect_failure(CM_INVALID_ARGUMENT, "device", cm_device_describe(context, 99, &text, &error));
    cm_context_free(context);
}
END_TEST

static TCase *programs(void)
{
    TCase *test = tcase_create("programs");
    tcase_add_test(test, null_handles_are_refused);
    tcase_add_test(test, null_is_harmless_to_free_and_ask);
    tcase_add_test(test, types_and_sizes);
    tcase_add_test(test, context_options_are_checked);
    tcase_add_test(test, cache_directory_is_made_and_private);
    tcase_add_test(test, entries_are_listed);
    tcase_add_test(test, an_error_has_a_place);
    tcase_add_test(test, files_that_are_not_there);
    tcase_add_test(test, imports_come_from_the_host);
    tcase_add_test(test, settings_are_checked);
    tcase_add_test(test, check_finds_what_nobody_calls);
    tcase_add_test(test, formatting_is_stable);
    tcase_add_test(test, every_stage_dumps);
    tcase_add_test(test, devices_are_described);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {programs, NULL};
    return run_suite("programs", cases);
}
