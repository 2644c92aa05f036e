/* cmc fmt: rewrites programs in the canonical layout. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* Beside the file first, so that a failure leaves the old one. */
static bool replace_file(const char *path, const char *text)
{
    char temporary[4096];
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.new", path) >= sizeof temporary)
        return false;
    FILE *out = fopen(temporary, "wb");
    if (!out)
        return false;
    bool written = fputs(text, out) >= 0;
    written = fclose(out) == 0 && written;
    if (written && rename(temporary, path) == 0)
        return true;
    unlink(temporary);
    return false;
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
        return fputs(formatted, stdout) < 0 ? STATUS_FAULT : STATUS_DONE;
    if (same || replace_file(path, formatted))
        return STATUS_DONE;
    fprintf(stderr, "error: %s cannot be written\n", path);
    return STATUS_FAULT;
}

static int format_one(const Session *session, const char *path)
{
    Content content;
    char *formatted = NULL;
    cm_error *error;
    int code = STATUS_FAULT;
    if (!read_file(path, &content)) {
        fprintf(stderr, "error: %s cannot be read\n", path);
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
    if (!options->operands.count)
        return usage_error("fmt needs a file: cmc fmt FILE...");
    int code = session_open(&session, options, false);
    for (int i = 0; session.context && i < options->operands.count; i++) {
        int one = format_one(&session, options->operands.items[i]);
        code = one > code ? one : code;
    }
    session_close(&session);
    return code;
}
