/*
 * fsck_group.c: group descriptors: read, with the help of their copies; where fixed metadata
 * lies; and the bits of blocks.
 */
#include <stdlib.h>

#include "base/log.h"
#include "fsck_int.h"

/* Placement ---------------------------------------------------------------------------------- */

/* NULL, or the field that cannot be. */
static const char *desc_fault(const struct fsck *f, const struct ext_disk_group *d, uint32_t g, uint64_t *value,
			      unsigned *lost)
{
	const bool wide = f->desc_bytes >= EXT_DESC_BYTES_64, anywhere = has_incompat(f, EXT_INCOMPAT_FLEX_BG);
	const pblk_t first = (anywhere ? f->first_data_block : group_first(f, g)) + (g == 0 || anywhere);
	const pblk_t end = anywhere ? f->nr_blocks : group_first(f, g) + group_nr_blocks(f, g);
	const struct {
		const char *name;
		le32 lo, hi;
		uint32_t nr;
		unsigned lost;
	} places[] = {
		{ "bg_inode_table", d->bg_inode_table_lo, d->bg_inode_table_hi, f->itable_blocks, 0 },
		{ "bg_block_bitmap", d->bg_block_bitmap_lo, d->bg_block_bitmap_hi, 1, FSCK_LOST_BLOCK_BITMAP },
		{ "bg_inode_bitmap", d->bg_inode_bitmap_lo, d->bg_inode_bitmap_hi, 1, FSCK_LOST_INODE_BITMAP },
	};
	const char *fault = NULL;

	*lost = 0;
	for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
		const pblk_t at = le32_get(places[i].lo) | (wide ? (uint64_t)le32_get(places[i].hi) << 32 : 0);

		if (at >= first && at < end && places[i].nr <= end - at)
			continue;
		*value = at;
		*lost |= places[i].lost;
		fault = fault && !*lost ? fault : places[i].name;
		if (!places[i].lost)
			return fault;		/* without the table nothing else matters */
	}
	return fault;
}

static bool desc_csum_ok(const struct fsck *f, const struct ext_disk_group *d, uint32_t g)
{
	return !has_group_csum(f) ||
	       ext_group_csum(&f->sb, f->csum_seed, g, d, f->desc_bytes) == le16_get(d->bg_checksum);
}

/* The n-th copy of the block with a group's descriptor; 0: there are no more. */
static pblk_t desc_copy(const struct fsck *f, uint32_t g, unsigned n, uint32_t *off)
{
	const uint32_t per_block = f->block_bytes / f->desc_bytes, nr = g / per_block;
	uint32_t leader = nr * per_block;

	ext_group_desc_block(&f->sb, g, off);
	if (has_incompat(f, EXT_INCOMPAT_META_BG) && nr >= le32_get(f->sb.s_first_meta_bg)) {
		leader += n == 0 ? 1 : per_block - 1;
		return n < 2 && leader < f->nr_groups ? group_first(f, leader) + ext_group_has_super(&f->sb, leader) : 0;
	}
	for (uint32_t i = 1; i < f->nr_groups; i++)
		if (ext_group_has_super(&f->sb, i) && n-- == 0)
			return group_first(f, i) + 1 + nr;
	return 0;
}

/* A whole copy of the descriptor: it replaces ours. Its flags and counts are of long ago. */
static bool desc_from_copy(struct fsck *f, uint32_t g, void *block)
{
	struct ext_disk_group *mine = group_desc(f, g);
	uint64_t value;
	unsigned lost;
	uint32_t off;
	pblk_t at;

	for (unsigned n = 0; (at = desc_copy(f, g, n, &off)); n++) {
		struct ext_disk_group *d = (struct ext_disk_group *)((uint8_t *)block + off);

		if (at >= f->nr_blocks || fsck_block_read(f, at, block) || !desc_csum_ok(f, d, g) ||
		    desc_fault(f, d, g, &value, &lost))
			continue;
		memcpy(mine, d, f->desc_bytes);
		return true;
	}
	return false;
}

