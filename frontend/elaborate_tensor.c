/* Tensors: alignment by label, element types, pointwise operations and arithmetic. */
#include "frontend/elaborate.h"

#include <math.h>
#include <string.h>

/* ---- making tensors ---- */

const Value *tensor_new(Elab *el, IrRef ref, const Shape *shape)
{
    Value *value = arena_new_of(el->arena, Value);
    value->kind = VALUE_tensor;
    value->span = el->frame->func->at;
    value->tensor =
        (TensorValue){.frame = el->frame, .ref = ref, .dtype = ir_type_of(el->frame->func, ref)->dtype, .shape = *shape};
    return value;
}

const Value *tensor_weak(Elab *el, const Value *tensor)
{
    Value *copy = arena_copy(el->arena, tensor, sizeof *tensor);
    copy->tensor.weak = true;
    return copy;
}

const Value *tensor_relabel(Elab *el, const Value *tensor, const Shape *shape)
{
    Value *copy = arena_copy(el->arena, tensor, sizeof *tensor);
    copy->tensor.shape = *shape;
    return copy;
}

bool is_float_tensor(const Value *value)
{
    return value->kind == VALUE_tensor && dtype_is_float(value->tensor.dtype);
}

/* A value of an enclosing function becomes a parameter of each function between; -1 if `home` is not around `frame`. */
static IrRef frame_use(Elab *el, Frame *frame, Frame *home, IrRef ref)
{
    if (frame == home)
        return ref;
    if (!frame)
        return -1;
    for (int i = 0; i < frame->captures.count; i++) {
        Capture *capture = &frame->captures.items[i];
        if (capture->frame == home && capture->ref == ref)
            return capture->param;
    }
    IrRef outer = frame_use(el, frame->parent, home, ref);
    if (outer < 0)
        return -1;
    const IrNode *node = ir_node(frame->parent->func, outer);
    Capture capture = {home, ref, ir_param(frame->func, node->type, node->name), outer};
    list_push(el->arena, &frame->captures, capture);
    return capture.param;
}

IrRef tensor_ref(Elab *el, const Value *tensor, Span at)
{
    IrFunc *func = emit(el, at);
    IrRef ref = frame_use(el, el->frame, tensor->tensor.frame, tensor->tensor.ref);
    if (ref >= 0)
        return ref;
    elab_error(el, DIAG_value_escapes, at, "a tensor that was made inside a loop, branch or derived function, which has ended");
    if (!span_contains(at, tensor->span))
        elab_note(el, tensor->span, "it is made here");
    return ir_const(func, shape_type(&tensor->tensor.shape, tensor->tensor.dtype), 0);
}

const Value *tensor_const(Elab *el, Span at, DType dtype, const Shape *shape, double value)
{
    return tensor_new(el, ir_const(emit(el, at), shape_type(shape, dtype), value), shape);
}

/* ---- numbers as tensors ---- */

static bool number_fits(const Number *number, DType dtype)
{
    if (dtype_is_float(dtype))
        return true;
    return number->whole && fabs(number->real) <= 0x1p53 && dtype_round(dtype, number->real) == number->real;
}

static bool check_number_fits(Elab *el, Span at, const Value *value, const Number *number, DType dtype)
{
    if (dtype != DT_bool && number_fits(number, dtype))
        return true;
    bool within = span_contains(at, value->span);
    elab_error(el, DIAG_dtype_mismatch, within ? value->span : at, "%s does not fit %s", value_describe(el->arena, value),
               dtype_name(dtype));
    if (!within)
        note_origin(el, value, at);
    if (!number->whole && dtype != DT_bool)
        elab_note(el, (Span){0}, "where fractions are wanted, convert the other side: `x as f32`");
    return false;
}

const Value *tensor_from_number(Elab *el, Span at, const Value *value, DType dtype)
{
    Number number;
    Shape scalar = {0};
    if (value->kind == VALUE_bool && dtype == DT_bool)
        return tensor_const(el, at, DT_bool, &scalar, value->truth);
    if (!value_as_number(value, &number)) {
        return elab_error(el, DIAG_type_mismatch, at, "%s where a number is needed", value_describe(el->arena, value));
    }
    if (!check_number_fits(el, at, value, &number, dtype))
        return &value_poison;
    return tensor_const(el, at, dtype, &scalar, number.real);
}

