/* Expressions, by precedence; docs/language.md lists the operators from weakest to strongest. */
#include "frontend/parser_internal.h"

#include <string.h>

enum Strength { WEAKEST = 1, NOT = 3, COMPARISON = 4, RANGE = 5, SUM = 6 };

static const struct Infix {
    TokenKind token;
    int strength;
    ExprKind kind;
    AstOp op;
} infixes[] = {
    {TOK_or, 1, EXPR_binary, AST_or},       {TOK_and, 2, EXPR_binary, AST_and},
    {TOK_equal, 4, EXPR_compare, AST_eq},   {TOK_not_equal, 4, EXPR_compare, AST_ne},
    {TOK_less, 4, EXPR_compare, AST_lt},    {TOK_less_equal, 4, EXPR_compare, AST_le},
    {TOK_greater, 4, EXPR_compare, AST_gt}, {TOK_greater_equal, 4, EXPR_compare, AST_ge},
    {TOK_range, 5, EXPR_range, AST_neg},    {TOK_plus, 6, EXPR_binary, AST_add},
    {TOK_minus, 6, EXPR_binary, AST_sub},   {TOK_join, 6, EXPR_binary, AST_join},
    {TOK_star, 7, EXPR_binary, AST_mul},    {TOK_slash, 7, EXPR_binary, AST_div},
    {TOK_percent, 7, EXPR_binary, AST_rem},
};

static Expr *parse_unary(Parser *parser);
static Expr *parse_item(Parser *parser, bool generics);

/* ---- nodes ---- */

Expr *parse_node(Parser *parser, ExprKind kind, uint32_t start)
{
    Expr *expr = arena_new_of(parser->arena, Expr);
    expr->kind = kind;
    expr->span = parse_span_from(parser, start);
    expr->height = 1;
    return expr;
}

Expr *parse_error_node(Parser *parser, uint32_t start)
{
    return parse_node(parser, EXPR_error, start);
}

static int height_of(const Expr *expr)
{
    return expr ? expr->height : 0;
}

static int max_height(int a, int b)
{
    return a > b ? a : b;
}

/* Types nest at most AST_MAX_HEIGHT deep themselves; what counts is the expressions inside. */
static int height_of_type(const TypeExpr *type)
{
    int height = 0;
    if (!type)
        return 0;
    for (int i = 0; i < type->axes.count; i++)
        height = max_height(height, height_of(type->axes.items[i].size));
    for (int i = 0; i < type->items.count; i++)
        height = max_height(height, height_of_type(type->items.items[i]));
    for (int i = 0; i < type->fields.count; i++)
        height = max_height(height, height_of_type(type->fields.items[i].type));
    return height;
}

static int height_of_statement(const Stmt *stmt)
{
    int height = max_height(height_of(stmt->value), max_height(height_of(stmt->bound), height_of(stmt->body)));
    return max_height(height, height_of_type(stmt->type));
}

static int height_of_children(const Expr *expr)
{
    int height = max_height(height_of(expr->a), max_height(height_of(expr->b), height_of(expr->c)));
    height = max_height(height, height_of_type(expr->type));
    for (int i = 0; i < expr->items.count; i++)
        height = max_height(height, height_of(expr->items.items[i]));
    for (int i = 0; i < expr->args.count; i++)
        height = max_height(height, height_of(expr->args.items[i].value));
    for (int i = 0; i < expr->fields.count; i++)
        height = max_height(height, height_of(expr->fields.items[i].value));
    for (int i = 0; i < expr->params.count; i++) {
        height = max_height(height, height_of(expr->params.items[i].initial));
        height = max_height(height, height_of_type(expr->params.items[i].type));
    }
    for (int i = 0; i < expr->stmts.count; i++)
        height = max_height(height, height_of_statement(expr->stmts.items[i]));
    return height;
}

