/* report.json: what a run measured, one number a name. */
#include "cli/cli.h"

#include <jansson.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };

/* Null after a message: a file that is there is a report, or it is left alone. */
static json_t *open_report(const char *path, bool fresh)
{
    json_error_t error;
    if (fresh || access(path, F_OK) != 0)
        return json_object();
    json_t *report = json_load_file(path, 0, &error);
    if (report && json_is_object(report))
        return report;
    fprintf(stderr, "error: %s is no report: %s\n", path, report ? "it holds no JSON object" : error.text);
    json_decref(report);
    return NULL;
}

static json_t *number_of(double value)
{
    if (!isfinite(value))
        return json_null();
    bool whole = value == floor(value) && fabs(value) < 9e15;
    return whole ? json_integer((json_int_t)value) : json_real(value);
}

int report_write(const Options *options, const char *path, bool fresh, const ReportItem *items, size_t count)
{
    char temporary[PATH_SIZE];
    json_t *report = make_parent_directories(path) ? open_report(path, fresh) : NULL;
    bool fine = report && (size_t)snprintf(temporary, sizeof temporary, "%s.new", path) < sizeof temporary;
    for (size_t i = 0; fine && i < count; i++)
        fine = json_object_set_new(report, items[i].name, number_of(items[i].value)) == 0;
    fine = fine && json_dump_file(report, temporary, JSON_INDENT(2) | JSON_REAL_PRECISION(8)) == 0;
    if (fine && rename(temporary, path) != 0) {
        unlink(temporary);
        fine = false;
    }
    if (report && !fine)
        fprintf(stderr, "error: %s could not be written\n", path);
    json_decref(report);
    if (fine)
        remark(options, "%s", path);
    return fine ? STATUS_DONE : STATUS_FAULT;
}
