/*
 * fsck_pass5.c: bitmaps, counts and flags of the groups and of the superblock against what the
 * passes before have found. Bitmaps are read in batches of groups.
 */
#include <stdlib.h>

#include "fsck_int.h"

enum { BATCH_GROUPS = 64 };

struct summary {
	struct fsck *f;
	uint64_t free_blocks, free_inodes;
	uint8_t *want;			/* one bitmap as it should be */
	uint8_t *blocks, *inodes;	/* on disk, BATCH_GROUPS of each */
	int err[2 * BATCH_GROUPS];
};

/* One kind of bitmap of one group. */
struct map {
	uint32_t g, nr_bits, nr_full;	/* bits that count; those that the checksum is over */
	bool is_inodes, uninit, lost;
	uint8_t *disk;
	int err;
	pblk_t pblk;
	uint32_t csum;			/* in the descriptor */
	uint32_t nr_used;
};

/* What should be --------------------------------------------------------------------------- */

static void want_blocks(struct summary *s, struct map *m)
{
	const struct fsck *f = s->f;
	const uint8_t *bits = (const uint8_t *)f->used + (size_t)m->g * f->blocks_per_group / 8;

	memset(s->want, 0xff, f->block_bytes);
	memcpy(s->want, bits, m->nr_bits / 8);
	if (m->nr_bits % 8)
		s->want[m->nr_bits / 8] = (uint8_t)(bits[m->nr_bits / 8] | 0xff << m->nr_bits % 8);
	m->nr_used = m->nr_bits - fs_bits_count_zero(s->want, 0, m->nr_bits);
}

static void want_inodes(struct summary *s, struct map *m)
{
	const struct fsck *f = s->f;
	const ino_nr_t first = m->g * f->inodes_per_group + 1;

	memset(s->want, 0xff, f->block_bytes);
	memset(s->want, 0, f->inodes_per_group / 8);
	for (uint32_t i = 0; i < f->inodes_per_group; i++)
		if (f->itype[first + i] || first + i < f->first_ino) {
			s->want[i / 8] |= (uint8_t)(1u << i % 8);
			m->nr_used++;
		}
}

/* Only fixed metadata is in use: then a bitmap need not be there. */
static bool only_fixed(const struct fsck *f, uint32_t g, uint32_t nr_used)
{
	const pblk_t first = group_first(f, g), end = first + group_nr_blocks(f, g);
	uint64_t nr = 0;

	for (size_t i = 0; i < f->nr_zones; i++) {
		const pblk_t from = MAX(f->zones[i].first, first), to = MIN(f->zones[i].end, end);

		nr += from < to ? to - from : 0;
	}
	return nr == nr_used;
}

/* Repair ------------------------------------------------------------------------------------- */

static void map_store(struct summary *s, const struct map *m)
{
	struct fsck *f = s->f;
	const uint32_t csum = has_csum(f) ? ext_bitmap_csum(f->csum_seed, s->want, m->nr_full, f->desc_bytes) : 0;

	fsck_block_write(f, m->pblk, s->want);
	if (m->is_inodes)
		GROUP_SET(f, m->g, bg_inode_bitmap_csum, 16, csum);
	else
		GROUP_SET(f, m->g, bg_block_bitmap_csum, 16, csum);
	if (has_group_csum(f))
		group_set_flags(f, m->g, (uint16_t)(group_flags(f, m->g) &
						    ~(m->is_inodes ? EXT_BG_INODE_UNINIT : EXT_BG_BLOCK_UNINIT)));
}

static void count_differences(const struct summary *s, const struct map *m, uint32_t *wrong_free, uint32_t *wrong_used)
{
	*wrong_free = *wrong_used = 0;
	for (uint32_t i = 0; i < DIV_UP(m->nr_bits, 8u); i++) {
		const unsigned mask = i == m->nr_bits / 8 ? (1u << m->nr_bits % 8) - 1 : 0xff;

		*wrong_free += (uint32_t)__builtin_popcount(s->want[i] & ~m->disk[i] & mask);
		*wrong_used += (uint32_t)__builtin_popcount(~s->want[i] & m->disk[i] & mask);
	}
}

