/*
 * fs_read.c: reading without a copy: what is given out are the cache's own frames, pinned.
 * A read of several extents is one batch to the cache. Holes are one static block of zeroes.
 */
#include <stdlib.h>

#include "fs/fs_file.h"

static const uint8_t zeroes[EXT_MAX_BLOCK_BYTES];

enum { SMALL = ARRAY_LEN(((struct fs_read_result *)NULL)->iov_small) };

/* An access is told at most once a day unless the file has changed since. */
static bool atime_is_due(const struct fs *fs, const struct fs_inode *inode, const struct timespec *now)
{
	enum { DAY_SECS = 24 * 60 * 60 };
	const struct timespec *a = &inode->atime, *m = &inode->mtime, *c = &inode->ctime;

	if (fs->opts.atime == FS_STRICTATIME)
		return true;
	return a->tv_sec < m->tv_sec || (a->tv_sec == m->tv_sec && a->tv_nsec <= m->tv_nsec) ||
	       a->tv_sec < c->tv_sec || (a->tv_sec == c->tv_sec && a->tv_nsec <= c->tv_nsec) ||
	       now->tv_sec - a->tv_sec >= DAY_SECS;
}

void fs_inode_accessed(struct fs_inode *inode)
{
	struct fs *fs = inode->fs;
	struct timespec now;

	if (fs->opts.atime == FS_NOATIME || fs_writable(fs))
		return;
	now = fs_now(fs);
	{
		LOCK_GUARD(&inode->meta);

		if (inode->flags & EXT_FL_NOATIME || !atime_is_due(fs, inode, &now))
			return;
		inode->atime = now;
		inode->atime_dirty = true;
	}
}

/* Contents in the inode are few bytes, and may turn into pointers any time: a copy. */
static int read_inline(struct fs_inode *inode, uint64_t off, struct fs_read_result *r)
{
	int err;

	r->mem = malloc(r->len_bytes);
	if (!r->mem)
		return -ENOMEM;
	err = fs_inline_read(inode, r->mem, (unsigned)off, (unsigned)r->len_bytes);
	r->iov[0] = (struct iovec){ r->mem, r->len_bytes };
	r->nr_iov = 1;
	return err;
}

/* Room for a read of nr blocks: one piece of memory, or none when the small arrays do. */
static int result_room(struct fs_read_result *r, uint32_t nr, struct fs_extent **extents)
{
	uint8_t *mem;

	if (nr <= SMALL)
		return 0;
	mem = malloc(nr * (sizeof(**extents) + sizeof(*r->iov) + sizeof(*r->bufs)));
	if (!mem)
		return -ENOMEM;
	r->mem = mem;
	*extents = (struct fs_extent *)mem;
	r->iov = (struct iovec *)(mem + nr * sizeof(**extents));
	r->bufs = (struct cache_buf **)(mem + nr * (sizeof(**extents) + sizeof(*r->iov)));
	return 0;
}

static int find_extents(struct fs_inode *inode, lblk_t lblk, uint32_t nr, struct fs_extent *extents,
			uint32_t *nr_extents)
{
	*nr_extents = 0;
	while (nr > 0) {
		struct fs_extent *e = &extents[*nr_extents];
		const int err = fs_map_find(inode, lblk, nr, e);

		if (err)
			return err;
		lblk += e->nr;
		nr -= e->nr;
		++*nr_extents;
	}
	return 0;
}

/* Pins the blocks of all extents, in order; holes have none. */
static int pin_extents(struct fs *fs, const struct fs_extent *extents, uint32_t nr, struct fs_read_result *r)
{
	enum { BATCH = 64 };
	struct cache_run runs[BATCH];
	uint32_t at = 0;

	while (at < nr) {
		unsigned nr_runs = 0, nr_bufs = 0;
		int err;

		for (; at < nr && nr_runs < BATCH; at++) {
			if (!extents[at].pblk)
				continue;
			runs[nr_runs++] = (struct cache_run){ extents[at].pblk, extents[at].nr };
			nr_bufs += extents[at].nr;
		}
		err = nr_runs > 0 ? cache_get_runs(fs->cache, runs, nr_runs, r->bufs + r->nr_bufs) : 0;
		if (err)
			return err;
		r->nr_bufs += nr_bufs;
	}
	return 0;
}

