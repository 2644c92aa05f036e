/* Transposition: the linear nodes of a function in split form, walked backwards.
 *
 * Takes a function in which every node either computes values or is linear in some of the params (calculus.h); leaves the
 * nodes of values as they are and, for each linear node from the last to the first, what its cotangent gives to its operands.
 * Only rows of ir/prims.def with a cell TRANSPOSE(rule) can be linear; their rules are below, those of loops and branches in
 * transpose_control.c.  An operand that is not linear where the rule could take one is zero by construction and gets nothing.
 */
#include "passes/calculus.h"

static const IrNode *node_at(const Transposer *t, IrRef at)
{
    return ir_node(t->from, at);
}

static IrRef operand(const Transposer *t, IrRef at, int index)
{
    return node_at(t, at)->operands[index];
}

static IrType operand_type(const Transposer *t, IrRef at, int index)
{
    return *ir_type_of(t->from, operand(t, at, index));
}

void transpose_add(Transposer *t, IrRef node, IrRef cotangent)
{
    if (t->linear[node])
        t->ct[node] = t->ct[node] == NO_REF ? cotangent : ir_binary(t->into, OP_add, t->ct[node], cotangent);
}

/* ---- pointwise ---- */

static void transpose_neg(Transposer *t, IrRef at, IrRef ct)
{
    transpose_add(t, operand(t, at, 0), ir_unary(t->into, OP_neg, ct));
}

static void transpose_cast(Transposer *t, IrRef at, IrRef ct)
{
    transpose_add(t, operand(t, at, 0), ir_cast(t->into, ct, operand_type(t, at, 0).dtype));
}

static void transpose_plus(Transposer *t, IrRef at, IrRef ct)
{
    for (int i = 0; i < 2; i++)
        transpose_add(t, operand(t, at, i), ct);
}

static void transpose_sub(Transposer *t, IrRef at, IrRef ct)
{
    transpose_add(t, operand(t, at, 0), ct);
    if (t->linear[operand(t, at, 1)])
        transpose_add(t, operand(t, at, 1), ir_unary(t->into, OP_neg, ct));
}

static void transpose_mul(Transposer *t, IrRef at, IrRef ct)
{
    int side = t->linear[operand(t, at, 1)];
    transpose_add(t, operand(t, at, side), ir_binary(t->into, OP_mul, ct, t->map[operand(t, at, 1 - side)]));
}

static void transpose_div(Transposer *t, IrRef at, IrRef ct)
{
    transpose_add(t, operand(t, at, 0), ir_binary(t->into, OP_div, ct, t->map[operand(t, at, 1)]));
}

static void transpose_select(Transposer *t, IrRef at, IrRef ct)
{
    IrRef condition = t->map[operand(t, at, 0)], zeros = calculus_zeros(t->into, &node_at(t, at)->type);
    if (t->linear[operand(t, at, 1)])
        transpose_add(t, operand(t, at, 1), ir_select(t->into, condition, ct, zeros));
    if (t->linear[operand(t, at, 2)])
        transpose_add(t, operand(t, at, 2), ir_select(t->into, condition, zeros, ct));
}

/* ---- views ---- */

/* The axes below `rank` that are not in `axes`, rising; returns how many. */
static int other_axes(int rank, IrInts axes, IrInts more, int64_t *out)
{
    int count = 0;
    for (int axis = 0; axis < rank; axis++) {
        bool listed = false;
        for (int i = 0; i < axes.count; i++)
            listed |= axes.items[i] == axis;
        for (int i = 0; i < more.count; i++)
            listed |= more.items[i] == axis;
        if (!listed)
            out[count++] = axis;
    }
    return count;
}

static void transpose_broadcast(Transposer *t, IrRef at, IrRef ct)
{
    int64_t repeated[IR_MAX_RANK];
    int count = other_axes(node_at(t, at)->type.rank, node_at(t, at)->attr[0], (IrInts){0}, repeated);
    transpose_add(t, operand(t, at, 0), count ? ir_reduce(t->into, OP_sum, ct, repeated, count) : ct);
}

