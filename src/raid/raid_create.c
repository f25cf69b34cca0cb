/*
 * raid_create.c: new arrays. Where data begins and how much of a member is used follow
 * mdadm, so that an array made here looks like one made there.
 */
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base/log.h"
#include "base/rng.h"
#include "raid/raid_int.h"

/* mdadm makes a bitmap of its own accord on members larger than 100 GiB. */
#define BITMAP_FROM_SECTS (UINT64_C(100) << 21)

struct plan {
	struct raid_params p;		/* with the defaults filled in */
	const struct raid_level *level;
	struct blk_dev **members, **spares;
	unsigned nr_devs;		/* slots and spares */
	uint64_t size_sects;		/* in the superblock */
	uint64_t sync_sects;		/* that a bitmap's bits stand for */
	bool has_bitmap;
	int16_t *roles;
	bool *present;
};

static struct blk_dev *dev_of(const struct plan *pl, unsigned dev_nr)
{
	return dev_nr < pl->p.nr_disks ? pl->members[dev_nr] : pl->spares[dev_nr - pl->p.nr_disks];
}

/* What mdadm keeps free for a bitmap. */
static uint64_t bitmap_space(uint64_t dev_sects)
{
	if (dev_sects < 64 * 2)
		return 0;
	if (dev_sects - 64 * 2 >= UINT64_C(200) << 21)
		return 128 * 2;
	return dev_sects - 4 * 2 > UINT64_C(8) << 21 ? 64 * 2 : 4 * 2;
}

/* Room for superblock, bitmap and a later reshape: about 0.1 %, at most 128 MiB, whole MiB. */
static sect_t data_offset_default(const struct raid_params *p, uint64_t dev_sects)
{
	uint64_t headroom = 128 << 11;

	while (headroom << 10 > dev_sects && headroom > (uint64_t)p->chunk_sects * 2)
		headroom >>= 1;
	return ALIGN_UP(12 * 2 + bitmap_space(dev_sects) + headroom, UINT64_C(1) << 11);
}

/* Where a bitmap lies from the superblock on, and how much room it has there. */
static int32_t bitmap_place(const struct raid_params *p, uint64_t dev_sects, size_t *room_bytes)
{
	sect_t sb;

	switch (p->metadata) {
	case RAID_META_10:
		*room_bytes = bitmap_space(dev_sects) << SECT_SHIFT;
		return -(int32_t)bitmap_space(dev_sects);
	case RAID_META_090:
		*room_bytes = (size_t)60 << 10;
		return MD_SB_BYTES / SECT_BYTES;
	default:
		raid_sb_place(p->metadata, dev_sects, &sb);
		sb += MD_SB_BYTES / SECT_BYTES;
		*room_bytes = p->data_offset > sb ? (size_t)MIN(p->data_offset - sb, UINT64_C(2048)) << SECT_SHIFT : 0;
		return MD_SB_BYTES / SECT_BYTES;
	}
}

/* Sectors for data on a device; 0: none. */
static uint64_t data_room(const struct raid_params *p, uint64_t dev_sects)
{
	uint64_t reserved;
	sect_t sb;

	if (!raid_sb_place(p->metadata, dev_sects, &sb))
		return 0;
	if (p->metadata == RAID_META_090)
		return sb;
	if (p->metadata != RAID_META_10)
		return dev_sects > p->data_offset ? dev_sects - p->data_offset : 0;
	reserved = p->data_offset + 8 + bitmap_space(dev_sects);
	return sb > reserved ? sb - reserved : 0;
}

static int plan_defaults(struct plan *pl)
{
	struct raid_params *p = &pl->p;
	uint64_t smallest = UINT64_MAX;
	sect_t least;

	for (unsigned i = 0; i < pl->nr_devs; i++)
		if (dev_of(pl, i))
			smallest = MIN(smallest, blk_nr_sects(dev_of(pl, i)));
	if (smallest == UINT64_MAX) {
		log_error("an array needs at least one member");
		return -EINVAL;
	}
	if (p->level == RAID_1)
		p->chunk_sects = 0;
	else if (!p->chunk_sects && p->level != RAID_LINEAR)
		p->chunk_sects = RAID_DEFAULT_CHUNK_SECTS;
	least = p->metadata == RAID_META_12 ? 16 : p->metadata == RAID_META_11 ? 8 : 0;
	if (!p->data_offset && least) {
		p->data_offset = data_offset_default(p, smallest);
		/* A member that cannot spare a MiB gives what the superblock needs. */
		if (p->data_offset >= smallest / 2)
			p->data_offset = 64;
	}
	if (p->data_offset < least || (p->metadata == RAID_META_090 && p->data_offset)) {
		log_error("data cannot begin at sector %" PRIu64 " with this superblock", p->data_offset);
		return -EINVAL;
	}
	return 0;
}

