/*
 * raid456_sync.c: background work on parity arrays, a window of rows at a time. The
 * rows of each member lie in one buffer, so a window is one long request a member,
 * whatever the chunk; the arithmetic goes stripe by stripe within it.
 *
 *	recover		what rebuilding members lack is computed and written to them
 *	resync		parity is made to agree with the data
 *	check, repair	parity is compared; where the two of RAID 6 agree on one member
 *			that is wrong it is known and can be put right, else it is listed
 *
 * The window's stripes are locked exclusively meanwhile (S1). A member that takes
 * writes while it is filled has them all (raid_can_write), so nothing written behind
 * or before the window is lost.
 */
#include <stdlib.h>

#include "base/log.h"
#include "raid/parity.h"
#include "raid/raid_stripe.h"

enum {
	WINDOW_BYTES = 4 << 20,		/* of all members together: see bench_rebuild */
	GRANULE_SECTS = 8,		/* what mismatches are counted in, as md does */
};

struct sync {
	struct raid *r;
	const struct raid_geom *g;
	struct raid_sync_piece *p;
	struct raid_run *run;
	struct raid_arena arena;
	struct raid_lock_set locks;
	struct raid_targets targets;
	sect_t pos;
	uint32_t nr_sects;		/* the window: these rows of all members */
	char *rows[RAID_MAX_CHUNKS];	/* by slot */
	struct iovec iovs[RAID_MAX_CHUNKS];	/* likewise */
	char *parity[2];		/* computed */
	bool bad;			/* something could not be read */
};

/* A part of the window within one stripe. */
struct unit {
	struct raid_stripe_map map;
	sect_t sect;			/* on the members */
	uint32_t nr_sects;
	void *bufs[RAID_MAX_CHUNKS];	/* by index */
	bool lost[RAID_MAX_CHUNKS];	/* by index: computed, not read */
};

static uint32_t window_sects(const struct raid_geom *g)
{
	uint32_t nr = ALIGN_DOWN((uint32_t)(WINDOW_BYTES >> SECT_SHIFT) / g->nr_disks, GRANULE_SECTS);

	return MAX(nr, (uint32_t)GRANULE_SECTS);
}

static void read_failed(struct raid_run *run, struct raid_member *m, const struct blk_io *io, void *tag)
{
	struct sync *s = tag;

	s->bad = true;
	raid_read_failed(run->r, m, io->sect, io->err);
}

static void write_failed(struct raid_run *run, struct raid_member *m, const struct blk_io *io, void *tag)
{
	raid_write_failed(run->r, m, io->sect, io->err);
}

/* Whether the slot's rows are needed: all of them, unless members are only copied. */
static bool needs(const struct sync *s, unsigned slot)
{
	if (s->p->action != RAID_RECOVER || !s->targets.only_copies)
		return true;
	for (unsigned i = 0; i < s->targets.nr; i++)
		if ((unsigned)atomic_load(&s->targets.members[i]->slot) == slot)
			return true;
	return false;
}

static int window_read(struct sync *s)
{
	struct raid *r = s->r;
	size_t len = (size_t)s->nr_sects << SECT_SHIFT;

	for (unsigned slot = 0; slot < s->g->nr_disks; slot++) {
		s->rows[slot] = raid_arena_get(&s->arena, len);
		if (!s->rows[slot])
			return -ENOMEM;
		s->iovs[slot] = (struct iovec){ s->rows[slot], len };
	}
	for (unsigned i = 0; i < s->g->nr_parity && s->p->action != RAID_RECOVER; i++) {
		s->parity[i] = raid_arena_get(&s->arena, len);
		if (!s->parity[i])
			return -ENOMEM;
	}
	s->run->failed = read_failed;
	for (unsigned slot = 0; slot < s->g->nr_disks; slot++)
		if (needs(s, slot) && raid_can_read(r, slot, s->pos + s->nr_sects))
			raid_run_add(s->run, slot, BLK_READ, 0, s->pos, s->nr_sects, &s->iovs[slot], 1, s);
	raid_run_go(s->run);
	return 0;
}

static void unit_init(const struct sync *s, struct unit *u, sect_t sect)
{
	const struct raid_geom *g = s->g;
	uint32_t row = (uint32_t)(sect & (g->chunk_sects - 1));

	u->sect = sect;
	u->nr_sects = (uint32_t)MIN((uint64_t)(g->chunk_sects - row), s->pos + s->nr_sects - sect);
	raid_map_stripe(g, sect >> g->chunk_shift, &u->map);
	for (unsigned i = 0; i < g->nr_data + g->nr_parity; i++) {
		unsigned slot = raid_stripe_slot(g, &u->map, i);

		u->bufs[i] = s->rows[slot] + ((sect - s->pos) << SECT_SHIFT);
		u->lost[i] = !raid_can_read(s->r, slot, s->pos + s->nr_sects);
	}
}

