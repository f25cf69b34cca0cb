/* fsck_inode.h: the inode that a worker has at hand, for the files that check it. */
#ifndef OSFS_TOOLS_FSCK_FSCK_INODE_H
#define OSFS_TOOLS_FSCK_FSCK_INODE_H

#include "fsck_int.h"

struct claim {
	pblk_t first;
	uint64_t nr;
};

struct inode_scratch {
	ARRAY_OF(struct claim) claims;		/* of the inode at hand */
	ARRAY_OF(struct fsck_dblk) blks;	/* its blocks, when it is a directory */
	/* Of all so far; inode_scratch_collect() */
	ARRAY_OF(struct fsck_dir) dirs;
	ARRAY_OF(struct fsck_dblk) dblks;
	ARRAY_OF(struct fsck_xref) xrefs;
};

/* The inode at hand. */
struct inode_look {
	struct worker *w;
	struct fsck *f;
	struct inode_scratch *s;
	ino_nr_t ino;
	struct ext_disk_inode *raw;
	uint32_t mode;
	bool dirty, csum_bad, cleared, has_ibody;
	uint64_t nr_blocks;	/* of the filesystem, map and attribute blocks too */
	lblk_t end;		/* behind the last block of data that is written */
	pblk_t xattr;
	uint32_t xattr_told;
};

/* fsck_inode.c */
/* Walks its map; what is there is added to claims, blks, nr_blocks and end. */
void inode_check_map(struct inode_look *l);
/* It is in use no more: its contents are lost. */
void inode_drop(struct inode_look *l);

/* fsck_inode_field.c: what holds for all types */
void inode_check_fields(struct inode_look *l);
/* Can it not be an inode at all? */
bool inode_is_garbage(const struct inode_look *l);
/* By its type a device, a FIFO or a socket, by what it holds none. */
bool inode_is_no_special(const struct inode_look *l);

/* fsck_inode_type.c: size and contents, as its type wants them; after its map */
void inode_check_contents(struct inode_look *l);

#endif
