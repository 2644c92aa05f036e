/* Data sets and checkpoints: found, checked, shuffled, replayed; saved, loaded, refused with reasons. */
#include "base/file.h"
#include "runtime/checkpoint.h"
#include "runtime/dataset.h"
#include "runtime/format.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static Arena *arena;
static DiagSink diags;
static char folder[] = "/tmp/cm_dataset_XXXXXX";

static void set_up(void)
{
    arena = arena_new(NULL, NULL);
    diags = diag_sink_new(arena);
    strcpy(folder, "/tmp/cm_dataset_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    unsetenv("CM_DATA_PATH");
}

static void tear_down(void)
{
    ck_assert_int_eq(system(arena_printf(arena, "rm -rf '%s'", folder)), 0);
    arena_free(arena);
}

#define ck_assert_reason(reason, part)                                                                                         \
    do {                                                                                                                       \
        const char *reason_ = (reason);                                                                                        \
        ck_assert_msg(reason_ &&strstr(reason_, part), "got '%s', wanted '%s'", reason_ ? reason_ : "", part);                 \
    } while (0)

static const char *fixture_folder(void)
{
    return CM_SOURCE_DIR "/tests/golden/formats";
}

static DataField field(const char *name, SourceKind source, const char *path, const char *member, IrType type)
{
    return (DataField){.name = name, .source = source, .path = path, .member = member, .type = type};
}

static IrType type_1(DType dtype, int64_t a)
{
    return ir_type(dtype, 1, (int64_t[]){a});
}

static IrType type_2(DType dtype, int64_t a, int64_t b)
{
    return ir_type(dtype, 2, (int64_t[]){a, b});
}

static Dataset *open_fields(const DataField *fields, int count, DatasetOptions options)
{
    DataSet declared = {.name = "things"};
    for (int i = 0; i < count; i++)
        list_push(arena, &declared.fields, fields[i]);
    if (!options.directory)
        options.directory = fixture_folder();
    return dataset_open(arena, arena_copy(arena, &declared, sizeof declared), &options, &diags);
}

static const char *failure_of(DataField one)
{
    ck_assert_ptr_null(open_fields(&one, 1, (DatasetOptions){0}));
    ck_assert_int_ge(diags.list.count, 1);
    return diags.list.items[diags.list.count - 1].text;
}

/* ---- opening ---- */

START_TEST(opens_every_kind_of_file)
{
    ck_assert_ptr_null(file_make_directories(arena, path_join(arena, folder, "pictures")));
    Array image = array_new(arena, NULL, type_2(DT_u8, 2, 3));
    for (int i = 0; i < 5; i++)
        ck_assert_ptr_null(png_write(arena, arena_printf(arena, "%s/pictures/%d.png", folder, i), &image));
    DataField fields[] = {
        field("a", DATA_idx, "images-idx3-ubyte.gz", NULL, type_2(DT_u8, 4, 3)),
        field("b", DATA_npy, "f16.npy", NULL, ir_scalar(DT_f16)),
        field("c", DATA_safetensors, "mixed.safetensors", "bytes", ir_scalar(DT_u8)),
        field("d", DATA_png_folder, path_join(arena, folder, "pictures"), NULL, type_2(DT_u8, 2, 3)),
        field("e", DATA_png_folder, path_join(arena, folder, "pictures"), NULL, ir_type(DT_u8, 3, (int64_t[]){2, 3, 1})),
    };
    Dataset *dataset = open_fields(fields, 5, (DatasetOptions){0});
    ck_assert_ptr_nonnull(dataset);
    ck_assert_int_eq(dataset->samples, 5);
    ck_assert_int_eq(dataset->fields.count, 5);
    ck_assert_str_eq(dataset->fields.items[2].name, "c");
    DataField npz = field("x", DATA_npz, "stored.npz", "x", type_1(DT_f32, 2));
    ck_assert_int_eq(open_fields(&npz, 1, (DatasetOptions){0})->samples, 4);
}
END_TEST

START_TEST(messages_name_field_source_expected_and_found)
{
    ck_assert_reason(failure_of(field("x", DATA_idx, "images-idx3-ubyte", NULL, type_2(DT_u8, 28, 28))),
                     "field 'x', idx(\"images-idx3-ubyte\"): expected u8[N,28,28], found u8[5,4,3]");
    ck_assert_reason(failure_of(field("x", DATA_idx, "images-idx3-ubyte", NULL, type_2(DT_f32, 4, 3))), "expected f32[N,4,3]");
    ck_assert_int_eq(diags.list.items[diags.list.count - 1].code, DIAG_data_type);
    ck_assert_reason(failure_of(field("x", DATA_npz, "stored.npz", "x", type_1(DT_f32, 3))), "npz(\"stored.npz\", \"x\")");
    ck_assert_reason(failure_of(field("x", DATA_npz, "stored.npz", "q", type_1(DT_f32, 3))), "has no array 'q'");
    ck_assert_reason(failure_of(field("x", DATA_npy, "scalar_i64.npy", NULL, ir_scalar(DT_i64))), "expected i64[N], found i64");
    ck_assert_reason(failure_of(field("x", DATA_npy, "empty_u8.npy", NULL, type_1(DT_u8, 3))), "has no samples");
    ck_assert_int_eq(diags.list.items[diags.list.count - 1].code, DIAG_data_samples);
    ck_assert_reason(failure_of(field("x", DATA_npy, "f32.npx", NULL, ir_scalar(DT_u8))), "there is no '");
    ck_assert_int_eq(diags.list.items[diags.list.count - 1].code, DIAG_data_missing);
    ck_assert_reason(failure_of(field("x", DATA_npy, "rgb.png", NULL, ir_scalar(DT_u8))), "not an .npy file");
    ck_assert_int_eq(diags.list.items[diags.list.count - 1].code, DIAG_data_unreadable);
    ck_assert_reason(failure_of(field("x", DATA_npy, "big_endian_f64.npy", NULL, type_1(DT_f32, 2))), "found f64[2,2]");
    ck_assert_int_eq(diags.list.items[diags.list.count - 1].notes.count, 1);
}
END_TEST

START_TEST(all_bad_fields_are_reported_and_counts_compared)
{
    DataField bad[] = {field("a", DATA_npy, "absent", NULL, ir_scalar(DT_u8)),
                       field("b", DATA_npy, "absent", NULL, ir_scalar(DT_u8))};
    ck_assert_ptr_null(open_fields(bad, 2, (DatasetOptions){0}));
    ck_assert_int_eq(diags.list.count, 2);
    DataField uneven[] = {field("a", DATA_npy, "f16.npy", NULL, ir_scalar(DT_f16)),
                          field("b", DATA_npz, "stored.npz", "y", ir_scalar(DT_i32))};
    ck_assert_ptr_null(open_fields(uneven, 2, (DatasetOptions){0}));
    ck_assert_reason(diags.list.items[2].text, "field 'b' has 4 samples, field 'a' has 5");
    const char *wanted = "b";
    ck_assert_ptr_nonnull(open_fields(uneven, 2, (DatasetOptions){.wanted = &wanted, .wanted_count = 1}));
}
END_TEST

START_TEST(files_are_found_along_the_path)
{
    const char *reason, *path = arena_printf(arena, "/nowhere::%s", fixture_folder());
    DatasetOptions options = {.directory = folder, .search_path = path};
    ck_assert_reason(dataset_find(arena, "f32.npy", &options, &reason), "/formats/f32.npy");
    ck_assert_ptr_null(dataset_find(arena, "absent.npy", &options, &reason));
    ck_assert_reason(reason, "none along /nowhere::");
    options.search_path = NULL;
    ck_assert_ptr_null(dataset_find(arena, "f32.npy", &options, &reason));
    setenv("CM_DATA_PATH", fixture_folder(), 1);
    ck_assert_reason(dataset_find(arena, "f32.npy", &options, &reason), "/formats/f32.npy");
    ck_assert_ptr_null(file_write_atomic(arena, path_join(arena, folder, "f32.npy"), "", 0));
    ck_assert_reason(dataset_find(arena, "f32.npy", &options, &reason), folder); /* beside the program comes first */
}
END_TEST

static const char *generate_evens(void *state, Arena *into, const DataField *declared, Array *out)
{
    if (!state)
        return "the generator failed";
    *out = array_new(into, NULL, ir_type(DT_i32, 1, (int64_t[]){declared->count}));
    for (int64_t i = 0; i < declared->count; i++)
        ((int32_t *)out->data)[i] = (int32_t)(2 * i);
    return NULL;
}

static Dataset *evens(int64_t count)
{
    DataField one = {.name = "x", .source = DATA_generate, .count = count, .type = ir_scalar(DT_i32)};
    Dataset *dataset = open_fields(&one, 1, (DatasetOptions){.generate = generate_evens, .state = &one});
    ck_assert_ptr_nonnull(dataset);
    return dataset;
}

START_TEST(generated_fields_are_checked_like_files)
{
    ck_assert_int_eq(evens(10)->samples, 10);
    DataField one = {.name = "x", .source = DATA_generate, .count = 3, .type = ir_scalar(DT_f32)};
    ck_assert_ptr_null(open_fields(&one, 1, (DatasetOptions){.generate = generate_evens, .state = &one}));
    ck_assert_reason(diags.list.items[0].text, "generate(N = 3): expected f32[N], found i32[3]");
    ck_assert_ptr_null(open_fields(&one, 1, (DatasetOptions){.generate = generate_evens}));
    ck_assert_reason(diags.list.items[1].text, "the generator failed");
}
END_TEST

/* ---- order ---- */

START_TEST(each_epoch_is_a_permutation)
{
    for (int64_t count = 1; count <= 130; count++) {
        for (int64_t epoch = 0; epoch < 3; epoch++) {
            bool seen[130] = {0};
            for (int64_t i = 0; i < count; i++) {
                int64_t at = dataset_permute(7, epoch, count, i);
                ck_assert_msg(at >= 0 && at < count && !seen[at], "count %d: %d -> %d", (int)count, (int)i, (int)at);
                seen[at] = true;
            }
        }
    }
}
END_TEST

/* Chi-square of where each of `count` numbers goes, over epochs: near its degrees of freedom if all places are alike. */
static double unevenness(int count, int epochs, uint64_t seed_step)
{
    int hits[16][16] = {{0}};
    double expected = (double)epochs / count, sum = 0;
    for (int epoch = 0; epoch < epochs; epoch++)
        for (int i = 0; i < count; i++)
            hits[i][dataset_permute((uint64_t)epoch * seed_step, seed_step ? 3 : epoch, count, i)]++;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < count; j++)
            sum += (hits[i][j] - expected) * (hits[i][j] - expected) / expected;
    return sum / (count * (count - 1)); /* its mean is 1 */
}

