/* Host arrays: what file formats, data sets, checkpoints and pictures exchange.
 *
 * An array is dense, row-major and in the byte order of the host.  Its memory belongs to the arena it was made in, or to
 * whoever filled the fields in.  Functions of the file layer return null on success, else the reason, in the arena. */
#ifndef CM_RUNTIME_ARRAY_H
#define CM_RUNTIME_ARRAY_H

#include "ir/ir.h"

#include <setjmp.h>

typedef struct Array {
    const char *name; /* null or "" where there is none */
    IrType type;
    void *data;
} Array;

enum { ARRAY_ALIGNMENT = 64 };

/* The bytes of an array of this type.  False for a negative size and for a product over 2^48: shapes that come from files
 * pass through here before anything is allocated. */
bool array_byte_size(const IrType *type, size_t *size);

/* Zeroed, aligned to ARRAY_ALIGNMENT.  The type has passed array_byte_size. */
Array array_new(Arena *arena, const char *name, IrType type);
const Array *array_find(const Array *arrays, int count, const char *name); /* null if absent */
const char *array_type_text(Arena *arena, const IrType *type);             /* "f32[8,4]" */
size_t array_bytes(const Array *array);

/* Reverses the bytes of each element, for files in the other byte order. */
void array_swap_bytes(void *data, int64_t count, int element_size);

/* A guard stands where something that is not in an arena (a JSON tree, a thread, a descriptor) must be released although an
 * arena may leave by longjmp:
 *
 *     guard_enter(&guard, arena);
 *     if (setjmp(guard.here)) {
 *         release(thing);
 *         guard_pass_on(&guard);
 *     }
 *     ... allocate ...
 *     guard_leave(&guard); */
typedef struct Guard {
    Arena *arena;
    jmp_buf here;
    jmp_buf *outer;
} Guard;
void guard_enter(Guard *guard, Arena *arena);
void guard_leave(Guard *guard);
_Noreturn void guard_pass_on(Guard *guard); /* leaves to where the arena would have gone */

#endif
