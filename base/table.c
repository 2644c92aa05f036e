/* Table: open addressing over an array of entries; and the distance behind "did you mean". */
#include "base/table.h"

#include <string.h>
#include <xxhash.h>

uint64_t hash_bytes(const void *bytes, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, size, seed);
}

Table table_new(Arena *arena)
{
    return (Table){.arena = arena};
}

/* The slot that holds `key`, or the empty one where it belongs. */
static int32_t *find_slot(const Table *table, const char *key)
{
    uint64_t at = hash_bytes(key, strlen(key), 0);
    for (;; at++) {
        int32_t *slot = &table->slots[at & (uint64_t)(table->slot_count - 1)];
        if (!*slot || !strcmp(table->entries[*slot - 1].key, key))
            return slot;
    }
}

void *table_get(const Table *table, const char *key)
{
    if (!table->slot_count)
        return NULL;
    int32_t slot = *find_slot(table, key);
    return slot ? table->entries[slot - 1].value : NULL;
}

static void rehash(Table *table)
{
    table->slot_count = table->slot_count ? table->slot_count * 2 : 16;
    table->slots = arena_array(table->arena, int32_t, table->slot_count);
    for (int i = 0; i < table->count; i++)
        *find_slot(table, table->entries[i].key) = i + 1;
}

void table_put(Table *table, const char *key, void *value)
{
    if (2 * (table->count + 1) > table->slot_count)
        rehash(table);
    int32_t *slot = find_slot(table, key);
    if (*slot) {
        table->entries[*slot - 1].value = value;
        return;
    }
    if (table->count == table->capacity)
        table->entries = arena_grow(table->arena, table->entries, table->count, &table->capacity, sizeof(TableEntry));
    table->entries[table->count++] = (TableEntry){arena_copy_text(table->arena, key, strlen(key)), value};
    *slot = table->count;
}

static int smaller(int a, int b)
{
    return a < b ? a : b;
}

/* Edits (insert, delete, replace, swap two neighbours) between words; words longer than 63 are never close. */
static int edit_distance(const char *a, const char *b)
{
    size_t m = strlen(a), n = strlen(b);
    int rows[3][64]; /* of the prefix of a at hand, and of the two before it */
    if (m > 63 || n > 63)
        return 64;
    for (size_t i = 0; i <= m; i++) {
        int *row = rows[i % 3], *above = rows[(i + 2) % 3], *higher = rows[(i + 1) % 3];
        row[0] = (int)i;
        for (size_t j = 1; j <= n; j++) {
            if (!i) {
                row[j] = (int)j;
                continue;
            }
            row[j] = smaller(above[j - 1] + (a[i - 1] != b[j - 1]), smaller(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = smaller(row[j], higher[j - 2] + 1);
        }
    }
    return rows[m % 3][n];
}

const char *closest_word(const char *word, const char *const *known, int count)
{
    const char *best = NULL;
    int best_distance = ((int)strlen(word) + 2) / 3 + 1; /* with as many edits it is another word */
    for (int i = 0; i < count; i++) {
        int distance = edit_distance(word, known[i]);
        if (distance < best_distance && distance < (int)strlen(known[i])) {
            best = known[i];
            best_distance = distance;
        }
    }
    return best;
}
