/*
 * fs_rename.c: moving names, replacing, exchanging.
 *
 *   RN1  A directory that changes its parent does so under rename_lock: the tree above any
 *        directory stands still while it is looked whether the move would make a loop.
 *   RN2  The new name is there before the old one goes, in one handle.
 */
#include "fs/fs_dir_int.h"

struct rename {
	struct fs *fs;
	unsigned flags;
	struct fs_name old_name, new_name;
	struct fs_inode *old_dir, *new_dir;
	struct fs_inode *child;
	struct fs_inode *target;	/* what new_name leads to, or NULL */
};

/* Is dir the directory top, or below it? rename_lock held. 1 yes, 0 no. */
static int is_below(struct fs_inode *dir, const struct fs_inode *top)
{
	struct fs *fs = dir->fs;
	ino_nr_t ino = dir->ino;

	/* No path is longer than there are inodes: a damaged tree ends too. */
	for (uint32_t steps = 0; steps < fs->nr_inodes; steps++) {
		CLEANUP_INODE struct fs_inode *at = NULL;
		int err;

		if (ino == top->ino)
			return 1;
		if (ino == EXT_ROOT_INO)
			return 0;
		err = fs_get_dir(fs, ino, &at);
		if (err)
			return err;
		os_rwlock_rdlock_key(&at->lock, ino);
		err = fs_dir_parent(at, &ino);
		os_rwlock_unlock(&at->lock);
		if (err)
			return err;
	}
	return fs_dir_damaged(dir, 0, "the way up from it does not end");
}

/* Before the locks, under rename_lock: a directory must not come to lie below itself. */
static int check_loops(const struct rename *r)
{
	int below;

	if (r->old_dir == r->new_dir)
		return 0;
	if (fs_inode_is_dir(r->child)) {
		below = is_below(r->new_dir, r->child);
		if (below)
			return below < 0 ? below : -EINVAL;
	}
	if (r->target && fs_inode_is_dir(r->target)) {
		below = is_below(r->old_dir, r->target);
		if (below)
			return below < 0 ? below : r->flags & FS_RENAME_EXCHANGE ? -EINVAL : -ENOTEMPTY;
	}
	return 0;
}

/* Everything is locked. 1: the names lead elsewhere by now. */
static int check_still(const struct rename *r)
{
	int same = fs_dir_child_is(r->old_dir, r->old_name, r->child);

	if (same == 1)
		same = fs_dir_child_is(r->new_dir, r->new_name, r->target);
	return same < 0 ? same : !same;
}

static int check_replace(const struct rename *r)
{
	int err;

	if (!r->target)
		return 0;
	if (fs_inode_is_dir(r->child) != fs_inode_is_dir(r->target))
		return fs_inode_is_dir(r->child) ? -ENOTDIR : -EISDIR;
	if (!fs_inode_is_dir(r->target))
		return 0;
	err = fs_dir_is_empty(r->target);
	return err < 0 ? err : err ? 0 : -ENOTEMPTY;
}

/* A directory that has one subdirectory more after this. */
static int check_counts(const struct rename *r)
{
	const bool child_is_dir = fs_inode_is_dir(r->child), target_is_dir = r->target && fs_inode_is_dir(r->target);

	if (r->old_dir == r->new_dir || child_is_dir == target_is_dir)
		return 0;
	return fs_dir_may_add_subdir(child_is_dir ? r->new_dir : r->old_dir);
}

static int check_allowed(const struct rename *r)
{
	int err;

	if (r->target && r->flags & FS_RENAME_NOREPLACE)
		return -EEXIST;
	if (!r->target && r->flags & FS_RENAME_EXCHANGE)
		return -ENOENT;
	if ((err = fs_dir_may_remove(r->old_dir)) || (err = fs_dir_may_add(r->new_dir)) ||
	    (err = fs_child_may_remove(r->child)))
		return err;
	if (r->target && ((err = fs_child_may_remove(r->target)) || (err = fs_dir_may_remove(r->new_dir))))
		return err;
	if (!(r->flags & FS_RENAME_EXCHANGE) && (err = check_replace(r)))
		return err;
	return check_counts(r);
}

/* inode was moved: its change time, and where its ".." leads. */
static int moved(struct jnl_handle *h, struct fs_inode *inode, struct fs_inode *from, struct fs_inode *to)
{
	int err;

	os_mutex_lock(&inode->meta);
	fs_inode_touch(inode, false);
	err = fs_inode_store(h, inode);
	os_mutex_unlock(&inode->meta);
	if (err || from == to || !fs_inode_is_dir(inode))
		return err;
	err = fs_dir_set(h, inode, fs_name_of(".."), to->ino, fs_dir_type_of(inode->fs, S_IFDIR));
	if (!err)
		err = fs_dir_count_subdir(h, from, -1);
	return err ? err : fs_dir_count_subdir(h, to, 1);
}

