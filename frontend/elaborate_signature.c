/* Signatures: labels of parameter types bound to the axes of the arguments, and results given back the caller's labels.
 *
 * Labels of a signature are fresh in the body.  Each axis of an argument gets the label that its type says; which axis that
 * was outside is kept in the Signature, so that a result (or what a lambda of the caller is given) finds its way back. */
#include "frontend/elaborate.h"

#include <string.h>

/* ---- declaring the labels of a signature ---- */

/* A label that nothing around declares is a generic of the signature. */
static void declare_axis(Elab *el, Env *body, const AxisExpr *axis)
{
    const char *name = axis->rest ? NULL : type_axis_label(axis);
    if (!name || label_existing(el, body, name))
        return;
    const Local *binding = env_find(body, name, NULL);
    if (binding)
        return; /* a number of that name: said where the axis is used */
    Label *label = label_new(el, body->activation, name, SIZE_UNKNOWN, axis->span);
    env_bind(el, body, name, value_axis(el->arena, label, SIZE_UNKNOWN), false, axis->span);
}

static void declare_type(Elab *el, Env *body, const TypeExpr *type)
{
    if (!type)
        return;
    for (int i = 0; i < type->axes.count; i++)
        declare_axis(el, body, &type->axes.items[i]);
    for (int i = 0; i < type->items.count; i++)
        declare_type(el, body, type->items.items[i]);
    for (int i = 0; i < type->fields.count; i++)
        declare_type(el, body, type->fields.items[i].type);
}

/* ---- which axis of an argument is which of its type ---- */

enum { MATCH_REST = -1 };

typedef struct Match {
    int formal[IR_MAX_RANK]; /* for each axis of the argument: index into the type's axes, or MATCH_REST */
} Match;

static Label *formal_label(Elab *el, Env *body, const AxisExpr *axis)
{
    const char *name = type_axis_label(axis);
    return name ? label_existing(el, body, name) : NULL;
}

static int rest_position(const TypeExpr *type)
{
    for (int i = 0; i < type->axes.count; i++) {
        if (type->axes.items[i].rest)
            return i;
    }
    return -1;
}

static const Value *report_rank(Elab *el, const TypeExpr *type, const Value *value, Span at, const char *name)
{
    int want = type->axes.count - (rest_position(type) >= 0);
    elab_error(el, DIAG_axis_count, at, "`%s` wants %d %s%s, but this is %s", name, want, want == 1 ? "axis" : "axes",
               rest_position(type) < 0 ? "" : " or more", value_describe(el->arena, value));
    note_origin(el, value, at);
    elab_note(el, type->span, "the type is here%s", rest_position(type) < 0 ? "; `..` stands for any further axes" : "");
    return &value_poison;
}

/* Axes of a `dim` are found by their label wherever they stand; the others are matched by position. */
static bool match_axes(Elab *el, Env *body, const TypeExpr *type, const Shape *have, Match *match)
{
    bool formal_done[64] = {false}, actual_done[IR_MAX_RANK] = {false};
    for (int i = 0; i < type->axes.count && i < 64; i++) {
        Label *label = type->axes.items[i].rest ? NULL : formal_label(el, body, &type->axes.items[i]);
        int at = label && !label->home ? shape_find(have, label) : -1;
        if (at < 0)
            continue;
        match->formal[at] = i;
        formal_done[i] = actual_done[at] = true;
    }
    int actuals[IR_MAX_RANK], actual_count = 0, formals[64], formal_count = 0, rest = -1;
    for (int i = 0; i < have->rank; i++) {
        if (!actual_done[i])
            actuals[actual_count++] = i;
    }
    for (int i = 0; i < type->axes.count && i < 64; i++) {
        if (type->axes.items[i].rest)
            rest = formal_count;
        else if (!formal_done[i])
            formals[formal_count++] = i;
    }
    if (rest < 0 ? actual_count != formal_count : actual_count < formal_count)
        return false;
    int middle = actual_count - formal_count;
    for (int i = 0; i < actual_count; i++) {
        bool in_rest = rest >= 0 && i >= rest && i < rest + middle;
        match->formal[actuals[i]] = in_rest ? MATCH_REST : formals[rest >= 0 && i >= rest + middle ? i - middle : i];
    }
    return true;
}

static void signature_note(Elab *el, Signature *signature, Label *formal, Label *actual)
{
    for (int i = 0; i < signature->formals.count; i++) {
        if (signature->formals.items[i].formal == formal)
            return;
    }
    Formal entry = {formal, actual};
    list_push(el->arena, &signature->formals, entry);
}

/* ---- first pass: sizes of plain labels, and what `..` is ---- */

static void note_axis(Elab *el, const Label *label, int64_t size)
{
    if (label->span.source)
        elab_note(el, label->span, "the axis %s, of size %lld, comes from here", label->name, (long long)size);
}

