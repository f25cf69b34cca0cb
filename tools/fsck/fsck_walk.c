/*
 * fsck_walk.c: one block map from its root to its data, indirect or extents. What is followed is
 * checked first; who walks decides what happens with each pointer (struct walk).
 *
 *   W1  A block is followed only when it lies inside the filesystem and off its fixed metadata.
 *   W2  No map block is followed twice in one walk, so a walk ends.
 *   W3  A changed map block is sealed and written when the walk leaves it.
 */
#include <stdlib.h>

#include "base/crc.h"
#include "fsck_int.h"

enum {
	GARBAGE_POINTERS = 16,		/* so many impossible ones, and more than the others: it is no map block */
	EXTENT_MAX_DEPTH = 5, EXTENT_BYTES = 12, UNWRITTEN_ABOVE = 32768,
};

bool inode_has_map(const struct fsck *f, const struct ext_disk_inode *raw)
{
	const uint32_t mode = le16_get(raw->i_mode), flags = le32_get(raw->i_flags);

	if (flags & EXT_FL_INLINE_DATA)
		return false;
	if (S_ISREG(mode) || S_ISDIR(mode) || !(mode & S_IFMT))
		return true;
	/* A short target is in i_block itself. */
	return S_ISLNK(mode) &&
	       ((flags & EXT_FL_EXTENTS) || inode_size(raw) >= EXT_INLINE_BYTES ||
		(inode_nr_sects(f, raw) > (inode_file_acl(f, raw) ? f->block_bytes >> SECT_SHIFT : 0)));
}

static bool bad(struct walk *wk, enum problem pr, struct fsck_args args)
{
	args.ino = wk->ino;
	if (wk->bad && wk->bad(wk, pr, &args))
		return true;
	wk->failed = true;
	return false;
}

static uint8_t *level_buf(struct walk *wk, unsigned level)
{
	uint8_t **buf = &wk->w->map_buf[level];

	if (!*buf)
		*buf = malloc(wk->w->f->block_bytes);
	if (!*buf)
		atomic_store(&wk->w->f->any_err, true);
	return *buf;
}

/* W2. A binary search is not worth it: maps have few map blocks, or the walk is long anyway. */
static bool seen_before(struct walk *wk, pblk_t pblk)
{
	for (size_t i = 0; i < wk->seen.nr; i++)
		if (wk->seen.v[i] == pblk)
			return true;
	return !array_push(wk->w->f, &wk->seen, pblk);
}

/* Indirect maps ----------------------------------------------------------------------------- */

static bool table(struct walk *wk, le32 *t, uint32_t nr, unsigned level, lblk_t lblk);

static bool is_garbage(const struct walk *wk, const le32 *t, uint32_t nr, uint32_t *nr_bad)
{
	uint32_t used = 0;

	*nr_bad = 0;
	for (uint32_t i = 0; i < nr; i++) {
		const pblk_t p = le32_get(t[i]);

		used += p != 0;
		*nr_bad += p && !fsck_data_ok(wk->w->f, p, 1);
	}
	return *nr_bad >= GARBAGE_POINTERS && *nr_bad > used / 2;
}

static bool all_zero(const le32 *t, uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++)
		if (t[i].raw)
			return false;
	return true;
}

/* The map block that v points to, into its level's buffer; false: v is cut off (*cut) or left alone. */
static bool map_block_open(struct walk *wk, const struct visit *v, bool *cut)
{
	const struct fsck_args at = { .pblk = v->pblk, .lblk = v->lblk };
	struct fsck *f = wk->w->f;
	uint8_t *buf = level_buf(wk, v->level);
	uint32_t nr_bad;
	bool garbage;

	*cut = false;
	if (!buf)
		return false;
	if (seen_before(wk, v->pblk)) {
		*cut = bad(wk, P1_MAP_LOOP, at);
		return false;
	}
	if (fsck_block_read(f, v->pblk, buf)) {
		*cut = bad(wk, P1_MAP_READ, at);
		return false;
	}
	garbage = is_garbage(wk, (le32 *)buf, f->block_bytes / 4, &nr_bad);
	/* Nothing is repaired inside of what another file has: that may be its data. */
	if (wk->bad && nr_bad && fsck_is_used(f, v->pblk)) {
		*cut = bad(wk, P1_MAP_SHARED, at);
		if (*cut || !garbage)
			return false;
	}
	if (wk->bad && garbage) {
		*cut = bad(wk, P1_MAP_GARBAGE, (struct fsck_args){ .pblk = v->pblk, .lblk = v->lblk, .num = nr_bad });
		if (*cut)
			return false;
	}
	return true;
}

