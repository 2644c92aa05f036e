/* Fusion: groups that become stages of one kernel.
 *
 * A normalisation is a few reductions and a map over the same rows, each of which needs the one before.  Where groups have
 * leading axes in common and read each other's results at the same place of them only, they can run one after the other for
 * each such place: a row's data stay in the cache from stage to stage, and what only the stages need is never an array of its
 * own.
 *
 * A chain of groups runs where its last group stood: what it reads is ready by then, and nobody before reads what it computes.
 */
#include "passes/fuse_internal.h"

enum {
    MOST_STAGES = 8,
    MOST_BUFFERS = 40,     /* of a kernel: some are left for what a backend adds */
    ROW_BYTES = 512 << 10, /* that the stages touch for a place of the leading axes: what fits a second-level cache */
    SMALL_ROW = 256,       /* elements below which a row is not worth loops of its own */
    ENOUGH_ROWS = 16,      /* for the threads of a machine, if there can be so many */
};

typedef struct Chain {
    LIST(int) groups; /* numbers, rising */
    int outer;        /* leading axes in common */
    int64_t extent[IR_MAX_RANK];
    int place; /* number of the group in whose place it runs */
} Chain;

typedef struct Rows {
    Fuse *fuse;
    LIST(Chain) chains;
    int *chain; /* by group: its chain, or -1 */
} Rows;

/* ---- what a group offers ---- */

/* The shape that the group's loops run over. */
static const IrType *space_of(const Fuse *fuse, const Group *group)
{
    IrRef member = group->members.items[0];
    if (group->kind == GROUP_MAP)
        return ir_type_of(fuse->func, member);
    return ir_type_of(fuse->func, ir_node(fuse->func, fuse->node[member].root)->operands[0]);
}

/* How many leading axes its results are independent along. */
static int free_axes(const Fuse *fuse, const Group *group)
{
    if (group->kind == GROUP_MAP)
        return space_of(fuse, group)->rank;
    if (group->kind != GROUP_REDUCE)
        return 0;
    const IrInts *reduced = &ir_node(fuse->func, fuse->node[group->members.items[0]].root)->attr[0];
    int count = space_of(fuse, group)->rank;
    for (int i = 0; i < reduced->count; i++)
        count = reduced->items[i] < count ? (int)reduced->items[i] : count;
    return count;
}

static int64_t product(const int64_t *dim, int count)
{
    int64_t all = 1;
    for (int i = 0; i < count; i++)
        all *= dim[i];
    return all;
}

/* Where a group runs: its own number, or the place of its chain. */
static int place_of(const Rows *rows, int number)
{
    return rows->chain[number] < 0 ? number : rows->chains.items[rows->chain[number]].place;
}

static bool chain_has(const Chain *chain, int number)
{
    for (int i = 0; i < chain->groups.count; i++)
        if (chain->groups.items[i] == number)
            return true;
    return false;
}

/* ---- whether a group fits a chain ---- */

static bool same_extents(const Rows *rows, const Chain *chain, const Group *group, int outer)
{
    const IrType *space = space_of(rows->fuse, group);
    for (int i = 0; i < outer; i++)
        if (space->dim[i] != chain->extent[i])
            return false;
    return true;
}

/* How many leading axes the group may share with the chain: 0 if it reads nothing of the chain's, or reads elsewhere. */
static int shared_axes(const Rows *rows, const Chain *chain, const Group *group)
{
    int shared = 0, most = free_axes(rows->fuse, group);
    for (int i = 0; i < group->reads.count; i++) {
        const GroupRead *read = &group->reads.items[i];
        int source = fuse_group_of(rows->fuse, read->ref);
        if (source < 0 || !chain_has(chain, source))
            continue;
        most = read->lead < most ? read->lead : most;
        shared = most;
    }
    return shared < chain->outer ? shared : chain->outer;
}

/* What a kernel of the chain and one group more touches. */
typedef struct Touched {
    LIST(GroupRead) arrays;
} Touched;

static void touch(Arena *arena, Touched *touched, IrRef ref, int lead)
{
    for (int i = 0; i < touched->arrays.count; i++)
        if (touched->arrays.items[i].ref == ref)
            return;
    list_push(arena, &touched->arrays, ((GroupRead){ref, lead}));
}

static void touch_group(Arena *arena, Touched *touched, const Group *group)
{
    for (int i = 0; i < group->reads.count; i++)
        touch(arena, touched, group->reads.items[i].ref, group->reads.items[i].lead);
    for (int i = 0; i < group->members.count; i++)
        touch(arena, touched, group->members.items[i], SAME_POINT);
}

