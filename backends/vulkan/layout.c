/* Where everything lies in the one buffer of an instance, and what each step of a plan dispatches.
 *
 * First come the plan's arena, its lane (turns follow each other here), constants, inputs and outputs, then scratch, the place
 * where arguments meet that no windows show together (windows.c), control and the table.  Control has predicates and slots.
 * What the device decides about, the branch of an `if` or the turns of a loop whose end is not known in advance, is a *region*:
 * its predicate says whether it is run, and each of its dispatches reads how many groups it has from a slot.  A gate before the
 * region works out the predicate and fills the slots, with zeros if the region is to be left out. */
#include "backends/vulkan/schedule.h"

#include <string.h>

typedef struct Decision { /* a step that the device decides about, whose regions are not laid yet */
    LaidSteps *steps;
    int step;  /* of them */
    int outer; /* predicate of the region around it */
} Decision;

typedef struct Laying {
    Arena *arena, *messages;
    const Device *device;
    const Plan *plan;
    Layout *layout;
    const Schedule **schedule; /* by kernel of the plan */
    int64_t value_bytes;       /* of all that windows show */
    LIST(Decision) open;       /* regions follow each other, so that the slots of each do */
    const char *reason;
} Laying;

enum { ALWAYS = 0 }; /* the predicate, first in control, of what is in no region */

bool layout_decides(const Plan *plan, const PlanStep *step)
{
    return step->kind == STEP_IF || step->kind == STEP_WHILE ||
           (step->kind == STEP_FOR && plan->buffers.items[step->trip].place != PLACE_CONSTANT);
}

/* ---- sizes, in advance ---- */

/* Slots and predicates that the steps take, in words, if they are in a region. */
static int64_t control_words(const Laying *laying, const PlanSteps *steps, bool in_region)
{
    int64_t words = 0;
    for (int i = 0; steps && i < steps->list.count; i++) {
        const PlanStep *step = &steps->list.items[i];
        bool decides = layout_decides(laying->plan, step), inside = in_region || decides;
        int64_t phases = step->kind == STEP_LAUNCH ? laying->schedule[step->kernel]->phases.count : 1;
        int64_t copies = step->carries.count * 2 + step->rows.count + (step->kind == STEP_LAUNCH ? step->args.count * 2 : 0);
        words += inside ? SLOT_WORDS * (phases + copies) : 0;
        words += decides ? 3 : 0;
        words += control_words(laying, step->test, inside) + control_words(laying, step->body, inside) +
                 control_words(laying, step->otherwise, inside);
    }
    return words;
}

static void place_buffers(Laying *laying)
{
    const Plan *plan = laying->plan;
    Layout *layout = laying->layout;
    int64_t lane = rounded_up(plan->arena_bytes, 64), next = lane + rounded_up(plan->lane_bytes, 64);
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if (buffer->place == PLACE_ARENA || buffer->place == PLACE_LANE) {
            layout->offset[i] = buffer->offset + (buffer->place == PLACE_ARENA ? 0 : lane);
        } else {
            layout->offset[i] = next;
            next += rounded_up(buffer->bytes, 64);
        }
    }
    for (int i = 0; i < plan->kernels.count; i++) {
        int64_t bytes = laying->schedule[i]->scratch_bytes;
        layout->scratch_bytes = bytes > layout->scratch_bytes ? bytes : layout->scratch_bytes;
    }
    layout->scratch = next;
    layout->meeting = layout->control_offset = next + rounded_up(layout->scratch_bytes, 256);
    laying->value_bytes = layout->control_offset + 4 * (1 + control_words(laying, &plan->steps, false));
}

/* ---- rows, windows, shaders ---- */

Groups dispatch_groups(const Shaders *shaders, const Dispatch *dispatch, int phase)
{
    int64_t groups = shaders->kernel ? shaders->schedule->phases.items[phase].groups : dispatch->groups;
    if (shaders->kernel && !shaders->schedule->phases.items[phase].points)
        groups = 0;
    if (groups <= MOST_GROUPS_A_LINE)
        return (Groups){(uint32_t)groups, 1};
    return (Groups){MOST_GROUPS_A_LINE, (uint32_t)parts_of(groups, MOST_GROUPS_A_LINE)};
}