START_TEST(orders_favour_no_place)
{
    for (int count = 2; count <= 13; count++) {
        double by_epoch = unevenness(count, 4000, 0), by_seed = unevenness(count, 4000, (uint64_t)1 << 31);
        double limit = 1 + 4.5 * sqrt(2) / (count - 1); /* four and a half standard deviations */
        ck_assert_msg(by_epoch < limit && by_seed < limit, "%d numbers: %g by epoch, %g by seed", count, by_epoch, by_seed);
    }
}
END_TEST

START_TEST(neighbours_part)
{
    int together = 0;
    enum { COUNT = 4096 };
    for (int64_t i = 0; i + 1 < COUNT; i++) {
        int64_t distance = dataset_permute(1, 0, COUNT, i + 1) - dataset_permute(1, 0, COUNT, i);
        together += distance == 1 || distance == -1;
    }
    ck_assert_int_lt(together, 15); /* two are expected */
}
END_TEST

/* ---- batches ---- */

START_TEST(an_epoch_of_batches_has_each_sample_at_most_once)
{
    Dataset *dataset = evens(23);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        int seen[46] = {0};
        for (int64_t step = 0; step < 4; step++) { /* 23 / 5 whole batches */
            int32_t batch[5];
            dataset_fill_batch(dataset, 5, 9, epoch * 4 + step, (void *[]){batch});
            for (int i = 0; i < 5; i++) {
                ck_assert_int_eq(batch[i], 2 * dataset_permute(9, epoch, 23, step * 5 + i));
                ck_assert_int_eq(seen[batch[i]]++, 0);
            }
        }
    }
}
END_TEST

