/*
 * fs_write.c: writing into the cache, with one copy.
 *
 * A write goes from extent to extent. Blocks that are there are overwritten with no handle open,
 * since that may have to read them or wait for their write-back. A hole is filled inside one
 * handle: blocks allocated, bytes copied, size and times stored; so at no commit a block
 * is part of a file without its bytes (F4), and no block lies behind the size (W2). What is left
 * to store at the end (an overwrite's times) gets a handle of its own, and none when nothing changed.
 */
#include "fs/fs_file.h"

/* Bytes that one handle fills at most. */
enum { FILL_BYTES = 2 << 20 };

struct write {
	struct fs_inode *inode;
	uint64_t off;		/* of the next byte */
	const uint8_t *src;
	size_t left;
	size_t done;
	pblk_t tail;		/* block of the old end: bytes behind that were set, and the size moves over them; 0 none */
	bool kill_priv;
	bool keep_times;
	bool stored;		/* size and times are as they should be after all that is done */
};

/* Does more change than bytes? */
static bool write_has_news(const struct write *w)
{
	return !w->keep_times || w->kill_priv || w->off > w->inode->size_bytes;
}

/* Changed contents: size when it grew, times, set-id bits. Takes meta. Credits: FS_CREDITS_SIZE. */
static int write_account(struct jnl_handle *h, struct write *w)
{
	struct fs_inode *inode = w->inode;
	int err = 0;

	if (w->off > inode->size_bytes && w->tail)
		err = jnl_order_data(h, w->tail, 1);
	if (!err && w->off > inode->size_bytes)
		err = fs_file_set_size(h, inode, w->off);
	os_mutex_lock(&inode->meta);
	if (w->kill_priv)
		inode->mode = fs_mode_without_priv(inode->mode);
	if (!err) {
		if (!w->keep_times)
			fs_inode_touch(inode, true);
		err = fs_inode_store(h, inode);
	}
	os_mutex_unlock(&inode->meta);
	return err;
}

/* The handle's end. What cannot be stored has not been written: the bytes may be out of reach. */
static int write_end(struct jnl_handle *h, struct write *w)
{
	int err = write_account(h, w);

	if (!err)
		err = jnl_end(h);
	if (err)
		w->done = 0;
	w->stored = !err;
	return err;
}

static void write_advance(struct write *w, size_t len)
{
	fs_file_mark_written(w->inode, w->off, w->off + len);
	w->off += len;
	w->src += len;
	w->left -= len;
	w->done += len;
}

static struct fs_copy copy_of(const struct write *w, size_t len, enum cache_write_mode partial)
{
	return (struct fs_copy){
		.src = w->src,
		.len_bytes = len,
		.skip_bytes = (unsigned)(w->off & (w->inode->fs->block_bytes - 1)),
		.partial = partial,
		.zero_rest = w->off + len > w->inode->size_bytes,
	};
}

/* Bytes of the write that lie in the extent, which begins with the block of w->off. */
static size_t bytes_in(const struct write *w, const struct fs_extent *e)
{
	const struct fs *fs = w->inode->fs;

	return MIN(w->left, ((size_t)e->nr << fs->block_shift) - (w->off & (fs->block_bytes - 1)));
}

/* Blocks from the one of w->off to that of the last of len bytes. */
static uint32_t blocks_of(const struct write *w, size_t len)
{
	const unsigned shift = w->inode->fs->block_shift;

	return (uint32_t)(((w->off + len - 1) >> shift) - (w->off >> shift) + 1);
}

static int write_over(struct write *w, const struct fs_extent *e)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	struct fs *fs = w->inode->fs;
	const size_t len = bytes_in(w, e);
	const struct fs_copy c = copy_of(w, len, CACHE_UPDATE);
	const uint32_t nr = blocks_of(w, len);
	int err = 0;

	if (fs_logs_data(fs))
		err = jnl_begin(fs->jnl, fs_credits_data(fs, nr) + FS_CREDITS_SIZE, &h);
	if (!err)
		err = fs_file_copy_in(&h, fs, e->pblk, &c);
	if (err)
		return err;
	if (w->off + len > w->inode->size_bytes)
		w->tail = e->pblk + nr - 1;
	write_advance(w, len);
	w->stored = false;
	return h.opened ? write_end(&h, w) : 0;
}

/* The blocks that were just allocated go away again; the error that led here stays. */
static int write_undo_fill(struct jnl_handle *h, struct write *w, const struct fs_extent *e, int err)
{
	int undo_err = fs_map_punch(h, w->inode, e->lblk, e->lblk + e->nr);

	if (!undo_err) {
		LOCK_GUARD(&w->inode->meta);

		undo_err = fs_inode_store(h, w->inode);
	}
	return undo_err ? undo_err : err;
}

/*
 * Up to nr blocks from the hole at w->off are filled and written. When it turns out that blocks
 * were there (a damaged size), *e has them and nothing has been written.
 */
