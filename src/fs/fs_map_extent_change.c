/*
 * fs_map_extent_change.c: extent trees change: records in and out, nodes split, grow and go.
 *
 * A tree grows at its root: when that is full, its records move to a block and it keeps one
 * that points there. Nodes are split from the top down, each into a parent that has room, with a
 * new walk after every one: what can fail has failed before the first record moves.
 */
#include <assert.h>

#include "fs/fs_map_extent.h"

static unsigned nr_max(struct extent_path *p, unsigned level)
{
	return le16_get(extent_head(p, level)->eh_max);
}

static void set_nr(struct extent_path *p, unsigned level, unsigned nr)
{
	extent_head(p, level)->eh_entries = le16_of((uint16_t)nr);
}

int extent_change(struct jnl_handle *h, struct extent_path *p, unsigned level)
{
	return level == p->depth ? 0 : jnl_get_write(h, p->bufs[level]);
}

void extent_changed(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p, unsigned level)
{
	if (level < p->depth) {
		extent_seal(inode, p->bufs[level]->data);
		jnl_dirty(h, p->bufs[level]);
		return;
	}
	LOCK_GUARD(&inode->meta);

	fs_inode_block_bytes_set(inode, p->root);
}

/* Records --------------------------------------------------------------------------------- */

static void open_gap(struct extent_path *p, unsigned level, unsigned i)
{
	const unsigned nr = extent_nr(p, level);

	assert(i <= nr && nr < nr_max(p, level));
	memmove(extent_record(p, level, i + 1), extent_record(p, level, i), (size_t)(nr - i) * EXTENT_RECORD_BYTES);
	set_nr(p, level, nr + 1);
}

static void close_gap(struct extent_path *p, unsigned level, unsigned i)
{
	const unsigned nr = extent_nr(p, level);

	assert(i < nr);
	memmove(extent_record(p, level, i), extent_record(p, level, i + 1),
		(size_t)(nr - i - 1) * EXTENT_RECORD_BYTES);
	set_nr(p, level, nr - 1);
}

/* E1 for the nodes above level, whose first record has changed. */
static int fix_keys_above(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p, unsigned level)
{
	const le32 key = ((const struct ext_disk_extent *)extent_record(p, level, 0))->ee_block;

	for (unsigned k = level + 1; k <= p->depth; k++) {
		struct ext_disk_extent_idx *idx = extent_record(p, k, p->at[k]);
		const int err = extent_change(h, p, k);

		if (err)
			return err;
		idx->ei_block = key;
		extent_changed(h, inode, p, k);
		if (p->at[k] > 0)
			break;
	}
	return 0;
}

int extent_fix_keys(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p)
{
	return fix_keys_above(h, inode, p, 0);
}

int extent_insert(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p, unsigned i,
		  const struct extent *e)
{
	const int err = extent_change(h, p, 0);

	if (err)
		return err;
	open_gap(p, 0, i);
	extent_store(extent_record(p, 0, i), e);
	extent_changed(h, inode, p, 0);
	return i == 0 ? extent_fix_keys(h, inode, p) : 0;
}

/* Nothing is left: the root is a leaf again. */
static void reset_root(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p)
{
	extent_head(p, p->depth)->eh_depth = le16_of(0);
	extent_changed(h, inode, p, p->depth);
}

int extent_remove(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p, unsigned i)
{
	unsigned level = 0;

	for (;;) {
		int err = extent_change(h, p, level);

		if (err)
			return err;
		close_gap(p, level, i);
		if (level == p->depth && extent_nr(p, level) == 0) {
			reset_root(h, inode, p);
			return 0;
		}
		if (extent_nr(p, level) > 0) {
			extent_changed(h, inode, p, level);
			return i == 0 ? fix_keys_above(h, inode, p, level) : 0;
		}
		err = fs_blocks_free(h, inode, p->bufs[level]->pblk, 1, true);	/* E2 */
		if (err)
			return err;
		i = p->at[++level];
	}
}

/* Room -------------------------------------------------------------------------------------- */

