/*
 * fs_refs.h: how often the caller of fs.h remembers inodes that are not in memory: eight bytes an
 * inode, where the inode itself takes some hundred. The kernel remembers every name it has seen.
 *
 * Linear probing in a table that is at most three quarters full. No locks: the owner has one.
 */
#ifndef OSFS_FS_REFS_H
#define OSFS_FS_REFS_H

#include "alloc/alloc.h"

struct fs_ref {
	ino_nr_t ino;		/* 0: free */
	uint32_t nr;		/* UINT32_MAX: so many or more; such a one is never forgotten */
};

struct fs_refs {
	struct alloc *alloc;
	struct fs_ref *slots;
	unsigned order;		/* pages of slots */
	uint32_t nr_used;
};

void fs_refs_init(struct fs_refs *t, struct alloc *a);
void fs_refs_fini(struct fs_refs *t);
/* Remembers nr > 0 references of an inode that the table does not have. -ENOMEM. */
MUST_CHECK int fs_refs_put(struct fs_refs *t, ino_nr_t ino, uint64_t nr);
/* Takes the inode out; how many there were, 0: it is not there. */
uint64_t fs_refs_take(struct fs_refs *t, ino_nr_t ino);
/* nr references less; true when those were the last. */
bool fs_refs_drop(struct fs_refs *t, ino_nr_t ino, uint64_t nr);
bool fs_refs_has(const struct fs_refs *t, ino_nr_t ino);

#endif
