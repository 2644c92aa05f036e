/* Statements: bindings, assignments, requirements. */
#include "frontend/elaborate.h"

#include <string.h>

/* Dumps and pictures show the program's own names. */
static void name_node(Elab *el, const Value *value, const char *name)
{
    if (value->kind != VALUE_tensor || value->tensor.frame != el->frame || !el->frame)
        return;
    IrNode *node = ir_node(el->frame->func, value->tensor.ref);
    if (!node->name && node->op != OP_param)
        node->name = name;
}

void bind_pattern(Elab *el, Env *env, const Pattern *pattern, const Value *value, bool is_var)
{
    if (pattern->name) {
        if (!strcmp(pattern->name, "_"))
            return;
        name_node(el, value, pattern->name);
        env_bind(el, env, pattern->name, value, is_var, pattern->span);
        return;
    }
    int count = pattern->items.count;
    bool fits = (value->kind == VALUE_tuple || value->kind == VALUE_list) && value->group.count == count;
    if (!fits && !is_poison(value))
        elab_error(el, DIAG_pattern, pattern->span, "a pattern of %d names does not fit %s", count,
                   value_describe(el->arena, value));
    for (int i = 0; i < count; i++)
        bind_pattern(el, env, pattern->items.items[i], fits ? value->group.items[i] : &value_poison, is_var);
}

/* The part of a draw's name path that a pattern gives: "lo,hi". */
static void pattern_name(const Pattern *pattern, Text *out)
{
    if (pattern->name) {
        text_puts(out, pattern->name);
        return;
    }
    for (int i = 0; i < pattern->items.count; i++) {
        if (i)
            text_puts(out, ",");
        pattern_name(pattern->items.items[i], out);
    }
}

static const Value *right_side(Elab *el, Env *env, const Stmt *stmt)
{
    if (!stmt->draws)
        return elab_eval(el, env, stmt->value);
    Text name = text_new(el->arena);
    pattern_name(stmt->pattern, &name);
    return elab_draw(el, env, stmt->value, name.data);
}

static void elab_binding(Elab *el, Env *env, const Stmt *stmt)
{
    const Value *value = right_side(el, env, stmt);
    if (stmt->type) {
        const char *what = stmt->pattern->name ? arena_printf(el->arena, "`%s`", stmt->pattern->name) : "the value";
        value = type_fit(el, env, stmt->type, value, stmt->value->span, what);
    }
    bind_pattern(el, env, stmt->pattern, value, stmt->kind == STMT_var);
}

static bool check_assignable(Elab *el, Env *env, const Stmt *stmt, Local **binding)
{
    const char *name = stmt->pattern->name;
    bool crossed;
    *binding = env_find(env, name, &crossed);
    if (!*binding) {
        elab_error(el, DIAG_unknown_name, stmt->pattern->span, "there is no variable `%s` to assign to", name);
        elab_note(el, (Span){0}, "`let %s = ...` binds a name, `var %s = ...` one that may change", name, name);
        env_bind(el, env, name, &value_poison, true, stmt->pattern->span);
        return false;
    }
    if (!(*binding)->is_var) {
        elab_error(el, DIAG_not_assignable, stmt->pattern->span, "`%s` cannot be assigned: it is not a `var`", name);
        elab_note(el, (*binding)->span, "it is bound here");
        return false;
    }
    if (crossed) {
        elab_error(el, DIAG_not_assignable, stmt->pattern->span, "a function cannot assign `%s`, which lies outside it", name);
        elab_note(el, (*binding)->span, "it is declared here");
        return false;
    }
    return true;
}

static void elab_assignment(Elab *el, Env *env, const Stmt *stmt)
{
    if (!stmt->pattern->name) {
        elab_error(el, DIAG_not_assignable, stmt->pattern->span, "only a name can be assigned");
        return;
    }
    Local *binding;
    const Value *value = right_side(el, env, stmt);
    if (!check_assignable(el, env, stmt, &binding))
        return;
    if (stmt->compound && stmt->op == AST_join) {
        ValueList items = {0};
        if (is_poison(value) || is_poison(binding->value))
            value = &value_poison;
        else if (known_items(el, binding->value, &items) && known_items(el, value, &items))
            value = value_group(el->arena, VALUE_list, items.count, items.items, NULL);
        else
            value = elab_error(el, DIAG_type_mismatch, stmt->span, "`++=` joins lists: here it is %s and %s",
                               value_describe(el->arena, binding->value), value_describe(el->arena, value));
    } else if (stmt->compound) {
        value = arithmetic(el, stmt->span, stmt->op, binding->value, value);
    }
    name_node(el, value, binding->name);
    binding->value = value;
}

static void note_sides(Elab *el, Env *env, const Expr *compare)
{
    Number left, right;
    if (value_as_number(elab_eval(el, env, compare->a), &left) && value_as_number(elab_eval(el, env, compare->b), &right))
        elab_note(el, compare->span, "here the left side is %.9g, the right side %.9g", left.real, right.real);
}

static void elab_require(Elab *el, Env *env, const Stmt *stmt)
{
    bool holds;
    if (!want_bool(el, elab_eval(el, env, stmt->value), stmt->value->span, "what is required", &holds) || holds)
        return;
    elab_error(el, DIAG_requirement, stmt->span, "%s", stmt->message ? stmt->message : "a requirement does not hold");
    if (stmt->value->kind == EXPR_compare)
        note_sides(el, env, stmt->value);
}

/* Nothing here has effects, so a value that nobody uses is a slip: most often the rest of it stands on the next line. */
static void elab_unused(Elab *el, Env *env, const Stmt *stmt)
{
    const Value *value = elab_eval(el, env, stmt->value);
    bool unit = value->kind == VALUE_tuple && !value->group.count;
    if (is_poison(value) || unit)
        return;
    elab_error(el, DIAG_unused_value, stmt->span, "nothing uses this value: %s", value_describe(el->arena, value));
    elab_note(el, (Span){0},
              "a line goes on if it ends with an operator, or if the next one starts with `|>`, `+`, `*` or `/`");
}

void elab_stmt(Elab *el, Env *env, const Stmt *stmt)
{
    if (!elab_step(el, stmt->span))
        return;
    switch (stmt->kind) {
    case STMT_error:
        break;
    case STMT_let:
    case STMT_var:
        elab_binding(el, env, stmt);
        break;
    case STMT_assign:
        elab_assignment(el, env, stmt);
        break;
    case STMT_for:
        elab_for(el, env, stmt);
        break;
    case STMT_while:
        elab_while(el, env, stmt);
        break;
    case STMT_expr:
        if (stmt->value->kind == EXPR_if)
            elab_if(el, env, stmt->value, false);
        else
            elab_unused(el, env, stmt);
        break;
    case STMT_require:
        elab_require(el, env, stmt);
        break;
    }
}
