/* The numeric test of derivatives: what is right agrees, and what is wrong is found on its line. */
#include "tests/api/cmc.h"

#include <math.h>

/* The wrong rule stands in line 2 of every program that begins with it. */
#define CUBE "fn cube(x: f32[..]) -> f32[..] = x^3\nderivative of cube(x; dx) = 2 * x^2 * dx\n"

/* ---- programs that are right ---- */

typedef struct Right {
    const char *text, *entry;
    int stop_grads;
    const char *sizes;
    bool has_reverse;
} Right;

static const Right rights[] = {
    {"fn f(x: f32[T]) -> f32 = sum(sin(x) * exp(x))\n", "f", 0, "T = 2", true},
    {"fn f(x: f32[T: 4]) -> f32[T] = x / (1.0 + x^2)\n", "f", 0, "", true},
    {"fn f(x: f32[T: 5]) -> f32[T] = sqrt(x) + log(x)\n", "f", 0, "", true}, /* at positive numbers only */
    {"fn f(x: f32[T: 900]) -> f32 = sum(relu(x) + abs(x - 0.1) + floor(3 * x))\n", "f", 0, "", true},
    {"fn f(x: f32[T]) -> f32 = sum(x * stop_grad(x) + stop_grad(exp(x)))\n", "f", 2, "T = 2", true},
    {"fn f(x: f32[T]) -> f32[T] {\n  let z ~ normal[T]\n  z * x^2\n}\n", "f", 0, "T = 2", true},
    {"fn f(x: f32[T], n: i32) -> f32[T] {\n  var y = x\n  for i in 0..4 { y += 0.1 * sin(y * x) }\n"
     "  if n > 0 { y = 2 * y } else { y = cos(y) }\n  y\n}\n",
     "f", 0, "T = 2", true},
    {"fn f(x: f32[B, C: 3], l: i32[B]) -> f32 = sum(log(sum(exp(x), C))) - sum(one_hot(l, C: 3) * x)\n", "f", 0, "B = 2", true},
    {"fn f[B = 5](x: f32[B, C]) -> f32[B] {\n  require C % 4 == 0\n  sum(x^2, C)\n}\n", "f", 0, "C = 4", true},
    {"fn f(x: f32[T]) -> f32 = grad(y => sum(stop_grad(y) * y^2))(x)[T: 0]\n", "f", 1, "T = 2", true},
    {"fn f(x: f32) -> f32 {\n  var y = x\n  while y < 100 { y = y * 1.5 + x^2 + 1 }\n  y\n}\n", "f", 0, "", false},
    {"fn f(x: f32) -> f32 {\n  var y = x\n  while y < 100 { y = y * (0.5 + 0.1 * x) }\n  y\n}\n", "f", 0, "",
     false}, /* endless */
    {"fn norm(x: f32[D]) -> f32 = sqrt(sum(x * x))\n"
     "derivative of norm(x: f32[D]; dx) {\n  let n = norm(x)\n  sum(x * dx) / select(n == 0, 1, n)\n}\n"
     "fn f(x: f32[D: 3]) -> f32 = norm(x) + norm(0 * x)\n",
     "f", 0, "", true},
    {"model Net(width = 4) {\n  param w: f32[C: 2, K: width] = normal\n  param v: f32[K: width] = zeros\n"
     "  fn call(x: f32[.., C: 2]) -> f32[..] = dot(tanh(dot(x, w, C)), v, K)\n}\n"
     "loss fit(net: Net, x0: f32[B, C: 2], progress: f32) -> f32 = mean((net(x0) - progress)^2)\n",
     "fit", 0, "B = 2", true},
    /* derivatives that are zero, so that what is computed of them is rounding */
    {"fn f(x: f32[T]) -> f32 {\n  let e = exp(x)\n  sum(e / sum(e))\n}\n", "f", 0, "T = 2", true},
    {"fn f(x: f32[T: 1]) -> f32 {\n  let e = exp(x)\n  1e8 * sum(e / sum(e))\n}\n", "f", 0, "", true},
    {"fn f(q: f32[Q, D], k: f32[S, D], m: bool[Q, S]) {\n  let s = select(m, dot(q, k, D), -inf)\n"
     "  let e = exp(s - max(s, S))\n  sum(e / sum(e, S), S)\n}\n",
     "f", 0, "Q = 2, D = 3, S = 4", true},
    {"fn f(x: f32) -> f32 = (x + 1e8) - 1e8\n", "f", 0, "", true},
    {"fn f(x: f32) -> f32 = 1e6 * ((x + 1e8) - 1e8 - x)\n", "f", 0, "", true},
};
enum { RIGHTS = sizeof rights / sizeof *rights };

