/* What the formatter asks the syntax tree: where statements and declarations start, which braces hold records, and which
 * block an `else` ties to which. */
#include "frontend/format_internal.h"

static void mark_expr(Format *format, const Expr *expr);

/* The piece that starts at a byte of the source, or the next one. */
static int piece_at(const Format *format, uint32_t start)
{
    int low = 0, high = format->count;
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (format->pieces[middle].start < start)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void mark_start(Format *format, Span span)
{
    int piece = piece_at(format, span.start);
    if (piece >= format->count)
        return;
    format->pieces[piece].starts = true;
    format->pieces[piece].unary = format->pieces[piece].kind == TOK_minus;
}

/* The { of something, which parentheses may surround. */
static int brace_of(const Format *format, Span span)
{
    int piece = piece_at(format, span.start);
    while (piece < format->count && format->pieces[piece].kind != TOK_left_brace && format->pieces[piece].start < span.end)
        piece++;
    return piece < format->count && format->pieces[piece].kind == TOK_left_brace ? piece : FORMAT_TOP;
}

static void mark_record(Format *format, Span span)
{
    int brace = brace_of(format, span);
    if (brace >= 0)
        format->pieces[brace].record = true;
}

static void mark_type(Format *format, const TypeExpr *type)
{
    if (!type)
        return;
    if (type->kind == TYPE_record)
        mark_record(format, type->span);
    for (int i = 0; i < type->axes.count; i++)
        mark_expr(format, type->axes.items[i].size);
    for (int i = 0; i < type->items.count; i++)
        mark_type(format, type->items.items[i]);
    for (int i = 0; i < type->fields.count; i++)
        mark_type(format, type->fields.items[i].type);
}

static void mark_params(Format *format, const ParamList *params)
{
    for (int i = 0; i < params->count; i++) {
        mark_type(format, params->items[i].type);
        mark_expr(format, params->items[i].initial);
    }
}

static void mark_if(Format *format, const Expr *expr)
{
    const Expr *other = expr->c && expr->c->kind == EXPR_if ? expr->c->b : expr->c;
    int block = expr->b ? brace_of(format, expr->b->span) : FORMAT_TOP;
    if (block >= 0 && other)
        format->pieces[block].chain = brace_of(format, other->span);
}

static void mark_statement(Format *format, const Stmt *stmt)
{
    mark_start(format, stmt->span);
    mark_type(format, stmt->type);
    mark_expr(format, stmt->value);
    mark_expr(format, stmt->bound);
    mark_expr(format, stmt->body);
}

static void mark_expr(Format *format, const Expr *expr)
{
    if (!expr)
        return;
    if (expr->kind == EXPR_record)
        mark_record(format, expr->span);
    if (expr->kind == EXPR_if)
        mark_if(format, expr);
    mark_type(format, expr->type);
    mark_expr(format, expr->a);
    mark_expr(format, expr->b);
    mark_expr(format, expr->c);
    for (int i = 0; i < expr->items.count; i++)
        mark_expr(format, expr->items.items[i]);
    for (int i = 0; i < expr->args.count; i++)
        mark_expr(format, expr->args.items[i].value);
    for (int i = 0; i < expr->fields.count; i++)
        mark_expr(format, expr->fields.items[i].value);
    mark_params(format, &expr->params);
    for (int i = 0; i < expr->stmts.count; i++)
        mark_statement(format, expr->stmts.items[i]);
}

static void mark_declaration(Format *format, const Decl *decl)
{
    if (!decl->joined)
        mark_start(format, decl->span);
    for (int i = 0; i < decl->generics.count; i++)
        mark_expr(format, decl->generics.items[i].initial);
    mark_params(format, &decl->params);
    mark_params(format, &decl->tangents);
    mark_type(format, decl->type);
    mark_expr(format, decl->value);
    mark_expr(format, decl->body);
    for (int i = 0; i < decl->members.count; i++)
        mark_declaration(format, decl->members.items[i]);
}

void format_mark(Format *format)
{
    for (int i = 0; i < format->file->decls.count; i++)
        mark_declaration(format, format->file->decls.items[i]);
}
