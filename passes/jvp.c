/* Forward mode: a function with a tangent for each value.
 *
 * Takes a function without calculus nodes; leaves its nodes and those of the tangents, each in the order of its source.
 * Every row of ir/prims.def names its rule: PARTIALS goes to `jvp_pointwise`, NO_PARTIALS to `jvp_zero`, JVP(rule) to
 * jvp_<rule>; rules run only where some operand has a tangent.  Rules of control nodes are in jvp_control.c. */
#include "passes/calculus.h"
#include "passes/partials.h"

static const IrNode *node_at(const Frame *f, IrRef at)
{
    return ir_node(f->from, at);
}

static IrRef operand(const Frame *f, IrRef at, int index)
{
    return f->primal[node_at(f, at)->operands[index]];
}

static IrRef tangent_of(const Frame *f, IrRef at, int index)
{
    return f->tangent[node_at(f, at)->operands[index]];
}

static IrRef tangent_or_zeros(const Frame *f, IrRef at, int index)
{
    IrRef source = node_at(f, at)->operands[index];
    return calculus_or_zeros(f->jvp.into, f->tangent[source], ir_type_of(f->from, source));
}

static bool has_tangent(const Frame *f, IrRef at)
{
    for (int i = 0; i < node_at(f, at)->operand_count; i++) {
        if (tangent_of(f, at, i) != NO_REF)
            return true;
    }
    return false;
}

/* ---- pointwise: one rule for every row with PARTIALS ---- */

typedef struct Terms { /* what a sum of signed tangents is made of */
    IrRef plus, minus;
} Terms;

static void add_term(IrFunc *into, IrRef *sum, IrRef term)
{
    *sum = *sum == NO_REF ? term : ir_binary(into, OP_add, *sum, term);
}

static IrRef total(IrFunc *into, Terms terms)
{
    if (terms.minus == NO_REF)
        return terms.plus;
    if (terms.plus == NO_REF)
        return ir_unary(into, OP_neg, terms.minus);
    return ir_binary(into, OP_sub, terms.plus, terms.minus);
}

static bool jvp_pointwise(Frame *f, IrRef at)
{
    const IrNode *node = node_at(f, at);
    IrFunc *into = f->jvp.into;
    Formula formula = {.into = into, .type = node->type, .y = f->primal[at]};
    Partial partial[3] = {{0}};
    for (int i = 0; i < node->operand_count; i++)
        formula.x[i] = operand(f, at, i);
    for (int i = 0; i < node->operand_count; i++) {
        if (tangent_of(f, at, i) != NO_REF)
            partial[i] = partial_of(&formula, node->op, i);
    }
    /* The masks of max and min exclude each other, so one select takes either tangent. */
    if (partial[0].kind == PARTIAL_mask && partial[1].kind == PARTIAL_mask) {
        f->tangent[at] = ir_select(into, partial[0].ref, tangent_of(f, at, 0), tangent_of(f, at, 1));
        return true;
    }
    Terms terms = {NO_REF, NO_REF};
    for (int i = 0; i < node->operand_count; i++) {
        if (partial[i].kind != PARTIAL_zero)
            add_term(into, partial[i].negative ? &terms.minus : &terms.plus,
                     partial_times(&formula, partial[i], tangent_of(f, at, i)));
    }
    f->tangent[at] = total(into, terms);
    return true;
}

static bool jvp_zero(Frame *f, IrRef at)
{
    (void)f, (void)at;
    return true;
}

static bool jvp_leaf(Frame *f, IrRef at)
{
    return jvp_zero(f, at);
}

static bool jvp_none(Frame *f, IrRef at)
{
    diag_report(f->jvp.diags, DIAG_no_derivative, node_at(f, at)->span, "`%s` has no derivative",
                ir_op_info[node_at(f, at)->op].name);
    return false;
}

/* Values that are not floats end a tangent; between floats it is rounded as its value is. */
static bool jvp_cast(Frame *f, IrRef at)
{
    DType dtype = node_at(f, at)->type.dtype;
    if (dtype_is_float(dtype))
        f->tangent[at] = ir_cast(f->jvp.into, tangent_of(f, at, 0), dtype);
    return true;
}

static bool jvp_select(Frame *f, IrRef at)
{
    f->tangent[at] =
        ir_select(f->jvp.into, operand(f, at, 0), tangent_or_zeros(f, at, 1), tangent_or_zeros(f, at, 2));
    return true;
}

