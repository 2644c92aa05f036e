/* Models: declarations with their arguments given, instances with parameters, and other values for those parameters. */
#include "frontend/elaborate.h"

#include <string.h>

enum { MOST_MODELS = 60 };

/* ---- a model with its arguments ---- */

const Value *model_call(Elab *el, const Value *model, Call *call)
{
    const Decl *decl = model->model.decl;
    if (model->model.given) {
        if (!call->count && !call->has_items)
            return model;
        return elab_error(el, DIAG_arity, call->span, "the model `%s` has its arguments already", decl->name);
    }
    const Value **values = arena_array(el->arena, const Value *, decl->params.count + 1);
    Span *places = arena_array(el->arena, Span, decl->params.count + 1);
    Value *given = arena_copy(el->arena, model, sizeof *model);
    if (call->generics.count)
        given->model.generics = call->generics;
    given->model.given = true;
    for (int i = 0; i < call->count; i++) {
        if (is_poison(call_arg(el, call, i)))
            return &value_poison;
    }
    Env *scratch = env_new_body(el, model->model.env);
    if (!bind_generics(el, scratch, decl, &given->model.generics, call->span) ||
        !match_arguments(el, scratch, decl->name, &decl->params, call, values, places))
        return &value_poison;
    given->model.args = call->args;
    given->model.arg_count = call->count;
    return given;
}

const Value *model_of_type(Elab *el, Env *env, const TypeExpr *type)
{
    const Module *module = env_module(env);
    const char *name = type->name, *dot = strchr(name, '.');
    while (dot && module) {
        const char *prefix = arena_copy_text(el->arena, name, (size_t)(dot - name));
        const Value *inner = module_lookup(el, module, prefix);
        if (!inner || inner->kind != VALUE_module) {
            elab_error(el, DIAG_unknown_name, type->span, "there is no module `%s`", prefix);
            return NULL;
        }
        module = inner->module;
        name = dot + 1;
        dot = strchr(name, '.');
    }
    const Local *binding = name == type->name ? env_find(env, name, NULL) : NULL;
    const Value *value = binding ? binding->value : module ? module_lookup(el, module, name) : NULL;
    if (value && (value->kind == VALUE_model || is_poison(value)))
        return value;
    elab_error(el, DIAG_unknown_name, type->span, "there is no type or model `%s`", type->name);
    WordList known = {0};
    for (int i = 0; i < DT_COUNT; i++)
        list_push(el->arena, &known, dtype_name((DType)i));
    list_push(el->arena, &known, "key");
    for (int i = 0; module && i < module->decls.count; i++) {
        const Decl *decl = module->decls.entries[i].value;
        if (decl->kind == DECL_model)
            list_push(el->arena, &known, decl->name);
    }
    elab_suggest(el, name, known.items, known.count);
    return NULL;
}

/* ---- instances ---- */

static const Value *method_value(Elab *el, Env *env, const Decl *decl)
{
    Value *value = arena_new_of(el->arena, Value);
    value->kind = VALUE_function;
    value->function = (FunctionValue){.decl = decl, .env = env};
    return value;
}

static const char *joined(Elab *el, const char *path, const char *name)
{
    return *path ? arena_printf(el->arena, "%s.%s", path, name) : name;
}

static void add_leaf(Elab *el, InstanceValue *instance, const char *path, const Value *value)
{
    ParamLeaf leaf = {path, value};
    list_push(el->arena, &instance->leaves, leaf);
}

/* Models in the value of a member become instances, named after their place. */
static const Value *instantiate_in(Elab *el, InstanceValue *owner, const Value *value, ParamSource *source, const char *path,
                                   const char *relative, Span at)
{
    if (value->kind == VALUE_model && value->model.given) {
        const Value *made = model_instantiate(el, value, source, path, at);
        for (int i = 0; made->kind == VALUE_instance && i < made->instance->leaves.count; i++)
            add_leaf(el, owner, joined(el, relative, made->instance->leaves.items[i].path),
                     made->instance->leaves.items[i].value);
        return made;
    }
    if (value->kind != VALUE_tuple && value->kind != VALUE_record && value->kind != VALUE_list)
        return value;
    const Value **items = arena_array(el->arena, const Value *, value->group.count + 1);
    for (int i = 0; i < value->group.count; i++) {
        const char *name = value->group.names ? value->group.names[i] : arena_printf(el->arena, "%d", i);
        items[i] =
            instantiate_in(el, owner, value->group.items[i], source, joined(el, path, name), joined(el, relative, name), at);
    }
    return value_group(el->arena, value->kind, value->group.count, items, value->group.names);
}

