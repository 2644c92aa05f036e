/* Type inference: one function for each type rule named in prims.def.
 *
 * A rule sees the operands' types and the attributes and gives the result type, or the reason why there is none.  It trusts
 * nothing: attributes may come from a text, so sizes are checked against overflow before they are multiplied. */
#include "ir/infer.h"

#include <math.h>

static const int64_t SIZE_LIMIT = (int64_t)1 << 48;

typedef struct Infer {
    Arena *arena;
    const IrFunc *func;
    const IrNode *node;
    const IrType *x[3]; /* types of the first operands */
    IrType *type;
} Infer;

static const char *type_text(Infer *in, const IrType *type)
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
        if (type->dim[i] < 0 || type->dim[i] > SIZE_LIMIT)
            return "a size is negative or too large";
        if (type->dim[i] && count > SIZE_LIMIT / type->dim[i])
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
    return arena_printf(in->arena, "operands differ: %s and %s", type_text(in, a), type_text(in, b));
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
static const char *want_number(Infer *in, int attr, int64_t lo, int64_t hi)
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
        return arena_printf(in->arena, "the condition is %s where a bool of the shape of %s is needed", type_text(in, in->x[0]),
                            type_text(in, in->x[1]));
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
            return arena_printf(in->arena, "axis %d of %s does not fit axis %d of %s", i, type_text(in, x), (int)axis,
                                type_text(in, want));
    }
    return give(in, ir_with_dtype(*want, x->dtype));
}

static const char *infer_reshape(Infer *in)
{
    const char *reason = ir_check_type(&in->node->type);
    if (reason)
        return reason;
    if (ir_element_count(&in->node->type) != ir_element_count(in->x[0]))
        return arena_printf(in->arena, "%s has not the elements of %s", type_text(in, &in->node->type),
                            type_text(in, in->x[0]));
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
                                (long long)stop, (long long)step, i, type_text(in, in->x[0]));
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
        if (lo < -SIZE_LIMIT || lo > SIZE_LIMIT || hi < -SIZE_LIMIT || hi > SIZE_LIMIT || inner < 0 || inner > SIZE_LIMIT)
            return "padding is too large, or negative between elements";
        if (__builtin_mul_overflow(inner, type.dim[i] > 0 ? type.dim[i] - 1 : 0, &between) || between > SIZE_LIMIT)
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
        if (type.dim[axis] > SIZE_LIMIT)
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
            reason = arena_printf(in->arena, "axis %d of %s meets axis %d of %s", (int)a.items[i], type_text(in, in->x[0]),
                                  (int)b.items[i], type_text(in, in->x[1]));
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
        return arena_printf(in->arena, "%s does not fit weights %s", type_text(in, x), type_text(in, w));
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
            return arena_printf(in->arena, "weights %s do not fit in %s", type_text(in, w), type_text(in, x));
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
        reason = want_number(in, 1, 0, in->node->attr[0].items[0]);
    if (reason)
        return reason;
    int axis = (int)in->node->attr[0].items[0], batch = (int)in->node->attr[1].items[0];
    if (index->rank < batch || x->rank - 1 + index->rank - batch > IR_MAX_RANK)
        return "the index has too few or too many axes";
    for (int i = 0; i < batch; i++) {
        if (x->dim[i] != index->dim[i])
            return arena_printf(in->arena, "batch axis %d of %s and %s", i, type_text(in, x), type_text(in, index));
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
    const char *reason = is_key(in->x[0]) ? want_number(in, 0, 0, 3) : "a key is u32[2]";
    return reason ? reason : give(in, ir_with_dtype(in->node->type, DT_u32));
}

static const char *infer_fold_in(Infer *in)
{
    if (!is_key(in->x[0]))
        return "a key is u32[2]";
    if (in->x[1]->rank || !is_word(in->x[1]->dtype))
        return "what is folded into a key is one i32 or u32";
    return give(in, *in->x[0]);
}

/* ---- control ---- */

static const IrType *operand_type(Infer *in, int index)
{
    return ir_type_of(in->func, in->node->operands[index]);
}

static const char *want_type(Infer *in, const char *what, int index, const IrType *have, const IrType *want)
{
    if (ir_type_equal(have, want))
        return NULL;
    return arena_printf(in->arena, "%s %d is %s where %s is needed", what, index, type_text(in, have), type_text(in, want));
}

