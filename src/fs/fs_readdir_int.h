/* fs_readdir_int.h: one call of fs_readdir, as its two orders see it. */
#ifndef OSFS_FS_FS_READDIR_INT_H
#define OSFS_FS_FS_READDIR_INT_H

#include "fs/fs_dir_int.h"

struct fs_reader {
	struct fs_inode *dir;
	fs_dirent_fn *fn;
	void *arg;
	bool is_full;		/* fn wants no more */
	unsigned nr_given;
	int bad;		/* error of a block that was passed by, or 0 */
};

/* Cookies: these, then what comes after ".." in one order or the other. */
enum { COOKIE_START = 0, COOKIE_DOTDOT = 1, COOKIE_ENTRIES = 2 };

/* Gives one entry; false when there is no room for it. An entry that cannot be one is passed by. */
bool fs_reader_give(struct fs_reader *r, const struct ext_disk_dirent *de, uint64_t next_cookie);

/* fs_readdir_hash.c: a directory that is hashed or may become so is listed by hash. */
bool fs_readdir_is_by_hash(const struct fs_inode *dir);
MUST_CHECK int fs_readdir_by_hash(struct fs_reader *r, uint64_t cookie);

#endif
