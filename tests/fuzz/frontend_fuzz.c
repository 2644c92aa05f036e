/* Any text as a program: parsing, formatting and checking neither crash nor hang; what parses is the same program after
 * formatting, which changes nothing the second time. */
#include "tests/unit/ast_dump.h"
#include "frontend/program.h"
#include "passes/passes.h"
#include "runtime/std.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- memory: as a host may give it, with an end ---- */

enum { MOST_MEMORY = 512 << 20 };

static void *take(void *state, size_t size)
{
    size_t *left = state;
    if (size > *left)
        return NULL;
    *left -= size;
    return malloc(size);
}

static void give(void *state, void *memory)
{
    (void)state;
    free(memory);
}

/* ---- one text ---- */

static void require(bool holds)
{
    if (!holds)
        abort();
}

static File *parse(Arena *arena, const char *text, size_t length, bool *fine)
{
    Source *source = arena_new_of(arena, Source);
    *source = (Source){"fuzz.cm", text, length};
    DiagSink diags = diag_sink_new(arena);
    File *file = parse_file(arena, source, &diags);
    Text messages = text_new(arena);
    diag_render_all(&diags, &messages);
    *fine = !diags.list.count;
    return file;
}

/* Descriptions aside: a semicolon between a comment and a declaration may go, and then the one is the other's. */
static const char *tree_of(Arena *arena, File *file)
{
    Text text = text_new(arena);
    for (int i = 0; i < file->decls.count; i++) {
        file->decls.items[i]->doc = NULL;
        for (int j = 0; j < file->decls.items[i]->members.count; j++)
            file->decls.items[i]->members.items[j]->doc = NULL;
    }
    dump_file(&text, file);
    return text.data;
}

static void check_layout(Arena *arena, File *file)
{
    bool fine;
    Text once = text_new(arena), twice = text_new(arena);
    format_file(file, &once);
    File *again = parse(arena, once.data, once.length, &fine);
    require(fine);
    format_file(again, &twice);
    require(!strcmp(once.data, twice.data));
    require(!strcmp(tree_of(arena, file), tree_of(arena, again)));
    require(file->comments.count == again->comments.count);
}

static const char *read_std(void *state, Arena *arena, const char *path, const char **text, size_t *length)
{
    (void)state;
    (void)arena;
    for (const StdText *own = std_texts; own->name; own++) {
        if (strcmp(own->name, path))
            continue;
        *text = own->text;
        *length = own->length;
        return NULL;
    }
    return "there is no such file";
}

static void check_derivatives(const Specialised *made, DiagSink *diags)
{
    pass_derive(made->module, diags);
}

static void check_program(Arena *arena, const char *text, size_t length)
{
    Source *source = arena_new_of(arena, Source);
    *source = (Source){"fuzz.cm", text, length};
    DiagSink diags = diag_sink_new(arena);
    ProgramReader reader = {read_std, NULL};
    Program *program = program_load(arena, source, &reader, NULL, 0, &diags);
    bool checked = program && program_check(program, check_derivatives, &diags);
    require(checked || diags.list.count);
}

/* The program of a golden file ends where its expectation starts. */
static size_t length_of_program(const char *text, size_t length)
{
    static const char mark[] = "\n== ";
    const char *end = memmem(text, length, mark, sizeof mark - 1);
    return end ? (size_t)(end + 1 - text) : length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t left = MOST_MEMORY, length = length_of_program((const char *)data, size);
    jmp_buf escape;
    Allocator allocator = {take, give, &left};
    Arena *arena = arena_new(&allocator, NULL);
    char *text = malloc(length + 1);
    memcpy(text, data, length);
    text[length] = 0;
    if (arena && !setjmp(escape)) {
        bool fine;
        arena_set_escape(arena, &escape);
        File *file = parse(arena, text, length, &fine);
        if (fine) {
            check_layout(arena, file);
            check_program(arena, text, length);
        }
    }
    arena_free(arena);
    free(text);
    return 0;
}
