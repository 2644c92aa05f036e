/* Prints a .cm file in its canonical layout; here: where each line starts, and what stands on it. */
#include "frontend/format_internal.h"

/* Where the line stands that opened a bracket: its closer stands there too, what is inside one step further in. */
static int anchor_of(const Format *format, int opener)
{
    int head = opener >= 0 ? format->pieces[opener].head : FORMAT_TOP;
    return opener < 0 ? -FORMAT_INDENT : format->pieces[head >= 0 ? head : opener].indent;
}

/* The column where a line starts with this piece; a comment stands where what follows it would. */
static int line_indent(const Format *format, int place)
{
    const Piece *piece = &format->pieces[place];
    int inside = anchor_of(format, piece->outer) + FORMAT_INDENT;
    int next = piece->kind == TOK_end ? format_after(format, place) : place;
    const Piece *token = &format->pieces[next];
    if (format_is_closer(piece))
        return anchor_of(format, piece->match);
    if (next >= format->count || format_is_closer(token) || token->starts || token->item)
        return inside;
    return format->pieces[token->head >= 0 ? token->head : token->element].indent + (token->head < 0) * FORMAT_INDENT;
}

/* An empty line of the author's stays between statements, items and comments. */
static bool keeps_gap(const Format *format, int place)
{
    const Piece *piece = &format->pieces[place];
    if (!piece->gap || place == 0 || format_is_opener(&format->pieces[place - 1]))
        return false;
    return piece->kind == TOK_end || piece->starts || piece->item;
}

/* A block stands on lines of its own if its head does not fit on the line on which it starts. */
static void settle_block(Format *format, int place, int line)
{
    int head = format->pieces[place].head;
    if (head >= 0 && head < line && format_is_open_block(format, place))
        format_break_block(format, place);
}

static void lay_out(Format *format)
{
    int line = 0, indent = 0;
    for (int i = 0; i < format->count; i++) {
        Piece *piece = &format->pieces[i];
        if (piece->breaks) {
            line = i;
            indent = piece->indent = line_indent(format, i);
            format_wrap(format, i);
        }
        piece->indent = indent;
        piece->gap = keeps_gap(format, i);
        settle_block(format, i, line);
    }
}

static void print_spaces(Text *out, int count)
{
    text_printf(out, "%*s", count, "");
}

static void print_piece(const Format *format, int place, Text *out)
{
    const Piece *piece = &format->pieces[place];
    if (piece->breaks) {
        text_puts(out, place ? "\n" : "");
        text_puts(out, piece->gap ? "\n" : "");
        print_spaces(out, piece->indent);
    } else if (piece->kind == TOK_end) {
        print_spaces(out, piece->space);
    } else {
        text_puts(out, format_space(format, place));
    }
    text_add(out, format->file->source->text + piece->start, piece->end - piece->start);
    text_puts(out, format_prints_comma(format, place) ? "," : "");
}

void format_file(const File *file, Text *out)
{
    Format format = {.arena = out->arena, .file = file};
    format_read(&format);
    if (!format.whole) { /* it has not parsed: nothing is known about it */
        text_add(out, file->source->text, file->source->length);
        return;
    }
    format_mark(&format);
    format_lines(&format);
    lay_out(&format);
    format_align(&format);
    for (int i = 0; i < format.count; i++)
        print_piece(&format, i, out);
    text_puts(out, format.count ? "\n" : "");
}
