/* Legalise: rewrites on the graph that leave fusion with fewer cases.
 *
 * Takes an inlined, derived function; leaves one without argmax, in which a large reduction to few results has two levels,
 * so that its first level has enough independent results to share out.  The split depends on the shape alone. */
#include "passes/fuse_internal.h"

enum {
    FEW_RESULTS = 2048,      /* fewer results than this do not keep the threads busy */
    LARGE_REDUCTION = 16384, /* elements from which a second level pays */
    CHUNKS = 64,             /* of a rank-1 reduction */
};

static bool is_plain_reduction(IrOp op)
{
    return op == OP_sum || op == OP_reduce_max || op == OP_reduce_min || op == OP_prod;
}

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

static int64_t reduced_count(const IrType *type, const IrInts *axes)
{
    int64_t count = 1;
    for (int i = 0; i < axes->count; i++)
        count *= type->dim[axes->items[i]];
    return count;
}

/* sum over the outermost reduced axis of the sum over the others; none if there is nothing to gain. */
static IrRef split_by_axis(IrFunc *func, IrOp op, IrRef x, const IrInts *axes)
{
    int64_t outermost = axes->items[0], inner[IR_MAX_RANK];
    int count = 0;
    for (int i = 0; i < axes->count; i++)
        if (axes->items[i] < outermost)
            outermost = axes->items[i];
    for (int i = 0; i < axes->count; i++)
        if (axes->items[i] != outermost)
            inner[count++] = axes->items[i];
    if (!count || ir_type_of(func, x)->dim[outermost] < 2)
        return -1;
    IrRef first = ir_reduce(func, op, x, inner, count);
    int64_t axis = outermost; /* every other reduced axis lies behind it */
    return ir_reduce(func, op, first, &axis, 1);
}

/* A single reduced axis is cut into equal chunks where it divides. */
static IrRef split_by_chunks(IrFunc *func, IrOp op, IrRef x, int64_t axis)
{
    IrType type = *ir_type_of(func, x);
    int64_t chunks = CHUNKS;
    while (chunks > 1 && type.dim[axis] % chunks)
        chunks /= 2;
    if (chunks < 4 || type.rank == IR_MAX_RANK)
        return -1;
    int64_t dim[IR_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < type.rank; i++) {
        if (i == axis)
            dim[rank++] = chunks;
        dim[rank++] = i == axis ? type.dim[i] / chunks : type.dim[i];
    }
    int64_t inner = axis + 1;
    IrRef partial = ir_reduce(func, op, ir_reshape(func, x, rank, dim), &inner, 1);
    return ir_reduce(func, op, partial, &axis, 1);
}

static IrRef rewrite_reduction(IrFunc *func, const IrNode *node, IrRef x)
{
    const IrInts *axes = &node->attr[0];
    const IrType *type = ir_type_of(func, x);
    int64_t results = ir_element_count(&node->type);
    if (!axes->count || results >= FEW_RESULTS || results * reduced_count(type, axes) < LARGE_REDUCTION ||
        reduced_count(type, axes) < CHUNKS)
        return -1;
    if (axes->count > 1)
        return split_by_axis(func, node->op, x, axes);
    return split_by_chunks(func, node->op, x, axes->items[0]);
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
        else if (is_plain_reduction(node->op))
            replaced = rewrite_reduction(out, node, map[node->operands[0]]);
        map[ref] = replaced >= 0 ? replaced : ir_copy_node(out, func, ref, map);
    }
    for (int i = 0; i < func->results.count; i++)
        ir_result(out, map[func->results.items[i]], i < func->result_names.count ? func->result_names.items[i] : NULL);
    return out;
}
