/* What the verbs of cmc share: verbs and options from their tables, a loaded program, messages, printing.
 *
 * Exit status: 0 done; 1 the program, the data or the surroundings are at fault; 2 the call is. */
#ifndef CM_CLI_CLI_H
#define CM_CLI_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "cm.h"

enum { STATUS_DONE = 0, STATUS_FAULT = 1, STATUS_USAGE = 2 };

/* ---- verbs ---- */

typedef enum VerbId {
#define VERB(name, operands, summary) VERB_##name,
#include "cli/verbs.def"
    VERB_COUNT
} VerbId;

struct Options;
typedef struct Verb {
    const char *name, *operands, *summary;
    int (*run)(const struct Options *options);
} Verb;
extern const Verb verbs[VERB_COUNT];
#define VERB(name, operands, summary) int verb_##name(const struct Options *options);
#include "cli/verbs.def"

/* ---- options ---- */

typedef struct TextList {
    const char **items;
    int count;
} TextList;
typedef struct Number {
    bool given;
    int64_t value;
} Number;

/* How a field is read. */
typedef enum OptionKind { OPTION_flag, OPTION_text, OPTION_number, OPTION_list } OptionKind;
#define OPTION_TYPE_FLAG bool
#define OPTION_TYPE_TEXT const char *
#define OPTION_TYPE_NUMBER(least, most) Number
#define OPTION_TYPE_LIST TextList

typedef struct Options {
    VerbId verb;
    TextList operands;
#define OPTION(name, letter, value, verbs, kind, help) OPTION_TYPE_##kind name;
#include "cli/options.def"
} Options;

typedef struct OptionRow {
    const char *name; /* as written: with - for _ */
    char letter;
    const char *value;
    unsigned verbs; /* a bit each */
    OptionKind kind;
    int64_t least, most; /* of a number */
    const char *help;
    size_t offset; /* in Options */
} OptionRow;
extern const OptionRow option_rows[];
extern const int option_count;

/* Reads what stands behind the verb, and checks it against the tables.  False after a message on standard error. */
bool options_read(Options *options, VerbId verb, int count, char **words);
void options_free(Options *options);
void print_help(FILE *out);
void print_verb_help(VerbId verb, FILE *out);

/* ---- messages ---- */

/* "cmc: ..." on standard error; STATUS_USAGE, to be returned. */
int usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints a failure of the library (as JSON on standard output if asked) and frees it; the exit status that fits. */
int report_failure(const Options *options, cm_status status, cm_error *error);
void print_diagnostics_json(const cm_error *error); /* as a list */
/* A failure that the command line itself finds, told in the same way; STATUS_FAULT. */
int fault(const Options *options, cm_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
void remark(const Options *options, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- a program on the command line ---- */

typedef struct Session {
    const Options *options;
    cm_context *context;
    cm_program *program;
    const char *path;
    bool several;            /* entries are at work: not each takes all the weights that are given */
    char weights_from[4096]; /* files that weights were read from, for messages */
} Session;

/* The context, and the program if the verb's first operand is one.  Anything but STATUS_DONE is to be returned, after
 * session_close. */
int session_open(Session *session, const Options *options, bool program);
/* Writes the profile, if one is wanted; what the verb returns: `code`, or that this failed. */
int session_close(Session *session, int code);
/* The same as report_failure, with where the weights came from if something does not fit. */
int session_failure(const Session *session, cm_status status, cm_error *error);
const char *session_entry(const Session *session); /* from the operands or --entry; null if there is none */
cm_compile_options session_compile_options(const Session *session);

/* Arguments from --arg, as inputs and as the sizes of axes that follow from them. */
typedef struct Arguments {
    cm_input *inputs;
    size_t count;
    cm_parameters **files; /* what the inputs' data belong to */
    size_t file_count;
    cm_binding bindings[64];
    size_t binding_count;
} Arguments;
int arguments_read(Session *session, const char *entry, Arguments *arguments);
/* Numbers get the element types that the entry wants, now that it is known. */
int arguments_settle(Session *session, Arguments *arguments, const cm_executable *executable);
void arguments_free(Arguments *arguments);

/* ---- weights ---- */

bool needs_weights(const cm_executable *executable);
/* From --weights, else from out/NAME or beside the file, or from the seed if --untrained.  Leaves null if there are none.
 * `executable` says which models there are; null where --weights may name any.  First weights are those of `entry`. */
int session_weights(Session *session, const char *entry, const cm_executable *executable, cm_parameters **weights);
/* The folder of a train run: out/NAME. */
void run_directory(char *path, size_t size, const char *train);
/* The name of the only train block, or null. */
const char *only_train(const cm_program *program);

/* ---- reports: what a run measured, as a JSON object in a file ---- */

typedef struct ReportItem {
    const char *name;
    double value;
} ReportItem;
/* Adds the items to those of the file, or begins it (`fresh`: in any case).  Written whole or not at all. */
int report_write(const Options *options, const char *path, bool fresh, const ReportItem *items, size_t count);

/* ---- profiles: of --profile, a trace in a file and a table on standard error ---- */

int save_profile(const Options *options, cm_context *context);

/* ---- files ---- */

/* A status; anything but STATUS_DONE after a message. */
int make_parent_directories(const Options *options, const char *path);
/* Beside the file first, so that a failure leaves the old one. */
int write_file(const Options *options, const char *path, const char *text);

/* ---- printing ---- */

void print_array(FILE *out, const char *name, const cm_array *array);
void print_json_text(FILE *out, const char *text); /* quoted; null is null */
void print_json_number(FILE *out, double value);   /* nan and infinities are null */
void print_json_array(FILE *out, const cm_array *array);
double array_number(const cm_array *array, int64_t index);
int64_t array_count(const cm_array *array);
void format_bytes(char *text, size_t size, int64_t bytes); /* "12.3 MiB" */
void format_seconds(char *text, size_t size, double seconds);
double clock_seconds(void);

#endif
