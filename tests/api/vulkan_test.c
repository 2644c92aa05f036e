/* The Vulkan backend against the CPU's; built where the library has both.  Functions of streaming.cm, which have loops in
 * loops, reductions, contractions, random numbers and gathers, in f64; those of vulkan.cm; random bits, which are equal;
 * training. What needs no f64 is tried also on a device that pretends to have no more than Vulkan guarantees, and through
 * windows as small as they can be. */
#include "tests/api/folder.h"
#include "tests/api/vulkan.h"

#include <math.h>
#include <stdio.h>

static const char streaming[] = CM_SOURCE_DIR "/tests/api/streaming.cm", own[] = CM_SOURCE_DIR "/tests/api/vulkan.cm";
static const char *const doubles[] = {"one_head",    "dropped", "looked_up", "transposed_bias", "picked_cross_entropy",
                                      "table_of_all"};
static const char *const singles[] = {"matrices",       "other_order",
                                      "batches",        "thin",
                                      "windows",        "window_gradient",
                                      "long_sum",       "runs",
                                      "halves",         "halves_along",
                                      "halves_across",  "halves_in_batches",
                                      "softmax_rows",   "branches",
                                      "bounded",        "bounded_derivatives",
                                      "long_gradient",  "unbounded",
                                      "drawn_lengths",  "long_drawn_length",
                                      "kept_turns",     "linear_way_back",
                                      "without_f64",    "least_divided",
                                      "long_halves",    "long_batches",
                                      "few_long_rows",  "rows_in_turns",
                                      "sums_in_pieces", "halves_in_pieces",
                                      "nothing",        "by_zero",
                                      "additions",      "scans",
                                      "steady",         "tape"};
static const char *const halves[] = {"halves", "halves_along", "halves_across", "halves_in_batches", "long_halves"};
enum { HALVES = sizeof halves / sizeof *halves };
enum { DOUBLES = sizeof doubles / sizeof *doubles, SINGLES = sizeof singles / sizeof *singles, MOST_RESULTS = 32, SEEDS = 3 };

static cm_executable *compile_for(cm_program *program, const char *entry, const char *device)
{
    cm_error *error;
    cm_executable *executable;
    cm_compile_options options = {.size = sizeof options, .device = device};
    expect_ok(cm_compile(program, entry, &options, &executable, &error));
    return executable;
}

static size_t run_with(cm_executable *executable, int64_t seed, cm_array *out)
{
    cm_error *error;
    cm_run_options options = {.size = sizeof options, .seed = seed};
    size_t count = cm_executable_output_count(executable);
    ck_assert_uint_le(count, MOST_RESULTS);
    for (size_t i = 0; i < count; i++) {
        cm_port port;
        ck_assert_int_eq(cm_executable_output(executable, i, &port), CM_OK);
        out[i] = (cm_array){.dtype = port.dtype, .rank = port.rank};
        memcpy(out[i].dim, port.dim, sizeof port.dim);
        out[i].data = malloc(cm_array_bytes(&out[i]));
    }
    expect_ok(cm_run(executable, &options, NULL, 0, out, count, &error));
    return count;
}

static size_t run_on(cm_program *program, const char *entry, const char *device, cm_array *out)
{
    cm_executable *executable = compile_for(program, entry, device);
    size_t count = run_with(executable, 0, out);
    cm_executable_free(executable);
    return count;
}

static double number_at(const cm_array *array, size_t index)
{
    switch (array->dtype) {
    case CM_F64:
        return ((double *)array->data)[index];
    case CM_I32:
        return ((int32_t *)array->data)[index];
    case CM_BOOL:
        return ((unsigned char *)array->data)[index];
    default:
        ck_assert_int_eq(array->dtype, CM_F32);
        return (double)((float *)array->data)[index];
    }
}

static void compare(const char *entry, const cm_array *got, const cm_array *wanted)
{
    double largest = 1e-300, error = 0;
    for (size_t i = 0; i < cm_array_bytes(wanted) / cm_dtype_bytes(wanted->dtype); i++) {
        double x = number_at(got, i), y = number_at(wanted, i);
        largest = isfinite(y) ? fmax(largest, fabs(y)) : largest;
        error = x == y ? error : isfinite(x - y) ? fmax(error, fabs(x - y)) : (double)INFINITY;
    }
    double most = wanted->dtype == CM_F64 ? 1e-9 : strstr(entry, "halves") ? 1e-3 : 2e-6; /* of f16, the last bit */
    ck_assert_msg(error <= most * largest, "%s: off by %g of %g", entry, error, largest);
}

