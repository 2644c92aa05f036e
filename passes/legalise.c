/* Legalise: rewrites on the graph that leave fusion with fewer cases.
 *
 * Takes an inlined, derived function; leaves one without argmax. */
#include "passes/fuse_internal.h"

/* The first of the places where the maximum stands: the least index among them. */
static IrRef rewrite_argmax(IrFunc *func, const IrNode *node, IrRef x)
{
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

IrFunc *legalise_func(IrModule *module, const IrFunc *func)
{
    IrFunc *out = ir_func_new(module, func->name);
    IrRef *map = arena_array(module->arena, IrRef, func->nodes.count);
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        const IrNode *node = ir_node(func, ref);
        IrRef replaced = -1;
        out->at = node->span;
        if (node->op == OP_argmax)
            replaced = rewrite_argmax(out, node, map[node->operands[0]]);
        map[ref] = replaced >= 0 ? replaced : ir_copy_node(out, func, ref, map);
    }
    for (int i = 0; i < func->results.count; i++)
        ir_result(out, map[func->results.items[i]], i < func->result_names.count ? func->result_names.items[i] : NULL);
    return out;
}
