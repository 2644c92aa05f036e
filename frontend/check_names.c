/* Names in functions that were not elaborated, because nobody calls them and their parameters have no types: what they mean is
 * not known, but each must mean something.  A bare name may be an axis wherever axes can stand; there it means itself. */
#include "frontend/elaborate.h"

#include <string.h>

typedef struct Names {
    const Program *program;
    DiagSink *diags;
    WordList scope;  /* bound around here, from the outside in */
    WordList labels; /* axes that the function names; known in all of it */
    WordList told;
} Names;

static void add(Names *names, WordList *list, const char *name)
{
    if (name)
        list_push(names->program->arena, list, name);
}

static bool holds(const WordList *list, const char *name)
{
    for (int i = 0; i < list->count; i++) {
        if (!strcmp(list->items[i], name))
            return true;
    }
    return false;
}

static bool in_module(const Module *module, const char *name)
{
    return table_get(&module->decls, name) || table_get(&module->imports, name);
}

static bool is_known(const Names *names, const char *name)
{
    DType dtype;
    bool known = holds(&names->scope, name) || holds(&names->labels, name) || in_module(names->program->modules.items[0], name);
    for (int i = 0; !known && i < names->program->open.count; i++)
        known = table_get(&names->program->open.items[i]->decls, name) != NULL;
    return known || builtin_find(name) || dtype_from_name(name, &dtype) || !strcmp(name, "training");
}

static void expect_name(Names *names, const Expr *expr)
{
    if (is_known(names, expr->name) || holds(&names->told, expr->name))
        return;
    add(names, &names->told, expr->name);
    diag_report(names->diags, DIAG_unknown_name, expr->span, "there is no `%s` here", expr->name);
    const char *near = closest_word(expr->name, names->scope.items, names->scope.count);
    if (near)
        diag_note(names->diags, (Span){0}, "did you mean `%s`?", near);
}

/* ---- axes ---- */

static void walk(Names *names, const Expr *expr);

/* Where axes can stand: `C`, `[H, W]`, `C -> [A: 2, D]`. */
static void walk_axes(Names *names, const Expr *expr)
{
    if (!expr)
        return;
    switch (expr->kind) {
    case EXPR_name:
        add(names, &names->labels, expr->name);
        break;
    case EXPR_pair:
        add(names, &names->labels, expr->name);
        walk_axes(names, expr->a);
        break;
    case EXPR_arrow:
    case EXPR_list:
        walk_axes(names, expr->a);
        walk_axes(names, expr->b);
        for (int i = 0; i < expr->items.count; i++)
            walk_axes(names, expr->items.items[i]);
        break;
    default:
        walk(names, expr);
    }
}

static void walk_type(Names *names, const TypeExpr *type)
{
    for (int i = 0; type && i < type->axes.count; i++) {
        const AxisExpr *axis = &type->axes.items[i];
        add(names, &names->labels, axis->rest ? NULL : type_axis_label(axis));
        walk_axes(names, axis->size);
    }
    for (int i = 0; type && i < type->items.count; i++)
        walk_type(names, type->items.items[i]);
    for (int i = 0; type && i < type->fields.count; i++)
        walk_type(names, type->fields.items[i].type);
}

/* ---- expressions and statements ---- */

static void add_pattern(Names *names, const Pattern *pattern)
{
    if (!pattern)
        return;
    add(names, &names->scope, pattern->name);
    for (int i = 0; i < pattern->items.count; i++)
        add_pattern(names, pattern->items.items[i]);
}

static void add_params(Names *names, const ParamList *params)
{
    for (int i = 0; i < params->count; i++) {
        walk_type(names, params->items[i].type);
        walk(names, params->items[i].initial);
        add(names, &names->scope, params->items[i].name);
    }
}

/* Behind its first argument a builtin function may take axes. */
static void walk_call(Names *names, const Expr *call)
{
    walk(names, call->a);
    bool builtin = call->a->kind == EXPR_name && !holds(&names->scope, call->a->name) && builtin_find(call->a->name);
    for (int i = 0; i < call->args.count; i++)
        (builtin && i > 0 ? walk_axes : walk)(names, call->args.items[i].value);
}

static void walk_statement(Names *names, const Stmt *stmt)
{
    int before = names->scope.count;
    walk_type(names, stmt->type);
    walk(names, stmt->value);
    walk(names, stmt->bound);
    if (stmt->kind == STMT_assign)
        return;
    add_pattern(names, stmt->pattern);
    walk(names, stmt->body);
    if (stmt->kind == STMT_for)
        names->scope.count = before;
}

static void walk_parts(Names *names, const Expr *expr)
{
    walk(names, expr->a);
    walk(names, expr->b);
    walk(names, expr->c);
    walk_type(names, expr->type);
    for (int i = 0; i < expr->items.count; i++)
        (expr->kind == EXPR_index ? walk_axes : walk)(names, expr->items.items[i]);
    for (int i = 0; i < expr->fields.count; i++)
        walk(names, expr->fields.items[i].value);
    for (int i = 0; i < expr->stmts.count; i++)
        walk_statement(names, expr->stmts.items[i]);
}

static void walk(Names *names, const Expr *expr)
{
    int before = names->scope.count;
    if (!expr)
        return;
    switch (expr->kind) {
    case EXPR_name:
        expect_name(names, expr);
        break;
    case EXPR_pair:
    case EXPR_arrow:
        walk_axes(names, expr);
        break;
    case EXPR_call:
        walk_call(names, expr);
        break;
    case EXPR_for:
        walk(names, expr->b);
        add_pattern(names, expr->pattern);
        walk(names, expr->a);
        break;
    case EXPR_lambda:
        add_params(names, &expr->params);
        walk(names, expr->a);
        break;
    default:
        walk_parts(names, expr);
    }
    names->scope.count = before;
}

/* ---- declarations ---- */

static bool lacks_types(const Decl *decl)
{
    for (int i = 0; i < decl->params.count; i++) {
        if (!decl->params.items[i].type && !decl->params.items[i].initial)
            return true;
    }
    return false;
}

static void check_function(Names *names, const Decl *decl)
{
    int before = names->scope.count;
    names->labels.count = names->told.count = 0;
    for (int i = 0; i < decl->generics.count; i++)
        add(names, &names->scope, decl->generics.items[i].name);
    add_params(names, &decl->params);
    add_params(names, &decl->tangents);
    walk_type(names, decl->type);
    walk(names, decl->body);
    names->scope.count = before;
}

static void check_methods(Names *names, const Decl *model)
{
    for (int i = 0; i < model->generics.count; i++)
        add(names, &names->scope, model->generics.items[i].name);
    for (int i = 0; i < model->params.count; i++)
        add(names, &names->scope, model->params.items[i].name);
    for (int i = 0; i < model->members.count; i++)
        add(names, &names->scope, model->members.items[i]->name);
    for (int i = 0; i < model->members.count; i++) {
        if (model->members.items[i]->kind == DECL_fn && lacks_types(model->members.items[i]))
            check_function(names, model->members.items[i]);
    }
    names->scope.count = 0;
}

void check_names(const Program *program, DiagSink *diags)
{
    Names names = {.program = program, .diags = diags};
    const File *file = program->modules.items[0]->file;
    for (int i = 0; i < file->decls.count; i++) {
        const Decl *decl = file->decls.items[i];
        if (decl->kind == DECL_model)
            check_methods(&names, decl);
        else if ((decl->kind == DECL_fn && lacks_types(decl)) || decl->kind == DECL_rule)
            check_function(&names, decl);
    }
}