/* ---- linear and bilinear primitives: the same primitive of tangents ---- */

static bool jvp_linear(Frame *f, IrRef at)
{
    const IrNode *node = node_at(f, at);
    IrRef *operands = arena_array(f->jvp.into->module->arena, IrRef, node->operand_count);
    for (int i = 0; i < node->operand_count; i++)
        operands[i] = tangent_or_zeros(f, at, i);
    f->tangent[at] = calculus_emit_like(f->jvp.into, node, operands);
    return true;
}

/* The node with operand `index` replaced by its tangent. */
static IrRef with_tangent(Frame *f, IrRef at, int index)
{
    IrRef operands[3];
    for (int i = 0; i < node_at(f, at)->operand_count; i++)
        operands[i] = i == index ? tangent_of(f, at, i) : operand(f, at, i);
    return calculus_emit_like(f->jvp.into, node_at(f, at), operands);
}

static bool jvp_linear0(Frame *f, IrRef at)
{
    f->tangent[at] = with_tangent(f, at, 0);
    return true;
}

static bool jvp_bilinear(Frame *f, IrRef at)
{
    IrRef sum = NO_REF;
    for (int i = 0; i < 2; i++) {
        if (tangent_of(f, at, i) != NO_REF)
            add_term(f->jvp.into, &sum, with_tangent(f, at, i));
    }
    f->tangent[at] = sum;
    return true;
}

/* Linear in base and updates together; without a tangent of the updates nothing is written. */
static bool jvp_put_add(Frame *f, IrRef at)
{
    IrRef operands[3] = {tangent_of(f, at, 0), operand(f, at, 1), tangent_of(f, at, 2)};
    f->tangent[at] = operands[0];
    if (operands[2] == NO_REF)
        return true;
    operands[0] = tangent_or_zeros(f, at, 0);
    f->tangent[at] = calculus_emit_like(f->jvp.into, node_at(f, at), operands);
    return true;
}

/* ---- reductions that are not linear, one axis at a time, from the last to the first ---- */

/* An i32 tensor of x's shape that is true at the first extreme of each line along `axis`. */
static IrRef first_extreme(IrFunc *into, IrOp op, IrRef x, int axis)
{
    IrType type = ir_with_dtype(*ir_type_of(into, x), DT_i32);
    IrRef key = op == OP_reduce_max ? x : ir_unary(into, OP_neg, x);
    IrRef place = ir_emit(into, (IrNode){.op = OP_argmax,
                                         .operand_count = 1,
                                         .operands = &key,
                                         .attr = {{1, (int64_t[]){axis}}}});
    int64_t dims[IR_MAX_RANK];
    for (int i = 0, kept = 0; i < type.rank; i++) {
        if (i != axis)
            dims[kept++] = i;
    }
    return ir_binary(into, OP_eq, ir_broadcast(into, place, type, dims), ir_iota(into, type, axis));
}

/* The tangent of the first extreme: of equals, the first in row-major order, as argmax has it. */
static Dual reduce_extreme_axis(IrFunc *into, IrOp op, Dual x, int64_t axis)
{
    IrType type = *ir_type_of(into, x.primal);
    IrRef chosen = ir_select(into, first_extreme(into, op, x.primal, (int)axis), x.tangent, calculus_zeros(into, &type));
    return (Dual){ir_reduce(into, op, x.primal, &axis, 1), ir_reduce(into, OP_sum, chosen, &axis, 1)};
}

static Dual slice_axis(IrFunc *into, Dual x, int64_t axis, int64_t from, int64_t to)
{
    IrType type = *ir_type_of(into, x.primal);
    int64_t start[IR_MAX_RANK] = {0}, stop[IR_MAX_RANK], step[IR_MAX_RANK];
    for (int i = 0; i < type.rank; i++)
        stop[i] = type.dim[i], step[i] = 1;
    start[axis] = from;
    stop[axis] = to;
    return (Dual){ir_slice(into, x.primal, start, stop, step), ir_slice(into, x.tangent, start, stop, step)};
}

static Dual multiply_duals(IrFunc *into, Dual a, Dual b)
{
    IrRef left = ir_binary(into, OP_mul, a.tangent, b.primal), right = ir_binary(into, OP_mul, a.primal, b.tangent);
    return (Dual){ir_binary(into, OP_mul, a.primal, b.primal), ir_binary(into, OP_add, left, right)};
}

