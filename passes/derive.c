/* Derive: expands jvp and vjp nodes into ordinary ones, innermost first, so that derivatives nest.
 *
 * Takes a verified module; leaves one without calculus nodes, in which each has become a call of a derived function.  Reverse
 * mode is forward mode in split form (jvp.c), transposed (transpose.c).  Functions are handled after their callees, each once,
 * and derived functions have nothing to expand, so it ends. */
#include "passes/calculus.h"
#include "passes/rebuild.h"

/* ---- the reverse derivative of a function ---- */

/* What is transposed: `func` in split form, results first, then the tangents of those seeded results that have one. */
typedef struct Split {
    IrFunc *func;
    bool *linear;    /* by param */
    int *tangent_of; /* by result of the function: the result of `func` that is its tangent, or -1 */
} Split;

static bool split_func(IrModule *module, const IrFunc *from, const bool *active, const bool *seeded, DiagSink *diags,
                       Split *split)
{
    Arena *arena = module->arena;
    IrFunc *out = split->func = ir_func_new(module, calculus_suffixed(arena, from->name, ".split"));
    Dual *args = arena_array(arena, Dual, from->params.count), *results = arena_array(arena, Dual, from->results.count);
    split->linear = arena_array(arena, bool, 2 * from->params.count);
    split->tangent_of = arena_array(arena, int, from->results.count);
    for (int i = 0; i < from->params.count; i++)
        args[i] = (Dual){calculus_param_like(out, from, from->params.items[i], ""), NO_REF};
    for (int i = 0; i < from->params.count; i++) {
        if (!active[i])
            continue;
        split->linear[out->params.count] = true;
        args[i].tangent = calculus_param_like(out, from, from->params.items[i], ".t");
    }
    if (!jvp_walk(&(Jvp){.into = out, .split = true, .diags = diags}, from, args, results))
        return false;
    for (int i = 0; i < from->results.count; i++)
        ir_result(out, results[i].primal, NULL);
    for (int i = 0; i < from->results.count; i++) {
        bool moves = seeded[i] && results[i].tangent != NO_REF;
        split->tangent_of[i] = moves ? out->results.count : -1;
        if (moves)
            ir_result(out, results[i].tangent, NULL);
    }
    return true;
}

static const char *result_name(const IrFunc *func, int index)
{
    return func->result_names.count == func->results.count ? func->result_names.items[index] : NULL;
}

static bool transpose_split(IrFunc *out, const IrFunc *like, const Split *split, const bool *active, const bool *seeded,
                            DiagSink *diags)
{
    Arena *arena = out->module->arena;
    const IrFunc *from = split->func;
    Transposer transposer = {.into = out, .from = from, .diags = diags};
    IrRef *args = arena_array(arena, IrRef, from->params.count), *param_ct = arena_array(arena, IrRef, from->params.count);
    IrRef *result_ct = arena_array(arena, IrRef, from->results.count);
    for (int i = 0; i < from->params.count; i++) {
        param_ct[i] = NO_REF;
        args[i] = i < like->params.count ? calculus_param_like(out, like, like->params.items[i], "") : NO_REF;
    }
    for (int i = 0; i < from->results.count; i++)
        result_ct[i] = NO_REF;
    for (int i = 0; i < like->results.count; i++) {
        if (!seeded[i])
            continue;
        IrRef ct =
            ir_param(out, *ir_type_of(like, like->results.items[i]), calculus_suffixed(arena, result_name(like, i), ".ct"));
        if (split->tangent_of[i] >= 0)
            result_ct[split->tangent_of[i]] = ct;
    }
    if (!transpose_walk(&transposer, split->linear, args, result_ct, param_ct))
        return false;
    for (int i = 0; i < like->results.count; i++)
        ir_result(out, transposer.map[from->results.items[i]], result_name(like, i));
    for (int i = 0, at = like->params.count; i < like->params.count; i++) {
        IrType type = *ir_type_of(like, like->params.items[i]);
        const char *name = ir_node(like, like->params.items[i])->name;
        if (active[i])
            ir_result(out, calculus_or_zeros(out, param_ct[at++], &type), calculus_suffixed(arena, name, ".ct"));
    }
    return true;
}