static int write_fresh(struct write *w, lblk_t lblk, uint32_t nr, struct fs_extent *e)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	struct fs_inode *inode = w->inode;
	struct fs_copy c;
	bool fresh;
	size_t len;
	int err;

	err = jnl_begin(inode->fs->jnl, fs_credits_fill(inode, nr) + fs_credits_data(inode->fs, nr) + FS_CREDITS_SIZE, &h);
	if (!err)
		err = fs_map_fill(&h, inode, lblk, nr, e, &fresh);
	if (err)
		return err;
	if (!fresh)
		return jnl_end(&h);
	len = bytes_in(w, e);
	c = copy_of(w, len, CACHE_FRESH);
	err = fs_file_copy_in(&h, inode->fs, e->pblk, &c);
	if (err)
		return write_undo_fill(&h, w, e, err);
	write_advance(w, len);
	e->pblk = 0;
	return write_end(&h, w);
}

/* The next part: as far as one extent or one handle goes. */
static int write_step(struct write *w)
{
	struct fs_inode *inode = w->inode;
	const struct fs *fs = inode->fs;
	const lblk_t lblk = w->off >> fs->block_shift;
	const uint64_t end = w->off + MIN(w->left, (size_t)fs_file_step_bytes(fs, FILL_BYTES));
	const uint32_t nr = (uint32_t)(((end - 1) >> fs->block_shift) - lblk + 1);
	struct fs_extent e = { .lblk = lblk, .nr = nr };
	int err = 0;

	if (lblk < fs_file_nr_lblks(inode))	/* else a hole for sure (W2) */
		err = fs_map_find(inode, lblk, nr, &e);
	if (!err && !e.pblk)
		err = write_fresh(w, lblk, e.nr, &e);
	if (!err && e.pblk)
		err = write_over(w, &e);
	return err;
}

static int write_mapped(struct write *w)
{
	struct fs *fs = w->inode->fs;
	CLEANUP_HANDLE struct jnl_handle h = {0};
	unsigned nr_tries = 0;
	int err = 0;

	if (w->off > w->inode->size_bytes)
		err = fs_file_zero_tail(w->inode, w->inode->size_bytes, &w->tail);	/* W1 */
	while (!err && w->left > 0) {
		err = write_step(w);
		if (fs_nospc_retry(fs, err, &nr_tries))
			err = 0;
		if (!err && w->left > 0)
			cache_throttle(fs->cache);
	}
	if (w->done == 0 || w->stored || !write_has_news(w))
		return err;
	err = jnl_begin(fs->jnl, FS_CREDITS_SIZE, &h);
	if (err)
		w->done = 0;
	return err ? err : write_end(&h, w);
}

static int write_inline(struct write *w)
{
	struct fs_inode *inode = w->inode;
	const size_t len = w->left;
	int err;

	if (w->kill_priv) {
		LOCK_GUARD(&inode->meta);

		inode->mode = fs_mode_without_priv(inode->mode);
	}
	err = fs_file_inline_change(inode, MAX(inode->size_bytes, w->off + len), w->off, w->src, len, !w->keep_times);
	if (!err)
		w->done = len;
	return err;
}

/* Cuts what goes over the largest file; -EFBIG when that is all. */
static int limit_length(const struct fs_inode *inode, uint64_t off, size_t *len_bytes)
{
	const uint64_t max = fs_map_max_bytes(inode);

	if (off >= max)
		return -EFBIG;
	*len_bytes = MIN((uint64_t)*len_bytes, max - off);
	return 0;
}

static int write_locked(struct write *w, unsigned flags)
{
	struct fs_inode *inode = w->inode;
	int err = fs_file_may_change(inode);

	if (err)
		return err;
	if (flags & FS_WRITE_APPEND)
		w->off = inode->size_bytes;
	else if (inode->flags & EXT_FL_APPEND && w->off != inode->size_bytes)
		return -EPERM;
	if (w->left == 0)
		return 0;
	err = limit_length(inode, w->off, &w->left);
	if (err)
		return err;
	w->keep_times = flags & FS_WRITE_KEEP_TIMES;
	w->kill_priv = flags & FS_WRITE_KILL_PRIV && fs_mode_without_priv(inode->mode) != inode->mode;
	if (fs_inode_has_inline(inode)) {
		if (fs_file_inline_fits(inode, MAX(inode->size_bytes, w->off + w->left)))
			return write_inline(w);
		err = fs_file_inline_to_blocks(inode);
		if (err)
			return err;
	}
	return write_mapped(w);
}

int fs_write(struct fs *fs, ino_nr_t ino, uint64_t off_bytes, const void *buf, size_t len_bytes, unsigned flags,
	     size_t *written)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;
	struct write w = { .off = off_bytes, .src = buf, .left = len_bytes };
	int err = fs_writable(fs);

	*written = 0;
	if (!err)
		err = fs_iget(fs, ino, &inode);
	if (err)
		return err;
	cache_throttle(fs->cache);
	w.inode = inode;
	os_rwlock_wrlock_key(&inode->lock, ino);
	err = write_locked(&w, flags);
	os_rwlock_unlock(&inode->lock);
	*written = w.done;
	return w.done > 0 ? 0 : err;
}
