/*
 * fsck_pass2.c: all directories. Workers take windows of neighbouring ones, read their blocks in
 * the order of the disk, and check them; what is not perfect is done again afterwards (K4).
 */
#include <stdlib.h>

#include "fsck_int.h"

struct share {
	struct worker w;
	struct pass2 *p;
	uint8_t *buf;			/* the window */
	struct dir_block *blocks;	/* one a block of it */
	struct fsck_want *wants;
	ARRAY_OF(ino_nr_t) suspects;
};

struct pass2 {
	struct fsck *f;
	os_mutex lock;			/* RANK_LEAF */
	size_t next;			/* [lock] directory */
	uint32_t window_blocks;
	struct share shares[FSCK_MAX_THREADS];
	unsigned nr_shares;
};

/* Is it one for the window: of blocks without holes, and not too many? */
static bool is_plain(const struct pass2 *p, const struct fsck_dir *d)
{
	const size_t last = d->first_blk + d->nr_blks - 1;	/* if it has any */

	return !d->is_inline && d->nr_blks > 0 && d->nr_blks <= p->window_blocks && p->f->dblks.v[last].lblk == d->nr_blks - 1;
}

/* The next directories; those that are not plain are left to the main thread. */
static void window_take(struct pass2 *p, struct share *s, size_t *from, size_t *to)
{
	uint32_t nr = 0;
	LOCK_GUARD(&p->lock);

	*from = p->next;
	while (p->next < p->f->dirs.nr) {
		const struct fsck_dir *d = &p->f->dirs.v[p->next];

		if (!is_plain(p, d)) {
			array_push(p->f, &s->suspects, d->ino);
		} else {
			if (nr + d->nr_blks > p->window_blocks)
				break;
			nr += d->nr_blks;
		}
		p->next++;
	}
	*to = p->next;
}

static uint32_t window_read(struct share *s, size_t from, size_t to)
{
	struct fsck *f = s->p->f;
	uint32_t nr = 0;

	for (size_t i = from; i < to; i++) {
		const struct fsck_dir *d = &f->dirs.v[i];

		for (uint32_t k = 0; is_plain(s->p, d) && k < d->nr_blks; k++, nr++) {
			uint8_t *data = s->buf + ((size_t)nr << f->block_shift);
			const pblk_t pblk = f->dblks.v[d->first_blk + k].pblk;

			s->blocks[nr] = (struct dir_block){ .data = data, .pblk = pblk, .lblk = k };
			s->wants[nr] = (struct fsck_want){ .pblk = pblk, .buf = data };
		}
	}
	fsck_blocks_want(f, s->wants, nr);
	return nr;
}

/* Which block of the window failed is found by its buffer. */
static void window_errors(struct share *s, uint32_t nr)
{
	for (uint32_t i = 0; i < nr; i++)
		if (s->wants[i].err)
			s->blocks[((uint8_t *)s->wants[i].buf - s->buf) >> s->p->f->block_shift].err = s->wants[i].err;
}

static void *share_run(void *arg)
{
	struct share *s = arg;
	struct fsck *f = s->p->f;
	size_t from, to;

	for (;;) {
		uint32_t at = 0, nr;

		window_take(s->p, s, &from, &to);
		if (from == to || is_stopped(f))
			return NULL;
		nr = window_read(s, from, to);
		window_errors(s, nr);
		for (size_t i = from; i < to && !atomic_load(&f->any_err); i++) {
			struct fsck_dir *d = &f->dirs.v[i];
			struct dir_view v = { .d = d, .blocks = s->blocks + at, .nr = d->nr_blks };

			if (!is_plain(s->p, d))
				continue;
			at += d->nr_blks;
			fsck_dir_check(&s->w, &v);
			if (s->w.suspect)
				array_push(f, &s->suspects, d->ino);
		}
		if (s == &s->p->shares[0])
			fsck_progress(f, 2, to, f->dirs.nr);
	}
}

static bool share_init(void *share, void *pass)
{
	struct share *s = share;
	struct pass2 *p = pass;

	s->p = p;
	s->w = (struct worker){ .f = p->f, .dry = true, .dir = dir_scratch_new() };
	s->buf = malloc((size_t)p->window_blocks << p->f->block_shift);
	s->blocks = malloc(p->window_blocks * sizeof(*s->blocks));
	s->wants = malloc(p->window_blocks * sizeof(*s->wants));
	return s->w.dir && s->buf && s->blocks && s->wants;
}

