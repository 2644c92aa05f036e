/* Replay: a step that gave NaN or infinity, done again with a probe behind every float value, to name the first such one.
 *
 * The step's graph, derived and inlined but neither simplified nor fused, gets two more results for each float node: how many
 * of its elements are NaN, and how many are not finite.  Inside a loop the counts of each turn are stacked as rows.  The state
 * is as it was before the step, so that batch, key and weights are those that failed. */
#include "runtime/api_internal.h"
#include "runtime/probe.h"

#include <math.h>
#include <string.h>

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

/* How many elements are NaN, and how many are not finite: all but NaN are at most infinite. */
static void tell_counts(IrFunc *func, IrRef value, IrRef *part)
{
    IrRef bounded = ir_binary(func, OP_le, value, ir_const(func, *ir_type_of(func, value), INFINITY));
    IrRef finite = ir_unary(func, OP_is_finite, value);
    part[0] = count_true(func, ir_unary(func, OP_not, bounded));
    part[1] = count_true(func, ir_unary(func, OP_not, finite));
}

static bool is_probed(const IrFunc *from, IrRef ref)
{
    const IrNode *node = ir_node(from, ref);
    bool constant = node->op == OP_const || node->op == OP_literal; /* an infinity that is written is meant */
    return !constant && (ir_op_info[node->op].traits & (TRAIT_control | TRAIT_view)) == 0 && dtype_is_float(node->type.dtype);
}

/* ---- running ---- */

static cm_status run_probes(ApiCall *call, const IrFunc *func, const cm_training *training, float **counts)
{
    PipelineOptions pipeline = {.lower = {.no_fuse = true}, .stop_after = -1};
    int results = func->results.count;
    for (int i = 0; i < results; i++)
        counts[i] = array_new(call->arena, NULL, *ir_type_of(func, func->results.items[i])).data;
    Plan *plan = pipeline_run(func->module, func->name, &pipeline, &call->diags);
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
        reason = backend->run(call->arena, instance, training->in, (void *const *)counts, NULL);
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
    const char *of = probe->derives ? arena_printf(arena, " in the derivative of %s", probe->derives) : "";
    if (probe->name)
        return arena_printf(arena, "%s (%s)%s", probe->name, op, of);
    return arena_printf(arena, "a result of %s%s", op, of);
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
    Prober prober = {call->arena, specialised->module, .parts = 2, .wants = is_probed, .tell = tell_counts};
    ProbeList probes = {0};
    IrFunc *func = probe_build(&prober, from, "replay", &probes); /* only what probes tell: the state is not written */
    float **counts = arena_array(call->arena, float *, func->results.count);
    status = run_probes(call, func, training, counts);
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
