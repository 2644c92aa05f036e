/* Expressions: what each kind of node means. */
#include "frontend/elaborate.h"

#include <math.h>
#include <string.h>

enum { MOST_DEPTH = 3000, MOST_TURNS = 100000 };

/* ---- what a value must be ---- */

bool want_number(Elab *el, const Value *value, Span at, const char *what, Number *number)
{
    if (is_poison(value))
        return false;
    if (value_as_number(value, number))
        return true;
    if (value->kind == VALUE_tensor) {
        elab_error(el, DIAG_not_compile_time, at, "%s must be known when compiling, but this is %s", what,
                   value_describe(el->arena, value));
        elab_note(el, (Span){0}, "it is computed at run time; sizes and indices of lists are not");
    } else if (value->kind == VALUE_axis) {
        elab_error(el, DIAG_size_unknown, at, "the size of the axis %s is not known here", value->axis.label->name);
    } else {
        elab_error(el, DIAG_type_mismatch, at, "%s is a number, not %s", what, value_describe(el->arena, value));
    }
    return false;
}

bool want_integer(Elab *el, const Value *value, Span at, const char *what, int64_t *integer)
{
    Number number;
    if (!want_number(el, value, at, what, &number))
        return false;
    *integer = number.integer;
    if (number.whole)
        return true;
    if (number.real >= 0x1p63 || number.real <= -0x1p63) {
        elab_error(el, DIAG_too_large, at, "%s cannot be %.6g", what, number.real);
        return false;
    }
    elab_error(el, DIAG_division_exact, at, "%s must be a whole number, but this is %.6g", what, number.real);
    elab_note(el, (Span){0}, "division is exact; ceil(x), floor(x) and round(x) give whole numbers");
    return false;
}

bool want_size(Elab *el, const Value *value, Span at, const char *what, int64_t *size)
{
    if (!want_integer(el, value, at, what, size))
        return false;
    if (*size >= 0 && *size <= (int64_t)1 << 40)
        return true;
    elab_error(el, DIAG_too_large, at, "%s cannot be %lld", what, (long long)*size);
    return false;
}

bool want_bool(Elab *el, const Value *value, Span at, const char *what, bool *truth)
{
    if (is_poison(value))
        return false;
    if (value->kind == VALUE_bool) {
        *truth = value->truth;
        return true;
    }
    if (value->kind == VALUE_tensor && value->tensor.dtype == DT_bool)
        elab_error(el, DIAG_not_compile_time, at, "%s must be known when compiling, but this is computed at run time", what);
    else
        elab_error(el, DIAG_type_mismatch, at, "%s is a truth value, not %s", what, value_describe(el->arena, value));
    return false;
}

/* ---- sequences ---- */

bool known_items(Elab *el, const Value *sequence, ValueList *items)
{
    if (sequence->kind != VALUE_list && sequence->kind != VALUE_tuple)
        return false;
    for (int i = 0; i < sequence->group.count; i++)
        list_push(el->arena, items, sequence->group.items[i]);
    return true;
}

static const Value *elab_range(Elab *el, Env *env, const Expr *expr)
{
    if (!expr->a || !expr->b)
        return elab_error(el, DIAG_type_mismatch, expr->span, "a range needs both ends here");
    int64_t first, end;
    if (!want_integer(el, elab_eval(el, env, expr->a), expr->a->span, "the start of a range", &first) ||
        !want_integer(el, elab_eval(el, env, expr->b), expr->b->span, "the end of a range", &end))
        return &value_poison;
    if (end - first > MOST_TURNS)
        return elab_error(el, DIAG_too_much_work, expr->span, "a list of %lld numbers is too long", (long long)(end - first));
    ValueList items = {0};
    for (int64_t i = first; i < end; i++)
        list_push(el->arena, &items, value_integer(el->arena, i));
    return value_group(el->arena, VALUE_list, items.count, items.items, NULL);
}

