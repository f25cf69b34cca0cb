/*
 * raid_sb090.c: md superblocks of version 0.90: 4 KiB in the last 64 KiB-aligned
 * 64 KiB of the device, with a descriptor for each of up to 27 devices.
 */
#include "base/log.h"
#include "raid/raid_int.h"

static struct md_disk_sb090 *sb090(struct raid_sb *sb)
{
	return (struct md_disk_sb090 *)sb->raw;
}

static uint32_t sb090_csum(const struct raid_sb *sb)
{
	const struct md_disk_sb090 *d = (const struct md_disk_sb090 *)sb->raw;
	uint64_t sum = 0;
	le32 word;

	for (size_t at = 0; at < MD_SB_BYTES; at += 4) {
		memcpy(&word, sb->raw + at, 4);
		sum += le32_get(word);
	}
	sum -= le32_get(d->sb_csum);
	return (uint32_t)((sum & UINT32_MAX) + (sum >> 32));
}

static int role_of_dev(const struct md_disk_dev090 *dev)
{
	uint32_t state = le32_get(dev->state);

	if (state & MD_DISK_FAULTY)
		return RAID_ROLE_FAULTY;
	if (state & MD_DISK_SYNC && le32_get(dev->raid_disk) < MD_090_MAX_DEVS)
		return (int)le32_get(dev->raid_disk);
	return RAID_ROLE_SPARE;
}

int raid_sb090_role(const struct raid_sb *sb, unsigned dev_nr)
{
	const struct md_disk_sb090 *d = (const struct md_disk_sb090 *)sb->raw;

	return dev_nr < MD_090_MAX_DEVS ? role_of_dev(&d->disks[dev_nr]) : RAID_ROLE_SPARE;
}

/* Clean, or how far a resync had come when the array was stopped, or all of it. */
static uint64_t resync_of(const struct md_disk_sb090 *d)
{
	if (le32_get(d->state) & MD_STATE_CLEAN)
		return MD_SECT_MAX;
	if (le32_get(d->events_lo) == le32_get(d->cp_events_lo) && le32_get(d->events_hi) == le32_get(d->cp_events_hi))
		return le32_get(d->recovery_cp);
	return 0;
}

/* Four little-endian numbers, turned so that their first digits come first; and back. */
static void uuid_turn(const uint8_t from[16], uint8_t to[16])
{
	for (unsigned i = 0; i < 16; i++)
		to[i] = from[i ^ 3];
}

static void uuid_load(const struct md_disk_sb090 *d, uint8_t uuid[16])
{
	uint8_t raw[16];

	memcpy(raw, &d->set_uuid0, 4);
	memcpy(raw + 4, &d->set_uuid1, 12);
	uuid_turn(raw, uuid);
}

void raid_sb090_uuid_raw(const struct raid_sb *sb, uint8_t out[16])
{
	uuid_turn(sb->info.uuid, out);
}

int raid_sb090_load(const char *name, uint64_t dev_sects, sect_t at, struct raid_sb *sb)
{
	const struct md_disk_sb090 *d = sb090(sb);
	struct raid_info *info = &sb->info;
	uint32_t csum;

	if (le32_get(d->magic) != MD_MAGIC_U32 || le32_get(d->major_version) != 0)
		return -ENOENT;
	csum = sb090_csum(sb);
	if (csum != le32_get(d->sb_csum)) {
		log_error("%s: md superblock 0.90: checksum is %08" PRIx32 ", expected %08" PRIx32, name,
			  le32_get(d->sb_csum), csum);
		return -EUCLEAN;
	}
	if (le32_get(d->minor_version) != MD_090_MINOR && le32_get(d->minor_version) != MD_090_MINOR_RESHAPE) {
		log_error("%s: md superblock 0.%" PRIu32 " is not supported", name, le32_get(d->minor_version));
		return -EUCLEAN;
	}
	if (le32_get(d->this_disk.number) >= MD_090_MAX_DEVS) {
		log_error("%s: md superblock 0.90: device number %" PRIu32 " of at most %u", name,
			  le32_get(d->this_disk.number), MD_090_MAX_DEVS);
		return -EUCLEAN;
	}
	sb->max_devs = MD_090_MAX_DEVS;
	info->metadata = RAID_META_090;
	info->level = (int32_t)le32_get(d->level);
	info->layout = le32_get(d->layout);
	info->chunk_sects = le32_get(d->chunk_size) / SECT_BYTES;
	info->nr_disks = le32_get(d->raid_disks);
	uuid_load(d, info->uuid);
	info->ctime_sec = le32_get(d->ctime);
	info->utime_sec = le32_get(d->utime);
	info->events = (uint64_t)le32_get(d->events_hi) << 32 | le32_get(d->events_lo);
	info->size_sects = (uint64_t)le32_get(d->size) * 2;
	info->super_offset = at;
	info->data_sects = at;
	info->resync_sect = resync_of(d);
	info->recovery_sect = MD_SECT_MAX;
	info->feature_map = (le32_get(d->minor_version) == MD_090_MINOR_RESHAPE ? MD_FEATURE_RESHAPE_ACTIVE : 0) |
			    (le32_get(d->state) & MD_STATE_BITMAP ? MD_FEATURE_BITMAP_OFFSET : 0);
	/* By convention the bitmap follows the superblock. */
	sb->bitmap_offset = le32_get(d->state) & MD_STATE_BITMAP ? MD_SB_BYTES / SECT_BYTES : 0;
	info->dev_nr = (int)le32_get(d->this_disk.number);
	info->role = raid_sb090_role(sb, (unsigned)info->dev_nr);
	info->write_mostly = le32_get(d->this_disk.state) & MD_DISK_WRITE_MOSTLY;
	return 0;
}

