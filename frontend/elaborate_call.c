/* Calls: what can be called, arguments and generics, and the bodies of functions, inlined at each call. */
#include "frontend/elaborate.h"

#include <string.h>

enum { MOST_CALLS = 100 };

/* ---- generics: f[C = 8], f[B], f[K: width] ---- */

static bool given_from_value(Elab *el, const Value *value, Span at, GivenGeneric *generic)
{
    Number number;
    if (value->kind == VALUE_axis) {
        generic->label = value->axis.label;
        generic->size = value->axis.size >= 0 ? value->axis.size : value->axis.label->size;
        return true;
    }
    if (!value_as_number(value, &number)) {
        if (!is_poison(value))
            elab_error(el, DIAG_axis_wanted, at, "an axis or a size is needed here, not %s", value_describe(el->arena, value));
        return false;
    }
    generic->label = NULL;
    return want_size(el, value, at, "the size of an axis", &generic->size);
}

static bool given_item(Elab *el, Env *env, const Expr *item, GivenGeneric *generic)
{
    *generic = (GivenGeneric){.size = SIZE_UNKNOWN, .span = item->span};
    const Expr *value = item;
    if (item->kind == EXPR_pair && item->by_name) {
        generic->name = item->name;
        value = item->a;
    }
    Axis axis;
    bool plain_axis = value->kind == EXPR_pair;
    if (value->kind == EXPR_name) { /* a name that is a number in scope is a size */
        const Local *binding = env_find(env, value->name, NULL);
        Number number;
        plain_axis = !(binding && binding->value->kind != VALUE_axis && value_as_number(binding->value, &number));
        plain_axis &= !(binding && is_poison(binding->value));
    }
    if (!plain_axis)
        return given_from_value(el, elab_eval(el, env, value), value->span, generic);
    if (value->kind == EXPR_name && !label_existing(el, env, value->name)) {
        const Value *constant = module_lookup(el, env_module(env), value->name);
        if (constant)
            return given_from_value(el, constant, value->span, generic);
    }
    if (!elab_axis(el, env, value, &axis))
        return false;
    generic->label = axis.label;
    generic->size = axis.size;
    return true;
}

bool elab_given(Elab *el, Env *env, const Expr *const *items, int count, GivenList *given)
{
    for (int i = 0; i < count; i++) {
        GivenGeneric generic;
        if (!given_item(el, env, items[i], &generic))
            return false;
        list_push(el->arena, given, generic);
    }
    return true;
}

static const GivenGeneric *find_given(const Decl *decl, const GivenList *given, int index)
{
    int position = 0;
    for (int i = 0; i < given->count; i++) {
        const GivenGeneric *generic = &given->items[i];
        if (generic->name ? !strcmp(generic->name, decl->generics.items[index].name) : position++ == index)
            return generic;
    }
    return NULL;
}

/* Which axis parameter is given, or -1: by name, or the next one by position. */
static int given_index(const Decl *decl, const GivenGeneric *generic, int *position)
{
    if (!generic->name)
        return *position < decl->generics.count ? (*position)++ : -1;
    for (int i = 0; i < decl->generics.count; i++) {
        if (!strcmp(generic->name, decl->generics.items[i].name))
            return i;
    }
    return -1;
}

static void report_given(Elab *el, const Decl *decl, const GivenGeneric *generic, int count)
{
    const char **names = arena_array(el->arena, const char *, decl->generics.count + 1);
    for (int i = 0; i < decl->generics.count; i++)
        names[i] = decl->generics.items[i].name;
    if (generic->name) {
        elab_error(el, DIAG_unknown_generic, generic->span, "`%s` has no axis parameter `%s`", decl->name, generic->name);
        elab_suggest(el, generic->name, names, decl->generics.count);
    } else {
        elab_error(el, DIAG_unknown_generic, generic->span, "`%s` takes %d axis parameter%s in [ ], not %d", decl->name,
                   decl->generics.count, decl->generics.count == 1 ? "" : "s", count);
    }
    elab_note(el, decl->name_span, "it is declared here");
}

