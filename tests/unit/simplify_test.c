/* Crops move through convolutions and pads, reshapes that join axes through pointwise nodes: the same bits, in fewer places. */
#include "passes/passes.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

typedef struct Case {
    const char *name, *text;
    const char *kept; /* a line of the simplified function */
    const char *gone; /* what must not be in it; null: nothing */
} Case;

static const Case cases[] = {
    {"gradient by the input of a padded convolution",
     "func @f(%x: f32[2,6,5,3], %w: f32[3,3,3,4]) -> (f32[2,6,5,4]) {\n"
     "  %p = pad %x {lo=[0,2,2,0], hi=[0,2,2,0], inner=[0,0,0,0]} : f32[2,10,9,3]\n"
     "  %c = conv %p, %w {stride=[1,1], dilation=[1,1]} : f32[2,8,7,4]\n"
     "  %y = pad %c {lo=[0,-1,-1,0], hi=[0,-1,-1,0], inner=[0,0,0,0]} : f32[2,6,5,4]\n  return %y\n}\n",
     "pad %x {lo=[0,1,1,0], hi=[0,1,1,0], inner=[0,0,0,0]} : f32[2,8,7,3]", "lo=[0,2,2,0]"},
    {"the same, spread by a stride, and cropped unevenly",
     "func @f(%x: f32[2,3,3,2], %w: f32[3,3,2,2]) -> (f32[2,4,6,2]) {\n"
     "  %p = pad %x {lo=[0,2,2,0], hi=[0,2,2,0], inner=[0,1,1,0]} : f32[2,9,9,2]\n"
     "  %c = conv %p, %w {stride=[1,1], dilation=[1,1]} : f32[2,7,7,2]\n"
     "  %y = pad %c {lo=[0,-3,-1,0], hi=[0,0,0,0], inner=[0,0,0,0]} : f32[2,4,6,2]\n  return %y\n}\n",
     "pad %x {lo=[0,-1,1,0], hi=[0,2,2,0], inner=[0,1,1,0]} : f32[2,6,8,2]", "lo=[0,2,2,0]"},
    {"a crop that undoes a pad",
     "func @f(%x: f32[4,3]) -> (f32[4,3]) {\n  %p = pad %x {lo=[1,0], hi=[2,0], inner=[0,0]} : f32[7,3]\n"
     "  %c = pad %p {lo=[-1,0], hi=[-2,0], inner=[0,0]} : f32[4,3]\n  %y = exp %c : f32[4,3]\n  return %y\n}\n",
     "exp %x", "pad"},
    {"a convolution that is also seen whole",
     "func @f(%x: f32[1,6,2], %w: f32[3,2,2]) -> (f32[1,2,2], f32[1,4,2]) {\n"
     "  %c = conv %x, %w {stride=[1], dilation=[1]} : f32[1,4,2]\n"
     "  %y = pad %c {lo=[0,-1,0], hi=[0,-1,0], inner=[0,0,0]} : f32[1,2,2]\n  return %y, %c\n}\n",
     "slice %c {start=[0,1,0]", NULL},
    {"a crop of channels",
     "func @f(%x: f32[1,6,2], %w: f32[3,2,4]) -> (f32[1,4,2]) {\n  %c = conv %x, %w {stride=[1], dilation=[1]} : f32[1,4,4]\n"
     "  %y = pad %c {lo=[0,0,-1], hi=[0,0,-1], inner=[0,0,0]} : f32[1,4,2]\n  return %y\n}\n",
     "slice %c {start=[0,0,1]", NULL},
    {"a crop of a strided convolution",
     "func @f(%x: f32[1,9,2], %w: f32[3,2,2]) -> (f32[1,2,2]) {\n  %c = conv %x, %w {stride=[2], dilation=[1]} : f32[1,4,2]\n"
     "  %y = pad %c {lo=[0,-1,0], hi=[0,-1,0], inner=[0,0,0]} : f32[1,2,2]\n  return %y\n}\n",
     "slice %c {start=[0,1,0]", NULL},
    {"a normalisation by groups, joined",
     "func @f(%x: f32[2,5,6], %m: f32[2,3]) -> (f32[2,5,6]) {\n  %r = reshape %x : f32[2,5,3,2]\n"
     "  %b = broadcast %m {dims=[0,2]} : f32[2,5,3,2]\n  %d = sub %r, %b : f32[2,5,3,2]\n  %q = mul %d, %d : f32[2,5,3,2]\n"
     "  %y = reshape %q : f32[2,5,6]\n  return %y\n}\n",
     "broadcast %m {dims=[0,1]} : f32[2,3,2]", "f32[2,5,3,2]"},
    {"a whole axis of the joined ones",
     "func @f(%x: f32[4,6], %m: f32[3]) -> (f32[4,6]) {\n  %r = reshape %x : f32[2,2,3,2]\n"
     "  %b = broadcast %m {dims=[2]} : f32[2,2,3,2]\n  %d = add %r, %b : f32[2,2,3,2]\n  %y = reshape %d : f32[4,6]\n"
     "  return %y\n}\n",
     "dims=[1]} : f32[4,6]", "f32[2,2,3,2]"},
    {"joined behind something dear",
     "func @f(%x: f32[4,6]) -> (f32[4,6]) {\n  %r = reshape %x : f32[4,3,2]\n  %e = exp %r : f32[4,3,2]\n"
     "  %c = const 2.0 : f32[4,3,2]\n  %d = mul %e, %c : f32[4,3,2]\n  %y = reshape %d : f32[4,6]\n  return %y\n}\n",
     "reshape %d : f32[4,6]", NULL},
    {"joined behind a contraction",
     "func @f(%x: f32[3,4], %w: f32[4,5]) -> (f32[15]) {\n"
     "  %p = dot %x, %w {lhs_batch=[], rhs_batch=[], lhs_sum=[1], rhs_sum=[0]} : f32[3,5]\n  %c = const 2.0 : f32[3,5]\n"
     "  %d = mul %p, %c : f32[3,5]\n  %y = reshape %d : f32[15]\n  return %y\n}\n",
     "reshape %d : f32[15]", NULL},
};
enum { CASE_COUNT = sizeof cases / sizeof cases[0], MOST = 4 };

