/* Carries: finding assigned variables in the text, and passing their values through IR functions. */
#include "frontend/elaborate_carry.h"

#include <string.h>

/* ---- which variables a text assigns ---- */

typedef struct Scan {
    Elab *el;
    LIST(const char *) declared; /* inside: assignments to these stay inside */
    LIST(const char *) assigned;
} Scan;

static void scan_expr(Scan *scan, const Expr *expr);

static bool scan_has(const char *const *names, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (!strcmp(names[i], name))
            return true;
    }
    return false;
}

static void scan_declare(Scan *scan, const Pattern *pattern)
{
    if (pattern->name)
        list_push(scan->el->arena, &scan->declared, pattern->name);
    for (int i = 0; i < pattern->items.count; i++)
        scan_declare(scan, pattern->items.items[i]);
}

static void scan_stmt(Scan *scan, const Stmt *stmt)
{
    scan_expr(scan, stmt->value);
    int before = scan->declared.count;
    if (stmt->kind == STMT_assign && stmt->pattern->name) {
        const char *name = stmt->pattern->name;
        if (!scan_has(scan->declared.items, before, name) && !scan_has(scan->assigned.items, scan->assigned.count, name))
            list_push(scan->el->arena, &scan->assigned, name);
    } else if (stmt->kind == STMT_for) {
        scan_declare(scan, stmt->pattern);
        scan_expr(scan, stmt->body);
        scan->declared.count = before;
    } else if (stmt->kind == STMT_while) {
        scan_expr(scan, stmt->body);
    } else if (stmt->kind == STMT_let || stmt->kind == STMT_var) {
        scan_declare(scan, stmt->pattern);
    }
}

/* Bodies of lambdas cannot assign what lies outside them, so they are left out. */
static void scan_expr(Scan *scan, const Expr *expr)
{
    if (!expr || expr->kind == EXPR_lambda)
        return;
    scan_expr(scan, expr->a);
    scan_expr(scan, expr->b);
    scan_expr(scan, expr->c);
    for (int i = 0; i < expr->items.count; i++)
        scan_expr(scan, expr->items.items[i]);
    for (int i = 0; i < expr->args.count; i++)
        scan_expr(scan, expr->args.items[i].value);
    for (int i = 0; i < expr->fields.count; i++)
        scan_expr(scan, expr->fields.items[i].value);
    int before = scan->declared.count;
    for (int i = 0; i < expr->stmts.count; i++)
        scan_stmt(scan, expr->stmts.items[i]);
    scan->declared.count = before;
}

void carry_find(Elab *el, const Env *env, const Expr *expr, LocalList *out)
{
    Scan scan = {.el = el};
    scan_expr(&scan, expr);
    for (int i = 0; i < scan.assigned.count; i++) {
        bool crossed, known = false;
        Local *binding = env_find(env, scan.assigned.items[i], &crossed);
        if (!binding || !binding->is_var || crossed)
            continue;
        for (int j = 0; j < out->count; j++)
            known |= out->items[j] == binding;
        if (!known)
            list_push(el->arena, out, binding);
    }
}

/* ---- parts ---- */

bool part_from_value(Elab *el, const Value *value, Part *part)
{
    Number number;
    *part = (Part){.outer = value, .is_tensor = true};
    if (value->kind == VALUE_tensor) {
        part->weak = value->tensor.weak;
        part->dtype = value->tensor.dtype;
        part->shape = value->tensor.shape;
    } else if (value->kind == VALUE_bool) {
        part->dtype = DT_bool;
    } else if (value->kind == VALUE_key) {
        part->is_key = true;
        part->dtype = DT_u32;
        part->shape = (Shape){1, {{label_new(el, NULL, "word", 2, value->span), 2}}};
    } else if (value->kind != VALUE_axis && value_as_number(value, &number)) {
        part->weak = true;
        part->dtype = number.whole && !number.decimal ? DT_i32 : DT_f32;
    } else {
        part->is_tensor = false;
    }
    return part->is_tensor;
}

