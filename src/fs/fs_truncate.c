/*
 * fs_truncate.c: the size of a file changes.
 *
 * Growing only moves the size: what is between is a hole. Shrinking may take more than one
 * handle: the inode stands on the orphan list from the first to the last, so that after a crash
 * the mount goes on where this ended.
 */
#include "fs/fs_file.h"
#include "fs/fs_map.h"

static int truncate_inline(struct fs_inode *inode, uint64_t size_bytes)
{
	if (fs_file_inline_fits(inode, size_bytes))
		return fs_file_inline_change(inode, size_bytes, 0, NULL, 0, true);
	return fs_file_inline_to_blocks(inode);
}

static int grow(struct fs_inode *inode, uint64_t size_bytes)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	pblk_t tail;
	int err = fs_file_zero_tail(inode, inode->size_bytes, &tail);	/* W1 */

	if (!err)
		err = jnl_begin(inode->fs->jnl, FS_CREDITS_SIZE, &h);
	if (!err && tail)
		err = jnl_order_data(&h, tail, 1);
	if (!err)
		err = fs_file_set_size(&h, inode, size_bytes);
	if (!err)
		err = fs_file_store(&h, inode, true);
	return err ? err : jnl_end(&h);
}

/* Blocks of its own, beside the attribute block. */
static bool has_blocks(const struct fs_inode *inode)
{
	return inode->nr_sects > (inode->file_acl ? inode->fs->block_bytes >> SECT_SHIFT : 0);
}

static int punch_behind(struct jnl_handle *h, struct fs_inode *inode, lblk_t from)
{
	const bool is_linked = inode->nlink > 0;	/* else it is an orphan already, and stays one */
	int err = is_linked ? fs_orphan_add(h, inode) : 0, damage = 0;

	if (!err)
		err = fs_map_punch(h, inode, from, UINT64_MAX);
	if (err == -EUCLEAN) {
		damage = err;
		err = 0;
	}
	if (!err && is_linked)
		err = fs_orphan_del(h, inode);
	return err ? err : damage;
}

static int shrink(struct fs_inode *inode, uint64_t size_bytes)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	int err = fs_file_zero_tail(inode, size_bytes, NULL), damage = 0, store_err;	/* W1 */

	if (!err)
		err = jnl_begin(inode->fs->jnl, fs_credits_punch(inode) + FS_CREDITS_ORPHAN + FS_CREDITS_SIZE, &h);
	if (err)
		return err;
	fs_reservation_drop(inode);
	err = fs_file_set_size(&h, inode, size_bytes);
	if (!err && has_blocks(inode))
		err = punch_behind(&h, inode, fs_file_end_lblk(inode->fs, size_bytes));
	if (err == -EUCLEAN) {
		damage = err;
		err = 0;
	}
	if (!h.opened)
		return err ? err : damage;	/* the journal has ended */
	store_err = fs_file_store(&h, inode, true);	/* F3, whatever the punch met: it stays on the orphan list then */
	if (!err)
		err = store_err;
	if (!err)
		err = jnl_end(&h);
	return err ? err : damage;
}

int fs_file_truncate(struct fs_inode *inode, uint64_t size_bytes)
{
	const int err = fs_file_may_change(inode);

	if (err)
		return err;
	if (size_bytes > fs_map_max_bytes(inode))
		return -EFBIG;
	if (fs_inode_has_inline(inode)) {
		const int inline_err = truncate_inline(inode, size_bytes);

		if (inline_err || fs_inode_has_inline(inode))
			return inline_err;
	}
	return size_bytes > inode->size_bytes ? grow(inode, size_bytes) : shrink(inode, size_bytes);
}
