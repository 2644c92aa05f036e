/* Runs a plan on a Vulkan device: its steps are recorded in their order, each behind a barrier.
 *
 * Branches and loops that the device decides about are recorded as if every branch and every turn were run; gates see to it
 * that those that are not do nothing (layout.c).  The host asks, by submitting what there is and waiting, only where recording
 * to the end would be long: how often to go through a `for` that may have many turns, and now and then whether a `while` that
 * may have many, or that has no bound, goes on.  A run in which it asked nothing is one submission: those that follow submit
 * the same commands again. */
#include "backends/vulkan/schedule.h"

#include <string.h>

enum {
    MOST_UNASKED = 1 << 14, /* commands of a loop that are recorded though they may do nothing */
    FIRST_ASKED = 4,        /* turns of a longer loop before the first question; before each other one twice as many */
};

/* ---- steps ---- */

static VkResult record_copy(Instance *instance, int to, int from)
{
    const Layout *layout = &instance->executable->layout;
    VkBufferCopy region = {(VkDeviceSize)layout->offset[from], (VkDeviceSize)layout->offset[to],
                           (VkDeviceSize)instance->executable->plan->buffers.items[from].bytes};
    if (!region.size || region.srcOffset == region.dstOffset)
        return VK_SUCCESS;
    VkCommandBuffer commands;
    VkResult result = instance_next_command(instance, &commands);
    if (!result)
        vkCmdCopyBuffer(commands, instance->arrays.buffer, instance->arrays.buffer, 1, &region);
    return result;
}

/* Arrays begin at multiples of 64 bytes, so that a word at the end belongs to one alone. */
static VkResult record_zeros(Instance *instance, int buffer)
{
    int64_t bytes = rounded_up(instance->executable->plan->buffers.items[buffer].bytes, 4);
    VkCommandBuffer commands;
    VkResult result = bytes ? instance_next_command(instance, &commands) : VK_SUCCESS;
    if (!result && bytes)
        vkCmdFillBuffer(commands, instance->arrays.buffer, (VkDeviceSize)instance->executable->layout.offset[buffer],
                        (VkDeviceSize)bytes, 0);
    return result;
}

static VkResult record_number(Instance *instance, int buffer, int32_t number)
{
    VkCommandBuffer commands;
    VkResult result = instance_next_command(instance, &commands);
    if (!result)
        vkCmdUpdateBuffer(commands, instance->arrays.buffer, (VkDeviceSize)instance->executable->layout.offset[buffer],
                          sizeof number, &number);
    return result;
}

/* Runs of a piece, as many as a command takes. */
static VkResult record_row(Instance *instance, const PlanRow *row, int64_t turn)
{
    enum { MOST_RUNS = 256 };
    const PlanBuffer *buffers = instance->executable->plan->buffers.items;
    const Layout *layout = &instance->executable->layout;
    int64_t size = dtype_size(buffers[row->whole].type.dtype);
    IrPiece piece = ir_piece(&buffers[row->whole].type, &buffers[row->value].type, turn);
    VkCommandBuffer commands;
    VkResult result = piece.run ? instance_next_command(instance, &commands) : VK_SUCCESS;
    bool more = piece.run != 0;
    while (more && !result) {
        VkBufferCopy regions[MOST_RUNS];
        uint32_t count = 0;
        for (; more && count < MOST_RUNS; more = ir_piece_next(&piece))
            regions[count++] =
                (VkBufferCopy){(VkDeviceSize)(layout->offset[row->value] + piece.from * size),
                               (VkDeviceSize)(layout->offset[row->whole] + piece.to * size), (VkDeviceSize)(piece.run * size)};
        vkCmdCopyBuffer(commands, instance->arrays.buffer, instance->arrays.buffer, count, regions);
    }
    return result;
}

/* ---- how long it is to record everything ---- */

static double commands_of(const Instance *instance, const LaidSteps *steps);

static double commands_of_turn(const Instance *instance, const LaidStep *laid)
{
    double gates = layout_decides(instance->executable->plan, laid->step) ? 2 : 0;
    return 1 + gates + commands_of(instance, laid->test) + commands_of(instance, laid->body) + laid->step->rows.count +
           laid->step->carries.count;
}

static double commands_of_launch(const Instance *instance, const LaidStep *laid)
{
    const Schedule *schedule = instance->executable->layout.shaders.items[laid->launch.shaders].schedule;
    return (double)schedule->turns * schedule->phases.count + laid->gather.count + laid->scatter.count;
}

/* A loop without bound counts as the turns before the host asks. */
static double commands_of(const Instance *instance, const LaidSteps *steps)
{
    double count = 0;
    for (int i = 0; steps && i < steps->list.count; i++) {
        const LaidStep *laid = &steps->list.items[i];
        int64_t bound = laid->step->bound ? laid->step->bound : FIRST_ASKED;
        if (laid->step->kind == STEP_LAUNCH)
            count += commands_of_launch(instance, laid);
        else if (laid->step->kind == STEP_FOR || laid->step->kind == STEP_WHILE)
            count += (double)bound * commands_of_turn(instance, laid);
        else
            count += 2 + commands_of(instance, laid->body) + commands_of(instance, laid->otherwise);
    }
    return count;
}

