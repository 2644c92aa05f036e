/* The CPU that code is made for: its name, features and vector width. */
#include "backends/cpu/cpu_internal.h"

#include <llvm-c/Target.h>

#include <pthread.h>
#include <string.h>

static bool has_feature(const char *features, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = features; (at = strstr(at, name)) != NULL; at += length)
        if (at > features && at[-1] == '+' && (at[length] == ',' || at[length] == 0))
            return true;
    return false;
}

static bool is_at_least(const CpuTarget *target, const char *feature, const char *const *levels)
{
    for (; *levels; levels++)
        if (strcmp(target->cpu, *levels) == 0)
            return true;
    return has_feature(target->features, feature);
}

void target_complete(CpuTarget *target)
{
    static const char *const v4[] = {"x86-64-v4", NULL}, *const v3[] = {"x86-64-v3", "x86-64-v4", NULL};
    bool is_x86 = strncmp(target->triple, "x86_64", 6) == 0;
    bool wide = is_at_least(target, "avx512vl", v4) && is_at_least(target, "avx512bw", v4);
    target->lanes = wide ? 16 : is_at_least(target, "avx2", v3) ? 8 : 4;
    target->registers = wide || !is_x86 ? 32 : 16;
    target->has_fma = !is_x86 || is_at_least(target, "fma", v3);
    target->has_half = !is_x86 || is_at_least(target, "f16c", v3);
    uint64_t hash = hash_bytes(target->triple, strlen(target->triple), 1);
    hash = hash_bytes(target->cpu, strlen(target->cpu), hash);
    target->hash = hash_bytes(target->features, strlen(target->features), hash);
}

/* LLVM's registry of targets is the one thing that is set up for the whole process. */
static void initialise_llvm(void)
{
    LLVMInitializeNativeTarget();
    LLVMInitializeNativeAsmPrinter();
}

static const char *copy_message(Arena *arena, char *message)
{
    const char *copy = arena_copy_text(arena, message, strlen(message));
    LLVMDisposeMessage(message);
    return copy;
}

const char *target_detect(Arena *arena, CpuTarget *target)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, initialise_llvm);
    *target = (CpuTarget){
        .triple = copy_message(arena, LLVMGetDefaultTargetTriple()),
        .cpu = copy_message(arena, LLVMGetHostCPUName()),
        .features = copy_message(arena, LLVMGetHostCPUFeatures()),
    };
    LLVMTargetRef found;
    char *error = NULL;
    if (LLVMGetTargetFromTriple(target->triple, &found, &error))
        return copy_message(arena, error);
    target_complete(target);
    return NULL;
}

LLVMTargetMachineRef target_machine(const CpuTarget *target)
{
    LLVMTargetRef found;
    char *error = NULL;
    if (LLVMGetTargetFromTriple(target->triple, &found, &error)) {
        LLVMDisposeMessage(error);
        return NULL;
    }
    return LLVMCreateTargetMachine(found, target->triple, target->cpu, target->features, LLVMCodeGenLevelDefault, LLVMRelocPIC,
                                   LLVMCodeModelSmall);
}
