/* Draws a plan as an SVG picture: a box for each kernel, below the kernels whose results it reads.
 *
 * Loops and branches are one box that lists the kernels inside. Boxes are placed in layers (one more than the deepest box
 * they read from), in the order of the steps within a layer; edges carry the name of the array. */
#include "ir/plan.h"

enum {
    BOX_WIDTH = 230,
    BOX_HEIGHT = 54,
    GAP_X = 24,
    GAP_Y = 46,
    MARGIN = 30,
    TITLE = 30,
    MOST_COLUMNS = 12,
    LEAST_COLUMNS = 2,
    LINE = 14
};

typedef struct Box {
    const PlanStep *step;
    int layer, column, height;
} Box;

typedef struct Drawing {
    const Plan *plan;
    Text *out;
    Box *boxes;
    int *maker; /* by buffer: the box that wrote it last, or -1 */
    int *layer_count, *layer_top;
    int layers;
} Drawing;

static void escape(Text *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            text_puts(out, "&lt;");
            break;
        case '>':
            text_puts(out, "&gt;");
            break;
        case '&':
            text_puts(out, "&amp;");
            break;
        default:
            text_add(out, text, 1);
        }
    }
}

/* ---- what a step reads and writes ---- */

typedef void Visit(Drawing *drawing, int box, int buffer, bool writes);

static void visit_steps(Drawing *drawing, int box, const PlanSteps *steps, Visit *visit);

static void visit_step(Drawing *drawing, int box, const PlanStep *step, Visit *visit)
{
    if (step->kind == STEP_LAUNCH) {
        const Kernel *kernel = drawing->plan->kernels.items[step->kernel];
        for (int pass = 0; pass < 2; pass++)
            for (int i = 0; i < step->args.count; i++) {
                KBufferKind kind = kernel->buffers.items[i].kind;
                if (pass ? kind != K_IN : kind != K_OUT)
                    visit(drawing, box, step->args.items[i], pass == 1);
            }
        return;
    }
    for (int i = step->args.count - 1; i >= 0; i--) /* COPY: to, from; FILL_ZERO: to */
        visit(drawing, box, step->args.items[i], i == 0);
    if (step->trip >= 0)
        visit(drawing, box, step->trip, false);
    if (step->kind == STEP_IF)
        visit(drawing, box, step->condition, false);
    for (int i = 0; i < step->carries.count; i++) {
        visit(drawing, box, step->carries.items[i].init, false);
        visit(drawing, box, step->carries.items[i].slot, true);
    }
    for (int i = 0; i < step->rows.count; i++)
        visit(drawing, box, step->rows.items[i].whole, true);
    visit_steps(drawing, box, step->test, visit);
    visit_steps(drawing, box, step->body, visit);
    visit_steps(drawing, box, step->otherwise, visit);
}

static void visit_steps(Drawing *drawing, int box, const PlanSteps *steps, Visit *visit)
{
    for (int i = 0; steps && i < steps->list.count; i++)
        visit_step(drawing, box, &steps->list.items[i], visit);
}

static void visit_layer(Drawing *drawing, int box, int buffer, bool writes)
{
    int maker = drawing->maker[buffer];
    if (writes)
        drawing->maker[buffer] = box;
    else if (maker >= 0 && maker != box && drawing->boxes[maker].layer >= drawing->boxes[box].layer)
        drawing->boxes[box].layer = drawing->boxes[maker].layer + 1;
}

/* ---- layout ---- */

static int count_lines(const PlanSteps *steps)
{
    int count = 0;
    for (int i = 0; steps && i < steps->list.count; i++) {
        const PlanStep *step = &steps->list.items[i];
        count += 1 + count_lines(step->test) + count_lines(step->body) + count_lines(step->otherwise);
    }
    return count;
}

static int box_height(const PlanStep *step)
{
    return BOX_HEIGHT + LINE * (count_lines(step->test) + count_lines(step->body) + count_lines(step->otherwise));
}

