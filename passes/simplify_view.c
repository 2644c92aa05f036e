/* Views of views are one view; what every copy of a repeated value goes through is done before it is repeated. */
#include "passes/simplify.h"

static bool all_zero(const IrInts *ints)
{
    for (int i = 0; i < ints->count; i++)
        if (ints->items[i])
            return false;
    return true;
}

static bool names_axis(const IrInts *axes, int axis)
{
    for (int i = 0; i < axes->count; i++)
        if (axes->items[i] == axis)
            return true;
    return false;
}

/* ---- transpose ---- */

/* Axes of size 1 aside, the order stays: no element moves. */
static bool keeps_order(const IrType *operand, const IrInts *perm)
{
    int64_t last = -1;
    for (int i = 0; i < perm->count; i++) {
        if (operand->dim[perm->items[i]] == 1)
            continue;
        if (perm->items[i] < last)
            return false;
        last = perm->items[i];
    }
    return true;
}

static IrRef transpose_of_transpose(IrFunc *func, const IrNode *node, const IrNode *below)
{
    int64_t perm[IR_MAX_RANK];
    for (int i = 0; i < node->type.rank; i++)
        perm[i] = below->attr[0].items[node->attr[0].items[i]];
    return ir_transpose(func, below->operands[0], perm);
}

/* The operand's own axes change places, and the others are repeated elsewhere. */
static IrRef transpose_of_broadcast(IrFunc *func, const IrNode *node, const IrNode *below)
{
    int64_t perm[IR_MAX_RANK], dims[IR_MAX_RANK];
    int count = 0;
    for (int i = 0; i < node->type.rank; i++)
        for (int j = 0; j < below->attr[0].count; j++)
            if (below->attr[0].items[j] == node->attr[0].items[i]) {
                perm[count] = j;
                dims[count++] = i;
            }
    IrRef x = simplify_ref(func, ir_transpose(func, below->operands[0], perm));
    return ir_broadcast(func, x, node->type, dims);
}

static IrRef view_transpose(IrFunc *func, const IrNode *node, IrRef x, const IrNode *below)
{
    bool identity = true;
    for (int i = 0; i < node->attr[0].count; i++)
        identity &= node->attr[0].items[i] == i;
    if (identity)
        return x;
    if (below->op == OP_transpose)
        return transpose_of_transpose(func, node, below);
    if (below->op == OP_broadcast)
        return transpose_of_broadcast(func, node, below);
    return keeps_order(&below->type, &node->attr[0]) ? ir_reshape(func, x, node->type.rank, node->type.dim) : -1;
}

/* ---- reshape, broadcast ---- */

static IrRef without_unit_axes(IrFunc *func, IrRef x, IrType *type)
{
    IrType old = *ir_type_of(func, x);
    *type = ir_scalar(old.dtype);
    for (int i = 0; i < old.rank; i++)
        if (old.dim[i] != 1)
            type->dim[type->rank++] = old.dim[i];
    return type->rank == old.rank ? x : simplify_ref(func, ir_reshape(func, x, type->rank, type->dim));
}

/* Only axes of size 1 come and go: the same repetition has another type. */
static IrRef reshape_of_broadcast(IrFunc *func, const IrNode *node, const IrNode *below)
{
    int64_t place[IR_MAX_RANK], dims[IR_MAX_RANK]; /* of each axis of the broadcast in the result */
    int next = 0, count = 0;
    for (int i = 0; i < below->type.rank; i++) {
        place[i] = -1;
        if (below->type.dim[i] == 1)
            continue;
        while (next < node->type.rank && node->type.dim[next] == 1)
            next++;
        if (next == node->type.rank || node->type.dim[next] != below->type.dim[i])
            return -1;
        place[i] = next++;
    }
    for (; next < node->type.rank; next++)
        if (node->type.dim[next] != 1)
            return -1;
    IrInts own = below->attr[0];
    IrType type, wanted = node->type;
    for (int i = 0; i < own.count; i++)
        if (place[own.items[i]] >= 0)
            dims[count++] = place[own.items[i]];
    IrRef x = without_unit_axes(func, below->operands[0], &type);
    return ir_broadcast(func, x, wanted, dims);
}

static IrRef view_reshape(IrFunc *func, const IrNode *node, IrRef x, const IrNode *below)
{
    if (ir_type_equal(&node->type, &below->type))
        return x;
    if (below->op == OP_reshape)
        return ir_reshape(func, below->operands[0], node->type.rank, node->type.dim);
    IrRef simple = below->op == OP_broadcast ? reshape_of_broadcast(func, node, below) : -1;
    return simple < 0 ? simplify_reshape(func, node) : simple;
}

