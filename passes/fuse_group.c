/* Fusion, second step: stored nodes that one kernel computes together.
 *
 * Groups are in an order in which each follows what it reads.  A stored node joins an earlier group over the same index
 * space if everything that it reads is ready before that group, and if they read something in common: then the data come
 * in once.  Inside a map group a member may read another at its own point, from a register. */
#include "passes/fuse_internal.h"

#include <string.h>

enum { MOST_MEMBERS = 8, MOST_READS = 24, LOOK_BACK = 64 };

static GroupKind kind_of(const Fuse *fuse, IrRef ref)
{
    const IrNode *node = ir_node(fuse->func, ref);
    IrRef root = fuse->node[ref].root;
    if (root >= 0) {
        IrOp op = ir_node(fuse->func, root)->op;
        if (op == OP_cumsum)
            return GROUP_SCAN;
        return ir_op_info[op].traits & TRAIT_contract ? GROUP_CONTRACT : GROUP_REDUCE;
    }
    switch (node->op) {
    case OP_concat:
        return GROUP_CONCAT;
    case OP_put_add:
        return GROUP_PUT;
    case OP_fold_in:
        return GROUP_FOLD_IN;
    default:
        return ir_op_info[node->op].traits & TRAIT_control ? GROUP_CONTROL : GROUP_MAP;
    }
}

/* ---- what a stored node reads ---- */

typedef struct Walk {
    Fuse *fuse;
    Group *group;
    unsigned char *seen; /* 1 + the least lead with which the node was reached */
} Walk;

static void add_read(Walk *walk, IrRef ref, int lead)
{
    Group *group = walk->group;
    for (int i = 0; i < group->reads.count; i++) {
        GroupRead *read = &group->reads.items[i];
        if (read->ref == ref) {
            read->lead = lead < read->lead ? lead : read->lead;
            return;
        }
    }
    list_push(walk->fuse->arena, &group->reads, ((GroupRead){ref, lead}));
}

static bool lists(const IrInts *ints, int64_t item)
{
    for (int i = 0; i < ints->count; i++)
        if (ints->items[i] == item)
            return true;
    return false;
}

/* Whether axis `k` of the node and of its operand have the same places, given that all axes before them have. */
static bool keeps_axis(const IrNode *node, const IrType *operand, int k)
{
    if (k >= operand->rank || k >= node->type.rank)
        return false;
    switch (node->op) {
    case OP_transpose:
        return node->attr[0].items[k] == k;
    case OP_broadcast:
        return k < node->attr[0].count && node->attr[0].items[k] == k;
    case OP_slice:
        return node->attr[0].items[k] == 0 && node->attr[1].items[k] == operand->dim[k] && node->attr[2].items[k] == 1;
    case OP_pad:
        return !node->attr[0].items[k] && !node->attr[1].items[k] && !node->attr[2].items[k];
    case OP_reverse:
    case OP_cumsum:
    case OP_sum:
    case OP_prod:
    case OP_reduce_max:
    case OP_reduce_min:
        return !lists(&node->attr[0], k);
    case OP_reshape:
        return operand->dim[k] == node->type.dim[k];
    case OP_take:
        return k < node->attr[1].items[0]; /* batch axes */
    default:
        return false;
    }
}

/* The lead of a read of the operand, where the node's own is `lead`. */
static int lead_of_operand(const Walk *walk, const IrNode *node, int operand, int lead)
{
    if (fuse_is_pointwise(node) || (node->op == OP_random_at && operand == 1))
        return lead;
    int kept = 0;
    while (kept < lead && keeps_axis(node, ir_type_of(walk->fuse->func, node->operands[operand]), kept))
        kept++;
    return kept;
}

static void walk_operands(Walk *walk, IrRef ref, int lead)
{
    const IrNode *node = ir_node(walk->fuse->func, ref);
    for (int i = 0; i < node->operand_count; i++) {
        IrRef operand = node->operands[i];
        int of_operand = lead_of_operand(walk, node, i, lead);
        if (fuse_in_memory(walk->fuse, operand)) {
            add_read(walk, operand, of_operand);
            continue;
        }
        if (walk->seen[operand] && walk->seen[operand] <= 1 + of_operand)
            continue;
        walk->seen[operand] = (unsigned char)(1 + of_operand);
        walk_operands(walk, operand, of_operand);
    }
}

static void collect_reads(Fuse *fuse, IrRef ref, Group *group)
{
    Walk walk = {fuse, group, fuse->seen};
    memset(fuse->seen, 0, (size_t)fuse->func->nodes.count);
    walk_operands(&walk, ref, SAME_POINT);
}

