/* Graph IR: functions over tensors, in static single assignment.
 *
 * A module owns functions; a function is a list of nodes in an order in which each node follows its operands.  A value is
 * the index of its node (IrRef).  Types are positional: an element type and a shape, all sizes known.  The IR is pure:
 * random numbers are a function of (key, index), in-place update is a matter of the memory plan, and every pass builds a
 * new function.  Loops, branches and derivatives refer to other functions of the module, closed over what they capture,
 * so that every transform is from function to function.
 *
 * The set of primitives is ir/prims.def and nothing else; each layer reads the cells it needs from there. */
#ifndef CM_IR_IR_H
#define CM_IR_IR_H

#include "base/arena.h"
#include "base/diag.h"
#include "base/table.h"
#include "base/text.h"

#include <stdbool.h>

/* ---- element types ---- */

typedef enum DType {
#define DTYPE(name, bytes, class) DT_##name,
#include "ir/dtypes.def"
    DT_COUNT
} DType;
typedef enum DTypeClass { CLASS_float, CLASS_int, CLASS_bool } DTypeClass;

const char *dtype_name(DType dtype);
bool dtype_from_name(const char *name, DType *dtype);
int dtype_size(DType dtype);
DTypeClass dtype_class(DType dtype);
static inline bool dtype_is_float(DType dtype) { return dtype_class(dtype) == CLASS_float; }

/* ---- types ---- */

enum { IR_MAX_RANK = 12, IR_MAX_ATTRS = 4 };

typedef struct IrType {
    DType dtype;
    int rank;
    int64_t dim[IR_MAX_RANK];
} IrType;

IrType ir_type(DType dtype, int rank, const int64_t *dim);
IrType ir_scalar(DType dtype);
IrType ir_with_dtype(IrType type, DType dtype);
bool ir_type_equal(const IrType *a, const IrType *b);
bool ir_shape_equal(const IrType *a, const IrType *b);
int64_t ir_element_count(const IrType *type); /* the front end has refused products that overflow 2^48 */
void ir_type_print(const IrType *type, Text *out); /* f32[8,4]; a scalar is f32 */

/* ---- pieces ----
 * The part of an array that one turn of a loop computes.  Pieces have one shape and are counted in row-major order; the last
 * one along an axis reaches back where the size of the axis is no multiple, and what it then has in common with the one before
 * is left as that has written it.  A row of one axis less is a piece of size 1 along the first. */

typedef struct IrPiece {
    int64_t to, from, run; /* elements that lie side by side: where in the array, where in the piece, how many */
    int axes;              /* along which there are more such runs, the innermost first */
    int64_t count[IR_MAX_RANK], at[IR_MAX_RANK], to_step[IR_MAX_RANK], from_step[IR_MAX_RANK];
} IrPiece;

int64_t ir_piece_count(const IrType *whole, const IrType *piece); /* of equal ranks */
IrPiece ir_piece(const IrType *whole, const IrType *piece, int64_t turn); /* its first run */
bool ir_piece_next(IrPiece *piece);                                       /* false: that was the last one */
void ir_piece_store(const IrType *whole, void *to, const IrType *piece, const void *from, int64_t turn); /* dense bytes */

/* ---- primitives ---- */

typedef enum IrOp {
#define OP(name, arity, rule, traits) OP_##name,
#include "ir/prims.def"
    OP_COUNT
} IrOp;

typedef enum IrTrait {
    TRAIT_leaf = 1,        /* no operands */
    TRAIT_pointwise = 2,   /* each element of the result from the same element of each operand */
    TRAIT_view = 4,        /* moves elements, computes nothing (broadcast, transpose, slice ...) */
    TRAIT_reduce = 8,
    TRAIT_contract = 16,   /* dot, conv */
    TRAIT_index = 32,      /* reads or writes at computed places */
    TRAIT_control = 64,    /* refers to functions; its results are read by `get` */
    TRAIT_calculus = 128,  /* to be expanded by the derivative passes */
} IrTrait;

typedef struct IrOpInfo {
    const char *name;
    int arity;                         /* -1: any number */
    unsigned traits;                   /* of IrTrait */
    const char *attrs[IR_MAX_ATTRS];   /* names of its integer-list attributes, in order */
} IrOpInfo;
extern const IrOpInfo ir_op_info[OP_COUNT];
bool ir_op_from_name(const char *name, IrOp *op);
int ir_callee_count(IrOp op); /* 0 to 2 */

