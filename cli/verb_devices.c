/* cmc devices: what programs can run on.  That a machine has no driver for one of them is an answer, not a failure. */
#include "cli/cli.h"

static void print_device(const Options *options, cm_context *context, size_t index)
{
    char *text;
    cm_error *error;
    cm_status status = cm_device_describe(context, index, &text, &error);
    const char *name = cm_device_name(context, index), *reason = status ? cm_error_text(error) : NULL;
    if (options->json) {
        printf("%s{\"name\": ", index ? ", " : "");
        print_json_text(stdout, name);
        printf(", \"description\": ");
        print_json_text(stdout, text);
        printf(", \"failure\": ");
        print_json_text(stdout, reason);
        printf("}");
    } else {
        printf("%-8s %s%s", name, status ? reason : text, status ? "" : "\n");
    }
    cm_text_free(context, text);
    cm_error_free(error);
}

int verb_devices(const Options *options)
{
    Session session;
    int code = session_open(&session, options, false);
    if (options->json)
        printf("[");
    for (size_t i = 0; i < cm_device_count(session.context); i++)
        print_device(options, session.context, i);
    if (options->json)
        printf("]\n");
    return session_close(&session, code);
}
