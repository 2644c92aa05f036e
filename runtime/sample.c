/* Sampling and evaluating: an entry compiled and run on weights, once or over a data set. */
#include "runtime/api_internal.h"

#include "runtime/dataset.h"

#include <string.h>

typedef struct SampleCall {
    cm_program *program;
    const char *entry, *data;
    cm_sample_options options;
    cm_compile_options compile;
    cm_parameters *results;
    cm_executable *held; /* dropped at the end if it is still here */
} SampleCall;

static void start(ApiCall *call, SampleCall *sample)
{
    API_OPTIONS(sample->compile, &sample->options.compile);
    sample->results = parameters_new(call->context);
    if (!sample->results)
        api_no_memory(call);
}

static cm_status finish(SampleCall *sample, cm_status status, cm_parameters **results)
{
    cm_executable_free(sample->held);
    if (status != CM_OK)
        cm_parameters_free(sample->results);
    *results = status == CM_OK ? sample->results : NULL;
    return status;
}

static cm_run_options run_options(const SampleCall *sample)
{
    return (cm_run_options){.parameters = sample->options.parameters, .seed = sample->options.seed};
}

/* ---- sampling ---- */

/* By name a function, too. */
static cm_status choose_sample(ApiCall *call, const SampleCall *sample, const Entry **entry)
{
    if (sample->entry && program_choose_entry(call, sample->program, sample->entry, ENTRY_fn, entry) == CM_OK)
        return CM_OK;
    call->reason = NULL;
    return program_choose_entry(call, sample->program, sample->entry, ENTRY_sample, entry);
}

static cm_status sample_body(ApiCall *call, void *parameters)
{
    SampleCall *sample = parameters;
    const Entry *entry;
    start(call, sample);
    cm_status status = choose_sample(call, sample, &entry);
    if (status == CM_OK)
        status = executable_compile(call, sample->program, entry, &sample->compile);
    if (status != CM_OK)
        return status;
    cm_run_options run = run_options(sample);
    return executable_run_to_set(call, call->executable, &run, sample->options.inputs, sample->options.input_count,
                                 sample->results);
}

cm_status cm_sample(cm_program *program, const char *entry, const cm_sample_options *options, cm_parameters **results,
                    cm_error **error)
{
    if (results)
        *results = NULL;
    if (!program || !results)
        return api_misuse(error, "cm_sample: a null program or place for the results");
    SampleCall call = {.program = program, .entry = entry};
    API_OPTIONS(call.options, options);
    return finish(&call, api_run(program->context, error, sample_body, &call), results);
}

/* ---- evaluating ---- */

static const Port *first_data_port(const cm_executable *executable)
{
    for (int i = 0; i < executable->input_count; i++) {
        if (executable->inputs[i].role == PORT_data)
            return &executable->inputs[i];
    }
    return NULL;
}

static double read_number(const IrType *type, const void *data, int64_t index, Arena *arena)
{
    EvalTensor tensor = eval_tensor_new(arena, ir_scalar(type->dtype));
    eval_tensor_read(&tensor, (const char *)data + index * dtype_size(type->dtype));
    return dtype_class(type->dtype) == CLASS_int ? (double)tensor.integer[0] : tensor.real[0];
}

/* Adds the results of one batch, times its number of samples. */
static void add_results(ApiCall *call, SampleCall *sample, const cm_executable *executable, const cm_array *results,
                        double weight)
{
    for (int i = 0; i < executable->output_count; i++) {
        const Port *port = &executable->outputs[i];
        Array *sum = parameters_find(sample->results, port_name(port));
        if (!sum)
            sum = parameters_add(call, sample->results, port_name(port), ir_with_dtype(port->type, DT_f64));
        for (int64_t k = 0; k < ir_element_count(&port->type); k++)
            ((double *)sum->data)[k] += weight * read_number(&port->type, results[i].data, k, call->arena);
    }
}