/* ---- nodes, functions, modules ---- */

typedef int32_t IrRef; /* index of a node in its function; negative means "none" */
typedef struct IrFunc IrFunc;

typedef struct IrInts {
    int count;
    const int64_t *items;
} IrInts;

typedef struct IrNode {
    IrOp op;
    IrType type; /* of the result; of a control or calculus node: unused, see ir_result_type */
    int operand_count;
    const IrRef *operands;
    IrInts attr[IR_MAX_ATTRS];
    double value;            /* const: every element */
    const void *data;        /* literal: elements in row-major order */
    IrFunc *callee[2];       /* control and calculus */
    bool again;              /* computed a second time, to save memory: not before what stands in front of it */
    const char *name;        /* param: its name; others: the source's name for the value, or null */
    const char *derives;     /* made by the rule of a derivative: the name of the op that it is of; else null.  For people */
    Span span;
} IrNode;

typedef struct IrModule IrModule;

struct IrFunc {
    IrModule *module;
    const char *name;
    LIST(IrNode) nodes;
    LIST(IrRef) params;
    LIST(IrRef) results;
    LIST(const char *) result_names; /* may be empty */
    Span at; /* given to every node that is built; set it before building */
};

struct IrModule {
    Arena *arena;
    LIST(IrFunc *) funcs;
};

IrModule *ir_module_new(Arena *arena);
IrFunc *ir_func_new(IrModule *module, const char *name); /* the name is made unique in the module by a suffix */
IrFunc *ir_func_find(const IrModule *module, const char *name);

static inline IrNode *ir_node(const IrFunc *func, IrRef ref) { return &func->nodes.items[ref]; }
static inline const IrType *ir_type_of(const IrFunc *func, IrRef ref) { return &func->nodes.items[ref].type; }

/* How many results a control or calculus node has, and their types (what `get{index}` yields). */
int ir_result_count(const IrNode *node);
IrType ir_result_type(const IrNode *node, int index);

/* The result type of a node from its operands and attributes, by the rule in the table; or the reason why there is none.
 * Builder and verifier both use it, so a built node verifies.  For ops whose type is free (leaves, cast, broadcast,
 * reshape, random_bits) `node->type` gives the wanted type and is checked. */
const char *ir_infer(Arena *arena, const IrFunc *func, const IrNode *node, IrType *type);

/* ---- building ----
 * Builders infer types and assert on misuse: the front end has checked the user's program before. No operand is
 * broadcast silently: pointwise operands have equal shapes (use ir_broadcast). */

IrRef ir_emit(IrFunc *func, IrNode node); /* copies operand and attribute arrays; fills type and span */
IrRef ir_param(IrFunc *func, IrType type, const char *name);
void ir_result(IrFunc *func, IrRef value, const char *name);
IrRef ir_const(IrFunc *func, IrType type, double value);
IrRef ir_literal(IrFunc *func, IrType type, const void *data);
IrRef ir_iota(IrFunc *func, IrType type, int axis);

IrRef ir_unary(IrFunc *func, IrOp op, IrRef x);
IrRef ir_binary(IrFunc *func, IrOp op, IrRef a, IrRef b);
IrRef ir_select(IrFunc *func, IrRef condition, IrRef yes, IrRef no);
IrRef ir_cast(IrFunc *func, IrRef x, DType dtype);

/* Result axis dims[i] is operand axis i; other result axes repeat the operand. */
IrRef ir_broadcast(IrFunc *func, IrRef x, IrType type, const int64_t *dims);
IrRef ir_broadcast_scalar(IrFunc *func, IrRef x, const IrType *shape); /* keeps x's element type */
IrRef ir_reshape(IrFunc *func, IrRef x, int rank, const int64_t *dim);
IrRef ir_transpose(IrFunc *func, IrRef x, const int64_t *perm); /* result axis i is operand axis perm[i] */
IrRef ir_slice(IrFunc *func, IrRef x, const int64_t *start, const int64_t *stop, const int64_t *step);
IrRef ir_pad(IrFunc *func, IrRef x, const int64_t *lo, const int64_t *hi, const int64_t *inner);
IrRef ir_concat(IrFunc *func, const IrRef *parts, int count, int axis);
IrRef ir_reduce(IrFunc *func, IrOp op, IrRef x, const int64_t *axes, int count);
/* Result axes: batch axes, then lhs's free axes, then rhs's free axes, each in operand order. */
IrRef ir_dot(IrFunc *func, IrRef lhs, IrRef rhs, IrInts lhs_batch, IrInts rhs_batch, IrInts lhs_sum, IrInts rhs_sum);
IrRef ir_conv(IrFunc *func, IrRef x, IrRef w, const int64_t *stride, const int64_t *dilation);
IrRef ir_take(IrFunc *func, IrRef x, IrRef index, int axis, int batch);
IrRef ir_put_add(IrFunc *func, IrRef base, IrRef index, IrRef updates, int axis, int batch);

