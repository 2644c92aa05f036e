/* Forward mode through calls, loops, branches and functions with rules of their own.
 *
 * Mixed form: one loop or branch carries values and tangents.  Split form: the loop of values runs first and keeps, as rows,
 * what the linear loop needs of the state at the start of each turn (the tape); the linear loop computes the turn's values
 * again from it.  Which carries have tangents is a fixpoint: a body is built anew until its results ask for no more. */
#include "passes/calculus.h"

#include <string.h>

typedef struct Loop {
    const IrNode *node;
    const IrFunc *body;
    bool indexed; /* the body's first param is the turn number */
    int carry_count, capture_count, row_count;
    Dual *carry, *capture; /* in the function that is built */
    bool *active;          /* carries and rows that have tangents */
} Loop;

static Arena *arena_of(const Frame *f)
{
    return f->jvp.into->module->arena;
}

static IrFunc *new_body(const Frame *f, const IrFunc *like, const char *suffix)
{
    IrModule *module = f->jvp.into->module;
    IrFunc *body = ir_func_new(module, calculus_suffixed(module->arena, like->name, suffix));
    body->at = f->jvp.into->at;
    return body;
}

static Dual *operand_duals(const Frame *f, const IrNode *node, int first, int count)
{
    Dual *duals = arena_array(arena_of(f), Dual, count);
    for (int i = 0; i < count; i++) {
        IrRef operand = node->operands[first + i];
        duals[i] = (Dual){f->primal[operand], f->tangent[operand]};
    }
    return duals;
}

static Loop loop_of(const Frame *f, IrRef at)
{
    const IrNode *node = ir_node(f->from, at);
    Loop loop = {.node = node, .indexed = node->op == OP_for, .carry_count = (int)node->attr[1].items[0]};
    loop.body = node->callee[!loop.indexed];
    loop.capture_count = node->operand_count - loop.indexed - loop.carry_count;
    loop.row_count = loop.body->results.count - loop.carry_count;
    loop.carry = operand_duals(f, node, loop.indexed, loop.carry_count);
    loop.capture = operand_duals(f, node, loop.indexed + loop.carry_count, loop.capture_count);
    loop.active = arena_array(arena_of(f), bool, loop.carry_count + loop.row_count);
    for (int i = 0; i < loop.carry_count; i++)
        loop.active[i] = loop.carry[i].tangent != NO_REF;
    return loop;
}

/* Where the duals of a body's carries and captures start among its arguments. */
static IrRef body_param(const Loop *loop, int index)
{
    return loop->body->params.items[loop->indexed + index];
}

/* Notes which results have tangents; true if a carry has one for the first time. */
static bool activity_grows(Loop *loop, const Dual *results)
{
    bool grows = false;
    for (int i = 0; i < loop->carry_count + loop->row_count; i++) {
        bool active = results[i].tangent != NO_REF;
        grows |= i < loop->carry_count && active && !loop->active[i];
        loop->active[i] = loop->active[i] || active;
    }
    return grows;
}

static int active_count(const Loop *loop)
{
    int count = 0;
    for (int i = 0; i < loop->carry_count + loop->row_count; i++)
        count += loop->active[i];
    return count;
}

/* Adds the tangents of the results numbered first .. end, where they are active. */
static void add_tangents(IrFunc *out, const IrFunc *like, const Dual *results, const bool *active, int first, int end)
{
    for (int i = first; i < end; i++) {
        if (active[i])
            ir_result(out, calculus_or_zeros(out, results[i].tangent, ir_type_of(like, like->results.items[i])), NULL);
    }
}

/* ---- calls and rules ---- */

bool jvp_call(Frame *f, IrRef at)
{
    const IrNode *node = ir_node(f->from, at);
    f->results[at] = arena_array(arena_of(f), Dual, node->callee[0]->results.count);
    return jvp_walk(&f->jvp, node->callee[0], operand_duals(f, node, 0, node->operand_count), f->results[at]);
}

