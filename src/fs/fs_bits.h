/*
 * fs_bits.h: bitmaps as they lie on disk (bit n is bit n % 8 of byte n / 8), a word at a time.
 * Pure; map is aligned to 8 bytes and long enough for whole words. Ranges are [from, to).
 */
#ifndef OSFS_FS_FS_BITS_H
#define OSFS_FS_FS_BITS_H

#include "base/types.h"

/* The first such bit in the range; to when there is none. */
uint32_t fs_bits_next_zero(const void *map, uint32_t from, uint32_t to);
uint32_t fs_bits_next_one(const void *map, uint32_t from, uint32_t to);
void fs_bits_set(void *map, uint32_t from, uint32_t to);
void fs_bits_clear(void *map, uint32_t from, uint32_t to);
uint32_t fs_bits_count_zero(const void *map, uint32_t from, uint32_t to);

static inline bool fs_bits_test(const void *map, uint32_t bit)
{
	return ((const uint8_t *)map)[bit / 8] >> bit % 8 & 1;
}

#endif
