/*
 * raid_assemble.c: members in any order to an array. Each step refuses what it finds
 * wrong by the member's name; nothing is written before all steps have passed.
 *
 * The superblock with the highest event count speaks for the array: level, sizes,
 * and what has become of each device. A member may lag one event behind, since a
 * crash can come between the superblocks of one update, and no write depends on an
 * update before all of them are on disk (S7, S8). One that lags further is stale. How
 * far a member is filled is what its own superblock says; so one that the update was
 * to give a slot, but that still takes itself for a spare, is one: it holds nothing.
 */
#include <stdlib.h>

#include "base/log.h"
#include "raid/raid_io.h"

struct assembly {
	const struct raid_open_opts *opts;
	struct raid *r;
	const struct raid_member *ref;	/* the freshest */
};

static const char *name_of(const struct raid_member *m)
{
	return blk_name(m->dev);
}

static int load_members(struct assembly *a, struct blk_dev **devs, unsigned nr)
{
	struct raid *r = a->r;

	for (unsigned i = 0; i < nr; i++) {
		struct raid_member *m = r->members[i];
		int err;

		m->dev = devs[i];
		m->slot = -1;
		atomic_store(&m->state, RAID_MISSING);
		err = raid_sb_load(devs[i], &m->sb);
		if (err == -ENOENT) {
			log_error("%s: no RAID superblock found", name_of(m));
			return -EINVAL;
		}
		if (err)
			return err;
		if (!a->opts->read_only && blk_is_read_only(devs[i])) {
			log_error("%s: member is read-only", name_of(m));
			return -EROFS;
		}
		m->data_offset = m->sb.info.data_offset;
		atomic_init(&m->write_mostly, m->sb.info.write_mostly);
		if (!a->ref || m->sb.info.events > a->ref->sb.info.events)
			a->ref = m;
	}
	return 0;
}

static int check_same_array(const struct assembly *a, const struct raid_member *m)
{
	const struct raid_info *x = &m->sb.info, *ref = &a->ref->sb.info;
	char u1[40], u2[40];

	if (memcmp(x->uuid, ref->uuid, sizeof(x->uuid))) {
		log_error("%s belongs to another array (uuid %s) than %s (uuid %s)", name_of(m),
			  raid_uuid_text(x->uuid, u1), name_of(a->ref), raid_uuid_text(ref->uuid, u2));
		return -EINVAL;
	}
	/* Stale members of an array that was grown since may differ; they are left out anyhow. */
	if (x->events + 1 < ref->events)
		return 0;
	if (x->level != ref->level || x->nr_disks != ref->nr_disks || x->layout != ref->layout ||
	    x->chunk_sects != ref->chunk_sects || x->size_sects != ref->size_sects) {
		log_error("%s: level %d, %u disks, layout %" PRIu32 ", chunk %" PRIu32 ", size %" PRIu64 " differ from %s: "
			  "%d, %u, %" PRIu32 ", %" PRIu32 ", %" PRIu64, name_of(m), x->level, x->nr_disks, x->layout,
			  x->chunk_sects, x->size_sects, name_of(a->ref), ref->level, ref->nr_disks, ref->layout,
			  ref->chunk_sects, ref->size_sects);
		return -EINVAL;
	}
	return 0;
}

/* The number of a device that left may have been given to another since. */
static bool is_renumbered(const struct assembly *a, const struct raid_info *x, const struct raid_info *y)
{
	return x->metadata != RAID_META_090 && MIN(x->events, y->events) + 1 < a->ref->sb.info.events;
}

static int check_doubles(const struct assembly *a)
{
	static const uint8_t none[16];
	const struct raid *r = a->r;

	for (unsigned i = 0; i < r->nr_members; i++)
		for (unsigned j = 0; j < i; j++) {
			const struct raid_info *x = &r->members[i]->sb.info, *y = &r->members[j]->sb.info;
			bool same_uuid = memcmp(x->dev_uuid, none, sizeof(none)) &&
					 !memcmp(x->dev_uuid, y->dev_uuid, sizeof(none));

			if (!same_uuid && (x->dev_nr != y->dev_nr || is_renumbered(a, x, y)))
				continue;
			log_error("%s and %s are the same member: device %d of the array", name_of(r->members[j]),
				  name_of(r->members[i]), x->dev_nr);
			return -EINVAL;
		}
	return 0;
}