static unsigned type_of(const struct fs_inode *inode)
{
	return fs_dir_type_of(inode->fs, inode->mode);
}

static int exchange(struct jnl_handle *h, const struct rename *r)
{
	int err = fs_dir_set(h, r->new_dir, r->new_name, r->child->ino, type_of(r->child));

	if (!err)
		err = fs_dir_set(h, r->old_dir, r->old_name, r->target->ino, type_of(r->target));
	if (!err)
		err = moved(h, r->child, r->old_dir, r->new_dir);
	return err ? err : moved(h, r->target, r->new_dir, r->old_dir);
}

static int replace(struct jnl_handle *h, const struct rename *r)
{
	int err;

	if (r->target)
		err = fs_dir_set(h, r->new_dir, r->new_name, r->child->ino, type_of(r->child));
	else
		err = fs_dir_add(h, r->new_dir, r->new_name, r->child->ino, type_of(r->child));
	if (!err)
		err = fs_dir_remove(h, r->old_dir, r->old_name);
	if (!err)
		err = moved(h, r->child, r->old_dir, r->new_dir);
	if (!err && r->target) {
		if (fs_inode_is_dir(r->target))	/* its ".." went with it */
			err = fs_dir_count_subdir(h, r->new_dir, -1);
		if (!err)
			err = fs_inode_drop_link(h, r->target);
	}
	return err;
}

static int rename_locked(const struct rename *r)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	/* A name made, a name taken away; child with its "..", the counts of both directories, the target's end. */
	const unsigned credits = fs_credits_dir_add(r->new_dir) + 2 * fs_credits_dir_remove(r->old_dir) +
				 fs_credits_dir_remove(r->child) + 4 * FS_CREDITS_INODE + FS_CREDITS_ORPHAN;
	int err = check_still(r);

	if (err)
		return err;
	if (r->child == r->target && !(r->flags & FS_RENAME_NOREPLACE))
		return 0;	/* two names of one file: both stay */
	err = check_allowed(r);
	if (!err)
		err = jnl_begin(r->fs->jnl, credits, &h);
	if (!err)
		err = r->flags & FS_RENAME_EXCHANGE ? exchange(&h, r) : replace(&h, r);
	return err ? err : jnl_end(&h);
}

/* One try. 1: somebody changed the names between the look and the locks. */
static int try_rename(struct rename *r)
{
	CLEANUP_INODE struct fs_inode *child = NULL;
	CLEANUP_INODE struct fs_inode *target = NULL;
	int err = fs_dir_child_unlocked(r->old_dir, r->old_name, &child);

	if (err)
		return err;
	err = fs_dir_child_unlocked(r->new_dir, r->new_name, &target);
	if (err && err != -ENOENT)
		return err;
	r->child = child;
	r->target = target;
	err = check_loops(r);
	if (err)
		return err;

	struct fs_inode *locked[] = {
		r->old_dir, r->new_dir, fs_inode_is_dir(child) ? child : NULL,
		target && fs_inode_is_dir(target) ? target : NULL,
	};

	fs_lock_inodes(locked, ARRAY_LEN(locked));
	err = rename_locked(r);
	fs_unlock_inodes(locked, ARRAY_LEN(locked));
	return err;
}

int fs_rename(struct fs *fs, ino_nr_t dir, struct fs_name name, ino_nr_t new_dir, struct fs_name new_name, unsigned flags)
{
	CLEANUP_INODE struct fs_inode *from = NULL;
	CLEANUP_INODE struct fs_inode *to = NULL;
	struct rename r = { .fs = fs, .flags = flags, .old_name = name, .new_name = new_name };
	unsigned nr_tries = 0;
	int err = fs_writable(fs);

	if (flags & ~(unsigned)(FS_RENAME_NOREPLACE | FS_RENAME_EXCHANGE) ||
	    flags == (FS_RENAME_NOREPLACE | FS_RENAME_EXCHANGE))
		return -EINVAL;
	if (!err)
		err = fs_name_check(name);
	if (!err)
		err = fs_name_check(new_name);
	if (!err)
		err = fs_get_dir(fs, dir, &from);
	if (!err)
		err = fs_get_dir(fs, new_dir, &to);
	if (err)
		return err;
	cache_throttle(fs->cache);
	r.old_dir = from;
	r.new_dir = to;
	if (from != to)
		os_mutex_lock(&fs->rename_lock);	/* RN1 */
	do
		err = try_rename(&r);
	while (err == 1 || fs_nospc_retry(fs, err, &nr_tries));
	if (from != to)
		os_mutex_unlock(&fs->rename_lock);
	return err;
}
