/* Backend: what turns a plan into something that runs.  A backend is one struct of functions in the list below. */
#ifndef CM_BACKENDS_BACKEND_H
#define CM_BACKENDS_BACKEND_H

#include "base/pool.h"
#include "ir/plan.h"
#include "ir/profile.h"

typedef struct Device Device;         /* an open device of a backend */
typedef struct Executable Executable; /* a compiled plan: immutable, shared by threads */
typedef struct Instance Instance;     /* arena and scratch for one run at a time of an executable */

typedef struct DeviceOptions {
    Pool *pool;                  /* the context's threads: for compiling and, on the CPU, for running */
    const char *cache_directory; /* compiled code is kept there; null: nowhere */
    const Allocator *allocator;
    void (*log)(void *state, const char *message); /* may be null */
    void *log_state;
    Profile *profile; /* where launches are noted; null: they are not timed */
} DeviceOptions;

typedef struct CompileStats {
    double seconds;
    int kernels, compiled, from_cache;
} CompileStats;

/* What is known of the run after the one that is under way.  Runs have numbers, each one more than that before it. */
typedef struct ReadAhead {
    void *state;
    int64_t (*number)(void *state); /* of the run that begins or is under way */
    /* Inputs of the run after it: by input, null for those that are not known yet; waits until they are there.  Null: none is.
     * They stay as they are until that run is done. */
    void *const *(*next)(void *state);
} ReadAhead;

/* Every fallible function returns null on success, else the reason, in `arena`. */
typedef struct Backend {
    const char *name;
    const char *(*open)(Arena *arena, const DeviceOptions *options, Device **device);
    const char *(*describe)(Device *device, Arena *arena); /* one line for people: what the device is, what cm uses of it */
    void (*close)(Device *device);
    bool (*computes)(const Device *device, DType dtype); /* null: with every type */

    const char *(*compile)(Arena *arena, Device *device, const Plan *plan, Executable **executable, CompileStats *stats);
    void (*release)(Executable *executable);
    /* Text of the generated code of one kernel: `stage` is "schedule", "llvm", "asm" (CPU), "glsl" or "spirv" (Vulkan). */
    const char *(*dump)(Arena *arena, Device *device, const Kernel *kernel, const char *stage, Text *out);

    const char *(*instantiate)(Arena *arena, Executable *executable, Instance **instance); /* "not enough memory: ..." */
    /* inputs and outputs: dense row-major arrays; an output may be the same memory as an input where the plan aliases them.
     * `resident`, if not null, tells of each input whether it is what the instance's last run left: it is then neither read
     * from the host's memory nor written to it.  A device without memory of its own has no `fetch`, and all is the host's. */
    const char *(*run)(Arena *arena, Instance *instance, void *const *inputs, void *const *outputs, const bool *resident);
    /* Null: it has no use for it.  Before the first run: while the device is at work, runs take the next one's inputs to where
     * it will read them. */
    void (*read_ahead)(Instance *instance, const ReadAhead *ahead);
    /* Writes the inputs that are resident to the host's memory, as the last run left them. */
    const char *(*fetch)(Arena *arena, Instance *instance, void *const *inputs, const bool *resident);
    void (*discard)(Instance *instance);
} Backend;

extern const Backend backend_cpu;
extern const Backend backend_vulkan;

#endif
