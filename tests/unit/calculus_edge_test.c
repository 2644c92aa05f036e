/* Derivatives where difference quotients say nothing: the conventions at kinks that ir/prims.def states, rules that are not
 * the derivative of the values, and what is refused, with its place. */
#include "tests/unit/calculus_check.h"

#include <stdlib.h>

#define COUNT(array) ((int)(sizeof(array) / sizeof(array)[0]))

static CalculusCheck check_new(Arena *arena, const char *name)
{
    return (CalculusCheck){.arena = arena, .name = name, .draws = draws_new(1), .low = -2, .high = 2};
}

/* ---- kinks ---- */

enum { KINK_SIZE = 4 };

/* @f takes one or two f32[4]; `want` is the gradient of the sum of its result by each. */
typedef struct Kink {
    const char *fact, *text;
    double at[2][KINK_SIZE], want[2][KINK_SIZE];
} Kink;

#define POINTWISE1(op) "func @f(%x: f32[4]) { %y = " #op " %x : f32[4] return %y }"
#define POINTWISE2(op) "func @f(%x: f32[4], %y: f32[4]) { %z = " #op " %x, %y : f32[4] return %z }"

static const Kink kinks[] = {
    {"max of equals passes the first", POINTWISE2(max), {{1, -2, 0, 3}, {1, -2, -0.0, 4}}, {{1, 1, 1, 0}, {0, 0, 0, 1}}},
    {"min of equals passes the first", POINTWISE2(min), {{1, -2, 0, 5}, {1, -2, -0.0, 4}}, {{1, 1, 1, 0}, {0, 0, 0, 1}}},
    {"max with a constant 0, the constant second: relu has slope 1 at 0",
     "func @f(%x: f32[4]) { %c = const 0.0 : f32[4] %y = max %x, %c : f32[4] return %y }",
     {{0, -0.0, 1, -1}},
     {{1, 1, 1, 0}}},
    {"max with a constant 0, the constant first: slope 0 at 0",
     "func @f(%x: f32[4]) { %c = const 0.0 : f32[4] %y = max %c, %x : f32[4] return %y }",
     {{0, -0.0, 1, -1}},
     {{0, 0, 1, 0}}},
    {"abs has slope 0 at 0", POINTWISE1(abs), {{0, -0.0, 2, -3}}, {{0, 0, 1, -1}}},
    {"sign has slope 0, at 0 too", POINTWISE1(sign), {{0, -0.0, 2, -3}}, {{0, 0, 0, 0}}},
    {"floor has slope 0 where it jumps", POINTWISE1(floor), {{0, 1, -1, 2}}, {{0, 0, 0, 0}}},
    {"ceil has slope 0 where it jumps", POINTWISE1(ceil), {{0, 1, -1, 2}}, {{0, 0, 0, 0}}},
    {"round has slope 0 where it jumps", POINTWISE1(round), {{0.5, 1.5, -0.5, 2.5}}, {{0, 0, 0, 0}}},
    {"rem has the slopes of the quotient that it took",
     POINTWISE2(rem),
     {{4, 5, -4, 6}, {2, 5, 2, 4}},
     {{1, 1, 1, 1}, {-2, -1, 2, -1}}},
    {"stop_grad has none", POINTWISE1(stop_grad), {{1, 2, 3, 4}}, {{0, 0, 0, 0}}},
    {"stop_grad of one factor",
     "func @f(%x: f32[4]) { %s = stop_grad %x : f32[4] %y = mul %s, %x : f32[4] return %y }",
     {{1, 2, 3, 4}},
     {{1, 2, 3, 4}}},
    {"a power of 0 by its base",
     "func @f(%x: f32[4]) { %c = const 2.0 : f32[4] %y = pow %x, %c : f32[4] return %y }",
     {{0, -1, 2, -0.0}},
     {{0, -2, 4, 0}}},
    {"a power of 0, and one with exponent 0",
     POINTWISE2(pow),
     {{0, 0, 3, -0.0}, {2, 3, 0, 2}},
     {{0, 0, 0, 0}, {0, 0, 1.0986122886681098, 0}}},
    {"a power of 0 with exponent 0 by its base: 0^0 is 1",
     "func @f(%x: f32[4], %y: f32[4]) { %s = stop_grad %y : f32[4] %z = pow %x, %s : f32[4] return %z }",
     {{0, -0.0, 0, 2}, {0, 0, 1, 0}},
     {{0, 0, 1, 0}, {0, 0, 0, 0}}},
    {"a cast to i32 ends the tangent",
     "func @f(%x: f32[4]) { %i = cast %x : i32[4] %y = cast %i : f32[4] return %y }",
     {{1, 2.5, -1, 0}},
     {{0, 0, 0, 0}}},
    {"reduce_max of equals passes the first",
     "func @f(%x: f32[4]) { %y = reduce_max %x {axes=[0]} : f32 return %y }",
     {{1, 5, 5, 5}},
     {{0, 1, 0, 0}}},
    {"reduce_min of equals passes the first",
     "func @f(%x: f32[4]) { %y = reduce_min %x {axes=[0]} : f32 return %y }",
     {{2, -1, 5, -1}},
     {{0, 1, 0, 0}}},
    {"reduce_max over two axes passes the first in row-major order",
     "func @f(%x: f32[4]) { %m = reshape %x : f32[2,2] %y = reduce_max %m {axes=[1,0]} : f32 return %y }",
     {{3, 7, 7, 7}},
     {{0, 1, 0, 0}}},
    {"reduce_max of columns that are equal",
     "func @f(%x: f32[4]) { %m = reshape %x : f32[2,2] %y = reduce_max %m {axes=[0]} : f32[2] return %y }",
     {{3, 7, 3, 8}},
     {{1, 0, 0, 1}}},
    {"a read outside has none",
     "func @f(%x: f32[4]) { %i = literal [-1, 4, 2, 2147483647, -2147483648, 2] : i32[6]"
     " %y = take %x, %i {axis=[0], batch=[0]} : f32[6] return %y }",
     {{1, 2, 3, 4}},
     {{0, 0, 2, 0}}},
    {"a write outside has none",
     "func @f(%x: f32[4], %u: f32[4]) { %i = literal [-1, 4, 2, 2] : i32[4]"
     " %y = put_add %x, %i, %u {axis=[0], batch=[0]} : f32[4] return %y }",
     {{1, 2, 3, 4}, {1, 1, 1, 1}},
     {{1, 1, 1, 1}, {0, 0, 1, 1}}},
    {"select passes the side that is taken, whatever the other is",
     "func @f(%x: f32[4]) { %z = const 0.0 : f32[4] %b = lt %z, %x : bool[4] %s = sqrt %x : f32[4]"
     " %y = select %b, %x, %z : f32[4] return %y }",
     {{0, -1, 2, -0.0}},
     {{0, 0, 1, 0}}},
};

