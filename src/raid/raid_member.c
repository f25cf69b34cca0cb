/*
 * raid_member.c: members that fail, leave, are filled and replaced while the array runs;
 * raid_join.c has those that come.
 *
 *	spare --seat--> rebuilding --recovered--> in sync --fails--> faulty --remove--> gone
 *	  ^-- add                                      ^-- re-add: rebuilding, only what the bitmap names
 *
 * A member that replaces another is rebuilding in repls beside the one that serves in
 * slots; when it is whole it takes the slot, and the other one is faulty. Who wants to
 * change the set of members holds admin, shuts the gate, then takes the lock (S9).
 */
#include <stdlib.h>

#include "base/log.h"
#include "raid/raid_int.h"

/* ---- who is filled ------------------------------------------------------------------- */

void raid_targets_get(struct raid *r, sect_t pos, uint64_t *end, struct raid_targets *t)
{
	t->nr = 0;
	t->by_bitmap = t->only_copies = true;
	for (unsigned i = 0; i < r->nr_members; i++) {
		struct raid_member *m = r->members[i];
		uint64_t recovered = atomic_load(&m->recovered);
		int slot = atomic_load(&m->slot);

		if (atomic_load(&m->state) != RAID_REBUILDING || slot < 0)
			continue;
		if (recovered > pos) {
			*end = MIN(*end, recovered);
			continue;
		}
		t->members[t->nr++] = m;
		t->by_bitmap &= m->by_bitmap;
		t->only_copies &= atomic_load(&m->is_replacement) && raid_can_read(r, (unsigned)slot, UINT64_MAX);
	}
}

void raid_targets_advance(const struct raid_targets *t, sect_t pos)
{
	for (unsigned i = 0; i < t->nr; i++)
		if (atomic_load(&t->members[i]->state) == RAID_REBUILDING)
			atomic_store(&t->members[i]->recovered, pos);
}

/* ---- slots ------------------------------------------------------------------------------ */

void raid_change_begin(struct raid *r)
{
	assert_held(&r->admin);
	raid_gate_shut(&r->gate);
	os_mutex_lock(&r->lock);
}

void raid_change_done(struct raid *r)
{
	atomic_store(&r->sync.stuck, false);
	os_mutex_unlock(&r->lock);
	raid_gate_open(&r->gate);
}

int raid_change_end(struct raid *r)
{
	int err = raid_sb_update_locked(r);

	if (err)
		log_error("array %s: no superblock can be written", blk_name(&r->dev));
	raid_change_done(r);
	return err;
}

static void fill_from(struct raid_member *m, int slot, bool by_bitmap)
{
	atomic_store(&m->slot, slot);
	atomic_store(&m->recovered, 0);
	m->recovered_safe = 0;
	m->by_bitmap = by_bitmap;
	m->why = NULL;
	atomic_store(&m->state, RAID_REBUILDING);
}

void raid_seat(struct raid *r, unsigned slot, struct raid_member *m, bool by_bitmap)
{
	struct raid_member *old = r->slots[slot];

	if (old)
		atomic_store(&old->slot, -1);
	fill_from(m, (int)slot, by_bitmap);
	atomic_store(&r->slots[slot], m);
}

static struct raid_member *find_spare(const struct raid *r)
{
	for (unsigned i = 0; i < r->nr_members; i++)
		if (atomic_load(&r->members[i]->state) == RAID_SPARE)
			return r->members[i];
	return NULL;
}

static void spare_start(struct raid *r, unsigned slot, struct raid_member *spare)
{
	raid_change_begin(r);
	if (atomic_load(&spare->state) == RAID_SPARE) {
		raid_seat(r, slot, spare, false);
		raid_bitmap_copy(r, spare);
		log_info("%s: takes slot %u of array %s and is filled", blk_name(spare->dev), slot, blk_name(&r->dev));
	}
	if (raid_change_end(r))
		return;		/* told there; the next step tries again */
}

bool raid_spares_start(struct raid *r)
{
	bool any = false;

	for (unsigned slot = 0; slot < r->geom.nr_disks && !atomic_load(&r->failed); slot++) {
		struct raid_member *m = r->slots[slot], *repl = r->repls[slot], *spare;

		if (m && raid_member_takes_writes(m)) {
			any |= atomic_load(&m->state) == RAID_REBUILDING;
			any |= repl && atomic_load(&repl->state) == RAID_REBUILDING;
			continue;
		}
		spare = find_spare(r);
		if (!spare)
			continue;
		spare_start(r, slot, spare);
		any |= atomic_load(&spare->state) == RAID_REBUILDING;
	}
	return any;
}

