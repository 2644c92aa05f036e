/* Profiles, as the caller sees them: rows, and a file that viewers of traces read. */
#include "runtime/api_internal.h"

#include "base/file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ---- rows ---- */

static const ProfileRow *find_row(const Profile *profile, size_t index)
{
    for (const ProfilePlan *plan = profile_plans(profile); plan; plan = plan->next) {
        for (int i = 0; i < plan->row_count; i++) {
            if (atomic_load(&plan->rows[i].launches) && index-- == 0)
                return &plan->rows[i];
        }
    }
    return NULL;
}

cm_status cm_profile_get(const cm_context *context, size_t index, cm_profile_row *row)
{
    if (!row)
        return CM_INVALID_ARGUMENT;
    *row = (cm_profile_row){0};
    const ProfileRow *found = context && context->profile ? find_row(context->profile, index) : NULL;
    if (!found)
        return CM_INVALID_ARGUMENT;
    *row = (cm_profile_row){
        .device = found->device,
        .entry = found->entry,
        .kernel = found->kernel,
        .file = found->file,
        .line = found->line,
        .launches = atomic_load(&found->launches),
        .seconds = 1e-9 * (double)atomic_load(&found->nanoseconds),
        .bytes = found->bytes,
        .flops = found->flops,
    };
    return CM_OK;
}

cm_status cm_profile_total(const cm_context *context, cm_profile_totals *totals)
{
    if (!totals)
        return CM_INVALID_ARGUMENT;
    *totals = (cm_profile_totals){0};
    if (!context || !context->profile)
        return CM_INVALID_ARGUMENT;
    const Profile *profile = context->profile;
    *totals = (cm_profile_totals){
        .runs = profile_total(profile, PROFILE_RUNS),
        .submissions = profile_total(profile, PROFILE_SUBMISSIONS),
        .host_seconds = 1e-9 * (double)profile_total(profile, PROFILE_HOST_NANOSECONDS),
        .bytes_up = profile_total(profile, PROFILE_BYTES_UP),
        .bytes_down = profile_total(profile, PROFILE_BYTES_DOWN),
        .least_bytes = profile_total(profile, PROFILE_LEAST_BYTES),
    };
    return CM_OK;
}

/* ---- the trace ---- */

static const char *place(Arena *arena, const char *file, int line)
{
    return file ? arena_printf(arena, "%s:%d", file, line) : "";
}

/* A "complete" event: microseconds, a process for all, a thread for each lane. */
static json_t *event_json(Arena *arena, const ProfileEvent *event)
{
    const ProfileRow *row = event->row;
    return json_pack("{s:s, s:s, s:s, s:f, s:f, s:i, s:i, s:{s:s, s:s, s:I, s:f}}", "name", row->kernel, "cat", row->entry,
                     "ph", "X", "ts", 1e-3 * (double)event->begin, "dur", 1e-3 * (double)(event->end - event->begin), "pid", 1,
                     "tid", event->lane, "args", "line", place(arena, row->file, row->line), "device", row->device, "bytes",
                     (json_int_t)row->bytes, "flops", row->flops);
}

static json_t *row_json(const cm_profile_row *row)
{
    return json_pack("{s:s, s:s, s:s, s:s?, s:i, s:I, s:f, s:I, s:f}", "device", row->device, "entry", row->entry, "kernel",
                     row->kernel, "file", row->file, "line", row->line, "launches", (json_int_t)row->launches, "seconds",
                     row->seconds, "bytes", (json_int_t)row->bytes, "flops", row->flops);
}

static json_t *totals_json(const cm_context *context)
{
    cm_profile_totals totals;
    cm_profile_total(context, &totals);
    return json_pack("{s:I, s:I, s:f, s:I, s:I, s:I}", "count", (json_int_t)totals.runs, "submissions",
                     (json_int_t)totals.submissions, "host_seconds", totals.host_seconds, "bytes_up",
                     (json_int_t)totals.bytes_up, "bytes_down", (json_int_t)totals.bytes_down, "least_bytes",
                     (json_int_t)totals.least_bytes);
}

/* Null if there is no memory. */
static json_t *trace_json(ApiCall *call)
{
    json_t *events = json_array(), *rows = json_array();
    int count;
    const ProfileEvent *list = profile_events(call->context->profile, &count);
    bool whole = events && rows;
    for (int i = 0; whole && i < count; i++) {
        ArenaMark mark = arena_mark(call->arena);
        whole = json_array_append_new(events, event_json(call->arena, &list[i])) == 0;
        arena_rewind(call->arena, mark);
    }
    cm_profile_row row;
    for (size_t i = 0; whole && cm_profile_get(call->context, i, &row) == CM_OK; i++)
        whole = json_array_append_new(rows, row_json(&row)) == 0;
    json_t *trace = whole ? json_pack("{s:O, s:O, s:o, s:s}", "traceEvents", events, "kernels", rows, "runs",
                                      totals_json(call->context), "displayTimeUnit", "ms")
                          : NULL;
    json_decref(events);
    json_decref(rows);
    return trace;
}

static cm_status save_body(ApiCall *call, void *parameters)
{
    const char *path = parameters;
    if (!call->context->profile)
        return api_fail(call, CM_INVALID_ARGUMENT, "the context was made without a profile");
    json_t *trace = trace_json(call);
    char *text = trace ? json_dumps(trace, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(trace);
    if (!text)
        return api_fail(call, CM_OUT_OF_MEMORY, NULL);
    const char *reason = file_write_atomic(call->arena, path, text, strlen(text));
    free(text);
    return reason ? api_fail(call, CM_IO_ERROR, "%s", reason) : CM_OK;
}

cm_status cm_profile_save(cm_context *context, const char *path, cm_error **error)
{
    if (!context || !path)
        return api_misuse(error, "cm_profile_save: a null context or path");
    return api_run(context, error, save_body, (void *)path);
}
