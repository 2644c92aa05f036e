/* Profile: what the launches of plans took.
 *
 * A context that is asked for a profile has one, and its backends note in it when each launch began and ended, by a clock of
 * nanoseconds.  Every kernel of a plan has a row for each line of the program that it is launched for, which sums up what was
 * spent there; the first launches are also kept one by one, as a trace for a viewer (Perfetto and others read its format).
 *
 * Rows keep no hold of the plan: texts are copied.  Plans may be added, and launches noted, by several threads. */
#ifndef CM_IR_PROFILE_H
#define CM_IR_PROFILE_H

#include "ir/plan.h"

#include <stdatomic.h>

typedef struct Profile Profile;

typedef struct ProfileRow {
    const char *device, *entry, *kernel;
    const char *file; /* null, and line 0: no place in a program */
    int line;
    int64_t bytes; /* of a launch: each argument read or written once */
    double flops;
    atomic_llong launches, nanoseconds;
} ProfileRow;

typedef struct ProfilePlan { /* of a plan */
    struct ProfilePlan *next;
    int64_t least_bytes; /* plan_least_traffic */
    ProfileRow *rows;
    int row_count;
    ProfileRow **launches; /* by step.launch */
} ProfilePlan;

Profile *profile_new(const Allocator *allocator); /* null if there is no memory */
void profile_free(Profile *profile);

/* Rows for the launches of a plan; null if there is no memory.  They live as long as the profile. */
ProfilePlan *profile_add(Profile *profile, const char *device, const Plan *plan);
int64_t profile_now(void); /* nanoseconds */
/* `lane` says what runs side by side: a thread, a queue.  `goes_on`: it is more of the launch that was noted last. */
void profile_note(Profile *profile, ProfileRow *row, int lane, bool goes_on, int64_t begin, int64_t end);

/* What running costs besides the kernels, on devices that the host sends work to. */
typedef enum ProfileTotal {
    PROFILE_RUNS,
    PROFILE_SUBMISSIONS,
    PROFILE_HOST_NANOSECONDS, /* without those spent waiting */
    PROFILE_BYTES_UP,         /* to the device */
    PROFILE_BYTES_DOWN,
    PROFILE_LEAST_BYTES, /* that the kernels of these runs could not do without */
    PROFILE_TOTALS
} ProfileTotal;
void profile_count(Profile *profile, ProfileTotal total, int64_t amount);
int64_t profile_total(const Profile *profile, ProfileTotal total);

/* Reading, by one thread, while nothing runs. */
typedef struct ProfileEvent {
    const ProfileRow *row;
    int lane;
    int64_t begin, end; /* nanoseconds since the profile was made */
} ProfileEvent;
const ProfilePlan *profile_plans(const Profile *profile); /* in the order in which they were added */
const ProfileEvent *profile_events(const Profile *profile, int *count);

#endif
