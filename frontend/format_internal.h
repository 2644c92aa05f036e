/* What the files of the formatter share.
 *
 * A formatted file has the tokens and comments of the file as it was written; only the space between them changes, and the
 * commas and semicolons that lines make needless or wanted.  So a text of pieces, one for each token or comment, gets
 * line breaks: first those of the author that stand where a line may end (format_lines.c), then those that long lines
 * need (format_wrap.c).  Both sets are closed: what the second adds, the first would keep.  Therefore formatting again
 * changes nothing. */
#ifndef CM_FRONTEND_FORMAT_INTERNAL_H
#define CM_FRONTEND_FORMAT_INTERNAL_H

#include "frontend/lexer.h"

enum { FORMAT_COLUMNS = 120, FORMAT_INDENT = 2, FORMAT_TOP = -1 };

typedef enum BracketKind {
    BRACKET_none,
    BRACKET_list,  /* items with commas between them: ( ), [ ] and the { } of records */
    BRACKET_block, /* statements or members */
} BracketKind;

typedef struct Piece { /* a token or a comment; commas, and semicolons between statements, are marks on the token before */
    TokenKind kind;    /* TOK_end: a comment */
    bool alone;        /* a comment on a line of its own */
    bool comma, semicolon;
    bool lines;  /* a line ends before it in the source */
    bool gap;    /* an empty line stands before it: in the source, then in what is printed */
    bool field;  /* a word after a dot */
    bool unary;  /* a minus sign that negates */
    bool starts; /* the first of a statement, member or declaration */
    bool item;   /* the first of an item in a list */
    bool breaks; /* the line that is printed starts here */
    bool record; /* {: of a record; ( [ {: has commas between items */
    bool commas;
    uint32_t start, end;
    int columns; /* how wide it is */
    int column;  /* where a comment starts on its line in the source */
    int offset;  /* the columns of all pieces before it */
    int depth;   /* how many brackets are around it */
    int indent;  /* of the line that it stands on */
    int space;   /* a comment behind a line: how far from it */
    int outer;   /* the innermost bracket around it, or FORMAT_TOP */
    int match;   /* bracket: the other one */
    int before;  /* the token before it, or FORMAT_TOP */
    int chain;   /* { of `if`: the { of its `else` */
    int element; /* the first piece of the statement or item that it belongs to */
    int head;    /* { of a statement or declaration, and `else`: the `if`, `for`, `fn`, ... */
} Piece;

typedef struct Format {
    Arena *arena;
    const File *file;
    Piece *pieces;
    int count;
    bool whole; /* every bracket has its other one, and they nest as deep as in a text that parses */
} Format;

/* ---- pieces (format_pieces.c) ---- */

void format_read(Format *format);
int format_after(const Format *format, int piece); /* the next token, or `count` */
bool format_is_opener(const Piece *piece);
bool format_is_closer(const Piece *piece);
bool format_is_operator(const Piece *piece); /* stands between two values */
bool format_is_assignment(const Piece *piece);
bool format_ends_value(const Piece *piece);
BracketKind format_bracket(const Piece *opener);
bool format_in_list(const Format *format, int piece);      /* directly */
bool format_prints_comma(const Format *format, int piece); /* behind it, as the lines are now */
const char *format_space(const Format *format, int piece); /* after the one before, if both stand on one line */
int format_width(const Format *format, int piece); /* with the comma behind it, and the space before it if its line goes on */

/* ---- breaks ---- */

void format_mark(Format *format); /* what the syntax tree knows: starts, records, chains (format_mark.c) */
void format_lines(Format *format);
bool format_is_open_block(const Format *format, int piece); /* { of a block that stands on one line */
void format_break_block(Format *format, int opener);        /* and those that `else` ties to it */
void format_break_list(Format *format, int opener);         /* after the opener and before the closer */
void format_wrap(Format *format, int start);
void format_align(Format *format); /* comments behind lines (format_align.c) */

#endif
