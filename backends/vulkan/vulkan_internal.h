/* What the files of the Vulkan backend share.
 *
 *   vulkan.c    the backend's table of functions                  compile.c   kernels to pipelines, on all threads
 *
 *   device.c    the instance, a physical device and its queue     features.c  what may be used of a device
 *   shapes.c    which matrices it has, and whether they work      floats.c    how it treats floats
 *   proof.c     kernels that find out what drivers do not say     sizes.c     what keeps it at work
 *
 *   stages.c    what the stages of a kernel are made of           schedule.c  how a kernel is shared out: its phases
 *   tiling.c    which tiles a contraction is made of
 *
 *   phases.c    a phase as a shader: main, and around it          glsl.c      printing: lines, loops, a stage at a point
 *   sums.c      sums that threads share out or make in pieces     scans.c     running sums in pieces
 *   additions.c additions in pieces                               tiles.c     contractions by tiles in shared memory
 *   operands.c  where the elements of their operands lie          numbers.c   tiles of numbers that threads keep
 *   matrices.c  tiles of cooperative matrices                     inst.c      one instruction
 *   prelude.c   what every shader begins with                     control.c   shaders that decide and copy for control flow
 *   spirv.c     GLSL to SPIR-V, by glslang
 *
 *   layout.c    where a plan's buffers lie in device memory       windows.c   which part of it a dispatch sees
 *   instance.c  memory, transfers                                 commands.c  what is recorded and submitted
 *   execute.c   recording a plan's steps                          lost.c      which kernel a device was lost in
 *
 * All values of an instance lie in one buffer, which shaders see as words of 32 bits, through up to four windows; smaller
 * elements are cut out of words, and stored with atomic operations on theirs.  Nothing beyond Vulkan 1.1 is needed; f64 and
 * i64 need the device's features of these names.  A kernel becomes one or a few phases, each a shader; a dispatch binds a row
 * of a table, that lies behind the values and says where each argument begins.  The order of every sum is a function of the
 * kernel and of what the device has, never of what else is under way. */
#ifndef CM_BACKENDS_VULKAN_VULKAN_INTERNAL_H
#define CM_BACKENDS_VULKAN_VULKAN_INTERNAL_H

#include "backends/backend.h"

#include <pthread.h>
#include <stdatomic.h>
#include <vulkan/vulkan.h>

/* ---- rounding up ---- */

/* How many, the last of which may be less. */
static inline int64_t parts_of(int64_t count, int64_t each)
{
    return (count + each - 1) / each;
}

static inline int64_t rounded_up(int64_t count, int64_t to)
{
    return parts_of(count, to) * to;
}

/* ---- the device (device.c) ---- */

typedef enum Feature {
    FEATURE_f64,
    FEATURE_i64,
    FEATURE_storage16,
    FEATURE_storage8,
    FEATURE_subgroups,
    FEATURE_matrices,
    FEATURE_float_controls,
    FEATURES,
} Feature;

/* Cooperative matrices as the device and glslang have them; by hand each thread has all of a matrix, to test what is around
 * them on a device without. */
typedef enum MatrixForm { MATRICES_NONE, MATRICES_KHR, MATRICES_NV, MATRICES_BY_HAND, MATRIX_FORMS } MatrixForm;

typedef struct MatrixShape { /* m x k by k x n, of f16; sums are f32 */
    int m, n, k;
} MatrixShape;

enum { MATRICES_SUBGROUPS = 4 }; /* of a workgroup that multiplies matrices */

typedef struct Matrices {
    MatrixForm form; /* the one that is used, in this shape */
    MatrixShape shape;
    bool has[MATRIX_FORMS]; /* the device does, of some shape */
    int threads;            /* of a subgroup */
} Matrices;

typedef struct Sizes Sizes;

enum { FLOAT_MODES = 4 };

