/* What is computed block by block: the functions of streaming.cm at several sizes of blocks, against unfused code that stores
 * everything, in f64; and their plans, which hold no array over rows and columns. */
#include "tests/api/api_test.h"

#include <math.h>
#include <stdio.h>

enum { MOST_RESULTS = 64, LEAST_CHECKS = 15 };

static const char path[] = CM_SOURCE_DIR "/tests/api/streaming.cm";
static const int64_t block_rows[] = {1, 2, 3, 100};

typedef struct Results {
    size_t count;
    cm_port port[MOST_RESULTS];
    cm_array array[MOST_RESULTS];
} Results;

static Results run(cm_program *program, const char *entry, const cm_compile_options *options)
{
    cm_error *error;
    cm_executable *executable;
    cm_run_options run_options = {.size = sizeof run_options};
    expect_ok(cm_compile(program, entry, options, &executable, &error));
    Results results = {.count = cm_executable_output_count(executable)};
    ck_assert_uint_le(results.count, MOST_RESULTS);
    for (size_t i = 0; i < results.count; i++) {
        cm_port *port = &results.port[i];
        ck_assert_int_eq(cm_executable_output(executable, i, port), CM_OK);
        results.array[i] = (cm_array){.dtype = port->dtype, .rank = port->rank};
        memcpy(results.array[i].dim, port->dim, sizeof port->dim);
        results.array[i].data = malloc(cm_array_bytes(&results.array[i]));
    }
    expect_ok(cm_run(executable, &run_options, NULL, 0, results.array, results.count, &error));
    cm_executable_free(executable);
    return results;
}

static void results_free(Results *results)
{
    for (size_t i = 0; i < results->count; i++)
        free(results->array[i].data);
}

/* max |a - b| / max |b|, b being f64; infinite if something is not finite. */
static double difference(const cm_array *a, const cm_array *b)
{
    const double *y = b->data;
    double largest = 1e-300, error = 0;
    for (size_t i = 0; i < cm_array_bytes(b) / sizeof(double); i++) {
        double x = a->dtype == CM_F64 ? ((double *)a->data)[i] : (double)((float *)a->data)[i];
        largest = fmax(largest, fabs(y[i]));
        error = isfinite(x - y[i]) ? fmax(error, fabs(x - y[i])) : (double)INFINITY;
    }
    return error / largest;
}

static bool is_check(const cm_entry *entry)
{
    bool alone = entry->axis_count == 0 && entry->argument_count == 0;
    return entry->kind == CM_ENTRY_FN && alone && !strstr(entry->name, "large_f");
}

