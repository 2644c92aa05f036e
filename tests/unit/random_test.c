/* Random programs: the interpreter, each pass, and unfused and fused machine code on several vector widths agree, on the
 * programs and on their derivatives; of some also shaders, on a device for which little is much.
 *
 * CM_RANDOM_PROGRAMS says how many (200), CM_RANDOM_SEED where to start, CM_RANDOM_VULKAN how many there are for each that
 * Vulkan runs, too (6; 0: it runs none).  A program that fails is printed, made smaller. */
#include "backends/cpu/cpu_internal.h"
#include "passes/passes.h"
#include "passes/rebuild.h"
#include "tests/random/program.h"
#include "tests/random/vulkan.h"
#include "tests/unit/plan_run.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a program, ready to run ---- */

typedef struct Subject {
    Arena *arena;
    const char *text; /* of the module, without calculus nodes */
    const char *entry;
    const IrFunc *func;
    const EvalTensor *args;
    EvalTensor *wide, *declared; /* what the interpreter computes */
    bool *comparable;            /* by result: well-conditioned */
    double unit;
    const Backend *backend;
    const char *cpu; /* null: this machine */
    int threads;
} Subject;

static const char *text_of(Arena *arena, const IrModule *module)
{
    Text text = text_new(arena);
    ir_print(module, &text);
    return text.data;
}

static IrModule *parse(Arena *arena, const char *text)
{
    Source *source = arena_new_of(arena, Source);
    *source = (Source){"random.ir", text, strlen(text)};
    DiagSink diags = diag_sink_new(arena);
    IrModule *module = ir_parse(arena, source, &diags);
    Text messages = text_new(arena);
    diag_render_all(&diags, &messages);
    ck_assert_msg(module != NULL, "%s", messages.data);
    return module;
}

static EvalTensor *interpret(Arena *arena, const IrFunc *func, EvalMode mode, const EvalTensor *args)
{
    EvalTensor *results = arena_array(arena, EvalTensor, func->results.count + 1);
    ck_assert(ir_eval(arena, func, mode, args, results));
    return results;
}

/* ---- agreement: max |a - b| / max |b|, at most 1e-5 in f32 ---- */

static double bound_of(double unit)
{
    return unit == 0x1p-53 ? 1e-11 : unit == 0x1p-24 ? 1e-5 : 64 * unit;
}

static double error_of(const EvalTensor *got, const EvalTensor *want)
{
    double largest = 0, error = 0;
    for (int64_t i = 0; i < ir_element_count(&want->type); i++) {
        if (want->integer) {
            error += got->integer[i] != want->integer[i];
            continue;
        }
        double x = got->real[i], y = want->real[i];
        bool same = x == y || (isnan(x) && isnan(y));
        largest = fmax(largest, fabs(y));
        error = fmax(error, same ? 0 : isfinite(x - y) ? fabs(x - y) : INFINITY);
    }
    return want->type.dtype == DT_bool || want->integer || !error ? error : error / largest;
}

/* ---- conditioning ---- */

static bool rounds(const IrNode *node)
{
    static const IrOp exact[] = {OP_neg, OP_abs, OP_sign, OP_floor, OP_ceil, OP_round, OP_stop_grad, OP_max, OP_min, OP_select};
    bool rounded = dtype_is_float(node->type.dtype) && node->op != OP_get && node->op != OP_take;
    rounded &= !(ir_op_info[node->op].traits & (TRAIT_leaf | TRAIT_view | TRAIT_control));
    rounded &= node->op != OP_reduce_max && node->op != OP_reduce_min;
    for (size_t i = 0; i < sizeof exact / sizeof *exact; i++)
        rounded &= node->op != exact[i];
    return rounded;
}

/* x times numbers near 1 that differ from element to element, as far from it as `roundings` go together. */
static IrRef with_noise(IrFunc *func, IrRef x, double roundings, Draws *draws)
{
    IrType type = *ir_type_of(func, x);
    IrRef angle = ir_const(func, type, draw_real(draws, 0, 6));
    for (int axis = 0; axis < type.rank; axis++) {
        IrRef step = ir_const(func, type, draw_real(draws, 1, 3));
        angle = ir_binary(func, OP_add, angle, ir_binary(func, OP_mul, ir_iota(func, type, axis), step));
    }
    IrRef size = ir_const(func, type, 2 * sqrt(roundings) * rounding_unit(type.dtype));
    IrRef noise = ir_binary(func, OP_mul, size, ir_unary(func, OP_sin, angle));
    return ir_binary(func, OP_mul, x, ir_binary(func, OP_add, noise, ir_const(func, type, 1)));
}

