/* Tokens: every sign and word, numbers, strings, comments, brackets; and bytes that are none of these. */
#include "base/file.h"
#include "frontend/lexer.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Lexed {
    Arena *arena;
    DiagSink diags;
    TokenList tokens;
    CommentList comments;
} Lexed;

static Lexed lex(const char *text, size_t length)
{
    Lexed lexed = {.arena = arena_new(NULL, NULL)};
    Source *source = arena_new_of(lexed.arena, Source);
    /* a copy of its own, so that the sanitizer sees a read beyond it */
    *source = (Source){"test.cm", arena_copy_text(lexed.arena, text, length), length};
    lexed.diags = diag_sink_new(lexed.arena);
    lexer_run(lexed.arena, source, &lexed.diags, &lexed.tokens, &lexed.comments);
    return lexed;
}

static Lexed lex_text(const char *text)
{
    return lex(text, strlen(text));
}

/* Tokens are in order, lie in the text and end in TOK_end; brackets point at their other ones. */
static void check_order(const Lexed *lexed, size_t length)
{
    uint32_t at = 0;
    ck_assert_int_ge(lexed->tokens.count, 1);
    for (int i = 0; i < lexed->tokens.count; i++) {
        const Token *token = &lexed->tokens.items[i];
        ck_assert_uint_ge(token->start, at);
        ck_assert_uint_ge(token->end, token->start);
        ck_assert_uint_le(token->end, length);
        ck_assert((token->kind == TOK_end) == (i == lexed->tokens.count - 1));
        ck_assert(token->match < 0 || (token->match > i && token->match < lexed->tokens.count));
        at = token->end;
    }
}

/* ---- signs and words ---- */

static const struct Spelled {
    const char *text;
    TokenKind kind;
} spelled[] = {
#define TOKEN(name, text) {text, TOK_##name},
#define WORD(name) {#name, TOK_##name},
#include "frontend/tokens.def"
};
enum { SPELLED = sizeof spelled / sizeof *spelled };

START_TEST(each_token_is_read)
{
    Lexed lexed = lex_text(spelled[_i].text);
    ck_assert_msg(lexed.tokens.count == 2 && !lexed.diags.list.count, "%s", spelled[_i].text);
    ck_assert_msg(lexed.tokens.items[0].kind == spelled[_i].kind, "%s", spelled[_i].text);
    ck_assert_uint_eq(lexed.tokens.items[0].end, strlen(spelled[_i].text));
    ck_assert(strstr(token_kind_text(spelled[_i].kind), spelled[_i].text));
    arena_free(lexed.arena);
}
END_TEST

START_TEST(each_two_tokens_with_space_are_two)
{
    for (int i = 0; i < SPELLED; i++) {
        Arena *arena = arena_new(NULL, NULL);
        const char *text = arena_printf(arena, "%s %s", spelled[_i].text, spelled[i].text);
        Lexed lexed = lex_text(text);
        ck_assert_msg(lexed.tokens.count == 3 && !lexed.diags.list.count, "%s", text);
        ck_assert_msg(lexed.tokens.items[0].kind == spelled[_i].kind && lexed.tokens.items[1].kind == spelled[i].kind, "%s",
                      text);
        arena_free(lexed.arena);
        arena_free(arena);
    }
}
END_TEST

static const struct Glued {
    const char *text;
    TokenKind kinds[6];
} glued[] = {
    {"a..b", {TOK_name, TOK_range, TOK_name}},
    {"0..4", {TOK_number, TOK_range, TOK_number}},
    {"t.0.1", {TOK_name, TOK_dot, TOK_number, TOK_dot, TOK_number}},
    {"\"s\".0", {TOK_string, TOK_dot, TOK_number}},
    {"r.for.0", {TOK_name, TOK_dot, TOK_for, TOK_dot, TOK_number}},
    {"r.inf", {TOK_name, TOK_dot, TOK_name}},
    {"inf", {TOK_number}},
    {"C''", {TOK_name}},
    {"l++=m", {TOK_name, TOK_join_assign, TOK_name}},
    {"l++m", {TOK_name, TOK_join, TOK_name}},
    {"x=>-y", {TOK_name, TOK_maps_to, TOK_minus, TOK_name}},
    {"a<-b", {TOK_name, TOK_less, TOK_minus, TOK_name}},
    {"a|>b", {TOK_name, TOK_pipe, TOK_name}},
    {"a>=b==c", {TOK_name, TOK_greater_equal, TOK_name, TOK_equal, TOK_name}},
    {"format", {TOK_name}},
    {"for_", {TOK_name}},
    {"x~normal", {TOK_name, TOK_draw, TOK_name}},
};
enum { GLUED = sizeof glued / sizeof *glued };

