/* The standard library, and attention in every mode, against PyTorch: each function of tests/reference/NAME.cm is run on arguments that follow from their
 * names, and every result is compared with the array of that name in NAME.safetensors (see tests/reference/reference.py).
 *
 * Agreement is max|a - b| / max|b| against the reference, which was computed in f64: at most 1e-5 for results in f32. */
#include "tests/api/api_test.h"

#include <math.h>
#include <stdio.h>

static const char *const programs[] = {"attention", "layers", "methods", "metrics", "resize", "training"};
enum { PROGRAMS = sizeof programs / sizeof *programs, MOST_CASES = 160, MOST_PORTS = 512 };

typedef struct Case {
    const char *program;
    char entry[64];
    int64_t block_rows;
} Case;

enum { MOST_ROWS = 3 }; /* of the blocks in which attention is computed, too */

static Case cases[MOST_CASES];
static int case_count;

static char *path_of(const char *program, const char *ending)
{
    static char path[2][512];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/tests/reference/%s%s", CM_SOURCE_DIR, program, ending);
    return path[turn];
}

/* ---- arguments: as reference.py draws them ---- */

static uint32_t hashed(const char *name, int64_t index)
{
    uint32_t seed = 2166136261u;
    for (; *name; name++)
        seed = (seed ^ (unsigned char)*name) * 16777619u;
    uint32_t x = (uint32_t)index * 2654435769u + seed;
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 16)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

static bool ends_in(const char *name, const char *ending)
{
    size_t size = strlen(name), tail = strlen(ending);
    return size >= tail && !strcmp(name + size - tail, ending);
}

static double drawn(const cm_port *port, int64_t count, int64_t index)
{
    double u = (double)(hashed(port->name, index) >> 8) / 0x1p23 - 1;
    if (ends_in(port->name, ".w"))
        return u * sqrt(3.0 * (double)port->dim[port->rank - 1] / (double)count);
    return ends_in(port->name, ".scale") && port->name[0] != 'd' ? 1 + u / 4 : u;
}

static cm_array new_array(const cm_port *port)
{
    cm_array array = {.dtype = port->dtype, .rank = port->rank};
    memcpy(array.dim, port->dim, sizeof array.dim);
    array.data = malloc(cm_array_bytes(&array) + 1);
    return array;
}

enum { CLASSES = 3 }; /* integer arguments are labels */

static cm_array argument(const cm_port *port)
{
    cm_array array = new_array(port);
    int64_t count = (int64_t)(cm_array_bytes(&array) / cm_dtype_bytes(port->dtype));
    for (int64_t i = 0; i < count; i++) {
        if (port->dtype == CM_I32)
            ((int32_t *)array.data)[i] = (int32_t)(hashed(port->name, i) % CLASSES);
        else if (port->dtype == CM_F64)
            ((double *)array.data)[i] = (float)drawn(port, count, i);
        else
            ((float *)array.data)[i] = (float)drawn(port, count, i);
    }
    return array;
}

/* ---- comparison ---- */

static double element(const cm_array *array, size_t i)
{
    return array->dtype == CM_F64 ? ((double *)array->data)[i] : (double)((float *)array->data)[i];
}

static void compare(const Case *test, const cm_port *port, const cm_array *got, const cm_parameters *reference)
{
    char name[256];
    cm_array want;
    cm_error *error;
    bool only = !strcmp(port->name, "result");
    snprintf(name, sizeof name, "%s%s%s", test->entry, only ? "" : ".", only ? "" : port->name);
    expect_ok(cm_parameters_get(reference, name, &want, &error));
    ck_assert_msg(want.rank == got->rank && !memcmp(want.dim, got->dim, sizeof(int64_t) * (size_t)want.rank),
                  "%s: the shapes differ", name);
    double largest = 0, worst = 0;
    size_t count = cm_array_bytes(got) / cm_dtype_bytes(got->dtype);
    for (size_t i = 0; i < count; i++) {
        double a = element(got, i), b = element(&want, i);
        ck_assert_msg(isfinite(a), "%s: element %zu is %g", name, i, a);
        largest = fmax(largest, fabs(b));
        worst = fmax(worst, fabs(a - b));
    }
    double bound = got->dtype == CM_F64 ? 2e-7 : 1e-5; /* references are stored in f32 */
    ck_assert_msg(worst <= bound * largest, "%s: differs by %.3g of %.3g: %.3g", name, worst, largest, worst / largest);
}

