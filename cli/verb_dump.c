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

int verb_dump(const Options *options)
{
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
    return session_close(&session, code);
}
