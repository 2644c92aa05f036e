/* Plan: a whole function as launches of kernels over one arena, in order, with every address known.
 *
 * The planner (passes/plan.c) makes it, a backend runs it.  A buffer is an input or an output of the function (the
 * caller's memory), a constant, or a place in the arena or in a lane.  A lane is what a thread has for itself while it takes
 * turns of a loop whose turns run at once.  The peak is known before the first run: plan_peak. */
#ifndef CM_IR_PLAN_H
#define CM_IR_PLAN_H

#include "ir/kernel/kernel.h"

typedef enum PlanPlace { PLACE_INPUT, PLACE_OUTPUT, PLACE_CONSTANT, PLACE_ARENA, PLACE_LANE } PlanPlace;

typedef struct PlanBuffer {
    PlanPlace place;
    IrType type;
    int64_t bytes;
    int64_t offset;   /* ARENA, LANE: in bytes, 64-aligned; INPUT, OUTPUT: which one */
    const void *data; /* CONSTANT */
    const char *name;
    int first, last; /* ARENA, LANE: the steps between which it lives */
    int over;        /* ARENA, LANE: the buffer in whose memory it is made, by the last step that reads that; or -1 */
    Span span;       /* of the step that is the first to use it */
} PlanBuffer;

typedef enum PlanStepKind { STEP_LAUNCH, STEP_COPY, STEP_FILL_ZERO, STEP_FOR, STEP_WHILE, STEP_IF } PlanStepKind;

typedef struct PlanSteps PlanSteps;

/* Loops: the body's steps read and write fixed buffers. Carries: before the loop each `carry.init` is copied to `carry.slot`,
 * after each turn `carry.next` is copied to `carry.slot` (copies that the planner could alias away are left out).
 * FOR writes the turn's number to `counter` (i32) before each turn; after it `row.value` is copied to its place in
 * `row.whole` (ir_piece). */
typedef struct PlanCarry {
    int init, slot, next; /* buffers */
} PlanCarry;
typedef struct PlanRow {
    int value, whole;
} PlanRow;

typedef struct PlanStep {
    PlanStepKind kind;
    int kernel;     /* LAUNCH */
    int launch;     /* LAUNCH: its number among those of the plan, from 0 */
    LIST(int) args; /* LAUNCH: buffers in the order of the kernel's; COPY: to, from; FILL_ZERO: what */
    int trip;       /* FOR: i32 buffer that says how many turns (at most `bound`) */
    int64_t bound;  /* FOR, WHILE (0: none) */
    int counter;    /* FOR */
    bool parallel;  /* FOR: turns need nothing of one another; what lives in one turn only lies in a lane */
    int condition;  /* WHILE, IF: bool buffer */
    LIST(PlanCarry) carries;
    LIST(PlanRow) rows;
    PlanSteps *test;      /* WHILE: steps that compute `condition`, run before each turn */
    PlanSteps *body;      /* FOR, WHILE; IF: then */
    PlanSteps *otherwise; /* IF */
    Span span;
} PlanStep;

struct PlanSteps {
    LIST(PlanStep) list;
};

typedef struct Plan {
    Arena *arena;
    const char *name;
    LIST(Kernel *) kernels; /* no two are equal */
    LIST(PlanBuffer) buffers;
    PlanSteps steps;
    int input_count, output_count;
    int launch_count;
    int64_t arena_bytes, lane_bytes;
    int64_t arena_least, lane_least; /* the most bytes alive at once: what no placement can go below */
    int lanes;                       /* how many a run has */
} Plan;

static inline int64_t plan_peak(const Plan *plan)
{
    return plan->arena_bytes + plan->lanes * plan->lane_bytes;
}

/* Bytes that a run of these kernels cannot do without: inputs and constants that they read once, results written once, all else
 * written once and read once, in each turn of a loop whose turns are known. */
int64_t plan_least_traffic(Arena *scratch, const Plan *plan);

void plan_print(const Plan *plan, Text *out);
void plan_draw(const Plan *plan, Text *out);         /* an SVG picture: kernels, and the arrays that pass between them */
/* No two buffers that live at once overlap, but where one is written over the other; args fit their kernels. */
bool plan_verify(const Plan *plan, DiagSink *diags);

#endif
