/* Which tiles a contraction is made of (tiles.c prints them). */
#ifndef CM_BACKENDS_VULKAN_TILING_H
#define CM_BACKENDS_VULKAN_TILING_H

#include "backends/vulkan/stages.h"

enum {
    TILE_SIDE = 8,        /* threads along each side of a tile of numbers */
    SUBGROUPS_A_SIDE = 2, /* of a tile of matrices; MATRICES_SUBGROUPS in all */
    MATRICES_EACH = 4,    /* of a subgroup along each side, at most */
};

typedef struct Tiles {
    const Kernel *kernel;
    const KStage *stage;
    Contraction roles;
    int64_t m, n, k, batch;
    bool of_matrices;
    int threads;        /* of a workgroup */
    int slice;          /* points of k in shared memory */
    int unit_m, unit_n; /* results of all threads or subgroups together, if each has one number or one matrix */
    int rows, columns;  /* numbers of a thread, matrices of a subgroup */
    int height, width;  /* results of a tile */
    int64_t pieces;     /* of k, each a tile's */
    int64_t count;      /* of tiles, for each piece */
} Tiles;

/* Of a stage, for so many outer points; null: it is no contraction, or not worth it. */
const Tiles *tiling_choose(Arena *arena, const Device *device, const Kernel *kernel, int stage, int64_t lots);
int tiling_slice(const MatrixShape *shape);

#endif
