/*
 * fs_map.h: what the map files share. The interface for the rest of src/fs is in fs_int.h.
 *
 * Pointers are checked where they are followed, not when their block is read: on a damaged
 * filesystem a map block may at the same time be somebody's data and change under us.
 */
#ifndef OSFS_FS_MAP_H
#define OSFS_FS_MAP_H

#include "fs/fs_int.h"

extern const struct fs_map_ops fs_map_extent;

/* The header in i_block, when the inode is read. -EUCLEAN, logged. */
MUST_CHECK int fs_map_extent_check_root(struct fs_inode *inode);
/* Tells of a pointer that points nowhere; returns -EUCLEAN. */
int fs_map_bad(struct fs_inode *inode, const char *what, unsigned level, unsigned index, pblk_t found);
/* How many of these blocks, from the first on, may be file data. */
uint32_t fs_map_trusted(const struct fs *fs, pblk_t pblk, uint32_t nr);

/* The root of a new, empty extent tree. */
void fs_map_extent_root(uint8_t root[EXT_INLINE_BYTES]);

/* Growing: fs_map_need.c ----------------------------------------------------------------------- */

/* With 256 pointers in a map block: 9 tables, the roots above them, the next depth's chain. */
enum { FS_MAP_NEED_MAX = 16 };

/* Map blocks that are allocated and not linked yet. */
struct fs_map_need {
	pblk_t blocks[FS_MAP_NEED_MAX];
	unsigned nr, used;
};
/* Allocates count map blocks; all or none. */
MUST_CHECK int fs_map_need_alloc(struct jnl_handle *h, struct fs_inode *inode, pblk_t goal, unsigned count,
				 struct fs_map_need *need);
/* What is not linked. touched: some may have been written into, as far as the log is concerned. */
MUST_CHECK int fs_map_need_free(struct jnl_handle *h, struct fs_inode *inode, struct fs_map_need *need, bool touched);
/* Behind the block before, or where the inode's first block should go. */
pblk_t fs_map_goal(struct fs_inode *inode, lblk_t lblk);

/* Freeing: fs_map_punch.c ------------------------------------------------------------------------
 *
 * A punch goes by steps that each free one run of blocks; between any two of them the handle may be
 * restarted, after the inode has been stored.
 *
 *   P1  What points to a block is cleared in the handle that frees it, before it (F3).
 *   P2  Damage does not stop the work: a pointer to nowhere is cleared, and -EUCLEAN returned at
 *       the end. Only where it does not end (too much of it) the rest is left to fsck.
 */
struct fs_punch {
	struct jnl_handle *h;
	struct fs_inode *inode;
	unsigned nr_steps;	/* of this handle */
	unsigned nr_damages;
};
/* Before each step: the handle has credits for it. */
MUST_CHECK int fs_punch_step(struct fs_punch *pu);
/* P2: 0 to go on. */
MUST_CHECK int fs_punch_damage(struct fs_punch *pu);
MUST_CHECK int fs_punch_free(struct fs_punch *pu, pblk_t pblk, uint32_t nr, bool meta);

/* For the handle that a punch begins with: its steps until it is restarted, the caller's inode and orphan list at its end. */
unsigned fs_credits_punch(const struct fs_inode *inode);

/* Indirect maps -----------------------------------------------------------------
 *
 * A table is an array of data pointers: the 12 direct ones in the inode, or a map
 * block of the lowest level. Level 0 is i_block, level k the map block k steps
 * below; depth is the level of the table (0 to 3).
 */
enum { IND_MAX_DEPTH = 3 };

struct ind_path {
	unsigned depth;
	unsigned slot[IND_MAX_DEPTH + 1];	/* slot[k]: index at level k */
	uint32_t nr_left;			/* pointers from slot[depth] to the end of the table */
};
/* False: the format cannot address this block. */
bool ind_path_of(const struct fs *fs, lblk_t lblk, struct ind_path *p);
lblk_t ind_nr_lblks(const struct fs *fs);	/* what can be addressed */
/* Data blocks below one pointer at this level of a path of this depth. */
static inline lblk_t ind_span(const struct fs *fs, unsigned depth, unsigned level)
{
	return (lblk_t)1 << (depth - level) * fs->ptrs_per_block_shift;
}

/*
 * Goes down p as far as there are map blocks: bufs[1..*level] are pinned, *level is p's depth
 * or the level whose pointer is 0. -EUCLEAN (bad pointer: *level is where it stands), -EIO;
 * then also the bufs down to *level are the caller's.
 */
MUST_CHECK int ind_descend(struct fs_inode *inode, const struct ind_path *p,
			   struct cache_buf *bufs[IND_MAX_DEPTH + 1], unsigned *level);
void ind_put(struct cache_buf *bufs[IND_MAX_DEPTH + 1]);
/* Data pointers of the table: buf NULL is i_block. */
static inline uint32_t ind_get(const struct fs_inode *inode, const struct cache_buf *b, unsigned slot)
{
	return b ? le32_get(((const le32 *)b->data)[slot]) : inode->block[slot];
}
/* Sets nr pointers to pblk, pblk + 1 … (all 0 when pblk is 0). Does not store the inode. */
MUST_CHECK int ind_set(struct jnl_handle *h, struct fs_inode *inode, struct cache_buf *b, unsigned slot,
		       uint32_t nr, pblk_t pblk);
/* Are blocks of this inode metadata (of a directory, a symbolic link)? */
static inline bool ind_is_meta(const struct fs_inode *inode)
{
	return !S_ISREG(inode->mode);
}

int ind_find(struct fs_inode *inode, lblk_t lblk, uint32_t max, struct fs_extent *out);
int ind_fill(struct jnl_handle *h, struct fs_inode *inode, lblk_t lblk, uint32_t max, struct fs_extent *out,
	     bool *fresh);
int ind_punch(struct jnl_handle *h, struct fs_inode *inode, lblk_t from, lblk_t to);

#endif
