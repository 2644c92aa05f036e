/* Machine code in the cache: of a kernel for a CPU, with its shape before it. */
#include "backends/cpu/cpu_internal.h"

#include "base/cache.h"

#include <string.h>

typedef struct Shape { /* what comes before the code */
    uint64_t outline;  /* a second look at the kernel, independent of its hash */
    CpuKernel kernel;
} Shape;

uint64_t object_key(const CpuTarget *target, const Kernel *kernel)
{
    uint64_t facts[3] = {kernel_hash(kernel), target->hash, 0};
    unsigned major, minor, patch;
    LLVMGetVersion(&major, &minor, &patch);
    facts[2] = (uint64_t)major << 32 | minor << 16 | patch;
    return cache_key(facts, sizeof facts);
}

static uint64_t outline_of(const Kernel *kernel)
{
    uint64_t facts[8] = {kernel->buffers.count, kernel->outer.count, kernel->stages.count, kernel_points(kernel)};
    for (int i = 0; i < kernel->stages.count; i++) {
        const KStage *stage = &kernel->stages.items[i];
        facts[4] = 31 * facts[4] + stage->insts.count;
        facts[5] = 31 * facts[5] + stage->stores.count;
        for (int a = 0; a < stage->axes.count; a++)
            facts[6] = 31 * facts[6] + stage->axes.items[a].extent;
    }
    for (int i = 0; i < kernel->buffers.count; i++)
        facts[7] = 31 * facts[7] + kernel->buffers.items[i].count;
    return hash_bytes(facts, sizeof facts, 9);
}

bool object_read(Arena *arena, const char *directory, uint64_t key, const Kernel *kernel, CpuObject *object)
{
    Bytes content;
    Shape shape;
    if (!cache_read(arena, directory, key, &content) || content.size < sizeof shape)
        return false;
    memcpy(&shape, content.data, sizeof shape);
    if (shape.outline != outline_of(kernel) || shape.kernel.phase_count < 0 || shape.kernel.phase_count > CPU_MAX_PHASES)
        return false;
    for (int i = 0; i < CPU_MAX_PHASES; i++)
        shape.kernel.phases[i].entry = NULL;
    *object = (CpuObject){.shape = shape.kernel, .bytes = content.data + sizeof shape, .size = content.size - sizeof shape};
    return true;
}

const char *object_write(Arena *arena, const char *directory, uint64_t key, const Kernel *kernel, const CpuObject *object)
{
    Shape shape = {.outline = outline_of(kernel), .kernel = object->shape};
    Bytes content = {arena_alloc(arena, sizeof shape + object->size), sizeof shape + object->size};
    memcpy(content.data, &shape, sizeof shape);
    memcpy(content.data + sizeof shape, object->bytes, object->size);
    return cache_write(arena, directory, key, content);
}
