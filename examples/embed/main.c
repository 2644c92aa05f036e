/* An application with cm inside: images of a model, in the application's own memory and in a picture.
 *
 *   embed PROGRAM.cm ENTRY PICTURE.png [WEIGHTS.safetensors]      first weights if none are given */
#include <cm.h>

#include <stdio.h>
#include <stdlib.h>

enum { IMAGES = 20, COLUMNS = 10, SEED = 7 };

static int failed(cm_status status, cm_error **error)
{
    if (status == CM_OK)
        return 0;
    fprintf(stderr, "%s", *error ? cm_error_text(*error) : cm_status_name(status));
    cm_error_free(*error);
    return 1;
}

/* Runs once: inputs from the weights and the seed, the result into `images`, which gets its type and shape. */
static int draw(cm_executable *executable, cm_parameters *weights, cm_array *images)
{
    cm_port port;
    cm_error *error;
    cm_executable_output(executable, 0, &port);
    *images = (cm_array){.dtype = port.dtype, .rank = port.rank};
    for (int i = 0; i < port.rank; i++)
        images->dim[i] = port.dim[i];
    images->data = malloc(cm_array_bytes(images));
    const cm_run_options options = {.size = sizeof options, .parameters = weights, .seed = SEED};
    return !images->data || failed(cm_run(executable, &options, NULL, 0, images, 1, &error), &error);
}

static int save(cm_context *context, const cm_array *images, const char *path)
{
    cm_parameters *set;
    cm_error *error;
    if (failed(cm_parameters_create_empty(context, &set, &error), &error))
        return 1;
    const cm_save_options options = {.size = sizeof options, .columns = COLUMNS, .low = -1, .high = 1};
    int status = failed(cm_parameters_set(set, "images", images, &error), &error) ||
                 failed(cm_parameters_save(set, path, &options, &error), &error);
    cm_parameters_free(set);
    return status;
}

static int compile_and_draw(cm_context *context, cm_program *program, cm_parameters *weights, char **words)
{
    const cm_binding size = {"B", IMAGES};
    const cm_compile_options options = {.size = sizeof options, .bindings = &size, .binding_count = 1};
    cm_executable *executable;
    cm_compile_stats stats;
    cm_error *error;
    if (failed(cm_compile(program, words[2], &options, &executable, &error), &error))
        return 1;
    cm_executable_stats(executable, &stats);
    printf("%d kernels in %.2f s, %lld bytes to run\n", stats.kernels, stats.seconds, (long long)stats.peak_bytes);
    cm_array images = {0};
    int status = draw(executable, weights, &images) || save(context, &images, words[3]);
    if (!status)
        printf("%s: %d images, %zu bytes here\n", words[3], IMAGES, cm_array_bytes(&images));
    free(images.data);
    cm_executable_free(executable);
    return status;
}

int main(int count, char **words)
{
    cm_context *context = NULL;
    cm_program *program = NULL;
    cm_parameters *weights = NULL;
    cm_error *error;
    if (count != 4 && count != 5) {
        fprintf(stderr, "embed PROGRAM.cm ENTRY PICTURE.png [WEIGHTS.safetensors]\n");
        return 2;
    }
    int status = failed(cm_context_create(NULL, &context, &error), &error) ||
                 failed(cm_load_file(context, words[1], NULL, &program, &error), &error) ||
                 failed(count == 5 ? cm_parameters_load(context, words[4], &weights, &error)
                                   : cm_parameters_create(program, SEED, &weights, &error),
                        &error) ||
                 compile_and_draw(context, program, weights, words);
    cm_parameters_free(weights);
    cm_program_free(program);
    cm_context_free(context);
    return status;
}
