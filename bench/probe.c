/* What the machine can do: fused multiply-adds from registers, and copies through memory, on all threads at once. */
#include "bench/bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_THREADS = 1024, ROUNDS = 3000000 };

double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- on all threads ---- */

typedef struct Share {
    void (*work)(void *state, int thread, int threads);
    void *state;
    int thread, threads;
} Share;

static void *run_share(void *argument)
{
    const Share *share = argument;
    share->work(share->state, share->thread, share->threads);
    return NULL;
}

static double seconds_on_all(int threads, void (*work)(void *state, int thread, int threads), void *state)
{
    Share shares[MOST_THREADS];
    pthread_t ids[MOST_THREADS];
    if (threads > MOST_THREADS)
        fail("the probes run on 1024 threads at most");
    double start = clock_seconds();
    for (int i = 0; i < threads; i++) {
        shares[i] = (Share){work, state, i, threads};
        if (i + 1 < threads && pthread_create(&ids[i], NULL, run_share, &shares[i]))
            fail("a thread could not be started");
    }
    run_share(&shares[threads - 1]);
    for (int i = 0; i + 1 < threads; i++)
        pthread_join(ids[i], NULL);
    return clock_seconds() - start;
}

/* ---- multiply-add: enough sums in registers to hide the latency ---- */

#define SUMS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

/* The sums are named one by one: indexed by a variable they would lie in memory. */
#define BEGIN(i) a[i] = x;
#define ADD_UP(i) y += a[i];

/* A loop of fused multiply-adds on vectors of `lanes` floats; the compiler turns a * x + y into one instruction. */
#define MULTIPLY_ADD(name, lanes, options)                                                                                     \
    typedef float name##_vector __attribute__((vector_size(4 * (lanes))));                                                     \
    options static void name(void *state, int thread, int threads)                                                             \
    {                                                                                                                          \
        (void)threads;                                                                                                         \
        name##_vector a[12], x, y;                                                                                             \
        for (int i = 0; i < (lanes); i++)                                                                                      \
            x[i] = 0.999f, y[i] = 0.001f;                                                                                      \
        SUMS(BEGIN)                                                                                                            \
        for (long round = 0; round < ROUNDS; round++) {                                                                        \
            SUMS(STEP)                                                                                                         \
        }                                                                                                                      \
        y = x - x;                                                                                                             \
        SUMS(ADD_UP)                                                                                                           \
        memcpy((float *)state + thread, &y, sizeof(float)); /* something has to be left */                                     \
    }
#define STEP(i)                                                                                                                \
    a[i] = a[i] * x + y;                                                                                                       \
    __asm__ volatile("" : "+x"(a[i]));

#if defined(__x86_64__)
MULTIPLY_ADD(by_16, 16, __attribute__((target("avx512f,fma"), optimize("fp-contract=fast"))))
MULTIPLY_ADD(by_8, 8, __attribute__((target("avx2,fma"), optimize("fp-contract=fast"))))
MULTIPLY_ADD(by_4, 4, )
#else
#undef STEP
#define STEP(i)                                                                                                                \
    a[i] = a[i] * x + y;                                                                                                       \
    __asm__ volatile("" : "+w"(a[i]));
MULTIPLY_ADD(by_4, 4, )
#endif

double probe_multiply_add(int threads)
{
    float left[MOST_THREADS];
    void (*work)(void *, int, int) = by_4;
    int lanes = 4;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        work = by_16;
        lanes = 16;
    } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        work = by_8;
        lanes = 8;
    }
#endif
    return 2.0 * 12 * ROUNDS * lanes * threads / seconds_on_all(threads, work, left);
}

/* ---- copies ---- */

typedef struct Copies {
    void *const *to, *const *from;
    int count;
    size_t size;
} Copies;

static void copy_share(void *state, int thread, int threads)
{
    const Copies *copies = state;
    size_t begin = copies->size / (size_t)threads * (size_t)thread & ~(size_t)63;
    size_t end = thread + 1 == threads ? copies->size : copies->size / (size_t)threads * (size_t)(thread + 1) & ~(size_t)63;
    for (int i = 0; i < copies->count; i++)
        memcpy((char *)copies->to[i] + begin, (const char *)copies->from[i] + begin, end - begin);
}

double probe_copy(int threads, void *const *to, void *const *from, int count, size_t size)
{
    Copies copies = {to, from, count, size};
    return 2.0 * (double)size * count / seconds_on_all(threads, copy_share, &copies);
}

size_t last_level_cache(void)
{
    long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (bytes <= 0)
        bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return bytes > 0 ? (size_t)bytes : (size_t)32 << 20;
}
