/* The Vulkan backend against the CPU's; built where the library has both.  Functions of streaming.cm, which have loops in
 * loops, reductions, contractions, random numbers and gathers, in f64; and random bits, which are equal. */
#include "tests/api/folder.h"

#include <math.h>
#include <stdio.h>

static const char path[] = CM_SOURCE_DIR "/tests/api/streaming.cm";
static const char *const entries[] = {"one_head",    "dropped", "looked_up", "transposed_bias", "picked_cross_entropy",
                                      "table_of_all"};
enum { ENTRIES = sizeof entries / sizeof *entries, MOST_RESULTS = 32 };

static size_t run_on(cm_program *program, const char *entry, const char *device, cm_array *out)
{
    cm_error *error;
    cm_executable *executable;
    cm_compile_options options = {.size = sizeof options, .device = device};
    expect_ok(cm_compile(program, entry, &options, &executable, &error));
    size_t count = cm_executable_output_count(executable);
    ck_assert_uint_le(count, MOST_RESULTS);
    for (size_t i = 0; i < count; i++) {
        cm_port port;
        ck_assert_int_eq(cm_executable_output(executable, i, &port), CM_OK);
        out[i] = (cm_array){.dtype = port.dtype, .rank = port.rank};
        memcpy(out[i].dim, port.dim, sizeof port.dim);
        out[i].data = malloc(cm_array_bytes(&out[i]));
    }
    expect_ok(cm_run(executable, NULL, NULL, 0, out, count, &error));
    cm_executable_free(executable);
    return count;
}

static void compare(const char *entry, const cm_array *got, const cm_array *wanted)
{
    const double *x = got->data, *y = wanted->data;
    double largest = 1e-300, error = 0;
    for (size_t i = 0; i < cm_array_bytes(wanted) / sizeof(double); i++) {
        largest = fmax(largest, fabs(y[i]));
        error = isfinite(x[i] - y[i]) ? fmax(error, fabs(x[i] - y[i])) : (double)INFINITY;
    }
    ck_assert_msg(error <= 1e-9 * largest, "%s: off by %g of %g", entry, error, largest);
}

