/* The command line as its users meet it: exit statuses, where output goes, what it leaves on disk. */
#include "tests/api/cmc.h"

static const char model[] =
    "fn cloud[N]() -> f32[N, D] {\n  let z ~ normal[N, D]\n  0.1 * z + 0.5\n}\n"
    "dim D = 2\n"
    "fn twice(x: f32[B]) -> f32[B] = 2 * x\n"
    "fn answer() -> f64 = 41.0 + 1.0\n"
    "model Net() {\n  param w: f32[D] = zeros\n  fn call(x: f32[.., D]) -> f32[.., D] = x + w\n}\n"
    "loss fit(net: Net, x0: f32[B, D]) -> f32 {\n  let z ~ normal[B, D]\n  mean((net(0.1 * z) - x0)^2)\n}\n"
    "sample draw(net: Net)[B = 16] -> f32[B, D] {\n  let z ~ normal[B, D]\n  net(0.1 * z)\n}\n"
    "eval distance(net: Net, x0: f32[B, D])[B = 32] -> f32 = mean(sum((x0 - net(0.0 * x0))^2, D))\n"
    "data points = { x0: generate(N = 64, cloud) }\n"
    "train fitting { loss = fit, data = points, optimizer = sgd(lr = 0.1), batch = 16, steps = 20, ema = 0.9 }\n";

static void set_up(void)
{
    make_directory();
    write_text("model.cm", model);
    write_text("bad.cm", "fn f(x: f32) -> f32 = x +\n");
    write_text("loose.cm", "fn  f( x:f32 )->f32=x+1\n");
}

typedef struct Expectation {
    const char *words;
    int status;
    const char *out; /* a part of standard output, or null */
} Expectation;

static const Expectation expectations[] = {
    {"--version", 0, "cmc 0."},
    {"help", 0, "cmc train"},
    {"help dump", 0, "--after"},
    {"run --help", 0, "--arg"},
    {"", 2, ""},
    {"fly", 2, ""},
    {"run", 2, ""},
    {"run --fly model.cm", 2, ""},
    {"run --seed", 2, ""},
    {"run --seed=x model.cm", 2, ""},
    {"run --json=1 model.cm", 2, ""},
    {"run model.cm nothing", 2, ""},
    {"run model.cm --set B", 2, ""},
    {"run missing.cm", 1, ""},
    {"run bad.cm", 1, ""},
    {"check bad.cm --json", 1, "\"line\": "},
    {"check model.cm", 0, ""},
    {"check model.cm bad.cm", 1, ""},
    {"check --grad model.cm", 0, "fit: forward "},
    {"check --grad=1 model.cm", 2, ""},
    {"run model.cm answer", 0, "42"},
    {"run model.cm", 0, "42"},
    {"run model.cm answer --json", 0, ": 42"},
    {"run model.cm twice", 1, ""},
    {"run model.cm cloud --set N=3", 0, "f32[3, 2]"},
    {"sample model.cm", 2, ""},
    {"eval model.cm --json", 2, ""},
    {"dump model.cm answer --after=build", 0, "func"},
    {"dump model.cm answer --after=nothing", 2, ""},
    {"dump model.cm cloud --set N=8 --svg", 0, "<svg"},
    {"bench model.cm cloud --set N=64 --repeat 2 --json", 0, "\"median_seconds\""},
    {"bench model.cm cloud --set N=64 --repeat 2 --profile trace.json && cat trace.json", 0, "\"traceEvents\""},
    {"bench model.cm cloud --set N=64 --repeat 2 --profile bad.cm/trace.json", 1, NULL},
    {"fmt --check loose.cm", 1, "loose.cm"},
    {"fmt bad.cm", 1, ""},
    {"devices", 0, "cpu"},
    {"devices --check", 0, "contractions.dot         ok"},
    {"devices --check --json", 0, "\"trials\": ["},
    {"completion", 2, ""},
    {"completion bash", 0, "complete"},
};
enum { EXPECTATIONS = sizeof expectations / sizeof *expectations };