START_TEST(rows_of_all_fields_stay_together)
{
    DataField fields[] = {field("image", DATA_idx, "images-idx3-ubyte", NULL, type_2(DT_u8, 4, 3)),
                          field("half", DATA_npy, "f16.npy", NULL, ir_scalar(DT_f16))};
    Dataset *dataset = open_fields(fields, 2, (DatasetOptions){0});
    const char *reason;
    BatchReader *reader = batch_reader_new(arena, dataset, 2, 1, &reason);
    for (int64_t step = 0; step < 20; step++) {
        const Array *batch = batch_reader_get(reader, step);
        ck_assert_str_eq(array_type_text(arena, &batch[0].type), "u8[2,4,3]");
        ck_assert_str_eq(batch[1].name, "half");
        for (int i = 0; i < 2; i++)
            for (int j = 0; j < 12; j++)
                ck_assert_int_eq(((uint8_t *)batch[0].data)[12 * i + j],
                                 12 * (int)half_to_float(((uint16_t *)batch[1].data)[i]) + j);
    }
    batch_reader_free(reader);
}
END_TEST

START_TEST(a_reader_gives_the_same_batch_in_any_order)
{
    static const int64_t steps[] = {0, 1, 2, 3, 3, 17, 18, 2, 1000000, 0, 1, 5, 4, 3};
    Dataset *dataset = evens(1000);
    const char *reason;
    BatchReader *reader = batch_reader_new(arena, dataset, 64, 5, &reason);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        int32_t wanted[64];
        dataset_fill_batch(dataset, 64, 5, steps[i], (void *[]){wanted});
        ck_assert_mem_eq(batch_reader_get(reader, steps[i])[0].data, wanted, sizeof wanted);
        if (i % 3 == 0)
            usleep(1000); /* the thread is done sometimes, and sometimes not */
        ck_assert_mem_eq(batch_reader_get(reader, steps[i])[0].data, wanted, sizeof wanted);
    }
    batch_reader_free(reader);
    batch_reader_free(NULL);
}
END_TEST

