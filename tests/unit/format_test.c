/* File formats: files of other programs, round trips, and files that lie, end early or are damaged. */
#include "runtime/format.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static Arena *arena;
static char folder[] = "/tmp/cm_format_XXXXXX";

static void set_up(void)
{
    arena = arena_new(NULL, NULL);
    strcpy(folder, "/tmp/cm_format_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void tear_down(void)
{
    ck_assert_int_eq(system(arena_printf(arena, "rm -rf '%s'", folder)), 0);
    arena_free(arena);
}

static const char *in_folder(const char *name)
{
    return path_join(arena, folder, name);
}

static const char *fixture(const char *name)
{
    return path_join(arena, CM_SOURCE_DIR "/tests/golden/formats", name);
}

#define ck_assert_none(reason)                                                                                                 \
    do {                                                                                                                       \
        const char *reason_ = (reason);                                                                                        \
        ck_assert_msg(!reason_, "unexpected reason: %s", reason_);                                                             \
    } while (0)
#define ck_assert_reason(reason, part)                                                                                         \
    do {                                                                                                                       \
        const char *reason_ = (reason);                                                                                        \
        ck_assert_msg(reason_ &&strstr(reason_, part), "got '%s', wanted '%s'", reason_ ? reason_ : "", part);                 \
    } while (0)

static double element(const Array *array, int64_t i)
{
    switch (array->type.dtype) {
    case DT_f32:
        return ((float *)array->data)[i];
    case DT_f64:
        return ((double *)array->data)[i];
    case DT_f16:
        return half_to_float(((uint16_t *)array->data)[i]);
    case DT_bf16:
        return bfloat_to_float(((uint16_t *)array->data)[i]);
    case DT_i32:
        return ((int32_t *)array->data)[i];
    case DT_u32:
        return ((uint32_t *)array->data)[i];
    case DT_i64:
        return (double)((int64_t *)array->data)[i];
    default:
        return ((uint8_t *)array->data)[i];
    }
}

static void check_counts_up(const Array *array, const char *type)
{
    ck_assert_str_eq(array_type_text(arena, &array->type), type);
    ck_assert_uint_eq((uintptr_t)array->data % dtype_size(array->type.dtype), 0);
    for (int64_t i = 0; i < ir_element_count(&array->type); i++)
        ck_assert_msg(element(array, i) == (double)i, "%s: element %d is %g", type, (int)i, element(array, i));
}

/* ---- what other programs wrote ---- */

static const struct {
    const char *file, *type;
} counting[] = {
    {"f32.npy", "f32[2,3]"},
    {"big_endian_i32.npy", "i32[3]"},
    {"big_endian_f64.npy", "f64[2,2]"},
    {"fortran_f64.npy", "f64[2,3,4]"},
    {"empty_u8.npy", "u8[0,3]"},
    {"f16.npy", "f16[5]"},
    {"version2.npy", "f32[2,3]"},
    {"version3.npy", "f32[2,3]"},
    {"images-idx3-ubyte", "u8[5,4,3]"},
    {"images-idx3-ubyte.gz", "u8[5,4,3]"},
    {"two_parts-idx3-ubyte.gz", "u8[5,4,3]"},
    {"f32-idx2.gz", "f32[2,3]"},
};
enum { COUNTING = sizeof counting / sizeof *counting };

START_TEST(reads_files_of_others)
{
    const char *path = fixture(counting[_i].file);
    Array array;
    ck_assert_none(strstr(path, ".npy") ? npy_read(arena, path, &array) : idx_read(arena, path, &array));
    check_counts_up(&array, counting[_i].type);
}
END_TEST

START_TEST(reads_npy_scalar_and_bool)
{
    Array array;
    ck_assert_none(npy_read(arena, fixture("scalar_i64.npy"), &array));
    ck_assert_int_eq(array.type.rank, 0);
    ck_assert(element(&array, 0) == -7);
    ck_assert_none(npy_read(arena, fixture("bool.npy"), &array));
    ck_assert_str_eq(array_type_text(arena, &array.type), "bool[3]");
    ck_assert(element(&array, 0) == 1 && element(&array, 1) == 0 && element(&array, 2) == 1);
}
END_TEST

START_TEST(refuses_npy_types_by_name)
{
    Array array;
    ck_assert_reason(npy_read(arena, fixture("objects.npy"), &array), "Python objects");
    ck_assert_reason(npy_read(arena, fixture("records.npy"), &array), "records");
    ck_assert_reason(npy_read(arena, fixture("i16.npy"), &array), "'<i2'");
    ck_assert_reason(npy_read(arena, fixture("i16.npy"), &array), "i16.npy");
    ck_assert_reason(npy_read(arena, fixture("absent.npy"), &array), "absent.npy");
    ck_assert_reason(npy_read(arena, fixture("gray.png"), &array), "not an .npy file");
}
END_TEST

START_TEST(reads_npz)
{
    Array array;
    ck_assert_none(npz_read(arena, fixture("stored.npz"), "x", &array));
    check_counts_up(&array, "f32[4,2]");
    ck_assert_none(npz_read(arena, fixture("stored.npz"), "y.npy", &array));
    check_counts_up(&array, "i32[4]");
    ck_assert_none(npz_read(arena, fixture("deflated.npz"), "x", &array));
    check_counts_up(&array, "f32[50,20]");
    ck_assert_none(npz_read(arena, fixture("deflated.npz"), "label", &array));
    check_counts_up(&array, "u8[50]");
    ck_assert_reason(npz_read(arena, fixture("stored.npz"), "z", &array), "has no array 'z'; it has 'x', 'y'");
    ck_assert_reason(npz_read(arena, fixture("f32.npy"), "x", &array), "not an .npz file");
}
END_TEST

START_TEST(reads_safetensors)
{
    SafeTensors file;
    ck_assert_none(safetensors_read(arena, fixture("mixed.safetensors"), &file));
    ck_assert_int_eq(file.arrays.count, 7);
    ck_assert_str_eq(safetensors_metadata(&file, "made by"), "a \"test\"");
    ck_assert_str_eq(safetensors_metadata(&file, "unit"), "\xc2\xb5m");
    ck_assert_ptr_null(safetensors_metadata(&file, "absent"));
    check_counts_up(array_find(file.arrays.items, file.arrays.count, "net.w"), "f32[2,3]");
    check_counts_up(array_find(file.arrays.items, file.arrays.count, "net.half"), "f16[3]");
    check_counts_up(array_find(file.arrays.items, file.arrays.count, "bytes"), "u8[5]");
    check_counts_up(array_find(file.arrays.items, file.arrays.count, "none"), "f32[0,4]");
    const Array *brain = array_find(file.arrays.items, file.arrays.count, "net.brain");
    ck_assert(element(brain, 0) == 1 && element(brain, 1) == -2);
    ck_assert(element(array_find(file.arrays.items, file.arrays.count, "scalar"), 0) == -5);
}
END_TEST

START_TEST(safetensors_types_that_cm_lacks_do_not_hide_the_others)
{
    SafeTensors file;
    Array array;
    ck_assert_none(safetensors_read(arena, fixture("foreign.safetensors"), &file));
    ck_assert_int_eq(file.foreign.count, 1);
    ck_assert_none(safetensors_read_one(arena, fixture("foreign.safetensors"), "known", &array));
    ck_assert(element(&array, 0) == 1);
    ck_assert_reason(safetensors_read_one(arena, fixture("foreign.safetensors"), "short", &array), "element type I16");
    ck_assert_reason(safetensors_read_one(arena, fixture("foreign.safetensors"), "x", &array), "it has 'known'");
}
END_TEST

static void check_png(const char *name, int channels, int first, int second)
{
    Array image;
    ck_assert_none(png_read(arena, fixture(name), &image));
    ck_assert_str_eq(array_type_text(arena, &image.type), arena_printf(arena, "u8[3,4,%d]", channels));
    ck_assert_msg(element(&image, channels) == first, "%s: %g", name, element(&image, channels));
    ck_assert_msg(element(&image, channels * 11) == second, "%s: %g", name, element(&image, channels * 11));
}

START_TEST(reads_png)
{
    check_png("gray.png", 1, 20, 220);
    check_png("gray16.png", 1, 20, 220);
    check_png("one_bit.png", 1, 0, 255);
    check_png("rgb.png", 3, 20, 220);
    check_png("rgba.png", 4, 20, 220);
    check_png("palette.png", 3, 20, 220);
}
END_TEST

/* ---- round trips ---- */

static Array numbers(const char *name, DType dtype, int rank, const int64_t *dim)
{
    Array array = array_new(arena, name, ir_type(dtype, rank, dim));
    unsigned char *bytes = array.data;
    for (size_t i = 0; i < array_bytes(&array); i++)
        bytes[i] = dtype == DT_bool ? i % 3 == 0 : (unsigned char)(i * 37 + 11);
    return array;
}

START_TEST(npy_round_trip)
{
    for (int rank = 0; rank <= 3; rank++) {
        Array array = numbers(NULL, (DType)_i, rank, (int64_t[]){3, 1, 5}), back;
        ck_assert_none(npy_write(arena, in_folder("a.npy"), &array));
        ck_assert_none(npy_read(arena, in_folder("a.npy"), &back));
        ck_assert_int_eq(back.type.rank, rank);
        if (_i == DT_bf16) {
            ck_assert_int_eq(back.type.dtype, DT_f32);
            for (int64_t i = 0; i < ir_element_count(&array.type); i++)
                ck_assert(element(&array, i) == element(&back, i));
            continue;
        }
        ck_assert(ir_type_equal(&array.type, &back.type));
        ck_assert_mem_eq(array.data, back.data, array_bytes(&array));
    }
}
END_TEST

START_TEST(safetensors_round_trip)
{
    Array arrays[DT_COUNT + 1];
    for (int i = 0; i < DT_COUNT; i++)
        arrays[i] = numbers(arena_printf(arena, "odd \"name\"\n%d", i), (DType)i, i % 4, (int64_t[]){3, 5, 7});
    arrays[DT_COUNT] = numbers("empty", DT_f32, 1, (int64_t[]){0});
    TextPair metadata = {"key", "a \\ value"};
    ck_assert_none(safetensors_write(arena, in_folder("a"), arrays, DT_COUNT + 1, &metadata, 1));
    SafeTensors file;
    Bytes bytes;
    ck_assert_none(safetensors_read(arena, in_folder("a"), &file));
    ck_assert_str_eq(safetensors_metadata(&file, "key"), "a \\ value");
    ck_assert_int_eq(file.arrays.count, DT_COUNT + 1);
    for (int i = 0; i <= DT_COUNT; i++) {
        const Array *back = array_find(file.arrays.items, file.arrays.count, arrays[i].name);
        ck_assert_ptr_nonnull(back);
        ck_assert(ir_type_equal(&arrays[i].type, &back->type));
        ck_assert_int_eq(memcmp(arrays[i].data, back->data, array_bytes(back)), 0);
    }
    ck_assert_none(file_read(arena, in_folder("a"), 0, &bytes));
    ck_assert_uint_eq((8 + bytes.data[0] + 256 * bytes.data[1]) % 64, 0);
}
END_TEST

START_TEST(safetensors_names_are_unique)
{
    Array arrays[2] = {numbers("a", DT_f32, 0, NULL), numbers("a", DT_u8, 0, NULL)};
    ck_assert_reason(safetensors_write(arena, in_folder("a"), arrays, 2, NULL, 0), "two arrays named 'a'");
    ck_assert(!file_exists(in_folder("a")));
}
END_TEST

START_TEST(png_round_trip)
{
    Array image = numbers(NULL, DT_u8, 3, (int64_t[]){5, 7, _i}), back;
    ck_assert_none(png_write(arena, in_folder("a.png"), &image));
    ck_assert_none(png_read(arena, in_folder("a.png"), &back));
    ck_assert(ir_type_equal(&image.type, &back.type));
    ck_assert_mem_eq(image.data, back.data, array_bytes(&image));
}
END_TEST

START_TEST(png_writer_refuses_what_is_no_image)
{
    Array floats = numbers(NULL, DT_f32, 2, (int64_t[]){2, 2}), five = numbers(NULL, DT_u8, 3, (int64_t[]){2, 2, 5});
    ck_assert_reason(png_write(arena, in_folder("a.png"), &floats), "f32[2,2] is no image");
    ck_assert_reason(png_write(arena, in_folder("a.png"), &five), "u8[2,2,5] is no image");
    ck_assert_reason(
        png_write(arena, in_folder("absent/a.png"), &(Array){.type = ir_type(DT_u8, 2, (int64_t[]){1, 1}), .data = ""}),
        "absent/a.png");
}
END_TEST

START_TEST(png_folder_is_read_by_name)
{
    Array out;
    ck_assert_reason(png_folder_read(arena, folder, &out), "has no .png files");
    ck_assert_reason(png_folder_read(arena, in_folder("absent"), &out), "cannot open the folder");
    for (int i = 11; i >= 0; i--) {
        Array image = array_new(arena, NULL, ir_type(DT_u8, 2, (int64_t[]){2, 3}));
        memset(image.data, i, 6);
        ck_assert_none(png_write(arena, in_folder(arena_printf(arena, "%02d.%s", i, i % 2 ? "png" : "PNG")), &image));
    }
    ck_assert_none(file_write_atomic(arena, in_folder("notes.txt"), "x", 1));
    ck_assert_none(png_folder_read(arena, folder, &out));
    ck_assert_str_eq(array_type_text(arena, &out.type), "u8[12,2,3,1]");
    for (int i = 0; i < 72; i++)
        ck_assert(element(&out, i) == i / 6);
    Array wide = numbers(NULL, DT_u8, 2, (int64_t[]){2, 4});
    ck_assert_none(png_write(arena, in_folder("zz.png"), &wide));
    ck_assert_reason(png_folder_read(arena, folder, &out), "of one size and kind");
}
END_TEST

/* ---- files that lie ---- */

typedef const char *DecodeFile(Arena *into, Bytes bytes);

static const char *decode_idx(Arena *into, Bytes bytes)
{
    Array out;
    return idx_decode(into, bytes, &out);
}

static const char *decode_npy(Arena *into, Bytes bytes)
{
    Array out;
    return npy_decode(into, bytes, &out);
}

static const char *decode_npz(Arena *into, Bytes bytes)
{
    Array out;
    return npz_decode(into, bytes, "x", &out);
}

static const char *decode_safetensors(Arena *into, Bytes bytes)
{
    SafeTensors out;
    return safetensors_decode(into, bytes, &out);
}

static const char *decode_png(Arena *into, Bytes bytes)
{
    Array out;
    return png_decode(into, bytes, &out);
}

static const struct {
    const char *file;
    DecodeFile *decode;
} hostile[] = {
    {"images-idx3-ubyte", decode_idx},
    {"images-idx3-ubyte.gz", decode_idx},
    {"two_parts-idx3-ubyte.gz", decode_idx},
    {"f32.npy", decode_npy},
    {"fortran_f64.npy", decode_npy},
    {"version2.npy", decode_npy},
    {"stored.npz", decode_npz},
    {"deflated.npz", decode_npz},
    {"mixed.safetensors", decode_safetensors},
    {"foreign.safetensors", decode_safetensors},
    {"rgb.png", decode_png},
    {"palette.png", decode_png},
    {"gray16.png", decode_png},
};
enum { HOSTILE = sizeof hostile / sizeof *hostile };

/* Counts what an arena asks for, and refuses from the n-th request on, or beyond so many bytes. */
typedef struct Miser {
    int requests_left;
    size_t bytes_left;
} Miser;

static void *miser_allocate(void *state, size_t size)
{
    Miser *miser = state;
    if (miser->requests_left-- <= 0 || size > miser->bytes_left)
        return NULL;
    miser->bytes_left -= size;
    return malloc(size);
}

static void miser_release(void *state, void *memory)
{
    (void)state;
    free(memory);
}

typedef enum Outcome { READ, REFUSED, OUT_OF_MEMORY } Outcome;

static Outcome decode_copy(DecodeFile *decode, Arena *into, unsigned char *copy, size_t size)
{
    return decode(into, (Bytes){copy, size}) ? REFUSED : READ;
}

/* Decodes a copy that ends where its heap block ends, so that the address sanitizer sees every read beyond it. */
static Outcome decode_under(Miser *miser, DecodeFile *decode, const unsigned char *data, size_t size)
{
    unsigned char *copy = malloc(size ? size : 1);
    Outcome volatile outcome = OUT_OF_MEMORY;
    Arena *volatile inner = NULL;
    jmp_buf escape;
    memcpy(copy, data, size);
    if (!setjmp(escape)) {
        inner = arena_new(&(Allocator){miser_allocate, miser_release, miser}, &escape);
        outcome = decode_copy(decode, inner, copy, size);
    }
    arena_free(inner);
    free(copy);
    return outcome;
}

static Outcome decode_bytes(DecodeFile *decode, const unsigned char *data, size_t size)
{
    Miser miser = {1 << 20, (size_t)64 << 20};
    return decode_under(&miser, decode, data, size);
}

START_TEST(every_truncation_is_refused)
{
    Bytes bytes;
    ck_assert_none(file_read(arena, fixture(hostile[_i].file), 0, &bytes));
    ck_assert_int_eq(decode_bytes(hostile[_i].decode, bytes.data, bytes.size), READ);
    size_t end = bytes.size;
    if (hostile[_i].decode == decode_png)
        end -= 12; /* libpng does not ask for the end marker once it has all pixels */
    for (size_t size = 0; size < end; size++)
        ck_assert_msg(decode_bytes(hostile[_i].decode, bytes.data, size) == REFUSED,
                      "%s cut to %zu of %zu bytes is not refused", hostile[_i].file, size, bytes.size);
}
END_TEST

START_TEST(no_damaged_byte_does_harm)
{
    static const unsigned char flips[] = {0x01, 0x80, 0xff, 0x10};
    Bytes bytes;
    ck_assert_none(file_read(arena, fixture(hostile[_i].file), 0, &bytes));
    for (size_t at = 0; at < bytes.size; at++) {
        for (size_t flip = 0; flip < sizeof flips; flip++) {
            bytes.data[at] ^= flips[flip];
            ck_assert_msg(decode_bytes(hostile[_i].decode, bytes.data, bytes.size) != OUT_OF_MEMORY,
                          "%s with byte %zu changed asks for more memory than the file can fill", hostile[_i].file, at);
            bytes.data[at] ^= flips[flip];
        }
    }
}
END_TEST

START_TEST(running_out_of_memory_leaves_nothing_behind)
{
    Bytes bytes;
    int requests = 0;
    ck_assert_none(file_read(arena, fixture(hostile[_i].file), 0, &bytes));
    for (Outcome outcome = OUT_OF_MEMORY; outcome != READ; requests++) {
        Miser miser = {requests, (size_t)64 << 20};
        outcome = decode_under(&miser, hostile[_i].decode, bytes.data, bytes.size);
        ck_assert_int_ne(outcome, REFUSED);
        ck_assert_int_lt(requests, 1000);
    }
    ck_assert_int_gt(requests, 1);
}
END_TEST

static const char *try_bytes(DecodeFile *decode, const void *data, size_t size)
{
    return decode(arena, (Bytes){arena_copy(arena, data, size), size});
}
#define TRY(decode, literal) try_bytes(decode, literal, sizeof literal - 1)

START_TEST(idx_headers_that_lie)
{
    ck_assert_reason(TRY(decode_idx, "\0\0\x08\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
                     "more elements");
    ck_assert_reason(TRY(decode_idx, "\0\0\x08\x01\0\1\0\0abc"), "the file has 3");
    ck_assert_reason(TRY(decode_idx, "\0\0\x08\x01\0\0\0\2abc"), "the file has more");
    ck_assert_reason(TRY(decode_idx, "\0\0\x0b\x01\0\0\0\1ab"), "16-bit");
    ck_assert_reason(TRY(decode_idx, "\0\0\x08\0"), "0 axes");
    ck_assert_reason(TRY(decode_idx, "\0\0\x08\xff"), "255 axes");
    ck_assert_reason(TRY(decode_idx, "\0\0\x77\1\0\0\0\0"), "0x77");
    ck_assert_reason(TRY(decode_idx, "PK\3\4"), "not an idx file");
}
END_TEST

static const char *try_npy(const char *header, size_t data)
{
    Text text = text_new(arena);
    text_add(&text, "\x93NUMPY\1\0", 8);
    text_add(&text, (char[]){(char)strlen(header), 0}, 2);
    text_puts(&text, header);
    for (size_t i = 0; i < data; i++)
        text_add(&text, "\0", 1);
    return try_bytes(decode_npy, text.data, text.length);
}

START_TEST(npy_headers_that_lie)
{
    ck_assert_none(try_npy("{\"shape\": (2L ,3), 'fortran_order':False,'descr': '<f4'}", 24));
    ck_assert_reason(try_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 25),
                     "24 bytes of data; the file has 25");
    ck_assert_reason(try_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", 0),
                     "more elements");
    ck_assert_reason(try_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1125899906842624,), }", 0), "more elements");
    ck_assert_reason(try_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 99999999999999999999), }", 0),
                     "not a size");
    ck_assert_reason(try_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", 0), "not a size");
    ck_assert_reason(try_npy("{'descr': '<f4', 'fortran_order': False, 'shape': 4, }", 16), "not a tuple");
    ck_assert_reason(try_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4", 16), "not a tuple");
    ck_assert_reason(try_npy("{'descr': '<f4', 'fortran_order': 0, 'shape': (4,)}", 16), "neither True nor False");
    ck_assert_reason(try_npy("{'descr': '<f4', 'descr': '<f8', 'shape': (4,)}", 16), "repeated key 'descr'");
    ck_assert_reason(try_npy("{'descr': '<f4', 'shape': (4,)}", 16), "lacks");
    ck_assert_reason(try_npy("{'descr': '<f4' 'shape': (4,)}", 16), "not a dictionary");
    ck_assert_reason(try_npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", 8), "'<c8'");
    ck_assert_reason(try_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1)}", 4),
                     "more than 12 axes");
    ck_assert_reason(TRY(decode_npy, "\x93NUMPY\4\0\0\0"), "version 4");
    ck_assert_reason(TRY(decode_npy, "\x93NUMPY\2\0\xff\xff\xff\xff{}"), "ends inside its header");
}
END_TEST

