/* Training runs, shared by the files that elaborate them.
 *
 * One step of a run is one function: weights, averages and optimiser states go in and come out.  A run has sets of weights, one
 * for each parameter of its losses that is a model, and turns: each lets one loss move some of the sets, and may be left out in
 * a step.  A run that writes no turns has one, which has no name.  The turns of a step see what those before them left.  If
 * loss or gradient of any of them is not finite, the step leaves everything as it was. */
#ifndef CM_FRONTEND_ELABORATE_TRAIN_H
#define CM_FRONTEND_ELABORATE_TRAIN_H

#include "frontend/elaborate.h"

/* ---- the declaration (elaborate_train_keys.c) ---- */

enum { TRAIN_KEYS = 16 };
typedef struct TrainKey {
    const char *name;
    bool of_run, of_turn;
} TrainKey;
extern const TrainKey train_keys[TRAIN_KEYS];

typedef struct TurnDecl {
    const char *name;   /* null: of a run without turns */
    const Field *field; /* where it stands; null likewise */
    const Value *value; /* the loss */
    const Decl *loss;
} TurnDecl;
typedef LIST(TurnDecl) TurnDecls;

bool run_turns(Elab *el, const Decl *decl, TurnDecls *turns);                      /* with their losses */
const Expr *run_field(const Program *program, const Decl *decl, const char *name); /* with settings; null if absent */
const Expr *turn_field(const Program *program, const Decl *decl, const TurnDecl *turn, const char *name);
/* The turn's rate was given from nearer than its optimiser, and so counts instead of the rate that is written there. */
bool rate_replaces(const Program *program, const Decl *decl, const TurnDecl *turn);
bool is_turn(const Field *field);
bool is_model_param(const Param *param);
bool whole_field(Elab *el, const Decl *decl, const char *name, int64_t otherwise, int64_t least, int64_t *out);
bool data_field(Elab *el, const Decl *decl, const DataSet **data);

/* ---- a step under construction ---- */

typedef enum SetUse { SET_trained, SET_frozen, SET_average } SetUse;

typedef struct ModelSet {
    const char *name;
    const Param *param; /* of the first loss that has it */
    SetUse use;
    const char *averaged; /* an average: of which set; null: of the first that is trained */
    int source;           /* its place, or -1 */
    const Value *model;
    const Value *instance; /* its weights as the turns so far left them; null of an average */
    const Value *average;  /* trained, where averages are kept: of the same form */
    bool is_output;        /* the outputs of its weights are made */
} ModelSet;

typedef struct Optimizer { /* and the weights that it moves */
    const Value *init, *update;
    LIST(const char *) patterns; /* of the paths of weights, "net.*.bias"; none: all the rest */
    bool *used;                  /* each pattern fits some weight */
    Span span;
} Optimizer;

typedef struct Turn {
    const TurnDecl *decl;
    bool *trains;               /* of each set of the run */
    LIST(Optimizer) optimizers; /* the first that fits a weight moves it */
    const Value ***states;      /* of each set, of each of its leaves */
    const Value *updates;       /* an i32: how often the turn was taken before; without `when` the step */
    const char *updates_path;   /* null: the step tells */
    ValueList gradients;        /* of the sets it trains */
} Turn;

typedef struct Train {
    EntryBuild *build;
    Elab *el;
    const Decl *decl;
    TurnDecls turn_decls;
    Env *env; /* with step, steps, progress and B */
    LIST(ModelSet) sets;
    LIST(Turn) turns;
    const Value *step;
    const Value *finite; /* loss and gradient of the turns so far; null: none was taken */
    const DataSet *data;
    LIST(Leaf) fields; /* batches of the data fields that the losses want */
} Train;

/* A scalar of a key, as an f32; a number that is known must be one that makes sense. */
const Value *scalar_value(Train *train, const Expr *expr, const char *name, bool makes_sense(double), const char *rule);

/* ---- optimisers (elaborate_optimizer.c) ---- */

bool make_optimizers(Train *train, Turn *turn);
const Optimizer *optimizer_of(const Train *train, const Turn *turn, const ModelSet *set, int leaf);
const char *state_path(const Train *train, const Turn *turn, const ModelSet *set, int leaf);
/* The first state of a weight, as the optimiser makes it. */
const Value *initial_state(Train *train, const Turn *turn, const ModelSet *set, int leaf);
/* All states as inputs of the step. */
bool make_states(Train *train, Turn *turn);

/* ---- outputs (elaborate_train.c) ---- */

/* A weight after the step with its average, if there is one, and the states of its turns; as before if a turn is not finite. */
void leaf_outputs(Train *train, int s, int leaf, const Value *weight, const Value *average);

/* ---- turns (elaborate_turn.c) ---- */

/* Takes the turn: moves instances, averages and states on, and leaves loss, norm and verdict as outputs of the step.  What is
 * not finite moves on as well. */
bool take_turn(Train *train, Turn *turn);

#endif