static EvalTensor *tensors(Arena *arena, const IrFunc *func, const double (*values)[KINK_SIZE], int more)
{
    EvalTensor *made = arena_array(arena, EvalTensor, 2 * func->params.count + more);
    for (int p = 0; p < func->params.count; p++) {
        made[p] = eval_tensor_new(arena, *ir_type_of(func, func->params.items[p]));
        memcpy(made[p].real, values[p], sizeof values[p]);
    }
    return made;
}

static EvalTensor ones(Arena *arena, IrType type)
{
    EvalTensor made = eval_tensor_new(arena, type);
    for (int64_t i = 0; i < ir_element_count(&type); i++)
        made.real[i] = 1;
    return made;
}

START_TEST(a_kink_has_the_slope_that_the_table_says)
{
    const Kink *kink = &kinks[_i];
    Arena *arena = arena_new(NULL, NULL);
    CalculusCheck check = check_new(arena, kink->fact);
    const IrFunc *func = check_parse(arena, kink->fact, kink->text)->funcs.items[0];
    int params = func->params.count;
    const bool both[] = {true, true};
    EvalTensor *args = tensors(arena, func, kink->at, 1);
    args[params] = ones(arena, *ir_type_of(func, func->results.items[0]));
    const EvalTensor *back = check_eval(&check, check_vjp(&check, func, both, both), args);
    double wanted = 0;
    for (int p = 0; p < params; p++) {
        args[params + p] = eval_tensor_new(arena, args[p].type);
        for (int i = 0; i < KINK_SIZE; i++) {
            ck_assert_msg(back[1 + p].real[i] == kink->want[p][i], "%s: gradient %d at %d is %g, not %g", kink->fact, p, i,
                          back[1 + p].real[i], kink->want[p][i]);
            args[params + p].real[i] = pow(10, i + KINK_SIZE * p);
            wanted += args[params + p].real[i] * kink->want[p][i];
        }
    }
    const EvalTensor *ahead = check_eval(&check, check_jvp(&check, func, both), args);
    double sum = 0;
    for (int64_t i = 0; i < ir_element_count(&ahead[1].type); i++)
        sum += ahead[1].real[i];
    ck_assert_msg(sum == wanted, "%s: tangents add up to %.17g, not %.17g", kink->fact, sum, wanted);
    arena_free(arena);
}
END_TEST

