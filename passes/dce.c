/* Dce: drops nodes that no result needs.  Params stay: they are the function's signature. */
#include "passes/passes.h"
#include "passes/rebuild.h"

static bool *find_needed(const IrFunc *func)
{
    bool *needed = arena_array(func->module->arena, bool, func->nodes.count + 1);
    for (int i = 0; i < func->results.count; i++)
        needed[func->results.items[i]] = true;
    for (IrRef ref = func->nodes.count - 1; ref >= 0; ref--) {
        const IrNode *node = ir_node(func, ref);
        for (int i = 0; needed[ref] && i < node->operand_count; i++)
            needed[node->operands[i]] = true;
    }
    return needed;
}

void pass_dce(IrModule *module)
{
    for (int i = 0; i < module->funcs.count; i++) {
        IrFunc *func = module->funcs.items[i];
        const bool *needed = find_needed(func);
        Rebuild rebuild = rebuild_begin(func);
        for (IrRef ref = 0; ref < func->nodes.count; ref++)
            if (needed[ref] || ir_node(func, ref)->op == OP_param)
                rebuild_copy(&rebuild, ref);
        rebuild_end(&rebuild, func);
    }
}
