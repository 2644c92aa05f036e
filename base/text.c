/* Text: a growing string in an arena. */
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void reserve(Text *text, size_t more)
{
    if (text->length + more + 1 <= text->capacity)
        return;
    size_t capacity = text->capacity ? text->capacity : 128;
    while (capacity < text->length + more + 1)
        capacity *= 2;
    char *data = arena_alloc(text->arena, capacity);
    if (text->length)
        memcpy(data, text->data, text->length);
    text->data = data;
    text->capacity = capacity;
}

Text text_new(Arena *arena)
{
    Text text = {.arena = arena};
    reserve(&text, 0);
    return text;
}

void text_add(Text *text, const char *bytes, size_t length)
{
    if (!length)
        return;
    reserve(text, length);
    memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = 0;
}

void text_puts(Text *text, const char *string)
{
    text_add(text, string, strlen(string));
}

void text_vprintf(Text *text, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length <= 0)
        return;
    reserve(text, (size_t)length);
    vsnprintf(text->data + text->length, (size_t)length + 1, format, args);
    text->length += (size_t)length;
}

void text_printf(Text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_vprintf(text, format, args);
    va_end(args);
}

void text_number(Text *text, double value, int single)
{
    if (isnan(value) || isinf(value)) {
        text_puts(text, isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
        return;
    }
    char buffer[40];
    for (int digits = single ? 6 : 15; digits <= 17; digits++) {
        snprintf(buffer, sizeof buffer, "%.*g", digits, value);
        if (single ? strtof(buffer, NULL) == (float)value : strtod(buffer, NULL) == value)
            break;
    }
    text_puts(text, buffer);
    if (!strpbrk(buffer, ".e"))
        text_puts(text, ".0");
}
