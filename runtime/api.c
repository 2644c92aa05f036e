/* The way in and out of the library: guarded calls, error objects, options, element types. */
#include "runtime/api_internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- error objects ---- */

typedef struct ErrorItem {
    cm_diagnostic head;
    struct ErrorItem *notes; /* head.note_count of them */
} ErrorItem;

struct cm_error {
    Arena *arena;
    cm_status status;
    const char *text;
    ErrorItem *items;
    size_t count;
};

const char *cm_version(void)
{
    return CM_VERSION;
}

const char *cm_status_name(cm_status status)
{
    static const char *const names[] = {
        [CM_OK] = "ok",
        [CM_INVALID_ARGUMENT] = "invalid argument",
        [CM_OUT_OF_MEMORY] = "out of memory",
        [CM_PROGRAM_ERROR] = "error in the program",
        [CM_MISMATCH] = "type or shape mismatch",
        [CM_IO_ERROR] = "input or output error",
        [CM_DEVICE_ERROR] = "device error",
        [CM_NOT_FINITE] = "value not finite",
    };
    return (size_t)status < sizeof names / sizeof *names ? names[status] : "unknown status";
}

static void error_place(Arena *arena, cm_diagnostic *out, Span span)
{
    if (!span.source)
        return;
    Position start = span_position(span), end = span_position((Span){span.source, span.end, span.end});
    out->file = arena_copy_text(arena, span.source->name, strlen(span.source->name));
    out->line = start.line;
    out->column = start.column;
    out->end_line = end.line;
    out->end_column = end.column;
}

static ErrorItem error_item(Arena *arena, const Diag *diag)
{
    ErrorItem item = {{.code = diag_code_name(diag->code),
                       .message = arena_copy_text(arena, diag->text, strlen(diag->text)),
                       .lesson = diag_lesson(diag->code),
                       .note_count = (size_t)diag->notes.count},
                      arena_array(arena, ErrorItem, diag->notes.count)};
    error_place(arena, &item.head, diag->span);
    for (int i = 0; i < diag->notes.count; i++) {
        const DiagNote *note = &diag->notes.items[i];
        item.notes[i].head.message = arena_copy_text(arena, note->text, strlen(note->text));
        error_place(arena, &item.notes[i].head, note->span);
    }
    return item;
}

static void error_fill(cm_error *error, const ApiCall *call)
{
    Text text = text_new(error->arena);
    error->count = call->reason ? 1 : (size_t)call->diags.list.count;
    error->items = arena_array(error->arena, ErrorItem, error->count);
    if (call->reason) {
        error->items[0].head.message = arena_copy_text(error->arena, call->reason, strlen(call->reason));
        text_printf(&text, "error: %s\n", call->reason);
    } else {
        for (size_t i = 0; i < error->count; i++)
            error->items[i] = error_item(error->arena, &call->diags.list.items[i]);
        diag_render_all(&call->diags, &text);
    }
    error->text = text.data;
}

/* Null if there is no memory even for the error. */
static cm_error *error_make(const ApiCall *call, cm_status status)
{
    const Allocator *allocator = call->context ? &call->context->allocator : NULL;
    Arena *volatile arena = NULL;
    jmp_buf escape;
    if (setjmp(escape)) {
        arena_free(arena);
        return NULL;
    }
    arena = arena_new(allocator, &escape);
    cm_error *error = arena_new_of(arena, cm_error);
    error->arena = arena;
    error->status = status;
    error_fill(error, call);
    arena_set_escape(arena, NULL);
    return error;
}

void cm_error_free(cm_error *error)
{
    if (error)
        arena_free(error->arena);
}

cm_status cm_error_status(const cm_error *error)
{
    return error ? error->status : CM_OK;
}

const char *cm_error_text(const cm_error *error)
{
    return error ? error->text : "";
}

size_t cm_error_count(const cm_error *error)
{
    return error ? error->count : 0;
}

cm_status cm_error_diagnostic(const cm_error *error, size_t index, cm_diagnostic *diagnostic)
{
    if (!diagnostic)
        return CM_INVALID_ARGUMENT;
    *diagnostic = (cm_diagnostic){0};
    if (index >= cm_error_count(error))
        return CM_INVALID_ARGUMENT;
    *diagnostic = error->items[index].head;
    return CM_OK;
}