static int check_features(const struct raid_member *m)
{
	static const struct {
		uint32_t bits;
		const char *what;
	} refused[] = {
		{ MD_FEATURE_RESHAPE_ACTIVE | MD_FEATURE_RESHAPE_BACKWARDS | MD_FEATURE_NEW_OFFSET, "a reshape under way" },
		{ MD_FEATURE_BAD_BLOCKS, "a list of bad blocks that is not empty" },
		{ MD_FEATURE_CLUSTERED, "clustering" },
		{ MD_FEATURE_JOURNAL, "a write journal" },
		{ MD_FEATURE_PPL | MD_FEATURE_MULTIPLE_PPLS, "a partial parity log" },
	};
	uint32_t known = MD_FEATURE_BITMAP_OFFSET | MD_FEATURE_RECOVERY_OFFSET | MD_FEATURE_REPLACEMENT |
			 MD_FEATURE_RECOVERY_BITMAP | MD_FEATURE_RAID0_LAYOUT;
	uint32_t features = m->sb.info.feature_map;

	for (unsigned i = 0; i < ARRAY_LEN(refused); i++)
		if (features & refused[i].bits) {
			log_error("%s: array has %s, which is not supported", name_of(m), refused[i].what);
			return -EOPNOTSUPP;
		}
	if (features & ~known) {
		log_error("%s: array has unknown features 0x%" PRIx32, name_of(m), features & ~known);
		return -EOPNOTSUPP;
	}
	return 0;
}

static int check_members(struct assembly *a)
{
	struct raid *r = a->r;
	int err;

	for (unsigned i = 0; i < r->nr_members; i++) {
		err = check_same_array(a, r->members[i]);
		if (err)
			return err;
	}
	err = check_doubles(a);
	for (unsigned i = 0; !err && i < r->nr_members; i++)
		err = check_features(r->members[i]);
	if (err)
		return err;
	r->level = raid_level_find(a->ref->sb.info.level);
	if (!r->level) {
		log_error("%s: RAID level %d is not supported", name_of(a->ref), a->ref->sb.info.level);
		return -EOPNOTSUPP;
	}
	if (a->ref->sb.info.nr_disks < r->level->min_disks || a->ref->sb.info.nr_disks > RAID_MAX_MEMBERS) {
		log_error("%s: %s over %u disks", name_of(a->ref), r->level->name, a->ref->sb.info.nr_disks);
		return -EUCLEAN;
	}
	return 0;
}

/* ---- places ------------------------------------------------------------------------- */

/* Why a member is left out; NULL: it takes part. */
static const char *left_out_because(const struct assembly *a, const struct raid_member *m, int role)
{
	const struct raid_info *info = &m->sb.info;

	if (role == RAID_ROLE_JOURNAL)
		return "it is a journal";
	if (role == RAID_ROLE_FAULTY)
		return "it was set faulty";
	if (role >= 0 && info->events + 1 < a->ref->sb.info.events)
		return "it is stale";
	if (role < 0 && info->role >= 0)
		return "it was removed";
	return NULL;
}

static int take_slot(struct assembly *a, struct raid_member *m, int role)
{
	struct raid *r = a->r;
	bool is_replacement = m->sb.info.feature_map & MD_FEATURE_REPLACEMENT;
	_Atomic(struct raid_member *) *slots = is_replacement ? r->repls : r->slots;

	if ((unsigned)role >= a->ref->sb.info.nr_disks) {
		log_error("%s: slot %d of an array of %u", name_of(m), role, a->ref->sb.info.nr_disks);
		return -EUCLEAN;
	}
	if (slots[role]) {
		struct raid_member *other = slots[role];

		log_error("%s and %s both have slot %d", name_of(other), name_of(m), role);
		return -EINVAL;
	}
	slots[role] = m;
	m->slot = role;
	m->by_bitmap = m->sb.info.feature_map & MD_FEATURE_RECOVERY_BITMAP;
	atomic_store(&m->is_replacement, is_replacement);
	atomic_store(&m->recovered, m->sb.info.recovery_sect);
	m->recovered_safe = m->sb.info.recovery_sect;
	/* A replacement that is full takes its slot with the first step. */
	atomic_store(&m->state, m->sb.info.recovery_sect == MD_SECT_MAX && !is_replacement ? RAID_IN_SYNC
											     : RAID_REBUILDING);
	return 0;
}

