/* An installed copy, as another project meets it: found by CMake and by pkg-config, it builds the example and makes images. */
#include "tests/api/cmc.h"

static void set_up(void)
{
    make_directory();
    ck_assert_int_eq(shell("%s --install %s --prefix first > said 2>&1 && mv first prefix", CM_CMAKE, CM_BINARY_DIR), 0);
}

/* Twenty images in two rows of ten, and the frame around each. */
static void expect_images(const char *program)
{
    static Ran ran;
    unsigned char head[24];
    ck_assert_int_eq(shell("%s %s/examples/ict.cm one_step images.png > printed 2> said", program, CM_SOURCE_DIR), 0);
    read_text("printed", ran.out, sizeof ran.out);
    ck_assert_msg(strstr(ran.out, "images.png: 20 images, 62720 bytes here") != NULL, "%s", ran.out);
    FILE *picture = fopen(path_of("images.png"), "rb");
    ck_assert_ptr_nonnull(picture);
    ck_assert_uint_eq(fread(head, 1, sizeof head, picture), sizeof head);
    fclose(picture);
    ck_assert_mem_eq(head, "\x89PNG", 4);
    ck_assert_int_ge(head[18] << 8 | head[19], 280);
    ck_assert_int_ge(head[22] << 8 | head[23], 56);
    ck_assert_int_lt(head[22] << 8 | head[23], 100);
    ck_assert_int_eq(shell("%s %s/examples/ict.cm nothing images.png > printed 2> said", program, CM_SOURCE_DIR), 1);
    read_text("said", ran.err, sizeof ran.err);
    ck_assert_msg(strstr(ran.err, "no entry 'nothing'") != NULL, "%s", ran.err);
}

START_TEST(cmake_finds_it)
{
    int status = shell("%s -S %s/examples/embed -B built -DCMAKE_PREFIX_PATH=$PWD/prefix -DCMAKE_C_COMPILER=%s "
                       "'-DCMAKE_C_FLAGS=%s' > said 2>&1 && %s --build built >> said 2>&1",
                       CM_CMAKE, CM_SOURCE_DIR, CM_COMPILER, CM_COMPILER_FLAGS, CM_CMAKE);
    ck_assert_msg(status == 0, "%d: see %s/said", status, directory);
    ck_assert_int_eq(shell("readelf -d built/embed | grep -q 'NEEDED.*libcm[.]so[.]0'"), 0);
    expect_images("built/embed");
}
END_TEST

START_TEST(cmake_refuses_another_version)
{
    write_text("CMakeLists.txt",
               "cmake_minimum_required(VERSION 3.25)\nproject(other LANGUAGES C)\nfind_package(cm 7.0 REQUIRED)\n");
    ck_assert_int_ne(shell("%s -S . -B other -DCMAKE_PREFIX_PATH=$PWD/prefix > said 2>&1", CM_CMAKE), 0);
    ck_assert_int_eq(shell("grep -q 'requested version \"7.0\"' said"), 0);
}
END_TEST

START_TEST(pkg_config_finds_it)
{
    int status =
        shell("export PKG_CONFIG_PATH=$(dirname $(find $PWD/prefix -name cm.pc)) && test \"$(pkg-config --modversion cm)\" "
              "&& %s %s -Wall -Wextra -Werror %s/examples/embed/main.c $(pkg-config --cflags --libs cm) "
              "-Wl,-rpath,$(pkg-config --variable=libdir cm) -o embedded 2> said",
              CM_COMPILER, CM_COMPILER_FLAGS, CM_SOURCE_DIR);
    ck_assert_msg(status == 0, "%d: see %s/said", status, directory);
    expect_images("./embedded");
}
END_TEST

/* Nothing but the header, the library, the tool and what finds them; cmc finds its library wherever the copy lies. */
START_TEST(the_copy_is_complete_and_small)
{
    static Ran ran;
    ck_assert_int_eq(shell("cd prefix && find . -type f | sort > ../listed"), 0);
    ck_assert_int_eq(
        shell("grep -vE '/(bin/cmc|include/cm.h|libcm.so.0.1.0|cm-config(-version|-[a-z]*)?.cmake|cm.pc)$' listed"), 1);
    ck_assert_int_eq(shell("test $(wc -l < listed) = 7"), 0);
    ck_assert_int_eq(shell("env -i prefix/bin/cmc --version > printed"), 0);
    read_text("printed", ran.out, sizeof ran.out);
    ck_assert_ptr_nonnull(strstr(ran.out, cm_version()));
}
END_TEST

/* The header alone, as C99 and for a compiler that is strict. */
START_TEST(the_header_stands_alone)
{
    write_text("alone.c", "#include <cm.h>\nint main(void) { return cm_version() == 0; }\n");
    ck_assert_int_eq(shell("%s -std=c99 -Wall -Wextra -pedantic -Werror -Iprefix/include -fsyntax-only alone.c", CM_COMPILER),
                     0);
}
END_TEST

static TCase *installed(void)
{
    TCase *test = tcase_create("installed");
    tcase_set_timeout(test, 400);
    tcase_add_checked_fixture(test, set_up, remove_directory);
    tcase_add_test(test, cmake_finds_it);
    tcase_add_test(test, cmake_refuses_another_version);
    tcase_add_test(test, pkg_config_finds_it);
    tcase_add_test(test, the_copy_is_complete_and_small);
    tcase_add_test(test, the_header_stands_alone);
    return test;
}

int main(void)
{
    TCase *(*const cases[])(void) = {installed, NULL};
    return run_suite("install", cases);
}