/* Below a map block that is kept. True: it has become empty. */
static bool map_block_walk(struct walk *wk, const struct visit *v, pblk_t was)
{
	struct fsck *f = wk->w->f;
	le32 *t = (le32 *)wk->w->map_buf[v->level];
	const bool changed = table(wk, t, f->block_bytes / 4, v->level - 1, v->lblk);

	if (changed && wk->gone && all_zero(t, f->block_bytes / 4)) {
		wk->gone(wk, v->pblk);
		return true;
	}
	if (changed || was != v->pblk)
		fsck_block_write(f, v->pblk, t);	/* W3 */
	return false;
}

static bool pointer(struct walk *wk, le32 *p, unsigned level, lblk_t lblk)
{
	struct visit v = { .lblk = lblk, .pblk = le32_get(*p), .nr = 1, .level = level };
	const pblk_t was = v.pblk;
	enum walk_act act;
	bool cut = false;

	if (!fsck_data_ok(wk->w->f, v.pblk, 1)) {	/* W1 */
		cut = bad(wk, level ? P1_ILLEGAL_MAP : P1_ILLEGAL_BLOCK, (struct fsck_args){ .pblk = v.pblk, .lblk = lblk });
		if (cut)
			*p = le32_of(0);
		return cut;
	}
	if (level && !map_block_open(wk, &v, &cut)) {
		if (cut)
			*p = le32_of(0);
		return cut;
	}
	act = wk->ptr ? wk->ptr(wk, &v) : WALK_KEEP;
	if (act == WALK_CUT)
		v.pblk = 0;
	else if (level && act != WALK_SKIP && map_block_walk(wk, &v, was))
		v.pblk = 0;
	*p = le32_of((uint32_t)v.pblk);
	return v.pblk != was;
}

/* Pointers to things at this level, from file block lblk on. True: some changed. */
static bool table(struct walk *wk, le32 *t, uint32_t nr, unsigned level, lblk_t lblk)
{
	const lblk_t span = (lblk_t)1 << level * (wk->w->f->block_shift - 2);
	bool changed = false;

	for (uint32_t i = 0; i < nr && !is_stopped(wk->w->f); i++, lblk += span)
		if (t[i].raw)
			changed |= pointer(wk, &t[i], level, lblk);
	return changed;
}

static void walk_indirect(struct walk *wk)
{
	const unsigned shift = wk->w->f->block_shift - 2;
	lblk_t lblk = EXT_NR_DIRECT;

	wk->raw_dirty |= table(wk, wk->raw->i_block, EXT_NR_DIRECT, 0, 0);
	for (unsigned level = 1; level <= 3; level++) {
		wk->raw_dirty |= table(wk, &wk->raw->i_block[EXT_NR_DIRECT + level - 1], 1, level, lblk);
		lblk += (lblk_t)1 << level * shift;
	}
}

/* Extents ------------------------------------------------------------------------------------- */

struct node {
	uint8_t *bytes;
	unsigned depth;
	pblk_t pblk;		/* 0: the root */
	lblk_t end;		/* nothing at or behind it */
	bool changed;
};

static struct ext_disk_extent_header *head_of(const struct node *n)
{
	return (struct ext_disk_extent_header *)n->bytes;
}
static struct ext_disk_extent *leaf_at(const struct node *n, unsigned i)
{
	return (struct ext_disk_extent *)(n->bytes + EXTENT_BYTES) + i;
}
static struct ext_disk_extent_idx *index_at(const struct node *n, unsigned i)
{
	return (struct ext_disk_extent_idx *)(n->bytes + EXTENT_BYTES) + i;
}
static unsigned node_nr(const struct node *n)
{
	return le16_get(head_of(n)->eh_entries);
}

static uint32_t leaf_len(const struct ext_disk_extent *e)
{
	const uint32_t len = le16_get(e->ee_len);

	return len > UNWRITTEN_ABOVE ? len - UNWRITTEN_ABOVE : len;
}
static pblk_t leaf_start(const struct ext_disk_extent *e)
{
	return (pblk_t)le16_get(e->ee_start_hi) << 32 | le32_get(e->ee_start_lo);
}
static void leaf_set(struct ext_disk_extent *e, lblk_t lblk, pblk_t pblk, uint32_t len, bool unwritten)
{
	e->ee_block = le32_of((uint32_t)lblk);
	e->ee_start_lo = le32_of((uint32_t)pblk);
	e->ee_start_hi = le16_of((uint16_t)(pblk >> 32));
	e->ee_len = le16_of((uint16_t)(len + (unwritten ? UNWRITTEN_ABOVE : 0)));
}
static bool is_unwritten(const struct ext_disk_extent *e)
{
	return le16_get(e->ee_len) > UNWRITTEN_ABOVE;
}