static IrRef broadcast_of_broadcast(IrFunc *func, const IrNode *node, const IrNode *below)
{
    int64_t dims[IR_MAX_RANK];
    for (int i = 0; i < below->attr[0].count; i++)
        dims[i] = node->attr[0].items[below->attr[0].items[i]];
    return ir_broadcast(func, below->operands[0], node->type, dims);
}

/* Axes of size 1 that a reshape brought in are repeated like those that were never there. */
static IrRef broadcast_of_reshape(IrFunc *func, const IrNode *node, const IrNode *below)
{
    IrRef x = below->operands[0];
    IrType source = *ir_type_of(func, x);
    int64_t dims[IR_MAX_RANK];
    int next = 0;
    for (int i = 0; i < below->type.rank; i++) {
        if (next < source.rank && source.dim[next] == below->type.dim[i])
            dims[next++] = node->attr[0].items[i];
        else if (below->type.dim[i] != 1)
            return -1;
    }
    return next == source.rank && source.rank < below->type.rank ? ir_broadcast(func, x, node->type, dims) : -1;
}

static IrRef view_broadcast(IrFunc *func, const IrNode *node, IrRef x, const IrNode *below)
{
    if (ir_type_equal(&node->type, &below->type))
        return x; /* `dims` rise, so no axis has moved */
    if (ir_element_count(&node->type) == ir_element_count(&below->type) && ir_element_count(&node->type))
        return ir_reshape(func, x, node->type.rank, node->type.dim);
    if (below->op == OP_broadcast)
        return broadcast_of_broadcast(func, node, below);
    return below->op == OP_reshape ? broadcast_of_reshape(func, node, below) : -1;
}

/* ---- slice, reverse ---- */

typedef struct Range {
    int64_t start[IR_MAX_RANK], stop[IR_MAX_RANK], step[IR_MAX_RANK];
} Range;

static Range range_of(const IrNode *slice)
{
    Range range = {{0}, {0}, {0}}; /* what a slice of rank 0 has */
    for (int i = 0; i < slice->type.rank; i++) {
        range.start[i] = slice->attr[0].items[i];
        range.stop[i] = slice->attr[1].items[i];
        range.step[i] = slice->attr[2].items[i];
    }
    return range;
}

static IrRef slice_of_slice(IrFunc *func, const IrNode *node, const IrNode *below)
{
    Range outer = range_of(node), inner = range_of(below);
    for (int i = 0; i < node->type.rank; i++) {
        int64_t start = inner.start[i] + outer.start[i] * inner.step[i], step = inner.step[i] * outer.step[i];
        int64_t count = node->type.dim[i];
        outer.start[i] = count ? start : 0;
        outer.stop[i] = count ? start + (count - 1) * step + 1 : 0;
        outer.step[i] = step;
    }
    return ir_slice(func, below->operands[0], outer.start, outer.stop, outer.step);
}

static IrRef slice_of_broadcast(IrFunc *func, const IrNode *node, const IrNode *below)
{
    Range all = range_of(node), own;
    IrInts dims = below->attr[0];
    for (int i = 0; i < dims.count; i++) {
        own.start[i] = all.start[dims.items[i]];
        own.stop[i] = all.stop[dims.items[i]];
        own.step[i] = all.step[dims.items[i]];
    }
    IrRef x = simplify_ref(func, ir_slice(func, below->operands[0], own.start, own.stop, own.step));
    return ir_broadcast(func, x, node->type, dims.items);
}

/* What lies inside one part is a slice of that part. */
static IrRef slice_of_concat(IrFunc *func, const IrNode *node, const IrNode *below)
{
    int axis = (int)below->attr[0].items[0];
    Range range = range_of(node);
    int64_t first = 0, last = range.start[axis] + (node->type.dim[axis] - 1) * range.step[axis];
    for (int i = 0; i < below->operand_count && node->type.dim[axis]; i++) {
        int64_t size = ir_type_of(func, below->operands[i])->dim[axis];
        if (range.start[axis] >= first && last < first + size) {
            range.start[axis] -= first;
            range.stop[axis] = last - first + 1;
            return ir_slice(func, below->operands[i], range.start, range.stop, range.step);
        }
        first += size;
    }
    return -1;
}

