/* Simplify: folds constants, simplifies algebra and views.
 *
 * Each rule looks at one node whose operands are simple already, and gives a value that has the same bits in every case: x + 0
 * of floats goes only for -0 (0 + -0 is 0), x * 0 stays (it may be NaN). */
#include "passes/simplify.h"

#include "passes/passes.h"

#include <math.h>

static bool is_constant(const IrFunc *func, IrRef ref, double *value)
{
    const IrNode *node = ir_node(func, ref);
    *value = node->value;
    return node->op == OP_const;
}

/* ---- constants ---- */

/* A pointwise node of constants is a constant: the interpreter says which. */
static IrRef fold(IrFunc *func, const IrNode *node)
{
    if (!(ir_op_info[node->op].traits & TRAIT_pointwise) || node->op == OP_random_bits || !node->operand_count)
        return -1;
    Arena *scratch = arena_new(NULL, NULL);
    IrModule *module = ir_module_new(scratch);
    IrFunc *tiny = ir_func_new(module, "fold");
    IrRef operands[3];
    for (int i = 0; i < node->operand_count; i++) {
        const IrNode *operand = ir_node(func, node->operands[i]);
        if (operand->op != OP_const) {
            arena_free(scratch);
            return -1;
        }
        operands[i] = ir_const(tiny, ir_scalar(operand->type.dtype), operand->value);
    }
    IrNode copy = {.op = node->op, .operand_count = node->operand_count, .operands = operands};
    copy.type = ir_scalar(node->type.dtype);
    ir_result(tiny, ir_emit(tiny, copy), NULL);
    EvalTensor result = eval_tensor_new(scratch, copy.type);
    bool done = ir_eval(scratch, tiny, EVAL_declared, NULL, &result);
    double value = dtype_class(node->type.dtype) == CLASS_int ? (double)result.integer[0] : result.real[0];
    arena_free(scratch);
    return done ? ir_const(func, node->type, value) : -1;
}

/* ---- algebra ---- */

static IrRef simplify_algebra(IrFunc *func, const IrNode *node)
{
    double a, b;
    bool exact = dtype_class(node->type.dtype) == CLASS_int;
    IrRef x = node->operand_count > 0 ? node->operands[0] : -1, y = node->operand_count > 1 ? node->operands[1] : -1;
    switch (node->op) {
    case OP_add:
        if (is_constant(func, y, &b) && b == 0 && (exact || signbit(b)))
            return x;
        return is_constant(func, x, &a) && a == 0 && (exact || signbit(a)) ? y : -1;
    case OP_sub:
        return is_constant(func, y, &b) && b == 0 && (exact || !signbit(b)) ? x : -1;
    case OP_mul:
        if (is_constant(func, y, &b) && b == 1)
            return x;
        return is_constant(func, x, &a) && a == 1 ? y : -1;
    case OP_div:
        return is_constant(func, y, &b) && b == 1 ? x : -1;
    case OP_pow:
        if (is_constant(func, y, &b) && b == 1)
            return x;
        if (is_constant(func, y, &b) && b == 2)
            return ir_binary(func, OP_mul, x, x);
        return is_constant(func, y, &b) && b == 0.5 ? ir_unary(func, OP_sqrt, x) : -1;
    case OP_neg:
        return ir_node(func, x)->op == OP_neg ? ir_node(func, x)->operands[0] : -1;
    case OP_not:
        return ir_node(func, x)->op == OP_not ? ir_node(func, x)->operands[0] : -1;
    case OP_cast:
        return ir_type_of(func, x)->dtype == node->type.dtype ? x : -1;
    case OP_stop_grad:
        return x; /* derivatives have been expanded */
    case OP_select:
        if (node->operands[1] == node->operands[2])
            return node->operands[1];
        return is_constant(func, x, &a) ? node->operands[a != 0 ? 1 : 2] : -1;
    default:
        return -1;
    }
}

/* ---- views ---- */

static bool is_identity(const IrInts *perm)
{
    for (int i = 0; i < perm->count; i++)
        if (perm->items[i] != i)
            return false;
    return true;
}

static bool all_zero(const IrInts *ints)
{
    for (int i = 0; i < ints->count; i++)
        if (ints->items[i])
            return false;
    return true;
}

