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

/* What rounding does to the product by what it does to `a`. */
static double product_rounding(const EvalTensor *a, const EvalTensor *a_declared, const EvalTensor *b)
{
    double sum = 0;
    for (int64_t i = 0; i < ir_element_count(&a->type); i++)
        sum += trial_rounding(a->real[i], a_declared->real[i]) * fabs(b->real[i]);
    return sum;
}

static EvalTensor draw_cotangent(Trial *trial, IrType type)
{
    EvalTensor tensor = eval_tensor_new(trial->call->arena, type);
    for (int64_t i = 0; i < ir_element_count(&type); i++)
        tensor.real[i] = point_random(trial, -1, 1);
    return tensor;
}

/* A function with its derivatives in both directions, and cotangents of some results: what the products are taken of. */
typedef struct Pair {
    const IrFunc *func, *jvp, *vjp;
    const bool *seeded;    /* by result: vjp takes a cotangent of it */
    EvalTensor *cotangent; /* by result; no memory where there is none */
} Pair;

/* args, and then the cotangents: what vjp takes. */
static EvalTensor *back_args(const Trial *trial, const Pair *pair, const EvalTensor *args)
{
    int params = trial->func->params.count, results = pair->func->results.count, next = params;
    EvalTensor *out = arena_array(trial->call->arena, EvalTensor, params + results + 1);
    memcpy(out, args, sizeof *args * (size_t)params);
    for (int r = 0; r < results; r++) {
        if (pair->seeded[r])
            out[next++] = pair->cotangent[r];
    }
    return out;
}

/* args, and then the tangents. */
static EvalTensor *ahead_args(const Trial *trial, const EvalTensor *args)
{
    EvalTensor *out = trial_dual_args(trial);
    memcpy(out, args, sizeof *args * (size_t)trial->func->params.count);
    return out;
}

static double rounding_ahead(const Trial *trial, const Pair *pair, const EvalTensor *args)
{
    int results = pair->func->results.count;
    const EvalTensor *at = ahead_args(trial, args);
    const EvalTensor *wide = trial_run(trial, pair->jvp, EVAL_wide, at) + results;
    const EvalTensor *declared = trial_run(trial, pair->jvp, EVAL_declared, at) + results;
    double sum = 0;
    for (int r = 0; r < results; r++) {
        if (pair->seeded[r])
            sum += product_rounding(wide, declared, &pair->cotangent[r]);
        int step = dtype_is_float(ir_type_of(pair->func, pair->func->results.items[r])->dtype);
        wide += step, declared += step;
    }
    return sum;
}

static double rounding_back(const Trial *trial, const Pair *pair, const EvalTensor *args)
{
    int results = pair->func->results.count;
    const EvalTensor *at = back_args(trial, pair, args);
    const EvalTensor *wide = trial_run(trial, pair->vjp, EVAL_wide, at) + results;
    const EvalTensor *declared = trial_run(trial, pair->vjp, EVAL_declared, at) + results;
    double sum = 0;
    for (int p = 0; p < trial->func->params.count; p++) {
        if (trial->active[p])
            sum += product_rounding(wide++, declared++, &trial->tangents[p]);
    }
    return sum;
}

/* The most at points near by: at one the roundings of f32 may happen to be none. */
static double rounding_of(const Trial *trial, const Pair *pair)
{
    enum { PLACES = 8 };
    double most = 0;
    for (int i = 0; i < PLACES; i++) {
        const EvalTensor *args = trial_moved_args(trial, 1e-2 * i);
        most = fmax(most, rounding_ahead(trial, pair, args) + rounding_back(trial, pair, args));
    }
    return most;
}

/* For luck, see derivatives.h. */
#define ROUNDING_FACTOR 64

static void draw_cotangents(Trial *trial, Pair *pair)
{
    int results = pair->func->results.count;
    pair->cotangent = arena_array(trial->call->arena, EvalTensor, results + 1);
    for (int r = 0; r < results; r++) {
        if (pair->seeded[r])
            pair->cotangent[r] = draw_cotangent(trial, *ir_type_of(pair->func, pair->func->results.items[r]));
    }
}

/* `tangents`: of the float results of `func`, in order. */
static double disagreement(Trial *trial, Pair *pair, const EvalTensor *tangents)
{
    Product ahead = {0, 0}, back = {0, 0};
    draw_cotangents(trial, pair);
    for (int r = 0; r < pair->func->results.count; r++) {
        if (pair->seeded[r])
            add_product(&ahead, &pair->cotangent[r], tangents);
        tangents += dtype_is_float(ir_type_of(pair->func, pair->func->results.items[r])->dtype);
    }
    const EvalTensor *gradients =
        trial_run(trial, pair->vjp, EVAL_wide, back_args(trial, pair, trial->args)) + pair->func->results.count;
    for (int p = 0; p < trial->func->params.count; p++) {
        if (trial->active[p])
            add_product(&back, gradients++, &trial->tangents[p]);
    }
    double error = fabs(ahead.value - back.value), size = ahead.size + back.size;
    if (!isfinite(error))
        return INFINITY;
    if (error > REVERSE_TOLERANCE * size) /* else it does not matter */
        size += ROUNDING_FACTOR * rounding_of(trial, pair) / REVERSE_TOLERANCE;
    return size > 0 ? error / size : 0;
}

double reverse_try(Trial *trial, const IrFunc *jvp, const IrFunc *vjp)
{
    const EvalTensor *tangents = trial_run(trial, jvp, EVAL_wide, trial_dual_args(trial)) + trial->func->results.count;
    Pair pair = {.func = trial->func, .jvp = jvp, .vjp = vjp, .seeded = trial->seeded};
    return disagreement(trial, &pair, tangents);
}

/* ---- where it arises ---- */

typedef struct Search {
    IrFunc *func; /* with probes */
    const IrFunc *jvp;
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
    Pair pair = {.func = search->func, .jvp = search->jvp, .vjp = vjp, .seeded = seeded};
    return vjp && disagreement(trial, &pair, search->tangents) > REVERSE_TOLERANCE;
}

static Search search_begin(Trial *trial)
{
    Arena *arena = trial->call->arena;
    Search search = {.unheard = diag_sink_new(arena)};
    search.func = trial_probe(trial, "probed_back", &search.probes);
    search.jvp = derive_jvp(search.func->module, search.func, trial->active, &search.unheard);
    int count = search.jvp ? search.probes.count : 0;
    search.usable = arena_array(arena, bool, count + 1);
    if (search.jvp)
        search.tangents = trial_run(trial, search.jvp, EVAL_wide, trial_dual_args(trial)) + count;
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
