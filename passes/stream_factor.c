/* Factors: what is the same along a row, or a column, leaves the contractions and sums of a block.
 *
 * dot(x / r, y), with r the same along the summed axis, is dot(x, y) / r: a division for each element of a small result in
 * place of one for each element of a tile.  Where r is the same along the other axes, it goes to y.  So the quotient of a
 * softmax is never computed, and dot(a - b r, y) needs no tile of its own where dot(b, y) is there already.
 *
 * Rounding differs, and so does the range: dot(x, y) may overflow where dot(x / r, y) would not, if |x| comes within |r| of the
 * largest float. A softmax cannot: its x is at most 1. */
#include "passes/stream_internal.h"

#include <string.h>

enum { MOST_FACTORS = 8, MOST_TERMS = 3, MOST_DEPTH = 8 };

typedef struct Factor { /* of a tile: `value` along `dims` of its axes; a constant has no dims */
    IrOp op;            /* OP_mul or OP_div */
    IrRef value;
    int rank;
    int64_t dims[IR_MAX_RANK];
} Factor;

typedef struct Term {
    bool negative;
    IrRef rest;
    int count;
    Factor factor[MOST_FACTORS];
} Term;

typedef struct Terms {
    int count;
    Term term[MOST_TERMS];
} Terms;

/* ---- splitting a tile ---- */

static bool is_factor(const IrFunc *func, IrRef ref)
{
    const IrNode *node = ir_node(func, ref);
    if (node->op == OP_broadcast)
        return ir_element_count(ir_type_of(func, node->operands[0])) < ir_element_count(&node->type);
    return node->op == OP_const;
}

static bool add_factor(const IrFunc *func, Terms *terms, IrOp op, IrRef ref)
{
    const IrNode *node = ir_node(func, ref);
    Factor factor = {.op = op, .value = ref};
    if (node->op == OP_broadcast) {
        factor.value = node->operands[0];
        factor.rank = node->attr[0].count;
        memcpy(factor.dims, node->attr[0].items, (size_t)factor.rank * sizeof *factor.dims);
    }
    for (int i = 0; i < terms->count; i++) {
        if (terms->term[i].count == MOST_FACTORS)
            return false;
        terms->term[i].factor[terms->term[i].count++] = factor;
    }
    return true;
}

static IrRef equal_or_new(IrFunc *func, IrOp op, IrRef a, IrRef b)
{
    for (IrRef ref = a > b ? a : b; ref < func->nodes.count; ref++) {
        const IrNode *node = ir_node(func, ref);
        if (node->op == op && node->operands[0] == a && node->operands[1] == b)
            return ref;
    }
    return ir_binary(func, op, a, b);
}

static Terms whole(IrRef ref)
{
    return (Terms){.count = 1, .term = {{.rest = ref}}};
}

static Terms split(IrFunc *func, IrRef ref, int depth);

static Terms split_product(IrFunc *func, IrRef ref, int depth)
{
    IrNode node = *ir_node(func, ref);
    IrRef a = node.operands[0], b = node.operands[1];
    if (node.op == OP_mul && is_factor(func, a)) {
        a = node.operands[1];
        b = node.operands[0];
    }
    Terms left = split(func, a, depth + 1);
    if (is_factor(func, b))
        return add_factor(func, &left, node.op, b) ? left : whole(ref);
    Terms right = node.op == OP_mul ? split(func, b, depth + 1) : whole(b);
    bool single = node.op == OP_mul && left.count == 1 && right.count == 1;
    Term *to = &left.term[0], *from = &right.term[0];
    if (!single || to->count + from->count == 0 || to->count + from->count > MOST_FACTORS)
        return whole(ref);
    memcpy(&to->factor[to->count], from->factor, (size_t)from->count * sizeof *from->factor);
    to->count += from->count;
    to->negative ^= from->negative;
    to->rest = equal_or_new(func, OP_mul, to->rest, from->rest);
    return left;
}

