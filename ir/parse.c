/* The parser of the graph IR's text form (docs/ir.md).
 *
 * Nodes are made as they are written, types included, without inference: a callee may be defined later.  The verifier
 * judges the whole module afterwards, so what is returned is always valid. */
#include "ir/text.h"

#include <math.h>
#include <string.h>

typedef struct Parser {
    Scanner scan;
    IrModule *module;
    IrFunc *func;
    Table funcs;  /* name -> IrFunc, made at the first mention */
    Table heads;  /* name -> itself, once defined */
    Table values; /* label -> a place in `refs` */
} Parser;

typedef LIST(IrRef) RefList;
typedef LIST(ScanNumber) NumberList;

/* The function of this name, made in the module where it is mentioned first; the order of definition is restored below. */
static IrFunc *func_named(Parser *parser, const char *name)
{
    IrFunc *func = table_get(&parser->funcs, name);
    if (!func) {
        func = arena_new_of(parser->module->arena, IrFunc);
        func->module = parser->module;
        func->name = name;
        table_put(&parser->funcs, name, func);
    }
    return func;
}

static IrFunc *take_func(Parser *parser)
{
    if (parser->scan.kind != SCAN_func)
        scan_fail(&parser->scan, "a function (@name) is wanted here");
    IrFunc *func = func_named(parser, parser->scan.word);
    if (!func->at.source)
        func->at = (Span){parser->scan.source, (uint32_t)parser->scan.start, (uint32_t)parser->scan.at};
    scan_next(&parser->scan);
    return func;
}

/* ---- values ---- */

static void define_value(Parser *parser, const char *label, IrRef ref)
{
    if (table_get(&parser->values, label)) {
        scan_fail(&parser->scan, "%%%s is defined twice", label);
        return;
    }
    IrRef *place = arena_new_of(parser->module->arena, IrRef);
    *place = ref;
    table_put(&parser->values, label, place);
}

static IrRef take_value(Parser *parser)
{
    Scanner *scan = &parser->scan;
    if (scan->kind != SCAN_value) {
        scan_fail(scan, "a value (%%name) is wanted here");
        return 0;
    }
    const IrRef *ref = table_get(&parser->values, scan->word);
    if (!ref)
        scan_fail(scan, "%%%s is not defined before this place", scan->word);
    scan_next(scan);
    return ref ? *ref : 0;
}

static IrRef add_node(Parser *parser, IrNode node, const char *label)
{
    IrRef ref = parser->func->nodes.count;
    list_push(parser->module->arena, &parser->func->nodes, node);
    define_value(parser, label, ref);
    return ref;
}

/* ---- nodes ---- */

static void parse_attrs(Parser *parser, IrNode *node)
{
    Scanner *scan = &parser->scan;
    const char *const *names = ir_op_info[node->op].attrs;
    unsigned given = 0;
    if (!scan_take(scan, "{"))
        return;
    while (!scan_is(scan, "}") && !scan->failed) {
        const char *name = scan_take_word(scan, "the name of an attribute");
        int which = 0;
        while (which < IR_MAX_ATTRS && names[which] && strcmp(names[which], name))
            which++;
        if (which == IR_MAX_ATTRS || !names[which] || given >> which & 1) {
            scan_fail(scan, "%s has no attribute `%s`, or it is given twice", ir_op_info[node->op].name, name);
            return;
        }
        given |= 1u << which;
        scan_expect(scan, "=");
        node->attr[which] = scan_take_ints(scan);
        if (!scan_take(scan, ","))
            break;
    }
    scan_expect(scan, "}");
}

static ScanNumber take_number(Scanner *scan)
{
    ScanNumber number = scan->number;
    if (scan->kind != SCAN_number)
        scan_fail(scan, "a number is wanted here");
    scan_next(scan);
    return number;
}

static NumberList parse_literal(Scanner *scan)
{
    NumberList items = {0};
    scan_expect(scan, "[");
    while (!scan_is(scan, "]") && !scan->failed) {
        ScanNumber number = take_number(scan);
        list_push(scan->arena, &items, number);
        if (!scan_take(scan, ","))
            break;
    }
    scan_expect(scan, "]");
    return items;
}

