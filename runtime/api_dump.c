/* Looking inside: a program after any pass as text, its kernels as generated code, its plan as a picture. */
#include "runtime/api_internal.h"

#include <string.h>

/* Stages of the generated code, behind the passes; the backend makes their text, kernel by kernel. */
static const struct {
    const char *name, *summary;
} stages[] = {
    {"schedule", "how each kernel is tiled, vectorised and shared out"},
    {"llvm", "LLVM IR of each kernel (CPU)"},
    {"asm", "machine code of each kernel (CPU)"},
    {"glsl", "shaders of each kernel (Vulkan)"},
    {"spirv", "the words that they become (Vulkan)"},
};
enum { STAGES = sizeof stages / sizeof *stages };

size_t cm_pass_count(void)
{
    return PASS_COUNT + STAGES;
}

const char *cm_pass_name(size_t index)
{
    if (index >= cm_pass_count())
        return NULL;
    return index < PASS_COUNT ? pass_name((PassId)index) : stages[index - PASS_COUNT].name;
}

const char *cm_pass_summary(size_t index)
{
    if (index >= cm_pass_count())
        return NULL;
    return index < PASS_COUNT ? pass_summary((PassId)index) : stages[index - PASS_COUNT].summary;
}

typedef struct DumpCall {
    cm_program *program;
    const char *entry, *pass;
    bool picture;
    cm_compile_options options;
    char *text;
} DumpCall;

/* Null where `name` is a pass; an unknown word is a failure. */
static cm_status find_stage(ApiCall *call, const char *name, int *stop_after, const char **stage)
{
    const char **known = arena_array(call->arena, const char *, cm_pass_count());
    for (size_t i = 0; i < cm_pass_count(); i++) {
        known[i] = cm_pass_name(i);
        if (strcmp(known[i], name) != 0)
            continue;
        *stop_after = i < PASS_COUNT ? (int)i : -1;
        *stage = i < PASS_COUNT ? NULL : name;
        return CM_OK;
    }
    Text names = text_new(call->arena);
    for (size_t i = 0; i < cm_pass_count(); i++)
        text_printf(&names, "%s%s", i ? ", " : "", known[i]);
    return api_fail(call, CM_INVALID_ARGUMENT, "there is no stage %s%s; there are %s", name,
                    api_suggestion(call, name, known, (int)cm_pass_count()), names.data);
}

static cm_status dump_code(ApiCall *call, const DumpCall *dump, const Plan *plan, const char *stage, Text *text)
{
    ContextDevice *device;
    cm_status status = context_device(call, dump->options.device, &device);
    if (status != CM_OK)
        return status;
    for (int i = 0; i < plan->kernels.count; i++) {
        const char *reason = device->backend->dump(call->arena, device->device, plan->kernels.items[i], stage, text);
        if (reason)
            return api_fail(call, CM_DEVICE_ERROR, "kernel %s: %s", plan->kernels.items[i]->name, reason);
    }
    return CM_OK;
}

static cm_status dump_body(ApiCall *call, void *parameters)
{
    DumpCall *dump = parameters;
    int stop_after = -1;
    const char *stage = NULL;
    const Entry *entry;
    Specialised *specialised;
    cm_status status = dump->picture ? CM_OK : find_stage(call, dump->pass, &stop_after, &stage);
    if (status == CM_OK)
        status = program_choose_entry(call, dump->program, dump->entry, -1, &entry);
    if (status == CM_OK)
        status = program_specialise_entry(call, dump->program, call->arena, entry, &dump->options, &specialised);
    if (status != CM_OK)
        return status;
    Text text = text_new(call->arena);
    const int *alias = executable_aliases(call->arena, specialised);
    PipelineOptions pipeline = {.lower = executable_lowering(dump->program, &dump->options, specialised, alias),
                                .stop_after = stop_after,
                                .dump = stop_after >= 0 ? &text : NULL};
    Plan *plan = pipeline_run(specialised->module, specialised->func->name, &pipeline, &call->diags);
    if (call->diags.list.count || (stop_after < 0 && !plan))
        return api_blame_program(call);
    if (stage)
        status = dump_code(call, dump, plan, stage, &text);
    if (dump->picture)
        plan_draw(plan, &text);
    return status == CM_OK ? api_copy_text(call, text.data, text.length, &dump->text) : status;
}

cm_status cm_dump(cm_program *program, const char *entry, const char *pass, const cm_compile_options *options, char **text,
                  cm_error **error)
{
    if (text)
        *text = NULL;
    if (!program || !pass || !text)
        return api_misuse(error, "cm_dump: a null program, pass or place for the text");
    DumpCall call = {.program = program, .entry = entry, .pass = pass};
    API_OPTIONS(call.options, options);
    cm_status status = api_run(program->context, error, dump_body, &call);
    *text = call.text;
    return status;
}

cm_status cm_dump_svg(cm_program *program, const char *entry, const cm_compile_options *options, char **text, cm_error **error)
{
    if (text)
        *text = NULL;
    if (!program || !text)
        return api_misuse(error, "cm_dump_svg: a null program or place for the text");
    DumpCall call = {.program = program, .entry = entry, .picture = true};
    API_OPTIONS(call.options, options);
    cm_status status = api_run(program->context, error, dump_body, &call);
    *text = call.text;
    return status;
}
