/* Entries: functions called from outside, with inputs and outputs that the runtime can name. */
#include "frontend/elaborate.h"

#include <string.h>

/* ---- ports ---- */

static Port make_port(Elab *el, PortRole role, const char *path, IrType type, const Shape *shape)
{
    Port port = {.role = role, .path = path, .type = type};
    for (int i = 0; i < type.rank; i++)
        list_push(el->arena, &port.labels, shape ? shape->axes[i].label->name : "word");
    return port;
}

const Value *entry_input(EntryBuild *build, PortRole role, const char *path, DType dtype, const Shape *shape, Span at)
{
    Elab *el = build->el;
    IrType type = shape_type(shape, dtype);
    IrRef ref = ir_param(emit(el, at), type, *path ? path : "x");
    Port port = make_port(el, role, path, type, shape);
    list_push(el->arena, &build->out->inputs, port);
    return tensor_new(el, ref, shape);
}

/* A key that became a param when something drew has no port yet (add_key_port). */
IrRef entry_find_input(const EntryBuild *build, PortRole role, const char *path)
{
    const IrFunc *func = build->out->func;
    int param = 0;
    for (int i = 0;; i++, param++) {
        const Port *port = &build->out->inputs.items[i];
        param += func->params.items[param] == build->el->root_key;
        if (port->role == role && !strcmp(port->path, path))
            return func->params.items[param];
    }
}

void entry_output(EntryBuild *build, PortRole role, const char *path, const Value *tensor, Span at)
{
    Elab *el = build->el;
    IrRef ref = tensor_ref(el, tensor, at);
    ir_result(el->frame->func, ref, path);
    Port port = make_port(el, role, path, shape_type(&tensor->tensor.shape, tensor->tensor.dtype), &tensor->tensor.shape);
    list_push(el->arena, &build->out->outputs, port);
}

typedef struct PortSource {
    ParamSource base;
    EntryBuild *build;
    PortRole role;
} PortSource;

static const Value *param_port(Elab *el, ParamSource *source, Env *env, const Decl *param, const char *path, const Shape *shape,
                               DType dtype)
{
    (void)el, (void)env;
    PortSource *ports = (PortSource *)source;
    return entry_input(ports->build, ports->role, path, dtype, shape, param->name_span);
}

const Value *entry_instance(EntryBuild *build, const Value *model, PortRole role, const char *set, Span at)
{
    PortSource source = {{.get = param_port}, build, role};
    return model_instantiate(build->el, model, &source.base, set, at);
}

/* ---- sizes of the axes that nobody inside knows ---- */

static bool axis_size(EntryBuild *build, const char *name, const Expr *initial, Span at, Label *label)
{
    Elab *el = build->el;
    int64_t *size = &label->size;
    for (int i = 0; i < build->binding_count; i++) {
        if (!strcmp(build->bindings[i].axis, name)) {
            *size = build->bindings[i].size;
            return want_size(el, value_integer(el->arena, *size), at, arena_printf(el->arena, "the size of the axis %s", name),
                             size);
        }
    }
    const SettingExpr *setting = program_setting(el->program, NULL, name);
    SampleSizes *samples = build->samples;
    if (setting)
        initial = setting->value;
    if (initial && (setting || !samples || !samples->defaults))
        return want_size(el, elab_eval(el, build->border, initial), initial->span, "the size of an axis", size);
    if (samples) {
        *size = samples->first + samples->step * samples->chosen.count;
        label->sampled = true;
        Binding chosen = {name, *size};
        list_push(samples->arena, &samples->chosen, chosen);
        return true;
    }
    elab_error(el, DIAG_axis_unbound, at, "the axis %s needs a size", name);
    elab_note(el, (Span){0}, "give one with --set %s=64, or a default in the declaration: `[%s = 64]`", name, name);
    return false;
}

/* A generic hides a `dim` of its name; an axis of a type may be one. */
static bool border_label(EntryBuild *build, const char *name, const Expr *initial, Span at, bool generic)
{
    Elab *el = build->el;
    if (generic ? env_find(build->border, name, NULL) != NULL : label_existing(el, build->border, name) != NULL)
        return true;
    Label *label = label_new(el, build->border->activation, name, SIZE_UNKNOWN, at);
    env_bind(el, build->border, name, value_axis(el->arena, label, SIZE_UNKNOWN), false, at);
    return axis_size(build, name, initial, at, label);
}

