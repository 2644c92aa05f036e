/* Programs: a file and all that it imports, names at top level, settings, entries. */
#include "frontend/elaborate.h"

#include "base/file.h"

#include <string.h>

enum { MOST_IMPORTS = 40 };

/* ---- names ---- */

static const Value *function_value(Elab *el, const Module *module, const Decl *decl)
{
    Value *value = arena_new_of(el->arena, Value);
    value->kind = VALUE_function;
    value->function = (FunctionValue){.decl = decl, .env = elab_module_env(el, module), .module = module};
    return value;
}

static const Value *model_value(Elab *el, const Module *module, const Decl *decl)
{
    Value *value = arena_new_of(el->arena, Value);
    value->kind = VALUE_model;
    value->model = (ModelValue){.decl = decl, .env = elab_module_env(el, module)};
    return value;
}

static const Expr *constant_expr(const Elab *el, const Module *module, const Decl *decl)
{
    const SettingExpr *setting = module->index ? NULL : program_setting(el->program, NULL, decl->name);
    if (!setting)
        setting = module->index ? NULL : program_setting(el->program, decl->kind == DECL_dim ? "dim" : "let", decl->name);
    return setting ? setting->value : decl->value;
}

static const Value *dim_value(Elab *el, const Decl *decl, const Value *value, Span at)
{
    int64_t size;
    if (!want_size(el, value, at, "the size of an axis", &size))
        return &value_poison;
    return value_axis(el->arena, label_new(el, NULL, decl->name, size, decl->name_span), SIZE_UNKNOWN);
}

/* The constants that are being evaluated stand in the table in the order in which they were asked for. */
static const Value *defined_by_itself(Elab *el, const ModuleState *state, const Decl *decl)
{
    bool after = false;
    elab_error(el, DIAG_recursion, decl->name_span, "`%s` is defined by itself", decl->name);
    for (int i = 0; i < state->busy.count; i++) {
        const Decl *other = state->busy.entries[i].value;
        if (after && other)
            elab_note(el, other->name_span, "by way of `%s`", other->name);
        after |= other == decl;
    }
    return &value_poison;
}

const Value *constant_without_type(Elab *el, const Decl *decl, const Value *value)
{
    if (!decl->type || is_poison(value))
        return value;
    elab_error(el, DIAG_type_mismatch, decl->type->span, "the constant `%s` is no tensor, so it has no type", decl->name);
    elab_note(el, (Span){0}, "a number adapts to the tensors that it meets");
    return &value_poison;
}

/* Evaluates a `dim`, a `let` or a model with its arguments given: once, where no tensor can be made. */
static const Value *constant_value(Elab *el, const Module *module, const Decl *decl)
{
    Env *env = elab_module_env(el, module);
    ModuleState *state = &el->modules[module->index];
    const Value *known = table_get(&state->values, decl->name);
    if (known)
        return known;
    if (table_get(&state->busy, decl->name))
        return defined_by_itself(el, state, decl);
    table_put(&state->busy, decl->name, (void *)decl);
    const Expr *expr = constant_expr(el, module, decl);
    Frame *frame = el->frame;
    KeyNode *key = el->key;
    el->frame = NULL;
    const Value *value = elab_eval(el, env, expr);
    if (decl->kind == DECL_dim)
        value = dim_value(el, decl, value, expr->span);
    if (decl->kind == DECL_let)
        value = constant_without_type(el, decl, value);
    if (decl->kind == DECL_model && value->kind != VALUE_model && !is_poison(value))
        value = elab_error(el, DIAG_type_mismatch, expr->span, "`%s` is declared as a model, but this is %s", decl->name,
                           value_describe(el->arena, value));
    el->frame = frame;
    el->key = key;
    table_put(&state->values, decl->name, (void *)value);
    table_put(&state->busy, decl->name, NULL);
    return value;
}

