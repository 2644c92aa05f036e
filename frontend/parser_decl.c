/* Declarations: functions, models, data, runs; and the loop over a file. */
#include "frontend/parser_internal.h"

#include "base/table.h"

#include <string.h>

typedef void DeclReader(Parser *parser, Decl *decl);

static DeclReader parse_import, parse_dim, parse_let_declaration, parse_function, parse_rule, parse_model, parse_param,
    parse_data, parse_train, parse_precision;

static const struct DeclForm {
    const char *word;
    DeclKind kind;
    bool at_top, in_model, joins; /* joins: import a, b */
    DeclReader *read;
} forms[] = {
    {"import", DECL_import, true, false, true, parse_import},
    {"dim", DECL_dim, true, false, true, parse_dim},
    {"let", DECL_let, true, true, false, parse_let_declaration},
    {"fn", DECL_fn, true, true, false, parse_function},
    {"loss", DECL_loss, true, false, false, parse_function},
    {"sample", DECL_sample, true, false, false, parse_function},
    {"eval", DECL_eval, true, false, false, parse_function},
    {"model", DECL_model, true, false, false, parse_model},
    {"param", DECL_param, false, true, false, parse_param},
    {"data", DECL_data, true, false, false, parse_data},
    {"train", DECL_train, true, false, false, parse_train},
    {"derivative", DECL_rule, true, false, false, parse_rule},
    {"precision", DECL_precision, true, false, false, parse_precision},
};
enum { FORMS = sizeof forms / sizeof *forms };

/* ---- pieces ---- */

/* The comment lines right above `start`, without their #; null if there are none. */
static const char *parse_doc(Parser *parser, uint32_t start)
{
    const CommentList *comments = &parser->comments;
    int low = 0, high = comments->count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (comments->items[middle].span.start < start)
            low = middle + 1;
        else
            high = middle;
    }
    int first = low;
    uint32_t below = start;
    for (; first > 0; first--) {
        const Comment *comment = &comments->items[first - 1];
        int lines = 0;
        bool blank = true;
        for (uint32_t i = comment->span.end; i < below && blank && lines <= 1; i++) {
            lines += parser->source->text[i] == '\n';
            blank = blank && strchr(" \t\r\n", parser->source->text[i]) && parser->source->text[i];
        }
        if (!comment->alone || !blank || lines != 1)
            break;
        below = comment->span.start;
    }
    Text doc = text_new(parser->arena);
    for (int i = first; i < low; i++) {
        const char *text = comments->items[i].text;
        text_puts(&doc, i > first ? "\n" : "");
        text_puts(&doc, *text == ' ' ? text + 1 : text);
    }
    return first < low ? doc.data : NULL;
}

static Param parse_one_param(Parser *parser, Table *seen)
{
    Param param = {0};
    Span name;
    uint32_t start = parse_peek(parser)->start;
    bool tuple = parse_at(parser, TOK_left_paren);
    if (tuple && parse_fail_expected(parser, "the name of a parameter"))
        parse_hint(parser, "a parameter is one name; take a tuple apart inside: let (a, b) = p");
    param.name = parse_expect_name(parser, "the name of a parameter", &name);
    parse_new_name(parser, seen, "parameter", param.name, name);
    if (parse_accept(parser, TOK_colon))
        param.type = parse_type(parser);
    if (parse_accept(parser, TOK_assign))
        param.initial = parse_value(parser);
    param.span = parse_span_from(parser, start);
    return param;
}

void parse_param_list(Parser *parser, Bracket bracket, Table *seen, ParamList *params)
{
    while (parse_more(parser, TOK_right_paren) && !parse_at(parser, TOK_semicolon)) {
        Param param = parse_one_param(parser, seen);
        list_push(parser->arena, params, param);
        if (parse_at(parser, TOK_semicolon) || !parse_separator(parser, bracket, TOK_right_paren))
            break;
    }
}