static void transpose_reshape(Transposer *t, IrRef at, IrRef ct)
{
    IrType type = operand_type(t, at, 0);
    transpose_add(t, operand(t, at, 0), ir_reshape(t->into, ct, type.rank, type.dim));
}

static void transpose_transpose(Transposer *t, IrRef at, IrRef ct)
{
    IrInts perm = node_at(t, at)->attr[0];
    int64_t inverse[IR_MAX_RANK];
    for (int i = 0; i < perm.count; i++)
        inverse[perm.items[i]] = i;
    transpose_add(t, operand(t, at, 0), ir_transpose(t->into, ct, inverse));
}

static void transpose_slice(Transposer *t, IrRef at, IrRef ct)
{
    const IrNode *node = node_at(t, at);
    IrType type = operand_type(t, at, 0);
    int64_t lo[IR_MAX_RANK], hi[IR_MAX_RANK], inner[IR_MAX_RANK];
    if (!ir_element_count(&node->type))
        return;
    for (int i = 0; i < type.rank; i++) {
        int64_t step = node->attr[2].items[i], last = node->attr[0].items[i] + (node->type.dim[i] - 1) * step;
        lo[i] = node->attr[0].items[i];
        hi[i] = type.dim[i] - last - 1;
        inner[i] = step - 1;
    }
    transpose_add(t, operand(t, at, 0), ir_pad(t->into, ct, lo, hi, inner));
}

/* Takes the margins off (or puts back what was cropped), then what lies between the elements. */
static void transpose_pad(Transposer *t, IrRef at, IrRef ct)
{
    const IrNode *node = node_at(t, at);
    IrType type = operand_type(t, at, 0);
    int64_t lo[IR_MAX_RANK], hi[IR_MAX_RANK], zero[IR_MAX_RANK] = {0}, stop[IR_MAX_RANK], step[IR_MAX_RANK];
    bool spread = false;
    if (!ir_element_count(&type))
        return;
    for (int i = 0; i < type.rank; i++) {
        lo[i] = -node->attr[0].items[i];
        hi[i] = -node->attr[1].items[i];
        step[i] = node->attr[2].items[i] + 1;
        stop[i] = (type.dim[i] - 1) * step[i] + 1;
        spread |= step[i] > 1;
    }
    ct = ir_pad(t->into, ct, lo, hi, zero);
    transpose_add(t, operand(t, at, 0), spread ? ir_slice(t->into, ct, zero, stop, step) : ct);
}

static void transpose_reverse(Transposer *t, IrRef at, IrRef ct)
{
    transpose_add(t, operand(t, at, 0), calculus_emit_like(t->into, node_at(t, at), &ct));
}

static void transpose_concat(Transposer *t, IrRef at, IrRef ct)
{
    const IrNode *node = node_at(t, at);
    int64_t axis = node->attr[0].items[0], start[IR_MAX_RANK] = {0}, stop[IR_MAX_RANK], step[IR_MAX_RANK];
    for (int i = 0; i < node->type.rank; i++)
        stop[i] = node->type.dim[i], step[i] = 1;
    for (int i = 0; i < node->operand_count; i++) {
        stop[axis] = start[axis] + operand_type(t, at, i).dim[axis];
        if (t->linear[node->operands[i]])
            transpose_add(t, node->operands[i], ir_slice(t->into, ct, start, stop, step));
        start[axis] = stop[axis];
    }
}

/* ---- reductions ---- */

static void transpose_sum(Transposer *t, IrRef at, IrRef ct)
{
    IrType type = operand_type(t, at, 0);
    int64_t kept[IR_MAX_RANK];
    other_axes(type.rank, node_at(t, at)->attr[0], (IrInts){0}, kept);
    transpose_add(t, operand(t, at, 0), ir_broadcast(t->into, ct, type, kept));
}

static IrRef reversed(IrFunc *into, IrRef x, int64_t axis)
{
    IrNode node = {.op = OP_reverse, .operand_count = 1, .operands = &x, .attr = {{1, &axis}}};
    return ir_emit(into, node);
}