static void share_fini(void *share)
{
	struct share *s = share;

	dir_scratch_free(s->w.dir);
	free(s->buf);
	free(s->blocks);
	free(s->wants);
	array_free(&s->suspects);
}

static const struct share_ops share_ops = { sizeof(struct share), share_init, share_run, share_fini };

static void check_alone(struct fsck *f, ino_nr_t ino)
{
	struct fsck_dir *d = fsck_dir_find(f, ino);
	struct dir_view v;
	int err;

	if (!d)
		return;
	err = fsck_view_open(f, d, &v);
	if (err == -EFBIG) {
		fsck_fix(&f->main, P2_TOO_LARGE, .dir = ino);
		f->cannot_mark_clean = true;
	} else if (err) {
		fsck_failed(f, err);
	} else {
		fsck_dir_check(&f->main, &v);
	}
	fsck_view_close(f, &v);
}

static void check_suspects(struct pass2 *p)
{
	ARRAY_OF(ino_nr_t) all = { 0 };

	for (unsigned i = 0; i < p->nr_shares; i++)
		for (size_t k = 0; k < p->shares[i].suspects.nr; k++)
			array_push(p->f, &all, p->shares[i].suspects.v[k]);
	fsck_numbers_sort(all.v, all.nr);
	for (size_t i = 0; i < all.nr && !is_stopped(p->f); i++)
		check_alone(p->f, all.v[i]);
	array_free(&all);
}

/* Directories with several parents ---------------------------------------------------------- */

static int conflict_compare(const void *a, const void *b)
{
	const struct fsck_conflict *x = a, *y = b;

	if (x->child != y->child)
		return x->child < y->child ? -1 : 1;
	return x->parent < y->parent ? -1 : x->parent > y->parent;
}

/* The parent that ".." names keeps it, else the one with the lowest number. */
static void resolve(struct fsck *f, const struct fsck_conflict *c, size_t nr)
{
	struct fsck_dir *d = fsck_dir_find(f, c[0].child);
	ino_nr_t keep = d ? atomic_load(&d->parent) : 0;

	for (size_t i = 0; d && i < nr; i++)
		if (c[i].parent == d->dotdot || (keep != d->dotdot && c[i].parent < keep))
			keep = c[i].parent;
	if (!d || !fsck_fix(&f->main, P2_LINK_DIR, .dir = keep == c[0].parent ? atomic_load(&d->parent) : c[0].parent,
			    .ino = d->ino))
		return;
	for (size_t i = 0; i < nr; i++)
		fsck_dir_unlink(f, c[i].parent, d->ino, c[i].parent == keep, NULL);
	fsck_dir_unlink(f, atomic_load(&d->parent), d->ino, atomic_load(&d->parent) == keep, NULL);
	atomic_store(&d->parent, keep);
}

static void resolve_conflicts(struct fsck *f)
{
	if (!f->conflicts.nr)
		return;
	qsort(f->conflicts.v, f->conflicts.nr, sizeof(*f->conflicts.v), conflict_compare);
	for (size_t i = 0, k; i < f->conflicts.nr && !is_stopped(f); i = k) {
		for (k = i; k < f->conflicts.nr && f->conflicts.v[k].child == f->conflicts.v[i].child; k++)
			;
		resolve(f, &f->conflicts.v[i], k - i);
	}
}

void fsck_pass2(struct fsck *f)
{
	struct pass2 *p = calloc(1, sizeof(*p));

	fsck_fix(&f->main, P2_PASS, .ino = 0);
	if (!p) {
		fsck_failed(f, -ENOMEM);
		return;
	}
	p->f = f;
	p->window_blocks = MAX(1u, (uint32_t)FSCK_WINDOW_BYTES >> f->block_shift);
	os_mutex_init(&p->lock, RANK_LEAF);
	p->nr_shares = fsck_shares_run(f, &share_ops, p, p->shares, f->opts.nr_threads);
	fsck_progress_clear(f);
	if (atomic_load(&f->any_err))
		fsck_failed(f, -ENOMEM);
	if (!is_stopped(f))
		check_suspects(p);
	if (!is_stopped(f))
		resolve_conflicts(f);
	fsck_shares_fini(&share_ops, p->shares, p->nr_shares);
	os_mutex_fini(&p->lock);
	free(p);
}
