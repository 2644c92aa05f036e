/* Rebuild: a function made anew, node by node; and which functions a module needs. */
#include "passes/rebuild.h"

Rebuild rebuild_begin(IrFunc *func)
{
    IrFunc *into = arena_new_of(func->module->arena, IrFunc); /* not in the module: it will take the place of `func` */
    into->module = func->module;
    into->name = func->name;
    into->at = func->at;
    return (Rebuild){func, into, arena_array(func->module->arena, IrRef, func->nodes.count + 1)};
}

IrRef rebuild_copy(Rebuild *rebuild, IrRef ref)
{
    rebuild->into->at = ir_node(rebuild->from, ref)->span;
    return rebuild->map[ref] = ir_copy_node(rebuild->into, rebuild->from, ref, rebuild->map);
}

void rebuild_end(Rebuild *rebuild, IrFunc *func)
{
    for (int i = 0; i < func->results.count; i++)
        ir_result(rebuild->into, rebuild->map[func->results.items[i]],
                  i < func->result_names.count ? func->result_names.items[i] : NULL);
    Span at = func->at;
    *func = *rebuild->into;
    func->at = at;
}

/* ---- functions of a module ---- */

static int index_of(const IrModule *module, const IrFunc *func)
{
    int index = 0;
    while (index < module->funcs.count && module->funcs.items[index] != func)
        index++;
    return index;
}

static void mark_callees(const IrModule *module, const IrFunc *func, bool *marked, bool deep)
{
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        for (int k = 0; k < 2; k++) {
            const IrFunc *callee = ir_node(func, ref)->callee[k];
            int index = callee ? index_of(module, callee) : module->funcs.count;
            bool fresh = index < module->funcs.count && !marked[index];
            if (fresh)
                marked[index] = true;
            if (fresh && deep)
                mark_callees(module, callee, marked, true);
        }
    }
}

FuncList module_entries(const IrModule *module)
{
    FuncList entries = {0};
    bool *called = arena_array(module->arena, bool, module->funcs.count + 1);
    for (int i = 0; i < module->funcs.count; i++)
        mark_callees(module, module->funcs.items[i], called, false);
    for (int i = 0; i < module->funcs.count; i++)
        if (!called[i])
            list_push(module->arena, &entries, module->funcs.items[i]);
    return entries;
}

void module_sweep(IrModule *module, const FuncList *entries)
{
    bool *reached = arena_array(module->arena, bool, module->funcs.count + 1);
    int count = 0;
    for (int i = 0; i < entries->count; i++) {
        reached[index_of(module, entries->items[i])] = true;
        mark_callees(module, entries->items[i], reached, true);
    }
    for (int i = 0; i < module->funcs.count; i++)
        if (reached[i])
            module->funcs.items[count++] = module->funcs.items[i];
    module->funcs.count = count;
}

int module_uses(const IrModule *module, const IrFunc *callee)
{
    int uses = 0;
    for (int i = 0; i < module->funcs.count; i++)
        for (IrRef ref = 0; ref < module->funcs.items[i]->nodes.count; ref++)
            for (int k = 0; k < 2; k++)
                uses += ir_node(module->funcs.items[i], ref)->callee[k] == callee;
    return uses;
}
