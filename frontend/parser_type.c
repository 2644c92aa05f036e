/* Types and patterns: f32[B, H/2, C: 64], (A, B), {a: A}, names of models; x, _, (a, b). */
#include "frontend/parser_internal.h"

#include "base/table.h"

#include <string.h>

static const char *const dtype_names[] = {
#define DTYPE(name, bytes, class) #name,
#include "ir/dtypes.def"
};
enum { DTYPE_NAMES = sizeof dtype_names / sizeof *dtype_names };

bool parse_is_dtype(const char *name)
{
    for (int i = 0; i < DTYPE_NAMES; i++)
        if (strcmp(dtype_names[i], name) == 0)
            return true;
    return false;
}

static TypeExpr *parse_type_node(Parser *parser, TypeKind kind, uint32_t start)
{
    TypeExpr *type = arena_new_of(parser->arena, TypeExpr);
    type->kind = parser->panicking ? TYPE_error : kind;
    type->span = parse_span_from(parser, start);
    return type;
}

static AxisExpr parse_axis(Parser *parser)
{
    const Token *token = parse_peek(parser);
    AxisExpr axis = {0};
    if (parse_accept(parser, TOK_range)) {
        axis.rest = true;
    } else if (token->kind == TOK_name && parse_ahead(parser, 1)->kind == TOK_colon) {
        axis.label = parse_advance(parser)->text;
        parse_advance(parser);
        axis.size = parse_value(parser);
    } else {
        Expr *size = parse_value(parser);
        if (size->kind == EXPR_name)
            axis.label = size->name;
        else
            axis.size = size;
    }
    axis.span = parse_span_from(parser, token->start);
    return axis;
}

static void parse_axes(Parser *parser, TypeExpr *type)
{
    Bracket bracket = parse_open(parser);
    while (parse_more(parser, TOK_right_bracket)) {
        AxisExpr axis = parse_axis(parser);
        list_push(parser->arena, &type->axes, axis);
        if (!parse_separator(parser, bracket, TOK_right_bracket))
            break;
    }
    parse_close(parser, bracket, TOK_right_bracket);
}

static void parse_fail_element_type(Parser *parser, const char *name, Span span)
{
    if (!parse_fail(parser, DIAG_syntax, span, "'%s' is no element type, so it has no axes", name))
        return;
    const char *closest = strcmp(name, "float") == 0 ? "f32" : strcmp(name, "int") == 0 ? "i32" : NULL;
    if (!closest)
        closest = closest_word(name, dtype_names, DTYPE_NAMES);
    if (closest)
        diag_note(parser->diags, (Span){0}, "did you mean '%s'?", closest);
    else
        parse_hint(parser, "element types are f32 f64 f16 bf16 i32 u32 bool u8 i64, and float for any of the first four; "
                           "a model stands in a type by its name alone");
}

static TypeExpr *parse_named_type(Parser *parser)
{
    const Token *token = parse_peek(parser);
    bool any_float = strcmp(token->text, "float") == 0, dtype = any_float || parse_is_dtype(token->text);
    const char *name = dtype ? parse_advance(parser)->text : parse_dotted_name(parser, "a name");
    TypeExpr *type = parse_type_node(parser, dtype ? TYPE_tensor : TYPE_named, token->start);
    type->name = name;
    type->scalar = dtype;
    type->any_float = any_float;
    bool bracket = parse_at(parser, TOK_left_bracket) && !parse_peek(parser)->line_start;
    if (bracket && dtype) {
        type->scalar = false;
        parse_axes(parser, type);
    } else if (bracket) {
        parse_fail_element_type(parser, name, parse_span_from(parser, token->start));
    }
    return type;
}

static TypeExpr *parse_tuple_type(Parser *parser)
{
    TypeExpr *type = parse_type_node(parser, TYPE_tuple, parse_peek(parser)->start);
    Bracket bracket = parse_open(parser);
    while (parse_more(parser, TOK_right_paren)) {
        TypeExpr *item = parse_type(parser);
        list_push(parser->arena, &type->items, item);
        if (!parse_separator(parser, bracket, TOK_right_paren))
            break;
    }
    parse_close(parser, bracket, TOK_right_paren);
    return type->items.count == 1 ? type->items.items[0] : type;
}

static TypeExpr *parse_record_type(Parser *parser)
{
    TypeExpr *type = parse_type_node(parser, TYPE_record, parse_peek(parser)->start);
    Bracket bracket = parse_open(parser);
    Table seen = table_new(parser->arena);
    while (parse_more(parser, TOK_right_brace)) {
        TypeField field = {0};
        Span name;
        field.name = parse_expect_name(parser, "the name of a field", &name);
        parse_new_name(parser, &seen, "field", field.name, name);
        parse_expect(parser, TOK_colon, "':' and the field's type");
        field.type = parse_type(parser);
        list_push(parser->arena, &type->fields, field);
        if (!parse_separator(parser, bracket, TOK_right_brace))
            break;
    }
    parse_close(parser, bracket, TOK_right_brace);
    return type;
}

TypeExpr *parse_type(Parser *parser)
{
    uint32_t start = parse_peek(parser)->start;
    TypeExpr *type = NULL;
    if (!parse_enter(parser, start))
        return parse_type_node(parser, TYPE_error, start);
    if (parse_at(parser, TOK_name))
        type = parse_named_type(parser);
    else if (parse_at(parser, TOK_left_paren))
        type = parse_tuple_type(parser);
    else if (parse_at(parser, TOK_left_brace))
        type = parse_record_type(parser);
    else if (parse_fail_expected(parser, "a type"))
        parse_hint(parser, "types are f32, f32[B, C], (A, B), {a: A}, the name of a model, key");
    parse_leave(parser);
    if (!type || parser->panicking)
        type = parse_type_node(parser, TYPE_error, start);
    type->span = parse_span_from(parser, start);
    return type;
}

static void parse_pattern_items(Parser *parser, Pattern *pattern)
{
    Bracket bracket = parse_open(parser);
    while (parse_more(parser, TOK_right_paren)) {
        Pattern *item = parse_pattern(parser);
        list_push(parser->arena, &pattern->items, item);
        if (!parse_separator(parser, bracket, TOK_right_paren))
            break;
    }
    parse_close(parser, bracket, TOK_right_paren);
}

Pattern *parse_pattern(Parser *parser)
{
    uint32_t start = parse_peek(parser)->start;
    Pattern *pattern = arena_new_of(parser->arena, Pattern);
    if (parse_at(parser, TOK_left_paren)) {
        if (parse_enter(parser, start)) {
            parse_pattern_items(parser, pattern);
            parse_leave(parser);
        }
        if (!parser->panicking && pattern->items.count < 2)
            parse_fail(parser, DIAG_syntax, parse_span_from(parser, start), "a tuple of names has two names or more");
    } else {
        pattern->name = parse_expect_name(parser, "a name or '(' and names", NULL);
    }
    if (parser->panicking)
        pattern->name = "_";
    pattern->span = parse_span_from(parser, start);
    return pattern;
}