const Value *module_lookup(Elab *el, const Module *module, const char *name)
{
    const Module *imported = table_get(&module->imports, name);
    if (imported) {
        Value *value = arena_new_of(el->arena, Value);
        value->kind = VALUE_module;
        value->module = imported;
        return value;
    }
    const Decl *decl = table_get(&module->decls, name);
    if (!decl)
        return NULL;
    switch (decl->kind) {
    case DECL_dim:
    case DECL_let:
        return constant_value(el, module, decl);
    case DECL_fn:
    case DECL_loss:
    case DECL_sample:
    case DECL_eval:
        return function_value(el, module, decl);
    case DECL_model:
        return decl->value ? constant_value(el, module, decl) : model_value(el, module, decl);
    default:
        return NULL;
    }
}

static const Value *predefined(Elab *el, const char *name)
{
    DType dtype;
    if (!strcmp(name, "training"))
        return value_bool(el->arena, el->training);
    if (dtype_from_name(name, &dtype)) {
        TypeExpr *type = arena_new_of(el->arena, TypeExpr);
        type->kind = TYPE_tensor;
        type->name = dtype_name(dtype);
        type->scalar = true;
        Value *value = arena_new_of(el->arena, Value);
        value->kind = VALUE_type;
        value->type = type;
        return value;
    }
    const Builtin *builtin = builtin_find(name);
    if (!builtin)
        return NULL;
    Value *value = arena_new_of(el->arena, Value);
    value->kind = VALUE_builtin;
    value->builtin = builtin;
    return value;
}

/* Everything that a name might have meant here. */
static WordList names_in_scope(Elab *el, const Env *env)
{
    WordList known = {0};
    for (const Env *scope = env; scope; scope = scope->parent) {
        for (const Local *binding = scope->bindings; binding; binding = binding->next)
            list_push(el->arena, &known, binding->name);
    }
    const Module *module = env_module(env);
    for (int i = 0; module && i < module->decls.count; i++)
        list_push(el->arena, &known, module->decls.entries[i].key);
    for (int i = 0; module && i < module->imports.count; i++)
        list_push(el->arena, &known, module->imports.entries[i].key);
    for (int m = 0; m < el->program->open.count; m++) {
        for (int i = 0; i < el->program->open.items[m]->decls.count; i++)
            list_push(el->arena, &known, el->program->open.items[m]->decls.entries[i].key);
    }
    int count;
    const char *const *builtins = builtin_names(el, &count);
    for (int i = 0; i < count; i++)
        list_push(el->arena, &known, builtins[i]);
    return known;
}

static const Value *unknown_name(Elab *el, const Env *env, const char *name, Span at, bool before_dot)
{
    elab_error_once(el, DIAG_unknown_name, at, "there is no `%s` here", name);
    if (el->muted) /* said before, in a turn of an unrolled loop perhaps */
        return &value_poison;
    WordList known = names_in_scope(el, env);
    if (!elab_suggest(el, name, known.items, known.count) && before_dot)
        elab_note(el, (Span){0}, "a module of the library is imported first: `import std.%s`", name);
    return &value_poison;
}

static const Value *find_name(Elab *el, const Env *env, const char *name)
{
    const Local *binding = env_find(env, name, NULL);
    if (binding)
        return binding->value;
    Label *label = label_find_free(env->activation, name);
    if (label)
        return value_axis(el->arena, label, SIZE_UNKNOWN);
    const Module *module = env_module(env);
    const Value *value = module ? module_lookup(el, module, name) : NULL;
    for (int i = 0; !value && i < el->program->open.count; i++)
        value = module_lookup(el, el->program->open.items[i], name);
    return value ? value : predefined(el, name);
}

const Value *elab_lookup(Elab *el, const Env *env, const char *name, Span at)
{
    const Value *value = find_name(el, env, name);
    return value ? value : unknown_name(el, env, name, at, false);
}

const Value *elab_lookup_owner(Elab *el, const Env *env, const char *name, Span at)
{
    const Value *value = find_name(el, env, name);
    return value ? value : unknown_name(el, env, name, at, true);
}

/* ---- loading ---- */

typedef struct OpenImport {
    const char *path;
    Span from; /* the import that wants it */
} OpenImport;

