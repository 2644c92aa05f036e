/* Fusion, fourth step: one group as kernels. */
#include "passes/fuse_internal.h"

#include <string.h>

/* ---- beginning and ending a kernel ---- */

static const char *kernel_title(const Fuse *fuse, const Group *group)
{
    Text title = text_new(fuse->arena);
    for (int i = 0; i < group->members.count && title.length < 40; i++) {
        IrRef ref = group->members.items[i], root = fuse->node[ref].root;
        if (root >= 0 && root != ref)
            text_printf(&title, "%s_", ir_op_info[ir_node(fuse->func, root)->op].name);
        text_printf(&title, "%s%s", ir_op_info[ir_node(fuse->func, ref)->op].name, i + 1 < group->members.count ? "_" : "");
    }
    return title.data;
}

static StageBuilder begin(Fuse *fuse, const Group *group)
{
    StageBuilder builder = {.fuse = fuse, .kernel = kernel_new(fuse->arena, kernel_title(fuse, group))};
    builder.kernel->span = ir_node(fuse->func, group->members.items[group->members.count - 1])->span;
    fuse_forget(&builder);
    builder.stage = kernel_add_stage(builder.kernel);
    builder.stage->kind = K_STAGE_LOOPS;
    builder.stage->span = builder.kernel->span;
    return builder;
}

/* Kernels have their local buffers last. */
static void move_locals_last(StageBuilder *builder)
{
    Arena *arena = builder->fuse->arena;
    Kernel *kernel = builder->kernel;
    int count = kernel->buffers.count, next = 0;
    int *number = arena_array(arena, int, count + 1);
    KBuffer *sorted = arena_array(arena, KBuffer, count + 1);
    for (int local = 0; local < 2; local++)
        for (int i = 0; i < count; i++)
            if ((kernel->buffers.items[i].kind == K_LOCAL) == (local == 1)) {
                sorted[next] = kernel->buffers.items[i];
                number[i] = next++;
            }
    memcpy(kernel->buffers.items, sorted, (size_t)count * sizeof *sorted);
    for (int i = 0; i < kernel->stages.count; i++) {
        KStage *stage = &kernel->stages.items[i];
        for (int k = 0; k < stage->insts.count; k++)
            if (stage->insts.items[k].op == K_load)
                stage->insts.items[k].buffer = number[stage->insts.items[k].buffer];
        for (int k = 0; k < stage->stores.count; k++)
            stage->stores.items[k].buffer = number[stage->stores.items[k].buffer];
    }
}

static void finish(StageBuilder *builder, FusedKernels *out)
{
    FusedKernel done = {.kernel = builder->kernel};
    for (int i = 0; i < builder->stored.count; i++) {
        const FuseNode *node = &builder->fuse->node[builder->stored.items[i]];
        if (!node->local)
            list_push(builder->fuse->arena, &done.args, node->buffer);
    }
    move_locals_last(builder);
    list_push(builder->fuse->arena, out, done);
}

/* Adds an axis unless it has one point only; returns the index that runs along it. */
static Affine add_axis(StageBuilder *builder, int64_t extent, KAxisKind kind)
{
    if (extent == 1)
        return (Affine){0};
    int number = builder->kernel->outer.count + builder->stage->axes.count;
    list_push(builder->fuse->arena, &builder->stage->axes, ((KAxis){extent, kind}));
    return affine_axis(number, 1, 0);
}

static FuseIndex no_index(void)
{
    FuseIndex index;
    memset(&index, 0, sizeof index);
    for (int i = 0; i < IR_MAX_RANK; i++)
        index.dynamic[i] = -1;
    return index;
}

/* Axis `i` of the stage's space, each place of which gives a result: it may run outside. */
static Affine add_map_axis(StageBuilder *builder, int i, int64_t extent)
{
    return i < builder->outer_count ? builder->outer[i] : add_axis(builder, extent, K_MAP);
}