static Terms split_sum(IrFunc *func, IrRef ref, int depth)
{
    IrNode node = *ir_node(func, ref);
    Terms left = split(func, node.operands[0], depth + 1), right = split(func, node.operands[1], depth + 1);
    int factors = 0;
    if (left.count + right.count > MOST_TERMS)
        return whole(ref);
    for (int i = 0; i < right.count; i++) {
        right.term[i].negative ^= node.op == OP_sub;
        left.term[left.count++] = right.term[i];
    }
    for (int i = 0; i < left.count; i++)
        factors += left.term[i].count;
    return factors ? left : whole(ref);
}

/* What lies deep is one term: values may be used twice at each step, and the ways to them double. */
static Terms split(IrFunc *func, IrRef ref, int depth)
{
    IrOp op = ir_node(func, ref)->op;
    if (depth == MOST_DEPTH)
        return whole(ref);
    if (op == OP_mul || op == OP_div)
        return split_product(func, ref, depth);
    if (op == OP_add || op == OP_sub)
        return split_sum(func, ref, depth);
    if (op != OP_neg)
        return whole(ref);
    Terms terms = split(func, ir_node(func, ref)->operands[0], depth + 1);
    for (int i = 0; i < terms.count; i++)
        terms.term[i].negative ^= true;
    return terms;
}

/* ---- where a factor goes ---- */

/* The axis of the result that an axis of an operand becomes, or -1. */
static int result_axis(const IrFunc *func, const IrNode *node, int side, int64_t axis)
{
    bool contracts = node->op == OP_dot;
    IrInts batch = contracts ? node->attr[side] : (IrInts){0}, sums = contracts ? node->attr[2 + side] : node->attr[0];
    int next = batch.count;
    if (stream_place(sums, axis) >= 0)
        return -1;
    if (stream_place(batch, axis) >= 0)
        return stream_place(batch, axis);
    if (side)
        next += ir_type_of(func, node->operands[0])->rank - batch.count - sums.count;
    for (int before = 0; before < axis; before++)
        next += stream_place(batch, before) < 0 && stream_place(sums, before) < 0;
    return next;
}

static int other_axis(const IrNode *dot, int side, int64_t axis)
{
    for (int pairs = 0; pairs <= 2; pairs += 2) {
        int place = stream_place(dot->attr[pairs + side], axis);
        if (place >= 0)
            return (int)dot->attr[pairs + !side].items[place];
    }
    return -1;
}

/* The factor with the axes that its own become there; false if it has others, or in another order. */
static bool moved(const IrFunc *func, const IrNode *node, int side, bool to_other, const Factor *factor, Factor *out)
{
    *out = *factor;
    for (int i = 0; i < factor->rank; i++) {
        out->dims[i] = to_other ? other_axis(node, side, factor->dims[i]) : result_axis(func, node, side, factor->dims[i]);
        if (out->dims[i] < 0 || (i && out->dims[i] <= out->dims[i - 1]))
            return false;
    }
    return true;
}

static IrRef with_factor(IrFunc *func, IrRef x, const Factor *factor)
{
    IrType type = *ir_type_of(func, x);
    const IrNode *value = ir_node(func, factor->value);
    bool constant = value->op == OP_const;
    IrRef all = constant ? ir_const(func, type, value->value) : ir_broadcast(func, factor->value, type, factor->dims);
    return ir_binary(func, factor->op, x, all);
}

/* ---- contractions and sums ---- */

typedef struct Site { /* a contraction or sum that is written anew */
    IrFunc *func;
    IrNode node;
    int side; /* of the operand that is split */
} Site;

static bool is_smaller(const Site *site, const IrType *type)
{
    return ir_element_count(type) < ir_element_count(ir_type_of(site->func, site->node.operands[site->side]));
}

static bool same_ints(IrInts a, IrInts b)
{
    return a.count == b.count && (!a.count || !memcmp(a.items, b.items, (size_t)a.count * sizeof *a.items));
}