/* The tangents by the rule.  In split form the rule is itself differentiated by its tangents, at zero: it is linear, so that
 * is the rule again, and its loops and branches come out in split form. */
static bool rule_tangents(Frame *f, const IrNode *node, Dual *tangents)
{
    IrFunc *into = f->jvp.into, *rule = node->callee[1];
    Dual *args = arena_array(arena_of(f), Dual, rule->params.count);
    int count = 0;
    for (int i = 0; i < node->operand_count; i++)
        args[count++] = (Dual){f->primal[node->operands[i]], NO_REF};
    for (int i = 0; i < node->operand_count; i++) {
        IrRef operand = node->operands[i];
        const IrType *type = ir_type_of(f->from, operand);
        if (!dtype_is_float(type->dtype))
            continue;
        args[count].primal = f->jvp.split ? calculus_zeros(into, type) : calculus_or_zeros(into, f->tangent[operand], type);
        args[count++].tangent = f->jvp.split ? f->tangent[operand] : NO_REF;
    }
    if (f->jvp.split)
        return jvp_walk(&f->jvp, rule, args, tangents);
    IrRef *refs = arena_array(arena_of(f), IrRef, count);
    for (int i = 0; i < count; i++)
        refs[i] = args[i].primal;
    IrRef call = ir_call(into, rule, refs, count);
    for (int i = 0; i < rule->results.count; i++)
        tangents[i].tangent = ir_get(into, call, i);
    return true;
}

bool jvp_custom(Frame *f, IrRef at)
{
    const IrNode *node = ir_node(f->from, at);
    const IrFunc *func = node->callee[0];
    if (!linear_check(node->callee[1], func->params.count, f->jvp.diags))
        return false;
    IrRef copy = ir_copy_node(f->jvp.into, f->from, at, f->primal);
    Dual *tangents = arena_array(arena_of(f), Dual, node->callee[1]->results.count);
    if (!rule_tangents(f, node, tangents))
        return false;
    Dual *results = f->results[at] = arena_array(arena_of(f), Dual, func->results.count);
    for (int i = 0, floats = 0; i < func->results.count; i++) {
        results[i] = (Dual){ir_get(f->jvp.into, copy, i), NO_REF};
        if (dtype_is_float(ir_type_of(func, func->results.items[i])->dtype))
            results[i].tangent = tangents[floats++].tangent;
    }
    return true;
}

/* ---- branches ---- */

typedef struct Branch {
    IrFunc *func;
    Dual *results;
} Branch;

/* Params: the captures, then the tangents of those that have one. */
static bool build_branch(const Frame *f, const IrFunc *like, const Dual *captures, Branch *branch)
{
    int count = like->params.count;
    Dual *args = arena_array(arena_of(f), Dual, count);
    branch->func = new_body(f, like, f->jvp.split ? ".linear" : ".jvp");
    branch->results = arena_array(arena_of(f), Dual, like->results.count);
    for (int i = 0; i < count; i++)
        args[i] = (Dual){calculus_param_like(branch->func, like, like->params.items[i], ""), NO_REF};
    for (int i = 0; i < count; i++) {
        if (captures[i].tangent != NO_REF)
            args[i].tangent = calculus_param_like(branch->func, like, like->params.items[i], ".t");
    }
    return jvp_walk(&(Jvp){branch->func, f->jvp.split, f->jvp.diags}, like, args, branch->results);
}

static void finish_branch(const Frame *f, const IrFunc *like, Branch *branch, const bool *active)
{
    for (int i = 0; i < like->results.count && !f->jvp.split; i++)
        ir_result(branch->func, branch->results[i].primal, NULL);
    add_tangents(branch->func, like, branch->results, active, 0, like->results.count);
}