/* How many terms an element of a sum has, as a mean (of a contraction, which adds in several chains, fewer): so many roundings
 * a term meets on its way.  put_add adds in memory, where what is rounded is the sum so far, as large as all of them. */
static double terms_of(const IrFunc *func, const IrNode *node)
{
    double most = 1;
    for (int i = 0; i < node->operand_count; i++)
        most = fmax(most, (double)ir_element_count(ir_type_of(func, node->operands[i])));
    double terms = fmax(1, most / fmax(1, (double)ir_element_count(&node->type)));
    return node->op == OP_put_add ? terms * terms : terms;
}

/* Noise on each result that is rounded; on the terms of a sum, which are rounded as they are added. */
static void add_noise(IrFunc *func, Draws *draws)
{
    Rebuild rebuild = rebuild_begin(func);
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        const IrNode *node = ir_node(func, ref);
        bool sums = ir_op_info[node->op].traits & (TRAIT_reduce | TRAIT_contract) || node->op == OP_put_add;
        IrRef kept[3];
        for (int i = 0; rounds(node) && sums && i < node->operand_count; i++) {
            IrRef *operand = &rebuild.map[node->operands[i]];
            kept[i] = *operand;
            if (dtype_is_float(ir_type_of(rebuild.into, *operand)->dtype))
                *operand = with_noise(rebuild.into, *operand, terms_of(func, node), draws);
        }
        IrRef made = rebuild_copy(&rebuild, ref);
        for (int i = node->operand_count - 1; rounds(node) && sums && i >= 0; i--)
            rebuild.map[node->operands[i]] = kept[i];
        if (rounds(node))
            rebuild.map[ref] = with_noise(rebuild.into, made, 1, draws);
    }
    rebuild_end(&rebuild, func);
}

/* A result is compared if noise of the size of rounding moves it by a quarter of the bound at most, and so does rounding. */
static void find_comparable(Subject *subject, uint64_t seed)
{
    int count = subject->func->results.count;
    Draws draws = draws_new(seed);
    subject->comparable = arena_array(subject->arena, bool, count + 1);
    for (int i = 0; i < count; i++)
        subject->comparable[i] = error_of(&subject->declared[i], &subject->wide[i]) <= bound_of(subject->unit) / 4;
    for (int trial = 0; trial < 3; trial++) {
        IrModule *module = parse(subject->arena, subject->text);
        for (int i = 0; i < module->funcs.count; i++)
            add_noise(module->funcs.items[i], &draws);
        const IrFunc *func = ir_func_find(module, subject->entry);
        const EvalTensor *noisy = interpret(subject->arena, func, EVAL_wide, subject->args);
        for (int i = 0; i < count; i++)
            subject->comparable[i] &= error_of(&noisy[i], &subject->wide[i]) <= bound_of(subject->unit) / 4;
    }
}

static Subject subject_of(Arena *arena, const IrFunc *func, const EvalTensor *args, double unit, uint64_t seed)
{
    static const char *const cpus[] = {NULL, "x86-64-v3", "x86-64"};
    Subject subject = {.arena = arena,
                       .text = text_of(arena, func->module),
                       .entry = func->name,
                       .func = func,
                       .args = args,
                       .wide = interpret(arena, func, EVAL_wide, args),
                       .declared = interpret(arena, func, EVAL_declared, args),
                       .unit = unit,
                       .backend = &backend_cpu,
                       .cpu = cpus[seed % 3],
                       .threads = 1 + seed / 3 % 2};
    find_comparable(&subject, seed);
    return subject;
}

/* ---- machine code ---- */

static void **memory_of(Arena *arena, const EvalTensor *tensors, int count, bool filled)
{
    void **memory = arena_array(arena, void *, count + 1);
    for (int i = 0; i < count; i++) {
        const IrType *type = &tensors[i].type;
        memory[i] = arena_alloc(arena, (size_t)(ir_element_count(type) * dtype_size(type->dtype)) + 64);
        if (filled)
            eval_tensor_write(&tensors[i], memory[i]);
    }
    return memory;
}

