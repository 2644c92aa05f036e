/* Parts of type inference that its files, the parser and the verifier share. */
#ifndef CM_IR_INFER_H
#define CM_IR_INFER_H

#include "ir/ir.h"

#define IR_SIZE_LIMIT ((int64_t)1 << 48)

typedef struct Infer {
    Arena *arena;
    const IrFunc *func;
    const IrNode *node;
    const IrType *x[3]; /* types of the first operands */
    IrType *type;
} Infer;

const char *ir_check_type(const IrType *type); /* null, or what is wrong with it: rank, sizes, number of elements */
const char *infer_type_text(Infer *in, const IrType *type);
const char *infer_want_number(Infer *in, int attr, int64_t lo, int64_t hi); /* the attribute is one number in lo..hi */
const char *infer_control(Infer *in);

#endif
