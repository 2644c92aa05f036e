/* The Vulkan backend against the CPU's; built where the library has both.  Functions of streaming.cm, which have loops in
 * loops, reductions, contractions, random numbers and gathers, in f64; and random bits, which are equal. */
#include "tests/api/api_test.h"

#include <math.h>
#include <stdio.h>

static const char path[] = CM_SOURCE_DIR "/tests/api/streaming.cm";
static const char *const entries[] = {"one_head",    "dropped", "looked_up", "transposed_bias", "picked_cross_entropy",
                                      "table_of_all"};
enum { ENTRIES = sizeof entries / sizeof *entries, MOST_RESULTS = 32 };

static size_t run_on(cm_program *program, const char *entry, const char *device, cm_array *out)
{
    cm_error *error;
    cm_executable *executable;
    cm_compile_options options = {.size = sizeof options, .device = device};
    expect_ok(cm_compile(program, entry, &options, &executable, &error));
    size_t count = cm_executable_output_count(executable);
    ck_assert_uint_le(count, MOST_RESULTS);
    for (size_t i = 0; i < count; i++) {
        cm_port port;
        ck_assert_int_eq(cm_executable_output(executable, i, &port), CM_OK);
        out[i] = (cm_array){.dtype = port.dtype, .rank = port.rank};
        memcpy(out[i].dim, port.dim, sizeof port.dim);
        out[i].data = malloc(cm_array_bytes(&out[i]));
    }
    expect_ok(cm_run(executable, NULL, NULL, 0, out, count, &error));
    cm_executable_free(executable);
    return count;
}

static void compare(const char *entry, const cm_array *got, const cm_array *wanted)
{
    const double *x = got->data, *y = wanted->data;
    double largest = 1e-300, error = 0;
    for (size_t i = 0; i < cm_array_bytes(wanted) / sizeof(double); i++) {
        largest = fmax(largest, fabs(y[i]));
        error = isfinite(x[i] - y[i]) ? fmax(error, fabs(x[i] - y[i])) : (double)INFINITY;
    }
    ck_assert_msg(error <= 1e-9 * largest, "%s: off by %g of %g", entry, error, largest);
}

START_TEST(agrees_with_the_cpu)
{
    cm_context *context = test_context(1);
    cm_program *program = test_file(context, path, NULL);
    cm_array got[MOST_RESULTS], wanted[MOST_RESULTS];
    size_t count = run_on(program, entries[_i], "vulkan", got);
    ck_assert_uint_eq(count, run_on(program, entries[_i], "cpu", wanted));
    for (size_t i = 0; i < count; i++) {
        compare(entries[_i], &got[i], &wanted[i]);
        free(got[i].data);
        free(wanted[i].data);
    }
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

START_TEST(random_bits_are_equal)
{
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, "fn bits() { let x ~ uniform[T: 1000]\n x }\n");
    cm_array got[MOST_RESULTS], wanted[MOST_RESULTS];
    run_on(program, "bits", "vulkan", got);
    run_on(program, "bits", "cpu", wanted);
    ck_assert_mem_eq(got[0].data, wanted[0].data, cm_array_bytes(&wanted[0]));
    free(got[0].data);
    free(wanted[0].data);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

static TCase *vulkan(void)
{
    TCase *test = tcase_create("vulkan");
    tcase_set_timeout(test, 120);
    tcase_add_loop_test(test, agrees_with_the_cpu, 0, ENTRIES);
    tcase_add_test(test, random_bits_are_equal);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {vulkan, NULL};
    return run_suite("vulkan", cases);
}
