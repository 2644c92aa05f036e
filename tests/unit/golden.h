/* Golden files: a text, what must come of it after a line `== expect ==`, and other files that it wants after `== file NAME
 * ==`. Lines of the text that start with `# WORD: ` tell the test what to do with it.
 *
 * With CM_UPDATE_GOLDEN=1 in the environment the expectations are written anew; the difference is then reviewed like code. */
#ifndef CM_TESTS_GOLDEN_H
#define CM_TESTS_GOLDEN_H

#include "base/file.h"
#include "base/text.h"

#include <check.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct GoldenFile {
    const char *name, *text;
    size_t length;
} GoldenFile;

typedef struct Golden {
    const char *path, *name; /* whole, and without the folders */
    GoldenFile text;         /* what comes first */
    LIST(GoldenFile) files;
    const char *expected;
    size_t kept; /* how many bytes of the file stand before the expectation */
    const char *whole;
} Golden;

typedef LIST(const char *) GoldenPaths;

static int golden_order(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void golden_walk(Arena *arena, const char *folder, const char *suffix, GoldenPaths *paths)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        const char *path = path_join(arena, folder, entry->d_name);
        size_t length = strlen(path), tail = strlen(suffix);
        struct stat info;
        if (entry->d_name[0] == '.' || stat(path, &info))
            continue;
        if (S_ISDIR(info.st_mode))
            golden_walk(arena, path, suffix, paths);
        else if (length > tail && !strcmp(path + length - tail, suffix))
            list_push(arena, paths, path);
    }
    if (dir)
        closedir(dir);
}

/* All files below the folder whose names end in `suffix`, in one order everywhere. */
static GoldenPaths golden_find(Arena *arena, const char *folder, const char *suffix)
{
    GoldenPaths paths = {0};
    golden_walk(arena, folder, suffix, &paths);
    if (paths.count)
        qsort(paths.items, (size_t)paths.count, sizeof *paths.items, golden_order);
    return paths;
}

/* The next line `== ... ==`, or null; what stands between the signs is `title`. */
static const char *golden_section(Arena *arena, const char *text, const char **title)
{
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL) {
        size_t length = strcspn(line, "\n");
        if (length > 6 && !strncmp(line, "== ", 3) && !strncmp(line + length - 3, " ==", 3)) {
            *title = arena_copy_text(arena, line + 3, length - 6);
            return line;
        }
    }
    return NULL;
}

static Golden golden_read(Arena *arena, const char *path)
{
    Bytes bytes;
    const char *reason = file_read(arena, path, 0, &bytes), *title = "", *slash = strrchr(path, '/');
    ck_assert_msg(!reason, "%s: %s", path, reason);
    Golden golden = {
        .path = path, .name = slash ? slash + 1 : path, .expected = "", .kept = bytes.size, .whole = (char *)bytes.data};
    const char *at = golden.whole, *next = golden_section(arena, at, &title);
    golden.text = (GoldenFile){golden.name, at, next ? (size_t)(next - at) : bytes.size};
    while (next) {
        const char *body = next + strcspn(next, "\n"), *current = title;
        body += *body == '\n';
        if (!strcmp(current, "expect")) {
            golden.kept = (size_t)(next - golden.whole);
            golden.expected = body;
            break;
        }
        ck_assert_msg(!strncmp(current, "file ", 5), "%s: no such section: %s", path, current);
        next = golden_section(arena, body, &title);
        GoldenFile file = {current + 5, body, next ? (size_t)(next - body) : strlen(body)};
        list_push(arena, &golden.files, file);
    }
    return golden;
}

/* What follows `# WORD: ` in the text the n-th time, or null. */
static inline const char *golden_word(Arena *arena, const Golden *golden, const char *word, int n)
{
    const char *start = arena_printf(arena, "# %s: ", word), *end = golden->text.text + golden->text.length;
    for (const char *line = golden->text.text; line && line < end; line = strchr(line, '\n'), line += line != NULL) {
        if (!strncmp(line, start, strlen(start)) && n-- == 0)
            return arena_copy_text(arena, line + strlen(start), strcspn(line, "\n") - strlen(start));
    }
    return NULL;
}

static inline void golden_write(Arena *arena, const Golden *golden, const char *got)
{
    Text text = text_new(arena);
    text_add(&text, golden->whole, golden->kept);
    text_printf(&text, "%s== expect ==\n%s", golden->kept && golden->whole[golden->kept - 1] != '\n' ? "\n" : "", got);
    const char *reason = file_write_atomic(arena, golden->path, text.data, text.length);
    ck_assert_msg(!reason, "%s: %s", golden->path, reason);
}

/* Fails with the first line that differs. */
static inline void golden_compare(Arena *arena, const Golden *golden, const char *got)
{
    const char *want = golden->expected, *first = got;
    if (!strcmp(want, got))
        return;
    if (getenv("CM_UPDATE_GOLDEN")) {
        golden_write(arena, golden, got);
        return;
    }
    int line = 1;
    for (; *want && *want == *got; want++, got++) {
        if (*want == '\n')
            line++;
    }
    while (got > first && got[-1] != '\n')
        got--, want--;
    ck_abort_msg("%s: line %d of the expectation\n  wanted: %.*s\n  got:    %.*s", golden->path, line, (int)strcspn(want, "\n"),
                 want, (int)strcspn(got, "\n"), got);
}

#endif
