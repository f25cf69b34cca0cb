/*
 * raid_copies_sync.c: background work on levels of whole copies.
 *
 *	recover		what rebuilding members lack is copied from another copy, in the
 *			order of their sectors; a member being replaced is its own source
 *	resync		copies are made to agree: the first one counts, as it does for
 *			readers meanwhile (raid_choose_first)
 *	check, repair	copies are compared; where more than half of three or more agree
 *			the others are wrong and can be put right, else the place is listed
 *
 * A window is a run of stretches that lie on the same members, locked exclusively.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "raid/raid_io.h"

enum {
	WINDOW_BYTES = 4 << 20,		/* of all copies together: see bench_rebuild */
	MAX_STRETCHES = 256,
	GRANULE_SECTS = 8,		/* what mismatches are counted in, as md does */
};

struct stretch {
	sect_t sect;			/* volume */
	uint32_t at, nr_sects;		/* in the window */
	bool bad;			/* a copy could not be read */
};

struct sync {
	struct raid *r;
	struct raid_sync_piece *p;
	struct raid_run *run;
	struct raid_arena arena;
	struct raid_lock_set locks;
	unsigned nr;
	struct stretch stretches[MAX_STRETCHES];
	char *bufs[RAID_MAX_MEMBERS];	/* one a copy; recover: one */
};

static void read_failed(struct raid_run *run, struct raid_member *m, const struct blk_io *io, void *tag)
{
	struct stretch *st = tag;

	st->bad = true;
	raid_read_failed(run->r, m, io->sect, io->err);
}

static void write_failed(struct raid_run *run, struct raid_member *m, const struct blk_io *io, void *tag)
{
	raid_write_failed(run->r, m, io->sect, io->err);
}

static void *buf_at(const struct sync *s, unsigned copy, const struct stretch *st)
{
	return s->bufs[copy] + ((size_t)st->at << SECT_SHIFT);
}

/* ---- recover ------------------------------------------------------------------------ */

/*
 * The stretches of a member from pos on, up to end. Those that hold nothing, or are in
 * sync by the bitmap, are left out. Returns where the window ends.
 */
static sect_t member_stretches(struct sync *s, const struct raid_member *m, sect_t pos, sect_t end)
{
	struct raid *r = s->r;
	const struct raid_geom *g = &r->geom;
	sect_t at = pos;

	while (at < end && s->nr < MAX_STRETCHES) {
		uint64_t nr = g->chunk_sects ? g->chunk_sects - (at & (g->chunk_sects - 1)) : end - at, got;
		struct raid_role role;
		bool dirty = true;

		nr = MIN(nr, end - at);
		raid_unmap(g, (unsigned)atomic_load(&m->slot), at, &role);
		if (role.kind == RAID_KIND_UNUSED) {
			at += nr;
			continue;
		}
		if (m->by_bitmap)
			nr = raid_bitmap_stretch(r, role.sect, role.sect + nr, &dirty) - role.sect;
		if (!dirty) {
			at += nr;
			continue;
		}
		got = raid_lock_add(r, &s->locks, role.sect, nr);
		if (got)
			s->stretches[s->nr++] = (struct stretch){
				.sect = role.sect, .at = (uint32_t)(at - pos), .nr_sects = (uint32_t)got };
		at += got;
		if (got < nr)
			break;
	}
	return at;
}

/* A readable copy other than the member itself; its slot's own for a replacement. NULL: none. */
static const struct raid_place *source(const struct raid *r, const struct raid_member *m, const struct stretch *st,
				       struct raid_place *places)
{
	const struct raid_place *best = NULL;
	uint64_t nr;

	raid_map(&r->geom, st->sect, places, &nr);
	for (unsigned i = 0; i < r->geom.nr_copies; i++) {
		const struct raid_place *p = &places[i];

		if (!raid_can_read(r, p->slot, p->sect + st->nr_sects))
			continue;
		if ((int)p->slot == atomic_load(&m->slot))
			return p;
		if (!best || (atomic_load(&r->slots[best->slot]->write_mostly) &&
			      !atomic_load(&r->slots[p->slot]->write_mostly)))
			best = p;
	}
	return best;
}

