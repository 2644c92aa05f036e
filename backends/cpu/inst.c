/* Instructions of a stage at a point: scalar where all lanes agree, else vectors. */
#include "backends/cpu/cpu_internal.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- points ---- */

void point_init(Codegen *cg, Point *point, const KStage *stage, int lanes)
{
    *point = (Point){.stage = stage, .lanes = lanes};
    memcpy(point->axis, cg->outer, sizeof cg->outer);
    point->values = arena_array(cg->arena, LLVMValueRef, stage->insts.count + 1);
    point->accs = arena_array(cg->arena, LLVMValueRef, stage->accs.count + 1);
}

void point_set_vector_axis(Point *point, int axis, LLVMValueRef first)
{
    point->vector_axes[0] = axis;
    point->vector_count = 1;
    point->flat = point->axis[axis] = first;
}

static int64_t axis_extent(const Codegen *cg, const Point *point, int axis)
{
    int outer = cg->kernel->outer.count;
    return axis < outer ? cg->kernel->outer.items[axis].extent : point->stage->axes.items[axis - outer].extent;
}

static bool is_vector_axis(const Point *point, int axis)
{
    for (int i = 0; i < point->vector_count; i++)
        if (point->vector_axes[i] == axis)
            return true;
    return false;
}

bool point_stride(const Codegen *cg, const Point *point, const Affine *affine, int64_t *stride)
{
    *stride = 0;
    if (point->vector_count == 0)
        return true;
    int innermost = point->vector_axes[point->vector_count - 1];
    int64_t step = *stride = affine->coef[innermost];
    for (int i = point->vector_count - 1; i >= 0; i--) {
        int axis = point->vector_axes[i];
        if (affine->coef[axis] != step)
            return false;
        step *= axis_extent(cg, point, axis);
    }
    return true;
}

static LLVMValueRef add_term(Codegen *cg, LLVMValueRef sum, int64_t coef, LLVMValueRef index)
{
    if (coef == 0)
        return sum;
    LLVMValueRef term = coef == 1 ? index : LLVMBuildNSWMul(cg->builder, index, codegen_i64(cg, coef), "");
    return sum ? LLVMBuildNSWAdd(cg->builder, sum, term, "") : term;
}

LLVMValueRef emit_affine(Codegen *cg, Point *point, const Affine *affine)
{
    int count = cg->kernel->outer.count + point->stage->axes.count;
    LLVMValueRef sum = affine->offset ? codegen_i64(cg, affine->offset) : NULL;
    for (int axis = 0; axis < count; axis++)
        if (!is_vector_axis(point, axis))
            sum = add_term(cg, sum, affine->coef[axis], point->axis[axis]);
    int64_t stride;
    if (point_stride(cg, point, affine, &stride))
        sum = add_term(cg, sum, stride, point->flat);
    return sum ? sum : codegen_i64(cg, 0);
}

/* The part of the affine form that differs by lane, over a flattened vector axis that it does not step through evenly: as i32
 * where it cannot overflow, since gathers with narrow offsets are the quick ones. */
static LLVMValueRef lane_offsets(Codegen *cg, Point *point, const Affine *affine)
{
    LLVMBuilderRef b = cg->builder;
    int64_t reach = 0;
    for (int i = 0; i < point->vector_count; i++)
        reach += llabs(affine->coef[point->vector_axes[i]]) * axis_extent(cg, point, point->vector_axes[i]);
    LLVMTypeRef element = reach < INT32_MAX ? cg->i32 : cg->i64;
    int lanes = point->lanes;
    LLVMValueRef first = element == cg->i32 ? LLVMBuildTrunc(b, point->flat, cg->i32, "") : point->flat;
    LLVMValueRef rest = LLVMBuildAdd(b, emit_splat(cg, first, lanes), emit_iota(cg, element, lanes, 1), "");
    LLVMValueRef sum = LLVMConstNull(LLVMTypeOf(rest));
    for (int i = point->vector_count - 1; i >= 0; i--) {
        int axis = point->vector_axes[i];
        LLVMValueRef extent =
            emit_splat(cg, LLVMConstInt(element, (unsigned long long)axis_extent(cg, point, axis), true), lanes);
        LLVMValueRef index = i == 0 ? rest : LLVMBuildURem(b, rest, extent, "");
        LLVMValueRef coef = emit_splat(cg, LLVMConstInt(element, (unsigned long long)affine->coef[axis], true), lanes);
        sum = LLVMBuildAdd(b, sum, LLVMBuildMul(b, index, coef, ""), "");
        rest = i == 0 ? rest : LLVMBuildUDiv(b, rest, extent, "");
    }
    return sum;
}

/* ---- places in memory ---- */

