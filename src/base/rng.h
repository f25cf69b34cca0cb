/* rng.h: a small seeded generator (splitmix64), so that a seed gives the same run everywhere. */
#ifndef OSFS_BASE_RNG_H
#define OSFS_BASE_RNG_H

#include "base/types.h"

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* 0 to n - 1; n must not be 0. The bias is below 2^-32 for every n used here. */
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return rng_next(r) % n;
}

static inline void rng_fill(struct rng *r, void *buf, size_t len_bytes)
{
	uint8_t *p = buf;

	for (size_t i = 0; i < len_bytes; i += 8) {
		uint64_t v = rng_next(r);

		memcpy(p + i, &v, MIN((size_t)8, len_bytes - i));
	}
}

#endif