static bool learn_axis(Elab *el, const Signature *signature, Label *formal, const AxisExpr *written, Axis actual, Span at,
                       const char *name)
{
    if (written->size)
        return true; /* checked in the second pass, when the labels in it are known */
    if (formal->size < 0) {
        formal->size = actual.size;
        formal->sampled = actual.label->sampled && actual.label->size == actual.size;
        return true;
    }
    if (formal->size == actual.size)
        return true;
    elab_error(el, DIAG_axis_size, at, "`%s` has %lld along %s where %lld is needed", name, (long long)actual.size,
               formal->name, (long long)formal->size);
    elab_note(el, written->span, formal->home ? "the axis is here" : "the axis is here; a `dim` has one size everywhere");
    note_axis(el, actual.label, actual.size);
    for (int i = 0; i < signature->formals.count; i++) {
        if (signature->formals.items[i].formal == formal)
            note_axis(el, signature->formals.items[i].actual, formal->size);
    }
    return false;
}

/* `..` is the largest of the sets that stand there; the others are parts of it. */
static bool learn_rest(Elab *el, Signature *signature, const Shape *rest, Span at, const char *name)
{
    Shape *known = &signature->rest;
    signature->has_rest = true;
    const Shape *big = rest->rank > known->rank ? rest : known, *small = big == rest ? known : rest;
    for (int i = 0; i < small->rank; i++) {
        int j = shape_find(big, small->axes[i].label);
        if (j >= 0 && big->axes[j].size == small->axes[i].size)
            continue;
        Text first = text_new(el->arena), second = text_new(el->arena);
        shape_print(known, &first);
        shape_print(rest, &second);
        elab_error(el, DIAG_axis_align, at, "`..` is one set of axes, but here it is %s and in `%s` it is %s", first.data, name,
                   second.data);
        return false;
    }
    *known = *big;
    return true;
}

static bool learn_tensor(Elab *el, Env *body, Signature *signature, const TypeExpr *type, const Value *value, Span at,
                         const char *name)
{
    Match match;
    Shape rest = {0};
    const Shape *have = &value->tensor.shape;
    if (!match_axes(el, body, type, have, &match)) {
        report_rank(el, type, value, at, name);
        return false;
    }
    for (int i = 0; i < have->rank; i++) {
        if (match.formal[i] == MATCH_REST) {
            rest.axes[rest.rank++] = have->axes[i];
            continue;
        }
        const AxisExpr *written = &type->axes.items[match.formal[i]];
        Label *formal = formal_label(el, body, written);
        if (!formal) {
            elab_error(el, DIAG_axis_wanted, written->span, "this axis needs a label: write `C: size`");
            return false;
        }
        if (!learn_axis(el, signature, formal, written, have->axes[i], at, name))
            return false;
        signature_note(el, signature, formal, have->axes[i].label);
    }
    return rest_position(type) < 0 || learn_rest(el, signature, &rest, at, name);
}

static bool learn(Elab *el, Env *body, Signature *signature, const TypeExpr *type, const Value *value, Span at,
                  const char *name)
{
    if (!type || is_poison(value))
        return true;
    if (type->kind == TYPE_tensor && value->kind == VALUE_tensor)
        return learn_tensor(el, body, signature, type, value, at, name);
    bool ok = true;
    if (type->kind == TYPE_tuple && value->kind == VALUE_tuple && value->group.count == type->items.count) {
        for (int i = 0; i < type->items.count && ok; i++)
            ok = learn(el, body, signature, type->items.items[i], value->group.items[i], at,
                       arena_printf(el->arena, "%s.%d", name, i));
    }
    for (int i = 0; type->kind == TYPE_record && i < type->fields.count && ok; i++) {
        const Value *field = record_get(value, type->fields.items[i].name);
        if (field)
            ok = learn(el, body, signature, type->fields.items[i].type, field, at, type->fields.items[i].name);
    }
    return ok;
}

/* ---- second pass: the argument with the labels of its type ---- */

static const Value *enter_tensor(Elab *el, Env *body, const TypeExpr *type, const Value *value, Span at, const char *name)
{
    value = type_fit_dtype(el, type, value, at, arena_printf(el->arena, "`%s`", name));
    if (is_poison(value))
        return value;
    if (value->kind != VALUE_tensor || !value->tensor.shape.rank) {
        if (type->axes.count > (rest_position(type) >= 0))
            return report_rank(el, type, value, at, name);
        return value;
    }
    Match match;
    if (!match_axes(el, body, type, &value->tensor.shape, &match))
        return &value_poison;
    Shape shape = {0}, have = value->tensor.shape;
    for (int i = 0; i < have.rank; i++) {
        Axis axis = have.axes[i];
        if (match.formal[i] != MATCH_REST) {
            Axis declared;
            if (!type_axis(el, body, &type->axes.items[match.formal[i]], &declared))
                return &value_poison;
            if (declared.size >= 0 && declared.size != axis.size) {
                elab_error(el, DIAG_axis_size, at, "`%s` has %lld along %s where %lld is needed", name, (long long)axis.size,
                           declared.label->name, (long long)declared.size);
                elab_note(el, type->axes.items[match.formal[i]].span, "the axis is here");
                return &value_poison;
            }
            if (declared.label->size == SIZE_UNKNOWN) /* of `E: D` */
                declared.label->size = axis.size;
            axis.label = declared.label;
        }
        if (!shape_push(el, &shape, axis, at))
            return &value_poison;
    }
    return tensor_relabel(el, value, &shape);
}

