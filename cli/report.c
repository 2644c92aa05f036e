/* report.json: what a run measured, one number a name. */
#include "cli/cli.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

/* Null after a message: a file that is there is a report, or it is left alone. */
static json_t *open_report(const Options *options, const char *path, bool fresh)
{
    json_error_t error;
    if (fresh || access(path, F_OK) != 0)
        return json_object();
    json_t *report = json_load_file(path, 0, &error);
    if (report && json_is_object(report))
        return report;
    fault(options, CM_IO_ERROR, "%s is no report: %s", path, report ? "it holds no JSON object" : error.text);
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
    int code = make_parent_directories(options, path);
    if (code != STATUS_DONE)
        return code;
    json_t *report = open_report(options, path, fresh);
    if (!report)
        return STATUS_FAULT;
    bool fine = true;
    for (size_t i = 0; fine && i < count; i++)
        fine = json_object_set_new(report, items[i].name, number_of(items[i].value)) == 0;
    char *text = fine ? json_dumps(report, JSON_INDENT(2) | JSON_REAL_PRECISION(8)) : NULL;
    code = text ? write_file(options, path, text) : fault(options, CM_OUT_OF_MEMORY, "no memory for the report %s", path);
    free(text);
    json_decref(report);
    if (code == STATUS_DONE)
        remark(options, "%s", path);
    return code;
}
