/* Cooperative matrices: small matrices that the threads of a subgroup hold and multiply together.
 *
 * Each of four subgroups, two along each side of a tile, keeps some matrices of sums.  Slices lie in shared memory as [row or
 * column][k], two numbers of 16 bits to a word.  Products are exact and sums are f32, as everywhere; their order is the
 * device's.  Which shape is used is found out when the device is opened (shapes.c). */
#include "backends/vulkan/tiles.h"

enum {
    GAP_WORDS = 4, /* between rows of a slice, which then lie in different banks */
};

/* How a form of matrices is written; M, N, K, PITCH are the shape's. */
static const struct {
    const char *extensions, *definitions;
} forms[] = {
    [MATRICES_NV] = {"#extension GL_KHR_memory_scope_semantics : require\n"
                     "#extension GL_NV_cooperative_matrix : require\n"
                     "#extension GL_KHR_shader_subgroup_basic : require\n"
                     "#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require\n",
                     "#define MatrixA fcoopmatNV<16, gl_ScopeSubgroup, M, K>\n"
                     "#define MatrixB fcoopmatNV<16, gl_ScopeSubgroup, K, N>\n"
                     "#define MatrixC fcoopmatNV<32, gl_ScopeSubgroup, M, N>\n"
                     "#define set_zero(c) c = MatrixC(0.0)\n"
                     "#define load_a(a, at) coopMatLoadNV(a, slice, at, PITCH, false)\n"
                     "#define load_b(b, at) coopMatLoadNV(b, slice, at, PITCH, true)\n"
                     "#define multiply_add(a, b, c) c = coopMatMulAddNV(a, b, c)\n"
                     "#define store_c(c, at) coopMatStoreNV(c, slice, at, N, false)\n"},
    [MATRICES_KHR] = {"#extension GL_KHR_memory_scope_semantics : require\n"
                      "#extension GL_KHR_cooperative_matrix : require\n"
                      "#extension GL_KHR_shader_subgroup_basic : require\n"
                      "#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require\n",
                      "#define MatrixA coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA>\n"
                      "#define MatrixB coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB>\n"
                      "#define MatrixC coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>\n"
                      "#define set_zero(c) c = MatrixC(0.0)\n"
                      "#define load_a(a, at) coopMatLoad(a, slice, at, PITCH, gl_CooperativeMatrixLayoutRowMajor)\n"
                      "#define load_b(b, at) coopMatLoad(b, slice, at, PITCH, gl_CooperativeMatrixLayoutColumnMajor)\n"
                      "#define multiply_add(a, b, c) c = coopMatMulAdd(a, b, c)\n"
                      "#define store_c(c, at) coopMatStore(c, slice, at, N, gl_CooperativeMatrixLayoutRowMajor)\n"},
    [MATRICES_BY_HAND] = {"#extension GL_KHR_shader_subgroup_basic : require\n",
                          "struct MatrixA { float x[M * K]; };\n"
                          "struct MatrixB { float x[N * K]; };\n"
                          "struct MatrixC { float x[M * N]; };\n"
                          "float half_at(int at, int k) {\n"
                          "  return f16_of_bits((slice[at + k / 2] >> (k % 2 * 16)) & 0xffffu);\n"
                          "}\n"
                          "void set_zero(out MatrixC c) {\n"
                          "  for (int i = 0; i < M * N; i++) c.x[i] = 0.0;\n"
                          "}\n"
                          "void load_a(out MatrixA a, int at) {\n"
                          "  for (int i = 0; i < M * K; i++) a.x[i] = half_at(at + i / K * PITCH, i % K);\n"
                          "}\n"
                          "void load_b(out MatrixB b, int at) {\n"
                          "  for (int i = 0; i < N * K; i++) b.x[i] = half_at(at + i / K * PITCH, i % K);\n"
                          "}\n"
                          "void multiply_add(MatrixA a, MatrixB b, inout MatrixC c) {\n"
                          "  for (int i = 0; i < M * N; i++)\n"
                          "    for (int k = 0; k < K; k++) c.x[i] += a.x[i / N * K + k] * b.x[i % N * K + k];\n"
                          "}\n"
                          "void store_c(MatrixC c, int at) {\n"
                          "  for (int i = 0; i < M * N && gl_SubgroupInvocationID == 0u; i++)\n"
                          "    slice[at + i] = floatBitsToUint(c.x[i]);\n"
                          "}\n"},
};

