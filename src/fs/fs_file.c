/* fs_file.c: size, times and end of life of file contents. See fs_file.h. */
#include <assert.h>

#include "fs/fs_file.h"
#include "fs/fs_map.h"

int fs_file_may_change(const struct fs_inode *inode)
{
	if (S_ISDIR(inode->mode))
		return -EISDIR;
	if (!S_ISREG(inode->mode))
		return -EINVAL;
	return inode->flags & EXT_FL_IMMUTABLE ? -EPERM : 0;
}

/* Files over 2 GiB need the feature. fs->ro_compat stays as it was at open: nobody else asks for this bit. */
static int need_large_file(struct jnl_handle *h, struct fs *fs)
{
	uint32_t ro_compat;
	bool there;

	os_mutex_lock(&fs->super_lock);
	ro_compat = le32_get(fs->super.s_feature_ro_compat);
	there = ro_compat & EXT_RO_COMPAT_LARGE_FILE;
	fs->super.s_feature_ro_compat = le32_of(ro_compat | EXT_RO_COMPAT_LARGE_FILE);
	os_mutex_unlock(&fs->super_lock);
	return there ? 0 : fs_super_store(h, fs);
}

int fs_file_set_size(struct jnl_handle *h, struct fs_inode *inode, uint64_t size_bytes)
{
	os_mutex_lock(&inode->meta);
	inode->size_bytes = size_bytes;
	os_mutex_unlock(&inode->meta);
	if (likely(size_bytes <= INT32_MAX || fs_has_ro_compat(inode->fs, EXT_RO_COMPAT_LARGE_FILE)))
		return 0;
	return need_large_file(h, inode->fs);
}

void fs_file_mark_written(struct fs_inode *inode, uint64_t from, uint64_t to)
{
	LOCK_GUARD(&inode->meta);

	if (inode->dirty_from >= inode->dirty_to) {
		inode->dirty_from = from;
		inode->dirty_to = to;
	} else {
		inode->dirty_from = MIN(inode->dirty_from, from);
		inode->dirty_to = MAX(inode->dirty_to, to);
	}
}

int fs_file_store(struct jnl_handle *h, struct fs_inode *inode, bool mtime)
{
	LOCK_GUARD(&inode->meta);

	fs_inode_touch(inode, mtime);
	return fs_inode_store(h, inode);
}

int fs_file_free_blocks(struct fs_inode *inode)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	int err, damage;

	if (!inode->map)
		return 0;
	err = jnl_begin(inode->fs->jnl, fs_credits_punch(inode), &h);
	if (err)
		return err;
	fs_reservation_drop(inode);
	damage = fs_map_punch(&h, inode, 0, UINT64_MAX);
	if (!h.opened)
		return damage;	/* the journal has ended */
	/* What could be freed is free: the inode lets go of it in this handle (F3), whatever the rest met. */
	os_mutex_lock(&inode->meta);
	if (!damage || damage == -EUCLEAN)
		inode->size_bytes = 0;
	err = fs_inode_store(&h, inode);
	os_mutex_unlock(&inode->meta);
	if (!err)
		err = jnl_end(&h);
	return err ? err : damage;
}

void fs_release(struct fs *fs, ino_nr_t ino)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;

	if (fs_iget(fs, ino, &inode))
		return;
	os_rwlock_wrlock_key(&inode->lock, ino);
	fs_reservation_drop(inode);
	os_rwlock_unlock(&inode->lock);
}
