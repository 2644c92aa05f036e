/* Chain: kernels that work sample by sample become the stages of one.
 *
 * Takes a plan whose kernels have one stage each and no outer axes; leaves one in which runs of launches over the same first
 * axis are one launch, whose outer axis that is.  What only the chain's own stages touch becomes scratch of a point (K_LOCAL):
 * a normalisation then reads its input once, while it is in cache.  A launch joins a chain if whatever both touch and one of
 * them writes is private to a point: every access of point i lies in the i-th part of the array.  It may move up past
 * launches that it does not depend on.  Each launch is looked at once, so it ends. */
#include "passes/passes.h"

#include <string.h>

enum {
    LEAST_POINTS = 32, /* fewer do not keep every core busy */
    MOST_STAGES = 16,
    MOST_ARGS = 40,          /* of a chain, in all: a kernel has a limited number of buffers */
    LOOK_BACK = 48,          /* launches */
    LOCAL_BYTES = 256 << 10, /* most scratch of one array at a point */
};

/* How a launch, or a chain, uses a buffer of the plan. */
typedef struct Use {
    int buffer;
    bool read_first; /* its old contents are read */
    bool written;
    bool private; /* every access of point i lies in the i-th part */
} Use;

typedef struct Chain { /* in order; a step that cannot be part of a chain stands alone, with points == 0 */
    int64_t points;
    LIST(const PlanStep *) steps;
    LIST(Use) uses;
} Chain;

typedef struct Chaining {
    Plan *plan;
    int *touched; /* by buffer: how many steps of the plan name it */
    LIST(Chain) chains;
} Chaining;

/* ---- how a kernel reaches its buffers ---- */

typedef struct Range {
    int64_t least, most;
} Range;

static bool is_sign(int64_t coefficient)
{
    return coefficient == 1 || coefficient == -1;
}

/* The values of an axis for which the guard may hold: those inside of every K_inside of the axis alone that it demands. */
static void tighten(const KStage *stage, KRef guard, Range *axis)
{
    const KInst *inst = &stage->insts.items[guard];
    if (inst->op == OP_and) {
        tighten(stage, inst->arg[0], axis);
        tighten(stage, inst->arg[1], axis);
        return;
    }
    const KInst *place = inst->op == K_inside ? &stage->insts.items[inst->arg[0]] : NULL;
    if (!place || place->op != K_axis)
        return;
    int only = -1;
    for (int i = 0; i < stage->axes.count; i++) {
        if (place->index.coef[i] && (only >= 0 || !is_sign(place->index.coef[i])))
            return;
        if (place->index.coef[i])
            only = i;
    }
    if (only < 0)
        return;
    int64_t sign = place->index.coef[only], first = -place->index.offset * sign;
    int64_t last = first + sign * (inst->imm - 1), least = sign > 0 ? first : last, most = sign > 0 ? last : first;
    axis[only].least = least > axis[only].least ? least : axis[only].least;
    axis[only].most = most < axis[only].most ? most : axis[only].most;
}

/* Whether the access lies in part i of `count / points` elements for each value i of axis 0. */
static bool is_private(const KStage *stage, const Affine *index, KRef guard, KRef dynamic, int64_t count)
{
    int64_t points = stage->axes.items[0].extent, part = count / points;
    if (dynamic >= 0 || count % points || index->coef[0] != part)
        return false;
    Range axis[K_MAX_AXES], reach = {index->offset, index->offset};
    for (int i = 0; i < stage->axes.count; i++)
        axis[i] = (Range){0, stage->axes.items[i].extent - 1};
    if (guard >= 0)
        tighten(stage, guard, axis);
    for (int i = 1; i < stage->axes.count; i++) {
        int64_t coefficient = index->coef[i];
        reach.least += coefficient * (coefficient > 0 ? axis[i].least : axis[i].most);
        reach.most += coefficient * (coefficient > 0 ? axis[i].most : axis[i].least);
    }
    return reach.least >= 0 && reach.most < part;
}

static bool arg_is_private(const Kernel *kernel, int buffer)
{
    const KStage *stage = &kernel->stages.items[0];
    int64_t count = kernel->buffers.items[buffer].count;
    for (int i = 0; i < stage->insts.count; i++) {
        const KInst *inst = &stage->insts.items[i];
        if (inst->op == K_load && inst->buffer == buffer && !is_private(stage, &inst->index, inst->arg[1], inst->arg[0], count))
            return false;
    }
    for (int i = 0; i < stage->stores.count; i++) {
        const KStore *store = &stage->stores.items[i];
        if (store->buffer == buffer && (store->add || !is_private(stage, &store->index, store->guard, store->dynamic, count)))
            return false;
    }
    return true;
}

