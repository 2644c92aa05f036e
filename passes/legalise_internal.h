/* What the files of the legalising pass share. */
#ifndef CM_PASSES_LEGALISE_INTERNAL_H
#define CM_PASSES_LEGALISE_INTERNAL_H

#include "passes/passes.h"

/* A convolution with stride 1 of an array with zeros between its elements, as convolutions of the array; none if it is none. */
IrRef legalise_spread_conv(IrFunc *out, const IrFunc *func, const IrNode *conv, const IrRef *map);

#endif
