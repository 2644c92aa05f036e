/* Blocks and statements. */
#include "frontend/parser_internal.h"

#include <string.h>

static Stmt *parse_statement_node(Parser *parser, StmtKind kind)
{
    Stmt *stmt = arena_new_of(parser->arena, Stmt);
    stmt->kind = kind;
    stmt->span = parse_span_of(parser, parse_peek(parser));
    return stmt;
}

/* `= value` or `~ value`, after what is bound */
static void parse_binding(Parser *parser, Stmt *stmt)
{
    stmt->draws = parse_accept(parser, TOK_draw);
    if (!stmt->draws)
        parse_expect(parser, TOK_assign, "'=' and a value, or '~' and a draw");
    stmt->value = parse_value(parser);
}

/* let pattern [: type] = value; var name [: type] = value */
static Stmt *parse_let(Parser *parser)
{
    bool var = parse_at(parser, TOK_var);
    Stmt *stmt = parse_statement_node(parser, var ? STMT_var : STMT_let);
    parse_advance(parser);
    stmt->pattern = parse_pattern(parser);
    if (var && !stmt->pattern->name && parse_fail(parser, DIAG_syntax, stmt->pattern->span, "'var' declares one name"))
        parse_hint(parser, "write 'let (a, b) = ...' and then 'var x = a'");
    if (parse_accept(parser, TOK_colon))
        stmt->type = parse_type(parser);
    parse_binding(parser, stmt);
    return stmt;
}

/* `, bound = N` of a loop, which may be left out */
static void parse_bound(Parser *parser, Stmt *stmt)
{
    if (!parse_accept(parser, TOK_comma))
        return;
    const char *word = parse_expect_name(parser, "'bound = N'", NULL);
    if (!parser->panicking && strcmp(word, "bound") != 0)
        parse_fail(parser, DIAG_syntax, parse_span_of(parser, parse_ahead(parser, -1)), "expected 'bound = N', found '%s'",
                   word);
    parse_expect(parser, TOK_assign, "'=' and the greatest number of rounds");
    stmt->bound = parse_value(parser);
}

static Stmt *parse_for(Parser *parser)
{
    Stmt *stmt = parse_statement_node(parser, STMT_for);
    parse_advance(parser);
    stmt->pattern = parse_pattern(parser);
    if (!parse_accept(parser, TOK_in) && parse_fail_expected(parser, "'in' and a range or a list"))
        parse_hint(parser, "a loop is written 'for i in 0..n { ... }' or 'for x in xs { ... }'");
    stmt->value = parse_condition(parser, "for");
    const Expr *end = stmt->value->kind == EXPR_range ? stmt->value->b : NULL;
    if (end && (end->kind == EXPR_block || end->kind == EXPR_record) && !parse_at(parser, TOK_left_brace) &&
        parse_fail(parser, DIAG_syntax, stmt->value->a ? stmt->value->a->span : stmt->value->span,
                   "the range of a loop has two ends"))
        parse_hint(parser, "a loop is written 'for i in 0..n { ... }'");
    if (parse_at(parser, TOK_comma) && stmt->value->kind != EXPR_range)
        parse_fail(parser, DIAG_syntax, stmt->value->span, "a bound is for loops over a range");
    parse_bound(parser, stmt);
    stmt->body = parse_block(parser, " of 'for'");
    return stmt;
}

static Stmt *parse_while(Parser *parser)
{
    Stmt *stmt = parse_statement_node(parser, STMT_while);
    parse_advance(parser);
    stmt->value = parse_condition(parser, "while");
    parse_bound(parser, stmt);
    stmt->body = parse_block(parser, " of 'while'");
    return stmt;
}

static Stmt *parse_require(Parser *parser)
{
    Stmt *stmt = parse_statement_node(parser, STMT_require);
    parse_advance(parser);
    stmt->value = parse_condition(parser, "require");
    if (parse_accept(parser, TOK_comma)) {
        const Token *message = parse_peek(parser);
        if (parse_expect(parser, TOK_string, "a string that says what is required"))
            stmt->message = message->text;
    }
    return stmt;
}