/* All chunks of the unit as they should be, whatever could not be read. */
static int unit_fill(const struct sync *s, struct unit *u)
{
	if (s->bad)
		return raid_stripe_fill(s->r, &u->map, u->sect, u->nr_sects, u->bufs);
	if (s->p->action == RAID_RECOVER && s->targets.only_copies)
		return 0;
	return raid_rows_solve(s->g, &u->map, u->nr_sects, u->bufs, u->lost);
}

/* ---- recover ------------------------------------------------------------------------ */

/* Fills the window; where that is impossible the window ends before. */
static int window_solve(struct sync *s)
{
	struct unit u;

	for (sect_t sect = s->pos; sect < s->pos + s->nr_sects; sect += u.nr_sects) {
		int err;

		unit_init(s, &u, sect);
		err = unit_fill(s, &u);
		if (err && sect == s->pos)
			return err;
		if (err) {
			s->nr_sects = (uint32_t)(sect - s->pos);
			return 0;
		}
	}
	return 0;
}

static int window_recover(struct sync *s)
{
	int err = window_read(s);

	if (!err)
		err = window_solve(s);
	if (err)
		return err;
	s->run->failed = write_failed;
	for (unsigned i = 0; i < s->targets.nr; i++) {
		struct raid_member *m = s->targets.members[i];
		unsigned slot = (unsigned)atomic_load(&m->slot);

		s->iovs[slot].iov_len = (size_t)s->nr_sects << SECT_SHIFT;
		raid_run_add_member(s->run, m, BLK_WRITE, 0, s->pos, s->nr_sects, &s->iovs[slot], 1, s);
	}
	raid_run_go(s->run);
	s->p->nr_changed += s->nr_sects;
	return 0;
}

/* ---- resync, check, repair ------------------------------------------------------------ */

static void unit_resync(struct sync *s, struct unit *u)
{
	const struct raid_geom *g = s->g;
	size_t len = (size_t)u->nr_sects << SECT_SHIFT;

	for (unsigned i = 0; i < g->nr_parity; i++) {
		unsigned slot = raid_stripe_slot(g, &u->map, g->nr_data + i);

		if (!raid_can_write(s->r, slot) || !memcmp(s->parity[i], u->bufs[g->nr_data + i], len))
			continue;
		s->p->nr_changed += u->nr_sects;
		raid_slot_write(s->r, slot, u->sect, s->parity[i], len);
	}
}

/* Volume sector of a data chunk's sector at_sects into the unit. */
static sect_t unit_volume(const struct sync *s, const struct unit *u, unsigned dd, uint32_t at_sects)
{
	sect_t sect = u->sect + at_sects;

	return (((sect >> s->g->chunk_shift) * s->g->nr_data + dd) << s->g->chunk_shift) +
	       (sect & (s->g->chunk_sects - 1));
}

/* Which chunk (by index) is wrong at a sector: what both parities say; -1: nothing tells. */
static int sector_locate(const struct sync *s, const struct unit *u, const uint8_t *p_diff, const uint8_t *q_diff)
{
	const struct raid_geom *g = s->g;
	int where;

	if (g->nr_parity < 2)
		return -1;
	for (unsigned i = 0; i < g->nr_data + g->nr_parity; i++)
		if (u->lost[i])
			return -1;
	where = parity_locate(SECT_BYTES, g->nr_data, p_diff, q_diff);
	if (where < 0)
		return -1;
	if (where >= PARITY_AT_P)
		return (int)g->nr_data + (where == PARITY_AT_Q);
	return (int)raid_stripe_dd(g, &u->map, (unsigned)where);
}

/* Nothing tells what is wrong: any of the stripe's data may be, and is listed. True: parity was rewritten. */
static bool sector_unknown(struct sync *s, const struct unit *u, uint32_t at_sects)
{
	const struct raid_geom *g = s->g;
	bool rewrite = s->p->action == RAID_REPAIR && s->p->rewrite;

	for (unsigned i = 0; rewrite && i < g->nr_parity; i++)
		if (!u->lost[g->nr_data + i])
			raid_slot_write(s->r, raid_stripe_slot(g, &u->map, g->nr_data + i), u->sect + at_sects,
					s->parity[i] + ((size_t)at_sects << SECT_SHIFT), SECT_BYTES);
	for (unsigned dd = 0; dd < g->nr_data; dd++)
		raid_place_add(s->r, unit_volume(s, u, dd, at_sects), 1, -1, rewrite);
	return rewrite;
}

