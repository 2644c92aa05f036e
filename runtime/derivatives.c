/* cm_check_derivatives: makes an entry ready to be tried, tries it, and says what came of it. */
#include "runtime/derivatives.h"

#include <math.h>
#include <string.h>

/* In products of a contraction: what the interpreter computes in a few seconds; a check takes some thirty runs. */
#define MOST_WORK 1.2e9
/* Of an element that is kept: it takes longer than a product, and eight bytes. */
#define ELEMENT_WORK 30.
enum {
    MOST_TURNS = 1000, /* of a loop without a bound, which at made-up values may have no end */
    LIKELY_TURNS = 16, /* of such a loop: what counts as its work */
};
enum { DRAWS = 4 }; /* of points in one range, if the differences at one cannot be trusted */

typedef struct DerivativesCall {
    cm_program *program;
    const char *name;
    cm_derivatives_options options;
    cm_derivatives found;
    const Entry *entry;
    BindingList sizes;
    cm_parameters *weights;
} DerivativesCall;

/* ---- how much there is to do ---- */

static double product(const IrType *type, IrInts axes)
{
    double size = 1;
    for (int i = 0; i < axes.count; i++)
        size *= (double)type->dim[axes.items[i]];
    return size;
}

static double work_of(const IrFunc *func);

/* Work for one element of the result. */
static double terms_of(const IrFunc *func, const IrNode *node)
{
    const IrType *x = node->operand_count ? ir_type_of(func, node->operands[0]) : NULL;
    if (node->op == OP_dot)
        return product(x, node->attr[2]) + ELEMENT_WORK;
    if (node->op == OP_conv) {
        const IrType *w = ir_type_of(func, node->operands[1]);
        return (double)ir_element_count(w) / (double)(w->dim[w->rank - 1] + !w->dim[w->rank - 1]) + ELEMENT_WORK;
    }
    bool folds = ir_op_info[node->op].traits & TRAIT_reduce && node->op != OP_cumsum;
    return (folds ? product(x, node->attr[0]) : 1) * ELEMENT_WORK;
}

static double work_of_node(const IrFunc *func, const IrNode *node)
{
    double bound = node->attr[0].count ? (double)node->attr[0].items[0] : 1;
    if (node->op == OP_for)
        return bound * work_of(node->callee[0]);
    if (node->op == OP_while)
        return (bound > 0 ? bound : LIKELY_TURNS) * work_of(node->callee[1]);
    if (node->op == OP_if)
        return work_of(node->callee[0]) + work_of(node->callee[1]);
    if (ir_op_info[node->op].traits & TRAIT_control)
        return work_of(node->callee[0]);
    return terms_of(func, node) * (double)ir_element_count(&node->type);
}

static double work_of(const IrFunc *func)
{
    double work = 0;
    for (IrRef at = 0; at < func->nodes.count; at++)
        work += work_of_node(func, ir_node(func, at));
    return work;
}

/* ---- stop_grad ---- */

static void collect_stops(Trial *trial, const IrFunc *func)
{
    for (IrRef at = 0; at < func->nodes.count; at++) {
        IrNode *node = ir_node(func, at);
        if (node->op == OP_stop_grad)
            list_push(trial->call->arena, &trial->stops, node);
        for (int i = 0; i < ir_callee_count(node->op); i++)
            collect_stops(trial, node->callee[i]);
    }
}

/* Differences see through a stop_grad, and so must the derivative that they are compared with: it becomes a cast that does
 * nothing. */
static void open_stops(Trial *trial, bool open)
{
    for (int i = 0; i < trial->stops.count; i++)
        trial->stops.items[i]->op = open ? OP_cast : OP_stop_grad;
}

/* As the source has them: one of a tree is many nodes. */
static int count_stops(const Trial *trial)
{
    int count = 0;
    for (int i = 0; i < trial->stops.count; i++) {
        Span at = trial->stops.items[i]->span;
        bool again = false;
        for (int k = 0; k < i && !again; k++) {
            Span other = trial->stops.items[k]->span;
            again = other.source == at.source && other.start == at.start;
        }
        count += !again;
    }
    return count;
}

/* ---- making ready ---- */

static cm_status skip(DerivativesCall *check, const char *reason)
{
    check->found.reason = reason;
    return CM_OK;
}

