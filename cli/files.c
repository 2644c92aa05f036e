/* Writing files of the command line: whole or not at all. */
#include "cli/cli.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };

int make_parent_directories(const Options *options, const char *path)
{
    char part[PATH_SIZE];
    size_t length = strlen(path);
    if (length >= sizeof part)
        return fault(options, CM_IO_ERROR, "the path is too long: %s", path);
    for (size_t i = 1; i < length; i++) {
        if (path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return fault(options, CM_IO_ERROR, "cannot make the directory '%s': %s", part, strerror(errno));
    }
    return STATUS_DONE;
}

static bool write_to(const char *path, const char *text, size_t length)
{
    FILE *out = fopen(path, "wb");
    if (!out)
        return false;
    bool written = fwrite(text, 1, length, out) == length;
    return fclose(out) == 0 && written;
}

/* A terminal or a pipe is written to, not replaced. */
static bool is_special(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && !S_ISREG(status.st_mode);
}

static bool replace(const char *path, const char *text, size_t length)
{
    char temporary[PATH_SIZE];
    struct stat status;
    if ((size_t)snprintf(temporary, sizeof temporary, "%s.%ld.new", path, (long)getpid()) >= sizeof temporary) {
        errno = ENAMETOOLONG;
        return false;
    }
    bool written = write_to(temporary, text, length);
    if (written && stat(path, &status) == 0)
        written = chmod(temporary, status.st_mode & 07777) == 0;
    if (written && rename(temporary, path) == 0)
        return true;
    int reason = errno;
    unlink(temporary);
    errno = reason;
    return false;
}

int write_file(const Options *options, const char *path, const char *text)
{
    size_t length = strlen(text);
    if (is_special(path) ? write_to(path, text, length) : replace(path, text, length))
        return STATUS_DONE;
    return fault(options, CM_IO_ERROR, "cannot write '%s': %s", path, strerror(errno));
}
