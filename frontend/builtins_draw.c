/* Draws: random tensors as functions of the current key. */
#include "frontend/builtins.h"

#include <math.h>

/* ---- bits ---- */

static bool check_drawing(Elab *el, const Call *call)
{
    if (el->drawing)
        return true;
    elab_error(el, DIAG_draw, call->span, "`%s` draws random numbers, so it stands right of a `~`", call->name);
    const Builtin *builtin = builtin_find(call->name);
    if (!el->frame)
        elab_note(el, (Span){0}, "a constant cannot be drawn: draws happen in functions");
    else if (builtin)
        elab_note(el, (Span){0}, "as in `let %s`", builtin->usage);
    return false;
}

/* The first draw under a key takes its own numbers; a further one those of a key below it. */
static KeyNode *draw_key(Elab *el)
{
    if (!el->key->drawn) {
        el->key->drawn = true;
        return el->key;
    }
    return key_child(el, el->key, "draw");
}

static const Value *random_bits(Elab *el, Span at, IrRef key, const Shape *shape, int64_t word)
{
    IrNode node = {
        .op = OP_random_bits, .type = shape_type(shape, DT_u32), .operand_count = 1, .operands = &key, .attr = {{1, &word}}};
    return tensor_new(el, ir_emit(emit(el, at), node), shape);
}

static const Value *whole(Elab *el, int64_t number)
{
    return value_integer(el->arena, number);
}

static const Value *bitwise(Elab *el, Span at, IrOp op, const Value *a, int64_t b)
{
    const Value *x[2] = {a, whole(el, b)};
    IrRef left = operand_ref(el, at, x[0], &a->tensor.shape, DT_u32),
          right = operand_ref(el, at, x[1], &a->tensor.shape, DT_u32);
    return tensor_new(el, ir_binary(emit(el, at), op, left, right), &a->tensor.shape);
}

/* The upper 24 bits plus `add`, as a multiple of 2^-24. */
static const Value *fraction(Elab *el, Span at, const Value *bits, DType dtype, int add)
{
    const Value *x = tensor_cast(el, at, bitwise(el, at, OP_shr, bits, 8), dtype);
    if (add)
        x = arithmetic(el, at, AST_add, x, whole(el, add));
    return arithmetic(el, at, AST_mul, x, value_real(el->arena, 0x1p-24));
}

const Value *draw_uniform(Elab *el, Span at, const Shape *shape, DType dtype)
{
    IrRef key = key_ref(el, draw_key(el), at);
    return fraction(el, at, random_bits(el, at, key, shape, 0), dtype, 0);
}

static const Value *apply(Elab *el, Span at, IrOp op, const Value *x)
{
    return pointwise(el, at, "normal", op, POINT_float, NULL, &x, 1);
}

/* Box and Muller: sqrt(-2 ln u1) cos(2 pi u2), u1 in (0, 1]. */
const Value *draw_normal(Elab *el, Span at, const Shape *shape, DType dtype)
{
    IrRef key = key_ref(el, draw_key(el), at);
    const Value *u1 = fraction(el, at, random_bits(el, at, key, shape, 0), dtype, 1);
    const Value *u2 = fraction(el, at, random_bits(el, at, key, shape, 1), dtype, 0);
    const Value *radius = apply(el, at, OP_sqrt, arithmetic(el, at, AST_mul, apply(el, at, OP_log, u1), whole(el, -2)));
    const Value *angle = arithmetic(el, at, AST_mul, u2, value_real(el->arena, 2 * M_PI));
    return arithmetic(el, at, AST_mul, radius, apply(el, at, OP_cos, angle));
}

/* ---- shapes of draws ---- */

/* Axes in [ ]; else those of the parameter that is initialised; else those of the arguments. */
static bool draw_shape(Elab *el, Call *call, const Value *const *args, int count, Shape *shape, DType *dtype)
{
    *shape = (Shape){0};
    if (!check_drawing(el, call) || !named_dtype(el, call, dtype))
        return false;
    if (call->has_items)
        return elab_shape(el, call->env, call->items, call->item_count, shape);
    if (el->init) {
        *shape = el->init->shape;
        *dtype = el->init->dtype;
        return true;
    }
    return align_shapes(el, call->span, call->name, args, count, shape);
}

