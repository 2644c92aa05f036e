/* cm_run: joins the caller's arrays, a parameter set and the run's scalars to the ports of an executable. */
#include "runtime/api_internal.h"

#include "runtime/problems.h"

#include <string.h>

typedef struct RunCall {
    cm_executable *executable;
    cm_run_options options;
    const cm_input *inputs;
    size_t input_count;
    cm_array *results;
    size_t result_count;
    void **in, **out;
} RunCall;

/* Whether memory of the caller fits a port. */
static cm_status check_array(ApiCall *call, const char *what, const Port *port, const cm_array *array)
{
    IrType type;
    if (!api_type_in(array, &type))
        return api_fail(call, CM_INVALID_ARGUMENT, "%s %s: the array has no valid type or shape", what, port_name(port));
    if (!ir_type_equal(&type, &port->type))
        return api_fail(call, CM_MISMATCH, "%s %s: expected %s, got %s", what, port_name(port),
                        array_type_text(call->arena, &port->type), array_type_text(call->arena, &type));
    if (!array->data && ir_element_count(&type))
        return api_fail(call, CM_INVALID_ARGUMENT, "%s %s: the array has no data", what, port_name(port));
    if ((uintptr_t)array->data % (uintptr_t)dtype_size(type.dtype))
        return api_fail(call, CM_INVALID_ARGUMENT, "%s %s: the data do not lie at a multiple of %d bytes", what,
                        port_name(port), dtype_size(type.dtype));
    return CM_OK;
}

/* The first input of role argument or data from `first` on that has no memory yet. */
static int next_argument(const RunCall *run, int first)
{
    for (int i = first; i < run->executable->input_count; i++) {
        PortRole role = run->executable->inputs[i].role;
        if ((role == PORT_argument || role == PORT_data) && !run->in[i])
            return i;
    }
    return -1;
}

static cm_status no_such_input(ApiCall *call, const RunCall *run, const char *name)
{
    const cm_executable *executable = run->executable;
    if (!name)
        return api_fail(call, CM_INVALID_ARGUMENT, "%s takes fewer arguments", executable->entry);
    const char **known = arena_array(call->arena, const char *, executable->input_count);
    for (int i = 0; i < executable->input_count; i++)
        known[i] = port_name(&executable->inputs[i]);
    return api_fail(call, CM_INVALID_ARGUMENT, "%s has no input %s%s", executable->entry, name,
                    api_suggestion(call, name, known, executable->input_count));
}

static cm_status place_inputs(ApiCall *call, RunCall *run)
{
    if (run->input_count && !run->inputs)
        return api_fail(call, CM_INVALID_ARGUMENT, "%zu inputs, but none are there", run->input_count);
    for (size_t i = 0; i < run->input_count; i++) {
        const cm_input *input = &run->inputs[i];
        int port = input->name ? executable_find_input(run->executable, input->name) : next_argument(run, 0);
        if (port < 0)
            return no_such_input(call, run, input->name);
        if (run->in[port])
            return api_fail(call, CM_INVALID_ARGUMENT, "input %s is given twice", port_name(&run->executable->inputs[port]));
        cm_status status = check_array(call, "input", &run->executable->inputs[port], &input->array);
        if (status != CM_OK)
            return status;
        run->in[port] = input->array.data ? input->array.data : arena_alloc(call->arena, ARRAY_ALIGNMENT);
    }
    return CM_OK;
}

static void *scalar_i32(ApiCall *call, int64_t value)
{
    int32_t *scalar = arena_new_of(call->arena, int32_t);
    *scalar = value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : (int32_t)value;
    return scalar;
}

static void *run_key(ApiCall *call, int64_t seed)
{
    uint32_t *key = arena_array(call->arena, uint32_t, 2);
    key_from_seed((uint64_t)seed, KEY_RUN, key);
    return key;
}

/* Arrays of the set that no port takes: the likely misspelt ones, where others are missing. */
static void find_unused(ApiCall *call, const RunCall *run, Problems *problems)
{
    const cm_parameters *set = run->options.parameters;
    for (int i = 0; set && i < set->count; i++) {
        if (executable_find_input(run->executable, set->arrays[i].name) < 0)
            problems_add(problems, "not used", set->arrays[i].name, array_type_text(call->arena, &set->arrays[i].type));
    }
}

static void take_from_set(ApiCall *call, RunCall *run, int index, Problems *problems)
{
    const Port *port = &run->executable->inputs[index];
    const cm_parameters *set = run->options.parameters;
    const Array *array = set ? parameters_find(set, port_name(port)) : NULL;
    const char *wanted = array_type_text(call->arena, &port->type);
    if (!array)
        problems_add(problems, arena_printf(call->arena, "missing %s", role_name(port->role)), port_name(port), wanted);
    else if (!ir_type_equal(&array->type, &port->type))
        problems_add(problems, arena_printf(call->arena, "wrong type of %s", role_name(port->role)), port_name(port),
                     arena_printf(call->arena, "is %s there, %s here", array_type_text(call->arena, &array->type), wanted));
    else
        run->in[index] = array->data;
}

static cm_status blame_inputs(ApiCall *call, const RunCall *run, Problems *problems)
{
    const char *entry = run->executable->entry;
    find_unused(call, run, problems);
    return api_fail(call, CM_MISMATCH, "%s",
                    problems_text(problems, arena_printf(call->arena, "the inputs of %s do not fit", entry)));
}

