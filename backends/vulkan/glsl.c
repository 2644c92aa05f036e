/* Printing GLSL: lines and loops, where buffers lie, and what a stage does at a point. */
#include "backends/vulkan/glsl.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

/* Of values: offsets, which are i64, are 32-bit numbers here. */
static bool is_offset(const KInst *inst)
{
    return inst->op == K_offset || inst->op == K_add_offset;
}

bool glsl_uses(const Kernel *kernel, DType dtype)
{
    for (int i = 0; i < kernel->buffers.count; i++)
        if (kernel->buffers.items[i].dtype == dtype)
            return true;
    for (int i = 0; i < kernel->stages.count; i++) {
        const KStage *stage = &kernel->stages.items[i];
        for (int k = 0; k < stage->insts.count; k++)
            if (stage->insts.items[k].dtype == dtype && !is_offset(&stage->insts.items[k]))
                return true;
        for (int k = 0; k < stage->accs.count; k++)
            if (stage->accs.items[k].wide && dtype == DT_f64)
                return true;
    }
    return false;
}

/* ---- printing ---- */

void glsl_line(GlslPrinter *printer, const char *format, ...)
{
    va_list args;
    for (int i = 0; i < printer->depth; i++)
        text_puts(printer->out, "  ");
    va_start(args, format);
    text_vprintf(printer->out, format, args);
    va_end(args);
    text_puts(printer->out, "\n");
}

static void open_block(GlslPrinter *printer, const char *head, double turns)
{
    double around = printer->around[printer->depth];
    glsl_line(printer, *head ? "%s {" : "%s{", head);
    assert(printer->depth + 1 < GLSL_MOST_DEPTH);
    printer->around[++printer->depth] = around * turns;
}

void glsl_open(GlslPrinter *printer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *head = arena_vprintf(printer->arena, format, args);
    va_end(args);
    open_block(printer, head, 1);
}

void glsl_close(GlslPrinter *printer)
{
    printer->depth--;
    glsl_line(printer, "}");
}

bool glsl_has_piece(const GlslPrinter *printer)
{
    return printer->phase->role == ROLE_PIECES || printer->phase->role == ROLE_RESUME;
}

int64_t glsl_piece_length(const GlslPrinter *printer, int64_t end, int64_t step)
{
    int64_t pieces = glsl_has_piece(printer) ? printer->phase->pieces : 1;
    return parts_of(end, pieces * step) * step;
}

void glsl_range(GlslPrinter *printer, const char *name, const char *first, const char *end, int64_t step, int64_t turns)
{
    printer->turns += printer->around[printer->depth] * (double)turns;
    const char *head =
        arena_printf(printer->arena, "for (int %s = %s; %s < %s; %s += %lld)", name, first, name, end, name, (long long)step);
    open_block(printer, head, (double)turns);
}

void glsl_loop(GlslPrinter *printer, const char *name, const char *first, int64_t end, int64_t step)
{
    glsl_range(printer, name, first, arena_printf(printer->arena, "%lld", (long long)end), step, parts_of(end, step));
}

void glsl_piece_loop(GlslPrinter *printer, const char *name, int64_t end)
{
    long long length = glsl_piece_length(printer, end, 1);
    const char *first = arena_printf(printer->arena, "piece * %lld", length);
    const char *last = arena_printf(printer->arena, "min((piece + 1) * %lld, %lld)", length, (long long)end);
    glsl_range(printer, name, first, last, 1, length);
}

int glsl_loops(GlslPrinter *printer, const KStage *stage, int first, AxisTest *wanted)
{
    int axes[K_MAX_AXES], count = stage_axes(printer->kernel, stage, first, wanted, axes);
    for (int i = 0; i < count; i++) {
        const char *name = arena_printf(printer->arena, "a%d", axes[i]);
        glsl_loop(printer, name, "0", stage_axis(printer->kernel, stage, axes[i])->extent, 1);
    }
    return count;
}

/* ---- where buffers lie ---- */

unsigned char glsl_window(const GlslPrinter *printer, int argument)
{
    return printer->window ? printer->window[argument] : 0;
}

/* Scratch comes behind the arguments. */
unsigned char glsl_scratch_window(const GlslPrinter *printer)
{
    return glsl_window(printer, kernel_argument_count(printer->kernel));
}

const char *glsl_scratch_base(const GlslPrinter *printer)
{
    return arena_printf(printer->arena, "base_of(%d)", kernel_argument_count(printer->kernel));
}

/* Locals in scratch lie behind each other, those of each lot behind the ones before. */
static void print_local_bases(GlslPrinter *printer)
{
    const Kernel *kernel = printer->kernel;
    int64_t place = 0;
    for (int i = 0; i < kernel->buffers.count && printer->schedule->lot_bytes; i++) {
        const KBuffer *buffer = &kernel->buffers.items[i];
        if (buffer->kind != K_LOCAL)
            continue;
        glsl_line(printer, "b%d = (%s + lot * %lld + %lld) / %d;", i, glsl_scratch_base(printer),
                  (long long)printer->schedule->lot_bytes, (long long)place, dtype_size(buffer->dtype));
        place += local_bytes(buffer);
    }
}

/* `whole`: there is no digit above those of the axes, of which the last one is the fastest.  Outer axes are no stage's. */
static void print_digits(GlslPrinter *printer, const KStage *stage, const int *axes, int count, const char *number, bool whole)
{
    int64_t below = 1;
    for (int i = count - 1; i >= 0; i--) {
        int64_t extent = stage_axis(printer->kernel, stage, axes[i])->extent;
        Text digit = text_new(printer->arena);
        text_printf(&digit, "uint(%s)", number);
        if (below > 1)
            text_printf(&digit, " / %lldu", (long long)below);
        if (extent && (i || !whole)) /* of no points it is never asked */
            text_printf(&digit, " %% %lldu", (long long)extent);
        glsl_line(printer, "int a%d = int(%s);", axes[i], digit.data);
        below *= extent;
    }
}

