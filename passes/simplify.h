/* What the files of the pass `simplify` share.  A rule gives a value with the same bits as the node's, or none (-1); what it
 * built on the way to none is dead. */
#ifndef CM_PASSES_SIMPLIFY_H
#define CM_PASSES_SIMPLIFY_H

#include "passes/rebuild.h"

/* Whether a reshape makes several axes into one (or cuts anew): its operand's place is not an affine form of its own. */
bool simplify_joins(const IrType *from, const IrType *to);
/* A reshape that joins axes, done on the leaves of what it reshapes. */
IrRef simplify_reshape(IrFunc *func, const IrNode *node);
/* A crop of a pad or of a convolution.  `uses`: of each node before the pass; a convolution that somebody sees whole is not
 * done twice. */
IrRef simplify_crop(const Rebuild *rebuild, IrRef ref, const int *uses);

#endif
