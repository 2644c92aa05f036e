/* From graph to machine code: fused, unfused and interpreted results of small functions agree.
 *
 * Each case is a function in the text form of the IR; its inputs are drawn in [-1, 1].  Everything from fusion to the CPU
 * backend runs, with one thread and with two. */
#include "backends/backend.h"
#include "passes/passes.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Case {
    const char *name, *text;
} Case;

static const Case cases[] = {
    {"map", "func @f(%x: f32[7,33], %y: f32[7,33]) -> (f32[7,33]) {\n"
            "  %a = mul %x, %y : f32[7,33]\n  %b = exp %a : f32[7,33]\n  %c = add %b, %x : f32[7,33]\n  return %c\n}\n"},
    {"broadcast", "func @f(%x: f32[5,17], %s: f32[5]) -> (f32[5,17]) {\n"
                  "  %b = broadcast %s {dims=[0]} : f32[5,17]\n  %c = mul %x, %b : f32[5,17]\n  return %c\n}\n"},
    {"row_sum", "func @f(%x: f32[9,40]) -> (f32[9]) {\n"
                "  %a = mul %x, %x : f32[9,40]\n  %s = sum %a {axes=[1]} : f32[9]\n  %r = sqrt %s : f32[9]\n  return %r\n}\n"},
    {"column_sum", "func @f(%x: f32[40,19]) -> (f32[19]) {\n  %s = sum %x {axes=[0]} : f32[19]\n  return %s\n}\n"},
    {"large_sum", "func @f(%x: f32[64,512]) -> (f32) {\n  %s = sum %x {axes=[0,1]} : f32\n  return %s\n}\n"},
    {"softmax", "func @f(%x: f32[6,50]) -> (f32[6,50]) {\n"
                "  %m = reduce_max %x {axes=[1]} : f32[6]\n  %mb = broadcast %m {dims=[0]} : f32[6,50]\n"
                "  %d = sub %x, %mb : f32[6,50]\n  %e = exp %d : f32[6,50]\n  %s = sum %e {axes=[1]} : f32[6]\n"
                "  %sb = broadcast %s {dims=[0]} : f32[6,50]\n  %p = div %e, %sb : f32[6,50]\n  return %p\n}\n"},
    {"dot", "func @f(%x: f32[37,20], %w: f32[20,45], %b: f32[45]) -> (f32[37,45]) {\n"
            "  %y = dot %x, %w {lhs_batch=[], rhs_batch=[], lhs_sum=[1], rhs_sum=[0]} : f32[37,45]\n"
            "  %c = broadcast %b {dims=[1]} : f32[37,45]\n  %z = add %y, %c : f32[37,45]\n  %t = tanh %z : f32[37,45]\n"
            "  return %t\n}\n"},
    {"dot_batch_transposed", "func @f(%q: f32[3,11,8], %k: f32[3,13,8]) -> (f32[3,11,13]) {\n"
                             "  %s = dot %q, %k {lhs_batch=[0], rhs_batch=[0], lhs_sum=[2], rhs_sum=[2]} : f32[3,11,13]\n"
                             "  return %s\n}\n"},
    {"conv_padded", "func @f(%x: f32[2,9,9,5], %w: f32[3,3,5,18]) -> (f32[2,9,9,18]) {\n"
                    "  %p = pad %x {lo=[0,1,1,0], hi=[0,1,1,0], inner=[0,0,0,0]} : f32[2,11,11,5]\n"
                    "  %y = conv %p, %w {stride=[1,1], dilation=[1,1]} : f32[2,9,9,18]\n  return %y\n}\n"},
    {"conv_strided", "func @f(%x: f32[2,9,9,4], %w: f32[3,3,4,16]) -> (f32[2,4,4,16]) {\n"
                     "  %y = conv %x, %w {stride=[2,2], dilation=[1,1]} : f32[2,4,4,16]\n  return %y\n}\n"},
    {"conv_of_a_spread_array", /* the gradient by the input of a convolution with strides 2 and 3 */
     "func @f(%x: f32[2,4,3,5], %w: f32[3,4,5,18]) -> (f32[2,9,10,18]) {\n"
     "  %p = pad %x {lo=[0,2,3,0], hi=[0,2,3,0], inner=[0,1,2,0]} : f32[2,11,13,5]\n"
     "  %y = conv %p, %w {stride=[1,1], dilation=[1,1]} : f32[2,9,10,18]\n  return %y\n}\n"},
    {"conv_of_a_spread_and_cut_array", "func @f(%x: f32[2,5,2], %w: f32[2,2,3]) -> (f32[2,9,3]) {\n"
                                       "  %p = pad %x {lo=[0,-1,0], hi=[0,-2,0], inner=[0,2,0]} : f32[2,10,2]\n"
                                       "  %y = conv %p, %w {stride=[1], dilation=[1]} : f32[2,9,3]\n  return %y\n}\n"},
    {"conv_of_an_array_spread_beyond_the_window", /* some results see no element */
     "func @f(%x: f32[1,3,2], %w: f32[2,2,3]) -> (f32[1,12,3]) {\n"
     "  %p = pad %x {lo=[0,1,0], hi=[0,3,0], inner=[0,3,0]} : f32[1,13,2]\n"
     "  %y = conv %p, %w {stride=[1], dilation=[1]} : f32[1,12,3]\n  return %y\n}\n"},
    {"concat", "func @f(%x: f32[4,5], %y: f32[4,6]) -> (f32[4,11]) {\n"
               "  %n = neg %y : f32[4,6]\n  %c = concat %x, %n {axis=[1]} : f32[4,11]\n  return %c\n}\n"},
    {"pad_inner", "func @f(%x: f32[3,4]) -> (f32[3,9]) {\n"
                  "  %p = pad %x {lo=[0,1], hi=[0,1], inner=[0,1]} : f32[3,9]\n  return %p\n}\n"},
    {"pad_inner_of_reverse", "func @f(%x: f32[3,4]) -> (f32[3,9]) {\n"
                             "  %e = exp %x : f32[3,4]\n  %r = reverse %e {axes=[1]} : f32[3,4]\n"
                             "  %p = pad %r {lo=[0,1], hi=[0,1], inner=[0,1]} : f32[3,9]\n  return %p\n}\n"},
    {"views", "func @f(%x: f32[6,8]) -> (f32[4,6]) {\n"
              "  %t = transpose %x {perm=[1,0]} : f32[8,6]\n  %s = slice %t {start=[1,0], stop=[8,6], step=[2,1]} : f32[4,6]\n"
              "  %r = reverse %s {axes=[0]} : f32[4,6]\n  return %r\n}\n"},
    {"split_and_merge",
     "func @f(%x: f32[4,12]) -> (f32[12,4]) {\n"
     "  %e = exp %x : f32[4,12]\n  %r = reshape %e : f32[4,3,4]\n  %t = transpose %r {perm=[1,0,2]} : f32[3,4,4]\n"
     "  %m = reshape %t : f32[12,4]\n  return %m\n}\n"},
    {"cumsum", "func @f(%x: f32[5,21]) -> (f32[5,21]) {\n  %c = cumsum %x {axis=[1]} : f32[5,21]\n  return %c\n}\n"},
    {"several_results", "func @f(%x: f32[30], %y: f32[30]) -> (f32[30], f32[30], f32) {\n"
                        "  %a = add %x, %y : f32[30]\n  %b = mul %a, %x : f32[30]\n  %s = sum %b {axes=[0]} : f32\n"
                        "  return %a, %b, %s\n}\n"},
    {"group_norm",
     "func @f(%x: f32[3,6,5,16], %scale: f32[16]) -> (f32[3,6,5,16]) {\n"
     "  %r = reshape %x : f32[3,6,5,4,4]\n  %s = sum %r {axes=[1,2,4]} : f32[3,4]\n  %n = const 120.0 : f32[3,4]\n"
     "  %m = div %s, %n : f32[3,4]\n  %mb = broadcast %m {dims=[0,3]} : f32[3,6,5,4,4]\n  %d = sub %r, %mb : f32[3,6,5,4,4]\n"
     "  %q = mul %d, %d : f32[3,6,5,4,4]\n  %v = sum %q {axes=[1,2,4]} : f32[3,4]\n  %i = rsqrt %v : f32[3,4]\n"
     "  %ib = broadcast %i {dims=[0,3]} : f32[3,6,5,4,4]\n  %h = mul %d, %ib : f32[3,6,5,4,4]\n"
     "  %y = reshape %h : f32[3,6,5,16]\n  %sb = broadcast %scale {dims=[3]} : f32[3,6,5,16]\n"
     "  %z = mul %y, %sb : f32[3,6,5,16]\n  %g = sigmoid %z : f32[3,6,5,16]\n  %o = mul %z, %g : f32[3,6,5,16]\n"
     "  return %o\n}\n"},
    {"softmax_of_long_rows",
     "func @f(%x: f32[40,2,300]) -> (f32[40,2,300], f32[40,2]) {\n"
     "  %m = reduce_max %x {axes=[2]} : f32[40,2]\n  %mb = broadcast %m {dims=[0,1]} : f32[40,2,300]\n"
     "  %d = sub %x, %mb : f32[40,2,300]\n  %e = exp %d : f32[40,2,300]\n  %s = sum %e {axes=[2]} : f32[40,2]\n"
     "  %sb = broadcast %s {dims=[0,1]} : f32[40,2,300]\n  %p = div %e, %sb : f32[40,2,300]\n  return %p, %s\n}\n"},
    {"rows_seen_from_another_row", /* no one kernel can do it: the map needs a sum over all rows of what the rows have */
     "func @f(%x: f32[6,300]) -> (f32[6,300]) {\n"
     "  %s = sum %x {axes=[1]} : f32[6]\n  %e = exp %s : f32[6]\n  %t = sum %e {axes=[0]} : f32\n"
     "  %sb = broadcast %s {dims=[0]} : f32[6,300]\n  %tb = broadcast %t {dims=[]} : f32[6,300]\n"
     "  %d = sub %x, %sb : f32[6,300]\n  %y = mul %d, %tb : f32[6,300]\n  return %y\n}\n"},
    {"rows_of_a_padded_row",
     "func @f(%x: f32[9,9,40]) -> (f32[9,11,40], f32[9,9,40]) {\n"
     "  %s = sum %x {axes=[1]} : f32[9,40]\n  %r = sqrt %s : f32[9,40]\n  %a = mul %s, %s : f32[9,40]\n"
     "  %sb = broadcast %a {dims=[0,2]} : f32[9,9,40]\n  %d = sub %x, %sb : f32[9,9,40]\n"
     "  %p = pad %d {lo=[0,1,0], hi=[0,1,0], inner=[0,0,0]} : f32[9,11,40]\n"
     "  %t = transpose %d {perm=[1,0,2]} : f32[9,9,40]\n  %u = exp %t : f32[9,9,40]\n  return %p, %u\n}\n"},
    {"f64", "func @f(%x: f64[12,9], %w: f64[9,10]) -> (f64[12,10]) {\n"
            "  %y = dot %x, %w {lhs_batch=[], rhs_batch=[], lhs_sum=[1], rhs_sum=[0]} : f64[12,10]\n"
            "  %s = sin %y : f64[12,10]\n  return %s\n}\n"},
};
enum { CASE_COUNT = sizeof cases / sizeof cases[0] };

