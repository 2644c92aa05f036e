/* The derivative of every row of ir/prims.def: forward mode against central differences, reverse mode against forward mode,
 * second derivatives likewise.  Pointwise rows are tested as the table has them; the others on the functions of
 * calculus_cases.h and calculus_control_cases.h, and a row without a function there fails by its name. */
#include "tests/unit/calculus_check.h"
#include "tests/unit/calculus_control_cases.h"

#include <stdlib.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

/* ---- the table's columns ---- */

typedef enum Column { COLUMN_partials, COLUMN_no_partials, COLUMN_rule } Column;

static const Column column_of[OP_COUNT] = {
#define OP(name, arity, rule, traits) [OP_##name] =
#define PARTIALS(d0, d1, d2) COLUMN_partials,
#define NO_PARTIALS COLUMN_no_partials,
#define JVP(rule) COLUMN_rule,
#include "ir/prims.def"
};

static bool sample_of(IrOp op, double *low, double *high)
{
    switch (op) {
    default:
#define OP(name, arity, rule, traits)                                                                                          \
    return false;                                                                                                              \
    case OP_##name:
#define SAMPLE(lo, hi)                                                                                                         \
    *low = lo;                                                                                                                 \
    *high = hi;                                                                                                                \
    return true;
#include "ir/prims.def"
        return false;
    }
}

static bool is_transposed(IrOp op)
{
    switch (op) {
    default:
#define OP(name, arity, rule, traits)                                                                                          \
    return false;                                                                                                              \
    case OP_##name:
#define TRANSPOSE(rule) return true;
#include "ir/prims.def"
        return false;
    }
}

/* ---- checks that every function goes through ---- */

static CalculusCheck check_new(Arena *arena, const char *name)
{
    return (CalculusCheck){
        .arena = arena, .name = name, .draws = draws_new(hash_bytes(name, strlen(name), 1)), .low = -2, .high = 2};
}

/* The function with its own forward derivative as a user's rule: the rule must be seen to be linear and give the same. */
static const IrFunc *with_own_rule(const CalculusCheck *check, IrFunc *func)
{
    bool *active = arena_array(check->arena, bool, func->params.count + 1);
    for (int i = 0; i < func->params.count; i++)
        active[i] = check_is_float(func, func->params.items[i]);
    IrFunc *rule = check_jvp(check, func, active);
    rule->results.items += func->results.count;
    rule->result_names.items += func->results.count;
    rule->results.count -= func->results.count;
    rule->result_names.count -= func->results.count;
    IrFunc *out = ir_func_new(func->module, "ruled");
    IrRef *args = arena_array(check->arena, IrRef, func->params.count + 1);
    for (int i = 0; i < func->params.count; i++)
        args[i] = ir_param(out, *ir_type_of(func, func->params.items[i]), NULL);
    IrNode node = {.op = OP_custom, .operand_count = func->params.count, .operands = args, .callee = {func, rule}};
    IrRef custom = ir_emit(out, node);
    for (int i = 0; i < func->results.count; i++)
        ir_result(out, ir_get(out, custom, i), NULL);
    return out;
}

static void check_all(CalculusCheck *check, IrFunc *func)
{
    check_derivatives(check, func);
    check->name = arena_printf(check->arena, "%s, as a rule", check->name);
    const IrFunc *ruled = with_own_rule(check, func);
    check_first(check, ruled, true, "first");
    check_first(check,
                check_vjp(check, ruled, check_choose(check, ruled, ruled->params.items, ruled->params.count, true),
                          check_choose(check, ruled, ruled->results.items, ruled->results.count, true)),
                true, "of vjp");
}

static void check_case(const CalculusCase *test)
{
    Arena *arena = arena_new(NULL, NULL);
    CalculusCheck check = check_new(arena, arena_printf(arena, "%s (%s)", ir_op_info[test->op].name, test->fact));
    IrModule *module = check_parse(arena, check.name, test->text);
    IrFunc *func = ir_func_find(module, "f");
    DiagSink diags = diag_sink_new(arena);
    bool there = false;
    for (int i = 0; i < module->funcs.count; i++)
        for (IrRef ref = 0; ref < module->funcs.items[i]->nodes.count; ref++)
            there |= ir_node(module->funcs.items[i], ref)->op == test->op;
    ck_assert_msg(there, "%s: the function is about something else", check.name);
    ck_assert(pass_derive(module, &diags));
    check_all(&check, func);
    arena_free(arena);
}