const Value *tensor_default(Elab *el, Span at, const Value *value)
{
    if (value->kind == VALUE_bool)
        return tensor_from_number(el, at, value, DT_bool);
    Number number;
    if (!value_as_number(value, &number))
        return value;
    return tensor_from_number(el, at, value, number.whole && !number.decimal ? DT_i32 : DT_f32);
}

/* Beside an integer tensor 2 is an integer; 2.0 would make an integer of what was meant to be a fraction. */
static bool check_number_meets(Elab *el, Span at, const Value *value, const Number *number, DType dtype)
{
    if (dtype_is_float(dtype) || dtype == DT_bool || !number->whole || !number->decimal)
        return check_number_fits(el, at, value, number, dtype);
    bool within = span_contains(at, value->span);
    elab_error(el, DIAG_dtype_mismatch, within ? value->span : at, "the fraction %.17g.0 meets %s", number->real,
               dtype_name(dtype));
    elab_note(el, (Span){0}, "write %.17g for the whole number, or convert the other side: `x as f32`", number->real);
    return false;
}

/* ---- casts, order, repetition ---- */

const Value *tensor_cast(Elab *el, Span at, const Value *tensor, DType dtype)
{
    if (tensor->tensor.dtype == dtype && !tensor->tensor.weak)
        return tensor;
    IrRef ref = tensor_ref(el, tensor, at);
    return tensor_new(el, ir_cast(el->frame->func, ref, dtype), &tensor->tensor.shape);
}

const Value *tensor_order(Elab *el, Span at, const Value *tensor, const Shape *order)
{
    const Shape *have = &tensor->tensor.shape;
    if (shape_same_order(have, order))
        return tensor;
    Shape shape = *order;
    int64_t perm[IR_MAX_RANK];
    for (int i = 0; i < order->rank; i++) {
        int from = shape_find(have, order->axes[i].label);
        perm[i] = from;
        shape.axes[i] = have->axes[from];
    }
    IrRef ref = tensor_ref(el, tensor, at);
    const Value *result = tensor_new(el, ir_transpose(el->frame->func, ref, perm), &shape);
    return tensor->tensor.weak ? tensor_weak(el, result) : result;
}

const Value *tensor_expand(Elab *el, Span at, const Value *tensor, const Shape *shape)
{
    const Shape *have = &tensor->tensor.shape;
    if (have->rank == shape->rank)
        return tensor_order(el, at, tensor, shape);
    int64_t dims[IR_MAX_RANK];
    for (int i = 0; i < have->rank; i++)
        dims[i] = shape_find(shape, have->axes[i].label);
    IrRef ref = tensor_ref(el, tensor, at);
    return tensor_new(el, ir_broadcast(el->frame->func, ref, shape_type(shape, tensor->tensor.dtype), dims), shape);
}

IrRef operand_ref(Elab *el, Span at, const Value *value, const Shape *shape, DType dtype)
{
    Number number;
    if (value->kind == VALUE_tensor) {
        const Value *fitted = value->tensor.dtype == dtype ? value : tensor_cast(el, at, value, dtype);
        return tensor_ref(el, tensor_expand(el, at, fitted, shape), at);
    }
    if (value->kind == VALUE_bool)
        return ir_const(emit(el, at), shape_type(shape, dtype), value->truth);
    if (!value_as_number(value, &number))
        number.real = 0; /* reported by who aligned the operands */
    return ir_const(emit(el, at), shape_type(shape, dtype), number.real);
}

/* ---- alignment ---- */

void note_origin(Elab *el, const Value *value, Span at)
{
    if (value->span.source && (value->span.start != at.start || value->span.end != at.end))
        elab_note(el, value->span, "%s comes from here", value_describe(el->arena, value));
}

