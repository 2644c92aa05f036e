/* Passes: each file under tests/golden/PASS is a module, the passes to run on it, and what they leave.
 *
 * Besides the text, each file is checked for meaning: a graph computes the same bits before and after, and a plan computes,
 * kernel by kernel in the interpreter, what its graph does.  Graphs and kernels print what parses back to the same text.
 * Under tests/golden/build are programs and the graphs that the front end makes of them. */
#include "frontend/program.h"
#include "tests/unit/golden.h"
#include "passes/passes.h"
#include "tests/unit/plan_run.h"
#include "runtime/std.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static Arena *names;
static GoldenPaths passes, builds;

/* ---- text ---- */

static void expect_no_messages(Arena *arena, const Golden *golden, const DiagSink *diags)
{
    Text messages = text_new(arena);
    diag_render_all(diags, &messages);
    ck_assert_msg(!diags->list.count, "%s: %s", golden->path, messages.data);
}

static IrModule *parse_module(Arena *arena, const Golden *golden, const char *text, size_t length)
{
    Source *source = arena_new_of(arena, Source);
    *source = (Source){golden->name, arena_copy_text(arena, text, length), length};
    DiagSink diags = diag_sink_new(arena);
    IrModule *module = ir_parse(arena, source, &diags);
    if (module)
        ir_verify(module, &diags);
    expect_no_messages(arena, golden, &diags);
    return module;
}

static const char *print_module(Arena *arena, const IrModule *module)
{
    Text text = text_new(arena);
    ir_print(module, &text);
    return text.data;
}

static void check_module_text(Arena *arena, const Golden *golden, const IrModule *module)
{
    const char *text = print_module(arena, module);
    ck_assert_str_eq(print_module(arena, parse_module(arena, golden, text, strlen(text))), text);
}

static const char *print_kernel(Arena *arena, const Kernel *kernel)
{
    Text text = text_new(arena);
    kernel_print(kernel, &text);
    return text.data;
}

static void check_kernel_text(Arena *arena, const Golden *golden, const Kernel *kernel)
{
    const char *text = print_kernel(arena, kernel);
    Source *source = arena_new_of(arena, Source);
    *source = (Source){kernel->name, text, strlen(text)};
    DiagSink diags = diag_sink_new(arena);
    Kernel *again = kernel_parse(arena, source, &diags);
    if (again)
        kernel_verify(again, &diags);
    expect_no_messages(arena, golden, &diags);
    ck_assert_str_eq(print_kernel(arena, again), text);
}

/* ---- meaning ---- */

typedef struct Values { /* of the params or results of a function: for the interpreter, and as bytes */
    int count;
    EvalTensor *tensors;
    void **bytes;
} Values;

static Values values_new(Arena *arena, const IrFunc *func, const IrRef *refs, int count)
{
    Values values = {count, arena_array(arena, EvalTensor, count + 1), arena_array(arena, void *, count + 1)};
    for (int i = 0; i < count; i++) {
        const IrType *type = ir_type_of(func, refs[i]);
        values.tensors[i] = eval_tensor_new(arena, *type);
        values.bytes[i] = arena_alloc(arena, (size_t)(ir_element_count(type) * dtype_size(type->dtype)) + 1);
    }
    return values;
}

/* Arguments that are the same every time: floats around 0, small whole numbers, truths in turn. */
static Values values_drawn(Arena *arena, const IrFunc *func)
{
    Values values = values_new(arena, func, func->params.items, func->params.count);
    unsigned state = 7;
    for (int i = 0; i < values.count; i++) {
        EvalTensor *tensor = &values.tensors[i];
        for (int64_t j = 0; j < ir_element_count(&tensor->type); j++) {
            state = state * 1664525u + 1013904223u;
            double draw = (double)(state >> 8) / (1 << 24);
            if (dtype_class(tensor->type.dtype) == CLASS_int)
                tensor->integer[j] = (int64_t)(4 * draw);
            else
                tensor->real[j] = tensor->type.dtype == DT_bool ? draw < 0.5 : dtype_round(tensor->type.dtype, 4 * draw - 2);
        }
        eval_tensor_write(tensor, values.bytes[i]);
    }
    return values;
}

static bool has_calculus(const IrModule *module)
{
    for (int i = 0; i < module->funcs.count; i++) {
        for (IrRef ref = 0; ref < module->funcs.items[i]->nodes.count; ref++) {
            if (ir_op_info[ir_node(module->funcs.items[i], ref)->op].traits & TRAIT_calculus)
                return true;
        }
    }
    return false;
}

