/* raid_solve.c: rows of a stripe whatever is missing, and mending what could not be read. */
#include <assert.h>

#include "raid/parity.h"
#include "raid/raid_stripe.h"

void **raid_stripe_bufs(struct raid_arena *a, const struct raid_geom *g, uint32_t nr_sects)
{
	void **bufs = raid_arena_get(a, RAID_MAX_CHUNKS * sizeof(*bufs));

	for (unsigned i = 0; bufs && i < g->nr_data + g->nr_parity; i++) {
		bufs[i] = raid_arena_get(a, (size_t)nr_sects << SECT_SHIFT);
		if (!bufs[i])
			return NULL;
	}
	return bufs;
}

struct rows {
	struct raid *r;
	const struct raid_stripe_map *m;
	sect_t sect;
	uint32_t nr_sects;
	void *const *bufs;
	bool lost[RAID_MAX_CHUNKS];	/* by index: not in bufs yet */
	bool bad[RAID_MAX_CHUNKS];	/* there, but could not be read */
	unsigned nr_bad;
};

static void rows_read(struct rows *rw)
{
	struct raid *r = rw->r;
	const struct raid_geom *g = &r->geom;
	struct blk_io ios[RAID_MAX_CHUNKS];
	struct iovec iovs[RAID_MAX_CHUNKS];
	unsigned of[RAID_MAX_CHUNKS], nr_ios = 0;

	for (unsigned i = 0; i < g->nr_data + g->nr_parity; i++) {
		unsigned slot = raid_stripe_slot(g, rw->m, i);
		const struct raid_member *m = r->slots[slot];

		rw->lost[i] = !raid_can_read(r, slot, rw->sect + rw->nr_sects);
		if (rw->lost[i])
			continue;
		iovs[nr_ios] = (struct iovec){ rw->bufs[i], (size_t)rw->nr_sects << SECT_SHIFT };
		ios[nr_ios] = (struct blk_io){
			.dev = m->dev, .op = BLK_READ, .sect = m->data_offset + rw->sect, .iov = &iovs[nr_ios], .nr_iov = 1 };
		of[nr_ios++] = i;
	}
	blk_run(ios, nr_ios);
	/* Not counted as errors of the members: whoever came here has met them, and counted. */
	for (unsigned i = 0; i < nr_ios; i++)
		if (ios[i].err) {
			rw->lost[of[i]] = rw->bad[of[i]] = true;
			rw->nr_bad++;
		}
}

/* The lost data out of the rest. */
static int solve_data(const struct raid_geom *g, const struct raid_stripe_map *m, uint32_t nr_sects,
		      void *const *bufs, const bool *is_lost)
{
	uint8_t coefs[PARITY_MAX_ROWS * RAID_MAX_CHUNKS];
	void *src[RAID_MAX_CHUNKS], *dst[PARITY_MAX_ROWS];
	bool have_p = !is_lost[g->nr_data], have_q = g->nr_parity == 2 && !is_lost[g->nr_data + 1];
	unsigned lost[PARITY_MAX_ROWS], nr_lost = 0;
	size_t len = (size_t)nr_sects << SECT_SHIFT;
	struct parity_matrix matrix;

	for (unsigned e = 0; e < g->nr_data; e++) {
		unsigned dd = raid_stripe_dd(g, m, e);

		src[e] = bufs[dd];
		if (!is_lost[dd])
			continue;
		if (nr_lost == (unsigned)have_p + have_q)
			return -EIO;
		dst[nr_lost] = bufs[dd];
		lost[nr_lost++] = e;
	}
	if (!nr_lost)
		return 0;
	if (nr_lost == 1 && have_p) {
		src[lost[0]] = bufs[g->nr_data];
		parity_xor(len, g->nr_data, src, dst[0]);
		return 0;
	}
	/* What is not to be used has coefficient 0; any address does for it. */
	src[g->nr_data] = bufs[have_p ? g->nr_data : 0];
	src[g->nr_data + 1] = bufs[have_q ? g->nr_data + 1 : 0];
	parity_recover(g->nr_data, nr_lost, lost, have_p, coefs);
	parity_matrix_init(&matrix, g->nr_data + 2, nr_lost, coefs);
	parity_combine(&matrix, len, src, dst);
	return 0;
}

void raid_rows_parity(const struct raid_geom *g, const struct raid_stripe_map *m, uint32_t nr_sects,
		      void *const *bufs, void *p, void *q)
{
	void *data[RAID_MAX_DATA_DISKS];

	for (unsigned e = 0; e < g->nr_data; e++)
		data[e] = bufs[raid_stripe_dd(g, m, e)];
	if (p || q)
		parity_gen((size_t)nr_sects << SECT_SHIFT, g->nr_data, data, p, q);
}

int raid_rows_solve(const struct raid_geom *g, const struct raid_stripe_map *m, uint32_t nr_sects,
		    void *const *bufs, const bool *is_lost)
{
	int err = solve_data(g, m, nr_sects, bufs, is_lost);

	if (!err)
		raid_rows_parity(g, m, nr_sects, bufs, is_lost[g->nr_data] ? bufs[g->nr_data] : NULL,
				 g->nr_parity == 2 && is_lost[g->nr_data + 1] ? bufs[g->nr_data + 1] : NULL);
	return err;
}

static void rows_mend(struct rows *rw)
{
	struct raid *r = rw->r;
	const struct raid_geom *g = &r->geom;

	for (unsigned i = 0; i < g->nr_data + g->nr_parity; i++) {
		unsigned slot = raid_stripe_slot(g, rw->m, i);

		/* It may have been set faulty meanwhile. */
		if (!rw->bad[i] || !raid_can_read(r, slot, rw->sect + rw->nr_sects))
			continue;
		raid_slot_mend(r, slot, rw->sect, rw->bufs[i], (size_t)rw->nr_sects << SECT_SHIFT);
	}
}

static int fill_rows(struct raid *r, const struct raid_stripe_map *m, sect_t member_sect, uint32_t nr_sects,
		     void *const *bufs, bool *again)
{
	struct rows rw = { .r = r, .m = m, .sect = member_sect, .nr_sects = nr_sects, .bufs = bufs };
	int err;

	rows_read(&rw);
	/* Two members may have bad sectors in different places: smaller steps get past both. */
	*again = rw.nr_bad && nr_sects > RAID_MEND_SECTS;
	if (*again)
		return 0;
	err = raid_rows_solve(&r->geom, m, nr_sects, bufs, rw.lost);
	if (err)
		return err;
	if (rw.nr_bad && !r->read_only)
		rows_mend(&rw);
	return 0;
}

int raid_stripe_fill(struct raid *r, const struct raid_stripe_map *m, sect_t member_sect, uint32_t nr_sects,
		     void *const *bufs)
{
	const struct raid_geom *g = &r->geom;
	void *at[RAID_MAX_CHUNKS];
	bool again;
	int err = fill_rows(r, m, member_sect, nr_sects, bufs, &again);

	for (uint32_t done = 0; !err && again && done < nr_sects; done += RAID_MEND_SECTS) {
		bool dummy;

		for (unsigned i = 0; i < g->nr_data + g->nr_parity; i++)
			at[i] = (char *)bufs[i] + ((size_t)done << SECT_SHIFT);
		err = fill_rows(r, m, member_sect + done, MIN(nr_sects - done, (uint32_t)RAID_MEND_SECTS), at, &dummy);
	}
	return err;
}
