/* Runs a plan on the CPU: its steps in order, each kernel's tasks shared out over the threads of the pool.
 *
 * An instance owns what one run needs: the arena of values, a scratch block for each worker, a block that a launch shares.
 * Everything is allocated when the instance is made; running allocates nothing. */
#include "backends/cpu/cpu_internal.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };
static const double WORTH_SHARING = 4000; /* nanoseconds of work below which a fork costs more than it gives */

struct Instance {
    Arena *arena;
    Executable *executable;
    unsigned char *values;  /* the plan's arena */
    unsigned char *scratch; /* workers * scratch_bytes */
    unsigned char *shared;
    size_t scratch_bytes;
    void **address; /* by buffer of the plan */
};

/* ---- memory ---- */

static void *reserve(size_t bytes)
{
    if (bytes > (size_t)PTRDIFF_MAX - ALIGNMENT)
        return NULL;
    return aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT);
}

static int worker_count(const Executable *executable)
{
    return executable->device->options.pool ? pool_threads(executable->device->options.pool) : 1;
}

static void size_blocks(const Executable *executable, size_t *scratch, size_t *shared)
{
    *scratch = *shared = 0;
    for (int i = 0; i < executable->plan->kernels.count; i++) {
        const CpuKernel *kernel = &executable->kernels[i];
        if (kernel->scratch_bytes > *scratch)
            *scratch = kernel->scratch_bytes;
        if (kernel->shared_bytes > *shared)
            *shared = kernel->shared_bytes;
    }
    *scratch = (*scratch + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Addresses that do not change from run to run: values and constants. */
static void fix_addresses(Instance *instance)
{
    const Plan *plan = instance->executable->plan;
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if (buffer->place == PLACE_ARENA)
            instance->address[i] = instance->values + buffer->offset;
        else if (buffer->place == PLACE_CONSTANT)
            instance->address[i] = (void *)(uintptr_t)buffer->data; /* kernels only read constants */
    }
}

void execute_discard(Instance *instance)
{
    if (!instance)
        return;
    free(instance->values);
    free(instance->scratch);
    free(instance->shared);
    arena_free(instance->arena);
}

const char *execute_instantiate(Arena *arena, Executable *executable, Instance **out)
{
    const Plan *plan = executable->plan;
    jmp_buf escape;
    Arena *volatile kept = NULL;
    if (setjmp(escape)) {
        arena_free(kept);
        return "not enough memory";
    }
    Arena *own = kept = arena_new(executable->device->options.allocator, &escape);
    Instance *instance = arena_new_of(own, Instance);
    size_t shared, workers = (size_t)worker_count(executable);
    *instance = (Instance){.arena = own, .executable = executable};
    size_blocks(executable, &instance->scratch_bytes, &shared);
    instance->address = arena_array(own, void *, plan->buffers.count + 1);
    arena_set_escape(own, NULL);
    instance->values = reserve((size_t)plan->arena_bytes);
    instance->scratch = reserve(workers * instance->scratch_bytes);
    instance->shared = reserve(shared);
    if (!instance->values || !instance->scratch || !instance->shared) {
        execute_discard(instance);
        return arena_printf(arena, "not enough memory: '%s' needs %lld bytes for its values and %zu for scratch", plan->name,
                            (long long)plan->arena_bytes, workers * instance->scratch_bytes + shared);
    }
    fix_addresses(instance);
    *out = instance;
    return NULL;
}

/* ---- launches ---- */

typedef struct Launch {
    const Instance *instance;
    const CpuPhase *phase;
    void *const *buffers;
} Launch;

static void run_tasks(void *state, int64_t first, int64_t end, int worker)
{
    const Launch *launch = state;
    unsigned char *scratch = launch->instance->scratch + (size_t)worker * launch->instance->scratch_bytes;
    launch->phase->entry(launch->buffers, first, end, scratch, launch->instance->shared);
}

static void run_launch(const Instance *instance, const PlanStep *step)
{
    void *buffers[K_MAX_BUFFERS];
    for (int i = 0; i < step->args.count; i++)
        buffers[i] = instance->address[step->args.items[i]];
    const CpuKernel *kernel = &instance->executable->kernels[step->kernel];
    Pool *pool = instance->executable->device->options.pool;
    for (int i = 0; i < kernel->phase_count; i++) {
        Launch launch = {instance, &kernel->phases[i], buffers};
        if (!pool || launch.phase->tasks < 2 || launch.phase->work < WORTH_SHARING)
            run_tasks(&launch, 0, launch.phase->tasks, 0);
        else
            pool_run(pool, launch.phase->tasks, run_tasks, &launch);
    }
}

/* ---- control ---- */

static void run_steps(const Instance *instance, const PlanSteps *steps);

static void copy_buffer(const Instance *instance, int to, int from)
{
    if (instance->address[to] != instance->address[from])
        memcpy(instance->address[to], instance->address[from], (size_t)instance->executable->plan->buffers.items[from].bytes);
}

static void enter_loop(const Instance *instance, const PlanStep *step)
{
    for (int i = 0; i < step->carries.count; i++)
        copy_buffer(instance, step->carries.items[i].slot, step->carries.items[i].init);
}

static void end_turn(const Instance *instance, const PlanStep *step, int64_t turn)
{
    for (int i = 0; i < step->rows.count; i++) {
        const PlanRow *row = &step->rows.items[i];
        size_t bytes = (size_t)instance->executable->plan->buffers.items[row->value].bytes;
        memcpy((unsigned char *)instance->address[row->stack] + (size_t)turn * bytes, instance->address[row->value], bytes);
    }
    for (int i = 0; i < step->carries.count; i++)
        copy_buffer(instance, step->carries.items[i].slot, step->carries.items[i].next);
}

static void run_for(const Instance *instance, const PlanStep *step)
{
    int64_t trip = *(const int32_t *)instance->address[step->trip];
    if (trip > step->bound)
        trip = step->bound;
    enter_loop(instance, step);
    for (int64_t turn = 0; turn < trip; turn++) {
        *(int32_t *)instance->address[step->counter] = (int32_t)turn;
        run_steps(instance, step->body);
        end_turn(instance, step, turn);
    }
}

static void run_while(const Instance *instance, const PlanStep *step)
{
    enter_loop(instance, step);
    for (int64_t turn = 0; step->bound == 0 || turn < step->bound; turn++) {
        run_steps(instance, step->test);
        if (!*(const unsigned char *)instance->address[step->condition])
            break;
        run_steps(instance, step->body);
        end_turn(instance, step, turn);
    }
}

static void run_step(const Instance *instance, const PlanStep *step)
{
    const Plan *plan = instance->executable->plan;
    switch (step->kind) {
    case STEP_LAUNCH:
        run_launch(instance, step);
        break;
    case STEP_COPY:
        copy_buffer(instance, step->args.items[0], step->args.items[1]);
        break;
    case STEP_FILL_ZERO:
        memset(instance->address[step->args.items[0]], 0, (size_t)plan->buffers.items[step->args.items[0]].bytes);
        break;
    case STEP_FOR:
        run_for(instance, step);
        break;
    case STEP_WHILE:
        run_while(instance, step);
        break;
    case STEP_IF:
        run_steps(instance, *(const unsigned char *)instance->address[step->condition] ? step->body : step->otherwise);
        break;
    }
}

static void run_steps(const Instance *instance, const PlanSteps *steps)
{
    for (int i = 0; i < steps->list.count; i++)
        run_step(instance, &steps->list.items[i]);
}

const char *execute_run(Arena *arena, Instance *instance, void *const *inputs, void *const *outputs)
{
    const Plan *plan = instance->executable->plan;
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if (buffer->place != PLACE_INPUT && buffer->place != PLACE_OUTPUT)
            continue;
        void *const *given = buffer->place == PLACE_INPUT ? inputs : outputs;
        if (!given[buffer->offset] && buffer->bytes)
            return arena_printf(arena, "%s %lld of '%s' has no memory", buffer->place == PLACE_INPUT ? "input" : "output",
                                (long long)buffer->offset, plan->name);
        instance->address[i] = given[buffer->offset];
    }
    run_steps(instance, &plan->steps);
    return NULL;
}
