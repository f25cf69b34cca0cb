/*
 * fs_map_extent_fill.c: holes and unwritten extents become blocks of the file.
 *
 * A hole gets one run of blocks, which joins the extent before or behind where it lies beside it.
 * Of an unwritten extent the part that is to be written is taken out; it has its blocks already.
 */
#include "fs/fs_map_extent.h"

enum { FILL_MAX = 8192 };	/* blocks a call; less than EXTENT_MAX_LEN */

static bool goes_on(const struct extent *a, const struct extent *b)
{
	return !a->unwritten && !b->unwritten && a->lblk + a->nr == b->lblk && a->pblk + a->nr == b->pblk &&
	       a->nr + b->nr <= EXTENT_MAX_LEN;
}

/* Holes ------------------------------------------------------------------------------------- */

/* 1: e is part of the record before or behind now. */
static int join(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p, const struct extent *e)
{
	const unsigned nr = extent_nr(p, 0), i = p->at[0], next = i == nr ? 0 : i + 1;
	struct extent left = { 0 }, right = { 0 };
	int err;

	if (i < nr)
		left = extent_load(extent_record(p, 0, i));
	if (next < nr)
		right = extent_load(extent_record(p, 0, next));
	if (left.nr && goes_on(&left, e)) {
		left.nr += e->nr;
		err = extent_change(h, p, 0);
		if (err)
			return err;
		extent_store(extent_record(p, 0, i), &left);
		extent_changed(h, inode, p, 0);
		return 1;
	}
	if (!right.nr || !goes_on(e, &right))
		return 0;
	right.lblk -= e->nr;
	right.pblk -= e->nr;
	right.nr += e->nr;
	err = extent_change(h, p, 0);
	if (err)
		return err;
	extent_store(extent_record(p, 0, next), &right);
	extent_changed(h, inode, p, 0);
	err = next == 0 ? extent_fix_keys(h, inode, p) : 0;
	return err ? err : 1;
}

static int link_run(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p, const struct extent *e,
		    struct fs_map_need *need)
{
	int err = join(h, inode, p, e);

	if (err)
		return MIN(err, 0);
	extent_path_put(p);
	err = extent_make_room(h, inode, e->lblk, 1, need, p);
	if (err)
		return err;
	return extent_insert(h, inode, p, p->at[0] == extent_nr(p, 0) ? 0 : p->at[0] + 1, e);
}

static int fill_hole(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p, struct extent *e)
{
	const pblk_t goal = fs_map_goal(inode, e->lblk);
	struct fs_map_need need;
	int free_err, err = fs_map_need_alloc(h, inode, goal, extent_room_blocks(p, 1), &need);

	if (err)
		return err;
	err = fs_blocks_alloc(h, inode, goal, e->nr, !ind_is_meta(inode), &e->pblk, &e->nr);
	if (err) {
		free_err = fs_map_need_free(h, inode, &need, false);
		return free_err ? free_err : err;
	}
	err = link_run(h, inode, p, e, &need);
	free_err = fs_map_need_free(h, inode, &need, err != 0);
	if (err && !free_err)
		free_err = fs_blocks_give_back(h, inode, e->pblk, e->nr);
	return free_err ? free_err : err;
}

/* Unwritten extents ----------------------------------------------------------------------------- */

/* The front of an unwritten extent that the one before goes on into: nothing but lengths change. 1: done. */
static int move_border(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p, const struct extent *whole,
		       const struct extent *part)
{
	const unsigned i = p->at[0];
	struct extent left, rest = *whole;
	int err;

	if (part->lblk != whole->lblk || part->nr == whole->nr || i == 0)
		return 0;
	left = extent_load(extent_record(p, 0, i - 1));
	if (!goes_on(&left, part))
		return 0;
	err = extent_change(h, p, 0);
	if (err)
		return err;
	left.nr += part->nr;
	rest.lblk += part->nr;
	rest.pblk += part->nr;
	rest.nr -= part->nr;
	extent_store(extent_record(p, 0, i - 1), &left);
	extent_store(extent_record(p, 0, i), &rest);
	extent_changed(h, inode, p, 0);
	return 1;
}

/* The record at p is whole; part is taken out of it. There is room. */
static int take_out(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p, const struct extent *whole,
		    const struct extent *part)
{
	struct extent head = *whole, tail = *whole;
	unsigned i = p->at[0];
	int err = extent_change(h, p, 0);

	if (err)
		return err;
	head.nr = (uint32_t)(part->lblk - whole->lblk);
	tail.lblk = part->lblk + part->nr;
	tail.pblk = part->pblk + part->nr;
	tail.nr = (uint32_t)(whole->lblk + whole->nr - tail.lblk);
	extent_store(extent_record(p, 0, i), head.nr ? &head : part);
	extent_changed(h, inode, p, 0);
	if (head.nr)
		err = extent_insert(h, inode, p, ++i, part);
	if (!err && tail.nr)
		err = extent_insert(h, inode, p, i + 1, &tail);
	return err;
}

static int convert(struct jnl_handle *h, struct fs_inode *inode, struct extent_path *p, const struct extent *whole,
		   struct extent *part)
{
	const unsigned nr_more = (part->lblk > whole->lblk) + (part->lblk + part->nr < whole->lblk + whole->nr);
	struct fs_map_need need;
	int free_err, err;

	part->pblk = whole->pblk + (part->lblk - whole->lblk);
	if (!fs_data_blocks_ok(inode->fs, whole->pblk, whole->nr))
		return fs_map_bad(inode, "unwritten extent", 0, p->at[0], whole->pblk);
	err = move_border(h, inode, p, whole, part);
	if (err)
		return MIN(err, 0);
	err = fs_map_need_alloc(h, inode, part->pblk, extent_room_blocks(p, nr_more), &need);
	if (err)
		return err;
	extent_path_put(p);
	err = extent_make_room(h, inode, part->lblk, nr_more, &need, p);
	if (!err)
		err = take_out(h, inode, p, whole, part);
	free_err = fs_map_need_free(h, inode, &need, err != 0);
	return err ? err : free_err;
}

int extent_fill(struct jnl_handle *h, struct fs_inode *inode, lblk_t lblk, uint32_t max, struct fs_extent *out,
		bool *fresh)
{
	CLEANUP_EXTENT_PATH struct extent_path p;
	struct extent found, e = { .lblk = lblk };
	uint32_t hole;
	int err;

	*fresh = false;
	err = extent_descend(inode, lblk, &p);
	if (err)
		return err;
	found = extent_at(&p, lblk, &hole);
	if (found.nr && !found.unwritten) {
		extent_path_put(&p);
		return extent_find(inode, lblk, max, out);
	}
	if (!found.nr && hole == 0)
		return -EFBIG;
	max = MIN(max, (uint32_t)FILL_MAX);
	if (found.nr) {
		e.nr = (uint32_t)MIN((lblk_t)max, found.lblk + found.nr - lblk);
		err = convert(h, inode, &p, &found, &e);
	} else {
		e.nr = MIN(max, hole);
		err = fill_hole(h, inode, &p, &e);
	}
	if (err)
		return err;
	*out = (struct fs_extent){ .lblk = lblk, .pblk = e.pblk, .nr = e.nr };
	*fresh = true;
	return 0;
}