START_TEST(a_batch_must_fit)
{
    Dataset *dataset = evens(8);
    const char *reason;
    ck_assert_ptr_null(batch_reader_new(arena, dataset, 9, 5, &reason));
    ck_assert_reason(reason, "a batch of 9 does not fit data set 'things': it has 8 samples");
    ck_assert_ptr_null(batch_reader_new(arena, dataset, 0, 5, &reason));
    BatchReader *reader = batch_reader_new(arena, dataset, 8, 5, &reason);
    ck_assert_ptr_nonnull(reader);
    ck_assert_ptr_null(reason);
    batch_reader_free(reader);
}
END_TEST

/* ---- checkpoints ---- */

static Array vector(const char *name, DType dtype, int64_t count, int fill)
{
    Array array = array_new(arena, name, type_1(dtype, count));
    memset(array.data, fill, array_bytes(&array));
    return array;
}

START_TEST(checkpoint_round_trip)
{
    const char *path = path_join(arena, folder, "run.safetensors");
    CheckpointInfo info = {1234567890123, UINT64_MAX, 512, 0x8000000000000001}, back;
    Array saved[] = {vector("net.w", DT_f32, 5, 1), vector("opt.t", DT_i32, 1, 2), vector("ema.net.w", DT_bf16, 3, 3)};
    Array loaded[] = {vector("ema.net.w", DT_bf16, 3, 9), vector("net.w", DT_f32, 5, 9), vector("opt.t", DT_i32, 1, 9)};
    ck_assert_ptr_null(checkpoint_save(arena, path, &info, saved, 3));
    ck_assert_ptr_null(checkpoint_load(arena, path, &back, loaded, 3, false));
    ck_assert_int_eq(back.step, info.step);
    ck_assert_uint_eq(back.seed, info.seed);
    ck_assert_uint_eq(back.program_hash, info.program_hash);
    for (int i = 0; i < 3; i++)
        ck_assert_mem_eq(loaded[i].data, saved[(i + 2) % 3].data, array_bytes(&loaded[i]));
}
END_TEST

