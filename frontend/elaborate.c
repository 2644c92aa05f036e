/* The state of an elaboration: messages, scopes, labels, frames, snapshots, random keys. */
#include "frontend/elaborate.h"

#include <string.h>

enum { MOST_CALLS_SHOWN = 5 };
static const int64_t MOST_WORK = 3 * 1000 * 1000; /* expressions evaluated for one entry: about a gigabyte */

/* ---- messages ---- */

/* Whether a call is seen from what has been said, or there is no place to show. */
static bool call_is_plain(const DiagSink *sink, const CallLink *link)
{
    const Diag *diag = &sink->list.items[sink->list.count - 1];
    bool plain = link->from_outside || span_contains(link->span, diag->span);
    for (int i = 0; i < diag->notes.count && !plain; i++)
        plain = span_contains(link->span, diag->notes.items[i].span) && span_contains(diag->notes.items[i].span, link->span);
    return plain;
}

/* A message ends with the calls that led to it; they follow the notes that its reporter adds. */
static void say_calls(Elab *el)
{
    int shown = 0;
    for (const CallLink *link = el->unsaid; link && shown < MOST_CALLS_SHOWN; link = link->parent) {
        if (call_is_plain(el->diags, link))
            continue;
        shown++;
        diag_note(el->diags, link->span, "in the %s here", link->what);
    }
    el->unsaid = NULL;
}

/* At this place, or with this text anywhere in the file. */
static bool already_said(const DiagSink *sink, DiagCode code, Span at, const char *text)
{
    for (int i = 0; i < sink->list.count && at.source; i++) {
        const Diag *diag = &sink->list.items[i];
        if (diag->code != code || diag->span.source != at.source)
            continue;
        if ((diag->span.start == at.start && diag->span.end == at.end) || (text && !strcmp(diag->text, text)))
            return true;
    }
    return false;
}

static const Value *report(Elab *el, DiagCode code, Span at, const char *text, bool once)
{
    say_calls(el);
    el->errors++;
    el->static_errors += code == DIAG_not_compile_time;
    el->muted = already_said(el->diags, code, at, once ? text : NULL);
    if (el->muted)
        return &value_poison;
    diag_report(el->diags, code, at, "%s", text);
    el->unsaid = el->chain;
    return &value_poison;
}

const Value *elab_error(Elab *el, DiagCode code, Span at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = arena_vprintf(el->diags->arena, format, args);
    va_end(args);
    return report(el, code, at, text, false);
}

const Value *elab_error_once(Elab *el, DiagCode code, Span at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *text = arena_vprintf(el->diags->arena, format, args);
    va_end(args);
    return report(el, code, at, text, true);
}

void elab_note(Elab *el, Span at, const char *format, ...)
{
    if (el->muted)
        return;
    va_list args;
    va_start(args, format);
    const char *text = arena_vprintf(el->diags->arena, format, args);
    va_end(args);
    diag_note(el->diags, at, "%s", text);
}

bool elab_suggest(Elab *el, const char *word, const char *const *known, int count)
{
    const char *near = closest_word(word, known, count);
    if (near)
        elab_note(el, (Span){0}, "did you mean `%s`?", near);
    return near;
}

bool elab_step(Elab *el, Span at)
{
    if (el->exhausted)
        return false;
    if (++el->work <= MOST_WORK)
        return true;
    el->exhausted = true;
    elab_error(el, DIAG_too_much_work, at,
               "compiling this evaluates more than %lld expressions: an unrolled loop or a recursion "
               "is too long",
               (long long)MOST_WORK);
    return false;
}

Elab *elab_new(Arena *arena, const Program *program, DiagSink *diags)
{
    Elab *el = arena_new_of(arena, Elab);
    el->arena = arena;
    el->program = program;
    el->diags = diags;
    el->module = ir_module_new(arena);
    el->modules = arena_array(arena, ModuleState, program->modules.count);
    el->root_key = -1;
    el->key = arena_new_of(arena, KeyNode);
    el->key->epoch = -1;
    return el;
}

