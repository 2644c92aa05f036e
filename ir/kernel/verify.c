/* The verifier of kernels: arguments before their uses, stores in the tail, every unguarded access inside its buffer. */
#include "ir/kernel/kernel.h"

typedef struct KernelCheck {
    const Kernel *kernel;
    const KStage *stage;
    DiagSink *diags;
} KernelCheck;

static bool fail(const KernelCheck *check, const char *what, int number)
{
    diag_report(check->diags, DIAG_bad_ir, check->kernel->span, "kernel %s: %s (%%%d)", check->kernel->name, what, number);
    return false;
}

static int64_t extent_of(const KernelCheck *check, int axis)
{
    int outer = check->kernel->outer.count;
    if (axis < outer)
        return check->kernel->outer.items[axis].extent;
    return axis - outer < check->stage->axes.count ? check->stage->axes.items[axis - outer].extent : 0;
}

/* The least and greatest value of an affine form; an axis that does not exist may not be named. */
static bool range_of(const KernelCheck *check, const Affine *affine, int64_t *least, int64_t *greatest)
{
    *least = *greatest = affine->offset;
    for (int i = 0; i < K_MAX_AXES; i++) {
        int64_t reach, extent = extent_of(check, i);
        if (!affine->coef[i])
            continue;
        if (extent <= 0 || __builtin_mul_overflow(affine->coef[i], extent - 1, &reach))
            return false;
        *(reach < 0 ? least : greatest) += reach;
    }
    return true;
}

static bool check_access(const KernelCheck *check, int buffer, const Affine *index, bool guarded, int number)
{
    int64_t least, greatest;
    if (buffer < 0 || buffer >= check->kernel->buffers.count)
        return fail(check, "no such buffer", number);
    if (!range_of(check, index, &least, &greatest))
        return fail(check, "an access along an axis that does not exist", number);
    if (!guarded && (least < 0 || greatest >= check->kernel->buffers.items[buffer].count))
        return fail(check, "an access outside its buffer", number);
    return true;
}

static bool check_inst(const KernelCheck *check, int number)
{
    const KInst *inst = &check->stage->insts.items[number];
    bool tail = number >= check->stage->body_count;
    if (inst->op < 0 || inst->op >= K_OP_COUNT)
        return fail(check, "no such operation", number);
    for (int i = 0; i < 3; i++)
        if (inst->arg[i] >= number || (tail && inst->arg[i] >= 0 && inst->arg[i] < check->stage->body_count))
            return fail(check, "an argument that is not there yet", number);
    if (inst->op == K_acc && (!tail || inst->imm < 0 || inst->imm >= check->stage->accs.count))
        return fail(check, "no such accumulator", number);
    if (inst->op != K_load)
        return true;
    return check_access(check, inst->buffer, &inst->index, inst->arg[0] >= 0 || inst->arg[1] >= 0, number);
}

static bool check_stage(const KernelCheck *check)
{
    const KStage *stage = check->stage;
    Contraction roles;
    for (int i = 0; i < stage->insts.count; i++)
        if (!check_inst(check, i))
            return false;
    for (int i = 0; i < stage->accs.count; i++)
        if (stage->accs.items[i].value < 0 || stage->accs.items[i].value >= stage->body_count)
            return fail(check, "an accumulator of nothing", i);
    for (int i = 0; i < stage->stores.count; i++) {
        const KStore *store = &stage->stores.items[i];
        if (store->value < stage->body_count || store->value >= stage->insts.count)
            return fail(check, "a store outside the tail", i);
        if (!check_access(check, store->buffer, &store->index, store->guard >= 0 || store->dynamic >= 0, i))
            return false;
        if (check->kernel->buffers.items[store->buffer].kind == K_IN)
            return fail(check, "a store to an input", i);
    }
    if (stage->kind == K_STAGE_CONTRACT && !kernel_contraction(check->kernel, stage, &roles))
        return fail(check, "a contraction that is none", 0);
    return true;
}

bool kernel_verify(const Kernel *kernel, DiagSink *diags)
{
    KernelCheck check = {.kernel = kernel, .diags = diags};
    for (int i = 0; i < kernel->stages.count; i++) {
        check.stage = &kernel->stages.items[i];
        if (kernel->outer.count + check.stage->axes.count > K_MAX_AXES)
            return fail(&check, "too many axes", i);
        if (!check_stage(&check))
            return false;
    }
    return true;
}
