/* cm: compile and run few-step generative models written in .cm (see docs/language.md).
 *
 *   cm_context *context;
 *   cm_program *program;
 *   cm_executable *executable;
 *   cm_error *error;
 *   if (cm_context_create(NULL, &context, &error) || cm_load_file(context, "model.cm", NULL, &program, &error) ||
 *       cm_compile(program, "denoise", NULL, &executable, &error)) {
 *       fputs(cm_error_text(error), stderr);
 *       ...
 *   }
 *   cm_run(executable, NULL, inputs, 1, results, 1, &error);
 *
 * Rules that hold for everything here:
 *
 * - A fallible function returns a cm_status; CM_OK is 0.  Its last parameter is where the reason goes: null if you do not want
 *   it, else it gets a new object on failure (free it with cm_error_free) and null on success.  If memory is short it may be
 *   null after CM_OUT_OF_MEMORY, and every cm_error function takes null.  On failure the other results are null or zero.
 * - Options are structs: zero every field that you do not set (zero is the default), and a null pointer means all defaults.
 *   `size` is sizeof the struct as you compiled it, or 0 for the layout of version 0.1.
 * - Handles are opaque.  Each keeps alive what it needs, so they may be freed in any order; freeing null does nothing.
 * - The library has no global state, prints nothing, never ends the process and installs no signal handlers.
 * - A context, a program and an executable may be used by several threads at once.  A parameter set may be read by several
 *   threads at once; who writes to it must be alone.  A training belongs to one thread at a time, cm_training_stop excepted.
 * - Text is UTF-8 and ends in a zero.  Arrays are dense and row-major, in the byte order of the machine. */
#ifndef CM_H
#define CM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CM_API __attribute__((visibility("default")))
#else
#define CM_API
#endif

#define CM_VERSION_MAJOR 0
#define CM_VERSION_MINOR 1
#define CM_VERSION_PATCH 0

CM_API const char *cm_version(void); /* of the library that is loaded: "0.1.0" */

/* ---- status and errors ---- */

typedef enum cm_status {
    CM_OK = 0,
    CM_INVALID_ARGUMENT, /* the call is wrong: a null handle, an unknown entry or pass, a malformed option */
    CM_OUT_OF_MEMORY,
    CM_PROGRAM_ERROR, /* the .cm program is at fault: the error holds its diagnostics */
    CM_MISMATCH,      /* an array, a file or a weight has another type or shape than the program wants, or is missing */
    CM_IO_ERROR,      /* a file could not be read or written, or does not hold what it should */
    CM_DEVICE_ERROR,  /* the device is absent or failed */
    CM_NOT_FINITE     /* a training step gave NaN or infinity: the error says where it arose */
} cm_status;

CM_API const char *cm_status_name(cm_status status); /* "out of memory" */

typedef struct cm_error cm_error;

CM_API void cm_error_free(cm_error *error);
CM_API cm_status cm_error_status(const cm_error *error); /* CM_OK for null */
/* All of it for people: file:line:column: error: message, the source line with the place underlined, notes.  Never null. */
CM_API const char *cm_error_text(const cm_error *error);

/* One message of it.  Lines and columns count from 1, columns in bytes; the end is just behind the last byte. */
typedef struct cm_diagnostic {
    const char *code; /* one word to search for: "axis_size"; null for a note or a failure that has no place in a program */
    const char *message;
    const char *lesson; /* the rule that was broken, in a line, or null */
    const char *file;   /* null: no place */
    int line, column, end_line, end_column;
    size_t note_count; /* where something came from, the likely fix */
} cm_diagnostic;

CM_API size_t cm_error_count(const cm_error *error);
CM_API cm_status cm_error_diagnostic(const cm_error *error, size_t index, cm_diagnostic *diagnostic);
CM_API cm_status cm_error_note(const cm_error *error, size_t index, size_t note, cm_diagnostic *diagnostic);

/* ---- context: threads, cache, devices ---- */

typedef struct cm_context cm_context;

/* Null functions mean malloc and free.  Must be safe from several threads; memory aligned as malloc's. */
typedef struct cm_allocator {
    void *(*allocate)(void *state, size_t size);
    void (*release)(void *state, void *memory);
    void *state;
} cm_allocator;

