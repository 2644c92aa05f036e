/* For tests of generated code: kernels built in short words, run on every vector width, on one thread and on two, and compared
 * with the kernel interpreter. */
#ifndef CM_TESTS_KERNEL_CHECK_H
#define CM_TESTS_KERNEL_CHECK_H

#include "tests/unit/kernel_run.h"

#include "passes/passes.h"

#include <math.h>

/* ---- building kernels ---- */

typedef struct Builder {
    Arena *arena;
    Kernel *kernel;
    KStage *stage;
} Builder;

static inline Builder builder_new(Arena *arena, const char *name)
{
    return (Builder){.arena = arena, .kernel = kernel_new(arena, name)};
}

static inline int buffer(Builder *b, KBufferKind kind, DType dtype, int64_t count)
{
    return kernel_add_buffer(b->kernel, kind, dtype, count, "b");
}

static inline void outer(Builder *b, int64_t extent)
{
    list_push(b->arena, &b->kernel->outer, ((KAxis){.extent = extent, .kind = K_MAP}));
}

static inline void stage(Builder *b)
{
    b->stage = kernel_add_stage(b->kernel);
}

static inline void axis(Builder *b, KAxisKind kind, int64_t extent)
{
    list_push(b->arena, &b->stage->axes, ((KAxis){.extent = extent, .kind = kind}));
}

#define AFFINE(...) ((Affine){.coef = {__VA_ARGS__}})

static inline KRef push(Builder *b, KInst inst)
{
    return kstage_push(b->arena, b->stage, inst);
}

static inline KRef load_guarded(Builder *b, int from, Affine index, KRef dynamic, KRef guard)
{
    DType dtype = b->kernel->buffers.items[from].dtype;
    return push(b, (KInst){.op = K_load, .dtype = dtype, .arg = {dynamic, guard, -1}, .buffer = from, .index = index});
}

static inline KRef load(Builder *b, int from, Affine index)
{
    return load_guarded(b, from, index, -1, -1);
}

static inline KRef op3(Builder *b, int op, DType dtype, KRef x, KRef y, KRef z)
{
    return push(b, (KInst){.op = op, .dtype = dtype, .arg = {x, y, z}});
}

static inline KRef op2(Builder *b, int op, KRef x, KRef y)
{
    return op3(b, op, b->stage->insts.items[x].dtype, x, y, -1);
}

static inline KRef op1(Builder *b, int op, KRef x)
{
    return op2(b, op, x, -1);
}

static inline KRef real(Builder *b, DType dtype, double value)
{
    return push(b, (KInst){.op = K_value, .dtype = dtype, .arg = {-1, -1, -1}, .value = value});
}

static inline KRef axis_value(Builder *b, Affine index)
{
    return push(b, (KInst){.op = K_axis, .dtype = DT_i32, .arg = {-1, -1, -1}, .index = index});
}

static inline KRef inside(Builder *b, KRef x, int64_t extent)
{
    return push(b, (KInst){.op = K_inside, .dtype = DT_bool, .arg = {x, -1, -1}, .imm = extent});
}

static inline KRef offset(Builder *b, KRef x, int64_t step)
{
    return push(b, (KInst){.op = K_offset, .dtype = DT_i64, .arg = {x, -1, -1}, .imm = step});
}

static inline void fold(Builder *b, KCombine combine, KRef value, bool wide)
{
    DType dtype = b->stage->insts.items[value].dtype;
    list_push(b->arena, &b->stage->accs, ((KAcc){.combine = combine, .value = value, .dtype = dtype, .wide = wide}));
}

static inline void tail(Builder *b)
{
    b->stage->body_count = b->stage->insts.count;
}

static inline KRef folded(Builder *b, int i)
{
    return push(b, (KInst){.op = K_acc, .dtype = b->stage->accs.items[i].dtype, .arg = {-1, -1, -1}, .imm = i});
}

