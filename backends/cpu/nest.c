/* Choosing a stage's loops: by a small cost model over candidate vector axes; then order, unrolling and tasks. */
#include "backends/cpu/nest.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A task should be worth some microseconds; more tasks than this only cost. */
static const double TASK_CYCLES = 20000;
static const int64_t MAX_TASKS = 512;
static const uint32_t ON_ACC = 1u << 31;

typedef struct Search {
    const CpuTarget *target;
    const Kernel *kernel;
    const KStage *stage;
    int outer;
    uint32_t *depends; /* by instruction: stage axes (bit = axis number) and ON_ACC */
    uint32_t stored;   /* axes that every `add` store names */
    bool adds;
} Search;

typedef struct Choice {
    int axes[K_MAX_AXES], count; /* the vector axis; 0: scalar */
    int lanes;
    double cost;
} Choice;

static const KAxis *axis_of(const Search *s, int axis)
{
    return &s->stage->axes.items[axis - s->outer];
}

static int axis_end(const Search *s)
{
    return s->outer + s->stage->axes.count;
}

/* ---- what depends on what ---- */

static uint32_t affine_axes(const Search *s, const Affine *affine)
{
    uint32_t mask = 0;
    for (int axis = s->outer; axis < axis_end(s); axis++)
        mask |= affine->coef[axis] ? 1u << axis : 0;
    return mask;
}

static uint32_t axes_of_kind(const Search *s, KAxisKind kind)
{
    uint32_t mask = 0;
    for (int axis = s->outer; axis < axis_end(s); axis++)
        mask |= axis_of(s, axis)->kind == kind ? 1u << axis : 0;
    return mask;
}

static void find_dependences(Search *s)
{
    uint32_t kept = axes_of_kind(s, K_MAP) | axes_of_kind(s, K_SCAN);
    for (int i = 0; i < s->stage->insts.count; i++) {
        const KInst *inst = &s->stage->insts.items[i];
        uint32_t mask = inst->op == K_acc ? ON_ACC | kept : 0;
        if (inst->op == K_load || inst->op == K_axis)
            mask |= affine_axes(s, &inst->index);
        int arity = kop_arity(inst->op);
        for (int a = 0; a < arity; a++)
            mask |= inst->arg[a] >= 0 ? s->depends[inst->arg[a]] : 0;
        s->depends[i] = mask;
    }
    s->stored = ~0u;
    for (int i = 0; i < s->stage->stores.count; i++) {
        const KStore *store = &s->stage->stores.items[i];
        s->adds |= store->add;
        if (store->add)
            s->stored &= affine_axes(s, &store->index);
    }
}

/* ---- cost ---- */

static double times(const Search *s, uint32_t axes)
{
    double product = 1;
    for (int axis = s->outer; axis < axis_end(s); axis++)
        if (axes >> axis & 1)
            product *= (double)axis_of(s, axis)->extent;
    return product;
}

static double op_cost(const KInst *inst)
{
    switch (inst->op) {
    case K_value:
        return 0;
    case OP_div:
    case OP_rem:
        return dtype_is_float(inst->dtype) ? 4 : 12;
    case OP_sqrt:
        return 6;
    case K_mul_high:
        return 3;
    default:
        return 1;
    }
}

static uint32_t choice_mask(const Choice *c)
{
    uint32_t mask = 0;
    for (int i = 0; i < c->count; i++)
        mask |= 1u << c->axes[i];
    return mask;
}

static int64_t choice_extent(const Search *s, const Choice *c)
{
    int64_t extent = 1;
    for (int i = 0; i < c->count; i++)
        extent *= axis_of(s, c->axes[i])->extent;
    return extent;
}

/* Whether the form steps evenly along the flattened axis, and by how much. */
static bool choice_stride(const Search *s, const Choice *c, const Affine *affine, int64_t *stride)
{
    int64_t step = *stride = affine->coef[c->axes[c->count - 1]];
    for (int i = c->count - 1; i >= 0; i--) {
        if (affine->coef[c->axes[i]] != step)
            return false;
        step *= axis_of(s, c->axes[i])->extent;
    }
    return true;
}

/* Cost of one lane's share of an access that varies along the vector axis. */
static double access_cost(const Search *s, const Choice *c, const Affine *affine, bool scattered, double lanes, double each)
{
    int64_t stride;
    bool even = choice_stride(s, c, affine, &stride);
    if (!scattered && even && (stride == 1 || stride == 0))
        return 1 / lanes;
    return each;
}

