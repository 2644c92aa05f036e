/* The emitter's ground: types, constants, counted loops, and memory by element type. */
#include "backends/cpu/cpu_internal.h"

#include <string.h>

/* ---- types and constants ---- */

LLVMTypeRef codegen_memory_type(Codegen *cg, DType dtype)
{
    switch (dtype) {
    case DT_f32:
        return cg->f32;
    case DT_f64:
        return cg->f64;
    case DT_f16:
    case DT_bf16:
        return cg->i16;
    case DT_bool:
    case DT_u8:
        return cg->i8;
    case DT_i64:
        return cg->i64;
    default:
        return cg->i32;
    }
}

LLVMTypeRef codegen_value_type(Codegen *cg, DType dtype)
{
    switch (dtype) {
    case DT_f16:
    case DT_bf16:
        return cg->f32;
    case DT_bool:
        return cg->i1;
    default:
        return codegen_memory_type(cg, dtype);
    }
}

LLVMTypeRef codegen_vector_type(LLVMTypeRef element, int lanes)
{
    return lanes == 1 ? element : LLVMVectorType(element, (unsigned)lanes);
}

LLVMValueRef codegen_i64(Codegen *cg, int64_t value)
{
    return LLVMConstInt(cg->i64, (unsigned long long)value, true);
}

bool value_is_vector(LLVMValueRef value)
{
    return LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMVectorTypeKind;
}

LLVMValueRef emit_splat(Codegen *cg, LLVMValueRef value, int lanes)
{
    if (lanes == 1 || value_is_vector(value))
        return value;
    LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(value), (unsigned)lanes);
    LLVMValueRef one = LLVMBuildInsertElement(cg->builder, LLVMGetPoison(type), value, codegen_i64(cg, 0), "");
    LLVMValueRef zeros = LLVMConstNull(LLVMVectorType(cg->i32, (unsigned)lanes));
    return LLVMBuildShuffleVector(cg->builder, one, LLVMGetPoison(type), zeros, "");
}

LLVMValueRef emit_iota(Codegen *cg, LLVMTypeRef element, int lanes, int64_t step)
{
    (void)cg;
    LLVMValueRef items[64];
    for (int i = 0; i < lanes; i++)
        items[i] = LLVMConstInt(element, (unsigned long long)(i * step), true);
    return LLVMConstVector(items, (unsigned)lanes);
}

LLVMValueRef emit_least(Codegen *cg, LLVMValueRef a, LLVMValueRef b)
{
    return LLVMBuildSelect(cg->builder, LLVMBuildICmp(cg->builder, LLVMIntSLT, a, b, ""), a, b, "");
}

LLVMValueRef emit_lane_mask(Codegen *cg, LLVMValueRef count, int lanes)
{
    LLVMValueRef narrow = LLVMBuildTrunc(cg->builder, emit_least(cg, count, codegen_i64(cg, lanes)), cg->i32, "");
    return LLVMBuildICmp(cg->builder, LLVMIntSLT, emit_iota(cg, cg->i32, lanes, 1), emit_splat(cg, narrow, lanes), "mask");
}

static LLVMValueRef call_intrinsic(Codegen *cg, const char *name, LLVMTypeRef *overloads, int overload_count,
                                   LLVMValueRef *args, int count)
{
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMValueRef callee = LLVMGetIntrinsicDeclaration(cg->module, id, overloads, (size_t)overload_count);
    LLVMTypeRef type = LLVMIntrinsicGetType(cg->context, id, overloads, (size_t)overload_count);
    return LLVMBuildCall2(cg->builder, type, callee, args, (unsigned)count, "");
}

LLVMValueRef emit_intrinsic(Codegen *cg, const char *name, LLVMTypeRef overload, const LLVMValueRef *args, int count)
{
    LLVMValueRef copy[4];
    memcpy(copy, args, (size_t)count * sizeof *copy);
    return call_intrinsic(cg, name, &overload, 1, copy, count);
}

