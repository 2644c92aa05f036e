/* Which of the author's line breaks stay.
 *
 * A line may end at a comma, at an operator, at '=' and the like.  The brackets of a list stand at line ends both or
 * neither.  A block stands on one line, or each of its statements has lines of its own; so do the blocks that `else` ties
 * together. */
#include "frontend/format_internal.h"

static const Piece *outer_of(const Format *format, const Piece *piece)
{
    return piece->outer >= 0 ? &format->pieces[piece->outer] : NULL;
}

static bool in_list(const Format *format, const Piece *piece)
{
    const Piece *outer = outer_of(format, piece);
    return outer && format_bracket(outer) == BRACKET_list;
}

static void mark_items(Format *format)
{
    for (int i = 0; i < format->count; i++) {
        Piece *piece = &format->pieces[i];
        if (piece->kind == TOK_end || piece->before < 0 || format_is_closer(piece) || !in_list(format, piece))
            continue;
        const Piece *last = &format->pieces[piece->before];
        piece->item = last->comma || last->kind == TOK_semicolon || piece->before == piece->outer;
    }
}

/* Whether a line may end between two tokens, brackets apart. */
static bool may_break(const Format *format, const Piece *last, const Piece *piece)
{
    if (last->comma || piece->kind == TOK_pipe)
        return true;
    if (format_is_operator(piece))
        return true;
    if (format_is_operator(last))
        return last->kind != TOK_pipe && !last->breaks;
    if (format_is_assignment(last) || last->kind == TOK_maps_to)
        return true;
    if (piece->kind == TOK_for && !piece->field && in_list(format, piece))
        return true;
    return (piece->kind == TOK_assign || piece->kind == TOK_arrow) && !in_list(format, piece);
}

static bool keeps_break(const Format *format, int place)
{
    const Piece *piece = &format->pieces[place];
    if (place == 0)
        return true;
    if (format->pieces[place - 1].kind == TOK_end || (piece->kind == TOK_end && piece->alone))
        return true;
    if (piece->kind == TOK_end)
        return false;
    if (piece->starts)
        return piece->lines || piece->outer < 0;
    const Piece *last = &format->pieces[place - 1];
    if (!piece->lines)
        return false;
    if (format_is_closer(piece) || format_is_opener(last))
        return format_bracket(format_is_closer(piece) ? &format->pieces[piece->match] : last) == BRACKET_block &&
               place - 1 != piece->match;
    return may_break(format, last, piece);
}

void format_break_list(Format *format, int opener)
{
    Piece *first = &format->pieces[opener + 1];
    first->breaks = first->kind != TOK_end || first->alone;
    format->pieces[format->pieces[opener].match].breaks = true;
}

/* A list whose first item starts a line, or that ends in a comment. */
static void settle_lists(Format *format)
{
    for (int i = 0; i + 1 < format->count; i++) {
        const Piece *opener = &format->pieces[i];
        if (format_bracket(opener) != BRACKET_list || opener->match < 0 || opener->match == i + 1)
            continue;
        const Piece *first = &format->pieces[i + 1];
        bool comment = first->kind == TOK_end || format->pieces[opener->match - 1].kind == TOK_end;
        if (first->lines || comment)
            format_break_list(format, i);
    }
}

static void break_one_block(Format *format, int opener)
{
    for (int i = opener + 1; i < format->pieces[opener].match; i++)
        if (format->pieces[i].starts && format->pieces[i].outer == opener)
            format->pieces[i].breaks = true;
    format->pieces[format->pieces[opener].match].breaks = true;
}

void format_break_block(Format *format, int opener)
{
    for (int i = opener; i >= 0; i = format->pieces[i].chain)
        if (format->pieces[i].match > i + 1)
            break_one_block(format, i);
}

/* Blocks with a line break inside. */
static void settle_blocks(Format *format)
{
    int *breaks = arena_array(format->arena, int, format->count + 1); /* how many before each piece */
    bool *broken = arena_array(format->arena, bool, format->count + 1);
    for (int i = 0; i < format->count; i++)
        breaks[i + 1] = breaks[i] + format->pieces[i].breaks;
    for (int i = 0; i < format->count; i++) {
        const Piece *piece = &format->pieces[i];
        if (format_bracket(piece) != BRACKET_block)
            continue;
        broken[i] = broken[i] || breaks[piece->match + 1] > breaks[i + 1];
        if (piece->chain >= 0)
            broken[piece->chain] = broken[i];
    }
    for (int i = format->count - 1; i >= 0; i--)
        if (format->pieces[i].chain >= 0)
            broken[i] = broken[i] || broken[format->pieces[i].chain];
    for (int i = 0; i < format->count; i++)
        if (broken[i] && format->pieces[i].match > i + 1)
            break_one_block(format, i);
}

void format_lines(Format *format)
{
    mark_items(format);
    for (int i = 0; i < format->count; i++)
        format->pieces[i].breaks = keeps_break(format, i);
    settle_lists(format);
    settle_blocks(format);
}
