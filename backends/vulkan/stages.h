/* What the stages of a kernel are made of, as the schedule and shaders ask: which axes are shared out, and how many points they
 * have.  Axes are numbered as in kernels: the outer ones first. */
#ifndef CM_BACKENDS_VULKAN_STAGES_H
#define CM_BACKENDS_VULKAN_STAGES_H

#include "backends/vulkan/vulkan_internal.h"

const KAxis *stage_axis(const Kernel *kernel, const KStage *stage, int axis);
typedef bool AxisTest(const Kernel *kernel, const KStage *stage, int axis);
AxisTest stage_shares_out; /* its points may be computed at the same time */
AxisTest stage_sums;       /* it is reduced */
AxisTest stage_scans;      /* it is gone along with a sum at each point */
AxisTest stage_follows;    /* its points follow each other, as they may add to the same place */
/* The axes from `first` on that are wanted; gives how many. */
int stage_axes(const Kernel *kernel, const KStage *stage, int first, AxisTest *wanted, int *axes);
int64_t stage_count(const Kernel *kernel, const KStage *stage, int first, AxisTest *wanted); /* the points of these */
int64_t stage_terms(const Kernel *kernel, const KStage *stage);                              /* of each sum */
int64_t stage_points(const Kernel *kernel, const KStage *stage); /* to share out, for each outer point */
const KStore *stage_addition(const KStage *stage);               /* the first store that adds; or null */
bool stage_is_scan(const KStage *stage);
bool stage_is_joinable(const KStage *stage); /* it has sums that can be made in pieces */

bool kernel_has_locals(const Kernel *kernel);
int kernel_argument_count(const Kernel *kernel);
int64_t local_bytes(const KBuffer *buffer);                            /* in scratch */
const char *span_located(Arena *arena, Span span, const char *reason); /* behind the place in the program, if known */

#endif