/* Where what is at `offset` begins in its window, in elements of `size` bytes. */
static uint32_t place_in(const Windows *windows, unsigned char window, int64_t offset, int64_t size)
{
    return (uint32_t)((offset - windows->start[window_first(window)]) / size);
}

static int intern_windows(Laying *laying, const Windows *windows)
{
    Layout *layout = laying->layout;
    for (int i = 0; i < layout->windows.count; i++)
        if (memcmp(&layout->windows.items[i], windows, sizeof *windows) == 0)
            return i;
    list_push(laying->arena, &layout->windows, *windows);
    return layout->windows.count - 1;
}

static Phase control_phase = {PHASE_POINTS, .stage = -1, .points = 1, .pieces = 1, .groups = 1, .threads = POINT_THREADS};
static const Schedule control_schedule = {.phases = {&control_phase, 1, 1}, .lots = 1, .turns = 1};

/* Of a kernel of the plan, or, below 0, of control flow. */
static int intern_shaders(Laying *laying, int number, ControlKind control, const unsigned char *window, int args)
{
    const Kernel *kernel = number < 0 ? NULL : laying->plan->kernels.items[number];
    Layout *layout = laying->layout;
    for (int i = 0; i < layout->shaders.count; i++) {
        const Shaders *other = &layout->shaders.items[i];
        if (other->kernel == kernel && other->control == control && memcmp(other->window, window, (size_t)args) == 0)
            return i;
    }
    Shaders made = {.kernel = kernel, .control = control};
    made.window = arena_copy(laying->arena, window, (size_t)args);
    made.schedule = kernel ? laying->schedule[number] : &control_schedule;
    made.pipeline = arena_array(laying->arena, VkPipeline, made.schedule->phases.count + 1);
    list_push(laying->arena, &layout->shaders, made);
    return layout->shaders.count - 1;
}

static uint32_t begin_row(Laying *laying, int64_t words)
{
    Layout *layout = laying->layout;
    while (layout->table.count * 4 % laying->device->row_alignment)
        list_push(laying->arena, &layout->table, 0);
    layout->row_bytes = words * 4 > layout->row_bytes ? rounded_up(words * 4, 16) : layout->row_bytes;
    return (uint32_t)layout->table.count * 4;
}

static void say_too_far(Laying *laying, Span span, const char *name, const Range *ranges, int count)
{
    const Device *device = laying->device;
    int64_t longest = 0;
    for (int i = 0; i < count; i++)
        longest = ranges[i].end - ranges[i].first > longest ? ranges[i].end - ranges[i].first : longest;
    if (laying->reason)
        return;
    const char *reason = arena_printf(
        laying->messages,
        "not enough memory: '%s' works on %s of %lld bytes: a shader of %s sees %d parts of the memory, of %lld bytes each",
        name, longest > device->window_bytes ? "an array" : "too many arrays at once, the longest", (long long)longest,
        device->properties.deviceName, MOST_WINDOWS, (long long)device->window_bytes);
    laying->reason = span_located(laying->messages, span, reason);
}

/* Of few ranges, which windows show unless they are too long. */
static void place_windows(Laying *laying, const char *name, const Range *ranges, int count, Windows *windows,
                          unsigned char *window)
{
    if (!windows_place(laying->arena, laying->device, laying->value_bytes, ranges, count, windows, window))
        say_too_far(laying, (Span){0}, name, ranges, count);
}

/* ---- launches ---- */

/* What a launch sees: its arguments, then scratch. */
typedef struct Sight {
    int count;
    Range *ranges;
    bool *moved; /* to where they meet, so that windows show all of them */
    int64_t moved_bytes;
    unsigned char *window;
    Windows windows;
} Sight;

static Range range_of(const Laying *laying, int buffer)
{
    int64_t first = laying->layout->offset[buffer];
    return (Range){first, first + laying->plan->buffers.items[buffer].bytes};
}

