/* Calculus: functions closed over what they capture become IR functions, and derivatives become nodes that refer to them. */
#include "frontend/builtins.h"

#include <string.h>

/* ---- a function of the language as a function of the IR ---- */

typedef struct Derived {
    Frame *frame;
    ValueList params;   /* what the active parameters are outside: float tensors */
    ValueList operands; /* params, then what is captured */
    const Value *value; /* the result as it is inside */
    ValueList results;  /* its tensors */
} Derived;

typedef struct Activate {
    Derived *derived;
    const Value *const *tangents; /* jvp: the tangent of each part, in order; null: every float is active */
    int next;
} Activate;

static const Value *activate_part(Elab *el, const Value *part, void *state)
{
    Activate *activate = state;
    bool active = !activate->tangents || activate->tangents[activate->next] != NULL;
    activate->next++;
    if (!is_float_tensor(part) || !active)
        return part;
    list_push(el->arena, &activate->derived->params, part);
    IrRef param = ir_param(el->frame->func, shape_type(&part->tensor.shape, part->tensor.dtype), NULL);
    return tensor_new(el, param, &part->tensor.shape);
}

const Value *result_part(Elab *el, const Value *part, void *state)
{
    Span *at = state;
    return part->kind == VALUE_number ? tensor_default(el, *at, part) : part;
}

/* Runs the function on arguments whose active parts have become parameters. */
static bool derive(Elab *el, Env *env, Span at, const Value *function, const Value *const *args, int count, const bool *wanted,
                   const Value *const *tangents, Derived *derived)
{
    *derived = (Derived){.frame = frame_enter(el, "derived")};
    derived->frame->func->at = at;
    Activate activate = {derived, tangents, 0};
    const Value **inside = arena_array(el->arena, const Value *, count + 1);
    for (int i = 0; i < count; i++)
        inside[i] = !wanted || wanted[i] ? tree_map(el, args[i], activate_part, &activate) : args[i];
    const Value *value = call_with(el, env, at, "the differentiated function", function, inside, count);
    if (!is_poison(value))
        value = tree_map(el, value, result_part, &at);
    derived->value = value;
    tree_tensors(el, value, &derived->results);
    for (int i = 0; i < derived->results.count; i++)
        ir_result(derived->frame->func, tensor_ref(el, derived->results.items[i], at), NULL);
    frame_leave(el);
    for (int i = 0; i < derived->params.count; i++)
        list_push(el->arena, &derived->operands, derived->params.items[i]);
    for (int i = 0; i < derived->frame->captures.count; i++) {
        const Capture *capture = &derived->frame->captures.items[i];
        IrType type = *ir_type_of(derived->frame->func, capture->param);
        Value *outer = arena_new_of(el->arena, Value);
        outer->kind = VALUE_tensor;
        outer->tensor = (TensorValue){.frame = el->frame, .ref = capture->outer, .dtype = type.dtype};
        for (int j = 0; j < type.rank; j++)
            outer->tensor.shape.axes[outer->tensor.shape.rank++] =
                (Axis){label_new(el, NULL, "axis", type.dim[j], at), type.dim[j]};
        list_push(el->arena, &derived->operands, outer);
    }
    return !is_poison(value);
}

static IrRef *operand_refs(Elab *el, Span at, const Derived *derived, const ValueList *more, int *count)
{
    *count = derived->operands.count + (more ? more->count : 0);
    IrRef *refs = arena_array(el->arena, IrRef, *count + 1);
    for (int i = 0; i < *count; i++) {
        int own = derived->operands.count;
        refs[i] = tensor_ref(el, i < own ? derived->operands.items[i] : more->items[i - own], at);
    }
    return refs;
}

void get_tensors(Elab *el, Span at, IrRef node, int first, const ValueList *like, ValueList *out)
{
    for (int i = 0; i < like->count; i++)
        list_push(el->arena, out, tensor_new(el, ir_get(emit(el, at), node, first + i), &like->items[i]->tensor.shape));
}

static IrInts first_integers(Elab *el, int count)
{
    int64_t *items = arena_array(el->arena, int64_t, count + 1);
    for (int i = 0; i < count; i++)
        items[i] = i;
    return (IrInts){count, items};
}

