/* Any bytes as idx files, plain and compressed: refused or read, without a wrong step. */
#include "runtime/format.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena *arena = arena_new(NULL, NULL);
    Bytes bytes = {malloc(size ? size : 1), size}; /* a block of its own, so that a read beyond it is seen */
    Array out;
    if (size)
        memcpy(bytes.data, data, size);
    if (!idx_decode(arena, bytes, &out)) {
        const volatile unsigned char *at = out.data;
        size_t count = array_bytes(&out);
        if (count) {
            (void)at[0];
            (void)at[count - 1];
        }
    }
    free(bytes.data);
    arena_free(arena);
    return 0;
}
