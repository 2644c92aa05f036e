/* What a train block says: its keys, its turns, and what the runtime wants to know before a step is compiled. */
#include "frontend/elaborate_train.h"

#include <stdlib.h>
#include <string.h>

const TrainKey train_keys[TRAIN_KEYS] = {
    {"loss", true, true},    {"data", true, false},   {"optimizer", true, true},  {"batch", true, false},
    {"steps", true, false},  {"ema", true, false},    {"clip", true, true},       {"lr", true, true},
    {"groups", true, true},  {"seed", true, false},   {"log_every", true, false}, {"save_every", true, false},
    {"memory", true, false}, {"when", false, true},   {"trains", false, true},    {"start", true, false},
};

static void push_keys(Arena *arena, WordList *out, bool of_turn, const char *prefix)
{
    for (int i = 0; i < TRAIN_KEYS; i++) {
        if (of_turn ? train_keys[i].of_turn : train_keys[i].of_run)
            list_push(arena, out, arena_printf(arena, "%s%s", prefix, train_keys[i].name));
    }
}

/* ---- values of keys, settings before what is written ---- */

static const Expr *setting_field(const Program *program, const Decl *decl, const char *key)
{
    const SettingExpr *setting = program_setting(program, decl->name, key);
    if (!setting)
        setting = program_setting(program, "train", key);
    return setting ? setting->value : NULL;
}

static const Expr *record_field(const Expr *record, const char *name)
{
    for (int i = 0; record && i < record->fields.count; i++) {
        if (!strcmp(record->fields.items[i].name, name))
            return record->fields.items[i].value;
    }
    return NULL;
}

const Expr *run_field(const Program *program, const Decl *decl, const char *name)
{
    const Expr *set = setting_field(program, decl, name);
    return set ? set : record_field(decl->value, name);
}

/* What a turn does not say the run says for all of them; but a rate belongs to the optimiser that stands beside it. */
static bool is_inherited(const TurnDecl *turn, const char *key)
{
    if (!strcmp(key, "loss") || (!strcmp(key, "lr") && record_field(turn->field->value, "optimizer")))
        return false;
    for (int i = 0; i < TRAIN_KEYS; i++) {
        if (!strcmp(train_keys[i].name, key))
            return train_keys[i].of_run && train_keys[i].of_turn;
    }
    return false;
}

static const Expr *turn_setting(const Program *program, const Decl *decl, const TurnDecl *turn, const char *name)
{
    const char *key = turn->name ? arena_printf(program->arena, "%s.%s", turn->name, name) : name;
    return setting_field(program, decl, key);
}

bool rate_replaces(const Program *program, const Decl *decl, const TurnDecl *turn)
{
    const Expr *record = turn->name ? turn->field->value : NULL;
    return turn_setting(program, decl, turn, "lr") || (record_field(record, "lr") && !record_field(record, "optimizer"));
}

const Expr *turn_field(const Program *program, const Decl *decl, const TurnDecl *turn, const char *name)
{
    if (!turn->name)
        return run_field(program, decl, name);
    const Expr *expr = turn_setting(program, decl, turn, name);
    if (!expr)
        expr = record_field(turn->field->value, name);
    return expr || !is_inherited(turn, name) ? expr : run_field(program, decl, name);
}

bool whole_field(Elab *el, const Decl *decl, const char *name, int64_t otherwise, int64_t least, int64_t *out)
{
    const Expr *expr = run_field(el->program, decl, name);
    *out = otherwise;
    if (!expr)
        return true;
    Env *env = elab_module_env(el, el->program->modules.items[0]);
    const char *what = arena_printf(el->arena, "`%s`", name);
    if (!want_integer(el, elab_eval(el, env, expr), expr->span, what, out))
        return false;
    if (*out >= least && *out <= INT32_MAX)
        return true;
    bool low = *out < least;
    elab_error(el, DIAG_train_key, expr->span, "`%s` is at %s %lld, not %lld", name, low ? "least" : "most",
               low ? (long long)least : (long long)INT32_MAX, (long long)*out);
    return false;
}

/* Bytes from a text like 512MB or 1.5 GiB; a negative number: it is not like that. */
static double bytes_of(const char *text)
{
    static const struct {
        const char *name;
        double bytes;
    } units[] = {{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}};
    size_t digits = strspn(text, "0123456789."), points = 0;
    for (size_t i = 0; i < digits; i++)
        points += text[i] == '.';
    const char *unit = text + digits + strspn(text + digits, " ");
    for (size_t i = 0; i < sizeof units / sizeof *units && digits > points && points < 2; i++)
        if (!strcmp(unit, units[i].name))
            return strtod(text, NULL) * units[i].bytes;
    return -1;
}

