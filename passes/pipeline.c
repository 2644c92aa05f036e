/* The pipeline: every pass of passes.def in order, each verified, timed and dumped by the one function below. */
#include "passes/passes.h"

#include <string.h>
#include <time.h>

static const char *const names[] = {
#define PASS(name, what) #name,
#include "passes/passes.def"
};

static const char *const summaries[] = {
#define PASS(name, what) what,
#include "passes/passes.def"
};

const char *pass_name(PassId pass)
{
    return names[pass];
}

const char *pass_summary(PassId pass)
{
    return summaries[pass];
}

bool pass_from_name(const char *name, PassId *pass)
{
    for (int i = 0; i < PASS_COUNT; i++)
        if (!strcmp(names[i], name)) {
            *pass = (PassId)i;
            return true;
        }
    return false;
}

/* What passes work on: a module until fusion, a plan afterwards. */
typedef struct State {
    IrModule *module;
    const char *entry;
    Plan *plan;
    const PipelineOptions *options;
    DiagSink *diags;
} State;

static bool run_graph_pass(State *state, PassId pass)
{
    switch (pass) {
    case PASS_derive:
        return pass_derive(state->module, state->diags);
    case PASS_inline:
        pass_inline(state->module);
        break;
    case PASS_simplify:
        pass_simplify(state->module);
        break;
    case PASS_cse:
        pass_cse(state->module);
        break;
    case PASS_licm:
        pass_licm(state->module);
        break;
    case PASS_dce:
        pass_dce(state->module);
        break;
    case PASS_legalise:
        pass_legalise(state->module);
        break;
    case PASS_stream:
        if (!state->options->lower.no_fuse)
            pass_stream(state->module, state->options->lower.block_rows);
        break;
    default:
        break;
    }
    return true;
}

static bool run_pass(State *state, PassId pass)
{
    const LowerOptions *lower = &state->options->lower;
    switch (pass) {
    case PASS_remat:
        pass_remat(state->module, ir_func_find(state->module, state->entry), lower);
        return true;
    case PASS_fuse:
        state->plan = pass_fuse(state->module->arena, ir_func_find(state->module, state->entry), lower, state->diags);
        return state->plan != NULL;
    case PASS_expand:
        pass_expand(state->plan, lower);
        return true;
    case PASS_plan:
        return pass_plan(state->plan, lower, state->diags);
    default:
        return run_graph_pass(state, pass);
    }
}

static double milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static void dump(const State *state)
{
    if (!state->options->dump)
        return;
    if (state->plan)
        plan_print(state->plan, state->options->dump);
    else
        ir_print(state->module, state->options->dump);
}

static bool run_one(State *state, PassId pass)
{
    double start = milliseconds();
    bool done = run_pass(state, pass);
    if (done && !state->plan)
        done = ir_verify(state->module, state->diags);
    if (state->options->timing && state->options->dump)
        text_printf(state->options->dump, "# %-10s %8.2f ms\n", names[pass], milliseconds() - start);
    return done;
}

Plan *pipeline_run(IrModule *module, const char *entry, const PipelineOptions *options, DiagSink *diags)
{
    State state = {.module = module, .entry = entry, .options = options, .diags = diags};
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        if (!run_one(&state, (PassId)pass))
            return NULL;
        if (pass == options->stop_after) {
            dump(&state);
            return NULL;
        }
    }
    return state.plan;
}
