/* Program: a checked .cm file, and what the runtime may ask of it.
 *
 * A program is loaded once.  `program_specialise` elaborates one entry with given sizes into graph IR; everything the runtime
 * needs to feed it is in the signature.  Training is an entry like any other: one step, whose state goes in and comes out. */
#ifndef CM_FRONTEND_PROGRAM_H
#define CM_FRONTEND_PROGRAM_H

#include "frontend/ast.h"
#include "ir/ir.h"

typedef struct Program Program;

/* Files beside the program and the embedded library are read through this, so that tests and hosts can supply them. */
typedef struct ProgramReader {
    /* Null on success, else the reason. */
    const char *(*read)(void *state, Arena *arena, const char *path, const char **text, size_t *length);
    void *state;
} ProgramReader;

typedef struct Setting { /* --set key=value, or an axis: B=64 */
    const char *key;     /* "train.steps", "B", "dim.H" */
    const char *value;   /* an expression in .cm */
} Setting;

/* Parses the source and all it imports and resolves names.  Null and diagnostics on errors. */
Program *program_load(Arena *arena, const Source *source, const ProgramReader *reader, const Setting *settings,
                      int setting_count, DiagSink *diags);

typedef enum EntryKind { ENTRY_fn, ENTRY_loss, ENTRY_sample, ENTRY_eval, ENTRY_train, ENTRY_init } EntryKind;

typedef struct Entry {
    EntryKind kind;
    const char *name; /* "two_step"; train: its name; init: the name of a model set, as in EntryPort.path's first part */
    const char *doc;
    Span span;
    const char *model;          /* init: the model, as its type is written: functions may give one name to several; opt: null */
    const struct DataSet *data; /* eval: the set whose fields its parameters get; null: that of a run, else the first */
} Entry;
int program_entry_count(const Program *program);
const Entry *program_entry(const Program *program, int index);
/* Whether the initialiser makes weights, or a state of the optimiser, that the entry takes. */
bool program_takes(const Program *program, const Entry *entry, const Entry *init);

/* Whether functions of f32 may be computed by short polynomials: `precision = fast`, in the file or as a setting. */
bool program_is_fast(const Program *program);

/* What an input or output of a specialised entry is. */
typedef enum PortRole {
    PORT_argument,  /* the caller's array */
    PORT_parameter, /* of a model set: path "net.hidden.0.w" */
    PORT_state,     /* of the optimiser: path "opt.net.hidden.0.w.m" */
    PORT_ema,       /* average of a parameter: path "ema.net.hidden.0.w" */
    PORT_data,      /* a batch of a data field: path = field name, in the type that lies in the file */
    PORT_step,      /* i32 scalar: the number of the step, from 0 */
    PORT_steps,     /* i32 scalar: how many there will be */
    PORT_key,       /* u32[2]: the random key of this call */
    PORT_result,    /* a value of the entry */
    PORT_loss,      /* f32 scalar: path "loss", or of a run with turns "loss.student", and so the next three */
    PORT_grad_norm, /* f32 scalar */
    PORT_finite,    /* bool: loss and gradient were finite; state is updated if those of all turns were */
    PORT_taken,     /* bool: this was a turn of the step; absent where it always is */
} PortRole;

typedef struct Port {
    PortRole role;
    const char *path;
    IrType type;
    LIST(const char *) labels; /* of its axes, for people; count = rank */
} Port;

typedef struct Specialised {
    IrModule *module;
    IrFunc *func;
    LIST(Port) inputs;  /* in the order of func->params */
    LIST(Port) outputs; /* in the order of func->results; a state output has the role and path of its input */
    int64_t memory;     /* that its train block allows, in bytes; 0: any number */
} Specialised;

/* `bindings`: sizes of generic axes ("B", 64).  Null after diagnostics. */
typedef struct Binding {
    const char *axis;
    int64_t size;
} Binding;
typedef LIST(Binding) BindingList;
const char *bindings_text(Arena *arena, const BindingList *bindings); /* "B = 16, C = 32" */
Specialised *program_specialise(Program *program, Arena *arena, const Entry *entry, const Binding *bindings, int binding_count,
                                DiagSink *diags);
/* The same with small sizes for the axes that neither a setting nor, unless `defaults` says those too, a default gives one:
 * the first sizes that the program accepts, which `chosen` tells. */
Specialised *program_specialise_small(Program *program, Arena *arena, const Entry *entry, bool defaults, BindingList *chosen,
                                      DiagSink *diags);

/* Elaborates everything that nobody calls, too, at sample sizes: all that `cmc check` can find.  `visit` (which may be null)
 * is given each entry that is right so far and says what a later stage finds wrong. */
typedef void ProgramVisit(const Specialised *made, DiagSink *diags);
bool program_check(Program *program, ProgramVisit *visit, DiagSink *diags);

/* ---- data and training, as declared ---- */

typedef enum SourceKind { DATA_idx, DATA_npy, DATA_npz, DATA_safetensors, DATA_png_folder, DATA_generate } SourceKind;
typedef struct DataField {
    const char *name;
    SourceKind source;
    const char *path;       /* file, as written */
    const char *member;     /* npz, safetensors: array name */
    const Entry *generator; /* generate: an entry to run once with axis N = count */
    int64_t count;          /* generate */
    IrType type; /* of one sample as it lies in the file (without the sample axis); sizes are checked against the file */
    Span span;
} DataField;
typedef struct DataSet {
    const char *name;
    LIST(DataField) fields;
} DataSet;
const DataSet *program_data(const Program *program, const char *name);

typedef struct TrainStart { /* where a model of a run gets its first weights, if not from the seed */
    const char *model;
    const char *from;   /* another run, or a file that ends in .safetensors */
    const char *member; /* the model that has them there; null: the one of that name, or the only one */
} TrainStart;

typedef struct TrainRun {
    const char *name;
    const DataSet *data; /* null: a loss without data */
    LIST(TrainStart) starts;
    int64_t batch, steps, seed, log_every, save_every;
    int64_t memory; /* bytes that a step may use besides what goes in and comes out; 0: any number */
} TrainRun;
const TrainRun *program_train(const Program *program, const Entry *entry);

#endif