/* A stretch that failed to read, in small steps from whatever copy can. Returns what was had from its start on. */
static uint32_t stretch_mend(struct sync *s, const struct stretch *st, char *buf)
{
	uint32_t at = 0, nr;

	for (; at < st->nr_sects; at += nr) {
		nr = MIN((uint32_t)(RAID_MEND_SECTS - (st->sect + at) % RAID_MEND_SECTS), st->nr_sects - at);
		if (raid_copies_mend_locked(s->r, st->sect + at, nr, buf + ((size_t)at << SECT_SHIFT)))
			break;
	}
	return at;
}

/* Reads all stretches; returns how many sectors of the window from its start are good. */
static uint32_t member_read(struct sync *s, const struct raid_member *m, uint32_t nr_sects)
{
	struct raid_place places[RAID_MAX_MEMBERS];

	s->run->failed = read_failed;
	for (unsigned i = 0; i < s->nr; i++) {
		struct stretch *st = &s->stretches[i];
		const struct raid_place *p = source(s->r, m, st, places);

		if (p)
			raid_run_add_buf(s->run, p->slot, BLK_READ, 0, p->sect, st->nr_sects, buf_at(s, 0, st), st);
		else
			st->bad = true;
	}
	raid_run_go(s->run);
	for (unsigned i = 0; i < s->nr; i++) {
		struct stretch *st = &s->stretches[i];
		uint32_t good = st->bad ? stretch_mend(s, st, buf_at(s, 0, st)) : st->nr_sects;

		if (good < st->nr_sects) {
			st->nr_sects = good;
			s->nr = i + 1;
			return st->at + good;
		}
	}
	return nr_sects;
}

/* Neighbouring stretches go in one request. */
static void member_write(struct sync *s, struct raid_member *m, sect_t pos)
{
	struct iovec iovs[MAX_STRETCHES];
	unsigned next;

	s->run->failed = write_failed;
	for (unsigned i = 0; i < s->nr; i = next) {
		const struct stretch *st = &s->stretches[i];
		uint32_t end = st->at + st->nr_sects;

		for (next = i + 1; next < s->nr && s->stretches[next].at == end; next++)
			end += s->stretches[next].nr_sects;
		if (end == st->at)
			continue;
		iovs[i] = (struct iovec){ buf_at(s, 0, st), (size_t)(end - st->at) << SECT_SHIFT };
		raid_run_add_member(s->run, m, BLK_WRITE, 0, pos + st->at, end - st->at, &iovs[i], 1, NULL);
		s->p->nr_changed += end - st->at;
	}
	raid_run_go(s->run);
}

/* One member, from p->pos on; *end comes down to how far it came. */
static int member_recover(struct sync *s, struct raid_member *m, sect_t *end)
{
	struct raid *r = s->r;
	sect_t pos = s->p->pos, window_end;
	uint32_t good;

	s->nr = 0;
	window_end = member_stretches(s, m, pos, MIN(*end, pos + (WINDOW_BYTES >> SECT_SHIFT) / 2));
	good = (uint32_t)(window_end - pos);
	if (s->nr) {
		s->bufs[0] = raid_arena_get(&s->arena, (size_t)good << SECT_SHIFT);
		if (!s->bufs[0]) {
			s->locks = (struct raid_lock_set){ 0 };
			return -ENOMEM;
		}
		raid_lock(r, &s->locks, true);
		good = member_read(s, m, good);
		member_write(s, m, pos);
	}
	raid_unlock(r, &s->locks);
	*end = pos + good;
	return good ? 0 : -EIO;
}

static int recover(struct sync *s)
{
	struct raid_targets t;
	sect_t end = s->p->end;
	int err = 0;

	raid_targets_get(s->r, s->p->pos, &end, &t);
	for (unsigned i = 0; i < t.nr && !err; i++) {
		err = member_recover(s, t.members[i], &end);
		raid_arena_fini(&s->arena);
	}
	if (err)
		return err;
	/* What members behind the first did beyond the common end is done again. */
	raid_targets_advance(&t, end);
	s->p->end = end;
	return 0;
}

/* ---- resync, check, repair ------------------------------------------------------------ */

static sect_t volume_stretches(struct sync *s, sect_t pos, sect_t end)
{
	struct raid_place places[RAID_MAX_MEMBERS];
	sect_t at = pos;

	while (at < end && s->nr < MAX_STRETCHES) {
		uint64_t nr, got;

		raid_map(&s->r->geom, at, places, &nr);
		nr = MIN(nr, end - at);
		for (unsigned c = 0; c < s->r->geom.nr_copies; c++)
			nr = raid_alike(s->r, places[c].slot, places[c].sect, nr);
		got = raid_lock_add(s->r, &s->locks, at, nr);
		if (got)
			s->stretches[s->nr++] = (struct stretch){
				.sect = at, .at = (uint32_t)(at - pos), .nr_sects = (uint32_t)got };
		at += got;
		if (got < nr)
			break;
	}
	return at;
}