/* A replacement whose slot has no other member is the slot's member. */
static void settle_replacements(struct raid *r)
{
	for (unsigned slot = 0; slot < RAID_MAX_MEMBERS; slot++) {
		struct raid_member *m = r->repls[slot];

		if (!m || r->slots[slot])
			continue;
		r->slots[slot] = m;
		r->repls[slot] = NULL;
		atomic_store(&m->is_replacement, false);
		if (m->sb.info.recovery_sect == MD_SECT_MAX)
			atomic_store(&m->state, RAID_IN_SYNC);
	}
}

/*
 * Both were written to since they parted: the freshest no longer knows this one, and for
 * this one all slots are empty that the freshest has members in. What one half has, the
 * other lacks.
 */
static int check_split(const struct assembly *a, const struct raid_member *m, int role)
{
	const struct raid *r = a->r;
	unsigned nr = 0;

	if (role >= 0 || m->sb.info.role < 0 || !raid_level_find(a->ref->sb.info.level)->redundant)
		return 0;
	for (unsigned i = 0; i < r->nr_members; i++) {
		const struct raid_member *other = r->members[i];
		unsigned dev_nr = (unsigned)other->sb.info.dev_nr;

		if (other->sb.info.events + 1 < a->ref->sb.info.events || raid_sb_role(&a->ref->sb, dev_nr) < 0)
			continue;
		if (raid_sb_has_slot(&m->sb, raid_sb_role(&a->ref->sb, dev_nr)))
			return 0;
		nr++;
	}
	if (!nr)
		return 0;
	log_error("%s and %s were both written to since they parted (events %" PRIu64 " and %" PRIu64
		  "), neither knows the other any more: choose one half and leave the other out", name_of(a->ref),
		  name_of(m), a->ref->sb.info.events, m->sb.info.events);
	return -EINVAL;
}

static int place_members(struct assembly *a)
{
	struct raid *r = a->r;

	for (unsigned i = 0; i < r->nr_members; i++) {
		struct raid_member *m = r->members[i];
		int role = raid_sb_role(&a->ref->sb, (unsigned)m->sb.info.dev_nr);
		const char *why;
		int err;

		if (role >= 0 && m->sb.info.role == RAID_ROLE_SPARE && m->sb.info.metadata != RAID_META_090)
			role = RAID_ROLE_SPARE;
		why = left_out_because(a, m, role);
		err = check_split(a, m, role);
		if (err)
			return err;

		if (why) {
			log_warn("%s: left out: %s (events %" PRIu64 ", the array has %" PRIu64 ")", name_of(m), why,
				 m->sb.info.events, a->ref->sb.info.events);
			atomic_store(&m->state, RAID_FAULTY);
			m->is_left_out = true;
			m->why = why;
			continue;
		}
		if (role == RAID_ROLE_SPARE) {
			atomic_store(&m->state, RAID_SPARE);
			continue;
		}
		err = take_slot(a, m, role);
		if (err)
			return err;
	}
	settle_replacements(r);
	return 0;
}

/* Roles of all device numbers; a slot's number whose device is not here has none any more. */
static int roles_init(struct assembly *a)
{
	struct raid *r = a->r;

	r->nr_devs = a->ref->sb.max_devs;
	if (a->ref->sb.info.metadata == RAID_META_090)
		r->nr_devs = MD_090_MAX_DEVS;
	for (unsigned i = 0; i < r->nr_members; i++)
		r->nr_devs = MAX(r->nr_devs, (unsigned)r->members[i]->sb.info.dev_nr + 1);
	r->roles = calloc(r->nr_devs, sizeof(*r->roles));
	r->present = calloc(r->nr_devs, sizeof(*r->present));
	if (!r->roles || !r->present)
		return -ENOMEM;
	for (unsigned i = 0; i < r->nr_devs; i++) {
		int role = raid_sb_role(&a->ref->sb, i);

		r->roles[i] = role >= 0 ? RAID_ROLE_SPARE : (int16_t)role;
	}
	return 0;
}

/* ---- geometry and tolerance ------------------------------------------------------------ */

static int check_room(const struct raid *r, const struct raid_member *m)
{
	const struct raid_info *info = &m->sb.info;
	uint64_t dev_sects = blk_nr_sects(m->dev);
	uint64_t need = r->level->redundant ? r->geom.member_sects : info->data_sects;

	if (need <= dev_sects && info->data_offset <= dev_sects - need)
		return 0;
	log_error("%s: too small: %" PRIu64 " sectors, data takes %" PRIu64 " from sector %" PRIu64 " on", name_of(m),
		  dev_sects, need, info->data_offset);
	return -EINVAL;
}

