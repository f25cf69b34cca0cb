/* parity.c: see parity.h. */
#include "raid/parity.h"

#include <assert.h>
#include <isa-l/erasure_code.h>
#include <isa-l/raid.h>

enum { FAST_ALIGN = 32 };

/* ISA-L's xor and P+Q kernels use aligned moves; its erasure-code kernels do not. */
static bool is_aligned(unsigned nr, void *const *bufs, const void *p, const void *q)
{
	uintptr_t bits = (uintptr_t)p | (uintptr_t)q;

	for (unsigned i = 0; i < nr; i++)
		bits |= (uintptr_t)bufs[i];
	return !(bits & (FAST_ALIGN - 1));
}

uint8_t parity_power(unsigned e)
{
	uint8_t v = 1;

	while (e--)
		v = (uint8_t)(v << 1 ^ (v & 0x80 ? 0x1d : 0));
	return v;
}

void parity_matrix_init(struct parity_matrix *m, unsigned nr_src, unsigned nr_rows, const uint8_t *coefs)
{
	assert(nr_src <= PARITY_MAX_SOURCES && nr_rows <= PARITY_MAX_ROWS);
	m->nr_src = nr_src;
	m->nr_rows = nr_rows;
	/* ISA-L does not write through its inputs, its prototypes only do not say so. */
	ec_init_tables((int)nr_src, (int)nr_rows, (uint8_t *)(uintptr_t)coefs, m->tables);
}

void parity_combine(const struct parity_matrix *m, size_t len_bytes, void *const *src, void *const *dst)
{
	ec_encode_data((int)len_bytes, (int)m->nr_src, (int)m->nr_rows, (uint8_t *)(uintptr_t)m->tables,
		       (uint8_t **)(uintptr_t)src, (uint8_t **)(uintptr_t)dst);
}

/* Plain C that the compiler turns into vectors: for buffers ISA-L's kernels cannot take. */
static void xor_unaligned(size_t len_bytes, unsigned nr, void *const *src, void *dst)
{
	memcpy(dst, src[0], len_bytes);
	for (unsigned i = 1; i < nr; i++)
		for (size_t at = 0; at < len_bytes; at += 8) {
			uint64_t a, b;

			memcpy(&a, (char *)dst + at, 8);
			memcpy(&b, (const char *)src[i] + at, 8);
			a ^= b;
			memcpy((char *)dst + at, &a, 8);
		}
}

void parity_xor(size_t len_bytes, unsigned nr, void *const *src, void *dst)
{
	void *vects[PARITY_MAX_SOURCES + 1];

	if (nr < 2 || !is_aligned(nr, src, dst, NULL)) {
		xor_unaligned(len_bytes, nr, src, dst);
		return;
	}
	memcpy(vects, src, nr * sizeof(*src));
	vects[nr] = dst;
	xor_gen((int)nr + 1, (int)len_bytes, vects);
}

void parity_gen(size_t len_bytes, unsigned nr_data, void *const *data, void *p, void *q)
{
	void *vects[RAID_MAX_DATA_DISKS + 2];
	uint8_t coefs[2 * RAID_MAX_DATA_DISKS], power = 1;
	struct parity_matrix m;
	unsigned nr_rows = 0;

	if (!q) {
		parity_xor(len_bytes, nr_data, data, p);
		return;
	}
	if (p && nr_data >= 2 && is_aligned(nr_data, data, p, q)) {
		memcpy(vects, data, nr_data * sizeof(*data));
		vects[nr_data] = p;
		vects[nr_data + 1] = q;
		pq_gen((int)nr_data + 2, (int)len_bytes, vects);
		return;
	}
	if (p) {
		memset(coefs, 1, nr_data);
		vects[nr_rows++] = p;
	}
	vects[nr_rows++] = q;
	for (unsigned e = 0; e < nr_data; e++, power = (uint8_t)(power << 1 ^ (power & 0x80 ? 0x1d : 0)))
		coefs[(nr_rows - 1) * nr_data + e] = power;
	parity_matrix_init(&m, nr_data, nr_rows, coefs);
	parity_combine(&m, len_bytes, data, vects);
}

/* One chunk x lost: D_x = P + sum of the others, or (Q + sum of 2^e D_e) / 2^x. */
static void recover_one(unsigned nr_data, unsigned x, bool have_p, uint8_t *coefs)
{
	uint8_t unit = gf_inv(parity_power(x));

	for (unsigned e = 0; e < nr_data; e++)
		coefs[e] = e == x ? 0 : have_p ? 1 : gf_mul(parity_power(e), unit);
	coefs[nr_data] = have_p;
	coefs[nr_data + 1] = have_p ? 0 : unit;
}

/*
 * x and y lost: P' = P + others, Q' = Q + others give D_x + D_y = P' and
 * 2^x D_x + 2^y D_y = Q', so D_x = (2^y P' + Q') / (2^x + 2^y), D_y = P' + D_x.
 */
static void recover_two(unsigned nr_data, unsigned x, unsigned y, uint8_t *coefs)
{
	uint8_t unit = gf_inv(parity_power(x) ^ parity_power(y));
	uint8_t of_p = gf_mul(parity_power(y), unit);
	uint8_t *row_x = coefs, *row_y = coefs + nr_data + 2;

	for (unsigned e = 0; e < nr_data; e++) {
		bool lost = e == x || e == y;

		row_x[e] = lost ? 0 : of_p ^ gf_mul(parity_power(e), unit);
		row_y[e] = lost ? 0 : row_x[e] ^ 1;
	}
	row_x[nr_data] = of_p;
	row_y[nr_data] = of_p ^ 1;
	row_x[nr_data + 1] = unit;
	row_y[nr_data + 1] = unit;
}

void parity_recover(unsigned nr_data, unsigned nr_lost, const unsigned *lost, bool have_p, uint8_t *coefs)
{
	assert(nr_lost == 1 || nr_lost == 2);
	if (nr_lost == 1)
		recover_one(nr_data, lost[0], have_p, coefs);
	else
		recover_two(nr_data, lost[0], lost[1], coefs);
}

/* An error d in data chunk e makes the differences d and 2^e d, in P alone d and 0, in Q alone 0 and d. */
int parity_locate(size_t len_bytes, unsigned nr_data, const uint8_t *p_diff, const uint8_t *q_diff)
{
	int where = -ENOENT;
	uint8_t power = 0;
	size_t at = 0;

	while (at < len_bytes && !p_diff[at] && !q_diff[at])
		at++;
	if (at == len_bytes)
		return -ENOENT;
	if (!q_diff[at])
		where = PARITY_AT_P;
	else if (!p_diff[at])
		where = PARITY_AT_Q;
	for (unsigned e = 0; where < 0 && e < nr_data; e++) {
		power = parity_power(e);
		if (gf_mul(power, p_diff[at]) == q_diff[at])
			where = (int)e;
	}
	for (; where >= 0 && at < len_bytes; at++) {
		bool fits = where == PARITY_AT_P ? !q_diff[at]
			    : where == PARITY_AT_Q ? !p_diff[at]
						   : gf_mul(power, p_diff[at]) == q_diff[at];

		if (!fits)
			return -ENOENT;
	}
	return where;
}