START_TEST(what_is_right_agrees)
{
    const Right *right = &rights[_i];
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, right->text);
    cm_derivatives found;
    cm_error *error;
    expect_ok(cm_check_derivatives(program, right->entry, NULL, &found, &error));
    ck_assert_msg(found.checked, "%s is not checked: %s", right->text, found.reason);
    ck_assert_msg(found.forward <= 1e-6, "%s: forward %g", right->text, found.forward);
    ck_assert_msg(right->has_reverse ? found.reverse <= 1e-8 : isnan(found.reverse), "%s: reverse %g", right->text,
                  found.reverse);
    ck_assert_int_eq(found.reason != NULL, !right->has_reverse);
    ck_assert_int_eq(found.stop_grads, right->stop_grads);
    ck_assert_str_eq(found.sizes, right->sizes);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* ---- programs that are wrong ---- */

typedef struct Wrong {
    const char *text, *entry;
    int line;      /* of the message */
    int note_line; /* 0: no note with a place */
    const char *part;
} Wrong;

static const Wrong wrongs[] = {
    {CUBE "fn f(x: f32[T]) -> f32 {\n  let y = sin(x)\n  let z = cube(y)\n  sum(z * x)\n}\n", "f", 2, 5, "the rule gives"},
    {CUBE
     "fn f(x: f32[T]) -> f32[T] {\n  var y = x\n  for i in 0..4 {\n    let z = 0.5 * y\n    y = y + cube(z)\n  }\n  y\n}\n",
     "f", 2, 7, "the rule gives"},
    {CUBE "fn f(x: f32[T], n: i32) -> f32[T] {\n  var y = x\n  if n < 5 {\n    y = cube(y)\n  } else {\n    y = 2 * y\n  }\n  "
          "y\n}\n",
     "f", 2, 6, "the rule gives"},
    {CUBE "model Inner() {\n  param a: f32 = 2\n  fn call(x: f32[..]) -> f32[..] = a * cube(x)\n}\n"
          "model Net() {\n  let inner = Inner()\n  fn call(x: f32[..]) -> f32[..] = inner(x)\n}\n"
          "loss l(net: Net, x0: f32[B]) -> f32 = mean(net(x0)^2)\n",
     "l", 2, 5, "the rule gives"},
    /* weights that begin as zeros would hide what lies before them */
    {CUBE "model Net() {\n  param w: f32 = 0\n  fn call(x: f32[..]) -> f32[..] = w * cube(x)\n}\n"
          "loss l(net: Net, x0: f32[B]) -> f32 = mean((net(x0) - 1)^2)\n",
     "l", 2, 5, "the rule gives"},
    /* the worst of several, whatever comes first: after another, beside another, in a loop */
    {CUBE "fn a(x: f32[..]) -> f32[..] = x^2\nderivative of a(x; dx) = 2.001 * x * dx\n"
          "fn f(x: f32[T]) -> f32 {\n  let p = a(x)\n  let q = cube(p)\n  sum(q)\n}\n",
     "f", 2, 7, "the rule gives"},
    {CUBE "fn a(x: f32[..]) -> f32[..] = x^2\nderivative of a(x; dx) = 2.001 * x * dx\n"
          "fn f(x: f32[T]) -> f32 {\n  let p = cube(x)\n  let q = a(p)\n  sum(q)\n}\n",
     "f", 2, 6, "the rule gives"},
    {CUBE "fn a(x: f32[..]) -> f32[..] = x^2\nderivative of a(x; dx) = 3.2 * x * dx\n"
          "fn f(x: f32[T]) -> f32 {\n  let p = cube(x)\n  let q = a(x)\n  sum(p + q)\n}\n",
     "f", 4, 7, "the rule gives"},
    {CUBE "fn a(x: f32[..]) -> f32[..] = x^2\nderivative of a(x; dx) = 2.001 * x * dx\n"
          "fn f(x: f32[T]) -> f32[T] {\n  var y = x\n  for i in 0..3 {\n    y = a(y)\n    y = y + cube(y)\n  }\n  y\n}\n",
     "f", 2, 9, "the rule gives"},
    /* what cancels makes a small mistake large, but is none */
    {"fn a(x: f32[..]) -> f32[..] = x^2\nderivative of a(x; dx) = 2.001 * x * dx\n"
     "fn f(x: f32[T]) -> f32[T] {\n  let p = a(x)\n  sin(p - 0.999 * x^2)\n}\n",
     "f", 2, 4, "the rule gives"},
    /* straight through: meant so, and not the derivative of the values */
    {"fn hard(x: f32[..]) -> f32[..] = round(x)\nderivative of hard(x; dx) = dx\nfn f(x: f32[T]) -> f32 = sum(hard(3 * x) * "
     "x)\n",
     "f", 2, 3, "the rule gives"},
    /* what a select hides comes back as zero times infinity */
    {"fn f(x: f32[T: 20]) -> f32 {\n  let r = sqrt(x)\n  sum(select(x > 0, r, 0))\n}\n", "f", 3, 0, "comes back through"},
};
enum { WRONGS = sizeof wrongs / sizeof *wrongs };