static FuseIndex add_axes(StageBuilder *builder, const IrType *type)
{
    FuseIndex index = no_index();
    for (int i = 0; i < type->rank; i++)
        index.affine[i] = add_map_axis(builder, i, type->dim[i]);
    return index;
}

static void store_value(StageBuilder *builder, IrRef ref, const FuseIndex *index, KRef value)
{
    KStore store = {.buffer = fuse_buffer(builder, ref, K_OUT), .dynamic = -1, .guard = -1, .value = value};
    store.index = fuse_place(builder, ref, ir_type_of(builder->fuse->func, ref), index);
    list_push(builder->fuse->arena, &builder->stage->stores, store);
}

/* ---- maps ---- */

static void emit_map_stage(StageBuilder *builder, const Group *group)
{
    FuseIndex index = add_axes(builder, ir_type_of(builder->fuse->func, group->members.items[0]));
    for (int i = 0; i < group->members.count; i++) {
        IrRef ref = group->members.items[i];
        KRef value = fuse_compute(builder, ref, &index);
        if (!builder->fuse->node[ref].inner)
            store_value(builder, ref, &index, value);
    }
}

/* ---- reductions, scans and contractions: a body, accumulators, and the epilogue as tail ---- */

static KRef push_acc(StageBuilder *builder, DType dtype, int number)
{
    return fuse_push(builder, (KInst){.op = K_acc, .dtype = dtype, .arg = {-1, -1, -1}, .buffer = -1, .imm = number});
}

/* Ends the body: what follows is the tail, in which each root is its accumulator. */
static void begin_tail(StageBuilder *builder, const Group *group, const FuseIndex *index)
{
    builder->stage->body_count = builder->stage->insts.count;
    fuse_forget(builder);
    for (int i = 0; i < group->members.count; i++) {
        IrRef root = builder->fuse->node[group->members.items[i]].root;
        fuse_remember(builder, root, index, -1, push_acc(builder, ir_type_of(builder->fuse->func, root)->dtype, i));
    }
}

static void emit_epilogues(StageBuilder *builder, const Group *group, const FuseIndex *index)
{
    begin_tail(builder, group, index);
    for (int i = 0; i < group->members.count; i++) {
        IrRef ref = group->members.items[i];
        store_value(builder, ref, index, fuse_epilogue(builder, ref, index));
    }
}

static KCombine combine_of(IrOp op)
{
    switch (op) {
    case OP_prod:
        return K_PROD;
    case OP_reduce_max:
        return K_MAX;
    case OP_reduce_min:
        return K_MIN;
    default:
        return K_SUM;
    }
}

static bool is_reduced(const IrNode *node, int axis)
{
    for (int i = 0; i < node->attr[0].count; i++)
        if (node->attr[0].items[i] == axis)
            return true;
    return false;
}

static void add_accumulators(StageBuilder *builder, const Group *group, const FuseIndex *inner)
{
    for (int i = 0; i < group->members.count; i++) {
        const IrNode *root = ir_node(builder->fuse->func, builder->fuse->node[group->members.items[i]].root);
        KAcc acc = {.combine = combine_of(root->op), .dtype = root->type.dtype};
        acc.value = fuse_value(builder, root->operands[0], inner, -1);
        list_push(builder->fuse->arena, &builder->stage->accs, acc);
    }
}

static void emit_reduce_stage(StageBuilder *builder, const Group *group)
{
    const Fuse *fuse = builder->fuse;
    const IrNode *root = ir_node(fuse->func, fuse->node[group->members.items[0]].root);
    const IrType *type = ir_type_of(fuse->func, root->operands[0]);
    FuseIndex outer = no_index(), inner = no_index();
    for (int i = 0, kept = 0; i < type->rank; i++)
        if (!is_reduced(root, i))
            outer.affine[kept++] = inner.affine[i] = add_map_axis(builder, i, type->dim[i]);
    for (int i = 0; i < type->rank; i++)
        if (is_reduced(root, i))
            inner.affine[i] = add_axis(builder, type->dim[i], K_REDUCE);
    add_accumulators(builder, group, &inner);
    emit_epilogues(builder, group, &outer);
}

