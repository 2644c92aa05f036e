/* Data sets: finding, loading and checking the declared fields; the order of an epoch; batches ahead of their use. */
#include "runtime/dataset.h"
#include "base/file.h"
#include "runtime/format.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char system_folder[] = "/usr/share/datasets";
static const char *const source_names[] = {
    [DATA_idx] = "idx",
    [DATA_npy] = "npy",
    [DATA_npz] = "npz",
    [DATA_safetensors] = "safetensors",
    [DATA_png_folder] = "png_folder",
    [DATA_generate] = "generate",
};

/* ---- where a file is ---- */

typedef LIST(const char *) PathList;

static const char *find_along(Arena *arena, const char *places, const char *name)
{
    while (places && *places) {
        size_t length = strcspn(places, ":");
        const char *path = path_join(arena, arena_copy_text(arena, places, length), name);
        if (length && file_exists(path))
            return path;
        places += length + (places[length] == ':');
    }
    return NULL;
}

/* Debian's data packages have a folder each. */
static void collect_system_places(Arena *arena, DIR *folder, const char *name, PathList *found)
{
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        const char *path = arena_printf(arena, "%s/%s/%s", system_folder, entry->d_name, name);
        if (entry->d_name[0] != '.' && file_exists(path))
            list_push(arena, found, path);
    }
}

static const char *find_in_system(Arena *arena, const char *name, const char **reason)
{
    const char *direct = arena_printf(arena, "%s/%s", system_folder, name);
    if (file_exists(direct))
        return direct;
    PathList found = {0};
    DIR *folder = opendir(system_folder);
    if (folder) {
        Guard guard;
        guard_enter(&guard, arena);
        if (setjmp(guard.here)) {
            closedir(folder);
            guard_pass_on(&guard);
        }
        collect_system_places(arena, folder, name, &found);
        guard_leave(&guard);
        closedir(folder);
    }
    if (found.count == 1)
        return found.items[0];
    if (found.count > 1)
        *reason = arena_printf(arena, "'%s' is in several places: %s, %s; write the folder, too", name, found.items[0],
                               found.items[1]);
    return NULL;
}

const char *dataset_find(Arena *arena, const char *name, const DatasetOptions *options, const char **reason)
{
    *reason = NULL;
    const char *path = path_join(arena, options->directory ? options->directory : ".", name);
    if (file_exists(path))
        return path;
    const char *places = options->search_path ? options->search_path : getenv("CM_DATA_PATH");
    const char *found = name[0] == '/' ? NULL : find_along(arena, places, name);
    if (!found && name[0] != '/')
        found = find_in_system(arena, name, reason);
    if (!found && !*reason)
        *reason = name[0] == '/' ? arena_printf(arena, "there is no '%s'", name)
                                 : arena_printf(arena, "there is no '%s'%s%s, and none in %s or its folders", path,
                                                places && *places ? ", none along " : "", places ? places : "", system_folder);
    return found;
}

/* ---- loading and checking ---- */

static const char *read_field_file(Arena *arena, const DataField *field, const char *path, Array *out)
{
    switch (field->source) {
    case DATA_idx:
        return idx_read(arena, path, out);
    case DATA_npy:
        return npy_read(arena, path, out);
    case DATA_npz:
        return npz_read(arena, path, field->member, out);
    case DATA_safetensors:
        return safetensors_read_one(arena, path, field->member, out);
    case DATA_png_folder:
        return png_folder_read(arena, path, out);
    case DATA_generate:
        break;
    }
    return "not a source of files";
}

/* How messages call the field's source: npz("points.npz", "x"). */
static const char *source_text(Arena *arena, const DataField *field)
{
    if (field->source == DATA_generate)
        return arena_printf(arena, "generate(N = %lld)", (long long)field->count);
    if (field->source == DATA_npz || field->source == DATA_safetensors)
        return arena_printf(arena, "%s(\"%s\", \"%s\")", source_names[field->source], field->path, field->member);
    return arena_printf(arena, "%s(\"%s\")", source_names[field->source], field->path);
}

