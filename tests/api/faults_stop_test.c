/* Runs that stop before their end: a value that is not finite, a signal, a kill at any moment.  What is left resumes to the
 * bits of a run that was not disturbed; bits do not depend on the number of threads either. */
#include "tests/api/cmc.h"

#include <fcntl.h>
#include <signal.h>
#include <time.h>

static const char model[] = "import std.nn\n"
                            "dim D = 8\n"
                            "fn cloud[N]() -> f32[N, D] {\n  let z ~ normal[N, D]\n  0.1 * z + 0.5\n}\n"
                            "model Net = nn.MLP[C = 8, D = 8](width = 32, depth = 2)\n"
                            "loss fit(net: Net, x0: f32[B, D]) -> f32 {\n"
                            "  let z ~ normal[B, D]\n  mean((net(rename(z, D -> C)) - x0)^2)\n}\n"
                            "sample draw(net: Net)[B = 4] -> f32[B, D] {\n  let z ~ normal[B, D]\n  net(rename(z, D -> C))\n}\n"
                            "data points = { x0: generate(N = 1000, cloud) }\n"
                            "train fitting {\n  loss = fit, data = points, optimizer = radam(lr = 1e-3), batch = 64, steps = "
                            "400, ema = 0.99, clip = 1.0,\n"
                            "  save_every = 3,\n}\n";

static void set_up(void)
{
    make_directory();
    write_text("model.cm", model);
}

static void set_up_whole(void)
{
    set_up();
    expect_ran(cmc("train model.cm -q -o whole"), 0, "");
}

static void expect_same_bits(const char *folder)
{
    ck_assert_msg(shell("cmp whole/checkpoint.safetensors %s/checkpoint.safetensors", folder) == 0, "%s: other bits", folder);
    ck_assert_msg(shell("cmp whole/weights.safetensors %s/weights.safetensors", folder) == 0, "%s: other weights", folder);
    ck_assert_msg(shell("cut -d, -f1-3 whole/loss.csv > a; cut -d, -f1-3 %s/loss.csv | cmp - a", folder) == 0,
                  "%s: another log", folder);
    ck_assert_msg(shell("ls %s | grep -q '[.][0-9]*[.][0-9]*$'", folder) == 1, "%s: half-written files are left", folder);
}

/* ---- a process that can be stopped ---- */

static pid_t start(const char *folder, bool resume)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child)
        return child;
    if (chdir(directory) || setenv("XDG_CACHE_HOME", path_of("cache"), 1))
        _exit(99);
    int out = open("printed", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execl(CMC, CMC, "train", "model.cm", "-o", folder, resume ? "--resume" : (char *)NULL, (char *)NULL);
    _exit(99);
}

/* Exit status, or 128 and the number of the signal; -1 while it runs. */
static int poll_status(pid_t child)
{
    int status;
    if (waitpid(child, &status, WNOHANG) == 0)
        return -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void wait_milliseconds(int count)
{
    nanosleep(&(struct timespec){count / 1000, count % 1000 * 1000000L}, NULL);
}

static int end_of(pid_t child)
{
    int status;
    while ((status = poll_status(child)) < 0)
        wait_milliseconds(5);
    return status;
}

/* ---- signals ---- */

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};

START_TEST(a_signal_leaves_a_checkpoint)
{
    pid_t child = start("part", false);
    while (!is_there("part/checkpoint.safetensors") && poll_status(child) < 0)
        wait_milliseconds(1);
    kill(child, signals[_i]);
    wait_milliseconds(1);
    kill(child, signals[_i]); /* as timeout does, which sends it to the group, too */
    ck_assert_int_eq(end_of(child), 128 + signals[_i]);
    static Ran ran;
    read_text("printed", ran.err, sizeof ran.err);
    ck_assert_msg(strstr(ran.err, "fitting: steps 0 to "), "%s", ran.err);
    ck_assert(is_there("part/report.json"));
    ck_assert_int_eq(end_of(start("part", true)), 0);
    read_text("printed", ran.err, sizeof ran.err);
    ck_assert_msg(!strstr(ran.err, "fitting: steps 0 to"), "the run began again: %s", ran.err);
    expect_same_bits("part");
}
END_TEST

/* ---- kills ---- */

/* Killed again and again, each time a little later, until it comes to its end. */
START_TEST(a_run_that_is_killed_resumes_to_the_same_bits)
{
    int kills = 0;
    for (int delay = 20 + 7 * _i;; delay += delay / 4) {
        pid_t child = start("part", kills > 0);
        int status = -1;
        for (int waited = 0; status < 0 && waited < delay; waited++) {
            wait_milliseconds(1);
            status = poll_status(child);
        }
        if (status >= 0) {
            ck_assert_int_eq(status, 0);
            break;
        }
        kill(child, SIGKILL);
        status = end_of(child);
        ck_assert_msg(status == 128 + SIGKILL || status == 0, "status %d", status);
        kills++;
    }
    ck_assert_int_gt(kills, 0);
    expect_same_bits("part");
}
END_TEST

/* ---- values that are not finite ---- */