/* ---- pointwise rows ---- */

typedef struct PointwiseFunc {
    IrFunc *func;
    IrRef operands[3];
} PointwiseFunc;

static PointwiseFunc pointwise_func(Arena *arena, int arity, DType dtype, bool one_param)
{
    PointwiseFunc made = {.func = ir_func_new(ir_module_new(arena), "f")};
    IrType type = ir_type(dtype, 1, (int64_t[]){6});
    for (int i = 0; i < arity; i++)
        made.operands[i] = i && one_param ? made.operands[0] : ir_param(made.func, type, NULL);
    return made;
}

/* op(x, y), and op(x, x). */
static void check_partials(IrOp op)
{
    for (int variant = 0; variant < 4; variant++) {
        Arena *arena = arena_new(NULL, NULL);
        DType dtype = variant % 2 ? DT_f64 : DT_f32;
        CalculusCheck check = check_new(arena, ir_op_info[op].name);
        ck_assert_msg(sample_of(op, &check.low, &check.high), "%s: no SAMPLE says where to test it", check.name);
        int arity = ir_op_info[op].arity;
        PointwiseFunc made = pointwise_func(arena, arity, dtype, variant / 2);
        IrNode node = {.op = op, .operand_count = arity, .operands = made.operands};
        ir_result(made.func, ir_emit(made.func, node), NULL);
        check.ignore_difference = op == OP_stop_grad; /* that is what it is for */
        check_all(&check, made.func);
        arena_free(arena);
    }
}

/* x as an operand of another type: a cast or a comparison ends its tangent. */
static IrRef without_tangent(IrFunc *func, IrRef x, DType dtype)
{
    if (dtype == DT_bool)
        return ir_binary(func, OP_lt, x, ir_const(func, *ir_type_of(func, x), 0.3));
    return ir_cast(func, x, dtype);
}

/* x * op(x, y): only the factor x has a derivative. */
static void check_no_partials(IrOp op)
{
    static const DType dtypes[] = {DT_f32, DT_i32, DT_u32, DT_bool};
    int tested = 0;
    for (int d = 0; d < COUNT(dtypes); d++) {
        Arena *arena = arena_new(NULL, NULL);
        CalculusCheck check = check_new(arena, ir_op_info[op].name);
        PointwiseFunc made = pointwise_func(arena, 2, DT_f32, false);
        IrRef operands[3];
        IrType type;
        for (int i = 0; i < 2; i++)
            operands[i] = without_tangent(made.func, made.operands[i], dtypes[d]);
        IrNode node = {.op = op, .operand_count = ir_op_info[op].arity, .operands = operands};
        if (!ir_infer(arena, made.func, &node, &type)) {
            IrRef factor = ir_cast(made.func, ir_emit(made.func, node), DT_f32);
            ir_result(made.func, ir_binary(made.func, OP_mul, made.operands[0], factor), NULL);
            ir_result(made.func, factor, NULL);
            check_all(&check, made.func);
            tested++;
        }
        arena_free(arena);
    }
    ck_assert_msg(tested > 0, "%s: takes no type that the test has", ir_op_info[op].name);
}

START_TEST(the_derivatives_of_a_row_agree)
{
    IrOp op = (IrOp)_i;
    int cases = 0;
    if (column_of[op] == COLUMN_partials)
        check_partials(op);
    else if (column_of[op] == COLUMN_no_partials)
        check_no_partials(op);
    for (int i = 0; i < COUNT(structural_cases); i++) {
        if (structural_cases[i].op == op)
            check_case(&structural_cases[i]), cases++;
    }
    for (int i = 0; i < COUNT(control_cases); i++)
        cases += control_cases[i].op == op; /* their own test runs them */
    ck_assert_msg(cases || column_of[op] != COLUMN_rule, "%s: no function in calculus_cases.h tests its derivative",
                  ir_op_info[op].name);
}
END_TEST

START_TEST(the_derivatives_of_control_agree)
{
    check_case(&control_cases[_i]);
}
END_TEST

