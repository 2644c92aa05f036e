/* The formatter's pieces: tokens and comments in order, how they hang together, and the space between two of them. */
#include "frontend/format_internal.h"

#include <string.h>

bool format_is_opener(const Piece *piece)
{
    return piece->kind == TOK_left_paren || piece->kind == TOK_left_bracket || piece->kind == TOK_left_brace;
}

bool format_is_closer(const Piece *piece)
{
    return piece->kind == TOK_right_paren || piece->kind == TOK_right_bracket || piece->kind == TOK_right_brace;
}

bool format_is_assignment(const Piece *piece)
{
    return piece->kind >= TOK_add_assign && piece->kind <= TOK_draw;
}

bool format_is_operator(const Piece *piece)
{
    if (piece->field || piece->unary)
        return false;
    return (piece->kind >= TOK_equal && piece->kind <= TOK_join) || (piece->kind >= TOK_plus && piece->kind <= TOK_percent) ||
           piece->kind == TOK_and || piece->kind == TOK_or;
}

bool format_ends_value(const Piece *piece)
{
    return piece->kind == TOK_name || piece->kind == TOK_number || piece->kind == TOK_string || piece->kind == TOK_true ||
           piece->kind == TOK_false || piece->field || format_is_closer(piece);
}

BracketKind format_bracket(const Piece *opener)
{
    if (!format_is_opener(opener))
        return BRACKET_none;
    return opener->kind == TOK_left_brace && !opener->record ? BRACKET_block : BRACKET_list;
}

bool format_in_list(const Format *format, int piece)
{
    int outer = format->pieces[piece].outer;
    return outer >= 0 && format_bracket(&format->pieces[outer]) == BRACKET_list;
}

int format_after(const Format *format, int piece)
{
    do
        piece++;
    while (piece < format->count && format->pieces[piece].kind == TOK_end);
    return piece;
}

/* ---- reading ---- */

/* Characters, where each counts as one column. */
static int columns_of(const char *text, uint32_t size)
{
    int columns = 0;
    for (uint32_t i = 0; i < size; i++)
        columns += ((unsigned char)text[i] & 0xc0) != 0x80;
    return columns;
}

static void look_back(Piece *piece, const char *text, uint32_t from)
{
    bool blank = false;
    uint32_t line = piece->start;
    while (piece->kind == TOK_end && line > 0 && text[line - 1] != '\n')
        line--;
    piece->column = columns_of(text + line, piece->start - line);
    for (uint32_t i = from; i < piece->start; i++) {
        piece->gap = piece->gap || (text[i] == '\n' && blank);
        piece->lines = piece->lines || text[i] == '\n';
        blank = text[i] == '\n' || (blank && strchr(" \t\r", text[i]));
    }
}

static void add_piece(Format *format, Piece piece, uint32_t from)
{
    const char *text = format->file->source->text;
    look_back(&piece, text, from);
    piece.columns = columns_of(text + piece.start, piece.end - piece.start);
    piece.match = piece.outer = piece.before = piece.chain = piece.head = FORMAT_TOP;
    format->pieces[format->count++] = piece;
}

/* Tokens and comments merged; the comma or semicolon behind a token is a mark on it, whatever comments stand between. */
static void merge(Format *format, const TokenList *tokens)
{
    int comment = 0, parens = 0, last = FORMAT_TOP;
    uint32_t from = 0;
    for (int i = 0; i < tokens->count; i++) {
        const Token *token = &tokens->items[i];
        for (; comment < format->file->comments.count && format->file->comments.items[comment].span.start < token->start;
             comment++) {
            const Comment *read = &format->file->comments.items[comment];
            add_piece(format, (Piece){.alone = read->alone, .start = read->span.start, .end = read->span.end}, from);
            from = read->span.end;
        }
        bool separates = token->kind == TOK_semicolon && !parens;
        if (token->kind == TOK_comma && last >= 0) {
            format->pieces[last].comma = true;
        } else if (separates && last >= 0) {
            format->pieces[last].semicolon = true;
        } else if (token->kind != TOK_end && !separates) {
            last = format->count;
            add_piece(format, (Piece){.kind = token->kind, .start = token->start, .end = token->end}, from);
            parens = token->kind == TOK_left_paren                                     ? parens + 1
                     : token->kind == TOK_right_paren && parens                        ? parens - 1
                     : token->kind == TOK_left_brace || token->kind == TOK_right_brace ? 0
                                                                                       : parens;
        }
        from = token->end;
    }
}

