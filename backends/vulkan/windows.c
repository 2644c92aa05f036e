/* Windows: the parts of an instance's memory that one dispatch sees.
 *
 * A shader sees at most four storage buffers, each no longer than the device says; all of them show the one buffer that holds
 * everything.  Where that is short enough, one window shows all of it. */
#include "backends/vulkan/vulkan_internal.h"

#include <stdlib.h>

enum { WINDOW_ALIGNMENT = 256 }; /* no device asks for more */

int windows_count(const unsigned char *window, int args)
{
    int count = 1;
    for (int i = 0; i < args; i++)
        count = window[i] >= count ? window[i] + 1 : count;
    return count;
}

static int by_first(const void *a, const void *b)
{
    const Range *x = *(const Range *const *)a, *y = *(const Range *const *)b;
    return (x->first > y->first) - (x->first < y->first);
}

/* From the lowest range on, a window begins with the first one that those before do not show. */
bool windows_place(Arena *arena, const Device *device, int64_t bytes, const Range *ranges, int count, Windows *windows,
                   unsigned char *window)
{
    *windows = (Windows){{0}};
    for (int i = 0; i < count; i++)
        window[i] = 0;
    if (bytes <= device->window_bytes)
        return true;
    const Range **sorted = arena_array(arena, const Range *, count + 1);
    for (int i = 0; i < count; i++)
        sorted[i] = &ranges[i];
    qsort(sorted, (size_t)count, sizeof *sorted, by_first);
    int last = -1;
    for (int i = 0; i < count; i++) {
        if (last < 0 || sorted[i]->end > windows->start[last] + device->window_bytes) {
            if (++last == MOST_WINDOWS)
                return false;
            windows->start[last] = sorted[i]->first / WINDOW_ALIGNMENT * WINDOW_ALIGNMENT;
        }
        if (sorted[i]->end > windows->start[last] + device->window_bytes)
            return false;
        window[sorted[i] - ranges] = (unsigned char)last;
    }
    return true;
}

int windows_shortest(const Range *ranges, const bool *left_out, int count)
{
    int shortest = -1;
    for (int i = 0; i < count; i++)
        if (!left_out[i] && (shortest < 0 || ranges[i].end - ranges[i].first < ranges[shortest].end - ranges[shortest].first))
            shortest = i;
    return shortest;
}