/* With several seeds: what the device decides is decided anew. */
static void expect_agreement(const char *path, const char *entry)
{
    cm_context *context = test_context(2);
    cm_program *program = test_file(context, path, NULL);
    cm_executable *ours = compile_for(program, entry, "vulkan"), *theirs = compile_for(program, entry, "cpu");
    for (int seed = 0; seed < SEEDS; seed++) {
        cm_array got[MOST_RESULTS], wanted[MOST_RESULTS];
        size_t count = run_with(ours, seed, got);
        ck_assert_uint_eq(count, run_with(theirs, seed, wanted));
        for (size_t i = 0; i < count; i++) {
            compare(entry, &got[i], &wanted[i]);
            free(got[i].data);
            free(wanted[i].data);
        }
    }
    cm_executable_free(ours);
    cm_executable_free(theirs);
    cm_program_free(program);
    cm_context_free(context);
}

/* ---- shaders are what Vulkan 1.1 takes ---- */

/* Checks a module, if there is one, and forgets it. */
static void validate(const char *entry, FILE *module)
{
    bool any = ftell(module) > 0;
    ck_assert_int_eq(fflush(module), 0);
    ck_assert_msg(!any || system("spirv-val --target-env vulkan1.1 module.spv") == 0, "%s: spirv-val refuses a shader", entry);
    rewind(module);
    ck_assert_int_eq(ftruncate(fileno(module), 0), 0);
}

/* The dump has a line of // before the words of each module. */
static void validate_entry(const char *path, const char *entry)
{
    cm_context *context = test_context(1);
    cm_program *program = test_file(context, path, NULL);
    cm_compile_options options = {.size = sizeof options, .device = "vulkan"};
    char *text;
    cm_error *error;
    expect_ok(cm_dump(program, entry, "spirv", &options, &text, &error));
    FILE *module = fopen("module.spv", "w+b");
    ck_assert_ptr_nonnull(module);
    int modules = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char *end = line;
        if (strncmp(line, "//", 2) == 0) {
            validate(entry, module);
            modules++;
            continue;
        }
        for (uint32_t word = (uint32_t)strtoul(line, &end, 16); end != line; word = (uint32_t)strtoul(line, &end, 16)) {
            ck_assert_uint_eq(fwrite(&word, sizeof word, 1, module), 1);
            line = end;
        }
    }
    validate(entry, module);
    ck_assert_int_ge(modules, 1);
    fclose(module);
    cm_text_free(context, text);
    cm_program_free(program);
    cm_context_free(context);
}

START_TEST(shaders_are_valid)
{
    enter_folder();
    if (_i < DOUBLES)
        validate_entry(streaming, doubles[_i]);
    else
        validate_entry(own, singles[_i - DOUBLES]);
    leave_folder();
}
END_TEST

/* ---- results ---- */

START_TEST(doubles_agree_with_the_cpu)
{
    expect_agreement(streaming, doubles[_i]);
}
END_TEST

START_TEST(singles_agree_with_the_cpu)
{
    expect_agreement(own, singles[_i]);
}
END_TEST

/* Submissions of `SEEDS` runs. */
static int64_t submissions_of(const char *entry)
{
    cm_error *error;
    cm_context *context;
    cm_context_options options = {.size = sizeof options, .threads = 1, .cache_directory = "", .profile = 1};
    cm_profile_totals totals;
    expect_ok(cm_context_create(&options, &context, &error));
    cm_program *program = test_file(context, own, NULL);
    cm_executable *executable = compile_for(program, entry, "vulkan");
    for (int seed = 0; seed < SEEDS; seed++) {
        cm_array out[MOST_RESULTS];
        size_t count = run_with(executable, seed, out);
        for (size_t i = 0; i < count; i++)
            free(out[i].data);
    }
    ck_assert_int_eq(cm_profile_total(context, &totals), CM_OK);
    ck_assert_int_eq(totals.runs, SEEDS);
    ck_assert(totals.host_seconds > 0 && totals.bytes_up > 0 && totals.bytes_down > 0 && totals.least_bytes > 0);
    cm_executable_free(executable);
    cm_program_free(program);
    cm_context_free(context);
    return totals.submissions;
}

