/* NumPy's .npy: a magic number, a header that is a Python dictionary, and the elements; .npz: a zip archive of those. */
#include "runtime/format_internal.h"

#include <string.h>
#include <zip.h>

/* ---- the header ---- */

typedef struct NpyHeader {
    IrType type;
    bool swapped, fortran;
    size_t data_start, data_size;
} NpyHeader;

typedef struct NpyCursor {
    const char *at, *end;
} NpyCursor;

static const struct {
    const char *text;
    DType dtype;
} npy_names[] = {
    {"f4", DT_f32}, {"f8", DT_f64}, {"f2", DT_f16}, {"i4", DT_i32},
    {"i8", DT_i64}, {"u4", DT_u32}, {"u1", DT_u8},  {"b1", DT_bool},
};
enum { NPY_NAME_COUNT = sizeof npy_names / sizeof *npy_names };

static bool npy_skip(NpyCursor *in, char wanted)
{
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\n' || *in->at == '\t'))
        in->at++;
    if (in->at == in->end || *in->at != wanted)
        return false;
    in->at++;
    return true;
}

static bool npy_skip_word(NpyCursor *in, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(in->end - in->at) < length || memcmp(in->at, word, length))
        return false;
    in->at += length;
    return true;
}

static bool npy_parse_string(NpyCursor *in, char *text, size_t size)
{
    char quote = npy_skip(in, '\'') ? '\'' : npy_skip(in, '"') ? '"' : 0;
    size_t length = 0;
    while (quote && in->at < in->end && *in->at != quote) {
        if (length + 1 == size)
            return false;
        text[length++] = *in->at++;
    }
    text[length] = 0;
    return quote && npy_skip(in, quote);
}

static bool npy_parse_size(NpyCursor *in, int64_t *size)
{
    bool any = false;
    *size = 0;
    for (; in->at < in->end && *in->at >= '0' && *in->at <= '9'; in->at++, any = true)
        if (__builtin_mul_overflow(*size, 10, size) || __builtin_add_overflow(*size, *in->at - '0', size))
            return false;
    npy_skip_word(in, "L"); /* Python 2 wrote long integers so */
    return any;
}

static const char *npy_parse_shape(Arena *arena, NpyCursor *in, IrType *type)
{
    if (!npy_skip(in, '('))
        return "the header's shape is not a tuple";
    type->rank = 0;
    while (!npy_skip(in, ')')) {
        if (type->rank == IR_MAX_RANK)
            return arena_printf(arena, "has more than %d axes", IR_MAX_RANK);
        npy_skip(in, ' ');
        if (!npy_parse_size(in, &type->dim[type->rank++]))
            return "the header's shape holds something that is not a size";
        if (!npy_skip(in, ',')) {
            if (npy_skip(in, ')'))
                return NULL;
            return "the header's shape is not a tuple";
        }
    }
    return NULL;
}

static const char *npy_parse_descr(Arena *arena, NpyCursor *in, NpyHeader *header)
{
    char text[16];
    if (npy_skip(in, '['))
        return "elements are records, which cm does not read; save each field as an array of its own";
    if (!npy_parse_string(in, text, sizeof text))
        return "the header's descr is not a string";
    bool has_order = text[0] && strchr("<>=|", text[0]);
    header->swapped = text[0] == '>';
    const char *name = text + has_order;
    if (!strcmp(name, "?"))
        name = "b1";
    for (int i = 0; i < NPY_NAME_COUNT; i++) {
        if (!strcmp(npy_names[i].text, name)) {
            header->type.dtype = npy_names[i].dtype;
            return NULL;
        }
    }
    if (name[0] == 'O')
        return "elements are Python objects, which cm does not read";
    return arena_printf(
        arena, "element type '%s' is one that cm lacks; convert the array to f32, f64, f16, i32, u32, i64, u8 or bool", text);
}

