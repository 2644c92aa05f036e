/* Scans, along whose axis results lie, in pieces: what each comes to, what comes before each, and each once more behind that.
 *
 * A result is what comes before the piece, and then what the piece comes to up to there: at its end that is what comes before
 * the next one, so that sums of what is not negative never fall. */
#include "backends/vulkan/glsl.h"

static const char *type_of(const KStage *stage, int i)
{
    return glsl_acc_type(&stage->accs.items[i]);
}

static void print_before(GlslPrinter *printer, const KStage *stage)
{
    glsl_open(printer, "%s", "");
    glsl_identities(printer, stage);
    sums_accumulate_piece(printer, stage);
    for (int i = 0; i < stage->accs.count; i++)
        glsl_line(printer, "before%d = s%d;", i, i);
    glsl_close(printer);
}

/* Behind what comes before, where the accumulators are looked for. */
static void print_result(GlslPrinter *printer, const KStage *stage)
{
    glsl_open(printer, "%s", "");
    for (int i = 0; i < stage->accs.count; i++)
        glsl_line(printer, "%s own%d = s%d;", type_of(stage, i), i, i);
    glsl_open(printer, "%s", "");
    for (int i = 0; i < stage->accs.count; i++) {
        glsl_line(printer, "%s%s s%d = before%d;", dtype_is_float(stage->accs.items[i].dtype) ? "precise " : "",
                  type_of(stage, i), i, i);
        glsl_combine(printer, &stage->accs.items[i], arena_printf(printer->arena, "s%d", i),
                     arena_printf(printer->arena, "own%d", i));
    }
    sums_finish(printer, stage);
    glsl_close(printer);
    glsl_close(printer);
}

void scans_print(GlslPrinter *printer, const KStage *stage)
{
    const Kernel *kernel = printer->kernel;
    const bool resumes = printer->phase->role == ROLE_RESUME;
    for (int i = 0; i < stage->accs.count && resumes; i++)
        glsl_line(printer, "%s before%d;", type_of(stage, i), i);
    if (resumes)
        print_before(printer, stage);
    glsl_identities(printer, stage);
    glsl_piece_loop(printer, "along", stage_count(kernel, stage, kernel->outer.count, stage_scans));
    glsl_digits(printer, stage, kernel->outer.count, stage_scans, "along");
    int reduced = glsl_loops(printer, stage, kernel->outer.count, stage_sums);
    glsl_accumulate(printer, stage, NULL);
    while (reduced--)
        glsl_close(printer);
    if (resumes)
        print_result(printer, stage);
    glsl_close(printer);
    if (!resumes)
        sums_finish(printer, stage);
}

void scans_print_before(GlslPrinter *printer, const KStage *stage)
{
    glsl_identities(printer, stage);
    glsl_loop(printer, "piece", "0", printer->phase->pieces, 1);
    for (int i = 0; i < stage->accs.count; i++)
        glsl_line(printer, "%s before%d = s%d;", type_of(stage, i), i, i);
    sums_accumulate_piece(printer, stage);
    sums_keep_piece(printer, stage, "before");
    glsl_close(printer);
}
