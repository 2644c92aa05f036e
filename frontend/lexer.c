/* Text to tokens: names, numbers, strings, signs, comments, and which bracket closes which. */
#include "frontend/lexer.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Lexer {
    Arena *arena;
    const Source *source;
    DiagSink *diags;
    TokenList *tokens;
    CommentList *comments;
    LIST(int) open;            /* brackets that nothing has closed yet */
    locale_t plain;            /* numbers have a '.', whatever the host's locale says */
    uint32_t at, length, line; /* line: where the one that is being read starts */
    bool line_start;
} Lexer;

static const struct Sign {
    const char *text;
    TokenKind kind;
} signs[] = {
#define TOKEN(name, text) {text, TOK_##name},
#include "frontend/tokens.def"
};

static const struct Sign words[] = {
#define WORD(name) {#name, TOK_##name},
#include "frontend/tokens.def"
};

/* What people write out of habit from other languages, and what it is taken for so that one slip is one message. */
static const struct Slip {
    const char *text;
    TokenKind kind; /* TOK_error: nothing sensible */
    const char *lesson;
} slips[] = {
    {"&&", TOK_and, "'and' is written as a word"},
    {"||", TOK_or, "'or' is written as a word"},
    {"**", TOK_caret, "a power is written '^'"},
    {":=", TOK_assign, "a value is bound by 'let NAME = ...'"},
    {"%=", TOK_error, "only += -= *= /= ++= exist; write x = x % y"},
    {"!", TOK_not, "'not' is written as a word"},
    {"@", TOK_star, "a contraction names the axis that it sums over: dot(a, b, D)"},
    {"?", TOK_error, "a choice is written 'if c { a } else { b }'"},
    {"&", TOK_error, "there are no bit operations; 'and' joins conditions"},
    {"|", TOK_error, "there are no bit operations; 'or' joins conditions, '|>' passes a value on"},
    {"\\", TOK_error, "a line goes on by itself inside brackets or after an operator"},
};

/* Characters of papers and of word processors, with what to write. */
static const struct LookAlike {
    uint32_t code;
    const char *write;
} look_alikes[] = {
    {0x3b1, "alpha"}, {0x3b2, "beta"},  {0x3b3, "gamma"},  {0x3b4, "delta"},   {0x394, "delta"}, {0x3b5, "epsilon"},
    {0x3b7, "eta"},   {0x3b8, "theta"}, {0x3bb, "lambda"}, {0x3bc, "mu"},      {0x3c0, "pi"},    {0x3c1, "rho"},
    {0x3c3, "sigma"}, {0x3c4, "tau"},   {0x3c6, "phi"},    {0x3c9, "omega"},   {0x2207, "grad"}, {0xd7, "*"},
    {0xb7, "*"},      {0x2212, "-"},    {0x2013, "-"},     {0x2264, "<="},     {0x2265, ">="},   {0x2260, "!="},
    {0x2192, "->"},   {0x21a6, "=>"},   {0x201c, "\""},    {0x201d, "\""},     {0x2032, "'"},    {0x2019, "'"},
    {0x223c, "~"},    {0x221e, "inf"},  {0xb2, "^ 2"},     {0x3f5, "epsilon"},
};

const char *token_kind_text(TokenKind kind)
{
    static const char *const texts[TOK_COUNT] = {
        [TOK_end] = "the end of the file", [TOK_error] = "this",      [TOK_name] = "a name",
        [TOK_number] = "a number",         [TOK_string] = "a string",
#define TOKEN(name, text) [TOK_##name] = "'" text "'",
#define WORD(name) [TOK_##name] = "'" #name "'",
#include "frontend/tokens.def"
    };
    return texts[kind];
}

