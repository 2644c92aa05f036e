/* Replay: a step that gave NaN or infinity, done again with a probe behind every float value, to name the first such one.
 *
 * The step's graph, derived and inlined but neither simplified nor fused, gets two more results for each float node: how many
 * of its elements are NaN, and how many are not finite.  Inside a loop the counts of each turn are stacked as rows.  The state
 * is as it was before the step, so that batch, key and weights are those that failed. */
#include "runtime/api_internal.h"

#include <math.h>
#include <string.h>

typedef struct Probe {
    Span span;
    const char *name;
    IrOp op;
    IrType type;      /* of the value, in one turn */
    int group;        /* probes of one loop of the outermost function share it: they are ordered by turn first */
    IrRef nan, other; /* the counts, in the function that is being built */
} Probe;

typedef LIST(Probe) ProbeList;

typedef struct Replay {
    ApiCall *call;
    IrModule *module;
    int next_group;
} Replay;

/* ---- building ---- */

static IrRef count_true(IrFunc *func, IrRef mask)
{
    IrRef ones = ir_cast(func, mask, DT_f32);
    int rank = ir_type_of(func, ones)->rank;
    int64_t axes[IR_MAX_RANK];
    for (int i = 0; i < rank; i++)
        axes[i] = i;
    return rank ? ir_reduce(func, OP_sum, ones, axes, rank) : ones;
}

/* All but NaN are at most infinite. */
static Probe probe_value(const Replay *replay, IrFunc *func, const IrFunc *from, IrRef node, IrRef value)
{
    const IrNode *source = ir_node(from, node);
    IrType type = *ir_type_of(func, value);
    func->at = source->span;
    IrRef bounded = ir_binary(func, OP_le, value, ir_const(func, type, INFINITY));
    IrRef finite = ir_unary(func, OP_is_finite, value);
    return (Probe){.span = source->span,
                   .name = source->name,
                   .op = source->op,
                   .type = type,
                   .group = replay->next_group,
                   .nan = count_true(func, ir_unary(func, OP_not, bounded)),
                   .other = count_true(func, ir_unary(func, OP_not, finite))};
}

static bool is_probed(const IrNode *node)
{
    bool constant = node->op == OP_const || node->op == OP_literal; /* an infinity that is written is meant */
    return !constant && (ir_op_info[node->op].traits & (TRAIT_control | TRAIT_view)) == 0 && dtype_is_float(node->type.dtype);
}

static IrFunc *probe_function(Replay *replay, const IrFunc *from, ProbeList *probes);

/* The counts of probes as results; in the function of another side, which does not take them, zeros of their types. */
static void probe_results(IrFunc *func, const ProbeList *probes, const IrFunc *elsewhere)
{
    for (int i = 0; i < probes->count; i++) {
        IrRef counts[2] = {probes->items[i].nan, probes->items[i].other};
        for (int k = 0; k < 2; k++)
            ir_result(func, elsewhere ? ir_const(func, *ir_type_of(elsewhere, counts[k]), 0) : counts[k], NULL);
    }
}

/* What the probes of a callee counted, as results `first`, first + 1, .. of the node that calls it. */
static void take_results(const Replay *replay, IrFunc *func, IrRef node, int first, const ProbeList *inner, ProbeList *probes)
{
    for (int i = 0; i < inner->count; i++) {
        Probe probe = inner->items[i];
        probe.group = replay->next_group;
        probe.nan = ir_get(func, node, first + 2 * i);
        probe.other = ir_get(func, node, first + 2 * i + 1);
        list_push(replay->call->arena, probes, probe);
    }
}

static IrRef *mapped_operands(const Replay *replay, const IrNode *node, const IrRef *map)
{
    IrRef *operands = arena_array(replay->call->arena, IrRef, node->operand_count);
    for (int i = 0; i < node->operand_count; i++)
        operands[i] = map[node->operands[i]];
    return operands;
}

/* The loop with the counts of its body as further rows. */
static IrRef probe_loop(Replay *replay, IrFunc *func, const IrNode *loop, const IrRef *map, ProbeList *probes)
{
    ProbeList inner = {0};
    IrFunc *body = probe_function(replay, loop->callee[0], &inner);
    probe_results(body, &inner, NULL);
    int carries = (int)loop->attr[1].items[0], captures = loop->operand_count - 1 - carries;
    IrRef *operands = mapped_operands(replay, loop, map);
    func->at = loop->span;
    IrRef copy =
        ir_for(func, body, operands[0], loop->attr[0].items[0], operands + 1, carries, operands + 1 + carries, captures);
    take_results(replay, func, copy, loop->callee[0]->results.count, &inner, probes);
    return copy;
}

