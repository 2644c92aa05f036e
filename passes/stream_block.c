/* The values of one block: the program's nodes with their streamed axes cut to the block. Ranks stay: a task's axis has size 1.
 */
#include "passes/stream_internal.h"

typedef struct Block {
    const Family *family;
    int level;
    IrFunc *into;
    IrRef *value;         /* of each node of the program that is computed here, or -1 */
    StreamSlices *inputs; /* what comes from outside, cut to the block */
    int64_t rows;         /* of this block */
    IrRef *coordinate;
} Block;

static IrRef block_value(Block *block, IrRef ref);

static IrType block_type(const Block *block, IrType type, const Roles *roles)
{
    for (int axis = 0; axis < type.rank; axis++) {
        int role = roles->axis[axis];
        if (stream_is_streamed(block->family, role))
            type.dim[axis] = role == block->family->row ? block->rows : 1;
    }
    return type;
}

/* ---- nodes ---- */

/* Numbers along a streamed axis go on from block to block. */
static IrRef leaf_value(Block *block, const IrNode *node, const Roles *roles)
{
    IrType type = block_type(block, node->type, roles);
    block->into->at = node->span;
    if (node->op == OP_const)
        return ir_const(block->into, type, node->value);
    int axis = (int)node->attr[0].items[0], role = roles->axis[axis];
    IrRef within = ir_iota(block->into, type, axis);
    if (!stream_is_streamed(block->family, role) || block->coordinate[role] < 0)
        return within;
    IrRef first = ir_cast(block->into, block->coordinate[role], type.dtype);
    return ir_binary(block->into, OP_add, within, ir_broadcast_scalar(block->into, first, &type));
}

static IrRef operand_value(Block *block, IrRef ref, int index)
{
    const Family *family = block->family;
    const IrNode *node = ir_node(family->func, ref);
    IrRef operand = node->operands[index];
    if (stream_in_loop(family, operand, block->level))
        return block_value(block, operand);
    Roles roles = stream_cut_roles(family, node, &family->node[ref], index);
    if (stream_is_leaf(ir_node(family->func, operand)))
        return leaf_value(block, ir_node(family->func, operand), &roles);
    for (int i = 0; i < block->inputs->count; i++)
        if (block->inputs->items[i].ref == operand && stream_same_roles(&block->inputs->items[i].roles, &roles))
            return block->inputs->items[i].value;
    return -1; /* not reached: all of them are among the inputs */
}

static IrRef copy_cut(Block *block, IrRef ref, const Roles *roles)
{
    IrNode node = *ir_node(block->family->func, ref);
    IrRef *operands = arena_array(block->into->module->arena, IrRef, node.operand_count + 1);
    for (int i = 0; i < node.operand_count; i++)
        operands[i] = operand_value(block, ref, i);
    node.operands = operands;
    node.type = block_type(block, node.type, roles);
    block->into->at = node.span;
    return ir_emit(block->into, node);
}

/* The numbers that the elements of a block have in the whole array. */
static IrRef element_numbers(Block *block, const IrNode *node, const Roles *roles)
{
    IrType type = ir_with_dtype(node->type, DT_u32), own = block_type(block, type, roles);
    IrRef numbers = ir_const(block->into, own, 0);
    int64_t stride = 1;
    for (int64_t axis = type.rank - 1; axis >= 0; axis--) {
        IrNode places = {.op = OP_iota, .type = type, .attr = {{1, &axis}}, .span = node->span};
        IrRef place = leaf_value(block, &places, roles), step = ir_const(block->into, own, (double)stride);
        numbers = ir_binary(block->into, OP_add, numbers, ir_binary(block->into, OP_mul, place, step));
        stride *= type.dim[axis];
    }
    return numbers;
}

static IrRef random_value(Block *block, IrRef ref, const Roles *roles)
{
    const IrNode *node = ir_node(block->family->func, ref);
    IrRef operands[2] = {operand_value(block, ref, 0), element_numbers(block, node, roles)};
    IrNode drawn = {.op = OP_random_at, .operand_count = 2, .operands = operands, .attr = {node->attr[0]}};
    block->into->at = node->span;
    return ir_emit(block->into, drawn);
}

static IrRef block_value(Block *block, IrRef ref)
{
    const IrNode *node = ir_node(block->family->func, ref);
    const Roles *roles = &block->family->node[ref].roles;
    if (block->value[ref] >= 0)
        return block->value[ref];
    IrRef value;
    if (stream_is_leaf(node))
        value = leaf_value(block, node, roles);
    else if (node->op == OP_random_bits)
        value = random_value(block, ref, roles);
    else
        value = copy_cut(block, ref, roles);
    return block->value[ref] = value;
}

void stream_compute_block(const StreamLoop *loop, IrFunc *func, StreamSlices *inputs, IrRef *coordinate, int64_t rows,
                          IrRef *out)
{
    Block block = {.family = loop->family,
                   .level = loop->level,
                   .into = func,
                   .value = arena_array(loop->arena, IrRef, loop->family->func->nodes.count + 1),
                   .inputs = inputs,
                   .rows = rows,
                   .coordinate = coordinate};
    for (IrRef ref = 0; ref < loop->family->func->nodes.count; ref++)
        block.value[ref] = -1;
    for (int i = 0; i < loop->outputs.count; i++)
        out[i] = block_value(&block, loop->outputs.items[i]);
}