/* A block of vectors loaded along another axis and transposed costs less than gathering. */
static double gather_cost(const Search *s, const Choice *c, const KInst *inst)
{
    if (s->stage->accs.count || c->count != 1 || inst->arg[0] >= 0 || inst->arg[1] >= 0)
        return 0.9;
    for (int axis = s->outer; axis < axis_end(s); axis++)
        if (inst->index.coef[axis] == 1 && axis != c->axes[0] && axis_of(s, axis)->kind == K_MAP &&
            axis_of(s, axis)->extent >= c->lanes)
            return 0.4;
    return 0.9;
}

static double inst_cost(const Search *s, const Choice *c, uint32_t mask, double lanes, int i)
{
    const KInst *inst = &s->stage->insts.items[i];
    double often = times(s, s->depends[i]);
    if (!(s->depends[i] & mask))
        return often * op_cost(inst);
    if (inst->op != K_load)
        return often * op_cost(inst) / lanes;
    bool scattered = inst->arg[0] >= 0 && s->depends[inst->arg[0]] & mask;
    return often * access_cost(s, c, &inst->index, scattered, lanes, gather_cost(s, c, inst));
}

static uint32_t depends_on(const Search *s, KRef ref)
{
    return ref >= 0 ? s->depends[ref] : 0;
}

static double store_cost(const Search *s, const Choice *c, uint32_t mask, double lanes, const KStore *store)
{
    double often = times(s, axes_of_kind(s, K_MAP) | axes_of_kind(s, K_SCAN));
    uint32_t place = affine_axes(s, &store->index) | depends_on(s, store->dynamic);
    uint32_t all = place | depends_on(s, store->guard) | depends_on(s, store->value);
    if (!(all & mask))
        return times(s, axes_of_kind(s, K_MAP) & ~mask);
    if (!(place & mask))
        return (double)INFINITY; /* lanes would write over each other */
    return often * access_cost(s, c, &store->index, depends_on(s, store->dynamic) & mask, lanes, 1.5);
}

static double choice_cost(const Search *s, const Choice *c)
{
    uint32_t mask = choice_mask(c), maps = axes_of_kind(s, K_MAP);
    if (s->adds && (mask & maps & ~s->stored))
        return (double)INFINITY;
    double extent = (double)choice_extent(s, c);
    double lanes = c->count ? extent / ceil(extent / c->lanes) : 1, cost = 0;
    for (int i = 0; i < s->stage->insts.count; i++)
        cost += c->count ? inst_cost(s, c, mask, lanes, i) : times(s, s->depends[i]) * op_cost(&s->stage->insts.items[i]);
    double points = times(s, ~0u), results = times(s, maps | axes_of_kind(s, K_SCAN));
    for (int i = 0; i < s->stage->stores.count; i++)
        cost += c->count ? store_cost(s, c, mask, lanes, &s->stage->stores.items[i]) : results;
    bool reduces = c->count && !(mask & maps);
    cost += s->stage->accs.count * (points / lanes + (reduces ? results * (6 + 3 * log2(c->lanes)) : 0));
    return cost + points / lanes * 0.5 + (c->count ? points / extent : 0);
}

/* ---- the vector axis ---- */

/* Lanes suit the widest type that most instructions compute in. */
static int stage_lanes(const Search *s)
{
    int narrow = 0, wide = 0;
    for (int i = 0; i < s->stage->insts.count; i++) {
        DType dtype = s->stage->insts.items[i].dtype;
        wide += dtype == DT_f64;
        narrow += dtype != DT_f64 && dtype != DT_i64 && dtype != DT_bool;
    }
    return wide > narrow ? s->target->lanes / 2 : s->target->lanes;
}

static bool choice_has(const Choice *c, int axis)
{
    for (int i = 0; i < c->count; i++)
        if (c->axes[i] == axis)
            return true;
    return false;
}

/* The same with one more axis on the outside. */
static Choice choice_extended(const Choice *c, int axis)
{
    Choice wider = *c;
    memmove(wider.axes + 1, wider.axes, (size_t)c->count * sizeof *c->axes);
    wider.axes[0] = axis;
    wider.count++;
    return wider;
}

static Choice grow_choice(const Search *s, Choice best, const Ragged *ragged)
{
    KAxisKind kind = axis_of(s, best.axes[0])->kind;
    for (bool grown = true; grown && best.axes[0] != ragged->axis;) {
        grown = false;
        Choice from = best;
        for (int axis = s->outer; axis < axis_end(s); axis++) {
            if (axis_of(s, axis)->kind != kind || choice_has(&from, axis) || axis == ragged->axis || axis == ragged->chunk)
                continue;
            Choice wider = choice_extended(&from, axis);
            wider.cost = choice_cost(s, &wider);
            if (choice_extent(s, &wider) < INT32_MAX && wider.cost < 0.95 * best.cost) {
                best = wider;
                grown = true;
            }
        }
    }
    return best;
}

