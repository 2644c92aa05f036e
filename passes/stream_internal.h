/* What the files of the streaming pass share.
 *
 * The pass finds *tiles*: values over two large axes, rows and columns (the scores of attention, the logits of a softmax over
 * many classes), that are made element by element of contractions, of values of one axis and of index functions, and are then
 * reduced.  Such a value is never stored.  What needs it is computed block of rows by block of rows, in a loop; a block holds
 * all columns, so that a maximum, an exponential, its sum and a quotient follow one another as they are written, and no rule
 * about softmax is needed.  Derivatives are ordinary nodes by then, so the tangent of attention and its gradient are streamed
 * in the same way; sums over the rows, as gradients by keys and values are, become carries of the loop.
 *
 *   stream_pick.c    items picked one a row, in a form that tiles can take part in
 *   stream_find.c    families of tiles, and the role of each axis of each value
 *   stream_level.c   which values can be computed in one loop: what depends on a tile by way of the rest of the program
 *                    belongs to a later one, which makes the tiles again
 *   stream_ports.c   what each loop reads and gives
 *   stream_block.c   the values of one block
 *   stream_loop.c    the loop over tasks (batch, heads), the loop over blocks of rows, and what comes out of them
 *   stream_pieces.c  loops for what comes out with rows and columns, as the gradient of a bias does
 *   stream_cut.c     what a turn of a loop works on
 *   stream_factor.c  factors that leave contractions
 *   stream.c         the pass
 */
#ifndef CM_PASSES_STREAM_INTERNAL_H
#define CM_PASSES_STREAM_INTERNAL_H

#include "passes/passes.h"
#include "passes/rebuild.h"

/* Rewrites what picks one item of each row of an array of at least so many bytes. */
void stream_picks(IrFunc *func, int64_t least_bytes);

/* ---- families ---- */

enum { ROLE_NONE = -1, STREAM_ROLES = IR_MAX_RANK };

typedef struct Roles { /* of the axes of a value: 0, 1, .. are roles of the family */
    signed char axis[IR_MAX_RANK];
} Roles;

typedef enum StreamClass {
    STREAM_outside, /* computed before or after the loops */
    STREAM_tile,    /* has every role */
    STREAM_part,    /* has rows and columns but not every task, as a causal mask does: what tiles are made of, made with them
                       and in each task anew; whatever else needs it has it made outside */
    STREAM_row,     /* has rows and tasks, and was made of tiles: computed in the loop where tiles need it */
    STREAM_sum,     /* a sum of tiles over rows or tasks */
} StreamClass;

typedef struct StreamNode {
    StreamClass class;
    Roles roles;
    int level;   /* of the loop that computes it; outside: of the last loop it depends on, or -1 */
    bool wanted; /* row: a tile of its own level needs it, or it is what a tile is reduced to */
} StreamNode;

typedef struct StreamSlice { /* a part of an array from outside, as one block sees it */
    IrRef ref;               /* in the program */
    Roles roles;
    IrRef value;
} StreamSlice;
typedef LIST(StreamSlice) StreamSlices;

typedef LIST(IrRef) IrRefs;

typedef struct StreamPorts { /* of a loop */
    StreamSlices inputs;     /* arrays from outside that it reads */
    IrRefs outputs;          /* what it computes and something outside of it reads */
    int contractions;        /* among the tiles that it computes */
} StreamPorts;

typedef struct Family {
    const IrFunc *func;
    StreamNode *node;
    int tasks;                  /* roles 0 .. tasks - 1 */
    int row;                    /* = tasks: the role whose blocks the loop goes over; behind it, columns */
    int roles;                  /* how many */
    int64_t size[STREAM_ROLES]; /* of each */
    int levels;
    int64_t rows;       /* of a block */
    StreamPorts *ports; /* by level */
} Family;

/* The family of the tile `seed`, with the free axes of its left operand as rows, or of its right one; `users` are the readers
 * of each node.  False: its axes do not fit together. */
bool stream_find(Family *family, const IrFunc *func, const IrRefs *users, IrRef seed, bool left_rows);
bool stream_is_streamed(const Family *family, int role); /* a task or the rows */
bool stream_has_rows_and_columns(const Family *family, const Roles *roles);
bool stream_same_roles(const Roles *a, const Roles *b);
int64_t stream_task_count(const Family *family);
/* For a broadcast, a transpose, or a reshape that only adds and leaves out axes of size 1: where each axis of the operand is in
 * the result, -1 where it was left out.  False: it is none of them. */
bool stream_view(const IrFunc *func, const IrNode *node, int *place);
Roles stream_view_roles(const IrFunc *func, const IrNode *view, const int *place, const Roles *roles); /* of its result */
/* How a block has an operand of a node: the roles of its axes that are tasks or rows. */
Roles stream_cut_roles(const Family *family, const IrNode *node, const StreamNode *own, int index);
/* False: a tile needs another one in a way that blocks do not have it. */
bool stream_level(Family *family);
bool stream_in_loop(const Family *family, IrRef ref, int level); /* computed in that loop */
bool stream_is_given(const Family *family, IrRef ref);           /* computed in the loop of its level and nowhere outside */
void stream_ports(Family *family);                               /* fills family->ports */
int stream_place(IrInts axes, int64_t axis);                     /* of the axis among them, or -1 */
bool stream_is_leaf(const IrNode *node);                         /* made where it is needed */

/* ---- loops ---- */

typedef struct StreamLoop {
    const Family *family;
    Arena *arena;
    int level;
    int64_t tasks;   /* how many, all task axes together */
    bool tasks_wait; /* for one another: sums over tasks are carried */
    IrRefs outputs;
    StreamSlices inputs; /* with the values that they have in the function being written */
} StreamLoop;

/* Writes the loops of `level` to `into`; `map` has the arrays that they read, and gets what they compute. */
void stream_loop(const Family *family, int level, IrFunc *into, IrRef *map);
/* Those of its outputs that have rows and columns. */
void stream_pieces(const StreamLoop *loop, const IrRefs *outputs, IrFunc *into, IrRef *map);
/* The outputs for one block of `rows`.  `coordinate`: by role, tasks and rows, an i32 scalar, the first place; -1: 0. */
void stream_compute_block(const StreamLoop *loop, IrFunc *func, StreamSlices *inputs, IrRef *coordinate, int64_t rows,
                          IrRef *out);

/* ---- what a turn works on ---- */

int stream_axis_of(const Roles *roles, int role); /* or -1 */
IrRef stream_scalar(IrFunc *func, int64_t value);
/* The digits of a number, an i32 scalar, of which digit i has size[i] values, the last one the fastest; -1 where that is 1. */
void stream_digits(IrFunc *func, IrRef number, const int64_t *size, int count, IrRef *digit);
IrRef stream_cut(IrFunc *func, IrRef x, int axis, int64_t start, int64_t stop);
void stream_pick_tasks(const Family *family, IrFunc *func, StreamSlices *inputs, const IrRef *coordinate);
void stream_pick_rows(const Family *family, IrFunc *func, StreamSlices *inputs, IrRef first); /* a block from `first` on */
StreamSlices stream_copy_slices(Arena *arena, const StreamSlices *slices);
/* Gives `body` a param for each, of the type that it has in `around`, which becomes its value. */
void stream_take_params(const Family *family, const IrFunc *around, IrFunc *body, StreamSlices *inputs);

/* Takes what is the same along rows or columns out of the contractions and sums of a loop's body. */
void stream_factor(IrFunc *body);

#endif
