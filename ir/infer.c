/* Type inference: one function for each type rule named in prims.def.
 *
 * A rule sees the operands' types and the attributes and gives the result type, or the reason why there is none.  It trusts
 * nothing: attributes may come from a text, so sizes are checked against overflow before they are multiplied. */
#include "ir/infer.h"

#include <math.h>

const char *infer_type_text(Infer *in, const IrType *type)
{
    Text text = text_new(in->arena);
    ir_type_print(type, &text);
    return text.data;
}

const char *ir_check_type(const IrType *type)
{
    if ((unsigned)type->dtype >= DT_COUNT)
        return "an unknown element type";
    if (type->rank < 0 || type->rank > IR_MAX_RANK)
        return "a tensor has at most 12 axes";
    int64_t count = 1;
    for (int i = 0; i < type->rank; i++) {
        if (type->dim[i] < 0 || type->dim[i] > IR_SIZE_LIMIT)
            return "a size is negative or too large";
        if (type->dim[i] && count > IR_SIZE_LIMIT / type->dim[i])
            return "a tensor has too many elements";
        count *= type->dim[i] ? type->dim[i] : 1;
    }
    return NULL;
}

static const char *give(Infer *in, IrType type)
{
    *in->type = type;
    return ir_check_type(&type);
}

static bool is_number(DType dtype)
{
    return dtype_is_float(dtype) || dtype == DT_i32 || dtype == DT_u32;
}

static bool is_word(DType dtype)
{
    return dtype == DT_i32 || dtype == DT_u32;
}

static const char *want_equal(Infer *in, const IrType *a, const IrType *b)
{
    if (ir_type_equal(a, b))
        return NULL;
    return arena_printf(in->arena, "operands differ: %s and %s", infer_type_text(in, a), infer_type_text(in, b));
}

static const char *want_equal_operands(Infer *in)
{
    const char *reason = NULL;
    for (int i = 1; i < in->node->operand_count && !reason; i++)
        reason = want_equal(in, in->x[0], in->x[i]);
    return reason;
}

static const char *want_count(Infer *in, int attr, int count)
{
    if (in->node->attr[attr].count == count)
        return NULL;
    return arena_printf(in->arena, "`%s` has %d items where %d are needed", ir_op_info[in->node->op].attrs[attr],
                        in->node->attr[attr].count, count);
}

/* The items of an attribute are distinct axes of a tensor of `rank`. */
static const char *want_axes(Infer *in, int attr, int rank)
{
    IrInts axes = in->node->attr[attr];
    unsigned seen = 0;
    for (int i = 0; i < axes.count; i++) {
        int64_t axis = axes.items[i];
        if (axis < 0 || axis >= rank || seen >> axis & 1)
            return arena_printf(in->arena, "`%s` names an axis that is not there, or one twice",
                                ir_op_info[in->node->op].attrs[attr]);
        seen |= 1u << axis;
    }
    return NULL;
}

static const char *want_one_axis(Infer *in, int attr, int rank)
{
    const char *reason = want_count(in, attr, 1);
    return reason ? reason : want_axes(in, attr, rank);
}

/* A single number between lo and hi. */
const char *infer_want_number(Infer *in, int attr, int64_t lo, int64_t hi)
{
    const char *reason = want_count(in, attr, 1);
    if (reason)
        return reason;
    int64_t item = in->node->attr[attr].items[0];
    if (item >= lo && item <= hi)
        return NULL;
    return arena_printf(in->arena, "`%s` is %lld, outside %lld..%lld", ir_op_info[in->node->op].attrs[attr], (long long)item,
                        (long long)lo, (long long)hi);
}

static bool has_axis(IrInts axes, int axis)
{
    for (int i = 0; i < axes.count; i++) {
        if (axes.items[i] == axis)
            return true;
    }
    return false;
}

/* ---- leaves ---- */

static const char *check_const(const IrNode *node)
{
    double value = node->value;
    if (dtype_is_float(node->type.dtype))
        return NULL;
    if (!(fabs(value) <= 0x1p53) || value != trunc(value))
        return "an integer constant must be a whole number that a double holds";
    return dtype_round(node->type.dtype, value) == value ? NULL : "the constant does not fit its type";
}

static const char *infer_given(Infer *in)
{
    const char *reason = ir_check_type(&in->node->type);
    if (!reason && in->node->op == OP_const)
        reason = check_const(in->node);
    if (!reason && in->node->op == OP_literal && !in->node->data)
        reason = "a literal without data";
    if (!reason && in->node->op == OP_iota)
        reason = want_one_axis(in, 0, in->node->type.rank);
    if (!reason && in->node->op == OP_iota && in->node->type.dtype == DT_bool)
        reason = "iota counts in numbers";
    return reason ? reason : give(in, in->node->type);
}

