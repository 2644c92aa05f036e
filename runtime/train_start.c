/* First weights of a run's models that come from another run or from a file: what the key `start` says. */
#include "runtime/api_internal.h"

#include "base/file.h"
#include "runtime/dataset.h"
#include "runtime/format.h"
#include "runtime/problems.h"

#include <string.h>

static bool is_file(const char *from)
{
    static const char ending[] = ".safetensors";
    size_t length = strlen(from), size = sizeof ending - 1;
    return length > size && strcmp(from + length - size, ending) == 0;
}

/* A file lies where data do; a run has left its weights in out/, or they lie beside the program. */
static const char *find_weights(ApiCall *call, const cm_training *training, const TrainStart *start, const char **reason)
{
    const char *directory = training->program->directory;
    DatasetOptions places = {.directory = directory, .search_path = call->context->data_path};
    if (is_file(start->from))
        return dataset_find(call->arena, start->from, &places, reason);
    const char *made = arena_printf(call->arena, "out/%s/weights.safetensors", start->from);
    const char *beside = path_join(call->arena, directory, arena_printf(call->arena, "%s.safetensors", start->from));
    if (file_exists(made))
        return made;
    if (file_exists(beside))
        return beside;
    *reason = arena_printf(call->arena,
                           "`%s` starts from the run `%s`, whose weights are neither in %s nor in %s: train that first, or "
                           "give weights for `%s`",
                           start->model, start->from, made, beside, start->model);
    return NULL;
}

static bool is_part(const char *path, const char *model, size_t length)
{
    return strncmp(path, model, length) == 0 && path[length] == '.';
}

static bool has_part(const Array *arrays, int count, const char *model)
{
    for (int i = 0; i < count; i++) {
        if (is_part(arrays[i].name, model, strlen(model)))
            return true;
    }
    return false;
}

/* The model of that name, or the only one that there is; null: neither. */
static const char *choose_member(ApiCall *call, const SafeTensors *file, const TrainStart *start)
{
    const Array *arrays = file->arrays.items;
    const char *wanted = start->member ? start->member : start->model;
    if (has_part(arrays, file->arrays.count, wanted))
        return wanted;
    const char *first = file->arrays.count ? arrays[0].name : "", *dot = strchr(first, '.');
    size_t length = dot ? (size_t)(dot - first) : 0;
    bool alone = dot && !start->member;
    for (int i = 0; i < file->arrays.count; i++)
        alone = alone && is_part(arrays[i].name, first, length);
    return alone ? arena_copy_text(call->arena, first, length) : NULL;
}

static const Port *weight_port(const cm_executable *executable, const char *path)
{
    int found = executable_find_input(executable, path);
    return found >= 0 && executable->inputs[found].role == PORT_parameter ? &executable->inputs[found] : NULL;
}

/* One array of the file under the run's name for it. */
static void take_array(ApiCall *call, cm_training *training, const Array *array, const char *path, Problems *problems)
{
    const Port *port = weight_port(training->executable, path);
    if (!port) {
        problems_add(problems, "not used", array->name, array_type_text(call->arena, &array->type));
    } else if (!ir_type_equal(&port->type, &array->type)) {
        problems_add(problems, "wrong type", array->name,
                     arena_printf(call->arena, "is %s there, %s here", array_type_text(call->arena, &array->type),
                                  array_type_text(call->arena, &port->type)));
    } else if (!parameters_find(training->initial, path)) {
        Array *copy = parameters_add(call, training->initial, path, array->type);
        if (array_bytes(array))
            memcpy(copy->data, array->data, array_bytes(array));
    }
}

static void find_missing(ApiCall *call, const cm_training *training, const char *model, Problems *problems)
{
    for (int i = 0; i < training->executable->input_count; i++) {
        const Port *port = &training->executable->inputs[i];
        if (port->role == PORT_parameter && is_part(port->path, model, strlen(model)) &&
            !parameters_find(training->initial, port->path))
            problems_add(problems, "missing", port->path, array_type_text(call->arena, &port->type));
    }
}

static cm_status start_model(ApiCall *call, cm_training *training, const TrainStart *start)
{
    SafeTensors file = {0};
    const char *reason = NULL, *path = find_weights(call, training, start, &reason);
    const char *place = api_place(call, training->entry);
    if (path)
        reason = safetensors_read(call->arena, path, &file);
    if (reason)
        return api_fail(call, CM_IO_ERROR, "%s: %s", place, reason);
    const char *member = choose_member(call, &file, start);
    if (!member)
        return api_fail(call, CM_MISMATCH, "%s: %s has no model `%s`", place, path,
                        start->member ? start->member : start->model);
    Problems problems = problems_new(call->arena);
    for (int i = 0; i < file.arrays.count; i++) {
        const Array *array = &file.arrays.items[i];
        if (is_part(array->name, member, strlen(member)))
            take_array(call, training, array, arena_printf(call->arena, "%s%s", start->model, array->name + strlen(member)),
                       &problems);
    }
    find_missing(call, training, start->model, &problems);
    const char *what = arena_printf(call->arena, "%s: `%s` of %s is not the model `%s`", place, member, path, start->model);
    return problems.count ? api_fail(call, CM_MISMATCH, "%s", problems_text(&problems, what)) : CM_OK;
}

cm_status training_start(ApiCall *call, cm_training *training, const TrainRun *run)
{
    const Array *given = training->initial->arrays;
    int count = training->initial->count;
    for (int i = 0; i < run->starts.count; i++) {
        const TrainStart *start = &run->starts.items[i];
        if (has_part(given, count, start->model))
            continue;
        cm_status status = start_model(call, training, start);
        if (status != CM_OK)
            return status;
        given = training->initial->arrays; /* it may have moved */
    }
    return CM_OK;
}
