/*
 * fs_map_extent.h: what the files on extent trees share.
 *
 * A node is a header and sorted records of 12 bytes: leaves hold extents, index nodes point to
 * nodes one depth lower. The root is i_block. Source: the kernel's "ext4 Data Structures and
 * Algorithms", chapter "The Contents of inode.i_block".
 *
 *   E1  A record's first file block in an index node is that of the first record below it.
 *   E2  Every node but the root has records.
 */
#ifndef OSFS_FS_MAP_EXTENT_H
#define OSFS_FS_MAP_EXTENT_H

#include "fs/fs_map.h"

enum {
	EXTENT_MAX_DEPTH = 5,			/* five levels hold more than 2^32 blocks */
	EXTENT_MAX_LEN = 32768,			/* ee_len beyond it: unwritten, minus it */
	EXTENT_MAX_UNWRITTEN = EXTENT_MAX_LEN - 1,
	EXTENT_RECORD_BYTES = sizeof(struct ext_disk_extent),
	EXTENT_HEADER_BYTES = sizeof(struct ext_disk_extent_header),
};
#define EXTENT_NR_LBLKS ((lblk_t)UINT32_MAX)	/* what a file can have */

/* A leaf's record in memory. */
struct extent {
	lblk_t lblk;
	pblk_t pblk;
	uint32_t nr;
	bool unwritten;		/* allocated, but its bytes are not the file's: it reads as zeroes */
};

/*
 * From the root (level: depth) to a leaf (level 0). at is the record that led down; at the leaf
 * the last one that begins at the block looked for or before, nr when all begin behind.
 */
struct extent_path {
	unsigned depth;
	unsigned at[EXTENT_MAX_DEPTH + 1];
	struct cache_buf *bufs[EXTENT_MAX_DEPTH + 1];	/* NULL at the root */
	uint8_t root[EXT_INLINE_BYTES] __attribute__((aligned(8)));
	lblk_t limit;		/* where the leaf's part of the file ends */
};

/* Walks and checks. -EUCLEAN, told. The path is to be put, also after an error. */
MUST_CHECK int extent_descend(struct fs_inode *inode, lblk_t lblk, struct extent_path *p);
void extent_path_put(struct extent_path *p);
#define CLEANUP_EXTENT_PATH __attribute__((cleanup(extent_path_put)))

static inline uint8_t *extent_node(struct extent_path *p, unsigned level)
{
	return level == p->depth ? p->root : p->bufs[level]->data;
}
static inline struct ext_disk_extent_header *extent_head(struct extent_path *p, unsigned level)
{
	return (struct ext_disk_extent_header *)extent_node(p, level);
}
static inline unsigned extent_nr(struct extent_path *p, unsigned level)
{
	return le16_get(extent_head(p, level)->eh_entries);
}
static inline void *extent_record(struct extent_path *p, unsigned level, unsigned i)
{
	return extent_node(p, level) + EXTENT_HEADER_BYTES + (size_t)i * EXTENT_RECORD_BYTES;
}
/* What lies at lblk, where p leads: an extent, or with nr 0 a hole of *hole blocks (0: beyond the last possible one). */
struct extent extent_at(struct extent_path *p, lblk_t lblk, uint32_t *hole);
struct extent extent_load(const struct ext_disk_extent *raw);
void extent_store(struct ext_disk_extent *raw, const struct extent *e);
/* The checksum behind the records of a block, when the filesystem has such. */
void extent_seal(const struct fs_inode *inode, uint8_t *bytes);

extern const struct cache_kind extent_kind;	/* its arg is the inode */

/* fs_map_extent_change.c: changes of a path. Handle: credits extent_change_credits() ---------------- */

/* Before the first change of a level's node, and after the last. The inode is the caller's to store. */
MUST_CHECK int extent_change(struct jnl_handle *h, struct extent_path *p, unsigned level);
void extent_changed(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p, unsigned level);
/* A leaf's record is put in at place i; there is room. */
MUST_CHECK int extent_insert(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p, unsigned i,
			     const struct extent *e);
/* The first record of the leaf has another first block: E1. */
MUST_CHECK int extent_fix_keys(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p);
/* Record i of the leaf goes; nodes that become empty are freed (E2). */
MUST_CHECK int extent_remove(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p, unsigned i);
/* Blocks for nodes that extent_make_room() takes. */
unsigned extent_room_blocks(struct extent_path *p, unsigned nr_records);
/* Splits nodes until the leaf of lblk has room for so many records more; p leads there anew. */
MUST_CHECK int extent_make_room(struct jnl_handle *h, struct fs_inode *inode, lblk_t lblk, unsigned nr_records,
				struct fs_map_need *need, struct extent_path *p);

int extent_find(struct fs_inode *inode, lblk_t lblk, uint32_t max, struct fs_extent *out);
int extent_fill(struct jnl_handle *h, struct fs_inode *inode, lblk_t lblk, uint32_t max, struct fs_extent *out,
		bool *fresh);
int extent_punch(struct jnl_handle *h, struct fs_inode *inode, lblk_t from, lblk_t to);

#endif
