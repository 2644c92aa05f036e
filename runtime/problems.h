/* Problems: a list of names that do not fit, as a message of a line each; the first ten are written out. */
#ifndef CM_RUNTIME_PROBLEMS_H
#define CM_RUNTIME_PROBLEMS_H

#include "base/text.h"

typedef struct Problems {
    Text text;
    int count;
} Problems;

Problems problems_new(Arena *arena);
/* "missing", "net.w", "it is f32[2]" */
void problems_add(Problems *problems, const char *what, const char *name, const char *rest);
/* The message that begins with `what`; null if there are no problems. */
const char *problems_text(const Problems *problems, const char *what);

#endif