static const char *npy_parse_order(NpyCursor *in, bool *fortran)
{
    npy_skip(in, ' ');
    *fortran = npy_skip_word(in, "True");
    return *fortran || npy_skip_word(in, "False") ? NULL : "the header's fortran_order is neither True nor False";
}

static const char *npy_parse_entry(Arena *arena, NpyCursor *in, NpyHeader *header, unsigned *seen)
{
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    char key[32];
    if (!npy_parse_string(in, key, sizeof key) || !npy_skip(in, ':'))
        return "the header is not a dictionary";
    unsigned which = 0;
    while (which < 3 && strcmp(keys[which], key))
        which++;
    if (which == 3 || *seen & 1u << which)
        return arena_printf(arena, "the header has an unknown or repeated key '%s'", key);
    *seen |= 1u << which;
    while (in->at < in->end && *in->at == ' ')
        in->at++;
    if (which == 0)
        return npy_parse_descr(arena, in, header);
    return which == 1 ? npy_parse_order(in, &header->fortran) : npy_parse_shape(arena, in, &header->type);
}

static const char *npy_parse_dictionary(Arena *arena, NpyCursor *in, NpyHeader *header)
{
    unsigned seen = 0;
    if (!npy_skip(in, '{'))
        return "the header is not a dictionary";
    while (!npy_skip(in, '}')) {
        const char *reason = npy_parse_entry(arena, in, header, &seen);
        if (reason)
            return reason;
        if (!npy_skip(in, ',')) {
            if (npy_skip(in, '}'))
                break;
            return "the header is not a dictionary";
        }
    }
    return seen == 7 ? NULL : "the header lacks descr, fortran_order or shape";
}

static const char *npy_parse_header(Arena *arena, Bytes bytes, NpyHeader *header)
{
    const unsigned char *in = bytes.data;
    if (bytes.size < 10 || memcmp(in, "\x93NUMPY", 6))
        return "not an .npy file: it does not start with \\x93NUMPY";
    if (in[6] < 1 || in[6] > 3)
        return arena_printf(arena, "is .npy version %d; 1 to 3 can be read", in[6]);
    size_t prefix = in[6] == 1 ? 10 : 12;
    if (bytes.size < prefix)
        return "ends inside its header";
    size_t length = (size_t)in[8] | (size_t)in[9] << 8;
    if (in[6] > 1)
        length |= (size_t)in[10] << 16 | (size_t)in[11] << 24;
    if (length > bytes.size - prefix)
        return "ends inside its header";
    header->data_start = prefix + length;
    NpyCursor cursor = {(const char *)in + prefix, (const char *)in + header->data_start};
    const char *reason = npy_parse_dictionary(arena, &cursor, header);
    if (reason)
        return reason;
    return array_byte_size(&header->type, &header->data_size) ? NULL : "claims more elements than fit in memory";
}

/* ---- the elements ---- */

/* Walks the elements in row-major order while `at` follows the strides of column-major order. */
static Array npy_transpose(Arena *arena, const Array *from)
{
    Array to = array_new(arena, NULL, from->type);
    size_t size = (size_t)dtype_size(from->type.dtype);
    size_t count = array_bytes(from) / size, at = 0;
    size_t stride[IR_MAX_RANK], next = 1;
    int64_t index[IR_MAX_RANK] = {0};
    for (int axis = 0; axis < from->type.rank; axis++) {
        stride[axis] = next;
        next *= (size_t)from->type.dim[axis];
    }
    for (size_t i = 0; i < count; i++) {
        memcpy((char *)to.data + i * size, (const char *)from->data + at * size, size);
        for (int axis = from->type.rank - 1; axis >= 0; axis--) {
            at += stride[axis];
            if (++index[axis] < from->type.dim[axis])
                break;
            at -= stride[axis] * (size_t)index[axis];
            index[axis] = 0;
        }
    }
    return to;
}