static DType argument_dtype(const Value *const *args, int count)
{
    for (int i = 0; i < count; i++) {
        if (is_float_tensor(args[i]))
            return args[i]->tensor.dtype;
    }
    return DT_f32;
}

/* Positional or by name, with a default. */
static const Value *option(Elab *el, Call *call, int index, const char *name, double otherwise)
{
    const Value *value = named_arg(el, call, name);
    if (!value && positional_count(call) > index)
        value = arg_value(el, call, index);
    return value ? value : value_real(el->arena, otherwise);
}

static bool is_number(const Value *value, double number)
{
    return value->kind == VALUE_number && value->number.real == number;
}

static const Value *scaled(Elab *el, Span at, const Value *x, const Value *scale, const Value *shift)
{
    if (!is_number(scale, 1))
        x = arithmetic(el, at, AST_mul, x, scale);
    return is_number(shift, 0) ? x : arithmetic(el, at, AST_add, x, shift);
}

const Value *builtin_normal(Elab *el, Call *call)
{
    const Value *args[2] = {option(el, call, 0, "mean", 0), option(el, call, 1, "std", 1)};
    if (is_poison(args[0]) || is_poison(args[1]))
        return &value_poison;
    Shape shape;
    DType dtype = argument_dtype(args, 2);
    if (!draw_shape(el, call, args, 2, &shape, &dtype))
        return &value_poison;
    return scaled(el, call->span, draw_normal(el, call->span, &shape, dtype), args[1], args[0]);
}

const Value *builtin_uniform(Elab *el, Call *call)
{
    int count = positional_count(call);
    if (count == 1)
        return elab_error(el, DIAG_arity, call->span, "`uniform` takes both ends or none: uniform[B](a, b)");
    const Value *args[2] = {count ? arg_value(el, call, 0) : whole(el, 0), count ? arg_value(el, call, 1) : whole(el, 1)};
    if (is_poison(args[0]) || is_poison(args[1]))
        return &value_poison;
    Shape shape;
    DType dtype = argument_dtype(args, 2);
    if (!draw_shape(el, call, args, 2, &shape, &dtype))
        return &value_poison;
    const Value *width = arithmetic(el, call->span, AST_sub, args[1], args[0]);
    return scaled(el, call->span, draw_uniform(el, call->span, &shape, dtype), width, args[0]);
}

/* ---- integers ---- */

/* Below a known n up to 2^16: the high part of bits * n, put together from 16-bit halves. */
static const Value *high_part(Elab *el, Span at, const Value *bits, int64_t n)
{
    const Value *high = arithmetic(el, at, AST_mul, bitwise(el, at, OP_shr, bits, 16), whole(el, n));
    const Value *low = arithmetic(el, at, AST_mul, bitwise(el, at, OP_and, bits, 0xffff), whole(el, n));
    const Value *sum = arithmetic(el, at, AST_add, high, bitwise(el, at, OP_shr, low, 16));
    return tensor_cast(el, at, bitwise(el, at, OP_shr, sum, 16), DT_i32);
}

