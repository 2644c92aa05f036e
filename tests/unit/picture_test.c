/* Pictures: where the pixels of a grid lie, and what a plot says. */
#include "base/file.h"
#include "runtime/format.h"
#include "runtime/picture.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static Arena *arena;

static void set_up(void)
{
    arena = arena_new(NULL, NULL);
}

static void tear_down(void)
{
    arena_free(arena);
}

static int pixel(const Array *image, int64_t y, int64_t x, int64_t channel)
{
    return ((unsigned char *)image->data)[(y * image->type.dim[1] + x) * image->type.dim[2] + channel];
}

/* ---- grids ---- */

START_TEST(grid_places_samples_row_by_row)
{
    float values[5 * 2 * 3];
    for (int i = 0; i < 30; i++)
        values[i] = (float)(i / 6) / 4; /* sample s is s/4 everywhere */
    Array samples = {.type = ir_type(DT_f32, 4, (int64_t[]){5, 2, 3, 1}), .data = values}, image;
    GridOptions options = {.columns = 2, .gap = 1, .scale = 2, .low = 0, .high = 1};
    ck_assert_ptr_null(picture_grid(arena, &samples, &options, &image));
    ck_assert_str_eq(array_type_text(arena, &image.type), "u8[16,15,1]"); /* 1 + 3 * (2 * 2 + 1), 1 + 2 * (3 * 2 + 1) */
    ck_assert_int_eq(pixel(&image, 0, 0, 0), 255);
    ck_assert_int_eq(pixel(&image, 1, 1, 0), 0);
    ck_assert_int_eq(pixel(&image, 4, 6, 0), 0);
    ck_assert_int_eq(pixel(&image, 5, 6, 0), 255);
    ck_assert_int_eq(pixel(&image, 1, 8, 0), 64);
    ck_assert_int_eq(pixel(&image, 6, 1, 0), 128);
    ck_assert_int_eq(pixel(&image, 11, 6, 0), 255);
    ck_assert_int_eq(pixel(&image, 11, 8, 0), 255); /* the empty place */
}
END_TEST

START_TEST(grid_clamps_and_keeps_channels)
{
    float values[] = {-5, 0, 5, NAN, -1, 1};
    Array samples = {.type = ir_type(DT_f32, 4, (int64_t[]){1, 1, 2, 3}), .data = values}, image;
    ck_assert_ptr_null(picture_grid(arena, &samples, &(GridOptions){.gap = -1}, &image));
    int wanted[] = {0, 128, 255, 0, 0, 255};
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(pixel(&image, 0, i / 3, i % 3), wanted[i]);
}
END_TEST

START_TEST(grid_reads_every_float_type_and_u8)
{
    uint16_t half = float_to_half(0.5f), brain = float_to_bfloat(0.5f);
    double wide = 0.5;
    unsigned char byte = 77;
    struct {
        DType dtype;
        void *data;
        int wanted;
    } row[] = {{DT_f16, &half, 191}, {DT_bf16, &brain, 191}, {DT_f64, &wide, 191}, {DT_u8, &byte, 77}};
    for (int i = 0; i < 4; i++) {
        Array samples = {.type = ir_type(row[i].dtype, 3, (int64_t[]){1, 1, 1}), .data = row[i].data}, image;
        ck_assert_ptr_null(picture_grid(arena, &samples, NULL, &image));
        ck_assert_int_eq(pixel(&image, 2, 2, 0), row[i].wanted);
    }
}
END_TEST

START_TEST(grid_refuses_what_is_no_batch_of_images)
{
    int64_t dim[] = {2, 2, 2, 2};
    Array image, two_channels = array_new(arena, NULL, ir_type(DT_f32, 4, dim)),
                 flat = array_new(arena, NULL, ir_type(DT_f32, 2, dim)),
                 integers = array_new(arena, NULL, ir_type(DT_i32, 3, dim)),
                 none = array_new(arena, NULL, ir_type(DT_f32, 3, (int64_t[]){0, 2, 2}));
    const Array *bad[] = {&two_channels, &flat, &integers, &none};
    for (int i = 0; i < 4; i++) {
        const char *reason = picture_grid(arena, bad[i], NULL, &image);
        ck_assert(reason && strstr(reason, "not a batch of images"));
    }
}
END_TEST

/* ---- plots ---- */

static int occurrences(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        count++;
    return count;
}

static Text plot(const Series *series, int count, const PlotOptions *options)
{
    Text svg = text_new(arena);
    picture_plot(&svg, series, count, options);
    ck_assert_ptr_nonnull(strstr(svg.data, "<svg xmlns"));
    ck_assert_str_eq(svg.data + svg.length - 7, "</svg>\n");
    ck_assert_msg(!strstr(svg.data, "nan") && !strstr(svg.data, "inf"), "a coordinate is no number");
    return svg;
}

START_TEST(linear_axis_has_round_ticks)
{
    double y[] = {0, 3, 10};
    Text svg = plot(&(Series){.y = y, .count = 3}, 1, NULL);
    for (int i = 0; i <= 5; i++)
        ck_assert_ptr_nonnull(strstr(svg.data, arena_printf(arena, ">%d</text>", 2 * i)));
    ck_assert_ptr_null(strstr(svg.data, ">12<"));
}
END_TEST

