/* The reference interpreter: tensors, functions and control. */
#include "ir/eval.h"

#include <string.h>

EvalTensor eval_tensor_new(Arena *arena, IrType type)
{
    EvalTensor tensor = {.type = type};
    int64_t count = ir_element_count(&type);
    if (dtype_class(type.dtype) == CLASS_int)
        tensor.integer = arena_array(arena, int64_t, count + !count);
    else
        tensor.real = arena_array(arena, double, count + !count);
    return tensor;
}

EvalElement eval_read(DType dtype, const unsigned char *at)
{
    union {
        float f32;
        double f64;
        uint16_t half;
        int32_t i32;
        uint32_t u32;
        uint8_t u8;
        int64_t i64;
    } bits;
    memcpy(&bits, at, (size_t)dtype_size(dtype));
    switch (dtype) {
    case DT_f32:
        return (EvalElement){.real = (double)bits.f32};
    case DT_f64:
        return (EvalElement){.real = bits.f64};
    case DT_f16:
        return (EvalElement){.real = (double)half_to_float(bits.half)};
    case DT_bf16:
        return (EvalElement){.real = (double)bfloat_to_float(bits.half)};
    case DT_i32:
        return (EvalElement){.integer = bits.i32};
    case DT_u32:
        return (EvalElement){.integer = bits.u32};
    case DT_i64:
        return (EvalElement){.integer = bits.i64};
    case DT_bool:
        return (EvalElement){.real = bits.u8 != 0};
    default:
        return (EvalElement){.integer = bits.u8};
    }
}

void eval_write(DType dtype, EvalElement value, unsigned char *at)
{
    if (dtype_class(dtype) == CLASS_int) {
        memcpy(at, &value.integer, (size_t)dtype_size(dtype)); /* the low bytes: the targets are little-endian */
        return;
    }
    float single = (float)value.real;
    /* To f16 and bf16 in one rounding: through dtype_round, since a detour by f32 would round twice. */
    float rounded = (float)dtype_round(dtype, value.real);
    uint16_t half = dtype == DT_f16 ? float_to_half(rounded) : float_to_bfloat(rounded);
    if (dtype == DT_f32)
        memcpy(at, &single, sizeof single);
    else if (dtype == DT_f64)
        memcpy(at, &value.real, sizeof value.real);
    else if (dtype == DT_bool)
        *at = value.real != 0;
    else
        memcpy(at, &half, sizeof half);
}

void eval_tensor_read(EvalTensor *tensor, const void *bytes)
{
    int64_t count = ir_element_count(&tensor->type), size = dtype_size(tensor->type.dtype);
    for (int64_t i = 0; i < count; i++)
        eval_store(tensor, i, eval_read(tensor->type.dtype, (const unsigned char *)bytes + i * size));
}

void eval_tensor_write(const EvalTensor *tensor, void *bytes)
{
    int64_t count = ir_element_count(&tensor->type), size = dtype_size(tensor->type.dtype);
    for (int64_t i = 0; i < count; i++)
        eval_write(tensor->type.dtype, eval_load(tensor, i), (unsigned char *)bytes + i * size);
}

/* ---- functions ---- */

typedef struct Eval {
    Arena *arena;
    EvalMode mode;
} Eval;

/* A value of a function: one tensor, or the results of a control node. */
typedef struct EvalValue {
    EvalTensor tensor;
    EvalTensor *results;
} EvalValue;

static bool run_func(Eval *eval, const IrFunc *func, const EvalTensor *args, EvalTensor *results);

static EvalTensor eval_const(Eval *eval, const IrNode *node)
{
    EvalTensor out = eval_tensor_new(eval->arena, node->type);
    int64_t count = ir_element_count(&node->type);
    EvalElement value = eval_convert(DT_f64, node->type.dtype, (EvalElement){.real = node->value}, eval->mode);
    for (int64_t i = 0; i < count; i++)
        eval_store(&out, i, value);
    return out;
}

