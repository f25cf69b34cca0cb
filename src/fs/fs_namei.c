/*
 * fs_namei.c: names: looking them up, symbolic links, and what the calls that change names share.
 *
 * A call that changes a directory finds the child first, with the directory locked for reading
 * only, then locks what it needs in the order of numbers, and makes sure that the name still
 * leads to that child; if not, it begins again.
 */
#include "fs/fs_dir_int.h"
#include "fs/fs_file.h"

int fs_name_check(struct fs_name name)
{
	if (name.len == 0)
		return -ENOENT;
	if (name.len > EXT_NAME_MAX)
		return -ENAMETOOLONG;
	if (fs_name_dots(name) || memchr(name.s, '/', name.len) || memchr(name.s, '\0', name.len))
		return -EINVAL;
	return 0;
}

int fs_get_dir(struct fs *fs, ino_nr_t ino, struct fs_inode **out)
{
	const int err = fs_iget(fs, ino, out);

	if (err || fs_inode_is_dir(*out))
		return err;
	fs_iput(*out);
	*out = NULL;
	return -ENOTDIR;
}

static bool is_deleted(struct fs_inode *dir)
{
	LOCK_GUARD(&dir->meta);

	return dir->nlink == 0;
}

int fs_dir_may_add(const struct fs_inode *dir)
{
	if (is_deleted((struct fs_inode *)(uintptr_t)dir))
		return -ENOENT;
	return dir->flags & EXT_FL_IMMUTABLE ? -EPERM : 0;
}

int fs_dir_may_remove(const struct fs_inode *dir)
{
	return dir->flags & (EXT_FL_IMMUTABLE | EXT_FL_APPEND) ? -EPERM : 0;
}

int fs_child_may_remove(struct fs_inode *child)
{
	LOCK_GUARD(&child->meta);

	return child->flags & (EXT_FL_IMMUTABLE | EXT_FL_APPEND) ? -EPERM : 0;
}

int fs_dir_child(struct fs_inode *dir, struct fs_name name, struct fs_inode **out)
{
	ino_nr_t ino;
	unsigned type;
	int err = fs_dir_find(dir, name, &ino, &type);

	*out = NULL;
	if (err)
		return err;
	err = fs_iget(dir->fs, ino, out);
	if (err == -ESTALE)
		err = fs_dir_damaged(dir, 0, "entry '%.*s' leads to inode %" PRIu32 ", which is free", (int)name.len, name.s,
				     ino);
	return err;
}

int fs_dir_child_unlocked(struct fs_inode *dir, struct fs_name name, struct fs_inode **out)
{
	int err;

	os_rwlock_rdlock_key(&dir->lock, dir->ino);
	err = fs_dir_child(dir, name, out);
	os_rwlock_unlock(&dir->lock);
	return err;
}

int fs_dir_child_is(struct fs_inode *dir, struct fs_name name, const struct fs_inode *child)
{
	ino_nr_t ino;
	unsigned type;
	const int err = fs_dir_find(dir, name, &ino, &type);

	if (err == -ENOENT)
		return child == NULL;
	return err ? err : child && child->ino == ino;
}

int fs_dir_may_add_subdir(const struct fs_inode *dir)
{
	struct fs_inode *d = (struct fs_inode *)(uintptr_t)dir;
	LOCK_GUARD(&d->meta);

	return dir->nlink >= EXT_LINK_MAX && !fs_has_ro_compat(dir->fs, EXT_RO_COMPAT_DIR_NLINK) ? -EMLINK : 0;
}

/* Under dir_nlink a count that would be too large becomes 1, "many", and stays so. */
int fs_dir_count_subdir(struct jnl_handle *h, struct fs_inode *dir, int by)
{
	LOCK_GUARD(&dir->meta);

	if (by > 0 && dir->nlink != 1 && ++dir->nlink > EXT_LINK_MAX)
		dir->nlink = 1;
	else if (by < 0 && dir->nlink > 2)
		dir->nlink--;
	return fs_inode_store(h, dir);
}

