/* A kernel as GLSL: how it is cut into phases, and the loops of each. */
#include "backends/vulkan/vulkan_internal.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

/* ---- what a kernel is made of ---- */

static bool has_locals(const Kernel *kernel)
{
    for (int i = 0; i < kernel->buffers.count; i++)
        if (kernel->buffers.items[i].kind == K_LOCAL)
            return true;
    return false;
}

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

static int64_t local_bytes(const KBuffer *buffer)
{
    return (buffer->count * dtype_size(buffer->dtype) + 7) / 8 * 8;
}

static int64_t all_local_bytes(const Kernel *kernel)
{
    int64_t bytes = 0;
    for (int i = 0; i < kernel->buffers.count; i++)
        if (kernel->buffers.items[i].kind == K_LOCAL)
            bytes += local_bytes(&kernel->buffers.items[i]);
    return bytes;
}

/* What the threads of a group hand each other when they share out a sum: at most so many of 8 bytes a stage. */
static int64_t sum_bytes(const Kernel *kernel)
{
    int most = 0;
    for (int i = 0; i < kernel->stages.count; i++)
        most = kernel->stages.items[i].accs.count > most ? kernel->stages.items[i].accs.count : most;
    return (int64_t)most * GROUP_THREADS * 8;
}

/* In shared memory every element takes a word at least. */
static bool locals_are_shared(const Kernel *kernel)
{
    int64_t bytes = sum_bytes(kernel);
    for (int i = 0; i < kernel->buffers.count; i++) {
        const KBuffer *buffer = &kernel->buffers.items[i];
        int64_t size = dtype_size(buffer->dtype) < 4 ? 4 : dtype_size(buffer->dtype);
        bytes += buffer->kind == K_LOCAL ? buffer->count * size : 0;
    }
    return bytes <= MOST_SHARED;
}

/* Of one group. */
static int64_t scratch_stride(const Kernel *kernel)
{
    return (all_local_bytes(kernel) + 63) / 64 * 64;
}

int64_t glsl_scratch_bytes(const Kernel *kernel)
{
    return has_locals(kernel) && !locals_are_shared(kernel) ? scratch_stride(kernel) * MOST_GROUPS : 0;
}

/* ---- phases ---- */

static const KStore *adding_store(const KStage *stage)
{
    for (int i = 0; i < stage->stores.count; i++)
        if (stage->stores.items[i].add)
            return &stage->stores.items[i];
    return NULL;
}

/* Along an axis that the place of an addition does not name, points follow each other. */
static bool is_shared_out(const Kernel *kernel, const KStage *stage, int axis)
{
    int outer = kernel->outer.count;
    const KStore *adds = adding_store(stage);
    if (axis >= outer && stage->axes.items[axis - outer].kind != K_MAP)
        return false;
    return !adds || adds->index.coef[axis] != 0;
}

const KAxis *glsl_axis(const Kernel *kernel, const KStage *stage, int axis)
{
    return axis < kernel->outer.count ? &kernel->outer.items[axis] : &stage->axes.items[axis - kernel->outer.count];
}

/* How many points the axes from `first` on have: those that are shared out, or those that are summed. */
static int64_t count_points(const Kernel *kernel, const KStage *stage, int first, bool shared_out)
{
    int64_t points = 1;
    for (int axis = first; axis < kernel->outer.count + stage->axes.count; axis++) {
        bool wanted = shared_out ? is_shared_out(kernel, stage, axis)
                                 : axis >= kernel->outer.count && glsl_axis(kernel, stage, axis)->kind == K_REDUCE;
        points *= wanted ? glsl_axis(kernel, stage, axis)->extent : 1;
    }
    return points;
}

static bool scans(const KStage *stage)
{
    for (int i = 0; i < stage->axes.count; i++)
        if (stage->axes.items[i].kind == K_SCAN)
            return true;
    return false;
}