static const Value *enter(Elab *el, Env *body, const TypeExpr *type, const Value *value, Span at, const char *name)
{
    if (!type || is_poison(value))
        return value;
    if (type->kind == TYPE_tensor)
        return enter_tensor(el, body, type, value, at, name);
    if ((type->kind == TYPE_tuple && value->kind == VALUE_tuple && value->group.count == type->items.count) ||
        (type->kind == TYPE_record && value->kind == VALUE_record)) {
        bool record = type->kind == TYPE_record;
        int count = record ? type->fields.count : type->items.count;
        const Value **items = arena_array(el->arena, const Value *, count + 1);
        const char **names = arena_array(el->arena, const char *, count + 1);
        for (int i = 0; i < count; i++) {
            names[i] = record ? type->fields.items[i].name : arena_printf(el->arena, "%s.%d", name, i);
            const Value *item = record ? record_get(value, names[i]) : value->group.items[i];
            if (!item)
                return elab_error(el, DIAG_unknown_field, at, "`%s` has no field `%s`", name, names[i]);
            items[i] = enter(el, body, record ? type->fields.items[i].type : type->items.items[i], item, at, names[i]);
        }
        return value_group(el->arena, value->kind, count, items, record ? names : NULL);
    }
    return type_fit(el, body, type, value, at, arena_printf(el->arena, "`%s`", name));
}

static void bind_rest(Elab *el, Env *body, const Signature *signature)
{
    const Value *axes[IR_MAX_RANK];
    for (int i = 0; i < signature->rest.rank; i++)
        axes[i] = value_axis(el->arena, signature->rest.axes[i].label, signature->rest.axes[i].size);
    env_bind(el, body, "..", value_group(el->arena, VALUE_list, signature->rest.rank, axes, NULL), false, (Span){0});
}

bool signature_bind(Elab *el, Env *body, Signature *signature, const ParamList *params, const Value **values,
                    const Span *places)
{
    for (int i = 0; i < params->count; i++)
        declare_type(el, body, params->items[i].type);
    for (int i = 0; i < params->count; i++) {
        if (!learn(el, body, signature, params->items[i].type, values[i], places[i], params->items[i].name))
            return false;
    }
    if (signature->has_rest)
        bind_rest(el, body, signature);
    body->signature = signature;
    bool ok = true;
    for (int i = 0; i < params->count; i++) {
        const Param *param = &params->items[i];
        const Value *value = enter(el, body, param->type, values[i], places[i], param->name);
        ok = ok && (!is_poison(value) || is_poison(values[i]));
        env_bind(el, body, param->name, value, false, param->span);
    }
    return ok;
}

/* ---- results ---- */

const Value *signature_result(Elab *el, Env *body, const Signature *signature, const Decl *decl, const Value *value, Span at)
{
    if (!decl->type)
        return value;
    const char *what = arena_printf(el->arena, "the result of `%s`", decl->name);
    value = type_fit(el, body, decl->type, value, at, what);
    if (is_poison(value) || decl->type->kind != TYPE_tensor || value->kind != VALUE_tensor || rest_position(decl->type) < 0)
        return value;
    Shape named = {0};
    for (int i = 0; i < decl->type->axes.count; i++) {
        Label *label = decl->type->axes.items[i].rest ? NULL : formal_label(el, body, &decl->type->axes.items[i]);
        if (label)
            named.axes[named.rank++] = (Axis){label, 0};
    }
    Shape rest = shape_without(&value->tensor.shape, &named), missing = shape_without(&signature->rest, &rest);
    Shape extra = shape_without(&rest, &signature->rest);
    if (!missing.rank && !extra.rank)
        return value;
    return elab_error(el, DIAG_axis_missing, at,
                      "%s %s the axis %s, but `..` in its type stands for the same axes as in its parameters", what,
                      missing.rank ? "lacks" : "has", (missing.rank ? missing : extra).axes[0].label->name);
}

/* ---- labels crossing the border of a body ---- */