/* The params of `callee` from `param` on are the operands from `operand` on, to the end of both. */
static const char *want_params(Infer *in, const IrFunc *callee, int param, int operand)
{
    const IrNode *node = in->node;
    if (callee->params.count - param != node->operand_count - operand)
        return arena_printf(in->arena, "@%s takes %d operands, not %d", callee->name, callee->params.count,
                            node->operand_count - operand + param);
    const char *reason = NULL;
    for (int i = 0; param + i < callee->params.count && !reason; i++)
        reason = want_type(in, "operand", operand + i, operand_type(in, operand + i),
                           ir_type_of(callee, callee->params.items[param + i]));
    return reason;
}

/* The first `count` results of `callee` have the types of the operands from `operand` on. */
static const char *want_carries(Infer *in, const IrFunc *callee, int operand, int count)
{
    if (callee->results.count < count)
        return arena_printf(in->arena, "@%s has too few results", callee->name);
    const char *reason = NULL;
    for (int i = 0; i < count && !reason; i++)
        reason = want_type(in, "carry", i, ir_type_of(callee, callee->results.items[i]), operand_type(in, operand + i));
    return reason;
}

static const char *want_scalar(Infer *in, const char *what, const IrType *have, DType dtype)
{
    if (!have->rank && have->dtype == dtype)
        return NULL;
    return arena_printf(in->arena, "the %s is %s where %s is needed", what, type_text(in, have), dtype_name(dtype));
}

static const char *check_for(Infer *in)
{
    const IrNode *node = in->node;
    const IrFunc *body = node->callee[0];
    const char *reason = want_number(in, 0, 0, SIZE_LIMIT);
    if (!reason)
        reason = node->operand_count < 1 ? "no trip count" : want_number(in, 1, 0, node->operand_count - 1);
    if (!reason)
        reason = want_scalar(in, "trip count", operand_type(in, 0), DT_i32);
    if (!reason)
        reason = body->params.count < 1 ? "the body takes no turn number"
                                        : want_scalar(in, "turn number", ir_type_of(body, body->params.items[0]), DT_i32);
    if (!reason)
        reason = want_params(in, body, 1, 1);
    if (!reason)
        reason = want_carries(in, body, 1, (int)node->attr[1].items[0]);
    for (int i = 0; !reason && i < body->results.count; i++) {
        if (ir_type_of(body, body->results.items[i])->rank == IR_MAX_RANK && i >= node->attr[1].items[0])
            reason = "a row has too many axes to be stacked";
    }
    for (int i = 0; !reason && i < body->results.count; i++) {
        IrType type = ir_result_type(node, i);
        reason = ir_check_type(&type);
    }
    return reason;
}

static const char *check_while(Infer *in)
{
    const IrNode *node = in->node;
    const IrFunc *condition = node->callee[0], *body = node->callee[1];
    const char *reason = want_number(in, 0, 0, SIZE_LIMIT);
    if (!reason)
        reason = want_number(in, 1, 0, node->operand_count);
    if (!reason)
        reason = want_params(in, condition, 0, 0);
    if (!reason)
        reason = want_params(in, body, 0, 0);
    if (!reason && condition->results.count != 1)
        reason = "a condition has one result";
    if (!reason)
        reason = want_scalar(in, "condition", ir_type_of(condition, condition->results.items[0]), DT_bool);
    if (!reason && body->results.count != node->attr[1].items[0])
        reason = "the body's results are not the carries";
    return reason ? reason : want_carries(in, body, 0, (int)node->attr[1].items[0]);
}

static const char *check_if(Infer *in)
{
    const IrFunc *yes = in->node->callee[0], *no = in->node->callee[1];
    const char *reason =
        in->node->operand_count < 1 ? "no condition" : want_scalar(in, "condition", operand_type(in, 0), DT_bool);
    if (!reason)
        reason = want_params(in, yes, 0, 1);
    if (!reason)
        reason = want_params(in, no, 0, 1);
    if (!reason && yes->results.count != no->results.count)
        reason = "the branches differ in their results";
    for (int i = 0; !reason && i < yes->results.count; i++)
        reason = want_type(in, "result", i, ir_type_of(no, no->results.items[i]), ir_type_of(yes, yes->results.items[i]));
    return reason;
}

