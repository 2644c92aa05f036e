/* The cache of machine code: hits, misses, damage, what it refuses to run; and the CPU backend's dumps. */
#include "tests/unit/kernel_run.h"

#include "base/file.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

static Arena *arena;
static char directory[64];

static Kernel *make_kernel(int64_t count)
{
    Kernel *kernel = kernel_new(arena, "double");
    kernel_add_buffer(kernel, K_IN, DT_f32, count, "x");
    kernel_add_buffer(kernel, K_OUT, DT_f32, count, "y");
    KStage *stage = kernel_add_stage(kernel);
    list_push(arena, &stage->axes, ((KAxis){.extent = count, .kind = K_MAP}));
    Affine index = {.coef = {1}};
    KRef x = kstage_push(arena, stage, (KInst){.op = K_load, .dtype = DT_f32, .arg = {-1, -1, -1}, .index = index});
    KRef y = kstage_push(arena, stage, (KInst){.op = OP_add, .dtype = DT_f32, .arg = {x, x, -1}});
    list_push(arena, &stage->stores, ((KStore){.buffer = 1, .index = index, .dynamic = -1, .guard = -1, .value = y}));
    return kernel;
}

static CompileStats compile_with(const char *cache, Kernel *kernel)
{
    Device *device;
    const char *reason = backend_cpu.open(arena, &(DeviceOptions){.cache_directory = cache}, &device);
    ck_assert_msg(!reason, "%s", reason);
    CpuKernel compiled;
    JitCode *code;
    CompileStats stats;
    reason = jit_compile(arena, device, &kernel, 1, &compiled, &code, &stats);
    ck_assert_msg(!reason, "%s", reason);
    float x[100], y[100];
    for (int i = 0; i < 100; i++)
        x[i] = (float)i;
    void *buffers[] = {x, y};
    run_compiled(&compiled, buffers, NULL);
    for (int i = 0; i < 100; i++)
        ck_assert_float_eq(y[i], 2 * x[i]);
    jit_release(code);
    backend_cpu.close(device);
    return stats;
}

static const char *only_entry(void)
{
    const char *found = NULL;
    DIR *open = opendir(directory);
    ck_assert_ptr_nonnull(open);
    for (struct dirent *item; (item = readdir(open)) != NULL;)
        if (item->d_name[0] != '.') {
            ck_assert_msg(!found, "more than one entry");
            found = path_join(arena, directory, item->d_name);
        }
    closedir(open);
    ck_assert_msg(found, "no entry");
    return found;
}

