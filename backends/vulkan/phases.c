/* A phase of a kernel as a shader: its buffers, the places of its threads, and what they do. */
#include "backends/vulkan/glsl.h"

/* ---- buffers ---- */

typedef struct Shown { /* a buffer, by windows */
    const KBuffer *buffer;
    int number;
    unsigned char window;
} Shown;

/* As tiles read: 16 bytes, where an element is the first of them, and the bits of a number of 16. */
static void print_raw_accessors(GlslPrinter *printer, const Shown *shown)
{
    int size = dtype_size(shown->buffer->dtype), number = shown->number, window = window_first(shown->window);
    if (size <= 4)
        glsl_line(printer, "uvec4 words_of_b%d(int i) { return wide_%d[uint(b%d + i) / %du]; }", number, window, number,
                  16 / size);
    if (size == 2)
        glsl_line(printer, "uint bits_of_b%d(int i) { return bits16_at_%d(b%d + i); }", number, window, number);
}

static void print_accessors(GlslPrinter *printer, const Shown *shown, bool raw)
{
    const char *type = glsl_type(shown->buffer->dtype), *name = dtype_name(shown->buffer->dtype);
    int number = shown->number, window = window_first(shown->window);
    glsl_line(printer, "%s get_b%d(int i) { return get_%s_%d(b%d + i); }", type, number, name, window, number);
    glsl_line(printer, "void put_b%d(int i, %s x) { put_%s_%d(b%d + i, x); }", number, type, name, window, number);
    if (raw)
        print_raw_accessors(printer, shown);
}

static const char *head_of(GlslPrinter *printer, const Shown *shown, const char *type, const char *verb, const char *more)
{
    return arena_printf(printer->arena, "%s %s_b%d(int i%s) { int at = b%d + i;", type, verb, shown->number, more,
                        shown->number);
}

/* The same of a buffer that several windows show. */
static void print_long_accessors(GlslPrinter *printer, const Shown *shown, bool raw)
{
    const char *type = glsl_type(shown->buffer->dtype), *name = dtype_name(shown->buffer->dtype);
    int size = dtype_size(shown->buffer->dtype);
    windows_print(printer->device, shown->window, size, head_of(printer, shown, type, "get", ""),
                  arena_printf(printer->arena, "return get_%s_", name), "(", ");", printer->out);
    windows_print(printer->device, shown->window, size,
                  head_of(printer, shown, "void", "put", arena_printf(printer->arena, ", %s x", type)),
                  arena_printf(printer->arena, "put_%s_", name), "(", ", x); return;", printer->out);
    if (raw && size <= 4)
        windows_print(printer->device, shown->window, size, head_of(printer, shown, "uvec4", "words_of", ""), "return wide_",
                      "[uint(", arena_printf(printer->arena, ") / %du];", 16 / size), printer->out);
    if (raw && size == 2)
        windows_print(printer->device, shown->window, size, head_of(printer, shown, "uint", "bits_of", ""), "return bits16_at_",
                      "(", ");", printer->out);
}

static void print_shared_local(GlslPrinter *printer, const Shown *shown)
{
    const char *type = glsl_type(shown->buffer->dtype), *name = dtype_name(shown->buffer->dtype);
    int number = shown->number;
    bool small = shown->buffer->dtype == DT_f16 || shown->buffer->dtype == DT_bf16;
    glsl_line(printer, "shared %s l%d[%lld];", type, number, (long long)(shown->buffer->count ? shown->buffer->count : 1));
    glsl_line(printer, "%s get_b%d(int i) { return l%d[i]; }", type, number, number);
    glsl_line(printer, "void put_b%d(int i, %s x) { l%d[i] = %s%s%s; }", number, type, number, small ? "round_" : "",
              small ? name : "", small ? "(x)" : "x");
}

