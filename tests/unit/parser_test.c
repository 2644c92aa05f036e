/* The parser: how tightly operators bind, where lines go on, where things are; and texts that nest without end, stop in the
 * middle or are damaged: they get messages, and no more. */
#include "tests/unit/ast_dump.h"
#include "tests/unit/golden.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static Arena *names; /* of the files, read once */
static GoldenPaths programs;

typedef struct Parsed {
    File *file;
    DiagSink diags;
    const char *messages;
} Parsed;

static Parsed parse(Arena *arena, const char *text, size_t length)
{
    Source *source = arena_new_of(arena, Source);
    *source = (Source){"test.cm", arena_copy_text(arena, text, length), length};
    Parsed parsed = {.diags = diag_sink_new(arena)};
    parsed.file = parse_file(arena, source, &parsed.diags);
    Text messages = text_new(arena);
    diag_render_all(&parsed.diags, &messages);
    parsed.messages = messages.data;
    ck_assert_ptr_nonnull(parsed.file);
    return parsed;
}

/* The tree without the marks of parentheses. */
static const char *tree_of(Arena *arena, const char *text)
{
    Parsed parsed = parse(arena, text, strlen(text));
    ck_assert_msg(!parsed.diags.list.count, "%s\n%s", text, parsed.messages);
    Text dump = text_new(arena), bare = text_new(arena);
    dump_file(&dump, parsed.file);
    for (const char *at = dump.data; *at; at++) {
        if (strncmp(at, " paren", 6) == 0)
            at += 5;
        else
            text_add(&bare, at, 1);
    }
    return bare.data;
}

/* ---- how tightly operators bind, from weakest to strongest as docs/language.md lists them ---- */

static const char *const same[][2] = {
    {"let a = x or y |> f", "let a = (x or y) |> f"},
    {"let a = x |> f |> g(1)", "let a = (x |> f) |> g(1)"},
    {"let a = x or y or z", "let a = (x or y) or z"},
    {"let a = x or y and z", "let a = x or (y and z)"},
    {"let a = x and not y and z", "let a = x and (not y) and z"},
    {"let a = not x == y", "let a = not (x == y)"},
    {"let a = not not x", "let a = not (not x)"},
    {"let a = x and y < z", "let a = x and (y < z)"},
    {"let a = x < y + 1", "let a = x < (y + 1)"},
    {"let a = [0..n + 1]", "let a = [0..(n + 1)]"},
    {"let a = x - y - z + w", "let a = ((x - y) - z) + w"},
    {"let a = l ++ m ++ n", "let a = (l ++ m) ++ n"},
    {"let a = x + y * z", "let a = x + (y * z)"},
    {"let a = x / y / z * w % v", "let a = (((x / y) / z) * w) % v"},
    {"let a = -x * y", "let a = (-x) * y"},
    {"let a = x * -y", "let a = x * (-y)"},
    {"let a = -x^2", "let a = -(x^2)"},
    {"let a = x^y^z", "let a = x^(y^z)"},
    {"let a = x^-y^2", "let a = x^(-(y^2))"},
    {"let a = x as f64^2", "let a = (x as f64)^2"},
    {"let a = x as f64 as f32", "let a = (x as f64) as f32"},
    {"let a = -x as f64", "let a = -(x as f64)"},
    {"let a = f(x).b[c].0(d) as f32", "let a = ((((f(x)).b)[c]).0)(d) as f32"},
    {"let a = x => y => x + y", "let a = x => (y => (x + y))"},
    {"let a = (x) => x |> f", "let a = (x) => (x |> f)"},
    {"let a = if p { 1 } else if q { 2 } else { 3 }", "let a = (if p { 1 } else if q { 2 } else { 3 })"},
    {"let a = if p { 1 } else { 2 } + 3", "let a = (if p { 1 } else { 2 }) + 3"},
    /* lines */
    {"let a = x +\ny", "let a = x + y"},
    {"let a = x\n+ y", "let a = x + y"},
    {"let a = x\n* y\n/ z", "let a = x * y / z"},
    {"let a = x\n|> f\n|> g", "let a = x |> f |> g"},
    {"let a =\nx", "let a = x"},
    {"let a\n= x", "let a = x"},
    {"fn f(x)\n-> f32\n= x", "fn f(x) -> f32 = x"},
    {"let a = (x\n- y\n, z)", "let a = (x - y, z)"},
    {"let a = f(\nx\n,\ny,\n)", "let a = f(x, y)"},
    {"let a = x =>\nx", "let a = x => x"},
    {"import a,\nb", "import a, b"},
    {"fn f() { let x = a\n-b }", "fn f() { let x = a; -b }"},
    {"fn f() { let x = a\n(b) }", "fn f() { let x = a; (b) }"},
    {"fn f() { let x = a\n[b] }", "fn f() { let x = a; [b] }"},
    {"fn f() { if p { x = 1 }\nelse { x = 2 }\nx }", "fn f() { if p { x = 1 } else { x = 2 }; x }"},
    {"let a = 1;;; let b = 2;", "let a = 1\nlet b = 2"},
    {"let a = [x,]", "let a = [x]"},
};
enum { SAME = sizeof same / sizeof *same };

