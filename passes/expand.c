/* expand: rewrites kernels so that only operations which code generators print are left: transcendental functions become
 * polynomials (expand_math.c), philox its ten rounds, f16 and bf16 arithmetic that is not printed f32 arithmetic.  What a
 * kernel computes, its loops and its memory stay the same.  It ends because each expansion uses printable operations only. */
#include "passes/expand_internal.h"

#include <string.h>

/* ---- building ---- */

static bool inst_equal(const KInst *a, const KInst *b)
{
    return a->op == b->op && a->dtype == b->dtype && memcmp(a->arg, b->arg, sizeof a->arg) == 0 && a->buffer == b->buffer &&
           memcmp(&a->value, &b->value, sizeof a->value) == 0 && a->imm == b->imm &&
           memcmp(&a->index, &b->index, sizeof a->index) == 0;
}

KRef expand_push(Expander *e, KInst inst)
{
    for (int i = e->part; i < e->stage->insts.count; i++)
        if (inst_equal(&e->stage->insts.items[i], &inst))
            return i;
    list_push(e->arena, &e->stage->insts, inst);
    return e->stage->insts.count - 1;
}

KRef expand_op(Expander *e, int op, DType dtype, KRef a, KRef b, KRef c)
{
    return expand_push(e, (KInst){.op = op, .dtype = dtype, .arg = {a, b, c}});
}

KRef expand_real(Expander *e, double value)
{
    value = e->wide ? value : (double)(float)value;
    return expand_push(e, (KInst){.op = K_value, .dtype = e->real, .arg = {-1, -1, -1}, .value = value});
}

static KRef push_int(Expander *e, DType dtype, int64_t value)
{
    return expand_push(e, (KInst){.op = K_value, .dtype = dtype, .arg = {-1, -1, -1}, .imm = value});
}

KRef expand_bits(Expander *e, int64_t value)
{
    return push_int(e, e->bits, value);
}

/* ---- random numbers ---- */

typedef struct Philox {
    KRef word[4], key[2];
} Philox;

static KRef push_u32(Expander *e, int op, KRef a, KRef b)
{
    return expand_op(e, op, DT_u32, a, b, -1);
}

/* Words 0 and 2 of the next counter come from products' high halves, words 1 and 3 from the low ones. */
static KRef philox_word(Expander *e, const Philox *p, int word)
{
    KRef factor = push_int(e, DT_u32, word < 2 ? 0xCD9E8D57 : 0xD2511F53);
    KRef from = p->word[word < 2 ? 2 : 0];
    if (word == 1 || word == 3)
        return push_u32(e, OP_mul, from, factor);
    KRef high = push_u32(e, K_mul_high, from, factor);
    KRef mixed = push_u32(e, OP_xor, high, p->word[word + 1]);
    return push_u32(e, OP_xor, mixed, p->key[word / 2]);
}

static KRef expand_philox(Expander *e, const KInst *inst, const KRef *args)
{
    Philox p = {.word = {args[2], push_int(e, DT_u32, 0), push_int(e, DT_u32, inst->imm / 4), push_int(e, DT_u32, 0)},
                .key = {args[0], args[1]}};
    for (int round = 0; round < 9; round++) {
        KRef next[4];
        for (int word = 0; word < 4; word++)
            next[word] = philox_word(e, &p, word);
        memcpy(p.word, next, sizeof next);
        p.key[0] = push_u32(e, OP_add, p.key[0], push_int(e, DT_u32, 0x9E3779B9));
        p.key[1] = push_u32(e, OP_add, p.key[1], push_int(e, DT_u32, 0xBB67AE85));
    }
    return philox_word(e, &p, (int)(inst->imm % 4));
}

/* ---- integers ---- */

static KRef expand_int_sign(Expander *e, DType dtype, KRef a)
{
    KRef zero = push_int(e, dtype, 0);
    KRef negative = expand_op(e, OP_lt, DT_bool, a, zero, -1);
    KRef positive = expand_op(e, OP_lt, DT_bool, zero, a, -1);
    KRef rest = expand_op(e, OP_select, dtype, positive, push_int(e, dtype, 1), zero);
    return expand_op(e, OP_select, dtype, negative, push_int(e, dtype, -1), rest);
}

