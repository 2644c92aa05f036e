/* Line breaks that a line needs which is longer than FORMAT_COLUMNS: at the outermost place that helps, and there at the
 * weakest sign.  Whatever breaks here is a place where format_lines.c keeps a break. */
#include "frontend/format_internal.h"

enum {
    SHORT_PART = 40, /* an operator nearer to the start of the line does not make the rest much shorter */
    SMALL_LIST = 16, /* lists that are not worth lines of their own */
    FARTHER = 64     /* how many pieces behind one that is too wide may be looked at */
};

typedef struct Line { /* from piece `start` on; `limit` is the first that does not fit, or that is no part of the line */
    int start, limit;
} Line;

/* Comments behind a line do not count: they cannot be broken. */
static Line measure(const Format *format, int start)
{
    int column = format->pieces[start].indent, i = start;
    for (; i < format->count && (i == start || !format->pieces[i].breaks) && format->pieces[i].kind != TOK_end; i++) {
        column += format_width(format, i);
        if (column > FORMAT_COLUMNS)
            break;
    }
    return (Line){start, i};
}

static bool is_in_line(const Format *format, const Line *line)
{
    const Piece *piece = &format->pieces[line->limit];
    return line->limit < format->count && piece->kind != TOK_end && (line->limit == line->start || !piece->breaks);
}

/* ---- ways to break: each does it and returns true, or finds no place at this depth ---- */

typedef bool Way(Format *format, const Line *line, int depth);

static bool at_comma(Format *format, const Line *line, int depth)
{
    for (int i = line->limit; i > line->start; i--) {
        const Piece *piece = &format->pieces[i];
        if (piece->depth != depth || format_is_closer(piece) || !format->pieces[i - 1].comma)
            continue;
        format->pieces[i].breaks = true;
        return true;
    }
    return false;
}

static bool at_item(Format *format, const Line *line, int depth)
{
    for (int i = line->limit; i > line->start; i--)
        if (format->pieces[i].depth == depth && !format_is_closer(&format->pieces[i]) && format->pieces[i - 1].comma)
            return format_in_list(format, i) && at_comma(format, line, depth);
    return false;
}

static bool at_block(Format *format, const Line *line, int depth)
{
    for (int i = line->start; i <= line->limit; i++) {
        if (format->pieces[i].depth != depth || !format_is_open_block(format, i))
            continue;
        format_break_block(format, i);
        return true;
    }
    return false;
}

static bool is_loop_of_list(const Format *format, int piece)
{
    const Piece *loop = &format->pieces[piece];
    return loop->kind == TOK_for && !loop->field && !loop->starts && format_in_list(format, piece);
}

/* Before every |> of a chain, or before the `for` of a list. */
static bool at_pipe(Format *format, const Line *line, int depth)
{
    int first = line->start + 1;
    while (first <= line->limit && (format->pieces[first].depth != depth || format->pieces[first].breaks ||
                                    !(format->pieces[first].kind == TOK_pipe || is_loop_of_list(format, first))))
        first++;
    if (first > line->limit)
        return false;
    format->pieces[first].breaks = true;
    for (int i = first + 1; i < format->count && format->pieces[i].depth >= depth && !format->pieces[i].breaks; i++) {
        Piece *piece = &format->pieces[i];
        if (piece->depth == depth && (piece->starts || piece->item))
            break;
        piece->breaks = piece->depth == depth && piece->kind == TOK_pipe;
    }
    return true;
}

static int strength_of(const Piece *piece)
{
    if (!format_is_operator(piece) || piece->kind == TOK_pipe)
        return 0;
    if (piece->kind == TOK_or || piece->kind == TOK_and)
        return piece->kind == TOK_or ? 1 : 2;
    if (piece->kind >= TOK_equal && piece->kind <= TOK_greater)
        return 3;
    return piece->kind == TOK_plus || piece->kind == TOK_minus || piece->kind == TOK_join ? 4 : 5;
}

/* Behind the last operator that fits, among the weakest ones; at least `least` columns from the start of the line. */
static bool behind_operator(Format *format, const Line *line, int depth, int least)
{
    int weakest = 6, place = 0, column = 0;
    for (int i = line->start; i + 1 <= line->limit; i++) {
        const Piece *piece = &format->pieces[i];
        column += format_width(format, i);
        int strength = piece->depth == depth ? strength_of(piece) : 0;
        if (!strength || strength > weakest || column < least || (i == line->start && piece->breaks))
            continue;
        weakest = strength;
        place = i + 1;
    }
    if (place)
        format->pieces[place].breaks = true;
    return place;
}