/* ---- pointwise ---- */

static const char *infer_same(Infer *in)
{
    const char *reason = want_equal_operands(in);
    return reason ? reason : give(in, *in->x[0]);
}

static const char *infer_number(Infer *in)
{
    if (!is_number(in->x[0]->dtype))
        return arena_printf(in->arena, "no arithmetic on %s: cast first", dtype_name(in->x[0]->dtype));
    return infer_same(in);
}

static const char *infer_float(Infer *in)
{
    if (!dtype_is_float(in->x[0]->dtype))
        return arena_printf(in->arena, "needs a float, not %s", dtype_name(in->x[0]->dtype));
    return infer_same(in);
}

static const char *infer_int(Infer *in)
{
    if (!is_word(in->x[0]->dtype))
        return arena_printf(in->arena, "needs i32 or u32, not %s", dtype_name(in->x[0]->dtype));
    return infer_same(in);
}

static const char *infer_logic(Infer *in)
{
    if (in->x[0]->dtype != DT_bool && !is_word(in->x[0]->dtype))
        return arena_printf(in->arena, "needs bool, i32 or u32, not %s", dtype_name(in->x[0]->dtype));
    return infer_same(in);
}

static const char *infer_test(Infer *in)
{
    const char *reason = infer_float(in);
    in->type->dtype = DT_bool;
    return reason;
}

static const char *infer_compare(Infer *in)
{
    if (!is_number(in->x[0]->dtype) && in->x[0]->dtype != DT_bool)
        return arena_printf(in->arena, "cannot compare %s: cast first", dtype_name(in->x[0]->dtype));
    const char *reason = infer_same(in);
    in->type->dtype = DT_bool;
    return reason;
}

static const char *infer_cast(Infer *in)
{
    if ((unsigned)in->node->type.dtype >= DT_COUNT)
        return "an unknown element type";
    return give(in, ir_with_dtype(*in->x[0], in->node->type.dtype));
}

static const char *infer_select(Infer *in)
{
    if (in->x[0]->dtype != DT_bool || !ir_shape_equal(in->x[0], in->x[1]))
        return arena_printf(in->arena, "the condition is %s where a bool of the shape of %s is needed",
                            infer_type_text(in, in->x[0]), infer_type_text(in, in->x[1]));
    const char *reason = want_equal(in, in->x[1], in->x[2]);
    return reason ? reason : give(in, *in->x[1]);
}

/* ---- views ---- */

static const char *infer_broadcast(Infer *in)
{
    const IrType *x = in->x[0], *want = &in->node->type;
    const char *reason = ir_check_type(want);
    if (!reason)
        reason = want_count(in, 0, x->rank);
    if (!reason)
        reason = want_axes(in, 0, want->rank);
    if (reason)
        return reason;
    for (int i = 0; i < x->rank; i++) {
        int64_t axis = in->node->attr[0].items[i];
        if (i && axis <= in->node->attr[0].items[i - 1])
            return "`dims` must rise";
        if (want->dim[axis] != x->dim[i])
            return arena_printf(in->arena, "axis %d of %s does not fit axis %d of %s", i, infer_type_text(in, x), (int)axis,
                                infer_type_text(in, want));
    }
    return give(in, ir_with_dtype(*want, x->dtype));
}

static const char *infer_reshape(Infer *in)
{
    const char *reason = ir_check_type(&in->node->type);
    if (reason)
        return reason;
    if (ir_element_count(&in->node->type) != ir_element_count(in->x[0]))
        return arena_printf(in->arena, "%s has not the elements of %s", infer_type_text(in, &in->node->type),
                            infer_type_text(in, in->x[0]));
    return give(in, ir_with_dtype(in->node->type, in->x[0]->dtype));
}

static const char *infer_transpose(Infer *in)
{
    const IrType *x = in->x[0];
    const char *reason = want_count(in, 0, x->rank);
    if (!reason)
        reason = want_axes(in, 0, x->rank);
    if (reason)
        return reason;
    IrType type = *x;
    for (int i = 0; i < x->rank; i++)
        type.dim[i] = x->dim[in->node->attr[0].items[i]];
    return give(in, type);
}