static bool parse_at_assignment(const Parser *parser, AstOp *op, bool *compound)
{
    *compound = true;
    switch (parse_peek(parser)->kind) {
    case TOK_add_assign:
        return *op = AST_add, !parser->panicking;
    case TOK_sub_assign:
        return *op = AST_sub, !parser->panicking;
    case TOK_mul_assign:
        return *op = AST_mul, !parser->panicking;
    case TOK_div_assign:
        return *op = AST_div, !parser->panicking;
    case TOK_join_assign:
        return *op = AST_join, !parser->panicking;
    case TOK_assign:
    case TOK_draw:
        *compound = false;
        return !parser->panicking;
    default:
        return false;
    }
}

static void parse_fail_target(Parser *parser, const Expr *target)
{
    if (!parse_fail(parser, DIAG_syntax, target->span, "only a variable can be assigned as a whole"))
        return;
    if (target->kind == EXPR_index)
        parse_hint(parser, "tensors do not change: make a new one with concat, select or scatter_add");
    else if (target->kind == EXPR_field)
        parse_hint(parser, "records do not change: make a new one, r = { a: 1, b: r.b }");
    else if (target->kind == EXPR_tuple)
        parse_hint(parser, "write 'let (a, b) = ...' and then x = a");
    else
        parse_hint(parser, "'==' compares");
}

/* An expression, or an assignment if '=' follows it. */
static Stmt *parse_expression_statement(Parser *parser)
{
    Stmt *stmt = parse_statement_node(parser, STMT_expr);
    Expr *value = parse_value(parser);
    AstOp op = AST_add;
    bool compound;
    if (!parse_at_assignment(parser, &op, &compound)) {
        stmt->value = value;
        return stmt;
    }
    if (value->kind != EXPR_name || value->parenthesised)
        parse_fail_target(parser, value);
    stmt->kind = STMT_assign;
    stmt->compound = compound;
    stmt->op = op;
    stmt->draws = parse_at(parser, TOK_draw);
    stmt->pattern = arena_new_of(parser->arena, Pattern);
    stmt->pattern->name = value->name;
    stmt->pattern->span = value->span;
    parse_advance(parser);
    stmt->value = parse_value(parser);
    return stmt;
}

static bool parse_at_nested_declaration(const Parser *parser)
{
    return !parser->panicking && parse_starts_declaration(parser, parser->at);
}

static Stmt *parse_nested_declaration(Parser *parser)
{
    Stmt *stmt = parse_statement_node(parser, STMT_error);
    const Token *token = parse_peek(parser);
    if (!parse_fail(parser, DIAG_misplaced, parse_found_span(parser), "'%s' declares something, which a block cannot",
                    token->text))
        return stmt;
    if (token->kind == TOK_fn)
        parse_hint(parser, "name a function value instead: let f = (x, y) => x * y");
    else
        parse_hint(parser, "move it out of the function; or is a '}' missing above?");
    return stmt;
}

static Stmt *parse_statement(Parser *parser)
{
    Stmt *stmt;
    if (!parse_enter(parser, parse_peek(parser)->start))
        return parse_statement_node(parser, STMT_error);
    if (parse_at(parser, TOK_let) || parse_at(parser, TOK_var))
        stmt = parse_let(parser);
    else if (parse_at(parser, TOK_for))
        stmt = parse_for(parser);
    else if (parse_at(parser, TOK_while))
        stmt = parse_while(parser);
    else if (parse_at(parser, TOK_require))
        stmt = parse_require(parser);
    else if (parse_at_nested_declaration(parser))
        stmt = parse_nested_declaration(parser);
    else
        stmt = parse_expression_statement(parser);
    parse_leave(parser);
    stmt->span = parse_span_from(parser, stmt->span.start);
    return stmt;
}

