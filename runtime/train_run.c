/* cm_training_run: the steps that are left, with a log, checkpoints, and a picture of the loss at the end. */
#include "runtime/api_internal.h"

#include "base/file.h"
#include "runtime/format.h"
#include "runtime/picture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct LogRow {
    int64_t step;
    double seconds;
    double *losses, *grad_norms; /* of each turn when it was last taken; nan: not yet */
} LogRow;

typedef struct Driver {
    cm_training *training;
    cm_training_run_options options;
    cm_training_report report;
    FILE *log;
    LIST(LogRow) rows;
    LogRow last;            /* what the next one says of turns that are not taken */
    double earlier_seconds; /* of the run before it was resumed */
    int64_t saved_step;     /* of the last checkpoint, or -1 */
    int lock;               /* on the directory: two runs would write over each other's files; or -1 */
} Driver;

static const char *file_of(const Driver *driver, Arena *arena, const char *name)
{
    return path_join(arena, driver->options.directory, name);
}

/* ---- the log ---- */

static LogRow row_new(Arena *arena, const cm_training *training)
{
    return (LogRow){.losses = arena_array(arena, double, training->turn_count),
                    .grad_norms = arena_array(arena, double, training->turn_count)};
}

/* "step,loss,grad_norm,seconds"; of a run with turns "step,loss.student,grad_norm.student,..,seconds". */
static void print_head(Text *out, const cm_training *training)
{
    text_puts(out, "step");
    for (int i = 0; i < training->turn_count; i++) {
        const char *name = training->turns[i].name, *dot = name ? "." : "";
        text_printf(out, ",loss%s%s,grad_norm%s%s", dot, name ? name : "", dot, name ? name : "");
    }
    text_puts(out, ",seconds\n");
}

static void print_row(Text *out, const LogRow *row, int turns)
{
    text_printf(out, "%lld", (long long)row->step);
    for (int i = 0; i < turns; i++)
        text_printf(out, ",%.9g,%.9g", row->losses[i], row->grad_norms[i]);
    text_printf(out, ",%.3f\n", row->seconds);
}

static bool scan_number(char **at, double *number)
{
    char *end = *at;
    if (**at != ',')
        return false;
    *number = strtod(*at + 1, &end);
    bool any = end != *at + 1;
    *at = end;
    return any;
}

static bool scan_row(char *line, LogRow *row, int turns)
{
    char *at = line;
    row->step = strtoll(line, &at, 10);
    bool ok = at != line;
    for (int i = 0; ok && i < turns; i++)
        ok = scan_number(&at, &row->losses[i]) && scan_number(&at, &row->grad_norms[i]);
    return ok && scan_number(&at, &row->seconds) && *at == '\n';
}

/* Rows of a log that stands behind the checkpoint are those that will be written again: they are left out. */
static void read_log(ApiCall *call, Driver *driver, const char *path)
{
    Bytes bytes;
    if (file_read(call->arena, path, 0, &bytes))
        return;
    char *line = strchr((char *)bytes.data, '\n');
    while (line && line[1]) {
        LogRow row = row_new(call->arena, driver->training);
        if (!scan_row(line + 1, &row, driver->training->turn_count) || row.step >= driver->training->step)
            return;
        list_push(call->arena, &driver->rows, row);
        driver->earlier_seconds = row.seconds;
        line = strchr(line + 1, '\n');
    }
}

static cm_status open_log(ApiCall *call, Driver *driver)
{
    const char *path = file_of(driver, call->arena, "loss.csv");
    if (driver->training->step > 0)
        read_log(call, driver, path);
    Text kept = text_new(call->arena);
    print_head(&kept, driver->training);
    for (int i = 0; i < driver->rows.count; i++)
        print_row(&kept, &driver->rows.items[i], driver->training->turn_count);
    const char *reason = file_write_atomic(call->arena, path, kept.data, kept.length);
    if (reason)
        return api_fail(call, CM_IO_ERROR, "%s", reason);
    driver->log = fopen(path, "a");
    return driver->log ? CM_OK : api_fail(call, CM_IO_ERROR, "%s cannot be written", path);
}

static LogRow make_row(ApiCall *call, const Driver *driver, const cm_step *step)
{
    LogRow row = row_new(call->arena, driver->training);
    row.step = step->step;
    row.seconds = driver->earlier_seconds + driver->report.train_seconds;
    memcpy(row.losses, driver->last.losses, step->turn_count * sizeof *row.losses);
    memcpy(row.grad_norms, driver->last.grad_norms, step->turn_count * sizeof *row.grad_norms);
    return row;
}

