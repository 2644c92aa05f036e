/* Parameter sets: named arrays, made from a seed, read from files and written to them. */
#include "runtime/api_internal.h"

#include "base/file.h"
#include "runtime/dataset.h"
#include "runtime/format.h"
#include "runtime/picture.h"

#include <string.h>
#include <sys/stat.h>

/* ---- life ---- */

cm_parameters *parameters_new(cm_context *context)
{
    cm_parameters *parameters = api_allocate(context, sizeof *parameters);
    if (!parameters)
        return NULL;
    parameters->context = context_retain(context);
    return parameters;
}

void cm_parameters_free(cm_parameters *parameters)
{
    if (!parameters)
        return;
    cm_context *context = parameters->context;
    for (int i = 0; i < parameters->count; i++) {
        api_release(context, (char *)parameters->arrays[i].name);
        api_release_aligned(context, parameters->arrays[i].data);
    }
    api_release(context, parameters->arrays);
    api_release(context, parameters);
    cm_context_free(context);
}

/* ---- arrays of a set ---- */

Array *parameters_find(const cm_parameters *parameters, const char *name)
{
    for (int i = 0; i < parameters->count; i++) {
        if (strcmp(parameters->arrays[i].name, name) == 0)
            return &parameters->arrays[i];
    }
    return NULL;
}

static void reserve(ApiCall *call, cm_parameters *parameters)
{
    if (parameters->count < parameters->capacity)
        return;
    int capacity = parameters->capacity ? 2 * parameters->capacity : 16;
    Array *larger = api_allocate(parameters->context, (size_t)capacity * sizeof *larger);
    if (!larger)
        api_no_memory(call);
    if (parameters->count)
        memcpy(larger, parameters->arrays, (size_t)parameters->count * sizeof *larger);
    api_release(parameters->context, parameters->arrays);
    parameters->arrays = larger;
    parameters->capacity = capacity;
}

Array *parameters_add(ApiCall *call, cm_parameters *parameters, const char *name, IrType type)
{
    reserve(call, parameters);
    size_t bytes = (size_t)ir_element_count(&type) * (size_t)dtype_size(type.dtype), length = strlen(name);
    char *copy = api_allocate(parameters->context, length + 1);
    void *data = api_allocate_aligned(parameters->context, bytes);
    if (!copy || !data) {
        api_release(parameters->context, copy);
        api_release_aligned(parameters->context, data);
        api_no_memory(call);
    }
    memcpy(copy, name, length);
    Array *array = &parameters->arrays[parameters->count++];
    *array = (Array){.name = copy, .type = type, .data = data};
    return array;
}

static void add_copy(ApiCall *call, cm_parameters *parameters, const char *name, const Array *array)
{
    Array *added = parameters_add(call, parameters, name, array->type);
    if (array_bytes(array))
        memcpy(added->data, array->data, array_bytes(array));
}

size_t cm_parameters_count(const cm_parameters *parameters)
{
    return parameters ? (size_t)parameters->count : 0;
}

const char *cm_parameters_name(const cm_parameters *parameters, size_t index)
{
    return index < cm_parameters_count(parameters) ? parameters->arrays[index].name : NULL;
}

typedef struct AccessCall {
    cm_parameters *parameters;
    const char *name;
    cm_array *view;
    const cm_array *given;
} AccessCall;

static cm_status no_such_array(ApiCall *call, const cm_parameters *parameters, const char *name)
{
    const char **known = arena_array(call->arena, const char *, parameters->count);
    for (int i = 0; i < parameters->count; i++)
        known[i] = parameters->arrays[i].name;
    return api_fail(call, CM_INVALID_ARGUMENT, "the set has no array %s%s", name,
                    api_suggestion(call, name, known, parameters->count));
}

static cm_status get_body(ApiCall *call, void *parameters)
{
    AccessCall *access = parameters;
    const Array *array = parameters_find(access->parameters, access->name);
    if (!array)
        return no_such_array(call, access->parameters, access->name);
    api_type_out(&array->type, access->view);
    access->view->data = array->data;
    return CM_OK;
}

cm_status cm_parameters_get(const cm_parameters *parameters, const char *name, cm_array *array, cm_error **error)
{
    if (array)
        *array = (cm_array){0};
    if (!parameters || !name || !array)
        return api_misuse(error, "cm_parameters_get: a null set, name or place for the array");
    AccessCall call = {.parameters = (cm_parameters *)parameters, .name = name, .view = array};
    return api_run(parameters->context, error, get_body, &call);
}