/* Both sides give the counts of both: those that a side does not take are zero. */
static IrRef probe_branch(Replay *replay, IrFunc *func, const IrNode *branch, const IrRef *map, ProbeList *probes)
{
    ProbeList left = {0}, right = {0};
    IrFunc *yes = probe_function(replay, branch->callee[0], &left);
    IrFunc *no = probe_function(replay, branch->callee[1], &right);
    probe_results(yes, &left, NULL);
    probe_results(yes, &right, no);
    probe_results(no, &left, yes);
    probe_results(no, &right, NULL);
    IrRef *operands = mapped_operands(replay, branch, map);
    func->at = branch->span;
    IrRef copy = ir_if(func, operands[0], yes, no, operands + 1, branch->operand_count - 1);
    int own = branch->callee[0]->results.count;
    take_results(replay, func, copy, own, &left, probes);
    take_results(replay, func, copy, own + 2 * left.count, &right, probes);
    return copy;
}

static IrRef copy_probed(Replay *replay, IrFunc *func, const IrFunc *from, IrRef node, const IrRef *map, ProbeList *probes)
{
    const IrNode *source = ir_node(from, node);
    IrRef copy;
    if (source->op == OP_for)
        return probe_loop(replay, func, source, map, probes);
    if (source->op == OP_if)
        return probe_branch(replay, func, source, map, probes);
    if (source->op == OP_param)
        copy = ir_param(func, source->type, source->name);
    else
        copy = ir_copy_node(func, from, node, map);
    if (is_probed(source)) {
        Probe probe = probe_value(replay, func, from, node, copy);
        list_push(replay->call->arena, probes, probe);
    }
    return copy;
}

/* The function with probes, and the same results: those of the probes are up to the caller. */
static IrFunc *probe_function(Replay *replay, const IrFunc *from, ProbeList *probes)
{
    IrFunc *func = ir_func_new(replay->module, from->name);
    IrRef *map = arena_array(replay->call->arena, IrRef, from->nodes.count);
    for (IrRef node = 0; node < from->nodes.count; node++)
        map[node] = copy_probed(replay, func, from, node, map, probes);
    for (int i = 0; i < from->results.count; i++)
        ir_result(func, map[from->results.items[i]], NULL);
    return func;
}

/* Outermost nodes are groups of their own, in order; only the probes are results, so that the state is not written. */
static IrFunc *probe_step(Replay *replay, const IrFunc *from, ProbeList *probes)
{
    Arena *arena = replay->call->arena;
    IrFunc *func = ir_func_new(replay->module, "replay");
    IrRef *map = arena_array(arena, IrRef, from->nodes.count);
    for (IrRef node = 0; node < from->nodes.count; node++) {
        map[node] = copy_probed(replay, func, from, node, map, probes);
        replay->next_group++;
    }
    probe_results(func, probes, NULL);
    return func;
}

/* ---- running ---- */

static cm_status run_probes(Replay *replay, const IrFunc *func, const cm_training *training, float **counts)
{
    ApiCall *call = replay->call;
    PipelineOptions pipeline = {.lower = {.no_fuse = true}, .stop_after = -1};
    int results = func->results.count;
    for (int i = 0; i < results; i++)
        counts[i] = array_new(call->arena, NULL, *ir_type_of(func, func->results.items[i])).data;
    Plan *plan = pipeline_run(replay->module, func->name, &pipeline, &call->diags);
    if (!plan)
        return CM_PROGRAM_ERROR;
    ContextDevice *device;
    cm_status status = context_device(call, training->options.device, &device);
    if (status != CM_OK)
        return status;
    const Backend *backend = device->backend;
    Executable *code = NULL;
    Instance *instance = NULL;
    CompileStats stats = {0};
    const char *reason = backend->compile(call->arena, device->device, plan, &code, &stats);
    if (!reason)
        reason = backend->instantiate(call->arena, code, &instance);
    if (!reason)
        reason = backend->run(call->arena, instance, training->in, (void *const *)counts);
    if (instance)
        backend->discard(instance);
    if (code)
        backend->release(code);
    return reason ? api_fail(call, CM_DEVICE_ERROR, "%s", reason) : CM_OK;
}

/* ---- telling ---- */

typedef struct Finding {
    const Probe *probe;
    int64_t turn; /* of its loops, counted through; 0 outside */
    double count;
} Finding;

