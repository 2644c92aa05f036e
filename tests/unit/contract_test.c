/* Register-tiled contractions against the kernel interpreter, whatever the schedule: shapes that divide nothing, operands in
 * any order, windows, batches, long sums in chunks and splits; on every vector width, and with the same bits on any thread
 * count. */
#include "tests/unit/kernel_check.h"

#include "backends/cpu/schedule.h"

typedef enum Layout { NN, NT, TN } Layout; /* which operand has the summed axis last or first */

typedef enum Tail { PLAIN, BIAS, LONG } Tail;

typedef struct Case {
    DType dtype;
    Tail tail;
    int64_t batch, m, n, k; /* of a dot; of a window: images, image side, channels out, channels in */
    Layout layout;
    int64_t window, stride; /* 0: a dot */
    bool by_weight;         /* the gradient of the window's weights: sums over images and places */
    bool nested;            /* in a kernel with a second stage, by the points of an outer axis */
} Case;

#define DOT(type, end, b, rows, columns, sums, order, ...)                                                                     \
    {                                                                                                                          \
        .dtype = type, .tail = end, .batch = b, .m = rows, .n = columns, .k = sums, .layout = order, __VA_ARGS__               \
    }
#define WINDOW(end, images, side, in, out, size, step, ...)                                                                    \
    {                                                                                                                          \
        .tail = end, .batch = images, .m = side, .k = in, .n = out, .window = size, .stride = step, __VA_ARGS__                \
    }

static const Case cases[] = {
    DOT(DT_f32, PLAIN, 1, 7, 19, 23, NN),
    DOT(DT_f32, BIAS, 1, 7, 19, 23, NT),
    DOT(DT_f32, LONG, 1, 29, 33, 40, TN),
    DOT(DT_f32, BIAS, 1, 65, 100, 37, NN),
    DOT(DT_f32, BIAS, 1, 1, 300, 70, NN),
    DOT(DT_f32, BIAS, 1, 300, 1, 70, NN),
    DOT(DT_f32, BIAS, 1, 3, 5, 1300, NT),
    DOT(DT_f64, BIAS, 1, 31, 45, 29, NN),
    DOT(DT_f64, LONG, 1, 20, 17, 50, NT),
    DOT(DT_f64, BIAS, 1, 5, 9, 4000, NN),
    DOT(DT_f32, BIAS, 5, 11, 13, 8, NT),
    DOT(DT_f32, PLAIN, 20, 9, 33, 17, NT),
    DOT(DT_f32, BIAS, 3, 17, 70, 21, NN),
    DOT(DT_f32, LONG, 4, 13, 40, 19, TN),
    DOT(DT_f32, BIAS, 1, 80, 17, 70, NT),
    DOT(DT_f32, BIAS, 1, 66, 530, 66, NN), /* rows of columns far apart: copied */
    DOT(DT_f32, BIAS, 1, 5, 17, 7001, NN), /* long sums: splits */
    DOT(DT_f32, LONG, 1, 3, 40, 6500, TN),
    DOT(DT_f32, BIAS, 1, 2, 3, 70001, NN),  /* ... in chunks */
    DOT(DT_f32, PLAIN, 3, 4, 18, 4111, NT), /* ... of copies */
    DOT(DT_f32, BIAS, 1, 2, 290, 1100, NN), /* ... of wide panels */
    DOT(DT_f32, BIAS, 17, 2, 5, 6211, NN),  /* ... in chunks without splits */
    WINDOW(BIAS, 2, 9, 5, 18, 3, 1),
    WINDOW(PLAIN, 3, 7, 33, 5, 3, 1),
    WINDOW(BIAS, 2, 11, 3, 20, 3, 2),
    WINDOW(LONG, 3, 8, 6, 34, 1, 1),
    WINDOW(BIAS, 2, 6, 1, 48, 3, 1),
    WINDOW(BIAS, 2, 9, 5, 18, 3, 1, .by_weight = true),
    WINDOW(BIAS, 7, 8, 3, 17, 3, 1, .by_weight = true),
    WINDOW(PLAIN, 300, 6, 3, 17, 3, 1, .by_weight = true),
    WINDOW(PLAIN, 90, 9, 2, 5, 3, 2, .by_weight = true),
    DOT(DT_f32, BIAS, 6, 21, 37, 18, NN, .nested = true),
    DOT(DT_f32, LONG, 6, 21, 37, 18, NT, .nested = true),
};
enum { CASE_COUNT = sizeof cases / sizeof cases[0] };

