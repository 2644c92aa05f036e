/* Training: the state of a run and one step of it. */
#include "runtime/api_internal.h"

#include "runtime/checkpoint.h"
#include "runtime/dataset.h"
#include "runtime/problems.h"

#include <math.h>
#include <string.h>
#include <time.h>

/* ---- data ---- */

typedef struct Generator {
    ApiCall *call;
    cm_program *program;
    const cm_compile_options *options;
    cm_status status; /* of what failed, if it was not the program */
} Generator;

static const char *blame(Generator *generator, cm_status status, const char *otherwise)
{
    if (status == CM_DEVICE_ERROR || status == CM_OUT_OF_MEMORY)
        generator->status = status;
    return generator->call->reason ? generator->call->reason : otherwise;
}

/* Data do not depend on the seed of a run: every run and every evaluation sees the same set. */
static const char *generate(void *state, Arena *arena, const DataField *field, Array *out)
{
    Generator *generator = state;
    ApiCall *call = generator->call;
    cm_binding count = {"N", field->count};
    cm_compile_options options = *generator->options;
    options.bindings = &count;
    options.binding_count = 1;
    cm_status status = executable_compile(call, generator->program, field->generator, &options);
    if (status != CM_OK)
        return blame(generator, status, "its generator does not compile");
    cm_executable *executable = call->executable;
    if (executable->output_count != 1)
        return "its generator must give one array";
    *out = array_new(arena, field->name, executable->outputs[0].type);
    cm_array result = {.data = out->data};
    api_type_out(&out->type, &result);
    uint32_t key[2];
    key_from_seed(0, KEY_DATA, key);
    cm_input input = {"key", {.dtype = CM_U32, .rank = 1, .dim = {2}, .data = key}};
    bool draws = executable_find_input(executable, "key") >= 0;
    status = executable_run_named(call, executable, &(cm_run_options){0}, &input, draws, &result, 1);
    api_drop_executable(call);
    return status == CM_OK ? NULL : blame(generator, status, "its generator does not run");
}

cm_status dataset_open_for(ApiCall *call, cm_program *program, const DataSet *declared, const cm_executable *executable,
                           const cm_compile_options *options, Arena *arena, Dataset **dataset)
{
    int inputs = executable ? executable->input_count : 0, count = 0;
    const char **wanted = arena_array(call->arena, const char *, inputs);
    for (int i = 0; i < inputs; i++) {
        if (executable->inputs[i].role == PORT_data)
            wanted[count++] = executable->inputs[i].path;
    }
    Generator generator = {call, program, options, CM_OK};
    DatasetOptions open = {.directory = program->directory,
                           .search_path = call->context->data_path,
                           .wanted = executable ? wanted : NULL,
                           .wanted_count = count,
                           .generate = generate,
                           .state = &generator};
    *dataset = dataset_open(arena, declared, &open, &call->diags);
    if (generator.status)
        return generator.status;
    return *dataset && !call->diags.list.count ? CM_OK : api_blame_program(call);
}

static int field_index(const Dataset *data, const char *name)
{
    for (int i = 0; i < data->fields.count; i++) {
        if (strcmp(data->fields.items[i].name, name) == 0)
            return i;
    }
    return -1;
}

static cm_status open_data(ApiCall *call, cm_training *training, const DataSet *declared)
{
    cm_executable *executable = training->executable;
    training->field = arena_array(training->arena, int, executable->input_count);
    bool wanted = false;
    for (int i = 0; i < executable->input_count; i++) {
        training->field[i] = -1;
        wanted = wanted || executable->inputs[i].role == PORT_data;
    }
    if (!wanted || !declared)
        return CM_OK;
    cm_status status =
        dataset_open_for(call, training->program, declared, executable, &training->options, training->arena, &training->data);
    if (status != CM_OK)
        return status;
    for (int i = 0; i < executable->input_count; i++) {
        if (executable->inputs[i].role == PORT_data)
            training->field[i] = field_index(training->data, executable->inputs[i].path);
    }
    const char *reason = NULL;
    training->reader = batch_reader_new(training->arena, training->data, training->batch, training->seed, &reason);
    return training->reader ? CM_OK : api_fail(call, CM_MISMATCH, "%s: %s", api_place(call, training->entry), reason);
}