typedef struct Loader {
    Program *program;
    const ProgramReader *reader;
    DiagSink *diags;
    Table by_path;         /* path -> Module that is loaded */
    LIST(OpenImport) open; /* being loaded, from the outside in */
} Loader;

static void declare(Loader *loader, Module *module, Decl *decl)
{
    Table *table = decl->kind == DECL_rule ? &module->rules : &module->decls;
    const Decl *before = table_get(table, decl->name);
    if (before) {
        diag_report(loader->diags, DIAG_duplicate_name, decl->name_span,
                    decl->kind == DECL_rule ? "the derivative of `%s` is declared twice" : "`%s` is declared twice",
                    decl->name);
        diag_note(loader->diags, before->name_span, "it was declared here before");
        return;
    }
    table_put(table, decl->name, decl);
}

static void check_rules(Loader *loader, const Module *module)
{
    for (int i = 0; i < module->rules.count; i++) {
        const Decl *rule = module->rules.entries[i].value;
        const Decl *function = table_get(&module->decls, rule->name);
        if (!function || function->kind != DECL_fn)
            diag_report(loader->diags, DIAG_unknown_name, rule->name_span,
                        "there is no function `%s` in this file to have a derivative", rule->name);
    }
}

static Module *load_module(Loader *loader, const Source *source, const char *name);

static bool check_cycle(Loader *loader, const char *path, const Decl *decl)
{
    for (int i = 0; i < loader->open.count; i++) {
        if (strcmp(loader->open.items[i].path, path))
            continue;
        bool itself = i == loader->open.count - 1;
        diag_report(loader->diags, DIAG_import_cycle, decl->span, itself ? "%s imports itself" : "this import leads back to %s",
                    path);
        for (int j = i + 1; j < loader->open.count; j++)
            diag_note(loader->diags, loader->open.items[j].from, "%s is imported here", loader->open.items[j].path);
        return false;
    }
    if (loader->open.count < MOST_IMPORTS)
        return true;
    diag_report(loader->diags, DIAG_recursion, decl->span, "imports nest deeper than %d", MOST_IMPORTS);
    return false;
}

static Module *read_module(Loader *loader, const char *path, const char *name, Span from, const char **reason)
{
    Arena *arena = loader->program->arena;
    Module *loaded = table_get(&loader->by_path, path);
    if (loaded)
        return loaded;
    const char *text;
    size_t length;
    *reason = loader->reader && loader->reader->read ? loader->reader->read(loader->reader->state, arena, path, &text, &length)
                                                     : "there is nothing to read files with";
    if (*reason)
        return NULL;
    Source *source = arena_new_of(arena, Source);
    *source = (Source){arena_copy_text(arena, path, strlen(path)), text, length};
    OpenImport open = {source->name, from};
    list_push(arena, &loader->open, open);
    Module *module = load_module(loader, source, name);
    loader->open.count--;
    table_put(&loader->by_path, path, module);
    return module;
}

static void import(Loader *loader, Module *module, const Decl *decl)
{
    Arena *arena = loader->program->arena;
    const char *path = decl->file ? path_join(arena, path_directory(arena, module->source->name), decl->path) : decl->path;
    const char *reason = NULL;
    if (!check_cycle(loader, path, decl))
        return;
    Module *imported = read_module(loader, path, decl->name, decl->span, &reason);
    if (!imported) {
        diag_report(loader->diags, DIAG_import_missing, decl->span, "cannot import %s: %s", decl->path, reason);
        return;
    }
    if (table_get(&module->imports, decl->name) || table_get(&module->decls, decl->name))
        diag_report(loader->diags, DIAG_duplicate_name, decl->span, "`%s` is declared twice", decl->name);
    else
        table_put(&module->imports, decl->name, imported);
}