/* ---- characters ---- */

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex_digit(unsigned char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_letter(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static unsigned char lexer_peek(const Lexer *lexer, uint32_t ahead)
{
    return lexer->at + ahead < lexer->length ? (unsigned char)lexer->source->text[lexer->at + ahead] : 0;
}

static Span lexer_span(const Lexer *lexer, uint32_t start, uint32_t end)
{
    return (Span){lexer->source, start, end};
}

/* Bytes of the character at `at`, and its code; 0 where the bytes are no UTF-8. */
static uint32_t lexer_decode(const Lexer *lexer, uint32_t at, uint32_t *code)
{
    const unsigned char *text = (const unsigned char *)lexer->source->text + at;
    uint32_t left = lexer->length - at, size, value;
    if (text[0] < 0x80)
        return *code = text[0], 1;
    if (text[0] >= 0xc2 && text[0] < 0xe0)
        size = 2, value = text[0] & 0x1fu;
    else if (text[0] >= 0xe0 && text[0] < 0xf0)
        size = 3, value = text[0] & 0x0fu;
    else if (text[0] >= 0xf0 && text[0] < 0xf5)
        size = 4, value = text[0] & 0x07u;
    else
        return 0;
    if (size > left)
        return 0;
    for (uint32_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (text[i] & 0x3fu);
    }
    if ((size == 3 && value < 0x800) || (size == 4 && (value < 0x10000 || value > 0x10ffff)) || (value >> 11) == 0x1b)
        return 0;
    *code = value;
    return size;
}

/* ---- tokens ---- */

static Token *lexer_add(Lexer *lexer, TokenKind kind, uint32_t start)
{
    Token token = {.kind = kind, .line_start = lexer->line_start, .start = start, .end = lexer->at, .match = -1};
    token.line = lexer->line;
    lexer->line_start = false;
    list_push(lexer->arena, lexer->tokens, token);
    return &lexer->tokens->items[lexer->tokens->count - 1];
}

static TokenKind lexer_last_kind(const Lexer *lexer)
{
    return lexer->tokens->count ? lexer->tokens->items[lexer->tokens->count - 1].kind : TOK_end;
}

static void lexer_close_bracket(Lexer *lexer, TokenKind closer)
{
    TokenKind opener = closer == TOK_right_paren     ? TOK_left_paren
                       : closer == TOK_right_bracket ? TOK_left_bracket
                                                     : TOK_left_brace;
    Token *tokens = lexer->tokens->items;
    int top = lexer->open.count - 1;
    while (closer == TOK_right_brace && top >= 0 && tokens[lexer->open.items[top]].kind != opener)
        top--; /* a brace ends what was left open inside */
    if (top < 0 || tokens[lexer->open.items[top]].kind != opener)
        return;
    tokens[lexer->open.items[top]].match = lexer->tokens->count - 1;
    lexer->open.count = top;
}

static void lexer_sign(Lexer *lexer, TokenKind kind, uint32_t size)
{
    uint32_t start = lexer->at;
    lexer->at += size;
    lexer_add(lexer, kind, start);
    if (kind == TOK_left_paren || kind == TOK_left_bracket || kind == TOK_left_brace)
        list_push(lexer->arena, &lexer->open, lexer->tokens->count - 1);
    else if (kind == TOK_right_paren || kind == TOK_right_bracket || kind == TOK_right_brace)
        lexer_close_bracket(lexer, kind);
}

static void lexer_name(Lexer *lexer)
{
    uint32_t start = lexer->at;
    while (is_letter(lexer_peek(lexer, 0)) || is_digit(lexer_peek(lexer, 0)))
        lexer->at++;
    while (lexer_peek(lexer, 0) == '\'')
        lexer->at++;
    const char *text = arena_copy_text(lexer->arena, lexer->source->text + start, lexer->at - start);
    TokenKind kind = TOK_name;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].text, text) == 0)
            kind = words[i].kind;
    Token *token = lexer_add(lexer, kind, start);
    token->text = text;
    bool known = strcmp(text, "inf") == 0 || strcmp(text, "nan") == 0 || strcmp(text, "pi") == 0;
    if (!known || (lexer->tokens->count > 1 && token[-1].kind == TOK_dot))
        return;
    token->kind = TOK_number;
    token->value = text[0] == 'i' ? (double)INFINITY : text[0] == 'n' ? (double)NAN : 3.14159265358979323846;
}