START_TEST(a_call_has_its_status)
{
    const Expectation *wanted = &expectations[_i];
    const Ran *ran = cmc("%s", wanted->words);
    ck_assert_msg(ran->status == wanted->status, "cmc %s: status %d, wanted %d\n%s%s", wanted->words, ran->status,
                  wanted->status, ran->out, ran->err);
    if (wanted->out)
        ck_assert_msg(strstr(ran->out, wanted->out) != NULL, "cmc %s: no \"%s\" in\n%s", wanted->words, wanted->out, ran->out);
    if (wanted->out && !*wanted->out)
        ck_assert_msg(!ran->out[0], "cmc %s: a failure belongs to standard error, not here: %s", wanted->words, ran->out);
}
END_TEST

/* Status 0, and `part` on standard output. */
static void expect_printed(const char *words, const char *part)
{
    const Ran *ran = cmc("%s", words);
    ck_assert_msg(ran->status == 0, "cmc %s: status %d\n%s", words, ran->status, ran->err);
    ck_assert_msg(strstr(ran->out, part) != NULL, "cmc %s: no \"%s\" in\n%s", words, part, ran->out);
}

START_TEST(train_then_sample_then_evaluate)
{
    expect_printed("train model.cm --json", "\"step\": 20");
    ck_assert(is_there("out/fitting/checkpoint.safetensors"));
    ck_assert(is_there("out/fitting/weights.safetensors"));
    ck_assert(is_there("out/fitting/loss.csv"));
    ck_assert(is_there("out/fitting/loss.svg"));
    ck_assert(is_there("out/fitting/draw.svg"));
    ck_assert(is_there("out/fitting/report.json"));
    expect_printed("sample model.cm -o a/samples.npy --set B=5 --seed 3", "a/samples.npy\n");
    ck_assert(is_there("a/samples.npy"));
    expect_printed("sample model.cm", "out/fitting/draw.svg\n");
    expect_printed("eval model.cm", "f64");
    ck_assert_int_eq(shell("cp printed before"), 0);
    expect_printed("eval model.cm --weights out/fitting/weights.safetensors", "f64");
    ck_assert_int_eq(shell("cmp printed before"), 0);
    expect_printed("train model.cm --resume --set train.steps=30 --json", "\"first_step\": 20");
}
END_TEST

/* Of a file with several models, one takes the weights of its own name; a file with one gives them to any. */
START_TEST(weights_of_several_models)
{
    write_text("pair.cm", "model P() {\n  param x: f32 = 1\n}\n"
                          "loss apart(a: P, b: P) -> f32 = (a.x - 2)^2 + (b.x + 2)^2\n"
                          "loss near(c: P) -> f32 = (c.x - 3)^2\n"
                          "train pair { loss = apart, optimizer = sgd(lr = 0.5), steps = 1 }\n"
                          "train one { loss = near, optimizer = sgd(lr = 0.5), steps = 1 }\n"
                          "fn both(a: P, b: P) = a.x - b.x\n"
                          "fn value(b: P) = b.x\n"
                          "fn other(c: P) = c.x\n");
    expect_printed("train pair.cm pair --json", "\"step\": 1");
    expect_printed("train pair.cm one --json", "\"step\": 1");
    expect_printed("run pair.cm both -w out/pair/weights.safetensors", "= 4");
    expect_printed("run pair.cm value -w b=out/pair/weights.safetensors", "= -2");
    expect_printed("run pair.cm value -w b=out/one/weights.safetensors", "= 3");
    expect_ran(cmc("run pair.cm other -w c=out/pair/weights.safetensors"), 2,
               "c=out/pair/weights.safetensors: there are several models in it, and none is called c");
}
END_TEST

/* Progress is for people who watch: none where standard error is a file; on a terminal it is one line, over and over. */
START_TEST(progress_is_for_terminals)
{
    expect_ran(cmc("train model.cm"), 0, "fitting: steps 0 to 20");
    ck_assert_int_eq(shell("! grep -q 'step 20/20' said"), 0);
    if (shell("command -v script > /dev/null") != 0)
        return;
    ck_assert_int_eq(shell("script -qec '%s train model.cm' typed > /dev/null && grep -q 'step 20/20 ' typed", CMC), 0);
    ck_assert_int_eq(shell("script -qec '%s train model.cm -q' typed > /dev/null && ! grep -q 'step 20/20 ' typed", CMC), 0);
}
END_TEST

