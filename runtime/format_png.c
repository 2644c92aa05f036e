/* PNG images, alone or as the samples of a folder, by libpng's one-call interface. */
#include "runtime/format_internal.h"

#include <dirent.h>
#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The largest sides that are read: far above any picture, low enough that no product of them overflows. */
enum { LARGEST_SIDE = 1 << 20 };

static uint32_t png_number_at(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Compares what the first chunk claims with what so many bytes can hold, before libpng or anybody allocates for it. */
static const char *png_check_claim(Bytes bytes)
{
    static const unsigned char start[16] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    static const int channels_of[] = {1, 0, 3, 1, 2, 0, 4};
    if (bytes.size < 33 || memcmp(bytes.data, start, sizeof start))
        return "not a PNG file";
    uint32_t width = png_number_at(bytes.data + 16), height = png_number_at(bytes.data + 20);
    unsigned depth = bytes.data[24], colour = bytes.data[25];
    if (!width || !height || width > LARGEST_SIDE || height > LARGEST_SIDE || depth > 16 || colour > 6)
        return "the header is damaged, or the image is too large";
    size_t row = ((size_t)width * depth * (unsigned)channels_of[colour] + 7) / 8;
    return format_may_inflate_to(bytes.size, row * height) ? NULL : "claims more pixels than the file can hold";
}

/* Reads the header.  On success the caller ends with png_image_free or png_image_finish_read. */
static const char *png_begin(Arena *arena, Bytes bytes, png_image *image, IrType *type)
{
    const char *reason = png_check_claim(bytes);
    if (reason)
        return reason;
    *image = (png_image){.version = PNG_IMAGE_VERSION};
    if (!png_image_begin_read_from_memory(image, bytes.data, bytes.size)) {
        png_image_free(image);
        return arena_printf(arena, "cannot read this PNG: %s", image->message);
    }
    image->format &= PNG_FORMAT_FLAG_COLOR | PNG_FORMAT_FLAG_ALPHA;
    image->flags |= PNG_IMAGE_FLAG_16BIT_sRGB; /* deep files are scaled like shallow ones, not taken for linear light */
    *type = ir_type(DT_u8, 3, (int64_t[]){image->height, image->width, PNG_IMAGE_PIXEL_CHANNELS(image->format)});
    return NULL;
}

static const char *png_header(Arena *arena, Bytes bytes, IrType *type)
{
    png_image image;
    const char *reason = png_begin(arena, bytes, &image, type);
    if (!reason)
        png_image_free(&image);
    return reason;
}

static const char *png_pixels(Arena *arena, Bytes bytes, void *pixels)
{
    png_image image;
    IrType type;
    const char *reason = png_begin(arena, bytes, &image, &type);
    if (reason || png_image_finish_read(&image, NULL, pixels, 0, NULL))
        return reason;
    png_image_free(&image);
    return arena_printf(arena, "cannot read this PNG: %s", image.message);
}

const char *png_decode(Arena *arena, Bytes bytes, Array *out)
{
    IrType type;
    const char *reason = png_header(arena, bytes, &type); /* and closes: nothing of libpng lives while the arena grows */
    if (reason)
        return reason;
    *out = array_new(arena, NULL, type);
    return png_pixels(arena, bytes, out->data);
}

const char *png_read(Arena *arena, const char *path, Array *out)
{
    Bytes bytes;
    const char *reason = file_read(arena, path, 0, &bytes);
    return reason ? reason : format_blame(arena, path, png_decode(arena, bytes, out));
}

const char *png_write(Arena *arena, const char *path, const Array *image)
{
    static const png_uint_32 formats[] = {PNG_FORMAT_GRAY, PNG_FORMAT_GA, PNG_FORMAT_RGB, PNG_FORMAT_RGBA};
    const IrType *type = &image->type;
    int64_t channels = type->rank == 3 ? type->dim[2] : 1;
    if (type->dtype != DT_u8 || (type->rank != 2 && type->rank != 3) || channels < 1 || channels > 4 || type->dim[0] < 1 ||
        type->dim[1] < 1 || type->dim[0] > LARGEST_SIDE || type->dim[1] > LARGEST_SIDE)
        return arena_printf(arena, "cannot write '%s': %s is no image", path, array_type_text(arena, type));
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)type->dim[1],
                     .height = (png_uint_32)type->dim[0],
                     .format = formats[channels - 1]};
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png);
    void *bytes = arena_alloc(arena, size);
    if (!png_image_write_to_memory(&png, bytes, &size, 0, image->data, 0, NULL))
        return arena_printf(arena, "cannot write '%s': %s", path, png.message);
    return file_write_atomic(arena, path, bytes, size);
}

/* ---- folders ---- */

typedef LIST(const char *) NameList;

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void collect_names(Arena *arena, DIR *folder, const char *path, NameList *names)
{
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        size_t length = strlen(entry->d_name);
        if (length > 4 && entry->d_name[0] != '.' && !strcasecmp(entry->d_name + length - 4, ".png"))
            list_push(arena, names, path_join(arena, path, entry->d_name));
    }
}

static const char *list_folder(Arena *arena, const char *path, NameList *names)
{
    DIR *folder = opendir(path);
    if (!folder)
        return arena_printf(arena, "cannot open the folder '%s': %s", path, strerror(errno));
    Guard guard;
    guard_enter(&guard, arena);
    if (setjmp(guard.here)) {
        closedir(folder);
        guard_pass_on(&guard);
    }
    collect_names(arena, folder, path, names);
    guard_leave(&guard);
    closedir(folder);
    if (!names->count)
        return arena_printf(arena, "the folder '%s' has no .png files", path);
    qsort(names->items, (size_t)names->count, sizeof *names->items, compare_names);
    return NULL;
}

/* All headers are looked at before memory for the whole folder is asked for. */
static const char *check_folder(Arena *arena, const NameList *names, IrType *type)
{
    for (int i = 0; i < names->count; i++) {
        ArenaMark mark = arena_mark(arena);
        Bytes bytes;
        IrType here = {0};
        const char *reason = file_read(arena, names->items[i], 0, &bytes);
        if (!reason)
            reason = format_blame(arena, names->items[i], png_header(arena, bytes, &here));
        if (reason)
            return reason;
        if (i && !ir_type_equal(type, &here))
            return arena_printf(arena, "'%s' is %s, but '%s' is %s: a folder's images are of one size and kind",
                                names->items[i], array_type_text(arena, &here), names->items[0], array_type_text(arena, type));
        *type = here;
        arena_rewind(arena, mark);
    }
    return NULL;
}

const char *png_folder_read(Arena *arena, const char *path, Array *out)
{
    NameList names = {0};
    IrType one;
    const char *reason = list_folder(arena, path, &names);
    if (!reason)
        reason = check_folder(arena, &names, &one);
    if (reason)
        return reason;
    *out = array_new(arena, NULL, ir_type(DT_u8, 4, (int64_t[]){names.count, one.dim[0], one.dim[1], one.dim[2]}));
    size_t size = array_bytes(out) / (size_t)names.count;
    for (int i = 0; i < names.count; i++) {
        ArenaMark mark = arena_mark(arena);
        Bytes bytes;
        IrType again;
        reason = file_read(arena, names.items[i], 0, &bytes);
        if (!reason)
            reason = png_header(arena, bytes, &again);
        if (!reason && !ir_type_equal(&one, &again))
            reason = "changed while it was read";
        if (!reason)
            reason = png_pixels(arena, bytes, (char *)out->data + size * (size_t)i);
        if (reason)
            return format_blame(arena, names.items[i], reason);
        arena_rewind(arena, mark);
    }
    return NULL;
}
