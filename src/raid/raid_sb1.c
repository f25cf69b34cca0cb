/*
 * raid_sb1.c: md superblocks of version 1. 1.0 lies at the end of the device,
 * 1.1 at its start, 1.2 4 KiB behind its start.
 */
#include "base/log.h"
#include "raid/raid_int.h"

enum { SECONDS_BITS = 40 };

static struct md_disk_sb1 *sb1(struct raid_sb *sb)
{
	return (struct md_disk_sb1 *)sb->raw;
}

/* Sum of the 32-bit words, sb_csum taken as 0, folded to 32 bits. */
static uint32_t sb1_csum(const struct raid_sb *sb)
{
	size_t len_bytes = MD_1_FIXED_BYTES + 2 * (size_t)sb->max_devs;
	size_t csum_at = offsetof(struct md_disk_sb1, sb_csum);
	uint64_t sum = 0;
	le32 word;
	le16 half;

	for (size_t at = 0; at + 4 <= len_bytes; at += 4) {
		memcpy(&word, sb->raw + at, 4);
		if (at != csum_at)
			sum += le32_get(word);
	}
	if (len_bytes % 4) {
		memcpy(&half, sb->raw + len_bytes - 2, 2);
		sum += le16_get(half);
	}
	return (uint32_t)((sum & UINT32_MAX) + (sum >> 32));
}

static int role_of_disk(unsigned v)
{
	switch (v) {
	case MD_ROLE_FAULTY:
		return RAID_ROLE_FAULTY;
	case MD_ROLE_JOURNAL:
		return RAID_ROLE_JOURNAL;
	default:
		return v < RAID_MAX_MEMBERS ? (int)v : RAID_ROLE_SPARE;
	}
}

int raid_sb1_role(const struct raid_sb *sb, unsigned dev_nr)
{
	const struct md_disk_sb1 *d = (const struct md_disk_sb1 *)sb->raw;

	return dev_nr < sb->max_devs ? role_of_disk(le16_get(d->dev_roles[dev_nr])) : RAID_ROLE_SPARE;
}

static enum raid_metadata minor_of(sect_t at)
{
	return at == 0 ? RAID_META_11 : at == 8 ? RAID_META_12 : RAID_META_10;
}

static void sb1_load_info(const struct md_disk_sb1 *d, struct raid_info *info)
{
	info->level = (int32_t)le32_get(d->level);
	info->layout = le32_get(d->layout);
	info->chunk_sects = le32_get(d->chunksize);
	info->nr_disks = le32_get(d->raid_disks);
	memcpy(info->uuid, d->set_uuid, sizeof(info->uuid));
	memcpy(info->name, d->set_name, sizeof(d->set_name));
	info->name[sizeof(d->set_name)] = '\0';
	info->ctime_sec = le64_get(d->ctime) & ((UINT64_C(1) << SECONDS_BITS) - 1);
	info->utime_sec = le64_get(d->utime) & ((UINT64_C(1) << SECONDS_BITS) - 1);
	info->events = le64_get(d->events);
	info->size_sects = le64_get(d->size);
	info->data_offset = le64_get(d->data_offset);
	info->data_sects = le64_get(d->data_size);
	info->super_offset = le64_get(d->super_offset);
	info->resync_sect = le64_get(d->resync_offset);
	info->feature_map = le32_get(d->feature_map);
	info->recovery_sect = info->feature_map & MD_FEATURE_RECOVERY_OFFSET ? le64_get(d->recovery_offset) : MD_SECT_MAX;
	memcpy(info->dev_uuid, d->device_uuid, sizeof(info->dev_uuid));
	info->write_mostly = d->devflags & MD_DEVFLAG_WRITE_MOSTLY;
}

int raid_sb1_load(const char *name, uint64_t dev_sects, sect_t at, struct raid_sb *sb)
{
	struct md_disk_sb1 *d = sb1(sb);
	struct raid_info *info = &sb->info;
	uint32_t csum;

	if (le32_get(d->magic) != MD_MAGIC_U32 || le32_get(d->major_version) != 1)
		return -ENOENT;
	/* A copy of another place, such as the superblock of a partition within this device. */
	if (le64_get(d->super_offset) != at)
		return -ENOENT;
	sb->max_devs = le32_get(d->max_dev);
	if (sb->max_devs > MD_1_MAX_DEVS) {
		log_error("%s: md superblock at sector %" PRIu64 ": max_dev is %u, at most %u is possible", name, at,
			  sb->max_devs, MD_1_MAX_DEVS);
		return -EUCLEAN;
	}
	csum = sb1_csum(sb);
	if (csum != le32_get(d->sb_csum)) {
		log_error("%s: md superblock at sector %" PRIu64 ": checksum is %08" PRIx32 ", expected %08" PRIx32, name,
			  at, le32_get(d->sb_csum), csum);
		return -EUCLEAN;
	}
	sb1_load_info(d, info);
	info->metadata = minor_of(at);
	if (le32_get(d->dev_number) >= sb->max_devs) {
		log_error("%s: md superblock: device number %" PRIu32 " of at most %u", name, le32_get(d->dev_number),
			  sb->max_devs);
		return -EUCLEAN;
	}
	info->dev_nr = (int)le32_get(d->dev_number);
	info->role = raid_sb1_role(sb, (unsigned)info->dev_nr);
	if (info->data_offset > dev_sects && info->role != RAID_ROLE_JOURNAL) {
		log_error("%s: md superblock: data begins at sector %" PRIu64 " of a device of %" PRIu64 " sectors", name,
			  info->data_offset, dev_sects);
		return -EUCLEAN;
	}
	if (info->level > 0 && info->role >= 0 && info->size_sects > info->data_sects) {
		log_error("%s: md superblock: %" PRIu64 " sectors used of %" PRIu64, name, info->size_sects,
			  info->data_sects);
		return -EUCLEAN;
	}
	sb->bitmap_offset = info->feature_map & MD_FEATURE_BITMAP_OFFSET ? (int32_t)le32_get(d->bitmap_offset) : 0;
	return 0;
}