Expr *parse_finish(Parser *parser, Expr *expr)
{
    int height = height_of_children(expr) + 1;
    expr->span = parse_span_from(parser, expr->span.start);
    if (height > AST_MAX_HEIGHT) {
        bool chain = expr->kind == EXPR_binary && !expr->parenthesised;
        const char *what = chain ? "this chain of operators is longer than %d" : "this is nested more than %d deep";
        if (parse_fail(parser, DIAG_too_deep, expr->span, what, AST_MAX_HEIGHT))
            parse_hint(parser, "give parts of it names with 'let'");
        return parse_error_node(parser, expr->span.start);
    }
    if (parser->panicking)
        expr->kind = EXPR_error;
    expr->height = (uint16_t)height;
    return expr;
}

static Expr *parse_join(Parser *parser, const struct Infix *infix, Expr *a, Expr *b)
{
    Expr *expr = parse_node(parser, infix->kind, a->span.start);
    expr->op = infix->op;
    expr->a = a;
    expr->b = b;
    return parse_finish(parser, expr);
}

/* ---- arguments, items of lists and of [ ] ---- */

/* A value, or a slice with an open end. */
static Expr *parse_slice(Parser *parser)
{
    uint32_t start = parse_peek(parser)->start;
    if (!parse_accept(parser, TOK_range))
        return parse_value(parser);
    Expr *expr = parse_node(parser, EXPR_range, start);
    if (!parse_at(parser, TOK_right_bracket) && !parse_at(parser, TOK_comma))
        expr->b = parse_value(parser);
    return parse_finish(parser, expr);
}

static bool parse_at_pair(const Parser *parser, bool generics)
{
    TokenKind next = parse_ahead(parser, 1)->kind;
    return parse_at(parser, TOK_name) && (next == TOK_colon || (generics && next == TOK_assign));
}

static Expr *parse_pair(Parser *parser)
{
    const Token *token = parse_advance(parser);
    Expr *expr = parse_node(parser, EXPR_pair, token->start);
    expr->name = token->text;
    expr->by_name = parse_advance(parser)->kind == TOK_assign;
    expr->a = parse_slice(parser);
    return parse_finish(parser, expr);
}

/* e, T: e, T: 0..4, C -> D, C -> [heads: 8, D]; after a declared name also C = 8. */
static Expr *parse_item(Parser *parser, bool generics)
{
    if (parse_at_pair(parser, generics))
        return parse_pair(parser);
    Expr *left = parse_slice(parser);
    if (!parse_accept(parser, TOK_arrow))
        return left;
    Expr *expr = parse_node(parser, EXPR_arrow, left->span.start);
    expr->a = left;
    expr->b = parse_at_pair(parser, false) ? parse_pair(parser) : parse_value(parser);
    return parse_finish(parser, expr);
}

static void parse_items(Parser *parser, Expr *expr, Bracket bracket, bool generics)
{
    while (parse_more(parser, TOK_right_bracket)) {
        Expr *item = parse_item(parser, generics);
        list_push(parser->arena, &expr->items, item);
        if (!parse_separator(parser, bracket, TOK_right_bracket))
            break;
    }
    parse_close(parser, bracket, TOK_right_bracket);
}

static Arg parse_argument(Parser *parser)
{
    const Token *token = parse_peek(parser);
    Arg arg = {0};
    if (token->kind == TOK_name && parse_ahead(parser, 1)->kind == TOK_assign) {
        arg.name = parse_advance(parser)->text;
        parse_advance(parser);
    }
    arg.value = parse_item(parser, false);
    arg.span = parse_span_from(parser, token->start);
    return arg;
}

