/* The interpreter of kernels: every point of every loop in order, one instruction after another. Plain and slow. */
#include "ir/eval.h"
#include "ir/kernel/kernel.h"

#include <math.h>
#include <string.h>

typedef struct KernelRun {
    Arena *arena;
    const Kernel *kernel;
    EvalTensor *buffers; /* every buffer, locals included */
    const KStage *stage;
    int64_t axis[K_MAX_AXES];
    EvalElement *values; /* by instruction */
    EvalElement *accs;
} KernelRun;

static int64_t affine_at(const KernelRun *run, const Affine *affine)
{
    int64_t place = affine->offset;
    for (int i = 0; i < K_MAX_AXES; i++)
        place += affine->coef[i] * run->axis[i];
    return place;
}

/* ---- single instructions ---- */

static EvalElement integer(int64_t value)
{
    return (EvalElement){.integer = value};
}

static EvalElement truth(bool value)
{
    return (EvalElement){.real = value};
}

static EvalElement run_load(const KernelRun *run, const KInst *inst)
{
    bool skipped = inst->arg[1] >= 0 && run->values[inst->arg[1]].real == 0;
    if (skipped)
        return (EvalElement){0};
    int64_t place = affine_at(run, &inst->index);
    if (inst->arg[0] >= 0)
        place += run->values[inst->arg[0]].integer;
    return eval_load(&run->buffers[inst->buffer], place);
}

static EvalElement run_philox(const KInst *inst, const EvalElement *x)
{
    uint32_t key[2] = {(uint32_t)x[0].integer, (uint32_t)x[1].integer}, out[4];
    uint32_t counter[4] = {(uint32_t)x[2].integer, 0, (uint32_t)(inst->imm / 4), 0};
    philox_4x32_10(key, counter, out);
    return integer(out[inst->imm % 4]);
}

static EvalElement run_bits(const KInst *inst, const KInst *operand, EvalElement x)
{
    EvalElement result = {0};
    if (inst->op == K_bits_of && operand->dtype == DT_f64) {
        memcpy(&result.integer, &x.real, sizeof x.real);
    } else if (inst->op == K_bits_of) {
        float narrow = (float)x.real;
        int32_t bits;
        memcpy(&bits, &narrow, sizeof bits);
        result.integer = bits;
    } else if (inst->dtype == DT_f64) {
        memcpy(&result.real, &x.integer, sizeof x.integer);
    } else {
        int32_t bits = (int32_t)x.integer;
        float narrow;
        memcpy(&narrow, &bits, sizeof bits);
        result.real = narrow;
    }
    return result;
}

static EvalElement run_inst(const KernelRun *run, const KInst *inst)
{
    EvalElement x[3] = {{0}};
    for (int i = 0; i < 3; i++)
        if (inst->arg[i] >= 0)
            x[i] = run->values[inst->arg[i]];
    const KInst *operand = inst->arg[0] >= 0 ? &run->stage->insts.items[inst->arg[0]] : inst;
    switch (inst->op) {
    case K_value:
        return dtype_class(inst->dtype) == CLASS_int ? integer(inst->imm)
               : inst->dtype == DT_bool              ? truth(inst->imm != 0)
                                                     : (EvalElement){.real = dtype_round(inst->dtype, inst->value)};
    case K_axis:
        return integer(affine_at(run, &inst->index));
    case K_acc:
        return run->accs[inst->imm];
    case K_load:
        return run_load(run, inst);
    case K_inside:
        return truth(x[0].integer >= 0 && x[0].integer < inst->imm);
    case K_offset:
        return integer(x[0].integer * inst->imm);
    case K_add_offset:
        return integer(x[0].integer + x[1].integer);
    case K_philox:
        return run_philox(inst, x);
    case K_fma:
        if (inst->dtype == DT_f64)
            return (EvalElement){.real = fma(x[0].real, x[1].real, x[2].real)};
        return (EvalElement){.real = fmaf((float)x[0].real, (float)x[1].real, (float)x[2].real)};
    case K_bits_of:
    case K_float_of:
        return run_bits(inst, operand, x[0]);
    case K_mul_high:
        return integer((int64_t)(((uint64_t)(uint32_t)x[0].integer * (uint32_t)x[1].integer) >> 32));
    case K_rint:
        return (EvalElement){.real = rint(x[0].real)};
    case OP_select:
        return x[0].real != 0 ? x[1] : x[2];
    default:
        return eval_element((IrOp)inst->op, operand->dtype, inst->dtype, x, EVAL_declared);
    }
}

static void run_insts(const KernelRun *run, int first, int end)
{
    for (int i = first; i < end; i++)
        run->values[i] = run_inst(run, &run->stage->insts.items[i]);
}

/* ---- accumulators and stores ---- */

static void begin_accs(const KernelRun *run)
{
    for (int i = 0; i < run->stage->accs.count; i++) {
        KCombine combine = run->stage->accs.items[i].combine;
        double real = combine == K_SUM ? 0 : combine == K_PROD ? 1 : combine == K_MAX ? -INFINITY : INFINITY;
        int64_t whole = combine == K_SUM ? 0 : combine == K_PROD ? 1 : combine == K_MAX ? INT32_MIN : INT32_MAX;
        run->accs[i] = (EvalElement){real, whole};
    }
}

