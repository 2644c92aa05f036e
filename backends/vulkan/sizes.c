/* What keeps most devices at work. */
#include "backends/vulkan/sizes.h"

const Sizes device_sizes = {
    .many_lots = 1024,
    .little_work = 4096,
    .most_locals = 4 << 20,
    .shared_terms = 2 * GROUP_THREADS,
    .many_groups = 1024,
    .group_terms = 512,
    .many_threads = 1 << 15,
    .thread_terms = 32,
    .few_points = 16,
    .many_tiles = 128,
    .tile_terms = 256,
    .tile_work = 1 << 15,
    .most_copies = 16 << 20,
    .many_points = 1 << 18,
};

enum { FEW_PIECES = 4 };

int64_t sizes_pieces(int64_t wanted, int64_t terms, int64_t least_terms)
{
    int64_t most = terms / least_terms, pieces = wanted < most ? wanted : most;
    return pieces >= FEW_PIECES ? pieces : 1;
}
