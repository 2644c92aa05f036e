/* Syntax tree of a .cm file, as docs/language.md describes it.  The parser makes it, the formatter prints it, the
 * elaborator (frontend/elaborate.h) gives it meaning.  Nothing here knows types or names. */
#ifndef CM_FRONTEND_AST_H
#define CM_FRONTEND_AST_H

#include "base/arena.h"
#include "base/diag.h"

typedef struct Expr Expr;
typedef struct Stmt Stmt;
typedef struct Pattern Pattern;

typedef LIST(Expr *) ExprList;

/* ---- expressions ---- */

typedef enum ExprKind {
    EXPR_error,   /* said already: elaborates to poison */
    EXPR_number,  /* value, is_integer; name: as written.  inf, nan and pi are numbers */
    EXPR_bool,    /* value 0 or 1 */
    EXPR_string,  /* name: the text without quotes */
    EXPR_name,    /* name (may end in primes) */
    EXPR_unary,   /* op; a */
    EXPR_binary,  /* op; a, b */
    EXPR_compare, /* op; a, b */
    EXPR_call,    /* a: what is called; args; generics applied before are an EXPR_index.  `x |> f(y)` is f(x, y), piped */
    EXPR_index,   /* a[items]: generic arguments, axes of a draw, slices by label, element of a list */
    EXPR_field,   /* a.name; a tuple element is a field whose name is a number */
    EXPR_tuple,   /* (items), two or more, or none */
    EXPR_list,    /* [items] */
    EXPR_record,  /* { fields } */
    EXPR_lambda,  /* params => a */
    EXPR_block,   /* { stmts; the last may be an expression: its value } */
    EXPR_if,      /* if a { b } else { c }: b and c are blocks (c may be another if, or null) */
    EXPR_with,    /* with a { b }: b evaluated under the random key a */
    EXPR_for,     /* [a for pattern in b]: compile-time comprehension */
    EXPR_cast,    /* a as type */
    EXPR_range,   /* a .. b (either may be null inside [ ]) */
    EXPR_pair,    /* name: a, an axis and its size or slice, in [ ] and as an argument; by_name: `[name = a]`, a generic */
    EXPR_arrow,   /* a -> b: axis operations (C -> [heads: 8, D]) */
    EXPR_type,    /* a type where a value is expected: f32[B, C] as an argument */
} ExprKind;

typedef enum AstOp {
    AST_neg,
    AST_not,
    AST_add,
    AST_sub,
    AST_mul,
    AST_div,
    AST_rem,
    AST_pow,
    AST_and,
    AST_or,
    AST_eq,
    AST_ne,
    AST_lt,
    AST_le,
    AST_gt,
    AST_ge,
    AST_join, /* l ++ m: lists one after the other */
} AstOp;

/* No tree is higher than this, whatever the text: walks over trees may recurse. */
enum { AST_MAX_HEIGHT = 200 };

/* ---- types ---- */

typedef enum TypeKind {
    TYPE_tensor, /* name: element type; axes */
    TYPE_tuple,  /* items */
    TYPE_record, /* fields */
    TYPE_named,  /* name: a model (maybe a.b), or `key` */
    TYPE_error,
} TypeKind;

typedef struct AxisExpr { /* one axis of a tensor type: C, C: 2*D, H/2, ..  */
    const char *label;    /* null if written as an expression with one identifier: that one is the label */
    Expr *size;           /* null: the label's own size */
    bool rest;            /* `..` */
    Span span;
} AxisExpr;

typedef struct TypeField {
    const char *name;
    struct TypeExpr *type;
} TypeField;

typedef struct TypeExpr {
    TypeKind kind;
    Span span;
    const char *name;
    bool scalar; /* tensor written without [ ] */
    bool any_float; /* tensor whose element type is written `float` */
    LIST(AxisExpr) axes;
    LIST(struct TypeExpr *) items;
    LIST(TypeField) fields;
} TypeExpr;

/* ---- pieces of expressions ---- */

typedef struct Arg {
    const char *name; /* null: positional */
    Expr *value;
    Span span;
} Arg;

typedef struct Field {
    const char *name;
    Expr *value;
    Span span;
} Field;

