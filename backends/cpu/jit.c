/* From kernels to machine code: LLVM modules made and compiled on all threads of the pool, objects linked into memory. */
#include "backends/cpu/cpu_internal.h"

#include "base/cache.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The code is explicit in its vectors and loops: what is left to do is cleaning up. */
static const char *const PASSES = "function(sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg)";

struct JitCode {
    LLVMOrcLLJITRef jit;
};

static const char *take_message(Arena *arena, char *message)
{
    const char *copy = arena_copy_text(arena, message, strlen(message));
    LLVMDisposeMessage(message);
    return copy;
}

static const char *take_error(Arena *arena, LLVMErrorRef error)
{
    if (!error)
        return NULL;
    char *message = LLVMGetErrorMessage(error);
    const char *copy = arena_copy_text(arena, message, strlen(message));
    LLVMDisposeErrorMessage(message);
    return copy;
}

static const char *symbol_of(Arena *arena, uint64_t key)
{
    return arena_printf(arena, "cm_%016llx", (unsigned long long)key);
}

/* ---- one kernel ---- */

static void open_module(Codegen *cg, Arena *arena, const CpuTarget *target, LLVMTargetMachineRef machine, const char *symbol)
{
    LLVMContextRef context = LLVMContextCreate();
    *cg = (Codegen){.arena = arena, .target = target, .context = context, .symbol = symbol};
    cg->module = LLVMModuleCreateWithNameInContext(symbol, context);
    LLVMSetTarget(cg->module, target->triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetModuleDataLayout(cg->module, layout);
    LLVMDisposeTargetData(layout);
    cg->builder = LLVMCreateBuilderInContext(context);
    cg->i1 = LLVMInt1TypeInContext(context);
    cg->i8 = LLVMInt8TypeInContext(context);
    cg->i16 = LLVMInt16TypeInContext(context);
    cg->i32 = LLVMInt32TypeInContext(context);
    cg->i64 = LLVMInt64TypeInContext(context);
    cg->half = LLVMHalfTypeInContext(context);
    cg->f32 = LLVMFloatTypeInContext(context);
    cg->f64 = LLVMDoubleTypeInContext(context);
    cg->ptr = LLVMPointerTypeInContext(context, 0);
    cg->nothing = LLVMVoidTypeInContext(context);
}

static void close_module(Codegen *cg)
{
    LLVMDisposeBuilder(cg->builder);
    LLVMDisposeModule(cg->module);
    LLVMContextDispose(cg->context);
}

static const char *optimise(Codegen *cg, LLVMTargetMachineRef machine)
{
    char *message = NULL;
    if (LLVMVerifyModule(cg->module, LLVMReturnStatusAction, &message))
        return take_message(cg->arena, message);
    LLVMDisposeMessage(message);
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(cg->module, PASSES, machine, options);
    LLVMDisposePassBuilderOptions(options);
    return take_error(cg->arena, error);
}

/* Emits and optimises; the caller closes the module whatever comes back. */
static const char *make_module(Codegen *cg, Arena *arena, const CpuTarget *target, LLVMTargetMachineRef machine,
                               const Kernel *kernel)
{
    open_module(cg, arena, target, machine, symbol_of(arena, object_key(target, kernel)));
    emit_kernel(cg, kernel);
    return optimise(cg, machine);
}

/* ---- all kernels, on all threads ---- */

typedef struct Job {
    Device *device;
    Kernel *const *kernels;
    int count;
    CpuKernel *compiled;
    LLVMMemoryBufferRef *objects;
    const char **reasons, **not_kept; /* malloc'd, since threads do not share arenas */
    atomic_int next, made, read;
} Job;

static LLVMMemoryBufferRef read_object(Job *job, Arena *arena, int i, uint64_t key)
{
    CpuObject object;
    const char *directory = job->device->options.cache_directory;
    if (!directory || !object_read(arena, directory, key, job->kernels[i], &object))
        return NULL;
    job->compiled[i] = object.shape;
    atomic_fetch_add(&job->read, 1);
    return LLVMCreateMemoryBufferWithMemoryRangeCopy(object.bytes, object.size, "kernel");
}

static void keep_object(Job *job, Arena *arena, int i, uint64_t key)
{
    const char *directory = job->device->options.cache_directory;
    CpuObject object = {
        .shape = job->compiled[i], .bytes = LLVMGetBufferStart(job->objects[i]), .size = LLVMGetBufferSize(job->objects[i])};
    const char *reason = directory ? object_write(arena, directory, key, job->kernels[i], &object) : NULL;
    if (reason)
        job->not_kept[i] = strdup(reason);
}

static const char *compile_object(Job *job, Arena *arena, LLVMTargetMachineRef machine, int i)
{
    Codegen cg;
    char *message = NULL;
    const char *reason = make_module(&cg, arena, &job->device->target, machine, job->kernels[i]);
    if (!reason && LLVMTargetMachineEmitToMemoryBuffer(machine, cg.module, LLVMObjectFile, &message, &job->objects[i]))
        reason = take_message(arena, message);
    job->compiled[i] = cg.shape;
    close_module(&cg);
    return reason;
}

/* Memory that runs out on a worker is that kernel's reason: a worker cannot leave to where the compilation began. */
static void compile_one(Job *job, LLVMTargetMachineRef *machine, int i)
{
    jmp_buf escape;
    Arena *volatile kept = NULL;
    if (setjmp(escape)) {
        arena_free(kept);
        job->reasons[i] = strdup("not enough memory");
        return;
    }
    Arena *arena = kept = arena_new(job->device->options.allocator, &escape);
    uint64_t key = object_key(&job->device->target, job->kernels[i]);
    job->objects[i] = read_object(job, arena, i, key);
    if (!job->objects[i]) {
        if (!*machine)
            *machine = target_machine(&job->device->target);
        const char *reason = *machine ? compile_object(job, arena, *machine, i) : "the host's CPU is not known to LLVM";
        if (reason)
            job->reasons[i] = strdup(reason);
        else
            keep_object(job, arena, i, key);
        atomic_fetch_add(&job->made, 1);
    }
    arena_free(arena);
}

/* Kernels differ much in size: each thread takes the next one when it is free. */
static void compile_some(void *state, int64_t first, int64_t end, int worker)
{
    Job *job = state;
    LLVMTargetMachineRef machine = NULL;
    (void)first, (void)end, (void)worker;
    for (int i; (i = atomic_fetch_add(&job->next, 1)) < job->count;)
        compile_one(job, &machine, i);
    if (machine)
        LLVMDisposeTargetMachine(machine);
}

static void compile_all(Job *job)
{
    Pool *pool = job->device->options.pool;
    if (pool && job->count > 1)
        pool_run(pool, pool_threads(pool), compile_some, job);
    else
        compile_some(job, 0, 1, 0);
}

/* ---- linking ---- */

/* The reason of a failed lookup comes this way only; the lookup's own error says enough. */
static void ignore_report(void *state, LLVMErrorRef error)
{
    (void)state;
    LLVMConsumeError(error);
}

static const char *open_linker(Arena *arena, LLVMOrcLLJITRef *jit)
{
    const char *reason = take_error(arena, LLVMOrcCreateLLJIT(jit, NULL));
    if (reason)
        return reason;
    LLVMOrcExecutionSessionSetErrorReporter(LLVMOrcLLJITGetExecutionSession(*jit), ignore_report, NULL);
    LLVMOrcDefinitionGeneratorRef process; /* without SSE4.1, rounding is a call of the C library */
    reason = take_error(arena, LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(&process, 0, NULL, NULL));
    if (!reason)
        LLVMOrcJITDylibAddGenerator(LLVMOrcLLJITGetMainJITDylib(*jit), process);
    return reason;
}

static const char *find_entries(Arena *arena, LLVMOrcLLJITRef jit, uint64_t key, CpuKernel *kernel)
{
    for (int p = 0; p < kernel->phase_count; p++) {
        LLVMOrcExecutorAddress address = 0;
        const char *name = arena_printf(arena, "%s_%d", symbol_of(arena, key), p);
        const char *reason = take_error(arena, LLVMOrcLLJITLookup(jit, &address, name));
        if (reason)
            return reason;
        kernel->phases[p].entry = (CpuEntry *)(uintptr_t)address;
    }
    return NULL;
}

/* Equal kernels are one object: it is linked once. */
static bool is_linked(const uint64_t *keys, int i)
{
    for (int j = 0; j < i; j++)
        if (keys[j] == keys[i])
            return true;
    return false;
}

static const char *link_all(Job *job, Arena *arena, LLVMOrcLLJITRef jit)
{
    LLVMOrcJITDylibRef library = LLVMOrcLLJITGetMainJITDylib(jit);
    uint64_t *keys = arena_array(arena, uint64_t, job->count);
    for (int i = 0; i < job->count; i++) {
        keys[i] = object_key(&job->device->target, job->kernels[i]);
        if (is_linked(keys, i))
            continue;
        const char *reason = take_error(arena, LLVMOrcLLJITAddObjectFile(jit, library, job->objects[i]));
        job->objects[i] = NULL;
        if (reason)
            return reason;
    }
    for (int i = 0; i < job->count; i++) {
        const char *reason = find_entries(arena, jit, keys[i], &job->compiled[i]);
        if (reason)
            return reason;
    }
    return NULL;
}

static const char *first_reason(Job *job, Arena *arena)
{
    const char *first = NULL;
    for (int i = 0; i < job->count; i++) {
        if (job->reasons[i] && !first)
            first = arena_printf(arena, "kernel %s: %s", job->kernels[i]->name, job->reasons[i]);
        free((void *)job->reasons[i]);
    }
    return first;
}

static void tell_not_kept(Job *job, Arena *arena)
{
    const DeviceOptions *options = &job->device->options;
    for (int i = 0; i < job->count; i++) {
        if (job->not_kept[i] && options->log && !atomic_exchange(&job->device->said_not_kept, true))
            options->log(options->log_state, arena_printf(arena, "compiled code is not kept: %s", job->not_kept[i]));
        free((void *)job->not_kept[i]);
    }
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

const char *jit_compile(Arena *arena, Device *device, Kernel *const *kernels, int count, CpuKernel *compiled, JitCode **code,
                        CompileStats *stats)
{
    double start = seconds_now();
    Job job = {.device = device, .kernels = kernels, .count = count, .compiled = compiled};
    job.objects = arena_array(arena, LLVMMemoryBufferRef, count + 1);
    job.reasons = arena_array(arena, const char *, count + 1);
    job.not_kept = arena_array(arena, const char *, count + 1);
    *code = NULL;
    compile_all(&job);
    tell_not_kept(&job, arena);
    const char *reason = first_reason(&job, arena);
    LLVMOrcLLJITRef jit = NULL;
    if (!reason)
        reason = open_linker(arena, &jit);
    if (!reason)
        reason = link_all(&job, arena, jit);
    for (int i = 0; i < count; i++)
        if (job.objects[i])
            LLVMDisposeMemoryBuffer(job.objects[i]);
    if (reason && jit)
        LLVMConsumeError(LLVMOrcDisposeLLJIT(jit));
    if (reason)
        return reason;
    *code = malloc(sizeof **code);
    if (!*code) {
        LLVMConsumeError(LLVMOrcDisposeLLJIT(jit));
        return "not enough memory";
    }
    (*code)->jit = jit;
    if (job.made > 0 && device->options.cache_directory)
        cache_trim(arena, device->options.cache_directory);
    if (stats)
        *stats =
            (CompileStats){.seconds = seconds_now() - start, .kernels = count, .compiled = job.made, .from_cache = job.read};
    return NULL;
}

void jit_release(JitCode *code)
{
    if (!code)
        return;
    LLVMConsumeError(LLVMOrcDisposeLLJIT(code->jit));
    free(code);
}

/* ---- for people ---- */

static const char *print_module(Codegen *cg, LLVMTargetMachineRef machine, const char *stage, Text *out)
{
    if (strcmp(stage, "llvm") == 0) {
        char *text = LLVMPrintModuleToString(cg->module);
        text_puts(out, text);
        LLVMDisposeMessage(text);
        return NULL;
    }
    char *message = NULL;
    LLVMMemoryBufferRef buffer;
    if (LLVMTargetMachineEmitToMemoryBuffer(machine, cg->module, LLVMAssemblyFile, &message, &buffer))
        return take_message(cg->arena, message);
    text_add(out, LLVMGetBufferStart(buffer), LLVMGetBufferSize(buffer));
    LLVMDisposeMemoryBuffer(buffer);
    return NULL;
}

const char *jit_dump(Arena *arena, Device *device, const Kernel *kernel, const char *stage, Text *out)
{
    LLVMTargetMachineRef machine = target_machine(&device->target);
    if (!machine)
        return "the host's CPU is not known to LLVM";
    Codegen cg;
    const char *reason = make_module(&cg, arena, &device->target, machine, kernel);
    if (!reason)
        reason = print_module(&cg, machine, stage, out);
    close_module(&cg);
    LLVMDisposeTargetMachine(machine);
    return reason;
}