Carry carry_new(Elab *el, const LocalList *bindings)
{
    Carry carry = {.bindings = *bindings};
    for (int i = 0; i < bindings->count; i++) {
        const Value *value = bindings->items[i]->value;
        list_push(el->arena, &carry.outer, value);
        LeafList parts = {0};
        tree_parts(el, value, bindings->items[i]->name, &parts);
        for (int j = 0; j < parts.count; j++) {
            Part part;
            carry.tensor_count += part_from_value(el, parts.items[j].value, &part);
            part.path = parts.items[j].path;
            list_push(el->arena, &carry.parts, part);
        }
    }
    return carry;
}

typedef struct Refill {
    const Carry *carry;
    const Value *const *tensors; /* for the tensor parts, in order */
    int part, tensor;
} Refill;

static const Value *refill(Elab *el, const Value *value, void *state)
{
    Refill *fill = state;
    const Part *part = &fill->carry->parts.items[fill->part++];
    if (!part->is_tensor)
        return value;
    const Value *tensor = fill->tensors[fill->tensor++];
    return part->is_key ? key_value(el, key_given(el, tensor)) : tensor;
}

/* Binds the variables to values in which the tensor parts are `tensors`. */
static void carry_bind(Elab *el, const Carry *carry, const Value *const *tensors)
{
    Refill fill = {carry, tensors, 0, 0};
    for (int i = 0; i < carry->bindings.count; i++)
        carry->bindings.items[i]->value = tree_map(el, carry->outer.items[i], refill, &fill);
}

void carry_params(Elab *el, const Carry *carry, IrFunc *func)
{
    const Value **tensors = arena_array(el->arena, const Value *, carry->tensor_count + 1);
    int count = 0;
    for (int i = 0; i < carry->parts.count; i++) {
        const Part *part = &carry->parts.items[i];
        if (!part->is_tensor)
            continue;
        const Value *tensor = tensor_new(el, ir_param(func, shape_type(&part->shape, part->dtype), part->path), &part->shape);
        tensors[count++] = part->weak ? tensor_weak(el, tensor) : tensor;
    }
    carry_bind(el, carry, tensors);
}

void carry_restore(const Carry *carry)
{
    for (int i = 0; i < carry->bindings.count; i++)
        carry->bindings.items[i]->value = carry->outer.items[i];
}

void carry_poison(const Carry *carry)
{
    for (int i = 0; i < carry->bindings.count; i++)
        carry->bindings.items[i]->value = &value_poison;
}

/* ---- what the body left ---- */

static bool same_axes(const Shape *a, const Shape *b)
{
    if (a->rank != b->rank || !shape_has_all(a, b))
        return false;
    for (int i = 0; i < a->rank; i++) {
        if (a->axes[i].size != b->axes[shape_find(b, a->axes[i].label)].size)
            return false;
    }
    return true;
}

static bool same_static(const Value *a, const Value *b)
{
    if (a == b || is_poison(a) || is_poison(b))
        return true;
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case VALUE_function:
        return a->function.decl == b->function.decl && a->function.lambda == b->function.lambda &&
               a->function.env == b->function.env;
    case VALUE_axis:
        return a->axis.label == b->axis.label;
    case VALUE_string:
        return !strcmp(a->text, b->text);
    case VALUE_builtin:
        return a->builtin == b->builtin;
    default:
        return false;
    }
}

