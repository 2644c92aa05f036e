/* Plots as SVG: axes with round ticks, lines that are thinned to what can be seen, dots, a legend. */
#include "runtime/picture.h"

#include <math.h>
#include <string.h>

enum { MAX_TICKS = 64, WANTED_TICKS = 7, SMOOTH_PARTS = 100, LEGEND_ROW = 18 };
static const double empty_margin = 0.04;   /* of the range, left free at both ends */
static const double largest_shown = 1e300; /* so that no difference overflows */

/* Told apart by most colour-blind readers, too. */
static const char *const plot_colours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"};
enum { COLOUR_COUNT = sizeof plot_colours / sizeof *plot_colours };

typedef struct Axis {
    bool is_log;
    double low, high; /* of the values, or of their decimal logarithms */
    double from, to;  /* pixels */
} Axis;

typedef struct Tick {
    double value;
    bool minor; /* a line without a label */
} Tick;

typedef struct Plot {
    Text *svg;
    const PlotOptions *options;
    const Series *series;
    int count;
    Axis x, y;
    double left, right, top, bottom;
} Plot;

/* ---- axes ---- */

static bool axis_shows(const Axis *axis, double value)
{
    return fabs(value) < largest_shown && (!axis->is_log || value > 1 / largest_shown);
}

static double axis_scale(const Axis *axis, double value)
{
    return axis->is_log ? log10(value) : value;
}

static double axis_place(const Axis *axis, double value)
{
    return axis->from + (axis_scale(axis, value) - axis->low) / (axis->high - axis->low) * (axis->to - axis->from);
}

static double series_x(const Series *series, int64_t index)
{
    int64_t stride = series->stride ? series->stride : 1;
    return series->x ? series->x[index * stride] : (double)index;
}

static double series_y(const Series *series, int64_t index)
{
    return series->y[index * (series->stride ? series->stride : 1)];
}

static bool plot_shows(const Plot *plot, double x, double y)
{
    return axis_shows(&plot->x, x) && axis_shows(&plot->y, y);
}

static void axis_include(Axis *axis, double value)
{
    double scaled = axis_scale(axis, value);
    axis->low = fmin(axis->low, scaled);
    axis->high = fmax(axis->high, scaled);
}

static void axis_settle(Axis *axis)
{
    if (!(axis->low <= axis->high)) { /* nothing to show */
        axis->low = 0;
        axis->high = 1;
    }
    double margin = (axis->high - axis->low) * empty_margin;
    if (margin <= 1e-12 * (fabs(axis->low) + fabs(axis->high)) || margin < 1 / largest_shown) /* one value only */
        margin = axis->is_log || fabs(axis->low) < 100 / largest_shown ? 0.5 : fabs(axis->low) * 0.05;
    axis->low -= margin;
    axis->high += margin;
}

static void plot_find_ranges(Plot *plot)
{
    plot->x.low = plot->y.low = INFINITY;
    plot->x.high = plot->y.high = -INFINITY;
    for (int i = 0; i < plot->count; i++) {
        const Series *series = &plot->series[i];
        for (int64_t j = 0; j < series->count; j++) {
            double x = series_x(series, j), y = series_y(series, j);
            if (!plot_shows(plot, x, y))
                continue;
            axis_include(&plot->x, x);
            axis_include(&plot->y, y);
        }
    }
    axis_settle(&plot->x);
    axis_settle(&plot->y);
}

/* Widens the axis that has more pixels for a unit. */
static void plot_equalise(Plot *plot)
{
    double unit_x = (plot->x.high - plot->x.low) / fabs(plot->x.to - plot->x.from);
    double unit_y = (plot->y.high - plot->y.low) / fabs(plot->y.to - plot->y.from);
    Axis *narrow = unit_x < unit_y ? &plot->x : &plot->y;
    double more = (narrow->high - narrow->low) * (fmax(unit_x, unit_y) / fmin(unit_x, unit_y) - 1) / 2;
    narrow->low -= more;
    narrow->high += more;
}

/* ---- ticks ---- */

static double round_step(double range)
{
    double raw = range / WANTED_TICKS, power = pow(10, floor(log10(raw))), digit = raw / power;
    return power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
}

