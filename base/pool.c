/* Pool: fork and join.  Workers spin on a generation counter for a while after each job, then sleep.
 *
 * Each worker has a share of the tasks, in order, and takes it in grains; who is done takes grains of the others' shares.  So
 * nobody waits for a thread that the system lets wait: a job ends when its tasks are taken and those inside it have come out,
 * and a worker that wakes too late finds it closed. */
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    CACHE_LINE = 128,          /* two lines: hardware fetches them in pairs */
    SPIN_NANOSECONDS = 200000, /* waking a sleeping thread costs a fifth of this in a virtual machine */
    SPIN_CROWDED = 1000,       /* with more threads than cores a spinning thread may hold up the one it waits for */
    SPINS_PER_LOOK = 64,       /* turns between two looks at the clock */
    MAX_CORES = 1 << 16,
    GRAINS = 16, /* in a share */
};

typedef struct Worker {
    _Alignas(CACHE_LINE) _Atomic bool inside; /* may be at tasks of the present job */
    Pool *pool;
    int index;
    _Alignas(CACHE_LINE) _Atomic int64_t next; /* the first task of its share that nobody has taken */
    int64_t end;                               /* of its share */
} Worker;

struct Pool {
    _Alignas(CACHE_LINE) _Atomic uint64_t generation; /* bumped for each job */
    _Atomic int parked;                               /* workers that sleep or are about to */
    _Atomic bool stop;
    _Atomic bool open; /* tasks may be taken; the job is written before it opens and stays until all are out */
    PoolWork *work;
    void *state;
    int64_t grain;

    _Alignas(CACHE_LINE) int threads; /* the caller included */
    int64_t spin_nanoseconds;
    Worker *workers;          /* [1, threads); worker 0 is whoever calls */
    pthread_t *ids;           /* of workers [1, threads) */
    _Atomic pthread_t caller; /* the thread inside pool_run, while `has_caller` */
    _Atomic bool has_caller;
    pthread_mutex_t callers; /* one job at a time */
    pthread_mutex_t park_lock;
    pthread_cond_t wake;
};

static inline void pool_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t pool_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* How many cores this process may run on: its affinity mask, which may be larger than a cpu_set_t. */
static int pool_core_count(void)
{
    int found = 1;
    for (int cores = 1024; cores <= MAX_CORES; cores *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)cores);
        size_t size = CPU_ALLOC_SIZE((size_t)cores);
        if (!set) {
            return found;
        }
        bool known = sched_getaffinity(0, size, set) == 0;
        if (known) {
            found = CPU_COUNT_S(size, set);
        }
        CPU_FREE(set);
        if (known) {
            break;
        }
    }
    return found > 0 ? found : 1;
}

/* Takes grains of its own share until there are none, then of the others'. */
static void pool_take_tasks(Pool *pool, int worker)
{
    for (int i = 0; i < pool->threads; i++) {
        Worker *owner = &pool->workers[(worker + i) % pool->threads];
        while (atomic_load_explicit(&owner->next, memory_order_relaxed) < owner->end) {
            int64_t first = atomic_fetch_add_explicit(&owner->next, pool->grain, memory_order_relaxed);
            int64_t end = first + pool->grain < owner->end ? first + pool->grain : owner->end;
            if (first < end) {
                pool->work(pool->state, first, end, worker);
            }
        }
    }
}

/* Spins until the generation is no longer `seen`; false when the time for spinning is over. */
static bool pool_spin(const Pool *pool, uint64_t seen)
{
    int64_t limit = pool_clock() + pool->spin_nanoseconds;
    do {
        for (int turn = 0; turn < SPINS_PER_LOOK; turn++) {
            if (atomic_load_explicit(&pool->generation, memory_order_acquire) != seen) {
                return true;
            }
            pool_pause();
        }
    } while (pool_clock() < limit);
    return false;
}

/* `parked` rises before the last look at the generation and the caller bumps before it looks at `parked`: one of the two
 * sees the other, so no wake-up is lost. */
static void pool_park(Pool *pool, uint64_t seen)
{
    pthread_mutex_lock(&pool->park_lock);
    atomic_fetch_add(&pool->parked, 1);
    while (atomic_load(&pool->generation) == seen) {
        pthread_cond_wait(&pool->wake, &pool->park_lock);
    }
    atomic_fetch_sub(&pool->parked, 1);
    pthread_mutex_unlock(&pool->park_lock);
}

static void *pool_worker_main(void *argument)
{
    Worker *worker = argument;
    Pool *pool = worker->pool;
    for (uint64_t seen = 0;;) {
        if (!pool_spin(pool, seen)) {
            pool_park(pool, seen);
        }
        seen = atomic_load_explicit(&pool->generation, memory_order_acquire);
        if (atomic_load_explicit(&pool->stop, memory_order_acquire)) {
            return NULL;
        }
        atomic_store(&worker->inside, true); /* before the look at `open`, as the caller closes before it looks at this */
        if (atomic_load(&pool->open)) {
            pool_take_tasks(pool, worker->index);
        }
        atomic_store_explicit(&worker->inside, false, memory_order_release);
    }
}

