/* A kernel as an LLVM module: its phases as functions, its buffers as addresses, its stages in order. */
#include "backends/cpu/reshape.h"

#include <stdio.h>
#include <string.h>

enum { LARGE_BYTES = 1 << 20 }; /* that no near cache holds */

/* ---- memory ---- */

static size_t reserve(size_t *total, size_t bytes)
{
    size_t offset = *total;
    *total += (bytes + 63) / 64 * 64;
    return offset;
}

size_t codegen_reserve_scratch(Codegen *cg, size_t bytes)
{
    return reserve(&cg->shape.scratch_bytes, bytes);
}

size_t codegen_reserve_shared(Codegen *cg, size_t bytes)
{
    return reserve(&cg->shape.shared_bytes, bytes);
}

static void reserve_locals(Codegen *cg, const Kernel *kernel)
{
    for (int i = 0; i < kernel->buffers.count; i++) {
        const KBuffer *buffer = &kernel->buffers.items[i];
        if (buffer->kind != K_LOCAL)
            continue;
        size_t bytes = (size_t)buffer->count * (size_t)dtype_size(buffer->dtype);
        cg->local_offset[i] = cg->locals_shared ? codegen_reserve_shared(cg, bytes) : codegen_reserve_scratch(cg, bytes);
    }
}

static LLVMValueRef byte_address(Codegen *cg, LLVMValueRef base, size_t offset)
{
    LLVMValueRef index = codegen_i64(cg, (int64_t)offset);
    return LLVMBuildInBoundsGEP2(cg->builder, cg->i8, base, &index, 1, "");
}

static void load_buffers(Codegen *cg, LLVMValueRef table)
{
    int argument = 0;
    for (int i = 0; i < cg->kernel->buffers.count; i++) {
        const KBuffer *buffer = &cg->kernel->buffers.items[i];
        if (buffer->kind == K_LOCAL) {
            cg->buffers[i] = byte_address(cg, cg->locals_shared ? cg->shared : cg->scratch, cg->local_offset[i]);
            continue;
        }
        LLVMValueRef index = codegen_i64(cg, argument++);
        LLVMValueRef place = LLVMBuildInBoundsGEP2(cg->builder, cg->ptr, table, &index, 1, "");
        cg->buffers[i] = LLVMBuildLoad2(cg->builder, cg->ptr, place, buffer->name ? buffer->name : "");
    }
}

/* ---- phases ---- */

static void add_attribute(Codegen *cg, const char *key, const char *value)
{
    LLVMAttributeRef attribute =
        LLVMCreateStringAttribute(cg->context, key, (unsigned)strlen(key), value, (unsigned)strlen(value));
    LLVMAddAttributeAtIndex(cg->function, LLVMAttributeFunctionIndex, attribute);
}

static void add_flag(Codegen *cg, LLVMAttributeIndex index, const char *name)
{
    unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(cg->function, index, LLVMCreateEnumAttribute(cg->context, kind, 0));
}

static void set_attributes(Codegen *cg)
{
    char width[16];
    snprintf(width, sizeof width, "%d", cg->target->lanes * 32);
    add_attribute(cg, "target-cpu", cg->target->cpu);
    add_attribute(cg, "target-features", cg->target->features);
    add_attribute(cg, "prefer-vector-width", width);
    add_attribute(cg, "min-legal-vector-width", width);
    add_attribute(cg, "frame-pointer", "none");
    add_flag(cg, LLVMAttributeFunctionIndex, "nounwind");
    for (LLVMAttributeIndex i = 1; i <= 5; i++)
        if (i == 1 || i >= 4)
            add_flag(cg, i, "noalias");
}

LLVMValueRef phase_begin(Codegen *cg, int64_t tasks, double work)
{
    CpuPhase *phase = &cg->shape.phases[cg->shape.phase_count];
    *phase = (CpuPhase){.tasks = tasks, .work = work};
    const char *name = arena_printf(cg->arena, "%s_%d", cg->symbol, cg->shape.phase_count);
    LLVMTypeRef params[] = {cg->ptr, cg->i64, cg->i64, cg->ptr, cg->ptr};
    cg->function = LLVMAddFunction(cg->module, name, LLVMFunctionType(cg->nothing, params, 5, false));
    set_attributes(cg);
    cg->scratch = LLVMGetParam(cg->function, 3);
    cg->shared = LLVMGetParam(cg->function, 4);
    cg->entry = LLVMAppendBasicBlockInContext(cg->context, cg->function, "entry");
    LLVMBasicBlockRef start = LLVMAppendBasicBlockInContext(cg->context, cg->function, "start");
    LLVMPositionBuilderAtEnd(cg->builder, cg->entry);
    LLVMBuildBr(cg->builder, start);
    LLVMPositionBuilderAtEnd(cg->builder, start);
    load_buffers(cg, LLVMGetParam(cg->function, 0));
    cg->task_loop = arena_new_of(cg->arena, Loop);
    *cg->task_loop = loop_begin(cg, LLVMGetParam(cg->function, 1), LLVMGetParam(cg->function, 2), 1, "task");
    return cg->task_loop->index;
}

void phase_end(Codegen *cg)
{
    loop_end(cg, cg->task_loop);
    LLVMBuildRetVoid(cg->builder);
    cg->shape.phase_count++;
}