static IrModule *parse(Arena *arena, const char *text)
{
    Source *source = arena_new_of(arena, Source);
    *source = (Source){"case.ir", text, strlen(text)};
    DiagSink diags = diag_sink_new(arena);
    IrModule *module = ir_parse(arena, source, &diags);
    Text messages = text_new(arena);
    diag_render_all(&diags, &messages);
    ck_assert_msg(module != NULL, "%s", messages.data);
    return module;
}

static void evaluate(Arena *arena, const IrFunc *func, EvalTensor *args, EvalTensor *results)
{
    for (int i = 0; i < func->results.count; i++)
        results[i] = eval_tensor_new(arena, *ir_type_of(func, func->results.items[i]));
    ck_assert(ir_eval(arena, func, EVAL_wide, args, results));
}

START_TEST(views_move_inwards)
{
    const Case *test = &cases[_i];
    Arena *arena = arena_new(NULL, NULL);
    IrModule *module = parse(arena, test->text);
    IrFunc *func = module->funcs.items[0];
    EvalTensor args[MOST], before[MOST], after[MOST];
    for (int i = 0; i < func->params.count; i++) {
        args[i] = eval_tensor_new(arena, *ir_type_of(func, func->params.items[i]));
        for (int64_t k = 0; k < ir_element_count(&args[i].type); k++)
            args[i].real[k] = (double)rand() / RAND_MAX - 0.5;
    }
    evaluate(arena, func, args, before);
    pass_simplify(module);
    pass_dce(module);
    DiagSink diags = diag_sink_new(arena);
    ck_assert(ir_verify(module, &diags));
    Text text = text_new(arena);
    ir_print(module, &text);
    ck_assert_msg(strstr(text.data, test->kept) != NULL, "%s: no '%s' in\n%s", test->name, test->kept, text.data);
    ck_assert_msg(!test->gone || !strstr(text.data, test->gone), "%s: '%s' is left in\n%s", test->name, test->gone, text.data);
    evaluate(arena, module->funcs.items[0], args, after);
    for (int i = 0; i < func->results.count; i++)
        ck_assert_mem_eq(before[i].real, after[i].real, (size_t)ir_element_count(&before[i].type) * sizeof(double));
    arena_free(arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("simplify");
    TCase *group = tcase_create("views");
    tcase_add_loop_test(group, views_move_inwards, 0, CASE_COUNT);
    suite_add_tcase(suite, group);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
