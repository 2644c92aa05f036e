/* Builders: a node is inferred as it is made, so that what has been built verifies. */
#include "ir/ir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A builder was misused: a fault of the compiler itself, said and ended at once even where assertions are off. */
static void fault(const IrFunc *func, IrOp op, const char *reason)
{
    fprintf(stderr, "cm: internal fault: in @%s: %s: %s\n", func->name, ir_op_info[op].name, reason);
    abort();
}

IrRef ir_emit(IrFunc *func, IrNode node)
{
    Arena *arena = func->module->arena;
    IrType type;
    const char *reason = ir_infer(arena, func, &node, &type);
    if (reason)
        fault(func, node.op, reason);
    node.type = type;
    node.operands = node.operand_count ? arena_copy(arena, node.operands, sizeof(IrRef) * (size_t)node.operand_count) : NULL;
    for (int i = 0; i < IR_MAX_ATTRS; i++) {
        size_t size = sizeof(int64_t) * (size_t)node.attr[i].count;
        node.attr[i].items = size ? arena_copy(arena, node.attr[i].items, size) : NULL;
    }
    if (!node.span.source)
        node.span = func->at;
    IrRef ref = func->nodes.count;
    list_push(arena, &func->nodes, node);
    if (node.op == OP_param)
        list_push(arena, &func->params, ref);
    return ref;
}

static IrInts ints(const int64_t *items, int count)
{
    return (IrInts){count, items};
}

#define ONE_INT(number) ints((int64_t[]){number}, 1)

/* ---- leaves ---- */

IrRef ir_param(IrFunc *func, IrType type, const char *name)
{
    Arena *arena = func->module->arena;
    return ir_emit(func,
                   (IrNode){.op = OP_param, .type = type, .name = name ? arena_copy_text(arena, name, strlen(name)) : NULL});
}

void ir_result(IrFunc *func, IrRef value, const char *name)
{
    Arena *arena = func->module->arena;
    if (value < 0 || value >= func->nodes.count || ir_op_info[ir_node(func, value)->op].traits & TRAIT_control)
        fault(func, OP_get, "a result that is not a value");
    list_push(arena, &func->results, value);
    list_push(arena, &func->result_names, name ? arena_copy_text(arena, name, strlen(name)) : NULL);
}

IrRef ir_const(IrFunc *func, IrType type, double value)
{
    return ir_emit(func, (IrNode){.op = OP_const, .type = type, .value = value});
}

IrRef ir_literal(IrFunc *func, IrType type, const void *data)
{
    size_t size = (size_t)ir_element_count(&type) * (size_t)dtype_size(type.dtype);
    const void *copy = size ? arena_copy(func->module->arena, data, size) : "";
    return ir_emit(func, (IrNode){.op = OP_literal, .type = type, .data = copy});
}

IrRef ir_iota(IrFunc *func, IrType type, int axis)
{
    return ir_emit(func, (IrNode){.op = OP_iota, .type = type, .attr = {ONE_INT(axis)}});
}

/* ---- pointwise ---- */

IrRef ir_unary(IrFunc *func, IrOp op, IrRef x)
{
    return ir_emit(func, (IrNode){.op = op, .operand_count = 1, .operands = &x});
}

IrRef ir_binary(IrFunc *func, IrOp op, IrRef a, IrRef b)
{
    return ir_emit(func, (IrNode){.op = op, .operand_count = 2, .operands = (IrRef[]){a, b}});
}

IrRef ir_select(IrFunc *func, IrRef condition, IrRef yes, IrRef no)
{
    return ir_emit(func, (IrNode){.op = OP_select, .operand_count = 3, .operands = (IrRef[]){condition, yes, no}});
}

IrRef ir_cast(IrFunc *func, IrRef x, DType dtype)
{
    if (ir_type_of(func, x)->dtype == dtype)
        return x;
    return ir_emit(func, (IrNode){.op = OP_cast, .type = {.dtype = dtype}, .operand_count = 1, .operands = &x});
}

