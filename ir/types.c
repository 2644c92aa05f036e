/* Element types and tensor types: tables, printing, and rounding to a type. */
#include "ir/ir.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    int size;
    DTypeClass class;
} dtype_info[DT_COUNT] = {
#define DTYPE(name, bytes, class) [DT_##name] = {#name, bytes, class},
#include "ir/dtypes.def"
};

const char *dtype_name(DType dtype)
{
    return dtype_info[dtype].name;
}

bool dtype_from_name(const char *name, DType *dtype)
{
    for (int i = 0; i < DT_COUNT; i++) {
        if (!strcmp(name, dtype_info[i].name)) {
            *dtype = (DType)i;
            return true;
        }
    }
    return false;
}

int dtype_size(DType dtype)
{
    return dtype_info[dtype].size;
}

DTypeClass dtype_class(DType dtype)
{
    return dtype_info[dtype].class;
}

IrType ir_type(DType dtype, int rank, const int64_t *dim)
{
    IrType type = {.dtype = dtype, .rank = rank};
    for (int i = 0; i < rank && i < IR_MAX_RANK; i++)
        type.dim[i] = dim[i];
    return type;
}

IrType ir_scalar(DType dtype)
{
    return (IrType){.dtype = dtype};
}

IrType ir_with_dtype(IrType type, DType dtype)
{
    type.dtype = dtype;
    return type;
}

bool ir_shape_equal(const IrType *a, const IrType *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++) {
        if (a->dim[i] != b->dim[i])
            return false;
    }
    return true;
}

bool ir_type_equal(const IrType *a, const IrType *b)
{
    return a->dtype == b->dtype && ir_shape_equal(a, b);
}

int64_t ir_element_count(const IrType *type)
{
    int64_t count = 1;
    for (int i = 0; i < type->rank; i++)
        count *= type->dim[i];
    return count;
}

void ir_type_print(const IrType *type, Text *out)
{
    text_puts(out, dtype_name(type->dtype));
    if (!type->rank)
        return;
    for (int i = 0; i < type->rank; i++)
        text_printf(out, "%s%lld", i ? "," : "[", (long long)type->dim[i]);
    text_puts(out, "]");
}

/* ---- half and bfloat ---- */

/* To the nearest number of `digits` significant bits whose exponent is at least `least`, halves to even; beyond `limit`: inf.
 */
static double round_to_digits(double value, int digits, int least, double limit)
{
    if (value == 0 || !isfinite(value))
        return value;
    int exponent;
    frexp(value, &exponent); /* |value| in [2^(exponent-1), 2^exponent) */
    int unit = (exponent - 1 < least ? least : exponent - 1) - (digits - 1);
    double rounded = ldexp(rint(ldexp(value, -unit)), unit);
    return fabs(rounded) > limit ? copysign(INFINITY, value) : rounded;
}

static double round_to_half(double value)
{
    return round_to_digits(value, 11, -14, 65504.0);
}

static double round_to_bfloat(double value)
{
    return round_to_digits(value, 8, -126, 0x1.fep127);
}

static uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint16_t float_to_half(float value)
{
    uint16_t sign = (uint16_t)((float_bits(value) >> 16) & 0x8000);
    if (isnan(value))
        return (uint16_t)(sign | 0x7e00 | ((float_bits(value) >> 13) & 0x1ff));
    double rounded = fabs(round_to_half(value));
    if (isinf(rounded))
        return sign | 0x7c00;
    if (rounded < 0x1p-14)
        return (uint16_t)(sign | (uint16_t)(rounded * 0x1p24));
    int exponent;
    double fraction = frexp(rounded, &exponent); /* in [0.5, 1) */
    return (uint16_t)(sign | ((exponent + 14) << 10) | ((int)(fraction * 2048) & 0x3ff));
}

float half_to_float(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16;
    int exponent = (bits >> 10) & 0x1f, fraction = bits & 0x3ff;
    if (exponent == 0x1f)
        return float_of_bits(sign | 0x7f800000u | (uint32_t)fraction << 13);
    float magnitude = exponent ? ldexpf((float)(fraction + 1024), exponent - 25) : ldexpf((float)fraction, -24);
    return sign ? -magnitude : magnitude;
}

uint16_t float_to_bfloat(float value)
{
    uint32_t bits = float_bits(value);
    if (isnan(value))
        return (uint16_t)((bits >> 16) | 0x40);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

float bfloat_to_float(uint16_t bits)
{
    return float_of_bits((uint32_t)bits << 16);
}

/* ---- rounding ---- */

static double saturate(double value, double least, double most)
{
    if (isnan(value))
        return 0;
    return value <= least ? least : value >= most ? most : trunc(value);
}

double dtype_round(DType dtype, double value)
{
    switch (dtype) {
    case DT_f32:
        return (double)(float)value;
    case DT_f16:
        return round_to_half(value);
    case DT_bf16:
        return round_to_bfloat(value);
    case DT_i32:
        return saturate(value, INT32_MIN, INT32_MAX);
    case DT_u32:
        return saturate(value, 0, UINT32_MAX);
    case DT_u8:
        return saturate(value, 0, UINT8_MAX);
    case DT_i64:
        return saturate(value, -0x1p63, 0x1p63);
    case DT_bool:
        return value != 0;
    default:
        return value;
    }
}