static EvalElement fold(const KAcc *acc, EvalElement state, EvalElement value)
{
    static const IrOp ops[] = {OP_add, OP_mul, OP_max, OP_min};
    IrOp op = ops[acc->combine];
    if (dtype_class(acc->dtype) == CLASS_int)
        return integer(eval_wrap(acc->dtype, eval_integer(op, state.integer, value.integer, 0)));
    return (EvalElement){.real = eval_real(op, state.real, value.real, 0)}; /* rounded where it is read */
}

static void fold_accs(const KernelRun *run)
{
    for (int i = 0; i < run->stage->accs.count; i++) {
        const KAcc *acc = &run->stage->accs.items[i];
        run->accs[i] = fold(acc, run->accs[i], run->values[acc->value]);
    }
}

static void run_tail(const KernelRun *run)
{
    const KStage *stage = run->stage;
    run_insts(run, stage->body_count, stage->insts.count);
    for (int i = 0; i < stage->stores.count; i++) {
        const KStore *store = &stage->stores.items[i];
        if (store->guard >= 0 && run->values[store->guard].real == 0)
            continue;
        EvalTensor *buffer = &run->buffers[store->buffer];
        int64_t place = affine_at(run, &store->index);
        if (store->dynamic >= 0)
            place += run->values[store->dynamic].integer;
        EvalElement value = run->values[store->value];
        if (store->add) {
            EvalElement old = eval_load(buffer, place);
            value = (EvalElement){old.real + value.real, old.integer + value.integer};
        }
        value.real = dtype_is_float(buffer->type.dtype) ? dtype_round(buffer->type.dtype, value.real) : value.real;
        eval_store(buffer, place, value);
    }
}

/* ---- loops: MAP axes outside, then the folded ones; each in the order in which it is listed ---- */

static void run_folded(KernelRun *run, int from)
{
    const KStage *stage = run->stage;
    for (int i = from; i < stage->axes.count; i++) {
        if (stage->axes.items[i].kind == K_MAP)
            continue;
        int number = run->kernel->outer.count + i;
        for (int64_t at = 0; at < stage->axes.items[i].extent; at++) {
            run->axis[number] = at;
            run_folded(run, i + 1);
            if (stage->axes.items[i].kind == K_SCAN)
                run_tail(run);
        }
        run->axis[number] = 0;
        return;
    }
    run_insts(run, 0, stage->body_count);
    fold_accs(run);
}

static bool has_scan(const KStage *stage)
{
    for (int i = 0; i < stage->axes.count; i++)
        if (stage->axes.items[i].kind == K_SCAN)
            return true;
    return false;
}

static void run_mapped(KernelRun *run, int from)
{
    const KStage *stage = run->stage;
    for (int i = from; i < stage->axes.count; i++) {
        if (stage->axes.items[i].kind != K_MAP)
            continue;
        int number = run->kernel->outer.count + i;
        for (int64_t at = 0; at < stage->axes.items[i].extent; at++) {
            run->axis[number] = at;
            run_mapped(run, i + 1);
        }
        run->axis[number] = 0;
        return;
    }
    begin_accs(run);
    run_folded(run, 0);
    if (!has_scan(stage))
        run_tail(run);
}

static void run_stages(KernelRun *run)
{
    for (int i = 0; i < run->kernel->stages.count; i++) {
        run->stage = &run->kernel->stages.items[i];
        ArenaMark mark = arena_mark(run->arena);
        run->values = arena_array(run->arena, EvalElement, run->stage->insts.count + 1);
        run->accs = arena_array(run->arena, EvalElement, run->stage->accs.count + 1);
        run_mapped(run, 0);
        arena_rewind(run->arena, mark);
    }
}

static void run_outer(KernelRun *run, int from)
{
    if (from == run->kernel->outer.count) {
        run_stages(run);
        return;
    }
    for (int64_t at = 0; at < run->kernel->outer.items[from].extent; at++) {
        run->axis[from] = at;
        run_outer(run, from + 1);
    }
}

void kernel_eval(Arena *scratch, const Kernel *kernel, void *const *buffers)
{
    KernelRun run = {.arena = scratch, .kernel = kernel};
    run.buffers = arena_array(scratch, EvalTensor, kernel->buffers.count + 1);
    for (int i = 0; i < kernel->buffers.count; i++) {
        const KBuffer *buffer = &kernel->buffers.items[i];
        run.buffers[i] = eval_tensor_new(scratch, ir_type(buffer->dtype, 1, &buffer->count));
        if (buffer->kind != K_LOCAL)
            eval_tensor_read(&run.buffers[i], buffers[i]);
    }
    run_outer(&run, 0);
    for (int i = 0; i < kernel->buffers.count; i++)
        if (kernel->buffers.items[i].kind == K_OUT || kernel->buffers.items[i].kind == K_INOUT)
            eval_tensor_write(&run.buffers[i], buffers[i]);
}
