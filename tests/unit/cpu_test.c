/* Generated CPU code against the kernel interpreter: maps, folds, scans, guards, gathers, every operation, every type, on every
 * vector width that this machine can run; and the same bits on one thread and on two. */
#include "tests/unit/kernel_check.h"

/* ---- maps ---- */

static const int64_t lengths[] = {1, 2, 3, 15, 16, 17, 63, 64, 100, 1000, 4099, 100000};

KERNEL_TEST(map_of_any_length)
int64_t n = lengths[_i];
int x = buffer(&b, K_IN, DT_f32, n), y = buffer(&b, K_IN, DT_f32, n), z = buffer(&b, K_OUT, DT_f32, n);
stage(&b);
axis(&b, K_MAP, n);
store(&b, z, AFFINE(1), op2(&b, OP_add, load(&b, x, AFFINE(1)), op2(&b, OP_mul, load(&b, y, AFFINE(1)), real(&b, DT_f32, 3))));
check(&b);
END

KERNEL_TEST(transpose)
int64_t rows = 3 + _i * 14, columns = 40 - _i * 5;
int x = buffer(&b, K_IN, DT_f32, rows *columns), z = buffer(&b, K_OUT, DT_f32, rows *columns);
stage(&b);
axis(&b, K_MAP, rows);
axis(&b, K_MAP, columns);
store(&b, z, AFFINE(1, rows), op1(&b, OP_neg, load(&b, x, AFFINE(columns, 1))));
check(&b);
END

/* A bias by channel: rows of few channels make one long vector axis, whose bias is gathered. */
KERNEL_TEST(bias_of_few_channels)
int64_t rows = 1000, channels = 1 + _i;
int x = buffer(&b, K_IN, DT_f32, rows *channels), bias = buffer(&b, K_IN, DT_f32, channels);
int z = buffer(&b, K_OUT, DT_f32, rows *channels);
stage(&b);
axis(&b, K_MAP, rows);
axis(&b, K_MAP, channels);
KRef sum = op2(&b, OP_add, load(&b, x, AFFINE(channels, 1)), load(&b, bias, AFFINE(0, 1)));
KRef where = op3(&b, OP_cast, DT_f32, axis_value(&b, AFFINE(2, 3)), -1, -1);
store(&b, z, AFFINE(channels, 1), op2(&b, OP_add, sum, where));
check(&b);
END

KERNEL_TEST(in_place)
int64_t n = 5000;
int x = buffer(&b, K_INOUT, DT_f32, n);
stage(&b);
axis(&b, K_MAP, n);
store(&b, x, AFFINE(1), op1(&b, OP_exp, load(&b, x, AFFINE(1))));
check(&b);
END

KERNEL_TEST(nothing_to_do)
int x = buffer(&b, K_IN, DT_f32, 0), z = buffer(&b, K_OUT, DT_f32, _i ? 4 : 0);
stage(&b);
axis(&b, K_MAP, _i ? 4 : 0);
axis(&b, K_REDUCE, _i ? 0 : 4);
fold(&b, K_MAX, load(&b, x, AFFINE(1, 0)), false);
tail(&b);
store(&b, z, AFFINE(1), folded(&b, 0));
check(&b);
END

    /* ---- folds ---- */

    /* Three axes; bit i of `mask` says whether axis i is folded. */
    static void
    build_fold(Builder *b, const int64_t *size, int mask, KCombine combine, DType dtype, bool wide)
{
    int64_t kept = 1;
    Affine out = {0};
    for (int i = 2; i >= 0; i--)
        if (!(mask >> i & 1)) {
            out.coef[i] = kept;
            kept *= size[i];
        }
    int x = buffer(b, K_IN, dtype, size[0] * size[1] * size[2]), z = buffer(b, K_OUT, dtype, kept);
    stage(b);
    for (int i = 0; i < 3; i++)
        axis(b, mask >> i & 1 ? K_REDUCE : K_MAP, size[i]);
    fold(b, combine, load(b, x, AFFINE(size[1] * size[2], size[2], 1)), wide);
    tail(b);
    store(b, z, out, folded(b, 0));
}

KERNEL_TEST(sum_over_any_axes)
static const int64_t sizes[4][3] = {{5, 7, 33}, {37, 129, 19}, {300, 2, 64}, {2, 500, 3}};
build_fold(&b, sizes[_i / 8], _i % 8, K_SUM, DT_f32, _i % 3 == 0);
check(&b);
END

    KERNEL_TEST(every_fold_of_every_type) static const DType dtypes[] = {DT_f32, DT_f64, DT_f16, DT_bf16, DT_i32, DT_u32};