static void emit_stage(StageBuilder *builder, const Group *group)
{
    if (group->kind == GROUP_MAP)
        emit_map_stage(builder, group);
    else
        emit_reduce_stage(builder, group);
}

static void emit_single(Fuse *fuse, const Group *group, FusedKernels *out)
{
    StageBuilder builder = begin(fuse, group);
    emit_stage(&builder, group);
    finish(&builder, out);
}

static void next_stage(StageBuilder *builder)
{
    builder->stage = kernel_add_stage(builder->kernel);
    builder->stage->span = builder->kernel->span;
    fuse_forget(builder);
}

/* Stages that share their leading axes, which run outside of all of them. */
static void emit_rows(Fuse *fuse, const Group *group, FusedKernels *out)
{
    StageBuilder builder = begin(fuse, group);
    const IrType *type = ir_type_of(fuse->func, group->members.items[0]);
    builder.outer_count = group->outer;
    for (int i = 0; i < group->outer; i++) {
        builder.outer[i] = type->dim[i] == 1 ? (Affine){0} : affine_axis(builder.kernel->outer.count, 1, 0);
        if (type->dim[i] > 1)
            list_push(fuse->arena, &builder.kernel->outer, ((KAxis){type->dim[i], K_MAP}));
    }
    for (int i = 0; i < group->stages.count; i++) {
        if (i > 0)
            next_stage(&builder);
        emit_stage(&builder, &group->stages.items[i]);
    }
    finish(&builder, out);
}

static void emit_scan(Fuse *fuse, const Group *group, FusedKernels *out)
{
    StageBuilder builder = begin(fuse, group);
    const IrNode *root = ir_node(fuse->func, fuse->node[group->members.items[0]].root);
    FuseIndex index = no_index();
    for (int i = 0; i < root->type.rank; i++)
        if (i != root->attr[0].items[0])
            index.affine[i] = add_axis(&builder, root->type.dim[i], K_MAP);
    int scanned = (int)root->attr[0].items[0];
    index.affine[scanned] = add_axis(&builder, root->type.dim[scanned], K_SCAN);
    add_accumulators(&builder, group, &index);
    emit_epilogues(&builder, group, &index);
    finish(&builder, out);
}

static bool lists_axis(const IrInts *axes, int axis, int *place)
{
    for (int i = 0; i < axes->count; i++)
        if (axes->items[i] == axis) {
            *place = i;
            return true;
        }
    return false;
}

/* Indices of a dot: result axes are batch, free axes of the left, free axes of the right. */
static void index_dot(StageBuilder *builder, const IrNode *dot, FuseIndex *lhs, FuseIndex *rhs, FuseIndex *result)
{
    const IrType *left = ir_type_of(builder->fuse->func, dot->operands[0]);
    const IrType *right = ir_type_of(builder->fuse->func, dot->operands[1]);
    int next = 0, place;
    for (int i = 0; i < dot->attr[0].count; i++) {
        int64_t axis = dot->attr[0].items[i];
        Affine index = add_axis(builder, left->dim[axis], K_MAP);
        lhs->affine[axis] = rhs->affine[dot->attr[1].items[i]] = result->affine[next++] = index;
    }
    for (int i = 0; i < left->rank; i++)
        if (!lists_axis(&dot->attr[0], i, &place) && !lists_axis(&dot->attr[2], i, &place))
            lhs->affine[i] = result->affine[next++] = add_axis(builder, left->dim[i], K_MAP);
    for (int i = 0; i < right->rank; i++)
        if (!lists_axis(&dot->attr[1], i, &place) && !lists_axis(&dot->attr[3], i, &place))
            rhs->affine[i] = result->affine[next++] = add_axis(builder, right->dim[i], K_MAP);
    for (int i = 0; i < dot->attr[2].count; i++) {
        int64_t axis = dot->attr[2].items[i];
        lhs->affine[axis] = rhs->affine[dot->attr[3].items[i]] = add_axis(builder, left->dim[axis], K_REDUCE);
    }
}