static bool check_given(Elab *el, const Decl *decl, const GivenList *given)
{
    int position = 0;
    bool *seen = arena_array(el->arena, bool, decl->generics.count + 1);
    for (int i = 0; i < given->count; i++) {
        const GivenGeneric *generic = &given->items[i];
        int index = given_index(decl, generic, &position);
        if (index < 0) {
            report_given(el, decl, generic, given->count);
            return false;
        }
        if (seen[index]) {
            elab_error(el, DIAG_arity, generic->span, "the axis parameter `%s` of `%s` is given twice",
                       decl->generics.items[index].name, decl->name);
            if (!generic->name)
                elab_note(el, (Span){0}, "what has no name counts from the first axis parameter on");
            return false;
        }
        seen[index] = true;
    }
    return true;
}

bool bind_generics(Elab *el, Env *body, const Decl *decl, const GivenList *given, Span at)
{
    if (!check_given(el, decl, given))
        return false;
    for (int i = 0; i < decl->generics.count; i++) {
        const Generic *generic = &decl->generics.items[i];
        const GivenGeneric *from = find_given(decl, given, i);
        Label *label = label_new(el, body->activation, generic->name, SIZE_UNKNOWN, generic->span);
        env_bind(el, body, generic->name, value_axis(el->arena, label, SIZE_UNKNOWN), false, generic->span);
        if (from) {
            label->size = from->size;
            label->sampled = from->label && from->label->sampled && from->label->size == from->size;
            label->outer = from->label;
            label->span = from->span;
        } else if (generic->initial &&
                   !want_size(el, elab_eval(el, body, generic->initial), at, "the size of an axis", &label->size)) {
            return false;
        }
    }
    return true;
}

/* ---- arguments ---- */

/* Names of the program stand in quotes; "the differentiated function" does not. */
static const char *quoted(Elab *el, const char *name)
{
    return strchr(name, ' ') ? name : arena_printf(el->arena, "`%s`", name);
}

const Value *call_arg(Elab *el, Call *call, int index)
{
    if (index >= call->count)
        return &value_poison;
    Argument *arg = &call->args[index];
    if (!arg->value)
        arg->value = elab_eval(el, call->env, arg->expr);
    return arg->value;
}

static const char *param_names(Elab *el, const ParamList *params)
{
    Text text = text_new(el->arena);
    for (int i = 0; i < params->count; i++)
        text_printf(&text, "%s%s", i ? ", " : "", params->items[i].name);
    return text.data;
}

static int find_param(const ParamList *params, const char *name)
{
    for (int i = 0; i < params->count; i++) {
        if (!strcmp(params->items[i].name, name))
            return i;
    }
    return -1;
}

static bool place_argument(Elab *el, const char *name, const ParamList *params, Call *call, int index, int *position,
                           const Value **out, Span *places)
{
    const Argument *arg = &call->args[index];
    int at = arg->name ? find_param(params, arg->name) : (*position)++;
    if (arg->name && at < 0) {
        elab_error(el, DIAG_arity, arg->whole, "%s has no parameter `%s`: it takes (%s)", quoted(el, name), arg->name,
                   param_names(el, params));
        const char **names = arena_array(el->arena, const char *, params->count + 1);
        for (int i = 0; i < params->count; i++)
            names[i] = params->items[i].name;
        elab_suggest(el, arg->name, names, params->count);
        return false;
    }
    if (at >= params->count) {
        elab_error(el, DIAG_arity, arg->span.source ? arg->span : call->span, "%s takes %d argument%s (%s), not %d",
                   quoted(el, name), params->count, params->count == 1 ? "" : "s", param_names(el, params), call->count);
        return false;
    }
    if (out[at]) {
        elab_error(el, DIAG_arity, arg->whole, "the parameter `%s` of %s is given twice", params->items[at].name,
                   quoted(el, name));
        return false;
    }
    places[at] = arg->span;
    out[at] = call_arg(el, call, index);
    return !is_poison(out[at]);
}

