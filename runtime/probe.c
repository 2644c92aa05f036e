/* Probes: builds a function whose results tell of the values inside another one. */
#include "runtime/probe.h"

static void push_probe(Prober *prober, IrFunc *func, const IrFunc *from, IrRef node, IrRef value, ProbeList *probes)
{
    const IrNode *source = ir_node(from, node);
    const IrNode *maker = source->op == OP_get ? ir_node(from, source->operands[0]) : source;
    func->at = source->span;
    Probe probe = {.from = from,
                   .node = node,
                   .span = source->span,
                   .name = source->name,
                   .derives = maker->derives,
                   .op = maker->op,
                   .rule = maker->op == OP_custom ? maker->callee[1] : NULL,
                   .type = *ir_type_of(func, value),
                   .group = prober->next_group};
    prober->tell(func, value, probe.part);
    list_push(prober->arena, probes, probe);
}

static IrFunc *probe_function(Prober *prober, const IrFunc *from, ProbeList *probes);

/* What probes tell as results; in the function of another side, which does not take them, zeros of their types. */
static void probe_results(const Prober *prober, IrFunc *func, const ProbeList *probes, const IrFunc *elsewhere)
{
    for (int i = 0; i < probes->count; i++) {
        for (int k = 0; k < prober->parts; k++) {
            IrRef part = probes->items[i].part[k];
            ir_result(func, elsewhere ? ir_const(func, *ir_type_of(elsewhere, part), 0) : part, NULL);
        }
    }
}

/* What the probes of a callee told, as results `first`, first + 1, .. of the node that calls it. */
static void take_results(const Prober *prober, IrFunc *func, IrRef node, int first, const ProbeList *inner, ProbeList *probes)
{
    for (int i = 0; i < inner->count; i++) {
        Probe probe = inner->items[i];
        probe.group = prober->next_group;
        for (int k = 0; k < prober->parts; k++)
            probe.part[k] = ir_get(func, node, first + prober->parts * i + k);
        list_push(prober->arena, probes, probe);
    }
}

static IrRef *mapped_operands(const Prober *prober, const IrNode *node, const IrRef *map)
{
    IrRef *operands = arena_array(prober->arena, IrRef, node->operand_count);
    for (int i = 0; i < node->operand_count; i++)
        operands[i] = map[node->operands[i]];
    return operands;
}

/* The loop with what its body tells as further rows. */
static IrRef probe_loop(Prober *prober, IrFunc *func, const IrNode *loop, const IrRef *map, ProbeList *probes)
{
    ProbeList inner = {0};
    IrFunc *body = probe_function(prober, loop->callee[0], &inner);
    probe_results(prober, body, &inner, NULL);
    int carries = (int)loop->attr[1].items[0], captures = loop->operand_count - 1 - carries;
    IrRef *operands = mapped_operands(prober, loop, map);
    func->at = loop->span;
    IrRef copy =
        ir_for(func, body, operands[0], loop->attr[0].items[0], operands + 1, carries, operands + 1 + carries, captures);
    take_results(prober, func, copy, loop->callee[0]->results.count, &inner, probes);
    return copy;
}

/* Both sides tell what both have to tell: what a side does not compute is zero there. */
static IrRef probe_branch(Prober *prober, IrFunc *func, const IrNode *branch, const IrRef *map, ProbeList *probes)
{
    ProbeList left = {0}, right = {0};
    IrFunc *yes = probe_function(prober, branch->callee[0], &left);
    IrFunc *no = probe_function(prober, branch->callee[1], &right);
    probe_results(prober, yes, &left, NULL);
    probe_results(prober, yes, &right, no);
    probe_results(prober, no, &left, yes);
    probe_results(prober, no, &right, NULL);
    IrRef *operands = mapped_operands(prober, branch, map);
    func->at = branch->span;
    IrRef copy = ir_if(func, operands[0], yes, no, operands + 1, branch->operand_count - 1);
    int own = branch->callee[0]->results.count;
    take_results(prober, func, copy, own, &left, probes);
    take_results(prober, func, copy, own + prober->parts * left.count, &right, probes);
    return copy;
}

static IrRef copy_probed(Prober *prober, IrFunc *func, const IrFunc *from, IrRef node, const IrRef *map, ProbeList *probes)
{
    const IrNode *source = ir_node(from, node);
    IrRef copy;
    if (source->op == OP_for)
        return probe_loop(prober, func, source, map, probes);
    if (source->op == OP_if)
        return probe_branch(prober, func, source, map, probes);
    if (source->op == OP_param)
        copy = ir_param(func, source->type, source->name);
    else
        copy = ir_copy_node(func, from, node, map);
    if (prober->wants(from, node))
        push_probe(prober, func, from, node, copy, probes);
    return copy;
}

/* The function with probes, and the same results: those of the probes are up to the caller. */
static IrFunc *probe_function(Prober *prober, const IrFunc *from, ProbeList *probes)
{
    IrFunc *func = ir_func_new(prober->module, from->name);
    IrRef *map = arena_array(prober->arena, IrRef, from->nodes.count);
    for (IrRef node = 0; node < from->nodes.count; node++)
        map[node] = copy_probed(prober, func, from, node, map, probes);
    for (int i = 0; i < from->results.count; i++)
        ir_result(func, map[from->results.items[i]], NULL);
    return func;
}

/* Outermost nodes are groups of their own, in order. */
IrFunc *probe_build(Prober *prober, const IrFunc *from, const char *name, ProbeList *probes)
{
    IrFunc *func = ir_func_new(prober->module, name);
    IrRef *map = arena_array(prober->arena, IrRef, from->nodes.count);
    for (IrRef node = 0; node < from->nodes.count; node++) {
        map[node] = copy_probed(prober, func, from, node, map, probes);
        prober->next_group++;
    }
    probe_results(prober, func, probes, NULL);
    return func;
}
