/* Fusion, third step: a virtual expression at an index, as instructions of a stage.
 *
 * Views move the index instead of the data: a transposition permutes it, a slice shifts it, padding guards it.  An index is
 * affine in the kernel's axes, plus a computed part for gathers. */
#include "passes/fuse_internal.h"

#include <string.h>

struct ValueMemo {
    IrRef ref;
    KRef guard, value;
    uint64_t hash;
    FuseIndex index;
};

/* ---- affine forms ---- */

Affine affine_axis(int axis, int64_t coefficient, int64_t offset)
{
    Affine affine = {.offset = offset};
    affine.coef[axis] = coefficient;
    return affine;
}

void affine_add(Affine *sum, const Affine *term, int64_t factor)
{
    sum->offset += term->offset * factor;
    for (int i = 0; i < K_MAX_AXES; i++)
        sum->coef[i] += term->coef[i] * factor;
}

static void dense_strides(const IrType *type, int64_t *stride)
{
    int64_t step = 1;
    for (int i = type->rank - 1; i >= 0; i--) {
        stride[i] = step;
        step *= type->dim[i];
    }
}

Affine fuse_linear(const IrType *type, const FuseIndex *index)
{
    int64_t stride[IR_MAX_RANK];
    dense_strides(type, stride);
    Affine linear = {0};
    for (int i = 0; i < type->rank; i++)
        affine_add(&linear, &index->affine[i], stride[i]);
    return linear;
}

/* ---- instructions ---- */

KRef fuse_push(StageBuilder *builder, KInst inst)
{
    return kstage_push(builder->fuse->arena, builder->stage, inst);
}

static KInst inst_of(int op, DType dtype, KRef a, KRef b, KRef c)
{
    return (KInst){.op = op, .dtype = dtype, .arg = {a, b, c}, .buffer = -1};
}

static KRef push_value(StageBuilder *builder, DType dtype, double value)
{
    KInst inst = inst_of(K_value, dtype, -1, -1, -1);
    if (dtype_is_float(dtype))
        inst.value = value;
    else
        inst.imm = (int64_t)value;
    return fuse_push(builder, inst);
}

static KRef push_op(StageBuilder *builder, int op, DType dtype, KRef a, KRef b)
{
    return fuse_push(builder, inst_of(op, dtype, a, b, -1));
}

static KRef push_and(StageBuilder *builder, KRef a, KRef b)
{
    if (a < 0 || b < 0)
        return a < 0 ? b : a;
    return push_op(builder, OP_and, DT_bool, a, b);
}

/* An index as an i32 value. */
static KRef push_index(StageBuilder *builder, const Affine *affine, KRef dynamic)
{
    KInst inst = inst_of(K_axis, DT_i32, -1, -1, -1);
    inst.index = *affine;
    KRef value = fuse_push(builder, inst);
    return dynamic < 0 ? value : push_op(builder, OP_add, DT_i32, value, dynamic);
}

static KRef push_inside(StageBuilder *builder, KRef value, int64_t extent)
{
    KInst inst = inst_of(K_inside, DT_bool, value, -1, -1);
    inst.imm = extent;
    return fuse_push(builder, inst);
}

/* ---- buffers ---- */

static bool same_memory(const Fuse *fuse, IrRef a, IrRef b)
{
    return a == b || (fuse->node[a].buffer >= 0 && fuse->node[a].buffer == fuse->node[b].buffer);
}

int fuse_buffer(StageBuilder *builder, IrRef ref, KBufferKind kind)
{
    Fuse *fuse = builder->fuse;
    for (int i = 0; i < builder->stored.count; i++)
        if (same_memory(fuse, builder->stored.items[i], ref)) {
            KBuffer *known = &builder->kernel->buffers.items[i];
            if (known->kind != kind && known->kind != K_LOCAL)
                known->kind = K_INOUT;
            return i;
        }
    const IrNode *node = ir_node(fuse->func, ref);
    int64_t count = ir_element_count(&node->type);
    for (int i = 0; fuse->node[ref].local && i < builder->outer_count; i++)
        count /= node->type.dim[i];
    list_push(fuse->arena, &builder->stored, ref);
    return kernel_add_buffer(builder->kernel, fuse->node[ref].local ? K_LOCAL : kind, node->type.dtype, count, node->name);
}

Affine fuse_place(const StageBuilder *builder, IrRef ref, const IrType *type, const FuseIndex *index)
{
    if (!builder->fuse->node[ref].local)
        return fuse_linear(type, index);
    FuseIndex inner = *index;
    for (int i = 0; i < builder->outer_count; i++)
        inner.affine[i] = (Affine){0};
    return fuse_linear(type, &inner);
}