static inline KStore *store(Builder *b, int to, Affine index, KRef value)
{
    list_push(b->arena, &b->stage->stores,
              ((KStore){.buffer = to, .index = index, .dynamic = -1, .guard = -1, .value = value}));
    return &b->stage->stores.items[b->stage->stores.count - 1];
}

/* ---- comparing ---- */

static uint64_t random_state;

static inline uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static inline int64_t random_below(int64_t count)
{
    return (int64_t)(next_random() % (uint64_t)count);
}

static inline void fill(void *data, DType dtype, int64_t count, double low, double high)
{
    for (int64_t i = 0; i < count; i++) {
        double x = low + (high - low) * (double)(next_random() >> 11) * 0x1p-53;
        switch (dtype) {
        case DT_f32:
            ((float *)data)[i] = (float)x;
            break;
        case DT_f64:
            ((double *)data)[i] = x;
            break;
        case DT_f16:
            ((uint16_t *)data)[i] = float_to_half((float)x);
            break;
        case DT_bf16:
            ((uint16_t *)data)[i] = float_to_bfloat((float)x);
            break;
        case DT_i32:
            ((int32_t *)data)[i] = (int32_t)floor(x * 10);
            break;
        case DT_u32:
            ((uint32_t *)data)[i] = (uint32_t)fabs(x * 10);
            break;
        case DT_i64:
            ((int64_t *)data)[i] = (int64_t)floor(x * 10);
            break;
        case DT_u8:
            ((uint8_t *)data)[i] = (uint8_t)fabs(x * 10);
            break;
        default:
            ((uint8_t *)data)[i] = x > (low + high) / 2;
        }
    }
}

static inline double element(const void *data, DType dtype, int64_t i)
{
    switch (dtype) {
    case DT_f32:
        return (double)((const float *)data)[i];
    case DT_f64:
        return ((const double *)data)[i];
    case DT_f16:
        return (double)half_to_float(((const uint16_t *)data)[i]);
    case DT_bf16:
        return (double)bfloat_to_float(((const uint16_t *)data)[i]);
    case DT_i32:
        return ((const int32_t *)data)[i];
    case DT_u32:
        return ((const uint32_t *)data)[i];
    case DT_i64:
        return (double)((const int64_t *)data)[i];
    default:
        return ((const uint8_t *)data)[i];
    }
}

static inline double tolerance_of(DType dtype)
{
    return dtype == DT_f32 ? 2e-5 : dtype == DT_f64 ? 1e-12 : dtype == DT_f16 ? 4e-3 : dtype == DT_bf16 ? 3e-2 : 0;
}

static inline bool close_enough(double got, double want, double tolerance)
{
    if (isnan(got) || isnan(want))
        return isnan(got) && isnan(want);
    return got == want || fabs(got - want) <= tolerance * (1 + fabs(want));
}

static const struct Width {
    const char *cpu, *features;
} widths[] = {{NULL, NULL}, {"x86-64-v3", ""}, {"x86-64", ""}};

/* Assertions write to a file each time, so they are reached on failure only. */
static inline void compare(Builder *b, void **got, void **want, const char *how)
{
    for (int i = 0; i < b->kernel->buffers.count; i++) {
        const KBuffer *buf = &b->kernel->buffers.items[i];
        for (int64_t k = 0; buf->kind != K_LOCAL && k < buf->count; k++) {
            double x = element(got[i], buf->dtype, k), y = element(want[i], buf->dtype, k);
            if (close_enough(x, y, tolerance_of(buf->dtype)))
                continue;
            if (getenv("CM_TEST_DUMP")) {
                Text text = text_new(b->arena);
                kernel_print(b->kernel, &text);
                puts(text.data);
            }
            ck_abort_msg("%s, %s: buffer %d[%lld] is %.9g, not %.9g", b->kernel->name, how, i, (long long)k, x, y);
        }
    }
}

