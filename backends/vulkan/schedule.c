/* How a kernel is shared out among the threads of a device: its phases, and what they keep in memory for each other.
 *
 * A kernel whose stages have locals in common is one phase of rows where its outer axes have points for all of a device, or
 * little to do at each: a workgroup then keeps the locals of a point in shared memory.  Otherwise each stage is a phase, of
 * many threads, and locals lie in scratch; where those of all outer points would be too long, the phases are gone through in
 * turns.
 *
 * A sum that would keep few threads busy for long is made in pieces, which lie in scratch until another phase joins them.  So
 * is one along whose axis results lie (a scan), whose pieces are gone through once more when it is known what comes before
 * each.  The number of pieces is a function of the kernel, of what the device has matrices for, and of how long loops its
 * driver takes, and with it the order of the sum. */
#include "backends/vulkan/schedule.h"

#include <stdlib.h>
#include <string.h>

enum {
    MOST_SUMS = 1 << 14, /* of which each has a workgroup */
    POINTS_EACH = 4,     /* of a thread, if points are many */
};
static const int64_t most_counted = 1 << 30; /* by a shader, whose numbers have 32 bits with their sign */

/* ---- what a kernel is made of ---- */

static int64_t all_local_bytes(const Kernel *kernel)
{
    int64_t bytes = 0;
    for (int i = 0; i < kernel->buffers.count; i++)
        if (kernel->buffers.items[i].kind == K_LOCAL)
            bytes += local_bytes(&kernel->buffers.items[i]);
    return bytes;
}

/* What the threads of a group hand each other when they share out a sum: at most so many of 8 bytes a stage. */
static int64_t shared_sum_bytes(const KStage *stage)
{
    return (int64_t)stage->accs.count * GROUP_THREADS * 8;
}

/* In shared memory every element takes a word at least. */
static bool fits_shared(const Kernel *kernel)
{
    int64_t bytes = 0;
    for (int i = 0; i < kernel->stages.count; i++)
        bytes += shared_sum_bytes(&kernel->stages.items[i]);
    for (int i = 0; i < kernel->buffers.count; i++) {
        const KBuffer *buffer = &kernel->buffers.items[i];
        int64_t size = dtype_size(buffer->dtype) < 4 ? 4 : dtype_size(buffer->dtype);
        bytes += buffer->kind == K_LOCAL ? buffer->count * size : 0;
    }
    return bytes <= MOST_SHARED;
}

/* ---- sums ---- */

/* Which axis the load goes along by the shortest steps: 1 if it is summed, -1 if it is not, 0: none. */
static int direction_of(const Kernel *kernel, const KStage *stage, const KInst *load)
{
    int nearest = -1;
    for (int axis = 0; axis < kernel->outer.count + stage->axes.count; axis++) {
        int64_t step = llabs(load->index.coef[axis]);
        if (step && stage_axis(kernel, stage, axis)->extent > 1 && (nearest < 0 || step < llabs(load->index.coef[nearest])))
            nearest = axis;
    }
    return nearest < 0 ? 0 : stage_sums(kernel, stage, nearest) ? 1 : -1;
}

/* Whether terms that follow each other lie side by side, rather than sums that do. */
static bool terms_are_neighbours(const Kernel *kernel, const KStage *stage)
{
    int balance = 0;
    for (int i = 0; i < stage->body_count; i++)
        balance += stage->insts.items[i].op == K_load ? direction_of(kernel, stage, &stage->insts.items[i]) : 0;
    return balance >= 0;
}

static bool shares_terms(const Device *device, const KStage *stage, int64_t points, int64_t terms)
{
    return stage_is_joinable(stage) && terms >= device->sizes->shared_terms && points <= MOST_SUMS &&
           shared_sum_bytes(stage) <= MOST_SHARED;
}

