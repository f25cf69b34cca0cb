/*
 * fs_group.c: group descriptors in memory and on disk, and the bitmap blocks.
 *
 *   GR1  A descriptor is read and checked once, at the mount; from then on memory is right and
 *        fs_group_store() writes all of it.
 *   GR2  The counts of a group equal its bitmaps once these have been seen; a difference found at
 *        first sight is told (unless a crash explains it) and the bitmap believed.
 *   GR3  A bitmap that cannot be read, does not fit its checksum, or calls fixed metadata free, is never used.
 */
#include <stdlib.h>

#include "fs/fs_bits.h"
#include "fs/fs_int.h"

bool fs_group_has_super(const struct fs *fs, uint32_t group)
{
	return ext_group_has_super(&fs->super, group);
}

pblk_t fs_group_desc_block(const struct fs *fs, uint32_t group, uint32_t *off_bytes)
{
	return ext_group_desc_block(&fs->super, group, off_bytes);
}

/* Load and check ---------------------------------------------------------------------- */

static void group_from_disk(const struct fs *fs, struct fs_group *g, const struct ext_disk_group *d)
{
	const struct ext_group e = ext_group_decode(&fs->super, d, fs->desc_bytes);

	g->block_bitmap = e.block_bitmap;
	g->inode_bitmap = e.inode_bitmap;
	g->inode_table = e.inode_table;
	g->free_blocks = e.free_blocks;
	g->free_inodes = e.free_inodes;
	g->used_dirs = e.used_dirs;
	g->block_bitmap_csum = e.block_bitmap_csum;
	g->inode_bitmap_csum = e.inode_bitmap_csum;
	g->itable_unused = e.itable_unused;
	g->flags = e.flags;
}

static int group_bad(const struct fs *fs, const struct fs_group *g, const char *what, uint64_t value)
{
	log_error("%s: descriptor of group %" PRIu32 ": %s (%" PRIu64 ")", blk_name(fs->dev), g->nr, what, value);
	return -EUCLEAN;
}

/* Without flex_bg a group's metadata lies in the group itself. The superblock's block is nobody else's. */
static bool place_ok(const struct fs *fs, const struct fs_group *g, pblk_t pblk, uint32_t nr)
{
	const bool anywhere = fs_has_incompat(fs, EXT_INCOMPAT_FLEX_BG);
	const pblk_t first = anywhere ? fs->first_data_block : fs_group_first_block(fs, g->nr);
	const pblk_t end = anywhere ? fs->nr_blocks : first + g->nr_blocks;

	return pblk >= first && pblk > fs->first_data_block && pblk < end && nr <= end - pblk;
}

static int group_check(const struct fs *fs, const struct fs_group *g)
{
	if (!place_ok(fs, g, g->block_bitmap, 1))
		return group_bad(fs, g, "the block bitmap lies outside", g->block_bitmap);
	if (!place_ok(fs, g, g->inode_bitmap, 1))
		return group_bad(fs, g, "the inode bitmap lies outside", g->inode_bitmap);
	if (!place_ok(fs, g, g->inode_table, fs->itable_blocks))
		return group_bad(fs, g, "the inode table lies outside", g->inode_table);
	if (g->free_blocks > g->nr_blocks)
		return group_bad(fs, g, "more free blocks than it has", g->free_blocks);
	if (g->free_inodes > fs->inodes_per_group)
		return group_bad(fs, g, "more free inodes than it has", g->free_inodes);
	if (g->used_dirs > fs->inodes_per_group - g->free_inodes)
		return group_bad(fs, g, "more directories than used inodes", g->used_dirs);
	if (g->itable_unused > g->free_inodes)
		return group_bad(fs, g, "more never used inodes than free ones", g->itable_unused);
	return 0;
}

static void group_init(const struct fs *fs, struct fs_group *g, uint32_t nr)
{
	os_mutex_init(&g->lock, RANK_GROUP);
	list_init(&g->reservations);
	g->nr = nr;
	g->nr_blocks = (uint32_t)MIN((uint64_t)fs->blocks_per_group, fs->nr_blocks - fs_group_first_block(fs, nr));
	g->longest_run = g->nr_blocks;
}

