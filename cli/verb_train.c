/* cmc train: runs a train block to its end, or until it is told to stop; then draws a sample picture. */
#include "cli/cli.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };

/* ---- stopping: a second signal ends the process at once ---- */

enum { SAME_SECONDS = 1 }; /* one that comes so soon is the first once more: timeout sends it to a process and to its group */

static cm_training *volatile running;
static volatile sig_atomic_t caught, caught_at;

static void stop_running(int number)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!caught) {
        caught = number;
        caught_at = (sig_atomic_t)now.tv_sec;
        cm_training_stop(running);
    } else if ((sig_atomic_t)now.tv_sec - caught_at > SAME_SECONDS) {
        signal(number, SIG_DFL);
        raise(number);
    }
}

/* A signal that whoever started this had ignored (nohup) stays so. */
static void catch_signals(void (*handler)(int))
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        if (signal(signals[i], handler) == SIG_IGN)
            signal(signals[i], SIG_IGN);
    }
}

/* Once all is saved and said, the process ends by the signal, so that a script that called it stops, too. */
static void end_by_signal(void)
{
    fflush(stdout);
    if (caught) {
        signal(caught, SIG_DFL);
        raise(caught);
    }
}

/* ---- progress ---- */

typedef struct Progress {
    int64_t steps;
    double *losses; /* of each turn when it was last taken; NaN before that */
    double last;    /* when it was last printed */
    bool open;
} Progress;

static bool remember_losses(Progress *progress, const cm_step *step)
{
    if (!progress->losses && (progress->losses = malloc(step->turn_count * sizeof(double)))) {
        for (size_t i = 0; i < step->turn_count; i++)
            progress->losses[i] = NAN;
    }
    for (size_t i = 0; progress->losses && i < step->turn_count; i++) {
        if (step->turns[i].taken)
            progress->losses[i] = step->turns[i].loss;
    }
    return progress->losses != NULL;
}

/* "loss 0.5", or of a run with turns the last loss of each: "student 0.5  fake -" where one was not taken yet. */
static void show_losses(const Progress *progress, const cm_step *step)
{
    for (size_t i = 0; i < step->turn_count; i++) {
        bool taken = !isnan(progress->losses[i]);
        fprintf(stderr, taken ? "  %s %.5g" : "  %s -", step->turns[i].name ? step->turns[i].name : "loss",
                progress->losses[i]);
    }
}

static void show_progress(void *state, const cm_step *step, const cm_training_report *so_far)
{
    Progress *progress = state;
    double time = clock_seconds();
    if (!remember_losses(progress, step))
        return;
    if (time - progress->last < 0.1 && so_far->step < progress->steps)
        return;
    int64_t done = so_far->step - so_far->first_step;
    char left[32];
    format_seconds(left, sizeof left, so_far->train_seconds / (double)done * (double)(progress->steps - so_far->step));
    fprintf(stderr, "\rstep %lld/%lld", (long long)so_far->step, (long long)progress->steps);
    show_losses(progress, step);
    fprintf(stderr, "  %.0f samples/s  %s left\033[K", so_far->images_per_second, left);
    fflush(stderr);
    progress->last = time;
    progress->open = true;
}

/* ---- pictures of what was learnt ---- */

static bool shape_of(const cm_executable *executable, cm_port *port)
{
    return cm_executable_output(executable, 0, port) == CM_OK;
}

static const char *picture_ending(const cm_port *port)
{
    if (port->rank == 2 && port->dim[1] == 2)
        return "svg";
    bool colours = port->rank == 4 && (port->dim[3] == 1 || port->dim[3] == 3 || port->dim[3] == 4);
    return colours || port->rank == 3 ? "png" : NULL;
}

/* The first field of the data that holds points, to lie under a scatter plot. */
static bool points_of_data(const cm_parameters *data, cm_array *points)
{
    for (size_t i = 0; i < cm_parameters_count(data); i++) {
        if (cm_parameters_get(data, cm_parameters_name(data, i), points, NULL) == CM_OK && points->rank == 2 &&
            points->dim[1] == 2)
            return true;
    }
    return false;
}

static int draw_entry(Session *session, const char *entry, cm_parameters *weights, const char *directory)
{
    cm_compile_options compile = session_compile_options(session);
    cm_executable *executable;
    cm_port port;
    if (cm_compile(session->program, entry, &compile, &executable, NULL))
        return STATUS_DONE;
    const char *ending = shape_of(executable, &port) ? picture_ending(&port) : NULL;
    cm_executable_free(executable);
    if (!ending)
        return STATUS_DONE;
    cm_sample_options options = {
        .size = sizeof options, .compile = compile, .parameters = weights, .seed = session->options->seed.value};
    cm_parameters *results = NULL, *data = NULL;
    cm_array points;
    cm_save_options save = {.size = sizeof save};
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s.%s", directory, entry, ending);
    if (strcmp(ending, "svg") == 0 && cm_parameters_load_data(session->program, NULL, &data, NULL) == CM_OK &&
        points_of_data(data, &points))
        save.beneath = &points;
    cm_status status = CM_OK;
    cm_error *error = NULL;
    if (cm_sample(session->program, entry, &options, &results, NULL) == CM_OK) {
        status = cm_parameters_save(results, path, &save, &error);
        if (!status)
            remark(session->options, "%s", path);
    }
    cm_parameters_free(data);
    cm_parameters_free(results);
    return status ? report_failure(session->options, status, error) : STATUS_DONE;
}

