/* Training with less memory than a step would take: the runs of budget.cm with a limit and without, step by step. */
#include "tests/api/api_test.h"

#include <math.h>
#include <stdio.h>

enum { STEPS = 4 };

static const char path[] = CM_SOURCE_DIR "/tests/api/budget.cm";

typedef struct Course { /* of a training */
    int64_t peak;
    double loss[STEPS], norm[STEPS];
} Course;

static Course follow(cm_training *training)
{
    Course course;
    cm_error *error;
    cm_training_info info;
    ck_assert_int_eq(cm_training_info_get(training, &info), CM_OK);
    course.peak = info.compile.peak_bytes;
    for (int i = 0; i < STEPS; i++) {
        cm_step step;
        expect_ok(cm_training_step(training, &step, &error));
        course.loss[i] = step.loss;
        course.norm[i] = step.grad_norm;
    }
    return course;
}

static Course train(cm_program *program, const char *entry, int64_t limit, int64_t block_rows)
{
    cm_error *error;
    cm_training *training;
    cm_training_options options = {.size = sizeof options, .memory_limit = limit, .block_rows = block_rows};
    expect_ok(cm_training_create(program, entry, &options, &training, &error));
    Course course = follow(training);
    cm_training_free(training);
    return course;
}

static void expect_same(const Course *wanted, const Course *got)
{
    for (int i = 0; i < STEPS; i++) {
        ck_assert_msg(fabs(got->loss[i] - wanted->loss[i]) <= 1e-5 * fabs(wanted->loss[i]), "step %d: loss %.9g, not %.9g", i,
                      got->loss[i], wanted->loss[i]);
        ck_assert_msg(fabs(got->norm[i] - wanted->norm[i]) <= 1e-4 * fabs(wanted->norm[i]), "step %d: norm %.9g, not %.9g", i,
                      got->norm[i], wanted->norm[i]);
    }
}

/* ---- what a step can do with ---- */

static const struct {
    const char *train;
    int64_t block_rows;
    double share; /* of what it takes without a limit */
} runs[] = {{"chain", 0, 0.5}, {"images", 0, 0.8}, {"images", 0, 0.5}, {"tokens", 16, 0.65}};
enum { RUNS = sizeof runs / sizeof *runs };

START_TEST(a_limit_is_kept_and_changes_nothing)
{
    cm_context *context = test_context(1);
    cm_program *program = test_file(context, path, NULL);
    Course wanted = train(program, runs[_i].train, 0, runs[_i].block_rows);
    int64_t limit = (int64_t)(runs[_i].share * (double)wanted.peak);
    Course got = train(program, runs[_i].train, limit, runs[_i].block_rows);
    ck_assert_msg(got.peak <= limit, "%s: %lld bytes, of at most %lld", runs[_i].train, (long long)got.peak, (long long)limit);
    expect_same(&wanted, &got);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

START_TEST(a_loop_over_blocks_is_run_again)
{
    cm_error *error;
    cm_context *context = test_context(1);
    cm_program *program = test_file(context, path, NULL);
    int64_t whole = train(program, "tokens", 0, 16).peak;
    cm_compile_options options = {.size = sizeof options, .memory_limit = whole * 2 / 3, .block_rows = 16};
    char *text;
    expect_ok(cm_dump(program, "tokens", "remat", &options, &text, &error));
    ck_assert_ptr_nonnull(strstr(text, " = again for "));
    cm_text_free(context, text);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

START_TEST(enough_memory_leaves_the_graph_as_it_is)
{
    cm_error *error;
    cm_context *context = test_context(1);
    cm_program *program = test_file(context, path, NULL);
    cm_compile_options free = {.size = sizeof free}, limited = {.size = sizeof limited, .memory_limit = (int64_t)1 << 40};
    char *text, *same;
    expect_ok(cm_dump(program, "images", "plan", &free, &text, &error));
    expect_ok(cm_dump(program, "images", "plan", &limited, &same, &error));
    ck_assert_str_eq(text, same);
    cm_text_free(context, text);
    cm_text_free(context, same);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* ---- who says how much ---- */

static cm_program *with_setting(cm_context *context, const char *value)
{
    cm_setting setting = {"chain_in_little.memory", value};
    cm_load_options options = {.size = sizeof options, .settings = &setting, .setting_count = 1};
    return test_file(context, path, &options);
}

START_TEST(a_train_block_says_how_much)
{
    cm_context *context = test_context(1);
    cm_program *program = test_file(context, path, NULL), *set = with_setting(context, "0.25 MB");
    Course wanted = train(program, "chain", 0, 0), little = train(program, "chain_in_little", 0, 0);
    ck_assert_int_gt(wanted.peak, 300000);
    ck_assert_int_le(little.peak, 300000);
    expect_same(&wanted, &little);
    ck_assert_int_le(train(set, "chain_in_little", 0, 0).peak, 250000);
    ck_assert_int_eq(train(set, "chain_in_little", (int64_t)1 << 40, 0).peak, wanted.peak);
    cm_program_free(set);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

START_TEST(what_cannot_be_kept_is_refused)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *program = with_setting(context, "\"1 KiB\"");
    cm_training *training;
    expect_failure(CM_PROGRAM_ERROR, "at most 1024 are allowed",
                   cm_training_create(program, "chain_in_little", NULL, &training, &error));
    expect_failure(CM_PROGRAM_ERROR, "error[memory_limit]: 'chain_in_little' needs at least",
                   cm_training_create(program, "chain_in_little", NULL, &training, &error));
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("budget");
    TCase *tcase = tcase_create("budget");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, a_limit_is_kept_and_changes_nothing, 0, RUNS);
    tcase_add_test(tcase, a_loop_over_blocks_is_run_again);
    tcase_add_test(tcase, enough_memory_leaves_the_graph_as_it_is);
    tcase_add_test(tcase, a_train_block_says_how_much);
    tcase_add_test(tcase, what_cannot_be_kept_is_refused);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
