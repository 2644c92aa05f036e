/* GLSL to SPIR-V 1.3 for Vulkan 1.1, by glslang. */
#include "backends/vulkan/vulkan_internal.h"

#include <glslang/Include/glslang_c_interface.h>
#include <glslang/Public/resource_limits_c.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start_glslang(void)
{
    glslang_initialize_process();
}

static void number_lines(const char *text, Text *out)
{
    for (int line = 1; *text; line++) {
        size_t length = strcspn(text, "\n");
        text_printf(out, "%4d  %.*s\n", line, (int)length, text);
        text += length + (text[length] == '\n');
    }
}

static const char *complaint(Arena *arena, const char *log, const char *glsl)
{
    Text out = text_new(arena);
    text_printf(&out, "a shader does not compile: %s\n", log ? log : "no reason is given");
    number_lines(glsl, &out);
    return out.data;
}

static const char *link(Arena *arena, glslang_shader_t *shader, const char *glsl, Spirv *out)
{
    glslang_program_t *program = glslang_program_create();
    const char *reason = NULL;
    glslang_program_add_shader(program, shader);
    if (!glslang_program_link(program, GLSLANG_MSG_SPV_RULES_BIT | GLSLANG_MSG_VULKAN_RULES_BIT)) {
        reason = complaint(arena, glslang_program_get_info_log(program), glsl);
    } else {
        glslang_spv_options_t options = {.disable_optimizer = true};
        glslang_program_SPIRV_generate_with_options(program, GLSLANG_STAGE_COMPUTE, &options);
        out->count = glslang_program_SPIRV_get_size(program);
        out->words = arena_copy(arena, glslang_program_SPIRV_get_ptr(program), out->count * sizeof *out->words);
    }
    glslang_program_delete(program);
    return reason;
}

const char *spirv_compile(Arena *arena, const char *glsl, Spirv *out)
{
    pthread_once(&once, start_glslang);
    glslang_input_t input = {
        .language = GLSLANG_SOURCE_GLSL,
        .stage = GLSLANG_STAGE_COMPUTE,
        .client = GLSLANG_CLIENT_VULKAN,
        .client_version = GLSLANG_TARGET_VULKAN_1_1,
        .target_language = GLSLANG_TARGET_SPV,
        .target_language_version = GLSLANG_TARGET_SPV_1_3,
        .code = glsl,
        .default_version = 450,
        .default_profile = GLSLANG_NO_PROFILE,
        .messages = GLSLANG_MSG_SPV_RULES_BIT | GLSLANG_MSG_VULKAN_RULES_BIT,
        .resource = glslang_default_resource(),
    };
    glslang_shader_t *shader = glslang_shader_create(&input);
    const char *reason;
    if (!glslang_shader_preprocess(shader, &input) || !glslang_shader_parse(shader, &input))
        reason = complaint(arena, glslang_shader_get_info_log(shader), glsl);
    else
        reason = link(arena, shader, glsl, out);
    glslang_shader_delete(shader);
    return reason;
}
