/* What every shader begins with: memory as words of 32 bits, seen through windows, and arithmetic whose results must not depend
 * on the driver. */
#include "backends/vulkan/vulkan_internal.h"

typedef struct Part {
    bool f64, i64; /* is of use only where these are */
    const char *text;
} Part;

/* Elements as a window shows them; # is its number. */
static const Part memory_parts[] = {
    {0, 0,
     "layout(set = 0, binding = #) buffer Memory_# { uint words_#[]; };\n"
     "layout(set = 0, binding = #) buffer Wide_# { uvec4 wide_#[]; };\n"},
    {0, 0,
     "float get_f32_#(int i) { return uintBitsToFloat(words_#[i]); }\n"
     "float get_f16_#(int i) { return f16_of_bits(bits16_at_#(i)); }\n"
     "float get_bf16_#(int i) { return bf16_of_bits(bits16_at_#(i)); }\n"
     "int get_i32_#(int i) { return int(words_#[i]); }\n"
     "uint get_u32_#(int i) { return words_#[i]; }\n"
     "bool get_bool_#(int i) { return bits8_at_#(i) != 0u; }\n"
     "uint get_u8_#(int i) { return bits8_at_#(i); }\n"
     "void put_f32_#(int i, float x) { words_#[i] = floatBitsToUint(x); }\n"
     "void put_f16_#(int i, float x) { put_bits16_#(i, bits_of_f16(x)); }\n"
     "void put_bf16_#(int i, float x) { put_bits16_#(i, bits_of_bf16(x)); }\n"
     "void put_i32_#(int i, int x) { words_#[i] = uint(x); }\n"
     "void put_u32_#(int i, uint x) { words_#[i] = x; }\n"
     "void put_bool_#(int i, bool x) { put_bits8_#(i, uint(x)); }\n"
     "void put_u8_#(int i, uint x) { put_bits8_#(i, x & 255u); }\n"},
    {1, 0,
     "double get_f64_#(int i) { return packDouble2x32(uvec2(words_#[2 * i], words_#[2 * i + 1])); }\n"
     "void put_f64_#(int i, double x) {\n"
     "  uvec2 bits = unpackDouble2x32(x);\n"
     "  words_#[2 * i] = bits.x;\n"
     "  words_#[2 * i + 1] = bits.y;\n"
     "}\n"},
    {0, 1,
     "int64_t get_i64_#(int i) { return packInt2x32(ivec2(int(words_#[2 * i]), int(words_#[2 * i + 1]))); }\n"
     "void put_i64_#(int i, int64_t x) {\n"
     "  ivec2 bits = unpackInt2x32(x);\n"
     "  words_#[2 * i] = uint(bits.x);\n"
     "  words_#[2 * i + 1] = uint(bits.y);\n"
     "}\n"},
};

/* Bits narrower than a word: where the device stores them, and where it does not, cut out of words. */
static const char *const narrow_parts[] = {
    "layout(set = 0, binding = #) buffer Narrow@_# { uint@_t narrow@_#[]; };\n"
    "uint bits@_at_#(int i) { return uint(narrow@_#[i]); }\n"
    "void put_bits@_#(int i, uint bits) { narrow@_#[i] = uint@_t(bits); }\n",
    "uint bits@_at_#(int i) {\n"
    "  const uint each = 32u / @u;\n"
    "  return (words_#[uint(i) / each] >> (uint(i) % each * @u)) & ((1u << @) - 1u);\n"
    "}\n"
    "void put_bits@_#(int i, uint bits) {\n"
    "  const uint each = 32u / @u;\n"
    "  uint shift = uint(i) % each * @u;\n"
    "  atomicAnd(words_#[uint(i) / each], ~(((1u << @) - 1u) << shift));\n"
    "  atomicOr(words_#[uint(i) / each], bits << shift);\n"
    "}\n",
};

