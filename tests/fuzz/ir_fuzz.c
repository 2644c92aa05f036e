/* Any text as a module of the graph IR and as a kernel: refused, or verified without a crash; what verifies prints, and
 * what is printed parses back to the same text.  A kernel that verifies stays inside its buffers. */
#include "ir/ir.h"
#include "ir/kernel/kernel.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static const Source *source_of(Arena *arena, const char *text, size_t length)
{
    Source *source = arena_new_of(arena, Source);
    *source = (Source){"fuzz.ir", text, length};
    return source;
}

static IrModule *read_module(Arena *arena, const char *text, size_t length)
{
    DiagSink diags = diag_sink_new(arena);
    IrModule *module = ir_parse(arena, source_of(arena, text, length), &diags);
    bool verified = module && ir_verify(module, &diags);
    require(verified || diags.list.count);
    return verified ? module : NULL;
}

static void check_module(Arena *arena, const char *text, size_t length)
{
    Text once = text_new(arena), twice = text_new(arena);
    const IrModule *module = read_module(arena, text, length);
    if (!module)
        return;
    ir_print(module, &once);
    module = read_module(arena, once.data, once.length);
    require(module);
    ir_print(module, &twice);
    require(!strcmp(once.data, twice.data));
}

static Kernel *read_kernel(Arena *arena, const char *text, size_t length)
{
    DiagSink diags = diag_sink_new(arena);
    Kernel *kernel = kernel_parse(arena, source_of(arena, text, length), &diags);
    bool verified = kernel && kernel_verify(kernel, &diags);
    require(verified || diags.list.count);
    return verified ? kernel : NULL;
}

/* Whether interpreting it takes a moment. */
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

/* With each buffer in a block of its own, so that a step outside is seen. */
static void run(Arena *arena, const Kernel *kernel)
{
    void *buffers[K_MAX_BUFFERS] = {0};
    for (int i = 0; i < kernel->buffers.count; i++)
        buffers[i] = calloc((size_t)kernel->buffers.items[i].count, (size_t)dtype_size(kernel->buffers.items[i].dtype));
    kernel_eval(arena, kernel, buffers);
    for (int i = 0; i < kernel->buffers.count; i++)
        free(buffers[i]);
}

static void check_kernel(Arena *arena, const char *text, size_t length)
{
    Text once = text_new(arena), twice = text_new(arena);
    const Kernel *kernel = read_kernel(arena, text, length);
    if (!kernel)
        return;
    kernel_print(kernel, &once);
    const Kernel *again = read_kernel(arena, once.data, once.length);
    require(again && kernel_equal(kernel, again));
    kernel_print(again, &twice);
    require(!strcmp(once.data, twice.data));
    if (is_small(kernel))
        run(arena, kernel);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Arena *arena = arena_new(NULL, NULL);
    char *text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = 0;
    check_module(arena, text, size);
    check_kernel(arena, text, size);
    arena_free(arena);
    free(text);
    return 0;
}
