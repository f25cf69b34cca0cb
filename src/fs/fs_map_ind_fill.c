/*
 * fs_map_ind_fill.c: holes of indirect maps become blocks.
 *
 * One call fills one hole, or as much of it as one allocation gives: the missing map blocks are
 * allocated first (so a new file has them right before its data, and the data in one piece),
 * then the data, then everything is linked. What is left over when the data falls short is freed.
 */
#include <assert.h>

#include "fs/fs_map.h"

enum {
	FILL_MAX = 2048,	/* data blocks a call */
};

/* Is the map block at level k of path p below the same pointer as that of q? */
static bool same_node(const struct ind_path *p, const struct ind_path *q, unsigned k)
{
	return p->depth == q->depth && !memcmp(p->slot, q->slot, k * sizeof(p->slot[0]));
}

/* How many map blocks are missing for [lblk, lblk + nr). */
static int count_missing(struct fs_inode *inode, lblk_t lblk, uint32_t nr, unsigned *count)
{
	struct cache_buf *bufs[IND_MAX_DEPTH + 1];
	struct ind_path p, last = { .depth = IND_MAX_DEPTH + 1 };
	unsigned level;

	*count = 0;
	while (nr > 0) {
		uint32_t part;
		int err;

		if (!ind_path_of(inode->fs, lblk, &p))
			return -EFBIG;
		err = ind_descend(inode, &p, bufs, &level);
		ind_put(bufs);
		if (err)
			return err;
		for (unsigned k = level + 1; k <= p.depth; k++)
			*count += !same_node(&p, &last, k);
		last = p;
		part = MIN(nr, p.nr_left);
		lblk += part;
		nr -= part;
	}
	return 0;
}

/* Map blocks for the levels below level, each pointing to the next, then the pointer to the first. */
static int link_chain(struct jnl_handle *h, struct fs_inode *inode, const struct ind_path *p, unsigned level,
		      struct cache_buf *bufs[IND_MAX_DEPTH + 1], struct fs_map_need *need)
{
	const pblk_t *blocks = need->blocks + need->used;
	int err;

	assert(need->nr - need->used >= p->depth - level);
	for (unsigned k = level + 1; k <= p->depth; k++) {
		err = cache_get_new(inode->fs->cache, blocks[k - level - 1], NULL, &bufs[k]);
		if (!err)
			err = jnl_get_create(h, bufs[k]);
		if (err)
			return err;
		if (k < p->depth)
			((le32 *)bufs[k]->data)[p->slot[k]] = le32_of((uint32_t)blocks[k - level]);
		jnl_dirty(h, bufs[k]);
	}
	err = ind_set(h, inode, bufs[level], p->slot[level], 1, blocks[0]);
	if (!err)
		need->used += p->depth - level;
	return err;
}

/* Points [lblk, …) to pblk, one table at a time; *done counts what is linked. */
static int link_data(struct jnl_handle *h, struct fs_inode *inode, lblk_t lblk, pblk_t pblk, uint32_t nr,
		     struct fs_map_need *need, uint32_t *done)
{
	struct cache_buf *bufs[IND_MAX_DEPTH + 1];
	struct ind_path p;
	unsigned level;

	*done = 0;
	while (*done < nr) {
		uint32_t part;
		int err;

		if (!ind_path_of(inode->fs, lblk + *done, &p))
			return -EFBIG;
		part = MIN(nr - *done, p.nr_left);
		err = ind_descend(inode, &p, bufs, &level);
		if (!err && level < p.depth)
			err = link_chain(h, inode, &p, level, bufs, need);
		if (!err)
			err = ind_set(h, inode, bufs[p.depth], p.slot[p.depth], part, pblk + *done);
		ind_put(bufs);
		if (err)
			return err;
		*done += part;
	}
	return 0;
}

/* The map blocks for as much of [lblk, lblk + *nr) as they can be had for, at least one table's worth. */
static int need_for_run(struct jnl_handle *h, struct fs_inode *inode, lblk_t lblk, uint32_t *nr, pblk_t goal,
			struct fs_map_need *need)
{
	struct ind_path p;
	unsigned count;
	int err = count_missing(inode, lblk, *nr, &count);

	if (!err)
		err = fs_map_need_alloc(h, inode, goal, count, need);
	if (err != -ENOSPC || !ind_path_of(inode->fs, lblk, &p) || *nr <= p.nr_left)
		return err;
	*nr = p.nr_left;
	err = count_missing(inode, lblk, *nr, &count);
	return err ? err : fs_map_need_alloc(h, inode, goal, count, need);
}

/* Data for the hole [lblk, lblk + nr); what the device gives may be less. */
static int alloc_data(struct jnl_handle *h, struct fs_inode *inode, pblk_t goal, uint32_t nr, pblk_t *pblk,
		      uint32_t *got)
{
	int err = fs_blocks_alloc(h, inode, goal, nr, !ind_is_meta(inode), pblk, got);

	if (err || *pblk + *got - 1 <= UINT32_MAX)
		return err;
	err = fs_blocks_give_back(h, inode, *pblk, *got);
	return err ? err : -ENOSPC;	/* pointers have 32 bits */
}

int ind_fill(struct jnl_handle *h, struct fs_inode *inode, lblk_t lblk, uint32_t max, struct fs_extent *out,
	     bool *fresh)
{
	struct fs_map_need need;
	pblk_t goal, pblk;
	uint32_t nr, got, done;
	int err, free_err;

	*fresh = false;
	err = ind_find(inode, lblk, MIN(max, (uint32_t)FILL_MAX), out);
	if (err || out->pblk)
		return err;
	nr = out->nr;
	goal = fs_map_goal(inode, lblk);
	err = need_for_run(h, inode, lblk, &nr, goal, &need);
	if (err)
		return err;
	if (need.nr > 0 && goal <= need.blocks[0])
		goal = need.blocks[need.nr - 1] + 1;
	err = alloc_data(h, inode, goal, nr, &pblk, &got);
	if (err) {
		free_err = fs_map_need_free(h, inode, &need, false);
		return free_err ? free_err : err;
	}
	err = link_data(h, inode, lblk, pblk, got, &need, &done);
	free_err = fs_map_need_free(h, inode, &need, err != 0);
	if (!free_err && done < got)
		free_err = fs_blocks_give_back(h, inode, pblk + done, got - done);
	if (free_err || done == 0)
		return free_err ? free_err : err;
	*out = (struct fs_extent){ .lblk = lblk, .pblk = pblk, .nr = done };
	*fresh = true;
	return 0;
}
