/* fsck_map.c: block maps changed for repairs: cut off from some block on, a block put into a hole; i_blocks. */
#include <stdlib.h>

#include "fsck_walk.h"

static enum walk_act count_ptr(struct walk *wk, struct visit *v)
{
	*(uint64_t *)wk->arg += v->nr;
	return WALK_KEEP;
}

void fsck_map_recount(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw)
{
	uint64_t nr = inode_file_acl(f, raw) ? 1 : 0;
	struct walk wk = { .w = &f->main, .ino = ino, .raw = raw, .ptr = count_ptr, .arg = &nr };

	fsck_walk(&wk);
	inode_set_nr_sects(f, raw, nr << (f->block_shift - SECT_SHIFT));
}

/* Truncation ------------------------------------------------------------------------------------- */

struct truncation {
	lblk_t from;
	uint64_t nr_gone;
};

static enum walk_act truncate_ptr(struct walk *wk, struct visit *v)
{
	struct truncation *t = wk->arg;
	uint32_t nr_kept;

	if (v->level > 0 || v->lblk + v->nr <= t->from)
		return WALK_KEEP;
	nr_kept = v->lblk < t->from ? (uint32_t)(t->from - v->lblk) : 0;
	fsck_unclaim(wk->w->f, v->pblk + nr_kept, v->nr - nr_kept);
	t->nr_gone += v->nr - nr_kept;
	v->nr = nr_kept;
	return nr_kept ? WALK_SHORTEN : WALK_CUT;
}

static void truncate_gone(struct walk *wk, pblk_t pblk)
{
	struct truncation *t = wk->arg;

	fsck_unclaim(wk->w->f, pblk, 1);
	t->nr_gone++;
}

void fsck_map_truncate(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw, lblk_t lblk)
{
	struct truncation t = { .from = lblk };
	struct walk wk = { .w = &f->main, .ino = ino, .raw = raw, .ptr = truncate_ptr, .gone = truncate_gone, .arg = &t };
	const uint64_t sects = inode_nr_sects(f, raw);

	fsck_walk(&wk);
	inode_set_nr_sects(f, raw, sects - MIN(sects, t.nr_gone << (f->block_shift - SECT_SHIFT)));
}

/* Adding a block ------------------------------------------------------------------------------------ */

static void count_block(struct fsck *f, struct ext_disk_inode *raw)
{
	inode_set_nr_sects(f, raw, inode_nr_sects(f, raw) + (f->block_bytes >> SECT_SHIFT));
}

/* Block pblk below *p, which is level steps above the data; rest: the file block, counted from there. */
static int put_below(struct fsck *f, struct ext_disk_inode *raw, le32 *p, unsigned level, lblk_t rest, pblk_t pblk)
{
	const unsigned shift = f->block_shift - 2;
	uint8_t *buf;
	pblk_t map = le32_get(*p);
	int err = 0;

	if (level == 0) {
		*p = le32_of((uint32_t)pblk);
		return 0;
	}
	buf = calloc(1, f->block_bytes);
	if (!buf)
		return -ENOMEM;
	if (map) {
		err = fsck_data_ok(f, map, 1) ? fsck_block_read(f, map, buf) : -EUCLEAN;
	} else {
		map = fsck_block_alloc(f, pblk);
		err = map && map <= UINT32_MAX ? 0 : -ENOSPC;
	}
	if (!err)
		err = put_below(f, raw, (le32 *)buf + (rest >> (level - 1) * shift & ((1u << shift) - 1)), level - 1, rest,
				pblk);
	if (!err) {
		if (!p->raw)
			count_block(f, raw);
		*p = le32_of((uint32_t)map);
		fsck_block_write(f, map, buf);
	}
	free(buf);
	return err;
}

static int put_indirect(struct fsck *f, struct ext_disk_inode *raw, lblk_t lblk, pblk_t pblk)
{
	const unsigned shift = f->block_shift - 2;
	unsigned level = 0;
	int err;

	if (pblk > UINT32_MAX)
		return -ENOSPC;
	if (lblk >= EXT_NR_DIRECT) {
		lblk -= EXT_NR_DIRECT;
		for (level = 1; level <= 3 && lblk >> level * shift; level++)
			lblk -= (lblk_t)1 << level * shift;
	}
	if (level > 3)
		return -EFBIG;
	err = put_below(f, raw, &raw->i_block[level ? EXT_NR_DIRECT + level - 1 : lblk], level, lblk, pblk);
	if (!err)
		count_block(f, raw);
	return err;
}

