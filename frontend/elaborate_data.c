/* Data sets: where fields come from, and their batches inside a compiled step. */
#include "frontend/builtins.h"

#include <string.h>

/* ---- sources ---- */

static const Value *make_source(Elab *el, Call *call, SourceKind kind)
{
    Value *value = arena_new_of(el->arena, Value);
    value->kind = VALUE_source;
    value->source.kind = kind;
    const char **slots[2] = {&value->source.path, &value->source.member};
    for (int i = 0; i < positional_count(call); i++) {
        const Value *text = arg_value(el, call, i);
        if (is_poison(text))
            return text;
        if (text->kind != VALUE_string)
            return elab_error(el, DIAG_type_mismatch, positional(call, i)->span, "`%s` takes a string in quotes, not %s",
                              call->name, value_describe(el->arena, text));
        *slots[i] = text->text;
    }
    if (!el->data)
        return elab_error(el, DIAG_data_source, call->span, "`%s` reads a file, so it stands in a `data` declaration only",
                          call->name);
    return value;
}

const Value *builtin_source_idx(Elab *el, Call *call)
{
    return make_source(el, call, DATA_idx);
}

const Value *builtin_source_npy(Elab *el, Call *call)
{
    return make_source(el, call, DATA_npy);
}

const Value *builtin_source_npz(Elab *el, Call *call)
{
    return make_source(el, call, DATA_npz);
}

const Value *builtin_source_safetensors(Elab *el, Call *call)
{
    return make_source(el, call, DATA_safetensors);
}

const Value *builtin_source_png_folder(Elab *el, Call *call)
{
    return make_source(el, call, DATA_png_folder);
}

/* The batch of the field as an input, with the batch's label in place of the sample axis. */
static const Value *batch_input(Elab *el, DataHook *hook, const Shape *sample, DType dtype, Span at)
{
    hook->found = true;
    if (!hook->build)
        return &value_poison; /* nothing more to learn */
    Shape shape = {1, {{hook->batch, hook->batch_size}}};
    for (int i = 0; i < sample->rank; i++) {
        if (!shape_push(el, &shape, sample->axes[i], at))
            return &value_poison;
    }
    return entry_input(hook->build, PORT_data, hook->field->name, dtype, &shape, at);
}

static bool sample_shape(Elab *el, Env *env, const TypeExpr *type, Shape *sample)
{
    *sample = (Shape){0};
    if (!type->axes.count || type->axes.items[0].rest) {
        elab_error(el, DIAG_data_source, type->span,
                   "the type of a data field names its axes, the samples first: `u8[N, H, W]`");
        return false;
    }
    for (int i = 1; i < type->axes.count; i++) {
        Axis axis;
        if (!type_axis(el, env, &type->axes.items[i], &axis) || !shape_push(el, sample, axis, type->axes.items[i].span))
            return false;
        if (axis.size < 0) {
            elab_error(el, DIAG_size_unknown, type->axes.items[i].span, "the size of the axis %s is not known here",
                       axis.label->name);
            elab_note(el, (Span){0}, "write it: `%s: 28`, or declare `dim %s = 28`", axis.label->name, axis.label->name);
            return false;
        }
    }
    return shape_check(el, sample, type->span);
}

const Value *data_source(Elab *el, Env *env, const Value *source, const TypeExpr *type, Span at)
{
    DataHook *hook = el->data;
    DType dtype;
    Shape sample;
    if (type->kind != TYPE_tensor || !type_dtype(el, type, &dtype) || !sample_shape(el, env, type, &sample))
        return &value_poison;
    if (!hook->build) {
        DataField *field = hook->field;
        field->source = source->source.kind;
        field->path = source->source.path;
        field->member = source->source.member;
        field->type = shape_type(&sample, dtype);
    }
    return batch_input(el, hook, &sample, dtype, at);
}

/* ---- generated data ---- */

static const Entry *generator_entry(const Program *program, const Decl *decl)
{
    for (int i = 0; i < program->entries.count; i++) {
        if (program->entry_decls.items[i] == decl && program->entries.items[i].kind != ENTRY_init)
            return &program->entries.items[i];
    }
    return NULL;
}

/* Elaborates the generator once for its type; the labels of its result are found again by name in the step. */
static bool describe_generator(Elab *el, const Decl *decl, const Entry *entry, int64_t count, Span at, Specialised **made)
{
    Binding binding = {"N", count};
    bool has_count = false;
    for (int i = 0; i < decl->generics.count; i++)
        has_count |= !strcmp(decl->generics.items[i].name, "N");
    if (!has_count) {
        elab_error(el, DIAG_data_source, at, "the generator `%s` needs an axis parameter N: `fn %s[N]()`", decl->name,
                   decl->name);
        return false;
    }
    *made = specialise(el->program, el->arena, entry, decl, &binding, 1, NULL, el->diags);
    if (!*made) {
        el->errors++;
        return false;
    }
    for (int i = 0; i < (*made)->inputs.count; i++) {
        const Port *input = &(*made)->inputs.items[i];
        if (input->role == PORT_key)
            continue;
        elab_error(el, DIAG_data_source, at, "the generator `%s` wants `%s`, but nothing can be given to it", decl->name,
                   input->path);
        return false;
    }
    const IrType *type = &(*made)->outputs.items[0].type;
    if ((*made)->outputs.count == 1 && type->rank >= 1 && type->dim[0] == count)
        return true;
    elab_error(el, DIAG_data_source, at, "the generator `%s` must give one tensor whose first axis is N", decl->name);
    return false;
}

