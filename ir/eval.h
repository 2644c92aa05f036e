/* Parts of the reference interpreter that its files share: eval.c runs functions, eval_shape.c what moves, reduces and
 * contracts, eval_point.c single elements. */
#ifndef CM_IR_EVAL_H
#define CM_IR_EVAL_H

#include "ir/ir.h"

/* One element: `real` for floats and bool, `integer` for ints. */
typedef struct EvalElement {
    double real;
    int64_t integer;
} EvalElement;

/* A pointwise primitive on elements of type `operand`; not rounded.  NaN, or 0, where the table has no meaning for it. */
double eval_real(IrOp op, double a, double b, double c);
int64_t eval_integer(IrOp op, int64_t a, int64_t b, int64_t c);
bool eval_has_real(IrOp op);
bool eval_has_integer(IrOp op);

int64_t eval_wrap(DType dtype, int64_t value); /* modulo the size of the type */
EvalElement eval_convert(DType from, DType to, EvalElement x, EvalMode mode);
/* One element of a pointwise node with `operand` and `result` types, finished (rounded or wrapped) for the mode. */
EvalElement eval_element(IrOp op, DType operand, DType result, const EvalElement x[3], EvalMode mode);

/* One element in memory in its declared type. */
EvalElement eval_read(DType dtype, const unsigned char *at);
void eval_write(DType dtype, EvalElement value, unsigned char *at);

EvalElement eval_load(const EvalTensor *tensor, int64_t at);
void eval_store(EvalTensor *tensor, int64_t at, EvalElement value);

/* Nodes that are neither pointwise nor control: x are the operands' values. */
EvalTensor eval_shape(Arena *arena, const IrNode *node, const EvalTensor *const *x, EvalMode mode);

#endif
