/* The thread pool: every task once, nested and concurrent calls, sleeping workers. */
#include "base/pool.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct Tally {
    Pool *pool;
    int *hits;       /* by task: plain ints, so the thread sanitizer sees a task that two workers do */
    int64_t *starts; /* by worker */
    int threads;
    atomic_int bad_worker;
    atomic_int inside; /* callers' jobs that run now */
    atomic_int overlaps;
} Tally;

static void tally_work(void *state, int64_t first, int64_t end, int worker)
{
    Tally *tally = state;
    if (worker < 0 || worker >= tally->threads) {
        atomic_fetch_add(&tally->bad_worker, 1);
        return;
    }
    tally->starts[worker] = first;
    for (int64_t task = first; task < end; task++) {
        tally->hits[task]++;
    }
}

static const int thread_counts[] = {1, 2, 3, 8};

START_TEST(every_task_is_done_once)
{
    Pool *pool = pool_new(thread_counts[_i]);
    ck_assert_ptr_nonnull(pool);
    ck_assert_int_eq(pool_threads(pool), thread_counts[_i]);
    enum { MOST = 1000 };
    int hits[MOST];
    int64_t starts[8];
    for (int count = 0; count < MOST; count += 1 + count / 7) {
        Tally tally = {.pool = pool, .hits = hits, .starts = starts, .threads = thread_counts[_i]};
        for (int i = 0; i < MOST; i++) {
            hits[i] = 0;
        }
        pool_run(pool, count, tally_work, &tally);
        for (int i = 0; i < MOST; i++) {
            ck_assert_int_eq(hits[i], i < count);
        }
        ck_assert_int_eq(tally.bad_worker, 0);
    }
    pool_free(pool);
}
END_TEST

typedef struct Slow {
    atomic_int done[2]; /* by worker */
} Slow;

/* All that the second worker does takes long. */
static void slow_work(void *state, int64_t first, int64_t end, int worker)
{
    Slow *slow = state;
    if (worker == 1) {
        usleep(20000);
    }
    atomic_fetch_add(&slow->done[worker], (int)(end - first));
}

START_TEST(nobody_waits_while_there_are_tasks)
{
    Pool *pool = pool_new(2);
    Slow slow = {0};
    pool_run(pool, 64, slow_work, &slow);
    ck_assert_int_eq(slow.done[0] + slow.done[1], 64);
    ck_assert_msg(slow.done[0] > 40, "%d and %d tasks", slow.done[0], slow.done[1]);
    pool_free(pool);
}
END_TEST

typedef struct Nest {
    Pool *pool;
    atomic_int total;
    atomic_int strayed; /* inner calls that ran on another worker than their outer one */
    int outer[8];       /* by worker */
} Nest;

typedef struct NestInner {
    Nest *nest;
    int worker;
} NestInner;

static void nest_inner(void *state, int64_t first, int64_t end, int worker)
{
    NestInner *inner = state;
    atomic_fetch_add(&inner->nest->total, (int)(end - first));
    atomic_fetch_add(&inner->nest->strayed, worker != inner->worker || first != 0 || end != 5);
}

static void nest_outer(void *state, int64_t first, int64_t end, int worker)
{
    Nest *nest = state;
    for (int64_t task = first; task < end; task++) {
        NestInner inner = {nest, worker};
        pool_run(nest->pool, 5, nest_inner, &inner);
    }
}

START_TEST(nested_calls_stay_on_their_worker)
{
    Nest nest = {.pool = pool_new(thread_counts[_i])};
    for (int turn = 0; turn < 50; turn++) {
        pool_run(nest.pool, 16, nest_outer, &nest);
    }
    ck_assert_int_eq(nest.total, 50 * 16 * 5);
    ck_assert_int_eq(nest.strayed, 0);
    pool_free(nest.pool);
}
END_TEST

static void exclusive_work(void *state, int64_t first, int64_t end, int worker)
{
    Tally *tally = state;
    if (worker == 0) { /* worker 0 is the caller: two at once would mean two jobs at once */
        atomic_fetch_add(&tally->overlaps, atomic_fetch_add(&tally->inside, 1) != 0);
    }
    for (int64_t task = first; task < end; task++) {
        tally->hits[task]++;
    }
    if (worker == 0) {
        atomic_fetch_sub(&tally->inside, 1);
    }
}

enum { CALLER_TURNS = 300, CALLER_TASKS = 40 };

static void *caller_main(void *argument)
{
    Tally *tally = argument;
    for (int turn = 0; turn < CALLER_TURNS; turn++) {
        pool_run(tally->pool, CALLER_TASKS, exclusive_work, tally);
    }
    return NULL;
}

START_TEST(callers_take_turns)
{
    int hits[CALLER_TASKS] = {0};
    Tally tally = {.pool = pool_new(thread_counts[_i]), .hits = hits, .threads = thread_counts[_i]};
    pthread_t callers[3];
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_create(&callers[i], NULL, caller_main, &tally), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(callers[i], NULL);
    }
    for (int i = 0; i < CALLER_TASKS; i++) {
        ck_assert_int_eq(hits[i], 3 * CALLER_TURNS);
    }
    ck_assert_int_eq(tally.overlaps, 0);
    pool_free(tally.pool);
}
END_TEST

START_TEST(sleeping_workers_wake)
{
    int hits[64] = {0};
    int64_t starts[2];
    Tally tally = {.pool = pool_new(2), .hits = hits, .starts = starts, .threads = 2};
    for (int turn = 1; turn <= 20; turn++) {
        usleep(turn % 2 ? 1000 : 200); /* long enough to park, and about as long as the spinning lasts */
        pool_run(tally.pool, 64, tally_work, &tally);
        for (int i = 0; i < 64; i++) {
            ck_assert_int_eq(hits[i], turn);
        }
    }
    pool_free(tally.pool);
}
END_TEST

START_TEST(zero_means_every_core)
{
    Pool *pool = pool_new(0);
    ck_assert_int_ge(pool_threads(pool), 1);
    pool_free(pool);
    pool_free(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool");
    TCase *tests = tcase_create("pool");
    tcase_set_timeout(tests, 60);
    int counts = sizeof thread_counts / sizeof *thread_counts;
    tcase_add_loop_test(tests, every_task_is_done_once, 0, counts);
    tcase_add_test(tests, nobody_waits_while_there_are_tasks);
    tcase_add_loop_test(tests, nested_calls_stay_on_their_worker, 0, counts);
    tcase_add_loop_test(tests, callers_take_turns, 0, counts);
    tcase_add_test(tests, sleeping_workers_wake);
    tcase_add_test(tests, zero_means_every_core);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
