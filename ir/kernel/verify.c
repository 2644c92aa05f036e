/* The verifier of kernels: arguments before their uses, types, stores in the tail, every access inside its buffer. */
#include "ir/kernel/kernel.h"

static const int64_t POINT_LIMIT = (int64_t)1 << 56;

typedef struct KernelVerify {
    const Kernel *kernel;
    const KStage *stage; /* null: the kernel's head */
    int stage_number;
    DiagSink *diags;
    Arena *scratch; /* reasons only */
    bool fine;
} KernelVerify;

static void complain(KernelVerify *verify, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void complain(KernelVerify *verify, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = arena_vprintf(verify->scratch, format, args);
    va_end(args);
    Span at = verify->stage && verify->stage->span.source ? verify->stage->span : verify->kernel->span;
    if (verify->stage)
        diag_report(verify->diags, DIAG_bad_ir, at, "kernel %s, stage %d: %s", verify->kernel->name, verify->stage_number,
                    text);
    else
        diag_report(verify->diags, DIAG_bad_ir, at, "kernel %s: %s", verify->kernel->name, text);
    verify->fine = false;
}

/* ---- axes and buffers ---- */

static const KAxis *axis_of(const KernelVerify *verify, int axis)
{
    int outer = verify->kernel->outer.count;
    return axis < outer ? &verify->kernel->outer.items[axis] : &verify->stage->axes.items[axis - outer];
}

static int axis_count(const KernelVerify *verify)
{
    return verify->kernel->outer.count + verify->stage->axes.count;
}

static void verify_head(KernelVerify *verify)
{
    const Kernel *kernel = verify->kernel;
    bool local = false;
    if (kernel->buffers.count > K_MAX_BUFFERS)
        complain(verify, "too many buffers");
    for (int i = 0; i < kernel->buffers.count; i++) {
        const KBuffer *buffer = &kernel->buffers.items[i];
        if ((unsigned)buffer->dtype >= DT_COUNT || buffer->count < 0)
            complain(verify, "buffer %d has no sensible type", i);
        if (local && buffer->kind != K_LOCAL)
            complain(verify, "local buffers come last");
        local = local || buffer->kind == K_LOCAL;
    }
    for (int i = 0; i < kernel->outer.count; i++) {
        if (kernel->outer.items[i].kind != K_MAP)
            complain(verify, "outer axis a%d is no map", i);
    }
}

static void verify_axes(KernelVerify *verify)
{
    int64_t points = 1;
    if (axis_count(verify) > K_MAX_AXES) {
        complain(verify, "too many axes");
        return;
    }
    for (int i = 0; i < axis_count(verify); i++) {
        int64_t extent = axis_of(verify, i)->extent;
        if (extent < 0 || (extent && points > POINT_LIMIT / extent))
            complain(verify, "axis a%d is too long", i);
        else
            points *= extent ? extent : 1;
    }
    for (int i = 0; i < verify->stage->axes.count; i++) {
        if (verify->stage->axes.items[i].kind != K_MAP && !verify->stage->accs.count)
            complain(verify, "an axis is reduced, but there is no accumulator");
    }
}

/* ---- accesses ---- */

static bool runs_at_all(const KernelVerify *verify)
{
    for (int i = 0; i < axis_count(verify); i++) {
        if (axis_of(verify, i)->extent == 0)
            return false;
    }
    return true;
}

/* Only axes that are there, and in the tail none that is reduced. */
static void verify_affine(KernelVerify *verify, const Affine *affine, bool in_tail)
{
    for (int i = 0; i < K_MAX_AXES; i++) {
        if (!affine->coef[i])
            continue;
        if (i >= axis_count(verify))
            complain(verify, "an index uses a%d, which is not there", i);
        else if (in_tail && axis_of(verify, i)->kind == K_REDUCE)
            complain(verify, "the tail uses a%d, which is reduced", i);
    }
}

static void verify_place(KernelVerify *verify, int buffer, const Affine *affine, bool in_tail, bool conditional)
{
    if (buffer < 0 || buffer >= verify->kernel->buffers.count) {
        complain(verify, "there is no buffer %d", buffer);
        return;
    }
    verify_affine(verify, affine, in_tail);
    if (conditional || !verify->fine || !runs_at_all(verify))
        return;
    int64_t least = affine->offset, most = affine->offset, reach;
    bool huge = false;
    for (int i = 0; i < axis_count(verify); i++) {
        huge = huge || __builtin_mul_overflow(affine->coef[i], axis_of(verify, i)->extent - 1, &reach);
        huge = huge || __builtin_add_overflow(reach < 0 ? least : most, reach, reach < 0 ? &least : &most);
    }
    if (huge || least < 0 || most >= verify->kernel->buffers.items[buffer].count)
        complain(verify, "buffer %d of %lld elements is reached outside", buffer,
                 (long long)verify->kernel->buffers.items[buffer].count);
}

/* ---- instructions ---- */

static DType dtype_of(const KernelVerify *verify, KRef ref)
{
    return verify->stage->insts.items[ref].dtype;
}

/* Whether `ref` names an instruction of the same part before `limit`. */
static bool in_part(const KernelVerify *verify, KRef ref, int limit)
{
    int first = limit > verify->stage->body_count ? verify->stage->body_count : 0;
    return ref >= first && ref < limit;
}

/* The graph's type rules on scalars.  What they refuse on 64-bit integers is allowed here: the bits of an f64 are such. */
static const char *primitive_reason(KernelVerify *verify, const KInst *inst)
{
    IrNode operands[3] = {{.op = OP_param}, {.op = OP_param}, {.op = OP_param}};
    IrRef refs[3] = {0, 1, 2};
    IrFunc func = {.nodes = {operands, 3, 3}};
    IrNode node = {.op = (IrOp)inst->op, .operand_count = kop_arity(inst->op), .operands = refs};
    bool exact = inst->op == OP_cast;
    for (int i = 0; i < node.operand_count; i++) {
        DType dtype = dtype_of(verify, inst->arg[i]);
        operands[i].type = ir_scalar(dtype == DT_i64 && !exact ? DT_i32 : dtype);
    }
    node.type = ir_scalar(inst->dtype);
    IrType type;
    const char *reason = ir_infer(verify->scratch, &func, &node, &type);
    if (reason)
        return reason;
    DType want = inst->dtype == DT_i64 && !exact ? DT_i32 : inst->dtype;
    return type.dtype == want ? NULL : "the result has another type";
}

static bool is_integer(DType dtype)
{
    return dtype_class(dtype) == CLASS_int;
}

static bool is_bits_pair(DType real, DType bits)
{
    return (real == DT_f32 && bits == DT_i32) || (real == DT_f64 && bits == DT_i64);
}

/* Types of a kernel operation: x are those of its arguments. */
static bool types_fit(const KernelVerify *verify, const KInst *inst)
{
    DType x[3] = {DT_f32, DT_f32, DT_f32}, to = inst->dtype;
    for (int i = 0; i < kop_arity(inst->op) && inst->op != K_load; i++)
        x[i] = dtype_of(verify, inst->arg[i]);
    switch (inst->op) {
    case K_value:
        return true;
    case K_axis:
        return to == DT_i32;
    case K_acc:
        return to == verify->stage->accs.items[inst->imm].dtype ||
               (dtype_is_float(to) && dtype_is_float(verify->stage->accs.items[inst->imm].dtype));
    case K_load:
        return to == verify->kernel->buffers.items[inst->buffer].dtype;
    case K_inside:
        return to == DT_bool && is_integer(x[0]);
    case K_offset:
        return to == DT_i64 && is_integer(x[0]);
    case K_add_offset:
        return to == DT_i64 && x[0] == DT_i64 && x[1] == DT_i64;
    case K_philox:
        return to == DT_u32 && x[0] == DT_u32 && x[1] == DT_u32 && x[2] == DT_u32;
    case K_fma:
        return dtype_is_float(to) && x[0] == to && x[1] == to && x[2] == to;
    case K_bits_of:
        return is_bits_pair(x[0], to);
    case K_float_of:
        return is_bits_pair(to, x[0]);
    case K_mul_high:
        return to == DT_u32 && x[0] == DT_u32 && x[1] == DT_u32;
    case K_scale2:
        return dtype_is_float(to) && x[0] == to && x[1] == to;
    case K_rint:
        return dtype_is_float(to) && x[0] == to;
    default:
        return false;
    }
}

static bool args_are_there(KernelVerify *verify, const KInst *inst, int number)
{
    for (int i = 0; i < 3; i++) {
        bool optional = inst->op == K_load, none = inst->arg[i] < 0;
        if (i >= kop_arity(inst->op) ? !none : !(none && optional) && !in_part(verify, inst->arg[i], number)) {
            complain(verify, "%%%d = %s: argument %d is not computed before it, in its part", number, kop_name(inst->op), i);
            return false;
        }
    }
    return true;
}

static void verify_inst(KernelVerify *verify, int number)
{
    const KInst *inst = &verify->stage->insts.items[number];
    bool in_tail = number >= verify->stage->body_count, scalar = inst->op >= 0 && inst->op < K_OP_COUNT;
    if (scalar && inst->op < OP_COUNT)
        scalar = ir_op_info[inst->op].traits & TRAIT_pointwise;
    if (!scalar || (unsigned)inst->dtype >= DT_COUNT) {
        complain(verify, "%%%d is no scalar operation", number);
        return;
    }
    if (!args_are_there(verify, inst, number))
        return;
    if (inst->op == K_acc && (!in_tail || inst->imm < 0 || inst->imm >= verify->stage->accs.count)) {
        complain(verify, "%%%d = acc: accumulator %lld cannot be read here", number, (long long)inst->imm);
        return;
    }
    if (inst->op == K_axis)
        verify_affine(verify, &inst->index, in_tail);
    if (inst->op == K_load)
        verify_place(verify, inst->buffer, &inst->index, in_tail, inst->arg[0] >= 0 || inst->arg[1] >= 0);
    if (!verify->fine)
        return;
    if (inst->op == K_load && ((inst->arg[0] >= 0 && dtype_of(verify, inst->arg[0]) != DT_i64) ||
                               (inst->arg[1] >= 0 && dtype_of(verify, inst->arg[1]) != DT_bool)))
        complain(verify, "%%%d = load: an offset is i64, a guard bool", number);
    const char *reason = inst->op < OP_COUNT       ? primitive_reason(verify, inst)
                         : types_fit(verify, inst) ? NULL
                                                   : "types do not fit";
    if (reason)
        complain(verify, "%%%d = %s: %s", number, kop_name(inst->op), reason);
}

static void verify_acc(KernelVerify *verify, int number)
{
    const KAcc *acc = &verify->stage->accs.items[number];
    if (acc->value < 0 || acc->value >= verify->stage->body_count || (unsigned)acc->combine > K_MIN)
        complain(verify, "accumulator %d folds no value of the body", number);
    else if (dtype_of(verify, acc->value) != acc->dtype)
        complain(verify, "accumulator %d folds values of another type", number);
    else if (acc->wide && !dtype_is_float(acc->dtype))
        complain(verify, "accumulator %d is wide, but folds integers", number);
}

static void verify_store(KernelVerify *verify, int number)
{
    const KStore *store = &verify->stage->stores.items[number];
    const KRef parts[3] = {store->value, store->dynamic, store->guard};
    int count = verify->stage->insts.count;
    for (int i = 0; i < 3; i++) {
        if (parts[i] >= count || (parts[i] >= 0 ? parts[i] < verify->stage->body_count : i == 0)) {
            complain(verify, "store %d uses what the tail does not compute", number);
            return;
        }
    }
    verify_place(verify, store->buffer, &store->index, true, store->dynamic >= 0 || store->guard >= 0);
    if (!verify->fine)
        return;
    const KBuffer *buffer = &verify->kernel->buffers.items[store->buffer];
    if (buffer->kind == K_IN)
        complain(verify, "store %d writes an input", number);
    if (buffer->dtype != dtype_of(verify, store->value))
        complain(verify, "store %d: the value has another type than its buffer", number);
    if (store->dynamic >= 0 && dtype_of(verify, store->dynamic) != DT_i64)
        complain(verify, "store %d: an offset is i64", number);
    if (store->guard >= 0 && dtype_of(verify, store->guard) != DT_bool)
        complain(verify, "store %d: a guard is bool", number);
}

static void verify_stage(KernelVerify *verify)
{
    const KStage *stage = verify->stage;
    if (stage->body_count < 0 || stage->body_count > stage->insts.count || (stage->body_count && !stage->accs.count)) {
        complain(verify, "a body without accumulators");
        return;
    }
    verify_axes(verify);
    for (int i = 0; i < stage->insts.count && verify->fine; i++)
        verify_inst(verify, i);
    for (int i = 0; i < stage->accs.count && verify->fine; i++)
        verify_acc(verify, i);
    for (int i = 0; i < stage->stores.count && verify->fine; i++)
        verify_store(verify, i);
    Contraction roles;
    if (verify->fine && stage->kind == K_STAGE_CONTRACT && !kernel_contraction(verify->kernel, stage, &roles))
        complain(verify, "marked as a contraction, but is none");
}

bool kernel_verify(const Kernel *kernel, DiagSink *diags)
{
    KernelVerify verify = {.kernel = kernel, .diags = diags, .scratch = kernel->arena, .fine = true};
    verify_head(&verify);
    for (int i = 0; i < kernel->stages.count && verify.fine; i++) {
        verify.stage = &kernel->stages.items[i];
        verify.stage_number = i;
        verify_stage(&verify);
    }
    return verify.fine;
}
