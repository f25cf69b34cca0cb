/*
 * look_owner.h: whose is this block? One walk over all inode tables makes a table of block
 * runs and owners; names follow from a walk over all directories.
 *
 * Memory: 40 bytes a run of blocks that is asked for, 16 a map block, 4 a directory; names: what
 * the directories and the inodes asked for are called. A table that is longer than four times the
 * filesystem's blocks is cut, and that is told: only damage makes one.
 */
#ifndef OSFS_TOOLS_LOOK_LOOK_OWNER_H
#define OSFS_TOOLS_LOOK_LOOK_OWNER_H

#include "look/look.h"

enum look_owner_kind {
	/* of the filesystem; nr is the group */
	LOOK_OWN_SUPER, LOOK_OWN_DESC, LOOK_OWN_RESERVED_DESC, LOOK_OWN_BLOCK_BITMAP, LOOK_OWN_INODE_BITMAP, LOOK_OWN_ITABLE,
	/* of inode nr */
	LOOK_OWN_DATA, LOOK_OWN_MAP, LOOK_OWN_XATTR,
};

struct look_owner {
	pblk_t first;
	uint64_t nr_blocks;
	lblk_t lblk;		/* DATA, MAP: block of the file that it begins with */
	uint64_t nr_lblks;	/* MAP */
	uint32_t nr;		/* group, or inode */
	uint16_t mode;		/* of the inode */
	uint8_t kind, level;	/* level: MAP */
	bool unwritten, extents;
};

struct look_range {
	uint64_t first, nr;
};

struct look_owners {
	struct look_owner *o;		/* sorted by first */
	pblk_t *max_end;		/* the largest end up to here */
	size_t nr, cap;
	const struct look_range *ranges;
	size_t nr_ranges;
	uint64_t max;
	ino_nr_t *dirs;			/* all directories */
	size_t nr_dirs, cap_dirs;
	bool cut;
};

/*
 * The owners of the blocks in ranges (sorted, apart from each other, the caller's until the end;
 * nr 0: of all blocks).
 */
MUST_CHECK int look_owners_load(struct look *l, const struct look_range *ranges, size_t nr, struct look_owners *out);
void look_owners_free(struct look_owners *w);
/* The owners of a block, at most max of them; *until: behind the last block of which the same can be said. */
size_t look_owners_at(const struct look_owners *w, pblk_t pblk, const struct look_owner **out, size_t max, pblk_t *until);

struct look_name_rec {
	ino_nr_t parent;
	uint32_t off;			/* in text */
	uint16_t len;
	uint32_t nr_more;		/* further names */
};
struct look_names {
	struct jbd2_map by_ino;		/* inode: its record */
	struct look_name_rec *rec;
	size_t nr, cap;
	char *text;
	size_t nr_text, cap_text;
};
/* Names of all directories and of the inodes in wanted (NULL value map: keys count). */
MUST_CHECK int look_names_load(struct look *l, const struct look_owners *w, const struct jbd2_map *wanted,
			       struct look_names *out);
void look_names_free(struct look_names *n);
/* "/a/b", malloc'ed; NULL: it has no name, or none that leads to the root. *nr_more: how many others. */
char *look_names_path(const struct look_names *n, ino_nr_t ino, uint32_t *nr_more);

#endif
