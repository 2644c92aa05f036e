/* Contractions by tiles: C[batch, m, n] = sum_k A[batch, m, k] * B[batch, n, k].
 *
 * A workgroup has a tile of results, of which each thread keeps some numbers in registers (numbers.c), or, for those of 16 bits
 * on devices with cooperative matrices, each subgroup some matrices (matrices.c).  k goes by in slices, which lie in shared
 * memory; where an element of an operand lies is the sum of what its m, n or k contributes, each worked out once, so that
 * convolutions are read in place like matrices; 16 bytes at a time, where they lie so (operands.c).  Then the sums go through
 * the same shared memory, some at a time, to whatever thread finishes a result: neighbours finish neighbours.
 *
 * The order of every sum is that of k; where tiles are few and sums long, in pieces of k (schedule.c). */
#include "backends/vulkan/tiles.h"

/* ---- choosing ---- */

static int64_t count_points(const Kernel *kernel, const KStage *stage, const int *axes, int count)
{
    int64_t points = 1;
    for (int i = 0; i < count; i++)
        points *= schedule_axis(kernel, stage, axes[i])->extent;
    return points;
}

static int64_t tiles_along(int64_t extent, int tile)
{
    return (extent + tile - 1) / tile;
}

static int64_t tile_count(const Tiles *tiles)
{
    return tiles->batch * tiles_along(tiles->m, tiles->unit_m * tiles->rows) *
           tiles_along(tiles->n, tiles->unit_n * tiles->columns);
}

static int units_along(int64_t extent, int unit, int most)
{
    int units = 1;
    while (units < most && units * unit < extent)
        units *= 2;
    return units;
}

static int64_t pieces_for(const Sizes *sizes, const Tiles *tiles)
{
    return schedule_pieces((sizes->many_tiles + tile_count(tiles) - 1) / tile_count(tiles), tiles->k, sizes->tile_terms);
}

/* Tiles as large as the results, but not so large that they are few. */
static void choose_size(const Sizes *sizes, Tiles *tiles)
{
    tiles->rows = units_along(tiles->m, tiles->unit_m, tiles->method->most_units);
    tiles->columns = units_along(tiles->n, tiles->unit_n, tiles->method->most_units);
    while (tile_count(tiles) * pieces_for(sizes, tiles) < sizes->many_tiles &&
           tiles->rows * tiles->columns > tiles->method->least_units)
        *(tiles->rows > tiles->columns ? &tiles->rows : &tiles->columns) /= 2;
    tiles->pieces = pieces_for(sizes, tiles);
    tiles->height = tiles->unit_m * tiles->rows;
    tiles->width = tiles->unit_n * tiles->columns;
}

static bool is_fit(const Sizes *sizes, const Tiles *tiles)
{
    const KStage *stage = tiles->stage;
    const KAcc *acc = &stage->accs.items[0];
    if (acc->wide || acc->dtype == DT_f64 || !dtype_is_float(acc->dtype) || stage->insts.items[acc->value].dtype == DT_f64)
        return false;
    for (int i = 0; i < stage->stores.count; i++)
        if (stage->stores.items[i].add)
            return false;
    return tiles->m * tiles->n * tiles->k * tiles->batch >= sizes->tile_work;
}

static bool tiles_plan(const Device *device, const Kernel *kernel, int stage, int64_t lots, Tiles *tiles)
{
    *tiles = (Tiles){.kernel = kernel, .stage = &kernel->stages.items[stage]};
    Contraction *roles = &tiles->roles;
    if (tiles->stage->kind != K_STAGE_CONTRACT || !kernel_contraction(kernel, tiles->stage, roles))
        return false;
    tiles->m = count_points(kernel, tiles->stage, roles->m, roles->m_count);
    tiles->n = count_points(kernel, tiles->stage, roles->n, roles->n_count);
    tiles->k = count_points(kernel, tiles->stage, roles->k, roles->k_count);
    tiles->batch = count_points(kernel, tiles->stage, roles->batch, roles->batch_count) * lots;
    if (!is_fit(device->sizes, tiles))
        return false;
    if (!matrices_fit(device, tiles))
        numbers_suit(tiles);
    choose_size(device->sizes, tiles);
    return true;
}

