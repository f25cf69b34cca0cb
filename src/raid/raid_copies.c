/*
 * raid_copies.c: levels that keep whole copies: one (RAID 0, linear) or more (1, 10).
 *
 * S5  A write is acknowledged only when every copy has it or is on a member that the
 *     superblocks of the others call faulty. Where the level cannot lose the member,
 *     the write fails and the array stays marked active until it was resynchronised.
 */
#include <assert.h>

#include "base/log.h"
#include "raid/raid_io.h"

static void write_failed(struct raid_run *run, struct raid_member *m, const struct blk_io *io, void *tag)
{
	struct raid_piece *p = tag;

	raid_write_failed(run->r, m, io->sect, io->err);
	if (raid_member_takes_writes(m))
		p->bad = true;
}

static void piece_write(struct raid_run *run, const struct raid_batch *b, struct raid_piece *p)
{
	struct raid *r = run->r;
	struct raid_place places[RAID_MAX_MEMBERS];
	uint64_t nr;

	raid_map(&r->geom, p->sect, places, &nr);
	for (unsigned i = 0; i < r->geom.nr_copies; i++) {
		if (!raid_can_write(r, places[i].slot))
			continue;
		p->nr_written++;
		raid_run_add(run, places[i].slot, BLK_WRITE, b->flags, places[i].sect, p->nr_sects, p->iov, p->nr_iov, p);
	}
}

static void write_go(struct raid_run *run, const struct raid_batch *b, struct raid_lock_set *locks)
{
	struct raid *r = run->r;

	raid_lock(r, locks, false);
	for (unsigned i = 0; i < run->nr_pieces; i++)
		piece_write(run, b, &run->pieces[i]);
	raid_run_go(run);
	raid_unlock(r, locks);
	for (unsigned i = 0; i < run->nr_pieces; i++)
		if (unlikely(run->pieces[i].bad || !run->pieces[i].nr_written))
			raid_piece_fail(b, &run->pieces[i], -EIO);
	raid_run_reset(run);
}

void raid_copies_write(struct raid *r, struct raid_batch *b)
{
	struct raid_run *run = raid_run_new(r);
	struct raid_place places[RAID_MAX_MEMBERS];
	struct raid_lock_set locks = { 0 };
	struct raid_cur cur;

	raid_batch_set(b, run ? 0 : -ENOMEM);
	if (!run)
		return;
	run->failed = write_failed;
	raid_cur_init(&cur, b);
	while (!raid_cur_at_end(&cur, b)) {
		uint64_t nr;

		raid_map(&r->geom, cur.sect, places, &nr);
		nr = MIN(nr, cur.end - cur.sect);
		if (r->level->redundant)
			nr = raid_lock_add(r, &locks, cur.sect, nr);
		if (!nr || !raid_piece_take(run, b, &cur, nr))
			write_go(run, b, &locks);
	}
	write_go(run, b, &locks);
	raid_run_free(run);
}

/* ---- ranges without data ------------------------------------------------------ */

struct range_arg {
	int err;
};

static void zero_failed(struct raid_run *run, struct raid_member *m, const struct blk_io *io, void *tag)
{
	struct range_arg *arg = tag;
	int err = io->err;

	if (err == -EOPNOTSUPP)
		err = blk_zero(m->dev, io->sect, io->nr_sects);
	if (!err)
		return;
	raid_write_failed(run->r, m, io->sect, err);
	if (raid_member_takes_writes(m))
		arg->err = err;
}

/* A discard is a hint; what was discarded may read as anything. */
static void discard_failed(struct raid_run *run, struct raid_member *m, const struct blk_io *io, void *tag)
{
}

