/* Makers of calls, rules, loops, branches and derivatives: functions within functions. */
#include "tests/random/internal.h"

#include <math.h>

typedef struct Captures {
    LIST(IrRef) refs;
} Captures;

static Captures some_values(Scope *scope, int most)
{
    Captures captures = {{0}};
    for (int64_t i = draw_between(&scope->gen->draws, 1, most); i > 0; i--) {
        IrRef ref = any_value(scope);
        if (ref != NOTHING)
            list_push(scope->gen->arena, &captures.refs, ref);
    }
    return captures;
}

static Scope body_new(Scope *outer, const char *name)
{
    return (Scope){
        .gen = outer->gen, .func = ir_func_new(outer->gen->module, name), .set_count = MOST_SETS, .depth = outer->depth + 1};
}

static void add_param(Scope *body, IrType type, const EvalTensor *values, bool exact)
{
    IrRef ref = ir_param(body->func, type, NULL);
    for (int k = 0; k < body->set_count; k++)
        list_push(body->gen->arena, &body->sets[k], values[k]);
    keep(body, ref, exact);
}

/* Values that outlive the scratch arena. */
static void measure_kept(Scope *scope, IrRef ref, EvalTensor *values)
{
    Arena *scratch = scope->gen->scratch;
    scope->gen->scratch = scope->gen->arena;
    measure(scope, ref, values);
    scope->gen->scratch = scratch;
    for (int k = scope->set_count; k < MOST_SETS; k++)
        values[k] = values[k % scope->set_count];
}

static void add_captures(Scope *outer, Scope *body, const Captures *captures)
{
    for (int i = 0; i < captures->refs.count; i++) {
        EvalTensor values[MOST_SETS];
        IrRef ref = captures->refs.items[i];
        measure_kept(outer, ref, values);
        add_param(body, *ir_type_of(outer->func, ref), values, is_exact(outer, ref));
    }
}

/* The state of a loop: what it starts with, and what later turns may see. */
static void add_carries(Scope *outer, Scope *body, const Captures *carries)
{
    Gen *gen = outer->gen;
    for (int i = 0; i < carries->refs.count; i++) {
        EvalTensor values[MOST_SETS];
        double low, high;
        IrRef ref = carries->refs.items[i];
        IrType type = *ir_type_of(outer->func, ref);
        measure_kept(outer, ref, values);
        range_of(outer, ref, &low, &high);
        for (int k = 1; k < MOST_SETS; k++)
            values[k] = draw_tensor(gen->arena, &gen->draws, type, fmin(low, -2), fmax(high, 2), -9, 9);
        add_param(body, type, values, !dtype_is_float(type.dtype));
    }
}

static void add_turn(Scope *body)
{
    EvalTensor values[MOST_SETS];
    for (int k = 0; k < MOST_SETS; k++) {
        values[k] = eval_tensor_new(body->gen->arena, ir_scalar(DT_i32));
        values[k].integer[0] = k;
    }
    add_param(body, ir_scalar(DT_i32), values, true);
}

/* ---- results ---- */

/* The next state: of the type, and between -2 and 2 however often the turn runs. */
static void add_next(Scope *body, IrType type)
{
    IrRef next = value_of(body, type);
    if (next == NOTHING)
        next = ir_const(body->func, type, 0);
    else if (dtype_is_float(type.dtype))
        next = ir_unary(body->func, draw_chance(&body->gen->draws, 50) ? OP_sin : OP_tanh, next);
    ir_result(body->func, next, NULL);
}

static int add_some_results(Scope *body, int least, int most)
{
    int count = (int)draw_between(&body->gen->draws, least, most);
    for (int i = 0; i < count; i++)
        ir_result(body->func, any_value(body), NULL);
    return count;
}

static bool read_results(Scope *scope, IrRef node, const Scope *body, int state)
{
    bool any = false;
    for (int i = 0; i < ir_result_count(ir_node(scope->func, node)); i++) {
        IrRef inner = body->func->results.items[i];
        bool exact = dtype_class(ir_type_of(body->func, inner)->dtype) != CLASS_float;
        if (i >= state && !exact)
            exact = is_exact(body, inner);
        any |= keep(scope, ir_get(scope->func, node, i), exact) != NOTHING;
    }
    return any;
}

