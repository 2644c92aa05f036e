/* Random well-typed programs in the graph IR, and the arguments to run them on.
 *
 * A program follows from its seed alone.  It holds every kind of row of ir/prims.def: loops, branches, calls, rules and
 * derivatives among them, over shapes that divide nothing.  It is well conditioned at its arguments: operands are brought into
 * the domain of what reads them, and a primitive that jumps (floor, a comparison, an index) is built only where no operand
 * lies near a jump, or where every operand is exact, the same bits in every mode. */
#ifndef CM_TESTS_RANDOM_PROGRAM_H
#define CM_TESTS_RANDOM_PROGRAM_H

#include "tests/unit/draws.h"

typedef struct RandomProgram {
    IrModule *module; /* verified; may hold jvp and vjp nodes */
    IrFunc *func;
    EvalTensor *args;
    double unit; /* the rounding error of the coarsest float type that it computes in */
} RandomProgram;

double rounding_unit(DType dtype); /* half the distance from 1 to the next float */

/* A smooth program has the derivatives of its values: no stop_grad, and no params near a jump. */
RandomProgram random_program(Arena *arena, uint64_t seed, bool smooth);

#endif
