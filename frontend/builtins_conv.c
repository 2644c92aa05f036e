/* Convolution: axes put in the order of the primitive, padding, groups, and the transposed form. */
#include "frontend/builtins.h"

#include <string.h>

enum { MOST_WINDOW = 4, MOST_STEPS = 1 << 20 };

typedef struct Window { /* one axis of x and the axis of w that slides along it */
    int x, w;           /* positions */
    int64_t stride, dilation, lo, hi;
} Window;

typedef struct Conv {
    Call *call;
    const Value *x, *w;
    Window window[MOST_WINDOW];
    int spatial;
    int x_channel, w_in, w_out;
    int64_t groups;
    DType dtype;
} Conv;

static bool find_own(Elab *el, const Call *call, const Expr *expr, const char *name, Span at, const Value *tensor,
                     int *position)
{
    Axis axis;
    Expr by_name = {.kind = EXPR_name, .span = at, .name = name};
    if (!elab_axis(el, call->env, expr ? expr : &by_name, &axis))
        return false;
    *position = shape_find(&tensor->tensor.shape, axis.label);
    if (*position < 0)
        axis_missing(el, at, value_describe(el->arena, tensor), &tensor->tensor.shape, axis.label);
    return *position >= 0;
}

/* [H: KH, W: KW] */
static bool read_windows(Elab *el, Conv *conv)
{
    const Expr *list = positional(conv->call, 2)->expr;
    int count = list && list->kind == EXPR_list ? list->items.count : list && list->kind == EXPR_pair ? 1 : 0;
    if (!count || count > MOST_WINDOW) {
        elab_error(el, DIAG_axis_wanted, positional(conv->call, 2)->span,
                   "`%s` needs one to %d pairs of axes, as in `[H: KH, W: KW]`", conv->call->name, MOST_WINDOW);
        return false;
    }
    for (int i = 0; i < count; i++) {
        const Expr *pair = list->kind == EXPR_pair ? list : list->items.items[i];
        Window *window = &conv->window[i];
        if (pair->kind != EXPR_pair) {
            elab_error(el, DIAG_axis_wanted, pair->span, "an axis and its window are needed here, as in `H: KH`");
            return false;
        }
        if (!find_own(el, conv->call, NULL, pair->name, pair->span, conv->x, &window->x) ||
            !find_own(el, conv->call, pair->a, NULL, pair->a->span, conv->w, &window->w))
            return false;
    }
    conv->spatial = count;
    return true;
}

/* C -> C' */
static bool read_channels(Elab *el, Conv *conv)
{
    const Expr *arrow = positional(conv->call, 3)->expr;
    if (!arrow || arrow->kind != EXPR_arrow) {
        elab_error(el, DIAG_axis_wanted, positional(conv->call, 3)->span, "`%s` needs the channels: `C -> C'`",
                   conv->call->name);
        return false;
    }
    return find_own(el, conv->call, arrow->a, NULL, arrow->a->span, conv->x, &conv->x_channel) &&
           find_own(el, conv->call, arrow->a, NULL, arrow->a->span, conv->w, &conv->w_in) &&
           find_own(el, conv->call, arrow->b, NULL, arrow->b->span, conv->w, &conv->w_out);
}

static const Argument *named(const Call *call, const char *name)
{
    for (int i = 0; i < call->count; i++) {
        if (call->args[i].name && !strcmp(call->args[i].name, name))
            return &call->args[i];
    }
    return NULL;
}

/* A setting for all windows, or a tuple with one for each. */
static bool per_window(Elab *el, const Conv *conv, const char *name, int64_t least, int64_t *out)
{
    const Value *value = named_arg(el, conv->call, name);
    for (int i = 0; i < conv->spatial; i++) {
        out[i] = least;
        if (!value)
            continue;
        bool tuple = (value->kind == VALUE_tuple || value->kind == VALUE_list) && value->group.count == conv->spatial;
        const Value *own = tuple ? value->group.items[i] : value;
        const char *what = arena_printf(el->arena, "`%s` of `%s`", name, conv->call->name);
        Span at = named(conv->call, name)->span;
        if (!want_integer(el, own, at, what, &out[i]))
            return false;
        if (out[i] < least || out[i] > MOST_STEPS) {
            elab_error(el, DIAG_index_range, at, "%s is %lld to %d, not %lld", what, (long long)least, MOST_STEPS,
                       (long long)out[i]);
            return false;
        }
    }
    return true;
}

