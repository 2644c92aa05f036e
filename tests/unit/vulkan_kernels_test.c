/* Kernels, as text, on a Vulkan device for which few terms are a long sum, against the interpreter: what programs seldom or
 * never become.  All numbers are whole and small, so that any order of a sum gives the same. */
#include "backends/vulkan/vulkan_internal.h"
#include "tests/random/vulkan.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const char *const kernels[] = {
    /* Several sums that go along together, each of several terms a point. */
    "kernel scans(in $0: f32[240], out $1: f32[60], inout $2: f32[60])\n"
    "  stage map a0:2 scan a1:30 reduce a2:4\n"
    "    %0 = load $0[120*a0 + 4*a1 + a2] : f32\n"
    "    acc 0 = sum %0 : f32\n"
    "    acc 1 = max %0 : f32\n"
    "  tail\n"
    "    %1 = acc {0} : f32\n"
    "    %2 = acc {1} : f32\n"
    "    %3 = load $2[30*a0 + a1] : f32\n"
    "    %4 = add %2 %3 : f32\n"
    "    store $1[30*a0 + a1] = %1\n"
    "    store $2[30*a0 + a1] = %4\n",
    /* Of what locals hold, which lie in scratch for a few of the outer points at a time. */
    "kernel centred(in $0: f32[200], out $1: f32[200], local $2: f32[20])\n"
    "  outer map a0:5\n"
    "  stage map a1:20 reduce a2:2\n"
    "    %0 = load $0[40*a0 + 2*a1 + a2] : f32\n"
    "    acc 0 = sum %0 : f32\n"
    "  tail\n"
    "    %1 = acc {0} : f32\n"
    "    store $2[a1] = %1\n"
    "  stage map a1:2 scan a2:20\n"
    "    %0 = load $0[40*a0 + 20*a1 + a2] : f32\n"
    "    %1 = load $2[19 - a2] : f32\n"
    "    %2 = add %0 %1 : f32\n"
    "    acc 0 = sum %2 : f32\n"
    "  tail\n"
    "    %3 = acc {0} : f32\n"
    "    store $1[40*a0 + 20*a1 + a2] = %3\n",
    /* Along two axes, one after the other, of numbers that are kept as they are. */
    "kernel whole(in $0: i32[84], out $1: i32[84])\n"
    "  stage scan a0:12 scan a1:7\n"
    "    %0 = load $0[7*a0 + a1] : i32\n"
    "    acc 0 = min %0 : i32\n"
    "  tail\n"
    "    %1 = acc {0} : i32\n"
    "    store $1[7*a0 + a1] = %1\n",
    /* Of two places that are added to, only one names the axis. */
    "kernel additions(in $0: f32[60], inout $1: f32[20], inout $2: f32[3])\n"
    "  stage map a0:3 map a1:20\n"
    "  tail\n"
    "    %0 = load $0[20*a0 + a1] : f32\n"
    "    add $1[a1] = %0\n"
    "    add $2[a0] = %0\n",
};
enum { KERNELS = sizeof kernels / sizeof *kernels, MOST_BUFFERS = 3 };

static void fill(const KBuffer *buffer, void *memory)
{
    for (int64_t i = 0; i < buffer->count; i++) {
        int number = (int)((i * 37 + i / 7) % 19) - 9;
        if (buffer->dtype == DT_i32)
            ((int32_t *)memory)[i] = number;
        else
            ((float *)memory)[i] = (float)number;
    }
}

static Kernel *parsed(Arena *arena, const char *text)
{
    Source *source = arena_new_of(arena, Source);
    *source = (Source){"<test>", text, strlen(text)};
    DiagSink diags = diag_sink_new(arena);
    Kernel *kernel = kernel_parse(arena, source, &diags);
    ck_assert_ptr_nonnull(kernel);
    ck_assert(kernel_verify(kernel, &diags));
    return kernel;
}

START_TEST(kernels_agree_with_the_interpreter)
{
    Arena *arena = arena_new(NULL, NULL);
    const char *reason;
    Device *device = open_small_vulkan(arena, NULL, &reason);
    ck_assert_msg(!reason, "no Vulkan: %s", reason);
    const Kernel *kernel = parsed(arena, kernels[_i]);
    void *wanted[MOST_BUFFERS], *inputs[MOST_BUFFERS], *outputs[MOST_BUFFERS], *got[MOST_BUFFERS];
    int input_count = 0, output_count = 0;
    for (int i = 0; i < kernel->buffers.count && kernel->buffers.items[i].kind != K_LOCAL; i++) {
        const KBuffer *buffer = &kernel->buffers.items[i];
        wanted[i] = arena_alloc(arena, (size_t)buffer->count * 4);
        got[i] = arena_alloc(arena, (size_t)buffer->count * 4);
        fill(buffer, wanted[i]);
        fill(buffer, got[i]);
        if (buffer->kind != K_OUT)
            inputs[input_count++] = got[i];
        if (buffer->kind == K_OUT)
            outputs[output_count++] = got[i];
    }
    kernel_eval(arena, kernel, wanted);
    reason = proof_run(arena, device, kernels[_i], inputs, outputs);
    ck_assert_msg(!reason, "%s: %s", kernel->name, reason);
    for (int i = 0; i < kernel->buffers.count && kernel->buffers.items[i].kind != K_LOCAL; i++)
        ck_assert_msg(memcmp(got[i], wanted[i], (size_t)kernel->buffers.items[i].count * 4) == 0, "%s: $%d", kernel->name, i);
    backend_vulkan.close(device);
    arena_free(arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vulkan kernels");
    TCase *tests = tcase_create("vulkan kernels");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, kernels_agree_with_the_interpreter, 0, KERNELS);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
