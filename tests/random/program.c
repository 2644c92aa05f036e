/* The generator's frame: the pool of values, what is known of them, and the walk that adds nodes. */
#include "tests/random/internal.h"

#include <math.h>

enum { MOST_MAGNITUDE = 100, TRIES = 30 };

/* ---- what a value can be ---- */

void measure(Scope *scope, IrRef ref, EvalTensor *values)
{
    IrFunc view = *scope->func;
    view.results.items = &ref;
    view.results.count = 1;
    for (int k = 0; k < scope->set_count; k++)
        ir_eval(scope->gen->scratch, &view, EVAL_wide, scope->sets[k].items, &values[k]);
}

static Pooled *find(const Scope *scope, IrRef ref)
{
    for (int i = 0; i < scope->pool.count; i++)
        if (scope->pool.items[i].ref == ref)
            return &scope->pool.items[i];
    return NULL;
}

static void measure_range(Scope *scope, IrRef ref, double *low, double *high)
{
    ArenaMark mark = arena_mark(scope->gen->scratch);
    EvalTensor values[MOST_SETS];
    *low = INFINITY;
    *high = -INFINITY;
    measure(scope, ref, values);
    for (int k = 0; k < scope->set_count; k++)
        for (int64_t i = 0; i < ir_element_count(&values[k].type); i++) {
            double x = values[k].integer ? (double)values[k].integer[i] : values[k].real[i];
            *low = isnan(x) ? -INFINITY : fmin(*low, x);
            *high = isnan(x) ? INFINITY : fmax(*high, x);
        }
    if (*low > *high)
        *low = *high = 0; /* no elements */
    arena_rewind(scope->gen->scratch, mark);
}

void range_of(Scope *scope, IrRef ref, double *low, double *high)
{
    Pooled *pooled = find(scope, ref);
    if (pooled && !pooled->measured) {
        measure_range(scope, ref, &pooled->low, &pooled->high);
        pooled->measured = true;
    }
    if (pooled)
        *low = pooled->low, *high = pooled->high;
    else
        measure_range(scope, ref, low, high);
}

bool is_far(Scope *scope, double distance, double size)
{
    return fabs(distance) > fmax(1e-3, 64 * scope->gen->unit) * fmax(1, size);
}

bool is_exact(const Scope *scope, IrRef ref)
{
    const Pooled *pooled = find(scope, ref);
    return pooled && pooled->exact;
}

bool all_exact(const Scope *scope, const IrRef *refs, int count)
{
    bool exact = true;
    for (int i = 0; i < count; i++)
        exact &= is_exact(scope, refs[i]);
    return exact;
}

/* ---- the pool ---- */

IrRef keep(Scope *scope, IrRef ref, bool exact)
{
    const IrType *type = ir_type_of(scope->func, ref);
    Pooled pooled = {.ref = ref, .exact = exact};
    if (find(scope, ref))
        return ref;
    if (dtype_is_float(type->dtype)) {
        measure_range(scope, ref, &pooled.low, &pooled.high);
        pooled.measured = true;
        double size = fmax(fabs(pooled.low), fabs(pooled.high));
        if (!(size <= MOST_MAGNITUDE))
            return size < 1e4 ? fit(scope, ref, -2, 2) : NOTHING;
    }
    list_push(scope->gen->arena, &scope->pool, pooled);
    return ref;
}

IrRef fit(Scope *scope, IrRef x, double low, double high)
{
    IrFunc *func = scope->func;
    IrType type = *ir_type_of(func, x);
    double from, to;
    range_of(scope, x, &from, &to);
    if (from >= low && to <= high)
        return x;
    double scale = fmin(0.9 * (high - low) / (to - from), 4 / fmax(fabs(from), fabs(to)));
    scale = fmin(scale, 4); /* a large scale would be steep */
    IrRef scaled = ir_binary(func, OP_mul, x, ir_const(func, type, dtype_round(type.dtype, scale)));
    double start = low + 0.05 * (high - low) - scale * from;
    IrRef moved = ir_binary(func, OP_add, scaled, ir_const(func, type, dtype_round(type.dtype, start)));
    range_of(scope, moved, &from, &to);
    return from >= low && to <= high ? keep(scope, moved, false) : NOTHING;
}

