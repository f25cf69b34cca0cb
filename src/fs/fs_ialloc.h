/* fs_ialloc.h: the bits behind fs_inode_alloc() and fs_inode_free(). */
#ifndef OSFS_FS_FS_IALLOC_H
#define OSFS_FS_FS_IALLOC_H

#include "fs/fs_int.h"

/*
 * Takes a free number of the group: bitmap, counts, itable_unused. -ENOSPC: none after all.
 * Credits: 2, and 1 for a block of the inode table that is used for the first time.
 */
MUST_CHECK int fs_ialloc_take(struct jnl_handle *h, struct fs *fs, struct fs_group *g, bool is_dir, ino_nr_t *ino);
/* The number is free again. Credits: 2. */
MUST_CHECK int fs_ialloc_give_back(struct jnl_handle *h, struct fs *fs, ino_nr_t ino, bool is_dir);
/* The disk inode becomes all zeroes: nothing of an earlier inode stays. meta held. Credits: 1. */
MUST_CHECK int fs_ialloc_clear(struct jnl_handle *h, struct fs_inode *inode);

#endif
