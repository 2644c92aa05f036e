/* Loops for results that have rows and columns: the gradient of a bias, or scores that the program returns.
 *
 * Nothing of the size of such a result is to be stored beside it.  So the turns of the loop go over its pieces, which are
 * blocks of rows of each task that it has an axis of; the tasks that it is summed over are a loop within the turn, that carries
 * one piece.  No turn needs anything of another one.  Tiles are made again here, beside the loop for all other results. */
#include "passes/stream_internal.h"

#include <string.h>

typedef struct Pieces {
    StreamLoop loop;
    Roles roles; /* of each output */
    IrType type; /* the same, but for its element type */
} Pieces;

/* The inner tasks are those that the outputs have no axis of. */
static int64_t inner_sizes(const Pieces *pieces, int64_t *size)
{
    const Family *family = pieces->loop.family;
    int64_t tasks = 1;
    for (int role = 0; role < family->tasks; role++) {
        size[role] = stream_axis_of(&pieces->roles, role) < 0 ? family->size[role] : 1;
        tasks *= size[role];
    }
    return tasks;
}

/* Where the piece of turn `turn` begins along tasks and rows.  Axes that have neither are in one piece. */
static void find_piece(const Pieces *pieces, IrFunc *func, IrRef turn, IrRef *coordinate)
{
    const Family *family = pieces->loop.family;
    int64_t size[IR_MAX_RANK], rows = family->size[family->row], last = rows - family->rows;
    IrRef digit[IR_MAX_RANK];
    for (int axis = 0; axis < pieces->type.rank; axis++) {
        int role = pieces->roles.axis[axis];
        size[axis] = !stream_is_streamed(family, role) ? 1
                     : role == family->row             ? (rows + family->rows - 1) / family->rows
                                                       : family->size[role];
    }
    stream_digits(func, turn, size, pieces->type.rank, digit);
    for (int axis = 0; axis < pieces->type.rank; axis++) {
        int role = pieces->roles.axis[axis];
        if (!stream_is_streamed(family, role) || digit[axis] < 0)
            continue;
        coordinate[role] = digit[axis];
        if (role != family->row)
            continue;
        coordinate[role] = ir_binary(func, OP_mul, digit[axis], stream_scalar(func, family->rows));
        if (rows % family->rows)
            coordinate[role] = ir_binary(func, OP_min, coordinate[role], stream_scalar(func, last));
    }
}

static void compute_piece(const Pieces *pieces, IrFunc *func, StreamSlices *inputs, IrRef *coordinate, IrRef *out)
{
    const Family *family = pieces->loop.family;
    if (coordinate[family->row] >= 0)
        stream_pick_rows(family, func, inputs, coordinate[family->row]);
    stream_pick_tasks(family, func, inputs, coordinate);
    stream_compute_block(&pieces->loop, func, inputs, coordinate, family->rows, out);
}

static IrType piece_type(const Pieces *pieces, int output)
{
    const Family *family = pieces->loop.family;
    IrType type = *ir_type_of(family->func, pieces->loop.outputs.items[output]);
    for (int axis = 0; axis < type.rank; axis++)
        if (stream_is_streamed(family, pieces->roles.axis[axis]))
            type.dim[axis] = pieces->roles.axis[axis] == family->row ? family->rows : 1;
    return type;
}

/* The body of the loop over inner tasks: (turn, sums.., the place of the piece.., arrays..) -> (sums..). */
static IrFunc *inner_body(const Pieces *pieces, const IrFunc *around, const StreamSlices *inputs, const IrRef *coordinate)
{
    const Family *family = pieces->loop.family;
    Arena *arena = pieces->loop.arena;
    IrFunc *body = ir_func_new(around->module, "summed");
    IrRef turn = ir_param(body, ir_scalar(DT_i32), "task"), digit[STREAM_ROLES], inner[STREAM_ROLES];
    int count = pieces->loop.outputs.count;
    IrRef *sums = arena_array(arena, IrRef, count + 1), *out = arena_array(arena, IrRef, count + 1);
    int64_t size[STREAM_ROLES];
    for (int i = 0; i < count; i++)
        sums[i] = ir_param(body, piece_type(pieces, i), "sum");
    for (int role = 0; role <= family->row; role++)
        inner[role] = coordinate[role] >= 0 ? ir_param(body, ir_scalar(DT_i32), "place") : -1;
    StreamSlices parts = stream_copy_slices(arena, inputs);
    stream_take_params(family, around, body, &parts);
    inner_sizes(pieces, size);
    stream_digits(body, turn, size, family->tasks, digit);
    for (int role = 0; role < family->tasks; role++)
        inner[role] = size[role] > 1 ? digit[role] : inner[role];
    compute_piece(pieces, body, &parts, inner, out);
    for (int i = 0; i < count; i++)
        ir_result(body, ir_binary(body, OP_add, sums[i], out[i]), NULL);
    return body;
}

