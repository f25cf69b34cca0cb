/*
 * raid_action.c: what an array does beside requests, one piece after the other.
 *
 *	idle --> recover	a rebuilding member, or a spare and a slot for it
 *	     --> resync		not cleanly stopped
 *	     --> check, repair	asked for; gives way to the two above
 *
 * S11  A superblock never says more than what is durable: how far a member is filled,
 *      or the array resynchronised, is noted after a flush of what was written.
 *
 * A piece runs like a request, within the gate; between pieces members may change.
 */
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "raid/raid_int.h"

enum {
	SAVE_MSEC = 5000,		/* between checkpoints, */
	SAVE_PARTS = 16,		/* or this part of the whole */
	MARK_MSEC = 3000,
	DEFAULT_MIN_KIB = 1000, DEFAULT_MAX_KIB = 200000,
};

static uint64_t now_msec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

const char *raid_action_name(enum raid_action a)
{
	static const char *const names[] = {
		[RAID_IDLE] = "idle", [RAID_RESYNC] = "resync", [RAID_RECOVER] = "recover",
		[RAID_CHECK] = "check", [RAID_REPAIR] = "repair",
	};

	return names[a];
}

void raid_sync_init(struct raid *r)
{
	r->sync.speed_min_kib = r->opts.speed_min_kib ? r->opts.speed_min_kib : DEFAULT_MIN_KIB;
	r->sync.speed_max_kib = r->opts.speed_max_kib ? r->opts.speed_max_kib : DEFAULT_MAX_KIB;
}

void raid_sync_fini(struct raid *r)
{
	free(r->sync.places);
}

/* ---- what scrub finds ------------------------------------------------------------------ */

void raid_place_add(struct raid *r, sect_t sect, uint64_t nr_sects, int slot, bool repaired)
{
	struct raid_sync *s = &r->sync;

	LOCK_GUARD(&r->lock);
	/* A stripe's data chunks come in turn: the neighbour is one of the last few. */
	for (unsigned i = s->nr_places; i-- > 0;) {
		struct raid_place_found *p = &s->places[i];

		if (p->slot != slot || p->repaired != repaired || p->sect + p->nr_sects != sect)
			continue;
		p->nr_sects += nr_sects;
		return;
	}
	if (!s->places)
		s->places = calloc(RAID_MAX_PLACES, sizeof(*s->places));
	if (!s->places || s->nr_places == RAID_MAX_PLACES)
		return;
	s->places[s->nr_places++] = (struct raid_place_found){
		.sect = sect, .nr_sects = nr_sects, .slot = slot, .repaired = repaired };
}

void raid_mismatch_add(struct raid *r, uint64_t nr_sects, uint64_t nr_repaired)
{
	LOCK_GUARD(&r->lock);
	r->sync.nr_mismatch += nr_sects;
	r->sync.nr_repaired += nr_repaired;
}

unsigned raid_places_get(struct raid *r, struct raid_place_found *out, unsigned max)
{
	LOCK_GUARD(&r->lock);
	if (r->sync.nr_places)
		memcpy(out, r->sync.places, MIN(max, r->sync.nr_places) * sizeof(*out));
	return r->sync.nr_places;
}

/* ---- begin and end ----------------------------------------------------------------------- */

static bool is_scrub(enum raid_action a)
{
	return a == RAID_CHECK || a == RAID_REPAIR;
}

static void mark_locked(struct raid *r)
{
	struct raid_sync *s = &r->sync;
	uint64_t now = now_msec();
	unsigned last = (s->first_mark + s->nr_marks - 1) % RAID_NR_MARKS;

	if (s->nr_marks && now - s->marks[last].msec < MARK_MSEC)
		return;
	if (s->nr_marks == RAID_NR_MARKS)
		s->first_mark = (s->first_mark + 1) % RAID_NR_MARKS;
	else
		s->nr_marks++;
	last = (s->first_mark + s->nr_marks - 1) % RAID_NR_MARKS;
	s->marks[last].msec = now;
	s->marks[last].pos = atomic_load(&s->pos);
}

/* Least that rebuilding members have. */
static uint64_t recover_pos(const struct raid *r)
{
	uint64_t pos = UINT64_MAX;

	for (unsigned i = 0; i < r->nr_members; i++)
		if (atomic_load(&r->members[i]->state) == RAID_REBUILDING)
			pos = MIN(pos, (uint64_t)atomic_load(&r->members[i]->recovered));
	return MIN(pos, raid_sync_end(r, RAID_RECOVER));
}