/* ---- kernels ---- */

typedef struct Operands {
    int64_t x_count, w_count, y_count, columns;
    Affine x, w, y, column; /* places, by the stage's axes */
} Operands;

/* Axes: batch, m, n, k. */
static Operands add_dot_axes(Builder *b, const Case *c)
{
    Operands o = {.x_count = c->batch * c->m * c->k, .w_count = c->batch * c->n * c->k, .y_count = c->batch * c->m * c->n};
    o.columns = c->n;
    int64_t xm = c->layout == TN ? 1 : c->k, xk = c->layout == TN ? c->m : 1;
    int64_t wn = c->layout == NT ? c->k : 1, wk = c->layout == NT ? 1 : c->n;
    o.x = AFFINE(c->m * c->k, xm, 0, xk);
    o.w = AFFINE(c->n * c->k, 0, wn, wk);
    o.y = AFFINE(c->m * c->n, c->n, 1);
    o.column = AFFINE(0, 0, 1);
    if (c->nested)
        outer(b, c->batch);
    stage(b);
    if (!c->nested)
        axis(b, K_MAP, c->batch);
    axis(b, K_MAP, c->m);
    axis(b, K_MAP, c->n);
    axis(b, K_REDUCE, c->k);
    return o;
}

/* Axes: image, row, column, channel out, window row, window column, channel in. */
static Operands add_window_axes(Builder *b, const Case *c)
{
    int64_t side = c->m, taps = c->window, out = (side - taps) / c->stride + 1;
    Operands o = {.x_count = c->batch * side * side * c->k, .w_count = taps * taps * c->k * c->n, .columns = c->n};
    o.y_count = c->batch * out * out * c->n;
    o.x = AFFINE(side * side * c->k, c->stride * side * c->k, c->stride * c->k, 0, side * c->k, c->k, 1);
    o.w = AFFINE(0, 0, 0, 1, taps * c->k * c->n, c->k * c->n, c->n);
    o.y = AFFINE(out * out * c->n, out * c->n, c->n, 1);
    o.column = AFFINE(0, 0, 0, 1);
    KAxisKind of_places = c->by_weight ? K_REDUCE : K_MAP, of_taps = c->by_weight ? K_MAP : K_REDUCE;
    stage(b);
    axis(b, of_places, c->batch);
    axis(b, of_places, out);
    axis(b, of_places, out);
    axis(b, K_MAP, c->n);
    axis(b, of_taps, taps);
    axis(b, of_taps, taps);
    axis(b, of_taps, c->k);
    if (c->by_weight) { /* the second operand is the result's gradient */
        Operands swapped = {o.x_count, o.y_count, o.w_count, o.columns, o.x, o.y, o.w, o.column};
        return swapped;
    }
    return o;
}

static KRef add_tail(Builder *b, Tail tail_kind, int bias, Affine column)
{
    KRef sum = folded(b, 0);
    if (tail_kind == PLAIN)
        return sum;
    KRef value = op2(b, OP_add, sum, load(b, bias, column));
    if (tail_kind == BIAS)
        return value;
    return op2(b, OP_mul, op1(b, OP_tanh, value), op1(b, OP_sigmoid, value));
}