/* What is wrong when a statement is read and its line goes on. */
static void parse_fail_statement_end(Parser *parser, int start)
{
    const Token *first = &parser->tokens.items[start], *token = parse_peek(parser);
    const char *lesson = first->kind == TOK_name ? parse_foreign_word(first->text) : NULL;
    Span at = lesson ? parse_span_of(parser, first) : parse_found_span(parser);
    if (lesson) {
        parse_fail(parser, DIAG_syntax, at, "%s", lesson);
        return;
    }
    bool one_name = parser->at == start + 1 && first->kind == TOK_name;
    bool closer = token->kind == TOK_right_paren || token->kind == TOK_right_bracket;
    if (closer) {
        parse_fail_closer(parser);
        return;
    }
    if (!parse_fail(parser, DIAG_syntax, at, "expected the end of the statement, found %s", parse_found(parser)))
        return;
    if (token->kind == TOK_colon && one_name)
        diag_note(parser->diags, (Span){0}, "a name gets its type where it is declared: let %s: f32 = ...", first->text);
    else if (token->kind == TOK_draw || token->kind == TOK_assign)
        parse_hint(parser, "a name is bound by 'let x = ...', a draw by 'let x ~ ...'; '==' compares");
    else if (token->kind == TOK_maps_to)
        parse_hint(parser, "the parameters of a function value are a name or names in ( ): (x, y) => x * y");
    else if (token->kind == TOK_arrow)
        parse_hint(parser, "a function value is written x => x + 1");
    else if (token->kind == TOK_comma)
        parse_hint(parser, "a tuple stands in parentheses: (a, b); a record names its fields: { a: 1, b: x }");
    else if (token->kind == TOK_else)
        parse_hint(parser, "'else' follows the block of an 'if'");
    else
        parse_hint(parser, "is an operator, a '(' or a ',' missing? Two statements on a line have a ';' between them");
}

static void parse_statement_end(Parser *parser, int start)
{
    if (parser->panicking || parse_accept(parser, TOK_semicolon) || parse_at(parser, TOK_right_brace) ||
        parse_at(parser, TOK_end) || parse_ends_line(parser))
        return;
    parse_fail_statement_end(parser, start);
}

static void parse_statements(Parser *parser, Expr *block)
{
    while (!parse_at(parser, TOK_right_brace) && !parse_at(parser, TOK_end) && !parse_at_outer_declaration(parser)) {
        int start = parser->at;
        if (parse_accept(parser, TOK_semicolon))
            continue;
        Stmt *stmt = parse_statement(parser);
        parse_statement_end(parser, start);
        if (parser->panicking) {
            stmt->kind = STMT_error;
            parse_skip(parser, start, false);
            parser->panicking = parse_at_lost_end(parser); /* said: it is no second mistake of this block */
        }
        list_push(parser->arena, &block->stmts, stmt);
        if (parser->panicking)
            break;
    }
}

Expr *parse_block(Parser *parser, const char *whose)
{
    Expr *block = parse_node(parser, EXPR_block, parse_peek(parser)->start);
    if (!parse_at(parser, TOK_left_brace)) {
        if (parse_fail_expected(parser, arena_printf(parser->arena, "'{' and the block%s", whose)))
            parse_hint(parser, "blocks stand in braces");
        return parse_error_node(parser, block->span.start);
    }
    Bracket bracket = parse_open(parser);
    if (parse_at(parser, TOK_name) && parse_ahead(parser, 1)->kind == TOK_colon) {
        if (parse_fail(parser, DIAG_syntax, parse_found_span(parser),
                       "a field stands in a record, and this '{' opens the block%s", whose))
            parse_hint(parser, "a record as the value of a block has braces of its own: { { a: 1 } }");
        parse_skip(parser, bracket.token, false);
        parser->panicking = false;
        parser->soft = bracket.soft;
        return parse_error_node(parser, block->span.start);
    }
    parse_statements(parser, block);
    parse_close(parser, bracket, TOK_right_brace);
    return parse_finish(parser, block);
}
