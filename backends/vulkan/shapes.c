/* Which cooperative matrices a device has, and whether they work.
 *
 * Those of VK_KHR_cooperative_matrix come first, where the headers and glslang know it, then those of its older form of
 * NVIDIA's.  When a device is opened, a product whose sizes divide nothing is computed with one shape after another, the
 * largest first, until one gives what it must; what drivers report is not enough.  CM_VULKAN_MATRICES=by_hand takes shaders
 * that do without, to test what is around the matrices on any device. */
#include "backends/vulkan/vulkan_internal.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_SHAPES = 64, MOST_SIDE = 32 };

typedef struct Candidate {
    MatrixForm form;
    MatrixShape shape;
} Candidate;

typedef struct Candidates {
    Candidate list[2 * MOST_SHAPES + 1];
    int count;
} Candidates;

/* ---- asking ---- */

static bool by_hand(void)
{
    const char *how = getenv("CM_VULKAN_MATRICES");
    return how && strcmp(how, "by_hand") == 0;
}

/* How large they are; and whether a pipeline can ask that they are.  Where a driver may take another size for each shader, what
 * counts on subgroups would be wrong. */
static bool ask_subgroups(Device *device)
{
    VkPhysicalDeviceSubgroupSizeControlPropertiesEXT control = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES_EXT};
    VkPhysicalDeviceSubgroupProperties subgroups = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &subgroups};
    if (device_has_extension(device, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME))
        subgroups.pNext = &control;
    vkGetPhysicalDeviceProperties2(device->physical, &properties);
    device->matrices.threads = (int)subgroups.subgroupSize;
    return control.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT;
}

typedef struct Link { /* of a chain of features */
    const char *extension;
    void *features;
    bool wanted;
} Link;

enum { LINK_HALVES, LINK_MEMORY_MODEL, LINK_SIZES, LINK_NV, LINK_KHR, LINKS };

static void name_links(MatrixNeeds *needs, Link *links)
{
    needs->halves.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES;
    needs->memory_model.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES;
    needs->sizes.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT;
    needs->nv.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_NV;
    links[LINK_HALVES] = (Link){VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME, &needs->halves, true};
    links[LINK_MEMORY_MODEL] = (Link){VK_KHR_VULKAN_MEMORY_MODEL_EXTENSION_NAME, &needs->memory_model, true};
    links[LINK_SIZES] = (Link){VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME, &needs->sizes, true};
    links[LINK_NV] = (Link){VK_NV_COOPERATIVE_MATRIX_EXTENSION_NAME, &needs->nv, true};
#ifdef VK_KHR_cooperative_matrix
    needs->khr.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR;
    links[LINK_KHR] = (Link){VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME, &needs->khr, true};
#endif
}

/* Those that are wanted, in front of `next`. */
static void *chain_of(const Link *links, void *next)
{
    for (int i = 0; i < LINKS; i++)
        if (links[i].wanted) {
            ((VkBaseOutStructure *)links[i].features)->pNext = next;
            next = links[i].features;
        }
    return next;
}

static bool has_khr(const MatrixNeeds *needs)
{
#ifdef VK_KHR_cooperative_matrix
    return needs->khr.cooperativeMatrix;
#else
    (void)needs;
    return false;
#endif
}

