/* What expand.c, expand_math.c and expand_fast.c share: building the replacement of one instruction. */
#ifndef CM_PASSES_EXPAND_INTERNAL_H
#define CM_PASSES_EXPAND_INTERNAL_H

#include "passes/passes.h"

/* `real` is the type that the function is computed in, `bits` the integer of its size. */
typedef struct Expander {
    Arena *arena;
    KStage *stage; /* the stage being built */
    int part;      /* first instruction of the part being built: body or tail */
    DType real, bits;
    bool wide;    /* real is f64 */
    bool shorten; /* short polynomials are wanted */
    bool fast;    /* and real has them */
} Expander;

/* Appends, or finds an equal instruction of this part. */
KRef expand_push(Expander *e, KInst inst);
KRef expand_op(Expander *e, int op, DType dtype, KRef a, KRef b, KRef c);
KRef expand_real(Expander *e, double value);
KRef expand_bits(Expander *e, int64_t value);

/* The expansion of a pointwise function of `e->real` operands; negative: there is none, it is printed as it is. */
KRef expand_function(Expander *e, int op, const KRef *args);

/* The same by short polynomials; negative: there are none, or they would gain nothing. */
KRef expand_fast_function(Expander *e, int op, const KRef *args);
KRef expand_fast_exp(Expander *e, KRef x);
KRef expand_fast_log(Expander *e, KRef x);

#endif