static void parse_params(Parser *parser, Decl *decl)
{
    if (!parse_at(parser, TOK_left_paren)) {
        parse_fail_expected(parser, arena_printf(parser->arena, "'(' and the parameters of '%s'", decl->name));
        return;
    }
    Bracket bracket = parse_open(parser);
    Table seen = table_new(parser->arena);
    parse_param_list(parser, bracket, &seen, &decl->params);
    if (decl->kind == DECL_rule) {
        if (!parse_accept(parser, TOK_semicolon) && parse_fail_expected(parser, "';' and the tangents of the parameters"))
            parse_hint(parser, "a rule takes values and then tangents: derivative of f(x, y; tx, ty) { ... }");
        parse_param_list(parser, bracket, &seen, &decl->tangents);
    }
    parse_close(parser, bracket, TOK_right_paren);
}

static Generic parse_one_generic(Parser *parser, Table *seen)
{
    Generic generic = {0};
    Span name;
    uint32_t start = parse_peek(parser)->start;
    generic.name = parse_expect_name(parser, "the name of an axis", &name);
    parse_new_name(parser, seen, "axis parameter", generic.name, name);
    bool colon = parse_at(parser, TOK_colon);
    if (colon && parse_fail_expected(parser, "',' or '='"))
        parse_hint(parser, "an axis gets a default size by '=': fn f[C, D = 64](...)");
    if (parse_accept(parser, TOK_assign))
        generic.initial = parse_value(parser);
    generic.span = parse_span_from(parser, start);
    return generic;
}

static void parse_generics(Parser *parser, Decl *decl)
{
    if (!parse_at(parser, TOK_left_bracket) || parse_peek(parser)->line_start)
        return;
    Bracket bracket = parse_open(parser);
    Table seen = table_new(parser->arena);
    while (parse_more(parser, TOK_right_bracket)) {
        Generic generic = parse_one_generic(parser, &seen);
        list_push(parser->arena, &decl->generics, generic);
        if (!parse_separator(parser, bracket, TOK_right_bracket))
            break;
    }
    parse_close(parser, bracket, TOK_right_bracket);
}

static void parse_name(Parser *parser, Decl *decl, const char *what)
{
    decl->name = parse_expect_name(parser, what, &decl->name_span);
}

static void parse_result_type(Parser *parser, Decl *decl)
{
    if (parse_accept(parser, TOK_arrow))
        decl->type = parse_type(parser);
}

/* { block } or = expression */
static void parse_body(Parser *parser, Decl *decl)
{
    if (parse_at(parser, TOK_left_brace)) {
        decl->body = parse_block(parser, arena_printf(parser->arena, " of '%s'", decl->name));
        return;
    }
    if (parse_accept(parser, TOK_assign)) {
        decl->body_is_expr = true;
        decl->body = parse_value(parser);
        return;
    }
    bool ends = parse_ends_line(parser) || parse_at(parser, TOK_end);
    TokenKind kind = parse_peek(parser)->kind;
    if (!parse_fail_expected(parser, arena_printf(parser->arena, "the body of '%s'", decl->name)))
        return;
    if (!ends && kind == TOK_maps_to)
        parse_hint(parser, "a function that is one expression is written with '='");
    else if (!ends && !decl->type && (kind == TOK_colon || kind == TOK_name))
        parse_hint(parser, "the type of the result stands after '->'");
    else
        parse_hint(parser, "a body is '{ ... }' or '= EXPRESSION'");
}

/* ---- kinds of declarations ---- */

static const char *last_part(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot ? dot + 1 : path;
}

/* "parts/blocks.cm" is called blocks, if that is a name. */
static const char *name_of_file(Arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    size_t size = strcspn(base, ".");
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    bool fine = size > 0 && strspn(base, letters) >= size && !(base[0] >= '0' && base[0] <= '9');
    return fine ? arena_copy_text(arena, base, size) : NULL;
}