static const Value *value_of(Elab *el, Span at, const Derived *derived)
{
    int count, next = 0;
    ValueList values = {0};
    if (!derived->results.count)
        return derived->value;
    IrRef *refs = operand_refs(el, at, derived, NULL, &count);
    IrRef node = ir_call(emit(el, at), derived->frame->func, refs, count);
    get_tensors(el, at, node, 0, &derived->results, &values);
    return tree_rebuild(el, derived->value, &values, &next);
}

/* ---- arguments ---- */

/* What is differentiated: the first argument. */
static const Value *function_argument(Elab *el, Call *call)
{
    const Value *function = arg_value(el, call, 0);
    bool fits = function->kind == VALUE_function || function->kind == VALUE_builtin || function->kind == VALUE_instance;
    if (fits || is_poison(function))
        return function;
    return elab_error(el, DIAG_not_callable, positional(call, 0)->span, "`%s` is of a function, not of %s", call->name,
                      value_describe(el->arena, function));
}

static ValueList argument_list(Elab *el, const Value *value, bool *several)
{
    ValueList args = {0};
    *several = value->kind == VALUE_tuple;
    if (*several)
        known_items(el, value, &args);
    else
        list_push(el->arena, &args, value);
    return args;
}

/* ---- jvp ---- */

typedef struct Tangents {
    Span at;
    ValueList primals; /* of each part, numbers made tensors */
    ValueList list;    /* null: symbolically zero */
} Tangents;

static bool is_zero(const Value *value)
{
    return value->kind == VALUE_number && value->number.real == 0;
}

const Value *tangent_like(Elab *el, Span at, const char *what, const Value *tangent, const Value *primal)
{
    Number number;
    DiagCode wrong = DIAG_COUNT;
    if (tangent->kind != VALUE_tensor)
        wrong = value_as_number(tangent, &number) ? DIAG_COUNT : DIAG_type_mismatch;
    else if (!tangent->tensor.weak && tangent->tensor.dtype != primal->tensor.dtype)
        wrong = DIAG_dtype_mismatch;
    else if (!shape_has_all(&primal->tensor.shape, &tangent->tensor.shape))
        wrong = DIAG_axis_align;
    for (int i = 0; wrong == DIAG_COUNT && tangent->kind == VALUE_tensor && i < tangent->tensor.shape.rank; i++) {
        const Axis *axis = &tangent->tensor.shape.axes[i];
        if (primal->tensor.shape.axes[shape_find(&primal->tensor.shape, axis->label)].size != axis->size)
            wrong = DIAG_axis_size;
    }
    if (wrong != DIAG_COUNT) {
        elab_error(el, wrong, at, "the %s of %s cannot be %s", what, value_describe(el->arena, primal),
                   value_describe(el->arena, tangent));
        note_origin(el, primal, at);
        note_origin(el, tangent, at);
        return &value_poison;
    }
    return tensor_new(el, operand_ref(el, at, tangent, &primal->tensor.shape, primal->tensor.dtype), &primal->tensor.shape);
}

static const Value *take_tangent(Elab *el, const Value *const *pair, int count, const char *path, void *state)
{
    (void)count, (void)path;
    Tangents *tangents = state;
    const Value *primal = pair[0], *tangent = pair[1], *used = NULL;
    Span at = span_contains(tangents->at, tangent->span) ? tangent->span : tangents->at;
    Number number;
    if (value_as_number(primal, &number) && !is_zero(tangent))
        primal = tensor_from_number(el, tangents->at, primal, is_float_tensor(tangent) ? tangent->tensor.dtype : DT_f32);
    if (is_poison(primal) || is_poison(tangent))
        return &value_poison;
    if (!is_zero(tangent)) {
        if (!is_float_tensor(primal)) {
            elab_error(el, DIAG_integer_tangent, at, "%s has no tangent: only floats have", value_describe(el->arena, primal));
            elab_note(el, (Span){0}, "give 0 as its tangent");
            return &value_poison;
        }
        used = tangent_like(el, at, "tangent", tangent, primal);
        if (is_poison(used))
            return used;
    }
    list_push(el->arena, &tangents->primals, primal);
    list_push(el->arena, &tangents->list, used);
    return primal;
}

typedef struct TangentTree {
    const ValueList *tangents; /* of the float results; null: all zero */
    int next;
    Span at;
} TangentTree;

