/* Branches: `if` decided now, or both sides as functions with one set of results. */
#include "frontend/elaborate_carry.h"

#include <string.h>

typedef struct Branch {
    Frame *frame;
    const Value *value;
    ValueList vars; /* the assigned variables afterwards */
} Branch;

static Branch run_branch(Elab *el, Span at, BranchBody *body, void *state, const LocalList *assigned, const char *name)
{
    Branch branch = {.frame = frame_enter(el, name)};
    ValueList before = {0};
    branch.frame->func->at = at;
    for (int i = 0; i < assigned->count; i++)
        list_push(el->arena, &before, assigned->items[i]->value);
    branch.value = body(el, state);
    for (int i = 0; i < assigned->count; i++) {
        list_push(el->arena, &branch.vars, assigned->items[i]->value);
        assigned->items[i]->value = before.items[i];
    }
    frame_leave(el);
    return branch;
}

/* Where the sides agree in form, each part of the result is a tensor of one type, or the same on both sides. */
typedef struct Join {
    Branch *yes, *no;
    Span at;
    LIST(Part) parts;      /* tensor parts only: the type of each */
    ValueList left, right; /* their values on each side */
    bool failed;
} Join;

static bool same_number(const Value *a, const Value *b)
{
    if (a->kind == VALUE_bool && b->kind == VALUE_bool)
        return a->truth == b->truth;
    return a->kind == VALUE_number && b->kind == VALUE_number && a->number.real == b->number.real &&
           a->number.decimal == b->number.decimal;
}

static bool same_label_sizes(const Shape *a, const Shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++) {
        int j = shape_find(b, a->axes[i].label);
        if (j < 0 || a->axes[i].size != b->axes[j].size)
            return false;
    }
    return true;
}

/* The type of a part from its two sides: numbers adapt to tensors. */
static bool join_types(const Value *a, const Value *b, const Part *left, const Part *right, Part *out)
{
    bool number_left = a->kind == VALUE_number, number_right = b->kind == VALUE_number;
    *out = number_left || (left->weak && !right->weak) ? *right : *left;
    if (left->is_key != right->is_key)
        return false;
    if (left->is_key)
        return true;
    if (number_left && number_right) {
        out->dtype = left->dtype == right->dtype ? left->dtype : DT_f32;
        return true;
    }
    if (number_left || number_right) {
        const Value *number = number_left ? a : b;
        return out->dtype != DT_bool && (dtype_is_float(out->dtype) || number->number.whole);
    }
    return same_label_sizes(&left->shape, &right->shape) && (left->dtype == right->dtype || left->weak || right->weak);
}

static void note_branches(Elab *el)
{
    elab_note(el, (Span){0}, "the condition is known at run time only, so both sides must have one type");
}

/* Values of one kind that exist when compiling only. */
static const Value *report_choice(Elab *el, Join *join, const char *path, const Value *value)
{
    join->failed = true;
    elab_error(el, DIAG_branch_types, join->at, "the two sides of this `if` differ%s, which is %s",
               *path ? arena_printf(el->arena, " in `%s`", path) : " in their value", value_describe(el->arena, value));
    elab_note(el, (Span){0}, "only tensors and numbers can be chosen at run time");
    return &value_poison;
}

static const Value *join_part(Elab *el, const Value *const *sides, int count, const char *path, void *state)
{
    Join *join = state;
    (void)count;
    Part left, right, part;
    const Value *a = sides[0], *b = sides[1];
    if (is_poison(a) || is_poison(b))
        return &value_poison;
    if (a == b || same_number(a, b))
        return a;
    bool tensors = part_from_value(el, a, &left) && part_from_value(el, b, &right);
    if (!tensors || !join_types(a, b, &left, &right, &part)) {
        join->failed = true;
        if (!tensors && a->kind == b->kind)
            return report_choice(el, join, path, a);
        elab_error(el, DIAG_branch_types, join->at, "the two sides of this `if` differ%s: %s and %s",
                   *path ? arena_printf(el->arena, " in `%s`", path) : "", value_describe(el->arena, a),
                   value_describe(el->arena, b));
        note_branches(el);
        return &value_poison;
    }
    list_push(el->arena, &join->parts, part);
    list_push(el->arena, &join->left, a);
    list_push(el->arena, &join->right, b);
    Value *place = arena_new_of(el->arena, Value); /* to be replaced by the result */
    place->kind = part.is_key ? VALUE_key : VALUE_tensor;
    return place;
}

typedef struct Fill {
    const ValueList *results;
    int next;
} Fill;

/* Parts that are the same on both sides may be tensors and keys from outside: only the places are filled. */
static const Value *fill_place(Elab *el, const Value *part, void *state)
{
    Fill *fill = state;
    bool tensor_place = part->kind == VALUE_tensor && !part->tensor.frame;
    bool key_place = part->kind == VALUE_key && !part->key;
    if (!tensor_place && !key_place)
        return part;
    const Value *result = fill->results->items[fill->next++];
    return key_place ? key_value(el, key_given(el, result)) : result;
}

