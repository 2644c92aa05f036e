/* Contractions by tiles: C[batch, m, n] = sum_k A[batch, m, k] * B[batch, n, k].
 *
 * A workgroup has 8 x 8 threads and a tile of results, of which each thread keeps `rows` x `columns` in registers.  k goes by
 * in slices, which lie in shared memory; where an element of an operand lies is the sum of what its m, n or k contributes, each
 * worked out once, so that convolutions are read in place like matrices.  Then the sums go through the same shared memory, some
 * rows of threads at a time, to whatever thread finishes a result: neighbours finish neighbours.
 *
 * The order of every sum is that of k. */
#include "backends/vulkan/vulkan_internal.h"

enum {
    SIDE = 8,           /* threads along each side of a tile */
    SLICE = 16,         /* points of k */
    MOST_EACH = 8,      /* results of a thread along each side */
    FEW_TILES = 32,     /* smaller tiles keep more of a device at work */
    MIN_WORK = 1 << 15, /* multiplications */
    LONG_SUM = 2048,    /* terms of a sum that a workgroup should share out, if there are few of them */
};

typedef struct Tiles {
    const Kernel *kernel;
    const KStage *stage;
    Contraction roles;
    int64_t m, n, k, batch;
    int rows, columns; /* of a thread */
} Tiles;

/* ---- choosing ---- */

static int64_t count_points(const Kernel *kernel, const KStage *stage, const int *axes, int count)
{
    int64_t points = 1;
    for (int i = 0; i < count; i++)
        points *= glsl_axis(kernel, stage, axes[i])->extent;
    return points;
}

static int results_each(int64_t extent)
{
    int each = 1;
    while (each < MOST_EACH && each * SIDE < extent)
        each *= 2;
    return each;
}

static int64_t tiles_along(int64_t extent, int each)
{
    return (extent + SIDE * each - 1) / (SIDE * each);
}

static int64_t tile_count(const Tiles *tiles)
{
    return tiles->batch * tiles_along(tiles->m, tiles->rows) * tiles_along(tiles->n, tiles->columns);
}

static bool is_fit(const Tiles *tiles)
{
    const KStage *stage = tiles->stage;
    const KAcc *acc = &stage->accs.items[0];
    if (acc->wide || acc->dtype == DT_f64 || !dtype_is_float(acc->dtype) || stage->insts.items[acc->value].dtype == DT_f64)
        return false;
    for (int i = 0; i < stage->stores.count; i++)
        if (stage->stores.items[i].add)
            return false;
    bool long_sums = tiles->k >= LONG_SUM && tile_count(tiles) < FEW_TILES / 2;
    return tiles->m * tiles->n * tiles->k * tiles->batch >= MIN_WORK && !long_sums;
}

static bool tiles_plan(const Kernel *kernel, int stage, Tiles *tiles)
{
    *tiles = (Tiles){.kernel = kernel, .stage = &kernel->stages.items[stage]};
    Contraction *roles = &tiles->roles;
    if (tiles->stage->kind != K_STAGE_CONTRACT || !kernel_contraction(kernel, tiles->stage, roles))
        return false;
    tiles->m = count_points(kernel, tiles->stage, roles->m, roles->m_count);
    tiles->n = count_points(kernel, tiles->stage, roles->n, roles->n_count);
    tiles->k = count_points(kernel, tiles->stage, roles->k, roles->k_count);
    tiles->batch = count_points(kernel, tiles->stage, roles->batch, roles->batch_count) * kernel_points(kernel);
    tiles->rows = results_each(tiles->m);
    tiles->columns = results_each(tiles->n);
    while (tile_count(tiles) < FEW_TILES && tiles->rows * tiles->columns > 4)
        *(tiles->rows > tiles->columns ? &tiles->rows : &tiles->columns) /= 2;
    return is_fit(tiles);
}

bool tiles_choose(const Kernel *kernel, int stage, Phase *phase)
{
    Tiles tiles;
    if (!tiles_plan(kernel, stage, &tiles))
        return false;
    *phase = (Phase){PHASE_TILES, stage, tile_count(&tiles), tile_count(&tiles)};
    return true;
}

/* ---- shared memory ---- */

/* Sums go through the place of the slices, as many rows of threads at a time as fit. */
static int parts_of(const Tiles *tiles)
{
    int sums = SIDE * tiles->rows * SIDE * tiles->columns, room = SLICE * SIDE * (tiles->rows + tiles->columns), parts = 1;
    while (sums > room * parts)
        parts *= 2;
    return parts;
}

