/* Derivatives of random compositions: forward mode against differences, reverse mode against forward mode, second derivatives,
 * at the point where the program is well conditioned.
 *
 * CM_RANDOM_PROGRAMS says how many (200), CM_RANDOM_SEED where to start. */
#include "tests/random/program.h"
#include "tests/unit/calculus_check.h"

#include <stdlib.h>

START_TEST(the_derivatives_of_random_programs_agree)
{
    const char *first = getenv("CM_RANDOM_SEED");
    uint64_t seed = (first ? strtoull(first, NULL, 10) : 0) + (uint64_t)_i;
    Arena *arena = arena_new(NULL, NULL);
    RandomProgram program = random_program(arena, seed, true);
    CalculusCheck check = {.arena = arena,
                           .name = arena_printf(arena, "seed %llu", (unsigned long long)seed),
                           .draws = draws_new(seed),
                           .low = -1,
                           .high = 1,
                           .given = program.args,
                           .given_count = program.func->params.count,
                           .slack = 1e4};
    DiagSink diags = diag_sink_new(arena);
    ck_assert(pass_derive(program.module, &diags));
    check_derivatives(&check, program.func);
    arena_free(arena);
}
END_TEST

int main(void)
{
    const char *count = getenv("CM_RANDOM_PROGRAMS");
    Suite *suite = suite_create("derivatives of random programs");
    TCase *programs = tcase_create("programs");
    tcase_add_loop_test(programs, the_derivatives_of_random_programs_agree, 0, count ? atoi(count) : 200);
    suite_add_tcase(suite, programs);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
