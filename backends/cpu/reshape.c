/* Kernels rewritten to suit the CPU: axes joined, reductions split so that vectors and tasks find enough to do, and outer axes
 * turned into axes of the stages where there are too few outer points to share out. */
#include "backends/cpu/reshape.h"

#include <string.h>

static const double SMALL_KERNEL_CYCLES = 30000; /* not worth more than one task */
static const int64_t ENOUGH_POINTS = 32;         /* outer points that can be shared out well */
static const int64_t MAX_PARTIALS = 1 << 22;     /* elements of partial results */

/* ---- copies ---- */

/* The same buffers and outer axes, no stages. */
static Kernel *copy_shell(Arena *arena, const Kernel *kernel)
{
    Kernel *copy = arena_copy(arena, kernel, sizeof *kernel);
    copy->arena = arena;
    copy->buffers.items =
        arena_copy(arena, kernel->buffers.items, (size_t)kernel->buffers.count * sizeof *kernel->buffers.items);
    copy->buffers.capacity = kernel->buffers.count;
    copy->outer.items = arena_copy(arena, kernel->outer.items, (size_t)kernel->outer.count * sizeof *kernel->outer.items);
    copy->outer.capacity = kernel->outer.count;
    memset(&copy->stages, 0, sizeof copy->stages);
    return copy;
}

Kernel *reshape_single(Arena *arena, const Kernel *kernel, int stage)
{
    Kernel *single = copy_shell(arena, kernel);
    list_push(arena, &single->stages, kernel->stages.items[stage]);
    return single;
}

/* ---- outer axes become axes of each stage ---- */

static void index_locals_by_point(const Kernel *kernel, int buffer, Affine *affine)
{
    if (kernel->buffers.items[buffer].kind != K_LOCAL)
        return;
    int64_t step = kernel->buffers.items[buffer].count;
    for (int axis = kernel->outer.count - 1; axis >= 0; axis--) {
        affine->coef[axis] += step;
        step *= kernel->outer.items[axis].extent;
    }
}

static KStage flatten_stage(Arena *arena, const Kernel *kernel, const KStage *stage)
{
    KStage flat = *stage;
    kstage_own(arena, &flat);
    memset(&flat.axes, 0, sizeof flat.axes);
    for (int i = 0; i < kernel->outer.count; i++)
        list_push(arena, &flat.axes, kernel->outer.items[i]);
    for (int i = 0; i < stage->axes.count; i++)
        list_push(arena, &flat.axes, stage->axes.items[i]);
    for (int i = 0; i < flat.insts.count; i++)
        if (flat.insts.items[i].op == K_load)
            index_locals_by_point(kernel, flat.insts.items[i].buffer, &flat.insts.items[i].index);
    for (int i = 0; i < flat.stores.count; i++)
        index_locals_by_point(kernel, flat.stores.items[i].buffer, &flat.stores.items[i].index);
    return flat;
}

/* Axis numbers stay as they are, since outer axes come first. */
static Kernel *flatten_kernel(Arena *arena, const Kernel *kernel)
{
    Kernel *flat = copy_shell(arena, kernel);
    for (int i = 0; i < kernel->stages.count; i++)
        list_push(arena, &flat->stages, flatten_stage(arena, kernel, &kernel->stages.items[i]));
    for (int i = 0; i < flat->buffers.count; i++)
        if (flat->buffers.items[i].kind == K_LOCAL)
            flat->buffers.items[i].count *= kernel_points(kernel);
    flat->outer.count = 0;
    return flat;
}

/* ---- a reduction in two steps ---- */

typedef struct Split {
    Arena *arena;
    Kernel *kernel; /* gets the buffers of partial results */
    const KStage *stage;
    int axis;      /* the REDUCE axis that the second step still folds */
    Ragged ragged; /* ragged.axis < 0: the first step keeps the axis whole, as a MAP axis; else it folds it by chunks */
    int64_t chunks;
    KStage first, second;
} Split;

static KAxis *stage_axis(Split *s, KStage *stage, int axis)
{
    return &stage->axes.items[axis - s->kernel->outer.count];
}

