/* Memory: how much this process may still take, so that a run that needs more is refused and not killed. */
#ifndef CM_BASE_MEMORY_H
#define CM_BASE_MEMORY_H

#include "base/arena.h"

/* In bytes: the least of what the system can give, what the control group allows and the process's own limit leaves.
 * INT64_MAX where nothing says. */
int64_t memory_available(void);

/* "12.3 GiB", for messages. */
const char *memory_text(Arena *arena, int64_t bytes);

#endif
