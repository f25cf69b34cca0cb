/*
 * fs_ialloc_group.c: inode numbers in one group.
 *
 *   IA1  Inodes from inodes_per_group - itable_unused on were never used. Where the table behind
 *        was not zeroed by mkfs (no EXT_BG_INODE_ZEROED), a block of it is made zero in the
 *        cache, not read, when its first inode is taken.
 */
#include "fs/fs_bits.h"
#include "fs/fs_ialloc.h"

/* IA1. bit is the inode's place in the group, behind all that were ever used. */
static int first_use(struct jnl_handle *h, struct fs *fs, struct fs_group *g, uint32_t bit)
{
	const uint32_t per_block = fs->block_bytes / fs->inode_bytes;
	const uint32_t nr_used = fs->inodes_per_group - g->itable_unused;
	const uint32_t from = DIV_UP(nr_used, per_block), to = bit / per_block;

	g->itable_unused = fs->inodes_per_group - (bit + 1);
	if (g->flags & EXT_BG_INODE_ZEROED)
		return 0;
	for (uint32_t i = from; i <= to; i++) {
		CLEANUP_BUF struct cache_buf *b = NULL;
		int err = cache_get_new(fs->cache, g->inode_table + i, NULL, &b);

		if (!err)
			err = jnl_get_create(h, b);
		if (err)
			return err;
		jnl_dirty(h, b);
	}
	return 0;
}

static int take_locked(struct jnl_handle *h, struct fs *fs, struct fs_group *g, bool is_dir, uint32_t *bit)
{
	CLEANUP_BUF struct cache_buf *map = NULL;
	const uint32_t from = MAX(g->inode_hint, g->nr == 0 ? fs->first_ino - 1 : 0);
	int err = fs_group_inode_bitmap(fs, g, &map);

	if (err)
		return err;
	*bit = fs_bits_next_zero(map->data, from, fs->inodes_per_group);
	if (*bit >= fs->inodes_per_group)
		return -ENOSPC;
	err = jnl_get_write(h, map);
	if (!err && fs_has_group_csum(fs) && *bit >= fs->inodes_per_group - g->itable_unused)
		err = first_use(h, fs, g, *bit);
	if (err)
		return err;
	fs_bits_set(map->data, *bit, *bit + 1);
	g->inode_hint = *bit + 1;
	atomic_fetch_sub(&g->free_inodes, 1);
	atomic_fetch_sub(&fs->free_inodes, 1);
	if (is_dir)
		atomic_fetch_add(&g->used_dirs, 1);
	return fs_group_inode_bitmap_dirty(h, fs, g, map);
}

int fs_ialloc_take(struct jnl_handle *h, struct fs *fs, struct fs_group *g, bool is_dir, ino_nr_t *ino)
{
	uint32_t bit = 0;
	int err;

	os_mutex_lock_key(&g->lock, g->nr);
	err = take_locked(h, fs, g, is_dir, &bit);
	os_mutex_unlock(&g->lock);
	*ino = g->nr * fs->inodes_per_group + bit + 1;
	return err;
}

int fs_ialloc_give_back(struct jnl_handle *h, struct fs *fs, ino_nr_t ino, bool is_dir)
{
	struct fs_group *g = fs_group_of_inode(fs, ino);
	const uint32_t bit = (ino - 1) % fs->inodes_per_group;
	CLEANUP_BUF struct cache_buf *map = NULL;
	int err;

	os_mutex_lock_key(&g->lock, g->nr);
	err = fs_group_inode_bitmap(fs, g, &map);
	if (!err && !fs_bits_test(map->data, bit)) {
		log_error("%s: inode %" PRIu32 " is freed, but free already in its bitmap", blk_name(fs->dev), ino);
		err = fs_damaged(fs, ino, g->inode_bitmap, -EUCLEAN);
	}
	if (!err)
		err = jnl_get_write(h, map);
	if (!err) {
		fs_bits_clear(map->data, bit, bit + 1);
		g->inode_hint = MIN(g->inode_hint, bit);
		atomic_fetch_add(&g->free_inodes, 1);
		atomic_fetch_add(&fs->free_inodes, 1);
		if (is_dir)
			atomic_fetch_sub(&g->used_dirs, 1);
		err = fs_group_inode_bitmap_dirty(h, fs, g, map);
	}
	os_mutex_unlock(&g->lock);
	return err;
}

int fs_ialloc_clear(struct jnl_handle *h, struct fs_inode *inode)
{
	CLEANUP_BUF struct cache_buf *b = NULL;
	struct ext_disk_inode *raw;
	int err = fs_inode_get_raw(inode, &b, &raw);

	if (!err)
		err = jnl_get_write(h, b);
	if (err)
		return err;
	memset(raw, 0, inode->fs->inode_bytes);
	jnl_dirty(h, b);
	return 0;
}