typedef struct cm_context_options {
    size_t size;
    int threads; /* 0: one for each core that this process may use; at most 1024 */
    const char
        *cache_directory;  /* compiled code is kept here.  Null: $CM_CACHE_DIR, $XDG_CACHE_HOME/cm or ~/.cache/cm; "": none */
    const char *data_path; /* where data files are looked for, separated by ':'.  Null: $CM_DATA_PATH */
    cm_allocator allocator;
    void (*log)(void *state, const char *message); /* what is worth knowing but no failure; null: not wanted */
    void *log_state;
    int profile; /* 1: launches of kernels are timed, for the functions of cm_profile */
} cm_context_options;

CM_API cm_status cm_context_create(const cm_context_options *options, cm_context **context, cm_error **error);
CM_API void cm_context_free(cm_context *context);
CM_API int cm_context_threads(const cm_context *context);
CM_API const char *cm_context_cache_directory(const cm_context *context); /* null: none */

/* A device is named as cm_compile_options.device wants it. */
CM_API size_t cm_device_count(const cm_context *context);
CM_API const char *cm_device_name(const cm_context *context, size_t index); /* null past the end */
/* A line for people, freed with cm_text_free; a device that does not answer is a failure with the reason. */
CM_API cm_status cm_device_describe(cm_context *context, size_t index, char **text, cm_error **error);

/* Of a result of std.conformance, "function.result", or of a function that did not run; texts live as long as the call that
 * tells it. */
typedef struct cm_device_trial {
    const char *name;
    cm_status status;   /* CM_OK: it ran; else `reason` says why it did not */
    const char *reason; /* or null */
    int agrees;
    int skipped;  /* 1: not tried, as the device lacks a type that it needs; `reason` says which */
    double error; /* the largest difference from what it should be, relative to the largest value of its array */
    double most;  /* that is allowed */
} cm_device_trial;

/* Runs std.conformance, which has all primitives, on the device and by the reference interpreter, and tells of each result.
 * CM_DEVICE_ERROR: one of them could not be had, or differs. */
CM_API cm_status cm_device_check(cm_context *context, size_t index, void (*tell)(void *state, const cm_device_trial *trial),
                                 void *state, cm_error **error);

/* Frees text that a function of this header allocated for you. */
CM_API void cm_text_free(cm_context *context, char *text);

/* ---- profiles: where the time of a context's runs goes, if its options ask for it ---- */

typedef struct cm_profile_row { /* a kernel, and the line of the program that it computes; texts live as long as the context */
    const char *device, *entry, *kernel;
    const char *file; /* null, and line 0: no place */
    int line;
    int64_t launches;
    double seconds; /* of all launches; those of a loop whose turns run at once count for each thread */
    int64_t bytes;  /* of one launch: each argument read or written once */
    double flops;   /* of one launch */
} cm_profile_row;

/* The rows that were launched, in the order of compiling; past the end CM_INVALID_ARGUMENT.  Call these while nothing runs. */
CM_API cm_status cm_profile_get(const cm_context *context, size_t index, cm_profile_row *row);

typedef struct cm_profile_totals { /* of the runs on devices that the host sends work to, which is Vulkan's */
    int64_t runs, submissions;
    double host_seconds; /* of the host's work for them, without waiting for the device */
    int64_t bytes_up, bytes_down; /* to the device, and back */
    int64_t least_bytes; /* that the kernels of these runs could not do without: each array written once and read once */
} cm_profile_totals;
CM_API cm_status cm_profile_total(const cm_context *context, cm_profile_totals *totals);
/* A file for a viewer of traces, such as Perfetto: JSON, the launches (the first 262,144 of them) as `traceEvents`, the rows as
 * `kernels`, the totals as `runs`. */
CM_API cm_status cm_profile_save(cm_context *context, const char *path, cm_error **error);

/* ---- arrays ---- */

/* The numbers of this enumeration will not change. */
typedef enum cm_dtype {
    CM_F32 = 1,
    CM_F64,
    CM_F16,
    CM_BF16,
    CM_I32,
    CM_U32,
    CM_U8,
    CM_I64,
    CM_BOOL /* a byte, 0 or 1 */
} cm_dtype;

CM_API const char *cm_dtype_name(cm_dtype dtype); /* "f32"; null if it is none */
CM_API size_t cm_dtype_bytes(cm_dtype dtype);     /* 0 if it is none */

enum { CM_MAX_RANK = 12 };

typedef struct cm_array {
    cm_dtype dtype;
    int rank; /* 0: a scalar */
    int64_t dim[CM_MAX_RANK];
    void *data;
} cm_array;