static bool check_axis_sizes(Elab *el, Span at, const char *what, const Value *a, const Value *b)
{
    const Shape *left = &a->tensor.shape, *right = &b->tensor.shape;
    for (int i = 0; i < left->rank; i++) {
        int j = shape_find(right, left->axes[i].label);
        if (j < 0 || left->axes[i].size == right->axes[j].size)
            continue;
        elab_error(el, DIAG_axis_size, at, "`%s` meets two sizes of the axis %s: %lld in %s and %lld in %s", what,
                   left->axes[i].label->name, (long long)left->axes[i].size, value_describe(el->arena, a),
                   (long long)right->axes[j].size, value_describe(el->arena, b));
        note_origin(el, a, at);
        note_origin(el, b, at);
        return false;
    }
    return true;
}

/* Axes of one name that are not the same axis. */
static bool note_namesakes(Elab *el, const Shape *shape, const Shape *missing)
{
    bool found = false;
    for (int i = 0; i < missing->rank; i++) {
        const Label *label = missing->axes[i].label;
        for (int j = 0; j < shape->rank; j++) {
            const Label *other = shape->axes[j].label;
            if (strcmp(other->name, label->name))
                continue;
            elab_note(el, other->span, "two axes are called %s: one was introduced here", label->name);
            elab_note(el, label->span, "and the other one here");
            found = true;
        }
    }
    return found;
}

static bool report_unaligned(Elab *el, Span at, const char *what, const Value *big, const Value *other)
{
    Shape missing = shape_without(&other->tensor.shape, &big->tensor.shape);
    Text axes = text_new(el->arena);
    for (int i = 0; i < missing.rank; i++)
        text_printf(&axes, "%s%s", i ? ", " : "", missing.axes[i].label->name);
    elab_error(el, DIAG_axis_align, at, "`%s`: neither operand has all the axes: %s and %s", what,
               value_describe(el->arena, big), value_describe(el->arena, other));
    note_origin(el, big, at);
    note_origin(el, other, at);
    if (!note_namesakes(el, &big->tensor.shape, &missing))
        elab_note(el, (Span){0},
                  "only one of them has the axis %s: repeat the other with expand(x, [%s: size]), or write outer(a, b)",
                  axes.data, missing.axes[0].label->name);
    return false;
}

bool align_shapes(Elab *el, Span at, const char *what, const Value *const *operands, int count, Shape *shape)
{
    const Value *big = NULL;
    for (int i = 0; i < count; i++) {
        if (operands[i]->kind == VALUE_tensor && (!big || operands[i]->tensor.shape.rank > big->tensor.shape.rank))
            big = operands[i];
    }
    *shape = big ? big->tensor.shape : (Shape){0};
    for (int i = 0; i < count; i++) {
        if (operands[i]->kind != VALUE_tensor || operands[i] == big)
            continue;
        if (!shape_has_all(shape, &operands[i]->tensor.shape))
            return report_unaligned(el, at, what, big, operands[i]);
        if (!check_axis_sizes(el, at, what, big, operands[i]))
            return false;
    }
    return true;
}

static bool report_mixed(Elab *el, Span at, const char *what, const Value *a, const Value *b)
{
    DType left = a->tensor.dtype, right = b->tensor.dtype;
    elab_error(el, DIAG_dtype_mismatch, at, "`%s` mixes %s and %s", what, value_describe(el->arena, a),
               value_describe(el->arena, b));
    note_origin(el, a, at);
    note_origin(el, b, at);
    DType to = dtype_is_float(left) && !dtype_is_float(right) ? left : right;
    elab_note(el, (Span){0}, "types are never mixed silently: convert one, as in `x as %s`", dtype_name(to));
    return false;
}

static bool all_truths(const Value *const *operands, int count)
{
    for (int i = 0; i < count; i++) {
        if (operands[i]->kind != VALUE_bool)
            return false;
    }
    return count > 0;
}

