/* Planner: results written over arguments.
 *
 * Where a kernel is the last to read an argument, and reads it point for point as it writes a result (kernel_may_overwrite),
 * the result takes over the argument's memory: less of it is needed, and it is in the cache. */
#include "passes/plan_internal.h"

static bool is_made_at(const PlanBuffer *buffer, int clock)
{
    return (buffer->place == PLACE_ARENA || buffer->place == PLACE_LANE) && buffer->first == clock;
}

static bool is_passed_once(const PlanStep *step, int arg)
{
    for (int i = 0; i < step->args.count; i++)
        if (i != arg && step->args.items[i] == step->args.items[arg])
            return false;
    return true;
}

/* Whether the launch may write argument `to`, which it makes, over argument `from`. */
static bool may_succeed(const Plan *plan, const LaunchAt *launch, int from, int to)
{
    const PlanStep *step = launch->step;
    const PlanBuffer *before = &plan->buffers.items[step->args.items[from]], *next = &plan->buffers.items[step->args.items[to]];
    return before->place == next->place && before->first < launch->clock && before->last == launch->clock &&
           is_passed_once(step, from) && is_passed_once(step, to) &&
           kernel_may_overwrite(plan->kernels.items[step->kernel], from, to);
}

void plan_find_successors(Plan *plan, const LaunchesAt *launches)
{
    bool *taken = arena_array(plan->arena, bool, plan->buffers.count + 1);
    for (int i = 0; i < plan->buffers.count; i++)
        plan->buffers.items[i].over = -1;
    for (int i = 0; i < launches->count; i++) {
        const LaunchAt *launch = &launches->items[i];
        const int *args = launch->step->args.items, count = launch->step->args.count;
        for (int to = 0; to < count; to++) {
            PlanBuffer *next = &plan->buffers.items[args[to]];
            for (int from = 0; from < count && next->over < 0 && is_made_at(next, launch->clock); from++)
                if (!taken[args[from]] && may_succeed(plan, launch, from, to)) {
                    next->over = args[from];
                    taken[args[from]] = true;
                }
        }
    }
}

int plan_first_of(const Plan *plan, int buffer)
{
    while (plan->buffers.items[buffer].over >= 0)
        buffer = plan->buffers.items[buffer].over;
    return buffer;
}

/* ---- copies ---- */

/* Whether the launch leaves an array as it is; a kernel of one load and its store, which may be over each other, copies. */
static bool changes_nothing(const Plan *plan, const PlanStep *step)
{
    if (step->kind != STEP_LAUNCH)
        return false;
    const Kernel *kernel = plan->kernels.items[step->kernel];
    bool copies = kernel->stages.count == 1 && kernel->buffers.count == 2 && kernel->stages.items[0].insts.count == 1;
    return copies && plan->buffers.items[step->args.items[1]].over == step->args.items[0];
}

static void leave_out(Plan *plan, PlanSteps *steps, bool *used)
{
    int kept = 0;
    for (int i = 0; steps && i < steps->list.count; i++) {
        PlanStep step = steps->list.items[i];
        if (changes_nothing(plan, &step))
            continue;
        leave_out(plan, step.test, used);
        leave_out(plan, step.body, used);
        leave_out(plan, step.otherwise, used);
        if (step.kind == STEP_LAUNCH) {
            step.launch = plan->launch_count++;
            used[step.kernel] = true;
        }
        steps->list.items[kept++] = step;
    }
    if (steps)
        steps->list.count = kept;
}

static void renumber(PlanSteps *steps, const int *number)
{
    for (int i = 0; steps && i < steps->list.count; i++) {
        PlanStep *step = &steps->list.items[i];
        if (step->kind == STEP_LAUNCH)
            step->kernel = number[step->kernel];
        renumber(step->test, number);
        renumber(step->body, number);
        renumber(step->otherwise, number);
    }
}

void plan_leave_out_copies(Plan *plan)
{
    bool *used = arena_array(plan->arena, bool, plan->kernels.count + 1);
    int *number = arena_array(plan->arena, int, plan->kernels.count + 1), kept = 0;
    plan->launch_count = 0;
    leave_out(plan, &plan->steps, used);
    for (int i = 0; i < plan->kernels.count; i++) {
        number[i] = kept;
        if (used[i])
            plan->kernels.items[kept++] = plan->kernels.items[i];
    }
    plan->kernels.count = kept;
    renumber(&plan->steps, number);
}
