/* A phase of a kernel as GLSL: where its buffers lie, its threads' places, and the loops around the instructions. */
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
    return (end + pieces * step - 1) / (pieces * step) * step;
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
    glsl_range(printer, name, first, arena_printf(printer->arena, "%lld", (long long)end), step, (end + step - 1) / step);
}

static void open_axis(GlslPrinter *printer, const KStage *stage, int axis)
{
    const char *name = arena_printf(printer->arena, "a%d", axis);
    glsl_loop(printer, name, "0", schedule_axis(printer->kernel, stage, axis)->extent, 1);
}

static int open_axes(GlslPrinter *printer, const KStage *stage, int first, AxisTest *wanted)
{
    int count = 0;
    for (int axis = first; axis < printer->kernel->outer.count + stage->axes.count; axis++)
        if (wanted(printer->kernel, stage, axis)) {
            open_axis(printer, stage, axis);
            count++;
        }
    return count;
}

int glsl_loops(GlslPrinter *printer, const KStage *stage, AxisTest *wanted)
{
    return open_axes(printer, stage, printer->kernel->outer.count, wanted);
}

/* ---- where buffers lie ---- */

static int argument_count(const Kernel *kernel)
{
    int count = 0;
    for (int i = 0; i < kernel->buffers.count; i++)
        count += kernel->buffers.items[i].kind != K_LOCAL;
    return count;
}

static int window_of(const GlslPrinter *printer, int argument)
{
    return printer->window ? printer->window[argument] : 0;
}

/* Scratch comes behind the arguments. */
int glsl_scratch_window(const GlslPrinter *printer)
{
    return window_of(printer, argument_count(printer->kernel));
}

const char *glsl_scratch_base(const GlslPrinter *printer)
{
    return arena_printf(printer->arena, "base_of(%d)", argument_count(printer->kernel));
}

/* As tiles read: 16 bytes, where an element is the first of them, and the bits of a number of 16. */
static void print_raw_accessors(GlslPrinter *printer, int buffer, int window, DType dtype)
{
    int size = dtype_size(dtype);
    if (size <= 4)
        glsl_line(printer, "uvec4 words_of_b%d(int i) { return wide_%d[uint(b%d + i) / %du]; }", buffer, window, buffer,
                  16 / size);
    if (size == 2)
        glsl_line(printer, "uint bits_of_b%d(int i) { return bits16_at_%d(b%d + i); }", buffer, window, buffer);
}

static void print_accessors(GlslPrinter *printer, bool raw)
{
    const Kernel *kernel = printer->kernel;
    bool shared = printer->phase->kind == PHASE_ROWS;
    int argument = 0;
    for (int i = 0; i < kernel->buffers.count; i++) {
        const KBuffer *buffer = &kernel->buffers.items[i];
        const char *type = glsl_type(buffer->dtype), *name = dtype_name(buffer->dtype);
        bool small = buffer->dtype == DT_f16 || buffer->dtype == DT_bf16;
        if (buffer->kind == K_LOCAL && shared) {
            glsl_line(printer, "shared %s l%d[%lld];", type, i, (long long)(buffer->count ? buffer->count : 1));
            glsl_line(printer, "%s get_b%d(int i) { return l%d[i]; }", type, i, i);
            glsl_line(printer, "void put_b%d(int i, %s x) { l%d[i] = %s%s%s; }", i, type, i, small ? "round_" : "",
                      small ? name : "", small ? "(x)" : "x");
            continue;
        }
        int window = buffer->kind == K_LOCAL ? glsl_scratch_window(printer) : window_of(printer, argument++);
        glsl_line(printer, "int b%d;", i);
        glsl_line(printer, "%s get_b%d(int i) { return get_%s_%d(b%d + i); }", type, i, name, window, i);
        glsl_line(printer, "void put_b%d(int i, %s x) { put_%s_%d(b%d + i, x); }", i, type, name, window, i);
        if (raw)
            print_raw_accessors(printer, i, window, buffer->dtype);
    }
}

/* Arguments begin where the table says. */
static void print_bases(GlslPrinter *printer)
{
    const Kernel *kernel = printer->kernel;
    int argument = 0;
    for (int i = 0; i < kernel->buffers.count; i++)
        if (kernel->buffers.items[i].kind != K_LOCAL) {
            glsl_line(printer, "b%d = base_of(%d);", i, argument);
            argument++;
        }
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
        place += schedule_local_bytes(buffer);
    }
}