/* Brackets, what stands before what, and the roles that follow from it. */
static void link_pieces(Format *format)
{
    int outer = FORMAT_TOP, before = FORMAT_TOP, offset = 0, deepest = 0;
    format->whole = true;
    for (int i = 0; i < format->count; i++) {
        Piece *piece = &format->pieces[i];
        const Piece *last = before >= 0 ? &format->pieces[before] : NULL;
        if (format_is_closer(piece) && outer >= 0) {
            piece->match = outer;
            format->pieces[outer].match = i;
            outer = format->pieces[outer].outer;
        } else if (format_is_closer(piece)) {
            format->whole = false;
        }
        piece->offset = offset;
        offset += piece->columns;
        piece->outer = outer;
        piece->depth = outer >= 0 ? format->pieces[outer].depth + 1 : 0;
        deepest = piece->depth > deepest ? piece->depth : deepest;
        piece->before = before;
        if (piece->kind == TOK_end)
            continue;
        piece->field = last && last->kind == TOK_dot;
        piece->unary = piece->kind == TOK_minus && (!last || last->comma || last->semicolon || !format_ends_value(last));
        if (last && last->comma && outer >= 0 && !format_is_closer(piece))
            format->pieces[outer].commas = true;
        if (format_is_opener(piece))
            outer = i;
        before = i;
    }
    format->whole = format->whole && outer == FORMAT_TOP && deepest <= 2 * AST_MAX_HEIGHT;
}

void format_read(Format *format)
{
    TokenList tokens = {0};
    CommentList comments = {0};
    DiagSink diags = diag_sink_new(format->arena);
    lexer_run(format->arena, format->file->source, &diags, &tokens, &comments);
    format->pieces = arena_array(format->arena, Piece, tokens.count + format->file->comments.count);
    merge(format, &tokens);
    link_pieces(format);
}

/* ---- between two pieces ---- */

static bool ends_brackets(const Format *format, int piece)
{
    return piece < format->count && format_is_closer(&format->pieces[piece]);
}

bool format_prints_comma(const Format *format, int piece)
{
    const Piece *here = &format->pieces[piece];
    int next = format_after(format, piece);
    if (here->kind == TOK_end || next >= format->count)
        return false;
    const Piece *after = &format->pieces[next];
    if (!ends_brackets(format, next))
        return here->comma && after->kind != TOK_semicolon;
    if (!after->breaks || after->match < 0 || after->match == piece)
        return false;
    const Piece *opener = &format->pieces[after->match];
    return format_bracket(opener) == BRACKET_list && (here->comma || opener->commas || opener->record);
}

/* Signs that stand close to what is before and behind them. */
static bool is_close(const Piece *piece)
{
    return piece->kind == TOK_dot || piece->kind == TOK_range || piece->kind == TOK_caret;
}

/* `2 .x` is a field of 2, `2.x` is no number. */
static bool would_be_number(const Piece *last, const Piece *piece)
{
    return last->kind == TOK_number && !last->field && piece->kind == TOK_dot;
}

static bool is_spaced(const Piece *last, const Piece *piece, bool empty)
{
    if (last->kind == TOK_left_brace || piece->kind == TOK_right_brace)
        return !empty;
    if (last->kind == TOK_left_paren || last->kind == TOK_left_bracket)
        return false;
    if (piece->kind == TOK_right_paren || piece->kind == TOK_right_bracket || piece->kind == TOK_colon ||
        piece->kind == TOK_semicolon)
        return false;
    if (last->comma || would_be_number(last, piece))
        return true;
    bool first = piece->kind == TOK_range && !format_ends_value(last); /* T: ..4 */
    if ((is_close(piece) && !first) || is_close(last) || last->unary)
        return false;
    bool opens = piece->kind == TOK_left_paren || piece->kind == TOK_left_bracket;
    return !(opens && format_ends_value(last));
}

const char *format_space(const Format *format, int place)
{
    const Piece *piece = &format->pieces[place], *last = piece - 1;
    if (piece->starts && last->semicolon && !format_is_opener(last))
        return "; ";
    return is_spaced(last, piece, piece->match == place - 1) ? " " : "";
}

int format_width(const Format *format, int place)
{
    const Piece *piece = &format->pieces[place];
    size_t space = piece->breaks ? 0 : strlen(format_space(format, place));
    return (int)space + piece->columns + format_prints_comma(format, place);
}
