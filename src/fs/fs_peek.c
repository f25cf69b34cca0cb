/*
 * fs_peek.c: the filesystem's blocks as they are now, for those who look at it from outside
 * while it is in use (explain): what memory has, not what the disk has.
 */
#include "fs/fs_int.h"

enum { BATCH = 64 };	/* blocks pinned at a time */

/* Metadata changes in handles only: with all of them kept out the copies are between two operations. */
static void copy_out(struct fs *fs, struct cache_buf **bufs, unsigned nr, uint32_t skip, uint8_t *to, size_t len)
{
	jnl_freeze(fs->jnl);
	for (unsigned i = 0; i < nr; i++) {
		const size_t n = MIN(len, (size_t)fs->block_bytes - skip);

		memcpy(to, (const uint8_t *)bufs[i]->data + skip, n);
		to += n;
		len -= n;
		skip = 0;
	}
	jnl_thaw(fs->jnl);
}

static int peek_batch(struct fs *fs, pblk_t pblk, unsigned nr, uint32_t skip, uint8_t *to, size_t len)
{
	struct cache_buf *bufs[BATCH];
	unsigned got = 0;
	int err = 0;

	cache_readahead(fs->cache, pblk, nr);
	while (!err && got < nr) {
		err = cache_get(fs->cache, pblk + got, NULL, NULL, &bufs[got]);
		got += !err;
	}
	if (!err)
		copy_out(fs, bufs, nr, skip, to, len);
	while (got > 0)
		cache_put(bufs[--got]);
	return err;
}

int fs_peek(struct fs *fs, uint64_t off_bytes, void *buf, size_t len_bytes)
{
	uint8_t *to = buf;

	if (off_bytes > fs->nr_blocks << fs->block_shift || len_bytes > (fs->nr_blocks << fs->block_shift) - off_bytes)
		return -EINVAL;
	while (len_bytes > 0) {
		const uint32_t skip = off_bytes & (fs->block_bytes - 1);
		const size_t n = MIN(len_bytes, ((size_t)BATCH << fs->block_shift) - skip);
		const int err = peek_batch(fs, off_bytes >> fs->block_shift, (unsigned)((skip + n + fs->block_bytes - 1) >> fs->block_shift),
					   skip, to, n);

		if (err)
			return err;
		off_bytes += n;
		to += n;
		len_bytes -= n;
	}
	return 0;
}
