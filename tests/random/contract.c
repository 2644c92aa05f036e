/* Makers of contractions, and of reads and writes at computed places. */
#include "tests/random/internal.h"

/* ---- dot ---- */

typedef struct Roles { /* of the axes of one operand */
    int batch[IR_MAX_RANK], sum[IR_MAX_RANK], batch_count, sum_count;
} Roles;

static Roles random_roles(Scope *scope, int rank)
{
    Roles roles = {.batch_count = 0};
    for (int axis = 0; axis < rank; axis++) {
        int64_t dice = draw_below(&scope->gen->draws, 100);
        if (dice < 25)
            roles.batch[roles.batch_count++] = axis;
        else if (dice < 60)
            roles.sum[roles.sum_count++] = axis;
    }
    return roles;
}

/* The other operand: batch, summed and free axes in any order; `place` says where each of them has gone. */
static IrType partner_type(Scope *scope, const IrType *x, const Roles *roles, int64_t *place)
{
    Gen *gen = scope->gen;
    int64_t sizes[IR_MAX_RANK];
    int count = 0, order[IR_MAX_RANK] = {0}, free = (int)draw_between(&gen->draws, 0, 2);
    for (int i = 0; i < roles->batch_count; i++)
        sizes[count++] = x->dim[roles->batch[i]];
    for (int i = 0; i < roles->sum_count; i++)
        sizes[count++] = x->dim[roles->sum[i]];
    for (int i = 0; i < free; i++)
        sizes[count++] = gen->sizes[draw_below(&gen->draws, SIZE_COUNT)];
    for (int i = 0; i < count; i++) {
        int at = (int)draw_between(&gen->draws, 0, i);
        order[i] = order[at];
        order[at] = i;
    }
    IrType type = {.dtype = x->dtype, .rank = count};
    for (int i = 0; i < count; i++) {
        type.dim[i] = sizes[order[i]];
        place[order[i]] = i;
    }
    return type;
}

bool make_dot(Scope *scope, IrOp op)
{
    IrRef x = draw_chance(&scope->gen->draws, 90) ? any_real(scope, 1, 4) : value_of(scope, random_type(scope->gen, DT_i32, 3));
    int64_t place[IR_MAX_RANK], batch[IR_MAX_RANK], sum[IR_MAX_RANK];
    (void)op;
    if (x == NOTHING)
        return false;
    IrType type = *ir_type_of(scope->func, x);
    Roles roles = random_roles(scope, type.rank);
    IrType other = partner_type(scope, &type, &roles, place), made;
    if (ir_element_count(&other) > element_limit(scope))
        return false;
    IrRef w = value_of(scope, other);
    if (w == NOTHING)
        return false;
    for (int i = 0; i < roles.batch_count; i++)
        batch[i] = roles.batch[i];
    for (int i = 0; i < roles.sum_count; i++)
        sum[i] = roles.sum[i];
    IrInts x_batch = {roles.batch_count, batch}, w_batch = {roles.batch_count, place};
    IrInts x_sum = {roles.sum_count, sum}, w_sum = {roles.sum_count, place + roles.batch_count};
    bool swap = draw_chance(&scope->gen->draws, 30);
    IrNode node = {.op = OP_dot,
                   .operand_count = 2,
                   .operands = swap ? (IrRef[]){w, x} : (IrRef[]){x, w},
                   .attr = {swap ? w_batch : x_batch, swap ? x_batch : w_batch, swap ? w_sum : x_sum, swap ? x_sum : w_sum}};
    if (ir_infer(scope->gen->arena, scope->func, &node, &made) || ir_element_count(&made) > element_limit(scope))
        return false;
    return keep(scope, ir_emit(scope->func, node), dtype_class(type.dtype) == CLASS_int) != NOTHING;
}

/* ---- conv ---- */

