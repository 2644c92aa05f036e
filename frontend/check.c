/* Checking: every entry and model at sample sizes, so that what nobody calls is elaborated, too. */
#include "frontend/elaborate.h"

#include <string.h>

const char *bindings_text(Arena *arena, const BindingList *bindings)
{
    Text text = text_new(arena);
    for (int i = 0; i < bindings->count; i++)
        text_printf(&text, "%s%s = %lld", i ? ", " : "", bindings->items[i].axis, (long long)bindings->items[i].size);
    return text.data;
}

/* With other sizes the program may be right. */
static bool is_about_sizes(const Diag *diag)
{
    return diag->code == DIAG_axis_size || diag->code == DIAG_division_exact || diag->code == DIAG_requirement ||
           diag->code == DIAG_index_range || diag->code == DIAG_too_large;
}

static void check_with(Program *program, const Entry *entry, const Decl *decl, ProgramVisit *visit, SampleSizes *samples,
                       DiagSink *diags)
{
    Arena *arena = arena_new(NULL, NULL);
    jmp_buf *escape = arena_set_escape(program->arena, NULL);
    arena_set_escape(program->arena, escape);
    arena_set_escape(arena, escape);
    samples->arena = diags->arena;
    const Specialised *made = specialise(program, arena, entry, decl, NULL, 0, samples, diags);
    if (made && visit)
        visit(made, diags);
    arena_free(arena);
}

static bool says(const DiagSink *sink, const Diag *diag)
{
    for (int i = 0; i < sink->list.count; i++) {
        if (!strcmp(sink->list.items[i].text, diag->text))
            return true;
    }
    return false;
}

/* Messages that other sizes do not give tell the sizes that do. */
static void note_sizes(DiagSink *diags, int first, const DiagSink *other, const BindingList *sizes)
{
    const char *said = bindings_text(diags->arena, sizes);
    for (int i = first; i < diags->list.count; i++) {
        Diag *diag = &diags->list.items[i];
        DiagNote note = {.text = arena_printf(diags->arena, "nobody gave sizes here, so this was checked with %s", said)};
        if (diag->code == DIAG_requirement || !says(other, diag))
            list_push(diags->arena, &diag->notes, note);
    }
}

/* Sizes that divide by 16, sizes that divide by 3 and 5, too, and equal sizes: what is right with one of them may be meant so.
 */
static void check_entry(Program *program, const Entry *entry, const Decl *decl, ProgramVisit *visit, DiagSink *diags)
{
    SampleSizes samples[] = {{.first = 16, .step = 16}, {.first = 240, .step = 240}, {.first = 48}};
    enum { SAMPLES = sizeof samples / sizeof samples[0] };
    DiagSink others[SAMPLES];
    int first = diags->list.count;
    check_with(program, entry, decl, visit, &samples[0], diags);
    for (int i = first; i < diags->list.count; i++) {
        if (!is_about_sizes(&diags->list.items[i]) || diags->dropped)
            return;
    }
    bool sampled = samples[0].chosen.count > 0;
    for (int i = 1; i < SAMPLES && diags->list.count > first && sampled; i++) {
        others[i] = diag_sink_new(diags->arena);
        check_with(program, entry, decl, visit, &samples[i], &others[i]);
        if (!others[i].list.count)
            diags->list.count = first;
    }
    if (diags->list.count > first && sampled)
        note_sizes(diags, first, &others[1], &samples[0].chosen);
}

bool program_check(Program *program, ProgramVisit *visit, DiagSink *diags)
{
    int before = diags->list.count + diags->dropped;
    const File *file = program->modules.items[0]->file;
    for (int i = 0; i < program->entries.count; i++)
        check_entry(program, &program->entries.items[i], program->entry_decls.items[i], visit, diags);
    for (int i = 0; i < file->decls.count; i++) {
        const Decl *decl = file->decls.items[i];
        Entry entry = {.kind = ENTRY_fn, .name = decl->name, .span = decl->name_span};
        if (decl->kind == DECL_model && !decl->value)
            check_entry(program, &entry, decl, visit, diags);
    }
    check_names(program, diags);
    return diags->list.count + diags->dropped == before;
}
