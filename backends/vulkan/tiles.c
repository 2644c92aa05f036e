/* Contractions by tiles: C[batch, m, n] = sum_k A[batch, m, k] * B[batch, n, k].
 *
 * A workgroup has a tile of results, of which each thread keeps some numbers in registers (numbers.c), or, for those of 16 bits
 * on devices with cooperative matrices, each subgroup some matrices (matrices.c).  k goes by in slices, which lie in shared
 * memory; where an element of an operand lies is the sum of what its m, n or k contributes, so that convolutions are read in
 * place like matrices; 16 bytes at a time, where they lie so (operands.c).  Then the sums go through
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
                     .role = tiles.pieces > 1 ? ROLE_PIECES : ROLE_WHOLE,
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

/* ---- places ---- */

/* The axes as digits of `number`, the last one the fastest. */
static void print_digits(GlslPrinter *printer, const Tiles *tiles, const int *axes, int count, const char *number)
{
    int64_t below = 1;
    for (int i = count - 1; i >= 0; i--) {
        int64_t extent = schedule_axis(tiles->kernel, tiles->stage, axes[i])->extent;
        glsl_digit(printer, axes[i], number, below, i ? extent : 0);
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

/* `int NAME(int number)`: what the axes contribute as digits of the number. */
static void print_part_of_place(GlslPrinter *printer, const Tiles *tiles, const char *name, const Operand *operand,
                                const int *axes, int count)
{
    glsl_open(printer, "int %s(int number)", name);
    print_digits(printer, tiles, axes, count, "number");
    glsl_line(printer, "return %s;", part_of_place(printer, &operand->load->index, axes, count, 0));
    glsl_close(printer);
}

void tiles_print_functions(GlslPrinter *printer)
{
    Tiles tiles = tiles_of(printer);
    const Contraction *roles = &tiles.roles;
    Operand a = tiles_operand(&tiles, 'a'), b = tiles_operand(&tiles, 'b');
    tiles.method->print_shared(printer, &tiles);
    print_part_of_place(printer, &tiles, "a_of_m", &a, roles->m, roles->m_count);
    print_part_of_place(printer, &tiles, "b_of_n", &b, roles->n, roles->n_count);
    print_part_of_place(printer, &tiles, "a_of_k", &a, roles->k, roles->k_count);
    print_part_of_place(printer, &tiles, "b_of_k", &b, roles->k, roles->k_count);
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
    glsl_line(printer, "int within = batch %% %lld;", (long long)own);
    print_digits(printer, tiles, roles->batch, roles->batch_count, "within");
    int axes[K_MAX_AXES], count = 0;
    for (int i = 0; i < tiles->kernel->outer.count; i++)
        axes[count++] = i;
    for (int i = 0; i < roles->batch_count; i++)
        axes[count++] = roles->batch[i];
    Operand a = tiles_operand(tiles, 'a'), b = tiles_operand(tiles, 'b');
    const Affine *of_a = &a.load->index, *of_b = &b.load->index;
    glsl_line(printer, "int a_first = %s;", part_of_place(printer, of_a, axes, count, of_a->offset));
    glsl_line(printer, "int b_first = %s;", part_of_place(printer, of_b, axes, count, of_b->offset));
}

/* ---- slices and results ---- */

/* Units of a slice of the operand. */
static int unit_count(const Tiles *tiles, const Operand *operand)
{
    int along_k, along_side;
    tiles->method->size_unit(operand, &along_k, &along_side);
    return tiles->slice / along_k * (operand->extent / along_side);
}

static int units_of_thread(const Tiles *tiles, const Operand *operand)
{
    return (int)tiles_along(unit_count(tiles, operand), tiles->threads);
}

/* The places of a thread's units.  Rows or columns past the end stand for the last one, and their results are dropped. */
static void print_units(GlslPrinter *printer, const Tiles *tiles, const Operand *operand)
{
    const char name = operand->name, side = operand->side;
    int along_k, along_side;
    tiles->method->size_unit(operand, &along_k, &along_side);
    int fast = operand->along_k ? tiles->slice / along_k : operand->extent / along_side;
    for (int u = 0; u < units_of_thread(tiles, operand); u++) {
        const char *fast_name = operand->along_k ? "k" : "side", *slow_name = operand->along_k ? "side" : "k";
        int each_fast = operand->along_k ? along_k : along_side, each_slow = operand->along_k ? along_side : along_k;
        glsl_line(printer, "int %c_%s%d = (thread + %d) %% %d * %d, %c_%s%d = (thread + %d) / %d * %d;", name, fast_name, u,
                  u * tiles->threads, fast, each_fast, name, slow_name, u, u * tiles->threads, fast, each_slow);
        glsl_line(printer, "int %c_at%d = %c_first + %c_of_%c(min(%c0 + %c_side%d, %lld));", name, u, name, name, side, side,
                  name, u, (long long)(side == 'm' ? tiles->m : tiles->n) - 1);
        tiles->method->print_held(printer, operand, u);
    }
}

typedef void PrintUnit(GlslPrinter *printer, const Tiles *tiles, const Operand *operand, int unit);

/* Of all units of a thread; the last of them may be none. */
static void print_for_units(GlslPrinter *printer, const Tiles *tiles, PrintUnit *print)
{
    const Operand operands[] = {tiles_operand(tiles, 'a'), tiles_operand(tiles, 'b')};
    for (int i = 0; i < 2; i++)
        for (int u = 0; u < units_of_thread(tiles, &operands[i]); u++) {
            int count = unit_count(tiles, &operands[i]);
            bool may_be_none = (u + 1) * tiles->threads > count;
            if (may_be_none)
                glsl_open(printer, "if (thread < %d)", count - u * tiles->threads);
            print(printer, tiles, &operands[i], u);
            if (may_be_none)
                glsl_close(printer);
        }
}

/* Nothing lies past the end: a piece may be empty. */
static void print_fetches(GlslPrinter *printer, const Tiles *tiles)
{
    glsl_open(printer, "if (next < end)");
    print_for_units(printer, tiles, tiles->method->print_fetch);
    glsl_close(printer);
}

/* A slice is fetched while the one before it is multiplied, so that memory has that long to answer. */
static void print_sums(GlslPrinter *printer, const Tiles *tiles)
{
    Operand a = tiles_operand(tiles, 'a'), b = tiles_operand(tiles, 'b');
    tiles->method->print_zeros(printer, tiles);
    print_units(printer, tiles, &a);
    print_units(printer, tiles, &b);
    long long length = glsl_piece_length(printer, tiles->k, tiles->slice);
    glsl_line(printer, "int next = piece * %lld, end = min(next + %lld, %lld);", length, length, (long long)tiles->k);
    print_fetches(printer, tiles);
    glsl_range(printer, "k0", "next", "end", tiles->slice, length / tiles->slice);
    glsl_line(printer, "barrier();");
    print_for_units(printer, tiles, tiles->method->print_keep);
    glsl_line(printer, "barrier();");
    glsl_line(printer, "next = k0 + %d;", tiles->slice);
    print_fetches(printer, tiles);
    tiles->method->print_multiply(printer, tiles);
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