/* ---- state ---- */

static bool is_kept(PortRole role)
{
    return role == PORT_parameter || role == PORT_state || role == PORT_ema;
}

/* Where the first value of a kept port comes from: the same name, for an average the weight it averages; null: zeros. */
static const Array *first_value(const cm_parameters *initial, const Port *port)
{
    const Array *found = parameters_find(initial, port->path);
    if (!found && port->role == PORT_ema && strncmp(port->path, "ema.", 4) == 0)
        found = parameters_find(initial, port->path + 4);
    return found;
}

static cm_status make_state(ApiCall *call, cm_training *training)
{
    const cm_executable *executable = training->executable;
    for (int i = 0; i < executable->input_count; i++) {
        const Port *port = &executable->inputs[i];
        if (!is_kept(port->role))
            continue;
        const Array *value = first_value(training->initial, port);
        if (!value && port->role == PORT_parameter)
            return api_fail(call, CM_MISMATCH, "nothing says how weight %s starts", port->path);
        if (value && !ir_type_equal(&value->type, &port->type))
            return api_fail(call, CM_MISMATCH, "%s: expected %s, got %s", port->path, array_type_text(call->arena, &port->type),
                            array_type_text(call->arena, &value->type));
        Array *array = parameters_add(call, training->state, port->path, port->type);
        if (value && array_bytes(array))
            memcpy(array->data, value->data, array_bytes(array));
    }
    return CM_OK;
}

static const Port *weight_port(const cm_executable *executable, const char *path)
{
    int found = executable_find_input(executable, path);
    return found >= 0 && is_kept(executable->inputs[found].role) ? &executable->inputs[found] : NULL;
}

/* Weights may lack some of the run's and hold others, but none may be of another type, and where none fits they are of another
 * model. */
static cm_status check_weights(ApiCall *call, const cm_executable *executable, const cm_parameters *weights)
{
    Problems problems = problems_new(call->arena);
    int used = 0;
    for (int i = 0; i < weights->count; i++) {
        const Array *given = &weights->arrays[i];
        const Port *port = weight_port(executable, given->name);
        used += port != NULL;
        if (port && !ir_type_equal(&port->type, &given->type))
            problems_add(&problems, "wrong type", given->name,
                         arena_printf(call->arena, "is %s there, %s here", array_type_text(call->arena, &given->type),
                                      array_type_text(call->arena, &port->type)));
    }
    if (used && !problems.count)
        return CM_OK;
    for (int i = 0; !used && i < executable->input_count; i++) {
        const Port *port = &executable->inputs[i];
        if (port->role == PORT_parameter)
            problems_add(&problems, "missing", port->path, array_type_text(call->arena, &port->type));
    }
    for (int i = 0; i < weights->count; i++) {
        const Array *given = &weights->arrays[i];
        if (!weight_port(executable, given->name))
            problems_add(&problems, "not used", given->name, array_type_text(call->arena, &given->type));
    }
    const char *what = arena_printf(call->arena, "the weights do not fit %s", executable->entry);
    return problems.count ? api_fail(call, CM_MISMATCH, "%s", problems_text(&problems, what)) : CM_OK;
}

static void tell_what_is_drawn(ApiCall *call, const cm_executable *executable, const cm_parameters *weights)
{
    Problems drawn = problems_new(call->arena);
    for (int i = 0; i < executable->input_count; i++) {
        const Port *port = &executable->inputs[i];
        if (port->role == PORT_parameter && !parameters_find(weights, port->path))
            problems_add(&drawn, "drawn", port->path, array_type_text(call->arena, &port->type));
    }
    if (drawn.count)
        context_log(call->context, "%s", problems_text(&drawn, "the weights lack some, which start from the seed"));
}