static Values evaluate(Arena *arena, const Golden *golden, const IrFunc *func, EvalMode mode)
{
    Values args = values_drawn(arena, func), results = values_new(arena, func, func->results.items, func->results.count);
    ck_assert_msg(ir_eval(arena, func, mode, args.tensors, results.tensors), "%s: is not run", golden->path);
    for (int i = 0; i < results.count; i++)
        eval_tensor_write(&results.tensors[i], results.bytes[i]);
    return results;
}

static void expect_same_bits(const Golden *golden, const Values *before, const Values *after)
{
    for (int i = 0; i < before->count; i++) {
        const IrType *type = &before->tensors[i].type;
        size_t size = (size_t)(ir_element_count(type) * dtype_size(type->dtype));
        ck_assert_msg(!memcmp(before->bytes[i], after->bytes[i], size), "%s: result %d has other bits", golden->path, i);
    }
}

static void expect_near(Arena *arena, const Golden *golden, const Values *wanted, void *const *got)
{
    for (int i = 0; i < wanted->count; i++) {
        const EvalTensor *want = &wanted->tensors[i];
        EvalTensor have = eval_tensor_new(arena, want->type);
        eval_tensor_read(&have, got[i]);
        double largest = 0, error = 0;
        for (int64_t j = 0; j < ir_element_count(&want->type); j++) {
            bool whole = dtype_class(want->type.dtype) == CLASS_int;
            double a = whole ? (double)want->integer[j] : want->real[j], b = whole ? (double)have.integer[j] : have.real[j];
            ck_assert_msg(isfinite(a) ? isfinite(b)
                          : isnan(a)  ? isnan(b)
                                      : a == b,
                          "%s: result %d: %g, not %g", golden->path, i, b, a);
            largest = isfinite(a) ? fmax(largest, fabs(a)) : largest;
            error = isfinite(a) ? fmax(error, fabs(a - b)) : error;
        }
        double bound = want->type.dtype == DT_f64 ? 1e-12 : want->type.dtype == DT_f32 ? 1e-5 : 1e-2;
        ck_assert_msg(error <= bound * largest, "%s: result %d: error %g of %g", golden->path, i, error, largest);
    }
}

static void check_plan(Arena *arena, const Golden *golden, const IrFunc *func, const Plan *plan, bool placed)
{
    Values args = values_drawn(arena, func), wanted = evaluate(arena, golden, func, EVAL_declared);
    Values results = values_new(arena, func, func->results.items, func->results.count);
    plan_run(arena, plan, placed, args.bytes, results.bytes);
    expect_near(arena, golden, &wanted, results.bytes);
    for (int i = 0; i < plan->kernels.count; i++)
        check_kernel_text(arena, golden, plan->kernels.items[i]);
}

/* ---- running one file ---- */

static void run_graph_pass(const Golden *golden, PassId pass, IrModule *module, const LowerOptions *options, DiagSink *diags)
{
    static void (*const functions[PASS_COUNT])(IrModule *) = {
        [PASS_inline] = pass_inline, [PASS_simplify] = pass_simplify, [PASS_cse] = pass_cse,
        [PASS_dce] = pass_dce,       [PASS_licm] = pass_licm,         [PASS_legalise] = pass_legalise,
    };
    if (pass == PASS_derive)
        pass_derive(module, diags);
    else if (pass == PASS_stream)
        pass_stream(module, 0);
    else if (pass == PASS_remat)
        pass_remat(module, module->funcs.items[0], options);
    else if (functions[pass])
        functions[pass](module);
    else
        ck_abort_msg("%s: no graph pass: %s", golden->path, pass_name(pass));
    ir_verify(module, diags);
}

static Plan *run_plan_pass(Arena *arena, PassId pass, const IrFunc *func, Plan *plan, const LowerOptions *options,
                           DiagSink *diags)
{
    if (pass == PASS_fuse)
        plan = pass_fuse(arena, func, options, diags);
    if (pass == PASS_expand)
        pass_expand(plan, options);
    if (pass == PASS_plan)
        pass_plan(plan, options, diags);
    return plan;
}

