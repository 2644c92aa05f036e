/* The functions behind the rows of builtins.def. */
#ifndef CM_FRONTEND_BUILTINS_H
#define CM_FRONTEND_BUILTINS_H

#include "frontend/elaborate.h"

#define BUILTIN(name, least, most, named, function, usage) BuiltinFunction function;
#include "frontend/builtins.def"

/* A reduction over the axes that argument `index` names, or over all. */
const Value *reduce_argument(Elab *el, Call *call, IrOp op, int index);
/* True if argument `index` names axes of the tensor rather than a number: max(x, C) and max(x, 0). */
bool argument_names_axes(Elab *el, Call *call, int index, const Value *tensor);

#endif
