/* Contractions by tiles: C[batch, m, n] = sum_k A[batch, m, k] * B[batch, n, k].
 *
 * A workgroup has a tile of results, of which each thread keeps some numbers in registers (numbers.c), or, for those of 16 bits
 * on devices with cooperative matrices, each subgroup some matrices (matrices.c).  k goes by in slices, which lie in shared
 * memory; where an element of an operand lies is the sum of what its m, n or k contributes, so that convolutions are read in
 * place like matrices; 16 bytes at a time, where they lie so (operands.c).  Then the sums go through the same shared memory,
 * some at a time, to whatever thread finishes a result: neighbours finish neighbours.
 *
 * The order of every sum is that of k; where tiles are few and sums long, in pieces of k (tiling.c). */
#include "backends/vulkan/tiles.h"

static const TileMethod *method_of(const Tiles *tiles)
{
    return tiles->of_matrices ? &matrices_method : &numbers_method;
}

/* ---- places ---- */

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
    glsl_digits_of(printer, tiles->stage, axes, count, "number");
    glsl_line(printer, "return %s;", part_of_place(printer, &operand->load->index, axes, count, 0));
    glsl_close(printer);
}

void tiles_print_functions(GlslPrinter *printer)
{
    const Tiles *tiles = printer->phase->tiles;
    const Contraction *roles = &tiles->roles;
    Operand a = tiles_operand(tiles, 'a'), b = tiles_operand(tiles, 'b');
    method_of(tiles)->print_shared(printer, tiles);
    print_part_of_place(printer, tiles, "a_of_m", &a, roles->m, roles->m_count);
    print_part_of_place(printer, tiles, "b_of_n", &b, roles->n, roles->n_count);
    print_part_of_place(printer, tiles, "a_of_k", &a, roles->k, roles->k_count);
    print_part_of_place(printer, tiles, "b_of_k", &b, roles->k, roles->k_count);
}

/* The outer axes are batch axes, too: those of a lot are around its own. */
static void print_places(GlslPrinter *printer, const Tiles *tiles)
{
    const Contraction *roles = &tiles->roles;
    int64_t along_n = parts_of(tiles->n, tiles->width), along_m = parts_of(tiles->m, tiles->height);
    int64_t own = tiles->batch / printer->schedule->lots;
    glsl_line(printer, "int n0 = tile %% %lld * %d;", (long long)along_n, tiles->width);
    glsl_line(printer, "int m0 = tile / %lld %% %lld * %d;", (long long)along_n, (long long)along_m, tiles->height);
    glsl_line(printer, "int batch = tile / %lld;", (long long)(along_n * along_m));
    glsl_lot(printer, arena_printf(printer->arena, "batch / %lld", (long long)own));
    glsl_line(printer, "int within = batch %% %lld;", (long long)own);
    glsl_digits_of(printer, tiles->stage, roles->batch, roles->batch_count, "within");
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
    method_of(tiles)->size_unit(operand, &along_k, &along_side);
    return tiles->slice / along_k * (operand->extent / along_side);
}

static int units_of_thread(const Tiles *tiles, const Operand *operand)
{
    return (int)parts_of(unit_count(tiles, operand), tiles->threads);
}

