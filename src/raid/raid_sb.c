/* raid_sb.c: md superblocks of all versions: finding, reading, what the version does. */
#include <stdio.h>

#include "base/log.h"
#include "raid/raid_int.h"

bool raid_sb_place(enum raid_metadata metadata, uint64_t dev_sects, sect_t *sect)
{
	switch (metadata) {
	case RAID_META_090:
		if (dev_sects < 2 * MD_090_RESERVED_SECTS)
			return false;
		*sect = ALIGN_DOWN(dev_sects, MD_090_RESERVED_SECTS) - MD_090_RESERVED_SECTS;
		return true;
	case RAID_META_10:
		if (dev_sects < 24)
			return false;
		*sect = ALIGN_DOWN(dev_sects - 16, 8);
		return true;
	default:
		*sect = metadata == RAID_META_11 ? 0 : 8;
		return dev_sects >= *sect + MD_SB_BYTES / SECT_BYTES;
	}
}

int raid_sb_load(struct blk_dev *d, struct raid_sb *out)
{
	static const enum raid_metadata order[] = { RAID_META_12, RAID_META_11, RAID_META_10, RAID_META_090 };
	uint64_t dev_sects = blk_nr_sects(d);
	int damage = -ENOENT;

	for (unsigned i = 0; i < ARRAY_LEN(order); i++) {
		sect_t at;
		int err;

		if (!raid_sb_place(order[i], dev_sects, &at))
			continue;
		memset(&out->info, 0, sizeof(out->info));
		err = blk_read(d, at, out->raw, MD_SB_BYTES);
		if (err == -EIO) {
			log_warn("%s: sectors %" PRIu64 " to %" PRIu64 " cannot be read: a RAID superblock there is not seen",
				 blk_name(d), at, at + MD_SB_BYTES / SECT_BYTES - 1);
			continue;
		}
		if (err)
			return err;
		err = order[i] == RAID_META_090 ? raid_sb090_load(blk_name(d), dev_sects, at, out)
						: raid_sb1_load(blk_name(d), dev_sects, at, out);
		if (!err)
			return 0;
		if (err != -ENOENT)
			damage = err;
	}
	return damage;
}

int raid_sb_role(const struct raid_sb *sb, unsigned dev_nr)
{
	return sb->info.metadata == RAID_META_090 ? raid_sb090_role(sb, dev_nr) : raid_sb1_role(sb, dev_nr);
}

bool raid_sb_has_slot(const struct raid_sb *sb, int slot)
{
	for (unsigned nr = 0; nr < sb->max_devs; nr++)
		if (raid_sb_role(sb, nr) == slot)
			return true;
	return false;
}

void raid_sb_store(struct raid_sb *sb, const struct raid_sb_state *st, uint64_t nr_corrected_reads)
{
	struct raid_info *info = &sb->info;

	if (info->metadata == RAID_META_090)
		raid_sb090_store(sb, st);
	else
		raid_sb1_store(sb, st, nr_corrected_reads);
	info->events = st->events;
	info->utime_sec = st->utime_sec;
	info->resync_sect = st->resync_sect;
	info->role = raid_sb_role(sb, (unsigned)info->dev_nr);
}

void raid_sb_uuid_raw(const struct raid_sb *sb, uint8_t out[16])
{
	if (sb->info.metadata == RAID_META_090)
		raid_sb090_uuid_raw(sb, out);
	else
		memcpy(out, sb->info.uuid, sizeof(sb->info.uuid));
}

void raid_sb_new(struct raid_sb *sb)
{
	if (sb->info.metadata == RAID_META_090)
		raid_sb090_new(sb);
	else
		raid_sb1_new(sb);
}

int raid_wipe_superblocks(struct blk_dev *d)
{
	static const enum raid_metadata all[] = { RAID_META_090, RAID_META_10, RAID_META_11, RAID_META_12 };
	sect_t sect;
	int err = 0;

	for (unsigned i = 0; i < ARRAY_LEN(all) && !err; i++)
		if (raid_sb_place(all[i], blk_nr_sects(d), &sect))
			err = blk_zero(d, sect, MD_SB_BYTES / SECT_BYTES);
	return err;
}

int raid_sb_clone(const struct raid_sb *like, uint64_t dev_sects, int dev_nr, const uint8_t uuid[16],
		  struct raid_sb *out)
{
	struct raid_info *info = &out->info;
	sect_t end = dev_sects;

	*out = *like;
	out->is_replacement = out->by_bitmap = false;
	if (!raid_sb_place(info->metadata, dev_sects, &info->super_offset))
		return -ENOSPC;
	/* Metadata at the end bounds the data, and so does a bitmap before it. */
	if (info->metadata == RAID_META_090 || info->metadata == RAID_META_10)
		end = info->super_offset + (sect_t)(int64_t)MIN(out->bitmap_offset, 0);
	info->data_sects = end > info->data_offset ? end - info->data_offset : 0;
	info->dev_nr = dev_nr;
	info->role = RAID_ROLE_SPARE;
	info->recovery_sect = MD_SECT_MAX;
	info->write_mostly = false;
	info->feature_map &= ~(uint32_t)(MD_FEATURE_REPLACEMENT | MD_FEATURE_RECOVERY_OFFSET | MD_FEATURE_RECOVERY_BITMAP);
	memcpy(info->dev_uuid, uuid, sizeof(info->dev_uuid));
	if (info->metadata != RAID_META_090)
		raid_sb1_clone(out);
	return 0;
}

int raid_examine(struct blk_dev *d, struct raid_info *out)
{
	struct raid_sb sb;
	int err = raid_sb_load(d, &sb);

	if (!err)
		*out = sb.info;
	return err;
}

const char *raid_uuid_text(const uint8_t uuid[16], char buf[static 40])
{
	char *p = buf;

	for (unsigned i = 0; i < 16; i++)
		p += sprintf(p, i && i % 4 == 0 ? ":%02x" : "%02x", uuid[i]);
	return buf;
}
