/* safetensors: the length of a JSON header, the header, and the bytes of all arrays without holes. */
#include "runtime/format_internal.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_HEADER = 100000000, NO_DTYPE = -1, DATA_ALIGNMENT = 64 };

/* Element types of the format; those that cm lacks still have a size, so that files which hold some can be checked. */
static const struct {
    const char *text;
    int bits;
    int dtype;
} safetensors_types[] = {
    {"F32", 32, DT_f32},      {"F64", 64, DT_f64},          {"F16", 16, DT_f16},          {"BF16", 16, DT_bf16},
    {"I32", 32, DT_i32},      {"U32", 32, DT_u32},          {"BOOL", 8, DT_bool},         {"U8", 8, DT_u8},
    {"I64", 64, DT_i64},      {"U64", 64, NO_DTYPE},        {"I16", 16, NO_DTYPE},        {"U16", 16, NO_DTYPE},
    {"I8", 8, NO_DTYPE},      {"C64", 64, NO_DTYPE},        {"F8_E4M3", 8, NO_DTYPE},     {"F8_E5M2", 8, NO_DTYPE},
    {"F8_E8M0", 8, NO_DTYPE}, {"F8_E4M3FNUZ", 8, NO_DTYPE}, {"F8_E5M2FNUZ", 8, NO_DTYPE}, {"F6_E2M3", 6, NO_DTYPE},
    {"F6_E3M2", 6, NO_DTYPE}, {"F4", 4, NO_DTYPE},
};
enum { TYPE_COUNT = sizeof safetensors_types / sizeof *safetensors_types };

typedef struct Entry {
    Array array;
    const char *type_text; /* set where cm lacks the type */
    uint64_t begin, end;
} Entry;

/* ---- reading the header ---- */

static const char *entry_shape(Arena *arena, json_t *shape, const char *name, Entry *entry)
{
    if (!json_is_array(shape))
        return arena_printf(arena, "array '%s' has no shape", name);
    if (json_array_size(shape) > IR_MAX_RANK)
        return arena_printf(arena, "array '%s' has more than %d axes", name, IR_MAX_RANK);
    entry->array.type.rank = (int)json_array_size(shape);
    for (int axis = 0; axis < entry->array.type.rank; axis++) {
        json_t *dim = json_array_get(shape, (size_t)axis);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0)
            return arena_printf(arena, "array '%s' has a shape that is not made of sizes", name);
        entry->array.type.dim[axis] = json_integer_value(dim);
    }
    return NULL;
}

static const char *entry_offsets(Arena *arena, json_t *offsets, const char *name, Entry *entry)
{
    json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) || json_integer_value(begin) < 0 ||
        json_integer_value(end) < json_integer_value(begin))
        return arena_printf(arena, "array '%s' has no data_offsets [begin, end]", name);
    entry->begin = (uint64_t)json_integer_value(begin);
    entry->end = (uint64_t)json_integer_value(end);
    return NULL;
}

/* The size is counted in bits: some types are smaller than a byte. */
static const char *entry_check_size(Arena *arena, const char *name, int bits, const Entry *entry)
{
    IrType bytes = ir_with_dtype(entry->array.type, DT_u8);
    size_t count;
    if (!array_byte_size(&bytes, &count))
        return arena_printf(arena, "array '%s' claims more elements than fit in memory", name);
    if (count * (size_t)bits % 8 || count * (size_t)bits / 8 != entry->end - entry->begin)
        return arena_printf(arena, "array '%s' has %llu bytes, which is not the size of its shape", name,
                            (unsigned long long)(entry->end - entry->begin));
    return NULL;
}

static const char *entry_parse(Arena *arena, const char *name, json_t *value, Entry *entry)
{
    const char *type = json_string_value(json_object_get(value, "dtype"));
    int row = 0;
    while (type && row < TYPE_COUNT && strcmp(safetensors_types[row].text, type))
        row++;
    if (!type || row == TYPE_COUNT)
        return arena_printf(arena, "array '%s' has the unknown element type '%.40s'", name, type ? type : "");
    const char *reason = entry_shape(arena, json_object_get(value, "shape"), name, entry);
    if (!reason)
        reason = entry_offsets(arena, json_object_get(value, "data_offsets"), name, entry);
    if (!reason)
        reason = entry_check_size(arena, name, safetensors_types[row].bits, entry);
    if (!reason && json_object_size(value) != 3)
        reason = arena_printf(arena, "array '%s' has keys other than dtype, shape and data_offsets", name);
    entry->array.name = arena_copy_text(arena, name, strlen(name));
    if (safetensors_types[row].dtype == NO_DTYPE)
        entry->type_text = safetensors_types[row].text;
    else
        entry->array.type.dtype = (DType)safetensors_types[row].dtype;
    return reason;
}