static void print_buffers(GlslPrinter *printer, bool raw)
{
    const Kernel *kernel = printer->kernel;
    int argument = 0;
    for (int i = 0; i < kernel->buffers.count; i++) {
        Shown shown = {&kernel->buffers.items[i], i, glsl_scratch_window(printer)};
        if (shown.buffer->kind == K_LOCAL && printer->phase->kind == PHASE_ROWS) {
            print_shared_local(printer, &shown);
            continue;
        }
        if (shown.buffer->kind != K_LOCAL)
            shown.window = glsl_window(printer, argument++);
        glsl_line(printer, "int b%d;", i);
        (window_span(shown.window) > 1 ? print_long_accessors : print_accessors)(printer, &shown, raw);
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

/* ---- points ---- */

/* A thread has a piece of a sum, whose terms follow each other whatever their axes; or joins the pieces of one. */
static void print_piece(GlslPrinter *printer, const KStage *stage)
{
    glsl_identities(printer, stage);
    sums_print_terms(printer, stage, "0", 1);
    sums_finish(printer, stage);
}

/* One thread goes through all axes that are not shared out; those that are scanned are around those that are summed. */
static void print_point(GlslPrinter *printer, const KStage *stage)
{
    const Kernel *kernel = printer->kernel;
    int own = kernel->outer.count, open = glsl_loops(printer, stage, kernel_has_locals(kernel) ? own : 0, stage_follows);
    glsl_identities(printer, stage);
    open += glsl_loops(printer, stage, own, stage_scans);
    int reduced = glsl_loops(printer, stage, own, stage_sums);
    if (stage->body_count || stage->accs.count)
        glsl_accumulate(printer, stage, NULL);
    while (reduced--)
        glsl_close(printer);
    glsl_tail(printer, stage);
    while (open--)
        glsl_close(printer);
}

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
    if (!kernel_has_locals(kernel)) {
        glsl_digits(printer, stage, 0, stage_shares_out, "point");
        return;
    }
    glsl_lot(printer, arena_printf(printer->arena, "int(uint(point) / %lldu)", (long long)stage_points(kernel, stage)));
    glsl_digits(printer, stage, kernel->outer.count, stage_shares_out, "point");
}

static void print_own_point(GlslPrinter *printer, const KStage *stage)
{
    const PhaseRole role = printer->phase->role;
    print_place(printer, stage, "number");
    if (role == ROLE_WHOLE)
        print_point(printer, stage);
    else if (role == ROLE_BEFORE)
        scans_print_before(printer, stage);
    else if (stage_addition(stage))
        additions_print(printer, stage);
    else
        (stage_is_joinable(stage) ? print_piece : scans_print)(printer, stage);
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
    else if (phase->role == ROLE_JOIN && stage_addition(stage))
        additions_print_joined(printer, stage);
    else
        print_own_point(printer, stage);
    if (several)
        glsl_close(printer);
}

/* ---- workgroups ---- */

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
    int64_t points = stage_points(kernel, stage);
    bool sums = schedule_row_sums(printer->device, kernel, stage);
    glsl_loop(printer, "point", sums ? "0" : "thread", points, sums ? 1 : GROUP_THREADS);
    glsl_digits(printer, stage, kernel->outer.count, stage_shares_out, "point");
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
    glsl_outer_digits(printer, "outer");
    for (int i = 0; i < printer->kernel->stages.count; i++) {
        glsl_open(printer, "%s", "");
        print_row_stage(printer, i);
        glsl_close(printer);
    }
}

/* ---- shaders ---- */

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
    int args = kernel_argument_count(kernel);
    bool tiles = phase->kind == PHASE_TILES || phase->kind == PHASE_MATRICES;
    Prelude prelude = {.windows = window ? windows_count(window, args + 1) : 1,
                       .row = args + 2,
                       .f64 = glsl_uses(kernel, DT_f64),
                       .i64 = glsl_uses(kernel, DT_i64),
                       .extensions = phase->kind == PHASE_MATRICES ? matrices_extensions(device) : ""};
    glsl_prelude(device, &prelude, out);
    glsl_line(&printer, "layout(local_size_x = %d) in;", phase->threads);
    print_buffers(&printer, tiles);
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