static void branch_results(Elab *el, Frame *frame, const Join *join, const ValueList *values)
{
    Frame *outer = el->frame;
    el->frame = frame;
    for (int i = 0; i < join->parts.count; i++) {
        const Part *part = &join->parts.items[i];
        const Value *value = values->items[i];
        IrRef ref = value->kind == VALUE_key ? key_ref(el, value->key, join->at)
                                             : operand_ref(el, join->at, value, &part->shape, part->dtype);
        ir_result(frame->func, ref, NULL);
    }
    el->frame = outer;
}

static const Value *join_branches(Elab *el, const Value *condition, Join *join, const LocalList *assigned)
{
    Span at = join->at;
    ValueList merged = {0};
    int before = el->errors;
    const Value *value = tree_zip(el, at, (const Value *[]){join->yes->value, join->no->value}, 2, "", join_part, join);
    if (is_poison(value) && !join->failed && el->errors > before)
        note_branches(el);
    for (int i = 0; i < assigned->count; i++) {
        const Value *sides[2] = {join->yes->vars.items[i], join->no->vars.items[i]};
        const Value *var = tree_zip(el, at, sides, 2, assigned->items[i]->name, join_part, join);
        list_push(el->arena, &merged, var);
    }
    branch_results(el, join->yes->frame, join, &join->left);
    branch_results(el, join->no->frame, join, &join->right);
    frame_unify_captures(el, join->yes->frame, join->no->frame, 0);
    ValueList results = {0};
    if (join->parts.count) {
        IrRef node = ir_if(emit(el, at), tensor_ref(el, condition, at), join->yes->frame->func, join->no->frame->func,
                           frame_captures(el, join->yes->frame), join->yes->frame->captures.count);
        for (int i = 0; i < join->parts.count; i++)
            list_push(el->arena, &results, tensor_new(el, ir_get(emit(el, at), node, i), &join->parts.items[i].shape));
    }
    Fill fill = {&results, 0};
    value = tree_map(el, value, fill_place, &fill);
    for (int i = 0; i < assigned->count; i++)
        assigned->items[i]->value = tree_map(el, merged.items[i], fill_place, &fill);
    return value;
}

typedef struct Sides { /* of an `if` that is written */
    Env *env;
    const Expr *yes, *no; /* `no` may be null */
    bool wanted;
} Sides;

static const Value *written_yes(Elab *el, void *state)
{
    const Sides *sides = state;
    const Value *value = elab_eval(el, sides->env, sides->yes);
    return sides->wanted ? value : &value_unit;
}

static const Value *written_no(Elab *el, void *state)
{
    const Sides *sides = state;
    const Value *value = sides->no ? elab_eval(el, sides->env, sides->no) : &value_unit;
    return sides->wanted ? value : &value_unit;
}

static const Value *run_both(Elab *el, Env *env, const Expr *expr, const Value *condition, bool wanted)
{
    LocalList assigned = {0};
    carry_find(el, env, expr->b, &assigned);
    if (expr->c)
        carry_find(el, env, expr->c, &assigned);
    Sides sides = {env, expr->b, expr->c, wanted && expr->c};
    Branch yes = run_branch(el, expr->b->span, written_yes, &sides, &assigned, "then");
    Branch no = run_branch(el, expr->c ? expr->c->span : (Span){0}, written_no, &sides, &assigned, "else");
    Join join = {.yes = &yes, .no = &no, .at = expr->span};
    return join_branches(el, condition, &join, &assigned);
}

const Value *elab_choose(Elab *el, Span at, const Value *condition, BranchBody *yes, BranchBody *no, void *state)
{
    LocalList none = {0};
    Branch left = run_branch(el, at, yes, state, &none, "then"), right = run_branch(el, at, no, state, &none, "else");
    Join join = {.yes = &left, .no = &right, .at = at};
    return join_branches(el, condition, &join, &none);
}

const Value *elab_if(Elab *el, Env *env, const Expr *expr, bool wanted)
{
    const Value *condition = elab_eval(el, env, expr->a);
    if (is_poison(condition)) {
        LocalList assigned = {0}; /* nobody knows what they are now */
        carry_find(el, env, expr->b, &assigned);
        if (expr->c)
            carry_find(el, env, expr->c, &assigned);
        for (int i = 0; i < assigned.count; i++)
            assigned.items[i]->value = &value_poison;
        return &value_poison;
    }
    if (condition->kind == VALUE_bool) {
        const Expr *side = condition->truth ? expr->b : expr->c;
        return side ? elab_eval(el, env, side) : &value_unit;
    }
    if (condition->kind != VALUE_tensor || condition->tensor.dtype != DT_bool)
        return elab_error(el, DIAG_type_mismatch, expr->a->span, "the condition of `if` is a truth value, not %s",
                          value_describe(el->arena, condition));
    if (condition->tensor.shape.rank) {
        elab_error(el, DIAG_type_mismatch, expr->a->span, "`if` decides once, but this condition has axes: %s",
                   value_describe(el->arena, condition));
        elab_note(el, (Span){0}, "select(condition, a, b) chooses element by element");
        return &value_poison;
    }
    return run_both(el, env, expr, condition, wanted);
}
