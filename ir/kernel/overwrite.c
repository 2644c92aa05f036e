/* Kernel IR: which results may be written over arguments. */
#include "ir/kernel/kernel.h"

#include <stdlib.h>

/* Axes as digits of a place: their coefficients and extents. */
typedef struct Digits {
    int64_t coef[K_MAX_AXES], extent[K_MAX_AXES];
    int count;
} Digits;

static void add_digits(Digits *digits, const Affine *index, int first, const KAxis *axes, int count)
{
    for (int i = 0; i < count; i++) {
        if (axes[i].kind == K_REDUCE || axes[i].extent == 1)
            continue;
        int at = digits->count++;
        for (; at > 0 && digits->coef[at - 1] > llabs(index->coef[first + i]); at--) {
            digits->coef[at] = digits->coef[at - 1];
            digits->extent[at] = digits->extent[at - 1];
        }
        digits->coef[at] = llabs(index->coef[first + i]);
        digits->extent[at] = axes[i].extent;
    }
}

/* Whether pieces of `span` elements at all values of the digits have none in common: a larger digit steps over all that
 * smaller ones reach. */
static bool are_apart(const Digits *digits, int64_t span)
{
    for (int i = 0; i < digits->count; i++) {
        if (digits->coef[i] < span)
            return false;
        span += digits->coef[i] * (digits->extent[i] - 1);
    }
    return true;
}

static bool index_equal(const Affine *a, const Affine *b)
{
    for (int i = 0; i < K_MAX_AXES; i++)
        if (a->coef[i] != b->coef[i])
            return false;
    return a->offset == b->offset;
}

/* Elements between the first and the last that the stage reaches at one outer point. */
static void widen(const Kernel *kernel, const KStage *stage, const Affine *index, int64_t *first, int64_t *last)
{
    int64_t least = index->offset, most = index->offset;
    for (int i = 0; i < stage->axes.count; i++) {
        int64_t reach = index->coef[kernel->outer.count + i] * (stage->axes.items[i].extent - 1);
        least += reach < 0 ? reach : 0;
        most += reach > 0 ? reach : 0;
    }
    *first = least < *first ? least : *first;
    *last = most > *last ? most : *last;
}

typedef struct Overwrite {
    const Kernel *kernel;
    int from, to; /* buffers: what is read, and what is written over it */
    int writer;   /* the stage that stores, once for all points */
    const KStore *store;
} Overwrite;

/* Of all stages before the writer, those that read at other outer points would see what was written there. */
static bool stays_in_row(const Overwrite *over, const KStage *stage, const KInst *load)
{
    const Kernel *kernel = over->kernel;
    Digits outer = {0};
    add_digits(&outer, &over->store->index, 0, kernel->outer.items, kernel->outer.count);
    if (!outer.count)
        return true;
    if (load->arg[0] >= 0)
        return false;
    for (int i = 0; i < kernel->outer.count; i++)
        if (load->index.coef[i] != over->store->index.coef[i])
            return false;
    int64_t first = INT64_MAX, last = INT64_MIN;
    widen(kernel, stage, &load->index, &first, &last);
    widen(kernel, &kernel->stages.items[over->writer], &over->store->index, &first, &last);
    return are_apart(&outer, last - first + 1);
}

/* Operands of a contraction are read by tiles, and read again. */
static bool is_read_in_time(const Overwrite *over, int number, KRef ref)
{
    const KStage *stage = &over->kernel->stages.items[number];
    const KInst *load = &stage->insts.items[ref];
    if (number != over->writer)
        return number < over->writer && stays_in_row(over, stage, load);
    bool by_tiles = stage->kind == K_STAGE_CONTRACT && ref < stage->body_count;
    return !by_tiles && load->arg[0] < 0 && index_equal(&load->index, &over->store->index);
}

static bool reads_are_in_time(const Overwrite *over)
{
    for (int i = 0; i < over->kernel->stages.count; i++) {
        const KStage *stage = &over->kernel->stages.items[i];
        for (KRef ref = 0; ref < stage->insts.count; ref++) {
            const KInst *inst = &stage->insts.items[ref];
            if (inst->op == K_load && inst->buffer == over->from && !is_read_in_time(over, i, ref))
                return false;
            if (inst->op == K_load && inst->buffer == over->to && i <= over->writer)
                return false;
        }
    }
    return true;
}

static bool find_store(Overwrite *over)
{
    for (int i = 0; i < over->kernel->stages.count; i++) {
        const KStage *stage = &over->kernel->stages.items[i];
        for (int j = 0; j < stage->stores.count; j++) {
            if (stage->stores.items[j].buffer != over->to)
                continue;
            if (over->store)
                return false;
            over->writer = i;
            over->store = &stage->stores.items[j];
        }
    }
    return over->store && !over->store->add && over->store->dynamic < 0 && over->store->guard < 0;
}

bool kernel_may_overwrite(const Kernel *kernel, int from, int to)
{
    const KBuffer *source = &kernel->buffers.items[from], *target = &kernel->buffers.items[to];
    if (source->kind != K_IN || (target->kind != K_OUT && target->kind != K_INOUT) || source->dtype != target->dtype ||
        source->count != target->count)
        return false;
    Overwrite over = {.kernel = kernel, .from = from, .to = to};
    if (!find_store(&over))
        return false;
    const KStage *writer = &kernel->stages.items[over.writer];
    Digits points = {0};
    add_digits(&points, &over.store->index, 0, kernel->outer.items, kernel->outer.count);
    add_digits(&points, &over.store->index, kernel->outer.count, writer->axes.items, writer->axes.count);
    return are_apart(&points, 1) && reads_are_in_time(&over);
}
