/* Loops: `for` and `while`, at run time where they can be and unrolled where they must be. */
#include "frontend/elaborate_carry.h"

#include <string.h>

enum { MOST_TRIALS = 6 };

typedef struct Loop {
    Env *env;
    const Stmt *stmt;
    KeyNode *key; /* of the loop; each turn folds its number in */
    LocalList assigned;
    const Value *first; /* of a range: a number or an i32 scalar */
    const Value *array; /* `for s in xs`: a tensor of one axis */
    int64_t trip;       /* -1: known at run time */
    const Value *trip_tensor;
    ValueList items; /* known when compiling */
    bool known;
    int64_t bound; /* 0 if there is none */
} Loop;

/* ---- unrolled ---- */

static void unroll(Elab *el, const Loop *loop)
{
    KeyNode *saved = el->key;
    for (int i = 0; i < loop->items.count && elab_step(el, loop->stmt->span); i++) {
        Env *turn = env_new(el, loop->env);
        el->key = key_turn(el, loop->key, value_integer(el->arena, i));
        bind_pattern(el, turn, loop->stmt->pattern, loop->items.items[i], false);
        elab_block(el, turn, loop->stmt->body);
    }
    el->key = saved;
}

/* ---- one turn as a function ---- */

/* What the pattern is bound to in the turn with number `turn`. */
static const Value *turn_item(Elab *el, const Loop *loop, const Value *turn)
{
    Span at = loop->stmt->pattern->span;
    Shape scalar = {0};
    if (loop->array) {
        IrRef x = tensor_ref(el, loop->array, at);
        return tensor_new(el, ir_take(emit(el, at), x, tensor_ref(el, turn, at), 0, 0), &scalar);
    }
    Number number;
    if (value_as_number(loop->first, &number) && number.integer == 0)
        return turn;
    return arithmetic(el, at, AST_add, turn, loop->first);
}

static void run_turn(Elab *el, const Loop *loop, const Value *turn)
{
    KeyNode *saved = el->key;
    el->key = key_turn(el, loop->key, turn);
    Env *env = env_new(el, loop->env);
    if (loop->stmt->kind == STMT_for)
        bind_pattern(el, env, loop->stmt->pattern, turn_item(el, loop, turn), false);
    elab_block(el, env, loop->stmt->body);
    el->key = saved;
}

static const Value *turn_param(Elab *el)
{
    Shape scalar = {0};
    return tensor_new(el, ir_param(el->frame->func, ir_scalar(DT_i32), "turn"), &scalar);
}

typedef enum Outcome { LOOP_done, LOOP_again, LOOP_unroll, LOOP_wrong } Outcome;

/* The variable of a part `y.0`. */
static int variable_of(const LocalList *bindings, const char *part)
{
    for (int i = 0; i < bindings->count; i++) {
        size_t length = strlen(bindings->items[i]->name);
        if (!strncmp(part, bindings->items[i]->name, length) && (!part[length] || part[length] == '.'))
            return i;
    }
    return -1;
}

/* Says how a part changes, or, where there is no such part before or after, how its variable does. */
static void report_change(Elab *el, const Loop *loop, const Carry *carry, const LeafList *values, const char *culprit)
{
    int variable = variable_of(&carry->bindings, culprit);
    const Value *before = NULL, *after = NULL;
    for (int i = 0; i < carry->parts.count; i++) {
        if (!strcmp(carry->parts.items[i].path, culprit))
            before = carry->parts.items[i].outer;
    }
    for (int i = 0; i < values->count; i++) {
        if (!strcmp(values->items[i].path, culprit))
            after = values->items[i].value;
    }
    if ((!before || !after) && variable >= 0) {
        culprit = carry->bindings.items[variable]->name;
        before = carry->outer.items[variable];
        after = carry->bindings.items[variable]->value;
    }
    if (!before || !after)
        before = after = &value_unit;
    elab_error(el, DIAG_var_type, loop->stmt->span, "a turn of this loop changes `%s` from %s to %s", culprit,
               value_describe(el->arena, before), value_describe(el->arena, after));
    if (variable >= 0)
        elab_note(el, carry->bindings.items[variable]->span, "`%s` is declared here", carry->bindings.items[variable]->name);
    elab_note(el, (Span){0}, "variables keep their type in a loop that runs at run time");
}

/* After a trial: go on, try again with settled types, unroll, or give up. */
static Outcome judge(Elab *el, const Loop *loop, Carry *carry, const Snapshot *shot, LeafList *values)
{
    const char *culprit = "";
    if (el->errors > shot->errors)
        return loop->known && el->static_errors > shot->static_errors ? LOOP_unroll : LOOP_wrong;
    CarryFit fit = carry_compare(el, carry, values, &culprit);
    if (fit == CARRY_same)
        return LOOP_done;
    if (fit == CARRY_changed)
        return LOOP_again;
    if (loop->known)
        return LOOP_unroll;
    report_change(el, loop, carry, values, culprit);
    return LOOP_wrong;
}

