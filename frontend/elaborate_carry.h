/* Carries: the variables that a run-time loop or branch may assign, as a flat list of parts that become IR values. */
#ifndef CM_FRONTEND_ELABORATE_CARRY_H
#define CM_FRONTEND_ELABORATE_CARRY_H

#include "frontend/elaborate.h"

typedef LIST(Local *) LocalList;

/* The variables of `env` that the text of `expr` assigns. */
void carry_find(Elab *el, const Env *env, const Expr *expr, LocalList *out);

typedef struct Part {   /* of a carried variable */
    const Value *outer; /* before the loop */
    bool is_tensor;     /* in the body: numbers and keys become tensors, what else there is must stay as it is */
    bool is_key;
    bool weak;
    DType dtype;
    Shape shape;
    const char *path;
} Part;

typedef struct Carry {
    LocalList bindings;
    ValueList outer; /* values of the bindings before */
    LIST(Part) parts;
    int tensor_count;
} Carry;

Carry carry_new(Elab *el, const LocalList *bindings);
void carry_params(Elab *el, const Carry *carry, IrFunc *func); /* a parameter each; binds the variables to them */
void carry_restore(const Carry *carry);
void carry_poison(const Carry *carry);

typedef enum CarryFit { CARRY_same, CARRY_changed, CARRY_failed } CarryFit;
/* Compares what the body left in the variables with the parts; settles weak parts.  `values` are the parts after the body. */
CarryFit carry_compare(Elab *el, Carry *carry, LeafList *values, const char **culprit);
void carry_results(Elab *el, Span at, const Carry *carry, const LeafList *values);
IrRef *carry_operands(Elab *el, Span at, const Carry *carry);
/* Binds the variables to results `first`, first + 1, ... of a control node. */
void carry_finish(Elab *el, Span at, const Carry *carry, IrRef node, int first);

bool part_from_value(Elab *el, const Value *value, Part *part); /* false: it is no tensor, number, truth or key */

#endif