START_TEST(checksums_of_archives_are_compared)
{
    Bytes bytes;
    Array out;
    ck_assert_ptr_null(file_read(arena, fixture("stored.npz"), 0, &bytes));
    unsigned char *header = memmem(bytes.data, bytes.size, "\x93NUMPY", 6);
    ck_assert_ptr_nonnull(header);
    header[128 + 5] ^= 1; /* an element */
    ck_assert_reason(npz_decode(arena, bytes, "x", &out), "damaged");
    ck_assert_ptr_null(file_read(arena, fixture("images-idx3-ubyte.gz"), 0, &bytes));
    bytes.data[bytes.size - 6] ^= 1; /* of the checksum behind the data */
    ck_assert_reason(idx_decode(arena, bytes, &out), "damaged");
}
END_TEST

static const char *try_safetensors(const char *header, size_t data)
{
    Text text = text_new(arena);
    uint64_t length = strlen(header);
    text_add(&text, (char *)&length, 8);
    text_puts(&text, header);
    for (size_t i = 0; i < data; i++)
        text_add(&text, "\0", 1);
    return try_bytes(decode_safetensors, text.data, text.length);
}

START_TEST(safetensors_headers_that_lie)
{
    ck_assert_none(try_safetensors("{}   ", 0));
    ck_assert_none(try_safetensors("{\"a\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[0,1]}}", 1));
    ck_assert_reason(try_safetensors(" {}", 0), "not a JSON object");
    ck_assert_reason(try_safetensors("{\"a\":1", 0), "not a JSON object");
    ck_assert_reason(try_safetensors("{}", 1), "its data has 1");
    ck_assert_reason(try_safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
                                     "\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}",
                                     4),
                     "twice");
    ck_assert_reason(try_safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
                                     "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
                                     3),
                     "overlaps");
    ck_assert_reason(try_safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}", 3), "leaves a hole");
    ck_assert_reason(try_safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 1), "its data has 1");
    ck_assert_reason(try_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4),
                     "not the size of its shape");
    ck_assert_reason(try_safetensors("{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1),
                     "not the size of its shape");
    ck_assert_reason(try_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0),
                     "more elements");
    ck_assert_reason(try_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4),
                     "not made of sizes");
    ck_assert_reason(try_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4),
                     "not made of sizes");
    ck_assert_reason(try_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4), "no data_offsets");
    ck_assert_reason(try_safetensors("{\"a\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4), "'F99'");
    ck_assert_reason(try_safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 1),
                     "keys other than");
    ck_assert_reason(try_safetensors("{\"__metadata__\":{\"a\":1}}", 0), "not a string");
    ck_assert_reason(try_safetensors("{\"__metadata__\":[]}", 0), "not an object");
    ck_assert_reason(try_safetensors("{\"a\":7}", 0), "element type");
    ck_assert_reason(TRY(decode_safetensors, "\xff\xff\xff\xff\xff\xff\xff\xff{}"), "ends inside its header");
}
END_TEST

