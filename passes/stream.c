/* Stream: values over two large axes that are only reduced are computed block by block, and never stored.
 *
 * Takes a function after its derivatives have been written out; leaves one in which each family of such values (see
 * stream_internal.h) has become loops. It ends because each family is found and rewritten once, and loops that it has made
 * are not looked at again. */
#include "passes/stream_internal.h"

enum {
    WORTH_BYTES = 1 << 20,      /* a tile array below this may as well be stored */
    WORTH_TASK_BYTES = 1 << 16, /* and so may one whose tasks are as small as this: turns of a loop are not free */
    BLOCK_BYTES = 1 << 19,      /* of a block with all of its tiles, so that they stay in a cache */
    LEAST_ROWS = 8,
    MOST_ROWS = 256,
    LONGEST_SUM = 512, /* making a tile again costs so many multiplications an element, at most */
};

/* ---- what is worth it ---- */

static int64_t bytes_of(const IrFunc *func, IrRef ref)
{
    return ir_element_count(ir_type_of(func, ref)) * dtype_size(ir_type_of(func, ref)->dtype);
}

/* A contraction whose result is larger than what it was made of. */
static bool is_seed(const IrFunc *func, IrRef ref)
{
    const IrNode *node = ir_node(func, ref);
    if (node->op != OP_dot)
        return false;
    int64_t sum = 1, left = ir_element_count(ir_type_of(func, node->operands[0]));
    for (int i = 0; i < node->attr[2].count; i++)
        sum *= ir_type_of(func, node->operands[0])->dim[node->attr[2].items[i]];
    int64_t right = ir_element_count(ir_type_of(func, node->operands[1]));
    return sum <= LONGEST_SUM && ir_element_count(&node->type) > left + right;
}

static bool is_large(const Family *family, IrRef seed, int64_t rows)
{
    int64_t tasks = 1;
    for (int role = 0; role < family->tasks; role++)
        tasks *= family->size[role];
    int64_t bytes = bytes_of(family->func, seed);
    return rows > 0 || (bytes >= WORTH_BYTES && bytes / tasks >= WORTH_TASK_BYTES);
}

/* Some tile is reduced along a row by other than a contraction: its rows are needed as a whole, or more than once, so that
 * no kernel could take the contraction and what follows it together. */
static bool has_row_reductions(const Family *family)
{
    for (IrRef ref = 0; ref < family->func->nodes.count; ref++) {
        const IrNode *node = ir_node(family->func, ref);
        bool of_tile = node->operand_count == 1 && family->node[node->operands[0]].class == STREAM_tile;
        if (of_tile && node->op == OP_reduce_max && family->node[ref].class == STREAM_row)
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

static bool try_family(Family *family, const IrFunc *func, IrRef seed, bool left_rows, int64_t rows)
{
    if (!stream_find(family, func, seed, left_rows))
        return false;
    stream_level(family);
    return family->levels > 0 && is_large(family, seed, rows) && has_row_reductions(family);
}

/* The better of the two ways to say which axis has the rows: fewer loops, then fewer sums. */
static bool choose_family(Family *family, const IrFunc *func, IrRef seed, int64_t rows)
{
    Family other;
    bool left = try_family(family, func, seed, true, rows), right = try_family(&other, func, seed, false, rows);
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

/* Not much less than `rows`, and if possible such that nothing is left over. */
static int64_t even_rows(int64_t size, int64_t rows)
{
    for (int64_t even = rows; even > rows / 2; even--)
        if (size % even == 0)
            return even;
    return rows;
}

/* Contractions are the tiles that lie in memory while a block is computed; one more is what pointwise nodes make of them. */
static int64_t block_rows(const Family *family)
{
    int64_t columns = 1, tiles = 1, size = family->size[family->row];
    for (int role = family->row + 1; role < family->roles; role++)
        columns *= family->size[role];
    for (IrRef ref = 0; ref < family->func->nodes.count; ref++)
        tiles += family->node[ref].class == STREAM_tile && ir_node(family->func, ref)->op == OP_dot;
    int64_t rows = BLOCK_BYTES / (columns * tiles * (int64_t)sizeof(float)) / LEAST_ROWS * LEAST_ROWS;
    rows = rows < LEAST_ROWS ? LEAST_ROWS : rows > MOST_ROWS ? MOST_ROWS : rows;
    return rows < size ? even_rows(size, rows) : size;
}

/* ---- rewriting ---- */

typedef struct Rewriting {
    const Family *family;
    Rebuild rebuild;
    int64_t rows;
    bool *done; /* by level: its loop is written */
} Rewriting;

static void want(Rewriting *rewriting, IrRef ref);

static void want_loop(Rewriting *rewriting, int level)
{
    if (rewriting->done[level])
        return;
    rewriting->done[level] = true;
    StreamSlices inputs = stream_inputs(rewriting->family, level);
    for (int i = 0; i < inputs.count; i++)
        want(rewriting, inputs.items[i].ref);
    stream_loop(rewriting->family, level, rewriting->rows, rewriting->rebuild.into, rewriting->rebuild.map);
}

static void want(Rewriting *rewriting, IrRef ref)
{
    const IrNode *node = ir_node(rewriting->family->func, ref);
    int level = rewriting->family->node[ref].level;
    if (rewriting->rebuild.map[ref] >= 0)
        return;
    if (stream_in_loop(rewriting->family, ref, level)) {
        want_loop(rewriting, level);
        return;
    }
    for (int i = 0; i < node->operand_count; i++)
        want(rewriting, node->operands[i]);
    rebuild_copy(&rewriting->rebuild, ref);
}

static void rewrite(const Family *family, IrFunc *func, int64_t rows)
{
    Rewriting rewriting = {.family = family, .rebuild = rebuild_begin(func), .rows = rows};
    rewriting.done = arena_array(func->module->arena, bool, family->levels + 1);
    for (IrRef ref = 0; ref < func->nodes.count; ref++)
        rewriting.rebuild.map[ref] = -1;
    for (int i = 0; i < func->params.count; i++)
        rebuild_copy(&rewriting.rebuild, func->params.items[i]);
    for (int i = 0; i < func->results.count; i++)
        want(&rewriting, func->results.items[i]);
    rebuild_end(&rewriting.rebuild, func);
}

static bool stream_one(IrFunc *func, int64_t rows)
{
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        Family family;
        if (!is_seed(func, ref) || !choose_family(&family, func, ref, rows))
            continue;
        int64_t most = family.size[family.row];
        IrFunc *copy = arena_copy(func->module->arena, func, sizeof *func); /* the family refers to it */
        family.func = copy;
        rewrite(&family, func, rows > 0 ? rows < most ? rows : most : block_rows(&family));
        return true;
    }
    return false;
}

void pass_stream(IrModule *module, int64_t rows)
{
    int count = module->funcs.count; /* loops that the pass makes come behind */
    for (int i = 0; i < count; i++)
        while (stream_one(module->funcs.items[i], rows))
            continue;
}
