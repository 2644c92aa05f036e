/* Context: threads, the code cache's place, and the devices, opened at first use. */
#include "runtime/api_internal.h"

#include "base/file.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_THREADS = 1024, LOG_LINE = 1024, LARGE = 256 << 20 };

static const Backend *const backends[] = {
#ifdef CM_BACKEND_CPU
    &backend_cpu,
#endif
#ifdef CM_BACKEND_VULKAN
    &backend_vulkan,
#endif
    NULL,
};

/* The system promises memory that it has not got, and kills who touches it: what is large is compared first. */
static void *system_allocate(void *state, size_t size)
{
    (void)state;
    return size >= LARGE && (int64_t)size > memory_available() ? NULL : malloc(size);
}

static void system_release(void *state, void *memory)
{
    (void)state;
    free(memory);
}

cm_context *context_retain(cm_context *context)
{
    atomic_fetch_add(&context->references, 1);
    return context;
}

static void context_destroy(cm_context *context)
{
    for (int i = 0; i < context->device_count; i++) {
        if (context->devices[i].device)
            context->devices[i].backend->close(context->devices[i].device);
    }
    pool_free(context->pool);
    profile_free(context->profile);
    pthread_mutex_destroy(&context->mutex);
    arena_free(context->arena);
    Allocator allocator = context->allocator;
    allocator.release(allocator.state, context);
}

void cm_context_free(cm_context *context)
{
    if (context && atomic_fetch_sub(&context->references, 1) == 1)
        context_destroy(context);
}

/* Where compiled code is kept; null if there is no place.  Its content is executed, so that nobody else may write there. */
static const char *choose_cache(Arena *arena, const char *wanted)
{
    if (wanted)
        return *wanted ? arena_copy_text(arena, wanted, strlen(wanted)) : NULL;
    const char *set = getenv("CM_CACHE_DIR"), *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (set)
        return *set ? arena_copy_text(arena, set, strlen(set)) : NULL;
    if (base && *base)
        return path_join(arena, base, "cm");
    return home && *home ? path_join(arena, home, ".cache/cm") : NULL;
}

static void prepare_cache(cm_context *context, Arena *scratch, const char *wanted)
{
    const char *path = choose_cache(context->arena, wanted);
    if (!path)
        return;
    const char *reason = file_make_private_directory(scratch, path);
    if (reason)
        context_log(context, "compiled code is not kept: %s", reason);
    else
        context->cache_directory = path;
}

typedef struct CreateCall {
    cm_context_options options;
    cm_context *context;
} CreateCall;

static cm_status create_body(ApiCall *call, void *parameters)
{
    CreateCall *create = parameters;
    const cm_context_options *options = &create->options;
    if (options->threads < 0 || options->threads > MOST_THREADS)
        return api_fail(call, CM_INVALID_ARGUMENT, "threads = %d: it must lie in 0..%d", options->threads, MOST_THREADS);
    if (!options->allocator.allocate != !options->allocator.release)
        return api_fail(call, CM_INVALID_ARGUMENT, "an allocator needs both its functions");
    Allocator allocator = {options->allocator.allocate, options->allocator.release, options->allocator.state};
    if (!allocator.allocate)
        allocator = (Allocator){system_allocate, system_release, NULL};
    cm_context *context = allocator.allocate(allocator.state, sizeof *context);
    if (!context)
        return api_fail(call, CM_OUT_OF_MEMORY, NULL);
    memset(context, 0, sizeof *context);
    create->context = context;
    atomic_init(&context->references, 1);
    context->allocator = allocator;
    pthread_mutex_init(&context->mutex, NULL);
    context->log = options->log;
    context->log_state = options->log_state;
    for (int i = 0; backends[i] && i < CONTEXT_MAX_DEVICES; i++)
        context->devices[context->device_count++].backend = backends[i];
    context->arena = arena_new(&allocator, &call->escape);
    const char *data_path = options->data_path;
    context->data_path = data_path ? arena_copy_text(context->arena, data_path, strlen(data_path)) : NULL;
    prepare_cache(context, call->arena, options->cache_directory);
    context->pool = pool_new(options->threads);
    if (!context->pool)
        return api_fail(call, CM_DEVICE_ERROR, "no threads could be started");
    context->profile = options->profile ? profile_new(&context->allocator) : NULL;
    if (options->profile && !context->profile)
        return api_fail(call, CM_OUT_OF_MEMORY, NULL);
    arena_set_escape(context->arena, NULL);
    return CM_OK;
}

