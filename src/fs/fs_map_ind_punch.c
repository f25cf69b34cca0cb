/*
 * fs_map_ind_punch.c: blocks of indirect maps are freed, and the map blocks that become empty.
 *
 * The range is gone through table by table. A step clears the pointers of one contiguous run and
 * frees it. P1 and P2 are those of fs_map.h.
 */
#include "fs/fs_map.h"

/* Contiguous pointers from slot on, below end. */
static uint32_t run_length(const struct fs_inode *inode, const struct cache_buf *b, unsigned slot, unsigned end)
{
	const uint32_t first = ind_get(inode, b, slot);
	unsigned n = 1;

	while (slot + n < end && ind_get(inode, b, slot + n) == first + n)
		n++;
	return n;
}

/* Frees what the slots [slot, end) of one table point to. */
static int punch_slots(struct fs_punch *pu, struct cache_buf *b, const struct ind_path *p, unsigned end)
{
	struct fs_inode *inode = pu->inode;
	bool told = false;

	for (unsigned slot = p->slot[p->depth]; slot < end;) {
		const uint32_t first = ind_get(inode, b, slot);
		uint32_t n, good;
		int err;

		if (!first) {
			slot++;
			continue;
		}
		n = run_length(inode, b, slot, end);
		good = fs_map_trusted(inode->fs, first, n);
		if (good == 0 && !told) {	/* a table of nonsense counts once */
			fs_map_bad(inode, "pointer to data", p->depth, slot, first);
			told = true;
			if (fs_punch_damage(pu))
				return -EUCLEAN;
		}
		n = good ? good : 1;
		err = fs_punch_step(pu);
		if (!err)
			err = ind_set(pu->h, inode, b, slot, n, 0);	/* P1 */
		if (!err && good > 0)
			err = fs_punch_free(pu, first, n, ind_is_meta(inode));
		if (err)
			return err;
		slot += n;
	}
	return 0;
}

static bool map_block_is_empty(const struct fs *fs, const struct cache_buf *b)
{
	const uint64_t *words = b->data;

	for (uint32_t i = 0; i < fs->block_bytes / sizeof(*words); i++)
		if (words[i])
			return false;
	return true;
}

/* Map blocks on the path that have become empty are unlinked from below and freed. */
static int punch_empty(struct fs_punch *pu, const struct ind_path *p, struct cache_buf *bufs[IND_MAX_DEPTH + 1])
{
	for (unsigned k = p->depth; k > 0 && map_block_is_empty(pu->inode->fs, bufs[k]); k--) {
		int err = fs_punch_step(pu);

		if (!err)
			err = ind_set(pu->h, pu->inode, bufs[k - 1], p->slot[k - 1], 1, 0);	/* P1 */
		if (!err)
			err = fs_punch_free(pu, bufs[k]->pblk, 1, true);
		if (err)
			return err;
	}
	return 0;
}

/* The pointer at this level of the path leads nowhere: it is cleared (P2). */
static int punch_bad_pointer(struct fs_punch *pu, const struct ind_path *p, struct cache_buf *bufs[IND_MAX_DEPTH + 1],
			     unsigned level)
{
	int err = fs_punch_damage(pu);

	if (!err)
		err = fs_punch_step(pu);
	return err ? err : ind_set(pu->h, pu->inode, bufs[level], p->slot[level], 1, 0);
}

/* First block behind the subtree below the path's pointer at level. */
static lblk_t subtree_end(const struct fs *fs, const struct ind_path *p, lblk_t lblk, unsigned level)
{
	lblk_t into = 0;

	for (unsigned k = level + 1; k <= p->depth; k++)
		into += p->slot[k] * ind_span(fs, p->depth, k);
	return lblk - into + ind_span(fs, p->depth, level);
}

/* One table's part of [*from, to), or a gap in the tree; *from moves behind it. */
static int punch_table(struct fs_punch *pu, lblk_t *from, lblk_t to)
{
	struct cache_buf *bufs[IND_MAX_DEPTH + 1];
	struct ind_path p;
	unsigned level;
	int err;

	if (!ind_path_of(pu->inode->fs, *from, &p)) {
		*from = to;
		return 0;
	}
	err = ind_descend(pu->inode, &p, bufs, &level);
	if (err == -EUCLEAN)
		err = punch_bad_pointer(pu, &p, bufs, level);
	if (!err && level < p.depth) {
		*from = subtree_end(pu->inode->fs, &p, *from, level);
	} else if (!err) {
		const uint32_t nr = (uint32_t)MIN((lblk_t)p.nr_left, to - *from);

		err = punch_slots(pu, bufs[p.depth], &p, p.slot[p.depth] + nr);
		if (!err)
			err = punch_empty(pu, &p, bufs);
		*from += nr;
	}
	ind_put(bufs);
	return err;
}

int ind_punch(struct jnl_handle *h, struct fs_inode *inode, lblk_t from, lblk_t to)
{
	struct fs_punch pu = { .h = h, .inode = inode };
	int err = 0;

	while (!err && from < to)
		err = punch_table(&pu, &from, to);
	return !err && pu.nr_damages > 0 ? -EUCLEAN : err;
}
