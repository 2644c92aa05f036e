/* Plans: their text for people and goldens, and their verifier. */
#include "ir/plan.h"

/* ---- text ---- */

static void indent(Text *out, int depth)
{
    for (int i = 0; i < depth; i++)
        text_puts(out, "  ");
}

static void print_buffers(const Plan *plan, Text *out)
{
    static const char *const places[] = {"input", "output", "constant", "arena", "lane"};
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[i];
        text_printf(out, "  b%d: ", i);
        ir_type_print(&buffer->type, out);
        text_printf(out, " %s", places[buffer->place]);
        if (buffer->place != PLACE_CONSTANT)
            text_printf(out, " %lld", (long long)buffer->offset);
        if (buffer->place >= PLACE_ARENA)
            text_printf(out, " steps %d..%d", buffer->first, buffer->last);
        if (buffer->place >= PLACE_ARENA && buffer->over >= 0)
            text_printf(out, " over b%d", buffer->over);
        text_printf(out, "%s%s\n", buffer->name ? "  # " : "", buffer->name ? buffer->name : "");
    }
}

static void print_steps(const Plan *plan, const PlanSteps *steps, int depth, Text *out);

static void print_part(const Plan *plan, const char *title, const PlanSteps *steps, int depth, Text *out)
{
    if (!steps)
        return;
    indent(out, depth);
    text_printf(out, "%s\n", title);
    print_steps(plan, steps, depth + 1, out);
}

static void print_step(const Plan *plan, const PlanStep *step, int depth, Text *out)
{
    static const char *const names[] = {"launch", "copy", "zero", "for", "while", "if"};
    indent(out, depth);
    text_puts(out, names[step->kind]);
    if (step->kind == STEP_LAUNCH)
        text_printf(out, " k%d %s", step->kernel, plan->kernels.items[step->kernel]->name);
    for (int i = 0; i < step->args.count; i++)
        text_printf(out, " b%d", step->args.items[i]);
    if (step->kind == STEP_FOR)
        text_printf(out, " b%d of at most %lld%s, turn in b%d", step->trip, (long long)step->bound,
                    step->parallel ? " at once" : "", step->counter);
    if (step->kind == STEP_WHILE && step->bound)
        text_printf(out, " at most %lld", (long long)step->bound);
    if (step->kind == STEP_WHILE || step->kind == STEP_IF)
        text_printf(out, " b%d", step->condition);
    for (int i = 0; i < step->carries.count; i++)
        text_printf(out, ", b%d = b%d then b%d", step->carries.items[i].slot, step->carries.items[i].init,
                    step->carries.items[i].next);
    for (int i = 0; i < step->rows.count; i++)
        text_printf(out, ", row b%d to b%d", step->rows.items[i].value, step->rows.items[i].whole);
    text_puts(out, "\n");
    print_part(plan, "test", step->test, depth + 1, out);
    print_part(plan, "do", step->body, depth + 1, out);
    print_part(plan, "else", step->otherwise, depth + 1, out);
}

static void print_steps(const Plan *plan, const PlanSteps *steps, int depth, Text *out)
{
    for (int i = 0; i < steps->list.count; i++)
        print_step(plan, &steps->list.items[i], depth, out);
}

void plan_print(const Plan *plan, Text *out)
{
    text_printf(out, "plan %s: %d inputs, %d outputs, arena %lld bytes (at least %lld)", plan->name, plan->input_count,
                plan->output_count, (long long)plan->arena_bytes, (long long)plan->arena_least);
    if (plan->lane_bytes)
        text_printf(out, ", each lane %lld (at least %lld)", (long long)plan->lane_bytes, (long long)plan->lane_least);
    text_puts(out, "\n");
    print_buffers(plan, out);
    print_steps(plan, &plan->steps, 1, out);
    for (int i = 0; i < plan->kernels.count; i++) {
        text_printf(out, "\nk%d = ", i);
        kernel_print(plan->kernels.items[i], out);
    }
}

/* ---- verifier ---- */

static bool overlap(const PlanBuffer *a, const PlanBuffer *b)
{
    bool in_time = a->first <= b->last && b->first <= a->last;
    bool in_space = a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
    return in_time && in_space;
}

/* Whether `next` is made where `before` lies, by the last step that reads it. */
static bool succeeds(const PlanBuffer *next, const PlanBuffer *before)
{
    return next->first == before->last && next->offset == before->offset && next->bytes == before->bytes;
}

