/* The scanner of the text forms: tokens, and the small phrases (types, lists of integers) that both forms use. */
#include "ir/infer.h"
#include "ir/text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static int char_at(const Scanner *scan, size_t at)
{
    return at < scan->source->length ? (unsigned char)scan->source->text[at] : 0;
}

static bool is_word_start(int c)
{
    return isalpha(c) || c == '_';
}

static bool is_word_char(int c)
{
    return isalnum(c) || c == '_' || c == '.' || c == '\'';
}

Span scan_span(const Scanner *scan, size_t start)
{
    return (Span){scan->source, (uint32_t)start, (uint32_t)(scan->last_end > start ? scan->last_end : scan->at)};
}

void scan_fail_at(Scanner *scan, Span at, const char *format, ...)
{
    if (scan->failed)
        return;
    va_list args;
    va_start(args, format);
    diag_report(scan->diags, DIAG_bad_ir, at, "%s", arena_vprintf(scan->arena, format, args));
    va_end(args);
    scan->failed = true;
    scan->kind = SCAN_end;
    scan->word = "";
}

void scan_fail(Scanner *scan, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = arena_vprintf(scan->arena, format, args);
    va_end(args);
    scan_fail_at(scan, (Span){scan->source, (uint32_t)scan->start, (uint32_t)scan->at}, "%s", text);
}

/* ---- tokens ---- */

static void skip_blanks(Scanner *scan)
{
    for (;; scan->at++) {
        int c = char_at(scan, scan->at);
        if (c == '#') {
            while (scan->at < scan->source->length && char_at(scan, scan->at) != '\n')
                scan->at++;
        }
        if (scan->at >= scan->source->length || !isspace(char_at(scan, scan->at)))
            return;
    }
}

static const char *taken_text(Scanner *scan, size_t start)
{
    return arena_copy_text(scan->arena, scan->source->text + start, scan->at - start);
}

static const char *scan_word(Scanner *scan)
{
    size_t start = scan->at;
    while (is_word_char(char_at(scan, scan->at)))
        scan->at++;
    return taken_text(scan, start);
}

static const char *scan_string(Scanner *scan)
{
    Text text = text_new(scan->arena);
    for (scan->at++; char_at(scan, scan->at) != '"'; scan->at++) {
        char c = (char)char_at(scan, scan->at);
        if (!c || c == '\n') {
            scan_fail(scan, "a string without an end");
            return "";
        }
        if (c == '\\') {
            int value = 0;
            for (int i = 0; i < 3; i++) {
                int digit = char_at(scan, ++scan->at) - '0';
                if (digit < 0 || digit > 7 || (value = value * 8 + digit) > 255) {
                    scan_fail(scan, "an escape is a backslash and three octal digits");
                    return "";
                }
            }
            c = (char)value;
        }
        if (c)
            text_add(&text, &c, 1);
    }
    scan->at++;
    return text.data;
}

/* After the % or @: a word, a string or a number. */
static const char *scan_name(Scanner *scan)
{
    int c = char_at(scan, scan->at);
    if (c == '"')
        return scan_string(scan);
    if (is_word_start(c) || isdigit(c))
        return scan_word(scan);
    scan_fail(scan, "a name is missing");
    return "";
}

static void scan_value(Scanner *scan)
{
    size_t start = scan->at;
    bool numbered = isdigit(char_at(scan, scan->at));
    const char *name = scan_name(scan);
    if (char_at(scan, scan->at) == '#' && isdigit(char_at(scan, scan->at + 1))) {
        for (scan->at++; isdigit(char_at(scan, scan->at));)
            scan->at++;
    }
    if (scan->failed)
        return;
    scan->name = numbered || !*name ? NULL : name;
    scan->word = taken_text(scan, start);
}

static void scan_number(Scanner *scan)
{
    char buffer[64];
    size_t start = scan->at, length;
    bool whole = true;
    for (;; scan->at++) {
        int c = char_at(scan, scan->at), before = scan->at > start ? char_at(scan, scan->at - 1) : 0;
        bool sign = (c == '-' || c == '+') && (scan->at == start || before == 'e' || before == 'E');
        if (!isalnum(c) && c != '.' && !sign)
            break;
        whole = whole && (isdigit(c) || scan->at == start);
    }
    length = scan->at - start;
    if (length >= sizeof buffer) {
        scan_fail(scan, "a number with too many digits");
        return;
    }
    memcpy(buffer, scan->source->text + start, length);
    buffer[length] = 0;
    char *end;
    errno = 0;
    scan->number.real = strtod(buffer, &end);
    bool fine = length && !*end && !strpbrk(buffer, "xXpP");
    errno = 0;
    scan->number.integer = strtoll(buffer, NULL, 10);
    scan->number.is_integer = whole && !errno;
    if (fine && isnan(scan->number.real)) {
        uint64_t bits = IR_NAN_F64; /* what plain `nan` means, whatever the C library makes of it */
        memcpy(&scan->number.real, &bits, sizeof bits);
    }
    if (!fine)
        scan_fail(scan, "`%s` is not a number", buffer);
}

/* nan(0xBITS) */
static void scan_nan_bits(Scanner *scan)
{
    size_t start = scan->at += 4;
    while (isalnum(char_at(scan, scan->at)))
        scan->at++;
    const char *text = taken_text(scan, start);
    char *end;
    errno = 0;
    scan->number.bits = strtoull(text, &end, 0);
    scan->number.is_bits = true;
    memcpy(&scan->number.real, &scan->number.bits, sizeof scan->number.bits);
    if (errno || *end || char_at(scan, scan->at) != ')')
        scan_fail(scan, "nan(0x...) with the bits in hexadecimal is wanted");
    else
        scan->at++;
}

