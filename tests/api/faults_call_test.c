/* Calls that are wrong: every verb and option of cmc, status 2 and a message on standard error. */
#include "tests/api/cmc.h"

static const char model[] = "dim D = 2\n"
                            "fn twice(x: f32[B]) -> f32[B] = 2 * x\n"
                            "fn answer() -> f32 = 42.0\n"
                            "model Net() {\n  param w: f32[D] = zeros\n  fn call(x: f32[.., D]) -> f32[.., D] = x + w\n}\n"
                            "fn cloud[N]() -> f32[N, D] {\n  let z ~ normal[N, D]\n  z\n}\n"
                            "loss fit(net: Net, x0: f32[B, D]) -> f32 = mean((net(0.0 * x0) - x0)^2)\n"
                            "sample draw(net: Net)[B = 4] -> f32[B, D] = net(zeros[B, D])\n"
                            "eval distance(net: Net, x0: f32[B, D])[B = 8] -> f32 = mean((x0 - net(0.0 * x0))^2)\n"
                            "data points = { x0: generate(N = 64, cloud) }\n"
                            "train fitting { loss = fit, data = points, optimizer = sgd(lr = 0.1), batch = 16, steps = 5 }\n";

static void set_up(void)
{
    make_directory();
    write_text("model.cm", model);
}

static const Fault faults[] = {
    {"", 2, "cmc help VERB"},
    {"fly", 2, "no verb 'fly'"},
    {"''", 2, "no verb ''"},
    {"--fly", 2, "no verb '--fly'"},
    {"help fly", 2, "no verb 'fly'"},
    {"run model.cm twice thrice", 2, "does not know what to do with 'thrice'"},
    {"devices model.cm", 2, "does not know what to do with 'model.cm'"},
    {"completion bash zsh", 2, "'zsh'"},
    {"completion csh", 2, "one of bash, zsh, fish, not 'csh'"},
    {"run model.cm answer --set D", 2, "--set takes KEY=VALUE, not D"},
    {"run model.cm answer --set =2", 2, "--set takes KEY=VALUE, not =2"},
    {"run model.cm twice --arg x", 2, "--arg takes NAME=VALUE, not x"},
    {"run model.cm twice --arg =2", 2, "--arg takes NAME=VALUE, not =2"},
    {"run model.cm twice --arg y=2", 2, "twice has no input y"},
    {"run model.cm twice --entry answer", 2, "--entry answer, or twice"},
    {"run model.cm --seed 1.5", 2, "--seed takes a whole number, not '1.5'"},
    {"run model.cm --seed 99999999999999999999", 2, "--seed must lie in"},
    {"run model.cm --threads 0", 2, "--threads must lie in 1..1024"},
    {"run model.cm -j 1025", 2, "--threads must lie in 1..1024"},
    {"run model.cm --memory -1", 2, "--memory must lie in 1.."},
    {"run model.cm --columns 0", 2, "--columns must lie in 1.."},
    {"bench model.cm answer --repeat 0", 2, "--repeat must lie in 1.."},
    {"run model.cm answer --device abacus", 2, "no device abacus"},
    {"run model.cm anser", 2, "no entry 'anser' (did you mean answer?)"},
    {"run model.cm fitting", 2, "fitting is a train block: cmc train model.cm fitting"},
    {"bench model.cm", 2, "more than one entry, name one: twice, answer"},
    {"train model.cm fiting", 2, "no train block 'fiting' (did you mean fitting?)"},
    {"train model.cm fit", 2, "fit is a loss, but a train block is needed"},
    {"sample model.cm distance --untrained", 2, "distance is an eval entry, but a sample entry is needed"},
    {"eval model.cm draw --untrained", 2, "draw is a sample entry, but an eval entry is needed"},
    {"eval model.cm", 2, "no weights for distance: train first (cmc train model.cm)"},
    {"eval model.cm --untrained --data point", 2, "no data 'point' (did you mean points?)"},
    {"sample model.cm -w ned=weights.safetensors", 2, "no model ned is wanted here"},
    {"dump model.cm answer --after=fusion", 2, "no stage fusion\nbuild, derive"},
};
enum { FAULTS = sizeof faults / sizeof *faults };

