/* Data sets: the declared fields of a `data` block as arrays in memory, and batches of them by step number.
 *
 * The content of a batch is a function of (data, batch size, seed, step) and of nothing else: a run that is resumed at any
 * step sees the batches it would have seen.  Every epoch is a permutation of all samples; what does not fill the last batch
 * of an epoch is left out of that epoch. */
#ifndef CM_RUNTIME_DATASET_H
#define CM_RUNTIME_DATASET_H

#include "frontend/program.h"
#include "runtime/array.h"

typedef struct Dataset {
    const char *name;
    int64_t samples;    /* of every field */
    LIST(Array) fields; /* named after the fields; the first axis is the sample axis */
} Dataset;

typedef struct DatasetOptions {
    const char *directory;     /* of the program: where relative paths start; null: the working directory */
    const char *search_path;   /* further places, split by ':'; null: CM_DATA_PATH of the environment */
    const char *const *wanted; /* names of the fields to load; null: all */
    int wanted_count;
    /* Runs the generator of a DATA_generate field: fills `out` with [count, ...].  Null, or the reason. */
    const char *(*generate)(void *state, Arena *arena, const DataField *field, Array *out);
    void *state;
} DatasetOptions;

/* Loads the fields and checks element types, shapes and sample counts.  Null after diagnostics (at the fields' spans). */
Dataset *dataset_open(Arena *arena, const DataSet *declared, const DatasetOptions *options, DiagSink *diags);

/* Where a data file is: beside the program, along the search path, then in /usr/share/datasets and the folders in it.
 * Null and a reason if it is nowhere, or in several of those folders. */
const char *dataset_find(Arena *arena, const char *name, const DatasetOptions *options, const char **reason);

/* The place of sample `index` in the order of an epoch: a permutation of [0, count) for each (seed, epoch), index by index. */
int64_t dataset_permute(uint64_t seed, int64_t epoch, int64_t count, int64_t index);

/* ---- batches ---- */

/* Writes batch `step` to fields[i], one [batch, ...] array for each field.  The batch is at most dataset->samples. */
void dataset_fill_batch(const Dataset *dataset, int64_t batch, uint64_t seed, int64_t step, void *const *fields);

/* A reader prepares the next batch on a thread of its own while the caller computes.  One caller at a time. */
typedef struct BatchReader BatchReader;
/* Null and a reason if the batch does not fit the data. The data set must outlive the reader. */
BatchReader *batch_reader_new(Arena *arena, const Dataset *dataset, int64_t batch, uint64_t seed, const char **reason);
/* The arrays of batch `step`, in the order of dataset->fields; valid until the next call.  Steps asked for in order come
 * without waiting; any other order gives the same batches, later. */
const Array *batch_reader_get(BatchReader *reader, int64_t step);
/* The batch of the step behind that which was asked for last, as its arrays will be; null: no thread reads ahead. */
const Array *batch_reader_next(BatchReader *reader);
void batch_reader_free(BatchReader *reader); /* stops the thread; accepts null */

#endif