static void remove_at(struct node *n, unsigned i)
{
	const unsigned nr = node_nr(n);

	memmove(leaf_at(n, i), leaf_at(n, i + 1), (size_t)(nr - i - 1) * EXTENT_BYTES);
	memset(leaf_at(n, nr - 1), 0, EXTENT_BYTES);
	head_of(n)->eh_entries = le16_of((uint16_t)(nr - 1));
	n->changed = true;
}

static bool insert_at(struct node *n, unsigned i)
{
	const unsigned nr = node_nr(n);

	if (nr >= le16_get(head_of(n)->eh_max))
		return false;
	memmove(leaf_at(n, i + 1), leaf_at(n, i), (size_t)(nr - i) * EXTENT_BYTES);
	head_of(n)->eh_entries = le16_of((uint16_t)(nr + 1));
	n->changed = true;
	return true;
}

static bool head_ok(const struct node *n, size_t cap)
{
	const struct ext_disk_extent_header *h = head_of(n);
	const unsigned max = le16_get(h->eh_max);

	return le16_get(h->eh_magic) == EXT_EXTENT_MAGIC && le16_get(h->eh_depth) == n->depth && max > 0 &&
	       le16_get(h->eh_entries) <= max && EXTENT_BYTES + (size_t)max * EXTENT_BYTES <= cap;
}

static le32 *csum_of(const struct node *n)
{
	return (le32 *)(n->bytes + EXTENT_BYTES + (size_t)le16_get(head_of(n)->eh_max) * EXTENT_BYTES);
}

static uint32_t csum_want(const struct walk *wk, const struct node *n)
{
	return crc32c(inode_seed(wk->w->f, wk->ino, wk->raw), n->bytes, (size_t)((uint8_t *)csum_of(n) - n->bytes));
}

static bool csum_fits(const struct walk *wk, const struct node *n)
{
	return has_csum(wk->w->f) && (size_t)((uint8_t *)csum_of(n) - n->bytes) + sizeof(le32) <= wk->w->f->block_bytes;
}

static void node_walk(struct walk *wk, struct node *n);

/* One extent of a leaf; *i moves to the next one. *lo: nothing may begin before. */
static void leaf_record(struct walk *wk, struct node *n, unsigned *i, lblk_t *lo)
{
	struct ext_disk_extent *e = leaf_at(n, *i);
	struct visit v = { .lblk = le32_get(e->ee_block), .pblk = leaf_start(e), .nr = leaf_len(e),
			   .unwritten = is_unwritten(e) };
	const uint32_t len = v.nr;

	if (v.nr == 0 || v.lblk < *lo || v.lblk + v.nr > n->end || !fsck_data_ok(wk->w->f, v.pblk, v.nr)) {
		if (bad(wk, P1_EXTENT_BAD, (struct fsck_args){ .lblk = v.lblk, .pblk = v.pblk, .num = v.nr }))
			remove_at(n, *i);
		else
			++*i;
		return;
	}
	switch (wk->ptr ? wk->ptr(wk, &v) : WALK_KEEP) {
	case WALK_SPLIT:
		if (v.nr > 0 && v.nr < len && insert_at(n, *i + 1)) {
			leaf_set(leaf_at(n, *i + 1), v.lblk + v.nr, v.pblk + v.nr, len - v.nr, v.unwritten);
			leaf_set(e, v.lblk, v.pblk, v.nr, v.unwritten);
			return;		/* again, in two pieces */
		}
		wk->failed = true;	/* no room for one more: all of it goes */
		remove_at(n, *i);
		return;
	case WALK_CUT:
		remove_at(n, *i);
		return;
	case WALK_MOVE:
		leaf_set(e, v.lblk, v.pblk, len, v.unwritten);
		n->changed = true;
		break;
	default:
		break;
	}
	*lo = v.lblk + len;
	++*i;
}