static const int64_t size[] = {3, 50, 20};
KCombine combine = (KCombine)(_i % 4);
build_fold(&b, size, _i % 3 == 0 ? 2 : _i % 3 == 1 ? 4 : 6, combine, dtypes[_i / 4], false);
check_with(&b, combine == K_PROD ? 0.9 : -2, combine == K_PROD ? 1.1 : 2, NULL);
END

    static void
    put_nans(Builder *b, void **buffers)
{
    (void)b;
    ((float *)buffers[0])[37] = NAN;
    ((float *)buffers[0])[70 * 9] = NAN;
}

KERNEL_TEST(extremes_pass_nan_on)
static const int64_t size[] = {9, 70, 1};
build_fold(&b, size, 2, _i ? K_MAX : K_MIN, DT_f32, false);
check_with(&b, -2, 2, put_nans);
END

KERNEL_TEST(long_sum_to_one)
int64_t n = 300007;
int x = buffer(&b, K_IN, DT_f32, n), y = buffer(&b, K_IN, DT_f32, n), z = buffer(&b, K_OUT, DT_f32, 2);
stage(&b);
axis(&b, K_REDUCE, n);
KRef a = load(&b, x, AFFINE(1));
fold(&b, K_SUM, op2(&b, OP_mul, a, load(&b, y, AFFINE(1))), false);
fold(&b, K_MAX, a, false);
tail(&b);
store(&b, z, AFFINE(0), op2(&b, OP_mul, folded(&b, 0), real(&b, DT_f32, 0.001)));
store(&b, z, (Affine){.offset = 1}, folded(&b, 1));
check(&b);
END

KERNEL_TEST(column_sums_of_many_rows)
int64_t rows = 6000, columns = 33;
int x = buffer(&b, K_IN, DT_f32, rows *columns), z = buffer(&b, K_OUT, DT_f32, columns);
stage(&b);
axis(&b, K_MAP, columns);
axis(&b, K_REDUCE, rows);
fold(&b, K_SUM, load(&b, x, AFFINE(1, columns)), _i);
tail(&b);
store(&b, z, AFFINE(1), op2(&b, OP_div, folded(&b, 0), real(&b, DT_f32, (double)rows)));
check(&b);
END

/* Channels in groups of a few, summed over pixels and within the group. */
KERNEL_TEST(group_sums)
int64_t batch = _i % 2 ? 40 : 2, pixels = 200, groups = 8, each = 1 + _i;
int64_t channels = groups * each;
int x = buffer(&b, K_IN, DT_f32, batch *pixels *channels), z = buffer(&b, K_OUT, DT_f32, batch *groups * 2);
outer(&b, batch);
stage(&b);
axis(&b, K_MAP, groups);
axis(&b, K_REDUCE, pixels);
axis(&b, K_REDUCE, each);
KRef a = load(&b, x, AFFINE(pixels *channels, each, channels, 1));
fold(&b, K_SUM, a, true);
fold(&b, K_SUM, op2(&b, OP_mul, a, a), true);
tail(&b);
store(&b, z, AFFINE(groups * 2, 2), folded(&b, 0));
store(&b, z, (Affine){.offset = 1, .coef = {groups * 2, 2}}, folded(&b, 1));
check(&b);
END

/* ---- scans ---- */

KERNEL_TEST(running_sums)
int64_t size[3] = {4, 37, 21};
int x = buffer(&b, K_IN, DT_f32, 4 * 37 * 21), z = buffer(&b, K_OUT, DT_f32, 4 * 37 * 21);
stage(&b);
for (int i = 0; i < 3; i++)
    axis(&b, i == _i ? K_SCAN : K_MAP, size[i]);
fold(&b, K_SUM, load(&b, x, AFFINE(37 * 21, 21, 1)), false);
tail(&b);
store(&b, z, AFFINE(37 * 21, 21, 1), op2(&b, OP_add, folded(&b, 0), real(&b, DT_f32, 1)));
check(&b);
END

KERNEL_TEST(running_maximum_of_sums)
int x = buffer(&b, K_IN, DT_f32, 6 * 30 * 18), z = buffer(&b, K_OUT, DT_f32, 6 * 30);
stage(&b);
axis(&b, K_MAP, 6);
axis(&b, K_SCAN, 30);
axis(&b, K_REDUCE, 18);
fold(&b, _i ? K_MAX : K_SUM, load(&b, x, AFFINE(30 * 18, 18, 1)), false);
tail(&b);
store(&b, z, AFFINE(30, 1), folded(&b, 0));
check(&b);
END

