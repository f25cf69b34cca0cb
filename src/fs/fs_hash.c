/*
 * fs_hash.c: the hashes that order hashed directories on disk.
 *
 * A hash is a pair: the major half is the key of the tree (even: bit 0 of a key in an index
 * block says "goes on from the block before"), the minor half orders names of one major half
 * when a directory is listed. The input is the name alone; the seed is the filesystem's.
 *
 * "Signed" and "unsigned" versions differ in how bytes above 127 are read: the first
 * implementation took plain char, whose sign depends on the machine.
 */
#include "fs/fs_int.h"

enum {
	MD4_CHUNK_BYTES = 32,
	TEA_CHUNK_BYTES = 16,
	TEA_ROUNDS = 16,
};
#define TEA_DELTA 0x9e3779b9u
#define HASH_EOF 0xfffffffeu	/* readers of the format take it for the end of the directory */

static inline uint32_t rotate(uint32_t v, unsigned by)
{
	return v << by | v >> (32 - by);
}

static inline uint32_t byte_value(char c, bool is_signed)
{
	return is_signed ? (uint32_t)(int32_t)(signed char)c : (uint32_t)(unsigned char)c;
}

/* MD4 with three rounds of eight steps. Each step works on the register before the last one's. */
#define MD4_F(x, y, z) ((z) ^ ((x) & ((y) ^ (z))))
#define MD4_G(x, y, z) (((x) & (y)) + (((x) ^ (y)) & (z)))
#define MD4_H(x, y, z) ((x) ^ (y) ^ (z))
#define MD4_STEP(f, a, b, c, d, word, by) (a = rotate(a + f(b, c, d) + (word), by))
/* Four steps on the words i, j, k, l with the rotations r, s, t, u. */
#define MD4_FOUR(f, add, i, j, k, l, r, s, t, u)		\
	do {							\
		MD4_STEP(f, a, b, c, d, in[i] + (add), r);	\
		MD4_STEP(f, d, a, b, c, in[j] + (add), s);	\
		MD4_STEP(f, c, d, a, b, in[k] + (add), t);	\
		MD4_STEP(f, b, c, d, a, in[l] + (add), u);	\
	} while (0)

static void half_md4(uint32_t state[static 4], const uint32_t in[static 8])
{
	const uint32_t sqrt2 = 0x5a827999, sqrt3 = 0x6ed9eba1;
	uint32_t a = state[0], b = state[1], c = state[2], d = state[3];

	MD4_FOUR(MD4_F, 0, 0, 1, 2, 3, 3, 7, 11, 19);
	MD4_FOUR(MD4_F, 0, 4, 5, 6, 7, 3, 7, 11, 19);
	MD4_FOUR(MD4_G, sqrt2, 1, 3, 5, 7, 3, 5, 9, 13);
	MD4_FOUR(MD4_G, sqrt2, 0, 2, 4, 6, 3, 5, 9, 13);
	MD4_FOUR(MD4_H, sqrt3, 3, 7, 2, 6, 3, 9, 11, 15);
	MD4_FOUR(MD4_H, sqrt3, 1, 5, 0, 4, 3, 9, 11, 15);
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
}

static void tea(uint32_t state[static 4], const uint32_t in[static 4])
{
	uint32_t x = state[0], y = state[1], sum = 0;

	for (unsigned i = 0; i < TEA_ROUNDS; i++) {
		sum += TEA_DELTA;
		x += ((y << 4) + in[0]) ^ (y + sum) ^ ((y >> 5) + in[1]);
		y += ((x << 4) + in[2]) ^ (x + sum) ^ ((x >> 5) + in[3]);
	}
	state[0] += x;
	state[1] += y;
}

/*
 * One chunk of the name as nr_words big-endian words; what is short is filled with the length
 * of the rest of the name in every byte.
 */
static void chunk_words(const char *s, size_t rest, bool is_signed, uint32_t *words, unsigned nr_words)
{
	const uint32_t fill = (uint32_t)rest * 0x01010101u;
	const size_t len = MIN(rest, (size_t)nr_words * 4);
	size_t i = 0;

	for (unsigned w = 0; w < nr_words; w++) {
		uint32_t v = fill;

		for (size_t end = MIN(len, i + 4); i < end; i++)
			v = byte_value(s[i], is_signed) + (v << 8);
		words[w] = v;
	}
}

static uint32_t legacy(struct fs_name name, bool is_signed)
{
	uint32_t last = 0x12a3fe2d, before = 0x37abe8f9;

	for (size_t i = 0; i < name.len; i++) {
		uint32_t v = before + (last ^ byte_value(name.s[i], is_signed) * 7152373u);

		if (v & 0x80000000u)
			v -= 0x7fffffffu;
		before = last;
		last = v;
	}
	return last << 1;
}

static void start_state(const uint32_t seed[static 4], uint32_t state[static 4])
{
	static const uint32_t unseeded[4] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476 };
	const bool has_seed = seed[0] | seed[1] | seed[2] | seed[3];

	memcpy(state, has_seed ? seed : unseeded, sizeof(unseeded));
}

int fs_hash_name(const uint32_t seed[static 4], uint8_t version, struct fs_name name, uint32_t *major,
		 uint32_t *minor)
{
	const bool is_signed = version <= EXT_HASH_TEA;
	uint32_t state[4], words[8];

	switch (version) {
	case EXT_HASH_LEGACY:
	case EXT_HASH_LEGACY_UNSIGNED:
		*major = legacy(name, is_signed);
		*minor = 0;
		break;
	case EXT_HASH_HALF_MD4:
	case EXT_HASH_HALF_MD4_UNSIGNED:
		start_state(seed, state);
		for (size_t i = 0; i < name.len; i += MD4_CHUNK_BYTES) {
			chunk_words(name.s + i, name.len - i, is_signed, words, MD4_CHUNK_BYTES / 4);
			half_md4(state, words);
		}
		*major = state[1];
		*minor = state[2];
		break;
	case EXT_HASH_TEA:
	case EXT_HASH_TEA_UNSIGNED:
		start_state(seed, state);
		for (size_t i = 0; i < name.len; i += TEA_CHUNK_BYTES) {
			chunk_words(name.s + i, name.len - i, is_signed, words, TEA_CHUNK_BYTES / 4);
			tea(state, words);
		}
		*major = state[0];
		*minor = state[1];
		break;
	default:
		return -EOPNOTSUPP;
	}
	*major &= ~1u;
	if (*major == HASH_EOF)
		*major = HASH_EOF - 2;
	return 0;
}