/* Nothing of what the descriptor says of its tables is believed: they are looked at whole. */
static void forget_flags(struct fsck *f, uint32_t g)
{
	if (!has_group_csum(f))
		return;
	group_set_flags(f, g, (uint16_t)(group_flags(f, g) & EXT_BG_INODE_ZEROED));
	GROUP_SET(f, g, bg_itable_unused, 16, 0);
}

/* The first group always has inodes in use; without checksums of descriptors there are no flags. */
static int flags_check(struct fsck *f, uint32_t g)
{
	const struct ext_disk_group *d = group_desc(f, g);
	const uint16_t uninit = EXT_BG_INODE_UNINIT | EXT_BG_BLOCK_UNINIT;

	if (!has_group_csum(f) && ((le16_get(d->bg_flags) & uninit) || GROUP_FIELD(f, g, bg_itable_unused, 16)) &&
	    fsck_fix(&f->main, P0_GD_FLAGS, .group = g)) {
		group_set_flags(f, g, (uint16_t)(le16_get(d->bg_flags) & ~uninit));
		GROUP_SET(f, g, bg_itable_unused, 16, 0);
	}
	if (g > 0 || group_nr_used_inodes(f, g) >= f->first_ino - 1)
		return 0;
	fsck_fix(&f->main, P0_GD_FLAGS, .group = g);
	forget_flags(f, g);
	return 0;
}

/* The table by its contents, when that is somewhere else than the descriptor says. */
static bool table_was_found(struct fsck *f, uint32_t g)
{
	const pblk_t was = group_inode_table(f, g), found = g == 0 ? fsck_search_itable(f) : 0;

	if (!found || found == was || (!fsck_fix(&f->main, P0_GD_FOUND, .group = g, .num = was, .pblk = found) &&
				       f->opts.mode != FSCK_NO))
		return false;
	GROUP_SET(f, g, bg_inode_table, 32, found);
	return true;
}

static int desc_check(struct fsck *f, uint32_t g, void *block)
{
	const bool csum_ok = desc_csum_ok(f, group_desc(f, g), g);
	struct ext_disk_group was;
	uint64_t value = 0;
	unsigned lost;
	bool flags = true;	/* are no longer believed */
	const char *fault = desc_fault(f, group_desc(f, g), g, &value, &lost);

	if (csum_ok && !fault)
		return flags_check(f, g);
	memcpy(&was, group_desc(f, g), f->desc_bytes < sizeof(was) ? f->desc_bytes : sizeof(was));
	if (desc_from_copy(f, g, block)) {
		const bool moved = group_inode_table(f, g) != (le32_get(was.bg_inode_table_lo) |
			(f->desc_bytes >= EXT_DESC_BYTES_64 ? (uint64_t)le32_get(was.bg_inode_table_hi) << 32 : 0));

		if (fault || moved)
			fsck_fix(&f->main, P0_GD_BAD, .group = g, .str = fault ? fault : "bg_inode_table", .num = value);
		else if (!fsck_fix(&f->main, P0_GD_CSUM, .group = g) && f->opts.mode == FSCK_NO)
			flags = false;
		if (!fault && !moved)
			memcpy(group_desc(f, g), &was, f->desc_bytes < sizeof(was) ? f->desc_bytes : sizeof(was));
		if (flags)
			forget_flags(f, g);
		f->gd_dirty = true;
		return flags_check(f, g);
	}
	if (!csum_ok)
		fsck_fix(&f->main, P0_GD_CSUM, .group = g);
	forget_flags(f, g);
	f->gd_dirty = true;
	if (!fault)
		return 0;
	f->group_lost[g] = (uint8_t)lost;
	if (lost) {
		fsck_fix(&f->main, P0_GD_MOVE, .group = g, .str = fault, .pblk = value);
		return 0;
	}
	if (table_was_found(f, g)) {
		desc_fault(f, group_desc(f, g), g, &value, &lost);
		f->group_lost[g] = (uint8_t)lost;
		return 0;
	}
	log_error("%s: the inode table of group %" PRIu32 " cannot be found: %s is %" PRIu64 ", and no copy of the "
		  "descriptor is whole", blk_name(f->dev), g, fault, value);
	return -EUCLEAN;
}

