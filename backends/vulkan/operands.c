/* Operands of a contraction by tiles: in which direction they are read, how much at once, and where elements lie. */
#include "backends/vulkan/tiles.h"

enum { RUN_BYTES = 16 }; /* read at once */

/* Whether elements that follow each other along k lie closer than those along the other axes. */
static bool goes_along_k(const Affine *index, const int *k, int k_count, const int *side, int side_count)
{
    return k_count && index->coef[k[k_count - 1]] == 1 && !(side_count && index->coef[side[side_count - 1]] == 1);
}

/* How many elements along `axis`, the fastest of its kind, can be read at once: they never go past its end, and always begin
 * where as many bytes do. */
static int run_along(const Tiles *tiles, const KInst *load, int axis)
{
    int run = RUN_BYTES / dtype_size(load->dtype);
    bool fits = load->index.coef[axis] == 1 && stage_axis(tiles->kernel, tiles->stage, axis)->extent % run == 0 &&
                load->index.offset % run == 0;
    for (int other = 0; other < K_MAX_AXES; other++)
        fits &= other == axis || load->index.coef[other] % run == 0;
    return fits ? run : 1;
}

Operand tiles_operand(const Tiles *tiles, char name)
{
    const Contraction *roles = &tiles->roles;
    const bool a = name == 'a';
    const int *side = a ? roles->m : roles->n, count = a ? roles->m_count : roles->n_count;
    Operand operand = {.load = &tiles->stage->insts.items[a ? roles->a : roles->b],
                       .name = name,
                       .side = a ? 'm' : 'n',
                       .extent = a ? tiles->height : tiles->width,
                       .run = 1};
    operand.along_k = goes_along_k(&operand.load->index, roles->k, roles->k_count, side, count);
    if (operand.along_k)
        operand.run = run_along(tiles, operand.load, roles->k[roles->k_count - 1]);
    else if (count)
        operand.run = run_along(tiles, operand.load, side[count - 1]);
    return operand;
}

const char *tiles_read(GlslPrinter *printer, const Tiles *tiles, const Operand *operand, int unit, int ahead, const char *get,
                       const char *zero)
{
    const char name = operand->name;
    const char *k = arena_printf(printer->arena, "next + %c_k%d + %d", name, unit, ahead);
    if (tiles->k % tiles->slice == 0)
        return arena_printf(printer->arena, "%s_b%d(%c_at%d + %c_of_k(%s))", get, operand->load->buffer, name, unit, name, k);
    return arena_printf(printer->arena, "%s < %lld ? %s_b%d(%c_at%d + %c_of_k(min(%s, %lld))) : %s", k, (long long)tiles->k,
                        get, operand->load->buffer, name, unit, name, k, (long long)tiles->k - 1, zero);
}