/* Drops the captures that neither branch uses; returns how many operands are left. */
static int trim_branches(IrFunc *yes, IrFunc *no, IrRef *operands)
{
    bool *keep = calculus_used_params(yes);
    const bool *other = calculus_used_params(no);
    int count = yes->params.count, kept = 0;
    for (int i = 0; i < count; i++) {
        keep[i] = keep[i] || other[i];
        if (keep[i])
            operands[kept++] = operands[i];
    }
    calculus_trim(yes, keep);
    calculus_trim(no, keep);
    return kept;
}

static IrRef emit_if(Frame *f, const IrNode *node, const Dual *captures, Branch *branch)
{
    int count = node->operand_count - 1, total = 0;
    IrRef *operands = arena_array(arena_of(f), IrRef, 2 * count);
    for (int i = 0; i < count; i++)
        operands[total++] = captures[i].primal;
    for (int i = 0; i < count; i++) {
        if (captures[i].tangent != NO_REF)
            operands[total++] = captures[i].tangent;
    }
    total = trim_branches(branch[0].func, branch[1].func, operands);
    return ir_if(f->jvp.into, f->primal[node->operands[0]], branch[0].func, branch[1].func, operands, total);
}

bool jvp_if(Frame *f, IrRef at)
{
    const IrNode *node = ir_node(f->from, at);
    const IrFunc *like = node->callee[0];
    const Dual *captures = operand_duals(f, node, 1, node->operand_count - 1);
    int count = like->results.count, next = 0;
    bool *active = arena_array(arena_of(f), bool, count);
    Branch branch[2];
    for (int b = 0; b < 2; b++) {
        if (!build_branch(f, node->callee[b], captures, &branch[b]))
            return false;
        for (int i = 0; i < count; i++)
            active[i] = active[i] || branch[b].results[i].tangent != NO_REF;
    }
    for (int b = 0; b < 2; b++)
        finish_branch(f, node->callee[b], &branch[b], active);
    IrRef made = emit_if(f, node, captures, branch);
    IrRef values = f->jvp.split ? ir_copy_node(f->jvp.into, f->from, at, f->primal) : made;
    f->results[at] = arena_array(arena_of(f), Dual, count);
    for (int i = 0; i < count; i++)
        f->results[at][i] = (Dual){ir_get(f->jvp.into, values, i), NO_REF};
    if (!f->jvp.split)
        next = count;
    for (int i = 0; i < count; i++) {
        if (active[i])
            f->results[at][i].tangent = ir_get(f->jvp.into, made, next++);
    }
    return true;
}

/* ---- loops, mixed ---- */

/* Params: (turn), carries, their tangents, captures, their tangents.  Results: carries, their tangents, rows, theirs. */
static bool build_mixed(const Frame *f, Loop *loop, IrFunc **out, Dual *args, Dual *results)
{
    do {
        IrFunc *body = *out = new_body(f, loop->body, ".jvp");
        Dual *carry = args + loop->indexed, *capture = carry + loop->carry_count;
        if (loop->indexed)
            args[0] = (Dual){calculus_param_like(body, loop->body, loop->body->params.items[0], ""), NO_REF};
        for (int i = 0; i < loop->carry_count; i++)
            carry[i] = (Dual){calculus_param_like(body, loop->body, body_param(loop, i), ""), NO_REF};
        for (int i = 0; i < loop->carry_count; i++) {
            if (loop->active[i])
                carry[i].tangent = calculus_param_like(body, loop->body, body_param(loop, i), ".t");
        }
        for (int i = 0; i < loop->capture_count; i++) {
            IrRef param = body_param(loop, loop->carry_count + i);
            capture[i] = (Dual){calculus_param_like(body, loop->body, param, ""), NO_REF};
        }
        for (int i = 0; i < loop->capture_count; i++) {
            if (loop->capture[i].tangent != NO_REF)
                capture[i].tangent = calculus_param_like(body, loop->body, body_param(loop, loop->carry_count + i), ".t");
        }
        if (!jvp_walk(&(Jvp){body, false, f->jvp.diags}, loop->body, args, results))
            return false;
    } while (activity_grows(loop, results));
    return true;
}

