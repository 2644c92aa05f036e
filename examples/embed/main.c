/* An application with cm inside: a program as text, compiled for the size of the data at hand, run on the application's memory.
 */
#include <cm.h>

#include <stdio.h>
#include <string.h>

/* The denoiser of Gaussian data N(mu, s^2) at noise level t, and its derivative by t. */
static const char source[] = "fn denoised(x: f32[B], t: f32) -> f32[B] = 0.3 + 0.0625 / (0.0625 + t^2) * (x - 0.3)\n"
                             "fn with_tangent(x: f32[B], t: f32) -> (f32[B], f32[B])\n"
                             "  = jvp(u => denoised(x, u), t, 1.0)\n";

enum { BATCH = 4 };

static int failed(cm_status status, cm_error *error)
{
    if (status == CM_OK)
        return 0;
    fprintf(stderr, "%s", error ? cm_error_text(error) : cm_status_name(status));
    cm_error_free(error);
    return 1;
}

static int compute(cm_executable *executable)
{
    float x[BATCH] = {-1, 0, 1, 2}, t = 0.5f, value[BATCH], tangent[BATCH];
    const cm_input inputs[] = {
        {.name = "x", .array = {.dtype = CM_F32, .rank = 1, .dim = {BATCH}, .data = x}},
        {.name = "t", .array = {.dtype = CM_F32, .data = &t}},
    };
    cm_array results[] = {{.data = value}, {.data = tangent}};
    cm_error *error;
    if (failed(cm_run(executable, NULL, inputs, 2, results, 2, &error), error))
        return 1;
    for (int i = 0; i < BATCH; i++)
        printf("x = %4.1f: denoised %9.6f, its derivative by t %9.6f\n", (double)x[i], (double)value[i], (double)tangent[i]);
    return 0;
}

static int compile_and_compute(cm_program *program)
{
    const cm_binding size = {"B", BATCH};
    const cm_compile_options options = {.size = sizeof options, .bindings = &size, .binding_count = 1};
    cm_executable *executable;
    cm_compile_stats stats;
    cm_error *error;
    if (failed(cm_compile(program, "with_tangent", &options, &executable, &error), error))
        return 1;
    cm_executable_stats(executable, &stats);
    printf("%d kernels in %.3f s, %lld bytes to run\n", stats.kernels, stats.seconds, (long long)stats.peak_bytes);
    int status = compute(executable);
    cm_executable_free(executable);
    return status;
}

int main(void)
{
    cm_context *context = NULL;
    cm_program *program = NULL;
    cm_error *error;
    int status = failed(cm_context_create(NULL, &context, &error), error) ||
                 failed(cm_load_text(context, "gaussian", source, strlen(source), NULL, &program, &error), error) ||
                 compile_and_compute(program);
    cm_program_free(program);
    cm_context_free(context);
    return status;
}
