/* Licm: what does not change in a loop is computed before it.
 *
 * Takes loops whose bodies are functions of (counter,) carries and captures; a node of a body that depends on captures only is
 * copied to the function around the loop, and its value becomes one more capture.  Inner functions come first in the walk, so
 * that a value can leave several loops. */
#include "passes/passes.h"
#include "passes/rebuild.h"

typedef struct Hoist {
    IrFunc *outer; /* being rebuilt */
    const IrFunc *body;
    bool *invariant;     /* by node of the body */
    IrRef *outside;      /* by invariant node of the body: its value around the loop */
    LIST(IrRef) hoisted; /* nodes of the body that become params */
} Hoist;

static bool is_worth_moving(const IrNode *node)
{
    return !(ir_op_info[node->op].traits & (TRAIT_leaf | TRAIT_view | TRAIT_control)) && node->op != OP_get;
}

static void find_invariant(Hoist *hoist, int first_capture)
{
    const IrFunc *body = hoist->body;
    for (int i = first_capture; i < body->params.count; i++)
        hoist->invariant[body->params.items[i]] = true;
    for (IrRef ref = 0; ref < body->nodes.count; ref++) {
        const IrNode *node = ir_node(body, ref);
        if (node->op == OP_param)
            continue;
        bool still = !(ir_op_info[node->op].traits & TRAIT_control) && node->op != OP_get;
        for (int i = 0; i < node->operand_count; i++)
            still &= hoist->invariant[node->operands[i]];
        hoist->invariant[ref] = still;
    }
}

/* Moves what a node that stays, or a result, reads: nodes in between go with it. */
static void choose(Hoist *hoist)
{
    const IrFunc *body = hoist->body;
    bool *wanted = arena_array(body->module->arena, bool, body->nodes.count + 1);
    for (IrRef ref = 0; ref < body->nodes.count; ref++)
        for (int i = 0; !hoist->invariant[ref] && i < ir_node(body, ref)->operand_count; i++)
            wanted[ir_node(body, ref)->operands[i]] = true;
    for (int i = 0; i < body->results.count; i++)
        wanted[body->results.items[i]] = true;
    for (IrRef ref = 0; ref < body->nodes.count; ref++)
        if (wanted[ref] && hoist->invariant[ref] && is_worth_moving(ir_node(body, ref)))
            list_push(body->module->arena, &hoist->hoisted, ref);
}

static IrRef move_outside(Hoist *hoist, IrRef ref)
{
    if (hoist->outside[ref] >= 0)
        return hoist->outside[ref];
    const IrNode *node = ir_node(hoist->body, ref);
    for (int i = 0; i < node->operand_count; i++)
        move_outside(hoist, node->operands[i]);
    hoist->outer->at = node->span;
    return hoist->outside[ref] = ir_copy_node(hoist->outer, hoist->body, ref, hoist->outside);
}

/* The body with further params, behind its own, in place of the hoisted nodes. */
static void shrink_body(const Hoist *hoist, IrFunc *body)
{
    Rebuild rebuild = rebuild_begin(body);
    int next = 0;
    for (int i = 0; i < body->params.count; i++)
        rebuild_copy(&rebuild, body->params.items[i]);
    for (int i = 0; i < hoist->hoisted.count; i++) {
        IrRef ref = hoist->hoisted.items[i];
        rebuild.map[ref] = ir_param(rebuild.into, *ir_type_of(body, ref), ir_node(body, ref)->name);
    }
    for (IrRef ref = 0; ref < body->nodes.count; ref++) {
        bool moved = next < hoist->hoisted.count && hoist->hoisted.items[next] == ref;
        next += moved;
        if (!moved && ir_node(body, ref)->op != OP_param)
            rebuild_copy(&rebuild, ref);
    }
    rebuild_end(&rebuild, body);
}

static void add_params(IrFunc *func, const Hoist *hoist)
{
    for (int i = 0; i < hoist->hoisted.count; i++)
        ir_param(func, *ir_type_of(hoist->body, hoist->hoisted.items[i]), "unused");
}

static IrRef hoist_from(Rebuild *rebuild, const IrNode *node)
{
    Arena *arena = rebuild->from->module->arena;
    bool counted = node->op == OP_for;
    IrFunc *body = node->callee[counted ? 0 : 1];
    int carries = (int)node->attr[1].items[0], before = counted ? 1 : 0; /* the trip count; the counter */
    Hoist hoist = {.outer = rebuild->into, .body = body};
    hoist.invariant = arena_array(arena, bool, body->nodes.count + 1);
    hoist.outside = arena_array(arena, IrRef, body->nodes.count + 1);
    for (IrRef ref = 0; ref < body->nodes.count; ref++)
        hoist.outside[ref] = -1;
    for (int i = before + carries; i < body->params.count; i++)
        hoist.outside[body->params.items[i]] = rebuild->map[node->operands[i]];
    find_invariant(&hoist, before + carries);
    choose(&hoist);
    if (!hoist.hoisted.count)
        return -1;
    IrNode moved = *node;
    IrRef *operands = arena_array(arena, IrRef, node->operand_count + hoist.hoisted.count);
    for (int i = 0; i < node->operand_count; i++)
        operands[i] = rebuild->map[node->operands[i]];
    for (int i = 0; i < hoist.hoisted.count; i++)
        operands[node->operand_count + i] = move_outside(&hoist, hoist.hoisted.items[i]);
    moved.operands = operands;
    moved.operand_count += hoist.hoisted.count;
    if (!counted)
        add_params(node->callee[0], &hoist);
    shrink_body(&hoist, body);
    rebuild->into->at = node->span;
    return ir_emit(rebuild->into, moved);
}

static void hoist_func(IrModule *module, IrFunc *func)
{
    Rebuild rebuild = rebuild_begin(func);
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        const IrNode *node = ir_node(func, ref);
        IrRef moved = -1;
        bool loop = node->op == OP_for || node->op == OP_while;
        if (loop && module_uses(module, node->callee[0]) == 1 &&
            (!node->callee[1] || module_uses(module, node->callee[1]) == 1))
            moved = hoist_from(&rebuild, node);
        if (moved >= 0)
            rebuild.map[ref] = moved;
        else
            rebuild_copy(&rebuild, ref);
    }
    rebuild_end(&rebuild, func);
}

static void visit(IrModule *module, IrFunc *func, bool *seen)
{
    for (int i = 0; i < module->funcs.count; i++)
        if (module->funcs.items[i] == func) {
            if (seen[i])
                return;
            seen[i] = true;
        }
    for (IrRef ref = 0; ref < func->nodes.count; ref++)
        for (int k = 0; k < 2; k++)
            if (ir_node(func, ref)->callee[k])
                visit(module, ir_node(func, ref)->callee[k], seen);
    hoist_func(module, func);
}

void pass_licm(IrModule *module)
{
    bool *seen = arena_array(module->arena, bool, module->funcs.count + 1);
    for (int i = 0; i < module->funcs.count; i++)
        visit(module, module->funcs.items[i], seen);
}