cm_status cm_error_note(const cm_error *error, size_t index, size_t note, cm_diagnostic *diagnostic)
{
    if (!diagnostic)
        return CM_INVALID_ARGUMENT;
    *diagnostic = (cm_diagnostic){0};
    if (index >= cm_error_count(error) || note >= error->items[index].head.note_count)
        return CM_INVALID_ARGUMENT;
    *diagnostic = error->items[index].notes[note].head;
    return CM_OK;
}

/* ---- calls ---- */

/* setjmp stands alone here: what changes after it lives in the caller's frame. */
static cm_status run_guarded(ApiCall *call, ApiBody *body, void *parameters)
{
    if (setjmp(call->escape))
        return api_fail(call, CM_OUT_OF_MEMORY, NULL);
    call->arena = arena_new(call->context ? &call->context->allocator : NULL, &call->escape);
    call->diags = diag_sink_new(call->arena);
    return body(call, parameters);
}

void api_lock(ApiCall *call, pthread_mutex_t *lock)
{
    pthread_mutex_lock(lock);
    call->lock = lock;
    call->borrowed_before = call->borrowed_count;
}

static void give_back_arenas(ApiCall *call, int until)
{
    while (call->borrowed_count > until)
        arena_set_escape(call->borrowed[--call->borrowed_count], NULL);
}

void api_unlock(ApiCall *call)
{
    if (!call->lock)
        return;
    give_back_arenas(call, call->borrowed_before);
    pthread_mutex_unlock(call->lock);
    call->lock = NULL;
}

cm_status api_run(cm_context *context, cm_error **error, ApiBody *body, void *parameters)
{
    ApiCall call = {.context = context};
    cm_status status = run_guarded(&call, body, parameters);
    api_unlock(&call);
    give_back_arenas(&call, 0);
    api_drop_instance(&call);
    api_drop_executable(&call);
    if (error)
        *error = status == CM_OK ? NULL : error_make(&call, status);
    arena_free(call.arena);
    return status;
}

cm_status api_fail(ApiCall *call, cm_status status, const char *format, ...)
{
    if (!format) { /* no memory to write a reason in */
        call->reason = cm_status_name(status);
        return status;
    }
    va_list args;
    va_start(args, format);
    call->reason = arena_vprintf(call->arena, format, args);
    va_end(args);
    return status;
}

const char *api_suggestion(ApiCall *call, const char *word, const char *const *known, int count)
{
    const char *close = closest_word(word, known, count);
    return close ? arena_printf(call->arena, " (did you mean %s?)", close) : "";
}

_Noreturn void api_no_memory(ApiCall *call)
{
    longjmp(call->escape, 1);
}

static cm_status misuse_body(ApiCall *call, void *parameters)
{
    const char *reason = parameters;
    return api_fail(call, CM_INVALID_ARGUMENT, "%s", reason);
}

cm_status api_misuse(cm_error **error, const char *reason)
{
    return api_run(NULL, error, misuse_body, (void *)reason);
}

cm_status api_copy_text(ApiCall *call, const char *text, size_t length, char **copy)
{
    *copy = api_allocate(call->context, length + 1);
    if (!*copy)
        return api_fail(call, CM_OUT_OF_MEMORY, NULL);
    memcpy(*copy, text, length);
    return CM_OK;
}

cm_status api_blame_device(ApiCall *call, const char *what, const char *reason)
{
    bool memory = strstr(reason, "not enough memory") != NULL;
    return api_fail(call, memory ? CM_OUT_OF_MEMORY : CM_DEVICE_ERROR, "%s: %s", what, reason);
}

const char *api_place(ApiCall *call, const Entry *entry)
{
    if (!entry->span.source)
        return entry->name;
    return arena_printf(call->arena, "%s:%d: %s", entry->span.source->name, span_position(entry->span).line, entry->name);
}

cm_status api_blame_program(ApiCall *call)
{
    return call->diags.list.count
               ? CM_PROGRAM_ERROR
               : api_fail(call, CM_PROGRAM_ERROR, "the program was refused without a reason (a fault of cm)");
}