CM_API size_t cm_array_bytes(const cm_array *array); /* of its elements; 0 if null, malformed or too large to count */

/* ---- programs ---- */

typedef struct cm_program cm_program;

/* What `--set` of the command line sets: "train.steps" = "100", a dim, a generic axis, a field of a train block. */
typedef struct cm_setting {
    const char *key;
    const char *value; /* an expression in .cm */
} cm_setting;

typedef struct cm_load_options {
    size_t size;
    const cm_setting *settings;
    size_t setting_count;
    /* Reads an imported file in place of the file system: returns 0 and text that stays valid until cm_load returns, else
     * anything but 0.  The standard library (std.*) is built in and never asked for. */
    int (*read)(void *state, const char *path, const char **text, size_t *length);
    void *read_state;
} cm_load_options;

/* Parses a program and all that it imports, and resolves names.  `name` is what messages call it; imports and data are looked
 * for beside it. */
CM_API cm_status cm_load_text(cm_context *context, const char *name, const char *text, size_t length,
                              const cm_load_options *options, cm_program **program, cm_error **error);
CM_API cm_status cm_load_file(cm_context *context, const char *path, const cm_load_options *options, cm_program **program,
                              cm_error **error);
CM_API void cm_program_free(cm_program *program);

/* Finds what can be found without running: elaborates everything, also what nobody calls, at sample sizes. */
CM_API cm_status cm_check(cm_program *program, cm_error **error);

typedef struct cm_derivatives_options {
    size_t size;
    int64_t seed; /* of the made-up values */
} cm_derivatives_options;

typedef struct cm_derivatives {
    int checked;        /* 0: it could not be, `reason` says why */
    const char *reason; /* null, or why it was not checked, or not in reverse mode; lives as long as the program, and so: */
    const char *sizes;  /* "B = 2, T = 3": of axes that got small sizes for the check; may be empty */
    double forward;     /* the worst disagreement of a tangent with differences, relative to the largest element */
    double reverse;     /* of <J' c, t> with <c, J t>, relative to the sum of magnitudes; NaN: there is no reverse mode */
    int stop_grads;     /* how many there are: forward mode is checked as if they were not */
} cm_derivatives;

/* Tries the derivatives of a function, loss, sample or eval numerically, in f64, at made-up inputs and weights: forward mode
 * against central differences, reverse mode against forward mode.  A disagreement is CM_PROGRAM_ERROR; the error names the
 * place where it arises (derivative_differs).  `entry` null: as for cm_compile. */
CM_API cm_status cm_check_derivatives(cm_program *program, const char *entry, const cm_derivatives_options *options,
                                      cm_derivatives *derivatives, cm_error **error);

/* The canonical layout of a program's text, freed with cm_text_free.  Formatting it again changes nothing. */
CM_API cm_status cm_format(cm_context *context, const char *name, const char *text, size_t length, char **formatted,
                           cm_error **error);

typedef enum cm_entry_kind {
    CM_ENTRY_FN,
    CM_ENTRY_LOSS,
    CM_ENTRY_SAMPLE,
    CM_ENTRY_EVAL,
    CM_ENTRY_TRAIN,
    CM_ENTRY_INIT /* makes the first weights of a model from a key; cm_parameters_create runs them */
} cm_entry_kind;

typedef struct cm_entry {
    cm_entry_kind kind;
    const char *name;
    const char *signature; /* as written; empty where there is none */
    const char *doc;       /* the comment above it, or null */
    int argument_count;    /* parameters without a default */
    int axis_count;        /* declared generic axes without a default size */
    int line, column;      /* 0: not of this file */
} cm_entry;

CM_API size_t cm_program_entry_count(const cm_program *program);
CM_API cm_status cm_program_entry(const cm_program *program, size_t index, cm_entry *entry);

/* ---- compiling ---- */

typedef struct cm_executable cm_executable;

typedef struct cm_binding { /* the size of a generic axis of the entry: "B", 64 */
    const char *axis;
    int64_t size;
} cm_binding;

typedef enum cm_precision {
    CM_PRECISION_PROGRAM = 0, /* as the program or its settings say */
    CM_PRECISION_EXACT,
    CM_PRECISION_FAST /* functions such as exp, sigmoid and erf of f32 by shorter polynomials */
} cm_precision;