static size_t count_references(const cm_parameters *reference, const char *entry)
{
    size_t count = 0, size = strlen(entry);
    for (size_t i = 0; i < cm_parameters_count(reference); i++) {
        const char *name = cm_parameters_name(reference, i);
        count += !strncmp(name, entry, size) && (name[size] == '.' || !name[size]);
    }
    return count;
}

START_TEST(agrees_with_the_reference)
{
    const Case *test = &cases[_i];
    cm_error *error;
    cm_context *context = test_context(2);
    cm_program *program;
    cm_executable *executable;
    cm_parameters *reference;
    expect_ok(cm_load_file(context, path_of(test->program, ".cm"), NULL, &program, &error));
    cm_compile_options options = {.size = sizeof options, .block_rows = test->block_rows};
    expect_ok(cm_compile(program, test->entry, &options, &executable, &error));
    expect_ok(cm_parameters_load(context, path_of(test->program, ".safetensors"), &reference, &error));
    cm_input inputs[MOST_PORTS];
    cm_array results[MOST_PORTS];
    size_t input_count = cm_executable_input_count(executable), count = cm_executable_output_count(executable);
    cm_port port;
    ck_assert(input_count <= MOST_PORTS && count <= MOST_PORTS);
    for (size_t i = 0; i < input_count; i++) {
        expect_ok(cm_executable_input(executable, i, &port));
        inputs[i] = (cm_input){port.name, argument(&port)};
    }
    for (size_t i = 0; i < count; i++) {
        expect_ok(cm_executable_output(executable, i, &port));
        results[i] = new_array(&port);
    }
    expect_ok(cm_run(executable, NULL, inputs, input_count, results, count, &error));
    ck_assert_msg(count == count_references(reference, test->entry), "%s: %zu results, %zu references", test->entry, count,
                  count_references(reference, test->entry));
    for (size_t i = 0; i < count; i++) {
        expect_ok(cm_executable_output(executable, i, &port));
        compare(test, &port, &results[i], reference);
        free(results[i].data);
    }
    for (size_t i = 0; i < input_count; i++)
        free(inputs[i].array.data);
    cm_parameters_free(reference);
    cm_executable_free(executable);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

static void fail_early(const cm_error *error)
{
    fputs(cm_error_text(error), stderr);
    exit(EXIT_FAILURE);
}

static void add_cases(cm_context *context, const char *name)
{
    cm_error *error;
    cm_program *program;
    cm_entry entry;
    if (cm_load_file(context, path_of(name, ".cm"), NULL, &program, &error))
        fail_early(error);
    int most_rows = strcmp(name, "attention") == 0 ? MOST_ROWS : 0;
    for (size_t i = 0; !cm_program_entry(program, i, &entry); i++)
        for (int rows = 0; rows <= most_rows && entry.kind == CM_ENTRY_FN && case_count < MOST_CASES; rows++) {
            Case *test = &cases[case_count++];
            *test = (Case){.program = name, .block_rows = rows};
            snprintf(test->entry, sizeof test->entry, "%s", entry.name);
        }
    cm_program_free(program);
}

/* Every function of the programs that can be called from outside is a case. No test runs yet, so nothing is asserted here. */
static void find_cases(void)
{
    cm_error *error;
    cm_context *context;
    if (cm_context_create(NULL, &context, &error))
        fail_early(error);
    for (int p = 0; p < PROGRAMS; p++)
        add_cases(context, programs[p]);
    cm_context_free(context);
}

static TCase *reference_cases(void)
{
    find_cases();
    TCase *group = tcase_create("reference");
    tcase_set_timeout(group, 60);
    tcase_add_loop_test(group, agrees_with_the_reference, 0, case_count);
    return group;
}

int main(void)
{
    return run_suite("reference", (TCase * (*const[])(void)){reference_cases, NULL});
}