static bool is_short(const Instance *instance, const LaidStep *laid)
{
    return laid->step->bound && (double)laid->step->bound * commands_of_turn(instance, laid) <= MOST_UNASKED;
}

/* ---- control ---- */

static VkResult run_steps(Instance *instance, const LaidSteps *steps);

static VkResult open_gate(Instance *instance, const Dispatch *gate, int64_t turn)
{
    return instance_dispatch(instance, gate, (int)turn, -1);
}

static VkResult enter_loop(Instance *instance, const LaidStep *laid, bool in_region)
{
    const PlanStep *step = laid->step;
    VkResult result = VK_SUCCESS;
    for (int i = 0; i < step->carries.count && !result; i++)
        result = in_region ? instance_dispatch(instance, &laid->enter.items[i], 0, -1)
                           : record_copy(instance, step->carries.items[i].slot, step->carries.items[i].init);
    return result;
}

static VkResult run_turn(Instance *instance, const LaidStep *laid, int64_t turn)
{
    const PlanStep *step = laid->step;
    bool in_region = laid->body->in_region;
    VkResult result = run_steps(instance, laid->body);
    for (int i = 0; i < step->rows.count && !result; i++)
        result = in_region ? instance_dispatch(instance, &laid->rows.items[i], (int)turn, -1)
                           : record_row(instance, &step->rows.items[i], turn);
    for (int i = 0; i < step->carries.count && !result; i++)
        result = in_region ? instance_dispatch(instance, &laid->turn.items[i], 0, -1)
                           : record_copy(instance, step->carries.items[i].slot, step->carries.items[i].next);
    return result;
}

/* Of a loop with many turns.  In a region that is left out, nothing has worked out how many there are. */
static VkResult ask_turns(Instance *instance, const LaidStep *laid, int32_t *trip)
{
    const Layout *layout = &instance->executable->layout;
    uint32_t goes_on = 0;
    VkResult result = open_gate(instance, &laid->gate, 0);
    if (!result)
        result = instance_read_number(instance, layout->control_offset + 4 * laid->predicate, &goes_on, sizeof goes_on);
    if (!result && goes_on)
        result = instance_read_number(instance, layout->offset[laid->step->trip], trip, sizeof *trip);
    return result;
}

/* How many turns are recorded: constants are known, and long loops are asked about. */
static VkResult count_turns(Instance *instance, const LaidStep *laid, int64_t *turns)
{
    const PlanStep *step = laid->step;
    const PlanBuffer *from = &instance->executable->plan->buffers.items[step->trip];
    VkResult result = VK_SUCCESS;
    int32_t trip = 0;
    *turns = step->bound;
    if (from->place == PLACE_CONSTANT)
        memcpy(&trip, from->data, sizeof trip);
    else if (is_short(instance, laid))
        return VK_SUCCESS;
    else
        result = ask_turns(instance, laid, &trip);
    *turns = trip < step->bound ? trip : step->bound;
    return result;
}

static VkResult run_for(Instance *instance, const LaidStep *laid, bool in_region)
{
    const PlanStep *step = laid->step;
    bool decides = layout_decides(instance->executable->plan, step);
    int64_t turns = 0;
    VkResult result = count_turns(instance, laid, &turns);
    if (!result)
        result = enter_loop(instance, laid, in_region);
    for (int64_t turn = 0; turn < turns && !result; turn++) {
        result = record_number(instance, step->counter, (int32_t)turn);
        if (!result && decides)
            result = open_gate(instance, &laid->gate, turn);
        if (!result)
            result = run_turn(instance, laid, turn);
    }
    return result;
}

static VkResult run_test(Instance *instance, const LaidStep *laid, int64_t turn)
{
    VkResult result = open_gate(instance, turn ? &laid->again_gate : &laid->test_gate, turn);
    if (!result)
        result = run_steps(instance, laid->test);
    return result ? result : open_gate(instance, &laid->gate, turn);
}

static VkResult run_while(Instance *instance, const LaidStep *laid, bool in_region)
{
    const Layout *layout = &instance->executable->layout;
    int64_t bound = laid->step->bound, asked = is_short(instance, laid) ? bound : FIRST_ASKED;
    uint32_t goes_on = 1;
    VkResult result = enter_loop(instance, laid, in_region);
    for (int64_t turn = 0; !result && goes_on && (bound == 0 || turn < bound); turn++) {
        result = run_test(instance, laid, turn);
        if (!result && turn == asked) {
            asked *= 2;
            result = instance_read_number(instance, layout->control_offset + 4 * laid->predicate, &goes_on, sizeof goes_on);
        }
        if (!result && goes_on)
            result = run_turn(instance, laid, turn);
    }
    return result;
}

static VkResult run_if(Instance *instance, const LaidStep *laid)
{
    VkResult result = open_gate(instance, &laid->gate, 0);
    if (!result)
        result = open_gate(instance, &laid->otherwise_gate, 0);
    if (!result)
        result = run_steps(instance, laid->body);
    return result ? result : run_steps(instance, laid->otherwise);
}

