/* What the text forms of the graph IR and the kernel IR share: names, numbers, and the scanner of their parsers. */
#ifndef CM_IR_TEXT_H
#define CM_IR_TEXT_H

#include "ir/ir.h"

#define IR_NAN_F64 0x7ff8000000000000u

/* ---- printing ---- */
bool ir_text_is_name(const char *name);
void ir_text_name(Text *out, const char *name); /* as it is, or quoted where it is no plain word */
void ir_text_real(Text *out, double value);     /* reads back to the same bits, NaNs included */
void ir_text_ints(Text *out, IrInts ints);      /* [1,2] */
uint64_t ir_text_nan(DType dtype);              /* the bits of the NaN that is printed as plain `nan` */

/* ---- scanning ----
 * The first error is reported and sticks: afterwards every call does nothing, `kind` is SCAN_end, and words are "". */

typedef enum ScanKind { SCAN_end, SCAN_word, SCAN_value, SCAN_func, SCAN_number, SCAN_string, SCAN_mark } ScanKind;

/* A number as written: `bits` of nan(0x...); whole numbers that fit are in `integer`. */
typedef struct ScanNumber {
    double real;
    int64_t integer;
    uint64_t bits;
    bool is_integer, is_bits;
} ScanNumber;

typedef struct Scanner {
    Arena *arena;
    const Source *source;
    DiagSink *diags;
    size_t at, start; /* start: of the token at hand */
    size_t last_end;  /* of the token before it */
    bool failed;
    ScanKind kind;
    const char *word; /* word, string: its text; value: its label; func: its name; mark: the mark */
    const char *name; /* value: its source name, or null */
    ScanNumber number;
} Scanner;

Scanner scan_start(Arena *arena, const Source *source, DiagSink *diags);
void scan_next(Scanner *scan);
Span scan_span(const Scanner *scan, size_t start); /* from start to the end of the last token taken */
void scan_fail(Scanner *scan, const char *format, ...) __attribute__((format(printf, 2, 3)));
void scan_fail_at(Scanner *scan, Span at, const char *format, ...) __attribute__((format(printf, 3, 4)));
bool scan_is(const Scanner *scan, const char *mark);      /* the token is this mark or word */
bool scan_take(Scanner *scan, const char *mark);          /* takes it if it is there */
void scan_expect(Scanner *scan, const char *mark);
const char *scan_take_word(Scanner *scan, const char *what);   /* a word or a string */
int64_t scan_take_integer(Scanner *scan, int64_t lo, int64_t hi);
DType scan_take_dtype(Scanner *scan);
IrType scan_take_type(Scanner *scan);
IrInts scan_take_ints(Scanner *scan); /* [1,2], or one bare number */

#endif