static void remember_turns(Driver *driver, const cm_step *step)
{
    for (size_t i = 0; i < step->turn_count; i++) {
        if (!step->turns[i].taken)
            continue;
        driver->last.losses[i] = step->turns[i].loss;
        driver->last.grad_norms[i] = step->turns[i].grad_norm;
    }
}

static void log_step(ApiCall *call, Driver *driver, const cm_step *step)
{
    const cm_training *training = driver->training;
    remember_turns(driver, step);
    if (step->step % training->log_every != 0 && training->step != training->steps)
        return;
    LogRow row = make_row(call, driver, step);
    list_push(call->arena, &driver->rows, row);
    if (!driver->log)
        return;
    ArenaMark mark = arena_mark(call->arena);
    Text line = text_new(call->arena);
    print_row(&line, &row, training->turn_count);
    fputs(line.data, driver->log);
    fflush(driver->log);
    arena_rewind(call->arena, mark);
}

/* The curve of a turn; false: it is not positive throughout. */
static bool loss_series(Arena *arena, const Driver *driver, int turn, Series *series)
{
    double *x = arena_array(arena, double, driver->rows.count), *y = arena_array(arena, double, driver->rows.count);
    const char *name = driver->training->turns[turn].name;
    bool positive = true;
    *series = (Series){.name = name ? name : "loss", .x = x, .y = y, .mark = MARK_line, .smooth = true};
    for (int i = 0; i < driver->rows.count; i++) {
        double loss = driver->rows.items[i].losses[turn];
        if (isnan(loss))
            continue;
        x[series->count] = (double)driver->rows.items[i].step;
        y[series->count++] = loss;
        positive = positive && loss > 0;
    }
    return positive;
}

static cm_status draw_loss(ApiCall *call, const Driver *driver)
{
    int turns = driver->training->turn_count;
    Series *series = arena_array(call->arena, Series, turns);
    bool positive = true;
    for (int i = 0; i < turns; i++)
        positive &= loss_series(call->arena, driver, i, &series[i]);
    Text svg = text_new(call->arena);
    PlotOptions options = {
        .title = driver->training->executable->entry, .x_label = "step", .y_label = "loss", .log_y = positive};
    picture_plot(&svg, series, turns, &options);
    const char *reason = file_write_atomic(call->arena, file_of(driver, call->arena, "loss.svg"), svg.data, svg.length);
    return reason ? api_fail(call, CM_IO_ERROR, "%s", reason) : CM_OK;
}

/* ---- checkpoints ---- */

/* Weights as samples use them: the averages, under the names of what they average. */
static const char *write_weights(Arena *arena, const Driver *driver)
{
    const cm_training *training = driver->training;
    Array *weights = arena_array(arena, Array, training->state->count);
    int count = 0;
    for (int i = 0; i < training->executable->input_count; i++) {
        const Port *port = &training->executable->inputs[i];
        if (port->role != PORT_parameter)
            continue;
        const Array *average = parameters_find(training->state, arena_printf(arena, "ema.%s", port->path));
        weights[count] = average ? *average : *parameters_find(training->state, port->path);
        weights[count++].name = port->path;
    }
    return safetensors_write(arena, file_of(driver, arena, "weights.safetensors"), weights, count, NULL, 0);
}

/* The checkpoint comes last: a process that is killed in between leaves weights that a resumed run writes again, and one that
 * finds the last checkpoint has nothing left to write. */
static cm_status save(ApiCall *call, Driver *driver)
{
    if (!driver->options.directory || driver->saved_step == driver->training->step)
        return CM_OK;
    cm_status status = training_sync(call, driver->training);
    if (status != CM_OK)
        return status;
    ArenaMark mark = arena_mark(call->arena);
    const char *reason = write_weights(call->arena, driver);
    if (reason)
        return api_fail(call, CM_IO_ERROR, "%s", reason);
    status = training_save(call, driver->training, file_of(driver, call->arena, "checkpoint.safetensors"));
    if (status != CM_OK)
        return status;
    arena_rewind(call->arena, mark);
    driver->saved_step = driver->training->step;
    return CM_OK;
}

static bool is_time_to_save(const cm_training *training)
{
    return training->save_every > 0 && training->step % training->save_every == 0;
}

static cm_status resume(ApiCall *call, Driver *driver)
{
    const char *checkpoint = file_of(driver, call->arena, "checkpoint.safetensors");
    if (!file_exists(checkpoint)) {
        context_log(call->context, "there is no %s: the run begins at step 0", checkpoint);
        return CM_OK;
    }
    cm_status status = training_load(call, driver->training, checkpoint);
    if (status == CM_OK)
        driver->saved_step = driver->training->step;
    return status;
}