static void parse_import(Parser *parser, Decl *decl)
{
    const Token *token = parse_peek(parser);
    decl->name_span = parse_span_of(parser, token);
    if (parse_accept(parser, TOK_string)) {
        decl->file = true;
        decl->path = token->text;
        decl->name = name_of_file(parser->arena, decl->path);
    } else {
        decl->path = parse_dotted_name(parser, "a module, as in std.edm, or a file in quotes");
        decl->name = last_part(decl->path);
    }
    if (parse_accept(parser, TOK_as))
        parse_name(parser, decl, "the name that the import gets");
    else if (!decl->name && parse_fail(parser, DIAG_syntax, decl->name_span, "this file's name cannot be a name in a program"))
        parse_hint(parser, "give it one: import \"my-blocks.cm\" as blocks");
}

static void parse_dim(Parser *parser, Decl *decl)
{
    parse_name(parser, decl, "the name of an axis");
    parse_expect(parser, TOK_assign, "'=' and the size of the axis");
    decl->value = parse_value(parser);
}

static void parse_precision(Parser *parser, Decl *decl)
{
    decl->name = "precision";
    decl->name_span = parse_span_from(parser, decl->span.start);
    parse_expect(parser, TOK_assign, "'=' and 'exact' or 'fast'");
    decl->value = parse_value(parser);
}

static void parse_let_declaration(Parser *parser, Decl *decl)
{
    parse_name(parser, decl, "the name of a constant");
    if (parse_accept(parser, TOK_colon))
        decl->type = parse_type(parser);
    bool draws = parse_at(parser, TOK_draw);
    if (!parse_accept(parser, TOK_assign) && parse_fail_expected(parser, "'=' and a value") && draws)
        parse_hint(parser, "draws happen in functions; here values are constants");
    decl->value = parse_value(parser);
}

static void parse_function(Parser *parser, Decl *decl)
{
    parse_name(parser, decl, "the name of a function");
    bool sizes_last = decl->kind == DECL_sample || decl->kind == DECL_eval;
    Span misplaced = parse_found_span(parser);
    parse_generics(parser, decl);
    if (sizes_last && decl->generics.count &&
        parse_fail(parser, DIAG_syntax, misplaced, "the sizes of a 'sample' or an 'eval' stand after its parameters"))
        parse_hint(parser, "sample NAME(net: Net)[B = 64] -> ... { ... }");
    parse_params(parser, decl);
    misplaced = parse_found_span(parser);
    bool after = parse_at(parser, TOK_left_bracket);
    if (after && !sizes_last && parse_fail(parser, DIAG_syntax, misplaced, "axes stand before the parameters"))
        parse_hint(parser, "fn NAME[C, D = 64](x: f32[B, C]) -> ... { ... }");
    parse_generics(parser, decl);
    parse_result_type(parser, decl);
    parse_body(parser, decl);
}

static void parse_rule(Parser *parser, Decl *decl)
{
    if (parse_at_word(parser, "of"))
        parse_advance(parser);
    else
        parse_fail_expected(parser, "'of' and the name of a function");
    parse_name(parser, decl, "the name of a function");
    parse_params(parser, decl);
    parse_result_type(parser, decl);
    parse_body(parser, decl);
}

static void parse_param(Parser *parser, Decl *decl)
{
    parse_name(parser, decl, "the name of a parameter");
    if (!parse_accept(parser, TOK_colon) && parse_fail_expected(parser, "':' and the parameter's type"))
        parse_hint(parser, "param w: f32[C, D] = xavier_uniform(fan_in = C, fan_out = D)");
    decl->type = parse_type(parser);
    if (!parse_accept(parser, TOK_assign) && parse_fail_expected(parser, "'=' and an initialiser"))
        parse_hint(parser, "zeros, ones, normal(std = 0.02), xavier_uniform(...), kaiming_uniform(...)");
    decl->value = parse_value(parser);
}