bool align_dtypes(Elab *el, Span at, const char *what, const Value *const *operands, int count, DType *dtype)
{
    const Value *strong = NULL, *weak = NULL;
    for (int i = 0; i < count; i++) {
        if (operands[i]->kind != VALUE_tensor)
            continue;
        const Value **slot = operands[i]->tensor.weak ? &weak : &strong;
        if (!operands[i]->tensor.weak && strong && strong->tensor.dtype != operands[i]->tensor.dtype)
            return report_mixed(el, at, what, strong, operands[i]);
        if (!*slot || dtype_is_float(operands[i]->tensor.dtype))
            *slot = operands[i];
    }
    if (strong && weak && dtype_is_float(weak->tensor.dtype) && !dtype_is_float(strong->tensor.dtype))
        return report_mixed(el, at, what, strong, weak); /* a variable that began as 0.5 is no integer */
    *dtype = strong ? strong->tensor.dtype : weak ? weak->tensor.dtype : all_truths(operands, count) ? DT_bool : DT_f32;
    for (int i = 0; i < count; i++) {
        Number number;
        if (operands[i]->kind == VALUE_tensor)
            continue;
        if (operands[i]->kind == VALUE_bool && *dtype == DT_bool)
            continue;
        if (!value_as_number(operands[i], &number)) {
            elab_error(el, DIAG_type_mismatch, at, "`%s` does not take %s", what, value_describe(el->arena, operands[i]));
            return false;
        }
        if (!strong && weak && !dtype_is_float(*dtype) && (number.decimal || !number.whole))
            *dtype = DT_f32;
        if (!check_number_meets(el, at, operands[i], &number, *dtype))
            return false;
    }
    return true;
}

/* ---- pointwise operations ---- */

static bool check_class(Elab *el, Span at, const char *name, PointClass class, DType dtype, IrOp op)
{
    if (dtype == DT_u8 || dtype == DT_i64) {
        elab_error(el, DIAG_dtype_mismatch, at, "`%s` on %s, which only stores", name, dtype_name(dtype));
        elab_note(el, (Span){0}, "convert it first: `x as f32`");
        return false;
    }
    bool is_bool = dtype == DT_bool;
    bool fits = class == POINT_select || (class == POINT_logic && is_bool) ||
                (class == POINT_compare && (!is_bool || op == OP_eq || op == OP_ne)) || (class == POINT_number && !is_bool) ||
                ((class == POINT_float || class == POINT_test) && dtype_is_float(dtype));
    if (fits)
        return true;
    const char *needs = class == POINT_logic ? "bool" : class == POINT_float || class == POINT_test ? "a float" : "a number";
    elab_error(el, DIAG_dtype_mismatch, at, "`%s` needs %s, not %s", name, needs, dtype_name(dtype));
    if (class != POINT_logic)
        elab_note(el, (Span){0}, "convert it first: `x as f32`");
    return false;
}

/* All operands are known now: so is the result. */
static const Value *pointwise_known(Elab *el, IrOp op, PointClass class, PointFunction *known, const Value *const *operands,
                                    int count)
{
    double x[3] = {0};
    bool integers = true;
    for (int i = 0; i < count; i++) {
        Number number = {0};
        bool is_number = value_as_number(operands[i], &number);
        x[i] = is_number ? number.real : operands[i]->truth;
        integers &= is_number && number.whole && !number.decimal;
    }
    double y = known(x[0], x[1], x[2]);
    if (class == POINT_compare || class == POINT_logic || class == POINT_test)
        return value_bool(el->arena, y != 0);
    const Value *result = value_real(el->arena, y);
    bool rounds = op == OP_floor || op == OP_ceil || op == OP_round, keeps = class == POINT_number || op == OP_pow;
    if (result->number.whole && (rounds || (integers && keeps)))
        return value_integer(el->arena, result->number.integer);
    return result;
}

/* True if no operand is a tensor and each is what the class wants. */
static bool all_known(PointClass class, const Value *const *operands, int count)
{
    for (int i = 0; i < count; i++) {
        Number number;
        bool is_bool = operands[i]->kind == VALUE_bool;
        bool takes_bool = class == POINT_logic || class == POINT_compare;
        if (is_bool ? !takes_bool : class == POINT_logic || !value_as_number(operands[i], &number))
            return false;
    }
    return true;
}

