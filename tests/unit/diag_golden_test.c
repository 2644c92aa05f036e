/* Diagnostics: each wrong program under tests/golden/diag gives exactly the messages that stand below it. */
#include "frontend/program.h"
#include "tests/unit/golden.h"
#include "passes/passes.h"
#include "runtime/std.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static Arena *names; /* of the files, read once */
static GoldenPaths programs, texts;

/* Codes that no program alone provokes, and the test that does. */
static const struct Elsewhere {
    DiagCode code;
    const char *test;
} elsewhere[] = {
    {DIAG_data_missing, "tests/unit/dataset_test.c"}, {DIAG_data_unreadable, "tests/unit/dataset_test.c"},
    {DIAG_data_type, "tests/unit/dataset_test.c"},    {DIAG_data_samples, "tests/unit/dataset_test.c"},
    {DIAG_not_finite, "tests/api/train_test.c"},      {DIAG_derivative_differs, "tests/api/derivatives_test.c"},
};
enum { ELSEWHERE = sizeof elsewhere / sizeof *elsewhere };

/* ---- reading what a program imports ---- */

static const char *read_import(void *state, Arena *arena, const char *path, const char **text, size_t *length)
{
    const Golden *golden = state;
    for (int i = 0; i < golden->files.count; i++) {
        if (strcmp(golden->files.items[i].name, path) && strcmp(arena_printf(arena, "./%s", golden->files.items[i].name), path))
            continue;
        *text = golden->files.items[i].text;
        *length = golden->files.items[i].length;
        return NULL;
    }
    for (const StdText *own = std_texts; own->name; own++) {
        if (strcmp(own->name, path))
            continue;
        *text = own->text;
        *length = own->length;
        return NULL;
    }
    return "there is no such file";
}

/* ---- running one file ---- */

/* `# set: train.steps=100` */
static int read_settings(Arena *arena, const Golden *golden, Setting *settings, int most)
{
    int count = 0;
    for (const char *word; count < most && (word = golden_word(arena, golden, "set", count)); count++) {
        size_t key = strcspn(word, "=");
        settings[count] = (Setting){arena_copy_text(arena, word, key), word + key + (word[key] == '=')};
    }
    return count;
}

static Entry find_entry(const Program *program, const char *name)
{
    for (int i = 0; i < program_entry_count(program); i++) {
        if (!strcmp(program_entry(program, i)->name, name))
            return *program_entry(program, i);
    }
    return (Entry){.kind = ENTRY_fn, .name = name};
}

/* `# specialise: f B=4 C=8`: what only the sizes of one call show, compiled if it says `# memory: 100`, in bytes. */
static void specialise_one(Arena *arena, const Golden *golden, Program *program, const char *line, DiagSink *diags)
{
    Binding bindings[8];
    int count = 0;
    size_t name = strcspn(line, " ");
    Entry entry = find_entry(program, arena_copy_text(arena, line, name));
    for (const char *at = line + name; *at && count < 8; at += strcspn(at, " ")) {
        at += *at == ' ';
        size_t axis = strcspn(at, "=");
        bindings[count++] = (Binding){arena_copy_text(arena, at, axis), strtoll(at + axis + 1, NULL, 10)};
    }
    Specialised *made = program_specialise(program, arena, &entry, bindings, count, diags);
    const char *memory = golden_word(arena, golden, "memory", 0);
    PipelineOptions options = {.stop_after = -1};
    options.lower.memory_limit = memory ? strtoll(memory, NULL, 10) : made ? made->memory : 0;
    if (made && options.lower.memory_limit)
        pipeline_run(made->module, made->func->name, &options, diags);
}

static void check_derivatives(const Specialised *made, DiagSink *diags)
{
    pass_derive(made->module, diags);
}

