/* Places that cannot be written: a full disk, folders that are none, output that does not arrive, caches of compiled code that
 * are damaged, foreign or closed.  What was there stays whole, and nothing half-written is left. */
#include "tests/api/cmc.h"

static const char model[] = "model Net() {\n  param w: f32[K: 20000] = zeros\n  fn call() -> f32 = sum((w - 1.0)^2)\n}\n"
                            "loss l(net: Net) -> f32 = net()\n"
                            "dim D = 2\n"
                            "fn cloud[N = 8000]() -> f32[N, D] {\n  let z ~ normal[N, D]\n  z\n}\n"
                            "fn answer() -> f64 = 41.0 + 1.0\n"
                            "sample draw(net: Net)[N = 8000] -> f32[N, D] = net() * zeros[N, D]\n"
                            "eval value(net: Net) -> f32 = net()\n"
                            "train fitting { loss = l, optimizer = adam(lr = 0.01), batch = 1, steps = 20, save_every = 1 }\n";

static void set_up(void)
{
    make_directory();
    write_text("model.cm", model);
}

/* ---- files that do not fit on the disk ---- */

static const struct {
    const char *words, *target;
} writers[] = {
    {"run model.cm cloud -o target.npy", "target.npy"},
    {"run model.cm cloud -o target.safetensors", "target.safetensors"},
    {"run model.cm cloud -o target.svg", "target.svg"},
    {"sample model.cm --untrained -o target.npy", "target.npy"},
    {"sample model.cm --untrained -o target.svg", "target.svg"},
    {"dump model.cm fitting --after=asm -o target.txt", "target.txt"},
    {"eval model.cm --untrained --report target.json", "target.json"},
    {"fmt target.cm", "target.cm"},
    {"train model.cm -o target", "target/weights.safetensors"},
};
enum { WRITERS = sizeof writers / sizeof *writers };

/* The old text of a target: a report and a program are read before they are written. */
static void write_target(const char *name)
{
    FILE *file = fopen(path_of(name), "wb");
    ck_assert_ptr_nonnull(file);
    bool report = strstr(name, ".json"), program = strstr(name, ".cm");
    fputs(report ? "{\"note\": \"" : program ? "" : "the old content", file);
    for (int i = 0; i < 400; i++)
        fputs(report ? "0123456789" : program ? "let  a  =  1  # a line\n" : "", file);
    fputs(report ? "\"}" : "", file);
    ck_assert_int_eq(fclose(file), 0);
}

/* Files grow to 2 KiB and no further. */
START_TEST(a_file_that_cannot_grow_leaves_the_old_one)
{
    const char *target = writers[_i].target;
    ck_assert_int_eq(shell("mkdir -p target"), 0);
    write_target(target);
    ck_assert_int_eq(shell("%s %s -q > printed 2> said; rm -rf target/loss.csv; cp %s before; ls . target > listed", CMC,
                           "run model.cm answer", target),
                     0);
    int status = shell("ulimit -f 4; %s %s --no-cache > printed 2> said", CMC, writers[_i].words);
    static Ran ran;
    read_text("said", ran.err, sizeof ran.err);
    ck_assert_msg(status == 1, "cmc %s: status %d\n%s", writers[_i].words, status, ran.err);
    char wanted[128];
    snprintf(wanted, sizeof wanted, "cannot write '%s': File too large", target);
    ck_assert_msg(strstr(ran.err, wanted) != NULL, "cmc %s: no \"%s\" in: %s", writers[_i].words, wanted, ran.err);
    ck_assert_msg(shell("cmp %s before", target) == 0, "cmc %s: the old file has changed", writers[_i].words);
    ck_assert_msg(shell("rm -rf target/loss.csv; ls . target | diff listed -") == 0, "cmc %s: files are left",
                  writers[_i].words);
}
END_TEST

/* A disk of 400 KiB has room for one checkpoint, but not for the next one beside it. */
START_TEST(a_full_disk_keeps_the_last_checkpoint)
{
    if (shell("unshare -m true 2> /dev/null") != 0)
        return;
    int status = shell("mkdir disk kept && unshare -m sh -c 'mount -t tmpfs -o size=400k none disk && "
                       "%s train model.cm -o disk -q > printed 2> said; status=$?; cp disk/* kept; exit $status'",
                       CMC);
    static Ran ran;
    read_text("said", ran.err, sizeof ran.err);
    ck_assert_msg(status == 1, "status %d\n%s", status, ran.err);
    ck_assert_msg(strstr(ran.err, "cannot write 'disk/checkpoint.safetensors': No space left on device"), "%s", ran.err);
    ck_assert_int_eq(shell("test \"$(ls kept)\" = \"$(printf 'checkpoint.safetensors\\nloss.csv\\nweights.safetensors')\""), 0);
    expect_ran(cmc("train model.cm -o kept --resume"), 0, "fitting: steps 1 to 20 of 20");
}
END_TEST

