/* Recomputation, second step: which arrays to cut.
 *
 * Where most bytes are alive, each array that lives across is a candidate: to be computed again behind that place.  What it
 * is computed from and is not alive there is computed again as well, up to what is, unless it is small: then it is kept for
 * longer.  Every candidate is tried on the model, and the one that takes away most of what is over the target, for what
 * it costs, is taken; then those next in order, as long as they still do about as well.  Copies are arrays like others: they
 * can be cut again, so a long chain is computed in segments, and these in segments.  Each cut that is taken lowers the excess.
 */
#include "passes/remat_internal.h"

#include <stdlib.h>

enum { SMALL = 16, MOST_CUTS = 4096 };
static const double ENOUGH = 1e-6, STILL_GOOD = 0.5;

typedef struct Candidate {
    RematInts units;
    int step; /* at which they are cut */
    double worth;
} Candidate;

typedef struct Choice {
    RematModel *model;
    int64_t target;
    RematRun *now, *tried;
    bool *alive; /* by value: it lives across the peak */
    bool *taken; /* by unit: it is in the candidate that is being made */
    LIST(Candidate) candidates;
} Choice;

/* ---- cuts ---- */

static bool is_cut_at(const RematUnit *unit, int step)
{
    for (int i = 0; i < unit->cuts.count; i++)
        if (unit->cuts.items[i] == step)
            return true;
    return false;
}

static void insert_cut(Choice *choice, int unit, int step)
{
    RematInts *cuts = &choice->model->units.items[unit].cuts;
    list_push(choice->model->arena, cuts, step);
    for (int i = cuts->count - 1; i > 0 && cuts->items[i - 1] > step; i--) {
        cuts->items[i] = cuts->items[i - 1];
        cuts->items[i - 1] = step;
    }
}

static void remove_cut(Choice *choice, int unit, int step)
{
    RematInts *cuts = &choice->model->units.items[unit].cuts;
    int kept = 0;
    for (int i = 0; i < cuts->count; i++)
        if (cuts->items[i] != step)
            cuts->items[kept++] = cuts->items[i];
    cuts->count = kept;
}

/* Cuts, and says what comes of it: how much of the excess goes for each unit of cost; 0: none. */
static double apply(Choice *choice, const Candidate *candidate)
{
    for (int i = 0; i < candidate->units.count; i++)
        insert_cut(choice, candidate->units.items[i], candidate->step);
    remat_run(choice->model, choice->tried, choice->target);
    double gone = choice->now->excess - choice->tried->excess;
    double cost = choice->tried->cost - choice->now->cost;
    if (gone <= ENOUGH * choice->now->excess)
        return 0;
    return gone / (cost > 1 ? cost : 1);
}

static void undo(Choice *choice, const Candidate *candidate)
{
    for (int i = 0; i < candidate->units.count; i++)
        remove_cut(choice, candidate->units.items[i], candidate->step);
}

/* ---- candidates ---- */

static int64_t unit_bytes(const RematModel *model, const RematUnit *unit)
{
    int64_t bytes = 0;
    for (int i = 0; i < unit->values.count; i++)
        bytes += model->values.items[unit->values.items[i]].bytes;
    return bytes;
}

/* The unit, and what it is made of that has to be computed again for it: without what has less than `small` bytes. */
static void collect(Choice *choice, Candidate *candidate, int index, int64_t small)
{
    RematModel *model = choice->model;
    const RematUnit *unit = &model->units.items[index];
    choice->taken[index] = true;
    if (!is_cut_at(unit, candidate->step))
        list_push(model->arena, &candidate->units, index);
    for (int i = 0; i < unit->reads.count; i++) {
        const RematValue *value = &model->values.items[unit->reads.items[i]];
        bool there = choice->alive[unit->reads.items[i]] || choice->taken[value->unit];
        if (!there && !model->units.items[value->unit].fixed && value->bytes > small)
            collect(choice, candidate, value->unit, small);
    }
}

/* Returns how many units it has. */
static int try_candidate(Choice *choice, int unit, int step, int64_t small)
{
    Candidate candidate = {.step = step};
    collect(choice, &candidate, unit, small);
    for (int i = 0; i < candidate.units.count; i++)
        choice->taken[candidate.units.items[i]] = false;
    choice->taken[unit] = false;
    candidate.worth = apply(choice, &candidate);
    undo(choice, &candidate);
    if (candidate.worth > 0)
        list_push(choice->model->arena, &choice->candidates, candidate);
    return candidate.units.count;
}

static void find_candidates(Choice *choice)
{
    const RematRun *now = choice->now;
    const RematModel *model = choice->model;
    int step = now->step.items[now->place];
    choice->candidates.count = 0;
    for (int i = 0; i < model->values.count; i++)
        choice->alive[i] = false;
    for (int i = 0; i < now->lives.count; i++)
        if (now->lives.items[i].born <= now->place && now->lives.items[i].last > now->place)
            choice->alive[now->lives.items[i].value] = true;
    for (int i = 0; i < model->units.count; i++) {
        const RematUnit *unit = &model->units.items[i];
        int64_t bytes = 0;
        for (int k = 0; k < unit->values.count; k++)
            bytes += choice->alive[unit->values.items[k]] ? model->values.items[unit->values.items[k]].bytes : 0;
        if (!bytes || unit->fixed || is_cut_at(unit, step))
            continue;
        if (try_candidate(choice, i, step, unit_bytes(model, unit) / SMALL) > 1)
            try_candidate(choice, i, step, INT64_MAX); /* its sources live for longer instead */
    }
}

static int by_worth(const void *a, const void *b)
{
    const Candidate *left = a, *right = b;
    if (left->worth != right->worth)
        return left->worth < right->worth ? 1 : -1;
    return left->units.items[0] - right->units.items[0];
}

/* ---- taking them ---- */

static void take(Choice *choice)
{
    RematRun *run = choice->now;
    choice->now = choice->tried;
    choice->tried = run;
}

static bool is_done(const Choice *choice)
{
    return choice->now->peak <= choice->target;
}

static bool take_best(Choice *choice)
{
    find_candidates(choice);
    if (!choice->candidates.count)
        return false;
    qsort(choice->candidates.items, (size_t)choice->candidates.count, sizeof(Candidate), by_worth);
    for (int i = 0; i < choice->candidates.count && !is_done(choice); i++) {
        const Candidate *candidate = &choice->candidates.items[i];
        bool known = false;
        for (int k = 0; k < candidate->units.count; k++)
            known |= is_cut_at(&choice->model->units.items[candidate->units.items[k]], candidate->step);
        if (known)
            continue;
        double worth = apply(choice, candidate);
        if (i > 0 && worth < STILL_GOOD * candidate->worth) {
            undo(choice, candidate);
            break;
        }
        take(choice);
    }
    return true;
}

bool remat_choose(RematModel *model, int64_t target)
{
    Choice choice = {.model = model, .target = target > 0 ? target : 1};
    choice.now = remat_run_new(model);
    choice.tried = remat_run_new(model);
    choice.alive = arena_array(model->arena, bool, model->values.count + 1);
    choice.taken = arena_array(model->arena, bool, model->units.count + 1);
    remat_run(model, choice.now, choice.target);
    for (int i = 0; i < MOST_CUTS && !is_done(&choice); i++)
        if (!take_best(&choice))
            return false;
    return is_done(&choice);
}