static Expr *parse_call(Parser *parser, Expr *callee)
{
    Expr *expr = parse_node(parser, EXPR_call, callee->span.start);
    expr->a = callee;
    if (callee->kind == EXPR_type) {
        if (parse_fail(parser, DIAG_syntax, parse_found_span(parser), "a type is not called"))
            diag_note(parser->diags, (Span){0}, "a cast is written x as %s", callee->type->name ? callee->type->name : "f32");
        return parse_error_node(parser, callee->span.start);
    }
    Bracket bracket = parse_open(parser);
    while (parse_more(parser, TOK_right_paren)) {
        Arg arg = parse_argument(parser);
        list_push(parser->arena, &expr->args, arg);
        if (!parse_separator(parser, bracket, TOK_right_paren))
            break;
    }
    parse_close(parser, bracket, TOK_right_paren);
    return parse_finish(parser, expr);
}

static Expr *parse_index(Parser *parser, Expr *indexed)
{
    Expr *expr = parse_node(parser, EXPR_index, indexed->span.start);
    expr->a = indexed;
    parse_items(parser, expr, parse_open(parser), true);
    if (!parser->panicking && !expr->items.count)
        parse_fail(parser, DIAG_syntax, parse_span_from(parser, indexed->span.end), "nothing stands between '[' and ']'");
    return parse_finish(parser, expr);
}

static Expr *parse_field(Parser *parser, Expr *of)
{
    Expr *expr = parse_node(parser, EXPR_field, of->span.start);
    expr->a = of;
    parse_advance(parser);
    const Token *token = parse_peek(parser);
    bool word = token->kind >= TOK_let && token->kind < TOK_COUNT;
    if (!parser->panicking && (word || (token->kind == TOK_number && token->is_integer)))
        expr->name = parse_advance(parser)->text;
    else
        expr->name = parse_expect_name(parser, "the name of a field, or its number in a tuple", NULL);
    return parse_finish(parser, expr);
}

/* ---- primary expressions ---- */

static Expr *parse_leaf(Parser *parser, ExprKind kind)
{
    const Token *token = parse_advance(parser);
    Expr *expr = parse_node(parser, kind, token->start);
    expr->name = token->text;
    expr->value = kind == EXPR_bool ? token->kind == TOK_true : token->value;
    expr->integer = token->integer;
    expr->is_integer = token->is_integer;
    return expr;
}

static Expr *parse_type_value(Parser *parser)
{
    Expr *expr = parse_node(parser, EXPR_type, parse_peek(parser)->start);
    expr->type = parse_type(parser);
    return parse_finish(parser, expr);
}

static Expr *parse_parentheses(Parser *parser)
{
    Expr *tuple = parse_node(parser, EXPR_tuple, parse_peek(parser)->start);
    Bracket bracket = parse_open(parser);
    bool comma = false;
    while (parse_more(parser, TOK_right_paren)) {
        Expr *item = parse_value(parser);
        list_push(parser->arena, &tuple->items, item);
        comma = parse_separator(parser, bracket, TOK_right_paren);
        if (!comma)
            break;
    }
    parse_close(parser, bracket, TOK_right_paren);
    if (tuple->items.count != 1)
        return parse_finish(parser, tuple);
    if (comma &&
        parse_fail(parser, DIAG_syntax, parse_span_from(parser, tuple->span.start), "a tuple has two elements or more"))
        parse_hint(parser, "parentheses around one value need no ','");
    Expr *inner = tuple->items.items[0];
    inner->parenthesised = true;
    inner->span = parse_span_from(parser, tuple->span.start);
    return inner;
}

/* [e for x in xs], after e */
static Expr *parse_comprehension(Parser *parser, Expr *item, Bracket bracket)
{
    uint32_t start = parser->tokens.items[bracket.token].start;
    Expr *expr = parse_node(parser, EXPR_for, start);
    parse_advance(parser);
    expr->a = item;
    expr->pattern = parse_pattern(parser);
    parse_expect(parser, TOK_in, "'in' and a list or a range");
    expr->b = parse_value(parser);
    if (parse_at(parser, TOK_if) || parse_at(parser, TOK_for))
        if (parse_fail_expected(parser, "']'"))
            parse_hint(parser, "a list has one 'for' and no 'if': the list of a function's results takes their place");
    parse_close(parser, bracket, TOK_right_bracket);
    return parse_finish(parser, expr);
}

