/* Sums that the threads of a workgroup share out, and sums that are made in pieces. */
#include "backends/vulkan/glsl.h"

#include <stdio.h>

/* ---- in pieces ---- */

/* Where what `piece` of `point` came to lies, in elements from the window on: points are neighbours. */
static const char *place_of_piece(GlslPrinter *printer, const KStage *stage, int i)
{
    const Schedule *schedule = printer->schedule;
    int64_t points = schedule->lots * stage_points(printer->kernel, stage);
    int64_t first = schedule->pieces_at + i * schedule_piece_bytes(printer->phase, points);
    return arena_printf(printer->arena, "(%s + %lld) / %d + piece * %lld + point", glsl_scratch_base(printer), (long long)first,
                        dtype_size(kacc_kept(&stage->accs.items[i])), (long long)points);
}

void sums_accumulate_piece(GlslPrinter *printer, const KStage *stage)
{
    for (int i = 0; i < stage->accs.count; i++) {
        const char *into = arena_printf(printer->arena, "s%d", i);
        const char *value = arena_printf(printer->arena, "get_%s_%d(%s)", dtype_name(kacc_kept(&stage->accs.items[i])),
                                         glsl_scratch_window(printer), place_of_piece(printer, stage, i));
        glsl_combine(printer, &stage->accs.items[i], into, value);
    }
}

void sums_keep_piece(GlslPrinter *printer, const KStage *stage, const char *name)
{
    for (int i = 0; i < stage->accs.count; i++)
        glsl_line(printer, "put_%s_%d(%s, %s%d);", dtype_name(kacc_kept(&stage->accs.items[i])), glsl_scratch_window(printer),
                  place_of_piece(printer, stage, i), name, i);
}

void sums_finish(GlslPrinter *printer, const KStage *stage)
{
    if (printer->phase->role == ROLE_PIECES)
        sums_keep_piece(printer, stage, "s");
    else
        glsl_tail(printer, stage);
}

/* ---- terms ---- */

enum { TOGETHER = 4 }; /* terms of a thread that are under way at the same time */

/* Terms past the end are the last one, which is read and left out: what reads is not behind a condition. */
static void print_own_terms(GlslPrinter *printer, const KStage *stage, const char *ahead, int step)
{
    int64_t terms = stage_terms(printer->kernel, stage), length = glsl_piece_length(printer, terms, step);
    bool pieces = printer->phase->role == ROLE_PIECES;
    int together = length >= TOGETHER * step ? TOGETHER : 1;
    const char *end = arena_printf(printer->arena, "%lld", (long long)terms), *first = ahead;
    if (pieces) {
        glsl_line(printer, "int end = min((piece + 1) * %lld, %s);", (long long)length, end);
        first = arena_printf(printer->arena, "piece * %lld + %s", (long long)length, ahead);
        end = "end";
    }
    glsl_range(printer, "base", first, end, (int64_t)step * together, parts_of(length, step * together));
    for (int i = 0; i < together; i++) {
        const char *term = arena_printf(printer->arena, "base + %d", i * step);
        glsl_open(printer, "%s", "");
        glsl_line(printer, i ? "int term = min(%s, %s - 1);" : "int term = %s;", i ? term : "base", end);
        glsl_digits(printer, stage, 0, stage_sums, "term");
        glsl_accumulate(printer, stage, i ? arena_printf(printer->arena, "%s < %s", term, end) : NULL);
        glsl_close(printer);
    }
    glsl_close(printer);
}

void sums_print_terms(GlslPrinter *printer, const KStage *stage, const char *ahead, int step)
{
    if (printer->phase->role != ROLE_JOIN) {
        print_own_terms(printer, stage, ahead, step);
        return;
    }
    glsl_loop(printer, "piece", ahead, printer->phase->pieces, step);
    sums_accumulate_piece(printer, stage);
    glsl_close(printer);
}

/* ---- shared out ---- */

void sums_print_shared(GlslPrinter *printer, int number)
{
    const KStage *stage = &printer->kernel->stages.items[number];
    for (int i = 0; i < stage->accs.count; i++)
        glsl_line(printer, "shared %s t%d_%d[%d];", glsl_acc_type(&stage->accs.items[i]), number, i, GROUP_THREADS);
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
    glsl_combine(printer, acc, into, value);
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
        glsl_combine(printer, acc, into, value);
        glsl_close(printer);
    }
    glsl_line(printer, "if (thread == 0)");
    glsl_line(printer, "  s%d = t%d_%d[0];", i, number, i);
}

/* Each thread has its part of the terms, or of the pieces; then theirs are put together, in an order that kernel and device
 * determine. */
void sums_print(GlslPrinter *printer, int number)
{
    const KStage *stage = &printer->kernel->stages.items[number];
    glsl_identities(printer, stage);
    sums_print_terms(printer, stage, "thread", GROUP_THREADS);
    glsl_line(printer, "barrier();");
    for (int i = 0; i < stage->accs.count; i++) {
        const KAcc *acc = &stage->accs.items[i];
        (subgroups_fold(printer, acc) ? print_fold_by_subgroups : print_fold_by_halves)(printer, acc, number, i);
    }
    glsl_open(printer, "if (thread == 0)");
    sums_finish(printer, stage);
    glsl_close(printer);
}