static cm_status set_body(ApiCall *call, void *parameters)
{
    AccessCall *access = parameters;
    IrType type;
    if (!api_type_in(access->given, &type))
        return api_fail(call, CM_INVALID_ARGUMENT, "%s: the array has no valid type or shape", access->name);
    if (!access->given->data && ir_element_count(&type))
        return api_fail(call, CM_INVALID_ARGUMENT, "%s: the array has no data", access->name);
    Array given = {.type = type, .data = access->given->data};
    Array *array = parameters_find(access->parameters, access->name);
    if (array && !ir_type_equal(&array->type, &type))
        return api_fail(call, CM_MISMATCH, "%s: expected %s, got %s", access->name, array_type_text(call->arena, &array->type),
                        array_type_text(call->arena, &type));
    if (!array)
        add_copy(call, access->parameters, access->name, &given);
    else if (array_bytes(array))
        memmove(array->data, given.data, array_bytes(array));
    return CM_OK;
}

cm_status cm_parameters_set(cm_parameters *parameters, const char *name, const cm_array *array, cm_error **error)
{
    if (!parameters || !name || !array)
        return api_misuse(error, "cm_parameters_set: a null set, name or array");
    AccessCall call = {.parameters = parameters, .name = name, .given = array};
    return api_run(parameters->context, error, set_body, &call);
}

/* ---- making ---- */

cm_status parameters_initialise(ApiCall *call, cm_program *program, const Entry *taker, const cm_compile_options *options,
                                uint64_t seed, cm_parameters *parameters)
{
    for (int i = 0; i < program_entry_count(program->program); i++) {
        const Entry *entry = program_entry(program->program, i);
        if (entry->kind != ENTRY_init || (taker && !program_takes(program->program, taker, entry)))
            continue;
        cm_status status = executable_compile(call, program, entry, options);
        if (status != CM_OK)
            return status;
        uint32_t purpose[2], key[2];
        key_from_seed(seed, KEY_INIT, purpose);
        random_fold_in(purpose, (uint32_t)hash_bytes(entry->name, strlen(entry->name), 0), key);
        cm_input input = {"key", {.dtype = CM_U32, .rank = 1, .dim = {2}, .data = key}};
        bool draws = executable_find_input(call->executable, "key") >= 0;
        cm_run_options run = {.parameters = parameters, .steps = 1};
        status = executable_run_to_set(call, call->executable, &run, &input, draws, parameters);
        api_drop_executable(call);
        if (status != CM_OK)
            return status;
    }
    return CM_OK;
}

typedef struct MakeCall {
    cm_program *program;
    int64_t seed;
    const char *entry, *path;
    cm_parameters *parameters;
} MakeCall;

static cm_status make_set(ApiCall *call, MakeCall *make)
{
    make->parameters = parameters_new(call->context);
    return make->parameters ? CM_OK : api_fail(call, CM_OUT_OF_MEMORY, NULL);
}

static cm_status create_body(ApiCall *call, void *parameters)
{
    MakeCall *make = parameters;
    cm_compile_options options = {0};
    const Entry *taker = NULL;
    cm_status status = make_set(call, make);
    if (status == CM_OK && make->entry)
        status = program_choose_entry(call, make->program, make->entry, -1, &taker);
    if (status == CM_OK && make->program)
        status = parameters_initialise(call, make->program, taker, &options, (uint64_t)make->seed, make->parameters);
    return status;
}

static cm_status finish(MakeCall *make, cm_status status, cm_parameters **parameters)
{
    if (status != CM_OK)
        cm_parameters_free(make->parameters);
    *parameters = status == CM_OK ? make->parameters : NULL;
    return status;
}

cm_status cm_parameters_create(cm_program *program, int64_t seed, cm_parameters **parameters, cm_error **error)
{
    if (parameters)
        *parameters = NULL;
    if (!program || !parameters)
        return api_misuse(error, "cm_parameters_create: a null program or place for the set");
    MakeCall call = {.program = program, .seed = seed};
    return finish(&call, api_run(program->context, error, create_body, &call), parameters);
}

cm_status cm_parameters_create_for(cm_program *program, const char *entry, int64_t seed, cm_parameters **parameters,
                                   cm_error **error)
{
    if (parameters)
        *parameters = NULL;
    if (!program || !entry || !parameters)
        return api_misuse(error, "cm_parameters_create_for: a null program, entry or place for the set");
    MakeCall call = {.program = program, .entry = entry, .seed = seed};
    return finish(&call, api_run(program->context, error, create_body, &call), parameters);
}

cm_status cm_parameters_create_empty(cm_context *context, cm_parameters **parameters, cm_error **error)
{
    if (parameters)
        *parameters = NULL;
    if (!context || !parameters)
        return api_misuse(error, "cm_parameters_create_empty: a null context or place for the set");
    MakeCall call = {.program = NULL};
    return finish(&call, api_run(context, error, create_body, &call), parameters);
}

