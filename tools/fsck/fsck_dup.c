/*
 * fsck_dup.c: pass 1B: blocks that are claimed more than once.
 *
 * All claims of such blocks are collected; the claim with the best evidence keeps its block:
 * contents that belong to the claimant (a directory's, an attribute block's), then neighbours in
 * the file that are neighbours on the disk, then where the inodes around it begin, then the inode's group. Other claims are cut off:
 * their own block is lost in any case, and what lies in this one is another file's. Where the
 * evidence says nothing, the loser gets a copy, but only when who may read it may read the keeper's file too.
 *
 *   DU1  Nobody gets to read another file's data by a repair.
 *   DU2  The keeper is the same for every order in which claims are found.
 */
#include <stdlib.h>

#include "fsck_int.h"

enum {
	NEAR_BLOCKS = 4,	/* map blocks may lie between neighbours */
	ROW_REACH = 4,		/* inodes on each side that are asked where they begin */
	SCORE_NEIGHBOUR = 4, SCORE_STRANGER = -2, SCORE_GROUP = 1, SCORE_CONTENTS = 100, SCORE_SYSTEM = 1000, SCORE_BAD = 10000,
	LEVEL_XATTR = 9, LEVEL_SYSTEM = 10,
};

struct claim {
	pblk_t pblk;
	ino_nr_t ino;
	uint32_t lblk;
	unsigned level;
	int score;
	bool loses, copy, bad;	/* bad: the keeper is the list of bad blocks */
	uint32_t uid, gid;
	uint16_t mode;
};

struct dups {
	struct fsck *f;
	ARRAY_OF(struct claim) claims;
	/* Of the inode at hand */
	ino_nr_t ino;
	struct ext_disk_inode *raw, *other;
	struct visit last;	/* data; nr 0: none yet */
	size_t pending;		/* claims from here on wait for their neighbour behind */
	uint8_t *block;
};

static bool is_near(pblk_t before, pblk_t behind)
{
	return behind > before && behind - before <= NEAR_BLOCKS;
}

/* The first block of data of an inode; 0: none that could be one. */
static pblk_t first_block(struct fsck *f, ino_nr_t ino, struct ext_disk_inode *raw)
{
	if (ino < f->first_ino || ino > f->nr_inodes || !f->itype[ino] || fsck_inode_read(f, ino, raw) ||
	    !inode_has_map(f, raw))
		return 0;
	return inode_first_block(raw);
}

/* Does one of the inodes on this side (step 1 or -1) begin as far from pblk as the inodes are apart? */
static bool is_in_row(struct dups *d, pblk_t pblk, int step)
{
	for (int far = step; abs(far) <= ROW_REACH; far += step) {
		const pblk_t first = first_block(d->f, d->ino + (ino_nr_t)far, d->other);

		if (first && first == pblk + (pblk_t)far)
			return true;
	}
	return false;
}

/* Files made one after the other lie so, as a rule: inodes and first blocks alike. */
static int score_of_row(struct dups *d, pblk_t pblk)
{
	return is_in_row(d, pblk, -1) + is_in_row(d, pblk, 1);
}

static int score_of(struct dups *d, const struct visit *v, pblk_t pblk, lblk_t lblk)
{
	struct fsck *f = d->f;
	const uint32_t seed = inode_seed(f, d->ino, d->raw);
	int score = (pblk - f->first_data_block) / f->blocks_per_group == (d->ino - 1) / f->inodes_per_group ? SCORE_GROUP : 0;

	if (d->ino == EXT_BAD_INO)
		score += SCORE_BAD;
	else if (fsck_is_system_ino(f, d->ino))
		score += SCORE_SYSTEM;
	if (v->level == 0 && lblk == 0)
		score += score_of_row(d, pblk);
	if (d->last.nr && d->last.lblk + 1 == lblk)
		score += is_near(d->last.pblk, pblk) ? SCORE_NEIGHBOUR : SCORE_STRANGER;
	if (v->level == 0 && S_ISDIR(le16_get(d->raw->i_mode)) && !fsck_block_read(f, pblk, d->block)) {
		const struct ext_disk_dirent *de = (const void *)d->block;
		const bool is_dot = le32_get(de->inode) == d->ino && de->name_len == 1 && de->name[0] == '.';
		const bool ours = lblk == 0 ? is_dot : has_csum(f) && fsck_leaf_csum_ok(f, seed, d->block);

		if (lblk == 0 || has_csum(f))
			score += ours ? SCORE_CONTENTS : -SCORE_CONTENTS;
	}
	return score;
}