/* Whether threads share out the sums of a stage that has `points` beside them. */
static bool sums_are_shared_out(const Kernel *kernel, const KStage *stage, int64_t points)
{
    int64_t terms = count_points(kernel, stage, 0, false);
    return stage->accs.count && !scans(stage) && !adding_store(stage) && terms >= 2 * GROUP_THREADS &&
           points * GROUP_THREADS <= 1 << 20 && sum_bytes(kernel) <= MOST_SHARED;
}

static int64_t groups_for(int64_t threads)
{
    return (threads + GROUP_THREADS - 1) / GROUP_THREADS;
}

Phases glsl_phases(Arena *arena, const Device *device, const Kernel *kernel)
{
    Phases phases = {0};
    if (has_locals(kernel)) {
        int64_t points = kernel_points(kernel);
        int64_t groups = !locals_are_shared(kernel) && points > MOST_GROUPS ? MOST_GROUPS : points;
        list_push(arena, &phases, ((Phase){PHASE_ROWS, -1, points, groups, GROUP_THREADS}));
        return phases;
    }
    for (int i = 0; i < kernel->stages.count; i++) {
        const KStage *stage = &kernel->stages.items[i];
        Phase tiles;
        if (tiles_choose(device, kernel, i, &tiles)) {
            list_push(arena, &phases, tiles);
            continue;
        }
        int64_t points = count_points(kernel, stage, 0, true);
        bool sums = sums_are_shared_out(kernel, stage, points);
        Phase phase = {sums ? PHASE_SUMS : PHASE_POINTS, i, points, sums ? points : groups_for(points), GROUP_THREADS};
        list_push(arena, &phases, phase);
    }
    return phases;
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

void glsl_loop(GlslPrinter *printer, const char *name, const char *first, int64_t end, int64_t step)
{
    double turns = (double)((end + step - 1) / step);
    printer->turns += printer->around[printer->depth] * turns;
    open_block(printer,
               arena_printf(printer->arena, "for (int %s = %s; %s < %lld; %s += %lld)", name, first, name, (long long)end, name,
                            (long long)step),
               turns);
}

void glsl_close(GlslPrinter *printer)
{
    printer->depth--;
    glsl_line(printer, "}");
}

static void open_loop(GlslPrinter *printer, int axis, int64_t extent)
{
    glsl_loop(printer, arena_printf(printer->arena, "a%d", axis), "0", extent, 1);
}

/* ---- where buffers lie ---- */

static int argument_count(const Kernel *kernel)
{
    int count = 0;
    for (int i = 0; i < kernel->buffers.count; i++)
        count += kernel->buffers.items[i].kind != K_LOCAL;
    return count;
}

/* Locals in memory lie in scratch, which comes behind the arguments. */
static int window_of(const GlslPrinter *printer, int argument, bool local)
{
    if (!printer->window)
        return 0;
    return printer->window[local ? argument_count(printer->kernel) : argument];
}

/* As tiles read: 16 bytes, where an element is the first of them, and the bits of a number of 16. */
static void print_raw_accessors(GlslPrinter *printer, int buffer, int window, DType dtype)
{
    int size = dtype_size(dtype);
    if (size <= 4)
        glsl_line(printer, "uvec4 words_of_b%d(int i) { return wide_%d[(b%d + i) / %d]; }", buffer, window, buffer, 16 / size);
    if (size == 2)
        glsl_line(printer, "uint bits_of_b%d(int i) { return bits16_at_%d(b%d + i); }", buffer, window, buffer);
}

static void print_accessors(GlslPrinter *printer, bool raw)
{
    const Kernel *kernel = printer->kernel;
    bool shared = locals_are_shared(kernel);
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
        int window = window_of(printer, argument, buffer->kind == K_LOCAL);
        argument += buffer->kind != K_LOCAL;
        glsl_line(printer, "int b%d;", i);
        glsl_line(printer, "%s get_b%d(int i) { return get_%s_%d(b%d + i); }", type, i, name, window, i);
        glsl_line(printer, "void put_b%d(int i, %s x) { put_%s_%d(b%d + i, x); }", i, type, name, window, i);
        if (raw)
            print_raw_accessors(printer, i, window, buffer->dtype);
    }
}

