/* Where the state of a training lies: in the host's arrays, and on a device that has memory of its own also there.  Steps leave
 * it on the device; the host's copy is brought up to date when something else looks at it. */
#include "runtime/api_internal.h"
#include "runtime/dataset.h"

/* ---- what the next step reads of the data ---- */

static int64_t step_number(void *state)
{
    const cm_training *training = state;
    return training->step;
}

static void *const *next_batch(void *state)
{
    cm_training *training = state;
    const Array *batch = batch_reader_next(training->reader);
    for (int i = 0; batch && i < training->executable->input_count; i++)
        training->next_in[i] = training->field[i] < 0 ? NULL : batch[training->field[i]].data;
    return batch ? training->next_in : NULL;
}

static void read_ahead(cm_training *training)
{
    const Backend *backend = training->executable->backend;
    if (!backend->read_ahead || !training->reader)
        return;
    training->next_in = arena_array(training->arena, void *, training->executable->input_count);
    backend->read_ahead(training->instance, &(ReadAhead){training, step_number, next_batch});
}

/* ---- the state ---- */

cm_status training_take_instance(ApiCall *call, cm_training *training)
{
    const cm_executable *executable = training->executable;
    cm_status status = executable_take_instance(call, training->executable);
    if (status != CM_OK)
        return status;
    training->instance = call->instance;
    call->instance = NULL;
    read_ahead(training);
    if (!executable->backend->fetch || training->resident)
        return CM_OK;
    training->resident = arena_array(training->arena, bool, executable->input_count);
    for (int i = 0; i < executable->input_count; i++) {
        PortRole role = executable->inputs[i].role;
        training->resident[i] = role == PORT_parameter || role == PORT_state || role == PORT_ema;
    }
    return CM_OK;
}

static cm_status tell_loss(ApiCall *call, const cm_training *training)
{
    return api_fail(call, CM_DEVICE_ERROR, "the state of %s is lost with the device that had it; a checkpoint brings it back",
                    training->executable->entry);
}

cm_status training_run_step(ApiCall *call, cm_training *training)
{
    const cm_executable *executable = training->executable;
    if (training->is_lost)
        return tell_loss(call, training);
    cm_status status = training->instance ? CM_OK : training_take_instance(call, training);
    if (status != CM_OK)
        return status;
    const char *reason = executable->backend->run(call->arena, training->instance, training->in, training->out,
                                                  training->on_device ? training->resident : NULL);
    if (reason) {
        executable->backend->discard(training->instance);
        training->instance = NULL;
        training->is_lost = training->is_stale;
        training->on_device = false;
        return api_blame_device(call, executable->entry, reason);
    }
    training->is_stale = training->on_device;
    training->on_device = training->resident != NULL;
    return CM_OK;
}

cm_status training_sync(ApiCall *call, cm_training *training)
{
    const cm_executable *executable = training->executable;
    if (training->is_lost)
        return tell_loss(call, training);
    if (!training->is_stale)
        return CM_OK;
    const char *reason = executable->backend->fetch(call->arena, training->instance, training->in, training->resident);
    if (reason) {
        training->is_lost = true;
        return api_blame_device(call, executable->entry, reason);
    }
    training->is_stale = false;
    return CM_OK;
}

void training_replace_state(cm_training *training)
{
    training->on_device = training->is_stale = training->is_lost = false;
}
