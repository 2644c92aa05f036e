/* The facts of prims.def as a table: names, arities, traits, names of attributes. */
#include "ir/ir.h"

#include <string.h>

/* A row is closed by the head of the next one, since the cell with the attributes may be absent; the empty row that the
 * first head closes shares its place with the first primitive, which replaces it. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
const IrOpInfo ir_op_info[OP_COUNT] = {[0] = {0
#define OP(name, arity, rule, traits)                                                                                          \
    }                                                                                                                          \
    , [OP_##name] = {#name, arity, traits
#define ATTRS(...)                                                                                                             \
    ,                                                                                                                          \
    {                                                                                                                          \
        __VA_ARGS__                                                                                                            \
    }
#include "ir/prims.def"
                                       }};
#pragma GCC diagnostic pop

bool ir_op_from_name(const char *name, IrOp *op)
{
    for (int i = 0; i < OP_COUNT; i++) {
        if (!strcmp(name, ir_op_info[i].name)) {
            *op = (IrOp)i;
            return true;
        }
    }
    return false;
}
