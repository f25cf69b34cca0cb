/*
 * raid_state.c: the states of members, and the superblocks that follow them.
 *
 * S7   A member that misses a write is faulty in the superblocks of all others, under
 *      a higher event count, before that write is acknowledged.
 * S8   Superblocks say active before the first write after they said clean, and
 *      clean only after a flush with no write under way.
 * S14  The events of members in service never differ by more than one, whenever the power goes: who is
 *      behind after a crash catches up before the others get further.
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
#include "base/plant.h"
#include "raid/raid_int.h"

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

bool raid_can_lose(const struct raid *r, unsigned slot)
{
	bool missing[RAID_MAX_MEMBERS];

	raid_missing_get(r, missing);
	missing[slot] = true;
	return r->level->can_run(&r->geom, missing);
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
		struct raid_member *m = r->members[i];
		enum raid_member_state state = atomic_load(&m->state);
		unsigned dev_nr = (unsigned)m->sb.info.dev_nr;
		/* 0.90 has no place for how far a rebuild has come. */
		bool has_role = state == RAID_IN_SYNC ||
				(state == RAID_REBUILDING && m->sb.info.metadata != RAID_META_090);

		if (has_role)
			r->roles[dev_nr] = (int16_t)atomic_load(&m->slot);
		else if (state == RAID_SPARE || state == RAID_REBUILDING)
			r->roles[dev_nr] = RAID_ROLE_SPARE;
		else if (!m->is_left_out)
			r->roles[dev_nr] = RAID_ROLE_FAULTY;
		r->present[dev_nr] = state != RAID_MISSING && state != RAID_FAULTY;
	}
}

static const char *event_of(const struct raid_member *m)
{
	return atomic_load(&m->state) == RAID_IN_SYNC ? "Fail" : "FailSpare";
}

/* Faulty; the copy that was being made of it takes its slot (S10). */
static void member_leave_service(struct raid *r, struct raid_member *m)
{
	int slot = atomic_load(&m->slot);
	struct raid_member *repl;

	atomic_store(&m->state, RAID_FAULTY);
	if (slot < 0 || atomic_load(&m->is_replacement))
		return;
	repl = r->repls[slot];
	if (!repl || !raid_member_takes_writes(repl))
		return;
	atomic_store(&repl->is_replacement, false);
	atomic_store(&r->slots[slot], repl);
	atomic_store(&r->repls[slot], NULL);
	atomic_store(&m->slot, -1);
}

/*
 * One round: all that are not written at these events yet. Returns how many superblocks were
 * written, *nr_failed how many could not be.
 */
static unsigned superblocks_write(struct raid *r, const struct raid_sb_state *st, unsigned *nr_failed)
{
	struct raid_member *written[RAID_MAX_MEMBERS];
	unsigned nr = 0, nr_good = 0;

	for (unsigned i = 0; i < r->nr_members; i++) {
		struct raid_member *m = r->members[i];

		if (!has_superblock(m) || m->sb.info.events == st->events)
			continue;
		m->sb.info.recovery_sect = atomic_load(&m->state) == RAID_REBUILDING ? m->recovered_safe : MD_SECT_MAX;
		m->sb.is_replacement = atomic_load(&m->is_replacement);
		m->sb.by_bitmap = m->by_bitmap;
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
		if (atomic_load(&written[i]->state) != RAID_FAULTY)
			raid_event_add(r, event_of(written[i]), written[i], "superblock cannot be written");
		written[i]->why = "its superblock could not be written";
		member_leave_service(r, written[i]);
	}
	return nr_good;
}

static struct raid_sb_state state_now(struct raid *r)
{
	roles_collect(r);
	return (struct raid_sb_state){
		.events = r->events, .utime_sec = (uint64_t)time(NULL), .resync_sect = r->sb_active ? 0 : r->resync_sect,
		.nr_devs = r->nr_devs, .roles = r->roles, .present = r->present };
}

