/* Legalise: rewrites on the graph that leave fusion with fewer cases.
 *
 * Takes inlined, derived functions; leaves them without argmax and without convolutions of spread arrays (legalise_spread.c),
 * in which small constants that have to lie in memory are literals, so that no kernel is launched to write them. */
#include "passes/legalise_internal.h"
#include "passes/rebuild.h"

enum { SMALL_CONSTANT = 64 }; /* elements */

/* Rounded to its type, of which registers may have more bits. */
static IrRef rounded(IrFunc *func, IrRef x)
{
    DType dtype = ir_type_of(func, x)->dtype;
    return dtype == DT_f16 || dtype == DT_bf16 ? ir_cast(func, ir_cast(func, x, DT_f32), dtype) : x;
}

/* The first of the places where the maximum stands: the least index among them. */
static IrRef rewrite_argmax(IrFunc *func, const IrNode *node, IrRef x)
{
    x = rounded(func, x);
    IrType type = *ir_type_of(func, x);
    int64_t axis = node->attr[0].items[0];
    IrRef largest = ir_reduce(func, OP_reduce_max, x, &axis, 1);
    int64_t dims[IR_MAX_RANK];
    for (int i = 0, kept = 0; i < type.rank; i++)
        if (i != axis)
            dims[kept++] = i;
    IrRef repeated = ir_broadcast(func, largest, type, dims);
    IrType places = ir_with_dtype(type, DT_i32);
    IrRef last = ir_const(func, places, (double)(type.dim[axis] - 1));
    IrRef place = ir_select(func, ir_binary(func, OP_eq, x, repeated), ir_iota(func, places, (int)axis), last);
    return ir_reduce(func, OP_reduce_min, place, &axis, 1);
}

/* ---- constants that a loop, a branch or a key reads from memory ---- */

static bool reads_memory(const IrNode *node)
{
    return node->op == OP_fold_in || (ir_op_info[node->op].traits & TRAIT_control) != 0;
}

static IrRef literal_of(IrFunc *func, const IrNode *constant)
{
    Arena *arena = func->module->arena;
    EvalTensor tensor = eval_tensor_new(arena, constant->type);
    int64_t count = ir_element_count(&constant->type);
    void *bytes = arena_alloc(arena, (size_t)(count * dtype_size(constant->type.dtype)) + 1);
    for (int64_t i = 0; i < count; i++) {
        if (dtype_class(constant->type.dtype) == CLASS_int)
            tensor.integer[i] = (int64_t)constant->value;
        else
            tensor.real[i] = constant->value;
    }
    eval_tensor_write(&tensor, bytes);
    return ir_literal(func, constant->type, bytes);
}

/* `map`, but with literals in place of the constants that the node reads. */
static const IrRef *with_literals(IrFunc *out, const IrFunc *func, const IrNode *node, const IrRef *map)
{
    Arena *arena = out->module->arena;
    IrRef *own = arena_copy(arena, map, (size_t)func->nodes.count * sizeof *map);
    for (int i = 0; i < node->operand_count; i++) {
        const IrNode *operand = ir_node(func, node->operands[i]);
        if (operand->op == OP_const && ir_element_count(&operand->type) <= SMALL_CONSTANT)
            own[node->operands[i]] = literal_of(out, operand);
    }
    return own;
}

static void legalise_func(IrFunc *func)
{
    Rebuild rebuild = rebuild_begin(func);
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        const IrNode *node = ir_node(func, ref);
        IrRef replaced = -1;
        rebuild.into->at = node->span;
        if (node->op == OP_argmax)
            replaced = rewrite_argmax(rebuild.into, node, rebuild.map[node->operands[0]]);
        else if (node->op == OP_conv)
            replaced = legalise_spread_conv(rebuild.into, func, node, rebuild.map);
        else if (reads_memory(node))
            replaced = ir_copy_node(rebuild.into, func, ref, with_literals(rebuild.into, func, node, rebuild.map));
        if (replaced >= 0)
            rebuild.map[ref] = replaced;
        else
            rebuild_copy(&rebuild, ref);
    }
    rebuild_end(&rebuild, func);
}

void pass_legalise(IrModule *module)
{
    for (int i = 0; i < module->funcs.count; i++)
        legalise_func(module->funcs.items[i]);
}
