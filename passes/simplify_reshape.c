/* Simplify: reshapes that join axes move inwards, through pointwise nodes to what they are made of.
 *
 * reshape(a(x) + broadcast(m)), where the reshape joins axes, is the result of a normalisation by groups.  A kernel cannot
 * compute it in passing: a place of the joined axis does not say in which of the joined axes it lies.  If every leaf can be had
 * in the joined shape, the whole expression can: arrays in memory have no shape, constants have any, and a broadcast is the
 * broadcast of a small array, repeated along the joined axes only as far as it has some of them. */
#include "passes/simplify.h"

enum { MOST_NODES = 64 }; /* of an expression that is moved through */

/* Runs of axes that a reshape makes into one another: fine axes [first[i], first[i + 1]) have as many elements as coarse ones.
 */
typedef struct Segments {
    int count;
    int fine[IR_MAX_RANK + 1], coarse[IR_MAX_RANK + 1];
} Segments;

static Segments segments_of(const IrType *fine, const IrType *coarse)
{
    Segments s = {0};
    int i = 0, j = 0;
    while (i < fine->rank || j < coarse->rank) {
        s.fine[s.count] = i;
        s.coarse[s.count++] = j;
        int64_t a = i < fine->rank ? fine->dim[i++] : 1, b = j < coarse->rank ? coarse->dim[j++] : 1;
        while (a != b && (i < fine->rank || j < coarse->rank)) {
            if (a < b)
                a *= fine->dim[i++];
            else
                b *= coarse->dim[j++];
        }
    }
    s.fine[s.count] = fine->rank;
    s.coarse[s.count] = coarse->rank;
    return s;
}

/* Whether a reshape makes several axes into one, or cuts anew: its operand's place is not an affine form of its own. */
static bool joins(const IrType *from, const IrType *to)
{
    if (!ir_element_count(from))
        return false;
    Segments s = segments_of(from, to);
    for (int i = 0; i < s.count; i++) {
        int wide = 0; /* axes with more than one place */
        for (int k = s.fine[i]; k < s.fine[i + 1]; k++)
            wide += from->dim[k] > 1;
        if (wide > 1 && s.coarse[i + 1] > s.coarse[i])
            return true;
    }
    return false;
}

/* broadcast(x) reshaped to `type`: x repeated along the segments that it has axes in, reshaped there, and then broadcast. */
static IrRef push_broadcast(IrFunc *func, IrNode node, const IrType *type)
{
    Segments s = segments_of(&node.type, type);
    const IrInts *dims = &node.attr[0];
    IrType small = ir_scalar(node.type.dtype), joined = small;
    int64_t place[IR_MAX_RANK], into[IR_MAX_RANK];
    int next = 0;
    for (int i = 0; i < s.count; i++) {
        bool touched = false;
        for (int k = 0; k < dims->count; k++)
            touched |= dims->items[k] >= s.fine[i] && dims->items[k] < s.fine[i + 1];
        for (int axis = s.fine[i]; touched && axis < s.fine[i + 1]; axis++) {
            if (next < dims->count && dims->items[next] == axis)
                place[next++] = small.rank;
            small.dim[small.rank++] = node.type.dim[axis];
        }
        for (int axis = s.coarse[i]; touched && axis < s.coarse[i + 1]; axis++) {
            into[joined.rank] = axis;
            joined.dim[joined.rank++] = type->dim[axis];
        }
    }
    if (next < dims->count || ir_element_count(&small) >= ir_element_count(&node.type))
        return -1; /* there would be nothing small about it */
    IrRef x = node.operands[0];
    x = ir_type_equal(ir_type_of(func, x), &small) ? x : ir_broadcast(func, x, small, place);
    x = ir_type_equal(&small, &joined) ? x : ir_reshape(func, x, joined.rank, joined.dim);
    return ir_broadcast(func, x, *type, into);
}

typedef struct Push {
    IrFunc *func;
    const IrType *type; /* shape wanted */
    int count;
    IrRef from[MOST_NODES], to[MOST_NODES];
} Push;

static bool is_cheap(IrOp op)
{
    switch (op) {
    case OP_neg:
    case OP_abs:
    case OP_sign:
    case OP_not:
    case OP_cast:
    case OP_add:
    case OP_sub:
    case OP_mul:
    case OP_div:
    case OP_max:
    case OP_min:
    case OP_eq:
    case OP_ne:
    case OP_lt:
    case OP_le:
    case OP_and:
    case OP_or:
    case OP_xor:
    case OP_select:
        return true;
    default:
        return false;
    }
}

static IrRef push_through(Push *push, IrRef x);

static IrRef push_node(Push *push, IrRef x)
{
    IrNode node = *ir_node(push->func, x); /* a copy: the list moves */
    IrType type = ir_with_dtype(*push->type, node.type.dtype);
    if (node.op == OP_const)
        return ir_const(push->func, type, node.value);
    if (node.op == OP_reshape) {
        const IrType *base = ir_type_of(push->func, node.operands[0]);
        if (ir_shape_equal(base, &type))
            return node.operands[0];
        return joins(base, &type) ? -1 : ir_reshape(push->func, node.operands[0], type.rank, type.dim);
    }
    if (node.op == OP_broadcast)
        return push_broadcast(push->func, node, &type);
    if (!is_cheap(node.op))
        return -1;
    IrRef operands[3];
    for (int i = 0; i < node.operand_count; i++)
        if ((operands[i] = push_through(push, node.operands[i])) < 0)
            return -1;
    node.operands = operands;
    node.type = type;
    push->func->at = node.span;
    return ir_emit(push->func, node);
}

static IrRef push_through(Push *push, IrRef x)
{
    for (int i = 0; i < push->count; i++)
        if (push->from[i] == x)
            return push->to[i];
    IrRef made = push_node(push, x);
    if (push->count == MOST_NODES)
        return -1;
    push->from[push->count] = x;
    push->to[push->count++] = made;
    return made;
}

IrRef simplify_reshape(IrFunc *func, const IrNode *node)
{
    IrRef x = node->operands[0];
    IrType type = node->type;
    IrOp below = ir_node(func, x)->op;
    if (!joins(ir_type_of(func, x), &type) || (below != OP_broadcast && !is_cheap(below)))
        return -1;
    Push push = {.func = func, .type = &type};
    return push_through(&push, x);
}