static void same_padding(const Conv *conv, Window *window)
{
    int64_t size = conv->x->tensor.shape.axes[window->x].size, taps = conv->w->tensor.shape.axes[window->w].size;
    int64_t places = (size + window->stride - 1) / window->stride;
    int64_t total = (places - 1) * window->stride + (taps - 1) * window->dilation + 1 - size;
    total = total > 0 ? total : 0;
    window->lo = total / 2;
    window->hi = total - total / 2;
}

static bool read_padding(Elab *el, Conv *conv)
{
    const Argument *arg = named(conv->call, "pad");
    const char *word = !arg ? "same" : arg->expr && arg->expr->kind == EXPR_name ? arg->expr->name : "";
    bool same = !strcmp(word, "same"), valid = !strcmp(word, "valid");
    int64_t amount[MOST_WINDOW];
    if (!same && !valid && *word && builtin_find(word)) {
        elab_error(el, DIAG_type_mismatch, arg->span, "`pad` of `%s` is `same`, `valid` or a number", conv->call->name);
        return false;
    }
    if (!same && !valid && !per_window(el, conv, "pad", 0, amount))
        return false;
    for (int i = 0; i < conv->spatial; i++) {
        Window *window = &conv->window[i];
        window->lo = window->hi = same || valid ? 0 : amount[i];
        if (same)
            same_padding(conv, window);
    }
    return true;
}

static bool read_conv(Elab *el, Conv *conv)
{
    conv->x = want_tensor(el, conv->call, 0);
    conv->w = want_tensor(el, conv->call, 1);
    conv->groups = 1;
    if (is_poison(conv->x) || is_poison(conv->w))
        return false;
    const Value *both[2] = {conv->x, conv->w};
    if (!align_dtypes(el, conv->call->span, conv->call->name, both, 2, &conv->dtype) || !read_windows(el, conv) ||
        !read_channels(el, conv) || !named_integer(el, conv->call, "groups", &conv->groups))
        return false;
    if (!dtype_is_float(conv->dtype)) {
        elab_error(el, DIAG_dtype_mismatch, conv->call->span, "`%s` needs floats, not %s", conv->call->name,
                   dtype_name(conv->dtype));
        return false;
    }
    int64_t stride[MOST_WINDOW], dilation[MOST_WINDOW];
    if (!per_window(el, conv, "stride", 1, stride) || !per_window(el, conv, "dilation", 1, dilation))
        return false;
    for (int i = 0; i < conv->spatial; i++) {
        conv->window[i].stride = stride[i];
        conv->window[i].dilation = dilation[i];
    }
    return conv->w->tensor.shape.rank == conv->spatial + 2 ||
           (elab_error(el, DIAG_axis_count, conv->call->span,
                       "the weights of `%s` have a window, channels in and channels out, but are %s", conv->call->name,
                       value_describe(el->arena, conv->w)),
            false);
}

static bool check_channels(Elab *el, const Conv *conv)
{
    const Axis *in = &conv->x->tensor.shape.axes[conv->x_channel], *taken = &conv->w->tensor.shape.axes[conv->w_in];
    const Axis *out = &conv->w->tensor.shape.axes[conv->w_out];
    bool whole = conv->groups >= 1 && in->size % conv->groups == 0 && out->size % conv->groups == 0;
    if (whole && taken->size == in->size / conv->groups)
        return true;
    if (conv->groups != 1)
        elab_error(el, DIAG_division_exact, conv->call->span,
                   "%lld groups of %s: %lld channels in, %lld for each group, %lld out", (long long)conv->groups,
                   in->label->name, (long long)in->size, (long long)taken->size, (long long)out->size);
    else
        elab_error(el, DIAG_axis_size, conv->call->span, "`%s` meets two sizes of the axis %s: %lld in %s and %lld in %s",
                   conv->call->name, in->label->name, (long long)in->size, value_describe(el->arena, conv->x),
                   (long long)taken->size, value_describe(el->arena, conv->w));
    note_origin(el, conv->x, conv->call->span);
    note_origin(el, conv->w, conv->call->span);
    return false;
}

