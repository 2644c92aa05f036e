/* What the files of the Vulkan backend share.
 *
 *   device.c   the instance, a physical device and its queue      glsl.c     a kernel as GLSL: its phases and memory
 *   compile.c  kernels to pipelines, on all threads               inst.c     one instruction as GLSL
 *   spirv.c    GLSL to SPIR-V, by glslang                         prelude.c  GLSL that every shader begins with
 *   tiles.c    contractions by tiles in shared memory
 *   layout.c   where a plan's buffers lie in device memory        instance.c memory, commands, transfers
 *   vulkan.c   the backend's table of functions                   execute.c  running a plan's steps
 *
 * All values of an instance lie in one storage buffer, which shaders see as words of 32 bits; smaller elements are cut out of
 * words, and stored with atomic operations on theirs.  Nothing beyond Vulkan 1.1 is needed; f64 and i64 need the device's
 * features of these names.  A kernel becomes one or a few phases, each a shader; a dispatch passes the place of its row in a
 * table, that lies in the same buffer and says where each argument begins.  The order of every sum is a function of the kernel
 * alone. */
#ifndef CM_BACKENDS_VULKAN_VULKAN_INTERNAL_H
#define CM_BACKENDS_VULKAN_VULKAN_INTERNAL_H

#include "backends/backend.h"

#include <pthread.h>
#include <stdatomic.h>
#include <vulkan/vulkan.h>

/* ---- the device (device.c) ---- */

struct Device {
    Arena *arena;
    DeviceOptions options;
    VkInstance instance;
    VkDebugUtilsMessengerEXT messenger; /* of the validation layer, if it is asked for */
    atomic_int messages;                /* that it has given */
    VkPhysicalDevice physical;
    VkPhysicalDeviceProperties properties;
    VkPhysicalDeviceFeatures features; /* those that are used */
    bool fuses;                        /* fma rounds once; processors that stand in for a GPU round the product, too */
    bool is_minimal;                   /* it pretends to have no more than every device must have */
    uint32_t clock_bits;               /* of timestamps of the queue; 0: it has none */
    VkDevice logical;
    uint32_t family;                     /* of the queue */
    uint32_t device_memory, host_memory; /* types: of arrays, and of what the host and the device both see */
    bool host_sees_all;                  /* the host sees arrays, too */
    int64_t most_bytes;                  /* of arrays that a shader sees at once */
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
/* The reason for a result that is none of success, as "what: VK_ERROR_..". */
const char *device_reason(Arena *arena, const char *what, VkResult result);

/* ---- kernels as shaders (glsl.c, inst.c, prelude.c, spirv.c) ---- */

enum {
    GROUP_THREADS = 64,  /* threads of a workgroup: half of what every device can have */
    MOST_GROUPS = 64,    /* workgroups of a phase of rows, if its locals lie in memory */
    MOST_SHARED = 16384, /* bytes of shared memory that every device has */
    MOST_GROUPS_A_LINE = 65535,
};

typedef enum PhaseKind {
    PHASE_POINTS, /* a thread for each point of a stage's map axes */
    PHASE_SUMS,   /* a workgroup for each point, whose threads share out the points of the reduction */
    PHASE_TILES,  /* a workgroup for each tile of a contraction's results (tiles.c) */
    PHASE_ROWS,   /* a workgroup for each point of the outer axes, for all stages: where they have locals in common */
} PhaseKind;

typedef struct Phase {
    PhaseKind kind;
    int stage;      /* POINTS, SUMS, TILES */
    int64_t points; /* threads or workgroups */
    int64_t groups; /* workgroups of a dispatch */
} Phase;
typedef LIST(Phase) Phases;

Phases glsl_phases(Arena *arena, const Kernel *kernel);
/* Bytes of locals of one workgroup that do not fit into shared memory. */
int64_t glsl_scratch_bytes(const Kernel *kernel);
void glsl_print(Arena *arena, const Device *device, const Kernel *kernel, const Phase *phase, Text *out);
bool glsl_uses(const Kernel *kernel, DType dtype); /* in memory or in values; sums that are kept wide count as f64 */

/* What prints parts of a shader; lines are indented by depth. */
typedef struct GlslPrinter {
    Arena *arena;
    const Kernel *kernel;
    Text *out;
    int depth;
} GlslPrinter;
void glsl_line(GlslPrinter *printer, const char *format, ...) __attribute__((format(printf, 2, 3)));
void glsl_open(GlslPrinter *printer, const char *format, ...) __attribute__((format(printf, 2, 3))); /* a block */
void glsl_close(GlslPrinter *printer);
const KAxis *glsl_axis(const Kernel *kernel, const KStage *stage, int axis);
/* Instructions and stores behind the sums, which are s0, s1.., at the point a0, a1.. . */
void glsl_tail(GlslPrinter *printer, const KStage *stage);

/* A contraction by tiles, if it is one and large enough. */
bool tiles_choose(const Kernel *kernel, int stage, Phase *phase);
void tiles_print_shared(GlslPrinter *printer, const Phase *phase);
void tiles_print(GlslPrinter *printer, const Phase *phase);

const char *glsl_type(DType dtype);
/* Instruction `ref` of a stage as an expression over axes a0.., values v0.. and bases b0.. . */
void glsl_inst(const Kernel *kernel, const KStage *stage, KRef ref, Text *out);
void glsl_affine(const Affine *affine, Text *out);
void glsl_constant(DType dtype, double real, int64_t integer, Text *out);
void glsl_prelude(const Device *device, bool f64, bool i64, Text *out); /* with what these types need, or without */

typedef struct Spirv {
    uint32_t *words;
    size_t count;
} Spirv;
/* Null, or what glslang says with the shader's lines numbered. */
const char *spirv_compile(Arena *arena, const char *glsl, Spirv *out);

/* ---- executables ---- */

typedef struct VulkanKernel {
    Phases phases;
    VkPipeline *pipeline; /* by phase */
    int64_t scratch_bytes;
} VulkanKernel;

struct Executable {
    Arena *arena;
    Device *device;
    const Plan *plan;
    VulkanKernel *kernels; /* by kernel of the plan */
    int64_t scratch_bytes; /* of a launch, the most of all */
    ProfilePlan *profile;  /* null: launches are not timed */
};

/* What the device lacks for the kernel, or null. */
const char *compile_check(Arena *arena, const Device *device, const Kernel *kernel);
/* Fills made->kernels; pipelines that there are then are the caller's to destroy, also after a failure. */
const char *compile_kernels(Arena *arena, Executable *made, CompileStats *stats);

/* ---- layout ---- */

/* Steps as in the plan, with what is known of each before it runs. */
typedef struct LaidSteps LaidSteps;
typedef struct LaidStep {
    const PlanStep *step;
    uint32_t row; /* LAUNCH: of the table, in words from the start of the buffer */
    LaidSteps *test, *body, *otherwise;
} LaidStep;
struct LaidSteps {
    LIST(LaidStep) list;
};

typedef struct Layout {
    int64_t *offset; /* by buffer of the plan, in bytes, 64-aligned */
    bool *written;   /* by buffer: an input that steps write to goes back to the host */
    int64_t bytes;   /* of everything */
    int64_t scratch; /* where it begins */
    LaidSteps steps;
    LIST(uint32_t) table;
    int64_t table_offset;
} Layout;

Layout layout_plan(Arena *arena, const Executable *executable);

/* ---- instances (instance.c) ---- */

typedef struct Block { /* of memory, with a buffer over all of it */
    VkBuffer buffer;
    VkDeviceMemory memory;
    unsigned char *mapped; /* null: the host does not see it */
    int64_t bytes;
} Block;

typedef struct Transfer {           /* of an array of the host */
    int64_t offset, staging, bytes; /* in arrays; in the block that both see, if the host does not see arrays */
    void *host;
    bool up; /* to the device */
} Transfer;

struct Instance {
    Arena *arena;
    Executable *executable;
    Layout layout;
    Block arrays, staging;
    VkDescriptorPool descriptors;
    VkDescriptorSet set;
    VkCommandPool pool;
    VkCommandBuffer commands;
    VkFence fence;
    int recorded; /* commands since the last submission */
    bool recording;
    int submissions; /* of the present run */
    bool is_whole;   /* the commands are those of a whole run, with the transfers that are recorded */