/* Mostly one of the later half, often the last, so that chains grow; mostly an array of the program's main type. */
IrRef any_value(Scope *scope)
{
    Gen *gen = scope->gen;
    int count = scope->pool.count;
    IrRef ref = NOTHING;
    if (count && draw_chance(&gen->draws, 30))
        return scope->pool.items[count - 1].ref;
    for (int i = 0; i < 4 && count; i++) {
        int64_t first = draw_chance(&gen->draws, 60) ? count / 2 : 0;
        ref = scope->pool.items[draw_between(&gen->draws, first, count - 1)].ref;
        const IrType *type = ir_type_of(scope->func, ref);
        if ((type->dtype == gen->real && type->rank) || draw_chance(&gen->draws, 40))
            break;
    }
    return ref;
}

static IrRef any_of_type(Scope *scope, const IrType *type)
{
    IrRef found = NOTHING;
    int count = 0;
    for (int i = 0; i < scope->pool.count; i++) {
        IrRef ref = scope->pool.items[i].ref;
        if (ir_type_equal(ir_type_of(scope->func, ref), type) && draw_below(&scope->gen->draws, ++count) == 0)
            found = ref;
    }
    return found;
}

IrRef any_real(Scope *scope, int least_rank, int most_rank)
{
    for (int i = 0; i < TRIES && scope->pool.count; i++) {
        IrRef ref = any_value(scope);
        const IrType *type = ir_type_of(scope->func, ref);
        if (type->dtype == scope->gen->real && type->rank >= least_rank && type->rank <= most_rank && ir_element_count(type))
            return ref;
    }
    IrType type = random_type(scope->gen, scope->gen->real, most_rank);
    while (type.rank < least_rank)
        type.dim[type.rank++] = scope->gen->sizes[0];
    return value_of(scope, type);
}

/* ---- making a value of a type ---- */

int64_t element_limit(const Scope *scope)
{
    return scope->depth ? 300 : 1500;
}

IrType random_type(Gen *gen, DType dtype, int most_rank)
{
    IrType type = {.dtype = dtype};
    int64_t count = 1, rank = draw_between(&gen->draws, draw_chance(&gen->draws, 15) ? 0 : 1, most_rank);
    while (type.rank < rank) {
        int64_t size = gen->sizes[draw_below(&gen->draws, SIZE_COUNT)];
        if (count * size > 500)
            break;
        type.dim[type.rank++] = size;
        count *= size;
    }
    return type;
}

static IrRef random_literal(Scope *scope, IrType type)
{
    Gen *gen = scope->gen;
    EvalTensor value = draw_tensor(gen->arena, &gen->draws, type, -2, 2, -3, 9);
    void *bytes = arena_alloc(gen->arena, (size_t)(ir_element_count(&type) * dtype_size(type.dtype)) + 1);
    eval_tensor_write(&value, bytes);
    return ir_literal(scope->func, type, bytes);
}

IrRef new_param(Scope *scope, IrType type)
{
    Gen *gen = scope->gen;
    if (scope->depth)
        return keep(scope, random_literal(scope, type), true);
    IrRef ref = ir_param(scope->func, type, NULL);
    EvalTensor value = draw_tensor(gen->arena, &gen->draws, type, -2, 2, -3, 9);
    list_push(gen->arena, &scope->sets[0], value);
    return keep(scope, ref, !gen->smooth || !dtype_is_float(type.dtype));
}

/* A value of fewer axes, repeated. */
static IrRef repeated(Scope *scope, const IrType *type)
{
    IrRef x = any_value(scope);
    int64_t dims[IR_MAX_RANK];
    if (x == NOTHING || ir_type_of(scope->func, x)->dtype != type->dtype)
        return NOTHING;
    const IrType *from = ir_type_of(scope->func, x);
    int matched = 0;
    for (int axis = 0; axis < type->rank && matched < from->rank; axis++)
        if (type->dim[axis] == from->dim[matched])
            dims[matched++] = axis;
    if (matched < from->rank || from->rank == type->rank)
        return NOTHING;
    return keep(scope, ir_broadcast(scope->func, x, *type, dims), is_exact(scope, x));
}