static void set_up(void)
{
    arena = arena_new(NULL, NULL);
    strcpy(directory, "/tmp/cm-cache-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void tear_down(void)
{
    DIR *open = opendir(directory);
    for (struct dirent *item; open && (item = readdir(open)) != NULL;)
        unlink(path_join(arena, directory, item->d_name));
    if (open)
        closedir(open);
    rmdir(directory);
    arena_free(arena);
}

START_TEST(second_time_is_a_hit)
{
    CompileStats first = compile_with(directory, make_kernel(100)), second = compile_with(directory, make_kernel(100));
    ck_assert_int_eq(first.compiled, 1);
    ck_assert_int_eq(first.from_cache, 0);
    ck_assert_int_eq(second.compiled, 0);
    ck_assert_int_eq(second.from_cache, 1);
}
END_TEST

START_TEST(names_do_not_matter)
{
    compile_with(directory, make_kernel(100));
    Kernel *renamed = make_kernel(100);
    renamed->name = "twice";
    renamed->buffers.items[0].name = "z";
    ck_assert_int_eq(compile_with(directory, renamed).from_cache, 1);
}
END_TEST

START_TEST(another_kernel_is_a_miss)
{
    compile_with(directory, make_kernel(100));
    Kernel *other = make_kernel(100);
    other->stages.items[0].insts.items[1].arg[1] = 0;
    other->stages.items[0].axes.items[0].extent = 99;
    CpuTarget target;
    ck_assert_ptr_null(target_detect(arena, &target));
    ck_assert_msg(object_key(&target, other) != object_key(&target, make_kernel(100)), "keys are equal");
    CpuTarget lesser = target;
    lesser.features = "";
    target_complete(&lesser);
    ck_assert_msg(object_key(&target, other) != object_key(&lesser, other), "the key does not know the CPU");
}
END_TEST

/* Flips or cuts the entry at several places: each is a miss, and what is compiled anew is right. */
START_TEST(damage_is_a_miss)
{
    compile_with(directory, make_kernel(100));
    const char *path = only_entry();
    Bytes bytes;
    ck_assert_ptr_null(file_read(arena, path, 0, &bytes));
    size_t places[] = {0, 9, 17, bytes.size / 2, bytes.size - 1};
    for (int i = 0; i < 5; i++) {
        unsigned char *copy = arena_copy(arena, bytes.data, bytes.size);
        copy[places[i]] ^= 0x40;
        ck_assert_ptr_null(file_write_atomic(arena, path, copy, i == 4 ? bytes.size - 1 : bytes.size));
        CompileStats stats = compile_with(directory, make_kernel(100));
        ck_assert_msg(stats.from_cache == 0, "an entry damaged at %zu was used", places[i]);
    }
    ck_assert_int_eq(compile_with(directory, make_kernel(100)).from_cache, 1);
}
END_TEST

START_TEST(entries_that_others_may_write_are_refused)
{
    compile_with(directory, make_kernel(100));
    const char *path = only_entry();
    ck_assert_int_eq(chmod(path, 0666), 0);
    ck_assert_int_eq(compile_with(directory, make_kernel(100)).from_cache, 0);
    ck_assert_int_eq(chmod(directory, 0777), 0);
    ck_assert_int_eq(compile_with(directory, make_kernel(100)).from_cache, 0);
}
END_TEST

START_TEST(directory_is_made_private)
{
    const char *below = path_join(arena, directory, "kernels");
    compile_with(below, make_kernel(100));
    struct stat status;
    ck_assert_int_eq(stat(below, &status), 0);
    ck_assert_int_eq(status.st_mode & 0777, 0700);
    ck_assert_int_eq(compile_with(below, make_kernel(100)).from_cache, 1);
    DIR *open = opendir(below);
    for (struct dirent *item; (item = readdir(open)) != NULL;)
        unlink(path_join(arena, below, item->d_name));
    closedir(open);
    rmdir(below);
}
END_TEST

START_TEST(a_directory_that_cannot_be_is_no_error)
{
    ck_assert_int_eq(compile_with("/proc/nowhere/cache", make_kernel(100)).compiled, 1);
}
END_TEST

START_TEST(dumps)
{
    static const char *const stages[] = {"schedule", "llvm", "asm"};
    static const char *const holds[] = {"tasks", "define void", "_0:"};
    Device *device = open_device(arena, NULL, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        Text text = text_new(arena);
        const char *reason = backend_cpu.dump(arena, device, make_kernel(100), stages[i], &text);
        ck_assert_msg(!reason, "%s: %s", stages[i], reason);
        ck_assert_msg(strstr(text.data, holds[i]), "%s: %s", stages[i], text.data);
    }
    Text text = text_new(arena);
    ck_assert_ptr_nonnull(backend_cpu.dump(arena, device, make_kernel(100), "glsl", &text));
    ck_assert_ptr_nonnull(strstr(backend_cpu.describe(device, arena), "LLVM"));
    backend_cpu.close(device);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cache");
    TCase *t = tcase_create("cache");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, second_time_is_a_hit);
    tcase_add_test(t, names_do_not_matter);
    tcase_add_test(t, another_kernel_is_a_miss);
    tcase_add_test(t, damage_is_a_miss);
    tcase_add_test(t, entries_that_others_may_write_are_refused);
    tcase_add_test(t, directory_is_made_private);
    tcase_add_test(t, a_directory_that_cannot_be_is_no_error);
    tcase_add_test(t, dumps);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