static cm_status take_weights(ApiCall *call, cm_training *training, const cm_parameters *weights)
{
    if (!weights)
        return CM_OK;
    cm_status status = check_weights(call, training->executable, weights);
    if (status != CM_OK)
        return status;
    tell_what_is_drawn(call, training->executable, weights);
    for (int i = 0; i < weights->count; i++) {
        const Array *given = &weights->arrays[i];
        Array *copy = parameters_add(call, training->initial, given->name, given->type);
        if (array_bytes(given))
            memcpy(copy->data, given->data, array_bytes(given));
    }
    return CM_OK;
}

struct TurnOut {
    float loss, grad_norm;
    unsigned char finite, taken;
};

/* The turns in the order of the program: "loss.student", or one that has no name. */
static void name_turns(cm_training *training)
{
    const cm_executable *executable = training->executable;
    training->turns = arena_array(training->arena, cm_turn, executable->output_count);
    training->turn_out = arena_array(training->arena, struct TurnOut, executable->output_count);
    for (int i = 0; i < executable->output_count; i++) {
        const Port *port = &executable->outputs[i];
        const char *dot = strchr(port->path, '.');
        if (port->role == PORT_loss)
            training->turns[training->turn_count++].name = dot ? dot + 1 : NULL;
    }
}

static struct TurnOut *turn_of(const cm_training *training, const Port *port)
{
    const char *dot = strchr(port->path, '.');
    int turn = 0;
    while (dot && strcmp(training->turns[turn].name, dot + 1) != 0)
        turn++;
    return &training->turn_out[turn];
}

/* Null: the port says nothing of a turn. */
static void *turn_place(const cm_training *training, const Port *port)
{
    switch (port->role) {
    case PORT_loss:
        return &turn_of(training, port)->loss;
    case PORT_grad_norm:
        return &turn_of(training, port)->grad_norm;
    case PORT_finite:
        return &turn_of(training, port)->finite;
    case PORT_taken:
        return &turn_of(training, port)->taken;
    default:
        return NULL;
    }
}

/* Joins every port to its memory, once for all steps. */
static cm_status join_ports(ApiCall *call, cm_training *training)
{
    const cm_executable *executable = training->executable;
    training->in = arena_array(training->arena, void *, executable->input_count);
    training->out = arena_array(training->arena, void *, executable->output_count);
    for (int i = 0; i < executable->input_count; i++) {
        const Port *port = &executable->inputs[i];
        if (is_kept(port->role))
            training->in[i] = parameters_find(training->state, port->path)->data;
        else if (port->role == PORT_step)
            training->in[i] = &training->step_input;
        else if (port->role == PORT_steps)
            training->in[i] = &training->steps_input;
        else if (port->role == PORT_key)
            training->in[i] = training->key_input;
        else if (port->role != PORT_data || training->field[i] < 0)
            return api_fail(call, CM_INVALID_ARGUMENT, "%s wants an input %s, which no data gives", executable->entry,
                            port_name(port));
    }
    name_turns(training);
    for (int i = 0; i < executable->output_count; i++) {
        const Port *port = &executable->outputs[i];
        void *place = turn_place(training, port);
        if (executable->alias[i] >= 0)
            training->out[i] = training->in[executable->alias[i]];
        else
            training->out[i] = place ? place : array_new(training->arena, NULL, port->type).data;
    }
    return CM_OK;
}

/* ---- life ---- */

void cm_training_free(cm_training *training)
{
    if (!training)
        return;
    batch_reader_free(training->reader);
    cm_parameters_free(training->initial);
    cm_parameters_free(training->state);
    if (training->instance)
        training->executable->backend->discard(training->instance);
    cm_executable_free(training->executable);
    cm_program_free(training->program);
    arena_free(training->arena);
    cm_context *context = training->context;
    api_release(context, training);
    cm_context_free(context);
}

