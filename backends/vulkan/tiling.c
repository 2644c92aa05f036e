/* Which tiles: as large as the results, but not so large that they are few; of matrices where the device has them. */
#include "backends/vulkan/tiling.h"

#include "backends/vulkan/sizes.h"

enum { SLICE = 16 }; /* points of k, or as many as a matrix has */

static int64_t count_points(const Tiles *tiles, const int *axes, int count)
{
    int64_t points = 1;
    for (int i = 0; i < count; i++)
        points *= stage_axis(tiles->kernel, tiles->stage, axes[i])->extent;
    return points;
}

static int64_t count_tiles(const Tiles *tiles)
{
    return tiles->batch * parts_of(tiles->m, tiles->unit_m * tiles->rows) * parts_of(tiles->n, tiles->unit_n * tiles->columns);
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
    return sizes_pieces(parts_of(sizes->many_tiles, count_tiles(tiles)), tiles->k, sizes->tile_terms);
}

/* Numbers of a thread or matrices of a subgroup: along each side at most, in all at least. */
static void choose_units(const Sizes *sizes, Tiles *tiles)
{
    int most = tiles->of_matrices ? MATRICES_EACH : 8, least = tiles->of_matrices ? 1 : 4;
    tiles->rows = units_along(tiles->m, tiles->unit_m, most);
    tiles->columns = units_along(tiles->n, tiles->unit_n, most);
    while (count_tiles(tiles) * pieces_for(sizes, tiles) < sizes->many_tiles && tiles->rows * tiles->columns > least)
        *(tiles->rows > tiles->columns ? &tiles->rows : &tiles->columns) /= 2;
    tiles->pieces = pieces_for(sizes, tiles);
    tiles->count = count_tiles(tiles);
    tiles->height = tiles->unit_m * tiles->rows;
    tiles->width = tiles->unit_n * tiles->columns;
}

/* ---- what they are made of ---- */

int tiling_slice(const MatrixShape *shape)
{
    return shape->k > SLICE ? shape->k : SLICE;
}

/* False: the device has no matrices, or they do not suit these numbers. */
static bool suits_matrices(const Device *device, const Tiles *tiles)
{
    const MatrixShape *shape = &device->matrices.shape;
    const KInst *insts = tiles->stage->insts.items;
    bool halves = insts[tiles->roles.a].dtype == DT_f16 && insts[tiles->roles.b].dtype == DT_f16;
    return device->matrices.form && halves && tiles->m >= shape->m && tiles->n >= shape->n && tiles->k >= shape->k;
}

static void make_of_matrices(const Matrices *matrices, Tiles *tiles)
{
    tiles->of_matrices = true;
    tiles->unit_m = SUBGROUPS_A_SIDE * matrices->shape.m;
    tiles->unit_n = SUBGROUPS_A_SIDE * matrices->shape.n;
    tiles->threads = MATRICES_SUBGROUPS * matrices->threads;
    tiles->slice = tiling_slice(&matrices->shape);
}

static void make_of_numbers(Tiles *tiles)
{
    tiles->unit_m = tiles->unit_n = TILE_SIDE;
    tiles->threads = GROUP_THREADS;
    tiles->slice = SLICE;
}

static bool is_fit(const Sizes *sizes, const Tiles *tiles)
{
    const KStage *stage = tiles->stage;
    const KAcc *acc = &stage->accs.items[0];
    if (acc->wide || acc->dtype == DT_f64 || !dtype_is_float(acc->dtype) || stage->insts.items[acc->value].dtype == DT_f64)
        return false;
    return !stage_addition(stage) && tiles->m * tiles->n * tiles->k * tiles->batch >= sizes->tile_work;
}

const Tiles *tiling_choose(Arena *arena, const Device *device, const Kernel *kernel, int stage, int64_t lots)
{
    Tiles *tiles = arena_new_of(arena, Tiles);
    Contraction *roles = &tiles->roles;
    *tiles = (Tiles){.kernel = kernel, .stage = &kernel->stages.items[stage]};
    if (tiles->stage->kind != K_STAGE_CONTRACT || !kernel_contraction(kernel, tiles->stage, roles))
        return NULL;
    tiles->m = count_points(tiles, roles->m, roles->m_count);
    tiles->n = count_points(tiles, roles->n, roles->n_count);
    tiles->k = count_points(tiles, roles->k, roles->k_count);
    tiles->batch = count_points(tiles, roles->batch, roles->batch_count) * lots;
    if (!is_fit(device->sizes, tiles))
        return NULL;
    if (suits_matrices(device, tiles))
        make_of_matrices(&device->matrices, tiles);
    else
        make_of_numbers(tiles);
    choose_units(device->sizes, tiles);
    return tiles;
}
