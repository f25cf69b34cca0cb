/*
 * raid_state.c: the states of members, and the superblocks that follow them.
 *
 * S7   A member that misses a write is faulty in the superblocks of all others, under
 *      a higher event count, before that write is acknowledged.
 * S8   Superblocks say active before the first write after they said clean, and
 *      clean only after a flush with no write under way.
 *
 * raid_write_begin() counts the writer and then looks whether the array is active;
 * raid_mark_clean() takes active away and then looks whether there are writers: in
 * any order one of the two sees the other.
 *
 * Another writer may find a member faulty, leave it out and be done while the
 * superblocks are still being written. So updating is set before the state changes,
 * and raid_write_end() waits for the update that it sees under way; failed is set
 * by the end of it, so that who left out one member too many is told there.
 */
#include <time.h>

#include "base/log.h"
#include "raid/raid_int.h"

static const char *member_name(const struct raid *r, unsigned slot)
{
	return blk_name(r->slots[slot]->dev);
}

void raid_missing_get(const struct raid *r, bool *missing)
{
	for (unsigned slot = 0; slot < r->geom.nr_disks; slot++)
		missing[slot] = !r->slots[slot] || atomic_load(&r->slots[slot]->state) != RAID_IN_SYNC;
}

bool raid_is_degraded(const struct raid *r)
{
	bool missing[RAID_MAX_MEMBERS];

	raid_missing_get(r, missing);
	for (unsigned slot = 0; slot < r->geom.nr_disks; slot++)
		if (missing[slot])
			return true;
	return false;
}

void raid_read_failed(struct raid *r, unsigned slot, sect_t member_sect, int err)
{
	struct raid_member *m = r->slots[slot];

	atomic_fetch_add(&m->nr_read_errors, 1);
	log_warn("%s: slot %u of array %s: read at data sector %" PRIu64 " failed: %s", member_name(r, slot), slot,
		 blk_name(&r->dev), member_sect, strerror(-err));
}

void raid_mended(struct raid *r, unsigned slot, sect_t member_sect)
{
	atomic_fetch_add(&r->slots[slot]->nr_corrected, 1);
	log_info("%s: slot %u of array %s: data sector %" PRIu64 " rewritten from redundancy", member_name(r, slot), slot,
		 blk_name(&r->dev), member_sect);
}

/* ---- superblocks ------------------------------------------------------------------- */

static bool has_superblock(const struct raid_member *m)
{
	enum raid_member_state state = atomic_load(&m->state);

	return state == RAID_IN_SYNC || state == RAID_REBUILDING || state == RAID_SPARE;
}

/* Roles by device number as they are now; numbers without a device keep what they have. */
static void roles_collect(struct raid *r)
{
	for (unsigned i = 0; i < r->nr_members; i++) {
		struct raid_member *m = &r->members[i];
		enum raid_member_state state = atomic_load(&m->state);
		unsigned dev_nr = (unsigned)m->sb.info.dev_nr;

		if (state == RAID_IN_SYNC || state == RAID_REBUILDING)
			r->roles[dev_nr] = (int16_t)m->slot;
		else if (state == RAID_SPARE)
			r->roles[dev_nr] = RAID_ROLE_SPARE;
		else if (m->slot >= 0)
			r->roles[dev_nr] = RAID_ROLE_FAULTY;
		r->present[dev_nr] = state != RAID_MISSING && state != RAID_FAULTY;
	}
}

/* Before the superblocks, so that a bitmap never looks older than the array. Who fails here fails there. */
static void bitmaps_write(struct raid *r, bool dirty)
{
	for (unsigned i = 0; i < r->nr_members; i++) {
		const struct raid_member *m = &r->members[i];

		if (m->sb.bitmap_offset && has_superblock(m) && raid_bitmap_mark(m, dirty, r->events))
			log_warn("%s: bitmap of array %s cannot be written", blk_name(m->dev), blk_name(&r->dev));
	}
}

/* One round; returns how many superblocks were written, *nr_failed how many could not be. */
static unsigned superblocks_write(struct raid *r, const struct raid_sb_state *st, unsigned *nr_failed)
{
	struct raid_member *written[RAID_MAX_MEMBERS];
	unsigned nr = 0, nr_good = 0;

	for (unsigned i = 0; i < r->nr_members; i++) {
		struct raid_member *m = &r->members[i];

		if (!has_superblock(m))
			continue;
		m->sb.info.recovery_sect = atomic_load(&m->state) == RAID_REBUILDING ? atomic_load(&m->recovered)
										      : MD_SECT_MAX;
		raid_sb_store(&m->sb, st, atomic_load(&m->nr_corrected));
		r->sb_iovs[nr] = (struct iovec){ m->sb.raw, MD_SB_BYTES };
		r->sb_ios[nr] = (struct blk_io){
			.dev = m->dev, .op = BLK_WRITE, .flags = BLK_FUA, .sect = m->sb.info.super_offset,
			.iov = &r->sb_iovs[nr], .nr_iov = 1 };
		written[nr++] = m;
	}
	blk_run(r->sb_ios, nr);
	*nr_failed = 0;
	for (unsigned i = 0; i < nr; i++) {
		if (!r->sb_ios[i].err) {
			nr_good++;
			continue;
		}
		++*nr_failed;
		atomic_fetch_add(&written[i]->nr_write_errors, 1);
		log_error("%s: member of array %s: superblock cannot be written: %s", blk_name(written[i]->dev),
			  blk_name(&r->dev), strerror(-r->sb_ios[i].err));
		atomic_store(&written[i]->state, RAID_FAULTY);
	}
	return nr_good;
}