static Expr *parse_list(Parser *parser)
{
    Expr *list = parse_node(parser, EXPR_list, parse_peek(parser)->start);
    Bracket bracket = parse_open(parser);
    if (!parse_more(parser, TOK_right_bracket)) {
        parse_close(parser, bracket, TOK_right_bracket);
        return parse_finish(parser, list);
    }
    Expr *first = parse_item(parser, false);
    if (parse_at(parser, TOK_for))
        return parse_comprehension(parser, first, bracket);
    list_push(parser->arena, &list->items, first);
    if (parse_separator(parser, bracket, TOK_right_bracket))
        parse_items(parser, list, bracket, false);
    else
        parse_close(parser, bracket, TOK_right_bracket);
    return parse_finish(parser, list);
}

/* A turn of a run: `student = { loss = distance, when = step % 2 == 0 }`. */
static bool parse_at_turn(const Parser *parser, TokenKind sign)
{
    return sign == TOK_assign && parse_at(parser, TOK_left_brace) && parse_ahead(parser, 1)->kind == TOK_name &&
           parse_ahead(parser, 2)->kind == TOK_assign;
}

static Expr *parse_turn(Parser *parser)
{
    uint32_t start = parse_peek(parser)->start;
    if (!parse_enter(parser, start))
        return parse_error_node(parser, start);
    Expr *turn = parse_record(parser, TOK_assign);
    parse_leave(parser);
    return turn;
}

static Field parse_record_field(Parser *parser, TokenKind sign, Table *seen)
{
    uint32_t start = parse_peek(parser)->start;
    Field field = {0};
    Span name;
    if (parse_at(parser, TOK_string)) {
        if (parse_fail_expected(parser, "the name of a field"))
            parse_hint(parser, "names of fields have no quotes: { a: 1 }");
    } else {
        field.name = parse_expect_name(parser, "the name of a field", &name);
        parse_new_name(parser, seen, "field", field.name, name);
    }
    bool other = parse_at(parser, sign == TOK_colon ? TOK_assign : TOK_colon);
    const char *what = arena_printf(parser->arena, "%s and the value of '%s'", token_kind_text(sign), field.name);
    if (!parse_accept(parser, sign) && parse_fail_expected(parser, what) && other)
        parse_hint(parser, sign == TOK_colon ? "a record is written { a: 1, b: x }" : "a run is written train { batch = 128 }");
    field.value = parse_at_turn(parser, sign) ? parse_turn(parser) : parse_value(parser);
    field.span = parse_span_from(parser, start);
    return field;
}

Expr *parse_record(Parser *parser, TokenKind sign)
{
    Expr *record = parse_node(parser, EXPR_record, parse_peek(parser)->start);
    Bracket bracket = parse_open(parser);
    Table seen = table_new(parser->arena);
    while (parse_more(parser, TOK_right_brace) && !parse_at_outer_declaration(parser)) {
        int start = parser->at;
        Field field = parse_record_field(parser, sign, &seen);
        bool comma = parse_separator(parser, bracket, TOK_right_brace);
        if (parser->panicking) {
            parse_skip(parser, start, true);
            field.value = parse_error_node(parser, field.span.start);
            parser->panicking = parse_at_lost_end(parser);
            comma = parse_accept(parser, TOK_comma);
        }
        list_push(parser->arena, &record->fields, field);
        if (!comma)
            break;
    }
    parse_close(parser, bracket, TOK_right_brace);
    return parse_finish(parser, record);
}

