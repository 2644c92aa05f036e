/* The standard library (the .cm files of std/), embedded when cm is built. */
#ifndef CM_RUNTIME_STD_H
#define CM_RUNTIME_STD_H

#include <stddef.h>

typedef struct StdText {
    const char *name; /* "std.edm" */
    const char *text; /* zero-terminated */
    size_t length;
} StdText;

extern const StdText std_texts[]; /* ends with a null name */

#endif