/* Levels from the leaf up that are full; depth + 1: the root is, too. */
static unsigned nr_full(struct extent_path *p, unsigned nr_records)
{
	unsigned level = 0;

	while (level <= p->depth && extent_nr(p, level) + (level == 0 ? nr_records : 1) > nr_max(p, level))
		level++;
	return level;
}

unsigned extent_room_blocks(struct extent_path *p, unsigned nr_records)
{
	/* Each full level but the root is split; the root moves down, where it has room. */
	return nr_full(p, nr_records);
}

/* A node with the records from place m of the one at level. */
static int new_node(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p, unsigned level, unsigned m,
		    pblk_t pblk)
{
	const struct fs *fs = inode->fs;
	const unsigned nr = extent_nr(p, level) - m;
	CLEANUP_BUF struct cache_buf *b = NULL;
	struct ext_disk_extent_header *eh;
	int err = cache_get_new(fs->cache, pblk, &extent_kind, &b);

	if (!err)
		err = jnl_get_create(h, b);
	if (err)
		return err;
	eh = b->data;
	*eh = *extent_head(p, level);
	eh->eh_entries = le16_of((uint16_t)nr);
	eh->eh_max = le16_of((uint16_t)((fs->block_bytes - EXTENT_HEADER_BYTES) / EXTENT_RECORD_BYTES));
	memcpy((uint8_t *)b->data + EXTENT_HEADER_BYTES, extent_record(p, level, m), (size_t)nr * EXTENT_RECORD_BYTES);
	extent_seal(inode, b->data);
	jnl_dirty(h, b);
	return 0;
}

static void index_store(struct ext_disk_extent_idx *idx, le32 key, pblk_t child)
{
	*idx = (struct ext_disk_extent_idx){
		.ei_block = key,
		.ei_leaf_lo = le32_of((uint32_t)child),
		.ei_leaf_hi = le16_of((uint16_t)(child >> 32)),
	};
}

static int grow(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p, pblk_t pblk)
{
	struct ext_disk_extent *first = extent_record(p, p->depth, 0);
	const le32 key = first->ee_block;
	int err;

	if (p->depth == EXTENT_MAX_DEPTH)
		return -EFBIG;
	err = new_node(h, inode, p, p->depth, 0, pblk);
	if (err)
		return err;
	index_store((struct ext_disk_extent_idx *)first, key, pblk);
	set_nr(p, p->depth, 1);
	extent_head(p, p->depth)->eh_depth = le16_of((uint16_t)(p->depth + 1));
	extent_changed(h, inode, p, p->depth);
	return 0;
}

/* Where a file grows at its end, the old node stays full; else it is cut in halves. */
static int split(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p, unsigned level, pblk_t pblk)
{
	const unsigned nr = extent_nr(p, level), m = p->at[level] == nr - 1 ? nr - 1 : nr / 2;
	const le32 key = ((const struct ext_disk_extent *)extent_record(p, level, m))->ee_block;
	const unsigned place = p->at[level + 1] + 1;
	int err = extent_change(h, p, level);

	if (!err)
		err = extent_change(h, p, level + 1);
	if (!err)
		err = new_node(h, inode, p, level, m, pblk);
	if (err)
		return err;
	set_nr(p, level, m);
	extent_changed(h, inode, p, level);
	open_gap(p, level + 1, place);
	index_store(extent_record(p, level + 1, place), key, pblk);
	extent_changed(h, inode, p, level + 1);
	return 0;
}

int extent_make_room(struct jnl_handle *h, struct fs_inode *inode, lblk_t lblk, unsigned nr_records,
		     struct fs_map_need *need, struct extent_path *p)
{
	for (;;) {
		unsigned full;
		int err = extent_descend(inode, lblk, p);

		if (err)
			return err;
		full = nr_full(p, nr_records);
		if (full == 0)
			return 0;
		assert(need->used < need->nr);
		err = full > p->depth ? grow(h, inode, p, need->blocks[need->used])
				      : split(h, inode, p, full - 1, need->blocks[need->used]);
		if (err)
			return err;
		need->used++;
		extent_path_put(p);
	}
}