/* { name: starts a record, { } is the empty one; anything else is a block */
static Expr *parse_braces(Parser *parser)
{
    TokenKind first = parse_ahead(parser, 1)->kind, second = parse_ahead(parser, 2)->kind;
    bool names = first == TOK_name || first == TOK_string || (first >= TOK_let && first < TOK_COUNT);
    if (first == TOK_right_brace || (names && second == TOK_colon))
        return parse_record(parser, TOK_colon);
    return parse_block(parser, "");
}

Expr *parse_condition(Parser *parser, const char *keyword)
{
    Expr *condition = parse_value(parser);
    if (parse_at(parser, TOK_assign) && parse_fail(parser, DIAG_syntax, parse_found_span(parser),
                                                   "'=' gives a value to a name; the condition of '%s' compares", keyword))
        parse_hint(parser, "write '=='");
    return condition;
}

static Expr *parse_if(Parser *parser)
{
    Expr *expr = parse_node(parser, EXPR_if, parse_peek(parser)->start);
    if (!parse_enter(parser, expr->span.start))
        return parse_error_node(parser, expr->span.start);
    parse_advance(parser);
    expr->a = parse_condition(parser, "if");
    expr->b = parse_block(parser, " of 'if'");
    if (parse_accept(parser, TOK_else))
        expr->c = parse_at(parser, TOK_if) ? parse_if(parser) : parse_block(parser, " of 'else'");
    parse_leave(parser);
    return parse_finish(parser, expr);
}

static Expr *parse_with(Parser *parser)
{
    Expr *expr = parse_node(parser, EXPR_with, parse_peek(parser)->start);
    parse_advance(parser);
    expr->a = parse_value(parser);
    expr->b = parse_block(parser, " of 'with'");
    return parse_finish(parser, expr);
}

static Expr *parse_no_value(Parser *parser)
{
    uint32_t start = parse_peek(parser)->start;
    bool ends = parse_ends_line(parser);
    TokenKind kind = parse_peek(parser)->kind;
    if (!parse_fail_expected(parser, "a value"))
        return parse_error_node(parser, start);
    if (ends)
        ;
    else if (kind == TOK_for)
        parse_hint(parser, "a list made by a loop stands in brackets: [f(i) for i in 0..4]");
    else if (kind == TOK_plus)
        parse_hint(parser, "there is no '+' before a value");
    else if (kind == TOK_assign)
        parse_hint(parser, "'==' compares");
    else if (kind == TOK_let || kind == TOK_var)
        parse_hint(parser, "a block with statements stands in braces: { let y = f(x); y + 1 }");
    else if (kind == TOK_fn)
        parse_hint(parser, "a function value is written x => x + 1 or (x, y) => x * y");
    return parse_error_node(parser, start);
}

static bool parse_primary_is_block(TokenKind kind)
{
    return kind == TOK_if || kind == TOK_with;
}

static Expr *parse_primary(Parser *parser)
{
    if (parser->panicking)
        return parse_error_node(parser, parse_peek(parser)->start);
    if (parse_ends_line(parser) && parse_at_outer_declaration(parser))
        return parse_no_value(parser);
    switch (parse_peek(parser)->kind) {
    case TOK_number:
        return parse_leaf(parser, EXPR_number);
    case TOK_string:
        return parse_leaf(parser, EXPR_string);
    case TOK_true:
    case TOK_false:
        return parse_leaf(parser, EXPR_bool);
    case TOK_name:
        return parse_is_dtype(parse_peek(parser)->text) ? parse_type_value(parser) : parse_leaf(parser, EXPR_name);
    case TOK_left_paren:
        return parse_parentheses(parser);
    case TOK_left_bracket:
        return parse_list(parser);
    case TOK_left_brace:
        return parse_braces(parser);
    case TOK_if:
        return parse_if(parser);
    case TOK_with:
        return parse_with(parser);
    default:
        return parse_no_value(parser);
    }
}

/* ---- operators ---- */