/* ---- operands in the order of the primitive: x [n, s.., c], w [k.., c, o] ---- */

typedef struct Ordered {
    IrRef x, w;
    Shape further; /* the axes of x that become n */
} Ordered;

static Ordered order_operands(Elab *el, const Conv *conv)
{
    Span at = conv->call->span;
    Ordered ordered = {0};
    const Shape *have = &conv->x->tensor.shape;
    Shape tail = {0}, order;
    for (int i = 0; i < conv->spatial; i++)
        tail.axes[tail.rank++] = have->axes[conv->window[i].x];
    tail.axes[tail.rank++] = have->axes[conv->x_channel];
    ordered.further = shape_without(have, &tail);
    order = ordered.further;
    int64_t dim[IR_MAX_RANK], n = 1;
    for (int i = 0; i < ordered.further.rank; i++)
        n *= ordered.further.axes[i].size;
    dim[0] = n;
    for (int i = 0; i < tail.rank; i++) {
        order.axes[order.rank++] = tail.axes[i];
        dim[i + 1] = tail.axes[i].size;
    }
    ordered.x = operand_ref(el, at, conv->x, &order, conv->dtype);
    if (ordered.further.rank != 1)
        ordered.x = ir_reshape(emit(el, at), ordered.x, tail.rank + 1, dim);
    Shape weights = {0};
    for (int i = 0; i < conv->spatial; i++)
        weights.axes[weights.rank++] = conv->w->tensor.shape.axes[conv->window[i].w];
    weights.axes[weights.rank++] = conv->w->tensor.shape.axes[conv->w_in];
    weights.axes[weights.rank++] = conv->w->tensor.shape.axes[conv->w_out];
    ordered.w = operand_ref(el, at, conv->w, &weights, conv->dtype);
    return ordered;
}

static IrRef pad_windows(Elab *el, const Conv *conv, IrRef x, const int64_t *inner)
{
    int64_t lo[IR_MAX_RANK] = {0}, hi[IR_MAX_RANK] = {0}, between[IR_MAX_RANK] = {0};
    bool any = false;
    for (int i = 0; i < conv->spatial; i++) {
        lo[i + 1] = conv->window[i].lo;
        hi[i + 1] = conv->window[i].hi;
        between[i + 1] = inner ? inner[i] : 0;
        any |= lo[i + 1] || hi[i + 1] || between[i + 1];
    }
    return any ? ir_pad(emit(el, conv->call->span), x, lo, hi, between) : x;
}

/* Part g of `count` equal parts along one axis. */
static IrRef part_of(Elab *el, IrRef x, int axis, int64_t g, int64_t count)
{
    const IrType type = *ir_type_of(el->frame->func, x);
    int64_t start[IR_MAX_RANK] = {0}, stop[IR_MAX_RANK], step[IR_MAX_RANK];
    for (int i = 0; i < type.rank; i++) {
        stop[i] = type.dim[i];
        step[i] = 1;
    }
    int64_t size = type.dim[axis] / count;
    start[axis] = g * size;
    stop[axis] = start[axis] + size;
    return ir_slice(el->frame->func, x, start, stop, step);
}

static IrRef run_groups(Elab *el, const Conv *conv, IrRef x, IrRef w, const int64_t *stride, const int64_t *dilation)
{
    IrFunc *func = emit(el, conv->call->span);
    if (conv->groups == 1)
        return ir_conv(func, x, w, stride, dilation);
    IrRef *parts = arena_array(el->arena, IrRef, conv->groups);
    int channel = conv->spatial + 1;
    for (int64_t g = 0; g < conv->groups; g++)
        parts[g] =
            ir_conv(func, part_of(el, x, channel, g, conv->groups), part_of(el, w, channel, g, conv->groups), stride, dilation);
    return ir_concat(func, parts, (int)conv->groups, channel);
}