typedef struct Place {
    LLVMValueRef address;   /* of the only element, or of the first of neighbours */
    LLVMValueRef addresses; /* a vector of pointers where they are neither */
    bool uniform;
} Place;

static Place place_of(Codegen *cg, Point *point, int buffer, const Affine *index, LLVMValueRef dynamic)
{
    LLVMTypeRef type = codegen_memory_type(cg, cg->kernel->buffers.items[buffer].dtype);
    LLVMBuilderRef b = cg->builder;
    LLVMValueRef element = emit_affine(cg, point, index);
    bool scattered = dynamic && value_is_vector(dynamic);
    if (dynamic && !scattered)
        element = LLVMBuildAdd(b, element, dynamic, "");
    Place place = {.address = emit_address(cg, buffer, element)};
    int64_t stride;
    bool even = point_stride(cg, point, index, &stride);
    place.uniform = even && stride == 0 && !scattered;
    if (place.uniform || (even && stride == 1 && !scattered))
        return place;
    LLVMValueRef lanes = !even ? lane_offsets(cg, point, index) : emit_iota(cg, cg->i64, point->lanes, stride);
    if (scattered && !even)
        lanes = LLVMBuildAdd(b, LLVMBuildSExt(b, lanes, LLVMTypeOf(dynamic), ""), dynamic, "");
    else if (scattered)
        lanes = LLVMBuildAdd(b, lanes, dynamic, "");
    place.addresses = LLVMBuildInBoundsGEP2(b, type, place.address, &lanes, 1, "");
    return place;
}

/* Both, where each may be null for true. */
static LLVMValueRef both(Codegen *cg, Point *point, LLVMValueRef mask, LLVMValueRef guard)
{
    if (!mask || !guard)
        return mask ? mask : guard;
    return LLVMBuildAnd(cg->builder, mask, emit_splat(cg, guard, point->lanes), "");
}

/* What lies ahead of neighbours in memory that are being read is on its way when it is wanted. */
static void emit_fetch_ahead(Codegen *cg, int buffer, LLVMValueRef address)
{
    LLVMTypeRef type = codegen_memory_type(cg, cg->kernel->buffers.items[buffer].dtype);
    LLVMValueRef distance = codegen_i64(cg, cg->ahead[buffer]);
    LLVMValueRef reading = LLVMConstInt(cg->i32, 0, false), second_level = LLVMConstInt(cg->i32, 2, false);
    LLVMValueRef data = LLVMConstInt(cg->i32, 1, false);
    LLVMValueRef args[] = {LLVMBuildGEP2(cg->builder, type, address, &distance, 1, ""), reading, second_level, data};
    emit_intrinsic(cg, "llvm.prefetch", cg->ptr, args, 4);
}

static LLVMValueRef emit_load_inst(Codegen *cg, Point *point, const KInst *inst)
{
    LLVMBuilderRef b = cg->builder;
    DType dtype = cg->kernel->buffers.items[inst->buffer].dtype;
    LLVMValueRef dynamic = inst->arg[0] >= 0 ? point->values[inst->arg[0]] : NULL;
    LLVMValueRef guard = inst->arg[1] >= 0 ? point->values[inst->arg[1]] : NULL;
    bool guard_varies = guard && value_is_vector(guard);
    Place place = place_of(cg, point, inst->buffer, &inst->index, dynamic);
    if (cg->ahead[inst->buffer] && !place.uniform && !place.addresses)
        emit_fetch_ahead(cg, inst->buffer, place.address);
    if (guard && !guard_varies && !place.addresses) {
        place.address = LLVMBuildSelect(b, guard, place.address, cg->zeros, "");
        guard = NULL;
    }
    LLVMValueRef value;
    if (place.uniform && guard) {
        place.addresses = emit_splat(cg, place.address, point->lanes);
        value = emit_gather(cg, dtype, place.addresses, point->lanes, both(cg, point, point->mask, guard));
    } else if (place.uniform) {
        value = emit_load(cg, dtype, place.address, 1, NULL);
    } else if (place.addresses) {
        guard = guard ? emit_splat(cg, guard, point->lanes) : NULL;
        value = emit_gather(cg, dtype, place.addresses, point->lanes, both(cg, point, point->mask, guard));
    } else {
        value = emit_load(cg, dtype, place.address, point->lanes, both(cg, point, point->mask, guard));
    }
    return emit_cast(cg, value, dtype, inst->dtype);
}

