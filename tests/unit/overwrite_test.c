/* Results written over arguments: which kernels may, and that they give the same then. */
#include "ir/kernel/kernel.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

typedef struct Case {
    const char *title, *text;
    int from, to;
    bool may;
} Case;

static const Case cases[] = {
    {"a point is read where it is written",
     "kernel f(in $0: f32[35], in $1: f32[35], out $2: f32[35])\n"
     "  stage map a0:5 map a1:7\n"
     "    %0 = load $0[7*a0 + a1] : f32\n"
     "    %1 = load $1[7*a0 + a1] : f32\n"
     "    %2 = mul %0 %1 : f32\n"
     "    store $2[7*a0 + a1] = %2\n",
     1, 2, true},
    {"a point is read at another place",
     "kernel f(in $0: f32[25], out $1: f32[25])\n"
     "  stage map a0:5 map a1:5\n"
     "    %0 = load $0[5*a1 + a0] : f32\n"
     "    store $1[5*a0 + a1] = %0\n",
     0, 1, false},
    {"a point is read at its place and at another",
     "kernel f(in $0: f32[25], out $1: f32[25])\n"
     "  stage map a0:5 map a1:5\n"
     "    %0 = load $0[5*a0 + a1] : f32\n"
     "    %1 = load $0[5*a1 + a0] : f32\n"
     "    %2 = add %0 %1 : f32\n"
     "    store $1[5*a0 + a1] = %2\n",
     0, 1, false},
    {"a place is written at many points",
     "kernel f(in $0: f32[35], out $1: f32[35])\n"
     "  stage map a0:5 map a1:7\n"
     "    %0 = load $0[5*a0 + a1] : f32\n"
     "    %1 = value 2.0 : f32\n"
     "    %2 = mul %0 %1 : f32\n"
     "    store $1[5*a0 + a1] = %2\n",
     0, 1, false},
    {"a row is summed up before it is written",
     "kernel f(in $0: f32[35], out $1: f32[35], local $2: f32[1]) outer map a0:5\n"
     "  stage reduce a1:7\n"
     "    %0 = load $0[7*a0 + a1] : f32\n"
     "    acc 0 = sum %0 : f32\n"
     "  tail\n"
     "    %1 = acc {0} : f32\n"
     "    store $2[0] = %1\n"
     "  stage map a1:7\n"
     "    %0 = load $0[7*a0 + a1] : f32\n"
     "    %1 = load $2[0] : f32\n"
     "    %2 = sub %0 %1 : f32\n"
     "    store $1[7*a0 + a1] = %2\n",
     0, 1, true},
    {"a column is summed up beside columns",
     "kernel f(in $0: f32[35], out $1: f32[35], local $2: f32[1]) outer map a0:5\n"
     "  stage reduce a1:7\n"
     "    %0 = load $0[a0 + 5*a1] : f32\n"
     "    acc 0 = sum %0 : f32\n"
     "  tail\n"
     "    %1 = acc {0} : f32\n"
     "    store $2[0] = %1\n"
     "  stage map a1:7\n"
     "    %0 = load $0[a0 + 5*a1] : f32\n"
     "    %1 = load $2[0] : f32\n"
     "    %2 = sub %0 %1 : f32\n"
     "    store $1[a0 + 5*a1] = %2\n",
     0, 1, false}, /* it might: columns have nothing in common, but are not told apart by their reach */
    {"the row before is summed up, too",
     "kernel f(in $0: f32[35], out $1: f32[35], local $2: f32[1]) outer map a0:4\n"
     "  stage reduce a1:14\n"
     "    %0 = load $0[7*a0 + a1] : f32\n"
     "    acc 0 = sum %0 : f32\n"
     "  tail\n"
     "    %1 = acc {0} : f32\n"
     "    store $2[0] = %1\n"
     "  stage map a1:7\n"
     "    %0 = load $0[7*a0 + a1 + 7] : f32\n"
     "    %1 = load $2[0] : f32\n"
     "    %2 = sub %0 %1 : f32\n"
     "    store $1[7*a0 + a1 + 7] = %2\n",
     0, 1, false},
    {"a row is read again behind its writing",
     "kernel f(in $0: f32[35], out $1: f32[35], out $2: f32[5]) outer map a0:5\n"
     "  stage map a1:7\n"
     "    %0 = load $0[7*a0 + a1] : f32\n"
     "    %1 = neg %0 : f32\n"
     "    store $1[7*a0 + a1] = %1\n"
     "  stage reduce a1:7\n"
     "    %0 = load $0[7*a0 + a1] : f32\n"
     "    acc 0 = sum %0 : f32\n"
     "  tail\n"
     "    %1 = acc {0} : f32\n"
     "    store $2[a0] = %1\n",
     0, 1, false},
    {"what is added to a product",
     "kernel f(in $0: f32[40], in $1: f32[56], in $2: f32[35], out $3: f32[35])\n"
     "  contract map a0:5 map a1:7 reduce a2:8\n"
     "    %0 = load $0[8*a0 + a2] : f32\n"
     "    %1 = load $1[7*a2 + a1] : f32\n"
     "    %2 = mul %0 %1 : f32\n"
     "    acc 0 = sum %2 : f32\n"
     "  tail\n"
     "    %3 = acc {0} : f32\n"
     "    %4 = load $2[7*a0 + a1] : f32\n"
     "    %5 = add %3 %4 : f32\n"
     "    store $3[7*a0 + a1] = %5\n",
     2, 3, true},
    {"an operand of a product",
     "kernel f(in $0: f32[49], in $1: f32[49], out $2: f32[49])\n"
     "  contract map a0:7 map a1:7 reduce a2:7\n"
     "    %0 = load $0[7*a0 + a2] : f32\n"
     "    %1 = load $1[7*a2 + a1] : f32\n"
     "    %2 = mul %0 %1 : f32\n"
     "    acc 0 = sum %2 : f32\n"
     "  tail\n"
     "    %3 = acc {0} : f32\n"
     "    store $2[7*a0 + a1] = %3\n",
     0, 2, false},
    {"what is already there is added to",
     "kernel f(in $0: f32[35], inout $1: f32[35])\n"
     "  stage map a0:5 map a1:7\n"
     "    %0 = load $0[7*a0 + a1] : f32\n"
     "    add $1[7*a0 + a1] = %0\n",
     0, 1, false},
    {"other sizes",
     "kernel f(in $0: f32[5], out $1: f32[35])\n"
     "  stage map a0:5 map a1:7\n"
     "    %0 = load $0[a0] : f32\n"
     "    store $1[7*a0 + a1] = %0\n",
     0, 1, false},
};
enum { CASES = sizeof cases / sizeof *cases };