/* A part that stood for a number takes the type that the body gives it. */
static CarryFit compare_part(Elab *el, Part *part, const Value *after)
{
    Part now;
    bool tensor = part_from_value(el, after, &now);
    if (!part->is_tensor)
        return same_static(part->outer, after) ? CARRY_same : CARRY_failed;
    if (!tensor || now.is_key != part->is_key)
        return is_poison(after) ? CARRY_same : CARRY_failed;
    if (part->is_key)
        return CARRY_same;
    if (after->kind == VALUE_number) /* it adapts, unless that would lose its fraction */
        return now.dtype == DT_i32 || dtype_is_float(part->dtype) ? CARRY_same
               : part->weak                                       ? (part->dtype = DT_f32, CARRY_changed)
                                                                  : CARRY_failed;
    bool from_number = part->outer->kind == VALUE_number || part->outer->kind == VALUE_axis;
    bool fits = part->dtype == now.dtype && same_axes(&part->shape, &now.shape);
    if (fits || (now.weak && same_axes(&part->shape, &now.shape) && !(part->weak && part->dtype != now.dtype)))
        return CARRY_same;
    if (!from_number || (!part->weak && part->dtype != now.dtype))
        return CARRY_failed;
    part->dtype = now.dtype;
    part->shape = now.shape;
    part->weak = now.weak;
    return CARRY_changed;
}

CarryFit carry_compare(Elab *el, Carry *carry, LeafList *values, const char **culprit)
{
    CarryFit fit = CARRY_same;
    *values = (LeafList){0};
    for (int i = 0; i < carry->bindings.count; i++)
        tree_parts(el, carry->bindings.items[i]->value, carry->bindings.items[i]->name, values);
    bool same_form = values->count == carry->parts.count;
    for (int i = 0; i < values->count || i < carry->parts.count; i++) {
        bool here = i < values->count && i < carry->parts.count;
        CarryFit of_part = CARRY_failed;
        if (here && !strcmp(values->items[i].path, carry->parts.items[i].path))
            of_part = compare_part(el, &carry->parts.items[i], values->items[i].value);
        if (of_part == CARRY_failed) {
            *culprit = i < carry->parts.count ? carry->parts.items[i].path : values->items[i].path;
            return CARRY_failed;
        }
        fit = of_part > fit ? of_part : fit;
    }
    return same_form ? fit : CARRY_failed;
}

static IrRef part_ref(Elab *el, Span at, const Part *part, const Value *value)
{
    if (value->kind == VALUE_key)
        return key_ref(el, value->key, at);
    Number number;
    if (value->kind == VALUE_number && value_as_number(value, &number) && !dtype_is_float(part->dtype) && !number.whole)
        elab_error(el, DIAG_dtype_mismatch, at, "%s is an %s in the loop, but starts as %s", part->path,
                   dtype_name(part->dtype), value_describe(el->arena, value));
    return operand_ref(el, at, value, &part->shape, part->dtype);
}

void carry_results(Elab *el, Span at, const Carry *carry, const LeafList *values)
{
    for (int i = 0; i < carry->parts.count; i++) {
        if (carry->parts.items[i].is_tensor)
            ir_result(el->frame->func, part_ref(el, at, &carry->parts.items[i], values->items[i].value),
                      carry->parts.items[i].path);
    }
}

IrRef *carry_operands(Elab *el, Span at, const Carry *carry)
{
    IrRef *refs = arena_array(el->arena, IrRef, carry->tensor_count + 1);
    int count = 0;
    for (int i = 0; i < carry->parts.count; i++) {
        if (carry->parts.items[i].is_tensor)
            refs[count++] = part_ref(el, at, &carry->parts.items[i], carry->parts.items[i].outer);
    }
    return refs;
}

void carry_finish(Elab *el, Span at, const Carry *carry, IrRef node, int first)
{
    const Value **tensors = arena_array(el->arena, const Value *, carry->tensor_count + 1);
    int count = 0;
    for (int i = 0; i < carry->parts.count; i++) {
        const Part *part = &carry->parts.items[i];
        if (!part->is_tensor)
            continue;
        tensors[count] = tensor_new(el, ir_get(emit(el, at), node, first + count), &part->shape);
        count++;
    }
    carry_bind(el, carry, tensors);
}
