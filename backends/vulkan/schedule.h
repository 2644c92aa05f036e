/* How a kernel is shared out: its phases, each a shader, one behind the other (schedule.c).
 *
 *   kernel  outer a0:64  stage 0: 8 sums of 3,136 into a local     one phase of rows        64 workgroups, or
 *                        stage 1: 25,088 points that read it       a phase of sums          512 workgroups
 *                                                                  and one of points        a thread for four
 *
 * Shaders have these numbers at hand: `lot`, which of the outer points of a turn it is, and a0, a1.., the point. */
#ifndef CM_BACKENDS_VULKAN_SCHEDULE_H
#define CM_BACKENDS_VULKAN_SCHEDULE_H

#include "backends/vulkan/vulkan_internal.h"

enum {
    GROUP_THREADS = 64,  /* threads of a workgroup that works together */
    POINT_THREADS = 128, /* of one whose threads do not: as many as every device can have */
    MOST_SHARED = 16384, /* bytes of shared memory that every device has */
};

/* What it takes to keep a device at work, and what is worth a phase.  Tests have smaller ones. */
struct Sizes {
    int64_t many_lots;    /* outer points that keep a device at work with a workgroup each */
    int64_t little_work;  /* points of all stages together that one workgroup goes through soon enough */
    int64_t most_locals;  /* bytes of scratch for locals, unless those of a single point are longer */
    int64_t shared_terms; /* of a sum that the threads of a workgroup share out, at least */
    int64_t many_groups;  /* workgroups that share out sums, and */
    int64_t group_terms;  /* terms that each should have at least, if sums are made in pieces */
    int64_t many_threads; /* threads that have a sum or a piece of one each, and */
    int64_t thread_terms; /* terms that each should have at least */
    int64_t few_points;   /* neighbours read together: fewer are too few for a thread each */
    int64_t many_tiles;   /* of contractions; where there are fewer, sums are made in pieces, or tiles are smaller */
    int64_t tile_terms;   /* terms of a piece, at least */
    int64_t tile_work;    /* multiplications that are worth tiles */
    int64_t most_copies;  /* bytes of copies that pieces of additions go to */
    int64_t many_points;  /* so many keep a device at work though threads have several */
};
extern const Sizes schedule_sizes;

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
    int stage;      /* but of ROWS */
    int64_t points; /* of a turn: of the stage, tiles of them, or rows */
    int64_t pieces; /* of each point's sums or additions, in all phases of the stage; 1: there are none */
    int64_t groups; /* workgroups of a dispatch */
    int threads;    /* of a workgroup */
    int each;       /* POINTS: so many for a thread, each a workgroup's width behind the one before */
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
/* A stage by tiles, if it is a contraction and large enough (tiles.c). */
bool tiles_choose(const Device *device, const Kernel *kernel, int stage, int64_t lots, Phase *phase);

/* ---- what phases and their printers ask ---- */

const KAxis *schedule_axis(const Kernel *kernel, const KStage *stage, int axis);
typedef bool AxisTest(const Kernel *kernel, const KStage *stage, int axis);
AxisTest schedule_shares_out; /* its points may be computed at the same time */
AxisTest schedule_sums;       /* it is reduced */
AxisTest schedule_scans;      /* it is gone along with a sum at each point */
AxisTest schedule_follows;    /* its points follow each other, as they may add to the same place */
/* The points of the axes from `first` on that are wanted. */
int64_t schedule_count(const Kernel *kernel, const KStage *stage, int first, AxisTest *wanted);
int64_t schedule_terms(const Kernel *kernel, const KStage *stage);      /* of each sum */
int64_t schedule_own_points(const Kernel *kernel, const KStage *stage); /* for each outer point */
bool schedule_has_locals(const Kernel *kernel);
int64_t schedule_local_bytes(const KBuffer *buffer);
bool schedule_joinable(const KStage *stage); /* it has sums that can be made in pieces */
/* Whether the threads of a workgroup share out each sum of a stage that has so many points. */
bool schedule_shares_terms(const Device *device, const Kernel *kernel, const KStage *stage, int64_t points);
/* As many as are wanted, if each has so many terms. */
int64_t schedule_pieces(int64_t wanted, int64_t terms, int64_t least_terms);
const KStore *schedule_addition(const KStage *stage); /* the store that adds; or null */
int64_t schedule_piece_bytes(const Phase *phase, int64_t points); /* of one accumulator, for so many points */

#endif
