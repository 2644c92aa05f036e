/* Derivatives of whole programs: every function of calculus.cm gives errors, and all of them are rounding, in fused and in
 * unfused code. */
#include "tests/api/api_test.h"

#include <math.h>

enum { MOST_RESULTS = 64, MOST_ELEMENTS = 64, LEAST_CHECKS = 30 };

static const char path[] = CM_SOURCE_DIR "/tests/api/calculus.cm";

/* The functions without parameters, and those of the model alone. */
static bool is_check(const cm_entry *entry)
{
    bool alone = entry->argument_count == 0 || (entry->argument_count == 1 && strstr(entry->signature, "(net: Small)"));
    return entry->kind == CM_ENTRY_FN && entry->axis_count == 0 && alone;
}

static void check_entry(cm_program *program, const char *name, const cm_parameters *parameters, int no_fuse)
{
    cm_error *error;
    cm_executable *executable;
    cm_compile_options options = {.size = sizeof options, .no_fuse = no_fuse};
    cm_run_options run = {.size = sizeof run, .parameters = (cm_parameters *)parameters};
    static double memory[MOST_RESULTS][MOST_ELEMENTS];
    cm_array results[MOST_RESULTS] = {{0}};
    expect_ok(cm_compile(program, name, &options, &executable, &error));
    size_t count = cm_executable_output_count(executable);
    ck_assert_uint_le(count, MOST_RESULTS);
    for (size_t i = 0; i < count; i++)
        results[i].data = memory[i];
    expect_ok(cm_run(executable, &run, NULL, 0, results, count, &error));
    for (size_t i = 0; i < count; i++) {
        cm_port port;
        ck_assert_int_eq(cm_executable_output(executable, i, &port), CM_OK);
        ck_assert_msg(port.dtype == CM_F64 && cm_array_bytes(&results[i]) <= sizeof memory[i], "%s: %s is no error", name,
                      port.name);
        for (size_t k = 0; k < cm_array_bytes(&results[i]) / sizeof(double); k++)
            ck_assert_msg(fabs(memory[i][k]) <= 1e-8, "%s: %s is %g in %s code", name, port.name, memory[i][k],
                          no_fuse ? "unfused" : "fused");
    }
    cm_executable_free(executable);
}

START_TEST(derivatives_of_programs_agree)
{
    cm_error *error;
    cm_context *context = test_context(2);
    cm_program *program = test_file(context, path, NULL);
    cm_parameters *parameters;
    expect_ok(cm_parameters_create(program, 5, &parameters, &error));
    cm_entry entry;
    int checks = 0;
    for (size_t i = 0; cm_program_entry(program, i, &entry) == CM_OK; i++) {
        if (is_check(&entry)) {
            check_entry(program, entry.name, parameters, _i);
            checks++;
        }
    }
    ck_assert_int_ge(checks, LEAST_CHECKS);
    cm_parameters_free(parameters);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

static TCase *derivatives(void)
{
    TCase *test = tcase_create("derivatives");
    tcase_add_loop_test(test, derivatives_of_programs_agree, 0, 2);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {derivatives, NULL};
    return run_suite("calculus in programs", cases);
}