static void action_begin(struct raid *r, enum raid_action a, uint64_t pos, unsigned flags)
{
	struct raid_sync *s = &r->sync;

	LOCK_GUARD(&r->lock);
	s->action = a;
	s->flags = flags;
	s->from = pos;
	s->end = raid_sync_end(r, a);
	s->nr_unsafe = r->nr_unsafe;
	s->told_percent = s->end ? (unsigned)(pos * 100 / s->end) / 20 * 20 : 0;
	atomic_store(&s->pos, pos);
	s->saved_pos = pos;
	s->saved_msec = now_msec();
	s->nr_marks = 0;
	mark_locked(r);
	if (is_scrub(a)) {
		s->last_scrub = a;
		s->nr_mismatch = s->nr_repaired = 0;
		s->nr_places = 0;
	}
	log_info("array %s: %s begins at sector %" PRIu64 " of %" PRIu64, blk_name(&r->dev), raid_action_name(a), pos,
		 s->end);
	raid_event_add(r, "RebuildStarted", NULL, raid_action_name(a));
}

static void action_end(struct raid *r, const char *how)
{
	struct raid_sync *s = &r->sync;
	char text[96];

	LOCK_GUARD(&r->lock);
	snprintf(text, sizeof(text), "%s %s", raid_action_name(s->action), how);
	if (is_scrub(s->action))
		snprintf(text + strlen(text), sizeof(text) - strlen(text), ", mismatches found: %" PRIu64 " sectors",
			 s->nr_mismatch);
	log_info("array %s: %s", blk_name(&r->dev), text);
	raid_event_add(r, "RebuildFinished", NULL, text);
	s->action = RAID_IDLE;
}

/* What there is to do now, by urgency; begins it. */
static enum raid_action action_choose(struct raid *r)
{
	struct raid_sync *s = &r->sync;
	enum raid_action a = s->action;
	bool recover = raid_spares_start(r);
	uint64_t resync = atomic_load(&r->resync_pos);

	if (atomic_load(&r->failed) && a != RAID_IDLE)
		action_end(r, "stopped: the array has failed");
	if (s->stuck || atomic_load(&r->failed))
		return RAID_IDLE;
	if (recover && a != RAID_RECOVER) {
		if (a != RAID_IDLE)
			action_end(r, "stopped for a recovery");
		action_begin(r, RAID_RECOVER, recover_pos(r), 0);
	} else if (recover) {
		/* Another member may have joined. */
		atomic_store(&s->pos, recover_pos(r));
	} else if (a == RAID_RECOVER) {
		action_end(r, "stopped: no member is left to fill");
	} else if (resync != MD_SECT_MAX && a != RAID_RESYNC) {
		if (a != RAID_IDLE)
			action_end(r, "stopped for a resync");
		action_begin(r, RAID_RESYNC, resync, 0);
	}
	return s->action;
}

/* ---- checkpoints ------------------------------------------------------------------------- */

void raid_sync_save(struct raid *r)
{
	uint64_t recovered[RAID_MAX_MEMBERS], resync = atomic_load(&r->resync_pos);

	/* As it is before the flush. */
	for (unsigned i = 0; i < r->nr_members; i++)
		recovered[i] = atomic_load(&r->members[i]->recovered);
	for (unsigned i = 0; i < r->nr_members; i++) {
		struct raid_member *m = r->members[i];
		int err = raid_member_takes_writes(m) ? blk_flush(m->dev) : 0;

		if (err)
			raid_write_failed(r, m, m->data_offset, err);
	}
	LOCK_GUARD(&r->lock);
	for (unsigned i = 0; i < r->nr_members; i++)
		if (atomic_load(&r->members[i]->state) == RAID_REBUILDING)
			r->members[i]->recovered_safe = recovered[i];
	if (r->resync_sect != MD_SECT_MAX && r->sync.nr_unsafe == r->nr_unsafe)
		r->resync_sect = MIN(resync, raid_sync_end(r, RAID_RESYNC));
	if (raid_sb_update_locked(r))
		log_error("array %s: no superblock can be written", blk_name(&r->dev));
	r->sync.saved_pos = atomic_load(&r->sync.pos);
	r->sync.saved_msec = now_msec();
}