/* `C: 2*B` says its size itself; every other label of a parameter is bound from outside. */
static bool border_type(EntryBuild *build, const TypeExpr *type)
{
    for (int i = 0; type && i < type->axes.count; i++) {
        const AxisExpr *axis = &type->axes.items[i];
        const char *name = axis->rest || (axis->label && axis->size) ? NULL : type_axis_label(axis);
        if (name && !border_label(build, name, NULL, axis->span, false))
            return false;
    }
    for (int i = 0; type && i < type->items.count; i++) {
        if (!border_type(build, type->items.items[i]))
            return false;
    }
    for (int i = 0; type && i < type->fields.count; i++) {
        if (!border_type(build, type->fields.items[i].type))
            return false;
    }
    return true;
}

static bool bind_border(EntryBuild *build, const Decl *decl)
{
    for (int i = 0; i < decl->generics.count; i++) {
        const Generic *generic = &decl->generics.items[i];
        if (!border_label(build, generic->name, generic->initial, generic->span, true))
            return false;
    }
    for (int i = 0; i < decl->params.count; i++) {
        if (!border_type(build, decl->params.items[i].type))
            return false;
    }
    return true;
}

/* ---- arguments ---- */

static const Value *input_of_type(EntryBuild *build, const TypeExpr *type, const char *path, Span at);

static const Value *input_group(EntryBuild *build, const TypeExpr *type, const char *path, Span at)
{
    Elab *el = build->el;
    bool record = type->kind == TYPE_record;
    int count = record ? type->fields.count : type->items.count;
    const Value **items = arena_array(el->arena, const Value *, count + 1);
    const char **names = arena_array(el->arena, const char *, count + 1);
    for (int i = 0; i < count; i++) {
        names[i] = record ? type->fields.items[i].name : arena_printf(el->arena, "%d", i);
        items[i] = input_of_type(build, record ? type->fields.items[i].type : type->items.items[i],
                                 arena_printf(el->arena, "%s.%s", path, names[i]), at);
    }
    return value_group(el->arena, record ? VALUE_record : VALUE_tuple, count, items, record ? names : NULL);
}

static const Value *input_of_type(EntryBuild *build, const TypeExpr *type, const char *path, Span at)
{
    Elab *el = build->el;
    Shape shape;
    DType dtype = DT_f32; /* what `float` is where nobody says more */
    switch (type->kind) {
    case TYPE_tensor:
        if ((!type->any_float && !type_dtype(el, type, &dtype)) || !type_shape(el, build->border, type, &shape))
            return &value_poison;
        return entry_input(build, PORT_argument, path, dtype, &shape, at);
    case TYPE_tuple:
    case TYPE_record:
        return input_group(build, type, path, at);
    case TYPE_named: {
        if (!strcmp(type->name, "key")) {
            shape = (Shape){1, {{label_new(el, NULL, "word", 2, at), 2}}};
            return key_value(el, key_given(el, entry_input(build, PORT_argument, path, DT_u32, &shape, at)));
        }
        const Value *model = model_of_type(el, build->border, type);
        if (!model || is_poison(model))
            return &value_poison;
        return entry_instance(build, model, PORT_parameter, path, at);
    }
    case TYPE_error:
        break;
    }
    return &value_poison;
}

/* The data set whose fields an `eval` may name if nobody chose one: that of a run, else the first. */
static const DataSet *usual_data(const Program *program)
{
    for (int i = 0; i < program->trains.count; i++) {
        if (program->trains.items[i]->data)
            return program->trains.items[i]->data;
    }
    return program->data.count ? program->data.items[0] : NULL;
}

static const Value *input_from_data(EntryBuild *build, const Param *param)
{
    const DataSet *set = build->data;
    const TypeExpr *type = param->type;
    if (!set || !type || type->kind != TYPE_tensor || !type->axes.count)
        return NULL;
    bool named = false;
    for (int i = 0; i < set->fields.count; i++)
        named |= !strcmp(set->fields.items[i].name, param->name);
    const char *label = named ? type_axis_label(&type->axes.items[0]) : NULL;
    Label *batch = label ? label_existing(build->el, build->border, label) : NULL;
    return batch && batch->size >= 0 ? data_batch(build, set, param->name, batch, batch->size) : NULL;
}