/* Indices of a convolution: place = window start * stride + place in the window * dilation. */
static void index_conv(StageBuilder *builder, const IrNode *conv, FuseIndex *x, FuseIndex *w, FuseIndex *result)
{
    const IrType *type = &conv->type, *window = ir_type_of(builder->fuse->func, conv->operands[1]);
    int last = type->rank - 1;
    for (int i = 0; i <= last; i++)
        result->affine[i] = add_axis(builder, type->dim[i], K_MAP);
    x->affine[0] = result->affine[0];
    w->affine[last] = result->affine[last];
    for (int i = 1; i < last; i++) {
        w->affine[i - 1] = add_axis(builder, window->dim[i - 1], K_REDUCE);
        affine_add(&x->affine[i], &result->affine[i], conv->attr[0].items[i - 1]);
        affine_add(&x->affine[i], &w->affine[i - 1], conv->attr[1].items[i - 1]);
    }
    x->affine[last] = w->affine[last - 1] = add_axis(builder, window->dim[last - 1], K_REDUCE);
}

static void emit_contract(Fuse *fuse, const Group *group, FusedKernels *out)
{
    StageBuilder builder = begin(fuse, group);
    const IrNode *root = ir_node(fuse->func, fuse->node[group->members.items[0]].root);
    FuseIndex lhs = no_index(), rhs = no_index(), result = no_index();
    if (root->op == OP_dot)
        index_dot(&builder, root, &lhs, &rhs, &result);
    else
        index_conv(&builder, root, &lhs, &rhs, &result);
    KRef a = fuse_value(&builder, root->operands[0], &lhs, -1);
    KRef b = fuse_value(&builder, root->operands[1], &rhs, -1);
    DType dtype = root->type.dtype;
    KInst product = {.op = OP_mul, .dtype = dtype, .arg = {a, b, -1}, .buffer = -1};
    KAcc acc = {.combine = K_SUM, .dtype = dtype, .value = fuse_push(&builder, product)};
    list_push(fuse->arena, &builder.stage->accs, acc);
    bool plain = builder.stage->insts.count == 3 && dtype_is_float(dtype);
    emit_epilogues(&builder, group, &result);
    Contraction roles;
    if (plain && (builder.stage->kind = K_STAGE_CONTRACT, !kernel_contraction(builder.kernel, builder.stage, &roles)))
        builder.stage->kind = K_STAGE_LOOPS;
    finish(&builder, out);
}

/* ---- parts and places ---- */

/* Each part of a concat is a map of its own, writing its range of the result. */
static void emit_concat(Fuse *fuse, const Group *group, FusedKernels *out)
{
    IrRef ref = group->members.items[0];
    const IrNode *node = ir_node(fuse->func, ref);
    int64_t axis = node->attr[0].items[0], start = 0;
    for (int i = 0; i < node->operand_count; i++) {
        const IrType *type = ir_type_of(fuse->func, node->operands[i]);
        if (type->dim[axis] == 0)
            continue;
        StageBuilder builder = begin(fuse, group);
        FuseIndex index = add_axes(&builder, type);
        KRef value = fuse_value(&builder, node->operands[i], &index, -1);
        index.affine[axis].offset += start;
        store_value(&builder, ref, &index, value);
        start += type->dim[axis];
        finish(&builder, out);
    }
}

static void emit_copy_of_base(Fuse *fuse, const Group *group, FusedKernels *out)
{
    IrRef ref = group->members.items[0];
    StageBuilder builder = begin(fuse, group);
    FuseIndex index = add_axes(&builder, ir_type_of(fuse->func, ref));
    store_value(&builder, ref, &index, fuse_value(&builder, ir_node(fuse->func, ref)->operands[0], &index, -1));
    finish(&builder, out);
}