START_TEST(checkpoint_says_all_that_does_not_fit_and_writes_nothing)
{
    const char *path = path_join(arena, folder, "run.safetensors");
    Array saved[] = {vector("a", DT_f32, 5, 1), vector("b", DT_f32, 2, 1), vector("c", DT_f32, 2, 1)};
    Array expected[] = {vector("a", DT_f32, 5, 9), vector("b", DT_f32, 3, 9), vector("d", DT_i32, 2, 9)};
    ck_assert_ptr_null(checkpoint_save(arena, path, NULL, saved, 3));
    const char *reason = checkpoint_load(arena, path, NULL, expected, 3, false);
    ck_assert_reason(reason, "run.safetensors");
    ck_assert_reason(reason, "wrong type: 'b' is f32[2] there, f32[3] here");
    ck_assert_reason(reason, "missing: 'd' i32[2]");
    ck_assert_reason(reason, "unexpected: 'c' f32[2]");
    ck_assert_ptr_null(strstr(reason, "'a'"));
    ck_assert_int_eq(((unsigned char *)expected[0].data)[0], 9);
    ck_assert_ptr_null(checkpoint_load(arena, path, NULL, expected, 1, true));
    ck_assert_int_eq(((unsigned char *)expected[0].data)[0], 1);
    ck_assert_reason(checkpoint_load(arena, path, &(CheckpointInfo){0}, expected, 1, true), "not a checkpoint of a run");
}
END_TEST

START_TEST(checkpoint_lists_ten_problems_at_most)
{
    const char *path = path_join(arena, folder, "run.safetensors");
    Array expected[13];
    for (int i = 0; i < 13; i++)
        expected[i] = vector(arena_printf(arena, "p%d", i), DT_f32, 1, 0);
    ck_assert_ptr_null(checkpoint_save(arena, path, NULL, NULL, 0));
    const char *reason = checkpoint_load(arena, path, NULL, expected, 13, false);
    ck_assert_reason(reason, "'p9'");
    ck_assert_ptr_null(strstr(reason, "'p10'"));
    ck_assert_reason(reason, "and 3 more");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dataset");
    TCase *data = tcase_create("data");
    tcase_add_checked_fixture(data, set_up, tear_down);
    tcase_add_test(data, opens_every_kind_of_file);
    tcase_add_test(data, messages_name_field_source_expected_and_found);
    tcase_add_test(data, all_bad_fields_are_reported_and_counts_compared);
    tcase_add_test(data, files_are_found_along_the_path);
    tcase_add_test(data, generated_fields_are_checked_like_files);
    tcase_add_test(data, each_epoch_is_a_permutation);
    tcase_add_test(data, orders_favour_no_place);
    tcase_add_test(data, neighbours_part);
    tcase_add_test(data, an_epoch_of_batches_has_each_sample_at_most_once);
    tcase_add_test(data, rows_of_all_fields_stay_together);
    tcase_add_test(data, a_reader_gives_the_same_batch_in_any_order);
    tcase_add_test(data, a_batch_must_fit);
    tcase_add_test(data, checkpoint_round_trip);
    tcase_add_test(data, checkpoint_says_all_that_does_not_fit_and_writes_nothing);
    tcase_add_test(data, checkpoint_lists_ten_problems_at_most);
    suite_add_tcase(suite, data);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
