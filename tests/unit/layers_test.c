/* The structure of the sources: who may include whom, how long functions and files may be, what stands in none. */
#include "base/file.h"
#include "base/text.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { LONGEST_FUNCTION = 80, LONGEST_FILE = 700, LONGEST_LINE = 128 };

/* The arrows of the architecture: a file of a folder may include what begins with one of these words.  Headers of others stand
 * where they are used, and nowhere else. */
static const struct {
    const char *folder, *own, *foreign;
} layers[] = {
    {"include", "", ""},
    {"base", "base/", "xxhash.h"},
    {"ir", "ir/ base/", ""},
    {"frontend", "frontend/ ir/ base/", ""},
    {"passes", "passes/ ir/ base/", ""},
    {"backends", "ir/ base/", ""},
    {"backends/cpu", "backends/cpu/ backends/backend.h ir/ base/", "llvm-c/"},
    {"backends/vulkan", "backends/vulkan/ backends/backend.h ir/ base/", "vulkan/ glslang/"},
    {"runtime", "runtime/ backends/backend.h passes/ frontend/ ir/ base/ cm.h", "jansson.h png.h zip.h zlib.h"},
    {"cli", "cli/ cm.h", "jansson.h"},
    {"bench", "bench/ cm.h", "vulkan/"},
    {"examples", "cm.h", "cm.h"},
    {"tests/docs", "", ""},
    {"tests/api", "tests/api/ tests/docs/ cm.h", "check.h cm.h vulkan/"},
    {"tests/fuzz", "tests/ runtime/ passes/ frontend/ ir/ base/", "zlib.h"},
    {"tests", "tests/ cli/verbs.def runtime/ backends/ passes/ frontend/ ir/ base/", "check.h"},
};
enum { LAYERS = sizeof layers / sizeof *layers };
static const char foreign_headers[] = "check.h cm.h glslang/ jansson.h llvm-c/ png.h vulkan/ xxhash.h zip.h zlib.h";

static const char *const folders[] = {"include", "base", "ir",    "frontend", "passes", "backends",
                                      "runtime", "cli",  "bench", "examples", "std",    "tests"};
enum { FOLDERS = sizeof folders / sizeof *folders };

static Arena *arena;
static Text offences; /* a line each */
static int files_seen, functions_seen, includes_seen;

/* ---- files, line by line ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static bool is_c(const char *path)
{
    return ends_with(path, ".c") || ends_with(path, ".h");
}

static bool is_source(const char *path)
{
    static const char *const endings[] = {".c", ".h", ".def", ".cm", ".py", ".txt", ".cmake", ".md", ".in", ".map"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (ends_with(path, endings[i]))
            return true;
    return false;
}

typedef void Look(const char *path, const char *text);

static void look_at_folder(const char *path, Look *look)
{
    DIR *folder = opendir(path_join(arena, CM_SOURCE_DIR, path));
    ck_assert_msg(folder != NULL, "there is no folder %s", path);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        const char *below = arena_printf(arena, "%s/%s", path, entry->d_name);
        const char *whole = path_join(arena, CM_SOURCE_DIR, below);
        struct stat status;
        Bytes bytes;
        if (entry->d_name[0] == '.' || stat(whole, &status) != 0)
            continue;
        if (S_ISDIR(status.st_mode)) {
            look_at_folder(below, look);
        } else if (is_source(below)) {
            ck_assert_ptr_null(file_read(arena, whole, 0, &bytes));
            look(below, (const char *)bytes.data);
            files_seen++;
        }
    }
    closedir(folder);
}

static void look_at_all(Look *look)
{
    for (int i = 0; i < FOLDERS; i++)
        look_at_folder(folders[i], look);
    ck_assert_int_gt(files_seen, 200);
    ck_assert_msg(!offences.length, "%s", offences.data);
}

/* The line as a text of its own; `text` moves on to the next one, and is null at the end. */
static const char *next_line(const char **text)
{
    size_t length = strcspn(*text, "\n");
    const char *line = arena_copy_text(arena, *text, length);
    *text = (*text)[length] && (*text)[length + 1] ? *text + length + 1 : NULL;
    return line;
}

