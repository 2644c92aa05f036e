/* Dce: drops what no result needs: nodes; results, carries and captures of loops and branches; functions.
 *
 * Takes any module; leaves its entries (functions that no other refers to) with their params and results, and of the others
 * what the entries need.  A carry is needed if its last value is, or if a needed one is computed from it; all that the
 * condition of a `while` reads is needed.  A callee that several nodes refer to is cut for each of them apart.  Needs only grow
 * while they are found, and each function is then made anew once, so it ends. */
#include "passes/passes.h"
#include "passes/rebuild.h"

#include <string.h>

/* ---- what is needed ---- */

typedef struct Live {
    bool *node;     /* by node */
    bool **results; /* by control node: which of its results; null: none */
} Live;

static Live find_live(const IrFunc *func, const bool *wanted);

static bool *flags(const IrFunc *func, int count, bool all)
{
    bool *set = arena_array(func->module->arena, bool, count + 1);
    memset(set, all, (size_t)count);
    return set;
}

static bool *needed_params(const IrFunc *func, const bool *wanted)
{
    Live live = find_live(func, wanted);
    bool *needed = flags(func, func->params.count, false);
    for (int i = 0; i < func->params.count; i++)
        needed[i] = live.node[func->params.items[i]];
    return needed;
}

/* Marks in `params` what the loop's functions read, and in `wanted` the carries that follow from that. */
static void loop_needs(const IrNode *node, bool *wanted, bool *params)
{
    bool counted = node->op == OP_for, more = true;
    const IrFunc *body = node->callee[counted ? 0 : 1];
    int carries = (int)node->attr[1].items[0];
    while (more) {
        const bool *by_body = needed_params(body, wanted);
        const bool *by_condition = counted ? by_body : needed_params(node->callee[0], flags(body, 1, true));
        more = false;
        for (int i = 0; i < body->params.count; i++)
            params[i] = by_body[i] || by_condition[i];
        for (int i = 0; i < carries; i++) {
            more |= params[counted + i] && !wanted[i];
            wanted[i] |= params[counted + i];
        }
    }
    for (int i = 0; i < carries; i++)
        params[counted + i] = wanted[i];
    params[0] |= counted;
}

/* Params of the callees of a loop or branch that must stay; `wanted` may grow. */
static bool *control_needs(const IrNode *node, bool *wanted)
{
    const IrFunc *callee = node->callee[node->op == OP_while];
    bool *params = flags(callee, callee->params.count, false);
    if (node->op != OP_if) {
        loop_needs(node, wanted, params);
        return params;
    }
    const bool *yes = needed_params(node->callee[0], wanted), *no = needed_params(node->callee[1], wanted);
    for (int i = 0; i < callee->params.count; i++)
        params[i] = yes[i] || no[i];
    return params;
}

static bool is_cut(const IrNode *node)
{
    return node->op == OP_for || node->op == OP_while || node->op == OP_if;
}

/* The operand behind the callee's first param: a for counts its turns itself, a branch is chosen by a condition. */
static int first_operand(const IrNode *node)
{
    return node->op == OP_if;
}

static void need_operands(const IrNode *node, const Live *live, IrRef ref)
{
    const bool *params = NULL;
    if (is_cut(node))
        params = control_needs(node, live->results[ref]);
    for (int i = 0; i < node->operand_count; i++) {
        int param = i - first_operand(node);
        if (!params || param < (node->op == OP_for) || params[param])
            live->node[node->operands[i]] = true;
    }
}

static Live find_live(const IrFunc *func, const bool *wanted)
{
    Live live = {flags(func, func->nodes.count, false), arena_array(func->module->arena, bool *, func->nodes.count + 1)};
    for (int i = 0; i < func->results.count; i++)
        live.node[func->results.items[i]] |= wanted[i];
    for (IrRef ref = func->nodes.count - 1; ref >= 0; ref--) {
        const IrNode *node = ir_node(func, ref);
        if (!live.node[ref])
            continue;
        if (node->op == OP_get) {
            const IrNode *of = ir_node(func, node->operands[0]);
            if (!live.results[node->operands[0]])
                live.results[node->operands[0]] = flags(func, ir_result_count(of), !is_cut(of));
            live.results[node->operands[0]][node->attr[0].items[0]] = true;
        }
        need_operands(node, &live, ref);
    }
    return live;
}

/* ---- functions with less in them ---- */

typedef struct Cut {
    IrModule *module;
    LIST(const IrFunc *) done; /* callees that keep their signature */
} Cut;