/* The child of an index record, read and its head checked. False: cut off, or left. */
static bool child_open(struct walk *wk, struct node *n, unsigned i, struct node *child, bool *cut)
{
	const struct ext_disk_extent_idx *e = index_at(n, i);
	const struct fsck_args at = { .lblk = le32_get(e->ei_block), .pblk = child->pblk };

	*cut = false;
	child->bytes = level_buf(wk, child->depth + 1);
	if (!child->bytes)
		return false;
	if (!fsck_data_ok(wk->w->f, child->pblk, 1))
		*cut = bad(wk, P1_ILLEGAL_MAP, at);
	else if (seen_before(wk, child->pblk))
		*cut = bad(wk, P1_MAP_LOOP, at);
	else if (fsck_block_read(wk->w->f, child->pblk, child->bytes))
		*cut = bad(wk, P1_MAP_READ, at);
	else if (!head_ok(child, wk->w->f->block_bytes))
		*cut = bad(wk, P1_EXTENT_HEADER, at);
	else
		return true;
	return false;
}

static void child_csum(struct walk *wk, struct node *child)
{
	if (csum_fits(wk, child) && wk->bad && le32_get(*csum_of(child)) != csum_want(wk, child) &&
	    bad(wk, P1_EXTENT_CSUM, (struct fsck_args){ .pblk = child->pblk }))
		child->changed = true;
}

static void child_close(struct walk *wk, struct node *child)
{
	if (!child->changed)
		return;
	if (csum_fits(wk, child))
		*csum_of(child) = le32_of(csum_want(wk, child));
	fsck_block_write(wk->w->f, child->pblk, child->bytes);	/* W3 */
}

/* Where the first record below says that the child begins. */
static void child_start(struct walk *wk, struct node *n, unsigned i, const struct node *child)
{
	struct ext_disk_extent_idx *e = index_at(n, i);
	const uint32_t first = le32_get(leaf_at(child, 0)->ee_block);

	if (wk->bad && first != le32_get(e->ei_block) &&
	    bad(wk, P1_EXTENT_START, (struct fsck_args){ .lblk = le32_get(e->ei_block), .num = first })) {
		e->ei_block = le32_of(first);
		n->changed = true;
	}
}

static void index_record(struct walk *wk, struct node *n, unsigned *i)
{
	struct ext_disk_extent_idx *e = index_at(n, *i);
	struct node child = { .depth = n->depth - 1, .end = n->end,
			      .pblk = (pblk_t)le16_get(e->ei_leaf_hi) << 32 | le32_get(e->ei_leaf_lo) };
	struct visit v = { .lblk = le32_get(e->ei_block), .pblk = child.pblk, .nr = 1, .level = n->depth };
	enum walk_act act;
	bool cut;

	if (*i + 1 < node_nr(n))
		child.end = MIN(child.end, (lblk_t)le32_get(index_at(n, *i + 1)->ei_block));
	if (!child_open(wk, n, *i, &child, &cut)) {
		if (cut)
			remove_at(n, *i);
		else
			++*i;
		return;
	}
	act = wk->ptr ? wk->ptr(wk, &v) : WALK_KEEP;
	if (act == WALK_CUT) {
		remove_at(n, *i);
		return;
	}
	if (act == WALK_MOVE) {
		e->ei_leaf_lo = le32_of((uint32_t)v.pblk);
		e->ei_leaf_hi = le16_of((uint16_t)(v.pblk >> 32));
		child.pblk = v.pblk;
		child.changed = n->changed = true;
	}
	if (act != WALK_SKIP) {
		child_csum(wk, &child);
		node_walk(wk, &child);
		if (node_nr(&child) == 0 && (child.changed || bad(wk, P1_EXTENT_EMPTY, (struct fsck_args){ .pblk = child.pblk }))) {
			if (wk->gone)
				wk->gone(wk, child.pblk);
			remove_at(n, *i);
			return;
		}
		if (node_nr(&child) > 0)
			child_start(wk, n, *i, &child);
		child_close(wk, &child);
	}
	++*i;
}

static void node_walk(struct walk *wk, struct node *n)
{
	lblk_t lo = 0;

	for (unsigned i = 0; i < node_nr(n) && !is_stopped(wk->w->f);) {
		if (n->depth == 0)
			leaf_record(wk, n, &i, &lo);
		else
			index_record(wk, n, &i);
	}
}

static void root_init(struct ext_disk_inode *raw)
{
	struct ext_disk_extent_header *h = (void *)raw->i_block;

	memset(raw->i_block, 0, sizeof(raw->i_block));
	h->eh_magic = le16_of(EXT_EXTENT_MAGIC);
	h->eh_max = le16_of((EXT_INLINE_BYTES - EXTENT_BYTES) / EXTENT_BYTES);
}

