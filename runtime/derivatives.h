/* The numeric test of an entry's derivatives, behind cm_check_derivatives: what its files share.
 *
 * An entry is tried at points: made-up values of all inputs (derivatives_point.c), and a random tangent for each float among
 * them.  Forward mode is compared with differences of the values (derivatives_forward.c), reverse mode with forward mode
 * (derivatives_reverse.c).  Everything is computed in f64 by the reference interpreter.  What disagrees is looked for among
 * the values inside, by probes.
 *
 * A derivative that is zero, or nearly so because contributions cancel, is only rounding, and no tolerance relative to it means
 * anything.  What rounding does to a number follows from how far it moves when the program is run in its declared types
 * instead: it meets the same contributions in f32, whose roundings are larger by the quotient of the two epsilons.  That much,
 * with a factor for luck, is allowed on top.  It is some 1e-15 of the contributions, so it hides no mistake in one of them. */
#ifndef CM_RUNTIME_DERIVATIVES_H
#define CM_RUNTIME_DERIVATIVES_H

#include "runtime/api_internal.h"
#include "runtime/probe.h"

typedef struct Trial {
    ApiCall *call;
    const Specialised *made;
    IrFunc *func;                /* neither calls nor calculus nodes: functions with rules are nodes */
    bool *active, *seeded;       /* which params, which results are floats */
    EvalTensor *first;           /* by param: first weights; no memory where there are none */
    EvalTensor *args, *tangents; /* by param: the point; tangents of active ones only */
    double step;                 /* of the differences that were trusted */
    uint64_t state;              /* of the random numbers */
    LIST(IrNode *) stops;        /* the stop_grads */
} Trial;

/* Where floats that are no weights are drawn; functions such as log are defined for positive numbers only. */
typedef enum PointRange { POINT_signed, POINT_positive, POINT_RANGES } PointRange;

/* The first weights of models, if they can be made: they tell how large weights are.  `weights` is an empty set. */
void point_first_weights(Trial *trial, cm_program *program, const Entry *entry, const BindingList *sizes,
                         cm_parameters *weights);
void point_draw(Trial *trial, PointRange range);
double point_random(Trial *trial, double low, double high);

/* Values that differ from what they should be by more than this, relative to the largest element. */
#define FORWARD_TOLERANCE 1e-6
#define REVERSE_TOLERANCE 1e-8

/* The results of `func` at args; what else the run computed is forgotten. */
EvalTensor *trial_run(const Trial *trial, const IrFunc *func, EvalMode mode, const EvalTensor *args);
/* The point, moved along its tangents. */
EvalTensor *trial_moved_args(const Trial *trial, double step);
/* What rounding does to a number that is `wide` in f64 and `declared` in its declared type; zero if that overflowed. */
double trial_rounding(double wide, double declared);
/* args and then the tangents of the active ones: what a jvp takes. */
EvalTensor *trial_dual_args(const Trial *trial);
/* A function whose results are the float values inside `trial->func`. */
IrFunc *trial_probe(const Trial *trial, const char *name, ProbeList *probes);
const char *probe_text(Arena *arena, const Probe *probe); /* "y (mul)" */

typedef enum Trust {
    TRUST_yes,
    TRUST_kink,       /* the differences for two steps do not agree */
    TRUST_not_finite, /* values at the point, or near by, are not finite */
} Trust;

/* The worst disagreement of `jvp` with differences at the point. */
Trust forward_try(Trial *trial, const IrFunc *jvp, double *worst);
/* Says where the worst disagreement at the point arises. */
void forward_locate(Trial *trial, const Entry *entry);

/* The disagreement of the products of `vjp` with those of `jvp` at the point; infinite if only those of `vjp` are not finite.
 */
double reverse_try(Trial *trial, const IrFunc *jvp, const IrFunc *vjp);
void reverse_locate(Trial *trial, const Entry *entry);

#endif