static Expr *parse_postfix(Parser *parser)
{
    bool block = parse_primary_is_block(parse_peek(parser)->kind);
    Expr *expr = parse_primary(parser);
    while (!parser->panicking && !block) {
        bool same_line = !parse_peek(parser)->line_start;
        if (same_line && parse_at(parser, TOK_left_paren))
            expr = parse_call(parser, expr);
        else if (same_line && parse_at(parser, TOK_left_bracket))
            expr = parse_index(parser, expr);
        else if (parse_at(parser, TOK_dot))
            expr = parse_field(parser, expr);
        else
            break;
    }
    return expr;
}

static Expr *parse_cast(Parser *parser)
{
    Expr *expr = parse_postfix(parser);
    while (parse_accept(parser, TOK_as)) {
        Expr *cast = parse_node(parser, EXPR_cast, expr->span.start);
        cast->a = expr;
        cast->type = parse_type(parser);
        expr = parse_finish(parser, cast);
    }
    return expr;
}

static Expr *parse_power(Parser *parser)
{
    static const struct Infix power = {TOK_caret, 0, EXPR_binary, AST_pow};
    Expr *base = parse_cast(parser);
    if (!parse_accept(parser, TOK_caret))
        return base;
    if (!parse_enter(parser, base->span.start))
        return parse_error_node(parser, base->span.start);
    Expr *exponent = parse_unary(parser);
    parse_leave(parser);
    return parse_join(parser, &power, base, exponent);
}

static Expr *parse_prefix(Parser *parser, AstOp op, Expr *(*operand)(Parser *))
{
    Expr *expr = parse_node(parser, EXPR_unary, parse_peek(parser)->start);
    if (!parse_enter(parser, expr->span.start))
        return parse_error_node(parser, expr->span.start);
    parse_advance(parser);
    expr->op = op;
    expr->a = operand(parser);
    parse_leave(parser);
    return parse_finish(parser, expr);
}

static Expr *parse_unary(Parser *parser)
{
    return parse_at(parser, TOK_minus) ? parse_prefix(parser, AST_neg, parse_unary) : parse_power(parser);
}

/* An operator at the start of a line belongs to the line before; a '-' starts a statement. */
static const struct Infix *parse_infix(const Parser *parser)
{
    const Token *token = parse_peek(parser);
    if (parser->panicking || (token->kind == TOK_minus && parse_ends_line(parser)))
        return NULL;
    for (size_t i = 0; i < sizeof infixes / sizeof *infixes; i++)
        if (infixes[i].token == token->kind)
            return &infixes[i];
    return NULL;
}

static void parse_check_chain(Parser *parser, const struct Infix *before)
{
    const struct Infix *next = parse_infix(parser);
    if (!next || next->strength != before->strength || (before->strength != COMPARISON && before->strength != RANGE))
        return;
    bool range = before->strength == RANGE;
    if (parse_fail(parser, DIAG_syntax, parse_found_span(parser), range ? "a range has two ends" : "comparisons do not chain"))
        parse_hint(parser, range ? "a range is written 0..n" : "write a < b and b < c");
}

static Expr *parse_binary(Parser *parser, int weakest);

static Expr *parse_not_operand(Parser *parser)
{
    return parse_binary(parser, NOT);
}

static Expr *parse_operand(Parser *parser, int weakest)
{
    if (!parse_at(parser, TOK_not))
        return parse_unary(parser);
    uint32_t start = parse_peek(parser)->start;
    if (weakest <= NOT)
        return parse_prefix(parser, AST_not, parse_not_operand);
    if (parse_fail(parser, DIAG_syntax, parse_found_span(parser), "'not' is weaker than the operator before it"))
        parse_hint(parser, "put it in parentheses: a == (not b)");
    return parse_error_node(parser, start);
}

