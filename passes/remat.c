/* Remat: computes values again instead of keeping them, where a run would need more memory than it may.
 *
 * Takes the function that will be run, legalised; leaves it as it is if its plan keeps to the budget, and else with copies of
 * nodes, right before what reads them and behind where memory is short.  What plans need is not quite what the model says, so
 * plans are made: each time one is too large, the model's target is lowered by as much, and cuts are added.  It ends because
 * the target falls, and each target is reached or nothing is left that helps.  Nothing is cut in bodies of loops. */
#include "passes/remat_internal.h"

enum { MOST_ROUNDS = 8 };
static const double TIGHTER = 0.99, LOWER = 0.9;

/* What a run of the function would need. */
static int64_t planned_bytes(const IrFunc *func, const LowerOptions *options)
{
    DiagSink diags = diag_sink_new(func->module->arena);
    Plan *plan = pass_fuse(func->module->arena, func, options, &diags);
    if (plan)
        pass_plan(plan, options, &diags);
    return plan ? plan_peak(plan) : INT64_MAX;
}

static int64_t bytes_with_cuts(const RematModel *model, const IrFunc *func)
{
    ArenaMark mark = arena_mark(func->module->arena);
    int64_t bytes = planned_bytes(remat_write(model, func), model->options);
    arena_rewind(func->module->arena, mark);
    return bytes;
}

typedef LIST(RematInts) CutLists;

static CutLists cuts_of(const RematModel *model)
{
    CutLists lists = {0};
    for (int i = 0; i < model->units.count; i++) {
        const RematInts *cuts = &model->units.items[i].cuts;
        RematInts copy = {arena_copy(model->arena, cuts->items, (size_t)cuts->count * sizeof(int)), cuts->count, cuts->count};
        list_push(model->arena, &lists, copy);
    }
    return lists;
}

/* Far from the target, what is over it lies everywhere and says little about the peak: `gently` goes there in steps. */
static bool approach(RematModel *model, double target, bool gently)
{
    double near = gently ? LOWER * (double)remat_peak(model) : 0;
    while (near > target && remat_choose(model, (int64_t)near))
        near *= LOWER;
    return remat_choose(model, (int64_t)target);
}

typedef struct Best {
    int64_t bytes;
    CutLists cuts;
} Best;

static void cut(RematModel *model, const IrFunc *func, int64_t planned, bool gently, Best *best)
{
    int64_t limit = model->options->memory_limit;
    double target = (double)remat_peak(model) * (double)limit / (double)planned;
    for (int i = 0; i < MOST_ROUNDS && best->bytes > limit; i++) {
        bool reached = approach(model, target, gently);
        int64_t bytes = bytes_with_cuts(model, func);
        if (bytes < best->bytes)
            *best = (Best){bytes, cuts_of(model)};
        double wanted = TIGHTER * (double)limit / (double)bytes;
        target *= reached || wanted < LOWER ? wanted : LOWER;
    }
}

static void set_cuts(RematModel *model, const CutLists *cuts)
{
    for (int i = 0; i < model->units.count; i++)
        model->units.items[i].cuts = cuts->items[i];
}

/* Cuts until a plan keeps to the limit, or as far as it goes: one way of going there sometimes ends where another does not. */
static void find_cuts(RematModel *model, const IrFunc *func, int64_t planned)
{
    const CutLists none = cuts_of(model);
    Best best = {planned, none};
    cut(model, func, planned, true, &best);
    if (best.bytes > model->options->memory_limit) {
        set_cuts(model, &none);
        cut(model, func, planned, false, &best);
    }
    set_cuts(model, &best.cuts);
}

void pass_remat(IrModule *module, IrFunc *func, const LowerOptions *options)
{
    if (!options->memory_limit)
        return;
    ArenaMark mark = arena_mark(module->arena);
    int64_t planned = planned_bytes(func, options);
    arena_rewind(module->arena, mark);
    if (planned <= options->memory_limit)
        return;
    RematModel *model = remat_model(module->arena, func, options, true);
    find_cuts(model, func, planned);
    Span at = func->at;
    *func = *remat_write(model, func);
    func->at = at;
    pass_dce(module); /* of a loop that is run again, some results are not needed a second time */
}