START_TEST(two_runs_do_not_share_a_directory)
{
    ck_assert_int_eq(shell("mkdir busy && flock busy %s train model.cm -o busy -q > printed 2> said", CMC), 1);
    static Ran ran;
    read_text("said", ran.err, sizeof ran.err);
    ck_assert_msg(strstr(ran.err, "'busy' is in use by another run"), "%s", ran.err);
    ck_assert_int_eq(shell("test -z \"$(ls busy)\""), 0);
    expect_ran(cmc("train model.cm -o busy"), 0, "fitting: steps 0 to 20 of 20");
}
END_TEST

static const Fault place_faults[] = {
    {"run model.cm answer -o model.cm/a.npy", 1, "model.cm/a.npy': Not a directory"},
    {"run model.cm answer -o /proc/nowhere/a.npy", 1, "cannot make the directory '/proc/nowhere'"},
    {"sample model.cm --untrained -o /proc/nowhere/a.npy", 1, "cannot make the directory '/proc/nowhere'"},
    {"dump model.cm answer -o /proc/nowhere/a.txt", 1, "cannot write '/proc/nowhere/a.txt'"},
    {"eval model.cm --untrained --report /proc/nowhere/a.json", 1, "cannot make the directory '/proc/nowhere'"},
    {"eval model.cm --untrained --report model.cm", 1, "model.cm is no report"},
    {"train model.cm -q -o model.cm", 1, "'model.cm' is not a directory"},
    {"train model.cm -q -o /proc/nowhere", 1, "cannot make the directory '/proc/nowhere'"},
    {"run model.cm cloud -o a.txt", 1, "a.txt: arrays are written to .safetensors, .npy, .png and .svg"},
    {"run model.cm answer -o a.svg", 1, "a.svg: result is f64; a scatter plot takes points [N, 2]"},
    {"fmt nowhere.cm", 1, "cannot read 'nowhere.cm': No such file"},
};
enum { PLACE_FAULTS = sizeof place_faults / sizeof *place_faults };

START_TEST(a_wrong_place_is_told)
{
    expect_fault(&place_faults[_i]);
}
END_TEST

static const char *const printers[] = {
    "help",
    "help run",
    "--version",
    "run model.cm answer",
    "run model.cm answer --json",
    "eval model.cm --untrained",
    "sample model.cm --untrained -o a.npy",
    "dump model.cm answer",
    "fmt - < model.cm",
    "devices",
    "completion bash",
    "bench model.cm answer --repeat 1",
    "check model.cm --json",
    "train model.cm --json",
};
enum { PRINTERS = sizeof printers / sizeof *printers };

START_TEST(output_that_does_not_arrive_is_told)
{
    ck_assert_msg(shell("%s %s > /dev/full 2> said", CMC, printers[_i]) == 1, "cmc %s", printers[_i]);
    static Ran ran;
    read_text("said", ran.err, sizeof ran.err);
    ck_assert_msg(strstr(ran.err, "standard output cannot be written: No space left on device"), "%s", ran.err);
}
END_TEST

/* ---- the cache of compiled code ---- */

/* Runs with a cache prepared by a command: the result is the same, and `part` is said. */
static void expect_cache(const char *prepare, const char *part)
{
    ck_assert_msg(shell("%s", prepare) == 0, "%s", prepare);
    ck_assert_int_eq(shell("CM_CACHE_DIR=caches/c timeout 60 %s run model.cm answer > printed 2> said", CMC), 0);
    static Ran ran;
    read_text("printed", ran.out, sizeof ran.out);
    read_text("said", ran.err, sizeof ran.err);
    ck_assert_msg(strstr(ran.out, "42") != NULL, "%s: %s%s", prepare, ran.out, ran.err);
    ck_assert_msg(*part ? strstr(ran.err, part) != NULL : !ran.err[0], "%s: wanted \"%s\", got \"%s\"", prepare, part, ran.err);
}

