/* The canonical layout: what it makes of the texts in tests/golden/format, and what holds for it everywhere: it changes
 * neither the tree nor a comment, and the second time nothing at all. */
#include "tests/unit/ast_dump.h"
#include "frontend/lexer.h"
#include "tests/unit/golden.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static Arena *names; /* of the files, read once */
static GoldenPaths pairs, all, shipped;

static File *parse(Arena *arena, const char *name, const char *text, size_t length)
{
    Source *source = arena_new_of(arena, Source);
    *source = (Source){name, arena_copy_text(arena, text, length), length};
    DiagSink diags = diag_sink_new(arena);
    File *file = parse_file(arena, source, &diags);
    Text messages = text_new(arena);
    diag_render_all(&diags, &messages);
    ck_assert_msg(!diags.list.count, "%s does not parse\n%s", name, messages.data);
    return file;
}

static void check_same_tree(Arena *arena, const char *name, const File *before, const File *after)
{
    Text trees[2] = {text_new(arena), text_new(arena)};
    dump_file(&trees[0], before);
    dump_file(&trees[1], after);
    ck_assert_msg(!strcmp(trees[0].data, trees[1].data), "%s: another tree", name);
}

static void check_same_comments(const char *name, const File *before, const File *after)
{
    ck_assert_msg(before->comments.count == after->comments.count, "%s: %d comments of %d are left", name,
                  after->comments.count, before->comments.count);
    for (int i = 0; i < before->comments.count; i++)
        ck_assert_str_eq(before->comments.items[i].text, after->comments.items[i].text);
}

/* Lines are at most as wide as they may be, unless a comment or one long word makes them wider. */
static void check_width(const char *name, const char *text)
{
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        size_t length = strcspn(line, "\n"), indent = strspn(line, " ");
        bool apart = memchr(line, '#', length) || memchr(line, '"', length);
        ck_assert_msg(length <= 120 || apart || !memchr(line + indent, ' ', length - indent), "%s: a wide line\n%.*s", name,
                      (int)length, line);
        ck_assert_msg(!length || line[length - 1] != ' ', "%s: a line ends in a space\n%.*s", name, (int)length, line);
        ck_assert_msg(length || line != text, "%s starts with an empty line", name);
        ck_assert_msg(length || line[1] != '\n', "%s: two empty lines", name);
    }
}

static Text format(Arena *arena, const char *name, const char *text, size_t length)
{
    File *file = parse(arena, name, text, length);
    Text once = text_new(arena), twice = text_new(arena);
    format_file(file, &once);
    File *again = parse(arena, name, once.data, once.length);
    format_file(again, &twice);
    check_same_tree(arena, name, file, again);
    check_same_comments(name, file, again);
    ck_assert_msg(!strcmp(once.data, twice.data), "%s: the second time changes something\n%s\n%s", name, once.data, twice.data);
    return once;
}

START_TEST(texts_are_laid_out)
{
    Arena *arena = arena_new(NULL, NULL);
    Golden golden = golden_read(arena, pairs.items[_i]);
    Text got = format(arena, golden.name, golden.text.text, golden.text.length);
    golden_compare(arena, &golden, got.data);
    check_width(golden.name, got.data);
    arena_free(arena);
}
END_TEST

START_TEST(what_is_shipped_is_laid_out)
{
    Arena *arena = arena_new(NULL, NULL);
    Golden golden = golden_read(arena, shipped.items[_i]);
    Text got = format(arena, golden.name, golden.whole, golden.kept);
    ck_assert_msg(!strcmp(golden.whole, got.data), "cmc fmt %s would change it", golden.path);
    arena_free(arena);
}
END_TEST

/* ---- the same programs, written badly ---- */

static uint32_t next_random(uint32_t *state)
{
    return *state = *state * 1664525u + 1013904223u, *state >> 16;
}

/* Whether a line may end behind the token, whatever follows. */
static bool ends_line(const Token *token)
{
    switch (token->kind) {
    case TOK_comma:
    case TOK_left_brace:
    case TOK_left_bracket:
    case TOK_left_paren:
    case TOK_plus:
    case TOK_star:
    case TOK_slash:
    case TOK_assign:
    case TOK_maps_to:
    case TOK_and:
        return true;
    default:
        return false;
    }
}

static void put_space(Text *out, uint32_t *state)
{
    static const char *const spaces[] = {"\n", "\n\n\n", " # behind\n", "\n# own\n", "  ", "\t", "\n   \n # own\n\n", "\r\n"};
    text_puts(out, spaces[next_random(state) % (sizeof spaces / sizeof *spaces)]);
}

