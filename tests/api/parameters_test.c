/* Parameter sets through cm.h: access, files, pictures. */
#include "tests/api/api_test.h"

#include <stdio.h>
#include <unistd.h>

static char directory[] = "/tmp/cm-parameters-XXXXXX";

static const char *in_directory(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void make_directory(void)
{
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void remove_directory(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", directory);
    ck_assert_int_eq(system(command), 0);
}

static cm_parameters *filled_set(cm_context *context)
{
    cm_error *error = NULL;
    cm_parameters *set;
    float images[2 * 3 * 4];
    for (int i = 0; i < 24; i++)
        images[i] = (float)i / 12 - 1;
    int64_t number = 7;
    float points[6] = {0, 1, 2, 3, 4, 5};
    cm_array array = {.dtype = CM_F32, .rank = 3, .dim = {2, 3, 4}, .data = images};
    expect_ok(cm_parameters_create_empty(context, &set, &error));
    expect_ok(cm_parameters_set(set, "images", &array, &error));
    array = (cm_array){.dtype = CM_I64, .data = &number};
    expect_ok(cm_parameters_set(set, "number", &array, &error));
    array = (cm_array){.dtype = CM_F32, .rank = 2, .dim = {3, 2}, .data = points};
    expect_ok(cm_parameters_set(set, "points", &array, &error));
    return set;
}

START_TEST(arrays_are_copied_in)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_parameters *set = filled_set(context);
    cm_array array;
    ck_assert_uint_eq(cm_parameters_count(set), 3);
    ck_assert_str_eq(cm_parameters_name(set, 1), "number");
    ck_assert_ptr_null(cm_parameters_name(set, 3));
    expect_ok(cm_parameters_get(set, "number", &array, &error));
    ck_assert_int_eq(*(int64_t *)array.data, 7);
    int64_t other = 9;
    cm_array given = {.dtype = CM_I64, .data = &other};
    expect_ok(cm_parameters_set(set, "number", &given, &error));
    ck_assert_int_eq(*(int64_t *)array.data, 9);
    expect_failure(CM_INVALID_ARGUMENT, "did you mean number", cm_parameters_get(set, "numbr", &array, &error));
    ck_assert_ptr_null(array.data);
    given.rank = 1;
    given.dim[0] = 1;
    expect_failure(CM_MISMATCH, "i64[1]", cm_parameters_set(set, "number", &given, &error));
    given.dtype = (cm_dtype)0;
    expect_failure(CM_INVALID_ARGUMENT, "type", cm_parameters_set(set, "number", &given, &error));
    given = (cm_array){.dtype = CM_F32, .rank = 1, .dim = {4}};
    expect_failure(CM_INVALID_ARGUMENT, "no data", cm_parameters_set(set, "new", &given, &error));
    cm_context_free(context); /* the set keeps what it needs */
    cm_parameters_free(set);
}
END_TEST

START_TEST(a_set_survives_a_file)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_parameters *set = filled_set(context), *again;
    expect_ok(cm_parameters_save(set, in_directory("a.safetensors"), NULL, &error));
    expect_ok(cm_parameters_load(context, in_directory("a.safetensors"), &again, &error));
    ck_assert_uint_eq(cm_parameters_count(again), 3);
    for (size_t i = 0; i < 3; i++) {
        cm_array a, b;
        expect_ok(cm_parameters_get(set, cm_parameters_name(set, i), &a, &error));
        expect_ok(cm_parameters_get(again, cm_parameters_name(set, i), &b, &error));
        ck_assert_int_eq(a.dtype, b.dtype);
        ck_assert_int_eq(a.rank, b.rank);
        ck_assert_mem_eq(a.data, b.data, cm_array_bytes(&a));
    }
    cm_parameters_free(again);
    cm_save_options options = {.size = sizeof options, .array = "images"};
    expect_ok(cm_parameters_save(set, in_directory("b.npy"), &options, &error));
    expect_ok(cm_parameters_load(context, in_directory("b.npy"), &again, &error));
    ck_assert_str_eq(cm_parameters_name(again, 0), "b");
    cm_parameters_free(again);
    cm_parameters_free(set);
    cm_context_free(context);
}
END_TEST

START_TEST(pictures_are_written)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_parameters *set = filled_set(context);
    cm_save_options options = {.size = sizeof options, .array = "images", .columns = 2};
    expect_ok(cm_parameters_save(set, in_directory("a.png"), &options, &error));
    cm_parameters *picture;
    expect_ok(cm_parameters_load(context, in_directory("a.png"), &picture, &error));
    cm_array array;
    expect_ok(cm_parameters_get(picture, "a", &array, &error));
    ck_assert_int_eq(array.dtype, CM_U8);
    cm_parameters_free(picture);
    float beneath[4] = {0, 0, 1, 1};
    cm_array under = {.dtype = CM_F32, .rank = 2, .dim = {2, 2}, .data = beneath};
    options = (cm_save_options){.size = sizeof options, .array = "points", .beneath = &under};
    expect_ok(cm_parameters_save(set, in_directory("a.svg"), &options, &error));
    options.array = "images";
    expect_failure(CM_IO_ERROR, "points", cm_parameters_save(set, in_directory("a.svg"), &options, &error));
    options.array = "nothing";
    expect_failure(CM_IO_ERROR, "nothing", cm_parameters_save(set, in_directory("a.png"), &options, &error));
    expect_failure(CM_IO_ERROR, "written to", cm_parameters_save(set, in_directory("a.xyz"), NULL, &error));
    expect_failure(CM_IO_ERROR, "no-such", cm_parameters_save(set, "/no-such/a.npy", NULL, &error));
    cm_parameters_free(set);
    cm_context_free(context);
}
END_TEST

START_TEST(bad_files_are_refused)
{
    cm_error *error = NULL;
    cm_context *context = test_context(1);
    cm_parameters *set;
    expect_failure(CM_IO_ERROR, "none", cm_parameters_load(context, in_directory("none.npy"), &set, &error));
    ck_assert_ptr_null(set);
    FILE *file = fopen(in_directory("bad.safetensors"), "wb");
    fputs("not a header at all", file);
    fclose(file);
    expect_failure(CM_IO_ERROR, "bad", cm_parameters_load(context, in_directory("bad.safetensors"), &set, &error));
    expect_failure(CM_IO_ERROR, "read from", cm_parameters_load(context, "a.xyz", &set, &error));
    cm_context_free(context);
}
END_TEST

static TCase *sets(void)
{
    TCase *test = tcase_create("sets");
    tcase_add_checked_fixture(test, make_directory, remove_directory);
    tcase_add_test(test, arrays_are_copied_in);
    tcase_add_test(test, a_set_survives_a_file);
    tcase_add_test(test, pictures_are_written);
    tcase_add_test(test, bad_files_are_refused);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {sets, NULL};
    return run_suite("parameters", cases);
}