START_TEST(blocks_agree_with_whole_arrays)
{
    cm_context *context = test_context(2);
    cm_program *program = test_file(context, path, NULL);
    cm_entry entry;
    int checks = 0;
    for (size_t i = 0; cm_program_entry(program, i, &entry) == CM_OK; i++) {
        if (!is_check(&entry))
            continue;
        cm_compile_options whole = {.size = sizeof whole, .no_fuse = 1};
        cm_compile_options blocks = {.size = sizeof blocks, .block_rows = block_rows[_i]};
        Results wanted = run(program, entry.name, &whole), got = run(program, entry.name, &blocks);
        for (size_t k = 0; k < wanted.count; k++) {
            double error = difference(&got.array[k], &wanted.array[k]);
            ck_assert_msg(error <= 1e-11, "%s in blocks of %d: %s is off by %g", entry.name, (int)block_rows[_i],
                          wanted.port[k].name, error);
        }
        results_free(&wanted);
        results_free(&got);
        checks++;
    }
    ck_assert_int_ge(checks, LEAST_CHECKS);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

START_TEST(threads_change_no_bit)
{
    cm_compile_options options = {.size = sizeof options, .block_rows = 2};
    Results results[3];
    for (int i = 0; i < 3; i++) { /* two heads: turns at once on two threads, one after another on three */
        cm_context *context = test_context(i + 1);
        cm_program *program = test_file(context, path, NULL);
        results[i] = run(program, "several_heads", &options);
        for (size_t k = 0; k < results[0].count; k++)
            ck_assert_mem_eq(results[i].array[k].data, results[0].array[k].data, cm_array_bytes(&results[0].array[k]));
        cm_program_free(program);
        cm_context_free(context);
    }
    for (int i = 0; i < 3; i++)
        results_free(&results[i]);
}
END_TEST

/* ---- plans ---- */

/* The number of elements of the largest array in a plan that is neither input nor output of the program. */
static int64_t largest_array(const char *plan)
{
    int64_t largest = 0;
    for (const char *line = strstr(plan, "\n  b"); line; line = strstr(line + 1, "\n  b")) {
        const char *close = strchr(line, ']'), *dim = strchr(line, '[');
        int64_t count = 1;
        if (!close || close > strchr(line + 1, '\n') ||
            !(strncmp(close, "] arena", 7) == 0 || strncmp(close, "] lane", 6) == 0))
            continue;
        while (dim && dim < close) {
            count *= strtoll(dim + 1, NULL, 10);
            dim = strchr(dim + 1, ',');
        }
        largest = count > largest ? count : largest;
    }
    return largest;
}

typedef struct Stored {
    const char *entry;
    int most; /* elements of the largest array */
} Stored;

/* Rows of a block times columns, or heads of queries or values: T S = 143 would be a mask, H T S = 286 scores. */
static const Stored stored[] = {{"one_head", 65},
                                {"divided_late", 65},
                                {"divided_late_by_head", 130},
                                {"several_heads", 130},
                                {"causal", 130},
                                {"hidden_rows", 130},
                                {"soft_capped", 130},
                                {"large_scores", 130},
                                {"unit_queries", 130},
                                {"plain_sums", 130},
                                {"plain_distance", 130},
                                {"cross_entropy", 39},
                                {"sloped", 130},
                                {"dropped", 130},
                                {"picked_cross_entropy", 39},
                                {"smoothed_cross_entropy", 39},
                                {"mean_cross_entropy", 39},
                                {"masked_classes", 39},
                                {"looked_up", 130},
                                {"bias_of_heads", 130},
                                {"bias_of_all", 130},
                                {"bias_last", 130},
                                {"bias_of_sample", 130},
                                {"bias_of_sample_and_head", 65},
                                {"own_table", 130},
                                {"shared_table", 130},
                                {"table_of_places", 130},
                                {"weights_returned", 78}};

START_TEST(scores_are_not_stored)
{
    cm_error *error;
    cm_context *context = test_context(1);
    cm_program *program = test_file(context, path, NULL);
    cm_compile_options options = {.size = sizeof options, .block_rows = 2};
    char *plan;
    expect_ok(cm_dump(program, stored[_i].entry, "plan", &options, &plan, &error));
    ck_assert_msg(largest_array(plan) > 0 && largest_array(plan) <= stored[_i].most, "%s stores an array of %lld elements",
                  stored[_i].entry, (long long)largest_array(plan));
    cm_text_free(context, plan);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* ---- blocks of the size that the pass chooses ---- */

START_TEST(large_arrays_agree)
{
    cm_context *context = test_context(2);
    cm_program *program = test_file(context, path, NULL);
    cm_compile_options chosen = {.size = sizeof chosen}, whole = {.size = sizeof whole, .no_fuse = 1};
    Results got = run(program, "large_f32", &chosen), wanted = run(program, "large_f64", &whole);
    for (size_t k = 0; k < wanted.count; k++) {
        double error = difference(&got.array[k], &wanted.array[k]);
        ck_assert_msg(error <= 1e-5, "%s is off by %g", wanted.port[k].name, error);
    }
    results_free(&wanted);
    results_free(&got);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

static int64_t peak_of(cm_program *program, int64_t size)
{
    cm_error *error;
    cm_executable *executable;
    cm_compile_stats stats;
    cm_binding bindings[] = {{"L", size}, {"M", size}};
    cm_compile_options options = {.size = sizeof options, .bindings = bindings, .binding_count = 2};
    expect_ok(cm_compile(program, "large_f32", &options, &executable, &error));
    ck_assert_int_eq(cm_executable_stats(executable, &stats), CM_OK);
    cm_executable_free(executable);
    return stats.peak_bytes;
}

START_TEST(memory_grows_with_the_length)
{
    cm_context *context = test_context(1);
    cm_program *program = test_file(context, path, NULL);
    int64_t shorter = peak_of(program, 2048), longer = peak_of(program, 16384);
    ck_assert_msg(longer <= 8 * shorter + shorter / 2, "%lld bytes for 2048, %lld for 16384", (long long)shorter,
                  (long long)longer);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

static TCase *streaming(void)
{
    TCase *test = tcase_create("streaming");
    tcase_set_timeout(test, 120);
    tcase_add_loop_test(test, blocks_agree_with_whole_arrays, 0, sizeof block_rows / sizeof block_rows[0]);
    tcase_add_test(test, threads_change_no_bit);
    tcase_add_loop_test(test, scores_are_not_stored, 0, sizeof stored / sizeof stored[0]);
    tcase_add_test(test, large_arrays_agree);
    tcase_add_test(test, memory_grows_with_the_length);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {streaming, NULL};
    return run_suite("streaming", cases);
}
