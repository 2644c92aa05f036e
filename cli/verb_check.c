/* cmc check: finds what can be found in programs without running them. */
#include "cli/cli.h"

static int check_one(Session *session)
{
    cm_error *error;
    cm_status status = cm_check(session->program, &error);
    if (status)
        return report_failure(session->options, status, error);
    if (session->options->json)
        printf("{\"error\": null, \"diagnostics\": []}\n");
    return STATUS_DONE;
}

int verb_check(const Options *options)
{
    int worst = STATUS_DONE;
    for (int i = 0; i < options->operands.count; i++) {
        Options one = *options;
        one.operands = (TextList){&options->operands.items[i], 1};
        Session session;
        int code = session_open(&session, &one, true);
        if (code == STATUS_DONE)
            code = check_one(&session);
        session_close(&session);
        worst = code > worst ? code : worst;
    }
    return worst;
}
