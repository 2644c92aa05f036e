/* Building blocks of the derivative passes: symbolic zeros, dropping what derived functions do not need. */
#include "passes/calculus.h"

IrRef calculus_zeros(IrFunc *func, const IrType *type)
{
    return ir_const(func, *type, 0);
}

IrRef calculus_or_zeros(IrFunc *func, IrRef value, const IrType *type)
{
    return value == NO_REF ? calculus_zeros(func, type) : value;
}

/* The node of another function with these operands, as an unnamed value. */
IrRef calculus_emit_like(IrFunc *func, const IrNode *node, const IrRef *operands)
{
    IrNode copy = *node;
    copy.operands = operands;
    copy.name = NULL;
    return ir_emit(func, copy);
}

void calculus_mark(IrFunc *func, int first, const IrNode *source)
{
    const char *derives = source->derives ? source->derives : ir_op_info[source->op].name;
    for (int i = first; i < func->nodes.count; i++) {
        IrNode *node = ir_node(func, i);
        node->derives = node->derives ? node->derives : derives;
    }
}

const char *calculus_suffixed(Arena *arena, const char *name, const char *suffix)
{
    return name && *suffix ? arena_printf(arena, "%s%s", name, suffix) : name;
}

IrRef calculus_param_like(IrFunc *func, const IrFunc *from, IrRef param, const char *suffix)
{
    const IrNode *node = ir_node(from, param);
    return ir_param(func, node->type, calculus_suffixed(func->module->arena, node->name, suffix));
}

/* ---- what is needed ---- */

static bool *needed_nodes(const IrFunc *func)
{
    bool *needed = arena_array(func->module->arena, bool, func->nodes.count);
    for (int i = 0; i < func->results.count; i++)
        needed[func->results.items[i]] = true;
    for (IrRef at = func->nodes.count - 1; at >= 0; at--) {
        const IrNode *node = ir_node(func, at);
        for (int i = 0; needed[at] && i < node->operand_count; i++)
            needed[node->operands[i]] = true;
    }
    return needed;
}

bool *calculus_used_params(const IrFunc *func)
{
    const bool *needed = needed_nodes(func);
    bool *used = arena_array(func->module->arena, bool, func->params.count);
    for (int i = 0; i < func->params.count; i++)
        used[i] = needed[func->params.items[i]];
    return used;
}

static void renumber(IrFunc *func, IrNode *node, const IrRef *place)
{
    IrRef *operands = arena_array(func->module->arena, IrRef, node->operand_count);
    for (int i = 0; i < node->operand_count; i++)
        operands[i] = place[node->operands[i]];
    node->operands = operands;
}

void calculus_trim(IrFunc *func, const bool *keep)
{
    bool *needed = needed_nodes(func);
    IrRef *place = arena_array(func->module->arena, IrRef, func->nodes.count);
    int params = 0, count = 0;
    for (int i = 0; i < func->params.count; i++)
        needed[func->params.items[i]] = !keep || keep[i];
    for (IrRef at = 0; at < func->nodes.count; at++) {
        if (!needed[at])
            continue;
        IrNode node = *ir_node(func, at);
        renumber(func, &node, place);
        if (node.op == OP_param)
            func->params.items[params++] = count;
        place[at] = count;
        func->nodes.items[count++] = node;
    }
    func->nodes.count = count;
    func->params.count = params;
    for (int i = 0; i < func->results.count; i++)
        func->results.items[i] = place[func->results.items[i]];
}

/* ---- functions that nothing refers to ---- */

static void mark_reached(const IrModule *module, int first, const IrFunc *func, bool *reached)
{
    int index = first;
    while (index < module->funcs.count && module->funcs.items[index] != func)
        index++;
    if (index == module->funcs.count || reached[index - first])
        return;
    reached[index - first] = true;
    for (IrRef at = 0; at < func->nodes.count; at++) {
        const IrNode *node = ir_node(func, at);
        for (int i = 0; i < 2; i++) {
            if (node->callee[i])
                mark_reached(module, first, node->callee[i], reached);
        }
    }
}

void calculus_sweep(IrModule *module, int first, const IrFunc *keep)
{
    bool *reached = arena_array(module->arena, bool, module->funcs.count - first + 1);
    int count = first;
    mark_reached(module, first, keep, reached);
    for (int i = first; i < module->funcs.count; i++) {
        if (reached[i - first])
            module->funcs.items[count++] = module->funcs.items[i];
    }
    module->funcs.count = count;
}