static bool entry_arguments(EntryBuild *build, const Decl *decl, Call *call)
{
    Elab *el = build->el;
    call->args = arena_array(el->arena, Argument, decl->params.count + 1);
    for (int i = 0; i < decl->params.count; i++) {
        const Param *param = &decl->params.items[i];
        const SettingExpr *setting = program_setting(el->program, decl->name, param->name);
        const Value *value;
        if (setting) {
            value = elab_eval(el, build->border, setting->value);
        } else if (param->initial) {
            continue; /* its default */
        } else if (!param->type) {
            elab_error(el, DIAG_entry_type, param->span, "`%s` is called from outside, so `%s` needs a type", decl->name,
                       param->name);
            return false;
        } else {
            value = decl->kind == DECL_eval ? input_from_data(build, param) : NULL;
            if (!value)
                value = input_of_type(build, param->type, param->name, param->span);
        }
        if (is_poison(value))
            return false;
        call->args[call->count++] = (Argument){.name = param->name, .value = value, .span = param->span};
    }
    for (int i = 0; i < decl->generics.count; i++) {
        const Value *axis = env_find(build->border, decl->generics.items[i].name, NULL)->value;
        GivenGeneric given = {decl->generics.items[i].name, axis->axis.label, axis->axis.label->size,
                              decl->generics.items[i].span};
        list_push(el->arena, &call->generics, given);
    }
    return true;
}

/* ---- results ---- */

static bool entry_results(EntryBuild *build, const Value *value, PortRole role, Span at)
{
    Elab *el = build->el;
    LeafList parts = {0};
    tree_parts(el, value, "", &parts);
    bool ok = true;
    for (int i = 0; i < parts.count; i++) {
        const Value *part = parts.items[i].value;
        const char *path = *parts.items[i].path ? parts.items[i].path : "result";
        ValueList tensors = {0};
        if (part->kind == VALUE_key)
            tree_tensors(el, part, &tensors);
        Number number;
        if (part->kind == VALUE_axis && !value_as_number(part, &number)) {
            ok = want_number(el, part, at, path, &number);
            continue;
        }
        part = tensors.count ? tensors.items[0] : tensor_default(el, at, part);
        if (part->kind == VALUE_tensor) {
            entry_output(build, role, path, part, at);
        } else if (!is_poison(part)) {
            elab_error(el, DIAG_entry_type, at, "what leaves a program is tensors, but %s is %s", path,
                       value_describe(el->arena, part));
            ok = false;
        } else {
            ok = false;
        }
    }
    if (!parts.count) {
        elab_error(el, DIAG_entry_type, at, "`%s` has no result", build->out->func->name);
        ok = false;
    }
    return ok;
}

static bool function_specialise(EntryBuild *build, const Decl *decl)
{
    Elab *el = build->el;
    const Module *module = el->program->modules.items[0];
    Call call = {.env = build->border, .span = decl->name_span, .name = decl->name};
    const Value *function = module_lookup(el, module, decl->name);
    if (!bind_border(build, decl) || !entry_arguments(build, decl, &call))
        return false;
    const Value *value = call_value(el, function, &call);
    if (is_poison(value) || el->errors)
        return false;
    return entry_results(build, value, PORT_result, decl->name_span);
}

/* ---- initial weights ---- */

static bool init_specialise(EntryBuild *build, const Entry *entry, const Decl *decl)
{
    Elab *el = build->el;
    const Param *param = NULL;
    for (int i = 0; i < decl->params.count; i++) {
        if (!strcmp(decl->params.items[i].name, entry->name))
            param = &decl->params.items[i];
    }
    const Value *model = model_of_type(el, build->border, param->type);
    if (!model || is_poison(model))
        return false;
    const Value *instance = model_initial(el, model, entry->name, param->span);
    if (instance->kind != VALUE_instance || el->errors)
        return false;
    for (int i = 0; i < instance->instance->leaves.count; i++) {
        const ParamLeaf *leaf = &instance->instance->leaves.items[i];
        entry_output(build, PORT_parameter, arena_printf(el->arena, "%s.%s", entry->name, leaf->path), leaf->value,
                     param->span);
    }
    if (!instance->instance->leaves.count)
        elab_error(el, DIAG_entry_type, param->span, "the model of `%s` has no parameters: it is a function", entry->name);
    return !el->errors;
}

/* ---- models that may have no user yet ---- */

