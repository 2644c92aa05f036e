/* Makers of pointwise nodes: rows of the table by their type rule, SAMPLE and EVAL, and casts and selects. */
#include "tests/random/internal.h"

#include <math.h>
#include <string.h>

typedef struct Sample {
    double low, high;
} Sample;

static Sample sample_of(IrOp op)
{
    switch (op) {
    default:
#define OP(name, arity, rule, traits)                                                                                          \
    break;                                                                                                                     \
    case OP_##name:
#define SAMPLE(lo, hi) return (Sample){lo, hi};
#include "ir/prims.def"
        break;
    }
    return (Sample){-2, 2};
}

static const char *const rule_of[OP_COUNT] = {
#define OP(name, arity, rule, traits) [OP_##name] = #rule,
#include "ir/prims.def"
};

/* ---- jumps ---- */

static double from_whole(double x)
{
    return x - rint(x);
}

/* How far elements a and b are from where the primitive, or its derivative, jumps. */
static double distance_to_jump(IrOp op, double a, double b)
{
    switch (op) {
    case OP_floor:
    case OP_ceil:
        return from_whole(a);
    case OP_round:
        return from_whole(a - 0.5);
    case OP_sign:
    case OP_abs:
    case OP_not:
        return a;
    case OP_rem:
        return from_whole(a / b);
    case OP_max:
    case OP_min:
    case OP_eq:
    case OP_ne:
    case OP_lt:
    case OP_le:
        return a - b;
    default:
        return INFINITY;
    }
}

static bool jumps(IrOp op)
{
    return distance_to_jump(op, 0.5, 0.5) < INFINITY;
}

/* Whether floats x and y (the same for one operand) are far from jumps everywhere. */
static bool is_decided(Scope *scope, IrOp op, IrRef x, IrRef y)
{
    ArenaMark mark = arena_mark(scope->gen->scratch);
    EvalTensor a[MOST_SETS], b[MOST_SETS];
    bool decided = scope->depth == 0; /* a body sees other values than those it was made with */
    measure(scope, x, a);
    measure(scope, y, b);
    for (int k = 0; k < scope->set_count; k++)
        for (int64_t i = 0; decided && i < ir_element_count(&a[k].type); i++)
            decided = is_far(scope, distance_to_jump(op, a[k].real[i], b[k].real[i]), fabs(a[k].real[i]));
    arena_rewind(scope->gen->scratch, mark);
    return decided;
}

static bool may_jump(Scope *scope, IrOp op, const IrRef *x, int arity)
{
    if (!jumps(op) || !dtype_is_float(ir_type_of(scope->func, x[0])->dtype) || all_exact(scope, x, arity))
        return true;
    return is_decided(scope, op, x[0], x[arity - 1]);
}

/* ---- rows ---- */

static bool has_domain(IrOp op, int operand)
{
    if (op == OP_floor || op == OP_ceil || op == OP_round)
        return false;
    return !strcmp(rule_of[op], "float") || op == OP_rem || (op == OP_div && operand == 1);
}

/* What comes out has the same bits in every mode if this went in. */
static bool keeps_exact(IrOp op)
{
    return jumps(op) || op == OP_neg || op == OP_stop_grad || op == OP_is_finite;
}

static bool emit_row(Scope *scope, IrOp op, IrRef *x)
{
    IrFunc *func = scope->func;
    int arity = ir_op_info[op].arity;
    bool real = dtype_is_float(ir_type_of(func, x[0])->dtype);
    Sample sample = sample_of(op);
    for (int i = 0; i < arity && real; i++) {
        if (has_domain(op, i))
            x[i] = fit(scope, x[i], sample.low, sample.high);
        if (x[i] == NOTHING)
            return false;
    }
    if (!may_jump(scope, op, x, arity))
        return false;
    IrRef made = ir_emit(func, (IrNode){.op = op, .operand_count = arity, .operands = x});
    bool exact = !dtype_is_float(ir_type_of(func, made)->dtype) || (keeps_exact(op) && all_exact(scope, x, arity)) ||
                 op == OP_floor || op == OP_ceil || op == OP_round || op == OP_sign;
    return keep(scope, made, exact) != NOTHING;
}