/* Descriptors of all devices and their counts from the roles; device numbers stay what they were. */
static void store_devs(struct md_disk_sb090 *d, const struct raid_sb_state *st)
{
	unsigned active = 0, spare = 0, failed = 0;
	uint32_t nr_disks = le32_get(d->raid_disks);

	for (unsigned i = 0; i < MD_090_MAX_DEVS; i++) {
		struct md_disk_dev090 *dev = &d->disks[i];
		bool present = i < st->nr_devs && st->present[i];
		int role = i < st->nr_devs ? st->roles[i] : RAID_ROLE_SPARE;
		uint32_t keep = le32_get(dev->state) & MD_DISK_WRITE_MOSTLY;

		if (present && role >= 0) {
			dev->number = le32_of(i);
			dev->raid_disk = le32_of((uint32_t)role);
			dev->state = le32_of(MD_DISK_ACTIVE | MD_DISK_SYNC | keep);
			active++;
		} else if (present && role == RAID_ROLE_SPARE) {
			dev->number = le32_of(i);
			dev->raid_disk = le32_of(i);
			dev->state = le32_of(keep);
			spare++;
		} else if (role == RAID_ROLE_FAULTY) {
			dev->number = le32_of(i);
			dev->raid_disk = le32_of(i);
			dev->state = le32_of(MD_DISK_FAULTY);
			failed++;
		} else if (i < nr_disks) {
			dev->number = le32_of(i);
			dev->raid_disk = le32_of(i);
			dev->state = le32_of(MD_DISK_FAULTY | MD_DISK_REMOVED);
			failed++;
		} else {
			memset(dev, 0, sizeof(*dev));
		}
	}
	d->active_disks = le32_of(active);
	d->working_disks = le32_of(active + spare);
	d->spare_disks = le32_of(spare);
	d->failed_disks = le32_of(failed);
	d->nr_disks = le32_of(active + spare + failed);
}

void raid_sb090_store(struct raid_sb *sb, const struct raid_sb_state *st)
{
	struct md_disk_sb090 *d = sb090(sb);
	uint32_t state = le32_get(d->state) & ~(uint32_t)MD_STATE_CLEAN;

	d->events_lo = le32_of((uint32_t)st->events);
	d->events_hi = le32_of((uint32_t)(st->events >> 32));
	d->utime = le32_of((uint32_t)st->utime_sec);
	d->cp_events_lo = d->events_lo;
	d->cp_events_hi = d->events_hi;
	d->recovery_cp = le32_of((uint32_t)MIN(st->resync_sect, (uint64_t)UINT32_MAX));
	d->state = le32_of(state | (st->resync_sect == MD_SECT_MAX ? MD_STATE_CLEAN : 0));
	store_devs(d, st);
	d->this_disk = d->disks[sb->info.dev_nr];
	d->sb_csum = le32_of(sb090_csum(sb));
}

void raid_sb090_new(struct raid_sb *sb)
{
	struct md_disk_sb090 *d = sb090(sb);
	const struct raid_info *info = &sb->info;
	uint8_t uuid[16];

	raid_sb090_uuid_raw(sb, uuid);
	memset(sb->raw, 0, sizeof(sb->raw));
	d->magic = le32_of(MD_MAGIC_U32);
	d->minor_version = le32_of(MD_090_MINOR);
	memcpy(&d->set_uuid0, uuid, 4);
	memcpy(&d->set_uuid1, uuid + 4, 12);
	d->ctime = le32_of((uint32_t)info->ctime_sec);
	d->level = le32_of((uint32_t)info->level);
	d->size = le32_of((uint32_t)(info->size_sects / 2));
	d->raid_disks = le32_of(info->nr_disks);
	d->layout = le32_of(info->layout);
	d->chunk_size = le32_of(info->chunk_sects * SECT_BYTES);
	d->state = le32_of(sb->bitmap_offset ? MD_STATE_BITMAP : 0);
}