START_TEST(a_wrong_call_is_told)
{
    expect_fault(&faults[_i]);
}
END_TEST

/* ---- every option of every verb, as the help lists them ---- */

typedef struct Listed {
    char name[32], value[32];
} Listed;

/* "  -s, --set KEY=VALUE            what it does"; false where a line is something else. */
static bool read_option(const char *line, Listed *option)
{
    const char *start = strstr(line, "--");
    *option = (Listed){0};
    if (strncmp(line, "  ", 2) != 0 || !start || start - line > 6)
        return false;
    return sscanf(start, "%31s", option->name) == 1 &&
           (start[strlen(option->name) + 1] == ' ' || sscanf(start, "%31s %31s", option->name, option->value) == 2);
}

static void try_option(const char *verb, const Listed *option)
{
    Fault fault = {.words = NULL, .status = 2, .part = "needs a value"};
    char words[128];
    fault.words = words;
    snprintf(words, sizeof words, option->value[0] ? "%s %s" : "%s %s=1", verb, option->name);
    fault.part = option->value[0] ? "needs a value" : "takes no value";
    expect_fault(&fault);
    snprintf(words, sizeof words, "%s %sx", verb, option->name);
    fault.part = "does not take";
    expect_fault(&fault);
    if (strcmp(option->value, "N") == 0 || strcmp(option->value, "MIB") == 0) {
        snprintf(words, sizeof words, "%s %s=many", verb, option->name);
        fault.part = "takes a whole number, not 'many'";
        expect_fault(&fault);
    }
}

static const char *const verbs[] = {"run", "train", "sample", "eval", "check", "fmt", "dump", "bench", "devices", "completion"};
enum { VERBS = sizeof verbs / sizeof *verbs };

START_TEST(every_option_wants_what_its_help_says)
{
    static Ran help;
    help = *cmc("help %s", verbs[_i]);
    int options = 0;
    ck_assert_int_eq(help.status, 0);
    for (char *line = strtok(help.out, "\n"); line; line = strtok(NULL, "\n")) {
        Listed option;
        if (!read_option(line, &option))
            continue;
        try_option(verbs[_i], &option);
        options++;
    }
    ck_assert_int_ge(options, 4);
    expect_fault(&(Fault){"fly --help", 2, "no verb"});
    char words[64];
    snprintf(words, sizeof words, "%s -Z", verbs[_i]);
    expect_fault(&(Fault){words, 2, "does not take -Z"});
    if (strcmp(verbs[_i], "devices") != 0)
        expect_fault(&(Fault){verbs[_i], 2, "lacks an operand: cmc"});
}
END_TEST

/* The table above has all verbs that the help has. */
START_TEST(every_verb_is_tried)
{
    static Ran help;
    help = *cmc("help");
    int count = 0;
    for (char *line = strtok(help.out, "\n"); line; line = strtok(NULL, "\n")) {
        char name[32];
        if (strncmp(line, "  cmc ", 6) != 0 || sscanf(line, "  cmc %31s", name) != 1 || name[0] == '-' ||
            strcmp(name, "help") == 0)
            continue;
        bool known = false;
        for (int i = 0; i < VERBS; i++)
            known |= strcmp(verbs[i], name) == 0;
        ck_assert_msg(known, "%s is not tried", name);
        count++;
    }
    ck_assert_int_eq(count, VERBS);
}
END_TEST

static TCase *calls(void)
{
    TCase *test = tcase_create("calls");
    tcase_set_timeout(test, 60);
    tcase_add_checked_fixture(test, set_up, remove_directory);
    tcase_add_loop_test(test, a_wrong_call_is_told, 0, FAULTS);
    tcase_add_loop_test(test, every_option_wants_what_its_help_says, 0, VERBS);
    tcase_add_test(test, every_verb_is_tried);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {calls, NULL};
    return run_suite("faults_call", cases);
}
