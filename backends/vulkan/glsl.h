/* Printing a phase of a kernel as GLSL: glsl.c prints the shader and calls the others for what is in it; sums.c sums that
 * threads share out or make in pieces, tiles.c contractions by tiles, inst.c instructions. */
#ifndef CM_BACKENDS_VULKAN_GLSL_H
#define CM_BACKENDS_VULKAN_GLSL_H

#include "backends/vulkan/schedule.h"

enum { GLSL_MOST_DEPTH = 64 };

/* Lines are indented by depth. */
typedef struct GlslPrinter {
    Arena *arena;
    const Device *device;
    const Kernel *kernel;
    const unsigned char *window; /* by argument; or null */
    const Schedule *schedule;
    const Phase *phase;
    Text *out;
    int depth;
    double turns;                   /* of all loops together, of a thread */
    double around[GLSL_MOST_DEPTH]; /* by depth: turns of the loops around */
} GlslPrinter;

void glsl_line(GlslPrinter *printer, const char *format, ...) __attribute__((format(printf, 2, 3)));
void glsl_open(GlslPrinter *printer, const char *format, ...) __attribute__((format(printf, 2, 3))); /* a block */
/* for (int name = first; name < end; name += step), of which `first` is small. */
void glsl_loop(GlslPrinter *printer, const char *name, const char *first, int64_t end, int64_t step);
/* The piece number `piece` of such a loop from 0, of so many; each goes on by `step` from where it begins, behind `ahead`. */
void glsl_loop_of_piece(GlslPrinter *printer, const char *name, int64_t end, const char *ahead, int64_t step);
void glsl_close(GlslPrinter *printer);

/* The wanted axes from `first` on as digits of `number`, the last one the fastest. */
void glsl_digits(GlslPrinter *printer, const KStage *stage, int first, AxisTest *wanted, const char *number);
/* The lot with this number, its point along the outer axes, and where its locals lie; leaves if there is none in this turn. */
void glsl_lot(GlslPrinter *printer, const char *number);
int glsl_scratch_window(const GlslPrinter *printer);
const char *glsl_scratch_base(const GlslPrinter *printer); /* in bytes from its window on */

/* Accumulator i is s<i>. */
const char *glsl_acc_type(const KAcc *acc);
void glsl_identities(GlslPrinter *printer, const KStage *stage);
void glsl_combine(GlslPrinter *printer, const KAcc *acc, const char *into, const char *value);
/* The body at the point a0, a1.., and its values into the accumulators. */
void glsl_accumulate(GlslPrinter *printer, const KStage *stage);
/* What is behind the sums: instructions and stores; or, of a phase of pieces, where what they come to is kept. */
void glsl_finish(GlslPrinter *printer, const KStage *stage);

const char *glsl_type(DType dtype);
/* Instruction `ref` of a stage as an expression over axes a0.., values v0.. and bases b0.. . */
void glsl_inst(const Kernel *kernel, const KStage *stage, KRef ref, Text *out);
void glsl_affine(const Affine *affine, Text *out);
void glsl_constant(DType dtype, double real, int64_t integer, Text *out);

/* ---- sums.c ---- */

void sums_print_shared(GlslPrinter *printer, int stage); /* what stands before main */
/* All terms of one sum, by the threads of a workgroup; then the first of them finishes. */
void sums_print(GlslPrinter *printer, int stage);
/* What the present phase's pieces came to, `piece` of `point`, into the accumulators. */
void sums_accumulate_pieces(GlslPrinter *printer, const KStage *stage);
void sums_keep_pieces(GlslPrinter *printer, const KStage *stage);

/* ---- tiles.c ---- */

void tiles_print_shared(GlslPrinter *printer);
void tiles_print(GlslPrinter *printer);
const char *matrices_extensions(const Device *device); /* what a shader asks for that has them */

#endif
