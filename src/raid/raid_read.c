/*
 * raid_read.c: reads where every sector has places of its own: all levels as long as
 * the members are there. What cannot be read at its place is mended in small steps
 * afterwards, so that one bad sector costs that sector and not the whole request.
 */
#include <assert.h>

#include "raid/raid_io.h"

/* Reads of RAID 1 from this size on are split over the members. */
enum { SPLIT_SECTS = 256 };

static void read_failed(struct raid_run *run, struct raid_member *m, const struct blk_io *io, void *tag)
{
	struct raid_piece *p = tag;

	p->bad = true;
	raid_read_failed(run->r, m, io->sect, io->err);
}

static void mend_piece(struct raid *r, const struct raid_batch *b, const struct raid_piece *p)
{
	_Alignas(PAGE_BYTES) char buf[RAID_MEND_SECTS * SECT_BYTES];
	struct raid_place places[RAID_MAX_MEMBERS];
	uint32_t nr;

	for (uint32_t at = 0; at < p->nr_sects; at += nr) {
		sect_t sect = p->sect + at;
		uint64_t nr_same_place;
		int err;

		raid_map(&r->geom, sect, places, &nr_same_place);
		nr = MIN((uint32_t)(RAID_MEND_SECTS - sect % RAID_MEND_SECTS), p->nr_sects - at);
		nr = (uint32_t)MIN((uint64_t)nr, nr_same_place);
		err = r->level->mend(r, sect, nr, buf);
		if (err)
			raid_batch_fail(b, p->io, sect, nr, err);
		else
			raid_iov_put(p->iov, (size_t)at << SECT_SHIFT, buf, (size_t)nr << SECT_SHIFT);
	}
}

void raid_mend_pieces(struct raid_run *run, const struct raid_batch *b)
{
	for (unsigned i = 0; i < run->nr_pieces; i++)
		if (unlikely(run->pieces[i].bad))
			mend_piece(run->r, b, &run->pieces[i]);
}

/* Copies may differ before they are resynchronised: all readers get the one that will count. */
static bool is_unsynced(const struct raid *r, const struct raid_piece *p)
{
	return p->sect + p->nr_sects > atomic_load_explicit(&r->resync_pos, memory_order_relaxed);
}

static const struct raid_place *choose_first(struct raid *r, const struct raid_place *places, uint64_t nr_sects)
{
	for (unsigned i = 0; i < r->geom.nr_copies; i++)
		if (raid_can_read(r, places[i].slot, places[i].sect + nr_sects))
			return &places[i];
	return NULL;
}

/*
 * The member with the least to do; among equals the one whose last read ended
 * nearest, so that a sequential reader stays where it is; or, where the data is
 * striped over the starts of the members, the place nearest to the start.
 */
static const struct raid_place *choose(struct raid *r, const struct raid_place *places, uint64_t nr_sects,
				       bool by_distance)
{
	const struct raid_place *best = NULL;
	uint64_t best_load = 0, best_way = 0;

	for (unsigned i = 0; i < r->geom.nr_copies; i++) {
		const struct raid_place *p = &places[i];
		const struct raid_member *m = r->slots[p->slot];
		uint64_t load, way, next;

		if (!raid_can_read(r, p->slot, p->sect + nr_sects))
			continue;
		load = atomic_load_explicit(&m->nr_pending, memory_order_relaxed);
		if (atomic_load_explicit(&m->write_mostly, memory_order_relaxed))
			load += UINT32_MAX;
		next = atomic_load_explicit(&m->next_sect, memory_order_relaxed);
		way = !by_distance ? p->sect : next > p->sect ? next - p->sect : p->sect - next;
		if (best && (load > best_load || (load == best_load && way >= best_way)))
			continue;
		best = p;
		best_load = load;
		best_way = way;
	}
	return best;
}

const struct raid_place *raid_choose_nearest(struct raid *r, const struct raid_place *places, uint64_t nr_sects)
{
	return choose(r, places, nr_sects, true);
}

const struct raid_place *raid_choose_lowest(struct raid *r, const struct raid_place *places, uint64_t nr_sects)
{
	return choose(r, places, nr_sects, false);
}

/* Where nothing else cuts a long read, it is cut so that every mirror reads a part of it. */
static uint64_t split_limit(const struct raid *r, const struct raid_place *places, uint64_t nr_sects)
{
	unsigned nr_readable = 0;

	if (r->geom.chunk_sects || r->geom.nr_copies == 1 || nr_sects < SPLIT_SECTS)
		return nr_sects;
	for (unsigned i = 0; i < r->geom.nr_copies; i++)
		nr_readable += raid_can_read(r, places[i].slot, places[i].sect + nr_sects) &&
			       !atomic_load_explicit(&r->slots[places[i].slot]->write_mostly, memory_order_relaxed);
	return nr_readable < 2 ? nr_sects
			       : MAX(ALIGN_UP(nr_sects / nr_readable, 8), (uint64_t)SPLIT_SECTS / 2);
}

static void read_go(struct raid_run *run, const struct raid_batch *b)
{
	struct raid *r = run->r;
	unsigned nr = run->nr_ios;

	raid_run_go(run);
	for (unsigned i = 0; r->level->choose && i < nr; i++)
		atomic_fetch_sub_explicit(&run->members[i]->nr_pending, 1, memory_order_relaxed);
	raid_mend_pieces(run, b);
	raid_run_reset(run);
}

static void read_add(struct raid_run *run, const struct raid_place *place, struct raid_piece *p)
{
	struct raid_member *m;

	raid_run_add(run, place->slot, BLK_READ, 0, place->sect, p->nr_sects, p->iov, p->nr_iov, p);
	if (!run->r->level->choose)
		return;
	m = run->members[run->nr_ios - 1];
	atomic_fetch_add_explicit(&m->nr_pending, 1, memory_order_relaxed);
	atomic_store_explicit(&m->next_sect, place->sect + p->nr_sects, memory_order_relaxed);
}

void raid_read(struct raid *r, struct raid_batch *b)
{
	struct raid_run *run = raid_run_new(r);
	struct raid_place places[RAID_MAX_MEMBERS];
	struct raid_cur cur;

	raid_batch_set(b, run ? 0 : -ENOMEM);
	if (!run)
		return;
	run->failed = read_failed;
	raid_cur_init(&cur, b);
	while (!raid_cur_at_end(&cur, b)) {
		const struct raid_place *place;
		struct raid_piece *p;
		uint64_t nr;

		raid_map(&r->geom, cur.sect, places, &nr);
		nr = split_limit(r, places, MIN(nr, cur.end - cur.sect));
		if (!raid_piece_take(run, b, &cur, nr)) {
			read_go(run, b);
			continue;
		}
		p = &run->pieces[run->nr_pieces - 1];
		place = r->level->choose && likely(!is_unsynced(r, p)) ? r->level->choose(r, places, p->nr_sects)
									: choose_first(r, places, p->nr_sects);
		if (place)
			read_add(run, place, p);
		else
			p->bad = true;
	}
	read_go(run, b);
	raid_run_free(run);
}