static void finish_mixed(IrFunc *body, const Loop *loop, const Dual *results)
{
    int carries = loop->carry_count, all = carries + loop->row_count;
    for (int i = 0; i < carries; i++)
        ir_result(body, results[i].primal, NULL);
    add_tangents(body, loop->body, results, loop->active, 0, carries);
    for (int i = carries; i < all; i++)
        ir_result(body, results[i].primal, NULL);
    add_tangents(body, loop->body, results, loop->active, carries, all);
    calculus_trim(body, NULL);
}

/* The condition with the mixed body's params; it looks at values only. */
static IrFunc *mixed_condition(const Frame *f, const IrFunc *condition, const IrFunc *body, const Dual *args)
{
    IrFunc *out = new_body(f, condition, ".jvp");
    IrRef *refs = arena_array(arena_of(f), IrRef, condition->params.count), result;
    for (int i = 0; i < body->params.count; i++)
        calculus_param_like(out, body, body->params.items[i], "");
    for (int i = 0; i < condition->params.count; i++)
        refs[i] = args[i].primal; /* params come first in both functions, so the refs are the same */
    ir_inline_call(out, condition, refs, &result);
    ir_result(out, result, NULL);
    calculus_trim(out, NULL);
    return out;
}

/* Operands of a mixed loop after the trip count; returns how many carries there are. */
static int mixed_operands(Frame *f, const Loop *loop, IrRef *operands, int *count)
{
    int total = 0;
    for (int i = 0; i < loop->carry_count; i++)
        operands[total++] = loop->carry[i].primal;
    for (int i = 0; i < loop->carry_count; i++) {
        if (loop->active[i])
            operands[total++] =
                calculus_or_zeros(f->jvp.into, loop->carry[i].tangent, ir_type_of(loop->body, body_param(loop, i)));
    }
    int carries = total;
    for (int i = 0; i < loop->capture_count; i++)
        operands[total++] = loop->capture[i].primal;
    for (int i = 0; i < loop->capture_count; i++) {
        if (loop->capture[i].tangent != NO_REF)
            operands[total++] = loop->capture[i].tangent;
    }
    *count = total;
    return carries;
}

static void read_mixed(Frame *f, IrRef at, const Loop *loop, IrRef made)
{
    Dual *results = f->results[at] = arena_array(arena_of(f), Dual, loop->carry_count + loop->row_count);
    int next = 0, end[2] = {loop->carry_count, loop->carry_count + loop->row_count};
    for (int group = 0, first = 0; group < 2; first = end[group++]) {
        for (int i = first; i < end[group]; i++)
            results[i] = (Dual){ir_get(f->jvp.into, made, next++), NO_REF};
        for (int i = first; i < end[group]; i++) {
            if (loop->active[i])
                results[i].tangent = ir_get(f->jvp.into, made, next++);
        }
    }
}

static bool mixed_loop(Frame *f, IrRef at)
{
    Loop loop = loop_of(f, at);
    Dual *args = arena_array(arena_of(f), Dual, loop.body->params.count);
    Dual *results = arena_array(arena_of(f), Dual, loop.body->results.count);
    IrRef *operands = arena_array(arena_of(f), IrRef, 2 * (loop.carry_count + loop.capture_count)), made;
    IrFunc *body;
    int total;
    if (!build_mixed(f, &loop, &body, args, results))
        return false;
    IrFunc *condition = loop.indexed ? NULL : mixed_condition(f, loop.node->callee[0], body, args);
    finish_mixed(body, &loop, results);
    int carries = mixed_operands(f, &loop, operands, &total);
    int64_t bound = loop.node->attr[0].items[0];
    if (loop.indexed)
        made = ir_for(f->jvp.into, body, f->primal[loop.node->operands[0]], bound, operands, carries, operands + carries,
                      total - carries);
    else
        made = ir_while(f->jvp.into, condition, body, bound, operands, carries, operands + carries, total - carries);
    read_mixed(f, at, &loop, made);
    return true;
}

