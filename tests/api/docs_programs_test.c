/* The programs in the documents do what they say.  Each ```cm block is a program of its own, which passes `cmc check`, and in
 * it
 *
 *   fn f() -> f32 = 1.0 + 2.0  # => 3                says what f gives, written after its last line
 *   fn g() = iota[T: 2]        # => i32[T: 2]        or the type of that, or both
 *   fn h() = undefined         # error: unknown_name    says that this line, and none without such a comment, is refused
 *
 * A block has the layout of `cmc fmt`.  A group is written (1, 2) or { a: 1, b: 2 }.  A number with decimals is exact to those
 * that are shown.  A block with a train block is trained first, and its entries get those weights; elsewhere models get their
 * first weights. */
#include "tests/api/api_test.h"
#include "tests/docs/pages.h"

#include <ctype.h>
#include <math.h>

static BlockList programs;

static bool is_program(const Block *block)
{
    return !strcmp(block->language, "cm") && !*block->path;
}

/* ---- what a block says ---- */

/* What follows `mark` in a line, without its end; empty if the line has none. */
static void said_in_line(const char *line, const char *mark, char *said, size_t size)
{
    size_t length = strcspn(line, "\n");
    const char *found = strstr(line, mark);
    *said = 0;
    if (!found || found >= line + length)
        return;
    found += strlen(mark);
    snprintf(said, size, "%.*s", (int)(line + length - found), found);
}

/* The name that a line declares something callable by; empty if it declares nothing. */
static void declared_in_line(const char *line, char *name, size_t size)
{
    static const char *const words[] = {"fn ", "loss ", "sample ", "eval "};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t length = strlen(words[i]);
        if (!strncmp(line, words[i], length))
            snprintf(name, size, "%.*s", (int)strcspn(line + length, "([ \n"), line + length);
    }
}

/* ---- comparing ---- */

static bool starts_number(const char *text)
{
    return isdigit((unsigned char)*text) || (*text == '-' && isdigit((unsigned char)text[1]));
}

/* Half a unit of the last decimal that is shown; of a whole number, what rounding may do. */
static double tolerance_of(const char *number, size_t length)
{
    const char *point = memchr(number, '.', length), *exponent = memchr(number, 'e', length);
    const char *end = exponent ? exponent : number + length;
    double scale = exponent ? pow(10, atof(exponent + 1)) : 1;
    if (!point)
        return 1e-6 * fmax(scale, fabs(atof(number)));
    return 0.5000001 * scale * pow(10, -(double)(end - point - 1));
}

/* Equal but for blanks and the digits of numbers that are not shown. */
static bool agrees(const char *wanted, const char *got)
{
    while (*wanted || *got) {
        if (*wanted == ' ') {
            wanted++;
        } else if (*got == ' ') {
            got++;
        } else if (starts_number(wanted) && (starts_number(got))) {
            char *after_wanted, *after_got;
            double a = strtod(wanted, &after_wanted), b = strtod(got, &after_got);
            if (!(fabs(a - b) <= tolerance_of(wanted, (size_t)(after_wanted - wanted))))
                return false;
            wanted = after_wanted;
            got = after_got;
        } else if (*wanted++ != *got++) {
            return false;
        }
    }
    return true;
}

/* ---- results as text ---- */

typedef struct Result {
    cm_port port;
    cm_array array;
} Result;

enum { MOST_RESULTS = 64, MOST_TEXT = 16384 };

typedef struct Results {
    cm_executable *executable; /* keeps the labels */
    Result items[MOST_RESULTS];
    int count;
} Results;

typedef enum Shown { SHOWN_VALUE = 1, SHOWN_TYPE = 2 } Shown;

static double element(const cm_array *array, int64_t index)
{
    switch (array->dtype) {
    case CM_F32:
        return (double)((const float *)array->data)[index];
    case CM_F64:
        return ((const double *)array->data)[index];
    case CM_I32:
        return ((const int32_t *)array->data)[index];
    case CM_U32:
        return ((const uint32_t *)array->data)[index];
    case CM_U8:
    case CM_BOOL:
        return ((const unsigned char *)array->data)[index];
    default:
        return NAN; /* f16, bf16 and i64 are shown by their types */
    }
}

