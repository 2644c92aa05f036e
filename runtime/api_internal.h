/* What the files behind cm.h share: the handles, and the one way in and out of the library.
 *
 * Every public function that can fail packs its parameters in a struct and calls api_run, which gives its body an arena and a
 * sink and catches the arena's escape: memory that runs out anywhere below comes back as CM_OUT_OF_MEMORY.  What a body
 * makes and does not hand over is kept in that struct, so that the public function can drop it whatever happened. */
#ifndef CM_RUNTIME_API_INTERNAL_H
#define CM_RUNTIME_API_INTERNAL_H

#include "backends/backend.h"
#include "base/pool.h"
#include "cm.h"
#include "frontend/program.h"
#include "passes/passes.h"
#include "runtime/array.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- calls ---- */

enum { API_MAX_BORROWED = 4 };

typedef struct ApiCall {
    jmp_buf escape;
    cm_context *context; /* null before there is one */
    Arena *arena;        /* of this call: freed when it returns */
    DiagSink diags;
    const char *reason;                  /* of a failure that is not the program's */
    Arena *borrowed[API_MAX_BORROWED];   /* arenas of handles that leave to `escape` during this call */
    int borrowed_count, borrowed_before; /* now, and when the lock was taken */
    /* Given back when the call ends, however it ends: */
    pthread_mutex_t *lock;
    cm_executable *executable; /* a reference */
    Instance *instance;        /* of instance_of */
    cm_executable *instance_of;
} ApiCall;

typedef cm_status ApiBody(ApiCall *call, void *parameters);
cm_status api_run(cm_context *context, cm_error **error, ApiBody *body, void *parameters);