START_TEST(the_longest_sign_is_read)
{
    Lexed lexed = lex_text(glued[_i].text);
    ck_assert_int_eq(lexed.diags.list.count, 0);
    for (int i = 0; i < lexed.tokens.count; i++)
        ck_assert_msg(lexed.tokens.items[i].kind == glued[_i].kinds[i], "%s: token %d", glued[_i].text, i);
    arena_free(lexed.arena);
}
END_TEST

/* ---- numbers ---- */

static const struct Number {
    const char *text;
    double value;
    bool is_integer;
} numbers[] = {
    {"0", 0, true},
    {"3", 3, true},
    {"007", 7, true},
    {"0xff", 255, true},
    {"0XFF", 255, true},
    {"0.5", 0.5, false},
    {"2e-4", 2e-4, false},
    {"1E5", 1e5, false},
    {"1.50", 1.5, false},
    {"1e+3", 1e3, false},
    {"inf", INFINITY, false},
    {"pi", 3.14159265358979323846, false},
    {"1e-400", 0, false},
    {"4503599627370497.5", 4503599627370497.5, false},
    {"18446744073709551615", 18446744073709551615.0, true},
    {"0xffffffffffffffff", 18446744073709551615.0, true},
};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

START_TEST(numbers_have_their_values)
{
    Lexed lexed = lex_text(numbers[_i].text);
    const Token *token = lexed.tokens.items;
    ck_assert_msg(!lexed.diags.list.count && lexed.tokens.count == 2, "%s", numbers[_i].text);
    ck_assert(token->kind == TOK_number && token->value == numbers[_i].value && token->is_integer == numbers[_i].is_integer);
    ck_assert_str_eq(token->text, numbers[_i].text);
    arena_free(lexed.arena);
}
END_TEST

/* ---- what is said, once ---- */

static const struct Wrong {
    const char *text;
    size_t length; /* 0: up to the zero */
    DiagCode code;
} wrongs[] = {
    {"1_000", 0, DIAG_bad_number},
    {"3x", 0, DIAG_bad_number},
    {"0x", 0, DIAG_bad_number},
    {"0xg", 0, DIAG_bad_number},
    {"1.", 0, DIAG_bad_number},
    {"1.e5", 0, DIAG_bad_number},
    {"= .5", 0, DIAG_bad_number},
    {"1e999", 0, DIAG_bad_number},
    {"18446744073709551616", 0, DIAG_bad_number},
    {"0x10000000000000000", 0, DIAG_bad_number},
    {"\"abc", 0, DIAG_open_string},
    {"\"abc\ndef", 0, DIAG_open_string},
    {"\"abc\r\ndef", 0, DIAG_open_string},
    {"\"abc\\", 0, DIAG_open_string},
    {"\"abc\\\n\"", 6, DIAG_open_string},
    {"\"\\\"", 0, DIAG_open_string},
    {"\"", 0, DIAG_open_string},
    {"\"\\q\"", 0, DIAG_bad_escape},
    {"\"\\\x01\"", 0, DIAG_bad_escape},
    {"\"a\x01\x02\x03\"", 0, DIAG_bad_character},
    {"\"a\0b\"", 5, DIAG_bad_character},
    {"\x80", 0, DIAG_bad_character},                 /* a byte that only continues */
    {"\xc3", 0, DIAG_bad_character},                 /* the text ends in the character */
    {"\xe2\x82", 0, DIAG_bad_character},             /* the same, of three bytes */
    {"\xf0\x9f\x98", 0, DIAG_bad_character},         /* of four */
    {"\xc3 x", 0, DIAG_bad_character},               /* not continued */
    {"\xc0\xaf", 0, DIAG_bad_character},             /* longer than needed */
    {"\xe0\x80\xaf", 0, DIAG_bad_character},         /* the same, of three bytes */
    {"\xf0\x80\x80\xaf", 0, DIAG_bad_character},     /* of four */
    {"\xed\xa0\x80", 0, DIAG_bad_character},         /* half of a pair of UTF-16 */
    {"\xf4\x90\x80\x80", 0, DIAG_bad_character},     /* beyond U+10FFFF */
    {"\xf5\x80\x80\x80", 0, DIAG_bad_character},     /* no first byte */
    {"\xff\xfe\xff\xfe\xff", 0, DIAG_bad_character}, /* a run of them is one message */
    {"# \xff\xfe\xff in a comment", 0, DIAG_bad_character},
    {"\"\xff\xfe\xff in a string\"", 0, DIAG_bad_character},
    {"a\0\0\0b", 5, DIAG_bad_character},
    {"\x7f", 0, DIAG_bad_character},
    {"\xce\xbb", 0, DIAG_bad_character},     /* lambda */
    {"\xe2\x89\xa4", 0, DIAG_bad_character}, /* less or equal */
    {"\xf0\x9f\x98\x80", 0, DIAG_bad_character},
    {"a && b", 0, DIAG_bad_character},
    {"a ** b", 0, DIAG_bad_character},
    {"a ? b", 0, DIAG_bad_character},
    {"a $ b", 0, DIAG_bad_character},
    {"'text'", 0, DIAG_bad_character},
    {"'text", 0, DIAG_bad_character},
    {"// words of C, \"all of them", 0, DIAG_bad_character},
    {"/* and these", 0, DIAG_bad_character},
};
enum { WRONGS = sizeof wrongs / sizeof *wrongs };