/* The place of a partial result; for whole axes they lie innermost, so that vectors run over them, and chunks outermost. */
static Affine partial_index(Split *s, const KStage *first, int64_t *count)
{
    int base = s->kernel->outer.count;
    Affine index = {0};
    *count = 1;
    if (s->ragged.axis < 0) {
        index.coef[s->axis] = 1;
        *count = stage_axis(s, &s->first, s->axis)->extent;
    }
    for (int axis = base + first->axes.count - 1; axis >= base; axis--) {
        if (axis == s->axis || axis == s->ragged.chunk || first->axes.items[axis - base].kind != K_MAP)
            continue;
        index.coef[axis] = *count;
        *count *= first->axes.items[axis - base].extent;
    }
    if (s->ragged.axis >= 0) {
        index.coef[s->ragged.chunk] = *count;
        *count *= s->chunks;
    }
    return index;
}

static void make_first(Split *s)
{
    Arena *arena = s->arena;
    KStage *first = &s->first;
    *first = *s->stage;
    kstage_own(arena, first);
    first->accs.items = arena_copy(arena, first->accs.items, (size_t)first->accs.count * sizeof *first->accs.items);
    first->insts.count = first->body_count;
    memset(&first->stores, 0, sizeof first->stores);
    if (s->ragged.axis < 0)
        stage_axis(s, first, s->axis)->kind = K_MAP;
    else
        list_push(arena, &first->axes, ((KAxis){.extent = s->chunks, .kind = K_MAP}));
    int64_t count;
    Affine index = partial_index(s, first, &count);
    for (int i = 0; i < first->accs.count; i++) {
        KAcc *acc = &first->accs.items[i];
        *acc = (KAcc){.combine = acc->combine, .value = acc->value, .dtype = kacc_kept(acc)};
        KBuffer buffer = {.kind = K_LOCAL, .dtype = acc->dtype, .count = count, .name = "partial"};
        list_push(arena, &s->kernel->buffers, buffer);
        KInst result = {.op = K_acc, .dtype = acc->dtype, .arg = {-1, -1, -1}, .imm = i};
        list_push(arena, &first->insts, result);
        KStore store = {.buffer = s->kernel->buffers.count - 1,
                        .index = index,
                        .dynamic = -1,
                        .guard = -1,
                        .value = first->insts.count - 1};
        list_push(arena, &first->stores, store);
    }
}

/* Its axes keep their numbers: those that the first step folded have extent 1 now. */
static void make_second(Split *s)
{
    Arena *arena = s->arena;
    KStage *second = &s->second;
    *second = *s->stage;
    kstage_own(arena, second);
    second->accs.items = arena_copy(arena, second->accs.items, (size_t)second->accs.count * sizeof *second->accs.items);
    for (int i = 0; i < second->axes.count; i++)
        if (second->axes.items[i].kind == K_REDUCE && i + s->kernel->outer.count != s->axis)
            second->axes.items[i].extent = 1;
    if (s->ragged.axis >= 0)
        stage_axis(s, second, s->axis)->extent = s->chunks;
    memset(&second->insts, 0, sizeof second->insts);
    for (int i = 0; i < s->first.stores.count; i++) {
        const KStore *store = &s->first.stores.items[i];
        KAcc *acc = &second->accs.items[i];
        *acc = s->first.accs.items[i];
        acc->value = i;
        KInst load = {.op = K_load, .dtype = acc->dtype, .arg = {-1, -1, -1}, .buffer = store->buffer, .index = store->index};
        if (s->ragged.axis >= 0) {
            load.index.coef[s->axis] = load.index.coef[s->ragged.chunk];
            load.index.coef[s->ragged.chunk] = 0;
        }
        list_push(arena, &second->insts, load);
    }
    int moved = s->first.stores.count - s->stage->body_count;
    second->body_count = s->first.stores.count;
    for (int i = s->stage->body_count; i < s->stage->insts.count; i++) {
        KInst inst = s->stage->insts.items[i];
        for (int a = 0; a < 3; a++)
            inst.arg[a] = inst.arg[a] < 0 ? -1 : inst.arg[a] + moved;
        list_push(arena, &second->insts, inst);
    }
    for (int i = 0; i < second->stores.count; i++) {
        KStore *store = &second->stores.items[i];
        store->value += moved;
        store->guard += store->guard < 0 ? 0 : moved;
        store->dynamic += store->dynamic < 0 ? 0 : moved;
    }
}

