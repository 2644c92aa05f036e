/* Any bytes as PNG images: refused or read, without a wrong step. */
#include "runtime/format.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

/* A changed chunk gets its checksum, seven times of eight: what lies behind the test of checksums is to be reached, too. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    size = LLVMFuzzerMutate(data, size, most);
    for (size_t at = 8; seed % 8 && at + 12 <= size;) { /* length, name, content, checksum */
        size_t length = (size_t)data[at] << 24 | (size_t)data[at + 1] << 16 | (size_t)data[at + 2] << 8 | data[at + 3];
        if (length > size - at - 12)
            break;
        unsigned long sum = crc32(0, data + at + 4, (unsigned)length + 4);
        for (int i = 0; i < 4; i++)
            data[at + 8 + length + i] = (uint8_t)(sum >> (24 - 8 * i));
        at += 12 + length;
    }
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena *arena = arena_new(NULL, NULL);
    Bytes bytes = {malloc(size ? size : 1), size}; /* a block of its own, so that a read beyond it is seen */
    Array out;
    if (size)
        memcpy(bytes.data, data, size);
    if (!png_decode(arena, bytes, &out)) {
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
