/*
 * fs_zone.c: where the metadata of fixed place lies, as a sorted list of block runs, so that
 * "is this a data block" is one binary search.
 *
 *   Z1  Zones are sorted, do not overlap and do not touch (touching ones are joined).
 *   Z2  Superblocks with their descriptors (reserved ones too), bitmaps and inode tables of all
 *       groups and the journal's blocks are inside zones, and nothing else is.
 */
#include <stdlib.h>

#include "fs/fs_int.h"
#include "journal/jbd2.h"

uint32_t fs_group_nr_desc_blocks(const struct fs *fs, uint32_t group)
{
	return ext_group_nr_desc_blocks(&fs->super, group);
}

static int zone_compare(const void *a, const void *b)
{
	const struct fs_zone *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

static uint32_t zones_of_group(const struct fs *fs, const struct fs_group *g, struct fs_zone *out)
{
	const uint32_t nr_super = fs_group_has_super(fs, g->nr) + fs_group_nr_desc_blocks(fs, g->nr);
	uint32_t n = 0;

	if (nr_super)
		out[n++] = (struct fs_zone){ fs_group_first_block(fs, g->nr), nr_super };
	out[n++] = (struct fs_zone){ g->block_bitmap, 1 };
	out[n++] = (struct fs_zone){ g->inode_bitmap, 1 };
	out[n++] = (struct fs_zone){ g->inode_table, fs->itable_blocks };
	return n;
}

/* Sorted zones are joined in place (Z1). */
static int zones_join(const struct fs *fs, struct fs_zone *z, uint32_t nr, uint32_t *out_nr)
{
	uint32_t last = 0;

	for (uint32_t i = 1; i < nr; i++) {
		const pblk_t end = z[last].first + z[last].nr;

		if (z[i].first < end) {
			log_error("%s: metadata at block %" PRIu64 " (%" PRIu64 " blocks) lies over other metadata",
				  blk_name(fs->dev), z[i].first, z[i].nr);
			return -EUCLEAN;
		}
		if (z[i].first == end)
			z[last].nr += z[i].nr;
		else
			z[++last] = z[i];
	}
	if (z[last].first + z[last].nr > fs->nr_blocks) {
		log_error("%s: the last group is too short for its metadata", blk_name(fs->dev));
		return -EUCLEAN;
	}
	*out_nr = last + 1;
	return 0;
}

int fs_zones_load(struct fs *fs)
{
	struct fs_zone *z = calloc((size_t)fs->nr_groups * 4 + fs->journal.nr_runs, sizeof(*z)), *shorter;
	uint32_t nr = 0;
	int err;

	if (!z)
		return -ENOMEM;
	for (uint32_t i = 0; i < fs->nr_groups; i++)
		nr += zones_of_group(fs, &fs->groups[i], z + nr);
	for (size_t i = 0; i < fs->journal.nr_runs; i++)
		z[nr++] = (struct fs_zone){ fs->journal.runs[i].pblk, fs->journal.runs[i].nr };
	qsort(z, nr, sizeof(*z), zone_compare);
	err = zones_join(fs, z, nr, &nr);
	if (err) {
		free(z);
		return err;
	}
	shorter = realloc(z, nr * sizeof(*z));
	fs->zones = shorter ? shorter : z;
	fs->nr_zones = nr;
	return 0;
}

/* The first zone that ends behind pblk; nr_zones when there is none. */
static uint32_t zone_find(const struct fs *fs, pblk_t pblk)
{
	uint32_t lo = 0, hi = fs->nr_zones;

	while (lo < hi) {
		const uint32_t mid = lo + (hi - lo) / 2;

		if (fs->zones[mid].first + fs->zones[mid].nr > pblk)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

bool fs_data_blocks_ok(const struct fs *fs, pblk_t pblk, uint64_t nr)
{
	uint32_t z;

	if (pblk < fs->first_data_block || pblk >= fs->nr_blocks || nr > fs->nr_blocks - pblk)
		return false;
	z = zone_find(fs, pblk);
	return z == fs->nr_zones || fs->zones[z].first >= pblk + nr;
}

void fs_zones_in(const struct fs *fs, pblk_t first, uint64_t nr, void (*fn)(void *arg, pblk_t pblk, uint64_t nr),
		 void *arg)
{
	const pblk_t end = first + nr;

	for (uint32_t i = zone_find(fs, first); i < fs->nr_zones && fs->zones[i].first < end; i++) {
		const pblk_t from = MAX(first, fs->zones[i].first);

		fn(arg, from, MIN(end, fs->zones[i].first + fs->zones[i].nr) - from);
	}
}