static const Value *result_tangent(Elab *el, const Value *part, void *state)
{
    TangentTree *tree = state;
    if (!is_float_tensor(part))
        return value_integer(el->arena, 0);
    if (!tree->tangents)
        return tensor_const(el, tree->at, part->tensor.dtype, &part->tensor.shape, 0);
    return tree->tangents->items[tree->next++];
}

static const Value *emit_jvp(Elab *el, Span at, const Derived *derived, const ValueList *tangents)
{
    int count, next = 0;
    ValueList active = {0}, floats = {0}, values = {0}, moved = {0};
    for (int i = 0; i < tangents->count; i++) {
        if (tangents->items[i])
            list_push(el->arena, &active, tangents->items[i]);
    }
    TangentTree tree = {NULL, 0, at};
    if (!active.count || !derived->results.count) {
        const Value *value = value_of(el, at, derived);
        return value_pair(el->arena, value, tree_map(el, value, result_tangent, &tree));
    }
    for (int i = 0; i < derived->results.count; i++) {
        if (is_float_tensor(derived->results.items[i]))
            list_push(el->arena, &floats, derived->results.items[i]);
    }
    IrRef *refs = operand_refs(el, at, derived, &active, &count);
    IrNode node = {.op = OP_jvp,
                   .operand_count = count,
                   .operands = refs,
                   .attr = {first_integers(el, active.count)},
                   .callee = {derived->frame->func}};
    IrRef ref = ir_emit(emit(el, at), node);
    get_tensors(el, at, ref, 0, &derived->results, &values);
    get_tensors(el, at, ref, derived->results.count, &floats, &moved);
    const Value *value = tree_rebuild(el, derived->value, &values, &next);
    tree.tangents = &moved;
    return value_pair(el->arena, value, tree_map(el, derived->value, result_tangent, &tree));
}

const Value *builtin_jvp(Elab *el, Call *call)
{
    const Value *function = function_argument(el, call), *primals = arg_value(el, call, 1), *given = arg_value(el, call, 2);
    if (is_poison(function) || is_poison(primals) || is_poison(given))
        return &value_poison;
    Tangents tangents = {.at = positional(call, 2)->span};
    int before = el->errors;
    const Value *zipped = tree_zip(el, tangents.at, (const Value *[]){primals, given}, 2, "", take_tangent, &tangents);
    if (is_poison(zipped) && !tangents.list.count)
        elab_note(el, (Span){0}, "the tangents have the form of the arguments");
    primals = zipped;
    if (is_poison(primals) || el->errors > before)
        return &value_poison;
    bool several;
    ValueList args = argument_list(el, primals, &several);
    Derived derived;
    if (!derive(el, call->env, call->span, function, args.items, args.count, NULL, tangents.list.items, &derived))
        return &value_poison;
    return emit_jvp(el, call->span, &derived, &tangents.list);
}

/* ---- reverse ---- */

typedef struct Seeds {
    Span at;
    LIST(int64_t) indices; /* of the results that have a cotangent */
    ValueList list;
    int next;
} Seeds;

static const Value *take_cotangent(Elab *el, const Value *const *pair, int count, const char *path, void *state)
{
    (void)count, (void)path;
    Seeds *seeds = state;
    const Value *result = pair[0], *given = pair[1];
    bool is_tensor = result->kind == VALUE_tensor;
    int index = seeds->next;
    seeds->next += is_tensor;
    if (is_zero(given))
        return given;
    if (!is_float_tensor(result)) {
        if (is_tensor)
            elab_error(el, DIAG_integer_tangent, seeds->at, "%s has no cotangent: only floats have",
                       value_describe(el->arena, result));
        return given;
    }
    const Value *seed = tangent_like(el, seeds->at, "cotangent", given, result);
    if (is_poison(seed))
        return seed;
    int64_t place = index;
    list_push(el->arena, &seeds->indices, place);
    list_push(el->arena, &seeds->list, seed);
    return seed;
}

typedef struct GradientTree {
    const ValueList *gradients;
    int next;
} GradientTree;

static const Value *gradient_part(Elab *el, const Value *part, void *state)
{
    GradientTree *tree = state;
    if (!is_float_tensor(part))
        return value_integer(el->arena, 0);
    return tree->gradients->items[tree->next++];
}

