/* The parser's core: the place in the tokens, failing, recovering, brackets; and the two public entries. */
#include "frontend/parser_internal.h"

#include <string.h>

/* ---- tokens ---- */

const Token *parse_peek(const Parser *parser)
{
    return &parser->tokens.items[parser->at];
}

const Token *parse_ahead(const Parser *parser, int count)
{
    int last = parser->tokens.count - 1;
    return &parser->tokens.items[parser->at + count < last ? parser->at + count : last];
}

bool parse_at(const Parser *parser, TokenKind kind)
{
    return !parser->panicking && parse_peek(parser)->kind == kind;
}

bool parse_accept(Parser *parser, TokenKind kind)
{
    if (!parse_at(parser, kind))
        return false;
    parse_advance(parser);
    return true;
}

bool parse_at_word(const Parser *parser, const char *word)
{
    return parse_at(parser, TOK_name) && strcmp(parse_peek(parser)->text, word) == 0;
}

bool parse_ends_line(const Parser *parser)
{
    if (parser->soft || parser->at == 0 || !parse_peek(parser)->line_start)
        return false;
    TokenKind before = parse_ahead(parser, -1)->kind;
    return before != TOK_comma && before != TOK_left_brace && before != TOK_left_bracket && before != TOK_left_paren;
}

const Token *parse_advance(Parser *parser)
{
    const Token *token = parse_peek(parser);
    if (token->kind != TOK_end && !parser->panicking)
        parser->at++;
    return token;
}

Span parse_span_of(const Parser *parser, const Token *token)
{
    return (Span){parser->source, token->start, token->end};
}

static uint32_t parse_last_end(const Parser *parser)
{
    return parser->at ? parser->tokens.items[parser->at - 1].end : 0;
}

Span parse_span_from(const Parser *parser, uint32_t start)
{
    uint32_t end = parse_last_end(parser);
    return (Span){parser->source, start, end > start ? end : start};
}

/* ---- failing ---- */

const char *parse_found(const Parser *parser)
{
    enum { SHOWN = 40 };
    const Token *token = parse_peek(parser);
    if (token->kind == TOK_end)
        return "the end of the file";
    if (parse_ends_line(parser))
        return "the end of the line";
    if (token->kind == TOK_string)
        return "a string";
    const char *what = token->kind == TOK_number                           ? "the number "
                       : token->kind >= TOK_let && token->kind < TOK_COUNT ? "the word "
                                                                           : "";
    uint32_t size = token->end - token->start;
    return arena_printf(parser->arena, "%s'%.*s%s'", what, size > SHOWN ? SHOWN : (int)size,
                        parser->source->text + token->start, size > SHOWN ? "..." : "");
}

Span parse_found_span(const Parser *parser)
{
    const Token *token = parse_peek(parser);
    if (parser->at && (token->kind == TOK_end || parse_ends_line(parser)))
        return (Span){parser->source, parse_last_end(parser), parse_last_end(parser)};
    return parse_span_of(parser, token);
}

bool parse_fail(Parser *parser, DiagCode code, Span at, const char *format, ...)
{
    bool said = parser->panicking || parse_peek(parser)->kind == TOK_error;
    parser->panicking = true;
    if (said)
        return false;
    va_list args;
    va_start(args, format);
    diag_report(parser->diags, code, at, "%s", arena_vprintf(parser->arena, format, args));
    va_end(args);
    return true;
}

bool parse_fail_expected(Parser *parser, const char *what)
{
    return parse_fail(parser, DIAG_syntax, parse_found_span(parser), "expected %s, found %s", what, parse_found(parser));
}

void parse_hint(Parser *parser, const char *text)
{
    diag_note(parser->diags, (Span){0}, "%s", text);
}

void parse_new_name(Parser *parser, Table *seen, const char *what, const char *name, Span at)
{
    if (parser->panicking || !*name)
        return;
    const Span *before = table_get(seen, name);
    if (!before) {
        table_put(seen, name, arena_copy(parser->arena, &at, sizeof at));
        return;
    }
    diag_report(parser->diags, DIAG_duplicate_name, at, "the %s `%s` stands twice", what, name);
    diag_note(parser->diags, *before, "it stands here before");
}

