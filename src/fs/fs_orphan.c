/*
 * fs_orphan.c: the on-disk list of inodes whose deletion or truncation must be finished after a
 * crash, and the end of an inode's life.
 *
 * The list begins at s_last_orphan and goes on through i_dtime. fs->orphans is the same list in
 * memory, in the same order, under orphan_lock; every inode on it is in memory.
 */
#include "base/plant.h"
#include "fs/fs_file.h"

static int store(struct jnl_handle *h, struct fs_inode *inode)
{
	LOCK_GUARD(&inode->meta);

	return fs_inode_store(h, inode);
}

static int store_next(struct jnl_handle *h, struct fs_inode *inode, ino_nr_t next)
{
	LOCK_GUARD(&inode->meta);

	inode->dtime = next;
	return fs_inode_store(h, inode);
}

static int store_head(struct jnl_handle *h, struct fs *fs, ino_nr_t first)
{
	os_mutex_lock(&fs->super_lock);
	fs->super.s_last_orphan = le32_of(first);
	os_mutex_unlock(&fs->super_lock);
	return fs_super_store(h, fs);
}

static ino_nr_t head(struct fs *fs)
{
	LOCK_GUARD(&fs->super_lock);

	return le32_get(fs->super.s_last_orphan);
}

int fs_orphan_add(struct jnl_handle *h, struct fs_inode *inode)
{
	struct fs *fs = inode->fs;
	int err;
	LOCK_GUARD(&fs->orphan_lock);

	if (inode->on_orphan_list || PLANTED(PLANT_NO_ORPHAN))
		return store(h, inode);
	err = store_next(h, inode, head(fs));
	if (!err)
		err = store_head(h, fs, inode->ino);
	if (err)
		return err;
	inode->on_orphan_list = true;
	list_add(&fs->orphans, &inode->orphan_link);
	return 0;
}

int fs_orphan_del(struct jnl_handle *h, struct fs_inode *inode)
{
	struct fs *fs = inode->fs;
	int err;
	LOCK_GUARD(&fs->orphan_lock);

	if (!inode->on_orphan_list)
		return store(h, inode);
	if (inode->orphan_link.prev == &fs->orphans)
		err = store_head(h, fs, inode->dtime);
	else
		err = store_next(h, list_entry(inode->orphan_link.prev, struct fs_inode, orphan_link), inode->dtime);
	if (err)
		return err;
	list_del(&inode->orphan_link);
	inode->on_orphan_list = false;
	return store_next(h, inode, 0);
}

/* After a crash -------------------------------------------------------------------------- */

/* The whole chain into memory, pinned, as fs->orphans. Stops at the first link that cannot be. */
static int read_chain(struct fs *fs)
{
	ino_nr_t ino = head(fs);
	struct fs_inode *inode;

	while (ino) {
		const int err = fs_iget_orphan(fs, ino, &inode);

		if (err || inode->on_orphan_list) {
			log_error("%s: the orphan list leads to inode %" PRIu32 ", which %s: run e2fsck", blk_name(fs->dev), ino,
				  err ? "cannot be read" : "is on it already");
			fs_iput(inode);
			return fs_damaged(fs, ino, 0, -EUCLEAN);
		}
		inode->on_orphan_list = true;
		list_add_tail(&fs->orphans, &inode->orphan_link);
		ino = inode->dtime;
	}
	return 0;
}

/* A truncation that was begun is carried out: what lies behind the size goes. */
int fs_orphan_finish_truncate(struct fs_inode *inode)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	int err = 0;

	os_rwlock_wrlock_key(&inode->lock, inode->ino);
	if (inode->map && S_ISREG(inode->mode))
		err = fs_file_truncate(inode, inode->size_bytes);
	if (!err)
		err = jnl_begin(inode->fs->jnl, FS_CREDITS_ORPHAN, &h);
	if (!err)
		err = fs_orphan_del(&h, inode);
	if (!err)
		err = jnl_end(&h);
	os_rwlock_unlock(&inode->lock);
	return err;
}

/* What could not be finished is fsck's: nothing more is written, the list on disk stays as it is. */
static void give_up(struct fs *fs)
{
	struct fs_inode *inode;

	log_error("%s: read-only, since its orphan list could not be worked off: run e2fsck", blk_name(fs->dev));
	atomic_store(&fs->read_only, true);
	while ((inode = list_first(&fs->orphans, struct fs_inode, orphan_link))) {
		list_del(&inode->orphan_link);
		if (inode->load_err)
			continue;	/* it could not be deleted: it stays as it is, nobody's (IC2) */
		inode->on_orphan_list = false;
		fs_iput(inode);
	}
}

static int process_list(struct fs *fs)
{
	unsigned nr_deleted = 0, nr_truncated = 0;
	struct fs_inode *inode;
	int err;

	if (!head(fs))
		return 0;
	err = read_chain(fs);
	while (!err && (inode = list_first(&fs->orphans, struct fs_inode, orphan_link))) {
		const ino_nr_t ino = inode->ino;

		if (inode->nlink > 0) {
			err = fs_orphan_finish_truncate(inode);
			/* Cut as far as damage, which is told and noted, let it be. */
			if (err == -EUCLEAN && !inode->on_orphan_list)
				err = 0;
			nr_truncated++;
		} else {
			nr_deleted++;
		}
		if (err && inode->on_orphan_list)
			break;		/* give_up() puts it */
		fs_iput(inode);	/* destroys it when it has no links, which takes it off the list */
		if (!err && head(fs) == ino)
			err = -EUCLEAN;
	}
	if (!err)
		log_info("%s: %u deletions and %u truncations finished that a crash had left", blk_name(fs->dev), nr_deleted,
			 nr_truncated);
	return err;
}

int fs_orphans_process(struct fs *fs)
{
	int err = process_list(fs);

	if (!err)
		err = fs_orphan_file_process(fs);
	if (err)
		give_up(fs);
	return 0;
}

/* The end ---------------------------------------------------------------------------------- */

static int destroy_contents(struct fs_inode *inode)
{
	int err;

	os_rwlock_wrlock_key(&inode->lock, inode->ino);
	fs_reservation_drop(inode);
	err = fs_file_free_blocks(inode);
	os_rwlock_unlock(&inode->lock);
	return err;
}

/* Attribute block, orphan list, the number. */
static int destroy_inode(struct fs_inode *inode)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	const unsigned credits = fs_credits_xattr(inode->fs) + FS_CREDITS_ORPHAN + 2 + FS_CREDITS_INODE;
	int err;

	os_rwlock_wrlock_key(&inode->lock, inode->ino);
	err = jnl_begin(inode->fs->jnl, credits, &h);
	if (!err)
		err = fs_xattr_free(&h, inode);
	if (!err)
		err = fs_orphan_del(&h, inode);
	if (!err)
		err = fs_inode_free(&h, inode);
	if (!err)
		err = jnl_end(&h);
	os_rwlock_unlock(&inode->lock);
	return err;
}

/* It goes from memory, while on disk it stays on the list as far as its neighbours let it: for fsck. */
static void leave_list(struct fs_inode *inode)
{
	LOCK_GUARD(&inode->fs->orphan_lock);

	list_del(&inode->orphan_link);
	inode->on_orphan_list = false;
}

int fs_inode_destroy(struct fs_inode *inode)
{
	int err = destroy_contents(inode);

	if (!err)
		err = destroy_inode(inode);
	if (err) {
		log_error("%s: inode %" PRIu32 " could not be deleted: %s", blk_name(inode->fs->dev), inode->ino, strerror(-err));
		leave_list(inode);
	}
	return err;
}
