/* Additions that would follow each other, since they may go to the same place, in pieces: each goes to a copy of its own, and
 * the copies are added in their order to what is there. */
#include "backends/vulkan/glsl.h"

/* As what the copies are kept. */
static DType kept_copy(const GlslPrinter *printer, const KStage *stage)
{
    const KAcc as = {.dtype = printer->kernel->buffers.items[stage_addition(stage)->buffer].dtype};
    return kacc_kept(&as);
}

/* Element `number` of all copies, from the window on. */
static const char *place_of_copy(GlslPrinter *printer, const KStage *stage, const char *number)
{
    return arena_printf(printer->arena, "(%s + %lld) / %d + %s", glsl_scratch_base(printer),
                        (long long)printer->schedule->pieces_at, dtype_size(kept_copy(printer, stage)), number);
}

void additions_print_zeros(GlslPrinter *printer)
{
    const KStage *stage = &printer->kernel->stages.items[printer->phase->stage];
    DType kept = kept_copy(printer, stage);
    glsl_line(printer, "if (number < %lld)", (long long)printer->phase->points);
    glsl_line(printer, "  put_%s_%d(%s, %s(0));", dtype_name(kept), glsl_scratch_window(printer),
              place_of_copy(printer, stage, "number"), glsl_type(kept));
}

void additions_print(GlslPrinter *printer, const KStage *stage)
{
    const KStore *store = stage_addition(stage);
    const char *type = dtype_name(kept_copy(printer, stage));
    int window = glsl_scratch_window(printer);
    int64_t elements = printer->kernel->buffers.items[store->buffer].count;
    glsl_piece_loop(printer, "follower", stage_count(printer->kernel, stage, 0, stage_follows));
    glsl_digits(printer, stage, 0, stage_follows, "follower");
    glsl_insts(printer, stage, 0, stage->insts.count);
    Text place = text_new(printer->arena);
    text_printf(&place, "piece * %lld + ", (long long)elements);
    glsl_affine(&store->index, &place);
    if (store->dynamic >= 0)
        text_printf(&place, " + v%d", store->dynamic);
    glsl_open(printer, store->guard >= 0 ? "if (v%d)" : "", store->guard);
    glsl_line(printer, "int place = %s;", place_of_copy(printer, stage, place.data));
    glsl_line(printer, "put_%s_%d(place, get_%s_%d(place) + v%d);", type, window, type, window, store->value);
    glsl_close(printer);
    glsl_close(printer);
}

void additions_print_joined(GlslPrinter *printer, const KStage *stage)
{
    DType kept = kept_copy(printer, stage);
    int buffer = stage_addition(stage)->buffer;
    int64_t elements = printer->phase->points;
    glsl_line(printer, "if (number >= %lld)", (long long)elements);
    glsl_line(printer, "  return;");
    glsl_line(printer, "precise %s sum = get_b%d(number);", glsl_type(kept), buffer);
    glsl_loop(printer, "piece", "0", printer->phase->pieces, 1);
    const char *number = arena_printf(printer->arena, "piece * %lld + number", (long long)elements);
    glsl_line(printer, "sum += get_%s_%d(%s);", dtype_name(kept), glsl_scratch_window(printer),
              place_of_copy(printer, stage, number));
    glsl_close(printer);
    glsl_line(printer, "put_b%d(number, sum);", buffer);
}