const Value *builtin_integers(Elab *el, Call *call)
{
    Span at = call->span;
    bool both = positional_count(call) == 2;
    const Value *first = both ? arg_value(el, call, 0) : whole(el, 0), *end = arg_value(el, call, both);
    if (is_poison(first) || is_poison(end))
        return &value_poison;
    const Value *width = arithmetic(el, at, AST_sub, end, first), *args[2] = {width, first};
    Shape shape;
    DType dtype = DT_i32;
    if (is_poison(width) || !draw_shape(el, call, args, 2, &shape, &dtype))
        return &value_poison;
    Number number;
    bool known = value_as_number(width, &number);
    if (known ? !number.whole || number.real < 1 : width->kind != VALUE_tensor || width->tensor.dtype != DT_i32)
        return elab_error(el, DIAG_type_mismatch, at, "`integers` draws below a positive whole number or i32, not %s",
                          value_describe(el->arena, end));
    const Value *bits = random_bits(el, at, key_ref(el, draw_key(el), at), &shape, 0), *drawn;
    if (known && number.integer <= 65536) {
        drawn = high_part(el, at, bits, number.integer);
    } else {
        const Value *below = known ? width : tensor_cast(el, at, width, DT_u32);
        drawn = tensor_cast(el, at, arithmetic(el, at, AST_rem, bits, below), DT_i32);
    }
    return is_number(first, 0) ? drawn : arithmetic(el, at, AST_add, drawn, first);
}

const Value *builtin_bernoulli(Elab *el, Call *call)
{
    const Value *p = arg_value(el, call, 0);
    Shape shape;
    DType dtype = argument_dtype(&p, 1);
    if (is_poison(p) || !draw_shape(el, call, &p, 1, &shape, &dtype))
        return &value_poison;
    return arithmetic(el, call->span, AST_lt, draw_uniform(el, call->span, &shape, dtype), p);
}

/* The number of cumulative weights up to u: weights need not sum to 1. */
const Value *builtin_categorical(Elab *el, Call *call)
{
    Span at = call->span;
    const Value *p = want_tensor(el, call, 0);
    int axis;
    if (is_poison(p) || !check_drawing(el, call) || !want_own_axis(el, call, 1, p, &axis))
        return &value_poison;
    if (!is_float_tensor(p))
        return elab_error(el, DIAG_dtype_mismatch, at, "`categorical` takes weights that are floats, not %s",
                          value_describe(el->arena, p));
    Axis own = p->tensor.shape.axes[axis];
    Shape one = {1, {own}}, shape = shape_without(&p->tensor.shape, &one), extra = {0};
    if (call->has_items && !elab_shape(el, call->env, call->items, call->item_count, &extra))
        return &value_poison;
    for (int i = 0; i < extra.rank; i++) {
        if (shape_find(&shape, extra.axes[i].label) < 0 && !shape_push(el, &shape, extra.axes[i], at))
            return &value_poison;
    }
    Shape wide = shape;
    if (!shape_push(el, &wide, own, at) || !shape_check(el, &wide, at))
        return &value_poison;
    int64_t along = axis;
    IrRef weights = tensor_ref(el, p, at);
    IrNode sums = {.op = OP_cumsum, .operand_count = 1, .operands = &weights, .attr = {{1, &along}}};
    const Value *running = tensor_new(el, ir_emit(emit(el, at), sums), &p->tensor.shape);
    Shape rest = shape_without(&p->tensor.shape, &one);
    /* The running sum's own end: another sum of the same could be larger, and what has no weight be drawn. */
    const Value *end = slice_axis(el, at, running, axis, own.size ? own.size - 1 : 0, own.size);
    const Value *total = tensor_new(el, ir_reduce(emit(el, at), OP_sum, tensor_ref(el, end, at), &along, 1), &rest);
    const Value *u = arithmetic(el, at, AST_mul, draw_uniform(el, at, &shape, p->tensor.dtype), total);
    const Value *passed = arithmetic(el, at, AST_le, tensor_expand(el, at, running, &wide), tensor_expand(el, at, u, &wide));
    int64_t last = wide.rank - 1;
    IrRef count = ir_reduce(emit(el, at), OP_sum, tensor_ref(el, tensor_cast(el, at, passed, DT_i32), at), &last, 1);
    const Value *bound = tensor_const(el, at, DT_i32, &shape, (double)(own.size - 1));
    return tensor_new(el, ir_binary(emit(el, at), OP_min, count, tensor_ref(el, bound, at)), &shape);
}

