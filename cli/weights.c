/* Weights for a verb: from --weights, from the run's folder, from beside the program, or from the seed. */
#include "cli/cli.h"

#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 4096, NAME_SIZE = 1024 };

bool needs_weights(const cm_executable *executable)
{
    cm_port port;
    for (size_t i = 0; cm_executable_input(executable, i, &port) == CM_OK; i++) {
        if (port.role == CM_ROLE_PARAMETER)
            return true;
    }
    return false;
}

const char *only_train(const cm_program *program)
{
    const char *name = NULL;
    for (size_t i = 0; i < cm_program_entry_count(program); i++) {
        cm_entry entry;
        cm_program_entry(program, i, &entry);
        if (entry.kind != CM_ENTRY_TRAIN)
            continue;
        if (name)
            return NULL;
        name = entry.name;
    }
    return name;
}

void run_directory(char *path, size_t size, const char *train)
{
    snprintf(path, size, "out/%s", train);
}

static bool is_of_model(const char *name, const char *model, size_t length)
{
    return strncmp(name, model, length) == 0 && name[length] == '.';
}

static bool holds_model(const cm_parameters *file, const char *model)
{
    for (size_t i = 0; i < cm_parameters_count(file); i++) {
        if (is_of_model(cm_parameters_name(file, i), model, strlen(model)))
            return true;
    }
    return false;
}

/* Whose arrays of a file are the weights of `model`: those of its name, or of the only model there; false if neither. */
static bool choose_part(const cm_parameters *file, const char *model, char *part, size_t size)
{
    snprintf(part, size, "%s", model);
    if (holds_model(file, model))
        return true;
    const char *first = cm_parameters_name(file, 0);
    size_t length = first ? strcspn(first, ".") : 0;
    snprintf(part, size, "%.*s", (int)length, first ? first : "");
    for (size_t i = 0; i < cm_parameters_count(file); i++) {
        if (!is_of_model(cm_parameters_name(file, i), part, length))
            return false;
    }
    return true;
}

static cm_status add_array(const cm_parameters *file, const char *name, const char *renamed, cm_parameters *weights,
                           cm_error **error)
{
    cm_array array;
    cm_status status = cm_parameters_get(file, name, &array, error);
    return status ? status : cm_parameters_set(weights, renamed, &array, error);
}

/* Adds the arrays of a file to the weights; with `model` those of one model, as the weights of that. */
static int add_file(Session *session, const char *path, const char *model, cm_parameters *weights)
{
    cm_parameters *file;
    cm_error *error;
    char part[NAME_SIZE] = "", renamed[NAME_SIZE];
    size_t used = strlen(session->weights_from);
    snprintf(session->weights_from + used, sizeof session->weights_from - used, "%s%s", used ? ", " : "", path);
    cm_status status = cm_parameters_load(session->context, path, &file, &error);
    bool chosen = status || !model || choose_part(file, model, part, sizeof part);
    for (size_t i = 0; chosen && !status && i < cm_parameters_count(file); i++) {
        const char *name = cm_parameters_name(file, i);
        if (model && !is_of_model(name, part, strlen(part)))
            continue;
        snprintf(renamed, sizeof renamed, "%s%s", model ? model : "", name + strlen(part));
        status = add_array(file, name, renamed, weights, &error);
    }
    cm_parameters_free(file);
    if (!chosen)
        return usage_error("--weights %s=%s: there are several models in it, and none is called %s", model, path, model);
    return status ? session_failure(session, status, error) : STATUS_DONE;
}

/* out/NAME/weights.safetensors, then NAME.safetensors beside the program; false if neither is there. */
static bool find_weights(const Session *session, char *path, size_t size)
{
    const char *train = only_train(session->program), *slash = strrchr(session->path, '/');
    if (!train)
        return false;
    char directory[PATH_SIZE / 2];
    run_directory(directory, sizeof directory, train);
    snprintf(path, size, "%s/weights.safetensors", directory);
    if (access(path, R_OK) == 0)
        return true;
    int beside = slash ? (int)(slash - session->path) + 1 : 0;
    snprintf(path, size, "%.*s%s.safetensors", beside, session->path, train);
    return access(path, R_OK) == 0;
}

/* Where the model's name ends in [MODEL=]FILE, or null. */
static const char *model_end(const char *word)
{
    const char *equals = strchr(word, '=');
    return equals && equals > word && strcspn(word, "/") > (size_t)(equals - word) ? equals : NULL;
}

static int add_named(Session *session, cm_parameters *weights)
{
    const TextList *given = &session->options->weights;
    int code = STATUS_DONE;
    for (int i = 0; code == STATUS_DONE && i < given->count; i++) {
        const char *equals = model_end(given->items[i]);
        char model[NAME_SIZE];
        if (equals)
            snprintf(model, sizeof model, "%.*s", (int)(equals - given->items[i]), given->items[i]);
        code = add_file(session, equals ? equals + 1 : given->items[i], equals ? model : NULL, weights);
    }
    return code;
}

static bool has_model(const cm_executable *executable, const char *name, size_t length)
{
    cm_port port;
    for (size_t i = 0; cm_executable_input(executable, i, &port) == CM_OK; i++) {
        if (port.role == CM_ROLE_PARAMETER && is_of_model(port.name, name, length))
            return true;
    }
    return false;
}

/* Weights for a model that is not there are a slip of the hand. */
static int check_models(const Session *session, const cm_executable *executable)
{
    const TextList *given = &session->options->weights;
    for (int i = 0; executable && i < given->count; i++) {
        const char *name = given->items[i], *equals = model_end(name);
        int length = equals ? (int)(equals - name) : 0;
        if (equals && !has_model(executable, name, (size_t)length))
            return usage_error("--weights %s: no model %.*s is wanted here", name, length, name);
    }
    return STATUS_DONE;
}

int session_weights(Session *session, const char *entry, const cm_executable *executable, cm_parameters **weights)
{
    const TextList *given = &session->options->weights;
    char path[PATH_SIZE];
    bool whole = false;
    cm_error *error = NULL;
    *weights = NULL;
    session->weights_from[0] = 0;
    if (check_models(session, executable) != STATUS_DONE)
        return STATUS_USAGE;
    for (int i = 0; i < given->count; i++)
        whole |= !model_end(given->items[i]);
    bool untrained = session->options->untrained, found = !whole && !untrained && find_weights(session, path, sizeof path);
    if (!found && !untrained && !given->count)
        return STATUS_DONE;
    int64_t seed = session->options->seed.value;
    cm_status status = untrained ? cm_parameters_create_for(session->program, entry, seed, weights, &error)
                                 : cm_parameters_create_empty(session->context, weights, &error);
    if (status)
        return session_failure(session, status, error);
    int code = found ? add_file(session, path, NULL, *weights) : STATUS_DONE;
    return code == STATUS_DONE ? add_named(session, *weights) : code;
}
