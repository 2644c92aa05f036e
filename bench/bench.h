/* What the files of the benchmark program share.  It sees cm.h only, as any other host does.
 *
 *   bench.c    the list of benchmarks, and what each needs       measure.c  medians of pairs, and the lines that are printed
 *   probe.c    what the machine can do: multiplications, copies  peer.c     other programs that do the same step */
#ifndef CM_BENCH_BENCH_H
#define CM_BENCH_BENCH_H

#include "cm.h"

#include <stdbool.h>

double clock_seconds(void);

/* ---- probes: on `threads` threads, for some milliseconds ---- */

double probe_multiply_add(int threads); /* f32 operations a second, two for each fused multiply-add */
/* Bytes a second, read and written: copies from[i] to to[i] for each of `count` pairs of arrays of `size` bytes. */
double probe_copy(int threads, void *const *to, void *const *from, int count, size_t size);
size_t last_level_cache(void); /* bytes */

/* ---- pairs of measurements ---- */

enum { MOST_SAMPLES = 64 };

/* Something measured next to what it is held against, again and again: each ratio is of two that lie side by side in time. */
typedef struct Pairs {
    int count;
    double value[MOST_SAMPLES], against[MOST_SAMPLES];
} Pairs;
void pairs_add(Pairs *pairs, double value, double against);

/* One JSON object on a line: medians, and the median of the ratios.  `against` null: held against nothing. */
void print_pairs(const char *name, const char *unit, const char *against, const Pairs *pairs);
void print_value(const char *name, const char *unit, double value);

/* ---- peers: a process that does a step for each line that it is sent ---- */

typedef struct Peer Peer;
Peer *peer_start(const char *python, const char *name, const char *what, int threads, char *version,
                 size_t version_size); /* null: not to be had */
double peer_step(Peer *peer);          /* milliseconds; negative: it has ended */
void peer_stop(Peer *peer);

#endif