/* The program again with other spaces, lines and comments; `often`: of a hundred places where a line may end. */
static Text spoil(Arena *arena, const char *text, size_t length, uint32_t seed, uint32_t often)
{
    Source source = {"text", text, length};
    DiagSink diags = diag_sink_new(arena);
    TokenList tokens = {0};
    CommentList comments = {0};
    lexer_run(arena, &source, &diags, &tokens, &comments);
    Text out = text_new(arena);
    uint32_t from = 0, state = seed;
    for (int i = 0; i < tokens.count; i++) {
        const Token *token = &tokens.items[i];
        text_add(&out, text + from, token->end - from);
        from = token->end;
        if (ends_line(token) && next_random(&state) % 100 < often)
            put_space(&out, &state);
    }
    text_add(&out, text + from, length - from);
    return out;
}

START_TEST(programs_written_badly_are_the_same_programs)
{
    Arena *arena = arena_new(NULL, NULL);
    Golden golden = golden_read(arena, all.items[_i]);
    size_t length = golden.text.length;
    for (uint32_t seed = 0; seed < 60; seed++) {
        Text text = spoil(arena, golden.whole, length, seed, 1 + seed % 4 * 25);
        Text laid = format(arena, golden.name, text.data, text.length);
        check_width(golden.name, laid.data);
    }
    arena_free(arena);
}
END_TEST

/* ---- edges ---- */

static const struct Edge {
    const char *text, *laid;
} edges[] = {
    {"", ""},
    {"\n\n \t\n", ""},
    {"# only this", "# only this\n"},
    {"\n\n# one\n\n\n\n# two\n\n\n", "# one\n\n# two\n"},
    {"\xef\xbb\xbflet a = 1", "let a = 1\n"},
    {"let a = 1\r\n\r\n\r\n# c \r\nlet b = 2 # d\r\n", "let a = 1\n\n# c\nlet b = 2  # d\n"},
    {";;let a = 1;;;", "let a = 1\n"},
    {"let s = \"\xc3\xa4\xe2\x82\xac\" # \xc3\xa4", "let s = \"\xc3\xa4\xe2\x82\xac\"  # \xc3\xa4\n"},
};
enum { EDGES = sizeof edges / sizeof *edges };

START_TEST(edges_are_laid_out)
{
    Arena *arena = arena_new(NULL, NULL);
    Text got = format(arena, edges[_i].text, edges[_i].text, strlen(edges[_i].text));
    ck_assert_str_eq(got.data, edges[_i].laid);
    arena_free(arena);
}
END_TEST

/* What does not parse comes back without a crash; whoever calls has said no before. */
START_TEST(broken_texts_do_no_harm)
{
    static const char *const texts[] = {"fn f(",      "fn f(x) { (] }", "}",          "let a = {",
                                        "let a = \"", "model M { { [",  "fn f(x) = )"};
    Arena *arena = arena_new(NULL, NULL);
    Source source = {"broken.cm", texts[_i], strlen(texts[_i])};
    DiagSink diags = diag_sink_new(arena);
    Text out = text_new(arena);
    format_file(parse_file(arena, &source, &diags), &out);
    ck_assert_int_ge(diags.list.count, 1);
    ck_assert(out.length > 0);
    arena_free(arena);
}
END_TEST

/* A program of a megabyte on one line takes a moment, not a minute. */
START_TEST(long_lines_are_quick)
{
    Arena *arena = arena_new(NULL, NULL);
    Text text = text_new(arena);
    text_puts(&text, "let a = [");
    for (int i = 0; i < 60000; i++)
        text_printf(&text, "f(%d, { x: %d }), ", i, i);
    text_puts(&text, "1] let b = 2");
    text.data[text.length - 10] = '\n';
    Text laid = format(arena, "long", text.data, text.length);
    check_width("long", laid.data);
    arena_free(arena);
}
END_TEST

static void add_all(GoldenPaths *to, const GoldenPaths *from)
{
    for (int i = 0; i < from->count; i++)
        list_push(names, to, from->items[i]);
}

int main(void)
{
    names = arena_new(NULL, NULL);
    pairs = golden_find(names, CM_SOURCE_DIR "/tests/golden/format", ".cm");
    shipped = golden_find(names, CM_SOURCE_DIR "/std", ".cm");
    GoldenPaths examples = golden_find(names, CM_SOURCE_DIR "/examples", ".cm");
    add_all(&shipped, &examples);
    add_all(&all, &pairs);
    add_all(&all, &shipped);
    Suite *suite = suite_create("layout");
    TCase *cases = tcase_create("layout");
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, texts_are_laid_out, 0, pairs.count);
    tcase_add_loop_test(cases, what_is_shipped_is_laid_out, 0, shipped.count);
    tcase_add_loop_test(cases, programs_written_badly_are_the_same_programs, 0, all.count);
    tcase_add_loop_test(cases, edges_are_laid_out, 0, EDGES);
    tcase_add_loop_test(cases, broken_texts_do_no_harm, 0, 7);
    tcase_add_test(cases, long_lines_are_quick);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = pairs.count && shipped.count ? srunner_ntests_failed(runner) : 1;
    srunner_free(runner);
    arena_free(names);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