/* ---- guards, gathers, scatters ---- */

KERNEL_TEST(padding)
int64_t h = 9, w = 11, c = _i ? 5 : 1;
int x = buffer(&b, K_IN, DT_f32, h *w *c), z = buffer(&b, K_OUT, DT_f32, (h + 2) * (w + 2) * c);
stage(&b);
axis(&b, K_MAP, h + 2);
axis(&b, K_MAP, w + 2);
axis(&b, K_MAP, c);
KRef y_in = inside(&b, axis_value(&b, (Affine){.offset = -1, .coef = {1}}), h);
KRef x_in = inside(&b, axis_value(&b, (Affine){.offset = -1, .coef = {0, 1}}), w);
KRef guard = op2(&b, OP_and, y_in, x_in);
KRef a = load_guarded(&b, x, (Affine){.offset = -w * c - c, .coef = {w * c, c, 1}}, -1, guard);
store(&b, z, AFFINE((w + 2) * c, c, 1), a);
check(&b);
END

    static void
    put_indices(Builder *b, void **buffers)
{
    int64_t limit = b->kernel->buffers.items[1].count;
    for (int64_t i = 0; i < limit; i++)
        ((int32_t *)buffers[1])[i] = (int32_t)random_below(24) - 2; /* some outside 0..20 */
}

/* take along the first or the last axis: rows or single elements are gathered. */
KERNEL_TEST(take)
int64_t rows = 20, width = 35, wanted = 50;
int x = buffer(&b, K_IN, DT_f32, rows *width), i = buffer(&b, K_IN, DT_i32, wanted),
    z = buffer(&b, K_OUT, DT_f32, wanted *width);
stage(&b);
axis(&b, K_MAP, wanted);
axis(&b, K_MAP, width);
KRef index = load(&b, i, AFFINE(1, 0));
KRef ok = inside(&b, index, rows);
KRef a = load_guarded(&b, x, _i ? AFFINE(0, rows) : AFFINE(0, 1), offset(&b, index, _i ? 1 : width), ok);
store(&b, z, _i ? AFFINE(1, wanted) : AFFINE(width, 1), a);
check_with(&b, -2, 2, put_indices);
END

KERNEL_TEST(scatter_add)
int64_t rows = 20, width = 35, count = 300;
int z = buffer(&b, K_INOUT, DT_f32, rows *width), i = buffer(&b, K_IN, DT_i32, count),
    u = buffer(&b, K_IN, DT_f32, count *width);
stage(&b);
axis(&b, K_MAP, count);
axis(&b, K_MAP, width);
KRef index = load(&b, i, AFFINE(1, 0));
KRef value = load(&b, u, AFFINE(width, 1));
KStore *s = store(&b, z, _i ? AFFINE(0, rows) : AFFINE(0, 1), value);
s->dynamic = offset(&b, index, _i ? 1 : width);
s->guard = inside(&b, index, rows);
s->add = true;
check_with(&b, -2, 2, put_indices);
END

KERNEL_TEST(guarded_store)
int64_t n = 100;
int x = buffer(&b, K_IN, DT_f32, n), z = buffer(&b, K_OUT, DT_f32, n / 2);
stage(&b);
axis(&b, K_MAP, n);
KRef a = load(&b, x, AFFINE(1));
KStore *s = store(&b, z, (Affine){.offset = -20, .coef = {1}}, a);
s->guard = inside(&b, axis_value(&b, (Affine){.offset = -20, .coef = {1}}), n / 2);
check(&b);
END

    /* ---- several stages ---- */

    static void
    build_norm(Builder *b, int64_t rows, int64_t width, DType dtype)
{
    int x = buffer(b, K_IN, dtype, rows * width), w = buffer(b, K_IN, dtype, width), z = buffer(b, K_OUT, dtype, rows * width);
    int stats = buffer(b, K_LOCAL, DT_f32, 2), row = buffer(b, K_LOCAL, DT_f32, width);
    outer(b, rows);
    stage(b);
    axis(b, K_REDUCE, width);
    fold(b, K_SUM, op3(b, OP_cast, DT_f32, load(b, x, AFFINE(width, 1)), -1, -1), false);
    tail(b);
    store(b, stats, AFFINE(0), op2(b, OP_div, folded(b, 0), real(b, DT_f32, (double)width)));
    stage(b);
    axis(b, K_MAP, width);
    KRef a = op3(b, OP_cast, DT_f32, load(b, x, AFFINE(width, 1)), -1, -1);
    store(b, row, AFFINE(0, 1), op2(b, OP_sub, a, load(b, stats, AFFINE(0))));
    stage(b);
    axis(b, K_REDUCE, width);
    a = load(b, row, AFFINE(0, 1));
    fold(b, K_SUM, op2(b, OP_mul, a, a), false);
    tail(b);
    KRef variance = op2(b, OP_div, folded(b, 0), real(b, DT_f32, (double)width));
    store(b, stats, (Affine){.offset = 1}, op1(b, OP_rsqrt, op2(b, OP_add, variance, real(b, DT_f32, 1e-5))));
    stage(b);
    axis(b, K_MAP, width);
    a = op2(b, OP_mul, load(b, row, AFFINE(0, 1)), load(b, stats, (Affine){.offset = 1}));
    KRef scale = op3(b, OP_cast, DT_f32, load(b, w, AFFINE(0, 1)), -1, -1);
    a = op2(b, OP_mul, op2(b, OP_mul, a, scale), op1(b, OP_sigmoid, a));
    store(b, z, AFFINE(width, 1), op3(b, OP_cast, dtype, a, -1, -1));
}

