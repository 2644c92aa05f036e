/* Random numbers as every backend must compute them: Philox 4x32 with ten rounds, and keys made from keys. */
#include "ir/ir.h"

void philox_4x32_10(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
    uint32_t k0 = key[0], k1 = key[1];
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xd2511f53u * c0, b = (uint64_t)0xcd9e8d57u * c2;
        uint32_t next0 = (uint32_t)(b >> 32) ^ c1 ^ k0, next2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c0 = next0, c1 = (uint32_t)b, c2 = next2, c3 = (uint32_t)a;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* The third counter word is 1, where random_bits has 0: no fold shares a block with a draw under the same key. */
void random_fold_in(const uint32_t key[2], uint32_t data, uint32_t out[2])
{
    uint32_t words[4];
    philox_4x32_10(key, (const uint32_t[4]){data, 0, 1, 0}, words);
    out[0] = words[0];
    out[1] = words[1];
}
