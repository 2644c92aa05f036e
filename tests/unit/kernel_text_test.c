/* Kernels by their text: those in tests/golden/kernel verify and print as they are written; a kernel that is damaged is
 * refused, or verifies and stays inside its buffers. */
#include "tests/unit/golden.h"
#include "ir/kernel/kernel.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static Arena *names; /* of the files, read once */
static GoldenPaths texts;

static Kernel *read_kernel(Arena *arena, const char *name, const char *text, DiagSink *diags)
{
    Source *source = arena_new_of(arena, Source);
    *source = (Source){name, text, strlen(text)};
    Kernel *kernel = kernel_parse(arena, source, diags);
    bool verified = kernel && kernel_verify(kernel, diags);
    ck_assert_msg(verified || diags->list.count, "%s: refused without a message", name);
    return verified ? kernel : NULL;
}

/* Whether interpreting it takes a moment; kernels that are damaged may be huge. */
static bool is_small(const Kernel *kernel)
{
    enum { MOST = 1 << 14 };
    double points = 0, elements = 0, outer = 1;
    for (int i = 0; i < kernel->outer.count; i++)
        outer *= (double)kernel->outer.items[i].extent;
    for (int i = 0; i < kernel->stages.count; i++) {
        double stage = outer;
        for (int j = 0; j < kernel->stages.items[i].axes.count; j++)
            stage *= (double)kernel->stages.items[i].axes.items[j].extent;
        points += stage;
    }
    for (int i = 0; i < kernel->buffers.count; i++)
        elements += (double)kernel->buffers.items[i].count;
    return points < MOST && elements < MOST;
}

/* With each buffer in a block of its own, so that the sanitizer sees a step outside. */
static void run(Arena *arena, const Kernel *kernel)
{
    void *buffers[K_MAX_BUFFERS] = {0};
    for (int i = 0; i < kernel->buffers.count; i++) {
        size_t size = (size_t)kernel->buffers.items[i].count * (size_t)dtype_size(kernel->buffers.items[i].dtype);
        buffers[i] = malloc(size ? size : 1);
        ck_assert_ptr_nonnull(buffers[i]);
        memset(buffers[i], 0, size);
    }
    kernel_eval(arena, kernel, buffers);
    for (int i = 0; i < kernel->buffers.count; i++)
        free(buffers[i]);
}

START_TEST(texts_print_as_they_are)
{
    Arena *arena = arena_new(NULL, NULL);
    Golden golden = golden_read(arena, texts.items[_i]);
    DiagSink diags = diag_sink_new(arena);
    Text messages = text_new(arena), printed = text_new(arena);
    Kernel *kernel = read_kernel(arena, golden.name, golden.whole, &diags);
    diag_render_all(&diags, &messages);
    ck_assert_msg(kernel != NULL, "%s", messages.data);
    kernel_print(kernel, &printed);
    ck_assert_str_eq(printed.data, golden.whole);
    ck_assert(kernel_equal(kernel, read_kernel(arena, golden.name, printed.data, &diags)));
    ck_assert_msg(is_small(kernel), "%s is too large for a test", golden.name);
    run(arena, kernel);
    arena_free(arena);
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
    return *state = *state * 1664525u + 1013904223u, *state >> 16;
}

/* A few characters are others: another number, another operation, another kind of axis. */
static char *damage(Arena *arena, const char *text, uint32_t *state)
{
    static const char letters[] = "0123456789:,()[]{}$%+-* =.abcdefimnorstux\n";
    char *damaged = arena_copy_text(arena, text, strlen(text));
    for (uint32_t i = next_random(state) % 3 + 1; i > 0; i--)
        damaged[next_random(state) % strlen(text)] = letters[next_random(state) % (sizeof letters - 1)];
    return damaged;
}

START_TEST(damaged_texts_do_no_harm)
{
    uint32_t state = (uint32_t)_i;
    Golden golden = golden_read(names, texts.items[_i]);
    for (int round = 0; round < 3000; round++) {
        Arena *arena = arena_new(NULL, NULL);
        DiagSink diags = diag_sink_new(arena);
        Kernel *kernel = read_kernel(arena, golden.name, damage(arena, golden.whole, &state), &diags);
        if (kernel && is_small(kernel))
            run(arena, kernel);
        arena_free(arena);
    }
}
END_TEST

static const char *const wrongs[] = {
    "",
    "kernel",
    "kernel k(",
    "kernel k(in $0: f32[4])\n  stage map a0:5\n    %0 = load $0[a0] : f32\n", /* beyond its buffer */
    "kernel k(in $0: f32[4], out $1: f32[4])\n  stage map a0:4\n    %0 = load $0[a0 - 1] : f32\n    store $1[a0] = %0\n",
    "kernel k(out $0: f32[4])\n  stage map a0:4\n    store $0[a0] = %0\n", /* of nothing */
    "kernel k(out $0: f32[4])\n  stage map a0:4\n    %0 = add %0 %0 : f32\n    store $0[a0] = %0\n",
    "kernel k(out $0: f32[4])\n  stage map a0:4\n    %0 = value 1 : i32\n    store $0[a0] = %0\n", /* of another type */
    "kernel k(out $0: f32[4])\n  stage map a0:4\n    %0 = nothing : f32\n    store $0[a0] = %0\n",
    "kernel k(in $0: f32[4])\n  stage map a0:4\n    %0 = load $0[a0] : f32\n    store $0[a0] = %0\n", /* into an input */
    "kernel k(out $0: f32[9223372036854775807])\n  stage map a0:9223372036854775807\n    %0 = axis a0 : i32\n",
};
enum { WRONGS = sizeof wrongs / sizeof *wrongs };

START_TEST(wrong_kernels_are_refused)
{
    Arena *arena = arena_new(NULL, NULL);
    DiagSink diags = diag_sink_new(arena);
    ck_assert_msg(read_kernel(arena, "wrong", wrongs[_i], &diags) == NULL, "%s", wrongs[_i]);
    ck_assert_int_eq(diags.list.items[0].code, DIAG_bad_ir);
    arena_free(arena);
}
END_TEST

int main(void)
{
    names = arena_new(NULL, NULL);
    texts = golden_find(names, CM_SOURCE_DIR "/tests/golden/kernel", ".kernel");
    Suite *suite = suite_create("kernel_text");
    TCase *cases = tcase_create("kernel_text");
    tcase_set_timeout(cases, 60);
    tcase_add_loop_test(cases, texts_print_as_they_are, 0, texts.count);
    tcase_add_loop_test(cases, damaged_texts_do_no_harm, 0, texts.count);
    tcase_add_loop_test(cases, wrong_kernels_are_refused, 0, WRONGS);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = texts.count ? srunner_ntests_failed(runner) : 1;
    srunner_free(runner);
    arena_free(names);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