/* The tiles around cooperative matrices, and the test that chooses a shape, on a device that has none. */
START_TEST(matrices_by_hand_agree_with_the_cpu)
{
    cm_error *error;
    char *text;
    ck_assert_int_eq(setenv("CM_VULKAN_MATRICES", "by_hand", 1), 0);
    cm_context *context = test_context(1);
    cm_program *program = test_file(context, own, NULL);
    cm_compile_options options = {.size = sizeof options, .device = "vulkan"};
    expect_ok(cm_dump(program, halves[_i], "schedule", &options, &text, &error));
    ck_assert_ptr_nonnull(strstr(text, "with matrices"));
    cm_text_free(context, text);
    cm_program_free(program);
    cm_context_free(context);
    expect_agreement(own, halves[_i]);
    ck_assert_int_eq(submissions_of(halves[_i]), SEEDS); /* the product that chooses the shape is none of them */
}
END_TEST

static void expect_not_compiled(const char *text, const char *reason)
{
    cm_error *error;
    cm_executable *executable;
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, text);
    cm_compile_options options = {.size = sizeof options, .device = "vulkan"};
    cm_status status = cm_compile(program, "long", &options, &executable, &error);
    ck_assert_int_ne(status, CM_OK);
    expect_failure(status, reason, status);
    cm_program_free(program);
    cm_context_free(context);
}

/* Mesa's device for processors leaves loops after so many turns that the result would be wrong. */
START_TEST(loops_that_the_driver_leaves_are_refused)
{
    expect_not_compiled("fn long() { let i ~ integers[T: 70000](600000)\n"
                        "  scatter_add(ones[N: 600000], N, i, iota[T] as f32) }\n",
                        "turns of loops");
}
END_TEST

START_TEST(what_shaders_cannot_number_is_refused)
{
    expect_not_compiled("fn long() { let u ~ uniform[N: 40000]\n"
                        "  sum(exp(outer(u, rename(u, N -> M)))) }\n",
                        "has more points than shaders count");
}
END_TEST

START_TEST(the_host_asks_only_where_it_must)
{
    ck_assert_int_eq(submissions_of("matrices"), SEEDS);
    ck_assert_int_eq(submissions_of("branches"), SEEDS);
    ck_assert_int_eq(submissions_of("bounded"), SEEDS);
    ck_assert_int_eq(submissions_of("drawn_lengths"), SEEDS);
    ck_assert_int_eq(submissions_of("long_gradient"), SEEDS);
    ck_assert_int_gt(submissions_of("unbounded"), SEEDS);
    ck_assert_int_gt(submissions_of("long_drawn_length"), SEEDS);
}
END_TEST

static void expect_refusal(const char *without, const char *reason)
{
    cm_error *error;
    cm_executable *executable;
    cm_context *context = test_context(1);
    cm_program *program = test_file(context, streaming, NULL);
    cm_compile_options options = {.size = sizeof options, .device = "vulkan"};
    ck_assert_int_eq(setenv("CM_VULKAN_WITHOUT", without, 1), 0);
    cm_status status = cm_compile(program, doubles[0], &options, &executable, &error);
    expect_failure(status, reason, status);
    ck_assert_int_ne(status, CM_OK);
    cm_program_free(program);
    cm_context_free(context);
}

START_TEST(features_can_be_left_out)
{
    expect_refusal("subgroups,f64", "streaming.cm:");
    expect_refusal("subgroups,f64", "does not compute with f64");
    expect_refusal("f64,shaders", "no feature 'shaders'");
    ck_assert_int_eq(setenv("CM_VULKAN_MATRICES", "by_foot", 1), 0);
    expect_refusal("", "and not 'by_foot'");
    ck_assert_int_eq(setenv("CM_VULKAN_MATRICES", "", 1), 0);
    ck_assert_int_eq(setenv("CM_VULKAN_WINDOW", "64KiB", 1), 0);
    expect_refusal("", "a number of bytes, 256 at least, and not '64KiB'");
}
END_TEST

