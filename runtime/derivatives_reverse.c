/* Reverse mode against forward mode: for a tangent t of the inputs and a cotangent c of the results, <c, J t> = <J' c, t>. */
#include "runtime/derivatives.h"

#include <math.h>
#include <string.h>

typedef struct Product {
    double value, size; /* size: the sum of magnitudes, which rounding is relative to */
} Product;

static void add_product(Product *sum, const EvalTensor *a, const EvalTensor *b)
{
    for (int64_t i = 0; i < ir_element_count(&a->type); i++) {
        sum->value += a->real[i] * b->real[i];
        sum->size += fabs(a->real[i] * b->real[i]);
    }
}

static EvalTensor draw_cotangent(Trial *trial, IrType type)
{
    EvalTensor tensor = eval_tensor_new(trial->call->arena, type);
    for (int64_t i = 0; i < ir_element_count(&type); i++)
        tensor.real[i] = point_random(trial, -1, 1);
    return tensor;
}

/* `tangents`: of the float results of `func`, in order; `vjp` is its reverse derivative by the seeded ones. */
static double disagreement(Trial *trial, const IrFunc *func, const IrFunc *vjp, const bool *seeded, const EvalTensor *tangents)
{
    int params = trial->func->params.count, results = func->results.count, next = params;
    EvalTensor *args = arena_array(trial->call->arena, EvalTensor, params + results + 1);
    Product ahead = {0, 0}, back = {0, 0};
    memcpy(args, trial->args, sizeof *args * (size_t)params);
    for (int r = 0; r < results; r++) {
        IrType type = *ir_type_of(func, func->results.items[r]);
        if (seeded[r]) {
            args[next] = draw_cotangent(trial, type);
            add_product(&ahead, &args[next++], tangents);
        }
        tangents += dtype_is_float(type.dtype);
    }
    const EvalTensor *gradients = trial_run(trial, vjp, args) + results;
    for (int p = 0; p < params; p++) {
        if (trial->active[p])
            add_product(&back, gradients++, &trial->tangents[p]);
    }
    double error = fabs(ahead.value - back.value), size = ahead.size + back.size;
    if (!isfinite(error))
        return INFINITY;
    return size > 0 ? error / size : 0;
}

double reverse_try(Trial *trial, const IrFunc *jvp, const IrFunc *vjp)
{
    const EvalTensor *tangents = trial_run(trial, jvp, trial_dual_args(trial)) + trial->func->results.count;
    return disagreement(trial, trial->func, vjp, trial->seeded, tangents);
}

/* ---- where it arises ---- */

typedef struct Search {
    IrFunc *func; /* with probes */
    ProbeList probes;
    const EvalTensor *tangents; /* of the probes */
    bool *usable;               /* by probe: its tangent is finite */
    DiagSink unheard;           /* what leads to no result need not have a derivative */
} Search;

static bool is_finite(const EvalTensor *tensor)
{
    for (int64_t i = 0; i < ir_element_count(&tensor->type); i++) {
        if (!isfinite(tensor->real[i]))
            return false;
    }
    return true;
}

/* Whether reverse mode is wrong for the first `count` values, all given cotangents at once. */
static bool is_wrong(Trial *trial, Search *search, int count)
{
    Arena *arena = trial->call->arena;
    bool *seeded = arena_array(arena, bool, search->probes.count + 1);
    for (int i = 0; i < count; i++)
        seeded[i] = search->usable[i];
    const IrFunc *vjp = derive_vjp(search->func->module, search->func, trial->active, seeded, &search->unheard);
    return vjp && disagreement(trial, search->func, vjp, seeded, search->tangents) > REVERSE_TOLERANCE;
}

static Search search_begin(Trial *trial)
{
    Arena *arena = trial->call->arena;
    Search search = {.unheard = diag_sink_new(arena)};
    search.func = trial_probe(trial, "probed_back", &search.probes);
    const IrFunc *jvp = derive_jvp(search.func->module, search.func, trial->active, &search.unheard);
    int count = jvp ? search.probes.count : 0;
    search.usable = arena_array(arena, bool, count + 1);
    if (jvp)
        search.tangents = trial_run(trial, jvp, trial_dual_args(trial)) + count;
    for (int i = 0; i < count; i++)
        search.usable[i] = is_finite(&search.tangents[i]);
    return search;
}

/* The first value whose cotangent goes wrong, by halves: what is wrong for some values is wrong for more. */
static const Probe *find_probe(Trial *trial, Search *search)
{
    int right = 0, wrong = search->probes.count;
    if (!search->tangents || !is_wrong(trial, search, wrong))
        return NULL;
    while (wrong - right > 1) {
        int middle = right + (wrong - right) / 2;
        if (is_wrong(trial, search, middle))
            wrong = middle;
        else
            right = middle;
    }
    return &search->probes.items[right];
}

void reverse_locate(Trial *trial, const Entry *entry)
{
    ApiCall *call = trial->call;
    Search search = search_begin(trial);
    const Probe *probe = find_probe(trial, &search);
    if (probe)
        diag_report(&call->diags, DIAG_derivative_differs, probe->span,
                    "%s: the gradient that comes back through %s is not that of forward mode", entry->name,
                    probe_text(call->arena, probe));
    else
        diag_report(&call->diags, DIAG_derivative_differs, entry->span,
                    "reverse mode of `%s` disagrees with forward mode; no value inside stands out", entry->name);
}
