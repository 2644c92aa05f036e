/* Crops: pads that only take away.  A crop of a pad is one pad; a crop of a convolution is the convolution of a crop: what
 * nobody sees is not computed.  The gradient by the input of a padded convolution is such a one. */
#include "passes/simplify.h"

static bool is_crop(const IrNode *node)
{
    if (node->op != OP_pad)
        return false;
    for (int i = 0; i < node->type.rank; i++)
        if (node->attr[0].items[i] > 0 || node->attr[1].items[i] > 0 || node->attr[2].items[i])
            return false;
    return true;
}

/* A crop of a pad is one pad, or nothing. */
static IrRef crop_pad(IrFunc *func, IrRef x, const int64_t *lo, const int64_t *hi)
{
    const IrNode *below = ir_node(func, x);
    int64_t low[IR_MAX_RANK], high[IR_MAX_RANK], inner[IR_MAX_RANK] = {0};
    bool pads = below->op == OP_pad, nothing = true;
    for (int i = 0; i < below->type.rank; i++) {
        low[i] = lo[i] + (pads ? below->attr[0].items[i] : 0);
        high[i] = hi[i] + (pads ? below->attr[1].items[i] : 0);
        inner[i] = pads ? below->attr[2].items[i] : 0;
        nothing &= !low[i] && !high[i] && !inner[i];
    }
    IrRef base = pads ? below->operands[0] : x;
    return nothing ? base : simplify_ref(func, ir_pad(func, base, low, high, inner));
}

static IrRef crop_conv(IrFunc *func, const IrNode *node, IrNode conv)
{
    int last = node->type.rank - 1;
    const int64_t *lo = node->attr[0].items, *hi = node->attr[1].items;
    if (lo[0] || hi[0] || lo[last] || hi[last])
        return -1;
    for (int i = 0; i < conv.attr[0].count; i++)
        if (conv.attr[0].items[i] != 1)
            return -1;
    IrRef x = crop_pad(func, conv.operands[0], lo, hi);
    return ir_conv(func, x, conv.operands[1], conv.attr[0].items, conv.attr[1].items);
}

IrRef simplify_crop(IrFunc *func, IrRef ref, int uses)
{
    IrNode node = *ir_node(func, ref);
    if (!is_crop(&node))
        return -1;
    IrNode below = *ir_node(func, node.operands[0]);
    if (below.op == OP_pad)
        return crop_pad(func, node.operands[0], node.attr[0].items, node.attr[1].items);
    return below.op == OP_conv && uses == 1 ? crop_conv(func, &node, below) : -1;
}
