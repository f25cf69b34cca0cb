/* fsck_walk.h: what the files that know the formats of block maps share. */
#ifndef OSFS_TOOLS_FSCK_FSCK_WALK_H
#define OSFS_TOOLS_FSCK_FSCK_WALK_H

#include "fsck_int.h"

/* fsck_walk.c ------------------------------------------------------------------------- */
/* Something that cannot be, told to wk->bad. True: it is to be cut off; false: it is left, and the walk has failed. */
bool walk_bad(struct walk *wk, enum problem pr, struct fsck_args args);
/* Room for a map block of this level, the worker's; NULL: no memory, noted. */
uint8_t *walk_level_buf(struct walk *wk, unsigned level);
/* Has this walk followed the map block already? From now on it has (W2). */
bool walk_seen_before(struct walk *wk, pblk_t pblk);

/* fsck_walk_extent.c: a map of extents, from the root in the inode */
void walk_extents(struct walk *wk);

/* fsck_extent.c: a node of an extent tree ------------------------------------------------ */
enum { EXTENT_BYTES = 12, EXTENT_UNWRITTEN_ABOVE = 32768 };

struct extent_node {
	uint8_t *bytes;		/* the head, then records of EXTENT_BYTES */
	unsigned depth;
	pblk_t pblk;		/* 0: the root */
	lblk_t end;		/* nothing at or behind it, by the index records above */
	bool end_is_sure;	/* by what the blocks behind them say, too */
	const struct extent_node *parent;	/* NULL: it is the root */
	unsigned at;		/* its record there */
	bool changed;
};

static inline struct ext_disk_extent_header *extent_head(const struct extent_node *n)
{
	return (struct ext_disk_extent_header *)n->bytes;
}
static inline struct ext_disk_extent *extent_leaf(const struct extent_node *n, unsigned i)
{
	return (struct ext_disk_extent *)(n->bytes + EXTENT_BYTES) + i;
}
static inline struct ext_disk_extent_idx *extent_index(const struct extent_node *n, unsigned i)
{
	return (struct ext_disk_extent_idx *)(n->bytes + EXTENT_BYTES) + i;
}
static inline unsigned extent_nr(const struct extent_node *n)
{
	return le16_get(extent_head(n)->eh_entries);
}
static inline uint32_t extent_len(const struct ext_disk_extent *e)
{
	const uint32_t len = le16_get(e->ee_len);

	return len > EXTENT_UNWRITTEN_ABOVE ? len - EXTENT_UNWRITTEN_ABOVE : len;
}
static inline pblk_t extent_start(const struct ext_disk_extent *e)
{
	return (pblk_t)le16_get(e->ee_start_hi) << 32 | le32_get(e->ee_start_lo);
}
static inline void extent_set(struct ext_disk_extent *e, lblk_t lblk, pblk_t pblk, uint32_t len, bool unwritten)
{
	e->ee_block = le32_of((uint32_t)lblk);
	e->ee_start_lo = le32_of((uint32_t)pblk);
	e->ee_start_hi = le16_of((uint16_t)(pblk >> 32));
	e->ee_len = le16_of((uint16_t)(len + (unwritten ? EXTENT_UNWRITTEN_ABOVE : 0)));
}
static inline bool extent_is_unwritten(const struct ext_disk_extent *e)
{
	return le16_get(e->ee_len) > EXTENT_UNWRITTEN_ABOVE;
}
static inline pblk_t extent_child(const struct ext_disk_extent_idx *e)
{
	return (pblk_t)le16_get(e->ei_leaf_hi) << 32 | le32_get(e->ei_leaf_lo);
}

/* A record goes; in leaves and index nodes alike. */
void fsck_extent_remove(struct extent_node *n, unsigned i);
/* Room for a record before the i-th; false: it is full. */
bool fsck_extent_insert(struct extent_node *n, unsigned i);
/* Is it a head of n->depth, with records that lie within cap bytes? */
bool fsck_extent_head_ok(const struct extent_node *n, size_t cap);
/* Of a block, not of the root; right, or none is wanted. seed: inode_seed(). */
bool fsck_extent_csum_ok(const struct fsck *f, uint32_t seed, const struct extent_node *n);
/* Seals it and writes it. */
void fsck_extent_write(struct fsck *f, uint32_t seed, struct extent_node *n);

#endif