/* [gate, lock] Full: it serves from now on. */
static void member_activate(struct raid *r, struct raid_member *m)
{
	int slot = atomic_load(&m->slot);

	if (atomic_load(&m->is_replacement)) {
		struct raid_member *old = r->slots[slot];

		atomic_store(&r->slots[slot], m);
		atomic_store(&r->repls[slot], NULL);
		atomic_store(&m->is_replacement, false);
		old->why = "it was replaced";
		atomic_store(&old->slot, -1);
		atomic_store(&old->state, RAID_FAULTY);
		log_info("%s: has replaced %s in slot %d of array %s", blk_name(m->dev), blk_name(old->dev), slot,
			 blk_name(&r->dev));
	} else {
		log_info("%s: slot %d of array %s is in sync", blk_name(m->dev), slot, blk_name(&r->dev));
	}
	m->by_bitmap = false;
	atomic_store(&m->state, RAID_IN_SYNC);
	raid_event_add(r, "SpareActive", m, NULL);
}

int raid_recovered(struct raid *r)
{
	uint64_t end = raid_sync_end(r, RAID_RECOVER);
	bool any_replacement = false;

	for (unsigned i = 0; i < r->nr_members; i++) {
		struct raid_member *m = r->members[i];
		int err = atomic_load(&m->state) == RAID_REBUILDING ? blk_flush(m->dev) : 0;

		if (err)
			raid_write_failed(r, m, m->data_offset, err);
	}
	raid_change_begin(r);
	/*
	 * First they are noted to be full, then to have their slots: dying in between must not
	 * leave the one that is replaced faulty and its replacement unfinished.
	 */
	for (unsigned i = 0; i < r->nr_members; i++) {
		struct raid_member *m = r->members[i];

		if (atomic_load(&m->state) != RAID_REBUILDING || atomic_load(&m->recovered) < end)
			continue;
		m->recovered_safe = MD_SECT_MAX;
		any_replacement |= atomic_load(&m->is_replacement);
	}
	if (any_replacement && raid_sb_update_locked(r))
		log_error("array %s: no superblock can be written", blk_name(&r->dev));
	for (unsigned i = 0; i < r->nr_members; i++) {
		struct raid_member *m = r->members[i];

		if (atomic_load(&m->state) == RAID_REBUILDING && m->recovered_safe == MD_SECT_MAX)
			member_activate(r, m);
	}
	return raid_change_end(r);
}

/* ---- by number --------------------------------------------------------------------------- */

static struct raid_member *member_find(struct raid *r, int dev_nr)
{
	for (unsigned i = 0; i < r->nr_members; i++)
		if (r->members[i]->sb.info.dev_nr == dev_nr)
			return r->members[i];
	log_error("array %s has no device %d", blk_name(&r->dev), dev_nr);
	return NULL;
}

int raid_check_changeable(const struct raid *r)
{
	if (r->read_only) {
		log_error("array %s is read-only", blk_name(&r->dev));
		return -EROFS;
	}
	if (!r->level->redundant) {
		log_error("array %s: %s cannot do without a member, nor take one more", blk_name(&r->dev), r->level->name);
		return -EINVAL;
	}
	return 0;
}

static int member_fail(struct raid *r, int dev_nr)
{
	struct raid_member *m = member_find(r, dev_nr);
	int slot;

	if (!m)
		return -ENOENT;
	LOCK_GUARD(&r->lock);
	slot = atomic_load(&m->slot);
	if (slot >= 0 && atomic_load(&m->state) == RAID_IN_SYNC && !atomic_load(&m->is_replacement) &&
	    !raid_can_lose(r, (unsigned)slot)) {
		log_error("%s: array %s cannot do without slot %d", blk_name(m->dev), blk_name(&r->dev), slot);
		return -EBUSY;
	}
	raid_member_fail_locked(r, m, "failed by request", "by request");
	atomic_store(&r->sync.stuck, false);
	return 0;
}

int raid_member_fail(struct raid *r, int dev_nr)
{
	int err = raid_check_changeable(r);

	if (err)
		return err;
	raid_admin_lock(r);
	err = member_fail(r, dev_nr);
	os_mutex_unlock(&r->admin);
	raid_thread_kick(r);
	raid_events_tell(r);
	return err;
}

void raid_member_unlink(struct raid *r, struct raid_member *m)
{
	int slot = atomic_load(&m->slot);
	unsigned i = 0;

	if (slot >= 0 && r->slots[slot] == m)
		atomic_store(&r->slots[slot], NULL);
	if (slot >= 0 && r->repls[slot] == m)
		atomic_store(&r->repls[slot], NULL);
	while (r->members[i] != m)
		i++;
	r->members[i] = r->members[--r->nr_members];
	r->roles[m->sb.info.dev_nr] = RAID_ROLE_SPARE;
	r->present[m->sb.info.dev_nr] = false;
}

