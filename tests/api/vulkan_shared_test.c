/* What users of a Vulkan device have in common: the cache of shaders and pipelines, the device itself, by threads and by
 * processes. */
#include "tests/api/folder.h"
#include "tests/api/vulkan.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/wait.h>

enum { ROWS = 70, COLUMNS = 90, USERS = 3, RUNS = 4 };

static const char path[] = CM_SOURCE_DIR "/tests/api/vulkan.cm";
typedef float Results[ROWS * COLUMNS];

static cm_context *cached_context(void)
{
    cm_error *error;
    cm_context *context;
    cm_context_options options = {.size = sizeof options, .threads = 2, .cache_directory = "cache"};
    expect_ok(cm_context_create(&options, &context, &error));
    return context;
}

static cm_executable *compile(cm_context *context)
{
    cm_error *error;
    cm_executable *executable;
    cm_compile_options options = {.size = sizeof options, .device = "vulkan"};
    cm_program *program = test_file(context, path, NULL);
    expect_ok(cm_compile(program, "matrices", &options, &executable, &error));
    cm_program_free(program);
    return executable;
}

static void run(cm_executable *executable, int64_t seed, Results results)
{
    cm_error *error;
    cm_run_options options = {.size = sizeof options, .seed = seed};
    cm_array out = {.dtype = CM_F32, .rank = 2, .dim = {ROWS, COLUMNS}, .data = results};
    expect_ok(cm_run(executable, &options, NULL, 0, &out, 1, &error));
}

/* ---- the cache ---- */

/* How many kernels came from it. */
static int run_with_cache(Results results)
{
    cm_compile_stats stats;
    cm_context *context = cached_context();
    cm_executable *executable = compile(context);
    ck_assert_int_eq(cm_executable_stats(executable, &stats), CM_OK);
    run(executable, 0, results);
    cm_executable_free(executable);
    cm_context_free(context); /* keeps the pipelines */
    return stats.from_cache;
}

typedef enum Damage { DAMAGE_half, DAMAGE_empty, DAMAGE_flipped, DAMAGE_zeros, DAMAGE_longer, DAMAGES } Damage;

static void damage_file(const char *name, Damage damage)
{
    static unsigned char content[1 << 22];
    FILE *file = fopen(name, "r+b");
    ck_assert_ptr_nonnull(file);
    size_t size = fread(content, 1, sizeof content, file);
    ck_assert(size > 0 && size < sizeof content);
    for (size_t i = size / 2; i < size && damage == DAMAGE_flipped; i += 7)
        content[i] ^= 0x5a;
    if (damage == DAMAGE_zeros)
        memset(content, 0, size);
    rewind(file);
    ck_assert_uint_eq(fwrite(content, 1, size, file), size);
    if (damage == DAMAGE_longer)
        ck_assert_uint_eq(fwrite(content, 1, size, file), size);
    ck_assert_int_eq(fflush(file), 0);
    size_t left = damage == DAMAGE_half ? size / 2 : damage == DAMAGE_empty ? 0 : size;
    if (left < size)
        ck_assert_int_eq(ftruncate(fileno(file), (off_t)left), 0);
    fclose(file);
}

static int damage_all(Damage damage)
{
    DIR *directory = opendir("cache");
    int files = 0;
    ck_assert_ptr_nonnull(directory);
    for (struct dirent *entry; (entry = readdir(directory));) {
        char name[300];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "cache/%s", entry->d_name);
        damage_file(name, damage);
        files++;
    }
    closedir(directory);
    return files;
}

/* Each entry is as another key's: what a cache of another device, or of another version, would leave there. */
static void exchange_all(void)
{
    ck_assert_int_eq(system("cd cache && set -- * && first=$1 && cp \"$first\" ../kept && while [ $# -gt 1 ]; do "
                            "cp \"$2\" \"$1\"; shift; done && cp ../kept \"$1\""),
                     0);
}

START_TEST(a_damaged_cache_is_made_anew)
{
    Results wanted, got;
    enter_folder();
    int fresh = run_with_cache(wanted);
    ck_assert_int_gt(run_with_cache(got), fresh);
    ck_assert_mem_eq(got, wanted, sizeof got);
    if (_i < DAMAGES)
        ck_assert_int_ge(damage_all((Damage)_i), 2);
    else
        exchange_all();
    ck_assert_int_eq(run_with_cache(got), fresh);
    ck_assert_mem_eq(got, wanted, sizeof got);
    ck_assert_int_gt(run_with_cache(got), fresh);
    ck_assert_mem_eq(got, wanted, sizeof got);
    leave_folder();
}
END_TEST

/* ---- threads, processes ---- */

typedef struct User {
    cm_executable *executable;
    Results results[RUNS];
} User;

static void *use(void *state)
{
    User *user = state;
    for (int i = 0; i < RUNS; i++)
        run(user->executable, i, user->results[i]);
    return NULL;
}

/* Half of them with an executable in common. */
START_TEST(threads_share_a_device)
{
    static User users[USERS + 1];
    pthread_t threads[USERS];
    cm_context *context = test_context(2);
    cm_executable *common = compile(context), *other = compile(context);
    users[USERS].executable = common;
    use(&users[USERS]);
    for (int i = 0; i < USERS; i++) {
        users[i].executable = i % 2 ? other : common;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, use, &users[i]), 0);
    }
    for (int i = 0; i < USERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_mem_eq(users[i].results, users[USERS].results, sizeof users[i].results);
    }
    cm_executable_free(common);
    cm_executable_free(other);
    cm_context_free(context);
}
END_TEST

/* They make the same cache at once. */
START_TEST(processes_share_a_device)
{
    Results wanted;
    enter_folder();
    pid_t children[USERS];
    for (int i = 0; i < USERS; i++) {
        children[i] = fork();
        ck_assert_int_ge(children[i], 0);
        if (children[i])
            continue;
        Results got;
        run_with_cache(got);
        char name[32];
        snprintf(name, sizeof name, "results%d", i);
        FILE *file = fopen(name, "wb");
        _exit(!file || fwrite(got, sizeof got, 1, file) != 1 || fclose(file));
    }
    for (int i = 0; i < USERS; i++) {
        int status;
        ck_assert_int_eq(waitpid(children[i], &status, 0), children[i]);
        ck_assert_int_eq(status, 0);
    }
    run_with_cache(wanted);
    for (int i = 0; i < USERS; i++) {
        Results got;
        char name[32];
        snprintf(name, sizeof name, "results%d", i);
        FILE *file = fopen(name, "rb");
        ck_assert_ptr_nonnull(file);
        ck_assert_uint_eq(fread(got, sizeof got, 1, file), 1);
        fclose(file);
        ck_assert_mem_eq(got, wanted, sizeof got);
    }
    leave_folder();
}
END_TEST

static TCase *shared(void)
{
    TCase *test = tcase_create("shared");
    tcase_set_timeout(test, 120);
    tcase_add_checked_fixture(test, watch_vulkan, NULL);
    tcase_add_loop_test(test, a_damaged_cache_is_made_anew, 0, DAMAGES + 1);
    tcase_add_test(test, threads_share_a_device);
    tcase_add_test(test, processes_share_a_device);
    return test;
}

static TCase *minimum(void)
{
    TCase *test = tcase_create("minimum");
    tcase_set_timeout(test, 120);
    tcase_add_checked_fixture(test, pretend_minimum, NULL);
    tcase_add_test(test, threads_share_a_device);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {shared, minimum, NULL};
    return run_suite("vulkan_shared", cases);
}