void elab_open(Elab *el, const char *name)
{
    el->frame = NULL;
    el->root = frame_enter(el, name);
}

void elab_close(Elab *el)
{
    say_calls(el);
}

/* Where no function is under construction something is emitted that should have been a constant. */
IrFunc *emit(Elab *el, Span at)
{
    if (!el->frame) {
        elab_error(el, DIAG_not_compile_time, at, "this needs a tensor, but here only what is known when compiling can stand");
        frame_enter(el, "constant");
    }
    el->frame->func->at = at;
    return el->frame->func;
}

/* ---- scopes ---- */

Env *env_new(Elab *el, Env *parent)
{
    Env *env = arena_new_of(el->arena, Env);
    env->parent = parent;
    env->activation = parent ? parent->activation : NULL;
    return env;
}

Env *env_new_body(Elab *el, Env *parent)
{
    Env *env = env_new(el, parent);
    Activation *activation = arena_new_of(el->arena, Activation);
    activation->parent = parent ? parent->activation : NULL;
    env->activation = activation;
    env->boundary = true;
    return env;
}

void env_bind(Elab *el, Env *env, const char *name, const Value *value, bool is_var, Span span)
{
    Local *binding = arena_new_of(el->arena, Local);
    *binding = (Local){name, value, is_var, span, env->bindings};
    env->bindings = binding;
}

Local *env_find(const Env *env, const char *name, bool *crossed)
{
    if (crossed)
        *crossed = false;
    for (; env; env = env->parent) {
        for (Local *binding = env->bindings; binding; binding = binding->next) {
            if (!strcmp(binding->name, name))
                return binding;
        }
        if (crossed && env->boundary)
            *crossed = true;
    }
    return NULL;
}

const Module *env_module(const Env *env)
{
    while (env && !env->module)
        env = env->parent;
    return env ? env->module : NULL;
}

Env *elab_module_env(Elab *el, const Module *module)
{
    ModuleState *state = &el->modules[module->index];
    if (!state->env) {
        state->env = env_new_body(el, NULL);
        state->env->module = module;
        state->values = table_new(el->arena);
        state->busy = table_new(el->arena);
    }
    return state->env;
}

/* ---- labels ---- */

Label *label_new(Elab *el, const Activation *home, const char *name, int64_t size, Span span)
{
    Label *label = arena_new_of(el->arena, Label);
    *label = (Label){.name = name, .home = home, .size = size, .span = span};
    return label;
}

Label *label_find_free(const Activation *activation, const char *name)
{
    for (; activation; activation = activation->parent) {
        for (int i = 0; i < activation->labels.count; i++) {
            if (!strcmp(activation->labels.items[i]->name, name))
                return activation->labels.items[i];
        }
    }
    return NULL;
}

bool label_lives_in(const Label *label, const Activation *activation)
{
    for (; activation; activation = activation->parent) {
        if (label->home == activation)
            return true;
    }
    return false;
}

Label *label_existing(Elab *el, const Env *env, const char *name)
{
    const Local *binding = env_find(env, name, NULL);
    if (binding)
        return binding->value->kind == VALUE_axis ? binding->value->axis.label : NULL;
    Label *label = label_find_free(env->activation, name);
    if (label)
        return label;
    const Value *value = env_module(env) ? module_lookup(el, env_module(env), name) : NULL;
    return value && value->kind == VALUE_axis ? value->axis.label : NULL;
}

Label *label_resolve(Elab *el, Env *env, const char *name, Span at)
{
    Label *label = label_existing(el, env, name);
    if (label)
        return label;
    label = label_new(el, env->activation, name, SIZE_UNKNOWN, at);
    label->free = true;
    list_push(el->arena, &env->activation->labels, label);
    return label;
}

/* ---- frames ---- */