static void check_map(struct summary *s, struct map *m)
{
	struct fsck *f = s->f;
	struct worker *w = &f->main;
	uint32_t wrong_free, wrong_used;

	if (m->lost) {
		if (f->opts.mode != FSCK_NO)
			map_store(s, m);	/* agreed to when the descriptor was read */
		return;
	}
	if (m->uninit) {
		if ((m->is_inodes ? m->nr_used > 0 : !only_fixed(f, m->g, m->nr_used)) &&
		    fsck_fix(w, m->is_inodes ? P5_INODE_UNINIT : P5_BLOCK_UNINIT, .group = m->g))
			map_store(s, m);
		return;
	}
	if (m->err) {
		if (fsck_fix(w, P5_READ, .str = m->is_inodes ? "Inode" : "Block", .group = m->g, .pblk = m->pblk))
			map_store(s, m);
		return;
	}
	count_differences(s, m, &wrong_free, &wrong_used);
	if (wrong_free || wrong_used) {
		if (fsck_fix(w, m->is_inodes ? P5_INODE_BITMAP : P5_BLOCK_BITMAP, .group = m->g, .num = wrong_free,
			     .num2 = wrong_used))
			map_store(s, m);
	} else if (memcmp(s->want, m->disk, f->block_bytes)) {
		if (fsck_fix(w, m->is_inodes ? P5_INODE_PADDING : P5_BLOCK_PADDING, .group = m->g))
			map_store(s, m);
	} else if (has_csum(f) && m->csum != ext_bitmap_csum(f->csum_seed, s->want, m->nr_full, f->desc_bytes)) {
		if (fsck_fix(w, m->is_inodes ? P5_INODE_BITMAP_CSUM : P5_BLOCK_BITMAP_CSUM, .group = m->g))
			map_store(s, m);
	}
}

/* Groups ------------------------------------------------------------------------------------------ */

static void check_count(struct summary *s, enum problem pr, uint32_t g, uint64_t told, uint64_t found)
{
	struct fsck *f = s->f;

	if (told == found || !fsck_fix(&f->main, pr, .group = g, .num = told, .num2 = found))
		return;
	switch (pr) {
	case P5_FREE_BLOCKS: GROUP_SET(f, g, bg_free_blocks_count, 16, found); break;
	case P5_FREE_INODES: GROUP_SET(f, g, bg_free_inodes_count, 16, found); break;
	case P5_DIRS: GROUP_SET(f, g, bg_used_dirs_count, 16, found); break;
	default: GROUP_SET(f, g, bg_itable_unused, 16, found); break;
	}
}

static void check_block_map(struct summary *s, uint32_t g, uint32_t at)
{
	struct fsck *f = s->f;
	struct map m = { .g = g, .nr_bits = group_nr_blocks(f, g), .nr_full = f->blocks_per_group,
			 .uninit = group_flags(f, g) & EXT_BG_BLOCK_UNINIT,
			 .lost = f->group_lost[g] & FSCK_LOST_BLOCK_BITMAP, .pblk = group_block_bitmap(f, g),
			 .disk = s->blocks + ((size_t)at << f->block_shift), .err = s->err[at],
			 .csum = (uint32_t)GROUP_FIELD(f, g, bg_block_bitmap_csum, 16) };

	want_blocks(s, &m);
	check_map(s, &m);
	check_count(s, P5_FREE_BLOCKS, g, GROUP_FIELD(f, g, bg_free_blocks_count, 16), m.nr_bits - m.nr_used);
	s->free_blocks += m.nr_bits - m.nr_used;
}

static void check_inode_map(struct summary *s, uint32_t g, uint32_t at)
{
	struct fsck *f = s->f;
	struct map m = { .g = g, .nr_bits = f->inodes_per_group, .nr_full = f->inodes_per_group, .is_inodes = true,
			 .uninit = group_flags(f, g) & EXT_BG_INODE_UNINIT,
			 .lost = f->group_lost[g] & FSCK_LOST_INODE_BITMAP, .pblk = group_inode_bitmap(f, g),
			 .disk = s->inodes + ((size_t)at << f->block_shift), .err = s->err[BATCH_GROUPS + at],
			 .csum = (uint32_t)GROUP_FIELD(f, g, bg_inode_bitmap_csum, 16) };
	const ino_nr_t first = g * f->inodes_per_group + 1;
	uint32_t nr_dirs = 0, last = 0;

	want_inodes(s, &m);
	check_map(s, &m);
	for (uint32_t i = 0; i < f->inodes_per_group; i++) {
		nr_dirs += (f->itype[first + i] & FSCK_FT_MASK) == EXT_FT_DIR;
		if (f->itype[first + i] || first + i < f->first_ino)
			last = i + 1;
	}
	check_count(s, P5_FREE_INODES, g, GROUP_FIELD(f, g, bg_free_inodes_count, 16), f->inodes_per_group - m.nr_used);
	check_count(s, P5_DIRS, g, GROUP_FIELD(f, g, bg_used_dirs_count, 16), nr_dirs);
	if (has_group_csum(f) && GROUP_FIELD(f, g, bg_itable_unused, 16) > f->inodes_per_group - last)
		check_count(s, P5_ITABLE_UNUSED, g, GROUP_FIELD(f, g, bg_itable_unused, 16), f->inodes_per_group - last);
	s->free_inodes += f->inodes_per_group - m.nr_used;
}

static void want_map(struct summary *s, struct fsck_want *wants, uint32_t *nr, pblk_t pblk, bool skip, uint8_t *buf)
{
	if (skip)
		return;
	wants[(*nr)++] = (struct fsck_want){ .pblk = pblk, .buf = buf };
	(void)s;
}

