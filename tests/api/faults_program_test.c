/* Programs that are wrong, as the user of cmc meets them: each ends with status 1 and a message that names the place; what
 * cannot end or cannot fit is refused before anything runs.  Every diagnostic of the language has a file in tests/golden/diag.
 */
#include "tests/api/cmc.h"

static const char model[] =
    "dim D = 2\n"
    "fn cloud[N]() -> f32[N, D] {\n  let z ~ normal[N, D]\n  z\n}\n"
    "model Net() {\n  param w: f32[D] = zeros\n  fn call(x: f32[.., D]) -> f32[.., D] = x + w\n}\n"
    "loss fit(net: Net, x0: f32[B, D]) -> f32 = mean((net(0.0 * x0) - x0)^2)\n"
    "data points = { x0: generate(N = 64, cloud) }\n"
    "train fitting { loss = fit, data = points, optimizer = sgd(lr = 0.1), batch = 16, steps = 5, ema = 0.9 }\n";

static const struct {
    const char *name, *text;
} programs[] = {
    {"model.cm", model},
    {"syntax.cm", "fn f(x: f32) -> f32 = x +\n"},
    {"type.cm", "fn f(x: f32) -> f32 = x + \"a\"\n"},
    {"axes.cm", "dim A = 3, B = 4\nfn f(x: f32[A], y: f32[B]) -> f32[A] = x + y\n"},
    {"sizes.cm", "fn f(x: f32[A: 3], y: f32[A: 4]) -> f32 = sum(x + rename(y, A -> A))\n"},
    {"overflow.cm", "dim A = 3000000000, B = 3000000000\nfn f() -> f32 = sum(zeros[A, B])\n"
                    "fn g() -> f32 = sum(zeros[X: 4000000000000 * 4000000000000])\n"
                    "fn h(x: f32[P, Q]) -> f32[R] = merge(x, [P, Q] -> R)\n"},
    {"recursion.cm", "fn f(x: f32) -> f32 = g(x) + 1\nfn g(x: f32) -> f32 = 2 * f(x)\nfn once(x) = x(x)\n"
                     "fn omega() = once((x) => x(x))\nmodel M() {\n  let m = M()\n  fn call(x: f32) -> f32 = m(x)\n}\n"
                     "fn inside(m: M) -> f32 = m(1.0)\n"},
    {"circle.cm", "let a = b\nlet b = a\n"},
    {"import_one.cm", "import \"import_two.cm\" as two\n"},
    {"import_two.cm", "import \"import_one.cm\" as one\n"},
    {"import_self.cm", "import \"import_self.cm\" as me\n"},
    {"import_none.cm", "import \"nowhere.cm\" as nowhere\n"},
    {"import_std.cm", "import std.nowhere\n"},
    {"large.cm", "model Net() {\n  param w: f32[K: 200000000000] = zeros\n  fn call() -> f32 = sum(w)\n}\n"
                 "loss l(net: Net) -> f32 = net()\n"
                 "fn all() -> f32[K: 200000000000] = zeros[K: 200000000000]\n"
                 "train big { loss = l, optimizer = sgd(lr = 0.1), steps = 1 }\n"},
};

static void set_up(void)
{
    make_directory();
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
        write_text(programs[i].name, programs[i].text);
    write_bytes("bytes.cm", "\xff\xfe\0\0\x80 fn f() = 1\n", 18);
    write_text("empty.cm", "");
}