Frame *frame_enter(Elab *el, const char *name)
{
    Frame *frame = arena_new_of(el->arena, Frame);
    frame->parent = el->frame;
    frame->func = ir_func_new(el->module, name);
    el->frame = frame;
    return frame;
}

void frame_leave(Elab *el)
{
    el->frame = el->frame->parent;
}

IrRef *frame_captures(Elab *el, const Frame *frame)
{
    IrRef *refs = arena_array(el->arena, IrRef, frame->captures.count + 1);
    for (int i = 0; i < frame->captures.count; i++)
        refs[i] = frame->captures.items[i].outer;
    return refs;
}

static int capture_find(const Frame *frame, IrRef outer)
{
    for (int i = 0; i < frame->captures.count; i++) {
        if (frame->captures.items[i].outer == outer)
            return i;
    }
    return -1;
}

static void capture_all_of(Elab *el, Frame *frame, const Frame *other)
{
    for (int i = 0; i < other->captures.count; i++) {
        Capture capture = other->captures.items[i];
        if (capture_find(frame, capture.outer) >= 0)
            continue;
        const IrNode *node = ir_node(other->func, capture.param);
        capture.param = ir_param(frame->func, node->type, node->name);
        list_push(el->arena, &frame->captures, capture);
    }
}

void frame_unify_captures(Elab *el, Frame *a, Frame *b, int own_params)
{
    capture_all_of(el, a, b);
    capture_all_of(el, b, a);
    for (int i = 0; i < a->captures.count; i++) {
        int from = capture_find(b, a->captures.items[i].outer);
        Capture capture = b->captures.items[from];
        b->captures.items[from] = b->captures.items[i];
        b->captures.items[i] = capture;
    }
    IrRef *order = arena_array(el->arena, IrRef, b->func->params.count + 1);
    for (int i = 0; i < b->func->params.count; i++)
        order[i] = i < own_params ? b->func->params.items[i] : b->captures.items[i - own_params].param;
    ir_order_params(b->func, order);
    for (int i = 0; i < b->captures.count; i++)
        b->captures.items[i].param = b->func->params.items[own_params + i];
}

Snapshot snapshot_take(Elab *el)
{
    say_calls(el);
    Snapshot shot = {.diags = el->diags->list.count,
                     .dropped = el->diags->dropped,
                     .funcs = el->module->funcs.count,
                     .errors = el->errors,
                     .static_errors = el->static_errors};
    for (const Frame *frame = el->frame; frame; frame = frame->parent)
        shot.depth++;
    shot.nodes = arena_array(el->arena, int, shot.depth);
    shot.params = arena_array(el->arena, int, shot.depth);
    shot.captures = arena_array(el->arena, int, shot.depth);
    int i = 0;
    for (const Frame *frame = el->frame; frame; frame = frame->parent, i++) {
        shot.nodes[i] = frame->func->nodes.count;
        shot.params[i] = frame->func->params.count;
        shot.captures[i] = frame->captures.count;
    }
    return shot;
}

void snapshot_restore(Elab *el, const Snapshot *shot)
{
    el->diags->list.count = shot->diags;
    el->diags->dropped = shot->dropped;
    el->module->funcs.count = shot->funcs;
    el->errors = shot->errors;
    el->static_errors = shot->static_errors;
    el->unsaid = NULL;
    el->epoch++;
    int i = 0;
    for (Frame *frame = el->frame; frame; frame = frame->parent, i++) {
        frame->func->nodes.count = shot->nodes[i];
        frame->func->params.count = shot->params[i];
        frame->captures.count = shot->captures[i];
    }
    if (el->root && el->root_key >= el->root->func->nodes.count)
        el->root_key = -1;
}

/* ---- random keys ---- */

static uint32_t hash_name(const char *name)
{
    return (uint32_t)hash_bytes(name, strlen(name), 0);
}