static Touched touched_by(const Rows *rows, const Chain *chain, const Group *more)
{
    Touched touched = {0};
    for (int i = 0; i < chain->groups.count; i++)
        touch_group(rows->fuse->arena, &touched, &rows->fuse->groups.items[chain->groups.items[i]]);
    touch_group(rows->fuse->arena, &touched, more);
    return touched;
}

/* Bytes for each place of the leading axes; what all places share is not counted. */
static int64_t bytes_of(const Rows *rows, const Touched *touched, int outer)
{
    int64_t bytes = 0;
    for (int i = 0; i < touched->arrays.count; i++) {
        const IrType *type = ir_type_of(rows->fuse->func, touched->arrays.items[i].ref);
        int64_t places = type->rank >= outer ? product(type->dim, outer) : 0; /* 0: empty, or shared by all */
        if (touched->arrays.items[i].lead >= outer && places)
            bytes += ir_element_count(type) / places * dtype_size(type->dtype);
    }
    return bytes;
}

/* The fewest leading axes that leave rows small enough, and enough of them to share out among threads; 0 if none do. */
static int choose_outer(const Rows *rows, const Chain *chain, const Group *group, const Touched *touched, int most)
{
    bool is_new = chain->groups.count == 1;
    int best = 0;
    for (int outer = is_new ? 1 : chain->outer; outer <= most; outer++) {
        const IrType *space = space_of(rows->fuse, group);
        int64_t places = product(space->dim, outer);
        if (!places || (ir_element_count(space) / places < SMALL_ROW && is_new))
            return best;
        if (bytes_of(rows, touched, outer) > ROW_BYTES)
            continue;
        best = outer;
        if (places >= ENOUGH_ROWS)
            return best;
    }
    return best;
}

/* ---- whether the order allows it ---- */

/* Everything that the group reads from elsewhere is there when the chain runs. */
static bool may_move_up(const Rows *rows, const Chain *chain, const Group *group)
{
    for (int i = 0; i < group->reads.count; i++) {
        int source = fuse_group_of(rows->fuse, group->reads.items[i].ref);
        if (source >= 0 && !chain_has(chain, source) && place_of(rows, source) >= chain->place)
            return false;
    }
    return true;
}

static bool reads_chain(const Rows *rows, const Chain *chain, const Group *group)
{
    for (int i = 0; i < group->reads.count; i++) {
        int source = fuse_group_of(rows->fuse, group->reads.items[i].ref);
        if (source >= 0 && chain_has(chain, source))
            return true;
    }
    return false;
}

/* Nobody that runs before `place` reads what the chain computes. */
static bool may_move_down(const Rows *rows, const Chain *chain, int place)
{
    for (int k = 0; k < place; k++)
        if (!chain_has(chain, k) && place_of(rows, k) < place && reads_chain(rows, chain, &rows->fuse->groups.items[k]))
            return false;
    return true;
}

/* ---- making chains ---- */

static bool join(Rows *rows, Chain *chain, int number)
{
    const Group *group = &rows->fuse->groups.items[number];
    int most = shared_axes(rows, chain, group);
    if (group->again && group->epoch != rows->fuse->groups.items[chain->groups.items[0]].epoch)
        return false;
    if (most == 0 || chain->groups.count == MOST_STAGES || !same_extents(rows, chain, group, most))
        return false;
    Touched touched = touched_by(rows, chain, group);
    int outer = touched.arrays.count <= MOST_BUFFERS ? choose_outer(rows, chain, group, &touched, most) : 0;
    if (outer == 0)
        return false;
    if (!may_move_up(rows, chain, group)) {
        if (!may_move_down(rows, chain, number))
            return false;
        chain->place = number;
    }
    chain->outer = outer;
    list_push(rows->fuse->arena, &chain->groups, number);
    return true;
}

static Chain new_chain(const Rows *rows, int number)
{
    const Group *group = &rows->fuse->groups.items[number];
    Chain chain = {.place = number, .outer = free_axes(rows->fuse, group)};
    const IrType *space = space_of(rows->fuse, group);
    for (int i = 0; i < chain.outer; i++)
        chain.extent[i] = space->dim[i];
    list_push(rows->fuse->arena, &chain.groups, number);
    return chain;
}

static bool is_stage(const Group *group)
{
    return group->kind == GROUP_MAP || group->kind == GROUP_REDUCE;
}

