/* Executables: an entry compiled for its sizes, kept by the program, and the pool of instances that run it. */
#include "runtime/api_internal.h"

#include "base/memory.h"

#include <string.h>
#include <time.h>

/* ---- life ---- */

cm_executable *executable_retain(cm_executable *executable)
{
    atomic_fetch_add(&executable->references, 1);
    return executable;
}

static void executable_destroy(cm_executable *executable)
{
    for (int i = 0; i < executable->idle_count; i++)
        executable->backend->discard(executable->idle[i]);
    if (executable->code)
        executable->backend->release(executable->code);
    cm_context *context = executable->context;
    api_release(context, executable->idle);
    pthread_mutex_destroy(&executable->mutex);
    arena_free(executable->arena);
    api_release(context, executable);
    cm_context_free(context);
}

void cm_executable_free(cm_executable *executable)
{
    if (executable && atomic_fetch_sub(&executable->references, 1) == 1)
        executable_destroy(executable);
}

static cm_executable *executable_new(ApiCall *call)
{
    cm_executable *executable = api_allocate(call->context, sizeof *executable);
    if (!executable)
        return NULL;
    atomic_init(&executable->references, 1);
    executable->context = context_retain(call->context);
    pthread_mutex_init(&executable->mutex, NULL);
    return executable;
}

/* ---- compiling ---- */

static bool is_fast(const cm_program *program, const cm_compile_options *options)
{
    return options->precision ? options->precision == CM_PRECISION_FAST : program_is_fast(program->program);
}

/* Everything that makes two compilations differ. */
static const char *compile_key(ApiCall *call, const cm_program *program, const Entry *entry, const Backend *backend,
                               const cm_compile_options *options)
{
    Text key = text_new(call->arena);
    text_printf(&key, "%d %s %s of %s on %s fuse %d fast %d limit %lld rows %lld", (int)entry->kind, entry->name,
                entry->model ? entry->model : "", options->data ? options->data : "", backend->name, !options->no_fuse,
                is_fast(program, options), (long long)options->memory_limit, (long long)options->block_rows);
    for (size_t i = 0; i < options->binding_count; i++)
        text_printf(&key, " %s=%lld", options->bindings[i].axis, (long long)options->bindings[i].size);
    return key.data;
}

/* Null if absent; the caller gets a reference. */
static cm_executable *find_compiled(ApiCall *call, cm_program *program, const char *key)
{
    cm_executable *found = NULL;
    api_lock(call, &program->mutex);
    for (int i = 0; i < program->executables.count && !found; i++) {
        if (strcmp(program->executables.items[i]->key, key) == 0)
            found = executable_retain(program->executables.items[i]);
    }
    api_unlock(call);
    return found;
}

static void keep_compiled(ApiCall *call, cm_program *program, cm_executable *executable)
{
    api_lock(call, &program->mutex);
    api_borrow_arena(call, program->arena);
    list_push(program->arena, &program->executables, executable);
    executable_retain(executable);
    api_unlock(call);
}

static bool is_kept(PortRole role)
{
    return role == PORT_parameter || role == PORT_state || role == PORT_ema;
}

int *executable_aliases(Arena *arena, const Specialised *specialised)
{
    int *alias = arena_array(arena, int, specialised->outputs.count);
    for (int i = 0; i < specialised->outputs.count; i++) {
        const Port *output = &specialised->outputs.items[i];
        alias[i] = -1;
        for (int k = 0; k < specialised->inputs.count && is_kept(output->role); k++) {
            const Port *input = &specialised->inputs.items[k];
            if (input->role == output->role && strcmp(input->path, output->path) == 0 &&
                ir_type_equal(&input->type, &output->type))
                alias[i] = k;
        }
    }
    return alias;
}