int raid_sb_update_locked(struct raid *r)
{
	struct raid_sb_state st;
	bool missing[RAID_MAX_MEMBERS];
	unsigned nr_failed, nr_good;

	assert_held(&r->lock);
	atomic_store(&r->updating, true);
	st = state_now(r);
	superblocks_write(r, &st, &nr_failed);	/* S14; most times nobody is behind */
	/* Who could not be written is faulty, and the others have to say so too. */
	do {
		r->events++;
		st = state_now(r);
		raid_bitmap_head_write(r);
		nr_good = superblocks_write(r, &st, &nr_failed);
	} while (nr_failed && nr_good);
	raid_missing_get(r, missing);
	if (!r->level->can_run(&r->geom, missing))
		atomic_store(&r->failed, true);
	atomic_store(&r->updating, false);
	return nr_good ? 0 : -EIO;
}

/* ---- failing ------------------------------------------------------------------------- */

bool raid_member_fail_locked(struct raid *r, struct raid_member *m, const char *log, const char *why)
{
	enum raid_member_state state = atomic_load(&m->state);
	int slot = atomic_load(&m->slot);
	bool serves = slot >= 0 && !atomic_load(&m->is_replacement);
	bool can_run;

	assert_held(&r->lock);
	if (state == RAID_FAULTY)
		return true;
	can_run = !serves || raid_can_lose(r, (unsigned)slot);
	if (!can_run && !r->level->drops_last) {
		log_error("%s: slot %d of array %s: %s; nothing can replace it", blk_name(m->dev), slot, blk_name(&r->dev),
			  log);
		/* Copies may differ now: not clean before a resync. */
		r->resync_sect = 0;
		r->nr_unsafe++;
		atomic_store(&r->resync_pos, 0);
		return false;
	}
	atomic_store(&r->updating, true);
	if (!can_run)
		atomic_store(&r->failed, true);
	log_error("%s: slot %d of array %s: %s; set faulty, %s", blk_name(m->dev), slot, blk_name(&r->dev), log,
		  !can_run ? "the array has failed and takes no more writes"
		  : state == RAID_IN_SYNC && serves ? "the array goes on degraded" : "the array goes on without it");
	raid_event_add(r, event_of(m), m, why);
	m->why = why;
	member_leave_service(r, m);
	if (!PLANTED(PLANT_NO_EVENTS) && raid_sb_update_locked(r))
		log_error("array %s: no superblock can be written", blk_name(&r->dev));
	raid_thread_kick(r);
	return true;
}

bool raid_tally_add(struct raid_tally *t, unsigned most)
{
	enum { HOUR_SEC = 3600 };
	struct timespec now;
	uint64_t hours;

	clock_gettime(CLOCK_MONOTONIC, &now);
	hours = t->level ? ((uint64_t)now.tv_sec - t->since_sec) / HOUR_SEC : 0;
	t->level = hours < 32 ? t->level >> hours : 0;
	if (!t->level || hours)
		t->since_sec = (uint64_t)now.tv_sec;
	return ++t->level > most;
}

void raid_member_over_limit(struct raid *r, struct raid_member *m, const char *log, const char *why)
{
	int slot = atomic_load(&m->slot);

	assert_held(&r->lock);
	if (!r->level->redundant || r->read_only)
		return;
	if (slot >= 0 && !atomic_load(&m->is_replacement) && !raid_can_lose(r, (unsigned)slot))
		return;
	raid_member_fail_locked(r, m, log, why);
}

void raid_read_failed(struct raid *r, struct raid_member *m, sect_t dev_sect, int err)
{
	unsigned most = r->opts.max_read_errors ? r->opts.max_read_errors : RAID_DEFAULT_READ_ERRORS;
	char text[80];

	atomic_fetch_add(&m->nr_read_errors, 1);
	log_warn("%s: slot %d of array %s: read at data sector %" PRIu64 " failed: %s", blk_name(m->dev),
		 atomic_load(&m->slot), blk_name(&r->dev), dev_sect - m->data_offset, strerror(-err));
	LOCK_GUARD(&r->lock);
	if (!raid_tally_add(&m->read_tally, most))
		return;
	snprintf(text, sizeof(text), "%u read errors within about an hour are too many", m->read_tally.level);
	raid_member_over_limit(r, m, text, "too many read errors");
}