/* A sector at which parity and data do not agree. True when it was put right. */
static bool sector_scrub(struct sync *s, const struct unit *u, uint32_t at_sects)
{
	const struct raid_geom *g = s->g;
	bool repair = s->p->action == RAID_REPAIR;
	size_t at = (size_t)at_sects << SECT_SHIFT;
	uint8_t diff[2][SECT_BYTES], good[SECT_BYTES];
	unsigned dd = 0, slot;
	int index;

	for (unsigned i = 0; i < g->nr_parity; i++)
		parity_xor(SECT_BYTES, 2, (void *[]){ s->parity[i] + at, (char *)u->bufs[g->nr_data + i] + at }, diff[i]);
	index = sector_locate(s, u, diff[0], diff[1]);
	if (index < 0)
		return sector_unknown(s, u, at_sects);
	slot = raid_stripe_slot(g, &u->map, (unsigned)index);
	if ((unsigned)index < g->nr_data) {
		dd = (unsigned)index;
		parity_xor(SECT_BYTES, 2, (void *[]){ (char *)u->bufs[dd] + at, diff[0] }, good);
	} else {
		memcpy(good, s->parity[(unsigned)index - g->nr_data] + at, SECT_BYTES);
	}
	if (repair)
		raid_slot_write(s->r, slot, u->sect + at_sects, good, SECT_BYTES);
	raid_place_add(s->r, unit_volume(s, u, dd, at_sects), 1, (int)slot, repair);
	return repair;
}

static bool sectors_differ(const struct sync *s, const struct unit *u, uint32_t at_sects, uint32_t nr_sects)
{
	size_t at = (size_t)at_sects << SECT_SHIFT, len = (size_t)nr_sects << SECT_SHIFT;

	for (unsigned i = 0; i < s->g->nr_parity; i++)
		if (memcmp(s->parity[i] + at, (char *)u->bufs[s->g->nr_data + i] + at, len))
			return true;
	return false;
}

static void unit_scrub(struct sync *s, struct unit *u)
{
	uint32_t nr;

	if (!sectors_differ(s, u, 0, u->nr_sects))
		return;
	for (uint32_t at = 0; at < u->nr_sects; at += nr) {
		uint64_t nr_repaired = 0;

		nr = MIN((uint32_t)GRANULE_SECTS, u->nr_sects - at);
		if (!sectors_differ(s, u, at, nr))
			continue;
		for (uint32_t i = 0; i < nr; i++)
			if (sectors_differ(s, u, at + i, 1))
				nr_repaired += sector_scrub(s, u, at + i);
		raid_mismatch_add(s->r, nr, nr_repaired);
	}
}

static int window_compare(struct sync *s)
{
	struct unit u;
	int err = window_read(s);

	for (sect_t sect = s->pos; !err && sect < s->pos + s->nr_sects; sect += u.nr_sects) {
		unit_init(s, &u, sect);
		err = unit_fill(s, &u);
		/* A stripe that cannot be read is told, and no reason to leave out the others. */
		if (err == -EIO && s->p->action != RAID_RESYNC) {
			raid_place_add(s->r, unit_volume(s, &u, 0, 0), u.nr_sects, -1, false);
			err = 0;
			continue;
		}
		if (err)
			break;
		raid_rows_parity(s->g, &u.map, u.nr_sects, u.bufs, s->parity[0], s->parity[1]);
		if (s->p->action == RAID_RESYNC)
			unit_resync(s, &u);
		else
			unit_scrub(s, &u);
	}
	return err;
}

/* ---- all together ----------------------------------------------------------------------- */

static int window_run(struct sync *s)
{
	struct raid *r = s->r;
	int err;

	s->run = raid_run_new(r);
	if (!s->run)
		return -ENOMEM;
	raid_arena_init(&s->arena, r->alloc);
	raid_lock(r, &s->locks, true);
	err = s->p->action == RAID_RECOVER ? window_recover(s) : window_compare(s);
	raid_unlock(r, &s->locks);
	raid_arena_fini(&s->arena);
	raid_run_free(s->run);
	if (!err && s->p->action == RAID_RECOVER)
		raid_targets_advance(&s->targets, s->pos + s->nr_sects);
	return !err && atomic_load(&r->failed) ? -EIO : err;
}

int raid456_sync(struct raid *r, struct raid_sync_piece *p)
{
	struct sync *s = calloc(1, sizeof(*s));
	uint64_t end = p->end;
	bool dirty = true;
	int err = 0;

	if (!s)
		return -ENOMEM;
	s->r = r;
	s->g = &r->geom;
	s->p = p;
	s->pos = p->pos;
	if (p->action == RAID_RECOVER)
		raid_targets_get(r, p->pos, &end, &s->targets);
	for (unsigned slot = 0; slot < r->geom.nr_disks; slot++)
		end = p->pos + raid_alike(r, slot, p->pos, end - p->pos);
	if (p->action == RAID_RESYNC || (p->action == RAID_RECOVER && s->targets.by_bitmap))
		end = raid_bitmap_stretch(r, p->pos, end, &dirty);
	if (dirty) {
		s->nr_sects = (uint32_t)raid_lock_add(r, &s->locks, p->pos, MIN(end - p->pos, (uint64_t)window_sects(s->g)));
		err = window_run(s);
		end = p->pos + s->nr_sects;
	} else if (p->action == RAID_RECOVER) {
		raid_targets_advance(&s->targets, end);
	}
	if (!err)
		p->end = end;
	free(s);
	return err;
}