LowerOptions executable_lowering(const cm_program *program, const cm_compile_options *options, const Specialised *specialised,
                                 const int *alias)
{
    return (LowerOptions){.no_fuse = options->no_fuse != 0,
                          .fast = is_fast(program, options),
                          .alias = alias,
                          .memory_limit = options->memory_limit ? options->memory_limit : specialised->memory,
                          .lanes = pool_threads(program->context->pool),
                          .block_rows = options->block_rows};
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Inputs and results; a result that takes over an input's memory counts once. */
static int64_t bytes_of_ports(const cm_executable *executable)
{
    int64_t bytes = 0;
    for (int i = 0; i < executable->input_count; i++)
        bytes += ir_element_count(&executable->inputs[i].type) * dtype_size(executable->inputs[i].type.dtype);
    for (int i = 0; i < executable->output_count; i++) {
        if (executable->alias[i] < 0)
            bytes += ir_element_count(&executable->outputs[i].type) * dtype_size(executable->outputs[i].type.dtype);
    }
    return bytes;
}

/* A run that the system would kill is refused before it begins. */
static cm_status check_memory(ApiCall *call, const cm_executable *executable, const Entry *entry, const Plan *plan)
{
    int64_t ports = bytes_of_ports(executable), available = memory_available();
    if (ports + plan_peak(plan) <= available)
        return CM_OK;
    return api_fail(call, CM_OUT_OF_MEMORY, "%s needs %s of memory, %s for inputs and results and %s in between; %s are free",
                    api_place(call, entry), memory_text(call->arena, ports + plan_peak(plan)), memory_text(call->arena, ports),
                    memory_text(call->arena, plan_peak(plan)), memory_text(call->arena, available));
}

static cm_status lower(ApiCall *call, const cm_program *program, cm_executable *executable, const Entry *entry,
                       const Specialised *specialised, ContextDevice *device, const cm_compile_options *options)
{
    executable->inputs = specialised->inputs.items;
    executable->input_count = specialised->inputs.count;
    executable->outputs = specialised->outputs.items;
    executable->output_count = specialised->outputs.count;
    executable->alias = executable_aliases(executable->arena, specialised);
    PipelineOptions pipeline = {.lower = executable_lowering(program, options, specialised, executable->alias),
                                .stop_after = -1};
    Plan *plan = pipeline_run(specialised->module, specialised->func->name, &pipeline, &call->diags);
    int messages = call->diags.list.count;
    if (!plan && messages && call->diags.list.items[messages - 1].code == DIAG_memory_limit)
        diag_note(&call->diags, entry->span, "'%s' is here", entry->name);
    if (!plan)
        return api_blame_program(call);
    cm_status status = check_memory(call, executable, entry, plan);
    if (status != CM_OK)
        return status;
    CompileStats stats = {0};
    const char *reason = device->backend->compile(executable->arena, device->device, plan, &executable->code, &stats);
    if (reason)
        return api_blame_device(call, executable->entry, reason);
    executable->stats = (cm_compile_stats){.peak_bytes = plan_peak(plan),
                                           .least_bytes = plan->arena_least + plan->lanes * plan->lane_least,
                                           .kernels = stats.kernels,
                                           .compiled = stats.compiled,
                                           .from_cache = stats.from_cache};
    return CM_OK;
}

cm_status executable_compile(ApiCall *call, cm_program *program, const Entry *entry, const cm_compile_options *options)
{
    double start = now();
    ContextDevice *device;
    cm_status status = context_device(call, options->device, &device);
    if (status != CM_OK)
        return status;
    const char *key = compile_key(call, program, entry, device->backend, options);
    call->executable = find_compiled(call, program, key);
    if (call->executable)
        return CM_OK;
    cm_executable *executable = executable_new(call);
    if (!executable)
        return api_fail(call, CM_OUT_OF_MEMORY, NULL);
    call->executable = executable;
    executable->backend = device->backend;
    executable->arena = arena_new(&call->context->allocator, &call->escape);
    executable->key = arena_copy_text(executable->arena, key, strlen(key));
    executable->entry = arena_copy_text(executable->arena, entry->name, strlen(entry->name));
    Specialised *specialised = NULL;
    status = program_specialise_entry(call, program, executable->arena, entry, options, &specialised);
    if (status == CM_OK)
        status = lower(call, program, executable, entry, specialised, device, options);
    if (status != CM_OK)
        return status;
    arena_set_escape(executable->arena, NULL);
    executable->stats.seconds = now() - start;
    keep_compiled(call, program, executable);
    return CM_OK;
}

typedef struct CompileCall {
    cm_program *program;
    const char *entry;
    cm_compile_options options;
    cm_executable *executable;
} CompileCall;

static cm_status compile_body(ApiCall *call, void *parameters)
{
    CompileCall *compile = parameters;
    const Entry *entry;
    cm_status status = program_choose_entry(call, compile->program, compile->entry, -1, &entry);
    if (status == CM_OK)
        status = executable_compile(call, compile->program, entry, &compile->options);
    if (status == CM_OK) {
        compile->executable = call->executable;
        call->executable = NULL;
    }
    return status;
}

cm_status cm_compile(cm_program *program, const char *entry, const cm_compile_options *options, cm_executable **executable,
                     cm_error **error)
{
    if (executable)
        *executable = NULL;
    if (!program || !executable)
        return api_misuse(error, "cm_compile: a null program or place for the executable");
    CompileCall call = {.program = program, .entry = entry};
    API_OPTIONS(call.options, options);
    cm_status status = api_run(program->context, error, compile_body, &call);
    *executable = call.executable;
    return status;
}

/* ---- asking ---- */

cm_status cm_executable_stats(const cm_executable *executable, cm_compile_stats *stats)
{
    if (!stats)
        return CM_INVALID_ARGUMENT;
    *stats = (cm_compile_stats){0};
    if (!executable)
        return CM_INVALID_ARGUMENT;
    *stats = executable->stats;
    return CM_OK;
}

size_t cm_executable_input_count(const cm_executable *executable)
{
    return executable ? (size_t)executable->input_count : 0;
}

size_t cm_executable_output_count(const cm_executable *executable)
{
    return executable ? (size_t)executable->output_count : 0;
}

#define SAME(outside, inside) ((int)CM_ROLE_##outside == (int)PORT_##inside)
_Static_assert(SAME(ARGUMENT, argument) && SAME(PARAMETER, parameter) && SAME(STATE, state) && SAME(EMA, ema) &&
                   SAME(DATA, data) && SAME(STEP, step) && SAME(STEPS, steps) && SAME(KEY, key) && SAME(RESULT, result) &&
                   SAME(LOSS, loss) && SAME(GRAD_NORM, grad_norm) && SAME(FINITE, finite) && SAME(TAKEN, taken),
               "the roles of ports have the same numbers inside and outside");

const char *role_name(PortRole role)
{
    static const char *const names[] = {
        [PORT_argument] = "argument", [PORT_parameter] = "parameter", [PORT_state] = "state",         [PORT_ema] = "average",
        [PORT_data] = "data",         [PORT_step] = "step",           [PORT_steps] = "steps",         [PORT_key] = "key",
        [PORT_result] = "result",     [PORT_loss] = "loss",           [PORT_grad_norm] = "grad_norm", [PORT_finite] = "finite",
        [PORT_taken] = "taken",
    };
    return names[role];
}

const char *port_name(const Port *port)
{
    return port->path ? port->path : role_name(port->role);
}

static cm_status describe_port(const Port *ports, size_t count, size_t index, cm_port *out)
{
    if (!out)
        return CM_INVALID_ARGUMENT;
    *out = (cm_port){0};
    if (index >= count)
        return CM_INVALID_ARGUMENT;
    const Port *port = &ports[index];
    out->role = (cm_role)port->role;
    out->name = port_name(port);
    out->dtype = api_dtype_out(port->type.dtype);
    out->rank = port->type.rank;
    for (int i = 0; i < port->type.rank; i++) {
        out->dim[i] = port->type.dim[i];
        out->label[i] = i < port->labels.count ? port->labels.items[i] : NULL;
    }
    return CM_OK;
}

cm_status cm_executable_input(const cm_executable *executable, size_t index, cm_port *port)
{
    return describe_port(executable ? executable->inputs : NULL, cm_executable_input_count(executable), index, port);
}

cm_status cm_executable_output(const cm_executable *executable, size_t index, cm_port *port)
{
    return describe_port(executable ? executable->outputs : NULL, cm_executable_output_count(executable), index, port);
}

int executable_find_input(const cm_executable *executable, const char *path)
{
    for (int i = 0; i < executable->input_count; i++) {
        if (strcmp(port_name(&executable->inputs[i]), path) == 0)
            return i;
    }
    return -1;
}

/* ---- instances ---- */

cm_status executable_take_instance(ApiCall *call, cm_executable *executable)
{
    pthread_mutex_lock(&executable->mutex);
    Instance *instance = executable->idle_count ? executable->idle[--executable->idle_count] : NULL;
    pthread_mutex_unlock(&executable->mutex);
    if (!instance) {
        const char *reason = executable->backend->instantiate(call->arena, executable->code, &instance);
        if (reason)
            return api_fail(call, CM_OUT_OF_MEMORY, "%s needs %lld bytes to run: %s", executable->entry,
                            (long long)executable->stats.peak_bytes, reason);
    }
    call->instance = instance;
    call->instance_of = executable;
    return CM_OK;
}

/* With the lock held; false if there is no memory for a longer list. */
static bool make_room(cm_executable *executable)
{
    if (executable->idle_count < executable->idle_capacity)
        return true;
    int capacity = executable->idle_capacity ? 2 * executable->idle_capacity : 4;
    Instance **larger = api_allocate(executable->context, (size_t)capacity * sizeof *larger);
    if (!larger)
        return false;
    if (executable->idle_count)
        memcpy(larger, executable->idle, (size_t)executable->idle_count * sizeof *larger);
    api_release(executable->context, executable->idle);
    executable->idle = larger;
    executable->idle_capacity = capacity;
    return true;
}

void api_drop_instance(ApiCall *call)
{
    Instance *instance = call->instance;
    cm_executable *executable = call->instance_of;
    if (!instance)
        return;
    call->instance = NULL;
    pthread_mutex_lock(&executable->mutex);
    bool kept = make_room(executable);
    if (kept)
        executable->idle[executable->idle_count++] = instance;
    pthread_mutex_unlock(&executable->mutex);
    if (!kept)
        executable->backend->discard(instance);
}

void api_drop_executable(ApiCall *call)
{
    cm_executable_free(call->executable);
    call->executable = NULL;
}

cm_status executable_run(ApiCall *call, cm_executable *executable, void *const *inputs, void *const *outputs)
{
    cm_status status = executable_take_instance(call, executable);
    if (status != CM_OK)
        return status;
    const char *reason = executable->backend->run(call->arena, call->instance, inputs, outputs, NULL);
    if (!reason) {
        api_drop_instance(call);
        return CM_OK;
    }
    executable->backend->discard(call->instance); /* who knows in what state it is */
    call->instance = NULL;
    return api_blame_device(call, executable->entry, reason);
}
