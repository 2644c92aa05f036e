/* Programs: loading with all that they import, their entries, checking and formatting. */
#include "runtime/api_internal.h"

#include "base/file.h"
#include "runtime/std.h"

#include <string.h>

enum { LARGEST_SOURCE = 64 * 1024 * 1024 };

/* ---- reading what is imported ---- */

typedef struct Reader {
    const cm_load_options *options;
    const char *directory;
    uint64_t *hash;
} Reader;

static const StdText *find_std(const char *name)
{
    for (const StdText *text = std_texts; text->name; text++) {
        if (strcmp(text->name, name) == 0)
            return text;
    }
    return NULL;
}

static const char *no_such_module(Arena *arena, const char *path)
{
    LIST(const char *) known = {0};
    for (const StdText *text = std_texts; text->name; text++)
        list_push(arena, &known, text->name);
    const char *near = closest_word(path, known.items, known.count);
    return arena_printf(arena, near ? "the library has no such module; did you mean %s?" : "the library has no such module",
                        near);
}

static const char *read_by_host(const Reader *reader, Arena *arena, const char *path, const char **text, size_t *length)
{
    const char *given = NULL;
    size_t size = 0;
    if (reader->options->read(reader->options->read_state, path, &given, &size) != 0 || (!given && size))
        return arena_printf(arena, "there is no file %s", path);
    *text = arena_copy_text(arena, given ? given : "", size);
    *length = size;
    return NULL;
}

static const char *read_by_system(const Reader *reader, Arena *arena, const char *path, const char **text, size_t *length)
{
    const char *beside = path_join(arena, reader->directory, path);
    Bytes bytes;
    const char *reason = file_read(arena, file_exists(path) ? path : beside, LARGEST_SOURCE, &bytes);
    if (reason)
        return reason;
    *text = (const char *)bytes.data;
    *length = bytes.size;
    return NULL;
}

static const char *read_import(void *state, Arena *arena, const char *path, const char **text, size_t *length)
{
    Reader *reader = state;
    const StdText *embedded = find_std(path);
    const char *reason = NULL;
    if (embedded) {
        *text = embedded->text;
        *length = embedded->length;
    } else if (strncmp(path, "std.", 4) == 0) {
        reason = no_such_module(arena, path);
    } else {
        reason = (reader->options->read ? read_by_host : read_by_system)(reader, arena, path, text, length);
    }
    if (!reason)
        *reader->hash = hash_bytes(*text, *length, *reader->hash);
    return reason;
}

/* ---- signatures, as written ---- */

static bool is_decl_of_entry(const Decl *decl, const Entry *entry)
{
    static const DeclKind kinds[] = {[ENTRY_fn] = DECL_fn,     [ENTRY_loss] = DECL_loss,   [ENTRY_sample] = DECL_sample,
                                     [ENTRY_eval] = DECL_eval, [ENTRY_train] = DECL_train, [ENTRY_init] = DECL_error};
    return decl->kind == kinds[entry->kind] && decl->name && strcmp(decl->name, entry->name) == 0;
}

/* The text from the declaration's first word to its body, without what leads into the body. */
static const char *decl_signature(Arena *arena, const Source *source, const Decl *decl)
{
    const Expr *body = decl->body ? decl->body : decl->value;
    size_t start = decl->span.start, end = body ? body->span.start : decl->span.end;
    if (start > end || end > source->length)
        return "";
    while (end > start && strchr(" \t\r\n={", source->text[end - 1]))
        end--;
    Text text = text_new(arena);
    bool space = false;
    for (size_t i = start; i < end; i++) {
        bool blank = strchr(" \t\r\n", source->text[i]) != NULL;
        if (!blank || !space)
            text_add(&text, blank ? " " : &source->text[i], 1);
        space = blank;
    }
    return text.data;
}

