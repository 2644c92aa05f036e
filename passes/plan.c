/* Plan: places the buffers of a plan in one arena, and those of parallel loops in lanes.
 *
 * Takes a plan with its steps in their final order; leaves the lifetime of each buffer, its place, the sizes of arena and lanes
 * and the lower bounds that no placement can beat.  Two greedy orders are tried (largest first; in order of birth) and the
 * better is kept.  A buffer that a loop reads but does not make lives until the loop ends.  An outermost loop that carries
 * nothing is parallel, unless lanes would need too much memory.  What is made in another buffer's memory (plan_over.c) is
 * placed with it. */
#include "passes/passes.h"
#include "passes/plan_internal.h"

#include <stdlib.h>

enum {
    ALIGNMENT = 64,
    MOST_LANES = 1 << 30, /* bytes of all lanes together: turns that need more have enough in them to share out */
};

typedef struct LoopSpan {
    const PlanStep *step;
    int start, end;
} LoopSpan;

typedef struct Placing {
    Plan *plan;
    bool lanes;   /* loops may be parallel */
    bool in_lane; /* what is walked is inside of such a loop */
    int clock;
    Span at;              /* of the step that is walked */
    LIST(LoopSpan) loops; /* inner ones before those around them */
    LaunchesAt launches;
} Placing;

/* ---- lifetimes ---- */

static void touch(Placing *placing, int buffer)
{
    if (buffer < 0)
        return;
    PlanBuffer *info = &placing->plan->buffers.items[buffer];
    if (info->first < 0) {
        info->first = placing->clock;
        info->span = placing->at;
    }
    info->last = placing->clock;
}

static void touch_steps(Placing *placing, PlanSteps *steps);

static void touch_borders(Placing *placing, const PlanStep *step, bool entering)
{
    touch(placing, step->trip); /* asked anew before each turn where the device decides */
    touch(placing, step->counter);
    for (int i = 0; i < step->carries.count; i++) {
        if (entering)
            touch(placing, step->carries.items[i].init);
        else
            touch(placing, step->carries.items[i].next);
        touch(placing, step->carries.items[i].slot);
    }
    for (int i = 0; i < step->rows.count; i++) {
        if (!entering)
            touch(placing, step->rows.items[i].value);
        touch(placing, step->rows.items[i].whole);
    }
}

static void touch_step(Placing *placing, PlanStep *step)
{
    bool loops = step->kind == STEP_FOR || step->kind == STEP_WHILE;
    placing->clock++;
    placing->at = step->span;
    for (int i = 0; i < step->args.count; i++)
        touch(placing, step->args.items[i]);
    if (step->kind == STEP_LAUNCH)
        list_push(placing->plan->arena, &placing->launches, ((LaunchAt){step, placing->clock}));
    if (step->kind == STEP_IF)
        touch(placing, step->condition);
    touch_borders(placing, step, true);
    int start = placing->clock;
    step->parallel = placing->lanes && !placing->in_lane && step->kind == STEP_FOR && !step->carries.count;
    placing->in_lane |= step->parallel;
    if (step->test) {
        touch_steps(placing, step->test);
        placing->clock++;
        touch(placing, step->condition);
    }
    if (step->body)
        touch_steps(placing, step->body);
    if (step->otherwise)
        touch_steps(placing, step->otherwise);
    if (step->parallel)
        placing->in_lane = false;
    if (!loops)
        return;
    placing->clock++;
    touch_borders(placing, step, false);
    list_push(placing->plan->arena, &placing->loops, ((LoopSpan){step, start, placing->clock}));
}

static void touch_steps(Placing *placing, PlanSteps *steps)
{
    for (int i = 0; i < steps->list.count; i++)
        touch_step(placing, &steps->list.items[i]);
}

static void find_lifetimes(Placing *placing)
{
    Plan *plan = placing->plan;
    for (int i = 0; i < plan->buffers.count; i++)
        plan->buffers.items[i].first = plan->buffers.items[i].last = -1;
    touch_steps(placing, &plan->steps);
    for (int i = 0; i < placing->loops.count; i++) {
        LoopSpan loop = placing->loops.items[i];
        for (int j = 0; j < plan->buffers.count; j++) {
            PlanBuffer *buffer = &plan->buffers.items[j];
            if (buffer->first <= loop.start && buffer->last > loop.start && buffer->last < loop.end)
                buffer->last = loop.end;
        }
    }
}

static bool writes_rows_to(const PlanStep *step, int buffer)
{
    for (int i = 0; i < step->rows.count; i++)
        if (step->rows.items[i].whole == buffer)
            return true;
    return false;
}

/* What lives only while a parallel loop runs: each lane has its own. */
static void move_to_lanes(Placing *placing)
{
    Plan *plan = placing->plan;
    for (int i = 0; i < placing->loops.count; i++) {
        LoopSpan loop = placing->loops.items[i];
        for (int j = 0; loop.step->parallel && j < plan->buffers.count; j++) {
            PlanBuffer *buffer = &plan->buffers.items[j];
            bool inside = buffer->first >= loop.start && buffer->last <= loop.end && !writes_rows_to(loop.step, j);
            if (inside && buffer->place == PLACE_ARENA)
                buffer->place = PLACE_LANE;
        }
    }
}

/* ---- placement ---- */