static const Fault faults[] = {
    {"check nowhere.cm", 1, "cannot open 'nowhere.cm': No such file"},
    {"check .", 1, "'.' is not a regular file"},
    {"check /dev/zero", 1, "'/dev/zero' is not a regular file"},
    {"check syntax.cm", 1, "syntax.cm:1:26: error[syntax]: expected a value\n^"},
    {"check type.cm", 1, "type.cm:1:23: error[type_mismatch]: `+` does not take a string\n^"},
    {"check axes.cm", 1,
     "axes.cm:2:40: error[axis_align]\nf32[A: 3] comes from here\nf32[B: 4] comes from here\nexpand(x, [B: size])"},
    {"check sizes.cm", 1, "sizes.cm:1:\naxis_size\n3 in f32[A: 3]\n4 in f32[A: 4]"},
    {"check bytes.cm", 1, "bytes.cm:1:1: error[bad_character]"},
    {"run empty.cm", 2, "empty.cm has no entry"},
    {"run overflow.cm f", 1, "overflow.cm:2:27: error[too_large]: a tensor of [A: 3000000000, B: 3000000000]"},
    {"run overflow.cm g", 1, "overflow.cm:3:30: error[too_large]: the size of an axis cannot be 1.6e+25"},
    {"run overflow.cm h --set P=3000000000 --set Q=3000000000", 1,
     "error[too_large]: a tensor of [P: 3000000000, Q: 3000000000]"},
    {"run model.cm cloud --set N=4611686018427387904", 1, "--set N:1:1: error[too_large]"},
    {"run model.cm cloud --set N=10000000000000000000000", 1, "--set N:1:1: error[bad_number]"},
    {"run model.cm cloud --set N=100000000000", 1, "cloud needs 745.1 GiB of memory\nare free"},
    {"sample large.cm", 2, "no sample entry"},
    {"run large.cm all", 1, "all needs 745.1 GiB of memory\nare free"},
    {"train large.cm", 1, "big needs\nof memory\nare free"},
    {"train model.cm --memory 1 --set train.batch=64 --set points=1", 1, "nothing called `points`"},
    {"run model.cm cloud --set N=1000000 --memory 1 --no-fuse", 1, "error[memory_limit]: 'cloud' needs"},
    {"run recursion.cm f --arg x=1", 1,
     "recursion.cm:2:27: error[recursion]: calls nest deeper than 100\ncalls itself without end"},
    {"run recursion.cm omega", 1, "recursion.cm:4:26: error[recursion]: calls nest deeper than 100"},
    {"run recursion.cm inside", 1, "recursion.cm:6:3: error[recursion]: models nest deeper than 60\ncontains itself"},
    {"check circle.cm", 1, "circle.cm:1:5: error[recursion]: `a` is defined by itself"},
    {"check import_one.cm", 1, "import_two.cm:1:1: error[import_cycle]: this import leads back to import_one.cm"},
    {"check import_self.cm", 1, "import_self.cm:1:1: error[import_cycle]"},
    {"check import_none.cm", 1, "import_none.cm:1:1: error[import_missing]\nNo such file"},
    {"check import_std.cm", 1, "import_std.cm:1:1: error[import_missing]: cannot import std.nowhere: the library"},
    {"train model.cm --set train.stpes=3", 1, "--set:1:1: error[unknown_setting]\ndid you mean `train.steps`?"},
    {"train model.cm --set steps=3", 1, "error[unknown_setting]\ndid you mean `fitting.steps`?"},
    {"train model.cm --set E=3", 1, "error[unknown_setting]: the program has nothing called `E`"},
    {"train model.cm --set train.steps=many", 1, "--set train.steps:1:1: error[unknown_name]"},
    {"train model.cm --set train.steps=-1", 1, "--set train.steps:1:1: error[train_key]: `steps`"},
    {"train model.cm --set train.steps=2.5", 1, "`steps` must be a whole number, but this is 2.5"},
    {"train model.cm --set train.ema=2", 1, "`ema` is a decay, at least 0 and less than 1, not 2"},
    {"train model.cm --set train.clip=0", 1, "`clip` is a positive norm, not 0"},
    {"train model.cm --set train.data=pints", 1, "`data` names a data set of this file\ndid you mean `points`?"},
    {"train model.cm --set train.batch=65", 1, "fitting: a batch of 65 does not fit data set 'points': it has 64 samples"},
};
enum { FAULTS = sizeof faults / sizeof *faults };

START_TEST(a_wrong_program_is_told)
{
    expect_fault(&faults[_i]);
    ck_assert_msg(!is_there("out"), "cmc %s: something was written", faults[_i].words);
}
END_TEST