static const char *read_metadata(Arena *arena, json_t *metadata, SafeTensors *out)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return "__metadata__ is not an object";
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return "__metadata__ holds something that is not a string";
        TextPair pair = {arena_copy_text(arena, key, strlen(key)),
                         arena_copy_text(arena, json_string_value(value), json_string_length(value))};
        list_push(arena, &out->metadata, pair);
    }
    return NULL;
}

typedef LIST(Entry) EntryList;

static const char *read_entries(Arena *arena, json_t *root, EntryList *entries, SafeTensors *out)
{
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value)
    {
        Entry entry = {0};
        bool is_metadata = !strcmp(name, "__metadata__");
        const char *reason = is_metadata ? read_metadata(arena, value, out) : entry_parse(arena, name, value, &entry);
        if (reason)
            return reason;
        if (!is_metadata)
            list_push(arena, entries, entry);
    }
    return NULL;
}

static const char *parse_header(Arena *arena, const char *text, size_t length, EntryList *entries, SafeTensors *out)
{
    json_error_t error;
    json_t *root = length && text[0] == '{' ? json_loadb(text, length, JSON_REJECT_DUPLICATES, &error) : NULL;
    if (!root)
        return "not a safetensors file: its header is not a JSON object, or names an array twice";
    Guard guard;
    guard_enter(&guard, arena);
    if (setjmp(guard.here)) {
        json_decref(root);
        guard_pass_on(&guard);
    }
    const char *reason = read_entries(arena, root, entries, out);
    guard_leave(&guard);
    json_decref(root);
    return reason;
}

/* ---- the data ---- */