void emit_prefetch(Codegen *cg, LLVMValueRef address)
{
    enum { READ = 0, ALL_LEVELS = 3, DATA = 1 };
    const LLVMValueRef args[] = {address, LLVMConstInt(cg->i32, READ, false), LLVMConstInt(cg->i32, ALL_LEVELS, false),
                                 LLVMConstInt(cg->i32, DATA, false)};
    emit_intrinsic(cg, "llvm.prefetch", LLVMTypeOf(address), args, 4);
}

void emit_forget_vectors(Codegen *cg)
{
    Text clobbers = text_new(cg->arena);
    if (cg->target->registers != 16)
        return;
    for (int i = 0; i < cg->target->registers; i++)
        text_printf(&clobbers, "%s~{xmm%d}", i ? "," : "", i);
    LLVMTypeRef type = LLVMFunctionType(LLVMVoidTypeInContext(cg->context), NULL, 0, false);
    LLVMValueRef nothing =
        LLVMGetInlineAsm(type, "", 0, clobbers.data, clobbers.length, true, false, LLVMInlineAsmDialectATT, false);
    LLVMBuildCall2(cg->builder, type, nothing, NULL, 0, "");
}

LLVMValueRef emit_plain_intrinsic(Codegen *cg, const char *name, const LLVMValueRef *args, int count)
{
    LLVMValueRef copy[8];
    memcpy(copy, args, (size_t)count * sizeof *copy);
    return call_intrinsic(cg, name, NULL, 0, copy, count);
}

LLVMValueRef emit_alloca(Codegen *cg, LLVMTypeRef type, const char *name)
{
    LLVMBasicBlockRef here = LLVMGetInsertBlock(cg->builder);
    LLVMPositionBuilderBefore(cg->builder, LLVMGetBasicBlockTerminator(cg->entry));
    LLVMValueRef slot = LLVMBuildAlloca(cg->builder, type, name);
    LLVMPositionBuilderAtEnd(cg->builder, here);
    return slot;
}

/* ---- counted loops ---- */

static bool constant_of(LLVMValueRef value, int64_t *out)
{
    if (!LLVMIsAConstantInt(value))
        return false;
    *out = LLVMConstIntGetSExtValue(value);
    return true;
}

Loop loop_begin(Codegen *cg, LLVMValueRef begin, LLVMValueRef end, int64_t step, const char *name)
{
    Loop loop = {.end = end, .step = step, .tested = true, .before = LLVMGetInsertBlock(cg->builder)};
    int64_t first, last;
    if (constant_of(begin, &first) && constant_of(end, &last) && first < last) {
        loop.tested = false;
        loop.single = first + step >= last;
    }
    loop.index = begin;
    if (loop.single)
        return loop;
    loop.body = LLVMAppendBasicBlockInContext(cg->context, cg->function, name);
    loop.exit = LLVMAppendBasicBlockInContext(cg->context, cg->function, "");
    if (loop.tested) {
        LLVMValueRef some = LLVMBuildICmp(cg->builder, LLVMIntSLT, begin, end, "");
        LLVMBuildCondBr(cg->builder, some, loop.body, loop.exit);
    } else {
        LLVMBuildBr(cg->builder, loop.body);
    }
    LLVMPositionBuilderAtEnd(cg->builder, loop.body);
    loop.index = LLVMBuildPhi(cg->builder, cg->i64, name);
    LLVMAddIncoming(loop.index, &begin, &loop.before, 1);
    return loop;
}

LLVMValueRef loop_carry(Codegen *cg, Loop *loop, LLVMValueRef initial)
{
    int i = loop->carry_count++;
    loop->initial[i] = loop->carry[i] = loop->next[i] = initial;
    if (!loop->single) {
        loop->carry[i] = loop->next[i] = LLVMBuildPhi(cg->builder, LLVMTypeOf(initial), "");
        LLVMAddIncoming(loop->carry[i], &initial, &loop->before, 1);
    }
    return loop->carry[i];
}

void loop_set(Loop *loop, int carry, LLVMValueRef next)
{
    loop->next[carry] = next;
}

