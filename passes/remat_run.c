/* Recomputation: a walk through the steps of a model with its cuts: what is computed again where, what is alive when. */
#include "passes/remat_internal.h"

int remat_copy_of(const RematUnit *unit, int step)
{
    int copy = 0;
    while (copy < unit->cuts.count && unit->cuts.items[copy] < step)
        copy++;
    return copy;
}

RematRun *remat_run_new(const RematModel *model)
{
    RematRun *run = arena_new_of(model->arena, RematRun);
    run->born = arena_array(model->arena, int, model->values.count + 1);
    run->last = arena_array(model->arena, int, model->values.count + 1);
    run->copy = arena_array(model->arena, int, model->units.count + 1);
    return run;
}

static void end_life(const RematModel *model, RematRun *run, int value)
{
    if (run->born[value] >= 0)
        list_push(model->arena, &run->lives, ((RematLife){value, run->born[value], run->last[value]}));
    run->born[value] = -1;
}

/* A new position, at which the values are read and the units computed. */
static int begin(const RematModel *model, RematRun *run, int step, const RematInts *reads)
{
    int position = run->step.count;
    list_push(model->arena, &run->step, step);
    list_push(model->arena, &run->inner, (int64_t)0);
    for (int i = 0; i < reads->count; i++)
        run->last[reads->items[i]] = position;
    return position;
}

static void compute(RematRun *run, const RematUnit *unit, int position)
{
    run->inner.items[position] += unit->inner;
    for (int i = 0; i < unit->values.count; i++)
        run->born[unit->values.items[i]] = run->last[unit->values.items[i]] = position;
}

/* Sees to it that the copies are there which the step reads. */
static void provide(const RematModel *model, RematRun *run, const RematInts *values, int step)
{
    for (int i = 0; i < values->count; i++) {
        int index = model->values.items[values->items[i]].unit;
        const RematUnit *unit = &model->units.items[index];
        int copy = remat_copy_of(unit, step);
        if (run->copy[index] == copy)
            continue;
        run->copy[index] = copy;
        provide(model, run, &unit->reads, step);
        for (int k = 0; k < unit->values.count; k++)
            end_life(model, run, unit->values.items[k]);
        run->cost += unit->cost;
        compute(run, unit, begin(model, run, step, &unit->reads));
    }
}

static void add_up(const RematModel *model, RematRun *run, int64_t target)
{
    int64_t alive = 0;
    run->change.count = 0;
    for (int i = 0; i <= run->step.count; i++)
        list_push(model->arena, &run->change, (int64_t)0);
    for (int i = 0; i < run->lives.count; i++) {
        const RematLife *life = &run->lives.items[i];
        run->change.items[life->born] += model->values.items[life->value].bytes;
        run->change.items[life->last + 1] -= model->values.items[life->value].bytes;
    }
    for (int i = 0; i < run->step.count; i++) {
        alive += run->change.items[i];
        int64_t bytes = alive + run->inner.items[i];
        double over = target > 0 && bytes > target ? (double)(bytes - target) / (double)target : 0;
        run->excess += over * over;
        if (bytes > run->peak) {
            run->peak = bytes;
            run->place = i;
        }
    }
}

void remat_run(const RematModel *model, RematRun *run, int64_t target)
{
    run->lives.count = run->step.count = run->inner.count = run->place = 0;
    run->peak = 0;
    run->excess = run->cost = 0;
    for (int i = 0; i < model->values.count; i++)
        run->born[i] = -1;
    for (int i = 0; i < model->units.count; i++)
        run->copy[i] = 0;
    for (int step = 0; step < model->steps.count; step++) {
        const RematStep *now = &model->steps.items[step];
        provide(model, run, &now->reads, step);
        int position = begin(model, run, step, &now->reads);
        for (int i = 0; i < now->units.count; i++)
            compute(run, &model->units.items[now->units.items[i]], position);
    }
    for (int i = 0; i < model->values.count; i++)
        end_life(model, run, i);
    add_up(model, run, target);
}

int64_t remat_peak(const RematModel *model)
{
    RematRun *run = remat_run_new(model);
    remat_run(model, run, 0);
    return run->peak;
}
