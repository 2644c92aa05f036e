/* How a kernel is shared out: its phases, each a shader, one behind the other (schedule.c).
 *
 *   kernel  outer a0:64  stage 0: 8 sums of 3,136 into a local     one phase of rows        64 workgroups, or
 *                        stage 1: 25,088 points that read it       a phase of sums          512 workgroups
 *                                                                  and one of points        a thread for four
 *
 * Shaders have these numbers at hand: `lot`, which of the outer points of a turn it is, and a0, a1.., the point. */
#ifndef CM_BACKENDS_VULKAN_SCHEDULE_H
#define CM_BACKENDS_VULKAN_SCHEDULE_H

#include "backends/vulkan/sizes.h"
#include "backends/vulkan/tiling.h"

typedef enum PhaseKind {
    PHASE_POINTS,   /* a thread for a point of a stage's map axes, or for a few */
    PHASE_SUMS,     /* a workgroup for each point, whose threads share out the points of the reduction */
    PHASE_TILES,    /* a workgroup for each tile of a contraction's results (tiles.c) */
    PHASE_MATRICES, /* the same, with cooperative matrices */
    PHASE_ZEROS,    /* a thread for each element of the copies that pieces of additions go to */
    PHASE_ROWS,     /* a workgroup for each point of the outer axes, for all stages: locals lie in shared memory */
} PhaseKind;

/* What a phase does of its stage, where sums, or additions that follow each other, are made in pieces: each piece has a thread
 * or workgroup of its own, and what it comes to lies in scratch. */
typedef enum PhaseRole {
    ROLE_WHOLE,  /* everything: there are no pieces */
    ROLE_PIECES, /* makes them */
    ROLE_JOIN,   /* puts them together, and goes on with the sums */
    ROLE_BEFORE, /* of a scan: puts what comes before each piece in its place */
    ROLE_RESUME, /* of a scan: goes through each piece again, from there on */
} PhaseRole;

struct Phase {
    PhaseKind kind;
    PhaseRole role;
    int stage;          /* but of ROWS */
    int64_t points;     /* of a turn: of the stage, tiles of them, rows, or elements of copies */
    int64_t pieces;     /* of each point's sums or additions, in all phases of the stage; 1: there are none */
    int64_t groups;     /* workgroups of a dispatch */
    int threads;        /* of a workgroup */
    int each;           /* POINTS: so many for a thread, each a workgroup's width behind the one before */
    const Tiles *tiles; /* TILES, MATRICES */
};

struct Schedule {
    const Kernel *kernel; /* with as few axes as can be: what phases are of */
    LIST(Phase) phases;
    int64_t lots;      /* outer points that the phases go through at once */
    int64_t turns;     /* so often, until they have gone through all */
    int64_t lot_bytes; /* of the locals of an outer point, in scratch; 0: they are shared, or there are none */
    int64_t pieces_at; /* in scratch, where what pieces come to lies: [accumulator][piece][point], or [piece][element] */
    int64_t scratch_bytes;
};

const Schedule *schedule_kernel(Arena *arena, const Device *device, const Kernel *kernel);
bool schedule_is_countable(const Schedule *schedule); /* shaders can number all its points, terms and pieces */

/* ---- what phases and their printers ask ---- */

/* Whether the threads of a workgroup share out each sum of a stage, in a phase of rows. */
bool schedule_row_sums(const Device *device, const Kernel *kernel, const KStage *stage);
int64_t schedule_piece_bytes(const Phase *phase, int64_t points); /* of one accumulator, for so many points */

#endif