static const struct {
    const char *loss, *said;
} sinking[] = {
    {"  let depth = 12 - (step as f32)\n  let root = sqrt(depth)\n  net(root)\n",
     "step 13: root (sqrt) is the first value that is nan: 1 of its 1 elements (f32)\nsinking.cm:7:14: error[not_finite]\nloss "
     "nan"},
    {"  var x = 1.0\n  for i in 0..4 {\n    x = x / select(step < 13, 1.0, 0.0)\n  }\n  net(x)\n",
     "step 13\nsinking.cm:8:9: error[not_finite]\nx (div) is the first value that is infinite"},
    {"  let y = select(step < 13, 1.0, 0.0)\n  net(sqrt(net.w * y))\n",
     "step 13\nsinking.cm:7:12: error[not_finite]\nsinking.cm:7:7:   note: a result of div in the derivative of sqrt was "
     "infinite"},
    {"  let late = select(step < 13, 1.0, 0.0)\n  let (y, slope) = jvp(s => net(1.0) * sqrt(s * late), 1.0, 1.0)\n"
     "  y + slope\n",
     "step 13\nsinking.cm:7:40: error[not_finite]\na result of mul in the derivative of sqrt is the first value that is nan"},
};
enum { SINKING = sizeof sinking / sizeof *sinking };

/* Step 13 fails, and leaves what 13 steps have reached, whether or not there are checkpoints on the way. */
START_TEST(a_value_that_is_not_finite_leaves_the_state_before_it)
{
    static Ran ran;
    char text[1024];
    snprintf(text, sizeof text,
             "model Net() {\n  param w: f32 = ones\n  fn call(x: f32) -> f32 = w * x\n}\n"
             "loss sinking(net: Net, step: i32) -> f32 {\n%s}\n"
             "train down { loss = sinking, optimizer = adam(lr = 0.01), batch = 1, steps = 30, save_every = %d }\n",
             sinking[_i % SINKING].loss, _i < SINKING ? 5 : 0);
    write_text("sinking.cm", text);
    expect_fault(&(Fault){"train sinking.cm", 1, sinking[_i % SINKING].said});
    read_text("said", ran.err, sizeof ran.err);
    ck_assert_msg(strstr(ran.err, "weights and optimiser are as they were before the step") != NULL, "%s", ran.err);
    ck_assert_msg(strstr(ran.err, "out/down/checkpoint.safetensors holds them") != NULL, "%s", ran.err);
    ck_assert_int_eq(shell("grep -aq 'cm.step\":\"13\"' out/down/checkpoint.safetensors"), 0);
    ck_assert_int_eq(shell("test $(wc -l < out/down/loss.csv) = 14 && test -e out/down/loss.svg"), 0);
    ck_assert_int_eq(shell("%s train sinking.cm -q -o first --set train.steps=13", CMC), 0);
    ck_assert_int_eq(shell("cmp out/down/weights.safetensors first/weights.safetensors"), 0);
    expect_fault(&(Fault){"train sinking.cm --resume", 1, sinking[_i % SINKING].said});
    ck_assert_int_eq(shell("%s train sinking.cm --resume --json -q > printed", CMC), 1);
    ck_assert_int_eq(shell("grep -q '\"code\": \"not_finite\".*\"line\": ' printed"), 0);
}
END_TEST

/* A NaN in a data file is found at the data. */
START_TEST(data_that_are_not_finite_are_named)
{
    static const char set[] = "dim D = 8\nfn cloud[N]() -> f32[N, D] {\n  let z ~ normal[N, D]\n  sqrt(z + 2.0)\n}\n";
    write_text("make.cm", set);
    expect_ran(cmc("run make.cm cloud --set N=1000 -o cloud.npy"), 0, "");
    ck_assert_int_eq(shell("sed 's/generate(N = 1000, cloud)/npy(\"cloud.npy\") as f32[N, D]/' model.cm > bad.cm"), 0);
    expect_fault(
        &(Fault){"train bad.cm", 1, "x0 (as it was given) is the first value that is nan\nbad.cm:16:21: error[not_finite]"});
}
END_TEST

/* ---- threads ---- */

START_TEST(threads_do_not_change_the_bits)
{
    for (int threads = 1; threads <= 3; threads++) {
        expect_ran(cmc("train model.cm -q -o threads -j %d", threads), 0, "");
        expect_same_bits("threads");
        expect_ran(cmc("sample model.cm -w threads/weights.safetensors --seed 4 -o a%d.npy -j %d", threads, threads), 0, "");
        ck_assert_int_eq(shell("cmp a1.npy a%d.npy", threads), 0);
    }
    expect_ran(cmc("train model.cm -q -o other --seed 1"), 0, "");
    ck_assert_int_eq(shell("cmp -s whole/weights.safetensors other/weights.safetensors"), 1);
}
END_TEST

static TCase *stopped_runs(void)
{
    TCase *test = tcase_create("stopped");
    tcase_set_timeout(test, 300);
    tcase_add_checked_fixture(test, set_up_whole, remove_directory);
    tcase_add_loop_test(test, a_signal_leaves_a_checkpoint, 0, 3);
    tcase_add_loop_test(test, a_run_that_is_killed_resumes_to_the_same_bits, 0, 4);
    tcase_add_test(test, threads_do_not_change_the_bits);
    return test;
}

static TCase *not_finite(void)
{
    TCase *test = tcase_create("not_finite");
    tcase_set_timeout(test, 120);
    tcase_add_checked_fixture(test, set_up, remove_directory);
    tcase_add_loop_test(test, a_value_that_is_not_finite_leaves_the_state_before_it, 0, 2 * SINKING);
    tcase_add_test(test, data_that_are_not_finite_are_named);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {stopped_runs, not_finite, NULL};
    return run_suite("faults_stop", cases);
}