KERNEL_TEST(norm_of_many_rows)
build_norm(&b, 50, 20 + 37 * _i, _i == 2 ? DT_bf16 : DT_f32);
check(&b);
END

    KERNEL_TEST(norm_of_few_rows) build_norm(&b, 1 + _i, 40000, DT_f32);
check(&b);
END

    /* ---- every operation, every type ---- */

    static bool
    takes_dtype(IrOp op, DType dtype)
{
    bool logic = op == OP_and || op == OP_or || op == OP_xor || op == OP_not;
    if (op == OP_cast || op == OP_select)
        return false;
    if (logic)
        return !dtype_is_float(dtype) && dtype != DT_u8 && dtype != DT_i64;
    if (op == OP_shl || op == OP_shr)
        return dtype == DT_i32 || dtype == DT_u32;
    bool integer_too = op == OP_neg || op == OP_abs || op == OP_sign || op == OP_add || op == OP_sub || op == OP_mul ||
                       op == OP_div || op == OP_rem || op == OP_max || op == OP_min || op == OP_eq || op == OP_ne ||
                       op == OP_lt || op == OP_le || op == OP_stop_grad;
    return dtype_is_float(dtype) || (integer_too && (dtype == DT_i32 || dtype == DT_u32));
}

/* The pairs that exist: loop tests are counted before they run. */
static struct {
    IrOp op;
    DType dtype;
} operations[OP_COUNT * DT_u8];
static int operation_count;

static void find_operations(void)
{
    for (int op = 0; op < OP_COUNT; op++)
        for (int dtype = 0; dtype < DT_u8; dtype++)
            if (ir_op_info[op].traits & TRAIT_pointwise && takes_dtype((IrOp)op, (DType)dtype)) {
                operations[operation_count].op = (IrOp)op;
                operations[operation_count++].dtype = (DType)dtype;
            }
}

KERNEL_TEST(every_operation)
IrOp op = operations[_i].op;
DType dtype = operations[_i].dtype;
b.kernel->name = arena_printf(arena, "%s of %s", ir_op_info[op].name, dtype_name(dtype));
bool compares = op == OP_eq || op == OP_ne || op == OP_lt || op == OP_le || op == OP_is_finite;
DType result = compares ? DT_bool : dtype;
int64_t n = 203;
int x = buffer(&b, K_IN, dtype, n), y = buffer(&b, K_IN, dtype, n), z = buffer(&b, K_OUT, result, n);
stage(&b);
axis(&b, K_MAP, n);
KRef a = load(&b, x, AFFINE(1)), c = ir_op_info[op].arity == 2 ? load(&b, y, AFFINE(1)) : -1;
store(&b, z, AFFINE(1), op3(&b, op, result, a, c, -1));
bool positive = op == OP_log || op == OP_sqrt || op == OP_rsqrt || op == OP_pow;
bool small = op == OP_erfinv || op == OP_log1p;
check_with(&b, positive ? 0.3 : small ? -0.9 : -2, small ? 0.9 : 2, NULL);
END

