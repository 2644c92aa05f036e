/* Fuse: from the graph to kernels and steps.
 *
 * Takes an inlined, derived function; leaves a plan whose kernels compute it, with buffers not yet placed.  Loops and
 * branches become steps that run other steps; their bodies are fused as functions of their own.  It ends because each
 * node is visited once in each function that holds it. */
#include "passes/fuse_internal.h"

#include <string.h>

typedef struct Lowering {
    Arena *arena;
    Plan *plan;
    const LowerOptions *options;
} Lowering;

static void lower_func(Lowering *lowering, const IrFunc *func, const int *params, const int *wanted, int *results,
                       PlanSteps *steps);

/* ---- buffers and steps of the plan ---- */

static int add_buffer(Lowering *lowering, PlanPlace place, IrType type, const char *name)
{
    PlanBuffer buffer = {.place = place, .type = type, .name = name, .over = -1};
    buffer.bytes = ir_element_count(&type) * dtype_size(type.dtype);
    list_push(lowering->arena, &lowering->plan->buffers, buffer);
    return lowering->plan->buffers.count - 1;
}

static PlanStep *add_step(Lowering *lowering, PlanSteps *steps, PlanStepKind kind, Span span)
{
    PlanStep step = {.kind = kind, .trip = -1, .counter = -1, .condition = -1, .kernel = -1, .span = span};
    list_push(lowering->arena, &steps->list, step);
    return &steps->list.items[steps->list.count - 1];
}

static void add_copy(Lowering *lowering, PlanSteps *steps, int to, int from, Span span)
{
    if (to == from)
        return;
    PlanStep *step = add_step(lowering, steps, STEP_COPY, span);
    list_push(lowering->arena, &step->args, to);
    list_push(lowering->arena, &step->args, from);
}

static int kernel_number(Lowering *lowering, Kernel *kernel)
{
    Plan *plan = lowering->plan;
    for (int i = 0; i < plan->kernels.count; i++)
        if (kernel_equal(plan->kernels.items[i], kernel))
            return i;
    list_push(lowering->arena, &plan->kernels, kernel);
    return plan->kernels.count - 1;
}

static void add_launches(Lowering *lowering, PlanSteps *steps, Fuse *fuse, const Group *group)
{
    FusedKernels kernels = {0};
    fuse_emit_group(fuse, group, &kernels);
    for (int i = 0; i < kernels.count; i++) {
        PlanStep *step = add_step(lowering, steps, STEP_LAUNCH, kernels.items[i].kernel->span);
        step->kernel = kernel_number(lowering, kernels.items[i].kernel);
        step->launch = lowering->plan->launch_count++;
        for (int j = 0; j < kernels.items[i].args.count; j++)
            list_push(lowering->arena, &step->args, kernels.items[i].args.items[j]);
    }
}

/* ---- control ---- */

static PlanSteps *new_steps(Lowering *lowering)
{
    return arena_new_of(lowering->arena, PlanSteps);
}

static int buffer_of(const Fuse *fuse, IrRef ref)
{
    return fuse->node[ref].buffer;
}

/* A body may return a param as another carry: it is copied first, so that carries can be overwritten one by one. */
static void detach_params(Lowering *lowering, const int *params, int param_count, int *results, int count, PlanSteps *body)
{
    for (int i = 0; i < count; i++)
        for (int j = 0; j < param_count; j++)
            if (results[i] == params[j]) {
                int fresh = add_buffer(lowering, PLACE_ARENA, lowering->plan->buffers.items[results[i]].type, "carried");
                add_copy(lowering, body, fresh, results[i], (Span){0});
                results[i] = fresh;
            }
}

typedef struct LoopFrame {
    int *params; /* buffers of the body's params */
    int param_count, carry_count;
    int first; /* of the params: how many stand before the carries */
    int *slots;
} LoopFrame;