/* How often a name was drawn under this key before. */
static uint32_t count_use(Elab *el, KeyNode *key, uint32_t hash)
{
    for (int i = 0; i < key->uses.count; i++) {
        if (key->uses.items[i].hash == hash)
            return ++key->uses.items[i].count;
    }
    KeyUse use = {hash, 0};
    list_push(el->arena, &key->uses, use);
    return 0;
}

static KeyNode *key_new(Elab *el, KeyKind kind, KeyNode *parent)
{
    KeyNode *key = arena_new_of(el->arena, KeyNode);
    key->kind = kind;
    key->parent = parent;
    key->epoch = -1;
    return key;
}

KeyNode *key_child(Elab *el, KeyNode *parent, const char *name)
{
    KeyNode *key = key_new(el, KEY_named, parent);
    key->data = hash_name(name);
    uint32_t before = count_use(el, parent, key->data);
    if (before)
        key->data = hash_name(arena_printf(el->arena, "%s#%u", name, before));
    return key;
}

KeyNode *key_turn(Elab *el, KeyNode *parent, const Value *turn)
{
    KeyNode *key = key_new(el, KEY_counted, parent);
    key->value = turn;
    return key;
}

/* The tangent of a rule is a function of its arguments; keys among them are given, and so begin no path from the key around. */
bool key_may_draw(Elab *el, Span at)
{
    for (const KeyNode *key = el->key; el->rule_key && key; key = key->parent) {
        if (key != el->rule_key)
            continue;
        elab_error(el, DIAG_rule_capture, at, "a derivative rule does not draw: its tangent would be a random one");
        elab_note(el, (Span){0}, "it may draw under a key that is an argument: `with k { ... }`");
        return false;
    }
    return true;
}

KeyNode *key_given(Elab *el, const Value *tensor)
{
    KeyNode *key = key_new(el, KEY_given, NULL);
    key->value = tensor;
    return key;
}

static IrRef fold_in(Elab *el, Span at, IrRef key, IrRef data)
{
    return ir_emit(emit(el, at), (IrNode){.op = OP_fold_in, .operand_count = 2, .operands = (IrRef[]){key, data}});
}

/* The key of the whole entry: a parameter of the root function, made when something draws. */
static IrRef root_key_ref(Elab *el, Span at)
{
    IrType type = ir_type(DT_u32, 1, (int64_t[]){2});
    if (el->root_key < 0) {
        el->root->func->at = at;
        el->root_key = ir_param(el->root->func, type, "key");
    }
    Label *word = label_new(el, NULL, "word", 2, at);
    Value tensor = {.kind = VALUE_tensor,
                    .tensor = {.frame = el->root, .ref = el->root_key, .dtype = DT_u32, .shape = {1, {{word, 2}}}}};
    return tensor_ref(el, &tensor, at);
}

static IrRef key_compute(Elab *el, KeyNode *key, Span at)
{
    switch (key->kind) {
    case KEY_root:
        return root_key_ref(el, at);
    case KEY_given:
        return tensor_ref(el, key->value, at);
    case KEY_named: {
        IrRef parent = key_ref(el, key->parent, at);
        return fold_in(el, at, parent, ir_const(emit(el, at), ir_scalar(DT_u32), key->data));
    }
    case KEY_counted: {
        IrRef parent = key_ref(el, key->parent, at);
        Shape scalar = {0};
        const Value *turn = key->value->kind == VALUE_tensor ? tensor_cast(el, at, key->value, DT_u32) : key->value;
        return fold_in(el, at, parent, operand_ref(el, at, turn, &scalar, DT_u32));
    }
    }
    return -1;
}

IrRef key_ref(Elab *el, KeyNode *key, Span at)
{
    if (key->frame == el->frame && key->epoch == el->epoch)
        return key->ref;
    IrRef ref = key_compute(el, key, at);
    key->frame = el->frame;
    key->epoch = el->epoch;
    key->ref = ref;
    return ref;
}

const Value *key_value(Elab *el, KeyNode *key)
{
    Value *value = arena_new_of(el->arena, Value);
    value->kind = VALUE_key;
    value->key = key;
    return value;
}