static void transpose_cumsum(Transposer *t, IrRef at, IrRef ct)
{
    const IrNode *node = node_at(t, at);
    int64_t axis = node->attr[0].items[0];
    IrRef sums = reversed(t->into, ct, axis);
    sums = calculus_emit_like(t->into, node, &sums);
    transpose_add(t, operand(t, at, 0), reversed(t->into, sums, axis));
}

/* ---- contractions ---- */

static IrInts count_up(int64_t *items, int64_t first, int count)
{
    for (int i = 0; i < count; i++)
        items[i] = first + i;
    return (IrInts){count, items};
}

static IrRef permuted(IrFunc *into, IrRef x, int rank, const int64_t *perm)
{
    bool moves = false;
    for (int i = 0; i < rank; i++)
        moves |= perm[i] != i;
    return moves ? ir_transpose(into, x, perm) : x;
}

/* How many items of `axes` are below `axis`: its place in the rising order. */
static int rank_among(IrInts axes, int64_t axis)
{
    int below = 0;
    for (int i = 0; i < axes.count; i++)
        below += axes.items[i] < axis;
    return below;
}

/* What is summed over now are the free axes of the other operand; the axes that were summed over come back from it. */
static void transpose_dot(Transposer *t, IrRef at, IrRef ct)
{
    const IrNode *node = node_at(t, at);
    int side = t->linear[node->operands[1]];
    IrInts batch = node->attr[side], sum = node->attr[2 + side], other_batch = node->attr[!side],
           other_sum = node->attr[2 + !side];
    IrType type = operand_type(t, at, side);
    int64_t free[IR_MAX_RANK], other_free[IR_MAX_RANK], ct_batch[IR_MAX_RANK], ct_free[IR_MAX_RANK], perm[IR_MAX_RANK];
    int free_count = other_axes(type.rank, batch, sum, free);
    int other_count = other_axes(operand_type(t, at, !side).rank, other_batch, other_sum, other_free);
    IrInts own = count_up(ct_batch, 0, batch.count), gone = {other_count, other_free};
    IrInts ct_gone = count_up(ct_free, side ? batch.count : batch.count + free_count, other_count);
    IrRef other = t->map[node->operands[!side]];
    IrRef made = side ? ir_dot(t->into, other, ct, other_batch, own, gone, ct_gone)
                      : ir_dot(t->into, ct, other, own, other_batch, ct_gone, gone);
    int first_free = batch.count + (side ? sum.count : 0), first_sum = batch.count + (side ? 0 : free_count);
    for (int i = 0; i < batch.count; i++)
        perm[batch.items[i]] = i;
    for (int i = 0; i < free_count; i++)
        perm[free[i]] = first_free + i;
    for (int i = 0; i < sum.count; i++)
        perm[sum.items[i]] = first_sum + rank_among(other_sum, other_sum.items[i]);
    transpose_add(t, node->operands[side], permuted(t->into, made, type.rank, perm));
}

typedef struct Window { /* a convolution's geometry: axes 1 .. spatial of x are 0 .. spatial - 1 of w */
    int spatial;
    IrType x, w, out;
    const int64_t *stride, *dilation;
    int64_t rest[IR_MAX_RANK]; /* by spatial axis: elements of x behind the last window */
} Window;

static Window window_of(const Transposer *t, IrRef at)
{
    const IrNode *node = node_at(t, at);
    Window win = {.spatial = node->type.rank - 2,
                  .x = operand_type(t, at, 0),
                  .w = operand_type(t, at, 1),
                  .out = node->type,
                  .stride = node->attr[0].items,
                  .dilation = node->attr[1].items};
    for (int i = 0; i < win.spatial; i++)
        win.rest[i] = win.x.dim[i + 1] - 1 - win.dilation[i] * (win.w.dim[i] - 1) - win.stride[i] * (win.out.dim[i + 1] - 1);
    return win;
}

