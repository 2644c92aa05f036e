/* Stream: values over two large axes that are only reduced are computed block by block, and never stored.
 *
 * Takes a function after its derivatives have been written out; leaves one in which each family of such values (see
 * stream_internal.h) has become loops. It ends because the loops that it makes are not looked at again, and what is left beside
 * them, the last rows of a single task, is less than a block: a smaller family each time, or none. */
#include "passes/stream_internal.h"

enum {
    WORTH_BYTES = 1 << 20,        /* a tile array below this may as well be stored */
    WORTH_TASK_BYTES = 1 << 16,   /* and so may one whose tasks are as small as this: turns of a loop are not free */
    WORTH_SUMMED_BYTES = 1 << 25, /* or as this, if rows are only summed: stored once, it is read once */
    BLOCK_BYTES = 1 << 19,        /* of a block with all of its tiles, so that they stay in a cache */
    LEAST_ROWS = 64,              /* but what goes by in each block, the keys and values, is not read for fewer */
    MOST_ROWS = 256,
    ROWS_STEP = 8,
    SMALL_PART = 4,     /* of what a tile array is made of: a smaller one may as well be stored */
    LONGEST_SUM = 2048, /* making a tile again costs so many multiplications an element, at most */
};

/* ---- what is worth it ---- */

static int64_t bytes_of(const IrFunc *func, IrRef ref)
{
    return ir_element_count(ir_type_of(func, ref)) * dtype_size(ir_type_of(func, ref)->dtype);
}

/* How large a contraction is beside what it is made of. */
static double growth(const IrFunc *func, IrRef dot)
{
    const IrNode *node = ir_node(func, dot);
    int64_t left = ir_element_count(ir_type_of(func, node->operands[0]));
    int64_t right = ir_element_count(ir_type_of(func, node->operands[1]));
    return (double)ir_element_count(&node->type) / (double)(left + right);
}

/* A contraction whose result is not small beside what it was made of; any one if the size of blocks is given. */
static bool is_seed(const IrFunc *func, IrRef ref, int64_t rows)
{
    const IrNode *node = ir_node(func, ref);
    if (node->op != OP_dot || !ir_element_count(&node->type))
        return false;
    if (rows > 0)
        return true;
    int64_t sum = 1;
    for (int i = 0; i < node->attr[2].count; i++)
        sum *= ir_type_of(func, node->operands[0])->dim[node->attr[2].items[i]];
    return bytes_of(func, ref) >= WORTH_BYTES && sum <= LONGEST_SUM && SMALL_PART * growth(func, ref) > 1;
}

static bool goes_along_rows(const Family *family, const IrNode *reduction)
{
    const Roles *roles = &family->node[reduction->operands[0]].roles;
    bool along_rows = false;
    for (int i = 0; i < reduction->attr[0].count; i++)
        along_rows |= roles->axis[reduction->attr[0].items[i]] > family->row;
    return along_rows;
}

/* Some tile is reduced along rows by `op`, and not by a contraction: with what follows, no kernel could take it. */
static bool has_reductions(const Family *family, IrOp op)
{
    for (IrRef ref = 0; ref < family->func->nodes.count; ref++) {
        const IrNode *node = ir_node(family->func, ref);
        bool inside = node->op == op && family->node[ref].class != STREAM_outside;
        if (inside && family->node[node->operands[0]].class == STREAM_tile && goes_along_rows(family, node))
            return true;
    }
    return false;
}

static int count_sums(const Family *family)
{
    int sums = 0;
    for (IrRef ref = 0; ref < family->func->nodes.count; ref++)
        sums += family->node[ref].class == STREAM_sum;
    return sums;
}

/* Not much less than `rows`, and if possible such that nothing is left over. */
static int64_t even_rows(int64_t size, int64_t rows)
{
    for (int64_t even = rows; even > rows / 2; even--)
        if (size % even == 0)
            return even;
    return rows;
}

/* Contractions are the tiles that lie in memory while a block is computed; one more is what pointwise nodes make of them.  A
 * family may go through many loops, as all layers of a network are one: the fullest of them counts.  There are two blocks at
 * least, or a lane would hold the whole array of a task. */
static int64_t block_rows(const Family *family)
{
    int64_t columns = 1, tiles = 1, size = family->size[family->row];
    for (int role = family->row + 1; role < family->roles; role++)
        columns *= family->size[role];
    for (int level = 0; level < family->levels; level++)
        if (family->ports[level].contractions >= tiles)
            tiles = family->ports[level].contractions + 1;
    int64_t rows = BLOCK_BYTES / (columns * tiles * (int64_t)sizeof(float)) / ROWS_STEP * ROWS_STEP;
    int64_t half = (size / 2 + ROWS_STEP - 1) / ROWS_STEP * ROWS_STEP;
    rows = rows < LEAST_ROWS ? LEAST_ROWS : rows > MOST_ROWS ? MOST_ROWS : rows;
    rows = rows < half ? rows : half;
    return rows < size ? even_rows(size, rows) : size;
}