static int first_placed_note(const cm_error *error)
{
    cm_diagnostic note;
    for (size_t i = 0; cm_error_note(error, 0, i, &note) == CM_OK; i++) {
        if (note.file)
            return note.line;
    }
    return 0;
}

START_TEST(what_is_wrong_is_found_on_its_line)
{
    const Wrong *wrong = &wrongs[_i];
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, wrong->text);
    cm_derivatives found;
    cm_diagnostic diagnostic;
    cm_error *error;
    expect_status(CM_PROGRAM_ERROR, cm_check_derivatives(program, wrong->entry, NULL, &found, &error));
    ck_assert(found.checked && (found.forward > 1e-6 || found.reverse > 1e-8));
    ck_assert_int_eq(cm_error_diagnostic(error, 0, &diagnostic), CM_OK);
    ck_assert_str_eq(diagnostic.code, "derivative_differs");
    ck_assert_msg(diagnostic.line == wrong->line && first_placed_note(error) == wrong->note_line, "%s", cm_error_text(error));
    ck_assert_msg(strstr(diagnostic.message, wrong->part) != NULL, "%s", diagnostic.message);
    cm_error_free(error);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* ---- entries that cannot be tried ---- */

static const struct {
    const char *text, *entry, *reason;
} skipped[] = {
    {"fn f(n: i32) -> f32 = n as f32\n", "f", "takes no floats"},
    {"fn f(x: f32[T]) -> i32 = argmax(x, T)\n", "f", "gives no floats"},
    {"fn f(x: f32[T: 40000, K: 40000]) -> f32 = sum(x)\n", "f", "--set"},
    {"fn f(x: f32[T]) -> f32[T] = log(-1 - x^2)\n", "f", "finite"},
    {"fn f(x: f32[T: 3]) -> f32 = sum(abs(sin(1e9 * x)))\n", "f", "kinks"},
};
enum { SKIPPED = sizeof skipped / sizeof *skipped };

START_TEST(what_cannot_be_tried_has_a_reason)
{
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, skipped[_i].text);
    cm_derivatives found;
    cm_error *error;
    expect_ok(cm_check_derivatives(program, skipped[_i].entry, NULL, &found, &error));
    ck_assert(!found.checked);
    ck_assert_ptr_nonnull(found.reason);
    ck_assert_msg(strstr(found.reason, skipped[_i].reason) != NULL, "%s: %s", skipped[_i].text, found.reason);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* A default that is large gives way, a size that is set does not. */
START_TEST(large_defaults_give_way)
{
    static const char text[] = "fn f[B = 10000000](x: f32[B, E: 100]) -> f32[B] = sum(exp(x) * sum(x), E)\n";
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, text);
    cm_derivatives found;
    cm_error *error;
    expect_ok(cm_check_derivatives(program, "f", NULL, &found, &error));
    ck_assert_msg(found.checked, "%s", found.reason);
    ck_assert_str_eq(found.sizes, "B = 2");
    cm_program_free(program);
    cm_setting set = {"B", "10000000"};
    cm_load_options options = {.size = sizeof options, .settings = &set, .setting_count = 1};
    expect_ok(cm_load_text(context, "test.cm", text, strlen(text), &options, &program, &error));
    expect_ok(cm_check_derivatives(program, "f", NULL, &found, &error));
    ck_assert(!found.checked && strstr(found.reason, "--set") != NULL);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