static int group_load(struct fs *fs, struct fs_group *g)
{
	CLEANUP_BUF struct cache_buf *b = NULL;
	const struct ext_disk_group *d;
	uint32_t off;
	uint16_t want;
	int err = cache_get(fs->cache, fs_group_desc_block(fs, g->nr, &off), NULL, NULL, &b);

	if (err)
		return err;
	d = (const void *)((const uint8_t *)b->data + off);
	want = ext_group_csum(&fs->super, fs->csum_seed, g->nr, d, fs->desc_bytes);
	if (fs_has_group_csum(fs) && want != le16_get(d->bg_checksum)) {
		log_error("%s: descriptor of group %" PRIu32 " (block %" PRIu64 "): checksum %#x, should be %#x",
			  blk_name(fs->dev), g->nr, b->pblk, le16_get(d->bg_checksum), want);
		return -EUCLEAN;
	}
	group_from_disk(fs, g, d);
	err = group_check(fs, g);
	if (err)
		return err;
	atomic_fetch_add(&fs->free_blocks, g->free_blocks);
	atomic_fetch_add(&fs->free_inodes, g->free_inodes);
	return 0;
}

int fs_groups_load(struct fs *fs)
{
	const uint32_t nr_desc_blocks = DIV_UP(fs->nr_groups, fs->block_bytes / fs->desc_bytes);
	uint32_t off;

	fs->groups = calloc(fs->nr_groups, sizeof(*fs->groups));
	if (!fs->groups)
		return -ENOMEM;
	if (!fs_has_incompat(fs, EXT_INCOMPAT_META_BG))
		cache_readahead(fs->cache, fs_group_desc_block(fs, 0, &off), nr_desc_blocks);
	/* One by one: a superblock may claim many more than it has descriptors for. */
	for (uint32_t i = 0; i < fs->nr_groups; i++) {
		int err;

		group_init(fs, &fs->groups[i], i);
		err = group_load(fs, &fs->groups[i]);
		if (err) {
			fs->nr_groups = i + 1;	/* the others are not there for those who tidy up either */
			return err;
		}
		/* As the kernel counts it: what the fixed metadata takes, copies and reserved descriptors included. */
		fs->overhead_blocks += fs_group_has_super(fs, i) + fs_group_nr_desc_blocks(fs, i) + fs->itable_blocks + 2;
	}
	return fs_zones_load(fs);
}

void fs_groups_free(struct fs *fs)
{
	for (uint32_t i = 0; fs->groups && i < fs->nr_groups; i++)
		os_mutex_fini(&fs->groups[i].lock);
	free(fs->groups);
	free(fs->zones);
	fs->groups = NULL;
	fs->zones = NULL;
	fs->nr_zones = 0;
	fs->free_blocks = fs->free_inodes = 0;
}

/* Store ---------------------------------------------------------------------------------- */

static void group_to_disk(const struct fs *fs, const struct fs_group *g, struct ext_disk_group *d)
{
	const bool hi = fs->desc_bytes >= EXT_DESC_BYTES_64;

#define LO_HI(field, value)								\
	do {										\
		d->field##_lo = le16_of((uint16_t)(value));				\
		if (hi)									\
			d->field##_hi = le16_of((uint16_t)((value) >> 16));		\
	} while (0)
	LO_HI(bg_free_blocks_count, g->free_blocks);
	LO_HI(bg_free_inodes_count, g->free_inodes);
	LO_HI(bg_used_dirs_count, g->used_dirs);
	if (fs_has_group_csum(fs)) {
		LO_HI(bg_itable_unused, g->itable_unused);
		d->bg_flags = le16_of(g->flags);
	}
	if (fs_has_csum(fs)) {
		LO_HI(bg_block_bitmap_csum, g->block_bitmap_csum);
		LO_HI(bg_inode_bitmap_csum, g->inode_bitmap_csum);
	}
#undef LO_HI
	d->bg_checksum = le16_of(ext_group_csum(&fs->super, fs->csum_seed, g->nr, d, fs->desc_bytes));
}

int fs_group_store(struct jnl_handle *h, struct fs *fs, struct fs_group *g)
{
	CLEANUP_BUF struct cache_buf *b = NULL;
	uint32_t off;
	int err;

	assert_held(&g->lock);
	err = cache_get(fs->cache, fs_group_desc_block(fs, g->nr, &off), NULL, NULL, &b);
	if (!err)
		err = jnl_get_write(h, b);
	if (err)
		return err;
	group_to_disk(fs, g, (void *)((uint8_t *)b->data + off));
	jnl_dirty(h, b);
	return 0;
}

