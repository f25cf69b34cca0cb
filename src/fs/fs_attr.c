/* fs_attr.c: attributes of an inode, looked at and changed. */
#include "fs/fs_file.h"

enum {
	/* Flags that chattr may change, and those that lsattr shows. */
	FLAGS_SETTABLE = EXT_FL_SECRM | EXT_FL_SYNC | EXT_FL_IMMUTABLE | EXT_FL_APPEND | EXT_FL_NODUMP | EXT_FL_NOATIME |
			 EXT_FL_DIRSYNC | EXT_FL_TOPDIR,
	MODE_BITS = 07777,
};

int fs_getattr(struct fs *fs, ino_nr_t ino, struct fs_attr *out)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;
	const int err = fs_iget(fs, ino, &inode);

	if (!err)
		fs_inode_attr(inode, out);
	return err;
}

/* chattr's flags go through every barrier; everything else stops at immutable and append-only. */
static int may_set(const struct fs_inode *inode, unsigned which)
{
	const unsigned times_now = FS_SET_ATIME_NOW | FS_SET_MTIME_NOW;

	if (which & FS_SET_FLAGS)
		return 0;
	if (inode->flags & EXT_FL_IMMUTABLE)
		return -EPERM;
	/* An append-only file may be touched, not changed. */
	if (inode->flags & EXT_FL_APPEND && which & ~(times_now | FS_SET_ATIME | FS_SET_MTIME | FS_SET_CTIME))
		return -EPERM;
	return 0;
}

static void set_owner_and_mode(struct fs_inode *inode, unsigned which, const struct fs_attr *set)
{
	if (which & FS_SET_UID)
		inode->uid = set->uid;
	if (which & FS_SET_GID)
		inode->gid = set->gid;
	if (which & FS_SET_MODE)
		inode->mode = (uint16_t)((inode->mode & S_IFMT) | (set->mode & MODE_BITS));
	/* With a mode of its own the caller has decided about the bits. */
	else if (which & (FS_SET_UID | FS_SET_GID | FS_SET_KILL_PRIV))
		inode->mode = fs_mode_without_priv(inode->mode);
	if (which & FS_SET_FLAGS)
		inode->flags = (inode->flags & ~(uint32_t)FLAGS_SETTABLE) | (set->flags & FLAGS_SETTABLE);
}

static void set_times(struct fs_inode *inode, unsigned which, const struct fs_attr *set)
{
	const struct timespec now = fs_now(inode->fs);

	if (which & FS_SET_ATIME_NOW)
		inode->atime = now;
	else if (which & FS_SET_ATIME)
		inode->atime = set->atime;
	if (which & FS_SET_MTIME_NOW)
		inode->mtime = now;
	else if (which & FS_SET_MTIME)
		inode->mtime = set->mtime;
	inode->ctime = which & FS_SET_CTIME ? set->ctime : now;
	inode->version++;
}

/* lock held exclusively, the size is done. */
static int set_fields(struct fs_inode *inode, unsigned which, const struct fs_attr *set)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	int err = jnl_begin(inode->fs->jnl, FS_CREDITS_INODE, &h);

	if (err)
		return err;
	os_mutex_lock(&inode->meta);
	set_owner_and_mode(inode, which, set);
	set_times(inode, which, set);
	err = fs_inode_store(&h, inode);
	os_mutex_unlock(&inode->meta);
	return err ? err : jnl_end(&h);
}

int fs_setattr(struct fs *fs, ino_nr_t ino, unsigned which, const struct fs_attr *set, struct fs_attr *out)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;
	int err = fs_writable(fs);

	if (!err)
		err = fs_iget(fs, ino, &inode);
	if (err)
		return err;
	if (which & FS_SET_SIZE)
		cache_throttle(fs->cache);
	os_rwlock_wrlock_key(&inode->lock, ino);
	err = may_set(inode, which);
	if (!err && which & FS_SET_SIZE)
		err = fs_file_truncate(inode, set->size_bytes);
	if (!err && which & ~(unsigned)FS_SET_SIZE)
		err = set_fields(inode, which, set);
	os_rwlock_unlock(&inode->lock);
	if (!err && out)
		fs_inode_attr(inode, out);
	return err;
}