/* The norm of many arrays: more values in memory than a kernel has arguments. */
static const char *sum_of_many_sums(Arena *arena, int count)
{
    Text text = text_new(arena);
    text_printf(&text, "func @f(%%x: f32[%d,5]) -> (f32) {\n", count);
    for (int i = 0; i < count; i++) {
        text_printf(&text, "  %%r%d = slice %%x {start=[%d,0], stop=[%d,5], step=[1,1]} : f32[1,5]\n", i, i, i + 1);
        text_printf(&text, "  %%q%d = mul %%r%d, %%r%d : f32[1,5]\n  %%s%d = sum %%q%d {axes=[0,1]} : f32\n", i, i, i, i, i);
        if (i > 0)
            text_printf(&text, "  %%t%d = add %s%d, %%s%d : f32\n", i, i == 1 ? "%s" : "%t", i - 1, i);
    }
    text_printf(&text, "  %%y = sqrt %%t%d : f32\n  return %%y\n}\n", count - 1);
    return text.data;
}

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

static void fill(EvalTensor *tensor, void *bytes)
{
    for (int64_t i = 0; i < ir_element_count(&tensor->type); i++)
        tensor->real[i] = dtype_round(tensor->type.dtype, (double)rand() / RAND_MAX * 2 - 1);
    eval_tensor_write(tensor, bytes);
}

