/* Legalise: convolutions of spread arrays.
 *
 * The gradient by the input of a convolution with stride s is a convolution of an array with s - 1 zeros between its elements:
 * most of what it multiplies is zero.  Results p, p + s, p + 2 s .. along an axis see the same taps of the window, every sth,
 * and there the elements lie side by side.  So each such phase is a convolution of the array as it is, and the result is made
 * of phases. */
#include "passes/legalise_internal.h"

#include <string.h>

enum { MOST_PHASES = 16 };

/* One spatial axis of the convolution, and of one of its phases. */
typedef struct Spread {
    int64_t step, size, taps, places, low; /* of the elements; of the array, the window and the result; zeros before it */
    int64_t phase, first_tap, phase_taps, phase_places, phase_low;
} Spread;

static int64_t rounded_up(int64_t count, int64_t step)
{
    return count > 0 ? (count + step - 1) / step : 0;
}

static void enter_phase(Spread *axis, int64_t phase)
{
    int64_t s = axis->step;
    axis->phase = phase;
    axis->first_tap = ((axis->low - phase) % s + s) % s;
    axis->phase_taps = rounded_up(axis->taps - axis->first_tap, s);
    axis->phase_places = rounded_up(axis->places - phase, s);
    axis->phase_low = (axis->low - phase - axis->first_tap) / s;
}

typedef struct SpreadConv {
    int spatial;
    Spread axis[IR_MAX_RANK];
    int64_t low[IR_MAX_RANK]; /* by axis of the array: zeros before it that every phase has enough of */
} SpreadConv;

static bool find_spread(const IrFunc *func, const IrNode *conv, SpreadConv *spread)
{
    const IrNode *pad = ir_node(func, conv->operands[0]);
    const IrType *window = ir_type_of(func, conv->operands[1]);
    int last = conv->type.rank - 1, phases = 1;
    if (pad->op != OP_pad)
        return false;
    const int64_t *lo = pad->attr[0].items, *hi = pad->attr[1].items, *inner = pad->attr[2].items;
    const IrType *array = ir_type_of(func, pad->operands[0]);
    if (lo[0] || hi[0] || inner[0] || lo[last] || hi[last] || inner[last] || !ir_element_count(array) ||
        !ir_element_count(&conv->type))
        return false;
    spread->spatial = last - 1;
    for (int i = 0; i < spread->spatial; i++) {
        if (conv->attr[0].items[i] != 1 || conv->attr[1].items[i] != 1)
            return false;
        spread->axis[i] = (Spread){.step = inner[i + 1] + 1,
                                   .size = array->dim[i + 1],
                                   .taps = window->dim[i],
                                   .places = conv->type.dim[i + 1],
                                   .low = lo[i + 1]};
        phases = phases > MOST_PHASES ? phases : phases * (int)spread->axis[i].step;
    }
    return phases > 1 && phases <= MOST_PHASES;
}

/* The array with the zeros around it that some phase wants; what it lacks of it otherwise is cut off by the phases. */
static IrRef pad_for_phases(IrFunc *func, SpreadConv *spread, IrRef x)
{
    int64_t hi[IR_MAX_RANK] = {0}, inner[IR_MAX_RANK] = {0};
    memset(spread->low, 0, sizeof spread->low);
    for (int i = 0; i < spread->spatial; i++)
        for (int64_t p = 0; p < spread->axis[i].step; p++) {
            Spread axis = spread->axis[i];
            enter_phase(&axis, p);
            int64_t high = axis.phase_places + axis.phase_taps - 1 - axis.size - axis.phase_low;
            spread->low[i + 1] = axis.phase_low > spread->low[i + 1] ? axis.phase_low : spread->low[i + 1];
            hi[i + 1] = high > hi[i + 1] ? high : hi[i + 1];
        }
    return ir_pad(func, x, spread->low, hi, inner);
}

/* The phase that the axes have entered, spread over the result's places; none if it is all zeros. */
static IrRef one_phase(IrFunc *func, const SpreadConv *spread, IrRef x, IrRef w, const IrType *type)
{
    IrType array = *ir_type_of(func, x), window = *ir_type_of(func, w);
    int64_t x_start[IR_MAX_RANK] = {0}, x_stop[IR_MAX_RANK], w_start[IR_MAX_RANK] = {0}, w_step[IR_MAX_RANK];
    int64_t one[IR_MAX_RANK], lo[IR_MAX_RANK] = {0}, hi[IR_MAX_RANK] = {0}, inner[IR_MAX_RANK] = {0};
    for (int i = 0; i < array.rank; i++) {
        one[i] = w_step[i] = 1;
        x_stop[i] = array.dim[i];
    }
    for (int i = 0; i < spread->spatial; i++) {
        const Spread *axis = &spread->axis[i];
        if (!axis->phase_taps || !axis->phase_places)
            return -1;
        x_start[i + 1] = spread->low[i + 1] - axis->phase_low;
        x_stop[i + 1] = x_start[i + 1] + axis->phase_places + axis->phase_taps - 1;
        w_start[i] = axis->first_tap;
        w_step[i] = axis->step;
        lo[i + 1] = axis->phase;
        hi[i + 1] = type->dim[i + 1] - axis->phase - (axis->phase_places - 1) * axis->step - 1;
        inner[i + 1] = axis->step - 1;
    }
    IrRef part = ir_slice(func, x, x_start, x_stop, one), taps = ir_slice(func, w, w_start, window.dim, w_step);
    return ir_pad(func, ir_conv(func, part, taps, one, one), lo, hi, inner);
}

/* Goes to the next phase, as numbers are counted; false after the last. */
static bool next_phase(SpreadConv *spread)
{
    for (int i = spread->spatial - 1; i >= 0; i--) {
        Spread *axis = &spread->axis[i];
        bool more = axis->phase + 1 < axis->step;
        enter_phase(axis, more ? axis->phase + 1 : 0);
        if (more)
            return true;
    }
    return false;
}

IrRef legalise_spread_conv(IrFunc *out, const IrFunc *func, const IrNode *conv, const IrRef *map)
{
    SpreadConv spread;
    if (!find_spread(func, conv, &spread))
        return -1;
    IrRef x = pad_for_phases(out, &spread, map[ir_node(func, conv->operands[0])->operands[0]]), sum = -1;
    for (int i = 0; i < spread.spatial; i++)
        enter_phase(&spread.axis[i], 0);
    do {
        IrRef part = one_phase(out, &spread, x, map[conv->operands[1]], &conv->type);
        sum = part < 0 ? sum : sum < 0 ? part : ir_binary(out, OP_add, sum, part);
    } while (next_phase(&spread));
    return sum < 0 ? ir_const(out, conv->type, 0) : sum;
}
