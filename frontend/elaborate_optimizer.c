/* The optimisers of a turn: one for all of its weights, and others for groups that are chosen by their paths. */
#include "frontend/elaborate_train.h"

#include <fnmatch.h>
#include <string.h>

/* ---- optimisers ---- */

/* `lr = ...` beside the optimiser is an argument of it; or counts instead of the one there. */
static const Expr *with_rate(Elab *el, const Expr *expr, const Expr *rate, bool instead)
{
    Expr *call = arena_new_of(el->arena, Expr);
    *call = (Expr){.kind = EXPR_call, .span = expr->span, .a = (Expr *)expr};
    if (expr->kind == EXPR_call) {
        call->a = expr->a;
        for (int i = 0; i < expr->args.count; i++) {
            const Arg *arg = &expr->args.items[i];
            if (!instead || !arg->name || strcmp(arg->name, "lr"))
                list_push(el->arena, &call->args, *arg);
        }
    }
    Arg arg = {"lr", (Expr *)rate, rate->span};
    list_push(el->arena, &call->args, arg);
    return call;
}

static bool take_optimizer(Train *train, const Value *value, Optimizer *optimizer)
{
    if (is_poison(value))
        return false;
    optimizer->init = record_get(value, "init");
    optimizer->update = record_get(value, "update");
    if (optimizer->init && optimizer->update)
        return true;
    elab_error(train->el, DIAG_train_key, optimizer->span,
               "an optimiser is a record { init: (p) => state, update: (g, state, p, step) => (p, state) }, "
               "not %s",
               value_describe(train->el->arena, value));
    return false;
}

static bool main_optimizer(Train *train, const Turn *turn, Optimizer *optimizer)
{
    Elab *el = train->el;
    const Expr *expr = turn_field(el->program, train->decl, turn->decl, "optimizer");
    const Expr *rate = turn_field(el->program, train->decl, turn->decl, "lr");
    if (!expr) {
        elab_error(el, DIAG_train_key, train->decl->name_span,
                   "a training run needs `optimizer = ...`, for instance radam(lr = 4e-4)");
        return false;
    }
    optimizer->span = expr->span;
    if (rate)
        expr = with_rate(el, expr, rate, rate_replaces(el->program, train->decl, turn->decl));
    return take_optimizer(train, elab_eval(el, train->env, expr), optimizer);
}

/* ---- groups ---- */

static bool push_pattern(Train *train, const Value *value, Optimizer *optimizer)
{
    if (value->kind == VALUE_string) {
        list_push(train->el->arena, &optimizer->patterns, value->text);
        return true;
    }
    elab_error(train->el, DIAG_train_key, optimizer->span,
               "`params` of a group is a pattern of the paths of weights, \"net.*.bias\", or a list of them, not %s",
               value_describe(train->el->arena, value));
    return false;
}

static bool take_group(Train *train, const Value *group, Optimizer *optimizer)
{
    const Value *params = record_get(group, "params"), *own = record_get(group, "optimizer");
    bool ok = true;
    if (is_poison(group))
        return false;
    if (!params || !own || group->group.count != 2) {
        elab_error(train->el, DIAG_train_key, optimizer->span,
                   "a group of weights is { params: \"net.*.bias\", optimizer: adam(lr = 1e-3) }, not %s",
                   value_describe(train->el->arena, group));
        return false;
    }
    if (params->kind != VALUE_list)
        return push_pattern(train, params, optimizer) && take_optimizer(train, own, optimizer);
    for (int i = 0; i < params->group.count; i++)
        ok = ok && push_pattern(train, params->group.items[i], optimizer);
    return ok && take_optimizer(train, own, optimizer);
}

static bool make_groups(Train *train, Turn *turn)
{
    Elab *el = train->el;
    const Expr *expr = turn_field(el->program, train->decl, turn->decl, "groups");
    const Value *groups = expr ? elab_eval(el, train->env, expr) : NULL;
    if (!groups || is_poison(groups))
        return !groups;
    if (groups->kind != VALUE_list) {
        elab_error(el, DIAG_train_key, expr->span, "`groups` is a list of groups of weights, not %s",
                   value_describe(el->arena, groups));
        return false;
    }
    for (int i = 0; i < groups->group.count; i++) {
        Optimizer optimizer = {.span = expr->kind == EXPR_list ? expr->items.items[i]->span : expr->span};
        if (!take_group(train, groups->group.items[i], &optimizer))
            return false;
        optimizer.used = arena_array(el->arena, bool, optimizer.patterns.count);
        list_push(el->arena, &turn->optimizers, optimizer);
    }
    return true;
}