START_TEST(png_headers_that_lie)
{
    Bytes bytes;
    ck_assert_none(file_read(arena, fixture("rgb.png"), 0, &bytes));
    memcpy(bytes.data + 16, "\0\0\xff\xff\0\0\xff\xff", 8);
    ck_assert_reason(decode_png(arena, bytes), "more pixels");
    memcpy(bytes.data + 16, "\x7f\xff\xff\xff\0\0\0\1", 8);
    ck_assert_reason(decode_png(arena, bytes), "too large");
    bytes.data[0] = 0;
    ck_assert_reason(decode_png(arena, bytes), "not a PNG");
}
END_TEST

START_TEST(bools_of_files_become_one_or_zero)
{
    Array array;
    Bytes bytes;
    ck_assert_none(file_read(arena, fixture("bool.npy"), 0, &bytes));
    bytes.data[bytes.size - 1] = 0xfe;
    ck_assert_none(npy_decode(arena, bytes, &array));
    ck_assert(element(&array, 2) == 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("format");
    TCase *files = tcase_create("files");
    tcase_add_checked_fixture(files, set_up, tear_down);
    tcase_add_loop_test(files, reads_files_of_others, 0, COUNTING);
    tcase_add_test(files, reads_npy_scalar_and_bool);
    tcase_add_test(files, refuses_npy_types_by_name);
    tcase_add_test(files, reads_npz);
    tcase_add_test(files, reads_safetensors);
    tcase_add_test(files, safetensors_types_that_cm_lacks_do_not_hide_the_others);
    tcase_add_test(files, reads_png);
    tcase_add_loop_test(files, npy_round_trip, 0, DT_COUNT);
    tcase_add_test(files, safetensors_round_trip);
    tcase_add_test(files, safetensors_names_are_unique);
    tcase_add_loop_test(files, png_round_trip, 1, 5);
    tcase_add_test(files, png_writer_refuses_what_is_no_image);
    tcase_add_test(files, png_folder_is_read_by_name);
    tcase_add_loop_test(files, every_truncation_is_refused, 0, HOSTILE);
    tcase_add_loop_test(files, no_damaged_byte_does_harm, 0, HOSTILE);
    tcase_add_loop_test(files, running_out_of_memory_leaves_nothing_behind, 0, HOSTILE);
    tcase_add_test(files, idx_headers_that_lie);
    tcase_add_test(files, npy_headers_that_lie);
    tcase_add_test(files, checksums_of_archives_are_compared);
    tcase_add_test(files, safetensors_headers_that_lie);
    tcase_add_test(files, png_headers_that_lie);
    tcase_add_test(files, bools_of_files_become_one_or_zero);
    suite_add_tcase(suite, files);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