/* An equal node that is there already, or -1. */
static IrRef find_node(const IrFunc *func, const IrNode *wanted)
{
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        const IrNode *node = ir_node(func, ref);
        bool same = node->op == wanted->op;
        for (int i = 0; same && i < wanted->operand_count; i++)
            same = node->operands[i] == wanted->operands[i];
        for (int i = 0; same && i < IR_MAX_ATTRS; i++)
            same = same_ints(node->attr[i], wanted->attr[i]);
        if (same)
            return ref;
    }
    return -1;
}

static IrRef of_rest(const Site *site, IrRef rest, IrRef other, bool make)
{
    IrNode node = site->node;
    IrRef operands[2] = {rest, other};
    if (site->side) {
        operands[0] = other;
        operands[1] = rest;
    }
    node.operands = operands;
    IrRef found = find_node(site->func, &node);
    return found >= 0 || !make ? found : ir_emit(site->func, node);
}

/* Its factors sorted: those of the result, and those of the other operand, which is written with them.  False: one fits
 * neither. */
static bool sort_factors(const Site *site, Term *term, IrRef *other)
{
    bool dot = site->node.op == OP_dot;
    int kept = 0;
    for (int i = 0; i < term->count; i++) {
        Factor factor;
        if (is_smaller(site, &site->node.type) &&
            moved(site->func, &site->node, site->side, false, &term->factor[i], &factor)) {
            term->factor[kept++] = factor;
            continue;
        }
        if (!dot || !is_smaller(site, ir_type_of(site->func, *other)) ||
            !moved(site->func, &site->node, site->side, true, &term->factor[i], &factor))
            return false;
        *other = with_factor(site->func, *other, &factor);
    }
    term->count = kept;
    return true;
}

static IrRef of_term(const Site *site, const Term *term, IrRef other)
{
    IrRef value = of_rest(site, term->rest, other, true);
    for (int i = 0; i < term->count; i++)
        value = with_factor(site->func, value, &term->factor[i]);
    return value;
}

/* One new contraction at most: a tile less to make is worth no second one. */
static bool is_worth_it(const Site *site, const Terms *terms, IrRef other)
{
    int fresh = 0;
    if (terms->count == 1)
        return terms->term[0].count || terms->term[0].rest != site->node.operands[site->side];
    for (int i = 0; i < terms->count; i++)
        fresh += of_rest(site, terms->term[i].rest, other, false) < 0;
    return site->node.op == OP_dot && fresh <= 1;
}

static IrRef factored(const Site *site)
{
    Terms terms = split(site->func, site->node.operands[site->side], 0);
    IrRef other = site->node.op == OP_dot ? site->node.operands[!site->side] : -1, total = -1;
    if (!is_worth_it(site, &terms, other))
        return -1;
    for (int i = 0; i < terms.count; i++) {
        Term *term = &terms.term[i];
        IrRef own = other;
        if (!sort_factors(site, term, &own) || (own != other && terms.count > 1))
            return -1;
        IrRef value = of_term(site, term, own);
        if (total < 0)
            total = term->negative ? ir_unary(site->func, OP_neg, value) : value;
        else
            total = ir_binary(site->func, term->negative ? OP_sub : OP_add, total, value);
    }
    return total;
}

static bool is_site(const IrNode *node)
{
    bool full = node->type.dtype == DT_f32 || node->type.dtype == DT_f64; /* narrow types have no range to spare */
    return full && (node->op == OP_dot || node->op == OP_sum);
}

void stream_factor(IrFunc *func)
{
    Rebuild rebuild = rebuild_begin(func);
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        const IrNode *node = ir_node(func, ref);
        IrRef found = -1;
        for (int side = 0; is_site(node) && found < 0 && side < node->operand_count; side++) {
            Site site = {.func = rebuild.into, .node = *node, .side = side};
            IrRef operands[2];
            for (int i = 0; i < node->operand_count; i++)
                operands[i] = rebuild.map[node->operands[i]];
            site.node.operands = operands;
            rebuild.into->at = node->span;
            found = factored(&site);
        }
        if (found >= 0)
            rebuild.map[ref] = found;
        else
            rebuild_copy(&rebuild, ref);
    }
    rebuild_end(&rebuild, func);
}