static void add_iov(struct fs_read_result *r, const uint8_t *data, size_t len_bytes)
{
	struct iovec *last = &r->iov[r->nr_iov];

	if (r->nr_iov > 0) {
		last--;
		if ((const uint8_t *)last->iov_base + last->iov_len == data) {
			last->iov_len += len_bytes;
			return;
		}
	}
	r->iov[r->nr_iov++] = (struct iovec){ (void *)(uintptr_t)data, len_bytes };
}

static void add_hole(struct fs_read_result *r, size_t len_bytes)
{
	while (len_bytes > 0) {
		const size_t n = MIN(len_bytes, sizeof(zeroes));

		add_iov(r, zeroes, n);
		len_bytes -= n;
	}
}

/* The bytes [off, off + len_bytes) of what is pinned. */
static void build_iov(const struct fs *fs, const struct fs_extent *extents, uint64_t off, struct fs_read_result *r)
{
	size_t skip = off & (fs->block_bytes - 1), left = r->len_bytes;
	unsigned buf = 0;

	for (; left > 0; extents++) {
		const size_t part = MIN(left, ((size_t)extents->nr << fs->block_shift) - skip);
		size_t n;

		left -= part;
		if (!extents->pblk) {
			add_hole(r, part);
			skip = 0;
			continue;
		}
		for (size_t done = 0; done < part; done += n) {
			n = MIN(part - done, (size_t)fs->block_bytes - skip);
			add_iov(r, (const uint8_t *)r->bufs[buf++]->data + skip, n);
			skip = 0;
		}
	}
}

static int read_mapped(struct fs_inode *inode, uint64_t off, struct fs_read_result *r)
{
	struct fs *fs = inode->fs;
	const lblk_t lblk = off >> fs->block_shift;
	const uint32_t nr = (uint32_t)(((off + r->len_bytes - 1) >> fs->block_shift) - lblk + 1);
	struct fs_extent small[SMALL], *extents = small;
	uint32_t nr_extents;
	int err = result_room(r, nr, &extents);

	if (!err)
		err = find_extents(inode, lblk, nr, extents, &nr_extents);
	if (!err)
		err = pin_extents(fs, extents, nr_extents, r);
	if (!err)
		build_iov(fs, extents, off, r);
	return err;
}

static int read_locked(struct fs_inode *inode, uint64_t off, size_t len_bytes, struct fs_read_result *r)
{
	if (S_ISDIR(inode->mode))
		return -EISDIR;
	if (!S_ISREG(inode->mode))
		return -EINVAL;
	if (off >= inode->size_bytes || len_bytes == 0)
		return 0;
	len_bytes = MIN(len_bytes, (size_t)INT32_MAX);
	r->len_bytes = MIN((uint64_t)len_bytes, inode->size_bytes - off);
	return fs_inode_has_inline(inode) ? read_inline(inode, off, r) : read_mapped(inode, off, r);
}

int fs_read(struct fs *fs, ino_nr_t ino, uint64_t off_bytes, size_t len_bytes, struct fs_read_result *out)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;
	int err;

	out->iov = out->iov_small;
	out->bufs = out->bufs_small;
	out->mem = NULL;
	out->nr_iov = out->nr_bufs = 0;
	out->len_bytes = 0;
	err = fs_iget(fs, ino, &inode);
	if (err)
		return err;
	os_rwlock_rdlock_key(&inode->lock, ino);
	err = read_locked(inode, off_bytes, len_bytes, out);
	os_rwlock_unlock(&inode->lock);
	if (err) {
		fs_read_done(fs, out);
		return err;
	}
	if (len_bytes > 0)
		fs_inode_accessed(inode);
	return 0;
}

void fs_read_done(struct fs *fs, struct fs_read_result *r)
{
	cache_put_many(r->bufs, r->nr_bufs);
	free(r->mem);
	r->mem = NULL;
	r->nr_iov = r->nr_bufs = 0;
	r->len_bytes = 0;
}
