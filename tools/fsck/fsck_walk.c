/*
 * fsck_walk.c: one block map from its root to its data, and indirect maps on the way; those of
 * extents are in fsck_walk_extent.c. What is followed is checked first; who walks decides what
 * happens with each pointer (struct walk).
 *
 *   W1  A block is followed only when it lies inside the filesystem and off its fixed metadata.
 *   W2  No map block is followed twice in one walk, so a walk ends.
 *   W3  A changed map block is sealed and written when the walk leaves it.
 */
#include <stdlib.h>

#include "fsck_walk.h"

enum { GARBAGE_POINTERS = 16 };	/* so many impossible ones, and more than the others: it is no map block */

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

bool walk_bad(struct walk *wk, enum problem pr, struct fsck_args args)
{
	args.ino = wk->ino;
	if (wk->bad && wk->bad(wk, pr, &args))
		return true;
	wk->failed = true;
	return false;
}

uint8_t *walk_level_buf(struct walk *wk, unsigned level)
{
	uint8_t **buf = &wk->w->map_buf[level];

	if (!*buf)
		*buf = malloc(wk->w->f->block_bytes);
	if (!*buf)
		atomic_store(&wk->w->f->any_err, true);
	return *buf;
}

bool walk_seen_before(struct walk *wk, pblk_t pblk)
{
	struct jbd2_map *seen = &wk->w->seen;

	if (seen->nr && jbd2_map_get(seen, pblk))
		return true;
	if (!jbd2_map_put(seen, pblk, 1))
		return false;
	atomic_store(&wk->w->f->any_err, true);
	return true;
}

void fsck_walk_fini(struct worker *w)
{
	for (unsigned i = 0; i < ARRAY_LEN(w->map_buf); i++)
		free(w->map_buf[i]);
	jbd2_map_fini(&w->seen);
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
	uint8_t *buf = walk_level_buf(wk, v->level);
	uint32_t nr_bad;
	bool garbage;

	*cut = false;
	if (!buf)
		return false;
	if (walk_seen_before(wk, v->pblk)) {
		*cut = walk_bad(wk, P1_MAP_LOOP, at);
		return false;
	}
	if (fsck_block_read(f, v->pblk, buf)) {
		*cut = walk_bad(wk, P1_MAP_READ, at);
		return false;
	}
	garbage = is_garbage(wk, (le32 *)buf, f->block_bytes / 4, &nr_bad);
	/* Nothing is repaired inside of what another file has: that may be its data. */
	if (wk->bad && nr_bad && fsck_is_used(f, v->pblk)) {
		*cut = walk_bad(wk, P1_MAP_SHARED, at);
		if (*cut || !garbage)
			return false;
	}
	if (wk->bad && garbage) {
		*cut = walk_bad(wk, P1_MAP_GARBAGE, (struct fsck_args){ .pblk = v->pblk, .lblk = v->lblk, .num = nr_bad });
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
		cut = walk_bad(wk, level ? P1_ILLEGAL_MAP : P1_ILLEGAL_BLOCK, (struct fsck_args){ .pblk = v.pblk, .lblk = lblk });
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

void fsck_walk(struct walk *wk)
{
	jbd2_map_clear(&wk->w->seen);
	if (!inode_has_map(wk->w->f, wk->raw))
		;
	else if (le32_get(wk->raw->i_flags) & EXT_FL_EXTENTS)
		walk_extents(wk);
	else
		walk_indirect(wk);
}