static int desc_read(struct fsck *f, void *block)
{
	const uint32_t per_block = f->block_bytes / f->desc_bytes;

	for (uint32_t g = 0; g < f->nr_groups; g += per_block) {
		uint32_t off;
		const pblk_t at = ext_group_desc_block(&f->sb, g, &off);
		const size_t len = (size_t)MIN(per_block, f->nr_groups - g) * f->desc_bytes;

		if (at >= f->nr_blocks || fsck_block_read(f, at, block))
			memset(block, 0, f->block_bytes);	/* the copies may have it */
		memcpy(group_desc(f, g), block, len);
	}
	return 0;
}

/* Zones -------------------------------------------------------------------------------------- */

static int zone_compare(const void *a, const void *b)
{
	const struct fsck_zone *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

static void zone_add(struct fsck *f, pblk_t first, uint64_t nr)
{
	f->zones[f->nr_zones++] = (struct fsck_zone){ first, MIN(first + nr, f->nr_blocks) };
}

/* Is a group's own metadata over what is there already? The bits are pass 1's, in use only here. */
static bool zone_is_free(struct fsck *f, pblk_t first, uint64_t nr)
{
	for (uint64_t i = 0; i < nr; i++)
		if (fsck_is_used(f, first + i))
			return false;
	return true;
}

/* The descriptor's copy says something else: it is taken, and all zones are laid out again. */
static bool desc_was_copied(struct fsck *f, uint32_t g)
{
	void *block = malloc(f->block_bytes);
	struct ext_disk_group was = *group_desc(f, g);
	bool differs = false;

	if (block && desc_from_copy(f, g, block)) {
		const struct ext_disk_group *now = group_desc(f, g);

		differs = was.bg_inode_table_lo.raw != now->bg_inode_table_lo.raw ||
			  was.bg_block_bitmap_lo.raw != now->bg_block_bitmap_lo.raw ||
			  was.bg_inode_bitmap_lo.raw != now->bg_inode_bitmap_lo.raw;
		if (differs) {
			fsck_fix(&f->main, P0_GD_OVERLAP, .group = g, .str = "metadata", .pblk = le32_get(was.bg_inode_table_lo));
			forget_flags(f, g);
			f->gd_dirty = true;
		} else {
			memcpy(group_desc(f, g), &was, f->desc_bytes < sizeof(was) ? f->desc_bytes : sizeof(was));
		}
	}
	free(block);
	return differs;
}

static int zone_place(struct fsck *f, uint32_t g, pblk_t first, uint32_t nr, const char *what, unsigned lost)
{
	if (f->group_lost[g] & lost)
		return 0;
	if (!zone_is_free(f, first, nr)) {
		if (desc_was_copied(f, g) || (!lost && table_was_found(f, g)))
			return -EAGAIN;
		if (!lost) {
			log_error("%s: the inode table of group %" PRIu32 " at block %" PRIu64 " lies over other metadata",
				  blk_name(f->dev), g, first);
			return -EUCLEAN;
		}
		fsck_fix(&f->main, P0_GD_OVERLAP, .group = g, .str = what, .pblk = first);
		f->group_lost[g] |= (uint8_t)lost;
		return 0;
	}
	fsck_claim(f, first, nr);
	zone_add(f, first, nr);
	return 0;
}

/* Superblocks, then inode tables, then bitmaps: the first is right when two lie on each other. */
static int zones_lay(struct fsck *f)
{
	const uint64_t words = (f->nr_blocks + 63) / 64 + 1;
	int err = 0;

	free(f->zones);
	free((void *)f->used);
	f->zones = calloc((size_t)f->nr_groups * 4, sizeof(*f->zones));
	f->used = calloc(words, sizeof(*f->used));
	f->nr_zones = 0;
	if (!f->zones || !f->used)
		return -ENOMEM;
	for (uint32_t g = 0; g < f->nr_groups; g++) {
		const uint64_t nr = ext_group_has_super(&f->sb, g) + ext_group_nr_desc_blocks(&f->sb, g);

		if (nr) {
			fsck_claim(f, group_first(f, g), MIN(nr, f->nr_blocks - group_first(f, g)));
			zone_add(f, group_first(f, g), nr);
		}
	}
	for (uint32_t g = 0; !err && g < f->nr_groups; g++)
		err = zone_place(f, g, group_inode_table(f, g), f->itable_blocks, "inode table", 0);
	for (uint32_t g = 0; !err && g < f->nr_groups; g++) {
		err = zone_place(f, g, group_block_bitmap(f, g), 1, "block bitmap", FSCK_LOST_BLOCK_BITMAP);
		if (!err)
			err = zone_place(f, g, group_inode_bitmap(f, g), 1, "inode bitmap", FSCK_LOST_INODE_BITMAP);
	}
	qsort(f->zones, f->nr_zones, sizeof(*f->zones), zone_compare);
	return err;
}

/* Each time, one descriptor more is a copy. */
static int zones_load(struct fsck *f)
{
	int err;

	for (uint32_t i = 0; (err = zones_lay(f)) == -EAGAIN && i <= f->nr_groups; i++)
		;
	return err == -EAGAIN ? -EUCLEAN : err;
}

int fsck_groups_load(struct fsck *f)
{
	void *block = malloc(f->block_bytes);
	int err;

	free(f->desc);
	free(f->group_lost);
	f->desc = calloc(f->nr_groups, f->desc_bytes < sizeof(struct ext_disk_group) ? sizeof(struct ext_disk_group)
										    : f->desc_bytes);
	f->group_lost = calloc(f->nr_groups, 1);
	err = block && f->desc && f->group_lost ? desc_read(f, block) : -ENOMEM;
	for (uint32_t g = 0; !err && !is_stopped(f) && g < f->nr_groups; g++)
		err = desc_check(f, g, block);
	free(block);
	return err ? err : zones_load(f);
}

int fsck_groups_load_again(struct fsck *f)
{
	return zones_load(f);
}

bool fsck_is_fixed(const struct fsck *f, pblk_t pblk, uint64_t nr)
{
	size_t lo = 0, hi = f->nr_zones;

	while (lo < hi) {
		const size_t mid = lo + (hi - lo) / 2;

		if (f->zones[mid].end > pblk)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo < f->nr_zones && f->zones[lo].first < pblk + nr;
}

bool fsck_data_ok(const struct fsck *f, pblk_t pblk, uint64_t nr)
{
	if (pblk < f->first_data_block || pblk >= f->nr_blocks || nr > f->nr_blocks - pblk)
		return false;
	return !fsck_is_fixed(f, pblk, nr);
}

/* Store ---------------------------------------------------------------------------------------- */

void group_set_flags(struct fsck *f, uint32_t g, uint16_t flags)
{
	group_desc(f, g)->bg_flags = le16_of(flags);
	f->gd_dirty = true;
}

uint32_t group_nr_used_inodes(const struct fsck *f, uint32_t g)
{
	uint32_t unused;

	if (!has_group_csum(f))
		return f->inodes_per_group;
	if (group_flags(f, g) & EXT_BG_INODE_UNINIT)
		return 0;
	unused = (uint32_t)GROUP_FIELD(f, g, bg_itable_unused, 16);
	return unused > f->inodes_per_group ? f->inodes_per_group : f->inodes_per_group - unused;
}

void fsck_group_open(struct fsck *f, uint32_t g)
{
	group_set_flags(f, g, (uint16_t)(group_flags(f, g) & ~EXT_BG_INODE_UNINIT));
	GROUP_SET(f, g, bg_itable_unused, 16, 0);
	f->restart = true;
}

static void desc_put(struct fsck *f, pblk_t at, uint32_t g, size_t len, uint8_t *block)
{
	if (at >= f->nr_blocks || fsck_block_read(f, at, block))
		memset(block, 0, f->block_bytes);
	if (!memcmp(block, group_desc(f, g), len))
		return;
	memcpy(block, group_desc(f, g), len);
	fsck_block_write(f, at, block);
}

int fsck_groups_store(struct fsck *f)
{
	const uint32_t per_block = f->block_bytes / f->desc_bytes;
	uint8_t *block = malloc(f->block_bytes);

	if (!block)
		return -ENOMEM;
	for (uint32_t g = 0; g < f->nr_groups; g++) {
		struct ext_disk_group *d = group_desc(f, g);

		d->bg_checksum = le16_of(ext_group_csum(&f->sb, f->csum_seed, g, d, f->desc_bytes));
	}
	for (uint32_t g = 0; g < f->nr_groups; g += per_block) {
		const size_t len = (size_t)MIN(per_block, f->nr_groups - g) * f->desc_bytes;
		uint32_t off;
		pblk_t at;

		desc_put(f, ext_group_desc_block(&f->sb, g, &off), g, len, block);
		for (unsigned n = 0; f->copies_dirty && (at = desc_copy(f, g, n, &off)); n++)
			desc_put(f, at, g, len, block);
	}
	free(block);
	return f->err;
}

/* Bits of blocks --------------------------------------------------------------------------------- */

/* Sets bits [from, to) of map; those that were set already go to fsck.dup. */
static void dup_add(struct fsck *f, uint64_t word, uint64_t bits)
{
	LOCK_GUARD(&f->dup_lock);

	if (!f->dup)
		f->dup = calloc((f->nr_blocks + 63) / 64 + 1, sizeof(*f->dup));
	if (!f->dup) {
		atomic_store(&f->any_err, true);
		return;
	}
	atomic_fetch_or(&f->dup[word], le64_of(bits).raw);
	atomic_store(&f->has_dup, true);
}

static uint64_t bits_of(uint64_t from, uint64_t to)
{
	const uint64_t low = ~0ull << from % 64;

	return to / 64 > from / 64 ? low : low & ((1ull << to % 64) - 1);
}

void fsck_claim(struct fsck *f, pblk_t pblk, uint64_t nr)
{
	uint64_t bit = pblk - f->first_data_block;
	const uint64_t end = bit + nr;

	for (; bit < end; bit = (bit / 64 + 1) * 64) {
		const uint64_t bits = bits_of(bit, end);
		const uint64_t was = atomic_fetch_or_explicit(&f->used[bit / 64], le64_of(bits).raw, memory_order_relaxed);

		if (unlikely(le64_get((le64){ was }) & bits))
			dup_add(f, bit / 64, le64_get((le64){ was }) & bits);
	}
}

void fsck_unclaim(struct fsck *f, pblk_t pblk, uint64_t nr)
{
	const uint64_t first = pblk - f->first_data_block;

	for (uint64_t bit = first; bit < first + nr; bit++)
		atomic_fetch_and(&f->used[bit / 64], ~le64_of(1ull << bit % 64).raw);
}

bool fsck_is_used(const struct fsck *f, pblk_t pblk)
{
	const uint64_t bit = pblk - f->first_data_block;

	return le64_get((le64){ atomic_load_explicit(&f->used[bit / 64], memory_order_relaxed) }) >> bit % 64 & 1;
}

bool fsck_is_dup(const struct fsck *f, pblk_t pblk)
{
	const uint64_t bit = pblk - f->first_data_block;

	return f->dup && le64_get((le64){ atomic_load_explicit(&f->dup[bit / 64], memory_order_relaxed) }) >> bit % 64 & 1;
}