bool tiles_choose(const Device *device, const Kernel *kernel, int stage, int64_t lots, Phase *phase)
{
    Tiles tiles;
    if (!tiles_plan(device, kernel, stage, lots, &tiles))
        return false;
    *phase = (Phase){.kind = tiles.method->phase,
                     .stage = stage,
                     .points = tile_count(&tiles),
                     .pieces = tiles.pieces,
                     .groups = tile_count(&tiles) * tiles.pieces,
                     .threads = tiles.threads};
    return true;
}

static Tiles tiles_of(const GlslPrinter *printer)
{
    Tiles tiles;
    tiles_plan(printer->device, printer->kernel, printer->phase->stage, printer->schedule->lots, &tiles);
    return tiles;
}

/* ---- shared memory ---- */

void tiles_print_shared(GlslPrinter *printer)
{
    Tiles tiles = tiles_of(printer);
    tiles.method->print_shared(printer, &tiles);
    glsl_line(printer, "shared int of_m[%d];", tiles.height);
    glsl_line(printer, "shared int of_n[%d];", tiles.width);
    glsl_line(printer, "shared int a_of_k[%d];", tiles.slice);
    glsl_line(printer, "shared int b_of_k[%d];", tiles.slice);
}

/* ---- places ---- */

/* The axes as digits of `number`, the last one the fastest; what is left of the number is dropped. */
static void print_digits(GlslPrinter *printer, const Tiles *tiles, const int *axes, int count, const char *number)
{
    int64_t below = 1;
    for (int i = count - 1; i >= 0; i--) {
        int64_t extent = schedule_axis(tiles->kernel, tiles->stage, axes[i])->extent;
        glsl_line(printer, "int a%d = %s / %lld %% %lld;", axes[i], number, (long long)below, (long long)extent);
        below *= extent;
    }
}

/* What some axes contribute to the place of an operand. */
static const char *part_of_place(GlslPrinter *printer, const Affine *index, const int *axes, int count, int64_t offset)
{
    Affine part = {.offset = offset};
    for (int i = 0; i < count; i++)
        part.coef[axes[i]] = index->coef[axes[i]];
    Text text = text_new(printer->arena);
    glsl_affine(&part, &text);
    return text.data;
}

/* The places of all rows or columns of the tile; those past the end stand for the last one, and their results are dropped. */
static void print_side(GlslPrinter *printer, const Tiles *tiles, const Operand *operand, const int *axes, int count,
                       int64_t extent)
{
    glsl_loop(printer, "i", "thread", operand->extent, tiles->threads);
    glsl_line(printer, "int number = min(%c0 + i, %lld);", operand->side, (long long)extent - 1);
    print_digits(printer, tiles, axes, count, "number");
    glsl_line(printer, "of_%c[i] = %s;", operand->side, part_of_place(printer, &operand->load->index, axes, count, 0));
    glsl_close(printer);
}

/* The outer axes are batch axes, too: those of a lot are around its own. */
static void print_places(GlslPrinter *printer, const Tiles *tiles)
{
    const Contraction *roles = &tiles->roles;
    int64_t along_n = tiles_along(tiles->n, tiles->width), along_m = tiles_along(tiles->m, tiles->height);
    int64_t own = count_points(tiles->kernel, tiles->stage, roles->batch, roles->batch_count);
    glsl_line(printer, "int n0 = tile %% %lld * %d;", (long long)along_n, tiles->width);
    glsl_line(printer, "int m0 = tile / %lld %% %lld * %d;", (long long)along_n, (long long)along_m, tiles->height);
    glsl_line(printer, "int batch = tile / %lld;", (long long)(along_n * along_m));
    glsl_lot(printer, arena_printf(printer->arena, "batch / %lld", (long long)own));
    print_digits(printer, tiles, roles->batch, roles->batch_count, "batch");
    int axes[K_MAX_AXES], count = 0;
    for (int i = 0; i < tiles->kernel->outer.count; i++)
        axes[count++] = i;
    for (int i = 0; i < roles->batch_count; i++)
        axes[count++] = roles->batch[i];
    Operand a = tiles_operand(tiles, 'a'), b = tiles_operand(tiles, 'b');
    const Affine *of_a = &a.load->index, *of_b = &b.load->index;
    glsl_line(printer, "int a_first = %s;", part_of_place(printer, of_a, axes, count, of_a->offset));
    glsl_line(printer, "int b_first = %s;", part_of_place(printer, of_b, axes, count, of_b->offset));
    print_side(printer, tiles, &a, roles->m, roles->m_count, tiles->m);
    print_side(printer, tiles, &b, roles->n, roles->n_count, tiles->n);
}