/* ---- numbers ---- */

static void lexer_bad_number(Lexer *lexer, uint32_t start, const char *lesson)
{
    while (is_letter(lexer_peek(lexer, 0)) || is_digit(lexer_peek(lexer, 0)))
        lexer->at++;
    int shown = lexer->at - start > 40 ? 40 : (int)(lexer->at - start);
    diag_report(lexer->diags, DIAG_bad_number, lexer_span(lexer, start, lexer->at), "'%.*s%s' is not a number: %s", shown,
                lexer->source->text + start, shown == 40 ? "..." : "", lesson);
}

static void lexer_digits(Lexer *lexer)
{
    while (is_digit(lexer_peek(lexer, 0)))
        lexer->at++;
}

/* The value of the decimal digits or hexadecimal digits in the text; false if it needs more than 64 bits. */
static bool integer_value(const char *text, unsigned base, uint64_t *value)
{
    *value = 0;
    for (; *text; text++) {
        unsigned digit = is_digit((unsigned char)*text) ? (unsigned)(*text - '0') : (unsigned)(*text | 0x20) - 'a' + 10;
        if (__builtin_mul_overflow(*value, (uint64_t)base, value) || __builtin_add_overflow(*value, (uint64_t)digit, value))
            return false;
    }
    return true;
}

static void lexer_finish_number(Lexer *lexer, uint32_t start, bool hex, bool is_integer)
{
    unsigned char next = lexer_peek(lexer, 0);
    const char *text = arena_copy_text(lexer->arena, lexer->source->text + start, lexer->at - start);
    uint64_t integer = 0;
    double value = 0;
    if (next == '_')
        lexer_bad_number(lexer, start, "digits are written without '_' between them");
    else if (is_letter(next) || is_digit(next))
        lexer_bad_number(lexer, start, "letters follow it; a name starts with a letter, and a product is written with '*'");
    else if (is_integer && !integer_value(hex ? text + 2 : text, hex ? 16 : 10, &integer))
        lexer_bad_number(lexer, start, "an integer has at most 64 bits; write a large number as 1e30");
    else if (value = is_integer ? (double)integer : strtod_l(text, NULL, lexer->plain), isinf(value))
        lexer_bad_number(lexer, start, "it is larger than any f64; infinity is written 'inf'");
    Token *token = lexer_add(lexer, TOK_number, start);
    token->text = text;
    token->is_integer = is_integer;
    token->integer = integer;
    token->value = isfinite(value) ? value : 0;
}

static void lexer_hex(Lexer *lexer)
{
    uint32_t start = lexer->at;
    lexer->at += 2;
    uint32_t digits = lexer->at;
    while (is_hex_digit(lexer_peek(lexer, 0)))
        lexer->at++;
    if (lexer->at > digits) {
        lexer_finish_number(lexer, start, true, true);
        return;
    }
    lexer_bad_number(lexer, start, "hexadecimal digits follow 0x");
    lexer_add(lexer, TOK_number, start)->text = "0";
}

static void lexer_number(Lexer *lexer)
{
    uint32_t start = lexer->at;
    bool is_integer = true;
    if (lexer_peek(lexer, 0) == '0' && (lexer_peek(lexer, 1) | 0x20) == 'x') {
        lexer_hex(lexer);
        return;
    }
    lexer_digits(lexer);
    bool after_dot = lexer_last_kind(lexer) == TOK_dot; /* t.0.1 are two fields, not a number */
    if (!after_dot && lexer_peek(lexer, 0) == '.' && lexer_peek(lexer, 1) != '.') {
        lexer->at++;
        if (!is_digit(lexer_peek(lexer, 0))) {
            lexer_bad_number(lexer, start, "a digit follows the point, as in 1.0");
            lexer_add(lexer, TOK_number, start)->text = "0";
            return;
        }
        lexer_digits(lexer);
        is_integer = false;
    }
    unsigned char sign = lexer_peek(lexer, 1);
    if (!after_dot && (lexer_peek(lexer, 0) | 0x20) == 'e' &&
        (is_digit(sign) || ((sign == '-' || sign == '+') && is_digit(lexer_peek(lexer, 2))))) {
        lexer->at += 2;
        lexer_digits(lexer);
        is_integer = false;
    }
    lexer_finish_number(lexer, start, false, is_integer);
}

