/* Rebuild: a function made anew, node by node. */
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