/* How many points the kernel has along its first axis; 0 if it cannot be part of a chain. */
static int64_t chain_points(const Kernel *kernel)
{
    const KStage *stage = &kernel->stages.items[0];
    if (kernel->stages.count != 1 || kernel->outer.count || stage->kind != K_STAGE_LOOPS || stage->axes.count < 2)
        return 0;
    for (int i = 0; i < stage->axes.count; i++) {
        if (stage->axes.items[i].extent == 0)
            return 0;
    }
    const KAxis *first = &stage->axes.items[0];
    return first->kind == K_MAP && first->extent >= LEAST_POINTS ? first->extent : 0;
}

/* ---- what is used ---- */

static Use *find_use(const Chain *chain, int buffer)
{
    for (int i = 0; i < chain->uses.count; i++) {
        if (chain->uses.items[i].buffer == buffer)
            return &chain->uses.items[i];
    }
    return NULL;
}

static void add_use(Chaining *chaining, Chain *chain, Use use)
{
    Use *old = find_use(chain, use.buffer);
    if (!old) {
        list_push(chaining->plan->arena, &chain->uses, use);
        return;
    }
    old->written |= use.written;
    old->private &= use.private;
}

static void use_buffer(Chaining *chaining, Chain *chain, int buffer)
{
    if (buffer >= 0)
        add_use(chaining, chain, (Use){buffer, true, true, false});
}

static void use_steps(Chaining *chaining, Chain *chain, const PlanSteps *steps);

/* A step of another kind may read and write all that it names. */
static void use_any(Chaining *chaining, Chain *chain, const PlanStep *step)
{
    for (int i = 0; i < step->args.count; i++)
        use_buffer(chaining, chain, step->args.items[i]);
    use_buffer(chaining, chain, step->trip);
    use_buffer(chaining, chain, step->counter);
    use_buffer(chaining, chain, step->condition);
    for (int i = 0; i < step->carries.count; i++) {
        use_buffer(chaining, chain, step->carries.items[i].init);
        use_buffer(chaining, chain, step->carries.items[i].slot);
        use_buffer(chaining, chain, step->carries.items[i].next);
    }
    for (int i = 0; i < step->rows.count; i++) {
        use_buffer(chaining, chain, step->rows.items[i].value);
        use_buffer(chaining, chain, step->rows.items[i].stack);
    }
    use_steps(chaining, chain, step->test);
    use_steps(chaining, chain, step->body);
    use_steps(chaining, chain, step->otherwise);
}

static void use_steps(Chaining *chaining, Chain *chain, const PlanSteps *steps)
{
    for (int i = 0; steps && i < steps->list.count; i++)
        use_any(chaining, chain, &steps->list.items[i]);
}

static Chain chain_of(Chaining *chaining, const PlanStep *step)
{
    Chain chain = {0};
    list_push(chaining->plan->arena, &chain.steps, step);
    if (step->kind != STEP_LAUNCH) {
        use_any(chaining, &chain, step);
        return chain;
    }
    const Kernel *kernel = chaining->plan->kernels.items[step->kernel];
    chain.points = chain_points(kernel);
    for (int i = 0; i < step->args.count; i++) {
        KBufferKind kind = kernel->buffers.items[i].kind;
        Use use = {step->args.items[i], kind != K_OUT, kind != K_IN, chain.points && arg_is_private(kernel, i)};
        add_use(chaining, &chain, use);
    }
    return chain;
}

/* ---- joining ---- */

static bool depends(const Chain *later, const Chain *earlier)
{
    for (int i = 0; i < later->uses.count; i++) {
        const Use *use = &later->uses.items[i], *other = find_use(earlier, use->buffer);
        if (other && (use->written || other->written))
            return true;
    }
    return false;
}

static bool fits(const Chain *chain, const Chain *fresh)
{
    bool shares = false;
    int args = chain->uses.count;
    if (!fresh->points || chain->points != fresh->points || chain->steps.count >= MOST_STAGES)
        return false;
    for (int i = 0; i < fresh->uses.count; i++) {
        const Use *use = &fresh->uses.items[i], *other = find_use(chain, use->buffer);
        bool both_private = other && use->private && other->private;
        if (other && (use->written || other->written) && !both_private)
            return false;
        shares |= both_private;
        args += !other;
    }
    return shares && args <= MOST_ARGS;
}

