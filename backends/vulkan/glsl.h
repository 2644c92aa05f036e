/* Printing phases of kernels as GLSL.  phases.c prints shaders, and calls sums.c, scans.c, additions.c and tiles.c for what is
 * in them; all of these print by what is in glsl.c, and that instructions by inst.c. */
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
bool glsl_has_piece(const GlslPrinter *printer); /* `piece` is which one a thread or workgroup is about */
/* for (int name = first; name < end; name += step), so often at most. */
void glsl_range(GlslPrinter *printer, const char *name, const char *first, const char *end, int64_t step, int64_t turns);
/* The same of numbers that are known, but for `first`, which is small. */
void glsl_loop(GlslPrinter *printer, const char *name, const char *first, int64_t end, int64_t step);
/* Along the wanted axes from `first` on; gives how many. */
int glsl_loops(GlslPrinter *printer, const KStage *stage, int first, AxisTest *wanted);
/* How long each piece of a loop from 0 to `end` is, in whole steps; the last ones are shorter.  All of it, but in a phase that
 * has pieces. */
int64_t glsl_piece_length(const GlslPrinter *printer, int64_t end, int64_t step);
/* The turns of a loop from 0 to `end` that are those of `piece`. */
void glsl_piece_loop(GlslPrinter *printer, const char *name, int64_t end);
void glsl_close(GlslPrinter *printer);

/* Axes as digits of `number`, the last one the fastest: those from `first` on that are wanted; or these, if that is all that
 * the number is made of; or the outer ones. */
void glsl_digits(GlslPrinter *printer, const KStage *stage, int first, AxisTest *wanted, const char *number);
void glsl_digits_of(GlslPrinter *printer, const KStage *stage, const int *axes, int count, const char *number);
void glsl_outer_digits(GlslPrinter *printer, const char *number);
/* The lot with this number, its point along the outer axes, and where its locals lie; leaves if there is none in this turn. */
void glsl_lot(GlslPrinter *printer, const char *number);
unsigned char glsl_window(const GlslPrinter *printer, int argument); /* that show it */
unsigned char glsl_scratch_window(const GlslPrinter *printer);       /* one */
const char *glsl_scratch_base(const GlslPrinter *printer);           /* in bytes from its window on */

void glsl_insts(GlslPrinter *printer, const KStage *stage, int first, int end); /* as v<first>.. */

/* Accumulator i is s<i>. */
const char *glsl_acc_type(const KAcc *acc);
void glsl_identities(GlslPrinter *printer, const KStage *stage);
void glsl_combine(GlslPrinter *printer, const KAcc *acc, const char *into, const char *value);
/* The body at the point a0, a1.., and its values into the accumulators, if the guard, which may be null, holds. */
void glsl_accumulate(GlslPrinter *printer, const KStage *stage, const char *guard);
void glsl_tail(GlslPrinter *printer, const KStage *stage); /* instructions and stores behind the sums */

const char *glsl_type(DType dtype);
/* Instruction `ref` of a stage as an expression over axes a0.., values v0.. and bases b0.. . */
void glsl_inst(const Kernel *kernel, const KStage *stage, KRef ref, Text *out);
void glsl_affine(const Affine *affine, Text *out);
void glsl_constant(DType dtype, double real, int64_t integer, Text *out);

/* ---- sums.c ---- */

void sums_print_shared(GlslPrinter *printer, int stage); /* what stands before main */
/* All terms of one sum, by the threads of a workgroup; then the first of them finishes. */
void sums_print(GlslPrinter *printer, int stage);
/* Terms of a sum, of the present piece, or what all its pieces came to, into the accumulators: from the one that is `ahead` on,
 * one every `step`. */
void sums_print_terms(GlslPrinter *printer, const KStage *stage, const char *ahead, int step);
/* What is behind the sums; or, of a phase that makes pieces, that it is kept what they come to. */
void sums_finish(GlslPrinter *printer, const KStage *stage);
/* The numbers NAME0, NAME1.. , one for each accumulator, as what `piece` of `point` came to; and these, into accumulators. */
void sums_keep_piece(GlslPrinter *printer, const KStage *stage, const char *name);
void sums_accumulate_piece(GlslPrinter *printer, const KStage *stage);

/* ---- scans.c ---- */

/* `piece` of `point`: what it comes to; or, from what comes before it on, all that is behind the sums at each of its points. */
void scans_print(GlslPrinter *printer, const KStage *stage);
void scans_print_before(GlslPrinter *printer, const KStage *stage); /* each piece of `point`, in its place */

/* ---- additions.c ---- */

void additions_print_zeros(GlslPrinter *printer);                       /* element `number` of all copies */
void additions_print(GlslPrinter *printer, const KStage *stage);        /* of `piece` at `point`, to its copy */
void additions_print_joined(GlslPrinter *printer, const KStage *stage); /* to element `number` of what is added to */

/* ---- tiles.c ---- */

void tiles_print_functions(GlslPrinter *printer); /* and shared memory: what stands before main */
void tiles_print(GlslPrinter *printer);

/* ---- matrices.c ---- */

const char *matrices_extensions(const Device *device); /* what a shader asks for that has them */

#endif