bool raid_sync_is_unsaved(const struct raid *r)
{
	for (unsigned i = 0; i < r->nr_members; i++)
		if (atomic_load(&r->members[i]->state) == RAID_REBUILDING &&
		    atomic_load(&r->members[i]->recovered) != r->members[i]->recovered_safe)
			return true;
	return r->resync_sect != MD_SECT_MAX && atomic_load(&r->resync_pos) != r->resync_sect;
}

static bool save_is_due(const struct raid *r)
{
	const struct raid_sync *s = &r->sync;
	uint64_t pos = atomic_load(&s->pos);

	if (is_scrub(s->action) || pos == s->saved_pos)
		return false;
	return pos - s->saved_pos >= MAX(s->end / SAVE_PARTS, UINT64_C(1)) || now_msec() - s->saved_msec >= SAVE_MSEC;
}

/* ---- pieces ------------------------------------------------------------------------------- */

static int resync_finish(struct raid *r)
{
	bool unsafe;
	int err = 0;

	for (unsigned i = 0; !err && i < r->nr_members; i++)
		if (raid_member_takes_writes(r->members[i]))
			err = blk_flush(r->members[i]->dev);
	if (err)
		return err;
	LOCK_GUARD(&r->lock);
	unsafe = r->nr_unsafe != r->sync.nr_unsafe;
	if (unsafe)
		return -EIO;
	r->resync_sect = MD_SECT_MAX;
	atomic_store(&r->resync_pos, MD_SECT_MAX);
	return r->sb_active ? 0 : raid_sb_update_locked(r);
}

static int action_finish(struct raid *r)
{
	enum raid_action a = r->sync.action;
	int err = a == RAID_RECOVER ? raid_recovered(r) : a == RAID_RESYNC ? resync_finish(r) : 0;

	if (!err)
		action_end(r, a == RAID_RESYNC ? "done: the array is resynchronised" : "done");
	return err;
}

static void progress_tell(struct raid *r)
{
	static const char *const names[] = { "", "Rebuild20", "Rebuild40", "Rebuild60", "Rebuild80" };
	struct raid_sync *s = &r->sync;
	unsigned percent = (unsigned)(atomic_load(&s->pos) * 100 / MAX(s->end, UINT64_C(1)));

	LOCK_GUARD(&r->lock);
	mark_locked(r);
	if (percent < s->told_percent + 20 || percent >= 100)
		return;
	s->told_percent = percent / 20 * 20;
	raid_event_add(r, names[percent / 20], NULL, raid_action_name(s->action));
}

static int piece_run(struct raid *r, uint64_t max_sects)
{
	struct raid_sync *s = &r->sync;
	struct raid_sync_piece p = {
		.action = s->action, .rewrite = s->flags & RAID_SCRUB_REWRITE, .pos = atomic_load(&s->pos), .end = s->end };
	unsigned lane = raid_gate_enter(&r->gate);
	int err;

	max_sects = max_sects ? MAX(ALIGN_DOWN(max_sects, 8), UINT64_C(8)) : UINT64_MAX - p.pos;
	p.end = MIN(p.end, p.pos + max_sects);
	err = r->level->sync(r, &p);
	raid_gate_leave(&r->gate, lane);
	if (err)
		return err;
	if (s->action == RAID_RESYNC)
		atomic_store(&r->resync_pos, p.end);
	atomic_store(&s->pos, p.end);
	return 0;
}

/* It cannot go on. */
static void action_stop(struct raid *r, int err)
{
	struct raid_sync *s = &r->sync;
	char text[80];

	log_error("array %s: %s cannot go on at sector %" PRIu64 " of %" PRIu64 ": %s", blk_name(&r->dev),
		  raid_action_name(s->action), (uint64_t)atomic_load(&s->pos), s->end, strerror(-err));
	if (!is_scrub(s->action))
		raid_sync_save(r);
	snprintf(text, sizeof(text), "stopped at sector %" PRIu64 ": %s", (uint64_t)atomic_load(&s->pos), strerror(-err));
	action_end(r, text);
	atomic_store(&s->stuck, true);
}

