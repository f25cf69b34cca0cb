/*
 * raid456_read.c: reading with members missing. Data on lost members is computed from
 * what the same batch reads of the stripe anyhow, and from what else is needed of it,
 * so a long degraded read moves hardly more bytes than a healthy one.
 */
#include <assert.h>

#include "raid/parity.h"
#include "raid/raid_stripe.h"

static bool all_readable(const struct raid *r)
{
	for (unsigned slot = 0; slot < r->geom.nr_disks; slot++)
		if (!raid_can_read(r, slot, r->geom.member_sects))
			return false;
	return true;
}

/* Anything that fails sends all of the stripe's pieces to be mended one by one. */
static void stripe_read_failed(struct raid_run *run, struct raid_member *m, const struct blk_io *io, void *tag)
{
	struct raid_stripe *st = tag;

	st->err = io->err;
	raid_read_failed(run->r, m, io->sect, io->err);
}

/* Parities that give back the lost data: bit 0 P, bit 1 Q; 0: they do not suffice. */
static unsigned parities_for(const struct raid_stripe *st)
{
	unsigned nr_lost = (unsigned)__builtin_popcountll(st->lost);

	if (nr_lost == 1)
		return st->can_read[0] ? 1 : st->can_read[1] ? 2 : 0;
	return nr_lost == 2 && st->can_read[0] && st->can_read[1] ? 3 : 0;
}

static int band_read_rest(struct raid_window *w, struct raid_stripe *st, struct raid_band *band)
{
	const struct raid_geom *g = w->g;
	uint32_t nr = band->end - band->row;
	unsigned parities = parities_for(st);

	band->bufs = raid_arena_get(&w->arena, RAID_MAX_CHUNKS * sizeof(*band->bufs));
	if (!band->bufs)
		return -ENOMEM;
	memset(band->bufs, 0, RAID_MAX_CHUNKS * sizeof(*band->bufs));
	for (unsigned i = 0; i < g->nr_data + g->nr_parity; i++) {
		bool need = i < g->nr_data ? !((st->lost | band->covered) >> i & 1) : parities >> (i - g->nr_data) & 1;

		if (!need)
			continue;
		band->bufs[i] = raid_arena_get(&w->arena, (size_t)nr << SECT_SHIFT);
		if (!band->bufs[i])
			return -ENOMEM;
		raid_run_add_buf(w->run, raid_stripe_slot(g, &st->map, i), BLK_READ, 0, st->base + band->row, nr,
				 band->bufs[i], st);
	}
	return 0;
}

static void stripe_read(struct raid_window *w, struct raid_stripe *st)
{
	uint64_t touched = 0;

	for (unsigned i = 0; i < st->nr_pieces; i++) {
		struct raid_piece *p = &st->pieces[i];
		unsigned dd = raid_piece_dd(w->g, p);

		if (st->lost >> dd & 1)
			touched |= UINT64_C(1) << dd;
		else
			raid_run_add(w->run, st->map.data[dd], BLK_READ, 0, st->base + raid_piece_row(w->g, p),
				     p->nr_sects, p->iov, p->nr_iov, st);
	}
	if (touched && !parities_for(st))
		st->err = -EIO;
	for (unsigned i = 0; touched && !st->err && i < st->nr_bands; i++)
		if (st->bands[i].covered & st->lost)
			st->err = band_read_rest(w, st, &st->bands[i]);
}

/* How the covered lost chunks of a band come from the others: coefficients without the zeroes. */
struct recipe {
	unsigned nr_src, nr_dst;
	unsigned src[RAID_MAX_CHUNKS];	/* indexes */
	unsigned dst[PARITY_MAX_ROWS];	/* dd */
	bool plain_xor;
	struct parity_matrix matrix;
};

