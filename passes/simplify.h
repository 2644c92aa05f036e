/* What the files of the simplify pass share: each looks at one node, whose operands are simple already, and gives another
 * value with the same bits, or -1. */
#ifndef CM_PASSES_SIMPLIFY_H
#define CM_PASSES_SIMPLIFY_H

#include "ir/ir.h"

/* The node, or what it has become by any of the rules. Rules apply it to the nodes that they build. */
IrRef simplify_ref(IrFunc *func, IrRef ref);

IrRef simplify_fold(IrFunc *func, const IrNode *node);      /* of constants */
IrRef simplify_algebra(IrFunc *func, const IrNode *node);   /* pointwise */
IrRef simplify_view(IrFunc *func, const IrNode *node);      /* views, and pointwise nodes of repeated operands */
IrRef simplify_reduction(IrFunc *func, const IrNode *node); /* over no axes, or over axes of size 1 */

/* A reshape that joins axes, done on the leaves of what it reshapes. */
IrRef simplify_reshape(IrFunc *func, const IrNode *node);

/* `uses`: of what is cropped, before the pass: a convolution that somebody sees whole is not done twice. */
IrRef simplify_crop(IrFunc *func, IrRef ref, int uses);

#endif
