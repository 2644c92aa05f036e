/* Forward mode against differences of the values.
 *
 * The central difference of fourth order is taken with a step and with half of it.  Where both agree, the finer one is right;
 * where they do not, a kink is near by, or the step is too large or too small for f64, and others are tried. */
#include "runtime/derivatives.h"

#include <float.h>
#include <math.h>

/* What differences say of one result. */
typedef struct Difference {
    EvalTensor fine, coarse, rounding; /* rounding: what f64 does to the values; no memory if it is no float */
} Difference;

/* Tangent and difference over some elements of a result. */
typedef struct Comparison {
    double error, size, scale; /* size: of the difference; scale: of the larger of both */
    double doubt, noise;       /* of the difference: how much two steps disagree, what rounding does */
    int64_t at;                /* where they differ most */
} Comparison;

/* ---- differences ---- */

enum { PLACES = 6 };
static const double places[PLACES] = {-2, -1, -0.5, 0.5, 1, 2};
static const double fine_weight[PLACES] = {0, 1. / 6, -8. / 6, 8. / 6, -1. / 6, 0};
static const double coarse_weight[PLACES] = {1. / 12, -8. / 12, 0, 0, 8. / 12, -1. / 12};

static void add_place(Difference *difference, const EvalTensor *value, int place, double step)
{
    for (int64_t i = 0; i < ir_element_count(&value->type); i++) {
        difference->fine.real[i] += fine_weight[place] * value->real[i] / step;
        difference->coarse.real[i] += coarse_weight[place] * value->real[i] / step;
        if (isfinite(value->real[i]))
            difference->rounding.real[i] = fmax(difference->rounding.real[i], DBL_EPSILON * fabs(value->real[i]));
    }
}

/* Relative to the values it would be too small where large ones cancelled on the way. */
static void add_rounding(const Trial *trial, const IrFunc *func, const EvalTensor *args, const EvalTensor *wide,
                         Difference *out)
{
    const EvalTensor *declared = trial_run(trial, func, EVAL_declared, args);
    for (int r = 0; r < func->results.count; r++) {
        for (int64_t i = 0; out[r].fine.real && i < ir_element_count(&wide[r].type); i++)
            out[r].rounding.real[i] = fmax(out[r].rounding.real[i], trial_rounding(wide[r].real[i], declared[r].real[i]));
    }
}

static Difference *differences(const Trial *trial, const IrFunc *func, double step)
{
    Arena *arena = trial->call->arena;
    int results = func->results.count;
    Difference *out = arena_array(arena, Difference, results + 1);
    for (int r = 0; r < results; r++) {
        IrType type = *ir_type_of(func, func->results.items[r]);
        if (dtype_is_float(type.dtype))
            out[r] = (Difference){eval_tensor_new(arena, type), eval_tensor_new(arena, type), eval_tensor_new(arena, type)};
    }
    EvalTensor *values = arena_array(arena, EvalTensor, results + 1);
    for (int place = 0; place < PLACES; place++) {
        ArenaMark mark = arena_mark(arena);
        const EvalTensor *args = trial_moved_args(trial, places[place] * step);
        ir_eval(arena, func, EVAL_wide, args, values);
        if (place == 0 || place == PLACES - 1)
            add_rounding(trial, func, args, values, out);
        for (int r = 0; r < results; r++) {
            if (out[r].fine.real)
                add_place(&out[r], &values[r], place, step);
        }
        arena_rewind(arena, mark);
    }
    return out;
}

/* ---- comparing ---- */

/* Elements [first, end) of a result, without those whose difference is not finite. */
static Comparison compare(const Difference *difference, const EvalTensor *tangent, double step, int64_t first, int64_t end)
{
    Comparison out = {.at = first};
    for (int64_t i = first; i < end; i++) {
        double got = tangent->real[i], fine = difference->fine.real[i], coarse = difference->coarse.real[i];
        if (!isfinite(fine) || !isfinite(coarse))
            continue;
        out.noise = fmax(out.noise, 8 * difference->rounding.real[i] / step);
        double error = isfinite(got) ? fabs(got - fine) : INFINITY;
        out.size = fmax(out.size, fabs(fine));
        out.scale = fmax(out.scale, isfinite(got) ? fmax(fabs(got), fabs(fine)) : fabs(fine));
        out.doubt = fmax(out.doubt, fabs(fine - coarse));
        if (error > out.error) {
            out.error = error;
            out.at = i;
        }
    }
    return out;
}