static void build(Builder *b, const Case *c)
{
    Operands o = c->window ? add_window_axes(b, c) : add_dot_axes(b, c);
    int x = buffer(b, K_IN, c->dtype, o.x_count), w = buffer(b, K_IN, c->dtype, o.w_count);
    int bias = buffer(b, K_IN, c->dtype, o.columns), y = buffer(b, K_OUT, c->dtype, o.y_count);
    b->stage->kind = K_STAGE_CONTRACT;
    KRef p = load(b, x, o.x), q = load(b, w, o.w);
    fold(b, K_SUM, op2(b, OP_mul, p, q), false);
    tail(b);
    store(b, y, o.y, add_tail(b, c->tail, bias, o.column));
    if (!c->nested)
        return;
    int z = buffer(b, K_OUT, c->dtype, c->batch * c->m);
    stage(b);
    axis(b, K_MAP, c->m);
    axis(b, K_REDUCE, c->n);
    b->kernel->buffers.items[y].kind = K_INOUT;
    fold(b, K_SUM, load(b, y, AFFINE(c->m * c->n, c->n, 1)), false);
    tail(b);
    store(b, z, AFFINE(c->m, 1), folded(b, 0));
}

KERNEL_TEST(contraction)
b.kernel->name = arena_printf(arena, "contraction %d", _i);
build(&b, &cases[_i]);
double sums = cases[_i].by_weight ? cases[_i].batch * cases[_i].m * cases[_i].m : cases[_i].k;
double most = 1 / sqrt(sqrt(sums)); /* so that results, and what rounding does to them, stay small */
check_with(&b, -most, most, NULL);
END

    /* ---- the cases meet every kind of schedule ---- */

    typedef struct Met {
    int in_place, packed_once, packed_by_task, splits, chunks, chunks_alone, groups, two_row_axes, masked, stored_tail;
} Met;

static void look_at(Met *met, const ContractSchedule *s)
{
    met->in_place += s->pack_columns == PACK_NONE;
    met->packed_once += s->pack_columns == PACK_SHARED;
    met->packed_by_task += s->pack_columns == PACK_TASK;
    met->splits += s->splits > 1;
    met->chunks += s->splits > 1 && s->chunk < s->split;
    met->chunks_alone += s->splits == 1 && s->chunk < s->split;
    met->groups += s->group > 1;
    met->two_row_axes += s->row_outer >= 0;
    met->masked += s->masked;
    met->stored_tail += !s->unrolled_tail && !s->stored_sums;
}

START_TEST(every_kind_of_schedule_is_met)
{
    Arena *arena = arena_new(NULL, NULL);
    Met met = {0};
    Device *device = open_device(arena, NULL, "x86-64-v4", "");
    for (int i = 0; i < CASE_COUNT; i++) {
        Builder b = builder_new(arena, "case");
        build(&b, &cases[i]);
        expand_kernel(b.kernel, false);
        ContractSchedule schedule;
        if (schedule_contract(arena, &device->target, b.kernel, &b.kernel->stages.items[0], cases[i].nested, &schedule))
            look_at(&met, &schedule);
    }
    ck_assert_int_gt(met.in_place, 0);
    ck_assert_int_gt(met.packed_once, 0);
    ck_assert_int_gt(met.packed_by_task, 0);
    ck_assert_int_gt(met.splits, 0);
    ck_assert_int_gt(met.chunks, 0);
    ck_assert_int_gt(met.chunks_alone, 0);
    ck_assert_int_gt(met.groups, 0);
    ck_assert_int_gt(met.two_row_axes, 0);
    ck_assert_int_gt(met.masked, 0);
    ck_assert_int_gt(met.stored_tail, 0);
    backend_cpu.close(device);
    arena_free(arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("contract");
    TCase *group = tcase_create("contract");
    tcase_add_loop_test(group, contraction, 0, CASE_COUNT);
    tcase_add_test(group, every_kind_of_schedule_is_met);
    suite_add_tcase(suite, group);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