static const char *samples_text(Arena *arena, const IrType *sample)
{
    Text text = text_new(arena);
    text_printf(&text, "%s[N", dtype_name(sample->dtype));
    for (int axis = 0; axis < sample->rank; axis++)
        text_printf(&text, ",%lld", (long long)sample->dim[axis]);
    text_puts(&text, "]");
    return text.data;
}

/* A last axis of size 1 (the channel of a gray picture) may be left out of the declaration. */
static void drop_unit_channel(const DataField *field, Array *array)
{
    IrType *type = &array->type;
    if (field->source == DATA_png_folder && type->rank == field->type.rank + 2 && type->dim[type->rank - 1] == 1)
        type->rank--;
}

static bool field_fits(const DataField *field, const IrType *found)
{
    if (found->rank != field->type.rank + 1 || found->dtype != field->type.dtype)
        return false;
    for (int axis = 0; axis < field->type.rank; axis++)
        if (found->dim[axis + 1] != field->type.dim[axis])
            return false;
    return true;
}

static bool load_array(Arena *arena, const DataField *field, const DatasetOptions *options, DiagSink *diags, Array *out)
{
    const char *reason = NULL, *path = NULL;
    if (field->source == DATA_generate) {
        reason = options->generate ? options->generate(options->state, arena, field, out) : "nothing here can run a generator";
    } else {
        path = dataset_find(arena, field->path, options, &reason);
        if (!path) {
            diag_report(diags, DIAG_data_missing, field->span, "field '%s': %s", field->name, reason);
            return false;
        }
        reason = read_field_file(arena, field, path, out);
    }
    if (reason)
        diag_report(diags, DIAG_data_unreadable, field->span, "field '%s': %s", field->name, reason);
    return !reason;
}

static bool load_field(Arena *arena, const DataField *field, const DatasetOptions *options, DiagSink *diags, Array *out)
{
    if (!load_array(arena, field, options, diags, out))
        return false;
    out->name = field->name;
    drop_unit_channel(field, out);
    if (field_fits(field, &out->type))
        return true;
    diag_report(diags, DIAG_data_type, field->span, "field '%s', %s: expected %s, found %s", field->name,
                source_text(arena, field), samples_text(arena, &field->type), array_type_text(arena, &out->type));
    if (out->type.dtype != field->type.dtype)
        diag_note(diags, (Span){0}, "declare it as %s, which is what the file holds, and write `|> (x => x as %s)` after it",
                  dtype_name(out->type.dtype), dtype_name(field->type.dtype));
    return false;
}

static bool field_is_wanted(const DataField *field, const DatasetOptions *options)
{
    for (int i = 0; i < options->wanted_count; i++)
        if (!strcmp(options->wanted[i], field->name))
            return true;
    return !options->wanted;
}

static bool check_sample_counts(const Dataset *dataset, const DataSet *declared, DiagSink *diags)
{
    const Array *first = &dataset->fields.items[0];
    if (dataset->samples == 0) {
        diag_report(diags, DIAG_data_samples, declared->fields.items[0].span, "data set '%s' has no samples", dataset->name);
        return false;
    }
    for (int i = 1; i < dataset->fields.count; i++) {
        const Array *field = &dataset->fields.items[i];
        if (field->type.dim[0] == dataset->samples)
            continue;
        Span span = {0};
        for (int j = 0; j < declared->fields.count; j++)
            if (declared->fields.items[j].name == field->name)
                span = declared->fields.items[j].span;
        diag_report(diags, DIAG_data_samples, span, "field '%s' has %lld samples, field '%s' has %lld", field->name,
                    (long long)field->type.dim[0], first->name, (long long)dataset->samples);
        return false;
    }
    return true;
}

Dataset *dataset_open(Arena *arena, const DataSet *declared, const DatasetOptions *options, DiagSink *diags)
{
    DatasetOptions chosen = options ? *options : (DatasetOptions){0};
    Dataset *dataset = arena_new_of(arena, Dataset);
    dataset->name = declared->name;
    bool good = true;
    for (int i = 0; i < declared->fields.count; i++) {
        const DataField *field = &declared->fields.items[i];
        Array array = {0};
        if (!field_is_wanted(field, &chosen))
            continue;
        if (load_field(arena, field, &chosen, diags, &array))
            list_push(arena, &dataset->fields, array);
        else
            good = false;
    }
    if (good && dataset->fields.count) {
        dataset->samples = dataset->fields.items[0].type.dim[0];
        good = check_sample_counts(dataset, declared, diags);
    }
    return good ? dataset : NULL;
}

