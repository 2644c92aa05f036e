/* The elaborator: evaluates a program with compile-time values and emits graph IR for what is left to run time.
 *
 * Functions are inlined at each call, so every size and every function value is known where it is used.  Labels live here:
 * a tensor knows the labels of its axes, and the IR sees positions only.  This header is shared by the files of the
 * elaborator; the runtime sees frontend/program.h. */
#ifndef CM_FRONTEND_ELABORATE_H
#define CM_FRONTEND_ELABORATE_H

#include "frontend/value.h"

/* ---- programs and modules (frontend/program.c) ---- */

struct Module { /* a file */
    const char *name;
    int index; /* in the program */
    const Source *source;
    const File *file;
    Table decls;   /* name -> Decl: what the file declares */
    Table rules;   /* function name -> Decl of its derivative rule */
    Table imports; /* name -> Module */
};

typedef struct SettingExpr { /* a --set that has been parsed */
    const char *key;
    const char *owner, *field; /* "train.steps" -> "train", "steps"; an axis or constant has no owner */
    const Expr *value;
    Span span;
} SettingExpr;

typedef LIST(const Decl *) EntryDecls;
typedef LIST(const Value *) ValueList;
typedef LIST(const char *) WordList;

struct Program {
    Arena *arena;
    LIST(Module *) modules;    /* the first is the program itself */
    LIST(const Module *) open; /* modules of the library whose names are known everywhere */
    LIST(SettingExpr) settings;
    bool fast; /* precision */
    LIST(Entry) entries;
    EntryDecls entry_decls; /* of each entry; null for ENTRY_init */
    LIST(DataSet *) data;
    LIST(TrainRun *) trains;
};

bool settings_load(Program *program, const Setting *settings, int count, DiagSink *diags);
const SettingExpr *program_setting(const Program *program, const char *owner, const char *field);

/* ---- scopes ---- */

struct Activation { /* one running body: the home of the labels that it introduces */
    const Activation *parent;
    LIST(Label *) labels; /* those that no signature declared */
};

typedef struct Local {
    const char *name;
    const Value *value;
    bool is_var;
    Span span;
    struct Local *next;
} Local;

struct Env {
    Env *parent;
    Local *bindings; /* the newest first */
    Activation *activation;
    const Module *module;              /* at the outermost scope of a file */
    bool boundary;                     /* of a function or lambda: what lies outside cannot be assigned */
    const struct Signature *signature; /* of the body of a call: what its labels are outside */
};

Env *env_new(Elab *el, Env *parent);
Env *env_new_body(Elab *el, Env *parent); /* of a function: with an activation of its own */
void env_bind(Elab *el, Env *env, const char *name, const Value *value, bool is_var, Span span);
Local *env_find(const Env *env, const char *name, bool *crossed); /* local names only */
const Module *env_module(const Env *env);
Env *elab_module_env(Elab *el, const Module *module);
/* A name of a file: its declarations; null if it has none of that name. */
const Value *module_lookup(Elab *el, const Module *module, const char *name);
const Value *constant_without_type(Elab *el, const Decl *decl, const Value *value);  /* of a file or a model */
const Value *elab_lookup(Elab *el, const Env *env, const char *name, Span at);       /* reports what is unknown */
const Value *elab_lookup_owner(Elab *el, const Env *env, const char *name, Span at); /* of a name before a dot */

Label *label_new(Elab *el, const Activation *home, const char *name, int64_t size, Span span);
Label *label_find_free(const Activation *activation, const char *name);
/* What `name` means where an axis is wanted: an axis in scope, else a label of this body, made on first use. */
Label *label_resolve(Elab *el, Env *env, const char *name, Span at);
Label *label_existing(Elab *el, const Env *env, const char *name);     /* null if there is none yet */
bool label_lives_in(const Label *label, const Activation *activation); /* introduced by it or one around it */

/* ---- frames: the IR functions under construction ---- */

typedef struct Capture {
    Frame *frame; /* where the value lives */
    IrRef ref;
    IrRef param; /* here */
    IrRef outer; /* in the parent frame */
} Capture;