static const char *infer_slice(Infer *in)
{
    const IrNode *node = in->node;
    IrType type = *in->x[0];
    for (int a = 0; a < 3; a++) {
        const char *reason = want_count(in, a, type.rank);
        if (reason)
            return reason;
    }
    for (int i = 0; i < type.rank; i++) {
        int64_t start = node->attr[0].items[i], stop = node->attr[1].items[i], step = node->attr[2].items[i];
        if (start < 0 || stop < start || stop > type.dim[i] || step < 1)
            return arena_printf(in->arena, "%lld..%lld step %lld is not a range of axis %d of %s", (long long)start,
                                (long long)stop, (long long)step, i, infer_type_text(in, in->x[0]));
        type.dim[i] = (stop - start) / step + ((stop - start) % step != 0);
    }
    return give(in, type);
}

static const char *infer_pad(Infer *in)
{
    const IrNode *node = in->node;
    IrType type = *in->x[0];
    for (int a = 0; a < 3; a++) {
        const char *reason = want_count(in, a, type.rank);
        if (reason)
            return reason;
    }
    for (int i = 0; i < type.rank; i++) {
        int64_t lo = node->attr[0].items[i], hi = node->attr[1].items[i], inner = node->attr[2].items[i], between;
        if (lo < -IR_SIZE_LIMIT || lo > IR_SIZE_LIMIT || hi < -IR_SIZE_LIMIT || hi > IR_SIZE_LIMIT || inner < 0 ||
            inner > IR_SIZE_LIMIT)
            return "padding is too large, or negative between elements";
        if (__builtin_mul_overflow(inner, type.dim[i] > 0 ? type.dim[i] - 1 : 0, &between) || between > IR_SIZE_LIMIT)
            return "padding is too large";
        if (lo + hi + type.dim[i] + between < 0)
            return "padding crops more than there is";
        type.dim[i] += lo + hi + between;
    }
    return give(in, type);
}

static const char *infer_reverse(Infer *in)
{
    const char *reason = want_axes(in, 0, in->x[0]->rank);
    return reason ? reason : give(in, *in->x[0]);
}

static const char *infer_concat(Infer *in)
{
    if (in->node->operand_count < 1)
        return "nothing to concatenate";
    const char *reason = want_one_axis(in, 0, in->x[0]->rank);
    if (reason)
        return reason;
    int64_t axis = in->node->attr[0].items[0];
    IrType type = *in->x[0];
    for (int i = 1; i < in->node->operand_count; i++) {
        const IrType *part = ir_type_of(in->func, in->node->operands[i]);
        IrType fitted = *part;
        if (part->rank == type.rank)
            fitted.dim[axis] = type.dim[axis];
        reason = want_equal(in, &type, &fitted);
        if (reason)
            return reason;
        type.dim[axis] += part->dim[axis];
        if (type.dim[axis] > IR_SIZE_LIMIT)
            return "a size is too large";
    }
    return give(in, type);
}

/* ---- reductions ---- */

static IrType without_axes(const IrType *x, IrInts axes)
{
    IrType type = {.dtype = x->dtype};
    for (int i = 0; i < x->rank; i++) {
        if (!has_axis(axes, i))
            type.dim[type.rank++] = x->dim[i];
    }
    return type;
}

static const char *infer_reduce(Infer *in)
{
    if (!is_number(in->x[0]->dtype))
        return arena_printf(in->arena, "cannot reduce %s: cast first", dtype_name(in->x[0]->dtype));
    const char *reason = want_axes(in, 0, in->x[0]->rank);
    return reason ? reason : give(in, without_axes(in->x[0], in->node->attr[0]));
}

static const char *infer_argmax(Infer *in)
{
    if (!is_number(in->x[0]->dtype))
        return arena_printf(in->arena, "cannot compare %s: cast first", dtype_name(in->x[0]->dtype));
    const char *reason = want_one_axis(in, 0, in->x[0]->rank);
    if (!reason && !in->x[0]->dim[in->node->attr[0].items[0]])
        reason = "the axis has no elements";
    return reason ? reason : give(in, ir_with_dtype(without_axes(in->x[0], in->node->attr[0]), DT_i32));
}

static const char *infer_cumsum(Infer *in)
{
    const char *reason = want_one_axis(in, 0, in->x[0]->rank);
    return reason ? reason : infer_number(in);
}

/* ---- contractions ---- */

/* Pairs of axes of equal size, `left` of the first operand and `right` of the second. */
static const char *want_pairs(Infer *in, int left, int right)
{
    IrInts a = in->node->attr[left], b = in->node->attr[right];
    const char *reason = want_axes(in, left, in->x[0]->rank);
    if (!reason)
        reason = want_axes(in, right, in->x[1]->rank);
    if (!reason)
        reason = want_count(in, right, a.count);
    for (int i = 0; i < a.count && !reason; i++) {
        if (in->x[0]->dim[a.items[i]] != in->x[1]->dim[b.items[i]])
            reason = arena_printf(in->arena, "axis %d of %s meets axis %d of %s", (int)a.items[i],
                                  infer_type_text(in, in->x[0]), (int)b.items[i], infer_type_text(in, in->x[1]));
    }
    return reason;
}

