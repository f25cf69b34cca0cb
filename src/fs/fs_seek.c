/* fs_seek.c: where data and holes of a file begin, and where a byte of it lies. */
#include <unistd.h>

#include "fs/fs_file.h"

/* More data than the device has blocks: the map is one of pointers to the same few. */
static int no_end(struct fs_inode *inode)
{
	log_error("%s: inode %" PRIu32 ": more blocks in its map than in the filesystem", blk_name(inode->fs->dev),
		  inode->ino);
	return fs_damaged(inode->fs, inode->ino, 0, -EUCLEAN);
}

static int seek_mapped(struct fs_inode *inode, uint64_t off, bool want_data, uint64_t *out)
{
	const struct fs *fs = inode->fs;
	const lblk_t end = fs_file_nr_lblks(inode);
	lblk_t lblk = off >> fs->block_shift;
	uint64_t nr_seen = 0;

	while (lblk < end) {
		struct fs_extent e;
		const int err = fs_map_find(inode, lblk, (uint32_t)MIN(end - lblk, (lblk_t)UINT32_MAX), &e);

		if (err)
			return err;
		if ((e.pblk != 0) == want_data) {
			*out = MAX(off, lblk << fs->block_shift);
			return 0;
		}
		lblk += e.nr;
		nr_seen += e.pblk ? e.nr : 0;
		if (unlikely(nr_seen > fs->nr_blocks))
			return no_end(inode);
	}
	*out = inode->size_bytes;	/* the end counts as a hole */
	return want_data ? -ENXIO : 0;
}

static int seek_locked(struct fs_inode *inode, uint64_t off, int whence, uint64_t *out)
{
	if (!S_ISREG(inode->mode) || (whence != SEEK_DATA && whence != SEEK_HOLE))
		return -EINVAL;
	if (off >= inode->size_bytes)
		return -ENXIO;
	if (!fs_inode_has_inline(inode))
		return seek_mapped(inode, off, whence == SEEK_DATA, out);
	*out = whence == SEEK_DATA ? off : inode->size_bytes;
	return 0;
}

int fs_seek(struct fs *fs, ino_nr_t ino, uint64_t off_bytes, int whence, uint64_t *out)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;
	int err = fs_iget(fs, ino, &inode);

	if (err)
		return err;
	os_rwlock_rdlock_key(&inode->lock, ino);
	err = seek_locked(inode, off_bytes, whence, out);
	os_rwlock_unlock(&inode->lock);
	return err;
}

static int where_locked(struct fs_inode *inode, uint64_t off, uint64_t *out)
{
	const unsigned shift = inode->fs->block_shift;
	struct fs_extent e;
	int err;

	if (off >= inode->size_bytes)
		return -ENXIO;
	if (fs_inode_has_inline(inode) || !inode->map)
		return -EOPNOTSUPP;
	err = fs_map_find(inode, off >> shift, 1, &e);
	if (err)
		return err;
	if (!e.pblk)
		return -ENODATA;
	*out = (e.pblk << shift) + (off & (((uint64_t)1 << shift) - 1));
	return 0;
}

int fs_where(struct fs *fs, ino_nr_t ino, uint64_t off_bytes, uint64_t *out)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;
	int err = fs_iget(fs, ino, &inode);

	if (err)
		return err;
	os_rwlock_rdlock_key(&inode->lock, ino);
	err = where_locked(inode, off_bytes, out);
	os_rwlock_unlock(&inode->lock);
	return err;
}
