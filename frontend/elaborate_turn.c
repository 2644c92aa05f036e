/* A turn of a training step: the loss, its gradient, and the weights, averages and states after it; as they were where it is
 * not the turn's step.  Whether loss and gradient were finite is told, and counts at the end of the step. */
#include "frontend/elaborate_train.h"

#include <math.h>
#include <string.h>

/* ---- the loss and its gradient ---- */

static void note_fields(Elab *el, const DataSet *data)
{
    Text names = text_new(el->arena);
    for (int i = 0; i < data->fields.count; i++)
        text_printf(&names, "%s%s", i ? ", " : "", data->fields.items[i].name);
    elab_note(el, (Span){0}, "the data set `%s` has %s", data->name, names.data);
}

static const Value *unknown_argument(Train *train, const Param *param)
{
    Elab *el = train->el;
    elab_error(el, DIAG_train_key, param->span,
               "the loss wants `%s`, which is no model, no field of the data and not `step`, `steps` or "
               "`progress`",
               param->name);
    const char *names[64] = {"step", "steps", "progress"};
    int count = 3;
    for (int i = 0; train->data && i < train->data->fields.count && count < 64; i++)
        names[count++] = train->data->fields.items[i].name;
    if (!elab_suggest(el, param->name, names, count) && count > 3)
        note_fields(el, train->data);
    return &value_poison;
}

/* Null: it stays at its default. */
static const Value *loss_argument(Train *train, const Param *param)
{
    for (int i = 0; i < train->sets.count; i++) {
        const ModelSet *set = &train->sets.items[i];
        if (!strcmp(set->name, param->name))
            return set->use == SET_average ? train->sets.items[set->source].average : set->instance;
    }
    for (int i = 0; i < train->fields.count; i++) {
        if (!strcmp(train->fields.items[i].path, param->name))
            return train->fields.items[i].value;
    }
    const Local *binding = env_find(train->env, param->name, NULL);
    if (binding)
        return binding->value;
    return param->initial ? NULL : unknown_argument(train, param);
}

typedef struct LossCall {
    const Value *loss;
    const char **names;
} LossCall;

/* Arguments by name, so that those with a default may be left out; the axis B has the size of the batch. */
static const Value *call_loss(Elab *el, const Value *function, Call *call)
{
    const LossCall *loss = function->function.data;
    const Decl *decl = loss->loss->function.decl;
    Call named = *call;
    named.name = decl->name;
    named.args = arena_array(el->arena, Argument, call->count + 1);
    for (int i = 0; i < call->count; i++) {
        named.args[i] = call->args[i];
        named.args[i].name = loss->names[i];
    }
    const Local *batch = env_find(call->env, "B", NULL);
    for (int i = 0; batch && i < decl->generics.count; i++) {
        if (strcmp(decl->generics.items[i].name, "B"))
            continue;
        GivenGeneric given = {"B", batch->value->axis.label, batch->value->axis.label->size, decl->generics.items[i].span};
        list_push(el->arena, &named.generics, given);
    }
    return call_value(el, loss->loss, &named);
}

static bool run_loss(Train *train, Turn *turn, const Value **value)
{
    Elab *el = train->el;
    const Decl *loss = turn->decl->loss;
    int most = loss->params.count, count = 0;
    const Value **args = arena_array(el->arena, const Value *, most + 1);
    bool *wanted = arena_array(el->arena, bool, most + 1);
    LossCall *data = arena_new_of(el->arena, LossCall);
    *data = (LossCall){turn->decl->value, arena_array(el->arena, const char *, most + 1)};
    bool ok = true;
    for (int i = 0; i < most; i++) {
        const Param *param = &loss->params.items[i];
        const Value *arg = loss_argument(train, param);
        if (!arg)
            continue;
        ok &= !is_poison(arg);
        args[count] = arg;
        data->names[count] = param->name;
        for (int s = 0; s < train->sets.count; s++)
            wanted[count] |= turn->trains[s] && !strcmp(train->sets.items[s].name, param->name);
        count++;
    }
    Value *function = arena_new_of(el->arena, Value);
    function->kind = VALUE_function;
    function->function.native = call_loss;
    function->function.data = data;
    turn->gradients = (ValueList){0};
    return ok && gradients(el, train->env, loss->name_span, function, args, count, wanted, value, &turn->gradients);
}

/* ---- small calculations ---- */

static const Value *point(Train *train, const char *name, const Value *x)
{
    const Builtin *row = builtin_find(name);
    return pointwise(train->el, train->decl->name_span, name, row->op, row->class, row->known, &x, 1);
}

static const Value *calculate(Train *train, AstOp op, const Value *a, const Value *b)
{
    return arithmetic(train->el, train->decl->name_span, op, a, b);
}

