/* Printing arrays and numbers, for people and for machines. */
#include "cli/cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { EDGE = 3, MOST_IN_A_ROW = 8 };

int64_t array_count(const cm_array *array)
{
    int64_t count = 1;
    for (int i = 0; i < array->rank; i++)
        count *= array->dim[i];
    return count;
}

static double from_half(uint16_t bits)
{
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double sign = bits >> 15 ? -1 : 1;
    if (exponent == 31)
        return fraction ? (double)NAN : sign * (double)INFINITY;
    return sign * (exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24));
}

static double from_bfloat(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return (double)value;
}

double array_number(const cm_array *array, int64_t index)
{
    switch (array->dtype) {
    case CM_F32:
        return (double)((const float *)array->data)[index];
    case CM_F64:
        return ((const double *)array->data)[index];
    case CM_F16:
        return from_half(((const uint16_t *)array->data)[index]);
    case CM_BF16:
        return from_bfloat(((const uint16_t *)array->data)[index]);
    case CM_I32:
        return ((const int32_t *)array->data)[index];
    case CM_U32:
        return ((const uint32_t *)array->data)[index];
    case CM_I64:
        return (double)((const int64_t *)array->data)[index];
    case CM_U8:
    case CM_BOOL:
        break;
    }
    return ((const unsigned char *)array->data)[index];
}

static bool is_whole(cm_dtype dtype)
{
    return dtype == CM_I32 || dtype == CM_U32 || dtype == CM_I64 || dtype == CM_U8;
}

/* Enough digits to read the same bits back. */
static void print_number(FILE *out, const cm_array *array, int64_t index)
{
    double value = array_number(array, index);
    if (array->dtype == CM_BOOL)
        fputs(value != 0 ? "true" : "false", out);
    else if (array->dtype == CM_I64)
        fprintf(out, "%lld", (long long)((const int64_t *)array->data)[index]);
    else if (is_whole(array->dtype))
        fprintf(out, "%.0f", value);
    else {
        char text[40];
        int digits = 6, most = array->dtype == CM_F64 ? 17 : 9;
        for (; digits <= most; digits++) {
            snprintf(text, sizeof text, "%.*g", digits, value);
            if (array->dtype == CM_F64 ? strtod(text, NULL) == value : strtof(text, NULL) == (float)value)
                break;
        }
        fputs(isnan(value) ? "nan" : text, out);
    }
}

/* Long axes show their ends; `step` is the number of elements behind one index of the axis. */
static void print_axis(FILE *out, const cm_array *array, int axis, int64_t offset, int64_t step)
{
    if (axis == array->rank) {
        print_number(out, array, offset);
        return;
    }
    int64_t size = array->dim[axis], inner = size ? step / size : 0;
    fputc('[', out);
    for (int64_t i = 0; i < size; i++) {
        if (i)
            fputs(axis == array->rank - 1 ? ", " : ",\n ", out);
        if (size > MOST_IN_A_ROW && i == EDGE) {
            fputs("...", out);
            i = size - EDGE - 1;
            continue;
        }
        print_axis(out, array, axis + 1, offset + i * inner, inner);
    }
    fputc(']', out);
}

void print_array(FILE *out, const char *name, const cm_array *array)
{
    fprintf(out, "%s: %s", name, cm_dtype_name(array->dtype));
    for (int i = 0; i < array->rank; i++)
        fprintf(out, "%s%lld%s", i ? ", " : "[", (long long)array->dim[i], i == array->rank - 1 ? "]" : "");
    fputs(array->rank > 1 ? " =\n" : " = ", out);
    print_axis(out, array, 0, 0, array_count(array));
    fputc('\n', out);
}

/* ---- JSON ---- */

void print_json_text(FILE *out, const char *text)
{
    if (!text) {
        fputs("null", out);
        return;
    }
    fputc('"', out);
    for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(out, "\\%c", *c);
        else if (*c == '\n')
            fputs("\\n", out);
        else if (*c < ' ')
            fprintf(out, "\\u%04x", *c);
        else
            fputc(*c, out);
    }
    fputc('"', out);
}

void print_json_number(FILE *out, double value)
{
    if (isfinite(value))
        fprintf(out, "%.17g", value);
    else
        fputs("null", out);
}

static void json_axis(FILE *out, const cm_array *array, int axis, int64_t offset, int64_t step)
{
    if (axis == array->rank) {
        if (array->dtype == CM_BOOL || is_whole(array->dtype))
            print_number(out, array, offset);
        else if (isfinite(array_number(array, offset)))
            print_number(out, array, offset);
        else
            fputs("null", out);
        return;
    }
    int64_t size = array->dim[axis], inner = size ? step / size : 0;
    fputc('[', out);
    for (int64_t i = 0; i < size; i++) {
        if (i)
            fputc(',', out);
        json_axis(out, array, axis + 1, offset + i * inner, inner);
    }
    fputc(']', out);
}

void print_json_array(FILE *out, const cm_array *array)
{
    json_axis(out, array, 0, 0, array_count(array));
}

/* ---- sizes and times ---- */

void format_bytes(char *text, size_t size, int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    int unit = 0;
    while (value >= 1024 && unit < 4) {
        value /= 1024;
        unit++;
    }
    snprintf(text, size, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

void format_seconds(char *text, size_t size, double seconds)
{
    long long whole = (long long)seconds;
    if (seconds < 60)
        snprintf(text, size, seconds < 10 ? "%.2f s" : "%.0f s", seconds);
    else if (whole < 3600)
        snprintf(text, size, "%lld:%02lld min", whole / 60, whole % 60);
    else
        snprintf(text, size, "%lld:%02lld h", whole / 3600, whole / 60 % 60);
}

double clock_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}