/* ---- data ---- */

typedef struct DataCall {
    MakeCall make;
    const char *data;
} DataCall;

static cm_status data_body(ApiCall *call, void *parameters)
{
    DataCall *load = parameters;
    const DataSet *declared;
    Dataset *data;
    cm_status status = make_set(call, &load->make);
    if (status == CM_OK)
        status = program_choose_data(call, load->make.program, load->data, &declared);
    if (status == CM_OK)
        status = dataset_open_for(call, load->make.program, declared, NULL, &(cm_compile_options){0}, call->arena, &data);
    for (int i = 0; status == CM_OK && i < data->fields.count; i++)
        add_copy(call, load->make.parameters, data->fields.items[i].name, &data->fields.items[i]);
    return status;
}

cm_status cm_parameters_load_data(cm_program *program, const char *data, cm_parameters **parameters, cm_error **error)
{
    if (parameters)
        *parameters = NULL;
    if (!program || !parameters)
        return api_misuse(error, "cm_parameters_load_data: a null program or place for the set");
    DataCall call = {.make = {.program = program}, .data = data};
    return finish(&call.make, api_run(program->context, error, data_body, &call), parameters);
}

/* ---- reading ---- */

static bool ends_with(const char *path, const char *end)
{
    size_t length = strlen(path), size = strlen(end);
    return length >= size && strcmp(path + length - size, end) == 0;
}