/* ---- loops, split: the linear loop ---- */

typedef struct Linear {
    IrFunc *body; /* params: turn, tangents of carries; tapes of carries, captures, their tangents: those that are used */
    int carries;  /* how many tangents are carried */
    bool *keep;   /* by param before the unused ones were dropped */
} Linear;

static IrType tape_type(const IrType *row, int64_t bound)
{
    IrType type = {.dtype = row->dtype, .rank = row->rank + 1, .dim = {bound}};
    memcpy(type.dim + 1, row->dim, sizeof(int64_t) * (size_t)row->rank);
    return type;
}

static void linear_args(const Loop *loop, Linear *linear, Dual *args)
{
    IrFunc *body = linear->body;
    const IrFunc *like = loop->body;
    Dual *carry = args + loop->indexed, *capture = carry + loop->carry_count;
    IrRef turn = ir_param(body, ir_scalar(DT_i32), "turn");
    if (loop->indexed)
        args[0] = (Dual){turn, NO_REF};
    linear->carries = 0;
    for (int i = 0; i < loop->carry_count; i++) {
        carry[i].tangent = NO_REF;
        if (loop->active[i]) {
            carry[i].tangent = calculus_param_like(body, like, body_param(loop, i), ".t");
            linear->carries++;
        }
    }
    for (int i = 0; i < loop->carry_count; i++) {
        const IrNode *param = ir_node(like, body_param(loop, i));
        carry[i].primal = ir_param(body, tape_type(&param->type, loop->node->attr[0].items[0]),
                                   calculus_suffixed(body->module->arena, param->name, ".tape"));
    }
    for (int i = 0; i < loop->capture_count; i++)
        capture[i] = (Dual){calculus_param_like(body, like, body_param(loop, loop->carry_count + i), ""), NO_REF};
    for (int i = 0; i < loop->capture_count; i++) {
        if (loop->capture[i].tangent != NO_REF)
            capture[i].tangent = calculus_param_like(body, like, body_param(loop, loop->carry_count + i), ".t");
    }
    for (int i = 0; i < loop->carry_count; i++)
        carry[i].primal = ir_take(body, carry[i].primal, turn, 0, 0);
}

static bool build_linear(const Frame *f, Loop *loop, Linear *linear)
{
    Dual *args = arena_array(arena_of(f), Dual, loop->body->params.count);
    Dual *results = arena_array(arena_of(f), Dual, loop->body->results.count);
    do {
        linear->body = new_body(f, loop->body, ".linear");
        linear_args(loop, linear, args);
        if (!jvp_walk(&(Jvp){linear->body, true, f->jvp.diags}, loop->body, args, results))
            return false;
    } while (activity_grows(loop, results));
    add_tangents(linear->body, loop->body, results, loop->active, 0, loop->carry_count + loop->row_count);
    linear->keep = calculus_used_params(linear->body);
    for (int i = 0; i < 1 + linear->carries; i++)
        linear->keep[i] = true;
    calculus_trim(linear->body, linear->keep);
    return true;
}