static cm_status run_batch(ApiCall *call, SampleCall *sample, const Dataset *data, int64_t first, int64_t count, int64_t batch)
{
    const cm_executable *executable = call->executable;
    cm_input *inputs = arena_array(call->arena, cm_input, sample->options.input_count + executable->input_count + 1);
    size_t given = sample->options.input_count;
    if (given)
        memcpy(inputs, sample->options.inputs, given * sizeof *inputs);
    for (int i = 0; data && i < executable->input_count; i++) {
        const Port *port = &executable->inputs[i];
        const Array *field = port->role == PORT_data ? array_find(data->fields.items, data->fields.count, port->path) : NULL;
        if (!field)
            continue;
        size_t sample_bytes = array_bytes(field) / (size_t)data->samples;
        inputs[given].name = port->path;
        api_type_out(&port->type, &inputs[given].array);
        inputs[given++].array.data = (char *)field->data + (size_t)first * sample_bytes;
    }
    uint32_t key[2], batch_key[2];
    key_from_seed((uint64_t)sample->options.seed, KEY_RUN, key);
    random_fold_in(key, (uint32_t)batch, batch_key);
    if (executable_find_input(executable, "key") >= 0)
        inputs[given++] = (cm_input){"key", {.dtype = CM_U32, .rank = 1, .dim = {2}, .data = batch_key}};
    cm_array *results = arena_array(call->arena, cm_array, executable->output_count);
    for (int i = 0; i < executable->output_count; i++) {
        api_type_out(&executable->outputs[i].type, &results[i]);
        results[i].data = array_new(call->arena, NULL, executable->outputs[i].type).data;
    }
    cm_run_options run = run_options(sample);
    cm_status status =
        executable_run_named(call, call->executable, &run, inputs, given, results, (size_t)executable->output_count);
    if (status == CM_OK)
        add_results(call, sample, executable, results, (double)count);
    return status;
}

/* The rest of the samples, fewer than a batch, in an executable of their own size. */
static cm_status compile_rest(ApiCall *call, SampleCall *sample, const Entry *entry, const char *axis, int64_t rest)
{
    size_t count = sample->compile.binding_count;
    cm_binding *bindings = arena_array(call->arena, cm_binding, count + 1);
    for (size_t i = 0; i < count; i++)
        bindings[i] = sample->compile.bindings[i];
    size_t place = 0;
    while (place < count && strcmp(bindings[place].axis, axis) != 0)
        place++;
    bindings[place] = (cm_binding){arena_copy_text(call->arena, axis, strlen(axis)), rest};
    cm_compile_options options = sample->compile;
    options.bindings = bindings;
    options.binding_count = place < count ? count : count + 1;
    api_drop_executable(call);
    return executable_compile(call, sample->program, entry, &options);
}

static cm_status evaluate_data(ApiCall *call, SampleCall *sample, const Entry *entry, const Dataset *data)
{
    const Port *port = first_data_port(call->executable);
    int64_t batch = port->type.rank ? port->type.dim[0] : 1, number = 0, first = 0;
    const char *axis =
        port->labels.count ? arena_copy_text(call->arena, port->labels.items[0], strlen(port->labels.items[0])) : "B";
    for (; first + batch <= data->samples; first += batch) {
        ArenaMark mark = arena_mark(call->arena);
        cm_status status = run_batch(call, sample, data, first, batch, number++);
        if (status != CM_OK)
            return status;
        arena_rewind(call->arena, mark);
    }
    if (first == data->samples)
        return CM_OK;
    cm_status status = compile_rest(call, sample, entry, axis, data->samples - first);
    return status == CM_OK ? run_batch(call, sample, data, first, data->samples - first, number) : status;
}

static cm_status evaluate_body(ApiCall *call, void *parameters)
{
    SampleCall *sample = parameters;
    const Entry *entry;
    start(call, sample);
    if (sample->data)
        sample->compile.data = sample->data;
    cm_status status = program_choose_entry(call, sample->program, sample->entry, ENTRY_eval, &entry);
    if (status == CM_OK)
        status = executable_compile(call, sample->program, entry, &sample->compile);
    if (status != CM_OK)
        return status;
    if (!first_data_port(call->executable))
        return run_batch(call, sample, NULL, 0, 1, 0);
    cm_executable *executable = sample->held = call->executable;
    call->executable = NULL; /* generators of the data use its place */
    const DataSet *declared;
    Dataset *data = NULL;
    status = program_choose_data(call, sample->program, sample->compile.data, &declared);
    if (status == CM_OK)
        status = dataset_open_for(call, sample->program, declared, executable, &sample->compile, call->arena, &data);
    api_drop_executable(call);
    call->executable = executable;
    sample->held = NULL;
    if (status == CM_OK)
        status = evaluate_data(call, sample, entry, data);
    for (int i = 0; status == CM_OK && i < sample->results->count; i++) {
        const Array *sum = &sample->results->arrays[i];
        for (int64_t k = 0; k < ir_element_count(&sum->type); k++)
            ((double *)sum->data)[k] /= (double)data->samples;
    }
    return status;
}

cm_status cm_evaluate(cm_program *program, const char *entry, const char *data, const cm_sample_options *options,
                      cm_parameters **results, cm_error **error)
{
    if (results)
        *results = NULL;
    if (!program || !results)
        return api_misuse(error, "cm_evaluate: a null program or place for the results");
    SampleCall call = {.program = program, .entry = entry, .data = data};
    API_OPTIONS(call.options, options);
    return finish(&call, api_run(program->context, error, evaluate_body, &call), results);
}