void api_borrow_arena(ApiCall *call, Arena *arena)
{
    arena_set_escape(arena, &call->escape);
    if (call->borrowed_count < API_MAX_BORROWED)
        call->borrowed[call->borrowed_count++] = arena;
}

void api_read_options(void *out, size_t whole, size_t first_version, const void *options)
{
    memset(out, 0, whole);
    if (!options)
        return;
    size_t given;
    memcpy(&given, options, sizeof given);
    if (!given)
        given = first_version;
    memcpy(out, options, given < whole ? given : whole);
}

/* ---- memory ---- */

void *api_allocate(cm_context *context, size_t size)
{
    void *memory = context->allocator.allocate(context->allocator.state, size ? size : 1);
    return memory ? memset(memory, 0, size ? size : 1) : NULL;
}

void api_release(cm_context *context, void *memory)
{
    if (memory)
        context->allocator.release(context->allocator.state, memory);
}

/* The address that the allocator gave lies right before the aligned block. */
void *api_allocate_aligned(cm_context *context, size_t size)
{
    size_t extra = ARRAY_ALIGNMENT + sizeof(void *);
    if (size > PTRDIFF_MAX - extra)
        return NULL;
    unsigned char *memory = api_allocate(context, size + extra);
    if (!memory)
        return NULL;
    uintptr_t place = ((uintptr_t)memory + extra) / ARRAY_ALIGNMENT * ARRAY_ALIGNMENT;
    memcpy((unsigned char *)place - sizeof(void *), &memory, sizeof memory);
    return (void *)place;
}

void api_release_aligned(cm_context *context, void *memory)
{
    if (!memory)
        return;
    void *given;
    memcpy(&given, (unsigned char *)memory - sizeof given, sizeof given);
    api_release(context, given);
}

/* ---- element types ---- */

static const struct {
    cm_dtype outside;
    DType inside;
} dtypes[] = {
    {CM_F32, DT_f32}, {CM_F64, DT_f64}, {CM_F16, DT_f16}, {CM_BF16, DT_bf16}, {CM_I32, DT_i32},
    {CM_U32, DT_u32}, {CM_U8, DT_u8},   {CM_I64, DT_i64}, {CM_BOOL, DT_bool},
};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };
_Static_assert(DTYPES == (int)DT_COUNT, "every element type has a name outside");

bool api_dtype_in(cm_dtype dtype, DType *out)
{
    for (int i = 0; i < DTYPES; i++) {
        if (dtypes[i].outside == dtype) {
            *out = dtypes[i].inside;
            return true;
        }
    }
    return false;
}

cm_dtype api_dtype_out(DType dtype)
{
    for (int i = 0; i < DTYPES; i++) {
        if (dtypes[i].inside == dtype)
            return dtypes[i].outside;
    }
    return (cm_dtype)0;
}

bool api_type_in(const cm_array *array, IrType *type)
{
    DType dtype;
    size_t bytes;
    if (!array || !api_dtype_in(array->dtype, &dtype) || array->rank < 0 || array->rank > CM_MAX_RANK)
        return false;
    *type = ir_type(dtype, array->rank, array->dim);
    return array_byte_size(type, &bytes);
}

void api_type_out(const IrType *type, cm_array *array)
{
    array->dtype = api_dtype_out(type->dtype);
    array->rank = type->rank;
    for (int i = 0; i < CM_MAX_RANK; i++)
        array->dim[i] = i < type->rank ? type->dim[i] : 0;
}

const char *cm_dtype_name(cm_dtype dtype)
{
    DType inside;
    return api_dtype_in(dtype, &inside) ? dtype_name(inside) : NULL;
}

size_t cm_dtype_bytes(cm_dtype dtype)
{
    DType inside;
    return api_dtype_in(dtype, &inside) ? (size_t)dtype_size(inside) : 0;
}

size_t cm_array_bytes(const cm_array *array)
{
    IrType type;
    size_t bytes;
    return api_type_in(array, &type) && array_byte_size(&type, &bytes) ? bytes : 0;
}

/* ---- random keys ---- */

void key_from_seed(uint64_t seed, uint32_t purpose, uint32_t key[2])
{
    const uint32_t whole[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    random_fold_in(whole, purpose, key);
}