START_TEST(results_feed_arguments)
{
    expect_printed("run model.cm cloud --set N=3 -o cloud.safetensors", "");
    write_text("norm.cm", "fn norm(x: f32[N, D]) -> f32 = sum(x * x)\n");
    expect_printed("run norm.cm --arg x=cloud.safetensors", "f32 = ");
}
END_TEST

START_TEST(fmt_rewrites_once)
{
    expect_printed("fmt loose.cm", "");
    expect_printed("fmt --check loose.cm", "");
    expect_printed("fmt - < loose.cm", "fn f(x: f32)");
}
END_TEST

/* ---- completion: the scripts load, and complete, in the shells that are there ---- */

static const struct {
    const char *shell, *verb, *option; /* commands that print what "cmc tra" and "cmc train --resu" complete to */
} shells[] = {
    {"bash", "bash -c 'source c.bash; COMP_WORDS=(cmc tra); COMP_CWORD=1; _cmc; echo \"${COMPREPLY[@]}\"'",
     "bash -c 'source c.bash; COMP_WORDS=(cmc train --resu); COMP_CWORD=2; _cmc; echo \"${COMPREPLY[@]}\"'"},
    {"zsh",
     "zsh -fc 'autoload -U compinit; compinit -D -u; source c.zsh; _describe() { print -l ${(P)2}; }; "
     "words=(cmc tra); CURRENT=2; _cmc' | grep -o ^train",
     "zsh -fc 'autoload -U compinit; compinit -D -u; source c.zsh; _arguments() { print -l -- $@; }; "
     "words=(cmc train --resu); CURRENT=3; _cmc' | grep -o ^--resume"},
    {"fish", "HOME=. fish -c 'source c.fish; complete -C \"cmc tra\"' | cut -f1",
     "HOME=. fish -c 'source c.fish; complete -C \"cmc train --resu\"' | cut -f1"},
};
enum { SHELLS = sizeof shells / sizeof *shells };

START_TEST(completion_works_in_the_shells_that_are_there)
{
    const char *name = shells[_i].shell;
    char text[256];
    ck_assert_int_eq(shell("%s completion %s > c.%s", CMC, name, name), 0);
    if (shell("command -v %s > /dev/null", name) != 0)
        return;
    ck_assert_int_eq(shell("%s > completed", shells[_i].verb), 0);
    read_text("completed", text, sizeof text);
    ck_assert_str_eq(text, "train\n");
    ck_assert_int_eq(shell("%s > completed", shells[_i].option), 0);
    read_text("completed", text, sizeof text);
    ck_assert_str_eq(text, "--resume\n");
}
END_TEST

/* ---- help ---- */

/* Every verb that the help lists has a page with its summary and its options. */
START_TEST(every_verb_has_a_page)
{
    static Ran help;
    help = *cmc("--help");
    int count = 0;
    for (char *line = strtok(help.out, "\n"); line; line = strtok(NULL, "\n")) {
        char verb[32], words[64];
        if (strncmp(line, "  cmc ", 6) != 0 || sscanf(line, "  cmc %31s", verb) != 1 || verb[0] == '-' || !strcmp(verb, "help"))
            continue;
        snprintf(words, sizeof words, "%s --help", verb);
        expect_printed(words, line + 32); /* behind the operands */
        expect_printed(words, "-h, --help");
        count++;
    }
    ck_assert_int_eq(count, 10);
}
END_TEST

static TCase *calls(void)
{
    TCase *test = tcase_create("calls");
    tcase_set_timeout(test, 60);
    tcase_add_checked_fixture(test, set_up, remove_directory);
    tcase_add_loop_test(test, a_call_has_its_status, 0, EXPECTATIONS);
    tcase_add_test(test, train_then_sample_then_evaluate);
    tcase_add_test(test, weights_of_several_models);
    tcase_add_test(test, results_feed_arguments);
    tcase_add_test(test, fmt_rewrites_once);
    tcase_add_test(test, progress_is_for_terminals);
    tcase_add_loop_test(test, completion_works_in_the_shells_that_are_there, 0, SHELLS);
    tcase_add_test(test, every_verb_has_a_page);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {calls, NULL};
    return run_suite("cli", cases);
}