/* Element `index` of an array of shape `type` that lies in the memory of `ref`. */
static KRef load_as(StageBuilder *builder, IrRef ref, const IrType *type, const FuseIndex *index, KRef guard)
{
    int64_t stride[IR_MAX_RANK];
    dense_strides(type, stride);
    KRef dynamic = -1;
    for (int i = 0; i < type->rank; i++) {
        if (index->dynamic[i] < 0)
            continue;
        KInst offset = inst_of(K_offset, DT_i64, index->dynamic[i], -1, -1);
        offset.imm = stride[i];
        KRef part = fuse_push(builder, offset);
        dynamic = dynamic < 0 ? part : push_op(builder, K_add_offset, DT_i64, dynamic, part);
    }
    KInst load = inst_of(K_load, type->dtype, dynamic, guard, -1);
    load.buffer = fuse_buffer(builder, ref, K_IN);
    load.index = fuse_place(builder, ref, type, index);
    return fuse_push(builder, load);
}

KRef fuse_load(StageBuilder *builder, IrRef ref, const FuseIndex *index, KRef guard)
{
    return load_as(builder, ref, ir_type_of(builder->fuse->func, ref), index, guard);
}

/* ---- views: the operand's index from the result's ---- */

static FuseIndex empty_index(void)
{
    FuseIndex index;
    memset(&index, 0, sizeof index);
    for (int i = 0; i < IR_MAX_RANK; i++)
        index.dynamic[i] = -1;
    return index;
}

static FuseIndex index_of_permuted(const IrNode *node, const FuseIndex *index)
{
    FuseIndex operand = empty_index();
    for (int i = 0; i < node->type.rank; i++) {
        operand.affine[node->attr[0].items[i]] = index->affine[i];
        operand.dynamic[node->attr[0].items[i]] = index->dynamic[i];
    }
    return operand;
}

static FuseIndex index_of_broadcast(const IrNode *node, const FuseIndex *index)
{
    FuseIndex operand = empty_index();
    for (int i = 0; i < node->attr[0].count; i++) {
        operand.affine[i] = index->affine[node->attr[0].items[i]];
        operand.dynamic[i] = index->dynamic[node->attr[0].items[i]];
    }
    return operand;
}

static KRef scaled(StageBuilder *builder, KRef dynamic, int64_t factor)
{
    if (dynamic < 0 || factor == 1)
        return dynamic;
    return push_op(builder, OP_mul, DT_i32, dynamic, push_value(builder, DT_i32, (double)factor));
}

static FuseIndex index_of_slice(StageBuilder *builder, const IrNode *node, const FuseIndex *index)
{
    FuseIndex operand = empty_index();
    for (int i = 0; i < node->type.rank; i++) {
        int64_t step = node->attr[2].items[i];
        operand.affine[i].offset = node->attr[0].items[i];
        affine_add(&operand.affine[i], &index->affine[i], step);
        operand.dynamic[i] = scaled(builder, index->dynamic[i], step);
    }
    return operand;
}

static FuseIndex index_of_reverse(StageBuilder *builder, const IrNode *node, const FuseIndex *index)
{
    FuseIndex operand = *index;
    for (int i = 0; i < node->attr[0].count; i++) {
        int64_t axis = node->attr[0].items[i];
        operand.affine[axis] = (Affine){.offset = node->type.dim[axis] - 1};
        affine_add(&operand.affine[axis], &index->affine[axis], -1);
        operand.dynamic[axis] = scaled(builder, index->dynamic[axis], -1);
    }
    return operand;
}

/* Each axis of the operand is a product of whole axes of the result (see fuse_reshape_splits). */
static FuseIndex index_of_split(StageBuilder *builder, const IrType *type, const IrType *result, const FuseIndex *index)
{
    FuseIndex operand = empty_index();
    int j = 0;
    for (int i = 0; i < type->rank; i++) {
        if (type->dim[i] == 1)
            continue;
        int64_t product = 1;
        while (j < result->rank && product < type->dim[i]) {
            Affine whole = {0};
            affine_add(&whole, &operand.affine[i], result->dim[j]);
            affine_add(&whole, &index->affine[j], 1);
            operand.affine[i] = whole;
            KRef upper = scaled(builder, operand.dynamic[i], result->dim[j]), lower = index->dynamic[j];
            operand.dynamic[i] = upper < 0 ? lower : lower < 0 ? upper : push_op(builder, OP_add, DT_i32, upper, lower);
            product *= result->dim[j++];
        }
    }
    return operand;
}

static KRef value_of_reshape(StageBuilder *builder, const IrNode *node, const FuseIndex *index, KRef guard)
{
    const Fuse *fuse = builder->fuse;
    IrRef base = node->operands[0];
    while (ir_node(fuse->func, base)->op == OP_reshape && !fuse_in_memory(fuse, base))
        base = ir_node(fuse->func, base)->operands[0];
    if (fuse_in_memory(fuse, base))
        return load_as(builder, base, &node->type, index, guard); /* dense memory has no shape */
    IrRef operand = node->operands[0];
    if (ir_node(fuse->func, operand)->op == OP_const)
        return push_value(builder, node->type.dtype, ir_node(fuse->func, operand)->value);
    FuseIndex inner = index_of_split(builder, ir_type_of(fuse->func, operand), &node->type, index);
    return fuse_value(builder, operand, &inner, guard);
}