/* ---- joining ---- */

int fuse_group_of(const Fuse *fuse, IrRef ref)
{
    const IrNode *node = ir_node(fuse->func, ref);
    if (node->op == OP_get)
        return fuse->node[node->operands[0]].group;
    return fuse->node[ref].group;
}

static bool same_space(const Fuse *fuse, GroupKind kind, IrRef a, IrRef b)
{
    if (!ir_shape_equal(ir_type_of(fuse->func, a), ir_type_of(fuse->func, b)))
        return false;
    if (kind == GROUP_MAP)
        return true;
    const IrNode *first = ir_node(fuse->func, fuse->node[a].root), *second = ir_node(fuse->func, fuse->node[b].root);
    if (!ir_shape_equal(ir_type_of(fuse->func, first->operands[0]), ir_type_of(fuse->func, second->operands[0])))
        return false;
    if (first->attr[0].count != second->attr[0].count)
        return false;
    for (int i = 0; i < first->attr[0].count; i++)
        if (first->attr[0].items[i] != second->attr[0].items[i])
            return false;
    return true;
}

static bool shares_a_read(const Fuse *fuse, const Group *group, int number, const Group *fresh)
{
    for (int i = 0; i < fresh->reads.count; i++) {
        IrRef ref = fresh->reads.items[i].ref;
        if (fuse_group_of(fuse, ref) == number)
            return true;
        for (int j = 0; j < group->reads.count; j++)
            if (group->reads.items[j].ref == ref && ir_element_count(ir_type_of(fuse->func, ref)) > 1)
                return true;
    }
    return false;
}

/* Everything that `fresh` reads is ready before group `number`, or is a member of it read at its own point. */
static bool is_ready(const Fuse *fuse, int number, GroupKind kind, const Group *fresh)
{
    for (int i = 0; i < fresh->reads.count; i++) {
        int source = fuse_group_of(fuse, fresh->reads.items[i].ref);
        if (source > number || (source == number && !(kind == GROUP_MAP && fresh->reads.items[i].lead == SAME_POINT)))
            return false;
    }
    return true;
}

static void merge_reads(Fuse *fuse, Group *group, int number, const Group *fresh)
{
    for (int i = 0; i < fresh->reads.count; i++) {
        const GroupRead *read = &fresh->reads.items[i];
        bool known = fuse_group_of(fuse, read->ref) == number;
        for (int j = 0; j < group->reads.count && !known; j++)
            if (group->reads.items[j].ref == read->ref) {
                int lead = group->reads.items[j].lead;
                group->reads.items[j].lead = read->lead < lead ? read->lead : lead;
                known = true;
            }
        if (!known)
            list_push(fuse->arena, &group->reads, *read);
    }
}

static int find_group(const Fuse *fuse, GroupKind kind, IrRef ref, const Group *fresh)
{
    if ((kind != GROUP_MAP && kind != GROUP_REDUCE) || fuse->no_fuse)
        return -1;
    int oldest = fuse->groups.count > LOOK_BACK ? fuse->groups.count - LOOK_BACK : 0;
    for (int number = fuse->groups.count - 1; number >= oldest; number--) {
        const Group *group = &fuse->groups.items[number];
        if (fresh->again && group->epoch != fresh->epoch)
            return -1;
        if (group->kind == kind && group->members.count < MOST_MEMBERS &&
            group->reads.count + fresh->reads.count <= MOST_READS && same_space(fuse, kind, group->members.items[0], ref) &&
            is_ready(fuse, number, kind, fresh) && shares_a_read(fuse, group, number, fresh))
            return number;
    }
    return -1;
}

void fuse_group(Fuse *fuse)
{
    bool again = false;
    int epoch = 0;
    for (IrRef ref = 0; ref < fuse->func->nodes.count; ref++) {
        if (!fuse->node[ref].needed || !fuse->node[ref].stored)
            continue;
        GroupKind kind = kind_of(fuse, ref);
        bool first = !again;
        again = ir_node(fuse->func, ref)->again;
        epoch += again && first;
        Group fresh = {.kind = kind, .again = again, .epoch = epoch};
        collect_reads(fuse, ref, &fresh);
        int number = find_group(fuse, kind, ref, &fresh);
        if (number < 0) {
            number = fuse->groups.count;
            list_push(fuse->arena, &fuse->groups, fresh);
        } else {
            merge_reads(fuse, &fuse->groups.items[number], number, &fresh);
            fuse->groups.items[number].again |= again;
        }
        list_push(fuse->arena, &fuse->groups.items[number].members, ref);
        fuse->node[ref].group = number;
    }
}
