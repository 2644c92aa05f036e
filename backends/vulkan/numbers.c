/* Tiles of numbers: each thread keeps sums in registers, and slices of the operands lie in shared memory as [k][row or column].
 */
#include "backends/vulkan/tiles.h"

enum {
    TOGETHER = 4, /* columns of a thread side by side */
    GAP = 4,      /* numbers between the points of k of a slice, which then lie in different banks */
};

static int pitch_of(int extent)
{
    return extent + GAP;
}

static void print_shared(GlslPrinter *printer, const Tiles *tiles)
{
    glsl_line(printer, "shared float slice[%d];", tiles->slice * (pitch_of(tiles->height) + pitch_of(tiles->width)));
    glsl_line(printer, "void take_sum(out float sum, int i) { sum = slice[i]; }"); /* see print_place */
}

/* Element `number` of the words that a thread holds. */
static const char *element_of_words(GlslPrinter *printer, const Operand *operand, int unit, int number)
{
    static const char letters[] = "xyzw";
    DType dtype = operand->load->dtype;
    const char *word =
        arena_printf(printer->arena, "%c_held%d.%c", operand->name, unit, letters[dtype == DT_f32 ? number : number / 2]);
    if (dtype == DT_f32)
        return arena_printf(printer->arena, "uintBitsToFloat(%s)", word);
    return arena_printf(printer->arena, "%s_of_bits(%s %s)", dtype_name(dtype), word, number % 2 ? ">> 16" : "& 0xffffu");
}

static void size_unit(const Operand *operand, int *along_k, int *along_side)
{
    *along_k = operand->along_k ? operand->run : 1;
    *along_side = operand->along_k ? 1 : operand->run;
}

static void print_held(GlslPrinter *printer, const Operand *operand, int unit)
{
    glsl_line(printer, "%s %c_held%d;", operand->run > 1 ? "uvec4" : "float", operand->name, unit);
}

static void print_fetch(GlslPrinter *printer, const Tiles *tiles, const Operand *operand, int unit)
{
    bool words = operand->run > 1;
    const char *value = tiles_read(printer, tiles, operand, unit, 0, words ? "words_of" : "get", words ? "uvec4(0u)" : "0.0");
    glsl_line(printer, "%c_held%d = %s;", operand->name, unit, value);
}

static void print_keep(GlslPrinter *printer, const Tiles *tiles, const Operand *operand, int unit)
{
    int pitch = pitch_of(operand->extent), first = operand->name == 'a' ? 0 : tiles->slice * pitch_of(tiles->height);
    for (int i = 0; i < operand->run; i++) {
        const char *value = arena_printf(printer->arena, "%c_held%d", operand->name, unit);
        if (operand->run > 1)
            value = element_of_words(printer, operand, unit, i);
        glsl_line(printer, "slice[%d + %c_k%d * %d + %c_side%d] = %s;", first + i * (operand->along_k ? pitch : 1),
                  operand->name, unit, pitch, operand->name, unit, value);
    }
}

static void print_zeros(GlslPrinter *printer, const Tiles *tiles)
{
    glsl_line(printer, "int x = thread %% %d, y = thread / %d;", TILE_SIDE, TILE_SIDE);
    for (int i = 0; i < tiles->rows; i++)
        for (int j = 0; j < tiles->columns; j++)
            glsl_line(printer, "float s%d_%d = 0.0;", i, j);
}

/* How far column `j` of a thread lies behind its first one.  Rows of a thread lie side by side; columns by fours, those of
 * neighbouring threads next to them: drivers read 16 bytes at once, and threads read different banks. */
static int columns_together(const Tiles *tiles)
{
    return tiles->columns < TOGETHER ? tiles->columns : TOGETHER;
}

static int column_ahead(const Tiles *tiles, int j)
{
    int together = columns_together(tiles);
    return j / together * together * TILE_SIDE + j % together;
}

static void print_multiply(GlslPrinter *printer, const Tiles *tiles)
{
    int b_slice = tiles->slice * pitch_of(tiles->height);
    glsl_loop(printer, "k", "0", tiles->slice, 1);
    for (int i = 0; i < tiles->rows; i++)
        glsl_line(printer, "float x%d = slice[k * %d + y * %d + %d];", i, pitch_of(tiles->height), tiles->rows, i);
    for (int j = 0; j < tiles->columns; j++) {
        glsl_line(printer, "float y%d = slice[%d + k * %d + x * %d + %d];", j, b_slice, pitch_of(tiles->width),
                  columns_together(tiles), column_ahead(tiles, j));
        for (int i = 0; i < tiles->rows; i++)
            glsl_line(printer, "s%d_%d += x%d * y%d;", i, j, i, j);
    }
    glsl_close(printer);
}

/* Sums go through the place of the slices, as many rows of threads at a time as fit. */
static int count_parts(const Tiles *tiles)
{
    int parts = 1;
    while (tiles->height * tiles->width > tiles->slice * (tiles->height + tiles->width) * parts)
        parts *= 2;
    return parts;
}

static int part_size(const Tiles *tiles)
{
    return tiles->height * tiles->width / count_parts(tiles);
}

static void print_hand_over(GlslPrinter *printer, const Tiles *tiles)
{
    int sides = TILE_SIDE / count_parts(tiles);
    glsl_open(printer, "if (y / %d == part)", sides);
    for (int i = 0; i < tiles->rows; i++)
        for (int j = 0; j < tiles->columns; j++)
            glsl_line(printer, "slice[(y %% %d * %d + %d) * %d + x * %d + %d] = s%d_%d;", sides, tiles->rows, i, tiles->width,
                      columns_together(tiles), column_ahead(tiles, j), i, j);
    glsl_close(printer);
}

/* What follows is precise, as polynomials have to be, and glslang would have it that all that a precise value comes from is,
 * too: products and sums would not be fused.  It does not look into what a function leaves in an argument. */
static void print_place(GlslPrinter *printer, const Tiles *tiles)
{
    int height = tiles->height / count_parts(tiles);
    glsl_line(printer, "int m = m0 + part * %d + i / %d, n = n0 + i %% %d;", height, tiles->width, tiles->width);
    glsl_line(printer, "float s0;");
    glsl_line(printer, "take_sum(s0, i);");
}

const TileMethod numbers_method = {
    .print_shared = print_shared,
    .print_zeros = print_zeros,
    .size_unit = size_unit,
    .print_held = print_held,
    .print_fetch = print_fetch,
    .print_keep = print_keep,
    .print_multiply = print_multiply,
    .parts = count_parts,
    .part_size = part_size,
    .print_hand_over = print_hand_over,
    .print_place = print_place,
};
