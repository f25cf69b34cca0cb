/*
 * parity.h: RAID 4/5/6 arithmetic on buffers, by ISA-L.
 *
 * P is the sum (xor) of the data; Q the sum of 2^e times data e in GF(2^8) modulo
 * x^8 + x^4 + x^3 + x^2 + 1 (0x11d), as md has it. Lengths are multiples of 512.
 * Any alignment works; 32 bytes is the fast one. No state, no memory.
 */
#ifndef OSFS_RAID_PARITY_H
#define OSFS_RAID_PARITY_H

#include "base/types.h"
#include "raid/raid.h"

enum {
	PARITY_MAX_SOURCES = 2 * RAID_MAX_DATA_DISKS + 2,	/* read-modify-write of a whole stripe */
	PARITY_MAX_ROWS = 2,
};

/* P and Q of data[0..nr_data-1], in the order of e. q may be NULL, p only with q. */
void parity_gen(size_t len_bytes, unsigned nr_data, void *const *data, void *p, void *q);

/* dst = sum of src[0..nr-1]; dst is none of them. */
void parity_xor(size_t len_bytes, unsigned nr, void *const *src, void *dst);

/* A matrix over the field, ready for use: row by row, nr_src coefficients each. */
struct parity_matrix {
	unsigned nr_src, nr_rows;
	uint8_t tables[32 * PARITY_MAX_SOURCES * PARITY_MAX_ROWS];
};

void parity_matrix_init(struct parity_matrix *m, unsigned nr_src, unsigned nr_rows, const uint8_t *coefs);
/* dst[row] = sum of coefs[row][i] × src[i]. */
void parity_combine(const struct parity_matrix *m, size_t len_bytes, void *const *src, void *const *dst);

/* 2^e */
uint8_t parity_power(unsigned e);

/*
 * Coefficients that give back missing data. lost[0..nr_lost-1] (1 or 2, rising) are
 * the exponents of the missing data chunks; the sources are nr_data data chunks in
 * the order of e, then P, then Q. coefs has nr_lost rows of nr_data + 2; what must
 * not be used (the lost ones, P or Q when not there) has coefficient 0.
 * Two lost need both parities. One lost takes P if it is there, else Q.
 */
void parity_recover(unsigned nr_data, unsigned nr_lost, const unsigned *lost, bool have_p, uint8_t *coefs);

/*
 * Which single source explains the difference between P and Q as read and as computed:
 * e of a data chunk, PARITY_AT_P or PARITY_AT_Q; -ENOENT: none does alone.
 */
enum { PARITY_AT_P = RAID_MAX_DATA_DISKS, PARITY_AT_Q };
int parity_locate(size_t len_bytes, unsigned nr_data, const uint8_t *p_diff, const uint8_t *q_diff);

#endif
