/* A folder of its own for each test, which works there: runs leave and look for weights in out/. */
#ifndef CM_TESTS_API_FOLDER_H
#define CM_TESTS_API_FOLDER_H

#include "tests/api/api_test.h"

#include <stdio.h>
#include <unistd.h>

static char folder[32], folder_before[4096];

static void enter_folder(void)
{
    strcpy(folder, "/tmp/cm-test-XXXXXX");
    ck_assert_ptr_nonnull(getcwd(folder_before, sizeof folder_before));
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
}

static void leave_folder(void)
{
    char command[64];
    ck_assert_int_eq(chdir(folder_before), 0);
    snprintf(command, sizeof command, "rm -r %s", folder);
    ck_assert_int_eq(system(command), 0);
}

#endif
