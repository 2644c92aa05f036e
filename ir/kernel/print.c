/* Kernel IR as text. */
#include "ir/kernel/kernel.h"
#include "ir/text.h"

#include <math.h>

static void print_affine(const Affine *affine, Text *out)
{
    bool any = false;
    for (int i = 0; i < K_MAX_AXES; i++) {
        int64_t factor = affine->coef[i];
        if (!factor)
            continue;
        text_puts(out, !any ? (factor < 0 ? "-" : "") : factor < 0 ? " - " : " + ");
        if (factor != 1 && factor != -1)
            text_printf(out, "%lld*", (long long)(factor < 0 ? -factor : factor));
        text_printf(out, "a%d", i);
        any = true;
    }
    if (!any)
        text_printf(out, "%lld", (long long)affine->offset);
    else if (affine->offset)
        text_printf(out, " %c %lld", affine->offset < 0 ? '-' : '+',
                    (long long)(affine->offset < 0 ? -affine->offset : affine->offset));
}

static void print_axes(const KAxis *axes, int count, int first, Text *out)
{
    static const char *const kinds[] = {"map", "reduce", "scan"};
    for (int i = 0; i < count; i++)
        text_printf(out, " %s a%d:%lld", kinds[axes[i].kind], first + i, (long long)axes[i].extent);
}

/* A value that an f32 holds is the shortest decimal of that f32: the parser rounds to the type that is named. */
static void print_real(double value, Text *out)
{
    if (!isnan(value) && (double)(float)value == value)
        text_number(out, value, 1);
    else
        ir_text_real(out, value);
}

static void print_inst(const KInst *inst, int number, Text *out)
{
    text_printf(out, "    %%%d = %s", number, kop_name(inst->op));
    if (inst->op == K_load) {
        text_printf(out, " $%d[", inst->buffer);
        print_affine(&inst->index, out);
        text_puts(out, "]");
    } else if (inst->op == K_axis) {
        text_puts(out, " ");
        print_affine(&inst->index, out);
    } else if (inst->op == K_value) {
        text_puts(out, " ");
        if (dtype_is_float(inst->dtype))
            print_real(inst->value, out);
        else
            text_printf(out, "%lld", (long long)inst->imm);
    } else if (inst->op == K_acc || inst->op == K_inside || inst->op == K_offset || inst->op == K_philox) {
        text_printf(out, " {%lld}", (long long)inst->imm);
    }
    for (int i = 0; i < 3; i++)
        if (inst->arg[i] >= 0)
            text_printf(out, "%s %%%d", inst->op == K_load ? (i == 0 ? " at" : " if") : "", inst->arg[i]);
    text_printf(out, " : %s\n", dtype_name(inst->dtype));
}

static void print_store(const KStore *store, Text *out)
{
    text_printf(out, "    %s $%d[", store->add ? "add" : "store", store->buffer);
    print_affine(&store->index, out);
    text_printf(out, "] = %%%d", store->value);
    if (store->dynamic >= 0)
        text_printf(out, " at %%%d", store->dynamic);
    if (store->guard >= 0)
        text_printf(out, " if %%%d", store->guard);
    text_puts(out, "\n");
}

static void print_stage(const KStage *stage, int first_axis, Text *out)
{
    static const char *const combines[] = {"sum", "prod", "max", "min"};
    text_puts(out, stage->kind == K_STAGE_CONTRACT ? "  contract" : "  stage");
    print_axes(stage->axes.items, stage->axes.count, first_axis, out);
    text_puts(out, "\n");
    for (int i = 0; i < stage->body_count; i++)
        print_inst(&stage->insts.items[i], i, out);
    for (int i = 0; i < stage->accs.count; i++)
        text_printf(out, "    acc %d = %s %%%d : %s%s\n", i, combines[stage->accs.items[i].combine], stage->accs.items[i].value,
                    dtype_name(stage->accs.items[i].dtype), stage->accs.items[i].wide ? " wide" : "");
    if (stage->accs.count)
        text_puts(out, "  tail\n");
    for (int i = stage->body_count; i < stage->insts.count; i++)
        print_inst(&stage->insts.items[i], i, out);
    for (int i = 0; i < stage->stores.count; i++)
        print_store(&stage->stores.items[i], out);
}

void kernel_print(const Kernel *kernel, Text *out)
{
    static const char *const kinds[] = {"in", "out", "inout", "local"};
    text_puts(out, "kernel ");
    ir_text_name(out, kernel->name ? kernel->name : "");
    text_puts(out, "(");
    for (int i = 0; i < kernel->buffers.count; i++) {
        const KBuffer *buffer = &kernel->buffers.items[i];
        text_printf(out, "%s%s $%d: %s[%lld]", i ? ", " : "", kinds[buffer->kind], i, dtype_name(buffer->dtype),
                    (long long)buffer->count);
    }
    text_puts(out, ")");
    if (kernel->outer.count)
        text_puts(out, " outer");
    print_axes(kernel->outer.items, kernel->outer.count, 0, out);
    text_puts(out, "\n");
    for (int i = 0; i < kernel->stages.count; i++)
        print_stage(&kernel->stages.items[i], kernel->outer.count, out);
}