/* By x: the cotangent, spread by the stride and padded, convolved with w turned around. */
static IrRef conv_by_x(IrFunc *into, const Window *win, IrRef w, IrRef ct)
{
    int n = win->spatial;
    int64_t perm[IR_MAX_RANK], axes[IR_MAX_RANK], lo[IR_MAX_RANK] = {0}, hi[IR_MAX_RANK] = {0}, inner[IR_MAX_RANK] = {0};
    int64_t one[IR_MAX_RANK];
    for (int i = 0; i < n; i++) {
        perm[i] = axes[i] = i;
        one[i] = 1;
        lo[i + 1] = win->dilation[i] * (win->w.dim[i] - 1);
        hi[i + 1] = lo[i + 1] + win->rest[i];
        inner[i + 1] = win->stride[i] - 1;
    }
    perm[n] = n + 1;
    perm[n + 1] = n;
    w = ir_transpose(into, w, perm);
    if (n)
        w = ir_emit(into, (IrNode){.op = OP_reverse, .operand_count = 1, .operands = &w, .attr = {{n, axes}}});
    return ir_conv(into, ir_pad(into, ct, lo, hi, inner), w, one, win->dilation);
}

/* By w: x convolved with the cotangent, batch and channels changing places, stride and dilation too. */
static IrRef conv_by_w(IrFunc *into, const Window *win, IrRef x, IrRef ct)
{
    int n = win->spatial, rank = n + 2;
    int64_t of_x[IR_MAX_RANK], of_ct[IR_MAX_RANK], of_w[IR_MAX_RANK], lo[IR_MAX_RANK] = {0}, hi[IR_MAX_RANK] = {0};
    bool crop = false;
    for (int i = 0; i < n; i++) {
        of_x[i + 1] = of_ct[i] = of_w[i] = i + 1;
        hi[i + 1] = -win->rest[i];
        crop |= win->rest[i] > 0;
    }
    of_x[0] = n + 1;
    of_x[rank - 1] = 0;
    of_ct[n] = 0;
    of_ct[n + 1] = n + 1;
    of_w[n] = 0;
    of_w[n + 1] = n + 1;
    if (crop)
        x = ir_pad(into, x, lo, hi, (int64_t[IR_MAX_RANK]){0});
    IrRef made = ir_conv(into, ir_transpose(into, x, of_x), ir_transpose(into, ct, of_ct), win->dilation, win->stride);
    return permuted(into, made, rank, of_w);
}

static void transpose_conv(Transposer *t, IrRef at, IrRef ct)
{
    Window win = window_of(t, at);
    IrRef x = operand(t, at, 0), w = operand(t, at, 1);
    if (!ir_element_count(&win.out))
        return;
    if (t->linear[x])
        transpose_add(t, x, conv_by_x(t->into, &win, t->map[w], ct));
    else
        transpose_add(t, w, conv_by_w(t->into, &win, t->map[x], ct));
}

/* ---- reads and writes at computed places ---- */

/* Adds to what there is already, so that a loop over the rows of an array writes each row once. */
static void transpose_take(Transposer *t, IrRef at, IrRef ct)
{
    const IrNode *node = node_at(t, at);
    IrRef x = node->operands[0];
    IrType type = operand_type(t, at, 0);
    t->ct[x] = ir_put_add(t->into, calculus_or_zeros(t->into, t->ct[x], &type), t->map[node->operands[1]], ct,
                          (int)node->attr[0].items[0], (int)node->attr[1].items[0]);
}

static void transpose_put_add(Transposer *t, IrRef at, IrRef ct)
{
    const IrNode *node = node_at(t, at);
    transpose_add(t, node->operands[0], ct);
    if (t->linear[node->operands[2]])
        transpose_add(
            t, node->operands[2],
            ir_take(t->into, ct, t->map[node->operands[1]], (int)node->attr[0].items[0], (int)node->attr[1].items[0]));
}

/* ---- the walk ---- */