static void find_signatures(cm_program *program, const File *file)
{
    int count = program_entry_count(program->program);
    program->file = file;
    program->signatures = arena_array(program->arena, const char *, count);
    program->decls = arena_array(program->arena, const Decl *, count);
    for (int i = 0; i < count; i++) {
        program->signatures[i] = "";
        for (int k = 0; k < file->decls.count; k++) {
            const Decl *decl = file->decls.items[k];
            if (!is_decl_of_entry(decl, program_entry(program->program, i)))
                continue;
            program->signatures[i] = decl_signature(program->arena, &program->source, decl);
            program->decls[i] = decl;
        }
    }
}

/* ---- loading ---- */

typedef struct LoadCall {
    const char *name, *path, *text;
    size_t length;
    cm_load_options options;
    cm_program *program;
} LoadCall;

static void program_destroy(cm_program *program)
{
    for (int i = 0; i < program->executables.count; i++)
        cm_executable_free(program->executables.items[i]);
    pthread_mutex_destroy(&program->mutex);
    arena_free(program->arena);
    cm_context *context = program->context;
    api_release(context, program);
    cm_context_free(context);
}

void cm_program_free(cm_program *program)
{
    if (program && atomic_fetch_sub(&program->references, 1) == 1)
        program_destroy(program);
}

cm_program *program_retain(cm_program *program)
{
    atomic_fetch_add(&program->references, 1);
    return program;
}

static cm_status take_source(ApiCall *call, LoadCall *load, cm_program *program)
{
    Arena *arena = program->arena;
    if (load->path) {
        Bytes bytes;
        const char *reason = file_read(arena, load->path, LARGEST_SOURCE, &bytes);
        if (reason)
            return api_fail(call, CM_IO_ERROR, "%s", reason);
        program->source = (Source){arena_copy_text(arena, load->path, strlen(load->path)), (char *)bytes.data, bytes.size};
    } else {
        if (load->length > LARGEST_SOURCE)
            return api_fail(call, CM_INVALID_ARGUMENT, "a program of %zu bytes is too large", load->length);
        const char *name = load->name ? load->name : "<text>";
        program->source = (Source){arena_copy_text(arena, name, strlen(name)), arena_copy_text(arena, load->text, load->length),
                                   load->length};
    }
    program->directory = path_directory(arena, program->source.name);
    program->hash = hash_bytes(program->source.text, program->source.length, 0);
    return CM_OK;
}

static cm_status take_settings(ApiCall *call, Arena *arena, const cm_load_options *options, Setting **settings)
{
    if (options->setting_count && !options->settings)
        return api_fail(call, CM_INVALID_ARGUMENT, "%zu settings, but none are there", options->setting_count);
    *settings = arena_array(arena, Setting, options->setting_count);
    for (size_t i = 0; i < options->setting_count; i++) {
        const cm_setting *given = &options->settings[i];
        if (!given->key || !given->value)
            return api_fail(call, CM_INVALID_ARGUMENT, "setting %zu has no key or no value", i);
        (*settings)[i] = (Setting){arena_copy_text(arena, given->key, strlen(given->key)),
                                   arena_copy_text(arena, given->value, strlen(given->value))};
    }
    return CM_OK;
}

static cm_status load_body(ApiCall *call, void *parameters)
{
    LoadCall *load = parameters;
    cm_program *program = api_allocate(call->context, sizeof *program);
    if (!program)
        return api_fail(call, CM_OUT_OF_MEMORY, NULL);
    load->program = program;
    atomic_init(&program->references, 1);
    program->context = context_retain(call->context);
    pthread_mutex_init(&program->mutex, NULL);
    program->arena = arena_new(&call->context->allocator, &call->escape);
    api_borrow_arena(call, program->arena);
    Setting *settings = NULL;
    cm_status status = take_source(call, load, program);
    if (status == CM_OK)
        status = take_settings(call, program->arena, &load->options, &settings);
    if (status != CM_OK)
        return status;
    Reader reader = {&load->options, program->directory, &program->hash};
    ProgramReader program_reader = {read_import, &reader};
    program->program = program_load(program->arena, &program->source, &program_reader, settings,
                                    (int)load->options.setting_count, &call->diags);
    if (!program->program || call->diags.list.count)
        return api_blame_program(call);
    find_signatures(program, parse_file(program->arena, &program->source, &call->diags));
    return CM_OK;
}

