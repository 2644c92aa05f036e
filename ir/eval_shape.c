/* The reference interpreter's tensors that move, reduce, contract and index: one plain loop for each primitive. */
#include "ir/eval.h"

#include <math.h>

EvalElement eval_load(const EvalTensor *tensor, int64_t at)
{
    if (tensor->integer)
        return (EvalElement){.integer = tensor->integer[at]};
    return (EvalElement){.real = tensor->real[at]};
}

void eval_store(EvalTensor *tensor, int64_t at, EvalElement value)
{
    if (tensor->integer)
        tensor->integer[at] = value.integer;
    else
        tensor->real[at] = value.real;
}

/* ---- places ---- */

static void strides_of(const IrType *type, int64_t *stride)
{
    int64_t step = 1;
    for (int i = type->rank - 1; i >= 0; i--) {
        stride[i] = step;
        step *= type->dim[i];
    }
}

/* The coordinates of the element at `at` in row-major order. */
static void place_of(const IrType *type, int64_t at, int64_t *place)
{
    for (int i = type->rank - 1; i >= 0; i--) {
        place[i] = at % type->dim[i];
        at /= type->dim[i];
    }
}

static int64_t offset_of(const IrType *type, const int64_t *place)
{
    int64_t at = 0;
    for (int i = 0; i < type->rank; i++)
        at = at * type->dim[i] + place[i];
    return at;
}

static bool has_axis(IrInts axes, int axis)
{
    for (int i = 0; i < axes.count; i++) {
        if (axes.items[i] == axis)
            return true;
    }
    return false;
}

/* ---- views ---- */

/* The coordinates in the operand of what a view shows at `place`; false where it shows padding. */
static bool source_of(const IrNode *node, const IrType *x, const int64_t *place, int64_t *from)
{
    const IrInts *attr = node->attr;
    if (node->op == OP_transpose) {
        for (int i = 0; i < x->rank; i++)
            from[attr[0].items[i]] = place[i];
        return true;
    }
    for (int i = 0; i < x->rank; i++) {
        if (node->op == OP_broadcast) {
            from[i] = place[attr[0].items[i]];
        } else if (node->op == OP_slice) {
            from[i] = attr[0].items[i] + place[i] * attr[2].items[i];
        } else if (node->op == OP_reverse) {
            from[i] = has_axis(attr[0], i) ? x->dim[i] - 1 - place[i] : place[i];
        } else { /* pad */
            int64_t at = place[i] - attr[0].items[i], step = attr[2].items[i] + 1;
            from[i] = at / step;
            if (at < 0 || at % step || from[i] >= x->dim[i])
                return false;
        }
    }
    return true;
}

static void eval_view(const IrNode *node, const EvalTensor *x, EvalTensor *out)
{
    int64_t count = ir_element_count(&out->type), place[IR_MAX_RANK], from[IR_MAX_RANK];
    for (int64_t at = 0; at < count; at++) {
        place_of(&out->type, at, place);
        if (node->op == OP_reshape)
            eval_store(out, at, eval_load(x, at));
        else if (source_of(node, &x->type, place, from))
            eval_store(out, at, eval_load(x, offset_of(&x->type, from)));
    }
}

static void eval_concat(const IrNode *node, const EvalTensor *const *x, EvalTensor *out)
{
    int64_t axis = node->attr[0].items[0], start = 0, place[IR_MAX_RANK];
    for (int part = 0; part < node->operand_count; part++) {
        int64_t count = ir_element_count(&x[part]->type);
        for (int64_t at = 0; at < count; at++) {
            place_of(&x[part]->type, at, place);
            place[axis] += start;
            eval_store(out, offset_of(&out->type, place), eval_load(x[part], at));
        }
        start += x[part]->type.dim[axis];
    }
}

static void eval_iota(const IrNode *node, EvalTensor *out, EvalMode mode)
{
    int64_t count = ir_element_count(&out->type), place[IR_MAX_RANK];
    for (int64_t at = 0; at < count; at++) {
        place_of(&out->type, at, place);
        EvalElement number = {.integer = place[node->attr[0].items[0]]};
        eval_store(out, at, eval_convert(DT_i64, out->type.dtype, number, mode));
    }
}

/* ---- reductions ---- */