const Value *builtin_permutation(Elab *el, Call *call)
{
    Shape shape;
    DType dtype = DT_f32;
    if (!draw_shape(el, call, NULL, 0, &shape, &dtype))
        return &value_poison;
    if (shape.rank != 1)
        return elab_error(el, DIAG_axis_wanted, call->span, "`permutation` is along one axis, as in `permutation[N]`");
    const Value *args[2] = {draw_uniform(el, call->span, &shape, dtype),
                            value_axis(el->arena, shape.axes[0].label, shape.axes[0].size)};
    return call_with(el, call->env, call->span, "argsort", &(Value){.kind = VALUE_builtin, .builtin = builtin_find("argsort")},
                     args, 2);
}

/* ---- initialisers ---- */

static bool fan(Elab *el, Call *call, const char *name, double *value)
{
    const Value *given = named_arg(el, call, name);
    Number number;
    if (!given) {
        elab_error(el, DIAG_arity, call->span, "`%s` needs `%s`", call->name, name);
        return false;
    }
    if (!want_number(el, given, call->span, name, &number))
        return false;
    *value = number.real;
    return true;
}

/* A draw of variance gain^2 / fan. */
static const Value *scaled_draw(Elab *el, Call *call, double fan_size, bool is_normal)
{
    Shape shape;
    Number gain = {.real = 1};
    DType dtype = DT_f32;
    const Value *given = named_arg(el, call, "gain");
    if ((given && !want_number(el, given, call->span, "the gain", &gain)) || !draw_shape(el, call, NULL, 0, &shape, &dtype))
        return &value_poison;
    double deviation = gain.real / sqrt(fan_size), half = sqrt(3) * deviation;
    if (is_normal)
        return scaled(el, call->span, draw_normal(el, call->span, &shape, dtype), value_real(el->arena, deviation),
                      whole(el, 0));
    return scaled(el, call->span, draw_uniform(el, call->span, &shape, dtype), value_real(el->arena, 2 * half),
                  value_real(el->arena, -half));
}

static const Value *xavier(Elab *el, Call *call, bool is_normal)
{
    double in, out;
    if (!fan(el, call, "fan_in", &in) || !fan(el, call, "fan_out", &out))
        return &value_poison;
    return scaled_draw(el, call, (in + out) / 2, is_normal);
}

const Value *builtin_xavier_uniform(Elab *el, Call *call)
{
    return xavier(el, call, false);
}

const Value *builtin_xavier_normal(Elab *el, Call *call)
{
    return xavier(el, call, true);
}

static const Value *kaiming(Elab *el, Call *call, bool is_normal)
{
    double in;
    return fan(el, call, "fan_in", &in) ? scaled_draw(el, call, in, is_normal) : &value_poison;
}

const Value *builtin_kaiming_uniform(Elab *el, Call *call)
{
    return kaiming(el, call, false);
}

const Value *builtin_kaiming_normal(Elab *el, Call *call)
{
    return kaiming(el, call, true);
}

/* ---- keys ---- */

const Value *builtin_key(Elab *el, Call *call)
{
    return key_may_draw(el, call->span) ? key_value(el, key_child(el, el->key, "key")) : &value_poison;
}

const Value *builtin_fold_in(Elab *el, Call *call)
{
    const Value *key = arg_value(el, call, 0), *data = arg_value(el, call, 1);
    Number number;
    if (is_poison(key) || is_poison(data))
        return &value_poison;
    bool fits = value_as_number(data, &number) ? number.whole
                                               : data->kind == VALUE_tensor && !data->tensor.shape.rank &&
                                                     (data->tensor.dtype == DT_i32 || data->tensor.dtype == DT_u32);
    if (key->kind != VALUE_key || !fits)
        return elab_error(el, DIAG_type_mismatch, call->span, "`fold_in` takes a key and a whole number, not %s and %s",
                          value_describe(el->arena, key), value_describe(el->arena, data));
    return key_value(
        el, key_turn(el, key->key, value_as_number(data, &number) ? value_integer(el->arena, (uint32_t)number.integer) : data));
}
