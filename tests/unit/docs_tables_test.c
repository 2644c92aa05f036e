/* The documents keep up with the compiler's tables: each row has its place in a page, and text of the IRs in docs/ir.md is text
 * that the parsers take. */
#include "tests/docs/pages.h"

#include "frontend/elaborate_train.h"
#include "passes/passes.h"

#include <check.h>

/* ---- looking into a page ---- */

static char *language, *ir, *readme;

/* In a table the sign | is written \|. */
static char *page_of_tables(const char *path)
{
    char *text = page_read(path), *to = text;
    for (const char *from = text; *from; from++) {
        if (from[0] != '\\' || from[1] != '|')
            *to++ = *from;
    }
    *to = 0;
    return text;
}

static void read_pages(void)
{
    language = page_of_tables("docs/language.md");
    ir = page_of_tables("docs/ir.md");
    readme = page_of_tables("README.md");
}

static void drop_pages(void)
{
    free(language);
    free(ir);
    free(readme);
}

static void expect_line(const char *page, const char *name, const char *text, const char *line)
{
    size_t length = strlen(line);
    for (const char *found = strstr(text, line); found; found = strstr(found + 1, line)) {
        if ((found == text || found[-1] == '\n') && found[length] == '\n')
            return;
    }
    ck_abort_msg("%s lacks the row of `%s`:\n%s", page, name, line);
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Whether the name stands in the page right behind `before`, as a whole word. */
static bool has_word(const char *text, const char *before, const char *name)
{
    char wanted[256];
    size_t length = (size_t)snprintf(wanted, sizeof wanted, "%s%s", before, name);
    for (const char *found = strstr(text, wanted); found; found = strstr(found + 1, wanted)) {
        if (!is_word(found[length]) || !is_word(name[strlen(name) - 1]))
            return true;
    }
    return false;
}

/* Rows of the tables between two titles, to see that there are no others than there should be. */
static int count_rows(const char *text, const char *from, const char *to)
{
    const char *start = strstr(text, from), *end = start ? strstr(start, to) : NULL;
    int rows = 0;
    ck_assert_msg(start && end, "there is no section %s", from);
    for (const char *at = strstr(start, "\n| `"); at && at < end; at = strstr(at + 1, "\n| `"))
        rows++;
    return rows;
}

/* ---- tables that stand in a page as they are ---- */

START_TEST(readme_has_every_verb)
{
    static const struct {
        const char *name, *operands, *summary;
    } rows[] = {
#define VERB(name, operands, summary) {#name, operands, summary},
#include "cli/verbs.def"
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char line[512];
        snprintf(line, sizeof line, "| `%s%s%s` | %s |", rows[i].name, *rows[i].operands ? " " : "", rows[i].operands,
                 rows[i].summary);
        expect_line("README.md", rows[i].name, readme, line);
    }
    ck_assert_int_eq(count_rows(readme, "## cmc", "## Folders"), (int)(sizeof rows / sizeof *rows));
}
END_TEST

START_TEST(ir_page_has_every_pass)
{
    for (int pass = 0; pass < PASS_COUNT; pass++) {
        char line[512];
        snprintf(line, sizeof line, "| `%s` | %s |", pass_name((PassId)pass), pass_summary((PassId)pass));
        expect_line("docs/ir.md", pass_name((PassId)pass), ir, line);
    }
    ck_assert_int_eq(count_rows(ir, "\n## Passes", "\n## Graph IR"), PASS_COUNT);
}
END_TEST

START_TEST(language_page_has_every_diagnostic)
{
    static const char *const rows[][2] = {
#define DIAG(code, lesson) {#code, lesson},
#include "base/diags.def"
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char line[512];
        snprintf(line, sizeof line, "| `%s` | %s |", rows[i][0], rows[i][1]);
        expect_line("docs/language.md", rows[i][0], language, line);
    }
    ck_assert_int_eq(count_rows(language, "\n## What is refused", "\n## Grammar"), (int)(sizeof rows / sizeof *rows));
}
END_TEST

/* ---- tables whose rows are described in other words ---- */

/* The row `| `name` ...` of a table. */
static const char *row_of(const char *text, const char *name)
{
    char start[128];
    snprintf(start, sizeof start, "\n| `%s` |", name);
    const char *found = strstr(text, start);
    return found ? found + 1 : NULL;
}

START_TEST(ir_page_has_every_primitive)
{
    for (int op = 0; op < OP_COUNT; op++) {
        const IrOpInfo *info = &ir_op_info[op];
        const char *row = row_of(ir, info->name);
        ck_assert_msg(row != NULL, "docs/ir.md lacks the primitive `%s`", info->name);
        char copy[1024];
        snprintf(copy, sizeof copy, "%.*s", (int)strcspn(row, "\n"), row);
        for (int i = 0; i < IR_MAX_ATTRS && info->attrs[i]; i++)
            ck_assert_msg(has_word(copy, "`", info->attrs[i]), "docs/ir.md: the row of `%s` lacks its attribute `%s`",
                          info->name, info->attrs[i]);
    }
    ck_assert_int_eq(count_rows(ir, "\n### Primitives", "\n## Kernel IR"), OP_COUNT);
}
END_TEST

START_TEST(ir_page_has_every_kernel_operation)
{
    for (int op = OP_COUNT; op < K_OP_COUNT; op++)
        ck_assert_msg(row_of(ir, kop_name(op)) != NULL, "docs/ir.md lacks the kernel operation `%s`", kop_name(op));
    ck_assert_int_eq(count_rows(ir, "\n### Operations", "\n## Plan"), K_OP_COUNT - OP_COUNT);
}
END_TEST

/* ---- words of the language ---- */

/* The text of all ```cm blocks: programs that a test runs. */
static char *programs_of(const char *path)
{
    char *text = page_read(path), *programs = calloc(strlen(text) + 1, 1);
    BlockList list = {0};
    page_blocks(path, text, &list);
    for (int i = 0; i < list.count; i++) {
        if (!strcmp(list.items[i].language, "cm") && !*list.items[i].path)
            strcat(programs, list.items[i].text);
    }
    free(text);
    return programs;
}

static bool occurs(const char *programs, const char *name)
{
    for (const char *found = strstr(programs, name); found; found = strstr(found + 1, name)) {
        if ((found == programs || !is_word(found[-1])) && !is_word(found[strlen(name)]))
            return true;
    }
    return false;
}

START_TEST(every_builtin_is_described_and_run)
{
    static const char *const names[] = {
#define POINTWISE(name, arity, class, op, known) #name,
#define BUILTIN(name, least, most, named, function, usage) #name,
#include "frontend/builtins.def"
    };
    char *programs = programs_of("docs/language.md");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        ck_assert_msg(has_word(language, "`", names[i]), "docs/language.md does not describe `%s`", names[i]);
        ck_assert_msg(occurs(programs, names[i]), "docs/language.md has no program with `%s`", names[i]);
    }
    free(programs);
}
END_TEST