/* Where the guard is false the operand is not read, and the result is 0. */
static KRef value_of_pad(StageBuilder *builder, const IrNode *node, const FuseIndex *index, KRef guard)
{
    const IrType *type = ir_type_of(builder->fuse->func, node->operands[0]);
    FuseIndex operand = *index;
    KRef inside = -1;
    for (int i = 0; i < type->rank; i++) {
        int64_t lo = node->attr[0].items[i], hi = node->attr[1].items[i], step = node->attr[2].items[i] + 1;
        operand.affine[i].offset -= lo;
        if (step > 1) {
            KRef place = push_index(builder, &operand.affine[i], operand.dynamic[i]);
            KRef divisor = push_value(builder, DT_i32, (double)step);
            KRef quotient = push_op(builder, OP_div, DT_i32, place, divisor);
            KRef rest = push_op(builder, OP_sub, DT_i32, place, push_op(builder, OP_mul, DT_i32, quotient, divisor));
            KRef on_grid = push_op(builder, OP_eq, DT_bool, rest, push_value(builder, DT_i32, 0));
            inside = push_and(builder, inside, push_inside(builder, place, (type->dim[i] - 1) * step + 1));
            inside = push_and(builder, inside, on_grid);
            operand.affine[i] = (Affine){0};
            operand.dynamic[i] = quotient;
        } else if (lo > 0 || hi > 0) {
            KRef place = push_index(builder, &operand.affine[i], operand.dynamic[i]);
            inside = push_and(builder, inside, push_inside(builder, place, type->dim[i]));
        }
    }
    KRef value = fuse_value(builder, node->operands[0], &operand, push_and(builder, guard, inside));
    if (inside < 0)
        return value;
    KRef zero = push_value(builder, node->type.dtype, 0);
    return fuse_push(builder, inst_of(OP_select, node->type.dtype, inside, value, zero));
}

static KRef value_of_take(StageBuilder *builder, const IrNode *node, const FuseIndex *index, KRef guard)
{
    const IrFunc *func = builder->fuse->func;
    const IrType *type = ir_type_of(func, node->operands[0]), *places = ir_type_of(func, node->operands[1]);
    int axis = (int)node->attr[0].items[0], batch = (int)node->attr[1].items[0], inserted = places->rank - batch;
    FuseIndex of_place = empty_index(), of_operand = empty_index();
    for (int i = 0; i < places->rank; i++) {
        int from = i < batch ? i : axis + (i - batch);
        of_place.affine[i] = index->affine[from];
        of_place.dynamic[i] = index->dynamic[from];
    }
    for (int i = 0; i < type->rank; i++) {
        int from = i < axis ? i : i + inserted - 1;
        if (i == axis)
            continue;
        of_operand.affine[i] = index->affine[from];
        of_operand.dynamic[i] = index->dynamic[from];
    }
    KRef place = fuse_value(builder, node->operands[1], &of_place, guard);
    if (places->dtype != DT_i32)
        place = push_op(builder, OP_cast, DT_i32, place, -1);
    of_operand.dynamic[axis] = place;
    KRef inside = push_and(builder, guard, push_inside(builder, place, type->dim[axis]));
    return fuse_value(builder, node->operands[0], &of_operand, inside);
}

static KRef random_word(StageBuilder *builder, const IrNode *node, KRef counter)
{
    FuseIndex word = empty_index();
    KRef key0 = fuse_load(builder, node->operands[0], &word, -1);
    word.affine[0].offset = 1;
    KRef key1 = fuse_load(builder, node->operands[0], &word, -1);
    KInst inst = inst_of(K_philox, DT_u32, key0, key1, counter);
    inst.imm = node->attr[0].items[0];
    return fuse_push(builder, inst);
}

static KRef value_of_random_bits(StageBuilder *builder, const IrNode *node, const FuseIndex *index)
{
    int64_t stride[IR_MAX_RANK];
    dense_strides(&node->type, stride);
    Affine linear = fuse_linear(&node->type, index);
    KRef dynamic = -1;
    for (int i = 0; i < node->type.rank; i++) {
        KRef part = scaled(builder, index->dynamic[i], stride[i]);
        dynamic = dynamic < 0 ? part : part < 0 ? dynamic : push_op(builder, OP_add, DT_i32, dynamic, part);
    }
    return random_word(builder, node, push_op(builder, OP_cast, DT_u32, push_index(builder, &linear, dynamic), -1));
}

