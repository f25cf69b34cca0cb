/*
 * raid_member.c: members that fail, leave, join and are replaced while the array runs.
 *
 *	spare --seat--> rebuilding --recovered--> in sync --fails--> faulty --remove--> gone
 *	  ^-- add                                      ^-- re-add: rebuilding, only what the bitmap names
 *
 * A member that replaces another is rebuilding in repls beside the one that serves in
 * slots; when it is whole it takes the slot, and the other one is faulty. Who wants to
 * change the set of members holds admin, shuts the gate, then takes the lock (S9).
 */
#include <stdlib.h>
#include <sys/random.h>

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

static void change_begin(struct raid *r)
{
	assert_held(&r->admin);
	raid_gate_shut(&r->gate);
	os_mutex_lock(&r->lock);
}

static void change_done(struct raid *r)
{
	atomic_store(&r->sync.stuck, false);
	os_mutex_unlock(&r->lock);
	raid_gate_open(&r->gate);
}

/* The new state of things is in the superblocks when this returns 0. */
static int change_end(struct raid *r)
{
	int err = raid_sb_update_locked(r);

	if (err)
		log_error("array %s: no superblock can be written", blk_name(&r->dev));
	change_done(r);
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

/* [gate, lock] The slot's member, if any, is out of it. */
static void seat(struct raid *r, unsigned slot, struct raid_member *m, bool by_bitmap)
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
	change_begin(r);
	if (atomic_load(&spare->state) == RAID_SPARE) {
		seat(r, slot, spare, false);
		raid_bitmap_copy(r, spare);
		log_info("%s: takes slot %u of array %s and is filled", blk_name(spare->dev), slot, blk_name(&r->dev));
	}
	if (change_end(r))
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
	change_begin(r);
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
	return change_end(r);
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

static int check_writable(const struct raid *r)
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
	int err = check_writable(r);

	if (err)
		return err;
	raid_admin_lock(r);
	err = member_fail(r, dev_nr);
	os_mutex_unlock(&r->admin);
	raid_thread_kick(r);
	raid_events_tell(r);
	return err;
}

/* [gate, lock] */
static void member_unlink(struct raid *r, struct raid_member *m)
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
	change_begin(r);
	member_unlink(r, m);
	err = change_end(r);
	log_info("%s: removed from array %s", blk_name(m->dev), blk_name(&r->dev));
	*dev = m->dev;
	free(m);
	return err;
}