static Plan *plan_of(const Subject *subject, bool no_fuse)
{
    IrModule *module = parse(subject->arena, subject->text);
    PipelineOptions options = {.lower = {.no_fuse = no_fuse}, .stop_after = -1};
    DiagSink diags = diag_sink_new(subject->arena);
    Plan *plan = pipeline_run(module, subject->entry, &options, &diags);
    bool fine = plan && plan_verify(plan, &diags);
    Text messages = text_new(subject->arena);
    diag_render_all(&diags, &messages);
    ck_assert_msg(fine, "%s", messages.data);
    return plan;
}

static Device *open_device(const Subject *subject, Pool *pool)
{
    Device *device;
#ifdef CM_BACKEND_VULKAN
    const char *reason;
    if (subject->backend == &backend_vulkan) {
        device = open_small_vulkan(subject->arena, pool, &reason);
        ck_assert_msg(device != NULL, "%s", reason);
        return device;
    }
#endif
    ck_assert_ptr_null(backend_cpu.open(subject->arena, &(DeviceOptions){.pool = pool}, &device));
    if (subject->cpu && strncmp(device->target.triple, "x86_64", 6) == 0) {
        device->target.cpu = subject->cpu;
        device->target.features = "";
        target_complete(&device->target);
    }
    return device;
}

static EvalTensor *read_results(const Subject *subject, void **outputs)
{
    int results = subject->func->results.count;
    EvalTensor *got = arena_array(subject->arena, EvalTensor, results + 1);
    for (int i = 0; i < results; i++) {
        got[i] = eval_tensor_new(subject->arena, subject->wide[i].type);
        eval_tensor_read(&got[i], outputs[i]);
    }
    return got;
}

static EvalTensor *run_code(const Subject *subject, bool no_fuse)
{
    Arena *arena = subject->arena;
    int results = subject->func->results.count;
    void **inputs = memory_of(arena, subject->args, subject->func->params.count, true);
    void **outputs = memory_of(arena, subject->wide, results, false);
    Pool *pool = pool_new(subject->threads);
    Device *device = open_device(subject, pool);
    Executable *executable;
    Instance *instance;
    CompileStats stats;
    const Backend *backend = subject->backend;
    const char *reason = backend->compile(arena, device, plan_of(subject, no_fuse), &executable, &stats);
    ck_assert_msg(!reason, "%s", reason);
    ck_assert_ptr_null(backend->instantiate(arena, executable, &instance));
    ck_assert_ptr_null(backend->run(arena, instance, inputs, outputs, NULL));
    backend->discard(instance);
    backend->release(executable);
    backend->close(device);
    pool_free(pool);
    return read_results(subject, outputs);
}

/* The first result that differs, or -1. */
static int wrong_result(const Subject *subject, const EvalTensor *got)
{
    for (int i = 0; i < subject->func->results.count; i++)
        if (subject->comparable[i] && !(error_of(&got[i], &subject->wide[i]) <= bound_of(subject->unit)))
            return i;
    return -1;
}

/* ---- a smaller program: one value as the only result, the first that differs ---- */

static Subject reduced(const Subject *subject, IrRef ref)
{
    IrModule *module = parse(subject->arena, subject->text);
    IrFunc *func = ir_func_find(module, subject->entry);
    func->results.count = func->result_names.count = 0;
    ir_result(func, ref, NULL);
    pass_dce(module);
    Subject smaller = subject_of(subject->arena, func, subject->args, subject->unit, 0);
    smaller.backend = subject->backend;
    smaller.cpu = subject->cpu;
    smaller.threads = subject->threads;
    return smaller;
}

static const char *smallest(const Subject *subject, bool no_fuse)
{
    const IrFunc *func = ir_func_find(parse(subject->arena, subject->text), subject->entry);
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        if (ir_op_info[ir_node(func, ref)->op].traits & TRAIT_control)
            continue;
        Subject smaller = reduced(subject, ref);
        if (wrong_result(&smaller, run_code(&smaller, no_fuse)) >= 0)
            return smaller.text;
    }
    return subject->text;
}

