/* Profiles: rows for the places of a plan where kernels are launched, and the first launches one by one. */
#include "ir/profile.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

enum { MOST_EVENTS = 1 << 18 }; /* of a trace: a viewer does not get through many more */

struct Profile {
    Arena *arena;
    pthread_mutex_t lock; /* of the arena and the list of plans */
    ProfilePlan *plans, **last;
    int64_t start;
    ProfileEvent *events;
    atomic_llong event_count; /* also of those for which there was no room */
    atomic_llong totals[PROFILE_TOTALS];
};

int64_t profile_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

Profile *profile_new(const Allocator *allocator)
{
    jmp_buf escape;
    Arena *volatile kept = NULL;
    if (setjmp(escape)) {
        arena_free(kept);
        return NULL;
    }
    Arena *arena = kept = arena_new(allocator, &escape);
    Profile *profile = arena_new_of(arena, Profile);
    profile->arena = arena;
    profile->last = &profile->plans;
    profile->start = profile_now();
    profile->events = arena_array(arena, ProfileEvent, MOST_EVENTS);
    arena_set_escape(arena, NULL);
    pthread_mutex_init(&profile->lock, NULL);
    return profile;
}

void profile_free(Profile *profile)
{
    if (!profile)
        return;
    pthread_mutex_destroy(&profile->lock);
    arena_free(profile->arena);
}

/* ---- rows ---- */

static const char *copy(Arena *arena, const char *text)
{
    return text ? arena_copy_text(arena, text, strlen(text)) : NULL;
}

typedef struct Adding {
    Arena *arena;
    const Plan *plan;
    ProfilePlan *rows;
    int *kernels; /* of each row */
    const char *device, *entry;
} Adding;

static ProfileRow *row_of(Adding *adding, const PlanStep *step)
{
    const Kernel *kernel = adding->plan->kernels.items[step->kernel];
    const Source *source = step->span.source;
    int line = source ? span_position(step->span).line : 0;
    for (int i = 0; i < adding->rows->row_count; i++) {
        ProfileRow *row = &adding->rows->rows[i];
        bool same_file = source && row->file ? strcmp(row->file, source->name) == 0 : !source == !row->file;
        if (adding->kernels[i] == step->kernel && row->line == line && same_file)
            return row;
    }
    adding->kernels[adding->rows->row_count] = step->kernel;
    ProfileRow *row = &adding->rows->rows[adding->rows->row_count++];
    row->device = adding->device;
    row->entry = adding->entry;
    row->kernel = copy(adding->arena, kernel->name);
    row->file = source ? copy(adding->arena, source->name) : NULL;
    row->line = line;
    row->bytes = kernel_bytes(kernel);
    row->flops = kernel_flops(kernel);
    return row;
}

static void add_steps(Adding *adding, const PlanSteps *steps)
{
    for (int i = 0; steps && i < steps->list.count; i++) {
        const PlanStep *step = &steps->list.items[i];
        if (step->kind == STEP_LAUNCH)
            adding->rows->launches[step->launch] = row_of(adding, step);
        add_steps(adding, step->test);
        add_steps(adding, step->body);
        add_steps(adding, step->otherwise);
    }
}

static ProfilePlan *add_plan(Arena *arena, const char *device, const Plan *plan)
{
    ProfilePlan *rows = arena_new_of(arena, ProfilePlan);
    rows->rows = arena_array(arena, ProfileRow, plan->launch_count);
    rows->launches = arena_array(arena, ProfileRow *, plan->launch_count);
    Adding adding = {
        arena, plan, rows, arena_array(arena, int, plan->launch_count), copy(arena, device), copy(arena, plan->name)};
    add_steps(&adding, &plan->steps);
    rows->least_bytes = plan_least_traffic(arena, plan);
    return rows;
}

ProfilePlan *profile_add(Profile *profile, const char *device, const Plan *plan)
{
    jmp_buf escape;
    pthread_mutex_lock(&profile->lock);
    arena_set_escape(profile->arena, &escape);
    ProfilePlan *volatile added = NULL;
    if (!setjmp(escape))
        added = add_plan(profile->arena, device, plan);
    if (added) {
        *profile->last = added;
        profile->last = &added->next;
    }
    arena_set_escape(profile->arena, NULL);
    pthread_mutex_unlock(&profile->lock);
    return added;
}

/* ---- launches ---- */

void profile_note(Profile *profile, ProfileRow *row, int lane, bool goes_on, int64_t begin, int64_t end)
{
    atomic_fetch_add_explicit(&row->launches, !goes_on, memory_order_relaxed);
    atomic_fetch_add_explicit(&row->nanoseconds, end - begin, memory_order_relaxed);
    long long place = atomic_fetch_add_explicit(&profile->event_count, 1, memory_order_relaxed);
    if (place < MOST_EVENTS)
        profile->events[place] = (ProfileEvent){row, lane, begin - profile->start, end - profile->start};
}

void profile_count(Profile *profile, ProfileTotal total, int64_t amount)
{
    atomic_fetch_add_explicit(&profile->totals[total], amount, memory_order_relaxed);
}

int64_t profile_total(const Profile *profile, ProfileTotal total)
{
    return atomic_load(&profile->totals[total]);
}

const ProfilePlan *profile_plans(const Profile *profile)
{
    return profile->plans;
}

const ProfileEvent *profile_events(const Profile *profile, int *count)
{
    long long noted = atomic_load(&profile->event_count);
    *count = noted < MOST_EVENTS ? (int)noted : MOST_EVENTS;
    return profile->events;
}