static le16 role_to_disk(int role)
{
	switch (role) {
	case RAID_ROLE_SPARE:
		return le16_of(MD_ROLE_SPARE);
	case RAID_ROLE_FAULTY:
		return le16_of(MD_ROLE_FAULTY);
	case RAID_ROLE_JOURNAL:
		return le16_of(MD_ROLE_JOURNAL);
	default:
		return le16_of((uint16_t)role);
	}
}

void raid_sb1_store(struct raid_sb *sb, const struct raid_sb_state *st, uint64_t nr_corrected_reads)
{
	struct md_disk_sb1 *d = sb1(sb);
	uint32_t features = le32_get(d->feature_map) & ~(uint32_t)(MD_FEATURE_RECOVERY_OFFSET | MD_FEATURE_RECOVERY_BITMAP |
								  MD_FEATURE_REPLACEMENT);

	d->events = le64_of(st->events);
	d->utime = le64_of(st->utime_sec & ((UINT64_C(1) << SECONDS_BITS) - 1));
	d->resync_offset = le64_of(st->resync_sect);
	d->cnt_corrected_read = le32_of((uint32_t)nr_corrected_reads);
	if (sb->info.recovery_sect != MD_SECT_MAX) {
		features |= MD_FEATURE_RECOVERY_OFFSET;
		d->recovery_offset = le64_of(sb->info.recovery_sect);
		if (sb->by_bitmap)
			features |= MD_FEATURE_RECOVERY_BITMAP;
	}
	if (sb->is_replacement)
		features |= MD_FEATURE_REPLACEMENT;
	d->devflags = (uint8_t)((d->devflags & ~MD_DEVFLAG_WRITE_MOSTLY) |
				(sb->info.write_mostly ? MD_DEVFLAG_WRITE_MOSTLY : 0));
	sb->info.feature_map = features;
	d->feature_map = le32_of(features);
	for (unsigned i = 0; i < sb->max_devs; i++)
		d->dev_roles[i] = role_to_disk(i < st->nr_devs ? st->roles[i] : RAID_ROLE_SPARE);
	d->sb_csum = le32_of(sb1_csum(sb));
}

void raid_sb1_clone(struct raid_sb *sb)
{
	struct md_disk_sb1 *d = sb1(sb);
	const struct raid_info *info = &sb->info;

	d->feature_map = le32_of(info->feature_map);
	d->data_offset = le64_of(info->data_offset);
	d->data_size = le64_of(info->data_sects);
	d->super_offset = le64_of(info->super_offset);
	d->dev_number = le32_of((uint32_t)info->dev_nr);
	memcpy(d->device_uuid, info->dev_uuid, sizeof(d->device_uuid));
	d->devflags = 0;
	d->cnt_corrected_read = le32_of(0);
	/* A list of bad blocks is the other device's. */
	d->bblog_shift = 0;
	d->bblog_size = le16_of(0);
	d->bblog_offset = le32_of(0);
}

void raid_sb1_new(struct raid_sb *sb)
{
	struct md_disk_sb1 *d = sb1(sb);
	const struct raid_info *info = &sb->info;

	memset(sb->raw, 0, sizeof(sb->raw));
	d->magic = le32_of(MD_MAGIC_U32);
	d->major_version = le32_of(1);
	d->feature_map = le32_of(info->feature_map);
	memcpy(d->set_uuid, info->uuid, sizeof(d->set_uuid));
	memcpy(d->set_name, info->name, sizeof(d->set_name));
	d->ctime = le64_of(info->ctime_sec);
	d->level = le32_of((uint32_t)info->level);
	d->layout = le32_of(info->layout);
	d->size = le64_of(info->size_sects);
	d->chunksize = le32_of(info->chunk_sects);
	d->raid_disks = le32_of(info->nr_disks);
	d->data_offset = le64_of(info->data_offset);
	d->data_size = le64_of(info->data_sects);
	d->super_offset = le64_of(info->super_offset);
	d->dev_number = le32_of((uint32_t)info->dev_nr);
	memcpy(d->device_uuid, info->dev_uuid, sizeof(d->device_uuid));
	d->devflags = info->write_mostly ? MD_DEVFLAG_WRITE_MOSTLY : 0;
	d->max_dev = le32_of(sb->max_devs);
	d->bitmap_offset = le32_of((uint32_t)sb->bitmap_offset);
}
