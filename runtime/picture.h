/* Pictures for people: grids of samples, curves and scatter plots. */
#ifndef CM_RUNTIME_PICTURE_H
#define CM_RUNTIME_PICTURE_H

#include "base/text.h"
#include "runtime/array.h"

/* ---- grids ---- */

typedef struct GridOptions {
    int columns;      /* 0: as square as may be */
    int gap;          /* pixels between images and around them; negative: none, 0: 2 */
    int scale;        /* each pixel becomes scale x scale; 0: 1 */
    double low, high; /* the values shown as black and full; both 0: -1 and 1 */
} GridOptions;

/* One u8[H,W,C] image (for png_write) from samples of any float type or u8 (shown as it is): [N,H,W,C] with C = 1, 3 or 4, or
 * [N,H,W].  Values outside the range are clamped; NaN shows as black.  Null, or the reason why there is no picture. */
const char *picture_grid(Arena *arena, const Array *samples, const GridOptions *options, Array *image);

/* ---- plots, as SVG ---- */

typedef enum SeriesMark { MARK_line, MARK_dots } SeriesMark;

typedef struct Series {
    const char *name; /* in the legend; null: not there */
    const double *x;  /* null: 0, 1, 2, ... */
    const double *y;
    int64_t count;
    int64_t stride; /* elements from one point to the next, of x and y; 0: 1 */
    SeriesMark mark;
    bool smooth; /* a noisy line: drawn faint, under its running mean */
} Series;

typedef struct PlotOptions {
    const char *title, *x_label, *y_label; /* null: none */
    bool log_x, log_y;                     /* values that are not positive are left out */
    bool equal_axes;                       /* one unit is as long on both axes */
    int width, height;                     /* 0: 720 x 440, or 560 x 560 with equal axes */
} PlotOptions;

/* Values that are not finite leave a gap.  Long lines are thinned to what the width can show, extremes kept. */
void picture_plot(Text *svg, const Series *series, int count, const PlotOptions *options);

#endif
