/* Functions with a derivative rule of their own: a node that has the function and the rule, each as a function of the IR. */
#include "frontend/builtins.h"

typedef struct Inside { /* all tensors become parameters */
    ValueList outer;
    ValueList inner;
} Inside;

static const Value *enter_part(Elab *el, const Value *part, void *state)
{
    Inside *inside = state;
    if (part->kind != VALUE_tensor)
        return part;
    list_push(el->arena, &inside->outer, part);
    const Value *param = tensor_new(el, ir_param(el->frame->func, shape_type(&part->tensor.shape, part->tensor.dtype), NULL),
                                    &part->tensor.shape);
    list_push(el->arena, &inside->inner, param);
    return param;
}

static const Value *tangent_param(Elab *el, const Value *part, void *state)
{
    (void)state;
    if (!is_float_tensor(part))
        return value_integer(el->arena, 0);
    return tensor_new(el, ir_param(el->frame->func, shape_type(&part->tensor.shape, part->tensor.dtype), "tangent"),
                      &part->tensor.shape);
}

static bool check_captures(Elab *el, const Frame *frame, Span at)
{
    for (int i = 0; i < frame->captures.count; i++) {
        if (dtype_is_float(ir_type_of(frame->func, frame->captures.items[i].param)->dtype)) {
            elab_error(el, DIAG_rule_capture, at, "a function with a derivative rule may depend on its arguments only");
            elab_note(el, (Span){0}, "the rule cannot know the tangent of a tensor that a function argument brings in");
            return false;
        }
    }
    return true;
}

/* One side of a custom node: the function itself, or its rule with tangents after the arguments. */
static const Value *custom_side(Elab *el, const Value *function, Call *call, const Value *const *args, int count, bool is_rule,
                                Inside *inside, Frame **frame)
{
    *frame = frame_enter(el, is_rule ? "rule" : "custom");
    (*frame)->func->at = call->span;
    Call within = *call;
    within.count = is_rule ? 2 * count : count;
    within.args = arena_array(el->arena, Argument, within.count + 1);
    for (int i = 0; i < count; i++)
        within.args[i] = (Argument){.value = tree_map(el, args[i], enter_part, inside), .span = call->span};
    for (int i = 0; is_rule && i < count; i++)
        within.args[count + i] =
            (Argument){.value = tree_map(el, within.args[i].value, tangent_param, NULL), .span = call->span};
    KeyNode *around = el->rule_key;
    if (is_rule)
        el->rule_key = el->key;
    const Value *value = call_plain(el, function, &within);
    el->rule_key = around;
    frame_leave(el);
    return value;
}

typedef struct RuleResults {
    Span at;
    Frame *frame;
} RuleResults;

/* A rule that gives less than the result has was rather summed by mistake than meant to be repeated. */
static bool lacks_axes(Elab *el, Span at, const Value *tangent, const Value *primal)
{
    if (tangent->kind != VALUE_tensor || tangent->tensor.shape.rank >= primal->tensor.shape.rank)
        return false;
    elab_error(el, DIAG_axis_missing, at, "the tangent of %s that the rule gives is %s: it has fewer axes",
               value_describe(el->arena, primal), value_describe(el->arena, tangent));
    elab_note(el, (Span){0}, "if it is the same along the others, `expand` says so");
    return true;
}

/* The tangent of each float result, with its axes and type. */
static const Value *rule_result(Elab *el, const Value *const *pair, int count, const char *path, void *state)
{
    (void)count, (void)path;
    RuleResults *results = state;
    if (!is_float_tensor(pair[0]))
        return pair[1];
    if (lacks_axes(el, results->at, pair[1], pair[0]))
        return &value_poison;
    const Value *tangent = tangent_like(el, results->at, "tangent", pair[1], pair[0]);
    if (!is_poison(tangent))
        ir_result(results->frame->func, tensor_ref(el, tangent, results->at), NULL);
    return tangent;
}

