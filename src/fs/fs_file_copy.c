/* fs_file_copy.c: bytes into frames of the cache. See fs_file.h. */
#include "fs/fs_file.h"

/* Frames pinned at a time. */
enum { COPY_BATCH = 256 };

static void fill_frame(uint8_t *dst, const uint8_t *src, size_t len_bytes)
{
	if (src)
		memcpy(dst, src, len_bytes);
	else
		memset(dst, 0, len_bytes);
}

/*
 * With data=journal the frames are the log's from here on: between write_begin and write_end, where no
 * write-back looks at them. When there is no memory for that they are plain data after all.
 */
static int log_frames(struct jnl_handle *h, struct fs *fs, struct cache_buf **bufs, uint32_t nr)
{
	int err = 0;

	for (uint32_t i = 0; !err && fs_logs_data(fs) && i < nr; i++) {
		err = jnl_get_write(h, bufs[i]);
		if (!err)
			jnl_dirty(h, bufs[i]);
	}
	return err;
}

/* Whole blocks. */
static int copy_whole(struct jnl_handle *h, struct fs *fs, pblk_t pblk, uint32_t nr, const uint8_t *src)
{
	struct cache_buf *bufs[COPY_BATCH];

	while (nr > 0) {
		const uint32_t n = MIN(nr, (uint32_t)COPY_BATCH);
		int err = cache_write_begin(fs->cache, pblk, n, CACHE_OVERWRITE, bufs);

		if (err)
			return err;
		err = log_frames(h, fs, bufs, n);
		for (uint32_t i = 0; i < n; i++)
			fill_frame(bufs[i]->data, src ? src + ((size_t)i << fs->block_shift) : NULL, fs->block_bytes);
		cache_write_end(fs->cache, bufs, n);
		if (err)
			return err;
		src = src ? src + ((size_t)n << fs->block_shift) : NULL;
		pblk += n;
		nr -= n;
	}
	return 0;
}

/* Bytes within one block. */
static int copy_part(struct jnl_handle *h, struct fs *fs, pblk_t pblk, unsigned skip, size_t len, const uint8_t *src,
		     enum cache_write_mode mode, bool zero_rest)
{
	struct cache_buf *b;
	uint8_t *data;
	int err = cache_write_begin(fs->cache, pblk, 1, mode, &b);

	if (err)
		return err;
	err = log_frames(h, fs, &b, 1);
	data = b->data;
	fill_frame(data + skip, src, len);
	if (zero_rest && mode == CACHE_UPDATE)
		memset(data + skip + len, 0, fs->block_bytes - skip - len);
	cache_write_end(fs->cache, &b, 1);
	return err;
}

int fs_file_copy_in(struct jnl_handle *h, struct fs *fs, pblk_t pblk, const struct fs_copy *c)
{
	const uint8_t *src = c->src;
	size_t left = c->len_bytes;
	uint32_t nr;
	int err;

	if (c->skip_bytes || left < fs->block_bytes) {
		const size_t n = MIN(left, (size_t)fs->block_bytes - c->skip_bytes);

		err = copy_part(h, fs, pblk, c->skip_bytes, n, src, c->partial, c->zero_rest && n == left);
		if (err)
			return err;
		src = src ? src + n : NULL;
		left -= n;
		pblk++;
	}
	nr = (uint32_t)(left >> fs->block_shift);
	err = copy_whole(h, fs, pblk, nr, src);
	if (err)
		return err;
	src = src ? src + ((size_t)nr << fs->block_shift) : NULL;
	left -= (size_t)nr << fs->block_shift;
	return left ? copy_part(h, fs, pblk + nr, 0, left, src, c->partial, c->zero_rest) : 0;
}

int fs_file_zero_part(struct fs_inode *inode, uint64_t from, uint64_t to, pblk_t *pblk)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	struct fs *fs = inode->fs;
	const struct fs_copy zeroes = {
		.len_bytes = (size_t)(to - from),
		.skip_bytes = (unsigned)(from & (fs->block_bytes - 1)),
		.partial = CACHE_UPDATE,
	};
	struct fs_extent e;
	int err;

	if (pblk)
		*pblk = 0;
	if (from >= to)
		return 0;
	err = fs_map_find(inode, from >> fs->block_shift, 1, &e);
	if (err || !e.pblk)
		return err;
	if (fs_logs_data(fs))
		err = jnl_begin(fs->jnl, fs_credits_data(fs, 1), &h);
	if (!err)
		err = fs_file_copy_in(&h, fs, e.pblk, &zeroes);
	if (!err && h.opened)
		err = jnl_end(&h);
	if (err)
		return err;
	fs_file_mark_written(inode, from, to);
	if (pblk)
		*pblk = e.pblk;
	return 0;
}

int fs_file_zero_tail(struct fs_inode *inode, uint64_t size_bytes, pblk_t *pblk)
{
	return fs_file_zero_part(inode, size_bytes, ALIGN_UP(size_bytes, inode->fs->block_bytes), pblk);
}
