/* What it takes to keep a device at work, by which kernels are shared out (schedule.h, tiling.h). */
#ifndef CM_BACKENDS_VULKAN_SIZES_H
#define CM_BACKENDS_VULKAN_SIZES_H

#include "backends/vulkan/vulkan_internal.h"

enum {
    GROUP_THREADS = 64,  /* threads of a workgroup that works together */
    POINT_THREADS = 128, /* of one whose threads do not: as many as every device can have */
    MOST_SHARED = 16384, /* bytes of shared memory that every device has */
};

/* Tests have smaller ones. */
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
extern const Sizes device_sizes;

/* As many pieces as are wanted, if each has so many terms; 1: too few to be worth another phase. */
int64_t sizes_pieces(int64_t wanted, int64_t terms, int64_t least_terms);

#endif
