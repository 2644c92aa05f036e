/* The parser of the kernel IR's text form: what kernel_print writes, with comments and any layout.
 *
 *   kernel  = "kernel" name "(" [ kind "$"number ":" type "[" count "]" { "," ... } ] ")" [ "outer" { axis } ] { stage }
 *   stage   = ( "stage" | "contract" ) { axis } { inst } { acc } [ "tail" { inst } ] { store }
 *   axis    = ( "map" | "reduce" | "scan" ) "a"number ":" extent
 *   inst    = "%"number "=" operation [ place | number | "{" imm "}" ] { "%"number } [ "at" %.. ] [ "if" %.. ] ":" type
 *   acc     = "acc" number "=" ( "sum" | "prod" | "max" | "min" ) "%"number ":" type [ "wide" ]
 *   store   = ( "store" | "add" ) place "=" "%"number [ "at" "%"number ] [ "if" "%"number ]
 *   place   = "$"number "[" affine "]"
 *
 * Instructions are numbered from 0 in each stage, buffers and axes from 0 in the kernel: numbers are checked, not looked up. */
#include "ir/kernel/kernel.h"
#include "ir/text.h"

#include <stdlib.h>
#include <string.h>

typedef struct KernelParser {
    Scanner scan;
    Kernel *kernel;
    KStage *stage;
} KernelParser;

static int one_of(Scanner *scan, const char *const *words, int count, const char *what)
{
    for (int i = 0; i < count; i++) {
        if (scan_take(scan, words[i]))
            return i;
    }
    scan_fail(scan, "%s is wanted here", what);
    return 0;
}

static int axis_count(const KernelParser *parser)
{
    return parser->kernel->outer.count + (parser->stage ? parser->stage->axes.count : 0);
}

/* a12, below `limit` */
static int take_axis(KernelParser *parser, int limit)
{
    Scanner *scan = &parser->scan;
    char *end = NULL;
    long number = scan->kind == SCAN_word && scan->word[0] == 'a' ? strtol(scan->word + 1, &end, 10) : -1;
    if (number < 0 || number >= limit || *end || end == scan->word + 1) {
        scan_fail(scan, "an axis (a0 ... a%d) is wanted here", limit - 1);
        return 0;
    }
    scan_next(scan);
    return (int)number;
}

static int take_buffer(KernelParser *parser)
{
    scan_expect(&parser->scan, "$");
    return (int)scan_take_integer(&parser->scan, 0, parser->kernel->buffers.count - 1);
}

/* %12, below `limit` */
static KRef take_ref(KernelParser *parser, int limit)
{
    Scanner *scan = &parser->scan;
    char *end = NULL;
    long number = scan->kind == SCAN_value ? strtol(scan->word, &end, 10) : -1;
    if (number < 0 || number >= limit || *end || end == scan->word) {
        scan_fail(scan, "an instruction before this one (%%number) is wanted here");
        return -1;
    }
    scan_next(scan);
    return (KRef)number;
}

/* ---- affine forms ---- */

/* number, number*axis or axis, with the sign that stood before it. */
static void parse_term(KernelParser *parser, bool minus, Affine *affine)
{
    Scanner *scan = &parser->scan;
    int64_t factor = 1;
    bool axis = scan->kind == SCAN_word;
    if (!axis) {
        factor = scan_take_integer(scan, -((int64_t)1 << 56), (int64_t)1 << 56);
        axis = scan_take(scan, "*");
    }
    if (minus)
        factor = -factor;
    int64_t *place = axis ? &affine->coef[take_axis(parser, axis_count(parser))] : &affine->offset;
    if (__builtin_add_overflow(*place, factor, place))
        scan_fail(scan, "a factor is too large");
}

static Affine parse_affine(KernelParser *parser)
{
    Scanner *scan = &parser->scan;
    Affine affine = {0};
    parse_term(parser, scan_take(scan, "-"), &affine);
    while (!scan->failed) {
        if (scan_take(scan, "+"))
            parse_term(parser, false, &affine);
        else if (scan_take(scan, "-"))
            parse_term(parser, true, &affine);
        else if (scan->kind == SCAN_number && scan->number.real < 0) /* a0 -1 */
            parse_term(parser, false, &affine);
        else
            break;
    }
    return affine;
}

