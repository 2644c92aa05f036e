/* The command line as its users meet it: exit statuses, where output goes, what it leaves on disk. */
#include "api_test.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[] = "/tmp/cm-cli-XXXXXX";

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

static void write_file(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

static void make_directory(void)
{
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
    write_file("model.cm", model);
    write_file("bad.cm", "fn f(x: f32) -> f32 = x +\n");
    write_file("loose.cm", "fn  f( x:f32 )->f32=x+1\n");
}

static void remove_directory(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", directory);
    ck_assert_int_eq(system(command), 0);
}

/* Runs cmc in the directory; standard output into `out`. The exit status. */
static int cmc(const char *words, char *out, size_t size)
{
    char command[512];
    snprintf(command, sizeof command, "cd %s && XDG_CACHE_HOME=%s/cache %s %s 2> stderr", directory, directory, CMC, words);
    FILE *stream = popen(command, "r");
    ck_assert_ptr_nonnull(stream);
    size_t length = fread(out, 1, size - 1, stream);
    out[length] = 0;
    while (fgetc(stream) != EOF)
        ;
    return WEXITSTATUS(pclose(stream));
}

static bool is_there(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return access(path, R_OK) == 0;
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
    {"fmt --check loose.cm", 1, "loose.cm"},
    {"fmt bad.cm", 1, ""},
    {"devices", 0, "cpu"},
    {"completion", 2, ""},
    {"completion bash", 0, "complete"},
};
enum { EXPECTATIONS = sizeof expectations / sizeof *expectations };

START_TEST(a_call_has_its_status)
{
    const Expectation *wanted = &expectations[_i];
    char out[4096];
    int status = cmc(wanted->words, out, sizeof out);
    ck_assert_msg(status == wanted->status, "cmc %s: status %d, wanted %d\n%s", wanted->words, status, wanted->status, out);
    if (wanted->out)
        ck_assert_msg(strstr(out, wanted->out) != NULL, "cmc %s: no \"%s\" in\n%s", wanted->words, wanted->out, out);
    if (wanted->out && !*wanted->out)
        ck_assert_msg(!*out, "cmc %s: a failure belongs to standard error, not here: %s", wanted->words, out);
}
END_TEST

START_TEST(train_then_sample_then_evaluate)
{
    char out[4096], again[4096];
    ck_assert_int_eq(cmc("train model.cm --json", out, sizeof out), 0);
    ck_assert_ptr_nonnull(strstr(out, "\"step\": 20"));
    ck_assert(is_there("out/fitting/checkpoint.safetensors"));
    ck_assert(is_there("out/fitting/weights.safetensors"));
    ck_assert(is_there("out/fitting/loss.csv"));
    ck_assert(is_there("out/fitting/loss.svg"));
    ck_assert(is_there("out/fitting/draw.svg"));
    ck_assert_int_eq(cmc("sample model.cm -o a/samples.npy --set B=5 --seed 3", out, sizeof out), 0);
    ck_assert(is_there("a/samples.npy"));
    ck_assert_int_eq(cmc("sample model.cm", out, sizeof out), 0);
    ck_assert_str_eq(out, "out/fitting/draw.svg\n");
    ck_assert_int_eq(cmc("eval model.cm", out, sizeof out), 0);
    ck_assert_ptr_nonnull(strstr(out, "f64"));
    ck_assert_int_eq(cmc("eval model.cm --weights out/fitting/weights.safetensors", again, sizeof again), 0);
    ck_assert_str_eq(out, again);
    ck_assert_int_eq(cmc("train model.cm --resume --set train.steps=30 --json", out, sizeof out), 0);
    ck_assert_ptr_nonnull(strstr(out, "\"first_step\": 20"));
}
END_TEST

START_TEST(results_feed_arguments)
{
    char out[4096];
    ck_assert_int_eq(cmc("run model.cm cloud --set N=3 -o cloud.safetensors", out, sizeof out), 0);
    write_file("norm.cm", "fn norm(x: f32[N, D]) -> f32 = sum(x * x)\n");
    ck_assert_int_eq(cmc("run norm.cm --arg x=cloud.safetensors", out, sizeof out), 0);
    ck_assert_ptr_nonnull(strstr(out, "f32 = "));
}
END_TEST

START_TEST(fmt_rewrites_once)
{
    char out[4096];
    ck_assert_int_eq(cmc("fmt loose.cm", out, sizeof out), 0);
    ck_assert_int_eq(cmc("fmt --check loose.cm", out, sizeof out), 0);
    ck_assert_int_eq(cmc("fmt - < loose.cm", out, sizeof out), 0);
    ck_assert_ptr_nonnull(strstr(out, "fn f(x: f32)"));
}
END_TEST

START_TEST(completion_scripts_parse)
{
    char out[4096];
    ck_assert_int_eq(cmc("completion bash > c.bash && bash -n c.bash", out, sizeof out), 0);
    ck_assert_int_eq(cmc("completion zsh > c.zsh", out, sizeof out), 0);
    ck_assert_int_eq(cmc("completion fish > c.fish", out, sizeof out), 0);
}
END_TEST

static TCase *calls(void)
{
    TCase *test = tcase_create("calls");
    tcase_set_timeout(test, 60);
    tcase_add_checked_fixture(test, make_directory, remove_directory);
    tcase_add_loop_test(test, a_call_has_its_status, 0, EXPECTATIONS);
    tcase_add_test(test, train_then_sample_then_evaluate);
    tcase_add_test(test, results_feed_arguments);
    tcase_add_test(test, fmt_rewrites_once);
    tcase_add_test(test, completion_scripts_parse);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {calls, NULL};
    return run_suite("cli", cases);
}