START_TEST(two_ways_to_write_one_tree)
{
    Arena *arena = arena_new(NULL, NULL);
    ck_assert_msg(!strcmp(tree_of(arena, same[_i][0]), tree_of(arena, same[_i][1])), "%s\n%s", same[_i][0], same[_i][1]);
    arena_free(arena);
}
END_TEST

static const char *const different[][2] = {
    {"let a = x - (y - z)", "let a = x - y - z"},
    {"let a = (x^y)^z", "let a = x^y^z"},
    {"let a = (-x)^2", "let a = -x^2"},
    {"let a = (not x) == y", "let a = not x == y"},
    {"let a = (x + y) * z", "let a = x + y * z"},
    {"let a = (x => x)(y)", "let a = x => x(y)"},
    {"let a = x |> f(y)", "let a = f(x, y)"}, /* one meaning; the tree keeps how it was written */
    {"let a = [x, y]", "let a = (x, y)"},
    {"let a = {}", "let a = ()"},
    {"let a = { a: 1 }", "let a = { { a: 1 } }"},
    {"fn f() = { 1 }", "fn f() { 1 }"},
    {"fn f() { let x = a - b; x }", "fn f() { let x = a\n-b }"},
    {"let a = 1", "let a = 1.0"},
    {"let a = 255", "let a = 0xff"}, /* as written */
    {"let a = f[C: 8]", "let a = f[C = 8]"},
    {"let a = C'", "let a = C"},
};
enum { DIFFERENT = sizeof different / sizeof *different };

START_TEST(two_trees)
{
    Arena *arena = arena_new(NULL, NULL);
    ck_assert_msg(strcmp(tree_of(arena, different[_i][0]), tree_of(arena, different[_i][1])), "%s\n%s", different[_i][0],
                  different[_i][1]);
    arena_free(arena);
}
END_TEST

/* ---- what declarations keep ---- */

START_TEST(comments_right_above_describe)
{
    Arena *arena = arena_new(NULL, NULL);
    const char *text = "# far\n\n# One.\n#  Two.\nfn f() = 1\nlet a = 1 # behind\nfn g() = 1\n# of h\n\nfn h() = 1\n"
                       "model M() {\n  # A weight.\n  param w: f32 = zeros\n}";
    Parsed parsed = parse(arena, text, strlen(text));
    ck_assert_msg(!parsed.diags.list.count, "%s", parsed.messages);
    ck_assert_str_eq(parsed.file->decls.items[0]->doc, "One.\n Two.");
    ck_assert_ptr_null(parsed.file->decls.items[2]->doc);
    ck_assert_ptr_null(parsed.file->decls.items[3]->doc);
    ck_assert_str_eq(parsed.file->decls.items[4]->members.items[0]->doc, "A weight.");
    arena_free(arena);
}
END_TEST

/* ---- places: a node lies in the node that it is part of ---- */

static void check_place(const Expr *expr, Span outer);

static void check_inside(Span inner, Span outer)
{
    ck_assert_ptr_eq(inner.source, outer.source);
    ck_assert_uint_le(inner.start, inner.end);
    ck_assert_msg(inner.start >= outer.start && inner.end <= outer.end, "[%u, %u) is outside of [%u, %u)", inner.start,
                  inner.end, outer.start, outer.end);
}

static void check_type_place(const TypeExpr *type, Span outer)
{
    if (!type)
        return;
    check_inside(type->span, outer);
    for (int i = 0; i < type->axes.count; i++)
        check_place(type->axes.items[i].size, type->span);
    for (int i = 0; i < type->items.count; i++)
        check_type_place(type->items.items[i], type->span);
    for (int i = 0; i < type->fields.count; i++)
        check_type_place(type->fields.items[i].type, type->span);
}

static void check_statement_place(const Stmt *stmt, Span outer)
{
    check_inside(stmt->span, outer);
    check_type_place(stmt->type, stmt->span);
    check_place(stmt->value, stmt->span);
    check_place(stmt->bound, stmt->span);
    check_place(stmt->body, stmt->span);
}

static void check_parts_place(const Expr *expr)
{
    for (int i = 0; i < expr->items.count; i++)
        check_place(expr->items.items[i], expr->span);
    for (int i = 0; i < expr->args.count; i++)
        check_place(expr->args.items[i].value, expr->span);
    for (int i = 0; i < expr->fields.count; i++)
        check_place(expr->fields.items[i].value, expr->span);
    for (int i = 0; i < expr->stmts.count; i++)
        check_statement_place(expr->stmts.items[i], expr->span);
}

