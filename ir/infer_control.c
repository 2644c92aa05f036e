/* Type inference of control and calculus nodes: operands against the signatures of the functions they refer to. */
#include "ir/infer.h"

static const IrType *operand_type(Infer *in, int index)
{
    return ir_type_of(in->func, in->node->operands[index]);
}

static const char *want_type(Infer *in, const char *what, int index, const IrType *have, const IrType *want)
{
    if (ir_type_equal(have, want))
        return NULL;
    return arena_printf(in->arena, "%s %d is %s where %s is needed", what, index, infer_type_text(in, have),
                        infer_type_text(in, want));
}

/* The params of `callee` from `param` on are the operands from `operand` on, to the end of both. */
static const char *want_params(Infer *in, const IrFunc *callee, int param, int operand)
{
    const IrNode *node = in->node;
    if (callee->params.count - param != node->operand_count - operand)
        return arena_printf(in->arena, "@%s takes %d operands, not %d", callee->name, callee->params.count,
                            node->operand_count - operand + param);
    const char *reason = NULL;
    for (int i = 0; param + i < callee->params.count && !reason; i++)
        reason = want_type(in, "operand", operand + i, operand_type(in, operand + i),
                           ir_type_of(callee, callee->params.items[param + i]));
    return reason;
}

/* The first `count` results of `callee` have the types of the operands from `operand` on. */
static const char *want_carries(Infer *in, const IrFunc *callee, int operand, int count)
{
    if (callee->results.count < count)
        return arena_printf(in->arena, "@%s has too few results", callee->name);
    const char *reason = NULL;
    for (int i = 0; i < count && !reason; i++)
        reason = want_type(in, "carry", i, ir_type_of(callee, callee->results.items[i]), operand_type(in, operand + i));
    return reason;
}

static const char *want_scalar(Infer *in, const char *what, const IrType *have, DType dtype)
{
    if (!have->rank && have->dtype == dtype)
        return NULL;
    return arena_printf(in->arena, "the %s is %s where %s is needed", what, infer_type_text(in, have), dtype_name(dtype));
}

/* What a turn gives beside its carries: a row, or one of `bound` pieces. */
static const char *check_row(Infer *in, int result)
{
    const IrNode *node = in->node;
    const IrType *row = ir_type_of(node->callee[0], node->callee[0]->results.items[result]);
    IrInts whole = node->attr[2];
    if (!whole.count)
        return row->rank == IR_MAX_RANK ? "a row has too many axes to be stacked" : NULL;
    bool fits = row->rank == whole.count;
    for (int axis = 0; fits && axis < row->rank; axis++)
        fits = row->dim[axis] >= 1 && row->dim[axis] <= whole.items[axis];
    if (!fits)
        return arena_printf(in->arena, "result %d, %s, is no piece of the whole", result, infer_type_text(in, row));
    IrType type = ir_result_type(node, result);
    const char *reason = ir_check_type(&type);
    if (!reason && ir_piece_count(&type, row) != node->attr[0].items[0])
        reason = arena_printf(in->arena, "the whole has %lld pieces of result %d, not `bound`",
                              (long long)ir_piece_count(&type, row), result);
    return reason;
}

static const char *check_for(Infer *in)
{
    const IrNode *node = in->node;
    const IrFunc *body = node->callee[0];
    const char *reason = infer_want_number(in, 0, 0, IR_SIZE_LIMIT);
    if (!reason)
        reason = node->operand_count < 1 ? "no trip count" : infer_want_number(in, 1, 0, node->operand_count - 1);
    if (!reason)
        reason = want_scalar(in, "trip count", operand_type(in, 0), DT_i32);
    if (!reason)
        reason = body->params.count < 1 ? "the body takes no turn number"
                                        : want_scalar(in, "turn number", ir_type_of(body, body->params.items[0]), DT_i32);
    if (!reason)
        reason = want_params(in, body, 1, 1);
    if (!reason)
        reason = want_carries(in, body, 1, (int)node->attr[1].items[0]);
    if (!reason && node->attr[2].count > IR_MAX_RANK)
        reason = "the whole has too many axes";
    for (int i = reason ? 0 : (int)node->attr[1].items[0]; !reason && i < body->results.count; i++)
        reason = check_row(in, i);
    for (int i = 0; !reason && i < body->results.count; i++) {
        IrType type = ir_result_type(node, i);
        reason = ir_check_type(&type);
    }
    return reason;
}

static const char *check_while(Infer *in)
{
    const IrNode *node = in->node;
    const IrFunc *condition = node->callee[0], *body = node->callee[1];
    const char *reason = infer_want_number(in, 0, 0, IR_SIZE_LIMIT);
    if (!reason)
        reason = infer_want_number(in, 1, 0, node->operand_count);
    if (!reason)
        reason = want_params(in, condition, 0, 0);
    if (!reason)
        reason = want_params(in, body, 0, 0);
    if (!reason && condition->results.count != 1)
        reason = "a condition has one result";
    if (!reason)
        reason = want_scalar(in, "condition", ir_type_of(condition, condition->results.items[0]), DT_bool);
    if (!reason && body->results.count != node->attr[1].items[0])
        reason = "the body's results are not the carries";
    return reason ? reason : want_carries(in, body, 0, (int)node->attr[1].items[0]);
}