START_TEST(every_sign_and_word_is_described)
{
    static const char *const texts[] = {
#define TOKEN(name, text) text,
#define WORD(name) #name,
#include "frontend/tokens.def"
#define DTYPE(name, bytes, class) #name,
#include "ir/dtypes.def"
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        ck_assert_msg(strstr(language, texts[i]) != NULL && (!is_word(*texts[i]) || has_word(language, "`", texts[i])),
                      "docs/language.md does not describe `%s`", texts[i]);
}
END_TEST

START_TEST(every_key_of_a_run_is_described)
{
    for (int i = 0; i < TRAIN_KEYS; i++)
        ck_assert_msg(row_of(language, train_keys[i].name) != NULL, "docs/language.md lacks the key `%s` of a train block",
                      train_keys[i].name);
}
END_TEST

/* ---- text of the IRs ---- */

static BlockList texts;

static bool is_ir(const Block *block)
{
    return !strcmp(block->language, "ir") || !strcmp(block->language, "kernel");
}

START_TEST(text_of_an_ir_prints_as_it_stands)
{
    const Block *block = &texts.items[_i];
    Arena *arena = arena_new(NULL, NULL);
    DiagSink diags = diag_sink_new(arena);
    Source source = {block->page, block->text, strlen(block->text)};
    Text printed = text_new(arena), messages = text_new(arena);
    if (!strcmp(block->language, "ir")) {
        IrModule *module = ir_parse(arena, &source, &diags);
        if (module && ir_verify(module, &diags))
            ir_print(module, &printed);
    } else {
        Kernel *kernel = kernel_parse(arena, &source, &diags);
        if (kernel && kernel_verify(kernel, &diags))
            kernel_print(kernel, &printed);
    }
    diag_render_all(&diags, &messages);
    ck_assert_msg(!diags.list.count, "%s:%d: %s", block->page, block->line, messages.data);
    ck_assert_str_eq(printed.data, block->text);
    arena_free(arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("docs_tables");
    TCase *tables = tcase_create("tables"), *text = tcase_create("text");
    blocks_select(&texts, is_ir);
    tcase_add_checked_fixture(tables, read_pages, drop_pages);
    tcase_add_test(tables, readme_has_every_verb);
    tcase_add_test(tables, ir_page_has_every_pass);
    tcase_add_test(tables, language_page_has_every_diagnostic);
    tcase_add_test(tables, ir_page_has_every_primitive);
    tcase_add_test(tables, ir_page_has_every_kernel_operation);
    tcase_add_test(tables, every_builtin_is_described_and_run);
    tcase_add_test(tables, every_sign_and_word_is_described);
    tcase_add_test(tables, every_key_of_a_run_is_described);
    tcase_add_loop_test(text, text_of_an_ir_prints_as_it_stands, 0, texts.count);
    suite_add_tcase(suite, tables);
    suite_add_tcase(suite, text);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