static void print_element(FILE *out, const cm_array *array, int64_t index)
{
    double value = element(array, index);
    if (array->dtype == CM_BOOL)
        fputs(value != 0 ? "true" : "false", out);
    else
        fprintf(out, "%.12g", value);
}

static void print_values(FILE *out, const cm_array *array, int axis, int64_t offset)
{
    if (axis == array->rank) {
        print_element(out, array, offset);
        return;
    }
    int64_t step = 1;
    for (int i = axis + 1; i < array->rank; i++)
        step *= array->dim[i];
    fputc('[', out);
    for (int64_t i = 0; i < array->dim[axis]; i++) {
        fputs(i ? ", " : "", out);
        print_values(out, array, axis + 1, offset + i * step);
    }
    fputc(']', out);
}

static void print_result(FILE *out, const Result *result, int shown)
{
    if (shown & SHOWN_TYPE) {
        fputs(cm_dtype_name(result->port.dtype), out);
        for (int i = 0; i < result->port.rank; i++)
            fprintf(out, "%s%s: %lld%s", i ? ", " : "[", result->port.label[i], (long long)result->port.dim[i],
                    i + 1 == result->port.rank ? "]" : "");
        fputc(' ', out);
    }
    if (shown & SHOWN_VALUE)
        print_values(out, &result->array, 0, 0);
}

/* Results first .. end - 1, whose names go on after `skip` bytes: one value, or a group of those that share a word there. */
static void print_group(FILE *out, const Results *results, int first, int end, size_t skip, int shown)
{
    const char *name = results->items[first].port.name + skip;
    if (end == first + 1 && (!*name || (!skip && !strcmp(name, "result")))) {
        print_result(out, &results->items[first], shown);
        return;
    }
    bool tuple = isdigit((unsigned char)*name);
    fputs(tuple ? "(" : "{ ", out);
    for (int i = first, next; i < end; i = next) {
        const char *word = results->items[i].port.name + skip;
        size_t length = strcspn(word, ".");
        for (next = i + 1; next < end && !strncmp(results->items[next].port.name + skip, word, length) &&
                           strchr(".", results->items[next].port.name[skip + length]);)
            next++;
        fprintf(out, "%s", i > first ? ", " : "");
        if (!tuple)
            fprintf(out, "%.*s: ", (int)length, word);
        print_group(out, results, i, next, skip + length + (word[length] == '.'), shown);
    }
    fputs(tuple ? ")" : " }", out);
}

static void results_text(const Results *results, int shown, char *text)
{
    FILE *out = fmemopen(text, MOST_TEXT, "w");
    print_group(out, results, 0, results->count, 0, shown);
    fputc(0, out);
    fclose(out);
}

/* ---- running ---- */

typedef struct Run {
    const Block *block;
    cm_context *context;
    cm_program *program;
    cm_parameters *weights; /* null: the program has no models */
} Run;

static cm_entry_kind kind_of(const cm_program *program, const char *name)
{
    cm_entry entry;
    for (size_t i = 0; cm_program_entry(program, i, &entry) == CM_OK; i++) {
        if (entry.kind != CM_ENTRY_INIT && !strcmp(entry.name, name))
            return entry.kind;
    }
    ck_abort_msg("%s is nothing that can be run", name);
}

/* Memory for the results of one entry: those of documents are small. */
static void place_results(Results *results)
{
    enum { MOST_BYTES = 1 << 16 };
    static _Alignas(64) char memory[MOST_BYTES];
    size_t used = 0;
    results->count = (int)cm_executable_output_count(results->executable);
    ck_assert_int_le(results->count, MOST_RESULTS);
    for (int i = 0; i < results->count; i++) {
        Result *result = &results->items[i];
        ck_assert_int_eq(cm_executable_output(results->executable, (size_t)i, &result->port), CM_OK);
        result->array = (cm_array){.dtype = result->port.dtype, .rank = result->port.rank, .data = memory + used};
        memcpy(result->array.dim, result->port.dim, sizeof result->array.dim);
        used += (cm_array_bytes(&result->array) + 63) / 64 * 64;
        ck_assert_uint_le(used, MOST_BYTES);
    }
}