typedef struct Param { /* of a function, model or lambda */
    const char *name;
    TypeExpr *type; /* null: any compile-time value or tensor */
    Expr *initial;  /* default, or null */
    Span span;
} Param;
typedef LIST(Param) ParamList;

typedef struct Generic { /* in [ ] after a declared name: an axis, maybe with a default size */
    const char *name;
    Expr *initial; /* or null */
    Span span;
} Generic;

struct Expr {
    ExprKind kind;
    Span span;
    AstOp op;
    double value;
    uint64_t integer; /* number: its value if is_integer */
    bool is_integer;
    bool piped;         /* call: its first argument was written left of |> */
    bool by_name;       /* pair: [C = 8] */
    bool parenthesised; /* written in ( ), which the span includes */
    uint16_t height;    /* of the tree: 1 for a leaf */
    const char *name;
    Expr *a, *b, *c;
    Pattern *pattern;
    ExprList items;
    LIST(Arg) args;
    LIST(Field) fields;
    ParamList params;
    LIST(Stmt *) stmts;
    TypeExpr *type;
};

/* ---- patterns and statements ---- */

struct Pattern {      /* x, (a, b), _ */
    const char *name; /* null: a tuple of items */
    LIST(Pattern *) items;
    Span span;
};

typedef enum StmtKind {
    STMT_error,
    STMT_let,     /* let pattern [: type] = value, or ~ value */
    STMT_var,     /* var name = value, or ~ value */
    STMT_assign,  /* name [op]= value, or ~ value */
    STMT_for,     /* for pattern in value [, bound] { body } */
    STMT_while,   /* while value [, bound] { body } */
    STMT_expr,    /* value */
    STMT_require, /* require value, "message": checked at compile time */
} StmtKind;

struct Stmt {
    StmtKind kind;
    Span span;
    Pattern *pattern;
    TypeExpr *type;
    bool draws;    /* ~ instead of = */
    bool compound; /* op= */
    AstOp op;
    Expr *value, *bound;
    Expr *body; /* a block */
    const char *message;
};

/* ---- declarations ---- */

typedef enum DeclKind {
    DECL_error,
    DECL_import, /* path ("std.edm" or a file name), name: what it is called here */
    DECL_dim,    /* name = value */
    DECL_let,    /* name = value: a compile-time constant */
    DECL_fn,     /* name[generics](params) -> result body */
    DECL_rule,   /* derivative of name(params; tangents) body: a custom JVP rule */
    DECL_loss,
    DECL_sample,
    DECL_eval,
    DECL_model,     /* name[generics](params) { members } */
    DECL_param,     /* in a model: param name: type = initialiser */
    DECL_data,      /* name = { fields } */
    DECL_train,     /* name { fields } */
    DECL_precision, /* name: "precision"; value: exact or fast */
} DeclKind;

typedef LIST(struct Decl *) DeclList;

typedef struct Decl {
    DeclKind kind;
    Span span, name_span;
    const char *name; /* train: "train" if not given */
    const char *path; /* import */
    bool file;        /* import of a file rather than a module of the library */
    LIST(Generic) generics;
    ParamList params;
    ParamList tangents; /* rule */
    TypeExpr *type;     /* result of a function; type of a param; of a model: an alias's right side is in value */
    Expr *value;        /* dim, let, param's initialiser, data and train: a record; model alias */
    Expr *body;         /* functions: a block or an expression */
    bool body_is_expr;  /* written with = */
    bool joined;        /* import, dim: after the comma of the declaration before: dim H = 28, W = 28 */
    DeclList members;   /* model */
    const char *doc;    /* the comment lines right above, without #, or null */
} Decl;

typedef struct Comment {
    Span span;
    const char *text; /* after the # */
    bool alone;       /* nothing but space before it on its line */
} Comment;

typedef struct File {
    const Source *source;
    DeclList decls;
    LIST(Comment) comments; /* in order, for the formatter */
} File;

/* Always returns a tree; what could not be read is an error node and has a diagnostic. */
File *parse_file(Arena *arena, const Source *source, DiagSink *diags);
/* One expression: for --set KEY=VALUE. */
Expr *parse_expression(Arena *arena, const Source *source, DiagSink *diags);

/* The canonical layout of a file that parsed without errors; formatting it again changes nothing. */
void format_file(const File *file, Text *out);

#endif