struct Frame {
    Frame *parent;
    IrFunc *func;
    LIST(Capture) captures;
};

Frame *frame_enter(Elab *el, const char *name);
void frame_leave(Elab *el);
/* The captured values as operands in the parent frame. */
IrRef *frame_captures(Elab *el, const Frame *frame);
/* Makes two callees of one node take the same captures in the same order: `b` is made anew, so both are complete. */
void frame_unify_captures(Elab *el, Frame *a, Frame *b, int own_params);

typedef struct Snapshot { /* what a trial elaboration may have added, so that it can be taken back */
    int diags, dropped, funcs, errors, static_errors, depth;
    int *nodes, *params, *captures; /* of each open frame, innermost first */
} Snapshot;
Snapshot snapshot_take(Elab *el);
void snapshot_restore(Elab *el, const Snapshot *snapshot);

/* ---- random keys ---- */

typedef enum KeyKind { KEY_root, KEY_named, KEY_counted, KEY_given } KeyKind;

typedef struct KeyUse {
    uint32_t hash;
    uint32_t count;
} KeyUse;

struct KeyNode {
    KeyKind kind;
    KeyNode *parent;
    uint32_t data;      /* named */
    const Value *value; /* counted: an i32 scalar or a number; given: a u32[2] tensor */
    LIST(KeyUse) uses;  /* names drawn under this key so far */
    bool drawn;         /* its own numbers were taken */
    Frame *frame;       /* where `ref` was computed, at `epoch` */
    IrRef ref;
    int epoch;
};

KeyNode *key_child(Elab *el, KeyNode *parent, const char *name); /* another one for each use of a name */
KeyNode *key_turn(Elab *el, KeyNode *parent, const Value *turn);
KeyNode *key_given(Elab *el, const Value *tensor);
IrRef key_ref(Elab *el, KeyNode *key, Span at);
const Value *key_value(Elab *el, KeyNode *key);
bool key_may_draw(Elab *el, Span at); /* from the current key: false after a message */

/* ---- the elaboration ---- */

typedef struct CallLink {
    const struct CallLink *parent;
    const char *what;   /* "call of `f`" */
    const void *callee; /* the declaration or lambda */
    Span span;
    bool from_outside; /* the call of an entry: there is no place to show */
} CallLink;

typedef struct InitShape { /* what an initialiser draws where it names no axes */
    Shape shape;
    DType dtype;
} InitShape;

typedef struct ModuleState {
    Env *env;
    Table values; /* of dims and lets, evaluated on first use */
    Table busy;
} ModuleState;

struct Elab {
    Arena *arena;
    const Program *program;
    DiagSink *diags;
    IrModule *module;
    Frame *frame; /* null while compile-time constants of a file are evaluated */
    Frame *root;
    ModuleState *modules;
    KeyNode *key;
    IrRef root_key;    /* the key parameter of the root frame, or -1: made when something draws */
    bool drawing;      /* right of a ~ */
    KeyNode *rule_key; /* current where the rule around was entered; null outside of rules */
    bool training;
    const InitShape *init;
    struct DataHook *data; /* while a data field is evaluated */
    const CallLink *chain;
    const CallLink *unsaid; /* the calls around the message reported last, not yet added to it */
    bool muted;             /* the message reported last was a repetition */
    int errors;
    int static_errors; /* of them, those that compile-time values would have avoided */
    int depth, call_depth, model_depth;
    int64_t work;
    bool exhausted;
    int epoch;
};

Elab *elab_new(Arena *arena, const Program *program, DiagSink *diags);
void elab_open(Elab *el, const char *name); /* starts a module and its root function */
void elab_close(Elab *el);                  /* completes the last message */

