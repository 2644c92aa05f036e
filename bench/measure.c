/* Medians of pairs, and the lines that are printed. */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void pairs_add(Pairs *pairs, double value, double against)
{
    if (pairs->count == MOST_SAMPLES)
        return;
    pairs->value[pairs->count] = value;
    pairs->against[pairs->count++] = against;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, int count)
{
    double sorted[MOST_SAMPLES];
    memcpy(sorted, values, (size_t)count * sizeof *values);
    qsort(sorted, (size_t)count, sizeof *sorted, by_size);
    return count ? (sorted[(count - 1) / 2] + sorted[count / 2]) / 2 : 0;
}

static void print_line(const char *name, const char *unit, double value, const char *against, double against_value,
                       double ratio)
{
    printf("{\"name\": \"%s\", \"value\": %.5g, \"unit\": \"%s\", ", name, value, unit);
    if (against)
        printf("\"against\": \"%s\", \"against_value\": %.5g, \"ratio\": %.4g}\n", against, against_value, ratio);
    else
        printf("\"against\": null, \"against_value\": null, \"ratio\": null}\n");
    fflush(stdout);
}

void print_pairs(const char *name, const char *unit, const char *against, const Pairs *pairs)
{
    double ratio[MOST_SAMPLES];
    for (int i = 0; i < pairs->count; i++)
        ratio[i] = pairs->value[i] / pairs->against[i];
    print_line(name, unit, median(pairs->value, pairs->count), against, median(pairs->against, pairs->count),
               median(ratio, pairs->count));
}

void print_value(const char *name, const char *unit, double value)
{
    print_line(name, unit, value, NULL, 0, 0);
}
