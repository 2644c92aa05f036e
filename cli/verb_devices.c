/* cmc devices: what programs can run on, and with --check whether it computes what it should.  That a machine has no driver for
 * one of them is an answer, not a failure. */
#include "cli/cli.h"

typedef struct Device {
    const Options *options;
    cm_context *context;
    size_t index;
    int told; /* trials */
} Device;

static void print_trial(void *state, const cm_device_trial *trial)
{
    Device *device = state;
    const char *verdict = trial->agrees ? "ok" : trial->skipped ? "skipped" : trial->status ? "does not run" : "differs";
    if (!device->options->json && trial->skipped) {
        printf("  %-24s %-12s  %s\n", trial->name, verdict, trial->reason);
        return;
    }
    if (!device->options->json) {
        printf("  %-24s %-12s  off by %-8.2g of %-8.2g%s", trial->name, verdict, trial->error, trial->most,
               trial->reason ? "" : "\n");
        if (trial->reason)
            printf("\n    %s", trial->reason);
        return;
    }
    printf("%s{\"name\": ", device->told++ ? ", " : "");
    print_json_text(stdout, trial->name);
    printf(", \"agrees\": %s, \"skipped\": %s, \"error\": ", trial->agrees ? "true" : "false",
           trial->skipped ? "true" : "false");
    print_json_number(stdout, trial->error);
    printf(", \"most\": ");
    print_json_number(stdout, trial->most);
    printf(", \"failure\": ");
    print_json_text(stdout, trial->reason);
    printf("}");
}

static void print_device(const Device *device, const char *text, const char *reason)
{
    const char *name = cm_device_name(device->context, device->index);
    if (!device->options->json) {
        printf("%-8s %s%s", name, reason ? reason : text, reason ? "" : "\n");
        return;
    }
    printf("%s{\"name\": ", device->index ? ", " : "");
    print_json_text(stdout, name);
    printf(", \"description\": ");
    print_json_text(stdout, text);
    printf(", \"failure\": ");
    print_json_text(stdout, reason);
}

static int check_device(Device *device)
{
    cm_error *error;
    if (device->options->json)
        printf(", \"trials\": [");
    cm_status status = cm_device_check(device->context, device->index, print_trial, device, &error);
    if (device->options->json)
        printf("]");
    if (status && !device->options->json)
        fputs(cm_error_text(error), stderr);
    cm_error_free(error);
    return status ? STATUS_FAULT : STATUS_DONE;
}

static int show_device(Device *device)
{
    char *text;
    cm_error *error;
    int code = STATUS_DONE;
    cm_status status = cm_device_describe(device->context, device->index, &text, &error);
    print_device(device, text, status ? cm_error_text(error) : NULL);
    if (!status && device->options->check)
        code = check_device(device);
    if (device->options->json)
        printf("}");
    cm_text_free(device->context, text);
    cm_error_free(error);
    return code;
}

int verb_devices(const Options *options)
{
    Session session;
    int code = session_open(&session, options, false);
    if (options->json)
        printf("[");
    for (size_t i = 0; i < cm_device_count(session.context); i++) {
        int one = show_device(&(Device){.options = options, .context = session.context, .index = i});
        code = one > code ? one : code;
    }
    if (options->json)
        printf("]\n");
    return session_close(&session, code);
}