static Dual concat_duals(IrFunc *into, Dual a, Dual b, int64_t axis)
{
    return (Dual){ir_concat(into, (IrRef[]){a.primal, b.primal}, 2, (int)axis),
                  ir_concat(into, (IrRef[]){a.tangent, b.tangent}, 2, (int)axis)};
}

/* Halves the axis by products of pairs until one element is left: no division, so zeros are no special case. */
static Dual prod_axis(IrFunc *into, Dual x, int64_t axis)
{
    int64_t size;
    while ((size = ir_type_of(into, x.primal)->dim[axis]) > 1) {
        int64_t half = size / 2;
        Dual pairs = multiply_duals(into, slice_axis(into, x, axis, 0, half), slice_axis(into, x, axis, half, 2 * half));
        x = size % 2 ? concat_duals(into, pairs, slice_axis(into, x, axis, 2 * half, size), axis) : pairs;
    }
    IrType type = *ir_type_of(into, x.primal);
    for (int i = (int)axis; i + 1 < type.rank; i++)
        type.dim[i] = type.dim[i + 1];
    return (Dual){ir_reshape(into, x.primal, type.rank - 1, type.dim), ir_reshape(into, x.tangent, type.rank - 1, type.dim)};
}

static bool is_reduced(const IrNode *node, int64_t axis)
{
    for (int i = 0; i < node->attr[0].count; i++) {
        if (node->attr[0].items[i] == axis)
            return true;
    }
    return false;
}

static bool reduce_by_axis(Frame *f, IrRef at)
{
    const IrNode *node = node_at(f, at);
    IrFunc *into = f->jvp.into;
    Dual x = {operand(f, at, 0), tangent_of(f, at, 0)};
    if (!ir_element_count(ir_type_of(into, x.primal)))
        return true; /* of no elements: a constant */
    for (int axis = ir_type_of(into, x.primal)->rank - 1; axis >= 0; axis--) {
        if (is_reduced(node, axis))
            x = node->op == OP_prod ? prod_axis(into, x, axis) : reduce_extreme_axis(into, node->op, x, axis);
    }
    f->tangent[at] = x.tangent;
    return true;
}

static bool jvp_reduce_extreme(Frame *f, IrRef at)
{
    return reduce_by_axis(f, at);
}

static bool jvp_prod(Frame *f, IrRef at)
{
    return reduce_by_axis(f, at);
}

/* ---- the walk ---- */

static bool jvp_get(Frame *f, IrRef at)
{
    const IrNode *node = node_at(f, at);
    Dual value = f->results[node->operands[0]][node->attr[0].items[0]];
    IrNode *made = ir_node(f->jvp.into, value.primal);
    if (!made->name && made->op == OP_get)
        made->name = node->name;
    f->primal[at] = value.primal;
    f->tangent[at] = value.tangent;
    return true;
}

static bool (*const jvp_rule[OP_COUNT])(Frame *, IrRef) = {
#define OP(name, arity, rule, traits) [OP_##name] =
#define PARTIALS(d0, d1, d2) jvp_pointwise,
#define NO_PARTIALS jvp_zero,
#define JVP(rule) jvp_##rule,
#include "ir/prims.def"
};

/* A control node none of whose operands has a tangent, or whose tangents nobody needs, is copied as it is. */
static void copy_control(Frame *f, IrRef at)
{
    IrRef copy = ir_copy_node(f->jvp.into, f->from, at, f->primal);
    int count = ir_result_count(node_at(f, at));
    f->results[at] = arena_array(f->jvp.into->module->arena, Dual, count);
    for (int i = 0; i < count; i++)
        f->results[at][i] = (Dual){ir_get(f->jvp.into, copy, i), NO_REF};
}

/* Of each node, whether a result moves with it.  What only feeds a stop_grad or a comparison needs no tangent, and so may be
 * what has none: a loop of any length, say. */
static bool *moves_a_result(const IrFunc *from)
{
    bool *moves = arena_array(from->module->arena, bool, from->nodes.count);
    for (int i = 0; i < from->results.count; i++)
        moves[from->results.items[i]] = true;
    for (IrRef at = from->nodes.count - 1; at >= 0; at--) {
        const IrNode *node = ir_node(from, at);
        if (!moves[at] || node->op == OP_stop_grad || jvp_rule[node->op] == jvp_zero)
            continue;
        for (int i = 0; i < node->operand_count; i++)
            moves[node->operands[i]] = true;
    }
    return moves;
}