/* False: arguments are too long, or scratch is. */
static bool look(const Laying *laying, const PlanStep *step, Sight *sight)
{
    const Layout *layout = laying->layout;
    int args = step->args.count;
    *sight = (Sight){.count = args + (laying->schedule[step->kernel]->scratch_bytes > 0)};
    sight->ranges = arena_array(laying->arena, Range, args + 1);
    sight->moved = arena_array(laying->arena, bool, args + 1);
    sight->window = arena_array(laying->arena, unsigned char, args + 1);
    for (int i = 0; i < args; i++)
        sight->ranges[i] = range_of(laying, step->args.items[i]);
    sight->ranges[args] = (Range){layout->scratch, layout->scratch + laying->schedule[step->kernel]->scratch_bytes};
    while (!windows_place(laying->arena, laying->device, laying->value_bytes, sight->ranges, sight->count, &sight->windows,
                          sight->window)) {
        int next = windows_shortest(sight->ranges, sight->moved, args);
        if (next < 0)
            return false;
        int64_t bytes = sight->ranges[next].end - sight->ranges[next].first;
        sight->moved[next] = true;
        sight->ranges[next] = (Range){layout->meeting + sight->moved_bytes, layout->meeting + sight->moved_bytes + bytes};
        sight->moved_bytes += rounded_up(bytes, 64);
    }
    return window_span(sight->window[args]) == 1;
}

/* The most that any launch of the steps moves. */
static int64_t most_moved(const Laying *laying, const PlanSteps *steps)
{
    int64_t most = 0;
    for (int i = 0; steps && i < steps->list.count; i++) {
        const PlanStep *step = &steps->list.items[i];
        Sight sight = {0};
        if (step->kind == STEP_LAUNCH)
            look(laying, step, &sight);
        int64_t inside[] = {sight.moved_bytes, most_moved(laying, step->test), most_moved(laying, step->body),
                            most_moved(laying, step->otherwise)};
        for (size_t k = 0; k < sizeof inside / sizeof *inside; k++)
            most = inside[k] > most ? inside[k] : most;
    }
    return most;
}

static void place_meeting(Laying *laying)
{
    Layout *layout = laying->layout;
    if (laying->value_bytes <= laying->device->window_bytes)
        return;
    layout->meeting_bytes = rounded_up(most_moved(laying, &laying->plan->steps), 256);
    layout->control_offset += layout->meeting_bytes;
    laying->value_bytes += layout->meeting_bytes;
}

/* ---- copies ---- */

typedef struct CopyShape {
    int64_t count; /* of units, of `unit` bits */
    uint32_t unit;
    int rank;
    uint32_t dims[2 * IR_MAX_RANK]; /* of the whole and of the piece, from the first axis on */
} CopyShape;

static CopyShape shape_of_words(int64_t bytes)
{
    uint32_t count = (uint32_t)parts_of(bytes, 4);
    return (CopyShape){count, 32, 1, {count, count}};
}

/* The axes of the piece are the last ones of the whole; elements of 64 bits are two units. */
static CopyShape shape_of_piece(const IrType *whole, const IrType *piece)
{
    int64_t size = dtype_size(whole->dtype);
    CopyShape shape = {.count = 1, .unit = size > 4 ? 32 : 8 * (uint32_t)size, .rank = whole->rank};
    for (int axis = 0; axis < whole->rank; axis++) {
        int own = axis - (whole->rank - piece->rank);
        int64_t units = axis == whole->rank - 1 && size == 8 ? 2 : 1, width = own < 0 ? 1 : piece->dim[own];
        shape.dims[2 * axis] = (uint32_t)(whole->dim[axis] * units);
        shape.dims[2 * axis + 1] = (uint32_t)(width * units);
        shape.count *= width * units;
    }
    return shape;
}

static Dispatch lay_copy(Laying *laying, Range to, Range from, bool zero, const CopyShape *shape)
{
    Layout *layout = laying->layout;
    Range ranges[COPY_ARGS] = {[COPY_ARG_FROM] = from, [COPY_ARG_TO] = to};
    unsigned char window[COPY_ARGS];
    Windows windows;
    place_windows(laying, laying->plan->name, ranges, COPY_ARGS, &windows, window);
    Dispatch dispatch = {.row = begin_row(laying, COPY_ROW), .windows = intern_windows(laying, &windows), .slot = -1};
    dispatch.shaders = intern_shaders(laying, -1, CONTROL_COPY, window, COPY_ARGS);
    dispatch.groups = parts_of(shape->count, POINT_THREADS);
    uint32_t row[COPY_ROW] = {[COPY_ZERO] = zero, [COPY_UNIT] = shape->unit, [COPY_RANK] = (uint32_t)shape->rank};
    row[COPY_FROM] = place_in(&windows, window[COPY_ARG_FROM], from.first, shape->unit / 8);
    row[COPY_TO] = place_in(&windows, window[COPY_ARG_TO], to.first, shape->unit / 8);
    row[COPY_COUNT] = (uint32_t)shape->count;
    memcpy(row + COPY_DIMS, shape->dims, sizeof shape->dims);
    for (int i = 0; i < COPY_ROW; i++)
        list_push(laying->arena, &layout->table, row[i]);
    return dispatch;
}

