/*
 * fs_create.c: calls that make a name: files, directories, symbolic links, hard links.
 *
 *   CR1  Inode, contents and name come in one handle. When the name cannot be had, the new inode
 *        goes to the orphan list in that handle, and its last fs_iput() undoes the rest.
 */
#include "fs/fs_dir_int.h"

struct create {
	struct fs *fs;
	const struct fs_cred *cred;
	struct fs_name name;
	uint32_t mode;
	uint64_t rdev;
	struct fs_name target;	/* symbolic links */
};

static unsigned create_credits(const struct create *c, const struct fs_inode *dir)
{
	/* The inode; its contents, at most one block; its name; the parent's count; or the orphan list. */
	return fs_credits_inode_alloc(c->fs) + fs_credits_xattr(c->fs) + fs_credits_fill(dir, 1) + 1 +
	       fs_credits_dir_add(dir) + FS_CREDITS_ORPHAN;
}

/* The target becomes the contents of one block. */
static int symlink_to_block(struct jnl_handle *h, struct fs_inode *inode, struct fs_name target)
{
	CLEANUP_BUF struct cache_buf *b = NULL;
	struct fs_extent e;
	bool fresh;
	int err = fs_map_init(inode);	/* with the size it has now, it has a map */

	if (!err)
		err = fs_map_fill(h, inode, 0, 1, &e, &fresh);
	if (!err)
		err = cache_get_new(inode->fs->cache, e.pblk, NULL, &b);
	if (!err)
		err = jnl_get_create(h, b);
	if (err)
		return err;
	memcpy(b->data, target.s, target.len);
	jnl_dirty(h, b);
	return 0;
}

static int fill_symlink(struct jnl_handle *h, struct fs_inode *inode, struct fs_name target)
{
	uint8_t bytes[EXT_INLINE_BYTES] = { 0 };

	os_mutex_lock(&inode->meta);
	inode->size_bytes = target.len;
	if (target.len < EXT_INLINE_BYTES) {
		memcpy(bytes, target.s, target.len);
		inode->flags &= ~(uint32_t)EXT_FL_EXTENTS;
		fs_inode_block_bytes_set(inode, bytes);
	}
	os_mutex_unlock(&inode->meta);
	return target.len < EXT_INLINE_BYTES ? fs_map_init(inode) : symlink_to_block(h, inode, target);
}

/* What the new inode begins with. */
static int fill_contents(struct jnl_handle *h, const struct create *c, struct fs_inode *dir, struct fs_inode *inode)
{
	if (S_ISLNK(c->mode))
		return fill_symlink(h, inode, c->target);
	if (S_ISDIR(c->mode))
		return fs_dir_init(h, inode, dir->ino);
	if (S_ISREG(c->mode))
		return fs_has_incompat(c->fs, EXT_INCOMPAT_INLINE_DATA) ? fs_inline_init(h, inode) : 0;
	fs_inode_set_rdev(inode, S_ISCHR(c->mode) || S_ISBLK(c->mode) ? c->rdev : 0);
	return 0;
}

static int store_with_links(struct jnl_handle *h, struct fs_inode *inode, unsigned nlink)
{
	LOCK_GUARD(&inode->meta);

	inode->nlink = nlink;
	return fs_inode_store(h, inode);
}

static int give_name(struct jnl_handle *h, const struct create *c, struct fs_inode *dir, struct fs_inode *inode)
{
	int err = store_with_links(h, inode, S_ISDIR(c->mode) ? 2 : 1);

	if (!err)
		err = fs_dir_add(h, dir, c->name, inode->ino, fs_dir_type_of(c->fs, inode->mode));
	if (!err && S_ISDIR(c->mode))
		err = fs_dir_count_subdir(h, dir, 1);
	return err;
}

/* CR1 */
static int undo(struct jnl_handle *h, struct fs_inode *inode, int err)
{
	int undo_err;

	os_mutex_lock(&inode->meta);
	inode->nlink = 0;
	os_mutex_unlock(&inode->meta);
	undo_err = fs_orphan_add(h, inode);
	return undo_err ? undo_err : err;
}

static int create_locked(const struct create *c, struct fs_inode *dir, struct fs_inode **out)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	int err = fs_dir_may_add(dir);

	if (!err)
		err = fs_dir_child_is(dir, c->name, NULL);
	if (err <= 0)
		return err ? err : -EEXIST;
	err = S_ISDIR(c->mode) ? fs_dir_may_add_subdir(dir) : 0;
	if (!err)
		err = jnl_begin(c->fs->jnl, create_credits(c, dir), &h);
	if (!err)
		err = fs_inode_alloc(&h, dir, c->cred, c->mode, out);
	if (err)
		return err;
	err = fs_xattr_inherit(&h, dir, *out);
	if (!err)
		err = fill_contents(&h, c, dir, *out);
	if (!err)
		err = give_name(&h, c, dir, *out);
	if (err)
		return undo(&h, *out, err);
	return jnl_end(&h);
}