/* Entries that want more than weights, or other ones, are left to cmc sample. */
static int draw_samples(Session *session, cm_training *training, const char *directory)
{
    cm_parameters *weights;
    cm_error *error;
    int code = STATUS_DONE;
    cm_status status = cm_training_weights(training, &weights, &error);
    if (status)
        return report_failure(session->options, status, error);
    for (size_t i = 0; i < cm_program_entry_count(session->program); i++) {
        cm_entry entry;
        cm_program_entry(session->program, i, &entry);
        if (entry.kind == CM_ENTRY_SAMPLE && code == STATUS_DONE)
            code = draw_entry(session, entry.name, weights, directory);
    }
    cm_parameters_free(weights);
    return code;
}

/* ---- the run ---- */

static void print_report(const Options *options, const cm_training_info *info, const cm_training_report *report,
                         const char *directory)
{
    char peak[32], time[32];
    format_bytes(peak, sizeof peak, report->peak_bytes);
    format_seconds(time, sizeof time, report->train_seconds);
    if (!options->json) {
        remark(options, "%s: steps %lld to %lld of %lld in %s, %.0f samples/s, last loss %.5g, peak memory %s, in %s",
               info->name, (long long)report->first_step, (long long)report->step, (long long)info->steps, time,
               report->images_per_second, report->loss, peak, directory);
        return;
    }
    printf("{\"name\": ");
    print_json_text(stdout, info->name);
    printf(", \"first_step\": %lld, \"step\": %lld, \"steps\": %lld, \"stopped\": %s, \"loss\": ",
           (long long)report->first_step, (long long)report->step, (long long)info->steps, report->stopped ? "true" : "false");
    print_json_number(stdout, report->loss);
    printf(", \"train_seconds\": %.3f, \"images_per_second\": %.3f, \"compile_seconds\": %.3f, \"peak_bytes\": %lld, "
           "\"weights\": %lld, \"kernels\": %d, \"directory\": ",
           report->train_seconds, report->images_per_second, report->compile_seconds, (long long)report->peak_bytes,
           (long long)info->weight_count, info->compile.kernels);
    print_json_text(stdout, directory);
    printf("}\n");
}

static int save_report(const Options *options, const cm_training_report *report, const char *directory)
{
    char path[PATH_SIZE];
    if ((size_t)snprintf(path, sizeof path, "%s/report.json", directory) >= sizeof path)
        return STATUS_FAULT;
    const ReportItem items[] = {{"steps", (double)report->step},
                                {"loss", report->loss},
                                {"train_seconds", report->train_seconds},
                                {"images_per_second", report->images_per_second},
                                {"compile_seconds", report->compile_seconds},
                                {"peak_memory_bytes", (double)report->peak_bytes}};
    return report_write(options, path, true, items, sizeof items / sizeof *items);
}

static void announce(const Options *options, const cm_training_info *info)
{
    char peak[32], state[32];
    format_bytes(peak, sizeof peak, info->compile.peak_bytes);
    format_bytes(state, sizeof state, info->state_bytes);
    remark(options,
           "%s: %lld weights, %lld samples, batch %lld, %lld steps; compiled %d kernels (%d from the cache) in %.1f s; %s a "
           "step, %s of state",
           info->name, (long long)info->weight_count, (long long)info->samples, (long long)info->batch, (long long)info->steps,
           info->compile.kernels, info->compile.from_cache, info->compile.seconds, peak, state);
}

static int train(Session *session, cm_training *training, bool *stopped)
{
    const Options *options = session->options;
    cm_training_info info;
    cm_training_info_get(training, &info);
    announce(options, &info);
    char directory[PATH_SIZE];
    run_directory(directory, sizeof directory, info.name);
    Progress progress = {.steps = info.steps};
    bool shown = isatty(STDERR_FILENO) && !options->quiet;
    cm_training_run_options run = {.size = sizeof run,
                                   .directory = options->out ? options->out : directory,
                                   .resume = options->resume,
                                   .progress = shown ? show_progress : NULL,
                                   .progress_state = &progress};
    cm_training_report report;
    cm_error *error;
    int code = STATUS_DONE;
    running = training;
    catch_signals(stop_running);
    cm_status status = cm_training_run(training, &run, &report, &error);
    if (!caught) /* what is left of the same one must not end what is saved now */
        catch_signals(SIG_DFL);
    running = NULL;
    if (progress.open)
        fputc('\n', stderr);
    free(progress.losses);
    if (status)
        return report_failure(options, status, error);
    print_report(options, &info, &report, run.directory);
    *stopped = report.stopped;
    if (!report.stopped)
        code = draw_samples(session, training, run.directory);
    int reported = save_report(options, &report, run.directory);
    return code == STATUS_DONE ? reported : code;
}

int verb_train(const Options *options)
{
    Session session;
    cm_parameters *weights = NULL;
    cm_training *training = NULL;
    cm_error *error;
    bool stopped = false;
    int code = session_open(&session, options, true);
    if (code == STATUS_DONE && options->weights.count)
        code = session_weights(&session, NULL, NULL, &weights);
    if (code == STATUS_DONE) {
        cm_training_options create = {.size = sizeof create,
                                      .device = options->device,
                                      .no_fuse = options->no_fuse,
                                      .memory_limit = options->memory.value * 1024 * 1024,
                                      .block_rows = options->block_rows.value,
                                      .seed = options->seed.given ? &options->seed.value : NULL,
                                      .weights = weights};
        cm_status status = cm_training_create(session.program, session_entry(&session), &create, &training, &error);
        code = status ? session_failure(&session, status, error) : train(&session, training, &stopped);
    }
    cm_training_free(training);
    cm_parameters_free(weights);
    code = session_close(&session, code);
    if (stopped)
        end_by_signal();
    return code;
}
