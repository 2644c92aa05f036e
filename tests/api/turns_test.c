/* Runs with turns: several losses with optimisers of their own, and groups of weights, against the same steps by hand. */
#include "tests/api/folder.h"

#include <math.h>

/* The judge runs after the player, who moves away from it on every third step; what is rare has momentum. */
static const char chase_text[] =
    "model Point() {\n"
    "  param x: f32 = 1\n"
    "  param slow: f32 = 1\n"
    "}\n"
    "loss follow(judge: Point, player: Point) -> f32 = 0.5 * (judge.x - player.x)^2 + 0.5 * judge.slow^2\n"
    "loss flee(judge: Point, player: Point, mean: Point, step: i32) -> f32 {\n"
    "  let bad = select(step >= 90, -1.0, 1.0)\n"
    "  0.5 * (player.x - judge.x - 3)^2 + 0.5 * (player.slow - mean.slow)^2 + 0 * sqrt(bad)\n"
    "}\n"
    "train chase {\n"
    "  steps = 120, batch = 1, ema = 0.5, mean = ema(player), optimizer = sgd(lr = 0.5),\n"
    "  groups = [{ params: \"*.slow\", optimizer: sgd(lr = 0.125) }],\n"
    "  judge = { loss = follow },\n"
    "  player = { loss = flee, when = step % 3 == 2, lr = 0.25 },\n"
    "}\n";

typedef struct Point {
    double x, slow;
} Point;

typedef struct Chase { /* by hand */
    Point judge, player, judge_mean, player_mean;
} Chase;

static void move(Point *point, Point gradient, double rate, Point *mean)
{
    point->x -= rate * gradient.x;
    point->slow -= 0.125 * gradient.slow;
    mean->x = 0.5 * mean->x + 0.5 * point->x;
    mean->slow = 0.5 * mean->slow + 0.5 * point->slow;
}

static void step_by_hand(Chase *chase, int64_t step, double losses[2])
{
    Point *judge = &chase->judge, *player = &chase->player;
    losses[0] = 0.5 * pow(judge->x - player->x, 2) + 0.5 * judge->slow * judge->slow;
    move(judge, (Point){judge->x - player->x, judge->slow}, 0.5, &chase->judge_mean);
    if (step % 3 != 2)
        return;
    Point gradient = {player->x - judge->x - 3, player->slow - chase->player_mean.slow};
    losses[1] = 0.5 * gradient.x * gradient.x + 0.5 * gradient.slow * gradient.slow;
    move(player, gradient, 0.25, &chase->player_mean);
}

static float weight_of(const cm_parameters *weights, const char *name)
{
    cm_array array;
    cm_error *error = NULL;
    expect_ok(cm_parameters_get(weights, name, &array, &error));
    return *(float *)array.data;
}

START_TEST(turns_do_what_is_done_by_hand)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, chase_text);
    cm_training *training;
    expect_ok(cm_training_create(program, NULL, NULL, &training, &error));
    Point one = {1, 1};
    Chase by_hand = {one, one, one, one};
    double losses[2];
    for (int i = 0; i < 60; i++) {
        cm_step step;
        step_by_hand(&by_hand, i, losses);
        expect_ok(cm_training_step(training, &step, &error));
        ck_assert_uint_eq(step.turn_count, 2);
        ck_assert_str_eq(step.turns[0].name, "judge");
        ck_assert_int_eq(step.turns[0].taken, 1);
        ck_assert_int_eq(step.turns[1].taken, i % 3 == 2);
        ck_assert_double_eq_tol(step.turns[0].loss, losses[0], 1e-5 * (1 + losses[0]));
        if (step.turns[1].taken)
            ck_assert_double_eq_tol(step.turns[1].loss, losses[1], 1e-5 * (1 + losses[1]));
        ck_assert_double_eq(step.loss, step.turns[i % 3 == 2].loss);
    }
    cm_parameters *weights;
    expect_ok(cm_training_weights(training, &weights, &error));
    ck_assert_float_eq_tol(weight_of(weights, "judge.x"), (float)by_hand.judge_mean.x, 1e-4f);
    ck_assert_float_eq_tol(weight_of(weights, "judge.slow"), (float)by_hand.judge_mean.slow, 1e-5f);
    ck_assert_float_eq_tol(weight_of(weights, "player.x"), (float)by_hand.player_mean.x, 1e-4f);
    ck_assert_float_eq_tol(weight_of(weights, "player.slow"), (float)by_hand.player_mean.slow, 1e-5f);
    cm_parameters_free(weights);
    cm_training_free(training);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* Adam counts the steps of its own turn: one that is taken every other step ends where one that always is ends in half the
 * steps. */
START_TEST(a_rare_turn_counts_its_own_steps)
{
    static const char text[] = "model Point() {\n"
                               "  param x: f32 = 1\n"
                               "}\n"
                               "loss fall(net: Point) -> f32 = cosh(net.x) + net.x\n"
                               "fn cosh(x: f32) -> f32 = 0.5 * (exp(x) + exp(-x))\n"
                               "train always { steps = 20, batch = 1, net = { loss = fall, optimizer = adam(lr = 0.1) } }\n"
                               "train rare { steps = 40, batch = 1, optimizer = adam(lr = 0.1),\n"
                               "  net = { loss = fall, when = step % 2 == 1 } }\n";
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, text);
    float reached[2];
    for (int i = 0; i < 2; i++) {
        cm_training *training;
        cm_parameters *weights;
        expect_ok(cm_training_create(program, i ? "rare" : "always", NULL, &training, &error));
        expect_ok(cm_training_run(training, NULL, NULL, &error));
        expect_ok(cm_training_weights(training, &weights, &error));
        reached[i] = weight_of(weights, "net.x");
        cm_parameters_free(weights);
        cm_training_free(training);
    }
    ck_assert_float_eq(reached[0], reached[1]);
    ck_assert_float_lt(reached[0], 0);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