static void *bytes_of(Arena *arena, const IrType *type)
{
    return arena_alloc(arena, (size_t)(ir_element_count(type) * dtype_size(type->dtype)));
}

static void compile_and_run(Arena *arena, const IrFunc *func, bool no_fuse, int threads, void **inputs, void **outputs)
{
    LowerOptions options = {.no_fuse = no_fuse};
    DiagSink diags = diag_sink_new(arena);
    pass_legalise(func->module);
    Plan *plan = pass_fuse(arena, func, &options, &diags);
    pass_expand(plan, &options);
    ck_assert(pass_plan(plan, &options, &diags));
    ck_assert(plan_verify(plan, &diags));
    Pool *pool = pool_new(threads);
    DeviceOptions device_options = {.pool = pool};
    Device *device;
    Executable *executable;
    Instance *instance;
    CompileStats stats;
    ck_assert_ptr_null(backend_cpu.open(arena, &device_options, &device));
    const char *reason = backend_cpu.compile(arena, device, plan, &executable, &stats);
    ck_assert_msg(!reason, "%s", reason);
    ck_assert_ptr_null(backend_cpu.instantiate(arena, executable, &instance));
    ck_assert_ptr_null(backend_cpu.run(arena, instance, inputs, outputs, NULL));
    backend_cpu.discard(instance);
    backend_cpu.release(executable);
    backend_cpu.close(device);
    pool_free(pool);
}

