/* What the file formats share. */
#ifndef CM_RUNTIME_FORMAT_INTERNAL_H
#define CM_RUNTIME_FORMAT_INTERNAL_H

#include "runtime/format.h"

/* Puts the file's name before a reason; null stays null. */
const char *format_blame(Arena *arena, const char *path, const char *reason);

/* Whether `compressed` bytes of deflate could hold `claimed` bytes: its ratio is bounded, so a header that claims more lies. */
bool format_may_inflate_to(size_t compressed, size_t claimed);

/* Any byte but 0 is true in files; in memory a true is 1. */
void format_normalise_bools(Array *array);

#endif