static IrRef emit_vjp(Elab *el, Span at, const Derived *derived, const Seeds *seeds, ValueList *out)
{
    int count;
    IrRef *refs = operand_refs(el, at, derived, &seeds->list, &count);
    IrInts indices = {seeds->indices.count, seeds->indices.items};
    IrNode node = {.op = OP_vjp,
                   .operand_count = count,
                   .operands = refs,
                   .attr = {first_integers(el, derived->params.count), indices},
                   .callee = {derived->frame->func}};
    IrRef ref = ir_emit(emit(el, at), node);
    get_tensors(el, at, ref, derived->results.count, &derived->params, out);
    return ref;
}

typedef struct Pullback {
    Derived derived;
    ValueList args;
    bool several;
} Pullback;

static const Value *zero_gradients(Elab *el, Span at, const ValueList *like, ValueList *out)
{
    for (int i = 0; i < like->count; i++)
        list_push(el->arena, out, tensor_const(el, at, like->items[i]->tensor.dtype, &like->items[i]->tensor.shape, 0));
    return NULL;
}

static const Value *call_pullback(Elab *el, const Value *function, Call *call)
{
    const Pullback *pullback = function->function.data;
    if (call->count != 1)
        return elab_error(el, DIAG_arity, call->span, "a pullback takes one cotangent, not %d arguments", call->count);
    const Value *cotangent = call_arg(el, call, 0);
    if (is_poison(cotangent))
        return cotangent;
    Seeds seeds = {.at = call->args[0].span};
    int before = el->errors;
    tree_zip(el, seeds.at, (const Value *[]){pullback->derived.value, cotangent}, 2, "", take_cotangent, &seeds);
    if (el->errors > before) {
        elab_note(el, (Span){0}, "the cotangent has the form of the result");
        return &value_poison;
    }
    ValueList found = {0}, trees = {0};
    if (seeds.list.count && pullback->derived.params.count)
        emit_vjp(el, call->span, &pullback->derived, &seeds, &found);
    else
        zero_gradients(el, call->span, &pullback->derived.params, &found);
    GradientTree tree = {&found, 0};
    for (int i = 0; i < pullback->args.count; i++)
        list_push(el->arena, &trees, tree_map(el, pullback->args.items[i], gradient_part, &tree));
    return pullback->several ? value_group(el->arena, VALUE_tuple, trees.count, trees.items, NULL) : trees.items[0];
}

static const Value *native(Elab *el, NativeCall *call, const void *data)
{
    Value *value = arena_new_of(el->arena, Value);
    value->kind = VALUE_function;
    value->function.native = call;
    value->function.data = data;
    return value;
}

static const Value *float_part(Elab *el, const Value *part, void *state)
{
    Span *at = state;
    return part->kind == VALUE_number ? tensor_from_number(el, *at, part, DT_f32) : part;
}

const Value *builtin_vjp(Elab *el, Call *call)
{
    const Value *function = function_argument(el, call), *primals = arg_value(el, call, 1);
    if (is_poison(function) || is_poison(primals))
        return &value_poison;
    Pullback *pullback = arena_new_of(el->arena, Pullback);
    primals = tree_map(el, primals, float_part, &call->span);
    pullback->args = argument_list(el, primals, &pullback->several);
    if (!derive(el, call->env, call->span, function, pullback->args.items, pullback->args.count, NULL, NULL,
                &pullback->derived))
        return &value_poison;
    const Value *value = value_of(el, call->span, &pullback->derived);
    return value_pair(el->arena, value, native(el, call_pullback, pullback));
}

/* ---- grad ---- */

static bool check_scalar(Elab *el, Span at, const Value *value)
{
    if (is_float_tensor(value) && !value->tensor.shape.rank)
        return true;
    if (!is_poison(value)) {
        elab_error(el, DIAG_gradient, at, "a gradient is of a function with one float as its result, but this gives %s",
                   value_describe(el->arena, value));
        elab_note(el, (Span){0}, "take the sum or the mean; vjp handles other results");
    }
    return false;
}

static bool has_floats(Elab *el, const Value *tree)
{
    ValueList tensors = {0};
    bool any = false;
    tree_tensors(el, tree, &tensors);
    for (int i = 0; i < tensors.count; i++)
        any |= is_float_tensor(tensors.items[i]);
    return any || is_poison(tree);
}

