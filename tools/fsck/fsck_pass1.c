/*
 * fsck_pass1.c: all inodes. Workers take groups one after the other, read their tables in large
 * pieces and check what they find; what is not perfect is done again afterwards, by number (K4).
 */
#include <stdlib.h>

#include "base/log.h"
#include "fsck_int.h"

struct bad_piece {
	uint32_t group;
	pblk_t pblk;
};

/* A worker's own part of the pass. */
struct share {
	struct worker w;
	struct pass1 *p;
	uint8_t *buf;
	ARRAY_OF(ino_nr_t) suspects;
	ARRAY_OF(struct bad_piece) unreadable;
	ARRAY_OF(uint32_t) hidden;	/* groups with inodes in use that they say were never used */
};

struct pass1 {
	struct fsck *f;
	_Atomic uint32_t next_group, nr_done;
	struct share shares[FSCK_MAX_THREADS];
	unsigned nr_shares;
};

static void check_piece(struct share *s, ino_nr_t first, uint32_t nr)
{
	struct fsck *f = s->p->f;

	for (uint32_t i = 0; i < nr && !atomic_load_explicit(&f->any_err, memory_order_relaxed); i++) {
		struct ext_disk_inode *raw = (void *)(s->buf + (size_t)i * f->inode_bytes);

		/* Most of a young table. */
		if (fsck_is_zero(raw, f->inode_bytes) && first + i >= f->first_ino)
			continue;
		fsck_inode_check(&s->w, first + i, raw);
		if (s->w.suspect)
			array_push(f, &s->suspects, first + i);
	}
}

/*
 * Does the bitmap of a group contradict its itable_unused? This is asked before anything is repaired,
 * since repairs must not take blocks of inodes that are not looked at.
 */
static bool has_hidden(struct share *s, uint32_t g, uint32_t nr_used)
{
	struct fsck *f = s->p->f;
	const uint32_t nr = f->inodes_per_group;

	if (nr_used == nr || (group_flags(f, g) & EXT_BG_INODE_UNINIT) || (f->group_lost[g] & FSCK_LOST_INODE_BITMAP) ||
	    fsck_block_read(f, group_inode_bitmap(f, g), s->buf))
		return false;
	if (has_csum(f) ? GROUP_FIELD(f, g, bg_inode_bitmap_csum, 16) !=
			  ext_bitmap_csum(f->csum_seed, s->buf, nr, f->desc_bytes)
			: !(group_flags(f, g) & EXT_BG_INODE_ZEROED))
		return false;	/* it says nothing, or the table may be old noise */
	return fs_bits_next_one(s->buf, nr_used, nr) < nr;
}

static void check_group(struct share *s, uint32_t g)
{
	struct fsck *f = s->p->f;
	const uint32_t nr = group_nr_used_inodes(f, g), per_block = f->block_bytes / f->inode_bytes;
	const uint32_t piece = MAX(1u, (uint32_t)FSCK_ITABLE_BYTES >> f->block_shift);

	for (uint32_t b = 0; b * per_block < nr && !is_stopped(f); b += piece) {
		const uint32_t nr_blocks = MIN(piece, DIV_UP(nr, per_block) - b);
		const uint32_t from = b * per_block, count = MIN(nr - from, nr_blocks * per_block);
		const ino_nr_t first = g * f->inodes_per_group + from + 1;

		if (!fsck_blocks_read(f, group_inode_table(f, g) + b, nr_blocks, s->buf)) {
			check_piece(s, first, count);
			continue;
		}
		/* Block by block: only the bad ones are lost. */
		for (uint32_t i = 0; i < nr_blocks; i++) {
			const pblk_t at = group_inode_table(f, g) + b + i;

			if (fsck_block_read(f, at, s->buf))
				array_push(f, &s->unreadable, (struct bad_piece){ g, at });
			else
				check_piece(s, first + i * per_block, MIN(per_block, count - i * per_block));
		}
	}
	if (has_hidden(s, g, nr))
		array_push(f, &s->hidden, g);
}

static void *share_run(void *arg)
{
	struct share *s = arg;
	struct pass1 *p = s->p;
	uint32_t g;

	while ((g = atomic_fetch_add(&p->next_group, 1)) < p->f->nr_groups && !is_stopped(p->f)) {
		check_group(s, g);
		atomic_fetch_add(&p->nr_done, 1);
		if (s == &p->shares[0])
			fsck_progress(p->f, 1, atomic_load(&p->nr_done), p->f->nr_groups);
	}
	return NULL;
}

static bool share_init(void *share, void *pass)
{
	struct share *s = share;
	struct pass1 *p = pass;

	s->p = p;
	s->w = (struct worker){ .f = p->f, .dry = true, .inode = inode_scratch_new() };
	s->buf = malloc(MAX((size_t)FSCK_ITABLE_BYTES, (size_t)p->f->block_bytes));
	return s->w.inode && s->buf;
}

