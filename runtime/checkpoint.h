/* Checkpoints: named arrays and where the run stood, as one safetensors file that is replaced atomically. */
#ifndef CM_RUNTIME_CHECKPOINT_H
#define CM_RUNTIME_CHECKPOINT_H

#include "runtime/array.h"

typedef struct CheckpointInfo {
    int64_t step; /* steps done */
    uint64_t seed;
    int64_t batch;
    uint64_t program_hash; /* of the program's text and settings: tells the user that a checkpoint is another program's */
} CheckpointInfo;

/* A null `info` saves weights without a place in a run. */
const char *checkpoint_save(Arena *arena, const char *path, const CheckpointInfo *info, const Array *arrays, int count);

/* Fills the memory of `arrays` (names and types are what is expected) only if the file has all of them in the right type;
 * otherwise the reason lists what is missing, unexpected and of another type, ten names at most, and nothing is written.
 * `allow_more` lets a file hold arrays that nobody asked for.  With a null `info` any safetensors file will do.  After a
 * success, what the load needed in the arena has been given back. */
const char *checkpoint_load(Arena *arena, const char *path, CheckpointInfo *info, const Array *arrays, int count,
                            bool allow_more);

#endif
