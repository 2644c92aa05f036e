/* std/README.md is an index of the library: each module has its section, each function and model of it a row with its axes and
 * parameters, and there is no row for anything else. */
#include "tests/docs/pages.h"

#include "base/file.h"
#include "base/text.h"
#include "frontend/ast.h"

#include <check.h>
#include <dirent.h>

typedef LIST(const char *) NameList;
static NameList modules; /* names of the files in std/, read before the tests fork */

static const File *parse_module(Arena *arena, const char *name)
{
    Bytes bytes;
    const char *path = arena_printf(arena, "%s/std/%s.cm", CM_SOURCE_DIR, name);
    const char *reason = file_read(arena, path, 0, &bytes);
    ck_assert_msg(!reason, "%s: %s", path, reason);
    Source *source = arena_new_of(arena, Source);
    *source = (Source){path, (const char *)bytes.data, bytes.size};
    DiagSink diags = diag_sink_new(arena);
    return parse_file(arena, source, &diags);
}

/* What stands below `## std.NAME`, up to the next section. */
static const char *section_of(Arena *arena, const char *page, const char *name)
{
    const char *title = arena_printf(arena, "\n## std.%s\n", name), *start = strstr(page, title);
    ck_assert_msg(start != NULL, "std/README.md has no section std.%s", name);
    const char *end = strstr(start + 1, "\n## ");
    return arena_copy_text(arena, start, end ? (size_t)(end - start) : strlen(start));
}

/* | `NAME[axes](parameters)` | */
static const char *row_of(Arena *arena, const Decl *decl)
{
    Text row = text_new(arena);
    text_printf(&row, "\n| `%s", decl->name);
    for (int i = 0; i < decl->generics.count; i++)
        text_printf(&row, "%s%s%s", i ? ", " : "[", decl->generics.items[i].name, i + 1 < decl->generics.count ? "" : "]");
    text_puts(&row, "(");
    for (int i = 0; i < decl->params.count; i++)
        text_printf(&row, "%s%s", i ? ", " : "", decl->params.items[i].name);
    text_puts(&row, ")` | ");
    return row.data;
}

static int count_rows(const char *section)
{
    int rows = 0;
    for (const char *at = strstr(section, "\n| `"); at; at = strstr(at + 1, "\n| `"))
        rows++;
    return rows;
}

START_TEST(a_module_has_its_section)
{
    Arena *arena = arena_new(NULL, NULL);
    char *page = page_read("std/README.md");
    const char *name = modules.items[_i], *section = section_of(arena, page, name);
    const File *file = parse_module(arena, name);
    int named = 0;
    bool for_users = strcmp(name, "conformance") != 0; /* its functions are trials, which nobody calls */
    for (int i = 0; for_users && i < file->decls.count; i++) {
        const Decl *decl = file->decls.items[i];
        if (decl->kind != DECL_fn && decl->kind != DECL_model)
            continue;
        named++;
        ck_assert_msg(strstr(section, row_of(arena, decl)) != NULL, "std/README.md, std.%s: there is no row%s", name,
                      row_of(arena, decl));
    }
    ck_assert_msg(count_rows(section) == named, "std/README.md, std.%s: %d rows for %d functions and models", name,
                  count_rows(section), named);
    free(page);
    arena_free(arena);
}
END_TEST

static void find_modules(Arena *arena)
{
    DIR *folder = opendir(CM_SOURCE_DIR "/std");
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        size_t length = strlen(entry->d_name);
        if (length > 3 && !strcmp(entry->d_name + length - 3, ".cm"))
            list_push(arena, &modules, arena_copy_text(arena, entry->d_name, length - 3));
    }
    if (folder)
        closedir(folder);
}

int main(void)
{
    Arena *arena = arena_new(NULL, NULL);
    find_modules(arena);
    Suite *suite = suite_create("std_index");
    TCase *cases = tcase_create("index");
    tcase_add_loop_test(cases, a_module_has_its_section, 0, modules.count);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    arena_free(arena);
    return failed || !modules.count ? EXIT_FAILURE : EXIT_SUCCESS;
}