static Specialised *elaborate(ApiCall *call, DerivativesCall *check, bool defaults)
{
    api_lock(call, &check->program->mutex);
    api_borrow_arena(call, check->program->arena);
    Specialised *made =
        program_specialise_small(check->program->program, call->arena, check->entry, defaults, &check->sizes, &call->diags);
    api_unlock(call);
    if (!made || !pass_derive(made->module, &call->diags))
        return NULL;
    inline_calls(made->module);
    return made;
}

/* With its own sizes if it is small with them, else with small ones. */
static Specialised *choose_sizes(ApiCall *call, DerivativesCall *check)
{
    Specialised *made = elaborate(call, check, false);
    if (!made || work_of(made->func) <= MOST_WORK)
        return made;
    BindingList sizes = check->sizes;
    Specialised *smaller = elaborate(call, check, true);
    if (smaller)
        return smaller;
    call->diags = diag_sink_new(call->arena);
    check->sizes = sizes;
    return made;
}

static bool *which_floats(Arena *arena, const IrFunc *func, const IrRef *refs, int count, bool *any)
{
    bool *floats = arena_array(arena, bool, count + 1);
    *any = false;
    for (int i = 0; i < count; i++)
        *any |= floats[i] = dtype_is_float(ir_type_of(func, refs[i])->dtype);
    return floats;
}

/* Null if the entry can be tried, else why it cannot. */
static const char *make_ready(ApiCall *call, const DerivativesCall *check, const Specialised *made, Trial *trial)
{
    Arena *arena = call->arena;
    IrFunc *func = made->func;
    bool takes, gives;
    *trial = (Trial){.call = call, .made = made, .func = func, .state = (uint64_t)check->options.seed};
    trial->active = which_floats(arena, func, func->params.items, func->params.count, &takes);
    trial->seeded = which_floats(arena, func, func->results.items, func->results.count, &gives);
    if (!takes || !gives)
        return takes ? "it gives no floats" : "it takes no floats";
    double work = work_of(func);
    if (work > MOST_WORK)
        return arena_printf(arena, "a run takes %.1e operations, which is too many to try it; smaller sizes, by --set, help",
                            work);
    trial->args = arena_array(arena, EvalTensor, func->params.count + 1);
    trial->tangents = arena_array(arena, EvalTensor, func->params.count + 1);
    collect_stops(trial, func);
    return NULL;
}

/* ---- derivatives of the entry ---- */

typedef struct Derivatives {
    IrFunc *jvp, *vjp; /* as the program has them; vjp null: there is none */
    IrFunc *open_jvp;  /* through its stop_grads */
} Derivatives;

/* What has no derivative is no mistake of a program that does not ask for it.  Takes the message as the reason. */
static bool is_excused(ApiCall *call, const char *what, const char **reason)
{
    const Diag *diag = &call->diags.list.items[0];
    if (!call->diags.list.count || (diag->code != DIAG_no_derivative && diag->code != DIAG_unbounded_reverse))
        return false;
    *reason = arena_printf(call->arena, "%s%s (line %d)", what, diag->text, span_position(diag->span).line);
    call->diags = diag_sink_new(call->arena);
    return true;
}

/* False after a diagnostic.  Without open_jvp the reason says why. */
static bool derive_all(Trial *trial, Derivatives *out, const char **reason)
{
    ApiCall *call = trial->call;
    IrModule *module = trial->func->module;
    *out = (Derivatives){.jvp = derive_jvp(module, trial->func, trial->active, &call->diags)};
    if (!out->jvp)
        return is_excused(call, "", reason);
    open_stops(trial, true);
    out->open_jvp = trial->stops.count ? derive_jvp(module, trial->func, trial->active, &call->diags) : out->jvp;
    open_stops(trial, false);
    if (!out->open_jvp)
        return is_excused(call, "behind a stop_grad, ", reason);
    out->vjp = derive_vjp(module, trial->func, trial->active, trial->seeded, &call->diags);
    return out->vjp || is_excused(call, "no reverse mode: ", reason);
}

/* After deriving: a bound would make reverse mode possible where the program has none. */
static void bound_loops(IrModule *module)
{
    static const int64_t most = MOST_TURNS;
    for (int i = 0; i < module->funcs.count; i++) {
        const IrFunc *func = module->funcs.items[i];
        for (IrRef at = 0; at < func->nodes.count; at++) {
            IrNode *node = ir_node(func, at);
            if (node->op == OP_while && !node->attr[0].items[0])
                node->attr[0] = (IrInts){1, &most};
        }
    }
}

/* ---- trying ---- */

