/* cmc check: finds what can be found in programs without running them; with --grad, also what is wrong with derivatives. */
#include "cli/cli.h"

#include <math.h>
#include <string.h>

/* ---- derivatives, an entry at a time ---- */

static void print_trial(const cm_entry *entry, const cm_derivatives *found, cm_status status)
{
    if (!found->checked) {
        printf("%s: not checked: %s\n", entry->name, found->reason ? found->reason : "see the message");
        return;
    }
    printf("%s: forward %.1e, ", entry->name, found->forward);
    if (isnan(found->reverse))
        printf("%s", found->reason);
    else
        printf("reverse %.1e", found->reverse);
    printf(": %s", status ? "DISAGREE" : "agree");
    if (found->stop_grads)
        printf("; through %d stop_grad%s", found->stop_grads, found->stop_grads == 1 ? "" : "s");
    printf(*found->sizes ? " (%s)\n" : "\n", found->sizes);
}

static void print_trial_json(const cm_entry *entry, const cm_derivatives *found, cm_status status, const cm_error *error)
{
    printf("{\"entry\": ");
    print_json_text(stdout, entry->name);
    printf(", \"checked\": %s, \"agree\": %s, \"forward\": ", found->checked ? "true" : "false",
           found->checked ? status ? "false" : "true" : "null");
    print_json_number(stdout, found->checked ? found->forward : (double)NAN);
    printf(", \"reverse\": ");
    print_json_number(stdout, found->checked ? found->reverse : (double)NAN);
    printf(", \"stop_grads\": %d, \"sizes\": ", found->stop_grads);
    print_json_text(stdout, found->sizes);
    printf(", \"reason\": ");
    print_json_text(stdout, found->reason);
    printf(", \"diagnostics\": ");
    print_diagnostics_json(error);
    printf("}");
}

static int try_entry(const Session *session, const cm_entry *entry)
{
    const Options *options = session->options;
    cm_derivatives_options how = {.size = sizeof how, .seed = options->seed.value};
    cm_derivatives found;
    cm_error *error;
    cm_status status = cm_check_derivatives(session->program, entry->name, &how, &found, &error);
    if (options->json)
        print_trial_json(entry, &found, status, error);
    else
        print_trial(entry, &found, status);
    fflush(stdout);
    if (options->json)
        cm_error_free(error);
    else if (status)
        return report_failure(options, status, error);
    return status ? STATUS_FAULT : STATUS_DONE;
}

static bool is_tried(const cm_entry *entry)
{
    return entry->kind != CM_ENTRY_TRAIN && entry->kind != CM_ENTRY_INIT;
}

static int try_entries(const Session *session)
{
    bool json = session->options->json;
    int worst = STATUS_DONE, tried = 0;
    cm_entry entry;
    for (size_t i = 0; cm_program_entry(session->program, i, &entry) == CM_OK; i++) {
        if (!is_tried(&entry))
            continue;
        if (json && tried++)
            printf(", ");
        int code = try_entry(session, &entry);
        worst = code > worst ? code : worst;
    }
    return worst;
}

/* ---- the verb ---- */

static int check_one(Session *session)
{
    const Options *options = session->options;
    cm_error *error;
    cm_status status = cm_check(session->program, &error);
    if (status)
        return report_failure(options, status, error);
    if (options->json)
        printf(options->grad ? "{\"derivatives\": [" : "{");
    int code = options->grad ? try_entries(session) : STATUS_DONE;
    if (options->json) {
        printf("%s\"error\": ", options->grad ? "], " : "");
        print_json_text(stdout, code ? cm_status_name(CM_PROGRAM_ERROR) : NULL);
        printf(", \"diagnostics\": []}\n");
    }
    return code;
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
        code = session_close(&session, code);
        worst = code > worst ? code : worst;
    }
    return worst;
}
