/*
 * fs_map_ind.c: the map of ext2 and ext3: 12 direct pointers, then a tree of depth 1, 2 and 3.
 * Paths and lookup; filling is in fs_map_ind_fill.c, freeing in fs_map_ind_punch.c.
 */
#include "fs/fs_map.h"

lblk_t ind_nr_lblks(const struct fs *fs)
{
	const unsigned s = fs->ptrs_per_block_shift;

	return EXT_NR_DIRECT + ((lblk_t)1 << s) + ((lblk_t)1 << 2 * s) + ((lblk_t)1 << 3 * s);
}

bool ind_path_of(const struct fs *fs, lblk_t lblk, struct ind_path *p)
{
	const unsigned s = fs->ptrs_per_block_shift;
	const lblk_t mask = ((lblk_t)1 << s) - 1;

	p->depth = 0;
	if (lblk < EXT_NR_DIRECT) {
		p->slot[0] = (unsigned)lblk;
		p->nr_left = EXT_NR_DIRECT - (uint32_t)lblk;
		return true;
	}
	lblk -= EXT_NR_DIRECT;
	do {
		if (++p->depth > IND_MAX_DEPTH)
			return false;
		if (lblk < (lblk_t)1 << p->depth * s)
			break;
		lblk -= (lblk_t)1 << p->depth * s;
	} while (true);
	p->slot[0] = EXT_IND_BLOCK + p->depth - 1;
	for (unsigned k = 1; k <= p->depth; k++)
		p->slot[k] = (unsigned)(lblk >> (p->depth - k) * s & mask);
	p->nr_left = (uint32_t)(mask + 1 - p->slot[p->depth]);
	return true;
}

void ind_put(struct cache_buf *bufs[IND_MAX_DEPTH + 1])
{
	for (unsigned k = 1; k <= IND_MAX_DEPTH; k++) {
		cache_put(bufs[k]);
		bufs[k] = NULL;
	}
}

int ind_descend(struct fs_inode *inode, const struct ind_path *p, struct cache_buf *bufs[IND_MAX_DEPTH + 1],
		unsigned *level)
{
	struct fs *fs = inode->fs;

	memset(bufs, 0, (IND_MAX_DEPTH + 1) * sizeof(bufs[0]));
	for (*level = 0; *level < p->depth; ++*level) {
		const uint32_t ptr = ind_get(inode, bufs[*level], p->slot[*level]);
		int err;

		if (!ptr)
			break;
		if (unlikely(!fs_data_blocks_ok(fs, ptr, 1)))
			return fs_map_bad(inode, "pointer to a map block", *level, p->slot[*level], ptr);
		err = cache_get(fs->cache, ptr, NULL, NULL, &bufs[*level + 1]);
		if (err) {
			bufs[*level + 1] = NULL;
			return err;
		}
	}
	return 0;
}

int ind_set(struct jnl_handle *h, struct fs_inode *inode, struct cache_buf *b, unsigned slot, uint32_t nr,
	    pblk_t pblk)
{
	int err;

	if (!b) {
		LOCK_GUARD(&inode->meta);

		for (uint32_t i = 0; i < nr; i++)
			inode->block[slot + i] = pblk ? (uint32_t)pblk + i : 0;
		return 0;
	}
	err = jnl_get_write(h, b);
	if (err)
		return err;
	for (uint32_t i = 0; i < nr; i++)
		((le32 *)b->data)[slot + i] = le32_of(pblk ? (uint32_t)pblk + i : 0);
	jnl_dirty(h, b);
	return 0;
}

/* Lookup ------------------------------------------------------------------------------ */

/* The run that begins at a table's slot: contiguous blocks, or pointers that are all 0. */
static int find_in_table(struct fs_inode *inode, const struct ind_path *p, const struct cache_buf *b, uint32_t max,
			 struct fs_extent *out)
{
	const unsigned slot = p->slot[p->depth];
	const uint32_t first = ind_get(inode, b, slot);
	uint32_t n = 1;

	max = MIN(max, p->nr_left);
	if (first) {
		while (n < max && ind_get(inode, b, slot + n) == first + n)
			n++;
		n = fs_map_trusted(inode->fs, first, n);
		if (unlikely(n == 0))
			return fs_map_bad(inode, "pointer to data", p->depth, slot, first);
	} else {
		while (n < max && !ind_get(inode, b, slot + n))
			n++;
	}
	out->pblk = first;
	out->nr = n;
	return 0;
}

/* What one walk down the tree can tell; *more: it ends where the table or subtree ends. */
static int find_step(struct fs_inode *inode, lblk_t lblk, uint32_t max, struct fs_extent *out, bool *more)
{
	struct cache_buf *bufs[IND_MAX_DEPTH + 1];
	struct ind_path p;
	unsigned level;
	int err;

	*more = false;
	out->lblk = lblk;
	if (!ind_path_of(inode->fs, lblk, &p)) {
		out->pblk = 0;
		out->nr = max;
		return 0;
	}
	err = ind_descend(inode, &p, bufs, &level);
	if (!err && level < p.depth) {
		lblk_t below = 0;	/* where lblk lies below the missing map block */

		for (unsigned k = level + 1; k <= p.depth; k++)
			below += p.slot[k] * ind_span(inode->fs, p.depth, k);
		out->pblk = 0;
		out->nr = (uint32_t)MIN((lblk_t)max, ind_span(inode->fs, p.depth, level) - below);
		*more = true;
	} else if (!err) {
		err = find_in_table(inode, &p, bufs[p.depth], max, out);
		*more = !err && out->nr == p.nr_left;
	}
	ind_put(bufs);
	return err;
}

static bool extents_join(const struct fs_extent *a, const struct fs_extent *b)
{
	return a->pblk ? a->pblk + a->nr == b->pblk : !b->pblk;
}

int ind_find(struct fs_inode *inode, lblk_t lblk, uint32_t max, struct fs_extent *out)
{
	struct fs_extent next;
	bool more;
	int err = find_step(inode, lblk, max, out, &more);

	if (err)
		return err;
	while (more && out->nr < max) {
		/* What goes wrong behind is for the one who comes there. */
		if (find_step(inode, lblk + out->nr, max - out->nr, &next, &more) || !extents_join(out, &next))
			break;
		out->nr += next.nr;
	}
	return 0;
}

static unsigned ind_fill_credits(const struct fs_inode *inode, uint32_t nr)
{
	const unsigned s = inode->fs->ptrs_per_block_shift;
	const unsigned tables = (nr >> s) + 2;		/* a run of nr touches so many at most */
	const unsigned upper = (tables >> s) + 2 + 2;	/* their parents, and parents' parents */

	return nr == 1 ? IND_MAX_DEPTH : tables + upper;
}

static unsigned ind_punch_credits(const struct fs_inode *inode)
{
	(void)inode;
	return 1;	/* the table of pointers */
}

const struct fs_map_ops fs_map_ind = {
	.name = "indirect",
	.find = ind_find,
	.fill = ind_fill,
	.punch = ind_punch,
	.fill_credits = ind_fill_credits,
	.punch_credits = ind_punch_credits,
	.punch_steps = 16,
};