/* Only a plain fold whose tail stands on its own can be split. */
static bool can_split(const Kernel *kernel, const KStage *stage)
{
    if (stage->accs.count == 0 || kernel->outer.count + stage->axes.count >= K_MAX_AXES)
        return false;
    if (kernel->buffers.count + stage->accs.count > K_MAX_BUFFERS)
        return false;
    for (int i = 0; i < stage->axes.count; i++)
        if (stage->axes.items[i].kind == K_SCAN || stage->axes.items[i].extent == 0)
            return false;
    for (int i = stage->body_count; i < stage->insts.count; i++)
        for (int a = 0; a < kop_arity(stage->insts.items[i].op); a++)
            if (stage->insts.items[i].arg[a] >= 0 && stage->insts.items[i].arg[a] < stage->body_count)
                return false;
    for (int i = 0; i < stage->stores.count; i++) {
        const KStore *store = &stage->stores.items[i];
        if (store->value < stage->body_count || (store->guard >= 0 && store->guard < stage->body_count) ||
            (store->dynamic >= 0 && store->dynamic < stage->body_count))
            return false;
    }
    return true;
}

/* ---- which reductions are split ---- */

typedef struct Reshape {
    Arena *arena;
    const CpuTarget *target;
    Reshaped *out;
} Reshape;

static const Ragged WHOLE = {.axis = -1, .chunk = -1};

static void push_stage(Reshape *r, KStage stage, Ragged ragged)
{
    list_push(r->arena, &r->out->kernel->stages, stage);
    list_push(r->arena, &r->out->ragged, ragged);
}

static void run_split(Split *s)
{
    make_first(s);
    make_second(s);
}

static Kernel *with_buffers_of(Arena *arena, const Kernel *kernel)
{
    return copy_shell(arena, kernel);
}

/* A short REDUCE axis that lies innermost leaves vectors half empty: sums over the longer axes first, with the short one in
 * the lanes, then over the short one.  True if that is cheaper, with the two stages in `best`. */
static bool try_lanes(Reshape *r, const KStage *stage, Split *best)
{
    Kernel *kernel = r->out->kernel;
    double cost = 0.7 * nest_choose(r->arena, r->target, kernel, stage, WHOLE, false).cycles;
    int reduces = 0;
    bool found = false;
    for (int i = 0; i < stage->axes.count; i++)
        reduces += stage->axes.items[i].kind == K_REDUCE;
    for (int i = 0; i < stage->axes.count && reduces > 1 && can_split(kernel, stage); i++) {
        if (stage->axes.items[i].kind != K_REDUCE || stage->axes.items[i].extent > 4 * r->target->lanes)
            continue;
        Split s = {.arena = r->arena,
                   .kernel = with_buffers_of(r->arena, kernel),
                   .stage = stage,
                   .axis = kernel->outer.count + i,
                   .ragged = WHOLE};
        run_split(&s);
        kernel_merge_axes(s.kernel, &s.first);
        kernel_merge_axes(s.kernel, &s.second);
        double split = nest_choose(r->arena, r->target, s.kernel, &s.first, WHOLE, false).cycles +
                       nest_choose(r->arena, r->target, s.kernel, &s.second, WHOLE, false).cycles;
        if (split >= cost)
            continue;
        cost = split;
        *best = s;
        found = true;
    }
    return found;
}

static int longest_reduction(const Kernel *kernel, const KStage *stage)
{
    int best = -1;
    for (int i = 0; i < stage->axes.count; i++)
        if (stage->axes.items[i].kind == K_REDUCE && (best < 0 || stage->axes.items[i].extent > stage->axes.items[best].extent))
            best = i;
    return best < 0 ? -1 : kernel->outer.count + best;
}

static int64_t results_of(const KStage *stage)
{
    int64_t count = 1;
    for (int i = 0; i < stage->axes.count; i++)
        count *= stage->axes.items[i].kind == K_MAP ? stage->axes.items[i].extent : 1;
    return count;
}

