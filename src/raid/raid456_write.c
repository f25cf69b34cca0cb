/*
 * raid456_write.c: writing to parity arrays, a window of stripes at a time:
 *
 *	fill	pieces of the batch, stripes locked, bands
 *	plan	the cheapest way for each band
 *	read	what the plans need, all in one batch
 *	parity	from the caller's memory and what was read
 *	write	data and parity to all members, in one batch
 *
 * S6  Parity on the disks agrees with the data whenever the stripe is not locked; before
 *     a stripe is resynchronised that holds for the rows that were written since.
 * S7  A member whose write failed is faulty in the others' superblocks before the
 *     batch gets its results; beyond the tolerance raid_write_end() says -EIO.
 */
#include <assert.h>

#include "raid/parity.h"
#include "raid/raid_stripe.h"

/* ---- plan -------------------------------------------------------------------------- */

static enum raid_plan band_plan(const struct raid_geom *g, const struct raid_stripe *st, const struct raid_band *band)
{
	uint64_t all = g->nr_data == 64 ? UINT64_MAX : (UINT64_C(1) << g->nr_data) - 1;
	unsigned nr_covered = (unsigned)__builtin_popcountll(band->covered);
	unsigned read_others = g->nr_data - nr_covered, read_old = nr_covered;
	bool can_others = !(st->lost & ~band->covered), can_old = !(st->lost & band->covered) && !st->unsynced;

	if (band->covered == all)
		return PLAN_WHOLE;
	for (unsigned i = 0; i < g->nr_parity; i++) {
		read_old += st->can_write[i];
		can_old &= st->can_read[i] || !st->can_write[i];
	}
	if (can_others && (!can_old || read_others <= read_old))
		return PLAN_OTHERS;
	return can_old ? PLAN_OLD : PLAN_SOLVE;
}

static bool band_needs(const struct raid_geom *g, const struct raid_stripe *st, const struct raid_band *band,
		       unsigned index)
{
	bool covered = index < g->nr_data && band->covered >> index & 1;

	switch (band->plan) {
	case PLAN_OTHERS:
		return index < g->nr_data && !covered;
	case PLAN_OLD:
		return index < g->nr_data ? covered : st->can_write[index - g->nr_data];
	default:
		return false;
	}
}

static bool writes_parity(const struct raid_stripe *st)
{
	return st->can_write[0] || st->can_write[1];
}

static int stripe_plan(struct raid_window *w, struct raid_stripe *st)
{
	for (unsigned i = 0; i < st->nr_bands; i++) {
		struct raid_band *band = &st->bands[i];

		band->plan = band_plan(w->g, st, band);
		if (band->plan == PLAN_WHOLE)
			continue;
		band->bufs = raid_arena_get(&w->arena, RAID_MAX_CHUNKS * sizeof(*band->bufs));
		if (!band->bufs)
			return -ENOMEM;
		memset(band->bufs, 0, RAID_MAX_CHUNKS * sizeof(*band->bufs));
	}
	for (unsigned i = 0; i < w->g->nr_parity; i++) {
		if (!st->can_write[i])
			continue;
		st->parity[i] = raid_arena_get(&w->arena, (size_t)(st->end - st->row) << SECT_SHIFT);
		if (!st->parity[i])
			return -ENOMEM;
	}
	return 0;
}

/* ---- read -------------------------------------------------------------------------- */

static void band_read_failed(struct raid_run *run, struct raid_member *m, const struct blk_io *io, void *tag)
{
	struct raid_band *band = tag;

	band->plan = PLAN_SOLVE;
	raid_read_failed(run->r, m, io->sect, io->err);
}

static int stripe_read(struct raid_window *w, struct raid_stripe *st)
{
	const struct raid_geom *g = w->g;

	for (unsigned index = 0; index < g->nr_data + g->nr_parity; index++)
		for (unsigned i = 0; i < st->nr_bands; i++) {
			struct raid_band *band = &st->bands[i];
			uint32_t nr = band->end - band->row;

			if (!band_needs(g, st, band, index))
				continue;
			band->bufs[index] = raid_arena_get(&w->arena, (size_t)nr << SECT_SHIFT);
			if (!band->bufs[index])
				return -ENOMEM;
			raid_run_add_buf(w->run, raid_stripe_slot(g, &st->map, index), BLK_READ, 0,
					 st->base + band->row, nr, band->bufs[index], band);
		}
	return 0;
}