static Module *load_module(Loader *loader, const Source *source, const char *name)
{
    Arena *arena = loader->program->arena;
    Module *module = arena_new_of(arena, Module);
    *module = (Module){.name = name, .index = loader->program->modules.count, .source = source};
    list_push(arena, &loader->program->modules, module);
    module->decls = table_new(arena);
    module->rules = table_new(arena);
    module->imports = table_new(arena);
    module->file = parse_file(arena, source, loader->diags);
    for (int i = 0; i < module->file->decls.count; i++) {
        Decl *decl = module->file->decls.items[i];
        if (decl->kind != DECL_import && decl->kind != DECL_error && decl->name)
            declare(loader, module, decl);
    }
    check_rules(loader, module);
    for (int i = 0; i < module->file->decls.count; i++) {
        if (module->file->decls.items[i]->kind == DECL_import)
            import(loader, module, module->file->decls.items[i]);
    }
    return module;
}

/* The names of std.prelude, and of what it imports, are known everywhere. */
static void load_prelude(Loader *loader)
{
    const char *reason = NULL;
    Module *prelude = read_module(loader, "std.prelude", "prelude", (Span){0}, &reason);
    if (!prelude)
        return;
    list_push(loader->program->arena, &loader->program->open, prelude);
    for (int i = 0; i < prelude->imports.count; i++)
        list_push(loader->program->arena, &loader->program->open, (const Module *)prelude->imports.entries[i].value);
}

/* ---- entries ---- */

static void add_entry(Program *program, EntryKind kind, const char *name, const char *doc, Span span, const Decl *decl)
{
    Entry entry = {.kind = kind, .name = name, .doc = doc, .span = span};
    list_push(program->arena, &program->entries, entry);
    list_push(program->arena, &program->entry_decls, decl);
}

/* A function of tensors, models and defaults can be called from outside. */
static bool is_entry(const Decl *decl)
{
    for (int i = 0; i < decl->params.count; i++) {
        const Param *param = &decl->params.items[i];
        if (!param->type && !param->initial && decl->kind == DECL_fn)
            return false;
    }
    return true;
}

static bool same_entry(const Entry *a, const Entry *b)
{
    bool same_model = a->model && b->model ? !strcmp(a->model, b->model) : a->model == b->model;
    return a->kind == b->kind && !strcmp(a->name, b->name) && same_model;
}

static bool is_model(const TypeExpr *type)
{
    return type && type->kind == TYPE_named && strcmp(type->name, "key");
}

static void add_init(Program *program, const Param *param, const Decl *decl)
{
    Entry init = {.kind = ENTRY_init, .name = param->name, .span = param->type->span, .model = param->type->name};
    for (int i = 0; i < program->entries.count; i++) {
        if (same_entry(&program->entries.items[i], &init))
            return;
    }
    list_push(program->arena, &program->entries, init);
    list_push(program->arena, &program->entry_decls, decl);
}

static void add_entries(Program *program)
{
    const File *file = program->modules.items[0]->file;
    static const int kinds[] = {[DECL_fn] = ENTRY_fn,
                                [DECL_loss] = ENTRY_loss,
                                [DECL_sample] = ENTRY_sample,
                                [DECL_eval] = ENTRY_eval,
                                [DECL_train] = ENTRY_train};
    for (int i = 0; i < file->decls.count; i++) {
        const Decl *decl = file->decls.items[i];
        bool function =
            decl->kind == DECL_fn || decl->kind == DECL_loss || decl->kind == DECL_sample || decl->kind == DECL_eval;
        if ((function && is_entry(decl)) || decl->kind == DECL_train)
            add_entry(program, (EntryKind)kinds[decl->kind], decl->name, decl->doc, decl->name_span, decl);
    }
    int count = program->entries.count;
    for (int i = 0; i < count; i++) {
        const Decl *decl = program->entry_decls.items[i];
        for (int p = 0; p < decl->params.count; p++) {
            if (is_model(decl->params.items[p].type))
                add_init(program, &decl->params.items[p], decl);
        }
        if (decl->kind == DECL_train)
            add_entry(program, ENTRY_init, arena_printf(program->arena, "opt.%s", decl->name), NULL, decl->name_span, decl);
    }
}

int program_entry_count(const Program *program)
{
    return program->entries.count;
}

const Entry *program_entry(const Program *program, int index)
{
    return &program->entries.items[index];
}