cm_status cm_context_create(const cm_context_options *options, cm_context **context, cm_error **error)
{
    if (!context)
        return api_misuse(error, "cm_context_create: no place for the context");
    CreateCall create = {.context = NULL};
    API_OPTIONS(create.options, options);
    cm_status status = api_run(NULL, error, create_body, &create);
    if (status != CM_OK && create.context)
        context_destroy(create.context);
    *context = status == CM_OK ? create.context : NULL;
    return status;
}

int cm_context_threads(const cm_context *context)
{
    return context ? pool_threads(context->pool) : 0;
}

const char *cm_context_cache_directory(const cm_context *context)
{
    return context ? context->cache_directory : NULL;
}

void context_log(const cm_context *context, const char *format, ...)
{
    if (!context->log)
        return;
    char line[LOG_LINE];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    context->log(context->log_state, line);
}

/* ---- devices ---- */

size_t cm_device_count(const cm_context *context)
{
    return context ? (size_t)context->device_count : 0;
}

const char *cm_device_name(const cm_context *context, size_t index)
{
    return index < cm_device_count(context) ? context->devices[index].backend->name : NULL;
}

static cm_status open_device(ApiCall *call, ContextDevice *device)
{
    cm_context *context = call->context;
    DeviceOptions options = {.pool = context->pool,
                             .cache_directory = context->cache_directory,
                             .allocator = &context->allocator,
                             .log = context->log,
                             .log_state = context->log_state,
                             .profile = context->profile};
    api_lock(call, &context->mutex);
    const char *reason = device->device ? NULL : device->backend->open(call->arena, &options, &device->device);
    api_unlock(call);
    return reason ? api_blame_device(call, device->backend->name, reason) : CM_OK;
}

cm_status context_device(ApiCall *call, const char *name, ContextDevice **device)
{
    cm_context *context = call->context;
    for (int i = 0; i < context->device_count; i++) {
        if (name && strcmp(name, context->devices[i].backend->name) != 0)
            continue;
        *device = &context->devices[i];
        return open_device(call, *device);
    }
    if (!name)
        return api_fail(call, CM_DEVICE_ERROR, "this library was built without a device");
    return api_fail(call, CM_INVALID_ARGUMENT, "there is no device %s", name);
}

typedef struct DescribeCall {
    size_t index;
    char *text;
} DescribeCall;

static cm_status describe_body(ApiCall *call, void *parameters)
{
    DescribeCall *describe = parameters;
    const char *name = cm_device_name(call->context, describe->index);
    if (!name)
        return api_fail(call, CM_INVALID_ARGUMENT, "there is no device number %zu", describe->index);
    ContextDevice *device;
    cm_status status = context_device(call, name, &device);
    if (status != CM_OK)
        return status;
    const char *text = device->backend->describe(device->device, call->arena);
    return api_copy_text(call, text, strlen(text), &describe->text);
}

cm_status cm_device_describe(cm_context *context, size_t index, char **text, cm_error **error)
{
    if (!context || !text)
        return api_misuse(error, "cm_device_describe: a null handle or place for the text");
    DescribeCall describe = {.index = index};
    cm_status status = api_run(context, error, describe_body, &describe);
    *text = describe.text;
    return status;
}

void cm_text_free(cm_context *context, char *text)
{
    if (context)
        api_release(context, text);
}