/* ---- parity ------------------------------------------------------------------------ */

/* New parity from all data: the batch's where it covers, what was read or solved elsewhere. */
static void band_generate(const struct raid_window *w, const struct raid_stripe *st, const struct raid_band *band,
			  struct raid_source *sources, char *p, char *q)
{
	const struct raid_geom *g = w->g;
	size_t len = (size_t)(band->end - band->row) << SECT_SHIFT, step;
	void *data[RAID_MAX_DATA_DISKS];

	for (size_t at = 0; at < len; at += step) {
		step = raid_sources_step(sources, band->covered, len - at);
		for (unsigned e = 0; e < g->nr_data; e++) {
			unsigned dd = raid_stripe_dd(g, &st->map, e);

			data[e] = band->covered >> dd & 1 ? raid_source_at(&sources[dd]) : (char *)band->bufs[dd] + at;
		}
		parity_gen(step, g->nr_data, data, p ? p + at : NULL, q ? q + at : NULL);
		raid_sources_advance(sources, band->covered, step);
	}
}

/* Coefficients of old parity, then of old and new of each covered chunk, for P and Q as they are written. */
static void update_matrix(const struct raid_geom *g, const struct raid_stripe *st, const struct raid_band *band,
			      struct parity_matrix *m)
{
	uint8_t coefs[PARITY_MAX_ROWS * PARITY_MAX_SOURCES];
	bool p = st->can_write[0], q = st->can_write[1];
	unsigned nr_rows = (unsigned)p + q;
	unsigned nr_src = nr_rows + 2 * (unsigned)__builtin_popcountll(band->covered), n = nr_rows;
	uint8_t *row_q = coefs + (p ? nr_src : 0);

	memset(coefs, 0, sizeof(coefs));
	for (unsigned i = 0; i < nr_rows; i++)
		coefs[i * nr_src + i] = 1;
	for (uint64_t bits = band->covered; bits; bits &= bits - 1, n += 2) {
		unsigned dd = (unsigned)__builtin_ctzll(bits);

		if (p)
			coefs[n] = coefs[n + 1] = 1;
		if (q)
			row_q[n] = row_q[n + 1] = parity_power(raid_stripe_exponent(g, &st->map, dd));
	}
	parity_matrix_init(m, nr_src, nr_rows, coefs);
}

/* New parity from the old one and the difference between old and new data. */
static void band_update(const struct raid_window *w, const struct raid_stripe *st, const struct raid_band *band,
			struct raid_source *sources, char *p, char *q)
{
	const struct raid_geom *g = w->g;
	size_t len = (size_t)(band->end - band->row) << SECT_SHIFT, step;
	void *src[PARITY_MAX_SOURCES], *dst[PARITY_MAX_ROWS];
	struct parity_matrix matrix;

	if (q)
		update_matrix(g, st, band, &matrix);
	for (size_t at = 0; at < len; at += step) {
		unsigned nr_src = 0, nr_dst = 0;

		step = raid_sources_step(sources, band->covered, len - at);
		if (p) {
			src[nr_src++] = (char *)band->bufs[g->nr_data] + at;
			dst[nr_dst++] = p + at;
		}
		if (q) {
			src[nr_src++] = (char *)band->bufs[g->nr_data + 1] + at;
			dst[nr_dst++] = q + at;
		}
		for (uint64_t bits = band->covered; bits; bits &= bits - 1) {
			unsigned dd = (unsigned)__builtin_ctzll(bits);

			src[nr_src++] = (char *)band->bufs[dd] + at;
			src[nr_src++] = raid_source_at(&sources[dd]);
		}
		if (q)
			parity_combine(&matrix, step, src, dst);
		else
			parity_xor(step, nr_src, src, dst[0]);
		raid_sources_advance(sources, band->covered, step);
	}
}

static int band_solve(struct raid_window *w, struct raid_stripe *st, struct raid_band *band)
{
	band->bufs = raid_stripe_bufs(&w->arena, w->g, band->end - band->row);
	if (!band->bufs)
		return -ENOMEM;
	return raid_stripe_fill(w->r, &st->map, st->base + band->row, band->end - band->row, band->bufs);
}