/* Whether the differences are as good as f64 allows, or good enough. */
static bool is_trusted(const Comparison *comparison)
{
    return comparison->doubt <= fmax(FORWARD_TOLERANCE / 4 * comparison->size, 8 * comparison->noise);
}

/* What may be the differences' own error counts for nothing. */
static double relative(const Comparison *comparison)
{
    double doubt = 4 * (comparison->doubt + comparison->noise);
    return comparison->error > 0 ? comparison->error / (comparison->scale + doubt / FORWARD_TOLERANCE) : 0;
}

static bool all_finite(const EvalTensor *tensor)
{
    for (int64_t i = 0; tensor->real && i < ir_element_count(&tensor->type); i++) {
        if (!isfinite(tensor->real[i]))
            return false;
    }
    return true;
}

static Trust try_step(const Trial *trial, const EvalTensor *tangents, double step, double *worst)
{
    const Difference *found = differences(trial, trial->func, step);
    *worst = 0;
    for (int r = 0; r < trial->func->results.count; r++) {
        if (!found[r].fine.real)
            continue;
        if (!all_finite(&found[r].fine) || !all_finite(&found[r].coarse))
            return TRUST_not_finite;
        Comparison all = compare(&found[r], tangents++, step, 0, ir_element_count(&found[r].fine.type));
        if (!is_trusted(&all))
            return TRUST_kink;
        *worst = fmax(*worst, relative(&all));
    }
    return TRUST_yes;
}

static const double steps[] = {1e-3, 1e-4, 1e-5};
enum { STEPS = sizeof steps / sizeof *steps };

Trust forward_try(Trial *trial, const IrFunc *jvp, double *worst)
{
    const EvalTensor *tangents = trial_run(trial, jvp, EVAL_wide, trial_dual_args(trial)) + trial->func->results.count;
    Trust trust = TRUST_kink;
    for (int i = 0; i < STEPS && trust != TRUST_yes; i++) {
        trial->step = steps[i];
        trust = try_step(trial, tangents, steps[i], worst);
    }
    return trust;
}

/* ---- where it arises ---- */

/* What is derived from a wrong value is wrong as well, by the same part of its size where the derivative is right, or less
 * where others are mixed in.  So what a value adds itself is what its disagreement exceeds that of its operands by.
 * Where it does so because values cancel, nothing there is wrong: of primitives the first that disagrees counts only, and
 * rules, which programs state, count by what they add. */
typedef struct Origin {
    const Probe *probe; /* null: none */
    int64_t turn;
    double tangent, difference;
    double added; /* to the relative disagreement */
} Origin;

typedef struct Hunt {
    const Trial *trial;
    const ProbeList *probes;
    const Difference *differences;
    const EvalTensor *tangents;
    double *errors; /* by probe, in the last turn */
    double reached; /* the largest so far */
    Origin worst;
} Hunt;

static int64_t turns_of(const Hunt *hunt, int probe)
{
    int64_t size = ir_element_count(&hunt->probes->items[probe].type);
    return size ? ir_element_count(&hunt->tangents[probe].type) / size : 0;
}

/* Of an operand in `from`; where it comes out of a loop or branch, or into one, the largest so far. */
static double operand_error(const Hunt *hunt, const IrFunc *from, IrRef node)
{
    for (int i = 0; i < hunt->probes->count; i++) {
        if (hunt->probes->items[i].from == from && hunt->probes->items[i].node == node)
            return hunt->errors[i];
    }
    IrOp op = ir_node(from, node)->op;
    bool right = op == OP_const || op == OP_literal || (op == OP_param && from == hunt->trial->func);
    return right || !dtype_is_float(ir_node(from, node)->type.dtype) ? 0 : hunt->reached;
}

