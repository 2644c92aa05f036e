/* Memory: the numbers that Linux gives in /proc and /sys, and the limits of the process. */
#include "base/memory.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* What a program can get without others being swapped out, and the free swap space. */
static int64_t left_in_system(void)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    long long kibibytes, total = 0;
    bool known = false;
    while (file && fgets(line, sizeof line, file)) {
        if (sscanf(line, "MemAvailable: %lld", &kibibytes) == 1) {
            known = true;
            total += kibibytes;
        } else if (sscanf(line, "SwapFree: %lld", &kibibytes) == 1) {
            total += kibibytes;
        }
    }
    if (file)
        fclose(file);
    return known ? total * 1024 : INT64_MAX;
}

/* "max", and a file that is not there, are no limit. */
static int64_t number_in(const char *path, int64_t otherwise)
{
    FILE *file = fopen(path, "re");
    long long number = otherwise;
    if (file && fscanf(file, "%lld", &number) != 1)
        number = otherwise;
    if (file)
        fclose(file);
    return number;
}

/* A container sees its own group at the root.  What the group uses may be files that the system drops when asked to, so the
 * limit stands alone. */
static int64_t limit_of_group(void)
{
    return smaller(number_in("/sys/fs/cgroup/memory.max", INT64_MAX),
                   number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes", INT64_MAX));
}

static int64_t left_in_address_space(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > INT64_MAX)
        return INT64_MAX;
    int64_t used = number_in("/proc/self/statm", 0) * sysconf(_SC_PAGESIZE);
    return used < (int64_t)limit.rlim_cur ? (int64_t)limit.rlim_cur - used : 0;
}

int64_t memory_available(void)
{
    return smaller(smaller(left_in_system(), limit_of_group()), left_in_address_space());
}

const char *memory_text(Arena *arena, int64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    int unit = 0;
    while (value >= 1024 && unit < 5) {
        value /= 1024;
        unit++;
    }
    return arena_printf(arena, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}