static void list_missing(const struct raid *r, unsigned nr_disks)
{
	char text[128];
	size_t at = 0;

	for (unsigned slot = 0; slot < nr_disks && at < sizeof(text) - 8; slot++)
		if (!r->slots[slot] || atomic_load(&r->slots[slot]->state) != RAID_IN_SYNC)
			at += (size_t)snprintf(text + at, sizeof(text) - at, " %u", slot);
	log_error("%s of %u disks: too few members; without one:%s", r->level->name, nr_disks, text);
}

static int geometry_init(struct assembly *a)
{
	struct raid *r = a->r;
	const struct raid_info *info = &a->ref->sb.info;
	uint64_t sects[RAID_MAX_MEMBERS] = { 0 };
	bool missing[RAID_MAX_MEMBERS];
	int err;

	for (unsigned slot = 0; slot < info->nr_disks; slot++) {
		if (!r->level->redundant && !r->slots[slot]) {
			list_missing(r, info->nr_disks);
			return -ENODEV;
		}
		sects[slot] = r->level->redundant ? info->size_sects : r->slots[slot]->sb.info.data_sects;
	}
	err = raid_geom_init(&r->geom, info->level, info->layout, info->chunk_sects, info->nr_disks, sects);
	if (err)
		return err == -EINVAL ? -EUCLEAN : err;
	for (unsigned i = 0; i < r->nr_members; i++) {
		if (atomic_load(&r->members[i]->state) == RAID_FAULTY)
			continue;
		err = check_room(r, r->members[i]);
		if (err)
			return err;
	}
	raid_missing_get(r, missing);
	if (!r->level->can_run(&r->geom, missing)) {
		list_missing(r, info->nr_disks);
		return -ENODEV;
	}
	return 0;
}

static int check_state(struct assembly *a)
{
	struct raid *r = a->r;
	const struct raid_info *info = &a->ref->sb.info;
	bool degraded = raid_is_degraded(r), dirty = r->level->redundant && info->resync_sect != MD_SECT_MAX;

	r->events = info->events;
	r->resync_sect = dirty ? info->resync_sect : MD_SECT_MAX;
	atomic_init(&r->resync_pos, r->resync_sect);
	r->sb_active = dirty;
	atomic_init(&r->active, dirty);
	if (degraded && a->opts->no_degraded) {
		log_error("array %s is degraded", blk_name(&r->dev));
		return -EROFS;
	}
	if (degraded && !r->read_only && a->opts->write_degraded &&
	    !a->opts->write_degraded(a->opts->degraded_arg, blk_name(&r->dev)))
		r->read_only = r->dev.read_only = true;
	return 0;
}

/* Once the bitmap is known. */
static int check_certainty(const struct assembly *a)
{
	const struct raid *r = a->r;
	uint64_t end = raid_sync_end(r, RAID_RESYNC), nr_sects = end - MIN(r->resync_sect, end);
	struct raid_status st = { .has_bitmap = false };
	char where[96];

	if (r->resync_sect == MD_SECT_MAX || !r->geom.nr_parity || r->read_only || a->opts->force ||
	    !raid_is_degraded(r))
		return 0;
	raid_bitmap_status(r, &st);
	if (st.has_bitmap && !st.bitmap_dirty)
		return 0;
	if (st.has_bitmap)
		snprintf(where, sizeof(where), "%" PRIu64 " of %" PRIu64 " regions of %" PRIu32 " KiB", st.bitmap_dirty,
			 st.bitmap_bits, st.bitmap_chunk_bytes / 1024);
	else
		snprintf(where, sizeof(where), "%" PRIu64 " stripes, all there are without a bitmap,",
			 nr_sects >> r->geom.chunk_shift);
	log_error("array %s was not stopped cleanly and is degraded: what its missing member had in %s cannot be told for "
		  "sure where writes were under way; assemble it read-only or with force", blk_name(&r->dev), where);
	return -EUCLEAN;
}

static void tell(const struct assembly *a)
{
	const struct raid *r = a->r;
	unsigned nr_in_sync = 0, nr_spares = 0;

	for (unsigned i = 0; i < r->nr_members; i++) {
		nr_in_sync += atomic_load(&r->members[i]->state) == RAID_IN_SYNC;
		nr_spares += atomic_load(&r->members[i]->state) == RAID_SPARE;
	}
	if (nr_in_sync < r->geom.nr_disks)
		log_warn("array %s: %s, degraded: %u of %u members in sync, %u spares", blk_name(&r->dev), r->level->name,
			 nr_in_sync, r->geom.nr_disks, nr_spares);
	else if (!a->opts->quiet)
		log_info("array %s: %s, %u members, %u spares", blk_name(&r->dev), r->level->name, nr_in_sync, nr_spares);
}