KERNEL_TEST(cast_between_all)
DType from = (DType)(_i / DT_COUNT), to = (DType)(_i % DT_COUNT);
b.kernel->name = arena_printf(arena, "cast of %s to %s", dtype_name(from), dtype_name(to));
int x = buffer(&b, K_IN, from, 77), z = buffer(&b, K_OUT, to, 77);
stage(&b);
axis(&b, K_MAP, 77);
KRef a = load(&b, x, AFFINE(1));
store(&b, z, AFFINE(1), from == to ? a : op3(&b, OP_cast, to, a, -1, -1));
check_with(&b, to == DT_u8 || to == DT_u32 ? 0 : -40, 20, NULL);
END

    static void
    put_hard_integers(Builder *b, void **buffers)
{
    (void)b;
    static const int32_t hard[] = {0, 1, -1, INT32_MIN, INT32_MAX, 7, -7, 3, -3, 31, 32, 40};
    for (int i = 0; i < 144; i++) {
        ((int32_t *)buffers[0])[i] = hard[i / 12];
        ((int32_t *)buffers[1])[i] = hard[i % 12];
    }
}

KERNEL_TEST(hard_integers)
static const IrOp ops[] = {OP_div, OP_rem, OP_shl, OP_shr, OP_max, OP_mul};
IrOp op = ops[_i % 6];
DType dtype = _i < 6 ? DT_i32 : DT_u32;
int x = buffer(&b, K_IN, dtype, 144), y = buffer(&b, K_IN, dtype, 144), z = buffer(&b, K_OUT, dtype, 144);
stage(&b);
axis(&b, K_MAP, 144);
store(&b, z, AFFINE(1), op2(&b, op, load(&b, x, AFFINE(1)), load(&b, y, AFFINE(1))));
check_with(&b, 0, 1, put_hard_integers);
END

    static void
    put_hard_floats(Builder *b, void **buffers)
{
    (void)b;
    static const float hard[] = {0,   -0.0f,        1e30f,         -1e30f, INFINITY, -INFINITY,
                                 NAN, 2147483648.f, -2147483904.f, 255.5f, -1.5f,    1e-40f};
    memcpy(buffers[0], hard, sizeof hard);
}

KERNEL_TEST(floats_saturate_to_integers)
static const DType to[] = {DT_i32, DT_u32, DT_u8, DT_i64, DT_bool, DT_f16, DT_bf16};
int x = buffer(&b, K_IN, DT_f32, 12), z = buffer(&b, K_OUT, to[_i], 12);
stage(&b);
axis(&b, K_MAP, 12);
store(&b, z, AFFINE(1), op3(&b, OP_cast, to[_i], load(&b, x, AFFINE(1)), -1, -1));
check_with(&b, 0, 1, put_hard_floats);
END

KERNEL_TEST(random_numbers)
int key = buffer(&b, K_IN, DT_u32, 2), z = buffer(&b, K_OUT, DT_u32, 1000);
stage(&b);
axis(&b, K_MAP, 1000);
KRef counter = op3(&b, OP_cast, DT_u32, axis_value(&b, AFFINE(1)), -1, -1);
KInst inst = {.op = K_philox, .dtype = DT_u32, .imm = _i};
inst.arg[0] = load(&b, key, AFFINE(0));
inst.arg[1] = load(&b, key, (Affine){.offset = 1});
inst.arg[2] = counter;
store(&b, z, AFFINE(1), push(&b, inst));
check(&b);
END

    /* ---- anything ---- */

    /* A dense layout over the axes in `mask`, in a random order. */
    static Affine
    random_layout(const Builder *b, int axes, unsigned mask, int64_t *count)
{
    Affine index = {0};
    int order[8], used = 0;
    for (int i = 0; i < axes; i++)
        if (mask >> i & 1) {
            int at = (int)random_below(++used);
            for (int k = used - 1; k > at; k--)
                order[k] = order[k - 1];
            order[at] = i;
        }
    *count = 1;
    for (int i = 0; i < used; i++) {
        index.coef[order[i]] = *count;
        *count *= order[i] < b->kernel->outer.count ? b->kernel->outer.items[order[i]].extent
                                                    : b->stage->axes.items[order[i] - b->kernel->outer.count].extent;
    }
    return index;
}