static LLVMValueRef emit_axis_inst(Codegen *cg, Point *point, const KInst *inst)
{
    LLVMBuilderRef b = cg->builder;
    LLVMTypeRef type = codegen_value_type(cg, inst->dtype);
    LLVMValueRef base = LLVMBuildIntCast2(b, emit_affine(cg, point, &inst->index), type, true, "");
    int64_t stride;
    if (!point_stride(cg, point, &inst->index, &stride)) {
        LLVMValueRef lanes = lane_offsets(cg, point, &inst->index);
        lanes = LLVMBuildIntCast2(b, lanes, LLVMVectorType(type, (unsigned)point->lanes), true, "");
        return LLVMBuildAdd(b, emit_splat(cg, base, point->lanes), lanes, "");
    }
    if (stride == 0)
        return base;
    return LLVMBuildAdd(b, emit_splat(cg, base, point->lanes), emit_iota(cg, type, point->lanes, stride), "");
}

/* ---- arithmetic ---- */

static bool dtype_is_signed(DType dtype)
{
    return dtype == DT_i32 || dtype == DT_i64;
}

static int lanes_of(LLVMValueRef value)
{
    return value_is_vector(value) ? (int)LLVMGetVectorSize(LLVMTypeOf(value)) : 1;
}

/* A constant integer shaped like `value`. */
static LLVMValueRef int_like(Codegen *cg, LLVMValueRef value, int64_t number)
{
    LLVMTypeRef type = LLVMTypeOf(value);
    LLVMTypeRef element = value_is_vector(value) ? LLVMGetElementType(type) : type;
    return emit_splat(cg, LLVMConstInt(element, (unsigned long long)number, true), lanes_of(value));
}

static LLVMTypeRef shape_like(LLVMTypeRef element, LLVMValueRef value)
{
    return codegen_vector_type(element, lanes_of(value));
}

/* Multiplications and additions may be contracted to fused ones; nothing else is relaxed. */
static LLVMValueRef contracted(LLVMValueRef value)
{
    if (LLVMCanValueUseFastMathFlags(value))
        LLVMSetFastMathFlags(value, LLVMFastMathAllowContract);
    return value;
}

LLVMValueRef emit_fma(Codegen *cg, LLVMValueRef a, LLVMValueRef b, LLVMValueRef c)
{
    LLVMTypeRef type = LLVMTypeOf(a), single = shape_like(cg->f32, a);
    if (cg->target->has_fma || type != single)
        return emit_intrinsic(cg, "llvm.fma", type, (LLVMValueRef[]){a, b, c}, 3);
    /* The product of two f32 is exact in f64: one rounding there and one back is as near as no hardware comes. */
    LLVMTypeRef wide = shape_like(cg->f64, a);
    LLVMBuilderRef builder = cg->builder;
    LLVMValueRef product =
        LLVMBuildFMul(builder, LLVMBuildFPExt(builder, a, wide, ""), LLVMBuildFPExt(builder, b, wide, ""), "");
    LLVMValueRef sum = LLVMBuildFAdd(builder, product, LLVMBuildFPExt(builder, c, wide, ""), "");
    return LLVMBuildFPTrunc(builder, sum, single, "");
}

/* The first of equals; NaN passes through. */
static LLVMValueRef emit_extreme(Codegen *cg, DType dtype, bool greater, LLVMValueRef a, LLVMValueRef b)
{
    LLVMBuilderRef builder = cg->builder;
    if (!dtype_is_float(dtype)) {
        LLVMIntPredicate above = dtype_is_signed(dtype) ? LLVMIntSGT : LLVMIntUGT;
        LLVMIntPredicate below = dtype_is_signed(dtype) ? LLVMIntSLT : LLVMIntULT;
        LLVMValueRef better = LLVMBuildICmp(builder, greater ? above : below, b, a, "");
        return LLVMBuildSelect(builder, better, b, a, "");
    }
    LLVMValueRef better = LLVMBuildFCmp(builder, greater ? LLVMRealOGT : LLVMRealOLT, b, a, "");
    LLVMValueRef best = LLVMBuildSelect(builder, better, b, a, "");
    LLVMValueRef is_nan = LLVMBuildFCmp(builder, LLVMRealUNO, b, b, "");
    return LLVMBuildSelect(builder, is_nan, b, best, "");
}

/* The divisor made harmless: 1 in place of 0, and of -1, by which the least integer cannot be divided. */
static LLVMValueRef safe_divisor(Codegen *cg, DType dtype, LLVMValueRef divisor)
{
    LLVMBuilderRef b = cg->builder;
    LLVMValueRef bad = LLVMBuildICmp(b, LLVMIntEQ, divisor, int_like(cg, divisor, 0), "");
    if (dtype_is_signed(dtype)) {
        LLVMValueRef minus = LLVMBuildICmp(b, LLVMIntEQ, divisor, int_like(cg, divisor, -1), "");
        bad = LLVMBuildOr(b, bad, minus, "");
    }
    return LLVMBuildSelect(b, bad, int_like(cg, divisor, 1), divisor, "");
}

