/* fsck_walk_extent.c: the tree of extents of one inode, walked. The invariants are at the head of fsck_walk.c. */
#include <stdlib.h>

#include "fsck_walk.h"

enum { EXTENT_MAX_DEPTH = 5 };

static void node_walk(struct walk *wk, struct extent_node *n, lblk_t *lo);

/* Where the child behind an index record begins: by its own first record, if it is a node as it should be. */
static lblk_t child_first(struct walk *wk, const struct extent_node *n, unsigned i)
{
	const struct ext_disk_extent_idx *e = extent_index(n, i);
	struct fsck *f = wk->w->f;
	struct extent_node child = { .depth = n->depth - 1, .pblk = extent_child(e), .bytes = malloc(f->block_bytes) };
	lblk_t first = le32_get(e->ei_block);

	if (child.bytes && fsck_data_ok(f, child.pblk, 1) && !fsck_block_read(f, child.pblk, child.bytes) &&
	    fsck_extent_head_ok(&child, f->block_bytes) && extent_nr(&child) > 0 &&
	    fsck_extent_csum_ok(f, inode_seed(f, wk->ino, wk->raw), &child))
		first = le32_get(extent_leaf(&child, 0)->ee_block);
	free(child.bytes);
	return first;
}

/* An index record may be wrong about where its child begins: that is no reason to lose what lies before. */
static void end_make_sure(struct walk *wk, struct extent_node *n)
{
	if (n->end_is_sure)
		return;
	n->end_is_sure = true;
	n->end = UINT32_MAX;
	for (const struct extent_node *at = n; at->parent; at = at->parent)
		if (at->at + 1 < extent_nr(at->parent))
			n->end = MIN(n->end, child_first(wk, at->parent, at->at + 1));
}

/* One extent of a leaf; *i moves to the next one. *lo: behind all that came before, in other leaves, too. */
static void leaf_record(struct walk *wk, struct extent_node *n, unsigned *i, lblk_t *lo)
{
	struct ext_disk_extent *e = extent_leaf(n, *i);
	struct visit v = { .lblk = le32_get(e->ee_block), .pblk = extent_start(e), .nr = extent_len(e),
			   .unwritten = extent_is_unwritten(e) };
	const uint32_t len = v.nr;

	if (v.lblk + v.nr > n->end)
		end_make_sure(wk, n);
	if (v.nr == 0 || v.lblk < *lo || v.lblk + v.nr > n->end || !fsck_data_ok(wk->w->f, v.pblk, v.nr)) {
		if (walk_bad(wk, P1_EXTENT_BAD, (struct fsck_args){ .lblk = v.lblk, .pblk = v.pblk, .num = v.nr }))
			fsck_extent_remove(n, *i);
		else
			++*i;
		return;
	}
	switch (wk->ptr ? wk->ptr(wk, &v) : WALK_KEEP) {
	case WALK_SHORTEN:
		extent_set(e, v.lblk, v.pblk, v.nr, v.unwritten);
		n->changed = true;
		break;
	case WALK_CUT:
		fsck_extent_remove(n, *i);
		return;
	case WALK_MOVE:
		extent_set(e, v.lblk, v.pblk, len, v.unwritten);
		n->changed = true;
		break;
	default:
		break;
	}
	*lo = v.lblk + len;
	++*i;
}

/* The child of an index record, read and its head checked. False: cut off, or left. */
static bool child_open(struct walk *wk, struct extent_node *n, unsigned i, struct extent_node *child, bool *cut)
{
	const struct ext_disk_extent_idx *e = extent_index(n, i);
	const struct fsck_args at = { .lblk = le32_get(e->ei_block), .pblk = child->pblk };

	*cut = false;
	child->bytes = walk_level_buf(wk, child->depth + 1);
	if (!child->bytes)
		return false;
	if (!fsck_data_ok(wk->w->f, child->pblk, 1))
		*cut = walk_bad(wk, P1_ILLEGAL_MAP, at);
	else if (walk_seen_before(wk, child->pblk))
		*cut = walk_bad(wk, P1_MAP_LOOP, at);
	else if (fsck_block_read(wk->w->f, child->pblk, child->bytes))
		*cut = walk_bad(wk, P1_MAP_READ, at);
	else if (!fsck_extent_head_ok(child, wk->w->f->block_bytes))
		*cut = walk_bad(wk, P1_EXTENT_HEADER, at);
	else
		return true;
	return false;
}

