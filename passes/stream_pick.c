/* Items picked one a row, as the logit of a label is: written as a comparison with the places along the row, which a tile can
 * take part in.  take of a computed array is the sum of what is at the place and of zeros; put_add to zeros is a select. */
#include "passes/stream_internal.h"

/* One place for each row, along the last axis. */
static bool picks_one_a_row(const IrFunc *func, const IrNode *node, const IrType *array)
{
    int last = array->rank - 1;
    return node->attr[0].items[0] == last && node->attr[1].items[0] == last &&
           ir_type_of(func, node->operands[1])->rank == last;
}

static bool is_computed(const IrNode *node)
{
    return node->op == OP_dot || (ir_op_info[node->op].traits & TRAIT_pointwise);
}

static bool is_zero(const IrNode *node)
{
    return node->op == OP_const && node->value == 0;
}

/* What a row has, for each item of it. */
static IrRef along_row(IrFunc *func, IrRef x, const IrType *type)
{
    int64_t axes[IR_MAX_RANK];
    for (int i = 0; i < IR_MAX_RANK; i++)
        axes[i] = i;
    return ir_broadcast(func, x, ir_with_dtype(*type, ir_type_of(func, x)->dtype), axes);
}

/* Where an array of the type has the picked items: bool. */
static IrRef is_picked(IrFunc *func, IrRef place, const IrType *type)
{
    IrType places = ir_with_dtype(*type, ir_type_of(func, place)->dtype);
    return ir_binary(func, OP_eq, ir_iota(func, places, type->rank - 1), along_row(func, place, type));
}

static IrRef written_anew(Rebuild *rebuild, const IrNode *node)
{
    IrFunc *into = rebuild->into;
    bool takes = node->op == OP_take;
    IrType type = takes ? *ir_type_of(rebuild->from, node->operands[0]) : node->type;
    int64_t last = type.rank - 1;
    into->at = node->span;
    IrRef picked = is_picked(into, rebuild->map[node->operands[1]], &type), zeros = ir_const(into, type, 0);
    if (takes)
        return ir_reduce(into, OP_sum, ir_select(into, picked, rebuild->map[node->operands[0]], zeros), &last, 1);
    return ir_select(into, picked, along_row(into, rebuild->map[node->operands[2]], &type), zeros);
}

static bool is_to_be_written_anew(const IrFunc *func, const IrNode *node, int64_t least_bytes)
{
    if (node->op != OP_take && node->op != OP_put_add)
        return false;
    const IrNode *array = ir_node(func, node->operands[0]);
    bool fits = node->op == OP_take ? is_computed(array) : is_zero(array);
    return fits && picks_one_a_row(func, node, &array->type) &&
           ir_element_count(&array->type) * dtype_size(array->type.dtype) >= least_bytes;
}

void stream_picks(IrFunc *func, int64_t least_bytes)
{
    bool any = false;
    for (IrRef ref = 0; ref < func->nodes.count; ref++)
        any |= is_to_be_written_anew(func, ir_node(func, ref), least_bytes);
    if (!any)
        return;
    Rebuild rebuild = rebuild_begin(func);
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        const IrNode *node = ir_node(func, ref);
        if (is_to_be_written_anew(func, node, least_bytes))
            rebuild.map[ref] = written_anew(&rebuild, node);
        else
            rebuild_copy(&rebuild, ref);
    }
    rebuild_end(&rebuild, func);
}