/* Bitmap blocks ------------------------------------------------------------------------------ */

static uint32_t bitmap_csum(const struct fs *fs, const void *map, uint32_t nr_bits)
{
	return ext_bitmap_csum(fs->csum_seed, map, nr_bits, fs->desc_bytes);
}

static int bitmap_csum_check(const struct fs *fs, const struct fs_group *g, const struct cache_buf *b,
			     uint32_t nr_bits, uint32_t want, const char *what)
{
	const uint32_t csum = fs_has_csum(fs) ? bitmap_csum(fs, b->data, nr_bits) : want;

	if (csum == want)
		return 0;
	log_error("%s: %s bitmap of group %" PRIu32 " (block %" PRIu64 "): checksum %#" PRIx32 ", should be %#" PRIx32,
		  blk_name(fs->dev), what, g->nr, b->pblk, csum, want);
	return -EUCLEAN;
}

struct zone_arg {
	uint8_t *map;
	pblk_t first;		/* block of bit 0 */
	pblk_t hole;		/* out: a block of a zone whose bit is clear; 0 none */
};

static void zone_set(void *arg, pblk_t pblk, uint64_t nr)
{
	struct zone_arg *z = arg;
	const uint32_t from = (uint32_t)(pblk - z->first);

	fs_bits_set(z->map, from, from + (uint32_t)nr);
}

static void zone_test(void *arg, pblk_t pblk, uint64_t nr)
{
	struct zone_arg *z = arg;
	const uint32_t from = (uint32_t)(pblk - z->first), to = from + (uint32_t)nr;
	const uint32_t bit = fs_bits_next_zero(z->map, from, to);

	if (bit < to)
		z->hole = z->first + bit;
}

static int block_bitmap_check(void *owner, const struct cache_buf *b, const void *arg)
{
	const struct fs *fs = owner;
	const struct fs_group *g = arg;
	struct zone_arg z = { .map = b->data, .first = fs_group_first_block(fs, g->nr) };
	const int err = bitmap_csum_check(fs, g, b, fs->blocks_per_group, g->block_bitmap_csum, "block");

	if (err)
		return err;
	fs_zones_in(fs, z.first, g->nr_blocks, zone_test, &z);
	if (!z.hole)
		return 0;
	log_error("%s: block bitmap of group %" PRIu32 " (block %" PRIu64 ") calls block %" PRIu64
		  " free, which holds metadata", blk_name(fs->dev), g->nr, b->pblk, z.hole);
	return -EUCLEAN;
}

static int inode_bitmap_check(void *owner, const struct cache_buf *b, const void *arg)
{
	const struct fs *fs = owner;
	const struct fs_group *g = arg;
	const uint32_t nr_reserved = g->nr == 0 ? fs->first_ino - 1 : 0;
	const int err = bitmap_csum_check(fs, g, b, fs->inodes_per_group, g->inode_bitmap_csum, "inode");

	if (err)
		return err;
	if (fs_bits_next_zero(b->data, 0, nr_reserved) == nr_reserved)
		return 0;
	log_error("%s: inode bitmap of group %" PRIu32 " (block %" PRIu64 ") calls a reserved inode free",
		  blk_name(fs->dev), g->nr, b->pblk);
	return -EUCLEAN;
}

static const struct cache_kind kind_block_bitmap = { "block bitmap", block_bitmap_check };
static const struct cache_kind kind_inode_bitmap = { "inode bitmap", inode_bitmap_check };

/* GR2: what the bitmap says of a count, when it is first seen. */
static void believe_bitmap(struct fs *fs, const struct fs_group *g, pblk_t pblk, atomic_uint *count, uint32_t found,
			   atomic_uint_fast64_t *sum, const char *what)
{
	const uint32_t told = *count;

	if (told == found)
		return;
	if (fs->was_clean) {
		log_error("%s: descriptor of group %" PRIu32 " counts %" PRIu32 " free %s, the bitmap has %" PRIu32,
			  blk_name(fs->dev), g->nr, told, what, found);
		fs_damaged(fs, 0, pblk, -EUCLEAN);
	}
	*count = found;
	atomic_fetch_add(sum, (uint64_t)found - told);
}