static const Value *choose(Train *train, const Value *condition, const Value *yes, const Value *no)
{
    const Value *operands[3] = {condition, yes, no};
    return pointwise(train->el, train->decl->name_span, "select", OP_select, POINT_select, NULL, operands, 3);
}

/* The Euclidean norm of all gradients together, in f32. */
static const Value *gradient_norm(Train *train, const Turn *turn)
{
    Elab *el = train->el;
    Span at = train->decl->name_span;
    const Value *sum_of_squares = value_real(el->arena, 0);
    const Value sum = {.kind = VALUE_builtin, .builtin = builtin_find("sum")};
    ValueList leaves = {0};
    for (int i = 0; i < turn->gradients.count; i++)
        tree_tensors(el, turn->gradients.items[i], &leaves);
    for (int i = 0; i < leaves.count; i++) {
        const Value *g = tensor_cast(el, at, leaves.items[i], DT_f32);
        const Value *square = calculate(train, AST_mul, g, g);
        sum_of_squares = calculate(train, AST_add, sum_of_squares, call_with(el, train->env, at, "sum", &sum, &square, 1));
    }
    return point(train, "sqrt", tensor_default(el, at, sum_of_squares));
}

/* ---- the update ---- */

typedef struct Update { /* what holds for all weights of a turn */
    const Turn *turn;
    const Value *factor; /* of gradients; null: 1 */
    const Value *decay;  /* of averages; null: there are none */
    bool settles;        /* nothing comes after it */
} Update;

static bool is_norm(double clip)
{
    return clip > 0;
}

static bool is_decay(double ema)
{
    return ema >= 0 && ema < 1;
}

/* What gradients are multiplied by so that their norm is at most `clip`. */
static const Value *clip_factor(Train *train, const Expr *clip, const Value *norm)
{
    const Value *most = scalar_value(train, clip, "clip", is_norm, "a positive norm");
    const Value *over = calculate(train, AST_gt, norm, most);
    return choose(train, over, is_poison(most) ? most : calculate(train, AST_div, most, norm), value_real(train->el->arena, 1));
}

/* The new value with the type and the axes of the old one. */
static const Value *fit(Train *train, const Value *now, const Value *before, Span blame)
{
    Elab *el = train->el;
    Span at = train->decl->name_span;
    Shape shape = before->tensor.shape, joint;
    if (!is_poison(now) && now->kind != VALUE_tensor)
        now = tensor_from_number(el, blame, now, before->tensor.dtype);
    if (is_poison(now))
        return now;
    if (now->tensor.dtype != before->tensor.dtype || !shape_has_all(&shape, &now->tensor.shape))
        return elab_error(el, DIAG_train_key, blame, "`update` of the optimiser gives %s for what is %s",
                          value_describe(el->arena, now), value_describe(el->arena, before));
    if (!align_shapes(el, blame, "update", (const Value *[]){now, before}, 2, &joint))
        return &value_poison;
    return tensor_new(el, operand_ref(el, at, now, &shape, before->tensor.dtype), &shape);
}

typedef struct FitState {
    Train *train;
    Span blame;
} FitState;

static const Value *fit_part(Elab *el, const Value *const *pair, int count, const char *path, void *state)
{
    (void)count, (void)path;
    FitState *fitted = state;
    if (pair[0]->kind != VALUE_tensor)
        return pair[0];
    return fit(fitted->train, tensor_default(el, fitted->train->decl->name_span, pair[1]), pair[0], fitted->blame);
}

static const Value *move_average(Train *train, const Update *update, const Value *before, const Value *param)
{
    before = tensor_relabel(train->el, before, &param->tensor.shape);
    const Value *weight = tensor_cast(train->el, train->decl->name_span, update->decay, before->tensor.dtype);
    const Value *rest = calculate(train, AST_sub, value_real(train->el->arena, 1), weight);
    const Value *now =
        calculate(train, AST_add, calculate(train, AST_mul, weight, before), calculate(train, AST_mul, rest, param));
    return fit(train, now, before, train->decl->name_span);
}

/* (parameter, state) after the optimiser's step; null after a message. */
static const Value *optimise(Train *train, const Update *update, const Optimizer *optimizer, const Value *param,
                             const Value *gradient, const Value *state)
{
    Elab *el = train->el;
    Span at = train->decl->name_span;
    if (gradient->kind == VALUE_tensor)
        gradient = tensor_relabel(el, gradient, &param->tensor.shape);
    if (update->factor && gradient->kind == VALUE_tensor)
        gradient = calculate(train, AST_mul, gradient, tensor_cast(el, at, update->factor, gradient->tensor.dtype));
    const Value *args[4] = {gradient, state, param, update->turn->updates};
    const Value *result = call_with(el, train->env, at, "update of the optimiser", optimizer->update, args, 4);
    if (is_poison(result) || (result->kind == VALUE_tuple && result->group.count == 2))
        return is_poison(result) ? NULL : result;
    elab_error(el, DIAG_train_key, optimizer->span, "`update` of an optimiser gives (new parameter, new state), not %s",
               value_describe(el->arena, result));
    return NULL;
}

