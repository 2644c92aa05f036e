/* Functions that the derivatives of structural primitives are checked on.  Each row names the primitive that it is about, so
 * that a primitive without a row is noticed, and the fact that it adds.  i32 params are drawn from -1 to 4: where they index an
 * axis of size 4, they reach outside on both sides. */
#ifndef CM_TESTS_CALCULUS_CASES_H
#define CM_TESTS_CALCULUS_CASES_H

#include "ir/ir.h"

typedef struct CalculusCase {
    IrOp op;
    const char *fact, *text;
} CalculusCase;

static const CalculusCase structural_cases[] = {
    /* ---- leaves ---- */
    {OP_param, "a param returned", "func @f(%x: f32[3], %y: f32[3]) { return %x, %y, %x }"},
    {OP_const, "a factor", "func @f(%x: f32[3]) { %c = const 2.5 : f32[3] %y = mul %x, %c : f32[3] return %y, %c }"},
    {OP_literal, "a factor",
     "func @f(%x: f32[3]) { %c = literal [1.0, 0.0, -3.0] : f32[3] %y = mul %c, %x : f32[3] return %y }"},
    {OP_iota, "a factor",
     "func @f(%x: f32[2,3]) { %c = iota {axis=1} : f32[2,3] %y = mul %c, %x : f32[2,3] %z = add %y, %c : f32[2,3] return %z }"},

    /* ---- pointwise with rules of their own ---- */
    {OP_cast, "between floats",
     "func @f(%x: f32[4]) { %h = cast %x : f16[4] %d = cast %h : f64[4] %y = mul %d, %d : f64[4] return %y, %h }"},
    {OP_cast, "to an integer and back ends the tangent",
     "func @f(%x: f32[4]) { %i = cast %x : i32[4] %r = cast %i : f32[4] %y = mul %r, %x : f32[4] return %y, %r }"},
    {OP_cast, "from a truth", "func @f(%b: bool[4], %x: f32[4]) { %r = cast %b : f32[4] %y = mul %r, %x : f32[4] return %y }"},
    {OP_select, "by a param",
     "func @f(%b: bool[5], %x: f32[5], %y: f32[5]) { %z = select %b, %x, %y : f32[5] %q = mul %z, %x : f32[5] return %q }"},
    {OP_select, "by a comparison of what it chooses from",
     "func @f(%x: f32[5], %y: f32[5]) { %b = lt %x, %y : bool[5] %z = select %b, %x, %y : f32[5]"
     " %q = mul %z, %z : f32[5] return %q }"},
    {OP_select, "of a constant",
     "func @f(%b: bool[5], %x: f32[5]) { %c = const 2.0 : f32[5] %y = mul %x, %x : f32[5] %z = select %b, %c, %y : f32[5]"
     " %w = select %b, %y, %c : f32[5] return %z, %w }"},

    /* ---- views ---- */
    {OP_broadcast, "new axes around", "func @f(%x: f32[3,1]) { %y = broadcast %x {dims=[1,2]} : f32[2,3,1,4] return %y }"},
    {OP_broadcast, "a scalar, squared",
     "func @f(%x: f32) { %y = broadcast %x {dims=[]} : f32[2,3] %z = mul %y, %y : f32[2,3] return %z }"},
    {OP_broadcast, "no new axis", "func @f(%x: f32[2,3]) { %y = broadcast %x {dims=[0,1]} : f32[2,3] return %y }"},
    {OP_reshape, "merging and splitting",
     "func @f(%x: f32[2,6]) { %y = reshape %x : f32[3,4] %z = mul %y, %y : f32[3,4] %s = reshape %z : f32[12,1] return %s }"},
    {OP_reshape, "of one element", "func @f(%x: f32[1,1]) { %y = reshape %x : f32 return %y }"},
    {OP_transpose, "three axes in a circle",
     "func @f(%x: f32[2,3,4]) { %y = transpose %x {perm=[2,0,1]} : f32[4,2,3] %z = mul %y, %y : f32[4,2,3] return %z }"},
    {OP_slice, "steps that leave a rest",
     "func @f(%x: f32[7,5]) { %y = slice %x {start=[1,0], stop=[7,5], step=[2,3]} : f32[3,2]"
     " %z = mul %y, %y : f32[3,2] return %z }"},
    {OP_slice, "a step larger than the range",
     "func @f(%x: f32[7]) { %y = slice %x {start=[2], stop=[5], step=[9]} : f32[1] return %y }"},
    {OP_slice, "nothing",
     "func @f(%x: f32[7]) { %y = slice %x {start=[3], stop=[3], step=[1]} : f32[0] %s = sum %y {axes=[0]} : f32"
     " %z = sum %x {axes=[0]} : f32 %t = add %s, %z : f32 return %t, %y }"},
    {OP_pad, "around and between",
     "func @f(%x: f32[3,2]) { %y = pad %x {lo=[1,0], hi=[2,3], inner=[2,1]} : f32[10,6] %z = mul %y, %y : f32[10,6] return %z "
     "}"},
    {OP_pad, "cropping both ends",
     "func @f(%x: f32[7,5]) { %y = pad %x {lo=[-2,1], hi=[-1,-2], inner=[0,0]} : f32[4,4] %z = mul %y, %y : f32[4,4] return %z "
     "}"},
    {OP_pad, "cropping spread elements",
     "func @f(%x: f32[5]) { %y = pad %x {lo=[-2], hi=[-3], inner=[1]} : f32[4] %z = mul %y, %y : f32[4] return %z }"},
    {OP_pad, "cropping one end past the other",
     "func @f(%x: f32[3]) { %y = pad %x {lo=[-4], hi=[3], inner=[0]} : f32[2] %z = pad %x {lo=[-2], hi=[4], inner=[0]} : f32[5]"
     " return %y, %z }"},
    {OP_pad, "nothing", "func @f(%x: f32[0]) { %y = pad %x {lo=[1], hi=[2], inner=[3]} : f32[3] return %y }"},
    {OP_reverse, "two of three axes",
     "func @f(%x: f32[2,3,4]) { %y = reverse %x {axes=[2,0]} : f32[2,3,4] %z = mul %x, %y : f32[2,3,4] return %z }"},
    {OP_concat, "three parts, one twice",
     "func @f(%x: f32[2,3], %y: f32[2,1]) { %z = concat %x, %y, %x {axis=[1]} : f32[2,7] %q = mul %z, %z : f32[2,7] return %q "
     "}"},
    {OP_concat, "with a constant and an empty part",
     "func @f(%x: f32[2,3], %y: f32[0,3]) { %c = const 2.0 : f32[1,3] %z = concat %c, %x, %y {axis=[0]} : f32[3,3]"
     " %q = mul %z, %z : f32[3,3] return %q }"},

    /* ---- reductions ---- */
    {OP_sum, "one axis", "func @f(%x: f32[3,4]) { %q = mul %x, %x : f32[3,4] %y = sum %q {axes=[0]} : f32[4] return %y }"},
    {OP_sum, "two axes of three, falling",
     "func @f(%x: f32[3,4,2]) { %q = mul %x, %x : f32[3,4,2] %y = sum %q {axes=[2,0]} : f32[4] return %y }"},
    {OP_sum, "no axis, and an empty one",
     "func @f(%x: f32[3], %e: f32[2,0]) { %y = sum %x {axes=[]} : f32[3] %z = sum %e {axes=[1]} : f32[2] return %y, %z }"},
    {OP_reduce_max, "one axis",
     "func @f(%x: f32[3,4]) { %y = reduce_max %x {axes=[1]} : f32[3] %z = mul %y, %y : f32[3] return %z }"},
    {OP_reduce_max, "two axes of three",
     "func @f(%x: f32[3,2,4]) { %y = reduce_max %x {axes=[2,0]} : f32[2] %z = mul %y, %y : f32[2] return %z }"},
    {OP_reduce_max, "no axis", "func @f(%x: f32[3]) { %y = reduce_max %x {axes=[]} : f32[3] return %y }"},
    {OP_reduce_min, "one axis",
     "func @f(%x: f32[3,4]) { %y = reduce_min %x {axes=[0]} : f32[4] %z = mul %y, %y : f32[4] return %z }"},
    {OP_reduce_min, "all axes", "func @f(%x: f32[3,5]) { %y = reduce_min %x {axes=[0,1]} : f32 return %y }"},
    {OP_prod, "an odd axis", "func @f(%x: f32[5,2]) { %y = prod %x {axes=[0]} : f32[2] return %y }"},
    {OP_prod, "two axes of three", "func @f(%x: f32[3,2,4]) { %y = prod %x {axes=[0,2]} : f32[2] return %y }"},
    {OP_prod, "one and two zeros among the factors",
     "func @f(%x: f32[2,4]) { %m = literal [1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0] : f32[2,4] %z = mul %x, %m : f32[2,4]"
     " %y = prod %z {axes=[1]} : f32[2] return %y }"},
    {OP_prod, "one factor, and none",
     "func @f(%x: f32[2,1], %e: f32[2,0]) { %y = prod %x {axes=[1]} : f32[2] %z = prod %e {axes=[1]} : f32[2] return %y, %z }"},
    {OP_argmax, "as an index",
     "func @f(%x: f32[3,4], %y: f32[4]) { %i = argmax %x {axis=[1]} : i32[3] %t = take %y, %i {axis=[0], batch=[0]} : f32[3]"
     " %r = cast %i : f32[3] %z = mul %t, %r : f32[3] return %z, %i }"},
    {OP_cumsum, "the first axis",
     "func @f(%x: f32[4,3]) { %q = mul %x, %x : f32[4,3] %y = cumsum %q {axis=[0]} : f32[4,3] return %y }"},
    {OP_cumsum, "the last axis, squared after",
     "func @f(%x: f32[2,5]) { %y = cumsum %x {axis=[1]} : f32[2,5] %z = mul %y, %y : f32[2,5] return %z }"},

    /* ---- contractions ---- */
    {OP_dot, "rows by columns",
     "func @f(%x: f32[2,3], %w: f32[3,4]) { %y = dot %x, %w {lhs_batch=[], rhs_batch=[], lhs_sum=[1], rhs_sum=[0]} : f32[2,4]"
     " return %y }"},
    {OP_dot, "batches that lie elsewhere, two sums that cross",
     "func @f(%x: f32[3,2,4,5], %w: f32[4,6,3,2]) {"
     " %y = dot %x, %w {lhs_batch=[1], rhs_batch=[3], lhs_sum=[2,0], rhs_sum=[0,2]} : f32[2,5,6] return %y }"},
    {OP_dot, "two batches that cross, free axes on both sides",
     "func @f(%x: f32[2,3,4,5], %w: f32[5,3,2,6,2]) {"
     " %y = dot %x, %w {lhs_batch=[1,0], rhs_batch=[1,4], lhs_sum=[3], rhs_sum=[0]} : f32[3,2,4,2,6] return %y }"},
    {OP_dot, "sums that run against the axes' order",
     "func @f(%x: f32[2,3,4], %w: f32[4,3,5]) {"
     " %y = dot %x, %w {lhs_batch=[], rhs_batch=[], lhs_sum=[2,1], rhs_sum=[0,1]} : f32[2,5] return %y }"},
    {OP_dot, "nothing summed",
     "func @f(%x: f32[2], %w: f32[3]) { %y = dot %x, %w {lhs_batch=[], rhs_batch=[], lhs_sum=[], rhs_sum=[]} : f32[2,3] return "
     "%y }"},
    {OP_dot, "only batches",
     "func @f(%x: f32[2,3], %w: f32[3,2]) { %y = dot %x, %w {lhs_batch=[0,1], rhs_batch=[1,0], lhs_sum=[], rhs_sum=[]} : "
     "f32[2,3]"
     " return %y }"},
    {OP_dot, "an operand by itself",
     "func @f(%x: f32[3,4]) { %y = dot %x, %x {lhs_batch=[0], rhs_batch=[0], lhs_sum=[1], rhs_sum=[1]} : f32[3]"
     " %z = dot %x, %x {lhs_batch=[], rhs_batch=[], lhs_sum=[1], rhs_sum=[1]} : f32[3,3] return %y, %z }"},
    {OP_conv, "no spatial axis",
     "func @f(%x: f32[2,3], %w: f32[3,4]) { %y = conv %x, %w {stride=[], dilation=[]} : f32[2,4] return %y }"},
    {OP_conv, "one axis, stride 2 with a rest",
     "func @f(%x: f32[2,8,3], %w: f32[3,3,2]) { %y = conv %x, %w {stride=[2], dilation=[1]} : f32[2,3,2] return %y }"},
    {OP_conv, "one axis, stride 3, dilation 2, with a rest",
     "func @f(%x: f32[1,12,2], %w: f32[3,2,3]) { %y = conv %x, %w {stride=[3], dilation=[2]} : f32[1,3,3] return %y }"},
    {OP_conv, "two axes unlike in all",
     "func @f(%x: f32[2,7,6,2], %w: f32[3,2,2,3]) { %y = conv %x, %w {stride=[2,3], dilation=[1,3]} : f32[2,3,1,3] return %y "
     "}"},
    {OP_conv, "taps as wide as the input",
     "func @f(%x: f32[2,4,2], %w: f32[4,2,1]) { %y = conv %x, %w {stride=[5], dilation=[1]} : f32[2,1,1] return %y }"},
    {OP_conv, "padded on one side",
     "func @f(%x: f32[1,4,5,1], %w: f32[2,3,1,2]) { %p = pad %x {lo=[0,1,0,0], hi=[0,0,2,0], inner=[0,0,0,0]} : f32[1,5,7,1]"
     " %y = conv %p, %w {stride=[1,2], dilation=[2,1]} : f32[1,3,3,2] return %y }"},

    /* ---- reads and writes at computed places ---- */
    {OP_take, "rows, some outside",
     "func @f(%x: f32[4,3], %i: i32[6]) { %y = take %x, %i {axis=[0], batch=[0]} : f32[6,3] %z = mul %y, %y : f32[6,3] return "
     "%z }"},
    {OP_take, "the middle axis by a matrix",
     "func @f(%x: f32[2,4,3], %i: i32[2,2]) { %y = take %x, %i {axis=[1], batch=[0]} : f32[2,2,2,3]"
     " %z = mul %y, %y : f32[2,2,2,3] return %z }"},
    {OP_take, "one batch axis",
     "func @f(%x: f32[2,4,3], %i: i32[2,5]) { %y = take %x, %i {axis=[1], batch=[1]} : f32[2,5,3]"
     " %z = mul %y, %y : f32[2,5,3] return %z }"},
    {OP_take, "a batch axis and one between",
     "func @f(%x: f32[2,3,4], %i: i32[2]) { %y = take %x, %i {axis=[2], batch=[1]} : f32[2,3] %z = mul %y, %y : f32[2,3] "
     "return %z }"},
    {OP_take, "one element, by u32",
     "func @f(%x: f32[4]) { %i = const 2 : u32 %y = take %x, %i {axis=[0], batch=[0]} : f32 return %y }"},
    {OP_take, "twice from one operand",
     "func @f(%x: f32[4], %i: i32[3], %j: i32[2]) { %y = take %x, %i {axis=[0], batch=[0]} : f32[3]"
     " %z = take %x, %j {axis=[0], batch=[0]} : f32[2] %q = mul %z, %z : f32[2] return %y, %q }"},
    {OP_put_add, "rows, some twice, some outside",
     "func @f(%x: f32[4,2], %i: i32[7], %u: f32[7,2]) { %y = put_add %x, %i, %u {axis=[0], batch=[0]} : f32[4,2]"
     " %z = mul %y, %y : f32[4,2] return %z }"},
    {OP_put_add, "one batch axis, the middle one",
     "func @f(%x: f32[2,4,3], %i: i32[2,5], %u: f32[2,5,3]) { %y = put_add %x, %i, %u {axis=[1], batch=[1]} : f32[2,4,3]"
     " %z = mul %y, %y : f32[2,4,3] return %z }"},
    {OP_put_add, "a constant base, a constant update",
     "func @f(%x: f32[4], %i: i32[3], %u: f32[3]) { %b = const 1.0 : f32[4] %c = const 2.0 : f32[3]"
     " %y = put_add %b, %i, %u {axis=[0], batch=[0]} : f32[4] %z = put_add %x, %i, %c {axis=[0], batch=[0]} : f32[4]"
     " %q = mul %y, %z : f32[4] return %q }"},
    {OP_put_add, "the base is its own update",
     "func @f(%x: f32[4], %i: i32[4]) { %y = put_add %x, %i, %x {axis=[0], batch=[0]} : f32[4] %z = mul %y, %y : f32[4] return "
     "%z }"},

    /* ---- chance ---- */
    {OP_random_bits, "a factor",
     "func @f(%x: f32[5]) { %k = literal [7, 9] : u32[2] %b = random_bits %k {word=[1]} : u32[5] %r = cast %b : f32[5]"
     " %c = const 2.3283064365386963e-10 : f32[5] %u = mul %r, %c : f32[5] %y = mul %u, %x : f32[5] return %y, %b }"},
    {OP_random_at, "a factor",
     "func @f(%x: f32[5]) { %k = literal [7, 9] : u32[2] %n = literal [3, 1, 4, 1, 5] : u32[5]"
     " %b = random_at %k, %n {word=[1]} : u32[5] %r = cast %b : f32[5]"
     " %c = const 2.3283064365386963e-10 : f32[5] %u = mul %r, %c : f32[5] %y = mul %u, %x : f32[5] return %y, %b }"},
    {OP_fold_in, "a factor",
     "func @f(%x: f32[2], %i: i32) { %k = literal [7, 9] : u32[2] %b = fold_in %k, %i : u32[2] %r = cast %b : f32[2]"
     " %c = const 2.3283064365386963e-10 : f32[2] %u = mul %r, %c : f32[2] %y = mul %u, %x : f32[2] return %y, %b }"},
};

#endif
