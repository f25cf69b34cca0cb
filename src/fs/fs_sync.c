/*
 * fs_sync.c: one file becomes durable: its dirty data to its blocks, then the metadata that
 * leads there and the device's flush, which callers at the same time share.
 */
#include "fs/fs_file.h"

/* A stretch of the device to be written: extents of the file that lie next to each other. */
struct stretch {
	pblk_t first;
	uint64_t nr;
};

enum {
	NR_STRETCHES = 32,
	/* What lies between two extents goes along: one larger request is less work than two. */
	GAP_BLOCKS = 16,
};

static bool stretch_join(struct stretch *s, const struct fs_extent *e)
{
	if (e->pblk < s->first || e->pblk > s->first + s->nr + GAP_BLOCKS)
		return false;
	s->nr = MAX(s->nr, e->pblk + e->nr - s->first);
	return true;
}

/* Collects stretches of [*lblk, end) until the array is full; *lblk moves on. inode->lock held. */
static int collect(struct fs_inode *inode, lblk_t *lblk, lblk_t end, struct stretch *st, unsigned *nr)
{
	*nr = 0;
	if (!inode->map)
		*lblk = end;
	while (*lblk < end) {
		struct fs_extent e;
		const int err = fs_map_find(inode, *lblk, (uint32_t)MIN(end - *lblk, (lblk_t)UINT32_MAX), &e);

		if (err)
			return err;
		if (e.pblk && !(*nr > 0 && stretch_join(&st[*nr - 1], &e))) {
			if (*nr == NR_STRETCHES)
				return 0;
			st[(*nr)++] = (struct stretch){ e.pblk, e.nr };
		}
		*lblk += e.nr;
	}
	return 0;
}

/* Writes the file's dirty bytes [from, to) home; writers go on meanwhile. */
static int flush_data(struct fs_inode *inode, uint64_t from, uint64_t to)
{
	struct fs *fs = inode->fs;
	lblk_t lblk = from >> fs->block_shift;
	const lblk_t end = fs_file_end_lblk(fs, to);
	struct stretch st[NR_STRETCHES];
	unsigned nr;

	while (lblk < end) {
		int err, first_err = 0;

		os_rwlock_rdlock_key(&inode->lock, inode->ino);
		err = collect(inode, &lblk, end, st, &nr);
		os_rwlock_unlock(&inode->lock);
		if (err)
			return err;
		for (unsigned i = 0; i < nr; i++) {
			err = cache_flush_range(fs->cache, st[i].first, st[i].nr);
			first_err = first_err ? first_err : err;
		}
		if (first_err)
			return first_err;
	}
	return 0;
}

/* What was written since the last fsync, which is ours to write out now. Logged data goes with the commit. */
static void take_written(struct fs_inode *inode, uint64_t *from, uint64_t *to)
{
	LOCK_GUARD(&inode->meta);

	if (fs_logs_data(inode->fs))
		inode->dirty_to = inode->dirty_from;
	*from = inode->dirty_from;
	*to = inode->dirty_to;
	inode->dirty_from = inode->dirty_to = 0;
}

/* An access time that is newer than on disk. */
static int store_atime(struct fs_inode *inode)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	int err;

	if (!inode->atime_dirty)
		return 0;
	err = jnl_begin(inode->fs->jnl, FS_CREDITS_INODE, &h);
	if (err)
		return err;
	os_mutex_lock(&inode->meta);
	err = fs_inode_store(&h, inode);
	os_mutex_unlock(&inode->meta);
	return err ? err : jnl_end(&h);
}

/* The transaction with the last change that counts. */
static jnl_tid wanted_tid(struct fs_inode *inode, bool datasync)
{
	LOCK_GUARD(&inode->meta);

	return datasync ? inode->datasync_tid : inode->sync_tid;
}

/* All that was written since the last time. After an error the next call tries again. */
static int write_out(struct fs_inode *inode)
{
	uint64_t from, to;
	int err;

	take_written(inode, &from, &to);
	if (from >= to)
		return 0;
	err = flush_data(inode, from, to);
	if (err)
		fs_file_mark_written(inode, from, to);
	return err;
}

void fs_write_out(struct fs *fs, ino_nr_t ino)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;

	if (jnl_is_aborted(fs->jnl) || fs_is_read_only(fs) || fs_iget(fs, ino, &inode) || write_out(inode))
		return;		/* fsync tries again, and tells */
}

int fs_fsync(struct fs *fs, ino_nr_t ino, bool datasync)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;
	int err;

	if (jnl_is_aborted(fs->jnl))
		return -EROFS;
	if (fs_is_read_only(fs))
		return cache_error(fs->cache);
	err = fs_iget(fs, ino, &inode);
	if (err)
		return err;
	err = write_out(inode);
	if (!err && !datasync)
		err = store_atime(inode);
	return err ? err : jnl_commit_wait(fs->jnl, wanted_tid(inode, datasync));
}