static const Value *elab_comprehension(Elab *el, Env *env, const Expr *expr)
{
    const Value *sequence = elab_eval(el, env, expr->b);
    ValueList items = {0}, results = {0};
    if (is_poison(sequence))
        return sequence;
    if (!known_items(el, sequence, &items))
        return elab_error(el, DIAG_not_compile_time, expr->b->span,
                          "a list is made over a list or a range that is known when "
                          "compiling, not over %s",
                          value_describe(el->arena, sequence));
    KeyNode *key = el->key;
    KeyNode *loop = key_child(el, key, "for");
    for (int i = 0; i < items.count && elab_step(el, expr->span); i++) {
        Env *turn = env_new(el, env);
        bind_pattern(el, turn, expr->pattern, items.items[i], false);
        el->key = key_turn(el, loop, value_integer(el->arena, i));
        const Value *item = elab_eval(el, turn, expr->a);
        el->key = key;
        if (is_poison(item))
            return item;
        list_push(el->arena, &results, item);
    }
    return value_group(el->arena, VALUE_list, results.count, results.items, NULL);
}

/* ---- groups ---- */

static const Value *elab_items(Elab *el, Env *env, const Expr *expr, ValueKind kind)
{
    ValueList items = {0};
    bool poisoned = false;
    for (int i = 0; i < expr->items.count; i++) {
        const Value *item = elab_eval(el, env, expr->items.items[i]);
        poisoned |= is_poison(item) && kind == VALUE_list;
        list_push(el->arena, &items, item);
    }
    return poisoned ? &value_poison : value_group(el->arena, kind, items.count, items.items, NULL);
}

static const Value *elab_record(Elab *el, Env *env, const Expr *expr)
{
    int count = expr->fields.count;
    const Value **items = arena_array(el->arena, const Value *, count + 1);
    const char **names = arena_array(el->arena, const char *, count + 1);
    for (int i = 0; i < count; i++) {
        const Field *field = &expr->fields.items[i];
        names[i] = field->name;
        items[i] = elab_eval(el, env, field->value);
    }
    return value_group(el->arena, VALUE_record, count, items, names);
}

static const Value *module_field(Elab *el, const Expr *expr, const Module *module)
{
    const Value *value = module_lookup(el, module, expr->name);
    if (value)
        return value;
    elab_error(el, DIAG_unknown_name, expr->span, "the module %s has no `%s`", module->name, expr->name);
    const char **names = arena_array(el->arena, const char *, module->decls.count + 1);
    for (int i = 0; i < module->decls.count; i++)
        names[i] = module->decls.entries[i].key;
    elab_suggest(el, expr->name, names, module->decls.count);
    return &value_poison;
}

static const Value *group_field(Elab *el, const Expr *expr, const Value *group)
{
    bool by_number = expr->name[0] >= '0' && expr->name[0] <= '9';
    if (group->kind == VALUE_tuple && by_number) {
        long index = 0;
        for (const char *c = expr->name; *c && index < 1000; c++)
            index = index * 10 + (*c - '0');
        if (index < group->group.count)
            return group->group.items[index];
    }
    const Value *found = record_get(group, expr->name);
    if (found)
        return found;
    elab_error(el, DIAG_unknown_field, expr->span, "%s has no field `%s`", value_describe(el->arena, group), expr->name);
    if (group->kind == VALUE_record)
        elab_suggest(el, expr->name, group->group.names, group->group.count);
    return &value_poison;
}

static const Value *elab_field(Elab *el, Env *env, const Expr *expr)
{
    const Value *of =
        expr->a->kind == EXPR_name ? elab_lookup_owner(el, env, expr->a->name, expr->a->span) : elab_eval(el, env, expr->a);
    switch (of->kind) {
    case VALUE_poison:
        return of;
    case VALUE_module:
        return module_field(el, expr, of->module);
    case VALUE_instance:
        return instance_member(el, of, expr->name, expr->span);
    default:
        return group_field(el, expr, of);
    }
}

/* ---- operators ---- */

