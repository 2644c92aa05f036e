/* Reshape: kernels rewritten, as kernels, into a form that suits this CPU. */
#ifndef CM_BACKENDS_CPU_RESHAPE_H
#define CM_BACKENDS_CPU_RESHAPE_H

#include "backends/cpu/nest.h"

typedef struct Reshaped {
    Kernel *kernel;
    LIST(Ragged) ragged; /* by stage */
    bool by_stage;       /* no outer axes are left, each stage is a phase, locals are shared by all tasks */
} Reshaped;

Reshaped reshape_kernel(Arena *arena, const CpuTarget *target, const Kernel *kernel);
/* A kernel that has the same buffers and one stage. */
Kernel *reshape_single(Arena *arena, const Kernel *kernel, int stage);

#endif