static void fill(float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        values[i] = (float)(i * i % 23) - 11;
}

/* What the kernel leaves in `to`: in a place of its own, or over `from`. */
static float *result_of(Arena *arena, const Kernel *kernel, int from, int to, bool over)
{
    void *buffers[K_MAX_BUFFERS] = {0};
    for (int i = 0; i < kernel->buffers.count; i++) {
        buffers[i] = arena_array(arena, float, kernel->buffers.items[i].count);
        fill(buffers[i], kernel->buffers.items[i].count);
    }
    if (over)
        buffers[to] = buffers[from];
    kernel_eval(arena, kernel, buffers);
    return buffers[to];
}

START_TEST(results_over_arguments)
{
    const Case *c = &cases[_i];
    Arena *arena = arena_new(NULL, NULL);
    DiagSink diags = diag_sink_new(arena);
    Source source = {c->title, c->text, strlen(c->text)};
    Kernel *kernel = kernel_parse(arena, &source, &diags);
    Text messages = text_new(arena);
    diag_render_all(&diags, &messages);
    ck_assert_msg(kernel && kernel_verify(kernel, &diags), "%s: %s", c->title, messages.data);
    ck_assert_msg(kernel_may_overwrite(kernel, c->from, c->to) == c->may, "%s", c->title);
    if (c->may) {
        size_t size = (size_t)kernel->buffers.items[c->to].count * sizeof(float);
        const float *apart = result_of(arena, kernel, c->from, c->to, false);
        ck_assert_msg(!memcmp(result_of(arena, kernel, c->from, c->to, true), apart, size), "%s", c->title);
    }
    arena_free(arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("overwrite");
    TCase *tests = tcase_create("overwrite");
    tcase_add_loop_test(tests, results_over_arguments, 0, CASES);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
