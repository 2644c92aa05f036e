/* Diagnostics: collecting them, and the text that people read. */
#include "base/diag.h"

#include <string.h>

enum { DEFAULT_LIMIT = 20, WIDEST_LINE = 160 };

DiagSink diag_sink_new(Arena *arena)
{
    return (DiagSink){.arena = arena};
}

static bool is_there(const DiagSink *sink, const Diag *diag)
{
    for (int i = 0; i < sink->list.count && diag->span.source; i++) {
        const Diag *other = &sink->list.items[i];
        if (other->code == diag->code && other->span.source == diag->span.source && other->span.start == diag->span.start &&
            other->span.end == diag->span.end && !strcmp(other->text, diag->text))
            return true;
    }
    return false;
}

void diag_report(DiagSink *sink, DiagCode code, Span at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    Diag diag = {.code = code, .span = at, .text = arena_vprintf(sink->arena, format, args)};
    va_end(args);
    sink->repeated = is_there(sink, &diag);
    if (sink->repeated)
        return;
    if (sink->list.count >= (sink->limit ? sink->limit : DEFAULT_LIMIT)) {
        sink->dropped++;
        return;
    }
    list_push(sink->arena, &sink->list, diag);
}

void diag_note(DiagSink *sink, Span at, const char *format, ...)
{
    if (!sink->list.count || sink->dropped || sink->repeated)
        return;
    Diag *diag = &sink->list.items[sink->list.count - 1];
    va_list args;
    va_start(args, format);
    DiagNote note = {at, arena_vprintf(sink->arena, format, args)};
    va_end(args);
    list_push(sink->arena, &diag->notes, note);
}

const char *diag_code_name(DiagCode code)
{
    static const char *const names[] = {
#define DIAG(code, lesson) #code,
#include "base/diags.def"
    };
    return names[code];
}

const char *diag_lesson(DiagCode code)
{
    static const char *const lessons[] = {
#define DIAG(code, lesson) lesson,
#include "base/diags.def"
    };
    return lessons[code];
}

bool span_contains(Span outer, Span inner)
{
    return inner.source && outer.source == inner.source && outer.start <= inner.start && inner.end <= outer.end;
}

Position span_position(Span span)
{
    Position position = {1, 1};
    if (!span.source)
        return position;
    for (size_t i = 0; i < span.start && i < span.source->length; i++) {
        position.column++;
        if (span.source->text[i] == '\n') {
            position.line++;
            position.column = 1;
        }
    }
    return position;
}

static bool inside_character(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

/* The line of the span's start; of a long one, what is near. */
static void find_line(Span span, size_t *start, size_t *end)
{
    const char *text = span.source->text;
    *start = *end = span.start;
    while (*start > 0 && text[*start - 1] != '\n')
        --*start;
    while (*end < span.source->length && text[*end] != '\n')
        ++*end;
    if (*end - *start <= WIDEST_LINE)
        return;
    if (span.start - *start > WIDEST_LINE / 2)
        *start = span.start - WIDEST_LINE / 2;
    if (*end - *start > WIDEST_LINE)
        *end = *start + WIDEST_LINE;
    while (*start < span.start && inside_character(text[*start]))
        ++*start;
    while (*end > span.start && *end < span.source->length && inside_character(text[*end]))
        --*end;
}

static void render_line(Span span, Text *out)
{
    const char *text = span.source->text;
    size_t start, end;
    find_line(span, &start, &end);
    bool cut = start > 0 && text[start - 1] != '\n', goes_on = end < span.source->length && text[end] != '\n';
    text_puts(out, cut ? "    ..." : "    ");
    for (size_t i = start; i < end; i++)
        text_add(out, (unsigned char)text[i] < ' ' ? " " : &text[i], 1);
    text_puts(out, goes_on ? "...\n    " : "\n    ");
    text_puts(out, cut ? "   " : "");
    size_t last = span.end < end ? span.end : end;
    for (size_t i = start; i < span.start; i++)
        if (!inside_character(text[i])) /* one mark for a character, not for a byte of it */
            text_puts(out, " ");
    text_puts(out, "^");
    for (size_t i = span.start + 1; i < last; i++)
        if (!inside_character(text[i]))
            text_puts(out, "~");
    text_puts(out, "\n");
}

static void render_message(Span span, const char *kind, const char *text, Text *out)
{
    if (!span.source) {
        text_printf(out, "%s: %s\n", kind, text);
        return;
    }
    Position position = span_position(span);
    text_printf(out, "%s:%d:%d: %s: %s\n", span.source->name, position.line, position.column, kind, text);
    render_line(span, out);
}

void diag_render(const Diag *diag, Text *out)
{
    render_message(diag->span, arena_printf(out->arena, "error[%s]", diag_code_name(diag->code)), diag->text, out);
    for (int i = 0; i < diag->notes.count; i++)
        render_message(diag->notes.items[i].span, "  note", diag->notes.items[i].text, out);
}

void diag_render_all(const DiagSink *sink, Text *out)
{
    for (int i = 0; i < sink->list.count; i++)
        diag_render(&sink->list.items[i], out);
    if (sink->dropped)
        text_printf(out, "... and %d more errors\n", sink->dropped);
}