static const Value *emit_pointwise(Elab *el, Span at, IrOp op, const Value *const *operands, int count, const Shape *shape,
                                   DType dtype, bool weak)
{
    IrRef refs[3];
    for (int i = 0; i < count; i++)
        refs[i] = operand_ref(el, at, operands[i], shape, op == OP_select && i == 0 ? DT_bool : dtype);
    const Value *result =
        tensor_new(el, ir_emit(emit(el, at), (IrNode){.op = op, .operand_count = count, .operands = refs}), shape);
    return weak ? tensor_weak(el, result) : result;
}

static bool check_condition(Elab *el, Span at, const char *name, const Value *condition)
{
    if (condition->kind == VALUE_bool || (condition->kind == VALUE_tensor && condition->tensor.dtype == DT_bool))
        return true;
    elab_error(el, DIAG_type_mismatch, at, "the first argument of `%s` is a condition (a bool), not %s", name,
               value_describe(el->arena, condition));
    return false;
}

const Value *pointwise(Elab *el, Span at, const char *name, IrOp op, PointClass class, PointFunction *known,
                       const Value *const *operands, int count)
{
    bool strong = false, any_tensor = false;
    for (int i = 0; i < count; i++) {
        if (is_poison(operands[i]))
            return &value_poison;
        any_tensor |= operands[i]->kind == VALUE_tensor;
        strong |= operands[i]->kind == VALUE_tensor && !operands[i]->tensor.weak;
    }
    if (class == POINT_select && !check_condition(el, at, name, operands[0]))
        return &value_poison;
    if (class == POINT_select && count == 3 && operands[0]->kind == VALUE_bool)
        return operands[0]->truth ? operands[1] : operands[2];
    if (!any_tensor && known && all_known(class, operands, count))
        return pointwise_known(el, op, class, known, operands, count);
    Shape shape;
    DType dtype;
    int first = class == POINT_select;
    if (!align_dtypes(el, at, name, operands + first, count - first, &dtype) ||
        !align_shapes(el, at, name, operands, count, &shape) || !check_class(el, at, name, class, dtype, op))
        return &value_poison;
    return emit_pointwise(el, at, op, operands, count, &shape, dtype, any_tensor && !strong);
}

/* ---- arithmetic ---- */

typedef struct ArithmeticRow {
    const char *sign;
    IrOp op;
    PointClass class;
    bool swapped; /* a > b is b < a */
    PointFunction *known;
} ArithmeticRow;

static double known_add(double a, double b, double c)
{
    (void)c;
    return a + b;
}
static double known_sub(double a, double b, double c)
{
    (void)c;
    return a - b;
}
static double known_mul(double a, double b, double c)
{
    (void)c;
    return a * b;
}
static double known_div(double a, double b, double c)
{
    (void)c;
    return a / b;
}
static double known_rem(double a, double b, double c)
{
    (void)c;
    return a - b * floor(a / b);
}
static double known_pow(double a, double b, double c)
{
    (void)c;
    return pow(a, b);
}
static double known_eq(double a, double b, double c)
{
    (void)c;
    return a == b;
}
static double known_ne(double a, double b, double c)
{
    (void)c;
    return a != b;
}
static double known_lt(double a, double b, double c)
{
    (void)c;
    return a < b;
}
static double known_le(double a, double b, double c)
{
    (void)c;
    return a <= b;
}
static double known_and(double a, double b, double c)
{
    (void)c;
    return a != 0 && b != 0;
}
static double known_or(double a, double b, double c)
{
    (void)c;
    return a != 0 || b != 0;
}

