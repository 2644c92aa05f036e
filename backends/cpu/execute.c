/* Runs a plan on the CPU: its steps in order, each kernel's tasks shared out over the threads of the pool; the turns of a
 * parallel loop are shared out as they are, if there are enough of them, each with its steps on one thread.
 *
 * An instance owns what one run needs: the arena of values, and for each worker a lane: memory for what lives in one turn of a
 * parallel loop, scratch, and a block that the tasks of a launch share.  Everything is allocated when the instance is made;
 * running allocates nothing. */
#include "backends/cpu/cpu_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 64, HUGE_PAGE = 1 << 21 };
static const double WORTH_SHARING = 4000; /* nanoseconds of work below which a fork costs more than it gives */

typedef struct Lane { /* of a worker; the first one also runs what stands outside of parallel loops */
    const Instance *instance;
    int worker;
    void **address; /* by buffer of the plan */
    unsigned char *shared;
} Lane;

struct Instance {
    Arena *arena;
    Executable *executable;
    unsigned char *values;  /* the plan's arena */
    unsigned char *turns;   /* workers * lane_bytes */
    unsigned char *scratch; /* workers * scratch_bytes */
    unsigned char *shared;  /* lanes * shared_bytes */
    size_t lane_bytes, scratch_bytes, shared_bytes;
    int lane_count; /* one for each worker, if the plan has parallel loops; else one */
    Lane *lanes;
};

/* ---- memory ---- */

/* Large blocks in huge pages, where the system has some to give: contractions read many rows at once, each of a page of its
 * own. */
static void *reserve(size_t bytes)
{
    size_t alignment = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : ALIGNMENT;
    if (bytes > (size_t)PTRDIFF_MAX - alignment)
        return NULL;
    size_t rounded = (bytes + alignment) / alignment * alignment;
    void *memory = aligned_alloc(alignment, rounded);
    if (memory && alignment == HUGE_PAGE)
        madvise(memory, rounded, MADV_HUGEPAGE);
    return memory;
}

static int worker_count(const Executable *executable)
{
    return executable->device->options.pool ? pool_threads(executable->device->options.pool) : 1;
}

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void size_blocks(Instance *instance)
{
    const Executable *executable = instance->executable;
    for (int i = 0; i < executable->plan->kernels.count; i++) {
        const CpuKernel *kernel = &executable->kernels[i];
        if (aligned(kernel->scratch_bytes) > instance->scratch_bytes)
            instance->scratch_bytes = aligned(kernel->scratch_bytes);
        if (aligned(kernel->shared_bytes) > instance->shared_bytes)
            instance->shared_bytes = aligned(kernel->shared_bytes);
    }
    instance->lane_bytes = aligned((size_t)executable->plan->lane_bytes);
    instance->lane_count = instance->lane_bytes ? worker_count(executable) : 1;
}

/* Addresses that do not change from run to run: values and constants. */
static void fix_addresses(const Instance *instance, Lane *lane)
{
    const Plan *plan = instance->executable->plan;
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if (buffer->place == PLACE_ARENA)
            lane->address[i] = instance->values + buffer->offset;
        else if (buffer->place == PLACE_LANE)
            lane->address[i] = instance->turns + (size_t)lane->worker * instance->lane_bytes + buffer->offset;
        else if (buffer->place == PLACE_CONSTANT)
            lane->address[i] = (void *)(uintptr_t)buffer->data; /* kernels only read constants */
    }
}

static void make_lanes(Instance *instance)
{
    const Plan *plan = instance->executable->plan;
    instance->lanes = arena_array(instance->arena, Lane, instance->lane_count);
    for (int i = 0; i < instance->lane_count; i++)
        instance->lanes[i] = (Lane){instance, i, arena_array(instance->arena, void *, plan->buffers.count + 1), NULL};
}