static void emit_for(Elab *el, const Loop *loop, const Carry *carry, Frame *body)
{
    Span at = loop->stmt->span;
    IrRef *carries = carry_operands(el, at, carry);
    IrRef trip = ir_const(emit(el, at), ir_scalar(DT_i32), (double)loop->trip);
    IrRef node = ir_for(emit(el, at), body->func, trip, loop->trip, carries, carry->tensor_count, frame_captures(el, body),
                        body->captures.count);
    carry_finish(el, at, carry, node, 0);
}

static Outcome try_for(Elab *el, const Loop *loop, Carry *carry)
{
    Snapshot shot = snapshot_take(el);
    LeafList values;
    Frame *body = frame_enter(el, "loop");
    body->func->at = loop->stmt->span;
    const Value *turn = turn_param(el);
    carry_params(el, carry, body->func);
    run_turn(el, loop, turn);
    Outcome outcome = judge(el, loop, carry, &shot, &values);
    if (outcome == LOOP_done)
        carry_results(el, loop->stmt->span, carry, &values);
    frame_leave(el);
    carry_restore(carry);
    if (outcome == LOOP_done)
        emit_for(el, loop, carry, body);
    else if (outcome != LOOP_wrong)
        snapshot_restore(el, &shot);
    return outcome;
}

/* ---- while, and for over a range whose length is not known: a while that counts ---- */

static bool is_scalar_bool(const Value *value)
{
    return value->kind == VALUE_tensor && value->tensor.dtype == DT_bool && !value->tensor.shape.rank;
}

static IrRef loop_condition(Elab *el, const Loop *loop, const Value *turn)
{
    Span at = loop->stmt->value->span;
    Shape scalar = {0};
    const Value *go = loop->stmt->kind == STMT_for ? arithmetic(el, at, AST_lt, turn, loop->trip_tensor)
                                                   : elab_eval(el, loop->env, loop->stmt->value);
    if (is_scalar_bool(go))
        return tensor_ref(el, go, at);
    if (go->kind == VALUE_bool)
        return operand_ref(el, at, go, &scalar, DT_bool);
    if (!is_poison(go))
        elab_error(el, DIAG_type_mismatch, at, "the condition of a loop is one truth value, not %s",
                   value_describe(el->arena, go));
    return ir_const(emit(el, at), ir_scalar(DT_bool), 0);
}

static void emit_while(Elab *el, const Loop *loop, const Carry *carry, Frame *condition, Frame *body)
{
    Span at = loop->stmt->span;
    int count = carry->tensor_count + 1;
    IrRef *operands = carry_operands(el, at, carry), *carries = arena_array(el->arena, IrRef, count);
    carries[0] = ir_const(emit(el, at), ir_scalar(DT_i32), 0);
    memcpy(carries + 1, operands, sizeof(IrRef) * (size_t)carry->tensor_count);
    frame_unify_captures(el, condition, body, count);
    IrRef node = ir_while(emit(el, at), condition->func, body->func, loop->bound, carries, count, frame_captures(el, condition),
                          condition->captures.count);
    carry_finish(el, at, carry, node, 1);
}

static Outcome try_while(Elab *el, const Loop *loop, Carry *carry)
{
    Snapshot shot = snapshot_take(el);
    Span at = loop->stmt->span;
    LeafList values;
    Frame *condition = frame_enter(el, "condition");
    condition->func->at = at;
    const Value *turn = turn_param(el);
    carry_params(el, carry, condition->func);
    ir_result(condition->func, loop_condition(el, loop, turn), NULL);
    frame_leave(el);

    Frame *body = frame_enter(el, "loop");
    body->func->at = at;
    turn = turn_param(el);
    carry_params(el, carry, body->func);
    run_turn(el, loop, turn);
    Outcome outcome = judge(el, loop, carry, &shot, &values);
    if (outcome == LOOP_done) {
        const Value *next = arithmetic(el, at, AST_add, turn, value_integer(el->arena, 1));
        ir_result(body->func, tensor_ref(el, next, at), "turn");
        carry_results(el, at, carry, &values);
    }
    frame_leave(el);
    carry_restore(carry);
    if (outcome == LOOP_done)
        emit_while(el, loop, carry, condition, body);
    else if (outcome != LOOP_wrong)
        snapshot_restore(el, &shot);
    return outcome;
}

static void run_rolled(Elab *el, Loop *loop)
{
    Carry carry = carry_new(el, &loop->assigned);
    Outcome outcome = LOOP_again;
    for (int i = 0; i < MOST_TRIALS && outcome == LOOP_again; i++)
        outcome = loop->trip >= 0 ? try_for(el, loop, &carry) : try_while(el, loop, &carry);
    if (outcome == LOOP_again)
        outcome = loop->known ? LOOP_unroll : LOOP_wrong;
    if (outcome == LOOP_unroll)
        unroll(el, loop);
    if (outcome == LOOP_wrong)
        carry_poison(&carry);
}

/* ---- for ---- */

