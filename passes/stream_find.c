/* Families of tiles: from one contraction to all values over the same rows and columns. */
#include "passes/stream_internal.h"

#include <string.h>

typedef struct Finding {
    Family *family;
    const IrRefs *users; /* by node */
    IrRefs open;         /* tiles and parts whose neighbours have not been looked at */
    bool *barred;        /* by node: wanted in two ways, so that it cannot be a part */
    bool failed;
} Finding;

bool stream_same_roles(const Roles *a, const Roles *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

bool stream_is_streamed(const Family *family, int role)
{
    return role >= 0 && role <= family->row;
}

bool stream_has_rows_and_columns(const Family *family, const Roles *roles)
{
    bool rows = false, columns = false;
    for (int axis = 0; axis < IR_MAX_RANK; axis++) {
        rows |= roles->axis[axis] == family->row;
        columns |= roles->axis[axis] > family->row;
    }
    return rows && columns;
}

int64_t stream_task_count(const Family *family)
{
    int64_t tasks = 1;
    for (int role = 0; role < family->tasks; role++)
        tasks *= family->size[role];
    return tasks;
}

static Roles no_roles(void)
{
    Roles roles;
    memset(&roles, ROLE_NONE, sizeof roles);
    return roles;
}

int stream_place(IrInts axes, int64_t axis)
{
    for (int i = 0; i < axes.count; i++)
        if (axes.items[i] == axis)
            return i;
    return -1;
}

/* ---- views ---- */

/* Other axes in their order, and axes of size 1 wherever they are. */
static bool reshape_axes(const IrType *from, const IrType *type, int *place)
{
    int next = 0;
    for (int axis = 0; axis < from->rank; axis++) {
        while (next < type->rank && type->dim[next] == 1 && from->dim[axis] != 1)
            next++;
        bool same = next < type->rank && type->dim[next] == from->dim[axis];
        if (!same && from->dim[axis] != 1)
            return false;
        place[axis] = same ? next++ : -1;
    }
    while (next < type->rank && type->dim[next] == 1)
        next++;
    return next == type->rank;
}

bool stream_view(const IrFunc *func, const IrNode *node, int *place)
{
    const IrType *from = ir_type_of(func, node->operands[0]);
    if (node->op == OP_reshape)
        return reshape_axes(from, &node->type, place);
    for (int axis = 0; axis < from->rank; axis++) {
        if (node->op == OP_broadcast)
            place[axis] = (int)node->attr[0].items[axis];
        else if (node->op == OP_transpose)
            place[node->attr[0].items[axis]] = axis;
        else
            return false;
    }
    return node->op == OP_broadcast || node->op == OP_transpose;
}

/* ---- roles of operands ---- */

/* The result's axes are the batch axes, those of the left operand that are left, those of the right one that are. */
static Roles dot_operand_roles(const Family *family, const IrNode *node, int side, const Roles *roles)
{
    IrInts batch = node->attr[side], sum = node->attr[2 + side];
    const IrType *left = ir_type_of(family->func, node->operands[0]), *type = ir_type_of(family->func, node->operands[side]);
    int next = node->attr[0].count;
    Roles found = no_roles();
    if (side)
        next += left->rank - node->attr[0].count - node->attr[2].count;
    for (int axis = 0; axis < type->rank; axis++) {
        int pair = stream_place(batch, axis);
        if (pair >= 0)
            found.axis[axis] = roles->axis[pair];
        else if (stream_place(sum, axis) < 0)
            found.axis[axis] = roles->axis[next++];
    }
    return found;
}

/* The places of an index stand where the axis was that they pick from. */
static Roles take_operand_roles(const Family *family, const IrNode *node, int side, const Roles *roles)
{
    int picked = (int)node->attr[0].items[0], batch = (int)node->attr[1].items[0];
    int places = ir_type_of(family->func, node->operands[1])->rank - batch;
    Roles found = no_roles();
    for (int axis = 0; axis < ir_type_of(family->func, node->operands[side])->rank; axis++) {
        if (side)
            found.axis[axis] = roles->axis[axis < batch ? axis : picked + axis - batch];
        else if (axis != picked)
            found.axis[axis] = roles->axis[axis < picked ? axis : axis + places - 1];
    }
    return found;
}

/* By the roles of what is added; the table itself is made anew in each block. */
static Roles put_operand_roles(const Family *family, const IrNode *node, int index)
{
    int axis = (int)node->attr[0].items[0], batch = (int)node->attr[1].items[0];
    const Roles *added = &family->node[node->operands[2]].roles;
    Roles found = no_roles();
    if (index == 2)
        return *added;
    for (int i = 0; i < ir_type_of(family->func, node->operands[1])->rank; i++)
        found.axis[i] = added->axis[i < batch ? i : axis + i - batch];
    return found;
}

/* None for axes that vanish. */
static Roles reduced_operand_roles(const Family *family, const IrNode *node, const Roles *roles)
{
    Roles found = no_roles();
    int next = 0;
    for (int axis = 0; axis < ir_type_of(family->func, node->operands[0])->rank; axis++)
        if (stream_place(node->attr[0], axis) < 0)
            found.axis[axis] = roles->axis[next++];
    return found;
}

/* None for axes that vanish. */
static Roles operand_roles(const Family *family, const IrNode *node, int index, const Roles *roles)
{
    Roles found = no_roles();
    if (ir_op_info[node->op].traits & TRAIT_pointwise)
        return *roles;
    if (node->op == OP_dot)
        return dot_operand_roles(family, node, index, roles);
    if (node->op == OP_take)
        return take_operand_roles(family, node, index, roles);
    if (node->op == OP_put_add && index)
        return put_operand_roles(family, node, index);
    if (node->op == OP_put_add)
        return *roles;
    if ((ir_op_info[node->op].traits & TRAIT_reduce) && node->op != OP_cumsum)
        return reduced_operand_roles(family, node, roles);
    int place[IR_MAX_RANK];
    bool view = stream_view(family->func, node, place);
    for (int axis = 0; view && axis < ir_type_of(family->func, node->operands[0])->rank; axis++)
        found.axis[axis] = place[axis] < 0 ? ROLE_NONE : roles->axis[place[axis]];
    return found;
}

/* Where a sum goes over rows or tasks, both operands of a contraction are cut along them. */
Roles stream_cut_roles(const Family *family, const IrNode *node, const StreamNode *own, int index)
{
    Roles roles = operand_roles(family, node, index, &own->roles);
    const StreamNode *other = node->op == OP_dot ? &family->node[node->operands[!index]] : NULL;
    bool pairs = own->class == STREAM_sum && other && other->class != STREAM_outside;
    for (int pair = 0; pairs && pair < node->attr[2].count; pair++)
        roles.axis[node->attr[2 + index].items[pair]] = other->roles.axis[node->attr[3 - index].items[pair]];
    for (int axis = 0; axis < IR_MAX_RANK; axis++)
        if (!stream_is_streamed(family, roles.axis[axis]))
            roles.axis[axis] = ROLE_NONE;
    return roles;
}

/* ---- growing ---- */

/* Its operands have its axes, or some of them. */
static bool passes_roles(const IrFunc *func, const IrNode *node)
{
    int place[IR_MAX_RANK];
    return (ir_op_info[node->op].traits & TRAIT_pointwise) || (node->operand_count == 1 && stream_view(func, node, place));
}

/* Can be made for one block: what it is made of can be cut in the same way. Random bits are a function of their numbers; what
 * is looked up in a table smaller than itself, of places that can be cut. */
static bool can_be_tile(const IrFunc *func, const IrNode *node)
{
    bool looked_up =
        node->op == OP_take && ir_element_count(ir_type_of(func, node->operands[0])) < ir_element_count(&node->type);
    bool numbered = node->op == OP_random_bits && ir_element_count(&node->type) <= UINT32_MAX;
    return stream_is_leaf(node) || numbered || looked_up || node->op == OP_dot || passes_roles(func, node);
}

static void mark(Finding *finding, IrRef ref, StreamClass class, const Roles *roles)
{
    StreamNode *node = &finding->family->node[ref];
    if (node->class == STREAM_outside && !finding->barred[ref]) {
        node->class = class;
        node->roles = *roles;
        list_push(finding->family->func->module->arena, &finding->open, ref);
    } else if (!stream_same_roles(&node->roles, roles)) {
        finding->failed |= node->class == STREAM_tile;
        finding->barred[ref] = true;
        node->class = node->class == STREAM_part ? STREAM_outside : node->class;
    }
}

static bool has_every_element(const Family *family, IrRef a, IrRef b)
{
    return ir_element_count(ir_type_of(family->func, a)) == ir_element_count(ir_type_of(family->func, b));
}

/* A contraction is made once and not in each task: it is no part. */
static void look_at_operand(Finding *finding, IrRef ref, int index)
{
    const Family *family = finding->family;
    const IrNode *node = ir_node(family->func, ref), *operand = ir_node(family->func, node->operands[index]);
    Roles wanted = operand_roles(family, node, index, &family->node[ref].roles);
    if (!can_be_tile(family->func, operand))
        return;
    if (has_every_element(family, node->operands[index], ref) && family->node[ref].class == STREAM_tile)
        mark(finding, node->operands[index], STREAM_tile, &wanted);
    else if (operand->op != OP_dot && stream_has_rows_and_columns(family, &wanted))
        mark(finding, node->operands[index], STREAM_part, &wanted);
}

Roles stream_view_roles(const IrFunc *func, const IrNode *view, const int *place, const Roles *roles)
{
    Roles given = no_roles();
    for (int axis = 0; axis < ir_type_of(func, view->operands[0])->rank; axis++)
        if (place[axis] >= 0)
            given.axis[place[axis]] = roles->axis[axis];
    return given;
}

static void look_at_users(Finding *finding, IrRef ref)
{
    const Family *family = finding->family;
    const Roles roles = family->node[ref].roles;
    for (int i = 0; i < finding->users[ref].count; i++) {
        IrRef user = finding->users[ref].items[i];
        const IrNode *reader = ir_node(family->func, user);
        Roles given = roles;
        int place[IR_MAX_RANK];
        bool view = has_every_element(family, user, ref) && stream_view(family->func, reader, place);
        if (view)
            given = stream_view_roles(family->func, reader, place, &roles);
        if (reader->op == OP_put_add && reader->operands[2] == ref)
            look_at_operand(finding, user, 1);
        if (view || (ir_op_info[reader->op].traits & TRAIT_pointwise))
            mark(finding, user, STREAM_tile, &given);
    }
}

static void look_around(Finding *finding, IrRef ref)
{
    const IrNode *node = ir_node(finding->family->func, ref);
    for (int i = 0; i < node->operand_count && passes_roles(finding->family->func, node); i++)
        look_at_operand(finding, ref, i);
    if (node->op == OP_take)
        look_at_operand(finding, ref, 1);
    if (finding->family->node[ref].class == STREAM_tile)
        look_at_users(finding, ref);
}

/* What a contraction sums, and the table that is looked up, must not be parts. */
static void bar_uncut_operands(Finding *finding)
{
    Family *family = finding->family;
    for (IrRef ref = 0; ref < family->func->nodes.count; ref++) {
        const IrNode *node = ir_node(family->func, ref);
        for (int i = 0;
             i < node->operand_count && family->node[ref].class != STREAM_outside && !passes_roles(family->func, node); i++) {
            StreamNode *operand = &family->node[node->operands[i]];
            if (operand->class == STREAM_part && (node->op == OP_dot || i == 0))
                operand->class = STREAM_outside;
        }
    }
}

/* ---- the roles of a contraction ---- */

/* Tasks first: the batch axes, and the row axes but for the largest; then the rows; then columns.  Tasks of which there is
 * one have no role, as views may leave out their axes. */
static bool name_roles(Family *family, const IrNode *seed, bool left_rows, Roles *roles)
{
    int batch = seed->attr[0].count;
    int left = ir_type_of(family->func, seed->operands[0])->rank - batch - seed->attr[2].count;
    int first = left_rows ? batch : batch + left, end = left_rows ? batch + left : seed->type.rank;
    int rows = first;
    if (first == end || end - first == seed->type.rank - batch)
        return false; /* no rows, or no columns */
    for (int axis = first; axis < end; axis++)
        rows = seed->type.dim[axis] > seed->type.dim[rows] ? axis : rows;
    *roles = no_roles();
    int next = 0;
    for (int turn = 0; turn < 3; turn++) {
        for (int axis = 0; axis < seed->type.rank; axis++) {
            bool of_rows = axis >= first && axis < end, task = axis < batch || (of_rows && axis != rows);
            if ((turn == 0 && (!task || seed->type.dim[axis] == 1)) || (turn == 1 && axis != rows) ||
                (turn == 2 && (task || axis == rows)))
                continue;
            if (turn == 1)
                family->row = family->tasks = next;
            family->size[next] = seed->type.dim[axis];
            roles->axis[axis] = (signed char)next++;
        }
    }
    family->roles = next;
    return true;
}

bool stream_find(Family *family, const IrFunc *func, const IrRefs *users, IrRef seed, bool left_rows)
{
    *family = (Family){.func = func, .node = arena_array(func->module->arena, StreamNode, func->nodes.count + 1)};
    Roles roles;
    if (!name_roles(family, ir_node(func, seed), left_rows, &roles))
        return false;
    Finding finding = {.family = family, .users = users};
    finding.barred = arena_array(func->module->arena, bool, func->nodes.count + 1);
    mark(&finding, seed, STREAM_tile, &roles);
    for (int i = 0; i < finding.open.count && !finding.failed; i++)
        look_around(&finding, finding.open.items[i]);
    bar_uncut_operands(&finding);
    return !finding.failed;
}