/* Into the leaf that is to hold lblk: at the end of the record before, or as a new record. */
static int put_in_leaf(struct extent_node *n, lblk_t lblk, pblk_t pblk)
{
	unsigned i = 0;

	while (i < extent_nr(n) && le32_get(extent_leaf(n, i)->ee_block) < lblk)
		i++;
	if (i > 0) {
		struct ext_disk_extent *e = extent_leaf(n, i - 1);
		const uint32_t len = extent_len(e);

		if (!extent_is_unwritten(e) && le32_get(e->ee_block) + (lblk_t)len == lblk && extent_start(e) + len == pblk &&
		    len < EXTENT_UNWRITTEN_ABOVE) {
			extent_set(e, le32_get(e->ee_block), extent_start(e), len + 1, false);
			n->changed = true;
			return 0;
		}
	}
	if (!fsck_extent_insert(n, i))
		return -ENOSPC;
	extent_set(extent_leaf(n, i), lblk, pblk, 1, false);
	return 0;
}

/* A map of extents as a list, with a block more. */
struct listing {
	lblk_t lblk;
	pblk_t pblk;		/* 0: it is in the list */
	struct fsck_runs runs;
	ARRAY_OF(pblk_t) nodes;
};

static void list_run(struct fsck *f, struct listing *l, struct fsck_run run)
{
	if (!array_push(f, &l->runs, run))
		fsck_failed(f, -ENOMEM);
}

static void list_new(struct fsck *f, struct listing *l)
{
	if (l->pblk)
		list_run(f, l, (struct fsck_run){ l->lblk, l->pblk, 1, false });
	l->pblk = 0;
}

static enum walk_act list_ptr(struct walk *wk, struct visit *v)
{
	struct listing *l = wk->arg;
	struct fsck *f = wk->w->f;

	if (v->level > 0) {
		if (!array_push(f, &l->nodes, v->pblk))
			fsck_failed(f, -ENOMEM);
		return WALK_KEEP;
	}
	if (v->lblk > l->lblk)
		list_new(f, l);
	list_run(f, l, (struct fsck_run){ v->lblk, v->pblk, v->nr, v->unwritten });
	return WALK_KEEP;
}

/* The node that was to hold the block is full: all are made anew. */
static int put_extent_anew(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw, lblk_t lblk, pblk_t pblk)
{
	struct listing l = { .lblk = lblk, .pblk = pblk };
	struct walk wk = { .w = &f->main, .ino = ino, .raw = raw, .ptr = list_ptr, .arg = &l };
	int err;

	fsck_walk(&wk);
	list_new(f, &l);
	err = f->err ? f->err : wk.failed ? -EUCLEAN : fsck_extents_make(f, ino, raw, &l.runs);
	for (size_t i = 0; !err && i < l.nodes.nr; i++)
		fsck_unclaim(f, l.nodes.v[i], 1);
	if (!err)
		fsck_map_recount(f, ino, raw);
	array_free(&l.nodes);
	array_free(&l.runs);
	return err;
}

static int put_extent(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw, lblk_t lblk, pblk_t pblk)
{
	uint8_t *buf = malloc(f->block_bytes);
	struct extent_node n = { .bytes = (uint8_t *)raw->i_block };
	int err = buf ? 0 : -ENOMEM;

	n.depth = le16_get(extent_head(&n)->eh_depth);
	if (!err && !fsck_extent_head_ok(&n, EXT_INLINE_BYTES))
		err = -EUCLEAN;
	while (!err && n.depth > 0) {
		const struct ext_disk_extent_idx *e;
		unsigned i = 0;

		while (i + 1 < extent_nr(&n) && le32_get(extent_index(&n, i + 1)->ei_block) <= lblk)
			i++;
		e = extent_index(&n, i);
		n.pblk = extent_child(e);
		n.depth--;
		if (extent_nr(&n) == 0 || !fsck_data_ok(f, n.pblk, 1))
			err = -EUCLEAN;
		else
			err = fsck_block_read(f, n.pblk, buf);
		n.bytes = buf;
		if (!err && !fsck_extent_head_ok(&n, f->block_bytes))
			err = -EUCLEAN;
	}
	if (!err)
		err = put_in_leaf(&n, lblk, pblk);
	if (!err) {
		if (n.pblk)
			fsck_extent_write(f, inode_seed(f, ino, raw), &n);
		count_block(f, raw);
	}
	free(buf);
	return err == -ENOSPC ? put_extent_anew(f, ino, raw, lblk, pblk) : err;
}

int fsck_map_put(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw, lblk_t lblk, pblk_t pblk)
{
	if (le32_get(raw->i_flags) & EXT_FL_EXTENTS)
		return put_extent(f, ino, raw, lblk, pblk);
	return put_indirect(f, raw, lblk, pblk);
}
