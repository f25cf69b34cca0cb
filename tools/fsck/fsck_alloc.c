/* fsck_alloc.c: blocks, inodes and directories for repairs. Pass 1 knows what is in use. */
#include <stdlib.h>

#include "fsck_int.h"

/* The block bitmap on disk of the group that is searched. */
struct disk_map {
	uint8_t *bits;		/* NULL: it says nothing */
	uint32_t group;
	bool read;
};

static void disk_map_read(struct fsck *f, struct disk_map *m, uint32_t g)
{
	const bool none = (group_flags(f, g) & EXT_BG_BLOCK_UNINIT) || (f->group_lost[g] & FSCK_LOST_BLOCK_BITMAP);

	if (!m->bits)
		m->bits = malloc(f->block_bytes);
	m->group = g;
	m->read = m->bits && !none && !fsck_block_read(f, group_block_bitmap(f, g), m->bits);
}

/*
 * Free for all that pass 1 knows, and by the bitmap on disk: there may be inodes that pass 1 has not
 * seen, since their group said that they were never used.
 */
static bool is_free(struct fsck *f, struct disk_map *m, pblk_t pblk)
{
	const uint32_t g = (uint32_t)((pblk - f->first_data_block) / f->blocks_per_group);

	if (fsck_is_used(f, pblk))
		return false;
	if (!m)
		return true;
	if (!m->bits || m->group != g)
		disk_map_read(f, m, g);
	return !m->read || !fs_bits_test(m->bits, (uint32_t)((pblk - f->first_data_block) % f->blocks_per_group));
}

static pblk_t search(struct fsck *f, pblk_t at, struct disk_map *m)
{
	const pblk_t first = f->first_data_block, nr = f->nr_blocks - first;

	for (pblk_t i = 0; i < nr; i++, at++) {
		if (at >= f->nr_blocks)
			at = first;
		if (is_free(f, m, at))
			return at;
	}
	return 0;
}

pblk_t fsck_block_alloc(struct fsck *f, pblk_t goal)
{
	struct disk_map m = { 0 };
	pblk_t at = MAX(goal, f->alloc_hint);

	if (at < f->first_data_block || at >= f->nr_blocks)
		at = f->first_data_block;
	at = search(f, at, &m);
	if (!at)		/* the bitmaps may be wrong */
		at = search(f, f->first_data_block, NULL);
	free(m.bits);
	if (at) {
		fsck_claim(f, at, 1);
		f->alloc_hint = at + 1;
	}
	return at;
}

/* A group that had no inodes in use is used from now on: its table's rest may never have been zeroed. */
static void inode_open(struct fsck *f, ino_nr_t ino)
{
	const uint32_t g = (ino - 1) / f->inodes_per_group, at = (ino - 1) % f->inodes_per_group;
	struct ext_disk_inode *zero;

	if (at < group_nr_used_inodes(f, g))
		return;
	zero = calloc(1, f->inode_bytes);
	for (uint32_t i = group_nr_used_inodes(f, g); zero && i <= at; i++) {
		fsck_inode_write(f, g * f->inodes_per_group + i + 1, zero);
		memset(zero, 0, f->inode_bytes);
	}
	free(zero);
	group_set_flags(f, g, (uint16_t)(group_flags(f, g) & ~EXT_BG_INODE_UNINIT));
	GROUP_SET(f, g, bg_itable_unused, 16, f->inodes_per_group - at - 1);
}

ino_nr_t fsck_inode_alloc(struct fsck *f)
{
	for (ino_nr_t ino = f->first_ino; ino <= f->nr_inodes; ino++) {
		if (f->itype[ino] || fsck_is_system_ino(f, ino))
			continue;
		inode_open(f, ino);
		return ino;
	}
	return 0;
}

static void put_dots(const struct fsck *f, uint8_t *block, ino_nr_t ino, ino_nr_t parent)
{
	struct ext_disk_dirent *de;

	fsck_leaf_init(f, block);
	de = (struct ext_disk_dirent *)block;
	de->inode = le32_of(ino);
	de->rec_len = le16_of(12);
	de->name_len = 1;
	de->file_type = dirent_type(f, EXT_FT_DIR);
	de->name[0] = '.';
	de = (struct ext_disk_dirent *)(block + 12);
	memset(de, 0, 12);
	de->inode = le32_of(parent);
	de->rec_len = le16_of((uint16_t)MIN(leaf_bytes(f) - 12, 65535u));
	de->name_len = 2;
	de->file_type = dirent_type(f, EXT_FT_DIR);
	memcpy(de->name, "..", 2);
}

int fsck_dir_make(struct fsck *f, ino_nr_t ino, ino_nr_t parent, uint16_t mode)
{
	struct ext_disk_inode *raw = calloc(1, f->inode_bytes + sizeof(*raw));
	uint8_t *block = calloc(1, f->block_bytes);
	const pblk_t pblk = fsck_block_alloc(f, 0);
	struct fsck_dir *d = raw && block && pblk ? fsck_dir_add(f, ino) : NULL;
	int err = !raw || !block ? -ENOMEM : pblk ? 0 : -ENOSPC;

	if (!err && d) {
		raw->i_mode = le16_of((uint16_t)(S_IFDIR | mode));
		raw->i_links_count = le16_of(2);
		raw->i_atime = raw->i_ctime = raw->i_mtime = le32_of(f->now);
		if (f->inode_bytes > EXT_GOOD_OLD_INODE_BYTES)
			raw->i_extra_isize = le16_of(32);
		inode_set_size(raw, f->block_bytes);
		raw->i_block[0] = le32_of((uint32_t)pblk);
		inode_set_nr_sects(f, raw, f->block_bytes >> SECT_SHIFT);
		fsck_inode_write(f, ino, raw);
		put_dots(f, block, ino, parent);
		fsck_dir_block_seal(f, inode_seed(f, ino, raw), block, DIR_LEAF);
		fsck_block_write(f, pblk, block);
		f->itype[ino] = EXT_FT_DIR | FSCK_FT_BLOCKS;
		f->ilinks[ino] = 2;
		d->dotdot = parent;
		d->seed = inode_seed(f, ino, raw);
		d->nr_blks = 1;
		d->first_blk = f->dblks.nr;
		array_push(f, &f->dblks, (struct fsck_dblk){ pblk, 0 });
	}
	free(raw);
	free(block);
	return err;
}