static KRef value_of_iota(StageBuilder *builder, const IrNode *node, const FuseIndex *index)
{
    int64_t axis = node->attr[0].items[0];
    KRef place = push_index(builder, &index->affine[axis], index->dynamic[axis]);
    return node->type.dtype == DT_i32 ? place : push_op(builder, OP_cast, node->type.dtype, place, -1);
}

static KRef value_of_pointwise(StageBuilder *builder, const IrNode *node, const FuseIndex *index, KRef guard)
{
    KRef arg[3] = {-1, -1, -1};
    for (int i = 0; i < node->operand_count; i++)
        arg[i] = fuse_value(builder, node->operands[i], index, guard);
    if (node->op == OP_stop_grad)
        return arg[0];
    return fuse_push(builder, inst_of(node->op, node->type.dtype, arg[0], arg[1], arg[2]));
}

static KRef compute(StageBuilder *builder, IrRef ref, const FuseIndex *index, KRef guard)
{
    const IrNode *node = ir_node(builder->fuse->func, ref);
    FuseIndex operand;
    switch (node->op) {
    case OP_const:
        return push_value(builder, node->type.dtype, node->value);
    case OP_iota:
        return value_of_iota(builder, node, index);
    case OP_random_bits:
        return value_of_random_bits(builder, node, index);
    case OP_random_at:
        return random_word(builder, node, fuse_value(builder, node->operands[1], index, guard));
    case OP_take:
        return value_of_take(builder, node, index, guard);
    case OP_pad:
        return value_of_pad(builder, node, index, guard);
    case OP_reshape:
        return value_of_reshape(builder, node, index, guard);
    case OP_transpose:
        operand = index_of_permuted(node, index);
        break;
    case OP_broadcast:
        operand = index_of_broadcast(node, index);
        break;
    case OP_slice:
        operand = index_of_slice(builder, node, index);
        break;
    case OP_reverse:
        operand = index_of_reverse(builder, node, index);
        break;
    default:
        return value_of_pointwise(builder, node, index, guard);
    }
    return fuse_value(builder, node->operands[0], &operand, guard);
}

/* ---- one value once ---- */

static uint64_t hash_index(IrRef ref, const FuseIndex *index, int rank, KRef guard)
{
    uint64_t hash = hash_bytes(&ref, sizeof ref, (uint64_t)guard);
    hash = hash_bytes(index->affine, (size_t)rank * sizeof(Affine), hash);
    return hash_bytes(index->dynamic, (size_t)rank * sizeof(KRef), hash);
}

static ValueMemo *find_memo(StageBuilder *builder, IrRef ref, const FuseIndex *index, int rank, KRef guard, uint64_t hash)
{
    for (int i = 0; i < builder->fuse->memo.count; i++) {
        ValueMemo *memo = &builder->fuse->memo.items[i];
        if (memo->hash == hash && memo->ref == ref && memo->guard == guard &&
            !memcmp(memo->index.affine, index->affine, (size_t)rank * sizeof(Affine)) &&
            !memcmp(memo->index.dynamic, index->dynamic, (size_t)rank * sizeof(KRef)))
            return memo;
    }
    return NULL;
}

void fuse_remember(StageBuilder *builder, IrRef ref, const FuseIndex *index, KRef guard, KRef value)
{
    int rank = ir_type_of(builder->fuse->func, ref)->rank;
    ValueMemo memo = {ref, guard, value, hash_index(ref, index, rank, guard), *index};
    list_push(builder->fuse->arena, &builder->fuse->memo, memo);
}

void fuse_forget(StageBuilder *builder)
{
    builder->fuse->memo.count = 0;
}

KRef fuse_compute(StageBuilder *builder, IrRef ref, const FuseIndex *index)
{
    KRef value = compute(builder, ref, index, -1);
    fuse_remember(builder, ref, index, -1, value);
    return value;
}

KRef fuse_epilogue(StageBuilder *builder, IrRef ref, const FuseIndex *index)
{
    int rank = ir_type_of(builder->fuse->func, ref)->rank;
    ValueMemo *memo = find_memo(builder, ref, index, rank, -1, hash_index(ref, index, rank, -1));
    return memo ? memo->value : fuse_compute(builder, ref, index); /* found if nothing follows the root */
}

KRef fuse_value(StageBuilder *builder, IrRef ref, const FuseIndex *index, KRef guard)
{
    int rank = ir_type_of(builder->fuse->func, ref)->rank;
    ValueMemo *memo = find_memo(builder, ref, index, rank, guard, hash_index(ref, index, rank, guard));
    if (memo)
        return memo->value;
    KRef value =
        fuse_in_memory(builder->fuse, ref) ? fuse_load(builder, ref, index, guard) : compute(builder, ref, index, guard);
    fuse_remember(builder, ref, index, guard, value);
    return value;
}
