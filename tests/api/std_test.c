/* What the standard library draws: the first weights of layers have the variance that their initialiser promises, and dropout
 * keeps the share that it should, the same elements under the same key; what it refuses. */
#include "tests/api/api_test.h"

#include <math.h>

static const char layers[] =
    "import std.init, std.nn, std.unet\n"
    "dim C = 300, D = 500, E = 8\n"
    "model Xavier = nn.Linear[C, D]()\n"
    "model Gaussian = nn.Linear[C, D](start = init.xavier_gaussian, gain = 2.0)\n"
    "model Kaiming = nn.Linear[C, D](start = init.kaiming, gain = 0.5)\n"
    "model KaimingGaussian = nn.Projection[C, D](start = init.kaiming_gaussian)\n"
    "model Zero = nn.Linear[C, D](gain = 0)\n"
    "model Conv = nn.Conv[C: 40, D: 60]()\n"
    "model Table = nn.Embedding[K = 500, E = C](std = 0.02)\n"
    "model Fourier = nn.Fourier[E: 20000](scale = 16.0)\n"
    "model Norm = nn.GroupNorm[C]()\n"
    "model Block = unet.Block[E, E, E]()\n"
    "fn f(xavier: Xavier, gaussian: Gaussian, kaiming: Kaiming, kaiming_gaussian: KaimingGaussian, zero: Zero,\n"
    "  conv: Conv, table: Table, fourier: Fourier, norm: Norm, block: Block) = 0.0\n";

typedef struct Weight {
    const char *name;
    double mean, deviation;
} Weight;

static const Weight weights[] = {
    {"xavier.w", 0, 0.05}, /* sqrt(2 / 800) */
    {"xavier.b", 0, 0},
    {"gaussian.w", 0, 0.1},
    {"kaiming.w", 0, 0.0288675}, /* 1/2 sqrt(1 / 300) */
    {"kaiming_gaussian.w", 0, 0.057735},
    {"zero.w", 0, 0},
    {"conv.w", 0, 0.0471405}, /* sqrt(2 / (9 * 100)) */
    {"table.w", 0, 0.02},
    {"fourier.frequency", 0, 16},
    {"norm.scale", 1, 0},
    {"norm.shift", 0, 0},
    {"block.conv0.w", 0, 0.1178511}, /* sqrt(2 / (9 * 16)) */
    {"block.conv1.w", 0, 0.1178511e-5},
};
enum { WEIGHTS = sizeof weights / sizeof *weights };

static void check_weight(const Weight *weight, const cm_parameters *parameters)
{
    cm_error *error;
    cm_array array;
    expect_ok(cm_parameters_get(parameters, weight->name, &array, &error));
    double sum = 0, squares = 0, count = (double)cm_array_bytes(&array) / sizeof(float);
    for (size_t i = 0; i < (size_t)count; i++) {
        double x = ((float *)array.data)[i] - weight->mean;
        sum += x;
        squares += x * x;
    }
    double deviation = sqrt(squares / count);
    ck_assert_msg(fabs(sum / count) <= 4 * weight->deviation / sqrt(count), "%s: mean %g", weight->name, sum / count);
    ck_assert_msg(fabs(deviation - weight->deviation) <= 4 * sqrt(0.5 / count) * weight->deviation, "%s: deviation %g",
                  weight->name, deviation);
}

START_TEST(first_weights_have_their_variance)
{
    cm_error *error;
    cm_context *context = test_context(2);
    cm_program *program = test_program(context, layers);
    cm_parameters *parameters;
    expect_ok(cm_parameters_create(program, 3, &parameters, &error));
    for (int i = 0; i < WEIGHTS; i++)
        check_weight(&weights[i], parameters);
    cm_parameters_free(parameters);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* Losses of a model whose weight is 1; their value at the first step is what the test looks at. */
static const char dropping[] = "import std.nn\n"
                               "dim N = 20000\n"
                               "model Net() { param p: f32 = ones }\n"
                               "fn dropped(net, rate) = nn.dropout(full[N](net.p), rate)\n"
                               "loss average(net: Net) -> f32 { let x ~ dropped(net, 0.3); mean(x) }\n"
                               "loss kept(net: Net) -> f32 { let x ~ dropped(net, 0.3); mean((x > 1.4) as f32) + 0 * net.p }\n"
                               "loss shared(net: Net) -> f32 {\n"
                               "  let k = key()\n"
                               "  let a = with k { dropped(net, 0.3) }\n"
                               "  let b = with k { dropped(net, 0.3) }\n"
                               "  mean(abs(a - b))\n"
                               "}\n"
                               "loss apart(net: Net) -> f32 {\n"
                               "  let a ~ dropped(net, 0.3)\n"
                               "  let b ~ dropped(net, 0.3)\n"
                               "  mean((a != b) as f32) + 0 * net.p\n"
                               "}\n"
                               "train run_average { loss = average, optimizer = sgd(lr = 0.1), steps = 1 }\n"
                               "train run_kept { loss = kept, optimizer = sgd(lr = 0.1), steps = 1 }\n"
                               "train run_shared { loss = shared, optimizer = sgd(lr = 0.1), steps = 1 }\n"
                               "train run_apart { loss = apart, optimizer = sgd(lr = 0.1), steps = 1 }\n";

typedef struct Dropped {
    const char *run;
    double loss, tolerance;
} Dropped;

static const Dropped drops[] = {
    {"run_average", 1, 0.02}, {"run_kept", 0.7, 0.013}, {"run_shared", 0, 0}, {"run_apart", 0.42, 0.014}};
enum { DROPS = sizeof drops / sizeof *drops };

START_TEST(dropout_keeps_its_share)
{
    const Dropped *drop = &drops[_i];
    cm_error *error;
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, dropping);
    cm_training *training;
    cm_step step;
    expect_ok(cm_training_create(program, drop->run, NULL, &training, &error));
    expect_ok(cm_training_step(training, &step, &error));
    ck_assert_double_le(fabs(step.loss - drop->loss), drop->tolerance);
    cm_training_free(training);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* ---- what has no value for so few samples or steps ---- */

static const char few[] = "import std.edm, std.metrics\n"
                          "fn covariance() = metrics.frechet_distance(ones[N: 1, D: 2], ones[N: 3, D: 2])\n"
                          "fn kernel() = metrics.kernel_distance(ones[N: 3, D: 2], ones[N: 1, D: 2])\n"
                          "fn sampler() = edm.euler((x, sigma) => x, 1.0, steps = 0)\n";

static const char *const refused[][2] = {{"covariance", "a covariance is one of two samples or more"},
                                         {"kernel", "it takes two of either set"},
                                         {"sampler", "a sampler takes at least one step"}};
enum { REFUSED = sizeof refused / sizeof *refused };

START_TEST(too_few_are_refused)
{
    cm_error *error;
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, few);
    cm_executable *executable;
    expect_failure(CM_PROGRAM_ERROR, refused[_i][1], cm_compile(program, refused[_i][0], NULL, &executable, &error));
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

static TCase *refusal_cases(void)
{
    TCase *group = tcase_create("refusals");
    tcase_add_loop_test(group, too_few_are_refused, 0, REFUSED);
    return group;
}

static TCase *draw_cases(void)
{
    TCase *group = tcase_create("draws");
    tcase_set_timeout(group, 60);
    tcase_add_test(group, first_weights_have_their_variance);
    tcase_add_loop_test(group, dropout_keeps_its_share, 0, DROPS);
    return group;
}

int main(void)
{
    return run_suite("std", (TCase * (*const[])(void)){draw_cases, refusal_cases, NULL});
}
