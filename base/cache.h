/* Cache: what took long to make, kept in files of a directory by a key of everything that it depends on.
 *
 * Some of it is executed when it is read, so the directory is private, and entries of other users are refused.  A file that is
 * damaged in any way is a miss.  Nothing is locked: files are written aside and renamed, the last writer wins. */
#ifndef CM_BASE_CACHE_H
#define CM_BASE_CACHE_H

#include "base/file.h"

/* Of these facts, and of the build of this library: another one may make other things of the same. */
uint64_t cache_key(const void *facts, size_t size);
bool cache_read(Arena *arena, const char *directory, uint64_t key, Bytes *content); /* false: a miss */
/* Null, or why it is not kept: a cache that cannot be written is only slower. */
const char *cache_write(Arena *arena, const char *directory, uint64_t key, Bytes content);
void cache_trim(Arena *arena, const char *directory); /* drops the oldest entries beyond the bound */

#endif
