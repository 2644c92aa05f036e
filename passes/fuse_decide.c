/* Fusion, first step: which nodes are stored and which are virtual.
 *
 * Stored are: results; what contractions, gathers and control read (they need memory); reductions and contractions, or
 * rather the last pointwise node of the chain behind them (their epilogue); and what is used often and costs more to
 * recompute than to read back (fuse_keep.c).  Everything else is recomputed where it is needed: cheap pointwise chains never
 * touch memory. */
#include "passes/fuse_internal.h"

bool fuse_is_leaf(const IrNode *node)
{
    return (ir_op_info[node->op].traits & TRAIT_leaf) != 0;
}

bool fuse_in_memory(const Fuse *fuse, IrRef ref)
{
    IrOp op = ir_node(fuse->func, ref)->op;
    return fuse->node[ref].stored || op == OP_param || op == OP_literal || op == OP_get;
}

static bool is_control(const IrNode *node)
{
    return (ir_op_info[node->op].traits & TRAIT_control) != 0;
}

bool fuse_is_pointwise(const IrNode *node)
{
    return (ir_op_info[node->op].traits & TRAIT_pointwise) != 0;
}

/* Ops that a kernel is built around. */
static bool is_root(const IrNode *node)
{
    return (ir_op_info[node->op].traits & (TRAIT_reduce | TRAIT_contract)) != 0;
}

static bool is_always_stored(const IrNode *node)
{
    return node->op == OP_concat || node->op == OP_put_add || node->op == OP_fold_in || is_control(node);
}

bool fuse_reshape_splits(const IrType *operand, const IrType *result)
{
    int i = 0, j = 0;
    while (i < operand->rank || j < result->rank) {
        while (i < operand->rank && operand->dim[i] == 1)
            i++;
        if (i == operand->rank)
            return true; /* only ones are left in the result */
        int64_t product = 1;
        while (j < result->rank && product < operand->dim[i])
            product *= result->dim[j++];
        if (product != operand->dim[i])
            return false;
        i++;
    }
    return true;
}

bool fuse_is_affine_view(const Fuse *fuse, IrRef ref)
{
    for (;;) {
        if (fuse_in_memory(fuse, ref))
            return true;
        const IrNode *node = ir_node(fuse->func, ref);
        switch (node->op) {
        case OP_transpose:
        case OP_broadcast:
        case OP_slice:
        case OP_reverse:
            ref = node->operands[0];
            break;
        case OP_reshape:
            ref = node->operands[0];
            if (!fuse_in_memory(fuse, ref) && ir_node(fuse->func, ref)->op != OP_reshape &&
                !fuse_reshape_splits(ir_type_of(fuse->func, ref), &node->type))
                return false;
            break;
        default:
            return false;
        }
    }
}

/* ---- uses ---- */

static void count_use(Fuse *fuse, IrRef used, IrRef user)
{
    FuseNode *info = &fuse->node[used];
    if (info->uses && info->first_user == user)
        return;
    info->last_user = info->uses++ ? info->last_user : user; /* users are counted from the last to the first */
    info->first_user = user;
}

static void count_uses(Fuse *fuse)
{
    const IrFunc *func = fuse->func;
    for (int i = 0; i < func->results.count; i++) {
        fuse->node[func->results.items[i]].needed = true;
        count_use(fuse, func->results.items[i], -1 - i);
    }
    for (IrRef ref = func->nodes.count - 1; ref >= 0; ref--) {
        const IrNode *node = ir_node(func, ref);
        if (!fuse->node[ref].needed)
            continue;
        for (int i = 0; i < node->operand_count; i++) {
            fuse->node[node->operands[i]].needed = true;
            count_use(fuse, node->operands[i], ref);
        }
    }
}

/* ---- who must be in memory ---- */

static void store(Fuse *fuse, IrRef ref)
{
    const IrNode *node = ir_node(fuse->func, ref);
    if (node->op != OP_param && node->op != OP_literal && node->op != OP_get)
        fuse->node[ref].stored = true;
}

/* Stores what an affine access to `ref` must reach: the node behind its views. */
static void store_base(Fuse *fuse, IrRef ref)
{
    for (;;) {
        const IrNode *node = ir_node(fuse->func, ref);
        IrRef below = node->operand_count ? node->operands[0] : -1;
        bool view = node->op == OP_transpose || node->op == OP_broadcast || node->op == OP_slice || node->op == OP_reverse;
        if (node->op == OP_reshape) {
            IrOp op = ir_node(fuse->func, below)->op;
            bool moved = op == OP_transpose || op == OP_broadcast || op == OP_slice || op == OP_reverse;
            if (moved && !fuse_reshape_splits(ir_type_of(fuse->func, below), &node->type)) {
                store(fuse, below); /* moved elements do not merge in place */
                return;
            }
            view = true;
        }
        if (!view || fuse->node[ref].stored)
            break;
        ref = below;
    }
    store(fuse, ref);
}

/* Items picked from picked items are read in one step: what is picked from lies below.  Shapes in between may change. */
static void store_picked(Fuse *fuse, IrRef ref)
{
    for (;;) {
        const IrNode *node = ir_node(fuse->func, ref);
        IrRef below = node->operand_count ? node->operands[0] : -1;
        bool reshaped = node->op == OP_reshape && ir_node(fuse->func, below)->op == OP_take &&
                        fuse_reshape_splits(ir_type_of(fuse->func, below), &node->type);
        if (node->op == OP_take)
            return; /* has had what it needs stored */
        if (!reshaped && node->op != OP_slice)
            break;
        ref = below;
    }
    store(fuse, ref);
}

