/* Functions that derivatives through calls, loops, branches and rules are checked on: as tests/unit/calculus_cases.h. */
#ifndef CM_TESTS_CALCULUS_CONTROL_CASES_H
#define CM_TESTS_CALCULUS_CONTROL_CASES_H

#include "tests/unit/calculus_cases.h"

#define FUNC_TURN                                                                                                              \
    "func @turn(%i: i32, %x: f32[3], %w: f32[3]) { %p = mul %x, %w : f32[3] %s = sin %p : f32[3] %n = add %s, %x : f32[3]"     \
    " return %n } "

static const CalculusCase control_cases[] = {
    {OP_get, "one result of several",
     "func @g(%x: f32[3]) { %a = mul %x, %x : f32[3] %b = sin %x : f32[3] return %a, %b }"
     " func @f(%x: f32[3]) { %r = call %x @g %b = get %r {index=[1]} : f32[3] %y = mul %b, %x : f32[3] return %y }"},
    {OP_call, "twice, of each other's results",
     "func @g(%x: f32[3], %y: f32[3]) { %a = mul %x, %y : f32[3] %b = sin %a : f32[3] return %b, %a }"
     " func @f(%x: f32[3], %y: f32[3]) { %r = call %x, %y @g %a = get %r {index=[0]} : f32[3] %b = get %r {index=[1]} : f32[3]"
     " %s = call %b, %a @g %c = get %s {index=[0]} : f32[3] return %c, %a }"},
    {OP_call, "a call within a call, an integer among the results",
     "func @h(%x: f32[3]) { %i = argmax %x {axis=[0]} : i32 %t = take %x, %i {axis=[0], batch=[0]} : f32 return %t, %i }"
     " func @g(%x: f32[3]) { %r = call %x @h %t = get %r {index=[0]} : f32 %i = get %r {index=[1]} : i32"
     " %b = broadcast %t {dims=[]} : f32[3] %y = mul %b, %x : f32[3] return %y, %i }"
     " func @f(%x: f32[3]) { %r = call %x @g %y = get %r {index=[0]} : f32[3] %i = get %r {index=[1]} : i32 return %i, %y }"},

    /* ---- for ---- */
    {OP_for, "a carry and a capture",
     FUNC_TURN "func @f(%x: f32[3], %w: f32[3]) { %n = const 3 : i32 %r = for %n, %x, %w {bound=[3], carries=[1]} @turn"
               " %y = get %r {index=[0]} : f32[3] return %y }"},
    {OP_for, "fewer turns than the bound, or none, or more",
     FUNC_TURN "func @f(%n: i32, %x: f32[3], %w: f32[3]) { %r = for %n, %x, %w {bound=[3], carries=[1]} @turn"
               " %y = get %r {index=[0]} : f32[3] return %y }"},
    {OP_for, "one turn, no carry, rows only",
     "func @turn(%i: i32, %w: f32[3]) { %p = mul %w, %w : f32[3] return %p }"
     " func @f(%w: f32[3]) { %n = const 1 : i32 %r = for %n, %w {bound=[1], carries=[0]} @turn"
     " %y = get %r {index=[0]} : f32[1,3] return %y }"},
    {OP_for, "rows, and an integer among the carries",
     "func @turn(%i: i32, %k: i32, %x: f32[4], %w: f32[4]) { %one = const 3 : i32 %m = add %k, %one : i32 %four = const 4 : i32"
     " %q = rem %m, %four : i32 %t = take %w, %q {axis=[0], batch=[0]} : f32 %b = broadcast %t {dims=[]} : f32[4]"
     " %y = mul %x, %b : f32[4] %z = add %y, %w : f32[4] return %q, %z, %t, %y, %k }"
     " func @f(%n: i32, %x: f32[4], %w: f32[4]) { %k = const 1 : i32"
     " %r = for %n, %k, %x, %w {bound=[4], carries=[2]} @turn %y = get %r {index=[1]} : f32[4] %t = get %r {index=[2]} : f32[4]"
     " %p = get %r {index=[3]} : f32[4,4] %j = get %r {index=[4]} : i32[4] return %y, %t, %p, %j }"},
    {OP_for, "the turn number in the arithmetic",
     "func @turn(%i: i32, %x: f32[3], %w: f32[3]) { %r = cast %i : f32 %b = broadcast %r {dims=[]} : f32[3]"
     " %p = mul %x, %b : f32[3] %q = add %p, %w : f32[3] %s = sin %q : f32[3] return %s, %b, %i }"
     " func @f(%x: f32[3], %w: f32[3]) { %n = const 4 : i32 %r = for %n, %x, %w {bound=[4], carries=[1]} @turn"
     " %y = get %r {index=[0]} : f32[3] %b = get %r {index=[1]} : f32[4,3] return %y, %b }"},
    {OP_for, "carries that change places, one that stays, one that only captures make active",
     "func @turn(%i: i32, %a: f32[2], %b: f32[2], %c: f32[2], %d: f32[2], %w: f32[2]) { %p = mul %a, %w : f32[2]"
     " %e = add %d, %p : f32[2] return %b, %p, %c, %e }"
     " func @f(%a: f32[2], %b: f32[2], %c: f32[2], %w: f32[2]) { %n = const 5 : i32 %z = const 0.0 : f32[2]"
     " %r = for %n, %a, %b, %c, %z, %w {bound=[5], carries=[4]} @turn %s = get %r {index=[0]} : f32[2]"
     " %t = get %r {index=[2]} : f32[2] %u = get %r {index=[3]} : f32[2] return %s, %t, %u }"},
    {OP_for, "a carry without tangent that a tangent depends on",
     "func @turn(%i: i32, %k: f32, %x: f32) { %h = const 1.5 : f32 %j = mul %k, %h : f32 %y = mul %x, %k : f32 %z = sin %y : "
     "f32"
     " return %j, %z }"
     " func @f(%x: f32) { %n = const 4 : i32 %k = const 0.3 : f32 %r = for %n, %k, %x {bound=[4], carries=[2]} @turn"
     " %y = get %r {index=[1]} : f32 %j = get %r {index=[0]} : f32 return %y, %j }"},
    {OP_for, "a linear body",
     "func @turn(%i: i32, %x: f32[2], %w: f32[2]) { %y = add %x, %w : f32[2] return %y }"
     " func @f(%x: f32[2], %w: f32[2]) { %n = const 4 : i32 %r = for %n, %x, %w {bound=[4], carries=[1]} @turn"
     " %y = get %r {index=[0]} : f32[2] %z = mul %y, %y : f32[2] return %z }"},
    {OP_for, "an accumulator that gathers: attention by hand",
     "func @turn(%i: i32, %acc: f32[3], %q: f32[4,3]) { %t = take %q, %i {axis=[0], batch=[0]} : f32[3] %e = exp %t : f32[3]"
     " %n = add %acc, %e : f32[3] %m = mul %n, %acc : f32[3] return %m, %e }"
     " func @f(%q: f32[4,3]) { %z = const 1.0 : f32[3] %n = const 4 : i32 %h = const 0.3 : f32[4,3] %s = mul %q, %h : f32[4,3]"
     " %r = for %n, %z, %s {bound=[4], carries=[1]} @turn %y = get %r {index=[0]} : f32[3] %e = get %r {index=[1]} : f32[4,3]"
     " return %y, %e }"},
    {OP_for, "a loop in a loop, with fewer turns each time",
     "func @inner(%j: i32, %x: f32[2], %w: f32[2]) { %p = mul %x, %w : f32[2] %s = sin %p : f32[2] return %s, %p }"
     " func @outer(%i: i32, %x: f32[2], %w: f32[2]) { %r = for %i, %x, %w {bound=[4], carries=[1]} @inner"
     " %y = get %r {index=[0]} : f32[2] %rows = get %r {index=[1]} : f32[4,2] %s = sum %rows {axes=[0]} : f32[2]"
     " %z = add %y, %s : f32[2] return %z, %s }"
     " func @f(%n: i32, %x: f32[2], %w: f32[2]) { %r = for %n, %x, %w {bound=[3], carries=[1]} @outer"
     " %y = get %r {index=[0]} : f32[2] %s = get %r {index=[1]} : f32[3,2] return %y, %s }"},
    {OP_for, "a call and a branch in the body",
     "func @g(%x: f32[3]) { %s = sin %x : f32[3] return %s }"
     " func @yes(%x: f32[3], %w: f32[3]) { %r = call %x @g %s = get %r {index=[0]} : f32[3] %y = mul %s, %w : f32[3] return %y "
     "}"
     " func @no(%x: f32[3], %w: f32[3]) { return %w }"
     " func @turn(%i: i32, %x: f32[3], %w: f32[3]) { %one = const 1 : i32 %b = and %i, %one : i32 %t = eq %b, %one : bool"
     " %r = if %t, %x, %w @yes, @no %y = get %r {index=[0]} : f32[3] %z = add %y, %x : f32[3] return %z }"
     " func @f(%x: f32[3], %w: f32[3]) { %n = const 4 : i32 %r = for %n, %x, %w {bound=[4], carries=[1]} @turn"
     " %y = get %r {index=[0]} : f32[3] return %y }"},
    {OP_for, "draws in the body",
     "func @turn(%i: i32, %x: f32[3], %k: u32[2]) { %l = fold_in %k, %i : u32[2] %b = random_bits %l {word=[0]} : u32[3]"
     " %r = cast %b : f32[3] %c = const 2.3283064365386963e-10 : f32[3] %u = mul %r, %c : f32[3] %p = mul %u, %x : f32[3]"
     " %s = sin %p : f32[3] %y = add %s, %x : f32[3] return %y }"
     " func @f(%x: f32[3]) { %n = const 3 : i32 %k = literal [3, 5] : u32[2] %r = for %n, %x, %k {bound=[3], carries=[1]} @turn"
     " %y = get %r {index=[0]} : f32[3] return %y }"},
    {OP_for, "bound 0: no turn",
     FUNC_TURN "func @f(%x: f32[3], %w: f32[3]) { %n = const 0 : i32 %r = for %n, %x, %w {bound=[0], carries=[1]} @turn"
               " %y = get %r {index=[0]} : f32[3] %z = mul %y, %w : f32[3] return %z }"},

    /* ---- while ---- */
    {OP_while, "as often as a counter says",
     "func @more(%k: i32, %x: f32[2], %n: i32, %w: f32[2]) { %b = lt %k, %n : bool return %b }"
     " func @turn(%k: i32, %x: f32[2], %n: i32, %w: f32[2]) { %one = const 1 : i32 %j = add %k, %one : i32 %p = mul %x, %w : "
     "f32[2]"
     " %s = sin %p : f32[2] return %j, %s }"
     " func @f(%n: i32, %x: f32[2], %w: f32[2]) { %k = const 0 : i32 %r = while %k, %x, %n, %w {bound=[5], carries=[2]} @more, "
     "@turn"
     " %y = get %r {index=[1]} : f32[2] %j = get %r {index=[0]} : i32 return %y, %j }"},
    {OP_while, "until a value is small",
     "func @more(%x: f32, %w: f32) { %c = const 0.6 : f32 %q = mul %x, %x : f32 %b = lt %c, %q : bool return %b }"
     " func @turn(%x: f32, %w: f32) { %h = const 0.5 : f32 %p = mul %x, %h : f32 %s = sin %w : f32 %q = mul %p, %s : f32 "
     "return %q }"
     " func @f(%x: f32, %w: f32) { %r = while %x, %w {bound=[9], carries=[1]} @more, @turn %y = get %r {index=[0]} : f32"
     " %z = mul %y, %w : f32 return %z }"},
    {OP_while, "within a for",
     "func @more(%k: i32, %x: f32[2], %w: f32[2]) { %n = const 2 : i32 %b = lt %k, %n : bool return %b }"
     " func @turn(%k: i32, %x: f32[2], %w: f32[2]) { %one = const 1 : i32 %j = add %k, %one : i32 %p = mul %x, %w : f32[2]"
     " %s = sin %p : f32[2] return %j, %s }"
     " func @outer(%i: i32, %x: f32[2], %w: f32[2]) { %r = while %i, %x, %w {bound=[2], carries=[2]} @more, @turn"
     " %y = get %r {index=[1]} : f32[2] %z = add %y, %w : f32[2] return %z, %y }"
     " func @f(%x: f32[2], %w: f32[2]) { %n = const 3 : i32 %r = for %n, %x, %w {bound=[3], carries=[1]} @outer"
     " %y = get %r {index=[0]} : f32[2] %s = get %r {index=[1]} : f32[3,2] return %y, %s }"},

    /* ---- if ---- */
    {OP_if, "branches that use unlike captures",
     "func @yes(%x: f32[3], %y: f32[3]) { %a = mul %x, %x : f32[3] %i = const 1 : i32 return %a, %x, %i }"
     " func @no(%x: f32[3], %y: f32[3]) { %s = sin %y : f32[3] %i = const 2 : i32 return %s, %y, %i }"
     " func @f(%b: bool, %x: f32[3], %y: f32[3]) { %r = if %b, %x, %y @yes, @no %a = get %r {index=[0]} : f32[3]"
     " %c = get %r {index=[1]} : f32[3] %i = get %r {index=[2]} : i32 %z = mul %a, %c : f32[3] return %z, %i }"},
    {OP_if, "one side is constant",
     "func @yes(%x: f32[3]) { %c = const 2.0 : f32[3] return %c }"
     " func @no(%x: f32[3]) { %s = sin %x : f32[3] return %s }"
     " func @f(%b: bool, %x: f32[3]) { %r = if %b, %x @yes, @no %y = get %r {index=[0]} : f32[3] return %y }"},
    {OP_if, "decided by what it differentiates",
     "func @yes(%x: f32, %w: f32) { %s = sin %x : f32 %y = mul %s, %w : f32 return %y }"
     " func @no(%x: f32, %w: f32) { %r = mul %x, %x : f32 return %r }"
     " func @f(%x: f32, %w: f32) { %b = lt %x, %w : bool %r = if %b, %x, %w @yes, @no %y = get %r {index=[0]} : f32 return %y "
     "}"},
    {OP_if, "a branch in a branch, a loop in a branch",
     FUNC_TURN
     "func @a(%x: f32[3], %w: f32[3]) { %n = const 2 : i32 %r = for %n, %x, %w {bound=[2], carries=[1]} @turn"
     " %y = get %r {index=[0]} : f32[3] return %y }"
     " func @b(%x: f32[3], %w: f32[3]) { %y = mul %x, %w : f32[3] return %y }"
     " func @yes(%c: bool, %x: f32[3], %w: f32[3]) { %r = if %c, %x, %w @a, @b %y = get %r {index=[0]} : f32[3] return %y }"
     " func @no(%c: bool, %x: f32[3], %w: f32[3]) { return %w }"
     " func @f(%b: bool, %c: bool, %x: f32[3], %w: f32[3]) { %r = if %b, %c, %x, %w @yes, @no"
     " %y = get %r {index=[0]} : f32[3] return %y }"},

    /* ---- rules of a function's own: here right ones, written otherwise than they would be derived ---- */
    {OP_custom, "a rule that calls, with an integer param and result",
     "func @sq(%i: i32, %x: f32[3], %y: f32[3]) { %p = mul %x, %y : f32[3] return %p, %i }"
     " func @half(%t: f32[3], %y: f32[3]) { %p = mul %y, %t : f32[3] return %p }"
     " func @rule(%i: i32, %x: f32[3], %y: f32[3], %s: f32[3], %t: f32[3]) { %r = call %s, %y @half %p = get %r {index=[0]} : "
     "f32[3]"
     " %q = call %t, %x @half %u = get %q {index=[0]} : f32[3] %v = add %p, %u : f32[3] return %v }"
     " func @f(%i: i32, %x: f32[3], %y: f32[3]) { %r = custom %i, %x, %y @sq, @rule %p = get %r {index=[0]} : f32[3]"
     " %k = get %r {index=[1]} : i32 %z = mul %p, %p : f32[3] return %z, %k }"},
    {OP_custom, "a rule with a loop and a branch, linear in the tangent",
     "func @cube(%x: f32) { %q = mul %x, %x : f32 %c = mul %q, %x : f32 return %c }"
     " func @turn(%i: i32, %t: f32, %x: f32) { %p = mul %t, %x : f32 return %p }"
     " func @yes(%t: f32) { %c = const 3.0 : f32 %p = mul %c, %t : f32 return %p }"
     " func @no(%t: f32) { %p = add %t, %t : f32 %q = add %p, %t : f32 return %q }"
     " func @rule(%x: f32, %t: f32) { %n = const 2 : i32 %r = for %n, %t, %x {bound=[2], carries=[1]} @turn"
     " %p = get %r {index=[0]} : f32 %z = const 0.0 : f32 %b = lt %x, %z : bool %q = if %b, %p @yes, @no"
     " %y = get %q {index=[0]} : f32 return %y }"
     " func @f(%x: f32) { %r = custom %x @cube, @rule %y = get %r {index=[0]} : f32 %s = sin %y : f32 return %s }"},
    {OP_custom, "within a loop, one result of two",
     "func @pair(%x: f32[2], %w: f32[2]) { %p = mul %x, %w : f32[2] %s = sin %p : f32[2] return %s, %p }"
     " func @rule(%x: f32[2], %w: f32[2], %t: f32[2], %u: f32[2]) { %a = mul %t, %w : f32[2] %b = mul %x, %u : f32[2]"
     " %c = add %a, %b : f32[2] %p = mul %x, %w : f32[2] %k = cos %p : f32[2] %s = mul %c, %k : f32[2] return %s, %c }"
     " func @turn(%i: i32, %x: f32[2], %w: f32[2]) { %r = custom %x, %w @pair, @rule %s = get %r {index=[0]} : f32[2]"
     " %y = add %s, %x : f32[2] return %y }"
     " func @f(%x: f32[2], %w: f32[2]) { %n = const 3 : i32 %r = for %n, %x, %w {bound=[3], carries=[1]} @turn"
     " %y = get %r {index=[0]} : f32[2] return %y }"},

    /* ---- derivatives in the program ---- */
    {OP_jvp, "of a product, by both and by one",
     "func @g(%x: f32[2], %y: f32[2]) { %p = mul %x, %y : f32[2] %s = sin %p : f32[2] return %s }"
     " func @f(%x: f32[2], %y: f32[2], %t: f32[2]) { %r = jvp %x, %y, %t, %x {active=[0,1]} @g %a = get %r {index=[0]} : f32[2]"
     " %b = get %r {index=[1]} : f32[2] %q = jvp %x, %y, %t {active=[1]} @g %c = get %q {index=[1]} : f32[2]"
     " return %a, %b, %c }"},
    {OP_jvp, "within a loop",
     "func @g(%x: f32[2], %w: f32[2]) { %p = mul %x, %w : f32[2] %s = sin %p : f32[2] return %s }"
     " func @turn(%i: i32, %x: f32[2], %w: f32[2]) { %r = jvp %x, %w, %w {active=[0]} @g %a = get %r {index=[0]} : f32[2]"
     " %b = get %r {index=[1]} : f32[2] %c = add %a, %b : f32[2] return %c }"
     " func @f(%x: f32[2], %w: f32[2]) { %n = const 2 : i32 %r = for %n, %x, %w {bound=[2], carries=[1]} @turn"
     " %y = get %r {index=[0]} : f32[2] return %y }"},
    {OP_vjp, "of two results, one seeded",
     "func @g(%x: f32[2], %y: f32[3]) { %s = sin %x : f32[2]"
     " %d = dot %x, %y {lhs_batch=[], rhs_batch=[], lhs_sum=[], rhs_sum=[]} : f32[2,3] return %s, %d }"
     " func @f(%x: f32[2], %y: f32[3], %c: f32[2,3]) { %r = vjp %x, %y, %c {active=[0,1], seeds=[1]} @g"
     " %a = get %r {index=[0]} : f32[2] %b = get %r {index=[2]} : f32[2] %d = get %r {index=[3]} : f32[3] return %a, %b, %d }"},
    {OP_vjp, "of a function with a vjp of a loop inside",
     FUNC_TURN
     "func @g(%x: f32[3], %w: f32[3]) { %n = const 2 : i32 %r = for %n, %x, %w {bound=[2], carries=[1]} @turn"
     " %y = get %r {index=[0]} : f32[3] return %y }"
     " func @h(%x: f32[3], %w: f32[3]) { %c = const 1.0 : f32[3] %r = vjp %x, %w, %c {active=[1], seeds=[0]} @g"
     " %y = get %r {index=[1]} : f32[3] return %y }"
     " func @f(%x: f32[3], %w: f32[3]) { %r = jvp %x, %w, %w {active=[0]} @h %y = get %r {index=[1]} : f32[3] return %y }"},
};

#endif