static cm_status fill_inputs(ApiCall *call, RunCall *run)
{
    Problems problems = problems_new(call->arena);
    for (int i = 0; i < run->executable->input_count; i++) {
        PortRole role = run->executable->inputs[i].role;
        if (run->in[i])
            continue;
        if (role == PORT_step)
            run->in[i] = scalar_i32(call, run->options.step);
        else if (role == PORT_steps)
            run->in[i] = scalar_i32(call, run->options.steps);
        else if (role == PORT_key)
            run->in[i] = run_key(call, run->options.seed);
        else
            take_from_set(call, run, i, &problems);
    }
    return problems.count ? blame_inputs(call, run, &problems) : CM_OK;
}

static bool overlap(const void *a, size_t a_size, const void *b, size_t b_size)
{
    uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;
    return a_size && b_size && x < y + b_size && y < x + a_size;
}

static size_t port_bytes(const Port *port)
{
    return (size_t)ir_element_count(&port->type) * (size_t)dtype_size(port->type.dtype);
}

/* Results are written while inputs are still read, so they must lie apart. */
static cm_status check_apart(ApiCall *call, const RunCall *run, int result)
{
    const cm_executable *executable = run->executable;
    const Port *port = &executable->outputs[result];
    for (int i = 0; i < executable->input_count; i++) {
        if (overlap(run->out[result], port_bytes(port), run->in[i], port_bytes(&executable->inputs[i])))
            return api_fail(call, CM_INVALID_ARGUMENT, "result %s lies in the memory of input %s", port_name(port),
                            port_name(&executable->inputs[i]));
    }
    for (int i = 0; i < result; i++) {
        if (overlap(run->out[result], port_bytes(port), run->out[i], port_bytes(&executable->outputs[i])))
            return api_fail(call, CM_INVALID_ARGUMENT, "results %s and %s share memory", port_name(port),
                            port_name(&executable->outputs[i]));
    }
    return CM_OK;
}

static cm_status place_result(ApiCall *call, RunCall *run, int index)
{
    const cm_executable *executable = run->executable;
    const Port *port = &executable->outputs[index];
    cm_array *result = (size_t)index < run->result_count ? &run->results[index] : NULL;
    if (result && !result->dtype)
        api_type_out(&port->type, result);
    if (executable->alias[index] >= 0) {
        run->out[index] = run->in[executable->alias[index]];
        return CM_OK;
    }
    if (!result || !result->data) {
        run->out[index] = array_new(call->arena, NULL, port->type).data;
        return CM_OK;
    }
    cm_status status = check_array(call, "result", port, result);
    if (status != CM_OK)
        return status;
    run->out[index] = result->data;
    return check_apart(call, run, index);
}

static cm_status place_results(ApiCall *call, RunCall *run)
{
    if (run->result_count && !run->results)
        return api_fail(call, CM_INVALID_ARGUMENT, "%zu results, but there is no place for them", run->result_count);
    if (run->result_count > (size_t)run->executable->output_count)
        return api_fail(call, CM_INVALID_ARGUMENT, "%s has %d results, not %zu", run->executable->entry,
                        run->executable->output_count, run->result_count);
    for (int i = 0; i < run->executable->output_count; i++) {
        cm_status status = place_result(call, run, i);
        if (status != CM_OK)
            return status;
    }
    return CM_OK;
}

/* Updated state that the caller wants a copy of. */
static cm_status copy_aliased(ApiCall *call, RunCall *run)
{
    for (size_t i = 0; i < run->result_count; i++) {
        cm_array *result = &run->results[i];
        const Port *port = &run->executable->outputs[i];
        if (run->executable->alias[i] < 0 || !result->data || result->data == run->out[i])
            continue;
        cm_status status = check_array(call, "result", port, result);
        if (status != CM_OK)
            return status;
        memcpy(result->data, run->out[i], port_bytes(port));
    }
    return CM_OK;
}

static cm_status run_body(ApiCall *call, void *parameters)
{
    RunCall *run = parameters;
    run->in = arena_array(call->arena, void *, run->executable->input_count);
    run->out = arena_array(call->arena, void *, run->executable->output_count);
    cm_status status = place_inputs(call, run);
    if (status == CM_OK)
        status = fill_inputs(call, run);
    if (status == CM_OK)
        status = place_results(call, run);
    if (status == CM_OK)
        status = executable_run(call, run->executable, run->in, run->out);
    return status == CM_OK ? copy_aliased(call, run) : status;
}

cm_status executable_run_named(ApiCall *call, cm_executable *executable, const cm_run_options *options, const cm_input *inputs,
                               size_t input_count, cm_array *results, size_t result_count)
{
    RunCall run = {.executable = executable,
                   .options = *options,
                   .inputs = inputs,
                   .input_count = input_count,
                   .results = results,
                   .result_count = result_count};
    return run_body(call, &run);
}

cm_status executable_run_to_set(ApiCall *call, cm_executable *executable, const cm_run_options *options, const cm_input *inputs,
                                size_t input_count, cm_parameters *results)
{
    cm_array *places = arena_array(call->arena, cm_array, executable->output_count);
    for (int i = 0; i < executable->output_count; i++) {
        const Port *port = &executable->outputs[i];
        if (parameters_find(results, port_name(port)))
            continue;
        api_type_out(&port->type, &places[i]);
        places[i].data = parameters_add(call, results, port_name(port), port->type)->data;
    }
    return executable_run_named(call, executable, options, inputs, input_count, places, (size_t)executable->output_count);
}

cm_status cm_run(cm_executable *executable, const cm_run_options *options, const cm_input *inputs, size_t input_count,
                 cm_array *results, size_t result_count, cm_error **error)
{
    if (!executable)
        return api_misuse(error, "cm_run: a null executable");
    RunCall run = {.executable = executable,
                   .inputs = inputs,
                   .input_count = input_count,
                   .results = results,
                   .result_count = result_count};
    API_OPTIONS(run.options, options);
    return api_run(executable->context, error, run_body, &run);
}
