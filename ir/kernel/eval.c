/* The interpreter of kernels: one point after the other, pointwise in double, sums in double. */
#include "ir/eval.h"
#include "ir/kernel/kernel.h"

#include <math.h>
#include <string.h>

typedef struct KernelEval {
    const Kernel *kernel;
    unsigned char *const *buffers;
    int64_t at[K_MAX_AXES]; /* the point */
    const KStage *stage;
    EvalElement *values; /* by instruction */
    EvalElement *accs;
} KernelEval;

static int64_t affine_value(const KernelEval *eval, const Affine *affine)
{
    int64_t value = affine->offset;
    for (int i = 0; i < K_MAX_AXES; i++)
        value += affine->coef[i] * eval->at[i];
    return value;
}

/* The element, or null where a computed place is outside. */
static unsigned char *place_of(const KernelEval *eval, int buffer, const Affine *index, KRef dynamic)
{
    const KBuffer *info = &eval->kernel->buffers.items[buffer];
    int64_t at = affine_value(eval, index) + (dynamic >= 0 ? eval->values[dynamic].integer : 0);
    return at < 0 || at >= info->count ? NULL : eval->buffers[buffer] + at * dtype_size(info->dtype);
}

/* ---- instructions ---- */

static EvalElement eval_load_inst(const KernelEval *eval, const KInst *inst)
{
    if (inst->arg[1] >= 0 && eval->values[inst->arg[1]].real == 0)
        return (EvalElement){0, 0};
    const unsigned char *place = place_of(eval, inst->buffer, &inst->index, inst->arg[0]);
    return place ? eval_read(inst->dtype, place) : (EvalElement){0, 0};
}

static EvalElement eval_value(const KInst *inst)
{
    if (dtype_is_float(inst->dtype))
        return (EvalElement){.real = dtype_round(inst->dtype, inst->value)};
    return inst->dtype == DT_bool ? (EvalElement){.real = inst->imm != 0} : (EvalElement){.integer = inst->imm};
}

static EvalElement eval_philox(const KInst *inst, const EvalElement *x)
{
    uint32_t words[4], key[2] = {(uint32_t)x[0].integer, (uint32_t)x[1].integer};
    philox_4x32_10(key, (const uint32_t[4]){(uint32_t)x[2].integer, 0, (uint32_t)(inst->imm / 4), 0}, words);
    return (EvalElement){.integer = words[inst->imm % 4]};
}

static EvalElement eval_fma(DType dtype, const EvalElement *x)
{
    if (dtype == DT_f32)
        return (EvalElement){.real = (double)fmaf((float)x[0].real, (float)x[1].real, (float)x[2].real)};
    return (EvalElement){.real = dtype_round(dtype, fma(x[0].real, x[1].real, x[2].real))};
}

static EvalElement eval_bits(DType from, DType to, EvalElement x)
{
    unsigned char bytes[8] = {0};
    eval_write(from, x, bytes);
    return eval_read(to, bytes);
}

static EvalElement eval_kernel_op(const KernelEval *eval, const KInst *inst, DType from, const EvalElement *x)
{
    switch (inst->op) {
    case K_value:
        return eval_value(inst);
    case K_axis:
        return (EvalElement){.integer = eval_wrap(DT_i32, affine_value(eval, &inst->index))};
    case K_acc:
        return eval_convert(dtype_class(inst->dtype) == CLASS_int ? DT_i64 : DT_f64, inst->dtype, eval->accs[inst->imm],
                            EVAL_declared);
    case K_load:
        return eval_load_inst(eval, inst);
    case K_inside:
        return (EvalElement){.real = x[0].integer >= 0 && x[0].integer < inst->imm};
    case K_offset:
        return (EvalElement){.integer = x[0].integer * inst->imm};
    case K_add_offset:
        return (EvalElement){.integer = x[0].integer + x[1].integer};
    case K_philox:
        return eval_philox(inst, x);
    case K_fma:
        return eval_fma(inst->dtype, x);
    case K_bits_of:
    case K_float_of:
        return eval_bits(from, inst->dtype, x[0]);
    case K_mul_high:
        return (EvalElement){.integer = (int64_t)((uint64_t)x[0].integer * (uint64_t)x[1].integer >> 32)};
    case K_scale2:
        return (EvalElement){.real = isnan(x[1].real) ? x[1].real : dtype_round(inst->dtype, ldexp(x[0].real, (int)x[1].real))};
    default: /* rint */
        return (EvalElement){.real = rint(x[0].real)};
    }
}

/* Shifts count to the width of the type, which the primitives' meaning (32 bits) does not for the bits of an f64. */
static EvalElement eval_wide_shift(int op, EvalElement x, int64_t by)
{
    if (by < 0 || by > 63)
        return (EvalElement){.integer = op == OP_shr && x.integer < 0 ? -1 : 0};
    return (EvalElement){.integer = op == OP_shl ? (int64_t)((uint64_t)x.integer << by) : x.integer >> by};
}

static void eval_insts(KernelEval *eval, int first, int end)
{
    for (int i = first; i < end; i++) {
        const KInst *inst = &eval->stage->insts.items[i];
        EvalElement x[3] = {{0, 0}, {0, 0}, {0, 0}};
        DType from = inst->dtype;
        for (int k = 0; k < 3; k++) {
            if (inst->arg[k] >= 0)
                x[k] = eval->values[inst->arg[k]];
        }
        if (inst->arg[0] >= 0)
            from = eval->stage->insts.items[inst->arg[0]].dtype;
        if (inst->op >= OP_COUNT)
            eval->values[i] = eval_kernel_op(eval, inst, from, x);
        else if ((inst->op == OP_shl || inst->op == OP_shr) && inst->dtype == DT_i64)
            eval->values[i] = eval_wide_shift(inst->op, x[0], x[1].integer);
        else
            eval->values[i] = eval_element((IrOp)inst->op, from, inst->dtype, x, EVAL_declared);
    }
}