static void make_param(Elab *el, InstanceValue *instance, const Decl *decl, ParamSource *source, const char *path)
{
    Shape shape;
    DType dtype;
    const Value *value = &value_poison;
    const char *full = joined(el, path, decl->name);
    if (decl->type && decl->type->kind == TYPE_tensor && type_dtype(el, decl->type, &dtype) &&
        type_shape(el, instance->env, decl->type, &shape))
        value = source->get(el, source, instance->env, decl, full, &shape, dtype);
    else if (!decl->type || decl->type->kind != TYPE_error)
        elab_error(el, DIAG_param_type, decl->span, "the parameter `%s` needs a tensor type with known sizes", decl->name);
    add_leaf(el, instance, decl->name, value);
    env_bind(el, instance->env, decl->name, value, false, decl->name_span);
}

static void make_members(Elab *el, const Decl *decl, InstanceValue *instance, ParamSource *source, const char *path)
{
    for (int i = 0; i < decl->members.count; i++) {
        const Decl *member = decl->members.items[i];
        if (member->kind == DECL_fn)
            env_bind(el, instance->env, member->name, method_value(el, instance->env, member), false, member->name_span);
    }
    for (int i = 0; i < decl->members.count; i++) {
        const Decl *member = decl->members.items[i];
        if (member->kind == DECL_param) {
            make_param(el, instance, member, source, path);
        } else if (member->kind == DECL_let) {
            const Value *value = constant_without_type(el, member, elab_eval(el, instance->env, member->value));
            value = instantiate_in(el, instance, value, source, joined(el, path, member->name), member->name, member->span);
            env_bind(el, instance->env, member->name, value, false, member->name_span);
        }
    }
}

static bool check_sizes(Elab *el, const Decl *decl, const Env *env, Span at)
{
    for (int i = 0; i < decl->generics.count; i++) {
        const char *name = decl->generics.items[i].name;
        const Local *binding = env_find(env, name, NULL);
        if (binding->value->kind != VALUE_axis || binding->value->axis.label->size >= 0)
            continue;
        elab_error(el, DIAG_size_unknown, at, "the model `%s` needs the size of its axis %s", decl->name, name);
        elab_note(el, decl->name_span, "give it in brackets: `%s[%s = 8](...)`, for instance in `model Net = ...`", decl->name,
                  name);
        return false;
    }
    return true;
}

/* What may need the same arguments several times evaluates them once, when the model is called. */
static bool bind_arguments(Elab *el, const ModelValue *model, Env *env, const Env *first, Span at)
{
    const Decl *decl = model->decl;
    const Value **values = arena_array(el->arena, const Value *, decl->params.count + 1);
    Span *places = arena_array(el->arena, Span, decl->params.count + 1);
    Call call = {.env = env, .span = at, .name = decl->name, .count = model->arg_count};
    call.args = model->arg_count ? arena_copy(el->arena, model->args, sizeof(Argument) * (size_t)model->arg_count) : NULL;
    for (int i = 0; first && i < decl->generics.count; i++) {
        const char *name = decl->generics.items[i].name;
        env_bind(el, env, name, env_find(first, name, NULL)->value, false, decl->generics.items[i].span);
    }
    if ((!first && !bind_generics(el, env, decl, &model->generics, at)) || !check_sizes(el, decl, env, at) ||
        !match_arguments(el, env, decl->name, &decl->params, &call, values, places))
        return false;
    for (int i = 0; i < decl->params.count; i++)
        env_bind(el, env, decl->params.items[i].name, values[i], false, decl->params.items[i].span);
    return true;
}

/* The first instance at this place of the tree, or null: then this is the first. */
static const Env *first_of_family(Elab *el, ParamSource *source, const char *path, Env *env)
{
    if (!source->family) {
        source->family = arena_new_of(el->arena, Table);
        *source->family = table_new(el->arena);
    }
    if (!source->root)
        source->root = path;
    const char *place = path + strlen(source->root);
    place += *place == '.';
    const Env *first = table_get(source->family, place);
    if (!first)
        table_put(source->family, place, env);
    return first;
}

const Value *model_instantiate(Elab *el, const Value *model, ParamSource *source, const char *path, Span at)
{
    const Decl *decl = model->model.decl;
    if (el->model_depth >= MOST_MODELS) {
        el->exhausted = true;
        return elab_error(el, DIAG_recursion, at, "models nest deeper than %d: `%s` contains itself", MOST_MODELS, decl->name);
    }
    InstanceValue *instance = arena_new_of(el->arena, InstanceValue);
    instance->model = model;
    instance->env = env_new_body(el, model->model.env);
    const Env *first = first_of_family(el, source, path, instance->env);
    instance->family = source->family;
    if (first)
        instance->env->activation = first->activation;
    if (!bind_arguments(el, &model->model, instance->env, first, at))
        return &value_poison;
    CallLink link = {el->chain, arena_printf(el->arena, "model `%s`", decl->name), decl, at, false};
    el->chain = arena_copy(el->arena, &link, sizeof link);
    el->model_depth++;
    make_members(el, decl, instance, source, path);
    el->model_depth--;
    el->chain = link.parent;
    Value *value = arena_new_of(el->arena, Value);
    value->kind = VALUE_instance;
    value->instance = instance;
    return value;
}