static void claim_add(struct dups *d, pblk_t pblk, lblk_t lblk, unsigned level, int score)
{
	const struct ext_disk_inode *raw = d->raw;

	array_push(d->f, &d->claims, (struct claim){
		.pblk = pblk, .ino = d->ino, .lblk = (uint32_t)lblk, .level = level, .score = score,
		.uid = le16_get(raw->i_uid_lo) | (uint32_t)le16_get(raw->i_uid_hi) << 16,
		.gid = le16_get(raw->i_gid_lo) | (uint32_t)le16_get(raw->i_gid_hi) << 16, .mode = le16_get(raw->i_mode) });
}

/* The block behind the last claims of this file has come. */
static void settle_pending(struct dups *d, pblk_t pblk, lblk_t lblk)
{
	for (; d->pending < d->claims.nr; d->pending++) {
		struct claim *c = &d->claims.v[d->pending];

		if (c->level == 0 && (lblk_t)c->lblk + 1 == lblk)
			c->score += is_near(c->pblk, pblk) ? SCORE_NEIGHBOUR : SCORE_STRANGER;
	}
}

static enum walk_act find_ptr(struct walk *wk, struct visit *v)
{
	struct dups *d = wk->arg;

	for (uint32_t i = 0; i < v->nr; i++) {
		const pblk_t pblk = v->pblk + i;
		const lblk_t lblk = v->lblk + i;

		if (v->level == 0)
			settle_pending(d, pblk, lblk);
		if (fsck_is_dup(d->f, pblk))
			claim_add(d, pblk, lblk, v->level, score_of(d, v, pblk, lblk));
		if (v->level == 0)
			d->last = (struct visit){ .lblk = lblk, .pblk = pblk, .nr = 1 };
	}
	return WALK_KEEP;
}

static void find_in(struct dups *d, ino_nr_t ino)
{
	struct walk wk = { .w = &d->f->main, .ino = ino, .raw = d->raw, .ptr = find_ptr, .arg = d };
	const pblk_t acl = inode_file_acl(d->f, d->raw);

	d->ino = ino;
	d->last.nr = 0;
	d->pending = d->claims.nr;
	if (ino == EXT_RESIZE_INO) {
		const pblk_t dind = le32_get(d->raw->i_block[EXT_DIND_BLOCK]);

		if (fsck_data_ok(d->f, dind, 1) && fsck_is_dup(d->f, dind))
			claim_add(d, dind, 0, LEVEL_SYSTEM, SCORE_SYSTEM);
		return;
	}
	fsck_walk(&wk);
	if (fsck_data_ok(d->f, acl, 1) && fsck_is_dup(d->f, acl))
		claim_add(d, acl, 0, LEVEL_XATTR, SCORE_CONTENTS);
}

static void find_all(struct dups *d)
{
	for (ino_nr_t ino = 1; ino <= d->f->nr_inodes && !is_stopped(d->f); ino++) {
		if (!d->f->itype[ino] && ino >= d->f->first_ino)
			continue;
		if (!fsck_inode_read(d->f, ino, d->raw))
			find_in(d, ino);
	}
}

/* Decision ---------------------------------------------------------------------------------- */

static int claim_compare(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;

	if (x->pblk != y->pblk)
		return x->pblk < y->pblk ? -1 : 1;
	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->lblk < y->lblk ? -1 : x->lblk > y->lblk;
}

/* DU1: may whoever reads the loser read the keeper? */
static bool may_copy(const struct claim *keeper, const struct claim *c)
{
	if (keeper->ino == c->ino)
		return true;
	return keeper->level == 0 && c->level == 0 && S_ISREG(c->mode) && S_ISREG(keeper->mode) && c->uid == keeper->uid &&
	       c->gid == keeper->gid && !(c->mode & ~keeper->mode & 0444);
}

