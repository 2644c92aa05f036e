/* Diagnostics: sources, spans, and messages about a user's program, collected and never printed by the library.
 *
 * Three kinds of failure are never mixed: the user's program or data (a diagnostic, here), the surroundings (a status
 * with a reason), and a fault of cm's own (an assertion). */
#ifndef CM_BASE_DIAG_H
#define CM_BASE_DIAG_H

#include "base/arena.h"
#include "base/text.h"

#include <stdbool.h>

typedef struct Source {
    const char *name; /* as shown to the user: a path, or <text> */
    const char *text; /* zero-terminated; may hold zeros before `length` */
    size_t length;
} Source;

typedef struct Span { /* bytes [start, end) of a source; a null source means "no place" */
    const Source *source;
    uint32_t start, end;
} Span;

/* One word for each message: the list is base/diags.def, and a test provokes each. */
typedef enum DiagCode {
#define DIAG(code, lesson) DIAG_##code,
#include "base/diags.def"
    DIAG_COUNT
} DiagCode;

typedef struct DiagNote {
    Span span;
    const char *text;
} DiagNote;

typedef struct Diag {
    DiagCode code;
    Span span;
    const char *text;
    LIST(DiagNote) notes;
} Diag;

/* A sink keeps diagnostics in order, each once; after `limit` it drops further ones and says so. */
typedef struct DiagSink {
    Arena *arena;
    LIST(Diag) list;
    int limit;     /* 0 means 20 */
    int dropped;   /* how many did not fit */
    bool repeated; /* the last one was there already: its notes are, too */
} DiagSink;

DiagSink diag_sink_new(Arena *arena);
void diag_report(DiagSink *sink, DiagCode code, Span at, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Adds to the message reported last: where something came from, or the likely fix (with a null span). */
void diag_note(DiagSink *sink, Span at, const char *format, ...) __attribute__((format(printf, 3, 4)));

const char *diag_code_name(DiagCode code);
const char *diag_lesson(DiagCode code); /* one line that says what the rule is */

typedef struct Position {
    int line, column; /* from 1; columns count bytes */
} Position;
Position span_position(Span span);
bool span_contains(Span outer, Span inner);

/* file:line:column: error: text, the source line, the span underlined, and the notes in the same form. */
void diag_render(const Diag *diag, Text *out);
void diag_render_all(const DiagSink *sink, Text *out);

#endif
