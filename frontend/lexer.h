/* Tokens of a .cm file: the whole text is read at once, so that the parser may look ahead freely. */
#ifndef CM_FRONTEND_LEXER_H
#define CM_FRONTEND_LEXER_H

#include "frontend/ast.h"

typedef enum TokenKind {
    TOK_end,
    TOK_error, /* said already */
    TOK_name,
    TOK_number,
    TOK_string,
#define TOKEN(name, text) TOK_##name,
#define WORD(name) TOK_##name,
#include "frontend/tokens.def"
    TOK_COUNT
} TokenKind;

typedef struct Token {
    TokenKind kind;
    bool line_start; /* the first of its line */
    bool is_integer;
    uint32_t start, end;
    uint32_t line;    /* where its line starts */
    int match;        /* ( [ {: the token that closes it, or -1 */
    const char *text; /* name or number as written; string: its value */
    double value;
    uint64_t integer;
} Token;

typedef struct TokenList {
    Token *items; /* ends in TOK_end */
    int count;
    int capacity;
} TokenList;

typedef struct CommentList {
    Comment *items;
    int count;
    int capacity;
} CommentList;

/* Reports what is no token (once for a run of it) and goes on. */
void lexer_run(Arena *arena, const Source *source, DiagSink *diags, TokenList *tokens, CommentList *comments);

/* "'->'", "'let'", ...: how messages name a kind of token. */
const char *token_kind_text(TokenKind kind);

#endif