static void child_csum(struct walk *wk, uint32_t seed, struct extent_node *child)
{
	if (wk->bad && !fsck_extent_csum_ok(wk->w->f, seed, child) &&
	    walk_bad(wk, P1_EXTENT_CSUM, (struct fsck_args){ .pblk = child->pblk }))
		child->changed = true;
}

/* Where the first record below says that the child begins. */
static void child_start(struct walk *wk, struct extent_node *n, unsigned i, const struct extent_node *child)
{
	struct ext_disk_extent_idx *e = extent_index(n, i);
	const uint32_t first = le32_get(extent_leaf(child, 0)->ee_block);

	if (wk->bad && first != le32_get(e->ei_block) &&
	    walk_bad(wk, P1_EXTENT_START, (struct fsck_args){ .lblk = le32_get(e->ei_block), .num = first })) {
		e->ei_block = le32_of(first);
		n->changed = true;
	}
}

static void index_record(struct walk *wk, struct extent_node *n, unsigned *i, lblk_t *lo)
{
	struct ext_disk_extent_idx *e = extent_index(n, *i);
	struct extent_node child = { .depth = n->depth - 1, .pblk = extent_child(e), .end = n->end, .parent = n, .at = *i };
	struct visit v = { .lblk = le32_get(e->ei_block), .pblk = child.pblk, .nr = 1, .level = n->depth };
	enum walk_act act;
	bool cut;

	if (*i + 1 < extent_nr(n))
		child.end = MIN(child.end, (lblk_t)le32_get(extent_index(n, *i + 1)->ei_block));
	if (!child_open(wk, n, *i, &child, &cut)) {
		if (cut)
			fsck_extent_remove(n, *i);
		else
			++*i;
		return;
	}
	act = wk->ptr ? wk->ptr(wk, &v) : WALK_KEEP;
	if (act == WALK_CUT) {
		fsck_extent_remove(n, *i);
		return;
	}
	if (act == WALK_MOVE) {
		e->ei_leaf_lo = le32_of((uint32_t)v.pblk);
		e->ei_leaf_hi = le16_of((uint16_t)(v.pblk >> 32));
		child.pblk = v.pblk;
		child.changed = n->changed = true;
	}
	if (act != WALK_SKIP) {
		const uint32_t seed = inode_seed(wk->w->f, wk->ino, wk->raw);

		child_csum(wk, seed, &child);
		node_walk(wk, &child, lo);
		if (extent_nr(&child) == 0 &&
		    (child.changed || walk_bad(wk, P1_EXTENT_EMPTY, (struct fsck_args){ .pblk = child.pblk }))) {
			if (wk->gone)
				wk->gone(wk, child.pblk);
			fsck_extent_remove(n, *i);
			return;
		}
		if (extent_nr(&child) > 0)
			child_start(wk, n, *i, &child);
		if (child.changed)
			fsck_extent_write(wk->w->f, seed, &child);	/* W3 */
	}
	++*i;
}

static void node_walk(struct walk *wk, struct extent_node *n, lblk_t *lo)
{
	for (unsigned i = 0; i < extent_nr(n) && !is_stopped(wk->w->f);) {
		if (n->depth == 0)
			leaf_record(wk, n, &i, lo);
		else
			index_record(wk, n, &i, lo);
	}
}

static void root_init(struct ext_disk_inode *raw)
{
	struct ext_disk_extent_header *h = (void *)raw->i_block;

	memset(raw->i_block, 0, sizeof(raw->i_block));
	h->eh_magic = le16_of(EXT_EXTENT_MAGIC);
	h->eh_max = le16_of((EXT_INLINE_BYTES - EXTENT_BYTES) / EXTENT_BYTES);
}

void walk_extents(struct walk *wk)
{
	struct extent_node root = { .bytes = (uint8_t *)wk->raw->i_block, .end = UINT32_MAX };
	lblk_t lo = 0;

	root.depth = le16_get(extent_head(&root)->eh_depth);
	if (root.depth > EXTENT_MAX_DEPTH - 1 || !fsck_extent_head_ok(&root, EXT_INLINE_BYTES)) {
		if (!walk_bad(wk, P1_EXTENT_HEADER, (struct fsck_args){ .pblk = 0 }))
			return;
		root_init(wk->raw);
		wk->raw_dirty = true;
		return;
	}
	node_walk(wk, &root, &lo);
	if (extent_nr(&root) == 0 && root.depth > 0) {
		root_init(wk->raw);
		root.changed = true;
	}
	wk->raw_dirty |= root.changed;
}