static void check_place(const Expr *expr, Span outer)
{
    if (!expr)
        return;
    check_inside(expr->span, outer);
    check_type_place(expr->type, expr->span);
    check_place(expr->a, expr->span);
    check_place(expr->b, expr->span);
    check_place(expr->c, expr->span);
    check_parts_place(expr);
    const char *text = expr->span.source->text + expr->span.start;
    if ((expr->kind == EXPR_name || expr->kind == EXPR_number) && !expr->parenthesised)
        ck_assert_int_eq(strncmp(text, expr->name, expr->span.end - expr->span.start), 0);
    ck_assert(!expr->parenthesised || *text == '(');
}

static void check_declaration_place(const Decl *decl, Span outer)
{
    check_inside(decl->span, outer);
    check_type_place(decl->type, decl->span);
    check_place(decl->value, decl->span);
    check_place(decl->body, decl->span);
    for (int i = 0; i < decl->members.count; i++)
        check_declaration_place(decl->members.items[i], decl->span);
}

START_TEST(places_lie_in_each_other)
{
    Arena *arena = arena_new(NULL, NULL);
    Golden golden = golden_read(arena, programs.items[_i]);
    Parsed parsed = parse(arena, golden.text.text, golden.text.length);
    ck_assert_msg(!parsed.diags.list.count, "%s", parsed.messages);
    Span whole = {parsed.file->source, 0, (uint32_t)golden.text.length};
    for (int i = 0; i < parsed.file->decls.count; i++)
        check_declaration_place(parsed.file->decls.items[i], whole);
    arena_free(arena);
}
END_TEST

/* ---- nesting without end ---- */

enum { MANY = 100000 };

static const struct Nest {
    const char *head, *open, *middle, *close, *tail;
} nests[] = {
    {"let a = ", "(", "x", ")", ""},
    {"let a = ", "[", "x", "]", ""},
    {"let a = ", "{ a: ", "x", "}", ""},
    {"let a = ", "{ ", "x", "}", ""},
    {"let a = ", "f(", "x", ")", ""},
    {"let a = ", "x[", "0", "]", ""},
    {"let a = x", "", "", "(0)", ""},
    {"let a = x", "", "", "[0]", ""},
    {"let a = x", "", "", ".b", ""},
    {"let a = x", "", "", ".0", ""},
    {"let a = ", "-", "x", "", ""},
    {"let a = ", "not ", "x", "", ""},
    {"let a = ", "x^", "x", "", ""},
    {"let a = ", "x + ", "x", "", ""},
    {"let a = ", "x and ", "x", "", ""},
    {"let a = x", "", "", " |> f", ""},
    {"let a = x", "", "", " as f32", ""},
    {"let a = ", "x => ", "x", "", ""},
    {"let a = ", "(x = ", "1", ") => x", ""},
    {"let a = ", "if x { ", "1", " } else { 2 }", ""},
    {"let a = ", "if x { 1 } else ", "{ 2 }", "", ""},
    {"let a = ", "if ", "x", " { 1 } else { 2 }", ""},
    {"let a = ", "with k { ", "x", " }", ""},
    {"let a = ", "[", "x", " for i in y]", ""},
    {"let a = ", "[x for i in ", "y", "]", ""},
    {"let a = ", "[C -> ", "D", "]", ""},
    {"let a: ", "(", "f32", ", f32)", " = 1"},
    {"let a: ", "{ a: ", "f32", " }", " = 1"},
    {"let a: ", "f32[C: f32[C: ", "1", "]]", " = 1"},
    {"fn f() { let ", "(", "a", ", b)", " = c }"},
    {"fn f() { ", "for i in x { ", "", " }", " }"},
    {"fn f() { ", "while x { ", "", " }", " }"},
    {"fn f() { ", "{ let y = ", "1", "; y }", " }"},
    {"fn f(", "x = (y = ", "1", ") => y", ") = 1"},
    {"", "model M() { ", "", " }", ""},
    {"", "# ", "", "", ""},
    {"", ";", "", "", ""},
    {"", "let a = 1;", "", "", ""},
    {"import a", "", "", ".b", ""},
    {"let a = (", "x, ", "", "", ")"},
    {"let a = \"", "x", "", "", "\""},
    {"let a = ", "9", "", "", ""},
    {"let a = ", "x", "", "", ""},
    {"let a", "'", "", "", " = 1"},
    {"fn f() { ", "x = 1\n", "", "", "}"},
    {"# one\n", "let a = 1\n", "", "", ""},
    {"", "# one\nlet a = 1\n", "", "", ""},
};
enum { NESTS = sizeof nests / sizeof *nests };