typedef struct cm_compile_options {
    size_t size;
    const char *device; /* null: the first */
    const cm_binding *bindings;
    size_t binding_count;
    int no_fuse;          /* 1: a kernel for each node, to find a fault of the compiler */
    int64_t memory_limit; /* bytes that a run may use besides its inputs and results; 0: as the train block says, or no limit */
    cm_precision precision;
    const char *data; /* of an eval: the data set whose fields its parameters get; null: that of a run */
    int64_t
        block_rows; /* of a block where values over two axes are computed block by block; 0: chosen, and only where it pays */
} cm_compile_options;

/* To keep to a memory limit values are computed again rather than kept: results are the same, a run takes longer.  Where that
 * is not enough the program is at fault (CM_PROGRAM_ERROR), and the error says how much is needed.
 * An entry that needs more memory than the machine has free is refused here, before it runs (CM_OUT_OF_MEMORY).  It is compiled
 * once for each set of these options: a second call gives the same executable.  `entry` null: the only
 * entry of the program that is a fn, or the only one at all. */
CM_API cm_status cm_compile(cm_program *program, const char *entry, const cm_compile_options *options,
                            cm_executable **executable, cm_error **error);
CM_API void cm_executable_free(cm_executable *executable);

typedef struct cm_input {
    const char *name; /* of the input; null: the next one that the caller has to give, in order */
    cm_array array;
} cm_input;

/* The sizes of an entry's generic axes, as these inputs have them by the axes of its signature.  `bindings` has room for
 * `capacity`; `count` gets how many there are.  The names live as long as the program. */
CM_API cm_status cm_infer_bindings(cm_program *program, const char *entry, const cm_input *inputs, size_t input_count,
                                   cm_binding *bindings, size_t capacity, size_t *count, cm_error **error);

typedef struct cm_compile_stats {
    double seconds;      /* from syntax tree to machine code */
    int64_t peak_bytes;  /* what a run uses besides its inputs and results: known before the first run */
    int64_t least_bytes; /* what no placement of the same kernels could go below */
    int kernels, compiled, from_cache;
} cm_compile_stats;
CM_API cm_status cm_executable_stats(const cm_executable *executable, cm_compile_stats *stats);

/* What an input or a result is. */
typedef enum cm_role {
    CM_ROLE_ARGUMENT,  /* an input that the caller gives */
    CM_ROLE_PARAMETER, /* a weight of a model: "net.hidden.0.w" */
    CM_ROLE_STATE,     /* of the optimiser: "opt.net.hidden.0.w.m" */
    CM_ROLE_EMA,       /* the average of a weight: "ema.net.hidden.0.w" */
    CM_ROLE_DATA,      /* a batch of a field of the data, as it lies in the file */
    CM_ROLE_STEP,      /* i32: number of the training step, from 0 */
    CM_ROLE_STEPS,     /* i32: how many there will be */
    CM_ROLE_KEY,       /* u32[2]: what all random numbers of the run follow from */
    CM_ROLE_RESULT,
    CM_ROLE_LOSS,      /* f32; of a run with turns "loss.student", and so the next three */
    CM_ROLE_GRAD_NORM, /* f32 */
    CM_ROLE_FINITE,    /* bool: loss and gradient were finite; the state is updated if those of all turns were */
    CM_ROLE_TAKEN      /* bool: this was a turn of the step */
} cm_role;

typedef struct cm_port {
    cm_role role;
    const char *name;
    cm_dtype dtype;
    int rank;
    int64_t dim[CM_MAX_RANK];
    const char *label[CM_MAX_RANK]; /* names of the axes; valid as long as the executable */
} cm_port;

CM_API size_t cm_executable_input_count(const cm_executable *executable);
CM_API size_t cm_executable_output_count(const cm_executable *executable);
CM_API cm_status cm_executable_input(const cm_executable *executable, size_t index, cm_port *port);
CM_API cm_status cm_executable_output(const cm_executable *executable, size_t index, cm_port *port);

/* ---- parameter sets: named arrays ---- */

typedef struct cm_parameters cm_parameters;

/* The weights of every model that the program trains, samples or evaluates with, drawn from the seed.  Where functions give
 * one name to different models it is that of the first; cm_parameters_create_for makes those that an entry takes. */