bool parse_expect(Parser *parser, TokenKind kind, const char *what)
{
    if (parse_accept(parser, kind))
        return true;
    parse_fail_expected(parser, what);
    return false;
}

const char *parse_expect_name(Parser *parser, const char *what, Span *span)
{
    const Token *token = parse_peek(parser);
    if (span)
        *span = parse_span_of(parser, token);
    if (parse_at(parser, TOK_name) && !parse_ends_line(parser))
        return parse_advance(parser)->text;
    if (parse_fail_expected(parser, what)) {
        if (token->kind >= TOK_let && token->kind < TOK_COUNT && !parse_ends_line(parser))
            parse_hint(parser, "this word is reserved: choose another name");
        else if (token->kind == TOK_number && !token->is_integer && strspn(token->text, "infap") == strlen(token->text))
            parse_hint(parser, "inf, nan and pi are numbers: choose another name");
    }
    return "";
}

const char *parse_dotted_name(Parser *parser, const char *what)
{
    Text name = text_new(parser->arena);
    text_puts(&name, parse_expect_name(parser, what, NULL));
    while (parse_accept(parser, TOK_dot))
        text_printf(&name, ".%s", parse_expect_name(parser, "a name after '.'", NULL));
    return name.data;
}

bool parse_enter(Parser *parser, uint32_t start)
{
    if (parser->depth >= AST_MAX_HEIGHT) {
        parse_fail(parser, DIAG_too_deep, (Span){parser->source, start, parse_peek(parser)->end},
                   "this is nested more than %d deep", AST_MAX_HEIGHT);
        return false;
    }
    parser->depth++;
    return true;
}

void parse_leave(Parser *parser)
{
    parser->depth--;
}

/* ---- brackets ---- */

Bracket parse_open(Parser *parser)
{
    Bracket bracket = {parser->at, parser->soft};
    parser->soft = parse_peek(parser)->kind == TOK_left_brace ? 0 : parser->soft + 1;
    parse_advance(parser);
    return bracket;
}

bool parse_more(const Parser *parser, TokenKind closer)
{
    return !parser->panicking && !parse_at(parser, closer) && !parse_at(parser, TOK_end);
}

void parse_fail_unclosed(Parser *parser, Bracket bracket, TokenKind closer)
{
    Span opener = parse_span_of(parser, &parser->tokens.items[bracket.token]);
    bool outer = parse_at_outer_declaration(parser);
    Span at = outer ? parse_span_of(parser, parse_peek(parser)) : parse_found_span(parser);
    if (parse_fail(parser, DIAG_unclosed, at, "expected %s to close the '%c' of line %d, found %s", token_kind_text(closer),
                   parser->source->text[opener.start], span_position(opener).line,
                   outer ? "a new declaration" : parse_found(parser)))
        diag_note(parser->diags, opener, "this is not closed");
}

void parse_fail_closer(Parser *parser)
{
    Span at = parse_span_of(parser, parse_peek(parser));
    parse_fail(parser, DIAG_unclosed, at, "this '%c' closes nothing", parser->source->text[at.start]);
}

/* Whether what stands there cannot be inside brackets, so that a closing one must be missing. */
static bool parse_at_end_of_brackets(const Parser *parser)
{
    const Token *token = parse_peek(parser);
    switch (token->kind) {
    case TOK_end:
    case TOK_semicolon:
    case TOK_right_paren:
    case TOK_right_bracket:
    case TOK_right_brace:
        return true;
    case TOK_let:
    case TOK_var:
    case TOK_while:
    case TOK_require:
    case TOK_import:
    case TOK_fn:
    case TOK_for:
        return token->line_start;
    default:
        return parse_at_outer_declaration(parser);
    }
}