static int linear_ticks(double low, double high, Tick *ticks)
{
    double step = round_step(high - low);
    int count = 0;
    for (double i = ceil(low / step); i * step <= high && count < MAX_TICKS; i++)
        ticks[count++] = (Tick){i * step == 0 ? 0 : i * step, false};
    return count;
}

/* Powers of ten; within three decades 2 and 5 times these, too, and other digits as minor lines. */
static int log_ticks(const Axis *axis, Tick *ticks)
{
    int first = (int)floor(axis->low), last = (int)ceil(axis->high), count = 0, labels = 0;
    int stride = 1 + (last - first) / 11;
    bool few = axis->high - axis->low < 3, minor = last - first <= 6; /* there is room */
    first -= ((first % stride) + stride) % stride;
    for (int power = first; power <= last; power += stride) {
        for (int digit = 1; digit < (minor ? 10 : 2) && count < MAX_TICKS; digit++) {
            double value = digit * pow(10, power), scaled = log10(value);
            bool label = digit == 1 || (few && (digit == 2 || digit == 5));
            if (scaled < axis->low || scaled > axis->high)
                continue;
            labels += label;
            ticks[count++] = (Tick){value, !label};
        }
    }
    return labels >= 2 ? count : linear_ticks(pow(10, axis->low), pow(10, axis->high), ticks);
}

static int axis_ticks(const Axis *axis, Tick *ticks)
{
    return axis->is_log ? log_ticks(axis, ticks) : linear_ticks(axis->low, axis->high, ticks);
}

/* 0.25, 20000, 1e-5: short decimals, and powers without a zero or plus sign in front. */
static const char *tick_label(Arena *arena, double value)
{
    double size = fabs(value);
    const char *sign = value < 0 ? "\xe2\x88\x92" : "";
    if (size != 0 && (size >= 1e6 || size < 1e-3)) {
        int power = (int)floor(log10(size) + 1e-9);
        return arena_printf(arena, "%s%.6ge%d", sign, size / pow(10, power), power);
    }
    return arena_printf(arena, "%s%.7g", sign, size);
}

/* ---- marks ---- */

static void svg_escape(Text *svg, const char *text)
{
    for (; *text; text++) {
        const char *entity = *text == '<'   ? "&lt;"
                             : *text == '>' ? "&gt;"
                             : *text == '&' ? "&amp;"
                             : *text == '"' ? "&quot;"
                                            : NULL;
        if (entity)
            text_puts(svg, entity);
        else if ((unsigned char)*text >= ' ')
            text_add(svg, text, 1);
    }
}

static void svg_label(Text *svg, double x, double y, const char *attributes, const char *text)
{
    text_printf(svg, "<text x=\"%.1f\" y=\"%.1f\" %s>", x, y, attributes);
    svg_escape(svg, text);
    text_puts(svg, "</text>\n");
}

static void draw_axis_x(const Plot *plot)
{
    Tick ticks[MAX_TICKS];
    int count = axis_ticks(&plot->x, ticks);
    for (int i = 0; i < count; i++) {
        double x = axis_place(&plot->x, ticks[i].value);
        text_printf(plot->svg, "<path class=\"%s\" d=\"M%.1f %.1fV%.1f\"/>\n", ticks[i].minor ? "minor" : "grid", x, plot->top,
                    plot->bottom);
        if (!ticks[i].minor)
            svg_label(plot->svg, x, plot->bottom + 17, "text-anchor=\"middle\"", tick_label(plot->svg->arena, ticks[i].value));
    }
}

static void draw_axis_y(const Plot *plot)
{
    Tick ticks[MAX_TICKS];
    int count = axis_ticks(&plot->y, ticks);
    for (int i = 0; i < count; i++) {
        double y = axis_place(&plot->y, ticks[i].value);
        text_printf(plot->svg, "<path class=\"%s\" d=\"M%.1f %.1fH%.1f\"/>\n", ticks[i].minor ? "minor" : "grid", plot->left, y,
                    plot->right);
        if (!ticks[i].minor)
            svg_label(plot->svg, plot->left - 7, y + 4, "text-anchor=\"end\"", tick_label(plot->svg->arena, ticks[i].value));
    }
}