static void judge(struct dups *d)
{
	for (size_t i = 0; i < d->claims.nr;) {
		const struct claim *keeper = &d->claims.v[i];
		size_t k = i + 1;

		for (; k < d->claims.nr && d->claims.v[k].pblk == keeper->pblk; k++) {
			struct claim *c = &d->claims.v[k];

			c->loses = !(c->level == LEVEL_XATTR && keeper->level == LEVEL_XATTR);
			c->bad = c->loses && c->level == 0 && keeper->ino == EXT_BAD_INO && keeper->level == 0;
			c->copy = c->loses && c->level == 0 && c->score == keeper->score && may_copy(keeper, c);
		}
		i = k;
	}
}

/* Repair --------------------------------------------------------------------------------------- */

static int by_owner(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	if (x->level != y->level)
		return x->level < y->level ? -1 : 1;
	return x->lblk < y->lblk ? -1 : x->lblk > y->lblk;
}

/* The losing claims of one inode. */
struct losses {
	struct dups *d;
	const struct claim *v;
	size_t nr;
	bool cut, copy, salvage;	/* what was agreed to */
	struct fsck_runs runs;	/* of extents: what the inode has afterwards */
};

static const struct claim *loss_find(const struct losses *l, lblk_t lblk, unsigned level, pblk_t pblk)
{
	const struct claim key = { .ino = l->nr ? l->v[0].ino : 0, .lblk = (uint32_t)lblk, .level = level };
	const struct claim *c = l->nr ? bsearch(&key, l->v, l->nr, sizeof(*l->v), by_owner) : NULL;

	return c && c->pblk == pblk && (c->bad ? l->salvage : c->copy ? l->copy : l->cut) ? c : NULL;
}

/* Of a bad block, what can be read: nothing else has a copy of it. */
static pblk_t copy_block(struct losses *l, const struct claim *c)
{
	struct fsck *f = l->d->f;
	pblk_t to;

	if (!c->copy && !c->bad)
		return 0;
	if (fsck_block_read(f, c->pblk, l->d->block)) {
		if (!c->bad)
			return 0;
		fsck_block_salvage(f, c->pblk, l->d->block);
	}
	to = fsck_block_alloc(f, c->pblk);
	if (!to || to > UINT32_MAX)
		return 0;
	if (has_compat(f, EXT_COMPAT_ORPHAN_FILE) && c->ino == le32_get(f->sb.s_orphan_file_inum))
		fsck_orphan_block_empty(f, inode_seed(f, c->ino, l->d->raw), to, l->d->block);
	fsck_block_write(f, to, l->d->block);
	return to;
}

/* One pointer of a map of pointers. */
static enum walk_act lose_ptr(struct walk *wk, struct visit *v)
{
	struct losses *l = wk->arg;
	const struct claim *c = loss_find(l, v->lblk, v->level, v->pblk);

	if (!c)
		return WALK_KEEP;
	v->pblk = copy_block(l, c);
	return v->pblk ? WALK_MOVE : WALK_CUT;
}

static void add_run(struct losses *l, const struct visit *v, uint32_t from, uint32_t nr, pblk_t pblk)
{
	if (nr && !array_push(l->d->f, &l->runs, (struct fsck_run){ v->lblk + from, pblk, nr, v->unwritten }))
		fsck_failed(l->d->f, -ENOMEM);
}

/* One extent: what is left of it, in pieces. */
static enum walk_act lose_extent(struct walk *wk, struct visit *v)
{
	struct losses *l = wk->arg;
	uint32_t from = 0;

	if (v->level > 0)
		return loss_find(l, v->lblk, v->level, v->pblk) ? WALK_SKIP : WALK_KEEP;
	for (uint32_t i = 0; i < v->nr; i++) {
		const struct claim *c = loss_find(l, v->lblk + i, 0, v->pblk + i);
		pblk_t to;

		if (!c)
			continue;
		to = copy_block(l, c);
		add_run(l, v, from, i - from, v->pblk + from);
		add_run(l, v, i, to ? 1 : 0, to);
		from = i + 1;
	}
	add_run(l, v, from, v->nr - from, v->pblk + from);
	return WALK_KEEP;
}

