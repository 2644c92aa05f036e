/* Training: one step as a function. Parameters, averages and optimiser state go in and come out, updated only if the loss and
 * its gradient are finite. */
#include "frontend/elaborate.h"

#include <string.h>

const char *const train_keys[] = {"loss", "data", "optimizer", "batch",     "steps",      "ema",
                                  "clip", "lr",   "seed",      "log_every", "save_every", NULL};

/* ---- the declaration ---- */

const Expr *train_field(const Program *program, const Decl *decl, const char *name)
{
    const SettingExpr *setting = program_setting(program, decl->name, name);
    if (!setting)
        setting = program_setting(program, "train", name);
    if (setting)
        return setting->value;
    for (int i = 0; decl->value && i < decl->value->fields.count; i++) {
        if (!strcmp(decl->value->fields.items[i].name, name))
            return decl->value->fields.items[i].value;
    }
    return NULL;
}

bool train_loss(Elab *el, const Program *program, const Decl *decl, const Value **loss)
{
    const Expr *expr = train_field(program, decl, "loss");
    if (!expr) {
        elab_error(el, DIAG_train_key, decl->name_span, "a training run needs `loss = ...`");
        return false;
    }
    *loss = elab_eval(el, elab_module_env(el, program->modules.items[0]), expr);
    if (is_poison(*loss))
        return false;
    if ((*loss)->kind == VALUE_function && (*loss)->function.decl)
        return true;
    elab_error(el, DIAG_train_key, expr->span, "`loss` names a loss that is declared, but this is %s",
               value_describe(el->arena, *loss));
    return false;
}

static bool is_model_param(const Param *param)
{
    return param->type && param->type->kind == TYPE_named && strcmp(param->type->name, "key");
}

static bool check_keys(Elab *el, const Decl *decl, const Decl *loss)
{
    LIST(const char *) known = {0};
    for (int i = 0; train_keys[i]; i++)
        list_push(el->arena, &known, train_keys[i]);
    for (int i = 0; i < loss->params.count; i++) {
        if (is_model_param(&loss->params.items[i]))
            list_push(el->arena, &known, loss->params.items[i].name);
    }
    bool ok = true;
    for (int i = 0; i < decl->value->fields.count; i++) {
        const Field *field = &decl->value->fields.items[i];
        bool found = false;
        for (int j = 0; j < known.count; j++)
            found |= !strcmp(known.items[j], field->name);
        if (found)
            continue;
        elab_error(el, DIAG_train_key, field->span, "a training run has no key `%s`", field->name);
        elab_suggest(el, field->name, known.items, known.count);
        ok = false;
    }
    return ok;
}

static bool whole_field(Elab *el, const Decl *decl, const char *name, int64_t otherwise, int64_t least, int64_t *out)
{
    const Expr *expr = train_field(el->program, decl, name);
    *out = otherwise;
    if (!expr)
        return true;
    Env *env = elab_module_env(el, el->program->modules.items[0]);
    const char *what = arena_printf(el->arena, "`%s`", name);
    if (!want_integer(el, elab_eval(el, env, expr), expr->span, what, out))
        return false;
    if (*out >= least && *out <= INT32_MAX)
        return true;
    bool low = *out < least;
    elab_error(el, DIAG_train_key, expr->span, "`%s` is at %s %lld, not %lld", name, low ? "least" : "most",
               low ? (long long)least : (long long)INT32_MAX, (long long)*out);
    return false;
}

static bool data_field(Elab *el, const Program *program, const Decl *decl, const DataSet **data)
{
    const Expr *expr = train_field(program, decl, "data");
    *data = NULL;
    if (!expr)
        return true;
    *data = expr->kind == EXPR_name ? program_data(program, expr->name) : NULL;
    if (*data)
        return true;
    elab_error(el, DIAG_train_key, expr->span, "`data` names a data set of this file");
    const char **names = arena_array(el->arena, const char *, program->data.count + 1);
    for (int i = 0; i < program->data.count; i++)
        names[i] = program->data.items[i]->name;
    if (expr->kind == EXPR_name)
        elab_suggest(el, expr->name, names, program->data.count);
    return false;
}