static IrRef merge_transposes(IrFunc *func, const IrNode *node, const IrNode *below)
{
    int64_t perm[IR_MAX_RANK];
    for (int i = 0; i < node->type.rank; i++)
        perm[i] = below->attr[0].items[node->attr[0].items[i]];
    return ir_transpose(func, below->operands[0], perm);
}

static IrRef merge_broadcasts(IrFunc *func, const IrNode *node, const IrNode *below)
{
    int64_t dims[IR_MAX_RANK];
    for (int i = 0; i < below->attr[0].count; i++)
        dims[i] = node->attr[0].items[below->attr[0].items[i]];
    return ir_broadcast(func, below->operands[0], node->type, dims);
}

static int *count_uses(Arena *arena, const IrFunc *func)
{
    int *uses = arena_array(arena, int, func->nodes.count + 1);
    for (IrRef ref = 0; ref < func->nodes.count; ref++)
        for (int i = 0; i < ir_node(func, ref)->operand_count; i++)
            uses[ir_node(func, ref)->operands[i]]++;
    for (int i = 0; i < func->results.count; i++)
        uses[func->results.items[i]]++;
    return uses;
}

static IrRef simplify_view(IrFunc *func, const IrNode *node)
{
    if (!(ir_op_info[node->op].traits & TRAIT_view) || node->op == OP_concat)
        return node->op == OP_concat && node->operand_count == 1 ? node->operands[0] : -1;
    IrRef x = node->operands[0];
    const IrNode *below = ir_node(func, x);
    bool same = ir_type_equal(&node->type, &below->type);
    if (below->op == OP_const && node->op != OP_pad)
        return ir_const(func, node->type, below->value);
    switch (node->op) {
    case OP_transpose:
        if (is_identity(&node->attr[0]))
            return x;
        return below->op == OP_transpose ? merge_transposes(func, node, below) : -1;
    case OP_reshape:
        if (same)
            return x;
        return below->op == OP_reshape ? ir_reshape(func, below->operands[0], node->type.rank, node->type.dim)
                                       : simplify_reshape(func, node);
    case OP_broadcast:
        if (same && is_identity(&node->attr[0]))
            return x;
        return below->op == OP_broadcast ? merge_broadcasts(func, node, below) : -1;
    case OP_slice:
        return same ? x : -1; /* a slice of a whole axis starts at 0 and takes every element */
    case OP_pad:
        return same && all_zero(&node->attr[0]) && all_zero(&node->attr[1]) && all_zero(&node->attr[2]) ? x : -1;
    case OP_reverse:
        return node->attr[0].count == 0 ? x : -1;
    default:
        return -1;
    }
}

static IrRef simplify_reduction(const IrNode *node)
{
    bool plain = node->op == OP_sum || node->op == OP_prod || node->op == OP_reduce_max || node->op == OP_reduce_min;
    return plain && node->attr[0].count == 0 ? node->operands[0] : -1;
}

/* A copy of the node: rules build new nodes, and the list may move. */
static IrRef simplify_node(IrFunc *func, IrNode node)
{
    IrRef simple = fold(func, &node);
    if (simple < 0)
        simple = simplify_algebra(func, &node);
    if (simple < 0)
        simple = simplify_view(func, &node);
    return simple < 0 ? simplify_reduction(&node) : simple;
}

static void simplify_func(IrFunc *func)
{
    Rebuild rebuild = rebuild_begin(func);
    const int *uses = count_uses(func->module->arena, func);
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        IrRef fresh = rebuild_copy(&rebuild, ref);
        const IrNode *node = ir_node(rebuild.into, fresh);
        if (node->op == OP_param || ir_op_info[node->op].traits & TRAIT_control)
            continue;
        IrRef simple = simplify_node(rebuild.into, *node);
        if (simple < 0)
            simple = simplify_crop(&rebuild, ref, uses);
        if (simple >= 0)
            rebuild.map[ref] = simple;
    }
    rebuild_end(&rebuild, func);
}

void pass_simplify(IrModule *module)
{
    for (int i = 0; i < module->funcs.count; i++)
        simplify_func(module->funcs.items[i]);
}