static void repeat(Text *out, const char *text, int count)
{
    for (int i = 0; i < count; i++)
        text_puts(out, text);
}

static void check_many(const struct Nest *nest, int count, bool closed)
{
    Arena *arena = arena_new(NULL, NULL);
    Text text = text_new(arena), out = text_new(arena);
    text_puts(&text, nest->head);
    repeat(&text, nest->open, count);
    text_puts(&text, nest->middle);
    repeat(&text, nest->close, closed ? count : count / 2);
    text_puts(&text, closed ? nest->tail : "");
    Parsed parsed = parse(arena, text.data, text.length);
    ck_assert_msg(parsed.diags.list.count + parsed.diags.dropped <= 3, "%s%s: %d messages\n%s", nest->open, nest->close,
                  parsed.diags.list.count + parsed.diags.dropped, parsed.messages);
    format_file(parsed.file, &out);
    arena_free(arena);
}

START_TEST(nesting_ends_in_a_message)
{
    check_many(&nests[_i], MANY, true);
    check_many(&nests[_i], MANY / 10, false);
}
END_TEST

/* What may be nested is what walks over trees may meet: no tree is higher than it says. */
START_TEST(nesting_that_is_allowed_is_read)
{
    check_many(&nests[_i], 20, true);
    Arena *arena = arena_new(NULL, NULL);
    for (int count = AST_MAX_HEIGHT - 10; count < AST_MAX_HEIGHT + 10; count++)
        check_many(&nests[_i], count, true);
    arena_free(arena);
}
END_TEST

/* ---- programs that stop in the middle or are damaged ---- */

/* What parses all the same can be printed and read again. */
static void check_damaged(const char *text, size_t length)
{
    Arena *arena = arena_new(NULL, NULL);
    Parsed parsed = parse(arena, text, length);
    Text out = text_new(arena);
    format_file(parsed.file, &out);
    if (!parsed.diags.list.count) {
        Parsed again = parse(arena, out.data, out.length);
        ck_assert_msg(!again.diags.list.count, "%s\n%s", out.data, again.messages);
    }
    arena_free(arena);
}

START_TEST(programs_may_stop_anywhere)
{
    Arena *arena = arena_new(NULL, NULL);
    Golden golden = golden_read(arena, programs.items[_i]);
    size_t step = golden.text.length / 500 + 1;
    for (size_t length = 0; length <= golden.text.length; length += step)
        check_damaged(golden.text.text, length);
    arena_free(arena);
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
    return *state = *state * 1664525u + 1013904223u, *state >> 16;
}

/* Pieces left out, doubled, or moved to another place. */
START_TEST(programs_may_be_damaged)
{
    Arena *arena = arena_new(NULL, NULL);
    Golden golden = golden_read(arena, programs.items[_i]);
    uint32_t state = (uint32_t)_i, length = (uint32_t)golden.text.length;
    for (int round = 0; round < 300 && length > 20; round++) {
        Text text = text_new(arena);
        uint32_t cut = next_random(&state) % length, size = next_random(&state) % 12, to = next_random(&state) % length;
        size = cut + size > length ? length - cut : size;
        text_add(&text, golden.text.text, cut);
        if (round % 3)
            text_add(&text, golden.text.text + to, to + size > length ? length - to : size);
        text_add(&text, golden.text.text + cut + (round % 2 ? size : 0), length - cut - (round % 2 ? size : 0));
        check_damaged(text.data, text.length);
    }
    arena_free(arena);
}
END_TEST

static void add_all(const char *folder)
{
    GoldenPaths found = golden_find(names, folder, ".cm");
    for (int i = 0; i < found.count; i++)
        list_push(names, &programs, found.items[i]);
}

int main(void)
{
    names = arena_new(NULL, NULL);
    add_all(CM_SOURCE_DIR "/std");
    add_all(CM_SOURCE_DIR "/examples");
    add_all(CM_SOURCE_DIR "/tests/golden/format");
    Suite *suite = suite_create("parser");
    TCase *cases = tcase_create("parser");
    tcase_set_timeout(cases, 30);
    tcase_add_loop_test(cases, two_ways_to_write_one_tree, 0, SAME);
    tcase_add_loop_test(cases, two_trees, 0, DIFFERENT);
    tcase_add_test(cases, comments_right_above_describe);
    tcase_add_loop_test(cases, places_lie_in_each_other, 0, programs.count);
    tcase_add_loop_test(cases, nesting_ends_in_a_message, 0, NESTS);
    tcase_add_loop_test(cases, nesting_that_is_allowed_is_read, 0, NESTS);
    tcase_add_loop_test(cases, programs_may_stop_anywhere, 0, programs.count);
    tcase_add_loop_test(cases, programs_may_be_damaged, 0, programs.count);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = programs.count ? srunner_ntests_failed(runner) : 1;
    srunner_free(runner);
    arena_free(names);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