static void run_once(const Run *run, Results *results)
{
    cm_array arrays[MOST_RESULTS];
    cm_error *error = NULL;
    cm_run_options options = {.size = sizeof options, .parameters = run->weights};
    for (int i = 0; i < results->count; i++)
        arrays[i] = results->items[i].array;
    expect_ok(cm_run(results->executable, &options, NULL, 0, arrays, (size_t)results->count, &error));
}

/* The first data set that the block declares: what is evaluated where no run says it. Null if there is none. */
static const char *data_of(const Block *block)
{
    static char name[64];
    for (const char *line = block->text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (strncmp(line, "data ", 5) != 0)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(line + 5, " "), line + 5);
        return name;
    }
    return NULL;
}

/* An average over the data is an f64, whatever the type of a batch's result. */
static void evaluate(const Run *run, const char *entry, Results *results)
{
    cm_parameters *set;
    cm_error *error = NULL;
    cm_sample_options options = {.size = sizeof options, .parameters = run->weights};
    expect_ok(cm_evaluate(run->program, entry, data_of(run->block), &options, &set, &error));
    for (int i = 0; i < results->count; i++) {
        cm_array *array = &results->items[i].array, found;
        expect_ok(cm_parameters_get(set, results->items[i].port.name, &found, &error));
        ck_assert_int_eq(found.rank, 0);
        array->dtype = found.dtype;
        memcpy(array->data, found.data, cm_array_bytes(&found));
    }
    cm_parameters_free(set);
}

static void run_entry(const Run *run, const char *entry, Results *results)
{
    cm_error *error = NULL;
    expect_ok(cm_compile(run->program, entry, NULL, &results->executable, &error));
    place_results(results);
    if (kind_of(run->program, entry) == CM_ENTRY_EVAL)
        evaluate(run, entry, results);
    else
        run_once(run, results);
}

static void expect_result(const Run *run, int line, const char *entry, const char *wanted)
{
    static const int shown[] = {SHOWN_VALUE, SHOWN_TYPE, SHOWN_TYPE | SHOWN_VALUE};
    static char got[MOST_TEXT];
    static Results results;
    bool same = false;
    run_entry(run, entry, &results);
    for (int i = 0; i < 3 && !same; i++) {
        results_text(&results, shown[i], got);
        same = agrees(wanted, got);
    }
    ck_assert_msg(same, "%s:%d: %s gives %s\n  the page says %s", run->block->page, line, entry, got, wanted);
    cm_executable_free(results.executable);
}

/* Every `# => ` of the block, for the function declared last. */
static void expect_results(const Run *run)
{
    char entry[128] = "", wanted[1024];
    int line = run->block->line + 1;
    for (const char *at = run->block->text; *at; at += strcspn(at, "\n"), at += *at == '\n', line++) {
        declared_in_line(at, entry, sizeof entry);
        said_in_line(at, "# => ", wanted, sizeof wanted);
        if (*wanted)
            expect_result(run, line, entry, wanted);
    }
}

static bool has_entry(const cm_program *program, cm_entry_kind kind)
{
    cm_entry entry;
    for (size_t i = 0; cm_program_entry(program, i, &entry) == CM_OK; i++) {
        if (entry.kind == kind)
            return true;
    }
    return false;
}

static void make_weights(Run *run)
{
    cm_error *error = NULL;
    if (has_entry(run->program, CM_ENTRY_TRAIN)) {
        cm_training *training;
        expect_ok(cm_training_create(run->program, NULL, NULL, &training, &error));
        expect_ok(cm_training_run(training, NULL, NULL, &error));
        expect_ok(cm_training_weights(training, &run->weights, &error));
        cm_training_free(training);
    } else if (has_entry(run->program, CM_ENTRY_INIT)) {
        expect_ok(cm_parameters_create(run->program, 0, &run->weights, &error));
    }
}

