/* Settings: `--set key=value`, checked against what the program has. */
#include "frontend/elaborate.h"

#include <string.h>

typedef LIST(const char *) NameList;

static void add_name(Program *program, NameList *names, const char *name)
{
    for (int i = 0; i < names->count; i++) {
        if (!strcmp(names->items[i], name))
            return;
    }
    list_push(program->arena, names, name);
}

static void add_type_axes(Program *program, NameList *names, const TypeExpr *type)
{
    if (!type)
        return;
    for (int i = 0; i < type->axes.count; i++) {
        const char *label = type->axes.items[i].rest ? NULL : type_axis_label(&type->axes.items[i]);
        if (label)
            add_name(program, names, label);
    }
    for (int i = 0; i < type->items.count; i++)
        add_type_axes(program, names, type->items.items[i]);
    for (int i = 0; i < type->fields.count; i++)
        add_type_axes(program, names, type->fields.items[i].type);
}

/* `NAME.key` for one train block, `train.key` for every one of the file. */
static void add_train_keys(Program *program, NameList *names, const Decl *decl)
{
    WordList keys = {0};
    train_settable(program, decl, &keys);
    for (int i = 0; i < keys.count; i++) {
        add_name(program, names, arena_printf(program->arena, "%s.%s", decl->name, keys.items[i]));
        add_name(program, names, arena_printf(program->arena, "train.%s", keys.items[i]));
    }
}

/* Every key that means something in this program. */
static NameList known_keys(Program *program)
{
    NameList names = {0};
    add_name(program, &names, "precision");
    const File *file = program->modules.items[0]->file;
    for (int i = 0; i < file->decls.count; i++) {
        const Decl *decl = file->decls.items[i];
        if (decl->kind == DECL_dim || decl->kind == DECL_let) {
            add_name(program, &names, decl->name);
            add_name(program, &names,
                     arena_printf(program->arena, "%s.%s", decl->kind == DECL_dim ? "dim" : "let", decl->name));
        }
        if (decl->kind == DECL_train)
            add_train_keys(program, &names, decl);
        if (decl->kind != DECL_fn && decl->kind != DECL_loss && decl->kind != DECL_sample && decl->kind != DECL_eval)
            continue;
        for (int g = 0; g < decl->generics.count; g++)
            add_name(program, &names, decl->generics.items[g].name);
        for (int p = 0; p < decl->params.count; p++) {
            add_type_axes(program, &names, decl->params.items[p].type);
            if (decl->params.items[p].initial)
                add_name(program, &names, arena_printf(program->arena, "%s.%s", decl->name, decl->params.items[p].name));
        }
    }
    return names;
}

static bool is_known(const NameList *names, const char *key)
{
    for (int i = 0; i < names->count; i++) {
        if (!strcmp(names->items[i], key))
            return true;
    }
    return false;
}

/* The known key that is nearest, as a whole or, for a word without a dot, behind its dot: `steps` for `train.steps`. */
static const char *nearest_key(Program *program, const char *key, const NameList *names)
{
    const char *near = closest_word(key, names->items, names->count);
    if (near || strchr(key, '.'))
        return near;
    const char **fields = arena_array(program->arena, const char *, names->count);
    for (int i = 0; i < names->count; i++) {
        const char *dot = strchr(names->items[i], '.');
        fields[i] = dot ? dot + 1 : names->items[i];
    }
    const char *field = closest_word(key, fields, names->count);
    for (int i = names->count; field && i-- > 0;) {
        if (fields[i] == field)
            near = names->items[i];
    }
    return near;
}

/* Those of the same owner: of `train.x` what begins with `train.`, of a word without a dot those without one. */
static void note_keys(Program *program, const char *key, const NameList *names, DiagSink *diags)
{
    const char *dot = strchr(key, '.');
    size_t owner = dot ? (size_t)(dot - key) + 1 : 0;
    Text list = text_new(program->arena);
    for (int i = 0; i < names->count; i++) {
        bool same = dot ? !strncmp(names->items[i], key, owner) : !strchr(names->items[i], '.');
        if (same)
            text_printf(&list, "%s`%s`", list.length ? ", " : "", names->items[i]);
    }
    if (list.length)
        diag_note(diags, (Span){0}, "it has %s", list.data);
}

static void unknown_setting(Program *program, const Setting *setting, const NameList *names, DiagSink *diags)
{
    Source *source = arena_new_of(program->arena, Source);
    const char *text = arena_printf(program->arena, "%s=%s", setting->key, setting->value);
    *source = (Source){"--set", text, strlen(text)};
    diag_report(diags, DIAG_unknown_setting, (Span){source, 0, (uint32_t)strlen(setting->key)},
                "the program has nothing called `%s` that can be set", setting->key);
    const char *near = nearest_key(program, setting->key, names);
    if (near)
        diag_note(diags, (Span){0}, "did you mean `%s`?", near);
    else
        note_keys(program, setting->key, names, diags);
}

/* A size in bytes may stand there without quotes: train.memory=512MB. */
static bool lacks_quotes(const Program *program, const Setting *setting)
{
    const char *dot = strchr(setting->key, '.');
    if (!dot || strcmp(dot + 1, "memory") || !strspn(setting->value, "0123456789."))
        return false;
    const char *owner = arena_copy_text(program->arena, setting->key, (size_t)(dot - setting->key));
    const Decl *decl = table_get(&program->modules.items[0]->decls, owner);
    return decl ? decl->kind == DECL_train : !strcmp(owner, "train");
}

static void load_setting(Program *program, const Setting *setting, const NameList *names, DiagSink *diags)
{
    Arena *arena = program->arena;
    if (!is_known(names, setting->key)) {
        unknown_setting(program, setting, names, diags);
        return;
    }
    Source *source = arena_new_of(arena, Source);
    source->name = arena_printf(arena, "--set %s", setting->key);
    source->text = arena_printf(arena, lacks_quotes(program, setting) ? "\"%s\"" : "%s", setting->value);
    source->length = strlen(source->text);
    SettingExpr parsed = {.key = arena_copy_text(arena, setting->key, strlen(setting->key)),
                          .span = {source, 0, (uint32_t)source->length}};
    const char *dot = strchr(parsed.key, '.');
    parsed.field = dot ? dot + 1 : parsed.key;
    parsed.owner = dot ? arena_copy_text(arena, parsed.key, (size_t)(dot - parsed.key)) : NULL;
    parsed.value = parse_expression(arena, source, diags);
    list_push(arena, &program->settings, parsed);
}

bool settings_load(Program *program, const Setting *settings, int count, DiagSink *diags)
{
    int before = diags->list.count + diags->dropped;
    if (!count)
        return true;
    NameList names = known_keys(program);
    for (int i = 0; i < count; i++)
        load_setting(program, &settings[i], &names, diags);
    return diags->list.count + diags->dropped == before;
}

/* The last of several settings of one key counts. */
const SettingExpr *program_setting(const Program *program, const char *owner, const char *field)
{
    for (int i = program->settings.count; i-- > 0;) {
        const SettingExpr *setting = &program->settings.items[i];
        bool same_owner = owner && setting->owner ? !strcmp(owner, setting->owner) : !owner && !setting->owner;
        if (same_owner && !strcmp(setting->field, field))
            return setting;
    }
    return NULL;
}
