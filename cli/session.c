/* What most verbs begin with: a context, a program, its arguments and weights; and how failures are told. */
#include "cli/cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_SIZE = 4096 };

/* ---- messages ---- */

int usage_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("cmc: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return STATUS_USAGE;
}

/* The same form as a failure of the library has: text on standard error, or JSON on standard output. */
int fault(const Options *options, cm_status status, const char *format, ...)
{
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (options->json) {
        printf("{\"error\": ");
        print_json_text(stdout, cm_status_name(status));
        printf(", \"diagnostics\": [{\"code\": null, \"message\": ");
        print_json_text(stdout, message);
        printf(", \"notes\": []}]}\n");
    } else {
        fprintf(stderr, "error: %s\n", message);
    }
    return STATUS_FAULT;
}

void remark(const Options *options, const char *format, ...)
{
    if (options->quiet)
        return;
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

static void print_place(const cm_diagnostic *diagnostic)
{
    printf("\"message\": ");
    print_json_text(stdout, diagnostic->message);
    if (!diagnostic->file)
        return;
    printf(", \"file\": ");
    print_json_text(stdout, diagnostic->file);
    printf(", \"line\": %d, \"column\": %d, \"end_line\": %d, \"end_column\": %d", diagnostic->line, diagnostic->column,
           diagnostic->end_line, diagnostic->end_column);
}

void print_diagnostics_json(const cm_error *error)
{
    printf("[");
    for (size_t i = 0; i < cm_error_count(error); i++) {
        cm_diagnostic diagnostic, note;
        cm_error_diagnostic(error, i, &diagnostic);
        printf("%s{\"code\": ", i ? ", " : "");
        print_json_text(stdout, diagnostic.code);
        printf(", ");
        print_place(&diagnostic);
        printf(", \"notes\": [");
        for (size_t k = 0; cm_error_note(error, i, k, &note) == CM_OK; k++) {
            printf("%s{", k ? ", " : "");
            print_place(&note);
            printf("}");
        }
        printf("]}");
    }
    printf("]");
}

static void print_error_json(cm_status status, const cm_error *error)
{
    printf("{\"error\": ");
    print_json_text(stdout, cm_status_name(status));
    printf(", \"diagnostics\": ");
    print_diagnostics_json(error);
    printf("}\n");
}

int report_failure(const Options *options, cm_status status, cm_error *error)
{
    if (options->json)
        print_error_json(status, error);
    else if (cm_error_count(error))
        fputs(cm_error_text(error), stderr);
    else
        fprintf(stderr, "error: %s\n", cm_status_name(status));
    cm_error_free(error);
    return status == CM_INVALID_ARGUMENT ? STATUS_USAGE : STATUS_FAULT;
}

int session_failure(const Session *session, cm_status status, cm_error *error)
{
    int code = report_failure(session->options, status, error);
    if (status == CM_MISMATCH && session->weights_from[0])
        fprintf(stderr, "  weights were read from %s\n", session->weights_from);
    return code;
}

static void print_log(void *state, const char *message)
{
    const Options *options = state;
    remark(options, "cmc: %s", message);
}

/* ---- opening ---- */

static int load_program(Session *session)
{
    const Options *options = session->options;
    cm_setting *settings = calloc((size_t)options->set.count + 1, sizeof *settings);
    char **copies = calloc((size_t)options->set.count + 1, sizeof *copies);
    int status = settings && copies ? STATUS_DONE : STATUS_FAULT;
    for (int i = 0; status == STATUS_DONE && i < options->set.count; i++) {
        copies[i] = strdup(options->set.items[i]);
        char *equals = copies[i] ? strchr(copies[i], '=') : NULL;
        if (!equals || equals == copies[i]) {
            status = usage_error("--set takes KEY=VALUE, not %s", options->set.items[i]);
            break;
        }
        *equals = 0;
        settings[i] = (cm_setting){copies[i], equals + 1};
    }
    if (status == STATUS_DONE) {
        cm_load_options load = {.size = sizeof load, .settings = settings, .setting_count = (size_t)options->set.count};
        cm_error *error;
        cm_status loaded = cm_load_file(session->context, session->path, &load, &session->program, &error);
        if (loaded)
            status = report_failure(options, loaded, error);
    }
    for (int i = 0; copies && i < options->set.count; i++)
        free(copies[i]);
    free(copies);
    free(settings);
    return status;
}

int session_open(Session *session, const Options *options, bool program)
{
    *session = (Session){.options = options};
    if (program && options->entry && options->operands.count > 1)
        return usage_error("--entry %s, or %s behind the file: not both", options->entry, options->operands.items[1]);
    cm_context_options context = {.size = sizeof context,
                                  .threads = (int)options->threads.value,
                                  .cache_directory = options->no_cache ? "" : NULL,
                                  .log = print_log,
                                  .log_state = (void *)options,
                                  .profile = options->profile != NULL};
    cm_error *error;
    cm_status status = cm_context_create(&context, &session->context, &error);
    if (status)
        return report_failure(options, status, error);
    if (!program)
        return STATUS_DONE;
    session->path = options->operands.items[0];
    return load_program(session);
}

int session_close(Session *session, int code)
{
    if (session->options->profile && session->context) {
        int saved = save_profile(session->options, session->context);
        code = code == STATUS_DONE ? saved : code;
    }
    cm_program_free(session->program);
    cm_context_free(session->context);
    return code;
}

const char *session_entry(const Session *session)
{
    const Options *options = session->options;
    return options->operands.count > 1 ? options->operands.items[1] : options->entry;
}

cm_compile_options session_compile_options(const Session *session)
{
    const Options *options = session->options;
    return (cm_compile_options){.size = sizeof(cm_compile_options),
                                .device = options->device,
                                .no_fuse = options->no_fuse,
                                .memory_limit = options->memory.value * 1024 * 1024,
                                .block_rows = options->block_rows.value};
}

/* ---- arguments ---- */

/* A number as f64 for now, in memory of the parameter set that holds the argument. */
static cm_status take_number(Session *session, const char *name, double value, cm_parameters **file, cm_error **error)
{
    cm_array array = {.dtype = CM_F64, .data = &value};
    cm_status status = cm_parameters_create_empty(session->context, file, error);
    return status ? status : cm_parameters_set(*file, name, &array, error);
}

/* FILE.safetensors:NAME picks one array. */
static cm_status take_file(Session *session, const char *path, cm_parameters **file, const char **member, cm_error **error)
{
    static const char ending[] = ".safetensors:";
    char copy[PATH_SIZE];
    snprintf(copy, sizeof copy, "%s", path);
    char *split = strstr(copy, ending);
    *member = split ? strstr(path, ending) + strlen(ending) : NULL;
    if (split)
        split[strlen(ending) - 1] = 0;
    return cm_parameters_load(session->context, copy, file, error);
}

static int add_input(Arguments *arguments, const char *name, const char *field)
{
    cm_input *larger = realloc(arguments->inputs, (arguments->count + 1) * sizeof *larger);
    if (!larger)
        return STATUS_FAULT;
    arguments->inputs = larger;
    size_t size = strlen(name) + (field ? strlen(field) : 0) + 2;
    char *whole = malloc(size);
    if (!whole)
        return STATUS_FAULT;
    snprintf(whole, size, field ? "%s.%s" : "%s", name, field);
    arguments->inputs[arguments->count++] = (cm_input){.name = whole};
    return STATUS_DONE;
}

/* A file with several arrays is a record: its arrays are the fields. */
static int add_arrays(Session *session, Arguments *arguments, const char *name, cm_parameters *file, const char *member)
{
    size_t count = cm_parameters_count(file);
    for (size_t i = 0; i < (member ? 1 : count); i++) {
        const char *array = member ? member : cm_parameters_name(file, i);
        if (add_input(arguments, name, !member && count > 1 ? array : NULL) != STATUS_DONE)
            return STATUS_FAULT;
        cm_error *error;
        cm_status status = cm_parameters_get(file, array, &arguments->inputs[arguments->count - 1].array, &error);
        if (status)
            return report_failure(session->options, status, error);
    }
    return STATUS_DONE;
}

static int read_argument(Session *session, Arguments *arguments, char *word)
{
    char *equals = strchr(word, '=');
    if (!equals || equals == word)
        return usage_error("--arg takes NAME=VALUE, not %s", word);
    *equals = 0;
    const char *text = equals + 1, *member = NULL;
    char *end;
    double value = strtod(text, &end);
    bool is_bool = strcmp(text, "true") == 0 || strcmp(text, "false") == 0, is_number = is_bool || (*text && !*end);
    cm_parameters **file = &arguments->files[arguments->file_count++];
    cm_error *error = NULL;
    cm_status status = is_number ? take_number(session, word, is_bool ? text[0] == 't' : value, file, &error)
                                 : take_file(session, text, file, &member, &error);
    return status ? report_failure(session->options, status, error) : add_arrays(session, arguments, word, *file, member);
}

int arguments_read(Session *session, const char *entry, Arguments *arguments)
{
    const TextList *given = &session->options->arg;
    *arguments = (Arguments){0};
    arguments->files = calloc((size_t)given->count + 1, sizeof *arguments->files);
    if (!arguments->files)
        return STATUS_FAULT;
    for (int i = 0; i < given->count; i++) {
        char *word = strdup(given->items[i]);
        int status = word ? read_argument(session, arguments, word) : STATUS_FAULT;
        free(word);
        if (status != STATUS_DONE)
            return status;
    }
    cm_error *error;
    cm_status status = given->count ? cm_infer_bindings(session->program, entry, arguments->inputs, arguments->count,
                                                        arguments->bindings, 64, &arguments->binding_count, &error)
                                    : CM_OK;
    return status ? report_failure(session->options, status, error) : STATUS_DONE;
}

/* The bytes of a number in another type; false if it has no such value. */
static bool convert(double value, cm_dtype dtype, void *out)
{
    switch (dtype) {
    case CM_F32:
        *(float *)out = (float)value;
        return true;
    case CM_F64:
        *(double *)out = value;
        return true;
    case CM_I32:
        if (value != (double)(int32_t)value)
            return false;
        *(int32_t *)out = (int32_t)value;
        return true;
    case CM_U32:
        if (value < 0 || value != (double)(uint32_t)value)
            return false;
        *(uint32_t *)out = (uint32_t)value;
        return true;
    case CM_I64:
        *(int64_t *)out = (int64_t)value;
        return true;
    case CM_U8:
    case CM_BOOL:
        *(unsigned char *)out = (unsigned char)value;
        return value == (double)(unsigned char)value;
    case CM_F16:
    case CM_BF16:
        break;
    }
    return false;
}

int arguments_settle(Session *session, Arguments *arguments, const cm_executable *executable)
{
    (void)session;
    for (size_t i = 0; i < arguments->count; i++) {
        cm_input *input = &arguments->inputs[i];
        cm_port port;
        for (size_t k = 0; cm_executable_input(executable, k, &port) == CM_OK; k++) {
            if (strcmp(port.name, input->name) != 0 || input->array.dtype != CM_F64 || input->array.rank || port.rank)
                continue;
            if (!convert(*(double *)input->array.data, port.dtype, input->array.data))
                return usage_error("argument %s: %g is no %s", input->name, *(double *)input->array.data,
                                   cm_dtype_name(port.dtype));
            input->array.dtype = port.dtype;
        }
    }
    return STATUS_DONE;
}

void arguments_free(Arguments *arguments)
{
    for (size_t i = 0; i < arguments->count; i++)
        free((char *)arguments->inputs[i].name);
    for (size_t i = 0; i < arguments->file_count; i++)
        cm_parameters_free(arguments->files[i]);
    free(arguments->inputs);
    free(arguments->files);
}
