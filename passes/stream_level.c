/* Levels: in which loop each value of a family is computed.
 *
 * A loop computes what follows from tiles by steps that stay within a row.  What comes back to a tile by another way, through
 * a sum over rows or through the rest of the program, is known only after that loop: it belongs to the next. */
#include "passes/stream_internal.h"

#include <string.h>

static const StreamNode *operand_of(const Family *family, const IrNode *node, int index)
{
    return &family->node[node->operands[index]];
}

static bool is_made_again(const StreamNode *node) /* in each loop that needs it */
{
    return node->class == STREAM_tile || node->class == STREAM_part;
}

static bool is_inner(const StreamNode *node)
{
    return is_made_again(node) || node->class == STREAM_row;
}

/* The block of the operand is the part that the node's block needs: the maximum of a row is no maximum of a column, even where
 * there are as many rows as columns. */
static bool is_cut_alike(const Family *family, const IrNode *node, const StreamNode *own, int index)
{
    const StreamNode *operand = operand_of(family, node, index);
    Roles wanted = stream_cut_roles(family, node, own, index);
    for (int axis = 0; axis < ir_type_of(family->func, node->operands[index])->rank; axis++) {
        int role = operand->roles.axis[axis];
        if (wanted.axis[axis] != (stream_is_streamed(family, role) ? role : ROLE_NONE))
            return false;
    }
    return true;
}

/* What the node has to wait for. */
static int level_of(const Family *family, const IrNode *node, const StreamNode *own)
{
    int level = 0;
    for (int i = 0; i < node->operand_count; i++) {
        const StreamNode *operand = operand_of(family, node, i);
        bool same_loop = is_inner(operand) && (is_made_again(operand) || is_cut_alike(family, node, own, i));
        int from = same_loop ? operand->level : operand->level + 1;
        level = from > level ? from : level;
    }
    return level;
}

static int last_level(const Family *family, const IrNode *node)
{
    int level = -1;
    for (int i = 0; i < node->operand_count; i++)
        level = operand_of(family, node, i)->level > level ? operand_of(family, node, i)->level : level;
    return level;
}

/* ---- roles of results ---- */

typedef struct Result {
    Roles roles;
    bool sums;  /* over rows or tasks */
    bool unfit; /* cannot be computed block by block */
} Result;

static void give_role(Result *result, int axis, int role)
{
    result->roles.axis[axis] = (signed char)role;
    for (int other = 0; other < axis; other++)
        result->unfit |= role != ROLE_NONE && result->roles.axis[other] == role;
}

static void reduce_result(const Family *family, const IrNode *node, Result *result)
{
    const StreamNode *operand = operand_of(family, node, 0);
    int rank = ir_type_of(family->func, node->operands[0])->rank, next = 0;
    for (int axis = 0; axis < rank; axis++) {
        if (stream_place(node->attr[0], axis) < 0)
            give_role(result, next++, operand->roles.axis[axis]);
        else if (stream_is_streamed(family, operand->roles.axis[axis]))
            result->sums = true;
    }
    result->unfit |= result->sums && node->op != OP_sum;
}

/* The role that a pair of axes has: that of the side which is computed here; both must agree. */
static int pair_role(const Family *family, const IrNode *node, int left, int right, Result *result)
{
    const StreamNode *a = operand_of(family, node, 0), *b = operand_of(family, node, 1);
    int role_a = is_inner(a) ? a->roles.axis[left] : ROLE_NONE, role_b = is_inner(b) ? b->roles.axis[right] : ROLE_NONE;
    if (is_inner(a) && is_inner(b) && role_a != role_b)
        result->unfit = true;
    return is_inner(a) ? role_a : role_b;
}

static void free_axes(const Family *family, const IrNode *node, int side, int *next, Result *result)
{
    const StreamNode *operand = operand_of(family, node, side);
    int rank = ir_type_of(family->func, node->operands[side])->rank;
    for (int axis = 0; axis < rank; axis++)
        if (stream_place(node->attr[side], axis) < 0 && stream_place(node->attr[2 + side], axis) < 0)
            give_role(result, (*next)++, is_inner(operand) ? operand->roles.axis[axis] : ROLE_NONE);
}

static void dot_result(const Family *family, const IrNode *node, Result *result)
{
    int next = 0;
    for (int i = 0; i < node->attr[0].count; i++)
        give_role(result, next++, pair_role(family, node, (int)node->attr[0].items[i], (int)node->attr[1].items[i], result));
    for (int i = 0; i < node->attr[2].count; i++) {
        int role = pair_role(family, node, (int)node->attr[2].items[i], (int)node->attr[3].items[i], result);
        result->sums |= stream_is_streamed(family, role);
    }
    free_axes(family, node, 0, &next, result);
    free_axes(family, node, 1, &next, result);
}