/* Control: `ir_get` reads results. See ir/prims.def for the operand order of each. */
IrRef ir_call(IrFunc *func, IrFunc *callee, const IrRef *args, int count);
IrRef ir_for(IrFunc *func, IrFunc *body, IrRef trip, int64_t bound, const IrRef *carries, int carry_count,
             const IrRef *captures, int capture_count);
/* Its results are arrays of the sizes `whole`, of which each of `bound` turns computes a piece. */
IrRef ir_for_pieces(IrFunc *func, IrFunc *body, int64_t bound, IrInts whole, const IrRef *captures, int capture_count);
IrRef ir_while(IrFunc *func, IrFunc *condition, IrFunc *body, int64_t bound, const IrRef *carries, int carry_count,
               const IrRef *captures, int capture_count);
IrRef ir_if(IrFunc *func, IrRef condition, IrFunc *yes, IrFunc *no, const IrRef *captures, int capture_count);
IrRef ir_get(IrFunc *func, IrRef node, int index);

/* Copies `callee`'s nodes into `func`, params bound to `args`; writes callee->results.count refs to `results`. */
void ir_inline_call(IrFunc *func, const IrFunc *callee, const IrRef *args, IrRef *results);

/* Makes the function anew with its params first, in that order: refs into it from before mean nothing any more. */
void ir_order_params(IrFunc *func, const IrRef *order);

/* Copies one node of `from` into `func` with operands mapped through `map` (map[old] = new, filled for the operands). */
IrRef ir_copy_node(IrFunc *func, const IrFunc *from, IrRef node, const IrRef *map);

/* ---- text form: docs/ir.md; the printer's output parses back to an equal module ---- */

void ir_print(const IrModule *module, Text *out);
void ir_print_func(const IrFunc *func, Text *out);
IrModule *ir_parse(Arena *arena, const Source *source, DiagSink *diags); /* null after an error */

/* False and one diagnostic (bad_ir) for each broken rule: order of definition, types, attributes, signatures of callees. */
bool ir_verify(const IrModule *module, DiagSink *diags);

/* ---- the reference interpreter: plain, slow, obviously right, never optimised ---- */

typedef enum EvalMode {
    EVAL_declared, /* every value in its declared type: the oracle for generated code */
    EVAL_wide,     /* floats computed in f64, draws made in the declared type and then widened: the oracle for calculus */
} EvalMode;

/* A value of the interpreter: every element as a double, or as an exact integer where the type is one. */
typedef struct EvalTensor {
    IrType type;
    double *real;     /* floats, bool */
    int64_t *integer; /* ints */
} EvalTensor;

EvalTensor eval_tensor_new(Arena *arena, IrType type);
/* Between EvalTensor and dense row-major bytes of the declared type. */
void eval_tensor_read(EvalTensor *tensor, const void *bytes);
void eval_tensor_write(const EvalTensor *tensor, void *bytes);
/* Runs `func`; false if a calculus node is left in it. */
bool ir_eval(Arena *arena, const IrFunc *func, EvalMode mode, const EvalTensor *args, EvalTensor *results);

/* ---- numbers as every backend must compute them (used by the interpreter, constant folding and the tests) ---- */

void philox_4x32_10(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);
void random_fold_in(const uint32_t key[2], uint32_t data, uint32_t out[2]);
double dtype_round(DType dtype, double value); /* to the nearest value of the type (floats), saturating (ints; NaN to 0) */
uint16_t float_to_half(float value);
float half_to_float(uint16_t bits);
uint16_t float_to_bfloat(float value);
float bfloat_to_float(uint16_t bits);

#endif
