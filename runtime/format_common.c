/* What the file formats share: blame and limits. */
#include "runtime/format_internal.h"

enum { DEFLATE_RATIO = 1032, DEFLATE_SLACK = 4096 };

const char *format_blame(Arena *arena, const char *path, const char *reason)
{
    return reason ? arena_printf(arena, "'%s': %s", path, reason) : NULL;
}

bool format_may_inflate_to(size_t compressed, size_t claimed)
{
    return claimed <= DEFLATE_SLACK || (claimed - DEFLATE_SLACK) / DEFLATE_RATIO <= compressed;
}

void format_normalise_bools(Array *array)
{
    unsigned char *bytes = array->data;
    size_t size = array->type.dtype == DT_bool ? array_bytes(array) : 0;
    for (size_t i = 0; i < size; i++)
        bytes[i] = bytes[i] != 0;
}