IrFunc *derive_vjp(IrModule *module, const IrFunc *func, const bool *active, const bool *seeded, DiagSink *diags)
{
    int first = module->funcs.count;
    Split split;
    if (!calculus_check_active(func, active, diags))
        return NULL;
    bool fine = split_func(module, func, active, seeded, diags, &split);
    IrFunc *out = ir_func_new(module, calculus_suffixed(module->arena, func->name, ".vjp"));
    fine = fine && transpose_split(out, func, &split, active, seeded, diags);
    if (fine)
        calculus_trim(out, NULL);
    calculus_sweep(module, first, fine ? out : NULL);
    return fine ? out : NULL;
}

/* ---- the pass ---- */

typedef struct Derivation {
    DiagSink *diags;
    LIST(const IrFunc *) done;
} Derivation;

static bool derive_func(Derivation *derivation, IrFunc *func);

static bool *flags_of(Arena *arena, IrInts items, int count)
{
    bool *flags = arena_array(arena, bool, count);
    for (int i = 0; i < items.count; i++)
        flags[items.items[i]] = true;
    return flags;
}

/* The function that a calculus node calls; its callee has nothing left to expand. */
static IrFunc *derived_of(IrModule *module, const IrNode *node, DiagSink *diags)
{
    const IrFunc *callee = node->callee[0];
    const bool *active = flags_of(module->arena, node->attr[0], callee->params.count);
    if (node->op == OP_jvp)
        return derive_jvp(module, callee, active, diags);
    return derive_vjp(module, callee, active, flags_of(module->arena, node->attr[1], callee->results.count), diags);
}

/* False after a diagnostic; true and `any` if there was something to expand in the callees or here. */
static bool derive_callees(Derivation *derivation, const IrFunc *func, bool *any)
{
    for (IrRef at = 0; at < func->nodes.count; at++) {
        const IrNode *node = ir_node(func, at);
        *any |= (ir_op_info[node->op].traits & TRAIT_calculus) != 0;
        for (int i = 0; i < 2; i++) {
            if (node->callee[i] && !derive_func(derivation, node->callee[i]))
                return false;
        }
    }
    return true;
}

static bool expand_nodes(Derivation *derivation, IrFunc *func)
{
    Rebuild rebuild = rebuild_begin(func);
    for (IrRef at = 0; at < func->nodes.count; at++) {
        const IrNode *node = ir_node(func, at);
        if (!(ir_op_info[node->op].traits & TRAIT_calculus)) {
            rebuild_copy(&rebuild, at);
            continue;
        }
        IrFunc *derived = derived_of(func->module, node, derivation->diags);
        if (!derived)
            return false;
        IrRef *args = arena_array(func->module->arena, IrRef, node->operand_count);
        for (int i = 0; i < node->operand_count; i++)
            args[i] = rebuild.map[node->operands[i]];
        rebuild.into->at = node->span;
        rebuild.map[at] = ir_call(rebuild.into, derived, args, node->operand_count);
    }
    rebuild_end(&rebuild, func);
    return true;
}

static bool derive_func(Derivation *derivation, IrFunc *func)
{
    bool any = false;
    for (int i = 0; i < derivation->done.count; i++) {
        if (derivation->done.items[i] == func)
            return true;
    }
    list_push(func->module->arena, &derivation->done, (const IrFunc *)func);
    return derive_callees(derivation, func, &any) && (!any || expand_nodes(derivation, func));
}

bool pass_derive(IrModule *module, DiagSink *diags)
{
    Derivation derivation = {.diags = diags};
    FuncList entries = module_entries(module);
    for (int i = 0, count = module->funcs.count; i < count; i++) {
        if (!derive_func(&derivation, module->funcs.items[i]))
            return false;
    }
    module_sweep(module, &entries); /* what was only differentiated */
    return true;
}