static const Part parts[] = {
    /* numbers of 16 bits, rounded to the nearest, halves to even */
    {0, 0,
     "float zero() { return uintBitsToFloat(gl_WorkGroupID.z); }\n"
     "bool is_nan(float x) { return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u; }\n"
     "uint bits_of_f16(float x) {\n"
     "  uint bits = floatBitsToUint(x), sign = (bits >> 16) & 0x8000u, size = bits & 0x7fffffffu;\n"
     "  if (size > 0x7f800000u) return sign | 0x7e00u;\n"
     "  if (size >= 0x477ff000u) return sign | 0x7c00u;\n"
     "  if (size < 0x38800000u) return sign | uint(roundEven(uintBitsToFloat(size) * 16777216.0));\n"
     "  return sign | ((size + 0xfffu + ((size >> 13) & 1u) - 0x38000000u) >> 13);\n"
     "}\n"
     "float f16_of_bits(uint bits) {\n"
     "  uint sign = (bits & 0x8000u) << 16, size = bits & 0x7fffu;\n"
     "  if (size >= 0x7c00u) return uintBitsToFloat(sign | 0x7f800000u | ((size & 0x3ffu) << 13));\n"
     "  if (size >= 0x400u) return uintBitsToFloat(sign | ((size << 13) + 0x38000000u));\n"
     "  return uintBitsToFloat(sign | floatBitsToUint(float(size) * uintBitsToFloat(0x33800000u)));\n"
     "}\n"
     "uint bits_of_bf16(float x) {\n"
     "  uint bits = floatBitsToUint(x);\n"
     "  return is_nan(x) ? (bits >> 16) | 0x40u : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;\n"
     "}\n"
     "float bf16_of_bits(uint bits) { return uintBitsToFloat(bits << 16); }\n"
     "float round_f16(float x) { return f16_of_bits(bits_of_f16(x)); }\n"
     "float round_bf16(float x) { return bf16_of_bits(bits_of_bf16(x)); }\n"},
    /* the first of equals; nan passes through */
    {0, 0,
     "float largest(float a, float b) { return is_nan(b) || b > a ? b : a; }\n"
     "float least(float a, float b) { return is_nan(b) || b < a ? b : a; }\n"
     "int largest(int a, int b) { return max(a, b); }\n"
     "int least(int a, int b) { return min(a, b); }\n"
     "uint largest(uint a, uint b) { return max(a, b); }\n"
     "uint least(uint a, uint b) { return min(a, b); }\n"},
    {1, 0,
     "double largest(double a, double b) { return isnan(b) || b > a ? b : a; }\n"
     "double least(double a, double b) { return isnan(b) || b < a ? b : a; }\n"},
    /* integers: division by 0 gives 0, remainders have the sign of the divisor, shifts by 32 leave what the sign says; a driver
     * may divide before it chooses, and a processor traps where the least integer is divided by -1 */
    {0, 0,
     "int harmless(int b) { return b == 0 || b == -1 ? 1 : b; }\n"
     "int quotient(int a, int b) { return b == 0 ? 0 : b == -1 ? -a : a / harmless(b); }\n"
     "uint quotient(uint a, uint b) { return b == 0u ? 0u : a / b; }\n"
     "int remainder(int a, int b) {\n"
     "  int rest = a - a / harmless(b) * harmless(b);\n"
     "  return rest != 0 && (rest ^ b) < 0 ? rest + b : rest;\n"
     "}\n"
     "uint remainder(uint a, uint b) { return b == 0u ? 0u : a % b; }\n"
     "int shift_left(int a, int n) { return uint(n) < 32u ? a << n : 0; }\n"
     "uint shift_left(uint a, uint n) { return n < 32u ? a << n : 0u; }\n"
     "int shift_right(int a, int n) { return uint(n) < 32u ? a >> n : a >> 31; }\n"
     "uint shift_right(uint a, uint n) { return n < 32u ? a >> n : 0u; }\n"
     "uint high_word(uint a, uint b) {\n"
     "  uint high, low;\n"
     "  umulExtended(a, b, high, low);\n"
     "  return high;\n"
     "}\n"},
    /* casts of floats go to the nearest end where they do not fit, of nan to 0 */
    {0, 0,
     "int to_i32(float x) {\n"
     "  return is_nan(x) ? 0 : x >= 2147483648.0 ? 2147483647 : x <= -2147483648.0 ? -2147483647 - 1 : int(x);\n"
     "}\n"
     "uint to_u32(float x) { return is_nan(x) || x <= 0.0 ? 0u : x >= 4294967296.0 ? 0xffffffffu : uint(x); }\n"
     "uint to_u8(float x) { return min(to_u32(x), 255u); }\n"},
    {1, 0,
     "int to_i32(double x) {\n"
     "  return isnan(x) ? 0 : x >= 2147483647.0lf ? 2147483647 : x <= -2147483648.0lf ? -2147483647 - 1 : int(x);\n"
     "}\n"
     "uint to_u32(double x) { return isnan(x) || x <= 0.0lf ? 0u : x >= 4294967295.0lf ? 0xffffffffu : uint(x); }\n"
     "uint to_u8(double x) { return min(to_u32(x), 255u); }\n"},
    {0, 1,
     "int64_t to_i64(float x) {\n"
     "  if (is_nan(x)) return 0l;\n"
     "  if (x >= 9223372036854775808.0) return 0x7fffffffffffffffl;\n"
     "  return x <= -9223372036854775808.0 ? int64_t(0x8000000000000000ul) : int64_t(x);\n"
     "}\n"
     "int64_t shift_left(int64_t a, int64_t n) { return n >= 0l && n < 32l ? a << n : 0l; }\n"
     "int64_t shift_right(int64_t a, int64_t n) { return n >= 0l && n < 32l ? a >> n : a >> 63; }\n"
     "int64_t largest(int64_t a, int64_t b) { return max(a, b); }\n"
     "int64_t least(int64_t a, int64_t b) { return min(a, b); }\n"
     "int64_t quotient(int64_t a, int64_t b) {\n"
     "  return b == 0l ? 0l : b == -1l ? -a : a / (b == 0l || b == -1l ? 1l : b);\n"
     "}\n"},
    {1, 1,
     "int64_t to_i64(double x) {\n"
     "  if (isnan(x)) return 0l;\n"
     "  if (x >= 9223372036854775808.0lf) return 0x7fffffffffffffffl;\n"
     "  return x <= -9223372036854775808.0lf ? int64_t(0x8000000000000000ul) : int64_t(x);\n"
     "}\n"},
    /* x 2^n in two steps, so that subnormal results and the largest ones come out right */
    {0, 0,
     "float power_of_two(int n) { return uintBitsToFloat(uint(n + 127) << 23); }\n"
     "float scale2(float x, float n) {\n"
     "  int count = to_i32(clamp(n, -300.0, 300.0)), first = clamp(count >> 1, -126, 127);\n"
     "  precise float scaled = x * power_of_two(first);\n"
     "  return scaled * power_of_two(clamp(count - first, -126, 127));\n"
     "}\n"},
    {1, 0,
     "double power_of_two_f64(int n) { return packDouble2x32(uvec2(0u, uint(n + 1023) << 20)); }\n"
     "double scale2(double x, double n) {\n"
     "  int count = to_i32(clamp(n, -2200.0lf, 2200.0lf)), first = clamp(count >> 1, -1022, 1023);\n"
     "  precise double scaled = x * power_of_two_f64(first);\n"
     "  return scaled * power_of_two_f64(clamp(count - first, -1022, 1023));\n"
     "}\n"},
};