static VkResult run_copies(Instance *instance, const Dispatches *copies)
{
    VkResult result = VK_SUCCESS;
    for (int i = 0; i < copies->count && !result; i++)
        result = instance_dispatch(instance, &copies->items[i], 0, -1);
    return result;
}

static VkResult run_launch(Instance *instance, const LaidStep *laid)
{
    VkResult result = run_copies(instance, &laid->gather);
    if (!result)
        result = instance_dispatch(instance, &laid->launch, 0, laid->step->launch);
    return result ? result : run_copies(instance, &laid->scatter);
}

static VkResult run_step(Instance *instance, const LaidStep *laid, bool in_region)
{
    const PlanStep *step = laid->step;
    switch (step->kind) {
    case STEP_LAUNCH:
        return run_launch(instance, laid);
    case STEP_COPY:
        return in_region ? instance_dispatch(instance, &laid->launch, 0, -1)
                         : record_copy(instance, step->args.items[0], step->args.items[1]);
    case STEP_FILL_ZERO:
        return in_region ? instance_dispatch(instance, &laid->launch, 0, -1) : record_zeros(instance, step->args.items[0]);
    case STEP_FOR:
        return run_for(instance, laid, in_region);
    case STEP_WHILE:
        return run_while(instance, laid, in_region);
    default:
        return run_if(instance, laid);
    }
}

static VkResult run_steps(Instance *instance, const LaidSteps *steps)
{
    VkResult result = VK_SUCCESS;
    for (int i = 0; i < steps->list.count && !result; i++)
        result = run_step(instance, &steps->list.items[i], steps->in_region);
    return result;
}

/* ---- runs ---- */

static const char *check_memory(Arena *arena, const Plan *plan, void *const *inputs, void *const *outputs)
{
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        bool input = buffer->place == PLACE_INPUT;
        if ((!input && buffer->place != PLACE_OUTPUT) || !buffer->bytes || (input ? inputs : outputs)[buffer->offset])
            continue;
        return arena_printf(arena, "%s %lld of '%s' has no memory", input ? "input" : "output", (long long)buffer->offset,
                            plan->name);
    }
    return NULL;
}

/* What was recorded, once more. */
static VkResult run_again(Instance *instance)
{
    VkResult result = instance_submit(instance);
    if (result)
        return result;
    instance_read_ahead(instance);
    return instance_wait(instance);
}

static VkResult run_plan(Instance *instance)
{
    instance->submissions = 0;
    instance_move(instance, true);
    VkResult result = instance_rewind_ahead(instance);
    if (instance->is_whole)
        return result ? result : run_again(instance);
    if (!result)
        result = instance_record_transfers(instance, true);
    if (!result)
        result = run_steps(instance, instance->executable->layout.steps);
    if (!result)
        result = instance_record_transfers(instance, false);
    VkResult last = instance_finish(instance);
    instance->is_whole = !result && !last && instance->submissions == 1;
    return result ? result : last;
}

static void count_run(const Instance *instance, int64_t begun)
{
    const Executable *executable = instance->executable;
    Profile *profile = executable->device->options.profile;
    int64_t moved[2] = {0};
    for (int i = 0; i < instance->transfer_count; i++)
        moved[instance->transfers[i].up] += instance->transfers[i].bytes;
    profile_count(profile, PROFILE_RUNS, 1);
    profile_count(profile, PROFILE_SUBMISSIONS, instance->submissions);
    profile_count(profile, PROFILE_HOST_NANOSECONDS, profile_now() - begun - instance->waited);
    profile_count(profile, PROFILE_BYTES_UP, moved[1]);
    profile_count(profile, PROFILE_BYTES_DOWN, moved[0]);
    profile_count(profile, PROFILE_LEAST_BYTES, executable->profile->least_bytes);
}

const char *execute_vulkan_run(Arena *arena, Instance *instance, void *const *inputs, void *const *outputs,
                               const bool *resident)
{
    const Plan *plan = instance->executable->plan;
    Device *device = instance->executable->device;
    int messages = atomic_load(&device->messages);
    int64_t begun = instance->executable->profile ? profile_now() : 0;
    instance->waited = 0;
    const char *reason = check_memory(arena, plan, inputs, outputs);
    if (reason)
        return reason;
    VkResult result = instance_place(instance, inputs, outputs, resident);
    if (!result)
        result = run_plan(instance);
    if (result)
        return lost_reason(arena, instance, result);
    if (atomic_load(&device->messages) != messages)
        return arena_printf(arena, "the validation layer had something to say of '%s': the log has it", plan->name);
    instance_move(instance, false);
    if (begun)
        count_run(instance, begun);
    return NULL;
}

const char *execute_vulkan_fetch(Arena *arena, Instance *instance, void *const *inputs, const bool *resident)
{
    VkResult result = instance_fetch(instance, inputs, resident);
    return result ? lost_reason(arena, instance, result) : NULL;
}
