/* What a device does with floats: what Vulkan leaves open, and a device lets itself be told, shaders say.
 *
 * Unless a shader says otherwise, a driver may take it that there are no infinities, no nan and no signs of zeros, may take
 * subnormal numbers for zeros, and may round towards zero; and fma may round its product. */
#include "backends/vulkan/vulkan_internal.h"

#include <string.h>

enum { MODE_KEEPS_SPECIAL, MODE_KEEPS_SMALL, MODE_ROUNDS_TO_EVEN, MODE_KEEPS_SPECIAL_F64 };

/* The numbers are those of SPV_KHR_float_controls. */
static const struct {
    int capability, mode, bits;
} modes[] = {
    [MODE_KEEPS_SPECIAL] = {4466, 4461, 32},
    [MODE_KEEPS_SMALL] = {4464, 4459, 32},
    [MODE_ROUNDS_TO_EVEN] = {4467, 4462, 32},
    [MODE_KEEPS_SPECIAL_F64] = {4466, 4461, 64},
};
_Static_assert(sizeof modes / sizeof *modes == FLOAT_MODES, "a device has a place for each mode");

void floats_ask(Device *device)
{
    VkPhysicalDeviceFloatControlsProperties has = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FLOAT_CONTROLS_PROPERTIES};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &has};
    if (!device->may_use[FEATURE_float_controls] || !device_has_extension(device, VK_KHR_SHADER_FLOAT_CONTROLS_EXTENSION_NAME))
        return;
    vkGetPhysicalDeviceProperties2(device->physical, &properties);
    const VkShaderFloatControlsIndependence none =
        VK_SHADER_FLOAT_CONTROLS_INDEPENDENCE_NONE; /* then f16 and f64 go with f32 */
    device->float_modes[MODE_KEEPS_SPECIAL] = has.shaderSignedZeroInfNanPreserveFloat32;
    device->float_modes[MODE_KEEPS_SMALL] = has.shaderDenormPreserveFloat32 && has.denormBehaviorIndependence != none;
    device->float_modes[MODE_ROUNDS_TO_EVEN] = has.shaderRoundingModeRTEFloat32 && has.roundingModeIndependence != none;
    device->float_modes[MODE_KEEPS_SPECIAL_F64] = has.shaderSignedZeroInfNanPreserveFloat64;
    for (int i = 0; i < FLOAT_MODES; i++)
        device->float_controls |= device->float_modes[i];
}

void floats_print(const Device *device, bool f64, Text *out)
{
    if (!device->float_controls)
        return;
    text_puts(out, "#extension GL_EXT_spirv_intrinsics : require\n");
    for (int i = 0; i < FLOAT_MODES; i++)
        if (device->float_modes[i] && (modes[i].bits < 64 || f64))
            text_printf(out, "spirv_execution_mode(extensions = [\"SPV_KHR_float_controls\"], capabilities = [%d], %d, %d);\n",
                        modes[i].capability, modes[i].mode, modes[i].bits);
}

/* ---- whether fma rounds once ---- */

enum { TRIED = 4 };

static const char test_kernel[] = "kernel multiply_add(in $0: TYPE[4], in $1: TYPE[4], in $2: TYPE[4], out $3: TYPE[4])\n"
                                  "  stage map a0:4\n"
                                  "  tail\n"
                                  "    %0 = load $0[a0] : TYPE\n"
                                  "    %1 = load $1[a0] : TYPE\n"
                                  "    %2 = load $2[a0] : TYPE\n"
                                  "    %3 = fma %0 %1 %2 : TYPE\n"
                                  "    store $3[a0] = %3\n";

static const char *kernel_of(Arena *arena, const char *type)
{
    Text text = text_new(arena);
    for (const char *at = test_kernel; *at; at++)
        if (strncmp(at, "TYPE", 4) == 0) {
            text_puts(&text, type);
            at += 3;
        } else {
            text_add(&text, at, 1);
        }
    return text.data;
}

/* (1 + e) (1 + d) - 1 - e - d, which is e d: all of it is lost where the product is rounded.  Each of the numbers is exact in
 * its type. */
static const struct {
    double e[TRIED], d[TRIED];
} tried_f32 = {{0x1p-12, 0x1p-20, -0x1p-13, 0x3p-23}, {0x1p-13, 0x1p-21, 0x1p-15, 0x5p-23}},
  tried_f64 = {{0x1p-27, 0x1p-45, -0x1p-30, 0x3p-52}, {0x1p-28, 0x1p-46, 0x1p-33, 0x5p-52}};

typedef union Numbers {
    float f32[TRIED];
    double f64[TRIED];
} Numbers;

static void put(Numbers *numbers, DType dtype, int i, double x)
{
    if (dtype == DT_f64)
        numbers->f64[i] = x;
    else
        numbers->f32[i] = (float)x;
}

static const char *try_fma(Arena *arena, Device *device, DType dtype, bool *fuses)
{
    const double *e = dtype == DT_f64 ? tried_f64.e : tried_f32.e, *d = dtype == DT_f64 ? tried_f64.d : tried_f32.d;
    Numbers a, b, c, got, wanted;
    for (int i = 0; i < TRIED; i++) {
        put(&a, dtype, i, 1 + e[i]);
        put(&b, dtype, i, 1 + d[i]);
        put(&c, dtype, i, -1 - e[i] - d[i]);
        put(&got, dtype, i, 0);
        put(&wanted, dtype, i, e[i] * d[i]);
    }
    const char *kernel = kernel_of(arena, dtype_name(dtype));
    const char *reason = proof_run(arena, device, kernel, (void *[]){&a, &b, &c}, (void *[]){&got});
    *fuses = !reason && memcmp(&got, &wanted, (size_t)(TRIED * dtype_size(dtype))) == 0;
    return reason;
}

const char *floats_fuse(Arena *arena, Device *device, DType dtype, bool own, bool *fuses)
{
    bool *flag = dtype == DT_f64 ? &device->fuses_f64 : &device->fuses;
    *flag = own;
    const char *reason = try_fma(arena, device, dtype, fuses);
    *flag = own && *fuses;
    return reason;
}

const char *floats_try(Arena *arena, Device *device)
{
    bool fuses;
    const char *reason = floats_fuse(arena, device, DT_f32, true, &fuses);
    return reason || !device->features.shaderFloat64 ? reason : floats_fuse(arena, device, DT_f64, true, &fuses);
}