/* All places of a range; what adjoins on a member becomes one request. */
static void range_add(struct raid_run *run, enum blk_op op, unsigned flags, sect_t sect, uint64_t nr_sects, void *tag)
{
	struct raid *r = run->r;
	struct raid_place places[RAID_MAX_MEMBERS];
	struct {
		sect_t start;
		uint64_t nr_sects;
	} open[RAID_MAX_MEMBERS] = { 0 };
	uint64_t nr;

	for (sect_t at = sect; at < sect + nr_sects; at += nr) {
		raid_map(&r->geom, at, places, &nr);
		nr = MIN(nr, sect + nr_sects - at);
		for (unsigned i = 0; i < r->geom.nr_copies; i++) {
			unsigned slot = places[i].slot;

			if (open[slot].nr_sects && open[slot].start + open[slot].nr_sects == places[i].sect) {
				open[slot].nr_sects += nr;
				continue;
			}
			if (open[slot].nr_sects && raid_can_write(r, slot))
				raid_run_add(run, slot, op, flags, open[slot].start, open[slot].nr_sects, NULL, 0, tag);
			open[slot].start = places[i].sect;
			open[slot].nr_sects = nr;
		}
	}
	for (unsigned slot = 0; slot < r->geom.nr_disks; slot++)
		if (open[slot].nr_sects && raid_can_write(r, slot))
			raid_run_add(run, slot, op, flags, open[slot].start, open[slot].nr_sects, NULL, 0, tag);
}

static int range_run(struct raid *r, enum blk_op op, unsigned flags, sect_t sect, uint64_t nr_sects)
{
	struct raid_run *run = raid_run_new(r);
	struct raid_lock_set locks = { 0 };
	struct range_arg arg = { 0 };

	if (!run)
		return -ENOMEM;
	run->failed = op == BLK_ZERO ? zero_failed : discard_failed;
	while (nr_sects && !arg.err) {
		uint64_t nr = r->level->redundant ? raid_lock_add(r, &locks, sect, nr_sects) : nr_sects;

		raid_lock(r, &locks, false);
		range_add(run, op, flags, sect, nr, &arg);
		raid_run_go(run);
		raid_unlock(r, &locks);
		sect += nr;
		nr_sects -= nr;
	}
	raid_run_free(run);
	return arg.err;
}

int raid_copies_zero(struct raid *r, sect_t sect, uint64_t nr_sects, unsigned flags)
{
	return range_run(r, BLK_ZERO, flags, sect, nr_sects);
}

int raid_copies_discard(struct raid *r, sect_t sect, uint64_t nr_sects)
{
	return range_run(r, BLK_DISCARD, 0, sect, nr_sects);
}

/* ---- mending --------------------------------------------------------- */

/* Reads every readable copy, the first good one into buf. */
static int mend_read(struct raid *r, const struct raid_place *places, uint32_t nr_sects, void *buf, bool *bad)
{
	_Alignas(PAGE_BYTES) char other[RAID_MEND_SECTS * SECT_BYTES];
	int err = -EIO;

	for (unsigned i = 0; i < r->geom.nr_copies; i++) {
		const struct raid_member *m = r->slots[places[i].slot];
		int one;

		bad[i] = false;
		if (!raid_can_read(r, places[i].slot, places[i].sect + nr_sects))
			continue;
		one = blk_read(m->dev, m->data_offset + places[i].sect, err ? buf : other, (size_t)nr_sects << SECT_SHIFT);
		bad[i] = one;
		err = one && err ? one : 0;
	}
	return err;
}

int raid_copies_mend_locked(struct raid *r, sect_t sect, uint32_t nr_sects, void *buf)
{
	struct raid_place places[RAID_MAX_MEMBERS];
	bool bad[RAID_MAX_MEMBERS];
	uint64_t nr;
	int err;

	raid_map(&r->geom, sect, places, &nr);
	err = mend_read(r, places, nr_sects, buf, bad);
	for (unsigned i = 0; !err && !r->read_only && i < r->geom.nr_copies; i++)
		if (bad[i] && raid_can_read(r, places[i].slot, places[i].sect + nr_sects))
			raid_slot_mend(r, places[i].slot, places[i].sect, buf, (size_t)nr_sects << SECT_SHIFT);
	return err;
}

int raid_copies_mend(struct raid *r, sect_t sect, uint32_t nr_sects, void *buf)
{
	struct raid_lock_set locks = { 0 };
	int err;

	raid_lock_add(r, &locks, sect, nr_sects);
	raid_lock(r, &locks, true);
	err = raid_copies_mend_locked(r, sect, nr_sects, buf);
	raid_unlock(r, &locks);
	return err;
}