/* ---- loops ---- */

static Captures some_state(Scope *scope)
{
    Captures state = {{0}};
    for (int64_t i = draw_between(&scope->gen->draws, 1, 3); i > 0; i--) {
        IrRef ref = draw_chance(&scope->gen->draws, 70) ? any_real(scope, 0, 3) : any_value(scope);
        if (ref == NOTHING)
            continue;
        const IrType *type = ir_type_of(scope->func, ref);
        if (ir_element_count(type) <= 100)
            list_push(scope->gen->arena, &state.refs, ref);
    }
    return state;
}

bool make_for(Scope *scope, IrOp op)
{
    Gen *gen = scope->gen;
    Captures state = some_state(scope), captures = some_values(scope, 3);
    int64_t turns = draw_between(&gen->draws, 0, 4), bound = turns + draw_below(&gen->draws, 3) - draw_below(&gen->draws, 2);
    (void)op;
    Scope body = body_new(scope, "turn");
    add_turn(&body);
    add_carries(scope, &body, &state);
    add_captures(scope, &body, &captures);
    grow(&body, (int)draw_between(&gen->draws, 1, 5));
    for (int i = 0; i < state.refs.count; i++)
        add_next(&body, *ir_type_of(scope->func, state.refs.items[i]));
    add_some_results(&body, state.refs.count ? 0 : 1, 2);
    IrRef trip = draw_chance(&gen->draws, 50) ? ir_const(scope->func, ir_scalar(DT_i32), (double)turns)
                                              : index_below(scope, ir_scalar(DT_i32), turns);
    if (ir_type_of(scope->func, trip)->dtype != DT_i32)
        trip = ir_cast(scope->func, trip, DT_i32);
    IrRef node = ir_for(scope->func, body.func, trip, bound < 0 ? 0 : bound, state.refs.items, state.refs.count,
                        captures.refs.items, captures.refs.count);
    return read_results(scope, node, &body, state.refs.count);
}

/* while (counter < end): the counter is the first of the state, the end the first of the captures. */
bool make_while(Scope *scope, IrOp op)
{
    Gen *gen = scope->gen;
    Captures state = some_state(scope), captures = some_values(scope, 2), all = {{0}}, end = {{0}};
    int64_t turns = draw_between(&gen->draws, 0, 3);
    IrType word = ir_scalar(DT_i32);
    (void)op;
    list_push(gen->arena, &all.refs, keep(scope, ir_const(scope->func, word, 0), true));
    for (int i = 0; i < state.refs.count; i++)
        list_push(gen->arena, &all.refs, state.refs.items[i]);
    list_push(gen->arena, &end.refs, keep(scope, ir_const(scope->func, word, (double)turns), true));
    for (int i = 0; i < captures.refs.count; i++)
        list_push(gen->arena, &end.refs, captures.refs.items[i]);
    Scope body = body_new(scope, "turn"), test = body_new(scope, "more");
    add_carries(scope, &body, &all);
    add_captures(scope, &body, &end);
    add_carries(scope, &test, &all);
    add_captures(scope, &test, &end);
    ir_result(test.func, ir_binary(test.func, OP_lt, 0, all.refs.count), NULL); /* params come first */
    grow(&body, (int)draw_between(&gen->draws, 1, 5));
    ir_result(body.func, ir_binary(body.func, OP_add, 0, ir_const(body.func, word, 1)), NULL);
    for (int i = 1; i < all.refs.count; i++)
        add_next(&body, *ir_type_of(scope->func, all.refs.items[i]));
    IrRef node = ir_while(scope->func, test.func, body.func, turns + draw_between(&gen->draws, 1, 2), all.refs.items,
                          all.refs.count, end.refs.items, end.refs.count);
    return read_results(scope, node, &body, all.refs.count);
}

/* ---- branches ---- */