bool schedule_row_sums(const Device *device, const Kernel *kernel, const KStage *stage)
{
    int64_t points = stage_points(kernel, stage);
    return points < device->sizes->few_points && shares_terms(device, stage, points, stage_terms(kernel, stage));
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Pieces are a thread's each: those of a point lie far from each other.  `turns`: of loops, for a point. */
static void share_points(const Device *device, Phase *phase, int64_t turns)
{
    bool many = phase->points >= device->sizes->many_points;
    bool taken = device->most_turns == 0 || POINTS_EACH * (double)turns <= device->most_turns;
    bool of_pieces = phase->role == ROLE_PIECES || phase->role == ROLE_RESUME;
    phase->threads = POINT_THREADS;
    phase->each = phase->role == ROLE_WHOLE && many && taken ? POINTS_EACH : 1;
    phase->groups = parts_of(phase->points * (of_pieces ? phase->pieces : 1), phase->threads * phase->each);
}

static Phase phase_of_points(const Device *device, const Kernel *kernel, PhaseRole role, int number, int64_t points,
                             int64_t pieces)
{
    const KStage *stage = &kernel->stages.items[number];
    Phase phase = {.kind = PHASE_POINTS, .role = role, .stage = number, .points = points, .pieces = pieces};
    share_points(device, &phase,
                 stage_terms(kernel, stage) * stage_count(kernel, stage, 0, stage_scans) *
                     stage_count(kernel, stage, 0, stage_follows));
    return phase;
}

/* Threads have sums that lie side by side; what follows each other in memory is shared out by a workgroup. */
static Phase phase_of_stage(const Device *device, const Kernel *kernel, int number, int64_t lots)
{
    const Sizes *sizes = device->sizes;
    const KStage *stage = &kernel->stages.items[number];
    bool locals = kernel_has_locals(kernel);
    int64_t points = locals ? lots * stage_points(kernel, stage) : stage_count(kernel, stage, 0, stage_shares_out);
    int64_t terms = stage_terms(kernel, stage), pieces = 1;
    bool columns = points >= sizes->few_points && !terms_are_neighbours(kernel, stage);
    bool shares = points && !columns && shares_terms(device, stage, points, terms);
    if (points && stage_is_joinable(stage) && columns)
        pieces = sizes_pieces(sizes->many_threads / points, terms, sizes->thread_terms);
    else if (shares)
        pieces = sizes_pieces(sizes->many_groups / points, terms, sizes->group_terms);
    if (device->most_turns > 0 && !shares && stage_is_joinable(stage)) /* more than a driver takes of one thread */
        pieces = larger(pieces, parts_of(terms, (int64_t)device->most_turns / 2));
    PhaseRole role = pieces > 1 ? ROLE_PIECES : ROLE_WHOLE;
    if (!shares)
        return phase_of_points(device, kernel, role, number, points, pieces);
    return (Phase){.kind = PHASE_SUMS,
                   .role = role,
                   .stage = number,
                   .points = points,
                   .pieces = pieces,
                   .groups = points * pieces,
                   .threads = GROUP_THREADS};
}

static Phase phase_of_tiles(int number, const Tiles *tiles)
{
    return (Phase){.kind = tiles->of_matrices ? PHASE_MATRICES : PHASE_TILES,
                   .role = tiles->pieces > 1 ? ROLE_PIECES : ROLE_WHOLE,
                   .stage = number,
                   .points = tiles->count,
                   .pieces = tiles->pieces,
                   .groups = tiles->count * tiles->pieces,
                   .threads = tiles->threads,
                   .tiles = tiles};
}

static Phase phase_that_joins(const Device *device, const Kernel *kernel, const Phase *before, int64_t points)
{
    const KStage *stage = &kernel->stages.items[before->stage];
    bool shares = before->pieces >= device->sizes->shared_terms && shared_sum_bytes(stage) <= MOST_SHARED;
    if (!shares)
        return phase_of_points(device, kernel, ROLE_JOIN, before->stage, points, before->pieces);
    return (Phase){.kind = PHASE_SUMS,
                   .role = ROLE_JOIN,
                   .stage = before->stage,
                   .points = points,
                   .pieces = before->pieces,
                   .groups = points,
                   .threads = GROUP_THREADS};
}

int64_t schedule_piece_bytes(const Phase *phase, int64_t points)
{
    return rounded_up(phase->pieces * points * 8, 64);
}

static void reserve_pieces(const KStage *stage, const Phase *phase, int64_t points, Schedule *schedule)
{
    int64_t end = schedule->pieces_at + stage->accs.count * schedule_piece_bytes(phase, points);
    schedule->scratch_bytes = larger(schedule->scratch_bytes, end);
}

/* ---- additions ---- */

/* A copy of what is added to, for each piece. */
static int64_t copy_elements(const Kernel *kernel, const KStage *stage)
{
    return kernel->buffers.items[stage_addition(stage)->buffer].count;
}

static int64_t pieces_of_additions(const Device *device, const Kernel *kernel, const KStage *stage, int64_t points)
{
    const Sizes *sizes = device->sizes;
    if (!stage_addition(stage) || stage->stores.count > 1 || stage->accs.count || kernel_has_locals(kernel) || !points)
        return 1;
    int64_t fit = sizes->most_copies / (8 * copy_elements(kernel, stage) + 1), wanted = sizes->many_threads / points;
    return sizes_pieces(fit < wanted ? fit : wanted, stage_count(kernel, stage, 0, stage_follows), sizes->thread_terms);
}

/* Each piece goes to a copy of its own, which begins as zeros; then the copies are added to what is there. */
static void add_additions(Arena *arena, const Device *device, const Kernel *kernel, int number, int64_t pieces,
                          Schedule *schedule)
{
    const KStage *stage = &kernel->stages.items[number];
    int64_t elements = copy_elements(kernel, stage), points = stage_count(kernel, stage, 0, stage_shares_out);
    Phase zeros = {.kind = PHASE_ZEROS, .stage = number, .points = elements * pieces, .pieces = 1};
    share_points(device, &zeros, 0);
    list_push(arena, &schedule->phases, zeros);
    list_push(arena, &schedule->phases, phase_of_points(device, kernel, ROLE_PIECES, number, points, pieces));
    list_push(arena, &schedule->phases, phase_of_points(device, kernel, ROLE_JOIN, number, elements, pieces));
    schedule->scratch_bytes = larger(schedule->scratch_bytes, schedule->pieces_at + 8 * elements * pieces);
}

/* ---- scans ---- */

/* Of the points that are gone along.  A thread puts together what all pieces of a point come to: they are no more than the
 * points of a piece, unless a driver would not take one so long. */
static int64_t pieces_of_scan(const Device *device, const Kernel *kernel, const KStage *stage, int64_t points)
{
    int64_t along = stage_count(kernel, stage, kernel->outer.count, stage_scans), root = 1;
    if (!stage_is_scan(stage) || !points || !along || !stage->accs.count || stage_addition(stage))
        return 1;
    while (root * root < along)
        root++;
    int64_t wanted = device->sizes->many_threads / points;
    int64_t pieces = sizes_pieces(wanted < root ? wanted : root, along, device->sizes->thread_terms);
    int64_t most = (int64_t)device->most_turns / 2, turns = along * stage_terms(kernel, stage);
    int64_t needed = most > 0 && turns > most ? parts_of(turns, most) : 1;
    return larger(pieces, needed < along ? needed : along);
}

static void add_scan(Arena *arena, const Device *device, const Kernel *kernel, int number, int64_t pieces, Schedule *schedule)
{
    const KStage *stage = &kernel->stages.items[number];
    int64_t points = schedule->lots * stage_points(kernel, stage);
    for (PhaseRole role = ROLE_PIECES; role <= ROLE_RESUME; role++)
        if (role != ROLE_JOIN)
            list_push(arena, &schedule->phases, phase_of_points(device, kernel, role, number, points, pieces));
    reserve_pieces(stage, &schedule->phases.items[schedule->phases.count - 1], points, schedule);
}

/* ---- schedules ---- */

/* Outer points that additions do not name follow each other. */
static int64_t most_lots(const Kernel *kernel)
{
    for (int i = 0; i < kernel->stages.count; i++)
        for (int axis = 0; axis < kernel->outer.count; axis++)
            if (!stage_shares_out(kernel, &kernel->stages.items[i], axis))
                return 1;
    return kernel_points(kernel);
}

static bool stores_to(const KStage *stage, int buffer)
{
    for (int i = 0; i < stage->stores.count; i++)
        if (stage->stores.items[i].buffer == buffer)
            return true;
    return false;
}

/* Whether a stage reads what one before it has stored to an argument: other threads see that behind a dispatch only. */
static bool hands_arguments_on(const Kernel *kernel)
{
    for (int number = 1; number < kernel->stages.count; number++) {
        const KStage *stage = &kernel->stages.items[number];
        for (int i = 0; i < stage->insts.count; i++) {
            const KInst *inst = &stage->insts.items[i];
            for (int before = 0; before < number && inst->op == K_load; before++)
                if (kernel->buffers.items[inst->buffer].kind != K_LOCAL &&
                    stores_to(&kernel->stages.items[before], inst->buffer))
                    return true;
        }
    }
    return false;
}

/* A workgroup for each outer point, if they are many or need little. */
static bool suits_rows(const Device *device, const Kernel *kernel)
{
    int64_t work = 0, lots = kernel_points(kernel);
    for (int i = 0; i < kernel->stages.count; i++) {
        const KStage *stage = &kernel->stages.items[i];
        int64_t points = 1;
        for (int k = 0; k < stage->axes.count; k++)
            points *= stage->axes.items[k].extent;
        work += points;
    }
    return fits_shared(kernel) && !hands_arguments_on(kernel) && most_lots(kernel) == lots &&
           (lots >= device->sizes->many_lots || work <= device->sizes->little_work);
}

static void choose_lots(const Device *device, const Kernel *kernel, Schedule *schedule)
{
    int64_t points = kernel_points(kernel), fit = points;
    if (kernel_has_locals(kernel)) {
        schedule->lot_bytes = rounded_up(all_local_bytes(kernel), 64);
        fit = device->sizes->most_locals / (schedule->lot_bytes + 1);
        int64_t most = most_lots(kernel);
        fit = fit < 1 ? 1 : fit < most ? fit : most;
    }
    schedule->lots = fit;
    schedule->turns = fit ? parts_of(points, fit) : 0;
    schedule->pieces_at = schedule->lot_bytes * schedule->lots;
}

static void add_stage(Arena *arena, const Device *device, const Kernel *kernel, int number, Schedule *schedule)
{
    const KStage *stage = &kernel->stages.items[number];
    int64_t points = schedule->lots * stage_points(kernel, stage), scan = pieces_of_scan(device, kernel, stage, points);
    int64_t additions = pieces_of_additions(device, kernel, stage, stage_count(kernel, stage, 0, stage_shares_out));
    if (additions > 1) {
        add_additions(arena, device, kernel, number, additions, schedule);
        return;
    }
    if (scan > 1) {
        add_scan(arena, device, kernel, number, scan, schedule);
        return;
    }
    const Tiles *tiles = tiling_choose(arena, device, kernel, number, schedule->lots);
    Phase phase = tiles ? phase_of_tiles(number, tiles) : phase_of_stage(device, kernel, number, schedule->lots);
    list_push(arena, &schedule->phases, phase);
    if (phase.pieces == 1)
        return;
    list_push(arena, &schedule->phases, phase_that_joins(device, kernel, &phase, points));
    reserve_pieces(stage, &phase, points, schedule);
}

/* Outer axes are axes of each stage where stages have no locals in common; what is stepped through as one is one axis. */
static KStage simplified(Arena *arena, const Kernel *from, const Kernel *into, int number)
{
    KStage stage = from->stages.items[number];
    kstage_own(arena, &stage);
    memset(&stage.axes, 0, sizeof stage.axes);
    for (int i = into->outer.count; i < from->outer.count; i++)
        list_push(arena, &stage.axes, from->outer.items[i]);
    for (int i = 0; i < from->stages.items[number].axes.count; i++)
        list_push(arena, &stage.axes, from->stages.items[number].axes.items[i]);
    kernel_merge_axes(into, &stage);
    return stage;
}

static const Kernel *with_fewer_axes(Arena *arena, const Kernel *kernel)
{
    Kernel *fewer = arena_new_of(arena, Kernel);
    *fewer = *kernel;
    memset(&fewer->stages, 0, sizeof fewer->stages);
    if (!kernel_has_locals(kernel))
        memset(&fewer->outer, 0, sizeof fewer->outer);
    for (int i = 0; i < kernel->stages.count; i++)
        list_push(arena, &fewer->stages, simplified(arena, kernel, fewer, i));
    return fewer;
}

const Schedule *schedule_kernel(Arena *arena, const Device *device, const Kernel *given)
{
    const Kernel *kernel = with_fewer_axes(arena, given);
    Schedule *schedule = arena_new_of(arena, Schedule);
    *schedule = (Schedule){.kernel = kernel, .turns = 1};
    if (kernel_has_locals(kernel) && suits_rows(device, kernel)) {
        int64_t points = kernel_points(kernel);
        Phase rows = {
            .kind = PHASE_ROWS, .stage = -1, .points = points, .pieces = 1, .groups = points, .threads = GROUP_THREADS};
        list_push(arena, &schedule->phases, rows);
        return schedule;
    }
    choose_lots(device, kernel, schedule);
    schedule->scratch_bytes = schedule->pieces_at;
    for (int i = 0; i < kernel->stages.count; i++)
        add_stage(arena, device, kernel, i, schedule);
    return schedule;
}

bool schedule_is_countable(const Schedule *schedule)
{
    const Kernel *kernel = schedule->kernel;
    bool countable = kernel_points(kernel) <= most_counted;
    for (int i = 0; i < kernel->buffers.count; i++)
        countable &= kernel->buffers.items[i].count <= INT32_MAX;
    for (int i = 0; i < kernel->stages.count; i++) {
        const KStage *stage = &kernel->stages.items[i];
        countable &= stage_terms(kernel, stage) <= most_counted;
        countable &= stage_count(kernel, stage, 0, stage_scans) <= most_counted;
        countable &= stage_count(kernel, stage, 0, stage_follows) <= most_counted;
    }
    for (int i = 0; i < schedule->phases.count; i++) {
        const Phase *phase = &schedule->phases.items[i];
        countable &= phase->points <= most_counted / phase->pieces;
    }
    return countable;
}