/* The limit of the process counts as the memory that there is; code for so little could be compiled and run. */
START_TEST(the_limit_of_the_process_counts)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return; /* sanitizers take terabytes of address space */
#endif
    ck_assert_int_eq(shell("ulimit -v 1500000 && %s run model.cm cloud --set N=300000000 2> said", CMC), 1);
    static Ran ran;
    read_text("said", ran.err, sizeof ran.err);
    ck_assert_msg(strstr(ran.err, "cloud needs 2.2 GiB of memory"), "%s", ran.err);
    ck_assert_int_eq(shell("ulimit -v 1500000 && %s run model.cm cloud --set N=3 > printed", CMC), 0);
}
END_TEST

/* ---- nesting ---- */

static const struct {
    const char *before, *open, *middle, *close;
} nests[] = {
    {"fn f() = ", "(", "1", ")"},
    {"fn f() = ", "-", "1", ""},
    {"fn f() = ", "[", "1", "]"},
    {"fn f() = ", "{a: ", "1", "}"},
    {"fn f() ", "{ ", "1", " }"},
    {"fn f() = ", "if true { ", "1", " } else { 2 }"},
    {"fn f() { ", "for i in 0..3 { ", "", "}"},
    {"fn f() = ", "(x) => ", "1", ""},
    {"fn f() = ", "1 + ", "1", ""},
    {"fn f() = ", "2 ^ ", "1", ""},
    {"fn f() = ", "not ", "true", ""},
    {"fn f() = 1", " |> abs", "", ""},
    {"fn f() = x", ".a", "", ""},
    {"fn f() = f", "(1)", "", ""},
    {"fn f() = f", "[1]", "", ""},
    {"fn f() = 1", " as f32", "", ""},
    {"fn f(x: ", "(", "f32", ")"},
    {"fn f(x: ", "{a: ", "f32", "}"},
    {"fn f() { let ", "(", "a", ")"},
    {"fn f() = ", "(", "", ""},
    {"fn f(x: f32[", "(", "A", ")"},
};
enum { NESTS = sizeof nests / sizeof *nests, DEPTH = 50000 };

START_TEST(deep_nesting_is_told)
{
    FILE *file = fopen(path_of("deep.cm"), "wb");
    fputs(nests[_i].before, file);
    for (int i = 0; i < DEPTH; i++)
        fputs(nests[_i].open, file);
    fputs(nests[_i].middle, file);
    for (int i = 0; i < DEPTH; i++)
        fputs(nests[_i].close, file);
    fputc('\n', file);
    ck_assert_int_eq(fclose(file), 0);
    expect_ran(cmc("check deep.cm"), 1, "deep.cm:1:");
    expect_ran(cmc("check deep.cm"), 1, "error[too_deep]");
    expect_ran(cmc("fmt deep.cm"), 1, "error[too_deep]");
}
END_TEST

START_TEST(long_chains_of_imports_are_told)
{
    for (int i = 0; i < 60; i++) {
        char name[32], text[64];
        snprintf(name, sizeof name, "chain%d.cm", i);
        snprintf(text, sizeof text, "import \"chain%d.cm\" as next\n", i + 1);
        write_text(name, text);
    }
    expect_ran(cmc("check chain0.cm"), 1, "error[recursion]: imports nest deeper than 40");
}
END_TEST

START_TEST(long_chains_of_constants_are_told)
{
    FILE *file = fopen(path_of("chain.cm"), "wb");
    for (int i = 0; i < 5000; i++)
        fprintf(file, "let a%d = a%d\n", i, i + 1);
    fputs("let a5000 = 1\n", file);
    ck_assert_int_eq(fclose(file), 0);
    expect_ran(cmc("check chain.cm"), 1, "error[recursion]: calls and expressions nest too deep here");
}
END_TEST

static TCase *wrong_programs(void)
{
    TCase *test = tcase_create("programs");
    tcase_set_timeout(test, 120);
    tcase_add_checked_fixture(test, set_up, remove_directory);
    tcase_add_loop_test(test, a_wrong_program_is_told, 0, FAULTS);
    tcase_add_test(test, the_limit_of_the_process_counts);
    tcase_add_loop_test(test, deep_nesting_is_told, 0, NESTS);
    tcase_add_test(test, long_chains_of_imports_are_told);
    tcase_add_test(test, long_chains_of_constants_are_told);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {wrong_programs, NULL};
    return run_suite("faults_program", cases);
}