/* `# run: simplify dce fuse`; `# option: no_fuse`, or `fast`; `# memory: 1000`.  Returns the text that is left. */
static const char *run_passes(Arena *arena, const Golden *golden, IrModule *module)
{
    DiagSink diags = diag_sink_new(arena);
    const char *line = golden_word(arena, golden, "run", 0), *option = golden_word(arena, golden, "option", 0);
    const char *memory = golden_word(arena, golden, "memory", 0);
    LowerOptions options = {.no_fuse = option && !strcmp(option, "no_fuse"),
                            .fast = option && !strcmp(option, "fast"),
                            .memory_limit = memory ? strtoll(memory, NULL, 10) : 0};
    IrFunc *func = module->funcs.items[0];
    bool comparable = !has_calculus(module);
    Values before = comparable ? evaluate(arena, golden, func, EVAL_declared) : (Values){0};
    Plan *plan = NULL;
    PassId pass = PASS_build;
    ck_assert_msg(line != NULL, "%s: no line `# run: ...`", golden->path);
    for (char *word = strtok(arena_copy_text(arena, line, strlen(line)), " "); word; word = strtok(NULL, " ")) {
        ck_assert_msg(pass_from_name(word, &pass), "%s: no pass: %s", golden->path, word);
        if (pass == PASS_fuse || plan)
            plan = run_plan_pass(arena, pass, func, plan, &options, &diags);
        else
            run_graph_pass(golden, pass, module, &options, &diags);
        expect_no_messages(arena, golden, &diags);
    }
    Text text = text_new(arena);
    if (plan) {
        plan_print(plan, &text);
        check_plan(arena, golden, func, plan, pass == PASS_plan);
        return text.data;
    }
    Values after = evaluate(arena, golden, func, EVAL_declared);
    if (comparable && strstr(line, pass_name(PASS_stream))) /* sums in another order */
        expect_near(arena, golden, &before, after.bytes);
    else if (comparable)
        expect_same_bits(golden, &before, &after);
    check_module_text(arena, golden, module);
    return print_module(arena, module);
}

START_TEST(passes_leave_what_is_expected)
{
    Arena *arena = arena_new(NULL, NULL);
    Golden golden = golden_read(arena, passes.items[_i]);
    IrModule *module = parse_module(arena, &golden, golden.text.text, golden.text.length);
    check_module_text(arena, &golden, module);
    golden_compare(arena, &golden, run_passes(arena, &golden, module));
    arena_free(arena);
}
END_TEST

/* ---- the first pass: from a program to a graph ---- */

static const char *read_library(void *state, Arena *arena, const char *path, const char **text, size_t *length)
{
    (void)state, (void)arena;
    for (const StdText *own = std_texts; own->name; own++) {
        if (strcmp(own->name, path))
            continue;
        *text = own->text;
        *length = own->length;
        return NULL;
    }
    return "there is no such file";
}

START_TEST(programs_become_graphs)
{
    Arena *arena = arena_new(NULL, NULL);
    Golden golden = golden_read(arena, builds.items[_i]);
    Source *source = arena_new_of(arena, Source);
    *source = (Source){golden.name, arena_copy_text(arena, golden.text.text, golden.text.length), golden.text.length};
    DiagSink diags = diag_sink_new(arena);
    ProgramReader reader = {read_library, NULL};
    Program *program = program_load(arena, source, &reader, NULL, 0, &diags);
    expect_no_messages(arena, &golden, &diags);
    Specialised *made = program_specialise(program, arena, program_entry(program, 0), NULL, 0, &diags);
    if (made)
        ir_verify(made->module, &diags);
    expect_no_messages(arena, &golden, &diags);
    check_module_text(arena, &golden, made->module);
    golden_compare(arena, &golden, print_module(arena, made->module));
    arena_free(arena);
}
END_TEST

START_TEST(each_pass_has_files)
{
    Arena *arena = arena_new(NULL, NULL);
    const char *folder = arena_printf(arena, "/golden/%s/", pass_name((PassId)_i));
    const GoldenPaths *paths = _i == PASS_build ? &builds : &passes;
    int count = 0;
    for (int i = 0; i < paths->count; i++)
        count += strstr(paths->items[i], folder) != NULL;
    ck_assert_msg(count > 0, "nothing under tests%s", folder);
    arena_free(arena);
}
END_TEST

int main(void)
{
    names = arena_new(NULL, NULL);
    builds = golden_find(names, CM_SOURCE_DIR "/tests/golden/build", ".cm");
    for (int pass = PASS_build + 1; pass < PASS_COUNT; pass++) {
        const char *folder = arena_printf(names, "%s/tests/golden/%s", CM_SOURCE_DIR, pass_name((PassId)pass));
        GoldenPaths found = golden_find(names, folder, ".ir");
        for (int i = 0; i < found.count; i++)
            list_push(names, &passes, found.items[i]);
    }
    Suite *suite = suite_create("pass_golden");
    TCase *cases = tcase_create("passes");
    tcase_set_timeout(cases, 30);
    tcase_add_loop_test(cases, passes_leave_what_is_expected, 0, passes.count);
    tcase_add_loop_test(cases, programs_become_graphs, 0, builds.count);
    tcase_add_loop_test(cases, each_pass_has_files, 0, PASS_COUNT);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    arena_free(names);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
