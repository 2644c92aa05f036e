/* What the two ways to multiply tiles share: with numbers that threads keep (numbers.c), with matrices that subgroups keep
 * (matrices.c).  tiles.c goes through the tiles, operands.c knows where elements lie. */
#ifndef CM_BACKENDS_VULKAN_TILES_H
#define CM_BACKENDS_VULKAN_TILES_H

#include "backends/vulkan/glsl.h"

typedef struct Operand Operand;

typedef struct TileMethod {
    void (*print_shared)(GlslPrinter *printer, const Tiles *tiles); /* `slice`, and what else stands before main */
    void (*print_zeros)(GlslPrinter *printer, const Tiles *tiles);
    /* A unit is what a thread reads of an operand at once: so many elements along k and along the side, of which it holds some
     * values, from when they are fetched, of the slice at `next`, until that can be written.  `unit`: which one of a thread. */
    void (*size_unit)(const Operand *operand, int *along_k, int *along_side);
    void (*print_held)(GlslPrinter *printer, const Operand *operand, int unit);
    void (*print_fetch)(GlslPrinter *printer, const Tiles *tiles, const Operand *operand, int unit);
    void (*print_keep)(GlslPrinter *printer, const Tiles *tiles, const Operand *operand, int unit);
    void (*print_multiply)(GlslPrinter *printer, const Tiles *tiles);
    /* Results go through shared memory in so many parts: what puts `part` there, and number `i` of it as m, n and s0. */
    int (*parts)(const Tiles *tiles);
    int (*part_size)(const Tiles *tiles);
    void (*print_hand_over)(GlslPrinter *printer, const Tiles *tiles);
    void (*print_place)(GlslPrinter *printer, const Tiles *tiles);
} TileMethod;

/* An operand while a tile is computed.  Unit u of a thread begins at NAME_k<u> of the slice and NAME_side<u> of the tile; its
 * elements are found at NAME_at<u> + NAME_of_k(k). */
struct Operand {
    const KInst *load;
    char name, side; /* 'a' and 'm', 'b' and 'n' */
    int extent;      /* of a tile along the side */
    bool along_k;    /* elements that follow each other along k lie closer than those along the side */
    int run;         /* so many that follow each other in that direction are 16 bytes, and lie like those; or 1 */
};

Operand tiles_operand(const Tiles *tiles, char name);
/* What `get` reads of the operand's buffer, `ahead` behind the first k of a unit; or `zero` where that is past the end. */
const char *tiles_read(GlslPrinter *printer, const Tiles *tiles, const Operand *operand, int unit, int ahead, const char *get,
                       const char *zero);

extern const TileMethod numbers_method, matrices_method;

#endif