static void walk_extents(struct walk *wk)
{
	struct node root = { .bytes = (uint8_t *)wk->raw->i_block, .end = (lblk_t)UINT32_MAX + 1 };

	root.depth = le16_get(head_of(&root)->eh_depth);
	if (root.depth > EXTENT_MAX_DEPTH - 1 || !head_ok(&root, EXT_INLINE_BYTES)) {
		if (!bad(wk, P1_EXTENT_HEADER, (struct fsck_args){ .pblk = 0 }))
			return;
		root_init(wk->raw);
		wk->raw_dirty = true;
		return;
	}
	node_walk(wk, &root);
	if (node_nr(&root) == 0 && root.depth > 0) {
		root_init(wk->raw);
		root.changed = true;
	}
	wk->raw_dirty |= root.changed;
}

void fsck_walk(struct walk *wk)
{
	wk->seen.nr = 0;
	if (!inode_has_map(wk->w->f, wk->raw))
		;
	else if (le32_get(wk->raw->i_flags) & EXT_FL_EXTENTS)
		walk_extents(wk);
	else
		walk_indirect(wk);
	array_free(&wk->seen);
}

/* Truncation ------------------------------------------------------------------------------------- */

struct truncation {
	lblk_t from;
	uint64_t nr_gone;
};

static enum walk_act truncate_ptr(struct walk *wk, struct visit *v)
{
	struct truncation *t = wk->arg;

	if (v->level > 0 || v->lblk + v->nr <= t->from)
		return WALK_KEEP;
	if (v->lblk < t->from) {
		v->nr = (uint32_t)(t->from - v->lblk);
		return WALK_SPLIT;
	}
	fsck_unclaim(wk->w->f, v->pblk, v->nr);
	t->nr_gone += v->nr;
	return WALK_CUT;
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
static int put_in_leaf(struct node *n, lblk_t lblk, pblk_t pblk)
{
	unsigned i = 0;

	while (i < node_nr(n) && le32_get(leaf_at(n, i)->ee_block) < lblk)
		i++;
	if (i > 0) {
		struct ext_disk_extent *e = leaf_at(n, i - 1);
		const uint32_t len = leaf_len(e);

		if (!is_unwritten(e) && le32_get(e->ee_block) + (lblk_t)len == lblk && leaf_start(e) + len == pblk &&
		    len < UNWRITTEN_ABOVE) {
			leaf_set(e, le32_get(e->ee_block), leaf_start(e), len + 1, false);
			n->changed = true;
			return 0;
		}
	}
	if (!insert_at(n, i))
		return -ENOSPC;
	leaf_set(leaf_at(n, i), lblk, pblk, 1, false);
	return 0;
}

static int put_extent(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw, lblk_t lblk, pblk_t pblk)
{
	struct walk wk = { .w = &f->main, .ino = ino, .raw = raw };
	uint8_t *buf = malloc(f->block_bytes);
	struct node n = { .bytes = (uint8_t *)raw->i_block };
	int err = buf ? 0 : -ENOMEM;

	n.depth = le16_get(head_of(&n)->eh_depth);
	if (!err && !head_ok(&n, EXT_INLINE_BYTES))
		err = -EUCLEAN;
	while (!err && n.depth > 0) {
		const struct ext_disk_extent_idx *e;
		unsigned i = 0;

		while (i + 1 < node_nr(&n) && le32_get(index_at(&n, i + 1)->ei_block) <= lblk)
			i++;
		e = index_at(&n, i);
		n.pblk = (pblk_t)le16_get(e->ei_leaf_hi) << 32 | le32_get(e->ei_leaf_lo);
		n.depth--;
		if (node_nr(&n) == 0 || !fsck_data_ok(f, n.pblk, 1))
			err = -EUCLEAN;
		else
			err = fsck_block_read(f, n.pblk, buf);
		n.bytes = buf;
		if (!err && !head_ok(&n, f->block_bytes))
			err = -EUCLEAN;
	}
	if (!err)
		err = put_in_leaf(&n, lblk, pblk);
	if (!err) {
		if (n.pblk)
			child_close(&wk, &n);
		count_block(f, raw);
	}
	free(buf);
	return err;
}

int fsck_map_put(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw, lblk_t lblk, pblk_t pblk)
{
	if (le32_get(raw->i_flags) & EXT_FL_EXTENTS)
		return put_extent(f, ino, raw, lblk, pblk);
	return put_indirect(f, raw, lblk, pblk);
}
