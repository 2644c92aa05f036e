/* cmc dump: a program after any stage of the compiler, as text or as a picture. */
#include "cli/cli.h"

#include <string.h>

static int place_text(const Options *options, const char *text)
{
    if (options->out && strcmp(options->out, "-") != 0)
        return write_file(options, options->out, text);
    fputs(text, stdout);
    return STATUS_DONE;
}

static bool is_stage(const char *word)
{
    for (size_t i = 0; i < cm_pass_count(); i++) {
        if (strcmp(cm_pass_name(i), word) == 0)
            return true;
    }
    return false;
}

static int unknown_stage(const char *word)
{
    fprintf(stderr, "cmc: there is no stage %s; there are", word);
    for (size_t i = 0; i < cm_pass_count(); i++)
        fprintf(stderr, "%s %s", i ? "," : "", cm_pass_name(i));
    fputc('\n', stderr);
    return STATUS_USAGE;
}

int verb_dump(const Options *options)
{
    if (options->after && !is_stage(options->after))
        return unknown_stage(options->after);
    Session session;
    char *text = NULL;
    int code = session_open(&session, options, true);
    if (code == STATUS_DONE) {
        cm_compile_options compile = session_compile_options(&session);
        const char *entry = session_entry(&session), *pass = options->after ? options->after : "plan";
        cm_error *error;
        cm_status status = options->svg ? cm_dump_svg(session.program, entry, &compile, &text, &error)
                                        : cm_dump(session.program, entry, pass, &compile, &text, &error);
        code = status ? report_failure(options, status, error) : place_text(options, text);
    }
    cm_text_free(session.context, text);
    session_close(&session);
    return code;
}