static void pool_bump(Pool *pool)
{
    atomic_fetch_add(&pool->generation, 1);
    if (atomic_load(&pool->parked) > 0) {
        pthread_mutex_lock(&pool->park_lock);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->park_lock);
    }
}

static void pool_open(Pool *pool, int64_t count, PoolWork *work, void *state)
{
    pool->work = work;
    pool->state = state;
    pool->grain = count / pool->threads / GRAINS + 1;
    for (int i = 0; i < pool->threads; i++) {
        atomic_store_explicit(&pool->workers[i].next, count * i / pool->threads, memory_order_relaxed);
        pool->workers[i].end = count * (i + 1) / pool->threads;
    }
    atomic_store(&pool->open, true);
    pool_bump(pool);
}

/* All tasks are taken: waits for those that are still at theirs. */
static void pool_close(Pool *pool)
{
    int64_t limit = 0;
    atomic_store(&pool->open, false);
    for (int i = 1; i < pool->threads; i++) {
        for (int turn = 1; atomic_load(&pool->workers[i].inside); turn++) {
            pool_pause();
            if (turn % SPINS_PER_LOOK) {
                continue;
            }
            int64_t now = pool_clock();
            limit = limit ? limit : now + pool->spin_nanoseconds;
            if (now > limit) {
                sched_yield();
            }
        }
    }
}

/* Threads started here take no signals: those belong to the host's threads. */
static bool pool_start_workers(Pool *pool, int wanted)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int started = 1;
    for (; started < wanted; started++) {
        pool->workers[started].pool = pool;
        pool->workers[started].index = started;
        if (pthread_create(&pool->ids[started], NULL, pool_worker_main, &pool->workers[started])) {
            break;
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started < wanted) { /* the started ones wait in generation 0, so their number may still be anything */
        pool->threads = started;
    }
    return started > 1 || wanted == 1;
}

static void *pool_allocate(size_t size)
{
    size_t rounded = (size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    void *memory = aligned_alloc(CACHE_LINE, rounded);
    return memory ? memset(memory, 0, rounded) : NULL;
}

static void pool_free_memory(Pool *pool)
{
    free(pool->workers);
    free(pool->ids);
    free(pool);
}

Pool *pool_new(int threads)
{
    int cores = pool_core_count();
    int wanted = threads > 0 ? threads : cores;
    Pool *pool = pool_allocate(sizeof *pool);
    if (!pool) {
        return NULL;
    }
    pool->workers = pool_allocate((size_t)wanted * sizeof *pool->workers);
    pool->ids = calloc((size_t)wanted, sizeof *pool->ids);
    if (!pool->workers || !pool->ids) {
        pool_free_memory(pool);
        return NULL;
    }
    pool->threads = wanted;
    pool->spin_nanoseconds = wanted <= cores ? SPIN_NANOSECONDS : SPIN_CROWDED;
    pthread_mutex_init(&pool->callers, NULL);
    pthread_mutex_init(&pool->park_lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    if (!pool_start_workers(pool, wanted)) {
        pool_free(pool);
        return NULL;
    }
    return pool;
}

void pool_free(Pool *pool)
{
    if (!pool) {
        return;
    }
    atomic_store_explicit(&pool->stop, true, memory_order_release);
    pool_bump(pool);
    for (int i = 1; i < pool->threads; i++) {
        pthread_join(pool->ids[i], NULL);
    }
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->park_lock);
    pthread_mutex_destroy(&pool->callers);
    pool_free_memory(pool);
}

int pool_threads(const Pool *pool)
{
    return pool->threads;
}

/* Which worker of the pool's present job the calling thread is; negative: none. */
static int pool_self(const Pool *pool)
{
    pthread_t self = pthread_self();
    if (atomic_load_explicit(&pool->has_caller, memory_order_relaxed) &&
        pthread_equal(atomic_load_explicit(&pool->caller, memory_order_relaxed), self)) {
        return 0;
    }
    for (int i = 1; i < pool->threads; i++) {
        if (pthread_equal(pool->ids[i], self)) {
            return i;
        }
    }
    return -1;
}

void pool_run(Pool *pool, int64_t count, PoolWork *work, void *state)
{
    if (count <= 0) {
        return;
    }
    int inside = pool_self(pool);
    if (inside >= 0) {
        work(state, 0, count, inside);
        return;
    }
    pthread_mutex_lock(&pool->callers);
    atomic_store_explicit(&pool->caller, pthread_self(), memory_order_relaxed);
    atomic_store_explicit(&pool->has_caller, true, memory_order_relaxed);
    if (pool->threads == 1 || count == 1) {
        work(state, 0, count, 0);
    } else {
        pool_open(pool, count, work, state);
        pool_take_tasks(pool, 0);
        pool_close(pool);
    }
    atomic_store_explicit(&pool->has_caller, false, memory_order_relaxed);
    pthread_mutex_unlock(&pool->callers);
}