static const Value *join_lists(Elab *el, const Expr *expr, const Value *a, const Value *b)
{
    const Value *sides[2] = {a, b};
    ValueList items = {0};
    for (int i = 0; i < 2; i++) {
        if (sides[i]->kind != VALUE_list)
            return elab_error(el, DIAG_type_mismatch, expr->span, "`++` joins lists, not %s",
                              value_describe(el->arena, sides[i]));
        known_items(el, sides[i], &items);
    }
    return value_group(el->arena, VALUE_list, items.count, items.items, NULL);
}

static const Value *elab_binary(Elab *el, Env *env, const Expr *expr)
{
    const Value *a = elab_eval(el, env, expr->a);
    bool decided = a->kind == VALUE_bool && ((expr->op == AST_and && !a->truth) || (expr->op == AST_or && a->truth));
    if (decided)
        return a;
    const Value *b = elab_eval(el, env, expr->b);
    if (is_poison(a) || is_poison(b))
        return &value_poison;
    if (expr->op == AST_join)
        return join_lists(el, expr, a, b);
    return arithmetic(el, expr->span, expr->op, a, b);
}

static const Value *elab_number(Elab *el, const Expr *expr)
{
    if (expr->is_integer && expr->integer <= INT64_MAX)
        return value_integer(el->arena, (int64_t)expr->integer);
    return value_real(el->arena, expr->value);
}

/* ---- casts and keys ---- */

typedef struct CastState {
    Span at;
    DType dtype;
    const TypeExpr *type;
} CastState;

static const Value *cast_part(Elab *el, const Value *part, void *state)
{
    const CastState *cast = state;
    Number number;
    if (is_poison(part))
        return part;
    if (part->kind == VALUE_tensor)
        return tensor_cast(el, cast->at, part, cast->dtype);
    if (part->kind == VALUE_bool)
        return tensor_cast(el, cast->at, tensor_from_number(el, cast->at, part, DT_bool), cast->dtype);
    if (value_as_number(part, &number))
        return tensor_from_number(el, cast->at, part, cast->dtype);
    return elab_error(el, DIAG_type_mismatch, cast->at, "%s cannot become %s", value_describe(el->arena, part),
                      cast->type->name);
}

/* `x as dtype`, where `dtype` is an argument: the type that it says. */
static const TypeExpr *cast_type(Env *env, const TypeExpr *type)
{
    const Local *local = type->kind == TYPE_named ? env_find(env, type->name, NULL) : NULL;
    return local && local->value->kind == VALUE_type ? local->value->type : type;
}

static const Value *elab_cast(Elab *el, Env *env, const Expr *expr)
{
    const Value *value = elab_eval(el, env, expr->a);
    const TypeExpr *type = cast_type(env, expr->type);
    if (is_poison(value) || type->kind == TYPE_error)
        return &value_poison;
    if (value->kind == VALUE_source)
        return data_source(el, env, value, type, expr->span);
    if (type->kind != TYPE_tensor)
        return type_fit(el, env, type, value, expr->span, "the value");
    CastState state = {.at = expr->span, .type = type};
    if (!type_dtype(el, type, &state.dtype))
        return &value_poison;
    value = tree_map(el, value, cast_part, &state);
    return type->axes.count ? type_fit(el, env, type, value, expr->span, "the value") : value;
}

static const Value *elab_with(Elab *el, Env *env, const Expr *expr)
{
    const Value *value = elab_eval(el, env, expr->a);
    static const TypeExpr key_type = {.kind = TYPE_named, .name = "key", .scalar = true};
    value = type_fit(el, env, &key_type, value, expr->a->span, "what follows `with`");
    if (is_poison(value))
        return value;
    KeyNode *saved = el->key;
    bool drawing = el->drawing;
    KeyNode *fresh = arena_copy(el->arena, value->key, sizeof(KeyNode)); /* two blocks under one key draw the same */
    fresh->uses.items = NULL;
    fresh->uses.count = fresh->uses.capacity = 0;
    fresh->drawn = false;
    el->key = fresh;
    el->drawing = true;
    const Value *result = elab_eval(el, env, expr->b);
    el->key = saved;
    el->drawing = drawing;
    return result;
}