/* What has been seen of one column of pixels: a line through these four looks like the line through all. */
typedef struct Column {
    bool open, pen_down;
    double at, x, first, low, high, last;
} Column;

static void column_flush(Text *svg, Column *column)
{
    if (!column->open)
        return;
    double y[4] = {column->first, column->low, column->high, column->last};
    for (int i = 0; i < 4; i++) {
        if (i && y[i] == y[i - 1])
            continue;
        text_printf(svg, "%c%.1f %.1f", column->pen_down ? 'L' : 'M', column->x, y[i]);
        column->pen_down = true;
    }
    column->open = false;
}

static void column_add(Text *svg, Column *column, double x, double y)
{
    if (column->open && floor(x) != column->at)
        column_flush(svg, column);
    if (!column->open) {
        *column = (Column){.open = true, .pen_down = column->pen_down, .at = floor(x), .x = x, .first = y, .low = y, .high = y};
    }
    column->low = fmin(column->low, y);
    column->high = fmax(column->high, y);
    column->last = y;
}

static void draw_line(const Plot *plot, const Series *series, const char *colour, const char *style)
{
    Column column = {0};
    text_printf(plot->svg, "<path fill=\"none\" stroke=\"%s\" stroke-linejoin=\"round\" %s d=\"", colour, style);
    for (int64_t i = 0; i < series->count; i++) {
        double x = series_x(series, i), y = series_y(series, i);
        if (plot_shows(plot, x, y)) {
            column_add(plot->svg, &column, axis_place(&plot->x, x), axis_place(&plot->y, y));
        } else {
            column_flush(plot->svg, &column);
            column.pen_down = false;
        }
    }
    column_flush(plot->svg, &column);
    text_puts(plot->svg, "\"/>\n");
}

/* The mean over as many neighbours on both sides, so that it does not lag; fewer near the ends. */
static void draw_running_mean(const Plot *plot, const Series *series, const char *colour)
{
    Arena *arena = plot->svg->arena;
    double *x = arena_array(arena, double, series->count), *y = arena_array(arena, double, series->count);
    double *sum = arena_array(arena, double, series->count + 1);
    int64_t kept = 0;
    for (int64_t i = 0; i < series->count; i++) {
        if (!plot_shows(plot, series_x(series, i), series_y(series, i)))
            continue;
        x[kept] = series_x(series, i);
        sum[kept + 1] = sum[kept] + series_y(series, i);
        kept++;
    }
    int64_t widest = series->count / SMOOTH_PARTS;
    for (int64_t i = 0; i < kept; i++) {
        int64_t room = i < kept - 1 - i ? i : kept - 1 - i, side = room < widest ? room : widest;
        side = side < widest / 4 ? widest / 4 : side; /* an end is still a mean of some */
        int64_t first = i < side ? 0 : i - side, end = i + side < kept ? i + side + 1 : kept;
        y[i] = (sum[end] - sum[first]) / (double)(end - first);
    }
    Series smooth = {.x = x, .y = y, .count = kept};
    draw_line(plot, &smooth, colour, "stroke-width=\"2\"");
}

/* One path for all dots: each is a line of no length with round ends. */
static void draw_dots(const Plot *plot, const Series *series, const char *colour)
{
    double size = series->count > 2000 ? 2.5 : series->count > 300 ? 3.5 : 5;
    text_printf(plot->svg,
                "<path fill=\"none\" stroke=\"%s\" stroke-width=\"%.1f\" stroke-linecap=\"round\" stroke-opacity=\"0.55\" d=\"",
                colour, size);
    for (int64_t i = 0; i < series->count; i++) {
        double x = series_x(series, i), y = series_y(series, i);
        if (plot_shows(plot, x, y))
            text_printf(plot->svg, "M%.1f %.1fh.01", axis_place(&plot->x, x), axis_place(&plot->y, y));
    }
    text_puts(plot->svg, "\"/>\n");
}

static void draw_series(const Plot *plot, const Series *series, const char *colour)
{
    if (series->mark == MARK_dots) {
        draw_dots(plot, series, colour);
        return;
    }
    draw_line(plot, series, colour, series->smooth ? "stroke-width=\"1\" stroke-opacity=\"0.3\"" : "stroke-width=\"1.6\"");
    if (series->smooth)
        draw_running_mean(plot, series, colour);
}