static bool begins(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool begins_with_one_of(const char *text, const char *words)
{
    for (const char *word = words; *word; word += strcspn(word, " "), word += *word == ' ') {
        size_t length = strcspn(word, " ");
        bool folder = word[length - 1] == '/';
        if (strncmp(text, word, length) == 0 && (folder || !text[length]))
            return true;
    }
    return false;
}

/* ---- who includes whom ---- */

static int layer_of(const char *path)
{
    int found = -1;
    for (int i = 0; i < LAYERS; i++) {
        size_t length = strlen(layers[i].folder);
        if (begins(path, layers[i].folder) && path[length] == '/' && (found < 0 || length > strlen(layers[found].folder)))
            found = i;
    }
    return found;
}

static void look_at_includes(const char *path, const char *text)
{
    int layer = layer_of(path), number = 0;
    if (!is_c(path))
        return;
    ck_assert_msg(layer >= 0, "%s belongs to no layer", path);
    while (text) {
        const char *line = next_line(&text);
        char name[128] = "", quote = 0;
        number++;
        if (sscanf(line, "#include %c%127[^\">]", &quote, name) != 2)
            continue;
        includes_seen++;
        bool foreign = quote == '<' && begins_with_one_of(name, foreign_headers);
        if (quote == '"' ? !begins_with_one_of(name, layers[layer].own)
                         : foreign && !begins_with_one_of(name, layers[layer].foreign))
            text_printf(&offences, "%s:%d: %s may not include %s\n", path, number, layers[layer].folder, name);
    }
}

START_TEST(folders_include_what_they_may)
{
    look_at_all(look_at_includes);
    ck_assert_int_gt(includes_seen, 600);
}
END_TEST

/* ---- sizes ---- */

/* Bodies begin and end in the first column, as .clang-format has it. */
static void look_at_functions(const char *path, const char *text)
{
    int number = 0, start = 0;
    bool has_switch = false;
    while (text && is_c(path)) {
        const char *line = next_line(&text);
        number++;
        if (strcmp(line, "{") == 0) {
            start = number;
            has_switch = false;
        }
        has_switch |= strstr(line, "switch (") != NULL;
        if (line[0] != '}' || !start)
            continue;
        if (number - start - 1 > LONGEST_FUNCTION && !has_switch)
            text_printf(&offences, "%s:%d: a function of %d lines; at most %d\n", path, start, number - start - 1,
                        LONGEST_FUNCTION);
        functions_seen++;
        start = 0;
    }
}

static void look_at_length(const char *path, const char *text)
{
    int number = 0;
    while (text && (is_c(path) || ends_with(path, ".cm"))) {
        const char *line = next_line(&text);
        number++;
        if (strlen(line) > LONGEST_LINE && !begins(path, "tests/"))
            text_printf(&offences, "%s:%d: a line of %zu bytes; at most %d\n", path, number, strlen(line), LONGEST_LINE);
    }
    if (number > LONGEST_FILE)
        text_printf(&offences, "%s has %d lines; at most %d\n", path, number, LONGEST_FILE);
}

START_TEST(functions_fit_a_screen)
{
    look_at_all(look_at_functions);
    ck_assert_int_gt(functions_seen, 2000);
}
END_TEST

START_TEST(files_have_one_subject)
{
    look_at_all(look_at_length);
}
END_TEST

/* ---- words ---- */

static void look_at_first_line(const char *path, const char *text)
{
    bool c = is_c(path) || ends_with(path, ".def");
    bool fixture = begins(path, "tests/golden/");
    if ((c && !begins(text, "/* ")) || (ends_with(path, ".cm") && !fixture && !begins(text, "# ")))
        text_printf(&offences, "%s does not begin with what it is about\n", path);
}

START_TEST(files_say_what_they_are_about)
{
    look_at_all(look_at_first_line);
}
END_TEST

/* Parts of words, put together, so that this file has none of them. */
static void look_at_words(const char *path, const char *text)
{
    static const char *const halves[][2] = {{"/ho", "me/"}, {"/wo", "rk/"}, {"/ro", "ot/"},
                                            {"TO", "DO"},   {"FIX", "ME"},  {"XX", "X:"}};
    int number = 0;
    while (text) {
        const char *line = next_line(&text);
        number++;
        for (size_t i = 0; i < sizeof halves / sizeof *halves; i++) {
            const char *word = arena_printf(arena, "%s%s", halves[i][0], halves[i][1]);
            if (strstr(line, word))
                text_printf(&offences, "%s:%d: %s\n", path, number, word);
        }
    }
}

START_TEST(no_paths_of_a_machine_and_nothing_left_to_do)
{
    look_at_all(look_at_words);
}
END_TEST

static void set_up(void)
{
    arena = arena_new(NULL, NULL);
    offences = text_new(arena);
}

static void tear_down(void)
{
    arena_free(arena);
}

int main(void)
{
    Suite *suite = suite_create("layers");
    TCase *test = tcase_create("layers");
    tcase_add_checked_fixture(test, set_up, tear_down);
    tcase_add_test(test, folders_include_what_they_may);
    tcase_add_test(test, functions_fit_a_screen);
    tcase_add_test(test, files_have_one_subject);
    tcase_add_test(test, files_say_what_they_are_about);
    tcase_add_test(test, no_paths_of_a_machine_and_nothing_left_to_do);
    suite_add_tcase(suite, test);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