/* What a fold over nothing gives. */
static EvalElement neutral(IrOp op, DType dtype)
{
    switch (op) {
    case OP_prod:
        return (EvalElement){1, 1};
    case OP_reduce_max:
        return (EvalElement){-INFINITY, dtype == DT_i32 ? INT32_MIN : 0};
    case OP_reduce_min:
        return (EvalElement){INFINITY, dtype == DT_i32 ? INT32_MAX : UINT32_MAX};
    default:
        return (EvalElement){0, 0};
    }
}

static IrOp combine_of(IrOp op)
{
    return op == OP_prod ? OP_mul : op == OP_reduce_max ? OP_max : op == OP_reduce_min ? OP_min : OP_add;
}

/* Rounds every element of a float result, which was folded in double; integers have wrapped as they went. */
static void finish_all(EvalTensor *out, EvalMode mode)
{
    int64_t count = ir_element_count(&out->type);
    for (int64_t at = 0; out->real && at < count; at++)
        out->real[at] = eval_convert(DT_f64, out->type.dtype, (EvalElement){.real = out->real[at]}, mode).real;
}

static EvalElement fold(IrOp combine, DType dtype, EvalElement a, EvalElement b)
{
    if (dtype_class(dtype) == CLASS_int)
        return (EvalElement){.integer = eval_wrap(dtype, eval_integer(combine, a.integer, b.integer, 0))};
    return (EvalElement){.real = eval_real(combine, a.real, b.real, 0)};
}

static void eval_reduce(const IrNode *node, const EvalTensor *x, EvalTensor *out, EvalMode mode)
{
    int64_t count = ir_element_count(&x->type), out_count = ir_element_count(&out->type);
    int64_t place[IR_MAX_RANK], kept[IR_MAX_RANK];
    for (int64_t at = 0; at < out_count; at++)
        eval_store(out, at, neutral(node->op, out->type.dtype));
    for (int64_t at = 0; at < count; at++) {
        place_of(&x->type, at, place);
        int rank = 0;
        for (int i = 0; i < x->type.rank; i++) {
            if (!has_axis(node->attr[0], i))
                kept[rank++] = place[i];
        }
        int64_t to = offset_of(&out->type, kept);
        eval_store(out, to, fold(combine_of(node->op), x->type.dtype, eval_load(out, to), eval_load(x, at)));
    }
    finish_all(out, mode);
}

/* Calls for each line of x along `axis`: the offset of its first element; elements follow by the axis's stride. */
static int64_t line_start(const IrType *type, int64_t axis, int64_t line, const int64_t *stride)
{
    int64_t inner = stride[axis];
    return line / inner * inner * type->dim[axis] + line % inner;
}

static void eval_argmax(const IrNode *node, const EvalTensor *x, EvalTensor *out)
{
    int64_t axis = node->attr[0].items[0], stride[IR_MAX_RANK], lines = ir_element_count(&out->type);
    strides_of(&x->type, stride);
    for (int64_t line = 0; line < lines; line++) {
        int64_t start = line_start(&x->type, axis, line, stride), best = 0;
        for (int64_t i = 1; i < x->type.dim[axis]; i++) {
            EvalElement here = eval_load(x, start + i * stride[axis]), most = eval_load(x, start + best * stride[axis]);
            if (x->integer ? here.integer > most.integer : here.real > most.real)
                best = i;
        }
        out->integer[line] = best;
    }
}

static void eval_cumsum(const IrNode *node, const EvalTensor *x, EvalTensor *out, EvalMode mode)
{
    int64_t axis = node->attr[0].items[0], size = x->type.dim[axis], stride[IR_MAX_RANK];
    int64_t lines = size ? ir_element_count(&x->type) / size : 0;
    strides_of(&x->type, stride);
    for (int64_t line = 0; line < lines; line++) {
        int64_t start = line_start(&x->type, axis, line, stride);
        EvalElement sum = {0, 0};
        for (int64_t i = 0; i < size; i++) {
            sum = fold(OP_add, x->type.dtype, sum, eval_load(x, start + i * stride[axis]));
            eval_store(out, start + i * stride[axis], sum);
        }
    }
    finish_all(out, mode);
}

/* ---- contractions ---- */

/* A nest of loops with a stride for each of two operands. */
typedef struct Nest {
    int rank;
    int64_t dim[2 * IR_MAX_RANK], a[2 * IR_MAX_RANK], b[2 * IR_MAX_RANK];
} Nest;

