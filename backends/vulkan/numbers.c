/* Tiles of numbers: each thread keeps sums in registers, and slices of the operands lie in shared memory as [k][row or column].
 */
#include "backends/vulkan/tiles.h"

enum {
    SIDE = 8,     /* threads along each side of a tile */
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
}

/* Element `number` of the words that were read at once. */
static const char *element_of_words(GlslPrinter *printer, DType dtype, int number)
{
    static const char letters[] = "xyzw";
    if (dtype == DT_f32)
        return arena_printf(printer->arena, "uintBitsToFloat(words.%c)", letters[number]);
    return arena_printf(printer->arena, "%s_of_bits(words.%c %s)", dtype_name(dtype), letters[number / 2],
                        number % 2 ? ">> 16" : "& 0xffffu");
}

/* A slice of one operand: [k][row or column]. */
static void print_slice(GlslPrinter *printer, const Tiles *tiles, char name, int first)
{
    Operand operand = tiles_operand(tiles, name);
    int run = operand.run, pitch = pitch_of(operand.extent);
    int fast = (operand.along_k ? tiles->slice : operand.extent) / run;
    glsl_loop(printer, "i", "thread", tiles->slice * operand.extent / run, tiles->threads);
    glsl_line(printer, operand.along_k ? "int k = i %% %d * %d, side = i / %d;" : "int side = i %% %d * %d, k = i / %d;", fast,
              run, fast);
    const char *place = tiles_place(printer, &operand, "k");
    if (run == 1) {
        const char *value = arena_printf(printer->arena, "get_b%d(%s)", operand.load->buffer, place);
        glsl_line(printer, "slice[%d + k * %d + side] = %s;", first, pitch, tiles_guarded(printer, tiles, "k", value, "0.0"));
    } else {
        const char *words = arena_printf(printer->arena, "words_of_b%d(%s)", operand.load->buffer, place);
        glsl_line(printer, "uvec4 words = %s;", tiles_guarded(printer, tiles, "k", words, "uvec4(0u)"));
    }
    for (int i = 0; i < run && run > 1; i++)
        glsl_line(printer, "slice[%d + k * %d + side] = %s;", first + i * (operand.along_k ? pitch : 1), pitch,
                  element_of_words(printer, operand.load->dtype, i));
    glsl_close(printer);
}

static void print_zeros(GlslPrinter *printer, const Tiles *tiles)
{
    glsl_line(printer, "int x = thread %% %d, y = thread / %d;", SIDE, SIDE);
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
    return j / together * together * SIDE + j % together;
}

static void print_multiply(GlslPrinter *printer, const Tiles *tiles, int b_slice)
{
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

static void print_slice_and_multiply(GlslPrinter *printer, const Tiles *tiles)
{
    int b_slice = tiles->slice * pitch_of(tiles->height);
    print_slice(printer, tiles, 'a', 0);
    print_slice(printer, tiles, 'b', b_slice);
    glsl_line(printer, "barrier();");
    print_multiply(printer, tiles, b_slice);
}

/* Sums go through the place of the slices, as many rows of threads at a time as fit. */
static int parts_of(const Tiles *tiles)
{
    int parts = 1;
    while (tiles->height * tiles->width > tiles->slice * (tiles->height + tiles->width) * parts)
        parts *= 2;
    return parts;
}

static int part_size(const Tiles *tiles)
{
    return tiles->height * tiles->width / parts_of(tiles);
}

static void print_hand_over(GlslPrinter *printer, const Tiles *tiles)
{
    int sides = SIDE / parts_of(tiles);
    glsl_open(printer, "if (y / %d == part)", sides);
    for (int i = 0; i < tiles->rows; i++)
        for (int j = 0; j < tiles->columns; j++)
            glsl_line(printer, "slice[(y %% %d * %d + %d) * %d + x * %d + %d] = s%d_%d;", sides, tiles->rows, i, tiles->width,
                      columns_together(tiles), column_ahead(tiles, j), i, j);
    glsl_close(printer);
}

static void print_place(GlslPrinter *printer, const Tiles *tiles)
{
    int height = tiles->height / parts_of(tiles);
    glsl_line(printer, "int m = m0 + part * %d + i / %d, n = n0 + i %% %d;", height, tiles->width, tiles->width);
    glsl_line(printer, "float s0 = slice[i];");
}

static const TileMethod numbers_method = {
    .phase = PHASE_TILES,
    .most_units = 8,
    .least_units = 4,
    .print_shared = print_shared,
    .print_zeros = print_zeros,
    .print_slice_and_multiply = print_slice_and_multiply,
    .parts = parts_of,
    .part_size = part_size,
    .print_hand_over = print_hand_over,
    .print_place = print_place,
};

void numbers_suit(Tiles *tiles)
{
    tiles->method = &numbers_method;
    tiles->unit_m = tiles->unit_n = SIDE;
    tiles->threads = GROUP_THREADS;
    tiles->slice = SLICE;
}
