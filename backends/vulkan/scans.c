/* Scans, along whose axis results lie, in pieces: what each comes to, what comes before each, and each once more from there on.
 */
#include "backends/vulkan/glsl.h"

void scans_print(GlslPrinter *printer, const KStage *stage)
{
    const Kernel *kernel = printer->kernel;
    const bool resumes = printer->phase->role == ROLE_RESUME;
    glsl_identities(printer, stage);
    if (resumes)
        sums_accumulate_piece(printer, stage);
    glsl_piece_loop(printer, "along", stage_count(kernel, stage, kernel->outer.count, stage_scans));
    glsl_digits(printer, stage, kernel->outer.count, stage_scans, "along");
    int reduced = glsl_loops(printer, stage, kernel->outer.count, stage_sums);
    glsl_accumulate(printer, stage, NULL);
    while (reduced--)
        glsl_close(printer);
    if (resumes)
        sums_finish(printer, stage);
    glsl_close(printer);
    if (!resumes)
        sums_finish(printer, stage);
}

void scans_print_before(GlslPrinter *printer, const KStage *stage)
{
    glsl_identities(printer, stage);
    glsl_loop(printer, "piece", "0", printer->phase->pieces, 1);
    for (int i = 0; i < stage->accs.count; i++)
        glsl_line(printer, "%s before%d = s%d;", glsl_acc_type(&stage->accs.items[i]), i, i);
    sums_accumulate_piece(printer, stage);
    sums_keep_piece(printer, stage, "before");
    glsl_close(printer);
}
