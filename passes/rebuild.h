/* Rebuild: what passes that go node by node share.  A pass builds the new function beside the old one and puts it in its place.
 * A function that has lost its last reference is dropped by the pass that took it. */
#ifndef CM_PASSES_REBUILD_H
#define CM_PASSES_REBUILD_H

#include "ir/ir.h"

typedef struct Rebuild {
    const IrFunc *from;
    IrFunc *into;
    IrRef *map; /* by node of `from`: what it has become */
} Rebuild;

Rebuild rebuild_begin(IrFunc *func);
IrRef rebuild_copy(Rebuild *rebuild, IrRef ref); /* the node as it is, operands mapped; fills the map */
/* Results follow the map; `func` keeps its identity and name and gets the new contents. */
void rebuild_end(Rebuild *rebuild, IrFunc *func);

typedef LIST(IrFunc *) FuncList;

/* The functions that no other refers to: those that are run from outside. */
FuncList module_entries(const IrModule *module);
/* Drops the functions that none of them reaches. */
void module_sweep(IrModule *module, const FuncList *entries);
/* How many nodes refer to the function. */
int module_uses(const IrModule *module, const IrFunc *callee);

#endif
