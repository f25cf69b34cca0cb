/* raid_stripe.c: see raid_stripe.h: windows, stripes and bands out of a batch. */
#include "raid/raid_stripe.h"

#include <assert.h>
#include <stdlib.h>

int raid_window_init(struct raid_window *w, struct raid *r, const struct raid_batch *b)
{
	w->r = r;
	w->g = &r->geom;
	w->b = b;
	w->nr_stripes = 0;
	w->locks = (struct raid_lock_set){ 0 };
	w->run = raid_run_new(r);
	raid_arena_init(&w->arena, r->alloc);
	return w->run ? 0 : -ENOMEM;
}

void raid_window_fini(struct raid_window *w)
{
	raid_arena_fini(&w->arena);
	raid_run_free(w->run);
}

void raid_window_empty(struct raid_window *w)
{
	raid_unlock(w->r, &w->locks);
	raid_run_reset(w->run);
	raid_arena_fini(&w->arena);
	w->nr_stripes = 0;
}

/* A stripe of more small pieces than the run's own pool holds gets a larger pool. */
static void window_pool(struct raid_window *w)
{
	uint64_t nr_sects = (uint64_t)w->g->chunk_sects * w->g->nr_data;
	unsigned max_iovs = (unsigned)MIN(nr_sects / 8 + RAID_RUN_IOVS, (uint64_t)32768);

	w->run->pool = w->run->iovs;
	w->run->max_iovs = RAID_RUN_IOVS;
	if (nr_sects / 8 > RAID_RUN_IOVS / 2) {
		struct iovec *pool = raid_arena_get(&w->arena, max_iovs * sizeof(*pool));

		if (pool) {
			w->run->pool = pool;
			w->run->max_iovs = max_iovs;
		}
	}
}

/* Most memory that a stripe's parity and old data may take. */
static size_t stripe_tmp_bytes(const struct raid_geom *g, const struct raid_stripe *st)
{
	return (size_t)(st->end - st->row) * (g->nr_data + 2 * g->nr_parity) << SECT_SHIFT;
}

static struct raid_stripe *stripe_add(struct raid_window *w, uint64_t nr)
{
	const struct raid_geom *g = w->g;
	struct raid_stripe *st;

	if (w->nr_stripes == WINDOW_STRIPES ||
	    !raid_lock_add(w->r, &w->locks, nr << g->chunk_shift, g->chunk_sects))
		return NULL;
	st = raid_arena_get(&w->arena, sizeof(*st));
	if (!st)
		return NULL;
	*st = (struct raid_stripe){
		.nr = nr, .base = nr << g->chunk_shift, .row = g->chunk_sects,
		.pieces = &w->run->pieces[w->run->nr_pieces] };
	raid_map_stripe(g, nr, &st->map);
	w->stripes[w->nr_stripes++] = st;
	return st;
}

/*
 * The pieces. A window ends between stripes, so that no stripe is torn that one
 * window could hold; and before a request that overlaps one that it has, since
 * parity has to follow one order of the two.
 */
static void window_take(struct raid_window *w, struct raid_cur *cur)
{
	const struct raid_geom *g = w->g;
	struct raid_run *run = w->run;
	struct raid_stripe *st = NULL;
	struct raid_cur stripe_cur = *cur;
	uint64_t nr_sects = 0;
	unsigned stripe_pieces = 0;
	size_t tmp_bytes = 0;
	sect_t end = 0;

	while (!raid_cur_at_end(cur, w->b)) {
		uint64_t nr = (cur->sect >> g->chunk_shift) / g->nr_data;
		uint32_t row = (uint32_t)(cur->sect & (g->chunk_sects - 1));
		const struct raid_piece *p;

		if (cur->sect < end)
			return;
		if (!st || st->nr != nr) {
			tmp_bytes += st ? stripe_tmp_bytes(g, st) : 0;
			if (nr_sects >= WINDOW_SECTS || tmp_bytes >= WINDOW_TMP_BYTES)
				return;
			stripe_cur = *cur;
			stripe_pieces = run->nr_pieces;
			st = stripe_add(w, nr);
			if (!st)
				return;
		}
		if (!raid_piece_take(run, w->b, cur, g->chunk_sects - row)) {
			if (w->nr_stripes > 1) {
				*cur = stripe_cur;
				run->nr_pieces = stripe_pieces;
				w->nr_stripes--;
			}
			return;
		}
		p = &run->pieces[run->nr_pieces - 1];
		st->nr_pieces++;
		st->row = MIN(st->row, row);
		st->end = MAX(st->end, row + p->nr_sects);
		nr_sects += p->nr_sects;
		end = p->sect + p->nr_sects;
	}
}