static void check_code(const Subject *subject, const char *what, uint64_t seed)
{
    for (int no_fuse = 1; no_fuse >= 0; no_fuse--) {
        const EvalTensor *got = run_code(subject, no_fuse);
        int wrong = wrong_result(subject, got);
        if (wrong < 0)
            continue;
        const char *where = subject->backend != &backend_cpu ? subject->backend->name
                            : subject->cpu                   ? subject->cpu
                                                             : "this CPU";
        fprintf(stderr, "# %s of seed %llu, %s code on %s: wrong\n%s", what, (unsigned long long)seed,
                no_fuse ? "unfused" : "fused", where, smallest(subject, no_fuse));
        ck_abort_msg("%s of seed %llu: result %d of %s code is wrong by %g", what, (unsigned long long)seed, wrong,
                     no_fuse ? "unfused" : "fused", error_of(&got[wrong], &subject->wide[wrong]));
    }
}

/* ---- passes: those of the graph leave the bits as they are, those that make kernels what they mean ---- */

/* The first result of other bits, or -1. */
static int changed_result(const Subject *subject, const EvalTensor *got)
{
    int count = subject->func->results.count;
    void **left = memory_of(subject->arena, got, count, true),
         **right = memory_of(subject->arena, subject->declared, count, true);
    for (int i = 0; i < count; i++) {
        size_t size = (size_t)(ir_element_count(&got[i].type) * dtype_size(got[i].type.dtype));
        if (memcmp(left[i], right[i], size) && error_of(&got[i], &subject->declared[i]) != 0)
            return i;
    }
    return -1;
}

/* With as little memory as can be. */
static IrModule *module_after(const Subject *subject, PassId pass)
{
    IrModule *module = parse(subject->arena, subject->text);
    PipelineOptions options = {.lower = {.memory_limit = 1}, .stop_after = (int)pass};
    DiagSink diags = diag_sink_new(subject->arena);
    pipeline_run(module, subject->entry, &options, &diags);
    ck_assert_int_eq(diags.list.count, 0);
    return module;
}

static EvalTensor *run_graph(const Subject *subject, PassId pass)
{
    const IrFunc *func = ir_func_find(module_after(subject, pass), subject->entry);
    return interpret(subject->arena, func, EVAL_declared, subject->args);
}

/* By the interpreter of kernels; of every second program, of what is left when values are computed again. */
static EvalTensor *run_kernels(const Subject *subject, PassId pass, bool no_fuse)
{
    Arena *arena = subject->arena;
    IrModule *module = module_after(subject, subject->threads > 1 ? PASS_remat : PASS_legalise);
    LowerOptions options = {.no_fuse = no_fuse};
    DiagSink diags = diag_sink_new(arena);
    Plan *plan = pass_fuse(arena, ir_func_find(module, subject->entry), &options, &diags);
    if (pass >= PASS_expand)
        pass_expand(plan, &options);
    if (pass >= PASS_plan)
        ck_assert(pass_plan(plan, &options, &diags));
    void **inputs = memory_of(arena, subject->args, subject->func->params.count, true);
    void **outputs = memory_of(arena, subject->wide, subject->func->results.count, false);
    plan_run(arena, plan, pass >= PASS_plan, inputs, outputs);
    return read_results(subject, outputs);
}

static void check_pass(const Subject *subject, const char *what, uint64_t seed, PassId pass, bool no_fuse)
{
    const EvalTensor *got = pass < PASS_fuse ? run_graph(subject, pass) : run_kernels(subject, pass, no_fuse);
    int wrong = pass < PASS_fuse ? changed_result(subject, got) : wrong_result(subject, got);
    if (wrong < 0)
        return;
    const EvalTensor *want = pass < PASS_fuse ? subject->declared : subject->wide;
    fprintf(stderr, "# %s of seed %llu: result %d is wrong after %s\n%s", what, (unsigned long long)seed, wrong,
            pass_name(pass), subject->text);
    ck_abort_msg("%s of seed %llu: %s%s changes result %d by %g", what, (unsigned long long)seed, pass_name(pass),
                 no_fuse ? ", of each node alone," : "", wrong, error_of(&got[wrong], &want[wrong]));
}

static void check_passes(const Subject *subject, const char *what, uint64_t seed)
{
    for (int pass = PASS_derive; pass < PASS_COUNT; pass++) {
        check_pass(subject, what, seed, (PassId)pass, false);
        if (pass >= PASS_fuse)
            check_pass(subject, what, seed, (PassId)pass, true);
    }
}

/* ---- a program and its derivatives ---- */

static void check_text(const RandomProgram *program, Arena *arena)
{
    const char *text = text_of(arena, program->module), *again = text_of(arena, parse(arena, text));
    ck_assert_str_eq(text, again);
}

