/* Probes: a function made anew in which values tell of themselves by further results, also those in loops and branches.
 *
 * Inside a loop what is told in each turn is stacked as rows; of a branch the side that is not taken tells zeros.  A loop of
 * unknown length (while) has no rows, and is one value. */
#ifndef CM_RUNTIME_PROBE_H
#define CM_RUNTIME_PROBE_H

#include "ir/ir.h"

enum { PROBE_MAX_PARTS = 2 };

typedef struct Probe {
    const IrFunc *from; /* where it stands */
    IrRef node;
    Span span;
    const char *name;
    const char *derives;         /* the name of the op whose derivative it belongs to, or null */
    IrOp op;                     /* whose value it is: of a result, of the node that it is read from */
    const IrFunc *rule;          /* custom: its derivative, else null */
    IrType type;                 /* of the value, in one turn */
    int group;                   /* probes of one loop of the outermost function share it: they are ordered by turn first */
    IrRef part[PROBE_MAX_PARTS]; /* what is told, in the function that is being built */
} Probe;

typedef LIST(Probe) ProbeList;

typedef struct Prober {
    Arena *arena;
    IrModule *module;
    int parts; /* what a probe tells */
    bool (*wants)(const IrFunc *from, IrRef node);
    void (*tell)(IrFunc *func, IrRef value, IrRef *part); /* builds them */
    int next_group;
} Prober;

/* The results are those of the probes, in order, and no others. */
IrFunc *probe_build(Prober *prober, const IrFunc *from, const char *name, ProbeList *probes);

#endif
