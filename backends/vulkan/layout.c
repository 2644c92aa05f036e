/* Where the buffers of a plan lie in the one buffer of an instance: constants, inputs, outputs, the plan's arena, its lane
 * (turns follow each other here), scratch, and the table of arguments. */
#include "backends/vulkan/vulkan_internal.h"

static int64_t aligned(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static void place_buffers(Layout *layout, const Executable *executable)
{
    const Plan *plan = executable->plan;
    int64_t arena = 0, lane = aligned(plan->arena_bytes), next = lane + aligned(plan->lane_bytes);
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if (buffer->place == PLACE_ARENA || buffer->place == PLACE_LANE) {
            layout->offset[i] = buffer->offset + (buffer->place == PLACE_ARENA ? arena : lane);
        } else {
            layout->offset[i] = next;
            next += aligned(buffer->bytes);
        }
    }
    layout->scratch = next;
    layout->table_offset = next + aligned(executable->scratch_bytes);
}

/* ---- steps ---- */

/* A row of the table: where each argument begins, in elements of its own; then where scratch begins, in bytes. */
static uint32_t add_row(Arena *arena, Layout *layout, const Executable *executable, const PlanStep *step)
{
    const Plan *plan = executable->plan;
    const Kernel *kernel = plan->kernels.items[step->kernel];
    uint32_t row = (uint32_t)(layout->table_offset / 4 + layout->table.count);
    for (int i = 0; i < step->args.count; i++) {
        int buffer = step->args.items[i];
        int64_t first = layout->offset[buffer] / dtype_size(plan->buffers.items[buffer].type.dtype);
        list_push(arena, &layout->table, (uint32_t)first);
        layout->written[buffer] |= kernel->buffers.items[i].kind != K_IN;
    }
    list_push(arena, &layout->table, (uint32_t)layout->scratch);
    return row;
}

static void mark_written(Layout *layout, const PlanStep *step)
{
    if (step->kind == STEP_COPY || step->kind == STEP_FILL_ZERO)
        layout->written[step->args.items[0]] = true;
    for (int i = 0; i < step->carries.count; i++)
        layout->written[step->carries.items[i].slot] = true;
    for (int i = 0; i < step->rows.count; i++)
        layout->written[step->rows.items[i].whole] = true;
}

static void lay_steps(Arena *arena, Layout *layout, const Executable *executable, const PlanSteps *steps, LaidSteps *out);

static LaidSteps *lay_part(Arena *arena, Layout *layout, const Executable *executable, const PlanSteps *steps)
{
    if (!steps)
        return NULL;
    LaidSteps *laid = arena_new_of(arena, LaidSteps);
    lay_steps(arena, layout, executable, steps, laid);
    return laid;
}

static void lay_steps(Arena *arena, Layout *layout, const Executable *executable, const PlanSteps *steps, LaidSteps *out)
{
    for (int i = 0; i < steps->list.count; i++) {
        const PlanStep *step = &steps->list.items[i];
        LaidStep laid = {.step = step};
        mark_written(layout, step);
        if (step->kind == STEP_LAUNCH)
            laid.row = add_row(arena, layout, executable, step);
        laid.test = lay_part(arena, layout, executable, step->test);
        laid.body = lay_part(arena, layout, executable, step->body);
        laid.otherwise = lay_part(arena, layout, executable, step->otherwise);
        list_push(arena, &out->list, laid);
    }
}

Layout layout_plan(Arena *arena, const Executable *executable)
{
    Layout layout = {0};
    layout.offset = arena_array(arena, int64_t, executable->plan->buffers.count + 1);
    layout.written = arena_array(arena, bool, executable->plan->buffers.count + 1);
    place_buffers(&layout, executable);
    lay_steps(arena, &layout, executable, &executable->plan->steps, &layout.steps);
    layout.bytes = layout.table_offset + aligned(layout.table.count * 4) + 64;
    return layout;
}