bool parse_separator(Parser *parser, Bracket bracket, TokenKind closer)
{
    if (parse_accept(parser, TOK_comma))
        return true;
    if (parser->panicking || parse_at(parser, closer))
        return false;
    if (parse_at_end_of_brackets(parser)) {
        parse_fail_unclosed(parser, bracket, closer);
        return false;
    }
    bool assigns = parse_at(parser, TOK_assign);
    if (!parse_fail_expected(parser, arena_printf(parser->arena, "',' or %s", token_kind_text(closer))))
        return false;
    const Token *opener = &parser->tokens.items[bracket.token];
    if (assigns)
        parse_hint(parser, "'==' compares; '=' gives a value to a name");
    else if (opener->match < 0)
        diag_note(parser->diags, parse_span_of(parser, opener), "this is not closed");
    return false;
}

void parse_close(Parser *parser, Bracket bracket, TokenKind closer)
{
    if (!parser->panicking && !parse_accept(parser, closer))
        parse_fail_unclosed(parser, bracket, closer);
    parser->soft = bracket.soft;
}

/* ---- recovering ---- */

bool parse_starts_declaration(const Parser *parser, int token)
{
    static const char *const named[] = {"dim", "loss", "sample", "eval", "model", "data", "param"};
    const Token *first = &parser->tokens.items[token];
    if (first->kind == TOK_fn || first->kind == TOK_import)
        return true;
    if (first->kind != TOK_name)
        return false;
    const Token *second = first + 1; /* there is one: the list ends in TOK_end */
    bool name_follows = second->kind == TOK_name && !second->line_start;
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (strcmp(first->text, named[i]) == 0)
            return name_follows;
    if (strcmp(first->text, "train") == 0)
        return second->kind == TOK_left_brace || (name_follows && second[1].kind == TOK_left_brace);
    return strcmp(first->text, "derivative") == 0 && name_follows && strcmp(second->text, "of") == 0;
}

bool parse_at_outer_declaration(const Parser *parser)
{
    const Token *token = parse_peek(parser);
    return token->line_start && (token->kind == TOK_name || token->kind == TOK_fn || token->kind == TOK_import) &&
           parse_starts_declaration(parser, parser->at) && parse_column(token) <= parser->column;
}

bool parse_at_lost_end(const Parser *parser)
{
    return parse_peek(parser)->kind == TOK_end || parse_at_outer_declaration(parser);
}

/* Whether a statement goes on from one token to the next although a line ends between them. */
static bool parse_goes_on(TokenKind before, TokenKind after)
{
    bool open = before == TOK_comma || before == TOK_left_paren || before == TOK_left_bracket ||
                (before >= TOK_colon && before <= TOK_caret) || before == TOK_and || before == TOK_or || before == TOK_not;
    bool more = (after >= TOK_range && after <= TOK_caret && after != TOK_minus) || after == TOK_comma || after == TOK_else ||
                after == TOK_right_paren || after == TOK_right_bracket || after == TOK_and || after == TOK_or;
    return open || more;
}

static bool parse_may_resume(const Parser *parser, int start, bool comma_ends)
{
    const Token *token = parse_peek(parser);
    if (token->kind == TOK_end || token->kind == TOK_semicolon || token->kind == TOK_right_brace)
        return true;
    if (parser->at <= start)
        return false;
    if (token->line_start &&
        (token->kind == TOK_let || token->kind == TOK_var || token->kind == TOK_require || parse_at_outer_declaration(parser)))
        return true;
    if (comma_ends)
        return token->kind == TOK_comma;
    return token->line_start && !parse_goes_on(token[-1].kind, token->kind);
}

void parse_skip(Parser *parser, int start, bool comma_ends)
{
    const Token *tokens = parser->tokens.items;
    bool restarts = parser->at > start && parse_peek(parser)->line_start &&
                    (parse_at_outer_declaration(parser) || parse_peek(parser)->kind == TOK_let ||
                     parse_peek(parser)->kind == TOK_var || parse_peek(parser)->kind == TOK_require);
    parser->panicking = false;
    parser->soft = 0;
    if (restarts)
        return;
    int here = parser->at;
    for (int i = start; i < here && parser->at == here; i++) {
        if (tokens[i].match >= here)
            parser->at = tokens[i].match + 1; /* what was open there is passed over whole */
        else if (tokens[i].match > i)
            i = tokens[i].match;
    }
    while (!parse_may_resume(parser, start, comma_ends))
        parser->at = parse_peek(parser)->match >= 0 ? parse_peek(parser)->match + 1 : parser->at + 1;
}