int raid_member_remove(struct raid *r, int dev_nr, struct blk_dev **dev)
{
	int err = check_writable(r);

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

/* ---- joining -------------------------------------------------------------------------------- */

struct joining {
	struct raid *r;
	struct blk_dev *dev;
	enum raid_add how;
	bool has_sb;			/* sb is what was found on it */
	struct raid_sb sb;
};

static const struct raid_member *in_sync_member(const struct raid *r)
{
	for (unsigned i = 0; i < r->nr_members; i++)
		if (atomic_load(&r->members[i]->state) == RAID_IN_SYNC)
			return r->members[i];
	return NULL;
}

static bool is_ours(const struct joining *j)
{
	return j->has_sb && !memcmp(j->sb.info.uuid, in_sync_member(j->r)->sb.info.uuid, sizeof(j->sb.info.uuid));
}

static int join_check_identity(const struct joining *j)
{
	static const uint8_t none[16];
	const struct raid *r = j->r;
	char u1[40], u2[40];

	if (j->has_sb && !is_ours(j) && j->how != RAID_ADD_SPARE) {
		log_error("%s: belongs to another array (uuid %s, this one is %s)", blk_name(j->dev),
			  raid_uuid_text(j->sb.info.uuid, u1), raid_uuid_text(in_sync_member(r)->sb.info.uuid, u2));
		return -EEXIST;
	}
	for (unsigned i = 0; j->has_sb && i < r->nr_members; i++) {
		const struct raid_member *m = r->members[i];
		const struct raid_info *info = &m->sb.info;

		if (!memcmp(info->dev_uuid, none, sizeof(none)) ||
		    memcmp(info->dev_uuid, j->sb.info.dev_uuid, sizeof(none)))
			continue;
		log_error("%s: is device %d of array %s, which has it already: %s, %s, slot %d", blk_name(j->dev),
			  info->dev_nr, blk_name(&r->dev), blk_name(m->dev),
			  raid_member_state_name(atomic_load(&m->state)), atomic_load(&m->slot));
		return -EEXIST;
	}
	return 0;
}

/* Whether for it all slots are empty that the array has members in: it was used apart from them, most likely. */
static bool is_estranged(const struct joining *j)
{
	const struct raid *r = j->r;

	if (!is_ours(j) || j->sb.info.role < 0)
		return false;
	if (j->sb.info.events > r->events)
		return true;
	for (unsigned i = 0; i < r->nr_members; i++) {
		const struct raid_member *m = r->members[i];

		if (atomic_load(&m->state) == RAID_IN_SYNC && raid_sb_has_slot(&j->sb, atomic_load(&m->slot)))
			return false;
	}
	return true;
}

static bool has_number(const struct raid *r, int dev_nr)
{
	for (unsigned i = 0; i < r->nr_members; i++)
		if (r->members[i]->sb.info.dev_nr == dev_nr)
			return true;
	return false;
}

/* Why it cannot come back with what it has; NULL: it can. */
static const char *no_readd_because(const struct joining *j)
{
	struct raid *r = j->r;
	const struct raid_info *info = &j->sb.info;
	const struct raid_member *m;

	if (!j->has_sb)
		return "it has no RAID superblock";
	if (info->role < 0 || (unsigned)info->role >= r->geom.nr_disks)
		return "it was no active member";
	m = r->slots[info->role];
	if (m && raid_member_takes_writes(m))
		return "its slot is taken";
	if (info->recovery_sect != MD_SECT_MAX || info->feature_map & MD_FEATURE_REPLACEMENT)
		return "it was not in sync";
	if (!r->bitmap || !j->sb.bitmap_offset)
		return "there is no bitmap that would tell what was written since it left";
	if (info->events < raid_bitmap_events_cleared(r))
		return "it left too long ago: the bitmap does not reach back that far";
	if ((unsigned)info->dev_nr >= r->nr_devs || has_number(r, info->dev_nr))
		return "its device number is taken";
	return NULL;
}

/* Room for data where the array's members have it, and for superblock and bitmap. */
static int join_check_room(const struct joining *j, const struct raid_sb *sb)
{
	const struct raid *r = j->r;
	uint64_t dev_sects = blk_nr_sects(j->dev), need = sb->info.data_offset + r->geom.member_sects;

	if (sb->info.data_sects >= r->geom.member_sects && need <= dev_sects)
		return 0;
	log_error("%s: too small: %" PRIu64 " sectors, of which %" PRIu64 " are left for data from sector %" PRIu64
		  " on; array %s needs %" PRIu64, blk_name(j->dev), dev_sects, sb->info.data_sects, sb->info.data_offset,
		  blk_name(&r->dev), r->geom.member_sects);
	return -ENOSPC;
}

/* mdadm takes numbers behind those of the slots first. */
static int free_number(const struct raid *r, unsigned max_devs)
{
	unsigned n = MIN(r->nr_devs, max_devs);

	for (unsigned i = 0; i < n; i++) {
		unsigned nr = (r->geom.nr_disks + i) % n;

		if (!has_number(r, (int)nr) && r->roles[nr] < 0)
			return (int)nr;
	}
	log_error("array %s has no number left for another device: %u are taken", blk_name(&r->dev), n);
	return -ENOSPC;
}

static int join_as_spare(struct joining *j, struct raid_member *m)
{
	struct raid *r = j->r;
	const struct raid_member *like = in_sync_member(r);
	uint8_t uuid[16];
	int dev_nr = free_number(r, like->sb.max_devs), err;

	if (dev_nr < 0)
		return dev_nr;
	if (getrandom(uuid, sizeof(uuid), 0) != sizeof(uuid))
		return -EIO;
	err = raid_sb_clone(&like->sb, blk_nr_sects(j->dev), dev_nr, uuid, &m->sb);
	if (!err)
		err = join_check_room(j, &m->sb);
	if (!err)
		err = raid_wipe_superblocks(j->dev);
	if (err)
		return err;
	m->data_offset = m->sb.info.data_offset;
	atomic_init(&m->slot, -1);
	atomic_init(&m->state, RAID_SPARE);
	return 0;
}

static int join_as_it_was(struct joining *j, struct raid_member *m)
{
	int err = join_check_room(j, &j->sb);

	if (err)
		return err;
	m->sb = j->sb;
	m->data_offset = m->sb.info.data_offset;
	atomic_init(&m->write_mostly, m->sb.info.write_mostly);
	atomic_init(&m->slot, -1);
	atomic_init(&m->state, RAID_SPARE);
	return 0;
}

/* m is ready as a spare; in its old slot if it comes back. */
static int join_link(struct joining *j, struct raid_member *m, bool readd)
{
	struct raid *r = j->r;
	int err;

	change_begin(r);
	r->members[r->nr_members++] = m;
	r->has_images |= blk_can_check(m->dev);
	if (readd) {
		seat(r, (unsigned)m->sb.info.role, m, true);
		raid_bitmap_copy(r, m);
	}
	log_info("%s: joins array %s as device %d, %s", blk_name(m->dev), blk_name(&r->dev), m->sb.info.dev_nr,
		 readd ? "only what was written since it left is copied" : "a spare");
	err = raid_sb_update_locked(r);
	if (err)
		member_unlink(r, m);
	change_done(r);
	return err;
}

static int join(struct joining *j, int *dev_nr)
{
	struct raid *r = j->r;
	struct raid_member *m;
	const char *why;
	int err;

	if (r->nr_members == RAID_MAX_MEMBERS || !in_sync_member(r)) {
		log_error("array %s takes no more members: it has %u", blk_name(&r->dev), r->nr_members);
		return -ENOSPC;
	}
	err = raid_sb_load(j->dev, &j->sb);
	if (err && err != -ENOENT && err != -EUCLEAN)
		return err;
	j->has_sb = !err;
	err = join_check_identity(j);
	if (err)
		return err;
	if (j->how != RAID_ADD_SPARE && is_estranged(j)) {
		log_error("%s: has events %" PRIu64 " and array %s has %" PRIu64 ", and it knows none of its members: it was "
			  "used apart from them; as a spare it would lose what it has", blk_name(j->dev),
			  j->sb.info.events, blk_name(&r->dev), r->events);
		return -EINVAL;
	}
	why = j->how == RAID_ADD_SPARE ? "" : no_readd_because(j);
	if (why && j->how == RAID_ADD_READD) {
		log_error("%s: cannot be re-added to array %s: %s", blk_name(j->dev), blk_name(&r->dev), why);
		return -EINVAL;
	}
	m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->dev = j->dev;
	err = why ? join_as_spare(j, m) : join_as_it_was(j, m);
	if (err) {
		free(m);
		return err;
	}
	*dev_nr = m->sb.info.dev_nr;
	err = join_link(j, m, !why);
	if (err)
		free(m);
	return err;
}

int raid_member_add(struct raid *r, struct blk_dev *dev, enum raid_add how, int *dev_nr)
{
	struct joining j = { .r = r, .dev = dev, .how = how };
	int err = check_writable(r);

	*dev_nr = -1;
	if (!err && blk_is_read_only(dev)) {
		log_error("%s: is read-only", blk_name(dev));
		err = -EROFS;
	}
	if (err)
		return err;
	raid_admin_lock(r);
	err = join(&j, dev_nr);
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
	change_begin(r);
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
	return change_end(r);
}

int raid_member_replace(struct raid *r, int dev_nr, int spare_nr)
{
	int err = check_writable(r);

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
	int err = check_writable(r);

	if (err)
		return err;
	raid_admin_lock(r);
	err = member_write_mostly(r, dev_nr, on);
	os_mutex_unlock(&r->admin);
	raid_thread_kick(r);
	return err;
}