START_TEST(the_extreme_of_nothing_is_a_constant)
{
    Arena *arena = arena_new(NULL, NULL);
    CalculusCheck check = check_new(arena, "reduce_max of nothing");
    const IrFunc *func = check_parse(arena, check.name,
                                     "func @f(%x: f32[2,0]) { %y = reduce_max %x {axes=[1]} : f32[2]"
                                     " %z = prod %x {axes=[1]} : f32[2] return %y, %z }")
                             ->funcs.items[0];
    EvalTensor args[2];
    args[0] = args[1] = eval_tensor_new(arena, *ir_type_of(func, func->params.items[0]));
    const EvalTensor *got = check_eval(&check, check_jvp(&check, func, (bool[]){true}), args);
    for (int i = 0; i < 2; i++) {
        ck_assert_double_eq(got[0].real[i], -(double)INFINITY);
        ck_assert_double_eq(got[1].real[i], 1);
        ck_assert_double_eq(got[2].real[i], 0);
        ck_assert_double_eq(got[3].real[i], 0);
    }
    arena_free(arena);
}
END_TEST

/* ---- a rule is followed, whatever the values are ---- */

/* round(x), with the derivative of x: a straight-through estimator. */
START_TEST(a_rule_takes_the_place_of_the_derivative)
{
    Arena *arena = arena_new(NULL, NULL);
    CalculusCheck check = check_new(arena, "straight through");
    IrModule *module = check_parse(arena, check.name,
                                   "func @round(%x: f32[3]) { %y = round %x : f32[3] return %y }"
                                   " func @rule(%x: f32[3], %t: f32[3]) { return %t }"
                                   " func @f(%x: f32[3]) { %r = custom %x @round, @rule %y = get %r {index=[0]} : f32[3]"
                                   " %z = mul %y, %x : f32[3] return %z }");
    const IrFunc *func = ir_func_find(module, "f");
    EvalTensor args[2] = {draw_tensor(arena, &check.draws, ir_type(DT_f32, 1, (int64_t[]){3}), -5, 5, 0, 0)};
    args[1] = ones(arena, args[0].type);
    const bool yes[] = {true};
    const EvalTensor *back = check_eval(&check, check_vjp(&check, func, yes, yes), args);
    const EvalTensor *ahead = check_eval(&check, check_jvp(&check, func, yes), args);
    for (int i = 0; i < 3; i++) {
        double x = args[0].real[i];
        ck_assert_double_eq(back[0].real[i], rint(x) * x);
        ck_assert_double_eq(back[1].real[i], rint(x) + x);
        ck_assert_double_eq(ahead[1].real[i], rint(x) + x);
    }
    check.ignore_difference = true;
    check_derivatives(&check, func);
    arena_free(arena);
}
END_TEST

/* The derivative of a derivative goes through the rule, not through the function. */
START_TEST(a_second_derivative_goes_through_the_rule)
{
    Arena *arena = arena_new(NULL, NULL);
    CalculusCheck check = check_new(arena, "a rule twice");
    IrModule *module = check_parse(arena, check.name,
                                   "func @sin(%x: f32) { %y = sin %x : f32 return %y }"
                                   " func @rule(%x: f32, %t: f32) { %q = mul %x, %x : f32 %y = mul %q, %t : f32 return %y }"
                                   " func @f(%x: f32) { %r = custom %x @sin, @rule %y = get %r {index=[0]} : f32 return %y }");
    const bool yes[] = {true};
    const IrFunc *slope = check_vjp(&check, ir_func_find(module, "f"), yes, yes);
    const IrFunc *bend = check_vjp(&check, slope, (bool[]){true, false}, (bool[]){false, true});
    EvalTensor args[3];
    for (int i = 0; i < 3; i++)
        args[i] = ones(arena, ir_scalar(DT_f32));
    args[0].real[0] = 0.75;
    ck_assert_double_eq(check_eval(&check, slope, args)[1].real[0], 0.75 * 0.75);
    ck_assert_double_eq(check_eval(&check, bend, args)[2].real[0], 2 * 0.75);
    arena_free(arena);
}
END_TEST