/* ---- views ---- */

/* The node wants rising dims; an operand whose axes come in another order is transposed first. */
IrRef ir_broadcast(IrFunc *func, IrRef x, IrType type, const int64_t *dims)
{
    int rank = ir_type_of(func, x)->rank;
    int64_t perm[IR_MAX_RANK], rising[IR_MAX_RANK];
    bool sorted = true;
    for (int i = 0; i < rank; i++) {
        int at = i;
        for (; at > 0 && rising[at - 1] > dims[i]; at--) {
            rising[at] = rising[at - 1];
            perm[at] = perm[at - 1];
            sorted = false;
        }
        rising[at] = dims[i];
        perm[at] = i;
    }
    if (!sorted)
        x = ir_transpose(func, x, perm);
    return ir_emit(
        func, (IrNode){.op = OP_broadcast, .type = type, .operand_count = 1, .operands = &x, .attr = {ints(rising, rank)}});
}

IrRef ir_broadcast_scalar(IrFunc *func, IrRef x, const IrType *shape)
{
    if (!shape->rank)
        return x;
    return ir_broadcast(func, x, ir_with_dtype(*shape, ir_type_of(func, x)->dtype), NULL);
}

IrRef ir_reshape(IrFunc *func, IrRef x, int rank, const int64_t *dim)
{
    IrType type = ir_type(ir_type_of(func, x)->dtype, rank, dim);
    return ir_emit(func, (IrNode){.op = OP_reshape, .type = type, .operand_count = 1, .operands = &x});
}

/* A view with up to three attributes, each with one item for each axis of x. */
static IrRef view(IrFunc *func, IrOp op, IrRef x, const int64_t *a, const int64_t *b, const int64_t *c)
{
    int rank = ir_type_of(func, x)->rank;
    IrNode node = {.op = op, .operand_count = 1, .operands = &x, .attr = {ints(a, rank)}};
    if (b) {
        node.attr[1] = ints(b, rank);
        node.attr[2] = ints(c, rank);
    }
    return ir_emit(func, node);
}

IrRef ir_transpose(IrFunc *func, IrRef x, const int64_t *perm)
{
    return view(func, OP_transpose, x, perm, NULL, NULL);
}

IrRef ir_slice(IrFunc *func, IrRef x, const int64_t *start, const int64_t *stop, const int64_t *step)
{
    return view(func, OP_slice, x, start, stop, step);
}

IrRef ir_pad(IrFunc *func, IrRef x, const int64_t *lo, const int64_t *hi, const int64_t *inner)
{
    return view(func, OP_pad, x, lo, hi, inner);
}

IrRef ir_concat(IrFunc *func, const IrRef *parts, int count, int axis)
{
    return ir_emit(func, (IrNode){.op = OP_concat, .operand_count = count, .operands = parts, .attr = {ONE_INT(axis)}});
}

/* ---- reductions and contractions ---- */

IrRef ir_reduce(IrFunc *func, IrOp op, IrRef x, const int64_t *axes, int count)
{
    return ir_emit(func, (IrNode){.op = op, .operand_count = 1, .operands = &x, .attr = {ints(axes, count)}});
}

IrRef ir_dot(IrFunc *func, IrRef lhs, IrRef rhs, IrInts lhs_batch, IrInts rhs_batch, IrInts lhs_sum, IrInts rhs_sum)
{
    return ir_emit(func, (IrNode){.op = OP_dot,
                                  .operand_count = 2,
                                  .operands = (IrRef[]){lhs, rhs},
                                  .attr = {lhs_batch, rhs_batch, lhs_sum, rhs_sum}});
}

IrRef ir_conv(IrFunc *func, IrRef x, IrRef w, const int64_t *stride, const int64_t *dilation)
{
    int spatial = ir_type_of(func, x)->rank - 2;
    return ir_emit(func, (IrNode){.op = OP_conv,
                                  .operand_count = 2,
                                  .operands = (IrRef[]){x, w},
                                  .attr = {ints(stride, spatial), ints(dilation, spatial)}});
}

