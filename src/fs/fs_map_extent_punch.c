/*
 * fs_map_extent_punch.c: blocks of extent trees are freed, and the nodes that become empty.
 *
 * A step takes the end of what is to go of one extent: a group's worth at most, or where every
 * block is revoked as many as a table of pointers has. The steps, P1 and P2 are those of fs_map.h.
 */
#include "fs/fs_map_extent.h"

/* The extent, cut to [from, to), from its end. */
static struct extent part_of(const struct fs_inode *inode, const struct extent *e, lblk_t from, lblk_t to)
{
	const struct fs *fs = inode->fs;
	const bool revoked = ind_is_meta(inode) || fs_logs_data(fs);
	const uint32_t most = revoked ? 1u << fs->ptrs_per_block_shift : fs->blocks_per_group;
	const lblk_t end = MIN(e->lblk + e->nr, to);
	lblk_t first = MAX(e->lblk, from);

	if (end - first > most)
		first = end - most;
	return (struct extent){ .lblk = first, .pblk = e->pblk + (first - e->lblk), .nr = (uint32_t)(end - first) };
}

/* A hole in the middle: the rest behind becomes a record of its own. */
static int cut_middle(struct fs_punch *pu, struct extent_path *p, const struct extent *e, const struct extent *part)
{
	struct extent head = *e, tail = *e;
	struct fs_map_need need;
	int free_err, err = fs_map_need_alloc(pu->h, pu->inode, part->pblk, extent_room_blocks(p, 1), &need);

	if (err)
		return err;
	head.nr = (uint32_t)(part->lblk - e->lblk);
	tail.lblk = part->lblk + part->nr;
	tail.pblk = part->pblk + part->nr;
	tail.nr = (uint32_t)(e->lblk + e->nr - tail.lblk);
	extent_path_put(p);
	err = extent_make_room(pu->h, pu->inode, e->lblk, 1, &need, p);
	if (!err)
		err = extent_change(pu->h, p, 0);
	if (!err) {
		extent_store(extent_record(p, 0, p->at[0]), &head);
		err = extent_insert(pu->h, pu->inode, p, p->at[0] + 1, &tail);
	}
	free_err = fs_map_need_free(pu->h, pu->inode, &need, err != 0);
	return err ? err : free_err;
}

/* Record i is e; part goes out of it. */
static int cut(struct fs_punch *pu, struct extent_path *p, unsigned i, const struct extent *e, const struct extent *part)
{
	const lblk_t end = e->lblk + e->nr, part_end = part->lblk + part->nr;
	struct extent rest = *e;
	int err;

	if (part->nr == e->nr)
		return extent_remove(pu->h, pu->inode, p, i);
	if (part->lblk > e->lblk && part_end < end)
		return cut_middle(pu, p, e, part);
	rest.nr -= part->nr;
	if (part_end < end) {
		rest.lblk += part->nr;
		rest.pblk += part->nr;
	}
	err = extent_change(pu->h, p, 0);
	if (err)
		return err;
	extent_store(extent_record(p, 0, i), &rest);
	extent_changed(pu->h, pu->inode, p, 0);
	return i == 0 && part_end < end ? extent_fix_keys(pu->h, pu->inode, p) : 0;
}

/* The next extent of [*from, to), or a part of it, goes; *from moves over what is a hole for sure. */
static int punch_one(struct fs_punch *pu, lblk_t *from, lblk_t to)
{
	CLEANUP_EXTENT_PATH struct extent_path p;
	struct extent e = { 0 }, part;
	unsigned i;
	bool good;
	int err = extent_descend(pu->inode, *from, &p);

	if (err)
		return err;
	i = p.at[0];
	if (i < extent_nr(&p, 0))
		e = extent_load(extent_record(&p, 0, i));
	if (*from >= e.lblk + e.nr) {
		i = i == extent_nr(&p, 0) ? 0 : i + 1;
		if (i >= extent_nr(&p, 0)) {
			*from = p.limit;
			return 0;
		}
		e = extent_load(extent_record(&p, 0, i));
		*from = e.lblk;
		p.at[0] = i;
	}
	if (*from >= to)
		return 0;
	part = part_of(pu->inode, &e, *from, to);
	good = fs_data_blocks_ok(pu->inode->fs, part.pblk, part.nr);
	if (!good) {
		fs_map_bad(pu->inode, "extent", 0, i, part.pblk);
		err = fs_punch_damage(pu);
	}
	if (!err)
		err = fs_punch_step(pu);
	if (!err)
		err = cut(pu, &p, i, &e, &part);	/* P1 */
	return !err && good ? fs_punch_free(pu, part.pblk, part.nr, ind_is_meta(pu->inode)) : err;
}

int extent_punch(struct jnl_handle *h, struct fs_inode *inode, lblk_t from, lblk_t to)
{
	struct fs_punch pu = { .h = h, .inode = inode };
	int err = 0;

	to = MIN(to, EXTENT_NR_LBLKS + 1);
	while (!err && from < to)
		err = punch_one(&pu, &from, to);
	return !err && pu.nr_damages > 0 ? -EUCLEAN : err;
}