static void place(Chaining *chaining, const Chain *fresh)
{
    int oldest = chaining->chains.count - LOOK_BACK;
    for (int i = chaining->chains.count - 1; i >= 0 && i >= oldest; i--) {
        Chain *chain = &chaining->chains.items[i];
        if (fits(chain, fresh)) {
            list_push(chaining->plan->arena, &chain->steps, fresh->steps.items[0]);
            for (int k = 0; k < fresh->uses.count; k++)
                add_use(chaining, chain, fresh->uses.items[k]);
            return;
        }
        if (depends(fresh, chain))
            break;
    }
    list_push(chaining->plan->arena, &chaining->chains, *fresh);
}

/* ---- one kernel of a chain ---- */

typedef struct Merge {
    const Chain *chain;
    Kernel *kernel;
    int *number; /* by use: the kernel's buffer */
    int64_t points;
} Merge;

static bool is_local(const Chaining *chaining, const Chain *chain, const Use *use)
{
    const PlanBuffer *buffer = &chaining->plan->buffers.items[use->buffer];
    int here = 0;
    for (int i = 0; i < chain->steps.count; i++) {
        for (int k = 0; k < chain->steps.items[i]->args.count; k++)
            here += chain->steps.items[i]->args.items[k] == use->buffer;
    }
    return buffer->place == PLACE_ARENA && use->written && !use->read_first && use->private &&
           here == chaining->touched[use->buffer] && buffer->bytes / chain->points <= LOCAL_BYTES;
}

/* The kernel's buffers, local ones last, and the launch's arguments. */
static void merge_buffers(const Chaining *chaining, Merge *merge, PlanStep *launch)
{
    const Chain *chain = merge->chain;
    Arena *arena = chaining->plan->arena;
    for (int local = 0; local < 2; local++) {
        for (int i = 0; i < chain->uses.count; i++) {
            const Use *use = &chain->uses.items[i];
            const PlanBuffer *buffer = &chaining->plan->buffers.items[use->buffer];
            if (is_local(chaining, chain, use) != local)
                continue;
            KBufferKind kind = local ? K_LOCAL : !use->written ? K_IN : use->read_first ? K_INOUT : K_OUT;
            int64_t count = ir_element_count(&buffer->type) / (local ? chain->points : 1);
            merge->number[i] = kernel_add_buffer(merge->kernel, kind, buffer->type.dtype, count, buffer->name);
            if (!local)
                list_push(arena, &launch->args, use->buffer);
        }
    }
}

static int merged_number(const Merge *merge, const PlanStep *step, int buffer)
{
    return merge->number[find_use(merge->chain, step->args.items[buffer]) - merge->chain->uses.items];
}

/* A point of the outer axis has its own copy of a local buffer: only the place inside it counts. */
static void redirect(const Merge *merge, const PlanStep *step, int *buffer, Affine *index)
{
    *buffer = merged_number(merge, step, *buffer);
    if (merge->kernel->buffers.items[*buffer].kind == K_LOCAL)
        index->coef[0] = 0;
}

/* The step's stage without its first axis, which is the kernel's outer one: numbers of axes stay as they are. */
static void merge_stage(Arena *arena, const Merge *merge, const PlanStep *step, const Kernel *kernel)
{
    KStage stage = kernel->stages.items[0];
    stage.axes.count--;
    stage.axes.items = arena_copy(arena, stage.axes.items + 1, (size_t)stage.axes.count * sizeof *stage.axes.items);
    stage.insts.items = arena_copy(arena, stage.insts.items, (size_t)stage.insts.count * sizeof *stage.insts.items);
    stage.stores.items = arena_copy(arena, stage.stores.items, (size_t)stage.stores.count * sizeof *stage.stores.items);
    stage.axes.capacity = stage.axes.count;
    stage.insts.capacity = stage.insts.count;
    stage.stores.capacity = stage.stores.count;
    for (int i = 0; i < stage.insts.count; i++) {
        if (stage.insts.items[i].op == K_load)
            redirect(merge, step, &stage.insts.items[i].buffer, &stage.insts.items[i].index);
    }
    for (int i = 0; i < stage.stores.count; i++)
        redirect(merge, step, &stage.stores.items[i].buffer, &stage.stores.items[i].index);
    list_push(arena, &merge->kernel->stages, stage);
}

static const char *chain_name(const Chaining *chaining, const Chain *chain)
{
    const Kernel *first = chaining->plan->kernels.items[chain->steps.items[0]->kernel];
    const Kernel *last = chaining->plan->kernels.items[chain->steps.items[chain->steps.count - 1]->kernel];
    return arena_printf(chaining->plan->arena, "%s_to_%s", first->name, last->name);
}

