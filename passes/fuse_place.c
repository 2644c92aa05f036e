/* Fusion: results computed right where they have to be.
 *
 * A result may be computed in its output's memory; where that is the memory of an input (an update in place), only if
 * every other kernel that reads the input has run by then, and the computing kernel reads it at the written point only. */
#include "passes/fuse_internal.h"

static IrRef param_with_buffer(const Fuse *fuse, const int *params, int buffer)
{
    for (int i = 0; i < fuse->func->params.count; i++)
        if (params[i] == buffer)
            return fuse->func->params.items[i];
    return -1;
}

static bool may_overwrite(const Fuse *fuse, IrRef result, IrRef param)
{
    int writer = fuse->node[result].group;
    if (fuse->groups.items[writer].kind != GROUP_MAP ||
        !ir_type_equal(ir_type_of(fuse->func, result), ir_type_of(fuse->func, param)))
        return false;
    for (int i = 0; i < fuse->groups.count; i++) {
        const Group *group = &fuse->groups.items[i];
        for (int j = 0; j < group->reads.count; j++)
            if (group->reads.items[j].ref == param && (i > writer || (i == writer && group->reads.items[j].lead < SAME_POINT)))
                return false;
    }
    return true;
}

/* Whether none of the results before the `count`th lies in the buffer. */
static bool is_free(const Fuse *fuse, int count, int buffer)
{
    for (int i = 0; i < count; i++)
        if (fuse->node[fuse->func->results.items[i]].buffer == buffer)
            return false;
    return true;
}

void fuse_place_results(Fuse *fuse, const int *params, const int *wanted)
{
    for (int i = 0; i < fuse->func->results.count; i++) {
        IrRef result = fuse->func->results.items[i];
        FuseNode *info = &fuse->node[result];
        bool control = (ir_op_info[ir_node(fuse->func, result)->op].traits & TRAIT_control) != 0;
        if (!info->stored || control || info->buffer >= 0 || !is_free(fuse, i, wanted[i]))
            continue;
        IrRef param = param_with_buffer(fuse, params, wanted[i]);
        if (param < 0 || may_overwrite(fuse, result, param))
            info->buffer = wanted[i];
    }
}
