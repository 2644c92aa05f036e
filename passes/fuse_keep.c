/* Fusion: whether a node that several kernels want is computed once and kept, or again in each.
 *
 * Both are counted for one vector of results, in cycles: an operation is one, an array that comes from memory is many.  A node
 * whose users meet again in one kernel is computed there once, however many they are. */
#include "passes/fuse_internal.h"

enum {
    COST_TRANSCENDENTAL = 10,
    COST_RANDOM = 60,
    COST_READ = 17,         /* of an array that is not in a cache that is near; a write costs two */
    BROADCAST_LIMIT = 3,    /* what costs more is kept rather than repeated by a broadcast */
    EXPRESSION_LIMIT = 400, /* no virtual expression grows larger than this */
    READ_LIMIT = 32,        /* ... nor reads more arrays: a kernel has a limited number of buffers */
};

/* ---- where users meet ---- */

static void add_place(FuseNode *info, IrRef place)
{
    for (int i = 0; i < info->place_count && i < FUSE_PLACES; i++)
        if (info->place[i] == place)
            return;
    if (info->place_count < FUSE_PLACES)
        info->place[info->place_count] = place;
    info->place_count++;
}

/* The node in whose kernel `ref` is computed, as far as can be seen from its users: they come later and know theirs. */
static IrRef place_of(const Fuse *fuse, IrRef ref)
{
    const FuseNode *info = &fuse->node[ref];
    const IrNode *node = ir_node(fuse->func, ref);
    if (info->claimed)
        return info->chain;
    bool passes = fuse_is_pointwise(node) || ir_op_info[node->op].traits & TRAIT_view;
    return passes && !info->stored && info->place_count == 1 ? info->place[0] : ref;
}

static void find_places(Fuse *fuse)
{
    const IrFunc *func = fuse->func;
    for (int i = 0; i < func->results.count; i++)
        add_place(&fuse->node[func->results.items[i]], -1);
    for (IrRef ref = func->nodes.count - 1; ref >= 0; ref--) {
        const IrNode *node = ir_node(func, ref);
        IrRef place = fuse->node[ref].needed ? place_of(fuse, ref) : -1;
        for (int i = 0; fuse->node[ref].needed && i < node->operand_count; i++)
            add_place(&fuse->node[node->operands[i]], place);
    }
}

/* ---- what it takes to compute it again ---- */

int fuse_own_cost(const IrNode *node)
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
    case OP_random_at:
        return COST_RANDOM;
    case OP_take:
        return 4;
    default:
        return fuse_is_pointwise(node) ? 1 : 0;
    }
}

/* ---- no more reads than a kernel has buffers ---- */

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
    if (!fuse_is_pointwise(node) && !(ir_op_info[node->op].traits & (TRAIT_view | TRAIT_reduce)))
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

/* ---- keep or compute again ---- */

static void add_source(FuseNode *info, IrRef source)
{
    for (int i = 0; i < info->source_count && i < FUSE_SOURCES; i++)
        if (info->source[i] == source)
            return;
    if (info->source_count < FUSE_SOURCES)
        info->source[info->source_count] = source;
    info->source_count++;
}

/* Arrays about as large as the node that are read to compute it. */
static void find_sources(Fuse *fuse, IrRef ref)
{
    FuseNode *info = &fuse->node[ref];
    const IrNode *node = ir_node(fuse->func, ref);
    int64_t size = ir_element_count(&node->type);
    for (int i = 0; i < node->operand_count; i++) {
        IrRef operand = node->operands[i];
        const FuseNode *from = &fuse->node[operand];
        bool in_memory = fuse_in_memory(fuse, operand);
        int count = in_memory ? 1 : from->source_count;
        for (int k = 0; k < count && k < FUSE_SOURCES; k++) {
            IrRef source = in_memory ? operand : from->source[k];
            if (2 * ir_element_count(ir_type_of(fuse->func, source)) >= size)
                add_source(info, source);
        }
        info->source_count += count > FUSE_SOURCES ? count - FUSE_SOURCES : 0;
    }
}

/* Kept, it is computed once, written, and read in each place; else it is computed in each, from what it is made of. */
static bool is_worth_keeping(const FuseNode *info)
{
    int places = info->place_count;
    int kept = info->work + 2 * COST_READ + places * COST_READ;
    return places > 1 && places * (info->work + info->source_count * COST_READ) > kept;
}

static void decide(Fuse *fuse, IrRef ref)
{
    FuseNode *info = &fuse->node[ref];
    const IrNode *node = ir_node(fuse->func, ref);
    limit_reads(fuse, ref);
    find_sources(fuse, ref);
    info->work = fuse_own_cost(node);
    for (int i = 0; i < node->operand_count; i++)
        info->work += fuse_in_memory(fuse, node->operands[i]) ? 0 : fuse->node[node->operands[i]].work;
    if (info->stored || info->claimed || fuse_is_leaf(node) || node->op == OP_get)
        return;
    bool kept = is_worth_keeping(info);
    if (info->uses == 1 && info->first_user >= 0) {
        const IrNode *user = ir_node(fuse->func, info->first_user);
        kept |= user->op == OP_broadcast && info->work > BROADCAST_LIMIT &&
                ir_element_count(&user->type) > ir_element_count(&node->type);
    }
    if (kept || info->work > EXPRESSION_LIMIT)
        info->stored = true;
}

void fuse_keep(Fuse *fuse)
{
    find_places(fuse);
    for (IrRef ref = 0; ref < fuse->func->nodes.count; ref++)
        if (fuse->node[ref].needed)
            decide(fuse, ref);
}