/* The bits of one element, in the low bytes; false if the number is none of the type. */
static bool item_bits(DType dtype, const ScanNumber *number, uint64_t *bits)
{
    *bits = 0;
    if (dtype_class(dtype) != CLASS_float) {
        int64_t low = dtype == DT_i32 ? INT32_MIN : dtype == DT_i64 ? INT64_MIN : 0;
        int64_t high = dtype == DT_i32 ? INT32_MAX : dtype == DT_i64 ? INT64_MAX : dtype == DT_u32 ? UINT32_MAX : UINT8_MAX;
        *bits = (uint64_t)number->integer;
        return number->is_integer && number->integer >= low && number->integer <= high;
    }
    float single = (float)dtype_round(dtype == DT_f64 ? DT_f32 : dtype, number->real);
    if (number->is_bits)
        *bits = number->bits;
    else if (isnan(number->real))
        *bits = ir_text_nan(dtype);
    else if (dtype == DT_f64)
        memcpy(bits, &number->real, sizeof number->real);
    else if (dtype == DT_f32)
        memcpy(bits, &single, sizeof single);
    else
        *bits = dtype == DT_f16 ? float_to_half(single) : float_to_bfloat(single);
    return true;
}

static void fill_literal(Parser *parser, IrNode *node, const NumberList *items)
{
    Scanner *scan = &parser->scan;
    size_t size = (size_t)dtype_size(node->type.dtype);
    if (items->count != ir_element_count(&node->type)) {
        scan_fail(scan, "%d numbers for %lld elements", items->count, (long long)ir_element_count(&node->type));
        return;
    }
    unsigned char *data = arena_alloc(parser->module->arena, (size_t)items->count * size + 1);
    for (int i = 0; i < items->count; i++) {
        uint64_t bits;
        if (!item_bits(node->type.dtype, &items->items[i], &bits)) {
            scan_fail(scan, "number %d of the literal does not fit its type", i);
            return;
        }
        memcpy(data + (size_t)i * size, &bits, size);
    }
    node->data = data;
}

static void parse_callees(Parser *parser, IrNode *node)
{
    for (int i = 0; i < ir_callee_count(node->op); i++) {
        if (i)
            scan_expect(&parser->scan, ",");
        node->callee[i] = take_func(parser);
    }
}

static IrOp take_op(Scanner *scan)
{
    IrOp op = OP_param;
    size_t start = scan->start;
    const char *word = scan_take_word(scan, "a primitive");
    if (!scan->failed && (!ir_op_from_name(word, &op) || op == OP_param))
        scan_fail_at(scan, scan_span(scan, start), "there is no primitive `%s`", word);
    return op;
}

static void parse_node(Parser *parser)
{
    Scanner *scan = &parser->scan;
    size_t start = scan->start;
    const char *label = scan->word, *name = scan->name;
    NumberList items = {0};
    RefList operands = {0};
    if (scan->kind != SCAN_value)
        scan_fail(scan, "a value (%%name = ...) or `return` is wanted here");
    scan_next(scan);
    scan_expect(scan, "=");
    IrNode node = {.name = name, .again = scan_take(scan, "again")};
    node.op = take_op(scan);
    while (scan->kind == SCAN_value) {
        IrRef ref = take_value(parser);
        list_push(scan->arena, &operands, ref);
        if (!scan_take(scan, ","))
            break;
    }
    if (node.op == OP_const)
        node.value = take_number(scan).real;
    if (node.op == OP_literal)
        items = parse_literal(scan);
    parse_attrs(parser, &node);
    parse_callees(parser, &node);
    if (!(ir_op_info[node.op].traits & TRAIT_control)) {
        scan_expect(scan, ":");
        node.type = scan_take_type(scan);
    }
    if (node.op == OP_literal)
        fill_literal(parser, &node, &items);
    node.operand_count = operands.count;
    node.operands = operands.items;
    node.span = scan_span(scan, start);
    add_node(parser, node, label);
}

