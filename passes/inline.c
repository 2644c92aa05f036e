/* Inline: replaces calls by their bodies.
 *
 * Takes a module whose derivatives are expanded and whose callees are not recursive (the verifier has looked); leaves one
 * without call and custom nodes, and without the functions that were only called. Bodies of loops and branches stay functions.
 * Callees are inlined before their callers, each once, so it ends. */
#include "passes/passes.h"
#include "passes/rebuild.h"

typedef struct Inlining {
    bool keep_rules; /* what has a rule of its own stays a node */
    FuncList done;
} Inlining;

static bool is_call(const Inlining *inlining, const IrNode *node)
{
    return node->op == OP_call || (node->op == OP_custom && !inlining->keep_rules);
}

static bool contains(const FuncList *list, const IrFunc *func)
{
    for (int i = 0; i < list->count; i++)
        if (list->items[i] == func)
            return true;
    return false;
}

static void inline_func(Inlining *inlining, IrFunc *func);

static void inline_callees(Inlining *inlining, const IrFunc *func)
{
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        const IrNode *node = ir_node(func, ref);
        for (int i = 0; i < 2; i++)
            if (node->callee[i] && !(node->op == OP_custom && i == 1)) /* a rule is not run */
                inline_func(inlining, node->callee[i]);
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

static void inline_func(Inlining *inlining, IrFunc *func)
{
    if (contains(&inlining->done, func))
        return;
    list_push(func->module->arena, &inlining->done, func);
    inline_callees(inlining, func);
    Rebuild rebuild = rebuild_begin(func);
    IrRef **results = arena_array(func->module->arena, IrRef *, func->nodes.count + 1); /* by call node */
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        const IrNode *node = ir_node(func, ref);
        if (is_call(inlining, node))
            results[ref] = inline_body(&rebuild, node);
        else if (node->op == OP_get && results[node->operands[0]])
            rebuild.map[ref] = results[node->operands[0]][node->attr[0].items[0]];
        else
            rebuild_copy(&rebuild, ref);
    }
    rebuild_end(&rebuild, func);
}

static void inline_module(IrModule *module, bool keep_rules)
{
    Inlining inlining = {.keep_rules = keep_rules};
    FuncList entries = module_entries(module);
    for (int i = 0; i < module->funcs.count; i++)
        inline_func(&inlining, module->funcs.items[i]);
    module_sweep(module, &entries);
}

void pass_inline(IrModule *module)
{
    inline_module(module, false);
}

void inline_calls(IrModule *module)
{
    inline_module(module, true);
}