void *matrices_ask(Device *device, MatrixNeeds *needs, const char **extensions, uint32_t *count, void *next)
{
    Matrices *matrices = &device->matrices;
    Link links[LINKS] = {{0}};
    *needs = (MatrixNeeds){0};
    bool sizes = ask_subgroups(device);
    matrices->has[MATRICES_BY_HAND] = by_hand();
    if (by_hand() || !device->may_use[FEATURE_matrices])
        return next;
    name_links(needs, links);
    for (int i = 0; i < LINKS; i++)
        links[i].wanted = links[i].wanted && device_has_extension(device, links[i].extension);
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = chain_of(links, NULL)};
    vkGetPhysicalDeviceFeatures2(device->physical, &features);
    bool can_size = sizes && needs->sizes.subgroupSizeControl && needs->sizes.computeFullSubgroups;
    bool multiplies = can_size && needs->halves.shaderFloat16 && needs->memory_model.vulkanMemoryModel;
    matrices->has[MATRICES_NV] = multiplies && needs->nv.cooperativeMatrix;
    matrices->has[MATRICES_KHR] = multiplies && has_khr(needs);
    bool any = matrices->has[MATRICES_NV] || matrices->has[MATRICES_KHR];
    links[LINK_HALVES].wanted &= any;
    links[LINK_MEMORY_MODEL].wanted &= any;
    links[LINK_SIZES].wanted &= any;
    links[LINK_NV].wanted &= matrices->has[MATRICES_NV];
    links[LINK_KHR].wanted &= matrices->has[MATRICES_KHR];
    for (int i = 0; i < LINKS; i++)
        if (links[i].wanted)
            extensions[(*count)++] = links[i].extension;
    return chain_of(links, next);
}

/* ---- shapes ---- */

static void add_candidate(const Device *device, Candidates *candidates, MatrixForm form, uint32_t m, uint32_t n, uint32_t k)
{
    const VkPhysicalDeviceLimits *limits = &device->properties.limits;
    MatrixShape shape = {(int)m, (int)n, (int)k};
    uint32_t threads = MATRICES_SUBGROUPS * (uint32_t)device->matrices.threads;
    if (threads > limits->maxComputeWorkGroupInvocations || threads > limits->maxComputeWorkGroupSize[0] || m > MOST_SIDE ||
        n > MOST_SIDE || k > MOST_SIDE || k % 2 || matrices_shared_bytes(&shape) > limits->maxComputeSharedMemorySize)
        return;
    int at = candidates->count++;
    while (at && candidates->list[at - 1].form == form &&
           candidates->list[at - 1].shape.m * candidates->list[at - 1].shape.n * candidates->list[at - 1].shape.k <
               shape.m * shape.n * shape.k) {
        candidates->list[at] = candidates->list[at - 1];
        at--;
    }
    candidates->list[at] = (Candidate){form, shape};
}

