/* Fusion, first step: which nodes are stored and which are virtual.
 *
 * Stored are: results; what contractions, gathers and control read (they need memory); reductions and contractions, or
 * rather the last pointwise node of the chain behind them (their epilogue); and what is used often and costs more to
 * recompute than to read back.  Everything else is recomputed where it is needed: cheap pointwise chains never touch memory. */
#include "passes/fuse_internal.h"

enum {
    COST_TRANSCENDENTAL = 10,
    COST_RANDOM = 60,
    RECOMPUTE_LIMIT = 10,   /* a node with several users is stored if it costs more than this */
    BROADCAST_LIMIT = 3,    /* ... and if a broadcast would repeat it */
    EXPRESSION_LIMIT = 400, /* no virtual expression grows larger than this */
    READ_LIMIT = 32,        /* ... nor reads more arrays: a kernel has a limited number of buffers */
};

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

static bool is_pointwise(const IrNode *node)
{
    return (ir_op_info[node->op].traits & TRAIT_pointwise) != 0 && node->op != OP_random_bits;
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

static void store_operands(Fuse *fuse, const IrNode *node)
{
    if (is_control(node)) {
        for (int i = 0; i < node->operand_count; i++)
            store(fuse, node->operands[i]);
    } else if (ir_op_info[node->op].traits & TRAIT_contract) {
        store_base(fuse, node->operands[0]);
        store_base(fuse, node->operands[1]);
    } else if (node->op == OP_take || node->op == OP_random_bits) {
        store(fuse, node->operands[0]);
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
    return is_pointwise(ir_node(fuse->func, ref)) && !info->stored && !info->claimed && info->uses == 1 &&
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
    return is_pointwise(ir_node(fuse->func, next)) && !fuse->node[next].claimed ? next : -1;
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

/* ---- recompute or keep ---- */

static int own_cost(const IrNode *node)
{
    switch (node->op) {
    case OP_exp:
    case OP_expm1:
    case OP_log:
    case OP_log1p:
    case OP_sin:
    case OP_cos:
    case OP_tan:
    case OP_atan:
    case OP_atan2:
    case OP_tanh:
    case OP_sigmoid:
    case OP_erf:
    case OP_erfinv:
    case OP_pow:
        return COST_TRANSCENDENTAL;
    case OP_div:
    case OP_sqrt:
    case OP_rsqrt:
    case OP_rem:
        return 4;
    case OP_random_bits:
        return COST_RANDOM;
    case OP_take:
        return 4;
    default:
        return is_pointwise(node) ? 1 : 0;
    }
}

/* The chain ends at `last`; what follows is no epilogue any more. */
static void cut_chain(Fuse *fuse, IrRef last)
{
    IrRef root = fuse->node[last].chain, end = fuse->node[root].end;
    fuse->node[end].root = -1;
    for (IrRef ref = end; ref > last; ref--) {
        if (fuse->node[ref].chain == root)
            fuse->node[ref].claimed = false;
    }
    fuse->node[last].stored = true;
    fuse->node[last].root = root;
    fuse->node[root].end = last;
}

/* The virtual operand that reads most, or none. */
static IrRef greediest_operand(const Fuse *fuse, const IrNode *node)
{
    IrRef most = -1;
    for (int i = 0; i < node->operand_count; i++) {
        IrRef operand = node->operands[i];
        if (!fuse_in_memory(fuse, operand) && (most < 0 || fuse->node[operand].reads > fuse->node[most].reads))
            most = operand;
    }
    return most;
}

static int count_reads(const Fuse *fuse, const IrNode *node)
{
    int reads = 0;
    for (int i = 0; i < node->operand_count; i++)
        reads += fuse_in_memory(fuse, node->operands[i]) ? 1 : fuse->node[node->operands[i]].reads;
    return reads;
}

static void limit_reads(Fuse *fuse, IrRef ref)
{
    const IrNode *node = ir_node(fuse->func, ref);
    if (!is_pointwise(node) && !(ir_op_info[node->op].traits & (TRAIT_view | TRAIT_reduce)))
        return;
    for (int reads = count_reads(fuse, node);; reads = count_reads(fuse, node)) {
        IrRef most = reads > READ_LIMIT ? greediest_operand(fuse, node) : -1;
        fuse->node[ref].reads = reads;
        if (most < 0)
            return;
        if (fuse->node[most].claimed)
            cut_chain(fuse, most);
        else
            fuse->node[most].stored = true;
    }
}

static void decide_cost(Fuse *fuse, IrRef ref)
{
    FuseNode *info = &fuse->node[ref];
    const IrNode *node = ir_node(fuse->func, ref);
    limit_reads(fuse, ref);
    info->cost = own_cost(node);
    for (int i = 0; i < node->operand_count; i++) {
        const FuseNode *operand = &fuse->node[node->operands[i]];
        info->cost += fuse_in_memory(fuse, node->operands[i]) ? 1 : operand->cost;
    }
    if (info->stored || info->claimed || fuse_is_leaf(node) || node->op == OP_get)
        return;
    bool kept = info->uses > 1 && info->cost > RECOMPUTE_LIMIT;
    if (info->uses == 1 && info->first_user >= 0) {
        const IrNode *user = ir_node(fuse->func, info->first_user);
        kept = user->op == OP_broadcast && info->cost > BROADCAST_LIMIT &&
               ir_element_count(&user->type) > ir_element_count(&node->type);
    }
    if (kept || info->cost > EXPRESSION_LIMIT)
        info->stored = true;
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
    for (IrRef ref = 0; ref < fuse->func->nodes.count; ref++)
        if (fuse->node[ref].needed)
            decide_cost(fuse, ref);
}