CM_API cm_status cm_parameters_create(cm_program *program, int64_t seed, cm_parameters **parameters, cm_error **error);
CM_API cm_status cm_parameters_create_for(cm_program *program, const char *entry, int64_t seed, cm_parameters **parameters,
                                          cm_error **error);
CM_API cm_status cm_parameters_create_empty(cm_context *context, cm_parameters **parameters, cm_error **error);
/* What a file holds: .safetensors, .npy, one array of an .npz (FILE.npz:NAME), .png, idx files (.gz, *ubyte), or a folder of
 * .png.  An array without a name of its own is named after the file. */
CM_API cm_status cm_parameters_load(cm_context *context, const char *path, cm_parameters **parameters, cm_error **error);
/* The fields of a data block, whole, as they lie in their files.  `data` null: that of the only train block. */
CM_API cm_status cm_parameters_load_data(cm_program *program, const char *data, cm_parameters **parameters, cm_error **error);
CM_API void cm_parameters_free(cm_parameters *parameters);

typedef struct cm_save_options {
    size_t size;
    int columns;             /* of a picture grid; 0: as square as it goes */
    double low, high;        /* values shown as black and white; both 0: -1 and 1 if any value is negative, else 0 and 1 */
    const char *array;       /* which one goes into a file that holds one array; null: the first */
    const cm_array *beneath; /* points [N, 2] of f32 or f64, drawn under those of a scatter plot */
} cm_save_options;

/* Written whole or not at all.  By the end of the name: .safetensors (all arrays), .npy (one), .png (one: images [N, H, W, C],
 * [N, H, W] or [H, W] as a grid), .svg (one: points [N, 2] as a scatter plot). */
CM_API cm_status cm_parameters_save(const cm_parameters *parameters, const char *path, const cm_save_options *options,
                                    cm_error **error);

CM_API size_t cm_parameters_count(const cm_parameters *parameters);
CM_API const char *cm_parameters_name(const cm_parameters *parameters, size_t index); /* null past the end */
/* A view: data belong to the set, and may be written to.  Unknown names are CM_INVALID_ARGUMENT. */
CM_API cm_status cm_parameters_get(const cm_parameters *parameters, const char *name, cm_array *array, cm_error **error);
/* Copies the array in; one that was there must have the same type and shape. */
CM_API cm_status cm_parameters_set(cm_parameters *parameters, const char *name, const cm_array *array, cm_error **error);

/* ---- running ---- */

typedef struct cm_run_options {
    size_t size;
    cm_parameters *parameters; /* inputs that are not given by name are taken from here */
    int64_t seed;              /* for an input of role key that is not given */
    int64_t step, steps;       /* for inputs of role step and steps that are not given */
} cm_run_options;

/* Runs once.  Inputs come from `inputs`, else from the options; their types and shapes must be those of the ports.
 * `results` are the outputs in order, `data` being your memory of the right size; rank and dims are filled in if dtype is 0,
 * else checked.  A result whose data is null, or past result_count, is computed and dropped.  A train entry updates the
 * parameters, state and averages in `options.parameters` in place. */
CM_API cm_status cm_run(cm_executable *executable, const cm_run_options *options, const cm_input *inputs, size_t input_count,
                        cm_array *results, size_t result_count, cm_error **error);

/* ---- training ---- */

typedef struct cm_training cm_training;

typedef struct cm_training_options {
    size_t size;
    const char *device;
    int no_fuse;
    int64_t memory_limit;         /* of a step; 0: as the program says */
    const int64_t *seed;          /* null: as the program says */
    const cm_parameters *weights; /* to begin with; those it lacks, and null, are drawn from the seed */
    cm_precision precision;
    int64_t block_rows;
} cm_training_options;

/* Compiles the step, opens the data and makes the first state.  `entry` null: the only train block. */
CM_API cm_status cm_training_create(cm_program *program, const char *entry, const cm_training_options *options,
                                    cm_training **training, cm_error **error);
CM_API void cm_training_free(cm_training *training);

typedef struct cm_training_info {
    const char *name;
    int64_t step, steps;    /* done so far, and of the whole run */
    int64_t batch, samples; /* samples in the data set; 0: no data */
    int64_t seed, log_every, save_every;
    int64_t weight_count;     /* numbers in all trained weights */
    int64_t state_bytes;      /* weights, optimiser and averages */
    cm_compile_stats compile; /* of the step */
} cm_training_info;
CM_API cm_status cm_training_info_get(const cm_training *training, cm_training_info *info);