static cm_status load(cm_context *context, LoadCall *call, const cm_load_options *options, cm_program **program,
                      cm_error **error)
{
    API_OPTIONS(call->options, options);
    cm_status status = api_run(context, error, load_body, call);
    if (status != CM_OK)
        cm_program_free(call->program);
    *program = status == CM_OK ? call->program : NULL;
    return status;
}

cm_status cm_load_text(cm_context *context, const char *name, const char *text, size_t length, const cm_load_options *options,
                       cm_program **program, cm_error **error)
{
    if (program)
        *program = NULL;
    if (!context || !program || (!text && length))
        return api_misuse(error, "cm_load_text: a null context, text or place for the program");
    LoadCall call = {.name = name, .text = text ? text : "", .length = length};
    return load(context, &call, options, program, error);
}

cm_status cm_load_file(cm_context *context, const char *path, const cm_load_options *options, cm_program **program,
                       cm_error **error)
{
    if (program)
        *program = NULL;
    if (!context || !program || !path)
        return api_misuse(error, "cm_load_file: a null context, path or place for the program");
    LoadCall call = {.path = path};
    return load(context, &call, options, program, error);
}

/* ---- entries ---- */

size_t cm_program_entry_count(const cm_program *program)
{
    return program ? (size_t)program_entry_count(program->program) : 0;
}

_Static_assert((int)CM_ENTRY_FN == (int)ENTRY_fn && (int)CM_ENTRY_LOSS == (int)ENTRY_loss &&
                   (int)CM_ENTRY_SAMPLE == (int)ENTRY_sample && (int)CM_ENTRY_EVAL == (int)ENTRY_eval &&
                   (int)CM_ENTRY_TRAIN == (int)ENTRY_train && (int)CM_ENTRY_INIT == (int)ENTRY_init,
               "the kinds of entries have the same numbers inside and outside");

cm_status cm_program_entry(const cm_program *program, size_t index, cm_entry *out)
{
    if (!out)
        return CM_INVALID_ARGUMENT;
    *out = (cm_entry){0};
    if (index >= cm_program_entry_count(program))
        return CM_INVALID_ARGUMENT;
    const Entry *entry = program_entry(program->program, (int)index);
    *out = (cm_entry){
        .kind = (cm_entry_kind)entry->kind, .name = entry->name, .signature = program->signatures[index], .doc = entry->doc};
    const Decl *decl = program->decls[index];
    for (int i = 0; decl && i < decl->params.count; i++)
        out->argument_count += !decl->params.items[i].initial;
    for (int i = 0; decl && i < decl->generics.count; i++)
        out->axis_count += !decl->generics.items[i].initial;
    if (entry->span.source == &program->source) {
        Position position = span_position(entry->span);
        out->line = position.line;
        out->column = position.column;
    }
    return CM_OK;
}

/* "a sample entry"; -1: of any kind. */
static const char *a_kind(int kind)
{
    static const char *const names[] = {
        [ENTRY_fn] = "a function",      [ENTRY_loss] = "a loss",         [ENTRY_sample] = "a sample entry",
        [ENTRY_eval] = "an eval entry", [ENTRY_train] = "a train block", [ENTRY_init] = "an initialiser"};
    return kind < 0 ? "an entry" : names[kind];
}

static const char *kind_name(int kind)
{
    return strchr(a_kind(kind), ' ') + 1;
}

static bool kind_fits(const Entry *entry, int kind)
{
    return kind < 0 ? entry->kind != ENTRY_init : (int)entry->kind == kind;
}

static cm_status no_such_entry(ApiCall *call, const cm_program *program, const char *name, int kind)
{
    int count = program_entry_count(program->program), known_count = 0;
    const char **known = arena_array(call->arena, const char *, count);
    for (int i = 0; i < count; i++) {
        const Entry *entry = program_entry(program->program, i);
        if (kind_fits(entry, kind))
            known[known_count++] = entry->name;
        if (strcmp(entry->name, name) == 0 && entry->kind != ENTRY_init)
            return api_fail(call, CM_INVALID_ARGUMENT, "%s is %s, but %s is needed here", name, a_kind((int)entry->kind),
                            a_kind(kind));
    }
    return api_fail(call, CM_INVALID_ARGUMENT, "%s has no %s '%s'%s", program->source.name, kind_name(kind), name,
                    api_suggestion(call, name, known, known_count));
}