static bool starts_with(const Scanner *scan, const char *text)
{
    size_t length = strlen(text);
    return scan->source->length - scan->at >= length && !memcmp(scan->source->text + scan->at, text, length);
}

/* `inf` and `nan` are numbers where they are not the start of a longer word. */
static bool is_special(const Scanner *scan)
{
    return (starts_with(scan, "inf") || starts_with(scan, "nan")) && !is_word_char(char_at(scan, scan->at + 3));
}

static const char *const marks[] = {"->", "(", ")", "{", "}", "[", "]", ",", ":", "=", "*", "+", "-", "$"};

static void scan_mark(Scanner *scan)
{
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (starts_with(scan, marks[i])) {
            scan->word = marks[i];
            scan->at += strlen(marks[i]);
            return;
        }
    }
    scan->at++;
    scan_fail(scan, "a character that has no place here");
}

void scan_next(Scanner *scan)
{
    if (scan->failed)
        return;
    scan->last_end = scan->at;
    skip_blanks(scan);
    scan->start = scan->at;
    scan->word = "";
    scan->number = (ScanNumber){0};
    int c = char_at(scan, scan->at), after = char_at(scan, scan->at + 1);
    if (scan->at >= scan->source->length) {
        scan->kind = SCAN_end;
    } else if (starts_with(scan, "nan(")) {
        scan->kind = SCAN_number;
        scan_nan_bits(scan);
    } else if (isdigit(c) || is_special(scan) || (c == '-' && (isdigit(after) || after == 'i'))) {
        scan->kind = SCAN_number;
        scan_number(scan);
    } else if (is_word_start(c)) {
        scan->kind = SCAN_word;
        scan->word = scan_word(scan);
    } else if (c == '%') {
        scan->kind = SCAN_value;
        scan->at++;
        scan_value(scan);
    } else if (c == '@') {
        scan->kind = SCAN_func;
        scan->at++;
        scan->word = scan_name(scan);
    } else if (c == '"') {
        scan->kind = SCAN_string;
        scan->word = scan_string(scan);
    } else {
        scan->kind = SCAN_mark;
        scan_mark(scan);
    }
    if (scan->failed)
        scan->kind = SCAN_end;
}

Scanner scan_start(Arena *arena, const Source *source, DiagSink *diags)
{
    Scanner scan = {.arena = arena, .source = source, .diags = diags};
    if (source->length > UINT32_MAX - 16)
        scan_fail(&scan, "the text is too long");
    scan_next(&scan);
    return scan;
}

/* ---- phrases ---- */

bool scan_is(const Scanner *scan, const char *mark)
{
    return (scan->kind == SCAN_mark || scan->kind == SCAN_word) && !strcmp(scan->word, mark);
}

bool scan_take(Scanner *scan, const char *mark)
{
    if (!scan_is(scan, mark))
        return false;
    scan_next(scan);
    return true;
}

void scan_expect(Scanner *scan, const char *mark)
{
    if (!scan_take(scan, mark))
        scan_fail(scan, "`%s` is wanted here", mark);
}

const char *scan_take_word(Scanner *scan, const char *what)
{
    if (scan->kind != SCAN_word && scan->kind != SCAN_string) {
        scan_fail(scan, "%s is wanted here", what);
        return "";
    }
    const char *word = scan->word;
    scan_next(scan);
    return word;
}

int64_t scan_take_integer(Scanner *scan, int64_t lo, int64_t hi)
{
    if (scan->kind != SCAN_number || !scan->number.is_integer || scan->number.integer < lo || scan->number.integer > hi) {
        scan_fail(scan, "a whole number from %lld to %lld is wanted here", (long long)lo, (long long)hi);
        return lo;
    }
    int64_t value = scan->number.integer;
    scan_next(scan);
    return value;
}

DType scan_take_dtype(Scanner *scan)
{
    DType dtype = DT_f32;
    if (scan->kind != SCAN_word || !dtype_from_name(scan->word, &dtype))
        scan_fail(scan, "an element type is wanted here");
    scan_next(scan);
    return dtype;
}

IrType scan_take_type(Scanner *scan)
{
    size_t start = scan->start;
    IrType type = {.dtype = scan_take_dtype(scan)};
    if (scan_take(scan, "[")) {
        do {
            if (type.rank == IR_MAX_RANK) {
                scan_fail(scan, "a tensor has at most %d axes", IR_MAX_RANK);
                break;
            }
            type.dim[type.rank++] = scan_take_integer(scan, 0, (int64_t)1 << 48);
        } while (scan_take(scan, ","));
        scan_expect(scan, "]");
    }
    const char *reason = ir_check_type(&type);
    if (reason)
        scan_fail_at(scan, scan_span(scan, start), "%s", reason);
    return type;
}

IrInts scan_take_ints(Scanner *scan)
{
    LIST(int64_t) items = {0};
    if (!scan_take(scan, "[")) {
        list_push(scan->arena, &items, scan_take_integer(scan, INT64_MIN, INT64_MAX));
        return (IrInts){items.count, items.items};
    }
    while (!scan_is(scan, "]") && !scan->failed) {
        list_push(scan->arena, &items, scan_take_integer(scan, INT64_MIN, INT64_MAX));
        if (!scan_take(scan, ","))
            break;
    }
    scan_expect(scan, "]");
    return (IrInts){items.count, items.items};
}
