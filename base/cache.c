/* Files of the cache: a header that says what they are and what they must add up to, then the content. */
#include "base/cache.h"

#include "base/table.h"

#include <dirent.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const int64_t CACHE_BYTES = (int64_t)512 << 20;
static const char SUFFIX[] = ".kernel";

typedef struct Header {
    char magic[8];
    uint64_t key, size, checksum;
} Header;
static const char MAGIC[8] = "cmcache";

/* ---- the key ---- */

/* Code from another build of this library may differ though the kernel does not: the linker's build id tells. */
static int add_build_id(struct dl_phdr_info *info, size_t size, void *state)
{
    (void)size;
    bool ours = false;
    uintptr_t here = (uintptr_t)&MAGIC;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + part->p_vaddr;
        ours |= part->p_type == PT_LOAD && here >= start && here < start + part->p_memsz;
    }
    for (int i = 0; ours && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_NOTE)
            *(uint64_t *)state =
                hash_bytes((const void *)(info->dlpi_addr + part->p_vaddr), part->p_filesz, *(uint64_t *)state);
    }
    return ours;
}

uint64_t cache_key(const void *facts, size_t size)
{
    uint64_t build = hash_bytes(CM_VERSION, strlen(CM_VERSION), 0);
    dl_iterate_phdr(add_build_id, &build);
    return hash_bytes(facts, size, build);
}

/* ---- files ---- */

static const char *entry_path(Arena *arena, const char *directory, uint64_t key)
{
    return path_join(arena, directory, arena_printf(arena, "%016llx%s", (unsigned long long)key, SUFFIX));
}

static bool is_private(const struct stat *status)
{
    return status->st_uid == geteuid() && (status->st_mode & 022) == 0;
}

static bool read_fully(int file, unsigned char *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t got = read(file, bytes + done, size - done);
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

static unsigned char *read_entry(Arena *arena, const char *path, size_t *size)
{
    int file = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return NULL;
    struct stat status;
    unsigned char *bytes = NULL;
    if (fstat(file, &status) == 0 && S_ISREG(status.st_mode) && is_private(&status) && status.st_size < CACHE_BYTES &&
        status.st_size >= (off_t)sizeof(Header)) {
        *size = (size_t)status.st_size;
        bytes = arena_alloc(arena, *size);
        if (!read_fully(file, bytes, *size))
            bytes = NULL;
        else
            futimens(file, NULL); /* trimming drops what was not used for longest */
    }
    close(file);
    return bytes;
}

bool cache_read(Arena *arena, const char *directory, uint64_t key, Bytes *content)
{
    struct stat status;
    if (stat(directory, &status) != 0 || !is_private(&status))
        return false;
    size_t size = 0;
    unsigned char *bytes = read_entry(arena, entry_path(arena, directory, key), &size);
    if (!bytes)
        return false;
    Header header;
    memcpy(&header, bytes, sizeof header);
    *content = (Bytes){bytes + sizeof header, size - sizeof header};
    return memcmp(header.magic, MAGIC, sizeof MAGIC) == 0 && header.key == key && header.size == content->size &&
           header.checksum == hash_bytes(content->data, content->size, key);
}

const char *cache_write(Arena *arena, const char *directory, uint64_t key, Bytes content)
{
    const char *reason = file_make_private_directory(arena, directory);
    if (reason)
        return reason;
    Header header = {.key = key, .size = content.size, .checksum = hash_bytes(content.data, content.size, key)};
    memcpy(header.magic, MAGIC, sizeof MAGIC);
    unsigned char *bytes = arena_alloc(arena, sizeof header + content.size);
    memcpy(bytes, &header, sizeof header);
    memcpy(bytes + sizeof header, content.data, content.size);
    return file_write_atomic(arena, entry_path(arena, directory, key), bytes, sizeof header + content.size);
}

/* ---- trimming ---- */

typedef struct Entry {
    const char *path;
    int64_t bytes;
    struct timespec used;
} Entry;

static int by_last_use(const void *a, const void *b)
{
    const Entry *x = a, *y = b;
    if (x->used.tv_sec != y->used.tv_sec)
        return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
    return (x->used.tv_nsec > y->used.tv_nsec) - (x->used.tv_nsec < y->used.tv_nsec);
}

static bool is_entry(const char *name)
{
    size_t length = strlen(name), tail = sizeof SUFFIX - 1;
    return length > tail && strcmp(name + length - tail, SUFFIX) == 0;
}

void cache_trim(Arena *arena, const char *directory)
{
    DIR *open = opendir(directory);
    if (!open)
        return;
    LIST(Entry) entries = {0};
    int64_t total = 0;
    for (struct dirent *item; (item = readdir(open)) != NULL;) {
        struct stat status;
        if (strstr(item->d_name, SUFFIX) && file_is_leftover(item->d_name))
            unlinkat(dirfd(open), item->d_name, 0);
        if (!is_entry(item->d_name))
            continue;
        Entry entry = {.path = path_join(arena, directory, item->d_name)};
        if (lstat(entry.path, &status) != 0 || !S_ISREG(status.st_mode))
            continue;
        entry.bytes = status.st_size;
        entry.used = status.st_mtim;
        total += entry.bytes;
        list_push(arena, &entries, entry);
    }
    closedir(open);
    if (total <= CACHE_BYTES)
        return;
    qsort(entries.items, (size_t)entries.count, sizeof *entries.items, by_last_use);
    for (int i = 0; i < entries.count && total > CACHE_BYTES / 4 * 3; i++) {
        total -= entries.items[i].bytes;
        unlink(entries.items[i].path);
    }
}
