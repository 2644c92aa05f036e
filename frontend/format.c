/* Prints a .cm file in its canonical layout; here: where each line starts, and what stands on it. */
#include "frontend/format_internal.h"

static Frame *frame_of(Format *format, int outer)
{
    return outer >= 0 ? &format->pieces[outer].frame : &format->top;
}

/* The block of a statement or declaration, as against one that is a value. */
static bool has_head(const Format *format, int place)
{
    const Piece *piece = &format->pieces[place];
    if (piece->before < 0 || piece->starts || piece->item || format_bracket(piece) != BRACKET_block)
        return false;
    const Piece *last = &format->pieces[piece->before];
    return format_ends_value(last) || last->kind == TOK_else;
}

/* The column where a line starts with this piece. */
static int line_indent(Format *format, int place)
{
    const Piece *piece = &format->pieces[place];
    Frame *frame = frame_of(format, piece->outer);
    int next = piece->kind == TOK_end ? format_after(format, place) : place;
    if (next >= format->count || format->pieces[next].outer != piece->outer)
        return frame->anchor + FORMAT_INDENT;
    piece = &format->pieces[next];
    if (format_is_closer(piece))
        return next == place ? frame_of(format, piece->match)->anchor : frame->anchor + FORMAT_INDENT;
    if (piece->starts || piece->item)
        return frame->anchor + FORMAT_INDENT;
    bool goes_on = piece->kind == TOK_else && !piece->field;
    return goes_on || has_head(format, next) ? frame->head : frame->element + FORMAT_INDENT;
}

/* Notes where the things are that a piece starts; `indent` is that of its line. */
static void enter(Format *format, int place, int indent)
{
    Piece *piece = &format->pieces[place];
    Frame *frame = frame_of(format, piece->outer);
    bool head = !piece->field &&
                (piece->kind == TOK_if || piece->kind == TOK_for || piece->kind == TOK_while || piece->kind == TOK_with);
    if (piece->starts || piece->item)
        frame->element = indent;
    if (piece->starts || piece->item || head)
        frame->head = indent;
    if (format_is_opener(piece)) {
        int anchor = has_head(format, place) ? frame->head : indent;
        piece->frame = (Frame){anchor, anchor, anchor};
    }
}

/* An empty line of the author's stays between statements, items and comments. */
static bool keeps_gap(const Format *format, int place)
{
    const Piece *piece = &format->pieces[place];
    if (!piece->gap || place == 0 || format_is_opener(&format->pieces[place - 1]))
        return false;
    return piece->kind == TOK_end || piece->starts || piece->item;
}

static void lay_out(Format *format)
{
    int indent = 0;
    for (int i = 0; i < format->count; i++) {
        if (format->pieces[i].breaks) {
            indent = format->pieces[i].indent = line_indent(format, i);
            format_wrap(format, i);
        }
        format->pieces[i].gap = keeps_gap(format, i);
        enter(format, i, indent);
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
    Format format = {.arena = out->arena, .file = file, .top = {.anchor = -FORMAT_INDENT}};
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
