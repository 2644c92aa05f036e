/* Windows: the parts of an instance's memory that one dispatch sees.
 *
 * A shader sees at most four storage buffers, each no longer than the device says; all of them show the one buffer that holds
 * everything.  Where that is short enough, one window shows all of it.  What is longer than a window is shown by several that
 * lie side by side. */
#include "backends/vulkan/vulkan_internal.h"

#include <stdlib.h>

enum { WINDOW_ALIGNMENT = 256 }; /* no device asks for more */

int windows_count(const unsigned char *window, int args)
{
    int count = 1;
    for (int i = 0; i < args; i++)
        if (window_first(window[i]) + window_span(window[i]) > count)
            count = window_first(window[i]) + window_span(window[i]);
    return count;
}

static int by_first(const void *a, const void *b)
{
    const Range *x = *(const Range *const *)a, *y = *(const Range *const *)b;
    return (x->first > y->first) - (x->first < y->first);
}

/* So many windows from the first on lie side by side, up to the last. */
static int side_by_side(const Device *device, const Windows *windows, int first, int last)
{
    int count = 1;
    while (first + count <= last && windows->start[first + count] == windows->start[first] + count * device->window_bytes)
        count++;
    return count;
}

/* Whether windows that are there show the range: as few as can be. */
static bool is_shown(const Device *device, const Windows *windows, int last, const Range *range, unsigned char *window)
{
    int best = MOST_WINDOWS + 1;
    for (int first = 0; first <= last; first++) {
        int64_t start = windows->start[first], needed = parts_of(range->end - start, device->window_bytes);
        bool begins = range->first >= start && range->first < start + device->window_bytes;
        needed = needed < 1 ? 1 : needed; /* of nothing */
        if (!begins || needed > side_by_side(device, windows, first, last) || needed >= best)
            continue;
        best = (int)needed;
        *window = (unsigned char)(first | (best - 1) << 4);
    }
    return best <= MOST_WINDOWS;
}

/* From the lowest range on, windows begin with the first one that those before do not show. */
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
        const Range *range = sorted[i];
        if (is_shown(device, windows, last, range, &window[range - ranges]))
            continue;
        int64_t start = range->first / WINDOW_ALIGNMENT * WINDOW_ALIGNMENT, end = start;
        do {
            if (++last == MOST_WINDOWS)
                return false;
            windows->start[last] = end;
            end += device->window_bytes;
        } while (end < range->end);
        is_shown(device, windows, last, range, &window[range - ranges]);
    }
    return true;
}

void windows_print(const Device *device, unsigned char window, int size, const char *head, const char *before,
                   const char *between, const char *behind, Text *out)
{
    long long each = device->window_bytes / size;
    int span = window_span(window);
    while ((span - 1) * each > INT32_MAX) /* no place lies there: they are numbers of 32 bits */
        span--;
    text_printf(out, "%s\n", head);
    for (int i = 0; i < span; i++) {
        if (i + 1 < span)
            text_printf(out, "  if (at < %lld) ", (i + 1) * each);
        text_printf(out, "  { %s%d%sat - %lld%s }\n", before, window_first(window) + i, between, i * each, behind);
    }
    text_puts(out, "}\n");
}

int windows_shortest(const Range *ranges, const bool *left_out, int count)
{
    int shortest = -1;
    for (int i = 0; i < count; i++)
        if (!left_out[i] && (shortest < 0 || ranges[i].end - ranges[i].first < ranges[shortest].end - ranges[shortest].first))
            shortest = i;
    return shortest;
}