static double added_by(const Hunt *hunt, const Probe *probe, double error)
{
    const IrNode *node = ir_node(probe->from, probe->node);
    const IrNode *maker = node->op == OP_get ? ir_node(probe->from, node->operands[0]) : node;
    double before = 0;
    for (int i = 0; i < maker->operand_count; i++)
        before = fmax(before, operand_error(hunt, probe->from, maker->operands[i]));
    return before < 1 ? (error - before) / (1 - before) : 0; /* agreements, one minus these, multiply */
}

static void look_at(Hunt *hunt, int index, int64_t turn)
{
    const Probe *probe = &hunt->probes->items[index];
    const Difference *difference = &hunt->differences[index];
    const EvalTensor *tangent = &hunt->tangents[index];
    int64_t size = ir_element_count(&probe->type);
    Comparison one = compare(difference, tangent, hunt->trial->step, turn * size, (turn + 1) * size);
    double error = is_trusted(&one) ? relative(&one) : 0;
    hunt->errors[index] = error;
    if (error > FORWARD_TOLERANCE) {
        double added = added_by(hunt, probe, error);
        bool more = probe->rule && added > FORWARD_TOLERANCE && added > hunt->worst.added;
        if (!hunt->worst.probe || more)
            hunt->worst = (Origin){probe, turn, tangent->real[one.at], difference->fine.real[one.at], added};
    }
    hunt->reached = fmax(hunt->reached, error);
}

/* One loop of the outermost function, or one of its nodes: by turn, and then in order. */
static void look_at_group(Hunt *hunt, int first, int end)
{
    int64_t turns = 0;
    for (int i = first; i < end; i++)
        turns = turns_of(hunt, i) > turns ? turns_of(hunt, i) : turns;
    for (int64_t turn = 0; turn < turns; turn++) {
        for (int i = first; i < end; i++) {
            if (turn < turns_of(hunt, i))
                look_at(hunt, i, turn);
        }
    }
}

static Origin find_origin(const Trial *trial, const IrFunc *func, const IrFunc *jvp, const ProbeList *probes)
{
    Hunt hunt = {.trial = trial, .probes = probes};
    hunt.differences = differences(trial, func, trial->step);
    hunt.tangents = trial_run(trial, jvp, EVAL_wide, trial_dual_args(trial)) + probes->count;
    hunt.errors = arena_array(trial->call->arena, double, probes->count + 1);
    for (int first = 0, end = 0; first < probes->count; first = end) {
        while (end < probes->count && probes->items[end].group == probes->items[first].group)
            end++;
        look_at_group(&hunt, first, end);
    }
    return hunt.worst;
}

/* Without the sign that a NaN happens to carry. */
static double shown(double value)
{
    return isnan(value) ? (double)NAN : value;
}

void forward_locate(Trial *trial, const Entry *entry)
{
    ApiCall *call = trial->call;
    ProbeList probes = {0};
    IrFunc *func = trial_probe(trial, "probed", &probes);
    DiagSink unheard = diag_sink_new(call->arena); /* what leads to no result need not have a derivative */
    const IrFunc *jvp = derive_jvp(func->module, func, trial->active, &unheard);
    Origin origin = jvp ? find_origin(trial, func, jvp, &probes) : (Origin){0};
    const Probe *probe = origin.probe;
    if (!probe) {
        diag_report(&call->diags, DIAG_derivative_differs, entry->span,
                    "forward mode disagrees with differences of the results of `%s`; no value inside stands out", entry->name);
        return;
    }
    const char *turn = origin.turn ? arena_printf(call->arena, ", in turn %lld of its loop", (long long)origin.turn) : "";
    diag_report(&call->diags, DIAG_derivative_differs, probe->rule ? probe->rule->at : probe->span,
                "%s: %s gives a tangent of %.6g where differences of the value give %.6g%s", entry->name,
                probe->rule ? "the rule" : probe_text(call->arena, probe), shown(origin.tangent), origin.difference, turn);
    if (probe->rule)
        diag_note(&call->diags, probe->span, "it is the derivative of what is called here");
}
