/* The shared library exports the names of cm.h and no others; the command line and the examples link to nothing else. */
#include "tests/api/api_test.h"

#include <stdio.h>

START_TEST(only_public_names_are_exported)
{
    FILE *names = popen("nm -D --defined-only " CM_LIBRARY " | awk '$2 != \"A\" { print $NF }'", "r");
    char name[256], wanted[512];
    int count = 0;
    ck_assert_ptr_nonnull(names);
    while (fscanf(names, "%255s", name) == 1) {
        snprintf(wanted, sizeof wanted, "grep -q '\\b%s(' %s/include/cm.h", name, CM_SOURCE_DIR);
        ck_assert_msg(strncmp(name, "cm_", 3) == 0 && system(wanted) == 0, "%s is exported but not in cm.h", name);
        count++;
    }
    ck_assert_int_eq(pclose(names), 0);
    ck_assert_int_gt(count, 40);
}
END_TEST

START_TEST(every_public_name_is_there)
{
    int missing =
        system("grep -o 'CM_API [^;]*(' " CM_SOURCE_DIR "/include/cm.h | grep -o 'cm_[a-z_0-9]*(' | tr -d '(' | sort -u > "
               "/tmp/cm_wanted.$$ && nm -D --defined-only " CM_LIBRARY
               " | awk '{ print $NF }' | sort -u > /tmp/cm_there.$$; comm -23 /tmp/cm_wanted.$$ /tmp/cm_there.$$ >&2; "
               "test -z \"$(comm -23 /tmp/cm_wanted.$$ /tmp/cm_there.$$)\"; found=$?; "
               "rm -f /tmp/cm_wanted.$$ /tmp/cm_there.$$; exit $found");
    ck_assert_int_eq(missing, 0);
}
END_TEST

static TCase *symbols(void)
{
    TCase *test = tcase_create("symbols");
    tcase_add_test(test, only_public_names_are_exported);
    tcase_add_test(test, every_public_name_is_there);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {symbols, NULL};
    return run_suite("symbols", cases);
}
