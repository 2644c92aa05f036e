/* Checkpoints: what is saved, and an exact account of what does not fit when one is loaded. */
#include "runtime/checkpoint.h"
#include "runtime/format.h"
#include "runtime/problems.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { INFO_KEYS = 4 };
static const char *const info_keys[INFO_KEYS] = {"cm.step", "cm.seed", "cm.batch", "cm.program"};
static const char checksum_key[] = "cm.checksum";

/* Of names and data, whatever their order. */
static const char *checksum_of(Arena *arena, const Array *arrays, int count)
{
    uint64_t sum = 0;
    for (int i = 0; i < count; i++)
        sum += hash_bytes(arrays[i].data, array_bytes(&arrays[i]), hash_bytes(arrays[i].name, strlen(arrays[i].name), 1));
    return arena_printf(arena, "%016llx", (unsigned long long)sum);
}

const char *checkpoint_save(Arena *arena, const char *path, const CheckpointInfo *info, const Array *arrays, int count)
{
    if (!info)
        return safetensors_write(arena, path, arrays, count, NULL, 0);
    const TextPair pairs[] = {
        {info_keys[0], arena_printf(arena, "%lld", (long long)info->step)},
        {info_keys[1], arena_printf(arena, "%llu", (unsigned long long)info->seed)},
        {info_keys[2], arena_printf(arena, "%lld", (long long)info->batch)},
        {info_keys[3], arena_printf(arena, "%llu", (unsigned long long)info->program_hash)},
        {checksum_key, checksum_of(arena, arrays, count)},
    };
    return safetensors_write(arena, path, arrays, count, pairs, sizeof pairs / sizeof *pairs);
}

static bool read_info(const SafeTensors *file, CheckpointInfo *info)
{
    uint64_t number[INFO_KEYS];
    for (int i = 0; i < INFO_KEYS; i++) {
        const char *text = safetensors_metadata(file, info_keys[i]);
        char *end;
        if (!text || *text < '0' || *text > '9')
            return false;
        errno = 0;
        number[i] = strtoull(text, &end, 10);
        if (errno || *end)
            return false;
    }
    *info = (CheckpointInfo){(int64_t)number[0], number[1], (int64_t)number[2], number[3]};
    return info->step >= 0 && info->batch >= 0;
}

/* Files of an earlier version have no checksum. */
static bool is_undamaged(Arena *arena, const SafeTensors *file)
{
    const char *written = safetensors_metadata(file, checksum_key);
    return !written || !strcmp(written, checksum_of(arena, file->arrays.items, file->arrays.count));
}

/* ---- what does not fit ---- */

static Table index_arrays(Arena *arena, const Array *arrays, int count)
{
    Table table = table_new(arena);
    for (int i = 0; i < count; i++)
        table_put(&table, arrays[i].name, (void *)&arrays[i]);
    return table;
}

static void find_unfulfilled(Arena *arena, Problems *problems, const Table *held, const Table *foreign, const Array *arrays,
                             int count)
{
    for (int i = 0; i < count; i++) {
        const Array *found = table_get(held, arrays[i].name);
        const char *wanted = array_type_text(arena, &arrays[i].type);
        const char *foreign_type = table_get(foreign, arrays[i].name);
        if (found && !ir_type_equal(&found->type, &arrays[i].type))
            problems_add(problems, "wrong type", arrays[i].name,
                         arena_printf(arena, "is %s there, %s here", array_type_text(arena, &found->type), wanted));
        else if (!found && foreign_type)
            problems_add(problems, "wrong type", arrays[i].name,
                         arena_printf(arena, "is %s there, which cm lacks, and %s here", foreign_type, wanted));
        else if (!found)
            problems_add(problems, "missing", arrays[i].name, wanted);
    }
}

static void find_unexpected(Arena *arena, Problems *problems, const Table *expected, const SafeTensors *file)
{
    for (int i = 0; i < file->arrays.count; i++) {
        const Array *array = &file->arrays.items[i];
        if (!table_get(expected, array->name))
            problems_add(problems, "unexpected", array->name, array_type_text(arena, &array->type));
    }
    for (int i = 0; i < file->foreign.count; i++)
        if (!table_get(expected, file->foreign.items[i].key))
            problems_add(problems, "unexpected", file->foreign.items[i].key, "");
}

static const char *load_arrays(Arena *arena, const char *path, const SafeTensors *file, const Array *arrays, int count,
                               bool allow_more)
{
    Problems problems = problems_new(arena);
    Table held = index_arrays(arena, file->arrays.items, file->arrays.count), foreign = table_new(arena);
    for (int i = 0; i < file->foreign.count; i++)
        table_put(&foreign, file->foreign.items[i].key, (void *)file->foreign.items[i].value);
    find_unfulfilled(arena, &problems, &held, &foreign, arrays, count);
    if (!allow_more) {
        Table expected = index_arrays(arena, arrays, count);
        find_unexpected(arena, &problems, &expected, file);
    }
    const char *reason = problems_text(&problems, arena_printf(arena, "'%s' does not fit this program", path));
    for (int i = 0; !reason && i < count; i++) {
        const Array *found = table_get(&held, arrays[i].name);
        if (array_bytes(found))
            memcpy(arrays[i].data, found->data, array_bytes(found));
    }
    return reason;
}

const char *checkpoint_load(Arena *arena, const char *path, CheckpointInfo *info, const Array *arrays, int count,
                            bool allow_more)
{
    ArenaMark mark = arena_mark(arena);
    SafeTensors file;
    CheckpointInfo found;
    const char *reason = safetensors_read(arena, path, &file);
    if (!reason && info && !read_info(&file, &found))
        reason = arena_printf(
            arena, "'%s' is not a checkpoint of a run: its metadata does not say step, seed, batch and program", path);
    if (!reason && info && !is_undamaged(arena, &file))
        reason = arena_printf(arena, "'%s' is damaged: its data are not those that were written", path);
    if (!reason)
        reason = load_arrays(arena, path, &file, arrays, count, allow_more);
    if (reason)
        return reason;
    if (info)
        *info = found;
    arena_rewind(arena, mark);
    return NULL;
}