/* .5, where a field name cannot stand */
static void lexer_number_without_zero(Lexer *lexer)
{
    uint32_t start = lexer->at++;
    lexer_digits(lexer);
    lexer_bad_number(lexer, start, "a digit stands before the point, as in 0.5");
    Token *token = lexer_add(lexer, TOK_number, start);
    token->text = "0";
}

/* Whether a value may end here: after that, `.5` is a field of it. */
static bool lexer_after_value(const Lexer *lexer)
{
    int count = lexer->tokens->count;
    TokenKind kind = lexer_last_kind(lexer);
    bool field = count > 1 && lexer->tokens->items[count - 2].kind == TOK_dot; /* whose name may be a reserved word */
    return field || kind == TOK_name || kind == TOK_number || kind == TOK_string || kind == TOK_true || kind == TOK_false ||
           kind == TOK_right_paren || kind == TOK_right_bracket || kind == TOK_right_brace || kind == TOK_error;
}

/* ---- strings and comments ---- */

/* Steps over one character inside a string or comment; reports what is no printable text, once for each such token. */
static void lexer_inner_character(Lexer *lexer, const char *where, bool *reported)
{
    uint32_t code = 0, size = lexer_decode(lexer, lexer->at, &code);
    bool fine = size && (code >= ' ' || code == '\t') && code != 0x7f;
    if (!fine && !*reported) {
        diag_report(lexer->diags, DIAG_bad_character, lexer_span(lexer, lexer->at, lexer->at + 1),
                    size ? "the control character 0x%02x stands in a %s" : "the byte 0x%02x is no UTF-8 (in a %s)",
                    (unsigned char)lexer->source->text[lexer->at], where);
        *reported = true;
    }
    lexer->at += size ? size : 1;
}

/* False if it is none, which has been said. */
static bool lexer_escape(Lexer *lexer, Text *value)
{
    unsigned char c = lexer_peek(lexer, 1);
    if (c == '\n' || c == '\r' || lexer->at + 1 >= lexer->length) {
        lexer->at++; /* the string is open: that is said at its end */
        return true;
    }
    static const char from[] = "nt\"\\", to[] = "\n\t\"\\";
    const char *found = c ? strchr(from, c) : NULL;
    if (found) {
        text_add(value, &to[found - from], 1);
        lexer->at += 2;
        return true;
    }
    diag_report(lexer->diags, DIAG_bad_escape, lexer_span(lexer, lexer->at, lexer->at + 2),
                c > ' ' && c < 0x7f ? "'\\%c' is no escape: \\n, \\t, \\\" and \\\\ are" : "no escape starts like this", c);
    lexer->at += c > ' ' ? 1 : 2; /* what is no text is said with it */
    return false;
}

static bool lexer_at_line_end(const Lexer *lexer)
{
    unsigned char c = lexer_peek(lexer, 0);
    return lexer->at >= lexer->length || c == '\n' || (c == '\r' && lexer_peek(lexer, 1) == '\n');
}