static bool verify_places(const Plan *plan, DiagSink *diags)
{
    for (int i = 0; i < plan->buffers.count; i++) {
        const PlanBuffer *a = &plan->buffers.items[i];
        if (a->place < PLACE_ARENA || a->first < 0)
            continue;
        if (a->offset < 0 || a->offset + a->bytes > (a->place == PLACE_ARENA ? plan->arena_bytes : plan->lane_bytes)) {
            diag_report(diags, DIAG_bad_ir, (Span){0}, "b%d lies outside the arena or lane", i);
            return false;
        }
        for (int j = 0; j < i; j++) {
            const PlanBuffer *b = &plan->buffers.items[j];
            bool in_turn = (a->over == j && succeeds(a, b)) || (b->over == i && succeeds(b, a));
            if (b->place == a->place && b->first >= 0 && overlap(a, b) && !in_turn) {
                diag_report(diags, DIAG_bad_ir, (Span){0}, "b%d and b%d live at once in the same place", j, i);
                return false;
            }
        }
    }
    return true;
}

static bool verify_launch(const Plan *plan, const PlanStep *step, DiagSink *diags)
{
    const Kernel *kernel = plan->kernels.items[step->kernel];
    int passed = 0;
    while (passed < kernel->buffers.count && kernel->buffers.items[passed].kind != K_LOCAL)
        passed++;
    if (step->args.count != passed) {
        diag_report(diags, DIAG_bad_ir, step->span, "%s takes %d arguments, not %d", kernel->name, passed, step->args.count);
        return false;
    }
    for (int i = 0; i < passed; i++) {
        const PlanBuffer *buffer = &plan->buffers.items[step->args.items[i]];
        const KBuffer *wanted = &kernel->buffers.items[i];
        if (buffer->type.dtype != wanted->dtype || ir_element_count(&buffer->type) != wanted->count) {
            diag_report(diags, DIAG_bad_ir, step->span, "argument %d of %s does not fit b%d", i, kernel->name,
                        step->args.items[i]);
            return false;
        }
    }
    return true;
}

static bool verify_overwriting(const Plan *plan, const PlanStep *step, DiagSink *diags)
{
    const Kernel *kernel = plan->kernels.items[step->kernel];
    for (int to = 0; to < step->args.count; to++) {
        int over = plan->buffers.items[step->args.items[to]].over;
        for (int from = 0; from < step->args.count; from++) {
            bool writes = kernel->buffers.items[to].kind != K_IN;
            if (writes && step->args.items[from] == over && over >= 0 && !kernel_may_overwrite(kernel, from, to)) {
                diag_report(diags, DIAG_bad_ir, step->span, "%s must not write argument %d over argument %d", kernel->name, to,
                            from);
                return false;
            }
        }
    }
    return true;
}

static bool verify_steps(const Plan *plan, const PlanSteps *steps, DiagSink *diags)
{
    for (int i = 0; steps && i < steps->list.count; i++) {
        const PlanStep *step = &steps->list.items[i];
        if (step->kind == STEP_LAUNCH && !(verify_launch(plan, step, diags) && verify_overwriting(plan, step, diags)))
            return false;
        if (!verify_steps(plan, step->test, diags) || !verify_steps(plan, step->body, diags) ||
            !verify_steps(plan, step->otherwise, diags))
            return false;
    }
    return true;
}

bool plan_verify(const Plan *plan, DiagSink *diags)
{
    return verify_places(plan, diags) && verify_steps(plan, &plan->steps, diags);
}

/* ---- traffic ---- */

static int64_t turns_of(const Plan *plan, const PlanStep *step)
{
    if (step->kind != STEP_FOR || plan->buffers.items[step->trip].place != PLACE_CONSTANT)
        return 1;
    return *(const int32_t *)plan->buffers.items[step->trip].data;
}

/* A buffer counts where it is first met. */
static int64_t least_of_steps(const Plan *plan, const PlanSteps *steps, int64_t turns, bool *met)
{
    int64_t bytes = 0;
    for (int i = 0; steps && i < steps->list.count; i++) {
        const PlanStep *step = &steps->list.items[i];
        for (int k = 0; step->kind == STEP_LAUNCH && k < step->args.count; k++) {
            const PlanBuffer *buffer = &plan->buffers.items[step->args.items[k]];
            bool inside = buffer->place == PLACE_ARENA || buffer->place == PLACE_LANE;
            bytes += met[step->args.items[k]] ? 0 : buffer->bytes * turns * (inside ? 2 : 1);
            met[step->args.items[k]] = true;
        }
        int64_t inner = turns * turns_of(plan, step);
        bytes += least_of_steps(plan, step->test, inner, met) + least_of_steps(plan, step->body, inner, met) +
                 least_of_steps(plan, step->otherwise, inner, met);
    }
    return bytes;
}

int64_t plan_least_traffic(Arena *scratch, const Plan *plan)
{
    return least_of_steps(plan, &plan->steps, 1, arena_array(scratch, bool, plan->buffers.count + 1));
}
