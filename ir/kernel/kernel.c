/* Kernel IR: making kernels, comparing them, and what schedules ask about them. */
#include "ir/kernel/kernel.h"

#include <string.h>

const char *kop_name(int op)
{
    static const char *const names[] = {
#define KOP(name, arity) #name,
#include "ir/kernel/ops.def"
    };
    return op < OP_COUNT ? ir_op_info[op].name : names[op - OP_COUNT];
}

int kop_arity(int op)
{
    static const int arities[] = {
#define KOP(name, arity) arity,
#include "ir/kernel/ops.def"
    };
    return op < OP_COUNT ? ir_op_info[op].arity : arities[op - OP_COUNT];
}

/* ---- building ---- */

Kernel *kernel_new(Arena *arena, const char *name)
{
    Kernel *kernel = arena_new_of(arena, Kernel);
    kernel->arena = arena;
    kernel->name = arena_copy_text(arena, name, strlen(name));
    return kernel;
}

int kernel_add_buffer(Kernel *kernel, KBufferKind kind, DType dtype, int64_t count, const char *name)
{
    KBuffer buffer = {kind, dtype, count, name};
    list_push(kernel->arena, &kernel->buffers, buffer);
    return kernel->buffers.count - 1;
}

KStage *kernel_add_stage(Kernel *kernel)
{
    list_push(kernel->arena, &kernel->stages, (KStage){0});
    return &kernel->stages.items[kernel->stages.count - 1];
}

static bool inst_equal(const KInst *a, const KInst *b)
{
    return a->op == b->op && a->dtype == b->dtype && a->arg[0] == b->arg[0] && a->arg[1] == b->arg[1] &&
           a->arg[2] == b->arg[2] && a->buffer == b->buffer && a->imm == b->imm &&
           !memcmp(&a->value, &b->value, sizeof a->value) && !memcmp(&a->index, &b->index, sizeof a->index);
}

/* What an operation does not use has one value, and a constant is one of its type: equal instructions then compare equal. */
static KInst normal_form(KInst inst)
{
    if (inst.op != K_load)
        inst.buffer = -1;
    if (inst.op != K_load && inst.op != K_axis)
        inst.index = (Affine){0};
    for (int i = kop_arity(inst.op); i < 3; i++)
        inst.arg[i] = -1;
    if (inst.op == K_value && dtype_is_float(inst.dtype))
        inst.value = dtype_round(inst.dtype, inst.value);
    return inst;
}

/* Values of the body are not there any more when the tail runs, so only the part that is being written is searched. */
KRef kstage_push(Arena *arena, KStage *stage, KInst inst)
{
    inst = normal_form(inst);
    for (KRef ref = stage->body_count; ref < stage->insts.count; ref++)
        if (inst_equal(&stage->insts.items[ref], &inst))
            return ref;
    list_push(arena, &stage->insts, inst);
    return stage->insts.count - 1;
}

/* ---- asking ---- */

DType kacc_kept(const KAcc *acc)
{
    bool small = acc->dtype == DT_f16 || acc->dtype == DT_bf16;
    return acc->wide ? DT_f64 : small ? DT_f32 : acc->dtype;
}

int64_t kernel_points(const Kernel *kernel)
{
    int64_t points = 1;
    for (int i = 0; i < kernel->outer.count; i++)
        points *= kernel->outer.items[i].extent;
    return points;
}

static double count_arithmetic(const KStage *stage, int first, int end)
{
    double count = 0;
    for (int i = first; i < end; i++) {
        int op = stage->insts.items[i].op;
        if (op == K_fma)
            count += 2;
        else if (op < OP_COUNT && dtype_is_float(stage->insts.items[i].dtype))
            count += 1;
    }
    return count;
}

double kernel_flops(const Kernel *kernel)
{
    double flops = 0;
    for (int s = 0; s < kernel->stages.count; s++) {
        const KStage *stage = &kernel->stages.items[s];
        double mapped = (double)kernel_points(kernel), all = mapped;
        for (int i = 0; i < stage->axes.count; i++) {
            all *= (double)stage->axes.items[i].extent;
            if (stage->axes.items[i].kind != K_REDUCE)
                mapped *= (double)stage->axes.items[i].extent;
        }
        flops += all * (count_arithmetic(stage, 0, stage->body_count) + stage->accs.count);
        flops += mapped * count_arithmetic(stage, stage->body_count, stage->insts.count);
    }
    return flops;
}

int64_t kernel_bytes(const Kernel *kernel)
{
    int64_t bytes = 0;
    for (int i = 0; i < kernel->buffers.count; i++) {
        const KBuffer *buffer = &kernel->buffers.items[i];
        if (buffer->kind != K_LOCAL)
            bytes += buffer->count * dtype_size(buffer->dtype) * (buffer->kind == K_INOUT ? 2 : 1);
    }
    return bytes;
}

/* ---- equality: what is computed, not what it is called ---- */

static bool axes_equal(const KAxis *a, int a_count, const KAxis *b, int b_count)
{
    if (a_count != b_count)
        return false;
    for (int i = 0; i < a_count; i++)
        if (a[i].extent != b[i].extent || a[i].kind != b[i].kind)
            return false;
    return true;
}

