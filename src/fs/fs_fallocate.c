/*
 * fs_fallocate.c: space for a file ahead of writing, and holes punched into it.
 *
 * Indirect maps have no unwritten blocks, so what is allocated is zeroed, in the cache. For the
 * same reason space behind the end of a file cannot be kept: e2fsck takes it for a wrong size.
 */
#include <linux/falloc.h>

#include "fs/fs_file.h"
#include "fs/fs_map.h"

/* Bytes that one handle allocates and zeroes at most. */
enum { STEP_BYTES = 1 << 20 };

static int store_and_end(struct jnl_handle *h, struct fs_inode *inode)
{
	const int err = fs_file_store(h, inode, true);

	return err ? err : jnl_end(h);
}

/* Fills what is a hole of the nr blocks from lblk on; *done: how far that went. size: where the file is to end;
 * tail: its last block, zeroed behind its end, or 0. */
static int alloc_step(struct fs_inode *inode, lblk_t lblk, uint32_t nr, uint64_t size, pblk_t tail, uint32_t *done)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	struct fs *fs = inode->fs;
	struct fs_copy zeroes = { .partial = CACHE_FRESH };
	struct fs_extent e;
	bool fresh;
	int err = jnl_begin(fs->jnl, fs_credits_fill(inode, nr) + fs_credits_data(fs, nr) + FS_CREDITS_SIZE, &h);

	if (!err)
		err = fs_map_fill(&h, inode, lblk, nr, &e, &fresh);
	if (err)
		return err;
	*done = e.nr;
	if (fresh) {
		zeroes.len_bytes = (size_t)e.nr << fs->block_shift;
		err = fs_file_copy_in(&h, fs, e.pblk, &zeroes);
		if (err) {
			const int undo_err = fs_map_punch(&h, inode, e.lblk, e.lblk + e.nr);

			err = undo_err ? undo_err : err;
			*done = 0;
		} else {
			fs_file_mark_written(inode, lblk << fs->block_shift, (lblk + e.nr) << fs->block_shift);
		}
	}
	size = MIN(size, (lblk + *done) << fs->block_shift);
	if (size > inode->size_bytes && *done > 0) {
		int size_err = tail ? jnl_order_data(&h, tail, 1) : 0;

		if (!size_err)
			size_err = fs_file_set_size(&h, inode, size);

		err = err ? err : size_err;
	}
	/* Also after an error: what is in memory is what has happened. */
	{
		const int end_err = store_and_end(&h, inode);

		return err ? err : end_err;
	}
}

/* No holes in [from, to); the file ends at size or behind. */
static int allocate(struct fs_inode *inode, uint64_t from, uint64_t to, uint64_t size)
{
	struct fs *fs = inode->fs;
	lblk_t lblk = from >> fs->block_shift;
	const lblk_t end = fs_file_end_lblk(fs, to);
	const lblk_t most = fs_file_step_bytes(fs, STEP_BYTES) >> fs->block_shift;
	unsigned nr_tries = 0;
	pblk_t tail = 0;
	int err = 0;

	if (size > inode->size_bytes)
		err = fs_file_zero_tail(inode, inode->size_bytes, &tail);	/* W1 */
	while (!err && lblk < end) {
		uint32_t done = 0;

		cache_throttle(fs->cache);
		err = alloc_step(inode, lblk, (uint32_t)MIN(end - lblk, most), size, tail, &done);
		lblk += err ? 0 : done;
		if (fs_nospc_retry(fs, err, &nr_tries))
			err = 0;
	}
	return err;
}

/* The bytes [from, to) read as zeroes; whole blocks are freed. */
static int punch(struct fs_inode *inode, uint64_t from, uint64_t to)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	struct fs *fs = inode->fs;
	const uint64_t first = ALIGN_UP(from, fs->block_bytes), last = ALIGN_DOWN(to, fs->block_bytes);
	int err, damage = 0;

	if (first > last) {	/* within one block */
		err = fs_file_zero_part(inode, from, to, NULL);
	} else {
		err = fs_file_zero_part(inode, from, first, NULL);
		if (!err)
			err = fs_file_zero_part(inode, last, to, NULL);
	}
	if (!err)
		err = jnl_begin(fs->jnl, fs_credits_punch(inode), &h);
	if (err)
		return err;
	if (first < last)
		err = fs_map_punch(&h, inode, first >> fs->block_shift, last >> fs->block_shift);
	if (err == -EUCLEAN) {
		damage = err;
		err = 0;
	}
	if (!err)
		err = store_and_end(&h, inode);
	return err ? err : damage;
}

static int punch_hole(struct fs_inode *inode, uint64_t from, uint64_t to)
{
	uint64_t size = inode->size_bytes;

	if (from >= size)
		return 0;
	/* In the last block everything up to its end goes: nothing is behind the size (W1). */
	return punch(inode, from, to >= size ? ALIGN_UP(size, inode->fs->block_bytes) : to);
}

static int zero_range(struct fs_inode *inode, uint64_t from, uint64_t to, bool keep_size)
{
	const uint64_t end = keep_size ? MIN(to, inode->size_bytes) : to;
	int err = punch_hole(inode, from, to);

	if (!err && from < end)
		err = allocate(inode, from, end, keep_size ? 0 : to);
	return err;
}

static int fallocate_locked(struct fs_inode *inode, int mode, uint64_t from, uint64_t to)
{
	const bool keep_size = mode & FALLOC_FL_KEEP_SIZE;
	int err = fs_file_may_change(inode);

	if (err)
		return err;
	if (inode->flags & EXT_FL_APPEND && mode & ~FALLOC_FL_KEEP_SIZE)
		return -EPERM;
	if (to > fs_map_max_bytes(inode) && !(mode & FALLOC_FL_PUNCH_HOLE))
		return -EFBIG;
	if (fs_inode_has_inline(inode)) {
		err = fs_file_inline_to_blocks(inode);
		if (err)
			return err;
	}
	if (mode & FALLOC_FL_PUNCH_HOLE)
		return punch_hole(inode, from, to);
	if (mode & FALLOC_FL_ZERO_RANGE)
		return zero_range(inode, from, to, keep_size);
	if (!keep_size)
		return allocate(inode, from, to, to);
	if (fs_file_end_lblk(inode->fs, to) > fs_file_nr_lblks(inode))
		return -EOPNOTSUPP;
	return allocate(inode, from, to, 0);
}

static bool mode_is_known(int mode)
{
	return mode == 0 || mode == FALLOC_FL_KEEP_SIZE || mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE) ||
	       (mode & ~FALLOC_FL_KEEP_SIZE) == FALLOC_FL_ZERO_RANGE;
}

int fs_fallocate(struct fs *fs, ino_nr_t ino, int mode, uint64_t off_bytes, uint64_t len_bytes)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;
	int err = fs_writable(fs);

	if (err)
		return err;
	if (!mode_is_known(mode))
		return -EOPNOTSUPP;
	if (len_bytes == 0 || off_bytes > INT64_MAX || len_bytes > INT64_MAX - off_bytes)
		return -EINVAL;
	err = fs_iget(fs, ino, &inode);
	if (err)
		return err;
	cache_throttle(fs->cache);
	os_rwlock_wrlock_key(&inode->lock, ino);
	err = fallocate_locked(inode, mode, off_bytes, off_bytes + len_bytes);
	os_rwlock_unlock(&inode->lock);
	return err;
}