/* The model with made-up sizes; null if it needs arguments that nobody can make up. */
static const Value *sample_model(EntryBuild *build, const Decl *decl)
{
    Elab *el = build->el;
    Value *model = arena_copy(el->arena, module_lookup(el, el->program->modules.items[0], decl->name), sizeof *model);
    for (int i = 0; i < decl->params.count; i++) {
        if (!decl->params.items[i].initial)
            return NULL;
    }
    for (int i = 0; i < decl->generics.count; i++) {
        const Generic *axis = &decl->generics.items[i];
        Label *label = label_new(el, build->border->activation, axis->name, SIZE_UNKNOWN, axis->span);
        if (!axis_size(build, axis->name, axis->initial, axis->span, label))
            return &value_poison;
        GivenGeneric given = {axis->name, label, label->size, axis->span};
        list_push(el->arena, &model->model.generics, given);
    }
    model->model.given = true;
    return model;
}

/* A method whose parameters all have types or defaults, on inputs of them. */
static bool check_method(EntryBuild *build, const Value *instance, const Decl *method)
{
    Elab *el = build->el;
    for (int i = 0; i < method->params.count; i++) {
        if (!method->params.items[i].type && !method->params.items[i].initial)
            return true;
    }
    Call call = {.span = method->name_span, .name = method->name};
    call.env = build->border = env_new_body(el, instance->instance->env);
    if (!bind_border(build, method) || !entry_arguments(build, method, &call))
        return false;
    const Value *value = call_value(el, instance_member(el, instance, method->name, method->name_span), &call);
    return !is_poison(value);
}

static bool model_specialise(EntryBuild *build, const Decl *decl)
{
    Elab *el = build->el;
    const Value *model = sample_model(build, decl);
    if (!model || is_poison(model))
        return !model;
    model_initial(el, model, decl->name, decl->name_span);
    const Value *instance = entry_instance(build, model, PORT_parameter, decl->name, decl->name_span);
    bool ok = instance->kind == VALUE_instance;
    for (int i = 0; ok && i < decl->members.count; i++) {
        if (decl->members.items[i]->kind == DECL_fn)
            ok &= check_method(build, instance, decl->members.items[i]);
    }
    return ok && !el->errors;
}

/* ---- one entry ---- */

static void add_key_port(EntryBuild *build)
{
    Elab *el = build->el;
    if (el->root_key < 0)
        return;
    const IrFunc *func = build->out->func;
    Port port = make_port(el, PORT_key, "key", *ir_type_of(func, el->root_key), NULL);
    list_push(el->arena, &build->out->inputs, port);
    for (int i = build->out->inputs.count - 1; i > 0 && func->params.items[i] != el->root_key; i--) {
        build->out->inputs.items[i] = build->out->inputs.items[i - 1]; /* the key became a param when something drew first */
        build->out->inputs.items[i - 1] = port;
    }
}

Specialised *specialise(const Program *program, Arena *arena, const Entry *entry, const Decl *decl, const Binding *bindings,
                        int binding_count, SampleSizes *samples, DiagSink *diags)
{
    int before = diags->list.count + diags->dropped;
    Elab *el = elab_new(arena, program, diags);
    elab_open(el, entry->kind == ENTRY_init ? arena_printf(arena, "init_%s", entry->name) : entry->name);
    EntryBuild build = {.el = el, .bindings = bindings, .binding_count = binding_count, .samples = samples};
    build.data = entry->data ? entry->data : usual_data(program);
    build.out = arena_new_of(arena, Specialised);
    build.out->module = el->module;
    build.out->func = el->root->func;
    build.border = env_new_body(el, elab_module_env(el, program->modules.items[0]));
    bool ok;
    const TrainRun *run = entry->kind == ENTRY_train ? program_train(program, entry) : NULL;
    build.out->memory = run ? run->memory : 0;
    if (entry->kind == ENTRY_train)
        ok = train_specialise(&build, decl);
    else if (entry->kind == ENTRY_init && !strncmp(entry->name, "opt.", 4))
        ok = states_specialise(&build, decl);
    else if (entry->kind == ENTRY_init)
        ok = init_specialise(&build, entry, decl);
    else if (decl->kind == DECL_model)
        ok = model_specialise(&build, decl);
    else
        ok = function_specialise(&build, decl);
    add_key_port(&build);
    elab_close(el);
    return ok && !el->errors && diags->list.count + diags->dropped == before ? build.out : NULL;
}