static bool stores_equal(const KStage *a, const KStage *b)
{
    if (a->stores.count != b->stores.count)
        return false;
    for (int i = 0; i < a->stores.count; i++) {
        const KStore *x = &a->stores.items[i], *y = &b->stores.items[i];
        if (x->buffer != y->buffer || x->dynamic != y->dynamic || x->guard != y->guard || x->value != y->value ||
            x->add != y->add || memcmp(&x->index, &y->index, sizeof x->index) != 0)
            return false;
    }
    return true;
}

static bool stage_equal(const KStage *a, const KStage *b)
{
    if (a->kind != b->kind || a->body_count != b->body_count || a->insts.count != b->insts.count ||
        a->accs.count != b->accs.count || !stores_equal(a, b) ||
        !axes_equal(a->axes.items, a->axes.count, b->axes.items, b->axes.count))
        return false;
    for (int i = 0; i < a->insts.count; i++)
        if (!inst_equal(&a->insts.items[i], &b->insts.items[i]))
            return false;
    for (int i = 0; i < a->accs.count; i++) {
        const KAcc *x = &a->accs.items[i], *y = &b->accs.items[i];
        if (x->combine != y->combine || x->value != y->value || x->dtype != y->dtype || x->wide != y->wide)
            return false;
    }
    return true;
}

bool kernel_equal(const Kernel *a, const Kernel *b)
{
    if (a->buffers.count != b->buffers.count || a->stages.count != b->stages.count ||
        !axes_equal(a->outer.items, a->outer.count, b->outer.items, b->outer.count))
        return false;
    for (int i = 0; i < a->buffers.count; i++) {
        const KBuffer *x = &a->buffers.items[i], *y = &b->buffers.items[i];
        if (x->kind != y->kind || x->dtype != y->dtype || x->count != y->count)
            return false;
    }
    for (int i = 0; i < a->stages.count; i++)
        if (!stage_equal(&a->stages.items[i], &b->stages.items[i]))
            return false;
    return true;
}

#define HASH(value) hash = hash_bytes(&(value), sizeof(value), hash)

static uint64_t hash_stage(const KStage *stage, uint64_t hash)
{
    HASH(stage->kind);
    HASH(stage->body_count);
    for (int i = 0; i < stage->axes.count; i++) {
        HASH(stage->axes.items[i].extent);
        HASH(stage->axes.items[i].kind);
    }
    for (int i = 0; i < stage->insts.count; i++) {
        const KInst *inst = &stage->insts.items[i];
        HASH(inst->op);
        HASH(inst->dtype);
        HASH(inst->arg);
        HASH(inst->buffer);
        HASH(inst->index);
        HASH(inst->value);
        HASH(inst->imm);
    }
    for (int i = 0; i < stage->accs.count; i++) {
        HASH(stage->accs.items[i].combine);
        HASH(stage->accs.items[i].value);
        HASH(stage->accs.items[i].dtype);
        HASH(stage->accs.items[i].wide);
    }
    for (int i = 0; i < stage->stores.count; i++) {
        const KStore *store = &stage->stores.items[i];
        HASH(store->buffer);
        HASH(store->index);
        HASH(store->dynamic);
        HASH(store->guard);
        HASH(store->value);
        HASH(store->add);
    }
    return hash;
}

uint64_t kernel_hash(const Kernel *kernel)
{
    uint64_t hash = 0;
    for (int i = 0; i < kernel->outer.count; i++)
        HASH(kernel->outer.items[i].extent);
    for (int i = 0; i < kernel->buffers.count; i++) {
        HASH(kernel->buffers.items[i].kind);
        HASH(kernel->buffers.items[i].dtype);
        HASH(kernel->buffers.items[i].count);
    }
    for (int i = 0; i < kernel->stages.count; i++)
        hash = hash_stage(&kernel->stages.items[i], hash);
    return hash;
}

/* ---- contractions ---- */

static bool is_plain_load(const KInst *inst)
{
    return inst->op == K_load && inst->arg[0] < 0 && inst->arg[1] < 0;
}

bool kernel_contraction(const Kernel *kernel, const KStage *stage, Contraction *out)
{
    *out = (Contraction){.a = -1, .b = -1};
    if (stage->accs.count != 1 || stage->body_count < 2 || stage->accs.items[0].combine != K_SUM)
        return false;
    const KInst *product = &stage->insts.items[stage->accs.items[0].value];
    if (product->op != OP_mul || product->arg[0] < 0 || product->arg[1] < 0)
        return false;
    out->a = product->arg[0];
    out->b = product->arg[1];
    const KInst *a = &stage->insts.items[out->a], *b = &stage->insts.items[out->b];
    if (!is_plain_load(a) || !is_plain_load(b) || stage->body_count > 3)
        return false;
    for (int i = 0; i < stage->axes.count; i++) {
        int axis = kernel->outer.count + i;
        bool in_a = a->index.coef[axis] != 0, in_b = b->index.coef[axis] != 0;
        if (stage->axes.items[i].kind == K_SCAN)
            return false;
        if (stage->axes.items[i].kind == K_REDUCE)
            out->k[out->k_count++] = axis;
        else if (in_a && in_b)
            out->batch[out->batch_count++] = axis;
        else if (in_b)
            out->n[out->n_count++] = axis;
        else
            out->m[out->m_count++] = axis; /* an axis that neither operand has repeats the result */
    }
    return out->k_count > 0;
}
