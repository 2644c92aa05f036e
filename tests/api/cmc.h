/* What the tests of the command line share: a folder for each test, files in it, cmc run there. */
#ifndef CM_TESTS_API_CMC_H
#define CM_TESTS_API_CMC_H

#include "tests/api/api_test.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[32];

static void make_directory(void)
{
    strcpy(directory, "/tmp/cm-cmc-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(directory));
}

static void remove_directory(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    ck_assert_int_eq(system(command), 0);
}

static inline const char *path_of(const char *name)
{
    static char paths[4][256];
    static int next;
    next = (next + 1) % 4;
    snprintf(paths[next], sizeof paths[next], "%s/%s", directory, name);
    return paths[next];
}

static inline void write_bytes(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(path_of(name), "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

static inline void write_text(const char *name, const char *text)
{
    write_bytes(name, text, strlen(text));
}

static inline bool is_there(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static inline size_t read_text(const char *name, char *text, size_t size)
{
    FILE *file = fopen(path_of(name), "rb");
    ck_assert_msg(file != NULL, "there is no %s", name);
    size_t length = fread(text, 1, size - 1, file);
    text[length] = 0;
    fclose(file);
    return length;
}

/* A shell command in the folder; its exit status, or 128 and the number of the signal that ended it. */
__attribute__((format(printf, 1, 2))) static inline int shell(const char *format, ...)
{
    char words[2048], command[2560];
    va_list args;
    va_start(args, format);
    ck_assert_int_lt(vsnprintf(words, sizeof words, format, args), (int)sizeof words);
    va_end(args);
    snprintf(command, sizeof command, "cd %s || exit 99; unset CM_CACHE_DIR CM_DATA_PATH; export XDG_CACHE_HOME=%s/cache; %s",
             directory, directory, words);
    int status = system(command);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

typedef struct Ran {
    int status;
    char out[16384], err[16384]; /* the beginnings of what was printed */
} Ran;

/* cmc with these words, as a shell reads them. */
__attribute__((format(printf, 1, 2))) static inline const Ran *cmc(const char *format, ...)
{
    static Ran ran;
    char words[1024];
    va_list args;
    va_start(args, format);
    ck_assert_int_lt(vsnprintf(words, sizeof words, format, args), (int)sizeof words);
    va_end(args);
    ran.status = shell("%s %s > printed 2> said", CMC, words);
    read_text("printed", ran.out, sizeof ran.out);
    read_text("said", ran.err, sizeof ran.err);
    return &ran;
}

#define expect_ran(ran, wanted, part)                                                                                          \
    do {                                                                                                                       \
        const Ran *one = (ran);                                                                                                \
        ck_assert_msg(one->status == (wanted), "%s: status %d, wanted %d\n%s%s", #ran, one->status, wanted, one->out,          \
                      one->err);                                                                                               \
        ck_assert_msg(strstr(one->err, part) != NULL, "%s: no \"%s\" in: %s", #ran, part, one->err);                           \
    } while (0)

/* Bad calls and what is said about them. */
typedef struct Fault {
    const char *words;
    int status;
    const char *part; /* of the message; what follows a line break is wanted, too */
} Fault;

static inline void expect_fault(const Fault *fault)
{
    const Ran *ran = cmc("%s", fault->words);
    ck_assert_msg(ran->status == fault->status, "cmc %s: status %d, wanted %d\n%s%s", fault->words, ran->status, fault->status,
                  ran->out, ran->err);
    ck_assert_msg(!ran->out[0], "cmc %s: a failure belongs to standard error, not here: %s", fault->words, ran->out);
    for (const char *part = fault->part; *part; part += strcspn(part, "\n"), part += *part == '\n') {
        char wanted[256];
        snprintf(wanted, sizeof wanted, "%.*s", (int)strcspn(part, "\n"), part);
        ck_assert_msg(strstr(ran->err, wanted) != NULL, "cmc %s: no \"%s\" in: %s", fault->words, wanted, ran->err);
    }
}

#endif
