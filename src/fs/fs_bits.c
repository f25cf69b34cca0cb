/* fs_bits.c: see fs_bits.h. */
#include "fs/fs_bits.h"

#define WORD_BITS 64u

static uint64_t word_get(const void *map, uint32_t bit)
{
	return le64_get(((const le64 *)map)[bit / WORD_BITS]);
}

/* The bits of [from, to) within from's word. */
static uint64_t word_mask(uint32_t from, uint32_t to)
{
	const uint32_t lo = from % WORD_BITS;
	const uint64_t high = to / WORD_BITS > from / WORD_BITS ? ~0ull : (1ull << to % WORD_BITS) - 1;

	return high & ~0ull << lo;
}

static uint32_t word_end(uint32_t from, uint32_t to)
{
	return MIN(to, (from / WORD_BITS + 1) * WORD_BITS);
}

/* flip ~0: the first zero; 0: the first one. */
static uint32_t next(const void *map, uint32_t from, uint32_t to, uint64_t flip)
{
	for (; from < to; from = word_end(from, to)) {
		const uint64_t w = (word_get(map, from) ^ flip) & word_mask(from, to);

		if (w)
			return ALIGN_DOWN(from, WORD_BITS) + (uint32_t)__builtin_ctzll(w);
	}
	return to;
}

uint32_t fs_bits_next_zero(const void *map, uint32_t from, uint32_t to)
{
	return next(map, from, to, ~0ull);
}

uint32_t fs_bits_next_one(const void *map, uint32_t from, uint32_t to)
{
	return next(map, from, to, 0);
}

void fs_bits_set(void *map, uint32_t from, uint32_t to)
{
	le64 *words = map;

	for (; from < to; from = word_end(from, to))
		words[from / WORD_BITS] = le64_of(word_get(map, from) | word_mask(from, to));
}

void fs_bits_clear(void *map, uint32_t from, uint32_t to)
{
	le64 *words = map;

	for (; from < to; from = word_end(from, to))
		words[from / WORD_BITS] = le64_of(word_get(map, from) & ~word_mask(from, to));
}

uint32_t fs_bits_count_zero(const void *map, uint32_t from, uint32_t to)
{
	uint32_t nr = 0;

	for (; from < to; from = word_end(from, to))
		nr += (uint32_t)__builtin_popcountll(~word_get(map, from) & word_mask(from, to));
	return nr;
}
