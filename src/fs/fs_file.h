/*
 * fs_file.h: what the files about contents share.
 *
 *   W1  Bytes behind the end of a file are zero in its last block before the size moves over
 *       them: what shrinks a file, and what writes behind the end, sees to it.
 *   W2  A file has no blocks wholly behind its end.
 */
#ifndef OSFS_FS_FILE_H
#define OSFS_FS_FILE_H

#include "fs/fs_int.h"

/* fs_file.c */
enum {
	FS_CREDITS_SIZE = 1 + FS_CREDITS_INODE,	/* superblock (large_file), inode */
};
/* The file's size in memory, and the feature that big files need. Takes meta. Credits: 1 (superblock). */
MUST_CHECK int fs_file_set_size(struct jnl_handle *h, struct fs_inode *inode, uint64_t size_bytes);
/* [from, to) has been written: the next fsync covers it. */
void fs_file_mark_written(struct fs_inode *inode, uint64_t from, uint64_t to);
/* Touches (mtime too, or ctime only) and stores. Takes meta. */
MUST_CHECK int fs_file_store(struct jnl_handle *h, struct fs_inode *inode, bool mtime);
/* Bytes that may be written at all: 0, -EPERM (flags of the inode), -EISDIR, -EINVAL (no regular file). */
MUST_CHECK int fs_file_may_change(const struct fs_inode *inode);
/* The mode after a write by someone without privilege: no setuid, no setgid where the group may execute. */
static inline uint16_t fs_mode_without_priv(uint16_t mode)
{
	return (uint16_t)(mode & ~(S_ISUID | (mode & S_IXGRP ? S_ISGID : 0)));
}
/* First file block wholly behind the size. */
static inline lblk_t fs_file_end_lblk(const struct fs *fs, uint64_t size_bytes)
{
	return (size_bytes >> fs->block_shift) + ((size_bytes & (fs->block_bytes - 1)) != 0);
}
static inline lblk_t fs_file_nr_lblks(const struct fs_inode *inode)
{
	return fs_file_end_lblk(inode->fs, inode->size_bytes);
}

/* fs_read.c: contents or entries were looked at: the access time, in memory (relatime and so on). */
void fs_inode_accessed(struct fs_inode *inode);

/* fs_file_copy.c: bytes into frames. Exclusive inode->lock. */
struct fs_copy {
	const uint8_t *src;	/* NULL: zeroes */
	size_t len_bytes;
	unsigned skip_bytes;	/* into the first block */
	enum cache_write_mode partial;	/* of blocks that are not written as a whole: CACHE_UPDATE or CACHE_FRESH */
	bool zero_rest;		/* the last block's bytes behind become zero (W1) */
};
/*
 * To the blocks from pblk on. h: the handle that the blocks are logged in (fs_logs_data: a credit for
 * each), else not looked at. With CACHE_FRESH no I/O happens and nothing is waited for: allowed in a handle.
 */
MUST_CHECK int fs_file_copy_in(struct jnl_handle *h, struct fs *fs, pblk_t pblk, const struct fs_copy *c);
/* Zeroes the bytes [from, to), which lie in one block, where it is mapped: *pblk (may be NULL), or 0. No handle. */
MUST_CHECK int fs_file_zero_part(struct fs_inode *inode, uint64_t from, uint64_t to, pblk_t *pblk);
/*
 * Zeroes what lies behind the size in the last block (W1). No handle. The one that then moves the
 * size orders that block (*pblk, 0: none) before its commit.
 */
MUST_CHECK int fs_file_zero_tail(struct fs_inode *inode, uint64_t size_bytes, pblk_t *pblk);
/* Blocks that are logged in one handle at most, and bytes that a step fills where they are not. */
enum { FS_LOGGED_BLOCKS = 64 };
static inline uint32_t fs_file_step_bytes(const struct fs *fs, uint32_t most)
{
	return fs_logs_data(fs) ? MIN(most, (uint32_t)FS_LOGGED_BLOCKS << fs->block_shift) : most;
}
/* Credits for nr blocks of data. */
static inline unsigned fs_credits_data(const struct fs *fs, uint32_t nr)
{
	return fs_logs_data(fs) ? nr : 0;
}

/* fs_file_inline.c: files whose contents are in the inode. Exclusive inode->lock, no handle. */
enum { FS_INLINE_FILE_MAX = 1024 };	/* bigger contents go to blocks, whatever room the inode has */
/* Could the file's contents be len bytes and stay in the inode? */
bool fs_file_inline_fits(struct fs_inode *inode, uint64_t len_bytes);
/* Contents change to size_bytes, what is new being zero but for len bytes of src at off. touch: times are set. */
MUST_CHECK int fs_file_inline_change(struct fs_inode *inode, uint64_t size_bytes, uint64_t off, const void *src,
				     size_t len, bool touch);
/* The contents move to a block; size stays. -ENOSPC: nothing has changed. */
MUST_CHECK int fs_file_inline_to_blocks(struct fs_inode *inode);

#endif