static int plan_kernel(Plan *plan, Kernel *kernel)
{
    for (int i = 0; i < plan->kernels.count; i++) {
        if (kernel_equal(plan->kernels.items[i], kernel))
            return i;
    }
    list_push(plan->arena, &plan->kernels, kernel);
    return plan->kernels.count - 1;
}

static PlanStep merge_chain(Chaining *chaining, const Chain *chain)
{
    Plan *plan = chaining->plan;
    if (chain->steps.count == 1)
        return *chain->steps.items[0];
    const PlanStep *last = chain->steps.items[chain->steps.count - 1];
    PlanStep launch = {.kind = STEP_LAUNCH, .trip = -1, .counter = -1, .condition = -1, .span = last->span};
    Merge merge = {chain, kernel_new(plan->arena, chain_name(chaining, chain)), NULL, chain->points};
    merge.number = arena_array(plan->arena, int, chain->uses.count);
    merge.kernel->span = last->span;
    list_push(plan->arena, &merge.kernel->outer, ((KAxis){chain->points, K_MAP}));
    merge_buffers(chaining, &merge, &launch);
    for (int i = 0; i < chain->steps.count; i++)
        merge_stage(plan->arena, &merge, chain->steps.items[i], plan->kernels.items[chain->steps.items[i]->kernel]);
    launch.kernel = plan_kernel(plan, merge.kernel);
    return launch;
}

/* ---- the pass ---- */

static void chain_steps(Chaining *outer, PlanSteps *steps)
{
    if (!steps)
        return;
    Chaining chaining = {.plan = outer->plan, .touched = outer->touched};
    for (int i = 0; i < steps->list.count; i++) {
        PlanStep *step = &steps->list.items[i];
        chain_steps(outer, step->test);
        chain_steps(outer, step->body);
        chain_steps(outer, step->otherwise);
        Chain fresh = chain_of(&chaining, step);
        place(&chaining, &fresh);
    }
    PlanSteps made = {0};
    for (int i = 0; i < chaining.chains.count; i++)
        list_push(outer->plan->arena, &made.list, merge_chain(&chaining, &chaining.chains.items[i]));
    *steps = made;
}

static void count_touches(int *touched, const PlanSteps *steps);

static void touch(int *touched, int buffer)
{
    if (buffer >= 0)
        touched[buffer]++;
}

static void count_step(int *touched, const PlanStep *step)
{
    for (int i = 0; i < step->args.count; i++)
        touch(touched, step->args.items[i]);
    touch(touched, step->trip);
    touch(touched, step->counter);
    touch(touched, step->condition);
    for (int i = 0; i < step->carries.count; i++) {
        touch(touched, step->carries.items[i].init);
        touch(touched, step->carries.items[i].slot);
        touch(touched, step->carries.items[i].next);
    }
    for (int i = 0; i < step->rows.count; i++) {
        touch(touched, step->rows.items[i].value);
        touch(touched, step->rows.items[i].stack);
    }
    count_touches(touched, step->test);
    count_touches(touched, step->body);
    count_touches(touched, step->otherwise);
}

static void count_touches(int *touched, const PlanSteps *steps)
{
    for (int i = 0; steps && i < steps->list.count; i++)
        count_step(touched, &steps->list.items[i]);
}

/* Kernels that no launch names any more. */
static void mark_launched(const PlanSteps *steps, bool *launched)
{
    for (int i = 0; steps && i < steps->list.count; i++) {
        const PlanStep *step = &steps->list.items[i];
        if (step->kind == STEP_LAUNCH)
            launched[step->kernel] = true;
        mark_launched(step->test, launched);
        mark_launched(step->body, launched);
        mark_launched(step->otherwise, launched);
    }
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

static void drop_unused_kernels(Plan *plan)
{
    bool *launched = arena_array(plan->arena, bool, plan->kernels.count);
    int *number = arena_array(plan->arena, int, plan->kernels.count), kept = 0;
    mark_launched(&plan->steps, launched);
    for (int i = 0; i < plan->kernels.count; i++) {
        number[i] = kept;
        if (launched[i])
            plan->kernels.items[kept++] = plan->kernels.items[i];
    }
    plan->kernels.count = kept;
    renumber(&plan->steps, number);
}

void pass_chain(Plan *plan)
{
    Chaining chaining = {.plan = plan, .touched = arena_array(plan->arena, int, plan->buffers.count)};
    count_touches(chaining.touched, &plan->steps);
    chain_steps(&chaining, &plan->steps);
    drop_unused_kernels(plan);
}
