/* Host arrays: sizes that may be trusted, aligned memory, guards. */
#include "runtime/array.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "arrays and files are exchanged without swapping");

static const int64_t largest_size = (int64_t)1 << 48;

bool array_byte_size(const IrType *type, size_t *size)
{
    int64_t total = dtype_size(type->dtype);
    bool empty = false;
    if (type->rank < 0 || type->rank > IR_MAX_RANK)
        return false;
    for (int axis = 0; axis < type->rank; axis++) {
        int64_t dim = type->dim[axis];
        if (dim < 0)
            return false;
        empty |= dim == 0;
        if (dim && (__builtin_mul_overflow(total, dim, &total) || total > largest_size))
            return false;
    }
    *size = empty ? 0 : (size_t)total;
    return true;
}

Array array_new(Arena *arena, const char *name, IrType type)
{
    size_t size = 0;
    if (!array_byte_size(&type, &size))
        size = SIZE_MAX; /* the arena refuses it */
    uintptr_t memory = (uintptr_t)arena_alloc(arena, size == SIZE_MAX ? size : size + ARRAY_ALIGNMENT);
    memory = (memory + ARRAY_ALIGNMENT - 1) / ARRAY_ALIGNMENT * ARRAY_ALIGNMENT;
    return (Array){.name = name ? arena_copy_text(arena, name, strlen(name)) : NULL, .type = type, .data = (void *)memory};
}

const Array *array_find(const Array *arrays, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (arrays[i].name && !strcmp(arrays[i].name, name))
            return &arrays[i];
    return NULL;
}

const char *array_type_text(Arena *arena, const IrType *type)
{
    Text text = text_new(arena);
    ir_type_print(type, &text);
    return text.data;
}

size_t array_bytes(const Array *array)
{
    size_t size = 0;
    return array_byte_size(&array->type, &size) ? size : 0;
}

void array_swap_bytes(void *data, int64_t count, int element_size)
{
    unsigned char *at = data;
    for (int64_t i = 0; i < count; i++, at += element_size) {
        for (int low = 0, high = element_size - 1; low < high; low++, high--) {
            unsigned char byte = at[low];
            at[low] = at[high];
            at[high] = byte;
        }
    }
}

void guard_enter(Guard *guard, Arena *arena)
{
    guard->arena = arena;
    guard->outer = arena_set_escape(arena, &guard->here);
}

void guard_leave(Guard *guard)
{
    arena_set_escape(guard->arena, guard->outer);
}

void guard_pass_on(Guard *guard)
{
    guard_leave(guard);
    arena_alloc(guard->arena, SIZE_MAX); /* no arena has that much: it leaves once more */
    abort();
}