struct Device {
    Arena *arena;
    DeviceOptions options;
    VkInstance instance;
    VkDebugUtilsMessengerEXT messenger; /* of the validation layer, if it is asked for */
    atomic_int messages;                /* that it has given */
    VkPhysicalDevice physical;
    VkPhysicalDeviceProperties properties;
    VkPhysicalDeviceFeatures features; /* those that are used */
    bool subgroups_fold;               /* by arithmetic */
    bool stores_16, stores_8;          /* numbers of so many bits, alone */
    bool fuses, fuses_f64;             /* fma rounds once */
    bool float_controls;               /* some of these can be asked for: infinities, subnormal numbers, rounding */
    bool float_modes[FLOAT_MODES];
    Matrices matrices;
    bool may_use[FEATURES]; /* if the device has them */
    double most_turns;      /* of loops of a thread, that the driver takes; 0: any number */
    const Sizes *sizes;     /* that schedules go by (sizes.h) */
    bool is_minimal;        /* it pretends to have no more than every device must have */
    uint32_t clock_bits;    /* of timestamps of the queue; 0: it has none */
    VkDevice logical;
    uint32_t family;                     /* of the queue */
    uint32_t device_memory, host_memory; /* types: of arrays, and of what the host and the device both see */
    bool host_sees_all;                  /* the host sees arrays, too */
    int64_t memory_bytes;                /* the most that one instance can have */
    int64_t window_bytes;                /* the most that a shader sees through one window */
    int64_t row_alignment;               /* of rows of a table */
    VkQueue queue;
    pthread_mutex_t queue_lock;
    VkDescriptorSetLayout set_layout;
    VkPipelineLayout pipeline_layout;
    VkPipelineCache pipelines;
    size_t pipelines_size;     /* of what the cache on disk has of them */
    atomic_bool said_not_kept; /* that the cache cannot be written: once is enough */
};

const char *device_open(Arena *arena, Device *device); /* fills what is empty; close it also after a failure */
void device_close(Device *device);
const char *device_others(Arena *arena, const Device *device); /* names of those that were not chosen */
/* The reason for a result that is none of success, as "what: VK_ERROR_..". */
const char *device_reason(Arena *arena, const char *what, VkResult result);
bool device_has_extension(const Device *device, const char *name);
const char *features_read(Arena *arena, Device *device); /* null, or which of those that are to be left out is none */

/* ---- which matrices (shapes.c) ---- */

/* What has to be asked for when the device is opened so that its matrices can be used. */
typedef struct MatrixNeeds {
    VkPhysicalDeviceShaderFloat16Int8Features halves;
    VkPhysicalDeviceVulkanMemoryModelFeatures memory_model;
    VkPhysicalDeviceSubgroupSizeControlFeaturesEXT sizes;
    VkPhysicalDeviceCooperativeMatrixFeaturesNV nv;
#ifdef VK_KHR_cooperative_matrix
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR khr;
#endif
} MatrixNeeds;

/* Finds out what the device has.  Extensions are added to those that are there; returns the first of a chain that ends with
 * `next`. */
void *matrices_ask(Device *device, MatrixNeeds *needs, const char **extensions, uint32_t *count, void *next);
/* Takes the first shape that multiplies right; of an open device.  Says in the log why none does. */
void matrices_choose(Arena *arena, Device *device);

/* ---- what is found out by running kernels (proof.c) ---- */

/* Of a device that has just been opened.  Null, or why it cannot be used, in the arena. */
const char *proof_device(Arena *arena, Device *device);
/* Null, or why the kernel does not run; its arguments are those that are read, then those that are written. */
const char *proof_run(Arena *arena, Device *device, const char *text, void *const *inputs, void *const *outputs);

/* ---- floats (floats.c) ---- */

void floats_ask(Device *device);
void floats_print(const Device *device, bool f64, Text *out); /* what the head of a shader says of them */
/* Finds out what fma is.  Null, or why a small kernel does not run. */
const char *floats_try(Arena *arena, Device *device);
/* Whether fma of f32 or f64 rounds once: the device's own, which shaders have from then on if it does; or the one that they
 * have instead. */
const char *floats_fuse(Arena *arena, Device *device, DType dtype, bool own, bool *fuses);

/* ---- kernels as shaders (schedule.c, phases.c, prelude.c, spirv.c) ---- */