/* ---- one instruction ---- */

static DType first_dtype(const Expander *e, const KInst *inst, const KRef *args)
{
    return kop_arity(inst->op) > 0 && args[0] >= 0 ? e->stage->insts.items[args[0]].dtype : inst->dtype;
}

static bool is_small_float(DType dtype)
{
    return dtype == DT_f16 || dtype == DT_bf16;
}

static KRef push_copy(Expander *e, const KInst *inst, const KRef *args)
{
    KInst copy = *inst;
    memcpy(copy.arg, args, sizeof copy.arg);
    list_push(e->arena, &e->stage->insts, copy);
    return e->stage->insts.count - 1;
}

/* Functions of f16 and bf16 are computed in f32. */
static KRef expand_real_function(Expander *e, const KInst *inst, const KRef *args)
{
    DType from = first_dtype(e, inst, args);
    e->wide = from == DT_f64;
    e->fast = e->shorten && !e->wide;
    e->real = e->wide ? DT_f64 : DT_f32;
    e->bits = e->wide ? DT_i64 : DT_i32;
    int before = e->stage->insts.count;
    KRef wide[3] = {args[0], args[1], args[2]};
    for (int i = 0; is_small_float(from) && i < kop_arity(inst->op); i++)
        wide[i] = expand_op(e, OP_cast, DT_f32, args[i], -1, -1);
    KRef result = expand_function(e, inst->op, wide);
    if (result < 0) {
        e->stage->insts.count = before;
        return push_copy(e, inst, args);
    }
    bool narrow = is_small_float(from) && inst->dtype == from;
    return narrow ? expand_op(e, OP_cast, from, result, -1, -1) : result;
}

static KRef expand_inst(Expander *e, const KInst *inst, const KRef *args)
{
    if (inst->op == OP_stop_grad)
        return args[0];
    if (inst->op == K_philox)
        return expand_philox(e, inst, args);
    bool pointwise = inst->op < OP_COUNT;
    DType from = first_dtype(e, inst, args);
    if (pointwise && dtype_is_float(from))
        return expand_real_function(e, inst, args);
    if (inst->op == OP_sign)
        return expand_int_sign(e, inst->dtype, args[0]);
    return push_copy(e, inst, args);
}

/* ---- stages and kernels ---- */

static KRef mapped(const KRef *map, KRef ref)
{
    return ref < 0 ? -1 : map[ref];
}

static void expand_stage(Arena *arena, KStage *stage, bool fast)
{
    KStage old = *stage;
    KRef *map = arena_array(arena, KRef, old.insts.count + 1);
    memset(&stage->insts, 0, sizeof stage->insts);
    Expander e = {.arena = arena, .stage = stage, .shorten = fast};
    for (int i = 0; i <= old.insts.count; i++) {
        if (i == old.body_count)
            stage->body_count = e.part = stage->insts.count;
        if (i == old.insts.count)
            break;
        const KInst *inst = &old.insts.items[i];
        KRef args[3];
        for (int a = 0; a < 3; a++)
            args[a] = mapped(map, inst->arg[a]);
        map[i] = expand_inst(&e, inst, args);
    }
    for (int i = 0; i < stage->accs.count; i++)
        stage->accs.items[i].value = mapped(map, stage->accs.items[i].value);
    for (int i = 0; i < stage->stores.count; i++) {
        KStore *store = &stage->stores.items[i];
        store->value = mapped(map, store->value);
        store->guard = mapped(map, store->guard);
        store->dynamic = mapped(map, store->dynamic);
    }
}

void expand_kernel(Kernel *kernel, bool fast)
{
    for (int i = 0; i < kernel->stages.count; i++)
        expand_stage(kernel->arena, &kernel->stages.items[i], fast);
}

void pass_expand(Plan *plan, const LowerOptions *options)
{
    for (int i = 0; i < plan->kernels.count; i++)
        expand_kernel(plan->kernels.items[i], options->fast);
}