static bool emit_linear(Frame *f, IrRef at, const Loop *loop, const Linear *linear, IrRef trip, const IrRef *tapes)
{
    IrRef *operands = arena_array(arena_of(f), IrRef, 2 * (loop->carry_count + loop->capture_count));
    int total = 0, param = 1 + linear->carries;
    for (int i = 0; i < loop->carry_count; i++) {
        if (loop->active[i])
            operands[total++] =
                calculus_or_zeros(f->jvp.into, loop->carry[i].tangent, ir_type_of(loop->body, body_param(loop, i)));
    }
    for (int i = 0; i < loop->carry_count; i++) {
        if (linear->keep[param++])
            operands[total++] = tapes[i];
    }
    for (int i = 0; i < loop->capture_count; i++) {
        if (linear->keep[param++])
            operands[total++] = loop->capture[i].primal;
    }
    for (int i = 0; i < loop->capture_count; i++) {
        if (loop->capture[i].tangent != NO_REF && linear->keep[param++])
            operands[total++] = loop->capture[i].tangent;
    }
    IrRef made = ir_for(f->jvp.into, linear->body, trip, loop->node->attr[0].items[0], operands, linear->carries,
                        operands + linear->carries, total - linear->carries);
    for (int i = 0, next = 0; i < loop->carry_count + loop->row_count; i++) {
        if (loop->active[i])
            f->results[at][i].tangent = ir_get(f->jvp.into, made, next++);
    }
    return true;
}

/* ---- loops, split: the loop of values ---- */

/* The body with the state at the start of the turn as further rows, where `wanted`. */
static IrFunc *taped_body(const Frame *f, const Loop *loop, const bool *wanted)
{
    const IrFunc *like = loop->body;
    IrFunc *body = new_body(f, like, ".taped");
    IrRef *args = arena_array(arena_of(f), IrRef, like->params.count);
    IrRef *results = arena_array(arena_of(f), IrRef, like->results.count);
    if (!loop->indexed)
        ir_param(body, ir_scalar(DT_i32), "turn");
    for (int i = 0; i < like->params.count; i++)
        args[i] = calculus_param_like(body, like, like->params.items[i], "");
    ir_inline_call(body, like, args, results);
    for (int i = 0; i < like->results.count; i++)
        ir_result(body, results[i], NULL);
    for (int i = 0; i < loop->carry_count; i++) {
        if (wanted[i])
            ir_result(body, args[loop->indexed + i], NULL);
    }
    return body;
}

/* Runs the loop and writes its results and tapes. */
static void run_taped(Frame *f, IrRef at, const Loop *loop, IrRef trip, const bool *wanted, IrRef *tapes)
{
    IrFunc *into = f->jvp.into;
    IrRef *operands = arena_array(arena_of(f), IrRef, loop->carry_count + loop->capture_count);
    int total = 0, all = loop->carry_count + loop->row_count;
    for (int i = 0; i < loop->carry_count; i++)
        operands[total++] = loop->carry[i].primal;
    for (int i = 0; i < loop->capture_count; i++)
        operands[total++] = loop->capture[i].primal;
    IrRef made = ir_for(into, taped_body(f, loop, wanted), trip, loop->node->attr[0].items[0], operands, loop->carry_count,
                        operands + loop->carry_count, loop->capture_count);
    for (int i = 0; i < all; i++)
        f->results[at][i].primal = ir_get(into, made, i);
    for (int i = 0, next = all; i < loop->carry_count; i++) {
        if (wanted[i])
            tapes[i] = ir_get(into, made, next++);
    }
}

/* Runs the loop as it is. */
static void run_plain(Frame *f, IrRef at, const Loop *loop)
{
    IrRef copy = ir_copy_node(f->jvp.into, f->from, at, f->primal);
    for (int i = 0; i < loop->carry_count + loop->row_count; i++)
        f->results[at][i].primal = ir_get(f->jvp.into, copy, i);
}