/* Quotient towards zero by a divisor that is safe.  No CPU divides vectors of integers; 32-bit quotients are exact in f64. */
static LLVMValueRef emit_quotient(Codegen *cg, DType dtype, LLVMValueRef a, LLVMValueRef divisor)
{
    LLVMBuilderRef b = cg->builder;
    bool is_signed = dtype_is_signed(dtype);
    bool by_floats = value_is_vector(a) && !LLVMIsConstant(divisor) && dtype != DT_i64;
    if (!by_floats)
        return is_signed ? LLVMBuildSDiv(b, a, divisor, "") : LLVMBuildUDiv(b, a, divisor, "");
    LLVMTypeRef wide = shape_like(cg->f64, a), type = LLVMTypeOf(a);
    LLVMValueRef x = is_signed ? LLVMBuildSIToFP(b, a, wide, "") : LLVMBuildUIToFP(b, a, wide, "");
    LLVMValueRef y = is_signed ? LLVMBuildSIToFP(b, divisor, wide, "") : LLVMBuildUIToFP(b, divisor, wide, "");
    LLVMValueRef q = LLVMBuildFDiv(b, x, y, "");
    return is_signed ? LLVMBuildFPToSI(b, q, type, "") : LLVMBuildFPToUI(b, q, type, "");
}

static LLVMValueRef emit_divide(Codegen *cg, DType dtype, LLVMValueRef a, LLVMValueRef d)
{
    LLVMBuilderRef b = cg->builder;
    if (dtype_is_float(dtype))
        return LLVMBuildFDiv(b, a, d, "");
    LLVMValueRef quotient = emit_quotient(cg, dtype, a, safe_divisor(cg, dtype, d));
    LLVMValueRef by_zero = LLVMBuildICmp(b, LLVMIntEQ, d, int_like(cg, d, 0), "");
    quotient = LLVMBuildSelect(b, by_zero, int_like(cg, d, 0), quotient, "");
    if (!dtype_is_signed(dtype))
        return quotient;
    LLVMValueRef by_minus = LLVMBuildICmp(b, LLVMIntEQ, d, int_like(cg, d, -1), "");
    return LLVMBuildSelect(b, by_minus, LLVMBuildNeg(b, a, ""), quotient, "");
}

/* Of integers, with the sign of the divisor; by 0 it is 0. */
static LLVMValueRef emit_remainder(Codegen *cg, DType dtype, LLVMValueRef a, LLVMValueRef d)
{
    LLVMBuilderRef b = cg->builder;
    LLVMValueRef divisor = safe_divisor(cg, dtype, d);
    LLVMValueRef quotient = emit_quotient(cg, dtype, a, divisor);
    LLVMValueRef rest = LLVMBuildSub(b, a, LLVMBuildMul(b, quotient, divisor, ""), "");
    if (!dtype_is_signed(dtype))
        return rest;
    LLVMValueRef zero = int_like(cg, d, 0);
    LLVMValueRef differ = LLVMBuildICmp(b, LLVMIntSLT, LLVMBuildXor(b, rest, divisor, ""), zero, "");
    LLVMValueRef fix = LLVMBuildAnd(b, differ, LLVMBuildICmp(b, LLVMIntNE, rest, zero, ""), "");
    return LLVMBuildSelect(b, fix, LLVMBuildAdd(b, rest, divisor, ""), rest, "");
}

/* Shifts by 32 and more, or by less than 0, leave what the sign says. */
static LLVMValueRef emit_shift(Codegen *cg, DType dtype, bool left, LLVMValueRef a, LLVMValueRef count)
{
    LLVMBuilderRef b = cg->builder;
    LLVMValueRef small = LLVMBuildICmp(b, LLVMIntULT, count, int_like(cg, count, 32), "");
    LLVMValueRef safe = LLVMBuildSelect(b, small, count, int_like(cg, count, 0), "");
    if (left)
        return LLVMBuildSelect(b, small, LLVMBuildShl(b, a, safe, ""), int_like(cg, a, 0), "");
    if (!dtype_is_signed(dtype))
        return LLVMBuildSelect(b, small, LLVMBuildLShr(b, a, safe, ""), int_like(cg, a, 0), "");
    LLVMValueRef sign = LLVMBuildAShr(b, a, int_like(cg, a, dtype == DT_i64 ? 63 : 31), "");
    return LLVMBuildSelect(b, small, LLVMBuildAShr(b, a, safe, ""), sign, "");
}