/* An EXT_BG_BLOCK_UNINIT bitmap is made, not read: fixed metadata and what lies behind the end is in use. */
static int block_bitmap_make(struct fs *fs, struct fs_group *g, struct cache_buf **out)
{
	struct zone_arg z = { .first = fs_group_first_block(fs, g->nr) };
	const int err = cache_get_new(fs->cache, g->block_bitmap, &kind_block_bitmap, out);

	if (err)
		return err;
	z.map = (*out)->data;
	fs_zones_in(fs, z.first, g->nr_blocks, zone_set, &z);
	fs_bits_set(z.map, g->nr_blocks, fs->block_bytes * 8);
	return 0;
}

static int inode_bitmap_make(struct fs *fs, struct fs_group *g, struct cache_buf **out)
{
	const int err = cache_get_new(fs->cache, g->inode_bitmap, &kind_inode_bitmap, out);

	if (err)
		return err;
	fs_bits_set((*out)->data, fs->inodes_per_group, fs->block_bytes * 8);
	return 0;
}

/* GR3: after -EUCLEAN, which was told, or -EIO the group is left alone; other errors are the request's own. */
static int bitmap_failed(struct fs *fs, struct fs_group *g, pblk_t pblk, unsigned bad, const char *what, int err)
{
	if (err != -EUCLEAN && err != -EIO)
		return err;
	if (err == -EIO)
		log_error("%s: %s bitmap of group %" PRIu32 " (block %" PRIu64 ") cannot be read: nothing is taken from "
			  "the group", blk_name(fs->dev), what, g->nr, pblk);
	g->checked |= bad;
	fs_damaged(fs, 0, pblk, err);
	return -EUCLEAN;
}

int fs_group_block_bitmap(struct fs *fs, struct fs_group *g, struct cache_buf **out)
{
	int err;

	assert_held(&g->lock);
	*out = NULL;
	if (g->checked & FS_GROUP_BLOCKS_BAD)
		return -EUCLEAN;
	if (g->flags & EXT_BG_BLOCK_UNINIT)
		err = block_bitmap_make(fs, g, out);
	else
		err = cache_get(fs->cache, g->block_bitmap, &kind_block_bitmap, g, out);
	if (err)
		return bitmap_failed(fs, g, g->block_bitmap, FS_GROUP_BLOCKS_BAD, "block", err);
	if (!(g->checked & FS_GROUP_BLOCKS_SEEN)) {
		g->checked |= FS_GROUP_BLOCKS_SEEN;
		believe_bitmap(fs, g, g->block_bitmap, &g->free_blocks,
			       fs_bits_count_zero((*out)->data, 0, g->nr_blocks), &fs->free_blocks, "blocks");
	}
	return 0;
}

int fs_group_inode_bitmap(struct fs *fs, struct fs_group *g, struct cache_buf **out)
{
	int err;

	assert_held(&g->lock);
	*out = NULL;
	if (g->checked & FS_GROUP_INODES_BAD)
		return -EUCLEAN;
	if (g->flags & EXT_BG_INODE_UNINIT)
		err = inode_bitmap_make(fs, g, out);
	else
		err = cache_get(fs->cache, g->inode_bitmap, &kind_inode_bitmap, g, out);
	if (err)
		return bitmap_failed(fs, g, g->inode_bitmap, FS_GROUP_INODES_BAD, "inode", err);
	if (!(g->checked & FS_GROUP_INODES_SEEN)) {
		g->checked |= FS_GROUP_INODES_SEEN;
		believe_bitmap(fs, g, g->inode_bitmap, &g->free_inodes,
			       fs_bits_count_zero((*out)->data, 0, fs->inodes_per_group), &fs->free_inodes,
			       "inodes");
	}
	return 0;
}

int fs_group_block_bitmap_dirty(struct jnl_handle *h, struct fs *fs, struct fs_group *g, struct cache_buf *b)
{
	g->flags &= (uint16_t)~EXT_BG_BLOCK_UNINIT;
	if (fs_has_csum(fs))
		g->block_bitmap_csum = bitmap_csum(fs, b->data, fs->blocks_per_group);
	jnl_dirty(h, b);
	return fs_group_store(h, fs, g);
}

int fs_group_inode_bitmap_dirty(struct jnl_handle *h, struct fs *fs, struct fs_group *g, struct cache_buf *b)
{
	g->flags &= (uint16_t)~EXT_BG_INODE_UNINIT;
	if (fs_has_csum(fs))
		g->inode_bitmap_csum = bitmap_csum(fs, b->data, fs->inodes_per_group);
	jnl_dirty(h, b);
	return fs_group_store(h, fs, g);
}
