/* Transposition of linear loops and branches: the body is transposed, a loop's turns run from the last to the first.
 *
 * The transposed loop carries the cotangents of what the linear loop carried, and a sum for each linear capture, to which
 * every turn adds.  Its captures are those that are not linear, and the cotangents of rows. */
#include "passes/calculus.h"

typedef struct Body { /* a transposed body in the making */
    IrFunc *func;
    const IrFunc *like;
    bool *linear;         /* by param of `like` */
    IrRef *args;          /* what stands for params that are not linear */
    IrRef *result_ct;     /* by result of `like` */
    IrRef *param_ct;      /* by param of `like` */
    LIST(IrRef) operands; /* in the outer function, in the order of func's params */
} Body;

static Arena *arena_of(const Transposer *t)
{
    return t->into->module->arena;
}

static Body new_body(const Transposer *t, const IrFunc *like)
{
    Arena *arena = arena_of(t);
    Body body = {.like = like,
                 .linear = arena_array(arena, bool, like->params.count),
                 .args = arena_array(arena, IrRef, like->params.count),
                 .result_ct = arena_array(arena, IrRef, like->results.count),
                 .param_ct = arena_array(arena, IrRef, like->params.count)};
    body.func = ir_func_new(t->into->module, calculus_suffixed(arena, like->name, ".transposed"));
    body.func->at = t->into->at;
    for (int i = 0; i < like->params.count; i++)
        body.args[i] = body.param_ct[i] = NO_REF;
    for (int i = 0; i < like->results.count; i++)
        body.result_ct[i] = NO_REF;
    return body;
}

static IrRef add_param(const Transposer *t, Body *body, IrType type, const char *name, IrRef operand)
{
    list_push(arena_of(t), &body->operands, operand);
    return ir_param(body->func, type, name);
}

static IrType param_type(const Body *body, int param)
{
    return *ir_type_of(body->like, body->like->params.items[param]);
}

static const char *param_name(const Transposer *t, const Body *body, int param, const char *suffix)
{
    return calculus_suffixed(arena_of(t), ir_node(body->like, body->like->params.items[param])->name, suffix);
}

/* The params from `first` on stand for `operands` of the node: those that are not linear become params. */
static void add_values(const Transposer *t, Body *body, int first, const IrRef *operands, int count)
{
    for (int i = 0; i < count; i++) {
        body->linear[first + i] = t->linear[operands[i]];
        if (!t->linear[operands[i]])
            body->args[first + i] =
                add_param(t, body, param_type(body, first + i), param_name(t, body, first + i, ""), t->map[operands[i]]);
    }
}

static bool walk_body(const Transposer *t, Body *body)
{
    Transposer inner = {.into = body->func, .from = body->like, .diags = t->diags};
    return transpose_walk(&inner, body->linear, body->args, body->result_ct, body->param_ct);
}

static void add_result(Body *body, int param)
{
    IrType type = param_type(body, param);
    ir_result(body->func, calculus_or_zeros(body->func, body->param_ct[param], &type), NULL);
}

/* ---- loops ---- */

typedef struct Loop {
    const IrNode *node;
    int carries, captures;
    int64_t bound;
    IrRef trip; /* the turns that run, in the outer function */
} Loop;

static Loop loop_of(Transposer *t, IrRef at)
{
    const IrNode *node = ir_node(t->from, at);
    Loop loop = {.node = node, .carries = (int)node->attr[1].items[0], .bound = node->attr[0].items[0]};
    loop.captures = node->operand_count - 1 - loop.carries;
    loop.trip = ir_binary(t->into, OP_min, t->map[node->operands[0]], ir_const(t->into, ir_scalar(DT_i32), (double)loop.bound));
    return loop;
}

/* Carries of the transposed loop: cotangents of the carries, then a sum for each linear capture. */
static int add_carries(Transposer *t, Body *body, const Loop *loop, const IrRef *result_ct)
{
    for (int i = 0; i < loop->carries; i++) {
        IrType type = param_type(body, 1 + i);
        body->linear[1 + i] = true;
        body->result_ct[i] =
            add_param(t, body, type, param_name(t, body, 1 + i, ".ct"), calculus_or_zeros(t->into, result_ct[i], &type));
    }
    for (int i = 0; i < loop->captures; i++) {
        int param = 1 + loop->carries + i;
        IrType type = param_type(body, param);
        if (t->linear[loop->node->operands[param]])
            body->param_ct[param] = add_param(t, body, type, param_name(t, body, param, ".ct"), calculus_zeros(t->into, &type));
    }
    return body->operands.count;
}

