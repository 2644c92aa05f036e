/* Partial derivatives of pointwise primitives, as the cells PARTIALS(d0, d1, d2) of ir/prims.def write them.
 *
 * A cell is an expression of operands and result.  Evaluated, it gives a Partial: a factor for a tangent that is not yet a
 * node, so that factors of one, signs and reciprocals cost no node until they meet the tangent. */
#ifndef CM_PASSES_PARTIALS_H
#define CM_PASSES_PARTIALS_H

#include "ir/ir.h"

typedef enum PartialKind {
    PARTIAL_zero,   /* nothing to follow */
    PARTIAL_number, /* the same number for every element */
    PARTIAL_value,  /* ref */
    PARTIAL_over,   /* one over ref */
    PARTIAL_mask,   /* one where ref (a bool) holds, else zero */
} PartialKind;

typedef struct Partial {
    PartialKind kind;
    bool negative; /* the factor is minus what the rest says */
    double number;
    IrRef ref;
} Partial;

/* The place where a cell is evaluated: the function built into, and the nodes that X0 X1 X2 and Y stand for. */
typedef struct Formula {
    IrFunc *into;
    IrType type; /* of operands and result */
    IrRef x[3];
    IrRef y;
} Formula;

/* The partial derivative of pointwise primitive `op` by operand `operand`. */
Partial partial_of(Formula *formula, IrOp op, int operand);

/* partial * tangent without the partial's sign; none if the partial is zero. */
IrRef partial_times(const Formula *formula, Partial partial, IrRef tangent);

#endif