/* A layer that is too wide goes on in the next one. */
static void place_boxes(Drawing *drawing)
{
    int count = drawing->plan->steps.list.count;
    drawing->layer_count = arena_array(drawing->out->arena, int, 2 * count + 2);
    drawing->layer_top = arena_array(drawing->out->arena, int, 2 * count + 3);
    for (int i = 0; i < count; i++) {
        drawing->boxes[i] =
            (Box){.step = &drawing->plan->steps.list.items[i], .height = box_height(&drawing->plan->steps.list.items[i])};
        visit_step(drawing, i, drawing->boxes[i].step, visit_layer);
        Box *box = &drawing->boxes[i];
        while (drawing->layer_count[box->layer] >= MOST_COLUMNS)
            box->layer++;
        box->column = drawing->layer_count[box->layer]++;
        if (box->layer >= drawing->layers)
            drawing->layers = box->layer + 1;
    }
    drawing->layer_top[0] = MARGIN + TITLE;
    for (int layer = 0; layer < drawing->layers; layer++) {
        int tallest = 0;
        for (int i = 0; i < count; i++)
            if (drawing->boxes[i].layer == layer && drawing->boxes[i].height > tallest)
                tallest = drawing->boxes[i].height;
        drawing->layer_top[layer + 1] = drawing->layer_top[layer] + tallest + GAP_Y;
    }
}

static int left_of(const Box *box)
{
    return MARGIN + box->column * (BOX_WIDTH + GAP_X);
}

/* ---- drawing ---- */

static const char *colour_of(const Drawing *drawing, const PlanStep *step)
{
    if (step->kind != STEP_LAUNCH)
        return step->kind == STEP_COPY || step->kind == STEP_FILL_ZERO ? "#eeeeee" : "#f3e3c3";
    const Kernel *kernel = drawing->plan->kernels.items[step->kernel];
    for (int i = 0; i < kernel->stages.count; i++) {
        if (kernel->stages.items[i].kind == K_STAGE_CONTRACT)
            return "#f6cfc4";
        if (kernel->stages.items[i].accs.count)
            return "#cfe0f5";
    }
    return "#d8ecd2";
}

static const char *title_of(const Drawing *drawing, const PlanStep *step)
{
    static const char *const names[] = {"", "copy", "zero", "for", "while", "if"};
    return step->kind == STEP_LAUNCH ? drawing->plan->kernels.items[step->kernel]->name : names[step->kind];
}

static void draw_lines(Drawing *drawing, const PlanSteps *steps, int x, int *y, int depth)
{
    for (int i = 0; steps && i < steps->list.count; i++) {
        const PlanStep *step = &steps->list.items[i];
        text_printf(drawing->out, "<text x=\"%d\" y=\"%d\" class=\"s\">", x + 10 + 8 * depth, *y);
        escape(drawing->out, title_of(drawing, step));
        text_puts(drawing->out, "</text>\n");
        *y += LINE;
        draw_lines(drawing, step->test, x, y, depth + 1);
        draw_lines(drawing, step->body, x, y, depth + 1);
        draw_lines(drawing, step->otherwise, x, y, depth + 1);
    }
}

static void draw_summary(Drawing *drawing, const PlanStep *step)
{
    if (step->kind == STEP_LAUNCH) {
        const Kernel *kernel = drawing->plan->kernels.items[step->kernel];
        text_printf(drawing->out, "%.3g Mflop, %.3g MB, %d stage%s", kernel_flops(kernel) / 1e6,
                    (double)kernel_bytes(kernel) / 1e6, kernel->stages.count, kernel->stages.count == 1 ? "" : "s");
    } else if (step->kind == STEP_FOR || step->kind == STEP_WHILE) {
        text_printf(drawing->out, "at most %lld turns, %d carried", (long long)step->bound, step->carries.count);
    }
}

