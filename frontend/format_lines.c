/* Which of the author's line breaks stay.
 *
 * A line may end at a comma, at an operator, at '=' and the like.  The brackets of a list stand at line ends both or
 * neither.  A block stands on one line, or each of its statements has lines of its own; so do the blocks that `else` ties
 * together. */
#include "frontend/format_internal.h"

/* ---- what belongs to what ---- */

static bool is_item(const Format *format, int place)
{
    const Piece *piece = &format->pieces[place];
    if (piece->kind == TOK_end || piece->before < 0 || format_is_closer(piece) || !format_in_list(format, place))
        return false;
    const Piece *last = &format->pieces[piece->before];
    return last->comma || last->kind == TOK_semicolon || piece->before == piece->outer;
}

/* The block of a statement or declaration, as against one that is a value. */
static bool has_head(const Format *format, const Piece *piece)
{
    if (format_bracket(piece) != BRACKET_block || piece->before < 0 || piece->starts || piece->item)
        return false;
    const Piece *last = &format->pieces[piece->before];
    return format_ends_value(last) || last->kind == TOK_else;
}

static bool is_head(const Piece *piece)
{
    return !piece->field &&
           (piece->kind == TOK_if || piece->kind == TOK_for || piece->kind == TOK_while || piece->kind == TOK_with);
}

static void find_elements(Format *format)
{
    int *elements = arena_array(format->arena, int, format->count + 1); /* by bracket; 0 is the top of the file */
    int *heads = arena_array(format->arena, int, format->count + 1);
    for (int i = 0; i < format->count; i++) {
        Piece *piece = &format->pieces[i];
        int outer = piece->outer + 1;
        piece->item = is_item(format, i);
        if (piece->starts || piece->item)
            elements[outer] = heads[outer] = i;
        if (is_head(piece))
            heads[outer] = i;
        piece->element = elements[outer];
        piece->head = (piece->kind == TOK_else && !piece->field) || has_head(format, piece) ? heads[outer] : FORMAT_TOP;
    }
}

/* ---- breaks ---- */

/* Whether a line may end between two tokens, brackets apart. */
static bool may_break(const Format *format, int place)
{
    const Piece *piece = &format->pieces[place], *last = piece - 1;
    if (last->comma || piece->kind == TOK_pipe)
        return true;
    if (format_is_operator(piece))
        return true;
    if (format_is_operator(last))
        return last->kind != TOK_pipe && !last->breaks;
    if (format_is_assignment(last) || last->kind == TOK_maps_to)
        return true;
    if (piece->kind == TOK_for && !piece->field && format_in_list(format, place))
        return true;
    return (piece->kind == TOK_assign || piece->kind == TOK_arrow) && !format_in_list(format, place);
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
    if (format_is_opener(last))
        return place != last->match;
    if (format_is_closer(piece))
        return format_bracket(&format->pieces[piece->match]) == BRACKET_block;
    return may_break(format, place);
}

/* ---- brackets ---- */

void format_break_list(Format *format, int opener)
{
    Piece *first = &format->pieces[opener + 1];
    first->breaks = first->kind != TOK_end || first->alone;
    format->pieces[format->pieces[opener].match].breaks = true;
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

bool format_is_open_block(const Format *format, int piece)
{
    const Piece *opener = &format->pieces[piece];
    return format_bracket(opener) == BRACKET_block && opener->match > piece + 1 && !format->pieces[opener->match].breaks;
}

typedef struct Settler {
    Format *format;
    int *breaks;  /* how many lines of the author's start before each piece */
    bool *inside; /* by bracket: whether a line starts in it */
} Settler;

static bool author_breaks(const Settler *settler, int from, int to)
{
    return settler->breaks[to + 1] > settler->breaks[from + 1];
}

/* A list whose first item starts a line or that a comment ends; a record with any line inside. */
static void settle_list(const Settler *settler, int opener)
{
    const Piece *pieces = settler->format->pieces;
    bool comment = pieces[opener + 1].kind == TOK_end || pieces[pieces[opener].match - 1].kind == TOK_end;
    if (!comment && !pieces[opener + 1].breaks && !(pieces[opener].record && settler->inside[opener]))
        return;
    format_break_list(settler->format, opener);
    settler->inside[opener] = true;
}

/* A block with a line inside, or between its head and itself, or before the `else` that follows. */
static void settle_block(const Settler *settler, int opener)
{
    const Piece *piece = &settler->format->pieces[opener];
    int chain = piece->chain;
    bool apart = (piece->head >= 0 && author_breaks(settler, piece->head, opener)) ||
                 (chain >= 0 && (settler->inside[chain] || author_breaks(settler, piece->match, chain)));
    if (!apart && !settler->inside[opener])
        return;
    format_break_block(settler->format, opener);
    for (int i = opener; i >= 0; i = settler->format->pieces[i].chain)
        settler->inside[i] = true;
}

/* From the end to the start, so that inner brackets come before outer ones and an `else` before its `if`. */
static void settle_brackets(Format *format)
{
    Settler settler = {format, arena_array(format->arena, int, format->count + 1),
                       arena_array(format->arena, bool, format->count + 1)};
    for (int i = 0; i < format->count; i++)
        settler.breaks[i + 1] = settler.breaks[i] + format->pieces[i].breaks;
    for (int i = format->count - 1; i >= 0; i--) {
        const Piece *piece = &format->pieces[i];
        bool empty = piece->match == i + 1;
        if (format_bracket(piece) == BRACKET_list && !empty)
            settle_list(&settler, i);
        else if (format_bracket(piece) == BRACKET_block)
            settle_block(&settler, i);
        if (piece->outer >= 0 && (piece->breaks || settler.inside[i]))
            settler.inside[piece->outer] = true;
    }
}

void format_lines(Format *format)
{
    find_elements(format);
    for (int i = 0; i < format->count; i++)
        format->pieces[i].breaks = keeps_break(format, i);
    settle_brackets(format);
}
