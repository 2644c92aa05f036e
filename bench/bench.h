/* What the files of the benchmark program share.  It sees cm.h only, as any other host does.
 *
 *   bench.c    the list of benchmarks; those of kernels and compiling  derivative.c  those of derivatives, steps and peers
 *   kernel.c   a compiled entry with made-up values                    measure.c     medians of pairs, the lines printed
 *   probe.c    what the machine can do: multiplications, copies        peer.c        other programs that do the same step
 *   device.c   a step and kernels on a Vulkan device                   device_probe.c  what such a device can do
 *                                                                      matrix_probe.c  and its cooperative matrices */
#ifndef CM_BENCH_BENCH_H
#define CM_BENCH_BENCH_H

#include "cm.h"

#include <stdbool.h>

#define KERNELS CM_SOURCE_DIR "/bench/kernels.cm"
#define NETWORKS CM_SOURCE_DIR "/bench/networks.cm"
#define ICT CM_SOURCE_DIR "/examples/ict.cm"
#define SCM CM_SOURCE_DIR "/examples/scm.cm"

enum { SAMPLES = 15, STEP_SAMPLES = 9 };

typedef struct Bench {
    const char *python; /* null: no peers */
    cm_context *context;
    int threads;
    char *const *names;
    int name_count;
} Bench;

bool is_wanted(const Bench *bench, const char *name);
void bench_derivatives(const Bench *bench);
void bench_device(const Bench *bench);
double step_milliseconds(void *training);

/* ---- failures end the program ---- */

_Noreturn void fail(const char *reason);
/* By address: a call that is checked sets the error after its other arguments may have been read. */
void check(cm_status status, cm_error **error);
void *allocate(size_t size);

double clock_seconds(void);

/* ---- kernels: an entry of a file, with its weights as first drawn and values between -1 and 1 for all else ---- */

enum { MOST_INPUTS = 8, MOST_SETS = 64 }; /* an entry with more arguments ends the program */

/* Arguments and results of one run; several sets lie in memory at once where runs are to find nothing in the cache. */
typedef struct Set {
    cm_input inputs[MOST_INPUTS];
    cm_array *results;
} Set;

typedef struct Kernel {
    cm_executable *executable;
    cm_parameters *weights;
    int64_t weight_count, peak_bytes; /* numbers in all weights; memory of a run besides what goes in and comes out */
    size_t input_count, result_count;
    int set_count;
    Set sets[MOST_SETS];
} Kernel;

/* `bytes`: that all sets together have at least; 0: one set. */
Kernel *open_kernel(const Bench *bench, const char *file, const char *entry, const cm_compile_options *options, size_t bytes);
/* The same with settings, which may be null. */
Kernel *open_kernel_set(const Bench *bench, const char *file, const char *entry, const cm_load_options *loading,
                        const cm_compile_options *options, size_t bytes);
void run_kernel(Kernel *kernel); /* once */
void close_kernel(Kernel *kernel);
/* Seconds of a run, over as many runs as take some ten milliseconds, and over each set as often. */
double time_runs(Kernel *kernel);
void check_finite(const Kernel *kernel); /* the results of the last run */

/* ---- probes: on `threads` threads, 1024 at most, for some milliseconds ---- */

double probe_multiply_add(int threads); /* f32 operations a second, two for each fused multiply-add */
/* Bytes a second, read and written: copies from[i] to to[i] for each of `count` pairs of arrays of `size` bytes. */
double probe_copy(int threads, void *const *to, void *const *from, int count, size_t size);
size_t last_level_cache(void); /* bytes */

/* ---- probes of the Vulkan device that a description of cm's names, for some tens of milliseconds ---- */

typedef struct DeviceProbe DeviceProbe;
DeviceProbe *device_probe_open(const char *description);
void device_probe_close(DeviceProbe *probe);
bool device_probe_is_processor(const DeviceProbe *probe); /* it stands in for a GPU */
double device_probe_multiply_add(DeviceProbe *probe);     /* f32 operations a second, two for each fused multiply-add */
double device_probe_copy(DeviceProbe *probe);             /* bytes a second, read and written */
bool device_probe_has_matrices(const DeviceProbe *probe);
double device_probe_matrices(DeviceProbe *probe); /* operations a second of products of f16 with sums of f32 */

/* ---- pairs of measurements ---- */

enum { MOST_SAMPLES = 64 };

/* Something measured next to what it is held against, again and again: each ratio is of two that lie side by side in time. */
typedef struct Pairs {
    double at_most; /* what the ratio is to be; 0: nothing is said of it */
    double at_least;
    int64_t peak_bytes; /* of what is measured; 0: not said */
    int count;
    double value[MOST_SAMPLES], against[MOST_SAMPLES];
} Pairs;
void pairs_add(Pairs *pairs, double value, double against);

/* One JSON object on a line: medians, and the median of the ratios.  `against` null: held against nothing. */
void print_pairs(const char *name, const char *unit, const char *against, const Pairs *pairs);
void print_value(const char *name, const char *unit, double value);

/* ---- peers: a process that does a step for each line that it is sent ---- */

typedef struct Peer Peer;
/* `weights`: how many numbers its network has to have.  Null: not to be had. */
Peer *peer_start(const char *python, const char *name, const char *what, int threads, int64_t weights, char *version,
                 size_t version_size);
double peer_step(Peer *peer); /* milliseconds; negative: it has ended */
void peer_stop(Peer *peer);

#endif
