/* Cse: computes equal nodes once.
 *
 * Nodes are equal if op, type, attributes, constants, callees and operands are: draws too, since a draw is a function of its
 * key.  Operands of sums, products and comparisons for equality may stand in either order.  Operands are merged before their
 * users, so chains of equal nodes merge in one walk. */
#include "passes/passes.h"
#include "passes/rebuild.h"

#include <string.h>

static bool ints_equal(const IrInts *a, const IrInts *b)
{
    return a->count == b->count && (a->count == 0 || !memcmp(a->items, b->items, (size_t)a->count * sizeof *a->items));
}

static bool constants_equal(const IrNode *a, const IrNode *b)
{
    if (memcmp(&a->value, &b->value, sizeof a->value) != 0) /* by bits: -0 and NaN are constants like others */
        return false;
    if (a->op != OP_literal)
        return true;
    size_t bytes = (size_t)ir_element_count(&a->type) * (size_t)dtype_size(a->type.dtype);
    return !memcmp(a->data, b->data, bytes);
}

/* max and min do not: they tell 0 from -0, and which NaN they pass on, by the order. */
static bool commutes(IrOp op)
{
    return op == OP_add || op == OP_mul || op == OP_eq || op == OP_ne || op == OP_and || op == OP_or || op == OP_xor;
}

static IrRef operand_in_order(const IrNode *node, int index)
{
    bool turned = commutes(node->op) && node->operands[0] > node->operands[1];
    return node->operands[turned ? 1 - index : index];
}

static bool nodes_equal(const IrNode *a, const IrNode *b)
{
    if (a->op != b->op || !ir_type_equal(&a->type, &b->type) || a->operand_count != b->operand_count ||
        a->callee[0] != b->callee[0] || a->callee[1] != b->callee[1])
        return false;
    for (int i = 0; i < a->operand_count; i++)
        if (operand_in_order(a, i) != operand_in_order(b, i))
            return false;
    for (int i = 0; i < IR_MAX_ATTRS; i++)
        if (!ints_equal(&a->attr[i], &b->attr[i]))
            return false;
    return constants_equal(a, b);
}

static uint64_t node_hash(const IrNode *node)
{
    uint64_t hash = hash_bytes(&node->op, sizeof node->op, 0);
    hash = hash_bytes(&node->value, sizeof node->value, hash);
    hash = hash_bytes(node->type.dim, (size_t)node->type.rank * sizeof *node->type.dim, hash);
    for (int i = 0; i < node->operand_count; i++) {
        IrRef operand = operand_in_order(node, i);
        hash = hash_bytes(&operand, sizeof operand, hash);
    }
    for (int i = 0; i < IR_MAX_ATTRS; i++)
        if (node->attr[i].count)
            hash = hash_bytes(node->attr[i].items, (size_t)node->attr[i].count * sizeof(int64_t), hash);
    return hash;
}

static int table_size(int nodes)
{
    int size = 64;
    while (size < 2 * nodes)
        size *= 2;
    return size;
}

static void merge_func(IrFunc *func)
{
    Rebuild rebuild = rebuild_begin(func);
    int size = table_size(func->nodes.count);
    IrRef *slots = arena_array(func->module->arena, IrRef, size); /* node of the new function + 1 */
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        IrRef fresh = rebuild_copy(&rebuild, ref);
        const IrNode *node = ir_node(rebuild.into, fresh);
        if (node->op == OP_param)
            continue;
        uint64_t at = node_hash(node) & (uint64_t)(size - 1);
        while (slots[at] && !nodes_equal(ir_node(rebuild.into, slots[at] - 1), node))
            at = (at + 1) & (uint64_t)(size - 1);
        if (slots[at]) {
            rebuild.map[ref] = slots[at] - 1;
            rebuild.into->nodes.count--; /* the copy is the last node, and nothing refers to it yet */
        } else {
            slots[at] = fresh + 1;
        }
    }
    rebuild_end(&rebuild, func);
}

void pass_cse(IrModule *module)
{
    for (int i = 0; i < module->funcs.count; i++)
        merge_func(module->funcs.items[i]);
}