/* ---- functions ---- */

static void parse_params(Parser *parser)
{
    Scanner *scan = &parser->scan;
    scan_expect(scan, "(");
    while (!scan_is(scan, ")") && !scan->failed) {
        size_t start = scan->start;
        const char *label = scan->word;
        IrNode node = {.op = OP_param, .name = scan->name};
        if (scan->kind != SCAN_value)
            scan_fail(scan, "a parameter (%%name: type) is wanted here");
        scan_next(scan);
        scan_expect(scan, ":");
        node.type = scan_take_type(scan);
        node.span = scan_span(scan, start);
        IrRef ref = add_node(parser, node, label);
        list_push(parser->module->arena, &parser->func->params, ref);
        if (!scan_take(scan, ","))
            break;
    }
    scan_expect(scan, ")");
}

typedef LIST(IrType) TypeList;

static TypeList parse_result_types(Parser *parser)
{
    Scanner *scan = &parser->scan;
    TypeList types = {0};
    scan_expect(scan, "(");
    while (!scan_is(scan, ")") && !scan->failed) {
        IrType type = scan_take_type(scan);
        list_push(scan->arena, &types, type);
        if (!scan_take(scan, ","))
            break;
    }
    scan_expect(scan, ")");
    return types;
}

static void parse_return(Parser *parser)
{
    Scanner *scan = &parser->scan;
    Arena *arena = parser->module->arena;
    while (!scan_is(scan, "}") && !scan->failed) {
        const char *name = NULL;
        if (scan->kind != SCAN_value) {
            name = scan_take_word(scan, "a value");
            scan_expect(scan, "=");
        }
        IrRef ref = take_value(parser);
        list_push(arena, &parser->func->results, ref);
        list_push(arena, &parser->func->result_names, name);
        if (!scan_take(scan, ","))
            break;
    }
    scan_expect(scan, "}");
}

static void check_result_types(Parser *parser, const TypeList *types, Span at)
{
    const IrFunc *func = parser->func;
    bool equal = types->count == func->results.count;
    for (int i = 0; equal && i < types->count; i++)
        equal = ir_type_equal(&types->items[i], ir_type_of(func, func->results.items[i]));
    if (!equal)
        scan_fail_at(&parser->scan, at, "the results of @%s are not what its head says", func->name);
}

static void parse_func(Parser *parser)
{
    Scanner *scan = &parser->scan;
    TypeList types = {0};
    scan_expect(scan, "func");
    size_t start = scan->start;
    IrFunc *func = parser->func = take_func(parser);
    if (table_get(&parser->heads, func->name))
        scan_fail(scan, "@%s is defined twice", func->name);
    table_put(&parser->heads, func->name, func);
    list_push(parser->module->arena, &parser->module->funcs, func);
    parser->values = table_new(scan->arena);
    parse_params(parser);
    bool typed = scan_take(scan, "->");
    if (typed)
        types = parse_result_types(parser);
    func->at = scan_span(scan, start);
    scan_expect(scan, "{");
    while (!scan_is(scan, "return") && !scan->failed)
        parse_node(parser);
    scan_expect(scan, "return");
    parse_return(parser);
    if (typed && !scan->failed)
        check_result_types(parser, &types, func->at);
}

IrModule *ir_parse(Arena *arena, const Source *source, DiagSink *diags)
{
    Parser parser = {.scan = scan_start(arena, source, diags), .module = ir_module_new(arena)};
    parser.funcs = table_new(arena);
    parser.heads = table_new(arena);
    while (parser.scan.kind != SCAN_end && !parser.scan.failed)
        parse_func(&parser);
    for (int i = 0; i < parser.funcs.count && !parser.scan.failed; i++) {
        const IrFunc *func = parser.funcs.entries[i].value;
        if (!table_get(&parser.heads, func->name))
            scan_fail_at(&parser.scan, func->at, "@%s is not defined", func->name);
    }
    if (parser.scan.failed || !ir_verify(parser.module, diags))
        return NULL;
    return parser.module;
}