const char *matrices_extensions(const Device *device)
{
    return forms[device->matrices.form].extensions;
}

static const MatrixShape *shape_of(const GlslPrinter *printer)
{
    return &printer->device->matrices.shape;
}

static int pitch_of(int slice)
{
    return slice / 2 + GAP_WORDS;
}

static int slice_words(int height, int width, int slice)
{
    return (height + width) * pitch_of(slice);
}

int64_t matrices_shared_bytes(const MatrixShape *shape)
{
    int height = SUBGROUPS_A_SIDE * MATRICES_EACH * shape->m, width = SUBGROUPS_A_SIDE * MATRICES_EACH * shape->n;
    int slice = tiling_slice(shape);
    return 4 * (int64_t)slice_words(height, width, slice);
}

/* ---- sums of matrices ---- */

static void print_shared(GlslPrinter *printer, const Tiles *tiles)
{
    const MatrixShape *shape = shape_of(printer);
    int words = slice_words(tiles->height, tiles->width, tiles->slice), part = tiles->unit_m * tiles->unit_n;
    glsl_line(printer, "shared uint slice[%d];", words > part ? words : part);
    glsl_line(printer, "const int M = %d, N = %d, K = %d, PITCH = %d;", shape->m, shape->n, shape->k, pitch_of(tiles->slice));
    text_puts(printer->out, forms[printer->device->matrices.form].definitions);
}

static void print_zeros(GlslPrinter *printer, const Tiles *tiles)
{
    glsl_line(printer, "int x = int(gl_SubgroupID) %% %d, y = int(gl_SubgroupID) / %d;", SUBGROUPS_A_SIDE, SUBGROUPS_A_SIDE);
    for (int i = 0; i < tiles->rows; i++)
        for (int j = 0; j < tiles->columns; j++) {
            glsl_line(printer, "MatrixC s%d_%d;", i, j);
            glsl_line(printer, "set_zero(s%d_%d);", i, j);
        }
}

static void size_unit(const Operand *operand, int *along_k, int *along_side)
{
    *along_k = operand->along_k && operand->run > 1 ? operand->run : 2;
    *along_side = operand->along_k ? 1 : operand->run;
}

/* Along k 16 bytes are four words of two numbers; across, those at k and at k + 1 are the halves of eight; one by one, they are
 * the halves of one. */
static void print_held(GlslPrinter *printer, const Operand *operand, int unit)
{
    const char name = operand->name;
    if (operand->run == 1)
        glsl_line(printer, "uint %c_held%d;", name, unit);
    else if (operand->along_k)
        glsl_line(printer, "uvec4 %c_held%d;", name, unit);
    else
        glsl_line(printer, "uvec4 %c_held%d, %c_behind%d;", name, unit, name, unit);
}

static void print_fetch(GlslPrinter *printer, const Tiles *tiles, const Operand *operand, int unit)
{
    const char name = operand->name;
    bool words = operand->run > 1;
    const char *value[2];
    for (int i = 0; i < 2; i++)
        value[i] = tiles_read(printer, tiles, operand, unit, i, words ? "words_of" : "bits_of", words ? "uvec4(0u)" : "0u");
    if (!words)
        glsl_line(printer, "%c_held%d = (%s) | (%s) << 16;", name, unit, value[0], value[1]);
    else
        glsl_line(printer, "%c_held%d = %s;", name, unit, value[0]);
    if (words && !operand->along_k)
        glsl_line(printer, "%c_behind%d = %s;", name, unit, value[1]);
}