/* Slots for the carries, and the params of a body: [counter,] carries, captures. */
static LoopFrame make_frame(Lowering *lowering, const Fuse *fuse, const IrNode *node, int carry_count, int operand, int counter)
{
    LoopFrame frame = {.carry_count = carry_count, .first = counter >= 0};
    int captures = node->operand_count - operand - carry_count;
    frame.param_count = frame.first + carry_count + captures;
    frame.params = arena_array(lowering->arena, int, frame.param_count);
    frame.slots = frame.params + frame.first;
    if (counter >= 0)
        frame.params[0] = counter;
    for (int i = 0; i < carry_count; i++)
        frame.slots[i] = add_buffer(lowering, PLACE_ARENA, *ir_type_of(fuse->func, node->operands[operand + i]), "carry");
    for (int i = 0; i < captures; i++)
        frame.slots[carry_count + i] = buffer_of(fuse, node->operands[operand + carry_count + i]);
    return frame;
}

static void lower_body(Lowering *lowering, const Fuse *fuse, const IrNode *node, const IrFunc *callee, const LoopFrame *frame,
                       int operand, PlanStep *step)
{
    int *results = arena_array(lowering->arena, int, callee->results.count);
    lower_func(lowering, callee, frame->params, NULL, results, step->body);
    for (int i = 0; i < frame->carry_count; i++)
        if (results[i] == frame->slots[i])
            results[i] = -1; /* stays as it is */
    detach_params(lowering, frame->params, frame->param_count, results, callee->results.count, step->body);
    for (int i = 0; i < frame->carry_count; i++) {
        PlanCarry carry = {buffer_of(fuse, node->operands[operand + i]), frame->slots[i],
                           results[i] < 0 ? frame->slots[i] : results[i]};
        list_push(lowering->arena, &step->carries, carry);
    }
    for (int i = frame->carry_count; i < callee->results.count; i++)
        list_push(lowering->arena, &step->rows, ((PlanRow){results[i], -1}));
}

/* So that no row of its results is left out.  Numbers that loops read are literals here. */
static bool has_every_turn(const Fuse *fuse, const IrNode *node)
{
    const IrNode *trip = ir_node(fuse->func, node->operands[0]);
    return trip->op == OP_literal && *(const int32_t *)trip->data >= node->attr[0].items[0];
}

static void lower_for(Lowering *lowering, Fuse *fuse, const IrNode *node, int *results, PlanSteps *steps)
{
    int carry_count = (int)node->attr[1].items[0];
    PlanStep step = {.kind = STEP_FOR, .kernel = -1, .condition = -1, .span = node->span};
    step.trip = buffer_of(fuse, node->operands[0]);
    step.bound = node->attr[0].items[0];
    step.counter = add_buffer(lowering, PLACE_ARENA, ir_scalar(DT_i32), "turn");
    step.body = new_steps(lowering);
    LoopFrame frame = make_frame(lowering, fuse, node, carry_count, 1, step.counter);
    lower_body(lowering, fuse, node, node->callee[0], &frame, 1, &step);
    for (int i = 0; i < carry_count; i++)
        results[i] = frame.slots[i];
    for (int i = 0; i < step.rows.count; i++) {
        int *whole = &results[carry_count + i];
        if (*whole < 0)
            *whole = add_buffer(lowering, PLACE_ARENA, ir_result_type(node, carry_count + i), "rows");
        step.rows.items[i].whole = *whole;
        if (has_every_turn(fuse, node))
            continue;
        PlanStep *fill = add_step(lowering, steps, STEP_FILL_ZERO, node->span);
        list_push(lowering->arena, &fill->args, *whole);
    }
    list_push(lowering->arena, &steps->list, step);
}

static void lower_while(Lowering *lowering, Fuse *fuse, const IrNode *node, int *results, PlanSteps *steps)
{
    int carry_count = (int)node->attr[1].items[0];
    PlanStep step = {.kind = STEP_WHILE, .kernel = -1, .trip = -1, .counter = -1, .span = node->span};
    step.bound = node->attr[0].items[0];
    step.test = new_steps(lowering);
    step.body = new_steps(lowering);
    LoopFrame frame = make_frame(lowering, fuse, node, carry_count, 0, -1);
    lower_func(lowering, node->callee[0], frame.params, NULL, &step.condition, step.test);
    lower_body(lowering, fuse, node, node->callee[1], &frame, 0, &step);
    for (int i = 0; i < carry_count; i++)
        results[i] = frame.slots[i];
    list_push(lowering->arena, &steps->list, step);
}

