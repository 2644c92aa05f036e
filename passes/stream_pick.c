/* Items at computed places, written so that tiles can take part in them.
 *
 * What is picked one a row, as the logit of a label is, becomes a comparison with the places along the row: take of a computed
 * array is the sum of what is at the place and of zeros; put_add to zeros is a select, to a computed array an addition.
 *
 * What is added to a table, as the gradient of a bias that was looked up is, becomes an addition to zeros: a sum over whatever
 * is added, and so of one block after another.  If that is a sum itself, say over heads, what it sums is added to the table. */
#include "passes/stream_internal.h"

/* ---- rows ---- */

/* One place for each row, along the last axis. */
static bool picks_one_a_row(const IrFunc *func, const IrNode *node, const IrType *array)
{
    int last = array->rank - 1;
    return node->attr[0].items[0] == last && node->attr[1].items[0] == last &&
           ir_type_of(func, node->operands[1])->rank == last;
}

static bool is_computed(const IrNode *node)
{
    return node->op == OP_dot || (ir_op_info[node->op].traits & TRAIT_pointwise);
}

static bool is_zero(const IrNode *node)
{
    return node->op == OP_const && node->value == 0;
}

/* What a row has, for each item of it. */
static IrRef along_row(IrFunc *func, IrRef x, const IrType *type)
{
    int64_t axes[IR_MAX_RANK];
    for (int i = 0; i < IR_MAX_RANK; i++)
        axes[i] = i;
    return ir_broadcast(func, x, ir_with_dtype(*type, ir_type_of(func, x)->dtype), axes);
}

/* Where an array of the type has the picked items: bool. */
static IrRef is_picked(IrFunc *func, IrRef place, const IrType *type)
{
    IrType places = ir_with_dtype(*type, ir_type_of(func, place)->dtype);
    return ir_binary(func, OP_eq, ir_iota(func, places, type->rank - 1), along_row(func, place, type));
}

static IrRef written_anew(Rebuild *rebuild, const IrNode *node)
{
    IrFunc *into = rebuild->into;
    bool takes = node->op == OP_take;
    IrType type = takes ? *ir_type_of(rebuild->from, node->operands[0]) : node->type;
    int64_t last = type.rank - 1;
    into->at = node->span;
    IrRef picked = is_picked(into, rebuild->map[node->operands[1]], &type), zeros = ir_const(into, type, 0);
    if (takes)
        return ir_reduce(into, OP_sum, ir_select(into, picked, rebuild->map[node->operands[0]], zeros), &last, 1);
    IrRef put = ir_select(into, picked, along_row(into, rebuild->map[node->operands[2]], &type), zeros);
    bool alone = is_zero(ir_node(rebuild->from, node->operands[0]));
    return alone ? put : ir_binary(into, OP_add, rebuild->map[node->operands[0]], put);
}

/* ---- tables ---- */

static int64_t bytes_of(const IrType *type)
{
    return ir_element_count(type) * dtype_size(type->dtype);
}

/* Summed axes of what is added have to lie among the axes of places, of which they become more. */
static bool sums_among_places(const IrFunc *func, const IrNode *node)
{
    const IrNode *updates = ir_node(func, node->operands[2]);
    int axis = (int)node->attr[0].items[0], batch = (int)node->attr[1].items[0], kept = 0;
    int places = ir_type_of(func, node->operands[1])->rank - batch;
    if (updates->op != OP_sum)
        return false;
    for (int i = 0; i < ir_type_of(func, updates->operands[0])->rank; i++) {
        bool summed = stream_place(updates->attr[0], i) >= 0;
        if (summed && (kept < axis || kept > axis + places))
            return false;
        kept += !summed;
    }
    return true;
}

/* Places for what is summed: the same for all that makes up one sum. */
static IrRef places_of_summed(Rebuild *rebuild, const IrNode *node)
{
    const IrNode *updates = ir_node(rebuild->from, node->operands[2]);
    const IrType *index = ir_type_of(rebuild->from, node->operands[1]), *all = ir_type_of(rebuild->from, updates->operands[0]);
    int axis = (int)node->attr[0].items[0], batch = (int)node->attr[1].items[0];
    int inserted = index->rank - batch + updates->attr[0].count, next = 0;
    IrType type = {.dtype = index->dtype};
    int64_t dims[IR_MAX_RANK];
    for (int i = 0; i < batch; i++) {
        type.dim[type.rank++] = index->dim[i];
        dims[next++] = i;
    }
    for (int i = axis; i < axis + inserted; i++) {
        if (stream_place(updates->attr[0], i) < 0)
            dims[next++] = type.rank;
        type.dim[type.rank++] = all->dim[i];
    }
    return ir_broadcast(rebuild->into, rebuild->map[node->operands[1]], type, dims);
}

static IrRef added_to_zeros(Rebuild *rebuild, const IrNode *node)
{
    IrFunc *into = rebuild->into;
    const IrNode *updates = ir_node(rebuild->from, node->operands[2]);
    IrRef base = rebuild->map[node->operands[0]], index = rebuild->map[node->operands[1]],
          added = rebuild->map[node->operands[2]];
    into->at = node->span;
    if (sums_among_places(rebuild->from, node)) {
        index = places_of_summed(rebuild, node);
        added = rebuild->map[updates->operands[0]];
    }
    IrRef sum =
        ir_put_add(into, ir_const(into, node->type, 0), index, added, (int)node->attr[0].items[0], (int)node->attr[1].items[0]);
    return is_zero(ir_node(rebuild->from, node->operands[0])) ? sum : ir_binary(into, OP_add, base, sum);
}

static bool adds_much(const IrFunc *func, const IrNode *node, int64_t least_bytes)
{
    if (node->op != OP_put_add)
        return false;
    const IrType *added = ir_type_of(func, node->operands[2]);
    return bytes_of(added) >= least_bytes && ir_element_count(added) > ir_element_count(&node->type);
}

/* ---- the pass over a function ---- */

static bool is_to_be_written_anew(const IrFunc *func, const IrNode *node, int64_t least_bytes)
{
    if (node->op != OP_take && node->op != OP_put_add)
        return false;
    const IrNode *array = ir_node(func, node->operands[0]);
    bool fits = is_computed(array) || (node->op == OP_put_add && (stream_is_leaf(array) || array->op == OP_broadcast));
    return fits && picks_one_a_row(func, node, &array->type) && bytes_of(&array->type) >= least_bytes;
}

void stream_picks(IrFunc *func, int64_t least_bytes)
{
    bool any = false;
    for (IrRef ref = 0; ref < func->nodes.count; ref++)
        any |= is_to_be_written_anew(func, ir_node(func, ref), least_bytes) || adds_much(func, ir_node(func, ref), least_bytes);
    if (!any)
        return;
    Rebuild rebuild = rebuild_begin(func);
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        const IrNode *node = ir_node(func, ref);
        if (is_to_be_written_anew(func, node, least_bytes))
            rebuild.map[ref] = written_anew(&rebuild, node);
        else if (adds_much(func, node, least_bytes))
            rebuild.map[ref] = added_to_zeros(&rebuild, node);
        else
            rebuild_copy(&rebuild, ref);
    }
    rebuild_end(&rebuild, func);
}