typedef struct Schedule Schedule; /* schedule.h */
typedef struct Phase Phase;

/* `window`: by argument, scratch behind them; null: one window holds all.  Gives the turns that a thread takes in all loops
 * together. */
double glsl_print(Arena *arena, const Device *device, const unsigned char *window, const Schedule *schedule, int phase,
                  Text *out);
bool glsl_uses(const Kernel *kernel, DType dtype); /* in memory or in values; sums that are kept wide count as f64 */

typedef struct Prelude {
    int windows;            /* 0 .. `windows` - 1 are shown */
    int row;                /* numbers of a row of the table */
    bool f64, i64;          /* with what these need, or without */
    const char *extensions; /* lines that ask for more; may be null */
} Prelude;
void glsl_prelude(const Device *device, const Prelude *prelude, Text *out);

int64_t matrices_shared_bytes(const MatrixShape *shape); /* the most that a workgroup needs */

typedef struct Spirv {
    uint32_t *words;
    size_t count;
} Spirv;
/* Null, or what glslang says with the shader's lines numbered. */
const char *spirv_compile(Arena *arena, const char *glsl, Spirv *out);

/* ---- windows (windows.c) ---- */

enum { MOST_WINDOWS = 4 }; /* storage buffers of a shader that every device has */

typedef struct Windows { /* where each begins, in bytes; those that are not needed at 0 */
    int64_t start[MOST_WINDOWS];
} Windows;

typedef struct Range { /* what a dispatch reads or writes */
    int64_t first, end;
} Range;

/* Which windows show a range: from the first on, so many that lie side by side. */
static inline int window_first(unsigned char window)
{
    return window & 15;
}
static inline int window_span(unsigned char window)
{
    return (window >> 4) + 1;
}

int windows_count(const unsigned char *window, int args);
/* Places windows over the ranges, and says which ones show each.  False: they lie too far apart, or are too long. */
bool windows_place(Arena *arena, const Device *device, int64_t bytes, const Range *ranges, int count, Windows *windows,
                   unsigned char *window);
/* A function whose element `at` of so many bytes is looked for in whichever of the windows shows it.  `head` ends behind the
 * brace, with `at` known; what is done there is `before`, the window's number, `between`, the place in it, `behind`. */
void windows_print(const Device *device, unsigned char window, int size, const char *head, const char *before,
                   const char *between, const char *behind, Text *out);
int windows_shortest(const Range *ranges, const bool *left_out, int count); /* of those that are not left out; or -1 */

/* ---- shaders that decide and copy (control.c) ---- */

typedef enum ControlKind {
    CONTROL_GATE, /* sets the numbers of groups of all dispatches of a region, by a condition */
    CONTROL_COPY, /* of an array, or of a piece of one, or zeros */
} ControlKind;

typedef enum GateMode { GATE_OPEN, GATE_IF, GATE_UNLESS, GATE_WHILE_BELOW } GateMode;

/* Rows of the table.  Places of predicates and slots are in words, of elements in their own size, each from its window on. */
enum { GATE_MODE, GATE_OUTER, GATE_OWN, GATE_CONDITION, GATE_SLOTS, GATE_SLOT_COUNT, GATE_ROW };
enum { COPY_FROM, COPY_TO, COPY_ZERO, COPY_UNIT, COPY_COUNT, COPY_RANK, COPY_DIMS, COPY_ROW = COPY_DIMS + 2 * IR_MAX_RANK };
/* Arguments: what they have windows for. */
enum { GATE_ARG_CONTROL, GATE_ARG_CONDITION, GATE_ARGS };
enum { COPY_ARG_FROM, COPY_ARG_TO, COPY_ARGS };

enum { MOST_GROUPS_A_LINE = 65535 }; /* workgroups of a dispatch along x, on every device */
enum { SLOT_WORDS = 4 }; /* groups along x, y, z, as a dispatch reads them; and along x if it is not to be left out */

void control_print(const Device *device, ControlKind kind, const unsigned char *window, Text *out);

/* ---- executables ---- */