/* ---- the order of an epoch ---- */

/* Over fewer bits, eight rounds favour some orders by a few parts in a hundred. */
enum { FEISTEL_ROUNDS = 8, FEWEST_BITS = 6, SHUFFLE_STREAM = 0x73687566 };

typedef struct Shuffle {
    uint32_t key[2];
    int64_t count;
    int low_bits, high_bits; /* of an index: 2^(low + high) is less than twice the count, or 64 */
} Shuffle;

static Shuffle shuffle_of(uint64_t seed, int64_t epoch, int64_t count)
{
    Shuffle shuffle = {.key = {(uint32_t)seed, (uint32_t)(seed >> 32)}, .count = count};
    random_fold_in(shuffle.key, SHUFFLE_STREAM, shuffle.key);
    random_fold_in(shuffle.key, (uint32_t)epoch, shuffle.key);
    random_fold_in(shuffle.key, (uint32_t)((uint64_t)epoch >> 32), shuffle.key);
    int bits = FEWEST_BITS;
    while ((int64_t)1 << bits < count)
        bits++;
    shuffle.low_bits = bits / 2;
    shuffle.high_bits = bits - shuffle.low_bits;
    return shuffle;
}

/* A Feistel network permutes all numbers of so many bits: each round adds to one half a function of the other. */
static uint64_t shuffle_bits(const Shuffle *shuffle, uint64_t number)
{
    uint64_t low_mask = ((uint64_t)1 << shuffle->low_bits) - 1, high_mask = ((uint64_t)1 << shuffle->high_bits) - 1;
    uint64_t low = number & low_mask, high = number >> shuffle->low_bits;
    for (uint32_t round = 0; round < FEISTEL_ROUNDS; round++) {
        uint64_t from = round % 2 ? low : high;
        uint32_t out[4];
        philox_4x32_10(shuffle->key, (uint32_t[4]){(uint32_t)from, (uint32_t)(from >> 32), round, 0}, out);
        uint64_t noise = (uint64_t)out[1] << 32 | out[0];
        if (round % 2)
            high ^= noise & high_mask;
        else
            low ^= noise & low_mask;
    }
    return high << shuffle->low_bits | low;
}

/* Walking a cycle until it returns into [0, count) restricts a permutation of more numbers to these. */
static int64_t shuffle_index(const Shuffle *shuffle, int64_t index)
{
    uint64_t number = (uint64_t)index;
    do
        number = shuffle_bits(shuffle, number);
    while (number >= (uint64_t)shuffle->count);
    return (int64_t)number;
}

int64_t dataset_permute(uint64_t seed, int64_t epoch, int64_t count, int64_t index)
{
    Shuffle shuffle = shuffle_of(seed, epoch, count);
    return shuffle_index(&shuffle, index);
}

/* ---- batches ---- */

void dataset_fill_batch(const Dataset *dataset, int64_t batch, uint64_t seed, int64_t step, void *const *fields)
{
    int64_t batches = dataset->samples / batch, first = step % batches * batch;
    Shuffle shuffle = shuffle_of(seed, step / batches, dataset->samples);
    for (int64_t i = 0; i < batch; i++) {
        size_t sample = (size_t)shuffle_index(&shuffle, first + i);
        for (int j = 0; j < dataset->fields.count; j++) {
            const Array *field = &dataset->fields.items[j];
            size_t size = array_bytes(field) / (size_t)dataset->samples;
            memcpy((char *)fields[j] + (size_t)i * size, (const char *)field->data + sample * size, size);
        }
    }
}

typedef struct BatchSlot {
    Array *arrays;
    void **memory; /* arrays[i].data */
    int64_t step;  /* that it holds, or -1 */
} BatchSlot;

struct BatchReader {
    const Dataset *dataset;
    int64_t batch;
    uint64_t seed;
    BatchSlot slots[2];
    int current; /* the slot that the caller holds; the thread touches the other one only */
    bool threaded;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int64_t wanted; /* under the mutex: the step to be prepared, or -1 when the thread is idle */
    bool stop;
};