static void place_lanes(Instance *instance)
{
    for (int i = 0; i < instance->lane_count; i++) {
        instance->lanes[i].shared = instance->shared + (size_t)i * instance->shared_bytes;
        fix_addresses(instance, &instance->lanes[i]);
    }
}

void execute_discard(Instance *instance)
{
    if (!instance)
        return;
    free(instance->values);
    free(instance->turns);
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
    *instance = (Instance){.arena = own, .executable = executable};
    size_blocks(instance);
    make_lanes(instance);
    arena_set_escape(own, NULL);
    size_t lanes = (size_t)instance->lane_count, scratch = (size_t)worker_count(executable) * instance->scratch_bytes;
    instance->values = reserve((size_t)plan->arena_bytes);
    instance->turns = reserve(lanes * instance->lane_bytes);
    instance->scratch = reserve(scratch);
    instance->shared = reserve(lanes * instance->shared_bytes);
    if (!instance->values || !instance->turns || !instance->scratch || !instance->shared) {
        size_t values = (size_t)plan->arena_bytes + lanes * instance->lane_bytes,
               blocks = scratch + lanes * instance->shared_bytes;
        execute_discard(instance);
        return arena_printf(arena, "not enough memory: '%s' needs %zu bytes for its values and %zu for scratch", plan->name,
                            values, blocks);
    }
    place_lanes(instance);
    *out = instance;
    return NULL;
}

/* ---- launches ---- */

typedef struct Launch {
    const Lane *lane;
    const CpuPhase *phase;
    void *const *buffers;
} Launch;

static void run_tasks(void *state, int64_t first, int64_t end, int worker)
{
    const Launch *launch = state;
    const Instance *instance = launch->lane->instance;
    unsigned char *scratch = instance->scratch + (size_t)worker * instance->scratch_bytes;
    launch->phase->entry(launch->buffers, first, end, scratch, launch->lane->shared);
}

/* Inside a parallel loop the pool is at work: there a lane runs all tasks by itself. */
static void run_phases(const Lane *lane, const PlanStep *step, bool alone)
{
    void *buffers[K_MAX_BUFFERS];
    for (int i = 0; i < step->args.count; i++)
        buffers[i] = lane->address[step->args.items[i]];
    const Executable *executable = lane->instance->executable;
    const CpuKernel *kernel = &executable->kernels[step->kernel];
    for (int i = 0; i < kernel->phase_count; i++) {
        Launch launch = {lane, &kernel->phases[i], buffers};
        if (alone || launch.phase->tasks < 2 || launch.phase->work < WORTH_SHARING)
            run_tasks(&launch, 0, launch.phase->tasks, lane->worker);
        else
            pool_run(executable->device->options.pool, launch.phase->tasks, run_tasks, &launch);
    }
}

static void run_launch(const Lane *lane, const PlanStep *step, bool alone)
{
    const Executable *executable = lane->instance->executable;
    Profile *profile = executable->device->options.profile;
    int64_t begin = profile ? profile_now() : 0;
    run_phases(lane, step, alone);
    if (profile)
        profile_note(profile, executable->profile->launches[step->launch], lane->worker, false, begin, profile_now());
}

/* ---- control ---- */

static void run_steps(const Lane *lane, const PlanSteps *steps, bool alone);

static int64_t bytes_of(const Lane *lane, int buffer)
{
    return lane->instance->executable->plan->buffers.items[buffer].bytes;
}

static void copy_buffer(const Lane *lane, int to, int from)
{
    if (lane->address[to] != lane->address[from])
        memcpy(lane->address[to], lane->address[from], (size_t)bytes_of(lane, from));
}

static void enter_loop(const Lane *lane, const PlanStep *step)
{
    for (int i = 0; i < step->carries.count; i++)
        copy_buffer(lane, step->carries.items[i].slot, step->carries.items[i].init);
}

static void store_row(const Lane *lane, const PlanRow *row, int64_t turn)
{
    const PlanBuffer *buffers = lane->instance->executable->plan->buffers.items;
    ir_piece_store(&buffers[row->whole].type, lane->address[row->whole], &buffers[row->value].type, lane->address[row->value],
                   turn);
}

