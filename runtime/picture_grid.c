/* Grids of samples as one image. */
#include "runtime/picture.h"

#include <math.h>
#include <string.h>

enum { DEFAULT_GAP = 2, GAP_BRIGHTNESS = 255, LARGEST_SCALE = 64 };

typedef struct Grid {
    const Array *samples;
    int64_t count, height, width, channels; /* of the samples */
    int64_t columns, rows, gap, scale;
    double low, high;
    unsigned char *pixels;
    int64_t image_width;
} Grid;

static double sample_value(const Array *array, int64_t index)
{
    switch (array->type.dtype) {
    case DT_f32:
        return ((const float *)array->data)[index];
    case DT_f64:
        return ((const double *)array->data)[index];
    case DT_f16:
        return half_to_float(((const uint16_t *)array->data)[index]);
    case DT_bf16:
        return bfloat_to_float(((const uint16_t *)array->data)[index]);
    default:
        return 0;
    }
}

static unsigned char grid_brightness(const Grid *grid, int64_t index)
{
    if (grid->samples->type.dtype == DT_u8)
        return ((const unsigned char *)grid->samples->data)[index];
    double value = (sample_value(grid->samples, index) - grid->low) / (grid->high - grid->low) * 255;
    return (unsigned char)(value > 255 ? 255 : value > 0 ? lrint(value) : 0); /* NaN fails both comparisons */
}

static void grid_draw_pixel(const Grid *grid, int64_t top, int64_t left, int64_t from)
{
    for (int64_t channel = 0; channel < grid->channels; channel++) {
        unsigned char brightness = grid_brightness(grid, from + channel);
        for (int64_t y = 0; y < grid->scale; y++)
            for (int64_t x = 0; x < grid->scale; x++)
                grid->pixels[((top + y) * grid->image_width + left + x) * grid->channels + channel] = brightness;
    }
}

static void grid_draw_sample(const Grid *grid, int64_t sample)
{
    int64_t top = grid->gap + sample / grid->columns * (grid->height * grid->scale + grid->gap);
    int64_t left = grid->gap + sample % grid->columns * (grid->width * grid->scale + grid->gap);
    int64_t from = sample * grid->height * grid->width * grid->channels;
    for (int64_t y = 0; y < grid->height; y++)
        for (int64_t x = 0; x < grid->width; x++)
            grid_draw_pixel(grid, top + y * grid->scale, left + x * grid->scale, from + (y * grid->width + x) * grid->channels);
}

static const char *grid_measure(Arena *arena, const Array *samples, Grid *grid)
{
    const IrType *type = &samples->type;
    grid->samples = samples;
    grid->channels = type->rank == 4 ? type->dim[3] : 1;
    bool known = dtype_is_float(type->dtype) || type->dtype == DT_u8;
    bool image = type->rank == 3 || (type->rank == 4 && (grid->channels == 1 || grid->channels == 3 || grid->channels == 4));
    if (!known || !image || !array_bytes(samples))
        return arena_printf(
            arena, "%s is not a batch of images; a grid needs floats or u8 [N,H,W] or [N,H,W,C] with 1, 3 or 4 channels",
            array_type_text(arena, type));
    grid->count = type->dim[0];
    grid->height = type->dim[1];
    grid->width = type->dim[2];
    return NULL;
}

static void grid_lay_out(Grid *grid, const GridOptions *options)
{
    grid->columns = options->columns > 0 ? options->columns : (int64_t)ceil(sqrt((double)grid->count));
    if (grid->columns > grid->count)
        grid->columns = grid->count;
    grid->rows = (grid->count + grid->columns - 1) / grid->columns;
    grid->gap = options->gap < 0 ? 0 : options->gap ? options->gap : DEFAULT_GAP;
    grid->scale = options->scale < 1 ? 1 : options->scale > LARGEST_SCALE ? LARGEST_SCALE : options->scale;
    bool range = options->low < options->high;
    grid->low = range ? options->low : -1;
    grid->high = range ? options->high : 1;
}

const char *picture_grid(Arena *arena, const Array *samples, const GridOptions *options, Array *image)
{
    Grid grid = {0};
    const char *reason = grid_measure(arena, samples, &grid);
    if (reason)
        return reason;
    grid_lay_out(&grid, options ? options : &(GridOptions){0});
    grid.image_width = grid.gap + grid.columns * (grid.width * grid.scale + grid.gap);
    int64_t image_height = grid.gap + grid.rows * (grid.height * grid.scale + grid.gap);
    IrType type = ir_type(DT_u8, 3, (int64_t[]){image_height, grid.image_width, grid.channels});
    size_t size;
    if (!array_byte_size(&type, &size))
        return "the grid would be too large";
    *image = array_new(arena, NULL, type);
    grid.pixels = image->data;
    memset(grid.pixels, GAP_BRIGHTNESS, size);
    for (int64_t sample = 0; sample < grid.count; sample++)
        grid_draw_sample(&grid, sample);
    return NULL;
}
