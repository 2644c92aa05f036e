/* --profile: the kernels that took longest as a table, and all launches as a trace in a file. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 25 }; /* of the table */

static int by_seconds(const void *a, const void *b)
{
    double x = ((const cm_profile_row *)a)->seconds, y = ((const cm_profile_row *)b)->seconds;
    return (x < y) - (x > y);
}

static void print_row(const cm_profile_row *row, double total)
{
    double each = row->seconds / (double)row->launches;
    char place[64] = "";
    const char *slash = row->file ? strrchr(row->file, '/') : NULL;
    if (row->file)
        snprintf(place, sizeof place, "%s:%d", slash ? slash + 1 : row->file, row->line);
    fprintf(stderr, "%5.1f %%  %10.3f ms  %7lld x %10.1f us  %7.1f GFLOP/s %7.1f GB/s  %-24s %s\n", 100 * row->seconds / total,
            1e3 * row->seconds, (long long)row->launches, 1e6 * each, 1e-9 * row->flops / each,
            1e-9 * (double)row->bytes / each, place, row->kernel);
}

static void print_table(cm_profile_row *rows, size_t count)
{
    double total = 0, rest = 0;
    for (size_t i = 0; i < count; i++)
        total += rows[i].seconds;
    qsort(rows, count, sizeof *rows, by_seconds);
    for (size_t i = 0; i < count; i++) {
        if (i < MOST_ROWS)
            print_row(&rows[i], total);
        else
            rest += rows[i].seconds;
    }
    if (count > MOST_ROWS)
        fprintf(stderr, "%5.1f %%  %10.3f ms  %zu more kernels\n", 100 * rest / total, 1e3 * rest, count - MOST_ROWS);
}

static void print_totals(const cm_context *context)
{
    cm_profile_totals totals;
    if (cm_profile_total(context, &totals) || !totals.runs)
        return;
    double runs = (double)totals.runs;
    fprintf(stderr,
            "%lld runs on a device: %.1f submissions, %.1f us of the host, %.3f MB up and %.3f MB down each; kernels cannot do "
            "with less than %.3f MB\n",
            (long long)totals.runs, (double)totals.submissions / runs, 1e6 * totals.host_seconds / runs,
            1e-6 * (double)totals.bytes_up / runs, 1e-6 * (double)totals.bytes_down / runs,
            1e-6 * (double)totals.least_bytes / runs);
}

int save_profile(const Options *options, cm_context *context)
{
    size_t count = 0;
    cm_profile_row row;
    while (cm_profile_get(context, count, &row) == CM_OK)
        count++;
    cm_profile_row *rows = calloc(count + 1, sizeof *rows);
    for (size_t i = 0; rows && i < count; i++)
        cm_profile_get(context, i, &rows[i]);
    if (rows && !options->quiet)
        print_table(rows, count);
    if (!options->quiet)
        print_totals(context);
    free(rows);
    if (make_parent_directories(options, options->profile) != STATUS_DONE)
        return STATUS_FAULT;
    cm_error *error;
    cm_status status = cm_profile_save(context, options->profile, &error);
    return status ? report_failure(options, status, error) : STATUS_DONE;
}