static void draw_legend(const Plot *plot)
{
    int rows = 0;
    size_t longest = 0;
    for (int i = 0; i < plot->count; i++) {
        const char *name = plot->series[i].name;
        rows += name != NULL;
        longest = name && strlen(name) > longest ? strlen(name) : longest;
    }
    if (!rows || (rows == 1 && plot->count == 1))
        return;
    double width = 42 + 7 * (double)longest, left = plot->right - width - 8, y = plot->top + 8;
    text_printf(plot->svg,
                "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" rx=\"4\" fill=\"#fff\" fill-opacity=\"0.85\" "
                "stroke=\"#ccc\"/>\n",
                left, y, width, rows * LEGEND_ROW + 8);
    for (int i = 0, row = 0; i < plot->count; i++) {
        if (!plot->series[i].name)
            continue;
        double middle = y + 4 + LEGEND_ROW * (row++ + 0.5);
        bool dots = plot->series[i].mark == MARK_dots;
        text_printf(plot->svg, "<path stroke=\"%s\" stroke-width=\"%d\" stroke-linecap=\"round\" d=\"M%.1f %.1fh%s\"/>\n",
                    plot_colours[i % COLOUR_COUNT], dots ? 6 : 2, left + (dots ? 18 : 10), middle, dots ? ".01" : "16");
        svg_label(plot->svg, left + 33, middle + 4, "text-anchor=\"start\"", plot->series[i].name);
    }
}

/* ---- the whole ---- */

static void draw_frame(const Plot *plot, int width, int height)
{
    const PlotOptions *options = plot->options;
    text_printf(plot->svg,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
                "font-family=\"system-ui, sans-serif\" font-size=\"12\" fill=\"#333\">\n"
                "<style>.grid{stroke:#ddd}.minor{stroke:#f1f1f1}.frame{fill:none;stroke:#888}</style>\n"
                "<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
                width, height, width, height, width, height);
    if (options->title)
        svg_label(plot->svg, (plot->left + plot->right) / 2, 24, "text-anchor=\"middle\" font-size=\"15\" font-weight=\"600\"",
                  options->title);
    if (options->x_label)
        svg_label(plot->svg, (plot->left + plot->right) / 2, height - 10, "text-anchor=\"middle\"", options->x_label);
    if (options->y_label) {
        double middle = (plot->top + plot->bottom) / 2;
        const char *turn = arena_printf(plot->svg->arena, "text-anchor=\"middle\" transform=\"rotate(-90 16 %.1f)\"", middle);
        svg_label(plot->svg, 16, middle, turn, options->y_label);
    }
}

static void plot_lay_out(Plot *plot, int width, int height)
{
    plot->left = plot->options->y_label ? 74 : 58;
    plot->right = width - 18;
    plot->top = plot->options->title ? 40 : 16;
    plot->bottom = height - (plot->options->x_label ? 50 : 32);
    plot->x.from = plot->left;
    plot->x.to = plot->right;
    plot->y.from = plot->bottom;
    plot->y.to = plot->top;
}

void picture_plot(Text *svg, const Series *series, int count, const PlotOptions *given)
{
    const PlotOptions *options = given ? given : &(PlotOptions){0};
    Plot plot = {.svg = svg, .options = options, .series = series, .count = count};
    int width = options->width > 200 ? options->width : options->equal_axes ? 560 : 720;
    int height = options->height > 150 ? options->height : options->equal_axes ? 560 : 440;
    plot.x.is_log = options->log_x;
    plot.y.is_log = options->log_y;
    plot_lay_out(&plot, width, height);
    plot_find_ranges(&plot);
    if (options->equal_axes)
        plot_equalise(&plot);
    draw_frame(&plot, width, height);
    draw_axis_x(&plot);
    draw_axis_y(&plot);
    for (int i = 0; i < count; i++)
        draw_series(&plot, &series[i], plot_colours[i % COLOUR_COUNT]);
    text_printf(svg, "<rect class=\"frame\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", plot.left, plot.top,
                plot.right - plot.left, plot.bottom - plot.top);
    draw_legend(&plot);
    text_puts(svg, "</svg>\n");
}
