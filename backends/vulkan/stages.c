/* What stages are made of. */
#include "backends/vulkan/stages.h"

const KAxis *stage_axis(const Kernel *kernel, const KStage *stage, int axis)
{
    return axis < kernel->outer.count ? &kernel->outer.items[axis] : &stage->axes.items[axis - kernel->outer.count];
}

const KStore *stage_addition(const KStage *stage)
{
    for (int i = 0; i < stage->stores.count; i++)
        if (stage->stores.items[i].add)
            return &stage->stores.items[i];
    return NULL;
}

/* Along an axis that the place of an addition does not name, points follow each other. */
bool stage_shares_out(const Kernel *kernel, const KStage *stage, int axis)
{
    int outer = kernel->outer.count;
    if (axis >= outer && stage->axes.items[axis - outer].kind != K_MAP)
        return false;
    for (int i = 0; i < stage->stores.count; i++)
        if (stage->stores.items[i].add && !stage->stores.items[i].index.coef[axis])
            return false;
    return true;
}

bool stage_follows(const Kernel *kernel, const KStage *stage, int axis)
{
    return stage_axis(kernel, stage, axis)->kind == K_MAP && !stage_shares_out(kernel, stage, axis);
}

bool stage_sums(const Kernel *kernel, const KStage *stage, int axis)
{
    return axis >= kernel->outer.count && stage_axis(kernel, stage, axis)->kind == K_REDUCE;
}

bool stage_scans(const Kernel *kernel, const KStage *stage, int axis)
{
    return axis >= kernel->outer.count && stage_axis(kernel, stage, axis)->kind == K_SCAN;
}

int stage_axes(const Kernel *kernel, const KStage *stage, int first, AxisTest *wanted, int *axes)
{
    int count = 0;
    for (int axis = first; axis < kernel->outer.count + stage->axes.count; axis++)
        if (wanted(kernel, stage, axis))
            axes[count++] = axis;
    return count;
}

int64_t stage_count(const Kernel *kernel, const KStage *stage, int first, AxisTest *wanted)
{
    int axes[K_MAX_AXES], count = stage_axes(kernel, stage, first, wanted, axes);
    int64_t points = 1;
    for (int i = 0; i < count; i++)
        points *= stage_axis(kernel, stage, axes[i])->extent;
    return points;
}

int64_t stage_terms(const Kernel *kernel, const KStage *stage)
{
    return stage_count(kernel, stage, kernel->outer.count, stage_sums);
}

int64_t stage_points(const Kernel *kernel, const KStage *stage)
{
    return stage_count(kernel, stage, kernel->outer.count, stage_shares_out);
}

bool stage_is_scan(const KStage *stage)
{
    for (int i = 0; i < stage->axes.count; i++)
        if (stage->axes.items[i].kind == K_SCAN)
            return true;
    return false;
}

bool stage_is_joinable(const KStage *stage)
{
    return stage->accs.count && !stage_is_scan(stage) && !stage_addition(stage);
}

bool kernel_has_locals(const Kernel *kernel)
{
    for (int i = 0; i < kernel->buffers.count; i++)
        if (kernel->buffers.items[i].kind == K_LOCAL)
            return true;
    return false;
}

int kernel_argument_count(const Kernel *kernel)
{
    int count = 0;
    for (int i = 0; i < kernel->buffers.count; i++)
        count += kernel->buffers.items[i].kind != K_LOCAL;
    return count;
}

/* In scratch; whatever reads 16 bytes at once finds a local at a multiple of them. */
int64_t local_bytes(const KBuffer *buffer)
{
    return rounded_up(buffer->count * dtype_size(buffer->dtype), 16);
}

const char *span_located(Arena *arena, Span span, const char *reason)
{
    return span.source ? arena_printf(arena, "%s:%d: %s", span.source->name, span_position(span).line, reason) : reason;
}
