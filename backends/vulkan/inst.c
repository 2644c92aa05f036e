/* One instruction of a stage as a GLSL expression. */
#include "backends/vulkan/glsl.h"

#include <assert.h>
#include <math.h>
#include <string.h>

const char *glsl_type(DType dtype)
{
    static const char *const types[DT_COUNT] = {
        [DT_f32] = "float", [DT_f64] = "double", [DT_f16] = "float", [DT_bf16] = "float",  [DT_i32] = "int",
        [DT_u32] = "uint",  [DT_bool] = "bool",  [DT_u8] = "uint",   [DT_i64] = "int64_t",
    };
    return types[dtype];
}

void glsl_affine(const Affine *affine, Text *out)
{
    bool any = affine->offset != 0;
    if (any)
        text_printf(out, "%lld", (long long)affine->offset);
    for (int axis = 0; axis < K_MAX_AXES; axis++) {
        if (!affine->coef[axis])
            continue;
        text_puts(out, any ? " + " : "");
        if (affine->coef[axis] == 1)
            text_printf(out, "a%d", axis);
        else
            text_printf(out, "%lld * a%d", (long long)affine->coef[axis], axis);
        any = true;
    }
    text_puts(out, any ? "" : "0");
}

/* Zeros are known at run time only: Mesa's driver for processors takes 0 * x and 0 / x for 0, whatever x is, and what x / 0 is
 * for undefined. */
void glsl_constant(DType dtype, double real, int64_t integer, Text *out)
{
    if (dtype_is_float(dtype) && real == 0) {
        text_printf(out, "%s%s(zero())", signbit(real) ? "-" : "", glsl_type(dtype));
        return;
    }
    switch (dtype) {
    case DT_f64: {
        uint64_t bits;
        memcpy(&bits, &real, sizeof bits);
        text_printf(out, "packDouble2x32(uvec2(0x%xu, 0x%xu))", (unsigned)bits, (unsigned)(bits >> 32));
        break;
    }
    case DT_f32:
    case DT_f16:
    case DT_bf16: {
        float single = (float)real;
        uint32_t bits;
        memcpy(&bits, &single, sizeof bits);
        text_printf(out, "uintBitsToFloat(0x%xu)", (unsigned)bits);
        break;
    }
    case DT_bool:
        text_puts(out, integer ? "true" : "false");
        break;
    case DT_i64:
        text_printf(out, "int64_t(0x%llxul)", (unsigned long long)integer);
        break;
    case DT_i32:
        text_printf(out, "int(0x%xu)", (unsigned)(uint32_t)integer);
        break;
    default:
        text_printf(out, "0x%xu", (unsigned)(uint32_t)integer);
        break;
    }
}

/* ---- casts ---- */

static void print_cast(DType from, DType to, int arg, Text *out)
{
    const char *name = dtype_name(to);
    bool small = to == DT_f16 || to == DT_bf16;
    if (from == to || (from != DT_f64 && to == DT_f32 && dtype_is_float(from)))
        text_printf(out, "v%d", arg);
    else if (to == DT_bool)
        text_printf(out, "v%d != %s(0)", arg, glsl_type(from));
    else if (dtype_is_float(from) && !dtype_is_float(to))
        text_printf(out, "to_%s(v%d)", name, arg);
    else if (small)
        text_printf(out, "round_%s(float(v%d))", name, arg);
    else if (to == DT_u8)
        text_printf(out, "uint(v%d) & 255u", arg);
    else
        text_printf(out, "%s(v%d)", glsl_type(to), arg);
}

/* ---- memory ---- */

static void print_load(const Kernel *kernel, const KInst *inst, Text *out)
{
    assert(inst->dtype == kernel->buffers.items[inst->buffer].dtype);
    (void)kernel;
    if (inst->arg[1] >= 0)
        text_printf(out, "v%d ? ", inst->arg[1]);
    text_printf(out, "get_b%d(", inst->buffer);
    glsl_affine(&inst->index, out);
    if (inst->arg[0] >= 0)
        text_printf(out, " + v%d", inst->arg[0]);
    text_puts(out, ")");
    if (inst->arg[1] >= 0) {
        text_puts(out, " : ");
        glsl_constant(inst->dtype, 0, 0, out);
    }
}

/* ---- arithmetic ---- */

/* How a primitive is written: `%a`, `%b`, `%c` stand for its operands. */
typedef struct Form {
    int op;
    const char *of_floats, *of_integers, *of_bools;
} Form;

