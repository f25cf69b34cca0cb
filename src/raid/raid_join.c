/*
 * raid_join.c: devices that become members while the array runs: as spares, or, where a
 * bitmap tells what they have missed, with what they hold.
 */
#include <stdlib.h>
#include <sys/random.h>

#include "base/log.h"
#include "raid/raid_int.h"

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

	raid_change_begin(r);
	r->members[r->nr_members++] = m;
	if (readd) {
		raid_seat(r, (unsigned)m->sb.info.role, m, true);
		raid_bitmap_copy(r, m);
	}
	log_info("%s: joins array %s as device %d, %s", blk_name(m->dev), blk_name(&r->dev), m->sb.info.dev_nr,
		 readd ? "only what was written since it left is copied" : "a spare");
	err = raid_sb_update_locked(r);
	if (err)
		raid_member_unlink(r, m);
	raid_change_done(r);
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
	int err = raid_check_changeable(r);

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