const char *npy_decode(Arena *arena, Bytes bytes, Array *out)
{
    NpyHeader header = {0};
    const char *reason = npy_parse_header(arena, bytes, &header);
    if (reason)
        return reason;
    if (bytes.size - header.data_start != header.data_size)
        return arena_printf(arena, "header says %s, %zu bytes of data; the file has %zu", array_type_text(arena, &header.type),
                            header.data_size, bytes.size - header.data_start);
    int size = dtype_size(header.type.dtype);
    unsigned char *data = bytes.data + header.data_start;
    if ((uintptr_t)data % (unsigned)size)
        data = memmove(bytes.data, data, header.data_size);
    *out = (Array){.type = header.type, .data = data};
    if (header.swapped && size > 1)
        array_swap_bytes(data, (int64_t)(header.data_size / (size_t)size), size);
    if (header.fortran && header.type.rank > 1)
        *out = npy_transpose(arena, out);
    format_normalise_bools(out);
    return NULL;
}

const char *npy_read(Arena *arena, const char *path, Array *out)
{
    Bytes bytes;
    const char *reason = file_read(arena, path, 0, &bytes);
    return reason ? reason : format_blame(arena, path, npy_decode(arena, bytes, out));
}

/* ---- writing ---- */

static const char *npy_name_of(DType dtype)
{
    for (int i = 0; i < NPY_NAME_COUNT; i++)
        if (npy_names[i].dtype == dtype)
            return npy_names[i].text;
    return NULL;
}

static Array npy_widen(Arena *arena, const Array *array)
{
    Array wide = array_new(arena, NULL, ir_with_dtype(array->type, DT_f32));
    const uint16_t *from = array->data;
    float *to = wide.data;
    for (size_t i = 0; i < array_bytes(array) / 2; i++)
        to[i] = bfloat_to_float(from[i]);
    return wide;
}

static Text npy_header_text(Arena *arena, const IrType *type)
{
    Text text = text_new(arena);
    text_add(&text, "\x93NUMPY\1\0\0\0", 10);
    text_printf(&text, "{'descr': '%c%s', 'fortran_order': False, 'shape': (", dtype_size(type->dtype) == 1 ? '|' : '<',
                npy_name_of(type->dtype));
    for (int axis = 0; axis < type->rank; axis++)
        text_printf(&text, "%s%lld%s", axis ? " " : "", (long long)type->dim[axis], axis + 1 < type->rank || !axis ? "," : "");
    text_puts(&text, "), }");
    while ((text.length + 1) % 64)
        text_puts(&text, " ");
    text_puts(&text, "\n");
    text.data[8] = (char)((text.length - 10) & 0xff);
    text.data[9] = (char)((text.length - 10) >> 8);
    return text;
}

const char *npy_write(Arena *arena, const char *path, const Array *array)
{
    Array written = array->type.dtype == DT_bf16 ? npy_widen(arena, array) : *array;
    Text header = npy_header_text(arena, &written.type);
    FileWriter *writer;
    const char *reason = file_writer_open(arena, path, &writer);
    if (reason)
        return reason;
    file_writer_add(writer, header.data, header.length);
    file_writer_add(writer, written.data, array_bytes(&written));
    return file_writer_commit(writer);
}

/* ---- archives ---- */

static const char *npz_list_members(Arena *arena, zip_t *archive, const char *wanted)
{
    Text text = text_new(arena);
    zip_int64_t count = zip_get_num_entries(archive, 0);
    text_printf(&text, "has no array '%s'; it has", wanted);
    for (zip_int64_t i = 0; i < count && i < 10; i++) {
        const char *name = zip_get_name(archive, (zip_uint64_t)i, ZIP_FL_ENC_RAW);
        int length = name ? (int)strnlen(name, 80) : 0;
        if (length > 4 && !memcmp(name + length - 4, ".npy", 4))
            length -= 4;
        text_printf(&text, "%s '%.*s'", i ? "," : "", length, name ? name : "");
    }
    text_puts(&text, count > 10 ? " and more" : count ? "" : " none");
    return text.data;
}

