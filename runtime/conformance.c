/* Conformance: the functions of std.conformance on a device, against the reference interpreter. */
#include "runtime/api_internal.h"

#include "runtime/std.h"

#include <math.h>
#include <string.h>

static const char MODULE[] = "std.conformance";

typedef struct CheckCall {
    cm_program *program;
    const char *device;
    void (*tell)(void *state, const cm_device_trial *trial);
    void *state;
    int tried, failed;
} CheckCall;

static void tell_trial(CheckCall *check, const cm_device_trial *trial)
{
    check->tried += !trial->skipped;
    check->failed += !trial->agrees && !trial->skipped;
    if (check->tell)
        check->tell(check->state, trial);
}

/* ---- one function ---- */

typedef struct TrialCall {
    CheckCall *check;
    const char *entry;
} TrialCall;

/* How far a float may be off, relative to the largest of its array: some units in the last place, and what sums lose. */
static double tolerance(DType dtype)
{
    switch (dtype) {
    case DT_f64:
        return 1e-12;
    case DT_f32:
        return 4e-6;
    case DT_f16:
        return 2e-3;
    case DT_bf16:
        return 1.6e-2;
    default:
        return 0;
    }
}

static double element(const EvalTensor *tensor, int64_t i)
{
    return tensor->integer ? (double)tensor->integer[i] : tensor->real[i];
}

/* NaN agrees with NaN, an infinity with the same one. */
static cm_device_trial compare(const EvalTensor *got, const EvalTensor *wanted)
{
    double largest = 0, error = 0, most = tolerance(wanted->type.dtype);
    for (int64_t i = 0; i < ir_element_count(&wanted->type); i++) {
        double x = element(got, i), y = element(wanted, i);
        bool same = x == y || (isnan(x) && isnan(y));
        largest = isfinite(y) ? fmax(largest, fabs(y)) : largest;
        error = same ? error : isfinite(x - y) ? fmax(error, fabs(x - y)) : (double)INFINITY;
    }
    error = error == 0 ? 0 : largest > 0 ? error / largest : (double)INFINITY;
    return (cm_device_trial){.agrees = error <= most, .error = error, .most = most};
}

/* Inputs are the key that draws follow from: that of seed 0, as cm_run makes it. */
static EvalTensor *reference(ApiCall *call, const Specialised *specialised)
{
    pass_inline(specialised->module);
    const IrFunc *func = ir_func_find(specialised->module, specialised->func->name);
    EvalTensor *args = arena_array(call->arena, EvalTensor, specialised->inputs.count + 1);
    EvalTensor *results = arena_array(call->arena, EvalTensor, specialised->outputs.count + 1);
    uint32_t key[2];
    key_from_seed(0, KEY_RUN, key);
    for (int i = 0; i < specialised->inputs.count; i++) {
        args[i] = eval_tensor_new(call->arena, specialised->inputs.items[i].type);
        if (specialised->inputs.items[i].role == PORT_key)
            eval_tensor_read(&args[i], key);
    }
    return ir_eval(call->arena, func, EVAL_declared, args, results) ? results : NULL;
}

static cm_status run_on_device(ApiCall *call, const TrialCall *trial, const cm_compile_options *options, const Entry *entry,
                               cm_array *results)
{
    cm_status status = executable_compile(call, trial->check->program, entry, options);
    if (status != CM_OK)
        return status;
    cm_executable *executable = call->executable;
    for (int i = 0; i < executable->output_count; i++) {
        api_type_out(&executable->outputs[i].type, &results[i]);
        results[i].data = array_new(call->arena, NULL, executable->outputs[i].type).data;
    }
    return executable_run_named(call, executable, &(cm_run_options){0}, NULL, 0, results, (size_t)executable->output_count);
}

/* A type that the function computes with and the device does not; or DT_COUNT. */
static DType lacking(const ContextDevice *device, const IrModule *module)
{
    for (int i = 0; i < module->funcs.count; i++)
        for (IrRef ref = 0; ref < module->funcs.items[i]->nodes.count; ref++) {
            DType dtype = ir_node(module->funcs.items[i], ref)->type.dtype;
            if (device->backend->computes && !device->backend->computes(device->device, dtype))
                return dtype;
        }
    return DT_COUNT;
}