static void compare(const Case *test, const char *how, const EvalTensor *wanted, const void *bytes, Arena *arena)
{
    EvalTensor got = eval_tensor_new(arena, wanted->type);
    eval_tensor_read(&got, bytes);
    double largest = 0, error = 0;
    for (int64_t i = 0; i < ir_element_count(&wanted->type); i++) {
        largest = fmax(largest, fabs(wanted->real[i]));
        error = fmax(error, fabs(wanted->real[i] - got.real[i]));
        if (isnan(got.real[i]))
            ck_abort_msg("%s, %s: NaN at %lld", test->name, how, (long long)i);
    }
    double bound = wanted->type.dtype == DT_f64 ? 1e-13 : 2e-6;
    ck_assert_msg(error <= bound * largest, "%s, %s: error %g of %g", test->name, how, error, largest);
}

static void check_case(Arena *arena, const Case *test)
{
    const IrFunc *func = parse(arena, test->text)->funcs.items[0];
    EvalTensor *args = arena_array(arena, EvalTensor, func->params.count), *wanted = arena_array(arena, EvalTensor, 4);
    void *inputs[8], *outputs[8], *again[8];
    for (int i = 0; i < func->params.count; i++) {
        args[i] = eval_tensor_new(arena, *ir_type_of(func, func->params.items[i]));
        fill(&args[i], inputs[i] = bytes_of(arena, &args[i].type));
    }
    for (int i = 0; i < func->results.count; i++) {
        wanted[i] = eval_tensor_new(arena, *ir_type_of(func, func->results.items[i]));
        outputs[i] = bytes_of(arena, &wanted[i].type);
        again[i] = bytes_of(arena, &wanted[i].type);
    }
    ck_assert(ir_eval(arena, func, EVAL_wide, args, wanted));
    compile_and_run(arena, func, true, 1, inputs, outputs);
    for (int i = 0; i < func->results.count; i++)
        compare(test, "unfused", &wanted[i], outputs[i], arena);
    compile_and_run(arena, func, false, 1, inputs, outputs);
    compile_and_run(arena, func, false, 2, inputs, again);
    for (int i = 0; i < func->results.count; i++) {
        size_t size = (size_t)(ir_element_count(&wanted[i].type) * dtype_size(wanted[i].type.dtype));
        compare(test, "fused", &wanted[i], outputs[i], arena);
        ck_assert_msg(!memcmp(outputs[i], again[i], size), "%s: two threads give other bits", test->name);
    }
}

START_TEST(compiled_code_agrees_with_the_interpreter)
{
    Arena *arena = arena_new(NULL, NULL);
    check_case(arena, &cases[_i]);
    arena_free(arena);
}
END_TEST

START_TEST(kernels_have_no_more_arguments_than_they_may)
{
    Arena *arena = arena_new(NULL, NULL);
    check_case(arena, &(Case){"sum_of_many_sums", sum_of_many_sums(arena, 150)});
    arena_free(arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lower");
    TCase *group = tcase_create("lower");
    tcase_add_loop_test(group, compiled_code_agrees_with_the_interpreter, 0, CASE_COUNT);
    tcase_add_test(group, kernels_have_no_more_arguments_than_they_may);
    suite_add_tcase(suite, group);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