typedef struct cm_turn { /* of a step: a loss with its optimiser */
    const char *name;    /* null: the run has one loss, and no turns */
    int taken;           /* 0: it was not its step */
    double loss, grad_norm;
} cm_turn;

typedef struct cm_step {
    int64_t step;           /* its number, from 0 */
    double loss, grad_norm; /* of the last turn that was taken; nan: none was */
    int finite;
    double seconds;
    size_t turn_count;
    const cm_turn *turns; /* valid until the next step of the training */
} cm_step;

/* One step.  Batch and random numbers follow from the seed and the number of the step alone.  If loss or gradient of
 * any turn is not finite the state stays as it was, and the step is done again unfused to find the first value that was not:
 * CM_NOT_FINITE. */
CM_API cm_status cm_training_step(cm_training *training, cm_step *step, cm_error **error);

/* All that the run depends on.  A run that is loaded goes on to the same bits that it would have reached. */
CM_API cm_status cm_training_save(cm_training *training, const char *path, cm_error **error);
CM_API cm_status cm_training_load(cm_training *training, const char *path, cm_error **error);
/* A copy of what samples should use: the averaged weights if the run keeps an average, else the weights. */
CM_API cm_status cm_training_weights(cm_training *training, cm_parameters **weights, cm_error **error);

typedef struct cm_training_report {
    int64_t first_step, step; /* steps [first_step, step) were done by this call */
    double loss;              /* of the last step */
    int stopped;              /* by cm_training_stop, before the last step */
    double train_seconds;     /* of the steps, without compiling and saving */
    double images_per_second; /* samples of the batch, while training */
    double compile_seconds;
    int64_t peak_bytes; /* of a step, with the state */
} cm_training_report;

typedef struct cm_training_run_options {
    size_t size;
    const char *directory; /* gets loss.csv, loss.svg, checkpoint.safetensors, weights.safetensors; null: nothing is written */
    int resume;            /* 1: go on from the directory's checkpoint if there is one; 0: start again */
    void (*progress)(void *state, const cm_step *step, const cm_training_report *so_far); /* after each step; may be null */
    void *progress_state;
} cm_training_run_options;

/* The steps that are left, with checkpoints on the way.  A step that is not finite ends the run, with a checkpoint of the state
 * before it. */
CM_API cm_status cm_training_run(cm_training *training, const cm_training_run_options *options, cm_training_report *report,
                                 cm_error **error);
/* Ends cm_training_run after the step in progress, with a checkpoint.  Safe in a signal handler and from any thread. */
CM_API void cm_training_stop(cm_training *training);

/* ---- sampling and evaluating ---- */

typedef struct cm_sample_options {
    size_t size;
    cm_compile_options compile;
    cm_parameters *parameters; /* weights; null: an entry without models */
    int64_t seed;
    const cm_input *inputs; /* arguments of the entry */
    size_t input_count;
} cm_sample_options;

/* Compiles and runs a sample entry or a function, and gives its results by name.  `entry` null: the only sample entry. */
CM_API cm_status cm_sample(cm_program *program, const char *entry, const cm_sample_options *options, cm_parameters **results,
                           cm_error **error);

/* Runs an eval entry over a data set and averages its results, each batch by its number of samples; the last, smaller batch
 * is compiled for its own size.  `data` null: that of the program's only train block.  Its fields come by
 * its own functions.  An entry without data runs once.
 * Results are f64. */
CM_API cm_status cm_evaluate(cm_program *program, const char *entry, const char *data, const cm_sample_options *options,
                             cm_parameters **results, cm_error **error);

/* ---- looking inside ---- */

/* The stages of the compiler, in order: "build", "derive", ...; then, of the generated code, "schedule", "llvm", "asm". */
CM_API size_t cm_pass_count(void);
CM_API const char *cm_pass_name(size_t index); /* null past the end */
CM_API const char *cm_pass_summary(size_t index);

/* The program after a pass, as text, freed with cm_text_free. */
CM_API cm_status cm_dump(cm_program *program, const char *entry, const char *pass, const cm_compile_options *options,
                         char **text, cm_error **error);
/* The fused program as a picture (SVG): kernels, and the arrays that pass between them. */
CM_API cm_status cm_dump_svg(cm_program *program, const char *entry, const cm_compile_options *options, char **text,
                             cm_error **error);

#ifdef __cplusplus
}
#endif

#endif