static Expr *parse_binary(Parser *parser, int weakest)
{
    Expr *left = parse_operand(parser, weakest);
    const struct Infix *infix;
    while ((infix = parse_infix(parser)) && infix->strength >= weakest) {
        parse_advance(parser);
        Expr *right = NULL;
        bool open = infix->strength == RANGE && (parse_at(parser, TOK_right_bracket) || parse_at(parser, TOK_comma));
        if (!open)
            right = parse_binary(parser, infix->strength + 1);
        left = parse_join(parser, infix, left, right);
        parse_check_chain(parser, infix);
    }
    return left;
}

/* ---- functions and pipes ---- */

static bool parse_at_lambda(const Parser *parser)
{
    const Token *token = parse_peek(parser);
    if (parse_at(parser, TOK_name))
        return parse_ahead(parser, 1)->kind == TOK_maps_to;
    return parse_at(parser, TOK_left_paren) && token->match >= 0 && parser->tokens.items[token->match + 1].kind == TOK_maps_to;
}

static Expr *parse_lambda(Parser *parser)
{
    const Token *token = parse_peek(parser);
    Expr *expr = parse_node(parser, EXPR_lambda, token->start);
    if (token->kind == TOK_name) {
        Param param = {.name = parse_advance(parser)->text, .span = parse_span_of(parser, token)};
        list_push(parser->arena, &expr->params, param);
    } else {
        Bracket bracket = parse_open(parser);
        Table seen = table_new(parser->arena);
        parse_param_list(parser, bracket, &seen, &expr->params);
        parse_close(parser, bracket, TOK_right_paren);
    }
    parse_expect(parser, TOK_maps_to, "'=>'");
    expr->a = parse_value(parser);
    return parse_finish(parser, expr);
}

/* `left |> right`: right is a function, or a call that gets one more first argument. */
static Expr *parse_piped(Parser *parser, Expr *left, Expr *right)
{
    Expr *call = parse_node(parser, EXPR_call, left->span.start);
    Arg first = {.value = left, .span = left->span};
    bool extends = right->kind == EXPR_call && !right->parenthesised;
    call->a = extends ? right->a : right;
    call->piped = true;
    list_push(parser->arena, &call->args, first);
    for (int i = 0; extends && i < right->args.count; i++)
        list_push(parser->arena, &call->args, right->args.items[i]);
    return parse_finish(parser, call);
}

static Expr *parse_pipe(Parser *parser)
{
    Expr *left = parse_binary(parser, WEAKEST);
    while (parse_accept(parser, TOK_pipe)) {
        uint32_t start = parse_peek(parser)->start;
        bool lambda = parse_at_lambda(parser);
        if (lambda &&
            parse_fail(parser, DIAG_syntax, parse_found_span(parser), "a function written after '|>' stands in parentheses"))
            parse_hint(parser, "x |> (y => y * 2)");
        Expr *right = parse_postfix(parser);
        bool callable = right->kind == EXPR_name || right->kind == EXPR_field || right->kind == EXPR_index ||
                        right->kind == EXPR_call || right->parenthesised;
        if (!callable && parse_fail(parser, DIAG_syntax, parse_span_from(parser, start),
                                    "what stands right of '|>' is a function or a call"))
            parse_hint(parser, "x |> f is f(x), and x |> f(a) is f(x, a)");
        left = parse_piped(parser, left, right);
        if (!parser->panicking && (parse_infix(parser) || parse_at(parser, TOK_as) || parse_at(parser, TOK_caret)) &&
            parse_fail(parser, DIAG_syntax, parse_found_span(parser),
                       "%s cannot follow a '|>': it would be part of the function", parse_found(parser)))
            parse_hint(parser, "put the pipe in parentheses: (x |> f) + 1");
    }
    return left;
}

Expr *parse_value(Parser *parser)
{
    uint32_t start = parse_peek(parser)->start;
    if (!parse_enter(parser, start))
        return parse_error_node(parser, start);
    Expr *expr = parse_at_lambda(parser) ? parse_lambda(parser) : parse_pipe(parser);
    parse_leave(parser);
    return expr;
}