static const char *add_free_axes(Infer *in, IrType *type, const IrType *x, IrInts batch, IrInts sum)
{
    (void)in;
    for (int i = 0; i < x->rank; i++) {
        if (has_axis(batch, i) || has_axis(sum, i))
            continue;
        if (type->rank == IR_MAX_RANK)
            return "the result has too many axes";
        type->dim[type->rank++] = x->dim[i];
    }
    return NULL;
}

static const char *infer_dot(Infer *in)
{
    const IrInts *attr = in->node->attr;
    const char *reason = want_pairs(in, 0, 1);
    if (!reason)
        reason = want_pairs(in, 2, 3);
    if (!reason && (in->x[0]->dtype != in->x[1]->dtype || !is_number(in->x[0]->dtype)))
        reason =
            arena_printf(in->arena, "cannot contract %s with %s", dtype_name(in->x[0]->dtype), dtype_name(in->x[1]->dtype));
    for (int i = 0; i < attr[0].count && !reason; i++) {
        if (has_axis(attr[2], (int)attr[0].items[i]) || has_axis(attr[3], (int)attr[1].items[i]))
            reason = "an axis is both batched and summed";
    }
    if (reason)
        return reason;
    IrType type = {.dtype = in->x[0]->dtype};
    for (int i = 0; i < attr[0].count; i++)
        type.dim[type.rank++] = in->x[0]->dim[attr[0].items[i]];
    reason = add_free_axes(in, &type, in->x[0], attr[0], attr[2]);
    if (!reason)
        reason = add_free_axes(in, &type, in->x[1], attr[1], attr[3]);
    return reason ? reason : give(in, type);
}

/* How many places a window of `taps` has on `size`, or -1 if it does not fit. */
static int64_t window_places(int64_t size, int64_t taps, int64_t stride, int64_t dilation)
{
    int64_t reach;
    if (taps < 1 || stride < 1 || dilation < 1 || __builtin_mul_overflow(dilation, taps - 1, &reach) || reach >= size)
        return -1;
    return (size - reach - 1) / stride + 1;
}

static const char *infer_conv(Infer *in)
{
    const IrType *x = in->x[0], *w = in->x[1];
    if (x->dtype != w->dtype || !dtype_is_float(x->dtype))
        return arena_printf(in->arena, "cannot convolve %s with %s", dtype_name(x->dtype), dtype_name(w->dtype));
    if (x->rank < 2 || w->rank != x->rank || x->dim[x->rank - 1] != w->dim[w->rank - 2])
        return arena_printf(in->arena, "%s does not fit weights %s", infer_type_text(in, x), infer_type_text(in, w));
    int spatial = x->rank - 2;
    const char *reason = want_count(in, 0, spatial);
    if (!reason)
        reason = want_count(in, 1, spatial);
    if (reason)
        return reason;
    IrType type = *x;
    type.dim[x->rank - 1] = w->dim[w->rank - 1];
    for (int i = 0; i < spatial; i++) {
        type.dim[i + 1] = window_places(x->dim[i + 1], w->dim[i], in->node->attr[0].items[i], in->node->attr[1].items[i]);
        if (type.dim[i + 1] < 0)
            return arena_printf(in->arena, "weights %s do not fit in %s", infer_type_text(in, w), infer_type_text(in, x));
    }
    return give(in, type);
}

/* ---- reads and writes at computed places ---- */

static const char *type_of_take(Infer *in, IrType *type)
{
    const IrType *x = in->x[0], *index = in->x[1];
    if (!is_word(index->dtype))
        return arena_printf(in->arena, "an index is i32 or u32, not %s", dtype_name(index->dtype));
    const char *reason = want_one_axis(in, 0, x->rank);
    if (!reason)
        reason = infer_want_number(in, 1, 0, in->node->attr[0].items[0]);
    if (reason)
        return reason;
    int axis = (int)in->node->attr[0].items[0], batch = (int)in->node->attr[1].items[0];
    if (index->rank < batch || x->rank - 1 + index->rank - batch > IR_MAX_RANK)
        return "the index has too few or too many axes";
    for (int i = 0; i < batch; i++) {
        if (x->dim[i] != index->dim[i])
            return arena_printf(in->arena, "batch axis %d of %s and %s", i, infer_type_text(in, x), infer_type_text(in, index));
    }
    *type = (IrType){.dtype = x->dtype};
    for (int i = 0; i < axis; i++)
        type->dim[type->rank++] = x->dim[i];
    for (int i = batch; i < index->rank; i++)
        type->dim[type->rank++] = index->dim[i];
    for (int i = axis + 1; i < x->rank; i++)
        type->dim[type->rank++] = x->dim[i];
    return NULL;
}