/* Draws points until the differences at one can be trusted. */
static Trust try_forward(Trial *trial, const Derivatives *derivatives, PointRange range, double *worst)
{
    Trust trust = TRUST_kink;
    for (int i = 0; i < DRAWS && trust != TRUST_yes; i++) {
        point_draw(trial, range);
        trust = forward_try(trial, derivatives->open_jvp, worst);
    }
    return trust;
}

/* False after a disagreement. */
static bool try_point(Trial *trial, const Derivatives *derivatives, double forward, DerivativesCall *check)
{
    cm_derivatives *found = &check->found;
    double reverse = derivatives->vjp ? reverse_try(trial, derivatives->jvp, derivatives->vjp) : (double)NAN;
    found->checked = 1;
    found->forward = fmax(found->forward, forward);
    found->reverse = fmax(found->reverse, reverse); /* of NaN and a number the number */
    if (forward > FORWARD_TOLERANCE) {
        open_stops(trial, true);
        forward_locate(trial, check->entry);
        open_stops(trial, false);
    }
    if (reverse > REVERSE_TOLERANCE)
        reverse_locate(trial, check->entry);
    return !trial->call->diags.list.count;
}

static cm_status try_all(Trial *trial, const Derivatives *derivatives, DerivativesCall *check)
{
    Trust trust = TRUST_kink;
    check->found.reverse = (double)NAN;
    for (int range = 0; range < POINT_RANGES; range++) {
        double forward;
        Trust own = try_forward(trial, derivatives, (PointRange)range, &forward);
        trust = own == TRUST_yes || range == 0 ? own : trust;
        if (own == TRUST_yes && !try_point(trial, derivatives, forward, check))
            return CM_PROGRAM_ERROR;
    }
    if (check->found.checked)
        return CM_OK;
    return skip(check, trust == TRUST_kink ? "at no point that was tried do differences settle: it has too many kinks"
                                           : "at no point that was tried are its results finite");
}

static cm_status try_entry(ApiCall *call, DerivativesCall *check)
{
    Specialised *made = choose_sizes(call, check);
    Trial trial;
    Derivatives derivatives;
    if (!made)
        return api_blame_program(call);
    check->found.sizes = bindings_text(call->arena, &check->sizes);
    const char *reason = make_ready(call, check, made, &trial);
    if (reason)
        return skip(check, reason);
    check->found.stop_grads = count_stops(&trial);
    if (!derive_all(&trial, &derivatives, &check->found.reason))
        return api_blame_program(call);
    if (!derivatives.open_jvp)
        return CM_OK;
    bound_loops(made->module);
    point_first_weights(&trial, check->program, check->entry, &check->sizes, check->weights);
    return try_all(&trial, &derivatives, check);
}

/* ---- the call ---- */

/* Text that the caller reads lives as long as the program. */
static void keep_texts(ApiCall *call, DerivativesCall *check)
{
    const char **texts[] = {&check->found.reason, &check->found.sizes};
    api_lock(call, &check->program->mutex);
    api_borrow_arena(call, check->program->arena);
    for (int i = 0; i < 2; i++) {
        if (*texts[i])
            *texts[i] = arena_copy_text(check->program->arena, *texts[i], strlen(*texts[i]));
    }
    api_unlock(call);
}

static cm_status check_body(ApiCall *call, void *parameters)
{
    DerivativesCall *check = parameters;
    cm_status status = program_choose_entry(call, check->program, check->name, -1, &check->entry);
    if (status != CM_OK)
        return status;
    check->weights = parameters_new(call->context);
    if (!check->weights)
        api_no_memory(call);
    check->found.sizes = "";
    status = check->entry->kind == ENTRY_train ? skip(check, "its loss is an entry of its own") : try_entry(call, check);
    keep_texts(call, check);
    return status;
}

cm_status cm_check_derivatives(cm_program *program, const char *entry, const cm_derivatives_options *options,
                               cm_derivatives *derivatives, cm_error **error)
{
    if (derivatives)
        *derivatives = (cm_derivatives){0};
    if (!program || !derivatives)
        return api_misuse(error, "cm_check_derivatives: a null program or place for what is found");
    DerivativesCall call = {.program = program, .name = entry};
    API_OPTIONS(call.options, options);
    cm_status status = api_run(program->context, error, check_body, &call);
    cm_parameters_free(call.weights);
    if (status == CM_OK || status == CM_PROGRAM_ERROR)
        *derivatives = call.found;
    return status;
}
