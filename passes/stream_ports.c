/* What each loop of a family reads from outside, and what it gives. */
#include "passes/stream_internal.h"

/* Not worth reading: made in the block. */
bool stream_is_leaf(const IrNode *node)
{
    return node->op == OP_const || node->op == OP_iota;
}

static void add_input(const Family *family, StreamSlices *inputs, IrRef ref, const Roles *roles)
{
    for (int i = 0; i < inputs->count; i++)
        if (inputs->items[i].ref == ref && stream_same_roles(&inputs->items[i].roles, roles))
            return;
    StreamSlice slice = {ref, *roles, -1};
    list_push(family->func->module->arena, inputs, slice);
}

static void find_inputs(const Family *family, int level, IrRef ref, bool *seen, StreamSlices *inputs)
{
    const IrNode *node = ir_node(family->func, ref);
    if (seen[ref])
        return;
    seen[ref] = true;
    for (int i = 0; i < node->operand_count; i++) {
        IrRef operand = node->operands[i];
        Roles roles = stream_cut_roles(family, node, &family->node[ref], i);
        if (stream_in_loop(family, operand, level))
            find_inputs(family, level, operand, seen, inputs);
        else if (!stream_is_leaf(ir_node(family->func, operand)))
            add_input(family, inputs, operand, &roles);
    }
}

/* What is a result of the program, or what nodes outside of all loops read. */
static bool *find_read(const Family *family)
{
    const IrFunc *func = family->func;
    bool *read = arena_array(func->module->arena, bool, func->nodes.count + 1);
    for (int i = 0; i < func->results.count; i++)
        read[func->results.items[i]] = true;
    for (IrRef ref = 0; ref < func->nodes.count; ref++) {
        const IrNode *node = ir_node(func, ref);
        bool outside = !stream_is_given(family, ref);
        for (int i = 0; i < node->operand_count && outside; i++)
            read[node->operands[i]] = true;
    }
    return read;
}

/* From the last loop to the first: what a loop reads is given by those before it, also for tiles that are made again. */
void stream_ports(Family *family)
{
    const IrFunc *func = family->func;
    Arena *arena = func->module->arena;
    bool *read = find_read(family);
    family->ports = arena_array(arena, StreamPorts, family->levels + 1);
    for (int level = family->levels - 1; level >= 0; level--) {
        StreamPorts *ports = &family->ports[level];
        bool *seen = arena_array(arena, bool, func->nodes.count + 1);
        for (IrRef ref = 0; ref < func->nodes.count; ref++)
            if (read[ref] && family->node[ref].level == level && stream_is_given(family, ref))
                list_push(arena, &ports->outputs, ref);
        for (int i = 0; i < ports->outputs.count; i++)
            find_inputs(family, level, ports->outputs.items[i], seen, &ports->inputs);
        for (IrRef ref = 0; ref < func->nodes.count; ref++)
            ports->contractions += seen[ref] && family->node[ref].class == STREAM_tile && ir_node(func, ref)->op == OP_dot;
        for (int i = 0; i < ports->inputs.count; i++)
            read[ports->inputs.items[i].ref] = true;
    }
}