typedef struct Shaders {  /* of a kernel as some launches see it; or one of control flow */
    const Kernel *kernel; /* null: of control flow */
    ControlKind control;
    unsigned char *window; /* by argument */
    const Schedule *schedule;
    VkPipeline *pipeline; /* by phase */
} Shaders;

typedef struct Dispatch {
    int shaders, windows; /* which of the layout */
    uint32_t row;         /* in bytes from the start of the table */
    int64_t groups;       /* of a shader of control flow; a kernel's phases have their own */
    int slot;             /* of its first phase, in words from the start of control; -1: its numbers of groups are fixed */
} Dispatch;
typedef LIST(Dispatch) Dispatches;

typedef struct Groups {
    uint32_t x, y;
} Groups;
Groups dispatch_groups(const Shaders *shaders, const Dispatch *dispatch, int phase); /* x is 0: there is nothing to do */

/* Steps as in the plan, with what is known of each before it runs. */
typedef struct LaidSteps LaidSteps;
typedef struct LaidStep {
    const PlanStep *step;
    Dispatch launch;                          /* LAUNCH; COPY and FILL_ZERO in a region */
    Dispatches gather, scatter;               /* LAUNCH: copies of arguments that lie too far from the others, and back */
    Dispatches enter, turn, rows;             /* copies of loops in a region: as in step->carries, step->rows */
    Dispatch gate, test_gate, otherwise_gate; /* of `body`, `test`, `otherwise`, if the device decides about them */
    Dispatch again_gate;                      /* WHILE: of `test` behind a turn */
    int predicate;                            /* of `body`, in words from the start of control */
    LaidSteps *test, *body, *otherwise;
} LaidStep;
struct LaidSteps {
    LIST(LaidStep) list;
    bool in_region; /* what the device decides about: copies are dispatches, too */
};

typedef struct Layout {
    int64_t *offset; /* by buffer of the plan, in bytes, 64-aligned */
    bool *written;   /* by buffer: an input that steps write to goes back to the host */
    int64_t scratch, scratch_bytes;
    int64_t meeting, meeting_bytes;  /* where arguments of a launch are copied that lie too far from its others */
    int64_t control_offset;          /* predicates and slots */
    LIST(uint32_t) control;          /* as they are at first */
    int64_t table_offset, row_bytes; /* of the longest row */
    LIST(uint32_t) table;
    int64_t bytes; /* of everything */
    LaidSteps *steps;
    LIST(Shaders) shaders;
    LIST(Windows) windows;
} Layout;

/* Null, or why the plan does not fit the device, in the first arena. */
const char *layout_plan(Arena *messages, Arena *arena, const Device *device, const Plan *plan, Layout *layout);
bool layout_decides(const Plan *plan, const PlanStep *step); /* a loop or branch of which the host does not know in advance */

struct Executable {
    Arena *arena;
    Device *device;
    const Plan *plan;
    Layout layout;
    ProfilePlan *profile; /* null: launches are not timed */
};

/* What the device lacks for the kernel, or null. */
const char *compile_check(Arena *arena, const Device *device, const Kernel *kernel);
/* Fills the pipelines of made->layout.shaders; those that there are then are the caller's to destroy, also after a failure. */
const char *compile_shaders(Arena *arena, Executable *made, CompileStats *stats);

/* ---- instances (instance.c, commands.c) ---- */

typedef struct Block { /* of memory, with a buffer over all of it */
    VkBuffer buffer;
    VkDeviceMemory memory;
    unsigned char *mapped; /* null: the host does not see it */
    int64_t bytes;
} Block;

typedef struct Transfer {           /* of an array of the host */
    int64_t offset, staging, bytes; /* in arrays; in the block that both see, if the host does not see arrays */
    void *host;
    bool up;   /* to the device */
    int input; /* which one, or -1 */
} Transfer;

enum { MOST_RECORDINGS = 256 }; /* of a submission */

typedef struct Timed { /* a dispatch of a launch */
    ProfileRow *row;
    bool goes_on; /* it is not the launch's first */
} Timed;

