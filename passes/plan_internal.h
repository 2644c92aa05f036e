/* What the files of the planner share. */
#ifndef CM_PASSES_PLAN_INTERNAL_H
#define CM_PASSES_PLAN_INTERNAL_H

#include "ir/plan.h"

/* A launch, and its step on the clock of lifetimes. */
typedef struct LaunchAt {
    const PlanStep *step;
    int clock;
} LaunchAt;
typedef LIST(LaunchAt) LaunchesAt;

/* Says of each buffer whose memory it is made in (`over`).  Lifetimes are known; nothing has a place yet. */
void plan_find_successors(Plan *plan, const LaunchesAt *launches);

/* The buffer at the start of those that are made in each other's memory. */
int plan_first_of(const Plan *plan, int buffer);

/* Launches that copy an array over itself go, and kernels that no launch is left of. */
void plan_leave_out_copies(Plan *plan);

#endif