static void copies_read(struct sync *s)
{
	struct raid_place places[RAID_MAX_MEMBERS];
	uint64_t nr;

	s->run->failed = read_failed;
	for (unsigned i = 0; i < s->nr; i++) {
		struct stretch *st = &s->stretches[i];

		raid_map(&s->r->geom, st->sect, places, &nr);
		for (unsigned c = 0; c < s->r->geom.nr_copies; c++)
			if (raid_can_read(s->r, places[c].slot, places[c].sect + st->nr_sects))
				raid_run_add_buf(s->run, places[c].slot, BLK_READ, 0, places[c].sect, st->nr_sects,
						 buf_at(s, c, st), st);
	}
	raid_run_go(s->run);
}

/* A part of a stretch, with the copies that are there. */
struct part {
	sect_t sect;
	uint32_t nr_sects;
	unsigned nr;			/* copies */
	char *bufs[RAID_MAX_MEMBERS];
	struct raid_place places[RAID_MAX_MEMBERS];
};

/* reread: a copy could not be read; the others are mended, and it is left out if that does not help. */
static void part_init(struct sync *s, struct part *pt, const struct stretch *st, uint32_t at, uint32_t nr_sects,
		      bool reread)
{
	struct raid *r = s->r;
	struct raid_place places[RAID_MAX_MEMBERS];
	uint64_t nr;

	pt->sect = st->sect + at;
	pt->nr_sects = nr_sects;
	pt->nr = 0;
	raid_map(&r->geom, pt->sect, places, &nr);
	for (unsigned c = 0; c < r->geom.nr_copies; c++) {
		struct raid_member *m = r->slots[places[c].slot];
		char *buf = (char *)buf_at(s, c, st) + ((size_t)at << SECT_SHIFT);

		if (!raid_can_read(r, places[c].slot, places[c].sect + nr_sects))
			continue;
		if (reread && blk_read(m->dev, m->data_offset + places[c].sect, buf, (size_t)nr_sects << SECT_SHIFT))
			continue;
		pt->bufs[pt->nr] = buf;
		pt->places[pt->nr++] = places[c];
	}
}

static bool copies_differ(const struct part *pt, unsigned a, unsigned b, uint32_t at_sects, uint32_t nr_sects)
{
	size_t at = (size_t)at_sects << SECT_SHIFT;

	return memcmp(pt->bufs[a] + at, pt->bufs[b] + at, (size_t)nr_sects << SECT_SHIFT);
}

static bool any_differ(const struct part *pt, uint32_t at_sects, uint32_t nr_sects)
{
	for (unsigned i = 1; i < pt->nr; i++)
		if (copies_differ(pt, 0, i, at_sects, nr_sects))
			return true;
	return false;
}

static void part_resync(struct sync *s, const struct part *pt)
{
	for (unsigned i = 1; i < pt->nr; i++) {
		if (!copies_differ(pt, 0, i, 0, pt->nr_sects))
			continue;
		raid_slot_write(s->r, pt->places[i].slot, pt->places[i].sect, pt->bufs[0],
				(size_t)pt->nr_sects << SECT_SHIFT);
		s->p->nr_changed += pt->nr_sects;
	}
}

/* The copy that more than half of three or more agree with; -1: none. */
static int vote(const struct part *pt, uint32_t at)
{
	for (unsigned i = 0; pt->nr >= 3 && i < pt->nr; i++) {
		unsigned nr_same = 0;

		for (unsigned k = 0; k < pt->nr; k++)
			nr_same += !copies_differ(pt, i, k, at, 1);
		if (2 * nr_same > pt->nr)
			return (int)i;
	}
	return -1;
}