static int member_remove(struct raid *r, int dev_nr, struct blk_dev **dev)
{
	struct raid_member *m = member_find(r, dev_nr);
	enum raid_member_state state;
	int err;

	if (!m)
		return -ENOENT;
	state = atomic_load(&m->state);
	if (state != RAID_SPARE && state != RAID_FAULTY) {
		log_error("%s: is %s in slot %d of array %s; it has to fail first", blk_name(m->dev),
			  raid_member_state_name(state), atomic_load(&m->slot), blk_name(&r->dev));
		return -EBUSY;
	}
	raid_change_begin(r);
	raid_member_unlink(r, m);
	err = raid_change_end(r);
	log_info("%s: removed from array %s", blk_name(m->dev), blk_name(&r->dev));
	*dev = m->dev;
	free(m);
	return err;
}

int raid_member_remove(struct raid *r, int dev_nr, struct blk_dev **dev)
{
	int err = raid_check_changeable(r);

	*dev = NULL;
	if (err)
		return err;
	raid_admin_lock(r);
	err = member_remove(r, dev_nr, dev);
	os_mutex_unlock(&r->admin);
	raid_thread_kick(r);
	raid_events_tell(r);
	return err;
}

/* ---- replacing, write-mostly -------------------------------------------------------------- */

static int member_replace(struct raid *r, int dev_nr, int spare_nr)
{
	struct raid_member *m = member_find(r, dev_nr), *spare, *old;
	int slot;

	if (!m)
		return -ENOENT;
	slot = atomic_load(&m->slot);
	old = slot >= 0 ? r->repls[slot] : NULL;
	if (atomic_load(&m->state) != RAID_IN_SYNC || (old && raid_member_takes_writes(old))) {
		log_error("%s: is %s%s: only a member that serves can be replaced, once", blk_name(m->dev),
			  raid_member_state_name(atomic_load(&m->state)), old ? " and being replaced" : "");
		return -EBUSY;
	}
	if (m->sb.info.metadata == RAID_META_090) {
		log_error("array %s: metadata 0.90 has no place for a replacement", blk_name(&r->dev));
		return -EOPNOTSUPP;
	}
	spare = spare_nr >= 0 ? member_find(r, spare_nr) : find_spare(r);
	if (!spare || atomic_load(&spare->state) != RAID_SPARE) {
		log_error("array %s has no spare%s to replace %s with", blk_name(&r->dev), spare_nr >= 0 ? " of that number" : "",
			  blk_name(m->dev));
		return -ENOENT;
	}
	raid_change_begin(r);
	if (old) {
		atomic_store(&old->is_replacement, false);	/* it failed */
		atomic_store(&old->slot, -1);
	}
	fill_from(spare, slot, false);
	atomic_store(&spare->is_replacement, true);
	atomic_store(&r->repls[slot], spare);
	raid_bitmap_copy(r, spare);
	log_info("%s: is copied to %s, which will replace it in slot %d of array %s", blk_name(m->dev),
		 blk_name(spare->dev), slot, blk_name(&r->dev));
	return raid_change_end(r);
}

int raid_member_replace(struct raid *r, int dev_nr, int spare_nr)
{
	int err = raid_check_changeable(r);

	if (err)
		return err;
	raid_admin_lock(r);
	err = member_replace(r, dev_nr, spare_nr);
	os_mutex_unlock(&r->admin);
	raid_thread_kick(r);
	raid_events_tell(r);
	return err;
}

static int member_write_mostly(struct raid *r, int dev_nr, bool on)
{
	struct raid_member *m = member_find(r, dev_nr);

	if (!m)
		return -ENOENT;
	if (m->sb.info.metadata == RAID_META_090) {
		log_error("array %s: write-mostly cannot be changed with metadata 0.90", blk_name(&r->dev));
		return -EOPNOTSUPP;
	}
	LOCK_GUARD(&r->lock);
	atomic_store(&m->write_mostly, on);
	m->sb.info.write_mostly = on;
	return raid_sb_update_locked(r);
}

int raid_member_write_mostly(struct raid *r, int dev_nr, bool on)
{
	int err = raid_check_changeable(r);

	if (err)
		return err;
	raid_admin_lock(r);
	err = member_write_mostly(r, dev_nr, on);
	os_mutex_unlock(&r->admin);
	raid_thread_kick(r);
	return err;
}