void raid_write_failed(struct raid *r, struct raid_member *m, sect_t dev_sect, int err)
{
	char text[160];
	const char *why;

	atomic_fetch_add(&m->nr_write_errors, 1);
	snprintf(text, sizeof(text), "write at data sector %" PRIu64 " failed: %s", dev_sect - m->data_offset,
		 strerror(-err));
	if (!r->level->redundant) {
		log_error("%s: slot %d of array %s: %s", blk_name(m->dev), atomic_load(&m->slot), blk_name(&r->dev), text);
		return;
	}
	err = blk_check(m->dev, false);
	why = err ? raid_watch_text(err) : NULL;
	LOCK_GUARD(&r->lock);
	raid_member_fail_locked(r, m, why ? why : text, why ? why : "a write failed");
}

/* ---- writes outside of runs -------------------------------------------------------------- */

static bool member_write(struct raid *r, struct raid_member *m, sect_t member_sect, const void *buf, size_t len_bytes)
{
	int err = blk_write(m->dev, m->data_offset + member_sect, buf, len_bytes);

	if (err)
		raid_write_failed(r, m, m->data_offset + member_sect, err);
	return !err;
}

static bool slot_write(struct raid *r, unsigned slot, sect_t member_sect, const void *buf, size_t len_bytes)
{
	struct raid_member *repl = r->repls[slot], *m = r->slots[slot];
	bool done = member_write(r, m, member_sect, buf, len_bytes);

	if (repl && repl != m && raid_member_takes_writes(repl))
		done &= member_write(r, repl, member_sect, buf, len_bytes);
	return done;
}

void raid_slot_write(struct raid *r, unsigned slot, sect_t member_sect, const void *buf, size_t len_bytes)
{
	slot_write(r, slot, member_sect, buf, len_bytes);
}

void raid_slot_mend(struct raid *r, unsigned slot, sect_t member_sect, const void *buf, size_t len_bytes)
{
	struct raid_member *m = r->slots[slot];

	if (!slot_write(r, slot, member_sect, buf, len_bytes))
		return;
	atomic_fetch_add(&m->nr_corrected, 1);
	log_info("%s: slot %u of array %s: data sector %" PRIu64 " rewritten from redundancy", blk_name(m->dev), slot,
		 blk_name(&r->dev), member_sect);
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

int raid_write_begin(struct raid *r, unsigned *epoch)
{
	unsigned e;
	int err = 0;

	/* Whoever empties an epoch has changed the current one before. */
	for (e = atomic_load(&r->epoch);; e = atomic_load(&r->epoch)) {
		atomic_fetch_add(&r->nr_writers[e], 1);
		if (likely(atomic_load(&r->epoch) == e))
			break;
		atomic_fetch_sub(&r->nr_writers[e], 1);
	}
	*epoch = e;
	atomic_fetch_add_explicit(&r->nr_writes, 1, memory_order_relaxed);
	if (r->level->redundant && unlikely(!atomic_load(&r->active)))
		err = mark_active(r);
	if (!err && unlikely(atomic_load(&r->failed)))
		err = -EIO;
	if (err)
		atomic_fetch_sub(&r->nr_writers[e], 1);
	return err;
}

int raid_write_end(struct raid *r, unsigned epoch)
{
	if (unlikely(atomic_load(&r->updating))) {
		os_mutex_lock(&r->lock);
		os_mutex_unlock(&r->lock);
	}
	atomic_fetch_sub(&r->nr_writers[epoch], 1);
	return atomic_load(&r->failed) ? -EIO : 0;
}

int raid_flush_locked(struct raid *r)
{
	int err = 0;

	for (unsigned i = 0; i < r->nr_members; i++) {
		struct raid_member *m = r->members[i];
		int ferr;

		if (!raid_member_takes_writes(m))
			continue;
		ferr = blk_flush(m->dev);
		if (ferr && r->level->redundant)
			raid_member_fail_locked(r, m, "flush failed", "a flush failed");
		if (ferr && (raid_member_takes_writes(m) || atomic_load(&r->failed)))
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
	if (atomic_load(&r->nr_writers[0]) || atomic_load(&r->nr_writers[1])) {
		atomic_store(&r->active, true);
		return -EBUSY;
	}
	err = raid_flush_locked(r);
	if (!err)
		err = raid_bitmap_clean(r);
	/* What may differ between members stays marked. */
	if (err || atomic_load(&r->failed)) {
		atomic_store(&r->active, true);
		return err;
	}
	/* With how far a resync has come, if there is one. */
	r->sb_active = false;
	return raid_sb_update_locked(r);
}