/* The places of a thread's units.  Rows or columns past the end stand for the last one, and their results are dropped. */
static void print_units(GlslPrinter *printer, const Tiles *tiles, const Operand *operand)
{
    const char name = operand->name, side = operand->side;
    int along_k, along_side;
    method_of(tiles)->size_unit(operand, &along_k, &along_side);
    int fast = operand->along_k ? tiles->slice / along_k : operand->extent / along_side;
    for (int u = 0; u < units_of_thread(tiles, operand); u++) {
        const char *fast_name = operand->along_k ? "k" : "side", *slow_name = operand->along_k ? "side" : "k";
        int each_fast = operand->along_k ? along_k : along_side, each_slow = operand->along_k ? along_side : along_k;
        glsl_line(printer, "int %c_%s%d = (thread + %d) %% %d * %d, %c_%s%d = (thread + %d) / %d * %d;", name, fast_name, u,
                  u * tiles->threads, fast, each_fast, name, slow_name, u, u * tiles->threads, fast, each_slow);
        glsl_line(printer, "int %c_at%d = %c_first + %c_of_%c(min(%c0 + %c_side%d, %lld));", name, u, name, name, side, side,
                  name, u, (long long)(side == 'm' ? tiles->m : tiles->n) - 1);
        method_of(tiles)->print_held(printer, operand, u);
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
    print_for_units(printer, tiles, method_of(tiles)->print_fetch);
    glsl_close(printer);
}

/* A slice is fetched while the one before it is multiplied, so that memory has that long to answer. */
static void print_sums(GlslPrinter *printer, const Tiles *tiles)
{
    Operand a = tiles_operand(tiles, 'a'), b = tiles_operand(tiles, 'b');
    method_of(tiles)->print_zeros(printer, tiles);
    print_units(printer, tiles, &a);
    print_units(printer, tiles, &b);
    long long length = glsl_piece_length(printer, tiles->k, tiles->slice);
    glsl_line(printer, "int next = piece * %lld, end = min(next + %lld, %lld);", length, length, (long long)tiles->k);
    print_fetches(printer, tiles);
    glsl_range(printer, "k0", "next", "end", tiles->slice, length / tiles->slice);
    glsl_line(printer, "barrier();");
    print_for_units(printer, tiles, method_of(tiles)->print_keep);
    glsl_line(printer, "barrier();");
    glsl_line(printer, "next = k0 + %d;", tiles->slice);
    print_fetches(printer, tiles);
    method_of(tiles)->print_multiply(printer, tiles);
    glsl_close(printer);
}

/* Which of the stage's results it is, as for any phase of pieces. */
static void print_point(GlslPrinter *printer, const Tiles *tiles)
{
    const int outer = tiles->kernel->outer.count;
    const char *point = "lot";
    for (int i = 0; i < tiles->stage->axes.count; i++)
        if (stage_shares_out(tiles->kernel, tiles->stage, outer + i))
            point = arena_printf(printer->arena, "(%s * %lld + a%d)", point, (long long)tiles->stage->axes.items[i].extent,
                                 outer + i);
    glsl_line(printer, "int point = %s;", point);
}

static void print_results(GlslPrinter *printer, const Tiles *tiles)
{
    const Contraction *roles = &tiles->roles;
    glsl_loop(printer, "part", "0", method_of(tiles)->parts(tiles), 1);
    glsl_line(printer, "barrier();");
    method_of(tiles)->print_hand_over(printer, tiles);
    glsl_line(printer, "barrier();");
    glsl_loop(printer, "i", "thread", method_of(tiles)->part_size(tiles), tiles->threads);
    method_of(tiles)->print_place(printer, tiles);
    glsl_open(printer, "if (m < %lld && n < %lld)", (long long)tiles->m, (long long)tiles->n);
    glsl_digits_of(printer, tiles->stage, roles->m, roles->m_count, "m");
    glsl_digits_of(printer, tiles->stage, roles->n, roles->n_count, "n");
    if (tiles->pieces > 1)
        print_point(printer, tiles);
    sums_finish(printer, tiles->stage);
    glsl_close(printer);
    glsl_close(printer);
    glsl_close(printer);
}

void tiles_print(GlslPrinter *printer)
{
    const long long count = printer->phase->points;
    const Tiles *tiles = printer->phase->tiles;
    glsl_line(printer, "if (group >= %lld)", count * (long long)tiles->pieces);
    glsl_line(printer, "  return;");
    glsl_line(printer, "int tile = group %% %lld, piece = group / %lld;", count, count);
    print_places(printer, tiles);
    print_sums(printer, tiles);
    print_results(printer, tiles);
}