/* The first turn in which a probe counted something. */
static bool probe_fired(const IrFunc *func, const Probe *probe, int result, const float *counts, Finding *finding)
{
    int64_t turns = ir_element_count(ir_type_of(func, func->results.items[result]));
    for (int64_t turn = 0; turn < turns; turn++) {
        if (counts[turn] > 0) {
            *finding = (Finding){probe, turn, (double)counts[turn]};
            return true;
        }
    }
    return false;
}

/* By order of nodes; within one loop by turn, then by order of nodes. `offset` 0: NaN, 1: anything not finite. */
static Finding find_first(const IrFunc *func, const ProbeList *probes, float *const *counts, int offset)
{
    Finding first = {0};
    for (int i = 0; i < probes->count; i++) {
        const Probe *probe = &probes->items[i];
        Finding found;
        if (first.probe && probe->group != first.probe->group)
            break;
        if (probe_fired(func, probe, 2 * i + offset, counts[2 * i + offset], &found) &&
            (!first.probe || found.turn < first.turn))
            first = found;
    }
    return first;
}

static const char *value_name(Arena *arena, const Probe *probe)
{
    const char *op = probe->op == OP_param ? "as it was given" : ir_op_info[probe->op].name;
    return probe->name ? arena_printf(arena, "%s (%s)", probe->name, op) : arena_printf(arena, "a result of %s", op);
}

static const char *where_in_loop(Arena *arena, const Finding *finding)
{
    return finding->turn ? arena_printf(arena, ", in turn %lld of its loop", (long long)finding->turn) : "";
}

/* Where loss or norm are infinite, a NaN came of that; where they are NaN, an infinity may have been meant. */
static void report_finding(ApiCall *call, int64_t step, const cm_turn *turn, Finding nan, Finding other)
{
    Arena *arena = call->arena;
    bool is_nan = isfinite(turn->loss) ? isnan(turn->grad_norm) : isnan(turn->loss);
    if (!is_nan && other.probe)
        nan.probe = NULL;
    Finding first = nan.probe ? nan : other;
    const Probe *probe = first.probe;
    diag_report(&call->diags, DIAG_not_finite, probe->span,
                "step %lld: %s is the first value that is %s: %.0f of its %lld elements (%s)%s", (long long)step,
                value_name(arena, probe), nan.probe ? "nan" : "infinite", first.count,
                (long long)ir_element_count(&probe->type), array_type_text(arena, &probe->type), where_in_loop(arena, &first));
    if (nan.probe && other.probe && other.probe != nan.probe)
        diag_note(&call->diags, other.probe->span, "%s was infinite before that%s", value_name(arena, other.probe),
                  where_in_loop(arena, &other));
}

static cm_status search(ApiCall *call, const cm_training *training, const cm_turn *turn, bool *told)
{
    Specialised *specialised;
    cm_status status =
        program_specialise_entry(call, training->program, call->arena, training->entry, &training->options, &specialised);
    if (status != CM_OK || !pass_derive(specialised->module, &call->diags))
        return CM_PROGRAM_ERROR;
    pass_inline(specialised->module);
    const IrFunc *from = ir_func_find(specialised->module, specialised->func->name);
    Replay replay = {.call = call, .module = specialised->module};
    ProbeList probes = {0};
    IrFunc *func = probe_step(&replay, from, &probes);
    float **counts = arena_array(call->arena, float *, func->results.count);
    status = run_probes(&replay, func, training, counts);
    if (status != CM_OK)
        return status;
    Finding nan = find_first(func, &probes, counts, 0), other = find_first(func, &probes, counts, 1);
    *told = nan.probe || other.probe;
    if (*told)
        report_finding(call, training->step, turn, nan, other);
    return CM_OK;
}

/* Without the sign that a NaN happens to carry. */
static double shown(double value)
{
    return isnan(value) ? (double)NAN : value;
}

cm_status training_replay(ApiCall *call, cm_training *training, const cm_turn *turn)
{
    bool told = false;
    context_log(call->context, "step %lld is not finite: looking for the first such value", (long long)training->step);
    cm_status status = search(call, training, turn, &told);
    if (status != CM_OK) /* what kept the search from its end matters less than the step */
        call->diags = diag_sink_new(call->arena);
    call->reason = NULL;
    const char *figures = arena_printf(call->arena, "%s%sloss %g, gradient norm %g", turn->name ? turn->name : "",
                                       turn->name ? ": " : "", shown(turn->loss), shown(turn->grad_norm));
    if (!told)
        diag_report(&call->diags, DIAG_not_finite, training->entry->span,
                    "step %lld: %s; done again without fusion, no value stands out", (long long)training->step, figures);
    diag_note(&call->diags, (Span){0}, "%s; weights and optimiser are as they were before the step", figures);
    return CM_NOT_FINITE;
}