void loop_end(Codegen *cg, Loop *loop)
{
    memcpy(loop->result, loop->next, sizeof loop->next);
    if (loop->single)
        return;
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(cg->builder);
    LLVMValueRef next = LLVMBuildNSWAdd(cg->builder, loop->index, codegen_i64(cg, loop->step), "");
    LLVMValueRef again = LLVMBuildICmp(cg->builder, LLVMIntSLT, next, loop->end, "");
    LLVMBuildCondBr(cg->builder, again, loop->body, loop->exit);
    LLVMAddIncoming(loop->index, &next, &latch, 1);
    for (int i = 0; i < loop->carry_count; i++)
        LLVMAddIncoming(loop->carry[i], &loop->next[i], &latch, 1);
    LLVMMoveBasicBlockAfter(loop->exit, latch);
    LLVMPositionBuilderAtEnd(cg->builder, loop->exit);
    for (int i = 0; loop->tested && i < loop->carry_count; i++) {
        loop->result[i] = LLVMBuildPhi(cg->builder, LLVMTypeOf(loop->carry[i]), "");
        LLVMAddIncoming(loop->result[i], &loop->initial[i], &loop->before, 1);
        LLVMAddIncoming(loop->result[i], &loop->next[i], &latch, 1);
    }
}

/* ---- memory ---- */

LLVMValueRef emit_address(Codegen *cg, int buffer, LLVMValueRef element)
{
    LLVMTypeRef type = codegen_memory_type(cg, cg->kernel->buffers.items[buffer].dtype);
    return LLVMBuildInBoundsGEP2(cg->builder, type, cg->buffers[buffer], &element, 1, "");
}

/* The type of `like`'s shape with elements `element`. */
static LLVMTypeRef type_like(LLVMTypeRef element, LLVMValueRef like)
{
    LLVMTypeRef type = LLVMTypeOf(like);
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMVectorType(element, LLVMGetVectorSize(type)) : element;
}

/* From what lies in memory to what is computed with. */
static LLVMValueRef widen(Codegen *cg, DType dtype, LLVMValueRef raw)
{
    LLVMBuilderRef b = cg->builder;
    switch (dtype) {
    case DT_bool:
        return LLVMBuildICmp(b, LLVMIntNE, raw, LLVMConstNull(LLVMTypeOf(raw)), "");
    case DT_f16:
        return LLVMBuildFPExt(b, LLVMBuildBitCast(b, raw, type_like(cg->half, raw), ""), type_like(cg->f32, raw), "");
    case DT_bf16: {
        LLVMTypeRef wide = type_like(cg->i32, raw);
        int lanes = value_is_vector(raw) ? (int)LLVMGetVectorSize(wide) : 1;
        LLVMValueRef sixteen = emit_splat(cg, LLVMConstInt(cg->i32, 16, false), lanes);
        LLVMValueRef bits = LLVMBuildShl(b, LLVMBuildZExt(b, raw, wide, ""), sixteen, "");
        return LLVMBuildBitCast(b, bits, type_like(cg->f32, raw), "");
    }
    default:
        return raw;
    }
}

/* bf16 by integers: few CPUs round to it, and the library call that would stand in is not everywhere. */
static LLVMValueRef narrow_to_bfloat(Codegen *cg, LLVMValueRef value)
{
    LLVMBuilderRef b = cg->builder;
    LLVMTypeRef wide = type_like(cg->i32, value);
    int lanes = value_is_vector(value) ? (int)LLVMGetVectorSize(wide) : 1;
#define INT(n) emit_splat(cg, LLVMConstInt(cg->i32, n, false), lanes)
    LLVMValueRef bits = LLVMBuildBitCast(b, value, wide, "");
    LLVMValueRef high = LLVMBuildLShr(b, bits, INT(16), "");
    LLVMValueRef odd = LLVMBuildAnd(b, high, INT(1), "");
    LLVMValueRef up = LLVMBuildAdd(b, LLVMBuildAdd(b, bits, INT(0x7fff), ""), odd, "");
    LLVMValueRef rounded = LLVMBuildLShr(b, up, INT(16), "");
    LLVMValueRef quiet = LLVMBuildOr(b, high, INT(0x40), "");
    LLVMValueRef is_nan = LLVMBuildFCmp(b, LLVMRealUNO, value, value, "");
#undef INT
    return LLVMBuildTrunc(b, LLVMBuildSelect(b, is_nan, quiet, rounded, ""), type_like(cg->i16, value), "");
}

