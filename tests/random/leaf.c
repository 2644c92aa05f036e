/* Makers of leaves and of chance. */
#include "tests/random/internal.h"

bool make_leaf(Scope *scope, IrOp op)
{
    static const DType dtypes[] = {DT_i32, DT_u32, DT_bool, DT_i32};
    Gen *gen = scope->gen;
    DType dtype = draw_chance(&gen->draws, 60) ? gen->real : dtypes[draw_below(&gen->draws, 4)];
    IrType type = random_type(gen, dtype, 3);
    if (op == OP_param || op == OP_literal)
        return new_param(scope, type) != NOTHING;
    if (op == OP_iota)
        return type.rank && dtype != DT_bool && keep(scope, ir_iota(scope->func, type, type.rank - 1), true) != NOTHING;
    double value = dtype_is_float(dtype) ? (double)draw_between(&gen->draws, -8, 8) / 4 : (double)draw_below(&gen->draws, 2);
    return keep(scope, ir_const(scope->func, type, value), true) != NOTHING;
}

static IrRef random_key(Scope *scope)
{
    return value_of(scope, ir_type(DT_u32, 1, (int64_t[]){2}));
}

bool make_chance(Scope *scope, IrOp op)
{
    IrRef key = random_key(scope);
    if (op == OP_fold_in) {
        IrRef data = value_of(scope, ir_scalar(draw_chance(&scope->gen->draws, 50) ? DT_i32 : DT_u32));
        IrNode node = {.op = op, .operand_count = 2, .operands = (IrRef[]){key, data}};
        return keep(scope, ir_emit(scope->func, node), true) != NOTHING;
    }
    int64_t word = draw_below(&scope->gen->draws, 4);
    if (op == OP_random_at) {
        IrRef counter = value_of(scope, random_type(scope->gen, DT_u32, 3));
        IrNode node = {.op = op, .operand_count = 2, .operands = (IrRef[]){key, counter}, .attr = {{1, &word}}};
        return keep(scope, ir_emit(scope->func, node), true) != NOTHING;
    }
    IrNode node = {
        .op = op, .type = random_type(scope->gen, DT_u32, 3), .operand_count = 1, .operands = &key, .attr = {{1, &word}}};
    return keep(scope, ir_emit(scope->func, node), true) != NOTHING;
}
