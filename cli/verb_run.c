/* cmc run: runs a function and prints its results; without a name, every function that can run by itself. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

typedef struct Results {
    cm_array *arrays;
    size_t count;
} Results;

static bool allocate_results(const cm_executable *executable, Results *results)
{
    results->count = cm_executable_output_count(executable);
    results->arrays = calloc(results->count + 1, sizeof *results->arrays);
    for (size_t i = 0; results->arrays && i < results->count; i++) {
        cm_port port;
        cm_executable_output(executable, i, &port);
        cm_array *array = &results->arrays[i];
        array->dtype = port.dtype;
        array->rank = port.rank;
        memcpy(array->dim, port.dim, sizeof array->dim);
        array->data = aligned_alloc(64, (cm_array_bytes(array) + 64) / 64 * 64);
        if (!array->data)
            return false;
    }
    return results->arrays != NULL;
}

static void free_results(Results *results)
{
    for (size_t i = 0; results->arrays && i < results->count; i++)
        free(results->arrays[i].data);
    free(results->arrays);
}

static void print_results(const cm_executable *executable, const Results *results, const char *entry, bool json, bool titled)
{
    if (json)
        printf("{\"entry\": \"%s\"", entry);
    else if (titled)
        printf("%s\n", entry);
    for (size_t i = 0; i < results->count; i++) {
        cm_port port;
        cm_executable_output(executable, i, &port);
        if (json) {
            printf(", ");
            print_json_text(stdout, port.name);
            printf(": ");
            print_json_array(stdout, &results->arrays[i]);
        } else {
            if (titled)
                printf("  ");
            print_array(stdout, port.name, &results->arrays[i]);
        }
    }
    if (json)
        printf("}\n");
}

static int write_results(Session *session, const cm_executable *executable, const Results *results)
{
    const Options *options = session->options;
    cm_parameters *set;
    cm_error *error;
    cm_status status = cm_parameters_create_empty(session->context, &set, &error);
    for (size_t i = 0; !status && i < results->count; i++) {
        cm_port port;
        cm_executable_output(executable, i, &port);
        status = cm_parameters_set(set, port.name, &results->arrays[i], &error);
    }
    cm_save_options save = {.size = sizeof save, .columns = (int)options->columns.value};
    int code = status ? report_failure(options, status, error) : make_parent_directories(options, options->out);
    if (code == STATUS_DONE && (status = cm_parameters_save(set, options->out, &save, &error)) != CM_OK)
        code = report_failure(options, status, error);
    cm_parameters_free(set);
    return code;
}

static int run_compiled(Session *session, cm_executable *executable, Arguments *arguments, const char *entry, bool titled)
{
    const Options *options = session->options;
    cm_parameters *weights = NULL;
    Results results = {0};
    int code = arguments_settle(session, arguments, executable);
    if (code == STATUS_DONE && needs_weights(executable))
        code = session_weights(session, entry, executable, &weights);
    if (code == STATUS_DONE && !allocate_results(executable, &results))
        code = report_failure(options, CM_OUT_OF_MEMORY, NULL);
    if (code == STATUS_DONE) {
        cm_run_options run = {.size = sizeof run, .parameters = weights, .seed = options->seed.value, .steps = 1};
        cm_error *error;
        cm_status status = cm_run(executable, &run, arguments->inputs, arguments->count, results.arrays, results.count, &error);
        if (status)
            code = session_failure(session, status, error);
        else if (options->out)
            code = write_results(session, executable, &results);
        else
            print_results(executable, &results, entry, options->json, titled);
    }
    free_results(&results);
    cm_parameters_free(weights);
    return code;
}

static int run_entry(Session *session, const char *entry, bool titled)
{
    Arguments arguments;
    cm_executable *executable = NULL;
    int code = arguments_read(session, entry, &arguments);
    if (code == STATUS_DONE) {
        cm_compile_options compile = session_compile_options(session);
        compile.bindings = arguments.bindings;
        compile.binding_count = arguments.binding_count;
        cm_error *error;
        cm_status status = cm_compile(session->program, entry, &compile, &executable, &error);
        code = status ? report_failure(session->options, status, error)
                      : run_compiled(session, executable, &arguments, entry ? entry : "", titled);
    }
    cm_executable_free(executable);
    arguments_free(&arguments);
    return code;
}

static bool runs_by_itself(const cm_entry *entry)
{
    return entry->kind == CM_ENTRY_FN && !entry->argument_count && !entry->axis_count;
}

static int count_fn(const cm_program *program, bool by_itself)
{
    int count = 0;
    for (size_t i = 0; i < cm_program_entry_count(program); i++) {
        cm_entry entry;
        cm_program_entry(program, i, &entry);
        count += entry.kind == CM_ENTRY_FN && (!by_itself || runs_by_itself(&entry));
    }
    return count;
}

static int run_all(Session *session)
{
    int code = STATUS_DONE;
    for (size_t i = 0; i < cm_program_entry_count(session->program); i++) {
        cm_entry entry;
        cm_program_entry(session->program, i, &entry);
        int one = runs_by_itself(&entry) ? run_entry(session, entry.name, true) : STATUS_DONE;
        if (code == STATUS_DONE)
            code = one;
    }
    return code;
}

static bool is_train(const cm_program *program, const char *name)
{
    for (size_t i = 0; name && i < cm_program_entry_count(program); i++) {
        cm_entry entry;
        cm_program_entry(program, i, &entry);
        if (entry.kind == CM_ENTRY_TRAIN && strcmp(entry.name, name) == 0)
            return true;
    }
    return false;
}

int verb_run(const Options *options)
{
    Session session;
    int code = session_open(&session, options, true);
    if (code == STATUS_DONE) {
        const char *entry = session_entry(&session);
        if (is_train(session.program, entry))
            code = usage_error("%s is a train block: cmc train %s %s", entry, session.path, entry);
    }
    if (code == STATUS_DONE) {
        const char *entry = session_entry(&session);
        bool all = !entry && count_fn(session.program, false) > 1 && count_fn(session.program, true) > 0 && !options->arg.count;
        code = all ? run_all(&session) : run_entry(&session, entry, false);
    }
    return session_close(&session, code);
}