/* A sector on which copies do not agree. True when it was put right. */
static bool sector_scrub(struct sync *s, const struct part *pt, uint32_t at)
{
	int good = vote(pt, at), told = good;
	bool repair = s->p->action == RAID_REPAIR && (good >= 0 || s->p->rewrite);

	if (good < 0)
		good = 0;
	for (unsigned i = 0; i < pt->nr; i++) {
		if (!copies_differ(pt, (unsigned)good, i, at, 1))
			continue;
		if (repair)
			raid_slot_write(s->r, pt->places[i].slot, pt->places[i].sect + at,
					pt->bufs[good] + ((size_t)at << SECT_SHIFT), SECT_BYTES);
		if (told >= 0)
			raid_place_add(s->r, pt->sect + at, 1, (int)pt->places[i].slot, repair);
	}
	if (told < 0)
		raid_place_add(s->r, pt->sect + at, 1, -1, repair);
	return repair;
}

static void part_scrub(struct sync *s, const struct part *pt)
{
	uint32_t nr;

	if (!any_differ(pt, 0, pt->nr_sects))
		return;
	for (uint32_t at = 0; at < pt->nr_sects; at += nr) {
		uint64_t nr_repaired = 0;

		nr = MIN((uint32_t)(GRANULE_SECTS - (pt->sect + at) % GRANULE_SECTS), pt->nr_sects - at);
		if (!any_differ(pt, at, nr))
			continue;
		for (uint32_t i = 0; i < nr; i++)
			if (any_differ(pt, at + i, 1))
				nr_repaired += sector_scrub(s, pt, at + i);
		raid_mismatch_add(s->r, nr, nr_repaired);
	}
}

static void part_compare(struct sync *s, const struct part *pt)
{
	if (s->p->action == RAID_RESYNC)
		part_resync(s, pt);
	else
		part_scrub(s, pt);
}

/* What could be read in one go is compared in one go; else in steps, with mending. */
static int stretch_compare(struct sync *s, const struct stretch *st)
{
	_Alignas(PAGE_BYTES) char buf[RAID_MEND_SECTS * SECT_BYTES];
	struct part pt;
	uint32_t nr;

	if (!st->bad) {
		part_init(s, &pt, st, 0, st->nr_sects, false);
		if (pt.nr)
			part_compare(s, &pt);
		return pt.nr ? 0 : -EIO;
	}
	for (uint32_t at = 0; at < st->nr_sects; at += nr) {
		nr = MIN((uint32_t)(RAID_MEND_SECTS - (st->sect + at) % RAID_MEND_SECTS), st->nr_sects - at);
		if (raid_copies_mend_locked(s->r, st->sect + at, nr, buf)) {
			if (s->p->action == RAID_RESYNC)
				return -EIO;
			raid_place_add(s->r, st->sect + at, nr, -1, false);
			continue;
		}
		part_init(s, &pt, st, at, nr, true);
		part_compare(s, &pt);
	}
	return 0;
}

static int compare(struct sync *s, sect_t end)
{
	struct raid *r = s->r;
	unsigned nr_copies = r->geom.nr_copies;
	uint64_t window = MAX((WINDOW_BYTES >> SECT_SHIFT) / nr_copies, (unsigned)GRANULE_SECTS);
	int err = 0;

	end = volume_stretches(s, s->p->pos, MIN(end, s->p->pos + window));
	for (unsigned c = 0; c < nr_copies && !err; c++) {
		s->bufs[c] = raid_arena_get(&s->arena, (end - s->p->pos) << SECT_SHIFT);
		if (!s->bufs[c])
			err = -ENOMEM;
	}
	raid_lock(r, &s->locks, true);
	if (!err)
		copies_read(s);
	for (unsigned i = 0; !err && i < s->nr; i++)
		err = stretch_compare(s, &s->stretches[i]);
	raid_unlock(r, &s->locks);
	raid_arena_fini(&s->arena);
	if (!err)
		s->p->end = end;
	return err;
}

int raid_copies_sync(struct raid *r, struct raid_sync_piece *p)
{
	struct sync *s = calloc(1, sizeof(*s));
	uint64_t end = p->end;
	bool dirty = true;
	int err = 0;

	if (s)
		s->run = raid_run_new(r);
	if (!s || !s->run) {
		free(s);
		return -ENOMEM;
	}
	s->r = r;
	s->p = p;
	raid_arena_init(&s->arena, r->alloc);
	if (p->action == RAID_RECOVER) {
		err = recover(s);
	} else {
		if (p->action == RAID_RESYNC)
			end = raid_bitmap_stretch(r, p->pos, end, &dirty);
		if (dirty)
			err = compare(s, end);
		else
			p->end = end;
	}
	raid_run_free(s->run);
	free(s);
	return err;
}