/* Joins the group to the chain of one of those that it reads; two maps alone gain nothing. */
static void place_group(Rows *rows, int number)
{
    Fuse *fuse = rows->fuse;
    const Group *group = &fuse->groups.items[number];
    for (int i = 0; i < group->reads.count; i++) {
        int source = fuse_group_of(fuse, group->reads.items[i].ref);
        if (source < 0 || source >= number || !is_stage(&fuse->groups.items[source]))
            continue;
        int known = rows->chain[source];
        if (known >= 0) {
            if (join(rows, &rows->chains.items[known], number))
                rows->chain[number] = known;
        } else if (group->kind == GROUP_REDUCE || fuse->groups.items[source].kind == GROUP_REDUCE) {
            Chain chain = new_chain(rows, source);
            if (!join(rows, &chain, number))
                continue;
            rows->chain[source] = rows->chain[number] = rows->chains.count;
            list_push(fuse->arena, &rows->chains, chain);
        }
        if (rows->chain[number] >= 0)
            return;
    }
}

/* ---- the groups anew ---- */

static Group make_rows(const Rows *rows, const Chain *chain)
{
    Arena *arena = rows->fuse->arena;
    Group made = {.kind = GROUP_ROWS, .outer = chain->outer};
    for (int i = 0; i < chain->groups.count; i++) {
        const Group *stage = &rows->fuse->groups.items[chain->groups.items[i]];
        list_push(arena, &made.stages, *stage);
        for (int k = 0; k < stage->members.count; k++)
            list_push(arena, &made.members, stage->members.items[k]);
        for (int k = 0; k < stage->reads.count; k++)
            list_push(arena, &made.reads, stage->reads.items[k]);
    }
    return made;
}

static void renumber(Rows *rows)
{
    Fuse *fuse = rows->fuse;
    int count = fuse->groups.count;
    Group *old = fuse->groups.items;
    LIST(Group) fresh = {0};
    for (int i = 0; i < count; i++) {
        if (place_of(rows, i) != i)
            continue;
        Group group = rows->chain[i] < 0 ? old[i] : make_rows(rows, &rows->chains.items[rows->chain[i]]);
        list_push(fuse->arena, &fresh, group);
        for (int k = 0; k < group.members.count; k++)
            fuse->node[group.members.items[k]].group = fresh.count - 1;
    }
    fuse->groups.items = fresh.items;
    fuse->groups.count = fresh.count;
    fuse->groups.capacity = fresh.capacity;
}

/* What only stages of its own kernel read is no array of the plan. */
static void find_locals(Fuse *fuse)
{
    for (int i = 0; i < fuse->groups.count; i++)
        for (int k = 0; fuse->groups.items[i].kind == GROUP_ROWS && k < fuse->groups.items[i].members.count; k++)
            fuse->node[fuse->groups.items[i].members.items[k]].local = true;
    for (int i = 0; i < fuse->func->results.count; i++)
        fuse->node[fuse->func->results.items[i]].local = false;
    for (int i = 0; i < fuse->groups.count; i++)
        for (int k = 0; k < fuse->groups.items[i].reads.count; k++) {
            IrRef ref = fuse->groups.items[i].reads.items[k].ref;
            if (fuse->node[ref].group != i)
                fuse->node[ref].local = false;
        }
}

static void mark_inner(Fuse *fuse, const Group *group)
{
    for (int i = 0; group->kind == GROUP_MAP && i < group->members.count; i++)
        fuse->node[group->members.items[i]].inner = true;
    for (int i = 0; i < group->stages.count; i++)
        mark_inner(fuse, &group->stages.items[i]);
}

/* What a member of a map reads of its own stage is not among the stage's reads: what nobody reads and is no result is not
 * written. */
static void find_inner(Fuse *fuse)
{
    for (int i = 0; i < fuse->groups.count; i++)
        mark_inner(fuse, &fuse->groups.items[i]);
    for (int i = 0; i < fuse->func->results.count; i++)
        fuse->node[fuse->func->results.items[i]].inner = false;
    for (int i = 0; i < fuse->groups.count; i++)
        for (int k = 0; k < fuse->groups.items[i].reads.count; k++)
            fuse->node[fuse->groups.items[i].reads.items[k].ref].inner = false;
}

void fuse_rows(Fuse *fuse)
{
    if (fuse->no_fuse)
        return;
    Rows rows = {.fuse = fuse, .chain = arena_array(fuse->arena, int, fuse->groups.count + 1)};
    for (int i = 0; i < fuse->groups.count; i++)
        rows.chain[i] = -1;
    for (int i = 0; i < fuse->groups.count; i++)
        if (is_stage(&fuse->groups.items[i]))
            place_group(&rows, i);
    renumber(&rows);
    find_locals(fuse);
    find_inner(fuse);
}