static void add_khr(const Device *device, Candidates *candidates)
{
#ifdef VK_KHR_cooperative_matrix
    PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR ask =
        (PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)vkGetInstanceProcAddr(
            device->instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    VkCooperativeMatrixPropertiesKHR list[MOST_SHAPES];
    uint32_t count = MOST_SHAPES;
    for (int i = 0; i < MOST_SHAPES; i++)
        list[i] = (VkCooperativeMatrixPropertiesKHR){.sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR};
    if (!ask || ask(device->physical, &count, list) < 0)
        return;
    for (uint32_t i = 0; i < count; i++)
        if (list[i].AType == VK_COMPONENT_TYPE_FLOAT16_KHR && list[i].BType == VK_COMPONENT_TYPE_FLOAT16_KHR &&
            list[i].CType == VK_COMPONENT_TYPE_FLOAT32_KHR && list[i].ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR &&
            list[i].scope == VK_SCOPE_SUBGROUP_KHR)
            add_candidate(device, candidates, MATRICES_KHR, list[i].MSize, list[i].NSize, list[i].KSize);
#else
    (void)device, (void)candidates;
#endif
}

static void add_nv(const Device *device, Candidates *candidates)
{
    PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesNV ask =
        (PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesNV)vkGetInstanceProcAddr(
            device->instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesNV");
    VkCooperativeMatrixPropertiesNV list[MOST_SHAPES];
    uint32_t count = MOST_SHAPES;
    for (int i = 0; i < MOST_SHAPES; i++)
        list[i] = (VkCooperativeMatrixPropertiesNV){.sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_NV};
    if (!ask || ask(device->physical, &count, list) < 0)
        return;
    for (uint32_t i = 0; i < count; i++)
        if (list[i].AType == VK_COMPONENT_TYPE_FLOAT16_NV && list[i].BType == VK_COMPONENT_TYPE_FLOAT16_NV &&
            list[i].CType == VK_COMPONENT_TYPE_FLOAT32_NV && list[i].DType == VK_COMPONENT_TYPE_FLOAT32_NV &&
            list[i].scope == VK_SCOPE_SUBGROUP_NV)
            add_candidate(device, candidates, MATRICES_NV, list[i].MSize, list[i].NSize, list[i].KSize);
}

/* ---- whether they work ---- */

enum { TEST_M = 75, TEST_N = 83, TEST_K = 46 }; /* of the product that is computed */

static const char test_kernel[] = "kernel product_by_matrices(in $0: f16[%d], in $1: f16[%d], out $2: f16[%d])\n"
                                  "  contract map a0:%d map a1:%d reduce a2:%d\n"
                                  "    %%0 = load $0[%d*a0 + a2] : f16\n"
                                  "    %%1 = load $1[a1 + %d*a2] : f16\n"
                                  "    %%2 = mul %%0 %%1 : f16\n"
                                  "    acc 0 = sum %%2 : f16\n"
                                  "  tail\n"
                                  "    %%3 = acc {0} : f16\n"
                                  "    store $2[%d*a0 + a1] = %%3\n";

typedef struct Product {
    uint16_t a[TEST_M * TEST_K], b[TEST_K * TEST_N], c[TEST_M * TEST_N]; /* f16 */
} Product;

/* The bits of a whole number as f16, if it has no more than eleven. */
static uint16_t half_of(int number)
{
    uint32_t size = (uint32_t)abs(number), exponent = 0;
    while (size >> exponent > 1)
        exponent++;
    if (!size)
        return 0;
    return (uint16_t)((number < 0 ? 0x8000u : 0) | ((exponent + 15) << 10) | ((size << (10 - exponent)) & 0x3ffu));
}

static int factor(int row, int column)
{
    return (row * 5 + column * 3 + row * column % 11) % 7 - 3;
}

/* Null, or what is wrong with the matrices that the device is to use. */
static const char *test_matrices(Arena *arena, Device *device)
{
    Product *product = arena_new_of(arena, Product);
    for (int k = 0; k < TEST_K; k++) {
        for (int m = 0; m < TEST_M; m++)
            product->a[m * TEST_K + k] = half_of(factor(m, k));
        for (int n = 0; n < TEST_N; n++)
            product->b[k * TEST_N + n] = half_of(factor(n + 1, k));
    }
    const char *text = arena_printf(arena, test_kernel, TEST_M * TEST_K, TEST_K * TEST_N, TEST_M * TEST_N, TEST_M, TEST_N,
                                    TEST_K, TEST_K, TEST_N, TEST_N);
    const char *reason = proof_run(arena, device, text, (void *[]){product->a, product->b}, (void *[]){product->c});
    for (int i = 0; i < TEST_M * TEST_N && !reason; i++) {
        int sum = 0;
        for (int k = 0; k < TEST_K; k++)
            sum += factor(i / TEST_N, k) * factor(i % TEST_N + 1, k);
        if (product->c[i] != half_of(sum))
            reason = "they multiply wrong";
    }
    return reason;
}

void matrices_choose(Arena *arena, Device *device)
{
    Matrices *matrices = &device->matrices;
    Candidates *candidates = arena_new_of(arena, Candidates);
    const char *reason = NULL;
    candidates->count = 0;
    if (matrices->has[MATRICES_BY_HAND])
        add_candidate(device, candidates, MATRICES_BY_HAND, 8, 8, 8);
    if (matrices->has[MATRICES_KHR])
        add_khr(device, candidates);
    if (matrices->has[MATRICES_NV])
        add_nv(device, candidates);
    for (int i = 0; i < candidates->count; i++) {
        matrices->form = candidates->list[i].form;
        matrices->shape = candidates->list[i].shape;
        reason = test_matrices(arena, device);
        if (!reason)
            return;
    }
    matrices->form = MATRICES_NONE;
    if (reason && device->options.log)
        device->options.log(device->options.log_state, arena_printf(arena, "cooperative matrices are not used: %s", reason));
}