static IrRef converted(Scope *scope, const IrType *type)
{
    IrRef x = any_value(scope);
    if (x == NOTHING || !ir_shape_equal(ir_type_of(scope->func, x), type))
        return NOTHING;
    return random_cast(scope, x, type->dtype);
}

static IrRef made_up(Scope *scope, IrType type)
{
    Gen *gen = scope->gen;
    int64_t choice = draw_below(&gen->draws, 3);
    if (choice == 0 && type.rank && type.dtype != DT_bool)
        return keep(scope, ir_iota(scope->func, type, (int)draw_below(&gen->draws, type.rank)), true);
    if (choice == 1) {
        double value = dtype_is_float(type.dtype) ? (double)draw_between(&gen->draws, -8, 8) / 4
                                                  : (double)draw_between(&gen->draws, 0, type.dtype == DT_bool ? 1 : 9);
        return keep(scope, ir_const(scope->func, type, value), true);
    }
    return new_param(scope, type);
}

IrRef value_of(Scope *scope, IrType type)
{
    Gen *gen = scope->gen;
    IrRef found = draw_chance(&gen->draws, 80) ? any_of_type(scope, &type) : NOTHING;
    for (int i = 0; i < 6 && found == NOTHING; i++) {
        found = repeated(scope, &type);
        if (found == NOTHING)
            found = converted(scope, &type);
    }
    if (found == NOTHING && draw_chance(&gen->draws, 50))
        found = new_param(scope, type);
    return found == NOTHING ? made_up(scope, type) : found;
}

/* An index: drawn, or a whole number of the program brought near the axis. */
IrRef index_below(Scope *scope, IrType type, int64_t size)
{
    Gen *gen = scope->gen;
    type.dtype = draw_chance(&gen->draws, 80) ? DT_i32 : DT_u32;
    IrRef any = value_of(scope, type);
    IrRef limit = ir_const(scope->func, type, (double)(size + 2)), one = ir_const(scope->func, type, 1);
    IrRef index = ir_binary(scope->func, OP_sub, ir_binary(scope->func, OP_rem, any, limit), one);
    return keep(scope, index, true);
}

/* ---- the walk ---- */

static bool make_none(Scope *scope, IrOp op)
{
    (void)scope, (void)op;
    return false;
}

static bool (*const maker_of[OP_COUNT])(Scope *, IrOp) = {
    [OP_param] = make_leaf,
    [OP_const] = make_leaf,
    [OP_literal] = make_leaf,
    [OP_iota] = make_leaf,
    [OP_cast] = make_cast,
    [OP_select] = make_select,
    [OP_broadcast] = make_view,
    [OP_reshape] = make_view,
    [OP_transpose] = make_view,
    [OP_slice] = make_view,
    [OP_pad] = make_view,
    [OP_reverse] = make_view,
    [OP_concat] = make_concat,
    [OP_sum] = make_reduction,
    [OP_prod] = make_reduction,
    [OP_reduce_max] = make_reduction,
    [OP_argmax] = make_line,
    [OP_reduce_min] = make_reduction,
    [OP_cumsum] = make_line,
    [OP_dot] = make_dot,
    [OP_conv] = make_conv,
    [OP_take] = make_take,
    [OP_put_add] = make_put_add,
    [OP_random_bits] = make_chance,
    [OP_random_at] = make_chance,
    [OP_fold_in] = make_chance,
    [OP_call] = make_call,
    [OP_custom] = make_call,
    [OP_for] = make_for,
    [OP_while] = make_while,
    [OP_if] = make_if,
    [OP_get] = make_none,
    [OP_jvp] = make_none,
    [OP_vjp] = make_none, /* get comes with control; derivatives come last, by add_derivatives */
};