static void recipe_init(struct recipe *rc, const struct raid_geom *g, const struct raid_stripe *st, uint64_t covered)
{
	uint8_t all[PARITY_MAX_ROWS * RAID_MAX_CHUNKS], coefs[PARITY_MAX_ROWS * RAID_MAX_CHUNKS];
	unsigned lost[PARITY_MAX_ROWS], row_of[PARITY_MAX_ROWS], nr_lost = 0, width = g->nr_data + 2;

	rc->nr_src = rc->nr_dst = 0;
	for (unsigned e = 0; e < g->nr_data; e++) {
		unsigned dd = raid_stripe_dd(g, &st->map, e);

		if (!(st->lost >> dd & 1))
			continue;
		if (covered >> dd & 1) {
			row_of[rc->nr_dst] = nr_lost;
			rc->dst[rc->nr_dst++] = dd;
		}
		lost[nr_lost++] = e;
	}
	parity_recover(g->nr_data, nr_lost, lost, st->can_read[0], all);
	for (unsigned i = 0; i < width; i++)
		if (all[i])
			rc->src[rc->nr_src++] = i < g->nr_data ? raid_stripe_dd(g, &st->map, i) : i;
	for (unsigned row = 0; row < rc->nr_dst; row++) {
		unsigned n = 0;

		/* Both rows have their zeroes in the same places: the lost ones. */
		for (unsigned i = 0; i < width; i++)
			if (all[i])
				coefs[row * rc->nr_src + n++] = all[row_of[row] * width + i];
	}
	rc->plain_xor = nr_lost == 1 && st->can_read[0];
	if (!rc->plain_xor)
		parity_matrix_init(&rc->matrix, rc->nr_src, rc->nr_dst, coefs);
}

static void band_recover(struct raid_window *w, struct raid_stripe *st, struct raid_band *band,
			 struct raid_source *sources)
{
	size_t len = (size_t)(band->end - band->row) << SECT_SHIFT, step;
	void *src[RAID_MAX_CHUNKS], *dst[PARITY_MAX_ROWS];
	struct recipe rc;

	recipe_init(&rc, w->g, st, band->covered);
	for (size_t at = 0; at < len; at += step) {
		step = raid_sources_step(sources, band->covered, len - at);
		for (unsigned i = 0; i < rc.nr_src; i++)
			src[i] = rc.src[i] < w->g->nr_data && band->covered >> rc.src[i] & 1
					 ? raid_source_at(&sources[rc.src[i]])
					 : (char *)band->bufs[rc.src[i]] + at;
		for (unsigned i = 0; i < rc.nr_dst; i++)
			dst[i] = raid_source_at(&sources[rc.dst[i]]);
		if (rc.plain_xor)
			parity_xor(step, rc.nr_src, src, dst[0]);
		else
			parity_combine(&rc.matrix, step, src, dst);
		raid_sources_advance(sources, band->covered, step);
	}
}

static void stripe_recover(struct raid_window *w, struct raid_stripe *st)
{
	struct raid_source *sources;
	uint64_t covered = 0;

	for (unsigned i = 0; i < st->nr_bands; i++)
		covered |= st->bands[i].covered;
	if (!(covered & st->lost))
		return;
	sources = raid_sources_new(w, st);
	if (!sources) {
		st->err = -ENOMEM;
		return;
	}
	for (unsigned i = 0; i < st->nr_bands; i++) {
		struct raid_band *band = &st->bands[i];

		raid_sources_begin(sources, band->covered);
		if (band->covered & st->lost) {
			band_recover(w, st, band, sources);
			continue;
		}
		for (size_t left = (size_t)(band->end - band->row) << SECT_SHIFT, step; left; left -= step) {
			step = raid_sources_step(sources, band->covered, left);
			raid_sources_advance(sources, band->covered, step);
		}
	}
}

static void window_read(struct raid_window *w)
{
	w->run->failed = stripe_read_failed;
	for (unsigned i = 0; i < w->nr_stripes; i++)
		if (!w->stripes[i]->err)
			stripe_read(w, w->stripes[i]);
	raid_run_go(w->run);
	for (unsigned i = 0; i < w->nr_stripes; i++) {
		struct raid_stripe *st = w->stripes[i];

		if (!st->err)
			stripe_recover(w, st);
		for (unsigned p = 0; st->err && p < st->nr_pieces; p++)
			st->pieces[p].bad = true;
	}
	raid_unlock(w->r, &w->locks);
	raid_mend_pieces(w->run, w->b);
}

void raid456_read(struct raid *r, struct raid_batch *b)
{
	struct raid_window w;
	struct raid_cur cur;
	int err;

	if (likely(all_readable(r))) {
		raid_read(r, b);
		return;
	}
	err = raid_window_init(&w, r, b);
	raid_batch_set(b, err);
	if (err)
		return;
	raid_cur_init(&cur, b);
	while (!raid_cur_at_end(&cur, b)) {
		if (!raid_window_fill(&w, &cur, false)) {
			raid_batch_fail(b, cur.io, cur.sect, UINT64_MAX - cur.sect, -ENOMEM);
			raid_window_empty(&w);
			break;
		}
		window_read(&w);
		raid_window_empty(&w);
	}
	raid_window_fini(&w);
}