static const Form forms[] = {
    {OP_neg, "-%a", "-%a", NULL},
    {OP_abs, "abs(%a)", "abs(%a)", NULL},
    {OP_floor, "floor(%a)", NULL, NULL},
    {OP_ceil, "ceil(%a)", NULL, NULL},
    {OP_sqrt, "sqrt(%a)", NULL, NULL},
    {K_rint, "roundEven(%a)", NULL, NULL},
    {OP_not, NULL, "~%a", "!%a"},
    {OP_stop_grad, "%a", "%a", "%a"},
    {OP_add, "%a + %b", "%a + %b", NULL},
    {OP_sub, "%a - %b", "%a - %b", NULL},
    {OP_mul, "%a * %b", "%a * %b", NULL},
    {OP_div, "%a / %b", "quotient(%a, %b)", NULL},
    {OP_rem, NULL, "remainder(%a, %b)", NULL},
    {OP_max, "largest(%a, %b)", "largest(%a, %b)", NULL},
    {OP_min, "least(%a, %b)", "least(%a, %b)", NULL},
    {OP_eq, "%a == %b", "%a == %b", "%a == %b"},
    {OP_ne, "%a != %b", "%a != %b", "%a != %b"},
    {OP_lt, "%a < %b", "%a < %b", "!%a && %b"},
    {OP_le, "%a <= %b", "%a <= %b", "!%a || %b"},
    {OP_and, NULL, "%a & %b", "%a && %b"},
    {OP_or, NULL, "%a | %b", "%a || %b"},
    {OP_xor, NULL, "%a ^ %b", "%a ^^ %b"},
    {OP_shl, NULL, "shift_left(%a, %b)", NULL},
    {OP_shr, NULL, "shift_right(%a, %b)", NULL},
    {OP_select, "%a ? %b : %c", "%a ? %b : %c", "%a ? %b : %c"},
    {K_fma, "fused(%a, %b, %c)", NULL, NULL},
    {K_scale2, "scale2(%a, %b)", NULL, NULL},
    {K_mul_high, NULL, "high_word(%a, %b)", NULL},
    {K_offset, NULL, NULL, NULL},
    {K_add_offset, NULL, "%a + %b", NULL},
};

static void print_form(const char *form, const KInst *inst, Text *out)
{
    for (; *form; form++) {
        if (form[0] == '%')
            text_printf(out, "v%d", inst->arg[*++form - 'a']);
        else
            text_add(out, form, 1);
    }
}

static void print_bits(DType from, DType to, int arg, Text *out)
{
    bool wide = from == DT_f64 || to == DT_f64;
    const char *name = dtype_is_float(from) ? (wide ? "doubleBitsToInt64" : "floatBitsToInt")
                                            : (wide ? "int64BitsToDouble" : "intBitsToFloat");
    text_printf(out, "%s(v%d)", name, arg);
}

static void print_arithmetic(const KStage *stage, const KInst *inst, Text *out)
{
    /* Comparisons are chosen by what they compare, all others by what they give. */
    bool compares = inst->op == OP_eq || inst->op == OP_ne || inst->op == OP_lt || inst->op == OP_le;
    DType dtype = compares ? stage->insts.items[inst->arg[0]].dtype : inst->dtype;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (forms[i].op != inst->op)
            continue;
        const char *form = dtype_is_float(dtype) ? forms[i].of_floats
                           : dtype == DT_bool    ? forms[i].of_bools
                                                 : forms[i].of_integers;
        assert(form && "expand leaves no such operation");
        print_form(inst->op == OP_abs && dtype == DT_u32 ? "%a" : form, inst, out);
        return;
    }
    assert(!"an operation that expand should have rewritten");
}

/* Sums of numbers of 16 bits are kept in f32 until here. */
static void print_acc(const KInst *inst, Text *out)
{
    bool small = inst->dtype == DT_f16 || inst->dtype == DT_bf16;
    if (small)
        text_printf(out, "round_%s(float(s%lld))", dtype_name(inst->dtype), (long long)inst->imm);
    else
        text_printf(out, "%s(s%lld)", glsl_type(inst->dtype), (long long)inst->imm);
}

void glsl_inst(const Kernel *kernel, const KStage *stage, KRef ref, Text *out)
{
    const KInst *inst = &stage->insts.items[ref];
    DType from = inst->arg[0] >= 0 && inst->op != K_load ? stage->insts.items[inst->arg[0]].dtype : inst->dtype;
    switch (inst->op) {
    case K_value:
        glsl_constant(inst->dtype, inst->value, inst->imm, out);
        break;
    case K_axis:
        text_printf(out, "%s(", glsl_type(inst->dtype));
        glsl_affine(&inst->index, out);
        text_puts(out, ")");
        break;
    case K_acc:
        print_acc(inst, out);
        break;
    case K_load:
        print_load(kernel, inst, out);
        break;
    case K_inside:
        if (from == DT_i64)
            text_printf(out, "v%d >= 0l && v%d < %lldl", inst->arg[0], inst->arg[0], (long long)inst->imm);
        else if (from == DT_i32 && inst->imm > INT32_MAX)
            text_printf(out, "v%d >= 0", inst->arg[0]);
        else
            text_printf(out, "uint(v%d) < %lluu", inst->arg[0],
                        (unsigned long long)(inst->imm > UINT32_MAX ? UINT32_MAX : inst->imm));
        break;
    case K_offset:
        text_printf(out, "int(v%d) * %lld", inst->arg[0], (long long)inst->imm);
        break;
    case K_bits_of:
    case K_float_of:
        print_bits(from, inst->dtype, inst->arg[0], out);
        break;
    case OP_cast:
        print_cast(from, inst->dtype, inst->arg[0], out);
        break;
    default:
        print_arithmetic(stage, inst, out);
        break;
    }
}
