/* A syntax tree as text, without places: two trees are equal when their dumps are. */
#ifndef CM_TESTS_AST_DUMP_H
#define CM_TESTS_AST_DUMP_H

#include "frontend/ast.h"

static void dump_expr(Text *out, const Expr *expr);

static void dump_word(Text *out, const char *word)
{
    text_printf(out, " %s", word ? word : "-");
}

static void dump_type(Text *out, const TypeExpr *type)
{
    if (!type) {
        text_puts(out, " -");
        return;
    }
    text_printf(out, " (type%d", type->kind);
    dump_word(out, type->name);
    text_puts(out, type->scalar ? " scalar" : "");
    for (int i = 0; i < type->axes.count; i++) {
        text_printf(out, " [%s", type->axes.items[i].rest ? ".." : "");
        dump_word(out, type->axes.items[i].label);
        dump_expr(out, type->axes.items[i].size);
        text_puts(out, "]");
    }
    for (int i = 0; i < type->items.count; i++)
        dump_type(out, type->items.items[i]);
    for (int i = 0; i < type->fields.count; i++) {
        dump_word(out, type->fields.items[i].name);
        dump_type(out, type->fields.items[i].type);
    }
    text_puts(out, ")");
}

static void dump_pattern(Text *out, const Pattern *pattern)
{
    if (!pattern || pattern->name) {
        dump_word(out, pattern ? pattern->name : NULL);
        return;
    }
    text_puts(out, " (");
    for (int i = 0; i < pattern->items.count; i++)
        dump_pattern(out, pattern->items.items[i]);
    text_puts(out, ")");
}

static void dump_params(Text *out, const ParamList *params)
{
    for (int i = 0; i < params->count; i++) {
        text_puts(out, " <");
        dump_word(out, params->items[i].name);
        dump_type(out, params->items[i].type);
        dump_expr(out, params->items[i].initial);
        text_puts(out, ">");
    }
}

static void dump_stmt(Text *out, const Stmt *stmt)
{
    text_printf(out, " {stmt%d%s", stmt->kind, stmt->draws ? " draws" : "");
    if (stmt->compound)
        text_printf(out, " op%d", stmt->op);
    dump_pattern(out, stmt->pattern);
    dump_type(out, stmt->type);
    dump_expr(out, stmt->value);
    dump_expr(out, stmt->bound);
    dump_expr(out, stmt->body);
    dump_word(out, stmt->message);
    text_puts(out, "}\n");
}

static void dump_expr(Text *out, const Expr *expr)
{
    if (!expr) {
        text_puts(out, " -");
        return;
    }
    text_printf(out, " (%d op%d", expr->kind, expr->op);
    if (expr->kind == EXPR_number)
        text_printf(out, " %a %llu %d", expr->value, (unsigned long long)expr->integer, expr->is_integer);
    if (expr->kind == EXPR_bool)
        text_printf(out, " %g", expr->value);
    text_puts(out, expr->piped ? " piped" : "");
    text_puts(out, expr->by_name ? " by_name" : "");
    text_puts(out, expr->parenthesised ? " paren" : "");
    dump_word(out, expr->name);
    dump_pattern(out, expr->pattern);
    dump_expr(out, expr->a);
    dump_expr(out, expr->b);
    dump_expr(out, expr->c);
    for (int i = 0; i < expr->items.count; i++)
        dump_expr(out, expr->items.items[i]);
    for (int i = 0; i < expr->args.count; i++) {
        text_puts(out, " arg");
        dump_word(out, expr->args.items[i].name);
        dump_expr(out, expr->args.items[i].value);
    }
    for (int i = 0; i < expr->fields.count; i++) {
        text_puts(out, " field");
        dump_word(out, expr->fields.items[i].name);
        dump_expr(out, expr->fields.items[i].value);
    }
    dump_params(out, &expr->params);
    for (int i = 0; i < expr->stmts.count; i++)
        dump_stmt(out, expr->stmts.items[i]);
    dump_type(out, expr->type);
    text_puts(out, ")");
}

static void dump_decl(Text *out, const Decl *decl)
{
    text_printf(out, "decl%d%s%s%s", decl->kind, decl->file ? " file" : "", decl->body_is_expr ? " =" : "",
                decl->joined ? " joined" : "");
    dump_word(out, decl->name);
    dump_word(out, decl->path);
    for (int i = 0; i < decl->generics.count; i++) {
        dump_word(out, decl->generics.items[i].name);
        dump_expr(out, decl->generics.items[i].initial);
    }
    dump_params(out, &decl->params);
    dump_params(out, &decl->tangents);
    dump_type(out, decl->type);
    dump_expr(out, decl->value);
    dump_expr(out, decl->body);
    for (int i = 0; i < decl->members.count; i++)
        dump_decl(out, decl->members.items[i]);
    dump_word(out, decl->doc);
    text_puts(out, "\n");
}

static void dump_file(Text *out, const File *file)
{
    for (int i = 0; i < file->decls.count; i++)
        dump_decl(out, file->decls.items[i]);
}

#endif
