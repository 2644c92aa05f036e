/* File formats: idx, npy, npz, safetensors and PNG, read and written.
 *
 * Files are not trusted.  A reader checks every claim of a header against the bytes that are there before it allocates or
 * touches anything; products are checked for overflow.  All functions return null on success, else a reason that names the
 * file, in the arena.  Element types that cm lacks (i16, complex, ...) are refused by name.
 *
 * `*_decode` works on bytes in memory, which it takes over: arrays may point into them, and they may be changed in place.
 * Writers replace the file atomically (base/file.h). */
#ifndef CM_RUNTIME_FORMAT_H
#define CM_RUNTIME_FORMAT_H

#include "base/file.h"
#include "runtime/array.h"

/* ---- idx (MNIST's format; big endian), plain or gzip-compressed: found by content, not by name ---- */
const char *idx_read(Arena *arena, const char *path, Array *out);
const char *idx_decode(Arena *arena, Bytes bytes, Array *out);

/* ---- NumPy .npy, versions 1 to 3; either byte order; Fortran order is transposed ---- */
const char *npy_read(Arena *arena, const char *path, Array *out);
const char *npy_decode(Arena *arena, Bytes bytes, Array *out);
/* bf16 has no name in the format: it is widened to f32. */
const char *npy_write(Arena *arena, const char *path, const Array *array);

/* ---- NumPy .npz: one array of the archive, stored or deflated ---- */
const char *npz_read(Arena *arena, const char *path, const char *member, Array *out);
const char *npz_decode(Arena *arena, Bytes bytes, const char *member, Array *out);

/* ---- safetensors ---- */
typedef struct TextPair {
    const char *key, *value;
} TextPair;

typedef struct SafeTensors {
    LIST(Array) arrays;      /* in the order of the data; misaligned ones have been copied */
    LIST(TextPair) metadata; /* the strings under __metadata__ */
    LIST(TextPair) foreign;  /* arrays whose element type cm lacks: name and type; their bytes are checked, too */
} SafeTensors;

const char *safetensors_read(Arena *arena, const char *path, SafeTensors *out);
const char *safetensors_decode(Arena *arena, Bytes bytes, SafeTensors *out);
const char *safetensors_read_one(Arena *arena, const char *path, const char *name, Array *out);
const char *safetensors_metadata(const SafeTensors *file, const char *key); /* null if absent */
/* Larger elements first, then by name, so that everything is aligned; the data starts at a multiple of 64. */
const char *safetensors_write(Arena *arena, const char *path, const Array *arrays, int count, const TextPair *metadata,
                              int metadata_count);

/* ---- PNG, 8 bits a channel; deeper files are reduced, palettes expanded ---- */
const char *png_read(Arena *arena, const char *path, Array *out); /* u8[H,W,C], C = 1 to 4: gray, gray+alpha, RGB, RGBA */
const char *png_decode(Arena *arena, Bytes bytes, Array *out);
/* Every *.png of the folder, by name; all of one size and kind: u8[N,H,W,C]. */
const char *png_folder_read(Arena *arena, const char *path, Array *out);
const char *png_write(Arena *arena, const char *path, const Array *image); /* u8[H,W] or u8[H,W,C] */

#endif
