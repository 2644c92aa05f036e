/* Is a derivative rule linear in its tangents?  The rule of a function is written by a user, and reverse mode transposes it.
 *
 * Each value has a share in the tangents: none (a value), all of it (linear), or it is zero and counts as either.  Values and
 * linear ones do not add up, and no product has two linear factors.  What else meets a tangent is not linear. */
#include "passes/calculus.h"

typedef enum Share { SHARE_zero, SHARE_value, SHARE_linear, SHARE_mixed } Share;

typedef struct LinearCheck {
    DiagSink *diags;
    bool failed;
} LinearCheck;

static void shares_of(LinearCheck *check, const IrFunc *func, const Share *args, Share *results);

bool linear_has_transpose(IrOp op)
{
    switch (op) {
    default:
#define OP(name, arity, rule, traits)                                                                                          \
    return false;                                                                                                              \
    case OP_##name:
#define TRANSPOSE(rule) return true;
#include "ir/prims.def"
        return false;
    }
}

static Share together(Share a, Share b)
{
    if (a == SHARE_zero || a == b)
        return b;
    return b == SHARE_zero ? a : SHARE_mixed;
}

static Share product(Share a, Share b)
{
    if (a == SHARE_zero || b == SHARE_zero)
        return SHARE_zero;
    if (a == SHARE_linear && b == SHARE_linear)
        return SHARE_mixed;
    return a == SHARE_linear || b == SHARE_linear ? SHARE_linear : SHARE_value;
}

/* The share of a node that is not linear in what it reads. */
static Share opaque(const IrNode *node, const Share *share)
{
    for (int i = 0; i < node->operand_count; i++) {
        if (share[node->operands[i]] == SHARE_linear)
            return SHARE_mixed;
    }
    return SHARE_value;
}

static Share share_of_linear(const IrNode *node, const Share *share)
{
    Share all = SHARE_zero;
    for (int i = 0; i < node->operand_count; i++)
        all = together(all, share[node->operands[i]]);
    return all;
}

static Share share_of_node(const IrFunc *func, const IrNode *node, const Share *share)
{
    Share x[3] = {SHARE_zero, SHARE_zero, SHARE_zero};
    for (int i = 0; i < node->operand_count && i < 3; i++)
        x[i] = share[node->operands[i]];
    switch (node->op) {
    case OP_const:
        return node->value == 0 ? SHARE_zero : SHARE_value;
    case OP_mul:
    case OP_dot:
    case OP_conv:
        return product(x[0], x[1]);
    case OP_div:
        return x[1] == SHARE_linear ? SHARE_mixed : x[0];
    case OP_take:
        return x[1] == SHARE_linear ? SHARE_mixed : x[0];
    case OP_put_add:
        return x[1] == SHARE_linear ? SHARE_mixed : together(x[0], x[2]);
    case OP_select:
        return x[0] == SHARE_linear ? SHARE_mixed : together(x[1], x[2]);
    case OP_cast:
        if (!dtype_is_float(node->type.dtype) || !dtype_is_float(ir_type_of(func, node->operands[0])->dtype))
            return opaque(node, share);
        return x[0];
    default:
        return linear_has_transpose(node->op) ? share_of_linear(node, share) : opaque(node, share);
    }
}

/* ---- control nodes ---- */

static void loop_shares(LinearCheck *check, const IrNode *node, const Share *operands, Share *results)
{
    bool indexed = node->op == OP_for, grows = true;
    const IrFunc *body = node->callee[!indexed];
    int carries = (int)node->attr[1].items[0];
    Share *args = arena_array(body->module->arena, Share, body->params.count);
    args[0] = SHARE_value;
    for (int i = indexed; i < body->params.count; i++)
        args[i] = operands[i];
    while (grows && !check->failed) {
        grows = false;
        shares_of(check, body, args, results);
        for (int i = 0; i < carries; i++) {
            Share *carry = &args[indexed + i], next = together(*carry, results[i]);
            grows |= next != *carry;
            check->failed |= next == SHARE_mixed;
            *carry = results[i] = next;
        }
    }
    if (!indexed && !check->failed)
        shares_of(check, node->callee[0], args, &(Share){0});
}

static void branch_shares(LinearCheck *check, const IrNode *node, const Share *operands, Share *results)
{
    int count = node->callee[0]->results.count;
    Share *other = arena_array(node->callee[0]->module->arena, Share, count);
    shares_of(check, node->callee[0], operands + 1, results);
    shares_of(check, node->callee[1], operands + 1, other);
    for (int i = 0; i < count; i++) {
        results[i] = together(results[i], other[i]);
        check->failed |= results[i] == SHARE_mixed;
    }
}

static void control_shares(LinearCheck *check, const IrNode *node, const Share *share, Share *results)
{
    Share *operands = arena_array(node->callee[0]->module->arena, Share, node->operand_count);
    for (int i = 0; i < node->operand_count; i++)
        operands[i] = share[node->operands[i]];
    if (node->op == OP_for || node->op == OP_while)
        loop_shares(check, node, operands, results);
    else if (node->op == OP_if)
        branch_shares(check, node, operands, results);
    else
        shares_of(check, node->callee[0], operands, results);
}

/* ---- the walk ---- */

static void report(LinearCheck *check, const IrNode *node)
{
    check->failed = true;
    diag_report(check->diags, DIAG_rule_not_linear, node->span, "a derivative rule is linear in its tangents, but this is not");
    diag_note(check->diags, (Span){0}, "`%s` of tangents: they may be scaled by values and added, nothing else",
              ir_op_info[node->op].name);
}

static void shares_of(LinearCheck *check, const IrFunc *func, const Share *args, Share *results)
{
    Arena *arena = func->module->arena;
    Share *share = arena_array(arena, Share, func->nodes.count);
    Share **of_control = arena_array(arena, Share *, func->nodes.count);
    int reported = check->diags->list.count;
    for (IrRef at = 0, param = 0; at < func->nodes.count && !check->failed; at++) {
        const IrNode *node = ir_node(func, at);
        if (node->op == OP_param) {
            share[at] = args[param++];
        } else if (node->op == OP_get) {
            share[at] = of_control[node->operands[0]][node->attr[0].items[0]];
        } else if (ir_op_info[node->op].traits & TRAIT_control) {
            of_control[at] = arena_array(arena, Share, ir_result_count(node));
            control_shares(check, node, share, of_control[at]);
            if (check->failed && reported == check->diags->list.count)
                report(check, node);
        } else {
            share[at] = share_of_node(func, node, share);
            if (share[at] == SHARE_mixed)
                report(check, node);
        }
    }
    for (int i = 0; i < func->results.count && !check->failed; i++)
        results[i] = share[func->results.items[i]];
}

bool linear_check(const IrFunc *rule, int first, DiagSink *diags)
{
    Arena *arena = rule->module->arena;
    LinearCheck check = {.diags = diags};
    Share *args = arena_array(arena, Share, rule->params.count);
    Share *results = arena_array(arena, Share, rule->results.count);
    for (int i = 0; i < rule->params.count; i++)
        args[i] = i < first ? SHARE_value : SHARE_linear;
    shares_of(&check, rule, args, results);
    for (int i = 0; i < rule->results.count && !check.failed; i++) {
        if (results[i] == SHARE_value)
            report(&check, ir_node(rule, rule->results.items[i]));
    }
    return !check.failed;
}