/* ---- words of other languages ---- */

const char *parse_foreign_word(const char *word)
{
    static const char *const lessons[][2] = {
        {"return", "there is no 'return': the last expression of a block is its value"},
        {"def", "a function is declared by 'fn NAME(x) { ... }'"},
        {"func", "a function is declared by 'fn NAME(x) { ... }'"},
        {"function", "a function is declared by 'fn NAME(x) { ... }'"},
        {"lambda", "a function value is written 'x => x + 1'"},
        {"const", "a constant is declared by 'let NAME = ...'"},
        {"val", "a value is bound by 'let NAME = ...'"},
        {"auto", "a value is bound by 'let NAME = ...'"},
        {"mut", "a variable is declared by 'var NAME = ...'"},
        {"class", "a model is declared by 'model NAME(...) { ... }'"},
        {"struct", "records need no declaration: { a: 1, b: x }"},
        {"elif", "write 'else if'"},
        {"elseif", "write 'else if'"},
        {"elsif", "write 'else if'"},
        {"foreach", "write 'for x in xs { ... }'"},
        {"switch", "write 'if a { ... } else if b { ... } else { ... }'"},
        {"match", "write 'if a { ... } else if b { ... } else { ... }'"},
        {"assert", "a condition is demanded by 'require p, \"message\"'"},
        {"print", "nothing is printed from inside a program; return the value instead"},
        {"break", "loops have no early end: use 'while p { ... }'"},
        {"continue", "loops have no 'continue': use 'if p { ... }'"},
        {"from", "write 'import std.edm' and then edm.NAME"},
        {"include", "write 'import std.edm' or 'import \"file.cm\" as NAME'"},
        {"use", "write 'import std.edm' or 'import \"file.cm\" as NAME'"},
    };
    for (size_t i = 0; i < sizeof lessons / sizeof *lessons; i++)
        if (strcmp(word, lessons[i][0]) == 0)
            return lessons[i][1];
    return NULL;
}

/* ---- entries ---- */

static Parser parse_begin(Arena *arena, const Source *source, DiagSink *diags)
{
    Parser parser = {.arena = arena, .source = source, .diags = diags};
    lexer_run(arena, source, diags, &parser.tokens, &parser.comments);
    return parser;
}

/* The lexer has run first: its messages and the parser's are put in the order of the text. */
static void parse_sort_messages(DiagSink *diags, int first)
{
    for (int i = first + 1; i < diags->list.count; i++) {
        Diag diag = diags->list.items[i];
        int place = i;
        for (; place > first && diags->list.items[place - 1].span.start > diag.span.start; place--)
            diags->list.items[place] = diags->list.items[place - 1];
        diags->list.items[place] = diag;
    }
}

Expr *parse_expression(Arena *arena, const Source *source, DiagSink *diags)
{
    int first = diags->list.count;
    Parser parser = parse_begin(arena, source, diags);
    parser.soft = 1; /* lines mean nothing here */
    Expr *expr = parse_value(&parser);
    if (!parse_at(&parser, TOK_end))
        parse_fail_expected(&parser, "the end of the expression");
    parse_sort_messages(diags, first);
    return expr;
}

File *parse_file(Arena *arena, const Source *source, DiagSink *diags)
{
    int first = diags->list.count;
    Parser parser = parse_begin(arena, source, diags);
    File *file = arena_new_of(arena, File);
    file->source = source;
    file->comments.items = parser.comments.items;
    file->comments.count = parser.comments.count;
    file->comments.capacity = parser.comments.capacity;
    parse_declarations(&parser, file);
    parse_sort_messages(diags, first);
    return file;
}