static bool at_operator(Format *format, const Line *line, int depth)
{
    return behind_operator(format, line, depth, SHORT_PART);
}

static bool at_any_operator(Format *format, const Line *line, int depth)
{
    return behind_operator(format, line, depth, 0);
}

static int width_of_list(const Format *format, int opener)
{
    return format->pieces[format->pieces[opener].match].offset - format->pieces[opener].offset;
}

static bool opens(const Format *format, int piece)
{
    const Piece *opener = &format->pieces[piece];
    return format_bracket(opener) == BRACKET_list && opener->match > piece + 1 && !format->pieces[piece + 1].breaks &&
           !format->pieces[opener->match].breaks && format->pieces[piece + 1].kind != TOK_end;
}

/* f(a, x => { ... }) opens at the brace alone, and so does f({ a: 1 }); a record never has lines inside but its own. */
static void open_list(Format *format, int opener)
{
    int last = format->pieces[opener].match - 1;
    int inner = format_is_closer(&format->pieces[last]) ? format->pieces[last].match : FORMAT_TOP;
    if (inner > opener && !format->pieces[opener].record && format_is_open_block(format, inner))
        format_break_block(format, inner);
    else if (inner == opener + 1 && opens(format, inner))
        open_list(format, inner);
    else
        format_break_list(format, opener);
}

static bool open_widest(Format *format, const Line *line, int depth, int least)
{
    int widest = FORMAT_TOP;
    for (int i = line->start; i < line->limit; i++) {
        if (format->pieces[i].depth != depth || !opens(format, i) || width_of_list(format, i) < least)
            continue;
        if (widest < 0 || width_of_list(format, i) > width_of_list(format, widest))
            widest = i;
    }
    if (widest >= 0)
        open_list(format, widest);
    return widest >= 0;
}

static bool at_list(Format *format, const Line *line, int depth)
{
    return open_widest(format, line, depth, SMALL_LIST);
}

static bool at_any_list(Format *format, const Line *line, int depth)
{
    return open_widest(format, line, depth, 0);
}

/* Before the '=' of a function that is one expression, unless that is one list. */
static bool at_body(Format *format, const Line *line, int depth)
{
    const Piece *first = &format->pieces[line->start];
    const Piece *third = line->start + 2 < line->limit ? first + 2 : first;
    bool contextual = first->kind == TOK_name && first[1].kind == TOK_name &&
                      (third->kind == TOK_left_paren || third->kind == TOK_left_bracket);
    if (!first->starts || line->start + 2 >= line->limit || !(first->kind == TOK_fn || contextual))
        return false;
    for (int i = line->start + 1; i <= line->limit; i++) {
        const Piece *piece = &format->pieces[i];
        if (piece->depth != depth || piece->kind != TOK_assign || piece->breaks || i + 1 >= format->count)
            continue;
        int match = format_bracket(piece + 1) == BRACKET_list ? piece[1].match : FORMAT_TOP;
        if (match >= 0 && (match + 1 >= format->count || format->pieces[match + 1].breaks))
            return false;
        format->pieces[i].breaks = true;
        return true;
    }
    return false;
}

static bool behind_assignment(Format *format, const Line *line, int depth)
{
    for (int i = line->limit - 1; i > line->start; i--) {
        const Piece *piece = &format->pieces[i];
        if (piece->depth != depth || !(format_is_assignment(piece) || piece->kind == TOK_maps_to))
            continue;
        format->pieces[i + 1].breaks = true;
        return true;
    }
    return false;
}

static bool break_once(Format *format, const Line *line)
{
    static Way *const ways[] = {at_item,     at_block, at_comma,          at_body,         at_pipe,
                                at_operator, at_list,  behind_assignment, at_any_operator, at_any_list};
    int least = format->pieces[line->start].depth, most = least;
    for (int i = line->start; i <= line->limit; i++) {
        least = format->pieces[i].depth < least ? format->pieces[i].depth : least;
        most = format->pieces[i].depth > most ? format->pieces[i].depth : most;
    }
    for (int depth = least; depth <= most; depth++)
        for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
            if (ways[i](format, line, depth))
                return true;
    return false;
}

/* Where nothing can break before the limit, the next place behind it has to do. */
static bool break_line(Format *format, Line line)
{
    for (int i = 0; i < FARTHER && is_in_line(format, &line); i++, line.limit++)
        if (break_once(format, &line))
            return true;
    return false;
}

void format_wrap(Format *format, int start)
{
    while (break_line(format, measure(format, start)))
        ;
}