void glsl_digit(GlslPrinter *printer, int axis, const char *number, int64_t below, int64_t extent)
{
    Text digit = text_new(printer->arena);
    text_printf(&digit, "uint(%s)", number);
    if (below > 1)
        text_printf(&digit, " / %lldu", (long long)below);
    if (extent)
        text_printf(&digit, " %% %lldu", (long long)extent);
    glsl_line(printer, "int a%d = int(%s);", axis, digit.data);
}

static void print_outer_digits(GlslPrinter *printer)
{
    const Kernel *kernel = printer->kernel;
    int64_t below = 1;
    for (int axis = kernel->outer.count - 1; axis >= 0; axis--) {
        int64_t extent = kernel->outer.items[axis].extent;
        glsl_digit(printer, axis, "outer", below, axis ? extent : 0);
        below *= extent;
    }
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
    print_outer_digits(printer);
    print_local_bases(printer);
}

/* The axes that are wanted as digits of `number`, the last one the fastest. */
void glsl_digits(GlslPrinter *printer, const KStage *stage, int first, AxisTest *wanted, const char *number)
{
    const Kernel *kernel = printer->kernel;
    int64_t below = 1;
    for (int axis = kernel->outer.count + stage->axes.count - 1; axis >= first; axis--) {
        int64_t extent = schedule_axis(kernel, stage, axis)->extent;
        if (!wanted(kernel, stage, axis))
            continue;
        glsl_digit(printer, axis, number, below, extent);
        below *= extent;
    }
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

static void print_tail(GlslPrinter *printer, const KStage *stage)
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

void glsl_finish(GlslPrinter *printer, const KStage *stage)
{
    if (printer->phase->role == ROLE_PIECES)
        sums_keep_piece(printer, stage, "s");
    else
        print_tail(printer, stage);
}

/* ---- points ---- */

/* A thread has a piece of a sum, whose terms follow each other whatever their axes; or joins the pieces of one. */
static void print_piece(GlslPrinter *printer, const KStage *stage)
{
    glsl_identities(printer, stage);
    sums_print_terms(printer, stage, "0", 1);
    glsl_finish(printer, stage);
}

/* One thread goes through all axes that are not shared out; those that are scanned are around those that are summed. */
static void print_point(GlslPrinter *printer, const KStage *stage)
{
    const Kernel *kernel = printer->kernel;
    int open = open_axes(printer, stage, schedule_has_locals(kernel) ? kernel->outer.count : 0, schedule_follows);
    glsl_identities(printer, stage);
    open += glsl_loops(printer, stage, schedule_scans);
    int reduced = glsl_loops(printer, stage, schedule_sums);
    if (stage->body_count || stage->accs.count)
        glsl_accumulate(printer, stage, NULL);
    while (reduced--)
        glsl_close(printer);
    print_tail(printer, stage);
    while (open--)
        glsl_close(printer);
}

/* ---- phases ---- */

/* Which point of the stage `number` stands for, and which piece of its sums. */
static void print_place(GlslPrinter *printer, const KStage *stage, const char *number)
{
    const Phase *phase = printer->phase;
    const Kernel *kernel = printer->kernel;
    bool pieces = glsl_has_piece(printer);
    glsl_line(printer, "if (%s >= %lld)", number, (long long)(phase->points * (pieces ? phase->pieces : 1)));
    glsl_line(printer, "  return;");
    if (pieces)
        glsl_line(printer, "int point = int(uint(%s) %% %lldu), piece = int(uint(%s) / %lldu);", number,
                  (long long)phase->points, number, (long long)phase->points);
    else
        glsl_line(printer, "int point = %s;", number);
    if (!schedule_has_locals(kernel)) {
        glsl_digits(printer, stage, 0, schedule_shares_out, "point");
        return;
    }
    glsl_lot(printer, arena_printf(printer->arena, "int(uint(point) / %lldu)", (long long)schedule_own_points(kernel, stage)));
    glsl_digits(printer, stage, kernel->outer.count, schedule_shares_out, "point");
}

static void print_own_point(GlslPrinter *printer, const KStage *stage)
{
    const PhaseRole role = printer->phase->role;
    print_place(printer, stage, "number");
    if (role == ROLE_WHOLE)
        print_point(printer, stage);
    else if (role == ROLE_BEFORE)
        scans_print_before(printer, stage);
    else if (schedule_addition(stage))
        additions_print(printer, stage);
    else
        (schedule_joinable(stage) ? print_piece : scans_print)(printer, stage);
}

static void print_points(GlslPrinter *printer)
{
    const KStage *stage = &printer->kernel->stages.items[printer->phase->stage];
    const Phase *phase = printer->phase;
    bool several = phase->each > 1;
    if (several)
        glsl_loop(printer, "i", "0", phase->each, 1);
    const char *group = several ? arena_printf(printer->arena, "(group * %d + i)", phase->each) : "group";
    glsl_line(printer, "int number = %s * %d + thread;", group, phase->threads);
    if (phase->kind == PHASE_ZEROS)
        additions_print_zeros(printer);
    else if (phase->role == ROLE_JOIN && schedule_addition(stage))
        additions_print_joined(printer, stage);
    else
        print_own_point(printer, stage);
    if (several)
        glsl_close(printer);
}

static void print_sums(GlslPrinter *printer)
{
    print_place(printer, &printer->kernel->stages.items[printer->phase->stage], "group");
    sums_print(printer, printer->phase->stage);
}

/* A stage of a phase of rows, between barriers. */
static void print_row_stage(GlslPrinter *printer, int number)
{
    const Kernel *kernel = printer->kernel;
    const KStage *stage = &kernel->stages.items[number];
    int64_t points = schedule_own_points(kernel, stage);
    bool sums = points < GROUP_THREADS / 4 && schedule_shares_terms(printer->device, kernel, stage, points);
    glsl_loop(printer, "point", sums ? "0" : "thread", points, sums ? 1 : GROUP_THREADS);
    glsl_digits(printer, stage, kernel->outer.count, schedule_shares_out, "point");
    if (sums)
        sums_print(printer, number);
    else
        print_point(printer, stage);
    glsl_close(printer);
    glsl_line(printer, "memoryBarrierBuffer();");
    glsl_line(printer, "barrier();");
}

static void print_rows(GlslPrinter *printer)
{
    glsl_line(printer, "if (group >= %lld)", (long long)printer->phase->points);
    glsl_line(printer, "  return;");
    glsl_line(printer, "int outer = group;");
    print_outer_digits(printer);
    for (int i = 0; i < printer->kernel->stages.count; i++) {
        open_block(printer, "", 1);
        print_row_stage(printer, i);
        glsl_close(printer);
    }
}

/* Whether shared memory that the phase's sums go through has to be declared for the stage. */
static bool has_shared_sums(const Phase *phase, int stage)
{
    return phase->kind == PHASE_ROWS || (phase->kind == PHASE_SUMS && phase->stage == stage);
}

double glsl_print(Arena *arena, const Device *device, const unsigned char *window, const Schedule *schedule, int number,
                  Text *out)
{
    const Kernel *kernel = schedule->kernel;
    const Phase *phase = &schedule->phases.items[number];
    GlslPrinter printer = {.arena = arena,
                           .device = device,
                           .kernel = kernel,
                           .window = window,
                           .schedule = schedule,
                           .phase = phase,
                           .out = out,
                           .around = {1}};
    int args = argument_count(kernel);
    bool tiles = phase->kind == PHASE_TILES || phase->kind == PHASE_MATRICES;
    Prelude prelude = {.windows = window ? windows_count(window, args + 1) : 1,
                       .row = args + 2,
                       .f64 = glsl_uses(kernel, DT_f64),
                       .i64 = glsl_uses(kernel, DT_i64),
                       .extensions = phase->kind == PHASE_MATRICES ? matrices_extensions(device) : ""};
    glsl_prelude(device, &prelude, out);
    glsl_line(&printer, "layout(local_size_x = %d) in;", phase->threads);
    print_accessors(&printer, tiles);
    for (int i = 0; i < kernel->stages.count; i++)
        if (has_shared_sums(phase, i))
            sums_print_shared(&printer, i);
    if (tiles)
        tiles_print_functions(&printer);
    glsl_line(&printer, "layout(set = 0, binding = %d, r32ui) uniform writeonly uimageBuffer begun;", BINDING_BEGUN);
    glsl_open(&printer, "void main()");
    glsl_line(&printer, "if (gl_GlobalInvocationID.x + gl_GlobalInvocationID.y == 0u)");
    glsl_line(&printer, "  imageStore(begun, 0, uvec4(base_of(%d)));", args + 1);
    glsl_line(&printer, "int thread = int(gl_LocalInvocationID.x);");
    glsl_line(&printer, "int group = int(gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x);");
    print_bases(&printer);
    if (phase->kind == PHASE_POINTS || phase->kind == PHASE_ZEROS)
        print_points(&printer);
    else if (phase->kind == PHASE_SUMS)
        print_sums(&printer);
    else if (tiles)
        tiles_print(&printer);
    else
        print_rows(&printer);
    glsl_close(&printer);
    return printer.turns;
}