static int64_t aligned(int64_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static bool lies_in(PlanPlace where, const PlanBuffer *buffer)
{
    return buffer->place == where && buffer->first >= 0;
}

typedef struct Candidate {
    int buffer;
    int64_t bytes, offset;
    int first, last;
} Candidate;

static int by_size(const void *a, const void *b)
{
    const Candidate *left = a, *right = b;
    if (left->bytes != right->bytes)
        return left->bytes < right->bytes ? 1 : -1;
    return left->buffer - right->buffer;
}

static int by_birth(const void *a, const void *b)
{
    const Candidate *left = a, *right = b;
    return left->first != right->first ? left->first - right->first : left->buffer - right->buffer;
}

static int by_offset(const void *a, const void *b)
{
    const Candidate *left = *(const Candidate *const *)a, *right = *(const Candidate *const *)b;
    return (left->offset > right->offset) - (left->offset < right->offset);
}

/* Each candidate goes into the smallest gap that holds it between those that live at the same time. */
static int64_t place(Arena *arena, Candidate *list, int count, int (*order)(const void *, const void *))
{
    qsort(list, (size_t)count, sizeof *list, order);
    const Candidate **alive = arena_array(arena, const Candidate *, count + 1);
    int64_t size = 0;
    for (int i = 0; i < count; i++) {
        int alive_count = 0;
        for (int j = 0; j < i; j++)
            if (list[j].first <= list[i].last && list[i].first <= list[j].last)
                alive[alive_count++] = &list[j];
        qsort(alive, (size_t)alive_count, sizeof *alive, by_offset);
        int64_t end = 0, best = -1, best_gap = INT64_MAX;
        for (int j = 0; j < alive_count; j++) {
            int64_t gap = alive[j]->offset - end;
            if (gap >= list[i].bytes && gap < best_gap) {
                best = end;
                best_gap = gap;
            }
            if (alive[j]->offset + alive[j]->bytes > end)
                end = alive[j]->offset + alive[j]->bytes;
        }
        list[i].offset = best >= 0 ? best : end;
        if (list[i].offset + list[i].bytes > size)
            size = list[i].offset + list[i].bytes;
    }
    return size;
}

static int64_t most_alive(const Placing *placing, PlanPlace where)
{
    Plan *plan = placing->plan;
    int64_t *change = arena_array(plan->arena, int64_t, placing->clock + 2), alive = 0, most = 0;
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if (!lies_in(where, buffer))
            continue;
        change[buffer->first + (buffer->over >= 0)] += aligned(buffer->bytes);
        change[buffer->last + 1] -= aligned(buffer->bytes);
    }
    for (int i = 0; i <= placing->clock; i++) {
        alive += change[i];
        if (alive > most)
            most = alive;
    }
    return most;
}

static void report_limit(const Plan *plan, int64_t limit, DiagSink *diags)
{
    const PlanBuffer *largest = NULL;
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if ((lies_in(PLACE_ARENA, buffer) || lies_in(PLACE_LANE, buffer)) && (!largest || buffer->bytes > largest->bytes))
            largest = buffer;
    }
    Span place = largest ? largest->span : (Span){0};
    diag_report(diags, DIAG_memory_limit, place, "'%s' needs at least %lld bytes for its values; at most %lld are allowed",
                plan->name, (long long)plan_peak(plan), (long long)limit);
    if (largest)
        diag_note(diags, (Span){0}, "the largest, %s, has %lld%s", largest->name ? largest->name : "one without a name",
                  (long long)largest->bytes, place.source ? ": it is made there" : "");
}

/* Offsets of the buffers that lie there; returns the bytes that they take together. */
static int64_t place_all(Plan *plan, PlanPlace where)
{
    Candidate *list = arena_array(plan->arena, Candidate, plan->buffers.count + 1);
    int *last = arena_array(plan->arena, int, plan->buffers.count + 1), count = 0;
    for (int i = 0; i < plan->buffers.count; i++) {
        int *end = &last[plan_first_of(plan, i)];
        *end = plan->buffers.items[i].last > *end ? plan->buffers.items[i].last : *end;
    }
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if (lies_in(where, buffer) && buffer->over < 0)
            list[count++] = (Candidate){i, aligned(buffer->bytes), 0, buffer->first, last[i]};
    }
    int64_t bytes = place(plan->arena, list, count, by_birth);
    Candidate *other = arena_copy(plan->arena, list, (size_t)count * sizeof *list);
    int64_t size = place(plan->arena, other, count, by_size);
    if (size < bytes) {
        bytes = size;
        list = other;
    }
    for (int i = 0; i < count; i++)
        plan->buffers.items[list[i].buffer].offset = list[i].offset;
    for (int i = 0; i < plan->buffers.count; i++)
        if (lies_in(where, &plan->buffers.items[i]))
            plan->buffers.items[i].offset = plan->buffers.items[plan_first_of(plan, i)].offset;
    return bytes;
}

static void place_plan(Plan *plan, int lanes, bool parallel)
{
    Placing placing = {.plan = plan, .lanes = parallel};
    for (int i = 0; i < plan->buffers.count; i++)
        if (plan->buffers.items[i].place == PLACE_LANE)
            plan->buffers.items[i].place = PLACE_ARENA;
    find_lifetimes(&placing);
    move_to_lanes(&placing);
    plan_find_successors(plan, &placing.launches);
    plan->lanes = lanes;
    plan->arena_bytes = place_all(plan, PLACE_ARENA);
    plan->lane_bytes = place_all(plan, PLACE_LANE);
    plan->arena_least = most_alive(&placing, PLACE_ARENA);
    plan->lane_least = most_alive(&placing, PLACE_LANE);
}

bool pass_plan(Plan *plan, const LowerOptions *options, DiagSink *diags)
{
    int lanes = options->lanes > 1 ? options->lanes : 1;
    int64_t limit = options->memory_limit ? options->memory_limit : INT64_MAX;
    place_plan(plan, lanes, true);
    if (plan_peak(plan) > limit || plan->lane_bytes > MOST_LANES / lanes)
        place_plan(plan, 1, false);
    if (plan_peak(plan) > limit) {
        report_limit(plan, limit, diags);
        return false;
    }
    plan_leave_out_copies(plan);
    return true;
}
