/*
 * raid_lock.c: regions of an array that are worked on.
 *
 * S1  Who changes parity, or writes a copy that others do not get, holds the region
 *     exclusively from the first read to the last write.
 * S2  Who computes data from parity holds the region at least shared.
 * S3  Who writes all copies of a mirror holds it shared; two writers of one sector
 *     at a time are the caller's matter, as on a disk.
 * S4  Members' states are asked after the region is locked.
 *
 * A region is a power of two of sectors; region numbers share a table of locks.
 */
#include "raid/raid_int.h"

enum {
	REGION_SHIFT_PARITY = 7,	/* 64 KiB of each member, or a chunk if that is more */
	REGION_SHIFT_COPIES = 11,	/* 1 MiB of the volume */
};

void raid_regions_init(struct raid *r)
{
	for (unsigned i = 0; i < RAID_NR_LOCKS; i++)
		os_rwlock_init(&r->region_locks[i], RANK_STRIPE);
}

void raid_regions_shift(struct raid *r)
{
	r->region_shift = r->geom.nr_parity ? MAX(r->geom.chunk_shift, (unsigned)REGION_SHIFT_PARITY)
					    : (unsigned)REGION_SHIFT_COPIES;
}

void raid_regions_fini(struct raid *r)
{
	for (unsigned i = 0; i < RAID_NR_LOCKS; i++)
		os_rwlock_fini(&r->region_locks[i]);
}

uint64_t raid_lock_add(const struct raid *r, struct raid_lock_set *set, sect_t sect, uint64_t nr_sects)
{
	sect_t at = sect;

	while (at < sect + nr_sects) {
		uint64_t region = at >> r->region_shift;
		unsigned i = (unsigned)(region % RAID_NR_LOCKS);
		uint64_t bit = UINT64_C(1) << i % 64;

		if (!(set->bits[i / 64] & bit)) {
			if (set->nr == RAID_LOCKS_AT_ONCE)
				break;
			set->bits[i / 64] |= bit;
			set->nr++;
		}
		at = (region + 1) << r->region_shift;
	}
	return MIN(at, sect + nr_sects) - sect;
}

void raid_lock(struct raid *r, struct raid_lock_set *set, bool exclusive)
{
	for (unsigned w = 0; w < ARRAY_LEN(set->bits); w++)
		for (uint64_t bits = set->bits[w]; bits; bits &= bits - 1) {
			unsigned i = w * 64 + (unsigned)__builtin_ctzll(bits);

			if (exclusive)
				os_rwlock_wrlock_key(&r->region_locks[i], i);
			else
				os_rwlock_rdlock_key(&r->region_locks[i], i);
		}
}

void raid_unlock(struct raid *r, struct raid_lock_set *set)
{
	for (unsigned w = 0; w < ARRAY_LEN(set->bits); w++)
		for (uint64_t bits = set->bits[w]; bits; bits &= bits - 1)
			os_rwlock_unlock(&r->region_locks[w * 64 + (unsigned)__builtin_ctzll(bits)]);
	*set = (struct raid_lock_set){ 0 };
}