static const char *check_if(Infer *in)
{
    const IrFunc *yes = in->node->callee[0], *no = in->node->callee[1];
    const char *reason =
        in->node->operand_count < 1 ? "no condition" : want_scalar(in, "condition", operand_type(in, 0), DT_bool);
    if (!reason)
        reason = want_params(in, yes, 0, 1);
    if (!reason)
        reason = want_params(in, no, 0, 1);
    if (!reason && yes->results.count != no->results.count)
        reason = "the branches differ in their results";
    for (int i = 0; !reason && i < yes->results.count; i++)
        reason = want_type(in, "result", i, ir_type_of(no, no->results.items[i]), ir_type_of(yes, yes->results.items[i]));
    return reason;
}

/* Appends the float ones of `refs` to a list of types that has `count` places left. */
static int float_types(const IrFunc *func, const IrRef *refs, int count, const IrType **out)
{
    int found = 0;
    for (int i = 0; i < count; i++) {
        if (dtype_is_float(ir_type_of(func, refs[i])->dtype))
            out[found++] = ir_type_of(func, refs[i]);
    }
    return found;
}

static const char *want_signature(Infer *in, const IrFunc *func, const IrRef *refs, int count, const IrType *const *want,
                                  int wanted, const char *what)
{
    if (count != wanted)
        return arena_printf(in->arena, "@%s has %d %ss where %d are needed", func->name, count, what, wanted);
    const char *reason = NULL;
    for (int i = 0; i < count && !reason; i++)
        reason = want_type(in, what, i, ir_type_of(func, refs[i]), want[i]);
    return reason;
}

static const char *check_custom(Infer *in)
{
    const IrFunc *func = in->node->callee[0], *rule = in->node->callee[1];
    int params = func->params.count;
    const IrType **types = arena_array(in->arena, const IrType *, 2 * params + func->results.count + 1);
    for (int i = 0; i < params; i++)
        types[i] = ir_type_of(func, func->params.items[i]);
    int count = params + float_types(func, func->params.items, params, types + params);
    const char *reason = want_params(in, func, 0, 0);
    if (!reason)
        reason = want_signature(in, rule, rule->params.items, rule->params.count, types, count, "param");
    if (reason)
        return reason;
    count = float_types(func, func->results.items, func->results.count, types);
    return want_signature(in, rule, rule->results.items, rule->results.count, types, count, "result");
}

/* The items of an attribute are rising indexes of float values of the callee: tangents of integers do not exist. */
static const char *want_floats(Infer *in, int attr, const IrFunc *callee, const IrRef *refs, int count)
{
    IrInts items = in->node->attr[attr];
    for (int i = 0; i < items.count; i++) {
        int64_t at = items.items[i];
        if (at < 0 || at >= count || (i && at <= items.items[i - 1]))
            return arena_printf(in->arena, "`%s` must rise and name what @%s has", ir_op_info[in->node->op].attrs[attr],
                                callee->name);
        if (!dtype_is_float(ir_type_of(callee, refs[at])->dtype))
            return arena_printf(in->arena, "`%s` names something that is not a float", ir_op_info[in->node->op].attrs[attr]);
    }
    return NULL;
}

static const char *check_calculus(Infer *in)
{
    const IrNode *node = in->node;
    const IrFunc *callee = node->callee[0];
    int attr = node->op == OP_jvp ? 0 : 1, params = callee->params.count;
    const char *reason = want_floats(in, 0, callee, callee->params.items, params);
    if (!reason && node->op == OP_vjp)
        reason = want_floats(in, 1, callee, callee->results.items, callee->results.count);
    if (reason)
        return reason;
    const IrRef *seeded = node->op == OP_jvp ? callee->params.items : callee->results.items;
    if (node->operand_count != params + node->attr[attr].count)
        return arena_printf(in->arena, "@%s takes %d operands here, not %d", callee->name, params + node->attr[attr].count,
                            node->operand_count);
    for (int i = 0; i < node->operand_count && !reason; i++) {
        IrRef ref = i < params ? callee->params.items[i] : seeded[node->attr[attr].items[i - params]];
        reason = want_type(in, "operand", i, operand_type(in, i), ir_type_of(callee, ref));
    }
    return reason;
}

const char *infer_control(Infer *in)
{
    *in->type = ir_scalar(DT_f32);
    switch (in->node->op) {
    case OP_call:
        return want_params(in, in->node->callee[0], 0, 0);
    case OP_for:
        return check_for(in);
    case OP_while:
        return check_while(in);
    case OP_if:
        return check_if(in);
    case OP_custom:
        return check_custom(in);
    default:
        return check_calculus(in);
    }
}