/* What lies inside the padding is a slice of what was padded. */
static IrRef slice_of_pad(IrFunc *func, const IrNode *node, const IrNode *below)
{
    IrRef x = below->operands[0];
    Range range = range_of(node);
    for (int i = 0; i < node->type.rank; i++) {
        int64_t lo = below->attr[0].items[i], size = ir_type_of(func, x)->dim[i];
        int64_t start = range.start[i] - lo, last = start + (node->type.dim[i] - 1) * range.step[i];
        if (below->attr[2].items[i] || !node->type.dim[i] || start < 0 || last >= size)
            return -1;
        range.start[i] = start;
        range.stop[i] = last + 1;
    }
    return ir_slice(func, x, range.start, range.stop, range.step);
}

static IrRef view_slice(IrFunc *func, const IrNode *node, IrRef x, const IrNode *below)
{
    if (ir_type_equal(&node->type, &below->type))
        return x; /* a slice of a whole axis starts at 0 and takes every element */
    switch (below->op) {
    case OP_slice:
        return slice_of_slice(func, node, below);
    case OP_broadcast:
        return slice_of_broadcast(func, node, below);
    case OP_concat:
        return slice_of_concat(func, node, below);
    case OP_pad:
        return slice_of_pad(func, node, below);
    default:
        return -1;
    }
}

static IrRef make_reverse(IrFunc *func, IrRef x, const int64_t *axes, int count)
{
    return ir_emit(func, (IrNode){.op = OP_reverse, .operand_count = 1, .operands = &x, .attr = {{count, axes}}});
}

/* Axes that are turned twice, that have one element, or along which a value is repeated, need not be turned. */
static IrRef view_reverse(IrFunc *func, const IrNode *node, IrRef x, const IrNode *below)
{
    int64_t axes[IR_MAX_RANK];
    int count = 0;
    bool twice = below->op == OP_reverse;
    for (int i = 0; i < node->type.rank; i++) {
        bool turns = names_axis(&node->attr[0], i) != (twice && names_axis(&below->attr[0], i));
        bool moves = node->type.dim[i] > 1 && !(below->op == OP_broadcast && !names_axis(&below->attr[0], i));
        if (turns && moves)
            axes[count++] = i;
    }
    if (!twice && count == node->attr[0].count)
        return -1;
    IrRef source = twice ? below->operands[0] : x;
    return count ? make_reverse(func, source, axes, count) : source;
}

/* ---- pad, concat ---- */

static IrRef crop(IrFunc *func, const IrNode *node, IrRef x)
{
    Range range;
    for (int i = 0; i < node->type.rank; i++) {
        range.start[i] = -node->attr[0].items[i];
        range.stop[i] = range.start[i] + node->type.dim[i];
        range.step[i] = 1;
    }
    return ir_slice(func, x, range.start, range.stop, range.step);
}

static IrRef pad_of_pad(IrFunc *func, const IrNode *node, const IrNode *below)
{
    int64_t lo[IR_MAX_RANK], hi[IR_MAX_RANK];
    for (int i = 0; i < node->type.rank; i++) {
        lo[i] = node->attr[0].items[i] + below->attr[0].items[i];
        hi[i] = node->attr[1].items[i] + below->attr[1].items[i];
        if (below->attr[0].items[i] < 0 || below->attr[1].items[i] < 0 || node->attr[0].items[i] < 0 ||
            node->attr[1].items[i] < 0)
            return -1;
    }
    return ir_pad(func, below->operands[0], lo, hi, node->attr[2].items);
}

static IrRef view_pad(IrFunc *func, const IrNode *node, IrRef x, const IrNode *below)
{
    bool crops = true;
    if (!all_zero(&node->attr[2]))
        return -1;
    if (ir_type_equal(&node->type, &below->type) && all_zero(&node->attr[0]) && all_zero(&node->attr[1]))
        return x;
    for (int i = 0; i < node->type.rank; i++)
        crops &= node->attr[0].items[i] <= 0 && node->attr[1].items[i] <= 0;
    if (crops)
        return crop(func, node, x);
    return below->op == OP_pad && all_zero(&below->attr[2]) ? pad_of_pad(func, node, below) : -1;
}

/* Whether `next` takes up where `part` ends: slices of one value along the axis. */
static bool follows(const IrFunc *func, IrRef part, IrRef next, int axis)
{
    const IrNode *a = ir_node(func, part), *b = ir_node(func, next);
    if (a->op != OP_slice || b->op != OP_slice || a->operands[0] != b->operands[0])
        return false;
    for (int i = 0; i < a->type.rank; i++) {
        bool along = i == axis;
        if (a->attr[2].items[i] != b->attr[2].items[i] || (along && a->attr[2].items[i] != 1) ||
            b->attr[0].items[i] != a->attr[along ? 1 : 0].items[i] || (!along && a->attr[1].items[i] != b->attr[1].items[i]))
            return false;
    }
    return true;
}