static LLVMValueRef emit_compare(Codegen *cg, int op, DType dtype, LLVMValueRef a, LLVMValueRef b)
{
    if (dtype_is_float(dtype)) {
        LLVMRealPredicate how = op == OP_eq ? LLVMRealOEQ : op == OP_ne ? LLVMRealUNE : op == OP_lt ? LLVMRealOLT : LLVMRealOLE;
        return LLVMBuildFCmp(cg->builder, how, a, b, "");
    }
    bool is_signed = dtype_is_signed(dtype);
    LLVMIntPredicate how = op == OP_eq   ? LLVMIntEQ
                           : op == OP_ne ? LLVMIntNE
                           : op == OP_lt ? (is_signed ? LLVMIntSLT : LLVMIntULT)
                                         : (is_signed ? LLVMIntSLE : LLVMIntULE);
    return LLVMBuildICmp(cg->builder, how, a, b, "");
}

/* ---- casts ---- */

static LLVMValueRef cast_from_float(Codegen *cg, LLVMValueRef value, DType to)
{
    LLVMBuilderRef b = cg->builder;
    LLVMTypeRef type = shape_like(codegen_value_type(cg, to), value);
    if (to == DT_bool)
        return LLVMBuildFCmp(b, LLVMRealUNE, value, LLVMConstNull(LLVMTypeOf(value)), "");
    const char *name = dtype_is_signed(to) ? "llvm.fptosi.sat" : "llvm.fptoui.sat";
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    LLVMTypeRef overloads[] = {type, LLVMTypeOf(value)};
    LLVMValueRef callee = LLVMGetIntrinsicDeclaration(cg->module, id, overloads, 2);
    return LLVMBuildCall2(b, LLVMIntrinsicGetType(cg->context, id, overloads, 2), callee, &value, 1, "");
}

/* Rounds an f32 to the nearest f16 or bf16 and back: the value stays in f32. */
static LLVMValueRef round_to_small(Codegen *cg, LLVMValueRef value, DType to)
{
    LLVMBuilderRef b = cg->builder;
    LLVMTypeRef single = LLVMTypeOf(value);
    if (to == DT_f16)
        return LLVMBuildFPExt(b, LLVMBuildFPTrunc(b, value, shape_like(cg->half, value), ""), single, "");
    LLVMValueRef bits = LLVMBuildBitCast(b, value, shape_like(cg->i32, value), "");
    LLVMValueRef odd = LLVMBuildAnd(b, LLVMBuildLShr(b, bits, int_like(cg, bits, 16), ""), int_like(cg, bits, 1), "");
    LLVMValueRef up = LLVMBuildAdd(b, LLVMBuildAdd(b, bits, int_like(cg, bits, 0x7fff), ""), odd, "");
    LLVMValueRef high = LLVMBuildAnd(b, up, int_like(cg, bits, (int64_t)0xffff0000), "");
    LLVMValueRef is_nan = LLVMBuildFCmp(b, LLVMRealUNO, value, value, "");
    return LLVMBuildSelect(b, is_nan, value, LLVMBuildBitCast(b, high, single, ""), "");
}

static LLVMValueRef cast_to_float(Codegen *cg, LLVMValueRef value, DType from, DType to)
{
    LLVMBuilderRef b = cg->builder;
    LLVMTypeRef type = shape_like(codegen_value_type(cg, to), value);
    if (!dtype_is_float(from))
        value = dtype_is_signed(from) ? LLVMBuildSIToFP(b, value, type, "") : LLVMBuildUIToFP(b, value, type, "");
    else if (from == DT_f64 && to != DT_f64)
        value = LLVMBuildFPTrunc(b, value, type, "");
    else if (from != DT_f64 && to == DT_f64)
        value = LLVMBuildFPExt(b, value, type, "");
    return to == DT_f16 || to == DT_bf16 ? round_to_small(cg, value, to) : value;
}

LLVMValueRef emit_cast(Codegen *cg, LLVMValueRef value, DType from, DType to)
{
    LLVMBuilderRef b = cg->builder;
    if (from == to)
        return value;
    if (dtype_is_float(to))
        return cast_to_float(cg, value, from, to);
    if (dtype_is_float(from))
        return cast_from_float(cg, value, to);
    if (to == DT_bool)
        return LLVMBuildICmp(b, LLVMIntNE, value, LLVMConstNull(LLVMTypeOf(value)), "");
    LLVMTypeRef type = shape_like(codegen_value_type(cg, to), value);
    return LLVMBuildIntCast2(b, value, type, dtype_is_signed(from), "");
}

/* ---- accumulators ---- */

