/* The verifier of the graph IR.
 *
 * Three rounds, each relying on the one before: the form of every function (so that a signature may be read), the calls
 * (so that following callees ends), then every node against its type rule. */
#include "ir/infer.h"

#include <string.h>

enum { MAX_CALL_DEPTH = 256 };

typedef struct Verify {
    Arena *arena;
    const IrModule *module;
    DiagSink *diags;
    bool fine;
} Verify;

static void complain(Verify *verify, const IrFunc *func, Span at, const char *text)
{
    diag_report(verify->diags, DIAG_bad_ir, at, "in @%s: %s", func->name, text);
    verify->fine = false;
}

static void complain_node(Verify *verify, const IrFunc *func, IrRef ref, const char *text)
{
    const IrNode *node = ir_node(func, ref);
    const char *op = (unsigned)node->op < OP_COUNT ? ir_op_info[node->op].name : "?";
    complain(verify, func, node->span, arena_printf(verify->arena, "%%%d = %s: %s", ref, op, text));
}

/* ---- the form of functions ---- */

static void verify_params(Verify *verify, const IrFunc *func)
{
    int seen = 0;
    for (IrRef i = 0; i < func->nodes.count; i++) {
        if (ir_node(func, i)->op != OP_param)
            continue;
        if (seen >= func->params.count || func->params.items[seen] != i)
            complain_node(verify, func, i, "not listed among the params in its order");
        seen++;
    }
    if (seen != func->params.count)
        complain(verify, func, func->at, "the list of params names something else");
}

static void verify_results(Verify *verify, const IrFunc *func)
{
    if (func->result_names.count && func->result_names.count != func->results.count)
        complain(verify, func, func->at, "names are given for some results only");
    for (int i = 0; i < func->results.count; i++) {
        IrRef ref = func->results.items[i];
        if (ref < 0 || ref >= func->nodes.count)
            complain(verify, func, func->at, "a result is not there");
        else if ((unsigned)ir_node(func, ref)->op < OP_COUNT && ir_op_info[ir_node(func, ref)->op].traits & TRAIT_control)
            complain_node(verify, func, ref, "a result must be read from a control node by get");
    }
}

static void verify_order(Verify *verify, const IrFunc *func)
{
    for (IrRef i = 0; i < func->nodes.count; i++) {
        const IrNode *node = ir_node(func, i);
        const char *reason = (unsigned)node->op < OP_COUNT ? ir_check_type(&node->type) : "an unknown primitive";
        for (int k = 0; k < node->operand_count && !reason; k++) {
            if (node->operands[k] < 0 || node->operands[k] >= i)
                reason = "an operand is not defined before";
        }
        if (reason)
            complain_node(verify, func, i, reason);
    }
}

static void verify_form(Verify *verify)
{
    Table names = table_new(verify->arena);
    for (int i = 0; i < verify->module->funcs.count; i++) {
        const IrFunc *func = verify->module->funcs.items[i];
        if (table_get(&names, func->name))
            complain(verify, func, func->at, "a second function of this name");
        table_put(&names, func->name, verify->module->funcs.items[i]);
        verify_order(verify, func);
        verify_params(verify, func);
        verify_results(verify, func);
    }
}

/* ---- calls ---- */

typedef struct FuncPlace {
    const IrFunc *func;
    int index;
} FuncPlace;

typedef struct CallState {
    int waiting; /* callees not yet settled */
    int depth;   /* of the calls below it */
    LIST(int) callers;
} CallState;

static void collect_calls(Verify *verify, const Table *index, CallState *states, int caller)
{
    const IrFunc *func = verify->module->funcs.items[caller];
    for (IrRef i = 0; i < func->nodes.count; i++) {
        for (int k = 0; k < 2 && ir_node(func, i)->callee[k]; k++) {
            const FuncPlace *callee = table_get(index, ir_node(func, i)->callee[k]->name);
            if (!callee || callee->func != ir_node(func, i)->callee[k]) {
                complain_node(verify, func, i, "a callee that is not in the module");
                continue;
            }
            list_push(verify->arena, &states[callee->index].callers, caller);
            states[caller].waiting++;
        }
    }
}

/* Settles functions from the leaves of the call graph up: what is never settled is on a cycle or above one. */
static void verify_calls(Verify *verify)
{
    int count = verify->module->funcs.count, settled = 0;
    FuncPlace *places = arena_array(verify->arena, FuncPlace, count);
    CallState *states = arena_array(verify->arena, CallState, count);
    Table index = table_new(verify->arena);
    for (int i = 0; i < count; i++) {
        places[i] = (FuncPlace){verify->module->funcs.items[i], i};
        table_put(&index, places[i].func->name, &places[i]);
    }
    for (int i = 0; i < count; i++)
        collect_calls(verify, &index, states, i);
    LIST(int) ready = {0};
    for (int i = 0; i < count; i++) {
        if (!states[i].waiting)
            list_push(verify->arena, &ready, i);
    }
    for (; settled < ready.count; settled++) {
        const CallState *callee = &states[ready.items[settled]];
        for (int i = 0; i < callee->callers.count; i++) {
            CallState *caller = &states[callee->callers.items[i]];
            caller->depth = caller->depth > callee->depth ? caller->depth : callee->depth + 1;
            if (!--caller->waiting)
                list_push(verify->arena, &ready, callee->callers.items[i]);
        }
    }
    for (int i = 0; i < count; i++) {
        const IrFunc *func = verify->module->funcs.items[i];
        if (states[i].waiting)
            complain(verify, func, func->at, "functions refer to each other in a circle");
        else if (states[i].depth > MAX_CALL_DEPTH)
            complain(verify, func, func->at, "functions nest too deep");
    }
}

/* ---- nodes ---- */

/* A control node that is wrong cannot be asked for its results: what reads them is passed over. */
static void verify_nodes(Verify *verify, const IrFunc *func)
{
    bool *bad = arena_array(verify->arena, bool, func->nodes.count);
    for (IrRef i = 0; i < func->nodes.count; i++) {
        const IrNode *node = ir_node(func, i);
        bool control = ir_op_info[node->op].traits & TRAIT_control;
        for (int k = 0; k < node->operand_count; k++)
            bad[i] = bad[i] || bad[node->operands[k]];
        if (bad[i])
            continue;
        IrType type;
        const char *reason = ir_infer(verify->arena, func, node, &type);
        if (!reason && !control && !ir_type_equal(&type, &node->type)) {
            Text text = text_new(verify->arena);
            text_puts(&text, "the type should be ");
            ir_type_print(&type, &text);
            reason = text.data;
        }
        if (reason)
            complain_node(verify, func, i, reason);
        bad[i] = reason && control;
    }
}

bool ir_verify(const IrModule *module, DiagSink *diags)
{
    ArenaMark mark = arena_mark(module->arena);
    bool shared = module->arena == diags->arena; /* then reports lie above the mark and must stay */
    Verify verify = {module->arena, module, diags, true};
    verify_form(&verify);
    if (verify.fine)
        verify_calls(&verify);
    for (int i = 0, sound = verify.fine; sound && i < module->funcs.count; i++)
        verify_nodes(&verify, module->funcs.items[i]);
    if (verify.fine || !shared)
        arena_rewind(module->arena, mark);
    return verify.fine;
}