static void slot_fill(BatchReader *reader, BatchSlot *slot, int64_t step)
{
    dataset_fill_batch(reader->dataset, reader->batch, reader->seed, step, slot->memory);
    slot->step = step;
}

static void *reader_work(void *state)
{
    BatchReader *reader = state;
    pthread_mutex_lock(&reader->mutex);
    while (!reader->stop) {
        if (reader->wanted < 0) {
            pthread_cond_wait(&reader->changed, &reader->mutex);
            continue;
        }
        BatchSlot *slot = &reader->slots[1 - reader->current];
        int64_t step = reader->wanted;
        pthread_mutex_unlock(&reader->mutex);
        slot_fill(reader, slot, step);
        pthread_mutex_lock(&reader->mutex);
        reader->wanted = -1;
        pthread_cond_broadcast(&reader->changed);
    }
    pthread_mutex_unlock(&reader->mutex);
    return NULL;
}

static BatchSlot slot_new(Arena *arena, const Dataset *dataset, int64_t batch)
{
    int count = dataset->fields.count;
    BatchSlot slot = {arena_array(arena, Array, count), arena_array(arena, void *, count), -1};
    for (int i = 0; i < count; i++) {
        IrType type = dataset->fields.items[i].type;
        type.dim[0] = batch;
        slot.arrays[i] = array_new(arena, dataset->fields.items[i].name, type);
        slot.memory[i] = slot.arrays[i].data;
    }
    return slot;
}

/* Signals are the caller's business: the thread starts with all of them blocked. Without a thread, batches are made on call. */
static void reader_start(BatchReader *reader)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_mutex_init(&reader->mutex, NULL);
    pthread_cond_init(&reader->changed, NULL);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    reader->threaded = pthread_create(&reader->thread, NULL, reader_work, reader) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

BatchReader *batch_reader_new(Arena *arena, const Dataset *dataset, int64_t batch, uint64_t seed, const char **reason)
{
    *reason = NULL;
    if (batch < 1 || batch > dataset->samples) {
        *reason = arena_printf(arena, "a batch of %lld does not fit data set '%s': it has %lld samples", (long long)batch,
                               dataset->name, (long long)dataset->samples);
        return NULL;
    }
    BatchReader *reader = arena_new_of(arena, BatchReader);
    reader->dataset = dataset;
    reader->batch = batch;
    reader->seed = seed;
    reader->wanted = -1;
    for (int i = 0; i < 2; i++)
        reader->slots[i] = slot_new(arena, dataset, batch);
    reader_start(reader);
    return reader;
}

const Array *batch_reader_get(BatchReader *reader, int64_t step)
{
    pthread_mutex_lock(&reader->mutex);
    while (reader->wanted >= 0)
        pthread_cond_wait(&reader->changed, &reader->mutex);
    if (reader->slots[reader->current].step != step) {
        reader->current = 1 - reader->current;
        if (reader->slots[reader->current].step != step)
            slot_fill(reader, &reader->slots[reader->current], step);
    }
    if (reader->threaded && reader->slots[1 - reader->current].step != step + 1) {
        reader->wanted = step + 1;
        pthread_cond_broadcast(&reader->changed);
    }
    pthread_mutex_unlock(&reader->mutex);
    return reader->slots[reader->current].arrays;
}

const Array *batch_reader_next(BatchReader *reader)
{
    pthread_mutex_lock(&reader->mutex);
    while (reader->wanted >= 0)
        pthread_cond_wait(&reader->changed, &reader->mutex);
    const BatchSlot *slot = &reader->slots[1 - reader->current];
    bool there = slot->step == reader->slots[reader->current].step + 1;
    pthread_mutex_unlock(&reader->mutex);
    return there ? slot->arrays : NULL;
}

void batch_reader_free(BatchReader *reader)
{
    if (!reader)
        return;
    if (reader->threaded) {
        pthread_mutex_lock(&reader->mutex);
        reader->stop = true;
        pthread_cond_broadcast(&reader->changed);
        pthread_mutex_unlock(&reader->mutex);
        pthread_join(reader->thread, NULL);
    }
    pthread_cond_destroy(&reader->changed);
    pthread_mutex_destroy(&reader->mutex);
}
