/* The graph IR by its text: what parses verifies, prints back to the same text, and computes what it says. */
#include "ir/ir.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static IrModule *parse(Arena *arena, const char *text)
{
    Source *source = arena_new_of(arena, Source);
    *source = (Source){"test.ir", arena_copy_text(arena, text, strlen(text)), strlen(text)};
    DiagSink diags = diag_sink_new(arena);
    IrModule *module = ir_parse(arena, source, &diags);
    Text messages = text_new(arena);
    diag_render_all(&diags, &messages);
    ck_assert_msg(module != NULL, "%s", messages.data);
    ck_assert_msg(ir_verify(module, &diags), "does not verify");
    return module;
}

/* sum over axis 1 of x * x, then the root */
static IrModule *norms(Arena *arena)
{
    IrModule *module = ir_module_new(arena);
    IrFunc *func = ir_func_new(module, "norms");
    IrRef x = ir_param(func, ir_type(DT_f32, 2, (int64_t[]){2, 3}), "x");
    IrRef total = ir_reduce(func, OP_sum, ir_binary(func, OP_mul, x, x), (int64_t[]){1}, 1);
    ir_result(func, ir_unary(func, OP_sqrt, total), "norm");
    return module;
}

START_TEST(printing_and_parsing_are_inverse)
{
    Arena *arena = arena_new(NULL, NULL);
    Text first = text_new(arena), second = text_new(arena);
    ir_print(norms(arena), &first);
    ir_print(parse(arena, first.data), &second);
    ck_assert_str_eq(first.data, second.data);
    arena_free(arena);
}
END_TEST

START_TEST(the_interpreter_computes_norms)
{
    Arena *arena = arena_new(NULL, NULL);
    IrModule *module = norms(arena);
    EvalTensor x = eval_tensor_new(arena, ir_type(DT_f32, 2, (int64_t[]){2, 3}));
    float values[] = {1, 2, 2, 0, 3, 4};
    eval_tensor_read(&x, values);
    EvalTensor norm = eval_tensor_new(arena, ir_type(DT_f32, 1, (int64_t[]){2}));
    ck_assert(ir_eval(arena, module->funcs.items[0], EVAL_declared, &x, &norm));
    ck_assert_double_eq(norm.real[0], 3);
    ck_assert_double_eq(norm.real[1], 5);
    arena_free(arena);
}
END_TEST

START_TEST(philox_gives_its_known_answers)
{
    uint32_t out[4], zeros[4] = {0}, ones[4] = {~0u, ~0u, ~0u, ~0u};
    philox_4x32_10(zeros, zeros, out);
    ck_assert_uint_eq(out[0], 0x6627e8d5);
    ck_assert_uint_eq(out[3], 0x9b00dbd8);
    philox_4x32_10(ones, ones, out);
    ck_assert_uint_eq(out[0], 0x408f276d);
    ck_assert_uint_eq(out[3], 0x6d5451fd);
}
END_TEST

START_TEST(text_that_is_no_module_is_refused)
{
    static const char *const broken[] = {"func", "func @f(%x: f32[", "func @f() -> () {\n  %1 = nothing %0\n}\n", "\xff\x00{"};
    Arena *arena = arena_new(NULL, NULL);
    Source source = {"broken.ir", broken[_i], strlen(broken[_i])};
    DiagSink diags = diag_sink_new(arena);
    ck_assert_ptr_null(ir_parse(arena, &source, &diags));
    ck_assert_int_ge(diags.list.count, 1);
    ck_assert_int_eq(diags.list.items[0].code, DIAG_bad_ir);
    arena_free(arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ir_text");
    TCase *cases = tcase_create("text");
    tcase_add_test(cases, printing_and_parsing_are_inverse);
    tcase_add_test(cases, the_interpreter_computes_norms);
    tcase_add_test(cases, philox_gives_its_known_answers);
    tcase_add_loop_test(cases, text_that_is_no_module_is_refused, 0, 4);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