/* Sets the reason and returns the status, for `return api_fail(...)`. */
cm_status api_fail(ApiCall *call, cm_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* What a backend gave as its reason, behind what was tried: CM_DEVICE_ERROR, or CM_OUT_OF_MEMORY where it says so. */
cm_status api_blame_device(ApiCall *call, const char *what, const char *reason);
/* " (did you mean NAME?)" for the known name that is near, else "". */
const char *api_suggestion(ApiCall *call, const char *word, const char *const *known, int count);
/* CM_PROGRAM_ERROR; the diagnostics say why. */
cm_status api_blame_program(ApiCall *call);
const char *api_place(ApiCall *call, const Entry *entry); /* "moons.cm:37: moons" */

/* Leaves the call with CM_OUT_OF_MEMORY. */
_Noreturn void api_no_memory(ApiCall *call);
/* For a null handle or place: an error without a context. */
cm_status api_misuse(cm_error **error, const char *reason);
/* Text for the caller, who frees it with cm_text_free. */
cm_status api_copy_text(ApiCall *call, const char *text, size_t length, char **copy);

/* The arena leaves to this call's escape until api_unlock or the end of the call. */
void api_borrow_arena(ApiCall *call, Arena *arena);
void api_lock(ApiCall *call, pthread_mutex_t *lock);
void api_unlock(ApiCall *call); /* and gives back the arenas borrowed since */

/* Reads the caller's options into `out`, `whole` bytes: what the caller's version of the struct lacks stays zero.  `size` is
 * the first field of every options struct. */
void api_read_options(void *out, size_t whole, size_t first_version, const void *options);
#define API_OPTIONS(out, options) api_read_options(&(out), sizeof(out), sizeof(out), (options))

/* ---- memory of handles: the context's allocator; zeroed; null if there is none ---- */

void *api_allocate(cm_context *context, size_t size);
void *api_allocate_aligned(cm_context *context, size_t size); /* to ARRAY_ALIGNMENT; for api_release_aligned */
void api_release(cm_context *context, void *memory);
void api_release_aligned(cm_context *context, void *memory);

/* ---- element types ---- */

bool api_dtype_in(cm_dtype dtype, DType *out); /* false if it is none */
cm_dtype api_dtype_out(DType dtype);
/* False if the array is malformed (no data pointer is asked for). */
bool api_type_in(const cm_array *array, IrType *type);
void api_type_out(const IrType *type, cm_array *array);

/* ---- context ---- */

typedef struct ContextDevice {
    const Backend *backend;
    Device *device; /* null until first used */
} ContextDevice;

enum { CONTEXT_MAX_DEVICES = 8 };

struct cm_context {
    atomic_int references;
    Allocator allocator;
    Arena *arena; /* names and paths, made with the context */
    Pool *pool;
    const char *cache_directory, *data_path;
    void (*log)(void *state, const char *message);
    void *log_state;
    Profile *profile;      /* null: not asked for */
    pthread_mutex_t mutex; /* guards the devices */
    ContextDevice devices[CONTEXT_MAX_DEVICES];
    int device_count;
};

cm_context *context_retain(cm_context *context);
void context_log(const cm_context *context, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Opens it at first use.  `name` null: the first. */
cm_status context_device(ApiCall *call, const char *name, ContextDevice **device);

/* ---- program ---- */

struct cm_program {
    atomic_int references;
    cm_context *context;
    pthread_mutex_t mutex; /* guards the arena, the elaborator and the executables */
    Arena *arena;
    Source source;
    const char *directory; /* of the file; "." for text */
    uint64_t hash;         /* of all text that was read, the library's too */
    Program *program;
    const File *file;
    const char **signatures; /* of the entries */
    const Decl **decls;      /* of the entries; null where there is none in this file */
    LIST(cm_executable *) executables;
};

cm_program *program_retain(cm_program *program);
/* The entry of that name and kind, or the only one of the kind if `name` is null.  `kind` -1: any; without a name, a fn then
 * goes before others. */
cm_status program_choose_entry(ApiCall *call, const cm_program *program, const char *name, int kind, const Entry **entry);
/* Takes the program's lock for the time of the elaboration.  `arena` is not one of the call's borrowed ones. */
cm_status program_specialise_entry(ApiCall *call, cm_program *program, Arena *arena, const Entry *entry,
                                   const cm_compile_options *options, Specialised **specialised);

/* ---- executable ---- */

struct cm_executable {
    atomic_int references;
    cm_context *context;
    Arena *arena; /* of the module, the plan and the ports; nothing is allocated in it after compiling */
    const char *key;
    const char *entry;
    const Backend *backend;
    Executable *code;
    const Port *inputs, *outputs;
    int input_count, output_count;
    int *alias; /* for each output: the input whose memory it takes over, or -1 */
    cm_compile_stats stats;
    pthread_mutex_t mutex; /* guards the idle instances */
    Instance **idle;
    int idle_count, idle_capacity;
};

cm_executable *executable_retain(cm_executable *executable);
/* On success call->executable holds the reference, until the caller takes it or api_drop_executable. */
cm_status executable_compile(ApiCall *call, cm_program *program, const Entry *entry, const cm_compile_options *options);
void api_drop_executable(ApiCall *call);
/* call->instance is one that nobody else uses. */
cm_status executable_take_instance(ApiCall *call, cm_executable *executable);
void api_drop_instance(ApiCall *call);
/* Ports joined to memory; `inputs` and `outputs` have an address for each port. */
cm_status executable_run(ApiCall *call, cm_executable *executable, void *const *inputs, void *const *outputs);
/* What cm_run does. */
cm_status executable_run_named(ApiCall *call, cm_executable *executable, const cm_run_options *options, const cm_input *inputs,
                               size_t input_count, cm_array *results, size_t result_count);
/* The same with the results added to a set; those whose names it has are dropped. */
cm_status executable_run_to_set(ApiCall *call, cm_executable *executable, const cm_run_options *options, const cm_input *inputs,
                                size_t input_count, cm_parameters *results);
const char *port_name(const Port *port);
int executable_find_input(const cm_executable *executable, const char *path);
/* For each result the input of the same path that it replaces, or -1. */
int *executable_aliases(Arena *arena, const Specialised *specialised);
/* How the passes are to lower an entry of the program. */
LowerOptions executable_lowering(const cm_program *program, const cm_compile_options *options, const Specialised *specialised,
                                 const int *alias);
const char *role_name(PortRole role);

/* ---- parameter sets ---- */

struct cm_parameters {
    cm_context *context;
    Array *arrays; /* names and data are the set's */
    int count, capacity;
};

cm_parameters *parameters_new(cm_context *context);                        /* null if memory is short */
Array *parameters_find(const cm_parameters *parameters, const char *name); /* null if absent */
/* A new zeroed array; the name must not be there yet.  Leaves through the call if memory is short. */
Array *parameters_add(ApiCall *call, cm_parameters *parameters, const char *name, IrType type);
/* Runs the init entries that make what the entry takes, or all if it is null; adds every output whose name is not in the set
 * yet. */
cm_status parameters_initialise(ApiCall *call, cm_program *program, const Entry *taker, const cm_compile_options *options,
                                uint64_t seed, cm_parameters *parameters);
const char *parameters_write(Arena *arena, const cm_parameters *parameters, const char *path, const cm_save_options *options);

/* ---- data ---- */

struct Dataset;
/* Opens the fields of a data block that the ports of role data want (all, if `executable` is null), in `arena` (with an
 * escape). Generators run once. */
cm_status dataset_open_for(ApiCall *call, cm_program *program, const DataSet *declared, const cm_executable *executable,
                           const cm_compile_options *options, Arena *arena, struct Dataset **dataset);

/* `name` null: the data of the program's only train block. */
cm_status program_choose_data(ApiCall *call, cm_program *program, const char *name, const DataSet **data);

/* ---- training ---- */

struct BatchReader;
struct TurnOut;
struct cm_training {
    cm_context *context;
    cm_program *program;
    cm_executable *executable;
    const Entry *entry;
    cm_compile_options options; /* device, no_fuse, memory_limit, precision */
    Arena *arena;               /* of the data and of the addresses below */
    struct Dataset *data;       /* null: a loss without data */
    struct BatchReader *reader;
    cm_parameters *initial; /* while the training is made */
    cm_parameters *state;   /* weights, optimiser, averages: one array for each port that is kept */
    void **in, **out;       /* by port */
    Instance *instance;     /* its own for all steps, since a device may keep the state */
    void **next_in;         /* by input: what the next step reads of the data, once it is known */
    bool *resident;         /* by input: part of the state; null: the device has no memory of its own */
    bool on_device;         /* the device has the state */
    bool is_stale;          /* and the host's copy is older */
    bool is_lost;           /* and it was not to be had: only a checkpoint helps */
    int *field;             /* by input: which field of the data, or -1 */
    int32_t step_input, steps_input;
    uint32_t key_input[2];
    struct TurnOut *turn_out; /* what the step says of each turn, and that for the caller */
    cm_turn *turns;
    int turn_count;
    int64_t step, steps, batch, log_every, save_every;
    uint64_t seed;
    atomic_int stop;
};

/* First weights of the models that start from other runs or files, where training->initial has none yet. */
cm_status training_start(ApiCall *call, cm_training *training, const TrainRun *run);
/* An instance for all steps: what comes first. */
cm_status training_take_instance(ApiCall *call, cm_training *training);
/* Runs the step on what is in training->in; the state may stay on the device (train_state.c). */
cm_status training_run_step(ApiCall *call, cm_training *training);
/* Brings the host's copy of the state up to date: before anything but a step looks at it. */
cm_status training_sync(ApiCall *call, cm_training *training);
/* The host's copy is what holds from here on. */
void training_replace_state(cm_training *training);
/* The step's inputs for `training->step` are in training->in. */
void training_place_step(cm_training *training);
/* After a step in which `turn` was not finite: says by a diagnostic where the first such value arose. */
cm_status training_replay(ApiCall *call, cm_training *training, const cm_turn *turn);
cm_status training_save(ApiCall *call, cm_training *training, const char *path);
cm_status training_load(ApiCall *call, cm_training *training, const char *path);
cm_status training_weights(ApiCall *call, cm_training *training, cm_parameters *weights);
cm_status training_step(ApiCall *call, cm_training *training, cm_step *step);

/* ---- random keys ---- */

enum { KEY_RUN = 0x72756e, KEY_INIT = 0x696e6974, KEY_TRAIN = 0x74726e, KEY_DATA = 0x64617461 };
/* The key of a run of something under a seed: each use (`purpose`) draws other numbers. */
void key_from_seed(uint64_t seed, uint32_t purpose, uint32_t key[2]);

#endif