static Dispatch lay_move(Laying *laying, Range to, Range from)
{
    CopyShape shape = shape_of_words(to.end - to.first);
    return lay_copy(laying, to, from, false, &shape);
}

/* `from` < 0: zeros. */
static Dispatch lay_array_copy(Laying *laying, int to, int from)
{
    CopyShape shape = shape_of_words(laying->plan->buffers.items[to].bytes);
    return lay_copy(laying, range_of(laying, to), range_of(laying, from < 0 ? to : from), from < 0, &shape);
}

/* ---- regions ---- */

enum { NO_REGION = -1 };

typedef struct Region {
    int predicate; /* in words from the start of control; its slots are behind it */
    int slot_count;
} Region;

static void add_control(Laying *laying, uint32_t word)
{
    list_push(laying->arena, &laying->layout->control, word);
}

/* In a region a dispatch reads how many groups it has. */
static Dispatch with_slots(Laying *laying, Dispatch dispatch, int predicate)
{
    const Shaders *shaders = &laying->layout->shaders.items[dispatch.shaders];
    if (predicate == NO_REGION)
        return dispatch;
    dispatch.slot = laying->layout->control.count;
    for (int i = 0; i < shaders->schedule->phases.count; i++) {
        Groups groups = dispatch_groups(shaders, &dispatch, i);
        add_control(laying, 0);
        add_control(laying, groups.y);
        add_control(laying, 1);
        add_control(laying, groups.x);
    }
    return dispatch;
}

/* `condition`: a buffer, or -1. */
static Dispatch lay_gate(Laying *laying, GateMode mode, int outer, Region region, int condition)
{
    Layout *layout = laying->layout;
    Range ranges[GATE_ARGS] = {{layout->control_offset, laying->value_bytes}, {layout->control_offset, laying->value_bytes}};
    if (condition >= 0) {
        const PlanBuffer *buffer = &laying->plan->buffers.items[condition];
        ranges[GATE_ARG_CONDITION] = (Range){layout->offset[condition], layout->offset[condition] + buffer->bytes};
    }
    unsigned char window[GATE_ARGS];
    Windows windows;
    place_windows(laying, laying->plan->name, ranges, GATE_ARGS, &windows, window);
    if (window_span(window[GATE_ARG_CONTROL]) > 1)
        say_too_far(laying, (Span){0}, laying->plan->name, ranges, GATE_ARGS);
    Dispatch gate = {.row = begin_row(laying, GATE_ROW), .windows = intern_windows(laying, &windows), .slot = -1, .groups = 1};
    gate.shaders = intern_shaders(laying, -1, CONTROL_GATE, window, GATE_ARGS);
    uint32_t control = place_in(&windows, window[GATE_ARG_CONTROL], layout->control_offset, 4);
    uint32_t row[GATE_ROW] = {[GATE_MODE] = mode, [GATE_SLOT_COUNT] = (uint32_t)region.slot_count};
    row[GATE_OUTER] = control + (uint32_t)outer;
    row[GATE_OWN] = control + (uint32_t)region.predicate;
    row[GATE_SLOTS] = row[GATE_OWN] + 1;
    row[GATE_CONDITION] = place_in(&windows, window[GATE_ARG_CONDITION], ranges[GATE_ARG_CONDITION].first,
                                   mode == GATE_WHILE_BELOW ? (int64_t)sizeof(int32_t) : 1);
    for (int i = 0; i < GATE_ROW; i++)
        list_push(laying->arena, &layout->table, row[i]);
    return gate;
}