static void eval_stores(KernelEval *eval)
{
    for (int i = 0; i < eval->stage->stores.count; i++) {
        const KStore *store = &eval->stage->stores.items[i];
        DType dtype = eval->kernel->buffers.items[store->buffer].dtype;
        if (store->guard >= 0 && eval->values[store->guard].real == 0)
            continue;
        unsigned char *place = place_of(eval, store->buffer, &store->index, store->dynamic);
        if (!place)
            continue;
        EvalElement value = eval->values[store->value];
        if (store->add) {
            EvalElement x[3] = {eval_read(dtype, place), value, {0, 0}};
            value = eval_element(OP_add, dtype, dtype, x, EVAL_declared);
        }
        eval_write(dtype, value, place);
    }
}

/* ---- stages ---- */

static void start_accs(KernelEval *eval)
{
    for (int i = 0; i < eval->stage->accs.count; i++) {
        const KAcc *acc = &eval->stage->accs.items[i];
        bool is_signed = acc->dtype != DT_u32 && acc->dtype != DT_u8;
        switch (acc->combine) {
        case K_SUM:
            eval->accs[i] = (EvalElement){0, 0};
            break;
        case K_PROD:
            eval->accs[i] = (EvalElement){1, 1};
            break;
        case K_MAX:
            eval->accs[i] = (EvalElement){-INFINITY, is_signed ? INT32_MIN : 0};
            break;
        case K_MIN:
            eval->accs[i] = (EvalElement){INFINITY, is_signed ? INT32_MAX : UINT32_MAX};
            break;
        }
    }
}

static void fold_accs(KernelEval *eval)
{
    static const IrOp combine[] = {[K_SUM] = OP_add, [K_PROD] = OP_mul, [K_MAX] = OP_max, [K_MIN] = OP_min};
    for (int i = 0; i < eval->stage->accs.count; i++) {
        const KAcc *acc = &eval->stage->accs.items[i];
        EvalElement value = eval->values[acc->value], *sum = &eval->accs[i];
        if (dtype_class(acc->dtype) == CLASS_int)
            sum->integer = eval_wrap(acc->dtype, eval_integer(combine[acc->combine], sum->integer, value.integer, 0));
        else
            sum->real = eval_real(combine[acc->combine], sum->real, value.real, 0);
    }
}

/* Walks the axes of one kind from number `axis` on, calling `visit` at each point of them. */
static void each_point(KernelEval *eval, KAxisKind kind, int axis, void (*visit)(KernelEval *eval))
{
    int number = eval->kernel->outer.count + axis;
    if (axis == eval->stage->axes.count) {
        visit(eval);
        return;
    }
    const KAxis *info = &eval->stage->axes.items[axis];
    if (info->kind != kind) {
        each_point(eval, kind, axis + 1, visit);
        return;
    }
    for (eval->at[number] = 0; eval->at[number] < info->extent; eval->at[number]++)
        each_point(eval, kind, axis + 1, visit);
    eval->at[number] = 0;
}

static void at_reduced_point(KernelEval *eval)
{
    eval_insts(eval, 0, eval->stage->body_count);
    fold_accs(eval);
}

static void at_scanned_point(KernelEval *eval)
{
    if (eval->stage->accs.count)
        each_point(eval, K_REDUCE, 0, at_reduced_point);
    eval_insts(eval, eval->stage->body_count, eval->stage->insts.count);
    eval_stores(eval);
}

static void at_mapped_point(KernelEval *eval)
{
    start_accs(eval);
    each_point(eval, K_SCAN, 0, at_scanned_point);
}

static void eval_stages(KernelEval *eval)
{
    for (int i = 0; i < eval->kernel->stages.count; i++) {
        eval->stage = &eval->kernel->stages.items[i];
        each_point(eval, K_MAP, 0, at_mapped_point);
    }
}

static void each_outer_point(KernelEval *eval, int axis)
{
    if (axis == eval->kernel->outer.count) {
        eval_stages(eval);
        return;
    }
    for (eval->at[axis] = 0; eval->at[axis] < eval->kernel->outer.items[axis].extent; eval->at[axis]++)
        each_outer_point(eval, axis + 1);
    eval->at[axis] = 0;
}

void kernel_eval(Arena *scratch, const Kernel *kernel, void *const *buffers)
{
    int insts = 1, accs = 1;
    unsigned char **all = arena_array(scratch, unsigned char *, kernel->buffers.count + 1);
    for (int i = 0; i < kernel->stages.count; i++) {
        const KStage *stage = &kernel->stages.items[i];
        insts = stage->insts.count > insts ? stage->insts.count : insts;
        accs = stage->accs.count > accs ? stage->accs.count : accs;
    }
    for (int i = 0; i < kernel->buffers.count; i++) {
        const KBuffer *buffer = &kernel->buffers.items[i];
        bool local = buffer->kind == K_LOCAL;
        all[i] = local ? arena_alloc_array(scratch, (size_t)buffer->count + 1, (size_t)dtype_size(buffer->dtype)) : buffers[i];
    }
    KernelEval eval = {.kernel = kernel, .buffers = all};
    eval.values = arena_array(scratch, EvalElement, insts);
    eval.accs = arena_array(scratch, EvalElement, accs);
    each_outer_point(&eval, 0);
}