static int plan_check(struct plan *pl)
{
	struct raid_params *p = &pl->p;
	unsigned max_devs = p->metadata == RAID_META_090 ? MD_090_MAX_DEVS : RAID_MAX_MEMBERS;

	if (!pl->level) {
		log_error("RAID level %d is not supported", p->level);
		return -EINVAL;
	}
	if (p->nr_disks < pl->level->min_disks || pl->nr_devs > max_devs) {
		log_error("%s takes %u to %u devices, not %u", pl->level->name, pl->level->min_disks, max_devs, pl->nr_devs);
		return -EINVAL;
	}
	if (p->bitmap == RAID_BITMAP_INTERNAL && !pl->level->redundant) {
		log_error("%s has nothing to resynchronise, and no use for a bitmap", pl->level->name);
		return -EINVAL;
	}
	for (unsigned i = 0; !pl->level->redundant && i < p->nr_disks; i++)
		if (!pl->members[i]) {
			log_error("%s cannot do without a member", pl->level->name);
			return -EINVAL;
		}
	return 0;
}

/* The room of every member; the size to use; the geometry as the last word on all values. */
static int plan_size(struct plan *pl)
{
	struct raid_params *p = &pl->p;
	uint64_t rooms[RAID_MAX_MEMBERS], smallest = UINT64_MAX, want = p->size_sects;
	uint64_t unit = MAX(p->chunk_sects, 8u), least = MAX(want, unit);
	bool missing[RAID_MAX_MEMBERS];
	struct raid_geom g;
	int err;

	for (unsigned i = 0; i < pl->nr_devs; i++) {
		struct blk_dev *d = dev_of(pl, i);
		uint64_t room;

		if (i < p->nr_disks)
			missing[i] = !d;
		if (!d)
			continue;
		room = data_room(p, blk_nr_sects(d));
		if (room < least) {
			log_error("%s: %" PRIu64 " sectors are too few: %" PRIu64 " for data, %" PRIu64 " needed", blk_name(d),
				  blk_nr_sects(d), room, least);
			return -ENOSPC;
		}
		if (i < p->nr_disks)
			rooms[i] = want ? want : room;
		smallest = MIN(smallest, room);
	}
	smallest = want ? want : smallest;
	if (pl->level->redundant)
		rooms[0] = ALIGN_DOWN(smallest, unit);
	err = raid_geom_init(&g, p->level, p->layout, p->chunk_sects, p->nr_disks, rooms);
	if (err)
		return err;
	pl->size_sects = g.member_sects;
	pl->sync_sects = g.nr_parity ? g.member_sects : g.array_sects;
	pl->has_bitmap = p->bitmap == RAID_BITMAP_INTERNAL ||
			 (p->bitmap == RAID_BITMAP_DEFAULT && pl->level->redundant && pl->size_sects > BITMAP_FROM_SECTS);
	/* 0.90 has one size for all levels; nothing reads it where members differ. */
	if (p->metadata == RAID_META_090 && !pl->level->redundant)
		pl->size_sects = ALIGN_DOWN(smallest, unit);
	if (p->metadata == RAID_META_090 && pl->size_sects / 2 > UINT32_MAX) {
		log_error("%" PRIu64 " sectors on each member are more than metadata 0.90 can say", pl->size_sects);
		err = -EINVAL;
	}
	if (!err && !pl->level->can_run(&g, missing)) {
		log_error("%s of %u cannot do without that many members", pl->level->name, p->nr_disks);
		err = -EINVAL;
	}
	raid_geom_fini(&g);
	return err;
}

static int plan_uuid(struct plan *pl)
{
	static const uint8_t none[16];

	if (!memcmp(pl->p.uuid, none, sizeof(none)) &&
	    getrandom(pl->p.uuid, sizeof(pl->p.uuid), 0) != sizeof(pl->p.uuid))
		return -EIO;
	return 0;
}

/* From the array's, so that the same parameters give the same bytes. */
static void device_uuid(const struct plan *pl, unsigned dev_nr, uint8_t out[16])
{
	struct rng rng;

	memcpy(&rng.state, pl->p.uuid, sizeof(rng.state));
	rng.state += dev_nr;
	rng_fill(&rng, out, 8);
	memcpy(&rng.state, pl->p.uuid + 8, sizeof(rng.state));
	rng.state ^= dev_nr;
	rng_fill(&rng, out + 8, 8);
}