/* Arguments begin where the table says; locals in memory behind each other, those of each group behind the ones before. */
static void print_bases(GlslPrinter *printer)
{
    const Kernel *kernel = printer->kernel;
    int argument = 0;
    int64_t local = 0;
    for (int i = 0; i < kernel->buffers.count; i++) {
        const KBuffer *buffer = &kernel->buffers.items[i];
        if (buffer->kind != K_LOCAL) {
            glsl_line(printer, "b%d = base_of(%d);", i, argument++);
        } else if (!locals_are_shared(kernel)) {
            glsl_line(printer, "b%d = (base_of(%d) + int(gl_WorkGroupID.x) * %lld + %lld) / %d;", i, argument_count(kernel),
                      (long long)scratch_stride(kernel), (long long)local, dtype_size(buffer->dtype));
            local += local_bytes(buffer);
        }
    }
}

/* ---- a stage at a point ---- */

static const char *acc_type(const KAcc *acc)
{
    return acc->wide ? "double" : glsl_type(acc->dtype);
}

static void print_insts(GlslPrinter *printer, const KStage *stage, int first, int end)
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
    glsl_line(printer, "%s%s s%d = %s;", dtype_is_float(acc->dtype) ? "precise " : "", acc_type(acc), number, value.data);
}

/* `into` = `into` combined with `value`. */
static void print_combine(GlslPrinter *printer, const KAcc *acc, const char *into, const char *value)
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

static void print_accumulation(GlslPrinter *printer, const KStage *stage)
{
    print_insts(printer, stage, 0, stage->body_count);
    for (int i = 0; i < stage->accs.count; i++) {
        char into[16], value[32];
        snprintf(into, sizeof into, "s%d", i);
        snprintf(value, sizeof value, "%s(v%d)", acc_type(&stage->accs.items[i]), stage->accs.items[i].value);
        print_combine(printer, &stage->accs.items[i], into, value);
    }
}