static void draw_box(Drawing *drawing, const Box *box)
{
    int x = left_of(box), y = drawing->layer_top[box->layer];
    text_printf(drawing->out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"6\" fill=\"%s\"/>\n", x, y, BOX_WIDTH,
                box->height, colour_of(drawing, box->step));
    text_printf(drawing->out, "<text x=\"%d\" y=\"%d\" class=\"t\">", x + 10, y + 20);
    escape(drawing->out, title_of(drawing, box->step));
    text_printf(drawing->out, "</text>\n<text x=\"%d\" y=\"%d\" class=\"s\">", x + 10, y + 38);
    draw_summary(drawing, box->step);
    text_puts(drawing->out, "</text>\n");
    y += BOX_HEIGHT;
    draw_lines(drawing, box->step->test, x, &y, 0);
    draw_lines(drawing, box->step->body, x, &y, 0);
    draw_lines(drawing, box->step->otherwise, x, &y, 0);
}

static void visit_edge(Drawing *drawing, int box, int buffer, bool writes)
{
    int maker = drawing->maker[buffer];
    if (writes) {
        drawing->maker[buffer] = box;
        return;
    }
    if (maker < 0 || maker == box)
        return;
    const Box *from = &drawing->boxes[maker], *to = &drawing->boxes[box];
    int x1 = left_of(from) + BOX_WIDTH / 2, y1 = drawing->layer_top[from->layer] + from->height;
    int x2 = left_of(to) + BOX_WIDTH / 2, y2 = drawing->layer_top[to->layer];
    text_printf(drawing->out, "<path d=\"M%d %d C%d %d %d %d %d %d\"><title>", x1, y1, x1, y1 + GAP_Y, x2, y2 - GAP_Y, x2, y2);
    const PlanBuffer *array = &drawing->plan->buffers.items[buffer];
    if (array->name)
        escape(drawing->out, array->name);
    text_puts(drawing->out, " ");
    ir_type_print(&array->type, drawing->out);
    text_puts(drawing->out, "</title></path>\n");
}

static void forget_makers(Drawing *drawing)
{
    for (int i = 0; i < drawing->plan->buffers.count; i++)
        drawing->maker[i] = -1;
}

void plan_draw(const Plan *plan, Text *out)
{
    int count = plan->steps.list.count;
    Drawing drawing = {.plan = plan, .out = out, .boxes = arena_array(out->arena, Box, count + 1)};
    drawing.maker = arena_array(out->arena, int, plan->buffers.count + 1);
    forget_makers(&drawing);
    place_boxes(&drawing);
    int columns = LEAST_COLUMNS;
    for (int i = 0; i < count; i++)
        columns = drawing.boxes[i].column < columns ? columns : drawing.boxes[i].column + 1;
    int width = 2 * MARGIN + columns * (BOX_WIDTH + GAP_X), height = drawing.layer_top[drawing.layers] + MARGIN;
    text_printf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\">\n", width, height);
    text_puts(out, "<style>rect{stroke:#555}path{fill:none;stroke:#8a8a8a;stroke-opacity:.6}text{font-family:sans-serif}"
                   ".t{font-size:12px;font-weight:bold}.s{font-size:11px;fill:#444}</style>\n");
    text_printf(out, "<rect width=\"%d\" height=\"%d\" fill=\"white\" stroke=\"none\"/>\n<text x=\"%d\" y=\"%d\" class=\"t\">",
                width, height, MARGIN, MARGIN);
    escape(out, plan->name);
    text_printf(out, ": %d steps, %d kernels, %.3g MB of values</text>\n", count, plan->kernels.count,
                (double)plan_peak(plan) / 1e6);
    forget_makers(&drawing);
    for (int i = 0; i < count; i++)
        visit_step(&drawing, i, drawing.boxes[i].step, visit_edge);
    for (int i = 0; i < count; i++)
        draw_box(&drawing, &drawing.boxes[i]);
    text_puts(out, "</svg>\n");
}
