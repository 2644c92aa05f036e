/* Reading options and printing help, both from the tables. */
#include "cli/cli.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

const OptionRow option_rows[] = {
#define FOR(verb) (1u << VERB_##verb)
#define FOR_ALL (~0u)
#define KIND_FLAG OPTION_flag, 0, 0
#define KIND_TEXT OPTION_text, 0, 0
#define KIND_LIST OPTION_list, 0, 0
#define KIND_NUMBER(least, most) OPTION_number, least, most
#define OPTION(name, letter, value, verbs, kind, help)                                                                         \
    {#name, letter, value, verbs, KIND_##kind, help, offsetof(Options, name)},
#include "cli/options.def"
};
const int option_count = sizeof option_rows / sizeof *option_rows;

/* An option is written with - where its field has _. */
static bool same_name(const char *field, const char *word, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char wanted = field[i] == '_' ? '-' : field[i];
        if (!field[i] || word[i] != wanted)
            return false;
    }
    return !field[length];
}

static const OptionRow *find_option(VerbId verb, const char *name, size_t length, char letter)
{
    for (int i = 0; i < option_count; i++) {
        const OptionRow *row = &option_rows[i];
        bool fits = letter ? row->letter == letter : same_name(row->name, name, length);
        if (fits && (row->verbs & (1u << verb)))
            return row;
    }
    return NULL;
}

static bool list_add(TextList *list, const char *text)
{
    const char **larger = realloc(list->items, (size_t)(list->count + 1) * sizeof *larger);
    if (!larger)
        return false;
    list->items = larger;
    list->items[list->count++] = text;
    return true;
}

/* As it is written: with dashes. */
static const char *written_name(const OptionRow *row)
{
    static char name[32];
    snprintf(name, sizeof name, "--%s", row->name);
    for (char *c = name; *c; c++)
        *c = *c == '_' ? '-' : *c;
    return name;
}

static bool read_number(Number *number, const OptionRow *row, const char *text)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end)
        usage_error("%s takes a whole number, not '%s'", written_name(row), text);
    else if (errno || value < row->least || value > row->most)
        usage_error("%s must lie in %lld..%lld", written_name(row), (long long)row->least, (long long)row->most);
    else
        *number = (Number){true, value};
    return number->given;
}

static bool set_option(Options *options, const OptionRow *row, const char *value)
{
    void *field = (char *)options + row->offset;
    switch (row->kind) {
    case OPTION_flag:
        *(bool *)field = true;
        return true;
    case OPTION_text:
        *(const char **)field = value;
        return true;
    case OPTION_number:
        return read_number(field, row, value);
    case OPTION_list:
        return list_add(field, value);
    }
    return false;
}

/* One option; its value stands behind `=`, behind its letter, or is the next word. */
static bool read_option(Options *options, VerbId verb, int count, char **words, int *at)
{
    const char *word = words[*at], *value = NULL;
    const OptionRow *row;
    if (word[1] == '-') {
        size_t length = strcspn(word + 2, "=");
        row = find_option(verb, word + 2, length, 0);
        value = word[2 + length] ? word + 3 + length : NULL;
    } else {
        row = find_option(verb, NULL, 0, word[1]);
        value = word[2] ? word + 2 : NULL;
    }
    if (!row) {
        usage_error("%s does not take %s; cmc help %s lists what it takes", verbs[verb].name, word, verbs[verb].name);
        return false;
    }
    if (!row->value && value) {
        usage_error("%s takes no value", word);
        return false;
    }
    if (row->value && !value) {
        if (*at + 1 >= count) {
            usage_error("%s needs a value: %s", word, row->value);
            return false;
        }
        value = words[++*at];
    }
    return set_option(options, row, value);
}

/* The words of "FILE [FN]" say how many operands there may be: those in brackets may be left out, dots mean any number. */
static bool check_operands(const Options *options)
{
    const Verb *verb = &verbs[options->verb];
    int least = 0, most = 0, given = options->operands.count;
    for (const char *word = verb->operands; *word; word += strcspn(word, " "), word += *word == ' ') {
        least += *word != '[';
        most++;
    }
    if (given < least)
        usage_error("%s lacks an operand: cmc %s %s", verb->name, verb->name, verb->operands);
    else if (given > most && !strstr(verb->operands, "..."))
        usage_error("%s does not know what to do with '%s'", verb->name, options->operands.items[most]);
    else
        return true;
    return false;
}

bool options_read(Options *options, VerbId verb, int count, char **words)
{
    *options = (Options){.verb = verb};
    bool only_operands = false;
    for (int i = 0; i < count; i++) {
        const char *word = words[i];
        if (!only_operands && strcmp(word, "--") == 0)
            only_operands = true;
        else if (only_operands || word[0] != '-' || !word[1]) {
            if (!list_add(&options->operands, word))
                return false;
        } else if (!read_option(options, verb, count, words, &i))
            return false;
    }
    return options->help || check_operands(options);
}

void options_free(Options *options)
{
    for (int i = 0; i < option_count; i++) {
        if (option_rows[i].kind == OPTION_list)
            free(((TextList *)(void *)((char *)options + option_rows[i].offset))->items);
    }
    free(options->operands.items);
}

void print_help(FILE *out)
{
    fprintf(out, "cmc %s: compile and run few-step generative models written in .cm\n\n", cm_version());
    for (int i = 0; i < VERB_COUNT; i++)
        fprintf(out, "  cmc %-10s %-14s %s\n", verbs[i].name, verbs[i].operands, verbs[i].summary);
    fprintf(out, "\n  cmc help VERB             what a verb takes\n  cmc --version\n\n"
                 "Exit status: 0 done, 1 the program or its data are at fault, 2 the call is; a run that a signal stopped\n"
                 "leaves a checkpoint and ends by that signal.\n");
}

void print_verb_help(VerbId verb, FILE *out)
{
    fprintf(out, "cmc %s %s\n  %s\n\n", verbs[verb].name, verbs[verb].operands, verbs[verb].summary);
    for (int i = 0; i < option_count; i++) {
        const OptionRow *row = &option_rows[i];
        if (!(row->verbs & (1u << verb)))
            continue;
        char name[64];
        snprintf(name, sizeof name, "%s%s%s", written_name(row), row->value ? " " : "", row->value ? row->value : "");
        const char letter[] = {'-', row->letter, ',', 0};
        fprintf(out, "  %3s %-26s %s\n", row->letter ? letter : "", name, row->help);
    }
    if (verb != VERB_dump)
        return;
    fputs("\nStages:\n", out);
    for (size_t i = 0; i < cm_pass_count(); i++)
        fprintf(out, "  %-10s %s\n", cm_pass_name(i), cm_pass_summary(i));
}