static const Decl *entry_decl(const Program *program, const Entry *entry)
{
    for (int i = 0; i < program->entries.count; i++) {
        if (same_entry(&program->entries.items[i], entry))
            return program->entry_decls.items[i];
    }
    return NULL;
}

static bool has_model(const Decl *decl, const Entry *init)
{
    for (int i = 0; i < decl->params.count; i++) {
        const Param *param = &decl->params.items[i];
        if (is_model(param->type) && !strcmp(param->name, init->name) && !strcmp(param->type->name, init->model))
            return true;
    }
    return false;
}

static bool mentions(const Expr *expr, const char *name)
{
    if (!expr || (expr->kind == EXPR_name && !strcmp(expr->name, name)))
        return expr != NULL;
    bool found = mentions(expr->a, name) || mentions(expr->b, name) || mentions(expr->c, name);
    for (int i = 0; i < expr->items.count; i++)
        found |= mentions(expr->items.items[i], name);
    for (int i = 0; i < expr->fields.count; i++)
        found |= mentions(expr->fields.items[i].value, name);
    return found;
}

static bool has_models(const Decl *decl)
{
    for (int i = 0; i < decl->params.count; i++) {
        if (is_model(decl->params.items[i].type))
            return true;
    }
    return false;
}

/* A run takes the models of the functions of this file that its keys name: those are its losses.  If there are none, all. */
static bool run_takes(const Program *program, const Decl *train, const Entry *init)
{
    bool named = false;
    for (int i = 0; i < program->entries.count; i++) {
        const Decl *decl = program->entry_decls.items[i];
        if (decl->kind == DECL_train || !has_models(decl))
            continue;
        bool used = mentions(train->value, decl->name);
        for (int s = 0; s < program->settings.count; s++)
            used |= mentions(program->settings.items[s].value, decl->name);
        if (used && has_model(decl, init))
            return true;
        named |= used;
    }
    return !named;
}

bool program_takes(const Program *program, const Entry *entry, const Entry *init)
{
    const Decl *decl = entry_decl(program, entry);
    if (!decl || !init->model)
        return decl && decl == entry_decl(program, init);
    return entry->kind == ENTRY_train ? run_takes(program, decl, init) : has_model(decl, init);
}

const Decl *program_find(const Program *program, DeclKind kind, const char *name)
{
    const Decl *decl = table_get(&program->modules.items[0]->decls, name);
    return decl && decl->kind == kind ? decl : NULL;
}

const DataSet *program_data(const Program *program, const char *name)
{
    for (int i = 0; i < program->data.count; i++) {
        if (!strcmp(program->data.items[i]->name, name))
            return program->data.items[i];
    }
    return NULL;
}

const TrainRun *program_train(const Program *program, const Entry *entry)
{
    for (int i = 0; i < program->trains.count; i++) {
        if (!strcmp(program->trains.items[i]->name, entry->name))
            return program->trains.items[i];
    }
    return NULL;
}

/* ---- what is checked at once ---- */

static void check_constants(Program *program, DiagSink *diags)
{
    Elab *el = elab_new(program->arena, program, diags);
    for (int m = 0; m < program->modules.count; m++) {
        const Module *module = program->modules.items[m];
        for (int i = 0; i < module->decls.count; i++) {
            const Decl *decl = module->decls.entries[i].value;
            if (decl->kind == DECL_dim || decl->kind == DECL_let || (decl->kind == DECL_model && decl->value))
                constant_value(el, module, decl);
        }
    }
    elab_close(el);
}

/* A dim or constant of that name is the program's own. */
static void load_precision(Program *program, DiagSink *diags)
{
    static const char *const known[] = {"exact", "fast"};
    const Decl *decl = table_get(&program->modules.items[0]->decls, "precision");
    if (decl && decl->kind != DECL_precision)
        return;
    const SettingExpr *setting = program_setting(program, NULL, "precision");
    const Expr *value = setting ? setting->value : decl ? decl->value : NULL;
    if (!value || value->kind == EXPR_error)
        return;
    const char *word = value->kind == EXPR_name ? value->name : "";
    program->fast = !strcmp(word, known[1]);
    if (program->fast || !strcmp(word, known[0]))
        return;
    diag_report(diags, DIAG_unknown_precision, value->span, "this is no precision");
    const char *near = closest_word(word, known, 2);
    if (near)
        diag_note(diags, (Span){0}, "did you mean `%s`?", near);
}

