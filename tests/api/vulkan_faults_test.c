/* Each call of Vulkan that returns a result fails once, in a training that is made, run, saved and loaded.
 *
 * The functions below stand before those of the loader, since the program's own come first; they count calls, and the one whose
 * number is `fail_at` returns an error.  What is asked for then: an error of the right kind, nothing that the validation layer
 * has to say (it tells of what was not destroyed), and a library that works as before when nothing fails any more. */
#include "tests/api/folder.h"
#include "tests/api/vulkan.h"

#include <dlfcn.h>
#include <math.h>
#include <stdatomic.h>
#include <vulkan/vulkan.h>

static atomic_int calls, fail_at; /* from 1; 0: none */
static atomic_int messages;       /* of the validation layer */

/* Whether this call is the one; odd ones run out of memory, even ones lose the device. */
static VkResult next_result(void)
{
    int number = atomic_fetch_add(&calls, 1) + 1;
    if (number != atomic_load(&fail_at))
        return VK_SUCCESS;
    return number % 2 ? VK_ERROR_OUT_OF_DEVICE_MEMORY : VK_ERROR_DEVICE_LOST;
}

#define FAILING(name, parameters, arguments)                                                                                   \
    __attribute__((visibility("default"))) VKAPI_ATTR VkResult VKAPI_CALL name parameters                                      \
    {                                                                                                                          \
        VkResult result = next_result();                                                                                       \
        return result ? result : ((PFN_##name)dlsym(RTLD_NEXT, #name))arguments;                                               \
    }
/* What has begun must be waited for, though nobody hears of it. */
#define FAILING_BEHIND(name, parameters, arguments)                                                                            \
    __attribute__((visibility("default"))) VKAPI_ATTR VkResult VKAPI_CALL name parameters                                      \
    {                                                                                                                          \
        VkResult real = ((PFN_##name)dlsym(RTLD_NEXT, #name))arguments, result = next_result();                                \
        return result ? result : real;                                                                                         \
    }
#define MAKES(thing, name)                                                                                                     \
    FAILING(name, (VkDevice d, const thing##CreateInfo *i, const VkAllocationCallbacks *a, thing *o), (d, i, a, o))

FAILING(vkCreateInstance, (const VkInstanceCreateInfo *i, const VkAllocationCallbacks *a, VkInstance *o), (i, a, o))
FAILING(vkEnumeratePhysicalDevices, (VkInstance i, uint32_t *n, VkPhysicalDevice *o), (i, n, o))
FAILING(vkCreateDevice, (VkPhysicalDevice p, const VkDeviceCreateInfo *i, const VkAllocationCallbacks *a, VkDevice *o),
        (p, i, a, o))
MAKES(VkDescriptorSetLayout, vkCreateDescriptorSetLayout)
MAKES(VkPipelineLayout, vkCreatePipelineLayout)
MAKES(VkPipelineCache, vkCreatePipelineCache)
MAKES(VkShaderModule, vkCreateShaderModule)
MAKES(VkBuffer, vkCreateBuffer)
MAKES(VkBufferView, vkCreateBufferView)
MAKES(VkDescriptorPool, vkCreateDescriptorPool)
MAKES(VkCommandPool, vkCreateCommandPool)
MAKES(VkFence, vkCreateFence)
MAKES(VkQueryPool, vkCreateQueryPool)
MAKES(VkEvent, vkCreateEvent)
FAILING(vkResetEvent, (VkDevice d, VkEvent e), (d, e))
FAILING(vkGetPipelineCacheData, (VkDevice d, VkPipelineCache c, size_t *n, void *o), (d, c, n, o))
FAILING(vkCreateComputePipelines,
        (VkDevice d, VkPipelineCache c, uint32_t n, const VkComputePipelineCreateInfo *i, const VkAllocationCallbacks *a,
         VkPipeline *o),
        (d, c, n, i, a, o))
FAILING(vkAllocateMemory, (VkDevice d, const VkMemoryAllocateInfo *i, const VkAllocationCallbacks *a, VkDeviceMemory *o),
        (d, i, a, o))
FAILING(vkBindBufferMemory, (VkDevice d, VkBuffer b, VkDeviceMemory m, VkDeviceSize s), (d, b, m, s))
FAILING(vkMapMemory, (VkDevice d, VkDeviceMemory m, VkDeviceSize f, VkDeviceSize s, VkMemoryMapFlags g, void **o),
        (d, m, f, s, g, o))
FAILING(vkAllocateDescriptorSets, (VkDevice d, const VkDescriptorSetAllocateInfo *i, VkDescriptorSet *o), (d, i, o))
FAILING(vkAllocateCommandBuffers, (VkDevice d, const VkCommandBufferAllocateInfo *i, VkCommandBuffer *o), (d, i, o))
FAILING(vkBeginCommandBuffer, (VkCommandBuffer c, const VkCommandBufferBeginInfo *i), (c, i))
FAILING(vkEndCommandBuffer, (VkCommandBuffer c), (c))
FAILING(vkQueueSubmit, (VkQueue q, uint32_t n, const VkSubmitInfo *i, VkFence f), (q, n, i, f))
FAILING_BEHIND(vkWaitForFences, (VkDevice d, uint32_t n, const VkFence *f, VkBool32 all, uint64_t t), (d, n, f, all, t))
FAILING_BEHIND(vkResetFences, (VkDevice d, uint32_t n, const VkFence *f), (d, n, f))
FAILING(vkGetQueryPoolResults,
        (VkDevice d, VkQueryPool p, uint32_t b, uint32_t n, size_t s, void *o, VkDeviceSize w, VkQueryResultFlags g),
        (d, p, b, n, s, o, w, g))

/* These are asked again and again while the device is at work, as often as it happens to take: they fail always or never. */
static atomic_int questions_fail;
#define FAILING_QUESTION(name, parameters, arguments)                                                                          \
    __attribute__((visibility("default"))) VKAPI_ATTR VkResult VKAPI_CALL name parameters                                      \
    {                                                                                                                          \
        return atomic_load(&questions_fail) ? VK_ERROR_DEVICE_LOST : ((PFN_##name)dlsym(RTLD_NEXT, #name))arguments;           \
    }
FAILING_QUESTION(vkGetEventStatus, (VkDevice d, VkEvent e), (d, e))
FAILING_QUESTION(vkGetFenceStatus, (VkDevice d, VkFence f), (d, f))

/* ---- a training ---- */

static const char program_text[] =
    "dim D = 4\n"
    "model Net() { param w: f32[D] = zeros }\n"
    "loss fit(net: Net, x: f32[B, D]) -> f32 = mean((sum(x * net.w, D) - sum(x, D))^2)\n"
    "fn cloud[N]() -> f32[N, D] { let x ~ normal[N, D]\n x }\n"
    "data points = { x: generate(N = 64, cloud) }\n"
    "train fitting { loss = fit, data = points, optimizer = sgd(lr = 1e-1), steps = 9, batch = 16 }\n";
enum { STEPS = 3 };

static void on_message(void *state, const char *message)
{
    (void)state;
    atomic_fetch_add(&messages, 1);
    fprintf(stderr, "%s\n", message);
}

typedef struct Run {
    cm_context *context;
    cm_program *program;
    cm_training *training;
    double loss[STEPS + 1];
} Run;

static cm_status steps_of(Run *run, int first, int end, cm_error **error)
{
    cm_status status = CM_OK;
    cm_step step;
    for (int i = first; i < end && !status; i++) {
        status = cm_training_step(run->training, &step, error);
        run->loss[i] = status ? (double)NAN : step.loss;
    }
    return status;
}

static cm_status make(Run *run, cm_error **error)
{
    cm_context_options options = {.size = sizeof options, .threads = 1, .cache_directory = "", .log = on_message, .profile = 1};
    cm_training_options training = {.size = sizeof training, .device = "vulkan"};
    cm_status status = cm_context_create(&options, &run->context, error);
    if (!status)
        status = cm_load_text(run->context, "fit.cm", program_text, strlen(program_text), NULL, &run->program, error);
    if (!status)
        status = cm_training_create(run->program, NULL, &training, &run->training, error);
    return status;
}

/* Makes, runs, saves, goes on, loads, goes on again. */
static cm_status go(Run *run, cm_error **error)
{
    cm_status status = make(run, error);
    if (!status)
        status = steps_of(run, 0, STEPS, error);
    if (!status)
        status = cm_training_save(run->training, "checkpoint.safetensors", error);
    if (!status)
        status = steps_of(run, STEPS, STEPS + 1, error);
    if (!status)
        status = cm_training_load(run->training, "checkpoint.safetensors", error);
    if (!status)
        status = steps_of(run, STEPS, STEPS + 1, error);
    return status;
}

static void close_run(Run *run)
{
    cm_training_free(run->training);
    cm_program_free(run->program);
    cm_context_free(run->context);
    *run = (Run){0};
}

static int count_calls(Run *run)
{
    cm_error *error = NULL;
    atomic_store(&fail_at, 0);
    atomic_store(&calls, 0);
    expect_ok(go(run, &error));
    close_run(&(Run){run->context, run->program, run->training, {0}});
    return atomic_load(&calls);
}

START_TEST(each_call_may_fail)
{
    Run whole = {0};
    enter_folder();
    int count = count_calls(&whole);
    ck_assert_int_gt(count, 50);
    int failed = 0;
    for (int i = 1; i <= count; i++) {
        Run run = {0};
        cm_error *error = NULL;
        atomic_store(&calls, 0);
        atomic_store(&fail_at, i);
        cm_status status = go(&run, &error);
        ck_assert_msg(!status || status == CM_DEVICE_ERROR || status == CM_OUT_OF_MEMORY, "call %d: %s\n%s", i,
                      cm_status_name(status), cm_error_text(error));
        ck_assert_msg(!status || cm_error_text(error)[0], "call %d fails without a reason", i);
        failed += status != CM_OK;
        cm_error_free(error);
        close_run(&run);
        ck_assert_msg(!atomic_load(&messages), "call %d: the validation layer has something to say", i);
    }
    ck_assert_int_ge(failed, count - 9); /* what is kept of pipelines is nobody's loss, nor what would be read ahead */
    leave_folder();
}
END_TEST

/* Then nothing is read ahead, and what is asked for later is right all the same. */
START_TEST(questions_may_fail)
{
    Run whole = {0}, run = {0};
    cm_error *error = NULL;
    enter_folder();
    count_calls(&whole);
    atomic_store(&questions_fail, 1);
    expect_ok(go(&run, &error));
    atomic_store(&questions_fail, 0);
    for (int i = 0; i <= STEPS; i++)
        ck_assert_double_eq(run.loss[i], whole.loss[i]);
    close_run(&run);
    ck_assert_int_eq(atomic_load(&messages), 0);
    leave_folder();
}
END_TEST

/* A device that is lost in mid-run, with the state: a checkpoint brings it back. */
START_TEST(a_checkpoint_helps)
{
    Run whole = {0}, run = {0};
    cm_error *error = NULL;
    enter_folder();
    count_calls(&whole);
    atomic_store(&fail_at, 0);
    expect_ok(make(&run, &error));
    expect_ok(steps_of(&run, 0, STEPS, &error));
    expect_ok(cm_training_save(run.training, "checkpoint.safetensors", &error));
    expect_ok(steps_of(&run, STEPS, STEPS + 1, &error));
    atomic_store(&calls, 1);
    atomic_store(&fail_at, 2); /* the next one, and the device is lost */
    expect_failure(CM_DEVICE_ERROR, "the device is lost", steps_of(&run, STEPS, STEPS + 1, &error));
    expect_failure(CM_DEVICE_ERROR, "a checkpoint brings it back", steps_of(&run, STEPS, STEPS + 1, &error));
    cm_parameters *weights;
    expect_failure(CM_DEVICE_ERROR, "a checkpoint brings it back", cm_training_weights(run.training, &weights, &error));
    expect_ok(cm_training_load(run.training, "checkpoint.safetensors", &error));
    expect_ok(steps_of(&run, STEPS, STEPS + 1, &error));
    for (int i = 0; i <= STEPS; i++)
        ck_assert_double_eq(run.loss[i], whole.loss[i]);
    close_run(&run);
    ck_assert_int_eq(atomic_load(&messages), 0);
    leave_folder();
}
END_TEST

/* Whether a step, whose call number `at` loses the device, says which kernel began last. */
static bool names_a_kernel(int at)
{
    Run run = {0};
    cm_error *error = NULL;
    expect_ok(make(&run, &error));
    expect_ok(steps_of(&run, 0, 1, &error));
    atomic_store(&calls, 0);
    atomic_store(&fail_at, at);
    cm_status status = steps_of(&run, 1, 2, &error);
    atomic_store(&fail_at, 0);
    if (status)
        ck_assert_int_eq(status, CM_DEVICE_ERROR);
    const char *message = status ? cm_error_text(error) : "";
    bool named = strstr(message, "fit.cm:") && strstr(message, "was the last to begin");
    ck_assert_msg(!status || strstr(message, "the device is lost"), "%s", message);
    cm_error_free(error);
    close_run(&run);
    return named;
}

/* Not where it is lost before anything has begun, but where it is waited for. */
START_TEST(a_lost_device_names_the_kernel)
{
    int named = 0;
    enter_folder();
    for (int at = 2; at <= 6; at += 2)
        named += names_a_kernel(at);
    ck_assert_int_ge(named, 1);
    ck_assert_int_eq(atomic_load(&messages), 0);
    leave_folder();
}
END_TEST

static TCase *faults_on(const char *name, void (*set_up)(void))
{
    TCase *test = tcase_create(name);
    tcase_set_timeout(test, 300);
    tcase_add_checked_fixture(test, set_up, NULL);
    tcase_add_test(test, each_call_may_fail);
    tcase_add_test(test, questions_may_fail);
    tcase_add_test(test, a_checkpoint_helps);
    tcase_add_test(test, a_lost_device_names_the_kernel);
    return test;
}

static TCase *shared_memory(void)
{
    return faults_on("shared memory", watch_vulkan);
}

static TCase *separate_memory(void)
{
    return faults_on("separate memory", pretend_minimum);
}

int main(void)
{
    TCase *(*const cases[])(void) = {shared_memory, separate_memory, NULL};
    return run_suite("vulkan_faults", cases);
}