static void share_fini(void *share)
{
	struct share *s = share;

	inode_scratch_free(s->w.inode);
	fsck_walk_fini(&s->w);
	free(s->buf);
	array_free(&s->suspects);
	array_free(&s->unreadable);
	array_free(&s->hidden);
}

static const struct share_ops share_ops = { sizeof(struct share), share_init, share_run, share_fini };

/* What the workers found, and what they left for us. */
static void collect(struct pass1 *p)
{
	struct fsck *f = p->f;
	struct ext_disk_inode *raw = calloc(1, f->inode_bytes + sizeof(*raw));
	ARRAY_OF(ino_nr_t) suspects = { 0 };
	ARRAY_OF(uint32_t) hidden = { 0 };

	for (unsigned i = 0; i < p->nr_shares; i++) {
		struct share *s = &p->shares[i];

		inode_scratch_collect(f, s->w.inode);
		for (size_t k = 0; k < s->suspects.nr; k++)
			array_push(f, &suspects, s->suspects.v[k]);
		for (size_t k = 0; k < s->hidden.nr; k++)
			array_push(f, &hidden, s->hidden.v[k]);
		for (size_t k = 0; k < s->unreadable.nr; k++)
			fsck_inode_block_lost(f, s->unreadable.v[k].group, s->unreadable.v[k].pblk);
	}
	fsck_numbers_sort(hidden.v, hidden.nr);
	for (size_t i = 0; i < hidden.nr; i++)
		if (fsck_fix(&f->main, P1_HIDDEN, .group = hidden.v[i],
			     .num = f->inodes_per_group - group_nr_used_inodes(f, hidden.v[i])))
			fsck_group_open(f, hidden.v[i]);
	array_free(&hidden);
	fsck_numbers_sort(suspects.v, suspects.nr);
	if (!raw)
		fsck_failed(f, -ENOMEM);
	for (size_t i = 0; i < suspects.nr && !is_stopped(f) && !f->restart; i++) {
		const int err = fsck_inode_read(f, suspects.v[i], raw);

		if (err)
			fsck_failed(f, err);
		else
			fsck_inode_check(&f->main, suspects.v[i], raw);
	}
	inode_scratch_collect(f, f->main.inode);
	array_free(&suspects);
	free(raw);
}

static int dir_compare(const void *a, const void *b)
{
	const struct fsck_dir *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static int xref_compare(const void *a, const void *b)
{
	const struct fsck_xref *x = a, *y = b;

	if (x->pblk != y->pblk)
		return x->pblk < y->pblk ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* One entry a block, which is claimed once; references are summed up. */
static void join_xrefs(struct fsck *f)
{
	size_t nr = 0;

	if (f->xrefs.nr)
		qsort(f->xrefs.v, f->xrefs.nr, sizeof(*f->xrefs.v), xref_compare);
	for (size_t i = 0; i < f->xrefs.nr; i++) {
		if (nr && f->xrefs.v[nr - 1].pblk == f->xrefs.v[i].pblk)
			f->xrefs.v[nr - 1].found++;
		else
			f->xrefs.v[nr++] = f->xrefs.v[i];
	}
	f->xrefs.nr = nr;
	for (size_t i = 0; i < nr; i++)
		fsck_claim(f, f->xrefs.v[i].pblk, 1);
}

static bool tables_new(struct fsck *f)
{
	free((void *)f->itype);
	free(f->ilinks);
	free((void *)f->icount);
	free((void *)f->dup);
	f->dup = NULL;
	atomic_store(&f->has_dup, false);
	f->dirs.nr = f->dblks.nr = f->xrefs.nr = f->conflicts.nr = 0;
	f->itype = calloc((size_t)f->nr_inodes + 1, sizeof(*f->itype));
	f->ilinks = calloc((size_t)f->nr_inodes + 1, sizeof(*f->ilinks));
	f->icount = calloc((size_t)f->nr_inodes + 1, sizeof(*f->icount));
	return f->itype && f->ilinks && f->icount;
}

void fsck_pass1(struct fsck *f)
{
	struct pass1 *p = calloc(1, sizeof(*p));

	fsck_fix(&f->main, P1_PASS, .ino = 0);
	if (!p || !tables_new(f)) {
		free(p);
		fsck_failed(f, -ENOMEM);
		return;
	}
	p->f = f;
	p->nr_shares = fsck_shares_run(f, &share_ops, p, p->shares, MIN(f->opts.nr_threads, f->nr_groups));
	fsck_progress_clear(f);
	if (atomic_load(&f->any_err))
		fsck_failed(f, -ENOMEM);
	if (!is_stopped(f))
		collect(p);
	fsck_shares_fini(&share_ops, p->shares, p->nr_shares);
	free(p);
	if (is_stopped(f))
		return;
	if (f->dirs.nr)
		qsort(f->dirs.v, f->dirs.nr, sizeof(*f->dirs.v), dir_compare);
	join_xrefs(f);
	fsck_resize_check(f);
}