/* ---- all together ------------------------------------------------------------------------ */

static struct raid *raid_alloc(unsigned nr, const struct raid_open_opts *opts)
{
	struct raid *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	os_mutex_init(&r->lock, RANK_RAID);
	os_mutex_init(&r->admin, RANK_RAID_ADMIN);
	raid_gate_init(&r->gate);
	r->alloc = opts->alloc;
	r->opts = *opts;
	r->read_only = opts->read_only;
	r->members = calloc(RAID_MAX_MEMBERS, sizeof(*r->members));
	r->slots = calloc(RAID_MAX_MEMBERS, sizeof(*r->slots));
	r->repls = calloc(RAID_MAX_MEMBERS, sizeof(*r->repls));
	r->sb_ios = calloc(RAID_MAX_MEMBERS, sizeof(*r->sb_ios));
	r->sb_iovs = calloc(RAID_MAX_MEMBERS, sizeof(*r->sb_iovs));
	r->runs = slab_new(r->alloc, "raid-run", sizeof(struct raid_run), 0);
	raid_regions_init(r);
	while (r->members && r->nr_members < nr) {
		r->members[r->nr_members] = calloc(1, sizeof(struct raid_member));
		if (!r->members[r->nr_members])
			break;
		r->nr_members++;
	}
	if (r->nr_members == nr && r->slots && r->repls && r->sb_ios && r->sb_iovs && r->runs)
		return r;
	raid_release(r);
	return NULL;
}

static int device_init(struct assembly *a)
{
	struct raid *r = a->r;
	const struct raid_info *info = &a->ref->sb.info;
	char uuid[40];

	return blk_dev_init(&r->dev, &raid_dev_ops, info->name[0] ? info->name : raid_uuid_text(info->uuid, uuid), 0,
			    r->read_only);
}

static int assemble(struct assembly *a, struct blk_dev **devs, unsigned nr)
{
	struct raid *r = a->r;
	int err = load_members(a, devs, nr);

	if (!err)
		err = check_members(a);
	if (!err)
		err = device_init(a);
	if (!err)
		err = place_members(a);
	if (!err)
		err = roles_init(a);
	if (!err)
		err = geometry_init(a);
	if (!err)
		err = check_state(a);
	if (!err)
		err = raid_bitmap_load(r);
	if (!err)
		err = check_certainty(a);
	if (err)
		return err;
	raid_sync_init(r);
	r->dev.nr_sects = r->geom.array_sects;
	blk_set_optimal_bytes(&r->dev, r->level->optimal_bytes(&r->geom));
	raid_regions_shift(r);
	tell(a);
	if (r->resync_sect == MD_SECT_MAX)
		return 0;
	log_warn("array %s was not stopped cleanly%s", blk_name(&r->dev),
		 r->read_only ? "; being read-only it is not resynchronised" : ": resynchronising");
	return r->read_only || r->opts.work != RAID_WORK_AT_ONCE ? 0 : raid_action_run(r, RAID_RESYNC);
}

int raid_assemble(struct blk_dev **members, unsigned nr, const struct raid_open_opts *opts, struct raid **out)
{
	struct assembly a = { .opts = opts };
	int err;

	*out = NULL;
	if (!nr || nr > RAID_MAX_MEMBERS) {
		log_error("%u members: 1 to %u are possible", nr, RAID_MAX_MEMBERS);
		return -EINVAL;
	}
	a.r = raid_alloc(nr, opts);
	if (!a.r)
		return -ENOMEM;
	err = assemble(&a, members, nr);
	if (err) {
		raid_release(a.r);
		return err;
	}
	if (raid_is_degraded(a.r)) {
		os_mutex_lock(&a.r->lock);
		raid_event_add(a.r, "DegradedArray", NULL, NULL);
		os_mutex_unlock(&a.r->lock);
	}
	if (opts->work == RAID_WORK_THREAD && !a.r->read_only && a.r->level->redundant)
		err = raid_thread_start(a.r);
	if (err) {
		raid_release(a.r);
		return err;
	}
	*out = a.r;
	raid_events_tell(a.r);
	return 0;
}