bool make_conv(Scope *scope, IrOp op)
{
    Draws *draws = &scope->gen->draws;
    IrRef x = any_real(scope, 2, 4);
    int64_t stride[IR_MAX_RANK], dilation[IR_MAX_RANK];
    (void)op;
    if (x == NOTHING)
        return false;
    IrType type = *ir_type_of(scope->func, x), taps = type, made;
    for (int i = 0; i + 2 < type.rank; i++) {
        taps.dim[i] = draw_between(draws, 1, type.dim[i + 1] < 4 ? type.dim[i + 1] : 4);
        int64_t most = taps.dim[i] > 1 ? (type.dim[i + 1] - 1) / (taps.dim[i] - 1) : 2;
        dilation[i] = draw_between(draws, 1, most < 3 ? most : 3);
        stride[i] = draw_between(draws, 1, 3);
    }
    taps.dim[type.rank - 2] = type.dim[type.rank - 1];
    taps.dim[type.rank - 1] = scope->gen->sizes[draw_below(draws, SIZE_COUNT)];
    IrRef w = ir_element_count(&taps) > element_limit(scope) ? NOTHING : value_of(scope, taps);
    if (w == NOTHING)
        return false;
    IrNode node = {.op = OP_conv,
                   .operand_count = 2,
                   .operands = (IrRef[]){x, w},
                   .attr = {{type.rank - 2, stride}, {type.rank - 2, dilation}}};
    if (ir_infer(scope->gen->arena, scope->func, &node, &made) || ir_element_count(&made) > element_limit(scope))
        return false;
    return keep(scope, ir_emit(scope->func, node), false) != NOTHING;
}

/* ---- take and put_add ---- */

typedef struct Place {
    int axis, batch;
    IrRef index;
    IrType taken; /* the type of what is read or written there */
} Place;

static bool random_place(Scope *scope, const IrType *x, Place *place)
{
    Gen *gen = scope->gen;
    IrType index = {.dtype = DT_i32};
    place->axis = (int)draw_below(&gen->draws, x->rank);
    place->batch = draw_chance(&gen->draws, 60) ? 0 : (int)draw_between(&gen->draws, 0, place->axis);
    int own = (int)draw_between(&gen->draws, 0, 2);
    for (int i = 0; i < place->batch; i++)
        index.dim[index.rank++] = x->dim[i];
    for (int i = 0; i < own; i++)
        index.dim[index.rank++] = gen->sizes[draw_below(&gen->draws, SIZE_COUNT)];
    place->taken = (IrType){.dtype = x->dtype};
    for (int i = 0; i < place->axis; i++)
        place->taken.dim[place->taken.rank++] = x->dim[i];
    for (int i = place->batch; i < index.rank; i++)
        place->taken.dim[place->taken.rank++] = index.dim[i];
    for (int i = place->axis + 1; i < x->rank; i++)
        place->taken.dim[place->taken.rank++] = x->dim[i];
    if (place->taken.rank > 6 || ir_element_count(&place->taken) > element_limit(scope))
        return false;
    place->index = index_below(scope, index, x->dim[place->axis]);
    return true;
}

bool make_take(Scope *scope, IrOp op)
{
    IrRef x = any_value(scope);
    Place place;
    (void)op;
    if (x == NOTHING || !ir_type_of(scope->func, x)->rank || !random_place(scope, ir_type_of(scope->func, x), &place))
        return false;
    return keep(scope, ir_take(scope->func, x, place.index, place.axis, place.batch), is_exact(scope, x)) != NOTHING;
}

bool make_put_add(Scope *scope, IrOp op)
{
    IrRef base = draw_chance(&scope->gen->draws, 80) ? any_real(scope, 1, 4) : any_value(scope);
    IrType type, made;
    Place place;
    (void)op;
    if (base == NOTHING)
        return false;
    type = *ir_type_of(scope->func, base);
    if (!type.rank || !random_place(scope, &type, &place))
        return false;
    IrRef updates = value_of(scope, place.taken);
    IrNode node = {.op = OP_put_add,
                   .operand_count = 3,
                   .operands = (IrRef[]){base, place.index, updates},
                   .attr = {{1, (int64_t[]){place.axis}}, {1, (int64_t[]){place.batch}}}};
    if (updates == NOTHING || ir_infer(scope->gen->arena, scope->func, &node, &made))
        return false;
    return keep(scope, ir_emit(scope->func, node), dtype_class(type.dtype) == CLASS_int) != NOTHING;
}
