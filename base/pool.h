/* Pool: threads that share out a range of tasks.  One belongs to a context; several users may share it, one at a time. */
#ifndef CM_BASE_POOL_H
#define CM_BASE_POOL_H

#include <stdint.h>

typedef struct Pool Pool;

/* `threads` 0: one for each core that this process may run on.  Null if no thread could be started. */
Pool *pool_new(int threads);
void pool_free(Pool *pool);
int pool_threads(const Pool *pool);

/* Calls work(state, first, end, worker) so that the ranges cover [0, count) once; `worker` < pool_threads names the thread,
 * which may be called with any number of ranges, or none.  Returns when all are done.  A call from inside a worker runs
 * everything on that worker.  Safe from several threads. */
typedef void PoolWork(void *state, int64_t first, int64_t end, int worker);
void pool_run(Pool *pool, int64_t count, PoolWork *work, void *state);

#endif