LLVMValueRef emit_combine(Codegen *cg, KCombine combine, DType dtype, LLVMValueRef state, LLVMValueRef value)
{
    LLVMBuilderRef b = cg->builder;
    bool is_float = dtype_is_float(dtype);
    switch (combine) {
    case K_SUM:
        return is_float ? contracted(LLVMBuildFAdd(b, state, value, "")) : LLVMBuildAdd(b, state, value, "");
    case K_PROD:
        return is_float ? LLVMBuildFMul(b, state, value, "") : LLVMBuildMul(b, state, value, "");
    default:
        return emit_extreme(cg, dtype, combine == K_MAX, state, value);
    }
}

static int64_t least_integer(DType dtype)
{
    return dtype == DT_i32 ? INT32_MIN : dtype == DT_i64 ? INT64_MIN : 0;
}

static int64_t greatest_integer(DType dtype)
{
    return dtype == DT_i32 ? INT32_MAX : dtype == DT_i64 ? INT64_MAX : -1;
}

LLVMValueRef emit_identity(Codegen *cg, KCombine combine, DType dtype, bool wide)
{
    LLVMTypeRef type = wide ? cg->f64 : codegen_value_type(cg, dtype);
    if (dtype_is_float(dtype)) {
        double value = combine == K_SUM ? 0 : combine == K_PROD ? 1 : combine == K_MAX ? -(double)INFINITY : (double)INFINITY;
        return LLVMConstReal(type, value);
    }
    int64_t value = combine == K_SUM    ? 0
                    : combine == K_PROD ? 1
                    : combine == K_MAX  ? least_integer(dtype)
                                        : greatest_integer(dtype);
    return LLVMConstInt(type, (unsigned long long)value, true);
}

/* ---- one instruction ---- */

static LLVMValueRef emit_constant(Codegen *cg, const KInst *inst)
{
    LLVMTypeRef type = codegen_value_type(cg, inst->dtype);
    if (dtype_is_float(inst->dtype))
        return LLVMConstReal(type, inst->value);
    return LLVMConstInt(type, (unsigned long long)inst->imm, true);
}

static LLVMValueRef emit_unary(Codegen *cg, const KInst *inst, DType from, LLVMValueRef a)
{
    LLVMBuilderRef b = cg->builder;
    bool is_float = dtype_is_float(inst->dtype);
    LLVMTypeRef type = LLVMTypeOf(a);
    switch (inst->op) {
    case OP_neg:
        return is_float ? LLVMBuildFNeg(b, a, "") : LLVMBuildNeg(b, a, "");
    case OP_abs:
        if (is_float)
            return emit_intrinsic(cg, "llvm.fabs", type, &a, 1);
        if (!dtype_is_signed(inst->dtype))
            return a;
        return LLVMBuildSelect(b, LLVMBuildICmp(b, LLVMIntSLT, a, int_like(cg, a, 0), ""), LLVMBuildNeg(b, a, ""), a, "");
    case OP_floor:
        return emit_intrinsic(cg, "llvm.floor", type, &a, 1);
    case OP_ceil:
        return emit_intrinsic(cg, "llvm.ceil", type, &a, 1);
    case OP_sqrt:
        return emit_intrinsic(cg, "llvm.sqrt", type, &a, 1);
    case K_rint:
        return emit_intrinsic(cg, "llvm.rint", type, &a, 1);
    case OP_not:
        return LLVMBuildNot(b, a, "");
    case OP_cast:
        return emit_cast(cg, a, from, inst->dtype);
    case OP_stop_grad:
        return a;
    case K_bits_of:
    case K_float_of:
        return LLVMBuildBitCast(b, a, shape_like(codegen_value_type(cg, inst->dtype), a), "");
    case K_inside: {
        if (from == DT_i32 && inst->imm > INT32_MAX)
            return LLVMBuildICmp(b, LLVMIntSGE, a, int_like(cg, a, 0), "");
        return LLVMBuildICmp(b, LLVMIntULT, a, int_like(cg, a, inst->imm), "");
    }
    case K_offset: {
        LLVMValueRef wide = LLVMBuildIntCast2(b, a, shape_like(cg->i64, a), dtype_is_signed(from), "");
        return LLVMBuildMul(b, wide, int_like(cg, wide, inst->imm), "");
    }
    default:
        assert(!"an operation that expand should have rewritten");
        return a;
    }
}

static LLVMValueRef emit_mul_high(Codegen *cg, LLVMValueRef a, LLVMValueRef c)
{
    LLVMBuilderRef b = cg->builder;
    LLVMTypeRef wide = shape_like(cg->i64, a);
    LLVMValueRef product = LLVMBuildMul(b, LLVMBuildZExt(b, a, wide, ""), LLVMBuildZExt(b, c, wide, ""), "");
    return LLVMBuildTrunc(b, LLVMBuildLShr(b, product, int_like(cg, product, 32), ""), LLVMTypeOf(a), "");
}