/* One with a mistake in it is no string: what it would name is not looked for. */
static void lexer_string(Lexer *lexer)
{
    uint32_t start = lexer->at++;
    bool reported = false, fine = true;
    Text value = text_new(lexer->arena);
    while (!lexer_at_line_end(lexer) && lexer_peek(lexer, 0) != '"') {
        uint32_t from = lexer->at;
        if (lexer_peek(lexer, 0) == '\\') {
            fine &= lexer_escape(lexer, &value);
            continue;
        }
        lexer_inner_character(lexer, "string", &reported);
        text_add(&value, lexer->source->text + from, lexer->at - from);
    }
    if (lexer_at_line_end(lexer)) {
        diag_report(lexer->diags, DIAG_open_string, lexer_span(lexer, start, lexer->at),
                    "this string has no closing '\"' before the end of its line");
        fine = false;
    } else {
        lexer->at++;
    }
    Token *token = lexer_add(lexer, fine && !reported ? TOK_string : TOK_error, start);
    token->text = value.data;
}

static void lexer_comment(Lexer *lexer)
{
    uint32_t start = lexer->at++;
    bool reported = false;
    while (!lexer_at_line_end(lexer))
        lexer_inner_character(lexer, "comment", &reported);
    uint32_t end = lexer->at;
    while (end > start + 1 && strchr(" \t\r", lexer->source->text[end - 1]) && lexer->source->text[end - 1])
        end--;
    Comment comment = {lexer_span(lexer, start, end),
                       arena_copy_text(lexer->arena, lexer->source->text + start + 1, end - start - 1), lexer->line_start};
    list_push(lexer->arena, lexer->comments, comment);
}

/* ---- what is not in the language ---- */

static void lexer_foreign_character(Lexer *lexer)
{
    uint32_t start = lexer->at, code = 0, size = lexer_decode(lexer, start, &code);
    lexer->at += size;
    const char *write = NULL;
    for (size_t i = 0; i < sizeof look_alikes / sizeof *look_alikes; i++)
        if (look_alikes[i].code == code)
            write = look_alikes[i].write;
    diag_report(lexer->diags, DIAG_bad_character, lexer_span(lexer, start, lexer->at),
                "the character '%.*s' (U+%04X) is not part of the language", (int)size, lexer->source->text + start, code);
    if (write)
        diag_note(lexer->diags, (Span){0}, "write %s", write);
    TokenKind kind = TOK_error;
    for (size_t i = 0; write && i < sizeof signs / sizeof *signs; i++)
        if (strcmp(signs[i].text, write) == 0)
            kind = signs[i].kind;
    if (write && is_letter((unsigned char)write[0]))
        kind = TOK_name;
    lexer_add(lexer, kind, start)->text = write;
}

/* A run of bytes that are no text at all is one message: a binary file given by mistake should not flood the screen. */
static void lexer_garbage(Lexer *lexer)
{
    uint32_t start = lexer->at, code = 0;
    unsigned char first = lexer_peek(lexer, 0);
    bool control = lexer_decode(lexer, start, &code) != 0;
    while (lexer->at < lexer->length) {
        unsigned char c = lexer_peek(lexer, 0);
        uint32_t size = lexer_decode(lexer, lexer->at, &code);
        if (c == '\n' || (size && c > ' ' && c != 0x7f))
            break;
        lexer->at += size ? size : 1;
    }
    diag_report(lexer->diags, DIAG_bad_character, lexer_span(lexer, start, start + 1),
                control ? "the control character 0x%02x is not text" : "the byte 0x%02x is no UTF-8", first);
    lexer_add(lexer, TOK_error, start);
}

static void lexer_slip(Lexer *lexer, const struct Slip *slip)
{
    uint32_t start = lexer->at, size = (uint32_t)strlen(slip->text);
    diag_report(lexer->diags, DIAG_bad_character, lexer_span(lexer, start, start + size),
                "'%s' is not part of the language: %s", slip->text, slip->lesson);
    lexer->at += size;
    Token *token = lexer_add(lexer, slip->kind, start);
    token->text = slip->text;
}