/* Reports (once for a place) and returns poison; `elab_note` adds to it. */
const Value *elab_error(Elab *el, DiagCode code, Span at, const char *format, ...) __attribute__((format(printf, 4, 5)));
void elab_note(Elab *el, Span at, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same, but once for a text in a file, wherever it is said of. */
const Value *elab_error_once(Elab *el, DiagCode code, Span at, const char *format, ...) __attribute__((format(printf, 4, 5)));
bool elab_suggest(Elab *el, const char *word, const char *const *known, int count); /* "did you mean ...", if one is near */

/* The function under construction, with `at` as the place of what is emitted next. */
IrFunc *emit(Elab *el, Span at);

/* ---- expressions and statements (elaborate_expr.c, elaborate_stmt.c, elaborate_loop.c) ---- */

const Value *elab_eval(Elab *el, Env *env, const Expr *expr);
const Value *elab_block(Elab *el, Env *env, const Expr *block); /* in a scope of its own */
void elab_stmt(Elab *el, Env *env, const Stmt *stmt);
void elab_for(Elab *el, Env *env, const Stmt *stmt);
void elab_while(Elab *el, Env *env, const Stmt *stmt);
const Value *elab_if(Elab *el, Env *env, const Expr *expr, bool wanted);
/* The same with bodies at hand; `condition` is a bool scalar. */
typedef const Value *BranchBody(Elab *el, void *state);
const Value *elab_choose(Elab *el, Span at, const Value *condition, BranchBody *yes, BranchBody *no, void *state);
/* The items of what is known when compiling: a list, a tuple, a range with known ends.  False in silence if it is none. */
bool known_items(Elab *el, const Value *sequence, ValueList *items);
void bind_pattern(Elab *el, Env *env, const Pattern *pattern, const Value *value, bool is_var);
const Value *elab_draw(Elab *el, Env *env, const Expr *expr, const char *name); /* right of a ~ */
bool elab_step(Elab *el, Span at);                                              /* counts work; false once there was too much */

bool want_number(Elab *el, const Value *value, Span at, const char *what, Number *number);
bool want_integer(Elab *el, const Value *value, Span at, const char *what, int64_t *integer);
bool want_size(Elab *el, const Value *value, Span at, const char *what, int64_t *size);
bool want_bool(Elab *el, const Value *value, Span at, const char *what, bool *truth);

/* ---- axes and types (elaborate_shape.c) ---- */

/* One axis written in [ ]: `C`, `K: 64`; its size may be unknown. */
bool elab_axis(Elab *el, Env *env, const Expr *expr, Axis *axis);
/* Axes of a new tensor: every size is known afterwards. */
bool elab_shape(Elab *el, Env *env, const Expr *const *items, int count, Shape *shape);
bool shape_push(Elab *el, Shape *shape, Axis axis, Span at); /* refuses a label twice and too many axes */
bool shape_check(Elab *el, const Shape *shape, Span at);     /* refuses more elements than memory can hold */
const char *type_axis_label(const AxisExpr *axis);           /* the label that it names; null if it names none */
bool type_shape(Elab *el, Env *env, const TypeExpr *type, Shape *shape);
const Value *type_fit_dtype(Elab *el, const TypeExpr *type, const Value *value, Span at, const char *what);
bool type_axis(Elab *el, Env *env, const AxisExpr *written, Axis *axis);
bool type_dtype(Elab *el, const TypeExpr *type, DType *dtype);
/* `value` as a type wants it, with labels of `env`; for lets, casts and results. */
const Value *type_fit(Elab *el, Env *env, const TypeExpr *type, const Value *value, Span at, const char *what);
/* The declared or given axis arguments `sum(x, C)`, `sum(x, [H, W])` as axes of `of`. */
bool axes_argument(Elab *el, Call *call, int index, const Shape *of, const char *of_what, Shape *axes);
bool value_axes(Elab *el, const Value *value, Shape *axes, Span at); /* an axis, or a list of them */
const Value *axis_missing(Elab *el, Span at, const char *what, const Shape *shape, const Label *label);

/* ---- tensors (elaborate_tensor.c) ---- */

const Value *tensor_new(Elab *el, IrRef ref, const Shape *shape);
const Value *tensor_weak(Elab *el, const Value *tensor);
IrRef tensor_ref(Elab *el, const Value *tensor, Span at); /* in the current frame */
const Value *tensor_const(Elab *el, Span at, DType dtype, const Shape *shape, double value);
const Value *tensor_from_number(Elab *el, Span at, const Value *number, DType dtype); /* reports what does not fit */
const Value *tensor_default(Elab *el, Span at, const Value *value); /* numbers and truths as f32, i32 or bool scalars */
const Value *tensor_cast(Elab *el, Span at, const Value *tensor, DType dtype);
const Value *tensor_order(Elab *el, Span at, const Value *tensor, const Shape *order);  /* the same labels in that order */
const Value *tensor_expand(Elab *el, Span at, const Value *tensor, const Shape *shape); /* repeated over further axes */
const Value *tensor_relabel(Elab *el, const Value *tensor, const Shape *shape);
bool is_float_tensor(const Value *value);

/* Adds where a value comes from to a message about `at`, if that is elsewhere. */
void note_origin(Elab *el, const Value *value, Span at);
/* The axes that pointwise operands share: those of the operand that has them all. */
bool align_shapes(Elab *el, Span at, const char *what, const Value *const *operands, int count, Shape *shape);
bool align_dtypes(Elab *el, Span at, const char *what, const Value *const *operands, int count, DType *dtype);
/* A tensor or number as an operand of exactly that type. */
IrRef operand_ref(Elab *el, Span at, const Value *value, const Shape *shape, DType dtype);

typedef enum PointClass { POINT_number, POINT_float, POINT_compare, POINT_logic, POINT_select, POINT_test } PointClass;
typedef double PointFunction(double a, double b, double c);
const Value *pointwise(Elab *el, Span at, const char *name, IrOp op, PointClass class, PointFunction *known,
                       const Value *const *operands, int count);
const Value *arithmetic(Elab *el, Span at, AstOp op, const Value *a, const Value *b);
const Value *negate(Elab *el, Span at, const Value *a);
const Value *logical_not(Elab *el, Span at, const Value *a);

/* ---- trees (elaborate_tree.c) ---- */

typedef struct Leaf {
    const char *path;
    const Value *value;
} Leaf;
typedef LIST(Leaf) LeafList;

/* Every part of a tree that is not a group, with its path below `path`, in order. */
void tree_parts(Elab *el, const Value *tree, const char *path, LeafList *out);
void tree_tensors(Elab *el, const Value *tree, ValueList *out); /* tensors only; keys become tensors */
/* The tree with its tensors replaced by the next ones of `leaves`. */
const Value *tree_rebuild(Elab *el, const Value *tree, const ValueList *leaves, int *next);
/* The tree with every part that is not a group replaced. */
typedef const Value *TreeMap(Elab *el, const Value *part, void *state);
const Value *tree_map(Elab *el, const Value *tree, TreeMap *map, void *state);
/* Calls `map` with the parts at the same place of several trees of one form; poison and a message if they differ. */
typedef const Value *TreeZip(Elab *el, const Value *const *parts, int count, const char *path, void *state);
const Value *tree_zip(Elab *el, Span at, const Value *const *trees, int count, const char *path, TreeZip *zip, void *state);

/* ---- calls (elaborate_call.c) ---- */

const Value *elab_call(Elab *el, Env *env, const Expr *expr);
const Value *elab_index(Elab *el, Env *env, const Expr *expr);
const Value *tensor_index(Elab *el, Env *env, const Expr *expr, const Value *tensor); /* x[T: 3] (builtins_index.c) */
const Value *call_value(Elab *el, const Value *callee, Call *call);
/* With values at hand: the arguments are by position. */
const Value *call_with(Elab *el, Env *env, Span at, const char *name, const Value *callee, const Value *const *args, int count);
const Value *call_arg(Elab *el, Call *call, int index); /* evaluated; poison if absent */
bool elab_given(Elab *el, Env *env, const Expr *const *items, int count, GivenList *given);

typedef struct Formal { /* a label of a signature and what it is at the call */
    Label *formal;
    Label *actual;
} Formal;
typedef LIST(Formal) FormalList;
typedef struct Signature {
    FormalList formals;
    Shape rest; /* `..` */
    bool has_rest;
} Signature;
bool bind_generics(Elab *el, Env *body, const Decl *decl, const GivenList *given, Span at);
/* The arguments of a call in the order of the parameters; defaults are evaluated in `body`. */
bool match_arguments(Elab *el, Env *body, const char *name, const ParamList *params, Call *call, const Value **out,
                     Span *places);
/* Binds parameters in `body`: labels of their types become those of the arguments (elaborate_signature.c). */
bool signature_bind(Elab *el, Env *body, Signature *signature, const ParamList *params, const Value **values,
                    const Span *places);
const Value *signature_result(Elab *el, Env *body, const Signature *signature, const Decl *decl, const Value *value, Span at);
/* A value that leaves the body of a call, with the labels of `site`; and what a lambda is given inside another function. */
const Value *relabel_result(Elab *el, Env *body, Env *site, const Value *value, Span at);
const Value *relabel_outward(Elab *el, Env *from, const Activation *to, const Value *value, FormalList *renamed);
const Value *relabel_back(Elab *el, const FormalList *renamed, const Value *value, Span at);

/* ---- models (elaborate_model.c) ---- */

typedef struct ParamSource { /* where the parameters of an instance come from */
    const Value *(*get)(Elab *el, struct ParamSource *source, Env *env, const Decl *param, const char *path, const Shape *shape,
                        DType dtype);
    Table *family;    /* null: that of a new instance */
    const char *root; /* the path of the whole instance; null: that of the first that is made */
} ParamSource;

const Value *model_call(Elab *el, const Value *model, Call *call); /* MLP[C](width = 64): a model that can be instantiated */
const Value *model_instantiate(Elab *el, const Value *model, ParamSource *source, const char *path, Span at);
const Value *model_rebuild(Elab *el, const Value *instance, const Value *const *leaves); /* other values of its parameters */
const Value *instance_member(Elab *el, const Value *instance, const char *name, Span at);
const Value *model_initial(Elab *el, const Value *model, const char *path, Span at); /* drawn from the current key */
const Value *model_of_type(Elab *el, Env *env, const TypeExpr *type);                /* null and a message if it is none */
const Value *initial_value(Elab *el, Env *env, const Expr *expr, const char *path, const Shape *shape, DType dtype);

/* ---- calculus (elaborate_calculus.c, elaborate_rule.c) ---- */

const Value *call_plain(Elab *el, const Value *function, Call *call); /* of a declaration, whatever rule it has */
const Value *call_custom(Elab *el, const Value *function, Call *call, const Decl *rule);
const Value *result_part(Elab *el, const Value *part, void *state); /* a number as a tensor; `state`: the place */
/* The tangent of a float tensor: repeated over the axes that it lacks. */
const Value *tangent_like(Elab *el, Span at, const char *what, const Value *tangent, const Value *primal);
/* Results `first`, first + 1, ... of a node as tensors with the axes of `like`. */
void get_tensors(Elab *el, Span at, IrRef node, int first, const ValueList *like, ValueList *out);
/* The value of a scalar function and its gradients by the arguments that `wanted` marks, in order. */
bool gradients(Elab *el, Env *env, Span at, const Value *function, const Value *const *args, int count, const bool *wanted,
               const Value **value, ValueList *out);

/* ---- builtins (builtins.c; the table is builtins.def) ---- */

typedef const Value *BuiltinFunction(Elab *el, Call *call);
struct Builtin {
    const char *name;
    int least, most;           /* positional arguments; most < 0: any number */
    const char *named;         /* names of the arguments that may be given by name, each between spaces */
    BuiltinFunction *function; /* null: pointwise */
    IrOp op;
    PointClass class;
    PointFunction *known; /* its meaning on numbers */
    const char *usage;    /* how a call is written; null: pointwise */
};
const Builtin *builtin_find(const char *name);
const char *const *builtin_names(Elab *el, int *count);
const Value *call_builtin(Elab *el, const Builtin *builtin, Call *call);

int positional_count(const Call *call);
Argument *positional(Call *call, int index);                                       /* null if absent */
const Value *arg_value(Elab *el, Call *call, int index);                           /* of the positional one; poison if absent */
const Value *named_arg(Elab *el, Call *call, const char *name);                    /* null if not given */
const Value *want_tensor(Elab *el, Call *call, int index);                         /* numbers become scalars; else reported */
bool want_axis(Elab *el, Call *call, int index, Axis *axis);                       /* as written: it may be new */
bool want_own_axis(Elab *el, Call *call, int index, const Value *tensor, int *at); /* an axis that the tensor has */
bool named_dtype(Elab *el, Call *call, DType *dtype); /* `dtype = f64`; leaves it alone if not given */
bool named_integer(Elab *el, Call *call, const char *name, int64_t *integer);
void label_learn_size(Label *label, int64_t size);

/* ---- indexing (builtins_index.c), draws (builtins_draw.c) ---- */

const Value *take_along(Elab *el, Span at, const Value *x, Label *label, const Value *index);
const Value *slice_axis(Elab *el, Span at, const Value *x, int axis, int64_t start, int64_t stop);
const Value *draw_uniform(Elab *el, Span at, const Shape *shape, DType dtype);
const Value *draw_normal(Elab *el, Span at, const Shape *shape, DType dtype);

/* ---- entries (entry.c), runs (elaborate_train*.c), data (elaborate_data.c) ---- */

typedef struct SampleSizes { /* first, first + step, ... */
    int64_t first, step;
    bool defaults; /* in place of those that a declaration gives, too */
    Arena *arena;  /* of the list */
    BindingList chosen;
} SampleSizes;

typedef struct EntryBuild { /* a specialisation under way */
    Elab *el;
    Specialised *out;
    const Binding *bindings;
    int binding_count;
    SampleSizes *samples; /* sizes for the axes that nobody gave one; null: that is a mistake */
    const DataSet *data;  /* what the parameters of an eval are fields of; may be null */
    Env *border;          /* the scope from which the entry is called */
} EntryBuild;

const Value *entry_input(EntryBuild *build, PortRole role, const char *path, DType dtype, const Shape *shape, Span at);
IrRef entry_find_input(const EntryBuild *build, PortRole role, const char *path); /* there must be one */
void entry_output(EntryBuild *build, PortRole role, const char *path, const Value *tensor, Span at);
/* An instance whose parameters are inputs `set.path` with the role. */
const Value *entry_instance(EntryBuild *build, const Value *model, PortRole role, const char *set, Span at);
bool train_specialise(EntryBuild *build, const Decl *decl);
bool states_specialise(EntryBuild *build, const Decl *decl); /* first states of the optimisers */

/* What evaluating a data field finds: its source when the program is loaded, its batch in a compiled step. */
typedef struct DataHook {
    DataField *field;  /* to be filled in */
    EntryBuild *build; /* null: only describe */
    Label *batch;
    int64_t batch_size;
    const Shape *sample; /* of the field, with the labels it was declared with */
    bool found;
} DataHook;
const Value *data_source(Elab *el, Env *env, const Value *source, const TypeExpr *type, Span at);
bool data_describe(Program *program, const Decl *decl, DataSet *set, DiagSink *diags);
/* The batch of a field after its pipeline. */
const Value *data_batch(EntryBuild *build, const DataSet *set, const char *field, Label *batch, int64_t size);

const Decl *program_find(const Program *program, DeclKind kind, const char *name);
bool train_describe(Program *program, const Decl *decl, TrainRun *run, DiagSink *diags);
void train_settable(Program *program, const Decl *decl, WordList *keys); /* of a block: "batch", "student.lr" */
void check_names(const Program *program, DiagSink *diags);               /* of functions that nothing elaborates */
Specialised *specialise(const Program *program, Arena *arena, const Entry *entry, const Decl *decl, const Binding *bindings,
                        int binding_count, SampleSizes *samples, DiagSink *diags);

#endif