static cm_status skip(ApiCall *call, const TrialCall *trial, DType dtype)
{
    const char *reason = arena_printf(call->arena, "the device does not compute with %s", dtype_name(dtype));
    tell_trial(trial->check, &(cm_device_trial){.name = trial->entry, .reason = reason, .skipped = 1});
    return CM_OK;
}

static cm_status trial_body(ApiCall *call, void *parameters)
{
    const TrialCall *trial = parameters;
    cm_program *program = trial->check->program;
    cm_compile_options options = {.device = trial->check->device};
    const Entry *entry;
    Specialised *specialised;
    cm_status status = program_choose_entry(call, program, trial->entry, ENTRY_fn, &entry);
    if (status == CM_OK)
        status = program_specialise_entry(call, program, call->arena, entry, &options, &specialised);
    if (status != CM_OK || !pass_derive(specialised->module, &call->diags))
        return CM_PROGRAM_ERROR;
    ContextDevice *device;
    status = context_device(call, trial->check->device, &device);
    if (status != CM_OK)
        return status;
    DType lacks = lacking(device, specialised->module);
    if (lacks != DT_COUNT)
        return skip(call, trial, lacks);
    cm_array *results = arena_array(call->arena, cm_array, specialised->outputs.count + 1);
    status = run_on_device(call, trial, &options, entry, results);
    if (status != CM_OK)
        return status;
    EvalTensor *wanted = reference(call, specialised);
    if (!wanted)
        return api_fail(call, CM_PROGRAM_ERROR, "the interpreter does not run %s", trial->entry);
    for (int i = 0; i < specialised->outputs.count; i++) {
        EvalTensor got = eval_tensor_new(call->arena, wanted[i].type);
        eval_tensor_read(&got, results[i].data);
        cm_device_trial told = compare(&got, &wanted[i]);
        told.name = trial->entry;
        if (specialised->outputs.count > 1)
            told.name = arena_printf(call->arena, "%s.%s", trial->entry, specialised->outputs.items[i].path);
        tell_trial(trial->check, &told);
    }
    return CM_OK;
}

/* ---- all of them ---- */

/* A function that does not run is told as one. */
static void try_entry(CheckCall *check, cm_context *context, const char *name)
{
    cm_error *error = NULL;
    TrialCall trial = {.check = check, .entry = name};
    cm_status status = api_run(context, &error, trial_body, &trial);
    if (status)
        tell_trial(check, &(cm_device_trial){.name = name, .status = status, .reason = cm_error_text(error)});
    cm_error_free(error);
}

static cm_status result_body(ApiCall *call, void *parameters)
{
    const CheckCall *check = parameters;
    if (!check->failed)
        return CM_OK;
    return api_fail(call, CM_DEVICE_ERROR, "%s: %d of %d results of %s could not be had, or differ", check->device,
                    check->failed, check->tried, MODULE);
}

static cm_status load_module(cm_context *context, cm_program **program, cm_error **error)
{
    const StdText *text = std_texts;
    while (text->name && strcmp(text->name, MODULE) != 0)
        text++;
    return cm_load_text(context, MODULE, text->text, text->length, NULL, program, error);
}

/* A device that does not open is told once, not for each function. */
static cm_status open_body(ApiCall *call, void *parameters)
{
    const CheckCall *check = parameters;
    ContextDevice *device;
    return context_device(call, check->device, &device);
}

cm_status cm_device_check(cm_context *context, size_t index, void (*tell)(void *state, const cm_device_trial *trial),
                          void *state, cm_error **error)
{
    CheckCall check = {.device = cm_device_name(context, index), .tell = tell, .state = state};
    if (!check.device)
        return api_misuse(error, "cm_device_check: a null context, or no such device");
    cm_status status = api_run(context, error, open_body, &check);
    if (status == CM_OK)
        status = load_module(context, &check.program, error);
    for (size_t i = 0; status == CM_OK && i < cm_program_entry_count(check.program); i++) {
        cm_entry entry;
        if (cm_program_entry(check.program, i, &entry) == CM_OK && entry.kind == CM_ENTRY_FN)
            try_entry(&check, context, entry.name);
    }
    cm_program_free(check.program);
    return status == CM_OK ? api_run(context, error, result_body, &check) : status;
}