static const char *npz_check_stat(Arena *arena, const zip_stat_t *stat, size_t file_size, const char *member)
{
    zip_uint64_t needed = ZIP_STAT_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_COMP_SIZE | ZIP_STAT_ENCRYPTION_METHOD;
    if ((stat->valid & needed) != needed)
        return arena_printf(arena, "the entry of array '%s' is damaged", member);
    if (stat->encryption_method != ZIP_EM_NONE || (stat->comp_method != ZIP_CM_STORE && stat->comp_method != ZIP_CM_DEFLATE))
        return arena_printf(arena, "array '%s' is encrypted or compressed in another way than deflate", member);
    bool stored = stat->comp_method == ZIP_CM_STORE;
    if (stat->comp_size > file_size || (stored ? stat->size > file_size : !format_may_inflate_to(file_size, stat->size)))
        return arena_printf(arena, "array '%s' claims more bytes than the file can hold", member);
    return NULL;
}

static const char *npz_extract(zip_file_t *file, Bytes out)
{
    unsigned char beyond;
    size_t done = 0;
    while (done < out.size) {
        zip_int64_t got = zip_fread(file, out.data + done, out.size - done);
        if (got <= 0)
            return "the compressed data is damaged or ends too early";
        done += (size_t)got;
    }
    return zip_fread(file, &beyond, 1) == 0 ? NULL : "the compressed data is damaged"; /* the checksum is compared here */
}

static const char *npz_read_member(Arena *arena, zip_t *archive, size_t file_size, const char *member, Bytes *out)
{
    zip_int64_t index = zip_name_locate(archive, arena_printf(arena, "%s.npy", member), ZIP_FL_ENC_RAW);
    if (index < 0)
        index = zip_name_locate(archive, member, ZIP_FL_ENC_RAW);
    if (index < 0)
        return npz_list_members(arena, archive, member);
    zip_stat_t stat;
    zip_stat_init(&stat);
    if (zip_stat_index(archive, (zip_uint64_t)index, 0, &stat))
        return arena_printf(arena, "the entry of array '%s' is damaged", member);
    const char *reason = npz_check_stat(arena, &stat, file_size, member);
    if (reason)
        return reason;
    *out = (Bytes){array_new(arena, NULL, ir_type(DT_u8, 1, (int64_t[]){(int64_t)stat.size})).data, (size_t)stat.size};
    zip_file_t *file = zip_fopen_index(archive, (zip_uint64_t)index, 0);
    if (!file)
        return arena_printf(arena, "array '%s': %s", member, zip_strerror(archive));
    reason = npz_extract(file, *out); /* allocates nothing, so that the file is closed whatever happens */
    zip_fclose(file);
    return format_blame(arena, member, reason);
}

const char *npz_decode(Arena *arena, Bytes bytes, const char *member, Array *out)
{
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_create(bytes.data, bytes.size, 0, &error);
    zip_t *archive = source ? zip_open_from_source(source, ZIP_RDONLY, &error) : NULL;
    if (!archive) {
        if (source)
            zip_source_free(source);
        zip_error_fini(&error);
        return "not an .npz file: it is not a whole zip archive";
    }
    zip_error_fini(&error);
    Guard guard;
    guard_enter(&guard, arena);
    if (setjmp(guard.here)) {
        zip_discard(archive);
        guard_pass_on(&guard);
    }
    Bytes content;
    const char *reason = npz_read_member(arena, archive, bytes.size, member, &content);
    guard_leave(&guard);
    zip_discard(archive);
    return reason ? reason : format_blame(arena, member, npy_decode(arena, content, out));
}

const char *npz_read(Arena *arena, const char *path, const char *member, Array *out)
{
    Bytes bytes;
    const char *reason = file_read(arena, path, 0, &bytes);
    return reason ? reason : format_blame(arena, path, npz_decode(arena, bytes, member, out));
}