static void lexer_quoted(Lexer *lexer)
{
    uint32_t start = lexer->at++;
    while (!lexer_at_line_end(lexer) && lexer_peek(lexer, 0) != '\'' && lexer_peek(lexer, 0) < 0x7f &&
           lexer_peek(lexer, 0) >= ' ')
        lexer->at++;
    if (lexer_peek(lexer, 0) == '\'')
        lexer->at++;
    diag_report(lexer->diags, DIAG_bad_character, lexer_span(lexer, start, lexer->at),
                "a string stands in double quotes; a prime ' ends a name, as in C'");
    lexer_add(lexer, TOK_error, start)->text = "";
}

static bool lexer_matches(const Lexer *lexer, const char *text)
{
    size_t size = strlen(text);
    return size <= lexer->length - lexer->at && memcmp(lexer->source->text + lexer->at, text, size) == 0;
}

/* A sign or a slip, whichever is longer: '!=' is no '!', and '**' is no '*'. */
static bool lexer_try_sign(Lexer *lexer)
{
    const struct Sign *sign = NULL;
    for (size_t i = 0; i < sizeof signs / sizeof *signs && !sign; i++)
        if (lexer_matches(lexer, signs[i].text))
            sign = &signs[i];
    size_t size = sign ? strlen(sign->text) : 0;
    for (size_t i = 0; i < sizeof slips / sizeof *slips; i++) {
        if (strlen(slips[i].text) > size && lexer_matches(lexer, slips[i].text)) {
            lexer_slip(lexer, &slips[i]);
            return true;
        }
    }
    if (sign)
        lexer_sign(lexer, sign->kind, (uint32_t)size);
    return sign;
}

/* C's comments: read as a comment, so that the words in it make no further messages. */
static bool lexer_try_slash_comment(Lexer *lexer)
{
    if (lexer_peek(lexer, 0) != '/' || (lexer_peek(lexer, 1) != '/' && lexer_peek(lexer, 1) != '*'))
        return false;
    diag_report(lexer->diags, DIAG_bad_character, lexer_span(lexer, lexer->at, lexer->at + 2),
                "'/%c' is not part of the language: a comment starts with '#'", lexer_peek(lexer, 1));
    while (!lexer_at_line_end(lexer))
        lexer->at++;
    return true;
}

static void lexer_next(Lexer *lexer)
{
    unsigned char c = lexer_peek(lexer, 0);
    uint32_t code;
    if (c == '\n') {
        lexer->line_start = true;
        lexer->line = lexer->at + 1;
    }
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
        lexer->at++;
    else if (c == '#')
        lexer_comment(lexer);
    else if (is_letter(c))
        lexer_name(lexer);
    else if (is_digit(c))
        lexer_number(lexer);
    else if (c == '"')
        lexer_string(lexer);
    else if (c == '\'')
        lexer_quoted(lexer);
    else if (c == '.' && is_digit(lexer_peek(lexer, 1)) && !lexer_after_value(lexer))
        lexer_number_without_zero(lexer);
    else if (c < ' ' || c == 0x7f || !lexer_decode(lexer, lexer->at, &code))
        lexer_garbage(lexer);
    else if (c >= 0x80 || !(lexer_try_slash_comment(lexer) || lexer_try_sign(lexer)))
        lexer_foreign_character(lexer);
}

void lexer_run(Arena *arena, const Source *source, DiagSink *diags, TokenList *tokens, CommentList *comments)
{
    Lexer lexer = {.arena = arena, .source = source, .diags = diags, .tokens = tokens, .comments = comments};
    lexer.line_start = true;
    lexer.plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (source->length >= UINT32_MAX - 16)
        diag_report(diags, DIAG_syntax, (Span){source, 0, 1}, "the file is larger than a source file may be (4 GB)");
    else
        lexer.length = (uint32_t)source->length;
    if (lexer.length >= 3 && memcmp(source->text, "\xef\xbb\xbf", 3) == 0)
        lexer.at = 3;
    while (lexer.at < lexer.length)
        lexer_next(&lexer);
    lexer.line_start = true;
    lexer_add(&lexer, TOK_end, lexer.at);
    freelocale(lexer.plain);
}