static int stripe_parity(struct raid_window *w, struct raid_stripe *st)
{
	struct raid_source *sources;

	if (!writes_parity(st))
		return 0;
	sources = raid_sources_new(w, st);
	if (!sources)
		return -ENOMEM;
	for (unsigned i = 0; i < st->nr_bands; i++) {
		struct raid_band *band = &st->bands[i];
		size_t at = (size_t)(band->row - st->row) << SECT_SHIFT;
		char *p = st->parity[0] ? st->parity[0] + at : NULL, *q = st->parity[1] ? st->parity[1] + at : NULL;
		int err;

		raid_sources_begin(sources, band->covered);
		if (band->plan == PLAN_SOLVE) {
			err = band_solve(w, st, band);
			if (err)
				return err;
		}
		if (band->plan == PLAN_OLD)
			band_update(w, st, band, sources, p, q);
		else
			band_generate(w, st, band, sources, p, q);
	}
	return 0;
}

/* ---- write ------------------------------------------------------------------------- */

static void stripe_write_failed(struct raid_run *run, struct raid_member *m, const struct blk_io *io, void *tag)
{
	raid_write_failed(run->r, m, io->sect, io->err);
}

static void stripe_write(struct raid_window *w, struct raid_stripe *st)
{
	const struct raid_geom *g = w->g;

	for (unsigned i = 0; i < st->nr_pieces; i++) {
		struct raid_piece *p = &st->pieces[i];
		unsigned slot = st->map.data[raid_piece_dd(g, p)];

		if (raid_can_write(w->r, slot))
			raid_run_add(w->run, slot, BLK_WRITE, w->b->flags, st->base + raid_piece_row(g, p), p->nr_sects,
				     p->iov, p->nr_iov, st);
	}
	for (unsigned parity = 0; parity < g->nr_parity; parity++) {
		unsigned slot = raid_stripe_slot(g, &st->map, g->nr_data + parity);
		unsigned next;

		if (!st->parity[parity] || !raid_can_write(w->r, slot))
			continue;
		/* Adjoining bands lie one behind the other in memory too. */
		for (unsigned i = 0; i < st->nr_bands; i = next) {
			uint32_t row = st->bands[i].row, end = st->bands[i].end;

			for (next = i + 1; next < st->nr_bands && st->bands[next].row == end; next++)
				end = st->bands[next].end;
			raid_run_add_buf(w->run, slot, BLK_WRITE, w->b->flags, st->base + row, end - row,
					 st->parity[parity] + ((size_t)(row - st->row) << SECT_SHIFT), st);
		}
	}
}

static void window_write(struct raid_window *w)
{
	w->run->failed = band_read_failed;
	for (unsigned i = 0; i < w->nr_stripes; i++) {
		struct raid_stripe *st = w->stripes[i];

		if (!st->err)
			st->err = stripe_plan(w, st);
		if (!st->err && writes_parity(st))
			st->err = stripe_read(w, st);
	}
	raid_run_go(w->run);
	for (unsigned i = 0; i < w->nr_stripes; i++)
		if (!w->stripes[i]->err)
			w->stripes[i]->err = stripe_parity(w, w->stripes[i]);

	w->run->failed = stripe_write_failed;
	for (unsigned i = 0; i < w->nr_stripes; i++)
		if (!w->stripes[i]->err)
			stripe_write(w, w->stripes[i]);
	raid_run_go(w->run);

	for (unsigned i = 0; i < w->nr_stripes; i++) {
		struct raid_stripe *st = w->stripes[i];

		for (unsigned p = 0; st->err && p < st->nr_pieces; p++)
			raid_piece_fail(w->b, &st->pieces[p], st->err);
	}
}

void raid456_write(struct raid *r, struct raid_batch *b)
{
	struct raid_window w;
	struct raid_cur cur;
	int err = raid_window_init(&w, r, b);

	raid_batch_set(b, err);
	if (err)
		return;
	raid_cur_init(&cur, b);
	while (!raid_cur_at_end(&cur, b)) {
		if (!raid_window_fill(&w, &cur, true)) {
			raid_batch_fail(b, cur.io, cur.sect, UINT64_MAX - cur.sect, -ENOMEM);
			raid_window_empty(&w);
			break;
		}
		window_write(&w);
		raid_window_empty(&w);
	}
	raid_window_fini(&w);
}
