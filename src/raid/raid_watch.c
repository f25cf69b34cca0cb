/*
 * raid_watch.c: looking after members: images that were truncated, deleted, written over
 * or made unreadable under the array, and members that have become slow.
 *
 * A truncated image is the dangerous one: a write behind its end makes it grow again,
 * and the hole reads as zeroes. So src/blk looks at its size before every write, and refuses:
 * the member is faulty by the write that it did not take. Here is what that does not reach.
 *
 * An image that is written over is noticed by its superblock, at the next look; what was
 * read of it meanwhile was what it then had: that is what checksums are for.
 *
 * How long one member takes cannot be told from a batch. One that took longer than the
 * limit makes every member show at the next look how long it takes for a single sector.
 */
#include <time.h>

#include "base/log.h"
#include "raid/raid_int.h"

enum { DEFAULT_MAX_SLOW = 10, SWEEP_EVERY = 5 };

const char *raid_watch_text(int err)
{
	switch (err) {
	case -ENODATA:
		return "its image has been truncated";
	case -ENOENT:
		return "its image has been deleted";
	case -EACCES:
		return "its image has been made unreadable";
	default:
		return "its image cannot be looked at";
	}
}

static void watch_image(struct raid *r, struct raid_member *m)
{
	const int err = atomic_load(&m->state) == RAID_FAULTY ? 0 : blk_check(m->dev, true);

	if (likely(!err) || !r->level->redundant || r->read_only)
		return;
	LOCK_GUARD(&r->lock);
	/* What is only unreachable for others is kept while nothing can replace it. */
	if (err != -ENODATA && atomic_load(&m->state) == RAID_IN_SYNC && !atomic_load(&m->is_replacement) &&
	    !raid_can_lose(r, (unsigned)atomic_load(&m->slot)))
		return;
	raid_member_fail_locked(r, m, raid_watch_text(err), raid_watch_text(err));
}

/* An image that was written over: its superblock is not the one that was put there last. */
static void look_at_superblock(struct raid *r, struct raid_member *m)
{
	enum { ID_BYTES = 64 };		/* magic, the array's id and more */
	_Alignas(PAGE_BYTES) uint8_t buf[SECT_BYTES];

	if (!blk_can_check(m->dev))
		return;
	LOCK_GUARD(&r->lock);
	/* Twice: a bit that was read wrongly is not an image that was written over. */
	for (unsigned i = 0; i < 2; i++)
		if (atomic_load(&m->state) == RAID_FAULTY ||
		    blk_read(m->dev, m->sb.info.super_offset, buf, sizeof(buf)) || !memcmp(buf, m->sb.raw, ID_BYTES))
			return;
	raid_member_over_limit(r, m, "its superblock has been written over", "its image has been written over");
}

static void probe(struct raid *r, struct raid_member *m)
{
	_Alignas(PAGE_BYTES) char buf[SECT_BYTES];
	struct timespec from, to;
	uint64_t msec;
	char text[96];

	clock_gettime(CLOCK_MONOTONIC, &from);
	if (blk_read(m->dev, m->sb.info.super_offset, buf, sizeof(buf)))
		return;		/* where it matters that is noticed */
	clock_gettime(CLOCK_MONOTONIC, &to);
	msec = (uint64_t)(to.tv_sec - from.tv_sec) * 1000 + (uint64_t)((to.tv_nsec - from.tv_nsec) / 1000000);
	if (msec <= r->opts.slow_msec)
		return;
	atomic_fetch_add(&m->nr_slow, 1);
	log_warn("%s: slot %d of array %s: took %" PRIu64 " ms for a sector, the limit is %u", blk_name(m->dev),
		 atomic_load(&m->slot), blk_name(&r->dev), msec, r->opts.slow_msec);
	LOCK_GUARD(&r->lock);
	if (!raid_tally_add(&m->slow_tally, r->opts.max_slow ? r->opts.max_slow : DEFAULT_MAX_SLOW))
		return;
	snprintf(text, sizeof(text), "slower than %u ms, %u times within about an hour", r->opts.slow_msec,
		 m->slow_tally.level);
	raid_member_over_limit(r, m, text, "it is too slow");
}

static void watch(struct raid *r)
{
	for (unsigned i = 0; i < r->nr_members; i++) {
		watch_image(r, r->members[i]);
		if (!r->read_only)
			look_at_superblock(r, r->members[i]);
	}
	if (!r->opts.slow_msec || !atomic_exchange(&r->is_slow, false))
		return;
	for (unsigned i = 0; i < r->nr_members; i++)
		if (atomic_load(&r->members[i]->state) != RAID_FAULTY)
			probe(r, r->members[i]);
}

int raid_idle(struct raid *r)
{
	unsigned lane = raid_gate_enter(&r->gate);
	uint64_t nr_writes = atomic_load(&r->nr_writes);
	bool is_quiet, sweep;
	int err = 0;

	watch(r);
	os_mutex_lock(&r->lock);
	is_quiet = nr_writes == r->nr_writes_seen;
	r->nr_writes_seen = nr_writes;
	sweep = ++r->nr_idles % SWEEP_EVERY == 0;
	os_mutex_unlock(&r->lock);
	if (!r->read_only && sweep)
		err = raid_bitmap_sweep(r);
	if (!r->read_only && is_quiet && !err)
		err = raid_mark_clean(r);
	raid_gate_leave(&r->gate, lane);
	raid_events_tell(r);
	return err == -EBUSY ? 0 : err;
}