int fs_inode_drop_link(struct jnl_handle *h, struct fs_inode *inode)
{
	bool last;
	int err = 0;

	os_mutex_lock(&inode->meta);
	fs_inode_touch(inode, false);
	if (fs_inode_is_dir(inode))
		inode->nlink = 0;
	else if (inode->nlink > 0)
		inode->nlink--;
	last = inode->nlink == 0;
	if (!last)
		err = fs_inode_store(h, inode);
	os_mutex_unlock(&inode->meta);
	return last ? fs_orphan_add(h, inode) : err;
}

/* Looking up -------------------------------------------------------------------------- */

static int lookup_locked(struct fs_inode *dir, struct fs_name name, struct fs_inode **out)
{
	ino_nr_t ino = dir->ino;
	int err = 0;

	switch (fs_name_dots(name)) {
	case 0:
		return fs_dir_child(dir, name, out);
	case 2:
		err = fs_dir_parent(dir, &ino);
	}
	return err ? err : fs_iget(dir->fs, ino, out);
}

int fs_lookup(struct fs *fs, ino_nr_t dir_ino, struct fs_name name, struct fs_attr *out)
{
	CLEANUP_INODE struct fs_inode *dir = NULL;
	CLEANUP_INODE struct fs_inode *child = NULL;
	int err;

	if (name.len > EXT_NAME_MAX)
		return -ENAMETOOLONG;
	err = fs_get_dir(fs, dir_ino, &dir);
	if (err)
		return err;
	os_rwlock_rdlock_key(&dir->lock, dir_ino);
	err = lookup_locked(dir, name, &child);
	os_rwlock_unlock(&dir->lock);
	if (err)
		return err;
	fs_inode_attr(child, out);
	fs_inode_ref(child);
	return 0;
}

int fs_getattr_ref(struct fs *fs, ino_nr_t ino, struct fs_attr *out)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;
	const int err = fs_iget(fs, ino, &inode);

	if (err)
		return err;
	fs_inode_attr(inode, out);
	fs_inode_ref(inode);
	return 0;
}

/* Symbolic links ------------------------------------------------------------------------- */

/* A target that is too long for i_block is the contents of one block. */
static int readlink_block(struct fs_inode *inode, char *buf, size_t len)
{
	CLEANUP_BUF struct cache_buf *b = NULL;
	struct fs_extent e;
	int err = fs_map_find(inode, 0, 1, &e);

	if (!err && !e.pblk) {
		log_error("%s: inode %" PRIu32 ": a symbolic link without a target", blk_name(inode->fs->dev), inode->ino);
		return fs_damaged(inode->fs, inode->ino, 0, -EUCLEAN);
	}
	if (!err)
		err = cache_get(inode->fs->cache, e.pblk, NULL, NULL, &b);
	if (!err)
		memcpy(buf, b->data, len);
	return err;
}

static int readlink_locked(struct fs_inode *inode, char *buf, size_t cap)
{
	uint8_t bytes[EXT_INLINE_BYTES];
	const size_t len = MIN((uint64_t)cap, inode->size_bytes);
	int err = 0;

	if (fs_inode_has_inline(inode)) {
		err = fs_inline_read(inode, buf, 0, (unsigned)len);
	} else if (inode->map) {
		err = readlink_block(inode, buf, len);
	} else {
		fs_inode_block_bytes_get(inode, bytes);
		memcpy(buf, bytes, MIN(len, sizeof(bytes)));
	}
	return err ? err : (int)len;
}

int fs_readlink(struct fs *fs, ino_nr_t ino, char *buf, size_t cap)
{
	CLEANUP_INODE struct fs_inode *inode = NULL;
	int err = fs_iget(fs, ino, &inode);

	if (err)
		return err;
	if (!S_ISLNK(inode->mode))
		return -EINVAL;
	os_rwlock_rdlock_key(&inode->lock, ino);
	err = readlink_locked(inode, buf, cap);
	os_rwlock_unlock(&inode->lock);
	if (err >= 0)
		fs_inode_accessed(inode);
	return err;
}