static const ArithmeticRow arithmetic_rows[] = {
    [AST_add] = {"+", OP_add, POINT_number, false, known_add},  [AST_sub] = {"-", OP_sub, POINT_number, false, known_sub},
    [AST_mul] = {"*", OP_mul, POINT_number, false, known_mul},  [AST_div] = {"/", OP_div, POINT_number, false, known_div},
    [AST_rem] = {"%", OP_rem, POINT_number, false, known_rem},  [AST_pow] = {"^", OP_pow, POINT_float, false, known_pow},
    [AST_eq] = {"==", OP_eq, POINT_compare, false, known_eq},   [AST_ne] = {"!=", OP_ne, POINT_compare, false, known_ne},
    [AST_lt] = {"<", OP_lt, POINT_compare, false, known_lt},    [AST_le] = {"<=", OP_le, POINT_compare, false, known_le},
    [AST_gt] = {">", OP_lt, POINT_compare, true, known_lt},     [AST_ge] = {">=", OP_le, POINT_compare, true, known_le},
    [AST_and] = {"and", OP_and, POINT_logic, false, known_and}, [AST_or] = {"or", OP_or, POINT_logic, false, known_or},
};

/* Whole numbers stay exact. */
static const Value *exact_integers(Elab *el, AstOp op, int64_t a, int64_t b)
{
    int64_t c;
    if (op == AST_div && b && a % b == 0 && b != -1)
        return value_integer(el->arena, a / b);
    bool overflow = op == AST_add   ? __builtin_add_overflow(a, b, &c)
                    : op == AST_sub ? __builtin_sub_overflow(a, b, &c)
                    : op == AST_mul ? __builtin_mul_overflow(a, b, &c)
                                    : true;
    return overflow ? NULL : value_integer(el->arena, c);
}

/* Powers with a small known exponent are products and roots: exact, and with simple derivatives. */
static const Value *power_by_number(Elab *el, Span at, const Value *x, double exponent)
{
    if (exponent == 1)
        return x;
    if (exponent == 0.5 || exponent == -0.5)
        return pointwise(el, at, "^", exponent > 0 ? OP_sqrt : OP_rsqrt, POINT_float, NULL, &x, 1);
    if (exponent == -1)
        return arithmetic(el, at, AST_div, value_integer(el->arena, 1), x);
    if (exponent != trunc(exponent) || exponent < 2 || exponent > 16)
        return NULL;
    const Value *result = NULL, *square = x;
    for (int bits = (int)exponent; bits; bits >>= 1) {
        if (bits & 1)
            result = result ? arithmetic(el, at, AST_mul, result, square) : square;
        if (bits > 1)
            square = arithmetic(el, at, AST_mul, square, square);
    }
    return result;
}

const Value *arithmetic(Elab *el, Span at, AstOp op, const Value *a, const Value *b)
{
    const ArithmeticRow *row = &arithmetic_rows[op];
    Number left, right;
    if (a->kind == VALUE_axis && b->kind == VALUE_axis && (op == AST_eq || op == AST_ne) &&
        (!value_as_number(a, &left) || !value_as_number(b, &right)))
        return value_bool(el->arena, (a->axis.label == b->axis.label) == (op == AST_eq));
    if (a->kind == VALUE_string && b->kind == VALUE_string && (op == AST_eq || op == AST_ne))
        return value_bool(el->arena, !strcmp(a->text, b->text) == (op == AST_eq));
    bool known_left = value_as_number(a, &left), known_right = value_as_number(b, &right);
    if (known_left && known_right && left.whole && right.whole && !left.decimal && !right.decimal) {
        const Value *exact = exact_integers(el, op, left.integer, right.integer);
        if (exact)
            return exact;
    }
    if (op == AST_pow && known_right && a->kind == VALUE_tensor) {
        const Value *power = power_by_number(el, at, a, right.real);
        if (power)
            return power;
    }
    const Value *operands[2] = {row->swapped ? b : a, row->swapped ? a : b};
    return pointwise(el, at, row->sign, row->op, row->class, row->known, operands, 2);
}

static double known_neg(double a, double b, double c)
{
    (void)b, (void)c;
    return -a;
}

static double known_not(double a, double b, double c)
{
    (void)b, (void)c;
    return a == 0;
}

const Value *negate(Elab *el, Span at, const Value *a)
{
    return pointwise(el, at, "-", OP_neg, POINT_number, known_neg, &a, 1);
}

const Value *logical_not(Elab *el, Span at, const Value *a)
{
    return pointwise(el, at, "not", OP_not, POINT_logic, known_not, &a, 1);
}