static cm_status prepare(ApiCall *call, Driver *driver)
{
    if (!driver->options.directory)
        return CM_OK;
    const char *reason = file_make_directories(call->arena, driver->options.directory);
    if (!reason)
        reason = file_lock_directory(call->arena, driver->options.directory, &driver->lock);
    if (reason)
        return api_fail(call, CM_IO_ERROR, "%s", reason);
    static const char *const files[] = {"checkpoint.safetensors", "weights.safetensors", "loss.csv", "loss.svg"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        file_remove_leftovers(call->arena, file_of(driver, call->arena, files[i]));
    cm_status status = driver->options.resume ? resume(call, driver) : CM_OK;
    return status == CM_OK ? open_log(call, driver) : status;
}

/* ---- the run ---- */

static int64_t port_bytes(const cm_training *training)
{
    int64_t bytes = 0;
    for (int i = 0; i < training->executable->input_count; i++) {
        const Port *port = &training->executable->inputs[i];
        if (port->role != PORT_argument)
            bytes += ir_element_count(&port->type) * dtype_size(port->type.dtype);
    }
    return bytes;
}

static void start_report(Driver *driver)
{
    const cm_training *training = driver->training;
    driver->report.first_step = driver->report.step = training->step;
    driver->last = row_new(training->arena, training);
    const LogRow *before = driver->rows.count ? &driver->rows.items[driver->rows.count - 1] : NULL;
    for (int i = 0; i < training->turn_count; i++) {
        driver->last.losses[i] = before ? before->losses[i] : NAN;
        driver->last.grad_norms[i] = before ? before->grad_norms[i] : NAN;
    }
    driver->report.compile_seconds = training->executable->stats.seconds;
    driver->report.peak_bytes = training->executable->stats.peak_bytes + port_bytes(training);
}

static void count_step(Driver *driver, const cm_step *step)
{
    cm_training_report *report = &driver->report;
    report->step = driver->training->step;
    if (!isnan(step->loss))
        report->loss = step->loss;
    report->train_seconds += step->seconds;
    double images = (double)(report->step - report->first_step) * (double)driver->training->batch;
    report->images_per_second = report->train_seconds > 0 ? images / report->train_seconds : 0;
}

/* A step needs the arena only while it runs; the log's rows are pushed after the rewind. */
static cm_status one_step(ApiCall *call, Driver *driver)
{
    cm_step step = {0};
    ArenaMark mark = arena_mark(call->arena);
    cm_status status = training_step(call, driver->training, &step);
    if (status != CM_OK)
        return status;
    arena_rewind(call->arena, mark);
    count_step(driver, &step);
    log_step(call, driver, &step);
    if (driver->options.progress)
        driver->options.progress(driver->options.progress_state, &step, &driver->report);
    return is_time_to_save(driver->training) ? save(call, driver) : CM_OK;
}

/* What a run leaves that ends by itself, is stopped, or came to a step that is not finite and so changed nothing.  One that did
 * no step has nothing of its own to leave over what may be there. */
static cm_status leave_files(ApiCall *call, Driver *driver, cm_status status)
{
    bool failed = status == CM_NOT_FINITE;
    if (!driver->options.directory || (status != CM_OK && !failed))
        return status;
    bool any = !failed || driver->report.step > driver->report.first_step;
    cm_status left = any ? save(call, driver) : CM_OK;
    if (failed && any && left == CM_OK)
        diag_note(&call->diags, (Span){0}, "%s holds them", file_of(driver, call->arena, "checkpoint.safetensors"));
    if (left == CM_OK)
        left = draw_loss(call, driver);
    if (failed) /* what the step was blamed for goes before a file that failed */
        call->reason = NULL;
    return failed ? status : left;
}

static cm_status run_body(ApiCall *call, void *parameters)
{
    Driver *driver = parameters;
    cm_training *training = driver->training;
    api_borrow_arena(call, training->arena);
    cm_status status = prepare(call, driver);
    if (status != CM_OK)
        return status;
    start_report(driver);
    while (status == CM_OK && training->step < training->steps && !atomic_load(&training->stop))
        status = one_step(call, driver);
    driver->report.stopped = atomic_exchange(&training->stop, 0) && training->step < training->steps;
    return leave_files(call, driver, status);
}

cm_status cm_training_run(cm_training *training, const cm_training_run_options *options, cm_training_report *report,
                          cm_error **error)
{
    if (report)
        *report = (cm_training_report){0};
    if (!training)
        return api_misuse(error, "cm_training_run: a null training");
    Driver driver = {.training = training, .saved_step = -1, .lock = -1};
    API_OPTIONS(driver.options, options);
    cm_status status = api_run(training->context, error, run_body, &driver);
    if (driver.log)
        fclose(driver.log);
    if (driver.lock >= 0)
        close(driver.lock);
    if (report)
        *report = driver.report;
    return status;
}