/* The axes of the updates: batch, leading axes of the base, axes of the places, trailing axes of the base. */
static void emit_put(Fuse *fuse, const Group *group, FusedKernels *out)
{
    emit_copy_of_base(fuse, group, out);
    IrRef ref = group->members.items[0];
    const IrNode *node = ir_node(fuse->func, ref);
    const IrType *places = ir_type_of(fuse->func, node->operands[1]);
    int axis = (int)node->attr[0].items[0], batch = (int)node->attr[1].items[0], inserted = places->rank - batch;
    StageBuilder builder = begin(fuse, group);
    FuseIndex updates = add_axes(&builder, ir_type_of(fuse->func, node->operands[2]));
    FuseIndex of_place = no_index(), target = no_index();
    for (int i = 0; i < places->rank; i++)
        of_place.affine[i] = updates.affine[i < batch ? i : axis + (i - batch)];
    for (int i = 0; i < node->type.rank; i++)
        if (i != axis)
            target.affine[i] = updates.affine[i < axis ? i : i + inserted - 1];
    KRef value = fuse_value(&builder, node->operands[2], &updates, -1);
    KRef place = fuse_value(&builder, node->operands[1], &of_place, -1);
    if (places->dtype != DT_i32)
        place = fuse_push(&builder, (KInst){.op = OP_cast, .dtype = DT_i32, .arg = {place, -1, -1}, .buffer = -1});
    KInst inside = {.op = K_inside, .dtype = DT_bool, .arg = {place, -1, -1}, .buffer = -1, .imm = node->type.dim[axis]};
    KInst offset = {.op = K_offset, .dtype = DT_i64, .arg = {place, -1, -1}, .buffer = -1, .imm = 1};
    for (int i = axis + 1; i < node->type.rank; i++)
        offset.imm *= node->type.dim[i];
    KStore store = {.value = value, .add = true, .guard = fuse_push(&builder, inside), .dynamic = fuse_push(&builder, offset)};
    store.buffer = fuse_buffer(&builder, ref, K_INOUT);
    store.index = fuse_linear(&node->type, &target);
    list_push(fuse->arena, &builder.stage->stores, store);
    finish(&builder, out);
}

/* The two words of the new key are words 0 and 1 of philox(key, (data, 0, 1, 0)). */
static void emit_fold_in(Fuse *fuse, const Group *group, FusedKernels *out)
{
    IrRef ref = group->members.items[0];
    const IrNode *node = ir_node(fuse->func, ref);
    StageBuilder builder = begin(fuse, group);
    FuseIndex index = no_index(), nothing = no_index();
    KRef key[2];
    for (int i = 0; i < 2; i++) {
        index.affine[0].offset = i;
        key[i] = fuse_load(&builder, node->operands[0], &index, -1);
    }
    KRef data = fuse_load(&builder, node->operands[1], &nothing, -1);
    if (ir_type_of(fuse->func, node->operands[1])->dtype != DT_u32)
        data = fuse_push(&builder, (KInst){.op = OP_cast, .dtype = DT_u32, .arg = {data, -1, -1}, .buffer = -1});
    for (int i = 0; i < 2; i++) {
        KInst word = {.op = K_philox, .dtype = DT_u32, .arg = {key[0], key[1], data}, .buffer = -1, .imm = i + 4};
        index.affine[0].offset = i;
        store_value(&builder, ref, &index, fuse_push(&builder, word));
    }
    finish(&builder, out);
}

void fuse_emit_group(Fuse *fuse, const Group *group, FusedKernels *out)
{
    switch (group->kind) {
    case GROUP_MAP:
    case GROUP_REDUCE:
        emit_single(fuse, group, out);
        break;
    case GROUP_ROWS:
        emit_rows(fuse, group, out);
        break;
    case GROUP_SCAN:
        emit_scan(fuse, group, out);
        break;
    case GROUP_CONTRACT:
        emit_contract(fuse, group, out);
        break;
    case GROUP_CONCAT:
        emit_concat(fuse, group, out);
        break;
    case GROUP_PUT:
        emit_put(fuse, group, out);
        break;
    case GROUP_FOLD_IN:
        emit_fold_in(fuse, group, out);
        break;
    case GROUP_CONTROL:
        break; /* steps of the plan, not kernels: see fuse.c */
    }
}