static Choice choose_vector(const Search *s, const Ragged *ragged)
{
    Choice best = {.lanes = stage_lanes(s)};
    best.cost = choice_cost(s, &best);
    bool scans = axes_of_kind(s, K_SCAN) != 0;
    for (int axis = s->outer; axis < axis_end(s); axis++) {
        KAxisKind kind = axis_of(s, axis)->kind;
        if (kind == K_SCAN || (kind == K_REDUCE && scans) || axis == ragged->chunk || axis_of(s, axis)->extent < 2)
            continue;
        Choice one = {.axes = {axis}, .count = 1, .lanes = best.lanes};
        one.cost = choice_cost(s, &one);
        if (isinf(one.cost))
            continue;
        one = grow_choice(s, one, ragged);
        if (one.cost < best.cost)
            best = one;
    }
    return best;
}

/* ---- order of loops ---- */

/* How far apart neighbours along the axis lie: large ones belong outside. */
static int64_t axis_reach(const Search *s, int axis)
{
    int64_t reach = 0;
    for (int i = 0; i < s->stage->insts.count; i++)
        if (s->stage->insts.items[i].op == K_load)
            reach += llabs(s->stage->insts.items[i].index.coef[axis]);
    for (int i = 0; i < s->stage->stores.count; i++)
        reach += 2 * llabs(s->stage->stores.items[i].index.coef[axis]);
    return reach;
}

static void add_loops(const Search *s, Nest *nest, KAxisKind kind, uint32_t mask, bool sorted)
{
    int first = nest->count;
    for (int axis = s->outer; axis < axis_end(s); axis++) {
        if (axis_of(s, axis)->kind != kind || mask >> axis & 1)
            continue;
        int at = nest->count++;
        for (; sorted && at > first && axis_reach(s, nest->order[at - 1]) < axis_reach(s, axis); at--)
            nest->order[at] = nest->order[at - 1];
        nest->order[at] = axis;
    }
}

bool nest_is_transposed(const Nest *nest, const KInst *inst)
{
    return nest->block_axis >= 0 && inst->op == K_load && inst->arg[0] < 0 && inst->arg[1] < 0 &&
           inst->index.coef[nest->block_axis] == 1 && inst->index.coef[nest->vector[0]] != 0;
}

/* The MAP axis along which most of the loads that would be gathered are contiguous, if the stage is small enough to be emitted
 * as many times as there are lanes. */
static int choose_block_axis(const Search *s, const Choice *c)
{
    enum { MOST_INSTS = 10 };
    int best = -1, most = 0;
    if (c->count != 1 || axis_of(s, c->axes[0])->kind != K_MAP || s->stage->accs.count || s->adds ||
        s->stage->insts.count > MOST_INSTS || axis_of(s, c->axes[0])->extent < c->lanes)
        return -1;
    for (int axis = s->outer; axis < axis_end(s); axis++) {
        Nest trial = {.block_axis = axis, .vector = {c->axes[0]}};
        int loads = 0;
        for (int i = 0; i < s->stage->insts.count; i++)
            loads += nest_is_transposed(&trial, &s->stage->insts.items[i]);
        if (axis == c->axes[0] || axis_of(s, axis)->kind != K_MAP || axis_of(s, axis)->extent < c->lanes || loads <= most)
            continue;
        most = loads;
        best = axis;
    }
    return best;
}

/* Whether what depends on the vector axis but not on other MAP axes is worth computing once, outside their loops. */
static bool vector_goes_outside(const Search *s, const Choice *c, uint32_t mask)
{
    uint32_t others = axes_of_kind(s, K_MAP) & ~mask;
    if (!c->count || !others || s->stage->accs.count > 0)
        return false;
    if (choice_extent(s, c) <= 4 * c->lanes)
        return true;
    double points = times(s, mask | others), saved = 0;
    for (int i = 0; i < s->stage->insts.count; i++)
        if (s->depends[i] & mask && !(s->depends[i] & others))
            saved += (points - times(s, s->depends[i])) * inst_cost(s, c, mask, c->lanes, i) / times(s, s->depends[i]);
    return saved > 0.3 * c->cost && choice_extent(s, c) <= 8192;
}