START_TEST(log_axis_has_powers_of_ten)
{
    double y[] = {1e-5, 1, 1000, 0, -3};
    Text svg = plot(&(Series){.y = y, .count = 5}, 1, &(PlotOptions){.log_y = true});
    ck_assert_ptr_nonnull(strstr(svg.data, ">1e-5</text>"));
    ck_assert_ptr_nonnull(strstr(svg.data, ">0.01</text>"));
    ck_assert_ptr_nonnull(strstr(svg.data, ">1000</text>"));
    double narrow[] = {3.2, 3.9};
    svg = plot(&(Series){.y = narrow, .count = 2}, 1, &(PlotOptions){.log_y = true});
    ck_assert_ptr_nonnull(strstr(svg.data, ">3.4</text>"));
}
END_TEST

START_TEST(line_breaks_at_values_that_are_no_number)
{
    double y[] = {1, 2, NAN, 3, 4, INFINITY, 5};
    Text svg = plot(&(Series){.y = y, .count = 7}, 1, NULL);
    const char *line = strstr(svg.data, "stroke-linejoin");
    ck_assert_ptr_nonnull(line);
    char *path = arena_copy_text(arena, line, strcspn(line, "\n"));
    ck_assert_int_eq(occurrences(path, "M"), 3);
    ck_assert_int_eq(occurrences(path, "L"), 2);
}
END_TEST

START_TEST(long_lines_are_thinned_but_keep_their_spikes)
{
    enum { COUNT = 200000 };
    double *y = arena_array(arena, double, COUNT);
    for (int i = 0; i < COUNT; i++)
        y[i] = i % 7;
    y[77777] = 1000;
    Text svg = plot(&(Series){.y = y, .count = COUNT, .smooth = true}, 1, NULL);
    ck_assert_uint_lt(svg.length, 100000);
    ck_assert_ptr_nonnull(strstr(svg.data, ">1000</text>"));
    const char *line = strstr(svg.data, "stroke-linejoin");
    double top = 1e9;
    for (const char *at = strpbrk(strstr(line, " d="), "ML"); at && *at != '"'; at = strpbrk(at + 1, "ML\"")) {
        char *end;
        strtod(at + 1, &end);
        top = fmin(top, strtod(end, NULL));
    }
    ck_assert_msg(top > 16 && top < 40, "the spike is drawn at %g", top);
}
END_TEST

START_TEST(titles_are_escaped_and_legends_name_series)
{
    double y[] = {1, 2};
    Series series[] = {{.name = "a < b", .y = y, .count = 2}, {.name = "samples", .y = y, .count = 2, .mark = MARK_dots}};
    Text svg = plot(series, 2, &(PlotOptions){.title = "x & \"y\"", .x_label = "step", .y_label = "loss"});
    ck_assert_ptr_nonnull(strstr(svg.data, "x &amp; &quot;y&quot;"));
    ck_assert_ptr_nonnull(strstr(svg.data, ">a &lt; b</text>"));
    ck_assert_ptr_nonnull(strstr(svg.data, ">samples</text>"));
    ck_assert_ptr_nonnull(strstr(svg.data, ">step</text>"));
    ck_assert_ptr_nonnull(strstr(svg.data, "rotate(-90"));
}
END_TEST

START_TEST(dots_are_all_drawn_and_strides_followed)
{
    double points[] = {-1, 0, 1, 0, 0, 3, 0, -3};
    Text svg = plot(&(Series){.x = points, .y = points + 1, .count = 4, .stride = 2, .mark = MARK_dots}, 1,
                    &(PlotOptions){.equal_axes = true});
    ck_assert_int_eq(occurrences(svg.data, "h.01"), 4);
    double at[4][2];
    const char *dot = strstr(strstr(svg.data, "stroke-opacity"), " d=\"") + 4;
    for (int i = 0; i < 4; i++, dot = strchr(dot, 'M')) {
        char *end;
        at[i][0] = strtod(dot + 1, &end);
        at[i][1] = strtod(end, NULL);
        dot = end;
    }
    ck_assert_msg(fabs((at[1][0] - at[0][0]) * 3 - (at[3][1] - at[2][1])) < 1, "a unit is not as long on both axes");
}
END_TEST

START_TEST(nothing_and_extremes_can_be_plotted)
{
    double none[] = {NAN}, same[] = {5, 5, 5}, zero[] = {0, 0}, huge[] = {-1.7e308, 1.7e308}, tiny[] = {1e-310, 2e-310};
    const double *y[] = {none, same, zero, huge, tiny};
    int64_t counts[] = {1, 3, 2, 2, 2};
    for (int i = 0; i < 5; i++) {
        for (int scale = 0; scale < 4; scale++) {
            PlotOptions options = {.log_y = scale & 1, .equal_axes = scale & 2};
            Series series = {.y = y[i], .count = counts[i], .smooth = true};
            ck_assert_uint_lt(plot(&series, 1, &options).length, 20000);
        }
    }
    plot(NULL, 0, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("picture");
    TCase *pictures = tcase_create("pictures");
    tcase_add_checked_fixture(pictures, set_up, tear_down);
    tcase_add_test(pictures, grid_places_samples_row_by_row);
    tcase_add_test(pictures, grid_clamps_and_keeps_channels);
    tcase_add_test(pictures, grid_reads_every_float_type_and_u8);
    tcase_add_test(pictures, grid_refuses_what_is_no_batch_of_images);
    tcase_add_test(pictures, linear_axis_has_round_ticks);
    tcase_add_test(pictures, log_axis_has_powers_of_ten);
    tcase_add_test(pictures, line_breaks_at_values_that_are_no_number);
    tcase_add_test(pictures, long_lines_are_thinned_but_keep_their_spikes);
    tcase_add_test(pictures, titles_are_escaped_and_legends_name_series);
    tcase_add_test(pictures, dots_are_all_drawn_and_strides_followed);
    tcase_add_test(pictures, nothing_and_extremes_can_be_plotted);
    suite_add_tcase(suite, pictures);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