bool match_arguments(Elab *el, Env *body, const char *name, const ParamList *params, Call *call, const Value **out,
                     Span *places)
{
    int position = 0;
    bool ok = true;
    for (int i = 0; i < call->count; i++)
        ok &= place_argument(el, name, params, call, i, &position, out, places);
    for (int i = 0; ok && i < params->count; i++) {
        const Param *param = &params->items[i];
        if (out[i])
            continue;
        if (!param->initial) {
            elab_error(el, DIAG_arity, call->span, "the call of %s lacks `%s`: it takes (%s)", quoted(el, name), param->name,
                       param_names(el, params));
            return false;
        }
        Env *so_far = env_new(el, body); /* a default sees the parameters before it */
        for (int j = 0; j < i; j++)
            env_bind(el, so_far, params->items[j].name, out[j], false, params->items[j].span);
        out[i] = elab_eval(el, so_far, param->initial);
        places[i] = param->initial->span;
        ok = !is_poison(out[i]);
    }
    return ok;
}

/* ---- bodies ---- */

static bool enter_call(Elab *el, const char *name, const void *callee, Span at, bool outside, CallLink *link)
{
    if (el->call_depth >= MOST_CALLS) {
        elab_error_once(el, DIAG_recursion, at, "calls nest deeper than %d: a function calls itself without end", MOST_CALLS);
        elab_note(el, (Span){0}, "functions are inlined; what repeats is a loop: for, while");
        el->exhausted = true;
        return false;
    }
    *link = (CallLink){el->chain, arena_printf(el->arena, "call of %s", quoted(el, name)), callee, at, outside};
    el->chain = arena_copy(el->arena, link, sizeof *link);
    el->call_depth++;
    return true;
}

static void leave_call(Elab *el)
{
    el->chain = el->chain->parent;
    el->call_depth--;
}

static bool inside_rule(const Elab *el, const Decl *rule)
{
    for (const CallLink *link = el->chain; link; link = link->parent) {
        if (link->callee == rule)
            return true;
    }
    return false;
}

static const Value *relabel_tangent(Elab *el, const Value *const *pair, int count, const char *path, void *state)
{
    (void)count, (void)path, (void)state;
    bool tensors = pair[0]->kind == VALUE_tensor && pair[1]->kind == VALUE_tensor;
    return tensors ? tensor_relabel(el, pair[1], &pair[0]->tensor.shape) : pair[1];
}

/* The tangents of a rule have the labels that the rule gives to its arguments. */
static bool bind_tangents(Elab *el, Env *body, const Decl *rule, const Value **tangents, const Span *places)
{
    bool ok = true;
    for (int i = 0; i < rule->tangents.count; i++) {
        const Param *param = &rule->tangents.items[i];
        const Value *pair[2] = {env_find(body, rule->params.items[i].name, NULL)->value, tangents[i]};
        const Value *value = tree_zip(el, places[i], pair, 2, "", relabel_tangent, NULL);
        if (param->type)
            value = type_fit(el, body, param->type, value, places[i], arena_printf(el->arena, "`%s`", param->name));
        ok &= !is_poison(value);
        env_bind(el, body, param->name, value, false, param->span);
    }
    return ok;
}

static const Value *run_body(Elab *el, const FunctionValue *function, Env *body, const Value **args, const Span *places,
                             Call *call)
{
    const Decl *decl = function->decl;
    Signature *signature = arena_new_of(el->arena, Signature);
    const ParamList *params = &decl->params;
    if (!signature_bind(el, body, signature, params, args, places))
        return &value_poison;
    if (decl->kind == DECL_rule && !bind_tangents(el, body, decl, args + params->count, places + params->count))
        return &value_poison;
    const Value *value = elab_eval(el, body, decl->body);
    if (is_poison(value))
        return value;
    value = signature_result(el, body, signature, decl, value, decl->body_is_expr ? decl->body->span : decl->name_span);
    return relabel_result(el, body, call->env, value, call->span);
}