typedef struct ListSource {
    ParamSource base;
    const Value *const *leaves;
    int next;
} ListSource;

static const Value *next_leaf(Elab *el, ParamSource *source, Env *env, const Decl *param, const char *path, const Shape *shape,
                              DType dtype)
{
    (void)el, (void)env, (void)param, (void)path, (void)shape, (void)dtype;
    ListSource *list = (ListSource *)source;
    return list->leaves[list->next++];
}

const Value *model_rebuild(Elab *el, const Value *instance, const Value *const *leaves)
{
    ListSource source = {{next_leaf, instance->instance->family, ""}, leaves, 0};
    return model_instantiate(el, instance->instance->model, &source.base, "", instance->span);
}

const Value *instance_member(Elab *el, const Value *instance, const char *name, Span at)
{
    const Env *env = instance->instance->env;
    const Decl *decl = instance->instance->model->model.decl;
    LIST(const char *) names = {0};
    for (const Local *binding = env->bindings; binding; binding = binding->next) {
        if (!strcmp(binding->name, name))
            return binding->value;
        list_push(el->arena, &names, binding->name);
    }
    if (!strcmp(name, "call"))
        elab_error(el, DIAG_not_callable, at, "the model `%s` has no `fn call`, so an instance of it cannot be called",
                   decl->name);
    else
        elab_error(el, DIAG_unknown_field, at, "the model `%s` has no member `%s`", decl->name, name);
    elab_suggest(el, name, names.items, names.count);
    return &value_poison;
}

/* ---- initial values ---- */

static const Value *fit_initial(Elab *el, Span at, const Value *value, const char *path, const Shape *shape, DType dtype)
{
    Number number;
    if (is_poison(value))
        return value;
    if (value_as_number(value, &number))
        value = tensor_from_number(el, at, value, dtype);
    if (is_poison(value))
        return value;
    if (value->kind != VALUE_tensor)
        return elab_error(el, DIAG_type_mismatch, at, "the initialiser of %s gives %s", path, value_describe(el->arena, value));
    if (value->tensor.dtype != dtype && !value->tensor.weak)
        return elab_error(el, DIAG_dtype_mismatch, at, "the initialiser of %s gives %s, but the parameter is %s", path,
                          value_describe(el->arena, value), dtype_name(dtype));
    Value like = {.kind = VALUE_tensor, .tensor = {.dtype = dtype, .shape = *shape}};
    Shape aligned;
    const Value *pair[2] = {&like, value};
    if (!align_shapes(el, at, path, pair, 2, &aligned))
        return &value_poison;
    if (aligned.rank > shape->rank)
        return elab_error(el, DIAG_axis_align, at, "the initialiser of %s gives more axes than the parameter has: %s", path,
                          value_describe(el->arena, value));
    return tensor_new(el, operand_ref(el, at, value, shape, dtype), shape);
}

const Value *initial_value(Elab *el, Env *env, const Expr *expr, const char *path, const Shape *shape, DType dtype)
{
    InitShape init = {*shape, dtype};
    const InitShape *outer = el->init;
    KeyNode *key = el->key;
    bool drawing = el->drawing;
    el->init = &init;
    el->key = key_child(el, key, path);
    el->drawing = true;
    const Value *value = elab_eval(el, env, expr);
    if (value->kind == VALUE_builtin || value->kind == VALUE_function)
        value = call_with(el, env, expr->span, NULL, value, NULL, 0);
    el->init = outer;
    value = fit_initial(el, expr->span, value, path, shape, dtype);
    el->key = key;
    el->drawing = drawing;
    return value;
}

static const Value *draw_initial(Elab *el, ParamSource *source, Env *env, const Decl *param, const char *path,
                                 const Shape *shape, DType dtype)
{
    (void)source;
    if (param->value)
        return initial_value(el, env, param->value, path, shape, dtype);
    return elab_error(el, DIAG_param_type, param->span,
                      "the parameter `%s` needs an initialiser: `= zeros`, `= normal(std = 0.02)`", param->name);
}

const Value *model_initial(Elab *el, const Value *model, const char *path, Span at)
{
    ParamSource source = {.get = draw_initial};
    return model_instantiate(el, model, &source, path, at);
}