    Transfer *transfers, *recorded_transfers;
    int transfer_count, recorded_count;
    int64_t transfer_end; /* of the block that both see */

    VkQueryPool clock;  /* of launches, if they are timed: a query before and one behind each */
    ProfileRow **timed; /* the rows of the launches that are recorded */
    int timed_count;
};

VkResult instance_next_command(Instance *instance); /* what is recorded next sees what was recorded before */
VkResult instance_finish(Instance *instance);       /* submits what is recorded, and waits */
VkResult instance_submit(Instance *instance);       /* what was recorded before, once more */
/* Lists what a run moves, and makes room for it. */
VkResult instance_place(Instance *instance, void *const *inputs, void *const *outputs, const bool *resident);
VkResult instance_record_transfers(Instance *instance, bool up);
void instance_move(const Instance *instance, bool up); /* the host's part of the transfers */
VkResult instance_fetch(Instance *instance, void *const *inputs, const bool *resident);
/* Submits what is recorded; then the number that lies there. */
VkResult instance_read_number(Instance *instance, int64_t offset, void *number, size_t size);

/* ---- running ---- */

const char *execute_vulkan_instantiate(Arena *arena, Executable *executable, Instance **instance);
const char *execute_vulkan_run(Arena *arena, Instance *instance, void *const *inputs, void *const *outputs,
                               const bool *resident);
const char *execute_vulkan_fetch(Arena *arena, Instance *instance, void *const *inputs, const bool *resident);
void execute_vulkan_discard(Instance *instance);

#endif
