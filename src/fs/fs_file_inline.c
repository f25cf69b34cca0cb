/*
 * fs_file_inline.c: regular files whose contents are in the inode. They are few bytes: each
 * change builds the new contents and sets them as a whole. When they no longer fit they move
 * to the first block, and the file is an ordinary one from then on.
 */
#include <stdlib.h>

#include "fs/fs_file.h"

bool fs_file_inline_fits(struct fs_inode *inode, uint64_t len_bytes)
{
	return len_bytes <= FS_INLINE_FILE_MAX && len_bytes <= fs_inline_max_bytes(inode);
}

int fs_file_inline_change(struct fs_inode *inode, uint64_t size_bytes, uint64_t off, const void *src, size_t len,
			  bool touch)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	uint8_t contents[FS_INLINE_FILE_MAX];
	const unsigned kept = (unsigned)MIN(inode->size_bytes, size_bytes);
	int err = fs_inline_read(inode, contents, 0, kept);

	if (err)
		return err;
	memset(contents + kept, 0, (size_t)size_bytes - kept);
	if (len > 0)
		memcpy(contents + off, src, len);
	err = jnl_begin(inode->fs->jnl, fs_credits_xattr(inode->fs), &h);
	if (err)
		return err;
	if (touch) {
		LOCK_GUARD(&inode->meta);

		fs_inode_touch(inode, true);
	}
	err = fs_inline_write(&h, inode, contents, (unsigned)size_bytes);
	return err ? err : jnl_end(&h);
}

/* One block for the contents, which are gone from the inode already. */
static int to_first_block(struct jnl_handle *h, struct fs_inode *inode, const uint8_t *contents, size_t len)
{
	const struct fs_copy c = { .src = contents, .len_bytes = len, .partial = CACHE_FRESH };
	struct fs_extent e;
	bool fresh;
	int err = fs_map_fill(h, inode, 0, 1, &e, &fresh);

	if (err)
		return err;
	err = fs_file_copy_in(h, inode->fs, e.pblk, &c);
	if (err) {
		const int undo_err = fs_map_punch(h, inode, 0, 1);

		return undo_err ? undo_err : err;
	}
	fs_file_mark_written(inode, 0, len);
	return 0;
}

/* Everything in one handle; after an error the contents are in the inode again. */
static int move_to_blocks(struct fs_inode *inode, const uint8_t *contents, size_t len)
{
	CLEANUP_HANDLE struct jnl_handle h = {0};
	/* The inode and its attributes; one block, which needs no map block. */
	const unsigned credits = fs_credits_xattr(inode->fs) + FS_CREDITS_ALLOC + FS_CREDITS_INODE +
				 fs_credits_data(inode->fs, 1);
	int err = jnl_begin(inode->fs->jnl, credits, &h);

	if (!err)
		err = fs_inline_drop(&h, inode);
	if (err)
		return err;
	err = len > 0 ? to_first_block(&h, inode, contents, len) : 0;
	if (err) {
		int back_err = fs_inline_init(&h, inode);

		if (!back_err)
			back_err = fs_inline_write(&h, inode, contents, (unsigned)len);
		return back_err ? back_err : err;
	}
	os_mutex_lock(&inode->meta);
	inode->size_bytes = len;
	err = fs_inode_store(&h, inode);
	os_mutex_unlock(&inode->meta);
	return err ? err : jnl_end(&h);
}

int fs_file_inline_to_blocks(struct fs_inode *inode)
{
	const size_t len = (size_t)inode->size_bytes;	/* checked against the inode by fs_inline_read */
	uint8_t small[FS_INLINE_FILE_MAX], *contents = small;
	int err;

	if (len > EXT_MAX_BLOCK_BYTES)
		return -EUCLEAN;
	if (len > sizeof(small)) {
		contents = malloc(len);
		if (!contents)
			return -ENOMEM;
	}
	err = fs_inline_read(inode, contents, 0, (unsigned)len);
	if (!err) {
		unsigned nr_tries = 0;

		do
			err = move_to_blocks(inode, contents, len);
		while (fs_nospc_retry(inode->fs, err, &nr_tries));
	}
	if (contents != small)
		free(contents);
	return err;
}
