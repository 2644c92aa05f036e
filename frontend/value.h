/* Values of the elaborator: what an expression means while a program is being turned into a graph.
 *
 * Only tensors exist at run time.  Numbers, tuples, records, lists, functions, models and axes are compile-time values, and
 * immutable: evaluation makes new ones in the arena of the elaboration.  A poison value stands for a mistake that has been
 * reported; whatever meets it is poison, in silence. */
#ifndef CM_FRONTEND_VALUE_H
#define CM_FRONTEND_VALUE_H

#include "frontend/ast.h"
#include "frontend/program.h"
#include "ir/ir.h"

typedef struct Value Value;
typedef struct Elab Elab;
typedef struct Env Env;
typedef struct Frame Frame;
typedef struct Activation Activation;
typedef struct Module Module;
typedef struct KeyNode KeyNode;
typedef struct Builtin Builtin;

/* ---- labels, axes, shapes ---- */

enum { SIZE_UNKNOWN = -1, SIZE_VARIES = -2 };

/* A label is its identity (the pointer); the name is for people.  It belongs to the activation whose signature or body
 * introduced it; a label of a `dim` declaration belongs to none and is the same everywhere. */
typedef struct Label {
    const char *name;
    const Activation *home;
    struct Label *outer; /* what the caller calls it, where it said so */
    int64_t size;        /* what its name means as a number; SIZE_UNKNOWN; SIZE_VARIES if the body gave it several */
    bool free;           /* made by use in a body, not declared by a signature, generic or dim */
    bool sampled;        /* nobody gave its size: `cmc check` made one up */
    Span span;           /* where it came from */
} Label;

typedef struct Axis {
    Label *label;
    int64_t size;
} Axis;

typedef struct Shape {
    int rank;
    Axis axes[IR_MAX_RANK];
} Shape;

int shape_find(const Shape *shape, const Label *label); /* -1 if absent */
bool shape_has_all(const Shape *shape, const Shape *of);
bool shape_same_order(const Shape *a, const Shape *b); /* the same labels in the same order */
IrType shape_type(const Shape *shape, DType dtype);
void shape_print(const Shape *shape, Text *out); /* [B: 64, C: 3]; sizes that were made up are left out */
Shape shape_without(const Shape *shape, const Shape *drop);

/* ---- values ---- */

typedef enum ValueKind {
    VALUE_poison,
    VALUE_number,
    VALUE_bool,
    VALUE_string,
    VALUE_axis, /* a label with a size: as a number it is its size */
    VALUE_tensor,
    VALUE_tuple, /* of none: the value of a block that ends in no expression */
    VALUE_record,
    VALUE_list,
    VALUE_function, /* a declaration or lambda with what it captured, or a native one (a pullback, grad(f)) */
    VALUE_builtin,
    VALUE_model,    /* a declaration, or with generics and arguments given: no parameters yet */
    VALUE_instance, /* a model with parameters; also any tree of that form (gradients, state) */
    VALUE_module,
    VALUE_type,
    VALUE_key,    /* a random key that is not computed before it is needed */
    VALUE_source, /* where a data field comes from */
} ValueKind;

typedef struct Number {
    bool whole;
    bool decimal;    /* written with a point, or came from such a number: an f32 where nothing says otherwise */
    int64_t integer; /* if whole */
    double real;     /* always */
} Number;

typedef struct TensorValue {
    Frame *frame; /* the function in which `ref` lives */
    IrRef ref;
    DType dtype;
    bool weak; /* stands for a number of a loop whose type is not settled: adapts to what it meets */
    Shape shape;
} TensorValue;

typedef struct GroupValue { /* tuple, record, list */
    int count;
    const Value **items;
    const char **names; /* record */
} GroupValue;

typedef struct GivenGeneric { /* f[C = 8], f[B], f[K: width] */
    const char *name;         /* null: by position */
    Label *label;             /* null: only a size was given */
    int64_t size;             /* SIZE_UNKNOWN: only a label */
    Span span;
} GivenGeneric;
typedef LIST(GivenGeneric) GivenList;

typedef struct Argument {
    const char *name;   /* null: by position */
    const Expr *expr;   /* null where the value came from elsewhere */
    const Value *value; /* null until evaluated */
    Span span, whole;   /* without and with its name */
} Argument;

typedef struct Call { /* one call as its callee sees it */
    Env *env;         /* where the arguments stand: labels of results go back to it */
    Span span;
    const char *name; /* of the callee, as written */
    Argument *args;
    int count;
    GivenList generics;
    const Expr *const *items; /* what stood in [ ] before the arguments, for builtins */
    int item_count;
    bool has_items;
} Call;

typedef const Value *NativeCall(Elab *el, const Value *function, Call *call);

typedef struct FunctionValue {
    const Decl *decl;
    const Expr *lambda;
    Env *env; /* where it was declared */
    GivenList generics;
    const Module *module; /* of a declaration at top level: where its derivative rule would stand */
    NativeCall *native;
    const void *data;
} FunctionValue;

typedef struct ModelValue {
    const Decl *decl;
    Env *env;
    GivenList generics;
    Argument *args; /* evaluated */
    int arg_count;
    bool given; /* arguments were given: it can be instantiated */
} ModelValue;

typedef struct ParamLeaf {
    const char *path; /* relative to the instance */
    const Value *value;
} ParamLeaf;

typedef struct InstanceValue {
    const Value *model;
    Env *env;
    Table *family; /* place in the tree -> Env: copies with other parameters share the labels of the first */
    LIST(ParamLeaf) leaves;
} InstanceValue;

typedef struct SourceValue {
    SourceKind kind;
    const char *path, *member;
    const Value *generator;
    int64_t count;
} SourceValue;

struct Value {
    ValueKind kind;
    Span span; /* where it was made */
    union {
        Number number;
        bool truth;
        const char *text;
        Axis axis;
        TensorValue tensor;
        GroupValue group;
        FunctionValue function;
        const Builtin *builtin;
        ModelValue model;
        InstanceValue *instance;
        const Module *module;
        const TypeExpr *type;
        KeyNode *key;
        SourceValue source;
    };
};

extern const Value value_poison, value_unit;

static inline bool is_poison(const Value *value)
{
    return value->kind == VALUE_poison;
}

const Value *value_integer(Arena *arena, int64_t integer);
const Value *value_real(Arena *arena, double real); /* whole if it is; decimal */
const Value *value_bool(Arena *arena, bool truth);
const Value *value_axis(Arena *arena, Label *label, int64_t size);
const Value *value_text(Arena *arena, const char *text);
const Value *value_group(Arena *arena, ValueKind kind, int count, const Value *const *items, const char *const *names);
const Value *value_pair(Arena *arena, const Value *a, const Value *b);
const Value *value_at(const Value *value, Span span, Arena *arena); /* the same with another place */
const Value *record_get(const Value *record, const char *name);     /* null if absent */

/* A number, or the size of an axis. */
bool value_as_number(const Value *value, Number *number);

/* For messages: "a number", "f32[B: 64, C: 3]", "a function". */
const char *value_describe(Arena *arena, const Value *value);

#endif