static void read_maps(struct summary *s, uint32_t from, uint32_t nr_groups)
{
	struct fsck *f = s->f;
	struct fsck_want wants[2 * BATCH_GROUPS];
	uint32_t nr = 0;

	memset(s->err, 0, sizeof(s->err));
	for (uint32_t i = 0; i < nr_groups; i++) {
		const uint32_t g = from + i;
		const uint16_t flags = group_flags(f, g);

		want_map(s, wants, &nr, group_block_bitmap(f, g),
			 (flags & EXT_BG_BLOCK_UNINIT) || (f->group_lost[g] & FSCK_LOST_BLOCK_BITMAP),
			 s->blocks + ((size_t)i << f->block_shift));
		want_map(s, wants, &nr, group_inode_bitmap(f, g),
			 (flags & EXT_BG_INODE_UNINIT) || (f->group_lost[g] & FSCK_LOST_INODE_BITMAP),
			 s->inodes + ((size_t)i << f->block_shift));
	}
	fsck_blocks_want(f, wants, nr);
	for (uint32_t i = 0; i < nr; i++) {
		const uint8_t *buf = wants[i].buf;
		const bool is_inodes = buf >= s->inodes && buf < s->inodes + ((size_t)BATCH_GROUPS << f->block_shift);

		if (is_inodes)
			s->err[BATCH_GROUPS + ((buf - s->inodes) >> f->block_shift)] = wants[i].err;
		else
			s->err[(buf - s->blocks) >> f->block_shift] = wants[i].err;
	}
}

/* Bitmaps whose place is lost get a new one; before anything is compared, since that takes blocks. */
static void relocate(struct fsck *f)
{
	for (uint32_t g = 0; g < f->nr_groups && f->opts.mode != FSCK_NO; g++)
		for (unsigned bit = FSCK_LOST_BLOCK_BITMAP; bit <= FSCK_LOST_INODE_BITMAP; bit <<= 1) {
			pblk_t pblk;

			if (!(f->group_lost[g] & bit))
				continue;
			f->alloc_hint = 0;
			pblk = fsck_block_alloc(f, group_first(f, g));
			if (!pblk || (!has_incompat(f, EXT_INCOMPAT_FLEX_BG) && pblk >= group_first(f, g) + group_nr_blocks(f, g))) {
				fsck_failed(f, -ENOSPC);
				return;
			}
			if (bit == FSCK_LOST_BLOCK_BITMAP)
				GROUP_SET(f, g, bg_block_bitmap, 32, pblk);
			else
				GROUP_SET(f, g, bg_inode_bitmap, 32, pblk);
			f->copies_dirty = true;
		}
}

static void check_super(struct summary *s)
{
	struct fsck *f = s->f;
	struct ext_disk_super *sb = &f->sb;
	const uint64_t blocks = ext_super_blocks(sb, sb->s_free_blocks_count_lo, sb->s_free_blocks_count_hi);

	if (blocks != s->free_blocks &&
	    fsck_fix(&f->main, P5_SB_FREE_BLOCKS, .num = blocks, .num2 = s->free_blocks)) {
		sb->s_free_blocks_count_lo = le32_of((uint32_t)s->free_blocks);
		if (has_incompat(f, EXT_INCOMPAT_64BIT))
			sb->s_free_blocks_count_hi = le32_of((uint32_t)(s->free_blocks >> 32));
		f->sb_dirty = true;
	}
	if (le32_get(sb->s_free_inodes_count) != s->free_inodes &&
	    fsck_fix(&f->main, P5_SB_FREE_INODES, .num = le32_get(sb->s_free_inodes_count), .num2 = s->free_inodes)) {
		sb->s_free_inodes_count = le32_of((uint32_t)s->free_inodes);
		f->sb_dirty = true;
	}
}

void fsck_pass5(struct fsck *f)
{
	struct summary s = { .f = f, .want = calloc(1, f->block_bytes),
			     .blocks = malloc((size_t)BATCH_GROUPS << f->block_shift),
			     .inodes = malloc((size_t)BATCH_GROUPS << f->block_shift) };

	fsck_fix(&f->main, P5_PASS, .ino = 0);
	if (!s.want || !s.blocks || !s.inodes)
		fsck_failed(f, -ENOMEM);
	relocate(f);
	for (uint32_t g = 0; g < f->nr_groups && !is_stopped(f); g += BATCH_GROUPS) {
		const uint32_t nr = MIN((uint32_t)BATCH_GROUPS, f->nr_groups - g);

		read_maps(&s, g, nr);
		for (uint32_t i = 0; i < nr && !is_stopped(f); i++) {
			check_block_map(&s, g + i, i);
			check_inode_map(&s, g + i, i);
		}
		fsck_progress(f, 5, g + nr, f->nr_groups);
	}
	fsck_progress_clear(f);
	if (!is_stopped(f))
		check_super(&s);
	f->nr_free_blocks = s.free_blocks;
	f->nr_free_inodes = s.free_inodes;
	free(s.want);
	free(s.blocks);
	free(s.inodes);
}
