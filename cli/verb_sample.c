/* cmc sample and cmc eval: entries that run on trained weights. */
#include "cli/cli.h"

#include <string.h>

enum { PATH_SIZE = 4096 };

static cm_entry_kind kind_of(const Options *options)
{
    return options->verb == VERB_eval ? CM_ENTRY_EVAL : CM_ENTRY_SAMPLE;
}

/* The entry named, or the only one of its kind. */
static int choose_entry(const Session *session, const char **name)
{
    *name = session_entry(session);
    int found = 0;
    for (size_t i = 0; !*name && i < cm_program_entry_count(session->program); i++) {
        cm_entry entry;
        cm_program_entry(session->program, i, &entry);
        found += entry.kind == kind_of(session->options);
    }
    if (*name || found == 1) {
        for (size_t i = 0; !*name && i < cm_program_entry_count(session->program); i++) {
            cm_entry entry;
            cm_program_entry(session->program, i, &entry);
            if (entry.kind == kind_of(session->options))
                *name = entry.name;
        }
        return STATUS_DONE;
    }
    const char *verb = verbs[session->options->verb].name;
    return usage_error(found ? "%s has several %s entries: name one" : "%s has no %s entry", session->path, verb);
}

static int prepare(Session *session, const char *entry, Arguments *arguments, cm_sample_options *options, cm_port *first)
{
    options->size = sizeof *options;
    options->compile = session_compile_options(session);
    options->compile.bindings = arguments->bindings;
    options->compile.binding_count = arguments->binding_count;
    options->seed = session->options->seed.value;
    cm_executable *executable;
    cm_error *error;
    cm_status status = cm_compile(session->program, entry, &options->compile, &executable, &error);
    if (status)
        return report_failure(session->options, status, error);
    int code = arguments_settle(session, arguments, executable);
    if (code == STATUS_DONE && needs_weights(executable))
        code = session_weights(session, &options->parameters);
    if (code == STATUS_DONE && needs_weights(executable) && !options->parameters)
        code = usage_error("there are no weights for %s: train first (cmc train %s), or give --weights", entry, session->path);
    cm_executable_output(executable, 0, first);
    options->inputs = arguments->inputs;
    options->input_count = arguments->count;
    cm_executable_free(executable);
    return code;
}

static bool is_points(const cm_port *port)
{
    return port->rank == 2 && port->dim[1] == 2;
}

static bool is_images(const cm_port *port)
{
    return port->rank == 3 || (port->rank == 4 && (port->dim[3] == 1 || port->dim[3] == 3 || port->dim[3] == 4));
}

static void default_path(const Session *session, const char *entry, const cm_port *first, char *path, size_t size)
{
    const char *train = only_train(session->program);
    const char *ending = is_points(first) ? "svg" : is_images(first) ? "png" : "safetensors";
    snprintf(path, size, "out/%s/%s.%s", train ? train : "sample", entry, ending);
}

static int save_samples(const Session *session, const char *entry, const cm_port *first, const cm_parameters *results)
{
    const Options *options = session->options;
    char path[PATH_SIZE];
    if (options->out)
        snprintf(path, sizeof path, "%s", options->out);
    else
        default_path(session, entry, first, path, sizeof path);
    cm_save_options save = {.size = sizeof save, .columns = (int)options->columns.value};
    cm_error *error = NULL;
    cm_status status = make_parent_directories(path) ? cm_parameters_save(results, path, &save, &error) : CM_IO_ERROR;
    if (status)
        return report_failure(options, status, error);
    if (options->json) {
        printf("{\"entry\": ");
        json_text(stdout, entry);
        printf(", \"path\": ");
        json_text(stdout, path);
        printf("}\n");
    } else {
        printf("%s\n", path);
    }
    return STATUS_DONE;
}

static void print_results(const Options *options, const char *entry, const cm_parameters *results)
{
    if (options->json) {
        printf("{\"entry\": ");
        json_text(stdout, entry);
    }
    for (size_t i = 0; i < cm_parameters_count(results); i++) {
        const char *name = cm_parameters_name(results, i);
        cm_array array;
        cm_parameters_get(results, name, &array, NULL);
        if (options->json) {
            printf(", ");
            json_text(stdout, name);
            printf(": ");
            json_array(stdout, &array);
        } else {
            print_array(stdout, name, &array);
        }
    }
    if (options->json)
        printf("}\n");
}

static int run_on_weights(const Options *options)
{
    Session session;
    const char *entry = NULL;
    Arguments arguments = {0};
    cm_sample_options sample = {0};
    cm_parameters *results = NULL;
    cm_port first = {0};
    int code = session_open(&session, options, true);
    if (code == STATUS_DONE)
        code = choose_entry(&session, &entry);
    if (code == STATUS_DONE)
        code = arguments_read(&session, entry, &arguments);
    if (code == STATUS_DONE)
        code = prepare(&session, entry, &arguments, &sample, &first);
    if (code == STATUS_DONE) {
        cm_error *error;
        bool is_eval = options->verb == VERB_eval;
        cm_status status = is_eval ? cm_evaluate(session.program, entry, options->data, &sample, &results, &error)
                                   : cm_sample(session.program, entry, &sample, &results, &error);
        if (status)
            code = report_failure(options, status, error);
        else if (is_eval)
            print_results(options, entry, results);
        else
            code = save_samples(&session, entry, &first, results);
    }
    cm_parameters_free(results);
    cm_parameters_free(sample.parameters);
    arguments_free(&arguments);
    session_close(&session);
    return code;
}

int verb_sample(const Options *options)
{
    return run_on_weights(options);
}

int verb_eval(const Options *options)
{
    return run_on_weights(options);
}
