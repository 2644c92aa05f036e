/* The printer of the graph IR: docs/ir.md says the grammar.
 *
 * Values are numbered in the order of printing, params first.  A value with a source name is %name if it is the first of
 * that name in its function, else %name#number, so that names are kept and no two values share one. */
#include "ir/text.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct Printer {
    const IrFunc *func;
    Text *out;
    const char **label; /* by value */
} Printer;

/* ---- names ---- */

bool ir_text_is_name(const char *name)
{
    if (!isalpha((unsigned char)*name) && *name != '_')
        return false;
    for (; *name; name++) {
        if (!isalnum((unsigned char)*name) && !strchr("_.'", *name))
            return false;
    }
    return true;
}

void ir_text_name(Text *out, const char *name)
{
    if (ir_text_is_name(name)) {
        text_puts(out, name);
        return;
    }
    text_puts(out, "\"");
    for (; *name; name++) {
        if (*name == '"' || *name == '\\' || (unsigned char)*name < ' ')
            text_printf(out, "\\%03o", (unsigned)(unsigned char)*name);
        else
            text_add(out, name, 1);
    }
    text_puts(out, "\"");
}

static const char *label_of(Table *used, const char *name, int number)
{
    Text label = text_new(used->arena);
    if (!name || !*name) {
        text_printf(&label, "%d", number);
        return label.data;
    }
    ir_text_name(&label, name);
    if (table_get(used, label.data))
        text_printf(&label, "#%d", number);
    table_put(used, label.data, used);
    return label.data;
}

static void label_values(Printer *printer, Arena *arena)
{
    const IrFunc *func = printer->func;
    Table used = table_new(arena);
    int number = 0;
    printer->label = arena_array(arena, const char *, func->nodes.count);
    for (int i = 0; i < func->params.count; i++, number++)
        printer->label[func->params.items[i]] = label_of(&used, ir_node(func, func->params.items[i])->name, number);
    for (IrRef i = 0; i < func->nodes.count; i++) {
        if (ir_node(func, i)->op != OP_param)
            printer->label[i] = label_of(&used, ir_node(func, i)->name, number++);
    }
}

/* ---- numbers ---- */

static void print_nan(Text *out, uint64_t bits, uint64_t plain)
{
    if (bits == plain)
        text_puts(out, "nan");
    else
        text_printf(out, "nan(0x%llx)", (unsigned long long)bits);
}

void ir_text_real(Text *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (isnan(value))
        print_nan(out, bits, IR_NAN_F64);
    else
        text_number(out, value, 0);
}

static void print_integer_item(Text *out, DType dtype, const unsigned char *at)
{
    int64_t value = 0;
    memcpy(&value, at, (size_t)dtype_size(dtype));
    if (dtype == DT_i32)
        value = (int32_t)value;
    text_printf(out, "%lld", (long long)value);
}

static void print_item(Text *out, DType dtype, const unsigned char *at)
{
    uint64_t bits = 0;
    memcpy(&bits, at, (size_t)dtype_size(dtype));
    float single = 0;
    double real = 0;
    switch (dtype) {
    case DT_f64:
        memcpy(&real, at, sizeof real);
        ir_text_real(out, real);
        return;
    case DT_f32:
        memcpy(&single, at, sizeof single);
        break;
    case DT_f16:
        single = half_to_float((uint16_t)bits);
        break;
    case DT_bf16:
        single = bfloat_to_float((uint16_t)bits);
        break;
    default:
        print_integer_item(out, dtype, at);
        return;
    }
    if (isnan(single))
        print_nan(out, bits, ir_text_nan(dtype));
    else
        text_number(out, (double)single, 1);
}

uint64_t ir_text_nan(DType dtype)
{
    return dtype == DT_f64 ? IR_NAN_F64 : dtype == DT_f32 ? 0x7fc00000u : dtype == DT_f16 ? 0x7e00u : 0x7fc0u;
}

