/* Recomputation, first step: the steps of a function and the arrays that they leave, as fusion sees them. */
#include "passes/remat_internal.h"

enum { COST_OPERATION = 2, COST_READ = 24, COST_WRITE = 48, COST_REDUCED = 2, UNKNOWN_TURNS = 16 };

/* ---- what a computation costs, about, in multiplications of a contraction ---- */

static double func_cost(const IrFunc *func);

static double contraction_cost(const IrFunc *func, const IrNode *node)
{
    const IrType *lhs = ir_type_of(func, node->operands[0]), *rhs = ir_type_of(func, node->operands[1]);
    double cost = (double)ir_element_count(&node->type);
    if (node->op == OP_conv)
        return rhs->dim[rhs->rank - 1] ? cost * (double)ir_element_count(rhs) / (double)rhs->dim[rhs->rank - 1] : 0;
    for (int i = 0; i < node->attr[2].count; i++)
        cost *= (double)lhs->dim[node->attr[2].items[i]];
    return cost;
}

static double node_cost(const IrFunc *func, const IrNode *node)
{
    unsigned traits = ir_op_info[node->op].traits;
    if (traits & TRAIT_control) {
        double turns = node->op == OP_for || node->op == OP_while ? (double)node->attr[0].items[0] : 1, body = 0;
        for (int k = 0; k < ir_callee_count(node->op); k++)
            body += func_cost(node->callee[k]);
        return (turns > 0 || node->op == OP_for ? turns : UNKNOWN_TURNS) * body;
    }
    if (traits & TRAIT_contract)
        return contraction_cost(func, node);
    if (traits & TRAIT_reduce)
        return COST_REDUCED * (double)ir_element_count(ir_type_of(func, node->operands[0]));
    return COST_OPERATION * fuse_own_cost(node) * (double)ir_element_count(&node->type);
}

static double func_cost(const IrFunc *func)
{
    double cost = 0;
    for (IrRef ref = 0; ref < func->nodes.count; ref++)
        cost += node_cost(func, ir_node(func, ref));
    return cost;
}

/* ---- values and units ---- */

static int64_t bytes_of(const IrType *type)
{
    return ir_element_count(type) * dtype_size(type->dtype);
}

static int add_unit(RematModel *model, IrRef ref, int step)
{
    list_push(model->arena, &model->units, ((RematUnit){.ref = ref, .step = step}));
    list_push(model->arena, &model->steps.items[step].units, model->units.count - 1);
    return model->units.count - 1;
}

static void add_value(RematModel *model, IrRef ref, int unit)
{
    const FuseNode *info = &model->fuse.node[ref];
    bool elsewhere = info->buffer >= 0; /* it is computed in memory of the caller's */
    RematValue value = {ref, unit, elsewhere ? 0 : bytes_of(ir_type_of(model->fuse.func, ref))};
    model->value_of[ref] = model->values.count;
    list_push(model->arena, &model->units.items[unit].values, model->values.count);
    list_push(model->arena, &model->values, value);
}

/* The arrays that a body needs: as many times as threads take turns at once. */
static int64_t inner_bytes(const RematModel *model, const IrNode *node)
{
    int64_t most = 0;
    for (int k = 0; k < ir_callee_count(node->op); k++) {
        int64_t bytes = remat_peak(remat_model(model->arena, node->callee[k], model->options, false));
        most = bytes > most ? bytes : most;
    }
    bool at_once = node->op == OP_for && !node->attr[1].items[0];
    return at_once && model->options->lanes > 1 ? most * model->options->lanes : most;
}

static void add_control(RematModel *model, IrRef ref, int step)
{
    const IrFunc *func = model->fuse.func;
    int unit = add_unit(model, ref, step);
    model->units.items[unit].inner = inner_bytes(model, ir_node(func, ref));
    for (IrRef get = ref + 1; get < func->nodes.count; get++)
        if (ir_node(func, get)->op == OP_get && ir_node(func, get)->operands[0] == ref && model->fuse.node[get].needed)
            add_value(model, get, unit);
}