typedef struct CreateCall {
    cm_program *program;
    const char *entry;
    cm_training_options options;
    cm_training *training;
} CreateCall;

static cm_status take_run(ApiCall *call, cm_training *training, const cm_training_options *options, const TrainRun **taken)
{
    api_lock(call, &training->program->mutex);
    api_borrow_arena(call, training->program->arena);
    const TrainRun *run = program_train(training->program->program, training->entry);
    api_unlock(call);
    if (!run)
        return call->diags.list.count ? CM_PROGRAM_ERROR
                                      : api_fail(call, CM_PROGRAM_ERROR, "train %s is not complete", training->entry->name);
    *taken = run;
    training->steps = run->steps;
    training->batch = run->batch;
    training->log_every = run->log_every > 0 ? run->log_every : 1;
    training->save_every = run->save_every;
    training->seed = (uint64_t)(options->seed ? *options->seed : run->seed);
    training->steps_input = (int32_t)training->steps;
    training->options = (cm_compile_options){.no_fuse = options->no_fuse,
                                             .memory_limit = options->memory_limit,
                                             .precision = options->precision,
                                             .block_rows = options->block_rows};
    training->options.device =
        options->device ? arena_copy_text(training->arena, options->device, strlen(options->device)) : NULL;
    return CM_OK;
}

static cm_training *training_new(ApiCall *call, cm_program *program)
{
    cm_training *training = api_allocate(call->context, sizeof *training);
    if (!training)
        api_no_memory(call);
    training->context = context_retain(call->context);
    training->program = program_retain(program);
    return training;
}

static cm_status create_body(ApiCall *call, void *parameters)
{
    CreateCall *create = parameters;
    cm_training *training = training_new(call, create->program);
    create->training = training;
    training->arena = arena_new(&call->context->allocator, &call->escape);
    api_borrow_arena(call, training->arena);
    training->initial = parameters_new(call->context);
    training->state = parameters_new(call->context);
    if (!training->initial || !training->state)
        api_no_memory(call);
    const TrainRun *run = NULL;
    cm_status status = program_choose_entry(call, create->program, create->entry, ENTRY_train, &training->entry);
    if (status == CM_OK)
        status = take_run(call, training, &create->options, &run);
    if (status == CM_OK)
        status = executable_compile(call, create->program, training->entry, &training->options);
    if (status != CM_OK)
        return status;
    training->executable = call->executable;
    call->executable = NULL;
    status = take_weights(call, training, create->options.weights);
    if (status == CM_OK)
        status = training_start(call, training, run);
    if (status == CM_OK)
        status = parameters_initialise(call, create->program, training->entry, &training->options, training->seed,
                                       training->initial);
    if (status == CM_OK)
        status = make_state(call, training);
    if (status == CM_OK)
        status = open_data(call, training, run->data);
    if (status == CM_OK)
        status = join_ports(call, training);
    if (status == CM_OK)
        status = training_take_instance(call, training);
    cm_parameters_free(training->initial);
    training->initial = NULL;
    return status;
}

cm_status cm_training_create(cm_program *program, const char *entry, const cm_training_options *options, cm_training **training,
                             cm_error **error)
{
    if (training)
        *training = NULL;
    if (!program || !training)
        return api_misuse(error, "cm_training_create: a null program or place for the training");
    CreateCall call = {.program = program, .entry = entry};
    API_OPTIONS(call.options, options);
    cm_status status = api_run(program->context, error, create_body, &call);
    if (status != CM_OK)
        cm_training_free(call.training);
    *training = status == CM_OK ? call.training : NULL;
    return status;
}