START_TEST(what_is_no_token_is_one_message)
{
    const struct Wrong *wrong = &wrongs[_i];
    size_t length = wrong->length ? wrong->length : strlen(wrong->text);
    Lexed lexed = lex(wrong->text, length);
    Text rendered = text_new(lexed.arena);
    diag_render_all(&lexed.diags, &rendered);
    ck_assert_msg(lexed.diags.list.count == 1 && lexed.diags.list.items[0].code == wrong->code, "%d (%s)\n%s", _i, wrong->text,
                  rendered.data);
    check_order(&lexed, length);
    arena_free(lexed.arena);
}
END_TEST

/* ---- strings, comments, lines, brackets ---- */

START_TEST(strings_have_their_values)
{
    static const char *const texts[][2] = {
        {"\"\"", ""},
        {"\"a b\"", "a b"},
        {"\"\\n\\t\\\"\\\\\"", "\n\t\"\\"},
        {"\"# no comment\"", "# no comment"},
        {"\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        Lexed lexed = lex_text(texts[i][0]);
        ck_assert_int_eq(lexed.diags.list.count, 0);
        ck_assert_str_eq(lexed.tokens.items[0].text, texts[i][1]);
        arena_free(lexed.arena);
    }
}
END_TEST

START_TEST(comments_know_their_line)
{
    Lexed lexed = lex_text("\xef\xbb\xbf# one \t\r\nx # two\r\n\t#three\n#");
    ck_assert_int_eq(lexed.diags.list.count, 0);
    ck_assert_int_eq(lexed.comments.count, 4);
    ck_assert_str_eq(lexed.comments.items[0].text, " one");
    ck_assert_str_eq(lexed.comments.items[1].text, " two");
    ck_assert_str_eq(lexed.comments.items[2].text, "three");
    ck_assert_str_eq(lexed.comments.items[3].text, "");
    ck_assert(lexed.comments.items[0].alone && !lexed.comments.items[1].alone && lexed.comments.items[2].alone);
    ck_assert_int_eq(lexed.tokens.count, 2);
    arena_free(lexed.arena);
}
END_TEST

START_TEST(lines_start_with_their_first_token)
{
    Lexed lexed = lex_text("a b\n  c # d\n\ne\r\nf");
    static const bool starts[] = {true, false, true, true, true, true};
    ck_assert_int_eq(lexed.tokens.count, 6);
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(lexed.tokens.items[i].line_start, starts[i]);
    arena_free(lexed.arena);
}
END_TEST

START_TEST(brackets_find_each_other)
{
    Lexed lexed = lex_text("{ ( [ ] ) [ ) } ( ] }");
    static const int matches[] = {7, 4, 3, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    ck_assert_int_eq(lexed.tokens.count, 12);
    for (int i = 0; i < 12; i++)
        ck_assert_msg(lexed.tokens.items[i].match == matches[i], "token %d", i);
    arena_free(lexed.arena);
}
END_TEST

/* ---- bytes of any kind ---- */

START_TEST(random_bytes_do_no_harm)
{
    uint32_t state = (uint32_t)_i * 7919u + 1;
    char text[200];
    for (int round = 0; round < 300; round++) {
        size_t length = 0;
        for (; length < sizeof text; length++) {
            state = state * 1664525u + 1013904223u;
            static const char often[] = "\"'\\\n\r\t #()[]{}.0x1e+-*/=~|>&\xc3\xe2\x80";
            text[length] = state >> 28 ? often[(state >> 16) % (sizeof often - 1)] : (char)(state >> 20);
        }
        Lexed lexed = lex(text, length);
        check_order(&lexed, length);
        Text rendered = text_new(lexed.arena);
        diag_render_all(&lexed.diags, &rendered);
        arena_free(lexed.arena);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lexer");
    TCase *cases = tcase_create("lexer");
    tcase_add_loop_test(cases, each_token_is_read, 0, SPELLED);
    tcase_add_loop_test(cases, each_two_tokens_with_space_are_two, 0, SPELLED);
    tcase_add_loop_test(cases, the_longest_sign_is_read, 0, GLUED);
    tcase_add_loop_test(cases, numbers_have_their_values, 0, NUMBERS);
    tcase_add_loop_test(cases, what_is_no_token_is_one_message, 0, WRONGS);
    tcase_add_test(cases, strings_have_their_values);
    tcase_add_test(cases, comments_know_their_line);
    tcase_add_test(cases, lines_start_with_their_first_token);
    tcase_add_test(cases, brackets_find_each_other);
    tcase_add_loop_test(cases, random_bytes_do_no_harm, 0, 8);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