void tiles_print_shared(GlslPrinter *printer, const Phase *phase)
{
    Tiles tiles;
    tiles_plan(printer->kernel, phase->stage, &tiles);
    glsl_line(printer, "shared float slice[%d];", SLICE * SIDE * (tiles.rows + tiles.columns));
    glsl_line(printer, "shared int of_m[%d];", SIDE * tiles.rows);
    glsl_line(printer, "shared int of_n[%d];", SIDE * tiles.columns);
    glsl_line(printer, "shared int a_of_k[%d];", SLICE);
    glsl_line(printer, "shared int b_of_k[%d];", SLICE);
}

/* ---- places ---- */

/* The axes as digits of `number`, the last one the fastest; what is left of the number is dropped. */
static void print_digits(GlslPrinter *printer, const Tiles *tiles, const int *axes, int count, const char *number)
{
    int64_t below = 1;
    for (int i = count - 1; i >= 0; i--) {
        int64_t extent = glsl_axis(tiles->kernel, tiles->stage, axes[i])->extent;
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

static const KInst *operand(const Tiles *tiles, KRef load)
{
    return &tiles->stage->insts.items[load];
}

/* Outer axes are batch axes, too. */
static int batch_axes(const Tiles *tiles, int *axes)
{
    int count = 0;
    for (int i = 0; i < tiles->kernel->outer.count; i++)
        axes[count++] = i;
    for (int i = 0; i < tiles->roles.batch_count; i++)
        axes[count++] = tiles->roles.batch[i];
    return count;
}

/* The places of all rows or columns of the tile; those past the end stand for the last one, and their results are dropped. */
static void print_side(GlslPrinter *printer, const Tiles *tiles, char name, const int *axes, int count, KRef load, int each,
                       int64_t extent)
{
    glsl_open(printer, "for (int i = thread; i < %d; i += %d)", SIDE * each, GROUP_THREADS);
    glsl_line(printer, "int number = min(%c0 + i, %lld);", name, (long long)extent - 1);
    print_digits(printer, tiles, axes, count, "number");
    glsl_line(printer, "of_%c[i] = %s;", name, part_of_place(printer, &operand(tiles, load)->index, axes, count, 0));
    glsl_close(printer);
}

static void print_places(GlslPrinter *printer, const Tiles *tiles)
{
    const Contraction *roles = &tiles->roles;
    int axes[K_MAX_AXES], count = batch_axes(tiles, axes);
    int64_t along_n = tiles_along(tiles->n, tiles->columns), along_m = tiles_along(tiles->m, tiles->rows);
    glsl_line(printer, "int n0 = group %% %lld * %d;", (long long)along_n, SIDE * tiles->columns);
    glsl_line(printer, "int m0 = group / %lld %% %lld * %d;", (long long)along_n, (long long)along_m, SIDE * tiles->rows);
    glsl_line(printer, "int batch = group / %lld;", (long long)(along_n * along_m));
    print_digits(printer, tiles, axes, count, "batch");
    const KInst *a = operand(tiles, roles->a), *b = operand(tiles, roles->b);
    glsl_line(printer, "int a_first = %s;", part_of_place(printer, &a->index, axes, count, a->index.offset));
    glsl_line(printer, "int b_first = %s;", part_of_place(printer, &b->index, axes, count, b->index.offset));
    print_side(printer, tiles, 'm', roles->m, roles->m_count, roles->a, tiles->rows, tiles->m);
    print_side(printer, tiles, 'n', roles->n, roles->n_count, roles->b, tiles->columns, tiles->n);
}

/* ---- sums ---- */

/* Whether elements that follow each other along k lie closer than those along the other axes. */
static bool goes_along_k(const Affine *index, const int *k, int k_count, const int *side, int side_count)
{
    return k_count && index->coef[k[k_count - 1]] == 1 && !(side_count && index->coef[side[side_count - 1]] == 1);
}

/* A slice of one operand: [k][row or column]. */
static void print_slice(GlslPrinter *printer, const Tiles *tiles, char name, int each, bool along_k, int first)
{
    const KInst *load = operand(tiles, name == 'a' ? tiles->roles.a : tiles->roles.b);
    char side = name == 'a' ? 'm' : 'n';
    int width = SIDE * each;
    glsl_open(printer, "for (int i = thread; i < %d; i += %d)", SLICE * width, GROUP_THREADS);
    glsl_line(printer, along_k ? "int k = i %% %d, side = i / %d;" : "int side = i %% %d, k = i / %d;", along_k ? SLICE : width,
              along_k ? SLICE : width);
    const char *value =
        arena_printf(printer->arena, "get_b%d(%c_first + of_%c[side] + %c_of_k[k])", load->buffer, name, side, name);
    if (tiles->k % SLICE)
        value = arena_printf(printer->arena, "k0 + k < %lld ? %s : 0.0", (long long)tiles->k, value);
    glsl_line(printer, "slice[%d + k * %d + side] = %s;", first, width, value);
    glsl_close(printer);
}

/* Rows of a thread lie side by side, its columns SIDE apart, so that threads read different banks. */
static void print_multiply(GlslPrinter *printer, const Tiles *tiles, int b_slice)
{
    glsl_open(printer, "for (int k = 0; k < %d; k++)", SLICE);
    for (int i = 0; i < tiles->rows; i++)
        glsl_line(printer, "float x%d = slice[k * %d + y * %d + %d];", i, SIDE * tiles->rows, tiles->rows, i);
    for (int j = 0; j < tiles->columns; j++) {
        glsl_line(printer, "float y%d = slice[%d + k * %d + x + %d];", j, b_slice, SIDE * tiles->columns, SIDE * j);
        for (int i = 0; i < tiles->rows; i++)
            glsl_line(printer, "s%d_%d += x%d * y%d;", i, j, i, j);
    }
    glsl_close(printer);
}

static void print_sums(GlslPrinter *printer, const Tiles *tiles)
{
    const Contraction *roles = &tiles->roles;
    const Affine *a = &operand(tiles, roles->a)->index, *b = &operand(tiles, roles->b)->index;
    int b_slice = SLICE * SIDE * tiles->rows;
    for (int i = 0; i < tiles->rows; i++)
        for (int j = 0; j < tiles->columns; j++)
            glsl_line(printer, "float s%d_%d = 0.0;", i, j);
    glsl_open(printer, "for (int k0 = 0; k0 < %lld; k0 += %d)", (long long)tiles->k, SLICE);
    glsl_line(printer, "barrier();");
    glsl_open(printer, "if (thread < %d)", SLICE);
    glsl_line(printer, "int number = min(k0 + thread, %lld);", (long long)tiles->k - 1);
    print_digits(printer, tiles, roles->k, roles->k_count, "number");
    glsl_line(printer, "a_of_k[thread] = %s;", part_of_place(printer, a, roles->k, roles->k_count, 0));
    glsl_line(printer, "b_of_k[thread] = %s;", part_of_place(printer, b, roles->k, roles->k_count, 0));
    glsl_close(printer);
    glsl_line(printer, "barrier();");
    print_slice(printer, tiles, 'a', tiles->rows, goes_along_k(a, roles->k, roles->k_count, roles->m, roles->m_count), 0);
    print_slice(printer, tiles, 'b', tiles->columns, goes_along_k(b, roles->k, roles->k_count, roles->n, roles->n_count),
                b_slice);
    glsl_line(printer, "barrier();");
    print_multiply(printer, tiles, b_slice);
    glsl_close(printer);
}

/* ---- results ---- */

static void print_hand_over(GlslPrinter *printer, const Tiles *tiles, int sides)
{
    glsl_line(printer, "barrier();");
    glsl_open(printer, "if (y / %d == part)", sides);
    for (int i = 0; i < tiles->rows; i++)
        for (int j = 0; j < tiles->columns; j++)
            glsl_line(printer, "slice[(y %% %d * %d + %d) * %d + x + %d] = s%d_%d;", sides, tiles->rows, i,
                      SIDE * tiles->columns, SIDE * j, i, j);
    glsl_close(printer);
    glsl_line(printer, "barrier();");
}

static void print_results(GlslPrinter *printer, const Tiles *tiles)
{
    const Contraction *roles = &tiles->roles;
    int parts = parts_of(tiles), sides = SIDE / parts, width = SIDE * tiles->columns, height = sides * tiles->rows;
    glsl_open(printer, "for (int part = 0; part < %d; part++)", parts);
    print_hand_over(printer, tiles, sides);
    glsl_open(printer, "for (int i = thread; i < %d; i += %d)", width * height, GROUP_THREADS);
    glsl_line(printer, "int m = m0 + part * %d + i / %d, n = n0 + i %% %d;", height, width, width);
    glsl_open(printer, "if (m < %lld && n < %lld)", (long long)tiles->m, (long long)tiles->n);
    print_digits(printer, tiles, roles->m, roles->m_count, "m");
    print_digits(printer, tiles, roles->n, roles->n_count, "n");
    glsl_line(printer, "float s0 = slice[i];");
    glsl_tail(printer, tiles->stage);
    glsl_close(printer);
    glsl_close(printer);
    glsl_close(printer);
}

void tiles_print(GlslPrinter *printer, const Phase *phase)
{
    Tiles tiles;
    tiles_plan(printer->kernel, phase->stage, &tiles);
    glsl_line(printer, "if (group >= %lld)", (long long)phase->points);
    glsl_line(printer, "  return;");
    glsl_line(printer, "int x = thread %% %d, y = thread / %d;", SIDE, SIDE);
    print_places(printer, &tiles);
    print_sums(printer, &tiles);
    print_results(printer, &tiles);
}
