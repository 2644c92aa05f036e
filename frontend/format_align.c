/* Comments behind lines: two spaces after the line, or in one column where the author has put those of neighbouring lines
 * in one column. */
#include "frontend/format_internal.h"

enum { COMMENT_SPACE = 2 };

/* The comment behind the line that starts at a piece, or FORMAT_TOP; the line's width and the start of the next line. */
static int comment_of_line(const Format *format, int start, int *width, int *next)
{
    int i = start;
    *width = format->pieces[start].indent;
    for (; i < format->count && (i == start || !format->pieces[i].breaks) && format->pieces[i].kind != TOK_end; i++)
        *width += format_width(format, i);
    bool comment = i > start && i < format->count && !format->pieces[i].breaks;
    *next = i + (comment || i == start);
    return comment ? i : FORMAT_TOP;
}

static void place_comments(Format *format, const int *comments, int count, int column)
{
    for (int i = 0; i < count; i++)
        format->pieces[comments[i]].space += column;
}

void format_align(Format *format)
{
    int *run = arena_array(format->arena, int, format->count + 1); /* comments in one column so far */
    int count = 0, widest = 0, width, next;
    for (int start = 0; start < format->count; start = next) {
        int comment = comment_of_line(format, start, &width, &next);
        bool goes_on = count && comment >= 0 && !format->pieces[start].gap &&
                       format->pieces[comment].column == format->pieces[run[0]].column;
        if (!goes_on) {
            place_comments(format, run, count, widest);
            count = widest = 0;
        }
        if (comment < 0)
            continue;
        format->pieces[comment].space = COMMENT_SPACE - width;
        widest = width > widest ? width : widest;
        run[count++] = comment;
    }
    place_comments(format, run, count, widest);
}