/* ---- reads and writes at computed places ---- */

IrRef ir_take(IrFunc *func, IrRef x, IrRef index, int axis, int batch)
{
    return ir_emit(
        func,
        (IrNode){.op = OP_take, .operand_count = 2, .operands = (IrRef[]){x, index}, .attr = {ONE_INT(axis), ONE_INT(batch)}});
}

IrRef ir_put_add(IrFunc *func, IrRef base, IrRef index, IrRef updates, int axis, int batch)
{
    return ir_emit(func, (IrNode){.op = OP_put_add,
                                  .operand_count = 3,
                                  .operands = (IrRef[]){base, index, updates},
                                  .attr = {ONE_INT(axis), ONE_INT(batch)}});
}

/* ---- control ---- */

/* Operands in up to three groups, one after the other. */
static IrRef *join(IrFunc *func, const IrRef *first, int a, const IrRef *second, int b, const IrRef *third, int c)
{
    IrRef *all = arena_array(func->module->arena, IrRef, a + b + c);
    const IrRef *group[3] = {first, second, third};
    int count[3] = {a, b, c}, at = 0;
    for (int g = 0; g < 3; g++) {
        for (int i = 0; i < count[g]; i++)
            all[at++] = group[g][i];
    }
    return all;
}

IrRef ir_call(IrFunc *func, IrFunc *callee, const IrRef *args, int count)
{
    return ir_emit(func, (IrNode){.op = OP_call, .operand_count = count, .operands = args, .callee = {callee}});
}

IrRef ir_for(IrFunc *func, IrFunc *body, IrRef trip, int64_t bound, const IrRef *carries, int carry_count,
             const IrRef *captures, int capture_count)
{
    return ir_emit(func, (IrNode){.op = OP_for,
                                  .operand_count = 1 + carry_count + capture_count,
                                  .operands = join(func, &trip, 1, carries, carry_count, captures, capture_count),
                                  .attr = {ONE_INT(bound), ONE_INT(carry_count)},
                                  .callee = {body}});
}

IrRef ir_for_pieces(IrFunc *func, IrFunc *body, int64_t bound, IrInts whole, const IrRef *captures, int capture_count)
{
    IrRef trip = ir_const(func, ir_scalar(DT_i32), (double)bound);
    return ir_emit(func, (IrNode){.op = OP_for,
                                  .operand_count = 1 + capture_count,
                                  .operands = join(func, &trip, 1, captures, capture_count, NULL, 0),
                                  .attr = {ONE_INT(bound), ONE_INT(0), whole},
                                  .callee = {body}});
}

IrRef ir_while(IrFunc *func, IrFunc *condition, IrFunc *body, int64_t bound, const IrRef *carries, int carry_count,
               const IrRef *captures, int capture_count)
{
    return ir_emit(func, (IrNode){.op = OP_while,
                                  .operand_count = carry_count + capture_count,
                                  .operands = join(func, carries, carry_count, captures, capture_count, NULL, 0),
                                  .attr = {ONE_INT(bound), ONE_INT(carry_count)},
                                  .callee = {condition, body}});
}

IrRef ir_if(IrFunc *func, IrRef condition, IrFunc *yes, IrFunc *no, const IrRef *captures, int capture_count)
{
    return ir_emit(func, (IrNode){.op = OP_if,
                                  .operand_count = 1 + capture_count,
                                  .operands = join(func, &condition, 1, captures, capture_count, NULL, 0),
                                  .callee = {yes, no}});
}

IrRef ir_get(IrFunc *func, IrRef node, int index)
{
    return ir_emit(func, (IrNode){.op = OP_get, .operand_count = 1, .operands = &node, .attr = {ONE_INT(index)}});
}
