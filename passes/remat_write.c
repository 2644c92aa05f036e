/* Recomputation, third step: the function with its cuts.
 *
 * Nodes are written in the order in which the model runs them, and what is virtual before the first that needs it.  A copy is
 * written before the step that reads it first, with virtual nodes of its own: shared with the first computation they
 * would be kept for it.  Copies are marked, so that fusion leaves them in their place. */
#include "passes/remat_internal.h"

typedef struct Written { /* what a node became, last */
    IrRef ref;
    int visit;  /* the reader for which it was looked at last */
    int copies; /* the run of copies that it was written for; 0: none */
} Written;

typedef struct Writer {
    const RematModel *model;
    const IrFunc *from;
    IrFunc *into;
    Written *written; /* by node */
    int *copy;        /* by unit */
    int step;
    bool again; /* a copy is being written */
} Writer;

static IrRef value_for(Writer *writer, IrRef ref);

/* Even for the step, odd for the copies that it needs. */
static int visit_of(const Writer *writer)
{
    return 2 * writer->step + 2 + writer->again;
}

static IrRef emit(Writer *writer, IrRef ref, const IrRef *operands)
{
    IrNode node = *ir_node(writer->from, ref);
    node.operands = operands;
    node.again |= writer->again;
    writer->into->at = node.span;
    IrRef fresh = ir_emit(writer->into, node);
    writer->written[ref] = (Written){fresh, visit_of(writer), writer->again ? writer->step + 1 : 0};
    return fresh;
}

/* The node with its operands as this step has them; `fresh`: even if it is there. */
static IrRef write_node(Writer *writer, IrRef ref, bool fresh)
{
    const IrNode *node = ir_node(writer->from, ref);
    const Written *known = &writer->written[ref];
    IrRef *operands = arena_array(writer->model->arena, IrRef, node->operand_count + 1);
    bool same = known->ref >= 0 && (!writer->again || known->copies == writer->step + 1 || !node->operand_count);
    for (int i = 0; i < node->operand_count; i++) {
        operands[i] = value_for(writer, node->operands[i]);
        same = same && ir_node(writer->into, known->ref)->operands[i] == operands[i];
    }
    writer->written[ref].visit = visit_of(writer);
    return same && !fresh ? known->ref : emit(writer, ref, operands);
}

static void write_gets(Writer *writer, const RematUnit *unit)
{
    for (int i = 0; i < unit->values.count; i++) {
        IrRef get = writer->model->values.items[unit->values.items[i]].ref;
        if (get != unit->ref)
            emit(writer, get, &writer->written[unit->ref].ref);
    }
}

static IrRef value_for(Writer *writer, IrRef ref)
{
    const RematModel *model = writer->model;
    int value = model->value_of[ref];
    if (value < 0) {
        const Written *known = &writer->written[ref];
        bool there = known->ref >= 0 && (known->visit == visit_of(writer) || ir_node(writer->from, ref)->op == OP_param);
        return there ? known->ref : write_node(writer, ref, false);
    }
    int index = model->values.items[value].unit;
    const RematUnit *unit = &model->units.items[index];
    int copy = remat_copy_of(unit, writer->step);
    if (writer->copy[index] != copy) {
        bool before = writer->again;
        writer->again = true;
        writer->copy[index] = copy;
        write_node(writer, unit->ref, true);
        write_gets(writer, unit);
        writer->again = before;
    }
    return writer->written[ref].ref;
}

static void write_step(Writer *writer, const Group *group)
{
    for (int i = 0; i < group->members.count; i++) {
        IrRef ref = group->members.items[i];
        write_node(writer, ref, false);
        for (int k = 0; group->kind == GROUP_CONTROL && k < writer->model->steps.items[writer->step].units.count; k++)
            write_gets(writer, &writer->model->units.items[writer->model->steps.items[writer->step].units.items[k]]);
    }
}

IrFunc *remat_write(const RematModel *model, const IrFunc *func)
{
    IrFunc *into = arena_new_of(func->module->arena, IrFunc);
    *into = (IrFunc){.module = func->module, .name = func->name};
    Writer writer = {.model = model, .from = func, .into = into};
    writer.written = arena_array(model->arena, Written, func->nodes.count + 1);
    writer.copy = arena_array(model->arena, int, model->units.count + 1);
    for (IrRef ref = 0; ref < func->nodes.count; ref++)
        writer.written[ref].ref = -1;
    for (int i = 0; i < func->params.count; i++)
        emit(&writer, func->params.items[i], NULL);
    for (int i = 0; i < model->fuse.groups.count; i++) {
        writer.step = i;
        write_step(&writer, &model->fuse.groups.items[i]);
    }
    writer.step = model->fuse.groups.count;
    for (int i = 0; i < func->results.count; i++)
        ir_result(into, value_for(&writer, func->results.items[i]),
                  i < func->result_names.count ? func->result_names.items[i] : NULL);
    into->at = func->at;
    return into;
}