/* The only entry that fits; if there are several, the message lists them. */
static cm_status choose_only(ApiCall *call, const cm_program *program, int kind, const Entry **chosen)
{
    Text names = text_new(call->arena);
    int count = 0;
    for (int i = 0; i < program_entry_count(program->program); i++) {
        const Entry *entry = program_entry(program->program, i);
        if (!kind_fits(entry, kind))
            continue;
        text_printf(&names, "%s%s", count ? ", " : "", entry->name);
        *chosen = entry;
        count++;
    }
    if (count == 1)
        return CM_OK;
    *chosen = NULL;
    if (!count)
        return api_fail(call, CM_INVALID_ARGUMENT, "%s has no %s", program->source.name, kind_name(kind));
    return api_fail(call, CM_INVALID_ARGUMENT, "%s has more than one %s, name one: %s", program->source.name, kind_name(kind),
                    names.data);
}

cm_status program_choose_entry(ApiCall *call, const cm_program *program, const char *name, int kind, const Entry **chosen)
{
    *chosen = NULL;
    if (!name && kind < 0 && choose_only(call, program, ENTRY_fn, chosen) == CM_OK)
        return CM_OK;
    call->reason = NULL;
    if (!name)
        return choose_only(call, program, kind, chosen);
    for (int i = 0; i < program_entry_count(program->program); i++) {
        const Entry *entry = program_entry(program->program, i);
        if (kind_fits(entry, kind) && strcmp(entry->name, name) == 0) {
            *chosen = entry;
            return CM_OK;
        }
    }
    return no_such_entry(call, program, name, kind);
}

static const DataSet *data_of_training(ApiCall *call, const cm_program *program)
{
    const Entry *train;
    if (program_choose_entry(call, program, NULL, ENTRY_train, &train) != CM_OK) {
        call->reason = NULL;
        return NULL;
    }
    const TrainRun *run = program_train(program->program, train);
    return run ? run->data : NULL;
}

static cm_status no_such_data(ApiCall *call, const cm_program *program, const char *name)
{
    const char **known = arena_array(call->arena, const char *, program->file->decls.count);
    int count = 0;
    for (int i = 0; i < program->file->decls.count; i++) {
        const Decl *decl = program->file->decls.items[i];
        if (decl->kind == DECL_data && decl->name)
            known[count++] = decl->name;
    }
    return api_fail(call, CM_INVALID_ARGUMENT, "%s has no data '%s'%s", program->source.name, name,
                    api_suggestion(call, name, known, count));
}

cm_status program_choose_data(ApiCall *call, cm_program *program, const char *name, const DataSet **data)
{
    api_lock(call, &program->mutex);
    api_borrow_arena(call, program->arena);
    *data = name ? program_data(program->program, name) : data_of_training(call, program);
    api_unlock(call);
    if (*data)
        return CM_OK;
    if (call->diags.list.count)
        return CM_PROGRAM_ERROR;
    if (name)
        return no_such_data(call, program, name);
    return api_fail(call, CM_INVALID_ARGUMENT, "%s has no single train block to take the data from: name the data",
                    program->source.name);
}

/* ---- sizes of axes from arrays ---- */

typedef struct InferCall {
    cm_program *program;
    const char *entry;
    const cm_input *inputs;
    size_t input_count;
    cm_binding *bindings;
    size_t capacity, count;
} InferCall;

static bool is_dim(const cm_program *program, const char *label)
{
    for (int i = 0; i < program->file->decls.count; i++) {
        const Decl *decl = program->file->decls.items[i];
        if (decl->kind == DECL_dim && decl->name && strcmp(decl->name, label) == 0)
            return true;
    }
    return false;
}

