/* Modules and functions; signatures of control and calculus nodes; copying nodes between functions. */
#include "ir/ir.h"

#include <string.h>

IrModule *ir_module_new(Arena *arena)
{
    IrModule *module = arena_new_of(arena, IrModule);
    module->arena = arena;
    return module;
}

IrFunc *ir_func_find(const IrModule *module, const char *name)
{
    for (int i = 0; i < module->funcs.count; i++) {
        if (!strcmp(module->funcs.items[i]->name, name))
            return module->funcs.items[i];
    }
    return NULL;
}

IrFunc *ir_func_new(IrModule *module, const char *name)
{
    const char *unique = arena_copy_text(module->arena, name, strlen(name));
    for (int suffix = 1; ir_func_find(module, unique); suffix++)
        unique = arena_printf(module->arena, "%s.%d", name, suffix);
    IrFunc *func = arena_new_of(module->arena, IrFunc);
    func->module = module;
    func->name = unique;
    list_push(module->arena, &module->funcs, func);
    return func;
}

/* ---- signatures ---- */

static IrType param_type(const IrFunc *func, int64_t index)
{
    return *ir_type_of(func, func->params.items[index]);
}

static IrType result_type(const IrFunc *func, int64_t index)
{
    return *ir_type_of(func, func->results.items[index]);
}

static int float_result_count(const IrFunc *func)
{
    int count = 0;
    for (int i = 0; i < func->results.count; i++)
        count += dtype_is_float(result_type(func, i).dtype);
    return count;
}

static IrType float_result_type(const IrFunc *func, int index)
{
    for (int i = 0; i < func->results.count; i++) {
        IrType type = result_type(func, i);
        if (dtype_is_float(type.dtype) && index-- == 0)
            return type;
    }
    return ir_scalar(DT_f32);
}

int ir_result_count(const IrNode *node)
{
    int own = node->callee[0] ? node->callee[0]->results.count : 0;
    switch (node->op) {
    case OP_while:
        return node->callee[1]->results.count;
    case OP_jvp:
        return own + float_result_count(node->callee[0]);
    case OP_vjp:
        return own + node->attr[0].count;
    default:
        return own;
    }
}

IrType ir_result_type(const IrNode *node, int index)
{
    const IrFunc *callee = node->callee[node->op == OP_while];
    int own = callee->results.count;
    if (index >= own)
        return node->op == OP_vjp ? param_type(callee, node->attr[0].items[index - own])
                                  : float_result_type(callee, index - own);
    IrType type = result_type(callee, index);
    if (node->op != OP_for || index < node->attr[1].items[0])
        return type;
    if (node->attr[2].count)
        return ir_type(type.dtype, node->attr[2].count, node->attr[2].items);
    IrType stacked = {.dtype = type.dtype, .rank = type.rank + 1, .dim = {node->attr[0].items[0]}};
    for (int i = 0; i < type.rank && i + 1 < IR_MAX_RANK; i++)
        stacked.dim[i + 1] = type.dim[i];
    return stacked;
}

/* ---- copying ---- */

IrRef ir_copy_node(IrFunc *func, const IrFunc *from, IrRef ref, const IrRef *map)
{
    IrNode node = *ir_node(from, ref);
    IrRef few[8], *operands = few;
    if (node.operand_count > 8)
        operands = arena_array(func->module->arena, IrRef, node.operand_count);
    for (int i = 0; i < node.operand_count; i++)
        operands[i] = map[node.operands[i]];
    node.operands = operands;
    return ir_emit(func, node);
}

void ir_order_params(IrFunc *func, const IrRef *order)
{
    Arena *arena = func->module->arena;
    IrRef *map = arena_array(arena, IrRef, func->nodes.count + 1);
    IrFunc *fresh = arena_new_of(arena, IrFunc); /* not in the module: it takes the place of `func` */
    *fresh = (IrFunc){.module = func->module, .name = func->name};
    for (int i = 0; i < func->params.count; i++) {
        fresh->at = ir_node(func, order[i])->span;
        map[order[i]] = ir_copy_node(fresh, func, order[i], map);
    }
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        fresh->at = ir_node(func, ref)->span;
        if (ir_node(func, ref)->op != OP_param)
            map[ref] = ir_copy_node(fresh, func, ref, map);
    }
    for (int i = 0; i < func->results.count; i++)
        ir_result(fresh, map[func->results.items[i]], i < func->result_names.count ? func->result_names.items[i] : NULL);
    fresh->at = func->at;
    *func = *fresh;
}

void ir_inline_call(IrFunc *func, const IrFunc *callee, const IrRef *args, IrRef *results)
{
    int count = callee->nodes.count, param = 0;
    IrRef *map = arena_array(func->module->arena, IrRef, count);
    for (IrRef i = 0; i < count; i++)
        map[i] = ir_node(callee, i)->op == OP_param ? args[param++] : ir_copy_node(func, callee, i, map);
    for (int i = 0; i < callee->results.count; i++)
        results[i] = map[callee->results.items[i]];
}