static void parse_data(Parser *parser, Decl *decl)
{
    parse_name(parser, decl, "the name of a data set");
    parse_expect(parser, TOK_assign, "'=' and the fields in braces");
    if (parse_at(parser, TOK_left_brace))
        decl->value = parse_record(parser, TOK_colon);
    else if (parse_at(parser, TOK_name))
        decl->value = parse_value(parser);
    else if (parse_fail_expected(parser, "'{' and the fields"))
        parse_hint(parser, "data NAME = { x0: npy(\"x.npy\") as f32[N, D] }");
}

static void parse_train(Parser *parser, Decl *decl)
{
    decl->name = "train";
    decl->name_span = parse_span_of(parser, parse_ahead(parser, -1));
    if (!parse_at(parser, TOK_left_brace))
        parse_name(parser, decl, "'{', or the name of a run");
    if (parse_at(parser, TOK_left_brace))
        decl->value = parse_record(parser, TOK_assign);
    else
        parse_fail_expected(parser, "'{' and the settings of the run");
}

/* ---- one declaration, and lists of them ---- */

static const struct DeclForm *parse_form(const Parser *parser)
{
    const Token *token = parse_peek(parser);
    for (int i = 0; i < FORMS && token->text && token->kind != TOK_string; i++)
        if (strcmp(forms[i].word, token->text) == 0)
            return &forms[i];
    return NULL;
}

static void parse_fail_no_declaration(Parser *parser, bool in_model)
{
    static const char *const words[] = {"import", "dim",   "let",  "fn",    "loss",       "sample",
                                        "eval",   "model", "data", "train", "derivative", "precision"};
    const Token *token = parse_peek(parser), *next = parse_ahead(parser, 1);
    bool closer = token->kind == TOK_right_brace || token->kind == TOK_right_paren || token->kind == TOK_right_bracket;
    if (closer) {
        parse_fail_closer(parser);
        return;
    }
    const char *lesson = token->kind == TOK_name ? parse_foreign_word(token->text) : NULL;
    const char *expected = in_model ? "'param', 'let' or 'fn', or '}' to end the model" : "a declaration";
    const char *word = token->kind == TOK_name ? closest_word(token->text, words, sizeof words / sizeof *words) : NULL;
    if (!parse_fail(parser, DIAG_syntax, parse_span_of(parser, token), "expected %s, found '%.*s'", expected,
                    token->end - token->start > 40 ? 40 : (int)(token->end - token->start),
                    parser->source->text + token->start))
        return;
    if (lesson)
        parse_hint(parser, lesson);
    else if (token->kind == TOK_name && next->kind == TOK_assign)
        diag_note(parser->diags, (Span){0}, "a constant is declared by 'let %s = ...'", token->text);
    else if (word)
        diag_note(parser->diags, (Span){0}, "did you mean '%s'?", word);
    else if (!in_model)
        parse_hint(parser, "a file holds import, dim, let, fn, loss, sample, eval, model, data, train, derivative, precision; "
                           "statements stand in functions");
}

static void parse_fail_misplaced(Parser *parser, const struct DeclForm *form)
{
    if (!parse_fail(parser, DIAG_misplaced, parse_span_of(parser, parse_peek(parser)), "'%s' stands %s", form->word,
                    form->at_top ? "at the top of a file, not in a model" : "in a model only"))
        return;
    if (form->kind == DECL_param)
        parse_hint(parser, "a constant is declared by 'let'; a size that every function knows, by 'dim'");
}

static Decl *parse_decl_node(Parser *parser, DeclKind kind, uint32_t start)
{
    Decl *decl = arena_new_of(parser->arena, Decl);
    decl->kind = kind;
    decl->name = "";
    decl->span = (Span){parser->source, start, start};
    decl->name_span = decl->span;
    return decl;
}