/* ---- what is refused ---- */

/* @f is derived by its first param, from its first result; `at` is the text that the error points to. */
typedef struct Refusal {
    const char *fact, *text, *at;
    DiagCode code;
    bool only_reverse;
} Refusal;

#define RULE(body)                                                                                                             \
    "func @g(%x: f32[2]) { return %x } func @rule(%x: f32[2], %t: f32[2]) { " body " }"                                        \
    " func @f(%x: f32[2]) { %r = custom %x @g, @rule %y = get %r {index=[0]} : f32[2] return %y }"

static const Refusal refusals[] = {
    {"an integer has no tangent", "func @f(%i: i32) { %y = cast %i : f32 return %y }", "%i: i32", DIAG_integer_tangent, false},
    {"a loop without bound",
     "func @more(%x: f32) { %c = const 0.5 : f32 %b = lt %c, %x : bool return %b }"
     " func @turn(%x: f32) { %y = sin %x : f32 return %y }"
     " func @f(%x: f32) { %r = while %x {bound=[0], carries=[1]} @more, @turn %y = get %r {index=[0]} : f32 return %y }",
     "while", DIAG_unbounded_reverse, true},
    {"a tape with too many axes",
     "func @turn(%i: i32, %x: f32[1,1,1,1,1,1,1,1,1,1,1,1]) { %y = mul %x, %x : f32[1,1,1,1,1,1,1,1,1,1,1,1] return %y }"
     " func @f(%x: f32[1,1,1,1,1,1,1,1,1,1,1,1]) { %n = const 2 : i32 %r = for %n, %x {bound=[2], carries=[1]} @turn"
     " %y = get %r {index=[0]} : f32[1,1,1,1,1,1,1,1,1,1,1,1] return %y }",
     "for", DIAG_no_derivative, true},
    {"a rule adds a value", RULE("%y = add %t, %x : f32[2] return %y"), "add", DIAG_rule_not_linear, false},
    {"a rule subtracts a constant", RULE("%c = const 1.0 : f32[2] %y = sub %t, %c : f32[2] return %y"), "sub",
     DIAG_rule_not_linear, false},
    {"a rule multiplies two tangents", RULE("%y = mul %t, %t : f32[2] return %y"), "mul", DIAG_rule_not_linear, false},
    {"a rule divides by the tangent", RULE("%y = div %x, %t : f32[2] return %y"), "div", DIAG_rule_not_linear, false},
    {"a rule contracts two tangents",
     RULE("%y = dot %t, %t {lhs_batch=[0], rhs_batch=[0], lhs_sum=[], rhs_sum=[]} : f32[2] return %y"), "dot",
     DIAG_rule_not_linear, false},
    {"a rule returns a value", RULE("return %x"), "%x: f32[2], %t", DIAG_rule_not_linear, false},
    {"a rule takes the sine of a tangent", RULE("%y = sin %t : f32[2] return %y"), "sin", DIAG_rule_not_linear, false},
    {"a rule takes the maximum of tangents",
     RULE("%m = reduce_max %t {axes=[0]} : f32 %y = broadcast %m {dims=[]} : f32[2] return %y"), "reduce_max",
     DIAG_rule_not_linear, false},
    {"a rule decides by the tangent", RULE("%b = lt %t, %x : bool[2] %y = select %b, %t, %t : f32[2] return %y"), "lt",
     DIAG_rule_not_linear, false},
    {"a rule multiplies tangents that it has written",
     RULE("%i = literal [0, 1] : i32[2] %z = const 0.0 : f32[2] %p = put_add %z, %i, %t {axis=[0], batch=[0]} : f32[2]"
          " %y = mul %p, %t : f32[2] return %y"),
     "mul", DIAG_rule_not_linear, false},
    {"a rule concatenates tangents and values",
     RULE("%c = concat %t, %x {axis=[0]} : f32[4] %y = slice %c {start=[0], stop=[2], step=[1]} : f32[2] return %y"), "concat",
     DIAG_rule_not_linear, false},
    {"a rule's function is not linear",
     "func @h(%t: f32[2]) { %y = mul %t, %t : f32[2] return %y } " RULE(
         "%c = call %t @h %y = get %c {index=[0]} : f32[2] return %y"),
     "mul", DIAG_rule_not_linear, false},
    {"a rule's loop raises the tangent to a power",
     "func @turn(%i: i32, %a: f32[2], %t: f32[2]) { %y = mul %a, %t : f32[2] return %y } " RULE(
         "%n = const 2 : i32 %o = const 1.0 : f32[2] %l = for %n, %o, %t {bound=[2], carries=[1]} @turn"
         " %y = get %l {index=[0]} : f32[2] return %y"),
     "", DIAG_rule_not_linear, false},
    {"a rule's branches differ in kind",
     "func @yes(%t: f32[2], %x: f32[2]) { return %t } func @no(%t: f32[2], %x: f32[2]) { return %x } " RULE(
         "%b = const 1 : bool %q = if %b, %t, %x @yes, @no %y = get %q {index=[0]} : f32[2] return %y"),
     "if", DIAG_rule_not_linear, false},
};