static bool is_comparison(const IrNode *node)
{
    return node->op == OP_eq || node->op == OP_ne || node->op == OP_lt || node->op == OP_le;
}

/* What is compared with the largest or least of itself is computed once: made again in another kernel, where its roundings may
 * be others, it might not find itself. */
static void store_compared(Fuse *fuse, const IrNode *node)
{
    for (int side = 0; side < 2; side++) {
        const IrNode *other = ir_node(fuse->func, node->operands[!side]);
        while (other->op == OP_broadcast || other->op == OP_reshape)
            other = ir_node(fuse->func, other->operands[0]);
        if ((other->op == OP_reduce_max || other->op == OP_reduce_min) && other->operands[0] == node->operands[side])
            store_base(fuse, node->operands[side]);
    }
}

static void store_operands(Fuse *fuse, const IrNode *node)
{
    if (is_control(node)) {
        for (int i = 0; i < node->operand_count; i++)
            store(fuse, node->operands[i]);
    } else if (ir_op_info[node->op].traits & TRAIT_contract) {
        store_base(fuse, node->operands[0]);
        store_base(fuse, node->operands[1]);
    } else if (node->op == OP_take) {
        store_picked(fuse, node->operands[0]);
    } else if (node->op == OP_random_bits || node->op == OP_random_at) {
        store(fuse, node->operands[0]);
    } else if (is_comparison(node)) {
        store_compared(fuse, node);
    } else if (node->op == OP_fold_in) {
        store(fuse, node->operands[0]);
        store(fuse, node->operands[1]);
    } else if (node->op == OP_reshape) {
        const IrNode *operand = ir_node(fuse->func, node->operands[0]);
        bool constant = operand->op == OP_const;
        if (!constant && operand->op != OP_reshape && !fuse_reshape_splits(&operand->type, &node->type))
            store(fuse, node->operands[0]);
    }
}

static void store_required(Fuse *fuse)
{
    for (int i = 0; i < fuse->func->results.count; i++) {
        IrRef ref = fuse->func->results.items[i];
        store(fuse, ref); /* params and results of loops are copied at the end */
    }
    for (IrRef ref = 0; ref < fuse->func->nodes.count; ref++) {
        const IrNode *node = ir_node(fuse->func, ref);
        if (!fuse->node[ref].needed)
            continue;
        if (is_always_stored(node))
            fuse->node[ref].stored = true;
        else if (fuse->no_fuse && !fuse_is_leaf(node) && node->op != OP_get)
            fuse->node[ref].stored = true;
        store_operands(fuse, node);
    }
}

/* ---- epilogues ---- */

static bool is_own_of(const Fuse *fuse, IrRef ref, IrRef user)
{
    const FuseNode *info = &fuse->node[ref];
    return fuse_is_pointwise(ir_node(fuse->func, ref)) && !info->stored && !info->claimed && info->uses == 1 &&
           info->first_user == user;
}

/* The next node of the chain behind `ref`, or none: a pointwise node, not on another chain, that alone reads it, or alone but
 * for one that it alone reads, as x * sigmoid(x) does. */
static IrRef next_in_chain(const Fuse *fuse, IrRef ref)
{
    const FuseNode *info = &fuse->node[ref];
    IrRef next = info->last_user;
    if (info->stored || next < 0 || info->uses > 2 || (info->uses == 2 && !is_own_of(fuse, info->first_user, next)))
        return -1;
    return fuse_is_pointwise(ir_node(fuse->func, next)) && !fuse->node[next].claimed ? next : -1;
}

static void claim_epilogue(Fuse *fuse, IrRef root)
{
    IrRef last = root;
    for (IrRef next = root; next >= 0; next = next_in_chain(fuse, last)) {
        last = next;
        fuse->node[last].claimed = true;
        fuse->node[last].chain = root;
    }
    fuse->node[last].stored = true;
    fuse->node[last].root = root;
    fuse->node[root].end = last;
}

/* Contractions first: an addition of a convolution and a sum belongs to the convolution. */
static void claim_epilogues(Fuse *fuse)
{
    for (int contractions = 1; contractions >= 0; contractions--)
        for (IrRef ref = 0; ref < fuse->func->nodes.count; ref++) {
            const IrNode *node = ir_node(fuse->func, ref);
            bool contracts = (ir_op_info[node->op].traits & TRAIT_contract) != 0;
            if (fuse->node[ref].needed && is_root(node) && contracts == (contractions == 1))
                claim_epilogue(fuse, ref);
        }
}

void fuse_decide(Fuse *fuse)
{
    for (IrRef ref = 0; ref < fuse->func->nodes.count; ref++) {
        fuse->node[ref].root = fuse->node[ref].chain = -1;
        fuse->node[ref].first_user = fuse->node[ref].last_user = -1;
        fuse->node[ref].group = -1;
        fuse->node[ref].buffer = -1;
    }
    count_uses(fuse);
    store_required(fuse);
    claim_epilogues(fuse);
    fuse_keep(fuse);
}