START_TEST(what_is_not_finite_in_a_turn_is_named)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, chase_text);
    cm_training *training;
    cm_step step;
    expect_ok(cm_training_create(program, NULL, NULL, &training, &error));
    for (int i = 0; i < 92; i++)
        expect_ok(cm_training_step(training, &step, &error));
    expect_status(CM_NOT_FINITE, cm_training_step(training, &step, &error));
    ck_assert_int_eq(step.step, 92);
    cm_diagnostic diagnostic;
    ck_assert_int_eq(cm_error_diagnostic(error, 0, &diagnostic), CM_OK);
    ck_assert_str_eq(diagnostic.code, "not_finite");
    ck_assert_int_eq(diagnostic.line, 8);
    ck_assert_msg(strstr(diagnostic.message, "sqrt") != NULL, "%s", diagnostic.message);
    cm_error_free(error);
    cm_training_free(training);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* Step 7 is a turn of both, whatever they wait for. */
static const struct {
    const char *calm, *wild;
} waiting[] = {
    {"", ""},
    {", when = step % 2 == 1", ""},
    {"", ", when = step > 4"},
    {", when = step % 2 == 1", ", when = step > 4"},
};
enum { WAITING = sizeof waiting / sizeof *waiting };

static cm_program *wild_program(cm_context *context, int i)
{
    char text[1024];
    snprintf(text, sizeof text,
             "model Point() { param x: f32 = 1 }\n"
             "loss calm(judge: Point) -> f32 = 0.5 * (judge.x - 3)^2\n"
             "loss wild(judge: Point, player: Point, step: i32) -> f32 {\n"
             "  let root = sqrt(select(step == 7, -1.0, 1.0))\n"
             "  0.5 * (player.x - judge.x)^2 * root\n"
             "}\n"
             "train chase {\n"
             "  steps = 12, batch = 1, ema = 0.5, optimizer = adam(lr = 0.125),\n"
             "  first = { loss = calm, trains = judge%s },\n"
             "  second = { loss = wild, trains = player%s },\n"
             "}\n",
             waiting[i].calm, waiting[i].wild);
    return test_program(context, text);
}

/* A turn that comes before the one that is not finite has moved by then: it, too, is as before the step. */
START_TEST(what_is_not_finite_in_a_turn_undoes_the_turns_before_it)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *program = wild_program(context, _i);
    cm_training *training;
    cm_step step;
    expect_ok(cm_training_create(program, NULL, NULL, &training, &error));
    for (int i = 0; i < 7; i++)
        expect_ok(cm_training_step(training, &step, &error));
    expect_ok(cm_training_save(training, "before", &error));
    for (int attempt = 0; attempt < 2; attempt++) {
        expect_status(CM_NOT_FINITE, cm_training_step(training, &step, &error));
        ck_assert_int_eq(step.step, 7);
        ck_assert_int_eq(step.turns[0].taken && isfinite(step.turns[0].loss), 1);
        ck_assert_int_eq(step.turns[1].taken && isnan(step.turns[1].loss), 1);
        ck_assert_msg(strstr(cm_error_text(error), "root (sqrt) is the first value that is nan") != NULL, "%s",
                      cm_error_text(error));
        cm_error_free(error);
        expect_ok(cm_training_save(training, "after", &error)); /* weights, averages, states and counts */
        ck_assert_int_eq(system("cmp before after"), 0);
    }
    cm_training_free(training);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* What depends on the weights that a turn before has moved is found, as the replay moves them again. */
START_TEST(a_value_that_a_turn_before_leads_to_is_named)
{
    static const char text[] = "model Point() { param x: f32 = 0 }\n"
                               "loss climb(judge: Point) -> f32 = -judge.x\n"
                               "loss fall(judge: Point, player: Point) -> f32 {\n"
                               "  let depth = log(select(judge.x == 1, -1, 2))\n"
                               "  player.x * depth\n"
                               "}\n"
                               "train chase {\n"
                               "  steps = 5, batch = 1, optimizer = sgd(lr = 1.0),\n"
                               "  a = { loss = climb, trains = judge }, b = { loss = fall, trains = player },\n"
                               "}\n";
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, text);
    cm_training *training;
    expect_ok(cm_training_create(program, NULL, NULL, &training, &error));
    expect_failure(CM_NOT_FINITE, "depth (log) is the first value that is nan", cm_training_step(training, NULL, &error));
    cm_training_free(training);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

static TCase *turns_case(void)
{
    TCase *test = tcase_create("turns");
    tcase_add_test(test, turns_do_what_is_done_by_hand);
    tcase_add_test(test, a_rare_turn_counts_its_own_steps);
    tcase_add_test(test, what_is_not_finite_in_a_turn_is_named);
    tcase_add_checked_fixture(test, enter_folder, leave_folder);
    tcase_add_loop_test(test, what_is_not_finite_in_a_turn_undoes_the_turns_before_it, 0, WAITING);
    tcase_add_test(test, a_value_that_a_turn_before_leads_to_is_named);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {turns_case, NULL};
    return run_suite("turns", cases);
}
