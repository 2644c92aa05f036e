/* Points at which derivatives are tried: made-up values and tangents for the inputs of an entry. */
#include "runtime/derivatives.h"

#include <math.h>
#include <string.h>

static uint64_t random_bits(Trial *trial)
{
    uint64_t z = trial->state += 0x9e3779b97f4a7c15; /* Steele, Lea, Flood 2014: SplitMix */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

double point_random(Trial *trial, double low, double high)
{
    return low + (high - low) * (double)(random_bits(trial) >> 11) * 0x1p-53;
}

/* ---- weights ---- */

void point_first_weights(Trial *trial, cm_program *program, const Entry *entry, const BindingList *sizes,
                         cm_parameters *weights)
{
    ApiCall *call = trial->call;
    cm_binding *bindings = arena_array(call->arena, cm_binding, sizes->count + 1);
    for (int i = 0; i < sizes->count; i++)
        bindings[i] = (cm_binding){sizes->items[i].axis, sizes->items[i].size};
    cm_compile_options options = {.bindings = bindings, .binding_count = (size_t)sizes->count};
    if (parameters_initialise(call, program, entry, &options, 0, weights) != CM_OK) {
        call->diags = diag_sink_new(call->arena); /* any numbers do */
        call->reason = NULL;
    }
    trial->first = arena_array(call->arena, EvalTensor, trial->func->params.count + 1);
    for (int i = 0; i < trial->made->inputs.count; i++) {
        const Port *port = &trial->made->inputs.items[i];
        const Array *array = port->role == PORT_parameter ? parameters_find(weights, port->path) : NULL;
        if (!array || !ir_type_equal(&array->type, &port->type))
            continue;
        trial->first[i] = eval_tensor_new(call->arena, port->type);
        eval_tensor_read(&trial->first[i], array->data);
    }
}

static double root_mean_square(const EvalTensor *tensor)
{
    int64_t count = ir_element_count(&tensor->type);
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += tensor->real[i] * tensor->real[i];
    return count ? sqrt(sum / (double)count) : 0;
}

/* First weights with as much noise: zeros, with which networks often begin, hide what lies behind them. */
static void draw_weight(Trial *trial, const EvalTensor *first, EvalTensor *value)
{
    double size = first->real ? root_mean_square(first) : 0, noise = size > 0 ? size / 2 : 0.2;
    for (int64_t i = 0; i < ir_element_count(&value->type); i++)
        value->real[i] = (first->real ? first->real[i] : 0) + point_random(trial, -noise, noise);
}

/* ---- arguments ---- */

/* Small, so that labels lie among the classes; `step` of `steps` is one of them. */
static int64_t draw_integer(Trial *trial, const Port *port)
{
    if (port->role == PORT_key)
        return (int64_t)(random_bits(trial) >> 32);
    if (strcmp(port->path, "step") == 0)
        return 3;
    return strcmp(port->path, "steps") == 0 ? 10 : (int64_t)(random_bits(trial) % 2);
}

static void draw_argument(Trial *trial, PointRange range, const Port *port, EvalTensor *value)
{
    bool fraction = range == POINT_positive || strcmp(port->path, "progress") == 0;
    double low = fraction ? 0.1 : -1.5, high = fraction ? 0.9 : 1.5;
    for (int64_t i = 0; i < ir_element_count(&value->type); i++) {
        if (value->integer)
            value->integer[i] = draw_integer(trial, port);
        else if (value->type.dtype == DT_bool)
            value->real[i] = (double)(random_bits(trial) % 2);
        else
            value->real[i] = point_random(trial, low, high);
    }
}

/* As large as the values, so that one step fits all inputs. */
static void draw_tangent(Trial *trial, const EvalTensor *value, EvalTensor *tangent)
{
    double size = root_mean_square(value);
    *tangent = eval_tensor_new(trial->call->arena, value->type);
    for (int64_t i = 0; i < ir_element_count(&value->type); i++)
        tangent->real[i] = size * point_random(trial, -1, 1);
}

void point_draw(Trial *trial, PointRange range)
{
    for (int i = 0; i < trial->made->inputs.count; i++) {
        const Port *port = &trial->made->inputs.items[i];
        EvalTensor *value = &trial->args[i];
        *value = eval_tensor_new(trial->call->arena, port->type);
        if (port->role == PORT_parameter && trial->active[i])
            draw_weight(trial, &trial->first[i], value);
        else
            draw_argument(trial, range, port, value);
        if (trial->active[i])
            draw_tangent(trial, value, &trial->tangents[i]);
    }
}
