/* What both directions of a trial do: run functions at its point, and look at the values inside. */
#include "runtime/derivatives.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define FINER (DBL_EPSILON / FLT_EPSILON) /* f64 than f32 */

/* ---- running ---- */

EvalTensor *trial_run(const Trial *trial, const IrFunc *func, EvalMode mode, const EvalTensor *args)
{
    Arena *arena = trial->call->arena;
    int count = func->results.count;
    EvalTensor *kept = arena_array(arena, EvalTensor, count + 1);
    for (int i = 0; i < count; i++)
        kept[i] = eval_tensor_new(arena, *ir_type_of(func, func->results.items[i]));
    ArenaMark mark = arena_mark(arena);
    EvalTensor *results = arena_array(arena, EvalTensor, count + 1);
    ir_eval(arena, func, mode, args, results);
    for (int i = 0; i < count; i++) {
        size_t elements = (size_t)ir_element_count(&kept[i].type);
        if (kept[i].integer)
            memcpy(kept[i].integer, results[i].integer, elements * sizeof *kept[i].integer);
        else
            memcpy(kept[i].real, results[i].real, elements * sizeof *kept[i].real);
    }
    arena_rewind(arena, mark);
    return kept;
}

EvalTensor *trial_moved_args(const Trial *trial, double step)
{
    Arena *arena = trial->call->arena;
    int params = trial->func->params.count;
    EvalTensor *moved = arena_array(arena, EvalTensor, params + 1);
    for (int p = 0; p < params; p++) {
        moved[p] = trial->args[p];
        if (!trial->active[p])
            continue;
        moved[p] = eval_tensor_new(arena, trial->args[p].type);
        for (int64_t i = 0; i < ir_element_count(&moved[p].type); i++)
            moved[p].real[i] = trial->args[p].real[i] + step * trial->tangents[p].real[i];
    }
    return moved;
}

double trial_rounding(double wide, double declared)
{
    double moved = fabs(declared - wide);
    return isfinite(moved) ? moved * FINER : 0;
}

EvalTensor *trial_dual_args(const Trial *trial)
{
    int params = trial->func->params.count, next = params;
    EvalTensor *args = arena_array(trial->call->arena, EvalTensor, 2 * params + 1);
    memcpy(args, trial->args, sizeof *args * (size_t)params);
    for (int p = 0; p < params; p++) {
        if (trial->active[p])
            args[next++] = trial->tangents[p];
    }
    return args;
}

/* ---- values inside ---- */

static bool is_probed(const IrFunc *from, IrRef ref)
{
    const IrNode *node = ir_node(from, ref);
    bool given = node->op == OP_const || node->op == OP_literal || node->op == OP_param;
    return !given && !(ir_op_info[node->op].traits & TRAIT_control) && dtype_is_float(node->type.dtype);
}

static void tell_value(IrFunc *func, IrRef value, IrRef *part)
{
    (void)func;
    part[0] = value;
}

IrFunc *trial_probe(const Trial *trial, const char *name, ProbeList *probes)
{
    Prober prober = {trial->call->arena, trial->func->module, .parts = 1, .wants = is_probed, .tell = tell_value};
    return probe_build(&prober, trial->func, name, probes);
}

const char *probe_text(Arena *arena, const Probe *probe)
{
    const char *op = ir_op_info[probe->op].name;
    return probe->name ? arena_printf(arena, "%s (%s)", probe->name, op) : arena_printf(arena, "a result of %s", op);
}