static LLVMValueRef narrow(Codegen *cg, DType dtype, LLVMValueRef value)
{
    LLVMBuilderRef b = cg->builder;
    switch (dtype) {
    case DT_bool:
        return LLVMBuildZExt(b, value, type_like(cg->i8, value), "");
    case DT_f16:
        return LLVMBuildBitCast(b, LLVMBuildFPTrunc(b, value, type_like(cg->half, value), ""), type_like(cg->i16, value), "");
    case DT_bf16:
        return narrow_to_bfloat(cg, value);
    default:
        return value;
    }
}

static LLVMValueRef alignment_of(Codegen *cg, DType dtype)
{
    return LLVMConstInt(cg->i32, (unsigned long long)dtype_size(dtype), false);
}

LLVMValueRef emit_load(Codegen *cg, DType dtype, LLVMValueRef address, int lanes, LLVMValueRef mask)
{
    LLVMTypeRef type = codegen_vector_type(codegen_memory_type(cg, dtype), lanes);
    LLVMValueRef raw;
    if (mask && lanes > 1) {
        LLVMValueRef args[] = {address, alignment_of(cg, dtype), mask, LLVMConstNull(type)};
        raw = call_intrinsic(cg, "llvm.masked.load", (LLVMTypeRef[]){type, cg->ptr}, 2, args, 4);
    } else {
        raw = LLVMBuildLoad2(cg->builder, type, address, "");
        LLVMSetAlignment(raw, (unsigned)dtype_size(dtype));
    }
    return widen(cg, dtype, raw);
}

void emit_store(Codegen *cg, DType dtype, LLVMValueRef address, LLVMValueRef value, int lanes, LLVMValueRef mask)
{
    LLVMValueRef raw = narrow(cg, dtype, emit_splat(cg, value, lanes));
    if (mask && lanes > 1) {
        LLVMValueRef args[] = {raw, address, alignment_of(cg, dtype), mask};
        call_intrinsic(cg, "llvm.masked.store", (LLVMTypeRef[]){LLVMTypeOf(raw), cg->ptr}, 2, args, 4);
    } else {
        LLVMSetAlignment(LLVMBuildStore(cg->builder, raw, address), (unsigned)dtype_size(dtype));
    }
}

static LLVMValueRef full_mask(Codegen *cg, LLVMValueRef mask, int lanes)
{
    return mask ? mask : LLVMConstAllOnes(LLVMVectorType(cg->i1, (unsigned)lanes));
}

LLVMValueRef emit_gather(Codegen *cg, DType dtype, LLVMValueRef addresses, int lanes, LLVMValueRef mask)
{
    LLVMTypeRef type = LLVMVectorType(codegen_memory_type(cg, dtype), (unsigned)lanes);
    LLVMValueRef args[] = {addresses, alignment_of(cg, dtype), full_mask(cg, mask, lanes), LLVMConstNull(type)};
    LLVMTypeRef overloads[] = {type, LLVMTypeOf(addresses)};
    return widen(cg, dtype, call_intrinsic(cg, "llvm.masked.gather", overloads, 2, args, 4));
}

void emit_scatter(Codegen *cg, DType dtype, LLVMValueRef addresses, LLVMValueRef value, int lanes, LLVMValueRef mask)
{
    LLVMValueRef raw = narrow(cg, dtype, emit_splat(cg, value, lanes));
    LLVMValueRef args[] = {raw, addresses, alignment_of(cg, dtype), full_mask(cg, mask, lanes)};
    LLVMTypeRef overloads[] = {LLVMTypeOf(raw), LLVMTypeOf(addresses)};
    call_intrinsic(cg, "llvm.masked.scatter", overloads, 2, args, 4);
}