bool program_is_fast(const Program *program)
{
    return program->fast;
}

static void describe_runs(Program *program, DiagSink *diags)
{
    const File *file = program->modules.items[0]->file;
    for (int i = 0; i < file->decls.count; i++) {
        const Decl *decl = file->decls.items[i];
        if (decl->kind != DECL_data)
            continue;
        DataSet *set = arena_new_of(program->arena, DataSet);
        data_describe(program, decl, set, diags);
        list_push(program->arena, &program->data, set); /* known by its name even if something is wrong with it */
    }
    for (int i = 0; i < file->decls.count; i++) {
        const Decl *decl = file->decls.items[i];
        if (decl->kind != DECL_train)
            continue;
        TrainRun *run = arena_new_of(program->arena, TrainRun);
        if (train_describe(program, decl, run, diags))
            list_push(program->arena, &program->trains, run);
    }
}

Program *program_load(Arena *arena, const Source *source, const ProgramReader *reader, const Setting *settings,
                      int setting_count, DiagSink *diags)
{
    int before = diags->list.count + diags->dropped;
    Program *program = arena_new_of(arena, Program);
    program->arena = arena;
    Loader loader = {.program = program, .reader = reader, .diags = diags, .by_path = table_new(arena)};
    OpenImport open = {source->name, {0}};
    list_push(arena, &loader.open, open);
    load_module(&loader, source, "this file");
    load_prelude(&loader);
    if (diags->list.count + diags->dropped > before)
        return NULL;
    if (!settings_load(program, settings, setting_count, diags))
        return NULL;
    load_precision(program, diags);
    add_entries(program);
    check_constants(program, diags);
    if (diags->list.count + diags->dropped == before)
        describe_runs(program, diags);
    return diags->list.count + diags->dropped > before ? NULL : program;
}

/* Null after a diagnostic. */
static const Decl *decl_of_entry(const Program *program, const Entry *entry, Entry *own, DiagSink *diags)
{
    for (int i = 0; i < program->entries.count; i++) {
        *own = program->entries.items[i];
        own->data = entry->data;
        if (same_entry(own, entry))
            return program->entry_decls.items[i];
    }
    diag_report(diags, DIAG_unknown_name, entry->span, "the program has no entry `%s`", entry->name);
    return NULL;
}

Specialised *program_specialise(Program *program, Arena *arena, const Entry *entry, const Binding *bindings, int binding_count,
                                DiagSink *diags)
{
    Entry own;
    const Decl *decl = decl_of_entry(program, entry, &own, diags);
    return decl ? specialise(program, arena, &own, decl, bindings, binding_count, NULL, diags) : NULL;
}

/* Unlike sizes first, so that axes cannot be taken for each other; behind them those of program_check. */
Specialised *program_specialise_small(Program *program, Arena *arena, const Entry *entry, bool defaults, BindingList *chosen,
                                      DiagSink *diags)
{
    static const int64_t sizes[][2] = {{2, 1}, {2, 2}, {4, 4}, {2, 0}, {4, 0}, {16, 16}, {16, 0}, {48, 0}, {240, 240}};
    Entry own;
    const Decl *decl = decl_of_entry(program, entry, &own, diags);
    int before = diags->list.count;
    Specialised *made = NULL;
    for (size_t i = 0; decl && !made && i < sizeof sizes / sizeof *sizes; i++) {
        SampleSizes samples = {.first = sizes[i][0], .step = sizes[i][1], .defaults = defaults, .arena = arena};
        DiagSink attempt = diag_sink_new(arena);
        made = specialise(program, arena, &own, decl, NULL, 0, &samples, i ? &attempt : diags);
        *chosen = samples.chosen;
        if (!made && !samples.chosen.count)
            return NULL; /* not a matter of sizes */
    }
    if (made)
        diags->list.count = before;
    return made;
}
