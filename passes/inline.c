/* Inline: replaces calls by their bodies.
 *
 * Takes a module whose derivatives are expanded and whose callees are not recursive (the verifier has looked); leaves one
 * without call and custom nodes, and without the functions that were only called. Bodies of loops and branches stay functions.
 * Callees are inlined before their callers, each once, so it ends. */
#include "passes/passes.h"
#include "passes/rebuild.h"

static bool is_call(const IrNode *node)
{
    return node->op == OP_call || node->op == OP_custom;
}

static bool contains(const FuncList *list, const IrFunc *func)
{
    for (int i = 0; i < list->count; i++)
        if (list->items[i] == func)
            return true;
    return false;
}

static void inline_func(IrFunc *func, FuncList *done);

static void inline_callees(const IrFunc *func, FuncList *done)
{
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        const IrNode *node = ir_node(func, ref);
        for (int i = 0; i < 2; i++)
            if (node->callee[i] && !(node->op == OP_custom && i == 1)) /* a rule is not run */
                inline_func(node->callee[i], done);
    }
}

static IrRef *inline_body(Rebuild *rebuild, const IrNode *node)
{
    Arena *arena = rebuild->from->module->arena;
    IrRef *args = arena_array(arena, IrRef, node->operand_count + 1);
    IrRef *results = arena_array(arena, IrRef, node->callee[0]->results.count + 1);
    for (int i = 0; i < node->operand_count; i++)
        args[i] = rebuild->map[node->operands[i]];
    ir_inline_call(rebuild->into, node->callee[0], args, results);
    return results;
}

static void inline_func(IrFunc *func, FuncList *done)
{
    if (contains(done, func))
        return;
    list_push(func->module->arena, done, func);
    inline_callees(func, done);
    Rebuild rebuild = rebuild_begin(func);
    IrRef **results = arena_array(func->module->arena, IrRef *, func->nodes.count + 1); /* by call node */
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        const IrNode *node = ir_node(func, ref);
        if (is_call(node))
            results[ref] = inline_body(&rebuild, node);
        else if (node->op == OP_get && results[node->operands[0]])
            rebuild.map[ref] = results[node->operands[0]][node->attr[0].items[0]];
        else
            rebuild_copy(&rebuild, ref);
    }
    rebuild_end(&rebuild, func);
}

void pass_inline(IrModule *module)
{
    FuncList done = {0}, entries = module_entries(module);
    for (int i = 0; i < module->funcs.count; i++)
        inline_func(module->funcs.items[i], &done);
    module_sweep(module, &entries);
}