bool train_describe(Program *program, const Decl *decl, TrainRun *run, DiagSink *diags)
{
    Elab *el = elab_new(program->arena, program, diags);
    const Value *loss;
    *run = (TrainRun){.name = decl->name};
    bool ok = train_loss(el, program, decl, &loss) && check_keys(el, decl, loss->function.decl);
    ok = ok && data_field(el, program, decl, &run->data) && whole_field(el, decl, "batch", 64, 1, &run->batch) &&
         whole_field(el, decl, "steps", 1000, 1, &run->steps) && whole_field(el, decl, "seed", 0, 0, &run->seed) &&
         whole_field(el, decl, "log_every", 0, 0, &run->log_every) &&
         whole_field(el, decl, "save_every", (run->steps + 9) / 10, 0, &run->save_every);
    for (int i = 0; ok && i < loss->function.decl->params.count; i++) {
        const Param *param = &loss->function.decl->params.items[i];
        if (is_model_param(param) && strcmp(param->name, "ema"))
            list_push(program->arena, &run->models, param->name);
    }
    elab_close(el);
    return ok;
}

/* ---- model sets ---- */

typedef enum SetUse { SET_trained, SET_frozen, SET_average } SetUse;

typedef struct ModelSet { /* a parameter of the loss that is a model */
    const char *name;
    const Param *param;
    SetUse use;
    const Value *model, *instance;
    const Value *average; /* trained, where averages are kept */
    const Value **states; /* trained: the optimiser's state of each parameter */
    const Value *gradients;
} ModelSet;

typedef struct Train {
    EntryBuild *build;
    Elab *el;
    const Decl *decl, *loss;
    const Value *loss_value;
    Env *env; /* with step, steps and progress */
    LIST(ModelSet) sets;
    const Value *step, *steps, *progress;
    const Value *init, *update;
    const DataSet *data;
    int64_t batch;
} Train;

static const Expr *run_field(const Train *train, const char *name)
{
    return train_field(train->el->program, train->decl, name);
}

/* `teacher = frozen`, `target = ema`; a model called ema is the average of the first that is trained. */
static bool set_use(Train *train, const Param *param, SetUse *use)
{
    const Expr *expr = run_field(train, param->name);
    bool is_key = !strcmp(param->name, "ema"); /* that key is the decay */
    *use = is_key ? SET_average : SET_trained;
    if (!expr || is_key)
        return true;
    const char *word = expr->kind == EXPR_name ? expr->name : "";
    if (!strcmp(word, "frozen"))
        *use = SET_frozen;
    else if (!strcmp(word, "ema"))
        *use = SET_average;
    else if (strcmp(word, "trained")) {
        elab_error(train->el, DIAG_train_key, expr->span, "the model `%s` is `trained`, `frozen` or `ema`", param->name);
        return false;
    }
    return true;
}

static ModelSet *first_trained(const Train *train)
{
    for (int i = 0; i < train->sets.count; i++) {
        if (train->sets.items[i].use == SET_trained)
            return &train->sets.items[i];
    }
    return NULL;
}

static bool make_sets(Train *train)
{
    Elab *el = train->el;
    for (int i = 0; i < train->loss->params.count; i++) {
        const Param *param = &train->loss->params.items[i];
        ModelSet set = {.name = param->name, .param = param};
        if (!is_model_param(param))
            continue;
        if (!set_use(train, param, &set.use))
            return false;
        Env *env = train->loss_value->function.env;
        set.model = model_of_type(el, env, param->type);
        if (!set.model || is_poison(set.model))
            return false;
        if (set.use != SET_average)
            set.instance = entry_instance(train->build, set.model, PORT_parameter, param->name, param->span);
        if (set.instance && is_poison(set.instance))
            return false;
        list_push(el->arena, &train->sets, set);
    }
    if (first_trained(train))
        return true;
    elab_error(el, DIAG_train_key, train->decl->name_span, "the loss `%s` takes no model that is trained", train->loss->name);
    elab_note(el, train->loss->name_span, "it is declared here");
    return false;
}

static bool make_averages(Train *train)
{
    Elab *el = train->el;
    bool wanted = run_field(train, "ema") != NULL;
    for (int i = 0; i < train->sets.count; i++)
        wanted |= train->sets.items[i].use == SET_average;
    if (!wanted)
        return true;
    if (!run_field(train, "ema")) {
        elab_error(el, DIAG_train_key, train->decl->name_span,
                   "a model is an average here, so the run needs its decay: `ema = 0.999`");
        return false;
    }
    for (int i = 0; i < train->sets.count; i++) {
        ModelSet *set = &train->sets.items[i];
        if (set->use == SET_trained)
            set->average = entry_instance(train->build, set->model, PORT_ema, arena_printf(el->arena, "ema.%s", set->name),
                                          set->param->span);
    }
    for (int i = 0; i < train->sets.count; i++) {
        if (train->sets.items[i].use == SET_average)
            train->sets.items[i].instance = first_trained(train)->average;
    }
    return true;
}

