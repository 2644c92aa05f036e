/* Fusion: results computed right where they have to be.
 *
 * A result may be computed in its output's memory, by a kernel or row by row by a loop; where that is the memory of an input
 * (an update in place), only if every other kernel that reads the input has run by then, and the computing kernel reads it at
 * the written point only. */
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

/* Turns of a loop leave their rows right in an output. */
static bool is_of_rows(const Fuse *fuse, IrRef result)
{
    const IrNode *node = ir_node(fuse->func, result);
    const IrNode *of = node->op == OP_get ? ir_node(fuse->func, node->operands[0]) : node;
    return of->op == OP_for && node->attr[0].items[0] >= of->attr[1].items[0];
}

void fuse_place_results(Fuse *fuse, const int *params, const int *wanted)
{
    for (int i = 0; i < fuse->func->results.count; i++) {
        IrRef result = fuse->func->results.items[i];
        FuseNode *info = &fuse->node[result];
        bool rows = is_of_rows(fuse, result);
        if ((!info->stored && !rows) || info->buffer >= 0 || !is_free(fuse, i, wanted[i]))
            continue;
        IrRef param = param_with_buffer(fuse, params, wanted[i]);
        if (param < 0 || (!rows && may_overwrite(fuse, result, param)))
            info->buffer = wanted[i];
    }
}