static bool update_set(Train *train, const Update *update, int s, const Value *gradient)
{
    Elab *el = train->el;
    ModelSet *set = &train->sets.items[s];
    const InstanceValue *own = set->instance->instance, *average = set->average ? set->average->instance : NULL;
    int count = own->leaves.count;
    const Value **params = arena_array(el->arena, const Value *, count + 1);
    const Value **averages = arena_array(el->arena, const Value *, count + 1);
    const Value **states = update->turn->states[s];
    for (int i = 0; i < count; i++) {
        const Optimizer *optimizer = optimizer_of(train, update->turn, set, i);
        const Value *param = own->leaves.items[i].value;
        const Value *result = optimise(train, update, optimizer, param, gradient->instance->leaves.items[i].value, states[i]);
        if (!result)
            return false;
        params[i] = fit(train, result->group.items[0], param, optimizer->span);
        if (is_poison(params[i]))
            return false;
        FitState fitted = {train, optimizer->span};
        const Value *pair[2] = {states[i], result->group.items[1]};
        states[i] = tree_zip(el, train->decl->name_span, pair, 2, state_path(train, update->turn, set, i), fit_part, &fitted);
        if (average)
            averages[i] = move_average(train, update, average->leaves.items[i].value, params[i]);
        if (is_poison(states[i]) || (average && is_poison(averages[i])))
            return false;
        if (update->settles) /* beside what computes them: fusion looks back only so far */
            leaf_outputs(train, s, i, params[i], averages[i]);
    }
    set->is_output = update->settles;
    set->instance = model_rebuild(el, set->instance, params);
    set->average = average ? model_rebuild(el, set->average, averages) : NULL;
    return true;
}

static bool is_last(const Train *train, const Turn *turn)
{
    return turn == &train->turns.items[train->turns.count - 1];
}

static bool update_all(Train *train, const Turn *turn, const Value *norm)
{
    const Program *program = train->el->program;
    const Expr *clip = turn_field(program, train->decl, turn->decl, "clip"), *ema = run_field(program, train->decl, "ema");
    Update update = {.turn = turn, .settles = is_last(train, turn) && !turn->updates_path};
    if (clip)
        update.factor = clip_factor(train, clip, norm);
    if (ema)
        update.decay = scalar_value(train, ema, "ema", is_decay, "a decay, at least 0 and less than 1");
    if ((clip && is_poison(update.factor)) || (ema && is_poison(update.decay)))
        return false;
    for (int s = 0, next = 0; s < train->sets.count; s++) {
        if (turn->trains[s] && !update_set(train, &update, s, turn->gradients.items[next++]))
            return false;
    }
    return true;
}

/* ---- a turn as one value: it may be chosen at run time ---- */

/* (state of the step, loss, norm, finite, updates) */
enum { MOVED_state, MOVED_loss, MOVED_norm, MOVED_finite, MOVED_updates, MOVED_COUNT };

static const Value *tuple(Train *train, const Value *const *items, int count)
{
    return value_group(train->el->arena, VALUE_tuple, count, items, NULL);
}

static const Value *step_state(Train *train, const Turn *turn)
{
    ValueList all = {0};
    for (int s = 0; s < train->sets.count; s++) {
        const ModelSet *set = &train->sets.items[s];
        if (!turn->trains[s])
            continue;
        const Value *parts[3] = {set->instance, set->average ? set->average : &value_unit,
                                 tuple(train, turn->states[s], set->instance->instance->leaves.count)};
        list_push(train->el->arena, &all, tuple(train, parts, 3));
    }
    return tuple(train, all.items, all.count);
}

static void set_step_state(Train *train, Turn *turn, const Value *state)
{
    for (int s = 0, next = 0; s < train->sets.count; s++) {
        ModelSet *set = &train->sets.items[s];
        if (!turn->trains[s])
            continue;
        const Value *const *parts = state->group.items[next++]->group.items;
        set->instance = parts[0];
        set->average = set->average ? parts[1] : NULL;
        for (int i = 0; i < set->instance->instance->leaves.count; i++)
            turn->states[s][i] = parts[2]->group.items[i];
    }
}

typedef struct Choice {
    Train *train;
    Turn *turn;
    const Value *before;
    const Value *condition; /* null: it is always taken */
} Choice;