/* A `while` becomes one that only counts its turns, so that the loop can be run again as a `for`. */
static IrFunc *counting(const Frame *f, const Loop *loop, const IrFunc *like, bool is_body)
{
    IrFunc *out = new_body(f, like, ".counting");
    int params = like->params.count;
    IrRef *args = arena_array(arena_of(f), IrRef, params), *results = arena_array(arena_of(f), IrRef, like->results.count);
    for (int i = 0; i < loop->carry_count; i++)
        args[i] = calculus_param_like(out, like, like->params.items[i], "");
    IrRef turns = ir_param(out, ir_scalar(DT_i32), "turns");
    for (int i = loop->carry_count; i < params; i++)
        args[i] = calculus_param_like(out, like, like->params.items[i], "");
    ir_inline_call(out, like, args, results);
    for (int i = 0; i < like->results.count; i++)
        ir_result(out, results[i], NULL);
    if (is_body)
        ir_result(out, ir_binary(out, OP_add, turns, ir_const(out, ir_scalar(DT_i32), 1)), NULL);
    return out;
}

static IrRef count_turns(Frame *f, IrRef at, const Loop *loop)
{
    IrFunc *into = f->jvp.into;
    IrRef *operands = arena_array(arena_of(f), IrRef, loop->carry_count + 1 + loop->capture_count);
    int total = 0, carries = loop->carry_count;
    for (int i = 0; i < carries; i++)
        operands[total++] = loop->carry[i].primal;
    operands[total++] = ir_const(into, ir_scalar(DT_i32), 0);
    for (int i = 0; i < loop->capture_count; i++)
        operands[total++] = loop->capture[i].primal;
    IrRef made = ir_while(into, counting(f, loop, loop->node->callee[0], false), counting(f, loop, loop->body, true),
                          loop->node->attr[0].items[0], operands, carries + 1, operands + carries + 1, loop->capture_count);
    for (int i = 0; i < carries; i++)
        f->results[at][i].primal = ir_get(into, made, i);
    return ir_get(into, made, carries);
}

/* A tape has a row for each turn, so a bound must be known (a `for` always has one), and an axis must be left for it. */
static bool check_tapes(const Frame *f, const Loop *loop)
{
    const IrNode *node = loop->node;
    if (!loop->indexed && !node->attr[0].items[0]) {
        diag_report(f->jvp.diags, DIAG_unbounded_reverse, node->span,
                    "the gradient of this loop needs to know how many turns it takes at most");
        diag_note(f->jvp.diags, (Span){0}, "write `while condition, bound = N { ... }` or `for i in a..b, bound = N { ... }`");
        return false;
    }
    for (int i = 0; i < loop->carry_count; i++) {
        if (ir_type_of(loop->body, body_param(loop, i))->rank < IR_MAX_RANK)
            continue;
        diag_report(f->jvp.diags, DIAG_no_derivative, node->span,
                    "the gradient of this loop needs one more axis than the %d that a tensor can have", IR_MAX_RANK);
        return false;
    }
    return true;
}

static bool split_loop(Frame *f, IrRef at)
{
    Loop loop = loop_of(f, at);
    Linear linear;
    f->results[at] = arena_array(arena_of(f), Dual, loop.carry_count + loop.row_count);
    for (int i = 0; i < loop.carry_count + loop.row_count; i++)
        f->results[at][i] = (Dual){NO_REF, NO_REF};
    if (!check_tapes(f, &loop) || !build_linear(f, &loop, &linear))
        return false;
    const bool *taped = linear.keep + 1 + linear.carries;
    IrRef *tapes = arena_array(arena_of(f), IrRef, loop.carry_count);
    bool any = false;
    for (int i = 0; i < loop.carry_count; i++)
        any |= taped[i];
    IrRef trip = loop.indexed ? f->primal[loop.node->operands[0]] : count_turns(f, at, &loop);
    if (any)
        run_taped(f, at, &loop, trip, taped, tapes);
    else if (loop.indexed)
        run_plain(f, at, &loop);
    return !active_count(&loop) || emit_linear(f, at, &loop, &linear, trip, tapes);
}

bool jvp_for(Frame *f, IrRef at)
{
    return f->jvp.split ? split_loop(f, at) : mixed_loop(f, at);
}

bool jvp_while(Frame *f, IrRef at)
{
    return f->jvp.split ? split_loop(f, at) : mixed_loop(f, at);
}