static const char *base_name(Arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash && slash[1] ? slash + 1 : path, *dot = strchr(base, '.');
    return arena_copy_text(arena, base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
}

static bool is_directory(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* FILE.npz:NAME is one array of an archive. */
static const char *read_member(Arena *arena, const char *path, const char *split, Array *array)
{
    const char *reason = npz_read(arena, arena_copy_text(arena, path, (size_t)(split - path)), split + 1, array);
    array->name = split + 1;
    return reason;
}

static const char *read_one(Arena *arena, const char *path, Array *array)
{
    const char *split = strrchr(path, ':');
    if (split && split - path > 4 && strncmp(split - 4, ".npz", 4) == 0)
        return read_member(arena, path, split, array);
    const char *reason;
    if (is_directory(path))
        reason = png_folder_read(arena, path, array);
    else if (ends_with(path, ".npy"))
        reason = npy_read(arena, path, array);
    else if (ends_with(path, ".png"))
        reason = png_read(arena, path, array);
    else if (ends_with(path, ".gz") || ends_with(path, "ubyte"))
        reason = idx_read(arena, path, array);
    else
        return arena_printf(
            arena, "%s: arrays are read from .safetensors, .npy, .npz:NAME, .png, idx files and folders of .png", path);
    array->name = base_name(arena, path);
    return reason;
}

static cm_status load_body(ApiCall *call, void *parameters)
{
    MakeCall *make = parameters;
    cm_status status = make_set(call, make);
    if (status != CM_OK)
        return status;
    if (ends_with(make->path, ".safetensors")) {
        SafeTensors file = {0};
        const char *reason = safetensors_read(call->arena, make->path, &file);
        for (int i = 0; !reason && i < file.arrays.count; i++)
            add_copy(call, make->parameters, file.arrays.items[i].name, &file.arrays.items[i]);
        return reason ? api_fail(call, CM_IO_ERROR, "%s", reason) : CM_OK;
    }
    Array array = {0};
    const char *reason = read_one(call->arena, make->path, &array);
    if (reason)
        return api_fail(call, CM_IO_ERROR, "%s", reason);
    add_copy(call, make->parameters, array.name, &array);
    return CM_OK;
}

cm_status cm_parameters_load(cm_context *context, const char *path, cm_parameters **parameters, cm_error **error)
{
    if (parameters)
        *parameters = NULL;
    if (!context || !path || !parameters)
        return api_misuse(error, "cm_parameters_load: a null context, path or place for the set");
    MakeCall call = {.path = path};
    return finish(&call, api_run(context, error, load_body, &call), parameters);
}

/* ---- writing ---- */

static double element(const Array *array, int64_t index)
{
    switch (array->type.dtype) {
    case DT_f32:
        return (double)((const float *)array->data)[index];
    case DT_f64:
        return ((const double *)array->data)[index];
    case DT_f16:
        return (double)half_to_float(((const uint16_t *)array->data)[index]);
    case DT_bf16:
        return (double)bfloat_to_float(((const uint16_t *)array->data)[index]);
    case DT_i32:
        return ((const int32_t *)array->data)[index];
    case DT_u32:
        return ((const uint32_t *)array->data)[index];
    case DT_i64:
        return (double)((const int64_t *)array->data)[index];
    case DT_u8:
    case DT_bool:
    case DT_COUNT:
        break;
    }
    return ((const unsigned char *)array->data)[index];
}

static GridOptions grid_options(const Array *array, const cm_save_options *options)
{
    GridOptions grid = {.columns = options->columns, .low = options->low, .high = options->high};
    if (grid.low != 0 || grid.high != 0)
        return grid;
    grid.high = 1;
    for (int64_t i = 0; i < ir_element_count(&array->type) && grid.low == 0; i++) {
        if (element(array, i) < 0)
            grid.low = -1;
    }
    return grid;
}

/* A single picture is a grid of one. */
static const char *write_png(Arena *arena, const char *path, const Array *array, const cm_save_options *options)
{
    Array samples = *array, image;
    if (samples.type.rank == 2) {
        const int64_t dim[] = {1, array->type.dim[0], array->type.dim[1]};
        samples.type = ir_type(array->type.dtype, 3, dim);
    }
    GridOptions grid = grid_options(array, options);
    const char *reason = picture_grid(arena, &samples, &grid, &image);
    return reason ? arena_printf(arena, "%s: %s: %s", path, array->name, reason) : png_write(arena, path, &image);
}

static bool is_points(const Array *array)
{
    return array->type.rank == 2 && array->type.dim[1] == 2;
}

static Series scatter(Arena *arena, const Array *array, const char *name)
{
    int64_t count = array->type.dim[0];
    double *points = arena_array(arena, double, 2 * count);
    for (int64_t i = 0; i < 2 * count; i++)
        points[i] = element(array, i);
    return (Series){.name = name, .x = points, .y = points + 1, .count = count, .stride = 2, .mark = MARK_dots};
}

static const char *write_svg(Arena *arena, const char *path, const Array *array, const cm_save_options *options)
{
    Series series[2];
    Array beneath = {0};
    int count = 0;
    if (!is_points(array))
        return arena_printf(arena, "%s: %s is %s; a scatter plot takes points [N, 2]", path, array->name,
                            array_type_text(arena, &array->type));
    if (options->beneath && api_type_in(options->beneath, &beneath.type) && is_points(&beneath)) {
        beneath.data = options->beneath->data;
        series[count++] = scatter(arena, &beneath, "data");
    }
    series[count] = scatter(arena, array, count ? array->name : NULL);
    Text svg = text_new(arena);
    picture_plot(&svg, series, count + 1, &(PlotOptions){.title = array->name, .equal_axes = true});
    return file_write_atomic(arena, path, svg.data, svg.length);
}

static const Array *choose_array(const cm_parameters *parameters, const cm_save_options *options)
{
    if (options->array)
        return parameters_find(parameters, options->array);
    return parameters->count ? &parameters->arrays[0] : NULL;
}

const char *parameters_write(Arena *arena, const cm_parameters *parameters, const char *path, const cm_save_options *options)
{
    if (ends_with(path, ".safetensors"))
        return safetensors_write(arena, path, parameters->arrays, parameters->count, NULL, 0);
    const Array *array = choose_array(parameters, options);
    if (!array && options->array)
        return arena_printf(arena, "%s: there is no array %s to write", path, options->array);
    if (!array)
        return arena_printf(arena, "%s: there is nothing to write", path);
    if (ends_with(path, ".npy"))
        return npy_write(arena, path, array);
    if (ends_with(path, ".png"))
        return write_png(arena, path, array, options);
    if (ends_with(path, ".svg"))
        return write_svg(arena, path, array, options);
    return arena_printf(arena, "%s: arrays are written to .safetensors, .npy, .png and .svg", path);
}

typedef struct SaveCall {
    const cm_parameters *parameters;
    const char *path;
    cm_save_options options;
} SaveCall;

static cm_status save_body(ApiCall *call, void *parameters)
{
    SaveCall *save = parameters;
    const char *reason = parameters_write(call->arena, save->parameters, save->path, &save->options);
    return reason ? api_fail(call, CM_IO_ERROR, "%s", reason) : CM_OK;
}

cm_status cm_parameters_save(const cm_parameters *parameters, const char *path, const cm_save_options *options,
                             cm_error **error)
{
    if (!parameters || !path)
        return api_misuse(error, "cm_parameters_save: a null set or path");
    SaveCall call = {.parameters = parameters, .path = path};
    API_OPTIONS(call.options, options);
    return api_run(parameters->context, error, save_body, &call);
}