static void lower_branch(Lowering *lowering, const IrFunc *callee, const int *params, const int *targets, PlanSteps *steps)
{
    int *results = arena_array(lowering->arena, int, callee->results.count);
    lower_func(lowering, callee, params, NULL, results, steps);
    for (int i = 0; i < callee->results.count; i++)
        add_copy(lowering, steps, targets[i], results[i], callee->at);
}

static void lower_if(Lowering *lowering, Fuse *fuse, const IrNode *node, int *results, PlanSteps *steps)
{
    PlanStep step = {.kind = STEP_IF, .kernel = -1, .trip = -1, .counter = -1, .span = node->span};
    step.condition = buffer_of(fuse, node->operands[0]);
    step.body = new_steps(lowering);
    step.otherwise = new_steps(lowering);
    int *params = arena_array(lowering->arena, int, node->operand_count);
    for (int i = 1; i < node->operand_count; i++)
        params[i - 1] = buffer_of(fuse, node->operands[i]);
    for (int i = 0; i < node->callee[0]->results.count; i++)
        results[i] = add_buffer(lowering, PLACE_ARENA, ir_result_type(node, i), "branch");
    lower_branch(lowering, node->callee[0], params, results, step.body);
    lower_branch(lowering, node->callee[1], params, results, step.otherwise);
    list_push(lowering->arena, &steps->list, step);
}

/* Control nodes are not values: the buffers of their results are given to the `get` nodes that read them, but for those of
 * rows that have to be somewhere. */
static void lower_control(Lowering *lowering, Fuse *fuse, IrRef ref, PlanSteps *steps)
{
    const IrNode *node = ir_node(fuse->func, ref);
    int *results = arena_array(lowering->arena, int, ir_result_count(node) + 1);
    for (int i = 0; i < ir_result_count(node); i++)
        results[i] = -1;
    for (IrRef other = ref + 1; other < fuse->func->nodes.count; other++) {
        const IrNode *get = ir_node(fuse->func, other);
        if (get->op == OP_get && get->operands[0] == ref && fuse->node[other].buffer >= 0)
            results[get->attr[0].items[0]] = fuse->node[other].buffer;
    }
    switch (node->op) {
    case OP_for:
        lower_for(lowering, fuse, node, results, steps);
        break;
    case OP_while:
        lower_while(lowering, fuse, node, results, steps);
        break;
    default:
        lower_if(lowering, fuse, node, results, steps);
        break;
    }
    for (IrRef other = ref + 1; other < fuse->func->nodes.count; other++) {
        const IrNode *get = ir_node(fuse->func, other);
        if (get->op == OP_get && get->operands[0] == ref)
            fuse->node[other].buffer = results[get->attr[0].items[0]];
    }
}

/* ---- one function ---- */

static void give_buffers(Lowering *lowering, Fuse *fuse, const int *params)
{
    const IrFunc *func = fuse->func;
    for (int i = 0; i < func->params.count; i++)
        fuse->node[func->params.items[i]].buffer = params[i];
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        const IrNode *node = ir_node(func, ref);
        bool control = (ir_op_info[node->op].traits & TRAIT_control) != 0;
        if (!fuse->node[ref].needed || fuse->node[ref].buffer >= 0)
            continue;
        if (node->op == OP_literal) {
            fuse->node[ref].buffer = add_buffer(lowering, PLACE_CONSTANT, node->type, "literal");
            lowering->plan->buffers.items[fuse->node[ref].buffer].data = node->data;
        } else if (fuse->node[ref].stored && !control && !fuse->node[ref].local && !fuse->node[ref].inner) {
            fuse->node[ref].buffer = add_buffer(lowering, PLACE_ARENA, node->type, node->name);
        }
    }
}

Fuse fuse_analyse(Arena *arena, const IrFunc *func, bool no_fuse, const int *params, const int *wanted)
{
    Fuse fuse = {.arena = arena, .func = func, .no_fuse = no_fuse};
    fuse.node = arena_array(arena, FuseNode, func->nodes.count);
    fuse.seen = arena_array(arena, unsigned char, func->nodes.count);
    fuse_decide(&fuse);
    fuse_group(&fuse);
    fuse_rows(&fuse);
    if (wanted)
        fuse_place_results(&fuse, params, wanted);
    return fuse;
}