/* What a label is called one body further out; null if it is the same there. */
static Label *outward_once(const Env *from, const Label *label)
{
    for (const Env *env = from; env; env = env->parent) {
        const Signature *signature = env->signature;
        for (int i = 0; signature && i < signature->formals.count; i++) {
            Label *actual = signature->formals.items[i].actual;
            if (signature->formals.items[i].formal == label && actual != label)
                return actual;
        }
    }
    return label->outer;
}

typedef struct Relabel {
    Env *from;            /* the body that the value leaves */
    Env *site;            /* result: where it goes */
    const Activation *to; /* labels at home here stay */
    FormalList *renamed;  /* outward: what was renamed, for the way back */
    const FormalList *back;
    Span at;
} Relabel;

static bool is_dim(const Label *label)
{
    return !label->home;
}

static Label *label_of_result(Elab *el, const Relabel *relabel, Label *label)
{
    const Env *from = relabel->from;
    for (int steps = 0; steps < 64; steps++) {
        Label *next = NULL;
        if (steps == 0 && from->signature) { /* a model's own axis, or a dim bound by position, goes back to the argument's */
            for (int i = 0; i < from->signature->formals.count && !next; i++) {
                if (from->signature->formals.items[i].formal == label)
                    next = from->signature->formals.items[i].actual;
            }
        }
        if (next) {
            label = next;
            continue;
        }
        if (is_dim(label) || !label_lives_in(label, from->activation) || label_lives_in(label, relabel->to))
            return label;
        if (!label->outer) {
            Label *named = label_resolve(el, relabel->site, label->name, label->span);
            return named;
        }
        label = label->outer;
    }
    return label;
}

static Label *label_of_outward(const Relabel *relabel, Label *label)
{
    Label *inner = label;
    for (int steps = 0; steps < 64; steps++) {
        if (is_dim(label) || label_lives_in(label, relabel->to) || !label_lives_in(label, relabel->from->activation))
            break;
        Label *next = outward_once(relabel->from, label);
        if (!next || next == label)
            break;
        label = next;
    }
    return label_lives_in(label, relabel->to) || is_dim(label) || label != inner ? label : inner;
}

static Label *label_of(Elab *el, const Relabel *relabel, Label *label)
{
    if (relabel->back) {
        for (int i = 0; i < relabel->back->count; i++) {
            if (relabel->back->items[i].actual == label)
                return relabel->back->items[i].formal;
        }
        return label;
    }
    if (relabel->site)
        return label_of_result(el, relabel, label);
    Label *outer = label_of_outward(relabel, label);
    if (outer != label) {
        Formal entry = {label, outer};
        list_push(el->arena, relabel->renamed, entry);
    }
    return outer;
}

static const Value *relabel_part(Elab *el, const Value *part, void *state)
{
    const Relabel *relabel = state;
    if (part->kind == VALUE_axis) {
        Label *label = label_of(el, relabel, part->axis.label);
        int64_t size = part->axis.size >= 0 ? part->axis.size : part->axis.label->size;
        return label == part->axis.label ? part : value_axis(el->arena, label, size);
    }
    if (part->kind != VALUE_tensor)
        return part;
    Shape shape = {0};
    bool same = true;
    for (int i = 0; i < part->tensor.shape.rank; i++) {
        Axis axis = part->tensor.shape.axes[i];
        axis.label = label_of(el, relabel, axis.label);
        same &= axis.label == part->tensor.shape.axes[i].label;
        if (!shape_push(el, &shape, axis, relabel->at))
            return &value_poison;
    }
    return same ? part : tensor_relabel(el, part, &shape);
}

/* Parameters of an instance keep the labels of their model. */
static const Value *relabel_tree(Elab *el, const Value *value, Relabel *relabel)
{
    if (value->kind == VALUE_instance)
        return value;
    if (value->kind != VALUE_tuple && value->kind != VALUE_record && value->kind != VALUE_list)
        return relabel_part(el, value, relabel);
    const Value **items = arena_array(el->arena, const Value *, value->group.count + 1);
    for (int i = 0; i < value->group.count; i++)
        items[i] = relabel_tree(el, value->group.items[i], relabel);
    return value_group(el->arena, value->kind, value->group.count, items, value->group.names);
}

const Value *relabel_result(Elab *el, Env *body, Env *site, const Value *value, Span at)
{
    Relabel relabel = {.from = body, .site = site, .to = site->activation, .at = at};
    return relabel_tree(el, value, &relabel);
}

const Value *relabel_outward(Elab *el, Env *from, const Activation *to, const Value *value, FormalList *renamed)
{
    Relabel relabel = {.from = from, .to = to, .renamed = renamed, .at = value->span};
    return relabel_tree(el, value, &relabel);
}

const Value *relabel_back(Elab *el, const FormalList *renamed, const Value *value, Span at)
{
    if (!renamed->count)
        return value;
    Relabel relabel = {.back = renamed, .at = at};
    return relabel_tree(el, value, &relabel);
}