/* Parameters in the order that the primitive wants: arguments, captures, tangents. */
static void order_rule_params(Elab *el, Frame *rule, int args, int tangents)
{
    IrFunc *func = rule->func;
    IrRef *order = arena_array(el->arena, IrRef, func->params.count + 1);
    int count = 0, captures = func->params.count - args - tangents;
    for (int i = 0; i < args; i++)
        order[count++] = func->params.items[i];
    for (int i = 0; i < captures; i++)
        order[count++] = func->params.items[args + tangents + i];
    for (int i = 0; i < tangents; i++)
        order[count++] = func->params.items[args + i];
    ir_order_params(func, order);
}

static const Value *emit_custom(Elab *el, Call *call, const Value *value, const Inside *inside, Frame *own, Frame *rule)
{
    Span at = call->span;
    int args = inside->outer.count, tangents = 0, next = 0;
    for (int i = 0; i < args; i++)
        tangents += is_float_tensor(inside->outer.items[i]);
    frame_unify_captures(el, own, rule, args + tangents);
    order_rule_params(el, rule, args, tangents);
    int count = args + own->captures.count;
    IrRef *refs = arena_array(el->arena, IrRef, count + 1), *captures = frame_captures(el, own);
    for (int i = 0; i < count; i++)
        refs[i] = i < args ? tensor_ref(el, inside->outer.items[i], at) : captures[i - args];
    ValueList like = {0}, got = {0};
    tree_tensors(el, value, &like);
    IrNode node = {.op = OP_custom, .operand_count = count, .operands = refs, .callee = {own->func, rule->func}};
    get_tensors(el, at, ir_emit(emit(el, at), node), 0, &like, &got);
    return tree_rebuild(el, value, &got, &next);
}

const Value *call_custom(Elab *el, const Value *function, Call *call, const Decl *rule)
{
    int count = function->function.decl->params.count;
    const Value **args = arena_array(el->arena, const Value *, count + 1);
    Span *places = arena_array(el->arena, Span, count + 1);
    Env *scratch = env_new_body(el, function->function.env);
    if (!match_arguments(el, scratch, function->function.decl->name, &function->function.decl->params, call, args, places))
        return &value_poison;
    if (rule->params.count != count || rule->tangents.count != count) {
        elab_error(el, DIAG_arity, rule->name_span, "the derivative of `%s` takes its %d argument%s and as many tangents",
                   rule->name, count, count == 1 ? "" : "s");
        elab_note(el, function->function.decl->name_span, "the function is declared here");
        return &value_poison;
    }
    Frame *own, *other;
    Inside inside = {0}, again = {0};
    const Value *value = custom_side(el, function, call, args, count, false, &inside, &own);
    Value by_rule = *function;
    by_rule.function.decl = rule;
    const Value *tangent = custom_side(el, &by_rule, call, args, count, true, &again, &other);
    if (is_poison(value) || is_poison(tangent))
        return &value_poison;
    Span at = rule->body->span;
    RuleResults results = {at, other};
    ValueList tensors = {0};
    int before = el->errors;
    el->frame = own;
    value = tree_map(el, value, result_part, &call->span);
    tree_tensors(el, value, &tensors);
    for (int i = 0; i < tensors.count; i++)
        ir_result(own->func, tensor_ref(el, tensors.items[i], call->span), NULL);
    el->frame = other;
    tree_zip(el, at, (const Value *[]){value, tangent}, 2, "", rule_result, &results);
    if (el->errors > before)
        elab_note(el, function->function.decl->name_span, "the rule gives a tangent for each float of this function's result");
    el->frame = own->parent;
    other->func->at = rule->name_span; /* where a message about it points */
    if (el->errors > before || !check_captures(el, own, call->span) || !check_captures(el, other, call->span))
        return &value_poison;
    return emit_custom(el, call, value, &inside, own, other);
}