/* `wanted` (may be null) names buffers that results should be computed in; `results` says where they are. */
static void lower_func(Lowering *lowering, const IrFunc *func, const int *params, const int *wanted, int *results,
                       PlanSteps *steps)
{
    Fuse fuse = fuse_analyse(lowering->arena, func, lowering->options->no_fuse, params, wanted);
    give_buffers(lowering, &fuse, params);
    for (int i = 0; i < fuse.groups.count; i++) {
        const Group *group = &fuse.groups.items[i];
        if (group->kind == GROUP_CONTROL)
            lower_control(lowering, &fuse, group->members.items[0], steps);
        else
            add_launches(lowering, steps, &fuse, group);
    }
    for (int i = 0; i < func->results.count; i++)
        results[i] = buffer_of(&fuse, func->results.items[i]);
}

/* ---- the entry: inputs and outputs are the caller's memory ---- */

static int *input_buffers(Lowering *lowering, const IrFunc *func)
{
    int *params = arena_array(lowering->arena, int, func->params.count + 1);
    for (int i = 0; i < func->params.count; i++) {
        const IrNode *param = ir_node(func, func->params.items[i]);
        params[i] = add_buffer(lowering, PLACE_INPUT, param->type, param->name);
        lowering->plan->buffers.items[params[i]].offset = i;
    }
    return params;
}

/* Where each result has to be in the end: an output of its own, or the input whose memory it takes over. */
static int *output_buffers(Lowering *lowering, const IrFunc *func, const int *params)
{
    int *outputs = arena_array(lowering->arena, int, func->results.count + 1);
    for (int i = 0; i < func->results.count; i++) {
        int alias = lowering->options->alias ? lowering->options->alias[i] : -1;
        const char *name = i < func->result_names.count ? func->result_names.items[i] : NULL;
        if (alias >= 0) {
            outputs[i] = params[alias];
        } else {
            outputs[i] = add_buffer(lowering, PLACE_OUTPUT, *ir_type_of(func, func->results.items[i]), name);
            lowering->plan->buffers.items[outputs[i]].offset = i;
        }
    }
    return outputs;
}

static bool is_among(int buffer, const int *list, int count)
{
    for (int i = 0; i < count; i++)
        if (list[i] == buffer)
            return true;
    return false;
}

/* Results that could not be computed in place are copied there, when nothing reads the old contents any more.  An input
 * that is the result of another place is saved first: its own memory may be overwritten by then. */
static void copy_results(Lowering *lowering, const IrFunc *func, const int *params, const int *outputs, int *results,
                         PlanSteps *steps)
{
    PlanSteps before = {0};
    for (int i = 0; i < func->results.count; i++) {
        bool overwritten = is_among(results[i], outputs, func->results.count);
        if (results[i] == outputs[i] || !overwritten || !is_among(results[i], params, func->params.count))
            continue;
        int saved = add_buffer(lowering, PLACE_ARENA, lowering->plan->buffers.items[results[i]].type, "saved");
        add_copy(lowering, &before, saved, results[i], func->at);
        results[i] = saved;
    }
    for (int i = 0; i < steps->list.count; i++)
        list_push(lowering->arena, &before.list, steps->list.items[i]);
    *steps = before;
    for (int i = 0; i < func->results.count; i++)
        add_copy(lowering, steps, outputs[i], results[i], func->at);
}

Plan *pass_fuse(Arena *arena, const IrFunc *func, const LowerOptions *options, DiagSink *diags)
{
    (void)diags; /* every inlined, derived function can be lowered */
    Plan *plan = arena_new_of(arena, Plan);
    plan->arena = arena;
    plan->name = func->name;
    plan->input_count = func->params.count;
    plan->output_count = func->results.count;
    Lowering lowering = {arena, plan, options};
    int *params = input_buffers(&lowering, func);
    int *outputs = output_buffers(&lowering, func, params);
    int *results = arena_array(arena, int, func->results.count + 1);
    lower_func(&lowering, func, params, outputs, results, &plan->steps);
    copy_results(&lowering, func, params, outputs, results, &plan->steps);
    return plan;
}