static void sum_tasks(const Pieces *pieces, IrFunc *func, const StreamSlices *inputs, const IrRef *coordinate, int64_t tasks,
                      IrRef *out)
{
    const Family *family = pieces->loop.family;
    Arena *arena = pieces->loop.arena;
    IrRefs sums = {0}, captures = {0};
    for (int i = 0; i < pieces->loop.outputs.count; i++)
        list_push(arena, &sums, ir_const(func, piece_type(pieces, i), 0));
    for (int role = 0; role <= family->row; role++)
        if (coordinate[role] >= 0)
            list_push(arena, &captures, coordinate[role]);
    for (int i = 0; i < inputs->count; i++)
        list_push(arena, &captures, inputs->items[i].value);
    IrFunc *body = inner_body(pieces, func, inputs, coordinate);
    IrRef node = ir_for(func, body, stream_scalar(func, tasks), tasks, sums.items, sums.count, captures.items, captures.count);
    for (int i = 0; i < sums.count; i++)
        out[i] = ir_get(func, node, i);
}

/* (turn, arrays..) -> pieces.. */
static IrFunc *piece_body(const Pieces *pieces, const IrFunc *around)
{
    IrFunc *body = ir_func_new(around->module, "pieces");
    IrRef turn = ir_param(body, ir_scalar(DT_i32), "piece"), coordinate[STREAM_ROLES];
    IrRef *out = arena_array(pieces->loop.arena, IrRef, pieces->loop.outputs.count + 1);
    int64_t size[STREAM_ROLES], tasks = inner_sizes(pieces, size);
    StreamSlices inputs = stream_copy_slices(pieces->loop.arena, &pieces->loop.inputs);
    stream_take_params(pieces->loop.family, around, body, &inputs);
    memset(coordinate, -1, sizeof coordinate);
    find_piece(pieces, body, turn, coordinate);
    if (tasks > 1)
        sum_tasks(pieces, body, &inputs, coordinate, tasks, out);
    else
        compute_piece(pieces, body, &inputs, coordinate, out);
    for (int i = 0; i < pieces->loop.outputs.count; i++)
        ir_result(body, out[i], NULL);
    return body;
}

static void loop_over_pieces(const Pieces *pieces, IrFunc *into, IrRef *map)
{
    const StreamLoop *loop = &pieces->loop;
    IrType piece = piece_type(pieces, 0);
    IrRefs arrays = {0};
    for (int i = 0; i < loop->inputs.count; i++)
        list_push(loop->arena, &arrays, loop->inputs.items[i].value);
    IrFunc *body = piece_body(pieces, into);
    IrInts whole = {pieces->type.rank, pieces->type.dim};
    IrRef node = ir_for_pieces(into, body, ir_piece_count(&pieces->type, &piece), whole, arrays.items, arrays.count);
    for (int i = 0; i < loop->outputs.count; i++)
        map[loop->outputs.items[i]] = ir_get(into, node, i);
}

/* Outputs of one shape and the same roles share a loop. */
void stream_pieces(const StreamLoop *loop, const IrRefs *outputs, IrFunc *into, IrRef *map)
{
    const Family *family = loop->family;
    for (int first = 0; first < outputs->count; first++) {
        IrRef seed = outputs->items[first];
        if (map[seed] >= 0)
            continue;
        Pieces pieces = {.loop = *loop, .roles = family->node[seed].roles, .type = *ir_type_of(family->func, seed)};
        pieces.loop.outputs = (IrRefs){0};
        for (int i = first; i < outputs->count; i++) {
            IrRef other = outputs->items[i];
            bool alike = stream_same_roles(&family->node[other].roles, &pieces.roles) &&
                         ir_shape_equal(ir_type_of(family->func, other), &pieces.type);
            if (alike)
                list_push(loop->arena, &pieces.loop.outputs, other);
        }
        loop_over_pieces(&pieces, into, map);
    }
}