/* There are more pointwise rows than others, and less to go wrong with them. */
static IrOp random_op(Draws *draws)
{
    IrOp op = (IrOp)draw_below(draws, OP_COUNT);
    bool plain = (ir_op_info[op].traits & (TRAIT_pointwise | TRAIT_leaf)) != 0;
    return plain && draw_chance(draws, 60) ? (IrOp)draw_below(draws, OP_COUNT) : op;
}

bool grow(Scope *scope, int steps)
{
    int made = 0;
    for (int tries = 0; made < steps && tries < steps * TRIES; tries++) {
        IrOp op = random_op(&scope->gen->draws);
        bool control = (ir_op_info[op].traits & TRAIT_control) != 0;
        if (op == OP_stop_grad && scope->gen->smooth)
            continue;
        if (control && (scope->depth >= 2 || (scope->depth && draw_chance(&scope->gen->draws, 60))))
            continue;
        bool pointwise = (ir_op_info[op].traits & TRAIT_pointwise) != 0;
        made += (maker_of[op] ? maker_of[op] : pointwise ? make_pointwise : make_none)(scope, op);
    }
    return made > 0;
}

/* ---- a program ---- */

double rounding_unit(DType dtype)
{
    return dtype == DT_f64 ? 0x1p-53 : dtype == DT_f32 ? 0x1p-24 : dtype == DT_f16 ? 0x1p-11 : 0x1p-8;
}

static void choose_types(Gen *gen)
{
    static const DType mixed[] = {DT_f64, DT_f32, DT_f16, DT_bf16};
    static const int64_t sizes[] = {1, 2, 3, 3, 4, 5, 5, 6, 7, 8, 9, 11, 13, 16, 17, 19, 23, 33, 41, 67};
    int64_t dice = draw_below(&gen->draws, 100);
    gen->real = gen->other = dice < 80 ? DT_f32 : dice < 88 ? DT_f64 : dice < 94 ? DT_f16 : DT_bf16;
    if (draw_chance(&gen->draws, 20))
        gen->other = mixed[draw_below(&gen->draws, 4)];
    gen->unit = fmax(rounding_unit(gen->real), rounding_unit(gen->other));
    for (int i = 0; i < SIZE_COUNT; i++)
        gen->sizes[i] = sizes[draw_below(&gen->draws, (int64_t)(sizeof sizes / sizeof *sizes))];
}

/* What nothing reads yet, so that most nodes count. */
static void add_results(Scope *scope)
{
    Gen *gen = scope->gen;
    const IrFunc *func = scope->func;
    bool *read = arena_array(gen->arena, bool, func->nodes.count);
    for (IrRef ref = 0; ref < func->nodes.count; ref++)
        for (int i = 0; i < ir_node(func, ref)->operand_count; i++)
            read[ir_node(func, ref)->operands[i]] = true;
    for (int i = scope->pool.count - 1; i >= 0 && func->results.count < 6; i--) {
        IrRef ref = scope->pool.items[i].ref;
        if (!read[ref] && (func->results.count == 0 || draw_chance(&gen->draws, 80)))
            ir_result(scope->func, ref, NULL);
    }
    if (draw_chance(&gen->draws, 30) || !func->results.count)
        ir_result(scope->func, any_value(scope), NULL); /* what is read, too, or a param, or one twice */
}

RandomProgram random_program(Arena *arena, uint64_t seed, bool smooth)
{
    Gen gen = {.arena = arena,
               .scratch = arena_new(NULL, NULL),
               .draws = draws_new(seed),
               .module = ir_module_new(arena),
               .smooth = smooth};
    Scope scope = {.gen = &gen, .set_count = 1};
    choose_types(&gen);
    scope.func = ir_func_new(gen.module, "program");
    for (int64_t i = draw_between(&gen.draws, 1, 3); i > 0; i--)
        new_param(&scope, random_type(&gen, gen.real, 4));
    grow(&scope, (int)draw_between(&gen.draws, 5, 20));
    add_results(&scope);
    if (draw_chance(&gen.draws, 15))
        add_derivatives(&scope);
    arena_free(gen.scratch);
    return (RandomProgram){gen.module, scope.func, scope.sets[0].items, gen.unit};
}