static Affine parse_place(KernelParser *parser, int *buffer)
{
    *buffer = take_buffer(parser);
    scan_expect(&parser->scan, "[");
    Affine affine = parse_affine(parser);
    scan_expect(&parser->scan, "]");
    return affine;
}

/* ---- stages ---- */

static int take_op(Scanner *scan)
{
    const char *word = scan_take_word(scan, "an operation");
    for (int op = 0; op < K_OP_COUNT; op++) {
        bool scalar = op >= OP_COUNT || ir_op_info[op].traits & TRAIT_pointwise;
        if (scalar && !strcmp(kop_name(op), word))
            return op;
    }
    scan_fail(scan, "there is no operation `%s`", word);
    return K_value;
}

static void parse_details(KernelParser *parser, KInst *inst, ScanNumber *number)
{
    Scanner *scan = &parser->scan;
    if (inst->op == K_load) {
        inst->index = parse_place(parser, &inst->buffer);
    } else if (inst->op == K_axis) {
        inst->index = parse_affine(parser);
    } else if (inst->op == K_value) {
        *number = scan->number;
        if (scan->kind != SCAN_number)
            scan_fail(scan, "a number is wanted here");
        scan_next(scan);
    } else if (scan_take(scan, "{")) {
        inst->imm = scan_take_integer(scan, INT64_MIN, INT64_MAX);
        scan_expect(scan, "}");
    }
}

static void parse_args(KernelParser *parser, KInst *inst)
{
    Scanner *scan = &parser->scan;
    int count = parser->stage->insts.count;
    if (inst->op == K_load) {
        inst->arg[0] = scan_take(scan, "at") ? take_ref(parser, count) : -1;
        inst->arg[1] = scan_take(scan, "if") ? take_ref(parser, count) : -1;
        return;
    }
    for (int i = 0; i < kop_arity(inst->op); i++)
        inst->arg[i] = take_ref(parser, count);
}

static void parse_inst(KernelParser *parser)
{
    Scanner *scan = &parser->scan;
    KStage *stage = parser->stage;
    KInst inst = {.arg = {-1, -1, -1}, .buffer = -1};
    ScanNumber number = {0};
    if (take_ref(parser, stage->insts.count + 1) != stage->insts.count)
        scan_fail(scan, "this instruction is number %d", stage->insts.count);
    scan_expect(scan, "=");
    inst.op = take_op(scan);
    parse_details(parser, &inst, &number);
    parse_args(parser, &inst);
    scan_expect(scan, ":");
    inst.dtype = scan_take_dtype(scan);
    if (inst.op == K_value && dtype_is_float(inst.dtype)) {
        inst.value = dtype_round(inst.dtype, number.real);
    } else if (inst.op == K_value) {
        inst.imm = number.integer;
        if (!number.is_integer)
            scan_fail(scan, "a whole number is wanted for %s", dtype_name(inst.dtype));
    }
    list_push(parser->kernel->arena, &stage->insts, inst);
}

static void parse_acc(KernelParser *parser)
{
    static const char *const combines[] = {"sum", "prod", "max", "min"};
    Scanner *scan = &parser->scan;
    KStage *stage = parser->stage;
    scan_take_integer(scan, stage->accs.count, stage->accs.count);
    scan_expect(scan, "=");
    KAcc acc = {.combine = (KCombine)one_of(scan, combines, 4, "sum, prod, max or min")};
    acc.value = take_ref(parser, stage->insts.count);
    scan_expect(scan, ":");
    acc.dtype = scan_take_dtype(scan);
    acc.wide = scan_take(scan, "wide");
    list_push(parser->kernel->arena, &stage->accs, acc);
}

static void parse_store(KernelParser *parser, bool add)
{
    Scanner *scan = &parser->scan;
    int count = parser->stage->insts.count;
    KStore store = {.add = add};
    store.index = parse_place(parser, &store.buffer);
    scan_expect(scan, "=");
    store.value = take_ref(parser, count);
    store.dynamic = scan_take(scan, "at") ? take_ref(parser, count) : -1;
    store.guard = scan_take(scan, "if") ? take_ref(parser, count) : -1;
    list_push(parser->kernel->arena, &parser->stage->stores, store);
}

