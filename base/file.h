/* Files: whole reads and atomic writes.  Functions return null on success, else the reason, in the arena. */
#ifndef CM_BASE_FILE_H
#define CM_BASE_FILE_H

#include "base/arena.h"

#include <stdbool.h>

typedef struct Bytes {
    unsigned char *data; /* a zero follows the last byte */
    size_t size;
} Bytes;

/* Reads a whole regular file of at most `limit` bytes (0: no limit). */
const char *file_read(Arena *arena, const char *path, size_t limit, Bytes *bytes);

/* Writes to a temporary file beside `path`, flushes it to the disk and renames it: a reader sees the old file or the new
 * one, whole.  On failure nothing at `path` has changed and the temporary file is gone. */
const char *file_write_atomic(Arena *arena, const char *path, const void *bytes, size_t size);

/* The same in pieces, for files that should not be held in memory twice. */
typedef struct FileWriter FileWriter;
const char *file_writer_open(Arena *arena, const char *path, FileWriter **writer);
void file_writer_add(FileWriter *writer, const void *bytes, size_t size); /* after a failure does nothing */
const char *file_writer_commit(FileWriter *writer);                       /* the first failure of all calls, or null */
void file_writer_abandon(FileWriter *writer);

/* What a writer that was killed leaves beside its file; the second function deletes those of `path`. */
bool file_is_leftover(const char *name);
void file_remove_leftovers(Arena *arena, const char *path);

bool file_exists(const char *path);
const char *file_make_directories(Arena *arena, const char *path); /* like mkdir -p */
/* A directory that its owner alone may write to: makes it, or fails if the one that is there is another user's or open. */
const char *file_make_private_directory(Arena *arena, const char *path);
/* Claims a directory until `lock` is closed: null, too, where the file system knows no locks (`lock` is then -1).  Fails if
 * somebody else has it. */
const char *file_lock_directory(Arena *arena, const char *path, int *lock);
const char *path_join(Arena *arena, const char *directory, const char *name); /* an absolute name stays as it is */
const char *path_directory(Arena *arena, const char *path);                   /* "." where there is none */

#endif