/* Whether it compiles for a device with windows of so many bytes; if not, it says why. */
static bool fits_into(const char *path, const char *entry, int64_t bytes)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)bytes);
    ck_assert_int_eq(setenv("CM_VULKAN_WINDOW", text, 1), 0);
    cm_error *error = NULL;
    cm_executable *executable = NULL;
    cm_context *context = test_context(1);
    cm_program *program = test_file(context, path, NULL);
    cm_compile_options options = {.size = sizeof options, .device = "vulkan"};
    cm_status status = cm_compile(program, entry, &options, &executable, &error);
    if (status)
        expect_failure(CM_OUT_OF_MEMORY, "a shader of", status);
    cm_executable_free(executable);
    cm_program_free(program);
    cm_context_free(context);
    return !status;
}

/* In the smallest windows that hold what a kernel works on, most see several. */
START_TEST(small_windows_agree_with_the_cpu)
{
    int64_t bytes = 256;
    ck_assert(!fits_into(own, singles[_i], bytes));
    while (!fits_into(own, singles[_i], bytes))
        bytes += bytes / 4 / 256 * 256 + 256;
    expect_agreement(own, singles[_i]);
}
END_TEST

/* No window shows all of an array of 160,000 bytes. */
START_TEST(arrays_longer_than_a_window_agree_with_the_cpu)
{
    ck_assert(fits_into(own, "tape", 65536));
    expect_agreement(own, "tape");
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

/* ---- training: the state stays on the device, steps are recorded once, and batches are read ahead ---- */

static const char regression[] =
    "import std.nn\n"
    "dim P = 2, Q = 8, R = 1\n"
    "model Net() {\n"
    "  let a = nn.Linear[P, Q]()\n"
    "  let b = nn.Linear[Q, R]()\n"
    "  fn call(x: f32[B, P]) -> f32[B, R] = b(tanh(a(x)))\n"
    "}\n"
    "loss fit(net: Net, x: f32[B, P]) -> f32 = mean((sum(net(x), R) - sum(x * x, P))^2)\n"
    "fn cloud[N]() -> f32[N, P] { let x ~ normal[N, P]\n x }\n"
    "data points = { x: generate(N = 64, cloud) }\n"
    "train fitting { loss = fit, data = points, optimizer = radam(lr = 1e-2), steps = 9, batch = 16, ema = 0.9 }\n";

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

static void add_singles(TCase *test)
{
    tcase_set_timeout(test, 120);
    tcase_add_loop_test(test, singles_agree_with_the_cpu, 0, SINGLES);
    tcase_add_test(test, random_bits_are_equal);
    tcase_add_test(test, training_agrees_with_the_cpu);
    tcase_add_test(test, a_checkpoint_is_what_the_device_had);
}

static TCase *vulkan(void)
{
    TCase *test = tcase_create("vulkan");
    tcase_add_checked_fixture(test, watch_vulkan, NULL);
    tcase_add_loop_test(test, shaders_are_valid, 0, DOUBLES + SINGLES);
    tcase_add_loop_test(test, doubles_agree_with_the_cpu, 0, DOUBLES);
    tcase_add_test(test, the_host_asks_only_where_it_must);
    tcase_add_test(test, features_can_be_left_out);
    tcase_add_test(test, loops_that_the_driver_leaves_are_refused);
    tcase_add_test(test, what_shaders_cannot_number_is_refused);
    tcase_add_loop_test(test, matrices_by_hand_agree_with_the_cpu, 0, HALVES);
    add_singles(test);
    return test;
}

static TCase *minimum(void)
{
    TCase *test = tcase_create("minimum");
    tcase_add_checked_fixture(test, pretend_minimum, NULL);
    add_singles(test);
    tcase_add_loop_test(test, small_windows_agree_with_the_cpu, 0, SINGLES);
    tcase_add_test(test, arrays_longer_than_a_window_agree_with_the_cpu);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {vulkan, minimum, NULL};
    return run_suite("vulkan", cases);
}