/* Tiles that are added to zeros.  What is added at places of an axis vanishes in the axis that they stand for. */
static void put_result(const Family *family, const IrNode *node, Result *result)
{
    const IrNode *base = ir_node(family->func, node->operands[0]);
    const StreamNode *added = operand_of(family, node, 2);
    int axis = (int)node->attr[0].items[0], batch = (int)node->attr[1].items[0];
    int places = ir_type_of(family->func, node->operands[1])->rank - batch;
    result->unfit |= base->op != OP_const || base->value != 0 || added->class != STREAM_tile;
    for (int i = 0; i < node->type.rank; i++)
        if (i != axis)
            give_role(result, i, added->roles.axis[i < axis ? i : i + places - 1]);
    for (int i = axis; i < axis + places; i++)
        result->sums |= stream_is_streamed(family, added->roles.axis[i]);
}

static void same_roles(const Family *family, const IrNode *node, Result *result)
{
    bool first = true;
    for (int i = 0; i < node->operand_count; i++) {
        const StreamNode *operand = operand_of(family, node, i);
        if (!is_inner(operand))
            continue;
        result->unfit |= !first && !stream_same_roles(&result->roles, &operand->roles);
        result->roles = operand->roles;
        first = false;
    }
}

static Result result_of(const Family *family, const IrNode *node)
{
    Result result = {.unfit = false};
    unsigned traits = ir_op_info[node->op].traits;
    memset(&result.roles, ROLE_NONE, sizeof result.roles);
    int place[IR_MAX_RANK];
    if (traits & TRAIT_pointwise)
        same_roles(family, node, &result);
    else if (node->op == OP_dot)
        dot_result(family, node, &result);
    else if (node->op == OP_put_add)
        put_result(family, node, &result);
    else if ((traits & TRAIT_reduce) && node->op != OP_cumsum)
        reduce_result(family, node, &result);
    else if (stream_view(family->func, node, place))
        result.roles = stream_view_roles(family->func, node, place, &operand_of(family, node, 0)->roles);
    else
        result.unfit = true;
    return result;
}

/* ---- classes ---- */

static bool has_streamed_roles(const Family *family, const Roles *roles)
{
    bool seen[STREAM_ROLES] = {false};
    for (int axis = 0; axis < IR_MAX_RANK; axis++)
        if (roles->axis[axis] != ROLE_NONE)
            seen[roles->axis[axis]] = true;
    for (int role = 0; role <= family->row; role++)
        if (!seen[role])
            return false;
    return true;
}

static void classify(Family *family, IrRef ref)
{
    const IrNode *node = ir_node(family->func, ref);
    StreamNode *own = &family->node[ref];
    bool inner = false, tile = false;
    for (int i = 0; i < node->operand_count; i++) {
        inner |= is_inner(operand_of(family, node, i));
        tile |= operand_of(family, node, i)->class == STREAM_tile;
    }
    if (is_made_again(own)) {
        own->level = level_of(family, node, own);
        return;
    }
    own->level = last_level(family, node);
    Result result = {.unfit = true};
    if (inner)
        result = result_of(family, node);
    if (result.unfit || (result.sums && !tile) || (!result.sums && !has_streamed_roles(family, &result.roles)))
        return;
    own->class = result.sums ? STREAM_sum : STREAM_row;
    own->roles = result.roles;
    own->level = level_of(family, node, own);
    own->wanted = tile;
}

/* Row values are computed in a loop for the sake of tiles, or because tiles end in them; all others can as well be outside. */
static void choose_rows(Family *family)
{
    for (IrRef ref = family->func->nodes.count - 1; ref >= 0; ref--) {
        const IrNode *node = ir_node(family->func, ref);
        const StreamNode *own = &family->node[ref];
        if (!is_made_again(own) && own->class != STREAM_sum && !(own->class == STREAM_row && own->wanted))
            continue;
        for (int i = 0; i < node->operand_count; i++) {
            StreamNode *operand = &family->node[node->operands[i]];
            if (operand->class == STREAM_row && operand->level == own->level)
                operand->wanted = true;
        }
    }
}

/* Tiles are made again in each loop, from tiles that must be cut as theirs are. */
static bool tiles_fit(const Family *family)
{
    for (IrRef ref = 0; ref < family->func->nodes.count; ref++) {
        const IrNode *node = ir_node(family->func, ref);
        const StreamNode *own = &family->node[ref];
        for (int i = 0; is_made_again(own) && i < node->operand_count; i++)
            if (is_made_again(operand_of(family, node, i)) && !is_cut_alike(family, node, own, i))
                return false;
    }
    return true;
}

bool stream_level(Family *family)
{
    family->levels = 0;
    for (IrRef ref = 0; ref < family->func->nodes.count; ref++)
        classify(family, ref);
    choose_rows(family);
    for (IrRef ref = 0; ref < family->func->nodes.count; ref++) {
        const StreamNode *node = &family->node[ref];
        if (stream_is_given(family, ref) && node->level >= family->levels)
            family->levels = node->level + 1;
    }
    return family->levels > 0 && tiles_fit(family);
}

bool stream_in_loop(const Family *family, IrRef ref, int level)
{
    const StreamNode *node = &family->node[ref];
    if (is_made_again(node))
        return node->level <= level;
    return node->level == level && (node->class == STREAM_sum || (node->class == STREAM_row && node->wanted));
}

bool stream_is_given(const Family *family, IrRef ref)
{
    const StreamNode *node = &family->node[ref];
    return node->class != STREAM_part && stream_in_loop(family, ref, node->level);
}