/* Cotangents of rows come as captures; the turn reads its own. */
static void add_rows(Transposer *t, Body *body, const Loop *loop, const IrRef *result_ct)
{
    for (int i = loop->carries; i < body->like->results.count; i++) {
        if (result_ct[i] != NO_REF)
            body->result_ct[i] = add_param(t, body, *ir_type_of(t->into, result_ct[i]), NULL, result_ct[i]);
    }
}

static void read_rows(Body *body, const Loop *loop, IrRef turn)
{
    for (int i = loop->carries; i < body->like->results.count; i++) {
        if (body->result_ct[i] != NO_REF)
            body->result_ct[i] = ir_take(body->func, body->result_ct[i], turn, 0, 0);
    }
}

static void read_loop(Transposer *t, const Loop *loop, IrRef made)
{
    int next = 0;
    for (int i = 0; i < loop->carries; i++, next++) {
        if (t->linear[loop->node->operands[1 + i]])
            transpose_add(t, loop->node->operands[1 + i], ir_get(t->into, made, next));
    }
    for (int i = 0; i < loop->captures; i++) {
        IrRef operand = loop->node->operands[1 + loop->carries + i];
        if (t->linear[operand])
            transpose_add(t, operand, ir_get(t->into, made, next++));
    }
}

bool transpose_for(Transposer *t, IrRef at)
{
    Loop loop = loop_of(t, at);
    Body body = new_body(t, loop.node->callee[0]);
    IrRef back = ir_param(body.func, ir_scalar(DT_i32), "turns_back");
    int carries = add_carries(t, &body, &loop, t->results_ct[at]);
    IrRef trip = add_param(t, &body, ir_scalar(DT_i32), "trip", loop.trip);
    add_values(t, &body, 1 + loop.carries, loop.node->operands + 1 + loop.carries, loop.captures);
    add_rows(t, &body, &loop, t->results_ct[at]);
    IrRef last = ir_binary(body.func, OP_sub, trip, ir_const(body.func, ir_scalar(DT_i32), 1));
    body.args[0] = ir_binary(body.func, OP_sub, last, back);
    read_rows(&body, &loop, body.args[0]);
    if (!walk_body(t, &body))
        return false;
    for (int i = 0; i < loop.carries; i++)
        add_result(&body, 1 + i);
    for (int i = 0; i < loop.captures; i++) {
        if (body.linear[1 + loop.carries + i])
            add_result(&body, 1 + loop.carries + i);
    }
    calculus_trim(body.func, NULL);
    IrRef *operands = body.operands.items;
    IrRef made =
        ir_for(t->into, body.func, loop.trip, loop.bound, operands, carries, operands + carries, body.operands.count - carries);
    read_loop(t, &loop, made);
    return true;
}

/* ---- branches ---- */

static bool transpose_branch(Transposer *t, IrRef at, int which, Body *body)
{
    const IrNode *node = ir_node(t->from, at);
    *body = new_body(t, node->callee[which]);
    add_values(t, body, 0, node->operands + 1, node->operand_count - 1);
    for (int i = 0; i < body->like->results.count; i++) {
        IrRef ct = t->results_ct[at][i];
        if (ct != NO_REF)
            body->result_ct[i] = add_param(t, body, *ir_type_of(t->into, ct), NULL, ct);
    }
    if (!walk_body(t, body))
        return false;
    for (int i = 0; i < body->like->params.count; i++) {
        if (body->linear[i])
            add_result(body, i);
    }
    calculus_trim(body->func, NULL);
    return true;
}

bool transpose_if(Transposer *t, IrRef at)
{
    const IrNode *node = ir_node(t->from, at);
    Body branch[2];
    for (int b = 0; b < 2; b++) {
        if (!transpose_branch(t, at, b, &branch[b]))
            return false;
    }
    IrRef made = ir_if(t->into, t->map[node->operands[0]], branch[0].func, branch[1].func, branch[0].operands.items,
                       branch[0].operands.count);
    for (int i = 1, next = 0; i < node->operand_count; i++) {
        if (t->linear[node->operands[i]])
            transpose_add(t, node->operands[i], ir_get(t->into, made, next++));
    }
    return true;
}