static inline void check_on(Builder *b, Kernel *expanded, void **initial, void **want, const struct Width *width)
{
    Arena *arena = arena_new(NULL, NULL);
    Pool *pool = pool_new(2);
    Device *device = open_device(arena, pool, width->cpu, width->features);
    void *one[K_MAX_BUFFERS], *two[K_MAX_BUFFERS];
    int count = b->kernel->buffers.count;
    for (int i = 0; i < count; i++) {
        const KBuffer *buf = &b->kernel->buffers.items[i];
        size_t bytes = (size_t)buf->count * (size_t)dtype_size(buf->dtype);
        /* A page boundary is far, so guards of a word on either side stand in for it. */
        one[i] = arena_alloc(arena, bytes + 64);
        two[i] = arena_alloc(arena, bytes + 64);
        memcpy(one[i], initial[i], bytes);
        memcpy(two[i], initial[i], bytes);
        memset((char *)one[i] + bytes, 0x77, 64);
    }
    compile_and_run_both(device, expanded, one, two, pool);
    compare(b, one, want, width->cpu ? width->cpu : "host");
    for (int i = 0; i < count; i++) {
        size_t bytes = (size_t)b->kernel->buffers.items[i].count * (size_t)dtype_size(b->kernel->buffers.items[i].dtype);
        ck_assert_msg(memcmp(one[i], two[i], bytes) == 0, "%s: two threads give other bits than one", b->kernel->name);
        for (int k = 0; k < 64; k++)
            if (((char *)one[i])[bytes + (size_t)k] != 0x77)
                ck_abort_msg("%s: written past the end of %d", b->kernel->name, i);
    }
    backend_cpu.close(device);
    pool_free(pool);
    arena_free(arena);
}

/* Inputs between low and high; outputs start as zeros, in-out buffers as inputs. `prepare` may overwrite inputs. */
static inline void check_with(Builder *b, double low, double high, void (*prepare)(Builder *b, void **buffers))
{
    void *initial[K_MAX_BUFFERS], *want[K_MAX_BUFFERS];
    for (int i = 0; i < b->kernel->buffers.count; i++) {
        const KBuffer *buf = &b->kernel->buffers.items[i];
        size_t bytes = (size_t)buf->count * (size_t)dtype_size(buf->dtype) + 8;
        initial[i] = arena_alloc(b->arena, bytes);
        if (buf->kind == K_IN || buf->kind == K_INOUT)
            fill(initial[i], buf->dtype, buf->count, low, high);
    }
    if (prepare)
        prepare(b, initial);
    for (int i = 0; i < b->kernel->buffers.count; i++)
        want[i] =
            arena_copy(b->arena, initial[i],
                       (size_t)b->kernel->buffers.items[i].count * (size_t)dtype_size(b->kernel->buffers.items[i].dtype) + 8);
    DiagSink sink = diag_sink_new(b->arena);
    if (!kernel_verify(b->kernel, &sink)) {
        Text text = text_new(b->arena);
        diag_render_all(&sink, &text);
        kernel_print(b->kernel, &text);
        ck_abort_msg("%s: %s", b->kernel->name, text.data);
    }
    Arena *scratch = arena_new(NULL, NULL);
    kernel_eval(scratch, b->kernel, want);
    arena_free(scratch);
    expand_kernel(b->kernel, false);
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        check_on(b, b->kernel, initial, want, &widths[i]);
}

static inline void check(Builder *b)
{
    check_with(b, -2, 2, NULL);
}

#define KERNEL_TEST(title)                                                                                                     \
    START_TEST(title)                                                                                                          \
    {                                                                                                                          \
        Arena *arena = arena_new(NULL, NULL);                                                                                  \
        random_state = 88172645463325252ull + (uint64_t)_i * 977;                                                              \
        Builder b = builder_new(arena, #title);
#define END                                                                                                                    \
    arena_free(arena);                                                                                                         \
    }                                                                                                                          \
    END_TEST

#endif