/* ---- slices and results ---- */

static void print_sums(GlslPrinter *printer, const Tiles *tiles)
{
    const Contraction *roles = &tiles->roles;
    Operand a = tiles_operand(tiles, 'a'), b = tiles_operand(tiles, 'b');
    tiles->method->print_zeros(printer, tiles);
    glsl_loop_of_piece(printer, "k0", tiles->k, "0", tiles->slice);
    glsl_line(printer, "barrier();");
    glsl_loop(printer, "i", "thread", tiles->slice, tiles->threads);
    glsl_line(printer, "int number = min(k0 + i, %lld);", (long long)tiles->k - 1);
    print_digits(printer, tiles, roles->k, roles->k_count, "number");
    glsl_line(printer, "a_of_k[i] = %s;", part_of_place(printer, &a.load->index, roles->k, roles->k_count, 0));
    glsl_line(printer, "b_of_k[i] = %s;", part_of_place(printer, &b.load->index, roles->k, roles->k_count, 0));
    glsl_close(printer);
    glsl_line(printer, "barrier();");
    tiles->method->print_slice_and_multiply(printer, tiles);
    glsl_close(printer);
}

/* Which of the stage's results it is, as for any phase of pieces. */
static void print_point(GlslPrinter *printer, const Tiles *tiles)
{
    const int outer = tiles->kernel->outer.count;
    const char *point = "lot";
    for (int i = 0; i < tiles->stage->axes.count; i++)
        if (schedule_shares_out(tiles->kernel, tiles->stage, outer + i))
            point = arena_printf(printer->arena, "(%s * %lld + a%d)", point, (long long)tiles->stage->axes.items[i].extent,
                                 outer + i);
    glsl_line(printer, "int point = %s;", point);
}

static void print_results(GlslPrinter *printer, const Tiles *tiles)
{
    const Contraction *roles = &tiles->roles;
    glsl_loop(printer, "part", "0", tiles->method->parts(tiles), 1);
    glsl_line(printer, "barrier();");
    tiles->method->print_hand_over(printer, tiles);
    glsl_line(printer, "barrier();");
    glsl_loop(printer, "i", "thread", tiles->method->part_size(tiles), tiles->threads);
    tiles->method->print_place(printer, tiles);
    glsl_open(printer, "if (m < %lld && n < %lld)", (long long)tiles->m, (long long)tiles->n);
    print_digits(printer, tiles, roles->m, roles->m_count, "m");
    print_digits(printer, tiles, roles->n, roles->n_count, "n");
    if (tiles->pieces > 1)
        print_point(printer, tiles);
    glsl_finish(printer, tiles->stage);
    glsl_close(printer);
    glsl_close(printer);
    glsl_close(printer);
}

void tiles_print(GlslPrinter *printer)
{
    const long long count = printer->phase->points;
    Tiles tiles = tiles_of(printer);
    glsl_line(printer, "if (group >= %lld)", count * (long long)tiles.pieces);
    glsl_line(printer, "  return;");
    glsl_line(printer, "int tile = group %% %lld, piece = group / %lld;", count, count);
    print_places(printer, &tiles);
    print_sums(printer, &tiles);
    print_results(printer, &tiles);
}