/* Where the device rounds the product, the error of the product and of the sum are found (Dekker 1971) and added behind. */
static void print_fused(const char *type, const char *split, bool fused, Text *out)
{
    text_printf(out, "%s fused(%s a, %s b, %s c) {\n", type, type, type, type);
    if (fused) {
        text_puts(out, "  return fma(a, b, c);\n}\n");
        return;
    }
    text_printf(out,
                "  precise %s p = a * b, s = p + c;\n"
                "  if (isnan(s) || isinf(s) || abs(a) > 1e15 || abs(b) > 1e15) return s;\n"
                "  precise %s t = %s * a, u = %s * b;\n"
                "  precise %s a1 = t - (t - a), a2 = a - a1, b1 = u - (u - b), b2 = b - b1;\n"
                "  precise %s of_product = ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2;\n"
                "  precise %s v = s - p, of_sum = (p - (s - v)) + (c - v);\n"
                "  return s + (of_product + of_sum);\n}\n",
                type, type, split, split, type, type, type);
}

/* # is the number of the window, @ a number of bits. */
static void put_text(const char *text, int window, int bits, Text *out)
{
    for (; *text; text++)
        if (*text == '#' || *text == '@')
            text_printf(out, "%d", *text == '#' ? window : bits);
        else
            text_printf(out, "%c", *text);
}

static void put_parts(const Part *part, size_t count, bool f64, bool i64, int window, Text *out)
{
    for (; count; count--, part++)
        if ((!part->f64 || f64) && (!part->i64 || i64))
            put_text(part->text, window, 0, out);
}

/* The first part is the words; what is cut out of them comes behind. */
static void put_window(const Device *device, bool f64, bool i64, int window, Text *out)
{
    put_parts(memory_parts, 1, f64, i64, window, out);
    put_text(narrow_parts[!device->stores_16], window, 16, out);
    put_text(narrow_parts[!device->stores_8], window, 8, out);
    put_parts(memory_parts + 1, sizeof memory_parts / sizeof *memory_parts - 1, f64, i64, window, out);
}

void glsl_prelude(const Device *device, const Prelude *prelude, Text *out)
{
    bool f64 = prelude->f64, i64 = prelude->i64;
    text_puts(out, "#version 450\n");
    if (i64)
        text_puts(out, "#extension GL_ARB_gpu_shader_int64 : require\n");
    if (device->subgroups_fold)
        text_puts(out, "#extension GL_KHR_shader_subgroup_arithmetic : require\n");
    if (device->stores_16)
        text_puts(out, "#extension GL_EXT_shader_16bit_storage : require\n");
    if (device->stores_8)
        text_puts(out, "#extension GL_EXT_shader_8bit_storage : require\n");
    if (prelude->extensions)
        text_puts(out, prelude->extensions);
    floats_print(device, f64, out);
    text_printf(out,
                "layout(set = 0, binding = %d) uniform Row { ivec4 row[%d]; };\n"
                "layout(push_constant) uniform Turn { int turn; };\n"
                "int base_of(int argument) { return row[argument / 4][argument %% 4]; }\n",
                MOST_WINDOWS, (int)parts_of(prelude->row, 4));
    put_parts(parts, sizeof parts / sizeof *parts, f64, i64, 0, out);
    for (int window = 0; window < prelude->windows; window++)
        put_window(device, f64, i64, window, out);
    print_fused("float", "4097.0", device->fuses, out);
    if (f64)
        print_fused("double", "134217729.0lf", device->fuses_f64, out);
}