static void check_program(Arena *arena, const Golden *golden, DiagSink *diags)
{
    Source *source = arena_new_of(arena, Source);
    *source = (Source){golden->name, arena_copy_text(arena, golden->text.text, golden->text.length), golden->text.length};
    Golden *files = arena_copy(arena, golden, sizeof *golden);
    ProgramReader reader = {read_import, files};
    Setting settings[8];
    int count = read_settings(arena, golden, settings, 8);
    Program *program = program_load(arena, source, &reader, settings, count, diags);
    const char *line = golden_word(arena, golden, "specialise", 0);
    if (program && line)
        specialise_one(arena, golden, program, line, diags);
    else if (program)
        program_check(program, check_derivatives, diags);
}

static void check_text(Arena *arena, const Golden *golden, DiagSink *diags)
{
    Source *source = arena_new_of(arena, Source);
    *source = (Source){golden->name, arena_copy_text(arena, golden->text.text, golden->text.length), golden->text.length};
    IrModule *module = ir_parse(arena, source, diags);
    if (module)
        ir_verify(module, diags);
}

static void run_golden(const char *path, void (*check)(Arena *, const Golden *, DiagSink *))
{
    Arena *arena = arena_new(NULL, NULL);
    Golden golden = golden_read(arena, path);
    DiagSink diags = diag_sink_new(arena);
    Text rendered = text_new(arena);
    check(arena, &golden, &diags);
    diag_render_all(&diags, &rendered);
    ck_assert_msg(*rendered.data, "%s: nothing is wrong with it", path);
    golden_compare(arena, &golden, rendered.data);
    arena_free(arena);
}

START_TEST(programs_give_their_messages)
{
    run_golden(programs.items[_i], check_program);
}
END_TEST

START_TEST(texts_of_the_ir_give_their_messages)
{
    run_golden(texts.items[_i], check_text);
}
END_TEST

/* ---- every code is provoked ---- */

static bool provoked(Arena *arena, const GoldenPaths *paths, DiagCode code)
{
    const char *mark = arena_printf(arena, "error[%s]:", diag_code_name(code));
    for (int i = 0; i < paths->count; i++) {
        if (strstr(golden_read(arena, paths->items[i]).expected, mark))
            return true;
    }
    return false;
}

static bool tested_elsewhere(Arena *arena, DiagCode code)
{
    for (int i = 0; i < ELSEWHERE; i++) {
        Bytes text;
        if (elsewhere[i].code != code)
            continue;
        const char *reason = file_read(arena, path_join(arena, CM_SOURCE_DIR, elsewhere[i].test), 0, &text);
        ck_assert_msg(!reason, "%s: %s", elsewhere[i].test, reason);
        ck_assert_msg(strstr((char *)text.data, diag_code_name(code)) != NULL, "%s does not provoke %s", elsewhere[i].test,
                      diag_code_name(code));
        return true;
    }
    return false;
}

START_TEST(each_code_is_provoked)
{
    Arena *arena = arena_new(NULL, NULL);
    bool here = provoked(arena, &programs, (DiagCode)_i) || provoked(arena, &texts, (DiagCode)_i);
    bool there = tested_elsewhere(arena, (DiagCode)_i);
    ck_assert_msg(here || there, "no file under tests/golden/diag provokes %s", diag_code_name((DiagCode)_i));
    ck_assert_msg(!(here && there), "%s is provoked here and listed as tested elsewhere", diag_code_name((DiagCode)_i));
    arena_free(arena);
}
END_TEST

START_TEST(there_are_enough_wrong_programs)
{
    ck_assert_int_ge(programs.count, 80);
}
END_TEST

int main(void)
{
    names = arena_new(NULL, NULL);
    programs = golden_find(names, CM_SOURCE_DIR "/tests/golden/diag", ".cm");
    texts = golden_find(names, CM_SOURCE_DIR "/tests/golden/diag", ".ir");
    Suite *suite = suite_create("diag_golden");
    TCase *cases = tcase_create("messages");
    tcase_set_timeout(cases, 30);
    tcase_add_loop_test(cases, programs_give_their_messages, 0, programs.count);
    tcase_add_loop_test(cases, texts_of_the_ir_give_their_messages, 0, texts.count);
    tcase_add_loop_test(cases, each_code_is_provoked, 0, DIAG_COUNT);
    tcase_add_test(cases, there_are_enough_wrong_programs);
    suite_add_tcase(suite, cases);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    arena_free(names);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