/* An end of a range: a whole number or an i32 scalar. */
static const Value *range_end(Elab *el, Env *env, const Expr *expr, const char *what)
{
    const Value *value = elab_eval(el, env, expr);
    const char *whose = arena_printf(el->arena, "%s of a range", what);
    int64_t integer;
    if (value->kind == VALUE_tensor) {
        if (!value->tensor.shape.rank && (value->tensor.dtype == DT_i32 || value->tensor.weak))
            return tensor_cast(el, expr->span, value, DT_i32);
        return elab_error(el, DIAG_type_mismatch, expr->span, "%s is a whole number or an i32 scalar, not %s", whose,
                          value_describe(el->arena, value));
    }
    return want_integer(el, value, expr->span, whose, &integer) ? value_integer(el->arena, integer) : &value_poison;
}

static void for_range(Elab *el, Loop *loop, const Expr *range)
{
    if (!range->a || !range->b) {
        elab_error(el, DIAG_type_mismatch, range->span, "a loop needs both ends of its range");
        return;
    }
    loop->first = range_end(el, loop->env, range->a, "the start");
    const Value *end = range_end(el, loop->env, range->b, "the end");
    if (is_poison(loop->first) || is_poison(end))
        return;
    if (loop->first->kind != VALUE_number || end->kind != VALUE_number) {
        loop->trip = -1;
        loop->trip_tensor = arithmetic(el, range->span, AST_sub, end, loop->first);
        run_rolled(el, loop);
        return;
    }
    int64_t first = loop->first->number.integer, count = end->number.integer - first;
    count = loop->bound && count > loop->bound ? loop->bound : count;
    loop->trip = count > 0 ? count : 0;
    if (first < INT32_MIN || end->number.integer > INT32_MAX) {
        elab_error(el, DIAG_too_large, range->span, "the numbers of a loop are of type i32");
        return;
    }
    loop->known = true;
    for (int64_t i = 0; i < count && i <= 100000; i++)
        list_push(el->arena, &loop->items, value_integer(el->arena, first + i));
    if (count > 100000)
        loop->known = false;
    if (count > 0)
        run_rolled(el, loop);
}

static void for_array(Elab *el, Loop *loop, const Value *array)
{
    Span at = loop->stmt->value->span;
    if (array->tensor.shape.rank != 1) {
        elab_error(el, DIAG_type_mismatch, at, "a loop runs over a tensor of one axis, not over %s",
                   value_describe(el->arena, array));
        elab_note(el, (Span){0}, "run over a range and take elements: `for i in 0..T { ... x[T: i] ... }`");
        return;
    }
    loop->array = array;
    loop->trip = array->tensor.shape.axes[0].size;
    if (loop->trip)
        run_rolled(el, loop);
}

/* False: it is no number of turns. */
static bool read_bound(Elab *el, Loop *loop)
{
    const Expr *bound = loop->stmt->bound;
    if (!bound)
        return true;
    if (!want_size(el, elab_eval(el, loop->env, bound), bound->span, "the bound of a loop", &loop->bound))
        return false;
    if (loop->bound <= INT32_MAX)
        return true;
    elab_error(el, DIAG_too_large, bound->span, "turns have numbers of type i32: the bound of a loop cannot be %lld",
               (long long)loop->bound);
    return false;
}

static bool has_no_turns(const Loop *loop)
{
    return loop->stmt->bound && !loop->bound;
}

void elab_for(Elab *el, Env *env, const Stmt *stmt)
{
    Loop loop = {.env = env, .stmt = stmt, .key = key_child(el, el->key, "for")};
    int before = el->errors;
    carry_find(el, env, stmt->body, &loop.assigned);
    if (!read_bound(el, &loop)) {
        before = -1;
    } else if (has_no_turns(&loop)) {
        return;
    } else if (stmt->value->kind == EXPR_range) {
        for_range(el, &loop, stmt->value);
    } else {
        const Value *sequence = elab_eval(el, env, stmt->value);
        if (sequence->kind == VALUE_tensor)
            for_array(el, &loop, sequence);
        else if (known_items(el, sequence, &loop.items))
            unroll(el, &loop);
        else if (!is_poison(sequence))
            elab_error(el, DIAG_type_mismatch, stmt->value->span,
                       "a loop runs over a range, a list or a tensor of one axis, not "
                       "over %s",
                       value_describe(el->arena, sequence));
        else
            before = -1;
    }
    for (int i = 0; el->errors != before && i < loop.assigned.count; i++)
        loop.assigned.items[i]->value = &value_poison;
}

void elab_while(Elab *el, Env *env, const Stmt *stmt)
{
    Loop loop = {.env = env, .stmt = stmt, .key = key_child(el, el->key, "while"), .trip = -1};
    carry_find(el, env, stmt->body, &loop.assigned);
    if (!read_bound(el, &loop))
        return;
    if (!loop.assigned.count) {
        elab_error(el, DIAG_endless_loop, stmt->span, "this loop assigns no variable, so its condition never changes");
        return;
    }
    if (!has_no_turns(&loop))
        run_rolled(el, &loop);
}
