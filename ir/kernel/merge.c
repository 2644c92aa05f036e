/* Kernel IR: axes that every access steps through as one become one. */
#include "ir/kernel/kernel.h"

void kstage_own(Arena *arena, KStage *stage)
{
    stage->axes.items = arena_copy(arena, stage->axes.items, (size_t)stage->axes.count * sizeof *stage->axes.items);
    stage->insts.items = arena_copy(arena, stage->insts.items, (size_t)stage->insts.count * sizeof *stage->insts.items);
    stage->stores.items = arena_copy(arena, stage->stores.items, (size_t)stage->stores.count * sizeof *stage->stores.items);
    stage->axes.capacity = stage->axes.count;
    stage->insts.capacity = stage->insts.count;
    stage->stores.capacity = stage->stores.count;
}

/* Calls `visit` for each affine form of the stage. */
typedef bool AffineVisit(Affine *affine, int a, int b, int64_t extent);
static bool each_affine(KStage *stage, AffineVisit *visit, int a, int b, int64_t extent)
{
    for (int i = 0; i < stage->insts.count; i++) {
        KInst *inst = &stage->insts.items[i];
        if ((inst->op == K_load || inst->op == K_axis) && !visit(&inst->index, a, b, extent))
            return false;
    }
    for (int i = 0; i < stage->stores.count; i++)
        if (!visit(&stage->stores.items[i].index, a, b, extent))
            return false;
    return true;
}

static bool steps_as_one(Affine *affine, int outer, int inner, int64_t extent)
{
    return affine->coef[outer] == affine->coef[inner] * extent;
}

static bool shift_axes(Affine *affine, int axis, int last, int64_t unused)
{
    (void)unused;
    for (int i = axis; i < last; i++)
        affine->coef[i] = affine->coef[i + 1];
    affine->coef[last] = 0;
    return true;
}

static void drop_axis(const Kernel *kernel, KStage *stage, int axis)
{
    int base = kernel->outer.count, last = base + stage->axes.count - 1;
    each_affine(stage, shift_axes, axis, last, 0);
    for (int i = axis; i < last; i++)
        stage->axes.items[i - base] = stage->axes.items[i - base + 1];
    stage->axes.count--;
}

static bool join_one(const Kernel *kernel, KStage *stage)
{
    int base = kernel->outer.count;
    KAxis *axes = stage->axes.items;
    for (int i = 0; i < stage->axes.count; i++) {
        if (axes[i].extent == 1) {
            drop_axis(kernel, stage, base + i);
            return true;
        }
        for (int j = 0; j < stage->axes.count; j++) {
            if (i == j || axes[i].kind != axes[j].kind || axes[i].kind == K_SCAN)
                continue;
            if (!each_affine(stage, steps_as_one, base + i, base + j, axes[j].extent))
                continue;
            axes[j].extent *= axes[i].extent;
            drop_axis(kernel, stage, base + i);
            return true;
        }
    }
    return false;
}

void kernel_merge_axes(const Kernel *kernel, KStage *stage)
{
    while (join_one(kernel, stage)) {
    }
}
