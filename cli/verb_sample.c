/* cmc sample and cmc eval: entries that run on trained weights. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_SIZE = 4096, LIST_SIZE = 1024 };

static cm_entry_kind kind_of(const Options *options)
{
    return options->verb == VERB_eval ? CM_ENTRY_EVAL : CM_ENTRY_SAMPLE;
}

/* The entries to run: the one named, the only one, or every sample entry.  `names` has room for all of the program. */
static int choose_entries(const Session *session, const char **names, size_t *count)
{
    *count = 0;
    const char *verb = verbs[session->options->verb].name;
    if (session_entry(session)) {
        names[(*count)++] = session_entry(session);
        return STATUS_DONE;
    }
    for (size_t i = 0; i < cm_program_entry_count(session->program); i++) {
        cm_entry entry;
        cm_program_entry(session->program, i, &entry);
        if (entry.kind == kind_of(session->options))
            names[(*count)++] = entry.name;
    }
    bool all = session->options->verb == VERB_sample && !session->options->out;
    if (*count == 1 || (*count && all))
        return STATUS_DONE;
    if (!*count)
        return usage_error("%s has no %s entry", session->path, verb);
    char list[LIST_SIZE] = "";
    for (size_t i = 0; i < *count && strlen(list) + strlen(names[i]) + 3 < sizeof list; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", names[i]);
    const char *why = session->options->out && session->options->verb == VERB_sample ? " for the file of --out" : "";
    return usage_error("%s has several %s entries: name one of them%s: %s", session->path, verb, why, list);
}

static int prepare(Session *session, const char *entry, Arguments *arguments, cm_sample_options *options, cm_port *first)
{
    options->size = sizeof *options;
    options->compile = session_compile_options(session);
    options->compile.bindings = arguments->bindings;
    options->compile.binding_count = arguments->binding_count;
    options->compile.data = session->options->data;
    options->seed = session->options->seed.value;
    cm_executable *executable;
    cm_error *error;
    cm_status status = cm_compile(session->program, entry, &options->compile, &executable, &error);
    if (status)
        return report_failure(session->options, status, error);
    int code = arguments_settle(session, arguments, executable);
    if (code == STATUS_DONE && needs_weights(executable))
        code = session_weights(session, entry, session->several ? NULL : executable, &options->parameters);
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
    int code = make_parent_directories(options, path);
    if (code != STATUS_DONE)
        return code;
    cm_error *error;
    cm_status status = cm_parameters_save(results, path, &save, &error);
    if (status)
        return report_failure(options, status, error);
    if (options->json) {
        printf("{\"entry\": ");
        print_json_text(stdout, entry);
        printf(", \"path\": ");
        print_json_text(stdout, path);
        printf("}\n");
    } else {
        printf("%s\n", path);
    }
    return STATUS_DONE;
}

static bool is_number(const cm_array *array)
{
    return array_count(array) == 1;
}

static int report_results(const Options *options, const cm_parameters *results)
{
    size_t count = cm_parameters_count(results), used = 0;
    ReportItem *items = calloc(count + 1, sizeof *items);
    for (size_t i = 0; items && i < count; i++) {
        cm_array array;
        const char *name = cm_parameters_name(results, i);
        if (cm_parameters_get(results, name, &array, NULL) == CM_OK && is_number(&array))
            items[used++] = (ReportItem){name, array_number(&array, 0)};
    }
    int code = items ? report_write(options, options->report, false, items, used) : STATUS_FAULT;
    free(items);
    return code;
}

static void print_results(const Options *options, const char *entry, const cm_parameters *results)
{
    if (options->json) {
        printf("{\"entry\": ");
        print_json_text(stdout, entry);
    }
    for (size_t i = 0; i < cm_parameters_count(results); i++) {
        const char *name = cm_parameters_name(results, i);
        cm_array array;
        cm_parameters_get(results, name, &array, NULL);
        if (options->json) {
            printf(", ");
            print_json_text(stdout, name);
            printf(": ");
            print_json_array(stdout, &array);
        } else {
            print_array(stdout, name, &array);
        }
    }
    if (options->json)
        printf("}\n");
}

/* What eval found: saved, added to a report, or printed. */
static int finish_eval(const Session *session, const char *entry, const cm_port *first, const cm_parameters *results)
{
    const Options *options = session->options;
    int code = options->report ? report_results(options, results) : STATUS_DONE;
    if (code == STATUS_DONE && options->out)
        return save_samples(session, entry, first, results);
    if (code == STATUS_DONE)
        print_results(options, entry, results);
    return code;
}

static int run_entry(Session *session, const char *entry)
{
    const Options *options = session->options;
    Arguments arguments = {0};
    cm_sample_options sample = {0};
    cm_parameters *results = NULL;
    cm_port first = {0};
    int code = arguments_read(session, entry, &arguments);
    if (code == STATUS_DONE)
        code = prepare(session, entry, &arguments, &sample, &first);
    if (code == STATUS_DONE) {
        cm_error *error;
        bool is_eval = options->verb == VERB_eval;
        cm_status status = is_eval ? cm_evaluate(session->program, entry, options->data, &sample, &results, &error)
                                   : cm_sample(session->program, entry, &sample, &results, &error);
        if (status)
            code = session_failure(session, status, error);
        else
            code = is_eval ? finish_eval(session, entry, &first, results) : save_samples(session, entry, &first, results);
    }
    cm_parameters_free(results);
    cm_parameters_free(sample.parameters);
    arguments_free(&arguments);
    return code;
}

static int run_on_weights(const Options *options)
{
    Session session;
    int code = session_open(&session, options, true);
    size_t count = 0, most = code == STATUS_DONE ? cm_program_entry_count(session.program) : 0;
    const char **names = calloc(most + 1, sizeof *names);
    if (code == STATUS_DONE)
        code = names ? choose_entries(&session, names, &count) : STATUS_FAULT;
    session.several = count > 1;
    for (size_t i = 0; code == STATUS_DONE && i < count; i++)
        code = run_entry(&session, names[i]);
    free(names);
    return session_close(&session, code);
}

int verb_sample(const Options *options)
{
    return run_on_weights(options);
}

int verb_eval(const Options *options)
{
    return run_on_weights(options);
}