static cm_status bind_axis(ApiCall *call, InferCall *infer, const char *axis, int64_t size)
{
    for (size_t i = 0; i < infer->count; i++) {
        if (strcmp(infer->bindings[i].axis, axis) != 0)
            continue;
        if (infer->bindings[i].size == size)
            return CM_OK;
        return api_fail(call, CM_MISMATCH, "axis %s has size %lld in one input and %lld in another", axis,
                        (long long)infer->bindings[i].size, (long long)size);
    }
    if (infer->count == infer->capacity)
        return api_fail(call, CM_INVALID_ARGUMENT, "there is no room for more than %zu bindings", infer->capacity);
    infer->bindings[infer->count++] = (cm_binding){axis, size};
    return CM_OK;
}

/* Axes before `..` count from the left, those behind it from the right. */
static cm_status bind_array(ApiCall *call, InferCall *infer, const Param *param, const cm_array *array)
{
    const TypeExpr *type = param->type;
    int written = type->axes.count, least = 0;
    bool behind = false;
    for (int i = 0; i < written; i++)
        least += !type->axes.items[i].rest;
    if (array->rank < least || (least == written && array->rank > written))
        return api_fail(call, CM_MISMATCH, "input %s takes an array of rank %d%s, but one of rank %d was given", param->name,
                        least, least < written ? " or more" : "", array->rank);
    for (int i = 0; i < written; i++) {
        const AxisExpr *axis = &type->axes.items[i];
        behind = behind || axis->rest;
        int place = behind ? array->rank - written + i : i;
        if (axis->rest || !axis->label || axis->size || place < 0 || place >= array->rank ||
            is_dim(infer->program, axis->label))
            continue;
        cm_status status = bind_axis(call, infer, axis->label, array->dim[place]);
        if (status != CM_OK)
            return status;
    }
    return CM_OK;
}

static const Decl *decl_of(const cm_program *program, const Entry *entry)
{
    for (int i = 0; i < program_entry_count(program->program); i++) {
        if (program_entry(program->program, i) == entry)
            return program->decls[i];
    }
    return NULL;
}

/* Fields of a record are inputs NAME.FIELD; what is not declared (a key, a step) has no axes to find. */
static cm_status check_input_name(ApiCall *call, const Decl *decl, const char *name)
{
    const char **known = arena_array(call->arena, const char *, decl->params.count);
    size_t length = strcspn(name, ".");
    for (int i = 0; i < decl->params.count; i++) {
        known[i] = decl->params.items[i].name;
        if (strncmp(known[i], name, length) == 0 && !known[i][length])
            return CM_OK;
    }
    if (!strcmp(name, "key"))
        return CM_OK;
    return api_fail(call, CM_INVALID_ARGUMENT, "%s has no input %s%s", decl->name, name,
                    api_suggestion(call, name, known, decl->params.count));
}

static cm_status infer_body(ApiCall *call, void *parameters)
{
    InferCall *infer = parameters;
    const Entry *entry;
    cm_status status = program_choose_entry(call, infer->program, infer->entry, -1, &entry);
    if (status != CM_OK)
        return status;
    const Decl *decl = decl_of(infer->program, entry);
    for (size_t i = 0; decl && i < infer->input_count; i++) {
        const cm_input *input = &infer->inputs[i];
        status = input->name ? check_input_name(call, decl, input->name) : CM_OK;
        if (status != CM_OK)
            return status;
        for (int k = 0; k < decl->params.count; k++) {
            const Param *param = &decl->params.items[k];
            bool fits = input->name ? strcmp(param->name, input->name) == 0 : (size_t)k == i;
            if (!fits || !param->type || param->type->kind != TYPE_tensor)
                continue;
            status = bind_array(call, infer, param, &input->array);
            if (status != CM_OK)
                return status;
        }
    }
    return CM_OK;
}

