/* Text: a growing string in an arena.  All printers of the compiler write to one. */
#ifndef CM_BASE_TEXT_H
#define CM_BASE_TEXT_H

#include "base/arena.h"

typedef struct Text {
    Arena *arena;
    char *data; /* always ends in a zero, never null after text_new */
    size_t length, capacity;
} Text;

Text text_new(Arena *arena);
void text_add(Text *text, const char *bytes, size_t length);
void text_puts(Text *text, const char *string);
void text_printf(Text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_vprintf(Text *text, const char *format, va_list args);

/* The shortest decimal that reads back to the same bits (as an f32 if `single`), always with a '.', an exponent, or as inf or
 * nan. */
void text_number(Text *text, double value, int single);

#endif
