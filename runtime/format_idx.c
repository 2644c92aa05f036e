/* idx files: a magic number, big-endian sizes, big-endian elements; often inside gzip. */
#include "runtime/format_internal.h"

#include <string.h>
#include <zlib.h>

enum { LONGEST_HEADER = 4 + 4 * IR_MAX_RANK, PIECE = 1 << 30 };

typedef struct IdxHeader {
    IrType type;
    size_t header_size, data_size;
} IdxHeader;

static const char *idx_element_type(Arena *arena, int code, DType *dtype)
{
    switch (code) {
    case 0x08:
        *dtype = DT_u8;
        return NULL;
    case 0x0c:
        *dtype = DT_i32;
        return NULL;
    case 0x0d:
        *dtype = DT_f32;
        return NULL;
    case 0x0e:
        *dtype = DT_f64;
        return NULL;
    case 0x09:
        return "elements are signed bytes, a type that cm lacks; write them as u8 or i32";
    case 0x0b:
        return "elements are 16-bit integers, a type that cm lacks; write them as i32";
    }
    return arena_printf(arena, "not an idx file: it names element type 0x%02x", code);
}

static const char *idx_parse_header(Arena *arena, const unsigned char *bytes, size_t size, IdxHeader *header)
{
    if (size < 4 || bytes[0] || bytes[1])
        return "not an idx file: it does not start with two zero bytes, a type and a rank";
    int rank = bytes[3];
    if (rank < 1 || rank > IR_MAX_RANK)
        return arena_printf(arena, "has %d axes; 1 to %d can be read", rank, IR_MAX_RANK);
    header->type.rank = rank;
    header->header_size = 4 + 4 * (size_t)rank;
    const char *reason = idx_element_type(arena, bytes[2], &header->type.dtype);
    if (reason)
        return reason;
    if (size < header->header_size)
        return "ends inside its header";
    for (int axis = 0; axis < rank; axis++) {
        const unsigned char *at = bytes + 4 + 4 * axis;
        header->type.dim[axis] = (int64_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
    }
    if (!array_byte_size(&header->type, &header->data_size))
        return "claims more elements than fit in memory";
    return NULL;
}

/* What compressed data hold beyond the claim is not counted. */
static const char *idx_size_mismatch(Arena *arena, const IdxHeader *header, size_t there)
{
    const char *claim =
        arena_printf(arena, "header says %s, %zu bytes of data;", array_type_text(arena, &header->type), header->data_size);
    return there > header->data_size ? arena_printf(arena, "%s the file has more", claim)
                                     : arena_printf(arena, "%s the file has %zu", claim, there);
}

static void idx_finish(Array *out)
{
    int size = dtype_size(out->type.dtype);
    if (size > 1)
        array_swap_bytes(out->data, (int64_t)array_bytes(out) / size, size);
}

static const char *idx_decode_plain(Arena *arena, Bytes bytes, Array *out)
{
    IdxHeader header = {0};
    const char *reason = idx_parse_header(arena, bytes.data, bytes.size, &header);
    if (reason)
        return reason;
    if (bytes.size - header.header_size != header.data_size)
        return idx_size_mismatch(arena, &header, bytes.size - header.header_size);
    *out = (Array){.type = header.type, .data = bytes.data};
    memmove(bytes.data, bytes.data + header.header_size, header.data_size); /* to where it is aligned */
    idx_finish(out);
    return NULL;
}

/* ---- inside gzip ---- */

typedef struct Inflater {
    z_stream stream;
    Bytes rest; /* of the input */
    bool ended;
    const char *failure;
} Inflater;

static void *inflater_allocate(void *arena, unsigned count, unsigned size)
{
    return arena_alloc_array(arena, count, size);
}

static void inflater_release(void *arena, void *memory)
{
    (void)arena, (void)memory;
}

static void inflater_open(Inflater *inflater, Arena *arena, Bytes bytes)
{
    *inflater = (Inflater){.rest = bytes, .stream = {.zalloc = inflater_allocate, .zfree = inflater_release, .opaque = arena}};
    if (inflateInit2(&inflater->stream, 15 + 16) != Z_OK)
        inflater->failure = "cannot start to decompress";
}

static void inflater_step(Inflater *inflater)
{
    z_stream *stream = &inflater->stream;
    if (!stream->avail_in) {
        stream->next_in = inflater->rest.data;
        stream->avail_in = (unsigned)(inflater->rest.size < PIECE ? inflater->rest.size : PIECE);
        inflater->rest.data += stream->avail_in;
        inflater->rest.size -= stream->avail_in;
    }
    int status = inflate(stream, Z_NO_FLUSH);
    bool no_input = !stream->avail_in && !inflater->rest.size;
    if (status == Z_STREAM_END && no_input)
        inflater->ended = true;
    else if (status == Z_STREAM_END) /* a gzip file may be several, one after the other */
        inflateReset(stream);
    else if (status == Z_BUF_ERROR && no_input)
        inflater->failure = "the compressed data ends too early";
    else if (status != Z_OK && status != Z_BUF_ERROR)
        inflater->failure = "the compressed data is damaged";
}

static size_t inflater_read(Inflater *inflater, unsigned char *out, size_t size)
{
    size_t done = 0;
    while (done < size && !inflater->ended && !inflater->failure) {
        unsigned piece = (unsigned)(size - done < PIECE ? size - done : PIECE);
        inflater->stream.next_out = out + done;
        inflater->stream.avail_out = piece;
        inflater_step(inflater);
        done += piece - inflater->stream.avail_out;
    }
    return done;
}

static const char *idx_decode_gzip(Arena *arena, Bytes bytes, Array *out)
{
    Inflater inflater;
    inflater_open(&inflater, arena, bytes);
    unsigned char head[LONGEST_HEADER], beyond;
    size_t got = inflater_read(&inflater, head, sizeof head);
    IdxHeader header = {0};
    const char *reason = inflater.failure ? inflater.failure : idx_parse_header(arena, head, got, &header);
    if (reason)
        return reason;
    size_t early = got - header.header_size;
    if (early > header.data_size)
        return idx_size_mismatch(arena, &header, early);
    if (!format_may_inflate_to(bytes.size, header.data_size))
        return arena_printf(arena, "header says %s, %zu bytes of data, more than %zu compressed bytes can hold",
                            array_type_text(arena, &header.type), header.data_size, bytes.size);
    *out = array_new(arena, NULL, header.type);
    unsigned char *data = out->data;
    memcpy(data, head + header.header_size, early);
    early += inflater_read(&inflater, data + early, header.data_size - early);
    bool more = inflater_read(&inflater, &beyond, 1) > 0; /* also makes zlib compare the checksum */
    if (inflater.failure)
        return inflater.failure;
    if (early != header.data_size || more)
        return idx_size_mismatch(arena, &header, early + more);
    idx_finish(out);
    return NULL;
}

const char *idx_decode(Arena *arena, Bytes bytes, Array *out)
{
    if (bytes.size >= 2 && bytes.data[0] == 0x1f && bytes.data[1] == 0x8b)
        return idx_decode_gzip(arena, bytes, out);
    return idx_decode_plain(arena, bytes, out);
}

const char *idx_read(Arena *arena, const char *path, Array *out)
{
    Bytes bytes;
    const char *reason = file_read(arena, path, 0, &bytes);
    return reason ? reason : format_blame(arena, path, idx_decode(arena, bytes, out));
}