const Value *builtin_source_generate(Elab *el, Call *call)
{
    DataHook *hook = el->data;
    const Value *given = named_arg(el, call, "N");
    int last = positional_count(call) - 1;
    if (!given && last == 1)
        given = arg_value(el, call, 0);
    const Value *function = arg_value(el, call, last);
    int64_t count;
    if (is_poison(function))
        return function;
    if (!hook)
        return elab_error(el, DIAG_data_source, call->span, "`generate` stands in a `data` declaration only");
    if (!given)
        return elab_error(el, DIAG_arity, call->span, "`generate` needs the number of samples: %s",
                          builtin_find(call->name)->usage);
    if (!want_size(el, given, call->span, "the number of samples", &count))
        return &value_poison;
    const Decl *decl = function->kind == VALUE_function ? function->function.decl : NULL;
    const Entry *entry = decl ? generator_entry(el->program, decl) : NULL;
    Specialised *made;
    if (!entry)
        return elab_error(el, DIAG_data_source, call->span, "`generate` needs a function of this file that takes no arguments");
    if (!describe_generator(el, decl, entry, count, call->span, &made))
        return &value_poison;
    const Port *port = &made->outputs.items[0];
    Shape sample = {0};
    for (int i = 1; i < port->type.rank; i++) {
        Label *label = label_resolve(el, call->env, port->labels.items[i], call->span);
        sample.axes[sample.rank++] = (Axis){label, port->type.dim[i]};
    }
    if (!hook->build) {
        hook->field->source = DATA_generate;
        hook->field->generator = entry;
        hook->field->count = count;
        hook->field->type = shape_type(&sample, port->type.dtype);
    }
    return batch_input(el, hook, &sample, port->type.dtype, call->span);
}

/* ---- declarations ---- */

static bool describe_field(Elab *el, Env *env, const Field *field, DataField *out)
{
    *out = (DataField){.name = field->name, .span = field->span};
    DataHook hook = {.field = out};
    int before = el->errors;
    el->data = &hook;
    const Value *value = elab_eval(el, env, field->value);
    el->data = NULL;
    if (el->errors == before && !hook.found) {
        elab_error(el, DIAG_data_source, field->value->span, "the data field `%s` has no source with a type", field->name);
        elab_note(el, (Span){0},
                  value->kind == VALUE_source ? "say what the file holds: `idx(\"...\") as u8[N, H, W]`"
                                              : "write for instance `idx(\"images.gz\") as u8[N, H, W]`");
    }
    return el->errors == before;
}

/* Where the fields of a set are written: in its declaration, or in that of the module whose set it takes over. */
typedef struct Origin {
    const Decl *decl;
    const Module *module;
} Origin;

static bool find_origin(Elab *el, const Decl *decl, Origin *origin)
{
    *origin = (Origin){decl, el->program->modules.items[0]};
    while (origin->decl->value && origin->decl->value->kind != EXPR_record) {
        const Expr *expr = origin->decl->value;
        bool dotted = expr->kind == EXPR_field;
        const Value *of = dotted ? elab_eval(el, elab_module_env(el, origin->module), expr->a) : &value_poison;
        if (dotted && is_poison(of))
            return false;
        const Decl *found = of->kind == VALUE_module ? table_get(&of->module->decls, expr->name) : NULL;
        if (!found || found->kind != DECL_data) {
            elab_error(el, DIAG_data_source, expr->span, "a data set is fields in braces, or a data set of a module");
            return false;
        }
        *origin = (Origin){found, of->module};
    }
    return origin->decl->value != NULL;
}

bool data_describe(Program *program, const Decl *decl, DataSet *set, DiagSink *diags)
{
    Elab *el = elab_new(program->arena, program, diags);
    *set = (DataSet){.name = decl->name};
    elab_open(el, "data"); /* the pipeline is evaluated for its sources only */
    Origin origin;
    bool ok = find_origin(el, decl, &origin);
    Env *env = env_new_body(el, elab_module_env(el, origin.module));
    for (int i = 0; ok && i < origin.decl->value->fields.count; i++) {
        DataField field;
        ok &= describe_field(el, env, &origin.decl->value->fields.items[i], &field);
        list_push(program->arena, &set->fields, field);
    }
    elab_close(el);
    return ok;
}

const Value *data_batch(EntryBuild *build, const DataSet *set, const char *name, Label *batch, int64_t size)
{
    Elab *el = build->el;
    const Decl *decl = program_find(el->program, DECL_data, set->name);
    Origin origin;
    for (int i = 0; find_origin(el, decl, &origin) && i < set->fields.count; i++) {
        if (strcmp(set->fields.items[i].name, name))
            continue;
        DataHook hook = {.field = &set->fields.items[i], .build = build, .batch = batch, .batch_size = size};
        Env *env = origin.decl == decl ? env_new(el, build->border) : env_new_body(el, elab_module_env(el, origin.module));
        el->data = &hook;
        const Value *value = elab_eval(el, env, origin.decl->value->fields.items[i].value);
        el->data = NULL;
        return value;
    }
    return &value_poison;
}