/* Tasks that are axes of their own, and the number of the block, must fit beside the axes of what is computed. */
static bool has_room_for_axes(const Family *family)
{
    for (IrRef ref = 0; ref < family->func->nodes.count; ref++) {
        const IrNode *node = ir_node(family->func, ref);
        int rank = node->type.rank;
        if (family->node[ref].class == STREAM_outside)
            continue;
        for (int i = 0; i < node->operand_count; i++) {
            int other = ir_type_of(family->func, node->operands[i])->rank;
            rank = other > rank ? other : rank;
        }
        if (rank + family->tasks + 1 > IR_MAX_RANK)
            return false;
    }
    return true;
}

/* `given` rows of a block, or as many as are good.  A family that one block would hold is none: nothing would be gained, and
 * the pass would find it again. */
static bool try_family(Family *family, const IrFunc *func, const IrRefs *users, IrRef seed, bool left_rows, int64_t given)
{
    if (!stream_find(family, func, users, seed, left_rows) || !stream_level(family))
        return false;
    bool large = given ? growth(func, seed) > 1 : bytes_of(func, seed) >= WORTH_SUMMED_BYTES;
    bool summed = large && has_reductions(family, OP_sum);
    bool compared = has_reductions(family, OP_reduce_max) || has_reductions(family, OP_reduce_min);
    if (!(summed || compared) || !has_room_for_axes(family))
        return false;
    stream_ports(family);
    int64_t tasks = stream_task_count(family);
    family->rows = given ? given : block_rows(family);
    bool several = tasks > 1 || family->rows < family->size[family->row];
    if (family->rows > family->size[family->row])
        family->rows = family->size[family->row];
    return several && (given || bytes_of(func, seed) / tasks >= WORTH_TASK_BYTES);
}

/* The better of the two ways to say which axis has the rows: fewer loops, then fewer sums. */
static bool choose_family(Family *family, const IrFunc *func, const IrRefs *users, IrRef seed, int64_t rows)
{
    Family other;
    bool left = try_family(family, func, users, seed, true, rows);
    bool right = try_family(&other, func, users, seed, false, rows);
    if (!left || !right) {
        if (right)
            *family = other;
        return left || right;
    }
    bool fewer = other.levels < family->levels;
    if (fewer || (other.levels == family->levels && count_sums(&other) < count_sums(family)))
        *family = other;
    return true;
}

/* ---- rewriting ---- */

typedef struct Rewriting {
    const Family *family;
    Rebuild rebuild;
    bool *done; /* by level: its loop is written */
} Rewriting;

static void want(Rewriting *rewriting, IrRef ref);

static void want_loop(Rewriting *rewriting, int level)
{
    if (rewriting->done[level])
        return;
    rewriting->done[level] = true;
    const StreamSlices *inputs = &rewriting->family->ports[level].inputs;
    for (int i = 0; i < inputs->count; i++)
        want(rewriting, inputs->items[i].ref);
    stream_loop(rewriting->family, level, rewriting->rebuild.into, rewriting->rebuild.map);
}

static void want(Rewriting *rewriting, IrRef ref)
{
    const IrNode *node = ir_node(rewriting->family->func, ref);
    int level = rewriting->family->node[ref].level;
    if (rewriting->rebuild.map[ref] >= 0)
        return;
    if (stream_is_given(rewriting->family, ref)) {
        want_loop(rewriting, level);
        return;
    }
    for (int i = 0; i < node->operand_count; i++)
        want(rewriting, node->operands[i]);
    rebuild_copy(&rewriting->rebuild, ref);
}

static void rewrite(const Family *family, IrFunc *func)
{
    Rewriting rewriting = {.family = family, .rebuild = rebuild_begin(func)};
    rewriting.done = arena_array(func->module->arena, bool, family->levels + 1);
    for (IrRef ref = 0; ref < func->nodes.count; ref++)
        rewriting.rebuild.map[ref] = -1;
    for (int i = 0; i < func->params.count; i++)
        rebuild_copy(&rewriting.rebuild, func->params.items[i]);
    for (int i = 0; i < func->results.count; i++)
        want(&rewriting, func->results.items[i]);
    rebuild_end(&rewriting.rebuild, func);
}

static IrRefs *find_users(const IrFunc *func)
{
    IrRefs *users = arena_array(func->module->arena, IrRefs, func->nodes.count + 1);
    for (IrRef ref = 0; ref < func->nodes.count; ref++)
        for (int i = 0; i < ir_node(func, ref)->operand_count; i++)
            list_push(func->module->arena, &users[ir_node(func, ref)->operands[i]], ref);
    return users;
}

static bool stream_one(IrFunc *func, int64_t rows)
{
    const IrRefs *users = find_users(func);
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        Family family;
        if (!is_seed(func, ref, rows) || !choose_family(&family, func, users, ref, rows))
            continue;
        family.func = arena_copy(func->module->arena, func, sizeof *func); /* as it was, while `func` is written anew */
        rewrite(&family, func);
        return true;
    }
    return false;
}

void pass_stream(IrModule *module, int64_t rows)
{
    int count = module->funcs.count; /* loops that the pass makes come behind */
    for (int i = 0; i < count; i++) {
        stream_picks(module->funcs.items[i], rows > 0 ? 0 : WORTH_BYTES);
        while (stream_one(module->funcs.items[i], rows))
            continue;
    }
    for (int i = count; i < module->funcs.count; i++)
        stream_factor(module->funcs.items[i]);
    if (module->funcs.count > count)
        pass_simplify(module); /* axes of blocks and tasks are moved and joined, also where there is one of them */
}