/* Where the MAP axes give too few tasks, the longest REDUCE axis is cut into chunks. */
static bool try_chunks(Reshape *r, const KStage *stage, Split *out)
{
    Kernel *kernel = r->out->kernel;
    Nest nest = nest_choose(r->arena, r->target, kernel, stage, WHOLE, true);
    int axis = longest_reduction(kernel, stage);
    if (axis < 0 || 2 * nest.tasks > nest.wanted || !can_split(kernel, stage))
        return false;
    int64_t extent = stage->axes.items[axis - kernel->outer.count].extent, results = results_of(stage);
    int64_t chunks = (nest.wanted + nest.tasks - 1) / nest.tasks;
    chunks = chunks < MAX_PARTIALS / results ? chunks : MAX_PARTIALS / results;
    if (chunks < 2 || extent < 2)
        return false;
    int64_t unit = nest.vector_reduces ? nest.lanes * nest.chains : nest.chains;
    int64_t size = ((extent + chunks - 1) / chunks + unit - 1) / unit * unit;
    if (size >= extent)
        return false;
    *out = (Split){.arena = r->arena,
                   .kernel = with_buffers_of(r->arena, kernel),
                   .stage = stage,
                   .axis = axis,
                   .ragged = {.axis = axis, .chunk = kernel->outer.count + stage->axes.count, .size = size},
                   .chunks = (extent + size - 1) / size};
    run_split(out);
    return true;
}

static void adopt_buffers(Reshape *r, const Split *split)
{
    r->out->kernel->buffers = split->kernel->buffers;
}

static void reshape_fold(Reshape *r, KStage stage)
{
    Split split;
    if (r->out->by_stage && try_chunks(r, &stage, &split)) {
        adopt_buffers(r, &split);
        push_stage(r, split.first, split.ragged);
        kernel_merge_axes(r->out->kernel, &split.second);
        push_stage(r, split.second, WHOLE);
    } else {
        push_stage(r, stage, WHOLE);
    }
}

static void reshape_stage(Reshape *r, const KStage *from)
{
    KStage stage = *from;
    Split split;
    kstage_own(r->arena, &stage);
    if (stage.kind == K_STAGE_CONTRACT) {
        push_stage(r, stage, WHOLE);
        return;
    }
    kernel_merge_axes(r->out->kernel, &stage);
    if (stage.accs.count > 0 && try_lanes(r, &stage, &split)) {
        adopt_buffers(r, &split);
        reshape_fold(r, split.first);
        reshape_fold(r, split.second);
    } else {
        reshape_fold(r, stage);
    }
}

/* ---- whole kernels ---- */

static double stage_cycles(Arena *arena, const CpuTarget *target, const Kernel *kernel, const KStage *stage)
{
    double cycles = nest_choose(arena, target, kernel, stage, WHOLE, false).cycles;
    return stage->kind == K_STAGE_CONTRACT ? cycles / 8 : cycles;
}

static bool share_by_stage(Arena *arena, const CpuTarget *target, const Kernel *kernel)
{
    if (kernel->stages.count == 1)
        return true;
    if (kernel_points(kernel) >= ENOUGH_POINTS || 4 * kernel->stages.count > CPU_MAX_PHASES)
        return false;
    double cycles = 0;
    for (int i = 0; i < kernel->stages.count; i++) {
        const KStage *stage = &kernel->stages.items[i];
        if (kernel->outer.count + stage->axes.count > K_MAX_AXES)
            return false;
        cycles += stage_cycles(arena, target, kernel, stage);
    }
    return cycles * (double)kernel_points(kernel) > SMALL_KERNEL_CYCLES;
}

Reshaped reshape_kernel(Arena *arena, const CpuTarget *target, const Kernel *kernel)
{
    Reshaped out = {.by_stage = share_by_stage(arena, target, kernel)};
    const Kernel *from = out.by_stage ? flatten_kernel(arena, kernel) : kernel;
    out.kernel = copy_shell(arena, from);
    Reshape r = {.arena = arena, .target = target, .out = &out};
    for (int i = 0; i < from->stages.count; i++)
        reshape_stage(&r, &from->stages.items[i]);
    return out;
}
