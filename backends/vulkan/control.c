/* Shaders of control flow: the gate before a region, and copies in one.
 *
 * What is recorded cannot be left out later, but a dispatch of no groups does nothing: a gate decides on the device, and the
 * host need not know.  Copies in a region are dispatches, too, as commands that copy are always carried out. */
#include "backends/vulkan/schedule.h"

/* Every thread reads the predicate around the region; the first one writes the region's own, which is another word. */
static const char gate_text[] = {"void main() {\n"
                                 "  int thread = int(gl_LocalInvocationID.x), mode = base_of(%d);\n"
                                 "  int slots = base_of(%d), count = base_of(%d), condition = base_of(%d);\n"
                                 "  bool open = get_u32_%d(base_of(%d)) != 0u;\n"
                                 "  if (open && mode == %d) open = get_bool_%d(condition);\n"
                                 "  if (open && mode == %d) open = !get_bool_%d(condition);\n"
                                 "  if (open && mode == %d) open = turn < get_i32_%d(condition);\n"
                                 "  if (thread == 0) put_u32_%d(base_of(%d), uint(open));\n"
                                 "  for (int slot = thread; slot < count; slot += %d) {\n"
                                 "    int place = slots + slot * %d;\n"
                                 "    put_u32_%d(place, open ? get_u32_%d(place + 3) : 0u);\n"
                                 "  }\n"
                                 "}\n"};

/* A unit of the piece goes to where the turn's piece lies in the whole, counted from the last axis to the first; where the last
 * piece along an axis would not fit, it is moved back, and what was there before stays (ir_piece). */
static const char copy_text[] = {
    "void main() {\n"
    "  int group = int(gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x);\n"
    "  int number = group * %d + int(gl_LocalInvocationID.x), rest = number, turns = turn, place = 0, step = 1;\n"
    "  if (number >= base_of(%d)) return;\n"
    "  for (int axis = base_of(%d) - 1; axis >= 0; axis--) {\n"
    "    int size = base_of(%d + 2 * axis), width = base_of(%d + 2 * axis), along = (size + width - 1) / width;\n"
    "    int at = rest %% width, first = turns %% along * width, over = max(first + width - size, 0);\n"
    "    if (at < over) return;\n"
    "    rest /= width;\n"
    "    turns /= along;\n"
    "    place += (first + at - over) * step;\n"
    "    step *= size;\n"
    "  }\n"
    "  int from = base_of(%d) + number, to = base_of(%d) + place, unit = base_of(%d);\n"
    "  bool zero = base_of(%d) != 0;\n"
    "  if (unit == 32) put_32(to, zero ? 0u : get_32(from));\n"
    "  else if (unit == 16) put_16(to, zero ? 0u : get_16(from));\n"
    "  else put_8(to, zero ? 0u : get_8(from));\n"
    "}\n"};

/* Reading and writing units of each size. */
static void print_units(const Device *device, unsigned char from, unsigned char to, Text *out)
{
    windows_print(device, from, 4, "uint get_32(int at) {", "return get_u32_", "(", ");", out);
    windows_print(device, from, 2, "uint get_16(int at) {", "return bits16_at_", "(", ");", out);
    windows_print(device, from, 1, "uint get_8(int at) {", "return bits8_at_", "(", ");", out);
    windows_print(device, to, 4, "void put_32(int at, uint x) {", "put_u32_", "(", ", x); return;", out);
    windows_print(device, to, 2, "void put_16(int at, uint x) {", "put_bits16_", "(", ", x); return;", out);
    windows_print(device, to, 1, "void put_8(int at, uint x) {", "put_bits8_", "(", ", x); return;", out);
}

void control_print(const Device *device, ControlKind kind, const unsigned char *window, Text *out)
{
    bool gate = kind == CONTROL_GATE;
    int windows = windows_count(window, gate ? (int)GATE_ARGS : (int)COPY_ARGS);
    Prelude prelude = {.windows = windows, .row = gate ? (int)GATE_ROW : (int)COPY_ROW};
    glsl_prelude(device, &prelude, out);
    text_printf(out, "layout(local_size_x = %d) in;\n", POINT_THREADS);
    if (gate) {
        int control = window[GATE_ARG_CONTROL], condition = window[GATE_ARG_CONDITION];
        text_printf(out, gate_text, GATE_MODE, GATE_SLOTS, GATE_SLOT_COUNT, GATE_CONDITION, control, GATE_OUTER, GATE_IF,
                    condition, GATE_UNLESS, condition, GATE_WHILE_BELOW, condition, control, GATE_OWN, POINT_THREADS,
                    SLOT_WORDS, control, control);
    } else {
        print_units(device, window[COPY_ARG_FROM], window[COPY_ARG_TO], out);
        text_printf(out, copy_text, POINT_THREADS, COPY_COUNT, COPY_RANK, COPY_DIMS, COPY_DIMS + 1, COPY_FROM, COPY_TO,
                    COPY_UNIT, COPY_ZERO);
    }
}