static void nest_push(Nest *nest, int64_t dim, int64_t a, int64_t b)
{
    nest->dim[nest->rank] = dim;
    nest->a[nest->rank] = a;
    nest->b[nest->rank++] = b;
}

static int64_t nest_count(const Nest *nest)
{
    int64_t count = 1;
    for (int i = 0; i < nest->rank; i++)
        count *= nest->dim[i];
    return count;
}

static void nest_offsets(const Nest *nest, int64_t at, int64_t *a, int64_t *b)
{
    for (int i = nest->rank - 1; i >= 0; i--) {
        int64_t place = at % nest->dim[i];
        at /= nest->dim[i];
        *a += place * nest->a[i];
        *b += place * nest->b[i];
    }
}

/* out[i] = sum over the inner nest of x * y, at the offsets of both nests. */
static void contract(const Nest *outer, const Nest *inner, const EvalTensor *x, const EvalTensor *y, EvalTensor *out)
{
    int64_t places = nest_count(outer), terms = nest_count(inner);
    for (int64_t i = 0; i < places; i++) {
        int64_t a0 = 0, b0 = 0;
        double real = 0;
        uint64_t integer = 0;
        nest_offsets(outer, i, &a0, &b0);
        for (int64_t k = 0; k < terms; k++) {
            int64_t a = a0, b = b0;
            nest_offsets(inner, k, &a, &b);
            if (out->integer)
                integer += (uint64_t)x->integer[a] * (uint64_t)y->integer[b];
            else
                real += x->real[a] * y->real[b];
        }
        eval_store(out, i, (EvalElement){real, eval_wrap(out->type.dtype, (int64_t)integer)});
    }
}

static void eval_dot(const IrNode *node, const EvalTensor *x, const EvalTensor *y, EvalTensor *out, EvalMode mode)
{
    const IrInts *attr = node->attr;
    int64_t a[IR_MAX_RANK], b[IR_MAX_RANK];
    Nest outer = {.rank = 0}, inner = {.rank = 0};
    strides_of(&x->type, a);
    strides_of(&y->type, b);
    for (int i = 0; i < attr[0].count; i++)
        nest_push(&outer, x->type.dim[attr[0].items[i]], a[attr[0].items[i]], b[attr[1].items[i]]);
    for (int i = 0; i < x->type.rank; i++) {
        if (!has_axis(attr[0], i) && !has_axis(attr[2], i))
            nest_push(&outer, x->type.dim[i], a[i], 0);
    }
    for (int i = 0; i < y->type.rank; i++) {
        if (!has_axis(attr[1], i) && !has_axis(attr[3], i))
            nest_push(&outer, y->type.dim[i], 0, b[i]);
    }
    for (int i = 0; i < attr[2].count; i++)
        nest_push(&inner, x->type.dim[attr[2].items[i]], a[attr[2].items[i]], b[attr[3].items[i]]);
    contract(&outer, &inner, x, y, out);
    finish_all(out, mode);
}

static void eval_conv(const IrNode *node, const EvalTensor *x, const EvalTensor *w, EvalTensor *out, EvalMode mode)
{
    int last = x->type.rank - 1;
    int64_t a[IR_MAX_RANK], b[IR_MAX_RANK];
    Nest outer = {.rank = 0}, inner = {.rank = 0};
    strides_of(&x->type, a);
    strides_of(&w->type, b);
    nest_push(&outer, x->type.dim[0], a[0], 0);
    for (int i = 1; i < last; i++) {
        nest_push(&outer, out->type.dim[i], a[i] * node->attr[0].items[i - 1], 0);
        nest_push(&inner, w->type.dim[i - 1], a[i] * node->attr[1].items[i - 1], b[i - 1]);
    }
    nest_push(&outer, w->type.dim[last], 0, b[last]);
    nest_push(&inner, x->type.dim[last], a[last], b[last - 1]);
    contract(&outer, &inner, x, w, out);
    finish_all(out, mode);
}

/* ---- reads and writes at computed places ---- */