/* A row: where each argument begins, in elements of its own; then where scratch begins, in bytes; then which launch it is. */
static void lay_launch(Laying *laying, LaidStep *laid, int predicate)
{
    const PlanStep *step = laid->step;
    const Plan *plan = laying->plan;
    Layout *layout = laying->layout;
    const Kernel *kernel = plan->kernels.items[step->kernel];
    int args = step->args.count;
    Sight sight;
    if (!look(laying, step, &sight))
        say_too_far(laying, step->span, kernel->name, sight.ranges, sight.count);
    for (int i = 0; i < args; i++) {
        Range own = range_of(laying, step->args.items[i]);
        bool writes = kernel->buffers.items[i].kind != K_IN;
        layout->written[step->args.items[i]] |= writes;
        if (sight.moved[i]) /* also what is only written: it may be in part */
            list_push(laying->arena, &laid->gather, with_slots(laying, lay_move(laying, sight.ranges[i], own), predicate));
        if (sight.moved[i] && writes)
            list_push(laying->arena, &laid->scatter, with_slots(laying, lay_move(laying, own, sight.ranges[i]), predicate));
    }
    Dispatch dispatch = {.row = begin_row(laying, args + 2), .windows = intern_windows(laying, &sight.windows), .slot = -1};
    dispatch.shaders = intern_shaders(laying, step->kernel, 0, sight.window, args + 1);
    for (int i = 0; i < args; i++) {
        int64_t size = dtype_size(plan->buffers.items[step->args.items[i]].type.dtype);
        list_push(laying->arena, &layout->table, place_in(&sight.windows, sight.window[i], sight.ranges[i].first, size));
    }
    list_push(laying->arena, &layout->table, place_in(&sight.windows, sight.window[args], layout->scratch, 1));
    list_push(laying->arena, &layout->table, BEGUN_LAUNCH(step));
    laid->launch = with_slots(laying, dispatch, predicate);
}

/* ---- steps ---- */

static void mark_written(Layout *layout, const PlanStep *step)
{
    if (step->kind == STEP_COPY || step->kind == STEP_FILL_ZERO)
        layout->written[step->args.items[0]] = true;
    for (int i = 0; i < step->carries.count; i++)
        layout->written[step->carries.items[i].slot] = true;
    for (int i = 0; i < step->rows.count; i++)
        layout->written[step->rows.items[i].whole] = true;
}

static LaidSteps *lay_steps(Laying *laying, const PlanSteps *steps, int predicate);

/* What enters a loop belongs to the region around it. */
static void lay_entry(Laying *laying, LaidStep *laid, int predicate)
{
    for (int i = 0; i < laid->step->carries.count && predicate != NO_REGION; i++) {
        const PlanCarry *carry = &laid->step->carries.items[i];
        Dispatch copy = lay_array_copy(laying, carry->slot, carry->init);
        list_push(laying->arena, &laid->enter, with_slots(laying, copy, predicate));
    }
}

/* A turn, and what it leaves. */
static void lay_turn(Laying *laying, LaidStep *laid, int predicate)
{
    const PlanBuffer *buffers = laying->plan->buffers.items;
    laid->body = lay_steps(laying, laid->step->body, predicate);
    for (int i = 0; i < laid->step->rows.count && predicate != NO_REGION; i++) {
        const PlanRow *row = &laid->step->rows.items[i];
        CopyShape shape = shape_of_piece(&buffers[row->whole].type, &buffers[row->value].type);
        Dispatch copy = lay_copy(laying, range_of(laying, row->whole), range_of(laying, row->value), false, &shape);
        list_push(laying->arena, &laid->rows, with_slots(laying, copy, predicate));
    }
    for (int i = 0; i < laid->step->carries.count && predicate != NO_REGION; i++) {
        const PlanCarry *carry = &laid->step->carries.items[i];
        Dispatch copy = lay_array_copy(laying, carry->slot, carry->next);
        list_push(laying->arena, &laid->turn, with_slots(laying, copy, predicate));
    }
}

static void lay_step(Laying *laying, LaidStep *laid, int predicate)
{
    const PlanStep *step = laid->step;
    mark_written(laying->layout, step);
    if (step->kind == STEP_LAUNCH)
        lay_launch(laying, laid, predicate);
    else if (step->kind == STEP_COPY && predicate != NO_REGION)
        laid->launch = with_slots(laying, lay_array_copy(laying, step->args.items[0], step->args.items[1]), predicate);
    else if (step->kind == STEP_FILL_ZERO && predicate != NO_REGION)
        laid->launch = with_slots(laying, lay_array_copy(laying, step->args.items[0], -1), predicate);
    lay_entry(laying, laid, predicate);
    if (step->kind == STEP_FOR && !layout_decides(laying->plan, step))
        lay_turn(laying, laid, predicate);
}