cm_status cm_training_info_get(const cm_training *training, cm_training_info *info)
{
    if (!info)
        return CM_INVALID_ARGUMENT;
    *info = (cm_training_info){0};
    if (!training)
        return CM_INVALID_ARGUMENT;
    *info = (cm_training_info){.name = training->executable->entry,
                               .step = training->step,
                               .steps = training->steps,
                               .batch = training->batch,
                               .samples = training->data ? training->data->samples : 0,
                               .seed = (int64_t)training->seed,
                               .log_every = training->log_every,
                               .save_every = training->save_every,
                               .compile = training->executable->stats};
    for (int i = 0; i < training->executable->input_count; i++) {
        const Port *port = &training->executable->inputs[i];
        int64_t count = ir_element_count(&port->type);
        if (port->role == PORT_parameter)
            info->weight_count += count;
        if (is_kept(port->role))
            info->state_bytes += count * dtype_size(port->type.dtype);
    }
    return CM_OK;
}

/* ---- a step ---- */

void training_place_step(cm_training *training)
{
    uint32_t key[2];
    key_from_seed(training->seed, KEY_TRAIN, key);
    random_fold_in(key, (uint32_t)training->step, training->key_input);
    training->step_input = (int32_t)training->step;
    if (!training->reader)
        return;
    const Array *batch = batch_reader_get(training->reader, training->step);
    for (int i = 0; i < training->executable->input_count; i++) {
        if (training->field[i] >= 0)
            training->in[i] = batch[training->field[i]].data;
    }
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* The first turn that was not finite, or null. */
static const cm_turn *read_turns(cm_training *training, cm_step *step)
{
    const cm_turn *failed = NULL;
    step->finite = 1;
    step->loss = step->grad_norm = NAN;
    for (int i = 0; i < training->turn_count; i++) {
        const struct TurnOut *out = &training->turn_out[i];
        cm_turn *turn = &training->turns[i];
        bool finite = out->finite && isfinite(out->loss) && isfinite(out->grad_norm);
        turn->taken = out->taken;
        turn->loss = (double)out->loss;
        turn->grad_norm = (double)out->grad_norm;
        if (!turn->taken)
            continue;
        step->loss = turn->loss;
        step->grad_norm = turn->grad_norm;
        if (!finite && !failed)
            failed = turn;
    }
    step->finite = !failed;
    return failed;
}

cm_status training_step(ApiCall *call, cm_training *training, cm_step *step)
{
    double start = now();
    for (int i = 0; i < training->turn_count; i++)
        training->turn_out[i] = (struct TurnOut){.finite = 1, .taken = 1};
    training_place_step(training);
    cm_status status = training_run_step(call, training);
    if (status != CM_OK)
        return status;
    *step = (cm_step){.step = training->step, .turns = training->turns, .turn_count = (size_t)training->turn_count};
    const cm_turn *failed = read_turns(training, step);
    step->seconds = now() - start;
    if (failed) {
        status = training_sync(call, training);
        return status == CM_OK ? training_replay(call, training, failed) : status;
    }
    training->step++;
    return CM_OK;
}

typedef struct StepCall {
    cm_training *training;
    cm_step step;
    const char *path;
    cm_parameters *weights;
} StepCall;

static cm_status step_body(ApiCall *call, void *parameters)
{
    StepCall *step = parameters;
    api_borrow_arena(call, step->training->arena);
    return training_step(call, step->training, &step->step);
}

cm_status cm_training_step(cm_training *training, cm_step *step, cm_error **error)
{
    if (step)
        *step = (cm_step){0};
    if (!training)
        return api_misuse(error, "cm_training_step: a null training");
    StepCall call = {.training = training};
    cm_status status = api_run(training->context, error, step_body, &call);
    if (step)
        *step = call.step;
    return status;
}

void cm_training_stop(cm_training *training)
{
    if (training)
        atomic_store(&training->stop, 1);
}

/* ---- saving and loading ---- */

cm_status training_save(ApiCall *call, cm_training *training, const char *path)
{
    cm_status status = training_sync(call, training);
    if (status != CM_OK)
        return status;
    CheckpointInfo info = {
        .step = training->step, .seed = training->seed, .batch = training->batch, .program_hash = training->program->hash};
    const char *reason = checkpoint_save(call->arena, path, &info, training->state->arrays, training->state->count);
    return reason ? api_fail(call, CM_IO_ERROR, "%s", reason) : CM_OK;
}

/* What decides which samples and random numbers follow is looked at before anything is overwritten. */
cm_status training_load(ApiCall *call, cm_training *training, const char *path)
{
    CheckpointInfo info = {0};
    const char *reason = checkpoint_load(call->arena, path, &info, NULL, 0, true);
    if (reason)
        return api_fail(call, CM_IO_ERROR, "%s", reason);
    if (info.seed != training->seed)
        return api_fail(call, CM_MISMATCH, "%s: that run has seed %llu, this one %llu", path, (unsigned long long)info.seed,
                        (unsigned long long)training->seed);
    if (info.batch != training->batch)
        return api_fail(call, CM_MISMATCH, "%s: that run has batches of %lld, this one of %lld", path, (long long)info.batch,
                        (long long)training->batch);
    if (info.step < 0)
        return api_fail(call, CM_IO_ERROR, "%s: a run cannot stand at step %lld", path, (long long)info.step);
    if (info.program_hash != training->program->hash)
        context_log(call->context, "%s was written by another version of the program", path);
    reason = checkpoint_load(call->arena, path, &info, training->state->arrays, training->state->count, false);
    if (reason)
        return api_fail(call, CM_MISMATCH, "%s", reason);
    training_replace_state(training);
    training->step = info.step;
    return CM_OK;
}

static cm_status save_body(ApiCall *call, void *parameters)
{
    StepCall *save = parameters;
    return training_save(call, save->training, save->path);
}

static cm_status load_body(ApiCall *call, void *parameters)
{
    StepCall *load = parameters;
    return training_load(call, load->training, load->path);
}

cm_status cm_training_save(cm_training *training, const char *path, cm_error **error)
{
    if (!training || !path)
        return api_misuse(error, "cm_training_save: a null training or path");
    StepCall call = {.training = training, .path = path};
    return api_run(training->context, error, save_body, &call);
}

cm_status cm_training_load(cm_training *training, const char *path, cm_error **error)
{
    if (!training || !path)
        return api_misuse(error, "cm_training_load: a null training or path");
    StepCall call = {.training = training, .path = path};
    return api_run(training->context, error, load_body, &call);
}

cm_status training_weights(ApiCall *call, cm_training *training, cm_parameters *weights)
{
    const cm_executable *executable = training->executable;
    cm_status status = training_sync(call, training);
    if (status != CM_OK)
        return status;
    for (int i = 0; i < executable->input_count; i++) {
        const Port *port = &executable->inputs[i];
        if (port->role != PORT_parameter)
            continue;
        const Array *average = parameters_find(training->state, arena_printf(call->arena, "ema.%s", port->path));
        const Array *source = average ? average : parameters_find(training->state, port->path);
        Array *copy = parameters_add(call, weights, port->path, source->type);
        if (array_bytes(copy))
            memcpy(copy->data, source->data, array_bytes(copy));
    }
    return CM_OK;
}

static cm_status weights_body(ApiCall *call, void *parameters)
{
    StepCall *get = parameters;
    get->weights = parameters_new(call->context);
    if (!get->weights)
        api_no_memory(call);
    return training_weights(call, get->training, get->weights);
}

cm_status cm_training_weights(cm_training *training, cm_parameters **weights, cm_error **error)
{
    if (weights)
        *weights = NULL;
    if (!training || !weights)
        return api_misuse(error, "cm_training_weights: a null training or place for the weights");
    StepCall call = {.training = training};
    cm_status status = api_run(training->context, error, weights_body, &call);
    if (status != CM_OK)
        cm_parameters_free(call.weights);
    *weights = status == CM_OK ? call.weights : NULL;
    return status;
}