START_TEST(what_has_no_derivative_is_refused_at_its_place)
{
    const Refusal *test = &refusals[_i];
    for (int reverse = 0; reverse < 2; reverse++) {
        Arena *arena = arena_new(NULL, NULL);
        IrModule *module = check_parse(arena, test->fact, test->text);
        IrFunc *func = ir_func_find(module, "f");
        int before = module->funcs.count;
        DiagSink diags = diag_sink_new(arena);
        const bool yes[] = {true};
        const IrFunc *made = reverse ? derive_vjp(module, func, yes, yes, &diags) : derive_jvp(module, func, yes, &diags);
        ck_assert_msg(made || module->funcs.count == before, "%s: half a function is left", test->fact);
        if (test->only_reverse && !reverse) {
            ck_assert_msg(made && !diags.list.count, "%s: forward mode needs it not", test->fact);
        } else {
            ck_assert_msg(!made && diags.list.count == 1, "%s: %d errors", test->fact, diags.list.count);
            const Diag *diag = &diags.list.items[0];
            ck_assert_msg(diag->code == test->code, "%s: %s: %s", test->fact, diag_code_name(diag->code), diag->text);
            ck_assert_msg(diag->span.source != NULL, "%s: no place", test->fact);
            const char *at = diag->span.source->text + diag->span.start;
            size_t length = diag->span.end - diag->span.start;
            ck_assert_msg(memmem(at, length, test->at, strlen(test->at)) || strncmp(at, test->at, strlen(test->at)) == 0,
                          "%s: the error is at `%.*s`", test->fact, (int)length, at);
        }
        arena_free(arena);
    }
}
END_TEST

/* pass_derive gives the error of the inner function and leaves the rest alone. */
START_TEST(the_pass_refuses_too)
{
    Arena *arena = arena_new(NULL, NULL);
    const Refusal *test = &refusals[1];
    Text text = text_new(arena);
    text_printf(&text,
                "%s func @g(%%x: f32) { %%c = const 1.0 : f32 %%r = vjp %%x, %%c {active=[0], seeds=[0]} @f"
                " %%y = get %%r {index=[1]} : f32 return %%y }",
                test->text);
    IrModule *module = check_parse(arena, test->fact, text.data);
    DiagSink diags = diag_sink_new(arena);
    ck_assert(!pass_derive(module, &diags));
    ck_assert_int_eq(diags.list.count, 1);
    ck_assert_int_eq(diags.list.items[0].code, DIAG_unbounded_reverse);
    arena_free(arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("calculus at the edges");
    TCase *edges = tcase_create("edges");
    tcase_add_loop_test(edges, a_kink_has_the_slope_that_the_table_says, 0, COUNT(kinks));
    tcase_add_test(edges, the_extreme_of_nothing_is_a_constant);
    tcase_add_test(edges, a_rule_takes_the_place_of_the_derivative);
    tcase_add_test(edges, a_second_derivative_goes_through_the_rule);
    tcase_add_loop_test(edges, what_has_no_derivative_is_refused_at_its_place, 0, COUNT(refusals));
    tcase_add_test(edges, the_pass_refuses_too);
    suite_add_tcase(suite, edges);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