bool make_if(Scope *scope, IrOp op)
{
    Gen *gen = scope->gen;
    Captures captures = some_values(scope, 4);
    (void)op;
    IrRef condition = value_of(scope, ir_scalar(DT_bool));
    Scope yes = body_new(scope, "yes"), no = body_new(scope, "no");
    add_captures(scope, &yes, &captures);
    add_captures(scope, &no, &captures);
    grow(&yes, (int)draw_between(&gen->draws, 1, 4));
    grow(&no, (int)draw_between(&gen->draws, 1, 4));
    int count = add_some_results(&yes, 1, 3);
    for (int i = 0; i < count; i++) {
        IrRef value = value_of(&no, *ir_type_of(yes.func, yes.func->results.items[i]));
        if (value == NOTHING)
            value = ir_const(no.func, *ir_type_of(yes.func, yes.func->results.items[i]), 0);
        ir_result(no.func, value, NULL);
    }
    if (condition == NOTHING)
        return false;
    IrRef node = ir_if(scope->func, condition, yes.func, no.func, captures.refs.items, captures.refs.count);
    return read_results(scope, node, &yes, count);
}

/* ---- calls and rules ---- */

static bool *floats_of(Gen *gen, const IrFunc *func)
{
    bool *floats = arena_array(gen->arena, bool, func->params.count + 1);
    for (int i = 0; i < func->params.count; i++)
        floats[i] = dtype_is_float(ir_type_of(func, func->params.items[i])->dtype);
    return floats;
}

/* A rule that says what would be derived: the tangents of the derivative, without the values. */
static IrFunc *rule_of(Gen *gen, const IrFunc *func)
{
    DiagSink diags = diag_sink_new(gen->arena);
    IrFunc *rule = derive_jvp(gen->module, func, floats_of(gen, func), &diags);
    if (!rule)
        return NULL;
    rule->results.items += func->results.count;
    rule->result_names.items += func->results.count;
    rule->results.count -= func->results.count;
    rule->result_names.count -= func->results.count;
    return rule;
}

bool make_call(Scope *scope, IrOp op)
{
    Gen *gen = scope->gen;
    Captures args = some_values(scope, 3);
    Scope body = body_new(scope, "callee");
    add_captures(scope, &body, &args);
    grow(&body, (int)draw_between(&gen->draws, 1, 4));
    add_some_results(&body, 1, 2);
    IrNode node = {.op = op, .operand_count = args.refs.count, .operands = args.refs.items, .callee = {body.func}};
    if (op == OP_custom)
        node.callee[1] = rule_of(gen, body.func);
    if (op == OP_custom && !node.callee[1])
        return false;
    return read_results(scope, ir_emit(scope->func, node), &body, 0);
}

/* ---- derivatives ---- */

static IrInts listed(Gen *gen, const IrFunc *func, const IrRef *refs, int count)
{
    int64_t *items = arena_array(gen->arena, int64_t, count + 1);
    int found = 0;
    for (int i = 0; i < count; i++)
        if (dtype_is_float(ir_type_of(func, refs[i])->dtype) && draw_chance(&gen->draws, 70))
            items[found++] = i;
    return (IrInts){found, items};
}

void add_derivatives(Scope *scope)
{
    Gen *gen = scope->gen;
    Captures args = some_values(scope, 3);
    Scope body = body_new(scope, "derived");
    add_captures(scope, &body, &args);
    grow(&body, (int)draw_between(&gen->draws, 2, 5));
    add_some_results(&body, 1, 2);
    IrOp op = draw_chance(&gen->draws, 50) ? OP_jvp : OP_vjp;
    const IrFunc *func = body.func;
    IrNode node = {.op = op, .callee = {body.func}};
    node.attr[0] = listed(gen, func, func->params.items, func->params.count);
    if (op == OP_vjp)
        node.attr[1] = listed(gen, func, func->results.items, func->results.count);
    IrInts seeds = node.attr[op == OP_vjp];
    const IrRef *seeded = op == OP_vjp ? func->results.items : func->params.items;
    for (int i = 0; i < seeds.count; i++) {
        IrRef seed = value_of(scope, *ir_type_of(func, seeded[seeds.items[i]]));
        list_push(gen->arena, &args.refs, seed == NOTHING ? args.refs.items[0] : seed);
        if (seed == NOTHING)
            return;
    }
    node.operand_count = args.refs.count;
    node.operands = args.refs.items;
    IrRef made = ir_emit(scope->func, node);
    for (int i = 0; i < ir_result_count(ir_node(scope->func, made)); i++)
        ir_result(scope->func, ir_get(scope->func, made, i), NULL);
}
