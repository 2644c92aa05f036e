/* Trees: tuples, records, lists and models, walked and rebuilt part by part, always in the same order. */
#include "frontend/elaborate.h"

#include <string.h>

static bool is_group(const Value *value)
{
    return value->kind == VALUE_tuple || value->kind == VALUE_record || value->kind == VALUE_list;
}

static const char *path_of(Elab *el, const char *path, const Value *group, int index)
{
    const char *dot = *path ? "." : "";
    if (group->kind == VALUE_record)
        return arena_printf(el->arena, "%s%s%s", path, dot, group->group.names[index]);
    return arena_printf(el->arena, "%s%s%d", path, dot, index);
}

void tree_parts(Elab *el, const Value *tree, const char *path, LeafList *out)
{
    if (is_group(tree)) {
        for (int i = 0; i < tree->group.count; i++)
            tree_parts(el, tree->group.items[i], path_of(el, path, tree, i), out);
        return;
    }
    if (tree->kind == VALUE_instance) {
        const InstanceValue *instance = tree->instance;
        for (int i = 0; i < instance->leaves.count; i++) {
            const char *below = arena_printf(el->arena, "%s%s%s", path, *path ? "." : "", instance->leaves.items[i].path);
            tree_parts(el, instance->leaves.items[i].value, below, out);
        }
        return;
    }
    Leaf leaf = {path, tree};
    list_push(el->arena, out, leaf);
}

static const Value *key_tensor(Elab *el, const Value *key)
{
    Shape shape = {1, {{label_new(el, NULL, "word", 2, key->span), 2}}};
    IrRef ref = key_ref(el, key->key, key->span);
    return tensor_new(el, ref, &shape);
}

void tree_tensors(Elab *el, const Value *tree, ValueList *out)
{
    LeafList parts = {0};
    tree_parts(el, tree, "", &parts);
    for (int i = 0; i < parts.count; i++) {
        const Value *part = parts.items[i].value;
        if (part->kind == VALUE_key)
            part = key_tensor(el, part);
        if (part->kind == VALUE_tensor)
            list_push(el->arena, out, part);
    }
}

const Value *tree_map(Elab *el, const Value *tree, TreeMap *map, void *state)
{
    if (is_group(tree)) {
        const Value **items = arena_array(el->arena, const Value *, tree->group.count + 1);
        for (int i = 0; i < tree->group.count; i++)
            items[i] = tree_map(el, tree->group.items[i], map, state);
        return value_group(el->arena, tree->kind, tree->group.count, items, tree->group.names);
    }
    if (tree->kind == VALUE_instance) {
        const InstanceValue *instance = tree->instance;
        const Value **leaves = arena_array(el->arena, const Value *, instance->leaves.count + 1);
        for (int i = 0; i < instance->leaves.count; i++)
            leaves[i] = tree_map(el, instance->leaves.items[i].value, map, state);
        return model_rebuild(el, tree, leaves);
    }
    return map(el, tree, state);
}

typedef struct Refill {
    const ValueList *leaves;
    int *next;
} Refill;

static const Value *refill_part(Elab *el, const Value *part, void *state)
{
    Refill *refill = state;
    if (part->kind == VALUE_tensor)
        return refill->leaves->items[(*refill->next)++];
    if (part->kind == VALUE_key)
        return key_value(el, key_given(el, refill->leaves->items[(*refill->next)++]));
    return part;
}

const Value *tree_rebuild(Elab *el, const Value *tree, const ValueList *leaves, int *next)
{
    Refill refill = {leaves, next};
    return tree_map(el, tree, refill_part, &refill);
}

/* ---- several trees at once ---- */

static int child_count(const Value *tree)
{
    return tree->kind == VALUE_instance ? tree->instance->leaves.count : tree->group.count;
}

static const Value *child_at(const Value *tree, int index)
{
    return tree->kind == VALUE_instance ? tree->instance->leaves.items[index].value : tree->group.items[index];
}

static const char *child_path(Elab *el, const Value *tree, const char *path, int index)
{
    if (tree->kind != VALUE_instance)
        return path_of(el, path, tree, index);
    return arena_printf(el->arena, "%s%s%s", path, *path ? "." : "", tree->instance->leaves.items[index].path);
}

/* The first tree gives the form; the others may go deeper (a record of moments for each parameter). */
static bool same_form(const Value *first, const Value *other)
{
    if (first->kind != other->kind || child_count(first) != child_count(other))
        return false;
    for (int i = 0; first->kind == VALUE_record && i < first->group.count; i++) {
        if (strcmp(first->group.names[i], other->group.names[i]))
            return false;
    }
    return first->kind != VALUE_instance || first->instance->model->model.decl == other->instance->model->model.decl;
}

/* Two instances of one model have axes of their own, but the parameters at one place mean the same. */
static const Value *with_labels_of(Elab *el, const Value *tree, const Value *first, const Value *other)
{
    if (tree->kind != VALUE_instance || first->kind != VALUE_tensor || other->kind != VALUE_tensor)
        return other;
    const Shape *want = &first->tensor.shape, *have = &other->tensor.shape;
    bool same = want->rank == have->rank;
    for (int i = 0; same && i < want->rank; i++)
        same = want->axes[i].size == have->axes[i].size;
    return same ? tensor_relabel(el, other, want) : other;
}

const Value *tree_zip(Elab *el, Span at, const Value *const *trees, int count, const char *path, TreeZip *zip, void *state)
{
    if (!is_group(trees[0]) && trees[0]->kind != VALUE_instance)
        return zip(el, trees, count, path, state);
    for (int i = 0; i < count; i++) {
        if (is_poison(trees[i]))
            return &value_poison;
        if (!same_form(trees[0], trees[i]))
            return elab_error(el, DIAG_tree_form, at, "these differ in form%s: %s and %s",
                              *path ? arena_printf(el->arena, " in `%s`", path) : "", value_describe(el->arena, trees[0]),
                              value_describe(el->arena, trees[i]));
    }
    int children = child_count(trees[0]);
    const Value **items = arena_array(el->arena, const Value *, children + 1);
    for (int c = 0; c < children; c++) {
        const Value **at_child = arena_array(el->arena, const Value *, count);
        for (int i = 0; i < count; i++)
            at_child[i] = with_labels_of(el, trees[0], child_at(trees[0], c), child_at(trees[i], c));
        items[c] = tree_zip(el, at, at_child, count, child_path(el, trees[0], path, c), zip, state);
    }
    if (trees[0]->kind == VALUE_instance)
        return model_rebuild(el, trees[0], items);
    return value_group(el->arena, trees[0]->kind, children, items, trees[0]->group.names);
}
