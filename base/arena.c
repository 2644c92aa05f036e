/* Arenas: a list of blocks, each twice the size of the one before. */
#include "base/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
enum { GAP = 16 }; /* poisoned bytes behind each object, so that an overrun inside an arena is seen */
#define POISON(address, size) __asan_poison_memory_region((address), (size))
#define UNPOISON(address, size) __asan_unpoison_memory_region((address), (size))
#else
enum { GAP = 0 };
#define POISON(address, size) ((void)(address), (void)(size))
#define UNPOISON(address, size) ((void)(address), (void)(size))
#endif

enum { ALIGNMENT = 16, FIRST_BLOCK = 16 * 1024, LARGEST_BLOCK = 4 * 1024 * 1024 };

typedef struct Block {
    struct Block *previous;
    size_t used, size;
    _Alignas(ALIGNMENT) unsigned char data[];
} Block;

struct Arena {
    Block *block;
    jmp_buf *escape;
    Allocator allocator;
};

static void *default_allocate(void *state, size_t size)
{
    (void)state;
    return malloc(size);
}

static void default_release(void *state, void *memory)
{
    (void)state;
    free(memory);
}

static void leave(Arena *arena)
{
    if (arena && arena->escape)
        longjmp(*arena->escape, 1);
    abort();
}

Arena *arena_new(const Allocator *allocator, jmp_buf *escape)
{
    Allocator chosen = {default_allocate, default_release, NULL};
    if (allocator && allocator->allocate)
        chosen = *allocator;
    Arena *arena = chosen.allocate(chosen.state, sizeof *arena);
    if (!arena) {
        if (escape)
            longjmp(*escape, 1);
        abort();
    }
    *arena = (Arena){.allocator = chosen, .escape = escape};
    return arena;
}

static void release_blocks_until(Arena *arena, const Block *last)
{
    while (arena->block && arena->block != last) {
        Block *previous = arena->block->previous;
        UNPOISON(arena->block->data, arena->block->size);
        arena->allocator.release(arena->allocator.state, arena->block);
        arena->block = previous;
    }
}

void arena_free(Arena *arena)
{
    if (!arena)
        return;
    release_blocks_until(arena, NULL);
    arena->allocator.release(arena->allocator.state, arena);
}

jmp_buf *arena_set_escape(Arena *arena, jmp_buf *escape)
{
    jmp_buf *before = arena->escape;
    arena->escape = escape;
    return before;
}

static void add_block(Arena *arena, size_t needed)
{
    size_t size = arena->block ? arena->block->size * 2 : FIRST_BLOCK;
    if (size > LARGEST_BLOCK)
        size = LARGEST_BLOCK;
    if (size < needed)
        size = needed;
    Block *block = arena->allocator.allocate(arena->allocator.state, sizeof *block + size);
    if (!block)
        leave(arena);
    block->previous = arena->block;
    block->used = 0;
    block->size = size;
    POISON(block->data, size);
    arena->block = block;
}

void *arena_alloc(Arena *arena, size_t size)
{
    if (size > PTRDIFF_MAX - 2 * ALIGNMENT)
        leave(arena);
    size_t rounded = (size + GAP + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (!arena->block || arena->block->size - arena->block->used < rounded)
        add_block(arena, rounded);
    void *memory = arena->block->data + arena->block->used;
    arena->block->used += rounded;
    UNPOISON(memory, size);
    return memset(memory, 0, size);
}

void *arena_alloc_array(Arena *arena, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        leave(arena);
    return arena_alloc(arena, total);
}

void *arena_copy(Arena *arena, const void *bytes, size_t size)
{
    void *copy = arena_alloc(arena, size);
    return size ? memcpy(copy, bytes, size) : copy;
}

char *arena_copy_text(Arena *arena, const char *text, size_t length)
{
    char *copy = arena_alloc(arena, length + 1);
    if (length)
        memcpy(copy, text, length);
    return copy;
}

char *arena_vprintf(Arena *arena, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0)
        leave(arena);
    char *text = arena_alloc(arena, (size_t)length + 1);
    vsnprintf(text, (size_t)length + 1, format, args);
    return text;
}

char *arena_printf(Arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = arena_vprintf(arena, format, args);
    va_end(args);
    return text;
}

ArenaMark arena_mark(Arena *arena)
{
    return (ArenaMark){arena->block, arena->block ? arena->block->used : 0};
}

void arena_rewind(Arena *arena, ArenaMark mark)
{
    release_blocks_until(arena, mark.block);
    if (arena->block) {
        POISON(arena->block->data + mark.used, arena->block->size - mark.used);
        arena->block->used = mark.used;
    }
}

void *arena_grow(Arena *arena, const void *items, int count, int *capacity, size_t size)
{
    int larger = *capacity ? *capacity * 2 : 8;
    if (*capacity > INT32_MAX / 2)
        leave(arena);
    void *grown = arena_alloc_array(arena, (size_t)larger, size);
    if (count)
        memcpy(grown, items, (size_t)count * size);
    *capacity = larger;
    return grown;
}