static int compare_rows(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t rows_covered(const struct raid_geom *g, const struct raid_stripe *st, uint32_t row, uint32_t end)
{
	uint64_t covered = 0;

	for (unsigned i = 0; i < st->nr_pieces; i++) {
		const struct raid_piece *p = &st->pieces[i];

		if (raid_piece_row(g, p) <= row && raid_piece_row(g, p) + p->nr_sects >= end)
			covered |= UINT64_C(1) << raid_piece_dd(g, p);
	}
	return covered;
}

static bool stripe_cut(struct raid_window *w, struct raid_stripe *st)
{
	const struct raid_geom *g = w->g;
	uint32_t *cuts = raid_arena_get(&w->arena, 2 * st->nr_pieces * sizeof(*cuts));
	unsigned nr_cuts = 0;

	st->bands = raid_arena_get(&w->arena, 2 * st->nr_pieces * sizeof(*st->bands));
	if (!cuts || !st->bands)
		return false;
	for (unsigned i = 0; i < st->nr_pieces; i++) {
		const struct raid_piece *p = &st->pieces[i];
		uint32_t row = raid_piece_row(g, p), end = row + p->nr_sects;

		/* Whole chunks, and chunks that are cut alike, are the rule: keep the list short. */
		if (nr_cuts >= 2 && cuts[nr_cuts - 2] == row && cuts[nr_cuts - 1] == end)
			continue;
		cuts[nr_cuts++] = row;
		cuts[nr_cuts++] = end;
	}
	if (nr_cuts > 2)
		qsort(cuts, nr_cuts, sizeof(*cuts), compare_rows);
	for (unsigned i = 0; i + 1 < nr_cuts; i++) {
		uint64_t covered;

		if (cuts[i] == cuts[i + 1])
			continue;
		covered = rows_covered(g, st, cuts[i], cuts[i + 1]);
		if (covered)
			st->bands[st->nr_bands++] = (struct raid_band){
				.row = cuts[i], .end = cuts[i + 1], .covered = covered };
	}
	return true;
}

/* What can be read and written in the stripe, now that it is locked (S4). */
static void stripe_look(const struct raid *r, struct raid_stripe *st)
{
	const struct raid_geom *g = &r->geom;
	sect_t end = st->base + g->chunk_sects;

	st->unsynced = end > atomic_load(&r->resync_pos);
	for (unsigned dd = 0; dd < g->nr_data; dd++)
		if (!raid_can_read(r, st->map.data[dd], end))
			st->lost |= UINT64_C(1) << dd;
	for (unsigned i = 0; i < g->nr_parity; i++) {
		unsigned slot = raid_stripe_slot(g, &st->map, g->nr_data + i);

		st->can_read[i] = raid_can_read(r, slot, end);
		st->can_write[i] = raid_can_write(r, slot);
	}
}

bool raid_window_fill(struct raid_window *w, struct raid_cur *cur, bool exclusive)
{
	window_pool(w);
	window_take(w, cur);
	raid_lock(w->r, &w->locks, exclusive);
	for (unsigned i = 0; i < w->nr_stripes; i++) {
		stripe_look(w->r, w->stripes[i]);
		if (!stripe_cut(w, w->stripes[i]))
			w->stripes[i]->err = -ENOMEM;
	}
	return w->nr_stripes;
}

/* ---- walking the batch's bytes ----------------------------------------------------- */

struct raid_source *raid_sources_new(struct raid_window *w, const struct raid_stripe *st)
{
	const struct raid_geom *g = w->g;
	struct raid_source *src = raid_arena_get(&w->arena, g->nr_data * sizeof(*src));

	if (!src)
		return NULL;
	memset(src, 0, g->nr_data * sizeof(*src));
	/* Pieces are in volume order: by dd, then by row. */
	for (unsigned i = st->nr_pieces; i-- > 0;)
		src[raid_piece_dd(g, &st->pieces[i])].next = &st->pieces[i];
	return src;
}

void raid_sources_begin(struct raid_source *src, uint64_t covered)
{
	for (; covered; covered &= covered - 1) {
		struct raid_source *s = &src[__builtin_ctzll(covered)];

		if (s->left_bytes)
			continue;
		s->iov = s->next->iov;
		s->off_bytes = 0;
		s->left_bytes = (size_t)s->next->nr_sects << SECT_SHIFT;
		s->next++;
		while (s->iov->iov_len == 0)
			s->iov++;
	}
}

size_t raid_sources_step(const struct raid_source *src, uint64_t covered, size_t len_bytes)
{
	for (; covered; covered &= covered - 1) {
		const struct raid_source *s = &src[__builtin_ctzll(covered)];

		len_bytes = MIN(len_bytes, s->iov->iov_len - s->off_bytes);
	}
	return len_bytes;
}

void raid_sources_advance(struct raid_source *src, uint64_t covered, size_t len_bytes)
{
	for (; covered; covered &= covered - 1) {
		struct raid_source *s = &src[__builtin_ctzll(covered)];

		s->off_bytes += len_bytes;
		s->left_bytes -= len_bytes;
		while (s->left_bytes && s->off_bytes == s->iov->iov_len) {
			s->iov++;
			s->off_bytes = 0;
		}
	}
}