static EvalTensor eval_pointwise(Eval *eval, const IrNode *node, const EvalTensor *const *x)
{
    EvalTensor out = eval_tensor_new(eval->arena, node->type);
    int64_t count = ir_element_count(&node->type);
    for (int64_t i = 0; i < count; i++) {
        EvalElement element[3] = {{0, 0}, {0, 0}, {0, 0}};
        for (int k = 0; k < node->operand_count; k++)
            element[k] = eval_load(x[k], i);
        eval_store(&out, i, eval_element(node->op, x[0]->type.dtype, node->type.dtype, element, eval->mode));
    }
    return out;
}

/* ---- control ---- */

static void copy_tensor(EvalTensor *to, const EvalTensor *from)
{
    size_t count = (size_t)ir_element_count(&from->type);
    if (to->integer)
        memcpy(to->integer, from->integer, count * sizeof(int64_t));
    else
        memcpy(to->real, from->real, count * sizeof(double));
}

/* The args of a loop's body: `lead` places for the turn number, then carries, then captures.  Carries get memory of their
 * own, which a turn's results are copied to, so that all else that the turn made can be forgotten. */
typedef struct Loop {
    EvalTensor *args, *next; /* next: where new carries wait until all are there, since they may be old ones in other places */
    int lead, carries;
} Loop;

static Loop loop_start(Eval *eval, const EvalTensor *const *x, int count, int lead, int carries)
{
    Loop loop = {.lead = lead, .carries = carries};
    loop.args = arena_array(eval->arena, EvalTensor, lead + count);
    loop.next = arena_array(eval->arena, EvalTensor, carries);
    for (int i = 0; i < count; i++)
        loop.args[lead + i] = *x[i];
    for (int i = 0; i < carries; i++) {
        loop.args[lead + i] = eval_tensor_new(eval->arena, x[i]->type);
        loop.next[i] = eval_tensor_new(eval->arena, x[i]->type);
        copy_tensor(&loop.args[lead + i], x[i]);
    }
    return loop;
}

static void loop_carry(Loop *loop, const EvalTensor *results)
{
    for (int i = 0; i < loop->carries; i++)
        copy_tensor(&loop->next[i], &results[i]);
    for (int i = 0; i < loop->carries; i++) {
        EvalTensor old = loop->args[loop->lead + i];
        loop->args[loop->lead + i] = loop->next[i];
        loop->next[i] = old;
    }
}

static void store_row(EvalTensor *all, int64_t turn, const EvalTensor *row)
{
    IrPiece piece = ir_piece(&all->type, &row->type, turn);
    do {
        for (int64_t i = 0; i < piece.run; i++)
            eval_store(all, piece.to + i, eval_load(row, piece.from + i));
    } while (ir_piece_next(&piece));
}

static bool eval_for(Eval *eval, const IrNode *node, const EvalTensor *const *x, EvalTensor *results)
{
    const IrFunc *body = node->callee[0];
    int64_t bound = node->attr[0].items[0], trip = x[0]->integer[0];
    Loop loop = loop_start(eval, x + 1, node->operand_count - 1, 1, (int)node->attr[1].items[0]);
    EvalTensor *turn = arena_array(eval->arena, EvalTensor, body->results.count + 1);
    for (int i = loop.carries; i < body->results.count; i++)
        results[i] = eval_tensor_new(eval->arena, ir_result_type(node, i));
    loop.args[0] = eval_tensor_new(eval->arena, ir_scalar(DT_i32));
    bool fine = true;
    for (int64_t i = 0; fine && i < trip && i < bound; i++) {
        ArenaMark mark = arena_mark(eval->arena);
        loop.args[0].integer[0] = i;
        fine = run_func(eval, body, loop.args, turn);
        for (int r = loop.carries; fine && r < body->results.count; r++)
            store_row(&results[r], i, &turn[r]);
        if (fine)
            loop_carry(&loop, turn);
        arena_rewind(eval->arena, mark);
    }
    for (int i = 0; i < loop.carries; i++)
        results[i] = loop.args[1 + i];
    return fine;
}