static const char *leaf_path(const Train *train, const ModelSet *set, int leaf)
{
    return arena_printf(train->el->arena, "%s.%s", set->name, set->instance->instance->leaves.items[leaf].path);
}

static bool fits(const Optimizer *optimizer, const char *path)
{
    bool fit = !optimizer->patterns.count;
    for (int i = 0; i < optimizer->patterns.count; i++) {
        if (!fnmatch(optimizer->patterns.items[i], path, FNM_NOESCAPE))
            optimizer->used[i] = fit = true;
    }
    return fit;
}

/* The last one, without patterns, takes what is left. */
const Optimizer *optimizer_of(const Train *train, const Turn *turn, const ModelSet *set, int leaf)
{
    const char *path = leaf_path(train, set, leaf);
    const Optimizer *optimizer = turn->optimizers.items;
    while (!fits(optimizer, path))
        optimizer++;
    return optimizer;
}

/* A pattern that fits nothing is a mistake: the path of a weight has changed, or another group takes all of it. */
static bool check_patterns(Train *train, const Turn *turn)
{
    Elab *el = train->el;
    bool ok = true;
    for (int s = 0; s < train->sets.count; s++) {
        for (int i = 0; turn->trains[s] && i < train->sets.items[s].instance->instance->leaves.count; i++)
            optimizer_of(train, turn, &train->sets.items[s], i);
    }
    for (int o = 0; o < turn->optimizers.count; o++) {
        const Optimizer *optimizer = &turn->optimizers.items[o];
        for (int i = 0; i < optimizer->patterns.count; i++) {
            if (optimizer->used[i])
                continue;
            elab_error(el, DIAG_train_key, optimizer->span, "no weight that is left for this group has a path like \"%s\"",
                       optimizer->patterns.items[i]);
            elab_note(el, (Span){0}, "`*` stands for any part of a path, dots included; the first group that fits counts");
            ok = false;
        }
    }
    return ok;
}

bool make_optimizers(Train *train, Turn *turn)
{
    Optimizer rest = {0};
    if (!make_groups(train, turn) || !main_optimizer(train, turn, &rest))
        return false;
    list_push(train->el->arena, &turn->optimizers, rest);
    return check_patterns(train, turn);
}

/* ---- states ---- */

const char *state_path(const Train *train, const Turn *turn, const ModelSet *set, int leaf)
{
    const char *path = leaf_path(train, set, leaf), *name = turn->decl->name;
    return name ? arena_printf(train->el->arena, "opt.%s.%s", name, path) : arena_printf(train->el->arena, "opt.%s", path);
}

static const Value *scalar_part(Elab *el, const Value *part, void *state)
{
    Span *at = state;
    return tensor_default(el, *at, part);
}

const Value *initial_state(Train *train, const Turn *turn, const ModelSet *set, int leaf)
{
    Span at = train->decl->name_span;
    const Value *param = set->instance->instance->leaves.items[leaf].value;
    const Optimizer *optimizer = optimizer_of(train, turn, set, leaf);
    const Value *state = call_with(train->el, train->env, at, "init of the optimiser", optimizer->init, &param, 1);
    return is_poison(state) ? state : tree_map(train->el, state, scalar_part, &at);
}

typedef struct StatePorts {
    Train *train;
    const LeafList *parts;
    int next;
} StatePorts;

static const Value *state_port(Elab *el, const Value *part, void *state)
{
    StatePorts *ports = state;
    const Leaf *leaf = &ports->parts->items[ports->next++];
    if (part->kind != VALUE_tensor)
        return part;
    (void)el;
    return entry_input(ports->train->build, PORT_state, leaf->path, part->tensor.dtype, &part->tensor.shape,
                       ports->train->decl->name_span);
}

static bool set_states(Train *train, const Turn *turn, const ModelSet *set, const Value **states)
{
    for (int i = 0; i < set->instance->instance->leaves.count; i++) {
        LeafList parts = {0};
        const Value *state = initial_state(train, turn, set, i);
        if (is_poison(state))
            return false;
        tree_parts(train->el, state, state_path(train, turn, set, i), &parts);
        StatePorts ports = {train, &parts, 0};
        states[i] = tree_map(train->el, state, state_port, &ports);
    }
    return true;
}

bool make_states(Train *train, Turn *turn)
{
    Arena *arena = train->el->arena;
    turn->states = arena_array(arena, const Value **, train->sets.count);
    for (int s = 0; s < train->sets.count; s++) {
        const ModelSet *set = &train->sets.items[s];
        if (!turn->trains[s])
            continue;
        turn->states[s] = arena_array(arena, const Value *, set->instance->instance->leaves.count + 1);
        if (!set_states(train, turn, set, turn->states[s]))
            return false;
    }
    return true;
}