static void order_loops(const Search *s, Nest *nest, const Choice *c)
{
    uint32_t mask = choice_mask(c);
    bool maps = c->count && axis_of(s, c->axes[0])->kind == K_MAP;
    uint32_t block = nest->block_axis >= 0 ? 1u << nest->block_axis : 0;
    if (maps && !block && vector_goes_outside(s, c, mask)) {
        nest->order[nest->count++] = NEST_VECTOR;
        maps = false;
    }
    add_loops(s, nest, K_MAP, mask | block, !s->adds);
    if (block)
        nest->order[nest->count++] = nest->block_axis;
    if (maps)
        nest->order[nest->count++] = NEST_VECTOR;
    nest->map_loops = nest->count;
    add_loops(s, nest, K_SCAN, 0, false);
    nest->scan_loops = nest->count - nest->map_loops;
    add_loops(s, nest, K_REDUCE, mask, true);
    if (nest->vector_reduces)
        nest->order[nest->count++] = NEST_VECTOR;
}

static void set_levels(const Search *s, Nest *nest, uint32_t mask)
{
    bool folds = s->stage->accs.count > 0;
    for (int i = 0; i < s->stage->insts.count; i++) {
        int level = 0;
        for (int loop = 0; loop < nest->count; loop++) {
            uint32_t axes = nest->order[loop] == NEST_VECTOR ? mask : 1u << nest->order[loop];
            level = s->depends[i] & axes ? loop + 1 : level;
        }
        bool late = s->depends[i] & ON_ACC || (i >= s->stage->body_count && level > nest->map_loops);
        nest->level[i] = folds && late ? NEST_TAIL : level;
        nest->varies[i] = s->depends[i] & mask;
    }
}

/* ---- unrolling ---- */

static int64_t innermost_extent(const Nest *nest)
{
    return nest->count ? nest_extent(nest, nest->count - 1) : 1;
}

/* The largest factor up to `most` that leaves no remainder, or, where that is small, `most` if the axis is long. */
static int fitting_factor(int64_t blocks, int most)
{
    if (blocks >= 8 * most)
        return most;
    for (int factor = most; factor > 1; factor--)
        if (blocks % factor == 0)
            return factor;
    return 1;
}

static void choose_unrolling(const Search *s, Nest *nest)
{
    int size = 0, accs = s->stage->accs.count, end = accs ? s->stage->body_count : s->stage->insts.count;
    for (int i = 0; i < end; i++)
        size += nest->varies[i] || accs;
    nest->copies = nest->chains = 1;
    if (nest->block_axis >= 0)
        return;
    bool scans = nest->scan_loops > 0;
    if (nest->vector_count && !nest->vector_reduces) {
        int64_t blocks = (nest->vector_extent + nest->lanes - 1) / nest->lanes;
        nest->copies = fitting_factor(blocks, size <= 4 && accs == 1 ? 8 : size <= 12 ? 4 : size <= 30 ? 2 : 1);
    }
    if (accs == 0 || scans || nest->count == nest->map_loops)
        return;
    int most = size <= 12 ? 4 : size <= 30 ? 2 : 1;
    most = most / nest->copies > 1 ? most / nest->copies : 1;
    int64_t extent = innermost_extent(nest) / (nest->vector_reduces ? nest->lanes : 1);
    nest->chains = extent < 2 ? 1 : fitting_factor(extent, most);
}

/* ---- tasks ---- */

static bool may_share(const Search *s, int loop_axis)
{
    return !s->adds || s->stored >> loop_axis & 1;
}

static void cut_loop(Nest *nest, int loop, int64_t pieces, int64_t unit)
{
    int64_t extent = nest_extent(nest, loop);
    int64_t size = (extent + pieces - 1) / pieces;
    size = (size + unit - 1) / unit * unit;
    if (size >= extent)
        return;
    nest->chunk_loop = loop;
    nest->chunk_size = size;
    nest->chunks = (extent + size - 1) / size;
    nest->tasks *= nest->chunks;
}

/* Outer MAP loops are given out whole while that makes no more tasks than wanted, then one is cut.  A loop without turns stays
 * a loop: it would leave no task. */