static const char *turn_path(Train *train, const Turn *turn, const char *what)
{
    return turn->decl->name ? arena_printf(train->el->arena, "%s.%s", what, turn->decl->name) : what;
}

static void tell_verdict(Train *train, const Turn *turn, const Value *const *moved)
{
    Span at = train->decl->name_span;
    const Value *finite = moved[MOVED_finite];
    entry_output(train->build, PORT_loss, turn_path(train, turn, "loss"), moved[MOVED_loss], at);
    entry_output(train->build, PORT_grad_norm, turn_path(train, turn, "grad_norm"), moved[MOVED_norm], at);
    entry_output(train->build, PORT_finite, turn_path(train, turn, "finite"), finite, at);
    train->finite = train->finite ? calculate(train, AST_and, train->finite, finite) : finite;
}

static const Value *move(Elab *el, void *state)
{
    Choice *choice = state;
    Train *train = choice->train;
    Turn *turn = choice->turn;
    const Value *moved[MOVED_COUNT], *loss;
    if (!run_loss(train, turn, &loss))
        return &value_poison;
    moved[MOVED_loss] = tensor_cast(el, train->decl->name_span, loss, DT_f32);
    moved[MOVED_norm] = gradient_norm(train, turn);
    moved[MOVED_finite] =
        calculate(train, AST_and, point(train, "is_finite", moved[MOVED_loss]), point(train, "is_finite", moved[MOVED_norm]));
    if (is_poison(moved[MOVED_finite]))
        return &value_poison;
    if (!choice->condition)
        tell_verdict(train, turn, moved);
    if (!update_all(train, turn, moved[MOVED_norm]))
        return &value_poison;
    moved[MOVED_state] = step_state(train, turn);
    moved[MOVED_updates] = calculate(train, AST_add, turn->updates, value_integer(el->arena, 1));
    set_step_state(train, turn, choice->before);
    return tuple(train, moved, MOVED_COUNT);
}

static const Value *stay(Elab *el, void *state)
{
    Choice *choice = state;
    Span at = choice->train->decl->name_span;
    Shape scalar = {0};
    const Value *none = tensor_const(el, at, DT_f32, &scalar, NAN);
    const Value *moved[MOVED_COUNT] = {choice->before, none, none, tensor_const(el, at, DT_bool, &scalar, 1),
                                       choice->turn->updates};
    return tuple(choice->train, moved, MOVED_COUNT);
}

/* Null: every step is the turn's; poison after a message. */
static const Value *turn_condition(Train *train, const Turn *turn)
{
    Elab *el = train->el;
    const Expr *when = turn->decl->name ? turn_field(el->program, train->decl, turn->decl, "when") : NULL;
    const Value *value = when ? elab_eval(el, train->env, when) : NULL;
    if (!value || is_poison(value) || (value->kind == VALUE_bool && value->truth))
        return value && is_poison(value) ? value : NULL;
    if (value->kind == VALUE_bool)
        return tensor_default(el, when->span, value);
    if (value->kind == VALUE_tensor && value->tensor.dtype == DT_bool && !value->tensor.shape.rank)
        return value;
    return elab_error(el, DIAG_train_key, when->span,
                      "`when` says of a step whether the turn is taken, as `step %% 2 == 0` does, "
                      "and is not %s",
                      value_describe(el->arena, value));
}

static const Value *moved_by(Train *train, Turn *turn, const Value *condition)
{
    Elab *el = train->el;
    Choice choice = {train, turn, step_state(train, turn), condition};
    KeyNode *around = el->key;
    if (turn->decl->name)
        el->key = key_child(el, around, turn->decl->name);
    const Value *moved =
        condition ? elab_choose(el, train->decl->name_span, condition, move, stay, &choice) : move(el, &choice);
    el->key = around;
    return moved;
}

bool take_turn(Train *train, Turn *turn)
{
    Span at = train->decl->name_span;
    const Value *condition = turn_condition(train, turn);
    Shape scalar = {0};
    if (condition && is_poison(condition))
        return false;
    turn->updates = train->step;
    if (condition) {
        turn->updates_path = arena_printf(train->el->arena, "%s.updates", turn_path(train, turn, "opt"));
        turn->updates = entry_input(train->build, PORT_state, turn->updates_path, DT_i32, &scalar, at);
    }
    const Value *moved = moved_by(train, turn, condition);
    if (is_poison(moved))
        return false;
    const Value *const *parts = moved->group.items;
    set_step_state(train, turn, parts[MOVED_state]);
    turn->updates = parts[MOVED_updates];
    if (!condition)
        return true;
    tell_verdict(train, turn, parts);
    entry_output(train->build, PORT_taken, turn_path(train, turn, "taken"), condition, at);
    return true;
}
