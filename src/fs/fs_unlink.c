/* fs_unlink.c: calls that take a name away. The contents go with the last fs_iput(). */
#include "fs/fs_dir_int.h"

/* The directory is locked, and the child too when it is one. 1: the name leads elsewhere by now. */
static int remove_locked(struct fs_inode *dir, struct fs_name name, struct fs_inode *child)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	const bool is_dir = fs_inode_is_dir(child);
	int err = fs_dir_child_is(dir, name, child);

	if (err <= 0)
		return err ? err : 1;
	err = fs_dir_may_remove(dir);
	if (!err)
		err = fs_child_may_remove(child);
	if (!err && is_dir) {
		err = fs_dir_is_empty(child);
		err = err < 0 ? err : err ? 0 : -ENOTEMPTY;
	}
	if (!err)
		err = jnl_begin(dir->fs->jnl, fs_credits_dir_remove(dir) + FS_CREDITS_INODE + FS_CREDITS_ORPHAN, &h);
	if (!err)
		err = fs_dir_remove(&h, dir, name);
	if (!err && is_dir)
		err = fs_dir_count_subdir(&h, dir, -1);
	if (!err)
		err = fs_inode_drop_link(&h, child);
	return err ? err : jnl_end(&h);
}

static int remove_name(struct fs *fs, ino_nr_t dir_ino, struct fs_name name, bool want_dir)
{
	CLEANUP_INODE struct fs_inode *dir = NULL;
	int err = fs_writable(fs);

	if (!err)
		err = fs_name_check(name);
	if (!err)
		err = fs_get_dir(fs, dir_ino, &dir);
	if (err)
		return err;
	cache_throttle(fs->cache);
	do {
		CLEANUP_INODE struct fs_inode *child = NULL;

		err = fs_dir_child_unlocked(dir, name, &child);
		if (err)
			return err;
		if (fs_inode_is_dir(child) != want_dir)
			return want_dir ? -ENOTDIR : -EISDIR;
		struct fs_inode *locked[] = { dir, want_dir ? child : NULL };

		fs_lock_inodes(locked, ARRAY_LEN(locked));
		err = remove_locked(dir, name, child);
		fs_unlock_inodes(locked, ARRAY_LEN(locked));
	} while (err == 1);
	return err;
}

int fs_unlink(struct fs *fs, ino_nr_t dir, struct fs_name name)
{
	return remove_name(fs, dir, name, false);
}

int fs_rmdir(struct fs *fs, ino_nr_t dir, struct fs_name name)
{
	switch (fs_name_dots(name)) {
	case 1: return -EINVAL;
	case 2: return -ENOTEMPTY;
	default: return remove_name(fs, dir, name, true);
	}
}