static const Value *call_decl(Elab *el, const Value *callee, Call *call, bool plain)
{
    const FunctionValue *function = &callee->function;
    const Decl *decl = function->decl;
    const Decl *rule = function->module && !plain ? table_get(&function->module->rules, decl->name) : NULL;
    Env *body = env_new_body(el, function->env);
    GivenList given = function->generics;
    if (call->generics.count)
        given = call->generics;
    int count = decl->params.count + decl->tangents.count;
    const Value **args = arena_array(el->arena, const Value *, count + 1);
    Span *places = arena_array(el->arena, Span, count + 1);
    ParamList all = decl->params;
    if (decl->kind == DECL_rule) {
        all = (ParamList){0};
        for (int i = 0; i < count; i++)
            list_push(el->arena, &all,
                      i < decl->params.count ? decl->params.items[i] : decl->tangents.items[i - decl->params.count]);
    }
    if (!bind_generics(el, body, decl, &given, call->span) || !match_arguments(el, body, decl->name, &all, call, args, places))
        return &value_poison;
    if (rule && decl->kind != DECL_rule && !inside_rule(el, rule))
        return call_custom(el, callee, call, rule);
    CallLink link;
    bool outside = call->span.source == decl->name_span.source && call->span.start == decl->name_span.start;
    bool of_instance = call->name && !strcmp(decl->name, "call"); /* net(x) */
    if (!enter_call(el, of_instance ? call->name : decl->name, decl, call->span, outside, &link))
        return &value_poison;
    KeyNode *key = el->key;
    el->key = key_child(el, key, decl->name);
    const Value *value = run_body(el, function, body, args, places, call);
    el->key = key;
    leave_call(el);
    return value;
}

const Value *call_plain(Elab *el, const Value *function, Call *call)
{
    return call_decl(el, function, call, true);
}

/* A lambda sees the labels of the body in which it was written, wherever it is called from. */
static const Value *call_lambda(Elab *el, const Value *callee, Call *call)
{
    const Expr *lambda = callee->function.lambda;
    Env *body = env_new(el, callee->function.env);
    body->boundary = true;
    const char *name = call->name ? call->name : "a function";
    const Value **args = arena_array(el->arena, const Value *, lambda->params.count + 1);
    Span *places = arena_array(el->arena, Span, lambda->params.count + 1);
    if (!match_arguments(el, body, name, &lambda->params, call, args, places))
        return &value_poison;
    FormalList renamed = {0};
    for (int i = 0; i < lambda->params.count; i++) {
        const Param *param = &lambda->params.items[i];
        const Value *value = relabel_outward(el, call->env, body->activation, args[i], &renamed);
        if (param->type)
            value = type_fit(el, body, param->type, value, places[i], arena_printf(el->arena, "`%s`", param->name));
        env_bind(el, body, param->name, value, false, param->span);
    }
    CallLink link;
    if (!enter_call(el, name, lambda, call->span, false, &link))
        return &value_poison;
    KeyNode *key = el->key;
    el->key = key_child(el, key, "=>");
    const Value *value = elab_eval(el, body, lambda->a);
    el->key = key;
    leave_call(el);
    return relabel_back(el, &renamed, value, call->span);
}

const Value *call_value(Elab *el, const Value *callee, Call *call)
{
    switch (callee->kind) {
    case VALUE_poison:
        return callee;
    case VALUE_builtin:
        return call_builtin(el, callee->builtin, call);
    case VALUE_function:
        if (callee->function.native)
            return callee->function.native(el, callee, call);
        return callee->function.decl ? call_decl(el, callee, call, false) : call_lambda(el, callee, call);
    case VALUE_model:
        return model_call(el, callee, call);
    case VALUE_instance:
        return call_value(el, instance_member(el, callee, "call", call->span), call);
    default:
        return elab_error(el, DIAG_not_callable, call->span, "%s cannot be called", value_describe(el->arena, callee));
    }
}

const Value *call_with(Elab *el, Env *env, Span at, const char *name, const Value *callee, const Value *const *args, int count)
{
    Call call = {.env = env, .span = at, .name = name, .count = count};
    call.args = arena_array(el->arena, Argument, count + 1);
    for (int i = 0; i < count; i++)
        call.args[i] = (Argument){.value = args[i], .span = at};
    return call_value(el, callee, &call);
}

/* ---- call and index expressions ---- */

static bool takes_generics(const Value *value)
{
    return value->kind == VALUE_function || value->kind == VALUE_builtin || value->kind == VALUE_model;
}