void glsl_tail(GlslPrinter *printer, const KStage *stage)
{
    print_insts(printer, stage, stage->body_count, stage->insts.count);
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

/* One thread goes through all axes that are not shared out. */
static void print_point(GlslPrinter *printer, const KStage *stage)
{
    const Kernel *kernel = printer->kernel;
    int outer = kernel->outer.count, open = 0, reduced = 0;
    for (int axis = 0; axis < outer + stage->axes.count; axis++) {
        bool maps = axis < outer || stage->axes.items[axis - outer].kind == K_MAP;
        if (maps && !is_shared_out(kernel, stage, axis)) {
            open_loop(printer, axis, glsl_axis(kernel, stage, axis)->extent);
            open++;
        }
    }
    for (int i = 0; i < stage->accs.count; i++)
        print_identity(printer, &stage->accs.items[i], i);
    for (int pass = 0; pass < 2; pass++) /* scanned axes around those that are summed */
        for (int i = 0; i < stage->axes.count; i++) {
            if (stage->axes.items[i].kind != (pass ? K_REDUCE : K_SCAN))
                continue;
            open_loop(printer, outer + i, stage->axes.items[i].extent);
            open += !pass;
            reduced += pass;
        }
    if (stage->body_count || stage->accs.count)
        print_accumulation(printer, stage);
    while (reduced--)
        glsl_close(printer);
    glsl_tail(printer, stage);
    while (open--)
        glsl_close(printer);
}

/* ---- places of threads ---- */

/* The axes that `wanted` says as digits of `number`, the last one the fastest. */
typedef bool Wanted(const Kernel *kernel, const KStage *stage, int axis);

static bool is_summed(const Kernel *kernel, const KStage *stage, int axis)
{
    return axis >= kernel->outer.count && glsl_axis(kernel, stage, axis)->kind == K_REDUCE;
}

static void print_digits(GlslPrinter *printer, const KStage *stage, int first, Wanted *wanted, const char *number)
{
    const Kernel *kernel = printer->kernel;
    int64_t below = 1;
    for (int axis = kernel->outer.count + stage->axes.count - 1; axis >= first; axis--) {
        int64_t extent = glsl_axis(kernel, stage, axis)->extent;
        if (!wanted(kernel, stage, axis))
            continue;
        glsl_line(printer, "int a%d = %s / %lld %% %lld;", axis, number, (long long)below, (long long)extent);
        below *= extent;
    }
}

/* ---- sums that threads share out ---- */

static void print_shared_sums(GlslPrinter *printer, const KStage *stage, int number)
{
    for (int i = 0; i < stage->accs.count; i++)
        glsl_line(printer, "shared %s t%d_%d[%d];", acc_type(&stage->accs.items[i]), number, i, GROUP_THREADS);
}

/* Whether subgroups fold it: their maximum is not ours where there are nan, and not all of them know i64. */
static bool subgroups_fold(const GlslPrinter *printer, const KAcc *acc)
{
    bool sums = acc->combine == K_SUM || acc->combine == K_PROD;
    return printer->device->subgroups_fold && acc->dtype != DT_i64 && (sums || !dtype_is_float(acc->dtype));
}

/* The first thread of each subgroup has what all of it have, and writes it to a place of its own. */
static void print_fold_by_subgroups(GlslPrinter *printer, const KAcc *acc, int number, int i)
{
    static const char *const names[] = {
        [K_SUM] = "subgroupAdd", [K_PROD] = "subgroupMul", [K_MAX] = "subgroupMax", [K_MIN] = "subgroupMin"};
    char into[16], value[48];
    glsl_line(printer, "s%d = %s(s%d);", i, names[acc->combine], i);
    glsl_line(printer, "if (subgroupElect())");
    glsl_line(printer, "  t%d_%d[gl_SubgroupID] = s%d;", number, i, i);
    glsl_line(printer, "barrier();");
    glsl_open(printer, "if (thread == 0)");
    glsl_line(printer, "s%d = t%d_%d[0];", i, number, i);
    glsl_open(printer, "for (int part = 1; part < int(gl_NumSubgroups); part++)");
    snprintf(into, sizeof into, "s%d", i);
    snprintf(value, sizeof value, "t%d_%d[part]", number, i);
    print_combine(printer, acc, into, value);
    glsl_close(printer);
    glsl_close(printer);
}

/* Halves are added to halves. */
static void print_fold_by_halves(GlslPrinter *printer, const KAcc *acc, int number, int i)
{
    char into[48], value[64];
    snprintf(into, sizeof into, "t%d_%d[thread]", number, i);
    glsl_line(printer, "%s = s%d;", into, i);
    for (int half = GROUP_THREADS / 2; half; half /= 2) {
        glsl_line(printer, "barrier();");
        snprintf(value, sizeof value, "t%d_%d[thread + %d]", number, i, half);
        glsl_open(printer, "if (thread < %d)", half);
        print_combine(printer, acc, into, value);
        glsl_close(printer);
    }
    glsl_line(printer, "if (thread == 0)");
    glsl_line(printer, "  s%d = t%d_%d[0];", i, number, i);
}

/* Each thread has its part of the terms; then theirs are put together, in an order that kernel and device determine. */
static void print_shared_out(GlslPrinter *printer, const KStage *stage, int number)
{
    const Kernel *kernel = printer->kernel;
    int64_t terms = count_points(kernel, stage, 0, false);
    for (int i = 0; i < stage->accs.count; i++)
        print_identity(printer, &stage->accs.items[i], i);
    glsl_loop(printer, "term", "thread", terms, GROUP_THREADS);
    print_digits(printer, stage, 0, is_summed, "term");
    print_accumulation(printer, stage);
    glsl_close(printer);
    glsl_line(printer, "barrier();");
    for (int i = 0; i < stage->accs.count; i++) {
        const KAcc *acc = &stage->accs.items[i];
        (subgroups_fold(printer, acc) ? print_fold_by_subgroups : print_fold_by_halves)(printer, acc, number, i);
    }
    glsl_open(printer, "if (thread == 0)");
    glsl_tail(printer, stage);
    glsl_close(printer);
}

/* ---- phases ---- */

static void print_points(GlslPrinter *printer, const Phase *phase)
{
    const KStage *stage = &printer->kernel->stages.items[phase->stage];
    glsl_line(printer, "int point = group * %d + thread;", GROUP_THREADS);
    glsl_line(printer, "if (point >= %lld)", (long long)phase->points);
    glsl_line(printer, "  return;");
    print_digits(printer, stage, 0, is_shared_out, "point");
    print_point(printer, stage);
}

static void print_sums(GlslPrinter *printer, const Phase *phase)
{
    const KStage *stage = &printer->kernel->stages.items[phase->stage];
    glsl_line(printer, "if (group >= %lld)", (long long)phase->points);
    glsl_line(printer, "  return;");
    print_digits(printer, stage, 0, is_shared_out, "group");
    print_shared_out(printer, stage, phase->stage);
}

/* A stage of a phase of rows, between barriers. */
static void print_row_stage(GlslPrinter *printer, int number)
{
    const Kernel *kernel = printer->kernel;
    const KStage *stage = &kernel->stages.items[number];
    int64_t points = count_points(kernel, stage, kernel->outer.count, true);
    bool sums = sums_are_shared_out(kernel, stage, points) && points < GROUP_THREADS / 4;
    glsl_loop(printer, "point", sums ? "0" : "thread", points, sums ? 1 : GROUP_THREADS);
    print_digits(printer, stage, kernel->outer.count, is_shared_out, "point");
    if (sums)
        print_shared_out(printer, stage, number);
    else
        print_point(printer, stage);
    glsl_close(printer);
    glsl_line(printer, "memoryBarrierBuffer();");
    glsl_line(printer, "barrier();");
}

static void print_rows(GlslPrinter *printer, const Phase *phase)
{
    const Kernel *kernel = printer->kernel;
    glsl_loop(printer, "place", "group", phase->points, phase->groups);
    int64_t below = 1;
    for (int axis = kernel->outer.count - 1; axis >= 0; axis--) {
        int64_t extent = kernel->outer.items[axis].extent;
        glsl_line(printer, "int a%d = place / %lld %% %lld;", axis, (long long)below, (long long)extent);
        below *= extent;
    }
    for (int i = 0; i < kernel->stages.count; i++) {
        open_block(printer, "", 1);
        print_row_stage(printer, i);
        glsl_close(printer);
    }
    glsl_close(printer);
}

double glsl_print(Arena *arena, const Device *device, const Kernel *kernel, const unsigned char *window, const Phase *phase,
                  Text *out)
{
    GlslPrinter printer = {.arena = arena, .device = device, .kernel = kernel, .window = window, .out = out, .around = {1}};
    int args = argument_count(kernel);
    bool tiles = phase->kind == PHASE_TILES || phase->kind == PHASE_MATRICES;
    Prelude prelude = {.windows = window ? windows_count(window, args + 1) : 1,
                       .row = args + 1,
                       .f64 = glsl_uses(kernel, DT_f64),
                       .i64 = glsl_uses(kernel, DT_i64),
                       .extensions = phase->kind == PHASE_MATRICES ? matrices_extensions(device) : ""};
    glsl_prelude(device, &prelude, out);
    glsl_line(&printer, "layout(local_size_x = %d) in;", phase->threads);
    print_accessors(&printer, tiles);
    for (int i = 0; i < kernel->stages.count; i++)
        if (phase->kind == PHASE_ROWS || (phase->kind == PHASE_SUMS && phase->stage == i))
            print_shared_sums(&printer, &kernel->stages.items[i], i);
    if (tiles)
        tiles_print_shared(&printer, phase);
    glsl_open(&printer, "void main()");
    glsl_line(&printer, "int thread = int(gl_LocalInvocationID.x);");
    glsl_line(&printer, "int group = int(gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x);");
    print_bases(&printer);
    if (phase->kind == PHASE_POINTS)
        print_points(&printer, phase);
    else if (phase->kind == PHASE_SUMS)
        print_sums(&printer, phase);
    else if (tiles)
        tiles_print(&printer, phase);
    else
        print_rows(&printer, phase);
    glsl_close(&printer);
    return printer.turns;
}