static uint64_t number_of(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void check_subject(Arena *arena, const IrFunc *func, const EvalTensor *args, double unit, const char *what,
                          uint64_t seed)
{
    Subject subject = subject_of(arena, func, args, unit, seed);
    check_passes(&subject, what, seed);
    check_code(&subject, what, seed);
#ifdef CM_BACKEND_VULKAN
    uint64_t each = number_of("CM_RANDOM_VULKAN", 6);
    subject.backend = &backend_vulkan;
    if (each && seed % each == 0)
        check_code(&subject, what, seed);
#endif
}

/* Its tangents or cotangents, by every float. */
static void check_derivative(Arena *arena, const RandomProgram *program, bool reverse, uint64_t seed)
{
    IrFunc *func = program->func;
    int params = func->params.count, results = func->results.count;
    DiagSink diags = diag_sink_new(arena);
    Draws draws = draws_new(seed + 1);
    bool *active = arena_array(arena, bool, params + 1), *seeded = arena_array(arena, bool, results + 1);
    for (int i = 0; i < params; i++)
        active[i] = dtype_is_float(ir_type_of(func, func->params.items[i])->dtype);
    for (int i = 0; i < results; i++)
        seeded[i] = dtype_is_float(ir_type_of(func, func->results.items[i])->dtype);
    const IrFunc *derived =
        reverse ? derive_vjp(program->module, func, active, seeded, &diags) : derive_jvp(program->module, func, active, &diags);
    ck_assert_msg(derived != NULL, "seed %llu: no derivative", (unsigned long long)seed);
    EvalTensor *args = arena_array(arena, EvalTensor, derived->params.count + 1);
    memcpy(args, program->args, sizeof *args * (size_t)params);
    for (int i = params; i < derived->params.count; i++)
        args[i] = draw_tensor(arena, &draws, *ir_type_of(derived, derived->params.items[i]), -1, 1, 0, 0);
    check_subject(arena, derived, args, program->unit, reverse ? "vjp" : "jvp", seed);
}

START_TEST(random_programs_agree)
{
    uint64_t seed = number_of("CM_RANDOM_SEED", 0) + (uint64_t)_i;
    Arena *arena = arena_new(NULL, NULL);
    RandomProgram program = random_program(arena, seed, false);
    DiagSink diags = diag_sink_new(arena);
    ck_assert(ir_verify(program.module, &diags));
    if (getenv("CM_RANDOM_PRINT"))
        fprintf(stderr, "# seed %llu\n%s\n", (unsigned long long)seed, text_of(arena, program.module));
    check_text(&program, arena);
    ck_assert(pass_derive(program.module, &diags));
    check_subject(arena, program.func, program.args, program.unit, "program", seed);
    if (seed % 2 == 0)
        check_derivative(arena, &program, seed % 4 == 0, seed);
    arena_free(arena);
}
END_TEST

/* ---- the generator itself ---- */

enum { SURVEYED = 200 };

/* Every row is in some program, and few results are too ill-conditioned to be compared. */
START_TEST(programs_cover_the_table)
{
    int uses[OP_COUNT] = {0}, results = 0, comparable = 0;
    for (uint64_t seed = 0; seed < SURVEYED; seed++) {
        Arena *arena = arena_new(NULL, NULL);
        RandomProgram program = random_program(arena, seed, false);
        for (int f = 0; f < program.module->funcs.count; f++)
            for (IrRef ref = 0; ref < program.module->funcs.items[f]->nodes.count; ref++)
                uses[ir_node(program.module->funcs.items[f], ref)->op]++;
        DiagSink diags = diag_sink_new(arena);
        ck_assert(pass_derive(program.module, &diags));
        Subject subject = subject_of(arena, program.func, program.args, program.unit, seed);
        for (int i = 0; i < program.func->results.count; i++)
            comparable += subject.comparable[i];
        results += program.func->results.count;
        arena_free(arena);
    }
    for (int op = 0; op < OP_COUNT; op++)
        ck_assert_msg(uses[op] > 0, "no random program has `%s`", ir_op_info[op].name);
    ck_assert_msg(comparable >= 0.95 * results, "%d of %d results can be compared", comparable, results);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("random programs");
    TCase *programs = tcase_create("programs");
    tcase_add_loop_test(programs, random_programs_agree, 0, (int)number_of("CM_RANDOM_PROGRAMS", 200));
    tcase_add_test(programs, programs_cover_the_table);
    suite_add_tcase(suite, programs);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