/* ---- what a rule of a user may not do ---- */

/* A rule that applies the primitive to the tangent. */
START_TEST(a_rule_uses_only_what_can_be_transposed)
{
    IrOp op = (IrOp)_i;
    if (column_of[op] != COLUMN_partials || ir_op_info[op].arity > 2)
        return;
    Arena *arena = arena_new(NULL, NULL);
    CalculusCheck check = check_new(arena, ir_op_info[op].name);
    IrFunc *func = pointwise_func(arena, 1, DT_f32, false).func;
    ir_result(func, func->params.items[0], NULL);
    IrFunc *rule = ir_func_new(func->module, "rule"), *outer = ir_func_new(func->module, "outer");
    IrType type = *ir_type_of(func, func->params.items[0]);
    ir_param(rule, type, NULL);
    IrRef tangent = ir_param(rule, type, NULL), x = ir_param(outer, type, NULL);
    IrRef operands[2] = {tangent, op == OP_mul || op == OP_div ? rule->params.items[0] : tangent};
    ir_result(rule, ir_emit(rule, (IrNode){.op = op, .operand_count = ir_op_info[op].arity, .operands = operands}), NULL);
    IrNode node = {.op = OP_custom, .operand_count = 1, .operands = &x, .callee = {func, rule}};
    ir_result(outer, ir_get(outer, ir_emit(outer, node), 0), NULL);
    DiagSink diags = diag_sink_new(arena);
    bool taken = derive_jvp(func->module, outer, (bool[]){true}, &diags) != NULL;
    ck_assert_msg(taken == is_transposed(op), "%s: a rule with it is %s", check.name, taken ? "taken" : "refused");
    if (!taken)
        ck_assert_int_eq(diags.list.items[0].code, DIAG_rule_not_linear);
    arena_free(arena);
}
END_TEST

/* ---- what has no derivative yet ---- */

/* A row with JVP(none) is an error at its place, in both modes. */
START_TEST(a_row_without_derivative_is_an_error)
{
    static const char *const rule_of[OP_COUNT] = {
#define OP(name, arity, rule, traits) [OP_##name] =
#define PARTIALS(d0, d1, d2) "",
#define NO_PARTIALS "",
#define JVP(rule) #rule,
#include "ir/prims.def"
    };
    const CalculusCase *test = &control_cases[_i];
    if (strcmp(rule_of[test->op], "none"))
        return;
    for (int reverse = 0; reverse < 2; reverse++) {
        Arena *arena = arena_new(NULL, NULL);
        IrFunc *func = ir_func_find(check_parse(arena, test->fact, test->text), "f");
        DiagSink diags = diag_sink_new(arena);
        bool *active = arena_array(arena, bool, func->params.count), *seeded = arena_array(arena, bool, func->results.count);
        active[0] = seeded[0] = true;
        const IrFunc *made =
            reverse ? derive_vjp(func->module, func, active, seeded, &diags) : derive_jvp(func->module, func, active, &diags);
        const char *name = ir_op_info[test->op].name;
        if (ir_node(func, func->params.count)->op != test->op) { /* within a loop: the error is there, too */
            ck_assert_ptr_null(made);
        } else {
            ck_assert_msg(!made && diags.list.count == 1, "%s: no error", name);
            const Diag *diag = &diags.list.items[0];
            ck_assert_int_eq(diag->code, DIAG_no_derivative);
            ck_assert_msg(strstr(diag->text, name) != NULL, "%s", diag->text);
            ck_assert_ptr_nonnull(diag->span.source);
            ck_assert_ptr_nonnull(
                memmem(diag->span.source->text + diag->span.start, diag->span.end - diag->span.start, name, strlen(name)));
        }
        arena_free(arena);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("calculus");
    TCase *rows = tcase_create("rows");
    tcase_add_loop_test(rows, the_derivatives_of_a_row_agree, 0, OP_COUNT);
    tcase_add_loop_test(rows, the_derivatives_of_control_agree, 0, COUNT(control_cases));
    tcase_add_loop_test(rows, a_rule_uses_only_what_can_be_transposed, 0, OP_COUNT);
    tcase_add_loop_test(rows, a_row_without_derivative_is_an_error, 0, COUNT(control_cases));
    suite_add_tcase(suite, rows);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