/* The result [n, t.., o] with the labels and order of x, C' in place of C. */
static const Value *restore_axes(Elab *el, const Conv *conv, IrRef result, const Shape *further)
{
    Span at = conv->call->span;
    IrType type = *ir_type_of(el->frame->func, result);
    Shape shape = *further, wanted = conv->x->tensor.shape, checked = {0};
    int64_t dim[IR_MAX_RANK];
    Axis out = conv->w->tensor.shape.axes[conv->w_out];
    for (int i = 0; i < conv->spatial; i++) {
        Axis *axis = &wanted.axes[conv->window[i].x];
        axis->size = type.dim[i + 1];
        shape.axes[shape.rank++] = *axis;
    }
    shape.axes[shape.rank++] = out;
    wanted.axes[conv->x_channel] = out;
    for (int i = 0; i < wanted.rank; i++) {
        if (!shape_push(el, &checked, wanted.axes[i], at))
            return &value_poison;
    }
    for (int i = 0; i < shape.rank; i++)
        dim[i] = shape.axes[i].size;
    if (further->rank != 1)
        result = ir_reshape(el->frame->func, result, shape.rank, dim);
    return tensor_order(el, at, tensor_new(el, result, &shape), &wanted);
}

static bool check_fit(Elab *el, const Conv *conv, const int64_t *inner)
{
    for (int i = 0; i < conv->spatial; i++) {
        const Window *window = &conv->window[i];
        const Axis *axis = &conv->x->tensor.shape.axes[window->x];
        int64_t taps = conv->w->tensor.shape.axes[window->w].size, size = axis->size;
        int64_t padded = size + window->lo + window->hi + (inner && size ? inner[i] * (size - 1) : 0);
        if (taps >= 1 && (taps - 1) * window->dilation + 1 <= padded)
            continue;
        elab_error(el, DIAG_axis_size, conv->call->span,
                   "a window of %lld (dilation %lld) does not fit the axis %s of size %lld", (long long)taps,
                   (long long)window->dilation, axis->label->name, (long long)padded);
        return false;
    }
    return true;
}

const Value *builtin_conv(Elab *el, Call *call)
{
    Conv conv = {.call = call};
    if (!read_conv(el, &conv) || !check_channels(el, &conv) || !read_padding(el, &conv) || !check_fit(el, &conv, NULL))
        return &value_poison;
    int64_t stride[MOST_WINDOW], dilation[MOST_WINDOW];
    for (int i = 0; i < conv.spatial; i++) {
        stride[i] = conv.window[i].stride;
        dilation[i] = conv.window[i].dilation;
    }
    Ordered ordered = order_operands(el, &conv);
    IrRef x = pad_windows(el, &conv, ordered.x, NULL);
    return restore_axes(el, &conv, run_groups(el, &conv, x, ordered.w, stride, dilation), &ordered.further);
}

/* The adjoint of a convolution with that stride and padding: x is spread out, and the window is turned round.
 * `pad = same` makes the result `stride` times as large. */
const Value *builtin_conv_transpose(Elab *el, Call *call)
{
    Conv conv = {.call = call};
    if (!read_conv(el, &conv) || !check_channels(el, &conv) || !read_padding(el, &conv))
        return &value_poison;
    const Argument *pad = named(call, "pad");
    bool same = !pad || (pad->expr && pad->expr->kind == EXPR_name && !strcmp(pad->expr->name, "same"));
    int64_t one[MOST_WINDOW], dilation[MOST_WINDOW], inner[MOST_WINDOW], axes[MOST_WINDOW];
    for (int i = 0; i < conv.spatial; i++) {
        Window *window = &conv.window[i];
        int64_t reach = (conv.w->tensor.shape.axes[window->w].size - 1) * window->dilation;
        int64_t crop = same ? reach + 1 - window->stride : 2 * window->lo;
        crop = crop > 0 ? crop : 0;
        one[i] = 1;
        dilation[i] = window->dilation;
        inner[i] = window->stride - 1;
        window->lo = reach - crop / 2;
        window->hi = reach - (crop - crop / 2) + (same && reach + 1 < window->stride ? window->stride - reach - 1 : 0);
        axes[i] = i;
    }
    if (!check_fit(el, &conv, inner))
        return &value_poison;
    Ordered ordered = order_operands(el, &conv);
    IrRef x = pad_windows(el, &conv, ordered.x, inner);
    IrNode turned = {.op = OP_reverse, .operand_count = 1, .operands = &ordered.w, .attr = {{conv.spatial, axes}}};
    IrRef w = ir_emit(emit(el, call->span), turned);
    return restore_axes(el, &conv, run_groups(el, &conv, x, w, one, dilation), &ordered.further);
}