/* Appends the float ones of `refs` to a list of types that has `count` places left. */
static int float_types(const IrFunc *func, const IrRef *refs, int count, const IrType **out)
{
    int found = 0;
    for (int i = 0; i < count; i++) {
        if (dtype_is_float(ir_type_of(func, refs[i])->dtype))
            out[found++] = ir_type_of(func, refs[i]);
    }
    return found;
}

static const char *want_signature(Infer *in, const IrFunc *func, const IrRef *refs, int count, const IrType *const *want,
                                  int want_count_, const char *what)
{
    if (count != want_count_)
        return arena_printf(in->arena, "@%s has %d %ss where %d are needed", func->name, count, what, want_count_);
    const char *reason = NULL;
    for (int i = 0; i < count && !reason; i++)
        reason = want_type(in, what, i, ir_type_of(func, refs[i]), want[i]);
    return reason;
}

static const char *check_custom(Infer *in)
{
    const IrFunc *func = in->node->callee[0], *rule = in->node->callee[1];
    int params = func->params.count;
    const IrType **types = arena_array(in->arena, const IrType *, 2 * params + func->results.count + 1);
    for (int i = 0; i < params; i++)
        types[i] = ir_type_of(func, func->params.items[i]);
    int count = params + float_types(func, func->params.items, params, types + params);
    const char *reason = want_params(in, func, 0, 0);
    if (!reason)
        reason = want_signature(in, rule, rule->params.items, rule->params.count, types, count, "param");
    if (reason)
        return reason;
    count = float_types(func, func->results.items, func->results.count, types);
    return want_signature(in, rule, rule->results.items, rule->results.count, types, count, "result");
}

/* The items of an attribute are rising indexes of float values of the callee: tangents of integers do not exist. */
static const char *want_floats(Infer *in, int attr, const IrFunc *callee, const IrRef *refs, int count)
{
    IrInts items = in->node->attr[attr];
    for (int i = 0; i < items.count; i++) {
        int64_t at = items.items[i];
        if (at < 0 || at >= count || (i && at <= items.items[i - 1]))
            return arena_printf(in->arena, "`%s` must rise and name what @%s has", ir_op_info[in->node->op].attrs[attr],
                                callee->name);
        if (!dtype_is_float(ir_type_of(callee, refs[at])->dtype))
            return arena_printf(in->arena, "`%s` names something that is not a float", ir_op_info[in->node->op].attrs[attr]);
    }
    return NULL;
}

static const char *check_calculus(Infer *in)
{
    const IrNode *node = in->node;
    const IrFunc *callee = node->callee[0];
    int attr = node->op == OP_jvp ? 0 : 1, params = callee->params.count;
    const char *reason = want_floats(in, 0, callee, callee->params.items, params);
    if (!reason && node->op == OP_vjp)
        reason = want_floats(in, 1, callee, callee->results.items, callee->results.count);
    if (reason)
        return reason;
    const IrRef *seeded = node->op == OP_jvp ? callee->params.items : callee->results.items;
    if (node->operand_count != params + node->attr[attr].count)
        return arena_printf(in->arena, "@%s takes %d operands here, not %d", callee->name, params + node->attr[attr].count,
                            node->operand_count);
    for (int i = 0; i < node->operand_count && !reason; i++) {
        IrRef ref = i < params ? callee->params.items[i] : seeded[node->attr[attr].items[i - params]];
        reason = want_type(in, "operand", i, operand_type(in, i), ir_type_of(callee, ref));
    }
    return reason;
}

static const char *infer_control(Infer *in)
{
    *in->type = ir_scalar(DT_f32);
    switch (in->node->op) {
    case OP_call:
        return want_params(in, in->node->callee[0], 0, 0);
    case OP_for:
        return check_for(in);
    case OP_while:
        return check_while(in);
    case OP_if:
        return check_if(in);
    case OP_custom:
        return check_custom(in);
    default:
        return check_calculus(in);
    }
}

static const char *infer_get(Infer *in)
{
    const IrNode *from = ir_node(in->func, in->node->operands[0]);
    if (!(ir_op_info[from->op].traits & TRAIT_control))
        return "get reads the results of a control node";
    const char *reason = want_number(in, 0, 0, ir_result_count(from) - 1);
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