static void print_literal(Text *out, const IrNode *node)
{
    int64_t count = ir_element_count(&node->type), size = dtype_size(node->type.dtype);
    text_puts(out, " [");
    for (int64_t i = 0; i < count; i++) {
        text_puts(out, i ? ", " : "");
        print_item(out, node->type.dtype, (const unsigned char *)node->data + i * size);
    }
    text_puts(out, "]");
}

/* ---- nodes ---- */

void ir_text_ints(Text *out, IrInts ints)
{
    text_puts(out, "[");
    for (int i = 0; i < ints.count; i++)
        text_printf(out, "%s%lld", i ? "," : "", (long long)ints.items[i]);
    text_puts(out, "]");
}

static void print_attrs(Text *out, const IrNode *node)
{
    const char *const *names = ir_op_info[node->op].attrs;
    bool any = false;
    for (int i = 0; i < IR_MAX_ATTRS && names[i]; i++) {
        if (!node->attr[i].count)
            continue;
        text_printf(out, "%s%s=", any ? ", " : " {", names[i]);
        ir_text_ints(out, node->attr[i]);
        any = true;
    }
    text_puts(out, any ? "}" : "");
}

static void print_node(Printer *printer, IrRef ref)
{
    const IrNode *node = ir_node(printer->func, ref);
    Text *out = printer->out;
    text_printf(out, "  %%%s = %s%s", printer->label[ref], node->again ? "again " : "", ir_op_info[node->op].name);
    for (int i = 0; i < node->operand_count; i++)
        text_printf(out, "%s%%%s", i ? ", " : " ", printer->label[node->operands[i]]);
    if (node->op == OP_const) {
        text_puts(out, " ");
        if (dtype_is_float(node->type.dtype))
            ir_text_real(out, node->value);
        else
            text_printf(out, "%lld", (long long)node->value);
    }
    if (node->op == OP_literal)
        print_literal(out, node);
    print_attrs(out, node);
    for (int i = 0; i < ir_callee_count(node->op); i++) {
        text_puts(out, i ? ", @" : " @");
        ir_text_name(out, node->callee[i]->name);
    }
    if (!(ir_op_info[node->op].traits & TRAIT_control)) {
        text_puts(out, " : ");
        ir_type_print(&node->type, out);
    }
    text_puts(out, "\n");
}

static void print_head(Printer *printer)
{
    const IrFunc *func = printer->func;
    text_puts(printer->out, "func @");
    ir_text_name(printer->out, func->name);
    text_puts(printer->out, "(");
    for (int i = 0; i < func->params.count; i++) {
        text_printf(printer->out, "%s%%%s: ", i ? ", " : "", printer->label[func->params.items[i]]);
        ir_type_print(ir_type_of(func, func->params.items[i]), printer->out);
    }
    text_puts(printer->out, ") -> (");
    for (int i = 0; i < func->results.count; i++) {
        text_puts(printer->out, i ? ", " : "");
        ir_type_print(ir_type_of(func, func->results.items[i]), printer->out);
    }
    text_puts(printer->out, ") {\n");
}

static void print_return(Printer *printer)
{
    const IrFunc *func = printer->func;
    text_puts(printer->out, "  return");
    for (int i = 0; i < func->results.count; i++) {
        text_puts(printer->out, i ? ", " : " ");
        if (i < func->result_names.count && func->result_names.items[i]) {
            ir_text_name(printer->out, func->result_names.items[i]);
            text_puts(printer->out, "=");
        }
        text_printf(printer->out, "%%%s", printer->label[func->results.items[i]]);
    }
    text_puts(printer->out, "\n}\n");
}

void ir_print_func(const IrFunc *func, Text *out)
{
    Printer printer = {.func = func, .out = out};
    label_values(&printer, out->arena);
    print_head(&printer);
    for (IrRef i = 0; i < func->nodes.count; i++) {
        if (ir_node(func, i)->op != OP_param)
            print_node(&printer, i);
    }
    print_return(&printer);
}

void ir_print(const IrModule *module, Text *out)
{
    for (int i = 0; i < module->funcs.count; i++) {
        text_puts(out, i ? "\n" : "");
        ir_print_func(module->funcs.items[i], out);
    }
}
