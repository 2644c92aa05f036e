/* Training: one step as a function. */
#include "frontend/elaborate_train.h"

#include <string.h>

static const Expr *field_of_run(const Train *train, const char *name)
{
    return run_field(train->el->program, train->decl, name);
}

/* ---- sets of weights ---- */

static int find_set(const Train *train, const char *name)
{
    for (int i = 0; i < train->sets.count; i++) {
        if (!strcmp(train->sets.items[i].name, name))
            return i;
    }
    return -1;
}

static int first_trained(const Train *train)
{
    for (int i = 0; i < train->sets.count; i++) {
        if (train->sets.items[i].use == SET_trained)
            return i;
    }
    return -1;
}

/* `teacher = frozen`, `target = ema`, `target = ema(student)`; a model called ema is an average: that key is the decay. */
static bool set_use(Train *train, ModelSet *set)
{
    const Expr *expr = field_of_run(train, set->name);
    bool is_key = !strcmp(set->name, "ema");
    set->use = is_key ? SET_average : SET_trained;
    if (!expr || is_key || expr->kind == EXPR_record)
        return true;
    const Expr *word = expr->kind == EXPR_call && expr->args.count == 1 ? expr->a : expr;
    const Expr *of = word == expr ? NULL : expr->args.items[0].value;
    const char *name = word->kind == EXPR_name ? word->name : "";
    if (!strcmp(name, "ema") && (!of || of->kind == EXPR_name)) {
        set->use = SET_average;
        set->averaged = of ? of->name : NULL;
        return true;
    }
    if (!of && !strcmp(name, "frozen"))
        set->use = SET_frozen;
    if (!of && (!strcmp(name, "frozen") || !strcmp(name, "trained")))
        return true;
    elab_error(train->el, DIAG_train_key, expr->span, "the model `%s` is `trained`, `frozen`, `ema` or `ema(NAME)`", set->name);
    return false;
}

static bool add_set(Train *train, const TurnDecl *turn, const Param *param)
{
    ModelSet set = {.name = param->name, .param = param, .source = -1};
    if (!set_use(train, &set))
        return false;
    set.model = model_of_type(train->el, turn->value->function.env, param->type);
    if (!set.model || is_poison(set.model))
        return false;
    if (set.use != SET_average)
        set.instance = entry_instance(train->build, set.model, PORT_parameter, param->name, param->span);
    if (set.instance && is_poison(set.instance))
        return false;
    list_push(train->el->arena, &train->sets, set);
    return true;
}

static bool make_sets(Train *train)
{
    for (int t = 0; t < train->turn_decls.count; t++) {
        const TurnDecl *turn = &train->turn_decls.items[t];
        for (int i = 0; i < turn->loss->params.count; i++) {
            const Param *param = &turn->loss->params.items[i];
            if (is_model_param(param) && find_set(train, param->name) < 0 && !add_set(train, turn, param))
                return false;
        }
    }
    return true;
}

/* Of which set an average is. */
static bool find_source(Train *train, ModelSet *set)
{
    Elab *el = train->el;
    set->source = set->averaged ? find_set(train, set->averaged) : first_trained(train);
    if (set->source >= 0 && train->sets.items[set->source].use == SET_trained)
        return true;
    const Expr *expr = field_of_run(train, set->name);
    Span at = expr ? expr->span : set->param->span;
    if (set->averaged)
        elab_error(el, DIAG_train_key, at, "`%s` is an average, but no model `%s` is trained here", set->name, set->averaged);
    else
        elab_error(el, DIAG_train_key, at, "`%s` is an average, but this run trains no model", set->name);
    return false;
}

static bool make_averages(Train *train)
{
    Elab *el = train->el;
    bool wanted = field_of_run(train, "ema") != NULL;
    for (int i = 0; i < train->sets.count; i++) {
        ModelSet *set = &train->sets.items[i];
        if (set->use == SET_average && !find_source(train, set))
            return false;
        if (set->use != SET_average || wanted)
            continue;
        elab_error(el, DIAG_train_key, train->decl->name_span,
                   "a model is an average here, so the run needs its decay: `ema = 0.999`");
        return false;
    }
    for (int i = 0; wanted && i < train->sets.count; i++) {
        ModelSet *set = &train->sets.items[i];
        const char *path = arena_printf(el->arena, "ema.%s", set->name);
        if (set->use == SET_trained)
            set->average = entry_instance(train->build, set->model, PORT_ema, path, set->param->span);
    }
    return true;
}

/* ---- turns ---- */

static bool mark_trained(Train *train, Turn *turn, const char *name, Span at)
{
    int found = find_set(train, name);
    for (int i = 0; found >= 0 && i < turn->decl->loss->params.count; i++) {
        if (!strcmp(turn->decl->loss->params.items[i].name, name) && train->sets.items[found].use == SET_trained)
            return turn->trains[found] = true;
    }
    elab_error(train->el, DIAG_train_key, at, "`trains` names models of the loss `%s` that are trained, and `%s` is none",
               turn->decl->loss->name, name);
    return false;
}