void glsl_digits_of(GlslPrinter *printer, const KStage *stage, const int *axes, int count, const char *number)
{
    print_digits(printer, stage, axes, count, number, true);
}

void glsl_digits(GlslPrinter *printer, const KStage *stage, int first, AxisTest *wanted, const char *number)
{
    int axes[K_MAX_AXES], count = stage_axes(printer->kernel, stage, first, wanted, axes);
    print_digits(printer, stage, axes, count, number, false);
}

void glsl_outer_digits(GlslPrinter *printer, const char *number)
{
    int axes[K_MAX_AXES], count = printer->kernel->outer.count;
    for (int i = 0; i < count; i++)
        axes[i] = i;
    print_digits(printer, NULL, axes, count, number, true);
}

void glsl_lot(GlslPrinter *printer, const char *number)
{
    const Schedule *schedule = printer->schedule;
    glsl_line(printer, "int lot = %s;", number);
    glsl_line(printer, "int outer = turn * %lld + lot;", (long long)schedule->lots);
    if (schedule->turns > 1) {
        glsl_line(printer, "if (outer >= %lld)", (long long)kernel_points(printer->kernel));
        glsl_line(printer, "  return;");
    }
    glsl_outer_digits(printer, "outer");
    print_local_bases(printer);
}

/* ---- a stage at a point ---- */

const char *glsl_acc_type(const KAcc *acc)
{
    return acc->wide ? "double" : glsl_type(acc->dtype);
}

void glsl_insts(GlslPrinter *printer, const KStage *stage, int first, int end)
{
    for (KRef ref = first; ref < end; ref++) {
        const KInst *inst = &stage->insts.items[ref];
        Text value = text_new(printer->arena);
        glsl_inst(printer->kernel, stage, ref, &value);
        bool is_float = dtype_is_float(inst->dtype);
        glsl_line(printer, "%s%s v%d = %s;", is_float ? "precise " : "", is_offset(inst) ? "int" : glsl_type(inst->dtype), ref,
                  value.data);
    }
}

static void print_identity(GlslPrinter *printer, const KAcc *acc, int number)
{
    double real = acc->combine == K_SUM    ? 0
                  : acc->combine == K_PROD ? 1
                  : acc->combine == K_MAX  ? -(double)INFINITY
                                           : (double)INFINITY;
    int64_t least = acc->dtype == DT_i32 ? INT32_MIN : acc->dtype == DT_i64 ? INT64_MIN : 0;
    int64_t most = acc->dtype == DT_i32 ? INT32_MAX : acc->dtype == DT_i64 ? INT64_MAX : UINT32_MAX;
    int64_t integer = acc->combine == K_MAX ? least : acc->combine == K_MIN ? most : acc->combine == K_PROD;
    Text value = text_new(printer->arena);
    glsl_constant(acc->wide ? DT_f64 : acc->dtype, real, integer, &value);
    glsl_line(printer, "%s%s s%d = %s;", dtype_is_float(acc->dtype) ? "precise " : "", glsl_acc_type(acc), number, value.data);
}

void glsl_identities(GlslPrinter *printer, const KStage *stage)
{
    for (int i = 0; i < stage->accs.count; i++)
        print_identity(printer, &stage->accs.items[i], i);
}

/* `into` = `into` combined with `value`. */
void glsl_combine(GlslPrinter *printer, const KAcc *acc, const char *into, const char *value)
{
    switch (acc->combine) {
    case K_SUM:
        glsl_line(printer, "%s = %s + %s;", into, into, value);
        break;
    case K_PROD:
        glsl_line(printer, "%s = %s * %s;", into, into, value);
        break;
    default:
        glsl_line(printer, "%s = %s(%s, %s);", into, acc->combine == K_MAX ? "largest" : "least", into, value);
        break;
    }
}

void glsl_accumulate(GlslPrinter *printer, const KStage *stage, const char *guard)
{
    glsl_insts(printer, stage, 0, stage->body_count);
    if (guard)
        glsl_open(printer, "if (%s)", guard);
    for (int i = 0; i < stage->accs.count; i++) {
        char into[16], value[32];
        snprintf(into, sizeof into, "s%d", i);
        snprintf(value, sizeof value, "%s(v%d)", glsl_acc_type(&stage->accs.items[i]), stage->accs.items[i].value);
        glsl_combine(printer, &stage->accs.items[i], into, value);
    }
    if (guard)
        glsl_close(printer);
}

void glsl_tail(GlslPrinter *printer, const KStage *stage)
{
    glsl_insts(printer, stage, stage->body_count, stage->insts.count);
    for (int i = 0; i < stage->stores.count; i++) {
        const KStore *store = &stage->stores.items[i];
        Text place = text_new(printer->arena);
        glsl_affine(&store->index, &place);
        if (store->dynamic >= 0)
            text_printf(&place, " + v%d", store->dynamic);
        if (store->guard >= 0)
            glsl_line(printer, "if (v%d)", store->guard);
        if (store->add)
            glsl_line(printer, "put_b%d(%s, get_b%d(%s) + v%d);", store->buffer, place.data, store->buffer, place.data,
                      store->value);
        else
            glsl_line(printer, "put_b%d(%s, v%d);", store->buffer, place.data, store->value);
    }
}