static bool memory_field(Elab *el, const Decl *decl, int64_t *out)
{
    const Expr *expr = run_field(el->program, decl, "memory");
    *out = 0;
    if (!expr)
        return true;
    const Value *value = elab_eval(el, elab_module_env(el, el->program->modules.items[0]), expr);
    if (is_poison(value))
        return false;
    double bytes = value->kind == VALUE_string ? bytes_of(value->text) : -1;
    if (bytes >= 1 && bytes < 0x1p62) {
        *out = (int64_t)bytes;
        return true;
    }
    if (value->kind != VALUE_string)
        elab_error(el, DIAG_train_key, expr->span, "`memory` is a string like \"512MB\", not %s",
                   value_describe(el->arena, value));
    else if (bytes < 0)
        elab_error(el, DIAG_train_key, expr->span, "`memory` is a number and one of KB, MB, GB, KiB, MiB, GiB, like \"512MB\"");
    else
        elab_error(el, DIAG_train_key, expr->span, "`memory` is at least a byte, and less than 2^62");
    return false;
}

bool data_field(Elab *el, const Decl *decl, const DataSet **data)
{
    const Program *program = el->program;
    const Expr *expr = run_field(program, decl, "data");
    *data = NULL;
    if (!expr)
        return true;
    *data = expr->kind == EXPR_name ? program_data(program, expr->name) : NULL;
    if (*data)
        return true;
    elab_error(el, DIAG_train_key, expr->span, "`data` names a data set of this file");
    const char **names = arena_array(el->arena, const char *, program->data.count + 1);
    for (int i = 0; i < program->data.count; i++)
        names[i] = program->data.items[i]->name;
    if (expr->kind == EXPR_name)
        elab_suggest(el, expr->name, names, program->data.count);
    return false;
}

/* ---- turns ---- */

bool is_turn(const Field *field)
{
    bool is_key = false;
    for (int i = 0; i < TRAIN_KEYS; i++)
        is_key |= train_keys[i].of_run && !strcmp(train_keys[i].name, field->name);
    return field->value->kind == EXPR_record && !is_key;
}

bool is_model_param(const Param *param)
{
    return param->type && param->type->kind == TYPE_named && strcmp(param->type->name, "key");
}

static bool turn_loss(Elab *el, const Decl *decl, TurnDecl *turn)
{
    const Expr *expr = turn_field(el->program, decl, turn, "loss");
    if (!expr && turn->name)
        elab_error(el, DIAG_train_key, turn->field->span, "the turn `%s` needs `loss = ...`", turn->name);
    else if (!expr)
        elab_error(el, DIAG_train_key, decl->name_span, "a training run needs `loss = ...`");
    if (!expr)
        return false;
    turn->value = elab_eval(el, elab_module_env(el, el->program->modules.items[0]), expr);
    if (is_poison(turn->value))
        return false;
    if (turn->value->kind == VALUE_function && turn->value->function.decl) {
        turn->loss = turn->value->function.decl;
        return true;
    }
    elab_error(el, DIAG_train_key, expr->span, "`loss` names a loss that is declared, but this is %s",
               value_describe(el->arena, turn->value));
    return false;
}

bool run_turns(Elab *el, const Decl *decl, TurnDecls *turns)
{
    bool ok = true;
    for (int i = 0; decl->value && i < decl->value->fields.count; i++) {
        const Field *field = &decl->value->fields.items[i];
        TurnDecl turn = {.name = field->name, .field = field};
        if (!is_turn(field))
            continue;
        ok &= turn_loss(el, decl, &turn);
        list_push(el->arena, turns, turn);
    }
    const Expr *loss = run_field(el->program, decl, "loss");
    if (turns->count && loss) {
        elab_error(el, DIAG_train_key, loss->span, "a run with turns has its losses there: `loss` stands in `%s`",
                   turns->items[0].name);
        return false;
    }
    if (turns->count)
        return ok;
    TurnDecl only = {0};
    ok = turn_loss(el, decl, &only);
    list_push(el->arena, turns, only);
    return ok;
}

/* ---- first weights ---- */

static bool has_model(const TurnDecls *turns, const char *name)
{
    for (int t = 0; t < turns->count; t++) {
        const Decl *loss = turns->items[t].loss;
        for (int i = 0; i < loss->params.count; i++) {
            if (is_model_param(&loss->params.items[i]) && !strcmp(loss->params.items[i].name, name))
                return true;
        }
    }
    return false;
}

