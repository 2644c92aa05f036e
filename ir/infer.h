/* Parts of type inference that the rest of ir/ uses. */
#ifndef CM_IR_INFER_H
#define CM_IR_INFER_H

#include "ir/ir.h"

const char *ir_check_type(const IrType *type); /* null, or what is wrong with it: rank, sizes, number of elements */

#endif
