/* Contract: what the files that emit contractions share: the place in the iteration space that code is being emitted for.
 *
 *   contract.c        tasks and phases        contract_pack.c   copies of operands, in the order in which tiles read them
 *   contract_tile.c   register tiles and what follows them
 *   contract_place.c  moving through the space, and reading operands there */
#ifndef CM_BACKENDS_CPU_CONTRACT_H
#define CM_BACKENDS_CPU_CONTRACT_H

#include "backends/cpu/schedule.h"

enum { MAX_SUMS = 32, MAX_LANES = 16 };

typedef struct Contract {
    Codegen *cg;
    const ContractSchedule *schedule;
    LLVMTypeRef element, vector; /* computed with */
    size_t element_bytes;
    size_t panel_offset; /* of packed columns, in shared memory or scratch */
    size_t sums_offset;  /* of sums, in shared memory if k is split, else in scratch */

    LLVMValueRef axis[K_MAX_AXES]; /* the stage's axes at the present place; k: 0 */
    LLVMValueRef batch, panel, tile, split;
    LLVMValueRef first_panel, end_panel, first_tile, end_tile; /* of the task */
    LLVMValueRef first_vector;                                 /* of the panel */
    LLVMValueRef panel_is_larger;                              /* i1; null where all are equal */
    LLVMValueRef tile_is_larger;
    LLVMValueRef panel_data;     /* packed columns of the panel, or null */
    LLVMValueRef tile_data;      /* the tile's sums in memory; null: they stay in registers */
    LLVMValueRef k_begin, k_end; /* of the outermost k axis */
} Contract;

/* ---- places (contract_place.c) ---- */

LLVMValueRef contract_scale(Codegen *cg, LLVMValueRef value, int64_t factor);
LLVMValueRef contract_step(Codegen *cg, LLVMTypeRef type, LLVMValueRef address, LLVMValueRef elements);
LLVMValueRef contract_min(Codegen *cg, LLVMValueRef a, LLVMValueRef b);
/* The least significant digit of `number` in base `base`; what is left goes back to `number`. */
LLVMValueRef contract_take_digit(Codegen *cg, LLVMValueRef *number, int64_t base);
/* How many things a part has: a number known while running. */
LLVMValueRef contract_split_size(Codegen *cg, const ContractSplit *split, LLVMValueRef is_larger);

void contract_start(Contract *contract, Codegen *cg, const ContractSchedule *schedule);
void contract_enter_batch(Contract *contract, LLVMValueRef batch);
void contract_enter_panel(Contract *contract, LLVMValueRef panel);
void contract_enter_tile(Contract *contract, LLVMValueRef tile);
/* A point at the present place. */
void contract_point(Contract *contract, Point *point, int lanes);
const KInst *contract_load_inst(const Contract *contract, KRef load);
DType contract_memory_dtype(const Contract *contract, KRef load);
/* Where the operand lies at the present place, the first k. */
LLVMValueRef contract_operand_address(Contract *contract, KRef load);
/* Lanes of the vector that exist; null: all. */
LLVMValueRef contract_vector_mask(Contract *contract, LLVMValueRef vector);
int64_t contract_k0(const ContractSchedule *schedule); /* points of the outermost k axis */

/* ---- copies (contract_pack.c) ---- */

/* Packs the panel at the present place for [begin, end) of the outermost k axis. */
void contract_pack_panel(Contract *contract, LLVMValueRef begin, LLVMValueRef end);

/* ---- tiles (contract_tile.c), each at the present tile and panel ---- */

void contract_clear_tile(Contract *contract);  /* its sums in memory */
void contract_sum_tile(Contract *contract);    /* over [k_begin, k_end), and all that follows if sums stay in registers */
void contract_finish_tile(Contract *contract); /* from its sums in memory */

#endif