/* 2^k of integers k in the range of normal numbers, in the type of floats. */
static LLVMValueRef emit_power_of_two(Codegen *cg, LLVMValueRef k, LLVMTypeRef type, bool wide)
{
    LLVMValueRef biased = LLVMBuildAdd(cg->builder, k, int_like(cg, k, wide ? 1023 : 127), "");
    return LLVMBuildBitCast(cg->builder, LLVMBuildShl(cg->builder, biased, int_like(cg, k, wide ? 52 : 23), ""), type, "");
}

/* x * 2^n: one instruction where there is one, else in two steps, so that subnormal results and the largest ones come out
 * right. Adding the rounder puts n into the low bits; of NaN they are anything, and so is the power, but x is NaN, too. */
static LLVMValueRef emit_scale2(Codegen *cg, DType dtype, LLVMValueRef x, LLVMValueRef n)
{
    LLVMBuilderRef b = cg->builder;
    bool wide = dtype == DT_f64;
    LLVMTypeRef type = LLVMTypeOf(x);
    if (cg->target->lanes == 16 && lanes_of(x) == (wide ? 8 : 16)) {
        LLVMValueRef all = LLVMConstAllOnes(wide ? cg->i8 : cg->i16), current = LLVMConstInt(cg->i32, 4, false);
        LLVMValueRef args[] = {x, n, x, all, current};
        return emit_plain_intrinsic(cg, wide ? "llvm.x86.avx512.mask.scalef.pd.512" : "llvm.x86.avx512.mask.scalef.ps.512",
                                    args, 5);
    }
    LLVMTypeRef bits = shape_like(wide ? cg->i64 : cg->i32, x);
    LLVMValueRef rounder = emit_splat(cg, LLVMConstReal(wide ? cg->f64 : cg->f32, wide ? 0x1.8p52 : 0x1.8p23), lanes_of(x));
    LLVMValueRef count = LLVMBuildSub(b, LLVMBuildBitCast(b, LLVMBuildFAdd(b, n, rounder, ""), bits, ""),
                                      LLVMBuildBitCast(b, rounder, bits, ""), "");
    LLVMValueRef half = LLVMBuildAShr(b, count, int_like(cg, count, 1), "");
    LLVMValueRef first = emit_power_of_two(cg, half, type, wide);
    LLVMValueRef second = emit_power_of_two(cg, LLVMBuildSub(b, count, half, ""), type, wide);
    return LLVMBuildFMul(b, LLVMBuildFMul(b, x, first, ""), second, "");
}

static LLVMValueRef emit_binary(Codegen *cg, const KInst *inst, DType from, LLVMValueRef a, LLVMValueRef c)
{
    LLVMBuilderRef b = cg->builder;
    DType dtype = inst->dtype;
    bool is_float = dtype_is_float(dtype);
    switch (inst->op) {
    case OP_add:
        return is_float ? contracted(LLVMBuildFAdd(b, a, c, "")) : LLVMBuildAdd(b, a, c, "");
    case OP_sub:
        return is_float ? contracted(LLVMBuildFSub(b, a, c, "")) : LLVMBuildSub(b, a, c, "");
    case OP_mul:
        return is_float ? contracted(LLVMBuildFMul(b, a, c, "")) : LLVMBuildMul(b, a, c, "");
    case OP_div:
        return emit_divide(cg, dtype, a, c);
    case OP_rem:
        return emit_remainder(cg, dtype, a, c);
    case OP_max:
    case OP_min:
        return emit_extreme(cg, dtype, inst->op == OP_max, a, c);
    case OP_eq:
    case OP_ne:
    case OP_lt:
    case OP_le:
        return emit_compare(cg, inst->op, from, a, c);
    case OP_and:
        return LLVMBuildAnd(b, a, c, "");
    case OP_or:
        return LLVMBuildOr(b, a, c, "");
    case OP_xor:
        return LLVMBuildXor(b, a, c, "");
    case OP_shl:
    case OP_shr:
        return emit_shift(cg, dtype, inst->op == OP_shl, a, c);
    case K_mul_high:
        return emit_mul_high(cg, a, c);
    case K_scale2:
        return emit_scale2(cg, dtype, a, c);
    case K_add_offset:
        return LLVMBuildAdd(b, a, c, "");
    default:
        assert(!"an operation that expand should have rewritten");
        return a;
    }
}