static void share_out(const Search *s, Nest *nest)
{
    double wanted = ceil(nest->cycles / TASK_CYCLES);
    nest->wanted = wanted < (double)MAX_TASKS ? (int64_t)wanted : MAX_TASKS;
    int64_t chunk_axis = nest->ragged.chunk;
    for (int loop = 0; loop < nest->map_loops && nest->chunk_loop < 0; loop++) {
        int axis = nest->order[loop];
        if (axis == NEST_VECTOR || !may_share(s, axis) || !nest_extent(nest, loop))
            continue;
        bool block = axis == nest->block_axis;
        if (axis == chunk_axis || (!block && nest->tasks * nest_extent(nest, loop) <= nest->wanted)) {
            nest->task_axes[nest->task_axis_count++] = axis;
            nest->tasks *= nest_extent(nest, loop);
        } else if (nest->tasks < nest->wanted) {
            cut_loop(nest, loop, (nest->wanted + nest->tasks - 1) / nest->tasks, block ? nest->lanes : 1);
        }
    }
    if (nest->chunk_loop >= 0 || nest->tasks >= nest->wanted || nest->vector_reduces)
        return;
    for (int loop = 0; loop < nest->map_loops; loop++)
        if (nest->order[loop] == NEST_VECTOR)
            cut_loop(nest, loop, (nest->wanted + nest->tasks - 1) / nest->tasks, nest->lanes * nest->copies);
}

/* Axes given out whole are no loops any more. */
static void drop_task_loops(Nest *nest)
{
    int kept = 0, chunk_loop = nest->chunk_loop, map_loops = nest->map_loops;
    for (int loop = 0; loop < nest->count; loop++) {
        bool given = false;
        for (int i = 0; i < nest->task_axis_count; i++)
            given |= nest->task_axes[i] == nest->order[loop];
        if (given) {
            map_loops--;
            continue;
        }
        if (loop == nest->chunk_loop)
            chunk_loop = kept;
        nest->order[kept++] = nest->order[loop];
    }
    nest->count = kept;
    nest->map_loops = map_loops;
    nest->chunk_loop = chunk_loop;
}

int64_t nest_extent(const Nest *nest, int loop)
{
    int axis = nest->order[loop];
    return axis == NEST_VECTOR ? nest->vector_extent : nest->stage->axes.items[axis - nest->kernel->outer.count].extent;
}

Nest nest_choose(Arena *arena, const CpuTarget *target, const Kernel *kernel, const KStage *stage, Ragged ragged, bool share)
{
    int insts = stage->insts.count + 1;
    Search s = {.target = target, .kernel = kernel, .stage = stage, .outer = kernel->outer.count};
    s.depends = arena_array(arena, uint32_t, insts);
    find_dependences(&s);
    Choice choice = choose_vector(&s, &ragged);
    Nest nest = {.kernel = kernel,
                 .stage = stage,
                 .ragged = ragged,
                 .lanes = choice.count ? choice.lanes : 1,
                 .vector_count = choice.count,
                 .vector_extent = choice_extent(&s, &choice),
                 .cycles = choice.cost,
                 .chunk_loop = -1,
                 .chunks = 1,
                 .tasks = 1,
                 .wanted = 1};
    memcpy(nest.vector, choice.axes, sizeof choice.axes);
    nest.vector_reduces = choice.count && axis_of(&s, choice.axes[0])->kind == K_REDUCE;
    nest.block_axis = choose_block_axis(&s, &choice);
    nest.level = arena_array(arena, int, insts);
    nest.varies = arena_array(arena, bool, insts);
    order_loops(&s, &nest, &choice);
    set_levels(&s, &nest, choice_mask(&choice));
    choose_unrolling(&s, &nest);
    if (share) {
        share_out(&s, &nest);
        drop_task_loops(&nest);
        set_levels(&s, &nest, choice_mask(&choice));
    }
    return nest;
}

/* ---- for people ---- */

void nest_print(const Nest *nest, Text *out)
{
    text_puts(out, "  loops");
    for (int loop = 0; loop < nest->count; loop++) {
        const char *kind = loop < nest->map_loops ? "map" : loop < nest->map_loops + nest->scan_loops ? "scan" : "reduce";
        text_printf(out, " %s %lld", kind, (long long)nest_extent(nest, loop));
        if (nest->order[loop] == NEST_VECTOR)
            text_printf(out, " by %d x %d lanes", nest->vector_reduces ? nest->chains : nest->copies, nest->lanes);
        if (nest->block_axis >= 0 && nest->order[loop] == nest->block_axis)
            text_puts(out, " transposed in blocks");
        if (loop == nest->chunk_loop)
            text_printf(out, " in pieces of %lld", (long long)nest->chunk_size);
    }
    if (nest->ragged.axis >= 0)
        text_printf(out, "  reduction in chunks of %lld", (long long)nest->ragged.size);
    text_printf(out, "  tasks %lld\n", (long long)nest->tasks);
}
