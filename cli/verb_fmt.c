/* cmc fmt: rewrites programs in the canonical layout. */
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct Content {
    char *text;
    size_t length;
} Content;

static bool read_all(FILE *in, Content *content)
{
    size_t capacity = 0;
    *content = (Content){0};
    do {
        if (content->length + 1 >= capacity) {
            capacity = capacity ? 2 * capacity : 65536;
            char *larger = realloc(content->text, capacity);
            if (!larger)
                return false;
            content->text = larger;
        }
        content->length += fread(content->text + content->length, 1, capacity - content->length - 1, in);
    } while (!feof(in) && !ferror(in));
    content->text[content->length] = 0;
    return !ferror(in);
}

static bool read_file(const char *path, Content *content)
{
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    *content = (Content){0};
    if (!in)
        return false;
    bool read = read_all(in, content);
    if (in != stdin)
        fclose(in);
    return read;
}

static int place_text(const Options *options, const char *path, const Content *content, const char *formatted)
{
    bool same = strlen(formatted) == content->length && memcmp(formatted, content->text, content->length) == 0;
    if (options->check) {
        if (!same)
            printf("%s\n", path);
        return same ? STATUS_DONE : STATUS_FAULT;
    }
    if (strcmp(path, "-") == 0)
        fputs(formatted, stdout);
    else if (!same)
        return write_file(options, path, formatted);
    return STATUS_DONE;
}

static int format_one(const Session *session, const char *path)
{
    Content content;
    char *formatted = NULL;
    cm_error *error;
    int code = STATUS_FAULT;
    if (!read_file(path, &content)) {
        fault(session->options, CM_IO_ERROR, "cannot read '%s': %s", path, strerror(errno));
    } else {
        const char *name = strcmp(path, "-") == 0 ? "<stdin>" : path;
        cm_status status = cm_format(session->context, name, content.text, content.length, &formatted, &error);
        code =
            status ? report_failure(session->options, status, error) : place_text(session->options, path, &content, formatted);
    }
    cm_text_free(session->context, formatted);
    free(content.text);
    return code;
}

int verb_fmt(const Options *options)
{
    Session session;
    int code = session_open(&session, options, false);
    for (int i = 0; session.context && i < options->operands.count; i++) {
        int one = format_one(&session, options->operands.items[i]);
        code = one > code ? one : code;
    }
    return session_close(&session, code);
}
