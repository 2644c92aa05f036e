/* For tests: runs a plan by the interpreter of kernels, in one arena as it is laid out. */
#ifndef CM_TESTS_PLAN_RUN_H
#define CM_TESTS_PLAN_RUN_H

#include "ir/plan.h"

#include <string.h>

typedef struct PlanRun {
    Arena *arena;
    const Plan *plan;
    void **address; /* by buffer */
} PlanRun;

static void plan_run_steps(const PlanRun *run, const PlanSteps *steps);

static void plan_run_copy(const PlanRun *run, int to, int from)
{
    if (run->address[to] != run->address[from])
        memcpy(run->address[to], run->address[from], (size_t)run->plan->buffers.items[from].bytes);
}

static void plan_run_turn(const PlanRun *run, const PlanStep *step, int64_t turn)
{
    plan_run_steps(run, step->body);
    for (int i = 0; i < step->rows.count; i++) {
        const PlanRow *row = &step->rows.items[i];
        const PlanBuffer *buffers = run->plan->buffers.items;
        ir_piece_store(&buffers[row->whole].type, run->address[row->whole], &buffers[row->value].type,
                       run->address[row->value], turn);
    }
    for (int i = 0; i < step->carries.count; i++)
        plan_run_copy(run, step->carries.items[i].slot, step->carries.items[i].next);
}

static void plan_run_loop(const PlanRun *run, const PlanStep *step)
{
    for (int i = 0; i < step->carries.count; i++)
        plan_run_copy(run, step->carries.items[i].slot, step->carries.items[i].init);
    bool bounded = step->kind == STEP_FOR || step->bound; /* a `for` of bound 0 has no turns */
    int64_t most = bounded ? step->bound : INT64_MAX, trip = most;
    if (step->kind == STEP_FOR) /* read once: its memory is free for the turns */
        trip = *(int32_t *)run->address[step->trip];
    for (int64_t turn = 0; turn < most && turn < trip; turn++) {
        if (step->kind == STEP_FOR)
            *(int32_t *)run->address[step->counter] = (int32_t)turn;
        else
            plan_run_steps(run, step->test);
        if (step->kind == STEP_WHILE && !*(unsigned char *)run->address[step->condition])
            break;
        plan_run_turn(run, step, turn);
    }
}

static void plan_run_launch(const PlanRun *run, const PlanStep *step)
{
    void *buffers[K_MAX_BUFFERS];
    for (int i = 0; i < step->args.count; i++)
        buffers[i] = run->address[step->args.items[i]];
    kernel_eval(run->arena, run->plan->kernels.items[step->kernel], buffers);
}

static void plan_run_steps(const PlanRun *run, const PlanSteps *steps)
{
    for (int i = 0; i < steps->list.count; i++) {
        const PlanStep *step = &steps->list.items[i];
        switch (step->kind) {
        case STEP_LAUNCH:
            plan_run_launch(run, step);
            break;
        case STEP_COPY:
            plan_run_copy(run, step->args.items[0], step->args.items[1]);
            break;
        case STEP_FILL_ZERO:
            memset(run->address[step->args.items[0]], 0, (size_t)run->plan->buffers.items[step->args.items[0]].bytes);
            break;
        case STEP_FOR:
        case STEP_WHILE:
            plan_run_loop(run, step);
            break;
        case STEP_IF:
            plan_run_steps(run, *(unsigned char *)run->address[step->condition] ? step->body : step->otherwise);
            break;
        }
    }
}

/* Values start as garbage.  A plan that has not been placed gets a memory of its own for each buffer. */
static void plan_run(Arena *arena, const Plan *plan, bool placed, void *const *inputs, void *const *outputs)
{
    PlanRun run = {arena, plan, arena_array(arena, void *, plan->buffers.count + 1)};
    size_t bytes = (size_t)(plan->arena_bytes + plan->lane_bytes);
    char *values = memset(arena_alloc(arena, bytes + 1), 0x5a, bytes);
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        if (buffer->place == PLACE_INPUT)
            run.address[i] = inputs[buffer->offset];
        else if (buffer->place == PLACE_OUTPUT)
            run.address[i] = outputs[buffer->offset];
        else if (buffer->place == PLACE_CONSTANT)
            run.address[i] = (void *)(uintptr_t)buffer->data;
        else if (placed)
            run.address[i] = values + (buffer->place == PLACE_LANE ? plan->arena_bytes : 0) + buffer->offset;
        else
            run.address[i] = memset(arena_alloc(arena, (size_t)buffer->bytes + 1), 0x5a, (size_t)buffer->bytes);
    }
    plan_run_steps(&run, &plan->steps);
}

#endif
