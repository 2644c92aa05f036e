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

static void print_number(const char *name, double value, int digits, bool known)
{
    if (known)
        printf(", \"%s\": %.*g", name, digits, value);
    else
        printf(", \"%s\": null", name);
}

void print_pairs(const char *name, const char *unit, const char *against, const Pairs *pairs)
{
    double ratio[MOST_SAMPLES];
    for (int i = 0; i < pairs->count; i++)
        ratio[i] = pairs->value[i] / pairs->against[i];
    const char *quote = against ? "\"" : "";
    printf("{\"name\": \"%s\"", name);
    print_number("value", median(pairs->value, pairs->count), 5, true);
    printf(", \"unit\": \"%s\", \"against\": %s%s%s", unit, quote, against ? against : "null", quote);
    print_number("against_value", median(pairs->against, pairs->count), 5, against);
    print_number("ratio", median(ratio, pairs->count), 4, against);
    print_number("at_most", pairs->at_most, 4, pairs->at_most > 0);
    print_number("at_least", pairs->at_least, 4, pairs->at_least > 0);
    print_number("peak_bytes", (double)pairs->peak_bytes, 15, pairs->peak_bytes > 0);
    puts("}");
    fflush(stdout);
}

void print_value(const char *name, const char *unit, double value)
{
    Pairs one = {0};
    pairs_add(&one, value, 1);
    print_pairs(name, unit, NULL, &one);
}
