/* What the documents quote is what there is: excerpts of files, and what commands print.
 *
 * Commands run in a folder that looks like the source tree.  With CM_UPDATE_GOLDEN=1 in the environment what they print is
 * written into the pages, except where a block leaves lines out. */
#include "tests/docs/pages.h"

#include <check.h>
#include <sys/wait.h>
#include <unistd.h>

static BlockList excerpts, sessions;

static bool is_excerpt(const Block *block)
{
    return *block->path;
}

static bool is_session(const Block *block)
{
    return !strcmp(block->language, "console");
}

/* ---- excerpts ---- */

START_TEST(an_excerpt_stands_in_its_file)
{
    const Block *block = &excerpts.items[_i];
    char *file = page_read(block->path);
    const char *found = strstr(file, block->text);
    while (found && found > file && found[-1] != '\n')
        found = strstr(found + 1, block->text);
    ck_assert_msg(found != NULL, "%s:%d: this does not stand in %s\n%s", block->page, block->line, block->path, block->text);
    free(file);
}
END_TEST

/* ---- sessions ---- */

enum { MOST_TEXT = 1 << 18 };

static char directory[] = "/tmp/cm-docs-XXXXXX";

static void make_directory(void)
{
    static const char *const folders[] = {"docs", "examples", "std"};
    ck_assert_ptr_nonnull(mkdtemp(directory));
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char from[512], to[128];
        snprintf(from, sizeof from, "%s/%s", CM_SOURCE_DIR, folders[i]);
        snprintf(to, sizeof to, "%s/%s", directory, folders[i]);
        ck_assert_int_eq(symlink(from, to), 0);
    }
}

static void remove_directory(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", directory);
    ck_assert_int_eq(system(command), 0);
}

/* Adds to `out` what the command prints, messages included. */
static void run(const char *line, char *out)
{
    char command[1024];
    snprintf(command, sizeof command, "cd %s && XDG_CACHE_HOME=%s/cache PATH=$(dirname %s):$PATH; %.*s 2>&1", directory,
             directory, CMC, (int)strcspn(line, "\n"), line);
    FILE *stream = popen(command, "r");
    ck_assert_ptr_nonnull(stream);
    size_t length = strlen(out);
    length += fread(out + length, 1, MOST_TEXT - 1 - length, stream);
    out[length] = 0;
    pclose(stream);
}

/* The session with what its commands print now. */
static void replay(const char *text, char *out)
{
    *out = 0;
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (strncmp(line, "$ ", 2) != 0)
            continue;
        snprintf(out + strlen(out), MOST_TEXT - strlen(out), "%.*s\n", (int)strcspn(line, "\n"), line);
        run(line + 2, out);
    }
}

static size_t line_length(const char *text)
{
    size_t length = strcspn(text, "\n");
    return length + (text[length] == '\n');
}

/* Whether the lines agree, `...` standing for any number of them; else where they first do not. */
static bool lines_agree(const char *wanted, const char *got, const char **where)
{
    while (*wanted) {
        size_t length = line_length(wanted);
        if (!strncmp(wanted, "...\n", 4)) {
            for (const char *rest = got;; rest += line_length(rest)) {
                const char *unused;
                if (lines_agree(wanted + 4, rest, &unused))
                    return true;
                if (!*rest)
                    break;
            }
        }
        *where = wanted;
        if (strncmp(wanted, got, length) != 0)
            return false;
        wanted += length;
        got += length;
    }
    return !*got;
}

/* Updates before this one may have moved the block, so it is found by its text. */
static void update(const Block *block, const char *now)
{
    char *page = page_read(block->page), path[512];
    const char *from = strstr(page, block->text);
    ck_assert_ptr_nonnull(from);
    snprintf(path, sizeof path, "%s/%s", CM_SOURCE_DIR, block->page);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    fprintf(file, "%.*s%s%s", (int)(from - page), page, now, from + strlen(block->text));
    fclose(file);
    free(page);
}

START_TEST(a_session_prints_what_it_shows)
{
    static char now[MOST_TEXT];
    const Block *block = &sessions.items[_i];
    const char *where = "";
    replay(block->text, now);
    if (lines_agree(block->text, now, &where))
        return;
    if (getenv("CM_UPDATE_GOLDEN") && !strstr(block->text, "\n...\n")) {
        update(block, now);
        return;
    }
    ck_abort_msg("%s:%d: this is printed otherwise: %.*s\nnow it is\n%s", block->page, block->line, (int)strcspn(where, "\n"),
                 where, now);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("docs_pages");
    TCase *files = tcase_create("excerpts"), *commands = tcase_create("sessions");
    blocks_select(&excerpts, is_excerpt);
    blocks_select(&sessions, is_session);
    tcase_add_loop_test(files, an_excerpt_stands_in_its_file, 0, excerpts.count);
    tcase_set_timeout(commands, 60);
    tcase_add_checked_fixture(commands, make_directory, remove_directory);
    tcase_add_loop_test(commands, a_session_prints_what_it_shows, 0, sessions.count);
    suite_add_tcase(suite, files);
    suite_add_tcase(suite, commands);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