static void superblock_make(const struct plan *pl, unsigned dev_nr, uint64_t now_sec, struct raid_sb *sb)
{
	const struct raid_params *p = &pl->p;
	uint64_t dev_sects = blk_nr_sects(dev_of(pl, dev_nr));
	struct raid_sb_state st = {
		.events = 1, .utime_sec = now_sec, .resync_sect = MD_SECT_MAX,
		.nr_devs = pl->nr_devs, .roles = pl->roles, .present = pl->present };
	struct raid_info *info = &sb->info;
	size_t room_bytes;

	memset(sb, 0, sizeof(*sb));
	*info = (struct raid_info){
		.metadata = p->metadata, .level = p->level, .layout = p->layout, .chunk_sects = p->chunk_sects,
		.nr_disks = p->nr_disks, .ctime_sec = now_sec, .size_sects = pl->size_sects,
		.data_offset = p->data_offset, .data_sects = data_room(p, dev_sects),
		.recovery_sect = MD_SECT_MAX, .dev_nr = (int)dev_nr,
		.feature_map = p->level == RAID_0 ? MD_FEATURE_RAID0_LAYOUT : 0 };
	if (!pl->level->redundant && p->size_sects)
		info->data_sects = p->size_sects;
	memcpy(info->uuid, p->uuid, sizeof(info->uuid));
	memcpy(info->name, p->name, sizeof(info->name));
	device_uuid(pl, dev_nr, info->dev_uuid);
	raid_sb_place(p->metadata, dev_sects, &info->super_offset);
	if (pl->has_bitmap) {
		sb->bitmap_offset = bitmap_place(p, dev_sects, &room_bytes);
		info->feature_map |= MD_FEATURE_BITMAP_OFFSET;
	}
	/* As many roles as fill the last sector of the superblock. */
	sb->max_devs = p->metadata == RAID_META_090
			       ? MD_090_MAX_DEVS
			       : (ALIGN_UP(MD_1_FIXED_BYTES + 2 * pl->nr_devs, (unsigned)SECT_BYTES) - MD_1_FIXED_BYTES) / 2;
	raid_sb_new(sb);
	raid_sb_store(sb, &st, 0);
}

static int bitmap_write(const struct plan *pl, struct blk_dev *d, const struct raid_sb *sb)
{
	size_t room_bytes;

	bitmap_place(&pl->p, blk_nr_sects(d), &room_bytes);
	return raid_bitmap_create(d, sb, pl->sync_sects, room_bytes, pl->p.bitmap_chunk_bytes);
}

static int device_write(const struct plan *pl, unsigned dev_nr, uint64_t now_sec, bool zeroed)
{
	struct blk_dev *d = dev_of(pl, dev_nr);
	struct raid_sb sb;
	int err = raid_wipe_superblocks(d);

	superblock_make(pl, dev_nr, now_sec, &sb);
	if (!err && !zeroed)
		err = blk_zero(d, sb.info.data_offset, sb.info.data_sects);
	if (!err && pl->has_bitmap)
		err = bitmap_write(pl, d, &sb);
	if (!err)
		err = blk_write(d, sb.info.super_offset, sb.raw, MD_SB_BYTES);
	if (!err)
		err = blk_flush(d);
	if (err)
		log_error("%s: making it a member failed: %s", blk_name(d), strerror(-err));
	return err;
}

static int plan_write(struct plan *pl, bool zeroed)
{
	uint64_t now_sec = (uint64_t)time(NULL);
	int err = 0;

	pl->roles = calloc(pl->nr_devs, sizeof(*pl->roles));
	pl->present = calloc(pl->nr_devs, sizeof(*pl->present));
	if (!pl->roles || !pl->present)
		err = -ENOMEM;
	for (unsigned i = 0; !err && i < pl->nr_devs; i++) {
		pl->present[i] = dev_of(pl, i);
		pl->roles[i] = i < pl->p.nr_disks && pl->present[i] ? (int16_t)i : RAID_ROLE_SPARE;
	}
	for (unsigned i = 0; !err && i < pl->nr_devs; i++)
		if (dev_of(pl, i))
			err = device_write(pl, i, now_sec, zeroed);
	free(pl->roles);
	free(pl->present);
	return err;
}

int raid_create(const struct raid_params *p, struct blk_dev **members, struct blk_dev **spares, unsigned nr_spares,
		bool zeroed)
{
	struct plan pl = {
		.p = *p, .level = raid_level_find(p->level), .members = members, .spares = spares,
		.nr_devs = p->nr_disks + nr_spares };
	int err = plan_check(&pl);

	if (!err)
		err = plan_defaults(&pl);
	if (!err)
		err = plan_size(&pl);
	if (!err)
		err = plan_uuid(&pl);
	return err ? err : plan_write(&pl, zeroed);
}
