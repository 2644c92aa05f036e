/* Files: whole reads, and writes that are seen whole or not at all. */
#include "base/file.h"

#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct FileWriter {
    Arena *arena;
    char *path, *temporary;
    int fd;
    const char *failure;
};

static const char *reason(Arena *arena, const char *doing, const char *path)
{
    return arena_printf(arena, "cannot %s '%s': %s", doing, path, strerror(errno));
}

static const char *read_all(Arena *arena, int fd, const char *path, size_t size, Bytes *bytes)
{
    bytes->data = arena_alloc(arena, size + 1);
    bytes->size = 0;
    while (bytes->size < size) {
        ssize_t got = read(fd, bytes->data + bytes->size, size - bytes->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return reason(arena, "read", path);
        if (got == 0)
            break;
        bytes->size += (size_t)got;
    }
    return NULL;
}

const char *file_read(Arena *arena, const char *path, size_t limit, Bytes *bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe without a writer would keep us waiting */
    if (fd < 0)
        return reason(arena, "open", path);
    struct stat info;
    const char *failure = NULL;
    if (fstat(fd, &info) < 0)
        failure = reason(arena, "read", path);
    else if (!S_ISREG(info.st_mode))
        failure = arena_printf(arena, "'%s' is not a regular file", path);
    else if (limit && (uint64_t)info.st_size > limit)
        failure = arena_printf(arena, "'%s' has %lld bytes; at most %zu are read", path, (long long)info.st_size, limit);
    else if (info.st_size > memory_available())
        failure = arena_printf(arena, "'%s' has %s, more than the memory that is free (%s)", path,
                               memory_text(arena, info.st_size), memory_text(arena, memory_available()));
    else
        failure = read_all(arena, fd, path, (size_t)info.st_size, bytes);
    close(fd);
    return failure;
}

const char *file_writer_open(Arena *arena, const char *path, FileWriter **out)
{
    FileWriter *writer = arena_new_of(arena, FileWriter);
    *out = writer;
    writer->arena = arena;
    writer->path = arena_copy_text(arena, path, strlen(path));
    for (unsigned attempt = 0; attempt < 100; attempt++) { /* mkstemp would make a file that only its owner may read */
        writer->temporary = arena_printf(arena, "%s.%ld.%u", path, (long)getpid(), attempt);
        writer->fd = open(writer->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (writer->fd >= 0 || errno != EEXIST)
            break;
    }
    if (writer->fd < 0)
        return writer->failure = reason(arena, "write", path);
    return NULL;
}

void file_writer_add(FileWriter *writer, const void *bytes, size_t size)
{
    const char *next = bytes;
    while (size && !writer->failure) {
        ssize_t put = write(writer->fd, next, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            writer->failure = reason(writer->arena, "write", writer->path);
            return;
        }
        next += put;
        size -= (size_t)put;
    }
}

/* A rename is durable only when the directory that holds the name is. */
static void flush_directory(FileWriter *writer)
{
    int fd = open(path_directory(writer->arena, writer->path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

const char *file_writer_commit(FileWriter *writer)
{
    if (writer->fd >= 0) {
        if (!writer->failure && fsync(writer->fd) < 0)
            writer->failure = reason(writer->arena, "write", writer->path);
        if (close(writer->fd) < 0 && !writer->failure)
            writer->failure = reason(writer->arena, "write", writer->path);
        writer->fd = -1;
        if (!writer->failure && rename(writer->temporary, writer->path) < 0)
            writer->failure = reason(writer->arena, "write", writer->path);
        if (writer->failure)
            unlink(writer->temporary);
        else
            flush_directory(writer);
    }
    return writer->failure;
}

void file_writer_abandon(FileWriter *writer)
{
    if (writer->fd < 0)
        return;
    close(writer->fd);
    unlink(writer->temporary);
    writer->fd = -1;
}

const char *file_write_atomic(Arena *arena, const char *path, const void *bytes, size_t size)
{
    FileWriter *writer;
    const char *failure = file_writer_open(arena, path, &writer);
    if (failure)
        return failure;
    file_writer_add(writer, bytes, size);
    return file_writer_commit(writer);
}

/* Temporary files are named PATH.PROCESS.ATTEMPT; one whose process is gone will never be renamed. */
bool file_is_leftover(const char *name)
{
    const char *end = name + strlen(name), *dot = end;
    for (int dots = 0; dots < 2 && dot > name; dots += *dot == '.')
        dot--;
    long process;
    unsigned attempt;
    int length = 0;
    return sscanf(dot, ".%ld.%u%n", &process, &attempt, &length) == 2 && dot + length == end && process > 0 &&
           kill((pid_t)process, 0) < 0 && errno == ESRCH;
}

void file_remove_leftovers(Arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    size_t length = strlen(base);
    DIR *directory = opendir(path_directory(arena, path));
    for (struct dirent *entry; directory && (entry = readdir(directory)) != NULL;) {
        const char *name = entry->d_name;
        if (strncmp(name, base, length) == 0 && name[length] == '.' && file_is_leftover(name))
            unlinkat(dirfd(directory), name, 0);
    }
    if (directory)
        closedir(directory);
}

bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

const char *file_make_directories(Arena *arena, const char *path)
{
    char *part = arena_copy_text(arena, path, strlen(path));
    for (char *at = part + 1; part[0]; at++) {
        bool last = *at == 0;
        if (!last && *at != '/')
            continue;
        *at = 0;
        struct stat info;
        int made = mkdir(part, 0777), failure = errno;
        bool there = stat(part, &info) == 0;
        if (made < 0 && there && !S_ISDIR(info.st_mode))
            return arena_printf(arena, "'%s' is not a directory", part);
        errno = failure;
        if (made < 0 && !there)
            return reason(arena, "make the directory", part);
        if (last)
            break;
        *at = '/';
    }
    return NULL;
}

const char *file_make_private_directory(Arena *arena, const char *path)
{
    struct stat info;
    const char *failure = file_make_directories(arena, path_directory(arena, path));
    if (failure)
        return failure;
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return reason(arena, "make the directory", path);
    if (stat(path, &info) < 0)
        return reason(arena, "look at", path);
    if (!S_ISDIR(info.st_mode))
        return arena_printf(arena, "'%s' is not a directory", path);
    if (info.st_uid != geteuid())
        return arena_printf(arena, "'%s' belongs to another user", path);
    return info.st_mode & 022 ? arena_printf(arena, "others may write to '%s'", path) : NULL;
}

const char *file_lock_directory(Arena *arena, const char *path, int *lock)
{
    *lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0)
        return reason(arena, "open the directory", path);
    if (!flock(*lock, LOCK_EX | LOCK_NB))
        return NULL;
    bool taken = errno == EWOULDBLOCK;
    close(*lock);
    *lock = -1;
    return taken ? arena_printf(arena, "'%s' is in use by another run", path) : NULL;
}

const char *path_join(Arena *arena, const char *directory, const char *name)
{
    if (name[0] == '/' || !strcmp(directory, ".") || !directory[0])
        return arena_copy_text(arena, name, strlen(name));
    return arena_printf(arena, "%s/%s", directory, name);
}

const char *path_directory(Arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return ".";
    return slash == path ? "/" : arena_copy_text(arena, path, (size_t)(slash - path));
}