static IrRef joined(IrFunc *func, IrRef part, IrRef next, int axis)
{
    const IrNode *a = ir_node(func, part), *b = ir_node(func, next);
    Range range = range_of(a);
    range.stop[axis] = b->attr[1].items[axis];
    return simplify_ref(func, ir_slice(func, a->operands[0], range.start, range.stop, range.step));
}

static void add_part(IrFunc *func, IrRef part, int axis, IrRef *parts, int *count)
{
    const IrNode *node = ir_node(func, part);
    if (node->op == OP_concat && node->attr[0].items[0] == axis) {
        for (int i = 0; i < node->operand_count; i++)
            add_part(func, ir_node(func, part)->operands[i], axis, parts, count);
    } else if (*count && follows(func, parts[*count - 1], part, axis)) {
        parts[*count - 1] = joined(func, parts[*count - 1], part, axis);
    } else if (node->type.dim[axis]) {
        parts[(*count)++] = part;
    }
}

static int count_parts(const IrFunc *func, IrRef part, int axis)
{
    const IrNode *node = ir_node(func, part);
    int count = 0;
    if (node->op != OP_concat || node->attr[0].items[0] != axis)
        return 1;
    for (int i = 0; i < node->operand_count; i++)
        count += count_parts(func, node->operands[i], axis);
    return count;
}

static IrRef view_concat(IrFunc *func, const IrNode *node)
{
    int axis = (int)node->attr[0].items[0], most = 0, count = 0;
    for (int i = 0; i < node->operand_count; i++)
        most += count_parts(func, node->operands[i], axis);
    IrRef *parts = arena_array(func->module->arena, IrRef, most);
    for (int i = 0; i < node->operand_count; i++)
        add_part(func, node->operands[i], axis, parts, &count);
    if (count == 1)
        return parts[0];
    if (!count)
        return node->operand_count == 1 ? node->operands[0] : -1;
    bool changed = count != node->operand_count;
    for (int i = 0; i < count && !changed; i++)
        changed = parts[i] != node->operands[i];
    return changed ? ir_concat(func, parts, count, axis) : -1;
}

/* ---- what is done to each copy of a repeated value ---- */

/* Operands that are one repetition each, or constants: the node is computed before it is repeated. */
static IrRef before_repetition(IrFunc *func, const IrNode *node)
{
    const IrNode *like = NULL;
    IrRef operands[3];
    if (!(ir_op_info[node->op].traits & TRAIT_pointwise))
        return -1;
    for (int i = 0; i < node->operand_count; i++) {
        const IrNode *operand = ir_node(func, node->operands[i]);
        bool repeats = operand->op == OP_broadcast;
        if (!repeats && operand->op != OP_const)
            return -1;
        if (repeats && like && !ir_shape_equal(ir_type_of(func, like->operands[0]), ir_type_of(func, operand->operands[0])))
            return -1;
        for (int j = 0; repeats && like && j < like->attr[0].count; j++)
            if (like->attr[0].items[j] != operand->attr[0].items[j])
                return -1;
        like = repeats ? operand : like;
    }
    if (!like)
        return -1;
    IrNode small = *node, pattern = *like;
    IrType shape = *ir_type_of(func, pattern.operands[0]);
    for (int i = 0; i < node->operand_count; i++) {
        IrNode operand = *ir_node(func, node->operands[i]);
        operands[i] = operand.op == OP_const ? ir_const(func, ir_with_dtype(shape, operand.type.dtype), operand.value)
                                             : operand.operands[0];
    }
    small.operands = operands;
    small.type = ir_with_dtype(shape, node->type.dtype);
    return ir_broadcast(func, simplify_ref(func, ir_emit(func, small)), node->type, pattern.attr[0].items);
}

IrRef simplify_view(IrFunc *func, const IrNode *node)
{
    if (!(ir_op_info[node->op].traits & TRAIT_view))
        return before_repetition(func, node);
    if (node->op == OP_concat)
        return view_concat(func, node);
    IrRef x = node->operands[0];
    IrNode below = *ir_node(func, x);
    if (below.op == OP_const && node->op != OP_pad)
        return ir_const(func, node->type, below.value);
    switch (node->op) {
    case OP_transpose:
        return view_transpose(func, node, x, &below);
    case OP_reshape:
        return view_reshape(func, node, x, &below);
    case OP_broadcast:
        return view_broadcast(func, node, x, &below);
    case OP_slice:
        return view_slice(func, node, x, &below);
    case OP_pad:
        return view_pad(func, node, x, &below);
    case OP_reverse:
        return view_reverse(func, node, x, &below);
    default:
        return -1;
    }
}
