/* Simplify: folds constants, simplifies algebra, views and reductions.
 *
 * Each rule looks at one node whose operands are simple already, and gives a value that has the same bits in every case: x + 0
 * of floats goes only for -0 (0 + -0 is 0), x * 0 stays (it may be NaN).  Every rule lowers the number of nodes on the way to a
 * param, moves a sign towards the results, or moves a repetition towards them, so it ends. */
#include "passes/simplify.h"
#include "passes/passes.h"
#include "passes/rebuild.h"

/* ---- constants ---- */

static bool folds(const IrFunc *func, const IrNode *node)
{
    bool constant = (ir_op_info[node->op].traits & TRAIT_pointwise) && node->operand_count;
    for (int i = 0; i < node->operand_count && constant; i++)
        constant = ir_node(func, node->operands[i])->op == OP_const;
    return constant;
}

/* A pointwise node of constants is a constant: the interpreter says which. */
IrRef simplify_fold(IrFunc *func, const IrNode *node)
{
    if (!folds(func, node))
        return -1;
    Arena *scratch = arena_new(NULL, NULL);
    IrFunc *tiny = ir_func_new(ir_module_new(scratch), "fold");
    IrRef operands[3];
    for (int i = 0; i < node->operand_count; i++) {
        const IrNode *operand = ir_node(func, node->operands[i]);
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

/* ---- reductions ---- */

/* Over axes of size 1, or none, an element is folded with what the fold starts from, and nothing else. */
static IrRef reduce_one(IrFunc *func, const IrNode *node)
{
    IrRef x = simplify_ref(func, ir_reshape(func, node->operands[0], node->type.rank, node->type.dim));
    if (node->op != OP_sum)
        return x;
    return simplify_ref(func, ir_binary(func, OP_add, x, ir_const(func, node->type, 0)));
}

IrRef simplify_reduction(IrFunc *func, const IrNode *node)
{
    bool plain = node->op == OP_sum || node->op == OP_prod || node->op == OP_reduce_max || node->op == OP_reduce_min;
    if (!plain)
        return -1;
    bool one = true;
    for (int i = 0; i < node->attr[0].count; i++)
        one &= ir_type_of(func, node->operands[0])->dim[node->attr[0].items[i]] == 1;
    return one ? reduce_one(func, node) : -1;
}

/* ---- the walk ---- */

IrRef simplify_ref(IrFunc *func, IrRef ref)
{
    static IrRef (*const rules[])(IrFunc *, const IrNode *) = {simplify_fold, simplify_algebra, simplify_view,
                                                               simplify_reduction};
    IrNode node = *ir_node(func, ref); /* a copy: rules build new nodes, and the list may move */
    if (node.op == OP_param || ir_op_info[node.op].traits & TRAIT_control)
        return ref;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        IrRef simple = rules[i](func, &node);
        if (simple >= 0)
            return simple > ref ? simplify_ref(func, simple) : simple;
    }
    return ref;
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

static void simplify_func(IrFunc *func)
{
    Rebuild rebuild = rebuild_begin(func);
    const int *uses = count_uses(func->module->arena, func);
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        const IrNode *node = ir_node(func, ref);
        IrRef fresh = rebuild_copy(&rebuild, ref);
        IrRef cropped = node->op == OP_pad ? simplify_crop(rebuild.into, fresh, uses[node->operands[0]]) : -1;
        rebuild.map[ref] = simplify_ref(rebuild.into, cropped < 0 ? fresh : cropped);
    }
    rebuild_end(&rebuild, func);
}

void pass_simplify(IrModule *module)
{
    for (int i = 0; i < module->funcs.count; i++)
        simplify_func(module->funcs.items[i]);
}