int raid_sb_update_locked(struct raid *r)
{
	bool missing[RAID_MAX_MEMBERS];
	unsigned nr_failed, nr_good;

	assert_held(&r->lock);
	atomic_store(&r->updating, true);
	/* Who could not be written is faulty, and the others have to say so too. */
	do {
		struct raid_sb_state st = {
			.events = ++r->events, .utime_sec = (uint64_t)time(NULL),
			.resync_sect = r->sb_active ? 0 : r->resync_sect,
			.nr_devs = r->nr_devs, .roles = r->roles, .present = r->present };

		roles_collect(r);
		bitmaps_write(r, r->sb_active || raid_is_degraded(r));
		nr_good = superblocks_write(r, &st, &nr_failed);
	} while (nr_failed && nr_good);
	raid_missing_get(r, missing);
	if (!r->level->can_run(&r->geom, missing))
		atomic_store(&r->failed, true);
	atomic_store(&r->updating, false);
	return nr_good ? 0 : -EIO;
}

/* ---- failing ------------------------------------------------------------------------- */

static void member_fail_locked(struct raid *r, unsigned slot, sect_t member_sect, int err)
{
	struct raid_member *m = r->slots[slot];
	bool missing[RAID_MAX_MEMBERS];
	bool can_run;

	assert_held(&r->lock);
	if (atomic_load(&m->state) == RAID_FAULTY)
		return;
	raid_missing_get(r, missing);
	missing[slot] = true;
	can_run = r->level->can_run(&r->geom, missing);
	if (!can_run && !r->level->drops_last) {
		log_error("%s: slot %u of array %s: write at data sector %" PRIu64 " failed: %s; nothing can replace it",
			  member_name(r, slot), slot, blk_name(&r->dev), member_sect, strerror(-err));
		/* Copies may differ now: not clean before a resync. */
		r->resync_sect = 0;
		return;
	}
	atomic_store(&r->updating, true);
	if (!can_run)
		atomic_store(&r->failed, true);
	atomic_store(&m->state, RAID_FAULTY);
	log_error("%s: slot %u of array %s: write at data sector %" PRIu64 " failed: %s; set faulty, %s",
		  member_name(r, slot), slot, blk_name(&r->dev), member_sect, strerror(-err),
		  can_run ? "the array goes on degraded" : "the array has failed and takes no more writes");
	if (raid_sb_update_locked(r))
		log_error("array %s: no superblock can be written", blk_name(&r->dev));
}

void raid_write_failed(struct raid *r, unsigned slot, sect_t member_sect, int err)
{
	atomic_fetch_add(&r->slots[slot]->nr_write_errors, 1);
	if (!r->level->redundant) {
		log_error("%s: slot %u of array %s: write at data sector %" PRIu64 " failed: %s", member_name(r, slot), slot,
			  blk_name(&r->dev), member_sect, strerror(-err));
		return;
	}
	LOCK_GUARD(&r->lock);
	member_fail_locked(r, slot, member_sect, err);
}

/* ---- clean and active ------------------------------------------------------------------ */

static int mark_active(struct raid *r)
{
	int err;

	LOCK_GUARD(&r->lock);
	if (atomic_load(&r->active))
		return 0;
	r->sb_active = true;
	err = raid_sb_update_locked(r);
	if (!err)
		atomic_store(&r->active, true);
	return err;
}

int raid_write_begin(struct raid *r)
{
	int err = 0;

	atomic_fetch_add(&r->nr_writers, 1);
	atomic_fetch_add_explicit(&r->nr_writes, 1, memory_order_relaxed);
	if (r->level->redundant && unlikely(!atomic_load(&r->active)))
		err = mark_active(r);
	if (!err && unlikely(atomic_load(&r->failed)))
		err = -EIO;
	if (err)
		atomic_fetch_sub(&r->nr_writers, 1);
	return err;
}

int raid_write_end(struct raid *r)
{
	if (unlikely(atomic_load(&r->updating))) {
		os_mutex_lock(&r->lock);
		os_mutex_unlock(&r->lock);
	}
	atomic_fetch_sub(&r->nr_writers, 1);
	return atomic_load(&r->failed) ? -EIO : 0;
}

static int flush_all(struct raid *r)
{
	int err = 0;

	for (unsigned slot = 0; slot < r->geom.nr_disks; slot++) {
		int ferr;

		if (!raid_can_write(r, slot))
			continue;
		ferr = blk_flush(r->slots[slot]->dev);
		if (ferr)
			member_fail_locked(r, slot, 0, ferr);
		if (ferr && (raid_can_write(r, slot) || atomic_load(&r->failed)))
			err = ferr;
	}
	return err;
}

int raid_mark_clean(struct raid *r)
{
	int err;

	LOCK_GUARD(&r->lock);
	if (!atomic_load(&r->active))
		return 0;
	atomic_store(&r->active, false);
	if (atomic_load(&r->nr_writers)) {
		atomic_store(&r->active, true);
		return -EBUSY;
	}
	err = flush_all(r);
	/* What may differ between members stays marked. */
	if (err || atomic_load(&r->failed) || r->resync_sect != MD_SECT_MAX) {
		atomic_store(&r->active, true);
		return err;
	}
	r->sb_active = false;
	return raid_sb_update_locked(r);
}

int raid_idle(struct raid *r)
{
	uint64_t nr_writes = atomic_load(&r->nr_writes);
	int err;

	if (r->read_only)
		return 0;
	os_mutex_lock(&r->lock);
	if (nr_writes != r->nr_writes_seen) {
		r->nr_writes_seen = nr_writes;
		os_mutex_unlock(&r->lock);
		return 0;
	}
	os_mutex_unlock(&r->lock);
	err = raid_mark_clean(r);
	return err == -EBUSY ? 0 : err;
}