/* False if the primitive has no rule. */
static bool apply_rule(Transposer *t, IrRef at, IrRef ct)
{
    switch (node_at(t, at)->op) {
    default:
#define OP(name, arity, rule, traits)                                                                                          \
    return false;                                                                                                              \
    case OP_##name:
#define TRANSPOSE(rule)                                                                                                        \
    transpose_##rule(t, at, ct);                                                                                               \
    return true;
#include "ir/prims.def"
        return false;
    }
}

static bool any_cotangent(const Transposer *t, IrRef at)
{
    for (int i = 0; i < ir_result_count(node_at(t, at)); i++) {
        if (t->results_ct[at][i] != NO_REF)
            return true;
    }
    return false;
}

static bool no_rule(const Transposer *t, IrRef at)
{
    const IrNode *node = node_at(t, at);
    diag_report(t->diags, DIAG_no_derivative, node->span, "`%s` has no derivative in reverse mode", ir_op_info[node->op].name);
    return false;
}

static bool transpose_control(Transposer *t, IrRef at)
{
    if (!any_cotangent(t, at))
        return true;
    switch (node_at(t, at)->op) {
    case OP_for:
        return transpose_for(t, at);
    case OP_if:
        return transpose_if(t, at);
    default:
        return no_rule(t, at);
    }
}

static void transpose_get(Transposer *t, IrRef at, IrRef ct)
{
    IrRef *sum = &t->results_ct[operand(t, at, 0)][node_at(t, at)->attr[0].items[0]];
    *sum = *sum == NO_REF ? ct : ir_binary(t->into, OP_add, *sum, ct);
}

static bool transpose_node(Transposer *t, IrRef at)
{
    const IrNode *node = node_at(t, at);
    t->into->at = node->span;
    if (ir_op_info[node->op].traits & TRAIT_control)
        return transpose_control(t, at);
    if (t->ct[at] == NO_REF || node->op == OP_param)
        return true;
    if (node->op == OP_get) {
        transpose_get(t, at, t->ct[at]);
        return true;
    }
    int first = t->into->nodes.count;
    bool fine = apply_rule(t, at, t->ct[at]) || no_rule(t, at);
    calculus_mark(t->into, first, node);
    return fine;
}

static void begin(Transposer *t, const bool *linear_param, const IrRef *args, const IrRef *param_ct)
{
    Arena *arena = t->into->module->arena;
    int count = t->from->nodes.count, param = 0;
    t->linear = arena_array(arena, bool, count);
    t->map = arena_array(arena, IrRef, count);
    t->ct = arena_array(arena, IrRef, count);
    t->results_ct = arena_array(arena, IrRef *, count);
    for (IrRef at = 0; at < count; at++) {
        const IrNode *node = node_at(t, at);
        t->map[at] = t->ct[at] = NO_REF;
        t->into->at = node->span;
        for (int i = 0; i < node->operand_count; i++)
            t->linear[at] |= t->linear[node->operands[i]];
        if (node->op == OP_param) {
            t->linear[at] = linear_param[param];
            t->map[at] = args[param];
            t->ct[at] = param_ct[param++];
        } else if (!t->linear[at]) {
            t->map[at] = ir_copy_node(t->into, t->from, at, t->map);
        } else if (ir_op_info[node->op].traits & TRAIT_control) {
            t->results_ct[at] = arena_array(arena, IrRef, ir_result_count(node));
            for (int i = 0; i < ir_result_count(node); i++)
                t->results_ct[at][i] = NO_REF;
        }
    }
}

bool transpose_walk(Transposer *t, const bool *linear_param, const IrRef *args, const IrRef *result_ct, IrRef *param_ct)
{
    begin(t, linear_param, args, param_ct);
    for (int i = 0; i < t->from->results.count; i++) {
        if (result_ct[i] != NO_REF)
            transpose_add(t, t->from->results.items[i], result_ct[i]);
    }
    for (IrRef at = t->from->nodes.count - 1; at >= 0; at--) {
        if (t->linear[at] && !transpose_node(t, at))
            return false;
    }
    for (int i = 0; i < t->from->params.count; i++)
        param_ct[i] = t->ct[t->from->params.items[i]];
    return true;
}
