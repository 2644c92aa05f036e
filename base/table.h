/* Table: a hash table from text to pointers, kept in an arena, walked in order of insertion. */
#ifndef CM_BASE_TABLE_H
#define CM_BASE_TABLE_H

#include "base/arena.h"

typedef struct TableEntry {
    const char *key;
    void *value;
} TableEntry;

typedef struct Table {
    Arena *arena;
    TableEntry *entries; /* in order of insertion: walk entries[0 .. count) */
    int count, capacity;
    int32_t *slots; /* entry index + 1, or 0 */
    int slot_count;
} Table;

Table table_new(Arena *arena);
void *table_get(const Table *table, const char *key);             /* null if absent */
void table_put(Table *table, const char *key, void *value);       /* replaces; the key is copied */

/* The known word closest to `word`, or null if none is close: for "did you mean ...". */
const char *closest_word(const char *word, const char *const *known, int count);

uint64_t hash_bytes(const void *bytes, size_t size, uint64_t seed); /* 64-bit, stable across machines */

#endif