static void end_turn(const Lane *lane, const PlanStep *step, int64_t turn)
{
    for (int i = 0; i < step->rows.count; i++)
        store_row(lane, &step->rows.items[i], turn);
    for (int i = 0; i < step->carries.count; i++)
        copy_buffer(lane, step->carries.items[i].slot, step->carries.items[i].next);
}

static void run_turns(const Lane *lane, const PlanStep *step, int64_t first, int64_t end, bool alone)
{
    for (int64_t turn = first; turn < end; turn++) {
        *(int32_t *)lane->address[step->counter] = (int32_t)turn;
        run_steps(lane, step->body, alone);
        end_turn(lane, step, turn);
    }
}

typedef struct Turns {
    const Instance *instance;
    const PlanStep *step;
} Turns;

static void run_turns_at_once(void *state, int64_t first, int64_t end, int worker)
{
    const Turns *turns = state;
    run_turns(&turns->instance->lanes[worker], turns->step, first, end, true);
}

static void run_for(const Lane *lane, const PlanStep *step, bool alone)
{
    const Instance *instance = lane->instance;
    int64_t trip = *(const int32_t *)lane->address[step->trip];
    if (trip > step->bound)
        trip = step->bound;
    enter_loop(lane, step);
    if (step->parallel && instance->lane_count > 1 && trip >= instance->lane_count)
        pool_run(instance->executable->device->options.pool, trip, run_turns_at_once, &(Turns){instance, step});
    else
        run_turns(lane, step, 0, trip, alone);
}

static void run_while(const Lane *lane, const PlanStep *step, bool alone)
{
    enter_loop(lane, step);
    for (int64_t turn = 0; step->bound == 0 || turn < step->bound; turn++) {
        run_steps(lane, step->test, alone);
        if (!*(const unsigned char *)lane->address[step->condition])
            break;
        run_steps(lane, step->body, alone);
        end_turn(lane, step, turn);
    }
}

static void run_step(const Lane *lane, const PlanStep *step, bool alone)
{
    switch (step->kind) {
    case STEP_LAUNCH:
        run_launch(lane, step, alone);
        break;
    case STEP_COPY:
        copy_buffer(lane, step->args.items[0], step->args.items[1]);
        break;
    case STEP_FILL_ZERO:
        memset(lane->address[step->args.items[0]], 0, (size_t)bytes_of(lane, step->args.items[0]));
        break;
    case STEP_FOR:
        run_for(lane, step, alone);
        break;
    case STEP_WHILE:
        run_while(lane, step, alone);
        break;
    case STEP_IF:
        run_steps(lane, *(const unsigned char *)lane->address[step->condition] ? step->body : step->otherwise, alone);
        break;
    }
}

static void run_steps(const Lane *lane, const PlanSteps *steps, bool alone)
{
    for (int i = 0; i < steps->list.count; i++)
        run_step(lane, &steps->list.items[i], alone);
}

const char *execute_run(Arena *arena, Instance *instance, void *const *inputs, void *const *outputs, const bool *resident)
{
    (void)resident; /* all memory is the host's */
    const Plan *plan = instance->executable->plan;
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if (buffer->place != PLACE_INPUT && buffer->place != PLACE_OUTPUT)
            continue;
        void *const *given = buffer->place == PLACE_INPUT ? inputs : outputs;
        if (!given[buffer->offset] && buffer->bytes)
            return arena_printf(arena, "%s %lld of '%s' has no memory", buffer->place == PLACE_INPUT ? "input" : "output",
                                (long long)buffer->offset, plan->name);
        for (int lane = 0; lane < instance->lane_count; lane++)
            instance->lanes[lane].address[i] = given[buffer->offset];
    }
    run_steps(&instance->lanes[0], &plan->steps, !instance->executable->device->options.pool);
    return NULL;
}