/* A turn trains what it says; else the model it is named after; else all models of its loss that are trained. */
static bool choose_trained(Train *train, Turn *turn)
{
    Elab *el = train->el;
    const TurnDecl *decl = turn->decl;
    const Expr *said = decl->name ? turn_field(el->program, train->decl, decl, "trains") : NULL;
    const Expr *const *names = said && said->kind == EXPR_list ? (const Expr *const *)said->items.items : &said;
    int count = !said ? 0 : said->kind == EXPR_list ? said->items.count : 1;
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->kind == EXPR_name ? names[i]->name : "";
        if (!mark_trained(train, turn, name, names[i]->span))
            return false;
    }
    if (count)
        return true;
    int own = decl->name ? find_set(train, decl->name) : -1;
    if (own >= 0 && train->sets.items[own].use == SET_trained)
        return mark_trained(train, turn, decl->name, decl->field->span);
    bool any = false;
    for (int i = 0; i < decl->loss->params.count; i++) {
        int set = is_model_param(&decl->loss->params.items[i]) ? find_set(train, decl->loss->params.items[i].name) : -1;
        if (set >= 0 && train->sets.items[set].use == SET_trained)
            any = turn->trains[set] = true;
    }
    if (any)
        return true;
    elab_error(el, DIAG_train_key, train->decl->name_span, "the loss `%s` takes no model that is trained", decl->loss->name);
    elab_note(el, decl->loss->name_span, "it is declared here");
    return false;
}

static bool check_all_trained(Train *train)
{
    for (int s = 0; s < train->sets.count; s++) {
        bool trained = train->sets.items[s].use != SET_trained;
        for (int t = 0; t < train->turns.count; t++)
            trained |= train->turns.items[t].trains[s];
        if (trained)
            continue;
        elab_error(train->el, DIAG_train_key, train->decl->name_span, "no turn trains the model `%s`",
                   train->sets.items[s].name);
        elab_note(train->el, (Span){0}, "say `%s = frozen`, or that one `trains` it", train->sets.items[s].name);
        return false;
    }
    return true;
}

static bool make_turns(Train *train)
{
    Elab *el = train->el;
    for (int t = 0; t < train->turn_decls.count; t++) {
        Turn turn = {.decl = &train->turn_decls.items[t], .trains = arena_array(el->arena, bool, train->sets.count)};
        if (!choose_trained(train, &turn) || !make_optimizers(train, &turn))
            return false;
        list_push(el->arena, &train->turns, turn);
    }
    return check_all_trained(train);
}

/* ---- run-time scalars and batches ---- */

static void make_scalars(Train *train, bool as_inputs)
{
    Elab *el = train->el;
    Span at = train->decl->name_span;
    Shape scalar = {0};
    const Value *steps;
    if (as_inputs) {
        train->step = entry_input(train->build, PORT_step, "step", DT_i32, &scalar, at);
        steps = entry_input(train->build, PORT_steps, "steps", DT_i32, &scalar, at);
    } else {
        train->step = tensor_const(el, at, DT_i32, &scalar, 0);
        steps = tensor_const(el, at, DT_i32, &scalar, 1);
    }
    const Value *progress =
        arithmetic(el, at, AST_div, tensor_cast(el, at, train->step, DT_f32), tensor_cast(el, at, steps, DT_f32));
    train->env = env_new_body(el, elab_module_env(el, el->program->modules.items[0]));
    env_bind(el, train->env, "step", train->step, false, at);
    env_bind(el, train->env, "steps", steps, false, at);
    env_bind(el, train->env, "progress", progress, false, at);
}

const Value *scalar_value(Train *train, const Expr *expr, const char *name, bool makes_sense(double), const char *rule)
{
    const Value *value = elab_eval(train->el, train->env, expr);
    Number number;
    if (is_poison(value))
        return value;
    if (value_as_number(value, &number) && !makes_sense(number.real))
        return elab_error(train->el, DIAG_train_key, expr->span, "`%s` is %s, not %.6g", name, rule, number.real);
    if (value_as_number(value, &number))
        return tensor_from_number(train->el, expr->span, value, DT_f32);
    if (is_float_tensor(value) && !value->tensor.shape.rank)
        return value;
    return elab_error(train->el, DIAG_train_key, expr->span, "`%s` is a number, not %s", name,
                      value_describe(train->el->arena, value));
}

static bool is_wanted(const Train *train, const char *field)
{
    for (int t = 0; t < train->turn_decls.count; t++) {
        const Decl *loss = train->turn_decls.items[t].loss;
        for (int i = 0; i < loss->params.count; i++) {
            if (!strcmp(loss->params.items[i].name, field))
                return find_set(train, field) < 0;
        }
    }
    return false;
}

