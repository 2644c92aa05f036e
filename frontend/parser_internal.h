/* What the files of the parser share: the place in the tokens, one way to fail, brackets, and the nesting limit.
 *
 * A function that reads something returns an error node after it has failed; `panicking` keeps everything silent until
 * the statement, member or declaration has been skipped (parse_skip), so that one mistake is one message. */
#ifndef CM_FRONTEND_PARSER_INTERNAL_H
#define CM_FRONTEND_PARSER_INTERNAL_H

#include "base/table.h"
#include "frontend/lexer.h"

typedef struct Parser {
    Arena *arena;
    const Source *source;
    DiagSink *diags;
    TokenList tokens;
    CommentList comments;
    int at;     /* index of the token to be read next */
    int soft;   /* ( and [ that are open inside the innermost {: line ends mean nothing there */
    int depth;  /* of the calls that read nested things */
    int column; /* of the declaration being read: what starts there or left of it is not inside its block */
    bool panicking;
} Parser;

typedef struct Bracket { /* an open one */
    int token, soft;
} Bracket;

/* ---- tokens (parser.c) ---- */

const Token *parse_peek(const Parser *parser);
const Token *parse_ahead(const Parser *parser, int count);
bool parse_at(const Parser *parser, TokenKind kind); /* never while panicking */
bool parse_accept(Parser *parser, TokenKind kind);
bool parse_at_word(const Parser *parser, const char *word); /* a name that means something here */
bool parse_ends_line(const Parser *parser);                 /* the next token starts a line, where lines matter */
const Token *parse_advance(Parser *parser);
Span parse_span_of(const Parser *parser, const Token *token);
Span parse_span_from(const Parser *parser, uint32_t start); /* to the end of the token read last */

/* What stands there, for messages: "'foo'", "the end of the line". */
const char *parse_found(const Parser *parser);
Span parse_found_span(const Parser *parser);

/* Reports and starts to panic; false where that was silent.  Notes may follow if true. */
bool parse_fail(Parser *parser, DiagCode code, Span at, const char *format, ...) __attribute__((format(printf, 4, 5)));
bool parse_fail_expected(Parser *parser, const char *what);
bool parse_expect(Parser *parser, TokenKind kind, const char *what); /* `what`: "'->' and a type" */
const char *parse_expect_name(Parser *parser, const char *what, Span *span);
const char *parse_dotted_name(Parser *parser, const char *what); /* a.b.c */
void parse_hint(Parser *parser, const char *text);               /* a note without a place */
/* Reports a name that a list has already; `seen` starts as table_new(parser->arena) and holds where each name stood. */
void parse_new_name(Parser *parser, Table *seen, const char *what, const char *name, Span at);

/* ( [ { and what closes it.  parse_more is true while another item follows; the separator is a comma. */
Bracket parse_open(Parser *parser);
bool parse_more(const Parser *parser, TokenKind closer);
bool parse_separator(Parser *parser, Bracket bracket, TokenKind closer);
void parse_close(Parser *parser, Bracket bracket, TokenKind closer);
void parse_fail_unclosed(Parser *parser, Bracket bracket, TokenKind closer);
void parse_fail_closer(Parser *parser); /* the token at hand closes nothing */

/* Goes on after a failure: to the end of the statement (or field, if commas end it) that began at token `start`. */
void parse_skip(Parser *parser, int start, bool comma_ends);
bool parse_at_outer_declaration(const Parser *parser); /* a declaration that cannot be inside the one being read */
bool parse_at_lost_end(const Parser *parser);          /* one of those, or the end of the file: a '}' is missing */
bool parse_starts_declaration(const Parser *parser, int token);

bool parse_enter(Parser *parser, uint32_t start); /* false (and said) if this is nested too deep */
void parse_leave(Parser *parser);

static inline int parse_column(const Token *token) /* from 0, in bytes */
{
    return (int)(token->start - token->line);
}

/* ---- the rest of the grammar ---- */

void parse_declarations(Parser *parser, File *file);

Expr *parse_value(Parser *parser);                          /* any expression */
Expr *parse_condition(Parser *parser, const char *keyword); /* one before a block */
Expr *parse_node(Parser *parser, ExprKind kind, uint32_t start);
Expr *parse_error_node(Parser *parser, uint32_t start);
Expr *parse_finish(Parser *parser, Expr *expr);       /* sets the span's end and the height; refuses trees too high */
Expr *parse_block(Parser *parser, const char *whose); /* "of 'if'" */
Expr *parse_record(Parser *parser, TokenKind sign);   /* { name: e } or { name = e } */
void parse_param_list(Parser *parser, Bracket bracket, Table *seen, ParamList *params); /* up to ')' or ';' */
TypeExpr *parse_type(Parser *parser);
bool parse_is_dtype(const char *name);
Pattern *parse_pattern(Parser *parser);
const char *parse_foreign_word(const char *word); /* the lesson for a keyword of another language, or null */

#endif