static KRef random_value(Builder *b, int axes, unsigned allowed, int depth)
{
    static const IrOp ops[] = {OP_add, OP_sub, OP_mul, OP_max, OP_min, OP_tanh, OP_abs};
    if (depth == 0 || random_below(4) == 0) {
        if (random_below(8) == 0)
            return real(b, DT_f32, (double)random_below(9) / 4 - 1);
        if (random_below(8) == 0)
            return op3(b, OP_cast, DT_f32, axis_value(b, AFFINE(allowed & 1, (allowed >> 1 & 1) * 2)), -1, -1);
        int64_t count;
        unsigned mask = (unsigned)random_below(1 << axes) | (unsigned)random_below(1 << axes);
        Affine index = random_layout(b, axes, mask & allowed, &count);
        return load(b, buffer(b, K_IN, DT_f32, count), index);
    }
    IrOp op = ops[random_below(7)];
    KRef x = random_value(b, axes, allowed, depth - 1);
    return ir_op_info[op].arity == 1 ? op1(b, op, x) : op2(b, op, x, random_value(b, axes, allowed, depth - 1));
}

/* Kernels stay small enough for the interpreter. */
static int64_t random_extent(int64_t *points)
{
    static const int64_t extents[] = {1, 2, 3, 5, 8, 16, 17, 33, 40, 100};
    int64_t extent = extents[random_below(10)];
    extent = *points * extent > 50000 ? 2 : extent;
    *points *= extent;
    return extent;
}

KERNEL_TEST(any_kernel)
int64_t points = 1;
b.kernel->name = arena_printf(arena, "random kernel %d", _i);
int outers = (int)random_below(3), inners = 1 + (int)random_below(3), axes = outers + inners;
for (int i = 0; i < outers; i++)
    outer(&b, random_extent(&points));
stage(&b);
unsigned kept = (1u << outers) - 1, all = (1u << axes) - 1;
bool folds = random_below(3) > 0, scans = false;
for (int i = outers; i < axes; i++) {
    KAxisKind kind = folds && random_below(2) ? (random_below(6) == 0 && !scans ? K_SCAN : K_REDUCE) : K_MAP;
    scans |= kind == K_SCAN;
    kept |= kind == K_REDUCE ? 0 : 1u << i;
    axis(&b, kind, random_extent(&points));
}
int accs = folds ? 1 + (int)random_below(2) : 0;
for (int i = 0; i < accs; i++)
    fold(&b, random_below(2) ? K_SUM : K_MAX, random_value(&b, axes, all, 3), random_below(2));
if (folds)
    tail(&b);
KRef value = random_value(&b, axes, kept, 2);
for (int i = 0; i < accs; i++)
    value = op2(&b, OP_add, value, folded(&b, i));
int64_t count;
Affine index = random_layout(&b, axes, kept, &count);
store(&b, buffer(&b, K_OUT, DT_f32, count), index, value);
if (b.kernel->buffers.count < K_MAX_BUFFERS)
    check_with(&b, -1, 1, NULL);
END

    int
    main(void)
{
    Suite *suite = suite_create("cpu");
    TCase *t = tcase_create("kernels");
    find_operations();
    tcase_add_loop_test(t, map_of_any_length, 0, 12);
    tcase_add_loop_test(t, transpose, 0, 4);
    tcase_add_loop_test(t, bias_of_few_channels, 0, 6);
    tcase_add_test(t, in_place);
    tcase_add_loop_test(t, nothing_to_do, 0, 2);
    tcase_add_loop_test(t, sum_over_any_axes, 0, 32);
    tcase_add_loop_test(t, every_fold_of_every_type, 0, 24);
    tcase_add_loop_test(t, extremes_pass_nan_on, 0, 2);
    tcase_add_test(t, long_sum_to_one);
    tcase_add_loop_test(t, column_sums_of_many_rows, 0, 2);
    tcase_add_loop_test(t, group_sums, 0, 6);
    tcase_add_loop_test(t, running_sums, 0, 3);
    tcase_add_loop_test(t, running_maximum_of_sums, 0, 2);
    tcase_add_loop_test(t, padding, 0, 2);
    tcase_add_loop_test(t, take, 0, 2);
    tcase_add_loop_test(t, scatter_add, 0, 2);
    tcase_add_test(t, guarded_store);
    tcase_add_loop_test(t, norm_of_many_rows, 0, 4);
    tcase_add_loop_test(t, norm_of_few_rows, 0, 2);
    tcase_add_loop_test(t, every_operation, 0, operation_count);
    tcase_add_loop_test(t, cast_between_all, 0, DT_COUNT * DT_COUNT);
    tcase_add_loop_test(t, hard_integers, 0, 12);
    tcase_add_loop_test(t, floats_saturate_to_integers, 0, 7);
    tcase_add_loop_test(t, random_numbers, 0, 6);
    tcase_add_loop_test(t, any_kernel, 0, 150);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