/* ---- what is refused ---- */

/* Marks in `found` each line of the page for which the block says what it is refused for. */
static bool refusals_of(const Block *block, const char *codes[], char *copy)
{
    bool any = false;
    int line = block->line + 1;
    for (char *at = copy; *at; at = page_next_line(at), line++) {
        char code[64];
        said_in_line(at, "# error: ", code, sizeof code);
        codes[line] = *code ? strdup(code) : NULL;
        any |= *code;
    }
    return any;
}

static void expect_refusals(const Block *block, const char *codes[], int lines, const cm_error *error)
{
    for (size_t i = 0; i < cm_error_count(error); i++) {
        cm_diagnostic diagnostic;
        cm_error_diagnostic(error, i, &diagnostic);
        int line = diagnostic.line;
        bool said = line > 0 && line < lines && codes[line] && !strcmp(codes[line], diagnostic.code);
        ck_assert_msg(said, "%s", cm_error_text(error));
        free((char *)codes[line]);
        codes[line] = NULL;
    }
    for (int i = 0; i < lines; i++)
        ck_assert_msg(!codes[i], "%s:%d: this is not refused with %s", block->page, i, codes[i]);
}

/* ---- the test ---- */

/* What parses has the layout of `cmc fmt`. */
static void expect_layout(const Block *block, cm_context *context)
{
    char *formatted;
    if (cm_format(context, block->page, block->text, strlen(block->text), &formatted, NULL) != CM_OK)
        return;
    ck_assert_msg(!strcmp(formatted, block->text), "%s:%d: cmc fmt would write\n%s", block->page, block->line, formatted);
    cm_text_free(context, formatted);
}

/* The block at its place in the page, so that messages have the page's lines. */
static char *at_its_place(const Block *block)
{
    size_t before = (size_t)block->line, length = strlen(block->text);
    char *text = malloc(before + length + 1);
    memset(text, '\n', before);
    memcpy(text + before, block->text, length + 1);
    return text;
}

static cm_context *data_context(void)
{
    cm_context_options options = {
        .size = sizeof options, .cache_directory = "", .data_path = CM_SOURCE_DIR "/tests/golden/formats"};
    cm_context *context;
    cm_error *error;
    expect_ok(cm_context_create(&options, &context, &error));
    return context;
}

enum { MOST_LINES = 4000 };

START_TEST(a_program_does_what_it_says)
{
    static const char *codes[MOST_LINES];
    Run run = {.block = &programs.items[_i], .context = data_context()};
    char name[512], *text = at_its_place(run.block);
    snprintf(name, sizeof name, "%s/%s", CM_SOURCE_DIR, run.block->page);
    bool refused = refusals_of(run.block, codes, text + run.block->line);
    expect_layout(run.block, run.context);
    cm_error *error = NULL;
    cm_status status = cm_load_text(run.context, name, text, strlen(text), NULL, &run.program, &error);
    if (status == CM_OK)
        status = cm_check(run.program, &error);
    if (refused) {
        expect_refusals(run.block, codes, MOST_LINES, error);
    } else {
        ck_assert_msg(status == CM_OK, "%s", cm_error_text(error));
        make_weights(&run);
        expect_results(&run);
    }
    cm_error_free(error);
    cm_parameters_free(run.weights);
    cm_program_free(run.program);
    cm_context_free(run.context);
    free(text);
}
END_TEST

static TCase *documents(void)
{
    TCase *test = tcase_create("programs");
    blocks_select(&programs, is_program);
    tcase_set_timeout(test, 60);
    tcase_add_loop_test(test, a_program_does_what_it_says, 0, programs.count);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {documents, NULL};
    return run_suite("docs_programs", cases);
}