static void add_units(RematModel *model)
{
    for (int step = 0; step < model->fuse.groups.count; step++) {
        const Group *group = &model->fuse.groups.items[step];
        for (int i = 0; i < group->members.count; i++) {
            IrRef ref = group->members.items[i];
            if (group->kind == GROUP_CONTROL)
                add_control(model, ref, step);
            else if (!model->fuse.node[ref].local && !model->fuse.node[ref].inner)
                add_value(model, ref, add_unit(model, ref, step));
        }
    }
}

/* ---- what they are computed from ---- */

static void walk(RematModel *model, RematUnit *unit, IrRef ref, int *seen)
{
    const IrFunc *func = model->fuse.func;
    const IrNode *node = ir_node(func, ref);
    unit->cost += node_cost(func, node);
    for (int i = 0; i < node->operand_count; i++) {
        IrRef operand = node->operands[i];
        int value = model->value_of[operand];
        if (seen[operand] == unit->ref + 1)
            continue;
        seen[operand] = unit->ref + 1;
        if (value >= 0) {
            list_push(model->arena, &unit->reads, value);
            unit->cost += COST_READ * (double)ir_element_count(ir_type_of(func, operand));
        } else if (!fuse_is_leaf(ir_node(func, operand))) {
            walk(model, unit, operand, seen);
        }
    }
}

static void find_reads(RematModel *model)
{
    int *seen = arena_array(model->arena, int, model->fuse.func->nodes.count + 1);
    for (int i = 0; i < model->units.count; i++) {
        RematUnit *unit = &model->units.items[i];
        walk(model, unit, unit->ref, seen);
        for (int k = 0; k < unit->values.count; k++) {
            IrRef ref = model->values.items[unit->values.items[k]].ref;
            unit->cost += COST_WRITE * (double)ir_element_count(ir_type_of(model->fuse.func, ref));
        }
    }
    for (int step = 0; step < model->fuse.groups.count; step++) {
        const Group *group = &model->fuse.groups.items[step];
        for (int i = 0; i < group->reads.count; i++) {
            int value = model->value_of[group->reads.items[i].ref];
            if (value >= 0 && model->units.items[model->values.items[value].unit].step != step)
                list_push(model->arena, &model->steps.items[step].reads, value);
        }
    }
}

static void read_results(RematModel *model)
{
    const IrFunc *func = model->fuse.func;
    for (int i = 0; i < func->results.count; i++) {
        int value = model->value_of[func->results.items[i]];
        if (value < 0)
            continue;
        model->units.items[model->values.items[value].unit].fixed = true;
        list_push(model->arena, &model->steps.items[model->steps.count - 1].reads, value);
    }
}

/* Buffers as `pass_fuse` will number them: inputs, then outputs. */
static void place_results(Arena *arena, const IrFunc *func, const LowerOptions *options, int **params, int **wanted)
{
    *params = arena_array(arena, int, func->params.count + 1);
    *wanted = arena_array(arena, int, func->results.count + 1);
    for (int i = 0; i < func->params.count; i++)
        (*params)[i] = i;
    for (int i = 0; i < func->results.count; i++)
        (*wanted)[i] = options->alias && options->alias[i] >= 0 ? options->alias[i] : func->params.count + i;
}

RematModel *remat_model(Arena *arena, const IrFunc *func, const LowerOptions *options, bool entry)
{
    RematModel *model = arena_new_of(arena, RematModel);
    int *params = NULL, *wanted = NULL;
    if (entry)
        place_results(arena, func, options, &params, &wanted);
    model->arena = arena;
    model->options = options;
    model->fuse = fuse_analyse(arena, func, options->no_fuse, params, wanted);
    model->value_of = arena_array(arena, int, func->nodes.count + 1);
    for (IrRef ref = 0; ref < func->nodes.count; ref++)
        model->value_of[ref] = -1;
    for (int i = 0; i <= model->fuse.groups.count; i++)
        list_push(arena, &model->steps, (RematStep){0});
    add_units(model);
    find_reads(model);
    read_results(model);
    return model;
}