cm_status cm_infer_bindings(cm_program *program, const char *entry, const cm_input *inputs, size_t input_count,
                            cm_binding *bindings, size_t capacity, size_t *count, cm_error **error)
{
    if (count)
        *count = 0;
    if (!program || !count || (!inputs && input_count) || (!bindings && capacity))
        return api_misuse(error, "cm_infer_bindings: a null program, inputs or place for the bindings");
    InferCall call = {program, entry, inputs, input_count, bindings, capacity, 0};
    cm_status status = api_run(program->context, error, infer_body, &call);
    *count = status == CM_OK ? call.count : 0;
    return status;
}

/* ---- elaborating ---- */

static cm_status take_options(ApiCall *call, const cm_compile_options *options, Binding **bindings)
{
    if (options->binding_count && !options->bindings)
        return api_fail(call, CM_INVALID_ARGUMENT, "%zu bindings, but none are there", options->binding_count);
    if ((int)options->precision < CM_PRECISION_PROGRAM || options->precision > CM_PRECISION_FAST)
        return api_fail(call, CM_INVALID_ARGUMENT, "there is no precision %d", (int)options->precision);
    if (options->memory_limit < 0 || options->block_rows < 0)
        return api_fail(call, CM_INVALID_ARGUMENT, "a negative %s", options->memory_limit < 0 ? "memory_limit" : "block_rows");
    *bindings = arena_array(call->arena, Binding, options->binding_count);
    for (size_t i = 0; i < options->binding_count; i++) {
        const cm_binding *given = &options->bindings[i];
        if (!given->axis || given->size < 0)
            return api_fail(call, CM_INVALID_ARGUMENT, "binding %zu has no name or a negative size", i);
        (*bindings)[i] = (Binding){given->axis, given->size};
    }
    return CM_OK;
}

cm_status program_specialise_entry(ApiCall *call, cm_program *program, Arena *arena, const Entry *entry,
                                   const cm_compile_options *options, Specialised **specialised)
{
    Binding *bindings = NULL;
    cm_status status = take_options(call, options, &bindings);
    Entry chosen = *entry;
    if (status == CM_OK && options->data)
        status = program_choose_data(call, program, options->data, &chosen.data);
    if (status != CM_OK)
        return status;
    api_lock(call, &program->mutex);
    api_borrow_arena(call, program->arena);
    *specialised = program_specialise(program->program, arena, &chosen, bindings, (int)options->binding_count, &call->diags);
    api_unlock(call);
    return *specialised && !call->diags.list.count ? CM_OK : api_blame_program(call);
}

/* ---- checking and formatting ---- */

static void check_derivatives(const Specialised *made, DiagSink *diags)
{
    pass_derive(made->module, diags);
}

static cm_status check_body(ApiCall *call, void *parameters)
{
    cm_program *program = parameters;
    api_lock(call, &program->mutex);
    api_borrow_arena(call, program->arena);
    return program_check(program->program, check_derivatives, &call->diags) && !call->diags.list.count
               ? CM_OK
               : api_blame_program(call);
}

cm_status cm_check(cm_program *program, cm_error **error)
{
    if (!program)
        return api_misuse(error, "cm_check: a null program");
    return api_run(program->context, error, check_body, program);
}

typedef struct FormatCall {
    Source source;
    char *formatted;
} FormatCall;

static cm_status format_body(ApiCall *call, void *parameters)
{
    FormatCall *format = parameters;
    Source *source = arena_new_of(call->arena, Source);
    *source = format->source;
    source->text = arena_copy_text(call->arena, source->text, source->length);
    File *file = parse_file(call->arena, source, &call->diags);
    if (call->diags.list.count)
        return api_blame_program(call);
    Text text = text_new(call->arena);
    format_file(file, &text);
    return api_copy_text(call, text.data, text.length, &format->formatted);
}

cm_status cm_format(cm_context *context, const char *name, const char *text, size_t length, char **formatted, cm_error **error)
{
    if (formatted)
        *formatted = NULL;
    if (!context || !formatted || (!text && length) || length > LARGEST_SOURCE)
        return api_misuse(error, "cm_format: a null context or place for the text, or a text that is null or too large");
    FormatCall call = {.source = {name ? name : "<text>", text ? text : "", length}};
    cm_status status = api_run(context, error, format_body, &call);
    *formatted = call.formatted;
    return status;
}