const Value *elab_draw(Elab *el, Env *env, const Expr *expr, const char *name)
{
    if (!key_may_draw(el, expr->span))
        return &value_poison;
    KeyNode *saved = el->key;
    bool drawing = el->drawing;
    el->key = key_child(el, saved, name);
    el->drawing = true;
    const Value *value = elab_eval(el, env, expr);
    el->key = saved;
    el->drawing = drawing;
    return value;
}

/* ---- blocks and lambdas ---- */

const Value *elab_block(Elab *el, Env *env, const Expr *block)
{
    Env *scope = env_new(el, env);
    for (int i = 0; i < block->stmts.count; i++) {
        const Stmt *stmt = block->stmts.items[i];
        if (i == block->stmts.count - 1 && stmt->kind == STMT_expr)
            return elab_eval(el, scope, stmt->value);
        elab_stmt(el, scope, stmt);
    }
    return &value_unit;
}

static const Value *elab_lambda(Elab *el, Env *env, const Expr *expr)
{
    Value *value = arena_new_of(el->arena, Value);
    value->kind = VALUE_function;
    value->function.lambda = expr;
    value->function.env = env;
    return value;
}

static const Value *elab_type(Elab *el, const Expr *expr)
{
    Value *value = arena_new_of(el->arena, Value);
    value->kind = VALUE_type;
    value->type = expr->type;
    return value;
}

/* ---- the switch ---- */

static const Value *elab_node(Elab *el, Env *env, const Expr *expr)
{
    Axis axis;
    switch (expr->kind) {
    case EXPR_error:
        return &value_poison;
    case EXPR_number:
        return elab_number(el, expr);
    case EXPR_bool:
        return value_bool(el->arena, expr->value != 0);
    case EXPR_string:
        return value_text(el->arena, expr->name);
    case EXPR_name:
        return elab_lookup(el, env, expr->name, expr->span);
    case EXPR_unary: {
        const Value *a = elab_eval(el, env, expr->a);
        return expr->op == AST_not ? logical_not(el, expr->span, a) : negate(el, expr->span, a);
    }
    case EXPR_binary:
    case EXPR_compare:
        return elab_binary(el, env, expr);
    case EXPR_call:
        return elab_call(el, env, expr);
    case EXPR_index:
        return elab_index(el, env, expr);
    case EXPR_field:
        return elab_field(el, env, expr);
    case EXPR_tuple:
        return elab_items(el, env, expr, VALUE_tuple);
    case EXPR_list:
        return elab_items(el, env, expr, VALUE_list);
    case EXPR_record:
        return elab_record(el, env, expr);
    case EXPR_lambda:
        return elab_lambda(el, env, expr);
    case EXPR_block:
        return elab_block(el, env, expr);
    case EXPR_if:
        return elab_if(el, env, expr, true);
    case EXPR_with:
        return elab_with(el, env, expr);
    case EXPR_for:
        return elab_comprehension(el, env, expr);
    case EXPR_cast:
        return elab_cast(el, env, expr);
    case EXPR_range:
        return elab_range(el, env, expr);
    case EXPR_pair:
        return elab_axis(el, env, expr, &axis) ? value_axis(el->arena, axis.label, axis.size) : &value_poison;
    case EXPR_arrow:
        elab_error(el, DIAG_type_mismatch, expr->span, "`->` renames axes in split, merge, rename and conv only");
        elab_note(el, (Span){0}, "a function value is written with `=>`: x => x + 1");
        return &value_poison;
    case EXPR_type:
        return elab_type(el, expr);
    }
    return &value_poison;
}

const Value *elab_eval(Elab *el, Env *env, const Expr *expr)
{
    if (!elab_step(el, expr->span))
        return &value_poison;
    if (el->depth >= MOST_DEPTH) {
        el->exhausted = true;
        return elab_error(el, DIAG_recursion, expr->span, "calls and expressions nest too deep here");
    }
    el->depth++;
    const Value *value = elab_node(el, env, expr);
    el->depth--;
    return value_at(value, expr->span, el->arena);
}