static const struct {
    const char *prepare, *part;
} caches[] = {
    {"true", ""},
    {"rm -r caches; touch caches", "compiled code is not kept: 'caches' is not a directory"},
    {"rm -r caches/c; touch caches/c", "compiled code is not kept: 'caches/c' is not a directory"},
    {"rm -r caches; ln -s /proc/nowhere caches", "compiled code is not kept: cannot make the directory"},
    {"chmod 777 caches/c", "compiled code is not kept: others may write to 'caches/c'"},
    {"for f in caches/c/*; do head -c 100 /dev/urandom > $f; done", ""},
    {"for f in caches/c/*; do head -c 10 $f > g; cat g > $f; done", ""},
    {"for f in caches/c/*; do printf XXXX | dd of=$f bs=1 seek=200 conv=notrunc status=none; done", ""},
    {"for f in caches/c/*; do mv $f g; ln -s $PWD/g $f; done", ""},
    {"for f in caches/c/*; do rm $f; mkfifo $f; done", ""},
    {"for f in caches/c/*; do chmod 666 $f; done", ""},
    {"for f in caches/c/*; do rm $f; mkdir -p $f/a; done", "compiled code is not kept: cannot write 'caches/c/"},
    {"touch caches/c/0123456789abcdef.kernel caches/c/README caches/c/.hidden; mkdir caches/c/folder", ""},
};
enum { CACHES = sizeof caches / sizeof *caches };

static void set_up_cache(void)
{
    set_up();
    expect_cache("mkdir caches", "");
    ck_assert_int_eq(shell("test \"$(stat -c %%a caches/c)\" = 700 && ls caches/c/*.kernel > /dev/null"), 0);
}

START_TEST(a_bad_cache_is_only_slower)
{
    expect_cache(caches[_i].prepare, caches[_i].part);
}
END_TEST

/* Only root can make files of others. */
START_TEST(a_cache_of_another_user_is_refused)
{
    if (geteuid() != 0)
        return;
    expect_cache("chown 12345 caches/c/*", "");
    ck_assert_int_eq(shell("test \"$(stat -c %%u caches/c/*.kernel | sort -u)\" = 0"), 0);
    expect_cache("chown 12345 caches/c", "compiled code is not kept: 'caches/c' belongs to another user");
}
END_TEST

/* What is not cm's is never made private by it. */
START_TEST(a_directory_that_is_there_keeps_its_mode)
{
    expect_cache("chmod 777 caches/c", "others may write");
    expect_cache("true", "others may write");
    ck_assert_int_eq(shell("test \"$(stat -c %%a caches/c)\" = 777"), 0);
}
END_TEST

START_TEST(what_killed_writers_left_is_cleared_away)
{
    expect_cache("rm caches/c/*; touch caches/c/0123456789abcdef.kernel.999999999.0 caches/c/mine.999999999.0", "");
    ck_assert_int_eq(shell("test ! -e caches/c/0123456789abcdef.kernel.999999999.0 && test -e caches/c/mine.999999999.0"), 0);
}
END_TEST

static TCase *disks(void)
{
    TCase *test = tcase_create("disks");
    tcase_set_timeout(test, 120);
    tcase_add_checked_fixture(test, set_up, remove_directory);
    tcase_add_loop_test(test, a_file_that_cannot_grow_leaves_the_old_one, 0, WRITERS);
    tcase_add_test(test, a_full_disk_keeps_the_last_checkpoint);
    tcase_add_test(test, two_runs_do_not_share_a_directory);
    tcase_add_loop_test(test, a_wrong_place_is_told, 0, PLACE_FAULTS);
    tcase_add_loop_test(test, output_that_does_not_arrive_is_told, 0, PRINTERS);
    return test;
}

static TCase *bad_caches(void)
{
    TCase *test = tcase_create("caches");
    tcase_set_timeout(test, 120);
    tcase_add_checked_fixture(test, set_up_cache, remove_directory);
    tcase_add_loop_test(test, a_bad_cache_is_only_slower, 0, CACHES);
    tcase_add_test(test, a_cache_of_another_user_is_refused);
    tcase_add_test(test, a_directory_that_is_there_keeps_its_mode);
    tcase_add_test(test, what_killed_writers_left_is_cleared_away);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {disks, bad_caches, NULL};
    return run_suite("faults_disk", cases);
}
