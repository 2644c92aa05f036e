/* Values of the elaborator: making them, and saying what they are. */
#include "frontend/value.h"

#include <math.h>
#include <string.h>

const Value value_poison = {.kind = VALUE_poison};
const Value value_unit = {.kind = VALUE_tuple};

/* ---- shapes ---- */

int shape_find(const Shape *shape, const Label *label)
{
    for (int i = 0; i < shape->rank; i++) {
        if (shape->axes[i].label == label)
            return i;
    }
    return -1;
}

bool shape_has_all(const Shape *shape, const Shape *of)
{
    for (int i = 0; i < of->rank; i++) {
        if (shape_find(shape, of->axes[i].label) < 0)
            return false;
    }
    return true;
}

bool shape_same_order(const Shape *a, const Shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++) {
        if (a->axes[i].label != b->axes[i].label)
            return false;
    }
    return true;
}

IrType shape_type(const Shape *shape, DType dtype)
{
    IrType type = {.dtype = dtype, .rank = shape->rank};
    for (int i = 0; i < shape->rank; i++)
        type.dim[i] = shape->axes[i].size;
    return type;
}

void shape_print(const Shape *shape, Text *out)
{
    text_puts(out, "[");
    for (int i = 0; i < shape->rank; i++) {
        const Axis *axis = &shape->axes[i];
        text_printf(out, "%s%s", i ? ", " : "", axis->label->name);
        if (!axis->label->sampled || axis->label->size != axis->size)
            text_printf(out, ": %lld", (long long)axis->size);
    }
    text_puts(out, "]");
}

Shape shape_without(const Shape *shape, const Shape *drop)
{
    Shape left = {0};
    for (int i = 0; i < shape->rank; i++) {
        if (shape_find(drop, shape->axes[i].label) < 0)
            left.axes[left.rank++] = shape->axes[i];
    }
    return left;
}

/* ---- making values ---- */

static Value *value_new(Arena *arena, ValueKind kind)
{
    Value *value = arena_new_of(arena, Value);
    value->kind = kind;
    return value;
}

const Value *value_integer(Arena *arena, int64_t integer)
{
    Value *value = value_new(arena, VALUE_number);
    value->number = (Number){true, false, integer, (double)integer};
    return value;
}

const Value *value_real(Arena *arena, double real)
{
    Value *value = value_new(arena, VALUE_number);
    value->number = (Number){.decimal = true, .real = real};
    if (fabs(real) < 0x1p62 && real == trunc(real) && !(real == 0 && signbit(real))) {
        value->number.whole = true;
        value->number.integer = (int64_t)real;
    }
    return value;
}

const Value *value_bool(Arena *arena, bool truth)
{
    Value *value = value_new(arena, VALUE_bool);
    value->truth = truth;
    return value;
}

const Value *value_axis(Arena *arena, Label *label, int64_t size)
{
    Value *value = value_new(arena, VALUE_axis);
    value->axis = (Axis){label, size};
    return value;
}

const Value *value_text(Arena *arena, const char *text)
{
    Value *value = value_new(arena, VALUE_string);
    value->text = text;
    return value;
}

const Value *value_group(Arena *arena, ValueKind kind, int count, const Value *const *items, const char *const *names)
{
    Value *value = value_new(arena, kind);
    value->group.count = count;
    if (count) {
        value->group.items = arena_copy(arena, items, sizeof *items * (size_t)count);
        if (names)
            value->group.names = arena_copy(arena, names, sizeof *names * (size_t)count);
    }
    return value;
}

const Value *value_pair(Arena *arena, const Value *a, const Value *b)
{
    return value_group(arena, VALUE_tuple, 2, (const Value *[]){a, b}, NULL);
}

const Value *value_at(const Value *value, Span span, Arena *arena)
{
    if (is_poison(value) || value->span.source)
        return value;
    Value *copy = arena_copy(arena, value, sizeof *value);
    copy->span = span;
    return copy;
}

const Value *record_get(const Value *record, const char *name)
{
    for (int i = 0; record->kind == VALUE_record && i < record->group.count; i++) {
        if (!strcmp(record->group.names[i], name))
            return record->group.items[i];
    }
    return NULL;
}

bool value_as_number(const Value *value, Number *number)
{
    if (value->kind == VALUE_number) {
        *number = value->number;
        return true;
    }
    if (value->kind != VALUE_axis)
        return false;
    int64_t size = value->axis.size >= 0 ? value->axis.size : value->axis.label->size;
    *number = (Number){true, false, size, (double)size};
    return size >= 0;
}

/* ---- saying what a value is ---- */

static void describe_number(const Value *value, Text *out)
{
    if (value->number.whole && value->number.decimal && fabs(value->number.real) < 1e15)
        text_printf(out, "the number %.1f", value->number.real);
    else if (value->number.whole)
        text_printf(out, "the number %lld", (long long)value->number.integer);
    else
        text_printf(out, "the number %.6g", value->number.real);
}

static void describe_model(const char *article, const ModelValue *model, Text *out)
{
    text_printf(out, "%s model `%s`", article, model->decl->name);
}

const char *value_describe(Arena *arena, const Value *value)
{
    static const char *const plain[] = {
        [VALUE_poison] = "a mistake",     [VALUE_bool] = "a truth value known when compiling",
        [VALUE_string] = "a string",      [VALUE_function] = "a function",
        [VALUE_builtin] = "a function",   [VALUE_module] = "a module",
        [VALUE_type] = "a type",          [VALUE_key] = "a random key",
        [VALUE_source] = "a data source",
    };
    Text out = text_new(arena);
    switch (value->kind) {
    case VALUE_number:
        describe_number(value, &out);
        break;
    case VALUE_axis:
        text_printf(&out, "the axis %s", value->axis.label->name);
        break;
    case VALUE_tensor:
        text_puts(&out, dtype_name(value->tensor.dtype));
        if (value->tensor.shape.rank)
            shape_print(&value->tensor.shape, &out);
        break;
    case VALUE_tuple:
        if (value->group.count)
            text_printf(&out, "a tuple of %d", value->group.count);
        else
            text_puts(&out, "nothing (a block that ends in no expression, an `if` without `else`)");
        break;
    case VALUE_record:
        text_puts(&out, "a record {");
        for (int i = 0; i < value->group.count; i++)
            text_printf(&out, "%s%s", i ? ", " : "", value->group.names[i]);
        text_puts(&out, "}");
        break;
    case VALUE_list:
        text_printf(&out, "a list of %d", value->group.count);
        break;
    case VALUE_model:
        describe_model("the", &value->model, &out);
        break;
    case VALUE_instance:
        describe_model("an instance of the", &value->instance->model->model, &out);
        break;
    default:
        return plain[value->kind];
    }
    return out.data;
}