/* "edm", "edm:net", "teacher.safetensors:net" */
static TrainStart read_start(Arena *arena, const char *model, const char *text)
{
    const char *colon = strrchr(text, ':');
    if (!colon)
        return (TrainStart){.model = model, .from = text};
    return (TrainStart){.model = model, .from = arena_copy_text(arena, text, (size_t)(colon - text)), .member = colon + 1};
}

static bool start_field(Elab *el, const Decl *decl, const TurnDecls *turns, TrainRun *run)
{
    const Expr *expr = run_field(el->program, decl, "start");
    if (!expr)
        return true;
    if (expr->kind != EXPR_record) {
        elab_error(el, DIAG_train_key, expr->span, "`start` is a record of models and of the runs that they start from");
        return false;
    }
    bool ok = true;
    for (int i = 0; i < expr->fields.count; i++) {
        const Field *field = &expr->fields.items[i];
        const Value *value = elab_eval(el, elab_module_env(el, el->program->modules.items[0]), field->value);
        bool known = has_model(turns, field->name), is_text = value->kind == VALUE_string && *value->text;
        if (!known)
            elab_error(el, DIAG_train_key, field->span, "no loss of this run has a model `%s`", field->name);
        else if (is_text)
            list_push(el->arena, &run->starts, read_start(el->arena, field->name, value->text));
        else if (!is_poison(value))
            elab_error(el, DIAG_train_key, field->value->span,
                       "a model starts from a run or a file, named in quotes, and not from %s",
                       value->kind == VALUE_string ? "nothing" : value_describe(el->arena, value));
        ok = ok && known && is_text;
    }
    return ok;
}

/* ---- keys that nobody knows ---- */

static const char *words_text(Arena *arena, const WordList *words)
{
    Text list = text_new(arena);
    for (int i = 0; i < words->count; i++)
        text_printf(&list, "%s`%s`", i ? ", " : "", words->items[i]);
    return list.data;
}

static bool check_fields(Elab *el, const Expr *record, const char *what, WordList *known)
{
    bool ok = true;
    for (int i = 0; i < record->fields.count; i++) {
        const Field *field = &record->fields.items[i];
        bool found = false;
        for (int j = 0; j < known->count; j++)
            found |= !strcmp(known->items[j], field->name);
        if (found)
            continue;
        elab_error(el, DIAG_train_key, field->span, "a %s has no key `%s`", what, field->name);
        if (!elab_suggest(el, field->name, known->items, known->count))
            elab_note(el, (Span){0}, "it has %s", words_text(el->arena, known));
        ok = false;
    }
    return ok;
}

static bool check_keys(Elab *el, const Decl *decl, const TurnDecls *turns)
{
    WordList known = {0}, of_turn = {0};
    bool ok = true;
    push_keys(el->arena, &known, false, "");
    push_keys(el->arena, &of_turn, true, "");
    for (int t = 0; t < turns->count; t++) {
        const TurnDecl *turn = &turns->items[t];
        for (int i = 0; i < turn->loss->params.count; i++) {
            if (is_model_param(&turn->loss->params.items[i]))
                list_push(el->arena, &known, turn->loss->params.items[i].name);
        }
        if (turn->name)
            list_push(el->arena, &known, turn->name);
        ok &= !turn->name || check_fields(el, turn->field->value, "turn", &of_turn);
    }
    return check_fields(el, decl->value, "training run", &known) && ok;
}

bool train_describe(Program *program, const Decl *decl, TrainRun *run, DiagSink *diags)
{
    Elab *el = elab_new(program->arena, program, diags);
    TurnDecls turns = {0};
    *run = (TrainRun){.name = decl->name};
    bool ok = run_turns(el, decl, &turns) && check_keys(el, decl, &turns) && start_field(el, decl, &turns, run);
    ok = ok && data_field(el, decl, &run->data) && whole_field(el, decl, "batch", 64, 1, &run->batch) &&
         whole_field(el, decl, "steps", 1000, 1, &run->steps) && whole_field(el, decl, "seed", 0, 0, &run->seed) &&
         whole_field(el, decl, "log_every", 0, 0, &run->log_every) &&
         whole_field(el, decl, "save_every", (run->steps + 9) / 10, 0, &run->save_every) &&
         memory_field(el, decl, &run->memory);
    elab_close(el);
    return ok;
}

/* Every key of a block that can be set: `batch`, `student.lr`. */
void train_settable(Program *program, const Decl *decl, WordList *out)
{
    push_keys(program->arena, out, false, "");
    for (int i = 0; decl->value && i < decl->value->fields.count; i++) {
        const Field *field = &decl->value->fields.items[i];
        if (is_turn(field))
            push_keys(program->arena, out, true, arena_printf(program->arena, "%s.", field->name));
        else
            list_push(program->arena, out, field->name);
    }
}