/* Word `number` of a unit, for the slice. */
static const char *held_word(GlslPrinter *printer, const Operand *operand, int unit, int number)
{
    static const char letters[] = "xyzw";
    const char name = operand->name, letter = letters[operand->along_k ? number : number / 2];
    if (operand->run == 1)
        return arena_printf(printer->arena, "%c_held%d", name, unit);
    if (operand->along_k)
        return arena_printf(printer->arena, "%c_held%d.%c", name, unit, letter);
    const char *form =
        number % 2 ? "%c_held%d.%c >> 16 | (%c_behind%d.%c & 0xffff0000u)" : "(%c_held%d.%c & 0xffffu) | %c_behind%d.%c << 16";
    return arena_printf(printer->arena, form, name, unit, letter, name, unit, letter);
}

static void print_keep(GlslPrinter *printer, const Tiles *tiles, const Operand *operand, int unit)
{
    const char name = operand->name;
    int pitch = pitch_of(tiles->slice), first = name == 'a' ? 0 : tiles->height * pitch;
    int words = operand->run == 1 ? 1 : operand->along_k ? 4 : operand->run;
    for (int i = 0; i < words; i++) {
        int along_side = operand->along_k ? 0 : i, along_k = operand->along_k ? i : 0;
        glsl_line(printer, "slice[%d + (%c_side%d + %d) * %d + %c_k%d / 2 + %d] = %s;", first, name, unit, along_side, pitch,
                  name, unit, along_k, held_word(printer, operand, unit, i));
    }
}

/* The loops of matrices by hand: of those that are read, and of those that are multiplied. */
static void count_by_hand(GlslPrinter *printer, const Tiles *tiles)
{
    const MatrixShape *shape = shape_of(printer);
    int read = tiles->rows * shape->m * shape->k + tiles->columns * shape->n * shape->k;
    int multiplied = tiles->rows * tiles->columns * shape->m * shape->n * (1 + shape->k);
    printer->turns += printer->around[printer->depth] * (read + multiplied);
}

static void print_multiply(GlslPrinter *printer, const Tiles *tiles)
{
    int b_slice = tiles->height * pitch_of(tiles->slice);
    glsl_loop(printer, "k", "0", tiles->slice, shape_of(printer)->k);
    if (printer->device->matrices.form == MATRICES_BY_HAND)
        count_by_hand(printer, tiles);
    for (int i = 0; i < tiles->rows; i++) {
        glsl_line(printer, "MatrixA a%d_;", i);
        glsl_line(printer, "load_a(a%d_, (y * %d + %d) * M * PITCH + k / 2);", i, tiles->rows, i);
    }
    for (int j = 0; j < tiles->columns; j++) {
        glsl_line(printer, "MatrixB b%d_;", j);
        glsl_line(printer, "load_b(b%d_, %d + (x * %d + %d) * N * PITCH + k / 2);", j, b_slice, tiles->columns, j);
        for (int i = 0; i < tiles->rows; i++)
            glsl_line(printer, "multiply_add(a%d_, b%d_, s%d_%d);", i, j, i, j);
    }
    glsl_close(printer);
}

/* ---- results: one matrix of each subgroup at a time ---- */

static int count_parts(const Tiles *tiles)
{
    return tiles->rows * tiles->columns;
}

static int part_size(const Tiles *tiles)
{
    return tiles->unit_m * tiles->unit_n;
}

static void print_hand_over(GlslPrinter *printer, const Tiles *tiles)
{
    for (int i = 0; i < tiles->rows; i++)
        for (int j = 0; j < tiles->columns; j++) {
            glsl_open(printer, "if (part == %d)", i * tiles->columns + j);
            glsl_line(printer, "store_c(s%d_%d, int(gl_SubgroupID) * M * N);", i, j);
            glsl_close(printer);
        }
}

static void print_place(GlslPrinter *printer, const Tiles *tiles)
{
    glsl_line(printer, "int of = i / (M * N), row = i / N %% M, column = i %% N;");
    glsl_line(printer, "int m = m0 + (of / %d * %d + part / %d) * M + row;", SUBGROUPS_A_SIDE, tiles->rows, tiles->columns);
    glsl_line(printer, "int n = n0 + (of %% %d * %d + part %% %d) * N + column;", SUBGROUPS_A_SIDE, tiles->columns,
              tiles->columns);
    glsl_line(printer, "float s0 = uintBitsToFloat(slice[i]);");
}

const TileMethod matrices_method = {
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
