/* Pieces: where a turn of a loop leaves its part of an array. */
#include "ir/ir.h"

#include <string.h>

static int64_t pieces_along(int64_t whole, int64_t piece)
{
    return piece ? (whole + piece - 1) / piece : 1;
}

int64_t ir_piece_count(const IrType *whole, const IrType *piece)
{
    int64_t count = 1;
    for (int axis = 0; axis < whole->rank; axis++)
        count *= pieces_along(whole->dim[axis], piece->dim[axis]);
    return count;
}

/* Axes are gone through from the last one to the first.  As long as pieces have the whole of them, the run grows. */
IrPiece ir_piece(const IrType *whole, const IrType *piece, int64_t turn)
{
    IrPiece found = {.run = 1};
    int64_t whole_step = 1, piece_step = 1;
    for (int axis = whole->rank - 1; axis >= 0; axis--) {
        int from = axis - (whole->rank - piece->rank);
        int64_t size = whole->dim[axis], width = from < 0 ? 1 : piece->dim[from], along = pieces_along(size, width);
        int64_t place = turn % along * width, skip = place + width > size ? place + width - size : 0;
        turn /= along;
        found.to += place * whole_step;
        found.from += skip * piece_step;
        if (found.run == whole_step) {
            found.run *= width - skip;
        } else {
            found.count[found.axes] = width - skip;
            found.to_step[found.axes] = whole_step;
            found.from_step[found.axes++] = piece_step;
        }
        whole_step *= size;
        piece_step *= width;
    }
    return found;
}

bool ir_piece_next(IrPiece *piece)
{
    for (int axis = 0; axis < piece->axes; axis++) {
        piece->to += piece->to_step[axis];
        piece->from += piece->from_step[axis];
        if (++piece->at[axis] < piece->count[axis])
            return true;
        piece->to -= piece->to_step[axis] * piece->count[axis];
        piece->from -= piece->from_step[axis] * piece->count[axis];
        piece->at[axis] = 0;
    }
    return false;
}

void ir_piece_store(const IrType *whole, void *to, const IrType *type, const void *from, int64_t turn)
{
    int64_t size = dtype_size(whole->dtype);
    IrPiece piece = ir_piece(whole, type, turn);
    do {
        memcpy((char *)to + piece.to * size, (const char *)from + piece.from * size, (size_t)(piece.run * size));
    } while (ir_piece_next(&piece));
}
