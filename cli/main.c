/* cmc: the command line of cm.  Finds the verb, reads its options, runs it. */
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

const Verb verbs[VERB_COUNT] = {
#define VERB(name, operands, summary) {#name, operands, summary, verb_##name},
#include "cli/verbs.def"
};

static int find_verb(const char *word)
{
    for (int i = 0; i < VERB_COUNT; i++) {
        if (strcmp(verbs[i].name, word) == 0)
            return i;
    }
    return -1;
}

static int run_verb(VerbId verb, int count, char **words)
{
    Options options;
    int status = STATUS_USAGE;
    if (options_read(&options, verb, count, words)) {
        if (options.help)
            print_verb_help(verb, stdout);
        status = options.help ? STATUS_DONE : verbs[verb].run(&options);
    }
    options_free(&options);
    return status;
}

static int run_help(int count, char **words)
{
    int verb = count ? find_verb(words[0]) : -1;
    if (count && verb < 0)
        return usage_error("there is no verb '%s'; cmc help lists them", words[0]);
    if (verb >= 0)
        print_verb_help((VerbId)verb, stdout);
    else
        print_help(stdout);
    return STATUS_DONE;
}

static int run(int count, char **words)
{
    if (count < 2) {
        print_help(stderr);
        return STATUS_USAGE;
    }
    const char *word = words[1];
    if (strcmp(word, "--version") == 0) {
        printf("cmc %s\n", cm_version());
        return STATUS_DONE;
    }
    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return run_help(count - 2, words + 2);
    int verb = find_verb(word);
    if (verb < 0)
        return usage_error("there is no verb '%s'; cmc help lists them", word);
    return run_verb((VerbId)verb, count - 2, words + 2);
}

/* What was printed has to arrive; a file that grows too large is an error of its writer, not a signal. */
int main(int count, char **words)
{
    signal(SIGXFSZ, SIG_IGN);
    int status = run(count, words);
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "error: standard output cannot be written: %s\n", strerror(errno));
    return status == STATUS_DONE ? STATUS_FAULT : status;
}