/* In the region of `predicate`, or in none. */
static LaidSteps *lay_steps(Laying *laying, const PlanSteps *steps, int predicate)
{
    LaidSteps *laid = arena_new_of(laying->arena, LaidSteps);
    *laid = (LaidSteps){.in_region = predicate != NO_REGION};
    for (int i = 0; steps && i < steps->list.count; i++) {
        LaidStep step = {.step = &steps->list.items[i]};
        lay_step(laying, &step, predicate);
        list_push(laying->arena, &laid->list, step);
        if (layout_decides(laying->plan, step.step))
            list_push(laying->arena, &laying->open, ((Decision){laid, i, predicate == NO_REGION ? ALWAYS : predicate}));
    }
    return laid;
}

/* ---- decisions ---- */

static Region begin_region(Laying *laying)
{
    add_control(laying, 0);
    return (Region){.predicate = laying->layout->control.count - 1};
}

static void end_region(Laying *laying, Region *region)
{
    region->slot_count = (laying->layout->control.count - region->predicate - 1) / SLOT_WORDS;
}

static void lay_branches(Laying *laying, LaidStep *laid, int outer)
{
    Region then = begin_region(laying);
    laid->body = lay_steps(laying, laid->step->body, then.predicate);
    end_region(laying, &then);
    Region otherwise = begin_region(laying);
    laid->otherwise = lay_steps(laying, laid->step->otherwise, otherwise.predicate);
    end_region(laying, &otherwise);
    laid->gate = lay_gate(laying, GATE_IF, outer, then, laid->step->condition);
    laid->otherwise_gate = lay_gate(laying, GATE_UNLESS, outer, otherwise, laid->step->condition);
}

/* The test before the first turn is made as what is around the loop is; that before another one if the turn before was. */
static void lay_loop(Laying *laying, LaidStep *laid, int outer)
{
    Region turn = begin_region(laying);
    lay_turn(laying, laid, turn.predicate);
    end_region(laying, &turn);
    laid->predicate = turn.predicate;
    if (laid->step->kind == STEP_FOR) {
        laid->gate = lay_gate(laying, GATE_WHILE_BELOW, outer, turn, laid->step->trip);
        return;
    }
    Region test = begin_region(laying);
    laid->test = lay_steps(laying, laid->step->test, test.predicate);
    end_region(laying, &test);
    laid->test_gate = lay_gate(laying, GATE_OPEN, outer, test, -1);
    laid->again_gate = lay_gate(laying, GATE_OPEN, turn.predicate, test, -1);
    laid->gate = lay_gate(laying, GATE_IF, test.predicate, turn, laid->step->condition);
}

const char *layout_plan(Arena *messages, Arena *arena, const Device *device, const Plan *plan, Layout *layout)
{
    *layout = (Layout){.row_bytes = 16};
    layout->offset = arena_array(arena, int64_t, plan->buffers.count + 1);
    layout->written = arena_array(arena, bool, plan->buffers.count + 1);
    Laying laying = {.arena = arena, .messages = messages, .device = device, .plan = plan, .layout = layout};
    laying.schedule = arena_array(arena, const Schedule *, plan->kernels.count + 1);
    for (int i = 0; i < plan->kernels.count; i++)
        laying.schedule[i] = schedule_kernel(arena, device, plan->kernels.items[i]);
    place_buffers(&laying);
    place_meeting(&laying);
    intern_windows(&laying, &(Windows){{0}});
    add_control(&laying, 1); /* ALWAYS */
    layout->steps = lay_steps(&laying, &plan->steps, NO_REGION);
    for (int i = 0; i < laying.open.count && !laying.reason; i++) {
        Decision decision = laying.open.items[i];
        LaidStep *laid = &decision.steps->list.items[decision.step];
        (laid->step->kind == STEP_IF ? lay_branches : lay_loop)(&laying, laid, decision.outer);
    }
    layout->table_offset = rounded_up(laying.value_bytes, 256);
    layout->bytes = layout->table_offset + layout->table.count * 4 + rounded_up(layout->row_bytes, 256);
    if (!laying.reason && layout->bytes > device->memory_bytes)
        laying.reason =
            arena_printf(messages, "not enough memory: '%s' needs %lld bytes, and %s has %lld in one piece", plan->name,
                         (long long)layout->bytes, device->properties.deviceName, (long long)device->memory_bytes);
    return laying.reason;
}
