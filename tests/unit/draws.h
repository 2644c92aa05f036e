/* For tests that draw: numbers that follow from a seed alone, and tensors of them. */
#ifndef CM_TESTS_DRAWS_H
#define CM_TESTS_DRAWS_H

#include "ir/ir.h"

typedef struct Draws {
    uint64_t state;
} Draws;

static inline Draws draws_new(uint64_t seed)
{
    return (Draws){hash_bytes(&seed, sizeof seed, 20240607)};
}

static inline uint64_t draw_bits(Draws *draws)
{
    uint64_t z = draws->state += 0x9e3779b97f4a7c15; /* Steele, Lea, Flood 2014: SplitMix */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static inline int64_t draw_below(Draws *draws, int64_t count)
{
    return (int64_t)(draw_bits(draws) % (uint64_t)count);
}

static inline int64_t draw_between(Draws *draws, int64_t first, int64_t last)
{
    return first + draw_below(draws, last - first + 1);
}

static inline bool draw_chance(Draws *draws, int percent)
{
    return draw_below(draws, 100) < percent;
}

static inline double draw_real(Draws *draws, double low, double high)
{
    return low + (high - low) * (double)(draw_bits(draws) >> 11) * 0x1p-53;
}

/* Floats between the limits, whole numbers between the others, either truth. */
static inline EvalTensor draw_tensor(Arena *arena, Draws *draws, IrType type, double low, double high, int64_t first,
                                     int64_t last)
{
    EvalTensor tensor = eval_tensor_new(arena, type);
    for (int64_t i = 0; i < ir_element_count(&type); i++) {
        if (dtype_class(type.dtype) == CLASS_int)
            tensor.integer[i] =
                draw_between(draws, type.dtype == DT_i32 || type.dtype == DT_i64 || first > 0 ? first : 0, last);
        else if (type.dtype == DT_bool)
            tensor.real[i] = draw_chance(draws, 50);
        else
            tensor.real[i] = dtype_round(type.dtype, draw_real(draws, low, high));
    }
    return tensor;
}

#endif
