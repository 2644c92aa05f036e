/* Arenas: memory that is freed together with the thing it belongs to.
 *
 * An arena belongs to what lives as long as its contents (a module, a compilation, a program).  Nothing in it is freed
 * one by one; a pass that needs scratch space takes a mark and rewinds to it.
 *
 * When the system has no memory left, an arena leaves through `escape` (longjmp) if one is set, else the process ends:
 * the library sets one at every public entry, so a host application gets a status and no compiler code tests for null. */
#ifndef CM_BASE_ARENA_H
#define CM_BASE_ARENA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Arena Arena;
typedef struct ArenaMark {
    void *block;
    size_t used;
} ArenaMark;

/* The host's allocator; null functions mean malloc and free. */
typedef struct Allocator {
    void *(*allocate)(void *state, size_t size);
    void (*release)(void *state, void *memory);
    void *state;
} Allocator;

Arena *arena_new(const Allocator *allocator, jmp_buf *escape);
void arena_free(Arena *arena);

/* Sets the place to leave to when memory runs out; returns the one that was set before. */
jmp_buf *arena_set_escape(Arena *arena, jmp_buf *escape);

/* Zeroed memory, aligned to 16 bytes.  `arena_array` refuses (as if out of memory) a product that overflows. */
void *arena_alloc(Arena *arena, size_t size);
void *arena_alloc_array(Arena *arena, size_t count, size_t size);
#define arena_array(arena, type, count) ((type *)arena_alloc_array((arena), (size_t)(count), sizeof(type)))
#define arena_new_of(arena, type) ((type *)arena_alloc((arena), sizeof(type)))

char *arena_copy_text(Arena *arena, const char *text, size_t length); /* adds a terminating zero */
void *arena_copy(Arena *arena, const void *bytes, size_t size);
char *arena_printf(Arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(Arena *arena, const char *format, va_list args);

ArenaMark arena_mark(Arena *arena);
void arena_rewind(Arena *arena, ArenaMark mark);

/* A growing array in an arena: LIST(T) declares it, list_push appends (returns nothing), old storage stays in the arena. */
#define LIST(type)    \
    struct {          \
        type *items;  \
        int count;    \
        int capacity; \
    }
#define list_push(arena, list, value)                                                                             \
    do {                                                                                                          \
        if ((list)->count == (list)->capacity) {                                                                  \
            (list)->items = arena_grow((arena), (list)->items, (list)->count, &(list)->capacity,                  \
                                       sizeof *(list)->items);                                                    \
        }                                                                                                         \
        (list)->items[(list)->count++] = (value);                                                                 \
    } while (0)
void *arena_grow(Arena *arena, const void *items, int count, int *capacity, size_t size);

#endif