/* -EUCLEAN: parts of the map could not be followed, as not all repairs were agreed to; it is as it was. */
static int lose_blocks(struct losses *l, ino_nr_t ino)
{
	struct ext_disk_inode *raw = l->d->raw;
	const bool extents = le32_get(raw->i_flags) & EXT_FL_EXTENTS;
	struct walk wk = { .w = &l->d->f->main, .ino = ino, .raw = raw, .ptr = extents ? lose_extent : lose_ptr, .arg = l };
	int err = 0;

	fsck_walk(&wk);
	if (extents && wk.failed)
		err = -EUCLEAN;
	else if (extents && !l->d->f->err)
		err = fsck_extents_make(l->d->f, ino, raw, &l->runs);
	array_free(&l->runs);
	return err ? err : l->d->f->err;
}

static void lose(struct losses *l, ino_nr_t ino)
{
	struct fsck *f = l->d->f;
	uint64_t nr_cut = 0, nr_copy = 0, nr_bad = 0;
	int err;

	for (size_t i = 0; i < l->nr; i++) {
		nr_bad += l->v[i].bad;
		nr_copy += !l->v[i].bad && l->v[i].copy;
		nr_cut += !l->v[i].bad && !l->v[i].copy;
	}
	fsck_fix(&f->main, P1B_SHARED, .ino = ino, .num = l->nr);
	l->copy = nr_copy && fsck_fix(&f->main, P1B_CLONE, .ino = ino, .num = nr_copy);
	l->cut = nr_cut && fsck_fix(&f->main, P1B_CUT, .ino = ino, .num = nr_cut);
	l->salvage = nr_bad && fsck_fix(&f->main, P1B_SALVAGE, .ino = ino, .num = nr_bad);
	if ((!l->copy && !l->cut && !l->salvage) || fsck_inode_read(f, ino, l->d->raw))
		return;
	if (l->cut && l->v[l->nr - 1].level == LEVEL_XATTR)
		inode_set_file_acl(f, l->d->raw, 0);
	err = lose_blocks(l, ino);
	if (err == -EUCLEAN)
		f->cannot_mark_clean = true;
	else if (err)
		fsck_failed(f, err);
	if (err)
		return;
	fsck_map_recount(f, ino, l->d->raw);
	fsck_inode_write(f, ino, l->d->raw);
	if (has_compat(f, EXT_COMPAT_HAS_JOURNAL) && ino == le32_get(f->sb.s_journal_inum))
		fsck_journal_backup(f, l->d->raw);
	if (l->cut)
		fsck_fate(f, "inode %" PRIu32 ": %" PRIu64 " block(s) were another file's; there are holes now", ino, nr_cut);
	if (l->copy)
		fsck_fate(f, "inode %" PRIu32 ": %" PRIu64 " block(s) were copied from another file", ino, nr_copy);
	if (l->salvage)
		fsck_fate(f, "inode %" PRIu32 ": %" PRIu64 " block(s) could not be read: zeroes are in place of what is lost", ino,
			  nr_bad);
	f->restart = true;
}

static void keep_losers(struct dups *d)
{
	size_t nr = 0;

	for (size_t i = 0; i < d->claims.nr; i++)
		if (d->claims.v[i].loses)
			d->claims.v[nr++] = d->claims.v[i];
	d->claims.nr = nr;
	if (nr)
		qsort(d->claims.v, nr, sizeof(*d->claims.v), by_owner);
}

void fsck_pass1b(struct fsck *f)
{
	struct dups d = { .f = f, .raw = calloc(1, f->inode_bytes + sizeof(*d.raw)),
			  .other = calloc(1, f->inode_bytes + sizeof(*d.raw)), .block = malloc(f->block_bytes) };

	fsck_fix(&f->main, P1B_PASS, .ino = 0);
	if (!d.raw || !d.other || !d.block) {
		fsck_failed(f, -ENOMEM);
	} else {
		find_all(&d);
		if (d.claims.nr)
			qsort(d.claims.v, d.claims.nr, sizeof(*d.claims.v), claim_compare);
		judge(&d);
		keep_losers(&d);
		for (size_t i = 0, k; i < d.claims.nr && !is_stopped(f); i = k) {
			struct losses l = { .d = &d, .v = &d.claims.v[i] };

			for (k = i; k < d.claims.nr && d.claims.v[k].ino == d.claims.v[i].ino; k++)
				;
			l.nr = k - i;
			lose(&l, l.v[0].ino);
		}
	}
	array_free(&d.claims);
	free(d.raw);
	free(d.other);
	free(d.block);
}