static const char *infer_take(Infer *in)
{
    IrType type;
    const char *reason = type_of_take(in, &type);
    return reason ? reason : give(in, type);
}

static const char *infer_put_add(Infer *in)
{
    IrType type;
    if (!is_number(in->x[0]->dtype))
        return arena_printf(in->arena, "cannot add to %s: cast first", dtype_name(in->x[0]->dtype));
    const char *reason = type_of_take(in, &type);
    if (!reason)
        reason = want_equal(in, &type, in->x[2]);
    return reason ? reason : give(in, *in->x[0]);
}

/* ---- chance ---- */

static bool is_key(const IrType *type)
{
    return type->dtype == DT_u32 && type->rank == 1 && type->dim[0] == 2;
}

static const char *infer_random_bits(Infer *in)
{
    const char *reason = is_key(in->x[0]) ? infer_want_number(in, 0, 0, 3) : "a key is u32[2]";
    return reason ? reason : give(in, ir_with_dtype(in->node->type, DT_u32));
}

static const char *infer_random_at(Infer *in)
{
    const char *reason = is_key(in->x[0]) ? infer_want_number(in, 0, 0, 3) : "a key is u32[2]";
    if (!reason && in->x[1]->dtype != DT_u32)
        reason = "counters are u32";
    return reason ? reason : give(in, *in->x[1]);
}

static const char *infer_fold_in(Infer *in)
{
    if (!is_key(in->x[0]))
        return "a key is u32[2]";
    if (in->x[1]->rank || !is_word(in->x[1]->dtype))
        return "what is folded into a key is one i32 or u32";
    return give(in, *in->x[0]);
}

/* ---- control (the rest is in infer_control.c) ---- */

static const char *infer_get(Infer *in)
{
    const IrNode *from = ir_node(in->func, in->node->operands[0]);
    if (!(ir_op_info[from->op].traits & TRAIT_control))
        return "get reads the results of a control node";
    const char *reason = infer_want_number(in, 0, 0, ir_result_count(from) - 1);
    return reason ? reason : give(in, ir_result_type(from, (int)in->node->attr[0].items[0]));
}

/* ---- the rules ---- */

static const char *(*const rule_of[OP_COUNT])(Infer *) = {
#define OP(name, arity, rule, traits) [OP_##name] = infer_##rule,
#include "ir/prims.def"
};

int ir_callee_count(IrOp op)
{
    if (!(ir_op_info[op].traits & TRAIT_control))
        return 0;
    return op == OP_while || op == OP_if || op == OP_custom ? 2 : 1;
}

/* What holds for every primitive alike. */
static const char *check_form(Arena *arena, const IrFunc *func, const IrNode *node)
{
    const IrOpInfo *info = &ir_op_info[node->op];
    if (info->arity >= 0 ? node->operand_count != info->arity : node->operand_count < 0)
        return arena_printf(arena, "takes %d operands, not %d", info->arity, node->operand_count);
    for (int i = 0; i < node->operand_count; i++) {
        IrRef ref = node->operands[i];
        if (ref < 0 || ref >= func->nodes.count)
            return "an operand is not there";
        if (node->op != OP_get && ir_op_info[ir_node(func, ref)->op].traits & TRAIT_control)
            return "the results of a control node are read by get";
    }
    for (int i = 0; i < IR_MAX_ATTRS; i++) {
        if (!info->attrs[i] && node->attr[i].count)
            return "an attribute that it does not have";
    }
    for (int i = 0; i < 2; i++) {
        if ((i < ir_callee_count(node->op)) != (node->callee[i] != NULL))
            return "a callee is missing or too many";
    }
    return NULL;
}

const char *ir_infer(Arena *arena, const IrFunc *func, const IrNode *node, IrType *type)
{
    if ((unsigned)node->op >= OP_COUNT)
        return "an unknown primitive";
    const char *reason = check_form(arena, func, node);
    if (reason)
        return reason;
    Infer in = {.arena = arena, .func = func, .node = node, .type = type};
    for (int i = 0; i < node->operand_count && i < 3; i++)
        in.x[i] = ir_type_of(func, node->operands[i]);
    *type = node->type;
    return rule_of[node->op](&in);
}