typedef struct Recording { /* a command buffer */
    VkCommandBuffer commands;
    int count;         /* of commands */
    VkQueryPool clock; /* of launches, if they are timed: a query before and one behind each dispatch */
    Timed *timed;      /* those that are recorded */
    int timed_count;
} Recording;

struct Instance {
    Arena *arena;
    Executable *executable;
    Block arrays, staging;
    Block begun; /* one word: BEGUN_LAUNCH of the launch that began last, or 0 */
    VkBufferView begun_view;
    VkDescriptorPool descriptors;
    VkDescriptorSet *sets; /* by windows of the layout */
    VkCommandPool pool;
    Recording recordings[MOST_RECORDINGS];
    int recording_count;
    int used;          /* of them: what is or was submitted together */
    bool is_open;      /* the last one that is used */
    bool is_submitted; /* what is recorded next takes their place */
    VkFence fence;
    int submissions;   /* of the present run */
    int64_t submitted; /* when the last one was, if launches are timed */
    int64_t waited;    /* nanoseconds of the present run */
    bool is_whole;     /* the commands are those of a whole run, with the transfers that are recorded */

    ReadAhead ahead;       /* its functions are null: nothing is read ahead */
    VkEvent uploaded;      /* set by the commands when what goes up has been read; the host may write there again */
    bool *staged;          /* by input: it lies where run `staged_number` reads it */
    int64_t staged_number; /* -1: none does */

    Transfer *transfers, *recorded_transfers;
    int transfer_count, recorded_count;
    int64_t transfer_end; /* of the block that both see */
};

VkResult block_open(const Device *device, Block *block, int64_t bytes, uint32_t memory_type, bool map);
void block_close(const Device *device, Block *block);

/* Where the next command is recorded, which sees what was recorded before. */
VkResult instance_next_command(Instance *instance, VkCommandBuffer *commands);
void instance_free_recordings(Instance *instance);
VkResult instance_dispatch(Instance *instance, const Dispatch *dispatch, int turn, int launch); /* -1: none that is timed */
VkResult instance_finish(Instance *instance); /* submits what is recorded, and waits */
VkResult instance_submit(Instance *instance); /* what was recorded before, once more; does not wait */
VkResult instance_wait(Instance *instance);   /* for what is submitted */
/* Lists what a run moves, and makes room for it. */
VkResult instance_place(Instance *instance, void *const *inputs, void *const *outputs, const bool *resident);
VkResult instance_record_transfers(Instance *instance, bool up);
void instance_move(const Instance *instance, bool up); /* the host's part of the transfers */
VkResult instance_fetch(Instance *instance, void *const *inputs, const bool *resident);
VkResult instance_rewind_ahead(Instance *instance); /* before the commands are submitted once more */
void instance_read_ahead(Instance *instance);       /* while they are under way */
/* Submits what is recorded; then the number that lies there. */
VkResult instance_read_number(Instance *instance, int64_t offset, void *number, size_t size);

/* ---- a device that is lost (lost.c) ---- */

enum { BINDING_ROW = MOST_WINDOWS, BINDING_BEGUN, BINDINGS }; /* behind the windows */
enum { BEGUN_BYTES = 4 };
#define BEGUN_LAUNCH(step) ((uint32_t)(step)->launch + 1)

VkResult lost_open(Instance *instance);
void lost_close(Instance *instance);
void lost_forget(Instance *instance); /* before what is recorded is submitted */
/* As device_reason; of a device that is lost, with the kernel that began last and its place in the program. */
const char *lost_reason(Arena *arena, const Instance *instance, VkResult result);

/* ---- running ---- */

const char *execute_vulkan_instantiate(Arena *arena, Executable *executable, Instance **instance);
const char *execute_vulkan_run(Arena *arena, Instance *instance, void *const *inputs, void *const *outputs,
                               const bool *resident);
const char *execute_vulkan_fetch(Arena *arena, Instance *instance, void *const *inputs, const bool *resident);
void execute_vulkan_read_ahead(Instance *instance, const ReadAhead *ahead);
void execute_vulkan_discard(Instance *instance);

#endif