bool gradients(Elab *el, Env *env, Span at, const Value *function, const Value *const *args, int count, const bool *wanted,
               const Value **value, ValueList *out)
{
    const Value **floats = arena_array(el->arena, const Value *, count + 1);
    for (int i = 0; i < count; i++) {
        floats[i] = wanted[i] ? tree_map(el, args[i], float_part, &at) : args[i];
        if (wanted[i] && !has_floats(el, floats[i])) {
            elab_error(el, DIAG_integer_tangent, at, "there is no gradient by %s: only floats have one",
                       value_describe(el->arena, floats[i]));
            return false;
        }
    }
    Derived derived;
    if (!derive(el, env, at, function, floats, count, wanted, NULL, &derived) || !check_scalar(el, at, derived.value))
        return false;
    ValueList found = {0};
    if (!derived.params.count) {
        *value = value_of(el, at, &derived);
    } else {
        Shape scalar = {0};
        Seeds seeds = {.at = at};
        int64_t first = 0;
        list_push(el->arena, &seeds.indices, first);
        list_push(el->arena, &seeds.list, tensor_const(el, at, derived.value->tensor.dtype, &scalar, 1));
        IrRef node = emit_vjp(el, at, &derived, &seeds, &found);
        *value = tensor_new(el, ir_get(emit(el, at), node, 0), &scalar);
    }
    GradientTree tree = {&found, 0};
    for (int i = 0; i < count; i++) {
        if (wanted[i])
            list_push(el->arena, out, tree_map(el, floats[i], gradient_part, &tree));
    }
    return true;
}

typedef struct GradData {
    const Value *function;
    LIST(int64_t) places;
    bool several, with_value;
} GradData;

static const Value *call_grad(Elab *el, const Value *function, Call *call)
{
    const GradData *data = function->function.data;
    const Value **args = arena_array(el->arena, const Value *, call->count + 1);
    bool *wanted = arena_array(el->arena, bool, call->count + 1);
    for (int i = 0; i < call->count; i++) {
        args[i] = call_arg(el, call, i);
        if (is_poison(args[i]))
            return args[i];
        if (call->args[i].name)
            return elab_error(el, DIAG_arity, call->args[i].span, "a gradient takes its arguments by position");
    }
    for (int i = 0; i < data->places.count; i++) {
        if (data->places.items[i] < 0 || data->places.items[i] >= call->count)
            return elab_error(el, DIAG_arity, call->span,
                              "the gradient is by argument %lld, counted from 0, but the call has %d argument%s",
                              (long long)data->places.items[i], call->count, call->count == 1 ? "" : "s");
        wanted[data->places.items[i]] = true;
    }
    const Value *value;
    ValueList found = {0}, ordered = {0};
    if (!gradients(el, call->env, call->span, data->function, args, call->count, wanted, &value, &found))
        return &value_poison;
    for (int i = 0; i < data->places.count; i++) { /* in the order that was asked for */
        int before = 0;
        for (int64_t j = 0; j < data->places.items[i]; j++)
            before += wanted[j];
        list_push(el->arena, &ordered, found.items[before]);
    }
    const Value *result =
        data->several ? value_group(el->arena, VALUE_tuple, ordered.count, ordered.items, NULL) : ordered.items[0];
    return data->with_value ? value_pair(el->arena, value, result) : result;
}

static const Value *make_grad(Elab *el, Call *call, bool with_value)
{
    GradData *data = arena_new_of(el->arena, GradData);
    data->function = function_argument(el, call);
    data->with_value = with_value;
    if (is_poison(data->function))
        return data->function;
    ValueList places = {0};
    if (positional_count(call) > 1) {
        const Value *which = arg_value(el, call, 1);
        data->several = known_items(el, which, &places);
        if (!data->several)
            list_push(el->arena, &places, which);
    } else {
        list_push(el->arena, &places, value_integer(el->arena, 0));
    }
    for (int i = 0; i < places.count; i++) {
        int64_t place;
        if (!want_integer(el, places.items[i], call->span, "the argument of a gradient", &place))
            return &value_poison;
        list_push(el->arena, &data->places, place);
    }
    return native(el, call_grad, data);
}

const Value *builtin_grad(Elab *el, Call *call)
{
    return make_grad(el, call, false);
}

const Value *builtin_value_and_grad(Elab *el, Call *call)
{
    return make_grad(el, call, true);
}