START_TEST(agrees_with_the_cpu)
{
    cm_context *context = test_context(1);
    cm_program *program = test_file(context, path, NULL);
    cm_array got[MOST_RESULTS], wanted[MOST_RESULTS];
    size_t count = run_on(program, entries[_i], "vulkan", got);
    ck_assert_uint_eq(count, run_on(program, entries[_i], "cpu", wanted));
    for (size_t i = 0; i < count; i++) {
        compare(entries[_i], &got[i], &wanted[i]);
        free(got[i].data);
        free(wanted[i].data);
    }
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

START_TEST(random_bits_are_equal)
{
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, "fn bits() { let x ~ uniform[T: 1000]\n x }\n");
    cm_array got[MOST_RESULTS], wanted[MOST_RESULTS];
    run_on(program, "bits", "vulkan", got);
    run_on(program, "bits", "cpu", wanted);
    ck_assert_mem_eq(got[0].data, wanted[0].data, cm_array_bytes(&wanted[0]));
    free(got[0].data);
    free(wanted[0].data);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* ---- training: the state stays on the device, and steps are recorded once ---- */

static const char regression[] =
    "import std.nn\n"
    "dim P = 2, Q = 8, R = 1\n"
    "model Net() {\n"
    "  let a = nn.Linear[P, Q]()\n"
    "  let b = nn.Linear[Q, R]()\n"
    "  fn call(x: f32[B, P]) -> f32[B, R] = b(tanh(a(x)))\n"
    "}\n"
    "loss fit(net: Net) -> f32 {\n"
    "  let x ~ normal[B: 16, P]\n"
    "  mean((sum(net(x), R) - sum(x * x, P))^2)\n"
    "}\n"
    "train fitting { loss = fit, optimizer = adamw(lr = 1e-2), steps = 9, batch = 1, ema = 0.9 }\n";

enum { STEPS = 6, HALF = 3 };

typedef struct Trained {
    double loss[STEPS];
    cm_parameters *half, *end;
} Trained;

static cm_training *new_training(cm_program *program, const char *device)
{
    cm_training_options options = {.size = sizeof options, .device = device};
    cm_training *training;
    cm_error *error;
    expect_ok(cm_training_create(program, NULL, &options, &training, &error));
    return training;
}

static void run_steps(cm_training *training, int first, int end, double *loss)
{
    cm_error *error;
    for (int i = first; i < end; i++) {
        cm_step step;
        expect_ok(cm_training_step(training, &step, &error));
        loss[i] = step.loss;
    }
}

static Trained train_on(cm_program *program, const char *device)
{
    Trained trained;
    cm_error *error;
    cm_training *training = new_training(program, device);
    run_steps(training, 0, HALF, trained.loss);
    expect_ok(cm_training_weights(training, &trained.half, &error));
    run_steps(training, HALF, STEPS, trained.loss);
    expect_ok(cm_training_weights(training, &trained.end, &error));
    cm_training_free(training);
    return trained;
}

static void compare_weights(const cm_parameters *got, const cm_parameters *wanted, float tolerance)
{
    ck_assert_uint_eq(cm_parameters_count(got), cm_parameters_count(wanted));
    for (size_t i = 0; i < cm_parameters_count(got); i++) {
        cm_array a, b;
        cm_error *error;
        expect_ok(cm_parameters_get(got, cm_parameters_name(got, i), &a, &error));
        expect_ok(cm_parameters_get(wanted, cm_parameters_name(got, i), &b, &error));
        for (size_t k = 0; k < cm_array_bytes(&a) / sizeof(float); k++)
            ck_assert_float_le(fabsf(((float *)a.data)[k] - ((float *)b.data)[k]), tolerance);
    }
}

START_TEST(training_agrees_with_the_cpu)
{
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, regression);
    Trained got = train_on(program, "vulkan"), wanted = train_on(program, "cpu");
    for (int i = 0; i < STEPS; i++)
        ck_assert_double_eq_tol(got.loss[i], wanted.loss[i], 1e-5 * fabs(wanted.loss[i]));
    compare_weights(got.half, wanted.half, 1e-5f);
    compare_weights(got.end, wanted.end, 1e-5f);
    cm_parameters_free(got.half);
    cm_parameters_free(got.end);
    cm_parameters_free(wanted.half);
    cm_parameters_free(wanted.end);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* From a checkpoint of the middle, also one that is loaded over a state that had gone on, the same bits follow. */
START_TEST(a_checkpoint_is_what_the_device_had)
{
    cm_error *error;
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, regression);
    cm_training *training = new_training(program, "vulkan"), *other = new_training(program, "vulkan");
    double loss[STEPS], again[STEPS];
    cm_parameters *weights, *others;
    enter_folder();
    run_steps(training, 0, HALF, loss);
    expect_ok(cm_training_save(training, "checkpoint.safetensors", &error));
    run_steps(training, HALF, STEPS, loss);
    run_steps(other, 0, 2, again);
    expect_ok(cm_training_load(other, "checkpoint.safetensors", &error));
    run_steps(other, HALF, STEPS, again);
    for (int i = HALF; i < STEPS; i++)
        ck_assert_double_eq(loss[i], again[i]);
    expect_ok(cm_training_weights(training, &weights, &error));
    expect_ok(cm_training_weights(other, &others, &error));
    compare_weights(weights, others, 0);
    leave_folder();
    cm_parameters_free(weights);
    cm_parameters_free(others);
    cm_training_free(training);
    cm_training_free(other);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

static TCase *vulkan(void)
{
    TCase *test = tcase_create("vulkan");
    tcase_set_timeout(test, 120);
    tcase_add_loop_test(test, agrees_with_the_cpu, 0, ENTRIES);
    tcase_add_test(test, training_agrees_with_the_cpu);
    tcase_add_test(test, a_checkpoint_is_what_the_device_had);
    tcase_add_test(test, random_bits_are_equal);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {vulkan, NULL};
    return run_suite("vulkan", cases);
}