static bool eval_while(Eval *eval, const IrNode *node, const EvalTensor *const *x, EvalTensor *results)
{
    int64_t bound = node->attr[0].items[0];
    Loop loop = loop_start(eval, x, node->operand_count, 0, (int)node->attr[1].items[0]);
    EvalTensor *turn = arena_array(eval->arena, EvalTensor, loop.carries + 1), test;
    bool fine = true, more = true;
    for (int64_t i = 0; fine && more; i++) {
        ArenaMark mark = arena_mark(eval->arena);
        fine = run_func(eval, node->callee[0], loop.args, &test);
        more = fine && test.real[0] != 0 && (!bound || i < bound);
        if (fine && more) {
            fine = run_func(eval, node->callee[1], loop.args, turn);
            if (fine)
                loop_carry(&loop, turn);
        }
        arena_rewind(eval->arena, mark);
    }
    for (int i = 0; i < loop.carries; i++)
        results[i] = loop.args[i];
    return fine;
}

static bool eval_control(Eval *eval, const IrNode *node, const EvalTensor *const *x, EvalTensor *results)
{
    if (node->op == OP_for)
        return eval_for(eval, node, x, results);
    if (node->op == OP_while)
        return eval_while(eval, node, x, results);
    if (ir_op_info[node->op].traits & TRAIT_calculus)
        return false;
    int lead = node->op == OP_if;
    EvalTensor *args = arena_array(eval->arena, EvalTensor, node->operand_count + 1);
    for (int i = lead; i < node->operand_count; i++)
        args[i - lead] = *x[i];
    return run_func(eval, node->callee[lead && x[0]->real[0] == 0], args, results);
}

static bool eval_node(Eval *eval, const IrNode *node, const EvalValue *values, EvalValue *out)
{
    const EvalTensor **x = arena_array(eval->arena, const EvalTensor *, node->operand_count + 1);
    for (int i = 0; i < node->operand_count; i++)
        x[i] = &values[node->operands[i]].tensor;
    if (ir_op_info[node->op].traits & TRAIT_control) {
        out->results = arena_array(eval->arena, EvalTensor, ir_result_count(node) + 1);
        return eval_control(eval, node, x, out->results);
    }
    if (node->op == OP_get) {
        out->tensor = values[node->operands[0]].results[node->attr[0].items[0]];
    } else if (node->op == OP_const) {
        out->tensor = eval_const(eval, node);
    } else if (node->op == OP_literal) {
        out->tensor = eval_tensor_new(eval->arena, node->type);
        eval_tensor_read(&out->tensor, node->data);
    } else if (ir_op_info[node->op].traits & TRAIT_pointwise) {
        out->tensor = eval_pointwise(eval, node, x);
    } else {
        out->tensor = eval_shape(eval->arena, node, x, eval->mode);
    }
    return true;
}

static bool run_func(Eval *eval, const IrFunc *func, const EvalTensor *args, EvalTensor *results)
{
    EvalValue *values = arena_array(eval->arena, EvalValue, func->nodes.count);
    int param = 0;
    for (IrRef i = 0; i < func->nodes.count; i++) {
        if (ir_node(func, i)->op == OP_param)
            values[i].tensor = args[param++];
        else if (!eval_node(eval, ir_node(func, i), values, &values[i]))
            return false;
    }
    for (int i = 0; i < func->results.count; i++)
        results[i] = values[func->results.items[i]].tensor;
    return true;
}

bool ir_eval(Arena *arena, const IrFunc *func, EvalMode mode, const EvalTensor *args, EvalTensor *results)
{
    Eval eval = {arena, mode};
    return run_func(&eval, func, args, results);
}