/* All losses of a step see the same batch. */
static bool make_batch(Train *train)
{
    Elab *el = train->el;
    Span at = train->decl->name_span;
    int64_t size;
    if (!data_field(el, train->decl, &train->data) || !whole_field(el, train->decl, "batch", 64, 1, &size))
        return false;
    Label *batch = label_new(el, train->env->activation, "B", size, at);
    env_bind(el, train->env, "B", value_axis(el->arena, batch, SIZE_UNKNOWN), false, at);
    bool ok = true;
    for (int i = 0; train->data && i < train->data->fields.count; i++) {
        const char *name = train->data->fields.items[i].name;
        if (!is_wanted(train, name))
            continue;
        Leaf field = {name, data_batch(train->build, train->data, name, batch, size)};
        ok &= !is_poison(field.value);
        list_push(el->arena, &train->fields, field);
    }
    return ok;
}

/* ---- a step ---- */

/* The one place that keeps what a step must not change: all that it leaves comes by here when all turns have told. */
static void kept_output(Train *train, PortRole role, const char *path, const Value *now)
{
    Span at = train->decl->name_span;
    if (train->finite) {
        const Value *before = tensor_new(train->el, entry_find_input(train->build, role, path), &now->tensor.shape);
        const Value *operands[3] = {train->finite, now, before};
        now = pointwise(train->el, at, "select", OP_select, POINT_select, NULL, operands, 3);
    }
    entry_output(train->build, role, path, now, at);
}

static void state_outputs(Train *train, const Turn *turn, const ModelSet *set, int leaf, const Value *state)
{
    LeafList parts = {0};
    tree_parts(train->el, state, state_path(train, turn, set, leaf), &parts);
    for (int p = 0; p < parts.count; p++) {
        if (parts.items[p].value->kind == VALUE_tensor)
            kept_output(train, PORT_state, parts.items[p].path, parts.items[p].value);
    }
}

void leaf_outputs(Train *train, int s, int leaf, const Value *weight, const Value *average)
{
    Arena *arena = train->el->arena;
    const ModelSet *set = &train->sets.items[s];
    const char *path = arena_printf(arena, "%s.%s", set->name, set->instance->instance->leaves.items[leaf].path);
    kept_output(train, PORT_parameter, path, weight);
    for (int t = 0; t < train->turns.count; t++) {
        const Turn *turn = &train->turns.items[t];
        if (turn->trains[s])
            state_outputs(train, turn, set, leaf, turn->states[s][leaf]);
    }
    if (average)
        kept_output(train, PORT_ema, arena_printf(arena, "ema.%s", path), average);
}

/* What the last turn has not left. */
static void other_outputs(Train *train)
{
    for (int s = 0; s < train->sets.count; s++) {
        const ModelSet *set = &train->sets.items[s];
        if (set->use != SET_trained || set->is_output)
            continue;
        const InstanceValue *own = set->instance->instance, *average = set->average ? set->average->instance : NULL;
        for (int i = 0; i < own->leaves.count; i++)
            leaf_outputs(train, s, i, own->leaves.items[i].value, average ? average->leaves.items[i].value : NULL);
    }
    for (int t = 0; t < train->turns.count; t++) {
        const Turn *turn = &train->turns.items[t];
        if (turn->updates_path)
            kept_output(train, PORT_state, turn->updates_path, turn->updates);
    }
}

bool train_specialise(EntryBuild *build, const Decl *decl)
{
    Elab *el = build->el;
    Train train = {.build = build, .el = el, .decl = decl};
    el->training = true;
    if (!run_turns(el, decl, &train.turn_decls) || !make_sets(&train) || !make_averages(&train))
        return false;
    make_scalars(&train, true);
    if (!make_batch(&train) || !make_turns(&train))
        return false;
    for (int t = 0; t < train.turns.count; t++) {
        if (!make_states(&train, &train.turns.items[t]))
            return false;
    }
    for (int t = 0; t < train.turns.count; t++) {
        if (!take_turn(&train, &train.turns.items[t]))
            return false;
    }
    other_outputs(&train);
    return !el->errors;
}

bool states_specialise(EntryBuild *build, const Decl *decl)
{
    Elab *el = build->el;
    Train train = {.build = build, .el = el, .decl = decl};
    if (!run_turns(el, decl, &train.turn_decls) || !make_sets(&train))
        return false;
    make_scalars(&train, false);
    if (!make_turns(&train))
        return false;
    for (int t = 0; t < train.turns.count; t++) {
        const Turn *turn = &train.turns.items[t];
        for (int s = 0; s < train.sets.count; s++) {
            const ModelSet *set = &train.sets.items[s];
            if (!turn->trains[s])
                continue;
            for (int i = 0; i < set->instance->instance->leaves.count; i++)
                state_outputs(&train, turn, set, i, initial_state(&train, turn, set, i));
        }
    }
    return !el->errors;
}