static const char *callee_name(const Expr *expr)
{
    if (expr->kind == EXPR_index)
        expr = expr->a;
    bool named = expr->kind == EXPR_name || (expr->kind == EXPR_field && !(expr->name[0] >= '0' && expr->name[0] <= '9'));
    return named ? expr->name : NULL;
}

static bool give_items(Elab *el, Env *env, const Value *callee, const Expr *index, Call *call)
{
    call->items = (const Expr *const *)index->items.items;
    call->item_count = index->items.count;
    call->has_items = true;
    return callee->kind == VALUE_builtin || elab_given(el, env, call->items, call->item_count, &call->generics);
}

const Value *elab_call(Elab *el, Env *env, const Expr *expr)
{
    Call call = {.env = env, .span = expr->span, .name = callee_name(expr->a)};
    const Value *callee;
    if (expr->a->kind == EXPR_index) {
        callee = elab_eval(el, env, expr->a->a);
        if (!takes_generics(callee))
            callee = is_poison(callee) ? callee : elab_eval(el, env, expr->a);
        else if (!give_items(el, env, callee, expr->a, &call))
            return &value_poison;
    } else {
        callee = elab_eval(el, env, expr->a);
    }
    call.count = expr->args.count;
    call.args = arena_array(el->arena, Argument, call.count + 1);
    for (int i = 0; i < call.count; i++) {
        const Arg *arg = &expr->args.items[i];
        call.args[i] = (Argument){.name = arg->name, .expr = arg->value, .span = arg->value->span, .whole = arg->span};
    }
    return call_value(el, callee, &call);
}

/* f[C = 8] without a call: the function with its generics given. */
static const Value *give_generics(Elab *el, Env *env, const Expr *expr, const Value *of)
{
    Call call = {.env = env, .span = expr->span, .name = callee_name(expr)};
    if (!give_items(el, env, of, expr, &call))
        return &value_poison;
    if (of->kind == VALUE_builtin)
        return call_builtin(el, of->builtin, &call);
    Value *copy = arena_copy(el->arena, of, sizeof *of);
    if (of->kind == VALUE_model)
        copy->model.generics = call.generics;
    else
        copy->function.generics = call.generics;
    return copy;
}

static const Value *list_index(Elab *el, Env *env, const Expr *expr, const Value *list)
{
    if (expr->items.count != 1)
        return elab_error(el, DIAG_type_mismatch, expr->span, "a list has one index");
    const Expr *item = expr->items.items[0];
    int64_t count = list->group.count, first = 0, end = count;
    if (item->kind == EXPR_range) {
        if ((item->a && !want_integer(el, elab_eval(el, env, item->a), item->a->span, "the start of a range", &first)) ||
            (item->b && !want_integer(el, elab_eval(el, env, item->b), item->b->span, "the end of a range", &end)))
            return &value_poison;
        if (first < 0 || end > count || first > end)
            return elab_error(el, DIAG_index_range, item->span, "%lld..%lld is outside a list of %lld", (long long)first,
                              (long long)end, (long long)count);
        return value_group(el->arena, VALUE_list, (int)(end - first), list->group.items + first, NULL);
    }
    if (!want_integer(el, elab_eval(el, env, item), item->span, "the index of a list", &first))
        return &value_poison;
    if (first < 0 || first >= count)
        return elab_error(el, DIAG_index_range, item->span, "index %lld is outside a list of %lld", (long long)first,
                          (long long)count);
    return list->group.items[first];
}

const Value *elab_index(Elab *el, Env *env, const Expr *expr)
{
    const Value *of = elab_eval(el, env, expr->a);
    if (is_poison(of))
        return of;
    if (takes_generics(of))
        return give_generics(el, env, expr, of);
    if (of->kind == VALUE_list || of->kind == VALUE_tuple)
        return list_index(el, env, expr, of);
    if (of->kind == VALUE_tensor)
        return tensor_index(el, env, expr, of);
    return elab_error(el, DIAG_type_mismatch, expr->span, "%s has no elements to index", value_describe(el->arena, of));
}