static LLVMValueRef emit_operation(Codegen *cg, Point *point, const KInst *inst)
{
    int arity = kop_arity(inst->op);
    LLVMValueRef args[3] = {NULL, NULL, NULL};
    bool varies = false;
    for (int i = 0; i < arity; i++) {
        args[i] = point->values[inst->arg[i]];
        varies |= value_is_vector(args[i]);
    }
    for (int i = 0; varies && i < arity; i++)
        args[i] = emit_splat(cg, args[i], point->lanes);
    DType from = point->stage->insts.items[inst->arg[0]].dtype;
    if (inst->op == OP_select)
        return LLVMBuildSelect(cg->builder, args[0], args[1], args[2], "");
    if (inst->op == K_fma)
        return emit_fma(cg, args[0], args[1], args[2]);
    return arity == 1 ? emit_unary(cg, inst, from, args[0]) : emit_binary(cg, inst, from, args[0], args[1]);
}

/* An accumulator's result: kept in f64 if wide. */
static LLVMValueRef emit_acc_inst(Codegen *cg, Point *point, const KInst *inst)
{
    const KAcc *acc = &point->stage->accs.items[inst->imm];
    return emit_cast(cg, point->accs[inst->imm], kacc_kept(acc), inst->dtype);
}

void emit_inst(Codegen *cg, Point *point, KRef ref)
{
    const KInst *inst = &point->stage->insts.items[ref];
    LLVMValueRef value;
    switch (inst->op) {
    case K_value:
        value = emit_constant(cg, inst);
        break;
    case K_axis:
        value = emit_axis_inst(cg, point, inst);
        break;
    case K_acc:
        value = emit_acc_inst(cg, point, inst);
        break;
    case K_load:
        value = emit_load_inst(cg, point, inst);
        break;
    default:
        value = emit_operation(cg, point, inst);
    }
    point->values[ref] = value;
}

void emit_insts(Codegen *cg, Point *point, int first, int end)
{
    for (int i = first; i < end; i++)
        emit_inst(cg, point, i);
}

/* ---- stores ---- */

static LLVMValueRef emit_sum(Codegen *cg, DType dtype, LLVMValueRef old, LLVMValueRef value)
{
    bool vectors = value_is_vector(old) || value_is_vector(value);
    int lanes = vectors ? (value_is_vector(old) ? lanes_of(old) : lanes_of(value)) : 1;
    return emit_combine(cg, K_SUM, dtype, emit_splat(cg, old, lanes), emit_splat(cg, value, lanes));
}

static void emit_store_at(Codegen *cg, Point *point, const KStore *store, const Place *place, LLVMValueRef value,
                          LLVMValueRef mask)
{
    DType dtype = cg->kernel->buffers.items[store->buffer].dtype;
    int lanes = place->uniform ? 1 : point->lanes;
    if (place->addresses) {
        if (store->add)
            value = emit_sum(cg, dtype, emit_gather(cg, dtype, place->addresses, lanes, mask), value);
        emit_scatter(cg, dtype, place->addresses, value, lanes, mask);
    } else {
        mask = lanes == 1 ? NULL : mask;
        if (store->add)
            value = emit_sum(cg, dtype, emit_load(cg, dtype, place->address, lanes, mask), value);
        emit_store(cg, dtype, place->address, value, lanes, mask);
    }
}

static void emit_one_store(Codegen *cg, Point *point, const KStore *store)
{
    LLVMValueRef dynamic = store->dynamic >= 0 ? point->values[store->dynamic] : NULL;
    LLVMValueRef guard = store->guard >= 0 ? point->values[store->guard] : NULL;
    LLVMValueRef value = point->values[store->value];
    DType from = point->stage->insts.items[store->value].dtype;
    value = emit_cast(cg, value, from, cg->kernel->buffers.items[store->buffer].dtype);
    LLVMValueRef mask = guard && value_is_vector(guard) ? both(cg, point, point->mask, guard) : point->mask;
    LLVMBasicBlockRef after = NULL;
    if (guard && !value_is_vector(guard)) {
        LLVMBasicBlockRef then = LLVMAppendBasicBlockInContext(cg->context, cg->function, "store");
        after = LLVMAppendBasicBlockInContext(cg->context, cg->function, "");
        LLVMBuildCondBr(cg->builder, guard, then, after);
        LLVMPositionBuilderAtEnd(cg->builder, then);
    }
    Place place = place_of(cg, point, store->buffer, &store->index, dynamic);
    emit_store_at(cg, point, store, &place, value, mask);
    if (after) {
        LLVMBuildBr(cg->builder, after);
        LLVMPositionBuilderAtEnd(cg->builder, after);
    }
}

void emit_stores(Codegen *cg, Point *point)
{
    for (int i = 0; i < point->stage->stores.count; i++)
        emit_one_store(cg, point, &point->stage->stores.items[i]);
}
