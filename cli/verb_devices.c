/* cmc devices: what programs can run on. */
#include "cli/cli.h"

static int print_device(const Options *options, cm_context *context, size_t index)
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
    return status ? STATUS_FAULT : STATUS_DONE;
}

int verb_devices(const Options *options)
{
    Session session;
    int code = session_open(&session, options, false);
    if (options->json)
        printf("[");
    for (size_t i = 0; i < cm_device_count(session.context); i++) {
        int one = print_device(options, session.context, i);
        code = one > code ? one : code;
    }
    if (options->json)
        printf("]\n");
    return session_close(&session, code);
}