static int create(const struct create *c, ino_nr_t dir_ino, struct fs_attr *out)
{
	CLEANUP_INODE struct fs_inode *dir = NULL;
	CLEANUP_INODE struct fs_inode *inode = NULL;
	unsigned nr_tries = 0;
	int err = fs_writable(c->fs);

	if (!err)
		err = fs_name_check(c->name);
	if (!err)
		err = fs_get_dir(c->fs, dir_ino, &dir);
	if (err)
		return err;
	cache_throttle(c->fs->cache);
	do {
		fs_iput(inode);		/* of the try before */
		inode = NULL;
		os_rwlock_wrlock_key(&dir->lock, dir_ino);
		err = create_locked(c, dir, &inode);
		os_rwlock_unlock(&dir->lock);
	} while (fs_nospc_retry(c->fs, err, &nr_tries));
	if (err)
		return err;
	fs_inode_attr(inode, out);
	fs_inode_ref(inode);
	return 0;
}

int fs_mknod(struct fs *fs, const struct fs_cred *cred, ino_nr_t dir, struct fs_name name, uint32_t mode, uint64_t rdev,
	     struct fs_attr *out)
{
	struct create c = { .fs = fs, .cred = cred, .name = name, .mode = mode, .rdev = rdev };

	switch (mode & S_IFMT) {
	case 0:
		c.mode |= S_IFREG;	/* as mknod(2) has it */
		break;
	case S_IFREG: case S_IFCHR: case S_IFBLK: case S_IFIFO: case S_IFSOCK:
		break;
	default:
		return -EINVAL;
	}
	return create(&c, dir, out);
}

int fs_mkdir(struct fs *fs, const struct fs_cred *cred, ino_nr_t dir, struct fs_name name, uint32_t mode,
	     struct fs_attr *out)
{
	const struct create c = { .fs = fs, .cred = cred, .name = name, .mode = S_IFDIR | (mode & 07777) };

	return create(&c, dir, out);
}

int fs_symlink(struct fs *fs, const struct fs_cred *cred, ino_nr_t dir, struct fs_name name, struct fs_name target,
	       struct fs_attr *out)
{
	const struct create c = { .fs = fs, .cred = cred, .name = name, .mode = S_IFLNK | 0777, .target = target };

	if (target.len == 0)
		return -ENOENT;
	if (target.len >= fs->block_bytes)
		return -ENAMETOOLONG;
	return create(&c, dir, out);
}

/* Hard links ------------------------------------------------------------------------------- */

/* Looked at and counted in one: others may take the last name meanwhile. */
static int count_link(struct jnl_handle *h, struct fs_inode *inode)
{
	LOCK_GUARD(&inode->meta);

	if (fs_inode_is_dir(inode) || inode->flags & (EXT_FL_IMMUTABLE | EXT_FL_APPEND))
		return -EPERM;
	if (inode->nlink == 0)
		return -ENOENT;
	if (inode->nlink >= EXT_LINK_MAX)
		return -EMLINK;
	inode->nlink++;
	fs_inode_touch(inode, false);
	return fs_inode_store(h, inode);
}

static int link_locked(struct fs_inode *inode, struct fs_inode *dir, struct fs_name name)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	int err = fs_dir_may_add(dir), undo_err;

	if (!err)
		err = fs_dir_child_is(dir, name, NULL);
	if (err <= 0)
		return err ? err : -EEXIST;
	/* The name, the inode; or the inode goes to the orphan list after all. */
	err = jnl_begin(dir->fs->jnl, fs_credits_dir_add(dir) + FS_CREDITS_INODE + FS_CREDITS_ORPHAN, &h);
	if (!err)
		err = count_link(&h, inode);
	if (err)
		return err;
	err = fs_dir_add(&h, dir, name, inode->ino, fs_dir_type_of(dir->fs, inode->mode));
	if (err) {
		undo_err = fs_inode_drop_link(&h, inode);
		return undo_err ? undo_err : err;
	}
	return jnl_end(&h);
}

int fs_link(struct fs *fs, ino_nr_t ino, ino_nr_t dir_ino, struct fs_name name, struct fs_attr *out)
{
	CLEANUP_INODE struct fs_inode *dir = NULL;
	CLEANUP_INODE struct fs_inode *inode = NULL;
	unsigned nr_tries = 0;
	int err = fs_writable(fs);

	if (!err)
		err = fs_name_check(name);
	if (!err)
		err = fs_get_dir(fs, dir_ino, &dir);
	if (!err)
		err = fs_iget(fs, ino, &inode);
	if (err)
		return err;
	cache_throttle(fs->cache);
	os_rwlock_wrlock_key(&dir->lock, dir_ino);
	do
		err = link_locked(inode, dir, name);
	while (fs_nospc_retry(fs, err, &nr_tries));
	os_rwlock_unlock(&dir->lock);
	if (err)
		return err;
	fs_inode_attr(inode, out);
	fs_inode_ref(inode);
	return 0;
}