/* The offset in x that element `at` of the taken tensor comes from; -1 if the index is outside. */
static int64_t taken_from(const IrNode *node, const IrType *x, const EvalTensor *index, const IrType *taken, int64_t at)
{
    int axis = (int)node->attr[0].items[0], batch = (int)node->attr[1].items[0], own = index->type.rank - batch;
    int64_t place[IR_MAX_RANK], from[IR_MAX_RANK], which[IR_MAX_RANK];
    place_of(taken, at, place);
    for (int i = 0; i < axis; i++)
        from[i] = place[i];
    for (int i = 0; i < batch; i++)
        which[i] = place[i];
    for (int i = 0; i < own; i++)
        which[batch + i] = place[axis + i];
    for (int i = axis + 1; i < x->rank; i++)
        from[i] = place[i + own - 1];
    from[axis] = index->integer[offset_of(&index->type, which)];
    return from[axis] < 0 || from[axis] >= x->dim[axis] ? -1 : offset_of(x, from);
}

static void eval_take(const IrNode *node, const EvalTensor *x, const EvalTensor *index, EvalTensor *out)
{
    int64_t count = ir_element_count(&out->type);
    for (int64_t at = 0; at < count; at++) {
        int64_t from = taken_from(node, &x->type, index, &out->type, at);
        if (from >= 0)
            eval_store(out, at, eval_load(x, from));
    }
}

static void eval_put_add(const IrNode *node, const EvalTensor *const *x, EvalTensor *out, EvalMode mode)
{
    int64_t count = ir_element_count(&out->type), updates = ir_element_count(&x[2]->type);
    for (int64_t at = 0; at < count; at++)
        eval_store(out, at, eval_load(x[0], at));
    for (int64_t at = 0; at < updates; at++) {
        int64_t to = taken_from(node, &out->type, x[1], &x[2]->type, at);
        if (to >= 0)
            eval_store(out, to, fold(OP_add, out->type.dtype, eval_load(out, to), eval_load(x[2], at)));
    }
    finish_all(out, mode);
}

/* ---- chance ---- */

static void eval_random_bits(const IrNode *node, const EvalTensor *key, EvalTensor *out)
{
    uint32_t words[4], k[2] = {(uint32_t)key->integer[0], (uint32_t)key->integer[1]};
    int64_t count = ir_element_count(&out->type);
    for (int64_t at = 0; at < count; at++) {
        philox_4x32_10(k, (const uint32_t[4]){(uint32_t)at, (uint32_t)(at >> 32), 0, 0}, words);
        out->integer[at] = words[node->attr[0].items[0]];
    }
}

static void eval_random_at(const IrNode *node, const EvalTensor *key, const EvalTensor *counter, EvalTensor *out)
{
    uint32_t words[4], k[2] = {(uint32_t)key->integer[0], (uint32_t)key->integer[1]};
    int64_t count = ir_element_count(&out->type);
    for (int64_t at = 0; at < count; at++) {
        philox_4x32_10(k, (const uint32_t[4]){(uint32_t)counter->integer[at], 0, 0, 0}, words);
        out->integer[at] = words[node->attr[0].items[0]];
    }
}

static void eval_fold_in(const EvalTensor *key, const EvalTensor *data, EvalTensor *out)
{
    uint32_t words[2];
    random_fold_in((const uint32_t[2]){(uint32_t)key->integer[0], (uint32_t)key->integer[1]}, (uint32_t)data->integer[0],
                   words);
    out->integer[0] = words[0];
    out->integer[1] = words[1];
}

EvalTensor eval_shape(Arena *arena, const IrNode *node, const EvalTensor *const *x, EvalMode mode)
{
    EvalTensor out = eval_tensor_new(arena, node->type);
    switch (node->op) {
    case OP_iota:
        eval_iota(node, &out, mode);
        break;
    case OP_concat:
        eval_concat(node, x, &out);
        break;
    case OP_argmax:
        eval_argmax(node, x[0], &out);
        break;
    case OP_cumsum:
        eval_cumsum(node, x[0], &out, mode);
        break;
    case OP_dot:
        eval_dot(node, x[0], x[1], &out, mode);
        break;
    case OP_conv:
        eval_conv(node, x[0], x[1], &out, mode);
        break;
    case OP_take:
        eval_take(node, x[0], x[1], &out);
        break;
    case OP_put_add:
        eval_put_add(node, x, &out, mode);
        break;
    case OP_random_bits:
        eval_random_bits(node, x[0], &out);
        break;
    case OP_random_at:
        eval_random_at(node, x[0], x[1], &out);
        break;
    case OP_fold_in:
        eval_fold_in(x[0], x[1], &out);
        break;
    default:
        if (ir_op_info[node->op].traits & TRAIT_view)
            eval_view(node, x[0], &out);
        else
            eval_reduce(node, x[0], &out, mode);
    }
    return out;
}
