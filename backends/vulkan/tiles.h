/* What the two ways to multiply tiles share: with numbers that threads keep (numbers.c), with matrices that subgroups keep
 * (matrices.c).  tiles.c goes through the tiles, operands.c knows where elements lie. */
#ifndef CM_BACKENDS_VULKAN_TILES_H
#define CM_BACKENDS_VULKAN_TILES_H

#include "backends/vulkan/glsl.h"

enum { SLICE = 16 }; /* points of k in shared memory, or as many as a matrix has */

typedef struct Tiles Tiles;

typedef struct TileMethod {
    PhaseKind phase;
    int most_units, least_units; /* results of a thread or matrices of a subgroup: along a side at most, in all at least */
    void (*print_shared)(GlslPrinter *printer, const Tiles *tiles); /* `slice`, and what else stands before main */
    void (*print_zeros)(GlslPrinter *printer, const Tiles *tiles);
    void (*print_slice_and_multiply)(GlslPrinter *printer, const Tiles *tiles); /* the slice from k0 on */
    /* Results go through shared memory in so many parts: what puts `part` there, and number `i` of it as m, n and s0. */
    int (*parts)(const Tiles *tiles);
    int (*part_size)(const Tiles *tiles);
    void (*print_hand_over)(GlslPrinter *printer, const Tiles *tiles);
    void (*print_place)(GlslPrinter *printer, const Tiles *tiles);
} TileMethod;

struct Tiles {
    const TileMethod *method;
    const Kernel *kernel;
    const KStage *stage;
    Contraction roles;
    int64_t m, n, k, batch;
    int threads;        /* of a workgroup */
    int slice;          /* points of k */
    int unit_m, unit_n; /* results of all threads or subgroups together, if each has one number or one matrix */
    int rows, columns;  /* numbers of a thread, matrices of a subgroup */
    int height, width;  /* results of a tile */
    int64_t pieces;     /* of k, each a tile's */
};

/* An operand while a tile is computed; its elements are found at NAME_first + of_SIDE[side] + NAME_of_k[k]. */
typedef struct Operand {
    const KInst *load;
    char name, side; /* 'a' and 'm', 'b' and 'n' */
    int extent;      /* of a tile along the side */
    bool along_k;    /* elements that follow each other along k lie closer than those along the side */
    int run;         /* so many that follow each other in that direction are 16 bytes, and lie like those; or 1 */
} Operand;

Operand tiles_operand(const Tiles *tiles, char name);
const char *tiles_place(GlslPrinter *printer, const Operand *operand, const char *k); /* of element `side`, `k` */
/* `value`, but `zero` where k is past the end. */
const char *tiles_guarded(GlslPrinter *printer, const Tiles *tiles, const char *k, const char *value, const char *zero);

/* ---- ways: each says what a tile is made of ---- */

void numbers_suit(Tiles *tiles);
/* False: the device has no matrices, or they do not suit these numbers. */
bool matrices_fit(const Device *device, Tiles *tiles);

#endif