START_TEST(bad_calls_are_refused)
{
    cm_context *context = test_context(1);
    cm_program *program = test_program(context, "fn f(x: f32) -> f32 = x\n");
    cm_derivatives found;
    cm_error *error;
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_check_derivatives(NULL, "f", NULL, &found, &error));
    expect_failure(CM_INVALID_ARGUMENT, "null", cm_check_derivatives(program, "f", NULL, NULL, &error));
    expect_failure(CM_INVALID_ARGUMENT, "no entry 'g'", cm_check_derivatives(program, "g", NULL, &found, &error));
    expect_ok(cm_check_derivatives(program, NULL, NULL, &found, &error));
    ck_assert(found.checked);
    cm_program_free(program);
    cm_context_free(context);
}
END_TEST

/* ---- the command line ---- */

START_TEST(cmc_names_each_entry)
{
    write_text("good.cm", "fn twice(x: f32[T]) -> f32[T] = 2 * x\nfn count(n: i32) -> i32 = n + 1\n");
    const Ran *ran = cmc("check --grad good.cm");
    expect_ran(ran, 0, "");
    ck_assert_ptr_nonnull(strstr(ran->out, "twice: forward "));
    ck_assert_ptr_nonnull(strstr(ran->out, ": agree (T = 2)\n"));
    ck_assert_ptr_nonnull(strstr(ran->out, "count: not checked: it takes no floats\n"));
}
END_TEST

START_TEST(cmc_shows_the_line)
{
    write_text("wrong.cm", CUBE "fn f(x: f32[T]) -> f32 = sum(cube(x))\nfn g(x: f32[T]) -> f32 = sum(x)\n");
    const Ran *ran = cmc("check --grad wrong.cm");
    expect_ran(ran, 1, "wrong.cm:2:15: error[derivative_differs]: f: the rule gives a tangent of ");
    expect_ran(ran, 1, "wrong.cm:3:30:   note: ");
    ck_assert_ptr_nonnull(strstr(ran->out, ": DISAGREE (T = 2)\n"));
    ck_assert_ptr_nonnull(strstr(ran->out, "g: forward "));
    ran = cmc("check --grad wrong.cm --json");
    ck_assert_ptr_nonnull(strstr(ran->out, "{\"entry\": \"f\", \"checked\": true, \"agree\": false, \"forward\": 0."));
    ck_assert_ptr_nonnull(strstr(ran->out, "\"code\": \"derivative_differs\""));
    ck_assert_ptr_nonnull(strstr(ran->out, "{\"entry\": \"g\", \"checked\": true, \"agree\": true, "));
    ck_assert_ptr_nonnull(strstr(ran->out, "], \"error\": \"error in the program\", \"diagnostics\": []}\n"));
}
END_TEST

START_TEST(cmc_finds_other_mistakes_first)
{
    write_text("bad.cm", "fn f(x: f32) -> f32 = x +\n");
    write_text("misnamed.cm", "fn f(x: f32) -> f32 = sine(x)\n");
    expect_fault(&(Fault){"check --grad bad.cm", 1, "error[syntax]"});
    expect_fault(&(Fault){"check --grad misnamed.cm", 1, "error[unknown_name]"});
}
END_TEST

static TCase *library(void)
{
    TCase *test = tcase_create("library");
    tcase_add_loop_test(test, what_is_right_agrees, 0, RIGHTS);
    tcase_add_loop_test(test, what_is_wrong_is_found_on_its_line, 0, WRONGS);
    tcase_add_loop_test(test, what_cannot_be_tried_has_a_reason, 0, SKIPPED);
    tcase_add_test(test, large_defaults_give_way);
    tcase_add_test(test, bad_calls_are_refused);
    return test;
}

static TCase *command(void)
{
    TCase *test = tcase_create("command");
    tcase_add_checked_fixture(test, make_directory, remove_directory);
    tcase_add_test(test, cmc_names_each_entry);
    tcase_add_test(test, cmc_shows_the_line);
    tcase_add_test(test, cmc_finds_other_mistakes_first);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {library, command, NULL};
    return run_suite("derivatives", cases);
}
