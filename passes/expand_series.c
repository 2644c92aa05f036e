/* The coefficients of expand_series.def, by name and format. */
#include "passes/expand_build.h"

const Row expand_series[SERIES_COUNT][2] = {
/* clang-format off */
#define ROW(...) {sizeof((const double[]){__VA_ARGS__}) / sizeof(double), (const double[]){__VA_ARGS__}}
/* clang-format on */
#define SERIES(name, meaning, ...) [SERIES_##name] = {__VA_ARGS__},
#include "passes/expand_series.def"
};