/* ---- run-time scalars ---- */

static void make_scalars(Train *train, bool as_inputs)
{
    Elab *el = train->el;
    Span at = train->decl->name_span;
    Shape scalar = {0};
    if (as_inputs) {
        train->step = entry_input(train->build, PORT_step, "step", DT_i32, &scalar, at);
        train->steps = entry_input(train->build, PORT_steps, "steps", DT_i32, &scalar, at);
    } else {
        train->step = tensor_const(el, at, DT_i32, &scalar, 0);
        train->steps = tensor_const(el, at, DT_i32, &scalar, 1);
    }
    train->progress =
        arithmetic(el, at, AST_div, tensor_cast(el, at, train->step, DT_f32), tensor_cast(el, at, train->steps, DT_f32));
    train->env = env_new_body(el, elab_module_env(el, el->program->modules.items[0]));
    env_bind(el, train->env, "step", train->step, false, at);
    env_bind(el, train->env, "steps", train->steps, false, at);
    env_bind(el, train->env, "progress", train->progress, false, at);
}

/* A scalar of a train key, as an f32; a number that is known must be one that makes sense. */
static const Value *scalar_field(Train *train, const char *name, bool makes_sense(double), const char *rule)
{
    const Expr *expr = run_field(train, name);
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

/* ---- the optimiser ---- */

/* `lr = ...` beside the optimiser is an argument of it. */
static const Expr *optimiser_expr(Train *train)
{
    const Expr *expr = run_field(train, "optimizer"), *rate = run_field(train, "lr");
    if (!expr || !rate)
        return expr;
    Expr *call = arena_new_of(train->el->arena, Expr);
    if (expr->kind == EXPR_call) {
        *call = *expr;
        call->args.items = NULL;
        call->args.count = call->args.capacity = 0;
        for (int i = 0; i < expr->args.count; i++)
            list_push(train->el->arena, &call->args, expr->args.items[i]);
    } else {
        *call = (Expr){.kind = EXPR_call, .span = expr->span, .a = (Expr *)expr};
    }
    Arg arg = {"lr", (Expr *)rate, rate->span};
    list_push(train->el->arena, &call->args, arg);
    return call;
}

static bool make_optimiser(Train *train)
{
    Elab *el = train->el;
    const Expr *expr = optimiser_expr(train);
    if (!expr) {
        elab_error(el, DIAG_train_key, train->decl->name_span,
                   "a training run needs `optimizer = ...`, for instance radam(lr = 4e-4)");
        return false;
    }
    const Value *value = elab_eval(el, train->env, expr);
    if (is_poison(value))
        return false;
    train->init = record_get(value, "init");
    train->update = record_get(value, "update");
    if (train->init && train->update)
        return true;
    elab_error(el, DIAG_train_key, expr->span,
               "an optimiser is a record { init: (p) => state, update: (g, state, p, step) => (p, state) }, "
               "not %s",
               value_describe(el->arena, value));
    return false;
}

static const Value *scalar_part(Elab *el, const Value *part, void *state)
{
    Span *at = state;
    return tensor_default(el, *at, part);
}

/* The optimiser's first state of a parameter. */
static const Value *initial_state(Train *train, const Value *param)
{
    Span at = train->decl->name_span;
    const Value *state = call_with(train->el, train->env, at, "init of the optimiser", train->init, &param, 1);
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

static const char *state_path(Train *train, const ModelSet *set, int leaf)
{
    return arena_printf(train->el->arena, "opt.%s.%s", set->name, set->instance->instance->leaves.items[leaf].path);
}

static bool make_states(Train *train)
{
    Elab *el = train->el;
    for (int s = 0; s < train->sets.count; s++) {
        ModelSet *set = &train->sets.items[s];
        if (set->use != SET_trained)
            continue;
        int count = set->instance->instance->leaves.count;
        set->states = arena_array(el->arena, const Value *, count + 1);
        for (int i = 0; i < count; i++) {
            LeafList parts = {0};
            const Value *state = initial_state(train, set->instance->instance->leaves.items[i].value);
            if (is_poison(state))
                return false;
            tree_parts(el, state, state_path(train, set, i), &parts);
            StatePorts ports = {train, &parts, 0};
            set->states[i] = tree_map(el, state, state_port, &ports);
        }
    }
    return true;
}

bool optimiser_specialise(EntryBuild *build, const Decl *decl)
{
    Train train = {.build = build, .el = build->el, .decl = decl};
    Elab *el = build->el;
    if (!train_loss(el, el->program, decl, &train.loss_value))
        return false;
    train.loss = train.loss_value->function.decl;
    if (!make_sets(&train))
        return false;
    make_scalars(&train, false);
    if (!make_optimiser(&train))
        return false;
    for (int s = 0; s < train.sets.count; s++) {
        const ModelSet *set = &train.sets.items[s];
        if (set->use != SET_trained)
            continue;
        for (int i = 0; i < set->instance->instance->leaves.count; i++) {
            LeafList parts = {0};
            const Value *state = initial_state(&train, set->instance->instance->leaves.items[i].value);
            tree_parts(el, state, state_path(&train, set, i), &parts);
            for (int p = 0; p < parts.count; p++) {
                if (parts.items[p].value->kind == VALUE_tensor)
                    entry_output(build, PORT_state, parts.items[p].path, parts.items[p].value, decl->name_span);
            }
        }
    }
    return !el->errors;
}

/* ---- the loss and its gradient ---- */

static void note_fields(Elab *el, const DataSet *data)
{
    Text names = text_new(el->arena);
    for (int i = 0; i < data->fields.count; i++)
        text_printf(&names, "%s%s", i ? ", " : "", data->fields.items[i].name);
    elab_note(el, (Span){0}, "the data set `%s` has %s", data->name, names.data);
}

static const Value *loss_argument(Train *train, const Param *param, Label *batch)
{
    Elab *el = train->el;
    for (int i = 0; i < train->sets.count; i++) {
        if (!strcmp(train->sets.items[i].name, param->name))
            return train->sets.items[i].instance;
    }
    for (int i = 0; train->data && i < train->data->fields.count; i++) {
        if (!strcmp(train->data->fields.items[i].name, param->name))
            return data_batch(train->build, train->data, param->name, batch, train->batch);
    }
    const Local *binding = env_find(train->env, param->name, NULL);
    if (binding)
        return binding->value;
    if (param->initial)
        return NULL;
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

typedef struct LossCall {
    const Value *loss;
    int count;
    const char **names;
} LossCall;

/* Arguments by name, so that those with a default may be left out; the axis B has the size of the batch. */
static const Value *call_loss(Elab *el, const Value *function, Call *call)
{
    const LossCall *loss = function->function.data;
    Call named = *call;
    named.name = loss->loss->function.decl->name;
    named.args = arena_array(el->arena, Argument, call->count + 1);
    for (int i = 0; i < call->count; i++) {
        named.args[i] = call->args[i];
        named.args[i].name = loss->names[i];
    }
    const Local *batch = env_find(call->env, "B", NULL);
    const Decl *decl = loss->loss->function.decl;
    for (int i = 0; batch && i < decl->generics.count; i++) {
        if (strcmp(decl->generics.items[i].name, "B"))
            continue;
        GivenGeneric given = {"B", batch->value->axis.label, batch->value->axis.label->size, decl->generics.items[i].span};
        list_push(el->arena, &named.generics, given);
    }
    return call_value(el, loss->loss, &named);
}

static bool run_loss(Train *train, const Value **value)
{
    Elab *el = train->el;
    int most = train->loss->params.count, count = 0;
    const Value **args = arena_array(el->arena, const Value *, most + 1);
    bool *wanted = arena_array(el->arena, bool, most + 1);
    LossCall *data = arena_new_of(el->arena, LossCall);
    data->names = arena_array(el->arena, const char *, most + 1);
    data->loss = train->loss_value;
    Label *batch = label_new(el, train->env->activation, "B", train->batch, train->decl->name_span);
    env_bind(el, train->env, "B", value_axis(el->arena, batch, SIZE_UNKNOWN), false, train->decl->name_span);
    bool ok = true;
    for (int i = 0; i < most; i++) {
        const Param *param = &train->loss->params.items[i];
        const Value *arg = loss_argument(train, param, batch);
        if (!arg)
            continue;
        ok &= !is_poison(arg);
        args[count] = arg;
        data->names[count] = param->name;
        for (int s = 0; s < train->sets.count; s++)
            wanted[count] |= train->sets.items[s].use == SET_trained && train->sets.items[s].param == param;
        count++;
    }
    if (!ok)
        return false;
    Value function = {.kind = VALUE_function};
    function.function.native = call_loss;
    function.function.data = data;
    ValueList found = {0};
    const Value *kept = arena_copy(el->arena, &function, sizeof function);
    if (!gradients(el, train->env, train->loss->name_span, kept, args, count, wanted, value, &found))
        return false;
    for (int s = 0, next = 0; s < train->sets.count; s++) {
        if (train->sets.items[s].use == SET_trained)
            train->sets.items[s].gradients = found.items[next++];
    }
    return true;
}

/* ---- the update ---- */

static const Value *point(Train *train, const char *name, const Value *x)
{
    const Builtin *row = builtin_find(name);
    return pointwise(train->el, train->decl->name_span, name, row->op, row->class, row->known, &x, 1);
}

static const Value *calculate(Train *train, AstOp op, const Value *a, const Value *b)
{
    return arithmetic(train->el, train->decl->name_span, op, a, b);
}

static const Value *total(Train *train, const Value *x)
{
    return call_with(train->el, train->env, train->decl->name_span, "sum",
                     &(Value){.kind = VALUE_builtin, .builtin = builtin_find("sum")}, &x, 1);
}

/* The Euclidean norm of all gradients together, in f32. */
static const Value *gradient_norm(Train *train)
{
    const Value *sum = value_real(train->el->arena, 0);
    for (int s = 0; s < train->sets.count; s++) {
        ValueList leaves = {0};
        if (!train->sets.items[s].gradients)
            continue;
        tree_tensors(train->el, train->sets.items[s].gradients, &leaves);
        for (int i = 0; i < leaves.count; i++) {
            const Value *g = tensor_cast(train->el, train->decl->name_span, leaves.items[i], DT_f32);
            sum = calculate(train, AST_add, sum, total(train, calculate(train, AST_mul, g, g)));
        }
    }
    return point(train, "sqrt", tensor_default(train->el, train->decl->name_span, sum));
}

static bool is_norm(double clip)
{
    return clip > 0;
}

static bool is_decay(double ema)
{
    return ema >= 0 && ema < 1;
}

/* What gradients are multiplied by so that their norm is at most `clip`; null: nothing. */
static const Value *clip_factor(Train *train, const Value *norm)
{
    Elab *el = train->el;
    if (!run_field(train, "clip"))
        return NULL;
    const Value *most = scalar_field(train, "clip", is_norm, "a positive norm"), *one = value_real(el->arena, 1);
    const Value *over = calculate(train, AST_gt, norm, most);
    const Value *operands[3] = {over, is_poison(most) ? most : calculate(train, AST_div, most, norm), one};
    return pointwise(el, train->decl->name_span, "select", OP_select, POINT_select, NULL, operands, 3);
}

static const Value *keep(Train *train, const Value *finite, const Value *now, const Value *before)
{
    Elab *el = train->el;
    Span at = train->decl->name_span;
    const Value *operands[3] = {finite, now, before};
    if (is_poison(now))
        return now;
    if (now->kind == VALUE_tensor && now->tensor.dtype != before->tensor.dtype)
        return elab_error(el, DIAG_train_key, run_field(train, "optimizer")->span,
                          "`update` of the optimiser gives %s for what is %s", value_describe(el->arena, now),
                          value_describe(el->arena, before));
    const Value *value = pointwise(el, at, "select", OP_select, POINT_select, NULL, operands, 3);
    return is_poison(value) ? value : tensor_order(el, at, value, &before->tensor.shape);
}

typedef struct StateOut {
    Train *train;
    const Value *finite;
} StateOut;

static const Value *state_output(Elab *el, const Value *const *pair, int count, const char *path, void *state)
{
    (void)count;
    StateOut *out = state;
    if (pair[0]->kind != VALUE_tensor)
        return pair[0];
    const Value *value = keep(out->train, out->finite, tensor_default(el, out->train->decl->name_span, pair[1]), pair[0]);
    if (!is_poison(value))
        entry_output(out->train->build, PORT_state, path, value, out->train->decl->name_span);
    return value;
}

static bool average_output(Train *train, const ModelSet *set, int leaf, const Value *param, const Value *finite,
                           const Value *decay)
{
    const ParamLeaf *own = &set->average->instance->leaves.items[leaf];
    Span at = train->decl->name_span;
    const Value *before = tensor_relabel(train->el, own->value, &param->tensor.shape);
    const Value *weight = tensor_cast(train->el, at, decay, before->tensor.dtype);
    const Value *rest = calculate(train, AST_sub, value_real(train->el->arena, 1), weight);
    const Value *now =
        calculate(train, AST_add, calculate(train, AST_mul, weight, before), calculate(train, AST_mul, rest, param));
    const Value *value = keep(train, finite, now, before);
    if (is_poison(value))
        return false;
    entry_output(train->build, PORT_ema, arena_printf(train->el->arena, "ema.%s.%s", set->name, own->path), value, at);
    return true;
}

static bool update_leaf(Train *train, const ModelSet *set, int leaf, const Value *factor, const Value *finite,
                        const Value *decay)
{
    Elab *el = train->el;
    Span at = train->decl->name_span;
    const ParamLeaf *own = &set->instance->instance->leaves.items[leaf];
    const Value *param = own->value, *gradient = set->gradients->instance->leaves.items[leaf].value;
    gradient = gradient->kind == VALUE_tensor ? tensor_relabel(el, gradient, &param->tensor.shape) : gradient;
    if (factor && gradient->kind == VALUE_tensor)
        gradient = calculate(train, AST_mul, gradient, tensor_cast(el, at, factor, gradient->tensor.dtype));
    const Value *args[4] = {gradient, set->states[leaf], param, train->step};
    const Value *result = call_with(el, train->env, at, "update of the optimiser", train->update, args, 4);
    if (is_poison(result))
        return false;
    if (result->kind != VALUE_tuple || result->group.count != 2) {
        elab_error(el, DIAG_train_key, run_field(train, "optimizer")->span,
                   "`update` of an optimiser gives (new parameter, new state), not %s", value_describe(el->arena, result));
        return false;
    }
    const Value *now = keep(train, finite, result->group.items[0], param);
    if (is_poison(now))
        return false;
    entry_output(train->build, PORT_parameter, arena_printf(el->arena, "%s.%s", set->name, own->path), now, at);
    StateOut out = {train, finite};
    const Value *pair[2] = {set->states[leaf], result->group.items[1]};
    int before = el->errors;
    tree_zip(el, at, pair, 2, state_path(train, set, leaf), state_output, &out);
    return el->errors == before && (!set->average || average_output(train, set, leaf, result->group.items[0], finite, decay));
}

static bool update_all(Train *train, const Value *norm, const Value *finite)
{
    const Value *factor = clip_factor(train, norm), *decay = NULL;
    if (run_field(train, "ema"))
        decay = scalar_field(train, "ema", is_decay, "a decay, at least 0 and less than 1");
    if ((factor && is_poison(factor)) || (decay && is_poison(decay)))
        return false;
    for (int s = 0; s < train->sets.count; s++) {
        const ModelSet *set = &train->sets.items[s];
        for (int i = 0; set->use == SET_trained && i < set->instance->instance->leaves.count; i++) {
            if (!update_leaf(train, set, i, factor, finite, decay))
                return false;
        }
    }
    return true;
}

bool train_specialise(EntryBuild *build, const Decl *decl)
{
    Elab *el = build->el;
    Train train = {.build = build, .el = el, .decl = decl};
    Span at = decl->name_span;
    if (!train_loss(el, el->program, decl, &train.loss_value))
        return false;
    train.loss = train.loss_value->function.decl;
    el->training = true;
    if (!data_field(el, el->program, decl, &train.data) || !whole_field(el, decl, "batch", 64, 1, &train.batch) ||
        !make_sets(&train) || !make_averages(&train))
        return false;
    make_scalars(&train, true);
    const Value *loss;
    if (!make_optimiser(&train) || !make_states(&train) || !run_loss(&train, &loss))
        return false;
    const Value *norm = gradient_norm(&train);
    const Value *single = tensor_cast(el, at, loss, DT_f32);
    const Value *finite = calculate(&train, AST_and, point(&train, "is_finite", single), point(&train, "is_finite", norm));
    if (is_poison(finite) || !update_all(&train, norm, finite))
        return false;
    entry_output(build, PORT_loss, "loss", single, at);
    entry_output(build, PORT_grad_norm, "grad_norm", norm, at);
    entry_output(build, PORT_finite, "finite", finite, at);
    return !el->errors;
}