bool make_pointwise(Scope *scope, IrOp op)
{
    for (int i = 0; i < 8; i++) {
        IrRef x[3] = {any_value(scope), 0, 0};
        IrType type;
        if (x[0] == NOTHING)
            return false;
        IrNode trial = {.op = op, .operand_count = ir_op_info[op].arity, .operands = (IrRef[]){x[0], x[0], x[0]}};
        if (ir_infer(scope->gen->arena, scope->func, &trial, &type))
            continue;
        if (ir_op_info[op].arity == 2)
            x[1] = value_of(scope, *ir_type_of(scope->func, x[0]));
        if (x[1] != NOTHING && draw_chance(&scope->gen->draws, 50) && ir_op_info[op].arity == 2)
            x[2] = x[0], x[0] = x[1], x[1] = x[2];
        if (x[0] != NOTHING && x[1] != NOTHING && emit_row(scope, op, x))
            return true;
    }
    return false;
}

bool make_select(Scope *scope, IrOp op)
{
    (void)op;
    IrRef yes = any_value(scope);
    if (yes == NOTHING)
        return false;
    IrType type = *ir_type_of(scope->func, yes);
    IrRef no = value_of(scope, type), condition = value_of(scope, ir_with_dtype(type, DT_bool));
    if (no == NOTHING || condition == NOTHING)
        return false;
    IrRef made = ir_select(scope->func, condition, yes, no);
    return keep(scope, made, is_exact(scope, yes) && is_exact(scope, no)) != NOTHING;
}

/* ---- casts ---- */

/* A small whole number: f16 holds no large ones, and f32 rounds them. */
static IrRef lowered(Scope *scope, IrRef x)
{
    IrFunc *func = scope->func;
    IrType type = *ir_type_of(func, x);
    if (type.dtype != DT_i32 && type.dtype != DT_u32)
        return x;
    return ir_binary(func, OP_rem, x, ir_const(func, type, (double)draw_between(&scope->gen->draws, 2, 40)));
}

static int mantissa(DType dtype)
{
    return dtype == DT_f64 ? 53 : dtype == DT_f32 ? 24 : dtype == DT_f16 ? 11 : 8;
}

IrRef random_cast(Scope *scope, IrRef x, DType dtype)
{
    DType from = ir_type_of(scope->func, x)->dtype;
    DTypeClass class = dtype_class(dtype), was = dtype_class(from);
    bool exact = true;
    if (from == dtype || (from == DT_i64 && class == CLASS_float))
        return NOTHING;
    if (class == CLASS_float && dtype != scope->gen->real && dtype != scope->gen->other)
        return NOTHING;
    if (was == CLASS_int && class == CLASS_float)
        x = lowered(scope, x);
    if (was == CLASS_float && class == CLASS_float)
        exact = is_exact(scope, x) && mantissa(from) <= mantissa(dtype);
    else if (was == CLASS_float && !may_jump(scope, class == CLASS_int ? OP_floor : OP_sign, &x, 1))
        return NOTHING;
    return keep(scope, ir_cast(scope->func, x, dtype), exact);
}

bool make_cast(Scope *scope, IrOp op)
{
    static const DType dtypes[] = {DT_i32, DT_u32, DT_bool, DT_u8, DT_i64};
    Gen *gen = scope->gen;
    (void)op;
    for (int i = 0; i < 8; i++) {
        IrRef x = any_value(scope);
        int64_t choice = draw_below(&gen->draws, 9);
        DType dtype = choice < 5 ? dtypes[choice] : choice < 7 ? gen->real : gen->other;
        if (x != NOTHING && random_cast(scope, x, dtype) != NOTHING)
            return true;
    }
    return false;
}