static void cut_into(Cut *cut, const IrFunc *from, IrFunc *into, const bool *params, const bool *results, bool own);

/* The function with some of its params and results: itself where nobody else refers to it. */
static IrFunc *cut_callee(Cut *cut, IrFunc *callee, const bool *params, const bool *results, bool own)
{
    own = own && module_uses(cut->module, callee) == 1;
    IrFunc *into = own ? arena_new_of(cut->module->arena, IrFunc) : ir_func_new(cut->module, callee->name);
    *into = (IrFunc){.module = cut->module, .name = into->name ? into->name : callee->name};
    cut_into(cut, callee, into, params, results, own);
    if (!own)
        return into;
    *callee = *into;
    return callee;
}

static int kept(const bool *flag, int count)
{
    int sum = 0;
    for (int i = 0; i < count; i++)
        sum += flag[i];
    return sum;
}

static IrRef cut_control(Cut *cut, Rebuild *rebuild, const IrNode *node, bool *wanted, bool own)
{
    Arena *arena = cut->module->arena;
    IrNode less = *node;
    const bool *params = control_needs(node, wanted);
    IrRef *operands = arena_array(arena, IrRef, node->operand_count + 1);
    int count = 0;
    for (int i = 0; i < node->operand_count; i++) {
        int param = i - first_operand(node);
        if (param < (node->op == OP_for) || params[param])
            operands[count++] = rebuild->map[node->operands[i]];
    }
    less.operands = operands;
    less.operand_count = count;
    if (node->op != OP_if) {
        int64_t carries = kept(wanted, (int)node->attr[1].items[0]);
        less.attr[1] = (IrInts){1, arena_copy(arena, &carries, sizeof carries)};
    }
    for (int k = 0; k < ir_callee_count(node->op); k++) {
        bool condition = node->op == OP_while && k == 0;
        less.callee[k] = cut_callee(cut, node->callee[k], params, condition ? flags(rebuild->into, 1, true) : wanted, own);
    }
    return ir_emit(rebuild->into, less);
}

/* A callee with its whole signature: cut in place, once. */
static void cut_whole(Cut *cut, IrFunc *func)
{
    for (int i = 0; i < cut->done.count; i++)
        if (cut->done.items[i] == func)
            return;
    list_push(cut->module->arena, &cut->done, func);
    IrFunc *into = arena_new_of(cut->module->arena, IrFunc);
    *into = (IrFunc){.module = cut->module, .name = func->name};
    cut_into(cut, func, into, flags(func, func->params.count, true), flags(func, func->results.count, true), true);
    *func = *into;
}

static IrRef cut_get(Rebuild *rebuild, const IrNode *node, const bool *wanted)
{
    int index = kept(wanted, (int)node->attr[0].items[0]);
    IrRef ref = ir_get(rebuild->into, rebuild->map[node->operands[0]], index);
    ir_node(rebuild->into, ref)->name = node->name;
    return ref;
}

static void cut_into(Cut *cut, const IrFunc *from, IrFunc *into, const bool *params, const bool *results, bool own)
{
    Rebuild rebuild = {from, into, arena_array(cut->module->arena, IrRef, from->nodes.count + 1)};
    Live live = find_live(from, results);
    int param = 0;
    for (IrRef ref = 0; ref < from->nodes.count; ref++) {
        const IrNode *node = ir_node(from, ref);
        bool needed = node->op == OP_param ? params[param++] : live.node[ref];
        into->at = node->span;
        if (!needed)
            continue;
        for (int k = 0; k < ir_callee_count(node->op) && !is_cut(node); k++)
            cut_whole(cut, node->callee[k]);
        if (is_cut(node))
            rebuild.map[ref] = cut_control(cut, &rebuild, node, live.results[ref], own);
        else if (node->op == OP_get)
            rebuild.map[ref] = cut_get(&rebuild, node, live.results[node->operands[0]]);
        else
            rebuild_copy(&rebuild, ref);
    }
    for (int i = 0; i < from->results.count; i++)
        if (results[i])
            ir_result(into, rebuild.map[from->results.items[i]],
                      i < from->result_names.count ? from->result_names.items[i] : NULL);
    into->at = from->at;
}

void pass_dce(IrModule *module)
{
    FuncList entries = module_entries(module);
    Cut cut = {.module = module};
    for (int i = 0; i < entries.count; i++)
        cut_whole(&cut, entries.items[i]);
    module_sweep(module, &entries);
}