static int compare_places(const void *a, const void *b)
{
    const Entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static const char *check_coverage(Arena *arena, const EntryList *entries, size_t size)
{
    uint64_t end = 0;
    for (int i = 0; i < entries->count; i++) {
        const Entry *entry = &entries->items[i];
        if (entry->begin != end)
            return arena_printf(arena, "array '%s' overlaps the one before it, or leaves a hole", entry->array.name);
        end = entry->end;
    }
    if (end != size)
        return arena_printf(arena, "its arrays take %llu bytes, its data has %zu", (unsigned long long)end, size);
    return NULL;
}

static void place_array(Arena *arena, Entry *entry, unsigned char *data, SafeTensors *out)
{
    if (entry->type_text) {
        TextPair foreign = {entry->array.name, entry->type_text};
        list_push(arena, &out->foreign, foreign);
        return;
    }
    entry->array.data = data + entry->begin;
    if ((uintptr_t)entry->array.data % (unsigned)dtype_size(entry->array.type.dtype)) {
        Array aligned = array_new(arena, entry->array.name, entry->array.type);
        memcpy(aligned.data, entry->array.data, array_bytes(&aligned));
        entry->array = aligned;
    }
    format_normalise_bools(&entry->array);
    list_push(arena, &out->arrays, entry->array);
}

const char *safetensors_decode(Arena *arena, Bytes bytes, SafeTensors *out)
{
    *out = (SafeTensors){0};
    uint64_t length = 0;
    if (bytes.size < 8)
        return "not a safetensors file: it is shorter than a header";
    for (int i = 0; i < 8; i++)
        length |= (uint64_t)bytes.data[i] << 8 * i;
    if (length > LONGEST_HEADER || length > bytes.size - 8)
        return "not a safetensors file, or ends inside its header";
    EntryList entries = {0};
    const char *reason = parse_header(arena, (const char *)bytes.data + 8, (size_t)length, &entries, out);
    if (reason)
        return reason;
    if (entries.count)
        qsort(entries.items, (size_t)entries.count, sizeof *entries.items, compare_places);
    reason = check_coverage(arena, &entries, bytes.size - 8 - (size_t)length);
    for (int i = 0; !reason && i < entries.count; i++)
        place_array(arena, &entries.items[i], bytes.data + 8 + length, out);
    return reason;
}

const char *safetensors_read(Arena *arena, const char *path, SafeTensors *out)
{
    Bytes bytes;
    const char *reason = file_read(arena, path, 0, &bytes);
    return reason ? reason : format_blame(arena, path, safetensors_decode(arena, bytes, out));
}

static const char *explain_absence(Arena *arena, const SafeTensors *file, const char *name)
{
    for (int i = 0; i < file->foreign.count; i++)
        if (!strcmp(file->foreign.items[i].key, name))
            return arena_printf(arena, "array '%s' has element type %s, which cm lacks", name, file->foreign.items[i].value);
    Text text = text_new(arena);
    text_printf(&text, "has no array '%s'; it has", name);
    for (int i = 0; i < file->arrays.count && i < 10; i++)
        text_printf(&text, "%s '%s'", i ? "," : "", file->arrays.items[i].name);
    text_puts(&text, file->arrays.count > 10 ? " and more" : file->arrays.count ? "" : " none");
    return text.data;
}

const char *safetensors_read_one(Arena *arena, const char *path, const char *name, Array *out)
{
    SafeTensors file;
    const char *reason = safetensors_read(arena, path, &file);
    if (reason)
        return reason;
    const Array *found = array_find(file.arrays.items, file.arrays.count, name);
    if (!found)
        return format_blame(arena, path, explain_absence(arena, &file, name));
    *out = *found;
    return NULL;
}

const char *safetensors_metadata(const SafeTensors *file, const char *key)
{
    for (int i = 0; i < file->metadata.count; i++)
        if (!strcmp(file->metadata.items[i].key, key))
            return file->metadata.items[i].value;
    return NULL;
}

/* ---- writing ---- */

static void add_json_string(Text *text, const char *string)
{
    text_puts(text, "\"");
    for (const char *at = string; *at; at++) {
        if (*at == '"' || *at == '\\')
            text_printf(text, "\\%c", *at);
        else if ((unsigned char)*at < ' ')
            text_printf(text, "\\u%04x", (unsigned)*at);
        else
            text_add(text, at, 1);
    }
    text_puts(text, "\"");
}

static void add_json_entry(Text *text, const Array *array, size_t begin)
{
    const char *type = "";
    for (int i = 0; i < TYPE_COUNT; i++)
        if (safetensors_types[i].dtype == (int)array->type.dtype)
            type = safetensors_types[i].text;
    add_json_string(text, array->name);
    text_printf(text, ":{\"dtype\":\"%s\",\"shape\":[", type);
    for (int axis = 0; axis < array->type.rank; axis++)
        text_printf(text, "%s%lld", axis ? "," : "", (long long)array->type.dim[axis]);
    text_printf(text, "],\"data_offsets\":[%zu,%zu]}", begin, begin + array_bytes(array));
}

static int compare_for_writing(const void *a, const void *b)
{
    const Array *x = *(const Array *const *)a, *y = *(const Array *const *)b;
    int difference = dtype_size(y->type.dtype) - dtype_size(x->type.dtype);
    return difference ? difference : strcmp(x->name, y->name);
}

static Text write_header(Arena *arena, const Array *const *order, int count, const TextPair *metadata, int metadata_count)
{
    Text text = text_new(arena);
    size_t begin = 0;
    text_add(&text, "\0\0\0\0\0\0\0\0{", 9);
    if (metadata_count)
        text_puts(&text, "\"__metadata__\":{");
    for (int i = 0; i < metadata_count; i++) {
        text_puts(&text, i ? "," : "");
        add_json_string(&text, metadata[i].key);
        text_puts(&text, ":");
        add_json_string(&text, metadata[i].value);
    }
    text_puts(&text, metadata_count ? "}" : "");
    for (int i = 0; i < count; i++) {
        text_puts(&text, i || metadata_count ? "," : "");
        add_json_entry(&text, order[i], begin);
        begin += array_bytes(order[i]);
    }
    text_puts(&text, "}");
    while (text.length % DATA_ALIGNMENT)
        text_puts(&text, " ");
    for (int i = 0; i < 8; i++)
        text.data[i] = (char)((uint64_t)(text.length - 8) >> 8 * i);
    return text;
}

static const char *find_repeated_name(Arena *arena, const Array *arrays, int count)
{
    Table seen = table_new(arena);
    for (int i = 0; i < count; i++) {
        if (!arrays[i].name || !strcmp(arrays[i].name, "__metadata__") || table_get(&seen, arrays[i].name))
            return arrays[i].name ? arrays[i].name : "";
        table_put(&seen, arrays[i].name, (void *)&arrays[i]);
    }
    return NULL;
}

const char *safetensors_write(Arena *arena, const char *path, const Array *arrays, int count, const TextPair *metadata,
                              int metadata_count)
{
    const char *repeated = find_repeated_name(arena, arrays, count);
    if (repeated)
        return arena_printf(arena, "cannot write '%s': it would hold two arrays named '%s'", path, repeated);
    const Array **order = arena_array(arena, const Array *, count);
    for (int i = 0; i < count; i++)
        order[i] = &arrays[i];
    if (count)
        qsort(order, (size_t)count, sizeof *order, compare_for_writing);
    Text header = write_header(arena, order, count, metadata, metadata_count);
    FileWriter *writer;
    const char *reason = file_writer_open(arena, path, &writer);
    if (reason)
        return reason;
    file_writer_add(writer, header.data, header.length);
    for (int i = 0; i < count; i++)
        file_writer_add(writer, order[i]->data, array_bytes(order[i]));
    return file_writer_commit(writer);
}