static bool walk_node(Frame *f, IrRef at, bool moves)
{
    const IrNode *node = node_at(f, at);
    if (node->op == OP_get)
        return jvp_get(f, at);
    if (ir_op_info[node->op].traits & TRAIT_control) {
        if ((moves && has_tangent(f, at)) || ir_op_info[node->op].traits & TRAIT_calculus)
            return jvp_rule[node->op](f, at);
        copy_control(f, at);
        return true;
    }
    f->primal[at] = ir_copy_node(f->jvp.into, f->from, at, f->primal);
    if (!moves || !has_tangent(f, at))
        return true;
    int first = f->jvp.into->nodes.count;
    bool fine = jvp_rule[node->op](f, at);
    calculus_mark(f->jvp.into, first, node);
    return fine;
}

bool jvp_walk(const Jvp *jvp, const IrFunc *from, const Dual *args, Dual *results)
{
    Arena *arena = jvp->into->module->arena;
    int count = from->nodes.count, param = 0;
    const bool *moves = moves_a_result(from);
    Frame frame = {.jvp = *jvp,
                   .from = from,
                   .primal = arena_array(arena, IrRef, count),
                   .tangent = arena_array(arena, IrRef, count),
                   .results = arena_array(arena, Dual *, count)};
    for (IrRef at = 0; at < count; at++) {
        frame.tangent[at] = NO_REF;
        jvp->into->at = ir_node(from, at)->span;
        if (ir_node(from, at)->op == OP_param) {
            frame.primal[at] = args[param].primal;
            frame.tangent[at] = args[param++].tangent;
        } else if (!walk_node(&frame, at, moves[at])) {
            return false;
        }
    }
    for (int i = 0; i < from->results.count; i++)
        results[i] = (Dual){frame.primal[from->results.items[i]], frame.tangent[from->results.items[i]]};
    return true;
}

/* ---- the derivative of a function ---- */

bool calculus_check_active(const IrFunc *func, const bool *active, DiagSink *diags)
{
    for (int i = 0; i < func->params.count; i++) {
        const IrNode *param = ir_node(func, func->params.items[i]);
        if (!active[i] || dtype_is_float(param->type.dtype))
            continue;
        diag_report(diags, DIAG_integer_tangent, param->span, "`%s` is %s: it has no tangent",
                    param->name ? param->name : "a parameter", dtype_name(param->type.dtype));
        return false;
    }
    return true;
}

static void add_results(IrFunc *out, const IrFunc *func, const Dual *results)
{
    Arena *arena = out->module->arena;
    const char **names = func->result_names.items;
    bool named = func->result_names.count == func->results.count;
    for (int i = 0; i < func->results.count; i++)
        ir_result(out, results[i].primal, named ? names[i] : NULL);
    for (int i = 0; i < func->results.count; i++) {
        IrType type = *ir_type_of(func, func->results.items[i]);
        if (dtype_is_float(type.dtype))
            ir_result(out, calculus_or_zeros(out, results[i].tangent, &type),
                      calculus_suffixed(arena, named ? names[i] : NULL, ".t"));
    }
}

IrFunc *derive_jvp(IrModule *module, const IrFunc *func, const bool *active, DiagSink *diags)
{
    int first = module->funcs.count, params = func->params.count;
    if (!calculus_check_active(func, active, diags))
        return NULL;
    IrFunc *out = ir_func_new(module, calculus_suffixed(module->arena, func->name, ".jvp"));
    Dual *args = arena_array(module->arena, Dual, params);
    Dual *results = arena_array(module->arena, Dual, func->results.count);
    for (int i = 0; i < params; i++)
        args[i] = (Dual){calculus_param_like(out, func, func->params.items[i], ""), NO_REF};
    for (int i = 0; i < params; i++) {
        if (active[i])
            args[i].tangent = calculus_param_like(out, func, func->params.items[i], ".t");
    }
    bool fine = jvp_walk(&(Jvp){.into = out, .diags = diags}, func, args, results);
    if (fine) {
        add_results(out, func, results);
        calculus_trim(out, NULL);
    }
    calculus_sweep(module, first, fine ? out : NULL);
    return fine ? out : NULL;
}