static void parse_declaration_end(Parser *parser, bool in_model)
{
    if (parser->panicking || parse_accept(parser, TOK_semicolon) || parse_ends_line(parser) || parse_at(parser, TOK_end) ||
        parse_at(parser, TOK_right_brace))
        return;
    TokenKind kind = parse_peek(parser)->kind;
    if (kind == TOK_right_paren || kind == TOK_right_bracket) {
        parse_fail_closer(parser);
        return;
    }
    if (!parse_fail_expected(parser, in_model ? "the end of the member" : "the end of the declaration"))
        return;
    if (kind == TOK_left_brace)
        parse_hint(parser, "a body is '{ ... }' or '= EXPRESSION', not both");
    else
        parse_hint(parser, "is an operator or a ',' missing?");
}

/* One keyword and what it declares: usually one thing. */
static void parse_declared(Parser *parser, const struct DeclForm *form, DeclList *list)
{
    uint32_t start = parse_advance(parser)->start;
    bool joined = false;
    do {
        Decl *decl = parse_decl_node(parser, form->kind, joined ? parse_peek(parser)->start : start);
        decl->joined = joined;
        decl->doc = joined ? NULL : parse_doc(parser, start);
        form->read(parser, decl);
        decl->span = parse_span_from(parser, decl->span.start);
        list_push(parser->arena, list, decl);
        joined = true;
    } while (form->joins && parse_accept(parser, TOK_comma));
}

static void parse_declaration(Parser *parser, bool in_model, DeclList *list)
{
    int start = parser->at, column = parser->column;
    const struct DeclForm *form = parse_form(parser);
    bool fits = form && (in_model ? form->in_model : form->at_top);
    parser->column = parse_column(parse_peek(parser));
    if (fits)
        parse_declared(parser, form, list);
    else if (form)
        parse_fail_misplaced(parser, form);
    else
        parse_fail_no_declaration(parser, in_model);
    parse_declaration_end(parser, in_model);
    if (parser->panicking) {
        if (fits)
            list->items[list->count - 1]->kind = DECL_error;
        parse_skip(parser, start, false);
        if (parser->at == start) /* a '}' that closes nothing */
            parse_advance(parser);
    }
    parser->column = column;
}

/* Whether a declaration stands here that no model may hold: the model's '}' is missing. */
static bool parse_at_end_of_members(const Parser *parser)
{
    const struct DeclForm *form = parse_at_outer_declaration(parser) ? parse_form(parser) : NULL;
    return parse_at(parser, TOK_right_brace) || parse_at(parser, TOK_end) || (form && !form->in_model);
}

static void parse_member(Parser *parser, Decl *decl, Table *seen)
{
    int before = decl->members.count;
    int messages = parser->diags->list.count + parser->diags->dropped;
    parse_declaration(parser, true, &decl->members);
    bool said = parser->diags->list.count + parser->diags->dropped > messages;
    for (int i = before; i < decl->members.count; i++)
        parse_new_name(parser, seen, "member", decl->members.items[i]->name, decl->members.items[i]->name_span);
    parser->panicking = said && parse_at_end_of_members(parser) && !parse_at(parser, TOK_right_brace);
}

static void parse_model(Parser *parser, Decl *decl)
{
    parse_name(parser, decl, "the name of a model");
    parse_generics(parser, decl);
    if (!parse_at(parser, TOK_assign))
        parse_params(parser, decl);
    if (parse_accept(parser, TOK_assign)) {
        decl->value = parse_value(parser);
        return;
    }
    if (!parse_at(parser, TOK_left_brace)) {
        parse_fail_expected(parser, arena_printf(parser->arena, "'{' and the members of '%s'", decl->name));
        return;
    }
    Bracket bracket = parse_open(parser);
    Table seen = table_new(parser->arena);
    while (!parser->panicking && !parse_at_end_of_members(parser))
        if (!parse_accept(parser, TOK_semicolon))
            parse_member(parser, decl, &seen);
    parse_close(parser, bracket, TOK_right_brace);
}

void parse_declarations(Parser *parser, File *file)
{
    while (!parse_at(parser, TOK_end))
        if (!parse_accept(parser, TOK_semicolon))
            parse_declaration(parser, false, &file->decls);
}