/* Axes of the kernel (`stage` null) or of the stage, numbered on from those before. */
static void parse_axes(KernelParser *parser)
{
    static const char *const kinds[] = {"map", "reduce", "scan"};
    Scanner *scan = &parser->scan;
    Kernel *kernel = parser->kernel;
    while (scan_is(scan, kinds[K_MAP]) || scan_is(scan, kinds[K_REDUCE]) || scan_is(scan, kinds[K_SCAN])) {
        KAxis axis = {.kind = (KAxisKind)one_of(scan, kinds, 3, "map, reduce or scan")};
        if (axis_count(parser) == K_MAX_AXES) {
            scan_fail(scan, "a nest has at most %d axes", K_MAX_AXES);
            return;
        }
        if (take_axis(parser, K_MAX_AXES) != axis_count(parser))
            scan_fail(scan, "this axis is number %d", axis_count(parser));
        scan_expect(scan, ":");
        axis.extent = scan_take_integer(scan, 0, (int64_t)1 << 48);
        if (parser->stage)
            list_push(kernel->arena, &parser->stage->axes, axis);
        else
            list_push(kernel->arena, &kernel->outer, axis);
    }
}

static void parse_stage(KernelParser *parser)
{
    static const char *const kinds[] = {"stage", "contract"};
    Scanner *scan = &parser->scan;
    size_t start = scan->start;
    KStageKind kind = (KStageKind)one_of(scan, kinds, 2, "`stage` or `contract`");
    KStage *stage = parser->stage = kernel_add_stage(parser->kernel);
    stage->kind = kind;
    parse_axes(parser);
    stage->span = scan_span(scan, start);
    while (!scan->failed) {
        if (scan->kind == SCAN_value)
            parse_inst(parser);
        else if (scan_take(scan, "acc"))
            parse_acc(parser);
        else if (scan_take(scan, "store"))
            parse_store(parser, false);
        else if (scan_take(scan, "add"))
            parse_store(parser, true);
        else if (scan_take(scan, "tail"))
            stage->body_count = stage->insts.count;
        else
            break;
    }
}

static void parse_buffers(KernelParser *parser)
{
    static const char *const kinds[] = {"in", "out", "inout", "local"};
    Scanner *scan = &parser->scan;
    scan_expect(scan, "(");
    while (!scan_is(scan, ")") && !scan->failed) {
        int number = parser->kernel->buffers.count;
        if (number == K_MAX_BUFFERS) {
            scan_fail(scan, "a kernel has at most %d buffers", K_MAX_BUFFERS);
            return;
        }
        KBufferKind kind = (KBufferKind)one_of(scan, kinds, 4, "in, out, inout or local");
        scan_expect(scan, "$");
        scan_take_integer(scan, number, number);
        scan_expect(scan, ":");
        IrType type = scan_take_type(scan);
        if (type.rank != 1)
            scan_fail(scan, "a buffer has one axis");
        kernel_add_buffer(parser->kernel, kind, type.dtype, type.dim[0], NULL);
        if (!scan_take(scan, ","))
            break;
    }
    scan_expect(scan, ")");
}

Kernel *kernel_parse(Arena *arena, const Source *source, DiagSink *diags)
{
    KernelParser parser = {.scan = scan_start(arena, source, diags)};
    Scanner *scan = &parser.scan;
    size_t start = scan->start;
    scan_expect(scan, "kernel");
    Kernel *kernel = parser.kernel = kernel_new(arena, scan_take_word(scan, "the kernel's name"));
    parse_buffers(&parser);
    if (scan_take(scan, "outer"))
        parse_axes(&parser);
    kernel->span = scan_span(scan, start);
    while (scan->kind != SCAN_end && !scan->failed)
        parse_stage(&parser);
    return !scan->failed && kernel_verify(kernel, diags) ? kernel : NULL;
}
