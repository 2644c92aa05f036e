/* Builtins on compile-time values: lists and trees. */
#include "frontend/builtins.h"

static const Value *want_list(Elab *el, Call *call, int index, ValueList *items)
{
    const Value *list = arg_value(el, call, index);
    if (is_poison(list) || known_items(el, list, items))
        return list;
    return elab_error(el, DIAG_type_mismatch, positional(call, index)->span, "`%s` takes a list, not %s", call->name,
                      value_describe(el->arena, list));
}

const Value *builtin_len(Elab *el, Call *call)
{
    ValueList items = {0};
    const Value *list = want_list(el, call, 0, &items);
    return is_poison(list) ? list : value_integer(el->arena, items.count);
}

const Value *builtin_zip(Elab *el, Call *call)
{
    int count = positional_count(call), length = -1;
    ValueList *lists = arena_array(el->arena, ValueList, count);
    for (int i = 0; i < count; i++) {
        if (is_poison(want_list(el, call, i, &lists[i])))
            return &value_poison;
        if (length >= 0 && lists[i].count != length)
            return elab_error(el, DIAG_type_mismatch, call->span, "`zip` of lists of %d and %d", length, lists[i].count);
        length = lists[i].count;
    }
    ValueList rows = {0};
    for (int r = 0; r < length; r++) {
        ValueList row = {0};
        for (int i = 0; i < count; i++)
            list_push(el->arena, &row, lists[i].items[r]);
        list_push(el->arena, &rows, value_group(el->arena, VALUE_tuple, count, row.items, NULL));
    }
    return value_group(el->arena, VALUE_list, rows.count, rows.items, NULL);
}

const Value *builtin_map(Elab *el, Call *call)
{
    ValueList items = {0}, results = {0};
    const Value *function = arg_value(el, call, 0), *list = want_list(el, call, 1, &items);
    if (is_poison(function) || is_poison(list))
        return &value_poison;
    for (int i = 0; i < items.count; i++)
        list_push(el->arena, &results,
                  call_with(el, call->env, call->span, "the mapped function", function, &items.items[i], 1));
    return value_group(el->arena, VALUE_list, results.count, results.items, NULL);
}

typedef struct TreeCall {
    Call *call;
    const Value *function;
    const Value *sum; /* tree_sum: so far, or null */
} TreeCall;

static const Value *call_on_parts(Elab *el, const Value *const *parts, int count, const char *path, void *state)
{
    (void)path;
    const TreeCall *tree = state;
    return call_with(el, tree->call->env, tree->call->span, "the mapped function", tree->function, parts, count);
}

static const Value *sum_on_parts(Elab *el, const Value *const *parts, int count, const char *path, void *state)
{
    TreeCall *tree = state;
    const Value *part = call_on_parts(el, parts, count, path, state);
    tree->sum = tree->sum ? arithmetic(el, tree->call->span, AST_add, tree->sum, part) : part;
    return part;
}

static const Value *over_trees(Elab *el, Call *call, TreeCall *tree, TreeZip *zip)
{
    int count = positional_count(call) - 1;
    const Value **trees = arena_array(el->arena, const Value *, count);
    for (int i = 0; i < count; i++) {
        trees[i] = arg_value(el, call, i + 1);
        if (is_poison(trees[i]))
            return trees[i];
    }
    tree->call = call;
    tree->function = arg_value(el, call, 0);
    return is_poison(tree->function) ? tree->function : tree_zip(el, call->span, trees, count, "", zip, tree);
}

const Value *builtin_tree_map(Elab *el, Call *call)
{
    TreeCall tree = {0};
    return over_trees(el, call, &tree, call_on_parts);
}

/* Only sums are wanted, but the tree's form is walked in the same way. */
static const Value *sum_parts(Elab *el, Call *call, TreeCall *tree)
{
    int count = positional_count(call) - 1;
    const Value *function = arg_value(el, call, 0);
    if (is_poison(function))
        return function;
    LeafList *parts = arena_array(el->arena, LeafList, count);
    for (int i = 0; i < count; i++) {
        const Value *value = arg_value(el, call, i + 1);
        if (is_poison(value))
            return value;
        tree_parts(el, value, "", &parts[i]);
        if (i && parts[i].count != parts[0].count)
            return elab_error(el, DIAG_tree_form, call->span, "these differ in form: %s and %s",
                              value_describe(el->arena, arg_value(el, call, 1)), value_describe(el->arena, value));
    }
    tree->call = call;
    tree->function = function;
    for (int p = 0; p < parts[0].count; p++) {
        const Value **at = arena_array(el->arena, const Value *, count);
        for (int i = 0; i < count; i++)
            at[i] = parts[i].items[p].value;
        sum_on_parts(el, at, count, parts[0].items[p].path, tree);
    }
    return tree->sum ? tree->sum : value_real(el->arena, 0);
}

const Value *builtin_tree_sum(Elab *el, Call *call)
{
    TreeCall tree = {0};
    return sum_parts(el, call, &tree);
}