/* ---- stages ---- */

static bool stage_is_empty(const KStage *stage)
{
    for (int i = 0; i < stage->axes.count; i++)
        if (stage->axes.items[i].kind != K_REDUCE && stage->axes.items[i].extent == 0)
            return true;
    return false;
}

static double nanoseconds(double cycles)
{
    return cycles / 3;
}

static void emit_stage_phase(Codegen *cg, const Reshaped *reshaped, int stage)
{
    Kernel *kernel = reshaped->kernel;
    KStage *code = &kernel->stages.items[stage];
    if (code->kind == K_STAGE_CONTRACT) {
        cg->kernel = reshape_single(cg->arena, kernel, stage);
        if (contract_emit_phases(cg, cg->kernel))
            return;
        kernel_merge_axes(kernel, code);
    }
    cg->kernel = kernel;
    Nest nest = nest_choose(cg->arena, cg->target, kernel, code, reshaped->ragged.items[stage], true);
    LLVMValueRef task = phase_begin(cg, nest.tasks, nanoseconds(nest.cycles));
    loops_emit(cg, &nest, task);
    phase_end(cg);
}

static void decode_outer(Codegen *cg, LLVMValueRef task)
{
    for (int axis = cg->kernel->outer.count - 1; axis >= 0; axis--) {
        LLVMValueRef extent = codegen_i64(cg, cg->kernel->outer.items[axis].extent);
        cg->outer[axis] = axis == 0 ? task : LLVMBuildURem(cg->builder, task, extent, "");
        task = LLVMBuildUDiv(cg->builder, task, extent, "");
    }
}

/* How far apart a stage's reads of the buffer lie for one outer point and the next; 0: it does not read it, or not so. */
static int64_t step_of_reads(const Kernel *kernel, const KStage *stage, int buffer)
{
    int64_t step = 0;
    for (int i = 0; kernel->outer.count && i < stage->insts.count; i++) {
        const KInst *inst = &stage->insts.items[i];
        if (inst->op == K_load && inst->buffer == buffer)
            step = inst->index.coef[kernel->outer.count - 1];
    }
    return step;
}

/* A large array that several stages read comes from far away in the first and lies near in the others: while the last one
 * works, what the first one will read for the next point is fetched. */
static void choose_ahead(Codegen *cg, const Kernel *kernel, int stage)
{
    for (int buffer = 0; buffer < kernel->buffers.count; buffer++) {
        const KBuffer *info = &kernel->buffers.items[buffer];
        bool before = false, after = false;
        for (int i = 0; i < kernel->stages.count; i++) {
            bool reads = step_of_reads(kernel, &kernel->stages.items[i], buffer) != 0;
            before |= reads && i < stage;
            after |= reads && i > stage;
        }
        bool large = info->kind == K_IN && info->count * dtype_size(info->dtype) >= LARGE_BYTES;
        cg->ahead[buffer] = large && before && !after ? step_of_reads(kernel, &kernel->stages.items[stage], buffer) : 0;
    }
}

static void emit_points_phase(Codegen *cg, const Reshaped *reshaped)
{
    Kernel *kernel = reshaped->kernel;
    cg->kernel = kernel;
    Nest *nests = arena_array(cg->arena, Nest, kernel->stages.count);
    double cycles = 0;
    for (int i = 0; i < kernel->stages.count; i++) {
        nests[i] = nest_choose(cg->arena, cg->target, kernel, &kernel->stages.items[i], reshaped->ragged.items[i], false);
        cycles += nests[i].cycles;
    }
    int64_t points = kernel_points(kernel);
    decode_outer(cg, phase_begin(cg, points, nanoseconds(cycles * (double)points)));
    for (int i = 0; i < kernel->stages.count; i++) {
        KStage *stage = &kernel->stages.items[i];
        if (stage_is_empty(stage))
            continue;
        if (stage->kind == K_STAGE_CONTRACT && contract_emit(cg, kernel, stage))
            continue;
        choose_ahead(cg, kernel, i);
        loops_emit(cg, &nests[i], NULL);
    }
    memset(cg->ahead, 0, sizeof cg->ahead);
    phase_end(cg);
}

static void make_zeros(Codegen *cg)
{
    LLVMTypeRef type = LLVMArrayType2(cg->i8, 256);
    cg->zeros = LLVMAddGlobal(cg->module, type, "zeros");
    LLVMSetInitializer(cg->zeros, LLVMConstNull(type));
    LLVMSetGlobalConstant(cg->zeros, true);
    LLVMSetLinkage(cg->zeros, LLVMPrivateLinkage);
    LLVMSetAlignment(cg->zeros, 64);
}

void emit_kernel(Codegen *cg, const Kernel *kernel)
{
    make_zeros(cg);
    Reshaped reshaped = reshape_kernel(cg->arena, cg->target, kernel);
    cg->locals_shared = reshaped.by_stage;
    reserve_locals(cg, reshaped.kernel);
    if (!reshaped.by_stage && kernel_points(kernel) > 0)
        emit_points_phase(cg, &reshaped);
    for (int i = 0; reshaped.by_stage && i < reshaped.kernel->stages.count; i++)
        if (!stage_is_empty(&reshaped.kernel->stages.items[i]))
            emit_stage_phase(cg, &reshaped, i);
}