static int step(struct raid *r, uint64_t max_sects)
{
	struct raid_sync *s = &r->sync;
	int err = 0;

	if (action_choose(r) == RAID_IDLE)
		return s->stuck ? -EIO : 0;
	if (atomic_load(&s->pos) < s->end)
		err = piece_run(r, max_sects);
	if (!err && atomic_load(&s->pos) >= s->end) {
		err = action_finish(r);
	} else if (!err) {
		progress_tell(r);
		if (save_is_due(r))
			raid_sync_save(r);
	}
	if (err)
		action_stop(r, err);
	return err ? err : 1;
}

int raid_step(struct raid *r, uint64_t max_sects)
{
	int err;

	if (r->read_only || !r->level->redundant)
		return 0;
	raid_admin_lock(r);
	err = step(r, max_sects);
	os_mutex_unlock(&r->admin);
	raid_events_tell(r);
	return err;
}

int raid_action_run(struct raid *r, enum raid_action a)
{
	struct raid_sync *s = &r->sync;
	int err = 0;

	LOCK_GUARD(&r->admin);
	action_begin(r, a, a == RAID_RESYNC ? atomic_load(&r->resync_pos) : 0, 0);
	while (!err && atomic_load(&s->pos) < s->end)
		err = piece_run(r, 0);
	if (!err)
		err = action_finish(r);
	if (err)
		action_stop(r, err);
	return err;
}

/* ---- from outside ---------------------------------------------------------------------------- */


static int action_set(struct raid *r, enum raid_action a, unsigned flags)
{
	struct raid_sync *s = &r->sync;

	if (a == RAID_IDLE) {
		if (is_scrub(s->action))
			action_end(r, "stopped");
		return 0;
	}
	atomic_store(&s->stuck, false);
	if (a == RAID_RESYNC || a == RAID_RECOVER)
		return 0;
	if (s->action != RAID_IDLE) {
		log_error("array %s: %s is under way at sector %" PRIu64 " of %" PRIu64, blk_name(&r->dev),
			  raid_action_name(s->action), (uint64_t)atomic_load(&s->pos), s->end);
		return -EBUSY;
	}
	action_begin(r, a, 0, flags);
	return 0;
}

int raid_action_set(struct raid *r, enum raid_action a, unsigned flags)
{
	int err;

	if (a != RAID_IDLE && !r->level->redundant) {
		log_error("array %s: %s has nothing to compare or to fill from", blk_name(&r->dev), r->level->name);
		return -EINVAL;
	}
	if (a != RAID_IDLE && r->read_only) {
		log_error("array %s is read-only", blk_name(&r->dev));
		return -EROFS;
	}
	raid_admin_lock(r);
	err = action_set(r, a, flags);
	os_mutex_unlock(&r->admin);
	raid_thread_kick(r);
	raid_events_tell(r);
	return err;
}

void raid_speed_set(struct raid *r, uint32_t min_kib, uint32_t max_kib)
{
	LOCK_GUARD(&r->lock);
	if (min_kib)
		r->sync.speed_min_kib = min_kib;
	if (max_kib)
		r->sync.speed_max_kib = max_kib;
}

void raid_status_sync(struct raid *r, struct raid_status *out)
{
	const struct raid_sync *s = &r->sync;
	uint64_t pos = atomic_load(&s->pos), msec, done, resync = atomic_load(&r->resync_pos);

	assert_held(&r->lock);
	out->action = s->action;
	out->mismatch_sects = s->nr_mismatch;
	out->repaired_sects = s->nr_repaired;
	out->nr_places = s->nr_places;
	out->last_scrub = s->last_scrub;
	out->speed_min_kib = s->speed_min_kib;
	out->speed_max_kib = s->speed_max_kib;
	out->unsynced_sects = resync == MD_SECT_MAX ? 0 : raid_sync_end(r, RAID_RESYNC) - resync;
	out->left_sec = UINT64_MAX;
	if (s->action == RAID_IDLE)
		return;
	out->sync_sects = pos;
	out->sync_end = s->end;
	msec = now_msec() - s->marks[s->first_mark].msec;
	done = pos > s->marks[s->first_mark].pos ? pos - s->marks[s->first_mark].pos : 0;
	if (!msec || !done)
		return;
	out->speed_kib = (uint32_t)MIN(done * 500 / msec, (uint64_t)UINT32_MAX);
	out->left_sec = DIV_UP((s->end - pos) * msec / done, UINT64_C(1000));
}
